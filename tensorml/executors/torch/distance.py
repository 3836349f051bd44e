"""Distances in PyTorch. TorchScript compiles these modules, so their annotations are evaluated, not deferred.

Sums go feature by feature in the order of the source's loops, with products rounded before they are added: sums are
equal to the reference bit for bit where the terms are.
"""

from typing import TYPE_CHECKING, List, Optional  # noqa: UP035 (TorchScript reads them)

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.cells import cells_of, suits
from tensorml.executors.torch.rules import rules
from tensorml.graph import Const, Op
from tensorml.ops.distance import BLOCK, COUNTS, ROOTS, MetricOp
from tensorml.ops.sorting import introsort, quicksort

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

EXTRA = 4  # candidates beyond the k nearest: among these exact distances decide
FEW_ROWS = 256  # rows of a table below which all distances are computed exactly
CELL_ROWS = 1024  # rows whose lists are compared at once
BLOCK_BYTES = 2**19  # of a block of products that is computed and read again while it is in the cache: half of it
GROUP = 16  # distances of which the least is taken first


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


class CellSearch(nn.Module):
    """The nearest rows of a table of few features, among those that a row's cell lists: see `cells.py`."""

    split: torch.Tensor
    child: torch.Tensor
    cell: torch.Tensor
    points: torch.Tensor
    box: torch.Tensor

    def __init__(self, op: ops.Nearest, table: np.ndarray):
        super().__init__()
        self.between, self.k, found = Metric(op), op.k, cells_of(op.metric, table, op.k + 1)
        self.levels, self.rows = found.levels, CELL_ROWS
        split, child, cell = found.walk()
        self.register_buffer("split", torch.from_numpy(split))
        self.register_buffer("child", torch.from_numpy(child))
        self.register_buffer("cell", torch.from_numpy(cell))
        self.register_buffer("points", torch.from_numpy(np.concatenate(found.points)))
        self.register_buffer("box", torch.from_numpy(found.box))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> List[torch.Tensor]:  # noqa: UP006
        """x: [N, F]; y: the table's transpose. Result: int64 [N, k], and bool [N]: whether it has to be found again."""
        result = torch.empty([x.size(0), self.k], dtype=torch.int64, device=x.device)
        again = torch.empty([x.size(0)], dtype=torch.bool, device=x.device)
        beyond = torch.full([y.size(0), 1], float("inf"), dtype=y.dtype, device=y.device)
        padded = torch.cat([y, beyond], 1)
        for i in range(0, x.size(0), self.rows):
            part = x[i : i + self.rows]
            cell = self.reached(part)
            near = self.points.index_select(0, cell.clamp(min=0))
            distance, place = self.between(part, padded, near).topk(self.k + 1, dim=1, largest=False)
            result[i : i + self.rows] = near.gather(1, place[:, : self.k])
            tied = distance[:, 1:].eq(distance[:, :-1]).any(1)
            again[i : i + self.rows] = tied.logical_or(cell.lt(0))
        return [result, again]

    def reached(self, x: torch.Tensor) -> torch.Tensor:
        """The cell of each row, -1 where there is none. Result: int64 [n]."""
        columns, node = x.t().contiguous(), torch.zeros([x.size(0)], dtype=torch.int64, device=x.device)
        for i in range(self.levels):
            right = columns[i % columns.size(0)].gt(self.split.index_select(0, node))
            node = self.child.index_select(0, node).add_(right)
        inside = x.ge(self.box[0]).logical_and(x.le(self.box[1])).all(1)
        return torch.where(inside, self.cell.index_select(0, node), -1)


class NoCells(nn.Module):
    """In place of a search by cells where there is none: TorchScript compiles both branches."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> List[torch.Tensor]:  # noqa: UP006
        """Nothing."""
        return [x, y]


class Search(nn.Module):
    """The nearest rows of the table, a block of rows at a time.

    By "euclidean" a float32 matrix product chooses candidates, whose exact distances decide. A row for which rounding
    leaves a doubt, or with equal distances among the nearest, is computed again: exactly, and as the source keeps it.
    """

    start: torch.Tensor
    point: torch.Tensor
    bound: torch.Tensor
    radius: torch.Tensor

    def __init__(self, op: ops.Nearest):
        super().__init__()
        self.between, self.to_centre = Metric(op), Metric(op)
        self.to_centre.true, self.to_centre.single = True, False
        self.k, self.ties, self.stable = op.k, op.ties, op.sort == "introsort" and op.k <= 15
        self.introsort, self.tree, self.metric, self.p = op.sort == "introsort", op.tree, op.metric, float(op.p)
        self.given, self.block, self.extra, self.group = op.metric == "precomputed", BLOCK, EXTRA, GROUP
        count = int(op.table.shape[0])
        table = op.table.value if isinstance(op.table, Const) else np.empty((0, 0))
        self.by_cells = suits(op.metric, table, op.k + 1)
        self.cells = CellSearch(op, table) if self.by_cells else NoCells()
        self.preselect = op.metric == "euclidean" and count >= FEW_ROWS and op.k + EXTRA < count // 2
        leaf = [op.point[a:b] for a, b in zip(op.start[:-1], op.start[1:], strict=True)]
        longest = max(map(len, leaf), default=0)
        point = np.full((len(leaf), longest), count, np.int64)
        for i, points in enumerate(leaf):
            point[i, : len(points)] = points
        self.register_buffer("point", torch.from_numpy(point))
        self.register_buffer("bound", torch.from_numpy(op.bound.copy()))
        self.register_buffer("radius", torch.from_numpy(op.radius.copy()))

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; table: [M, F]; result: int64 [N, k]."""
        y = table.t().contiguous()
        if not self.by_cells:
            return self.by_table(x, table, y)
        result, again = self.cells(x, y)
        if bool(again.any()):
            rows = again.nonzero()[:, 0]
            result.index_copy_(0, rows, self.by_table(x.index_select(0, rows), table, y))
        return result

    def by_table(self, x: torch.Tensor, table: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The nearest among all rows of the table. Result: int64 [N, k]."""
        if self.preselect:
            return self.preselected(x, table, y)
        result = torch.empty([x.size(0), self.k], dtype=torch.int64, device=x.device)
        rows = max(1, self.block // table.size(0))
        for i in range(0, x.size(0), rows):
            result[i : i + rows] = self.exact(x[i : i + rows], y)
        return result

    def preselected(self, x: torch.Tensor, table: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The nearest by candidates. y: the table's transpose; result: int64 [N, k]."""
        centre = table.mean(0, keepdim=True)
        near, close = (x - centre).to(torch.float32), (table - centre).to(torch.float32)
        squares = close.mul(close).sum(1).unsqueeze(0)
        candidate, beyond = self.candidates(near, close.t().contiguous(), squares)
        distance, order = self.between(x, y, candidate).sort(dim=1, stable=True)
        result = candidate.gather(1, order[:, : self.k])
        own = near.mul(near).sum(1)
        doubt = (own + squares.amax()) * ((x.size(1) + 8) * 4.8e-7)
        again = ~(distance[:, self.k] < (beyond + own - doubt).to(torch.float64))
        again = again.logical_or(self.tied(distance[:, : self.k + 1]))
        if bool(again.any()):
            rows = again.nonzero()[:, 0]
            few = max(1, self.block // y.size(1))
            for i in range(0, rows.size(0), few):
                result[rows[i : i + few]] = self.exact(x.index_select(0, rows[i : i + few]), y)
        return result

    def candidates(self, near: torch.Tensor, close: torch.Tensor, squares: torch.Tensor) -> List[torch.Tensor]:  # noqa: UP006
        """The rows of the table that are nearest but for rounding, in their order, and a bound for all others.

        near [N, F] and close [F, M] are the rows and the table less its centre; squares: [1, M]. A bound lacks the
        row's own square, as the products do. Result: int64 [N, k + EXTRA], float32 [N].
        """
        found = torch.empty([near.size(0), self.k + self.extra], dtype=torch.int64, device=near.device)
        beyond = torch.empty([near.size(0)], dtype=near.dtype, device=near.device)
        rows = max(1, 2 * self.block // close.size(1))
        for i in range(0, near.size(0), rows):
            product = torch.addmm(squares, near[i : i + rows], close, alpha=-2.0)
            least, place = self.least_of(product)
            found[i : i + rows] = place.sort(dim=1)[0]
            beyond[i : i + rows] = least.amax(1)
        return [found, beyond]

    def least_of(self, product: torch.Tensor) -> List[torch.Tensor]:  # noqa: UP006
        """The k + EXTRA least products of each row and their places; of a long row, by the least of each group."""
        count, rows = self.k + self.extra, product.size(0)
        groups = product.size(1) // self.group
        if groups < 8 * count:
            values, place = product.topk(count, dim=1, largest=False, sorted=False)
            return [values, place]
        inside = product[:, : groups * self.group].reshape([rows, self.group, groups])
        best = inside.amin(1).topk(count, dim=1, largest=False, sorted=False)[1]
        steps = torch.arange(self.group, device=product.device) * groups
        place = (best.unsqueeze(1) + steps.unsqueeze(1)).reshape([rows, -1])
        rest = torch.arange(groups * self.group, product.size(1), device=product.device).expand([rows, -1])
        place = torch.cat([place, rest], 1)
        values, chosen = product.gather(1, place).topk(count, dim=1, largest=False, sorted=False)
        return [values, place.gather(1, chosen)]

    def tied(self, distance: torch.Tensor) -> torch.Tensor:
        """The rows with equal distances among these, which are sorted. Result: bool [n]."""
        return distance[:, 1:].eq(distance[:, :-1]).any(1)

    def exact(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The nearest of a few rows, from all distances."""
        distance = x if self.given else self.between(x, y, None)
        count = min(self.k + 1, distance.size(1))
        nearest = self.lowest(distance, count)
        if self.ties == "index":
            return nearest[:, : self.k]
        tied = self.tied(distance.gather(1, nearest))
        if bool(tied.any()):
            rows = tied.nonzero()[:, 0]
            nearest[rows, : self.k] = self.kept(x.index_select(0, rows), distance.index_select(0, rows))
        return nearest[:, : self.k]

    def lowest(self, distance: torch.Tensor, count: int) -> torch.Tensor:
        """The places of the lowest distances, of equal ones the first. Result: int64 [n, count]."""
        values = distance.topk(count, dim=1, largest=False)[0]
        last = values[:, count - 1 :]
        if not bool((distance.le(last).sum(1).ne(count)).any()):
            place = distance.topk(count, dim=1, largest=False)[1].sort(dim=1)[0]
            return place.gather(1, distance.gather(1, place).sort(dim=1, stable=True)[1])
        return distance.sort(dim=1, stable=True)[1][:, :count]

    def kept(self, x: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        """What the source keeps of rows with equal distances, in its order. Result: int64 [n, k]."""
        point = torch.arange(distance.size(1), device=x.device).unsqueeze(0).expand_as(distance)
        if self.tree != "":
            point = self.point.index_select(0, self.leaves(x.to(torch.float64)).reshape(-1)).reshape([x.size(0), -1])
            outside = torch.full([x.size(0), 1], float("inf"), dtype=distance.dtype, device=x.device)
            distance = torch.cat([distance, outside], 1).gather(1, point)
        values, point = self.entrants(distance, point)
        values, place = self.heap(values, point)
        if self.ties == "heaps":
            values, place = self.heap(values, place)
        order = values.sort(dim=1, stable=True)[1] if self.stable else self.unstable(values)
        return place.gather(1, order)

    def entrants(self, distance: torch.Tensor, point: torch.Tensor) -> List[torch.Tensor]:  # noqa: UP006
        """The distances that may enter the heap, padded with infinity, and their points; in the order of searching.

        Of the second half of ever longer parts, those below the k-th lowest of the first.
        """
        enters = torch.zeros_like(distance, dtype=torch.bool)
        stop = min(self.k, distance.size(1))
        enters[:, :stop] = True
        best = distance[:, :stop]
        while stop < distance.size(1):
            longer = min(2 * stop, distance.size(1))
            part = distance[:, stop:longer]
            enters[:, stop:longer] = part < best.amax(1, keepdim=True)
            best = torch.cat([best, part], 1).topk(self.k, dim=1, largest=False)[0]
            stop = longer
        count = enters.sum(1)
        row, column = enters.nonzero().unbind(1)
        place = torch.arange(row.size(0), device=row.device) - (count.cumsum(0) - count).index_select(0, row)
        values = torch.full([distance.size(0), int(count.max())], float("inf"), dtype=distance.dtype, device=row.device)
        found = torch.zeros_like(values, dtype=torch.int64)
        values[row, place] = distance[row, column]
        found[row, place] = point[row, column]
        return [values, found]

    def heap(self, values: torch.Tensor, point: torch.Tensor) -> List[torch.Tensor]:  # noqa: UP006
        """Max-heaps of k after all columns went in, one per row; as `ops.sorting.push` does."""
        size = 2 * self.k + 3
        heap = torch.full([values.size(0), size], -float("inf"), dtype=values.dtype, device=values.device)
        kept = torch.zeros_like(heap, dtype=torch.int64)
        heap[:, : self.k] = float("inf")
        for c in range(values.size(1)):
            self.push(heap, kept, values[:, c : c + 1], point[:, c : c + 1])
        return [heap[:, : self.k], kept[:, : self.k]]

    def push(self, heap: torch.Tensor, kept: torch.Tensor, value: torch.Tensor, point: torch.Tensor) -> None:
        """Push one element onto each heap, in place."""
        moving = value < heap[:, :1]
        value, point = torch.where(moving, value, heap[:, :1]), torch.where(moving, point, kept[:, :1])
        place = torch.zeros_like(point)
        levels = self.k
        while levels > 1 and bool(moving.any()):
            left = place * 2 + 1
            on_left, on_right = heap.gather(1, left), heap.gather(1, left + 1)
            child = torch.where(on_left >= on_right, left, left + 1)
            larger = torch.maximum(on_left, on_right)
            moving = moving.logical_and(value < larger)
            heap.scatter_(1, place, torch.where(moving, larger, heap.gather(1, place)))
            kept.scatter_(1, place, torch.where(moving, kept.gather(1, child), kept.gather(1, place)))
            place = torch.where(moving, child, place)
            levels = levels // 2
        heap.scatter_(1, place, value)
        kept.scatter_(1, place, point)

    def unstable(self, values: torch.Tensor) -> torch.Tensor:
        """The order in which the source's sort leaves each row; once for rows that order alike. Result: int64."""
        lower = values.unsqueeze(2) > values.unsqueeze(1)
        pattern, row = torch.unique(lower.sum(2), dim=0, return_inverse=True)
        orders = torch.empty_like(pattern, device=torch.device("cpu"))
        for i in range(pattern.size(0)):
            keys: List[float] = pattern[i].to(torch.float64).tolist()  # noqa: UP006
            order: List[int] = list(range(self.k))  # noqa: UP006
            if self.introsort:
                introsort(keys, order)
            else:
                quicksort(keys, order)
            orders[i] = torch.tensor(order)
        return orders.to(values.device).index_select(0, row)

    def leaves(self, x: torch.Tensor) -> torch.Tensor:
        """The order in which the leaves of the tree are searched: see `ops.distance.leaf_order`."""
        bound = self.node_distances(x)
        far = bound[:, 1::2] > bound[:, 2::2]
        key, first = torch.zeros([x.size(0), 1], dtype=torch.int64, device=x.device), 0
        while key.size(1) < self.point.size(0):
            right_first = far[:, first : first + key.size(1)].to(torch.int64)
            key = torch.stack([key * 2 + right_first, key * 2 + 1 - right_first], 2).reshape([x.size(0), -1])
            first = 2 * first + 1
        return key.argsort(dim=1)

    def node_distances(self, x: torch.Tensor) -> torch.Tensor:
        """Lower bounds of the distances to all nodes: see `ops.distance.node_distances`."""
        if self.tree == "ball":
            return (self.to_centre(x, self.bound[0].t().contiguous(), None) - self.radius).clamp(min=0.0)
        total = torch.zeros([x.size(0), self.bound.size(1)], dtype=x.dtype, device=x.device)
        p = 2.0 if self.metric == "euclidean" else 1.0 if self.metric == "manhattan" else self.p
        for j in range(x.size(1)):
            low, high = self.bound[0, :, j] - x[:, j : j + 1], x[:, j : j + 1] - self.bound[1, :, j]
            gap = ((low + low.abs()) + (high + high.abs())) * 0.5
            total = torch.maximum(total, gap) if self.metric == "chebyshev" else total.add_(gap.pow(p))
        return total


class Ballot(nn.Module):
    """The votes for each class, added vote by vote."""

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes

    def forward(self, label: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """label: int64 [N, K]; weight: float64 [N, K]; result: float64 [N, classes]."""
        result = torch.zeros([label.size(0), self.classes], dtype=weight.dtype, device=weight.device)
        for k in range(label.size(1)):
            result.scatter_add_(1, label[:, k : k + 1], weight[:, k : k + 1])
        return result


class RowSum(nn.Module):
    """The weighted sum of chosen rows of a table, added row by row."""

    def forward(self, table: torch.Tensor, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """table: [M, C]; index: int64 [N, K]; weight: [N, K]; result: [N, C]."""
        total = table.index_select(0, index[:, 0]).mul_(weight[:, :1])
        for k in range(1, index.size(1)):
            total.add_(table.index_select(0, index[:, k]).mul_(weight[:, k : k + 1]))
        return total


class LeastSum(nn.Module):
    """The least sums of chosen rows of a table and what is added to each."""

    def forward(self, table: torch.Tensor, index: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        """table: [M, C]; index: int64 [N, K]; more: [N, K]; result: [N, C]."""
        least = table.index_select(0, index[:, 0]).add_(more[:, :1])
        for k in range(1, index.size(1)):
            least = torch.minimum(least, table.index_select(0, index[:, k]).add_(more[:, k : k + 1]))
        return least


class BarycentreWeights(nn.Module):
    """Weights of chosen rows of a table, by one small linear system a row."""

    def __init__(self, regularization: float):
        super().__init__()
        self.regularization = regularization

    def forward(self, x: torch.Tensor, table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; table: [M, F]; index: int64 [N, K]; result: [N, K]."""
        chosen = table.index_select(0, index.reshape([-1]))
        gap = chosen.reshape([index.size(0), index.size(1), table.size(1)]) - x.unsqueeze(1)
        product = gap.bmm(gap.transpose(1, 2))
        diagonal = product.diagonal(dim1=1, dim2=2)
        trace = diagonal.sum(1, keepdim=True)
        diagonal.add_(torch.where(trace > 0, trace * self.regularization, self.regularization))
        weight = torch.linalg.solve(product, torch.ones_like(gap[:, :, :1]))[:, :, 0]
        return weight / weight.sum(1, keepdim=True)


class MiddleOf(nn.Module):
    """The median of each row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C]; result: [N, 1]."""
        ordered, half = x.sort(dim=1)[0], x.size(1) // 2
        if x.size(1) % 2 == 1:
            return ordered[:, half : half + 1]
        return (ordered[:, half - 1 : half] + ordered[:, half : half + 1]) / 2


@rules.rule(ops.WeightedRows, ops.MinPlus, ops.Barycentre, ops.Median)
def of_rows(op: Op, emitter: "Emitter", *operands: "Proxy") -> "Proxy":
    """Operators that are a module each."""
    if isinstance(op, ops.Barycentre):
        return emitter.call(BarycentreWeights(float(op.regularization)), *operands)
    module = {ops.WeightedRows: RowSum, ops.MinPlus: LeastSum, ops.Median: MiddleOf}[type(op)]
    return emitter.call(module(), *operands)


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


@rules.rule(ops.Nearest)
def nearest(op: ops.Nearest, emitter: "Emitter", x: "Proxy", table: "Proxy") -> "Proxy":
    """The search, as a module."""
    return emitter.call(Search(op), x, table)


@rules.rule(ops.Scatter)
def scatter(op: ops.Scatter, emitter: "Emitter", index: "Proxy", value: "Proxy") -> "Proxy":
    """Zeros, with the values put in."""
    zeros = value.new_zeros([value.size(0), op.columns_])
    return zeros.scatter(1, index, value)


@rules.rule(ops.Votes)
def votes(op: ops.Votes, emitter: "Emitter", label: "Proxy", weight: "Proxy") -> "Proxy":
    """The count, as a module."""
    return emitter.call(Ballot(op.classes), label, weight)
