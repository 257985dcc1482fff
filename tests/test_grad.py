"""Gradients: every record of the catalogue against finite differences, and what `grad` promises and refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.config import config
from exprc.derivatives import Lop, Rop, jacobian
from exprc.expr import Expr, Input, as_expr, topological
from exprc.forms import Formula, Reduce, composite, results
from exprc.grad import disconnected_grad, grad, grad_clip, zero_grad
from exprc.ops import CATALOGUE
from exprc.ops import random as draws
from exprc.ops.reduce import sum_, unbroadcast_to
from exprc.reference import evaluate
from exprc.types import is_float, tensor_type
from exprc.verify_grad import verify_grad

#: Records that take and give floats, and yet are not compared with finite differences; why not.
EXCEPTIONS = {
    "cast": "its samples are the ends of ranges, where a step is lost to rounding; see test_cast_hands_on_its_gradient",
    "disconnected_grad": "its gradient is none, whatever its value does: that is what it is for",
    "zero_grad": "its gradient is 0, whatever its value does: that is what it is for",
    **{op.name: "what is drawn is no function of the parameters that could be differentiated: they have a gradient of 0"
       for op in vars(draws).values() if isinstance(op, Formula)},
}  # fmt: skip


def drawn(rng, low, high, shape=(2, 3)):
    return rng.uniform(low, high, shape)


def formula_samples(op, rng):
    try:
        wanted, result = op.meeting(["float64"] * len(op.operands))
    except TypeError:  # takes no floats at all
        return []
    if not is_float(result):
        return []
    ranges = op.domain or [(0.3, 0.9)] * len(op.operands)
    args = [drawn(rng, *r) if d == "float64" else rng.random((2, 3)) < 0.5 for r, d in zip(ranges, wanted)]
    broadcast = [a[:1] if k else a[:, :1] for k, a in enumerate(args)]
    return [(tuple(args), {}), (tuple(broadcast), {})]


def nudged(args, rng):
    """Samples as finite float64, moved off kinks and ties, into the inside of the interval from 0 to 1 where they lay at its ends."""
    moved = []
    for k, a in enumerate(args):
        a = np.nan_to_num(a, nan=0.37, posinf=2.3, neginf=-1.7) if np.asarray(a).dtype.kind == "f" else np.asarray(a)
        noise = 0.03 * rng.random(a.shape)
        moved.append((0.94 - 0.01 * k) * a + 0.02 + 0.0037 * k + noise if a.dtype.kind == "f" else a)
    return tuple(moved)


def samples_of(op, rng):
    """What to differentiate a record at: (args, params) with float64 arguments among them and finite values."""
    if op.samples is not None:
        found = [(nudged(args, rng), params) for args, params in op.samples()]
    elif isinstance(op, Formula):
        found = formula_samples(op, rng)
    elif isinstance(op, Reduce):
        found = [((rng.standard_normal((2, 3, 2)),), {"axes": axes}) for axes in ((0,), (1, 2), (0, 1, 2))]
    else:
        found = []
    return [(a, p) for a, p in found if any(x.dtype == "float64" for x in a)]


def float_results(op, params):
    """The function of the float arguments that a record with these parameters is."""

    def function(*inputs):
        made = results(op.node(inputs, params))
        return tuple(r for r in (made if isinstance(made, tuple) else (made,)) if r.dtype == "float64")

    return function


def differentiable(op, args, params):
    with config.override(floatX="float64"):
        return bool(float_results(op, params)(*(as_expr(a) for a in args)))


CASES = [
    (name, k, args, params)
    for name, op in sorted(CATALOGUE.items())
    for k, (args, params) in enumerate(samples_of(op, np.random.default_rng(8)))
    if differentiable(op, args, params) and name not in EXCEPTIONS
]
IDS = [f"{name}-{k}" for name, k, _, _ in CASES]


def few(args):
    """Many elements are tried along random directions."""
    return 4 if sum(a.size for a in args) > 12 else None


@pytest.mark.parametrize(("name", "k", "args", "params"), CASES, ids=IDS)
def test_gradient_of_every_record(name, k, args, params):
    verify_grad(float_results(CATALOGUE[name], params), args, rng=1, directions=few(args))


@pytest.mark.parametrize(("name", "k", "args", "params"), CASES, ids=IDS)
def test_second_order_of_every_record(name, k, args, params):
    function = float_results(CATALOGUE[name], params)

    def first(*inputs):
        floats = [x for x in inputs if x.dtype == "float64"]
        cost = sum((T.sum(T.sqr(r)) for r in function(*inputs)), as_expr(0.0, ("float64",)))
        return tuple(grad(cost, floats, disconnected_inputs="ignore"))

    verify_grad(first, args, rng=2, abs_tol=1e-5, rel_tol=1e-5, directions=few(args))


def one_each(cases):
    """The first case of every record whose result is not large."""
    found = {}
    for case in cases:
        found.setdefault(case[0], case)
    return list(found.values())


@pytest.mark.parametrize(("name", "k", "args", "params"), one_each(CASES), ids=[case[0] for case in one_each(CASES)])
def test_jacobian_of_every_record(name, k, args, params):
    """J from all rows at once, v J by Lop and J u by Rop agree, where no dim is known."""
    op = CATALOGUE[name]
    data = len(args) if op.data is None else op.data
    inputs = [Input(tensor_type(a.dtype.name, (None,) * a.ndim)) if i < data else as_expr(a) for i, a in enumerate(args)]
    y = next(r for r in float_results(op, params)(*inputs) if r.dtype == "float64")
    floats = [x for x in inputs[:data] if x.dtype == "float64"]
    values = dict(zip(inputs[:data], args))
    u = [np.random.default_rng(1).standard_normal(values[x].shape) for x in floats]
    v = np.random.default_rng(2).standard_normal(evaluate([y], values)[0].shape)
    jacobians = evaluate(jacobian(y, floats, disconnected_inputs="ignore"), values)
    for j, lop in zip(jacobians, evaluate(Lop(y, floats, v, disconnected_inputs="ignore"), values)):
        np.testing.assert_allclose(np.tensordot(v, j, v.ndim), lop, rtol=1e-9, atol=1e-9)
    wanted = sum(np.tensordot(j, along, along.ndim) for j, along in zip(jacobians, u))
    np.testing.assert_allclose(evaluate([Rop(y, floats, u)], values)[0], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.long
def test_jacobian_of_every_record_compiled():
    cases = one_each(CASES)
    for start in range(0, len(cases), 40):
        inputs, outputs, arrays = [], [], []
        for name, _, args, params in cases[start : start + 40]:
            op = CATALOGUE[name]
            data = len(args) if op.data is None else op.data
            own = [Input(tensor_type(a.dtype.name, (None,) * a.ndim)) if i < data else as_expr(a) for i, a in enumerate(args)]
            floats = [x for x in own[:data] if x.dtype == "float64"]
            y = float_results(op, params)(*own)[0]
            outputs += [*jacobian(y, floats, disconnected_inputs="ignore"), Rop(y, floats, floats)]
            inputs += own[:data]
            arrays += args[:data]
        made = exprc.function(inputs, outputs, on_unused_input="ignore")(*arrays)
        for got, wanted in zip(made, evaluate(outputs, dict(zip(inputs, arrays)))):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def floats_to_floats(op):
    """Whether a record makes floats of floats; formulas that meet in another dtype do not."""
    if op.samples is None:
        return isinstance(op, Reduce) and is_float(op.meet("float64")[1])
    return any(differentiable(op, nudged(args, np.random.default_rng(8)), params) for args, params in op.samples() if takes_floats(args))


def takes_floats(args):
    return any(np.asarray(a).dtype == "float64" for a in args)


def test_every_differentiable_record_is_tried():
    tried = {name for name, *_ in CASES}
    assert {name for name, op in CATALOGUE.items() if name not in tried and op.form != "leaf" and floats_to_floats(op)} <= set(EXCEPTIONS)
    assert {CATALOGUE[name].form for name in tried} >= {"formula", "view", "reduce", "composite", "kernel"}
    assert len(tried) > 100


def test_cast_hands_on_its_gradient():
    verify_grad(lambda x: CATALOGUE["cast"].node((T.sqr(x),), {"dtype": "float64"}), [np.array([0.5, -2.0])])
    x = T.dvector("x")
    assert value(grad(T.sum(T.sqr(T.cast(x, "float32"))), x), {x: np.array([0.5, -2.0])}).tolist() == [1, -4]


@pytest.mark.parametrize("name", sorted(n for n, op in CATALOGUE.items() if op.form in ("view", "kernel", "composite")))
def test_records_that_cannot_be_guessed_have_samples(name):
    assert CATALOGUE[name].samples is not None


# -- values -------------------------------------------------------------------------------------------------------------------------


def value(expr, values=None):
    return evaluate([expr], values or {})[0]


def test_power_rule_and_its_derivative():
    x = T.scalar("x")
    first = grad(x**3, x)
    assert value(first, {x: np.float32(2)}) == 12
    assert value(grad(first, x), {x: np.float32(2)}) == 12
    assert value(grad(grad(first, x), x), {x: np.float32(2)}) == 6


def test_wrt_keeps_its_form():
    x, y = T.scalar("x"), T.scalar("y")
    assert isinstance(grad(x * y, x), Expr)
    assert isinstance(grad(x * y, [x, y]), list)
    assert isinstance(grad(x * y, (x, y)), tuple)


def test_of_an_inner_expression_and_of_what_is_below_it():
    x = T.vector("x")
    h = T.exp(x)
    cost = T.sum(h * h)
    gh, gx = grad(cost, [h, x])
    at = {x: np.array([0.5, -1.0], "float32")}
    e = np.exp(at[x])
    np.testing.assert_allclose(value(gh, at), 2 * e, rtol=1e-6)
    np.testing.assert_allclose(value(gx, at), 2 * e * e, rtol=1e-6)


def test_what_is_below_an_inner_expression_is_stabilised_too():
    x = T.matrix("x")
    h = T.log(T.softmax(x))
    gh, gx = grad(T.sum(h[:, 0]), [h, x])
    at = {x: np.array([[-1e4, 1e4]], "float32")}
    assert np.array_equal(value(gh, at), [[1, 0]])
    assert np.array_equal(value(gx, at), [[1, -1]])


def test_a_held_softmax_is_seen_by_the_crossentropy_above_it():
    x, t = T.matrix("x"), T.ivector("t")
    p = T.softmax(x)
    gp, gx = grad(T.categorical_crossentropy(p, t).sum(), [p, x])
    at = {x: np.array([[0.0, 1.0]], "float32"), t: np.array([1], "int32")}
    soft = np.exp(at[x]) / np.exp(at[x]).sum()
    np.testing.assert_allclose(value(gp, at), [[0, -1 / soft[0, 1]]], rtol=1e-6)
    np.testing.assert_allclose(value(gx, at), soft - [[0, 1]], rtol=1e-5)


@pytest.mark.parametrize("far", [1e4, -1e4])
def test_crossentropy_of_a_softmax_written_out(far):
    s, t = T.matrix("s"), T.ivector("t")
    cost = -T.mean(T.log(T.softmax(s))[T.arange(t.shape[0]), t])
    at = {s: np.array([[far, 0.0, 1.0], [0.5, far, -far]], "float32"), t: np.array([0, 2], "int32")}
    made = value(grad(cost, s), at)
    assert np.all(np.isfinite(made))
    e = np.exp(at[s].astype("float64") - at[s].max(1, keepdims=True))
    np.testing.assert_allclose(made, (e / e.sum(1, keepdims=True) - np.eye(3)[[0, 2]]) / 2, atol=1e-6)


def test_broadcasting_is_summed_back_where_dims_are_unknown():
    x, b, c = T.matrix("x"), T.vector("b"), T.col("c")
    gx, gb, gc = grad(T.sum(T.sqr(x * b + c)), [x, b, c])
    rng = np.random.default_rng(0)
    at = {x: rng.random((4, 3), "float32"), b: rng.random(3, "float32"), c: rng.random((4, 1), "float32")}
    inner = 2 * (at[x] * at[b] + at[c])
    np.testing.assert_allclose(value(gx, at), inner * at[b], rtol=1e-5)
    np.testing.assert_allclose(value(gb, at), (inner * at[x]).sum(0), rtol=1e-5)
    np.testing.assert_allclose(value(gc, at), inner.sum(1, keepdims=True), rtol=1e-5)
    once = {**at, x: at[x][:1]}  # an axis whose length turns out to be 1 is summed over as well
    assert value(gx, once).shape == (1, 3)


def test_a_gradient_has_the_dtype_of_its_input():
    x, y = T.fvector("x"), T.dvector("y")
    gx, gy = grad(T.sum(x * y), [x, y])
    assert (gx.dtype, gy.dtype) == ("float32", "float64")


def test_many_uses_are_added_up():
    x = T.scalar("x")
    assert value(grad(sum([x] * 1000, x * 0), x), {x: np.float32(1)}) == 1000


def test_known_grads_take_the_place_of_the_cost():
    x = T.vector("x")
    y = T.sqr(x)
    g = grad(None, x, known_grads={y: np.array([1, 10], "float32")})
    assert np.array_equal(value(g, {x: np.array([2, 3], "float32")}), [4, 60])
    both = grad(T.sum(T.exp(y)), x, known_grads={y: np.array([1, 10], "float32")})
    assert np.array_equal(value(both, {x: np.array([2, 3], "float32")}), [4, 60])


def test_consider_constant():
    x = T.scalar("x")
    y = x * x
    assert value(grad(y * x, x, consider_constant=[y]), {x: np.float32(3)}) == 9


def test_disconnected_grad_and_zero_grad():
    x = T.scalar("x")
    assert value(grad(disconnected_grad(x * x) * x, x), {x: np.float32(3)}) == 9
    assert value(grad(zero_grad(x * x) * x, x), {x: np.float32(3)}) == 9
    assert value(grad(zero_grad(x) * 2, x), {x: np.float32(3)}) == 0
    with pytest.raises(ValueError, match="does not depend on x"):
        grad(disconnected_grad(x) * 2, x)


def test_grad_clip():
    x = T.vector("x")
    g = grad(T.sum(grad_clip(x, -1, 2) * np.array([-5, 0.5, 5], "float32")), x)
    assert np.array_equal(value(g, {x: np.zeros(3, "float32")}), [-1, 0.5, 2])
    with pytest.raises(ValueError, match="the lower bound 2 is above the upper bound 1"):
        grad_clip(x, 2, 1)


def test_derivatives_that_are_zero_everywhere_count_as_connected():
    x = T.vector("x")
    at = {x: np.array([0.5, -1.5], "float32")}
    assert np.array_equal(value(grad(T.sum(T.floor(x)), x), at), [0, 0])
    assert np.array_equal(value(grad(T.sum(grad(T.sum(abs(x)), x)), x), at), [0, 0])
    assert np.array_equal(value(grad(T.mean(T.eq(x, x)), x), at), [0, 0])


def test_gradient_nodes_have_the_line_of_the_node_they_work_for():
    x = T.vector("x")
    y = T.exp(x)
    cost = T.sum(y)
    made = topological([grad(cost, x)])
    own = [n for n in made if n.op.name == "mul"]
    assert own and all(n.line == y.line for n in own)


# -- user-made operations -----------------------------------------------------------------------------------------------------------


def test_a_composite_is_differentiated_through_its_body():
    @composite
    def cube(x):
        return x * x * x

    @composite
    def twice(x):
        return cube(x) + cube(x)

    verify_grad(twice, [np.array([0.5, -2.0])])


def test_a_gradient_of_its_own_is_taken_also_if_the_body_says_otherwise():
    @composite
    def guided(x):
        return T.maximum(x, 0)

    @guided.gradient
    def _(g, y, x):
        return g * 10

    x = T.vector("x")
    assert np.array_equal(value(grad(T.sum(guided(x)), x), {x: np.array([-1, 1], "float32")}), [10, 10])


def test_several_results():
    @composite
    def both(x, y):
        return x * y, x + y

    def function(x, y):
        product, total = both(x, y)
        return product * total

    verify_grad(function, [np.array([0.5, 2.0]), np.array([1.5, -1.0])])
    verify_grad(lambda x, y: both(x, y)[1], [np.array([0.5, 2.0]), np.array([1.5, -1.0])])


def test_by_one_of_several_results():
    @composite
    def both(x):
        return x * x, x + 1

    x = T.scalar("x")
    square, more = both(x)
    at = {x: np.float32(3)}
    assert [value(g, at) for g in grad(square * more, [square, more, x])] == [4, 9, 33]
    assert value(grad(None, x, known_grads={square: 1.0, more: 10.0}), at) == 16


def test_a_rule_for_several_results_gets_zeros_for_those_that_are_not_used():
    @composite
    def both(x):
        return x * 2, x * 3

    @both.gradient
    def _(g, y, x):
        assert len(g) == len(y) == 2
        return g[0] * 2 + g[1] * 3

    x = T.vector("x")
    a, b = both(x)
    assert np.array_equal(value(grad(T.sum(a + b), x), {x: np.ones(2, "float32")}), [5, 5])
    assert np.array_equal(value(grad(T.sum(b), x), {x: np.ones(2, "float32")}), [3, 3])


def test_a_naive_formula_inside_a_users_operation_is_repaired():
    @composite
    def my_softplus(x):
        return T.log(1 + T.exp(x))

    x = T.vector("x")
    assert np.array_equal(value(grad(T.sum(my_softplus(x)), x), {x: np.array([-1e4, 1e4], "float32")}), [0, 1])


def test_gradients_that_broadcast_are_summed_back():
    @composite
    def scaled(x, s):
        return x * s

    @scaled.gradient
    def _(g, y, x, s):
        return g * s, g * x

    verify_grad(scaled, [np.array([[0.5, 2.0]]), np.array([[1.5], [3.0]])])


# -- long graphs -----------------------------------------------------------------------------------------------------------------------


def test_a_long_chain():
    x = T.scalar("x")
    y = x
    for _ in range(4000):
        y = y * 1.0
    assert value(grad(y, x), {x: np.float32(3)}) == 1


def test_work_is_linear():
    def nodes(n):
        x = T.scalar("x")
        y = x
        for _ in range(n):
            y = T.tanh(y) + y
        return len(topological([grad(y, x)]))

    assert nodes(800) <= 4.1 * nodes(200)


# -- what is refused ----------------------------------------------------------------------------------------------------------------------


def text_of(error, function):
    with pytest.raises(error) as caught:
        function()
    return str(caught.value)


def test_a_cost_that_is_no_scalar():
    x = T.vector("x")
    text = text_of(ValueError, lambda: grad(x * 2, x))
    assert text.startswith("grad: the cost must be a scalar, it has 1 axes")
    assert "mul(...)  float32, (?,)    made at test_grad.py:" in text and "take its mean() or sum()?" in text


def test_a_cost_of_integers():
    x = T.ivector("x")
    text = text_of(TypeError, lambda: grad(T.sum(x), x.astype("float32")))
    assert "grad: the cost must be of a float dtype, it is int64" in text


def test_wrt_integers():
    x, k = T.scalar("x"), T.iscalar("k")
    text = text_of(TypeError, lambda: grad(x * k, k))
    assert (
        "only float expressions have a gradient" in text
        and "k  int32, ()" in text
        and "make it a float variable?" in text
    )


def test_what_is_no_expression():
    x = T.scalar("x")
    assert "the cost must be an expression, not int" in text_of(TypeError, lambda: grad(3, x))
    assert "wrt must hold expressions, not str" in text_of(TypeError, lambda: grad(x, ["x"]))
    assert "a cost or known_grads is needed" in text_of(ValueError, lambda: grad(None, x))
    assert "disconnected_inputs='no' is none of 'raise'" in text_of(
        ValueError, lambda: grad(x, x, disconnected_inputs="no")
    )


def test_a_disconnected_input():
    x, y = T.scalar("x"), T.vector("y")
    text = text_of(ValueError, lambda: grad(x * 2, [x, y]))
    assert text.startswith("grad: the cost does not depend on y")
    assert "  wrt   y  float32, (?,)" in text and text.count("made at test_grad.py:") == 2 and "disconnected_inputs='ignore'" in text
    with pytest.warns(UserWarning, match="does not depend on y"):
        made = grad(x * 2, y, disconnected_inputs="warn")
    assert np.array_equal(value(made, {y: np.ones(2, "float32")}), [0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert grad(x * 2, [y], disconnected_inputs="ignore", return_disconnected="none") == [None]


def test_shapes_are_no_connection():
    x = T.vector("x")
    with pytest.raises(ValueError, match="does not depend on x"):
        grad(T.cast(x.shape[0], "float32") * 2, x)


def test_a_rule_with_too_few_gradients():
    @composite
    def product(x, y):
        return x * y

    product.gradient(lambda g, y, a, b: (g * b,))
    x = T.scalar("x")
    text = text_of(ValueError, lambda: grad(product(x, x), x))
    assert "the gradient of product gives 1 expressions for 2 inputs" in text and "None where there is none" in text


def test_a_rule_whose_gradient_does_not_fit():
    @composite
    def same(x):
        return x * 1

    same.gradient(lambda g, y, x: T.sum(g))
    x = T.vector("x", shape=3)
    text = text_of(ValueError, lambda: grad(T.sum(same(x)), x))
    assert "the gradient of same does not have the shape of the input" in text and "input     x  float32, (3,)" in text


def test_known_grads_may_be_pairs():
    x = T.vector("x")
    y = x * 2
    assert value(grad(None, x, known_grads=[(y, np.array([1, 10], "float32"))]), {x: [0, 0]}).tolist() == [2, 20]


def test_gradients_are_named_where_that_is_asked_for():
    x, y = T.scalar("x"), T.scalar()
    cost = x**2 + T.exp(y)
    cost.name = "cost"
    named = grad(cost, [x, y], add_names=True)
    assert [g.name for g in named] == ["(dcost/dx)", None]
    assert grad(cost, x).name is None
    given = grad(None, x, known_grads={x: (mine := y * 2)}, add_names=True)
    assert given is mine and mine.name is None


def test_known_grads_of_another_rank():
    x = T.vector("x")
    text = text_of(ValueError, lambda: grad(None, x, known_grads={x * 2: 1.0}))
    assert "grad: known_grads: a gradient of 0 axes for an expression of 1" in text


def test_what_a_sum_has_in_common_multiplies_it():
    """Where a product is summed back to a parameter, a factor that is the same all along stays outside."""
    values = np.random.default_rng(0).normal(size=(5, 3))
    full, row, column = (T.TensorType("float64", s)() for s in ((5, 3), (1, 3), (5, 1)))
    single = T.TensorType("float32", (5, 3))()
    for made, outside in ((full * row, True), (row * full, True), (-(full * row), True), (full * full, False), (full * column, False),
                          (column * row, False), (single * row, False)):  # fmt: skip
        total = unbroadcast_to(made, row)
        summed = next(node for node in topological([total]) if node.op is sum_)
        assert (summed.inputs[0] is full) == outside
        given = {full: values, row: values[:1], column: values[:, :1], single: values.astype("float32")}
        want = evaluate([made], given)[0].sum(axis=0, keepdims=True)
        np.testing.assert_allclose(evaluate([total], given)[0], want, rtol=1e-12, atol=1e-12)
