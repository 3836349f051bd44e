"""What PyTorch does for operators made of exponentials."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import FRESH, FUNCTIONS, IN_PLACE, MANY, function, rules

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

FUNCTIONS[ops.Tanh] = torch.tanh
IN_PLACE.add(ops.Tanh)
FRESH.update({ops.Tanh, ops.LogSumExp})
rules.rule(ops.Tanh)(function)


class RowLogSumExp(nn.Module):
    """The logarithm of each row's sum of exponentials, with its largest elements apart from the others."""

    def __init__(self, by_rows: bool):
        super().__init__()
        self.by_rows = by_rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C]; result: [N, 1]. A few columns are reduced one below the other, which is faster."""
        x = x if self.by_rows else x.t().contiguous()
        dim = 1 if self.by_rows else 0
        top = x.amax(dim, keepdim=True)
        largest = x.eq(top)
        shift = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
        rest = x.sub(shift).exp_().masked_fill_(largest, 0.0).sum(dim, keepdim=True)
        count = largest.sum(dim, keepdim=True).to(x.dtype)
        ratio = torch.where(rest.eq(0), rest, rest / count)
        return (torch.log1p(ratio) + torch.log(count) + top).reshape([-1, 1])


@rules.rule(ops.LogSumExp)
def log_sum_exp(op: ops.LogSumExp, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """As the reference: the largest elements apart."""
    return emitter.call(RowLogSumExp(op.x.columns >= MANY), x)
