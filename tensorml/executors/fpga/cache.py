"""What tools made is kept: files in the user's folder for caches, each of them whole or not there."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorml.errors import CircuitError

STALE = 86_400.0  # seconds after which a build that has not ended is taken to have died


def cache_folder() -> Path:
    """Where it is: $TENSORML_CACHE, or tensorml in the user's folder for caches, then fpga."""
    own = os.environ.get("TENSORML_CACHE")
    if own:
        return Path(own) / "fpga"
    system = Path.home() / "Library" / "Caches" if sys.platform == "darwin" else Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or system) / "tensorml" / "fpga"


def kept(name: str, build: Callable[[Path], Path]) -> Path:
    """The file of this name in the cache. If there is none, it is built in a folder of its own, then moved in one step.

    Two processes may build it at once, and one may die: a file in the cache is always complete.
    """
    path = cache_folder() / name
    if path.exists():
        return path
    with building(path) as folder:
        os.replace(build(folder), path)
    return path


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """A folder beside a file of the cache, for what it is made of. Raises CircuitError if nothing can be written."""
    folder = beside(path.parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(cache: Path) -> Path:
    """A new folder in the cache."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        remove_stale(cache)
        return Path(tempfile.mkdtemp(prefix="building-", dir=cache))
    except OSError as error:
        raise CircuitError(
            f"what is built cannot be kept in {cache}: {error.strerror}. Set TENSORML_CACHE to a folder that can be "
            "written"
        ) from error


def remove_stale(folder: Path) -> None:
    """Remove what builds that died have left."""
    for left in folder.glob("building-*"):
        try:
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
        except FileNotFoundError:  # it has just ended
            continue
