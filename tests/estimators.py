"""Every estimator of scikit-learn, constructed, fitted on small data that it takes, with rows to predict."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators, get_tags

METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "predict_joint_log_proba",
    "decision_function",
    "transform",
    "inverse_transform",
    "score_samples",
    "mahalanobis",
    "apply",
    "decision_path",
    "kneighbors",
    "kneighbors_graph",
    "radius_neighbors",
    "radius_neighbors_graph",
    "staged_predict",
    "staged_predict_proba",
    "staged_decision_function",
    "latent_mean_and_variance",
)

ROWS, COLUMNS = 80, 5
RANDOM = np.random.default_rng(0)
THREE = RANDOM.integers(0, 3, ROWS)
X = RANDOM.normal(size=(ROWS, COLUMNS)) + THREE[:, None] * np.linspace(-1, 1, COLUMNS)
NUMBER = X @ np.arange(1.0, COLUMNS + 1) + 0.1 * RANDOM.normal(size=ROWS)
NUMBERS = np.stack([NUMBER, X[:, 0] - X[:, 1] + 0.1 * RANDOM.normal(size=ROWS)], axis=1)
TWO = np.greater(NUMBER, np.median(NUMBER)).astype(int)
BITS = np.stack([TWO, THREE == 1], axis=1).astype(int)
WORDS = np.array(["red", "green", "blue"])[THREE]
COUNTS = np.floor(np.abs(X) * 2)
CODES = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 7 // 3 % 4.0
HOLES = np.where(np.arange(X.size).reshape(X.shape) % 7 == 3, np.nan, X)
IMAGES = RANDOM.normal(size=(6, 7, 8))


@dataclass(frozen=True)
class Case:
    """A fitted estimator and rows for it. target: what it was fitted on, such as "multiclass"."""

    name: str
    target: str
    model: Any
    rows: Any


@cache
def estimators() -> dict[str, type]:
    """All estimators of the installed scikit-learn, by name."""
    return dict(all_estimators())


MEMBERS = {
    "Classifier": [("logistic", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))],
    "Regressor": [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))],
}
COST: dict[str, Any] = {"estimator": LogisticRegression(), "param_grid": {"C": [0.1, 1.0]}, "cv": 2}
DRAWN: dict[str, Any] = {"estimator": LogisticRegression(), "param_distributions": {"C": [0.1, 1.0]}, "cv": 2}
ARGUMENTS: dict[str, dict[str, Any]] = {  # parameters without a default, or whose default does not suit small data
    "AdaBoostRegressor": {"estimator": DecisionTreeRegressor(max_depth=2)},
    "AffinityPropagation": {"preference": -20},
    "CalibratedClassifierCV": {"cv": 2},
    "ColumnTransformer": {"transformers": [("scaled", StandardScaler(), [0, 1]), ("as it is", "passthrough", [3])]},
    "DictionaryLearning": {"max_iter": 10, "n_components": 4},
    "FeatureAgglomeration": {"n_clusters": 2},
    "FeatureUnion": {"transformer_list": [("scaled", StandardScaler()), ("chosen", SelectFromModel(Lasso(0.1)))]},
    "FunctionTransformer": {"func": np.exp, "inverse_func": np.log},
    "GaussianMixture": {"n_components": 2},
    "GridSearchCV": COST,
    "HalvingGridSearchCV": {**COST, "min_resources": 40},
    "HalvingRandomSearchCV": {**DRAWN, "min_resources": 40, "n_candidates": 2},
    "HistGradientBoostingClassifier": {"max_iter": 4},
    "HistGradientBoostingRegressor": {"max_iter": 4},
    "KBinsDiscretizer": {"n_bins": 3, "quantile_method": "averaged_inverted_cdf"},
    "KernelPCA": {"fit_inverse_transform": True},
    "GenericUnivariateSelect": {"param": 0.5, "mode": "fpr"},
    "LinearDiscriminantAnalysis": {"n_components": None},
    "LocalOutlierFactor": {"novelty": True},
    "LogisticRegressionCV": {"Cs": 2, "cv": 2},
    "MLPClassifier": {"hidden_layer_sizes": (6,), "max_iter": 20},
    "MLPRegressor": {"hidden_layer_sizes": (6,), "max_iter": 20},
    "MiniBatchDictionaryLearning": {"max_iter": 3, "n_components": 4},
    "Nystroem": {"n_components": 10},
    "PatchExtractor": {"patch_size": (2, 3)},
    "Pipeline": {"steps": [("scaled", StandardScaler()), ("logistic", LogisticRegression())]},
    "PolynomialCountSketch": {"n_components": 8},
    "QuantileTransformer": {"n_quantiles": 20},
    "RBFSampler": {"n_components": 8},
    "RFE": {"n_features_to_select": 3},
    "RFECV": {"cv": 2},
    "RadiusNeighborsClassifier": {"radius": 20.0},
    "RadiusNeighborsRegressor": {"radius": 20.0},
    "RandomizedSearchCV": {**DRAWN, "n_iter": 2},
    "SelectKBest": {"k": 2},
    "SelectPercentile": {"percentile": 50},
    "SequentialFeatureSelector": {"n_features_to_select": 2, "cv": 2},
    "SimpleImputer": {"add_indicator": True},
    "SkewedChi2Sampler": {"n_components": 8},
    "SparseCoder": {"dictionary": np.linalg.svd(np.cos(np.arange(25.0)).reshape(5, 5))[0]},
    "StackingClassifier": {"estimators": MEMBERS["Classifier"], "cv": 2},
    "StackingRegressor": {"estimators": MEMBERS["Regressor"], "cv": 2},
    "TunedThresholdClassifierCV": {"cv": 2},
    "VotingClassifier": {"estimators": MEMBERS["Classifier"], "voting": "soft"},
    "VotingRegressor": {"estimators": MEMBERS["Regressor"]},
}
SMALL: dict[str, Any] = {"random_state": 0, "n_estimators": 4, "n_components": 2}
TARGETS: dict[str, str] = {  # where the tags do not tell
    "CCA": "numbers",
    "ClassifierChain": "bits",
    "GammaRegressor": "positive",
    "LabelBinarizer": "words",
    "LabelEncoder": "words",
    "MultiOutputClassifier": "bits",
    "MultiOutputRegressor": "numbers",
    "MultiTaskElasticNet": "numbers",
    "MultiTaskElasticNetCV": "numbers",
    "MultiTaskLasso": "numbers",
    "MultiTaskLassoCV": "numbers",
    "PLSCanonical": "numbers",
    "PLSRegression": "numbers",
    "PLSSVD": "numbers",
    "PoissonRegressor": "positive",
    "RegressorChain": "numbers",
    "SelfTrainingClassifier": "partly known",
    "TweedieRegressor": "positive",
}
BINARY_ONLY = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}
ALSO_CLASSIFY = {"GridSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV", "Pipeline", "RandomizedSearchCV"}
CLASSES_NEEDED = {
    "GenericUnivariateSelect",
    "NeighborhoodComponentsAnalysis",
    "SelectFdr",
    "SelectFpr",
    "SelectFwe",
    "SelectKBest",
    "SelectPercentile",
    "TargetEncoder",
}
ONLY_ROWS = {
    "FrozenEstimator",
    "KernelCenterer",
    "LabelBinarizer",
    "LabelEncoder",
    "MultiLabelBinarizer",
    "PatchExtractor",
}
TARGET_VALUES: dict[str, np.ndarray | None] = {
    "binary": TWO,
    "multiclass": WORDS,
    "regression": NUMBER,
    "positive": np.exp(NUMBER / 10),
    "numbers": NUMBERS,
    "bits": BITS,
    "words": WORDS,
    "partly known": np.where(np.arange(ROWS) % 4 == 0, -1, THREE),
}
INPUTS: dict[str, np.ndarray] = {  # where the tags do not tell
    "BernoulliRBM": 1 / (1 + np.exp(-X)),
    "CategoricalNB": CODES,
    "FunctionTransformer": X / 4,
    "IsotonicRegression": X[:, :1],
    "IterativeImputer": HOLES,
    "KNNImputer": HOLES,
    "KernelCenterer": X @ X.T,
    "LabelBinarizer": WORDS,
    "LabelEncoder": WORDS,
    "LatentDirichletAllocation": COUNTS,
    "MissingIndicator": HOLES,
    "MultiLabelBinarizer": BITS,
    "OneHotEncoder": CODES,
    "OrdinalEncoder": CODES,
    "PatchExtractor": IMAGES,
    "SimpleImputer": HOLES,
    "SkewedChi2Sampler": np.abs(X),
    "TargetEncoder": CODES,
    "TfidfTransformer": COUNTS,
}


def cases(name: str, dtype: Any) -> list[Case]:
    """The estimator, fitted on each kind of target that it takes, in this dtype of rows."""
    found = []
    for target in targets(name):
        rows = input_of(name, target)
        rows = rows.astype(dtype) if rows.dtype.kind == "f" else rows
        found.append(Case(name, target, fitted(name, target, rows), rows))
    return found


def targets(name: str) -> list[str]:
    """The kinds of targets to fit on."""
    if name in TARGETS:
        return [TARGETS[name]]
    if name in BINARY_ONLY:
        return ["binary"]
    if name in ALSO_CLASSIFY or is_classifier(made(name, "binary")):
        return ["binary", "multiclass"]
    return ["binary"] if name in CLASSES_NEEDED else ["regression"]


def made(name: str, target: str) -> Any:
    """The estimator before `fit`, small and reproducible."""
    cls = estimators()[name]
    parameters = inspect.signature(cls).parameters
    arguments: dict[str, Any] = {key: value for key, value in SMALL.items() if key in parameters}
    inner = LogisticRegression() if target in ("binary", "multiclass", "bits", "partly known") else Ridge()
    if name == "FrozenEstimator":
        return cls(inner.fit(X, TARGET_VALUES[target]))
    for key in ("estimator", "base_estimator"):
        needed = key in parameters and parameters[key].default is inspect.Parameter.empty
        if needed or (key in parameters and name in ("CalibratedClassifierCV", "SelfTrainingClassifier")):
            arguments[key] = inner
            break
    chosen = {key: value for key, value in ARGUMENTS.get(name, {}).items() if key in parameters}
    return clone(cls(**arguments | chosen))  # a Pipeline fits its very steps


def input_of(name: str, target: str) -> np.ndarray:
    """Rows that the estimator can be fitted on."""
    if name in INPUTS:
        return INPUTS[name]
    return np.abs(X) if get_tags(made(name, target)).input_tags.positive_only else X


def fitted(name: str, target: str, rows: np.ndarray) -> Any:
    """The estimator after `fit`. Its warnings, such as one of too few iterations, do not matter here."""
    model = made(name, target)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if name in ONLY_ROWS:
            return model if name == "FrozenEstimator" else model.fit(rows)
        return model.fit(rows, TARGET_VALUES[target])


def methods_of(model: Any) -> list[str]:
    """The inference methods that a fitted estimator has."""
    return [method for method in METHODS if hasattr(model, method)]


def called(model: Any, method: str, rows: Any, source: Any) -> Any:
    """What a method returns; stages as a list. `inverse_transform` gets what the source's `transform` returns."""
    given = source.transform(rows) if method == "inverse_transform" else rows
    if method == "inverse_transform" and model is not source and hasattr(given, "toarray"):
        given = given.toarray()
    result = getattr(model, method)(given)
    return list(result) if method.startswith("staged_") else result
