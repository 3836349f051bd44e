"""Circuits in which walkers follow trees in memory, and take many cycles a row.

A walker has the nodes of its trees in block RAM. It follows three trees at once, a step of one of them each cycle: an
address goes in, a node comes out, the node's column is chosen from the row, and the compare gives the next address.
All walkers keep time: every tree gets as many steps as the deepest one, so a row always takes as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.design import number
from tensorml.executors.fpga.estimate import LEAST_MEMORY
from tensorml.executors.fpga.memory import (
    AT_ONCE,
    Ends,
    Ensemble,
    Memory,
    Sizes,
    bits_of,
    leaf_trees,
    leaf_values,
    longest,
    memory,
    sizes_of,
)

AFTERWARDS = 6  # cycles from the last step to the result


def circuit(found: Ensemble, walkers: int, name: str, title: str) -> Circuit:
    """The circuit of an ensemble, by so many walkers."""
    values = leaf_values(found.sums, leaf_trees(found.trees))
    groups = found.groups(walkers)
    sizes = sizes_of(groups, found.fields, longest(groups))
    memories = [memory(group, values, sizes, longest(groups)) for group in groups]
    return written(memories, sizes, found.fields, found.sums, name, title)


def written(
    memories: Sequence[Memory], sizes: Sizes, codes: Sequence[Field], sums: ops.LeafSum, name: str, title: str
) -> Circuit:
    """The circuit around the memories."""
    ranges = [totals(m) for m in memories]
    fields = results(sums, ranges)
    busy = AT_ONCE * -(-max(m.trees for m in memories) // AT_ONCE) * sizes.steps
    latency = busy + AFTERWARDS
    parts = [top(sizes, codes, fields, sums, ranges, (busy, latency), name, title)]
    images: dict[str, str] = {}
    for w, found in enumerate(memories):
        parts.append(walker(found, sizes, codes, ranges[w], f"{name}_walker_{w}"))
        images[f"{name}_walker_{w}_nodes.hex"] = hexadecimal(found.words, sizes.word)
        images[f"{name}_walker_{w}_leaves.hex"] = hexadecimal(packed(found.leaves), leaf_width(found))
    verilog = "`default_nettype none\n\n" + "\n".join(parts) + "\n`default_nettype wire\n"
    counts = {("walker", sizes.word): len(memories), ("memory", sizes.word): sum(len(m.words) for m in memories)}
    counts["leaf memory", leaf_width(memories[0])] = sum(len(m.leaves) for m in memories)
    return Circuit(name, verilog, tuple(codes), fields, latency, latency, counts, images)


def hexadecimal(words: Sequence[int], bits: int) -> str:
    """The image of a memory: a word a line."""
    return "".join(f"{word:0{-(-bits // 4)}x}\n" for word in words)


def totals(found: Memory) -> list[Ends]:
    """The range of what a walker adds up for each output: of any of its leaves, as many as it has trees."""
    low = np.minimum(found.leaves.min(0), 0) * found.trees
    high = np.maximum(found.leaves.max(0), 0) * found.trees
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def results(sums: ops.LeafSum, ranges: Sequence[Sequence[Ends]]) -> tuple[Field, ...]:
    """The fields of a result: what all walkers add up, and the start."""
    fields = []
    for k, start in enumerate(sums.start):
        low, high = (int(start) + sum(found[k][end] for found in ranges) for end in (0, 1))
        fields.append(Field(f"sum0_{k}", bits_of((low, high)), low < 0))
    return tuple(fields)


def kind(ends: Ends) -> str:
    """The sign and the bits of a declaration."""
    return f"{'signed ' if ends[0] < 0 else ''}[{bits_of(ends) - 1}:0]"


def extended(name: str, is_signed: bool, signed: bool) -> str:
    """An operand among operands that are all signed, or all unsigned."""
    return f"$signed({{1'b0, {name}}})" if signed and not is_signed else name


def value_ranges(found: Memory) -> list[Ends]:
    """The range of what a leaf adds to each output."""
    return [(int(column.min()), int(column.max())) for column in found.leaves.T]


def leaf_width(found: Memory) -> int:
    """The bits of a leaf: what it adds to all outputs, side by side."""
    return sum(map(bits_of, value_ranges(found)))


def packed(leaves: np.ndarray) -> list[int]:
    """Each leaf as one word, the first output in the lowest bits."""
    widths = [bits_of((int(column.min()), int(column.max()))) for column in leaves.T]
    starts = np.cumsum([0, *widths[:-1]]).tolist()
    return [
        sum((int(v) % (1 << bits)) << start for v, bits, start in zip(leaf, widths, starts, strict=True))
        for leaf in leaves
    ]


TOP = Template("""\
// $title
//
// $walkers walkers, which have the trees in memory. A row is taken every $latency cycles.
module $name (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    output wire in_ready,
    input  wire [$in_high:0] in_row,
    output wire out_valid,
    output wire [$out_high:0] out_row
);
    // A row came `tick` + 1 edges ago, and is at work while `running`.
    reg running;
    reg [$tick_high:0] tick;
    assign out_valid = running && tick == $tick'd$last;
    assign in_ready = !running || out_valid;
    wire start = in_valid && in_ready;
    always @(posedge clk) begin
        running <= !rst && (start || (running && !out_valid));
        tick <= start ? $tick'd0 : tick + 1'b1;
    end

    // The row at work: $columns codes of $code bits each.
    reg [$row_high:0] row;
    always @(posedge clk) if (start) row <= {
$fields
    };

    // Whose turn it is of three trees, and the step that they are at: they go in at step 0 and end in the last one.
    reg [1:0] turn;
    reg [$step_high:0] step;
    always @(posedge clk) begin
        turn <= start || turn == 2'd2 ? 2'd0 : turn + 1'b1;
        if (start) step <= $step'd0;
        else if (turn == 2'd2) step <= step == $step'd$last_step ? $step'd0 : step + 1'b1;
    end
    wire at_work = running && tick < $tick'd$busy;
    wire load = at_work && step == $step'd0;
    wire arrived = at_work && step == $step'd$last_step;

$instances

    // What all walkers found.
$results
    assign out_row = {$out_fields};
endmodule
""")


def top(
    sizes: Sizes,
    codes: Sequence[Field],
    fields: Sequence[Field],
    sums: ops.LeafSum,
    ranges: Sequence[Sequence[Ends]],
    times: tuple[int, int],
    name: str,
    title: str,
) -> str:
    """The module that keeps time and adds up what the walkers found. times: cycles at work, and until the result."""
    busy, latency = times
    code, step = sizes.rank - 1, max(1, (sizes.steps - 1).bit_length())
    totals_of = [added(k, field, int(sums.start[k]), ranges, latency) for k, field in enumerate(fields)]
    return TOP.substitute(
        title=title,
        walkers=len(ranges),
        latency=latency,
        name=name,
        in_high=sum(field.width for field in codes) - 1,
        out_high=sum(field.width for field in fields) - 1,
        tick=latency.bit_length(),
        tick_high=latency.bit_length() - 1,
        last=latency - 1,
        columns=len(codes),
        code=code,
        row_high=code * len(codes) - 1,
        fields=",\n".join(f"        {field_of(codes, c, code)}" for c in reversed(range(len(codes)))),
        step=step,
        step_high=step - 1,
        last_step=sizes.steps - 1,
        busy=busy,
        instances="\n".join(instance(w, found, name) for w, found in enumerate(ranges)),
        results="\n".join(totals_of),
        out_fields=", ".join(f"result_{k}" for k in reversed(range(len(fields)))),
    )


def field_of(codes: Sequence[Field], c: int, code: int) -> str:
    """Code c of the row that comes in, with leading zeros."""
    low = sum(field.width for field in codes[:c])
    bits = f"in_row[{low + codes[c].width - 1}:{low}]" if codes[c].width > 1 else f"in_row[{low}]"
    return f"{{{code - codes[c].width}'d0, {bits}}}" if code > codes[c].width else bits


def instance(w: int, ranges: Sequence[Ends], name: str) -> str:
    """A walker, and what it adds up."""
    wires = "\n".join(f"    wire {kind(ends)} total_{w}_{k};" for k, ends in enumerate(ranges))
    ports = "".join(f",\n        .total_{k}(total_{w}_{k})" for k in range(len(ranges)))
    common = ".clk(clk), .start(start), .load(load), .arrived(arrived), .row(row)"
    return f"{wires}\n    {name}_walker_{w} walker_{w} (\n        {common}{ports}\n    );"


def added(k: int, field: Field, start: int, ranges: Sequence[Sequence[Ends]], latency: int) -> str:
    """The register of a result: the walkers' totals and the start."""
    signed = start < 0 or any(found[k][0] < 0 for found in ranges)
    terms = [extended(f"total_{w}_{k}", found[k][0] < 0, signed) for w, found in enumerate(ranges)]
    if start:
        terms.append(number(start).text(signed))
    sign, tick = "signed " if field.signed else "", latency.bit_length()
    return (
        f"    reg {sign}[{field.width - 1}:0] result_{k};\n"
        f"    always @(posedge clk) if (tick == {tick}'d{latency - 2}) result_{k} <= {' + '.join(terms)};"
    )


WALKER = Template("""\
// Follows $trees trees. A word of its nodes: 1 and a leaf's number, or 0, column, rank, the left child's address.
module $name (
    input  wire clk,
    input  wire start,
    input  wire load,
    input  wire arrived,
    input  wire [$row_high:0] row,
$ports
);
    ${node_style}reg [$word_high:0] nodes [0:$last_node];
    initial $$readmemh("${name}_nodes.hex", nodes);
    ${leaf_style}reg [$leaf_high:0] leaves [0:$last_leaf];
    initial $$readmemh("${name}_leaves.hex", leaves);

    // The next tree, and an address; a cycle later the node there, then the code that it tests, then the next address.
    reg [$address_high:0] tree, at, at_1, at_2;
    reg [$word_high:0] node, held;
    reg [$code_high:0] code;
    wire [$column_high:0] column = node[$column_at +: $column];
    wire [$padded_high:0] padded = row;
    wire passes = {1'b0, code} >= held[$address +: $rank];
    wire [$address_high:0] next = held[$word_high] ? at_2 : held[$address_high:0] + passes;
    always @(posedge clk) begin
        if (start) tree <= $address'd0;
        else if (load) tree <= tree + 1'b1;
        at <= load ? tree : next;
        node <= nodes[at];
        at_1 <= at;
        code <= padded[column * $code +: $code];
        held <= node;
        at_2 <= at_1;
    end

    // What the leaf of a tree in its last step holds, is added.
    reg [$leaf_high:0] leaf;
    reg [3:0] arriving;
$values
    always @(posedge clk) begin
        arriving <= start ? 4'd0 : {arriving[2:0], arrived};
        leaf <= leaves[held[$number_high:0]];
$sums
    end
endmodule
""")


def walker(found: Memory, sizes: Sizes, codes: Sequence[Field], ranges: Sequence[Ends], name: str) -> str:
    """A module that follows the trees of one memory."""
    code, values = sizes.rank - 1, value_ranges(found)
    starts = np.cumsum([0, *map(bits_of, values)]).tolist()
    sums = [total(k, ends, ranges[k][0] < 0) for k, ends in enumerate(values)]
    return WALKER.substitute(
        trees=found.trees,
        name=name,
        row_high=code * len(codes) - 1,
        ports=",\n".join(f"    output reg {kind(ends)} total_{k}" for k, ends in enumerate(ranges)),
        word_high=sizes.word - 1,
        node_style=style(len(found.words) * sizes.word),
        leaf_style=style(len(found.leaves) * leaf_width(found)),
        last_node=len(found.words) - 1,
        leaf_high=leaf_width(found) - 1,
        last_leaf=len(found.leaves) - 1,
        address=sizes.address,
        address_high=sizes.address - 1,
        code=code,
        code_high=code - 1,
        column=sizes.column,
        column_high=sizes.column - 1,
        column_at=sizes.rank + sizes.address,
        padded_high=(code << sizes.column) - 1,
        rank=sizes.rank,
        number_high=sizes.leaf - 1,
        values="\n".join(
            f"    wire {kind(e)} value_{k} = leaf[{starts[k]} +: {bits_of(e)}];" for k, e in enumerate(values)
        ),
        sums="\n".join(sums),
    )


def style(bits: int) -> str:
    """What tools are told of a memory: left to itself, Yosys makes LUTs of many that fill half a block RAM.

    These are three times as many as it reckons with. Small memories are left to it.
    """
    return '(* ram_style = "block", rom_style = "block" *)\n    ' if bits > LEAST_MEMORY else ""


def total(k: int, value: Ends, signed: bool) -> str:
    """How an output's total grows."""
    grown = f"total_{k} + {extended(f'value_{k}', value[0] < 0, signed)}"
    return f"        if (start) total_{k} <= 0;\n        else if (arriving[3]) total_{k} <= {grown};"
