"""The graph itself: immutable nodes, identity, the user's line, walks that need no recursion."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Constant, Input, Shared, as_expr, leaves, made_for, rebuild, topological
from exprc.forms import results
from exprc.ops.pool import max_pool
from exprc.reference import evaluate
from exprc.types import TensorType

DEEP = 100_000


def value(expr, **givens):
    """The value of an expression, inputs given by name."""
    inputs = {x: np.asarray(givens[x.name], x.dtype) for x in leaves([expr]) if isinstance(x, Input)}
    return evaluate([expr], inputs)[0]


def this_line() -> int:
    return inspect.currentframe().f_back.f_lineno


# -- nodes


def test_a_node_is_immutable_but_for_its_name():
    x = T.matrix("x")
    x.name = "features"
    assert x.name == "features" and x.label == "features"
    for field in ("op", "inputs", "params", "type", "line", "anything"):
        with pytest.raises(
            AttributeError, match=f"an expression is immutable: only its name can be set, not '{field}'"
        ):
            setattr(x, field, None)


def test_equality_is_identity_and_nodes_are_keys():
    x, y = T.scalar("x"), T.scalar("x")
    assert x == x and x != y and {x: 1, y: 2}[y] == 2
    assert T.eq(x, y).dtype == "bool" and x in [y, x] and x not in [y]


def test_building_never_simplifies():
    x = T.vector("x")
    first, second = x + 0, x + 0
    assert first is not second and first.op.name == "add"
    assert (x * 1).op.name == "mul" and x[:].op.name == "subtensor" and T.neg(-x).inputs[0].op.name == "neg"


def test_every_node_knows_the_line_that_made_it():
    x, line = T.matrix("x"), this_line()
    y, below = T.softmax(x * 2).sum(), this_line()
    assert x.line == (__file__, line) and x.where == f"test_expr.py:{line}"
    assert all(n.line == (__file__, below) for n in topological([y]) if n.op.name in ("mul", "softmax", "sum"))


def test_nodes_made_for_another_take_its_line():
    x = T.scalar("x")
    with made_for(x):
        y = x + 1
    assert y.line == x.line != (x + 1).line


def test_rebuilding_keeps_names_and_lines():
    x, z = T.scalar("x"), T.scalar("z")
    y = T.exp(x)
    y.name = "y"
    (new,) = rebuild([y], {x: z})
    assert new is not y and new.inputs == (z,) and new.name == "y" and new.line == y.line


def test_rebuilding_keeps_what_does_not_change():
    x, z = T.scalar("x"), T.scalar("z")
    same = T.exp(x)
    (new,) = rebuild([same + z], {z: x})
    assert new.inputs[0] is same


def test_labels():
    x = T.vector()
    assert x.label == "<input>" and (x + 1).label == "add(...)"


# -- constants


def test_a_constant_is_a_copy_that_cannot_change():
    array = np.zeros(3)
    c = as_expr(array)
    array[0] = 1
    assert isinstance(c, Constant) and c.value[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        c.value[0] = 1


@pytest.mark.parametrize(
    ("number", "others", "dtype"),
    [
        (1, [], "int64"), (1.0, [], "float32"), (True, [], "bool"), (1, ["float64"], "float64"), (1, ["int8"], "int8"),
        (1.5, ["int64"], "float32"), (1.5, ["float64"], "float64"), (np.float64(2), ["float32"], "float32"), (True, ["int32"], "int32"),
        (np.float32(1), [], "float32"), (np.int32(1), ["float32"], "int32"), ([1.0, 2.0], [], "float32"), ([1, 2], [], "int64"),
        (np.array([1.0]), [], "float64"),
    ],
)  # fmt: skip
def test_dtypes_of_constants(number, others, dtype):
    assert as_expr(number, others).dtype == dtype


def test_big_endian_arrays_become_native():
    assert as_expr(np.array([1, 2], ">i4")).value.tolist() == [1, 2]


def test_a_python_int_must_fit():
    with pytest.raises(OverflowError, match="Python integer 300 is out of bounds for int8"):
        T.bvector("x") + 300


@pytest.mark.parametrize("thing", ["text", None, object(), [object()], 1j])
def test_what_is_no_number_is_refused(thing):
    with pytest.raises(
        TypeError, match="cannot make an expression of .* a number, an array or an expression is needed"
    ):
        as_expr(thing)


def test_several_results_must_be_taken_apart():
    images = T.tensor4("x", shape=(1, 1, 4, 4))
    node = results(max_pool.node((images,), {"window": (2, 2), "stride": (2, 2), "pad": (0, 0), "dilation": (1, 1), "partial": False}))[
        0
    ].inputs[0]
    with pytest.raises(TypeError, match="has several results .* take one of them with item"):
        as_expr(node)


# -- walks


def chain(x, n):
    y = x
    for _ in range(n):
        y = -y
    return y


def test_a_long_chain_needs_no_deep_recursion():
    x, z = T.scalar("x"), T.scalar("z")
    y = chain(x, DEEP)
    assert len(topological([y])) == DEEP + 1
    assert leaves([y])[0] is x
    assert value(y, x=3.0) == 3
    moved = exprc.clone(y, {x: z})
    assert leaves([moved])[0] is z


def test_order_is_inputs_before_users_each_once():
    x = T.scalar("x")
    y = x + 1
    z = y * y
    order = topological([z, y])
    assert order.index(x) < order.index(y) < order.index(z) and len(order) == len(set(order))


def test_a_walk_stops_where_it_is_told():
    x = T.scalar("x")
    y = T.exp(x)
    assert topological([y + x], stop=lambda n: n is y)[:2] == [y, x]


# -- clone


def test_clone_replaces_nodes_and_takes_values():
    x, y = T.scalar("x"), T.scalar("y")
    product = x * 2 + y
    assert value(exprc.clone(product, {x: y + 1}), y=3.0) == 11
    assert value(exprc.clone(product, [(x, 5)]), y=1.0) == 11
    assert [e.dtype for e in exprc.clone([product, x], {x: 5})] == ["float32", "float32"]


def test_clone_works_out_types_anew():
    x = T.matrix("x")
    y = x.sum(0)
    assert exprc.clone(y, {x: T.matrix(shape=(2, 3))}).type.shape == (3,)


def test_clone_keeps_the_number_of_axes_unless_told():
    x, m = T.vector("x"), T.matrix("m")
    with pytest.raises(TypeError, match="clone: x has 1 axes, what takes its place 2"):
        exprc.clone(x * 2, {x: m})
    assert exprc.clone(x * 2, {x: m}, strict=False).ndim == 2
    assert exprc.clone(x * 2, {x: T.dvector()}).dtype == "float64"


def test_clone_without_sharing_copies_the_leaves():
    x, w = T.scalar("x", dtype="float32"), exprc.shared(np.float32(3), "w")
    w.default_update = w + 1
    copy = exprc.clone(x * w, share_inputs=False)
    fresh_x, fresh_w = leaves([copy])
    assert fresh_x is not x and fresh_x.type == x.type and fresh_x.strict
    assert isinstance(fresh_w, Shared) and fresh_w is not w and fresh_w.container is w.container
    assert fresh_w.default_update is None and w.default_update is not None and fresh_w.name == "w"
    w.set_value(5)
    assert fresh_w.get_value() == 5


def test_a_clone_of_a_shared_variable_is_an_alias():
    w = exprc.shared(np.zeros(2, "float32"))
    alias = exprc.clone(w, share_inputs=False)
    alias.default_update = 0.5 * alias
    alias.set_value([1, 2])
    assert w.get_value().tolist() == [1, 2] and w.default_update is None


# -- the interpreter


def test_inputs_without_a_value_are_named():
    with pytest.raises(ValueError, match="no value was given for the input x"):
        evaluate([T.scalar("x") + 1], {})


def test_a_node_may_be_given():
    x = T.scalar("x")
    y = T.exp(x)
    assert evaluate([y * 2], {y: np.float32(4)})[0] == 8


def test_input_types_can_be_called():
    x = TensorType("int32", (None, 3))("x")
    assert (x.name, x.dtype, x.type.shape, x.strict) == ("x", "int32", (None, 3), True)
