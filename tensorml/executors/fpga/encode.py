"""What the host does before a circuit, as a function in C: from the values that a model reads to the circuit's rows.

Only what a C compiler repeats bit for bit is written (see `ccode`). Sums of many products (a PCA) depend on their
order, so a model with one before its circuit has no function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.ccode import Function, each, identifier, kind, lacking, of_column, size, written
from tensorml.executors.fpga.csearch import exact
from tensorml.executors.fpga.split import Split
from tensorml.graph import Graph, Input


@dataclass(frozen=True)
class Encoder:
    """What there is in C of the host's part before a circuit.

    gaps: of the template of the header, None if there is no function. reason: why there is none. unchecked: the
    operators whose results the host checks and the function does not.
    """

    gaps: dict[str, str] | None = None
    reason: str = ""
    unchecked: tuple[str, ...] = ()


def encoder(split: Split, name: str, refuse: bool, columns: Mapping[str, Sequence[str]] | None = None) -> Encoder:
    """The function of a circuit of this name.

    refuse: values outside the range of their field are refused. columns: what those of each input are called.
    """
    checks = {check: lacking(check, exact) for check in split.checks}
    outputs = [entrance.before for entrance in split.entrances.values()]
    without = next((reason for op in outputs if (reason := lacking(op, exact))), "")
    if without:
        return Encoder(reason=without)
    kept = [check for check, reason in checks.items() if not reason]
    graph = Graph({str(i): op for i, op in enumerate([*outputs, *kept])})
    function = Function(name, exact)
    for op in graph.order:
        function.add(op)
    last = fields(function, split)
    unchecked = tuple(dict.fromkeys(reason for reason in checks.values() if reason))
    remark = f" It does not\n * refuse rows for what becomes of them in {', '.join(unchecked)}." if unchecked else ""
    gaps = {
        "guard": f"{name.upper()}_ENCODE_H",
        "remark": remark,
        "columns": "".join(described(op, (columns or {}).get(op.name, ())) for op in graph.inputs.values()),
        "tables": written(function.tables),
        "parameters": ", ".join(parameter(op) for op in graph.inputs.values()),
        "body": "\n".join(f"    {line}" for line in function.lines),
        "fields": "\n".join(f"    {line}" for line in last),
        "result": f"outside ? {name.upper()}_OUTSIDE : 0" if refuse else "outside",
    }
    return Encoder(gaps, unchecked=unchecked)


def parameter(op: Input) -> str:
    """The declaration of an input."""
    return f"const {kind(op.dtype)} {identifier(op.name)}[{size(op)}]"


def described(op: Input, columns: Sequence[str]) -> str:
    """The lines of a comment that say which columns an input has, unless it has all in their order."""
    if list(columns) in ([], [f"column {i}" for i in range(len(columns))]):
        return ""
    lines = (f"\n * {identifier(op.name)}[{i}]: {commented(column)}" for i, column in enumerate(columns))
    return "".join(lines)


def commented(text: str) -> str:
    """A text that ends no comment."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ")


def fields(function: Function, split: Split) -> list[str]:
    """The lines that write the integers into the row."""
    lines, first = [], 0
    for entrance in split.entrances.values():
        fixed, value = entrance.fixed, function.names[entrance.before]
        low, high = (of_column(function, end.astype(np.int64)) for end in (fixed.low, fixed.high))
        place = f"{first} + i" if first else "i"
        call = f"{function.name}_limit(row, {place}, (int64_t){value}[i], {low}, {high}, &outside);"
        if isinstance(entrance.before, ops.Quantize):
            refused = f"return {function.name.upper()}_REFUSED;"
            lines.append(each(len(fixed.low), f"if ({value}[i] == -INT64_MAX) {refused}"))
        lines.append(each(len(fixed.low), call))
        first += len(fixed.low)
    return lines


__all__ = ["Encoder", "encoder"]
