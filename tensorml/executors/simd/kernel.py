"""Kernels: functions of Python that are compiled on their first use, and kept on disk from then on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.ccallback import CFunc

SIGNATURE = types.int64(types.int64, types.int64, types.int64)


class Kernel:
    """A step of a machine. function: takes the address of its parameters, the block's first row and its rows.

    It returns 0, or 1 if the rows hold what the model does not take. What it closes over makes another kernel.
    """

    def __init__(self, function: Callable[[int, int, int], int]):
        self.function = function

    @cached_property
    def compiled(self) -> Any:
        """The machine code."""
        compiled: Any = CFunc(
            self.function, (SIGNATURE.args, SIGNATURE.return_type), locals={}, options={"nopython": True}
        )
        compiled._cache = disk_cache(self.function)
        compiled.compile()
        return compiled

    @property
    def address(self) -> int:
        """Where the machine code begins."""
        return self.compiled.address


def numba_cache(function: Callable[..., Any]) -> FunctionCache | NullCache:
    """Where Numba keeps machine code: beside its source, or in the user's folder; nowhere if neither can be written."""
    try:
        return FunctionCache(function)
    except RuntimeError:
        return NullCache()


def cacheable(function: Callable[..., Any]) -> bool:
    """Whether there is a folder for its machine code."""
    return isinstance(numba_cache(function), FunctionCache)


def disk_cache(function: Callable[..., Any]) -> Any:
    """Numba's cache, out of date when any file of this package changes: kernels are made of functions of several."""
    cache: Any = numba_cache(function)
    if isinstance(cache, FunctionCache):
        cache._cache_file = IndexDataCacheFile(cache.cache_path, cache._impl.filename_base, package_digest())
    return cache


@cache
def package_digest() -> str:
    """What tells this version of the kernels from others."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
