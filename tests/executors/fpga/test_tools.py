"""Tools and what they made: versions that are stated, a cache that cannot be written, a line on a terminal."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path

import pytest
import rich.console

from tensorml.errors import CircuitError
from tensorml.executors.fpga import simulate, tools
from tensorml.executors.fpga.cache import kept
from tensorml.executors.fpga.progress import shown
from tests.executors.fpga.circuits import adder


def script(path: Path, text: str, modified: int) -> None:
    """A program of a shell, which was last changed at this time."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    os.utime(path, ns=(modified, modified))


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs before those of the PATH, with no Python package of a tool."""
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


@pytest.mark.parametrize("name", ["yosys", "nextpnr-ecp5", "ecppack"])
def test_the_version_of_a_program_is_the_one_that_it_states(only: Path, name: str) -> None:
    script(only / name, 'test "$1" = --version && echo "it is 0.70" >&2', 1)
    assert tools.require(name)[0].version == "it is 0.70"
    script(only / name, "echo 0.71", 2)  # as after an upgrade, while Python goes on
    assert tools.require(name)[0].version == "0.71"


def test_a_program_that_states_no_version_is_known_by_its_file(only: Path) -> None:
    script(only / "yosys", "exit 1", 7)
    assert tools.require("yosys")[0].version == f"{only / 'yosys'} of 7"


def test_verilator_of_the_path_states_version_and_root(only: Path) -> None:
    script(only / "verilator", 'test "$1" = --getenv && echo /root || echo "Verilator 5.9"', 1)
    (verilator,) = tools.require("verilator")
    assert (verilator.version, verilator.environment) == ("Verilator 5.9", {"VERILATOR_ROOT": "/root"})


def test_a_cache_that_cannot_be_written_is_one_error_that_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path / "file"))
    with pytest.raises(CircuitError, match=r"cannot be kept in .*fpga: Not a directory\. Set TENSORML_CACHE to a"):
        simulate.Simulator(adder().circuit)


def test_what_is_in_a_cache_that_cannot_be_written_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    (tmp_path / "fpga").mkdir()
    (tmp_path / "fpga" / "there-0").touch()
    monkeypatch.setattr(Path, "mkdir", partial(_refused))
    assert kept("there", lambda folder: folder) == tmp_path / "fpga" / "there-0"


def _refused(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_an_error_of_a_build_is_not_taken_for_one_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(folder: Path) -> Path:
        (folder / "part").touch()
        raise OSError("no space left")

    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    with pytest.raises(OSError, match="no space left"):
        kept("x", build)
    assert not list((tmp_path / "fpga").iterdir())


def test_a_terminal_shows_what_a_tool_is_at_and_a_file_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        said = io.StringIO()
        console = partial(rich.console.Console, file=said, force_terminal=terminal, width=100)
        monkeypatch.setattr(rich.console, "Console", lambda console=console, **_: console())
        with shown("core: simulation") as show:
            show("Verilog to C++ [1]", 0.0)
        assert ("core: simulation: Verilog to C++ [1]" in said.getvalue()) == terminal
        assert bool(said.getvalue()) == terminal
