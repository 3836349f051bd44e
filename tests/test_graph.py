from __future__ import annotations

import numpy as np
import pytest

from tensorml import ops
from tensorml.errors import GraphTypeError
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op, TensorType

X = Input("x", TensorType(("N", 3), np.float32))
Y = Input("y", TensorType(("N", 3), np.float64))


def run(op: Op, **inputs: np.ndarray) -> np.ndarray:
    return evaluate(Graph({"out": op}), inputs)["out"]


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, y: (x - y) / 2,
        lambda x, y: 1 - x * 3.5,
        lambda x, y: 2 / (x + y),
        lambda x, y: x * np.float64(0.1),
        lambda x, y: (x + np.float64(1)) * np.arange(3),
        lambda x, y: np.arange(3.0) - x,
        lambda x, y: -x,
        lambda x, y: x @ np.ones((3, 2)),
        lambda x, y: (x < y) & (x >= 0) | ~(y <= 0.5),
        lambda x, y: (x > 1) & (y > 1),
        lambda x, y: abs(2 - x) if isinstance(x, np.ndarray) else ops.Abs(2 - x),
    ],
)
def test_python_operators_compute_and_promote_as_numpy_does(formula):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(5, 3))
    op = formula(X, Y)
    expected = formula(x, y)
    assert op.dtype == expected.dtype
    np.testing.assert_array_equal(run(op, x=x, y=y), expected)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ops.MatMul(X, Const(np.ones((4, 2), np.float32))), r"MatMul takes \[N, F\] and \[F, C\]"),
        (lambda: ops.MatMul(X, Const(np.ones((3, 2)))), "of one dtype, not float32"),
        (lambda: ops.Add(X, Y), "Add does not take float32"),
        (lambda: X + Const(np.ones(4, np.float32)), "do not broadcast"),
        (lambda: ops.Exp(Const(np.arange(3))), "Exp does not take int64"),
        (lambda: ops.Columns(X, np.array([3])), r"columns \[3\] do not exist"),
        (lambda: ops.Concat((X, Y)), "Concat does not take"),
        (lambda: ops.Reshape(X, (2,)), "does not reshape"),
        (lambda: ops.ArgMax(ops.ravel(ops.Columns(X, np.array([0])))), "ArgMax takes"),
        (lambda: ops.Take(Const(np.ones(3)), X), "Take does not take"),
        (lambda: ops.OneHot(X, (2, 2, 2), np.dtype(float)), "OneHot of 3 columns"),
        (lambda: ops.Where(X, X, X), "Where does not take"),
        (lambda: Graph({"a": X, "b": Input("x", Y.of)}), "input 'x' is both"),
    ],
)
def test_operands_that_do_not_fit_are_refused_where_they_are_built(build, words):
    with pytest.raises(GraphTypeError, match=words):
        build()


def test_a_graph_holds_what_its_outputs_need_and_nothing_else():
    used, unused = X + 1, X * 2
    graph = Graph({"a": used, "b": used})
    assert unused not in graph.order
    assert graph.order.index(X) < graph.order.index(used)
    assert list(graph.inputs) == ["x"]


def test_select_keeps_only_the_inputs_of_what_is_selected():
    graph = Graph({"a": X + 1, "b": Y + 1, "c": X + Y})
    assert list(graph.select("b").inputs) == ["y"]
    assert list(graph.select("c").inputs) == ["x", "y"]
    with pytest.raises(KeyError, match=r"no output 'd'; there are a, b, c"):
        graph.select("d")


def test_rewrite_replaces_operands_first_and_leaves_the_original_alone():
    graph = Graph({"a": ops.Neg(ops.Neg(X)) + 1})

    def cancel(op: Op) -> Op | None:
        match op:
            case ops.Neg(x=ops.Neg(x=x)):
                return x
        return None

    rewritten = graph.rewrite(cancel)
    assert not [op for op in rewritten.order if isinstance(op, ops.Neg)]
    assert len([op for op in graph.order if isinstance(op, ops.Neg)]) == 2


def test_a_rewrite_that_changes_nothing_returns_the_same_operators():
    graph = Graph({"a": X + 1})
    assert graph.rewrite(lambda op: None).outputs["a"] is graph.outputs["a"]


def test_a_deep_graph_needs_no_deep_stack():
    op: Op = X
    for _ in range(5000):
        op = op + 1
    np.testing.assert_array_equal(run(op, x=np.zeros((1, 3), np.float32)), np.full((1, 3), 5000, np.float32))


def test_constants_share_the_models_memory_and_cannot_be_written_to():
    array = np.ones(3)
    constant = Const(array)
    assert np.shares_memory(constant.value, array)
    assert not constant.value.flags.writeable
    assert array.flags.writeable


def test_operators_are_immutable():
    op = X + 1
    with pytest.raises(AttributeError):
        op.x = Y  # pyright: ignore[reportAttributeAccessIssue]


def test_text_form_names_inputs_types_and_outputs():
    text = str(Graph({"transform": (X - np.float32(2)) / np.ones(3, np.float32)}))
    assert text.splitlines() == [
        "x: float32[N, 3]",
        "%1: float32[N, 3] = Sub(x, float32(2.0))",
        "%2: float32[N, 3] = Div(%1, float32[3])",
        "return transform = %2",
    ]
