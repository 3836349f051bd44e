"""All rules: a file for each family of operators, which registers them on import."""

from tensorml.executors.simd import (
    checks,
    codes,
    curves,
    distance,
    elementwise,
    flat,
    index,
    kernels,
    linear,
    nearest,
    neighbors,
    reduce,
    selection,
    straight,
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
    "flat",
    "handles",
    "index",
    "kernels",
    "linear",
    "nearest",
    "neighbors",
    "reduce",
    "rules",
    "selection",
    "straight",
    "sums",
    "table",
    "trees",
]
