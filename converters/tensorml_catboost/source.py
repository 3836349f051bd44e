"""How CatBoost's own models are read from files and called, for the command line and for `tensorml.verify`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catboost import CatBoost, CatBoostError

from tensorml.errors import ArtifactError

SUFFIXES = {".cbm": "cbm", ".json": "json"}


def load_model(path: Path) -> CatBoost:
    """The model in a file that `save_model` wrote, which does not say of what class it was: a CatBoost.

    Raises ArtifactError if the file holds no model of CatBoost.
    """
    model = CatBoost()
    try:
        model.load_model(path, format=SUFFIXES.get(path.suffix, "cbm"))
    except CatBoostError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArtifactError(f"{path} holds no model of CatBoost: {reason}") from error
    return model


def call(model: CatBoost, method: str, X: Any, options: Mapping[str, Any]) -> Any:
    """What the model's method returns for X."""
    return getattr(model, method)(X, **options)
