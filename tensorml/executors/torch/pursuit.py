"""Matching pursuit in PyTorch: all rows take their next atom together."""
# No `from __future__ import annotations`: TorchScript reads the annotations.

from typing import Any

import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import rules


class Pursuit(nn.Module):
    """A row that has stopped takes atoms of coefficient 0: its factor goes on as a unit matrix."""

    def __init__(self, count: int, least: float):
        super().__init__()
        self.count, self.least = count, least

    def forward(self, products: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
        """products: [N, K]; gram: [K, K]; result: [N, K]."""
        n, k, m = products.size(0), products.size(1), self.count
        order = torch.arange(k, device=products.device).repeat([n, 1])
        factor = torch.eye(m, dtype=products.dtype, device=products.device).repeat([n, 1, 1])
        target = torch.zeros([n, m, 1], dtype=products.dtype, device=products.device)
        stopped = torch.zeros([n], dtype=torch.bool, device=products.device)
        codes, left, diagonal = torch.zeros_like(products), products, gram.diagonal()
        for i in range(m):
            place = left.gather(1, order).abs().argmax(1, keepdim=True)
            atom = order.gather(1, place)
            small = left.gather(1, atom).square() < self.least
            stopped = stopped.logical_or(place.lt(i).logical_or(small).squeeze(1))
            rest = diagonal.take(atom.squeeze(1))
            if i > 0:
                beside = gram.take(atom * k + order.narrow(1, 0, i)).unsqueeze(2)
                lower = factor.narrow(1, 0, i).narrow(2, 0, i)
                edge = torch.linalg.solve_triangular(lower, beside, upper=False).squeeze(2)
                rest = rest - edge.square().sum(1)
                stopped = stopped.logical_or(rest <= self.least)
                factor.select(1, i).narrow(1, 0, i).copy_(edge.masked_fill(stopped.unsqueeze(1), 0.0))
            factor.select(1, i).select(1, i).copy_(rest.sqrt().masked_fill(stopped, 1.0))
            place = place.masked_fill(stopped.unsqueeze(1), i)
            atom = order.gather(1, place)
            moved = order.narrow(1, i, 1).clone()
            order = order.scatter(1, place, moved)
            order.narrow(1, i, 1).copy_(atom)
            taken = products.gather(1, atom).squeeze(1).masked_fill(stopped, 0.0)
            target.select(1, i).copy_(taken.unsqueeze(1))
            lower = factor.narrow(1, 0, i + 1).narrow(2, 0, i + 1)
            values = torch.cholesky_solve(target.narrow(1, 0, i + 1), lower).squeeze(2)
            codes = torch.zeros_like(products).scatter_add(1, order.narrow(1, 0, i + 1), values)
            left = products - codes.matmul(gram)
            if bool(stopped.all()):
                break
        return codes


@rules.rule(ops.MatchingPursuit)
def matching_pursuit(op: ops.MatchingPursuit, emitter: Any, products: Any, gram: Any) -> Any:
    """The loop, as a module."""
    return emitter.call(Pursuit(op.count, float(op.least)), products, gram)
