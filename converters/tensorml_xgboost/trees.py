"""How XGBoost's own model export reads: its trees as a Forest, its linear model, its base score.

**Source:** RegTree::SaveModel (src/tree/tree_model.cc, multi_target_tree_model.cc), GBTreeModel::SaveModel
(src/gbm/gbtree_model.cc), GBLinearModel::SaveModel, LearnerModelParam::ToJson (src/learner.cc).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xgboost import Booster

from tensorml.converter import Model, once_per_model, unsupported
from tensorml.trees import Forest
from tensorml_xgboost.ubjson import loads

FLOAT32 = np.dtype(np.float32)
LARGEST_TABLE = 2**29  # bytes
Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Export:
    """What a booster's export says. Dtypes are those that XGBoost computes in.

    objective: its name; base_score: float32 [1] or [K], in the space of predictions; outputs: K; booster: gbtree, dart
    or gblinear; tree_output: int64 [T], the output of each tree; tree_weight: float32 [T],
    dart's weights, else 1; round_ends: int64 [rounds], the number of trees after each round; weights: float32
    [F + 1, K] of gblinear, its last row the bias. categories: the categories of each column of the training frame, in
    the order of their codes, None for a column of numbers; empty where the export tells none.
    """

    objective: str
    base_score: np.ndarray
    outputs: int
    booster: str
    tree_output: np.ndarray
    tree_weight: np.ndarray
    round_ends: np.ndarray
    weights: np.ndarray
    categories: tuple[np.ndarray | None, ...]


@once_per_model
def export(booster: Booster) -> Export:
    """The booster's model, read from its export."""
    learner = loads(booster.save_raw("ubj"))["learner"]
    parameters, gradient_booster = learner["learner_model_param"], learner["gradient_booster"]
    outputs = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    name = gradient_booster["name"]
    model = (gradient_booster["gbtree"] if name == "dart" else gradient_booster)["model"]
    output = np.array(model.get("tree_info", []), np.int64)
    return Export(
        objective=learner["objective"]["name"],
        base_score=np.atleast_1d(np.array(json.loads(parameters["base_score"]), FLOAT32)),
        outputs=outputs,
        booster=name,
        tree_output=output,
        tree_weight=np.array(gradient_booster.get("weight_drop", np.ones(len(output))), FLOAT32),
        round_ends=np.array(model.get("iteration_indptr", [0]), np.int64)[1:],
        weights=np.array(model.get("weights", []), FLOAT32).reshape(-1, outputs),
        categories=tuple(_training_categories(columns) for columns in model.get("cats", {}).get("enc", [])),
    )


def _training_categories(encoded: Mapping[str, Any]) -> np.ndarray | None:
    """The categories of one column: texts one after the other with their offsets, or integers. None if it has none.

    Source: src/data/cat_container.cc, CatContainer::Save; since XGBoost 3.1.
    """
    values = encoded["values"]
    if "offsets" not in encoded:
        return np.asarray(values, np.int64) if len(values) else None
    text, offsets = bytes(np.asarray(values, np.int64).astype(np.uint8)), np.asarray(encoded["offsets"], np.int64)
    words = [text[start:end].decode(errors="replace") for start, end in itertools.pairwise(offsets)]
    return np.array(words, object) if words else None


@dataclass(frozen=True)
class Ensemble:
    """Trees ready for the graph.

    values: what leaf i holds, float32 [L, 1], or [L, K] where leaves are vectors; output: int64 [T], the output that
    each tree adds to, None for vectors; number: float32 [L], each leaf's number within its tree, as `apply` returns it.
    """

    forest: Forest
    values: np.ndarray
    output: np.ndarray | None
    number: np.ndarray


def exported_trees(booster: Booster) -> Sequence[Tree]:
    """All trees, in order of training: views of the export, which is read anew so that it is not kept."""
    gradient_booster = loads(booster.save_raw("ubj"))["learner"]["gradient_booster"]
    return gradient_booster.get("gbtree", gradient_booster)["model"]["trees"]


def ensemble(model: Model, booster: Booster, read: Export, used: slice) -> Ensemble:
    """The trees in a range, of which there is at least one."""
    trees = exported_trees(booster)[used]
    sizes = np.array([len(tree["left_children"]) for tree in trees], np.int64)
    roots = np.cumsum(sizes) - sizes
    left = _joined(trees, "left_children", np.int64)
    right = _joined(trees, "right_children", np.int64)
    shift, leaf = np.repeat(roots, sizes), left < 0
    category, tables = _categories(model, trees, roots, len(left))
    forest = Forest(
        roots=roots,
        feature=np.where(leaf, 0, _joined(trees, "split_indices", np.int64)),
        threshold=_joined(trees, "split_conditions", FLOAT32),
        nan_right=_joined(trees, "default_left", np.uint8) == 0,
        left=np.where(leaf, -1, left + shift),
        right=np.where(leaf, -1, right + shift),
        category=category,
        tables=tables,
    )
    number = (forest.leaf - shift[forest.leaf]).astype(FLOAT32)
    if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees):
        return Ensemble(forest, _vectors(trees, right, roots, forest.leaf, read.outputs), None, number)
    return Ensemble(forest, forest.threshold[forest.leaf][:, None], read.tree_output[used], number)


def _joined(trees: Sequence[Tree], name: str, dtype: np.dtype | type) -> np.ndarray:
    """One array of every tree, one after the other."""
    return np.concatenate([np.asarray(tree[name]) for tree in trees]).astype(dtype)


def _vectors(trees: Sequence[Tree], right: np.ndarray, roots: np.ndarray, leaf: np.ndarray, outputs: int) -> np.ndarray:
    """What the leaves of vector trees hold. float32 [L, K].

    Since 3.1 a leaf's `right_children` is its row in `leaf_weights`; before, `base_weights` has a row for every node.
    """
    if "leaf_weights" not in trees[0]:
        return _joined(trees, "base_weights", FLOAT32).reshape(-1, outputs)[leaf]
    rows = np.array([len(tree["leaf_weights"]) // outputs for tree in trees], np.int64)
    tree_of_leaf = np.searchsorted(roots, leaf, side="right") - 1
    first = (np.cumsum(rows) - rows)[tree_of_leaf]
    return _joined(trees, "leaf_weights", FLOAT32).reshape(-1, outputs)[first + right[leaf]]


def _categories(model: Model, trees: Sequence[Tree], roots: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The category sets of the nodes that have one, as `Forest.category` and `Forest.tables`; equal sets are one.

    A category in the set goes right. One that is not in it, negative, too large or infinite goes left.
    Source: common::Decision in src/common/categorical.h, which truncates the value to an integer.
    """
    category = np.full(nodes, -1, np.int64)
    counts = [len(tree["categories_nodes"]) for tree in trees]
    if not any(counts):
        return category, np.empty((0, 2), np.uint8)
    node = _joined(trees, "categories_nodes", np.int64) + np.repeat(roots, counts)
    sizes, member = _joined(trees, "categories_sizes", np.int64), _joined(trees, "categories", np.int64)
    missing_right = _joined(trees, "default_left", np.uint8)[node] == 0
    ends = np.cumsum(sizes)
    known: dict[tuple[bytes, bool], int] = {}
    for k, (start, end) in enumerate(zip(ends - sizes, ends, strict=True)):
        category[node[k]] = known.setdefault((member[start:end].tobytes(), bool(missing_right[k])), len(known))
    return category, _tables(model, known)


def _tables(model: Model, sets: Mapping[tuple[bytes, bool], int]) -> np.ndarray:
    """A row for each set: its categories, and whether NaN goes right. uint8 [sets, categories + 2]."""
    members = [np.frombuffer(key, np.int64) for key, _ in sets]
    size = max(int(member.max(initial=-1)) for member in members) + 1
    if len(sets) * (size + 2) > LARGEST_TABLE:
        raise unsupported(model, f"{len(sets)} sets of up to {size} categories", "Train on fewer categories")
    tables = np.zeros((len(sets), size + 2), np.uint8)
    for row, (member, (_, missing_right)) in enumerate(zip(members, sets, strict=True)):
        tables[row, member] = 1
        tables[row, -1] = missing_right
    return tables
