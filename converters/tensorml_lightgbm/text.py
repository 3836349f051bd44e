"""Reads LightGBM's model string, its own export: a header, then arrays of numbers for each tree, as text.

Numbers are parsed as the library parses them: thresholds and leaves, written with 17 digits, get their bits back.

**Source:** GBDT::SaveModelToString and LoadModelFromString (src/boosting/gbdt_model_text.cpp), Tree::ToString
(src/io/tree.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

VERSIONS = ("v3", "v4")  # of LightGBM 2.3 to 3, and of 4
INT32 = np.dtype(np.int32)
FLOAT64 = np.dtype(np.float64)
IN_NUMBERS = b" +-.0123456789eE" + b"infa"  # also inf and nan
Tree = Mapping[bytes, bytes]


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


def loads(text: str | bytes) -> ModelText:
    """What the model string says. Raises ValueError for one that is damaged or of another format."""
    lines = (text.encode() if isinstance(text, str) else text).split(b"\n")
    if lines[0].strip() != b"tree":
        raise damaged(f"it begins with {lines[0][:40].decode(errors='replace')!r}, not with 'tree'")
    header, start = _header(lines)
    version = header.get(b"version", b"").decode(errors="replace")
    if version not in VERSIONS:
        raise damaged(f"its version is {version!r}, known are {', '.join(VERSIONS)}")
    trees = _trees(lines, start)
    features, outputs = _number(header, b"max_feature_idx") + 1, _number(header, b"num_tree_per_iteration")
    if outputs < 1 or outputs != _number(header, b"num_class") or len(trees) % outputs:
        raise damaged(f"{len(trees)} trees are no iterations of {outputs}")
    return _checked(
        ModelText(
            objective=tuple(header.get(b"objective", b"").decode(errors="replace").split()),
            outputs=outputs,
            features=features,
            average=b"average_output" in header,
            linear=_linear(trees),
            **_arrays(trees),
        )
    )


def damaged(reason: str) -> ValueError:
    """The error for a string that is no whole model."""
    return ValueError(f"not a model string of LightGBM: {reason}")


def _header(lines: Sequence[bytes]) -> tuple[dict[bytes, bytes], int]:
    """The values before the first tree, and the line on which the trees begin."""
    header: dict[bytes, bytes] = {}
    for i, line in enumerate(lines):
        if line.startswith((b"Tree=", b"end of trees")):
            return header, i
        key, _, value = line.strip().partition(b"=")
        header[key] = value
    raise damaged("it ends before its trees do")


def _trees(lines: Sequence[bytes], start: int) -> list[dict[bytes, bytes]]:
    """The values of each tree, as text."""
    trees: list[dict[bytes, bytes]] = []
    for line in lines[start:]:
        if line.startswith(b"end of trees"):
            return trees
        key, separator, value = line.partition(b"=")
        if key == b"Tree":
            trees.append({})
        elif separator:
            trees[-1][key] = value
    raise damaged("it ends before its trees do")


def _number(values: Tree, key: bytes) -> int:
    try:
        return int(values[key])
    except (KeyError, ValueError):
        raise damaged(f"{key.decode()} is {values.get(key, b'missing').decode(errors='replace')!r}") from None


def _leaves(trees: Sequence[Tree]) -> np.ndarray:
    """The number of leaves of each tree. int64 [T]."""
    leaves = np.array([_number(tree, b"num_leaves") for tree in trees], np.int64)
    if (leaves < 1).any():
        raise damaged(f"Tree={leaves.argmin()} has no leaf")
    return leaves


def _arrays(trees: Sequence[Tree]) -> dict[str, np.ndarray]:
    """The arrays of all trees, by the names of ModelText."""
    leaves = _leaves(trees)
    sets = np.array([_number(tree, b"num_cat") for tree in trees], np.int64)
    set_words, words = _sets(trees, sets)
    return {
        "leaves": leaves,
        "feature": _joined(trees, b"split_feature", leaves - 1, INT32),
        "threshold": _joined(trees, b"threshold", leaves - 1, FLOAT64),
        "decision": _joined(trees, b"decision_type", leaves - 1, INT32),
        "left": _joined(trees, b"left_child", leaves - 1, INT32),
        "right": _joined(trees, b"right_child", leaves - 1, INT32),
        "value": _joined(trees, b"leaf_value", leaves, FLOAT64),
        "sets": sets,
        "set_words": set_words,
        "words": words,
    }


def _joined(trees: Sequence[Tree], key: bytes, counts: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """One array of every tree's numbers under a key, one tree after the other; trees of which counts is 0 left out."""
    parts: list[bytes] = []
    for i, (tree, count) in enumerate(zip(trees, counts.tolist(), strict=True)):
        line = tree.get(key, b"").strip() if count else b""
        found = line.count(b" ") + 1 if line else 0
        if found != count:
            raise damaged(f"Tree={i} has {found} numbers under {key.decode()}, not {count}")
        if count:
            parts.append(line)
    return numbers(b" ".join(parts), key, int(counts.sum()), dtype)


def numbers(line: bytes, key: bytes, count: int, dtype: np.dtype) -> np.ndarray:
    """Numbers that spaces separate. Raises ValueError if there are not `count` of them, or one is not of `dtype`."""
    if line.translate(None, IN_NUMBERS):
        raise damaged(f"{key.decode()} holds what is no number")
    try:
        found = np.fromstring(line, dtype, sep=" ") if line else np.empty(0, dtype)
    except (ValueError, DeprecationWarning):
        raise damaged(f"{key.decode()} holds what is no number of {dtype}") from None
    if len(found) != count:
        raise damaged(f"{len(found)} numbers under {key.decode()}, not {count}")
    return found


def _sets(trees: Sequence[Tree], sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of words of each category set, int64, and the words of all of them, uint32."""
    having = [tree for tree, count in zip(trees, sets, strict=True) if count]
    bounds = _joined(having, b"cat_boundaries", sets[sets > 0] + 1, INT32)
    ends = np.cumsum(sets[sets > 0] + 1)
    inside = np.ones(max(len(bounds) - 1, 0), bool)
    inside[ends[:-1] - 1] = False  # from one tree's last boundary to the next tree's first there is no set
    set_words = np.diff(bounds)[inside].astype(np.int64)
    if (set_words < 0).any():
        raise damaged("cat_boundaries do not ascend")
    words = _joined(having, b"cat_threshold", bounds[ends - 1].astype(np.int64), np.dtype(np.int64))
    if len(words) != set_words.sum() or (words < 0).any() or (words >= 2**32).any():
        raise damaged("cat_threshold and cat_boundaries do not fit")
    return set_words, words.astype(np.uint32)


def _linear(trees: Sequence[Tree]) -> Linear | None:
    """The linear models of the leaves, None if there are none."""
    leaves = _leaves(trees)
    linear = np.array([tree.get(b"is_linear", b"0").strip() != b"0" for tree in trees], bool)
    if not linear.any():
        return None
    own = np.where(linear, leaves, 0)
    in_linear = np.repeat(linear, leaves)
    constant, count = np.zeros(len(in_linear)), np.zeros(len(in_linear), INT32)
    constant[in_linear] = _joined(trees, b"leaf_const", own, FLOAT64)
    count[in_linear] = _joined(trees, b"num_features", own, INT32)
    pairs = np.add.reduceat(count, np.cumsum(leaves) - leaves, dtype=np.int64)
    packed = [
        {key: b" ".join(tree.get(key, b"").split()) for key in (b"leaf_features", b"leaf_coeff")} if is_linear else {}
        for tree, is_linear in zip(trees, linear, strict=True)
    ]
    feature = _joined(packed, b"leaf_features", pairs, INT32)
    return Linear(linear, constant, count, feature, _joined(packed, b"leaf_coeff", pairs, FLOAT64))


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
