"""The pictures of the results page, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import GTIL, HUMMINGBIRD, HUMMINGBIRD_JIT, INTELEX, ONNXRUNTIME, SOURCE
from benchmarks.report import Report
from benchmarks.scaling import Point
from benchmarks.targets import MANY

# Okabe and Ito's colours, which colour-blind readers can tell apart too.
COLOURS = {
    SOURCE: "#000000",
    INTELEX: "#0072b2",
    ONNXRUNTIME: "#009e73",
    HUMMINGBIRD: "#d55e00",
    HUMMINGBIRD_JIT: "#d55e00",
    GTIL: "#999999",
}
OURS = ("#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
MARKS = {SOURCE: "o", INTELEX: "D", ONNXRUNTIME: "s", HUMMINGBIRD: "^"}
LABELS = {HUMMINGBIRD: "Hummingbird, the faster"}
AXES = {"rows": "rows of a call", "trees": "trees", "depth": "depth"}


def pyplot() -> Any:
    """matplotlib, for SVG that is the same for the same numbers, with text as text."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "tensorml", "font.size": 8, "axes.spines.top": False}
    )
    matplotlib.rcParams["axes.spines.right"] = False
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, path: Path) -> None:
    """Write it, without the date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
    pyplot().close(figure)


def ratios(report: Report, path: Path) -> None:
    """How many times as fast as each peer, a line for each model, in groups by family."""
    shown = [c for c in report.comparisons if c.rows >= MANY and c.times_as_fast(SOURCE, report.auto) is not None]
    figure, axes = pyplot().subplots(figsize=(6.5, 0.6 + 0.17 * len(shown)))
    for peer, marker in MARKS.items():
        places, values = [], []
        for place, comparison in enumerate(shown):
            if (ratio := comparison.times_as_fast(peer, report.auto)) is not None:
                places.append(place)
                values.append(ratio)
        axes.plot(values, places, marker, color=COLOURS[peer], markersize=4, alpha=0.8, label=LABELS.get(peer, peer))
    axes.axvline(1, color="#888888", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [c.case for c in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"how many times as fast {report.auto} is (right of the line: faster)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, frameon=False)
    save(figure, path)


def curves(report: Report, kinds: Sequence[str], path: Path) -> None:
    """Milliseconds over what is varied, a panel for each curve of these kinds."""
    points = [point for point in report.points if point.curve.partition(":")[0] in kinds]
    names = list(dict.fromkeys(point.curve for point in points))
    if not names:
        return
    figure, panels = pyplot().subplots(1, len(names), figsize=(3.4 * len(names), 2.9), squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        panel(axes, report, [point for point in points if point.curve == name])
    finish(figure, panels, path)


def break_even(report: Report, path: Path) -> None:
    """How many times as fast as each peer over the rows of a call: where a line crosses 1, the peer is no faster."""
    points = [point for point in report.points if point.curve.startswith("rows:")]
    names = list(dict.fromkeys(point.curve for point in points))
    if not names:
        return
    figure, panels = pyplot().subplots(1, len(names), figsize=(3.4 * len(names), 2.9), squeeze=False, sharey=True)
    for axes, name in zip(panels[0], names, strict=True):
        for peer, marker in MARKS.items():
            ratios = [(p.value, p.comparison.times_as_fast(peer, report.auto)) for p in points if p.curve == name]
            found = [(value, ratio) for value, ratio in ratios if ratio is not None]
            if found:
                axes.plot(
                    *zip(*found, strict=True),
                    f"{marker}-",
                    color=COLOURS[peer],
                    markersize=4,
                    label=LABELS.get(peer, peer),
                )
        decorate(axes, name, f"times as fast {report.auto} is")
        axes.axhline(1, color="#888888", linewidth=1)
    finish(figure, panels, path)


def decorate(axes: Any, curve: str, text: str) -> None:
    """Scales, titles and a grid. text: of the vertical axis."""
    kind, _, what = curve.partition(": ")
    axes.set_xscale("linear" if kind == "depth" else "log")
    axes.set_yscale("log")
    axes.set_title(what, fontsize=8)
    axes.set_xlabel(AXES[kind])
    axes.set_ylabel(text)
    axes.grid(color="#eeeeee")


def finish(figure: Any, panels: Any, path: Path) -> None:
    """One legend for all panels, and the file."""
    handles = {
        label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=4, frameon=False
    )
    figure.tight_layout()
    save(figure, path)


def panel(axes: Any, report: Report, points: Sequence[Point]) -> None:
    """The lines of one curve."""
    ours = dict(zip([report.auto, *(name for name in report.ours if name != report.auto)], OURS, strict=False))
    for name in report.names:
        found = [(p.value, p.comparison.milliseconds[name]) for p in points if name in p.comparison.milliseconds]
        if found:
            wide = {"linewidth": 2} if name == report.auto else {"linewidth": 1}
            colour = (COLOURS | ours).get(name, "#999999")
            axes.plot(*zip(*found, strict=True), ".-", color=colour, label=name, **wide)
    decorate(axes, points[0].curve, "milliseconds")
