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

    Two processes may build it at once, and one may die: a file in the cache is complete. Its size is in its name, so
    that one which was cut short later (a full disk, a copy) is made anew: to load half a library ends the process.
    """
    path = cache_folder() / name
    there = whole(path)
    if there is not None:
        return there
    with building(path) as folder:
        made = build(folder)
        on_disk(made)
        there = path.with_name(f"{path.stem}-{made.stat().st_size}{path.suffix}")
        os.replace(made, there)
    return there


def whole(path: Path) -> Path | None:
    """A file of the cache that has the size in its name; None if there is none. path: without the size."""
    found = path.parent.glob(f"{path.stem}-*{path.suffix}")
    return next((p for p in found if p.stem == f"{path.stem}-{p.stat().st_size}"), None)


def on_disk(path: Path) -> None:
    """Wait until a file is on the disk: after a power cut its name could be there without what it holds."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


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
