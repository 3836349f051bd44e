"""The memory that a prediction of a million rows takes beyond its input and output."""

from __future__ import annotations

from benchmarks.memory import peak_beyond
from benchmarks.peers import contestants
from benchmarks.targets import MEMORY_CASES, MEMORY_ROWS


class Memory:
    """The budget of a call is 256 MiB by default."""

    params = (list(MEMORY_CASES), [name for name, contestant in contestants().items() if contestant.ours])
    param_names = ("case", "executor")
    unit = "bytes"

    def track_peak_beyond_input_and_output(self, case: str, executor: str) -> int:
        return peak_beyond(case, executor, MEMORY_ROWS)
