"""Times, errors and ratios of predictions, by case, contestant and number of rows."""

from __future__ import annotations

import numpy as np

from benchmarks.comparison import compare
from benchmarks.models import CASES, ROWS, load
from benchmarks.peers import HUMMINGBIRD, SOURCE, RefusedError, contestants, largest_error, matrix, prepared

EVERYONE = contestants()
OURS = [name for name, contestant in EVERYONE.items() if contestant.ours]


class Predict:
    """One contestant on one case. Compare them within one run only."""

    params = (list(CASES), list(EVERYONE), [1, 1_000, ROWS])
    param_names = ("case", "contestant", "rows")
    rounds = 1
    repeat = (1, 10, 5.0)
    warmup_time = 0.1

    def setup(self, case: str, contestant: str, rows: int) -> None:
        """Prepare the contestant. asv marks what raises NotImplementedError as skipped."""
        model = load(CASES[case])
        self.x = CASES[case].features(rows)
        try:
            self.call, self.actual, _ = prepared(EVERYONE[contestant], model, self.x, CASES[case].method)
        except RefusedError as error:
            raise NotImplementedError(str(error)) from error
        self.expected = matrix(getattr(model, CASES[case].method)(self.x))

    def time_predict(self, case: str, contestant: str, rows: int) -> None:
        self.call(self.x)

    def track_error(self, case: str, contestant: str, rows: int) -> float:
        """The largest absolute error against the source."""
        return largest_error(self.actual, self.expected)


class Ratio:
    """The time of an executor over that of a peer, measured in turns in one process."""

    params = (list(CASES), OURS, [SOURCE, HUMMINGBIRD], [1, ROWS])
    param_names = ("case", "executor", "peer", "rows")
    unit = "x"

    def track_ratio(self, case: str, executor: str, peer: str, rows: int) -> float:
        """Below 1, the executor is faster; NaN if one of both does not answer."""
        names = [EVERYONE[name] for name in dict.fromkeys((SOURCE, executor, peer))]
        ratio = compare(CASES[case], rows, names, seconds=0.3).ratio(executor, peer)
        return np.nan if ratio is None else ratio
