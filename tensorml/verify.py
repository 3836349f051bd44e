"""verify(): a converted model beside its source, method by method and row by row."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tensorml.converter import Model, home, library
from tensorml.errors import MismatchError, qualified_name
from tensorml.model import TensorModel, parse
from tensorml.report import Table

METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score_samples",
    "transform",
    "inverse_transform",
    "apply",
    "decision_path",
)
RTOL: Mapping[str, float] = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-9}
"""How far a float may be off, by the dtype of the source's result; see `verify`. Sums in another order stay within."""

REFUSALS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

NOT_COMPARED = "not compared"
STYLES = {
    "equal": "green",
    "within": "green",
    "both": "green",
    "not": "yellow",
    "DIFFERS": "bold red",
    "MISSING": "bold red",
}


@dataclass(frozen=True)
class Comparison:
    """One method of the source beside the same method of the converted model.

    status: "equal" (all bits; NaN equals NaN), "within rounding", "both refuse" the input, "not compared" (the
        converted model refuses the method for a reason of its own), "DIFFERS", or "MISSING".
    absolute, relative: the largest errors, in numbers that both have; 0 where all are equal.
    row: the first row beyond tolerance, None if there is none; column: the first place in it; expected, actual: the
    values there.
    differing: how many rows are beyond tolerance.
    """

    method: str
    status: str
    rows: int = 0
    what: str = ""
    absolute: float = 0.0
    relative: float = 0.0
    row: int | None = None
    column: tuple[int, ...] = ()
    expected: Any = None
    actual: Any = None
    differing: int = 0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the converted model does here what its source does, or says why it does not."""
        return self.status in ("equal", "within rounding", "both refuse", NOT_COMPARED)

    @property
    def remark(self) -> str:
        """What else is to be said of it: the reason, or the first value that differs. Empty where all is well."""
        if self.row is None:
            return f"{self.method}: {self.reason}" if self.reason else ""
        where = f"row {self.row}" + (f", column {', '.join(map(str, self.column))}" if self.column else "")
        values = f"the source returns {self.expected!r}, the converted model {self.actual!r}"
        return f"{self.method}: {self.differing} of {self.rows} rows differ; first in {where}: {values}"


@dataclass(frozen=True)
class Report:
    """What `verify` found, one comparison a method."""

    source: str
    executor: str
    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether everything agrees, and at least one result was compared: that both refuse X proves little."""
        return all(comparison.ok for comparison in self.comparisons) and any(c.what for c in self.comparisons)

    def raise_for_mismatch(self) -> None:
        """Raise MismatchError, with the whole report, if the converted model differs from its source."""
        if not self.ok:
            raise MismatchError(f"the converted model does not return what its source returns\n{self}")

    @cached_property
    def table(self) -> Table:
        """The report as a table."""
        compared = any(comparison.what for comparison in self.comparisons)
        verdict = "the same" if self.ok else "NOT the same" if compared else "NOT compared, no call returned a result"
        return Table(
            ("method", "result", "rows", "type", "abs. error", "rel. error"),
            [_cells(comparison) for comparison in self.comparisons],
            f"{self.source} on executor '{self.executor}': {verdict}",
            STYLES,
            right=(2, 4, 5),
            notes=[comparison.remark for comparison in self.comparisons if comparison.remark],
        )

    def __str__(self) -> str:
        return str(self.table)

    def __rich__(self) -> Any:
        return self.table.__rich__()


def verify(
    source: Model, converted: TensorModel, X: Any, *, rtol: float | None = None, atol: float | None = None
) -> Report:
    """Every inference method of the source and of the converted model on X [N, F], compared.

    Container, shape, dtype and column names must be the same. Labels, leaves (`apply`), integers and Booleans must be
    equal; so must NaN, and infinities, be in the same places. A float may be off by `rtol` times its own magnitude
    plus `atol`. rtol is, unless given, 1e-5 for float32, 1e-9 for float64 and 1e-2 for float16; atol is rtol times the
    largest magnitude in the same column, because a sum that cancels keeps the rounding of its parts.

    A method in which both refuse X with an error agrees, but a report in which no method returned anything is not ok.
    A method that one side lacks is a mismatch, unless the converted model names the reason: it is not compared then.
    """
    rows = X.detach().cpu().numpy() if hasattr(X, "detach") else X
    comparisons: list[Comparison] = []
    for method, options in calls(source, converted):
        name = method + (f"({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else "")
        labels = method == "predict" and hasattr(source, "classes_") and not options
        limits = Limits(labels or method == "apply" or "pred_leaf" in options, rtol, atol)
        if not (hasattr(source, method) and hasattr(converted, method)):
            comparisons.append(_missing(source, converted, method))
        elif method == "inverse_transform":
            comparisons += _compare_inverse(source, converted, rows, limits)
        else:
            given = (_Outcome.of(source, method, rows, options), _Outcome.of(converted, method, X, options))
            comparisons += compare_outcomes(name, *given, limits)
    return Report(qualified_name(source), converted.executor.name, tuple(comparisons))


def _missing(source: Model, converted: TensorModel, method: str) -> Comparison:
    """What to say of a method that one side lacks."""
    refused = converted.description.refused.get(method)
    if hasattr(source, method) and refused is not None:
        return Comparison(method, NOT_COMPARED, reason=f"{refused}")
    side = "converted model" if hasattr(source, method) else "source"
    return Comparison(method, "MISSING", reason=f"the {side} has no {method}()")


def calls(source: Model, converted: TensorModel) -> Iterator[tuple[str, dict[str, Any]]]:
    """The methods that either side has, each with the options of its variants."""
    names = dict.fromkeys((*METHODS, *converted.methods))
    for method in names:
        if hasattr(source, method) or hasattr(converted, method):
            yield method, {}
    variants = dict.fromkeys(parse(name)[:2] for name in converted.outputs)
    for method, variant in variants:
        if variant:
            yield method, options_of(variant)


def options_of(variant: str) -> dict[str, Any]:
    """The keyword arguments that a variant names: 'output_margin=True' as {'output_margin': True}."""
    call = ast.parse(f"f({variant})", mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError(f"{variant!r} is not a list of arguments")
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


def call(model: Any, method: str, X: Any, options: Mapping[str, Any]) -> Any:
    """What a method returns. A library whose methods take no table has its own way to call them."""
    root = home(type(model))
    way = None if root is None else getattr(library(root), "call", None)
    return getattr(model, method)(X, **options) if way is None else way(model, method, X, options)


@dataclass(frozen=True)
class Limits:
    """How far values may be apart. exact: not at all."""

    exact: bool
    rtol: float | None = None
    atol: float | None = None

    def allowed(self, expected: np.ndarray) -> np.ndarray | float:
        """The error that each element may have, of the shape of `expected` [N, ...]."""
        if self.exact or expected.dtype.kind != "f":
            return 0.0
        rtol = RTOL[expected.dtype.name] if self.rtol is None else self.rtol
        size = np.where(np.isfinite(expected), np.abs(expected), 0).astype(np.float64)
        atol = rtol * size.max(axis=0, keepdims=True, initial=0) if self.atol is None else self.atol
        return rtol * size + atol


@dataclass(frozen=True)
class _Outcome:
    """What a call returned, or the error it raised."""

    value: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, model: Any, method: str, X: Any, options: Mapping[str, Any]) -> _Outcome:
        try:
            with np.errstate(all="ignore"):  # a forest's logarithm of 0, for one: the result tells
                return cls(value=call(model, method, X, options))
        except REFUSALS as error:
            return cls(error=error)


def compare_outcomes(name: str, expected: _Outcome, actual: _Outcome, limits: Limits) -> list[Comparison]:
    """The comparisons of one call: one, or one per item of a list."""
    if expected.error is not None and actual.error is not None:
        return [Comparison(name, "both refuse", reason=f"{_first_line(expected.error)}")]
    if expected.error is not None:
        return [Comparison(name, "DIFFERS", reason=f"only the source refuses: {_first_line(expected.error)}")]
    if actual.error is not None:
        return [Comparison(name, "DIFFERS", reason=f"only the converted model refuses: {_first_line(actual.error)}")]
    if isinstance(expected.value, list | tuple) and isinstance(actual.value, list | tuple):
        if len(expected.value) != len(actual.value):
            reason = f"lists of {len(expected.value)} and {len(actual.value)} items"
            return [Comparison(name, "DIFFERS", reason=reason)]
        pairs = enumerate(zip(expected.value, actual.value, strict=True))
        return [compare(f"{name}[{i}]", e, a, limits) for i, (e, a) in pairs]
    return [compare(name, expected.value, actual.value, limits)]


def compare(name: str, expected: Any, actual: Any, limits: Limits) -> Comparison:
    """One result beside the other: container, names, shape and dtype first, then values."""
    if hasattr(actual, "detach"):
        actual = actual.detach().cpu().numpy()
    if type(expected) is not type(actual):
        return Comparison(name, "DIFFERS", reason=f"{_class(expected)} and {_class(actual)}")
    if hasattr(expected, "columns") and list(expected.columns) != list(actual.columns):
        return Comparison(name, "DIFFERS", reason="the columns have other names")
    if hasattr(expected, "dtypes") and hasattr(expected, "columns") and list(expected.dtypes) != list(actual.dtypes):
        return Comparison(name, "DIFFERS", reason="the columns have other dtypes")
    if hasattr(expected, "tocsr") and _same_sparse(expected, actual):
        return Comparison(name, "equal", expected.shape[0], f"{expected.dtype}[{', '.join(map(str, expected.shape))}]")
    e, a = _dense(expected), _dense(actual)
    what = f"{e.dtype}[{', '.join(map(str, e.shape))}]"
    if e.dtype != a.dtype or e.shape != a.shape:
        reason = f"source {what}, converted {a.dtype}[{', '.join(map(str, a.shape))}]"
        return Comparison(name, "DIFFERS", len(e), what, reason=reason)
    return compare_values(name, what, e, a, limits)


def compare_values(name: str, what: str, expected: np.ndarray, actual: np.ndarray, limits: Limits) -> Comparison:
    """Two arrays of one shape and dtype."""
    same = _same(expected, actual)
    if same.all():
        return Comparison(name, "equal", len(expected), what)
    absolute, relative = np.zeros(expected.shape), np.zeros(expected.shape)
    wrong = ~same
    if expected.dtype.kind in "biuf":
        absolute, relative = _errors(expected, actual, same)
        wrong &= ~(absolute <= limits.allowed(expected))
    found = Comparison(name, "within rounding", len(expected), what, _largest(absolute), _largest(relative))
    return _with_first(found, wrong, expected, actual) if wrong.any() else found


def _with_first(found: Comparison, wrong: np.ndarray, expected: np.ndarray, actual: np.ndarray) -> Comparison:
    """The comparison with the first place where `wrong` holds."""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    rows = int(wrong.reshape(len(wrong), -1).any(axis=1).sum())
    values = (_scalar(expected[place]), _scalar(actual[place]))
    first = replace(found, row=place[0], column=place[1:], expected=values[0], actual=values[1])
    return replace(first, status="DIFFERS", differing=rows)


def _same_sparse(expected: Any, actual: Any) -> bool:
    """Whether two SciPy matrices are of one shape and dtype and equal, without NaN. Found without dense rows."""
    alike = expected.shape == actual.shape and expected.dtype == actual.dtype
    return alike and (expected != actual).nnz == 0


def _same(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Where two arrays are equal, NaN to NaN. bool, of their shape."""
    both_nan = (expected != expected) & (actual != actual)
    return np.asarray((expected == actual) | both_nan, bool)


def _errors(expected: np.ndarray, actual: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Absolute and relative errors, float64; NaN where only one side is a number, infinite where one is infinite."""
    with np.errstate(all="ignore"):
        e, a = expected.astype(np.float64), actual.astype(np.float64)
        absolute = np.where(same, 0.0, np.abs(a - e))
        relative = np.where(same, 0.0, absolute / np.abs(e))
    return absolute, relative


def _compare_inverse(source: Model, converted: TensorModel, X: Any, limits: Limits) -> list[Comparison]:
    """The way back, from what the source's own `transform` returned."""
    back = _Outcome.of(source, "transform", X, {})
    if back.error is not None:
        return [Comparison("inverse_transform", "both refuse", reason=_first_line(back.error))]
    given = back.value.toarray() if hasattr(back.value, "toarray") else back.value
    outcomes = [_Outcome.of(model, "inverse_transform", given, {}) for model in (source, converted)]
    return compare_outcomes("inverse_transform", outcomes[0], outcomes[1], limits)


def _largest(errors: np.ndarray) -> float:
    return float(errors.max(initial=0, where=~np.isnan(errors)))


def _dense(value: Any) -> np.ndarray:
    if hasattr(value, "toarray"):
        return value.toarray()
    return value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)


def _class(value: Any) -> str:
    return qualified_name(value) if type(value).__module__ != "builtins" else type(value).__name__


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _scalar(value: Any) -> Any:
    """A NumPy scalar as Python's number or string."""
    return value.item() if isinstance(value, np.generic) else value


def _cells(c: Comparison) -> tuple[str, ...]:
    errors = (f"{c.absolute:.2g}", f"{c.relative:.2g}") if c.what else ("", "")
    return (c.method, c.status, str(c.rows) if c.what else "", c.what, *errors)


__all__ = ["METHODS", "RTOL", "Comparison", "Report", "verify"]
