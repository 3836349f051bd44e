"""The golden rows through AXI-Stream, whatever the other sides do: none is lost, doubled or out of order."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from golden import INTERVAL, LATENCY, RESULTS, ROWS, drive, settle, start


async def reset(dut: Any) -> None:
    """Hold the wrapper in reset for two cycles."""
    dut.s_axis_tvalid.value = dut.s_axis_tdata.value = dut.s_axis_tlast.value = dut.m_axis_tready.value = 0
    dut.aresetn.value = 0
    for _ in range(2):
        await drive(dut.aclk)
    dut.aresetn.value = 1


class Source:
    """Offers the rows; once it offers one, it goes on until that is taken."""

    def __init__(self, dut: Any, rate: float, lasts: list[bool]):
        self.dut, self.rate, self.lasts = dut, rate, lasts
        self.sent, self.offering = 0, False

    def drive(self, chance: random.Random) -> None:
        """Set its signals for the next edge."""
        self.offering = self.offering or (self.sent < len(ROWS) and chance.random() < self.rate)
        self.dut.s_axis_tvalid.value = int(self.offering)
        above = len(self.dut.s_axis_tdata)
        self.dut.s_axis_tdata.value = ROWS[self.sent] if self.offering else chance.getrandbits(above)
        self.dut.s_axis_tlast.value = int(self.lasts[self.sent]) if self.offering else chance.getrandbits(1)

    def look(self) -> None:
        """See whether the row is taken at the next edge."""
        if self.offering and self.dut.s_axis_tready.value:
            self.sent, self.offering = self.sent + 1, False


class Sink:
    """Takes results; checks that one that it does not take stays on the port."""

    def __init__(self, dut: Any, rate: float):
        self.dut, self.rate = dut, rate
        self.ready = False
        self.waiting: tuple[int, bool] | None = None
        self.taken: list[tuple[int, bool]] = []

    def drive(self, chance: random.Random) -> None:
        """Set its signal for the next edge."""
        self.ready = chance.random() < self.rate
        self.dut.m_axis_tready.value = int(self.ready)

    def look(self) -> None:
        """See what is on the port at the next edge."""
        if not self.dut.m_axis_tvalid.value:
            assert self.waiting is None, "tvalid fell before its result was taken"
            return
        result = int(self.dut.m_axis_tdata.value), bool(self.dut.m_axis_tlast.value)
        assert self.waiting in (None, result), "a result changed before it was taken"
        self.waiting = None if self.ready else result
        if self.ready:
            self.taken.append(result)


async def run(dut: Any, source_rate: float, sink_rate: float, seed: int = 0) -> int:
    """All rows through the wrapper, with these probabilities each cycle. The cycles until the last result."""
    chance = random.Random(seed)
    lasts = [chance.random() < 0.2 for _ in ROWS]
    source, sink = Source(dut, source_rate, lasts), Sink(dut, sink_rate)
    cycle, last = 0, 0
    patience = 100 + int((len(ROWS) + LATENCY) * INTERVAL * 10 / (source_rate * sink_rate))
    while cycle <= last + LATENCY + INTERVAL + 4:
        await drive(dut.aclk)
        source.drive(chance)
        sink.drive(chance)
        await settle()
        source.look()
        sink.look()
        cycle += 1
        last = cycle if len(sink.taken) < len(ROWS) else last
        assert cycle < patience, f"{len(sink.taken)} of {len(ROWS)} results after {cycle} cycles"
    assert sink.taken == list(zip(RESULTS, lasts, strict=True))
    return last


@cocotb.test()
async def all_rows_at_full_speed(dut: Any) -> None:
    """A source and a sink that never wait lose no cycle."""
    start(dut.aclk)
    await reset(dut)
    assert await run(dut, 1.0, 1.0) <= len(ROWS) * INTERVAL + LATENCY + 3


@cocotb.test()
async def a_source_that_stalls(dut: Any) -> None:
    """Gaps between rows."""
    start(dut.aclk)
    await reset(dut)
    await run(dut, 0.3, 1.0, seed=1)


@cocotb.test()
async def a_sink_that_stalls(dut: Any) -> None:
    """Results wait, then rows do."""
    start(dut.aclk)
    await reset(dut)
    await run(dut, 1.0, 0.3, seed=2)


@cocotb.test()
async def both_sides_stall(dut: Any) -> None:
    """Gaps on both sides."""
    start(dut.aclk)
    await reset(dut)
    for seed in range(3, 6):
        await run(dut, 0.6, 0.6, seed)


@cocotb.test()
async def a_reset_forgets_the_rows_under_way(dut: Any) -> None:
    """Rows in the circuit and in the memory are gone after a reset."""
    start(dut.aclk)
    await reset(dut)
    source = Source(dut, 1.0, [False] * len(ROWS))
    for _ in range(LATENCY + 1):
        await drive(dut.aclk)
        source.drive(random.Random(0))
        await settle()
        source.look()
    await drive(dut.aclk)
    await reset(dut)
    await run(dut, 0.9, 0.9, seed=6)
