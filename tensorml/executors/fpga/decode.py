"""What the host does after a circuit, as functions in C: from the circuit's results to what the model's methods return.

Arithmetic, comparisons and tables give the same bits as tensorml's; exp, log and the like are the C library's, and sums
of several terms are added from the left: both agree within some units in the last place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tensorml import ops
from tensorml.executors.base import Outcome, Rules
from tensorml.executors.fpga.ccode import (
    ARITHMETIC,
    Function,
    Write,
    by_element,
    each,
    kind,
    lacking,
    size,
    written,
)
from tensorml.executors.fpga.csearch import exact
from tensorml.executors.fpga.split import Split
from tensorml.graph import Graph, Input, Op

PRINTED = re.compile(r"[ -~]")
rounded: Rules[Write] = Rules("C, within rounding")
rounded.table.update({op: exact.table[op] for op in (*ARITHMETIC, ops.Take)})


@dataclass(frozen=True)
class Decoder:
    """What there is in C of the host's part after a circuit.

    gaps: of the template of the header, None if there is no function. declared: the function of each output that has
    one; missing: why another has none.
    """

    gaps: dict[str, str] | None = None
    declared: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def decoder(found: Mapping[str, tuple[Split | str, Outcome]], name: str) -> Decoder:
    """The functions of a circuit of this name. found: the parts of each output that it serves, or why it does not."""
    tables: dict[tuple[str, str], str] = {}
    functions: list[str] = []
    declared: dict[str, str] = {}
    missing: dict[str, str] = {}
    for output, (split, outcome) in found.items():
        reason = split if isinstance(split, str) else unwritable(split.after, outcome)
        if isinstance(split, str) or reason:
            missing[output] = reason
            continue
        function = Function(name, rounded, "decode_table", tables)
        declared[output] = declaration(name, output, split.after)
        functions.append(defined(function, split, output, outcome, declared[output]))
    if not functions:
        return Decoder(missing=missing)
    gaps = {
        "guard": f"{name.upper()}_DECODE_H",
        "tables": written(tables),
        "functions": "\n".join(functions),
    }
    return Decoder(gaps, declared, missing)


def unwritable(graph: Graph, outcome: Outcome) -> str:
    """Why there is no function of an output; nothing if there is one."""
    (op,) = graph.outputs.values()
    if outcome.container:
        return f"it returns {outcome.container}"
    if any(re.fullmatch(r"sum\d+", name) is None for name in graph.inputs):
        return "it needs the row's values once more"
    without = lacking(op, rounded)
    return f"{without} is not written in C" if without else ""


def identifier(output: str) -> str:
    """The name of an output in C: predict_raw_score for 'predict(raw_score=True)'."""
    return re.sub(r"\W+", "_", output.replace("=True", "")).strip("_")


def declaration(name: str, output: str, graph: Graph) -> str:
    """The function of an output."""
    (op,) = graph.outputs.values()
    row = f"const uint8_t row[{name.upper()}_OUT_BYTES]"
    if len(op.shape) == 1:
        return f"{kind(op.dtype)} {name}_{identifier(output)}({row})"
    return f"void {name}_{identifier(output)}({kind(op.dtype)} y[{size(op)}], {row})"


def defined(function: Function, split: Split, output: str, outcome: Outcome, declared: str) -> str:
    """The text of a function."""
    (op,) = split.after.outputs.values()
    lines = [f"int64_t q[{function.name.upper()}_OUTPUTS];", f"{function.name}_unpack(q, row);"]
    first = 0
    for i, fixed in enumerate(split.exits.values()):
        lines += integers(split.after.inputs.get(f"sum{i}"), first, len(fixed.low))
        first += len(fixed.low)
    for each_op in split.after.order:
        function.add(each_op)
    lines += function.lines
    result = function.names[op]
    last = f"return {result}[0];" if len(op.shape) == 1 else each(size(op), f"y[i] = {result}[i];")
    body = "\n".join(f"    {line}" for line in [*lines, last])
    label = "".join(labels(f"{function.name}_{identifier(output)}", outcome.labels))
    return f"{label}/* {remark(output, op, outcome)} */\nstatic inline {declared} {{\n{body}\n}}\n"


def integers(op: Input | None, first: int, count: int) -> list[str]:
    """The lines that take an input's integers out of a result's."""
    if op is None:
        return []
    value = f"{kind(op.dtype)} {op.name}[{count}];"
    return [value, each(count, f"{op.name}[i] = ({kind(op.dtype)})q[{first} + i];")]


def remark(output: str, op: Op, outcome: Outcome) -> str:
    """What a function returns, in words."""
    if not outcome.labels:
        return f"{output}."
    what = "the position of its label" if len(op.shape) == 1 else "the positions of its labels"
    return f"{output}: {what} in the table above."


def labels(name: str, classes: Sequence[np.ndarray]) -> list[str]:
    """Tables of the labels that positions stand for, one for each column."""
    numbers = [""] if len(classes) == 1 else [f"_{k}" for k in range(len(classes))]
    return [
        f"static const char *const {name}_labels{number}[{len(found)}] = {{{', '.join(map(text, map(str, found)))}}};\n"
        for number, found in zip(numbers, classes, strict=False)
    ]


def text(value: str) -> str:
    """A string in C, in UTF-8. What is no plain character is an octal escape, which nothing after it can lengthen."""
    plain = (c if PRINTED.match(c) and c not in '"\\?' else _octal(c) for c in value)
    return f'"{"".join(plain)}"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogatepass"))


def called(function: str) -> Callable[..., str]:
    """A call of a function of <math.h> on elements of a float's own type."""
    return lambda suffix, *values: f"{function}{suffix}({', '.join(values)})"


def of_floats(words: Callable[..., str]) -> Write:
    """The rule of a function of floats. words: of its result, from the suffix of the functions for its type."""

    def write(function: Function, op: Op, names: Sequence[str]) -> list[str]:
        suffix = "f" if op.dtype == np.float32 else ""
        return by_element(lambda *values: words(suffix, *values))(function, op, names)

    return write


for _class, _name in {
    ops.Abs: "fabs",
    ops.Sqrt: "sqrt",
    ops.Exp: "exp",
    ops.Log: "log",
    ops.Log1p: "log1p",
    ops.Tanh: "tanh",
    ops.Erf: "erf",
    ops.Pow: "pow",
}.items():
    rounded.rule(_class)(of_floats(called(_name)))
rounded.rule(ops.Sigmoid)(of_floats(lambda suffix, x: f"1 / (1 + exp{suffix}(-{x}))"))


def over_rows(start: str, step: str, end: str) -> Write:
    """The rule of what goes over a row, of x to y: `step` is done for each i below n. real: x's type; f: its suffix."""

    def write(function: Function, op: Op, names: Sequence[str]) -> list[str]:
        x = op.operands[0]
        suffix = "f" if op.dtype == np.float32 else ""
        values = {"x": names[0], "y": function.names[op], "n": size(x), "real": kind(x.dtype), "f": suffix}
        lines = start, each(size(x), step) if step else "", end
        return ["{", *(f"    {line.format(**values)}" for line in lines if line), "}"]

    return write


LARGEST = "{real} top = {x}[0]; for (int i = 1; i < {n}; ++i) if ({x}[i] > top) top = {x}[i];"
FURTHEST = "int place = 0;", "if ({x}[i] > {x}[place]) place = i;", "{y}[0] = place;"
for _class, _lines in {
    ops.ReduceSum: ("{real} sum = 0;", "sum = ({real})(sum + {x}[i]);", "{y}[0] = sum;"),
    ops.ReduceMax: (LARGEST, "", "{y}[0] = top;"),
    ops.ArgMax: FURTHEST,
    ops.Softmax: (
        f"{LARGEST} {{real}} sum = 0;",
        "sum += {y}[i] = exp{f}({x}[i] - top);",
        "for (int i = 0; i < {n}; ++i) {y}[i] /= sum;",
    ),
    ops.LogSoftmax: (
        f"{LARGEST} {{real}} sum = 0;",
        "sum += exp{f}({y}[i] = {x}[i] - top);",
        "for (int i = 0; i < {n}; ++i) {y}[i] -= log{f}(sum);",
    ),
    ops.LogSumExp: (
        f"{LARGEST} {{real}} sum = 0, count = 0;",
        "if ({x}[i] == top) count += 1; else sum += exp{f}({x}[i] - top);",
        "{y}[0] = log1p{f}(sum / count) + log{f}(count) + top;",
    ),
}.items():
    rounded.rule(_class)(over_rows(*_lines))


@rounded.rule(ops.MatMul)
def product(function: Function, op: ops.MatMul, names: Sequence[str]) -> list[str]:
    """Sums of products with a matrix."""
    x, y, real = names[0], names[1], kind(op.dtype)
    return [
        f"for (int i = 0; i < {op.columns}; ++i) {{",
        f"    {real} sum = 0;",
        f"    for (int j = 0; j < {op.operands[0].columns}; ++j) sum += {x}[j] * {y}[{op.columns} * j + i];",
        f"    {function.names[op]}[i] = sum;",
        "}",
    ]


def alike(one: Graph, other: Graph) -> bool:
    """Whether two graphs compute the same of inputs and outputs of the same names."""
    if len(one.order) != len(other.order) or list(one.outputs) != list(other.outputs):
        return False
    numbers = {op: i for i, op in enumerate(one.order)}
    others = {op: i for i, op in enumerate(other.order)}
    pairs = zip([*one.order, *one.outputs.values()], [*other.order, *other.outputs.values()], strict=True)
    return all(numbers[a] == others[b] and _alike(a, b, numbers, others) for a, b in pairs)


def _alike(a: Op, b: Op, numbers: Mapping[Op, int], others: Mapping[Op, int]) -> bool:
    if type(a) is not type(b) or a.type != b.type:
        return False
    if [numbers[o] for o in a.operands] != [others[o] for o in b.operands]:
        return False
    return all(_same(value, b.attributes[name]) for name, value in a.attributes.items())


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and bool(a == b)


__all__ = ["Decoder", "Outcome", "alike", "decoder"]
