"""All rules: a file for each family of operators, which registers them on import."""

from tensorml.executors.simd import (
    checks,
    codes,
    curves,
    distance,
    elementwise,
    index,
    kernels,
    linear,
    nearest,
    neighbors,
    reduce,
    sums,
    table,
    trees,
)
from tensorml.executors.simd.rules import handles, rules

__all__ = [
    "checks",
    "codes",
    "curves",
    "distance",
    "elementwise",
    "handles",
    "index",
    "kernels",
    "linear",
    "nearest",
    "neighbors",
    "reduce",
    "rules",
    "sums",
    "table",
    "trees",
]
