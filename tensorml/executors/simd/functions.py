"""Functions of one number: those that are one instruction, and series, computed for a vector of numbers at once.

Series are in float64, for float32 with fewer terms: the error there is at most 0.56 units in the last place; of sine
and cosine, which are in float32 up to NEAR, less than two. Of float64 it is at most 0.9 units, of those made of expm1
less than three, of sine and cosine less than two up to REDUCED; beyond that libm computes them. (Measured against
long double by tests/executors/test_simd_rows.py.)
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types

from tensorml import ops
from tensorml.executors.simd.addresses import I32, I64, intrinsic
from tensorml.executors.simd.vectors import LOG2_E, Lanes
from tensorml.graph import Op

SIMPLE: tuple[type[Op], ...] = (
    ops.Neg,
    ops.Abs,
    ops.Sqrt,
    ops.Floor,
    ops.Ceil,
    ops.Trunc,
    ops.Round,
    ops.IsNaN,
    ops.Not,
)
SERIES: tuple[type[Op], ...] = (
    ops.Exp,
    ops.Exp2,
    ops.Expm1,
    ops.Log,
    ops.Log1p,
    ops.Log2,
    ops.Log10,
    ops.Sigmoid,
    ops.Tanh,
    ops.Sinh,
    ops.Cosh,
    ops.Sin,
    ops.Cos,
)
SINGLE = {"Sqrt": "sqrt", "Floor": "floor", "Ceil": "ceil", "Trunc": "trunc", "Round": "rint", "Abs": "fabs"}

LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)  # of 33 bits, and what it lacks
LOG10_2 = (0.301029995663611771306, 3.69423907715893078616e-13)  # likewise
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33)
HALF_PI32 = (1.5707963705062866, -4.371138828673793e-08, -1.7150994166548195e-15)  # in parts of float32
NEAR = 1000.0  # up to here float32 finds its period by HALF_PI32
REDUCED = 2.0**20  # up to here sine and cosine find their period by HALF_PI
LARGEST32 = 3.4028235677973366e38  # what is rounded to float32's infinity
EXP = tuple(1 / math.factorial(n) for n in range(14))  # Taylor's: error 4e-18 up to ln(2) / 2
EXP32 = EXP[:9]  # error 2e-10
LOG = (  # of (log(1 + f) - f) / s + f in powers of s^2, s = f / (2 + f). Source: FreeBSD's e_log.c
    0.0, 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip
LOG32 = (0.0, *(2 / n for n in range(3, 13, 2)))
SIN = tuple((-1) ** n / math.factorial(2 * n + 1) for n in range(9))  # Taylor's in x^2: error 1e-18 up to pi / 4
COS = tuple((-1) ** n / math.factorial(2 * n) for n in range(10))


@intrinsic
def function(typing: Any, name: Any, x: Any) -> Any:
    """The functions that LLVM has, of a number: loops over them become vectors."""
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
def series(typing: Any, name: Any, x: Any, out: Any, row: Any, dtype: Any) -> Any:
    """Write the function of 64 bytes of numbers at `x`, from `row` on, to `out`. Result: lanes it is wrong in."""
    operator, element = name.literal_value, dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, source, to, first = arguments[:4]
        native, lanes = Lanes(context, b, element), Functions(context, b, short=element == "float32")
        value = native.load(source, first)
        native.store(evaluate(lanes, native, operator, value), to, first)
        if operator not in ("Sin", "Cos"):
            return ir.Constant(I64, 0)
        size = native.call("fabs", value)
        far = b.fcmp_ordered(">", size, native.number(REDUCED))
        return native.mask(b.and_(far, b.fcmp_ordered("<", size, native.number(math.inf))))

    return types.int64(name, x, out, row, dtype), generate


def evaluate(lanes: Functions, native: Lanes, operator: str, x: Any) -> Any:
    """The function of a vector, in its dtype."""
    b = lanes.b
    if operator == "Sigmoid":  # 1 + exp is rounded to the dtype, as the source does
        one = native.number(1)
        return b.fdiv(one, b.fadd(one, evaluate(lanes, native, "Exp", b.fneg(x))))
    apply = getattr(lanes, operator.lower())
    if native.name == "float64":
        return apply(x)
    if operator in ("Sin", "Cos"):
        return near_or_far(lanes, native, operator, x)
    return in_halves(lanes, native, operator, x)


def near_or_far(lanes: Functions, native: Lanes, operator: str, x: Any) -> Any:
    """A sine or cosine of float32, in float32 where no lane is beyond NEAR."""
    b = lanes.b
    far = b.fcmp_unordered(">", native.call("fabs", x), native.number(NEAR))
    some = b.icmp_unsigned("!=", native.mask(far), ir.Constant(I64, 0))
    with b.if_else(some) as (then, otherwise):
        with then:
            slow, after_slow = in_halves(lanes, native, operator, x), b.block
        with otherwise:
            fast, after_fast = wave32(native, x, int(operator == "Cos")), b.block
    found = b.phi(native.vector)
    found.add_incoming(slow, after_slow)
    found.add_incoming(fast, after_fast)
    return found


def wave32(lanes: Lanes, x: Any, quarter: int) -> Any:
    """The sine of float32 up to NEAR, `quarter` quarters of a period later."""
    b = lanes.b
    k = lanes.call("rint", b.fmul(x, lanes.number(2 / math.pi)))
    rest = x
    for piece in HALF_PI32:
        rest = lanes.fma(k, lanes.number(-piece), rest)
    square = b.fmul(rest, rest)
    sine = lanes.fma(b.fmul(rest, square), lanes.polynomial(square, SIN[1:5]), rest)
    cosine = lanes.polynomial(square, COS[:6])
    turns = b.add(b.bitcast(b.fadd(k, lanes.number(1.5 * 2.0**23)), lanes.whole), lanes.integer(quarter))
    odd = b.icmp_unsigned("!=", b.and_(turns, lanes.integer(1)), lanes.integer(0))
    sign = b.shl(b.and_(turns, lanes.integer(2)), lanes.integer(30))
    found = b.bitcast(b.select(odd, cosine, sine), lanes.whole)
    return b.bitcast(b.xor(found, sign), lanes.vector)


def in_halves(lanes: Functions, native: Lanes, operator: str, x: Any) -> Any:
    """The function of float32, by way of float64."""
    b, apply = lanes.b, getattr(lanes, operator.lower())
    half = ir.VectorType(native.element, lanes.count)
    results = []
    for start in (0, lanes.count):
        pick = ir.Constant(ir.VectorType(I32, lanes.count), [start + k for k in range(lanes.count)])
        part = b.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), pick)
        results.append(b.fptrunc(apply(b.fpext(part, lanes.vector)), half))
    both = ir.Constant(ir.VectorType(I32, native.count), list(range(native.count)))
    return b.shuffle_vector(results[0], results[1], both)


class Functions(Lanes):
    """Functions of vectors of float64. short: with the terms that float32 needs. NaN gives NaN."""

    def __init__(self, context: Any, b: ir.IRBuilder, *, short: bool):
        super().__init__(context, b, "float64")
        self.short = short

    def parts(self, x: Any) -> tuple[Any, Any]:
        """X = k ln(2) + rest. Result: k and the rest, at most ln(2) / 2."""
        k = self.call("rint", self.b.fmul(x, self.number(LOG2_E)))
        rest = self.fma(k, self.number(-LN2[0]), x)
        return k, self.fma(k, self.number(-LN2[1]), rest)

    def exp(self, x: Any) -> Any:
        """E to the power of x."""
        k, rest = self.parts(self.clamp(x, 1100.0))
        return self.scaled(self.polynomial(rest, EXP32 if self.short else EXP), k)

    def expm1(self, x: Any) -> Any:
        """2^k (e^rest - 1) + (2^k - 1): nothing cancels. From k = 60 on, e^x."""
        b = self.b
        k, rest = self.parts(self.clamp(x, 1100.0))
        less = b.fmul(rest, self.polynomial(rest, (EXP32 if self.short else EXP)[1:]))
        scale = self.scaled(self.number(1), k)
        near = self.fma(scale, less, b.fsub(scale, self.number(1)))
        far = self.scaled(b.fadd(less, self.number(1)), k)
        return self.call("copysign", b.select(b.fcmp_ordered(">", k, self.number(60)), far, near), x)

    def tanh(self, x: Any) -> Any:
        """-e / (e + 2) of e = exp(-2 |x|) - 1."""
        b = self.b
        e = self.expm1(b.fmul(self.call("fabs", x), self.number(-2)))
        return self.call("copysign", b.fdiv(e, b.fadd(e, self.number(2))), x)

    def sinh(self, x: Any) -> Any:
        """(e + e / (e + 1)) / 2 of e = exp(|x|) - 1; beyond 40 the square of exp(|x| / 2), halved."""
        b, size = self.b, self.call("fabs", x)
        e = self.expm1(size)
        near = b.fmul(self.number(0.5), b.fadd(e, b.fdiv(e, b.fadd(e, self.number(1)))))
        return self.call("copysign", self.large(size, near), x)

    def cosh(self, x: Any) -> Any:
        """(e + 1 / e) / 2 of e = exp(|x|)."""
        b, size = self.b, self.call("fabs", x)
        e = self.exp(size)
        near = b.fmul(self.number(0.5), b.fadd(e, b.fdiv(self.number(1), e)))
        return self.large(size, near)

    def large(self, x: Any, near: Any) -> Any:
        """Beyond 40 exp(x) / 2, which may be in range where exp(x) is not."""
        k, rest = self.parts(self.clamp(x, 1100.0))
        far = self.scaled(self.polynomial(rest, EXP32 if self.short else EXP), self.b.fsub(k, self.number(1)))
        return self.b.select(self.b.fcmp_ordered(">", x, self.number(40)), far, near)

    def exp2(self, x: Any) -> Any:
        """2 to the power of x."""
        x = self.clamp(x, 1100.0)
        k = self.call("rint", x)
        rest = self.b.fmul(self.b.fsub(x, k), self.number(1 / LOG2_E))
        return self.scaled(self.polynomial(rest, EXP32 if self.short else EXP), k)

    def split(self, x: Any) -> tuple[Any, Any]:
        """X = 2^k m for a positive x. Result: k and m, from the root of 1/2 to that of 2."""
        b = self.b
        tiny = b.fcmp_ordered("<", x, self.number(2.0**-1022))
        word = b.bitcast(b.select(tiny, b.fmul(x, self.number(2.0**54)), x), self.whole)
        k = b.ashr(b.sub(word, self.integer(0x3FE6A09E667F3BCD)), self.integer(52))
        m = b.bitcast(b.sub(word, b.shl(k, self.integer(52))), self.vector)
        shift = self.number(1.5 * 2.0**52)
        whole = b.fsub(b.bitcast(b.add(b.bitcast(shift, self.whole), k), self.vector), shift)
        return b.fsub(whole, b.select(tiny, self.number(54), self.number(0))), m

    def logarithm(self, f: Any) -> tuple[Any, Any]:
        """Log(1 + f) = f - less, for 1 + f from the root of 1/2 to that of 2. Result: f and what it is less."""
        b = self.b
        s = b.fdiv(f, b.fadd(f, self.number(2)))
        half = b.fmul(b.fmul(f, f), self.number(0.5))
        r = self.polynomial(b.fmul(s, s), LOG32 if self.short else LOG)
        return f, b.fsub(half, b.fmul(s, b.fadd(half, r)))

    def ends(self, x: Any, found: Any) -> Any:
        """A logarithm, but -inf for 0, NaN below, and infinity and NaN as they are."""
        b, zero = self.b, self.number(0)
        found = b.select(b.fcmp_ordered("<", x, self.number(math.inf)), found, x)
        found = b.select(b.fcmp_ordered("==", x, zero), self.number(-math.inf), found)
        return b.select(b.fcmp_ordered("<", x, zero), self.number(math.nan), found)

    def log(self, x: Any) -> Any:
        """The natural logarithm."""
        b = self.b
        k, m = self.split(x)
        f, less = self.logarithm(b.fsub(m, self.number(1)))
        less = b.fsub(b.fsub(less, b.fmul(k, self.number(LN2[1]))), f)
        return self.ends(x, b.fsub(b.fmul(k, self.number(LN2[0])), less))

    def log1p(self, x: Any) -> Any:
        """The logarithm of the rounded u = 1 + x, and what was lost by rounding, divided by u."""
        b, one = self.b, self.number(1)
        u = b.fadd(x, one)
        k, m = self.split(u)
        direct = b.fcmp_ordered("==", k, self.number(0))
        bigger = b.fcmp_ordered(">", x, one)
        lost = b.select(bigger, b.fsub(one, b.fsub(u, x)), b.fsub(x, b.fsub(u, one)))
        lost = self.number(0) if self.short else b.select(direct, self.number(0), b.fdiv(lost, u))
        f, less = self.logarithm(b.select(direct, x, b.fsub(m, one)))
        less = b.fsub(b.fsub(less, b.fadd(b.fmul(k, self.number(LN2[1])), lost)), f)
        found = b.fsub(b.fmul(k, self.number(LN2[0])), less)
        return self.call("copysign", self.ends(u, found), b.select(b.fcmp_ordered("<", u, self.number(0)), u, x))

    def log2(self, x: Any) -> Any:
        """K + log(m) / ln(2), the product with what it loses."""
        k, high, low = self.in_two_parts(x)
        return self.ends(x, self.to_base(high, low, LOG2_E, 2.0355273740931033e-17, k, self.number(0)))

    def log10(self, x: Any) -> Any:
        """The logarithm to base 10, that of 2^k in two parts."""
        k, high, low = self.in_two_parts(x)
        whole, rest = (self.b.fmul(k, self.number(part)) for part in LOG10_2)
        return self.ends(x, self.to_base(high, low, 0.4342944819032518, 1.098319650216765e-17, whole, rest))

    def in_two_parts(self, x: Any) -> tuple[Any, Any, Any]:
        """X = 2^k m. Result: k, log(m), and what that lacks."""
        b = self.b
        k, m = self.split(x)
        f, less = self.logarithm(b.fsub(m, self.number(1)))
        high = b.fsub(f, less)
        return k, high, b.fsub(b.fsub(f, high), less)

    def to_base(self, high: Any, low: Any, factor: float, rest: float, whole: Any, less: Any) -> Any:
        """`whole` + `less` + (high + low) (factor + rest)."""
        b = self.b
        product = b.fmul(high, self.number(factor))
        lost = self.fma(high, self.number(factor), b.fneg(product))
        lost = b.fadd(lost, self.fma(low, self.number(factor), b.fmul(high, self.number(rest))))
        return b.fadd(whole, b.fadd(product, b.fadd(lost, less)))

    def sin(self, x: Any) -> Any:
        """The sine."""
        return self.wave(x, 0)

    def cos(self, x: Any) -> Any:
        """The cosine: the sine a quarter of a period later."""
        return self.wave(x, 1)

    def wave(self, x: Any, quarter: int) -> Any:
        """The sine, `quarter` quarters of a period later."""
        b = self.b
        k = self.call("rint", b.fmul(x, self.number(2 / math.pi)))
        rest = x
        for piece in HALF_PI:
            rest = self.fma(k, self.number(-piece), rest)
        square = b.fmul(rest, rest)
        sine = self.fma(b.fmul(rest, square), self.polynomial(square, SIN[1:6] if self.short else SIN[1:]), rest)
        cosine = self.polynomial(square, COS[:7] if self.short else COS)
        shift = self.number(1.5 * 2.0**52)
        turns = b.add(b.bitcast(b.fadd(k, shift), self.whole), self.integer(quarter))
        odd = b.icmp_unsigned("!=", b.and_(turns, self.integer(1)), self.integer(0))
        sign = b.shl(b.and_(turns, self.integer(2)), self.integer(62))
        found = b.bitcast(b.select(odd, cosine, sine), self.whole)
        found = b.bitcast(b.xor(found, sign), self.vector)
        endless = b.fcmp_ordered("==", self.call("fabs", x), self.number(math.inf))
        return b.select(endless, self.number(math.nan), found)
