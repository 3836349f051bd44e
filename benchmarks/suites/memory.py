"""The memory that a prediction of a million rows takes."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.memory import peak_beyond
from benchmarks.models import CASES, MANY_LEAVES, features, load
from benchmarks.peers import HUMMINGBIRD, ONNXRUNTIME, SOURCE, RefusedError, ready, taking_part
from benchmarks.targets import MEMORY_CASES, MEMORY_ROWS

EVERYONE = {contestant.name: contestant for contestant in taking_part()}
OURS = [name for name, contestant in EVERYONE.items() if contestant.ours]


class Memory:
    """Beyond model, input and output. The budget of a call is 256 MiB by default."""

    params = (list(MEMORY_CASES), [*OURS, SOURCE, ONNXRUNTIME, HUMMINGBIRD])
    param_names = ("case", "contestant")
    unit = "bytes"
    timeout = 600

    def track_peak_beyond_input_and_output(self, case: str, contestant: str) -> int:
        try:
            return peak_beyond(case, contestant, MEMORY_ROWS)
        except RuntimeError as error:
            raise NotImplementedError(str(error)) from error


class Process:
    """All memory of a process that predicts: libraries, model, 10^6 rows of 28 float32 columns (112 MB), result."""

    params = (["StandardScaler + LogisticRegression", MANY_LEAVES.name], [*OURS, SOURCE, ONNXRUNTIME])
    param_names = ("case", "contestant")
    timeout = 600

    def setup_cache(self) -> str:
        """The file of the rows, drawn in another process: that takes three times their memory."""
        path = os.path.abspath("rows.npy")  # asv calls this in a folder that it removes at the end
        np.save(path, features(MEMORY_ROWS))
        return path

    def setup(self, path: str, case: str, contestant: str) -> None:
        try:
            self.call = ready(EVERYONE[contestant], CASES[case], load(CASES[case])).call
        except RefusedError as error:
            raise NotImplementedError(str(error)) from error

    def peakmem_million_rows(self, path: str, case: str, contestant: str) -> None:
        self.call(np.load(path))

    def peakmem_convert(self, path: str, case: str, contestant: str) -> None:
        """What conversion alone takes: the setup, and a row."""
        self.call(CASES[case].features(1))
