"""Kernels, and sums over them, as modules. TorchScript compiles them, so their annotations are evaluated."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.torch.rules import FRESH, FUNCTIONS, IN_PLACE, dtype_of, function, rules
from tensorml.ops.kernel import BLOCK, KernelOp

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

FUNCTIONS.update({ops.Sin: torch.sin, ops.Cos: torch.cos, ops.Erf: torch.erf})
IN_PLACE |= {ops.Sin, ops.Cos, ops.Erf}
FRESH |= {ops.Sin, ops.Cos, ops.Erf, ops.Kernel, ops.KernelExpansion, ops.SolveTriangular}
rules.rule(ops.Sin, ops.Cos, ops.Erf)(function)

ROWS = 1024  # rows that meet a block of stored rows, so that their kernel stays in the second-level cache: 4 MiB
FEW_ROWS = 256  # the same where a block is gone over once a feature, beside another one: 1 MiB each
FEW = 16  # features up to which their squared differences are added one by one, faster than by torch.cdist
LOG2_E = math.log2(math.e)  # exp(x) as 2 ** (x LOG2_E): torch.exp2 is twice as fast as torch.exp, measured
TINY = 5e-324  # stands for a sum of 0, over which only 0 is divided


class Kernels(nn.Module):
    """The kernel matrix, or its product with coefficients; a subclass computes the kernel of a block of rows.

    coef: [K, M], empty for the matrix itself. Sums are formed as [K, N]: torch multiplies few columns slowly.
    """

    coef: torch.Tensor

    def __init__(self, op: KernelOp, coef: np.ndarray | None):
        super().__init__()
        self.metric, self.gamma, self.degree = op.metric, op.gamma, op.degree
        self.rows, self.together, self.stored, self.whole = ROWS, BLOCK, len(op.y), coef is None
        self.single, self.dtype, self.room = op.dtype == np.float32, dtype_of(op.dtype), torch.float64
        self.log2_e = LOG2_E
        self.register_buffer("coef", torch.from_numpy(np.zeros((0, 0)) if coef is None else coef.T.copy()))

    def left_side(self, x: torch.Tensor) -> torch.Tensor:
        """The rows of x as `block` takes them."""
        raise NotImplementedError

    def block(self, x: torch.Tensor, start: int, stop: int, out: torch.Tensor) -> torch.Tensor:
        """The kernel between rows that `left_side` made and the stored rows from start to stop. out: room for it."""
        raise NotImplementedError

    def decaying(self, x: torch.Tensor, rate: float) -> torch.Tensor:
        """exp(-rate x), in place."""
        return x.mul_(-rate * self.log2_e).exp2_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, F]; result: [N, M], or [N, K]."""
        if self.whole:
            out = torch.empty([x.size(0), self.stored], dtype=self.room, device=x.device)
            return self.block(self.left_side(x), 0, self.stored, out)
        total = torch.zeros([self.coef.size(0), x.size(0)], dtype=self.dtype, device=x.device)
        room = torch.empty([self.rows * self.together], dtype=self.room, device=x.device)
        for first in range(0, x.size(0), self.rows):
            self.add(self.left_side(x[first : first + self.rows]), total[:, first : first + self.rows], room)
        return total.t()

    def add(self, x: torch.Tensor, total: torch.Tensor, room: torch.Tensor) -> None:
        """Add to the sums of some rows, [K, n], block of stored rows by block of stored rows."""
        for start in range(0, self.stored, self.together):
            stop = min(start + self.together, self.stored)
            out = room[: x.size(0) * (stop - start)].view([x.size(0), stop - start])
            total.addmm_(self.coef[:, start:stop], self.block(x, start, stop, out).t())


class Products(Kernels):
    """Kernels that one matrix product makes: functions of g x.y + c, and of squared distances.

    A squared distance is |x|^2 + |y|^2 - 2 x.y, of rows that were moved by `center`, so that little cancels: |x|^2 and
    1, two columns beside x, meet 1 and |y|^2 beside y. center: [1, F]; y: [F + 2, M]; float64 for distances.
    """

    center: torch.Tensor
    y: torch.Tensor

    def __init__(self, op: KernelOp, coef: np.ndarray | None):
        super().__init__(op, coef)
        self.distances = op.metric in ("rbf", "rational quadratic")
        scale = op.gamma if op.metric == "rational quadratic" else -op.gamma * LOG2_E
        self.factor = 1.0 if self.single else scale
        y = op.y.astype(np.float64) if self.distances else op.y
        self.room = torch.float64 if self.distances else self.dtype
        center = y.mean(axis=0, keepdims=True) if self.distances else np.zeros_like(y, shape=(1, y.shape[1]))
        right = self.right_side(y - center, y.dtype.type(op.gamma), y.dtype.type(op.coef0))
        self.register_buffer("center", torch.from_numpy(center))
        self.register_buffer("y", torch.from_numpy(np.ascontiguousarray(right)))

    @torch.jit.unused
    def right_side(self, y: np.ndarray, gamma: np.generic, coef0: np.generic) -> np.ndarray:
        """What the rows of x, with two columns more, are multiplied by."""
        one, f = np.ones_like(y, shape=(1, len(y))), self.factor
        if self.distances:
            return np.concatenate([y.T * (-2 * f), one * f, f * (y * y).sum(axis=1)[None]])
        return np.concatenate([y.T * gamma, one * 0, one * coef0])

    def left_side(self, x: torch.Tensor) -> torch.Tensor:
        """The rows of x, moved, with two columns more: [N, F + 2]."""
        one = torch.ones([x.size(0), 1], dtype=self.room, device=x.device)
        if self.distances:
            x = x.to(self.room) - self.center
            return torch.cat([x, x.square().sum(1, keepdim=True), one], 1)
        return torch.cat([x, torch.zeros_like(one), one], 1)

    def block(self, x: torch.Tensor, start: int, stop: int, out: torch.Tensor) -> torch.Tensor:
        """The product, and what the kernel makes of it."""
        kernel = torch.mm(x, self.y[:, start:stop], out=out)
        if self.metric == "sigmoid":
            return kernel.tanh_()
        if self.metric == "polynomial":
            return kernel.pow_(self.degree)
        if self.metric == "rbf":
            return self.decaying(kernel.clamp_min_(0.0).to(self.dtype), self.gamma) if self.single else kernel.exp2_()
        if self.single:
            kernel = kernel.clamp_min_(0.0).to(self.dtype).mul_(self.gamma)
        return kernel.add_(1.0).pow_(self.degree)


class Differences(Kernels):
    """Kernels that need each difference of features: distances, laplacian, chi2.

    y: float64 [M, F]; positive: the same, with TINY for 0.
    """

    y: torch.Tensor
    positive: torch.Tensor

    def __init__(self, op: KernelOp, coef: np.ndarray | None):
        super().__init__(op, coef)
        self.root_3, self.root_5 = math.sqrt(3), math.sqrt(5)
        self.rows, self.few = FEW_ROWS, op.y.shape[1] <= FEW
        self.register_buffer("y", torch.from_numpy(op.y.astype(np.float64)))
        self.register_buffer("positive", torch.from_numpy(np.maximum(op.y.astype(np.float64), TINY)))

    def left_side(self, x: torch.Tensor) -> torch.Tensor:
        """The rows of x in float64."""
        return x.to(self.room)

    def block(self, x: torch.Tensor, start: int, stop: int, out: torch.Tensor) -> torch.Tensor:
        """The sums over features, and what the kernel makes of them."""
        sums = self.sums(x, self.y[start:stop], self.positive[start:stop], out).to(self.dtype)
        if self.metric == "additive chi2":
            return sums.neg_()
        if self.metric == "laplacian" or self.metric == "chi2":
            return self.decaying(sums, self.gamma)
        if self.metric == "periodic":
            return self.decaying(sums.mul_(self.gamma).sin_().div_(self.degree).square_(), 2.0)
        return self.matern(sums)

    def matern(self, distance: torch.Tensor) -> torch.Tensor:
        """Of distances, in place."""
        if self.metric == "matern 0.5":
            return self.decaying(distance, 1.0)
        if self.metric == "matern 1.5":
            t = distance.mul_(self.root_3)
            return self.decaying(t.clone(), 1.0).mul_(t.add_(1.0))
        t = distance.mul_(self.root_5)
        return self.decaying(t.clone(), 1.0).mul_(t.square().div_(3.0).add_(t).add_(1.0))

    def sums(self, x: torch.Tensor, y: torch.Tensor, positive: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """[N, m]. Distances not from products: the root would magnify the rounding of a small one."""
        if self.metric == "laplacian":
            return torch.cdist(x, y, 1.0)
        if not self.few and not self.metric.endswith("chi2"):
            return torch.cdist(x, y, 2.0, compute_mode="donot_use_mm_for_euclid_dist")
        out.zero_()
        difference = torch.empty_like(out)
        for f in range(x.size(1)):
            torch.sub(x[:, f : f + 1], y[:, f], out=difference)
            if self.metric.endswith("chi2"):
                out.addcdiv_(difference.square_(), x[:, f : f + 1] + positive[:, f])
            else:
                out.addcmul_(difference, difference)
        return out if self.metric.endswith("chi2") else out.sqrt_()


def module_of(op: KernelOp, coef: np.ndarray | None) -> nn.Module:
    """The module for the operator's kernel."""
    products = op.metric in ("polynomial", "sigmoid", "rbf", "rational quadratic")
    return (Products if products else Differences)(op, coef)


@rules.rule(ops.Kernel)
def kernel(op: ops.Kernel, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """The kernel matrix."""
    return emitter.call(module_of(op, None), x)


@rules.rule(ops.KernelExpansion)
def kernel_expansion(op: ops.KernelExpansion, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """The sum over blocks of stored rows."""
    return emitter.call(module_of(op, op.coef), x)


class TriangularSolve(nn.Module):
    """Solves lower v = b for each row b. lower: [M, M]."""

    lower: torch.Tensor

    def __init__(self, lower: np.ndarray):
        super().__init__()
        self.register_buffer("lower", torch.from_numpy(lower.copy()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, M]; result: [N, M]."""
        return torch.linalg.solve_triangular(self.lower, x.t(), upper=False).t()


@rules.rule(ops.SolveTriangular)
def solve_triangular(op: ops.SolveTriangular, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """LAPACK's solver, all rows of a tile together."""
    return emitter.call(TriangularSolve(np.asarray(op.lower)), x)


class Coupling(nn.Module):
    """The fixed-point iteration of all rows together; those that are done are put aside after each round.

    i, j: int64 [P], the classes of each pair.
    """

    i: torch.Tensor
    j: torch.Tensor

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes
        i, j = np.triu_indices(classes, 1)
        self.register_buffer("i", torch.from_numpy(i))
        self.register_buffer("j", torch.from_numpy(j))

    def matrices(self, x: torch.Tensor) -> torch.Tensor:
        """Q of each row: [K, K, N]."""
        k = self.classes
        r = torch.zeros([k, k, x.size(0)], dtype=x.dtype, device=x.device)
        r[self.i, self.j] = x.t()
        r[self.j, self.i] = 1 - x.t()
        q = -r * r.transpose(0, 1)
        diagonal = r.square().sum(0)
        for t in range(k):
            q[t, t] = diagonal[t]
        return q

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, P]; result: [N, K]."""
        k, q = self.classes, self.matrices(x)
        result = torch.full([k, x.size(0)], 1.0 / k, dtype=x.dtype, device=x.device)
        p, place = result.clone(), torch.arange(x.size(0), device=x.device)
        for _ in range(max(100, k)):
            qp = (q * p).sum(1)
            pqp = (p * qp).sum(0)
            going = (qp - pqp).abs().amax(0).lt(0.005 / k).logical_not().nonzero().reshape([-1])
            if going.size(0) < place.size(0):
                result.index_copy_(1, place, p)
                q, p, qp = q.index_select(2, going), p.index_select(1, going), qp.index_select(1, going)
                pqp, place = pqp.take(going), place.take(going)
            if place.size(0) == 0:
                break
            self.improve(q, p, qp, pqp)
        result.index_copy_(1, place, p)
        return result.t()

    def improve(self, q: torch.Tensor, p: torch.Tensor, qp: torch.Tensor, pqp: torch.Tensor) -> None:
        """One round, in place, class after class."""
        for t in range(self.classes):
            step = (pqp - qp[t]) / q[t, t]
            p[t].add_(step)
            more = 1 + step
            pqp = (pqp + step * (step * q[t, t] + 2 * qp[t])) / more / more
            qp.add_(q[t] * step).div_(more)
            p.div_(more)


@rules.rule(ops.PairwiseCoupling)
def pairwise_coupling(op: ops.PairwiseCoupling, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """The iteration, by columns."""
    return emitter.call(Coupling(op.classes), x)


class Convolution(nn.Module):
    """The circular convolution, through the Fourier transform, which knows no batch of no rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, D, C]; result: [N, C]."""
        if x.size(0) == 0:
            return x.sum(1)
        return torch.real(torch.fft.ifft(torch.fft.fft(x, dim=2).prod(1), dim=1)).clone()


@rules.rule(ops.CircularProduct)
def circular_product(op: ops.CircularProduct, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """Through the Fourier transform."""
    return emitter.call(Convolution(), x)
