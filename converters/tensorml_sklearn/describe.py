"""What every scikit-learn estimator says about itself, and how it reads its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import NMF, MiniBatchNMF
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import AdditiveChi2Sampler
from sklearn.linear_model import RANSACRegressor
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.model_selection._classification_threshold import BaseThresholdClassifier
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import _BaseChain, _MultiOutputEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelBinarizer,
    LabelEncoder,
    OneHotEncoder,
    OrdinalEncoder,
    TargetEncoder,
)
from sklearn.utils import get_tags

from tensorml.converter import Description, fitted_attribute, home, library, unsupported
from tensorml_sklearn.output import container, names_out, sparse_arrays
from tensorml_sklearn.validation import require_fitted

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))  # of the installed library: (1, 6), ...
TRUE_TAGS = (1, 7)  # from here on scikit-learn tests that the tag `sparse` is true
ATTRIBUTES = ("classes_", "n_features_in_", "feature_names_in_")
IDENTITY = (None, "passthrough")
STAGES = (
    "a converted model computes the result after all stages. Call it on the source model, or fit a model with fewer "
    "stages (n_estimators) and convert that"
)
NEIGHBORS = "each row has another number of neighbours. Call it on the source model"
RANDOM = "it draws random numbers. Call it on the source model"
NOT_CONVERTED = {  # inference methods that no converter offers: what to say of them
    "staged_predict": STAGES,
    "staged_predict_proba": STAGES,
    "staged_decision_function": STAGES,
    "staged_score": STAGES,
    "kneighbors": NEIGHBORS,
    "kneighbors_graph": NEIGHBORS,
    "radius_neighbors": NEIGHBORS,
    "radius_neighbors_graph": NEIGHBORS,
    "sample": RANDOM,
    "sample_y": RANDOM,
    "gibbs": RANDOM,
    "score_samples": RANDOM,  # of a BernoulliRBM; all other models' is converted
    "decision_path": "scikit-learn is set to return sparse arrays: set_config(sparse_interface='spmatrix')",
}
SPARSE = "same"  # what `transform` returns: a sparse matrix in the format of the input
STILL_SPARSE = (SPARSE, "csr")
SPARSE_METRICS = ("euclidean", "l2", "sqeuclidean", "manhattan", "l1", "cityblock", "chebyshev", "minkowski", "cosine")
SPARSE_TRANSFORM: dict[type, Callable[[Any], str]] = {}  # what `transform` returns for a sparse matrix; else refused


def describe(model: BaseEstimator) -> Description:
    """Width, names and fitted attributes of a scikit-learn estimator. Raises NotFittedError, UnsupportedModelError."""
    require_fitted(thresholded(model) if isinstance(model, FixedThresholdClassifier) else model)
    attributes = {name: getattr(model, name) for name in ATTRIBUTES if hasattr(model, name)}
    if "n_features_in_" in attributes:
        attributes["n_features_in_"] = int(attributes["n_features_in_"])
    return replace(
        _reading(model),
        attributes=attributes,
        invertible=hasattr(model, "inverse_transform"),
        frame_back=makes_frames(model),
        feature_names_out=names_out(model),
        support=tuple(np.asarray(model.get_support()).tolist()) if isinstance(model, SelectorMixin) else None,
        refused={name: reason for name, reason in NOT_CONVERTED.items() if hasattr(model, name)},
    )


def describe_step(model: Any) -> Description:
    """What a model of any library says about itself."""
    root = home(type(model))
    return Description() if root is None else library(root).describe(model)


def _reading(model: Any) -> Description:
    """How the input is read: by the model itself, or by the models inside it that get the input first."""
    if isinstance(model, BaseSearchCV):
        return _read_by(best_estimator(model))
    if isinstance(model, Pipeline):
        steps = [step for _, step in model.steps if step not in IDENTITY]
        if not steps:
            return Description(by_name=True, sparse=False, empty=True)
        known = _read_by(steps[0])
        return known if len(steps) == 1 else replace(known, **_sparse_through(steps), absent=0.0, empty=False)
    if isinstance(model, FeatureUnion):
        members = [_read_by(member) for _, member in model.transformer_list if member not in ("drop", *IDENTITY)]
        known = next((member for member in members if member.n_features is not None), Description())
        return replace(known, by_name=True, sparse=False, empty=False)
    if isinstance(model, VotingClassifier | VotingRegressor | StackingClassifier | StackingRegressor):
        return _read_by_members(model)
    if isinstance(model, OneVsRestClassifier | OutputCodeClassifier | _MultiOutputEstimator | CalibratedClassifierCV):
        return _read_by_members(model)
    if (inner := delegate(model)) is not None:
        return _read_by(inner)
    known = _read_by_itself(model)
    if isinstance(model, RANSACRegressor):
        base = _read_by(model.estimator_)
        return replace(known, absent=base.absent, sparse=known.sparse and base.sparse, sparse_nan=base.sparse_nan)
    if isinstance(
        model,
        BaggingClassifier | BaggingRegressor | AdaBoostClassifier | AdaBoostRegressor | OneVsOneClassifier | _BaseChain,
    ):
        base = _read_by(fitted_attribute(model, "estimators_")[0])
        takes = base.absent == 0 or not isinstance(model, AdaBoostClassifier | AdaBoostRegressor | _BaseChain)
        sparse = known.sparse and base.sparse and takes
        return replace(known, absent=base.absent, sparse=sparse, sparse_nan=base.sparse_nan)
    return known


def _sparse_through(steps: list[Any]) -> dict[str, Any]:
    """Whether a pipeline of several steps takes sparse matrices, and what its `transform` makes of one.

    It does where each step that gets one takes it, and computes from it what it computes from dense rows.
    """
    sparse_nan, kinds = True, [SPARSE]
    for step in steps:
        known = _read_by(step)
        if kinds[-1] in STILL_SPARSE:
            last = step is steps[-1] and not hasattr(step, "transform")
            kind = known.sparse_transform
            as_dense = known.sparse and known.absent == 0 and _is_exact_on_sparse(step)
            if not as_dense or not (last or kind in (*STILL_SPARSE, "dense")):
                return {"sparse": False, "sparse_transform": ""}
            sparse_nan &= known.sparse_nan
            kinds.append("" if last else kind)
    dense = kinds[-1] not in STILL_SPARSE
    whole = "dense" if dense else "csr" if "csr" in kinds else SPARSE
    return {
        "sparse": True,
        "sparse_nan": sparse_nan,
        "sparse_transform": whole if hasattr(steps[-1], "transform") else "",
    }


def _is_exact_on_sparse(step: Any) -> bool:
    """Whether a step returns for a sparse matrix of any kind of numbers what it returns for dense rows.

    Measured: neighbours at one distance change places, AdditiveChi2Sampler before another step answers otherwise for
    integers, and LightGBM misreads columns that a product left unsorted.
    """
    neighbours = hasattr(step, "_fit_method") or isinstance(step, AdditiveChi2Sampler)
    return home(type(step)) == "sklearn" and not neighbours


def _read_by_members(model: Any) -> Description:
    """How models that each get the very input read it. Sparse where all take it in one meaning."""
    members = [_read_by(member) for member in _members(model)]
    names = getattr(model, "feature_names_in_", None)
    alike = len({repr(member.absent) for member in members}) == 1
    behind = getattr(model, "passthrough", False)  # `transform` and the final model get a sparse matrix then
    widths = (member.n_features for member in members if member.n_features is not None)
    return Description(
        n_features=next(widths, None),  # the ensemble's own is its first member's, which some libraries leave at 0
        feature_names=None if names is None else tuple(map(str, names)),
        reader=members[0].reader,
        objects=any(member.objects for member in members),
        absent=members[0].absent if alike else 0.0,
        sparse=alike and not behind and all(member.sparse for member in members),
        sparse_nan=all(member.sparse_nan for member in members),
        by_name=True,
    )


def _members(model: Any) -> list[Any]:
    """The models inside."""
    if isinstance(model, CalibratedClassifierCV):
        return [part.estimator for part in fitted_attribute(model, "calibrated_classifiers_")]
    return list(fitted_attribute(model, "estimators_"))


def delegate(model: Any) -> Any:
    """The one model inside that gets the very input of a model; None if the model reads its input itself."""
    if isinstance(model, FrozenEstimator):
        return model.estimator
    if isinstance(model, BaseThresholdClassifier):
        return thresholded(model)
    return fitted_attribute(model, "regressor_") if isinstance(model, TransformedTargetRegressor) else None


def thresholded(model: Any) -> Any:
    """The classifier whose threshold is set: one fitted in `fit`, or before it."""
    return getattr(model, "estimator_", model.estimator)


def is_precomputed(kernel: Any) -> bool:
    """Whether the input of a kernel method is the kernel matrix."""
    return isinstance(kernel, str) and kernel == "precomputed"


def takes_sparse(model: Any) -> bool:
    """Whether the model takes sparse matrices: libsvm's only where it was fitted on one, none as kernel matrices."""
    fitted_so = getattr(model, "_sparse", True) and not is_precomputed(getattr(model, "kernel", None))
    fitted_so = fitted_so and _searches_sparse(getattr(model, "nbrs_", model))
    return bool(fitted_so) and (VERSION < TRUE_TAGS or bool(get_tags(model).input_tags.sparse))


def _searches_sparse(model: Any) -> bool:
    """Whether a model of neighbours takes sparse rows: not in a tree, nor as distances, of which some are absent."""
    if not hasattr(model, "_fit_method"):
        return True
    return model._fit_method == "brute" and model.effective_metric_ in SPARSE_METRICS


def _read_by_itself(model: Any) -> Description:
    names = getattr(model, "feature_names_in_", None)
    by_name = isinstance(model, ColumnTransformer) or getattr(model, "_preprocessor", None) is not None
    whole = by_name or (type(model) is FunctionTransformer and not model.validate)
    whole = whole or (isinstance(model, SelectorMixin) and container(model) is not None)
    of_sparse = SPARSE_TRANSFORM.get(type(model), lambda _: "")
    one_dimensional = isinstance(model, IsotonicRegression)
    labels = isinstance(model, LabelEncoder | LabelBinarizer)
    one_dimensional = one_dimensional or (labels and not is_multilabel(model))
    indicators = len(fitted_attribute(model, "classes_")) if is_multilabel(model) else None
    return Description(
        n_features=1 if one_dimensional else getattr(model, "n_features_in_", indicators),
        feature_names=None if names is None else tuple(map(str, names)),
        sparse=not whole and not labels and takes_sparse(model),
        sparse_nan=False,
        by_name=whole,
        sparse_transform=of_sparse(model) if container(model) is None and not sparse_arrays() else "",
        one_dimensional=one_dimensional and container(model) is None,  # versions label a Series' rows differently
        objects=takes_objects(model),
        categorical=object_columns(model),
    )


def is_multilabel(model: Any) -> bool:
    """Whether the model is a LabelBinarizer that was fitted on a matrix of 0 and 1."""
    return isinstance(model, LabelBinarizer) and model.y_type_.startswith("multilabel")


def labels_as_text(model: Any) -> bool:
    """Whether the model encodes labels that are not numbers."""
    if not isinstance(model, LabelEncoder | LabelBinarizer) or is_multilabel(model):
        return False
    return np.asarray(model.classes_).dtype.kind not in "biuf"


def makes_frames(model: Any) -> bool:
    """Whether `inverse_transform` of a DataFrame is one: functions of the frame itself, and steps that pass it on.

    NMF multiplies the frame itself with its components.
    """
    if isinstance(model, Pipeline):
        return all(step in IDENTITY or makes_frames(step) for _, step in model.steps)
    return isinstance(model, NMF | MiniBatchNMF | LabelBinarizer) or (
        type(model) is FunctionTransformer and not model.validate
    )


def takes_objects(model: Any) -> bool:
    """Whether arrays of strings or objects reach the model as they are: encoders do not make numbers of them."""
    if isinstance(model, ColumnTransformer):
        return any(_read_by(part).objects for part, _ in _parts(model))
    encodes = isinstance(model, OneHotEncoder | OrdinalEncoder | TargetEncoder) or labels_as_text(model)
    return encodes or imputes_objects(model)


def imputes_objects(model: Any) -> bool:
    """Whether the model is an imputer that was fitted on strings or objects."""
    return type(model) is SimpleImputer and fitted_attribute(model, "_fit_dtype").kind == "O"


def object_columns(model: Any) -> tuple[int, ...]:
    """The columns that the model was fitted on strings or objects in."""
    if isinstance(model, ColumnTransformer):
        return tuple(sorted({columns[i] for part, columns in _parts(model) for i in _read_by(part).categorical}))
    if labels_as_text(model):
        return (0,)
    if imputes_objects(model):
        return tuple(range(model.n_features_in_))
    if not isinstance(model, OneHotEncoder | OrdinalEncoder | TargetEncoder):
        return ()
    categories = fitted_attribute(model, "categories_")
    return tuple(i for i, known in enumerate(categories) if known.dtype.kind not in "biuf")


def _parts(model: ColumnTransformer) -> list[tuple[Any, list[int]]]:
    """The models in a ColumnTransformer that get columns, with these columns."""
    indices = fitted_attribute(model, "_transformer_to_input_indices")
    parts = [(part, list(map(int, indices[name]))) for name, part, _ in model.transformers_]
    return [(part, columns) for part, columns in parts if not isinstance(part, str) and columns]


def _read_by(model: Any) -> Description:
    known = describe_step(model)
    return replace(known, reader=known.reader or type(model).__name__)


def best_estimator(model: BaseSearchCV) -> Any:
    """The refitted estimator of a search. Raises UnsupportedModelError if there is none."""
    if not hasattr(model, "best_estimator_"):
        raise unsupported(
            model,
            f"it was fitted with refit={model.refit!r}, so that it has no best_estimator_ and none of its methods",
            "Fit it with refit=True, or fit an estimator with its best_params_ and convert that",
        )
    return model.best_estimator_


def is_identity(model: Any) -> bool:
    """Whether a step returns its very input: 'passthrough', None, or the FunctionTransformer that stands for it."""
    if type(model) is FunctionTransformer:
        return model.func is None and model.inverse_func is None and not model.validate
    return model is None or (isinstance(model, str) and model == "passthrough")
