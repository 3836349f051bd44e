"""Small fitted models of every family that has a circuit, and the rows that they were fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    BayesianRidge,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDOneClassSVM,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, NuSVR, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
X[:, 2] = X[:, 2] * 30 + 100
TWO, THREE = (X[:, 0] + X[:, 1] > 0).astype(int), np.array(["a", "b", "c"])[np.digitize(X[:, 0] - X[:, 3], [-0.5, 0.5])]
NUMBER = X[:, 0] + X[:, 1] ** 2
PAIR = np.stack([NUMBER, 1000 * X[:, 3]], 1)
MISSING = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
POSITIVE, BITS = np.abs(X), (X - X.mean(0) > 0).astype(float)
CODES = RNG.integers(0, 3, X.shape).astype(float)
FEW = X[:120]


class Case(NamedTuple):
    """A model, the rows that it is fitted on, and what it learns there."""

    make: Callable[[], Any]
    y: np.ndarray | None
    x: np.ndarray


def scaled(model: Any, scaler: Any = None) -> Callable[[], Any]:
    return lambda: make_pipeline(StandardScaler() if scaler is None else clone(scaler), clone(model))


def linear() -> dict[str, Case]:
    cases = {
        "LogisticRegression, two classes": Case(scaled(LogisticRegression()), TWO, X),
        "LogisticRegression, three classes": Case(scaled(LogisticRegression()), THREE, X),
        "LogisticRegression, not scaled": Case(lambda: LogisticRegression(max_iter=2000), THREE, X),
        "LinearRegression": Case(lambda: LinearRegression(), NUMBER, X),
        "Ridge, two outputs of different scales": Case(scaled(Ridge()), PAIR, X),
        "MultiOutputRegressor": Case(scaled(MultiOutputRegressor(Ridge())), PAIR, X),
        "Lasso of nothing": Case(scaled(Lasso(alpha=100.0)), NUMBER, X),
        "RidgeClassifier": Case(scaled(RidgeClassifier()), THREE, X),
        "SGDClassifier": Case(scaled(SGDClassifier(random_state=0)), THREE, X),
        "SGDOneClassSVM": Case(scaled(SGDOneClassSVM(random_state=0)), None, X),
        "BayesianRidge": Case(scaled(BayesianRidge()), NUMBER, X),
        "PoissonRegressor": Case(scaled(PoissonRegressor()), np.abs(NUMBER), X),
        "LinearSVC": Case(scaled(LinearSVC()), THREE, X),
        "PLSRegression": Case(lambda: PLSRegression(2), PAIR, X),
        "LinearDiscriminantAnalysis": Case(lambda: LinearDiscriminantAnalysis(), THREE, X),
        "QuadraticDiscriminantAnalysis": Case(lambda: QuadraticDiscriminantAnalysis(), THREE, X),
        "OneVsRestClassifier": Case(lambda: OneVsRestClassifier(LogisticRegression(max_iter=2000)), THREE, X),
        "OneVsOneClassifier": Case(lambda: OneVsOneClassifier(LogisticRegression(max_iter=2000)), THREE, X),
        "PCA": Case(scaled(PCA(2)), None, X),
    }
    before = [
        MinMaxScaler(),
        MinMaxScaler(clip=True),
        RobustScaler(),
        MaxAbsScaler(),
        Normalizer(),
        KBinsDiscretizer(3),
    ]
    before += [PCA(2), PCA(2, whiten=True), LinearDiscriminantAnalysis(), PolynomialFeatures(2)]
    after = LogisticRegression(max_iter=200)
    return cases | {f"{scaler} before LogisticRegression": Case(scaled(after, scaler), THREE, X) for scaler in before}


def bayes() -> dict[str, Case]:
    return {
        "GaussianNB": Case(lambda: GaussianNB(), THREE, X),
        "MultinomialNB": Case(lambda: MultinomialNB(), THREE, POSITIVE),
        "ComplementNB": Case(lambda: ComplementNB(), THREE, POSITIVE),
        "BernoulliNB of bits": Case(lambda: BernoulliNB(), THREE, BITS),
        "BernoulliNB": Case(lambda: BernoulliNB(binarize=0.1), THREE, X),
        "CategoricalNB": Case(lambda: CategoricalNB(), THREE, CODES),
        "NearestCentroid": Case(scaled(NearestCentroid()), THREE, X),
    }


def networks() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for f in ("relu", "tanh", "logistic", "identity"):
        options: dict[str, Any] = {"activation": f, "max_iter": 60, "random_state": 0}
        cases[f"MLPClassifier, {f}"] = Case(scaled(MLPClassifier((6,), **options)), THREE, X)
        cases[f"MLPClassifier, {f}, two layers"] = Case(scaled(MLPClassifier((5, 4), **options)), TWO, X)
        cases[f"MLPRegressor, {f}"] = Case(scaled(MLPRegressor(hidden_layer_sizes=(6,), **options)), NUMBER, X)
    return cases


def kernels() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for k in ("linear", "rbf", "poly", "sigmoid"):
        cases[f"SVC, {k}"] = Case(scaled(SVC(kernel=k)), TWO[:120], FEW)
        cases[f"SVC, {k}, three classes"] = Case(scaled(SVC(kernel=k)), THREE[:120], FEW)
        cases[f"SVR, {k}"] = Case(scaled(SVR(kernel=k)), NUMBER[:120], FEW)
    cases["SVC, rbf, few vectors"] = Case(scaled(SVC()), TWO[:30], X[:30])
    cases["NuSVC"] = Case(scaled(NuSVC(nu=0.3)), THREE[:120], FEW)
    cases["NuSVR"] = Case(scaled(NuSVR()), NUMBER[:120], FEW)
    cases["OneClassSVM"] = Case(scaled(OneClassSVM(nu=0.1)), None, FEW)
    cases["KernelRidge"] = Case(scaled(KernelRidge(kernel="rbf")), NUMBER[:120], FEW)
    return cases


def scikit_learn_trees() -> dict[str, Case]:
    tree, forest = DecisionTreeClassifier(max_depth=3), RandomForestClassifier(3, max_depth=3, random_state=0)
    return {
        "DecisionTreeClassifier": Case(lambda: DecisionTreeClassifier(max_depth=4), THREE, X),
        "DecisionTreeClassifier, missing values": Case(lambda: DecisionTreeClassifier(max_depth=4), THREE, MISSING),
        "DecisionTreeRegressor, two outputs": Case(lambda: DecisionTreeRegressor(max_depth=4), PAIR, X),
        "RandomForestClassifier": Case(lambda: RandomForestClassifier(5, max_depth=4, random_state=0), THREE, X),
        "ExtraTreesRegressor": Case(
            lambda: ExtraTreesRegressor(4, max_depth=4, random_state=0), PAIR[:, :1].ravel(), X
        ),
        "GradientBoostingClassifier": Case(lambda: GradientBoostingClassifier(n_estimators=3), THREE, X),
        "HistGradientBoostingRegressor": Case(lambda: HistGradientBoostingRegressor(max_iter=3), NUMBER, MISSING),
        "IsolationForest": Case(lambda: IsolationForest(n_estimators=5, max_samples=32, random_state=0), None, X),
        "AdaBoostClassifier": Case(lambda: AdaBoostClassifier(tree, n_estimators=3), THREE, X),
        "BaggingRegressor": Case(lambda: BaggingRegressor(DecisionTreeRegressor(max_depth=3), 3), NUMBER, X),
        "VotingClassifier": Case(lambda: VotingClassifier([("a", tree), ("b", forest)]), THREE, X),
        "VotingClassifier, soft": Case(lambda: VotingClassifier([("a", tree), ("b", forest)], voting="soft"), THREE, X),
        "VotingRegressor": Case(
            lambda: VotingRegressor([("a", DecisionTreeRegressor(max_depth=3)), ("b", Ridge())]), NUMBER, X
        ),
        "StackingClassifier": Case(lambda: StackingClassifier([("a", tree), ("b", GaussianNB())]), THREE, X),
        "PCA before a tree": Case(scaled(tree, PCA(2)), THREE, X),
        "MinMaxScaler before a tree": Case(scaled(tree, MinMaxScaler(clip=True)), THREE, X),
    }


def boosters() -> dict[str, Case]:
    small: dict[str, Any] = {"n_estimators": 3, "n_jobs": 1}
    leaves: dict[str, Any] = {**small, "verbose": -1, "num_leaves": 7}
    cat: dict[str, Any] = {"iterations": 4, "depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    many: dict[str, Any] = {"multi_strategy": "multi_output_tree", "max_depth": 3, **small}
    return {
        "XGBClassifier": Case(lambda: XGBClassifier(max_depth=3, **small), np.unique(THREE, return_inverse=True)[1], X),
        "XGBRegressor, missing values": Case(lambda: XGBRegressor(max_depth=3, **small), NUMBER, MISSING),
        "XGBRegressor, trees of two outputs": Case(lambda: XGBRegressor(**many), PAIR, X),
        "XGBClassifier, dart": Case(lambda: XGBClassifier(booster="dart", rate_drop=0.5, **small), TWO, X),
        "XGBRFClassifier": Case(lambda: XGBRFClassifier(max_depth=3, **small), TWO, X),
        "XGBRegressor, linear": Case(lambda: XGBRegressor(booster="gblinear", **small), NUMBER, X),
        "LGBMClassifier": Case(lambda: LGBMClassifier(**leaves), THREE, X),
        "LGBMClassifier, dart": Case(lambda: LGBMClassifier(boosting_type="dart", **leaves), TWO, X),
        "LGBMRegressor, missing values": Case(lambda: LGBMRegressor(**leaves), NUMBER, MISSING),
        "LGBMRegressor, linear trees": Case(lambda: LGBMRegressor(linear_tree=True, **leaves), NUMBER, X),
        "CatBoostClassifier": Case(lambda: CatBoostClassifier(**cat), THREE, X),
        "CatBoostRegressor, missing values": Case(lambda: CatBoostRegressor(**cat), NUMBER, MISSING),
        "CatBoostRegressor, two outputs": Case(
            lambda: CatBoostRegressor(loss_function="MultiRMSE", **cat), np.stack([NUMBER, X[:, 3]], 1), X
        ),
        "CatBoostRegressor, depthwise": Case(lambda: CatBoostRegressor(grow_policy="Depthwise", **cat), NUMBER, X),
    }


CASES = linear() | bayes() | networks() | kernels() | scikit_learn_trees() | boosters()


@cache
def fitted(name: str) -> Any:
    """The model of a case. It is fitted once."""
    case = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return case.make().fit(case.x) if case.y is None else case.make().fit(case.x, case.y)
