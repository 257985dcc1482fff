"""Random typed graphs: the program of the rewritten graph, and the interpreter on it, against the interpreter on the graph as built.

A graph is grown node by node, with its values at hand: steps that leave the finite or the moderate, or that hang on the last bits of
their operands (comparisons of near equals, roundings near a half), are taken back. So whatever differs is a fault. The generator is
seeded: a failure says the seed of its graph, and ``check([seed], general)`` grows that graph again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.errors import CompileError
from exprc.expr import Expr, Input, leaves
from exprc.reference import evaluate
from exprc.rewrite.engine import rewrite
from exprc.rewrite.expand import expand, named_by, open_user
from exprc.rewrite.optimise import OPTIMISE
from exprc.rewrite.simplify import SIMPLIFY
from exprc.rewrite.stabilise import STABILISE
from exprc.show import debugprint
from exprc.types import TensorType, is_float, promote

Array = np.ndarray[Any, Any]
Rng = np.random.Generator

#: Graphs that share a function, and how many functions there are.
BATCH, BATCHES = 15, 10


class Unfit(Exception):
    """A step that does not apply here."""


def _moderate(value: Array, limit: float) -> bool:
    return bool(np.isfinite(value).all() and np.abs(value).max(initial=0) < limit)


class Grower:
    """A graph under growth: nodes with their values, of one float dtype, integers and bools."""

    def __init__(self, seed: int):
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.float = str(self.rng.choice(["float64", "float64", "float32"]))
        self.known = bool(self.rng.random() < 0.6)
        self.dims = [int(d) for d in self.rng.choice([1, 2, 3, 4, 5, 8, 19, 40], 3)]
        self.inputs: dict[Input, Array] = {}
        self.values: dict[Expr, Array] = {}
        for _ in range(4):
            self.leaf(self.float)
        for dtype in ("int64", str(self.rng.choice(["int8", "uint8", "int32"])), "bool"):
            self.leaf(dtype)
        self.outputs: list[Expr] = []

    def leaf(self, dtype: str) -> None:
        shape = tuple(int(d) for d in self.rng.choice([*self.dims, 1], int(self.rng.integers(0, 4))))
        value = self.rng.uniform(-2, 2, shape) if dtype == self.float else self.rng.integers(0 if dtype[0] in "bu" else -9, 10, shape)
        x = Input(TensorType(dtype, shape if self.known else (None,) * len(shape)), f"x{len(self.inputs)}")
        self.inputs[x] = np.asarray(value > 4 if dtype == "bool" else value).astype(dtype)
        self.values[x] = self.inputs[x]

    def pick(self, kind: str, fits: Callable[[Array], bool] = lambda v: True) -> Expr:
        """A node of a kind of dtype ("f", "i", "b" or any of several), the newer the likelier."""
        pool = [x for x, v in self.values.items() if np.dtype(x.dtype).kind.replace("u", "i") in kind and fits(v)]
        if not pool:
            raise Unfit
        weights = np.arange(1, len(pool) + 1.0) ** 1.5
        return pool[int(self.rng.choice(len(pool), p=weights / weights.sum()))]

    def value(self, x: Expr) -> Array:
        if x not in self.values:
            (made,) = evaluate([x], dict(self.values))
            self.values[x] = made
        return self.values[x]

    def grow(self, steps: int) -> list[Expr]:
        while steps:
            step = STEPS[int(self.rng.integers(len(STEPS)))]
            before = dict(self.values)
            try:
                node = step(self)
                value = self.value(node)
                good = value.size <= 3000 and (value.dtype.kind != "f" or _moderate(value, 1e3))
            except Unfit:
                good = False
            if not good:
                self.values = before
                continue
            steps -= 1
            self.outputs.append(node)
        read = {i for x in self.outputs for i in x.inputs}
        return [x for x in self.outputs if x not in read or self.rng.random() < 0.15]

    def apart(self, a: Any, b: Any) -> None:
        """Refuse operands some of whose elements are equal but for rounding."""
        with np.errstate(all="ignore"):
            if np.any(np.abs(a - b) < 1e-3 * (1 + np.abs(a))):
                raise Unfit

    def axes(self, x: Expr, least: int = 0) -> tuple[int, ...]:
        if x.ndim < max(least, 1):
            raise Unfit
        count = int(self.rng.integers(max(least, 1), x.ndim + 1))
        return tuple(int(a) for a in sorted(self.rng.choice(x.ndim, count, replace=False)))


# -- steps -------------------------------------------------------------------------------------------------------------

STEPS: list[Callable[[Grower], Expr]] = []


def step(times: int = 1) -> Callable[[Callable[[Grower], Expr]], Callable[[Grower], Expr]]:
    """Register a step, to be taken `times` as often as others."""

    def register(made: Callable[[Grower], Expr]) -> Callable[[Grower], Expr]:
        STEPS.extend([made] * times)
        return made

    return register


def broadcasting(g: Grower, kind: str) -> tuple[Expr, Expr]:
    a = g.pick(kind)
    shape = g.values[a].shape

    def fits(v: Array) -> bool:
        try:
            return np.broadcast_shapes(v.shape, shape) is not None
        except ValueError:
            return False

    return a, g.pick(kind, fits)


@step(4)
def smooth(g: Grower) -> Expr:
    x = g.pick("f")
    forms: list[Callable[[Expr], Expr]] = [
        T.tanh, T.sin, T.cos, T.sigmoid, T.softplus, T.sqr, T.erf, lambda v: -v, lambda v: T.exp(-v * v), lambda v: T.log1p(v * v),
        lambda v: T.sqrt(v * v + 0.5), lambda v: v * 0.5 + 0.25, lambda v: 1 / (1 + T.exp(-v)), lambda v: T.log(1 + T.exp(v)),
        lambda v: v**3, lambda v: (v * v + 1) ** -0.5, lambda v: v - v.mean(),
    ]  # fmt: skip
    return forms[int(g.rng.integers(len(forms)))](x)


@step(5)
def pair(g: Grower) -> Expr:
    a, b = broadcasting(g, "f")
    forms: list[Callable[[Expr, Expr], Expr]] = [
        lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / (1 + y * y),
        lambda x, y: x * y + x, lambda x, y: x * x - y * y,
    ]  # fmt: skip
    return forms[int(g.rng.integers(len(forms)))](a, b)


@step(2)
def kinked(g: Grower) -> Expr:
    a, b = broadcasting(g, "f")
    g.apart(g.values[a], g.values[b])
    return [T.maximum, T.minimum, lambda x, y: T.where(x > y, x * 2, y)][int(g.rng.integers(3))](a, b)


@step()
def corner(g: Grower) -> Expr:
    x = g.pick("f")
    g.apart(g.values[x], 0)
    return [T.relu, T.abs, lambda v: T.where(v > 0, v, 0.1 * v), lambda v: T.elu(v)][int(g.rng.integers(4))](x)


@step()
def chosen(g: Grower) -> Expr:
    a, b = broadcasting(g, "f")
    shape = np.broadcast_shapes(g.values[a].shape, g.values[b].shape)
    c = g.pick("b", lambda v: v.shape in (shape, (), shape[-1:]))
    return T.where(c, a, b)


@step(2)
def compared(g: Grower) -> Expr:
    a, b = broadcasting(g, "fi")
    if "f" in (np.dtype(a.dtype).kind, np.dtype(b.dtype).kind):
        g.apart(g.values[a].astype("float64"), g.values[b].astype("float64"))
    return [lambda x, y: x < y, lambda x, y: x >= y, T.eq, T.neq][int(g.rng.integers(4))](a, b)


@step(2)
def counted(g: Grower) -> Expr:
    a, b = broadcasting(g, "i")
    if is_float(promote([a.dtype, b.dtype])):
        raise Unfit  # int64 with uint64
    forms: list[Callable[[Expr, Expr], Expr]] = [
        lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - y, lambda x, y: x // y, lambda x, y: x % y, T.maximum,
        lambda x, y: x & y, lambda x, y: x ^ y,
    ]  # fmt: skip
    return forms[int(g.rng.integers(len(forms)))](a, b)


@step()
def logical(g: Grower) -> Expr:
    a, b = broadcasting(g, "b")
    return [lambda x, y: x & y, lambda x, y: x | y, lambda x, y: ~x, T.logical_and][int(g.rng.integers(4))](a, b)


@step(2)
def cast(g: Grower) -> Expr:
    if g.rng.random() < 0.3:
        x = g.pick("f")
        v = g.values[x] * 3
        g.apart(v, np.rint(v))
        return (x * 3).astype("int32")
    x = g.pick("ib")
    if np.abs(g.values[x].astype("float64")).max(initial=0) > 100:
        raise Unfit
    return x.astype(g.float) * 0.125


@step(4)
def summed(g: Grower) -> Expr:
    x = g.pick("f")
    squares = lambda v, axis, keepdims: T.sum(v * v, axis=axis, keepdims=keepdims)  # noqa: E731
    forms: list[Callable[..., Expr]] = [T.sum, squares, T.mean, T.var, T.logsumexp]
    if 0 in g.values[x].shape:
        forms = forms[:2]
    return forms[int(g.rng.integers(len(forms)))](x, axis=g.axes(x), keepdims=bool(g.rng.random() < 0.5))


@step()
def product(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.size < 60)
    g.apart(g.values[x], 0)
    return T.prod(x, axis=g.axes(x))


@step(2)
def extreme(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.size > 0)
    axes = g.axes(x)
    _lone_extremes(g.values[x], axes)
    form = [T.max, T.min, T.argmax, T.argmin][int(g.rng.integers(4))]
    return form(x, axis=axes, keepdims=bool(g.rng.random() < 0.5))


def _lone_extremes(v: Array, axes: tuple[int, ...]) -> None:
    """Refuse where the largest or the smallest element has a rival."""
    rows = np.moveaxis(v, axes, range(-len(axes), 0)).reshape(*(d for a, d in enumerate(v.shape) if a not in axes), -1)
    rows = np.sort(rows, axis=-1)
    if rows.shape[-1] > 1 and (np.any(rows[..., 1] - rows[..., 0] < 1e-3) or np.any(rows[..., -1] - rows[..., -2] < 1e-3)):
        raise Unfit


@step()
def whole(g: Grower) -> Expr:
    x = g.pick("ib", lambda v: v.size > 0)
    forms = [T.sum, T.max, T.argmin] if g.values[x].dtype != bool else [T.sum, T.any, T.all]
    return forms[int(g.rng.integers(3))](x, axis=g.axes(x))


@step(2)
def turned(g: Grower) -> Expr:
    x = g.pick("fib", lambda v: v.ndim > 1)
    order: list[Any] = [int(a) for a in g.rng.permutation(x.ndim)]
    if x.ndim < 4 and g.rng.random() < 0.3:
        order.insert(int(g.rng.integers(len(order) + 1)), "x")
    return x.dimshuffle(*order)


@step(3)
def sliced(g: Grower) -> Expr:
    x = g.pick("fib", lambda v: v.ndim > 0)
    return x[_slices(g, g.values[x].shape)]


def _slices(g: Grower, shape: tuple[int, ...]) -> Any:
    index: list[Any] = []
    for n in shape:
        start, stop = (int(k) for k in g.rng.integers(-n - 1, n + 2, 2))
        options = [slice(None), slice(None), slice(None, None, -1), slice(start, stop), slice(start, None, 2), slice(None, stop, -2)]
        index.append(options[int(g.rng.integers(6))] if n == 0 or g.rng.random() < 0.85 else int(g.rng.integers(-n, n)))
    return tuple(index)


@step(2)
def reshaped(g: Grower) -> Expr:
    x = g.pick("fi", lambda v: v.size > 1)
    n = g.values[x].size
    a = int(g.rng.choice([k for k in range(1, n + 1) if n % k == 0]))
    return x.reshape([(a, -1), (n // a, a), (-1,), (a, 1, n // a)][int(g.rng.integers(4))])


@step(2)
def joined(g: Grower) -> Expr:
    a = g.pick("f", lambda v: v.ndim > 0)
    axis = int(g.rng.integers(a.ndim))
    rest = tuple(d for k, d in enumerate(g.values[a].shape) if k != axis)
    b = g.pick("f", lambda v: v.ndim == a.ndim and tuple(d for k, d in enumerate(v.shape) if k != axis) == rest)
    return T.concatenate([a, b, T.sin(a)], axis=axis) if g.rng.random() < 0.6 else T.stack([a, a * 2], axis=axis)


@step(2)
def gathered(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0 and v.shape[0] > 0)
    n = g.values[x].shape[0]
    i = g.pick("i", lambda v: v.ndim < 3 and v.size < 50 and bool(np.all((v >= -n) & (v < n))))
    return x[i]


@step(2)
def assigned(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0)
    part = x[_slices(g, g.values[x].shape)]
    value = g.pick("f", lambda v: v.ndim == 0)
    return (T.set_subtensor if g.rng.random() < 0.5 else T.inc_subtensor)(part, value)


@step()
def scattered(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0 and v.shape[0] > 0)
    n = g.values[x].shape[0]
    i = g.pick("i", lambda v: v.ndim == 1 and v.size < 50 and bool(np.all((v >= -n) & (v < n))))
    return T.inc_subtensor(x[i], g.pick("f", lambda v: v.ndim == 0))


@step(2)
def normalised(g: Grower) -> Expr:
    x = g.pick("f", lambda v: v.ndim > 0 and v.size > 0)
    axis = int(g.rng.integers(x.ndim))
    forms: list[Callable[[Expr], Expr]] = [
        lambda v: T.softmax(v, axis=axis), lambda v: T.log_softmax(v, axis=axis), lambda v: T.log(T.softmax(v, axis=axis)),
        lambda v: (v - v.mean(axis=axis, keepdims=True)) / T.sqrt(v.var(axis=axis, keepdims=True) + 0.1),
    ]  # fmt: skip
    return forms[int(g.rng.integers(len(forms)))](x)


@step(3)
def multiplied(g: Grower) -> Expr:
    a = g.pick("f", lambda v: v.ndim in (1, 2))
    n = g.values[a].shape[-1]
    b = g.pick("f", lambda v: v.ndim in (1, 2) and v.shape[0] == n or v.ndim == 2 and v.shape[1] == n)
    return T.dot(a, b if g.values[b].shape[0] == n else b.T)


# -- comparing ---------------------------------------------------------------------------------------------------------


def rewritten(roots: list[Expr]) -> list[Expr]:
    """What the compiler makes of a graph before it is scheduled."""
    roots = open_user(roots, named_by([*SIMPLIFY, *STABILISE]))
    for rules in (SIMPLIFY, STABILISE):
        roots = rewrite(roots, rules)
    return rewrite(expand(roots), OPTIMISE)


def gradients(g: Grower, roots: list[Expr]) -> list[Expr]:
    """Gradients of a weighted sum of what is a float, where they are finite and moderate."""
    smooth_ = [x for x in roots if x.dtype == g.float]
    inputs = [x for x in leaves(smooth_) if isinstance(x, Input) and x.dtype == g.float]
    if not inputs:
        return []
    cost: Any = sum((T.sin(x) * 0.7).sum() for x in smooth_)
    made = exprc.grad(cost, inputs, disconnected_inputs="ignore")
    values = evaluate(made, g.inputs)
    return [x for x, v in zip(made, values) if _moderate(v, 1e4)]


def near(g: Grower, what: str, node: Expr, got: Array, wanted: Array) -> None:
    about = f"seed {g.seed}, {what} of\n{debugprint(node, file='str')}\n"
    assert got.dtype == wanted.dtype and got.shape == wanted.shape, about
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted, about)
        return
    error = 2e-3 if wanted.dtype == np.float32 else 1e-8
    np.testing.assert_allclose(got, wanted, error, error * max(1, np.abs(wanted).max(initial=0)), err_msg=about)


def graph(seed: int) -> tuple[Grower, list[Expr]]:
    g = Grower(seed)
    roots = g.grow(int(g.rng.integers(4, 14)))
    return g, [*roots, *gradients(g, roots)]


def run(seeds: list[int], general: bool) -> None:
    made = [graph(seed) for seed in seeds]
    inputs = {x: v for g, _ in made for x, v in g.inputs.items()}
    f = exprc.function(list(inputs), [x for _, roots in made for x in roots], mode="compiled", on_unused_input="ignore")
    if general:
        f._compiled.seen.update({key: {-1, -2} for key in f._compiled.keys})
    got = iter(f(*inputs.values()))
    for g, roots in made:
        simpler = rewritten(roots)
        for node, wanted, optimised in zip(roots, evaluate(roots, g.inputs), evaluate(simpler, g.inputs)):
            near(g, "the rewritten graph", node, np.asarray(optimised), wanted)
            near(g, "the program", node, next(got), wanted)


def check(seeds: list[int], general: bool) -> None:
    """Run a batch; where it fails, its graphs one by one, to name the one."""
    try:
        run(seeds, general)
    except (AssertionError, CompileError, ValueError, IndexError, KeyError, TypeError):
        if len(seeds) == 1:
            raise
        for seed in seeds:
            run([seed], general)
        raise


@pytest.mark.parametrize("batch", [pytest.param(k, id=f"graphs-{k * BATCH}-to-{(k + 1) * BATCH - 1}") for k in range(BATCHES)])
def test_random_graphs(batch: int) -> None:
    check(list(range(batch * BATCH, (batch + 1) * BATCH)), general=batch % 5 == 4)


@pytest.mark.long
@pytest.mark.parametrize("batch", range(100))
def test_many_random_graphs(batch: int) -> None:
    check(list(range(1000 + batch * BATCH, 1000 + (batch + 1) * BATCH)), general=batch % 5 == 4)
