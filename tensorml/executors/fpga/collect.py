"""What walkers make of the leaves that they reach: sums, or the leaves' numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.circuit import Field
from tensorml.executors.fpga.design import number
from tensorml.executors.fpga.memory import Ends, Ensemble, Memory, bits_of, leaf_trees, leaves_of


def collected(found: Ensemble, memories: Sequence[Memory]) -> Sums | Leaves:
    """What walkers with these memories make of an ensemble's leaves."""
    if found.sums is not None:
        return Sums(memories, found.sums)
    tree_of = leaf_trees(found.trees)
    groups = found.groups(len(memories))
    return Leaves(memories, [[tree_of[next(leaves_of(tree))] for tree in group] for group in groups])


@dataclass(frozen=True, eq=False)
class Sums:
    """Each walker adds up what its leaves hold, for each output; at the end that is added to the start."""

    memories: Sequence[Memory]
    sums: ops.LeafSum

    @cached_property
    def ranges(self) -> list[list[Ends]]:
        """Of what each walker adds up for each output."""
        return [totals(found) for found in self.memories]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Of a result: what all walkers add up, and the start."""
        fields = []
        for k, start in enumerate(self.sums.start):
            low, high = (int(start) + sum(found[k][end] for found in self.ranges) for end in (0, 1))
            fields.append(Field(f"sum0_{k}", bits_of((low, high)), low < 0))
        return tuple(fields)

    def ports(self, w: int) -> Mapping[str, str]:
        """The results of walker w, by name: sign and bits."""
        return {f"total_{k}": kind(ends) for k, ends in enumerate(self.ranges[w])}

    def wires(self, w: int) -> str:
        """The parts of walker w's leaf."""
        values = value_ranges(self.memories[w])
        starts = np.cumsum([0, *map(bits_of, values)]).tolist()
        return "".join(
            f"    wire {kind(e)} value_{k} = leaf[{starts[k]} +: {bits_of(e)}];\n" for k, e in enumerate(values)
        )

    def grown(self, w: int) -> str:
        """How the totals of walker w grow with a leaf."""
        lines = []
        for k, value in enumerate(value_ranges(self.memories[w])):
            term = extended(f"value_{k}", value[0] < 0, self.ranges[w][k][0] < 0)
            lines.append(f"        if (start) total_{k} <= 0;")
            lines.append(f"        else if (arriving[3]) total_{k} <= total_{k} + {term};")
        return "\n".join(lines)

    def results(self, latency: int) -> str:
        """The registers of results, which are there a cycle before the row is done."""
        return "\n".join(
            ["    // What all walkers found.", *(self.result(k, latency) for k in range(len(self.fields)))]
        )

    def result(self, k: int, latency: int) -> str:
        """The register of a result: the walkers' totals and the start."""
        start, field = int(self.sums.start[k]), self.fields[k]
        signed = start < 0 or any(found[k][0] < 0 for found in self.ranges)
        terms = [extended(f"total_{k}_of_{w}", found[k][0] < 0, signed) for w, found in enumerate(self.ranges)]
        if start:
            terms.append(number(start).text(signed))
        sign, tick = "signed " if field.signed else "", latency.bit_length()
        return (
            f"    reg {sign}[{field.width - 1}:0] result_{k};\n"
            f"    always @(posedge clk) if (tick == {tick}'d{latency - 2}) result_{k} <= {' + '.join(terms)};"
        )

    @property
    def row(self) -> list[str]:
        """The fields of a result."""
        return [f"result_{k}" for k in range(len(self.fields))]


@dataclass(frozen=True, eq=False)
class Leaves:
    """Each walker keeps the numbers of its leaves, until the next row's come. trees: those of each walker."""

    memories: Sequence[Memory]
    trees: Sequence[Sequence[int]]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Of a result: a number for each tree."""
        bits = max(leaf_width(found) for found in self.memories)
        return tuple(Field(f"sum0_{t}", bits) for t in range(sum(map(len, self.trees))))

    def ports(self, w: int) -> Mapping[str, str]:
        """The results of walker w, by name: sign and bits."""
        return {"found": f"[{leaf_width(self.memories[w]) * self.memories[w].turns - 1}:0]"}

    def wires(self, w: int) -> str:
        """The leaf is one number."""
        return ""

    def grown(self, w: int) -> str:
        """How the numbers of walker w grow with a leaf: the first ends in the lowest bits."""
        bits, turns = leaf_width(self.memories[w]), self.memories[w].turns
        return f"        if (arriving[3]) found <= {{leaf, found[{bits * turns - 1}:{bits}]}};"

    def results(self, latency: int) -> str:
        """Walkers keep them."""
        return "    // The leaves of all trees, in their order."

    @property
    def row(self) -> list[str]:
        """The fields of a result."""
        places = {tree: (w, i) for w, trees in enumerate(self.trees) for i, tree in enumerate(trees)}
        width = max(leaf_width(found) for found in self.memories)
        fields = []
        for _, (w, i) in sorted(places.items()):
            bits = leaf_width(self.memories[w])
            text = f"found_of_{w}[{i * bits} +: {bits}]"
            fields.append(f"{{{width - bits}'d0, {text}}}" if width > bits else text)
        return fields


def totals(found: Memory) -> list[Ends]:
    """The range of what a walker adds up for each output: of any of its leaves, as many as it has trees."""
    low = np.minimum(found.leaves.min(0), 0) * found.trees
    high = np.maximum(found.leaves.max(0), 0) * found.trees
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


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
