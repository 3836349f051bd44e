"""How LightGBM's own models are read from files and called, for the command line and for `tensorml.verify`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightgbm import Booster
from lightgbm.basic import LightGBMError

from tensorml.converter import unsupported
from tensorml.errors import ArtifactError
from tensorml_lightgbm.text import loads

SUFFIXES = (".txt",)


def load_model(path: Path) -> Booster:
    """The Booster in a file that `save_model` wrote. Raises ArtifactError if it holds no model of LightGBM.

    It is read here first: on a damaged file the library may end the process.
    """
    try:
        loads(path.read_text(encoding="utf-8"))
        return Booster(model_file=path)
    except (LightGBMError, ValueError) as error:
        raise ArtifactError(f"{path} holds no model of LightGBM: {error}") from error


def restore(original: Any, copied: Any) -> None:
    """Give a copied Booster its best iteration back. Raises UnsupportedModelError where the copy predicts otherwise.

    A copy is made from the model string, which has six digits of the parameter `sigmoid`. `train` itself makes its
    result anew from there, unless it is asked to keep the booster that it trained, which knows all digits.
    Source: lightgbm.Booster.__deepcopy__; BinaryLogloss::ToString (src/objective/binary_objective.hpp).
    """
    if not isinstance(original, Booster):
        return
    copied.best_iteration = original.best_iteration
    slope = float(original.params.get("sigmoid", 1.0))
    if getattr(original, "train_set", None) is not None and float(f"{slope:g}") != slope:
        raise unsupported(
            original,
            f"sigmoid={slope!r} has more digits than a model string keeps, and this booster was not made from one",
            "Convert Booster(model_str=model.model_to_string(num_iteration=-1))",
        )


def call(model: Any, method: str, X: Any, options: Mapping[str, Any]) -> Any:
    """What the model's method returns for X."""
    return getattr(model, method)(X, **options)
