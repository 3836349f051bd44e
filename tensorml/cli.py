"""The command line: `tensorml convert|verify|check|bench|demo|supported`.

Exit codes: 0, done and good; 1, the answer is no (a refused model, a difference, a damaged file); 2, a wrong call.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tensorml.errors import MissingDependencyError, TensorMLError
from tensorml.executors.fpga.shell import add_options, executor_of
from tensorml.files import UntrustedPickleError, load_model, load_rows
from tensorml.report import Table

DONE, NO, WRONG_CALL = 0, 1, 2
TRUST = "load the pickle: this executes whatever code it holds"
MODEL = "a fitted model: .pkl or .joblib (with --trust-pickle), XGBoost's own .json or .ubj, or LightGBM's own .txt"
ON_HOST = (  # no executor meets them
    *("Input", "Const", "Label", "LabelColumns", "BatchSecond", "FlatRow", "Paths", "Sparse", "Table", "Untyped"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Errors are one line on stderr."""
    top = parser()
    options, options.rest = top.parse_known_args(arguments)
    if options.rest and options.command is not bench:
        top.error(f"unrecognized arguments: {' '.join(options.rest)}")
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except TensorMLError as error:
        return _fail(error, WRONG_CALL if isinstance(error, UntrustedPickleError) else NO)
    except (OSError, ValueError) as error:
        return _fail(error, WRONG_CALL)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    from tensorml import __version__

    top = argparse.ArgumentParser("tensorml", description="Fitted models as tensor programs, with the same answers.")
    top.add_argument("--version", action="version", version=f"tensorml {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_convert(commands)
    _add_verify(commands)
    _add_check(commands)
    _add(commands, "supported", supported, "list the estimators that convert, and the operators of each executor")
    _add(commands, "bench", bench, "time converted models beside their sources; options go to benchmarks.quick")
    demo_ = _add(commands, "demo", demo, "train models, convert them, compare answers and speed")
    demo_.add_argument("--output", type=Path, default=Path("demo-output"), help="directory to write to (%(default)s)")
    demo_.add_argument("--rows", type=int, default=20_000, help="rows of the large batch (%(default)s)")
    return top


def _add(commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    added.set_defaults(command=command)
    return added


def _add_convert(commands: Any) -> None:
    added = _add(commands, "convert", convert, "convert a fitted model to a file")
    added.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    added.add_argument("out", type=Path, metavar="OUT", help="what to write: .pt, .safetensors, or with fpga a folder")
    added.add_argument("--rows", type=Path, help="rows to learn the kind of input from: .npy, .csv, .parquet")
    added.add_argument("--executor", default="auto", help="fpga: a circuit, OUT is its project (%(default)s)")
    added.add_argument("--fast", action="store_true", help="let passes reorder sums, within rounding")
    added.add_argument("--trust-pickle", action="store_true", help=TRUST)
    add_options(added)


def _add_verify(commands: Any) -> None:
    added = _add(commands, "verify", verify, "compare a converted model with its source, row by row")
    added.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    added.add_argument("rows", type=Path, metavar="ROWS", help="rows to compare on: .npy, .csv, .parquet")
    added.add_argument("converted", type=Path, metavar="CONVERTED", nargs="?", help="a saved model; else convert now")
    added.add_argument("--executor", default="auto", help="what runs the converted model (%(default)s)")
    added.add_argument("--trust-pickle", action="store_true", help=TRUST)


def _add_check(commands: Any) -> None:
    added = _add(commands, "check", check, "say which steps of a model convert, which do not, why, and what to do")
    added.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    added.add_argument("--rows", type=Path, help="rows of the real input: .npy, .csv, .parquet")
    added.add_argument("--trust-pickle", action="store_true", help=TRUST)


def convert(options: argparse.Namespace) -> int:
    """Write a fitted model as a tensor program."""
    from tensorml.convert import convert as convert_model
    from tensorml.save import SUFFIXES

    circuit = options.executor == "fpga" and not options.out.suffix
    if options.out.suffix not in SUFFIXES and not circuit:
        ends = f"OUT ends in {' or '.join(SUFFIXES)}, not in {options.out.suffix or options.out.name!r}"
        raise ValueError(ends if options.out.suffix else f"{ends}; a folder is for --executor fpga")
    executor = executor_of(options)
    model = load_model(options.model, trust_pickle=options.trust_pickle)
    rows = None if options.rows is None else load_rows(options.rows)
    precision = "fast" if options.fast else "source"
    converted = convert_model(model, rows, executor=executor, precision=precision)
    converted.save(options.out)
    print(f"{options.out}: {converted.source.name} with {', '.join(converted.methods)}")
    if circuit:
        show(converted.report(fast=True))
    return DONE


def verify(options: argparse.Namespace) -> int:
    """Compare a saved or fresh conversion with its source."""
    from tensorml.convert import convert as convert_model
    from tensorml.verify import verify as verify_model

    model = load_model(options.model, trust_pickle=options.trust_pickle)
    rows = load_rows(options.rows)
    if options.converted is None:
        converted = convert_model(model, rows, executor=options.executor)
    else:
        from tensorml.save import load

        converted = load(options.converted, executor=options.executor)
    if hasattr(rows, "columns") and converted.description.feature_names is None and not converted.description.by_name:
        rows = rows.to_numpy()
    report = verify_model(model, converted, rows)
    show(report)
    return DONE if report.ok else NO


def check(options: argparse.Namespace) -> int:
    """Say what of a model converts."""
    from tensorml.check import check as check_model

    model = load_model(options.model, trust_pickle=options.trust_pickle)
    report = check_model(model, None if options.rows is None else load_rows(options.rows))
    show(report)
    return DONE if report.ok else NO


def supported(options: argparse.Namespace) -> int:
    """Print the two support tables."""
    show(estimator_table())
    print()
    show(operator_table())
    return DONE


def estimator_table() -> Table:
    """Every class that has a converter, by library."""
    from tensorml.converter import registered
    from tensorml.errors import qualified_name

    names = sorted({qualified_name(cls) for cls in registered()})
    rows = [(name.partition(".")[0], name) for name in names]
    return Table(
        ("library", "estimator"), rows, f"{len(rows)} estimators convert; options that do not are refused by name"
    )


def operator_table() -> Table:
    """Which executor has a rule for which operator."""
    from tensorml.executors.base import names

    executors = names()
    columns = [_rules_of(name) for name in executors]
    rows = [(name, *("yes" if name in column else "-" for column in columns)) for name in operator_names()]
    return Table(("operator", *executors), rows, "Operators and the executors that run them", {"yes": "green"})


def operator_names() -> list[str]:
    """The operators that executors run."""
    from tensorml import ops
    from tensorml.graph import Op

    classes = (op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, Op))
    return sorted(op.__name__ for op in classes if op.__name__ not in ON_HOST)


def _rules_of(executor: str) -> set[str]:
    """The operators that an executor has rules for; none if it is not installed."""
    from tensorml import ops
    from tensorml.executors.base import executor_class

    try:
        chosen = executor_class(executor)()
    except MissingDependencyError:
        return set()
    return {name for name in operator_names() if chosen.supports(getattr(ops, name))}


def bench(options: argparse.Namespace) -> int:
    """Run the short benchmark of the checkout that this package is in."""
    root = Path(__file__).parents[1]
    if not (root / "benchmarks" / "quick.py").is_file():
        return _fail("benchmarks/quick.py is not here: benchmarks run in a checkout of the repository", NO)
    return subprocess.run([sys.executable, "-m", "benchmarks.quick", *options.rest], cwd=root, check=False).returncode


def demo(options: argparse.Namespace) -> int:
    """Run the demonstration."""
    from tensorml.demo import run

    if options.rows < 1:
        raise ValueError(f"--rows is at least 1, not {options.rows}")
    return DONE if run(options.output, options.rows) else NO


def show(what: Any) -> None:
    """Print in colour on a terminal, as plain text elsewhere."""
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        console.print(what)
    else:
        print(what)


def _fail(error: object, code: int) -> int:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    print(f"tensorml: {lines[0]}", file=sys.stderr)
    return code


__all__ = ["main", "parser"]
