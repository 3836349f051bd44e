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
