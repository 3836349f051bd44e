"""The executor's options from a shell: the words say what the arguments of Python say, and nothing else is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from xgboost import XGBRegressor

from tensorml.cli import main, parser
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.area import Limit
from tensorml.executors.fpga.grid import Grid
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.shell import executor_of
from tests.executors.fpga.models import NUMBER, X
from tests.executors.fpga.stand import Stand

NAMES = ["a", "b", "c", "d"]
TREES = XGBRegressor(n_estimators=3, max_depth=2, n_jobs=1).fit(pd.DataFrame(X, columns=NAMES), NUMBER)


def executor(*words: str) -> Any:
    return executor_of(parser().parse_args(["convert", "in.json", "out", "--executor", "fpga", *words]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], FpgaExecutor()),
        (["--encoder", "circuit"], FpgaExecutor(encoder="circuit")),
        (["--encoder", "12.4"], FpgaExecutor(encoder=Grid(12, 4))),
        (["--encoder", "u10"], FpgaExecutor(encoder=Grid(10, signed=False))),
        (["--encoder", "8.-2:nearest"], FpgaExecutor(encoder=Grid(8, -2, otherwise="nearest"))),
        (["--encoder", "12.4,u8"], FpgaExecutor(encoder=[Grid(12, 4), Grid(8, signed=False)])),
        (["--encoder", "a=b=12.4,c=u8"], FpgaExecutor(encoder={"a=b": Grid(12, 4), "c": Grid(8, signed=False)})),
        (
            ["--bits", "18", "--fraction", "10", "--rounding", "down", "--outside", "refuse"],
            FpgaExecutor(fixed=FixedPoint(bits=18, fraction=10, rounding="down", outside="refuse")),
        ),
        (["--accuracy", "0.1", "--walkers", "0"], FpgaExecutor(fixed=FixedPoint(accuracy=0.1), walkers=0)),
        (["--area", "ecp5-25k"], FpgaExecutor(area="ecp5-25k")),
        (["--area", "luts=900,dsps=0"], FpgaExecutor(area=Limit(900, 0))),
        (
            ["--area", "dsps=0,luts=900,family=ecp5,block_rams=3"],
            FpgaExecutor(area=Limit(900, 0, block_rams=3, family="ecp5")),
        ),
    ],
)
def test_words_of_a_shell_are_the_arguments_of_python(words: list[str], expected: FpgaExecutor) -> None:
    found = executor(*words)
    assert found == expected
    assert (found.encoder, found.area, found.walkers) == (expected.encoder, expected.area, expected.walkers)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--encoder", "fpga"], "--encoder fpga: 'fpga' is none of 'host', 'circuit', and fixed-point numbers as 12.4"),
        (["--encoder", "12.4,x"], "--encoder 12.4,x: 'x' is none of"),
        (["--encoder", "a=12.4,8"], "--encoder a=12.4,8: names the columns one by one, each once"),
        (["--encoder", "a=12,a=8"], "names the columns one by one, each once"),
        (["--encoder", "99"], "bits is 1 to 53, not 99"),
        (["--encoder", "a=12.4,b=8"], "encoder: 'c', 'd' have no Grid"),
        (["--encoder", "8,8"], "encoder: there are 2 grids for 4 columns"),
        (["--bits", "99"], "bits is 1 to 32 or None, not 99"),
        (["--fraction", "9"], "fraction is -64 to 64, of the bits that are given too, or None, not 9"),
        (["--accuracy", "2"], "accuracy is between 0 and 1, not 2.0"),
        (["--walkers", "-1"], "walkers is a number of them or None, not -1"),
        (["--area", "moon"], "area is a Limit or one of ecp5-25k"),
        (["--area", "luts=9"], "--area luts=9: a device, or luts=10000,dsps=0"),
        (["--area", "luts=x,dsps=0"], "--area luts=x,dsps=0: a device, or"),
        (["--area", "luts=9,dsps=0,family=moon"], "a device, or luts=10000,dsps=0, with block_rams=20 and family=ecp5"),
    ],
)
def test_words_that_say_nothing_are_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TREES.save_model(tmp_path / "model.json")
    pd.DataFrame(X, columns=NAMES).to_csv(tmp_path / "rows.csv", index=False)
    arguments = ["convert", str(tmp_path / "model.json"), str(tmp_path / "out"), "--rows", str(tmp_path / "rows.csv")]
    assert main([*arguments, "--executor", "fpga", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_another_executor_does_not_take_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["convert", "in.json", str(tmp_path / "out.pt"), "--bits", "3", "--encoder", "host"]
    assert main(arguments) == 2
    assert "--encoder, --bits: only with --executor fpga, not with --executor auto" in capsys.readouterr().err


def test_a_project_is_made_as_the_words_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Core, "simulator", property(Stand))
    TREES.save_model(tmp_path / "model.json")
    rows = pd.DataFrame(np.round(X * 4) / 4, columns=NAMES)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    arguments = ["convert", str(tmp_path / "model.json"), str(tmp_path / "out"), "--rows", str(tmp_path / "rows.csv")]
    words = ["--encoder", "a=9.2,b=10.2,c=11.2,d=12.2", "--bits", "7"]
    assert main([*arguments, "--executor", "fpga", *words]) == 0
    assert "constants 7 bits" in capsys.readouterr().out
    facts = json.loads((tmp_path / "out" / "tensorml.json").read_text())
    found = {field["meaning"].partition(", ")[2]: field["width"] for field in facts["inputs"]}
    bits = dict(zip(NAMES, (9, 10, 11, 12), strict=True))
    assert len(found) >= 2
    assert found.items() <= {f"'{name}', ap_fixed<{n}, {n - 2}>": n for name, n in bits.items()}.items()
