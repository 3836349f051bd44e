"""The modules that trees run as. TorchScript compiles them, so their annotations are evaluated, not deferred."""

import numpy as np
import torch
from torch import nn

BLOCK = 8192  # rows that pass through a group of trees together
WALK_BLOCK = 1024  # rows whose codes stay in the first-level cache while they walk
WALK_STATES = 1_000_000  # rows times trees of a block at most: each takes about 50 bytes
LEVELS_TOGETHER = 4  # levels between two times that rows at their leaf are put aside


class AllNodes(nn.Module):
    """Codes [N, C] to slots int32 [T, N] by comparing every node.

    column: int64 [groups, nodes * G]; rank: dtype of the codes, alike. A group's nodes stand level by
    level, in a level all left children before all right ones, and the G trees side by side.
    """

    column: torch.Tensor
    rank: torch.Tensor
    first: torch.Tensor

    def __init__(self, column: np.ndarray, rank: np.ndarray, depth: int, trees: int):
        super().__init__()
        self.block, self.depth, self.trees, self.group = BLOCK, depth, trees, column.shape[1] // (2**depth - 1)
        self.register_buffer("column", torch.from_numpy(column))
        self.register_buffer("rank", torch.from_numpy(rank)[..., None])
        self.register_buffer("first", torch.arange(trees, dtype=torch.int32)[:, None] * 2**depth)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Slot = tree * 2^depth + position, block of rows by block of rows."""
        rows = codes.size(0)
        slots = torch.empty([self.trees, rows], dtype=torch.int32, device=codes.device)
        by_column = codes.t()
        for start in range(0, rows, self.block):
            stop = min(start + self.block, rows)
            block = by_column[:, start:stop].contiguous()
            for g in range(self.column.size(0)):
                last = min((g + 1) * self.group, self.trees)
                slots[g * self.group : last, start:stop] = self.positions(block, g)[: last - g * self.group]
        return slots.add_(self.first)

    def positions(self, codes: torch.Tensor, g: int) -> torch.Tensor:
        """The position, 0 to 2^depth - 1, of each row in the trees of group g. codes: [C, n]; result: [G, n]."""
        right = codes.index_select(0, self.column[g]).ge_(self.rank[g])
        position = right[((1 << (self.depth - 1)) - 1) * self.group :]
        for level in range(self.depth - 2, -1, -1):
            half = (1 << level) * self.group
            goes_right = right[half - self.group : 2 * half - self.group]
            on_left, on_right = position[:half], position[half:]
            on_right.add_(1 << (self.depth - 1 - level)).sub_(on_left).mul_(goes_right)
            position = on_left.add_(on_right)
        return position


class Levels(nn.Module):
    """Codes [N, C] of symmetric trees to leaves int32 [T, N]: a compare for each level, its bit added to the others.

    column: int64 [D, T], D the most levels of a tree; C, a column of zeros, where a tree has fewer. rank: dtype of the
    codes, alike. like: of an integer dtype that holds a code and D bits. group: trees whose bits stay in the caches.
    """

    column: torch.Tensor
    rank: torch.Tensor
    first: torch.Tensor
    like: torch.Tensor

    def __init__(self, column: np.ndarray, rank: np.ndarray, first: np.ndarray, like: np.ndarray, group: int):
        super().__init__()
        self.block, self.group = BLOCK, group
        self.register_buffer("like", torch.from_numpy(like))
        self.register_buffer("column", torch.from_numpy(column))
        self.register_buffer("rank", torch.from_numpy(rank)[..., None])
        self.register_buffer("first", torch.from_numpy(first)[:, None])

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """The leaves, block of rows by block of rows."""
        rows, trees = codes.size(0), self.column.size(1)
        leaves = torch.empty([trees, rows], dtype=torch.int32, device=codes.device)
        by_column = codes.t()
        for start in range(0, rows, self.block):
            stop = min(start + self.block, rows)
            block = torch.zeros([codes.size(1) + 1, stop - start], dtype=codes.dtype, device=codes.device)
            block[: codes.size(1)] = by_column[:, start:stop]
            for begin in range(0, trees, self.group):
                end = min(begin + self.group, trees)
                leaves[begin:end, start:stop] = self.numbers(block, begin, end)
        return leaves.add_(self.first)

    def numbers(self, codes: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        """The number of the leaf within each tree from begin to end. codes: [C + 1, n]; result: [end - begin, n]."""
        number = self.bits(codes, self.column.size(0) - 1, begin, end).to(self.like.dtype)
        for level in range(self.column.size(0) - 2, -1, -1):
            number.mul_(2).add_(self.bits(codes, level, begin, end))
        return number

    def bits(self, codes: torch.Tensor, level: int, begin: int, end: int) -> torch.Tensor:
        """0 or 1, dtype of the codes, for each tree from begin to end. Result: [end - begin, n]."""
        return codes.index_select(0, self.column[level, begin:end]).ge_(self.rank[level, begin:end])


class Select(nn.Module):
    """Codes [N, C] to slots int32 [T, N] by comparing every node, for trees of any shape with few leaves.

    A node's value is the number of leaves left of the reached one, within its subtree: that of its left child, or the
    leaves on the left plus that of its right child. Nodes are computed by height, all trees of a group together; the
    value of a leaf is 0, kept in row 0 of the table of values.

    column: int64 [groups, M]; rank, leaves_left: dtype of the values [groups, M]; left, right: int64 [groups, M], rows
    of the table. A group's nodes stand by height; `heights` are the places where the heights begin, the same for all
    groups. root: int64 [groups, G], rows of the table. first: int32 [T], the number of each tree's first leaf.
    """

    column: torch.Tensor
    rank: torch.Tensor
    leaves_left: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    root: torch.Tensor
    first: torch.Tensor
    heights: list[int]

    def __init__(self, nodes: dict[str, np.ndarray], heights: list[int], rows: int):
        super().__init__()
        self.heights, self.block, self.trees = heights, rows, len(nodes["first"])
        for name, array in nodes.items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Slot = the leaf's number through all trees, block of rows by block of rows."""
        rows, group = codes.size(0), self.root.size(1)
        slots = torch.empty([self.trees, rows], dtype=torch.int32, device=codes.device)
        by_column = codes.t()
        for start in range(0, rows, self.block):
            stop = min(start + self.block, rows)
            block = by_column[:, start:stop].to(self.rank.dtype).contiguous()
            for g in range(self.root.size(0)):
                last = min((g + 1) * group, self.trees)
                slots[g * group : last, start:stop] = self.values(block, g)[: last - g * group]
        return slots.add_(self.first[:, None])

    def values(self, codes: torch.Tensor, g: int) -> torch.Tensor:
        """The values of the roots of group g. codes: [C, n]; result: [G, n]."""
        goes_right = codes.index_select(0, self.column[g]).ge_(self.rank[g][:, None])
        table = torch.empty([self.heights[-1] + 1, codes.size(1)], dtype=codes.dtype, device=codes.device)
        table[0].zero_()
        for h in range(len(self.heights) - 1):
            begin, end = self.heights[h], self.heights[h + 1]
            on_left = table.index_select(0, self.left[g, begin:end])
            on_right = table.index_select(0, self.right[g, begin:end])
            on_right.add_(self.leaves_left[g, begin:end, None]).sub_(on_left).mul_(goes_right[begin:end])
            table[begin + 1 : end + 1] = on_left.add_(on_right)
        return table.index_select(0, self.root[g])


class Walk(nn.Module):
    """Codes [N, C] to slots int32 [T, N] by following each row from node to node; a slot is a node's number.

    test: int64 [M], column * 2^32 + rank; left: int64 [M]; root: int64 [T]. The right child is the one after the left.
    A leaf is its own left child, and no code reaches its rank.
    """

    test: torch.Tensor
    left: torch.Tensor
    root: torch.Tensor

    def __init__(self, test: np.ndarray, left: np.ndarray, root: np.ndarray, depth: int):
        super().__init__()
        self.block = max(1, min(WALK_BLOCK, WALK_STATES // len(root)))
        self.depth, self.together = depth, LEVELS_TOGETHER
        self.register_buffer("test", torch.from_numpy(test))
        self.register_buffer("left", torch.from_numpy(left))
        self.register_buffer("root", torch.from_numpy(root))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Slot = the leaf's node number, block of rows by block of rows."""
        rows, trees = codes.size(0), self.root.size(0)
        slots = torch.empty([trees, rows], dtype=torch.int32, device=codes.device)
        for start in range(0, rows, self.block):
            stop = min(start + self.block, rows)
            slots[:, start:stop] = self.leaves(codes[start:stop], self.root[:, None].expand(trees, stop - start))
        return slots

    def leaves(self, codes: torch.Tensor, begin: torch.Tensor) -> torch.Tensor:
        """The slots of one block of rows, from the nodes where they begin, [T, n].

        Rows that have reached their leaf are put aside every few levels.
        """
        rows, trees, flat = codes.size(0), self.root.size(0), codes.contiguous().reshape([-1])
        row = torch.arange(rows, device=codes.device, dtype=torch.int64).mul_(codes.size(1))
        offset = row.expand(trees, rows).reshape([-1])
        node = begin.reshape([-1])
        slots, place = node, torch.arange(rows * trees, device=codes.device)
        for level in range(self.depth):
            test = self.test.take(node)
            code = flat.take((test >> 32).add_(offset))
            node = self.left.take(node).add_(code >= (test & 0x7FFFFFFF))
            if level % self.together == self.together - 1 or level == self.depth - 1:
                slots = slots.index_copy(0, place, node) if level < self.together else slots.index_copy_(0, place, node)
                going = (self.left.take(node) != node).nonzero().reshape([-1])
                node, offset, place = node.take(going), offset.take(going), place.take(going)
        return slots.reshape([trees, rows])


class Descent(nn.Module):
    """Compares all nodes of the first levels, and walks from there: codes [N, C] to slots int32 [T, N] of the walk.

    begin: int64 [T * 2^levels], the node of the walk at each slot of the head.
    """

    begin: torch.Tensor

    def __init__(self, head: AllNodes, walk: Walk, begin: np.ndarray):
        super().__init__()
        self.head, self.walk = head, walk
        self.register_buffer("begin", torch.from_numpy(begin))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """The walk's slots."""
        slots = self.head(codes)
        for start in range(0, codes.size(0), self.walk.block):
            stop = min(start + self.walk.block, codes.size(0))
            begin = self.begin.take(slots[:, start:stop].to(torch.int64))
            slots[:, start:stop] = self.walk.leaves(codes[start:stop], begin)
        return slots


class BySize(nn.Module):
    """Walks where there are fewer than `rows` rows, so that calling operators is what costs; else compares all nodes.

    slot: int32 [M], the slot in `many` of the leaf that is a node of `few`.
    """

    slot: torch.Tensor

    def __init__(self, few: Walk, many: nn.Module, slot: np.ndarray, rows: int):
        super().__init__()
        self.few, self.many, self.rows = few, many, rows
        self.register_buffer("slot", torch.from_numpy(slot))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """The slots of `many`. codes: [N, C]; result: int32 [T, N]."""
        if codes.size(0) < self.rows:
            return self.slot.take(self.few(codes).to(torch.int64))
        return self.many(codes)


class OrderedSum(nn.Module):
    """What the slots hold, added up tree by tree: slots int32 [T, N] to [N, K], on any device in the same order.

    values: [K or 1, S]; start: [K]; output: the output that each tree adds its one number to, empty for vectors.
    """

    values: torch.Tensor
    start: torch.Tensor
    output: list[int]

    def __init__(self, values: np.ndarray, start: np.ndarray, output: list[int]):
        super().__init__()
        self.output = output
        self.register_buffer("values", torch.from_numpy(values))
        self.register_buffer("start", torch.from_numpy(start)[:, None])

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        """The sums, [N, K]."""
        total = self.start.repeat([1, slots.size(1)])
        for tree in range(slots.size(0)):
            for row in range(self.values.size(0)):  # a selection from one row is twice as fast as one from several
                held = self.values[row].index_select(0, slots[tree])
                total[self.output[tree] if len(self.output) > 0 else row].add_(held)
        return total.t().contiguous()


class ColumnSum(nn.Module):
    """The columns of x, added up one by one: [N, T] to [N, K]. output: the output that each column adds to."""

    start: torch.Tensor
    output: list[int]

    def __init__(self, start: np.ndarray, output: list[int]):
        super().__init__()
        self.output = output
        self.register_buffer("start", torch.from_numpy(start)[:, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sums, [N, K]."""
        columns = x.t().contiguous()
        total = self.start.repeat([1, x.size(0)])
        for column in range(columns.size(0)):
            total[self.output[column]].add_(columns[column])
        return total.t().contiguous()


class BagSum(nn.Module):
    """As OrderedSum, by embedding bags: they add float32 in order too, and much faster than tree by tree.

    values: [S + K + 1, K], or one column; after the slots the K starts and a -0.0 that changes no sum.
    trees: int64 [outputs, longest], what each output reads in order: its start, its trees, then the -0.0.
    """

    values: torch.Tensor
    trees: torch.Tensor
    extra: torch.Tensor

    def __init__(self, values: np.ndarray, trees: np.ndarray, extra: np.ndarray):
        super().__init__()
        self.register_buffer("values", torch.from_numpy(values))
        self.register_buffer("trees", torch.from_numpy(trees))
        self.register_buffer("extra", torch.from_numpy(extra)[:, None])

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        """The sums, [N, K]."""
        rows, (outputs, longest) = slots.size(1), self.trees.shape
        known = torch.cat([slots, self.extra.expand(self.extra.size(0), rows)])
        bags = known.index_select(0, self.trees.reshape([-1])).t().contiguous().reshape([rows * outputs, longest])
        return torch.embedding_bag(self.values, bags.reshape([-1]), self._offsets(rows * outputs, longest))[0].reshape(
            [rows, outputs * self.values.size(1)]
        )

    def _offsets(self, bags: int, longest: int) -> torch.Tensor:
        return torch.arange(0, bags * longest, longest, dtype=torch.int32, device=self.trees.device)
