"""Converter for FunctionTransformer: NumPy's functions of one element, known by the function object itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.preprocessing import FunctionTransformer

from tensorml import ops
from tensorml.converter import Outputs, converter, unsupported
from tensorml.errors import InputError
from tensorml.frames import OBJECTS, PANDAS, Frame
from tensorml.graph import Op
from tensorml.ops import Table, Untyped, cast
from tensorml_sklearn.output import names_out
from tensorml_sklearn.pipeline import as_output
from tensorml_sklearn.validation import finite

FLOAT_FUNCTIONS: dict[Any, Callable[[Op], Op]] = {  # of floats; integers become floats first, as NumPy makes them
    np.log1p: ops.Log1p,
    np.expm1: ops.Expm1,
    np.log: ops.Log,
    np.log2: ops.Log2,
    np.log10: ops.Log10,
    np.exp: ops.Exp,
    np.exp2: ops.Exp2,
    np.sqrt: ops.Sqrt,
    np.reciprocal: lambda x: 1 / x,
    np.fabs: ops.Abs,
    np.sin: ops.Sin,
    np.cos: ops.Cos,
    np.tan: ops.Tan,
    np.arctan: ops.Atan,
    np.sinh: ops.Sinh,
    np.cosh: ops.Cosh,
    np.tanh: ops.Tanh,
    np.arcsinh: ops.Asinh,
    np.floor: ops.Floor,
    np.ceil: ops.Ceil,
    np.rint: ops.Round,
    np.trunc: ops.Trunc,
    expit: ops.Sigmoid,
}
FUNCTIONS: dict[Any, Callable[[Op], Op]] = {  # of signed integers too
    np.square: lambda x: x * x,
    np.abs: ops.Abs,
    np.negative: ops.Neg,
    np.sign: ops.Sign,
    np.positive: lambda x: x,
}
KNOWN = ", ".join(sorted(function.__name__ for function in (*FLOAT_FUNCTIONS, *FUNCTIONS)))


def function_of(model: FunctionTransformer, name: str, arguments: dict[str, Any] | None) -> Any:
    """The function that the model calls under `name`. Raises UnsupportedModelError for one without an operator."""
    function = getattr(model, name)
    if arguments:
        raise unsupported(model, f"{name} gets further arguments {arguments}", "Use a function of one array")
    if function is not None and not any(function is known for known in (*FLOAT_FUNCTIONS, *FUNCTIONS)):
        shown = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
        raise unsupported(
            model, f"{name} is {shown}, whose meaning is not known", f"Use one of NumPy's functions: {KNOWN}"
        )
    return function


def computed(function: Any, x: Op) -> Op:
    """function(x), in the dtype that NumPy finds for it. Raises InputError for a dtype that has no operator.

    x: any shape; result: the same shape.
    """
    name, kind = function.__name__, x.dtype.kind
    if (
        kind == "b"
        or (kind == "u" and function in (np.negative, np.sign))
        or (kind in "iu" and function is np.reciprocal)
    ):
        raise InputError(f"{name} of {x.dtype} is not supported. Convert it: X.astype('float64').")
    dtype = function(np.ones(1, x.dtype)).dtype
    if dtype.kind in "iu" and (function in FLOAT_FUNCTIONS or (kind == "u" and function is np.abs)):
        return x  # rounding, or the absolute value, of integers that have neither fraction nor sign
    return {**FLOAT_FUNCTIONS, **FUNCTIONS}[function](cast(x, dtype))


def framed_function(model: FunctionTransformer, function: Any, x: Frame) -> Op:
    """The function of a DataFrame: a pandas frame of the same names, each column in its own dtype; else an array."""
    if x.library != PANDAS:
        if x.whole is None or x.library == OBJECTS:
            raise InputError(
                "columns of several dtypes, or objects, reach the function as they are. Pass a NumPy array."
            )
        return computed(function, x.whole)
    table = as_output(model, x)
    names = x.names if model.feature_names_out is None else names_out(model)
    if names is None or len(names) != len(x.columns):
        raise InputError("the DataFrame's columns have no names after the function. Pass X.to_numpy().")
    return Table(tuple(computed(function, part) for part in table.operands), names, PANDAS, x.indexed)


def function_transformer_inverse(model: FunctionTransformer, z: Op) -> Op:
    """inverse_func(z); z itself without one. z: [N, F]. Source: sklearn.preprocessing.FunctionTransformer."""
    z = z.x if isinstance(z, Untyped) else z
    z = finite(model, z) if model.validate else z
    function = function_of(model, "inverse_func", model.inv_kw_args)
    return z if function is None else computed(function, z)


@converter(FunctionTransformer, inverse=function_transformer_inverse, frames=True)
def function_transformer(model: FunctionTransformer, x: Op | Frame) -> Outputs:
    """func(x), a DataFrame for a pandas one; x itself without a function. With `validate`, x is checked and an array.

    x: [N, F] or a Frame; result: the same shape, in the dtype that the function gives.
    Source: sklearn.preprocessing.FunctionTransformer.transform.
    """
    function = function_of(model, "func", model.kw_args)
    if model.validate:
        x = x.matrix() if isinstance(x, Frame) else x
        x = finite(model, x.x if isinstance(x, Untyped) else x)
    elif function is None:
        return {"transform": as_output(model, x)}
    if isinstance(x, Frame):
        return {"transform": framed_function(model, function, x)}
    x = x.x if isinstance(x, Untyped) else x
    return {"transform": x if function is None else computed(function, x)}
