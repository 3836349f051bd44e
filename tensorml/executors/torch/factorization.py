"""Weights of fixed components in PyTorch: see ops/factorization.py. Row blocks stay in the caches."""
# No `from __future__ import annotations`: TorchScript reads the annotations.

from typing import Any

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import rules
from tensorml.ops.factorization import CHECKED, EULER, SMALL, TINY

BLOCK = 8192  # rows of a block of weights
ELEMENTS = 125_000  # elements of a block of rows


class Descent(nn.Module):
    """Coordinate descent, a block of rows after the other in each iteration."""

    def __init__(self, tol: float, max_iter: int, block: int):
        super().__init__()
        self.tol, self.max_iter, self.block = tol, max_iter, block

    def forward(self, linear: torch.Tensor, gram: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """linear: [N, K]; gram: [K, K]; order: int64 [R, K]; result: [N, K]."""
        target = linear.t().neg().contiguous()
        weights = torch.zeros_like(target)
        hessian: list[float] = gram.diagonal().to(torch.float64).tolist()
        first = torch.zeros([], dtype=torch.float64, device=linear.device)
        for i in range(self.max_iter):
            violation = torch.zeros([], dtype=torch.float64, device=linear.device)
            for start in range(0, linear.size(0), self.block):
                size = min(self.block, linear.size(0) - start)
                w, b = weights.narrow(1, start, size).contiguous(), target.narrow(1, start, size)
                coordinates: list[int] = order[i % order.size(0)].tolist()
                violation = violation + self.sweep(w, b, gram, coordinates, hessian)
                weights.narrow(1, start, size).copy_(w)
            if i == 0:
                first = violation
            if bool(first == 0) or bool(violation / first <= self.tol):
                break
        return weights.t()

    def sweep(
        self,
        weights: torch.Tensor,
        target: torch.Tensor,
        gram: torch.Tensor,
        coordinates: list[int],
        hessian: list[float],
    ) -> torch.Tensor:
        """Minimise along each coordinate, in place; the sum of the projected gradients.

        weights: [K, B]; target: [K, B], negative.
        """
        total = torch.zeros([], dtype=torch.float64, device=weights.device)
        for t in coordinates:
            gradient = torch.addmv(target[t], weights.t(), gram[t])
            current = weights[t]
            inactive = gradient.gt(0).logical_and_(current.eq(0))
            total = total + gradient.abs().masked_fill_(inactive, 0.0).sum(dtype=torch.float64)
            if hessian[t] != 0.0:
                current.sub_(gradient.div_(hessian[t])).clamp_(min=0.0)
        return total


class Multiplicative(nn.Module):
    """Multiplicative updates, a block of rows after the other in each iteration.

    Weights lie by columns, one component after the other: products with the components take a third of the time so.
    """

    def __init__(
        self,
        beta: float,
        penalties: list[float],
        gamma: float,
        tol: float,
        max_iter: int,
        divergence: bool,
        block: int,
    ):
        super().__init__()
        self.beta, self.l1, self.l2, self.gamma = beta, penalties[0], penalties[1], gamma
        self.tol, self.max_iter, self.divergence, self.block = tol, max_iter, divergence, block
        self.small: float = SMALL
        self.tiny: float = TINY
        self.checked: int = CHECKED

    def forward(self, x: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; components: [K, F]; result: [N, K], dtype of x."""
        gram, sums = components.matmul(components.t()), components.sum(1)
        h = components.to(torch.promote_types(x.dtype, components.dtype))
        gram, sums = gram.to(h.dtype), sums.to(h.dtype)
        products = h.matmul(x.to(h.dtype).t()).t() if self.beta == 2.0 else x
        mean = (x.mean() / components.size(0)).sqrt()
        weights = (torch.ones([components.size(0), x.size(0)], dtype=x.dtype, device=x.device) * mean).t()
        first = self.error(x, weights, h)
        previous = first
        for i in range(1, self.max_iter + 1):
            if self.divergence or i == 1:
                sums = sums + self.l1
            change, norm = self.step(products, weights, h, gram, sums)
            if self.tol > 0.0:
                if self.divergence:
                    if i % self.checked == 0:
                        error = self.error(x, weights, h)
                        if bool((previous - error) / first < self.tol):
                            break
                        previous = error
                elif bool(change.sqrt() / norm.sqrt() <= self.tol):
                    break
        return weights

    def step(
        self, x: torch.Tensor, weights: torch.Tensor, h: torch.Tensor, gram: torch.Tensor, sums: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One update of all weights, in place; the sums of squares of their change and of themselves.

        x: the rows; for beta = 2 their products with the components.
        """
        change = torch.zeros([], dtype=torch.float64, device=x.device)
        norm = torch.zeros([], dtype=torch.float64, device=x.device)
        for start in range(0, x.size(0), self.block):
            size = min(self.block, x.size(0) - start)
            old = weights.narrow(0, start, size)
            factor = self.factor(x.narrow(0, start, size).to(h.dtype), old.to(h.dtype), h, gram, sums)
            new = (old * factor).to(x.dtype)
            if self.divergence and self.beta < 1.0:
                new = torch.where(new < self.tiny, torch.zeros_like(new), new)
            if not self.divergence:
                change = change + (new - old).square().sum(dtype=torch.float64)
                norm = norm + new.square().sum(dtype=torch.float64)
            old.copy_(new)
        return change, norm

    def factor(
        self, x: torch.Tensor, weights: torch.Tensor, h: torch.Tensor, gram: torch.Tensor, sums: torch.Tensor
    ) -> torch.Tensor:
        """What the weights of a block are multiplied with. x: as for `step`."""
        if self.beta == 2.0:
            numerator, denominator = x, gram.matmul(weights.t()).t()
            denominator = denominator + self.l1 if self.l1 > 0.0 else denominator
        else:
            product = weights.matmul(h)
            if self.beta == 1.0:
                numerator = h.matmul(torch.div(x, product.clamp_(min=self.small)).t()).t()
                denominator = sums.unsqueeze(0)
            else:
                safe = product.clamp(min=self.small) if self.beta < 2.0 else product
                numerator = h.matmul(safe.pow(self.beta - 2.0).mul_(x).t()).t()
                base = safe if self.beta < 1.0 else product
                denominator = h.matmul(base.pow(self.beta - 1.0).t()).t() + self.l1
        if self.l2 > 0.0:
            denominator = denominator + self.l2 * weights
        factor = numerator / denominator.masked_fill(denominator == 0, self.small)
        return factor if self.gamma == 1.0 else factor.pow(self.gamma)

    def error(self, x: torch.Tensor, weights: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """The square root of twice the divergence of the batch, float64; 0 where it is not asked for."""
        total = torch.zeros([], dtype=torch.float64, device=x.device)
        if not self.divergence or self.tol <= 0.0:
            return total
        for start in range(0, x.size(0), self.block):
            size = min(self.block, x.size(0) - start)
            rows = x.narrow(0, start, size).to(h.dtype)
            total = total + self.block_error(rows, weights.narrow(0, start, size).to(h.dtype).matmul(h))
        if self.beta != 2.0:
            total = 2.0 * total.clamp(min=0.0)
        return total.sqrt()

    def block_error(self, x: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
        """The divergence of a block; for beta = 2 twice that."""
        if self.beta == 2.0:
            return product.sub_(x).square_().sum(dtype=torch.float64)
        kept = x > self.small
        if self.beta == 1.0:
            total = product.sum(1).sum(dtype=torch.float64)  # by rows first: sums in a wider dtype copy what they add
            logs = torch.div(x, product.clamp_(min=self.small)).log_().mul_(x).sub_(x)
            return total + torch.where(kept, logs, torch.zeros_like(logs)).sum(1).sum(dtype=torch.float64)
        some, near = x[kept], product[kept].clamp(min=self.small)
        if self.beta == 0.0:
            ratio = some / near
            return ratio.sum(dtype=torch.float64) - float(x.numel()) - ratio.log().sum(dtype=torch.float64)
        result = some.pow(self.beta).sum(dtype=torch.float64)
        result = result - self.beta * (some * near.pow(self.beta - 1.0)).sum(dtype=torch.float64)
        result = result + product.pow(self.beta).sum(dtype=torch.float64) * (self.beta - 1.0)
        return result / (self.beta * (self.beta - 1.0))


class Topics(nn.Module):
    """Variational inference of topics; the rows that have not stopped go on together."""

    def __init__(self, prior: float, max_iter: int, tol: float, eps: float):
        super().__init__()
        self.prior, self.max_iter, self.tol, self.eps = prior, max_iter, tol, eps
        self.euler: float = EULER

    def forward(self, x: torch.Tensor, topics: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; topics: [K, F]; result: [N, K]."""
        result = torch.ones([x.size(0), topics.size(0)], dtype=x.dtype, device=x.device)
        back = topics.t()
        rows, counts, weights = torch.arange(x.size(0), device=x.device), x, result
        expected = self.expected(weights)
        for _ in range(self.max_iter):
            new = expected * (counts / expected.matmul(topics).add(self.eps)).matmul(back) + self.prior
            expected = self.expected(new)
            going = (weights - new).abs().mean(1, dtype=torch.float64) >= self.tol
            weights = new
            if not bool(going.all()):
                result = result.index_copy(0, rows, weights)
                kept = going.nonzero().squeeze(1)
                if kept.size(0) == 0:
                    return result
                rows, counts = rows.index_select(0, kept), counts.index_select(0, kept)
                weights, expected = weights.index_select(0, kept), expected.index_select(0, kept)
        return result.index_copy(0, rows, weights)

    def expected(self, weights: torch.Tensor) -> torch.Tensor:
        """The exponential of the expected logarithm of each topic's share. [N, K]."""
        return (self.psi(weights) - self.psi(weights.sum(1, keepdim=True))).exp()

    def psi(self, x: torch.Tensor) -> torch.Tensor:
        """The digamma function, as scikit-learn approximates it."""
        near_zero = -self.euler - 1.0 / x
        small = x <= 1e-6
        result = torch.zeros_like(x)
        for _ in range(6):
            low = x < 6.0
            result = torch.where(low, result - 1.0 / x, result)
            x = torch.where(low, x + 1.0, x)
        r = 1.0 / x
        result = result + x.log() - 0.5 * r
        r = r * r
        result = result - r * ((1.0 / 12.0) - r * ((1.0 / 120.0) - r * (1.0 / 252.0)))
        return torch.where(small, near_zero, result)


@rules.rule(ops.NonNegativeDescent)
def non_negative_descent(op: ops.NonNegativeDescent, emitter: Any, linear: Any, gram: Any) -> Any:
    """The loop, as a module."""
    order = emitter.constant(np.asarray(op.order, np.int64))
    return emitter.call(Descent(float(op.tol), int(op.max_iter), BLOCK), linear, gram, order)


@rules.rule(ops.MultiplicativeUpdates)
def multiplicative_updates(op: ops.MultiplicativeUpdates, emitter: Any, x: Any, components: Any) -> Any:
    """The loop, as a module."""
    penalties, block = [float(op.l1), float(op.l2)], max(64, ELEMENTS // op.x.columns)
    module = Multiplicative(
        float(op.beta), penalties, float(op.gamma), float(op.tol), int(op.max_iter), bool(op.divergence), block
    )
    return emitter.call(module, x, components)


@rules.rule(ops.TopicWeights)
def topic_weights(op: ops.TopicWeights, emitter: Any, x: Any, topics: Any) -> Any:
    """The loop, as a module."""
    eps = float(np.finfo(op.dtype).eps)
    return emitter.call(Topics(float(op.prior), int(op.max_iter), float(op.tol), eps), x, topics)
