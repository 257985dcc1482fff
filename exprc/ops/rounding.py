"""Rounding: to whole numbers in several ways, which keep the dtype, and to integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from exprc.errors import nearest, report
from exprc.expr import Expr, as_expr
from exprc.forms import Formula, cast_to, formula, wrap
from exprc.ops.formula import add, cast, floor_div, function, mod, neg, neq
from exprc.types import is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "ceil", "ceil_intdiv", "divmod_", "floor", "iround", "rint", "round_", "round_half_away_from_zero", "round_half_to_even", "trunc",
]  # fmt: skip


def _whole(function: Any) -> Any:
    """A reference that leaves bools and integers as they are."""
    return lambda x: function(x) if np.asarray(x).dtype.kind == "f" else np.array(x)


def _rounding(name: str, reference: Any, doc: str, **record: Any) -> Formula:
    return formula(name, f"{name}({{x}})", numpy=_whole(reference), grad=lambda g, y, x: None, doc=doc, **record)


floor = _rounding("floor", np.floor, "the largest whole number not above x, in the dtype of x")
ceil = _rounding("ceil", np.ceil, "the smallest whole number not below x, in the dtype of x")
trunc = _rounding("trunc", np.trunc, "the whole part of x, in the dtype of x", aliases=("fix",))


def _half_away(x: Any) -> Any:
    whole = np.trunc(x)
    return np.copysign(whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0), x).astype(x.dtype)


def _round_call(x: Any, decimals: Any = 0, mode: str = "half_to_even") -> Expr:
    if isinstance(decimals, str):  # Theano's second argument
        decimals, mode = 0, decimals
    if mode not in _MODES:
        raise ValueError(report(f"round: there is no mode {mode!r}", fix=nearest(mode, [*_MODES]) or f"there are {', '.join(_MODES)}"))
    x = as_expr(x)
    if not decimals or (decimals > 0 and not is_float(x.dtype)):
        return _MODES[mode].node((x,), {})
    return _to_decimals(x, int(decimals), _MODES[mode])


def _to_decimals(x: Expr, decimals: int, op: Formula) -> Expr:
    """Round at another digit: x * 10**d is rounded and divided again, of integers in float64."""
    wide, power = x if is_float(x.dtype) else cast_to(x, "float64"), 10.0 ** abs(decimals)
    scaled: Any = wide * power if decimals > 0 else wide / power  # type: ignore[operator]
    whole: Any = op.node((scaled,), {})
    return cast_to(whole / power if decimals > 0 else whole * power, x.dtype)


round_ = _rounding(
    "round", np.rint, "the nearest whole number, in the dtype of x; halves to even, or away from 0 with ``mode='half_away_from_zero'``. "
    "``decimals`` digits are kept after the point, or cleared before it if it is negative",
    call=_round_call, aliases=("round_", "around"),
)  # fmt: skip
round_half_away_from_zero = formula(
    "round_half_away_from_zero", "round_away({x})", numpy=_whole(_half_away), grad=lambda g, y, x: None,
    doc="the nearest whole number, in the dtype of x; halves away from 0",
)  # fmt: skip
_MODES: dict[str, Formula] = {"half_to_even": round_, "half_away_from_zero": round_half_away_from_zero}


def round_half_to_even(x: Any) -> Expr:
    """Return the nearest whole numbers, in the dtype of `x`; halves to even."""
    return _round_call(x)


rint = function("rint", np.rint, lambda g, y, x: None, "the nearest whole number as a float; halves to even")


def iround(x: Any, mode: str = "half_to_even") -> Expr:
    """Return the nearest integers, as int64.

    Parameters
    ----------
    x : array of any shape and dtype. mode : "half_to_even" or "half_away_from_zero", where halves go.

    >>> import exprc.tensor as T
    >>> T.iround(T.constant([0.5, 1.5, -2.7])).eval().tolist()
    [0, 2, -3]
    """
    return cast(_round_call(x, mode=mode), "int64")  # type: ignore[no-any-return]


def ceil_intdiv(a: Any, b: Any) -> Expr:
    """Return the smallest integers not below a / b, for integers; 0 where b is 0. A size made by it stays a size.

    >>> import exprc.tensor as T
    >>> T.ceil_intdiv(T.constant([6, 7, -7]), 3).eval().tolist()
    [2, 3, -2]
    """
    a, b = wrap((a, b))
    for x in (a, b):
        if is_float(x.dtype):
            fix = "ceil(a / b) serves floats"
            raise TypeError(report(f"ceil_intdiv takes integers, not {x.dtype}", [("operand", f"{x.label}  {x.type}", x.where)], fix))
    if "uint" not in a.dtype:
        return neg(floor_div(neg(a), b))  # type: ignore[no-any-return]
    rest = mod(a, b)
    return add(floor_div(a, b), cast_to(neq(rest, 0), rest.dtype))  # type: ignore[no-any-return]


def divmod_(a: Any, b: Any) -> tuple[Expr, Expr]:
    """Return the pair of ``a // b`` and ``a % b``.

    >>> import exprc.tensor as T
    >>> [x.eval().tolist() for x in T.divmod(T.constant([7, -7]), 2)]
    [[3, -4], [1, 1]]
    """
    a, b = wrap((a, b))
    return floor_div(a, b), mod(a, b)
