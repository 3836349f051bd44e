"""Tables of the rows of the batch against each other, in PyTorch: see ops/batch.py."""
# No `from __future__ import annotations`: TorchScript reads the annotations.

import math
from typing import Any

import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import rules


class BatchKernels(nn.Module):
    """The kernel matrix of the rows with each other. Distances come from differences: those of a row to itself are 0.

    Sums over the features are formed in float64.
    """

    def __init__(self, op: ops.BatchKernel):
        super().__init__()
        self.metric, self.gamma, self.coef0, self.degree = op.metric, op.gamma, op.coef0, op.degree
        self.root_3, self.root_5 = math.sqrt(3), math.sqrt(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; result: [N, N]."""
        if self.metric == "polynomial" or self.metric == "sigmoid":
            product = x.matmul(x.t()).mul_(self.gamma).add_(self.coef0)
            return product.tanh() if self.metric == "sigmoid" else product.pow(self.degree)
        if self.metric == "laplacian":
            return torch.cdist(x.to(torch.float64), x.to(torch.float64), 1.0).to(x.dtype).mul(-self.gamma).exp()
        if self.metric.endswith("chi2"):
            sums = self.weighted(x.to(torch.float64)).to(x.dtype)
            return sums.neg() if self.metric == "additive chi2" else sums.mul(-self.gamma).exp()
        wide = x.to(torch.float64)
        return self.of_distances(torch.cdist(wide, wide, 2.0, compute_mode="donot_use_mm_for_euclid_dist")).to(x.dtype)

    def weighted(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of (a - b)^2 / (a + b), feature by feature; 0 where both are 0. [N, N]."""
        total = torch.zeros([x.size(0), x.size(0)], dtype=x.dtype, device=x.device)
        for f in range(x.size(1)):
            a, b = x[:, f : f + 1], x[:, f]
            both = a + b
            total += (a - b).square().div(both.masked_fill(both.eq(0), 1.0))
        return total

    def of_distances(self, distance: torch.Tensor) -> torch.Tensor:
        """The kernels of the Euclidean distance."""
        if self.metric == "rbf":
            return distance.square().mul(-self.gamma).exp()
        if self.metric == "rational quadratic":
            return distance.square().mul(self.gamma).add(1.0).pow(self.degree)
        if self.metric == "periodic":
            return distance.mul(self.gamma).sin().div(self.degree).square().mul(-2.0).exp()
        if self.metric == "matern 0.5":
            return distance.neg().exp()
        if self.metric == "matern 1.5":
            t = distance.mul(self.root_3)
            return (1.0 + t).mul(t.neg().exp())
        t = distance.mul(self.root_5)
        return (1.0 + t + t.square().div(3.0)).mul(t.neg().exp())


class BatchProducts(nn.Module):
    """Each row with each."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x, y: [N, M]; result: [N, N]."""
        return x.matmul(y.t())


class Diagonal(nn.Module):
    """A column as the diagonal of a matrix."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, 1]; result: [N, N]."""
        return torch.diag(x.reshape([-1]))


@rules.rule(ops.BatchKernel)
def batch_kernel(op: ops.BatchKernel, emitter: Any, x: Any) -> Any:
    """The matrix, at once."""
    return emitter.call(BatchKernels(op), x)


@rules.rule(ops.BatchProduct)
def batch_product(op: ops.BatchProduct, emitter: Any, x: Any, y: Any) -> Any:
    """One matrix product."""
    return emitter.call(BatchProducts(), x, y)


@rules.rule(ops.BatchDiagonal)
def batch_diagonal(op: ops.BatchDiagonal, emitter: Any, x: Any) -> Any:
    """By torch.diag."""
    return emitter.call(Diagonal(), x)


@rules.rule(ops.Outer)
def outer(op: ops.Outer, emitter: Any, x: Any) -> Any:
    """A dimension more."""
    return x.unsqueeze(-1) * emitter.constant(op.factors)
