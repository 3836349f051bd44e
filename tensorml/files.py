"""The files that the command line reads: fitted models, and rows to try them on."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tensorml.converter import Model, library
from tensorml.errors import ArtifactError, InputError, MissingDependencyError

PICKLES = (".pkl", ".pickle", ".joblib")
OWN = {".cbm": "catboost", ".json": "xgboost", ".ubj": "xgboost", ".txt": "lightgbm"}  # the files of the libraries
XGBOOST, CATBOOST = b'{"learner"', b'"features_info"'  # how XGBoost's .json begins, and what is in CatBoost's
ROWS = (".npy", ".csv", ".parquet")
UNREADABLE = (AttributeError, EOFError, ImportError, LookupError, TypeError, ValueError, pickle.UnpicklingError)


class UntrustedPickleError(ArtifactError):
    """A pickle that the user has not vouched for. Nothing in it was executed."""


def load_model(path: Path, *, trust_pickle: bool = False) -> Model:
    """The fitted model in a file.

    .pkl or .joblib (executes code from the file), .json or .ubj (XGBoost), .txt (LightGBM), .cbm or .json (CatBoost).
    Raises UntrustedPickleError without `trust_pickle`, ArtifactError, FileNotFoundError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix in OWN:
        return library(_library(path)).load_model(path)
    if path.suffix not in PICKLES:
        raise ArtifactError(f"{path} is none of {', '.join((*PICKLES, *OWN))}, the files that hold a fitted model")
    if not trust_pickle:
        raise UntrustedPickleError(
            f"{path} is a pickle, and loading a pickle executes code from it. "
            "If you trust where it comes from, add --trust-pickle"
        )
    return _unpickled(path)


def _library(path: Path) -> str:
    """The library whose model is in a file of this suffix; of .json two libraries write models."""
    content = path.read_bytes() if path.suffix == ".json" else b""
    return "catboost" if CATBOOST in content and not content.startswith(XGBOOST) else OWN[path.suffix]


def _unpickled(path: Path) -> Model:
    try:
        import joblib
    except ModuleNotFoundError as error:
        raise MissingDependencyError("reading a pickled model needs joblib. Install it: pip install joblib") from error
    try:
        return joblib.load(path)
    except UNREADABLE as error:
        raise ArtifactError(f"{path} cannot be unpickled here: {type(error).__name__}: {error}") from error


def load_rows(path: Path) -> Any:
    """Rows [N, F]: an array from .npy, a DataFrame (pandas, else polars) from .csv or .parquet.

    Raises InputError, FileNotFoundError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix not in ROWS:
        raise InputError(f"{path} is none of {', '.join(ROWS)}, the files that hold rows")
    return _read_table(path)


def _read_table(path: Path) -> Any:
    """The table by pandas, or by polars where pandas or what it needs for the format is not installed."""
    from importlib import import_module

    for name in ("pandas", "polars"):
        try:
            frames = import_module(name)
            return frames.read_csv(path) if path.suffix == ".csv" else frames.read_parquet(path)
        except ImportError:
            continue
    raise MissingDependencyError(f"reading {path.suffix} needs pandas or polars. Install one: pip install polars")
