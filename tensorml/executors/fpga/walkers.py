"""Trees in memory: a few walkers share a tree ensemble too large for a circuit of its own, and take many cycles a row.

A walker has the nodes of its trees in block RAM. It follows three trees at once, a step of one of them each cycle: an
address goes in, a node comes out, the node's column is chosen from the row, and the compare gives the next address.
All walkers keep time: every tree gets as many steps as the deepest one, so a row always takes as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.fixed import width
from tensorml.executors.fpga.trees import Branch, Node, nested, nested_symmetric

AT_ONCE = 3  # trees that a walker follows: the cycles from an address to the next


@dataclass(frozen=True)
class Memory:
    """The nodes of a walker's trees as words of memory, tree i's root at address i, the two children of a node together.

    A word is, from the highest bit: whether it is a leaf, then of a node column, rank and the left child's address, of a
    leaf its number among the walker's leaves. leaves: what each one adds to each output, int64 [L, K].
    """

    words: list[int]
    leaves: np.ndarray
    trees: int


@dataclass(frozen=True)
class Sizes:
    """The bits of the parts of words, the same for all walkers, and the steps of a tree."""

    column: int
    rank: int
    address: int
    leaf: int
    steps: int

    @property
    def word(self) -> int:
        """Of a whole word."""
        return 1 + max(self.column + self.rank + self.address, self.leaf)


def circuit(
    descend: ops.Descend | ops.DescendSymmetric,
    sums: ops.LeafSum,
    codes: Sequence[Field],
    walkers: int,
    name: str,
    title: str,
) -> Circuit:
    """The circuit of an ensemble, by so many walkers. codes: the fields of a row, none of them signed."""
    build = nested_symmetric if isinstance(descend, ops.DescendSymmetric) else nested
    trees = build(descend)  # pyright: ignore[reportArgumentType]
    values = leaf_values(sums, leaf_trees(trees))
    groups = [trees[w::walkers] for w in range(walkers)]
    longest = -(-max(map(len, groups)) // AT_ONCE) * AT_ONCE
    sizes = sizes_of(groups, codes, longest)
    memories = [memory(group, values, sizes, longest) for group in groups]
    return written(memories, sizes, codes, sums, name, title)


def leaf_trees(trees: Sequence[Node]) -> dict[int, int]:
    """The tree of each leaf."""
    return {leaf: t for t, tree in enumerate(trees) for leaf in leaves_of(tree)}


def leaves_of(tree: Node) -> Iterator[int]:
    """The numbers of a tree's leaves."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Branch):
            waiting += [node.left, node.right]
        else:
            yield node


def leaf_values(sums: ops.LeafSum, tree_of: dict[int, int]) -> np.ndarray:
    """What each leaf adds to each output: int64 [L, K]."""
    if sums.output is None:
        return sums.values.astype(np.int64)
    values = np.zeros((len(sums.values), len(sums.start)), np.int64)
    for leaf, tree in tree_of.items():
        values[leaf, sums.output[tree]] = sums.values[leaf, 0]
    return values


def depth(tree: Node) -> int:
    """The compares on the longest way."""
    level: list[Node] = [tree]
    count = 0
    while level := [c for n in level if isinstance(n, Branch) for c in (n.left, n.right)]:
        count += 1
    return count


def sizes_of(groups: Sequence[Sequence[Node]], codes: Sequence[Field], longest: int) -> Sizes:
    """The bits that the largest memory needs."""
    nodes = [sum(1 for tree in group for _ in nodes_of(tree)) + longest - len(group) for group in groups]
    leaves = [sum(1 for tree in group for _ in leaves_of(tree)) + 1 for group in groups]
    return Sizes(
        column=max(1, (len(codes) - 1).bit_length()),
        rank=max(field.width for field in codes) + 1,
        address=max(1, (max(nodes) - 1).bit_length()),
        leaf=max(1, (max(leaves) - 1).bit_length()),
        steps=max(depth(tree) for group in groups for tree in group) + 1,
    )


def nodes_of(tree: Node) -> Iterator[Node]:
    """Branches and leaves."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Branch):
            waiting += [node.left, node.right]


def memory(trees: Sequence[Node], values: np.ndarray, sizes: Sizes, longest: int) -> Memory:
    """The trees as words. Missing trees are leaves that add nothing."""
    words = [0] * longest
    order = sorted(leaf for tree in trees for leaf in leaves_of(tree))
    number = {leaf: i + 1 for i, leaf in enumerate(order)}
    mark = 1 << sizes.word - 1
    words[len(trees) :] = [mark] * (longest - len(trees))
    waiting = list(zip(range(len(trees)), trees, strict=True))
    while waiting:
        address, node = waiting.pop()
        if not isinstance(node, Branch):
            words[address] = mark | number[node]
            continue
        child = len(words)
        words += [0, 0]
        waiting += [(child, node.left), (child + 1, node.right)]
        rank = min(node.rank, (1 << sizes.rank) - 1)  # a rank that no code reaches stays one
        words[address] = ((node.column << sizes.rank) | rank) << sizes.address | child
    return Memory(words, np.concatenate([np.zeros((1, values.shape[1]), np.int64), values[order]]), len(trees))


def written(
    memories: Sequence[Memory], sizes: Sizes, codes: Sequence[Field], sums: ops.LeafSum, name: str, title: str
) -> Circuit:
    """The Verilog around the memories."""
    outputs = len(sums.start)
    ranges = [totals(m) for m in memories]
    low = [int(sums.start[k]) + sum(r[k][0] for r in ranges) for k in range(outputs)]
    high = [int(sums.start[k]) + sum(r[k][1] for r in ranges) for k in range(outputs)]
    fields = tuple(Field(f"sum0_{k}", max(1, width(low[k], high[k])), low[k] < 0) for k in range(outputs))
    rounds = len(memories[0].words) and -(-max(m.trees for m in memories) // AT_ONCE)
    busy = AT_ONCE * rounds * sizes.steps
    latency = busy + 6
    text = [
        f"// {title}",
        f"//\n// {len(memories)} walkers; a row is taken every {latency} cycles and its result comes {latency} edges later.",
        "`default_nettype none\n",
        *top(sizes, codes, fields, sums, ranges, busy, latency, name),
    ]
    for w, found in enumerate(memories):
        text += ["", *walker(found, sizes, codes, ranges[w], f"{name}_walker_{w}")]
    text += ["", "`default_nettype wire", ""]
    counts = Counter({("walker", sizes.word): len(memories), ("memory", sizes.word): sum(len(m.words) for m in memories)})
    counts["memory", leaf_width(ranges)] += sum(len(m.leaves) for m in memories)
    return Circuit(name, "\n".join(text), tuple(codes), fields, latency, latency, dict(counts))


def leaf_width(ranges: Sequence[Sequence[tuple[int, int]]]) -> int:
    """The bits of all outputs' totals."""
    return sum(max(1, width(*r)) for r in ranges[0])


def totals(found: Memory) -> list[tuple[int, int]]:
    """The range of what a walker adds up for each output: of any number of its leaves, as many as it has trees."""
    low = np.minimum(found.leaves.min(0), 0) * found.trees
    high = np.maximum(found.leaves.max(0), 0) * found.trees
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def top(
    sizes: Sizes,
    codes: Sequence[Field],
    fields: Sequence[Field],
    sums: ops.LeafSum,
    ranges: Sequence[Sequence[tuple[int, int]]],
    busy: int,
    latency: int,
    name: str,
) -> Iterator[str]:
    """The module that keeps time and adds up what the walkers found."""
    code = sizes.rank - 1
    bits = sum(field.width for field in codes)
    tick = latency.bit_length()
    yield f"module {name} (\n    input  wire clk,\n    input  wire rst,\n    input  wire in_valid,"
    yield f"    output wire in_ready,\n    input  wire [{bits - 1}:0] in_row,\n    output wire out_valid,"
    yield f"    output wire [{sum(f.width for f in fields) - 1}:0] out_row\n);"
    yield f"    // The row at work: {len(codes)} codes of {code} bits each."
    yield f"    reg [{code * len(codes) - 1}:0] row;"
    yield "\n    // A row came `tick` + 1 edges ago, and is at work while `running`."
    yield "    reg running;"
    yield f"    reg [{tick - 1}:0] tick;"
    yield f"    assign out_valid = running && tick == {tick}'d{latency - 1};"
    yield "    assign in_ready = !running || out_valid;"
    yield "    wire start = in_valid && in_ready;"
    yield "    always @(posedge clk) begin"
    yield "        running <= !rst && (start || (running && !out_valid));"
    yield f"        tick <= start ? {tick}'d0 : tick + 1'b1;"
    yield "    end"
    yield "    always @(posedge clk) if (start) row <= {"
    yield ",\n".join(f"        {_field(codes, c, code)}" for c in reversed(range(len(codes)))) + "};"
    yield "\n    // Which step of which trees: a new tree goes in while step is 0, and is at its leaf in the last step."
    yield f"    reg [{max(1, (AT_ONCE - 1).bit_length()) - 1}:0] slot;"
    yield f"    reg [{max(1, (sizes.steps - 1).bit_length()) - 1}:0] step;"
    last = f"{(AT_ONCE - 1).bit_length()}'d{AT_ONCE - 1}"
    final = f"{max(1, (sizes.steps - 1).bit_length())}'d{sizes.steps - 1}"
    yield "    always @(posedge clk) begin"
    yield "        if (start) begin slot <= 0; step <= 0; end"
    yield "        else begin"
    yield f"            slot <= slot == {last} ? 0 : slot + 1'b1;"
    yield f"            if (slot == {last}) step <= step == {final} ? 0 : step + 1'b1;"
    yield "        end"
    yield "    end"
    yield f"    wire at_work = running && tick < {tick}'d{busy};"
    yield "    wire load = at_work && step == 0;"
    yield f"    wire arrived = at_work && step == {final};"
    for w, walker_ranges in enumerate(ranges):
        yield f"\n    // Walker {w}"
        for k, ends in enumerate(walker_ranges):
            yield f"    wire {_kind(ends)} total_{w}_{k};"
        ports = ", ".join(f".total_{k}(total_{w}_{k})" for k in range(len(walker_ranges)))
        yield f"    {name}_walker_{w} walker_{w} (.clk(clk), .start(start), .load(load), .arrived(arrived), .row(row), {ports});"
    yield "\n    // What all walkers found. It is added while the last result settles, and kept until the next."
    for k, field in enumerate(fields):
        signed = any(r[k][0] < 0 for r in ranges) or int(sums.start[k]) < 0
        terms = [_extended(f"total_{w}_{k}", r[k][0] < 0, signed) for w, r in enumerate(ranges)]
        start = int(sums.start[k])
        if start:
            size = abs(start).bit_length() + signed
            terms.append(f"{'-' if start < 0 else ''}{size}'{'s' if signed else ''}d{abs(start)}")
        kind = f"{'signed ' if field.signed else ''}[{field.width - 1}:0]"
        yield f"    reg {kind} result_{k};"
        yield f"    always @(posedge clk) if (tick == {tick}'d{latency - 2}) result_{k} <= {' + '.join(terms)};"
    yield f"    assign out_row = {{{', '.join(f'result_{k}' for k in reversed(range(len(fields))))}}};"
    yield "endmodule"


def _field(codes: Sequence[Field], c: int, code: int) -> str:
    """Code c of the row, with leading zeros."""
    low = sum(field.width for field in codes[:c])
    bits = f"in_row[{low + codes[c].width - 1}:{low}]" if codes[c].width > 1 else f"in_row[{low}]"
    padding = code - codes[c].width
    return f"{{{padding}'d0, {bits}}}" if padding else bits


def _kind(ends: tuple[int, int]) -> str:
    return f"{'signed ' if ends[0] < 0 else ''}[{max(1, width(*ends)) - 1}:0]"


def _extended(name: str, is_signed: bool, signed: bool) -> str:
    return f"$signed({{1'b0, {name}}})" if signed and not is_signed else name


def walker(
    found: Memory, sizes: Sizes, codes: Sequence[Field], ranges: Sequence[tuple[int, int]], name: str
) -> Iterator[str]:
    """A module that follows the trees of one memory."""
    code, word, address = sizes.rank - 1, sizes.word, sizes.address
    values = [(int(c.min()), int(c.max())) for c in found.leaves.T]
    value_bits = [max(1, width(*ends)) for ends in values]
    yield f"module {name} ("
    yield "    input  wire clk,\n    input  wire start,\n    input  wire load,\n    input  wire arrived,"
    yield f"    input  wire [{code * len(codes) - 1}:0] row,"
    yield ",\n".join(f"    output reg {_kind(ends)} total_{k}" for k, ends in enumerate(ranges)) + "\n);"
    yield f"    // {found.trees} trees: nodes {{leaf, column, rank, left child}} and leaves {{1, number}}."
    yield f"    reg [{word - 1}:0] nodes [0:{len(found.words) - 1}];"
    yield f"    reg [{sum(value_bits) - 1}:0] leaves [0:{len(found.leaves) - 1}];"
    yield "    initial begin"
    digits = -(-word // 4)
    yield from (f"        nodes[{i}] = {word}'h{value:0{digits}x};" for i, value in enumerate(found.words))
    for i, row in enumerate(found.leaves):
        packed = sum((int(v) % (1 << b)) << sum(value_bits[:k]) for k, (v, b) in enumerate(zip(row, value_bits, strict=True)))
        yield f"        leaves[{i}] = {sum(value_bits)}'h{packed:x};"
    yield "    end"
    yield "\n    // The next tree, and an address of the nodes: three trees take turns."
    yield f"    reg [{address - 1}:0] tree, at, at_1, at_2;"
    yield "    // One cycle later the node there, two cycles later the code that it tests, then the next address."
    yield f"    reg [{word - 1}:0] node, held;"
    yield f"    reg [{code - 1}:0] code;"
    low = sizes.rank + address
    yield f"    wire [{sizes.column - 1}:0] column = node[{low + sizes.column - 1}:{low}];"
    yield f"    wire [{code * (1 << sizes.column) - 1}:0] padded = row;"
    yield f"    wire passes = {{1'b0, code}} >= held[{low - 1}:{address}];"
    yield f"    wire [{address - 1}:0] next = held[{word - 1}] ? at_2 : held[{address - 1}:0] + passes;"
    yield "    always @(posedge clk) begin"
    yield "        if (start) tree <= 0; else if (load) tree <= tree + 1'b1;"
    yield "        at <= load ? tree : next;"
    yield "        node <= nodes[at]; at_1 <= at;"
    yield f"        code <= padded[column * {code} +: {code}]; held <= node; at_2 <= at_1;"
    yield "    end"
    yield "\n    // Of a tree in its last step: what its leaf holds is added."
    yield f"    reg [{sum(value_bits) - 1}:0] leaf;"
    yield "    reg [4:0] arriving;  // one bit for each cycle since the step began"
    yield f"    wire [{sizes.leaf - 1}:0] number = held[{sizes.leaf - 1}:0];"
    for k, ends in enumerate(values):
        start = sum(value_bits[:k])
        yield f"    wire {'signed ' if ends[0] < 0 else ''}[{value_bits[k] - 1}:0] value_{k} = leaf[{start + value_bits[k] - 1}:{start}];"
    yield "    always @(posedge clk) begin"
    yield "        arriving <= start ? 5'd0 : {arriving[3:0], arrived};"
    yield "        leaf <= leaves[number];"
    for k, ends in enumerate(values):
        signed = ranges[k][0] < 0
        yield f"        if (start) total_{k} <= 0;"
        yield f"        else if (arriving[3]) total_{k} <= total_{k} + {_extended(f'value_{k}', ends[0] < 0, signed)};"
    yield "    end"
    yield "endmodule"
