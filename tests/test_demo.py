from __future__ import annotations

import builtins
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

import tensorml.demo as demo
from tensorml.cli import main
from tensorml.demo.measure import LEAST, MOST, Times, race
from tensorml.demo.models import MODELS, Trained
from tensorml.errors import MissingDependencyError
from tensorml.report import Table


def small() -> list[Trained]:
    """One fitted model, in place of those of the demonstration."""
    X = load_wine().data
    return [Trained("Scaler <&>", "wine", StandardScaler().fit(X), X, "transform")]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "trained_models", small)
    monkeypatch.setattr("tensorml.demo.measure.BUDGET", 0.0)


@pytest.mark.usefixtures("quick")
def test_the_demonstration_prints_a_table_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--output", str(tmp_path / "out"), "--rows", "300"]) == 0
    text = capsys.readouterr().out
    assert "Scaler <&> (wine)  all equal" in text
    assert "300 rows" in text
    assert "saved as TorchScript, loaded again: all equal on 178 rows." in text
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    HTMLParser().feed(html)
    assert "<td>Scaler &lt;&amp;&gt; (wine)</td>" in html
    assert "<svg" in html
    ElementTree.parse(tmp_path / "out" / "graph.svg")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["graph.svg", "index.html", "model.pt"]


@pytest.mark.usefixtures("quick")
def test_a_difference_is_shown_and_is_exit_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (scaler,) = small()
    other = demo.convert(StandardScaler().fit(scaler.X * 2))
    monkeypatch.setattr(demo, "convert", lambda model: other)
    assert main(["demo", "--output", str(tmp_path), "--rows", "10"]) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_a_missing_library_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "xgboost":
            raise ModuleNotFoundError("No module named 'xgboost'", name="xgboost")
        return real(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "tensorml.demo.models")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match=r"needs xgboost\. Install it: pip install 'tensorml\[xgboost\]'"):
        list(demo.trained_models())


def test_the_models_are_of_all_kinds() -> None:
    names = " ".join(name for name, *_ in MODELS)
    for kind in ("ColumnTransformer", "RandomForest", "HistGradientBoosting", "XGB", "LinearSVC"):
        assert kind in names


def test_a_race_takes_turns() -> None:
    calls: list[str] = []
    race(lambda: calls.append("source"), lambda: calls.append("converted"))
    assert calls[:4] == ["source", "converted"] * 2
    assert calls.count("source") == calls.count("converted")
    assert LEAST < calls.count("source") <= MOST + 1


def test_a_ratio_above_one_means_faster() -> None:
    assert Times(source=2.0, converted=0.5).ratio == 4.0


@pytest.mark.parametrize(
    ("seconds", "shown"), [(12.3456, "12,346"), (0.1, "100"), (0.0123456, "12.3"), (0.0000123456, "0.0123")]
)
def test_times_are_shown_with_three_digits(seconds: float, shown: str) -> None:
    assert demo.milliseconds(seconds) == shown


def test_the_answers_are_told_in_few_words() -> None:
    report = demo.verify(small()[0].model, demo.convert(small()[0].model, executor="reference"), small()[0].X)
    assert demo.answers(report) == "all equal"
    near = replace(report, comparisons=(replace(report.comparisons[0], status="within rounding", relative=2e-13),))
    assert demo.answers(near) == "equal within 2e-13"
    far = replace(report, comparisons=(replace(report.comparisons[0], status="DIFFERS", relative=1.0),))
    assert demo.answers(far) == "DIFFERS"


def test_a_cell_without_its_column_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        str(Table(("a", "b"), [("1",)]))


def test_the_first_model_of_the_demonstration_agrees() -> None:
    _, _, load, make, method = MODELS[0]
    X, y = load(return_X_y=True)
    model = make().fit(X, y)
    report = demo.verify(model, demo.convert(model, executor="reference"), X)
    assert report.ok, str(report)
    assert method in {comparison.method for comparison in report.comparisons}
