"""What a call will need in memory, before it runs, and how many rows fit a budget."""

from __future__ import annotations

from tensorml.graph import Graph, Op

MEBIBYTE = 2**20
DEFAULT_BUDGET = 256 * MEBIBYTE
ALL_ROWS = 2**62


def bytes_per_row(graph: Graph) -> int:
    """The most bytes that one row holds at any moment while the operators run in order, inputs and outputs included.

    An operator's result lives until its last user has run. Its working memory counts as one more result.
    """
    last: dict[Op, int] = {}
    for i, op in enumerate(graph.order):
        for operand in op.operands:
            last[operand] = i
    for op in graph.outputs.values():
        last[op] = len(graph.order)
    alive, peak = 0, 0
    for i, op in enumerate(graph.order):
        alive += op.type.row_bytes()
        peak = max(peak, alive + op.scratch_bytes())
        alive -= sum(operand.type.row_bytes() for operand in set(op.operands) if last[operand] == i)
    return peak


def bytes_of_call(graph: Graph, rows: int, tile: int) -> int:
    """The most bytes that a call takes beyond its inputs: the results, and what is alive while a tile is computed."""
    results = sum(op.type.row_bytes() for op in graph.outputs.values())
    return rows * results + min(rows, tile) * bytes_per_row(graph)


def tile_rows(graph: Graph, budget: int) -> int:
    """How many rows can be computed at once within `budget` bytes; at least 1. All, if an operator needs the batch."""
    return ALL_ROWS if needs_batch(graph) else max(1, budget // max(1, bytes_per_row(graph)))


def needs_batch(graph: Graph) -> bool:
    """Whether an operator's result for a row depends on the other rows, so that tiles would change it."""
    return any(op.whole_batch for op in graph.order)
