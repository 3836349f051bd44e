"""Vectors of 64 bytes inside intrinsics: what is done to all of their numbers, as LLVM instructions.

Exponentials, logarithms and the hyperbolic tangent are here as kernels need them: in the dtype itself, within two units
in the last place, for the arguments that `kernels` has. As operators they are in `functions`, which computes all in
float64, and for all arguments: float32 is nearly always rounded right there, and takes twice the instructions.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from tensorml.executors.simd.addresses import I8, I32, I64, LLVM, SIZES, has_avx512, pointer, splat

BITS = {"float32": 23, "float64": 52}  # of the fraction
HIGHEST = {"float32": 127, "float64": 1023}  # the exponent's bias
FARTHEST = {"float32": 200.0, "float64": 1200.0}  # beyond it 2^x is 0 or infinite
EXP2 = {  # 2^x for |x| <= 1/2 by the powers of x; error 2e-17, 3e-9
    "float64": (
        1.0, 0.6931471805599453, 0.24022650695910158, 0.055504108664821625, 0.009618129107587256,
        0.001333355814640647, 0.00015403530463724353, 1.5252733841556773e-05, 1.3215432535912375e-06,
        1.0178057087733941e-07, 7.074194297288521e-09, 4.4558179083360645e-10,
    ),
    "float32": (
        1.0, 0.6931472067028326, 0.24022650922288757, 0.05550327226670302, 0.009618056678524637,
        0.0013400428177615838, 0.0001546144469856913,
    ),
}  # fmt: skip
ATANH = {"float32": 6, "float64": 12}  # terms of atanh(w) = w + w^3 / 3 + ... for |w| <= 0.172
LOG2_E = math.log2(math.e)


class Lanes:
    """A way to write instructions on vectors of one dtype, "float32" or "float64". width: their bytes."""

    def __init__(self, context: Any, b: ir.IRBuilder, name: str, width: int = 64):
        self.b, self.name, self.wide = b, name, has_avx512(context)
        self.element, self.size, self.count = LLVM[name], SIZES[name], width // SIZES[name]
        self.vector = ir.VectorType(self.element, self.count)
        self.whole = ir.VectorType(ir.IntType(8 * self.size), self.count)

    def number(self, value: float) -> ir.Constant:
        """A constant in every lane."""
        return ir.Constant(self.vector, [float(value)] * self.count)

    def integer(self, value: int) -> ir.Constant:
        """A constant in every lane, as a whole number of the same size."""
        return ir.Constant(self.whole, [value] * self.count)

    def load(self, address: Any, index: Any) -> Any:
        """The numbers from element `index` on."""
        return self.b.load(pointer(self.b, address, index, self.element, self.vector), align=self.size)

    def store(self, value: Any, address: Any, index: Any) -> None:
        """Write them from element `index` on."""
        self.b.store(value, pointer(self.b, address, index, self.element, self.vector), align=self.size)

    def each(self, address: Any, index: Any) -> Any:
        """Element `index` in every lane."""
        return splat(self.b, self.b.load(pointer(self.b, address, index, self.element)), self.count)

    def spread(self, value: Any) -> Any:
        """One value in every lane."""
        return splat(self.b, value, self.count)

    def lower(self, x: Any, y: Any) -> Any:
        """The lower one of each lane, y if one is NaN."""
        return self.b.select(self.b.fcmp_ordered("<", x, y), x, y)

    def mask(self, condition: Any) -> Any:
        """The truth of each lane as the bits of a number."""
        return self.b.zext(self.b.bitcast(condition, ir.IntType(self.count)), I64)

    def call(self, name: str, *arguments: Any) -> Any:
        """A function that LLVM has for vectors."""
        kind = ir.FunctionType(self.vector, [self.vector] * len(arguments))
        full = f"llvm.{name}.v{self.count}f{8 * self.size}"
        return self.b.call(self.b.module.declare_intrinsic(full, (), kind), arguments)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """X y + z, rounded once."""
        return self.call("fma", x, y, z)

    def polynomial(self, x: Any, coefficients: tuple[float, ...]) -> Any:
        """By Horner's scheme."""
        total = self.number(coefficients[-1])
        for c in coefficients[-2::-1]:
            total = self.fma(total, x, self.number(c))
        return total

    def clamp(self, x: Any, most: float) -> Any:
        """X between -most and most; NaN stays."""
        low, high = self.number(-most), self.number(most)
        x = self.b.select(self.b.fcmp_ordered("<", x, low), low, x)
        return self.b.select(self.b.fcmp_ordered(">", x, high), high, x)

    def power_of_two(self, k: Any) -> Any:
        """2^k of a whole number from 1 - bias to bias."""
        shift = self.number(1.5 * 2.0 ** BITS[self.name])  # with it, the lowest bits hold the whole number
        bits = self.b.bitcast(self.b.fadd(k, shift), self.whole)
        bits = self.b.add(bits, self.integer(HIGHEST[self.name]))
        return self.b.bitcast(self.b.shl(bits, self.integer(BITS[self.name])), self.vector)

    def scaled(self, x: Any, k: Any) -> Any:
        """X times 2^k of a whole number k, in two factors where no instruction does it: 2^k may be out of range."""
        if not self.wide:
            half = self.call("floor", self.b.fmul(k, self.number(0.5)))
            first = self.b.fmul(x, self.power_of_two(half))
            return self.b.fmul(first, self.power_of_two(self.b.fsub(k, half)))
        letter, mask = ("s", ir.IntType(16)) if self.size == 4 else ("d", I8)
        kind = ir.FunctionType(self.vector, [self.vector, self.vector, self.vector, mask, I32])
        function = self.b.module.declare_intrinsic(f"llvm.x86.avx512.mask.scalef.p{letter}.512", (), kind)
        return self.b.call(function, [x, k, self.number(0), ir.Constant(mask, -1), ir.Constant(I32, 4)])

    def exp2(self, x: Any) -> Any:
        """2^x, within a unit in the last place."""
        x = self.clamp(x, FARTHEST[self.name])
        k = self.call("rint", x)
        return self.scaled(self.polynomial(self.b.fsub(x, k), EXP2[self.name]), k)

    def log2(self, x: Any) -> Any:
        """The binary logarithm of x >= 1, infinity and NaN as they are."""
        b, bits = self.b, BITS[self.name]
        word, bias = b.bitcast(x, self.whole), HIGHEST[self.name]
        root = 0x3F3504F3 if self.size == 4 else 0x3FE6A09E667F3BCD  # of 1/2: the fraction is from there to twice it
        k = b.lshr(b.sub(word, self.integer(root)), self.integer(bits))
        m = b.bitcast(b.sub(word, b.shl(k, self.integer(bits))), self.vector)
        big = 2.0**bits
        filled = b.or_(k, self.integer((bias + bits) << bits))
        exponent = b.fsub(b.bitcast(filled, self.vector), self.number(big))
        w = b.fdiv(b.fsub(m, self.number(1)), b.fadd(m, self.number(1)))
        series = tuple(2 * LOG2_E / (2 * n + 1) for n in range(ATANH[self.name]))
        found = self.fma(w, self.polynomial(b.fmul(w, w), series), exponent)
        return b.select(b.fcmp_ordered("<", x, self.number(math.inf)), found, x)

    def power(self, x: Any, exponent: int) -> Any:
        """X to a whole power from 1 on, by squaring."""
        found = None
        while exponent:
            if exponent & 1:
                found = x if found is None else self.b.fmul(found, x)
            exponent >>= 1
            x = self.b.fmul(x, x) if exponent else x
        return found

    def tanh(self, x: Any) -> Any:
        """The hyperbolic tangent: -e / (e + 2) of e = exp(-2 |x|) - 1, in which nothing cancels."""
        b = self.b
        t = self.clamp(b.fmul(self.call("fabs", x), self.number(-2 * LOG2_E)), 60.0)
        k = self.call("rint", t)
        rest = b.fsub(t, k)
        less = b.fmul(rest, self.polynomial(rest, EXP2[self.name][1:]))
        scale = self.scaled(self.number(1), k)
        e = self.fma(scale, less, b.fsub(scale, self.number(1)))
        return self.call("copysign", b.fdiv(b.fneg(e), b.fadd(e, self.number(2))), x)
