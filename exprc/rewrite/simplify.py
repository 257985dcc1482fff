"""Algebra: rules that make a graph smaller and keep every value, NaN and infinities too.

Only the sign of a zero and the last bit may change.
So there is no ``x * 0 → 0`` and no ``x - x → 0`` here: both are NaN for an infinite x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from exprc.expr import Constant, Expr
from exprc.forms import Formula, Reduce, cast_to
from exprc.ops import bits, composite, formula, index, linalg, numbers, reduce, rounding, special, trig, view
from exprc.ops.formula import cast, gt, mul, where
from exprc.ops.reduce import count, sum_, unbroadcast_to
from exprc.ops.view import broadcast_to, concatenate, dim, dim_of, dimshuffle, reshape
from exprc.reference import evaluate
from exprc.rewrite.engine import Rule
from exprc.rewrite.pattern import Notation, scalar_value
from exprc.rewrite.shapes import FULL, as_known_as, dim_key, meet_shape, same_shape, size_key
from exprc.types import TensorType, is_float, is_integer

#: The files of the catalogue whose operations rules may name.
FAMILIES = (formula, bits, rounding, trig, special, numbers, view, reduce, index, linalg, composite)

notation = Notation(*FAMILIES)
rule = notation.rule


def function_rule(
    roots: str, *examples: Any, inside: str = "", apart: tuple[float, ...] = ()
) -> Callable[[Callable[[Expr], Expr | None]], Rule]:
    """Make a rule of a function; `examples` are left sides for the tests (see `Rule`), one of `inside` makes an input."""
    kinds = frozenset(inside.split())

    def make(apply: Callable[[Expr], Expr | None]) -> Rule:
        text = (apply.__doc__ or "").splitlines()[0]
        fits = (lambda names: not kinds.isdisjoint(names)) if kinds else None
        return Rule(text, apply, tuple(roots.split()), fits, frozenset(), examples, apart)

    return make


# -- constants ----------------------------------------------------------------------------------------------------------


@function_rule("*", "exp(1.5) + 2.5", "cast(2.7, dtype='int32')", inside="constant")
def fold_constants(node: Expr) -> Expr | None:
    """an operation on constants → its value, unless that is larger than they are"""
    if (
        not node.inputs
        or not all(isinstance(i, Constant) for i in node.inputs)
        or not isinstance(node.type, TensorType)
    ):
        return None
    if None in node.type.shape or node.op.form == "nested" or getattr(node.op, "effect", False):
        return None
    largest = max(i.value.size for i in node.inputs if isinstance(i, Constant))
    if math.prod(d or 0 for d in node.type.shape) > max(1, largest):
        return None
    return Constant(evaluate([node], {})[0])


@function_rule("where", "where(yes, x, y)", "where(no, x, y)", inside="constant")
def known_condition(node: Expr) -> Expr | None:
    """where(constant, x, y) → x or y"""
    condition = node.inputs[0]
    if not isinstance(condition, Constant) or condition.value.size != 1:
        return None
    taken = node.inputs[1 if condition.value.item() else 2]
    return taken if same_shape(taken, node) else None


# -- casts --------------------------------------------------------------------------------------------------------------


def keeps_values(source: str, target: str) -> bool:
    """Tell whether every value of one dtype is a value of another."""
    if source == target or source == "bool":
        return True
    if is_float(source):
        return is_float(target) and np.finfo(source).bits < np.finfo(target).bits
    if is_float(target):
        return np.iinfo(source).bits <= {"float16": 8, "float32": 16, "float64": 32}[target]
    if not is_integer(target):
        return False
    return np.iinfo(target).min <= np.iinfo(source).min and np.iinfo(source).max <= np.iinfo(target).max


@function_rule("cast", "cast(x, dtype='float32')", "cast(cast(k, dtype='float64'), dtype='int64')")
def useless_cast(node: Expr) -> Expr | None:
    """cast(x, its own dtype) → x; cast(cast(x, wider), d) → cast(x, d)"""
    x = node.inputs[0]
    if x.dtype == node.dtype:
        return x
    if x.op is cast and keeps_values(x.inputs[0].dtype, x.dtype):
        return cast_to(x.inputs[0], node.dtype)
    return None


# -- views --------------------------------------------------------------------------------------------------------------


@function_rule(
    "dimshuffle", "dimshuffle(x, order=(0, 1))", "dimshuffle(dimshuffle(x, order=(1, 'x', 0)), order=(2, 0, 'x'))"
)
def joined_dimshuffle(node: Expr) -> Expr | None:
    """dimshuffle(dimshuffle(x)) → dimshuffle(x); dimshuffle(x, axes as they are) → x"""
    x, order = node.inputs[0], node.params["order"]
    if order == tuple(range(x.ndim)):
        return x
    if x.op is not dimshuffle:
        return None
    inner = x.params["order"]
    return dimshuffle.node(x.inputs, {"order": tuple(a if a == "x" else inner[a] for a in order)})


@function_rule("reshape", "reshape(reshape(x, shape=(4, 3)), shape=(2, 6))", "reshape(x, shape=(3, 4))")
def joined_reshape(node: Expr) -> Expr | None:
    """reshape(reshape(x)) → reshape(x); reshape(x, its own shape) → x"""
    x = node.inputs[0]
    if same_shape(x, node):
        return x
    return reshape.node((x.inputs[0], *node.inputs[1:]), node.params) if x.op is reshape else None


@function_rule(
    "broadcast_to", "broadcast_to(broadcast_to(v, shape=(3, 4)), shape=(2, 3, 4))", "broadcast_to(x, shape=(3, 4))"
)
def joined_broadcast(node: Expr) -> Expr | None:
    """broadcast_to(broadcast_to(x)) → broadcast_to(x); broadcast_to(x, its own shape) → x"""
    x = node.inputs[0]
    if same_shape(x, node):
        return x
    return broadcast_to.node((x.inputs[0], *node.inputs[1:]), node.params) if x.op is broadcast_to else None


@function_rule("subtensor", "subtensor(x, slices=(('range', None, None, None), ('range', 0, None, 1)))")
def full_slices(node: Expr) -> Expr | None:
    """x[:, 0:] → x"""
    x = node.inputs[0]
    ranges = node.ndim == x.ndim and "?" not in [b for e in node.params["slices"] for b in e]
    return x if ranges and all(_is_full(e, d) for e, d in zip(node.params["slices"], x.type.shape)) else None


def _is_full(entry: tuple[Any, ...], length: int | None) -> bool:
    if entry == FULL:
        return True
    _, start, stop, step = entry
    return start in (None, 0) and step in (None, 1) and (stop is None or (length is not None and stop >= length))


@function_rule("concatenate", lambda v: concatenate([v["x"]], axis=1))
def single_concatenate(node: Expr) -> Expr | None:
    """concatenate([x]) → x"""
    return node.inputs[0] if len(node.inputs) == 1 and node.op is concatenate else None


@function_rule("dim", "dim(exp(u), axis=0)", "dim(dimshuffle(u, order=(1, 0)), axis=1)", "dim(x, axis=1)")
def known_dim(node: Expr) -> Expr | None:
    """dim(f(x)) → dim(x), or its number: the array need not be computed"""
    key = dim_key(node.inputs[0], node.params["axis"])
    if isinstance(key, int):
        return Constant(np.int64(key))
    x, axis = key
    return dim.node((x,), {"axis": axis}) if x is not node.inputs[0] else None


@function_rule("add sub mul true_div maximum minimum where", "x * broadcast_to(v, shape=(3, 4))", inside="broadcast_to")
def useless_broadcast(node: Expr) -> Expr | None:
    """f(x, broadcast_to(y)) → f(x, y) where x alone gives the shape"""
    for k, i in enumerate(node.inputs):
        if i.op is broadcast_to:
            inputs = (*node.inputs[:k], i.inputs[0], *node.inputs[k + 1 :])
            if meet_shape(inputs, node):
                return node.op.node(inputs, node.params)
    return None


# -- reductions ---------------------------------------------------------------------------------------------------------

_FOLDS = "sum prod max min any all"


@function_rule(
    f"{_FOLDS} mean",
    "sum(sum(x, axes=(0,)), axes=(0,))",
    "max(max(x, axes=(1,)), axes=(0,))",
    "mean(mean(x, axes=(1,)), axes=(0,))",
    inside="sum prod max min any all mean",
)
def joined_reduction(node: Expr) -> Expr | None:
    """sum(sum(x)) → sum(x) over the axes of both; the same for max, min, prod, any, all and mean"""
    x = node.inputs[0]
    if x.op is not node.op:
        return None
    kept = [a for a in range(x.inputs[0].ndim) if a not in x.params["axes"]]
    axes = sorted((*x.params["axes"], *(kept[a] for a in node.params["axes"])))
    return node.op.node(x.inputs, {"axes": tuple(axes)})


@function_rule(f"{_FOLDS} mean", "sum(x, axes=())")
def empty_reduction(node: Expr) -> Expr | None:
    """sum(x) over no axes → x"""
    return node.inputs[0] if isinstance(node.op, Reduce) and not node.params["axes"] else None


@function_rule(
    "sum", "sum(broadcast_to(v, shape=(3, 4)), axes=(0,))", "sum(broadcast_to(v, shape=(2, 3, 4)), axes=(0, 1))",
    inside="broadcast_to",
)
def sum_of_repeats(node: Expr) -> Expr | None:
    """sum(broadcast_to(x)) over the repeated axes → x * their length, where that is not 0: the sum of no infinities is 0"""
    wide, axes = node.inputs[0], node.params["axes"]
    if wide.op is not broadcast_to or not is_float(node.dtype) or not axes:
        return None
    x = wide.inputs[0]
    lead = wide.ndim - x.ndim
    if not all(a < lead or x.type.shape[a - lead] == 1 for a in axes) or any(wide.type.shape[a] == 0 for a in axes):
        return None
    kept = tuple(a for a in range(x.ndim) if a + lead not in axes)
    length = count(wide, axes, node.dtype)
    total = dimshuffle.node((x,), {"order": kept}) * length
    if isinstance(length, Expr):
        total = where(gt(length, 0), total, 0)
    return (
        broadcast_to(total, tuple(dim_of(node, a) for a in range(node.ndim))) if not same_shape(total, node) else total
    )


@function_rule("sum mean", "sum(-x, axes=(0,))", inside="neg")
def negative_sum(node: Expr) -> Expr | None:
    """sum(-x) → -sum(x)"""
    x = node.inputs[0]
    return -node.op.node(x.inputs, node.params) if x.op is formula.neg and is_float(x.dtype) else None  # type: ignore[operator, no-any-return]


@function_rule(
    "unbroadcast",
    lambda v: unbroadcast_to(v["u"] * 2, dimshuffle(v["v"], ("x", 0))),
    lambda v: unbroadcast_to(v["u"] * 2, v["u"]),
)
def known_unbroadcast(node: Expr) -> Expr | None:
    """unbroadcast(g, shape) → sum(g) over the axes of length 1, where it is known which these are"""
    g, shape = node.inputs[0], node.params["shape"]
    sizes = iter(node.inputs[1:])
    lead = g.ndim - len(shape)
    for axis, d in enumerate(shape):
        if d is None and dim_key(g, lead + axis) != size_key(next(sizes)):
            return None  # this axis may turn out to have length 1
    axes = (*range(lead), *(lead + a for a, d in enumerate(shape) if d == 1 and g.type.shape[lead + a] != 1))
    kept = iter(range(len(shape)))
    order = tuple("x" if lead + a in axes else next(kept) for a in range(len(shape)))
    return as_known_as(dimshuffle.node((sum_.node((g,), {"axes": axes}),), {"order": order}) if axes else g, node)


# -- arithmetic ---------------------------------------------------------------------------------------------------------


@function_rule("where maximum minimum", "where(x < y, z, z)", "maximum(x, x)", "minimum(x, x)")
def same_operands(node: Expr) -> Expr | None:
    """where(c, x, x) → x; maximum(x, x) → x"""
    a, b = node.inputs[-2:]
    return a if a is b and same_shape(a, node) else None


@function_rule("where", "where(logical_not(x < y), x, y)", inside="logical_not")
def turned_condition(node: Expr) -> Expr | None:
    """where(not c, x, y) → where(c, y, x)"""
    c, a, b = node.inputs
    return where(c.inputs[0], b, a) if c.op is formula.logical_not and c.inputs[0].dtype == "bool" else None  # type: ignore[no-any-return]


@function_rule("power", "x ** 3", "x ** 4", "x ** -2", inside="constant dimshuffle cast")
def small_power(node: Expr) -> Expr | None:
    """x**3 → x * sqr(x); x**4 → sqr(sqr(x)); x**-2 → inv(sqr(x))"""
    x, n = node.inputs[0], scalar_value(node.inputs[1])
    if n not in (3, 4, -2) or not isinstance(node.op, Formula):
        return None
    square = formula.sqr(x)
    return mul(x, square) if n == 3 else formula.sqr(square) if n == 4 else formula.inv(square)  # type: ignore[no-any-return]


#: Ordered: the first rule that fits is taken.
SIMPLIFY: list[Rule] = [
    fold_constants, known_condition, useless_cast, joined_dimshuffle, joined_reshape, joined_broadcast, full_slices,
    single_concatenate, known_dim, useless_broadcast, joined_reduction, empty_reduction, sum_of_repeats, negative_sum,
    known_unbroadcast, same_operands, turned_condition,
    rule("x + 0", "x"),
    rule("x - 0", "x"),
    rule("x * 1", "x"),
    rule("x / 1", "x"),
    rule("x // 1", "x", when=lambda x: is_integer(x.dtype)),
    rule("0 - x", "-x"),
    rule("maximum(dim(u, axis=a), 0)", "dim(u, axis=a)"),
    rule("x * -1", "-x"),
    rule("-(-x)", "x"),
    rule("x + -y", "x - y"),
    rule("x - -y", "x + y"),
    rule("-x * -y", "x * y"),
    rule("-x / -y", "x / y"),
    rule("abs(-x)", "abs(x)", when=lambda x: not x.dtype.startswith("u")),
    rule("abs(abs(x))", "abs(x)"),
    rule("abs(sqr(x))", "sqr(x)", when=lambda x: is_float(x.dtype)),
    rule("sqr(-x)", "sqr(x)"),
    rule("sqr(abs(x))", "sqr(x)"),
    rule("logical_not(logical_not(x))", "x"),
    rule("x * x", "sqr(x)"),
    rule("x ** 1", "x"),
    rule("x ** 2", "sqr(x)"),
    rule("x ** 0.5", "sqrt(x)", apart=(-np.inf,)),
    rule("x ** -0.5", "inv(sqrt(x))", apart=(-np.inf, -0.0)),
    rule("x ** -1", "inv(x)"),
    small_power,
    rule("1 / x", "inv(x)"),
    rule("x * inv(y)", "x / y"),
]  # fmt: skip
