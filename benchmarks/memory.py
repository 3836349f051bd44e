"""The memory that a prediction takes beyond its input and output: `python -m benchmarks.memory CASE CONTESTANT ROWS`.

A process of its own for each measurement, since a process's peak is of all that it ever did.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATUS = Path("/proc/self/status")


def peak_beyond(case: str, contestant: str, rows: int) -> int:
    """The bytes at the peak of a prediction beyond input and output, measured in a new process.

    Raises RuntimeError with the last line of that process's errors if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.memory", case, contestant, str(rows)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError((process.stderr.strip().splitlines() or ["it was killed"])[-1])
    return int(process.stdout)


def measure(case: str, contestant: str, rows: int) -> int:
    """The same in this process, after a small prediction that loads whatever is loaded on first use."""
    from benchmarks.models import CASES, load
    from benchmarks.peers import SAMPLE, contestants

    x = CASES[case].features(rows)
    call = contestants()[contestant].prepare(CASES[case], load(CASES[case]), x[:SAMPLE])
    call(x[:SAMPLE])
    release()
    before = resident()
    result = call(x)
    return max(0, peak() - before - result.nbytes)


def release() -> None:
    """Give memory that was freed back to the system where the C library can: else the peak would hide in it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident() -> int:
    """The bytes that this process holds in memory now; the peak begins anew where the system can do that."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
        return status("VmRSS")
    return peak()


def peak() -> int:
    """The most bytes that this process held in memory."""
    if STATUS.exists():
        return status("VmHWM")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def status(field: str) -> int:
    """A field of Linux's process status, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))
