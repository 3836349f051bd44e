"""The rules of all families of operators: importing this module registers them."""

from tensorml.executors.torch import (
    batch,
    categories,
    checks,
    curves,
    distance,
    exponential,
    factorization,
    fixed_point,
    kernel,
    nearest,
    neighbor_imputation,
    neighbors,
    placement,
    pursuit,
)
from tensorml.executors.torch.rules import FRESH, rules

__all__ = [
    "FRESH",
    "batch",
    "categories",
    "checks",
    "curves",
    "distance",
    "exponential",
    "factorization",
    "fixed_point",
    "kernel",
    "nearest",
    "neighbor_imputation",
    "neighbors",
    "placement",
    "pursuit",
    "rules",
]
