"""Compute at conversion what does not depend on the input."""

from __future__ import annotations

from tensorml.graph import Const, Graph, Op
from tensorml.ops import Cast, Columns, Finite


def fold_constants(graph: Graph) -> Graph:
    """EXACT: an operator on constants becomes its reference's result, and what changes nothing disappears."""
    return graph.rewrite(_fold)


def _fold(op: Op) -> Op | None:
    match op:
        case Cast(x=x) if x.dtype == op.dtype:
            return x
        case Finite(x=Finite(nan=False) as inner):
            return inner
        case Finite(x=Finite(nan=True, x=x)) if op.nan:
            return op.x
        case Columns(x=Columns(x=x, indices=first)):
            return Columns(x, first[op.indices])
        case Columns(x=x, indices=indices) if indices.tolist() == list(range(x.columns)):
            return x
    if op.operands and all(isinstance(operand, Const) for operand in op.operands):
        return Const(op.reference(*(operand.reference() for operand in op.operands)))
    return None
