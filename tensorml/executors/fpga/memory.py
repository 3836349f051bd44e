"""Trees as memories: each node a word, so that a few walkers can share an ensemble too large for a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.circuit import Field
from tensorml.executors.fpga.compares import Column, Words, columns_of, words_of
from tensorml.executors.fpga.fixed import width
from tensorml.executors.fpga.leaves import leaf_ranges
from tensorml.executors.fpga.split import Split
from tensorml.executors.fpga.trees import Branch, Node, nested, nested_symmetric

AT_ONCE = 3  # trees that a walker follows: the cycles from an address to the next

Ends = tuple[int, int]  # the least and the largest value


@dataclass(frozen=True)
class Memory:
    """The nodes of a walker's trees as words of memory: tree i's root at address i, a node's two children together.

    A word is, from the highest bit: whether it is a leaf, then of a node column, rank and the address of its children
    without the lowest bit, which the test decides; of a leaf its number among the walker's leaves. leaves: what each
    one adds to each output, int64 [L, K]. turns: the trees, with empty ones that fill the walker's turns.
    """

    words: list[int]
    leaves: np.ndarray
    trees: int
    turns: int


@dataclass(frozen=True)
class Sizes:
    """The bits of the parts of words, the same for all walkers, and the steps of a tree."""

    column: int
    rank: int
    address: int
    leaf: int
    steps: int

    @property
    def child(self) -> int:
        """Of the address of two children: the lowest bit chooses one of them."""
        return self.address - 1

    @property
    def word(self) -> int:
        """Of a whole word."""
        return 1 + max(self.column + self.rank + self.child, self.leaf)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A tree ensemble whose tests compare fields of a row, as `columns` says of each column of the codes.

    sums: what is made of the leaves that a row reaches; None for their numbers.
    """

    descend: ops.Descend | ops.DescendSymmetric
    sums: ops.LeafSum | None
    fields: tuple[Field, ...]
    columns: tuple[Column, ...]
    words: Words

    @cached_property
    def trees(self) -> list[Node]:
        """The trees as branches."""
        build = nested_symmetric if isinstance(self.descend, ops.DescendSymmetric) else nested
        return [self.compared(tree) for tree in build(self.descend)]  # pyright: ignore[reportArgumentType]

    def compared(self, tree: Node) -> Node:
        """A tree whose tests compare words of fields. Tests that always end alike are left out."""
        while isinstance(tree, Branch):
            column = self.columns[tree.column]
            always = column.always(tree.rank)
            if always is None:
                rank = self.words.rank_of(column, tree.rank)
                return Branch(column.place, rank, self.compared(tree.left), self.compared(tree.right))
            tree = tree.right if always else tree.left
        return tree

    @property
    def leaves(self) -> int:
        """How many there are, also of tests that always end alike."""
        return leaf_ranges(self.descend)[-1].stop

    @property
    def values(self) -> np.ndarray:
        """What each leaf adds to each output: int64 [L, K]. Without sums its number."""
        if self.sums is None:
            return np.arange(self.leaves)[:, None]
        return leaf_values(self.sums, leaf_trees(self.trees))

    def groups(self, walkers: int) -> list[list[Node]]:
        """The trees of each walker: of about the same depth together, so that all have about as many nodes."""
        ordered = sorted(self.trees, key=lambda tree: sum(1 for _ in leaves_of(tree)))
        return [ordered[w::walkers] for w in range(walkers)]


def ensemble(split: Split) -> Ensemble | None:
    """The tree ensemble that a split's circuit is; None if it is anything else."""
    found = list(split.circuit.outputs.values())
    if len(found) != 1:
        return None
    sums = found[0] if isinstance(found[0], ops.LeafSum) else None
    descend = sums.leaves if sums is not None else found[0]
    if not isinstance(descend, ops.Descend | ops.DescendSymmetric):
        return None
    fields: list[Field] = []
    inputs: dict[str, list[Column]] = {}
    for entrance in split.entrances.values():
        name = split.names[entrance.before]
        ends = [(int(a), int(b)) for a, b in zip(entrance.fixed.low, entrance.fixed.high, strict=True)]
        inputs[name] = [Column(len(fields) + c, *end) for c, end in enumerate(ends)]
        fields += [Field(f"{name}_{c}", bits_of(end), end[0] < 0) for c, end in enumerate(ends)]
    columns = columns_of(descend.codes, inputs)
    words = words_of(fields, columns) if columns is not None else None
    if columns is None or words is None:
        return None
    return Ensemble(descend, sums, tuple(fields), tuple(columns), words)


def leaf_trees(trees: Sequence[Node]) -> dict[int, int]:
    """The tree of each leaf."""
    return {leaf: t for t, tree in enumerate(trees) for leaf in leaves_of(tree)}


def leaves_of(tree: Node) -> Iterator[int]:
    """The numbers of a tree's leaves."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Branch):
            waiting += [node.left, node.right]
        else:
            yield node


def nodes_of(tree: Node) -> Iterator[Node]:
    """Branches and leaves."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Branch):
            waiting += [node.left, node.right]


def leaf_values(sums: ops.LeafSum, tree_of: dict[int, int]) -> np.ndarray:
    """What each leaf adds to each output: int64 [L, K]."""
    if sums.output is None:
        return sums.values.astype(np.int64)
    values = np.zeros((len(sums.values), len(sums.start)), np.int64)
    for leaf, tree in tree_of.items():
        values[leaf, sums.output[tree]] = sums.values[leaf, 0]
    return values


def depth(tree: Node) -> int:
    """The compares on the longest way."""
    level: list[Node] = [tree]
    count = 0
    while level := [c for n in level if isinstance(n, Branch) for c in (n.left, n.right)]:
        count += 1
    return count


def sizes_of(found: Ensemble, groups: Sequence[Sequence[Node]]) -> Sizes:
    """The bits that the largest memory needs."""
    empty = even(longest(groups))
    nodes = [sum(1 for tree in group for _ in nodes_of(tree)) + empty - len(group) for group in groups]
    leaves = [sum(1 for tree in group for _ in leaves_of(tree)) + 1 for group in groups]
    return Sizes(
        column=max(1, (len(found.fields) - 1).bit_length()),
        rank=found.words.rank,
        address=(max(nodes) - 1).bit_length(),
        leaf=max(1, (max(leaves) - 1).bit_length()),
        steps=max(depth(tree) for group in groups for tree in group) + 1,
    )


def longest(groups: Sequence[Sequence[Node]]) -> int:
    """The trees of a walker, with those that fill its turns."""
    return -(-max(map(len, groups)) // AT_ONCE) * AT_ONCE


def even(count: int) -> int:
    """The next even number: children begin at one."""
    return count + count % 2


def memory(trees: Sequence[Node], values: np.ndarray, sizes: Sizes, turns: int) -> Memory:
    """The trees as words. Missing trees are leaves that add nothing."""
    order = sorted(leaf for tree in trees for leaf in leaves_of(tree))
    place = {leaf: i + 1 for i, leaf in enumerate(order)}
    mark = 1 << sizes.word - 1
    words = [mark] * even(turns)
    waiting = list(enumerate(trees))
    while waiting:
        address, node = waiting.pop()
        if not isinstance(node, Branch):
            words[address] = mark | place[node]
            continue
        child = len(words)
        words += [0, 0]
        waiting += [(child, node.left), (child + 1, node.right)]
        words[address] = ((node.column << sizes.rank) | node.rank) << sizes.child | child >> 1
    leaves = np.concatenate([np.zeros((1, values.shape[1]), np.int64), values[order]])
    return Memory(words, leaves, len(trees), turns)


def bits_of(ends: Ends) -> int:
    """The bits of a register with this range."""
    return max(1, width(*ends))
