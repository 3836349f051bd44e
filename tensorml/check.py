"""check(): which steps of a model convert and which do not, why, and what to do, before anything is converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tensorml.convert import describe, make_executor, require_rules, starting_schema
from tensorml.converter import Converter, Model, apply, copied, find
from tensorml.errors import NotFittedError, TensorMLError, UnsupportedModelError, qualified_name
from tensorml.executors.base import Executor
from tensorml.graph import Graph
from tensorml.model import parse
from tensorml.programs import numeric
from tensorml.report import Table, listed

STYLES = {"converts": "green", "REFUSED": "bold red", "not fitted": "yellow"}
FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Step:
    """One model, or one step inside it.

    path: the names that lead to it, () for the model itself. status: "converts", "REFUSED" or "not fitted". methods:
    what its conversion offers; refused: what it does not offer, for each method why. cause: the names that lead on to
    the step that is refused inside it.
    """

    path: tuple[str, ...]
    name: str
    status: str
    methods: tuple[str, ...] = ()
    reason: str = ""
    todo: str = ""
    cause: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it converts."""
        return self.status == "converts"

    @property
    def remark(self) -> str:
        """Why it, or which of its methods, does not convert, and what to do. Empty where all does."""
        where = " > ".join(self.path) or "model"
        if not self.ok:
            return f"{where}: {self.reason}. {self.todo}."
        methods: dict[str, list[str]] = {}
        for method, reason in self.refused.items():
            methods.setdefault(reason, []).append(method)
        return "\n".join(f"{where}: without {', '.join(names)}: {reason}" for reason, names in methods.items())


@dataclass(frozen=True)
class Report:
    """What `check` found: the model itself first, then the steps inside it, from the outside in."""

    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether the model converts."""
        return self.steps[0].ok

    @cached_property
    def table(self) -> Table:
        """The report as a table."""
        model = self.steps[0]
        verdict = {"converts": "converts", "REFUSED": "does not convert"}.get(model.status, model.status)
        rows = [_cells(step) for step in self.steps]
        refused = {step.path for step in self.steps if not step.ok}
        told = (step for step in self.steps if not (step.cause and (*step.path, *step.cause) in refused))
        notes = [step.remark for step in told if step.remark]
        return Table(("step", "class", "result", "methods"), rows, f"{model.name}: {verdict}", STYLES, notes=notes)

    def __str__(self) -> str:
        return str(self.table)

    def __rich__(self) -> Any:
        return self.table.__rich__()


def check(model: Model, X: Any = None, *, executor: str | Executor = "auto") -> Report:
    """Whether `convert(model, X, executor=executor)` will work, for the model and each step inside it.

    Never raises for a model, whatever it is.

    Each is converted, to a graph only, for float64 input of the width that it was fitted on; the model itself for the
    kind of input that X is, if given. A step that depends on what the steps before it return may still differ there:
    the line of the model itself is the one that decides.
    """
    chosen = make_executor(executor, None, None)
    own = _copied(model)
    return Report((examine(own, chosen, (), X), *_inside(own, chosen, ())))


def _copied(model: Model) -> Model:
    """A copy: what converters remember of a model must not outlive a change to it."""
    try:
        return copied(model)
    except (TensorMLError, *FAULTS):
        return model


def _inside(model: Model, executor: Executor, path: tuple[str, ...]) -> Iterator[Step]:
    """All steps inside a model, depth first."""
    for name, child in children(model):
        if child is None or isinstance(child, str):
            continue
        here = (*path, name)
        yield examine(child, executor, here)
        yield from _inside(child, executor, here)


def children(model: Model) -> list[tuple[str, Any]]:
    """The models inside a model, by name; none if its converter names none or it is not fitted."""
    try:
        entry: Converter = find(model)
        return [] if entry.steps is None else list(entry.steps(model))
    except (TensorMLError, *FAULTS):
        return []


def examine(model: Model, executor: Executor, path: tuple[str, ...], X: Any = None) -> Step:
    """One model, converted on its own to a graph."""
    name = qualified_name(model)
    try:
        methods, refused = _methods(model, executor, X)
    except UnsupportedModelError as error:
        inner = f"{' > '.join(error.path)}, {qualified_name(error.model)}: " if error.path else ""
        return Step(path, name, "REFUSED", (), inner + error.reason, error.todo, error.path)
    except NotFittedError:
        return Step(path, name, "not fitted", (), "it is not fitted", "Call fit() before converting it")
    except TensorMLError as error:
        return Step(path, name, "REFUSED", (), str(error).rstrip("."), "Pass rows of the real input: check(model, X)")
    except FAULTS as error:
        return Step(path, name, "REFUSED", (), f"its converter fails: {error!r}", "Please report this as a bug")
    return Step(path, name, "converts", methods, refused=refused)


def _methods(model: Model, executor: Executor, X: Any) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The methods that the converted model has, and those that it refuses. Raises what `convert` raises."""
    find(model)
    description = describe(model)
    graph = Graph(apply(model, starting_schema(model, description, X).inputs()))
    require_rules(model, numeric(graph), executor)
    back = ("inverse_transform",) if description.invertible else ()
    methods = (*dict.fromkeys(parse(output)[0] for output in graph.outputs), *back)
    return methods, {name: reason for name, reason in description.refused.items() if name not in methods}


def _cells(step: Step) -> tuple[str, ...]:
    shown = "  " * (len(step.path) - 1) + step.path[-1] if step.path else "(model)"
    return (shown, step.name, step.status, listed(step.methods))


__all__ = ["Report", "Step", "check"]
