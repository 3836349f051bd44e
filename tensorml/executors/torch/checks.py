"""What PyTorch does for operators that refuse values. A check is a module that passes its input on, or raises.

TorchScript compiles the modules, so annotations are evaluated, not deferred.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.torch.rules import rules

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter


class FiniteCheck(nn.Module):
    """Passes x on if it is finite (with `nan`: or NaN). A sum tells it cheaply, elements only if the sum overflows."""

    def __init__(self, nan: bool, about_nan: str, about_infinity: str):
        super().__init__()
        self.nan, self.about_nan, self.about_infinity = nan, about_nan, about_infinity

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is passed on is x itself. Raises InputError."""
        total = float((x.view([-1]) if x.is_contiguous() else x).sum())
        if math.isfinite(total):
            return x
        if not self.nan and bool(torch.isnan(x).any()):
            raise InputError(self.about_nan)
        if bool(torch.isinf(x).any()):
            raise InputError(self.about_infinity)
        return x


@rules.rule(ops.Finite)
def finite(op: ops.Finite, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """The check, as a module that raises."""
    return emitter.call(FiniteCheck(op.nan, op.message(infinity=False), op.message(infinity=True)), x)


class WithinCheck(nn.Module):
    """Passes x on if each column is in its range."""

    low: torch.Tensor
    high: torch.Tensor
    never_nan: torch.Tensor

    def __init__(self, op: ops.Within):
        super().__init__()
        for name in ("low", "high"):
            self.register_buffer(name, torch.from_numpy(getattr(op, name).copy()))
        self.register_buffer("never_nan", torch.from_numpy(~op.nan))
        self.some = bool((~op.nan).any())
        self.about_nan, self.about_infinity = op.message(infinity=False), op.message(infinity=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is passed on is x itself. Raises InputError."""
        if self.some and bool((torch.isnan(x) & self.never_nan).any()):
            raise InputError(self.about_nan)
        if bool((x < self.low).any()) or bool((x > self.high).any()):
            raise InputError(self.about_infinity)
        return x


@rules.rule(ops.Within)
def within(op: ops.Within, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """The check, as a module that raises."""
    return emitter.call(WithinCheck(op), x)


class RequireCheck(nn.Module):
    """Passes x on if the condition holds everywhere."""

    def __init__(self, message: str):
        super().__init__()
        self.message = message

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """What is passed on is x itself. Raises InputError."""
        if not bool(condition.all()):
            raise InputError(self.message)
        return x


@rules.rule(ops.Require)
def require(op: ops.Require, emitter: "Emitter", x: "Proxy", condition: "Proxy") -> "Proxy":
    """The check, as a module that raises."""
    return emitter.call(RequireCheck(op.message), x, condition)
