"""Functions of one number, written without branches so that loops over them become vectors."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import overload

from tensorml import ops
from tensorml.executors.simd.addresses import bits, from_bits, intrinsic
from tensorml.graph import Op

FUNCTIONS: tuple[type[Op], ...] = (
    ops.Neg,
    ops.Abs,
    ops.Sqrt,
    ops.Floor,
    ops.Ceil,
    ops.Trunc,
    ops.Round,
    ops.IsNaN,
    ops.Not,
    ops.Exp,
    ops.Sigmoid,
)
SINGLE = {"Sqrt": "sqrt", "Floor": "floor", "Ceil": "ceil", "Trunc": "trunc", "Round": "rint", "Abs": "fabs"}

LOG2_E = math.log2(math.e)
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # of 33 bits, and what it lacks
SHIFT = 1.5 * 2.0**52  # a float64 plus this has its nearest integer in its lowest bits
POLYNOMIALS = {
    "exponential": tuple(1 / math.factorial(n) for n in range(14)),  # Taylor's: error 4e-18 up to ln(2) / 2
}


@intrinsic
def one_instruction(typing: Any, name: Any, x: Any) -> Any:
    """The functions that LLVM has."""
    operator, real = name.literal_value, x in (types.float32, types.float64)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        value = arguments[1]
        if operator == "Neg":
            return b.fneg(value) if real else b.neg(value)
        if operator == "IsNaN":
            return b.zext(b.fcmp_unordered("uno", value, value), ir.IntType(8))
        if operator == "Not":
            return b.xor(value, ir.Constant(value.type, 1))
        if not real:
            return b.select(b.icmp_signed("<", value, ir.Constant(value.type, 0)), b.neg(value), value)
        return b.call(b.module.declare_intrinsic(f"llvm.{SINGLE[operator]}", [value.type]), [value])

    return (types.uint8 if operator == "IsNaN" else x)(name, x), generate


@intrinsic
def polynomial(typing: Any, name: Any, x: Any) -> Any:
    """A polynomial of POLYNOMIALS, by Horner's scheme."""
    coefficients = POLYNOMIALS[name.literal_value]

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        value = arguments[1]
        total = ir.Constant(value.type, coefficients[-1])
        for c in coefficients[-2::-1]:
            total = b.fadd(b.fmul(total, value), ir.Constant(value.type, c))
        return total

    return x(name, x), generate


@njit(error_model="numpy", forceinline=True)
def exponential(x):
    """Exp of a float64, within a unit in the last place. 2^k is two factors: it may leave the range."""
    x = min(max(x, -1100.0), 1100.0) if x == x else x
    shifted = x * LOG2_E + SHIFT
    k = shifted - SHIFT
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    p = polynomial("exponential", r)
    whole = bits(shifted) - bits(SHIFT)
    half = whole >> 1
    return p * from_bits((half + 1023) << 52) * from_bits((whole - half + 1023) << 52)


def function(name: str, x: float) -> float:
    """The function `name` of a number. Only kernels call it."""
    raise NotImplementedError(name)


@overload(function, prefer_literal=True)
def _function(name, x):
    if not isinstance(name, types.StringLiteral):
        return None
    operator = name.literal_value
    if operator == "Exp":
        return lambda name, x: type_of(x, exponential(float(x)))
    if operator == "Sigmoid":
        return lambda name, x: type_of(x, 1.0) / (type_of(x, 1.0) + type_of(x, exponential(-float(x))))
    return lambda name, x: one_instruction(name, x)


@intrinsic
def type_of(typing: Any, like: Any, x: Any) -> Any:
    """X in the type of `like`."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return context.cast(b, arguments[1], x, like)

    return like(like, x), generate
