"""The nearest rows of a table in PyTorch: candidates by products or by cells, exact distances of these.

TorchScript compiles these modules, so their annotations are evaluated, not deferred.
"""

from typing import TYPE_CHECKING, List  # noqa: UP035 (TorchScript reads it)

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.cells import cells_of, suits
from tensorml.executors.torch.distance import Metric
from tensorml.executors.torch.heaps import Heaps
from tensorml.executors.torch.rules import rules
from tensorml.graph import Const
from tensorml.ops.distance import BLOCK

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

EXTRA = 4  # candidates beyond the k nearest: among these exact distances decide
FEW_ROWS = 256  # rows of a table below which all distances are computed exactly
CELL_ROWS = 1024  # rows whose lists are compared at once
GROUP = 16  # distances of which the least is taken first


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

    def __init__(self, op: ops.Nearest):
        super().__init__()
        self.between, self.equals = Metric(op), Heaps(op)
        self.k, self.ties, self.given = op.k, op.ties, op.metric == "precomputed"
        self.block, self.extra, self.group = BLOCK, EXTRA, GROUP
        count = int(op.table.shape[0])
        table = op.table.value if isinstance(op.table, Const) else np.empty((0, 0))
        self.by_cells = suits(op.metric, table, op.k + 1)
        self.cells = CellSearch(op, table) if self.by_cells else NoCells()
        self.preselect = op.metric == "euclidean" and count >= FEW_ROWS and op.k + EXTRA < count // 2

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
            nearest[rows, : self.k] = self.equals(x.index_select(0, rows), distance.index_select(0, rows))
        return nearest[:, : self.k]

    def lowest(self, distance: torch.Tensor, count: int) -> torch.Tensor:
        """The places of the lowest distances, of equal ones the first. Result: int64 [n, count]."""
        values = distance.topk(count, dim=1, largest=False)[0]
        last = values[:, count - 1 :]
        if not bool((distance.le(last).sum(1).ne(count)).any()):
            place = distance.topk(count, dim=1, largest=False)[1].sort(dim=1)[0]
            return place.gather(1, distance.gather(1, place).sort(dim=1, stable=True)[1])
        return distance.sort(dim=1, stable=True)[1][:, :count]


@rules.rule(ops.Nearest)
def nearest(op: ops.Nearest, emitter: "Emitter", x: "Proxy", table: "Proxy") -> "Proxy":
    """The search, as a module."""
    return emitter.call(Search(op), x, table)
