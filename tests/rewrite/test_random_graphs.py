"""Random graphs: the whole road of rules keeps the values of a graph and of its gradient."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import exprc.tensor as T
from exprc.config import config
from exprc.expr import Input, topological
from exprc.grad import grad
from exprc.reference import evaluate
from exprc.rewrite import OPTIMISE, SIMPLIFY, STABILISE, expand, expand_bound, named_by, open_user, rewrite
from exprc.types import TensorType

SHAPES = [(2, 3), (None, 3), (1, 3), (None, None), (3,), (None,), ()]

UNARY = [
    T.exp, T.log, T.tanh, T.sigmoid, T.softplus, T.sqr, T.sqrt, T.abs, T.relu, T.log1p, T.expm1, T.inv,
    lambda x: -x, lambda x: 1 - x, lambda x: x + 0, lambda x: x * 1, lambda x: 1 + x, lambda x: x**2, lambda x: x**3, lambda x: x / 4,
    lambda x: T.cast(T.cast(x, "float64"), "float64"), lambda x: x - 1, lambda x: 2 * x, lambda x: 1 / (1 + x),
]  # fmt: skip
BINARY = [T.add, T.sub, T.mul, T.true_div, T.maximum, T.minimum, lambda x, y: T.where(T.gt(x, y), x, y)]
REDUCING = [T.sum, T.mean, T.max, T.logsumexp]
SHAPING = [
    lambda x: x.T, lambda x: x.dimshuffle(*range(x.ndim), "x"), lambda x: x.reshape((-1,)), lambda x: x.reshape(x.shape),
    lambda x: T.broadcast_to(x, x.shape), lambda x: x[::-1] if x.ndim else x, lambda x: T.softmax(x) if x.ndim else x,
    lambda x: T.exp(x) / T.sum(T.exp(x), axis=-1, keepdims=True) if x.ndim else x, lambda x: x * T.ones_like(x),
    lambda x: x[:, None] if x.ndim else x, lambda x: x[:1] if x.ndim else x,
]  # fmt: skip


@st.composite
def graphs(draw):
    """A scalar expression of float64 over a few variables, and their values."""
    inputs = [
        Input(TensorType("float64", s), f"x{k}")
        for k, s in enumerate(draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3)))
    ]
    made = list(inputs)
    for _ in range(draw(st.integers(1, 9))):
        made.append(grown(draw, made))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    values = {
        x: rng.uniform(0.1, 1.5, tuple(d or n for d, n in zip(x.type.shape, (2, 3)[-x.ndim :] if x.ndim else ())))
        for x in inputs
    }
    return made[-1], values


def grown(draw, made):
    """One more expression on those made so far; of operands that do not fit, the first alone."""
    x, y = draw(st.sampled_from(made)), draw(st.sampled_from(made))
    kind = draw(st.sampled_from(["unary", "unary", "binary", "binary", "reduce", "shape"]))
    if kind == "binary":
        return draw(st.sampled_from(BINARY))(x, y) if fits(x, y) else T.tanh(x)
    if kind == "reduce" and x.ndim:
        axis = draw(st.sampled_from([None, 0, -1]))
        return draw(st.sampled_from(REDUCING))(x, axis=axis, keepdims=draw(st.booleans()))
    if kind == "shape" and x.ndim < 3:
        return draw(st.sampled_from(SHAPING))(x)
    return draw(st.sampled_from(UNARY))(x)


def fits(x, y):
    try:
        T.add(x, y)
    except ValueError:
        return False
    return True


def road(roots):
    roots = rewrite(open_user(roots, named_by([*SIMPLIFY, *STABILISE])), SIMPLIFY)
    return rewrite(expand(rewrite(roots, STABILISE)), OPTIMISE)


def tame(expr, values):
    """Whether every value on the way is of moderate size, so that rounding is all that rules may change."""
    try:
        parts = evaluate([n for n in topological([expr]) if n.op.form != "leaf"], values)
    except ValueError:  # shapes that turn out not to broadcast
        return False
    return all(
        np.all(np.isfinite(p)) and np.all(np.abs(p) < 50) and np.all((np.abs(p) > 1e-3) | (p == 0)) for p in parts
    )


@settings(max_examples=150)
@given(graphs())
def test_values_are_kept(case):
    expr, values = case
    with config.override(floatX="float64"):
        assume(tame(expr, values))
        made = road([expr])[0]
    assert made.type == expr.type
    np.testing.assert_allclose(*evaluate([made, expr], values), rtol=1e-7, atol=1e-9)


@settings(max_examples=100)
@given(graphs())
def test_gradients_are_kept(case):
    expr, values = case
    with config.override(floatX="float64"):
        cost = T.sum(expr)
        assume(tame(cost, values))
        wrt = list(values)
        plain = grad(cost, wrt, disconnected_inputs="ignore")
        made = road(plain)
        known = all(None not in node.type.shape for node in topological(plain))
        opened = expand_bound(plain) if known else plain  # it is for graphs in which every length is known
    for a, b, c, x in zip(*(evaluate(gs, values) for gs in (plain, made, opened)), wrt):
        assert a.shape == b.shape == c.shape == values[x].shape
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-8)
