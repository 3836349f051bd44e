"""The text of a design: Verilog-2005, a commented block for each stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from tensorml.executors.fpga.fixed import width

if TYPE_CHECKING:
    from tensorml.executors.fpga.design import Design, Signal

HEAD = """\
// {title}
//
// A row is taken at each rising edge of clk where in_valid is 1; its result is on out_row {latency} edges later.
`default_nettype none

module {name} (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    output wire in_ready,
    input  wire [{in_high}:0] in_row,
    output wire out_valid,
    output wire [{out_high}:0] out_row
);
"""


def module(design: Design, name: str, title: str, results: Sequence[tuple[str, Signal]], latency: int) -> str:
    """The module `name` of a design whose results are all valid after `latency` cycles."""
    in_width = max(1, sum(s.width for s in design.inputs))
    out_width = max(1, sum(s.width for _, s in results))
    lines = [HEAD.format(title=title, name=name, latency=latency, in_high=in_width - 1, out_high=out_width - 1)]
    lines += ["    // The fields of a row, the first one in the lowest bits.", *_fields(design.inputs)]
    for values, table in design.tables.items():
        lines += _table(table, values)
    for (units, twos), counter in sorted(design.counters.items()):
        lines += _counter(counter, units, twos)
    lines += _valid(latency)
    wires: dict[int, list[tuple[Signal, str]]] = {}
    for signal, expression in design.wires:
        wires.setdefault(signal.stage, []).append((signal, expression))
    for stage in range(latency):
        lines += _wires(wires.get(stage, []))
        lines += _stage(design, stage)
    lines += _wires(wires.get(latency, []))
    lines += ["", "    // The results, the first one in the lowest bits."]
    lines += [f"    // {label}: {_kind(signal)}" for label, signal in results]
    joined = ", ".join(_result(signal) for _, signal in reversed(results)) or "1'b0"
    lines += [f"    assign out_row = {{{joined}}};", "endmodule", "", "`default_nettype wire", ""]
    return "\n".join(lines)


def _result(signal: Signal) -> str:
    if not signal.constant:
        return signal.name
    return f"{signal.width}'d{signal.low % (1 << signal.width)}"


def _kind(signal: Signal) -> str:
    return f"{signal.width} bits, {'signed' if signal.signed else 'unsigned'}, {signal.low} to {signal.high}"


def _declared(keyword: str, signal: Signal) -> str:
    kind = " signed" if signal.signed else ""
    size = f" [{signal.width - 1}:0]" if signal.width > 1 or signal.signed else ""
    return f"    {keyword}{kind}{size} {signal.name}"


def _fields(inputs: Sequence[Signal]) -> Iterator[str]:
    low = 0
    for signal in inputs:
        bits = f"in_row[{low + signal.width - 1}:{low}]" if signal.width > 1 else f"in_row[{low}]"
        yield f"{_declared('wire', signal)} = {bits};"
        low += signal.width


def _table(name: str, values: Sequence[int]) -> Iterator[str]:
    """A function that reads a table."""
    size, signed = max(1, width(min(values), max(values))), min(values) < 0
    index = max(1, (len(values) - 1).bit_length())
    yield f"\n    function {'signed ' if signed else ''}[{size - 1}:0] {name};"
    yield f"        input [{index - 1}:0] index;"
    yield "        case (index)"
    yield from (f"            {index}'d{i}: {name} = {size}'d{value % (1 << size)};" for i, value in enumerate(values))
    yield f"            default: {name} = {size}'d0;"
    yield "        endcase"
    yield "    endfunction"


def _counter(name: str, units: int, twos: int) -> Iterator[str]:
    """A function that counts bits by full and half adders, written as gates: a `+` would be joined with others."""
    size, lines = (units + 2 * twos).bit_length(), []
    columns = [[f"bits[{i}]" for i in range(units)], [f"bits[{units + i}]" for i in range(twos)], []]
    adders = 0
    for column, above in zip(columns, [*columns[1:], []], strict=True):
        while len(column) > 1:
            operands, column[:3] = column[:3], []
            column.append(f"sum[{adders}]")
            above.append(f"carry[{adders}]")
            lines.append(f"            sum[{adders}] = {' ^ '.join(operands)};")
            pairs = " | ".join(f"{a} & {b}" for a, b in combinations(operands, 2))
            lines.append(f"            carry[{adders}] = {pairs};")
            adders += 1
    yield f"\n    // How many of {units} bits are 1" + (f", and twice of {twos} more" if twos else "")
    yield f"    function [{size - 1}:0] {name};"
    yield f"        input [{units + twos - 1}:0] bits;"
    yield f"        reg [{adders - 1}:0] sum, carry;"
    yield "        begin"
    yield from lines
    yield f"            {name} = {{{', '.join(column[0] for column in reversed(columns[:size]))}}};"
    yield "        end"
    yield "    endfunction"


def _valid(latency: int) -> list[str]:
    """The bit that goes along with each row. rst clears it in all stages."""
    chain = "in_valid" if latency == 1 else f"{{valid[{latency - 2}:0], in_valid}}"
    return [
        "",
        "    // One valid bit for each stage.",
        f"    reg [{latency - 1}:0] valid;",
        f"    always @(posedge clk) valid <= rst ? {latency}'d0 : {chain};",
        "    assign in_ready = 1'b1;",
        f"    assign out_valid = valid[{latency - 1}];",
    ]


def _wires(wires: Sequence[tuple[Signal, str]]) -> Iterator[str]:
    for signal, expression in wires:
        yield f"{_declared('wire', signal)} = {expression};"


def _stage(design: Design, stage: int) -> Iterator[str]:
    """The registers between `stage` and the next."""
    found = design.stages.get(stage)
    if found is None:
        return
    yield f"\n    // ---- Stage {stage + 1} ----"
    for note, registers in found.notes.items():
        yield f"    // {note}"
        for signal, _ in registers:
            yield f"{_declared('reg', signal)};"
    if found.delays:
        yield "    // Delayed"
        for signal, _ in found.delays:
            yield f"{_declared('reg', signal)};"
    yield "    always @(posedge clk) begin"
    registers = [r for group in found.notes.values() for r in group] + found.delays
    yield from (f"        {signal.name} <= {expression};" for signal, expression in registers)
    yield "    end"
