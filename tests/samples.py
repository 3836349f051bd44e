"""A graph for every operator, and inputs that try it. A new operator gets its samples here and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tensorml import ops
from tensorml.graph import Const, Input, Op, TensorType
from tensorml.ops.kernel import METRICS as KERNELS

N = 37
TINY = np.finfo(np.float64).tiny
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, 1e-45, 1e308, -1e308, 1.0, -1.0, TINY]


def batch(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of `rows` rows by name: floats of three widths with special values, integers, bools, codes."""
    rng = np.random.default_rng(seed)
    special = rng.normal(size=(rows, 4)) * 10.0 ** rng.integers(-3, 4, size=(rows, 4))
    holes = rng.random((rows, 4)) < 0.3
    special[holes] = rng.choice(SPECIAL, holes.sum())
    plain = rng.normal(size=(rows, 4))
    with np.errstate(over="ignore"):
        return {
            "special": special,
            "special32": special.astype(np.float32),
            "plain": plain,
            "plain32": plain.astype(np.float32),
            "half": plain.astype(np.float16),
            "positive": np.abs(plain) + 0.1,
            "integer": rng.integers(-5, 6, size=(rows, 4)),
            "flag": plain > 0,
            "index": rng.integers(0, 3, size=(rows, 2)),
            "category": rng.choice(
                [*np.arange(-2, 9), 0.5, -0.5, 7.999, np.nan, np.inf, -np.inf, 1e300], size=(rows, 4)
            ),
            "code": rng.integers(0, 6, size=(rows, 3)).astype(np.uint8),
            "wide": rng.integers(0, 3000, size=(rows, 3)).astype(np.int16),
        }


X = {name: Input(name, TensorType(("N", array.shape[1]), array.dtype)) for name, array in batch(1).items()}
ROW = Const(np.array([1.5, -2.0, 0.25, 3.0]))
ROW32 = Const(ROW.value.astype(np.float32))
WEIGHTS = Const(np.random.default_rng(1).normal(size=(4, 3)))
CLASSES = np.array([3, 5, 8])
GRAM = Const(WEIGHTS.value @ WEIGHTS.value.T + np.eye(4))
PARTS = Const(np.abs(WEIGHTS.value.T))


def random_trees(codes: Op, trees: int, depth: int, largest: int, seed: int = 0) -> ops.Descend:
    """Trees of random shape, at most `depth` levels, one of them a single leaf."""
    rng = np.random.default_rng(seed)
    column: list[int] = []
    rank: list[int] = []
    children: list[list[int]] = []
    leaves = 0

    def grow(level: int) -> int:
        nonlocal leaves
        if level == depth or (level and rng.random() < 0.2):
            leaves += 1
            return ~(leaves - 1)
        node = len(column)
        column.append(int(rng.integers(codes.columns)))
        rank.append(int(rng.integers(0, largest + 2)))
        children.append([0, 0])
        children[node] = [grow(level + 1), grow(level + 1)]
        return node

    roots = [grow(depth if t == 1 else 0) for t in range(trees)]
    left, right = np.array(children, np.int32).reshape(-1, 2).T
    return ops.Descend(
        codes,
        np.array(column, np.int32),
        np.array(rank, np.int32),
        left.copy(),
        right.copy(),
        np.array(roots, np.int32),
    )


def trees_by_values(x: Op, trees: int, seed: int, *, strict: bool) -> ops.Descend:
    """Trees on the ranks of x [N, 4] among its own special values, NaN left in two columns and right in the others."""
    grid = np.array([-np.inf, -1.0, -1e-30, 0.0, 1e-30, 1.0, 1e30, np.inf]).astype(x.dtype)
    grid = np.unique(grid)
    boundaries, offsets = np.tile(grid, 4), np.arange(5) * len(grid)
    nan = np.array([0, len(grid) + 1, 0, len(grid) + 1])
    codes = ops.Rank(x, np.arange(4), boundaries, offsets, nan, np.dtype(np.uint8), strict)
    found = random_trees(codes, trees, 7, len(grid), seed)
    return ops.Descend(codes, found.column, np.maximum(found.rank, 1), found.left, found.right, found.roots)


def leaf_sum(leaves: ops.Descend, outputs: int, dtype: type, *, grouped: bool) -> ops.LeafSum:
    """Sums of random leaves, as vectors or one number per tree, tree t to output t % outputs."""
    count = int(max(~leaves.left.min(initial=-1), ~leaves.right.min(initial=-1), ~leaves.roots.min())) + 1
    values = np.random.default_rng(2).normal(size=(count, 1 if grouped else outputs)).astype(dtype)
    output = np.arange(len(leaves.roots)) % outputs if grouped else None
    return ops.LeafSum(leaves, values, np.linspace(-1, 1, outputs).astype(dtype), output)


def nodes_of(leaves: ops.Descend) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For `ops.Paths`: the parents of inner nodes and, behind them, leaves; the leaves; all nodes as one tree."""
    inner, count = len(leaves.left), int(max(~leaves.left.min(), ~leaves.right.min(), ~leaves.roots.min())) + 1
    parent = np.full(inner + count, -1)
    for children in (leaves.left, leaves.right):
        parent[np.where(children >= 0, children, inner + ~children)] = np.arange(inner)
    return parent, inner + np.arange(count), np.array([0, len(parent)])


RANK = ops.Rank(
    X["special"],
    np.array([2, 0, 2]),
    np.array([-1.0, 0.0, 5e-324, 1.0, -3.0, np.inf]),
    np.array([0, 4, 6, 6]),
    np.array([0, 3, 1]),
    np.dtype(np.uint8),
)
STRICT_RANK = replace(RANK, strict=True)
TABLE = np.random.default_rng(3).integers(0, 2, size=(3, 9)).astype(np.uint8)
SYMMETRIC = ops.DescendSymmetric(
    X["code"], np.tile([0, 2, 1], 4), np.array([1, 3, 200, 4, 2, 2, 255, 0, 5, 3, 1, 4]), np.array([3, 0, 8, 1])
)
SYMMETRIC_WIDE = ops.DescendSymmetric(
    X["wide"], np.arange(40) % 3, np.random.default_rng(5).integers(0, 3000, 40), np.array([16, 9, 15])
)
SHALLOW = random_trees(X["code"], 9, 4, 5)
DEEP = random_trees(X["wide"], 7, 14, 3000)

STORED = np.abs(np.random.default_rng(4).normal(size=(600, 4)))  # more rows than a block of a KernelExpansion
LOWER = np.tril(np.random.default_rng(5).normal(size=(4, 4))) + 4 * np.eye(4)


def expansion(metric: str, dtype: type, outputs: int) -> ops.KernelExpansion:
    """A sum of kernels with positive coefficients, so that nothing cancels."""
    coef = np.random.default_rng(6).random(size=(600, outputs)).astype(dtype)
    x = ops.Cast(X["positive"], np.dtype(dtype))
    return ops.KernelExpansion(x, STORED.astype(dtype), metric, 0.3, 0.5, 3.0, coef)


# name: operator, and the relative error that executors may have (0: the same bits)
SAMPLES: dict[str, tuple[Op, float]] = {
    "const": (ops.Add(X["plain"], ROW), 0),
    "cast to float32": (ops.Cast(X["special"], np.dtype(np.float32)), 0),
    "cast to int64": (ops.Cast(X["plain"], np.dtype(np.int64)), 0),
    "cast of bool": (ops.Cast(X["flag"], np.dtype(np.float64)), 0),
    "cast to half": (ops.Cast(X["special"], np.dtype(np.float16)), 0),
    "cast to half near ties": (
        ops.Cast(
            ops.Add(Const(np.array(1 + 2**-11)), ops.Mul(X["plain"], Const(np.array(1e-10)))), np.dtype(np.float16)
        ),
        0,
    ),
    "cast of half": (ops.Cast(X["half"], np.dtype(np.float64)), 0),
    "neg": (ops.Neg(X["special"]), 0),
    "abs": (ops.Abs(X["integer"]), 0),
    "sqrt": (ops.Sqrt(X["special"]), 3e-16),
    "exp": (ops.Exp(X["special"]), 1e-14),
    "exp float32": (ops.Exp(X["special32"]), 1e-6),
    "log": (ops.Log(X["special"]), 1e-14),
    "log1p": (ops.Log1p(X["special"]), 1e-14),
    "sigmoid": (ops.Sigmoid(X["special"]), 1e-14),
    "sigmoid float32": (ops.Sigmoid(X["special32"]), 1e-6),
    "tanh": (ops.Tanh(X["special"]), 1e-14),
    "tanh float32": (ops.Tanh(X["special32"]), 1e-6),
    "is nan": (ops.IsNaN(X["special"]), 0),
    "not": (ops.Not(X["flag"]), 0),
    "add": (ops.Add(X["special"], X["plain"]), 0),
    "sub": (ops.Sub(X["special32"], ROW32), 0),
    "mul": (ops.Mul(X["special"], ROW), 0),
    "div": (ops.Div(X["special"], X["plain"]), 0),
    "div float32": (ops.Div(X["special32"], ROW32), 0),
    "pow": (ops.Pow(X["positive"], ROW), 1e-13),
    "max": (ops.Max(X["special"], X["plain"]), 0),
    "min": (ops.Min(X["special"], X["plain"]), 0),
    "max of integers": (ops.Max(X["integer"], Const(np.array(2))), 0),
    "less": (ops.Less(X["special"], X["plain"]), 0),
    "less or equal": (ops.LessOrEqual(X["special"], Const(np.array(0.0))), 0),
    "greater": (ops.Greater(X["special"], Const(np.array(0.0))), 0),
    "greater or equal": (ops.GreaterOrEqual(X["special"], Const(np.array(0.0))), 0),
    "equal": (ops.Equal(X["special"], Const(np.array(0.0))), 0),
    "and": (ops.And(X["flag"], ops.Not(X["flag"])), 0),
    "or": (ops.Or(X["flag"], ops.IsNaN(X["special"])), 0),
    "where": (ops.Where(X["flag"], X["special"], Const(np.array(2.0))), 0),
    "finite": (ops.Finite(X["plain"], False, "Reader"), 0),
    "finite or nan": (ops.Finite(ops.Where(X["flag"], X["plain"], Const(np.array(np.nan))), True, "Reader"), 0),
    "within": (
        ops.Within(
            ops.Where(X["flag"], X["plain"], Const(np.array(np.nan))),
            np.array([-99.0, -np.inf, -9.0, -np.inf]),
            np.array([99.0, 99.0, np.inf, np.inf]),
            np.ones(4, bool),
            "Reader",
            np.dtype(np.float32),
        ),
        0,
    ),
    "require": (ops.Require(X["special"], ops.Less(X["code"], Const(np.array(6, np.uint8))), "six or more"), 0),
    "mat mul": (ops.MatMul(X["plain"], WEIGHTS), 1e-12),
    "mat mul to one column": (ops.MatMul(X["plain"], Const(WEIGHTS.value[:, :1])), 1e-12),
    "mat mul float32": (ops.MatMul(X["plain32"], Const(WEIGHTS.value.astype(np.float32))), 1e-4),
    "sin": (ops.Sin(X["plain"]), 1e-14),
    "cos": (ops.Cos(X["plain"]), 1e-14),
    "erf": (ops.Erf(X["special"]), 1e-14),
    **{f"kernel {m}": (ops.Kernel(X["positive"], STORED, m, 0.3, 0.5, 3.0), 1e-12) for m in KERNELS},
    **{f"kernel expansion {m}": (expansion(m, np.float64, 1), 1e-9) for m in KERNELS},
    "kernel expansion of 3 outputs": (expansion("rbf", np.float64, 3), 1e-9),
    "kernel expansion float32": (expansion("rbf", np.float32, 3), 1e-4),
    "solve triangular": (ops.SolveTriangular(X["plain"], LOWER), 1e-11),
    "pairwise coupling": (ops.PairwiseCoupling(ops.Columns(ops.Sigmoid(X["plain"]), np.arange(3)), 3), 1e-10),
    "pairwise coupling of 2 classes": (ops.PairwiseCoupling(ops.Columns(ops.Sigmoid(X["plain"]), [0]), 2), 1e-10),
    "circular product": (ops.CircularProduct(ops.Reshape(X["plain"], (2, 2))), 1e-10),
    "non-negative descent": (ops.NonNegativeDescent(X["plain"], GRAM, np.arange(4)[None, ::-1], 1e-4, 50), 1e-9),
    "multiplicative updates": (
        ops.MultiplicativeUpdates(X["positive"], PARTS, 1.0, 0.01, 0.02, 1.0, 1e-4, 40, divergence=True),
        1e-9,
    ),
    "multiplicative updates of beta 0.5 by their change": (
        ops.MultiplicativeUpdates(X["positive"], PARTS, 0.5, 0.0, 0.0, 1 / 1.5, 1e-3, 20, divergence=False),
        1e-9,
    ),
    "place": (ops.Place(X["special"], np.array([3, 0, 5, 6]), 7), 0),
    "place of bools": (ops.Place(X["flag"], np.array([3, 0, 5, 6]), 7), 0),
    "topic weights": (ops.TopicWeights(X["positive"], PARTS, 0.3, 100, 1e-3), 1e-9),
    "batch kernel": (ops.BatchKernel(X["plain"], "matern 2.5", 0.0, 0.0, 0.0), 1e-10),
    "batch kernel of products": (ops.BatchKernel(X["plain"], "sigmoid", 0.1, 0.2, 0.0), 1e-10),
    "batch product": (ops.BatchProduct(X["plain"], X["plain"]), 1e-10),
    "batch diagonal": (ops.BatchDiagonal(ops.ReduceSum(X["plain"])), 1e-12),
    "outer": (ops.Outer(X["plain"], np.array([1.5, -2.0, 0.1])), 0),
    "lasso descent": (
        ops.LassoDescent(X["plain"], ops.ReduceSum(X["plain"] * X["plain"]), GRAM, 0.5, 1e-8, 200, False, True),
        1e-6,
    ),
    "lasso descent of positive codes": (
        ops.LassoDescent(X["plain"], ops.ReduceSum(X["plain"] * X["plain"]), GRAM, 0.1, 1e-8, 200, True, False),
        1e-6,
    ),
    "matching pursuit": (ops.MatchingPursuit(X["plain"], GRAM, 3, 2e-16), 1e-9),
    "reduce sum": (ops.ReduceSum(X["plain"]), 1e-12),
    "reduce sum of integers": (ops.ReduceSum(X["integer"]), 0),
    "reduce max": (ops.ReduceMax(X["special"]), 0),
    "arg max": (ops.ArgMax(X["special"]), 0),
    "arg max with ties": (ops.ArgMax(X["integer"]), 0),
    "weighted median": (ops.WeightedMedian(X["special"], np.array([0.3, 1.0, 0.0, 0.9])), 0),
    "weighted median of equals": (ops.WeightedMedian(ops.Cast(X["integer"], np.dtype(np.float64)), np.ones(4)), 0),
    "softmax": (ops.Softmax(X["plain"]), 1e-13),
    "softmax of special values": (ops.Softmax(X["special"]), 1e-13),
    "log softmax": (ops.LogSoftmax(X["plain"]), 1e-12),
    "log sum exp": (ops.LogSumExp(X["plain"]), 1e-12),
    "log sum exp of special values": (ops.LogSumExp(X["special"]), 1e-12),
    "log sum exp of ties": (ops.LogSumExp(ops.Cast(X["integer"], np.dtype(np.float32))), 1e-5),
    "columns": (ops.Columns(X["special"], np.array([3, 0, 3])), 0),
    "adjacent columns": (ops.Columns(X["special"], np.array([1, 2])), 0),
    "no columns": (ops.Columns(X["special"], np.array([], np.int64)), 0),
    "concat": (ops.Concat((X["plain"], X["special"], X["plain"])), 0),
    "reshape": (ops.Reshape(X["special"], (2, 2)), 0),
    "take": (ops.Take(Const(np.arange(12.0).reshape(3, 4)), X["index"]), 0),
    "take numbers": (ops.Take(Const(CLASSES), ops.ArgMax(ops.Columns(X["plain"], np.arange(3)))), 0),
    "gather elements": (ops.GatherElements(X["special"], X["index"]), 0),
    "add columns": (ops.AddColumns(X["special"], np.zeros(1), np.zeros(4, np.int64)), 0),
    "add columns by output": (ops.AddColumns(X["plain32"], ROW32.value[:3], np.array([2, 0, 2, 2])), 0),
    "one hot": (ops.OneHot(X["integer"], (3, 6, 1, 2), np.dtype(np.float32)), 0),
    "one hot of many": (ops.OneHot(X["integer"], (3, 80, 0, 2), np.dtype(np.float32)), 0),
    "fill": (ops.Fill(X["plain"], (3,), 2.5, np.dtype(np.float32)), 0),
    "rank": (RANK, 0),
    "rank above boundaries": (STRICT_RANK, 0),
    "rank without boundaries": (
        ops.Rank(X["special"], np.array([1]), np.empty(0), np.array([0, 0]), np.array([1]), np.dtype(np.uint8)),
        0,
    ),
    "lookup": (ops.Lookup(X["category"], np.array([1, 0, 1]), TABLE, truncate_negative=False), 0),
    "lookup that truncates": (ops.Lookup(X["category"], np.array([1, 0, 3]), TABLE, truncate_negative=True), 0),
    "find": (ops.Find(X["integer"], np.array([-4, -1, 0, 5])), 0),
    "find above all keys": (ops.Find(X["integer"], np.array([-4, -1])), 0),
    "find among no keys": (ops.Find(X["integer"], np.array([], np.int64)), 0),
    "descend": (SHALLOW, 0),
    "descend deep": (DEEP, 0),
    "descend in leaves alone": (random_trees(X["code"], 3, 0, 5), 0),
    "descend 8 levels": (random_trees(X["code"], 30, 8, 5, seed=5), 0),
    "descend one tree": (random_trees(X["code"], 1, 3, 5), 0),
    "descend by values": (trees_by_values(X["special"], 1, 1, strict=False), 0),
    "descend by values past": (trees_by_values(X["special"], 2, 2, strict=True), 0),
    "descend by values float32": (trees_by_values(X["special32"], 3, 3, strict=False), 0),
    "descend by values past float32": (trees_by_values(X["special32"], 2, 4, strict=True), 0),
    "descend by ranks": (trees_by_values(X["special"], 90, 5, strict=True), 0),
    "descend symmetric": (SYMMETRIC, 0),
    "descend symmetric deep": (SYMMETRIC_WIDE, 0),
    "leaf sum": (leaf_sum(SHALLOW, 1, np.float32, grouped=False), 0),
    "leaf sum of vectors": (leaf_sum(SHALLOW, 3, np.float32, grouped=False), 0),
    "leaf sum by output": (leaf_sum(SHALLOW, 3, np.float32, grouped=True), 0),
    "leaf sum float64": (leaf_sum(SHALLOW, 1, np.float64, grouped=False), 0),
    "leaf sum of vectors float64": (leaf_sum(DEEP, 3, np.float64, grouped=False), 0),
    "leaf sum by output float64": (leaf_sum(DEEP, 3, np.float64, grouped=True), 0),
    "leaf sum of unequal outputs": (
        ops.LeafSum(
            SHALLOW,
            leaf_sum(SHALLOW, 1, np.float32, grouped=True).values,
            np.zeros(3, np.float32),
            np.array([0, 0, 2, 0, 0, 2, 2, 0, 0]),
        ),
        0,
    ),
}

KEYS = np.array([-4, -4, 0, 2, -1, 5])
STEPS = np.array([-0.5, -0.5, 0.5, 0.5, 2.0, -3.0, 3.0, 0.25, 0.25])
HOLES = ops.Where(X["flag"], X["plain"], Const(np.array(np.nan)))
DONORS = np.where(np.random.default_rng(4).random((9, 4)) < 0.3, np.nan, np.random.default_rng(5).normal(size=(9, 4)))
SAMPLES |= {
    "position": (ops.Position(X["integer"], KEYS, np.array([0, 4, 4, 6, 6]), np.array([-1, -1, -1, -1])), 0),
    "position of floats": (
        ops.Position(X["category"], KEYS.astype(float), np.array([0, 4, 4, 6, 6]), np.array([4, -1, -1, 0])),
        0,
    ),
    "expm1": (ops.Expm1(X["special"]), 1e-14),
    "exp2": (ops.Exp2(X["special"]), 1e-14),
    "log2": (ops.Log2(X["special"]), 1e-14),
    "log10": (ops.Log10(X["special"]), 1e-14),
    "tan": (ops.Tan(X["plain"]), 1e-13),
    "atan": (ops.Atan(X["special"]), 1e-14),
    "sinh": (ops.Sinh(X["special"]), 1e-13),
    "cosh": (ops.Cosh(X["special"]), 1e-13),
    "asinh": (ops.Asinh(X["plain"]), 1e-13),
    "floor": (ops.Floor(X["special"]), 0),
    "ceil": (ops.Ceil(X["special"]), 0),
    "round": (ops.Round(ops.Mul(X["special"], Const(np.array(0.5)))), 0),
    "trunc": (ops.Trunc(X["special"]), 0),
    "sign": (ops.Sign(X["special"]), 0),
    "sign of integers": (ops.Sign(X["integer"]), 0),
    "normal cdf": (ops.NormalCdf(X["special"]), 1e-13),
    "normal quantile": (ops.NormalQuantile(ops.Sigmoid(X["plain"])), 1e-13),
    "mod": (ops.Mod(X["plain"], ROW), 0),
    "interpolate": (
        ops.Interpolate(HOLES, STEPS, np.arange(9.0) ** 2, np.array([0, 4, 5, 7, 9])),
        0,
    ),
    "b-spline": (ops.BSpline(HOLES, np.sort(np.random.default_rng(6).normal(size=(4, 9))), 2, True), 0),
    "b-spline within its knots": (
        ops.BSpline(X["plain"], np.sort(np.random.default_rng(6).normal(size=(4, 9))), 3, False),
        0,
    ),
    "neighbor imputation": (ops.NeighborImputation(HOLES, DONORS, np.arange(4.0), 3, False), 1e-9),
    "neighbor imputation by distance": (ops.NeighborImputation(HOLES, DONORS, np.arange(4.0), 20, True), 1e-9),
}

TRAINING = Const(np.random.default_rng(4).normal(size=(60, 4)))
GRID = Const(np.random.default_rng(5).integers(-5, 6, (60, 4)).astype(np.float64))
SQUARES = Const((GRID.value**2).sum(axis=1, keepdims=True))
NO_TREE = ("", np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0, 0)), np.empty(0))


def between(kind: type[ops.Distance], metric: str, x: str = "plain", true: bool = True) -> ops.Distance:
    """Distances to a table, in the dtype of x."""
    weights = {"seuclidean": ROW.value**2, "minkowski": ROW.value**2, "mahalanobis": np.eye(4) + 0.1}
    table = Const(TRAINING.value.astype(X[x].dtype))
    return kind(X[x], table, metric, 1.5, weights.get(metric, np.empty(0)), true)


def nearest(metric: str, ties: str, sort: str, k: int) -> ops.Nearest:
    """A search of a grid full of equal distances."""
    x = ops.Cast(X["integer"], np.dtype(np.float64))
    return ops.Nearest(x, GRID, metric, 1.5, np.empty(0), False, k, ties, sort, *NO_TREE)


HERE = ops.Cast(X["index"], np.dtype(np.int64))
SAMPLES |= {
    f"distance by {metric}": (between(ops.Distance, metric), 1e-13)
    for metric in (*ops.distance.SUMS, *ops.distance.COUNTS, *ops.distance.OTHERS)
    if metric not in ("haversine", "precomputed")
}
SAMPLES |= {
    "distance of float32": (between(ops.Distance, "manhattan", "plain32"), 0),
    "squared distance": (between(ops.Distance, "euclidean", true=False), 0),
    "haversine": (
        ops.Distance(
            ops.Columns(X["plain"], np.array([0, 1])),
            Const(np.ascontiguousarray(TRAINING.value[:, :2])),
            "haversine",
            2.0,
            np.empty(0),
            True,
        ),
        1e-12,
    ),
    "closest centre": (ops.ClosestCentre(ops.Cast(X["integer"], np.dtype(np.float64)), GRID, SQUARES), 0),
    "distance to chosen rows": (ops.DistanceTo(X["plain"], TRAINING, "canberra", 2.0, np.empty(0), True, HERE), 1e-13),
    "nearest by index": (nearest("manhattan", "index", "introsort", 5), 0),
    "nearest by a heap": (nearest("manhattan", "heap", "introsort", 5), 0),
    "nearest by two heaps": (nearest("euclidean", "heaps", "quicksort", 7), 0),
    "many nearest": (nearest("chebyshev", "heap", "introsort", 30), 0),
    "votes": (ops.Votes(HERE, ops.Columns(X["plain"], np.array([0, 1])), 4), 0),
    "scatter": (ops.Scatter(ops.Columns(HERE, np.array([0])), ops.Columns(X["plain"], np.array([1])), 3), 0),
    "weighted rows": (ops.WeightedRows(TRAINING, HERE, ops.Columns(X["plain"], np.array([0, 1]))), 0),
    "min plus": (ops.MinPlus(TRAINING, HERE, ops.Columns(X["plain"], np.array([0, 1]))), 0),
    "barycentre": (ops.Barycentre(X["plain"], TRAINING, HERE, 0.1), 1e-9),
    "median": (ops.Median(X["plain"]), 0),
    "median of three": (ops.Median(ops.Columns(X["plain32"], np.array([2, 0, 1]))), 0),
}
SAMPLES |= {
    "quantize": (ops.Quantize(X["special"], np.array([0.5, 0.25, 1.0, 1e-3])), 0),
    "quantize float32": (ops.Quantize(X["special32"], np.full(4, 2.0**-7)), 0),
    "saturate": (ops.Saturate(X["integer"], np.array([-2, 0, -9, 1]), np.array([2, 3, 9, 1])), 0),
    "shift right": (ops.ShiftRight(X["integer"], 2), 0),
    "shift right, down": (ops.ShiftRight(X["integer"], 2, nearest=False), 0),
    "straight lines": (
        ops.Lines(
            ops.Saturate(X["integer"], np.zeros(4, int), np.full(4, 11)),
            np.array([5, 9, -7]),
            np.array([3, -2, 0]),
            2,
            1,
        ),
        0,
    ),
    "weighted sum": (ops.WeightedSum(X["integer"], np.arange(-6, 6).reshape(4, 3)), 0),
}

# Operators that the host takes off before a graph is compiled: at outputs, and before host operators.
AT_OUTPUTS: dict[str, Op] = {
    "label": ops.Label(ops.ArgMax(ops.Columns(X["plain"], np.arange(3))), np.array(["a", "b", "c"])),
    "label columns": ops.LabelColumns(X["index"], (np.array(["a", "b", "c"]), np.array(["x", "y", "z"]))),
    "sparse": ops.Sparse(X["plain"]),
    "fill missing": ops.FillMissing(ops.Columns(X["plain"], np.array([0])), "value", 99.0, "none", False),
    "batch second": ops.BatchSecond(ops.Reshape(X["plain"], (2, 2))),
    "flat row": ops.FlatRow(X["plain"]),
    "paths": ops.Paths(SHALLOW, *nodes_of(SHALLOW), False, np.dtype(np.int64)),
    "untyped": ops.Untyped(X["plain32"], "list"),
    "table of two dtypes": ops.Table((X["plain32"], X["integer"]), tuple("abcdefgh"), "pandas", True),
}
