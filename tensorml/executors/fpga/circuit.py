"""A finished circuit: its Verilog, and how numbers lie on its ports."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

Kind = tuple[str, *tuple[int, ...]]
"""Operations of one kind and one size: see `estimate.Counts`."""

READS = re.compile(r'\$readmemh\("([^"]+)", (\w+)\);')


@dataclass(frozen=True)
class Field:
    """An integer on a port: two's complement of `width` bits if `signed`, else unsigned; at most 64 bits."""

    name: str
    width: int
    signed: bool = False

    @property
    def lowest(self) -> int:
        """The smallest integer that it holds."""
        return -(1 << self.width - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest integer that it holds."""
        return (1 << self.width - self.signed) - 1


@dataclass(frozen=True)
class Circuit:
    """A module of Verilog-2005 that computes a row of integers from a row of integers.

    Its ports are `clk`, `rst` (synchronous, active high: forgets the rows under way), `in_valid`, `in_ready`,
    `in_row`, `out_valid` and `out_row`. A row is taken at a rising edge of clk where in_valid and in_ready are 1; its
    result is on out_row, with out_valid, `latency` edges later and for one cycle: there is no back-pressure inside.
    The first field of a row is in the lowest bits of its port.

    name: of the module. interval: the least number of cycles between two rows. counts: how many operations of each kind
    and width are in it, for estimates of its size. images: the files of memories that the Verilog reads, by name: a
    word a line, hexadecimal.
    """

    name: str
    verilog: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    latency: int
    interval: int = 1
    counts: Mapping[Kind, int] = field(default_factory=dict, compare=False, repr=False)
    images: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def in_width(self) -> int:
        """The bits of in_row."""
        return sum(f.width for f in self.inputs)

    @property
    def out_width(self) -> int:
        """The bits of out_row."""
        return sum(f.width for f in self.outputs)

    @cached_property
    def alone(self) -> str:
        """The Verilog with the memories' words in it, for tools that would look for the files elsewhere."""
        return READS.sub(lambda read: _assigned(self.images[read[1]], read[2]), self.verilog)

    def write_images(self, folder: Path) -> None:
        """Write the files of memories, for tools that run in this folder."""
        for name, text in self.images.items():
            (folder / name).write_text(text, encoding="ascii")

    @cached_property
    def digest(self) -> str:
        """A name for what the circuit does, for caches."""
        what = self.name, self.verilog, self.inputs, self.outputs, *self.images.items()
        return hashlib.sha256(repr(what).encode()).hexdigest()[:24]


def _assigned(image: str, memory: str) -> str:
    """The words of an image as assignments."""
    words = image.split()
    lines = (f"        {memory}[{i}] = {4 * len(word)}'h{word};" for i, word in enumerate(words))
    return "\n".join(["begin", *lines, "    end"])
