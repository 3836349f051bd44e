"""Converters for sklearn.neural_network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor

from tensorml.converter import Outputs, converter, fitted, fitted_attribute
from tensorml.graph import Const, Op
from tensorml.ops import Exp, Label, Log, Max, Sigmoid, Softmax, Sparse, Tanh, cast, concat, full, ravel
from tensorml_sklearn.describe import SPARSE_TRANSFORM
from tensorml_sklearn.output import labelled
from tensorml_sklearn.validation import FLOATS, finite, floating

INT64 = np.dtype(np.int64)


def relu(x: Op) -> Op:
    """The positive part of x."""
    return Max(x, Const(np.array(0, x.dtype)))


ACTIVATIONS: dict[str, Callable[[Op], Op]] = {
    "identity": lambda x: x,
    "exp": Exp,
    "tanh": Tanh,
    "logistic": Sigmoid,
    "relu": relu,
    "softmax": Softmax,
}


def forward(model: Any, x: Op) -> Op:
    """What the last layer returns, in the dtype that NumPy finds for X and the weights. [N, K].

    Source: sklearn.neural_network._multilayer_perceptron.BaseMultilayerPerceptron._forward_pass_fast.
    """
    layer = finite(model, x)
    weights, biases = fitted_attribute(model, "coefs_"), fitted_attribute(model, "intercepts_")
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        layer = layer @ np.asarray(w)
        layer = layer + cast(Const(np.asarray(b)), layer.dtype)  # added in place
        layer = ACTIVATIONS[model.activation if i < len(weights) - 1 else model.out_activation_](layer)
    return layer


@converter(MLPRegressor)
def mlp_regressor(model: Any, x: Op) -> Outputs:
    """The last layer: [N] for one target, else [N, K].

    Source: sklearn.neural_network._multilayer_perceptron.MLPRegressor._predict.
    """
    y = forward(model, x)
    return {"predict": ravel(y) if y.columns == 1 else y}


@converter(MLPClassifier)
def mlp_classifier(model: Any, x: Op) -> Outputs:
    """Labels, probabilities and their logarithms; for several labels a row, a matrix of 0 and 1.

    Source: sklearn.neural_network._multilayer_perceptron.MLPClassifier, LabelBinarizer.inverse_transform.
    """
    p = forward(model, x)
    probabilities = concat([1 - p, p]) if p.columns == 1 else p
    return {
        "predict": _decided(model, p),
        "predict_proba": probabilities,
        "predict_log_proba": Log(probabilities),
    }


def _decided(model: Any, p: Op) -> Op:
    """The labels for the last layer's probabilities, [N, 1] or [N, C]; each above one half counts, or the largest."""
    binarizer, classes = fitted_attribute(model, "_label_binarizer"), np.asarray(model.classes_)
    if binarizer.y_type_ == "multiclass":
        return labelled(p, classes)
    above = cast(p > 0.5, INT64)
    if binarizer.y_type_.startswith("multilabel"):
        return Sparse(above) if binarizer.sparse_input_ else above
    return Label(full(p, (), 0, INT64) if len(classes) == 1 else ravel(above), classes)


SPARSE_TRANSFORM[BernoulliRBM] = lambda _: "dense"


@converter(BernoulliRBM)
def bernoulli_rbm(model: Any, x: Op) -> Outputs:
    """The probability that each hidden unit is on. x: [N, F] float32, else float64.

    Source: sklearn.neural_network._rbm.BernoulliRBM.transform.
    """
    x = finite(model, floating(x, FLOATS[:2]))
    weights = np.asarray(fitted_attribute(model, "components_")).T
    p = x @ weights
    return {"transform": Sigmoid(p + cast(fitted(model, "intercept_hidden_"), p.dtype))}
