"""Trees by comparing all of their nodes, for 128 rows at once: each row gets the number of its leaf within the tree."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit, types

from tensorml.executors.simd.addresses import (
    I8,
    I32,
    I64,
    LANES,
    LLVM,
    constant,
    intrinsic,
    load,
    pointer,
    splat,
    store,
)
from tensorml.executors.simd.few import many, perfect_few, symmetric_few, walk_few
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import LINE
from tensorml.executors.simd.shapes import SMALL


def compared(b: ir.IRBuilder, codes: Any, offset: Any, threshold: Any, name: str) -> Any:
    """Which of 128 rows have a code of at least the threshold."""
    vector = ir.VectorType(LLVM[name], LANES)
    code = b.load(pointer(b, b.add(codes, b.zext(offset, I64)), constant(0), I8, vector), align=LINE)
    limit = splat(b, threshold, LANES)
    return b.icmp_unsigned(">=", code, limit) if name == "uint8" else b.icmp_signed(">=", code, limit)


def numbers(value: int) -> ir.Constant:
    """The same byte for all rows."""
    return ir.Constant(ir.VectorType(I8, LANES), [value] * LANES)


@intrinsic
def perfect(
    typing: Any, codes: Any, nodes: Any, ranks: Any, under: Any, out: Any, depth: Any, rest: Any, dtype: Any
) -> Any:
    """The leaves of 128 rows in one perfect tree of so many levels.

    codes: the address of their codes; nodes: of the offsets of the nodes' columns, int32, in heap order; ranks: of what
    they compare with; out: for the leaves, uint8. rest: the levels of further trees below, 0 for none; under: the
    address of the leaves in each of them.
    """
    name, levels, further = dtype.literal_value, depth.literal_value, rest.literal_value
    vector = ir.VectorType(I8, LANES)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, offsets, thresholds, below, leaves = arguments[:5]

        def number(node: int, height: int) -> Any:
            if height == 0:
                tree = node - (2**levels - 1)
                return b.load(pointer(b, below, constant(LANES * tree), I8, vector), align=LINE)
            offset = b.load(pointer(b, offsets, constant(node), I32))
            right = compared(b, begin, offset, b.load(pointer(b, thresholds, constant(node), LLVM[name])), name)
            if height == 1 and not further:
                return b.select(right, numbers(1), numbers(0))
            on_left, on_right = number(2 * node + 1, height - 1), number(2 * node + 2, height - 1)
            return b.select(right, b.add(on_right, numbers(2 ** (height - 1 + further))), on_left)

        b.store(number(0, levels), pointer(b, leaves, constant(0), I8, vector), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, nodes, ranks, under, out, depth, rest, dtype), generate


@cache
def perfect_trees(depth: int, dtype: str, size: int) -> Kernel:
    """Parameters: codes, bytes from group to group, trees, the most rows that are few, addresses of offsets and ranks,
    places of the leaves.
    """
    inner = 2**depth - 1

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, trees = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        nodes, ranks = load(p, 4, "int64"), load(p, 5, "int64")
        whole = many(rows, load(p, 3, "int64"))
        if whole < rows:
            group = codes + whole // LANES * jump
            perfect_few(group, nodes, ranks, p + 48, trees, whole, rows - whole, depth, dtype)
        if whole > 0:
            for t in range(trees):
                out, group = load(p, 6 + t, "int64"), codes
                for start in range(0, whole, LANES):
                    perfect(group, nodes, ranks, 0, out + start, depth, 0, dtype)
                    group += jump
                nodes += 4 * inner
                ranks += size * inner
        return 0

    return Kernel(kernel)


@cache
def stacked_trees(top: int, dtype: str, size: int) -> Kernel:
    """Perfect trees of `top` levels over trees of 6: code for more levels at once would not stay in the processor.

    Parameters: as `perfect_trees`, the address of room before the places. Nodes: the trees below, then the top.
    """
    below, inner, above, levels = 2**top, 2**SMALL - 1, 2**top - 1, SMALL
    depth = SMALL + top

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, trees = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        nodes, ranks, room = load(p, 4, "int64"), load(p, 5, "int64"), load(p, 6, "int64")
        whole = many(rows, load(p, 3, "int64"))
        if whole < rows:
            group = codes + whole // LANES * jump
            perfect_few(group, nodes, ranks, p + 56, trees, whole, rows - whole, depth, dtype)
        if whole > 0:
            for t in range(trees):
                out, group = load(p, 7 + t, "int64"), codes
                last, limits = nodes + 4 * below * inner, ranks + size * below * inner
                for start in range(0, whole, LANES):
                    for k in range(below):
                        to = room + LANES * k
                        perfect(group, nodes + 4 * inner * k, ranks + size * inner * k, 0, to, levels, 0, dtype)
                    perfect(group, last, limits, room, out + start, top, levels, dtype)
                    group += jump
                nodes = last + 4 * above
                ranks = limits + size * above
        return 0

    return Kernel(kernel)


@intrinsic
def select(typing: Any, codes: Any, offset: Any, limit: Any, left: Any, right: Any, out: Any, dtype: Any) -> Any:
    """128 bytes from `right` where the code is at least the rank, else from `left`. All addresses but the rank."""
    name = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, at, threshold, on_left, on_right, to = arguments[:6]
        vector = ir.VectorType(I8, LANES)
        right = compared(b, begin, at, b.trunc(threshold, LLVM[name]) if name != "int32" else threshold, name)
        lower = b.load(pointer(b, on_left, constant(0), I8, vector), align=LINE)
        upper = b.load(pointer(b, on_right, constant(0), I8, vector), align=LINE)
        b.store(b.select(right, upper, lower), pointer(b, to, constant(0), I8, vector), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, offset, limit, left, right, out, dtype), generate


@intrinsic
def select_leaf(typing: Any, codes: Any, offset: Any, rank: Any, leaf: Any, out: Any, dtype: Any) -> Any:
    """128 times the number of a leaf, or of the one after it where the code is at least the rank."""
    name = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, at, threshold, number, to = arguments[:5]
        right = compared(b, begin, at, b.trunc(threshold, LLVM[name]) if name != "int32" else threshold, name)
        on_left = splat(b, b.trunc(number, I8), LANES)
        value = b.select(right, b.add(on_left, numbers(1)), on_left)
        b.store(value, pointer(b, to, constant(0), I8, ir.VectorType(I8, LANES)), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, offset, rank, leaf, out, dtype), generate


@njit(error_model="numpy", forceinline=True)
def settle(group, word, pairs, others, room, dtype):
    """What each node of a tree gives to 128 rows, its children first. Result: the address of the word behind them."""
    for _ in range(pairs):
        to = room + load(word, 3, "int32")
        select_leaf(group, load(word, 0, "int32"), load(word, 1, "int32"), load(word, 2, "int32"), to, dtype)
        word += 16
    for _ in range(others):
        offset, rank, to = load(word, 0, "int32"), load(word, 1, "int32"), load(word, 4, "int32")
        left, right = room + load(word, 2, "int32"), room + load(word, 3, "int32")
        select(group, offset, rank, left, right, room + to, dtype)
        word += 20
    return word


@cache
def any_trees(dtype: str, size: int) -> Kernel:
    """Parameters: codes, bytes from group to group, trees, the most rows that are few, the addresses of
    `plans.AnyPlan.nodes`, room for values, leaves at most, places of the leaves.
    """
    shift = (LANES * size).bit_length() - 1

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, trees = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        node, room = load(p, 4, "int64"), load(p, 8, "int64")
        whole = many(rows, load(p, 3, "int64"))
        if whole < rows:
            group, words, starts = codes + whole // LANES * jump, load(p, 5, "int64"), load(p, 6, "int64")
            numbers, rest = load(p, 7, "int64"), rows - whole
            walk_few(group, words, starts, numbers, p + 80, trees, whole, rest, shift, dtype, "uint8")
        if whole > 0:
            for leaf in range(load(p, 9, "int64")):
                for r in range(LANES):
                    store(room, LANES * leaf + r, leaf, "uint8")
            for t in range(trees):
                out, group = load(p, 10 + t, "int64"), codes
                pairs, others = load(node, 0, "int32"), load(node, 1, "int32")
                begin = node + 8
                for start in range(0, whole, LANES):
                    last = room + load(settle(group, begin, pairs, others, room, dtype), 0, "int32")
                    for r in range(LANES):
                        store(out, start + r, load(last, r, "uint8"), "uint8")
                    group += jump
                node = begin + 16 * pairs + 20 * others + 4
        return 0

    return Kernel(kernel)


@intrinsic
def symmetric(typing: Any, codes: Any, tests: Any, out: Any, depth: Any, dtype: Any) -> Any:
    """The leaves of 128 rows in one symmetric tree. tests: the address of pairs of offset and rank, int32."""
    name, levels = dtype.literal_value, depth.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, address, to = arguments[:3]
        leaf: Any = numbers(0)
        for level in range(levels):
            offset = b.load(pointer(b, address, constant(2 * level), I32))
            limit = b.load(pointer(b, address, constant(2 * level + 1), I32))
            right = compared(b, begin, offset, b.trunc(limit, LLVM[name]) if name != "int32" else limit, name)
            leaf = b.select(right, b.or_(leaf, numbers(2**level)), leaf)
        b.store(leaf, pointer(b, to, constant(0), I8, ir.VectorType(I8, LANES)), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, tests, out, depth, dtype), generate


@cache
def symmetric_trees(depth: int, dtype: str) -> Kernel:
    """Trees of one depth. Parameters: codes, bytes from group to group, trees, the most rows that are few, the address
    of the nodes; places of the leaves. Nodes: see `plans.SymmetricPlan`.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, trees = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        word, whole = load(p, 4, "int64"), many(rows, load(p, 3, "int64"))
        if whole < rows:
            group = codes + whole // LANES * jump
            symmetric_few(group, word, p + 40, trees, whole, rows - whole, depth, dtype)
        if whole > 0:
            for t in range(trees):
                out, group = load(p, 5 + t, "int64"), codes
                for start in range(0, whole, LANES):
                    symmetric(group, word, out + start, depth, dtype)
                    group += jump
                word += 8 * depth
        return 0

    return Kernel(kernel)
