"""Times, errors and ratios of predictions, by case, contestant and number of rows."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.comparison import Comparison, compare
from benchmarks.models import CASES, ROWS, Case, digest, load
from benchmarks.peers import (
    HUMMINGBIRD,
    INTELEX,
    ONNXRUNTIME,
    SOURCE,
    Refitted,
    RefusedError,
    answered,
    largest_error,
    matrix,
    ready,
    source,
    taking_part,
)
from benchmarks.timing import latencies

EVERYONE = {contestant.name: contestant for contestant in taking_part()}
OURS = [name for name, contestant in EVERYONE.items() if contestant.ours]
PEERS = [SOURCE, INTELEX, ONNXRUNTIME, HUMMINGBIRD]


class Predict:
    """One contestant on one case. Compare them within one run only."""

    params = (list(CASES), list(EVERYONE), [1, 1_000, ROWS])
    param_names = ("case", "contestant", "rows")
    rounds = 1
    repeat = (1, 10, 5.0)
    warmup_time = 0.1

    def setup(self, case: str, contestant: str, rows: int) -> None:
        """Prepare the contestant. asv marks what raises NotImplementedError as skipped."""
        self.model = load(CASES[case])
        self.x = CASES[case].features(min(rows, CASES[case].most_rows))
        try:
            self.call = ready(EVERYONE[contestant], CASES[case], self.model).call
            self.actual, _ = answered(self.call, self.x)
        except RefusedError as error:
            raise NotImplementedError(str(error)) from error

    def time_predict(self, case: str, contestant: str, rows: int) -> None:
        self.call(self.x)

    def track_error(self, case: str, contestant: str, rows: int) -> float:
        """The largest absolute error against the source; NaN for a model that a peer fitted by itself."""
        if isinstance(self.call, Refitted):
            return np.nan
        return largest_error(self.actual, matrix(source(CASES[case], self.model, self.x)(self.x)))


class Latency:
    """Single calls with one row: the time that one of a hundred exceeds."""

    params = (list(CASES), list(EVERYONE))
    param_names = ("case", "contestant")
    unit = "seconds"

    def track_p99(self, case: str, contestant: str) -> float:
        try:
            call = ready(EVERYONE[contestant], CASES[case], load(CASES[case])).call
        except RefusedError:
            return np.nan
        x = CASES[case].features(1)
        return float(np.percentile(latencies({contestant: lambda: call(x)})[contestant], 99))


class Ratio:
    """How many times as fast an executor is as a peer. All take turns in one process, once for each case."""

    params = (list(CASES), OURS, PEERS, [1, ROWS])
    param_names = ("case", "executor", "peer", "rows")
    unit = "x"
    timeout = 900  # the first of a case measures for all

    def setup_cache(self) -> str:
        """A folder for what was measured, which asv removes at the end of the run."""
        return os.getcwd()

    def track_times_as_fast(self, folder: str, case: str, executor: str, peer: str, rows: int) -> float:
        """Above 1, the executor is faster; NaN if one of both does not answer."""
        found = {one.rows: one for one in compared(Path(folder), CASES[case])}
        ratio = found[min(rows, CASES[case].most_rows)].times_as_fast(peer, executor)
        return np.nan if ratio is None else ratio


def compared(folder: Path, case: Case) -> list[Comparison]:
    """The comparisons of a case, at each number of rows, which the first call measures."""
    path = folder / f"{digest(case)}.json"
    if not path.exists():
        path.write_text("[]", encoding="utf-8")  # one that fails is not tried again for each executor and peer
        found = compare(case, [1, ROWS], list(EVERYONE.values()), seconds=0.2)
        path.write_text(json.dumps([asdict(one) for one in found]), encoding="utf-8")
    return [Comparison(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
