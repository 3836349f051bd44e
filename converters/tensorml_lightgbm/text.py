"""Reads LightGBM's model string, its own export: a header, then arrays of numbers for each tree, as text.

Numbers are parsed as the library parses them: thresholds and leaves, written with 17 digits, get their bits back.

**Source:** GBDT::SaveModelToString and LoadModelFromString (src/boosting/gbdt_model_text.cpp), Tree::ToString
(src/io/tree.cpp).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

VERSIONS = ("v3", "v4")  # of LightGBM 2.3 to 3, and of 4
INT32 = np.dtype(np.int32)
FLOAT64 = np.dtype(np.float64)
IN_NUMBERS = b" +-.0123456789eE" + b"infa"  # also inf and nan
Tree = Mapping[str, str]
OF_TREES = {
    "num_leaves",
    "num_cat",
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
    "cat_boundaries",
    "cat_threshold",
    "is_linear",
    "leaf_const",
    "num_features",
    "leaf_features",
    "leaf_coeff",
}


@dataclass(frozen=True)
class Linear:
    """The linear models of the leaves, tree after tree; leaves of other trees have none.

    tree: bool [T], which trees are linear; constant: float64 [L]; count: int32 [L], the features of each leaf;
    feature: int32, coefficient: float64, both of the length of all counts together.
    """

    tree: np.ndarray
    constant: np.ndarray
    count: np.ndarray
    feature: np.ndarray
    coefficient: np.ndarray


@dataclass(frozen=True)
class ModelText:
    """What a model string says: I inner nodes and L leaves of T trees, tree after tree.

    objective: name and parameters, empty if there is none; outputs: the number of trees of an iteration; features: the
    width of the input; average: whether predictions are means over iterations; leaves: int64 [T], leaves of each tree;
    feature, left, right: int32 [I], a child c < 0 is the tree's leaf ~c; threshold: float64 [I]; decision: int32 [I],
    bit 0 a category set, bit 1 default left, bits 2 and 3 the type of missing values; value: float64 [L]; sets: int64
    [T], category sets of each tree; set_words: int64 [S], words of each set; words: uint32, the sets' bits; linear:
    None if no tree has linear leaves.
    """

    objective: tuple[str, ...]
    outputs: int
    features: int
    average: bool
    leaves: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    decision: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    sets: np.ndarray
    set_words: np.ndarray
    words: np.ndarray
    linear: Linear | None


def loads(text: str) -> ModelText:
    """What the model string says. Raises ValueError for one that is damaged or of another format."""
    lines = _lines(text)
    first = next(lines).strip()
    if first != "tree":
        raise damaged(f"it begins with {first[:40]!r}, not with 'tree'")
    header, trees = _parts(lines)
    version = header.get("version", "")
    if version not in VERSIONS:
        raise damaged(f"its version is {version!r}, known are {', '.join(VERSIONS)}")
    features, outputs = _number(header, "max_feature_idx") + 1, _number(header, "num_tree_per_iteration")
    if outputs < 1 or outputs != _number(header, "num_class") or len(trees) % outputs:
        raise damaged(f"{len(trees)} trees are no iterations of {outputs}")
    return _checked(
        ModelText(
            objective=tuple(header.get("objective", "").split()),
            outputs=outputs,
            features=features,
            average="average_output" in header,
            linear=_linear(trees),
            **_arrays(trees),
        )
    )


def damaged(reason: str) -> ValueError:
    """The error for a string that is no whole model."""
    return ValueError(f"not a model string of LightGBM: {reason}")


def _lines(text: str) -> Iterator[str]:
    """The lines one by one: a list of them would take the string's memory again."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _parts(lines: Iterator[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The header's values, and those of each tree that say where rows go and what leaves hold."""
    header: dict[str, str] = {}
    trees: list[dict[str, str]] = []
    values = header
    for line in lines:
        if line.startswith("end of trees"):
            return header, trees
        key, _, value = line.partition("=")
        if key == "Tree":
            values = {}
            trees.append(values)
        elif values is header or key in OF_TREES:
            values[key.strip()] = value.strip()
    raise damaged("it ends before its trees do")


def _number(values: Tree, key: str) -> int:
    try:
        return int(values[key])
    except (KeyError, ValueError):
        raise damaged(f"{key} is {values.get(key, 'missing')!r}") from None


def _leaves(trees: Sequence[Tree]) -> np.ndarray:
    """The number of leaves of each tree. int64 [T]."""
    leaves = np.array([_number(tree, "num_leaves") for tree in trees], np.int64)
    if (leaves < 1).any():
        raise damaged(f"Tree={leaves.argmin()} has no leaf")
    return leaves


def _arrays(trees: Sequence[Tree]) -> dict[str, np.ndarray]:
    """The arrays of all trees, by the names of ModelText."""
    leaves = _leaves(trees)
    sets = np.array([_number(tree, "num_cat") for tree in trees], np.int64)
    set_words, words = _sets(trees, sets)
    return {
        "leaves": leaves,
        "feature": _joined(trees, "split_feature", leaves - 1, INT32),
        "threshold": _joined(trees, "threshold", leaves - 1, FLOAT64),
        "decision": _joined(trees, "decision_type", leaves - 1, INT32),
        "left": _joined(trees, "left_child", leaves - 1, INT32),
        "right": _joined(trees, "right_child", leaves - 1, INT32),
        "value": _joined(trees, "leaf_value", leaves, FLOAT64),
        "sets": sets,
        "set_words": set_words,
        "words": words,
    }


def _joined(trees: Sequence[Tree], key: str, counts: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """One array of every tree's numbers under a key, one tree after the other; trees of which counts is 0 left out."""
    parts: list[str] = []
    for i, (tree, count) in enumerate(zip(trees, counts.tolist(), strict=True)):
        line = tree.get(key, "").strip() if count else ""
        found = line.count(" ") + 1 if line else 0
        if found != count:
            raise damaged(f"Tree={i} has {found} numbers under {key}, not {count}")
        if count:
            parts.append(line)
    return numbers(" ".join(parts), key, int(counts.sum()), dtype)


def numbers(line: str, key: str, count: int, dtype: np.dtype) -> np.ndarray:
    """Numbers that spaces separate. Raises ValueError if there are not `count` of them, or one is not of `dtype`."""
    if line.encode().translate(None, IN_NUMBERS):
        raise damaged(f"{key} holds what is no number")
    try:
        found = np.fromstring(line, dtype, sep=" ") if line else np.empty(0, dtype)
    except (ValueError, DeprecationWarning):
        raise damaged(f"{key} holds what is no number of {dtype}") from None
    if len(found) != count:
        raise damaged(f"{len(found)} numbers under {key}, not {count}")
    return found


def _sets(trees: Sequence[Tree], sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of words of each category set, int64, and the words of all of them, uint32."""
    having = [tree for tree, count in zip(trees, sets, strict=True) if count]
    bounds = _joined(having, "cat_boundaries", sets[sets > 0] + 1, INT32)
    ends = np.cumsum(sets[sets > 0] + 1)
    inside = np.ones(max(len(bounds) - 1, 0), bool)
    inside[ends[:-1] - 1] = False  # from one tree's last boundary to the next tree's first there is no set
    set_words = np.diff(bounds)[inside].astype(np.int64)
    if (set_words < 0).any():
        raise damaged("cat_boundaries do not ascend")
    words = _joined(having, "cat_threshold", bounds[ends - 1].astype(np.int64), np.dtype(np.int64))
    if len(words) != set_words.sum() or (words < 0).any() or (words >= 2**32).any():
        raise damaged("cat_threshold and cat_boundaries do not fit")
    return set_words, words.astype(np.uint32)


def _linear(trees: Sequence[Tree]) -> Linear | None:
    """The linear models of the leaves, None if there are none."""
    leaves = _leaves(trees)
    linear = np.array([tree.get("is_linear", "0").strip() != "0" for tree in trees], bool)
    if not linear.any():
        return None
    own = np.where(linear, leaves, 0)
    in_linear = np.repeat(linear, leaves)
    constant, count = np.zeros(len(in_linear)), np.zeros(len(in_linear), INT32)
    constant[in_linear] = _joined(trees, "leaf_const", own, FLOAT64)
    count[in_linear] = _joined(trees, "num_features", own, INT32)
    pairs = np.add.reduceat(count, np.cumsum(leaves) - leaves, dtype=np.int64)
    packed = [
        {key: " ".join(tree.get(key, "").split()) for key in ("leaf_features", "leaf_coeff")} if is_linear else {}
        for tree, is_linear in zip(trees, linear, strict=True)
    ]
    feature = _joined(packed, "leaf_features", pairs, INT32)
    return Linear(linear, constant, count, feature, _joined(packed, "leaf_coeff", pairs, FLOAT64))


def _checked(model: ModelText) -> ModelText:
    """The model, if its nodes refer to each other, to its features and to its sets."""
    owner = np.repeat(np.arange(len(model.leaves)), model.leaves - 1)
    inner = (model.leaves - 1)[owner]
    for child in (model.left, model.right):
        if (child >= inner).any() or (~child > inner).any():
            raise damaged("a child is not a node of its tree")
    used = [model.feature] if model.linear is None else [model.feature, model.linear.feature]
    if any((part < 0).any() or (part >= model.features).any() for part in used):
        raise damaged(f"a split is on a feature beyond the {model.features} of the model")
    on_set = on_sets(model)
    number = model.threshold[on_set]
    if ((number < 0) | (number >= model.sets[owner[on_set]])).any():
        raise damaged("a split is on a category set that is not there")
    return model


def on_sets(model: ModelText) -> np.ndarray:
    """Which inner nodes test a category set. bool [I]. Source: Tree::GetLeaf, which looks at num_cat first."""
    return (model.decision % 2 == 1) & np.repeat(model.sets > 0, model.leaves - 1)
