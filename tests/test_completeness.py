"""Every estimator of scikit-learn converts and agrees with itself, or is refused for its own reason."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import tensorml
from tensorml.converter import registered
from tensorml.errors import UnsupportedModelError, qualified_name
from tensorml_sklearn.unsupported import REFUSED
from tests.estimators import METHODS, Case, called, cases, estimators, methods_of
from tests.parity import assert_equal_outputs

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of classes that scikit-learn gives up

PENDING: set[str] = set()  # what has no converter yet; a name that converts fails

DTYPES = {"float64": np.float64, "float32": np.float32}
ROUNDING = {"float64": (1e-9, 1e-10), "float32": (2e-4, 2e-5)}  # rtol, atol: sums in another order
LOOSER: dict[str, tuple[dict[str, tuple[float, float]], str]] = {
    "Birch": (
        {"float64": (1e-9, 2e-7), "float32": (2e-4, 5e-3)},
        "the distance of a row to itself is the root of what rounding leaves of 0",
    ),
}
WRONG = (ValueError, AttributeError, NotFittedError, IndexError, TypeError)


def named(names: Any) -> list[str]:
    """Those of the estimators, by class name, that this scikit-learn has."""
    return sorted(name for name, cls in estimators().items() if qualified_name(cls) in names)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what the other libraries import
    CONVERTERS = registered()
CONVERTED = [name for name, cls in estimators().items() if cls in CONVERTERS and name not in PENDING]


@cache
def fitted_cases(name: str, dtype: str) -> list[Case]:
    return cases(name, DTYPES[dtype])


@cache
def expected(name: str, dtype: str, target: str, method: str, count: int) -> Any:
    """What the library returns; an exception that it raises."""
    case = next(case for case in fitted_cases(name, dtype) if case.target == target)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return called(case.model, method, case.rows[:count], case.model)
        except WRONG as error:
            return error


def test_every_estimator_converts_or_is_refused_for_a_reason() -> None:
    known = {qualified_name(cls) for cls in CONVERTERS} | set(REFUSED)
    missing = {name for name, cls in estimators().items() if qualified_name(cls) not in known}
    assert missing == PENDING


def test_nothing_converts_and_is_refused() -> None:
    assert [qualified_name(cls) for cls in CONVERTERS if qualified_name(cls) in REFUSED] == []


@pytest.mark.parametrize("name", named(REFUSED))
def test_a_refusal_says_why_and_what_to_do(name: str) -> None:
    reason, todo = REFUSED[qualified_name(estimators()[name])]
    with pytest.raises(UnsupportedModelError) as caught:
        tensorml.convert(estimators()[name]())
    assert str(caught.value) == f"{qualified_name(estimators()[name])}: {reason}. {todo}."
    report = tensorml.check(estimators()[name]())
    assert not report.ok
    assert f"{reason}. {todo}." in str(report)


@pytest.mark.parametrize("executor", ["reference", "torch"])
@pytest.mark.parametrize("name", CONVERTED)
def test_every_method_agrees(name: str, executor: str) -> None:
    for dtype in DTYPES:
        for case in fitted_cases(name, dtype):
            model = tensorml.convert(case.model, case.rows, executor=executor)
            for method in methods_of(case.model):
                compare(case, model, method, dtype)


def compare(case: Case, model: Any, method: str, dtype: str) -> None:
    """One method, for all rows and for one: equal, or refused by name."""
    for count in (len(case.rows), 1):
        result = expected(case.name, dtype, case.target, method, count)
        if isinstance(result, WRONG):
            continue
        if method in model.description.refused and not hasattr(model, method):
            with pytest.raises(AttributeError, match=f"{method} is not converted"):
                getattr(model, method)
            continue
        assert hasattr(model, method), f"{case.name}.{method} of {case.target} is neither converted nor refused"
        rtol, atol = LOOSER.get(case.name, (ROUNDING,))[0][dtype]
        actual = called(model, method, case.rows[:count], case.model)
        assert_alike(actual, result, f"{case.name}.{method}, {case.target}, {dtype}, {count} rows", rtol, atol)


def assert_alike(actual: Any, result: Any, what: str, rtol: float, atol: float) -> None:
    """As `assert_equal_outputs`, also for arrays of arrays, such as neighbours within a radius."""
    if isinstance(result, tuple | list) and any(getattr(part, "dtype", None) == np.dtype(object) for part in result):
        for mine, theirs in zip(actual, result, strict=True):
            assert_equal_outputs(list(mine), list(theirs), what, rtol, atol)
        return
    assert_equal_outputs(actual, result, what, rtol, atol)


def test_every_method_is_tried() -> None:
    tried = {
        method for name in CONVERTED for case in fitted_cases(name, "float64") for method in methods_of(case.model)
    }
    assert tried == {method for method in METHODS if any(hasattr(cls, method) for cls in estimators().values())}
