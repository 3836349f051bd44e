"""Do not compute columns that nobody reads."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from tensorml.graph import Const, Graph, Input, Op
from tensorml.ops import Cast, Columns, Concat, Finite, Lookup, Rank, Require, Within
from tensorml.ops.elementwise import Binary, Unary


def drop_unread_columns(graph: Graph) -> Graph:
    """EXACT: a selection of columns moves up through what computes each column apart.

    Only operators with a single user are narrowed: another user would still need the rest.
    """
    once = {op for op, count in graph.uses().items() if count == 1}

    def narrow(op: Op) -> Op | None:
        match op:
            case Columns(x=x, indices=indices) if x in once and not isinstance(x, Input):
                narrowed = select(x, indices, once)
                return None if isinstance(narrowed, Columns) and narrowed.x is x else narrowed
            case Rank(x=x, source=source) | Lookup(x=x, source=source) if x in once and len(set(source)) < x.columns:
                read = np.unique(source)
                fields = {"x": select(x, read, once), "source": np.searchsorted(read, source)}
                return type(op)(**{**op.fields, **fields})
        return None

    return graph.rewrite(narrow)


def select(x: Op, indices: np.ndarray, once: Set[Op]) -> Op:
    """The columns of x: computed alone where x computes each column apart and has no other user."""
    inner = x if x in once else None
    match inner:
        case Cast(x=operand):
            return Cast(select(operand, indices, once), x.dtype)
        case Unary(x=operand) if len(operand.shape) == 2:
            return type(inner)(select(operand, indices, once))
        case Binary(x=a, y=b) if len(x.shape) == 2:
            return type(inner)(*(_operand(o, x.columns, indices, once) for o in (a, b)))
        case Concat(parts=parts):
            return _from_parts(inner, parts, indices, once)
        case Columns(x=operand, indices=first):
            return select(operand, first[indices], once)
    return Columns(x, indices)


def _operand(operand: Op, width: int, indices: np.ndarray, once: Set[Op]) -> Op:
    if not operand.shape or operand.shape[-1] != width or width == 1:
        return operand
    if isinstance(operand, Const):
        return Const(operand.value[..., indices])
    return select(operand, indices, once)


def _from_parts(x: Op, parts: tuple[Op, ...], indices: np.ndarray, once: Set[Op]) -> Op:
    """Columns of a Concat from the parts that hold them.

    The whole Concat stays where the order alternates between parts, and where a part that nobody reads would refuse
    some inputs: the refusal is part of the meaning.
    """
    starts = np.cumsum([0, *(part.columns for part in parts)])
    owner = np.searchsorted(starts, indices, side="right") - 1
    dropped = (part for k, part in enumerate(parts) if k not in owner)
    if len(indices) == 0 or (np.diff(owner) < 0).any() or any(map(may_refuse, dropped)):
        return Columns(x, indices)
    chosen = [select(parts[k], indices[owner == k] - starts[k], once) for k in dict.fromkeys(owner.tolist())]
    return chosen[0] if len(chosen) == 1 else Concat(tuple(chosen))


def may_refuse(x: Op) -> bool:
    """Whether computing x can raise InputError."""
    return any(isinstance(op, Finite | Require | Within) for op in Graph({"": x}).order)
