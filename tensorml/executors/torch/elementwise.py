"""Functions of each element by NumPy's own loops, where these are faster than torch's: see decision 0011."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.lib.introspect import opt_func_info
from torch import nn

from tensorml import ops
from tensorml.graph import Op

# On AVX-512, 115,000 elements: 1.2 to 30 times as fast as torch. Not here: exp2, which is as fast in torch.
LOOPS: dict[type[Op], np.ufunc] = {
    ops.Sqrt: np.sqrt,
    ops.Exp: np.exp,
    ops.Expm1: np.expm1,
    ops.Log: np.log,
    ops.Log1p: np.log1p,
    ops.Log2: np.log2,
    ops.Log10: np.log10,
    ops.Sin: np.sin,
    ops.Cos: np.cos,
    ops.Tan: np.tan,
    ops.Tanh: np.tanh,
    ops.Sinh: np.sinh,
    ops.Cosh: np.cosh,
    ops.Atan: np.arctan,
    ops.Asinh: np.arcsinh,
}
NARROW = {ops.Sin, ops.Cos}  # of float32 alone: of float64 they take NumPy three times as long as torch
AVX512 = {"AVX512_SKX", "X86_V4"}  # NumPy's names of the instructions, before and since 2.4
THREADS = 2  # torch shares the elements among its threads, and is as fast with so many


@cache
def loops_of(name: str) -> dict[str, str]:
    """The instructions that NumPy computes a function with on this machine, by the letters of its dtypes."""
    found = opt_func_info(func_name=f"^{name}$").get(name, {})
    return {letters[0]: targets["current"] for letters, targets in found.items()}


def by_numpy(op: Op) -> bool:
    """Whether NumPy computes the operator with instructions that make it faster than torch."""
    known = type(op) in LOOPS and (op.dtype == np.float32 or (op.dtype == np.float64 and type(op) not in NARROW))
    if not known or isinstance(op, ops.Sqrt):  # an instruction of every processor, where MKL's is off by a bit
        return known
    return loops_of(LOOPS[type(op)].__name__).get(op.dtype.char, "") in AVX512


class Elementwise(nn.Module):
    """One function, by NumPy on the CPU where torch has few threads, else by torch. Bits are the source's by NumPy."""

    def __init__(self, loop: np.ufunc, function: Callable[[torch.Tensor], torch.Tensor], overwrite: bool):
        super().__init__()
        self.loop, self.function, self.overwrite = loop, function, overwrite

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: of any shape, overwritten if nobody else needs it. Result: the same shape and dtype."""
        if x.device.type != "cpu" or torch.get_num_threads() > THREADS:
            return self.function(x)
        array = x.numpy()
        with np.errstate(all="ignore"):
            return torch.from_numpy(self.loop(array, array) if self.overwrite else self.loop(array))
