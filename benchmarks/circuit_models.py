"""Models of all kinds, whose circuits are small to middle: what the estimate is measured on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier, RandomForestClassifier, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import tensorml
from benchmarks.circuits import CASES as SIDE_BY_SIDE
from benchmarks.circuits import fitted
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.grid import Grid
from tensorml.executors.fpga.program import Core, FpgaExecutor, core_of

Encoder = Literal["host", "circuit"] | Grid


@dataclass(frozen=True)
class Case:
    """A model whose circuit is measured. bits: of fixed point; None: chosen."""

    kind: str
    name: str
    fitted: Callable[[], tuple[Any, np.ndarray]] = field(repr=False)
    bits: int | None = None
    encoder: Encoder = "host"
    walkers: int | None = None

    @property
    def words(self) -> str:
        """For people, and as a key."""
        return f"{self.kind}: {self.name}" + (f", {self.bits} bits" if self.bits else "")

    def core(self) -> Core:
        """The circuit, with what it is made of."""
        model, x = self.fitted()
        executor = FpgaExecutor(fixed=FixedPoint(bits=self.bits), encoder=self.encoder, walkers=self.walkers)
        return core_of(tensorml.convert(model, x, executor=executor).program("predict"))


def of(model: Callable[[], Any], load: str, *, scaled: bool = True, rows: int | None = None) -> Callable[[], Any]:
    """A model, with a scaler in front if `scaled`, fitted to data that come with scikit-learn, and the rows."""

    def made() -> tuple[Any, np.ndarray]:
        found: Any = getattr(datasets, f"load_{load}")(return_X_y=True)
        x, y = (part[:: max(1, len(part) // rows)] if rows else part for part in found)
        whole = make_pipeline(StandardScaler(), model()) if scaled else model()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return whole.fit(x, y), x

    return made


def booster(rounds: int, depth: int, features: int = 32) -> Callable[[], Any]:
    """XGBoost's trees on noise: all of them are full."""

    def made() -> tuple[Any, np.ndarray]:
        import xgboost as xgb

        rng = np.random.default_rng(0)
        x = rng.normal(size=(5000, features)).astype(np.float32)
        model = xgb.XGBRegressor(n_estimators=rounds, max_depth=depth, n_jobs=1, random_state=0)
        return model.fit(x, rng.normal(size=len(x))), x

    return made


def leafwise(rounds: int) -> Callable[[], Any]:
    """LightGBM's, which are not balanced."""
    import lightgbm

    return of(lambda: lightgbm.LGBMClassifier(n_estimators=rounds, num_leaves=15, n_jobs=1, verbose=-1), "wine")


def symmetric(rounds: int) -> Callable[[], Any]:
    """CatBoost's, with a test for each level."""
    import catboost

    options: dict[str, Any] = {"thread_count": 1, "verbose": 0, "allow_writing_files": False}
    make = lambda: catboost.CatBoostRegressor(iterations=rounds, depth=4, **options)  # noqa: E731
    return of(make, "diabetes")


def network(*sizes: int, activation: Any = "relu", kind: Any = MLPClassifier) -> Callable[[], Any]:
    """A network with these hidden layers."""
    return lambda: kind(hidden_layer_sizes=sizes, activation=activation, max_iter=100, random_state=0)


def trees() -> Iterator[Case]:
    """Trees, by what enters."""
    kind = "trees of codes"
    for case in SIDE_BY_SIDE[:4]:
        yield Case(kind, case.name, lambda case=case: fitted(case), bits=4)
    yield Case(kind, "30 boosted of depth 4", booster(30, 4), bits=3)
    yield Case(kind, "30 boosted of depth 6", booster(30, 6), bits=5)
    yield Case(kind, "100 boosted of depth 3 on 200 columns", booster(100, 3, 200), bits=4)
    yield Case(kind, "scikit-learn's forest on digits", of(forest(10, 5), "digits"))
    yield Case(kind, "scikit-learn's boosting on wine", of(boosting, "wine"))
    yield Case(kind, "a tree on breast cancer", of(lambda: DecisionTreeClassifier(random_state=0), "breast_cancer"))
    yield Case(kind, "extra trees on diabetes", of(extra, "diabetes"), bits=8)
    yield Case(kind, "LightGBM on wine", leafwise(10), bits=6)
    yield Case(kind, "CatBoost on diabetes", symmetric(20), bits=6)
    kind = "trees of floats"
    for rounds, depth in ((5, 3), (20, 4)):
        name = f"{rounds} boosted of depth {depth}"
        yield Case(kind, name, booster(rounds, depth, 8), bits=4, encoder="circuit")
    yield Case(kind, "a forest on wine, float64", of(forest(5, 4), "wine"), encoder="circuit")
    kind = "trees of a grid"
    for bits, rounds, depth in ((8, 50, 3), (12, 20, 4), (20, 20, 4)):
        name = f"{rounds} boosted of depth {depth}, {bits}-bit columns"
        yield Case(kind, name, booster(rounds, depth, 16), bits=4, encoder=Grid(bits, bits - 4))
    kind = "trees in memory"
    yield Case(kind, "20 boosted of depth 6, 1 walker", booster(20, 6), bits=6, walkers=1)
    yield Case(kind, "20 boosted of depth 6, 4 walkers", booster(20, 6), bits=6, walkers=4)
    yield Case(kind, "a forest on digits, 2 walkers", of(forest(10, 6), "digits"), bits=6, walkers=2)


def forest(count: int, depth: int) -> Callable[[], Any]:
    """Trees that weigh alike."""
    return lambda: RandomForestClassifier(count, max_depth=depth, random_state=0)


def boosting() -> Any:
    """Ten rounds for each class."""
    return GradientBoostingClassifier(n_estimators=10, max_depth=3, random_state=0)


def extra() -> Any:
    """Trees with random thresholds."""
    return ExtraTreesRegressor(8, max_depth=5, random_state=0)


def sums_of_products() -> Iterator[Case]:
    """Linear models, naive Bayes, nearest centroid."""
    kind = "linear"
    for bits in (5, 8, 12, 18):
        yield Case(kind, "LogisticRegression on breast cancer", of(LogisticRegression, "breast_cancer"), bits)
    for bits in (4, 7):
        yield Case(kind, "LogisticRegression on digits", of(LogisticRegression, "digits"), bits)
    yield Case(kind, "LinearSVC on wine", of(LinearSVC, "wine"), 9)
    yield Case(kind, "Ridge on diabetes", of(Ridge, "diabetes"), 14)
    yield Case(kind, "LinearRegression on diabetes", of(LinearRegression, "diabetes"), 24)
    kind = "linear of a grid"
    yield Case(kind, "Ridge on 12-bit diabetes", of(Ridge, "diabetes"), 12, Grid(12, 12))
    yield Case(kind, "LogisticRegression on 8-bit iris", of(LogisticRegression, "iris"), 8, Grid(8, 4))
    kind = "naive Bayes"
    yield Case(kind, "GaussianNB on iris", of(GaussianNB, "iris"))
    yield Case(kind, "GaussianNB on wine", of(GaussianNB, "wine"), 12)
    yield Case(kind, "BernoulliNB on digits", of(lambda: BernoulliNB(binarize=8), "digits", scaled=False), 6)
    yield Case(kind, "MultinomialNB on digits", of(MultinomialNB, "digits", scaled=False), 8)
    kind = "nearest centroid"
    yield Case(kind, "iris", of(NearestCentroid, "iris"))
    yield Case(kind, "digits", of(NearestCentroid, "digits"), 6)
    yield Case(kind, "wine", of(NearestCentroid, "wine"), 11)


def with_functions() -> Iterator[Case]:
    """Networks, support vectors, and pipelines of several."""
    kind = "networks"
    yield Case(kind, "relu, breast cancer 30-8-1", of(network(8), "breast_cancer"), 6)
    yield Case(kind, "relu, iris 4-16-3", of(network(16), "iris"), 10)
    yield Case(kind, "relu, iris 4-8-8-3", of(network(8, 8), "iris"), 14)
    yield Case(kind, "tanh, diabetes 10-8-1", of(network(8, activation="tanh", kind=MLPRegressor), "diabetes"), 8)
    yield Case(kind, "tanh, wine 13-8-3", of(network(8, activation="tanh"), "wine"), 12)
    yield Case(kind, "logistic, iris 4-6-3", of(network(6, activation="logistic"), "iris"), 9)
    kind = "support vectors"
    yield Case(kind, "linear, iris", of(lambda: SVC(kernel="linear"), "iris"), 10)
    yield Case(kind, "rbf, 30 rows of iris", of(SVC, "iris", rows=30), 8)
    yield Case(kind, "rbf, 30 rows of iris", of(SVC, "iris", rows=30), 11)
    yield Case(kind, "rbf, 20 rows of diabetes", of(lambda: SVR(C=100), "diabetes", rows=20), 9)
    yield Case(kind, "polynomial, 20 rows of wine", of(lambda: SVC(kernel="poly"), "wine", rows=20), 9)
    kind = "pipelines"
    reduced = lambda: make_pipeline(PCA(5), LogisticRegression())  # noqa: E731
    squares = lambda: make_pipeline(PolynomialFeatures(2), Ridge())  # noqa: E731
    limited = lambda: make_pipeline(MinMaxScaler(clip=True), LinearSVC())  # noqa: E731
    yield Case(kind, "PCA before LogisticRegression, wine", of(reduced, "wine"), 10)
    yield Case(kind, "squares before Ridge, diabetes", of(squares, "diabetes"), 8)
    yield Case(kind, "limits before LinearSVC, wine", of(limited, "wine"), 10)
    yield Case(kind, "a tree and Ridge, diabetes", of(voted, "diabetes"), 10)


def voted() -> Any:
    """The mean of trees and of products."""
    return VotingRegressor([("trees", ExtraTreesRegressor(5, max_depth=4, random_state=0)), ("ridge", Ridge())])


CASES = [*trees(), *sums_of_products(), *with_functions()]
