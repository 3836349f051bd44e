"""Circuits written by hand, and what they compute, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tensorml.executors.fpga.circuit import Circuit, Field


def module(name: str, inputs: Sequence[Field], outputs: Sequence[Field], body: str) -> str:
    """A module with the ports of a circuit around a body that drives in_ready, out_valid and out_row."""
    in_width, out_width = (sum(field.width for field in fields) for fields in (inputs, outputs))
    return f"""\
module {name} (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [{in_width - 1}:0] in_row,
    output wire out_valid,
    output wire [{out_width - 1}:0] out_row
);
{body}
endmodule
"""


def pipeline(name: str, inputs: Sequence[Field], outputs: Sequence[Field], result: str, latency: int = 1) -> Circuit:
    """A circuit that computes an expression of the wires named like its inputs, and delays it."""
    wires, offset = [], 0
    for field in inputs:
        signed = "signed " if field.signed else ""
        wires.append(f"    wire {signed}[{field.width - 1}:0] {field.name} = in_row[{offset} +: {field.width}];")
        offset += field.width
    width = sum(field.width for field in outputs)
    enters = "in_valid & in_ready"
    shifted = f"{{valid[{latency - 2}:0], {enters}}}" if latency > 1 else enters
    body = (
        "\n".join(wires)
        + f"""
    reg [{width - 1}:0] rows [0:{latency - 1}];
    reg [{latency - 1}:0] valid;
    integer i;
    assign in_ready = 1'b1;
    assign out_valid = valid[{latency - 1}];
    assign out_row = rows[{latency - 1}];
    always @(posedge clk) begin
        rows[0] <= {result};
        for (i = 1; i < {latency}; i = i + 1) rows[i] <= rows[i - 1];
        if (rst) valid <= {latency}'d0;
        else valid <= {shifted};
    end"""
    )
    return Circuit(name, module(name, inputs, outputs, body), tuple(inputs), tuple(outputs), latency)


@dataclass(frozen=True)
class Case:
    """A circuit and the same integers in NumPy: int64 [N, fields] to int64 [N, result fields]."""

    circuit: Circuit
    expected: Callable[[np.ndarray], np.ndarray]


def adder() -> Case:
    """Signed fields of odd widths, two results."""
    inputs = [Field("a", 5, signed=True), Field("b", 7, signed=True), Field("c", 3)]
    outputs = [Field("sum", 9, signed=True), Field("c2", 4)]
    add = "{{1'b0, c} + {1'b0, c}, {{4{a[4]}}, a} + {{2{b[6]}}, b}}"
    return Case(
        pipeline("adder", inputs, outputs, add, latency=2), lambda x: np.stack([x[:, 0] + x[:, 1], 2 * x[:, 2]], axis=1)
    )


def bits() -> Case:
    """Fields of one bit, unsigned and signed (0 and -1)."""
    inputs = [*(Field(f"b{i}", 1) for i in range(3)), Field("s", 1, signed=True)]
    outputs = [Field("any", 1), Field("t", 1, signed=True)]
    return Case(
        pipeline("bits", inputs, outputs, "{~s, b0 | b1 | b2}"),
        lambda x: np.stack([x[:, :3].max(axis=1), -1 - x[:, 3]], axis=1),
    )


def wide() -> Case:
    """Fields of 64 bits at an odd offset, on ports wider than 64 bits; results in another order."""
    inputs = [Field("a", 13), Field("b", 64, signed=True), Field("c", 64), Field("d", 33, signed=True), Field("e", 31)]
    outputs = [inputs[i] for i in (4, 2, 0, 3, 1)]
    return Case(pipeline("wide", inputs, outputs, "{b, d, a, c, e}", latency=3), lambda x: x[:, [4, 2, 0, 3, 1]])


def words() -> Case:
    """Ports of 33 to 64 bits: two words."""
    inputs = [Field("a", 20), Field("b", 20, signed=True)]
    outputs = [Field("product", 40, signed=True)]
    return Case(
        pipeline("words", inputs, outputs, "$signed({20'd0, a}) * $signed({{20{b[19]}}, b})"),
        lambda x: x[:, :1] * x[:, 1:],
    )


def slow() -> Case:
    """Takes a row every third cycle: adds the three fields one after the other."""
    inputs = [Field("a", 8), Field("b", 8), Field("c", 8)]
    outputs = [Field("sum", 10)]
    body = """\
    reg [1:0] left;  // fields of the row that are still to be added
    reg [23:0] row;
    reg [9:0] sum;
    reg valid;
    assign in_ready = left == 2'd0;
    assign out_valid = valid;
    assign out_row = sum;
    always @(posedge clk) begin
        valid <= 1'b0;
        if (rst) left <= 2'd0;
        else if (in_ready) begin
            if (in_valid) begin
                row <= in_row >> 8;
                sum <= in_row[7:0];
                left <= 2'd2;
            end
        end else begin
            row <= row >> 8;
            sum <= sum + row[7:0];
            left <= left - 2'd1;
            valid <= left == 2'd1;
        end
    end"""
    circuit = Circuit("slow", module("slow", inputs, outputs, body), tuple(inputs), tuple(outputs), 3, interval=3)
    return Case(circuit, lambda x: x.sum(axis=1, keepdims=True))


CASES = {make.__name__: make() for make in (adder, bits, wide, words, slow)}


def random_rows(fields: Sequence[Field], rows: int, seed: int = 0) -> np.ndarray:
    """int64 [rows, fields] over the whole range of each field; the first rows hold the least and the largest values."""
    random = np.random.default_rng(seed)
    highest = [min(field.highest, np.iinfo(np.int64).max) for field in fields]
    lowest = [field.lowest for field in fields]
    drawn = [
        random.integers(low, high, rows, np.int64, endpoint=True) for low, high in zip(lowest, highest, strict=True)
    ]
    x = np.stack(drawn, axis=1)
    x[:1], x[1:2] = lowest, highest
    return x
