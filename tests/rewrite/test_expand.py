"""Opening composites: which, when, and that nothing of the graph is lost."""

from __future__ import annotations

import numpy as np
import pytest

import exprc.tensor as T
from exprc.expr import topological
from exprc.forms import Composite, composite
from exprc.grad import disconnected_grad, grad_clip, zero_grad
from exprc.ops.reduce import unbroadcast, unbroadcast_to
from exprc.reference import evaluate
from exprc.rewrite import STABILISE, expand, expand_bound, named_by, open_user
from exprc.rewrite.engine import rewrite


def names(*roots):
    return [n.op.name for n in topological(roots)]


def composites(*roots):
    return [n.op.name for n in topological(roots) if n.op.form == "composite"]


@composite
def cube(x):
    return x * x * x


@composite
def twice_cubed(x):
    return cube(x) + cube(x)


@composite
def both(x, y):
    return x * y, T.softmax(x + y)


def test_open_user_keeps_what_rules_name():
    x = T.matrix("x")
    made = open_user([T.log(T.softmax(twice_cubed(x)))], named_by(STABILISE))[0]
    assert composites(made) == ["softmax"]


def test_a_naive_formula_in_a_users_operation_meets_the_rules():
    @composite
    def loss(x):
        return -T.log(T.softmax(x))

    x = T.matrix("x")
    made = rewrite(open_user([loss(x)], named_by(STABILISE)), STABILISE)[0]
    assert names(made) == ["input", "log_softmax", "neg"]


def test_open_user_may_keep_those_with_a_gradient_of_their_own():
    guided = composite(lambda x: T.maximum(x, 0), name="guided")
    guided.gradient(lambda g, y, x: g)
    x = T.vector("x")
    assert composites(*open_user([guided(cube(x))], (), own_gradient=True)) == ["guided"]
    assert composites(*open_user([guided(cube(x))], ())) == []


def test_expand_opens_all_to_any_depth():
    x = T.matrix("x")
    made = expand([T.softmax(twice_cubed(x))])[0]
    assert composites(made) == []
    at = {x: np.random.default_rng(0).random((2, 3), "float32")}
    np.testing.assert_allclose(*evaluate([made, T.softmax(twice_cubed(x))], at), rtol=1e-6)


def test_late_composites_wait_for_their_dims():
    x, b = T.matrix("x"), T.vector("b")
    late = unbroadcast_to(x, b)
    assert composites(*expand([late])) == ["unbroadcast"]
    assert composites(*expand_bound([late])) == []
    known = unbroadcast.node((T.matrix("z", shape=(2, 3)),), {"shape": (1, 3)})
    made = expand([known])[0]
    assert composites(made) == [] and made.type.shape == (1, 3)


def test_several_results():
    x, y = T.vector("x"), T.vector("y")
    product, soft = both(x, y)
    a, b = expand([product, soft])
    assert "both" not in names(a, b) and composites(a, b) == []
    at = {x: np.array([1, 2], "float32"), y: np.array([3, 5], "float32")}
    np.testing.assert_allclose(evaluate([a], at)[0], [3, 10])
    np.testing.assert_allclose(evaluate([b], at)[0].sum(), 1, rtol=1e-6)


def test_a_result_that_nobody_uses_costs_nothing():
    product, _ = both(T.vector("x"), T.vector("y"))
    assert names(*expand([product])) == ["input", "input", "mul"]


def test_equal_bodies_are_opened_once():
    x = T.vector("x")
    y = cube(x)
    assert names(*expand([y + y])).count("mul") == 2


def test_the_operations_of_gradients_are_dropped():
    x = T.vector("x")
    assert expand([grad_clip(disconnected_grad(zero_grad(x)), -1, 1)])[0] is x


def test_new_nodes_take_line_and_name_of_the_composite():
    x = T.vector("x")
    y = cube(x)
    y.name = "volume"
    z = y + 1
    made = expand([z])[0]
    assert made.line == z.line and made.inputs[0].name == "volume"
    assert all(n.line == y.line for n in topological([made.inputs[0]]) if n.inputs)


def test_a_name_is_not_put_on_the_users_own_node():
    x = T.vector("x")
    inner = x + 1
    y = grad_clip(inner, -1, 1)
    y.name = "clipped"
    assert expand([y])[0] is inner and inner.name is None


def test_held_nodes_are_not_entered():
    x = T.vector("x")
    h = cube(x)
    above, opened = open_user([h * 2, h], (), held=[h])
    assert above.inputs[0] is h
    assert opened.op.name == "mul"


def test_nothing_to_open_gives_the_same_objects():
    y = T.exp(T.vector("x")) + 1
    assert expand([y])[0] is y


def test_a_long_chain_of_composites():
    y = x = T.scalar("x")
    step = composite(lambda x: x + 1, name="step")
    for _ in range(2000):
        y = step(y)
    assert float(evaluate(expand([y]), {x: np.float32(0)})[0]) == 2000


def test_a_body_that_contradicts_its_rules():
    wrong = Composite(
        "wrong",
        body=lambda x: T.sum(x),
        shape=lambda args: args[0].shape,
        dtype=lambda dtypes: dtypes[0],
        numpy=lambda x: x,
    )
    x = T.vector("x")
    with pytest.raises(TypeError) as caught:
        expand([wrong(x)])
    assert "wrong: its body gives float32, (), its shape and dtype rules float32, (?,)" in str(caught.value)
    assert "made at test_expand.py:" in str(caught.value)
