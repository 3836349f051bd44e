from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tensorml.drawing import LONGEST, Box, boxes, dot, layout, svg
from tensorml.graph import Const, Graph, Input, Op, TensorType
from tensorml.ops import ArgMax, Concat, Finite, Label, LeafSum, Log, MatMul, Sigmoid
from tensorml.trees import Forest

SVG = "{http://www.w3.org/2000/svg}"


def table(columns: int = 3) -> Input:
    return Input("x", TensorType(("N", columns), np.dtype(np.float64)))


def classifier(classes: list[str] | None = None) -> Graph:
    """What a Pipeline(StandardScaler, LogisticRegression) becomes."""
    x = Finite(table(), False, "sklearn.preprocessing.StandardScaler")
    scaled = (x - np.arange(3.0)) / np.arange(1.0, 4.0)
    positive = Sigmoid(MatMul(scaled, Const(np.ones((3, 1)))) + 0.25)
    both = Concat((1.0 - positive, positive))
    labels = Label(ArgMax(both), np.array(classes or ["no", "yes"], object))
    return Graph({"predict": labels, "predict_proba": both, "predict_log_proba": Log(both)})


def forest() -> Graph:
    """Two trees of one compare each."""
    trees = Forest(
        roots=np.array([0, 3]),
        feature=np.array([0, -2, -2, 1, -2, -2]),
        threshold=np.array([0.5, 0, 0, 1.5, 0, 0]),
        nan_right=np.zeros(6, bool),
        left=np.array([1, -1, -1, 4, -1, -1]),
        right=np.array([2, -1, -1, 5, -1, -1]),
    )
    leaves = trees.descend(table())
    return Graph({"predict": LeafSum(leaves, np.ones((4, 1)), np.zeros(1), None), "apply": leaves})


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_svg_shows_inputs_operators_types_attributes_and_outputs() -> None:
    shown = texts(svg(classifier()))
    for expected in ("x", "Finite", "Sub", "MatMul", "float64[N, 3]", "nan = False", "predict", "predict_log_proba"):
        assert expected in shown


def test_constants_are_lines_in_the_boxes_of_their_users() -> None:
    shown = texts(svg(classifier()))
    assert "w = float64[3, 1]" in shown or "y = float64[3, 1]" in shown
    assert "y = 0.25 float64" in shown
    assert "Const" not in shown


def test_svg_of_a_forest_shows_its_three_steps() -> None:
    shown = texts(svg(forest()))
    assert [step for step in shown if step in ("Rank", "Descend", "LeafSum")] == ["Rank", "Descend", "LeafSum"]


@pytest.mark.parametrize("label", ["<b>&amp;</b>", '"quoted"', "back\\slash", "bell\x07", "new\nline", "ünïcode ✓"])
def test_any_text_makes_valid_xml_and_dot(label: str) -> None:
    graph = Graph({label: table() + 1.0})
    shown = texts(svg(graph))
    assert any(text.startswith(label[:1]) for text in shown)
    for line in dot(graph).splitlines():
        inside = line.replace("\\\\", "").replace('\\"', "")
        assert inside.count('"') % 2 == 0
    assert "\x07" not in svg(graph) + dot(graph)


def test_a_long_attribute_is_cut() -> None:
    graph = Graph({"predict": Finite(table(), True, "a" * 200)})
    assert max(map(len, texts(svg(graph)))) == LONGEST


def test_no_two_boxes_overlap_and_every_edge_goes_down() -> None:
    for graph in (classifier(), forest(), wide()):
        layers = layout(boxes(graph))
        for layer in layers:
            for left, right in itertools.pairwise(layer):
                assert left.x + left.width <= right.x
        for box in (box for layer in layers for box in layer):
            for user in box.users:
                assert user.layer == box.layer + 1
                assert user.y >= box.y + box.height


def wide() -> Graph:
    x = table()
    parts: list[Op] = [x * float(i) for i in range(12)]
    return Graph({"transform": Concat((*parts, x, Log(Log(Log(x)))))})


def test_outputs_stand_in_the_last_layer() -> None:
    layers = layout(boxes(classifier()))
    assert {box.kind for box in layers[-1]} == {"output"}


def test_an_output_that_is_constant_is_drawn() -> None:
    assert "float64[3]" in texts(svg(Graph({"predict": Const(np.ones(3))})))


def test_all_edges_of_the_graph_are_in_the_dot_text() -> None:
    text = dot(forest())
    assert text.count("->") == 5  # x, Rank, Descend, LeafSum in a row, and two outputs
    assert text.startswith("digraph {")
    assert text.endswith("}\n")


@pytest.mark.parametrize("suffix", [".svg", ".dot", ".SVG"])
def test_draw_writes_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"graph{suffix}"
    classifier().draw(path)
    assert path.read_text(encoding="utf-8").startswith("digraph" if suffix == ".dot" else "<svg")


@pytest.mark.parametrize("name", ["graph.png", "graph"])
def test_another_suffix_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"a graph is drawn to a \.svg or a \.dot file, not to "):
        classifier().draw(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_bend_is_as_tall_as_its_layer() -> None:
    layers = layout(boxes(wide()))
    bends = [(box, layer) for layer in layers for box in layer if box.kind == "bend"]
    assert bends
    for box, layer in bends:
        assert box.height == max(other.height for other in layer)


def test_a_box_is_as_wide_as_its_longest_line() -> None:
    assert Box("operator", ("ab", "abcd")).width > Box("operator", ("abc",)).width
