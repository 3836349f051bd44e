"""Rows that set traps for tree models: on thresholds, one unit in the last place beside them, and odd values."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

ODD = (np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, -5e-324, 1e-45, 1e-38, 3.4e38, -3.4e38)


def trap_rows(
    x: np.ndarray, thresholds: Iterable[tuple[int, float]], rows: int, seed: int = 0, *, odd: tuple[float, ...] = ODD
) -> np.ndarray:
    """Rows drawn from x, most of whose values lie on a threshold of their column or next to it. float64 [rows, F].

    thresholds: pairs of column and threshold. Beside each, the next float64 and the next float32 on both sides.
    odd: values that replace one in twenty.
    """
    rng = np.random.default_rng(seed)
    result = x[rng.integers(0, len(x), rows)].astype(np.float64)
    for column in range(x.shape[1]):
        own = np.array([t for c, t in thresholds if c == column])
        if len(own):
            hit = rng.random(rows) < 0.8
            result[hit, column] = rng.choice(_beside(own), hit.sum())
    if odd:
        hit = rng.random(result.shape) < 0.05
        result[hit] = rng.choice(odd, hit.sum())
    return result


def _beside(thresholds: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        single = thresholds.astype(np.float32)
        return np.concatenate(
            [
                thresholds,
                np.nextafter(thresholds, np.inf),
                np.nextafter(thresholds, -np.inf),
                single,
                np.nextafter(single, np.float32(np.inf)),
                np.nextafter(single, np.float32(-np.inf)),
            ]
        )
