from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.preprocessing import StandardScaler
from xgboost import DMatrix, XGBClassifier, XGBRanker, XGBRegressor, train

import tensorml
from tensorml.cli import main, operator_names

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
ESTIMATORS = {"classifier": XGBClassifier, "regressor": XGBRegressor, "ranker": XGBRanker}


@pytest.fixture
def rows(tmp_path: Path) -> str:
    np.save(tmp_path / "rows.npy", X)
    return str(tmp_path / "rows.npy")


@pytest.fixture
def scaler(tmp_path: Path) -> str:
    joblib.dump(StandardScaler().fit(X), tmp_path / "scaler.joblib")
    return str(tmp_path / "scaler.joblib")


@pytest.fixture
def boosted(tmp_path: Path) -> str:
    XGBClassifier(n_estimators=3, max_depth=2).fit(X, Y).save_model(tmp_path / "model.json")
    return str(tmp_path / "model.json")


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that an error is."""
    text = capsys.readouterr().err
    assert text.startswith("tensorml: ")
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_convert_writes_a_file_that_loads_and_agrees(
    tmp_path: Path, boosted: str, rows: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"out{suffix}"
    assert main(["convert", boosted, str(out)]) == 0
    assert "XGBClassifier with predict, predict_proba, apply" in capsys.readouterr().out
    source = XGBClassifier()
    source.load_model(boosted)
    np.testing.assert_array_equal(tensorml.load(out).predict(X), source.predict(X))
    assert main(["verify", boosted, rows, str(out)]) == 0
    assert "the same" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["convert", "verify", "check"])
def test_a_pickle_is_not_loaded_without_the_flag(
    tmp_path: Path, scaler: str, rows: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = {"convert": [str(tmp_path / "out.pt")], "verify": [rows], "check": []}[command]
    assert main([command, scaler, *rest]) == 2
    assert "loading a pickle executes code from it" in error_of(capsys)


def test_a_pickle_that_is_not_trusted_is_not_executed(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "executed"), "w"))  # pyright: ignore[reportReturnType]

    joblib.dump(Attack(), tmp_path / "model.pkl")
    assert main(["check", str(tmp_path / "model.pkl")]) == 2
    assert not (tmp_path / "executed").exists()


def test_check_of_a_trusted_pickle_says_that_it_converts(scaler: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", scaler, "--trust-pickle"]) == 0
    assert "StandardScaler: converts" in capsys.readouterr().out


def test_a_refused_model_is_exit_code_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joblib.dump(Unheard(), tmp_path / "model.pkl")
    assert main(["check", str(tmp_path / "model.pkl"), "--trust-pickle"]) == 1
    assert "there is no converter for this class" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "model.pkl"), str(tmp_path / "out.pt"), "--trust-pickle"]) == 1
    assert "Unheard: there is no converter for this class" in error_of(capsys)
    assert not (tmp_path / "out.pt").exists()


class Unheard:
    """A model of nobody's."""


def test_a_difference_is_exit_code_one(
    tmp_path: Path, boosted: str, rows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    XGBClassifier(n_estimators=3, max_depth=3).fit(X, 1 - Y).save_model(other)
    assert main(["convert", str(other), str(tmp_path / "other.pt")]) == 0
    assert main(["verify", boosted, rows, str(tmp_path / "other.pt")]) == 1
    assert "NOT the same" in capsys.readouterr().out


@pytest.mark.parametrize("executor", ["reference", "torch"])
def test_verify_converts_when_no_file_is_given(
    boosted: str, rows: str, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", boosted, rows, "--executor", executor]) == 0
    assert f"on executor '{executor}': the same" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_xgboost_files_become_the_estimator_that_wrote_them(
    tmp_path: Path, rows: str, kind: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"qid": np.repeat([0, 1], 30)} if kind == "ranker" else {}
    ESTIMATORS[kind](n_estimators=2, max_depth=2).fit(X, Y, **options).save_model(tmp_path / f"m{suffix}")
    assert main(["verify", str(tmp_path / f"m{suffix}"), rows]) == 0
    assert f"xgboost.sklearn.{ESTIMATORS[kind].__name__} " in capsys.readouterr().out


def test_a_booster_is_verified_through_a_dmatrix(tmp_path: Path, rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    booster = train({"objective": "binary:logistic", "max_depth": 2}, DMatrix(X, Y), 2)
    booster.save_model(tmp_path / "booster.ubj")
    assert main(["verify", str(tmp_path / "booster.ubj"), rows]) == 0
    assert "predict(pred_leaf=True)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["model.cbm", "model.json"])
def test_catboost_s_own_files_are_read(tmp_path: Path, name: str, rows: str) -> None:
    catboost = pytest.importorskip("catboost")
    settings = {"iterations": 3, "verbose": False, "allow_writing_files": False, "thread_count": 1}
    catboost.CatBoostRegressor(**settings).fit(X, X[:, 0]).save_model(tmp_path / name, format=name.partition(".")[2])
    assert main(["verify", str(tmp_path / name), rows]) == 0


def test_lightgbm_s_own_files_are_read(tmp_path: Path, rows: str) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, n_jobs=1).fit(X, X[:, 0])
    model.booster_.save_model(tmp_path / "model.txt")
    assert main(["verify", str(tmp_path / "model.txt"), rows]) == 0


@pytest.mark.parametrize("text", ["{}", "not json", ""])
def test_a_foreign_json_file_is_one_clear_line(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.json").write_text(text)
    assert main(["check", str(tmp_path / "model.json")]) == 1
    assert "holds no model of XGBoost: " in error_of(capsys)


def test_a_damaged_pickle_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.pkl").write_bytes(b"no pickle")
    assert main(["check", str(tmp_path / "model.pkl"), "--trust-pickle"]) == 1
    assert "cannot be unpickled here" in error_of(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nothing.json"], "no such file: nothing.json"),
        (["check", "{directory}/rows.npy"], "the files that hold a fitted model"),
        (["verify", "{directory}/model.json", "nothing.npy"], "no such file: nothing.npy"),
        (["verify", "{directory}/model.json", "{directory}/model.json"], "the files that hold rows"),
        (["convert", "{directory}/model.json", "out.onnx"], "OUT ends in .pt or .safetensors, not in '.onnx'"),
        (["verify", "{directory}/model.json", "{directory}/rows.npy", "--executor", "abacus"], "no executor 'abacus'"),
    ],
)
def test_a_wrong_call_is_one_clear_line(
    tmp_path: Path, boosted: str, rows: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(directory=tmp_path) for argument in arguments]) in (1, 2)
    assert words in error_of(capsys)


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["convert"], ["supported", "--what"]])
def test_arguments_that_argparse_refuses_are_exit_code_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_are_read_from_tables(
    tmp_path: Path, suffix: str, scaler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame(X.astype(np.float64), columns=["a", "b", "c"])
    if suffix == ".parquet":
        pl.DataFrame({name: frame[name].to_numpy() for name in frame}).write_parquet(tmp_path / "rows.parquet")
    else:
        frame.to_csv(tmp_path / "rows.csv", index=False)
    assert main(["verify", scaler, str(tmp_path / f"rows{suffix}"), "--trust-pickle"]) == 0
    assert "the same" in capsys.readouterr().out


def test_supported_lists_estimators_and_operators(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["supported"]) == 0
    text = capsys.readouterr().out
    assert "sklearn.preprocessing.StandardScaler" in text
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert len(lines["operator"]) == len(tensorml.executors())
    assert lines["MatMul"] == ["yes"] * len(tensorml.executors())
    assert "Input" not in operator_names()


def test_bench_says_clearly_that_it_needs_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tensorml.cli.__file__", str(tmp_path / "tensorml" / "cli.py"))
    assert main(["bench"]) == 1
    assert "benchmarks run in a checkout of the repository" in error_of(capsys)


def test_bench_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr("tensorml.cli.subprocess.run", run)
    assert main(["bench", "--rows", "100", "trees"]) == 3
    assert calls == [[sys.executable, "-m", "benchmarks.quick", "--rows", "100", "trees"]]


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "tensorml", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"tensorml {tensorml.__version__}"


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m tensorml supported | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
