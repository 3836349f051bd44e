"""The function in C that makes rows of a circuit: the bits that the host makes, for all values that make trouble."""

from __future__ import annotations

import subprocess
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import tensorml
from tensorml import ops
from tensorml.errors import CircuitError, InputError
from tensorml.executors.base import Setting
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.ccode import lacking, literal
from tensorml.executors.fpga.circuit import Field
from tensorml.executors.fpga.encode import encoder
from tensorml.executors.fpga.fixed import exact
from tensorml.executors.fpga.handover import places, save
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.project import write_project
from tensorml.executors.fpga.simulate import pack
from tensorml.executors.fpga.tools import require
from tensorml.graph import Input, TensorType
from tests.executors.fpga.models import CASES, THREE, X, fitted
from tests.executors.fpga.stand import Stand, core_of
from tests.traps import trap_rows

ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e-45, 3e38, 1e39, -1e300, 0.5, -0.5, 1.0)
REFUSED, OUTSIDE = -1, -2
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-march=native", "-ffp-contract=fast")
PROGRAM = """
#include <stdio.h>
#include "core_encode.h"
int main(void) {
    TYPE x[COLUMNS];
    uint8_t row[CORE_IN_BYTES];
    while (fread(x, sizeof(TYPE), COLUMNS, stdin) == COLUMNS) {
        printf("%d ", core_encode(row, x));
        for (int i = 0; i < CORE_IN_BYTES; ++i) printf("%02x", row[i]);
        printf("\\n");
    }
    return 0;
}
"""
ENCODED = (
    "LogisticRegression, three classes",
    "LinearRegression",
    "MinMaxScaler(clip=True) before LogisticRegression",
    "PolynomialFeatures() before LogisticRegression",
    "KBinsDiscretizer(n_bins=3) before LogisticRegression",
    "PCA(n_components=2) before LogisticRegression",
    "BernoulliNB",
    "CategoricalNB",
    "DecisionTreeClassifier, missing values",
    "AdaBoostClassifier",
    "VotingRegressor",
    "MinMaxScaler before a tree",
    "XGBRegressor, missing values",
    "XGBRegressor, linear",
    "LGBMRegressor, missing values",
    "CatBoostRegressor, missing values",
)


@pytest.fixture(autouse=True)
def _unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "simulator", property(Stand))


@cache
def core(name: str) -> Core:
    """The circuit of the first method of a case."""
    model = tensorml.convert(fitted(name), CASES[name].x, executor="fpga")
    return core_of(model, model.outputs[0])


def project(core: Core, folder: Path) -> Path:
    """The written project of a circuit."""
    save(core, folder, None, Setting("A test."))
    return folder


def compiled(folder: Path, dtype: np.dtype, columns: int, language: str) -> Path:
    """A program that reads rows of values and prints rows of the circuit."""
    (compiler,) = require("compiler")
    kind = {"float32": "float", "float64": "double", "int64": "int64_t"}[str(dtype)]
    (folder / "main.c").write_text(PROGRAM.replace("TYPE", kind).replace("COLUMNS", str(columns)))
    standard = "-std=gnu99" if language == "c" else "-std=gnu++11"
    include = f"-I{folder / 'include'}"
    compiler.run("-x", language, standard, *STRICT, include, "main.c", "-o", "main", folder=folder)
    return folder / "main"


def traps(core: Core, x: np.ndarray, rows: int) -> np.ndarray:
    """Rows at boundaries and steps and one unit in the last place beside them, and with odd values."""
    ranks = [op for op in core.split.before.order if isinstance(op, ops.Rank)]
    pairs = [(places(op.x)[c], float(t)) for op in ranks for k, c in enumerate(op.source) for t in op.column(k)]
    given = {f"column {i}": i for i in range(x.shape[1])}
    found = trap_rows(x, [(given[c], t) for c, t in pairs if c in given and np.isfinite(t)], rows, odd=ODD)
    with np.errstate(over="ignore"):
        return np.concatenate([found, x, np.trunc(x), 100 * x, np.full((1, x.shape[1]), np.nan)]).astype(x.dtype)


def expected(core: Core, x: np.ndarray) -> list[tuple[int, str]]:
    """What the host makes of each row: how many values were limited, or that it is refused, and the row's bytes."""
    found = []
    for row in x[:, None]:
        core.saturated = 0
        try:
            fields = core.rows({"x": row})
            bits = pack(fields, core.circuit.inputs).astype("<u4").tobytes()
            found.append((core.saturated, bits[: -(-core.circuit.in_width // 8)].hex()))
        except InputError as error:
            found.append((OUTSIDE if "outside the range" in str(error) else REFUSED, ""))
    return found


def assert_encoded(core: Core, x: np.ndarray, folder: Path, language: str) -> list[int]:
    """The program of a circuit's project gives what the host gives. The first number of each row."""
    return assert_same(core, x, project(core, folder), language)


def assert_same(core: Core, x: np.ndarray, folder: Path, language: str) -> list[int]:
    """The program gives what the host gives. The first number of each row."""
    program = compiled(folder, x.dtype, x.shape[1], language)
    said = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True).stdout.decode().splitlines()
    for line, (count, bits), row in zip(said, expected(core, x), x, strict=True):
        actual = line.split()
        assert int(actual[0]) == count, (row, line)
        assert count < 0 or actual[1] == bits, row
    return [int(line.split()[0]) for line in said]


@pytest.mark.parametrize("name", ENCODED)
def test_rows_are_those_of_the_host(name: str, tmp_path: Path) -> None:
    language = ("c", "c++")[ENCODED.index(name) % 2]
    x = CASES[name].x
    counts = assert_encoded(core(name), traps(core(name), x, 300), tmp_path / "p", language)
    assert 0 in counts


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_values_of_other_types_are_read_as_they_are(dtype: type, tmp_path: Path) -> None:
    x = (X * 7).astype(dtype)
    source = DecisionTreeClassifier(max_depth=4, random_state=0).fit(x, THREE)
    found = core_of(tensorml.convert(source, x, executor="fpga"), "predict")
    rows = traps(found, x, 200) if dtype is np.float32 else np.concatenate([x, x[::-1] + 1, 10**9 * x])
    assert_encoded(found, rows, tmp_path / "p", "c")


def test_categories_are_looked_up(tmp_path: Path) -> None:
    x = np.where(np.random.default_rng(0).random(X.shape) < 0.5, X, np.round(X)).astype(np.float64)
    x[:, 1] = np.random.default_rng(1).integers(0, 12, len(x))
    options: dict[str, Any] = {"n_estimators": 3, "verbose": -1, "min_data_per_group": 1, "cat_smooth": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = LGBMRegressor(**options).fit(x, (x[:, 1] % 3) + X[:, 0], categorical_feature=[1])
    found = core_of(tensorml.convert(source, x, executor="fpga"), "predict")
    assert any(isinstance(op, ops.Lookup) for op in found.split.before.order)
    rows = np.tile(x[:80], (3, 1))
    rows[:, 1] = np.linspace(-3, 20, len(rows))
    rows[::9, 1] = np.resize(ODD, len(rows[::9]))
    assert_encoded(found, np.concatenate([rows, traps(found, x, 100)]), tmp_path / "p", "c")


@pytest.mark.parametrize("unknown", ["error", "ignore"])
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_encoders_of_numbers_find_places_and_entries_of_tables(dtype: type, unknown: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = np.stack([random.choice([-3, 1, 2, 7], 200), random.integers(0, 4, 200), random.integers(0, 90, 200)], axis=1)
    x = x.astype(dtype) / 2 if dtype is np.float64 else x
    columns = (OneHotEncoder(handle_unknown=unknown), [0, 1]), (OrdinalEncoder(), [0])
    encoders = make_column_transformer(*columns, remainder="passthrough")
    source = make_pipeline(encoders, DecisionTreeRegressor(max_depth=5, random_state=0))
    source.fit(x, x[:, 0] * 3 + x[:, 1] % 2 + x[:, 2] / 50)
    found = core_of(tensorml.convert(source, x, executor="fpga"), "predict")
    assert {ops.Position, ops.Take} <= {type(op) for op in found.split.before.order}
    odd = ODD if dtype is np.float64 else (-4, 3, 8, 10**12, -(2**62))
    rows = np.concatenate([x, np.resize(np.asarray(odd, dtype), (60, 3))])
    rows[-30:, 0] = x[:30, 0]
    assert set(assert_encoded(found, rows, tmp_path / "p", "c")) >= {0, REFUSED}


def test_sums_and_products_of_integers_wrap(tmp_path: Path) -> None:
    x = Input("x", TensorType(("N", 1), np.dtype(np.int64)))
    found = core("LinearRegression")
    zero, entrance = np.zeros(1, np.int64), next(iter(found.split.entrances.values()))
    for i, steps in enumerate((x * 3, x + 2**62, x - 2**62)):
        fixed = exact(steps, zero - 2**62, zero + 2**62)
        split = replace(found.split, entrances={x: replace(entrance, before=steps, fixed=fixed)}, checks=())
        small = Core(split, found.loss, found.policy)
        circuit = small.__dict__["circuit"] = replace(found.circuit, inputs=(Field("x0", 64, signed=True),))
        golden = np.zeros((1, 1), np.int64), np.zeros((1, len(circuit.outputs)), np.int64)
        write_project(circuit, tmp_path / f"{i}", golden, encoder=encoder(split, "core", False))
        rows = np.array([[0], [-5], [2**62], [-(2**63)], [2**63 - 1]])
        with np.errstate(over="ignore"):
            assert len(assert_same(small, rows, tmp_path / f"{i}", "c")) == len(rows)


def test_values_outside_the_range_are_counted_or_refused_as_the_policy_says(tmp_path: Path) -> None:
    rows = np.concatenate([X, 100 * X])
    for outside, numbers in (("saturate", {1, 2, 3, 4}), ("refuse", {OUTSIDE})):
        executor = FpgaExecutor(fixed=FixedPoint(outside=outside))  # pyright: ignore[reportArgumentType]
        found = core_of(tensorml.convert(fitted("LinearRegression"), X, executor=executor), "predict")
        (tmp_path / outside).mkdir()
        assert set(assert_encoded(found, rows, tmp_path / outside / "p", "c++")) & numbers


def test_floats_go_in_as_they_are_where_the_circuit_compares_them(tmp_path: Path) -> None:
    name = "XGBRegressor, missing values"
    executor = FpgaExecutor(encoder="circuit")
    found = core_of(tensorml.convert(fitted(name), CASES[name].x, executor=executor), "predict")
    x = CASES[name].x
    rows = trap_rows(x, [(0, 0.0)], 100, odd=ODD)
    assert_encoded(found, rows, tmp_path / "p", "c")


def test_what_no_compiler_repeats_has_no_function_and_the_readme_says_why(tmp_path: Path) -> None:
    folder = project(core("PCA before a tree"), tmp_path / "p")
    assert not (folder / "include" / "core_encode.h").exists()
    assert (
        "There is no function in C that makes a row of values: it would have to repeat MatMul bit for bit"
        in (folder / "README.md").read_text()
    )


def test_a_check_that_no_compiler_repeats_is_left_out_and_named(tmp_path: Path) -> None:
    folder = project(core("PCA(n_components=2) before LogisticRegression"), tmp_path / "p")
    for file in ("include/core_encode.h", "README.md"):
        text = " ".join((folder / file).read_text().replace("\n * ", " ").split()).lower()
        assert "it does not refuse rows for what becomes of them in matmul." in text


def test_fast_math_is_refused(tmp_path: Path) -> None:
    folder = project(core("LinearRegression"), tmp_path / "p")
    (folder / "main.c").write_text(PROGRAM.replace("TYPE", "double").replace("COLUMNS", "4"))
    (compiler,) = require("compiler")
    with pytest.raises(CircuitError, match="-ffast-math takes comparisons with NaN away"):
        compiler.run("-x", "c", "-ffast-math", f"-I{folder / 'include'}", "-c", "main.c", folder=folder)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0.1f"),
        (np.float64(0.1), "0.1"),
        (np.float32(-0.0), "-0.0f"),
        (np.float64(-np.inf), "-INFINITY"),
        (np.float32(np.nan), "NAN"),
        (np.int64(-(2**63)), "INT64_MIN"),
        (np.int64(2**40), "INT64_C(1099511627776)"),
        (np.uint8(255), "255"),
    ],
)
def test_numbers_are_written_so_that_c_reads_the_same(value: Any, text: str) -> None:
    assert literal(value) == text


def test_a_broadcast_column_and_a_condition_are_written(tmp_path: Path) -> None:
    """Operators that models have in front of their circuits seldom."""
    x = Input("x", TensorType(("N", 3), np.dtype(np.float64)))
    first = ops.Columns(x, np.array([1]))
    chosen = ops.Where(ops.Or(ops.Less(x, first), ops.IsNaN(x)), ops.Max(x, first), ops.Neg(ops.Min(x, first)) * 3.0)
    steps = ops.Quantize(chosen + 1.5, np.array([0.5, 0.25, 1.0]))
    assert not lacking(steps)
    assert lacking(ops.Cast(x, np.dtype(np.uint8))) == "Cast"
    assert lacking(ops.Sqrt(x)) == "Sqrt"
    assert lacking(ops.cast(x, np.float16)) == "Cast"
    integers = ops.cast(x, np.int64)
    assert not lacking(integers + integers * integers)
    assert lacking(-integers) == "Neg"
    model = fitted("LinearRegression")
    found = core_of(tensorml.convert(model, X, executor="fpga"), "predict")
    entrance = next(iter(found.split.entrances.values()))
    low, high = np.full(3, -8), np.full(3, 7)
    fixed = replace(entrance.fixed, op=steps, low=low, high=high, step=steps.step, offset=np.zeros(3))
    split = replace(found.split, entrances={x: replace(entrance, before=steps, fixed=fixed)}, checks=())
    small = Core(split, found.loss, found.policy)
    circuit = replace(found.circuit, inputs=tuple(Field(f"x{i}", 4, signed=True) for i in range(3)))
    small.__dict__["circuit"] = circuit
    (tmp_path / "p").mkdir()
    written = encoder(split, "core", False)
    rows = np.random.default_rng(0).normal(size=(300, 3)) * 3
    rows[::7, 1], rows[::5, 2] = np.resize(ODD, len(rows[::7])), np.resize(ODD, len(rows[::5]))
    golden = np.zeros((1, 3), np.int64), np.zeros((1, len(circuit.outputs)), np.int64)
    write_project(circuit, tmp_path / "p", golden, encoder=written)
    assert_same(small, rows, tmp_path / "p", "c")


def test_a_product_and_a_sum_are_rounded_apart(tmp_path: Path) -> None:
    """Thresholds at the very sums: one unit in the last place would be another code."""
    rows = np.random.default_rng(0).normal(size=(200, 1))
    x = Input("x", TensorType(("N", 1), np.dtype(np.float64)))
    thresholds = np.unique(rows * 0.1 + 0.3)
    offsets, zero = np.array([0, len(thresholds)]), np.zeros(1, np.int64)
    codes = ops.Rank(x * 0.1 + 0.3, zero, thresholds, offsets, zero, np.dtype(np.uint8))
    found = core("LinearRegression")
    entrance = next(iter(found.split.entrances.values()))
    fixed = exact(codes, zero, zero + 255)
    split = replace(found.split, entrances={x: replace(entrance, before=codes, fixed=fixed)}, checks=())
    small = Core(split, found.loss, found.policy)
    circuit = small.__dict__["circuit"] = replace(found.circuit, inputs=(Field("x0", 8),))
    golden = np.zeros((1, 1), np.int64), np.zeros((1, len(circuit.outputs)), np.int64)
    write_project(circuit, tmp_path / "p", golden, encoder=encoder(split, "core", False))
    assert set(assert_same(small, rows, tmp_path / "p", "c")) == {0}
