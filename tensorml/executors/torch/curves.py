"""What PyTorch does for curves."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.categories import padded
from tensorml.executors.torch.rules import FRESH, FUNCTIONS, function, rules

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

CURVES = {
    ops.Expm1: torch.expm1,
    ops.Exp2: torch.exp2,
    ops.Log2: torch.log2,
    ops.Log10: torch.log10,
    ops.Tan: torch.tan,
    ops.Atan: torch.atan,
    ops.Sinh: torch.sinh,
    ops.Cosh: torch.cosh,
    ops.Asinh: torch.asinh,
    ops.Floor: torch.floor,
    ops.Ceil: torch.ceil,
    ops.Round: torch.round,
    ops.Trunc: torch.trunc,
    ops.NormalCdf: torch.special.ndtr,
    ops.NormalQuantile: torch.special.ndtri,
    ops.Mod: torch.remainder,
}
FUNCTIONS.update(CURVES)
FRESH.update(CURVES)
rules.rule(*CURVES)(function)


@rules.rule(ops.Sign)
def sign(op: ops.Sign, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """The sign; torch's own is 0 for NaN."""
    return x.sign() if op.dtype.kind == "i" else x.sign().where(x.eq(x), x)


class Segments(nn.Module):
    """Lines through points: each element's segment by a binary search, then its slope from where it begins."""

    points: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    base: torch.Tensor
    first: torch.Tensor
    start: torch.Tensor
    slope: torch.Tensor

    def __init__(self, op: ops.Interpolate):
        super().__init__()
        columns = [op.column(k) for k in range(len(op.offsets) - 1)]
        width = max(len(points) for points, _ in columns) + 1
        first, start, slope = (np.zeros((len(columns), width)) for _ in range(3))
        for k, (points, values) in enumerate(columns):
            with np.errstate(all="ignore"):
                slopes = np.diff(values) / np.diff(points)
            first[k], start[k] = points[-1], values[-1]
            first[k, 0], start[k, 0] = points[0], values[0]
            first[k, 1 : len(points)], start[k, 1 : len(points)] = points[:-1], values[:-1]
            slope[k, 1 : len(points)] = np.where(np.isfinite(slopes), slopes, 0.0)
        self.register_buffer("points", torch.from_numpy(padded(op.points, op.offsets, np.inf)))
        self.register_buffer("low", torch.from_numpy(first[:, :1].copy()))
        self.register_buffer("high", torch.from_numpy(first[:, -1:].copy()))
        self.register_buffer("base", torch.arange(len(columns))[:, None] * width)
        self.register_buffer("first", torch.from_numpy(first.reshape(-1)))
        self.register_buffer("start", torch.from_numpy(start.reshape(-1)))
        self.register_buffer("slope", torch.from_numpy(slope.reshape(-1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: float64 [N, K]; result: the same type. NaN passes: it sorts behind all points, and its product is NaN."""
        v = x.t().contiguous()
        segment = torch.searchsorted(self.points, v, right=True).add_(self.base).reshape([-1])
        first, slope, start = (
            self.first.index_select(0, segment).reshape(v.shape),
            self.slope.index_select(0, segment).reshape(v.shape),
            self.start.index_select(0, segment).reshape(v.shape),
        )
        distance = torch.minimum(torch.maximum(v, self.low), self.high).sub_(first)
        return slope.mul_(distance).add_(start).t()


@rules.rule(ops.Interpolate)
def interpolate(op: ops.Interpolate, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """By columns, which then lie one after the other in memory."""
    return emitter.call(Segments(op), x)


class Splines(nn.Module):
    """De Boor's recursion for all columns at once, and the splines that are not 0 put into their places."""

    knots: torch.Tensor
    flat: torch.Tensor
    base: torch.Tensor

    def __init__(self, knots: np.ndarray, degree: int, extrapolate: bool):
        super().__init__()
        self.degree, self.extrapolate, self.count = degree, extrapolate, knots.shape[1] - degree - 1
        self.repeated = bool((np.diff(knots) == 0).any())
        self.register_buffer("knots", torch.from_numpy(np.ascontiguousarray(knots)))
        self.register_buffer("flat", torch.from_numpy(np.ascontiguousarray(knots).reshape(-1)))
        self.register_buffer("base", torch.arange(len(knots))[:, None] * knots.shape[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: float64 [N, F]; result: float64 [N, F * count]."""
        v = x.t().contiguous()
        first = (
            torch.searchsorted(self.knots, v, right=True).sub(self.degree + 1).clamp(0, self.count - 1 - self.degree)
        )
        h = self.recursion(v, first)
        unknown = v.ne(v)
        if not self.extrapolate:
            low, high = self.knots.narrow(1, self.degree, 1), self.knots.narrow(1, self.count, 1)
            unknown = unknown.logical_or(v.lt(low)).logical_or(v.gt(high))
        out = torch.zeros([v.size(0), self.count, v.size(1)], dtype=v.dtype, device=v.device)
        for n in range(self.degree + 1):
            out.narrow(1, n, self.count - self.degree).scatter_(1, first.unsqueeze(1), h[n].unsqueeze(1))
        if bool(unknown.any()):
            out.masked_fill_(unknown.unsqueeze(1), float("nan"))
        return out.reshape([v.size(0) * self.count, v.size(1)]).t()

    def recursion(self, v: torch.Tensor, first: torch.Tensor) -> list[torch.Tensor]:
        """The splines that are not 0 at v, each [F, N]. first: int64 [F, N], the place of the first one."""
        place, degree, size = (first + self.base).reshape([-1]), self.degree, self.flat.numel() - 2 * self.degree
        knots = [self.flat.narrow(0, k, size).index_select(0, place).reshape(v.shape) for k in range(1, 2 * degree + 1)]
        ahead = [knots[degree + k] - v for k in range(degree)]
        behind = [v - knots[k] for k in range(degree)]
        h = [torch.ones_like(v)]
        for j in range(1, degree + 1):
            last = h
            h = [torch.zeros_like(v)]
            for n in range(1, j + 1):
                after, before = knots[degree + n - 1], knots[degree + n - 1 - j]
                w = last[n - 1] / (after - before)
                left, right = h[n - 1] + w * ahead[n - 1], w * behind[degree + n - 1 - j]
                if self.repeated:
                    same = after.eq(before)
                    left, right = torch.where(same, h[n - 1], left), right.masked_fill(same, 0.0)
                h[n - 1] = left
                h.append(right)
        return h


@rules.rule(ops.BSpline)
def b_spline(op: ops.BSpline, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """By columns, which then lie one after the other in memory."""
    return emitter.call(Splines(op.knots, op.degree, op.extrapolate), x)
