from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import StandardScaler

from tensorml.check import Report, check
from tensorml.converter import Outputs, apply, converter, unsupported
from tensorml.graph import Op

X = np.array([[1.0, 2.0], [3.0, 1.0], [0.5, 0.25]])


class Base(TransformerMixin, BaseEstimator):
    """A transformer of our own; fitted by its width."""

    def fit(self, X: np.ndarray, y: object = None) -> Any:
        self.n_features_in_ = X.shape[1]
        return self


class Chain(Base):
    def __init__(self, steps: list[tuple[str, Any]]):
        self.steps = steps


class Picky(Base): ...


class Broken(Base): ...


class Stranger(Base): ...


class Widthless(Base):
    def fit(self, X: np.ndarray, y: object = None) -> Any:
        self.fitted_ = True
        return self


class Child(StandardScaler): ...


@converter(Chain, steps=lambda model: model.steps)
def chain(model: Chain, x: Op) -> Outputs:
    for name, step in model.steps:
        if step not in (None, "passthrough"):
            x = apply(step, x, step=name)["transform"]
    return {"transform": x}


class Sealed(Base):
    """Holds a model, and its converter does not name it."""

    def __init__(self, inner: Any):
        self.inner = inner


@converter(Sealed)
def sealed(model: Sealed, x: Op) -> Outputs:
    return apply(model.inner, x, step="odd")


@converter(Picky)
def picky(model: Picky, x: Op) -> Outputs:
    raise unsupported(model, "flavour='odd' is not reproduced", "Use flavour='even'")


@converter(Broken)
def broken(model: Broken, x: Op) -> Outputs:
    return {"transform": x + model.missing}  # pyright: ignore[reportAttributeAccessIssue]


@converter(Widthless)
def widthless(model: Widthless, x: Op) -> Outputs:
    return {"transform": x}


def fitted(*steps: tuple[str, Any]) -> Chain:
    return Chain(list(steps)).fit(X)


def rows(report: Report) -> list[tuple[tuple[str, ...], str]]:
    return [(step.path, step.status) for step in report.steps]


def test_a_model_that_converts_names_its_methods() -> None:
    report = check(StandardScaler().fit(X))
    assert report.ok
    assert report.steps[0].methods == ("transform", "inverse_transform")
    assert str(report).startswith("sklearn.preprocessing.StandardScaler: converts\n")


def test_every_step_inside_is_listed_with_its_path() -> None:
    inner = fitted(("scale", StandardScaler().fit(X)), ("odd", Picky().fit(X)))
    report = check(fitted(("inner", inner), ("skip", "passthrough"), ("none", None)))
    assert rows(report) == [
        ((), "REFUSED"),
        (("inner",), "REFUSED"),
        (("inner", "scale"), "converts"),
        (("inner", "odd"), "REFUSED"),
    ]
    assert not report.ok


def test_a_refusal_says_where_why_and_what_to_do() -> None:
    assert str(check(Picky().fit(X))).endswith("model: flavour='odd' is not reproduced. Use flavour='even'.")


def test_a_refusal_is_told_once_at_the_step_that_causes_it() -> None:
    report = check(fitted(("inner", fitted(("odd", Picky().fit(X))))))
    assert str(report).count("flavour='odd' is not reproduced") == 1
    assert "inner > odd: flavour='odd' is not reproduced. Use flavour='even'." in str(report)
    assert report.steps[0].reason == f"inner > odd, {__name__}.Picky: flavour='odd' is not reproduced"


def test_a_refusal_inside_a_step_that_is_not_listed_is_told_by_the_model() -> None:
    text = str(check(Sealed(Picky().fit(X)).fit(X)))
    assert f"model: odd, {__name__}.Picky: flavour='odd' is not reproduced. Use flavour='even'." in text


def test_an_unfitted_model_is_reported_and_its_steps_are_too() -> None:
    assert rows(check(StandardScaler())) == [((), "not fitted")]
    report = check(Chain([("scale", StandardScaler())]))
    assert rows(report) == [((), "not fitted"), (("scale",), "not fitted")]
    assert "scale: it is not fitted. Call fit() before converting it." in str(report)


@pytest.mark.parametrize("model", [object(), 3, None, "text", [1], Stranger().fit(X), lambda: None])
def test_what_has_no_converter_is_reported(model: object) -> None:
    report = check(model)
    assert rows(report) == [((), "REFUSED")]
    assert "there is no converter for this class" in str(report)


@pytest.mark.parametrize("model", [type, StandardScaler])
def test_a_class_is_reported_as_no_model(model: type) -> None:
    report = check(model)
    assert rows(report) == [((), "REFUSED")]
    assert "it is a class, not a fitted model. Make an instance, fit it, convert that." in str(report)


def test_a_subclass_is_refused_with_its_reason() -> None:
    report = check(Child().fit(X))
    assert "it is a subclass of sklearn.preprocessing.StandardScaler" in report.steps[0].reason


def test_a_converter_that_fails_is_reported_as_a_fault() -> None:
    report = check(fitted(("broken", Broken().fit(X))))
    assert rows(report) == [((), "REFUSED"), (("broken",), "REFUSED")]
    assert "its converter fails: AttributeError" in report.steps[1].reason
    assert report.steps[1].todo == "Please report this as a bug"


def test_a_model_that_does_not_know_its_width_needs_rows() -> None:
    model = Widthless().fit(X)
    assert "it does not know its number of features" in check(model).steps[0].reason
    assert check(model, X).ok


def test_the_model_is_not_changed() -> None:
    model = StandardScaler().fit(X)
    before = {name: np.array(value) for name, value in vars(model).items()}
    check(model)
    assert before.keys() == vars(model).keys()


def test_an_operator_that_the_executor_lacks_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorml.executors.torch.rules import rules
    from tensorml.ops import Div

    monkeypatch.delitem(rules.table, Div)
    report = check(StandardScaler().fit(X), executor="torch")
    assert "the executor 'torch' has no rule for Div" in report.steps[0].reason
    assert check(StandardScaler().fit(X), executor="reference").ok


def test_the_report_shows_in_rich() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(check(fitted(("odd", Picky().fit(X)))))
    assert "REFUSED" in console.export_text()
