"""The time of convert(), of the first prediction in a new process, and of `import tensorml`."""

from __future__ import annotations

import numpy as np

from benchmarks.cold import cold_start
from benchmarks.models import CASES, load
from benchmarks.peers import SOURCE, RefusedError, ready, taking_part
from benchmarks.targets import COLD_CASES

EVERYONE = {contestant.name: contestant for contestant in taking_part()}


class Conversion:
    """The conversion of each case by each contestant; a program is compiled on the first prediction."""

    params = (list(CASES), [name for name in EVERYONE if name != SOURCE])
    param_names = ("case", "contestant")
    rounds = 1
    repeat = (1, 5, 5.0)

    def setup(self, case: str, contestant: str) -> None:
        self.model = load(CASES[case])
        self.x = CASES[case].features(1000)
        try:
            ready(EVERYONE[contestant], CASES[case], self.model)
        except RefusedError as error:
            raise NotImplementedError(str(error)) from error

    def time_convert(self, case: str, contestant: str) -> None:
        EVERYONE[contestant].prepare(CASES[case], self.model, self.x)

    def time_convert_and_first_prediction(self, case: str, contestant: str) -> None:
        EVERYONE[contestant].prepare(CASES[case], self.model, self.x)(self.x[:1])


class Cold:
    """The first prediction, of one row, in a new process, without and with the kernels that an earlier one compiled."""

    params = (list(COLD_CASES), [name for name, one in EVERYONE.items() if one.ours], ["empty", "warm"])
    param_names = ("case", "executor", "kernel cache")
    unit = "seconds"

    def track_first_prediction(self, case: str, executor: str, cache: str) -> float:
        (found,) = [start for start in cold_start(case, executor) if start.cache == cache]
        return np.nan if found.failure else found.first


class Import:
    """`import tensorml` in a new interpreter."""

    def timeraw_import(self) -> str:
        return "import tensorml"
