"""Weights of fixed components: iterative solvers, each with its source's own stop rule.

The stop rules of matrix factorization sum over the whole batch, so that the weights of a row depend on the other rows:
these operators declare `whole_batch`, and such a graph is not computed in tiles.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType

SMALL = float(np.finfo(np.float32).eps)  # sklearn.decomposition._nmf.EPSILON, whatever the dtype
TINY = float(np.finfo(np.float64).eps)
CHECKED = 10  # iterations between two looks at the divergence
EULER = 0.577215664901532860606512090082402431


class NonNegativeDescent(Op):
    """The weights w >= 0 of each row that minimise w @ gram @ w / 2 - w @ linear, by coordinate descent from 0.

    linear: [N, K] float; gram: [K, K], dtype of linear; order: int64 [R, K], the coordinates of iteration i are
    order[i % R]. It stops after the iteration in which the sum of the projected gradients over all rows is at most
    `tol` times that of the first one. Result: [N, K], dtype of linear.
    The order of summation is the executor's own: rounding may move the stop by one iteration.
    Source: sklearn.decomposition._nmf._fit_coordinate_descent, _cdnmf_fast._update_cdnmf_fast.
    """

    whole_batch: ClassVar[bool] = True

    linear: Op
    gram: Op
    order: np.ndarray
    tol: float
    max_iter: int

    def infer(self) -> TensorType:
        k = self.linear.columns
        if self.gram.shape != (k, k) or self.gram.dtype != self.linear.dtype or self.order.shape[1:] != (k,):
            raise GraphTypeError(f"NonNegativeDescent does not take {self.linear.type} and {self.gram.type}")
        return self.linear.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        linear, gram = operands
        weights, first = np.zeros_like(linear), 0.0
        for i in range(self.max_iter):
            violation = sum(descended(weights, linear, gram, t) for t in self.order[i % len(self.order)])
            first = first if i else violation
            if first == 0 or violation / first <= self.tol:
                break
        return weights


def descended(weights: np.ndarray, linear: np.ndarray, gram: np.ndarray, t: int) -> float:
    """Minimise along coordinate t, in place; the sum of the projected gradients before that, over all rows."""
    gradient = weights @ gram[t] - linear[:, t]
    projected = np.where(weights[:, t] == 0, np.minimum(gradient, 0), gradient)
    if gram[t, t] != 0:
        weights[:, t] = np.maximum(weights[:, t] - gradient / gram[t, t], 0)
    return float(np.abs(projected).sum(dtype=np.float64))


class MultiplicativeUpdates(Op):
    """The weights of each row that bring weights @ components close to it in a beta-divergence, all at first the same.

    x: [N, F] float, not negative; components: [K, F] float. Result: [N, K], dtype of x. They start at
    sqrt(mean of the batch / K). l1, l2: the penalties; gamma: the exponent of an update. It stops after `max_iter`
    iterations or, if `tol` is positive, by `divergence`: whether, every 10th iteration, the divergence of the batch has
    fallen by less than `tol` times the first one; else whether the weights have changed by at most `tol` times their
    norm. With `divergence` and beta 1 the penalty l1 is added anew in each iteration, and for beta below 1 weights
    below epsilon become 0: so does the source.
    The order of summation is the executor's own: rounding may move the stop to the next check.
    Source: sklearn.decomposition._nmf._fit_multiplicative_update, MiniBatchNMF._solve_W.
    """

    whole_batch: ClassVar[bool] = True

    x: Op
    components: Op
    beta: float
    l1: float
    l2: float
    gamma: float
    tol: float
    max_iter: int
    divergence: bool

    def infer(self) -> TensorType:
        match self.x.shape, self.components.shape:
            case (n, f), (k, g) if f == g and self.x.dtype.kind == self.components.dtype.kind == "f":
                return TensorType((n, k), self.x.dtype)
        raise GraphTypeError(f"MultiplicativeUpdates does not take {self.x.type} and {self.components.type}")

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, h = operands
        if not len(x):
            return np.empty((0, len(h)), x.dtype)
        with np.errstate(all="ignore"):
            weights = np.full((len(x), len(h)), np.sqrt(x.mean() / len(h)), x.dtype)
            first = previous = self.error(x, weights, h)
            sums = h.sum(axis=1)
            for i in range(1, self.max_iter + 1):
                old = weights
                sums = sums + self.l1 if self.divergence or i == 1 else sums
                weights = (old * self.factor(x, old, h, sums)).astype(x.dtype)
                if self.divergence and self.beta < 1:
                    weights[weights < TINY] = 0
                if self.divergence and self.tol > 0 and i % CHECKED == 0:
                    error = self.error(x, weights, h)
                    if (previous - error) / first < self.tol:
                        break
                    previous = error
                changed = np.linalg.norm(weights - old) / np.linalg.norm(weights)
                if not self.divergence and self.tol > 0 and changed <= self.tol:
                    break
        return weights

    def factor(self, x: np.ndarray, weights: np.ndarray, h: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """What the weights are multiplied with. sums: [K], of the components' rows, with the penalty l1.

        Source: sklearn.decomposition._nmf._multiplicative_update_w.
        """
        if self.beta == 2:
            numerator, denominator = x @ h.T, weights @ (h @ h.T) + self.l1
        else:
            product = weights @ h
            safe = np.where(product < SMALL, SMALL, product) if self.beta < 2 else product
            numerator = (x / safe if self.beta == 1 else safe ** (self.beta - 2) * x) @ h.T
            base = safe if self.beta < 1 else product
            denominator = sums[None, :] if self.beta == 1 else base ** (self.beta - 1) @ h.T + self.l1
        denominator = denominator + self.l2 * weights if self.l2 > 0 else denominator
        factor = numerator / np.where(denominator == 0, SMALL, denominator)
        return factor if self.gamma == 1 else factor**self.gamma

    def error(self, x: np.ndarray, weights: np.ndarray, h: np.ndarray) -> float:
        """The square root of twice the divergence of the batch.

        Source: sklearn.decomposition._nmf._beta_divergence.
        """
        product = weights @ h
        if self.beta == 2:
            return float(np.linalg.norm(x - product))
        total, kept = product, x > SMALL
        x, product = x[kept], np.maximum(product[kept], SMALL)
        if self.beta == 1:
            result = x @ np.log(x / product) + total.sum() - x.sum()
        elif self.beta == 0:
            result = (x / product).sum() - total.size - np.log(x / product).sum()
        else:
            result = (x**self.beta).sum() - self.beta * (x @ product ** (self.beta - 1))
            result = (result + (total**self.beta).sum() * (self.beta - 1)) / (self.beta * (self.beta - 1))
        return float(np.sqrt(2 * max(result, 0)))


class TopicWeights(Op):
    """The variational weights of the topics in each row of counts, until they change by less than `tol` on average.

    x: [N, F] float, not negative; topics: [K, F], dtype of x, the exponential of the expected logarithm; prior: of a
    document's topics. Result: [N, K], dtype of x, not normalised. Each row stops by itself, after `max_iter` iterations
    at the latest. Rounding may move a row's stop by one iteration.
    Source: sklearn.decomposition._lda._update_doc_distribution, _online_lda_fast.
    """

    x: Op
    topics: Op
    prior: float
    max_iter: int
    tol: float

    def infer(self) -> TensorType:
        match self.x.shape, self.topics.shape:
            case (n, f), (k, g) if f == g and self.x.dtype == self.topics.dtype:
                return TensorType((n, k), self.x.dtype)
        raise GraphTypeError(f"TopicWeights does not take {self.x.type} and {self.topics.type}")

    def scratch_bytes(self) -> int:
        """The rows that go on, the probabilities of their words, and their quotient; a few numbers per topic."""
        return (3 * self.x.columns + 8 * self.columns) * self.dtype.itemsize

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, topics = operands
        weights = np.ones((len(x), len(topics)), x.dtype)
        expected = np.exp(psi(weights) - psi(weights.sum(axis=1, keepdims=True)))
        going = np.arange(len(x))
        for _ in range(self.max_iter):
            e = expected[going]
            new = e * ((x[going] / (e @ topics + np.finfo(x.dtype).eps)) @ topics.T) + x.dtype.type(self.prior)
            expected[going] = np.exp(psi(new) - psi(new.sum(axis=1, keepdims=True)))
            change = np.abs(weights[going] - new).mean(axis=1, dtype=np.float64)
            weights[going] = new
            going = going[change >= self.tol]
            if not len(going):
                break
        return weights


def psi(x: np.ndarray) -> np.ndarray:
    """The digamma function of positive numbers, as scikit-learn approximates it: to about 1e-9.

    Source: sklearn.decomposition._online_lda_fast.psi: six steps up, then a series.
    """
    near_zero, start = x <= 1e-6, x
    result = np.zeros_like(x)
    for _ in range(6):
        low = x < 6
        result = np.where(low, result - 1 / x, result)
        x = np.where(low, x + 1, x).astype(x.dtype)
    r = 1 / x
    result = result + np.log(x) - 0.5 * r
    r = r * r
    result = result - r * ((1 / 12) - r * ((1 / 120) - r * (1 / 252)))
    return np.where(near_zero, -EULER - 1 / start, result).astype(x.dtype)
