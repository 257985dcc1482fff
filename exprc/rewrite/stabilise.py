"""Numerics: rules that keep plain formulas from overflowing and turning into NaN, forward and through `grad`.

The left sides are what people write down from a book: ``log(softmax(x))``, ``exp(x) / sum(exp(x))``, ``log(1 +
exp(x))``, ``log(1 - sigmoid(x))``. A rule marked `through` fits also where views (transposes, slices, reshapes,
integer indices) and widening casts lie between.
"""

from __future__ import annotations

import math
from typing import Any

from exprc.expr import Expr
from exprc.forms import Composite
from exprc.ops.composite import crossentropy, log_softmax, logsumexp, softmax, softmax_crossentropy
from exprc.ops.formula import cast, exp, iota, log, sigmoid
from exprc.ops.index import gather, getitem
from exprc.ops.reduce import count, mean, sum_
from exprc.ops.view import broadcast_to, dim_of, dimshuffle, reshape, subtensor
from exprc.rewrite.engine import Rule
from exprc.rewrite.pattern import Notation
from exprc.rewrite.shapes import as_known_as, dim_key
from exprc.rewrite.simplify import FAMILIES, function_rule, keeps_values
from exprc.types import is_float, is_integer

_VIEWS = (dimshuffle, reshape, subtensor, broadcast_to, gather)


def _transparent(node: Expr) -> bool:
    """Views, and casts to a wider float dtype: an elementwise operation may as well be applied below them."""
    if node.op is cast:
        return is_float(node.inputs[0].dtype) and keeps_values(node.inputs[0].dtype, node.dtype)
    return node.op in _VIEWS


notation = Notation(*FAMILIES, transparent=_transparent)
rule = notation.rule


# -- softmax and logsumexp from their formulas --------------------------------------------------------------------------


@function_rule(
    "true_div", "exp(x) / dimshuffle(sum(exp(x), axes=(1,)), order=(0, 'x'))", "exp(x) / sum(exp(x), axes=(0,))",
    "exp(v) / sum(exp(v), axes=(0,))", inside="exp",
)  # fmt: skip
def plain_softmax(node: Expr) -> Expr | None:
    """exp(x) / sum(exp(x)) → softmax(x)"""
    e, total = node.inputs
    if e.op is not exp:
        return None
    order: tuple[Any, ...] = tuple(range(total.ndim))
    if total.op is dimshuffle:
        total, order = total.inputs[0], total.params["order"]
    if total.op is not sum_ or total.inputs[0] is not e or len(order) > e.ndim:
        return None
    axes = total.params["axes"]
    kept = [a for a in range(e.ndim) if a not in axes]
    aligned = ["x"] * (e.ndim - len(order)) + [a if a == "x" else kept[a] for a in order]
    if aligned != ["x" if a in axes else a for a in range(e.ndim)]:
        return None
    return softmax.node(e.inputs, {"axes": axes})


@function_rule("log", "log(mean(exp(x), axes=(1,)))", "log(dimshuffle(mean(exp(x), axes=(1,)), order=(0, 'x')))")
def log_mean_exp(node: Expr) -> Expr | None:
    """log(mean(exp(x))) → logsumexp(x) - log(n)"""
    views, core = _below_views(node.inputs[0])
    if core.op is not mean or core.inputs[0].op is not exp or 0 in core.inputs[0].type.shape:
        return None
    x, axes = core.inputs[0].inputs[0], core.params["axes"]
    n = count(x, axes, core.dtype)
    made: Any = logsumexp.node((x,), {"axes": axes}) - (log(n) if isinstance(n, Expr) else math.log(n))  # type: ignore[operator]
    for view in reversed(views):
        made = view.op.node((made, *view.inputs[1:]), view.params)
    return made  # type: ignore[no-any-return]


def _below_views(x: Expr) -> tuple[list[Expr], Expr]:
    views: list[Expr] = []
    while len(views) < 8 and x.inputs and _transparent(x):
        views.append(x)
        x = x.inputs[0]
    return views, x


@function_rule(
    "categorical_crossentropy binary_crossentropy", "categorical_crossentropy(subtensor(softmax(x, axes=(1,)), slices="
    "(('range', 1, None, None), ('range', None, None, None))), subtensor(k, slices=(('range', 1, None, None),)))",
    "binary_crossentropy(dimshuffle(sigmoid(x), order=(1, 0)), dimshuffle(p, order=(1, 0)))",
)  # fmt: skip
def opened_loss(node: Expr) -> Expr | None:
    """loss(view(softmax(x)), t) → its formula, in which the logarithms meet the softmax"""
    views, core = _below_views(node.inputs[0])
    wanted = softmax if node.op is crossentropy else sigmoid
    if core.op is not wanted or not isinstance(node.op, Composite):
        return None
    last = core.op is softmax and not views and core.params["axes"] == (core.ndim - 1,)
    return None if last or not views and core.op is sigmoid else node.op.open(node.inputs, node.params)


@function_rule(
    "gather", lambda v: getitem(log_softmax(v["x"]), (iota(3), v["k"])),
    lambda v: getitem(log_softmax(v["u"]), (iota(dim_of(v["k"], 0)), v["k"])),
    lambda v: getitem(log_softmax(v["u"]), (iota(dim_of(v["u"], 0)), v["k"])), inside="log_softmax",
)  # fmt: skip
def picked_log_softmax(node: Expr) -> Expr | None:
    """log_softmax(x)[arange(n), t] → -softmax_crossentropy(x, t), whose gradient needs no scatter"""
    if len(node.inputs) != 3 or node.inputs[0].op is not log_softmax or node.inputs[1].op is not iota:
        return None
    rows, x, t = node.inputs[1], node.inputs[0].inputs[0], node.inputs[2]
    if x.ndim != 2 or t.ndim != 1 or node.inputs[0].params["axes"] != (1,) or not is_integer(t.dtype):
        return None
    n, length = dim_of(rows, 0), dim_key(rows, 0)
    x = x if dim_key(x, 0) == length else getitem(x, slice(None, n))
    t = t if dim_key(t, 0) == length else broadcast_to(t, (n,))
    return as_known_as(-softmax_crossentropy(x, t), node)  # type: ignore[operator]


def _last_axis(x: Expr, a: tuple[int, ...], t: Expr) -> bool:
    return a == (x.ndim - 1,)


#: Ordered: the first rule that fits is taken.
STABILISE: list[Rule] = [
    rule("-(-x)", "x"),
    rule("0 - x", "-x"),
    rule("maximum(dim(u, axis=a), 0)", "dim(u, axis=a)"),
    rule("categorical_crossentropy(softmax(x, axes=a), t)", "softmax_crossentropy(x, t)", when=_last_axis),
    rule("binary_crossentropy(sigmoid(x), t)", "sigmoid_crossentropy(x, t)"),
    opened_loss,
    plain_softmax,
    rule("log(exp(x))", "x", through=True),
    rule("log(softmax(x, axes=a))", "log_softmax(x, axes=a)", through=True),
    rule("log(sum(exp(x), axes=a))", "logsumexp(x, axes=a)", through=True),
    log_mean_exp,
    picked_log_softmax,
    rule("log(sigmoid(x))", "-softplus(-x)", through=True),
    rule("log1p(-sigmoid(x))", "-softplus(x)", through=True),
    rule("log(1 + x)", "log1p(x)"),
    rule("log(1 - x)", "log1p(-x)"),
    rule("log1p(exp(x))", "softplus(x)", through=True),
    rule("1 - sigmoid(x)", "sigmoid(-x)", through=True),
    rule("sigmoid(x) - 1", "-sigmoid(-x)", through=True),
    rule("(exp(x) - exp(-x)) / (exp(x) + exp(-x))", "tanh(x)"),
    rule("expm1(x) / (1 + exp(x))", "tanh(0.5 * x)"),
    rule("-expm1(x) / (1 + exp(x))", "-tanh(0.5 * x)"),
    rule("exp(x) / (1 + exp(x))", "sigmoid(x)"),
    rule("inv(1 + exp(x))", "sigmoid(-x)"),
    rule("1 / (1 + exp(x))", "sigmoid(-x)"),
    rule("y / (1 + exp(x))", "y * sigmoid(-x)"),
    rule("exp(x) - 1", "expm1(x)", through=True),
    rule("exp(x) + -1", "expm1(x)", through=True),
    rule("1 - exp(x)", "-expm1(x)", through=True),
]
