"""Operators on neighbours that were found, in PyTorch.

TorchScript compiles these modules, so their annotations are evaluated, not deferred.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import rules

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter


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


@rules.rule(ops.WeightedRows)
def weighted_rows(op: ops.WeightedRows, emitter: "Emitter", *operands: "Proxy") -> "Proxy":
    """The sum, as a module."""
    return emitter.call(RowSum(), *operands)


@rules.rule(ops.MinPlus)
def min_plus(op: ops.MinPlus, emitter: "Emitter", *operands: "Proxy") -> "Proxy":
    """The least sums, as a module."""
    return emitter.call(LeastSum(), *operands)


@rules.rule(ops.Barycentre)
def barycentre(op: ops.Barycentre, emitter: "Emitter", *operands: "Proxy") -> "Proxy":
    """The linear systems, as a module."""
    return emitter.call(BarycentreWeights(float(op.regularization)), *operands)


@rules.rule(ops.Scatter)
def scatter(op: ops.Scatter, emitter: "Emitter", index: "Proxy", value: "Proxy") -> "Proxy":
    """Zeros, with the values put in."""
    zeros = value.new_zeros([value.size(0), op.columns_])
    return zeros.scatter(1, index, value)


@rules.rule(ops.Votes)
def votes(op: ops.Votes, emitter: "Emitter", label: "Proxy", weight: "Proxy") -> "Proxy":
    """The count, as a module."""
    return emitter.call(Ballot(op.classes), label, weight)
