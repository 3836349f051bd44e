"""Walkers without a simulator: what the words in their memories say, word by word."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorml.executors.fpga.compares import Words
from tensorml.executors.fpga.memory import Ensemble, Memory, Sizes, leaf_trees, leaves_of, longest, memory, sizes_of
from tensorml.executors.fpga.program import Core


def walked(core: Core, rows: np.ndarray) -> np.ndarray:
    """The results of a circuit's rows: int64 [N, fields] to int64 [N, result fields]."""
    found = core.trees
    assert found is not None
    groups = found.groups(core.walkers)
    sizes = sizes_of(found, groups)
    memories = [memory(group, found.values, sizes, longest(groups)) for group in groups]
    results = [np.stack([held(one, sizes, found, row) for one in memories]) for row in rows.tolist()]
    if found.sums is not None:
        return np.stack(results).sum((1, 2)) + found.sums.start
    order = leaf_trees(found.trees)
    trees = np.argsort([order[next(leaves_of(tree))] for group in groups for tree in group])
    places = [(w, t) for w, group in enumerate(groups) for t in range(len(group))]
    return np.array([[row[places[t]][0] for t in trees] for row in results])


def held(found: Memory, sizes: Sizes, ensemble: Ensemble, row: list[int]) -> np.ndarray:
    """What the leaves of a memory hold that a row reaches: int64 [turns, K]."""
    return np.stack([found.leaves[leaf_of(found, sizes, ensemble.words, row, tree)] for tree in range(found.turns)])


def leaf_of(found: Memory, sizes: Sizes, words: Words, row: list[int], at: int) -> int:
    """The number of the leaf that is reached from an address."""
    for _ in range(sizes.steps):
        word = found.words[at]
        if word >> sizes.word - 1:
            return word & (1 << sizes.leaf) - 1
        child, rank, column = parts(word, [sizes.child, sizes.rank, sizes.column])
        at = 2 * child + passes(words, row[column] & (1 << words.bits) - 1, rank)
    raise AssertionError(f"no leaf after {sizes.steps} steps")


def passes(words: Words, code: int, rank: int) -> bool:
    """Whether a word passes a test."""
    top, pattern = 1 << words.bits - 1, np.array(code, np.uint64)
    if words.kind == "float":
        value = pattern.astype(np.uint32).view(np.float32) if words.bits == 32 else pattern.view(np.float64)
        if np.isnan(value):
            return bool(rank >> words.bits)
        code ^= 2 * top - 1 if code & top else top
    elif words.kind == "signed":
        code ^= top
    return code >= rank & 2 * top - 1


def parts(word: int, bits: list[int]) -> Iterator[int]:
    """Parts of a word of so many bits, from the lowest on."""
    for count in bits:
        yield word & (1 << count) - 1
        word >>= count
