"""What PyTorch does for missing values from the nearest rows."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import rules

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter


class NearestDonors(nn.Module):
    """Squared distances of the rows that miss something to all stored rows; then each column's nearest donors' mean."""

    donors: torch.Tensor
    values: torch.Tensor
    means: torch.Tensor
    filled: torch.Tensor
    squares: torch.Tensor
    present: torch.Tensor
    norms: torch.Tensor

    def __init__(self, op: ops.NeighborImputation):
        super().__init__()
        rows, present = op.rows, ~np.isnan(op.rows)
        donors = [np.flatnonzero(present[:, k]) for k in range(rows.shape[1])]
        self.counts = [len(d) for d in donors]
        self.starts = [int(n) for n in np.cumsum([0, *self.counts])]
        self.neighbors, self.weighted = op.neighbors, op.weighted
        filled = np.where(present, rows, 0).astype(rows.dtype)
        with np.errstate(over="ignore"):
            squares = filled * filled
        self.register_buffer("donors", torch.from_numpy(np.concatenate(donors)))
        self.register_buffer("values", torch.from_numpy(np.concatenate([filled[d, k] for k, d in enumerate(donors)])))
        self.register_buffer("means", torch.from_numpy(op.means.astype(rows.dtype)))
        self.register_buffer("filled", torch.from_numpy(np.ascontiguousarray(filled.T)))
        self.register_buffer("squares", torch.from_numpy(np.ascontiguousarray(squares.T)))
        self.register_buffer("present", torch.from_numpy(np.ascontiguousarray(present.T).astype(rows.dtype)))
        self.register_buffer("norms", torch.from_numpy((filled.astype(np.float64) ** 2).sum(axis=1)))

    def squared_distances(self, x: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """x, missing: [N, F]. Result: [N, M], NaN where the rows have nothing in common; infinity is a distance.

        No roots are taken: torch's are not always rounded to the nearest number, so that they could change the order.
        """
        x = x.masked_fill(missing, 0.0)
        wide = x.to(torch.float64)
        d = wide.matmul(self.filled.to(torch.float64)).mul_(-2.0)
        d = d.add_((wide * wide).sum(1, keepdim=True)).add_(self.norms).clamp_(min=0.0).to(x.dtype)
        d = d.sub_((x * x).matmul(1.0 - self.present)).sub_(missing.to(x.dtype).matmul(self.squares)).clamp_(min=0.0)
        count = missing.logical_not().to(x.dtype).matmul(self.present)
        d = d.div_(count.clamp(min=1.0)).mul_(float(x.size(1)))
        return d.masked_fill_(count.eq(0.0), float("nan"))

    def imputed(self, d: torch.Tensor, values: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """d: squared distances [N, donors]; values: [donors]. Result: [N]."""
        near, nearest = torch.topk(d, min(self.neighbors, d.size(1)), 1, False, False)  # NaN counts as the largest
        known = torch.isnan(near).logical_not()
        weights = known.to(d.dtype)
        if self.weighted:
            weights = (1.0 / near.to(torch.float64).sqrt().to(d.dtype)).masked_fill(known.logical_not(), 0.0)
            at_zero = torch.isinf(weights)
            weights = torch.where(at_zero.any(1, keepdim=True), at_zero.to(d.dtype), weights)
        total = weights.sum(1)
        result = ((values.take(nearest) * weights).sum(1) / total).masked_fill(total.eq(0.0), 0.0)
        return torch.where(known.any(1), result, mean)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; result: [N, F]."""
        missing = torch.isnan(x)
        rows = missing.any(1).nonzero().reshape([-1])
        result = x.clone()
        if rows.numel() == 0:
            return result
        lacks = missing.index_select(0, rows)
        d = self.squared_distances(x.index_select(0, rows), lacks)
        for k in range(x.size(1)):
            receivers = lacks.select(1, k).nonzero().reshape([-1])
            if self.counts[k] > 0 and receivers.numel() > 0:
                donors = self.donors.narrow(0, self.starts[k], self.counts[k])
                near = d.index_select(0, receivers).index_select(1, donors)
                values = self.values.narrow(0, self.starts[k], self.counts[k])
                value = self.imputed(near, values, self.means.select(0, k))
                result.select(1, k).index_copy_(0, rows.index_select(0, receivers), value)
        return result


@rules.rule(ops.NeighborImputation)
def neighbor_imputation(op: ops.NeighborImputation, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """A module that looks at the rows with NaN alone."""
    return emitter.call(NearestDonors(op), x)
