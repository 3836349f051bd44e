"""The golden rows, and the cycles in which they are driven and looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

PROJECT = Path(__file__).resolve().parents[1]
FACTS: dict[str, Any] = json.loads((PROJECT / "tensorml.json").read_text())
LATENCY, INTERVAL = FACTS["latency"], FACTS["interval"]
PERIOD = 10  # ns


def numbers(name: str) -> list[int]:
    """The rows in a file, one a line, hexadecimal, the first field in the lowest bits."""
    return [int(line, 16) for line in (PROJECT / "sim" / name).read_text().split()]


ROWS, RESULTS = numbers("golden_in.hex"), numbers("golden_out.hex")


def start(clock: Any) -> None:
    """Start the clock."""
    Clock(clock, PERIOD, unit="ns").start()


async def drive(clock: Any) -> None:
    """Until signals may be driven for the next rising edge."""
    await FallingEdge(clock)


async def settle() -> None:
    """Until all signals are as the next rising edge will see them."""
    await Timer(PERIOD // 5, "ns")
