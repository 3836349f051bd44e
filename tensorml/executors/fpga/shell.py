"""The options of the executor in words of a shell: `--encoder 12.4 --bits 18 --area luts=10000,dsps=0`."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorml.executors.fpga.area import Limit
    from tensorml.executors.fpga.grid import Grid
    from tensorml.executors.fpga.program import FpgaExecutor

NUMBERS = re.compile(r"(?P<unsigned>u?)(?P<bits>\d+)(\.(?P<fraction>-?\d+))?(?P<nearest>:nearest)?")
FIXED = ("bits", "fraction", "accuracy", "rounding", "outside")
WHOLE = ("encoder", "area", "walkers")
COUNTS = ("luts", "dsps", "block_rams")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a command that makes a circuit."""
    added = parser.add_argument_group("with --executor fpga")
    added.add_argument(
        "--encoder",
        metavar="WHO",
        help="what enters the circuit: 'host', codes; 'circuit', floats; or fixed-point numbers, 12.4 for 12 bits of "
        "which 4 are behind the point, u10 for unsigned ones, u10:nearest to take the nearest of those; one for all "
        "columns, or one for each: 12.4,12.4,u10 or size=12.4,age=u10 (host)",
    )
    added.add_argument("--accuracy", type=float, metavar="A", help="the largest error, relative to the range (0.01)")
    added.add_argument("--bits", type=int, metavar="B", help="of numbers, instead of the fewest that are accurate")
    added.add_argument("--fraction", type=int, metavar="F", help="how many of the bits are behind the binary point")
    added.add_argument("--rounding", choices=("nearest", "down"), help="of what is passed on (nearest)")
    added.add_argument("--outside", choices=("saturate", "refuse"), help="values outside of their range (saturate)")
    added.add_argument("--area", metavar="WHAT", help="a device, ecp5-25k for example, or luts=10000,dsps=0 (xcvu13p)")
    added.add_argument("--walkers", type=int, metavar="N", help="keep trees in memory, which so many walkers follow")


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were written."""
    return {name: value for name in (*WHOLE, *FIXED) if (value := getattr(options, name)) is not None}


def executor_of(options: argparse.Namespace) -> str | FpgaExecutor:
    """The executor with its options. Raises ValueError for what is none, or for options of another executor."""
    said = given(options)
    if options.executor != "fpga":
        if said:
            names = ", ".join(f"--{name}" for name in said)
            raise ValueError(f"{names}: only with --executor fpga, not with --executor {options.executor}")
        return options.executor
    from tensorml.executors.fpga.accuracy import FixedPoint
    from tensorml.executors.fpga.program import FpgaExecutor

    read = {"encoder": encoder_of, "area": area_of}
    whole = {name: read.get(name, lambda value: value)(said[name]) for name in WHOLE if name in said}
    return FpgaExecutor(fixed=FixedPoint(**{name: said[name] for name in FIXED if name in said}), **whole)


def encoder_of(text: str) -> Any:
    """Who encodes, or what fixed-point numbers the columns are."""
    if text in ("host", "circuit"):
        return text
    parts = text.split(",")
    if not any("=" in part for part in parts):
        grids = [grid_of(part, text) for part in parts]
        return grids if len(grids) > 1 else grids[0]
    pairs = [part.rpartition("=") for part in parts]
    names = [name for name, _, _ in pairs]
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"--encoder {text}: names the columns one by one, each once: size=12.4,age=u10")
    return {name: grid_of(numbers, text) for name, _, numbers in pairs}


def grid_of(numbers: str, text: str) -> Grid:
    """The fixed-point numbers that a word says. text: what it is of, for the message."""
    from tensorml.executors.fpga.grid import Grid

    found = NUMBERS.fullmatch(numbers)
    if found is None:
        raise ValueError(
            f"--encoder {text}: {numbers!r} is none of 'host', 'circuit', and fixed-point numbers as 12.4 or u10"
        )
    fraction, otherwise = int(found["fraction"] or 0), "nearest" if found["nearest"] else "refuse"
    return Grid(int(found["bits"]), fraction, not found["unsigned"], otherwise)


def area_of(text: str) -> str | Limit:
    """A device, or what there is room for."""
    if "=" not in text:
        return text
    from tensorml.executors.fpga.area import Limit
    from tensorml.executors.fpga.synthesis import FAMILIES

    pairs = [part.partition("=") for part in text.split(",")]
    said = {name: value for name, _, value in pairs}
    counts = {name: value for name, value in said.items() if name != "family"}
    numbers = all(value.isdecimal() for value in counts.values())
    if not numbers or not {"luts", "dsps"} <= set(counts) <= set(COUNTS) or said.get("family", "xc7") not in FAMILIES:
        raise ValueError(f"--area {text}: a device, or luts=10000,dsps=0, with block_rams=20 and family=ecp5 if wanted")
    return Limit(**{name: int(value) for name, value in counts.items()}, family=said.get("family", Limit.family))
