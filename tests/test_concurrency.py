from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tensorml

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5000, 8)).astype(np.float32)
Y = RNG.integers(0, 3, 5000)
THREADS = 32


@pytest.mark.parametrize(
    "source",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(10, max_depth=7, random_state=0),
        GradientBoostingClassifier(n_estimators=5),
    ],
    ids=lambda model: type(model).__name__,
)
def test_32_threads_on_one_model_get_the_bits_that_one_thread_gets(executor: str, source):
    source.fit(X[:500], Y[:500])
    expected = tensorml.convert(source, executor=executor).predict_proba(X)
    model = tensorml.convert(source, executor=executor)
    barrier = Barrier(THREADS)

    def call(i: int) -> np.ndarray:
        barrier.wait()  # all threads compile and run at once
        return model.predict_proba(X)

    with ThreadPoolExecutor(THREADS) as pool:
        for result in pool.map(call, range(THREADS)):
            np.testing.assert_array_equal(result, expected)


def test_converting_and_predicting_leave_global_state_alone(executor: str):
    source = RandomForestClassifier(5).fit(X[:500], Y[:500])
    state = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr())
    tensorml.convert(source, executor=executor).predict(X)
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr()) == state


def test_results_are_not_tied_to_one_another(executor: str):
    model = tensorml.convert(StandardScaler().fit(X), executor=executor)
    first = model.transform(X)
    kept = first.copy()
    model.transform(X + 1)
    first[0] = 7
    np.testing.assert_array_equal(first[1:], kept[1:])
    np.testing.assert_array_equal(model.transform(X), kept)
