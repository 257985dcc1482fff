"""What helps the scheduler once composites are open: fewer operations over whole arrays, equal but for the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from exprc.expr import Expr
from exprc.forms import ITEM, Formula, results
from exprc.ops import formula, trig
from exprc.ops.formula import gt, mul, where
from exprc.ops.pool import always_hold, max_pool, unpool
from exprc.ops.reduce import sum_
from exprc.rewrite.engine import Rule
from exprc.rewrite.pattern import scalar_value
from exprc.rewrite.simplify import SIMPLIFY, function_rule
from exprc.types import is_float


def _normal(value: float, dtype: str) -> bool:
    """Tell whether a number is neither 0, subnormal nor infinite in a dtype, with room to spare."""
    info = np.finfo(dtype)
    return bool(float(info.tiny) * 16 < abs(value) < float(info.max) / 16)


@function_rule("mul", "x * 2.0 * 3.0", "2.0 * (x * 0.5)", inside="mul")
def merged_factors(node: Expr) -> Expr | None:
    """(x * a) * b → x * (a * b) for numbers a and b"""
    outer, inner = _factor(node), None
    if outer is None or not is_float(node.dtype):
        return None
    inner = _factor(outer[1]) if outer[1].op is mul else None
    if inner is None:
        return None
    product = outer[0] * inner[0]
    normal = all(_normal(v, node.dtype) for v in (outer[0], inner[0], product))
    return mul(inner[1], product) if normal else None  # type: ignore[no-any-return]


def _factor(node: Expr) -> tuple[float, Expr] | None:
    """The number and the rest of a product with a number."""
    a, b = node.inputs
    for number, rest in ((a, b), (b, a)):
        value = scalar_value(number)
        if value is not None:
            return float(value), rest
    return None


@function_rule("true_div", "x / 8.0", "x / 0.25", inside="constant dimshuffle cast")
def exact_reciprocal(node: Expr) -> Expr | None:
    """x / 2**k → x * 2**-k, which is the same bit for bit"""
    x, by = node.inputs[0], scalar_value(node.inputs[1])
    if by is None or by == 1 or not _power_of_two(float(by)) or not isinstance(node.op, Formula):
        return None
    return mul(x, 1.0 / float(by))  # type: ignore[no-any-return]


def _power_of_two(value: float) -> bool:
    mantissa, exponent = np.frexp(value)
    return bool(abs(mantissa) == 0.5 and -100 < exponent < 100)


@function_rule("neg", "-(x * 3.0)", inside="mul")
def negative_factor(node: Expr) -> Expr | None:
    """-(x * a) → x * -a for a number a"""
    x = node.inputs[0]
    found = _factor(x) if x.op is mul and is_float(x.dtype) else None
    return mul(found[1], -found[0]) if found else None  # type: ignore[no-any-return]


@function_rule("where", "where(x < y, where(x < y, x, z), y)", "where(x < y, x, where(x < y, y, z))", inside="where")
def repeated_condition(node: Expr) -> Expr | None:
    """where(c, where(c, x, _), y) → where(c, x, y)"""
    c, a, b = node.inputs
    if a.op is where and a.inputs[0] is c:
        return where(c, a.inputs[1], b)  # type: ignore[no-any-return]
    if b.op is where and b.inputs[0] is c:
        return where(c, a, b.inputs[2])  # type: ignore[no-any-return]
    return None


# -- pooling ------------------------------------------------------------------------------------------------------------


def _images(v: Any) -> tuple[Any, Any]:
    """For the tests: images after a rectifier, and a gradient that comes back through their pooling."""
    u = formula.maximum(v["i"], 0)
    largest, code = results(max_pool.node((u,), _WINDOWS))
    return u, unpool.node((trig.tanh(largest), code), {**_WINDOWS, "size": (6, 6)})


_WINDOWS = {"window": (2, 2), "stride": (2, 2), "pad": (0, 0), "dilation": (1, 1), "partial": False}


def _pooled_from(back: Expr) -> tuple[Expr, Expr] | None:
    """Of ``unpool(g, code)``: the images whose pooling gave the code, and their largest elements."""
    code = back.inputs[1] if back.op is unpool else None
    if code is None or code.op is not ITEM or code.inputs[0].op is not max_pool or code.params["i"] != 1:
        return None
    pooling = code.inputs[0]
    if any(pooling.params[k] != back.params[k] for k in pooling.params):
        return None
    return pooling.inputs[0], ITEM.node((pooling,), {"i": 0})


def _at_pooled(f: Expr, u: Expr, y: Expr, depth: int = 6) -> Expr | None:
    """Return a pointwise function of the images `u` as the same function of the pooled `y`; None if it is none."""
    if f is u:
        return y
    if scalar_value(f) is not None:
        return f if f.ndim == 0 else None
    if f.op is gt and f.inputs[0] in _rectified(u) and scalar_value(f.inputs[1]) == 0:
        return gt(y, 0)  # type: ignore[no-any-return]
    if depth == 0 or not isinstance(f.op, Formula) or f.op.shape is not None or "{i" in f.op.c:
        return None
    inputs = [_at_pooled(i, u, y, depth - 1) for i in f.inputs]
    return f.op.node(tuple(i for i in inputs if i is not None), f.params) if None not in inputs else None


def _rectified(u: Expr) -> tuple[Expr, ...]:
    """What is above 0 exactly where `u` is: the operand of the rectifier that made it."""
    if u.op is formula.maximum and 0 in [scalar_value(i) for i in u.inputs]:
        return tuple(i for i in u.inputs if scalar_value(i) is None)
    if u.op is where and u.inputs[0].op is gt:  # where(x > 0, x, a * x) with a >= 0
        x, above, below = u.inputs[0].inputs[0], u.inputs[1], u.inputs[2]
        slope = _factor(below) if below.op is mul else None
        leaky = (
            x is above
            and scalar_value(u.inputs[0].inputs[1]) == 0
            and slope is not None
            and slope[1] is x
            and slope[0] >= 0
        )
        return (x,) if leaky else ()
    return ()


def _inside(back: Expr, f: Expr, combine: Any) -> Expr | None:
    found = _pooled_from(back)
    inner = _at_pooled(f, *found) if found is not None else None
    return unpool.node((combine(back.inputs[0], inner), *back.inputs[1:]), back.params) if inner is not None else None


@function_rule(
    "where", lambda v: where(gt(v["i"], 0), _images(v)[1], 0), lambda v: where(gt(_images(v)[0], 0), _images(v)[1], 0),
    lambda v: where(gt(v["i"], 0), 0, _images(v)[1]), inside="unpool",
)  # fmt: skip
def masked_unpool(node: Expr) -> Expr | None:
    """where(c(u), unpool(g, code), 0) → unpool(where(c(y), g, 0), code), y being u pooled"""
    c, a, b = node.inputs
    if scalar_value(b) == 0 and b.ndim == 0:
        return _inside(a, c, lambda g, at: where(at, g, 0))
    if scalar_value(a) == 0 and a.ndim == 0:
        return _inside(b, c, lambda g, at: where(at, 0, g))
    return None


@function_rule("mul", lambda v: _images(v)[1] * (1 - formula.sqr(_images(v)[0])), apart=(np.inf, -np.inf, np.nan), inside="unpool")
def scaled_unpool(node: Expr) -> Expr | None:
    """unpool(g, code) * f(u) → unpool(g * f(y), code), y being u pooled

    A NaN or infinity of f where nothing was unpooled is not seen any more.
    """
    a, b = node.inputs
    first = _inside(a, b, mul)
    return first if first is not None else _inside(b, a, mul)


def _two_gradients(v: Any) -> Expr:
    back = _images(v)[1]
    return back + unpool.node((back.inputs[0] * 0.5, *back.inputs[1:]), back.params)  # type: ignore[operator]


@function_rule("add", _two_gradients, inside="unpool")
def joined_unpools(node: Expr) -> Expr | None:
    """unpool(g, code) + unpool(h, code) → unpool(g + h, code)"""
    a, b = node.inputs
    alike = a.op is unpool and b.op is unpool and a.params == b.params and a.inputs[1:] == b.inputs[1:]
    return unpool.node((a.inputs[0] + b.inputs[0], *a.inputs[1:]), a.params) if alike else None  # type: ignore[operator]


@function_rule("sum", lambda v: sum_(_images(v)[1], axis=(0, 2, 3)), inside="unpool")
def sum_of_unpool(node: Expr) -> Expr | None:
    """sum(unpool(g, code)) over whole images → sum(g): every value went to one place"""
    back, axes = node.inputs[0], node.params["axes"]
    if back.op is not unpool or not {2, 3} <= set(axes) or _pooled_from(back) is None:
        return None
    return sum_.node(back.inputs[:1], {"axes": axes}) if always_hold(**back.params) else None


#: Ordered: the first rule that fits is taken. What opening composites leaves behind is simplified in the same pass.
OPTIMISE: list[Rule] = [
    *SIMPLIFY, merged_factors, exact_reciprocal, negative_factor, repeated_condition, masked_unpool, scaled_unpool, joined_unpools,
    sum_of_unpool,
]  # fmt: skip
