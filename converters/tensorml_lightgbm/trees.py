"""LightGBM's trees as a Forest.

A row goes left at a numeric node if its value, in float64, is at most the threshold. What is read as 0 (up to 1e-35
in float32, and NaN where the node's missing type is not NaN) falls on one side of every threshold, so thresholds in
that band stand at its edges. Category sets send rows left.

**Source:** Tree::NumericalDecision, CategoricalDecision (include/LightGBM/tree.h),
RowPairFunctionFromDenseMatric (src/c_api.cpp), which leaves out values in the band.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tensorml.converter import Model, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Abs, Columns, Concat, LessOrEqual, Rank, Where, cast
from tensorml.trees import Forest, below, code_dtype
from tensorml_lightgbm.text import Linear, ModelText, on_sets

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
EDGE = float(np.float32(1e-35))  # kZeroThreshold in include/LightGBM/meta.h
UNDER = float(np.nextafter(-EDGE, -np.inf))  # x > UNDER: x is in the band or above it
LARGEST_TABLE = 2**29  # bytes
WIDE_TABLE = 2**10  # a table of more categories than that holds only those that occur in a set
ZERO, NAN = 1, 2  # MissingType in include/LightGBM/bin.h


@dataclass(frozen=True)
class Ensemble:
    """Trees ready for the graph.

    forest: over columns that `columns` lays out; values: float64 [L, 1]; output: int64 [T]; number: int32 [L], each
    leaf's number within its tree; banded: the features that nodes read with NaN for what is 0; coded: those read as
    codes of large categories, with their boundaries; linear: None, or the leaves' linear models.
    """

    forest: Forest
    values: np.ndarray
    output: np.ndarray
    number: np.ndarray
    banded: np.ndarray
    coded: Mapping[int, np.ndarray]
    linear: Linear | None

    @cached_property
    def narrow(self) -> Forest:
        """The forest for float32 values, which go the same ways."""
        return replace(self.forest, threshold=below(self.forest.threshold, FLOAT32))

    def descend(self, x: Op) -> Op:
        """The leaf that each row reaches in each tree. x: [N, F] float32 or float64; result: int32 [N, T]."""
        forest = self.narrow if x.dtype == FLOAT32 else self.forest
        return forest.descend(columns(self, x))


def columns(trees: Ensemble, x: Op) -> Op:
    """What the nodes read: x, then some columns with NaN for what is 0, then codes of large categories."""
    parts = [x]
    if len(trees.banded):
        values = Columns(x, trees.banded)
        parts.append(Where(in_band(values), Const(np.array(np.nan, x.dtype)), values))
    parts += [coded(x, feature, boundaries) for feature, boundaries in trees.coded.items()]
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def in_band(x: Op) -> Op:
    """Where x is so near to 0 that LightGBM reads 0. Result: bool."""
    return LessOrEqual(Abs(x), Const(np.array(EDGE, x.dtype)))


def coded(x: Op, feature: int, boundaries: np.ndarray) -> Op:
    """The number of boundaries that a column has reached, 0 for NaN, in the dtype of x. [N, 1]."""
    limits = rounded_up(boundaries, x.dtype)
    offsets = np.array([0, len(limits)])
    return cast(Rank(x, np.array([feature]), limits, offsets, np.array([0]), code_dtype(len(limits))), x.dtype)


def rounded_up(boundaries: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """For each boundary the smallest number of `dtype` that is not less."""
    near = boundaries.astype(dtype)
    return np.where(near.astype(FLOAT64) < boundaries, np.nextafter(near, dtype.type(np.inf)), near).astype(dtype)


def ensemble(model: Model, text: ModelText, start: int, stop: int) -> Ensemble:
    """The trees of the iterations start to stop, of which there is at least one."""
    part = iterations(text, start, stop)
    sizes = 2 * part.leaves - 1
    roots = np.cumsum(sizes) - sizes
    inner, leaf = _places(part, roots)
    owner = np.repeat(np.arange(len(roots)), part.leaves - 1)
    categorical = on_sets(part)
    feature, threshold, nan_right, banded = _numeric(part, categorical)
    sets, tables, coded_features = _categories(model, part, categorical)
    feature[categorical] = _set_columns(part, categorical, len(banded), coded_features)
    forest = Forest(
        roots=roots,
        feature=_spread(feature, inner, sizes.sum(), 0),
        threshold=_spread(threshold, inner, sizes.sum(), 0.0),
        nan_right=_spread(nan_right, inner, sizes.sum(), False),
        left=_children(part, part.left, roots, owner, inner),
        right=_children(part, part.right, roots, owner, inner),
        category=_spread(sets, inner, sizes.sum(), -1),
        tables=tables,
        truncate_negative=True,
        strict=True,
    )
    return Ensemble(
        forest=forest,
        values=part.value[:, None],
        output=np.arange(len(roots)) % part.outputs,
        number=(leaf - np.repeat(roots + part.leaves - 1, part.leaves)).astype(np.int32),
        banded=banded,
        coded=coded_features,
        linear=part.linear,
    )


def iterations(text: ModelText, start: int, stop: int) -> ModelText:
    """The model with the iterations start to stop alone."""
    trees = slice(start * text.outputs, stop * text.outputs)
    nodes, leaves, sets = (_span(counts, trees) for counts in (text.leaves - 1, text.leaves, text.sets))
    return replace(
        text,
        leaves=text.leaves[trees],
        feature=text.feature[nodes],
        threshold=text.threshold[nodes],
        decision=text.decision[nodes],
        left=text.left[nodes],
        right=text.right[nodes],
        value=text.value[leaves],
        sets=text.sets[trees],
        set_words=text.set_words[sets],
        words=text.words[_span(text.set_words, sets)],
        linear=None if text.linear is None else _linear_part(text.linear, trees, leaves),
    )


def _linear_part(linear: Linear, trees: slice, leaves: slice) -> Linear | None:
    pairs = _span(linear.count, leaves)
    if not linear.tree[trees].any():
        return None
    parts = linear.constant[leaves], linear.count[leaves], linear.feature[pairs], linear.coefficient[pairs]
    return Linear(linear.tree[trees], *parts)


def _span(counts: np.ndarray, chosen: slice) -> slice:
    """Where the items of the chosen owners lie, of which each has so many."""
    ends = np.cumsum(counts[: chosen.stop], dtype=np.int64)
    start = int(ends[chosen.start - 1]) if chosen.start else 0
    return slice(start, int(ends[-1]) if len(ends) else 0)


def _places(part: ModelText, roots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The node numbers of inner nodes and of leaves: a tree's inner nodes in their order, then its leaves."""
    before = np.cumsum(part.leaves) - part.leaves  # leaves of the trees before, and as many inner nodes but one a tree
    inner = np.arange(len(part.feature)) + np.repeat(before, part.leaves - 1)
    leaf = np.arange(len(part.value)) + np.repeat(before + part.leaves - 1 - np.arange(len(roots)), part.leaves)
    return inner, leaf


def _spread(values: np.ndarray, places: np.ndarray, size: int, fill: float) -> np.ndarray:
    """The values at their places, and `fill` at the others."""
    result = np.full(size, fill, values.dtype)
    result[places] = values
    return result


def _children(
    part: ModelText, child: np.ndarray, roots: np.ndarray, owner: np.ndarray, inner: np.ndarray
) -> np.ndarray:
    """Node numbers of children, -1 at leaves. int64 [M]."""
    own = np.where(child >= 0, child, part.leaves[owner] - 2 - child)  # ~c is -1 - c; leaves come after inner nodes
    return _spread(own + roots[owner], inner, int((2 * part.leaves - 1).sum()), -1)


def _numeric(part: ModelText, categorical: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of inner nodes: column, threshold, whether NaN goes right; and the features of the banded columns.

    What is 0 goes where 0 does, or, with missing type Zero, to the default side. Where that is not the side of its
    neighbours, the node reads a column with NaN in its place.
    """
    missing, default_left = (part.decision >> 2) & 3, part.decision & 2 != 0
    zero_right = part.threshold < 0
    threshold = _outside_band(part.threshold, zero_right)
    to_right = np.where(missing == ZERO, ~default_left, zero_right)
    other_side = (to_right != zero_right) & ~categorical
    at_edge = np.abs(part.threshold) <= EDGE
    threshold = np.where(other_side & at_edge, np.where(to_right, UNDER, EDGE), threshold)
    reads_banded = other_side & ~at_edge
    nan_right = np.where(missing == NAN, ~default_left, to_right)
    banded = np.unique(part.feature[reads_banded]).astype(np.int64)
    feature = part.feature.astype(np.int64)
    feature[reads_banded] = part.features + np.searchsorted(banded, feature[reads_banded])
    return feature, threshold, nan_right, banded


def _outside_band(threshold: np.ndarray, zero_right: np.ndarray) -> np.ndarray:
    """Thresholds among what is read as 0 moved to the edge of that band, by the side to which 0 goes."""
    return np.where(np.abs(threshold) > EDGE, threshold, np.where(zero_right, UNDER, EDGE))


def _categories(
    model: Model, part: ModelText, categorical: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """The category sets as `Forest.category` of inner nodes and `Forest.tables`; equal ones are one.

    Third: the boundaries of the features whose categories are numbered anew.
    """
    category = np.full(len(categorical), -1, np.int64)
    if not categorical.any():
        return category, np.empty((0, 2), np.uint8), {}
    owner = np.repeat(np.arange(len(part.leaves)), part.leaves - 1)[categorical]
    number = (np.cumsum(part.sets) - part.sets)[owner] + part.threshold[categorical].astype(np.int64)
    ends = np.cumsum(part.set_words)
    members = _members(part)
    features = part.feature[categorical]
    coded_features = {int(f): _boundaries(members, number[features == f]) for f in np.unique(features)}
    coded_features = {f: boundaries for f, boundaries in coded_features.items() if len(boundaries)}
    known: dict[tuple[bytes, int], int] = {}
    rows: list[np.ndarray] = []
    for node, k, feature in zip(np.flatnonzero(categorical), number, features, strict=True):
        boundaries = coded_features.get(int(feature))
        key = (part.words[ends[k] - part.set_words[k] : ends[k]].tobytes(), -1 if boundaries is None else int(feature))
        if key not in known:
            own = members[0][members[1][k] : members[1][k + 1]]
            rows.append(own if boundaries is None else np.searchsorted(boundaries, own, side="right"))
        category[node] = known.setdefault(key, len(known))
    return category, _tables(model, rows), coded_features


def _members(part: ModelText) -> tuple[np.ndarray, np.ndarray]:
    """The categories of all sets, set after set, ascending; and where each set begins, with the end. int64."""
    used = np.flatnonzero(part.words)  # few where categories are large numbers
    bits = np.unpackbits(part.words[used].astype("<u4").view(np.uint8), bitorder="little").reshape(-1, 32)
    row, bit = np.nonzero(bits)
    ends = np.cumsum(part.set_words)
    owner = np.searchsorted(ends, used[row], side="right")
    starts = np.searchsorted(owner, np.arange(len(ends) + 1))
    return 32 * (used[row] - (ends - part.set_words)[owner]) + bit, starts


def _boundaries(members: tuple[np.ndarray, np.ndarray], sets: np.ndarray) -> np.ndarray:
    """Where the categories of these sets begin and end as numbers, if some are large; else none. float64.

    Category k is the numbers from k up to but not including k + 1; 0 is those above -1.
    """
    value, starts = members
    each = [value[starts[k] : starts[k + 1]] for k in np.unique(sets)]
    known = np.unique(np.concatenate(each))
    if not len(known) or known[-1] < WIDE_TABLE:
        return np.empty(0)
    limits = np.unique(np.concatenate([known, known + 1])).astype(FLOAT64)
    return np.where(limits == 0, np.nextafter(-1.0, 0.0), limits)


def _tables(model: Model, rows: list[np.ndarray]) -> np.ndarray:
    """A row for each set: 0 for its categories, 1 for all else, which goes right. uint8 [sets, categories + 2]."""
    size = max(int(row.max(initial=-1)) for row in rows) + 1
    if len(rows) * (size + 2) > LARGEST_TABLE:
        raise unsupported(
            model,
            f"{len(rows)} sets of up to {size} categories",
            "Train on fewer categories, or with larger min_data_per_group and smaller max_cat_threshold",
        )
    tables = np.ones((len(rows), size + 2), np.uint8)
    for table, members in zip(tables, rows, strict=True):
        table[members] = 0
    return tables


def _set_columns(
    part: ModelText, categorical: np.ndarray, banded: int, coded_features: Mapping[int, np.ndarray]
) -> np.ndarray:
    """The columns that nodes with category sets read. int64."""
    column = {feature: part.features + banded + i for i, feature in enumerate(coded_features)}
    features = part.feature[categorical].astype(np.int64)
    for feature, place in column.items():
        features[part.feature[categorical] == feature] = place
    return features
