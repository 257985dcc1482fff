"""Seeded random graphs: typed, connected, of every operation of the catalogue, and gradients of them.

A graph is grown step by step with its values at hand. A step is a pattern of `steps` or, in turn, each operation of the catalogue: a
formula or a reduction on what is there already, anything else on the shapes of one of its own samples. Tame graphs stay finite and
moderate, so that all their digits are compared; wild ones start from NaN, infinities, zeros of both signs, subnormals and extremes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import exprc
import exprc.tensor as T
from exprc.expr import Constant, Expr, Input, leaves, topological
from exprc.forms import Formula, Op, Reduce, cast_to
from exprc.ops import CATALOGUE
from exprc.reference import evaluate
from exprc.types import TensorType, TupleType

Array = np.ndarray[Any, Any]

#: The largest array that a step may make, and the largest number in a tame graph.
ELEMENTS, MODERATE = 3000, 1e3
DIMS = (1, 2, 3, 4, 5, 8, 19, 40)
#: Of 100 graphs so many are wild, have gradients, and have dims that only the call knows.
WILD, GRADIENTS, UNKNOWN = 35, 30, 40


class Unfit(Exception):
    """A step that does not apply here."""


@dataclass
class Graph:
    """Outputs over inputs with their values; `built` of the outputs were grown, the rest are gradients."""

    label: str
    roots: list[Expr]
    values: dict[Input, Array]
    built: int
    wild: bool


def specials(dtype: str) -> Array:
    """Numbers that go wrong: zeros of both signs, NaN, infinities, subnormals, the ends of the range, and some in between."""
    if dtype == "bool":
        return np.array([False, True])
    if "int" in dtype:
        info = np.iinfo(dtype)
        wanted = (0, 1, 2, 3, 7, 100, info.max, info.max - 1, -1, -2, -7, info.min, info.min + 1)
        return np.array([v for v in wanted if info.min <= v <= info.max], dtype)
    end = np.finfo(dtype)
    ends = [end.max, end.min, end.tiny, -end.tiny, end.smallest_subnormal, -3 * end.smallest_subnormal, end.eps, 1 + end.eps]
    return np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 90.0, -104.0, 1e4, np.nan, np.inf, -np.inf, *ends], dtype)


class Grower:
    """A graph under growth: nodes with their values, of one float dtype, integers and bools."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.float = str(self.rng.choice(["float64", "float64", "float32"]))
        self.wild = bool(self.rng.integers(100) < WILD)
        self.known = bool(self.rng.integers(100) >= UNKNOWN)
        self.dims = [int(d) for d in self.rng.choice(DIMS, 3)]
        if self.rng.random() < 0.03:
            self.dims[0] = 0
        self.inputs: dict[Input, Array] = {}
        self.values: dict[Expr, Array] = {}
        self.unread: dict[Expr, None] = {}
        for dtype in (self.float, self.float, self.float, "int64", str(self.rng.choice(["int8", "uint8", "int32", "uint16"])), "bool"):
            self.leaf(dtype)

    # -- leaves

    def leaf(self, dtype: str) -> Input:
        shape = tuple(int(d) for d in self.rng.choice([*self.dims, 1], int(self.rng.integers(0, 4))))
        return self.given(self.numbers(dtype, shape))

    def numbers(self, dtype: str, shape: tuple[int, ...]) -> Array:
        if dtype == self.float:
            value = self.rng.uniform(-2, 2, shape)
        else:
            value = self.rng.integers(0 if dtype[0] in "bu" else -9, 10, shape)
        array = np.asarray(value > 4 if dtype == "bool" else value).astype(dtype)
        if self.wild and self.rng.random() < 0.7:
            odd = self.rng.random(shape) < 0.4
            array = np.where(odd, self.rng.choice(specials(dtype), shape), array)
        return np.asarray(array)

    def given(self, value: Array) -> Input:
        """A new input with a value."""
        shape = value.shape if self.known else (None,) * value.ndim
        x = Input(TensorType(value.dtype.name, shape), f"x{len(self.inputs)}")
        self.inputs[x] = self.values[x] = value
        return x

    # -- nodes

    def pick(self, kinds: str, fits: Callable[[Array], bool] = lambda v: True) -> Expr:
        """A node of a kind of dtype ("f", "i", "b" or any of several): the newer the likelier, and likelier if nothing reads it yet."""
        pool = [(k, x) for k, (x, v) in enumerate(self.values.items()) if _kind(v) in kinds and fits(v)]
        if not pool:
            raise Unfit
        weights = np.array([(k + 1.0) ** 1.5 * (4 if x in self.unread else 1) for k, x in pool])
        return pool[int(self.rng.choice(len(pool), p=weights / weights.sum()))][1]

    def value(self, x: Expr) -> Array:
        if x not in self.values:
            (self.values[x],) = evaluate([x], dict(self.values))
        return self.values[x]

    def several(self, kinds: str, count: int) -> list[Expr]:
        """Nodes whose shapes broadcast together."""
        picked = [self.pick(kinds)]
        for _ in range(count - 1):
            shape = np.broadcast_shapes(*(self.values[x].shape for x in picked))
            picked.append(self.pick(kinds, lambda v, shape=shape: _broadcasts(v.shape, shape)))
        return picked

    def axes(self, x: Expr, least: int = 1) -> tuple[int, ...]:
        if x.ndim < least:
            raise Unfit
        count = int(self.rng.integers(least, x.ndim + 1))
        return tuple(int(a) for a in sorted(self.rng.choice(x.ndim, count, replace=False)))

    def one_of(self, forms: Sequence[Any]) -> Any:
        return forms[int(self.rng.integers(len(forms)))]

    # -- growing

    def take(self, step: Callable[[Grower], Any]) -> bool:
        """Take a step, or take it back where it does not fit."""
        before = len(self.values), len(self.inputs)
        try:
            made = step(self)
            nodes = list(made) if isinstance(made, tuple) else [made]
            if all(self._good(self.value(x)) for x in nodes):
                read = {i for i in topological(nodes, stop=lambda n: n in self.unread) if i not in nodes}
                self.unread = {x: None for x in [*self.unread, *nodes] if x not in read}
                return True
        except (Unfit, IndexError):  # an index out of range
            pass
        self.values = dict(list(self.values.items())[: before[0]])
        self.inputs = dict(list(self.inputs.items())[: before[1]])
        return False

    def _good(self, value: Array) -> bool:
        if value.size > ELEMENTS or self.wild or value.dtype.kind != "f":
            return bool(value.size <= ELEMENTS)
        return bool(np.isfinite(value).all() and np.abs(value).max(initial=0) < MODERATE)

    def outputs(self) -> list[Expr]:
        """What nothing reads, at most three of them; and sometimes something in between."""
        ends = list(self.unread)[-3:]
        made = [x for x in self.values if not isinstance(x, Input) and x not in self.unread]
        if made and self.rng.random() < 0.2:
            ends.append(made[int(self.rng.integers(len(made)))])
        return ends

    def gradients(self, roots: list[Expr]) -> list[Expr]:
        """Gradients of a weighted sum of what is a float by one or two inputs; of tame graphs where they are moderate."""
        floats = [x for x in roots if x.dtype == self.float]
        inputs = [x for x in leaves(floats) if isinstance(x, Input) and x.dtype == self.float]
        if not inputs:
            return []
        chosen = [inputs[int(k)] for k in self.rng.permutation(len(inputs))[:2]]
        cost: Any = sum((T.sin(x) * 0.7).sum() for x in floats)
        made = exprc.grad(cost, chosen, disconnected_inputs="ignore")
        values = evaluate(made, self.inputs)
        return [x for x, v in zip(made, values) if self.wild or (np.isfinite(v).all() and np.abs(v).max(initial=0) < 1e4)]


def _kind(value: Array) -> str:
    return value.dtype.kind.replace("u", "i")


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(a, b) is not None
    except ValueError:
        return False


# -- a step of one operation of the catalogue --------------------------------------------------------------------------


def catalogued(op: Op) -> Callable[[Grower], Any]:
    """The step that takes this operation."""

    def step(g: Grower) -> Any:
        if isinstance(op, Formula) and op.shape is None:
            return _formula(g, op)
        return _reduce(g, op) if isinstance(op, Reduce) else _sampled(g, op)

    return step


def _formula(g: Grower, op: Formula) -> Expr:
    params = g.one_of(op.samples())[1] if op.samples is not None else {}
    for kinds in g.rng.permutation(["f", "f", "i", "fi", "fib", "b"]):
        try:
            operands = g.several(str(kinds), len(op.operands))
            wanted = op.meeting([x.dtype for x in operands])[0]
            node = op.node(tuple(map(cast_to, operands, wanted)), params)
            break
        except (TypeError, Unfit):
            continue
    else:
        raise Unfit
    if _kind(g.value(node)) in "ib" and not _whole(g, node):
        raise Unfit
    return node


def _whole(g: Grower, node: Expr) -> bool:
    """Whether no float becomes an integer that cannot hold it: what C makes of that is not defined."""
    casts = [n for n in topological([node], stop=lambda n: n in g.values and n is not node) if n.op.name == "cast" and "int" in n.dtype]
    for n in casts:
        value, info = g.value(n.inputs[0]), np.iinfo(n.dtype)
        if _kind(value) == "f" and not bool(np.all((value > float(info.min)) & (value < float(info.max)))):
            return False
    return True


def _reduce(g: Grower, op: Reduce) -> Expr:
    x = g.pick("fib", lambda v: v.ndim > 0 and (v.size > 0 or not op.nonempty))
    try:
        return op(x, axis=g.axes(x), keepdims=bool(g.rng.random() < 0.4))
    except TypeError:
        raise Unfit from None


def _sampled(g: Grower, op: Op) -> Any:
    """An operation on operands of the shapes of one of its samples; floats come from the graph or are the sample's own."""
    if op.samples is None:
        raise Unfit
    args, params = g.one_of(op.samples())
    data = len(args) if op.data is None else op.data
    arrays = [np.asarray(a) for a in args[:data]]
    single = len({a.dtype for a in arrays if a.dtype.kind == "f"}) == 1
    if isinstance(op, Formula):  # draws of random numbers: their parameters have a domain
        inputs = [g.given(a) for a in arrays]
    else:
        inputs = [_operand(g, a.astype(g.float) if a.dtype.kind == "f" and single else a) for a in arrays]
    sizes = [Constant(np.asarray(a)) for a in args[data:]]
    try:
        node = op.node((*inputs, *sizes), params)
    except TypeError:
        raise Unfit from None
    return exprc.forms.results(node) if isinstance(node.type, TupleType) else node


def _operand(g: Grower, a: Array) -> Expr:
    if a.dtype.name != g.float or g.rng.random() < 0.3:
        return g.given(a)
    x = g.pick("f", lambda v: v.size > 0 and v.dtype == a.dtype)
    if g.values[x].shape == a.shape:
        return x
    size = g.values[x].size
    if size == 1:
        return T.broadcast_to(T.reshape(x, ()), a.shape)
    at = np.arange(a.size) % size
    return T.reshape(T.reshape(x, (size,))[at], a.shape)


# -- a whole graph -----------------------------------------------------------------------------------------------------


def graph(seed: int) -> Graph:
    """The graph of a seed: the same on every machine, as long as the catalogue and the steps are."""
    from tests.fuzz.steps import STEPS

    g = Grower(seed)
    names = np.random.default_rng(0).permutation([*CATALOGUE])
    count, turn = int(g.rng.integers(5, 10)), seed * 5
    while count:
        if g.rng.random() < 0.4:
            step = g.one_of(STEPS)
        else:
            step, turn = catalogued(CATALOGUE[str(names[turn % len(names)])]), turn + 1
        count -= g.take(step)
    roots = g.outputs()
    gradients = g.gradients(roots) if g.rng.integers(100) < GRADIENTS else []
    used = {x for x in leaves([*roots, *gradients]) if isinstance(x, Input)}
    values = {x: v for x, v in g.inputs.items() if x in used}
    return Graph(f"seed {seed}", [*roots, *gradients], values, len(roots), g.wild)
