"""The order of equal distances in PyTorch: heaps as the source keeps them, one per row, all filled at once.

TorchScript compiles this module, so its annotations are evaluated, not deferred.
"""

from typing import List  # noqa: UP035 (TorchScript reads it)

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.distance import Metric
from tensorml.ops.sorting import introsort, quicksort

SORTED = 15  # nearest rows up to which the source's introsort keeps the order of equal ones


class Heaps(nn.Module):
    """What the source keeps of rows that have equal distances among the nearest: see `ops.Nearest`."""

    point: torch.Tensor
    bound: torch.Tensor
    radius: torch.Tensor

    def __init__(self, op: ops.Nearest):
        super().__init__()
        self.to_centre = Metric(op)
        self.to_centre.true, self.to_centre.single = True, False
        self.k, self.ties, self.stable = op.k, op.ties, op.sort == "introsort" and op.k <= SORTED
        self.introsort, self.tree, self.metric, self.p = op.sort == "introsort", op.tree, op.metric, float(op.p)
        leaf = [op.point[a:b] for a, b in zip(op.start[:-1], op.start[1:], strict=True)]
        longest = max(map(len, leaf), default=0)
        point = np.full((len(leaf), longest), int(op.table.shape[0]), np.int64)
        for i, points in enumerate(leaf):
            point[i, : len(points)] = points
        self.register_buffer("point", torch.from_numpy(point))
        self.register_buffer("bound", torch.from_numpy(op.bound.copy()))
        self.register_buffer("radius", torch.from_numpy(op.radius.copy()))

    def forward(self, x: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        """x: [n, F]; distance: [n, M], to all rows of the table; result: int64 [n, k], in the source's order."""
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
        """The order in which the leaves of the tree are searched: see `ops.nearest.leaf_order`."""
        bound = self.node_distances(x)
        far = bound[:, 1::2] > bound[:, 2::2]
        key, first = torch.zeros([x.size(0), 1], dtype=torch.int64, device=x.device), 0
        while key.size(1) < self.point.size(0):
            right_first = far[:, first : first + key.size(1)].to(torch.int64)
            key = torch.stack([key * 2 + right_first, key * 2 + 1 - right_first], 2).reshape([x.size(0), -1])
            first = 2 * first + 1
        return key.argsort(dim=1)

    def node_distances(self, x: torch.Tensor) -> torch.Tensor:
        """Lower bounds of the distances to all nodes: see `ops.nearest.node_distances`."""
        if self.tree == "ball":
            return (self.to_centre(x, self.bound[0].t().contiguous(), None) - self.radius).clamp(min=0.0)
        total = torch.zeros([x.size(0), self.bound.size(1)], dtype=x.dtype, device=x.device)
        p = 2.0 if self.metric == "euclidean" else 1.0 if self.metric == "manhattan" else self.p
        for j in range(x.size(1)):
            low, high = self.bound[0, :, j] - x[:, j : j + 1], x[:, j : j + 1] - self.bound[1, :, j]
            gap = ((low + low.abs()) + (high + high.abs())) * 0.5
            total = torch.maximum(total, gap) if self.metric == "chebyshev" else total.add_(gap.pow(p))
        return total
