"""The functions in C that make answers of a circuit's results: those of the host, for all integers that fields hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

import tensorml
from tensorml import ops
from tensorml.executors.base import Outcome
from tensorml.executors.fpga.ccode import kind
from tensorml.executors.fpga.decode import Decoder, alike, decoder, identifier, text
from tensorml.executors.fpga.handover import served
from tensorml.executors.fpga.program import Core
from tensorml.executors.fpga.readme import decoding
from tensorml.executors.fpga.simulate import pack
from tensorml.executors.fpga.tools import require
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op, TensorType
from tensorml.save import setting
from tests.executors.fpga.models import CASES, THREE, TWO, X, fitted
from tests.executors.fpga.stand import Stand, core_of

STRICT = (
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wshadow",
    "-Werror",
    "-march=native",
    "-ffp-contract=fast",
)
NOT_REPEATED = (  # by a C compiler, bit for bit
    *(ops.Exp, ops.Log, ops.Log1p, ops.Sigmoid, ops.Tanh, ops.Pow, ops.Erf, ops.Softmax, ops.LogSoftmax, ops.LogSumExp),
    *(ops.ReduceSum, ops.MatMul),
)
DECODED = (
    "LogisticRegression, two classes",
    "LogisticRegression, three classes",
    "PoissonRegressor",
    "SGDOneClassSVM",
    "LinearDiscriminantAnalysis",
    "QuadraticDiscriminantAnalysis",
    "OneVsRestClassifier",
    "OneVsOneClassifier",
    "GaussianNB",
    "MLPClassifier, tanh, two layers",
    "SVC, rbf, three classes",
    "RandomForestClassifier",
    "GradientBoostingClassifier",
    "IsolationForest",
    "AdaBoostClassifier",
    "VotingClassifier",
    "XGBClassifier",
    "XGBRFClassifier",
    "LGBMClassifier",
    "CatBoostClassifier",
    "CatBoostRegressor, two outputs",
)
PRINT = {"float": '"%a "', "double": '"%a "', "int32_t": '"%" PRId32 " "', "int64_t": '"%" PRId64 " "'}


@pytest.fixture(autouse=True)
def _unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "simulator", property(Stand))


def converted(name: str) -> Any:
    return tensorml.convert(fitted(name), CASES[name].x, executor="fpga")


def outputs(model: Any) -> tuple[Core, dict[str, tuple[Any, Outcome]]]:
    """The circuit of a model's first method, and what it serves."""
    core = core_of(model, model.outputs[0])
    return core, served(core, setting(model).outcomes)


def program(declared: dict[str, str], folder: Path, language: str = "c") -> Path:
    """A program that reads results and prints what each function makes of them, a line for each."""
    calls = []
    for declaration in declared.values():
        call = re.fullmatch(r"(\w+) (\w+)\((?:(\w+) y\[(\d+)\], )?const uint8_t row\[CORE_OUT_BYTES\]\)", declaration)
        assert call, declaration
        returned, function, real, count = call.groups()
        if real is None:
            calls.append(f"printf({PRINT[returned]}, {function}(row));")
        else:
            shown = f"for (int i = 0; i < {count}; ++i) printf({PRINT[real]}, y[i]);"
            calls.append(f"{{ {real} y[{count}]; {function}(y, row); {shown} }}")
    head = "".join(f"#include {name}\n" for name in ("<stdio.h>", "<inttypes.h>", '"core_decode.h"'))
    loop = "uint8_t row[CORE_OUT_BYTES]; while (fread(row, 1, sizeof row, stdin) == sizeof row) {"
    body = "\n".join([loop, *(f'{c} printf("\\n");' for c in calls), "} return 0;"])
    (folder / "main.c").write_text(f"{head}int main(void) {{ {body} }}\n")
    (compiler,) = require("compiler")
    standard = "-std=c99" if language == "c" else "-std=c++11"
    options = ("-x", language, standard, *STRICT, f"-I{folder / 'include'}")
    compiler.run(*options, "main.c", "-o", "main", "-lm", folder=folder)
    return folder / "main"


def said(run: Path, results: np.ndarray, core: Core, names: list[str]) -> dict[str, np.ndarray]:
    """What the program prints for rows of a circuit's integers, by output: [N, columns]."""
    count = -(-core.circuit.out_width // 8)
    packed = pack(results, core.circuit.outputs).astype("<u4").view(np.uint8).reshape(len(results), -1)[:, :count]
    lines = subprocess.run([run], input=packed.tobytes(), capture_output=True, check=True).stdout.decode().splitlines()
    values = [[float.fromhex(v) if "x" in v else float(v) for v in line.split()] for line in lines]
    return {name: np.array(values[k :: len(names)]) for k, name in enumerate(names)}


def integers(core: Core, rows: int = 200) -> np.ndarray:
    """Results: those of rows that were seen, any that the fields hold, and the ends of these."""
    fields = core.circuit.outputs
    ends = np.array([[f.lowest for f in fields], [f.highest for f in fields]], np.int64)
    random = np.random.default_rng(0).integers(ends[0], ends[1], (rows, len(fields)), endpoint=True)
    ties = np.repeat(random[:20, :1], len(fields), axis=1).clip(ends[0], ends[1])
    return np.concatenate([random, ends, ties])


def by_host(split: Any, results: np.ndarray) -> np.ndarray:
    """What the host makes of results: [N, columns]."""
    passed, start = {}, 0
    for i, fixed in enumerate(split.exits.values()):
        part = results[:, start : start + len(fixed.low)]
        passed[f"sum{i}"] = part.reshape(len(part), *(int(d) for d in fixed.op.shape[1:])).astype(fixed.op.dtype)
        start += len(fixed.low)
    (value,) = evaluate(split.after, passed).values()
    return value.reshape(len(value), -1)


@pytest.mark.parametrize("name", DECODED)
def test_answers_are_those_of_the_host(name: str, tmp_path: Path) -> None:
    model = converted(name)
    core, parts = outputs(model)
    model.save(tmp_path / "p")
    declared = dict(decoder(parts, "core").declared)
    assert model.outputs[0] in declared
    results = np.concatenate([Stand(core).run(core.rows({"x": CASES[name].x[:50]})), integers(core)])
    language = ("c", "c++")[DECODED.index(name) % 2]
    for output, found in said(program(declared, tmp_path / "p", language), results, core, list(declared)).items():
        split = parts[output][0]
        expected = by_host(split, results)
        rounds = any(isinstance(op, NOT_REPEATED) for op in split.after.order)
        if not rounds or expected.dtype.kind in "iu":
            np.testing.assert_array_equal(found, expected, err_msg=output)
        else:
            rtol = 2e-6 if any(op.dtype == np.float32 for op in split.after.order) else 1e-12
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol, err_msg=output)


@pytest.mark.parametrize("booster", [False, True])
def test_values_become_answers_in_c_alone_but_for_the_circuit(booster: bool, tmp_path: Path) -> None:
    """encode.h, the circuit, decode.h: what predict and predict_proba return."""
    source = XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1) if booster else LogisticRegression(max_iter=2000)
    model: Any = tensorml.convert(source.fit(X, TWO), X, executor="fpga")
    core, parts = outputs(model)
    model.save(tmp_path / "p")
    declared = {k: v for k, v in decoder(parts, "core").declared.items() if k in ("predict", "predict_proba")}
    found = said(program(declared, tmp_path / "p"), Stand(core).run(core.rows({"x": X})), core, list(declared))
    np.testing.assert_array_equal(found["predict"][:, 0], model.predict(X))
    np.testing.assert_allclose(found["predict_proba"], model.predict_proba(X), rtol=2e-6)
    assert (found["predict"][:, 0] == source.predict(X)).mean() > 0.98


def test_labels_that_are_no_numbers_are_positions_in_a_table(tmp_path: Path) -> None:
    odd = np.array(['*/ "a"', "b\\n??/", "é\n"])[np.unique(THREE, return_inverse=True)[1]]
    source = RandomForestClassifier(4, max_depth=3, random_state=0).fit(X, odd)
    model: Any = tensorml.convert(source, X, executor="fpga")
    core, parts = outputs(model)
    model.save(tmp_path / "p")
    declared = {"predict": decoder(parts, "core").declared["predict"]}
    assert declared == {"predict": "int64_t core_predict(const uint8_t row[CORE_OUT_BYTES])"}
    found = said(program(declared, tmp_path / "p"), Stand(core).run(core.rows({"x": X})), core, ["predict"])
    np.testing.assert_array_equal(source.classes_[found["predict"][:, 0].astype(int)], model.predict(X))
    (tmp_path / "p" / "main.c").write_text(
        '#include <stdio.h>\n#include "core_decode.h"\n'
        "int main(void) { for (int i = 0; i < 3; ++i) fwrite(core_predict_labels[i], 1, strlen(core_predict_labels[i])"
        " + 1, stdout); return 0; }"
    )
    (compiler,) = require("compiler")
    options = ("-x", "c", "-std=c99", *STRICT, f"-I{tmp_path / 'p' / 'include'}")
    compiler.run(*options, "main.c", "-o", "main", folder=tmp_path / "p")
    listed = subprocess.run([tmp_path / "p" / "main"], capture_output=True, check=True).stdout
    assert listed.decode().split("\0")[:3] == list(source.classes_)


def test_both_headers_are_included_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    converted("LGBMClassifier").save(folder)
    (folder / "main.c").write_text('#include "core_decode.h"\n#include "core_encode.h"\nint main(void) { return 0; }\n')
    (compiler,) = require("compiler")
    compiler.run("-x", "c", "-std=c99", *STRICT, f"-I{folder / 'include'}", "main.c", "-lm", folder=folder)


def test_what_has_no_function_is_named_with_the_reason() -> None:
    _, parts = outputs(converted("RandomForestClassifier"))
    missing = decoder(parts, "core").missing
    assert missing == {"apply": "it has a circuit of its own", "decision_path": "it has a circuit of its own"}
    linear = outputs(converted("LGBMRegressor, linear trees"))[1]
    once_more = "it needs the row's values once more"
    assert decoder(linear, "core").missing == {"predict": once_more, "predict(raw_score=True)": once_more}
    alone = decoder({"predict": linear["predict"]}, "core")
    assert alone == Decoder(missing={"predict": once_more})
    words = (
        "There is no function in C for what comes after the circuit (`predict`: it needs the row's values once more)."
    )
    assert decoding("core", alone) == words
    stacking = decoder(outputs(converted("StackingClassifier"))[1], "core")
    assert stacking.missing["predict"] == "Finite is not written in C"


def test_the_readme_lists_the_functions(tmp_path: Path) -> None:
    converted("XGBClassifier").save(tmp_path / "p")
    readme = (tmp_path / "p" / "README.md").read_text()
    for words in (
        "| `include/core_decode.h` | in C, what the model's methods make of results |",
        "* `int64_t core_predict(const uint8_t row[CORE_OUT_BYTES])`: `predict`",
        "* `void core_predict_output_margin(float y[3], const uint8_t row[CORE_OUT_BYTES])`: `predict(output_",
        "None for `apply`: it has a circuit of its own.",
    ):
        assert words in readme


def test_columns_of_a_frame_are_called_by_their_names(tmp_path: Path) -> None:
    names = ["a*/b", "x|y", "é", "d"]
    frame = pd.DataFrame(X, columns=names).astype({"é": np.float32})
    model = RandomForestClassifier(4, max_depth=3, random_state=0).fit(frame, TWO)
    tensorml.convert(model, frame, executor="fpga").save(tmp_path / "p")
    text = (tmp_path / "p" / "include" / "core_encode.h").read_text()
    for line in ("x_float64[0]: column 0, 'a* /b'", "x_float64[2]: column 3, 'd'", "x_float32[0]: column 2, 'é'"):
        assert f" * {line}" in text
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "thresholds column 1, 'x\\|y' has reached" in readme


def test_outputs_of_other_trees_have_another_circuit() -> None:
    x = Input("x", TensorType(("N", 2), np.dtype(np.float64)))

    def graph(factor: float, name: str = "y", least: Op | None = None) -> Graph:
        return Graph({name: ops.Max(x * factor, least or Const(np.zeros(2)))})

    assert alike(graph(2.0), graph(2.0))
    assert not alike(graph(2.0), graph(3.0))
    assert not alike(graph(2.0), graph(2.0, "z"))
    assert not alike(graph(2.0), graph(2.0, least=x))
    assert not alike(graph(2.0), graph(2.0, least=Const(np.array([0.0, -0.0]))))


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("predict", "predict"),
        ("predict(raw_score=True)", "predict_raw_score"),
        ("predict(prediction_type='RawFormulaVal')", "predict_prediction_type_RawFormulaVal"),
        ("predict_proba[1]", "predict_proba_1"),
        ("predict(return_std=True).1", "predict_return_std_1"),
    ],
)
def test_functions_are_called_as_the_output(output: str, name: str) -> None:
    assert identifier(output) == name


def test_a_text_is_the_same_in_c() -> None:
    assert text('a"\\?1é') == '"a\\042\\134\\0771\\303\\251"'


def test_every_type_that_is_printed_here_has_a_name_in_c() -> None:
    assert {kind(np.dtype(t)) for t in ("f4", "f8", "i4", "i8")} == set(PRINT)
