"""Long runs of a tool: what it is at is shown while it works, and it ends when its time is up."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tensorml.errors import CircuitError
from tensorml.executors.fpga.tools import Tool, failure

TICK = 0.1  # seconds between two looks at what the tool said
LONGEST = 60  # characters of a stage that are shown

Watch = Callable[[str, float], object]  # what the tool is at, and the seconds since it began
StageOf = Callable[[str], str | None]  # of a line that a tool printed: the stage that begins there, if one does


def run_watched(
    tool: Tool,
    *arguments: str | Path,
    folder: Path,
    stage_of: StageOf,
    title: str = "",
    timeout: float | None = None,
    watch: Watch | None = None,
) -> str:
    """What the tool prints, on both streams, when run in a folder; it also stays there, in a file.

    Each stage is given to `watch`, and the last one ten times a second; without it, a line on a terminal shows it.
    Raises CircuitError if the tool fails, or if it is not ready after `timeout` seconds: then it is stopped.
    """
    path = folder / f"{tool.name}.log"
    with path.open("wb") as log, path.open(encoding="utf-8", errors="replace") as said, shown(title, watch) as show:
        process = subprocess.Popen(
            [*tool.command, *map(str, arguments)],
            cwd=folder,
            env=os.environ | dict(tool.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            lines = follow(process, said, stage_of, show, tool.name, timeout)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise CircuitError(failure(tool.name, process.returncode, lines))
    return "".join(lines)


def follow(
    process: subprocess.Popen[bytes], said: TextIO, stage_of: StageOf, show: Watch, name: str, timeout: float | None
) -> list[str]:
    """The lines that a process writes into a file, once it has ended; each stage that they name is shown."""
    lines: list[str] = []
    stage, rest, start = "starting", "", time.monotonic()
    while True:
        ended = process.poll() is not None
        *whole, rest = (rest + said.read()).split("\n")
        lines += [f"{line}\n" for line in whole]
        seconds = time.monotonic() - start
        begun = [found for line in whole if (found := stage_of(line))] or [stage]
        for stage in begun:
            show(stage[:LONGEST], seconds)
        if ended:
            return [*lines, rest]
        if timeout is not None and seconds > timeout:
            raise CircuitError(
                f"{name} was not ready after {timeout:g} s; it was at: {stage}. Give it more time by `timeout`, or "
                "take the estimate that needs no tools"
            )
        time.sleep(TICK)


@contextmanager
def shown(title: str, watch: Watch | None = None) -> Iterator[Watch]:
    """Where to tell what a tool is at: `watch`, else a bar on the terminal with the time that passes, else nowhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if watch is not None:
        yield watch
    elif not console.is_terminal:
        yield lambda stage, seconds: None
    else:
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn()
        with Progress(*columns, console=console, transient=True) as bars:
            task = bars.add_task(escape(title), total=None)
            yield lambda stage, seconds: bars.update(task, description=escape(f"{title}: {stage}"))
