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


class Lasso(nn.Module):
    """Coordinate descent of all rows together, [K, N]; those that are done are put aside after each round.

    left: each atom's product with what the codes leave of a row.
    """

    def __init__(self, op: ops.LassoDescent):
        super().__init__()
        self.alpha, self.tol, self.max_iter = op.alpha, op.tol, op.max_iter
        self.positive, self.screening = op.positive, op.screening

    def forward(self, products: torch.Tensor, norm: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
        """products: [N, K]; norm: [N, 1]; gram: [K, K]; result: [N, K]."""
        q, length = products.t().contiguous(), norm.reshape([-1])
        w, left, result = torch.zeros_like(q), q.clone(), torch.zeros_like(q)
        hessian: list[float] = gram.diagonal().to(torch.float64).tolist()
        active = gram.diagonal().ne(0).unsqueeze(1).repeat([1, q.size(1)])
        place = torch.arange(q.size(1), device=q.device)
        going = torch.ones_like(length, dtype=torch.bool)
        if self.screening:
            gap, dual = self.gap(w, q, left, length)
            going = gap.ge(0).logical_and(gap.le(length * self.tol)).logical_not()
            self.screen(w, left, active, gram, gap, dual, going)
        for i in range(self.max_iter):
            if not bool(going.all()):
                kept = going.nonzero().reshape([-1])
                w, q, left = w.index_select(1, kept), q.index_select(1, kept), left.index_select(1, kept)
                active, length, place = active.index_select(1, kept), length.take(kept), place.take(kept)
            if place.size(0) == 0:
                break
            before = w.clone()
            for j, size in enumerate(hessian):
                if size != 0.0:
                    self.improve(w[j], left, active[j], gram[j], j, size)
            largest, change = w.abs().amax(0), (w - before).abs().amax(0)
            looked = largest.eq(0).logical_or((change / largest).le(self.tol))
            if i == self.max_iter - 1:
                looked = torch.ones_like(looked)
            going = torch.ones_like(looked)
            if bool(looked.any()):
                gap, dual = self.gap(w, q, left, length)
                going = looked.logical_and(gap.le(length * self.tol)).logical_not()
                if self.screening:
                    self.screen(w, left, active, gram, gap, dual, looked.logical_and(going))
            result.index_copy_(1, place, w)
        return result.t()

    def improve(
        self, w: torch.Tensor, left: torch.Tensor, active: torch.Tensor, beside: torch.Tensor, j: int, size: float
    ) -> None:
        """Minimise along code j, w [N], in place, where the atom counts. beside: its products with all atoms, [K]."""
        slope = torch.add(left[j], w, alpha=size)
        if self.positive:
            new = slope.sub_(self.alpha).clamp_min_(0.0)
        else:
            new = torch.nn.functional.softshrink(slope, self.alpha)
        new = torch.where(active, new.div_(size), w)
        left.addr_(beside, new - w, alpha=-1.0)
        w.copy_(new)

    def gap(
        self, w: torch.Tensor, q: torch.Tensor, left: torch.Tensor, length: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The duality gaps, [N], and the atoms' products with the dual points, [K, N]."""
        largest = left.amax(0) if self.positive else left.abs().amax(0)
        scale = (self.alpha / largest).clamp_max(1.0).masked_fill(largest.le(0), 1.0)
        inner = (q * w).sum(0)
        rest = length + (w * (q - left)).sum(0) - 2.0 * inner
        gap = 0.5 * rest * (1.0 + scale.square()) + self.alpha * w.abs().sum(0) - scale * (length - inner)
        return gap, left / largest.clamp_min(self.alpha)

    def screen(
        self,
        w: torch.Tensor,
        left: torch.Tensor,
        active: torch.Tensor,
        gram: torch.Tensor,
        gap: torch.Tensor,
        dual: torch.Tensor,
        where: torch.Tensor,
    ) -> None:
        """Leave out the atoms that are farther from the edge than the gap allows, in place, in some rows."""
        radius = gap.abs().mul(2.0).sqrt().div(self.alpha) * gram.diagonal().sqrt().unsqueeze(1)
        out = active.logical_and((1.0 - dual.abs()).le(radius).logical_not()).logical_and(where)
        left.add_(gram.t().matmul(w.masked_fill(out.logical_not(), 0.0)))
        w.masked_fill_(out, 0.0)
        active.logical_and_(out.logical_not())


@rules.rule(ops.LassoDescent)
def lasso_descent(op: ops.LassoDescent, emitter: Any, products: Any, norm: Any, gram: Any) -> Any:
    """The loop, as a module."""
    return emitter.call(Lasso(op), products, norm, gram)
