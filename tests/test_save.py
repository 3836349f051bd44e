from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import tensorml
from tensorml.errors import ArtifactError, InputError
from tests.parity import assert_equal_outputs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(250, 5))
WORDS = np.array(["ash", "birch", "oak"])[RNG.integers(0, 3, 250)]
PAIRS = np.array([["x", "y"], ["long", "y"], ["x", "zz"]])[RNG.integers(0, 3, 250)]
MODELS: dict[str, Any] = {
    "words": RandomForestClassifier(8, random_state=0).fit(X, WORDS),
    "pairs of words": RandomForestClassifier(5, random_state=0).fit(X, PAIRS),
    "bool": HistGradientBoostingClassifier(max_iter=5).fit(X, X[:, 0] > 0),
    "scaler": StandardScaler().fit(X),
}
SUFFIXES = [".pt", ".safetensors"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")
def test_a_loaded_model_answers_as_the_source_does(tmp_path: Path, name: str, suffix: str):
    source = MODELS[name]
    path = tmp_path / f"model{suffix}"
    converted = tensorml.convert(source)
    converted.save(path)
    loaded = tensorml.load(path)
    table_of_paths = {"decision_path"} if suffix == ".pt" else set()  # tests/converters/test_sklearn_tree_paths.py
    assert set(loaded.methods) == set(converted.methods) - table_of_paths
    for x in (X, X.astype(np.float32), (X * 10).astype(np.int64), X[:1]):
        for method in set(loaded.methods) - {"inverse_transform"}:
            actual, expected = getattr(loaded, method)(x), getattr(source, method)(x)
            assert_equal_outputs(actual, expected, method, rtol=1e-14)
    if "inverse_transform" in loaded.methods:
        back = source.transform(X)
        assert_equal_outputs(loaded.inverse_transform(back), source.inverse_transform(back), "inverse_transform")
    if hasattr(source, "classes_"):
        np.testing.assert_equal(loaded.classes_, source.classes_)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_says_what_it_was_made_from(tmp_path: Path, suffix: str):
    path = tmp_path / f"model{suffix}"
    tensorml.convert(MODELS["words"]).save(path)
    source = tensorml.load(path).source
    assert source.name == "sklearn.ensemble.RandomForestClassifier"
    assert source.version == __import__("sklearn").__version__


def test_a_saved_graph_runs_on_any_executor(tmp_path: Path, executor: str):
    path = tmp_path / "model.safetensors"
    tensorml.convert(MODELS["words"], executor=executor).save(path)
    loaded = tensorml.load(path, executor=executor)
    assert loaded.executor.name == executor
    np.testing.assert_array_equal(loaded.predict(X), MODELS["words"].predict(X))


LIBTORCH = """
import sys, json
import numpy as np, torch
sys.modules["tensorml"] = None
module = torch.jit.load(sys.argv[1])
x = torch.from_numpy(np.load(sys.argv[2]))
for rows in (0, 1, len(x)):
    assert module.predict_proba(x[:rows]).shape == (rows, 3)
np.save(sys.argv[3], module.predict_proba(x).numpy())
np.save(sys.argv[4], module(x).numpy())
"""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torchscript_runs_without_tensorml_at_any_batch_size(tmp_path: Path, dtype: type):
    model = MODELS["words"]
    tensorml.convert(model).save(tmp_path / "model.pt")
    many = np.tile(X, (40, 1)).astype(dtype)
    np.save(tmp_path / "x.npy", many)
    arguments = [str(tmp_path / name) for name in ("model.pt", "x.npy", "p.npy", "label.npy")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", LIBTORCH, *arguments], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), model.predict_proba(many))
    header = json.loads(zipfile.ZipFile(tmp_path / "model.pt").read("archive/extra/tensorml.json"))
    assert header["labels"] == {"predict": ["ash", "birch", "oak"]}
    assert header["source"]["name"] == "sklearn.ensemble.RandomForestClassifier"
    np.testing.assert_array_equal(model.classes_[np.load(tmp_path / "label.npy")], model.predict(many))


def test_a_torchscript_method_refuses_what_it_was_not_made_for(tmp_path: Path):
    tensorml.convert(MODELS["words"]).save(tmp_path / "model.pt")
    module = torch.jit.load(str(tmp_path / "model.pt"))
    with pytest.raises(torch.jit.Error, match=r"expected a tensor of shape \[N, 5\]"):
        module.predict(torch.zeros(3, 4))
    with pytest.raises(torch.jit.Error, match="expected a tensor of one of: float64, float32, int64"):
        module.predict(torch.zeros(3, 5, dtype=torch.int16))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_input_of_a_dtype_that_the_file_does_not_hold_is_refused(tmp_path: Path, suffix: str):
    path = tmp_path / f"model{suffix}"
    tensorml.convert(MODELS["scaler"]).save(path)
    with pytest.raises(InputError, match="this file holds programs for columns that are all float64"):
        tensorml.load(path).transform(X.astype(np.float16))


def test_the_refusal_names_the_columns_of_the_frames_that_the_file_holds(tmp_path: Path):
    table = pd.DataFrame({"size": [1.0, 2.0, 3.0], "count": [1, 2, 3], "kind": ["a", "b", "a"]})
    parts = [("kept", "passthrough", ["size", "count"]), ("coded", OneHotEncoder(), ["kind"])]
    path = tmp_path / "model.safetensors"
    tensorml.convert(ColumnTransformer(parts).fit(table), table).save(path)
    loaded = tensorml.load(path)
    words = r"programs for .*a DataFrame of the columns size float64, count int64, kind object. Convert the input"
    with pytest.raises(InputError, match=words):
        loaded.transform(table.astype({"size": np.float16}))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("where", [0.02, 0.3, 0.6, 0.97])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, where: float):
    path = tmp_path / f"model{suffix}"
    tensorml.convert(MODELS["words"]).save(path)
    content = bytearray(path.read_bytes())
    for i in range(int(len(content) * where), int(len(content) * where) + 64):
        content[i] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"damaged|not written by tensorml|not a"):
        tensorml.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cut_off_file_is_refused(tmp_path: Path, suffix: str):
    path = tmp_path / f"model{suffix}"
    tensorml.convert(MODELS["words"]).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="damaged"):
        tensorml.load(path)


def test_foreign_files_are_refused(tmp_path: Path):
    from safetensors.numpy import save_file

    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), str(tmp_path / "foreign.pt"))
    torch.save({"weights": torch.zeros(3)}, tmp_path / "weights.pt")
    save_file({"weights": np.zeros(3)}, tmp_path / "foreign.safetensors")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    for name, words in {
        "foreign.pt": "has no tensorml.json",
        "weights.pt": "has no tensorml.json",
        "text.pt": "not a TorchScript file",
        "foreign.safetensors": "it holds arrays, but no graph",
        "text.safetensors": "not a safetensors file",
    }.items():
        with pytest.raises(ArtifactError, match=words):
            tensorml.load(tmp_path / name)
    (tmp_path / "model.pkl").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(ArtifactError, match=r"its suffix is none of \.pt, \.safetensors"):
        tensorml.load(tmp_path / "model.pkl")
    with pytest.raises(FileNotFoundError, match="no such file"):
        tensorml.load(tmp_path / "absent.pt")


def test_a_newer_format_is_refused_by_its_number(tmp_path: Path):
    path = tmp_path / "model.pt"
    tensorml.convert(MODELS["scaler"]).save(path)
    content = path.read_bytes().replace(b'{"format": 1,', b'{"format": 9,')
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"format 9, this tensorml reads format 1|checksum"):
        tensorml.load(path)


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "model.safetensors"
    converted = tensorml.convert(MODELS["scaler"])
    converted.save(path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("tensorml.save._write_safetensors", fail)
    with pytest.raises(OSError, match="disk full"):
        converted.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_unknown_suffix_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"cannot write \.onnx: use \.pt or \.safetensors"):
        tensorml.convert(MODELS["scaler"]).save(tmp_path / "model.onnx")
