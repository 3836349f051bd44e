"""What the models inside an ensemble get, and what they return, in the ensemble's own terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorml.converter import Outputs, fitted_attribute, unsupported
from tensorml.frames import OBJECTS, Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    Abs,
    Columns,
    Concat,
    Equal,
    Exp,
    Label,
    Log1p,
    Max,
    Neg,
    OneHot,
    Reshape,
    Sparse,
    Take,
    Untyped,
    Where,
    cast,
    full,
)
from tensorml_sklearn.pipeline import outputs_of
from tensorml_sklearn.validation import finite

FLOAT64 = np.dtype(np.float64)
INT64 = np.dtype(np.int64)
NUMBERS = "biuf"


def member_label(model: Any, name: str) -> str:
    """How a refusal names a model inside a voting or stacking ensemble."""
    return f"{type(model).__name__} {name!r}"


def base_label(model: Any, i: int) -> str:
    """How a refusal names one of an ensemble's numbered models."""
    return f"{type(model).__name__} estimators_[{i}]"


def named_members(model: Any) -> list[tuple[str, Any]]:
    """The fitted models of a voting or stacking ensemble that were not dropped, under the names that refusals use."""
    names = [name for name, part in fitted_attribute(model, "named_estimators_").items() if not isinstance(part, str)]
    return [(member_label(model, n), part) for n, part in zip(names, model.estimators_, strict=True)]


def first_base(model: Any) -> list[tuple[str, Any]]:
    """The first of an ensemble's models, which are all of one class. For `check`."""
    return [(base_label(model, 0), fitted_attribute(model, "estimators_")[0])]


def rows(x: Op | Frame) -> Op:
    """What a base model gets where the ensemble has made an array of X: its own dtype, Sparse where it is sparse.

    Source: sklearn.utils.validation.check_array(dtype=None): columns of nullable dtypes become float64 there, bools
    beside numbers what NumPy makes of both; an array of Python objects stays one.
    """
    read = x.matrix() if isinstance(x, Frame) else x
    return read.x if isinstance(read, Untyped) and read.container != OBJECTS else read


def all_finite(model: Any, x: Op) -> Op:
    """The rows after the check that an ensemble makes before its base models do."""
    match x:
        case Sparse(x=inner):
            return Sparse(finite(model, inner))
        case Untyped(x=inner, container=container):
            return Untyped(finite(model, inner), container)
    return finite(model, x)


def chosen(x: Op, features: np.ndarray) -> Op:
    """The columns that a base model was fitted on."""
    match x:
        case Sparse(x=inner):
            return Sparse(Columns(inner, features))
        case Untyped(x=inner, container=container):
            return Untyped(Columns(inner, features), container)
    return Columns(x, features)


def result(member: Any, x: Op | Frame, method: str, step: str) -> Op | list[Op]:
    """What a method of a member returns: one operator, or one for each item of a list.

    Raises UnsupportedModelError if the converted member lacks it.
    """
    return chosen_output(member, outputs_of(member, x, step), method, step)


def chosen_output(member: Any, outputs: Outputs, method: str, step: str) -> Op | list[Op]:
    """One of the outputs, as `result` says."""
    if method in outputs:
        return outputs[method]
    items = [op for name, op in outputs.items() if name.startswith(f"{method}[")]
    if not items:
        raise unsupported(
            member, f"its {method}() is not converted, and the ensemble calls it", "Leave it out of the ensemble"
        ).within(step)
    return items


def one(member: Any, x: Op | Frame, method: str, step: str) -> Op:
    """What a method that returns one array returns."""
    found = result(member, x, method, step)
    if isinstance(found, list):
        raise unsupported(member, f"its {method}() returns a list", "Use models of one output").within(step)
    return found


def numbers(member: Any, op: Op, step: str) -> Op:
    """A prediction as numbers: of a label, the class itself. Raises UnsupportedModelError for labels that are none."""
    if not isinstance(op, Label):
        return op
    if op.classes.dtype.kind not in NUMBERS:
        raise unsupported(
            member,
            f"its labels are no numbers ({op.classes.dtype}), and the ensemble computes with them",
            "Fit it on numbers, or inside the ensemble, which then encodes the labels",
        ).within(step)
    return Take(Const(op.classes), op.index)


def column(x: Op) -> Op:
    """[N] as [N, 1]."""
    return Reshape(x, (1,)) if len(x.shape) == 1 else x


def total(parts: Sequence[Op]) -> Op:
    """The sum, from the first to the last."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def one_hot(labels: Op, count: int) -> Op:
    """A 1 in the column of each label. labels: integers [N] from 0 to count - 1; result: float64 [N, count]."""
    return OneHot(column(cast(labels, INT64)), (count,), FLOAT64)


def spread(p: Op, classes: np.ndarray, count: int, absent: float) -> Op:
    """Columns for the classes that a member knows, in the place that they have among all, `absent` in the others.

    p: [N, number of classes]; result: [N, count].
    """
    if len(classes) == count:
        return p
    place = np.full(count, len(classes))
    place[classes] = np.arange(len(classes))
    known = Columns(p, np.arange(len(classes)))
    return Columns(Concat((known, full(p, (1,), absent, p.dtype))), place)


def log_add_exp(x: Op, y: Op) -> Op:
    """log(exp(x) + exp(y)), also of infinities. Source: numpy.logaddexp."""
    apart = Max(x, y) + Log1p(Exp(Neg(Abs(x - y))))
    return Where(Equal(x, y), x + float(np.log(2.0)), apart)
