"""Drawn tree models of every library, on rows that set traps: leaves and margins against the library's own.

`python -m tests.exactness` draws models until a number of (row, tree) pairs is reached for each library, and writes
what it found to a page of the documentation; tests/test_exactness.py lets hypothesis draw some.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from importlib.metadata import version
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np

import tensorml
from tests.traps import trap_rows

PAGE = Path(__file__).parents[1] / "docs" / "exactness.md"
FINITE = (np.nan, -0.0, 0.0, 5e-324, -5e-324, 1e-45, -1e-45, 1e-38, 1e-35, -1e-35, 3e38, -3e38)
ODD = (*FINITE, np.inf, -np.inf)
VALUES = ("normal", "rounded", "integers", "tiny", "huge")
KINDS = ("regression", "two classes", "three classes")


@dataclass(frozen=True)
class Drawing:
    """What is drawn of a model and its rows.

    seed: of everything random; values: of the features; kind: of the target; variant: chooses among the library's
    sorts of model; trees, depth: at most; single: rows are float32; missing: training sees NaN; rows: to predict.
    """

    seed: int
    values: str
    kind: str
    variant: int
    trees: int
    depth: int
    single: bool
    missing: bool
    rows: int


@dataclass(frozen=True)
class Case:
    """A fitted model with the library's own answers.

    thresholds: pairs of feature and threshold. leaves: the method that names each row's leaf in each tree, with its
    options; None if the library has none. margin: the method and options of the sum before any link. odd: values that
    both accept. trees: how many. prepare: makes the model's input of the rows.
    """

    source: Any
    thresholds: list[tuple[int, float]]
    leaves: tuple[str, dict[str, Any]] | None
    margin: tuple[str, dict[str, Any]]
    odd: tuple[float, ...]
    trees: int
    prepare: Callable[[np.ndarray], Any] = field(default=lambda x: x)


@dataclass(frozen=True)
class Outcome:
    """What a comparison found: pairs of row and tree, wrong leaves among them, rows, rows whose margin differs."""

    pairs: int
    wrong_leaves: int
    rows: int
    wrong_margins: int


def features(draw: Drawing, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Training rows [rows, 6] of float64, the last column small integers for those who read categories."""
    x = rng.normal(size=(rows, 6))
    if draw.values == "rounded":
        x = x.round(1)
    elif draw.values == "integers":
        x = rng.integers(-4, 5, x.shape).astype(float)
    elif draw.values == "tiny":
        x *= 1e-40
    elif draw.values == "huge":
        x *= 1e37
    x[:, 5] = rng.integers(0, 12, rows)
    if draw.missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x


def target(draw: Drawing, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A number or a class for each row."""
    order = np.nan_to_num(x).argsort(axis=0).argsort(axis=0) / len(x)
    number = (
        order[:, 0] * order[:, 1] + np.sin(6 * order[:, 2]) + 0.3 * (x[:, 5] % 3 == 1) + 0.1 * rng.normal(size=len(x))
    )
    if draw.kind == "regression":
        return number
    return np.digitize(number, np.quantile(number, [0.5] if draw.kind == "two classes" else [0.3, 0.7]))


def drawn(rng: np.random.Generator, rows: int) -> Drawing:
    """One drawing, for the long run."""
    return Drawing(
        seed=int(rng.integers(2**31)),
        values=str(rng.choice(VALUES)),
        kind=str(rng.choice(KINDS)),
        variant=int(rng.integers(64)),
        trees=int(rng.integers(1, 120)),
        depth=int(rng.integers(1, 11)),
        single=bool(rng.random() < 0.5),
        missing=bool(rng.random() < 0.5),
        rows=rows,
    )


def sklearn_case(draw: Drawing, x: np.ndarray, y: np.ndarray) -> Case:
    """Trees, forests, gradient boosting, histogram gradient boosting."""
    from sklearn import ensemble, tree

    suffix = "Regressor" if draw.kind == "regression" else "Classifier"
    name = ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")[
        draw.variant % 6
    ]
    cls = getattr(tree if draw.variant % 6 < 2 else ensemble, name + suffix)
    settings: dict[str, Any] = {"max_depth": draw.depth, "random_state": draw.seed}
    if name == "HistGradientBoosting":
        settings |= {"max_iter": max(1, draw.trees // 3), "min_samples_leaf": 5}
        settings |= {"categorical_features": [5]} if draw.variant & 32 else {}
    elif draw.variant % 6 >= 2:
        settings["n_estimators"] = draw.trees if name != "GradientBoosting" else max(1, draw.trees // 3)
    if name == "GradientBoosting":
        x = np.nan_to_num(x)
    model = cls(**settings).fit(x, y)
    margin = ("predict" if draw.kind == "regression" else "predict_proba", {})
    if name == "HistGradientBoosting":
        nodes = np.concatenate([t.nodes for stage in model._predictors for t in stage])
        inner = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
        thresholds = list(zip(inner["feature_idx"].tolist(), inner["num_threshold"].tolist(), strict=True))
        margin = ("predict" if draw.kind == "regression" else "decision_function", {})
        odd = FINITE if draw.variant & 32 else ODD  # the encoder of categories refuses infinity
        return Case(model, thresholds, None, margin, odd, sum(map(len, model._predictors)))
    trees = [part.tree_ for part in np.ravel(getattr(model, "estimators_", [model]))]
    thresholds = [
        (f, t) for part in trees for f, t in zip(part.feature.tolist(), part.threshold.tolist(), strict=True) if f >= 0
    ]
    takes_nan = name != "GradientBoosting"
    if name == "GradientBoosting" and draw.kind != "regression":
        margin = ("decision_function", {})
    return Case(model, thresholds, ("apply", {}), margin, FINITE if takes_nan else FINITE[1:], len(trees))


def xgboost_case(draw: Drawing, x: np.ndarray, y: np.ndarray) -> Case:
    """gbtree and dart, by depth and leaf by leaf, one-hot and partitions of categories."""
    from xgboost import XGBClassifier, XGBRegressor

    settings: dict[str, Any] = {"n_estimators": max(1, draw.trees // 3), "n_jobs": 1, "random_state": draw.seed}
    settings |= {"max_depth": draw.depth, "tree_method": "hist"}
    if draw.variant % 4 == 1:
        settings |= {"booster": "dart", "rate_drop": 0.3}
    if draw.variant % 4 == 2:
        settings |= {"grow_policy": "lossguide", "max_leaves": 2**draw.depth, "max_depth": 0}
    if draw.variant % 4 == 3:
        settings |= {"feature_types": ["q"] * 5 + ["c"], "enable_categorical": True}
        settings |= {"max_cat_to_onehot": 1 + draw.variant % 16}
    model = (XGBRegressor if draw.kind == "regression" else XGBClassifier)(**settings).fit(x, y)
    learner = json.loads(model.get_booster().save_raw("json"))["learner"]["gradient_booster"]
    trees = learner.get("gbtree", learner)["model"]["trees"]
    thresholds = [
        (f, float(np.float32(t)))
        for tree in trees
        for f, t, left in zip(tree["split_indices"], tree["split_conditions"], tree["left_children"], strict=True)
        if left >= 0
    ]
    return Case(model, thresholds, ("apply", {}), ("predict", {"output_margin": True}), FINITE, len(trees))


LIGHTGBM: tuple[dict[str, Any], ...] = (
    {},
    {"boosting_type": "dart"},
    {"zero_as_missing": True},
    {"use_missing": False},
    {"linear_tree": True},
    {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
)


def lightgbm_case(draw: Drawing, x: np.ndarray, y: np.ndarray) -> Case:
    """gbdt, dart, random forests and linear trees, zeros missing, nothing missing, categories."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    settings: dict[str, Any] = {"n_estimators": max(1, draw.trees // 3), "n_jobs": 1, "random_state": draw.seed}
    settings |= {"num_leaves": 2 ** min(draw.depth, 8), "min_child_samples": 3, "verbose": -1}
    settings |= LIGHTGBM[draw.variant % 6]
    fit = {"categorical_feature": [5]} if draw.variant // 6 % 2 else {}
    if fit:
        settings |= {"max_cat_to_onehot": 1 + draw.variant % 8, "min_data_per_group": 3, "cat_smooth": 1.0}
    model = (LGBMRegressor if draw.kind == "regression" else LGBMClassifier)(**settings).fit(x, y, **fit)
    thresholds: list[tuple[int, float]] = []
    trees = model.booster_.dump_model()["tree_info"]
    for tree in trees:
        _lightgbm_thresholds(tree["tree_structure"], thresholds)
    return Case(model, thresholds, ("predict", {"pred_leaf": True}), ("predict", {"raw_score": True}), ODD, len(trees))


def _lightgbm_thresholds(node: dict[str, Any], found: list[tuple[int, float]]) -> None:
    if "split_feature" in node:
        if node["decision_type"] == "<=":
            found.append((node["split_feature"], node["threshold"]))
        for side in ("left_child", "right_child"):
            _lightgbm_thresholds(node[side], found)


def catboost_case(draw: Drawing, x: np.ndarray, y: np.ndarray) -> Case:
    """Oblivious trees, by depth and leaf by leaf, NaN least and most, categories one-hot and as statistics."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    settings: dict[str, Any] = {"iterations": max(1, draw.trees // 3), "random_seed": draw.seed, "thread_count": 1}
    settings |= {"depth": min(draw.depth, 8), "verbose": False, "allow_writing_files": False}
    settings["grow_policy"] = ("SymmetricTree", "Depthwise", "Lossguide")[draw.variant % 3]
    settings["nan_mode"] = ("Min", "Max")[draw.variant // 3 % 2]
    if draw.kind == "three classes" and draw.variant & 32:
        settings["loss_function"] = "MultiClassOneVsAll"
    categories = bool(draw.variant // 6 % 2)
    if categories:
        settings |= {"cat_features": [5], "one_hot_max_size": (2, 20)[draw.variant // 12 % 2]}
    model = (CatBoostRegressor if draw.kind == "regression" else CatBoostClassifier)(**settings)
    model.fit(whole_categories(x) if categories else x, y)
    thresholds = [(f, border) for f, borders in model.get_borders().items() for border in borders]
    margin = ("predict", {"prediction_type": "RawFormulaVal"})
    case = Case(model, thresholds, ("calc_leaf_indexes", {}), margin, ODD, model.tree_count_)
    return replace(case, prepare=whole_categories) if categories else case


def whole_categories(x: np.ndarray) -> Any:
    """The rows as a DataFrame whose last column holds whole numbers as texts."""
    import pandas as pd

    whole = np.nan_to_num(np.clip(x[:, 5], -99, 99)).astype(int).astype(str).astype(object)
    return pd.DataFrame({**{str(i): x[:, i] for i in range(5)}, "5": whole})


LIBRARIES: dict[str, Callable[[Drawing, np.ndarray, np.ndarray], Case]] = {
    "scikit-learn": sklearn_case,
    "xgboost": xgboost_case,
    "lightgbm": lightgbm_case,
    "catboost": catboost_case,
}


def compare(library: str, draw: Drawing, executor: str, batches: Sequence[int] = ()) -> Outcome:
    """Draw the model, and compare its leaves and margins on rows with traps.

    batches: rows of the converted model's calls, one size after the other; none for all rows in one call.
    """
    rng = np.random.default_rng(draw.seed)
    x = features(draw, 300, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = LIBRARIES[library](draw, x, target(draw, x, rng))
    rows = case.prepare(drawn_rows(draw, x, case, rng))
    model = tensorml.convert(case.source, executor=executor)
    wrong_leaves = 0
    if case.leaves is not None:
        method, options = case.leaves
        expected = called(case.source, method, rows, options)
        actual = answered(partial(getattr(model, method), **options), rows, batches)
        assert actual.shape == expected.shape
        wrong_leaves = int((actual != expected).sum())
    method, options = case.margin
    expected = called(case.source, method, rows, options)
    actual = answered(partial(getattr(model, method), **options), rows, batches)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    return Outcome(len(rows) * case.trees, wrong_leaves, len(rows), wrong_rows(actual, expected))


def answered(call: Callable[[Any], np.ndarray], rows: Any, batches: Sequence[int]) -> np.ndarray:
    """The answers for all rows, which are given in batches of these sizes in turns."""
    parts, start, sizes = [], 0, cycle(batches or [len(rows)])
    while start < len(rows):
        stop = start + next(sizes)
        parts.append(call(rows[start:stop]))
        start = stop
    return np.concatenate(parts)


def drawn_rows(draw: Drawing, x: np.ndarray, case: Case, rng: np.random.Generator) -> np.ndarray:
    """Rows with traps; in the last column also categories that training did not see, negative ones and fractions."""
    rows = trap_rows(x, case.thresholds, draw.rows, draw.seed, odd=case.odd)
    chosen = rng.random(len(rows)) < 0.3
    rows[chosen, 5] = rng.choice(np.arange(-6, 40) / 2, chosen.sum())
    if np.inf not in case.odd:
        rows = np.clip(rows, -3e38, 3e38)
    if np.nan not in case.odd:
        rows = np.nan_to_num(rows)
    with np.errstate(over="ignore"):
        return rows.astype(np.float32) if draw.single else rows


def called(source: Any, method: str, rows: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """The library's own answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(getattr(source, method)(rows, **options))


def wrong_rows(actual: np.ndarray, expected: np.ndarray) -> int:
    """The rows that differ in a bit; NaN equals NaN."""
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    return int((~same.reshape(len(same), -1).all(axis=1)).sum())


def run(library: str, pairs: int, rows: int, executor: str, batches: Sequence[int] = ()) -> tuple[int, Outcome]:
    """Models are drawn until there are as many pairs. Result: the number of models, and all outcomes added up."""
    rng, models, total = np.random.default_rng(0), 0, Outcome(0, 0, 0, 0)
    while total.pairs < pairs:
        draw = drawn(rng, rows)
        found = compare(library, draw, executor, batches)
        if found.wrong_leaves or found.wrong_margins:
            print(f"{library}: {found} for {draw}", file=sys.stderr)
        total = Outcome(*(getattr(total, f.name) + getattr(found, f.name) for f in fields(Outcome)))
        models += 1
    return models, total


HEAD = """# Exactness

Models of every library, drawn at random (kind, size, depth, values of the features, NaN, categories), on rows of which
most values are a threshold of their column, or the next number beside one in float32 or float64, mixed with NaN,
infinities, zeros of both signs, denormals and the ends of float32. A pair is one row in one tree. Leaves are the
library's own (`apply`, `pred_leaf`, `calc_leaf_indexes`); histogram gradient boosting names none and is compared by its
sums. A margin is the sum before any link, of single trees and forests what `predict` or `predict_proba` returns: equal
means equal bits.

Made by `make exact` with Python {python}, NumPy {numpy}.

| library | version | executor | models | pairs | wrong leaves | rows | margins that differ |
|---|---|---|--:|--:|--:|--:|--:|
"""


def main() -> None:
    """Run all libraries, print the table and write it to the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=float, default=1e8, help="pairs of row and tree for each library")
    parser.add_argument("--rows", type=int, default=20_000, help="rows for each model")
    parser.add_argument("--executors", nargs="+", default=["simd", "torch"])
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES))
    options = parser.parse_args()
    text = HEAD.format(python=".".join(map(str, sys.version_info[:3])), numpy=np.__version__)
    failed = False
    for library, executor in product(options.libraries, options.executors):
        start = time.perf_counter()
        models, total = run(library, int(options.pairs), options.rows, executor)
        counts = (models, total.pairs, total.wrong_leaves, total.rows, total.wrong_margins)
        cells = (library, version(library), f"`{executor}`", *(f"{count:,}" for count in counts))
        text += "| " + " | ".join(cells) + " |\n"
        print(text.splitlines()[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
        failed |= bool(total.wrong_leaves or total.wrong_margins)
    options.page.write_text(text, encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
