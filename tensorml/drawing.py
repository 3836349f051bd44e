"""Pictures of graphs: an SVG with a layout of our own, or the text of a Graphviz file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tensorml.graph import Const, Graph, Input, Op, describe_attribute, is_operand

LONGEST = 60  # characters of a line in a box
CHARACTER, LINE, MARGIN = 6.7, 15.0, 9.0  # of the monospaced 11 px font: width, height; around the text
ACROSS, DOWN, BORDER = 26.0, 40.0, 20.0  # between boxes of a layer, between layers, around the picture
SWEEPS = 8
FILL = {"input": "#dbeafe", "output": "#dcfce7", "operator": "#ffffff"}
STROKE = {"input": "#2563eb", "output": "#16a34a", "operator": "#475569"}
UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def draw(graph: Graph, path: str | Path) -> None:
    """Write a picture of the graph: .svg, which any browser shows, or .dot, for Graphviz.

    Raises ValueError for another suffix.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".svg":
            path.write_text(svg(graph), encoding="utf-8")
        case ".dot":
            path.write_text(dot(graph), encoding="utf-8")
        case suffix:
            raise ValueError(f"a graph is drawn to a .svg or a .dot file, not to {suffix or path.name!r}")


@dataclass(eq=False)
class Box:
    """A node of the picture. kind: "input", "operator", "output", or "bend": a place where a long edge passes."""

    kind: str
    lines: Sequence[str]
    users: list[Box] = field(default_factory=list)
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    tall: float = 0.0  # of a bend: the height of its layer, which it passes straight

    @property
    def width(self) -> float:
        """In pixels."""
        return max(map(len, self.lines)) * CHARACTER + 2 * MARGIN if self.lines else 4.0

    @property
    def height(self) -> float:
        """In pixels."""
        return len(self.lines) * LINE + 2 * MARGIN if self.lines else self.tall


def boxes(graph: Graph) -> list[Box]:
    """What the picture shows of a graph, operands before users. A constant is a line in its user's box."""
    made: dict[Op, Box] = {}
    shown: list[Box] = []
    for op in graph.order:
        if isinstance(op, Const):
            continue
        made[op] = Box("input" if isinstance(op, Input) else "operator", tuple(map(_cut, describe_box(op))))
        shown.append(made[op])
        for operand in dict.fromkeys(op.operands):
            if operand in made:
                made[operand].users.append(made[op])
    for name, op in graph.outputs.items():
        end = Box("output", (_cut(name), *(() if op in made else (_cut(describe_const(op)),))))
        shown.append(end)
        if op in made:
            made[op].users.append(end)
    return shown


def describe_box(op: Op) -> list[str]:
    """The lines of an operator's box: what it is, its type, its attributes and the constants among its operands."""
    if isinstance(op, Input):
        return [op.name, str(op.type)]
    lines = [type(op).__name__, str(op.type)]
    for field_name, value in op.fields.items():
        name = field_name.rstrip("_")
        if not is_operand(value):
            lines.append(f"{name} = {describe_attribute(value)}")
        elif isinstance(value, Const):
            lines.append(f"{name} = {describe_const(value)}")
        elif isinstance(value, tuple):
            lines += [f"{name}[{i}] = {describe_const(o)}" for i, o in enumerate(value) if isinstance(o, Const)]
    return lines


def describe_const(op: Op) -> str:
    """A constant in a few characters: a single number by its value."""
    if isinstance(op, Const) and op.value.size == 1:
        return f"{np.asarray(op.value).item()!r} {op.dtype}"
    return str(op.type)


def _cut(text: str) -> str:
    """A line that fits a box, with characters that XML cannot hold in Python's notation."""
    text = UNPRINTABLE.sub(lambda match: repr(match[0])[1:-1], text).replace("\n", " ")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language."""
    shown = boxes(graph)
    number = {box: f"n{i}" for i, box in enumerate(shown)}
    lines = ["digraph {", '  node [shape=box, style="rounded,filled", fontname="monospace", fontsize=10];']
    for box in shown:
        text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in box.lines)
        lines.append(f'  {number[box]} [label="{text}", fillcolor="{FILL[box.kind]}", color="{STROKE[box.kind]}"];')
    lines += [f"  {number[box]} -> {number[user]};" for box in shown for user in box.users]
    return "\n".join([*lines, "}"]) + "\n"


def svg(graph: Graph) -> str:
    """The graph as an SVG document: from the inputs at the top to the outputs at the bottom."""
    layers = layout(boxes(graph))
    every = [box for layer in layers for box in layer]
    width = max((box.x + box.width for box in every), default=0.0) + BORDER
    height = max((box.y + box.height for box in every), default=0.0) + BORDER
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:.0f} {height:.0f}",
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
            "font-family": "Menlo, Consolas, 'DejaVu Sans Mono', monospace",
            "font-size": "11",
        },
    )
    ElementTree.SubElement(root, "title").text = f"Tensor graph: {', '.join(map(_cut, graph.outputs))}"
    ElementTree.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#f8fafc"})
    for box in every:
        for user in box.users:
            _draw_edge(root, box, user)
    for box in every:
        if box.lines:
            _draw_box(root, box)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def layout(shown: list[Box]) -> list[list[Box]]:
    """The boxes in layers, with bends where edges pass a layer, and with their places.

    Source: Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical System Structures, 1981:
    layers by the longest path, their order by the mean place of the neighbours.
    """
    for box in shown:
        for user in box.users:
            user.layer = max(user.layer, box.layer + 1)
    last = max((box.layer for box in shown), default=0)
    layers: list[list[Box]] = [[] for _ in range(last + 1)]
    for box in shown:
        if box.kind == "output":
            box.layer = last
        layers[box.layer].append(box)
    for box in shown:
        box.users = [_bend(box, user, layers) for user in box.users]
    above = _operands(layers)
    for sweep in range(SWEEPS):
        order = layers if sweep % 2 == 0 else layers[::-1]
        below = {box: box.users for layer in layers for box in layer}
        _sort(order, above if sweep % 2 == 0 else below)
    _place(layers, above)
    return layers


def _bend(box: Box, user: Box, layers: list[list[Box]]) -> Box:
    """The first box on the way from `box` to `user`, after a bend is put into each layer between them."""
    for layer in range(user.layer - 1, box.layer, -1):
        bend = Box("bend", (), [user], layer)
        layers[layer].append(bend)
        user = bend
    return user


def _operands(layers: list[list[Box]]) -> dict[Box, list[Box]]:
    above: dict[Box, list[Box]] = {box: [] for layer in layers for box in layer}
    for box in list(above):
        for user in box.users:
            above[user].append(box)
    return above


def _sort(layers: list[list[Box]], neighbours: Mapping[Box, list[Box]]) -> None:
    """Order each layer by the mean place of the neighbours in the layer before it."""
    for before, layer in itertools.pairwise(layers):
        place = {box: i for i, box in enumerate(before)}
        own = {box: i for i, box in enumerate(layer)}

        def key(box: Box, place: dict[Box, int] = place, own: dict[Box, int] = own) -> float:
            near = [place[other] for other in neighbours[box] if other in place]
            return sum(near) / len(near) if near else float(own[box])

        layer.sort(key=key)


def _place(layers: list[list[Box]], above: Mapping[Box, list[Box]]) -> None:
    """Give every box its x and y: layers below each other, each box beneath its operands as far as there is room."""
    y = BORDER
    for layer in layers:
        wanted = [_middle(above[box]) - box.width / 2 if above[box] else BORDER for box in layer]
        edge = -np.inf
        for box, x in zip(layer, wanted, strict=True):
            box.x = max(x, edge)
            box.y, edge = y, box.x + box.width + ACROSS
        tall = max((box.height for box in layer), default=0.0)
        crowd = sum(x - box.x for box, x in zip(layer, wanted, strict=True)) / max(1, len(layer))
        for box in layer:
            box.x, box.tall = box.x + crowd, tall
        y += tall + DOWN
    left = min((box.x for layer in layers for box in layer), default=0.0)
    for layer in layers:
        for box in layer:
            box.x += BORDER - left


def _middle(operands: Sequence[Box]) -> float:
    return sum(box.x + box.width / 2 for box in operands) / len(operands)


def _draw_box(root: ElementTree.Element, box: Box) -> None:
    group = ElementTree.SubElement(root, "g")
    place = {"x": f"{box.x:.1f}", "y": f"{box.y:.1f}", "width": f"{box.width:.1f}", "height": f"{box.height:.1f}"}
    round_ = {"rx": "14" if box.kind != "operator" else "6"}
    ElementTree.SubElement(group, "rect", place | round_ | {"fill": FILL[box.kind], "stroke": STROKE[box.kind]})
    for i, line in enumerate(box.lines):
        at = {"x": f"{box.x + box.width / 2:.1f}", "y": f"{box.y + MARGIN + (i + 0.75) * LINE:.1f}"}
        style = {"font-weight": "bold", "fill": "#0f172a"} if i == 0 else {"fill": "#475569"}
        ElementTree.SubElement(group, "text", at | style | {"text-anchor": "middle"}).text = line


def _draw_edge(root: ElementTree.Element, box: Box, user: Box) -> None:
    """A curve from the bottom of a box to the top of its user, with a small arrow head at a box, or down a bend."""
    x0, y0 = box.x + box.width / 2, box.y + box.height
    x1, y1 = user.x + user.width / 2, user.y
    middle = (y0 + y1) / 2
    curve = f"M{x0:.1f} {y0:.1f} C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    if not user.lines:
        curve += f" V{y1 + user.height:.1f}"
    ElementTree.SubElement(root, "path", {"d": curve, "fill": "none", "stroke": "#94a3b8", "stroke-width": "1.3"})
    if user.lines:
        head = f"M{x1 - 4:.1f} {y1 - 7:.1f} L{x1:.1f} {y1:.1f} L{x1 + 4:.1f} {y1 - 7:.1f} Z"
        ElementTree.SubElement(root, "path", {"d": head, "fill": "#94a3b8"})


__all__ = ["boxes", "dot", "draw", "svg"]
