"""Threads that help a call: as many for the whole process as it has cores, however many calls run at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """The threads that a call may use: OMP_NUM_THREADS, which joblib sets for its workers, or this process's cores."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def helpers() -> ThreadPoolExecutor:
    """The threads beside those that call."""
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="tensorml")


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=helpers.cache_clear)


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """The function's results, computed by the caller and by up to threads - 1 helpers that have time."""
    left = iter(items)  # `next` of a range is atomic
    results: list[Result] = []

    def work() -> None:
        results.extend(map(function, left))

    helping = [helpers().submit(work) for _ in range(threads - 1)]
    work()
    for future in helping:
        if not future.cancel():  # else it has not begun, and there is nothing left to do
            future.result()
    return results
