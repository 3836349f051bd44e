"""Better graphs of the same meaning. EXACT passes keep every bit of the reference; FAST ones state their error."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tensorml.graph import Graph
from tensorml.passes.common_subexpressions import share_common_subexpressions
from tensorml.passes.constant_folding import fold_constants
from tensorml.passes.fuse_affine import fuse_affine
from tensorml.passes.rank_before_steps import rank_before_steps
from tensorml.passes.unread_columns import drop_unread_columns

Pass = Callable[[Graph], Graph]

EXACT: tuple[Pass, ...] = (fold_constants, share_common_subexpressions, drop_unread_columns, rank_before_steps)
FAST: tuple[Pass, ...] = (fuse_affine,)


def optimize(graph: Graph, passes: Iterable[Pass]) -> Graph:
    """The graph after these passes, repeated until none of them changes anything."""
    passes = tuple(passes)
    while True:
        before = graph
        for step in passes:
            graph = step(graph)
        if all(graph.outputs[name] is op for name, op in before.outputs.items()):
            return graph
