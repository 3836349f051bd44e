"""Searches and tables as C, bit for bit: codes of numbers, places among keys, entries of tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.ccode import Function, each, exact, kind, size


@exact.rule(ops.Rank)
def rank(function: Function, op: ops.Rank, names: Sequence[str]) -> list[str]:
    """A search among the boundaries of each column."""
    boundaries = function.table(op.boundaries)
    source, nan = (function.table(values) for values in (op.source.astype(np.uint16), op.nan.astype(np.int32)))
    offsets = function.table(op.offsets.astype(np.uint32))
    search = (
        f"{function.name}_rank_{kind(op.x.dtype)}({boundaries} + {offsets}[i], {offsets}[i + 1] - {offsets}[i], "
        f"{int(op.strict)}, value)"
    )
    return [
        f"for (int i = 0; i < {size(op)}; ++i) {{",
        f"    {kind(op.x.dtype)} value = {names[0]}[{source}[i]];",
        f"    {function.names[op]}[i] = ({kind(op.dtype)})(value != value ? {nan}[i] : {search});",
        "}",
    ]


@exact.rule(ops.Lookup)
def lookup(function: Function, op: ops.Lookup, names: Sequence[str]) -> list[str]:
    """The entry of a table at the category; behind the categories one for all others, and one for NaN."""
    source, table = function.table(op.source.astype(np.uint16)), function.table(op.table)
    count = op.table.shape[1] - 2
    low = "value > -1" if op.truncate_negative else "value >= 0"
    place = f"value != value ? {count + 1} : {low} && value < {count} ? (int)value : {count}"
    return [
        f"for (int i = 0; i < {size(op)}; ++i) {{",
        f"    {kind(op.x.dtype)} value = {names[0]}[{source}[i]];",
        f"    {function.names[op]}[i] = {table}[{count + 2} * i + ({place})];",
        "}",
    ]


@exact.rule(ops.Position)
def position(function: Function, op: ops.Position, names: Sequence[str]) -> list[str]:
    """A search among the keys of each column."""
    keys, nan = function.table(op.keys), function.table(op.nan.astype(np.int64))
    offsets = function.table(op.offsets.astype(np.uint32))
    missing = f"value != value ? {nan}[i] : " if op.x.dtype.kind == "f" else ""
    return [
        f"for (int i = 0; i < {size(op)}; ++i) {{",
        f"    {kind(op.x.dtype)} value = {names[0]}[i];",
        f"    uint32_t first = {offsets}[i], behind = {offsets}[i + 1], low = first, high = behind;",
        "    while (low < high) {",
        "        uint32_t middle = low + (high - low) / 2;",
        f"        if ({keys}[middle] < value) low = middle + 1;",
        "        else high = middle;",
        "    }",
        f"    {function.names[op]}[i] = {missing}low < behind && {keys}[low] == value ? (int64_t)(low - first) : -1;",
        "}",
    ]


@exact.rule(ops.Take)
def take(function: Function, op: ops.Take, names: Sequence[str]) -> list[str]:
    """Rows of a table."""
    table, index = names
    width = size(op) // size(op.index)
    place = f"{index}[i]" if width == 1 else f"{index}[i / {width}] * {width} + i % {width}"
    return [each(size(op), f"{function.names[op]}[i] = {table}[{place}];")]
