"""tensorml: fitted machine-learning models as tensor programs, with the same answers."""

from tensorml.check import check
from tensorml.convert import convert
from tensorml.errors import (
    ArtifactError,
    InputError,
    MismatchError,
    MissingDependencyError,
    NotFittedError,
    TensorMLError,
    UnsupportedModelError,
)
from tensorml.executors.base import names as executors
from tensorml.model import TensorModel
from tensorml.save import load
from tensorml.verify import verify

__version__ = "0.1.0"

__all__ = [
    "ArtifactError",
    "InputError",
    "MismatchError",
    "MissingDependencyError",
    "NotFittedError",
    "TensorMLError",
    "TensorModel",
    "UnsupportedModelError",
    "check",
    "convert",
    "executors",
    "load",
    "verify",
]
