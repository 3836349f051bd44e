"""Distances in PyTorch. TorchScript compiles these modules, so their annotations are evaluated, not deferred.

Sums go feature by feature in the order of the source's loops, with products rounded before they are added: sums are
equal to the reference bit for bit where the terms are.
"""

from typing import TYPE_CHECKING, Optional

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import rules
from tensorml.ops.distance import BLOCK, COUNTS, ROOTS, MetricOp

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

BLOCK_BYTES = 2**19  # of a block of products that is computed and read again while it is in the cache: half of it


class Metric(nn.Module):
    """Distances of rows x [n, F] to a table given as its transpose y [F, M]: see `ops.distance.MetricOp`."""

    w: torch.Tensor

    def __init__(self, op: MetricOp):
        super().__init__()
        self.metric, self.p, self.true, self.single = op.metric, float(op.p), op.true, op.x.dtype == np.float32
        self.weighted, self.rooted, self.counted = len(op.w) > 0, op.metric in ROOTS, op.metric in COUNTS
        self.register_buffer("w", torch.from_numpy(op.w.copy()))

    def forward(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """[n, M], or of the rows `index` [n, K] of the table only: [n, K]."""
        if self.metric == "cosine":
            return self.cosine(x, y, index)
        distance = self.surrogate(x, y, index)
        if self.single:
            distance = distance.to(torch.float32).to(torch.float64)
        if not self.true:
            return distance
        distance = self.root(distance)
        return distance.to(torch.float32).to(torch.float64) if self.single else distance

    def column(self, y: torch.Tensor, j: int, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """Feature j of the table: [1, M] or [n, K]."""
        return y[j].unsqueeze(0) if index is None else y[j].index_select(0, index.reshape([-1])).view(index.shape)

    def gap(self, x: torch.Tensor, y: torch.Tensor, j: int, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """X - y of feature j, float64."""
        return (x[:, j : j + 1] - self.column(y, j, index)).to(torch.float64)

    def root(self, distance: torch.Tensor) -> torch.Tensor:
        """The distance from what orders as it does. torch's float64 root may be off by one unit in the last place."""
        if self.rooted:
            return distance.pow(0.5)
        if self.metric == "haversine":
            return distance.pow(0.5).asin() * 2
        return distance.pow(1 / self.p) if self.metric == "minkowski" else distance

    def surrogate(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """What orders as the distance does."""
        if self.counted:
            return self.by_counts(x != 0, y != 0, index)
        if self.metric == "haversine":
            return self.haversine(x, y, index)
        if self.metric == "mahalanobis":
            return self.mahalanobis(x, y, index)
        if self.metric == "nan_euclidean":
            return self.nan_euclidean(x, y, index)
        if self.metric == "braycurtis" or self.metric == "braycurtis of sums":
            return self.braycurtis(x, y, index)
        total = self.term(x, y, 0, index)
        for j in range(1, x.size(1)):
            term = self.term(x, y, j, index)
            total = torch.maximum(total, term) if self.metric == "chebyshev" else total.add_(term)
        return total / x.size(1) if self.metric == "hamming" else total

    def term(self, x: torch.Tensor, y: torch.Tensor, j: int, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """What feature j adds."""
        if self.metric == "hamming":
            return (x[:, j : j + 1] != self.column(y, j, index)).to(torch.float64)
        gap = self.gap(x, y, j, index)
        if self.metric == "euclidean":
            return gap.mul_(gap)
        if self.metric == "seuclidean":
            return gap.mul_(gap).div_(self.w[j])
        gap = gap.abs_()
        if self.metric == "minkowski":
            gap = gap.pow_(self.p)
            return gap.mul_(self.w[j]) if self.weighted else gap
        if self.metric == "canberra":
            below = self.sizes(x, y, j, index)
            return torch.where(below > 0, gap / torch.where(below > 0, below, 1.0), 0.0)
        return gap

    def sizes(self, x: torch.Tensor, y: torch.Tensor, j: int, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """|x| + |y| of feature j, or |x + y|."""
        if self.metric == "braycurtis of sums":
            return (x[:, j : j + 1] + self.column(y, j, index)).to(torch.float64).abs()
        return x[:, j : j + 1].to(torch.float64).abs() + self.column(y, j, index).to(torch.float64).abs()

    def braycurtis(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """The sum of gaps over the sum of sizes."""
        above, below = self.gap(x, y, 0, index).abs_(), self.sizes(x, y, 0, index)
        for j in range(1, x.size(1)):
            above = above.add_(self.gap(x, y, j, index).abs_())
            below = below.add_(self.sizes(x, y, j, index))
        if self.metric == "braycurtis of sums":
            return above / below
        return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)

    def haversine(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """Of latitudes and longitudes in radians."""
        north, east = (self.gap(x, y, 0, index) * 0.5).sin(), (self.gap(x, y, 1, index) * 0.5).sin()
        cosines = x[:, :1].to(torch.float64).cos() * self.column(y, 0, index).to(torch.float64).cos()
        return north * north + cosines * east * east

    def mahalanobis(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """By the inverse covariance."""
        gaps = [self.gap(x, y, j, index) for j in range(x.size(1))]
        total = torch.zeros_like(gaps[0])
        for i in range(x.size(1)):
            inner = gaps[0] * self.w[i, 0]
            for j in range(1, x.size(1)):
                inner = inner.add_(gaps[j] * self.w[i, j])
            total = total.add_(inner.mul_(gaps[i]))
        return total

    def nan_euclidean(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """Of the features that both have, scaled up to all."""
        gap = self.gap(x, y, 0, index)
        known = gap.eq(gap).to(torch.float64)
        total = gap.mul_(gap).nan_to_num_(nan=0.0, posinf=float("inf"))
        for j in range(1, x.size(1)):
            gap = self.gap(x, y, j, index)
            known = known.add_(gap.eq(gap).to(torch.float64))
            total = total.add_(gap.mul_(gap).nan_to_num_(nan=0.0, posinf=float("inf")))
        return torch.where(known > 0, total / known.clamp(min=1.0) * x.size(1), float("nan"))

    def cosine(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """One minus the product of unit vectors, from 0 to 2."""
        total = x[:, :1] * self.column(y, 0, index)
        for j in range(1, x.size(1)):
            total = total.add_(x[:, j : j + 1] * self.column(y, j, index))
        return (1 - total).clamp(min=0.0, max=2.0)

    def by_counts(self, x: torch.Tensor, y: torch.Tensor, index: Optional[torch.Tensor]) -> torch.Tensor:  # noqa: UP045
        """Of truth values, by how many are true in both, in one, in none."""
        both = (x[:, :1] & self.column(y, 0, index)).to(torch.float64)
        unequal = (x[:, :1] ^ self.column(y, 0, index)).to(torch.float64)
        left = (x[:, :1] & ~self.column(y, 0, index)).to(torch.float64)
        for j in range(1, x.size(1)):
            a, b = x[:, j : j + 1], self.column(y, j, index)
            both, unequal = both.add_((a & b).to(torch.float64)), unequal.add_((a ^ b).to(torch.float64))
            if self.metric == "yule":
                left = left.add_((a & ~b).to(torch.float64))
        return self.of_counts(both, unequal, left, float(x.size(1)))

    def of_counts(self, both: torch.Tensor, unequal: torch.Tensor, left: torch.Tensor, size: float) -> torch.Tensor:
        """The distance from the counts of features that are true in both, in one only, in x only."""
        if self.metric == "jaccard":
            return unequal / (both + unequal).clamp(min=1.0)
        if self.metric == "dice":
            return unequal / (both * 2 + unequal)
        if self.metric == "russellrao":
            return (size - both) / size
        if self.metric == "sokalsneath":
            return unequal / (both * 0.5 + unequal)
        if self.metric == "yule":
            half = left * (unequal - left)
            below = torch.where(half > 0, both * (size - both - unequal) + half, 1.0)
            return torch.where(half > 0, half * 2 / below, 0.0)
        return unequal * 2 / (unequal + size)


class AllDistances(nn.Module):
    """The distances to all rows of the table, a block of rows at a time."""

    def __init__(self, op: ops.Distance):
        super().__init__()
        self.between = Metric(op)
        self.block = BLOCK

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; table: [M, F]; result: [N, M]."""
        y, rows = table.t().contiguous(), max(1, self.block // table.size(0))
        if x.size(0) <= rows:
            return self.between(x, y, None)
        parts = [self.between(x[i : i + rows], y, None) for i in range(0, x.size(0), rows)]
        return torch.cat(parts)


class ChosenDistances(nn.Module):
    """The distances to the chosen rows of the table."""

    def __init__(self, op: ops.DistanceTo):
        super().__init__()
        self.between = Metric(op)

    def forward(self, x: torch.Tensor, table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; table: [M, F]; index: [N, K]; result: [N, K]."""
        return self.between(x, table.t().contiguous(), index)


class Closest(nn.Module):
    """The closest centres by one product for each block of rows, [C, rows], which stays in the cache.

    Compared are whole rows of that block: its least, then which centres hold the least, counted from the last one.
    """

    def __init__(self, op: ops.ClosestCentre):
        super().__init__()
        self.rows = min(8192, max(256, BLOCK_BYTES // (int(op.table.shape[0]) * op.x.dtype.itemsize)))

    def forward(self, x: torch.Tensor, table: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; table: [C, F]; squares: [C, 1]; result: int64 [N]."""
        count, rows = table.size(0), self.rows if x.device.type == "cpu" else max(1, x.size(0))
        from_end = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
        held = torch.empty([count * rows], dtype=x.dtype, device=x.device)  # kept: fresh memory costs as much again
        to_end = torch.arange(count, 0, -1, dtype=x.dtype, device=x.device).unsqueeze(1)
        for i in range(0, x.size(0), rows):
            part = x[i : i + rows]
            product = held[: count * part.size(0)].view([count, part.size(0)])
            torch.addmm(squares, table, part.t(), alpha=-2.0, out=product)
            torch.amax(product.eq_(product.amin(0)).mul_(to_end), 0, out=from_end[i : i + rows])
        result = from_end.neg_().add_(count).to(torch.int64)
        if x.size(0) > 0 and int(result.amax()) == count:  # nothing equals a least that is NaN
            lost = result.eq(count).nonzero()[:, 0]
            product = torch.addmm(squares, table, x.index_select(0, lost).t(), alpha=-2.0)
            result.index_copy_(0, lost, self.one_by_one(product))
        return result

    def one_by_one(self, product: torch.Tensor) -> torch.Tensor:
        """The least of each column, where NaN is less than nothing and nothing less than it. Result: int64 [n]."""
        least, place = product[0], torch.zeros([product.size(1)], dtype=torch.int64, device=product.device)
        for j in range(1, product.size(0)):
            closer = product[j] < least
            least, place = torch.where(closer, product[j], least), torch.where(closer, j, place)
        return place


@rules.rule(ops.ClosestCentre)
def closest_centre(op: ops.ClosestCentre, emitter: "Emitter", *operands: "Proxy") -> "Proxy":
    """The comparison, as a module."""
    return emitter.call(Closest(op), *operands)


@rules.rule(ops.Distance)
def distance(op: ops.Distance, emitter: "Emitter", x: "Proxy", table: "Proxy") -> "Proxy":
    """All distances; those that the caller gave as they are."""
    return x if op.metric == "precomputed" else emitter.call(AllDistances(op), x, table)


@rules.rule(ops.DistanceTo)
def distance_to(op: ops.DistanceTo, emitter: "Emitter", x: "Proxy", table: "Proxy", index: "Proxy") -> "Proxy":
    """Chosen distances."""
    return x.gather(1, index) if op.metric == "precomputed" else emitter.call(ChosenDistances(op), x, table, index)
