"""What helps the scheduler once composites are open: fewer operations over whole arrays, the same values but for the last bit."""

from __future__ import annotations

import numpy as np

from exprc.expr import Expr
from exprc.forms import Formula
from exprc.ops.formula import mul, where
from exprc.rewrite.engine import Rule
from exprc.rewrite.pattern import scalar_value
from exprc.rewrite.simplify import SIMPLIFY, function_rule
from exprc.types import is_float


def _normal(value: float, dtype: str) -> bool:
    """Tell whether a number is neither 0, subnormal nor infinite in a dtype, with room to spare."""
    info = np.finfo(dtype)
    return bool(float(info.tiny) * 16 < abs(value) < float(info.max) / 16)


@function_rule("mul", "x * 2.0 * 3.0", "2.0 * (x * 0.5)")
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


@function_rule("true_div", "x / 8.0", "x / 0.25")
def exact_reciprocal(node: Expr) -> Expr | None:
    """x / 2**k → x * 2**-k, which is the same bit for bit"""
    x, by = node.inputs[0], scalar_value(node.inputs[1])
    if by is None or by == 1 or not _power_of_two(float(by)) or not isinstance(node.op, Formula):
        return None
    return mul(x, 1.0 / float(by))  # type: ignore[no-any-return]


def _power_of_two(value: float) -> bool:
    mantissa, exponent = np.frexp(value)
    return bool(abs(mantissa) == 0.5 and -100 < exponent < 100)


@function_rule("neg", "-(x * 3.0)")
def negative_factor(node: Expr) -> Expr | None:
    """-(x * a) → x * -a for a number a"""
    x = node.inputs[0]
    found = _factor(x) if x.op is mul and is_float(x.dtype) else None
    return mul(found[1], -found[0]) if found else None  # type: ignore[no-any-return]


@function_rule("where", "where(x < y, where(x < y, x, z), y)", "where(x < y, x, where(x < y, y, z))")
def repeated_condition(node: Expr) -> Expr | None:
    """where(c, where(c, x, _), y) → where(c, x, y)"""
    c, a, b = node.inputs
    if a.op is where and a.inputs[0] is c:
        return where(c, a.inputs[1], b)  # type: ignore[no-any-return]
    if b.op is where and b.inputs[0] is c:
        return where(c, a, b.inputs[2])  # type: ignore[no-any-return]
    return None



#: Ordered: the first rule that fits is taken. What opening composites leaves behind is simplified in the same pass.
OPTIMISE: list[Rule] = [*SIMPLIFY, merged_factors, exact_reciprocal, negative_factor, repeated_condition]
