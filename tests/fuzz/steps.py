"""Patterns that graphs are grown from: those that rewriting, fusion and indexing have something to do with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import exprc.tensor as T
from exprc.expr import Expr
from exprc.types import is_float, promote
from tests.fuzz.grow import Grower, Unfit

STEPS: list[Callable[[Grower], Any]] = []


def step(times: int = 1) -> Callable[[Callable[[Grower], Any]], Callable[[Grower], Any]]:
    """Register a step, to be taken `times` as often as others."""

    def register(made: Callable[[Grower], Any]) -> Callable[[Grower], Any]:
        STEPS.extend([made] * times)
        return made

    return register


@step(4)
def smooth(g: Grower) -> Expr:
    forms: list[Callable[[Expr], Expr]] = [
        T.tanh, T.sin, T.sigmoid, T.softplus, T.sqr, lambda v: -v, lambda v: T.exp(-v * v), lambda v: T.log1p(v * v),
        lambda v: T.sqrt(v * v + 0.5), lambda v: v * 0.5 + 0.25, lambda v: 1 / (1 + T.exp(-v)), lambda v: T.log(1 + T.exp(v)),
        lambda v: v**3, lambda v: (v * v + 1) ** -0.5, lambda v: v - v.mean(), lambda v: v * 2.0 * 3.0, lambda v: 1 - T.sigmoid(v),
        lambda v: T.exp(v) - 1, lambda v: T.log(T.sigmoid(v)),
    ]  # fmt: skip
    return g.one_of(forms)(g.pick("f"))


@step(5)
def pair(g: Grower) -> Expr:
    a, b = g.several("f", 2)
    forms: list[Callable[[Expr, Expr], Expr]] = [
        lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / (1 + y * y),
        lambda x, y: x * y + x, lambda x, y: x * x - y * y, T.maximum, T.minimum, lambda x, y: T.where(x > y, x * 2, y),
        lambda x, y: T.where(x < y, T.where(x < y, x, 0), y),
    ]  # fmt: skip
    return g.one_of(forms)(a, b)


@step()
def corner(g: Grower) -> Expr:
    return g.one_of([T.relu, T.abs, lambda v: T.where(v > 0, v, 0.1 * v), lambda v: T.elu(v), T.floor])(g.pick("f"))


@step()
def chosen(g: Grower) -> Expr:
    a, b = g.several("f", 2)
    shape = np.broadcast_shapes(g.values[a].shape, g.values[b].shape)
    return T.where(g.pick("b", lambda v: v.shape in (shape, (), shape[-1:])), a, b)


@step()
def compared(g: Grower) -> Expr:
    a, b = g.several("fi", 2)
    return g.one_of([lambda x, y: x < y, lambda x, y: x >= y, T.eq, T.neq])(a, b)


@step(2)
def counted(g: Grower) -> Expr:
    a, b = g.several("i", 2)
    if is_float(promote([a.dtype, b.dtype])):
        raise Unfit  # int64 with uint64
    forms: list[Callable[[Expr, Expr], Expr]] = [
        lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - y, lambda x, y: x // y, lambda x, y: x % y, T.maximum,
        lambda x, y: x & y, lambda x, y: x ^ y,
    ]  # fmt: skip
    return g.one_of(forms)(a, b)


@step()
def logical(g: Grower) -> Expr:
    a, b = g.several("b", 2)
    return g.one_of([lambda x, y: x & y, lambda x, y: x | y, lambda x, y: ~x, T.logical_and])(a, b)


@step()
def cast(g: Grower) -> Expr:
    if g.rng.random() < 0.3:
        x = g.pick("f", lambda v: bool(np.all(np.abs(v.astype("float64")) < 1e6)))
        return (x * 3).astype("int32")
    x = g.pick("ib", lambda v: bool(np.all(np.abs(v.astype("float64")) < 100)))
    return x.astype(g.float) * 0.125


@step(3)
def summed(g: Grower) -> Expr:
    x = g.pick("f")
    squares = lambda v, axis, keepdims: T.sum(v * v, axis=axis, keepdims=keepdims)  # noqa: E731
    forms: list[Callable[..., Expr]] = [T.sum, squares, T.mean, T.var, T.logsumexp, T.max]
    form = g.one_of(forms[:2] if 0 in g.values[x].shape else forms)
    return form(x, axis=g.axes(x), keepdims=bool(g.rng.random() < 0.5))


@step()
def turned(g: Grower) -> Expr:
    x = g.pick("fib", lambda v: v.ndim > 1)
    order: list[Any] = [int(a) for a in g.rng.permutation(x.ndim)]
    if x.ndim < 4 and g.rng.random() < 0.3:
        order.insert(int(g.rng.integers(len(order) + 1)), "x")
    return x.dimshuffle(*order)


@step(2)
def sliced(g: Grower) -> Expr:
    x = g.pick("fib", lambda v: v.ndim > 0)
    return x[_slices(g, g.values[x].shape)]


def _slices(g: Grower, shape: tuple[int, ...]) -> Any:
    index: list[Any] = []
    for n in shape:
        start, stop = (int(k) for k in g.rng.integers(-n - 1, n + 2, 2))
        options = [slice(None), slice(None), slice(None, None, -1), slice(start, stop), slice(start, None, 2), slice(None, stop, -2)]
        index.append(g.one_of(options) if n == 0 or g.rng.random() < 0.85 else int(g.rng.integers(-n, n)))
    return tuple(index)


@step()
def reshaped(g: Grower) -> Expr:
    x = g.pick("fi", lambda v: v.size > 1)
    n = g.values[x].size
    a = int(g.rng.choice([k for k in range(1, n + 1) if n % k == 0]))
    return x.reshape(g.one_of([(a, -1), (n // a, a), (-1,), (a, 1, n // a)]))


@step(2)
def joined(g: Grower) -> Expr:
    a = g.pick("f", lambda v: v.ndim > 0)
    axis = int(g.rng.integers(a.ndim))
    rest = tuple(d for k, d in enumerate(g.values[a].shape) if k != axis)
    b = g.pick("f", lambda v: v.ndim == a.ndim and tuple(d for k, d in enumerate(v.shape) if k != axis) == rest)
    return T.concatenate([a, b, T.sin(a)], axis=axis) if g.rng.random() < 0.6 else T.stack([a, a * 2], axis=axis)


def _indices(g: Grower, n: int, ndim: int) -> Expr:
    return g.pick("i", lambda v: v.ndim <= ndim and v.size < 50 and bool(np.all((v >= -n) & (v < n))))


@step()
def gathered(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0 and v.shape[0] > 0)
    return x[_indices(g, g.values[x].shape[0], 2)]


@step()
def assigned(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0)
    part = x[_slices(g, g.values[x].shape)]
    return g.one_of([T.set_subtensor, T.inc_subtensor])(part, g.pick("f", lambda v: v.ndim == 0))


@step()
def scattered(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0 and v.shape[0] > 0)
    at = _indices(g, g.values[x].shape[0], 1)
    if at.ndim != 1:
        raise Unfit
    return T.inc_subtensor(x[at], g.pick("f", lambda v: v.ndim == 0))


@step(2)
def normalised(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0 and v.size > 0)
    axis = int(g.rng.integers(x.ndim))
    forms: list[Callable[[Expr], Expr]] = [
        lambda v: T.softmax(v, axis=axis), lambda v: T.log_softmax(v, axis=axis), lambda v: T.log(T.softmax(v, axis=axis)),
        lambda v: (v - v.mean(axis=axis, keepdims=True)) / T.sqrt(v.var(axis=axis, keepdims=True) + 0.1),
        lambda v: T.log(T.sum(T.exp(v), axis=axis)),
    ]  # fmt: skip
    return g.one_of(forms)(x)


@step(2)
def multiplied(g: Grower) -> Expr:
    a = g.pick("f", lambda v: v.ndim in (1, 2))
    n = g.values[a].shape[-1]
    b = g.pick("f", lambda v: v.ndim in (1, 2) and (v.shape[0] == n or (v.ndim == 2 and v.shape[1] == n)))
    return T.dot(a, b if g.values[b].shape[0] == n else b.T)
