"""What the leaves of trees hold as integers, tree by tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.fixed import DoesNotFit, Fixed, Numbers
from tensorml.graph import Op

STARTS = 64  # that are tried for the integers of a tree


def sum_range(op: ops.LeafSum) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest that each output of a sum of leaves can be. float64 [K] each."""
    values = op.values.astype(np.float64)
    ends = np.stack([(values[part].min(0), values[part].max(0)) for part in leaf_ranges(op.leaves)])
    if op.output is None:
        low, high = ends.sum(0)
    else:
        low, high = (np.bincount(op.output, ends[:, end, 0], len(op.start)) for end in (0, 1))
    return op.start + low, op.start + high


def sums_of_leaves(op: Op, fixed: Fixed) -> tuple[ops.LeafSum, ops.LeafSum] | None:
    """The sum of leaves that a value is, up to constants, and the same one of integers; None if it is no such sum."""
    while isinstance(op, ops.Add | ops.Sub | ops.Reshape | ops.Cast):
        op = next(o for o in op.operands if o.operands or o.type.batched)
    integers = fixed.op
    while isinstance(integers, ops.Reshape):
        integers = integers.x
    return (op, integers) if isinstance(op, ops.LeafSum) and isinstance(integers, ops.LeafSum) else None


@dataclass(frozen=True)
class Whole:
    """What leaves hold, as integers of a step, and the number that 0 stands for in each tree.

    values: int64 [L, K], the least of each tree 0; least: float64 [T, K]; most: int64 [T, K].
    """

    values: np.ndarray
    least: np.ndarray
    most: np.ndarray
    step: float


# Methods of a model share their trees, and the bits that are tried for them: large forests take a second each.
_KNOWN: WeakKeyDictionary[ops.LeafSum, dict[Numbers, Whole]] = WeakKeyDictionary()


def whole_leaves(op: ops.LeafSum, trees: Sequence[slice], numbers: Numbers) -> Whole:
    """The integers of all trees, computed once for each sum and kind of numbers. trees: the numbers of their leaves."""
    known = _KNOWN.setdefault(op, {})
    if numbers not in known:
        values, step = leaf_steps(op.values.astype(np.float64), trees, numbers)
        rounded = [[whole_steps(column / step) for column in values[part].T] for part in trees]
        whole = np.concatenate([np.stack([steps for steps, _ in tree], axis=1) for tree in rounded])
        least = np.array([[start for _, start in tree] for tree in rounded]) * step
        known[numbers] = Whole(whole, least, np.stack([whole[part].max(0) for part in trees]), step)
    return known[numbers]


def whole_steps(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Integers for what the leaves of a tree hold, and the number that 0 stands for. values: float64 [L], in steps.

    Where the integers start is free, since the starts of all trees are one constant. Of the starts with which no leaf
    is further off than if they started at the least value, it is one with the fewest bits, and of these the one with
    the least error. The result: int64 [L], the least of which is 0.
    """
    above = values - values.min()
    ends = np.unique((above + 0.5) % 1)  # where a start has to be for a value to be half way between two integers
    starts = (ends + np.append(ends[1:], ends[0] + 1)) / 2
    starts = np.append(0.0, starts[:: -(-len(starts) // STARTS)])
    whole = np.floor(above - starts[:, None] + 0.5)
    off = above - whole
    error = np.ptp(off, axis=1) / 2
    near = error <= np.abs(off[0]).max()
    near[0] = True
    bits = np.ceil(np.log2(np.ptp(whole, axis=1) + 1))
    best = np.lexsort((error, bits, ~near))[0]
    least = whole[best].min()
    return (whole[best] - least).astype(np.int64), float(values.min() + least + off[best].min() + error[best])


def leaf_ranges(descend: Op) -> list[slice]:
    """The numbers of each tree's leaves."""
    if isinstance(descend, ops.DescendSymmetric):
        starts = descend.first_leaf
        return [slice(int(s), int(s + 2**k)) for s, k in zip(starts, descend.size, strict=True)]
    if not isinstance(descend, ops.Descend):
        raise DoesNotFit("leaves of no tree")
    child = np.concatenate([descend.left, descend.right, descend.roots])
    leaf = ~child[child < 0]
    inner = np.arange(len(descend.left))
    owner = np.searchsorted(np.sort(descend.roots[descend.roots >= 0]), inner, side="right")
    trees = np.flatnonzero(descend.roots >= 0)
    tree = np.concatenate([trees[owner - 1], trees[owner - 1], np.arange(len(descend.roots))])[child < 0]
    count = np.bincount(tree, minlength=len(descend.roots))
    stop = np.cumsum(count)
    if not np.array_equal(tree[np.argsort(leaf)], np.repeat(np.arange(len(count)), count)):
        raise DoesNotFit("leaves that are not in the order of their trees")
    return [slice(int(b - a), int(b)) for a, b in zip(count, stop, strict=True)]


def leaf_steps(values: np.ndarray, trees: Sequence[slice], numbers: Numbers) -> tuple[np.ndarray, float]:
    """What leaves hold, within what the numbers asked for hold, and its step. values: float64 [L, K]."""
    if numbers.fraction is None:
        return values, finest(np.stack([np.ptp(values[part], axis=0) for part in trees]), numbers.bits)
    step = numbers.step(0)
    numbers.whole(values, step, "a leaf")
    return np.clip(values, numbers.low * step, numbers.high * step), step


def finest(ranges: np.ndarray, bits: int) -> float:
    """The step with which the largest of these numbers takes so many bits."""
    largest = float(ranges.max(initial=0))
    return largest / (2**bits - 1) if largest > 0 else 1.0
