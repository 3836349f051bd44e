"""The circuit gives the golden results, each in its cycle."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
from golden import INTERVAL, LATENCY, RESULTS, ROWS, drive, settle, start


async def reset(dut: Any) -> None:
    """Hold the circuit in reset for two cycles."""
    dut.in_valid.value = 0
    dut.in_row.value = 0
    dut.rst.value = 1
    for _ in range(2):
        await drive(dut.clk)
    dut.rst.value = 0


async def run(dut: Any, rate: float, count: int) -> int:
    """Offer rows, each cycle with this probability; check what comes and when. The cycles until the last result."""
    chance = random.Random(count)
    due: deque[tuple[int, int]] = deque()  # the cycles and the values of results that are to come
    sent, cycle, last = 0, 0, 0
    while cycle <= last + LATENCY + 2 * INTERVAL:
        await drive(dut.clk)
        offered = sent < count and chance.random() < rate
        dut.in_valid.value = int(offered)
        dut.in_row.value = ROWS[sent] if offered else chance.getrandbits(len(dut.in_row))
        await settle()
        if offered and dut.in_ready.value:
            due.append((cycle + LATENCY, RESULTS[sent]))
            sent += 1
        expected = bool(due) and due[0][0] == cycle
        assert bool(dut.out_valid.value) == expected, f"cycle {cycle}: a result where none is due, or none where one is"
        if expected:
            _, value = due.popleft()
            assert int(dut.out_row.value) == value, f"cycle {cycle}: {int(dut.out_row.value):x} is not {value:x}"
        cycle += 1
        last = cycle if due or sent < count else last
    return last


@cocotb.test()
async def golden_rows_one_after_the_other(dut: Any) -> None:
    """A row each interval."""
    start(dut.clk)
    await reset(dut)
    assert await run(dut, 1.0, len(ROWS)) <= len(ROWS) * INTERVAL + LATENCY + 1


@cocotb.test()
async def golden_rows_with_gaps(dut: Any) -> None:
    """Cycles without a row in between, with garbage on the port."""
    start(dut.clk)
    await reset(dut)
    await run(dut, 0.4, len(ROWS))


@cocotb.test()
async def a_reset_forgets_the_rows_under_way(dut: Any) -> None:
    """After a reset in the middle, the circuit begins anew."""
    start(dut.clk)
    await reset(dut)
    for row in ROWS[:LATENCY]:
        await drive(dut.clk)
        dut.in_valid.value, dut.in_row.value = 1, row
    await drive(dut.clk)
    await reset(dut)
    await run(dut, 1.0, min(len(ROWS), 16))
