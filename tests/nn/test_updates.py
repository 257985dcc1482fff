"""Optimisers: three steps against the formulas in NumPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.nn import updates

START = np.array([1.0, -2.0, 0.5])
TARGET = np.array([3.0, 0.0, -1.0])
CURVATURE = np.array([1.0, 0.5, 4.0])


def gradient(w):
    """Gradient of the loss sum(CURVATURE * (w - TARGET)²)."""
    return 2 * CURVATURE * (w - TARGET)


def sgd(w, state, t, rate=0.1):
    return w - rate * gradient(w)


def momentum(w, state, t, rate=0.1, mu=0.9):
    state["v"] = mu * state.get("v", 0) - rate * gradient(w)
    return w + state["v"]


def nesterov_momentum(w, state, t, rate=0.1, mu=0.9):
    g = gradient(w)
    state["v"] = mu * state.get("v", 0) - rate * g
    return w + mu * state["v"] - rate * g


def adagrad(w, state, t, rate=0.1):
    g = gradient(w)
    state["r"] = state.get("r", 0) + g**2
    return w - rate * g / np.sqrt(state["r"] + 1e-6)


def rmsprop(w, state, t, rate=0.1, rho=0.9):
    g = gradient(w)
    state["r"] = rho * state.get("r", 0) + (1 - rho) * g**2
    return w - rate * g / np.sqrt(state["r"] + 1e-6)


def adam(w, state, t, rate=0.1, beta1=0.9, beta2=0.999):
    g = gradient(w)
    state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    rate_t = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return w - rate_t * state["m"] / (np.sqrt(state["v"]) + 1e-8)


def adadelta(w, state, t, rate=0.1, rho=0.95):
    g = gradient(w)
    state["r"] = rho * state.get("r", 0) + (1 - rho) * g**2
    step = g * np.sqrt(state.get("d", 0) + 1e-6) / np.sqrt(state["r"] + 1e-6)
    state["d"] = rho * state.get("d", 0) + (1 - rho) * step**2
    return w - rate * step


def adamax(w, state, t, rate=0.1, beta1=0.9, beta2=0.999):
    g = gradient(w)
    state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    state["u"] = np.maximum(beta2 * state.get("u", 0), np.abs(g))
    return w - rate / (1 - beta1**t) * state["m"] / (state["u"] + 1e-8)


def amsgrad(w, state, t, rate=0.1, beta1=0.9, beta2=0.999):
    g = gradient(w)
    state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    state["top"] = np.maximum(state.get("top", 0), state["v"])
    rate_t = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return w - rate_t * state["m"] / (np.sqrt(state["top"]) + 1e-8)


FORMULAS = [sgd, momentum, nesterov_momentum, adagrad, rmsprop, adam, adadelta, adamax, amsgrad]


def numpy_steps(formula, count=3, **options):
    w, state, trace = START, {}, []
    for t in range(1, count + 1):
        w = formula(w, state, t, **options)
        trace.append(w)
    return trace


def compiled_steps(make, count=3, **options):
    """Run `make(loss, params, ...)` and return the parameter after each step."""
    w = exprc.shared(nn.utils.floatX(START), name="w")
    loss = T.sum(nn.utils.floatX(CURVATURE) * (w - nn.utils.floatX(TARGET)) ** 2)
    step = exprc.function([], [], updates=make(loss, [w], **options), mode="reference")
    trace = []
    for _ in range(count):
        step()
        trace.append(w.get_value())
    return trace


@pytest.mark.parametrize("formula", FORMULAS)
def test_three_steps(formula):
    trace = compiled_steps(getattr(updates, formula.__name__), learning_rate=0.1)
    np.testing.assert_allclose(trace, numpy_steps(formula), rtol=1e-4)
    assert trace[0].dtype == exprc.config.floatX


def test_three_steps_compiled():
    w = exprc.shared(nn.utils.floatX(START), name="w")
    loss = T.sum(nn.utils.floatX(CURVATURE) * (w - nn.utils.floatX(TARGET)) ** 2)
    step = exprc.function([], loss, updates=updates.adam(loss, [w], learning_rate=0.1))
    for expected in numpy_steps(adam):
        step()
        np.testing.assert_allclose(w.get_value(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        (momentum, {"mu": 0.5}),
        (nesterov_momentum, {"mu": 0.5}),
        (rmsprop, {"rho": 0.5}),
        (adam, {"beta1": 0.5, "beta2": 0.9}),
        (adadelta, {"rho": 0.5}),
        (adamax, {"beta1": 0.5, "beta2": 0.1}),
        (amsgrad, {"beta1": 0.5, "beta2": 0.1}),
    ],
)
def test_options(formula, options):
    ours = {"momentum" if name == "mu" else name: number for name, number in options.items()}
    trace = compiled_steps(getattr(updates, formula.__name__), learning_rate=0.05, **ours)
    np.testing.assert_allclose(trace, numpy_steps(formula, rate=0.05, **options), rtol=1e-4)


@pytest.mark.parametrize(
    ("apply", "formula"), [(updates.apply_momentum, momentum), (updates.apply_nesterov_momentum, nesterov_momentum)]
)
def test_momentum_on_other_updates(apply, formula):
    def make(loss, params):
        plain = updates.sgd(loss, params, 0.1)
        before = dict(plain)
        new = apply(plain, momentum=0.9)
        assert plain == before, "the given updates stay as they are"
        return new

    np.testing.assert_allclose(compiled_steps(make), numpy_steps(formula), rtol=1e-3)


@pytest.mark.parametrize("apply", [updates.apply_momentum, updates.apply_nesterov_momentum])
def test_momentum_on_some_parameters_only(apply):
    a, b = (exprc.shared(nn.utils.floatX(START), name=name) for name in "ab")
    plain = updates.sgd(T.sum(a * b), [a, b], 0.1)
    new = apply(plain, params=[a])
    assert new[b] is plain[b] and new[a] is not plain[a]
    assert len(new) == 3


@pytest.mark.parametrize("formula", FORMULAS)
def test_gradients_may_be_given(formula):
    def make(loss, params, **options):
        return getattr(updates, formula.__name__)(exprc.grad(loss, params), params, **options)

    np.testing.assert_allclose(compiled_steps(make, learning_rate=0.1), numpy_steps(formula), rtol=1e-4)


def test_learning_rate_may_be_shared():
    rate = exprc.shared(nn.utils.floatX(0.1), name="rate")
    w = exprc.shared(nn.utils.floatX(START), name="w")
    step = exprc.function([], [], updates=updates.sgd(T.sum(w), [w], rate), mode="reference")
    step()
    rate.set_value(nn.utils.floatX(1))
    step()
    np.testing.assert_allclose(w.get_value(), START - 1.1, rtol=1e-5)


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_new_value_has_the_type_of_its_variable(formula):
    params = [exprc.shared(nn.utils.floatX(np.ones(shape)), name="p") for shape in [(), (2,), (1, 3)]]
    loss = sum(T.sum(p**2) for p in params)
    new = getattr(updates, formula.__name__)(loss, params, learning_rate=0.1)
    for variable, expression in new.items():
        assert expression.dtype == variable.dtype == exprc.config.floatX
        assert expression.ndim == variable.ndim


def test_states_are_named_after_the_parameter():
    w = exprc.shared(nn.utils.floatX(START), name="w")
    names = [v.name for v in updates.adam(T.sum(w), [w])]
    assert names == ["w.first_moment", "w.second_moment", "w", "adam.steps"]


def test_params_must_be_shared():
    x = T.vector("x")
    with pytest.raises(ValueError, match="params must be shared variables: only their values can be updated") as error:
        updates.get_or_compute_grads(T.sum(x), [x])
    assert "test_updates.py:" in str(error.value)
    assert "collect_shared_vars() finds those inside expressions" in str(error.value)


def test_one_gradient_for_each_parameter():
    w = exprc.shared(nn.utils.floatX(START), name="w")
    with pytest.raises(ValueError, match="got 2 gradients for 1 parameters"):
        updates.sgd([w, w], [w], 0.1)


def test_norm_constraint(value, rng):
    w = rng.normal(size=(5, 4)).astype("float32")
    out = value(updates.norm_constraint(T.constant(w), 1.5))
    norms = np.sqrt((w**2).sum(0))
    np.testing.assert_allclose(out, w * np.minimum(norms, 1.5) / norms, rtol=1e-4)
    assert (norms > 1.5).any() and (norms < 1.5).any()


@pytest.mark.parametrize(
    ("shape", "norm_axes", "axes"), [((3, 2, 4, 4), None, (1, 2, 3)), ((3, 4), (1,), (1,)), ((5,), (0,), (0,))]
)
def test_norm_constraint_axes(value, rng, shape, norm_axes, axes):
    w = (10 * rng.normal(size=shape)).astype("float32")
    out = value(updates.norm_constraint(T.constant(w), 1.0, norm_axes))
    np.testing.assert_allclose(np.sqrt((out**2).sum(axes)), 1, rtol=1e-4)


def test_norm_constraint_needs_axes_for_other_dimensions():
    with pytest.raises(ValueError, match="norm_constraint: a parameter of 1 dimensions has no usual axes"):
        updates.norm_constraint(T.vector("b"), 1.0)


@pytest.mark.parametrize(("max_norm", "factor"), [(2.5, 0.5), (10.0, 1.0)])
def test_total_norm_constraint(value, max_norm, factor):
    tensors = [T.constant(nn.utils.floatX([3.0, 0.0])), T.constant(nn.utils.floatX([[4.0]]))]
    scaled, norm = updates.total_norm_constraint(tensors, max_norm, return_norm=True)
    a, b, n = value([*scaled, norm])
    assert float(n) == 5
    np.testing.assert_allclose(a, [3 * factor, 0], rtol=1e-5)
    np.testing.assert_allclose(b, [[4 * factor]], rtol=1e-5)
    assert isinstance(updates.total_norm_constraint(tensors, max_norm), list)


def test_one_axis_of_a_norm_may_be_an_int():
    w = exprc.shared(np.full((3, 2), 2.0), name="w")
    expected = updates.norm_constraint(w, 1, norm_axes=(0,)).eval()
    assert np.array_equal(updates.norm_constraint(w, 1, norm_axes=0).eval(), expected)
    with pytest.raises(TypeError, match="total_norm_constraint takes a list of expressions"):
        updates.total_norm_constraint(w, 1)
