"""Graphs as C: the values of a row, operator by operator, each an array of the row's elements.

The rules of this file are those that a C compiler repeats bit for bit: comparisons, tables, and arithmetic that rounds
each result by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensorml import ops
from tensorml.executors.base import Rules
from tensorml.executors.fpga.grid import OnGrid
from tensorml.executors.fpga.patterns import FloatBits
from tensorml.graph import Const, Graph, Input, Op
from tensorml.ops.elementwise import Binary, Unary

A_LINE = 8  # numbers
ALIASES = (ops.Finite, ops.Within, ops.Require, ops.Reshape)  # their result is their operand
Write = Callable[..., list[str]]  # of the function, an operator and the names of its operands: lines
exact: Rules[Write] = Rules("C, bit for bit")


def lacking(op: Op, rules: Rules[Write] = exact) -> str:
    """The operator that keeps a value from being computed in C by these rules, or nothing."""
    return next((type(o).__name__ for o in Graph({"": op}).order if not writable(o, rules)), "")


def writable(op: Op, rules: Rules[Write]) -> bool:
    """Whether an operator can be written in C by these rules."""
    known = isinstance(op, Const | Input | ops.Reshape) or (rules.supports(type(op)) and in_rows(op))
    wraps = isinstance(op, ops.Add | ops.Sub | ops.Mul) and op.dtype == np.int64
    floats = wraps or not isinstance(op, ops.Add | ops.Sub | ops.Mul | ops.Div | ops.Neg) or op.dtype.kind == "f"
    sized = isinstance(op, Const) or 0 < size(op) < 2**16
    return known and floats and sized and kind(op.dtype) != "" and converts(op)


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
    """The body of a function, written operator by operator. Each value is an array of a row's elements.

    name: of the circuit; tables: the arrays of constants by their text, with their names, which begin with `prefix`.
    """

    name: str
    rules: Rules[Write] = exact
    prefix: str = "table"
    tables: dict[tuple[str, str], str] = field(default_factory=dict)
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
            self.lines += self.rules[op](self, op, []) if self.rules.supports(type(op)) else []
        else:
            self.names[op] = f"v{len(self.names)}"
            self.lines.append(f"{kind(op.dtype)} {self.names[op]}[{size(op)}]; /* {type(op).__name__} */")
            self.lines += self.rules[op](self, op, [self.names[o] for o in op.operands])

    def table(self, values: np.ndarray) -> str:
        """The name of an array of constants."""
        values = np.asarray(values).reshape(-1)
        values = values.astype(np.uint8) if values.dtype.kind == "b" else values
        texts = list(map(literal, values)) or ["0"]
        lines = "".join(f"    {', '.join(texts[i : i + A_LINE])},\n" for i in range(0, len(texts), A_LINE))
        name = f"{self.name}_{self.prefix}{len(self.tables)}"
        return self.tables.setdefault((f"{kind(values.dtype)} {{}}[{len(texts)}]", lines), name)


def written(tables: Mapping[tuple[str, str], str]) -> str:
    """The definitions of arrays of constants."""
    parts = (f"\nstatic const {head.format(name)} = {{\n{lines}}};" for (head, lines), name in tables.items())
    return "".join(f"{part}\n" for part in parts)


def of_column(function: Function, values: np.ndarray) -> str:
    """A constant of each column, or of all."""
    return literal(values[0]) if (values == values[0]).all() else f"{function.table(values)}[i]"


def each(count: int, statement: str) -> str:
    """A statement for each element."""
    return f"for (int i = 0; i < {count}; ++i) {statement}"


def element(op: Op, name: str) -> str:
    """An element of an operand that may have one for all columns."""
    return f"{name}[{'0' if size(op) == 1 else 'i'}]"


@exact.rule(ops.Finite)
def finite(function: Function, op: ops.Finite, names: Sequence[str]) -> list[str]:
    """What returns for a row with an infinity, or with NaN where that is refused too."""
    value, most = f"{function.names[op.x]}[i]", "FLT_MAX" if op.dtype == np.float32 else "DBL_MAX"
    wrong = f"{value} < -{most} || {value} > {most}"
    wrong = wrong if op.nan else f"!({value} >= -{most} && {value} <= {most})"
    return [each(size(op), f"if ({wrong}) return {function.name.upper()}_REFUSED;")]


@exact.rule(ops.Within)
def within(function: Function, op: ops.Within, names: Sequence[str]) -> list[str]:
    """What returns for a row with a value outside of the range of its column."""
    value, low, high = f"{function.names[op]}[i]", of_column(function, op.low), of_column(function, op.high)
    nan = f"({value} != {value} && !{function.table(op.nan)}[i]) || " if not op.nan.all() else ""
    wrong = f"{nan}{value} < {low} || {value} > {high}"
    return [each(size(op), f"if ({wrong}) return {function.name.upper()}_REFUSED;")]


@exact.rule(ops.Require)
def require(function: Function, op: ops.Require, names: Sequence[str]) -> list[str]:
    """What returns for a row that the model refuses."""
    condition = function.names[op.condition]
    return [each(size(op.condition), f"if (!{condition}[i]) return {function.name.upper()}_REFUSED;")]


def by_element(text: Callable[..., str]) -> Write:
    """The rule of an operator of elements. text: of its result, from those of its operands."""

    def write(function: Function, op: Op, names: Sequence[str]) -> list[str]:
        values = [element(operand, name) for operand, name in zip(op.operands, names, strict=True)]
        return [each(size(op), f"{function.names[op]}[i] = ({kind(op.dtype)})({text(*values)});")]

    return write


def arithmetic(sign: str) -> Write:
    """The rule of a sum or difference. Of int64, without a sign: what is too large wraps, as NumPy's does."""

    def write(function: Function, op: Op, names: Sequence[str]) -> list[str]:
        text = f"{{}} {sign} {{}}" if op.dtype.kind == "f" else f"(uint64_t){{}} {sign} (uint64_t){{}}"
        return by_element(text.format)(function, op, names)

    return write


exact.rule(ops.Add)(arithmetic("+"))
exact.rule(ops.Sub)(arithmetic("-"))
for _class, _text in {
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
    exact.rule(_class)(by_element(_text.format))


@exact.rule(ops.Mul)
def product(function: Function, op: ops.Mul, names: Sequence[str]) -> list[str]:
    """Products, each rounded: compilers may otherwise join them with a sum, which rounds once."""
    if op.dtype.kind != "f":
        return arithmetic("*")(function, op, names)
    x, y = (element(operand, name) for operand, name in zip(op.operands, names, strict=True))
    rounded = f"volatile {kind(op.dtype)} product = {x} * {y}; {function.names[op]}[i] = product;"
    return [each(size(op), f"{{ {rounded} }}")]


@exact.rule(ops.Cast)
def cast(function: Function, op: ops.Cast, names: Sequence[str]) -> list[str]:
    """Conversions; what no int64 holds becomes the least one, as on x86-64."""
    value, to = f"{names[0]}[i]", kind(op.dtype)
    text = f"({to}){value}"
    if op.x.dtype.kind == "f" and op.dtype.kind != "f":
        most = "9223372036854775808.0"
        text = f"{value} >= -{most} && {value} < {most} ? (int64_t){value} : INT64_MIN"
    return [each(size(op), f"{function.names[op]}[i] = {text};")]


@exact.rule(ops.Columns)
def columns(function: Function, op: ops.Columns, names: Sequence[str]) -> list[str]:
    """Columns by a table of their positions."""
    table = function.table(op.indices.astype(np.uint16))
    return [each(size(op), f"{function.names[op]}[i] = {names[0]}[{table}[i]];")]


@exact.rule(ops.Concat)
def concat(function: Function, op: ops.Concat, names: Sequence[str]) -> list[str]:
    """Part after part."""
    lines, first = [], 0
    for part, name in zip(op.parts, names, strict=True):
        lines.append(each(part.columns, f"{function.names[op]}[{first} + i] = {name}[i];"))
        first += part.columns
    return lines


@exact.rule(ops.Fill)
def fill(function: Function, op: ops.Fill, names: Sequence[str]) -> list[str]:
    """The same value in all columns."""
    value = literal(np.asarray(op.value, op.dtype)[()])
    return [each(size(op), f"{function.names[op]}[i] = {value};")]


@exact.rule(ops.OneHot)
def one_hot(function: Function, op: ops.OneHot, names: Sequence[str]) -> list[str]:
    """For each column the code that it is of, and the column that this code is in."""
    source = function.table(np.repeat(np.arange(len(op.sizes), dtype=np.uint16), op.sizes))
    code = function.table(np.concatenate([np.arange(count, dtype=np.int64) for count in op.sizes]))
    text = f"({kind(op.dtype)})((int64_t){names[0]}[{source}[i]] == {code}[i])"
    return [each(size(op), f"{function.names[op]}[i] = {text};")]


@exact.rule(FloatBits)
def float_bits(function: Function, op: FloatBits, names: Sequence[str]) -> list[str]:
    """The bit patterns as signed integers."""
    integer = f"int{8 * op.x.dtype.itemsize}_t"
    copied = f"{integer} bits; memcpy(&bits, &{names[0]}[i], sizeof bits); {function.names[op]}[i] = bits;"
    return [each(size(op), f"{{ {copied} }}")]


@exact.rule(OnGrid)
def on_grid(function: Function, op: OnGrid, names: Sequence[str]) -> list[str]:
    """The nearest fixed-point numbers; values that are none are counted, or their row is refused."""
    low, high = (of_column(function, end) for end in op.ends)
    fraction = of_column(function, op.fraction.astype(np.int32))
    strict = of_column(function, np.array([grid.otherwise == "refuse" for grid in op.grids], np.uint8))
    refused = f"return {function.name.upper()}_REFUSED;"
    return [
        f"for (int i = 0; i < {size(op)}; ++i) {{",
        f"    double value = (double){names[0]}[i];",
        f"    int64_t q = {function.name}_quantize(ldexp(value, {fraction})), low = {low}, high = {high};",
        "    q = q < low ? low : q > high ? high : q;",
        f"    if (value != value) {refused}",
        f"    if (ldexp((double)q, -({fraction})) != value) {{ if ({strict}) {refused} ++outside; }}",
        f"    {function.names[op]}[i] = q;",
        "}",
    ]


@exact.rule(ops.Quantize)
def quantize(function: Function, op: ops.Quantize, names: Sequence[str]) -> list[str]:
    """The nearest multiples of the steps."""
    step = function.table(op.step.astype(np.float64))
    return [each(size(op), f"{function.names[op]}[i] = {function.name}_quantize((double){names[0]}[i] / {step}[i]);")]


ARITHMETIC = (
    *(ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Neg, ops.Not, ops.And, ops.Or, ops.Max, ops.Min, ops.IsNaN, ops.Where),
    *(ops.Less, ops.LessOrEqual, ops.Greater, ops.GreaterOrEqual, ops.Equal),
    *(ops.Cast, ops.Columns, ops.Concat, ops.Fill),
)
"""Operators whose rules need nothing of a header but its tables."""
