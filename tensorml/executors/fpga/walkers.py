"""Circuits in which walkers follow trees in memory, and take many cycles a row.

A walker has the nodes of its trees in block RAM. It follows three trees at once, a step of one of them each cycle: an
address goes in, a node comes out, the node's column is chosen from the row, and the compare gives the next address.
All walkers keep time: every tree gets as many steps as the deepest one, so a row always takes as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from string import Template

from tensorml.executors.fpga.circuit import Circuit, Field, Kind
from tensorml.executors.fpga.collect import Leaves, Sums, collected, leaf_width, packed
from tensorml.executors.fpga.compares import Words
from tensorml.executors.fpga.estimate import LEAST_MEMORY
from tensorml.executors.fpga.memory import Ensemble, Memory, Sizes, longest, memory, sizes_of

AFTERWARDS = 6  # cycles from the last step to the result


def circuit(found: Ensemble, walkers: int, name: str, title: str) -> Circuit:
    """The circuit of an ensemble, by so many walkers."""
    groups = found.groups(walkers)
    sizes, values = sizes_of(found, groups), found.values
    memories = [memory(group, values, sizes, longest(groups)) for group in groups]
    return written(memories, sizes, found, name, title)


def written(memories: Sequence[Memory], sizes: Sizes, found: Ensemble, name: str, title: str) -> Circuit:
    """The circuit around the memories."""
    made = collected(found, memories)
    busy = memories[0].turns * sizes.steps
    latency = busy + AFTERWARDS
    parts = [top(sizes, found, made, (busy, latency), name, title)]
    images: dict[str, str] = {}
    for w, one in enumerate(memories):
        parts.append(walker(w, sizes, found, made, f"{name}_walker_{w}"))
        images[f"{name}_walker_{w}_nodes.hex"] = hexadecimal(one.words, sizes.word)
        images[f"{name}_walker_{w}_leaves.hex"] = hexadecimal(packed(one.leaves), leaf_width(one))
    verilog = "`default_nettype none\n\n" + "\n".join(parts) + "\n`default_nettype wire\n"
    counts: Counter[Kind] = Counter({("walker", sizes.word): len(memories)})
    counts.update(("memory", sizes.word, len(m.words)) for m in memories)
    counts.update(("memory", leaf_width(m), len(m.leaves)) for m in memories)
    return Circuit(name, verilog, found.fields, made.fields, latency, latency, counts, images)


def hexadecimal(words: Sequence[int], bits: int) -> str:
    """The image of a memory: a word a line."""
    return "".join(f"{word:0{-(-bits // 4)}x}\n" for word in words)


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

    // The row at work: $columns words of $code bits each.
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

$results
    assign out_row = {
        $out_fields
    };
endmodule
""")


def top(sizes: Sizes, found: Ensemble, made: Sums | Leaves, times: tuple[int, int], name: str, title: str) -> str:
    """The module that keeps time and puts together what walkers found. times: cycles at work, and until the result."""
    busy, latency = times
    code, step = found.words.bits, max(1, (sizes.steps - 1).bit_length())
    return TOP.substitute(
        title=title,
        walkers=len(made.memories),
        latency=latency,
        name=name,
        in_high=sum(field.width for field in found.fields) - 1,
        out_high=sum(field.width for field in made.fields) - 1,
        tick=latency.bit_length(),
        tick_high=latency.bit_length() - 1,
        last=latency - 1,
        columns=len(found.fields),
        code=code,
        row_high=code * len(found.fields) - 1,
        fields=row(found.words, found.fields),
        step=step,
        step_high=step - 1,
        last_step=sizes.steps - 1,
        busy=busy,
        instances="\n".join(instance(w, made, name) for w in range(len(made.memories))),
        results=made.results(latency),
        out_fields=",\n        ".join(reversed(made.row)),
    )


def row(words: Words, fields: Sequence[Field]) -> str:
    """The fields of the row that comes in, as words, the last one first."""
    lines, low = [], 0
    for field in fields:
        lines.append(f"        {words.extended(field, low)}")
        low += field.width
    return ",\n".join(reversed(lines))


def instance(w: int, made: Sums | Leaves, name: str) -> str:
    """A walker, and what it finds."""
    wires = "\n".join(f"    wire {kind} {port}_of_{w};" for port, kind in made.ports(w).items())
    ports = "".join(f",\n        .{port}({port}_of_{w})" for port in made.ports(w))
    common = ".clk(clk), .start(start), .load(load), .arrived(arrived), .row(row)"
    return f"{wires}\n    {name}_walker_{w} walker_{w} (\n        {common}{ports}\n    );"


WALKER = Template("""\
// Follows $trees trees. A word of its nodes: 1 and a leaf's number, or 0, column, rank, the children's address / 2.
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

    // The next tree, and an address; a cycle later the node there, then the word that it tests, then the next address.
    reg [$address_high:0] tree, at, at_1, at_2;
    reg [$word_high:0] node, held;
    reg [$code_high:0] code;
    wire [$column_high:0] column = node[$column_at +: $column];
    wire [$padded_high:0] padded = row;
    wire [$code_high:0] ordered = $ordered;
    wire passes = $passes;
    wire [$address_high:0] next = held[$word_high] ? at_2 : {held[$child_high:0], passes};
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

    // What the leaf of a tree in its last step holds, is $verb.
    reg [$leaf_high:0] leaf;
    reg [3:0] arriving;
$wires
    always @(posedge clk) begin
        arriving <= start ? 4'd0 : {arriving[2:0], arrived};
        leaf <= leaves[held[$number_high:0]];
$grown
    end
endmodule
""")


def walker(w: int, sizes: Sizes, found: Ensemble, made: Sums | Leaves, name: str) -> str:
    """The module that follows the trees of a memory."""
    own, words = made.memories[w], found.words
    return WALKER.substitute(
        trees=own.trees,
        name=name,
        row_high=words.bits * len(found.fields) - 1,
        ports=",\n".join(f"    output reg {kind} {port}" for port, kind in made.ports(w).items()),
        word_high=sizes.word - 1,
        node_style=style(len(own.words) * sizes.word),
        leaf_style=style(len(own.leaves) * leaf_width(own)),
        last_node=len(own.words) - 1,
        leaf_high=leaf_width(own) - 1,
        last_leaf=len(own.leaves) - 1,
        address=sizes.address,
        address_high=sizes.address - 1,
        child_high=sizes.child - 1,
        code=words.bits,
        code_high=words.bits - 1,
        column=sizes.column,
        column_high=sizes.column - 1,
        column_at=sizes.rank + sizes.child,
        padded_high=(words.bits << sizes.column) - 1,
        ordered=words.ordered,
        passes=words.passes(sizes.child),
        number_high=sizes.leaf - 1,
        verb="added" if found.sums is not None else "kept",
        wires=made.wires(w),
        grown=made.grown(w),
    )


def style(bits: int) -> str:
    """What tools are told of a memory: left to itself, Yosys makes LUTs of many that fill half a block RAM.

    These are three times as many as it reckons with. Small memories are left to it.
    """
    return '(* ram_style = "block", rom_style = "block" *)\n    ' if bits > LEAST_MEMORY else ""
