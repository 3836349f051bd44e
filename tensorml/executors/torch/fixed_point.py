"""What PyTorch does for the operators of fixed point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tensorml import ops
from tensorml.executors.torch.rules import rules
from tensorml.ops.fixed_point import FURTHEST, NOT_A_NUMBER

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter


@rules.rule(ops.Quantize)
def quantize(op: ops.Quantize, emitter: Emitter, x: Proxy) -> Proxy:
    """The number of steps, rounded half up."""
    steps = x.to(torch.float64).div(emitter.constant(op.step)).add(0.5).floor().clamp(-FURTHEST, FURTHEST)
    missing = steps.isnan()
    return steps.nan_to_num(0.0).to(torch.int64).masked_fill(missing, NOT_A_NUMBER)


@rules.rule(ops.Saturate)
def saturate(op: ops.Saturate, emitter: Emitter, x: Proxy) -> Proxy:
    """Within the range of each column."""
    return x.clamp(emitter.constant(op.low), emitter.constant(op.high))


@rules.rule(ops.ShiftRight)
def shift_right(op: ops.ShiftRight, emitter: Emitter, x: Proxy) -> Proxy:
    """Half is added, the low bits are left out."""
    return (x.add(1 << op.shift - 1) if op.nearest else x).bitwise_right_shift(op.shift)


@rules.rule(ops.WeightedSum)
def weighted_sum(op: ops.WeightedSum, emitter: Emitter, x: Proxy) -> Proxy:
    """The product of integers."""
    return x.matmul(emitter.constant(op.weights))


@rules.rule(ops.Lines)
def lines(op: ops.Lines, emitter: Emitter, x: Proxy) -> Proxy:
    """The line by the high bits, its slope by the low ones."""
    line = x.bitwise_right_shift(op.low).reshape([-1])
    base, slope = (emitter.constant(c).index_select(0, line).reshape_as(x) for c in (op.base, op.slope))
    return slope.mul(x.bitwise_and((1 << op.low) - 1)).add(base).bitwise_right_shift(op.shift)
