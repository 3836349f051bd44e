"""What PyTorch does for categories that are numbers."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from tensorml import ops
from tensorml.executors.torch.rules import rules

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter


def padded(values: np.ndarray, offsets: np.ndarray, fill: float, least: int = 1) -> np.ndarray:
    """Each column's values as a row, filled up to one length. Result: [K, L]."""
    count = np.diff(offsets)
    rows = np.full((len(count), max(least, int(count.max(initial=0)))), fill, values.dtype)
    rows[np.arange(rows.shape[1]) < count[:, None]] = values
    return rows


@rules.rule(ops.Position)
def position(op: ops.Position, emitter: "Emitter", x: "Proxy") -> "Proxy":
    """A binary search per column, among keys padded to one length; then a look whether the key there is the value."""
    largest = np.inf if op.x.dtype.kind == "f" else np.iinfo(np.int64).max
    keys = padded(op.keys, op.offsets, largest)
    values = x.t().contiguous()
    node = emitter.graph.call_function(torch.searchsorted, (emitter.constant(keys).node, values.node))
    place = emitter.proxy(node)
    base = emitter.constant(np.arange(len(keys), dtype=np.int64)[:, None] * keys.shape[1])
    found = emitter.constant(keys.reshape(-1)).take(place.clamp(max=keys.shape[1] - 1).add(base)).eq(values)
    found = found.logical_and(place.lt(emitter.constant(np.diff(op.offsets).astype(np.int64)[:, None])))
    result = place.where(found, emitter.constant(np.array(-1)))
    if op.x.dtype.kind == "f":
        result = result.where(values.eq(values), emitter.constant(np.asarray(op.nan, np.int64)[:, None]))
    return result.t()
