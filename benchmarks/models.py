"""What is measured: fitted models by name, and the rows they predict. Everything is drawn from fixed seeds.

A model is fitted once and then kept in `benchmarks/.asv/models`, since fitting takes longer than all that is measured.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FastICA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

ROWS = 100_000
FEATURES = 28
FOLDER = Path(__file__).parent / ".asv"


def cores() -> int:
    """The cores that this process may use, as OpenMP counts them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# All contestants may use as many, else ratios compare machines.
THREADS = int(os.environ.get("OMP_NUM_THREADS") or cores())

# What a target speaks of. boosted: at most depth 6 or 64 leaves; deep: depth 8 to 10; libsvm: support vectors; kernels:
# of other machines.
Family = Literal["linear", "pipeline", "boosted", "deep", "forests", "libsvm", "kernels", "breadth"]
TREES: tuple[Family, ...] = ("boosted", "deep", "forests")
KERNELS: tuple[Family, ...] = ("libsvm", "kernels")
OTHERS: tuple[Family, ...] = ("linear", "pipeline", "kernels", "breadth")
FEW = 2_000  # rows that models are fitted on that keep them all
PAIRS = 20_000  # rows that those predict at most, where a source takes a minute for more


@dataclass(frozen=True)
class Case:
    """A model to measure.

    make: the unfitted model. method: what is called on it. fit_rows: how many rows it is fitted on.
    classes: of the target; 0 for regression. missing: the share of NaN among its features. most_rows: to predict.
    """

    name: str
    family: Family
    make: Callable[[], Any]
    method: str = "predict_proba"
    fit_rows: int = ROWS
    classes: int = 2
    missing: float = 0.0
    most_rows: int = 10**9

    def features(self, rows: int) -> np.ndarray:
        """The first rows to predict: [rows, FEATURES] float32."""
        return features(rows, self.missing)


def features(rows: int, missing: float = 0.0) -> np.ndarray:
    """[rows, FEATURES] float32, independent normal columns of means up to 3 and scales up to 4; a share is NaN.

    More rows begin with the same ones.
    """
    column = np.random.default_rng(0)
    mean, scale = column.uniform(-3, 3, FEATURES), column.uniform(0.5, 4, FEATURES)
    x = np.random.default_rng(1).standard_normal((rows, FEATURES), dtype=np.float32)
    x = x * scale.astype(np.float32) + mean.astype(np.float32)
    if missing:
        x[np.random.default_rng(2).random((rows, FEATURES), dtype=np.float32) < missing] = np.nan
    return x


def target(x: np.ndarray, classes: int) -> np.ndarray:
    """A noisy function of x that no model here fits exactly: [N] float64, or [N] int64 classes of equal size."""
    random = np.random.default_rng(3)
    z = (np.nan_to_num(x) - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0)
    score = z @ random.standard_normal(FEATURES) + 2 * z[:, 0] * z[:, 1] + 2 * np.sin(2 * z[:, 2])
    score = score + random.standard_normal(len(x))
    if classes == 0:
        return score
    return np.searchsorted(np.quantile(score, np.arange(1, classes) / classes), score)


def xgboost(trees: int, depth: int) -> Callable[[], Any]:
    """An XGBoost classifier of so many trees."""
    return lambda: XGBClassifier(n_estimators=trees, max_depth=depth, learning_rate=0.1, random_state=0)


def logistic(*steps: Any) -> Any:
    """Logistic regression after some steps."""
    model = LogisticRegression(max_iter=200)
    return make_pipeline(*steps, model) if steps else model


def breadth(
    make: Callable[[], Any],
    method: str,
    classes: int = 2,
    fit_rows: int = 20_000,
    missing: float = 0.0,
    family: Family = "breadth",
) -> Case:
    """A case of a family of mathematics, by the name of its class."""
    most = PAIRS if fit_rows <= FEW else 10**9
    return Case(type(make()).__name__, family, make, method, fit_rows, classes, missing, most)


def support_vectors(make: Callable[[], Any], method: str, classes: int = 2, name: str = "") -> Case:
    """A case of a model that libsvm predicts, by the name of its class."""
    return Case(name or type(make()).__name__, "libsvm", make, method, FEW, classes, most_rows=PAIRS)


def catboost(trees: int, depth: int) -> Callable[[], Any]:
    """A CatBoost classifier of so many trees, which are symmetric."""
    return lambda: CatBoostClassifier(
        iterations=trees, depth=depth, random_seed=0, verbose=False, allow_writing_files=False
    )


def leaves(trees: int, leaves: int) -> Callable[[], Any]:
    """An XGBoost classifier of so many trees, grown leaf by leaf."""
    return lambda: XGBClassifier(
        n_estimators=trees,
        max_depth=0,
        max_leaves=leaves,
        grow_policy="lossguide",
        tree_method="hist",
        random_state=0,
    )


BREADTH = (
    breadth(GaussianNB, "predict_proba", 5),
    breadth(BernoulliNB, "predict_proba", 5),
    breadth(LinearDiscriminantAnalysis, "predict_proba", 5),
    breadth(QuadraticDiscriminantAnalysis, "predict_proba", 5),
    breadth(lambda: GaussianMixture(5, random_state=0), "predict_proba"),
    breadth(lambda: EllipticEnvelope(random_state=0), "decision_function"),
    breadth(lambda: MLPClassifier((64, 32), max_iter=20, random_state=0), "predict_proba", 5),
    breadth(lambda: KMeans(20, random_state=0), "predict"),
    breadth(NearestCentroid, "predict", 5),
    breadth(KNeighborsClassifier, "predict_proba", 5, FEW),
    breadth(lambda: KNNImputer(), "transform", 2, 500, 0.02),
    breadth(lambda: KernelRidge(kernel="rbf"), "predict", 0, FEW, family="kernels"),
    breadth(GaussianProcessRegressor, "predict", 0, FEW, family="kernels"),
    breadth(lambda: KernelPCA(8, kernel="rbf"), "transform", 2, FEW, family="kernels"),
    breadth(lambda: Nystroem(random_state=0), "transform", family="kernels"),
    breadth(lambda: RBFSampler(random_state=0), "transform"),
    breadth(lambda: TruncatedSVD(8, random_state=0), "transform"),
    breadth(lambda: FastICA(8, random_state=0), "transform"),
    breadth(lambda: PLSRegression(4), "predict", 0),
    breadth(lambda: QuantileTransformer(random_state=0), "transform"),
    breadth(PowerTransformer, "transform"),
    breadth(SplineTransformer, "transform"),
    breadth(SelectKBest, "transform"),
    breadth(lambda: CalibratedClassifierCV(LogisticRegression()), "predict_proba"),
    breadth(lambda: OneVsRestClassifier(LogisticRegression()), "predict_proba", 5),
    breadth(lambda: IsolationForest(random_state=0), "score_samples"),
    breadth(lambda: AdaBoostClassifier(random_state=0), "predict_proba"),
)

SUPPORT_VECTORS = (
    support_vectors(SVC, "predict"),
    support_vectors(SVC, "predict", 5, "SVC, 5 classes"),
    support_vectors(SVR, "predict", 0),
    support_vectors(NuSVC, "predict"),
    support_vectors(OneClassSVM, "decision_function"),
)

MANY_LEAVES = Case("XGBoost, 1,000 trees of 64 leaves", "boosted", leaves(1000, 64), fit_rows=20_000)
SMALL_FOREST = Case(
    "RandomForest, 10 trees of depth 6",
    "forests",
    lambda: RandomForestClassifier(10, max_depth=6, random_state=0),
    fit_rows=20_000,
)
TREE_CASES = (
    Case("XGBoost, 100 trees of depth 6", "boosted", xgboost(100, 6)),
    Case("XGBoost, 100 trees of depth 6, 5 classes", "boosted", xgboost(20, 6), classes=5),
    MANY_LEAVES,
    Case("LightGBM, 100 trees of 31 leaves", "boosted", lambda: LGBMClassifier(random_state=0, verbose=-1)),
    Case(
        "LightGBM, 100 trees of 64 leaves",
        "boosted",
        lambda: LGBMClassifier(num_leaves=64, random_state=0, verbose=-1),
    ),
    Case("CatBoost, 500 trees of depth 6", "boosted", catboost(500, 6)),
    Case("GradientBoosting", "boosted", lambda: GradientBoostingClassifier(random_state=0), fit_rows=20_000),
    Case("HistGradientBoosting", "boosted", lambda: HistGradientBoostingClassifier(random_state=0)),
    Case("XGBoost, 500 trees of depth 8", "deep", xgboost(500, 8)),
    Case("XGBoost, 100 trees of depth 10", "deep", xgboost(100, 10)),
    # 20,000 rows give about 4,000 nodes a tree, as many as 3,000 rows do in a regression.
    Case(
        "RandomForest, 100 trees",
        "forests",
        lambda: RandomForestClassifier(random_state=0),
        fit_rows=20_000,
    ),
    Case(
        "RandomForest regressor, 100 trees",
        "forests",
        lambda: RandomForestRegressor(random_state=0),
        method="predict",
        fit_rows=3_000,
        classes=0,
    ),
    SMALL_FOREST,
    Case("DecisionTree", "breadth", lambda: DecisionTreeClassifier(random_state=0)),
)

CASES = {
    case.name: case
    for case in (
        Case("LogisticRegression", "linear", logistic),
        Case("LogisticRegression, 5 classes", "linear", logistic, classes=5),
        Case("StandardScaler + LogisticRegression", "linear", lambda: logistic(StandardScaler())),
        Case("Ridge", "linear", Ridge, method="predict", classes=0),
        Case("LinearSVC", "linear", lambda: LinearSVC(random_state=0), method="predict"),
        Case("SGDClassifier", "linear", lambda: SGDClassifier(loss="log_loss", random_state=0)),
        Case("PCA to 8", "linear", lambda: PCA(8, random_state=0), method="transform"),
        *TREE_CASES,
        *SUPPORT_VECTORS,
        Case(
            "SimpleImputer + StandardScaler + LogisticRegression",
            "pipeline",
            lambda: logistic(SimpleImputer(), StandardScaler()),
            missing=0.1,
        ),
        Case("KBins + LogisticRegression", "pipeline", lambda: logistic(KBinsDiscretizer(10, strategy="uniform"))),
        Case(
            "Polynomial + LogisticRegression",
            "pipeline",
            lambda: logistic(StandardScaler(), PolynomialFeatures(2)),
            fit_rows=20_000,
        ),
        *BREADTH,
    )
}


def scaled(trees: int, depth: int) -> Case:
    """The case of a curve over the number of trees, or their depth."""
    return Case(f"XGBoost, {trees:,} trees of depth {depth}", "boosted", xgboost(trees, depth), fit_rows=20_000)


def load(case: Case) -> Any:
    """The fitted model of a case, from the cache if it was fitted before with the same versions and settings."""
    return threaded(kept(f"{digest(case)}.joblib", lambda: fit(case, case.make())))


def kept(name: str, make: Callable[[], Any]) -> Any:
    """What was made under this name in an earlier run, or is made now."""
    path = FOLDER / "models" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        os.close(handle)
        joblib.dump(make(), temporary)
        os.replace(temporary, path)
    return joblib.load(path)


def threaded(model: Any) -> Any:
    """The model, which may use as many threads as everyone, and not as many as when it was fitted."""
    if isinstance(model, KMeans):
        model._n_threads = THREADS
    return model.set_params(n_jobs=THREADS) if "n_jobs" in model.get_params(deep=False) else model


def fit(case: Case, model: Any) -> Any:
    """A model, fitted on the rows of a case."""
    x = case.features(case.fit_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence does not matter here
        return model.fit(x, target(x, case.classes))


def digest(case: Case) -> str:
    """A name for a fitted model: of its options, its data, and the versions of all that has a part in the fit."""
    packages = ("scikit-learn", "xgboost", "lightgbm", "catboost", "numpy", "scipy", "joblib")
    model = case.make()
    parts = [
        type(model).__name__,
        str(model.get_params()),
        f"{case.fit_rows} {case.classes} {case.missing} {FEATURES}",
        inspect.getsource(features) + inspect.getsource(target),
        platform.python_version(),
        *(version(name) for name in packages),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
