"""How the matrix of a product is divided into panels of columns, and how these lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

ASIDE = 4  # what a panel takes of each row beside its multiplications, as many of these


@dataclass(frozen=True)
class Panel:
    """Columns of a matrix that are multiplied together: `count` from `begin` on, `times` times one after the other.

    vectors: of each; each: the numbers of a row that are taken at a time.
    """

    begin: int
    count: int
    times: int
    vectors: int
    each: int

    def packed(self, matrix: np.ndarray, lanes: int) -> np.ndarray:
        """The matrix [F, C] as it is read: for each number taken of a row, or each few of them, all lanes.

        The last few numbers end where the row does. Those that the few before have already are 0, and a mask follows,
        without which their products with infinities would be NaN.
        """
        if self.each == 1:
            wide = lanes * self.vectors
            found = np.zeros((self.times, len(matrix), wide), matrix.dtype)
            for k in range(self.times):
                columns = matrix[:, self.begin + k * wide :][:, : self.count]
                found[k, :, : columns.shape[1]] = columns
            return found
        depth, columns = len(matrix), matrix[:, self.begin : self.begin + self.count]
        whole = (depth - 1) // self.each * self.each
        found = np.zeros((whole // self.each + 2, lanes // self.each, self.each), matrix.dtype)
        found[:-2, : self.count] = columns[:whole].reshape(-1, self.each, self.count).transpose(0, 2, 1)
        found[-2, : self.count, whole - depth :] = columns[whole:].T
        found[-1, :, whole - depth :].view(f"i{matrix.itemsize}")[...] = -1
        return found

    def turns(self, depth: int) -> int:
        """How many times numbers are taken of a row, but for the last ones of several."""
        return depth if self.each == 1 else (depth - 1) // self.each


@cache
def panels(depth: int, columns: int, lanes: int) -> tuple[Panel, ...]:
    """How a matrix is divided, from the right: a panel may write beyond its columns what the next one puts right."""
    pairs, whole = columns // lanes // 2, columns // lanes * lanes
    found = [Panel(0, 2 * lanes, pairs, 2, 1)] if pairs else []
    if columns // lanes % 2:
        found.append(Panel(pairs * 2 * lanes, lanes, 1, 1, 1))
    begin = whole
    for count, each in rest(depth, columns - whole, lanes)[1]:
        found.append(Panel(begin, count, 1, 1, each))
        begin += count
    return tuple(found[::-1])


@cache
def rest(depth: int, columns: int, lanes: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The cheapest way to divide less than a vector's columns: what it costs; of each panel its columns, and numbers

    of a row that it takes at a time.
    """
    if not columns:
        return 0, ()
    room = 1 << (columns - 1).bit_length()
    while room < lanes and lanes // room >= depth:  # of so few numbers none are taken twice
        room *= 2
    each = lanes // room
    one = (-(-depth // each) + ASIDE, ((columns, each),))
    if columns <= room // 2 or room == 1:
        return one
    if columns == room or 2 * each >= depth:
        return one
    half, other = rest(depth, room // 2, lanes), rest(depth, columns - room // 2, lanes)
    return min(one, (half[0] + other[0], half[1] + other[1]))
