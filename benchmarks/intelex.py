"""scikit-learn-intelex: its model builders where they take the fitted model, else its own estimator, fitted anew.

Nothing is patched: its classes are used beside those of scikit-learn. Where it falls back to code of scikit-learn, it
is no contestant.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from benchmarks.compiled import treelite_model
from benchmarks.models import THREADS, Case, digest, fit, kept
from benchmarks.peers import Call, Refitted, RefusedError, library

BOOSTERS = {"xgboost": "get_booster", "lightgbm": "booster_"}


def prepare(case: Case, model: Any, X: np.ndarray) -> Call:
    """The function of the rows of a fitted model."""
    import_module("daal4py").daalinit(THREADS)
    if isinstance(model, Pipeline):
        return pipeline(case, model, X)
    built = built_model(model)
    if built is not None and hasattr(built, case.method):
        return getattr(built, case.method)
    return refitted(case, model, X)


def pipeline(case: Case, model: Pipeline, X: np.ndarray) -> Call:
    """scikit-learn's steps, and this library's prediction after them."""
    last = built_model(model[-1])
    if last is None:
        raise RefusedError("takes single models, not this pipeline")
    first, method = model[:-1], getattr(last, case.method)
    return lambda x: method(first.transform(x))


def built_model(model: Any) -> Any:
    """What its model builders make of a fitted model; None if they take no such model."""
    builders = import_module("daal4py.mb")
    name = library(model)
    if name in BOOSTERS:
        booster = getattr(model, BOOSTERS[name])
        return builders.convert_model(booster() if callable(booster) else booster)
    if name == "catboost" or isinstance(model, LogisticRegression):
        return builders.convert_model(model)
    try:
        return builders.convert_model(treelite_model(model))
    except (ModuleNotFoundError, RefusedError, RuntimeError, TypeError, ValueError):
        return None


def refitted(case: Case, model: Any, X: np.ndarray) -> Call:
    """Its own estimator of the same class and options, fitted on the same rows."""
    import_module("sklearnex")
    module, name = f"sklearnex.{type(model).__module__.split('.')[1]}", type(model).__name__
    try:
        estimator = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RefusedError(f"has no {name}") from error
    own = kept(f"{digest(case)}-intelex.joblib", lambda: fit(case, estimator(**case.make().get_params())))
    if "n_jobs" in own.get_params():
        own.set_params(n_jobs=THREADS)
    call = getattr(own, case.method)
    with log("sklearnex") as lines:
        call(X)
    if any("fallback" in line for line in lines):
        raise RefusedError(f"runs scikit-learn's own code for {name}.{case.method}")
    return Refitted(call)


@contextmanager
def log(name: str) -> Iterator[list[str]]:
    """What a library writes to its log meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger(name)
    level, propagates, others = logger.level, logger.propagate, list(logger.handlers)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.setLevel(level)
        logger.handlers, logger.propagate = others, propagates
