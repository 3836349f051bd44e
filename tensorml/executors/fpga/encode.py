"""What the host does before a circuit, as a function in C: from the values that a model reads to the circuit's rows.

Only what a C compiler repeats bit for bit is written: comparisons, tables, and arithmetic that rounds each result by
itself. Sums of many products (a PCA) depend on their order, so a model with one before its circuit has no function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensorml import ops
from tensorml.executors.base import Rules
from tensorml.executors.fpga.patterns import FloatBits
from tensorml.executors.fpga.split import Split
from tensorml.graph import Const, Graph, Input, Op
from tensorml.ops.elementwise import Binary, Unary

A_LINE = 8  # numbers
ALIASES = (ops.Finite, ops.Require, ops.Reshape)  # their result is their operand
Write = Callable[..., list[str]]  # of the function, an operator and the names of its operands: lines
rules: Rules[Write] = Rules("C")


@dataclass(frozen=True)
class Encoder:
    """What there is in C of the host's part before a circuit.

    gaps: of the template of the header, None if there is no function. reason: why there is none. unchecked: the
    operators whose results the host checks and the function does not.
    """

    gaps: dict[str, str] | None = None
    reason: str = ""
    unchecked: tuple[str, ...] = ()


def encoder(split: Split, name: str, refuse: bool) -> Encoder:
    """The function of a circuit of this name. refuse: values outside the range of their field are refused."""
    checks = {check: lacking(check) for check in split.checks}
    outputs = [entrance.before for entrance in split.entrances.values()]
    without = next((reason for op in outputs if (reason := lacking(op))), "")
    if without:
        return Encoder(reason=without)
    kept = [check for check, reason in checks.items() if not reason]
    graph = Graph({str(i): op for i, op in enumerate([*outputs, *kept])})
    function = Function(name)
    for op in graph.order:
        function.add(op)
    fields = function.fields(split)
    unchecked = tuple(dict.fromkeys(reason for reason in checks.values() if reason))
    remark = f"It does not\n * refuse rows for what becomes of them in {', '.join(unchecked)}. " if unchecked else ""
    gaps = {
        "guard": f"{name.upper()}_ENCODE_H",
        "remark": remark,
        "tables": "".join(f"{table}\n" for table in ["", *function.tables] if function.tables),
        "parameters": ", ".join(parameter(op) for op in graph.inputs.values()),
        "body": "\n".join(f"    {line}" for line in function.lines),
        "fields": "\n".join(f"    {line}" for line in fields),
        "result": f"outside ? {name.upper()}_OUTSIDE : 0" if refuse else "outside",
    }
    return Encoder(gaps, unchecked=unchecked)


def lacking(op: Op) -> str:
    """The operator that keeps a value from being computed in C, or nothing."""
    return next((type(o).__name__ for o in Graph({"": op}).order if not writable(o)), "")


def writable(op: Op) -> bool:
    """Whether an operator can be repeated in C, bit for bit."""
    known = isinstance(op, (Const, Input, *ALIASES)) or (rules.supports(type(op)) and in_rows(op))
    exact = not isinstance(op, ops.Add | ops.Sub | ops.Mul | ops.Div | ops.Neg) or op.dtype.kind == "f"
    sized = isinstance(op, Const) or 0 < size(op) < 2**16
    return known and exact and sized and kind(op.dtype) != "" and converts(op)


def converts(op: Op) -> bool:
    """Whether C converts as NumPy does, if the operator converts."""
    return not isinstance(op, ops.Cast) or op.x.dtype.kind != "f" or op.dtype.kind == "f" or op.dtype == np.int64


def in_rows(op: Op) -> bool:
    """Whether each operand has as many elements a row as the result, or one, where elements meet each other."""
    if not isinstance(op, Unary | Binary | ops.Where):
        return True
    shapes = [o.shape if o.type.batched else (1, *o.shape)[-max(2, len(o.shape)) :] for o in op.operands]
    return op.type.batched and all(len(s) == 2 and (s[0] == 1 or isinstance(s[0], str)) for s in shapes if len(s) > 1)


def size(op: Op) -> int:
    """The elements of a row."""
    dims = op.shape[1:] if op.type.batched else op.shape
    return int(np.prod([int(d) for d in dims]))


def kind(dtype: np.dtype) -> str:
    """The type in C; nothing if there is none."""
    if dtype.kind in "iu":
        return f"{'u' if dtype.kind == 'u' else ''}int{8 * dtype.itemsize}_t"
    return {"float32": "float", "float64": "double", "bool": "uint8_t"}.get(str(dtype), "")


def parameter(op: Input) -> str:
    """The declaration of an input."""
    return f"const {kind(op.dtype)} {identifier(op.name)}[{size(op)}]"


def identifier(name: str) -> str:
    """A name in C."""
    return re.sub(r"\W", "_", name)


def literal(value: Any) -> str:
    """A scalar of NumPy in C, where it is read as the same number."""
    if value.dtype.kind != "f":
        large = "UINT64_C({})" if value.dtype.kind == "u" else "INT64_C({})"
        return "INT64_MIN" if value == -(2**63) else (large if abs(int(value)) >= 2**31 else "{}").format(int(value))
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    if np.isnan(value):
        return "NAN"
    return str(value) + ("f" if value.dtype == np.float32 else "")


@dataclass
class Function:
    """The body of the function, written operator by operator. Each value is an array of a row's elements."""

    name: str
    tables: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    names: dict[Op, str] = field(default_factory=dict)

    def add(self, op: Op) -> None:
        """Write an operator; its operands are there."""
        if isinstance(op, Input):
            self.names[op] = identifier(op.name)
        elif isinstance(op, Const):
            self.names[op] = self.table(op.value)
        elif isinstance(op, ALIASES):
            self.names[op] = self.names[op.operands[0]]
            self.lines += check(self, op)
        else:
            self.names[op] = f"v{len(self.names)}"
            self.lines.append(f"{kind(op.dtype)} {self.names[op]}[{size(op)}]; /* {type(op).__name__} */")
            self.lines += rules[op](self, op, [self.names[o] for o in op.operands])

    def table(self, values: np.ndarray) -> str:
        """The name of an array of constants."""
        values = np.asarray(values).reshape(-1)
        values = values.astype(np.uint8) if values.dtype.kind == "b" else values
        name = f"{self.name}_table{len(self.tables)}"
        texts = list(map(literal, values)) or ["0"]
        lines = (f"    {', '.join(texts[i : i + A_LINE])},\n" for i in range(0, len(texts), A_LINE))
        self.tables.append(f"static const {kind(values.dtype)} {name}[{len(texts)}] = {{\n{''.join(lines)}}};")
        return name

    def fields(self, split: Split) -> list[str]:
        """The lines that write the integers into the row."""
        lines, first = [], 0
        for entrance in split.entrances.values():
            fixed, value = entrance.fixed, self.names[entrance.before]
            low, high = ends(self, fixed.low), ends(self, fixed.high)
            place = f"{first} + i" if first else "i"
            call = f"{self.name}_limit(row, {place}, (int64_t){value}[i], {low}, {high}, &outside);"
            if isinstance(entrance.before, ops.Quantize):
                lines.append(each(len(fixed.low), f"if ({value}[i] == -INT64_MAX) return {self.name.upper()}_REFUSED;"))
            lines.append(each(len(fixed.low), call))
            first += len(fixed.low)
        return lines


def ends(function: Function, values: np.ndarray) -> str:
    """An end of the range of each column, or of all."""
    values = values.astype(np.int64)
    return literal(values[0]) if (values == values[0]).all() else f"{function.table(values)}[i]"


def each(count: int, statement: str) -> str:
    """A statement for each element."""
    return f"for (int i = 0; i < {count}; ++i) {statement}"


def element(op: Op, name: str) -> str:
    """An element of an operand that may have one for all columns."""
    return f"{name}[{'0' if size(op) == 1 else 'i'}]"


def check(function: Function, op: Op) -> list[str]:
    """What returns for a row that the model refuses."""
    refused = f"return {function.name.upper()}_REFUSED;"
    match op:
        case ops.Finite():
            value, most = f"{function.names[op.x]}[i]", "FLT_MAX" if op.dtype == np.float32 else "DBL_MAX"
            wrong = f"{value} < -{most} || {value} > {most}"
            wrong = wrong if op.nan else f"!({value} >= -{most} && {value} <= {most})"
            return [each(size(op), f"if ({wrong}) {refused}")]
        case ops.Require():
            return [each(size(op.condition), f"if (!{function.names[op.condition]}[i]) {refused}")]
    return []


def by_element(text: Callable[..., str]) -> Write:
    """The rule of an operator of elements. text: of its result, from those of its operands."""

    def write(function: Function, op: Op, names: Sequence[str]) -> list[str]:
        values = [element(operand, name) for operand, name in zip(op.operands, names, strict=True)]
        return [each(size(op), f"{function.names[op]}[i] = ({kind(op.dtype)})({text(*values)});")]

    return write


for _class, _text in {
    ops.Add: "{} + {}",
    ops.Sub: "{} - {}",
    ops.Div: "{} / {}",
    ops.Neg: "-{}",
    ops.Not: "!{}",
    ops.IsNaN: "{0} != {0}",
    ops.And: "{} && {}",
    ops.Or: "{} || {}",
    ops.Less: "{} < {}",
    ops.LessOrEqual: "{} <= {}",
    ops.Greater: "{} > {}",
    ops.GreaterOrEqual: "{} >= {}",
    ops.Equal: "{} == {}",
    ops.Max: "{0} != {0} || {0} > {1} ? {0} : {1}",
    ops.Min: "{0} != {0} || {0} < {1} ? {0} : {1}",
    ops.Where: "{} ? {} : {}",
}.items():
    rules.rule(_class)(by_element(_text.format))


@rules.rule(ops.Mul)
def product(function: Function, op: ops.Mul, names: Sequence[str]) -> list[str]:
    """Products, each rounded: compilers may otherwise join them with a sum, which rounds once."""
    x, y = (element(operand, name) for operand, name in zip(op.operands, names, strict=True))
    rounded = f"volatile {kind(op.dtype)} product = {x} * {y}; {function.names[op]}[i] = product;"
    return [each(size(op), f"{{ {rounded} }}")]


@rules.rule(ops.Cast)
def cast(function: Function, op: ops.Cast, names: Sequence[str]) -> list[str]:
    """Conversions; what no int64 holds becomes the least one, as on x86-64."""
    value, to = f"{names[0]}[i]", kind(op.dtype)
    text = f"({to}){value}"
    if op.x.dtype.kind == "f" and op.dtype.kind != "f":
        most = "9223372036854775808.0"
        text = f"{value} >= -{most} && {value} < {most} ? (int64_t){value} : INT64_MIN"
    return [each(size(op), f"{function.names[op]}[i] = {text};")]


@rules.rule(ops.Columns)
def columns(function: Function, op: ops.Columns, names: Sequence[str]) -> list[str]:
    """Columns by a table of their positions."""
    table = function.table(op.indices.astype(np.uint16))
    return [each(size(op), f"{function.names[op]}[i] = {names[0]}[{table}[i]];")]


@rules.rule(ops.Concat)
def concat(function: Function, op: ops.Concat, names: Sequence[str]) -> list[str]:
    """Part after part."""
    lines, first = [], 0
    for part, name in zip(op.parts, names, strict=True):
        lines.append(each(part.columns, f"{function.names[op]}[{first} + i] = {name}[i];"))
        first += part.columns
    return lines


@rules.rule(ops.Fill)
def fill(function: Function, op: ops.Fill, names: Sequence[str]) -> list[str]:
    """The same value in all columns."""
    value = literal(np.asarray(op.value, op.dtype)[()])
    return [each(size(op), f"{function.names[op]}[i] = {value};")]


@rules.rule(ops.OneHot)
def one_hot(function: Function, op: ops.OneHot, names: Sequence[str]) -> list[str]:
    """For each column the code that it is of, and the column that this code is in."""
    source = function.table(np.repeat(np.arange(len(op.sizes), dtype=np.uint16), op.sizes))
    code = function.table(np.concatenate([np.arange(count, dtype=np.int64) for count in op.sizes]))
    text = f"({kind(op.dtype)})((int64_t){names[0]}[{source}[i]] == {code}[i])"
    return [each(size(op), f"{function.names[op]}[i] = {text};")]


@rules.rule(ops.Rank)
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


@rules.rule(ops.Lookup)
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


@rules.rule(FloatBits)
def float_bits(function: Function, op: FloatBits, names: Sequence[str]) -> list[str]:
    """The bit patterns as signed integers."""
    integer = f"int{8 * op.x.dtype.itemsize}_t"
    copied = f"{integer} bits; memcpy(&bits, &{names[0]}[i], sizeof bits); {function.names[op]}[i] = bits;"
    return [each(size(op), f"{{ {copied} }}")]


@rules.rule(ops.Quantize)
def quantize(function: Function, op: ops.Quantize, names: Sequence[str]) -> list[str]:
    """The nearest multiples of the steps."""
    step = function.table(op.step.astype(np.float64))
    return [each(size(op), f"{function.names[op]}[i] = {function.name}_quantize((double){names[0]}[i] / {step}[i]);")]


__all__ = ["Encoder", "encoder"]
