"""Sparse codes of rows over the atoms of a dictionary."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType


class MatchingPursuit(Op):
    """Orthogonal matching pursuit: `count` times the atom closest to what is left of a row, then a least-squares fit.

    products: [N, K] float, of each row with each atom; gram: [K, K], dtype of products, of the atoms with each other.
    Result: [N, K], dtype of products, at most `count` numbers of a row not 0. A row stops early where the next atom was
    taken before, its product squared is below `least`, or it depends on those taken.
    Rounding may choose between atoms that are equally close; exact ties go to the first in the source's order, in which
    an atom that is taken changes places with the first that is not.
    Source: sklearn.linear_model._omp._gram_omp with tol=None.
    """

    products: Op
    gram: Op
    count: int
    least: float

    def infer(self) -> TensorType:
        k = self.products.columns
        if self.gram.shape != (k, k) or self.gram.dtype != self.products.dtype or not 0 < self.count <= k:
            raise GraphTypeError(f"{self.count} steps of MatchingPursuit in {self.products.type} by {self.gram.type}")
        return self.products.type

    def scratch_bytes(self) -> int:
        """The factor of Cholesky twice, and the codes, what is left and the order of the atoms."""
        return (2 * self.count**2 + 6 * self.count + 8 * self.columns) * 8

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        products, gram = operands
        codes = np.zeros_like(products)
        for row, code in zip(products, codes, strict=True):
            atoms, values = self.pursued(row, gram)
            code[atoms] = values
        return codes

    def pursued(self, product: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The atoms that one row takes, and their coefficients. product: [K]."""
        order, left = np.arange(len(product)), product
        factor, values = np.zeros((self.count, self.count), product.dtype), np.empty(0, product.dtype)
        for n in range(self.count):
            place = np.abs(left[order]).argmax()
            atom = order[place]
            if place < n or left[atom] ** 2 < self.least:
                break
            edge = np.linalg.solve(factor[:n, :n], gram[atom, order[:n]])
            rest = gram[atom, atom] - edge @ edge
            if n and rest <= self.least:
                break
            factor[n, :n], factor[n, n] = edge, np.sqrt(rest)
            order[[n, place]] = order[[place, n]]
            lower, taken = factor[: n + 1, : n + 1], order[: n + 1]
            values = np.linalg.solve(lower.T, np.linalg.solve(lower, product[taken]))
            left = product - values @ gram[taken]
        return order[: len(values)], values


class LassoDescent(Op):
    """The codes w of each row that minimise w @ gram @ w / 2 - w @ products + alpha * sum |w|, by coordinate descent.

    products: [N, K] float, of each row with each atom; norm: [N, 1], each row's squared length; gram: [K, K]; all of
    one dtype. Result: [N, K], dtype of products; with `positive` none is below 0. A row goes through its atoms in their
    order, again and again, until the largest change of a code is at most `tol` times the largest code and the duality
    gap at most `tol` times the squared length, `max_iter` times at most. With `screening` atoms that the gap proves to
    be 0 are left out, as scikit-learn does from 1.8 on. Executors and the source agree within about `tol`.
    Source: sklearn.linear_model._cd_fast.enet_coordinate_descent_gram with beta=0, from codes of 0.
    """

    products: Op
    norm: Op
    gram: Op
    alpha: float
    tol: float
    max_iter: int
    positive: bool
    screening: bool

    def infer(self) -> TensorType:
        k, dtype = self.products.columns, self.products.dtype
        fits = self.gram.shape == (k, k) and self.norm.shape == (self.products.shape[0], 1)
        if not fits or {self.gram.dtype, self.norm.dtype} != {dtype} or self.alpha <= 0:
            raise GraphTypeError(f"LassoDescent of {self.products.type}, {self.norm.type} by {self.gram.type}")
        return self.products.type

    def scratch_bytes(self) -> int:
        """The codes, their products with the atoms, which atoms count, and what the gap is found from."""
        return 8 * self.type.row_bytes() + 64

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        products, norm, gram = operands
        codes = np.zeros_like(products)
        for row, length, code in zip(products, norm[:, 0].tolist(), codes, strict=True):
            self.descend(code, row, length, gram)
        return codes

    def descend(self, w: np.ndarray, q: np.ndarray, length: float, gram: np.ndarray) -> None:
        """Improve the codes of one row in place. w, q: [K]."""
        qw, limit = np.zeros_like(w), self.tol * length
        active = gram.diagonal() != 0
        if self.screening:
            gap, slack = self.gap(w, q, qw, length)
            if 0 <= gap <= limit:
                return
            self.screen(w, qw, active, gram, gap, slack)
        for i in range(self.max_iter):
            before = w.copy()
            for j in np.flatnonzero(active):
                self.improve(w, q, qw, gram, j)
            largest, change = np.abs(w).max(), np.abs(w - before).max()
            if largest == 0 or change / largest <= self.tol or i == self.max_iter - 1:
                gap, slack = self.gap(w, q, qw, length)
                if gap <= limit:
                    return
                if self.screening:
                    self.screen(w, qw, active, gram, gap, slack)

    def improve(self, w: np.ndarray, q: np.ndarray, qw: np.ndarray, gram: np.ndarray, j: np.intp) -> None:
        """Minimise along code j."""
        alpha, old = w.dtype.type(self.alpha), w[j]
        slope = q[j] - qw[j] + old * gram[j, j]
        w[j] = np.sign(slope) * max(abs(slope) - alpha, w.dtype.type(0)) / gram[j, j]
        if self.positive and slope < 0:
            w[j] = 0
        qw += (w[j] - old) * gram[j]

    def gap(self, w: np.ndarray, q: np.ndarray, qw: np.ndarray, length: float) -> tuple[float, np.ndarray]:
        """The duality gap, and each atom's product with the dual point, at most 1 in size."""
        residual = q - qw
        largest = (residual if self.positive else np.abs(residual)).max()
        scale = min(1.0, self.alpha / largest) if largest > 0 else 1.0
        rest = length + w @ qw - 2 * (q @ w)
        gap = 0.5 * rest * (1 + scale**2) + self.alpha * np.abs(w).sum() - scale * (length - q @ w)
        return float(gap), residual / max(self.alpha, largest)

    def screen(
        self, w: np.ndarray, qw: np.ndarray, active: np.ndarray, gram: np.ndarray, gap: float, dual: np.ndarray
    ) -> None:
        """Leave out the atoms that are farther from the edge than the gap allows."""
        radius = np.sqrt(2 * abs(gap)) / self.alpha
        out = active & ~((1 - np.abs(dual)) <= radius * np.sqrt(gram.diagonal()))
        qw -= w[out] @ gram[out]
        w[out] = 0
        active[out] = False
