"""How XGBoost's own models are read from files and called, for the command line and for `tensorml.verify`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xgboost import Booster, DMatrix, XGBClassifier, XGBRanker, XGBRegressor
from xgboost.core import XGBoostError

from tensorml.errors import ArtifactError

SUFFIXES = (".json", ".ubj")
ESTIMATORS = {"classifier": XGBClassifier, "regressor": XGBRegressor, "ranker": XGBRanker}


def load_model(path: Path) -> Any:
    """The model in a file that `save_model` wrote: an estimator if one wrote it, else a Booster.

    Raises ArtifactError if the file holds no model of XGBoost.
    Source: xgboost.sklearn.XGBModel.save_model, which notes the kind of estimator in the attribute `scikit_learn`.
    """
    try:
        booster = Booster(model_file=path)
        kind = json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type")
        if kind not in ESTIMATORS:
            return booster
        estimator = ESTIMATORS[kind]()
        estimator.load_model(path)
    except (XGBoostError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rpartition("] ")[2]
        raise ArtifactError(f"{path} holds no model of XGBoost: {reason}") from error
    return estimator


def call(model: Any, method: str, X: Any, options: Mapping[str, Any]) -> Any:
    """What the model's method returns for X. A Booster takes a DMatrix."""
    return getattr(model, method)(DMatrix(X) if isinstance(model, Booster) else X, **options)
