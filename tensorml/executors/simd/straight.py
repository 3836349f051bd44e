"""Matrix products of rows where they lie: the lanes of a vector are columns of the result, and nothing is turned.

A number of a row, in all lanes, is multiplied by a row of the matrix. Where the result has fewer columns than there are
lanes, a vector holds what several numbers of the row are multiplied by, and their lanes are added up in the end: of a
single column, as many numbers as there are lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

from tensorml import ops
from tensorml.executors.simd.addresses import I32, LLVM, SIZES, constant, intrinsic, load, loop, pointer
from tensorml.executors.simd.kernel import Kernel, processor
from tensorml.executors.simd.machine import Assembler, Parameter, Word
from tensorml.executors.simd.panels import panels
from tensorml.executors.simd.rows import Rows, To, row_rule
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Const, Op


def joined(b: ir.IRBuilder, vectors: Sequence[Any], each: int) -> list[Any]:
    """The sums of `each` neighbouring lanes: of as many vectors one, in their order."""
    vectors, count = list(vectors), vectors[0].type.count
    mask = ir.VectorType(I32, count)
    even, odd = (ir.Constant(mask, [2 * k + start for k in range(count)]) for start in (0, 1))
    while each > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [b.fadd(b.shuffle_vector(x, y, even), b.shuffle_vector(x, y, odd)) for x, y in pairs]
        each //= 2
    return vectors


def again(v: Lanes, address: Any, source: str, each: int) -> Any:
    """So many numbers of the dtype `source`, again and again in all lanes."""
    short = ir.VectorType(LLVM[source], each)
    found: Any = v.b.load(v.b.inttoptr(address, short.as_pointer()), align=SIZES[source])
    found = found if source == v.name else v.b.fpext(found, ir.VectorType(v.element, each))
    lanes = ir.Constant(ir.VectorType(I32, v.count), [k % each for k in range(v.count)])
    return v.b.shuffle_vector(found, ir.Constant(found.type, ir.Undefined), lanes)


def part(b: ir.IRBuilder, vector: Any, start: int, count: int) -> Any:
    """Some lanes of a vector."""
    lanes = ir.Constant(ir.VectorType(I32, count), list(range(start, start + count)))
    return b.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), lanes)


def write_all(v: Lanes, values: Sequence[Any], places: Sequence[Any]) -> None:
    """Write vectors to addresses."""
    for value, place in zip(values, places, strict=True):
        v.b.store(value, v.b.inttoptr(place, value.type.as_pointer()), align=v.size)


def write_some(v: Lanes, values: Sequence[Any], address: Any, stride: Any, count: Any) -> None:
    """Write the first `count` numbers of a vector for each row, by way of memory."""
    b, kind = v.b, values[0].type
    room = cgutils.alloca_once(b, kind, size=len(values))
    for r, value in enumerate(values):
        b.store(value, b.gep(room, [constant(r)]), align=v.size)
    numbers = b.bitcast(room, v.element.as_pointer())

    def row(r: Any, _: list[Any]) -> list[Any]:
        first, to = b.mul(r, constant(kind.count)), b.add(address, b.mul(r, stride))

        def one(k: Any, _: list[Any]) -> list[Any]:
            b.store(b.load(b.gep(numbers, [b.add(first, k)])), pointer(b, to, k, v.element))
            return []

        loop(b, constant(0), count, 1, [], one)
        return []

    loop(b, constant(0), constant(len(values)), 1, [], row)


@intrinsic
def multiply(
    typing: Any, x: Any, stride: Any, chunks: Any, tail: Any, weights: Any, out: Any, line: Any, some: Any,
    count: Any, form: Any, given: Any, dtype: Any,
) -> Any:  # fmt: skip
    """Write the products of some rows with a panel of a matrix. Result: lanes in which one is not finite.

    x, out: the addresses of the first row and of its result; stride, line: in bytes from row to row. chunks: how many
    times numbers are taken from a row; tail: where the last ones begin, in bytes. weights: as `Panel` packs them.
    count: the columns that the panel has; some: whether no more may be written, else a vector's are, and what is too
    much is in the rows that follow. form: "vectors each rows width": the panel's vectors, the numbers taken at a time,
    the rows, a vector's bytes. given: the dtype of the rows.
    """
    source, name = given.literal_value, dtype.literal_value
    vectors, each, height, width = map(int, form.literal_value.split())
    signature = types.int64(x, stride, chunks, tail, weights, out, line, some, count, form, given, dtype)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, step, turns, end, panel, to, between, careful, columns = arguments[:9]
        v = Lanes(context, b, name, width)
        places = [b.add(begin, b.mul(step, constant(k))) for k in range(height)]

        def added(sums: list[Any], offset: Any, number: Any, mask: Any) -> list[Any]:
            matrix = [v.load(panel, b.add(number, constant(k * v.count))) for k in range(vectors)]
            new = list(sums)
            for r, place in enumerate(places):
                values = again(v, b.add(place, offset), source, each)
                if mask is not None:
                    values = b.bitcast(b.and_(b.bitcast(values, v.whole), mask), v.vector)
                for k, row in enumerate(matrix):
                    new[k * height + r] = v.fma(values, row, new[k * height + r])
            return new

        def chunk(j: Any, sums: list[Any]) -> list[Any]:
            return added(sums, b.mul(j, constant(each * SIZES[source])), b.mul(j, constant(vectors * v.count)), None)

        sums = loop(b, constant(0), turns, 1, [v.number(0)] * (vectors * height), chunk)
        if each > 1:
            number = b.mul(turns, constant(v.count))
            mask = b.bitcast(v.load(panel, b.add(number, constant(v.count))), v.whole)
            sums = joined(b, added(sums, end, number, mask), each)
        write(v, sums, height, to, between, each, careful, columns)
        zeros = [v.number(0)] * min(4, len(sums))
        for k, value in enumerate(sums):
            zeros[k % len(zeros)] = v.fma(value, v.number(0), zeros[k % len(zeros)])
        bad = constant(0)
        for value in zeros:
            bad = b.or_(bad, v.mask(b.fcmp_unordered("uno", value, value)))
        return bad

    return signature, generate


def write(
    v: Lanes, sums: Sequence[Any], height: int, address: Any, stride: Any, each: int, careful: Any, columns: Any
) -> None:
    """Write the results of so many rows: of each one vector, or more side by side, or one of `each` parts of a vector.

    careful: whether no more than `columns` numbers of a row, which then has one vector, or part of it.
    """
    b, lanes = v.b, v.count // each
    values = [part(b, vector, i * lanes, lanes) for vector in sums for i in range(each)] if each > 1 else list(sums)
    places = [
        b.add(address, b.add(b.mul(stride, constant(k % height)), constant(k // height * lanes * v.size)))
        for k in range(len(values))
    ]
    if len(values) > height:
        write_all(v, values, places)
        return
    with b.if_else(b.icmp_signed("!=", careful, constant(0))) as (then, otherwise):
        with then:
            write_some(v, values, address, stride, columns)
        with otherwise:
            write_all(v, values, places)


@njit(error_model="numpy", forceinline=True)
def astray(x, count, dtype):
    """Whether one of so many numbers is infinite or NaN."""
    bad = 0
    for k in range(count):
        value = load(x, k, dtype)
        bad |= value - value != 0
    return bad


@cache
def product(form: str, given: str, dtype: str, size: int, height: int, doubted: str) -> Kernel:
    """Parameters: as of `mat_mul_rows`. form: as of `multiply`, of `height` rows. size: the bytes of a panel's columns.

    doubted: the dtype of the rows that are refused if they hold an infinity or NaN. Any of these makes all results of
    its row one of them, so they are looked for only where a result is not finite.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        out = load(load(p, 2, "int64"), 0, "int64") + first * load(p, 1, "int64") + load(p, 3, "int64")
        x, line, stride = load(load(p, 4, "int64"), 0, "int64"), load(p, 5, "int64"), load(p, 6, "int64")
        weights, chunks, tail = load(p, 7, "int64"), load(p, 8, "int64"), load(p, 9, "int64")
        count, spill, bad = load(p, 10, "int64"), load(p, 11, "int64"), 0
        step = height if rows >= height else 1  # of fewer rows than the height each is taken that many times
        if rows < height:
            stride = line = 0
        for _ in range(load(p, 12, "int64")):
            for r in range(0, rows, step):
                at = min(r, rows - step)  # the last rows again, together with some before them
                some = int(spill > 0 and at + step + spill > rows)
                bad |= multiply(
                    x + at * load(p, 6, "int64"), stride, chunks, tail, weights, out + at * load(p, 5, "int64"), line,
                    some, count, form, given, dtype,
                )  # fmt: skip
            weights += load(p, 13, "int64")
            out += size
        doubts = load(p, 15, "int64")
        if bad != 0 and doubts != 0:
            return 1 if astray(load(load(p, 14, "int64"), 0, "int64"), rows * doubts, doubted) else 0
        return 0

    return Kernel(kernel)


def vector_bytes() -> int:
    """The bytes of a vector: of all registers there are twice as many with AVX-512."""
    return 64 if "+avx512f" in processor()[2] else 32


def by_a_constant(op: Op) -> bool:
    """Whether it is a product with a constant."""
    return isinstance(op, ops.MatMul) and isinstance(op.y, Const) and op.columns > 0


def narrowing(op: Op) -> bool:
    """Whether there is less to turn after the product than before."""
    return isinstance(op, ops.MatMul) and op.columns <= op.x.columns


@row_rule(ops.MatMul, accepts=by_a_constant, turns=narrowing)
def mat_mul_rows(assembler: Assembler, op: ops.MatMul, to: To, x: Rows, y: Const) -> int:
    """An instruction for each kind of panel. Parameters: where to write, the word of its address, from where on; the

    word of x's address; bytes of a row of the result and of x; the panels' address, how many times numbers are taken,
    where the last ones begin; columns of a panel, how many rows it may write too far; panels, their bytes; the word of
    the address of what is doubted, its columns.
    """
    name, wide, start = op.dtype.name, vector_bytes(), assembler.next
    size, (depth, columns) = op.dtype.itemsize, y.value.shape
    for number, panel in enumerate(panels(depth, columns, wide // size)):
        height = max(panel.each, 8 if wide == 64 or panel.vectors == 1 else 4)
        weights = panel.packed(y.value, wide // size)
        beyond = wide // size * panel.vectors // panel.each - panel.count
        doubted = x.doubt if x.doubt and not number else x
        kernel = product(
            f"{panel.vectors} {panel.each} {height} {wide}", x.dtype.name, name, panel.vectors * wide, height,
            doubted.dtype.name,
        )  # fmt: skip
        first: Parameter = 0 if number else to[0]
        assembler.add(
            kernel, first, to[1], Word(start), panel.begin * size, x.place, columns * size, x.bytes,
            assembler.constant(weights), panel.turns(depth), (depth - panel.each) * x.dtype.itemsize,
            panel.count, -(-beyond // columns), panel.times, weights.nbytes // panel.times,
            doubted.place, doubted.columns if x.doubt and not number else 0,
            cost=0.02 * size / 4 * depth * panel.count,
        )  # fmt: skip
    return start
