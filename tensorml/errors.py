"""Every error that tensorml raises on purpose."""

from __future__ import annotations


class TensorMLError(Exception):
    """The base of all errors that tensorml raises on purpose."""


class UnsupportedModelError(TensorMLError, NotImplementedError):
    """A model, option or step that tensorml cannot reproduce.

    The message names the step's path within the model, the class, the option and what to do.
    """

    def __init__(self, model: object, reason: str, todo: str, path: tuple[str, ...] = ()):
        self.model, self.reason, self.todo, self.path = model, reason, todo, path
        super().__init__(model, reason, todo, path)

    def within(self, step: str) -> UnsupportedModelError:
        """The same refusal, seen from one level further out."""
        return UnsupportedModelError(self.model, self.reason, self.todo, (step, *self.path))

    def __str__(self) -> str:
        where = f"{' > '.join(self.path)}, " if self.path else ""
        return f"{where}{qualified_name(self.model)}: {self.reason}. {self.todo}."


class UnsupportedOperatorError(TensorMLError, NotImplementedError):
    """An executor has no rule for an operator of the graph."""


class NotFittedError(TensorMLError, ValueError):
    """The model has not been fitted."""


class GraphTypeError(TensorMLError, TypeError):
    """An operator was given operands of the wrong shape or dtype: a fault in a converter or a pass."""


class InputError(TensorMLError, ValueError):
    """An input that the source model would not accept either: width, dtype, names, NaN."""


class MismatchError(TensorMLError, ValueError):
    """A converted model does not return what its source returns."""


class ArtifactError(TensorMLError, ValueError):
    """A file that is damaged, or that tensorml did not write. Nothing in it was executed."""


class CircuitError(TensorMLError, RuntimeError):
    """A circuit that does not do what it should, or a tool that could not build, simulate or place it."""


class MissingDependencyError(TensorMLError, ImportError):
    """A package that this executor, converter or format needs is not installed."""


def qualified_name(model: object) -> str:
    """The dotted name of a class, or of an object's class, as a user would import it: `sklearn.svm.SVC`."""
    cls = model if isinstance(model, type) else type(model)
    parts = cls.__module__.split(".")
    private = (i for i, part in enumerate(parts) if part.startswith("_") and not part.startswith("__"))
    return ".".join([*parts[: next(private, None)], cls.__qualname__])
