"""The graph: typed operators that hold their operands, and named outputs over them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, dataclass_transform

import numpy as np

from tensorml.errors import GraphTypeError

Dim = int | str
Scalar = bool | int | float


@dataclass(frozen=True)
class TensorType:
    """Shape and dtype of a tensor. A dimension is a number, or a name where it is known only at run time ("N")."""

    shape: tuple[Dim, ...]
    dtype: np.dtype

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def batched(self) -> bool:
        """Whether the first dimension is the batch, so that rows can be computed apart."""
        return bool(self.shape) and isinstance(self.shape[0], str)

    def row_bytes(self) -> int:
        """Bytes that one row takes; 0 for a tensor that does not grow with the batch. Other named dimensions: 1."""
        sizes = (dim if isinstance(dim, int) else 1 for dim in self.shape[1:])
        return math.prod(sizes) * self.dtype.itemsize if self.batched else 0

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass_transform(frozen_default=True, eq_default=False)
class Op:
    """An operator, applied to its operands. A subclass declares its operands and attributes as fields.

    Fields annotated `Op` or `tuple[Op, ...]` are operands; all others are attributes. `type` is inferred, and so
    checked, when the operator is built. Python's arithmetic and comparison operators build elementwise operators,
    with NumPy's promotion of dtypes.
    """

    type: TensorType
    __array_ufunc__: ClassVar[None] = None
    whole_batch: ClassVar[bool] = False  # whether a row's result depends on the other rows: such graphs get no tiles

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, eq=False, repr=False)(cls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.infer())

    def infer(self) -> TensorType:
        """The type of the result. Raises GraphTypeError if the operands do not fit."""
        raise NotImplementedError

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        """The result, in NumPy. This is what the operator means; every executor is tested against it."""
        raise NotImplementedError

    def scratch_bytes(self) -> int:
        """Bytes of working memory that one row takes while this operator runs, beyond operands and result."""
        return self.type.row_bytes()

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The shape of the result."""
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the result."""
        return self.type.dtype

    @property
    def columns(self) -> int:
        """The length of the last dimension, which must be a number."""
        last = self.shape[-1]
        if not isinstance(last, int):
            raise GraphTypeError(f"{self.type} has no fixed number of columns")
        return last

    @property
    def operands(self) -> tuple[Op, ...]:
        """All operands, in the order of the fields."""
        found: list[Op] = []
        for value in self.fields.values():
            if isinstance(value, Op):
                found.append(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Op):
                found.extend(value)
        return tuple(found)

    @property
    def fields(self) -> dict[str, Any]:
        """Operands and attributes by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # pyright: ignore[reportArgumentType]

    @property
    def attributes(self) -> dict[str, Any]:
        """The fields that are not operands."""
        return {name: value for name, value in self.fields.items() if not is_operand(value)}

    def with_operands(self, new: Mapping[Op, Op]) -> Self:
        """The same operator over other operands: each is replaced by its value in `new`, if it has one there."""
        fields = {name: _replace(value, new) for name, value in self.fields.items()}
        return self if all(fields[n] is v for n, v in self.fields.items()) else type(self)(**fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.type})"

    def __add__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("Add", self, other)

    def __radd__(self, other: np.ndarray | Scalar) -> Op:
        return _binary("Add", other, self)

    def __sub__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("Sub", self, other)

    def __rsub__(self, other: np.ndarray | Scalar) -> Op:
        return _binary("Sub", other, self)

    def __mul__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("Mul", self, other)

    def __rmul__(self, other: np.ndarray | Scalar) -> Op:
        return _binary("Mul", other, self)

    def __truediv__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("Div", self, other)

    def __rtruediv__(self, other: np.ndarray | Scalar) -> Op:
        return _binary("Div", other, self)

    def __pow__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("Pow", self, other)

    def __lt__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("Less", self, other)

    def __le__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("LessOrEqual", self, other)

    def __gt__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("Greater", self, other)

    def __ge__(self, other: Op | np.ndarray | Scalar) -> Op:
        return _binary("GreaterOrEqual", self, other)

    def __and__(self, other: Op) -> Op:
        return _binary("And", self, other)

    def __or__(self, other: Op) -> Op:
        return _binary("Or", self, other)

    def __neg__(self) -> Op:
        from tensorml.ops.elementwise import Neg

        return Neg(self)

    def __invert__(self) -> Op:
        from tensorml.ops.elementwise import Not

        return Not(self)

    def __matmul__(self, other: Op | np.ndarray) -> Op:
        return _binary("MatMul", self, other)


class Input(Op):
    """What the caller passes under `name`. `of` is the declared type: ("N", columns) of one dtype."""

    name: str
    of: TensorType

    def infer(self) -> TensorType:
        return self.of


class Const(Op):
    """An array that the model learned. The graph shares its memory and never writes to it."""

    value: np.ndarray

    def __post_init__(self) -> None:
        view = np.asarray(self.value).view()
        view.flags.writeable = False
        object.__setattr__(self, "value", view)
        super().__post_init__()

    def infer(self) -> TensorType:
        return TensorType(self.value.shape, self.value.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return self.value


@dataclass(frozen=True)
class Graph:
    """Named outputs over named inputs. Operators that no output needs do not exist.

    Inputs are found from the outputs; two inputs of one name must be of one type.
    """

    outputs: Mapping[str, Op]
    order: tuple[Op, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", MappingProxyType(dict(self.outputs)))
        object.__setattr__(self, "order", topological(self.outputs.values()))
        _ = self.inputs

    @cached_property
    def inputs(self) -> Mapping[str, Input]:
        """The inputs that the outputs need, by name, in order of first use."""
        found: dict[str, Input] = {}
        for op in self.order:
            if isinstance(op, Input) and found.setdefault(op.name, op).type != op.type:
                raise GraphTypeError(f"input '{op.name}' is both {found[op.name].type} and {op.type}")
        return MappingProxyType(found)

    def select(self, *names: str) -> Graph:
        """The part of the graph that computes these outputs."""
        missing = [name for name in names if name not in self.outputs]
        if missing:
            raise KeyError(f"no output {missing[0]!r}; there are {', '.join(self.outputs)}")
        return Graph({name: self.outputs[name] for name in names})

    def rewrite(self, rule: Callable[[Op], Op | None], given: Mapping[Op, Op] | None = None) -> Graph:
        """The graph in which every operator, operands first, is replaced by what `rule` returns (None: kept).

        given: operators that are replaced by these others, whatever the rule.
        """
        new: dict[Op, Op] = dict(given or {})
        for op in self.order:
            if op in new:
                continue
            candidate = op.with_operands(new)
            replacement = rule(candidate)
            new[op] = candidate if replacement is None else replacement
        return Graph({name: new[op] for name, op in self.outputs.items()})

    def uses(self) -> dict[Op, int]:
        """How often each operator is an operand of another, or an output."""
        count = dict.fromkeys(self.order, 0)
        for op in (*(o for user in self.order for o in user.operands), *self.outputs.values()):
            count[op] += 1
        return count

    def draw(self, path: str | Path) -> None:
        """Write a picture of the graph to a .svg or .dot file."""
        from tensorml.drawing import draw

        draw(self, Path(path))

    def __str__(self) -> str:
        names: dict[Op, str] = {}
        lines: list[str] = []
        for op in self.order:
            names[op] = _name(op, len(lines))
            if isinstance(op, Input):
                lines.append(f"{names[op]}: {op.type}")
            elif not isinstance(op, Const):
                lines.append(f"{names[op]}: {op.type} = {_call(op, names)}")
        lines += [f"return {name} = {names[op]}" for name, op in self.outputs.items()]
        return "\n".join(lines)


def is_operand(value: object) -> bool:
    """Whether a field's value is an operand or a tuple of operands."""
    return isinstance(value, Op) or (isinstance(value, tuple) and bool(value) and isinstance(value[0], Op))


def describe_attribute(value: object) -> str:
    """An attribute in a few characters: arrays by their type, long tuples by their length."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, tuple) and len(value) > 8:
        return f"({', '.join(map(str, value[:6]))}, … {len(value)} items)"
    return str(value)


def lift(value: Op | np.ndarray | Scalar, like: np.dtype) -> Op:
    """An operand as an operator. A Python number takes the dtype `like`, as in NumPy, unless it is of a higher kind."""
    if isinstance(value, Op):
        return value
    if isinstance(value, bool | int | float) and not isinstance(value, np.generic):
        return Const(np.asarray(value, np.result_type(like, value)))
    return Const(np.asarray(value))


def _binary(name: str, x: Op | np.ndarray | Scalar, y: Op | np.ndarray | Scalar) -> Op:
    """The operator `name` of two operands, both cast to the dtype that NumPy would compute in."""
    from tensorml import ops

    a = lift(x, y.dtype if isinstance(y, Op) else np.dtype(float))
    b = lift(y, a.dtype)
    dtype = np.result_type(a.dtype, b.dtype)
    cls: Callable[[Op, Op], Op] = getattr(ops, name)
    return cls(ops.cast(a, dtype), ops.cast(b, dtype))


def _replace(value: Any, new: Mapping[Op, Op]) -> Any:
    if isinstance(value, Op):
        return new.get(value, value)
    if is_operand(value):
        replaced = tuple(new.get(op, op) for op in value)
        return value if all(a is b for a, b in zip(replaced, value, strict=True)) else replaced
    return value


def topological(
    outputs: Iterable[Op], operands: Callable[[Op], tuple[Op, ...]] = lambda op: op.operands
) -> tuple[Op, ...]:
    """All operators that the outputs need, operands before users. operands: what each one is computed from."""
    order: dict[Op, None] = {}
    stack = [(op, False) for op in reversed(list(outputs))]
    while stack:
        op, expanded = stack.pop()
        if op in order:
            continue
        if expanded:
            order[op] = None
        else:
            stack.append((op, True))
            stack.extend((operand, False) for operand in reversed(operands(op)))
    return tuple(order)


def _name(op: Op, line: int) -> str:
    match op:
        case Input(name=name):
            return name
        case Const(value=value) if value.size == 1:
            return f"{value.dtype}({value.item()!r})"
        case Const():
            return str(op.type)
    return f"%{line}"


def _call(op: Op, names: Mapping[Op, str]) -> str:
    arguments = [names[operand] for operand in op.operands]
    arguments += [f"{name}={describe_attribute(value)}" for name, value in op.attributes.items()]
    return f"{type(op).__name__}({', '.join(arguments)})"
