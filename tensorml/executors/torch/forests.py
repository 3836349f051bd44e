"""The modules that trees run as. TorchScript compiles them, so their annotations are evaluated, not deferred."""

import numpy as np
import torch
from torch import nn

BLOCK = 8192  # rows that pass through a group of trees together
WALK_BLOCK = 1024  # rows whose codes stay in the first-level cache while they walk


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
        self.block, self.depth = WALK_BLOCK, depth
        self.register_buffer("test", torch.from_numpy(test))
        self.register_buffer("left", torch.from_numpy(left))
        self.register_buffer("root", torch.from_numpy(root))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Slot = the leaf's node number, block of rows by block of rows."""
        rows, trees = codes.size(0), self.root.size(0)
        slots = torch.empty([trees, rows], dtype=torch.int32, device=codes.device)
        for start in range(0, rows, self.block):
            stop = min(start + self.block, rows)
            slots[:, start:stop] = self.leaves(codes[start:stop].contiguous())
        return slots

    def leaves(self, codes: torch.Tensor) -> torch.Tensor:
        """The slots of one block of rows, [T, n]."""
        rows, flat = codes.size(0), codes.reshape([-1])
        offset = torch.arange(rows, device=codes.device, dtype=torch.int64).mul_(codes.size(1))
        node = self.root[:, None].expand(self.root.size(0), rows).contiguous()
        for _ in range(self.depth):
            test = self.test.take(node)
            code = flat.take((test >> 32).add_(offset))
            node = self.left.take(node).add_(code >= (test & 0x7FFFFFFF))
        return node


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
            held = self.values.index_select(1, slots[tree])
            if len(self.output) > 0:
                total[self.output[tree]].add_(held[0])
            else:
                total.add_(held)
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
