"""Columns at their places in a wider row, in PyTorch: see ops/placement.py."""
# No `from __future__ import annotations`: TorchScript reads the annotations.

from typing import Any

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import rules


class Placed(nn.Module):
    """A copy of the columns into zeros."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """x: [N, C]; places: int64 [C]; result: [N, width]."""
        return x.new_zeros([x.size(0), self.width]).index_copy_(1, places, x)


@rules.rule(ops.Place)
def place(op: ops.Place, emitter: Any, x: Any) -> Any:
    """The copy, as a module."""
    return emitter.call(Placed(op.width), x, emitter.constant(np.asarray(op.places, np.int64)))
