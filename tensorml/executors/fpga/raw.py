"""Floats in a circuit as they are: bit patterns, compared as integers that have the order of the floats."""

from __future__ import annotations

import numpy as np

from tensorml.executors.fpga.design import Coded, Design, Signal, number
from tensorml.executors.fpga.patterns import RankBits

NOTE = "Bit patterns of floats as integers in the same order"


def coded(design: Design, bits: Signal, op: RankBits, k: int) -> Coded:
    """Column k of the ranks of bit patterns: a code that is compared by comparing the value."""
    width = op.boundaries.dtype.itemsize * 8
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    boundaries, nan = op.boundaries[op.offsets[k] : op.offsets[k + 1]], int(op.nan[k])
    bounds = [bound(value, op.strict) for value in boundaries]
    place = low if nan == 0 else bounds[nan - 1] if nan <= len(bounds) else high
    bounds += [high] * (nan - len(bounds))
    return Coded(numbers(design, ordered(design, bits, width), op.boundaries.dtype, place), tuple(bounds))


def ordered(design: Design, bits: Signal, width: int) -> Signal:
    """Patterns in the order of the floats: those of negative ones count down, so all bits but the sign are inverted."""
    sign = f"{bits.name}[{width - 1}]"
    text = f"{bits.name} ^ {{1'b0, {{{width - 1}{{{sign}}}}}}}"
    return design.register("ordered", NOTE, text, bits.low, bits.high, bits.stage, ("adder", width))


def numbers(design: Design, x: Signal, dtype: np.dtype, nan: int) -> Signal:
    """With NaN at this place among the numbers."""
    infinity = order(dtype.type(np.inf))
    text = x.text(True)
    outside = f"{text} > {number(infinity).text(True)} || {text} < {number(-infinity - 1).text(True)}"
    kind = "compare", x.width
    note, text = "NaN beside the numbers", f"({outside}) ? {integer(nan, x)} : {text}"
    return design.register("number", note, text, x.low, x.high, x.stage, kind, 2)


def integer(value: int, like: Signal) -> str:
    """A constant. The least integer has no literal in Verilog: the minus there is of a number that does not fit."""
    if value == like.low:
        return f"(-{number(like.high).text(True)} - {like.width}'sd1)"
    return number(value).text(True)


def order(value: np.floating) -> int:
    """A float as the integer in whose order floats are: -0.0 is one less than 0.0."""
    width = value.dtype.itemsize * 8
    pattern = int(value.view(f"i{width // 8}"))
    return pattern if pattern >= 0 else pattern ^ ((1 << width - 1) - 1)


def bound(boundary: np.floating, strict: bool) -> int:
    """The least integer of a float x with x >= boundary; with x > boundary if `strict`. -0.0 and 0.0 are the same."""
    if boundary == 0:
        return 1 if strict else -1
    return order(boundary) + strict
