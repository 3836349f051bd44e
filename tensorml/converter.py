"""The converter registry: what a library's models mean, one function per class.

    @converter(StandardScaler)
    def standard_scaler(model: StandardScaler, x: Op) -> Outputs:
        return {"transform": (x - model.mean_) / model.scale_}

A function gets the fitted model and its input, and returns an operator for each inference method. An output's name is
the method's, with the arguments that select a variant and the index in a list or a tuple: `predict`,
`predict(output_margin=True)`, `predict_proba[1]`, `predict(return_std=True).1`. Options that have many values, or whose
default is not False, are keyword-only parameters of the function instead: each value makes a graph.
"""

from __future__ import annotations

import copy
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, wraps
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np

from tensorml.errors import MissingDependencyError, NotFittedError, UnsupportedModelError, qualified_name
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import Sparse

Outputs = dict[str, Op]
Model = Any
Convert = Callable[..., Outputs]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Converter:
    """A registered converter.

    inverse: what `inverse_transform` returns, from its input. steps: the models inside, for `check`. frames: it takes
    the columns of a DataFrame. sparse: it tells a sparse input (an `ops.Sparse`) from a dense one. inner: the model
    inside that the options of `passing` go to, in the keyword-only parameter `passed` of the function.
    """

    function: Convert
    inverse: Callable[..., Op] | None = None
    steps: Callable[[Any], list[tuple[str, Any]]] | None = None
    frames: bool = False
    sparse: bool = False
    inner: Callable[[Any], Any] | None = None
    passing: tuple[str, ...] | None = None

    def passes(self, method: str) -> bool:
        """Whether a method hands its options on to the model inside; `passing` None: all methods do."""
        return self.inner is not None and (self.passing is None or method in self.passing)


@dataclass(frozen=True)
class Description:
    """What a model says about itself beyond its graph.

    n_features: the width of the input; None if the model does not know it.
    feature_names: the columns of the DataFrame it was fitted on.
    attributes: fitted attributes that the converted model shows too (`classes_`, ...).
    feature_names_out: the columns that `transform` returns, where the source knows them.
    reader: the class that reads the input first, for messages about it; None: the model's own.
    options: for each method, what it may be called with beside the variants among the outputs, by name with the
        default. Each value makes another graph; `convert` takes them from the converter's keyword-only parameters.
    objects: whether arrays of Python objects and of strings, and lists, reach the converter as they are (a Frame).
    categorical: columns of objects in the kind of input to convert for first, if no rows are given.
    refused: inference methods of the source that are not converted: for each why, and what to do.
    absent: what an entry that a sparse matrix does not store means.
    sparse: whether sparse matrices are taken. sparse_nan: whether they may store NaN, as dense rows may.
    sparse_transform: what `transform` returns for a sparse matrix: "csr", "same" (the format of the input where that is
        CSC, else CSR), "dense", "dense of csr" (where the source errs on CSC), "csr of nonzeros" (where stored
        zeros count), or "" where it is refused.
    one_dimensional: whether the source also takes its one feature as an array [N].
    support: whether each feature is selected, for a source with `get_support`.
    empty: whether the source takes a batch of no rows.
    invertible: whether the source has `inverse_transform`.
    frame_back: whether that makes a DataFrame of a DataFrame, which is refused: the way back is one of arrays.
    by_name: whether a DataFrame reaches the converter as one (a Frame), which then checks its columns itself; columns
        are found by name then, so that order and further columns do not matter, or keep their own dtypes.
    """

    n_features: int | None = None
    feature_names: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    feature_names_out: tuple[str, ...] | None = None
    reader: str | None = None
    absent: float = 0.0
    sparse: bool = True
    empty: bool = False
    invertible: bool = False
    frame_back: bool = False
    by_name: bool = False
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    objects: bool = False
    categorical: tuple[int, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    sparse_nan: bool = True
    sparse_transform: str = ""
    support: tuple[bool, ...] | None = None
    one_dimensional: bool = False


class Library(Protocol):
    """What the module behind an entry point of the group `tensorml.converters` offers.

    It may also have `contained(model, x, result)`: what `transform` returned, as the model's container of it; and
    `restore(original, copied)`, called for each object that `copy.deepcopy` copied: gives back what the library's own
    way of copying loses, or raises UnsupportedModelError; and `REFUSED`: dotted class names that no converter can be
    written for -> why, and what to do instead.
    """

    CONVERTERS: Mapping[type, Converter]

    def describe(self, model: Model) -> Description:
        """The model's own facts."""
        ...


_REGISTRY: dict[type, Converter] = {}


def converter(
    *classes: type,
    inverse: Callable[..., Op] | None = None,
    steps: Callable[[Any], list[tuple[str, Any]]] | None = None,
    frames: bool = False,
    sparse: bool = False,
    inner: Callable[[Any], Any] | None = None,
    passing: tuple[str, ...] | None = None,
) -> Callable[[F], F]:
    """Register a function as the converter of exactly these classes; subclasses need their own."""

    def register(function: F) -> F:
        for cls in classes:
            _REGISTRY[cls] = Converter(function, inverse, steps, frames, sparse, inner, passing)
        return function

    return register


def registered() -> Mapping[type, Converter]:
    """All converters of the libraries that are installed."""
    for point in _points():
        try:
            library(point)
        except MissingDependencyError:
            continue
    return _REGISTRY


@cache
def _points() -> Mapping[str, str]:
    """The converter modules by the root module of the classes they convert."""
    return {point.name: point.value for point in entry_points(group="tensorml.converters")}


@cache
def library(root: str) -> Any:
    """The converter module for models whose class lives under the package `root`."""
    try:
        return import_module(_points()[root])
    except ModuleNotFoundError as error:
        if error.name != root:
            raise
        raise MissingDependencyError(f"{root} is not installed. Install it: pip install 'tensorml[{root}]'") from error


def home(cls: type) -> str | None:
    """The root package, of those that have a converter module, of a class or of its nearest ancestor that has one."""
    roots = (ancestor.__module__.partition(".")[0] for ancestor in cls.__mro__)
    return next((root for root in roots if root in _points()), None)


def find(model: Model) -> Converter:
    """The converter of the model's class. Raises UnsupportedModelError if there is none."""
    cls = type(model)
    if isinstance(model, type):
        raise UnsupportedModelError(
            model, "it is a class, not a fitted model", "Make an instance, fit it, convert that"
        )
    for ancestor in cls.__mro__:
        root = ancestor.__module__.partition(".")[0]
        if root in _points():
            library(root)
    if cls in _REGISTRY:
        return _REGISTRY[cls]
    raise UnsupportedModelError(model, *_why_unknown(cls))


def _why_unknown(cls: type) -> tuple[str, str]:
    for ancestor in cls.__mro__[1:]:
        if ancestor in _REGISTRY:
            return (
                f"it is a subclass of {qualified_name(ancestor)} and may have changed what its methods return",
                f"Convert the {ancestor.__name__} itself, or register a converter: "
                f"@tensorml.converter.converter({cls.__name__})",
            )
    root = home(cls)
    refused = {} if root is None else getattr(library(root), "REFUSED", {})
    for ancestor in cls.__mro__:
        if qualified_name(ancestor) in refused:
            return refused[qualified_name(ancestor)]
    return "there is no converter for this class", (
        "Convert the other steps apart from it, or register a converter for it (docs/how-to/write-a-converter.md)"
    )


def options_of(model: Model) -> Mapping[str, Any]:
    """The options of a model's methods, with their defaults: the keyword-only parameters of its converter."""
    entry = find(model)
    if entry.inner is not None:
        inner = entry.inner(model)
        return {} if inner is None else options_of(inner)
    return keyword_only(entry.function)


def options_back(model: Model) -> Mapping[str, Any]:
    """The options of a model's `inverse_transform`, with their defaults."""
    back = find(model).inverse
    return {} if back is None else keyword_only(back)


def keyword_only(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The keyword-only parameters of a function, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def taken(model: Model, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a method of the model takes, or of the model inside that it hands them on to."""
    entry = find(model)
    if entry.inner is None:
        names = inspect.signature(getattr(model, method)).parameters
        return {name: default for name, default in options.items() if name in names}
    return taken(entry.inner(model), method, options) if entry.passes(method) else {}


def apply(
    model: Model, x: Op | Frame, *, step: str | None = None, options: Mapping[str, Any] = MappingProxyType({})
) -> Outputs:
    """The outputs of a model, for these options. `step` is its name inside another model, for error messages."""
    with inside(step):
        entry = find(model)
        read: Op | Frame = x.x if isinstance(x, Sparse) and not entry.sparse else x
        if isinstance(read, Frame) and not entry.frames:
            read = read.matrix()
        given = options if entry.inner is None else {"passed": options}
        outputs = entry.function(model, read, **given)
        return _contained(model, x, outputs) if "transform" in outputs else outputs


def copied(model: Model) -> Model:
    """A copy that later changes to the model do not reach, and that predicts as the model does."""
    memo: dict[int, Any] = {}
    own = copy.deepcopy(model, memo)
    for original in memo.get(id(memo), ()):  # deepcopy keeps alive there what it copied
        root = home(type(original))
        restore = None if root is None else getattr(library(root), "restore", None)
        if restore is not None:
            restore(original, memo[id(original)])
    return own


def _contained(model: Model, x: Op | Frame, outputs: Outputs) -> Outputs:
    """The outputs, `transform` in the container that the model's library wraps it in (scikit-learn's `set_output`)."""
    root = home(type(model))
    wrap = None if root is None else getattr(library(root), "contained", None)
    return outputs if wrap is None else outputs | {"transform": wrap(model, x, outputs["transform"])}


def apply_inverse(
    model: Model, z: Op | Frame, *, step: str | None = None, options: Mapping[str, Any] = MappingProxyType({})
) -> Op:
    """What the model's `inverse_transform` returns for z. `step` is the model's name inside another one."""
    with inside(step):
        entry = find(model)
        if entry.inverse is None:
            raise unsupported(model, "its inverse_transform has no converter", "Keep the source model for the way back")
        return entry.inverse(model, z.matrix() if isinstance(z, Frame) else z, **options)


@contextmanager
def inside(step: str | None) -> Iterator[None]:
    """Prefix refusals with the name of the step they come from."""
    try:
        yield
    except UnsupportedModelError as error:
        if step is None:
            raise
        raise error.within(step) from None


def fitted(model: Model, name: str, dtype: np.dtype | type | None = None) -> Const:
    """A fitted array of the model as a constant, in `dtype` if given. Raises NotFittedError if it is not there."""
    value = fitted_attribute(model, name)
    return Const(np.asarray(value) if dtype is None else np.asarray(value, dtype))


def fitted_attribute(model: Model, name: str) -> Any:
    """A fitted attribute of the model. Raises NotFittedError if it is not there."""
    try:
        return getattr(model, name)
    except AttributeError:
        raise NotFittedError(f"{qualified_name(model)} has no '{name}': fit it before converting it.") from None


def unsupported(model: Model, reason: str, todo: str) -> UnsupportedModelError:
    """The error to raise for an option that cannot be reproduced: why, and what the user can do, without full stops."""
    return UnsupportedModelError(model, reason, todo)


def once_per_model(function: F) -> F:
    """Compute something from a model once, however many input dtypes it is converted for.

    The model must not change: `convert` works on its own copy.
    """
    known: dict[int, tuple[weakref.ref[Any], Any]] = {}  # by identity: CatBoost's models cannot be hashed
    lock = threading.RLock()

    @wraps(function)
    def remembered(model: Model) -> Any:
        key = id(model)
        with lock:
            found = known.get(key)
            if found is None or found[0]() is not model:
                found = weakref.ref(model, lambda _: known.pop(key, None)), function(model)
                known[key] = found
            return found[1]

    return remembered  # pyright: ignore[reportReturnType]
