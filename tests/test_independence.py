"""A file of a converted model predicts where no library of models can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorml

ABSENT = ("sklearn", "xgboost", "lightgbm", "catboost", "pandas", "joblib")
SCRIPT = f"""
import sys
for name in {ABSENT}: sys.modules[name] = None
import numpy, tensorml
folder, suffix = sys.argv[1:]
model = tensorml.load(f"{{folder}}/model{{suffix}}")
numpy.save(f"{{folder}}/answer.npy", model.predict(numpy.load(f"{{folder}}/x.npy")))
loaded = [name for name in {ABSENT} if sys.modules[name] is not None]
assert not loaded, loaded
"""
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")  # LightGBM 4.6

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 5))
X[RNG.random(X.shape) < 0.1] = np.nan
Y = (np.nan_to_num(X[:, 0] * X[:, 1]) > 0).astype(int)


def fitted(library: str) -> Any:
    match library:
        case "sklearn":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(8, random_state=0).fit(X, Y)
        case "xgboost":
            from xgboost import XGBClassifier

            return XGBClassifier(n_estimators=8, n_jobs=1).fit(X, Y)
        case "lightgbm":
            lightgbm = pytest.importorskip("lightgbm")
            return lightgbm.LGBMClassifier(n_estimators=8, n_jobs=1, verbose=-1).fit(X, Y)
    catboost = pytest.importorskip("catboost")
    settings = {"iterations": 8, "thread_count": 1, "verbose": False, "allow_writing_files": False}
    return catboost.CatBoostClassifier(**settings).fit(X, Y)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("library", ["sklearn", "xgboost", "lightgbm", "catboost"])
def test_a_file_predicts_without_the_source_library(library: str, suffix: str, tmp_path: Path):
    source = fitted(library)
    tensorml.convert(source).save(tmp_path / f"model{suffix}")
    np.save(tmp_path / "x.npy", X)
    subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), suffix], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "answer.npy"), source.predict(X))
