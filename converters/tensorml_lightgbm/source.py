"""How LightGBM's own models are read from files and called, for the command line and for `tensorml.verify`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightgbm import Booster
from lightgbm.basic import LightGBMError

from tensorml.errors import ArtifactError
from tensorml_lightgbm.text import loads

SUFFIXES = (".txt",)


def load_model(path: Path) -> Booster:
    """The Booster in a file that `save_model` wrote. Raises ArtifactError if it holds no model of LightGBM.

    It is read here first: on a damaged file the library may end the process.
    """
    try:
        loads(path.read_bytes().replace(b"\r\n", b"\n"))
        return Booster(model_file=path)
    except (LightGBMError, ValueError) as error:
        raise ArtifactError(f"{path} holds no model of LightGBM: {error}") from error


def call(model: Any, method: str, X: Any, options: Mapping[str, Any]) -> Any:
    """What the model's method returns for X."""
    return getattr(model, method)(X, **options)
