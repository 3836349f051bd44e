from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tensorml
from tensorml.errors import InputError, NotFittedError, TensorMLError, UnsupportedModelError
from tensorml.executors.reference import ReferenceExecutor

X = np.random.default_rng(0).normal(size=(200, 4))
Y = (X[:, 0] > 0).astype(int)
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


class Unknown(BaseEstimator):
    """An estimator that no converter knows."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Unknown:
        self.fitted_ = True
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))


class Changed(LogisticRegression):
    """A subclass that may return anything."""


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            make_pipeline(StandardScaler(), Unknown()).fit(X, Y),
            r"Pipeline step 'unknown', tests\.test_convert\.Unknown: there is no converter for this class",
        ),
        (
            Changed().fit(X, Y),
            r"subclass of sklearn\.linear_model\.LogisticRegression and may have changed .* register",
        ),
        (LogisticRegression, "it is a class, not a fitted model. Make an instance, fit it"),
        (3, r"builtins\.int: there is no converter for this class"),
    ],
)
def test_what_has_no_converter_is_refused_with_step_class_and_what_to_do(model: object, words: str):
    with pytest.raises(UnsupportedModelError, match=words):
        tensorml.convert(model)


def test_refusals_are_of_the_builtin_kind_that_one_expects():
    with pytest.raises(NotImplementedError):
        tensorml.convert(3)
    with pytest.raises(ValueError, match=r"Call fit\(\)") as caught:
        tensorml.convert(LogisticRegression())
    assert isinstance(caught.value, NotFittedError)
    assert isinstance(caught.value, TensorMLError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": "tpu"}, "no executor 'tpu'; there are: auto, fpga, reference, simd, torch, torchscript"),
        ({"device": "nonsense"}, "torch cannot use the device 'nonsense' here"),
        ({"executor": "reference", "device": "cuda"}, "'reference' runs on the CPU only, not on 'cuda'"),
        ({"executor": ReferenceExecutor(), "device": "cuda"}, "'reference' runs on the CPU only, not on 'cuda'"),
        ({"precision": "half"}, "precision is 'source' or 'fast', not 'half'"),
    ],
)
def test_an_option_that_does_not_exist_is_refused_by_name(options: dict[str, str], words: str):
    with pytest.raises(ValueError, match=words):
        tensorml.convert(PIPELINE, **options)  # pyright: ignore[reportArgumentType]


def test_an_executor_may_be_given_with_its_options():
    model = tensorml.convert(PIPELINE, executor=ReferenceExecutor(memory=2**20))
    assert model.executor == ReferenceExecutor(memory=2**20)
    assert tensorml.convert(PIPELINE, executor=ReferenceExecutor(), memory=2**21).executor.memory == 2**21
    assert tensorml.convert(PIPELINE, executor=ReferenceExecutor(), device="cpu").executor == ReferenceExecutor()


def test_methods_are_those_of_the_source_and_take_x_by_name_too(executor: str):
    model = tensorml.convert(PIPELINE, executor=executor)
    assert set(model.methods) == {"predict", "predict_proba", "predict_log_proba", "decision_function"}
    np.testing.assert_array_equal(model.predict(X=X), PIPELINE.predict(X))
    assert {"predict", "classes_"} <= set(dir(model))
    with pytest.raises(AttributeError, match=r"Pipeline, has no method or attribute 'transform'"):
        model.transform(X)
    with pytest.raises(InputError, match=r"predict\(\) does not take sample_weight=1; it takes no options"):
        model.predict(X, sample_weight=1)


def test_fast_precision_stays_within_rounding(executor: str):
    fast = tensorml.convert(PIPELINE, executor=executor, precision="fast")
    assert len(fast.graph.order) < len(tensorml.convert(PIPELINE).graph.order)
    for dtype, rtol in ((np.float64, 1e-11), (np.float32, 1e-4)):
        actual = fast.decision_function(X.astype(dtype))
        np.testing.assert_allclose(actual, PIPELINE.decision_function(X.astype(dtype)), rtol=rtol, atol=rtol)


def test_a_converted_model_is_immutable_so_a_copy_is_itself_and_files_are_its_own():
    model = tensorml.convert(PIPELINE)
    assert copy.copy(model) is model
    assert copy.deepcopy(model) is model
    with pytest.raises(TypeError, match=r"not pickled: write it with model\.save"):
        pickle.dumps(model)


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no such directory: .*absent"):
        tensorml.convert(PIPELINE).save(tmp_path / "absent" / "model.pt")
