"""What is measured: fitted models by name, and the rows they predict. Everything is drawn from fixed seeds.

A model is fitted once and then kept in `benchmarks/.asv/models`, since fitting takes longer than all that is measured.
"""

from __future__ import annotations

import hashlib
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
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

ROWS = 100_000
FEATURES = 28
FOLDER = Path(__file__).parent / ".asv"

# All contestants may use as many, else ratios compare machines.
THREADS = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)

Family = Literal["dense", "trees", "pipeline", "breadth"]
FEW = 2_000  # rows that models are fitted on that keep them all


@dataclass(frozen=True)
class Case:
    """A model to measure.

    make: the unfitted model. method: what is called on it. fit_rows: how many rows it is fitted on.
    classes: of the target; 0 for regression. missing: the share of NaN among its features.
    """

    name: str
    family: Family
    make: Callable[[], Any]
    method: str = "predict_proba"
    fit_rows: int = ROWS
    classes: int = 2
    missing: float = 0.0

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
    make: Callable[[], Any], method: str, classes: int = 2, fit_rows: int = 20_000, missing: float = 0.0
) -> Case:
    """A case of a family of mathematics, by the name of its class."""
    return Case(type(make()).__name__, "breadth", make, method, fit_rows, classes, missing)


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
    breadth(SVC, "decision_function", 2, FEW),
    breadth(SVR, "predict", 0, FEW),
    breadth(lambda: KernelRidge(kernel="rbf"), "predict", 0, FEW),
    breadth(GaussianProcessRegressor, "predict", 0, FEW),
    breadth(lambda: KernelPCA(8, kernel="rbf"), "transform", 2, FEW),
    breadth(lambda: Nystroem(random_state=0), "transform"),
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

CASES = {
    case.name: case
    for case in (
        Case("LogisticRegression", "dense", logistic),
        Case("LogisticRegression, 5 classes", "dense", logistic, classes=5),
        Case("StandardScaler + LogisticRegression", "dense", lambda: logistic(StandardScaler())),
        Case("Ridge", "dense", Ridge, method="predict", classes=0),
        Case("LinearSVC", "dense", lambda: LinearSVC(random_state=0), method="predict"),
        Case("SGDClassifier", "dense", lambda: SGDClassifier(loss="log_loss", random_state=0)),
        Case("PCA to 8", "dense", lambda: PCA(8, random_state=0), method="transform"),
        Case("DecisionTree", "trees", lambda: DecisionTreeClassifier(random_state=0)),
        # 20,000 rows give about 4,000 nodes a tree.
        Case(
            "RandomForest, 100 trees",
            "trees",
            lambda: RandomForestClassifier(random_state=0),
            fit_rows=20_000,
        ),
        Case("GradientBoosting", "trees", lambda: GradientBoostingClassifier(random_state=0), fit_rows=20_000),
        Case("HistGradientBoosting", "trees", lambda: HistGradientBoostingClassifier(random_state=0)),
        Case("XGBoost, 100 trees of depth 6", "trees", xgboost(100, 6)),
        Case("XGBoost, 500 trees of depth 8", "trees", xgboost(500, 8)),
        Case("LightGBM, 100 trees of 31 leaves", "trees", lambda: LGBMClassifier(random_state=0, verbose=-1)),
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

MANY_LEAVES = Case(
    "XGBoost, 1,000 trees of 64 leaves",
    "trees",
    lambda: XGBClassifier(
        n_estimators=1000, max_depth=0, max_leaves=64, grow_policy="lossguide", tree_method="hist", random_state=0
    ),
    fit_rows=20_000,
)


def load(case: Case) -> Any:
    """The fitted model of a case, from the cache if it was fitted before with the same versions and settings."""
    path = FOLDER / "models" / f"{digest(case)}.joblib"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        os.close(handle)
        joblib.dump(fit(case), temporary)
        os.replace(temporary, path)
    model = joblib.load(path)
    threaded = isinstance(model, RandomForestClassifier | XGBClassifier | LGBMClassifier)
    return model.set_params(n_jobs=THREADS) if threaded else model


def fit(case: Case) -> Any:
    """The model of a case, fitted."""
    x = case.features(case.fit_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence does not matter here
        return case.make().fit(x, target(x, case.classes))


def digest(case: Case) -> str:
    """A name for a fitted model: of this file and the versions of all that has a part in the fit."""
    versions = [version(name) for name in ("scikit-learn", "xgboost", "lightgbm", "numpy", "scipy", "joblib")]
    source = Path(__file__).read_text(encoding="utf-8")
    return hashlib.sha256("\n".join([case.name, platform.python_version(), *versions, source]).encode()).hexdigest()[
        :16
    ]
