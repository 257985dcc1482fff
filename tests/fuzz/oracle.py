"""What a graph gives, how far rounding may take it, and which elements are decided by rounding alone.

The NumPy interpreter gives the values. *Witnesses* compute the graph again: one with wide floats, the others with every operand that was
rounded moved by some units in the last place, anew at each use, zeros of either sign, and sums by units of the sum of magnitudes. Where
the witnesses agree in kind (NaN, an infinity, a number, an integer), a result must agree too, and may be some times as far off as they
are; where they disagree, another rounding is as right, and the element is not compared. Such elements are counted: see `distribution`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exprc.expr import Constant, Expr, topological
from exprc.forms import Composite, Formula, Kernel, Reduce
from exprc.reference import evaluate
from exprc.types import TupleType
from tests.bounds import slack

Array = np.ndarray[Any, Any]
Wide = np.longdouble

#: Units in the last place by which operands are moved, how often, and how much farther than the witnesses a result may be. Where few
#: witnesses agree by chance (cosines of huge numbers do), many are heard before a fault is called one.
MOVE, WITNESSES, MANY, SLACK = 4, 3, 40, 8


@dataclass
class Truth:
    """The value of a node, how far from it a result may lie, and where that says anything."""

    value: Array
    error: Array
    firm: Array


def truths(roots: Sequence[Expr], values: Mapping[Expr, Any], witnesses: int = WITNESSES) -> list[Truth]:
    """The values of nodes with their tolerances."""
    exact = evaluate(roots, values)
    order = topological(roots)
    known = _Walk().nodes(order, values)
    try:
        wide = _WideWalk().nodes(order, values)
        moved = [_MovedWalk(known, wide, k) for k in range(witnesses)]
        others = [walk.nodes(order, values) for walk in (*moved, _SteadyWalk(known, wide, witnesses))]
    except IndexError:  # rounding decides whether there is a result at all
        return [Truth(v, np.zeros(v.shape), np.zeros(v.shape, bool)) for v in map(np.asarray, exact)]
    return [_truth(np.asarray(v), [w[x] for w in (wide, *others)]) for x, v in zip(roots, exact)]


def _truth(value: Array, witnesses: Sequence[Array]) -> Truth:
    firm, error = np.ones(value.shape, bool), np.zeros(value.shape)
    if value.dtype.kind != "f":
        for w in witnesses:
            firm &= w == value
        return Truth(value, error, firm)
    with np.errstate(all="ignore"):
        for w in witnesses:
            near = w.astype(value.dtype)
            firm &= np.where(np.isfinite(value), np.isfinite(near), (near == value) | (np.isnan(near) & np.isnan(value)))
            error = np.maximum(error, np.where(firm & np.isfinite(value), np.abs((w - value).astype("float64")), 0))
        unit = np.spacing(np.abs(np.where(np.isfinite(value), value, 1))).astype("float64")
        return Truth(value, SLACK * (error + unit), firm)


def differences(got: Array, truth: Truth) -> Array:
    """Where a result is wrong."""
    value = truth.value
    if value.dtype.kind != "f":
        return (got != value) & truth.firm
    with np.errstate(all="ignore"):
        same = (got == value) | (np.isnan(got) & np.isnan(value))
        near = np.abs(got.astype("float64") - value.astype("float64")) <= truth.error
    return ~(same | near) & truth.firm


# -- walking a graph another way ---------------------------------------------------------------------------------------


class _Walk:
    """All nodes of a graph computed; composites by their bodies, so that what happens inside them is altered too."""

    def nodes(self, order: Sequence[Expr], values: Mapping[Expr, Any]) -> dict[Expr, Any]:
        made: dict[Expr, Any] = {}
        for node in order:
            if node in values or isinstance(node, Constant):
                made[node] = self.cast(values[node] if node in values else node.value)  # type: ignore[attr-defined]
            else:
                made[node] = self.compute(node, [made[i] for i in node.inputs])
        return made

    def compute(self, node: Expr, inputs: list[Any]) -> Any:
        if isinstance(node.op, Composite) and not (node.op.late and node.op.numpy):
            body = node.op.open(node.inputs, node.params)
            parts = body if isinstance(body, tuple) else (body,)
            made = self.nodes(topological(parts, stop=lambda n: n in node.inputs), dict(zip(node.inputs, inputs)))
            return tuple(made[p] for p in parts) if isinstance(body, tuple) else made[body]
        value = self.apply(node, inputs)
        if isinstance(node.type, TupleType):
            return tuple(self.typed(v, t.dtype) for v, t in zip(value, node.type.items))
        return self.typed(value, node.type.dtype)

    def apply(self, node: Expr, inputs: list[Any]) -> Any:
        with np.errstate(all="ignore"):
            return node.op.numpy(*inputs, **node.params)  # type: ignore[misc]

    def typed(self, value: Any, dtype: str) -> Array:
        return np.asarray(value, dtype)

    def cast(self, value: Any) -> Array:
        return np.asarray(value)


class _WideWalk(_Walk):
    """With floats of more digits and a wider range."""

    def apply(self, node: Expr, inputs: list[Any]) -> Any:
        try:
            if node.op.name in ("isinf", "isfinite"):  # in the type that it has, where it may have come to infinity by another way
                with np.errstate(all="ignore"):
                    inputs = [np.asarray(i, x.dtype) for i, x in zip(inputs, node.inputs)]
            return super().apply(node, inputs)
        except TypeError:  # some of NumPy's functions take no wide floats
            return super().apply(node, [np.asarray(i, x.dtype) for i, x in zip(inputs, node.inputs)])

    def typed(self, value: Any, dtype: str) -> Array:
        array = np.asarray(value)
        return array if array.dtype == Wide else self.cast(array.astype(dtype))

    def cast(self, value: Any) -> Array:
        array = np.asarray(value)
        return array.astype(Wide) if array.dtype.kind == "f" else array


class _MovedWalk(_Walk):
    """With what was rounded moved by a few units in the last place, as another order of rounding would."""

    def __init__(self, known: Mapping[Expr, Any], wide: Mapping[Expr, Any], seed: int):
        self.known, self.exact, self.rng = known, wide, np.random.default_rng(seed)

    def apply(self, node: Expr, inputs: list[Any]) -> Any:
        if isinstance(node.op, Formula):
            value = super().apply(node, [self.operand(x, i) for x, i in zip(node.inputs, inputs)])
            return value if node.op.cheap else self.function(node.op, np.asarray(value))
        value = super().apply(node, inputs)
        if isinstance(node.op, (Reduce, Kernel)) and not isinstance(value, tuple) and _kind(value) == "f":
            return self.total(node, inputs, np.asarray(value))
        return value

    def function(self, op: Formula, value: Array) -> Array:
        """What a function gives, moved so far that a result may be off by what its record states."""
        return self.shifted(value, slack(op, value) / SLACK) if _kind(value) == "f" else value

    def operand(self, x: Expr, value: Any) -> Any:
        """An operand of a formula, moved where it was rounded on the way: where wide floats give otherwise, or a function gave it."""
        if isinstance(value, tuple) or _kind(value) != "f" or x.op.form == "leaf":
            return value
        if x not in self.known or (isinstance(x.op, Formula) and not x.op.cheap):
            return self.move(value, np.abs(value))
        with np.errstate(all="ignore"):
            rounded = (self.known[x] != self.exact[x]) | (self.known[x] == 0)
        return np.where(rounded, self.move(value, np.abs(value)), value)

    def total(self, node: Expr, inputs: list[Any], value: Array) -> Array:
        """A result that is summed in some order: moved by units of the sum of the magnitudes; not one that is an element of an operand."""
        divided = isinstance(node.op, Reduce) and "/" in node.op.finish  # a mean of equal elements was rounded on the way to them
        element = not divided and np.isin(value, inputs[0]).all()
        moved = value if element else self.reordered(node, inputs, value)
        # where numbers overflow, the order, and whether a product is rounded, decide whether that is an infinity, NaN or a number
        any_kind = self.rng.choice(np.array([0, np.inf, -np.inf, np.nan], value.dtype), value.shape)
        return np.where(self.overflows(node, inputs).reshape(value.shape), any_kind, moved)

    def overflows(self, node: Expr, inputs: list[Any]) -> Array:
        """Where the numbers of a result, in some order, overflow on the way, or where a product of them vanishes."""
        numbers = [np.where(np.isfinite(i), np.abs(i), 0).astype(i.dtype) if _kind(i) == "f" else i for i in inputs]
        if node.op.name != "prod":
            return ~np.isfinite(super().apply(node, numbers))
        powers = np.log2(np.where(numbers[0] == 0, 1, numbers[0]))
        reach = [np.sum(np.maximum(sign * powers, 0), axis=node.params["axes"]) for sign in (1, -1)]
        return np.maximum(*reach) >= np.finfo(numbers[0].dtype).maxexp

    def reordered(self, node: Expr, inputs: list[Any], value: Array) -> Array:
        """A sum as another order of its terms would give it."""
        if isinstance(node.op, Reduce):
            value = np.where(np.isfinite(value), value, super().apply(node, [np.flip(inputs[0], node.params["axes"])]))
        bound = super().apply(node, [np.abs(i) if _kind(i) == "f" else i for i in inputs])
        # equal terms are all rounded one way, by half a unit of what is summed so far: a lane of 8 by a quarter of its terms
        terms = np.size(inputs[0]) / max(value.size, 1) if isinstance(node.op, Reduce) else 0
        moved = self.move(value, np.abs(bound), max(MOVE, terms / 32))
        if "pad" in node.params and not all(np.isfinite(i).all() for i in inputs if _kind(i) == "f"):
            return np.where(np.isfinite(value), moved, 0)  # whether padding times infinity is NaN or nothing is left open
        return moved

    def move(self, value: Array, scale: Array, units: float = MOVE) -> Array:
        """Up or down by units in the last place of `scale`."""
        with np.errstate(all="ignore"):
            return self.shifted(value, np.where(scale == 0, 0, units * np.spacing(scale)))

    def shifted(self, value: Array, step: Array) -> Array:
        """Up or down by a step; zeros without one, and NaN, get either sign."""
        signs = self.rng.choice(np.array([-1, 1], value.dtype), value.shape)
        with np.errstate(all="ignore"):
            moved = np.where((step == 0) & (value == 0), np.copysign(value, signs), value + (signs * step).astype(value.dtype))
        return np.where(np.isfinite(value), moved, np.where(np.isnan(value), np.copysign(value, signs), value))


class _SteadyWalk(_MovedWalk):
    """The same with comparisons as they were: where moved operands never are equal, what follows from equal ones is moved here."""

    def compute(self, node: Expr, inputs: list[Any]) -> Any:
        if node in self.known and not isinstance(node.type, TupleType) and node.dtype == "bool":
            return self.known[node]
        return super().compute(node, inputs)


def _kind(value: Any) -> str:
    return np.asarray(value).dtype.kind
