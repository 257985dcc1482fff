"""Jacobians, Hessians, Lop and Rop: against analytic results and finite differences, interpreted and compiled, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Input, as_expr, leaves, topological
from exprc.forms import composite, kernel
from exprc.reference import evaluate
from tests.fuzz.grow import graph

RNG = np.random.default_rng(11)


def value(expr, values):
    return evaluate([expr], {x: np.asarray(v, x.dtype) for x, v in values.items()})[0]


def both_ways(inputs, outputs, values):
    """The results of the interpreter, after a comparison of the compiled program's with them."""
    values = [np.asarray(v, x.dtype) for x, v in zip(inputs, values)]
    interpreted = exprc.function(inputs, outputs, mode="reference")(*values)
    for made, wanted in zip(exprc.function(inputs, outputs)(*values), interpreted):
        assert made.dtype == wanted.dtype
        tolerance = 1e-10 if made.dtype == np.float64 else 2e-4
        np.testing.assert_allclose(made, wanted, rtol=tolerance, atol=tolerance)
    return interpreted


def differences(function, at, eps=1e-5):
    """The Jacobian of a function of arrays by central differences, one element of `at` after the other."""
    at = np.asarray(at, "float64")
    columns = []
    for k in range(at.size):
        step = np.zeros(at.size)
        step[k] = eps
        step = step.reshape(at.shape)
        columns.append((function(at + step) - function(at - step)) / (2 * eps))
    return np.moveaxis(np.array(columns).reshape(*at.shape, *np.shape(columns[0])), range(at.ndim), range(-at.ndim, 0))


def checked_jacobian(y, wrt, values, tolerance=1e-6):
    """Compare the Jacobian of `y` with differences, interpreted and compiled."""
    inputs = list(values)
    made = both_ways(inputs, [exprc.jacobian(y, wrt)], [values[x] for x in inputs])[0]
    wanted = differences(lambda a: value(y, {**values, wrt: a}), values[wrt])
    assert made.shape == wanted.shape
    np.testing.assert_allclose(made, wanted, rtol=tolerance, atol=tolerance)
    return made


# -- Jacobians --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jacobian_of_a_product_is_the_matrix(dtype):
    x, w = T.vector("x", dtype=dtype), T.matrix("w", dtype=dtype)
    at = RNG.standard_normal(4), RNG.standard_normal((3, 4))
    j, jw = both_ways([x, w], exprc.jacobian(T.dot(w, x), [x, w]), at)
    assert j.dtype == dtype
    np.testing.assert_allclose(j, at[1], rtol=1e-6)
    np.testing.assert_allclose(jw, np.einsum("ij,k->ijk", np.eye(3), at[0]), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jacobian_of_softmax(dtype):
    x = T.vector("x", dtype=dtype)
    at = np.array([0.5, -1.0, 2.0])
    [j] = both_ways([x], [exprc.jacobian(T.softmax(x), x)], [at])
    p = np.exp(at) / np.exp(at).sum()
    np.testing.assert_allclose(j, np.diag(p) - np.outer(p, p), rtol=1e-5, atol=1e-7)


def test_jacobian_of_a_scalar_is_the_gradient():
    x = T.matrix("x")
    made = value(exprc.jacobian(T.sum(x**3), x), {x: [[1, 2]]})
    assert made.tolist() == [[3, 12]]


def test_by_itself():
    x, at = T.vector("x"), [1, 2]
    assert value(exprc.jacobian(x, x), {x: at}).tolist() == [[1, 0], [0, 1]]
    assert value(exprc.Lop(x, x, [3.0, 4.0]), {x: at}).tolist() == [3, 4]
    assert value(exprc.Rop(x, x, [3.0, 4.0]), {x: at}).tolist() == [3, 4]


def test_jacobian_of_a_matrix_by_a_matrix_has_both_shapes():
    a, b = T.dmatrix("a"), T.dmatrix("b")
    values = {a: RNG.standard_normal((2, 3)), b: RNG.standard_normal((3, 4))}
    made = checked_jacobian(T.tanh(T.dot(a, b)), a, values)
    assert made.shape == (2, 4, 2, 3)


def test_wrt_keeps_its_form():
    x, y = T.vector("x"), T.vector("y")
    assert isinstance(exprc.jacobian(x * y, x), exprc.tensor.Expr)
    assert isinstance(exprc.jacobian(x * y, [x, y]), list)
    assert isinstance(exprc.jacobian(x * y, (x, y)), tuple)


def test_known_shapes_are_known_afterwards():
    x, w = T.vector("x", shape=(4,)), T.matrix("w", shape=(3, 4))
    assert exprc.jacobian(T.tanh(T.dot(w, x)), [x, w])[1].type.shape == (3, 3, 4)
    assert exprc.hessian(T.tanh(T.dot(w, x)).sum(), w).type.shape == (3, 4, 3, 4)


def test_jacobian_of_an_expression_without_elements():
    x = T.vector("x")
    assert value(exprc.jacobian(x[:0], x), {x: [1, 2]}).shape == (0, 2)


def test_jacobian_by_an_inner_expression():
    x = T.vector("x")
    h = T.exp(x)
    assert value(exprc.jacobian(h * h, h), {x: [0, 0]}).tolist() == [[2, 0], [0, 2]]


def test_consider_constant():
    x = T.vector("x")
    y = x * x
    j = exprc.jacobian(y * x, x, consider_constant=[y])
    assert value(j, {x: [2, 3]}).tolist() == [[4, 0], [0, 9]]


def test_disconnected_by_itself_or_in_part():
    x, z = T.vector("x"), T.vector("z")
    with pytest.raises(ValueError, match="jacobian: the expression does not depend on z"):
        exprc.jacobian(x * 2, [x, z])
    made = exprc.jacobian(x * 2, [x, z], disconnected_inputs="ignore")[1]
    assert value(made, {x: [1, 2], z: [1, 2, 3]}).tolist() == np.zeros((2, 3)).tolist()
    assert value(exprc.jacobian(T.floor(x), x), {x: [0.5]}).tolist() == [[0]]


def test_jacobian_of_a_small_network():
    x, w, b, v = T.dmatrix("x"), T.dmatrix("w"), T.dvector("b"), T.dmatrix("v")
    h = T.tanh(T.dot(x, w) + b)
    y = T.softmax(T.dot(h, v))
    values = {x: RNG.standard_normal((2, 3)), w: RNG.standard_normal((3, 4)), b: RNG.standard_normal(4), v: RNG.standard_normal((4, 2))}
    made = both_ways(list(values), exprc.jacobian(y, [x, w, b, v]), list(values.values()))
    for j, p in zip(made, values):
        wanted = differences(lambda a, p=p: value(y, {**values, p: a}), values[p])
        np.testing.assert_allclose(j, wanted, rtol=1e-6, atol=1e-7)


def convolutional(rng):
    """A convolution, pooling, normalisation over the batch, a rectifier and a dense layer; the values lie off kinks."""
    x, w, gamma, d = T.dtensor4("x"), T.dtensor4("w"), T.dvector("gamma"), T.dmatrix("d")
    maps = T.conv2d(x, w, border_mode="half", subsample=(1, 1))
    normal = T.batch_normalization_train(maps, gamma, T.zeros(2, "float64"), axes="spatial")[0]
    pooled = T.pool_2d(T.relu(normal), 2)
    y = T.dot(pooled.flatten(2), d)
    values = {x: rng.standard_normal((3, 2, 4, 4)), w: rng.standard_normal((2, 2, 3, 3)), gamma: np.array([1.0, 2.0]),
              d: rng.standard_normal((8, 2))}  # fmt: skip
    return y, values


def test_jacobian_of_a_convolutional_network():
    y, values = convolutional(np.random.default_rng(4))
    wrt = list(values)
    made = both_ways(wrt, exprc.jacobian(y, wrt), list(values.values()))
    for j, p in zip(made, wrt):
        along = np.random.default_rng(1).standard_normal(values[p].shape)
        quotient = (value(y, {**values, p: values[p] + 1e-6 * along}) - value(y, {**values, p: values[p] - 1e-6 * along})) / 2e-6
        np.testing.assert_allclose((j * along).sum(axis=tuple(range(2, j.ndim))), quotient, rtol=1e-5, atol=1e-6)


def test_jacobian_through_indexing_sorting_and_running_sums():
    x = T.dmatrix("x", shape=(3, 4))
    places = np.array([2, 0, 2])
    y = [
        T.cumsum(x, 1)[places, 1:], T.sort(x, 1)[:, ::-1], T.set_subtensor(x[1:, :2], T.sqr(x[:2, 2:])), T.inc_subtensor(x[places], x * x),
        T.concatenate([x, T.exp(x[:1])]), T.max(x, axis=1), T.prod(x, axis=0), x[T.arange(3), places], T.roll(x, 1, 1) * T.flip(x, 0),
    ]  # fmt: skip
    at = np.random.default_rng(8).permutation(12).reshape(3, 4) / 5.0 - 1.1
    flat = T.concatenate([part.flatten() for part in y])
    checked_jacobian(flat, x, {x: at}, 1e-6)


def test_work_that_does_not_depend_on_the_element_is_shared():
    x = T.vector("x")
    inner = T.exp(x)
    j = exprc.jacobian(T.sin(inner), x)
    assert sum(n.op.name == "exp" for n in topological([j])) == 1


def test_a_jacobian_can_be_differentiated():
    """A penalty on the derivatives of a network, as that of contractive autoencoders (Rifai et al. 2011)."""
    x = as_expr(np.array([0.3, -0.2, 0.5]))

    def penalty(w):
        y = T.softmax(T.dot(T.tanh(T.dot(x, w)), w.T))
        return T.sqr(exprc.jacobian(y, w)).sum()

    exprc.verify_grad(penalty, [RNG.standard_normal((3, 2))])


# -- Hessians ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hessian_of_a_quadratic_form(dtype):
    x, a = T.vector("x", dtype=dtype), T.matrix("a", dtype=dtype)
    at = RNG.standard_normal(3), RNG.standard_normal((3, 3))
    [h] = both_ways([x, a], [exprc.hessian(T.dot(x, T.dot(a, x)), x)], at)
    np.testing.assert_allclose(h, at[1] + at[1].T, rtol=1e-5, atol=1e-6)


def test_hessian_of_a_linear_cost_is_zero():
    x = T.vector("x")
    assert value(exprc.hessian(T.sum(3 * x), x), {x: [1, 2]}).tolist() == [[0, 0], [0, 0]]


def test_hessian_of_a_crossentropy_and_of_a_matrix_of_weights():
    x, w, t = T.dmatrix("x"), T.dmatrix("w"), T.ivector("t")
    cost = T.categorical_crossentropy(T.softmax(T.dot(x, w)), t).mean()
    values = {x: RNG.standard_normal((4, 3)), w: RNG.standard_normal((3, 2)), t: [0, 1, 1, 0]}
    [h] = both_ways(list(values), [exprc.hessian(cost, w)], list(values.values()))
    slope = exprc.grad(cost, w)
    np.testing.assert_allclose(h, differences(lambda a: value(slope, {**values, w: a}), values[w]), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(h, np.transpose(h, (2, 3, 0, 1)), atol=1e-12)


def test_hessian_of_a_convolutional_network():
    y, values = convolutional(np.random.default_rng(4))
    cost = T.sum(T.sqr(T.tanh(y)))
    wrt = list(values)[1:3]
    made = both_ways(list(values), exprc.hessian(cost, wrt), list(values.values()))
    for h, p in zip(made, wrt):
        slope = exprc.grad(cost, p)
        along = np.random.default_rng(1).standard_normal(values[p].shape)
        quotient = (value(slope, {**values, p: values[p] + 1e-6 * along}) - value(slope, {**values, p: values[p] - 1e-6 * along})) / 2e-6
        axes = tuple(range(values[p].ndim, 2 * values[p].ndim))
        np.testing.assert_allclose((h * along).sum(axis=axes), quotient, rtol=1e-5, atol=1e-6)


def test_hessians_of_a_list_are_one_each():
    x, y = T.scalar("x"), T.vector("y")
    hx, hy = exprc.hessian(x**3 * T.sum(y**2), [x, y])
    at = {x: 2.0, y: [1, 3]}
    assert value(hx, at) == 120
    assert value(hy, at).tolist() == [[16, 0], [0, 16]]


# -- Lop and Rop ------------------------------------------------------------------------------------------------------------------------


def test_lop_and_rop_are_products_with_the_jacobian():
    y, values = convolutional(np.random.default_rng(4))
    wrt = list(values)
    directions = [np.random.default_rng(k).standard_normal(v.shape) for k, v in enumerate(values.values())]
    shape = value(y, values).shape
    across = np.random.default_rng(9).standard_normal(shape)
    lops = exprc.Lop(y, wrt, across)
    rop = exprc.Rop(y, wrt, directions)
    made = both_ways(wrt, [*lops, rop, *exprc.jacobian(y, wrt)], list(values.values()))
    jacobians = made[5:]
    for got, j in zip(made[:4], jacobians):
        np.testing.assert_allclose(got, np.tensordot(across, j, 2), rtol=1e-9, atol=1e-9)
    wanted = sum(np.tensordot(j, u, u.ndim) for j, u in zip(jacobians, directions))
    np.testing.assert_allclose(made[4], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rop_of_a_gradient_is_the_product_with_the_hessian(dtype):
    x, u = T.vector("x", dtype=dtype), T.vector("u", dtype=dtype)
    cost = T.sum(T.exp(x) * x[::-1])
    at = [0.1, -0.3, 0.5], [1.0, 2.0, -1.0]
    product, h = both_ways([x, u], [exprc.Rop(exprc.grad(cost, x), x, u), exprc.hessian(cost, x)], at)
    np.testing.assert_allclose(product, h @ np.asarray(at[1]), rtol=1e-5)


def test_of_several_expressions_of_which_one_is_inside_the_other():
    x = T.vector("x")
    inner = T.sqr(x)
    outer = T.exp(inner) * 2
    at = {x: [0.5]}
    slope_inner, slope_outer = 1.0, 2 * np.exp(0.25) * 1.0
    assert value(exprc.Lop([inner, outer], x, [[10.0], [1.0]]), at) == pytest.approx(10 * slope_inner + slope_outer)
    a, b = exprc.Rop([inner, outer], x, [2.0])
    assert value(a, at) == pytest.approx(2 * slope_inner) and value(b, at) == pytest.approx(2 * slope_outer)


def test_several_variables_move_at_once():
    x, y = T.scalar("x"), T.scalar("y")
    product, total = exprc.Rop((x * y, x + y), (x, y), (1.0, 10.0))
    at = {x: 2.0, y: 3.0}
    assert value(product, at) == 23 and value(total, at) == 11


def test_eval_points_in_a_list_or_alone():
    x, u = T.vector("x"), T.vector("u")
    at = {x: [1, 2], u: [3, 4]}
    for made in (exprc.Rop(x * x, x, u), exprc.Rop(x * x, x, [u]), exprc.Rop(x * x, [x], u), exprc.Rop([x * x], [x], (u,))[0]):
        assert value(made, at).tolist() == [6, 16]
    for made in (exprc.Lop(x * x, x, u), exprc.Lop(x * x, x, [u]), exprc.Lop([x * x], x, u), exprc.Lop(x * x, [x], u)[0]):
        assert value(made, at).tolist() == [6, 16]


def test_rop_needs_no_value_for_what_it_was_built_with():
    x = T.vector("x")
    for y in (T.softmax(x), T.cumsum(x * x), T.concatenate([x, x * x]), T.max(x), T.prod(x), x[1:] * x[:-1], T.grad_clip(x, -1, 1) * x):
        assert [n for n in topological([exprc.Rop(y, x, T.ones_like(x))]) if n.op.name == "input"] == [x]


def test_rop_through_gradient_modifiers():
    x = T.scalar("x")
    assert value(exprc.Rop(T.grad_scale(x, 3.0), x, 1.0), {x: 2.0}) == 3
    assert value(exprc.Rop(T.grad_clip(x, -5, 5) * 2, x, 1.0), {x: 2.0}) == 2


def test_derivatives_that_are_zero_everywhere_count_as_connected():
    x = T.vector("x")
    assert value(exprc.Rop(T.floor(x), x, [1.0]), {x: [0.5]}).tolist() == [0]


def test_disconnected_outputs():
    x, z = T.vector("x"), T.vector("z")
    with pytest.raises(ValueError, match=r"Rop: mul\(...\) does not depend on any of wrt") as caught:
        exprc.Rop([x * 2, z * 2], x, [1.0])
    assert "  wrt  x  float32" in str(caught.value) and str(caught.value).count("made at test_derivatives.py:") == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a, b = exprc.Rop([x * 2, z * 2], x, [1.0], disconnected_outputs="ignore")
        assert exprc.Rop([z * 2], x, [1.0], "ignore", "none") == [None]
    at = {x: [1], z: [1, 2]}
    assert value(a, at).tolist() == [2] and value(b, at).tolist() == [0, 0]
    with pytest.warns(UserWarning, match="does not depend on any of wrt") as warned:
        exprc.Rop(z * 2, x, [1.0], disconnected_outputs="warn")
    assert warned[0].filename == __file__


def test_disconnected_inputs():
    x, z = T.vector("x"), T.vector("z")
    with pytest.raises(ValueError, match="Lop: the expression does not depend on z"):
        exprc.Lop(x * 2, [x, z], [1.0])
    assert value(exprc.Lop(x * 2, z, [1.0], disconnected_inputs="ignore"), {z: [1, 2]}).tolist() == [0, 0]


# -- random graphs ----------------------------------------------------------------------------------------------------------------------


def check_graph(seed):
    """Of a random graph, J u must be Rop and v J must be Lop; returns of how many outputs."""
    grown = graph(seed)
    roots = [y for y in grown.roots if y.dtype in ("float32", "float64")]
    shapes = [np.shape(v) for v in evaluate(roots, grown.values)]
    few = [] if grown.wild else [(y, s) for y, s in zip(roots, shapes) if np.prod((1, *s)) <= 40][:2]
    return sum(check_output(y, shape, grown.values, np.random.default_rng(seed)) for y, shape in few)


def check_output(y, shape, values, rng):
    inputs = [x for x in leaves([y]) if isinstance(x, Input) and x.dtype == y.dtype]
    u = [rng.standard_normal(values[x].shape).astype(x.dtype) for x in inputs]
    v = rng.standard_normal(shape).astype(y.dtype)
    jacobians = exprc.jacobian(y, inputs, disconnected_inputs="ignore")
    lops = exprc.Lop(y, inputs, v, disconnected_inputs="ignore")
    rop = exprc.Rop(y, inputs, u, disconnected_outputs="ignore") if inputs else y
    made = evaluate([rop, *jacobians, *lops], values)
    largest = max(np.abs(m).max(initial=0) for m in made)
    if not inputs or not largest < 1e6:  # nothing to compare, or nothing to be sure of
        return 0
    near = {"rtol": 1e-3, "atol": 1e-3 * max(1, largest)} if y.dtype == "float32" else {"rtol": 1e-7, "atol": 1e-7 * max(1, largest)}
    product, js, ls = made[0], made[1 : 1 + len(inputs)], made[1 + len(inputs) :]
    np.testing.assert_allclose(sum(np.tensordot(j, along, along.ndim) for j, along in zip(js, u)), product, **near)
    for j, lop in zip(js, ls):
        np.testing.assert_allclose(np.tensordot(v, j, v.ndim), lop, **near)
    return 1


def test_products_agree_on_random_graphs():
    assert sum(check_graph(3_000_000 + k) for k in range(25)) >= 5


@pytest.mark.long
def test_products_agree_on_many_random_graphs():
    assert sum(check_graph(4_000_000 + k) for k in range(500)) >= 100


# -- what is refused --------------------------------------------------------------------------------------------------------------------


def text_of(error, function):
    with pytest.raises(error) as caught:
        function()
    return str(caught.value)


def test_what_is_no_float_expression():
    x, k = T.vector("x"), T.ivector("k")
    for caller, function in (
        ("jacobian", lambda y, w: exprc.jacobian(y, w)),
        ("Lop", lambda y, w: exprc.Lop(y, w, [1.0])),
        ("Rop", lambda y, w: exprc.Rop(y, w, [1.0])),
    ):
        assert f"{caller}: only float expressions have a gradient, not int32, (?,)" in text_of(TypeError, lambda f=function: f(x, k))
        text = text_of(TypeError, lambda f=function: f(k * 2, x))
        assert f"{caller}: only float expressions can be differentiated, not int32, (?,)" in text and "made at test_derivatives.py:" in text
        assert f"{caller}: wrt must hold expressions, not str: 'x'" in text_of(TypeError, lambda f=function: f(x, ["x"]))
    assert "jacobian: an expression is needed, not float: 3.0" in text_of(TypeError, lambda: exprc.jacobian(3.0, x))
    assert "jacobian: an expression is needed, not list" in text_of(TypeError, lambda: exprc.jacobian([x, x * 2], x))
    assert "grad: the cost must be a scalar, it has 1 axes" in text_of(ValueError, lambda: exprc.hessian(x * 2, x))


def test_eval_points_that_do_not_fit():
    x = T.vector("x", shape=(3,))
    text = text_of(ValueError, lambda: exprc.Rop(x * 2, x, 1.0))
    assert "Rop: eval_points: a direction of 0 axes for an expression of 1" in text and "made at test_derivatives.py:" in text
    text = text_of(ValueError, lambda: exprc.Lop(x * 2, x, [1.0, 2.0]))
    assert "Lop: eval_points: a gradient of shape (2,) for an expression of (3,)" in text
    text = text_of(ValueError, lambda: exprc.Rop([x * 2], [x], []))
    assert "Rop: 0 eval_points for 1 expressions in wrt" in text and "give one for each of wrt" in text


def test_choices_that_there_are_not():
    x = T.vector("x")
    assert "jacobian: disconnected_inputs='no' is none of 'raise', 'warn', 'ignore'" in text_of(
        ValueError, lambda: exprc.jacobian(x, x, disconnected_inputs="no")
    )
    assert "Rop: return_disconnected='None' is none of 'zero', 'none'" in text_of(
        ValueError, lambda: exprc.Rop(x, x, [1.0], return_disconnected="None")
    )


backwards = kernel(
    "backwards", shape=lambda args: args[0].shape, dtype=lambda dtypes: dtypes[0], numpy=lambda x: x[::-1].copy(),
    grad=lambda g, y, x: backwards(g),
)  # fmt: skip


def test_a_users_operation_without_a_rule_for_rows():
    x, k = T.vector("x"), T.vector("k", shape=(3,))
    assert value(exprc.jacobian(backwards(k) * k, k), {k: [1, 2, 5]}).tolist() == [[5, 0, 1], [0, 4, 0], [5, 0, 1]]
    text = text_of(TypeError, lambda: exprc.jacobian(backwards(x), x))
    assert "backwards cannot be worked out for an unknown number of rows at once" in text
    assert "operation  backwards(...)  float32, (?,)    made at test_derivatives.py:" in text and "specify_shape" in text


def test_an_input_whose_gradient_is_undefined():
    @composite
    def picked(x, place):
        return T.exp(-T.sqr(x - place))

    @picked.gradient
    def _(g, y, x, place):
        return -2 * g * y * (x - place), exprc.grad_undefined("places are not learnt")

    x, place = T.scalars("x", "place")
    assert value(exprc.grad(picked(x, place), x), {x: 1.0, place: 0.0}) == pytest.approx(-2 * np.exp(-1))
    text = text_of(TypeError, lambda: exprc.grad(picked(x, place), place))
    assert text.startswith("grad: picked has no gradient for its input 1: places are not learnt")
    assert "place  float32, ()" in text and "made at test_derivatives.py:" in text and "disconnected_grad" in text
    assert value(exprc.grad(picked(x, T.disconnected_grad(place)), [x])[0], {x: 1.0, place: 1.0}) == 0


def test_grad_scale():
    x = T.vector("x")
    g = exprc.grad(T.sum(T.sqr(T.grad_scale(x, -0.5))), x)
    assert value(g, {x: [1, 2]}).tolist() == [-1, -2]
    assert value(T.grad_scale(as_expr(3.0), 2.0), {}) == 3


def test_a_warning_names_the_line_of_the_user():
    x, z = T.scalar("x"), T.scalar("z")
    with pytest.warns(UserWarning, match="grad: the cost does not depend on z") as warned:
        exprc.grad(x * 2, z, disconnected_inputs="warn")
    assert warned[0].filename == __file__
