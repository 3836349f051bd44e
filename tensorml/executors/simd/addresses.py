"""Memory by address, and vectors of lanes, inside kernels: what Numba has no words for, as LLVM instructions.

Arguments named `dtype` and `name` are constants of the kernel: strings that its factory was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import extending, types

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
LANES = 128  # rows that are compared at once: two vectors of 64 bytes
LLVM = {
    "bool": I8,
    "uint8": I8,
    "int16": I16,
    "int32": I32,
    "int64": I64,
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
}
NUMBA = {
    "bool": types.uint8,
    "uint8": types.uint8,
    "int16": types.int16,
    "int32": types.int32,
    "int64": types.int64,
    "float32": types.float32,
    "float64": types.float64,
}
SIZES = {"bool": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


def intrinsic(define: Callable[..., Any]) -> Callable[..., Any]:
    """A function of kernels that is written as LLVM instructions: `define` gives its signature and its generator."""
    return extending.intrinsic(prefer_literal=True)(define)


def pointer(b: ir.IRBuilder, address: Any, index: Any, element: ir.Type, to: ir.Type | None = None) -> Any:
    """The pointer to element `index` at an address; `to`: what it points to, if not one element."""
    p = b.gep(b.inttoptr(address, element.as_pointer()), [index])
    return p if to is None else b.bitcast(p, to.as_pointer())


def constant(value: int) -> ir.Constant:
    """A number of 64 bits."""
    return ir.Constant(I64, value)


def splat(b: ir.IRBuilder, value: Any, lanes: int) -> Any:
    """A vector with the value in every lane."""
    vector = ir.VectorType(value.type, lanes)
    one = b.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
    return b.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def repeated(
    b: ir.IRBuilder, begin: Sequence[Any], turn: Callable[[list[Any]], tuple[Any, Sequence[Any]]]
) -> list[Any]:
    """A loop that carries values. turn: writes the instructions of one; whether another follows, and with what.

    Result: the values after the last turn.
    """
    before, loop, after = b.block, b.append_basic_block("turn"), b.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    carried = [b.phi(value.type) for value in begin]
    again, following = turn(carried)
    last = b.block  # where the turn has loops of its own
    b.cbranch(again, loop, after)
    for phi, first, then in zip(carried, begin, following, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, last)
    b.position_at_end(after)
    return list(following)


def loop(
    b: ir.IRBuilder, begin: Any, end: Any, step: int, totals: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """A loop from `begin` on while its number is below `end`, once at least. Result: the totals after it.

    totals: those at the beginning. body: the totals after one turn, of its number and of the totals before it.
    """
    before, turn, after = b.block, b.append_basic_block("turn"), b.append_basic_block("after")
    b.branch(turn)
    b.position_at_end(turn)
    number, kept = b.phi(I64), [b.phi(total.type) for total in totals]
    new = body(number, list(kept))
    following, last = b.add(number, constant(step)), b.block
    b.cbranch(b.icmp_signed("<", following, end), turn, after)
    for phi, first, later in zip((number, *kept), (begin, *totals), (following, *new), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, last)
    b.position_at_end(after)
    return new


def has_avx512(context: Any, part: str = "f") -> bool:
    """Whether kernels are compiled for a processor with 512-bit vectors. part: "bw" for those of bytes and words."""
    _, _, features = context.codegen().magic_tuple()
    return f"+avx512{part}" in features


@intrinsic
def load(typing: Any, address: Any, index: Any, dtype: Any) -> Any:
    """Element `index` at an address; bool as 0 or 1."""
    name = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        place = context.cast(b, arguments[1], signature.args[1], types.int64)
        return b.load(pointer(b, arguments[0], place, LLVM[name]))

    return NUMBA[name](address, index, dtype), generate


@intrinsic
def store(typing: Any, address: Any, index: Any, value: Any, dtype: Any) -> Any:
    """Write element `index` at an address, converted to the dtype."""
    name = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        converted = context.cast(b, arguments[2], signature.args[2], NUMBA[name])
        place = context.cast(b, arguments[1], signature.args[1], types.int64)
        b.store(converted, pointer(b, arguments[0], place, LLVM[name]))
        return context.get_dummy_value()

    return types.void(address, index, value, dtype), generate


@intrinsic
def call(typing: Any, kernel: Any, parameters: Any, first: Any, rows: Any) -> Any:
    """The status of a kernel, by its address."""
    signature = types.int64(kernel, parameters, first, rows)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(I64, [I64, I64, I64])
        return b.call(b.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

    return signature, generate
