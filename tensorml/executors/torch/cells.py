"""Space in cells, each with the few rows of a table that can be among the nearest to a row in it. NumPy, at lowering.

A row walks from the box of all cells to its own by comparing one feature a level with a number. A cell's list leaves
out only what is farther from all of the cell than `count` others are, so that the nearest of the list are the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

METRICS = ("euclidean", "manhattan", "chebyshev")
FEW = 256  # rows of a table that is searched without cells
MANY = {1: 20_000, 2: 20_000, 3: 5_000}  # rows, by features, of the longest one with cells: a second or two to build
COUNT = 16  # nearest rows up to which lists are short
LISTED = {1: 3, 2: 5, 3: 10}  # rows in a list for each that is asked for, by features; with more, lists are too long
ENTRIES = 2**21  # of all lists together: 16 MiB
MARGIN = 1 + 1e-9  # for the rounding of distances to boxes
LEVELS = 40


@dataclass
class Cells:
    """A tree of boxes, its nodes numbered level by level; level l compares feature l % F.

    box: [2, F], of all cells. split: float64 [nodes], infinite where the walk ends; child: int64 [nodes], the lower
    child, or the node itself; cell: int64 [nodes], the number of its list, -1 if it has none. points: int64 [cells, C],
    the lists, filled up with the table's length. While it is built these are parts of the arrays, a part for a level.
    """

    box: np.ndarray
    split: list[np.ndarray] = field(default_factory=list)
    child: list[np.ndarray] = field(default_factory=list)
    cell: list[np.ndarray] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    levels: int = 0

    def walk(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers and nodes: split, child, cell."""
        return np.concatenate(self.split), np.concatenate(self.child), np.concatenate(self.cell)


@dataclass(frozen=True)
class Level:
    """The boxes of one level, [n, 2, F], and the points that may be near to each: owner, point: int64 [E], sorted."""

    boxes: np.ndarray
    owner: np.ndarray
    point: np.ndarray

    def within_reach(self, metric: str, table: np.ndarray, count: int) -> Level:
        """Without the points that are farther from all of a box than `count` others."""
        box, rows = self.boxes[self.owner], table[self.point]
        low, high = rows - box[:, 0], rows - box[:, 1]
        near = surrogate(metric, np.maximum(np.maximum(-low, high), 0))
        far = surrogate(metric, np.maximum(np.abs(low), np.abs(high)))
        kept = near <= self.kth(far, count)[self.owner] * MARGIN
        return Level(self.boxes, self.owner[kept], self.point[kept])

    def kth(self, distance: np.ndarray, count: int) -> np.ndarray:
        """The distance from each box that `count` of its points do not exceed. distance: [E]."""
        longest = int(self.lengths().max())
        if len(self.boxes) * longest > 8 * len(self.owner):  # lists of very different lengths
            starts = np.searchsorted(self.owner, np.arange(len(self.boxes)))
            return distance[np.lexsort((distance, self.owner))[starts + count - 1]]
        each = np.full((len(self.boxes), longest), np.inf)
        each[self.owner, self.places()] = distance
        return np.partition(each, count - 1, axis=1)[:, count - 1]

    def places(self) -> np.ndarray:
        """The place of each point among those of its box."""
        starts = np.searchsorted(self.owner, np.arange(len(self.boxes)))
        return np.arange(len(self.owner)) - starts[self.owner]

    def lengths(self) -> np.ndarray:
        """The number of each box's points."""
        return np.bincount(self.owner, minlength=len(self.boxes))

    def lists(self, chosen: np.ndarray, width: int, fill: int) -> np.ndarray:
        """The points of the chosen boxes, filled up to the width."""
        result = np.full((len(self.boxes), width), fill, np.int64)
        mine = chosen[self.owner]
        result[self.owner[mine], self.places()[mine]] = self.point[mine]
        return result[chosen]

    def middles(self, feature: int) -> np.ndarray:
        """Where to halve each box. Halves of equal size keep their shape, so that what is near to one stays little."""
        low, high = self.boxes[:, 0, feature], self.boxes[:, 1, feature]
        return low + (high - low) / 2

    def halves(self, halved: np.ndarray, split: np.ndarray, feature: int) -> Level:
        """The next level: two boxes for each that is halved."""
        boxes = self.boxes[halved].repeat(2, axis=0)
        boxes[::2, 1, feature] = boxes[1::2, 0, feature] = split[halved]
        rank = np.cumsum(halved) - 1
        mine = halved[self.owner]
        lower, point = 2 * rank[self.owner[mine]], self.point[mine]
        owner = np.concatenate([lower, lower + 1])
        order = np.argsort(owner, kind="stable")
        return Level(boxes, owner[order], np.concatenate([point, point])[order])


def suits(metric: str, table: np.ndarray, count: int) -> bool:
    """Whether cells make the search for `count` rows of this table shorter."""
    rows, features = table.shape
    fits = FEW <= rows <= MANY.get(features, 0) and count <= COUNT
    return fits and metric in METRICS and table.dtype == np.float64 and bool(np.isfinite(table).all())


def cells_of(metric: str, table: np.ndarray, count: int) -> Cells:
    """The cells for the `count` nearest rows of a table."""
    rows, features = table.shape
    low, high = table.min(axis=0), table.max(axis=0)
    margin = np.where(high > low, (high - low) / 8, 1.0)
    found = Cells(np.stack([low - margin, high + margin]))
    level = Level(found.box[None], np.zeros(rows, np.int64), np.arange(rows))
    width, first, cells = LISTED[features] * count, 0, 0
    while len(level.boxes):
        level, feature = level.within_reach(metric, table, count), found.levels % features
        short = level.lengths() <= width
        listed = (cells + 2 * len(level.boxes)) * width + len(level.owner)
        room = listed < ENTRIES and found.levels < LEVELS
        halved, split = ~short & room, level.middles(feature)
        number = first + np.arange(len(short))
        first += len(short)
        found.split.append(np.where(halved, split, np.inf))
        found.child.append(np.where(halved, first + 2 * (np.cumsum(halved) - 1), number))
        found.cell.append(np.where(short, cells + np.cumsum(short) - 1, -1))
        found.points.append(level.lists(short, width, rows))
        cells += int(short.sum())
        level = level.halves(halved, split, feature)
        found.levels += 1
    found.points.append(np.full((1, width), rows))  # never none at all
    return found


def surrogate(metric: str, gap: np.ndarray) -> np.ndarray:
    """What orders as the distance does. gap: [E, F], not negative."""
    with np.errstate(over="ignore"):
        if metric == "chebyshev":
            return gap.max(axis=1)
        return (gap * gap if metric == "euclidean" else gap).sum(axis=1)
