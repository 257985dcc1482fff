"""Kinds of numbers: signs, steps, what is not finite, and whether two are close."""

from __future__ import annotations

from typing import Any

import numpy as np

from exprc.expr import Expr
from exprc.forms import broadcast, composite, first_dtype, formula, wrap
from exprc.ops.formula import (
    abs_,
    add,
    cast,
    eq,
    gt,
    isfinite,
    isnan,
    le,
    logical_and,
    logical_or,
    lt,
    mul,
    sign,
    sub,
    where,
)
from exprc.ops.reduce import all_
from exprc.types import float_of, is_float, promote

#: What `exprc.tensor` shows of this family.
__all__ = ["allclose", "copysign", "fabs", "heaviside", "isclose", "isneginf", "isposinf", "nan_to_num", "signbit"]

signbit = formula(
    "signbit", "signbit({x})", numpy=np.signbit, meet=lambda d: ((float_of(d[0]),), "bool"), grad=lambda g, y, x: None,
    doc="whether x carries a minus, -0.0 too",
)  # fmt: skip
copysign = formula(
    "copysign", "copysign({a}, {b})", numpy=np.copysign, meet="float", grad=lambda g, y, a, b: (g * sign(a) * sign(y), None),
    doc="the magnitude of a with the sign of b, that of -0.0 too",
)  # fmt: skip
fabs = formula("fabs", "abs({x})", numpy=np.fabs, meet="float", grad=lambda g, y, x: g * sign(x), doc="|x| as a float")
heaviside = formula(
    "heaviside", "{x} != {x} ? {x} : {x} < 0 ? 0 : {x} > 0 ? 1 : {h}", numpy=np.heaviside, meet="float",
    grad=lambda g, y, x, h: (None, where(eq(x, 0), g, 0)), doc="0 below 0, 1 above it, h at 0",
)  # fmt: skip
isposinf = formula(
    "isposinf", "isinf({x}) && {x} > 0", numpy=np.isposinf,
    meet=lambda d: ((float_of(d[0]),), "bool"), grad=lambda g, y, x: None, doc="whether x is +infinity",
)  # fmt: skip
isneginf = formula(
    "isneginf", "isinf({x}) && {x} < 0", numpy=np.isneginf, meet=lambda d: ((float_of(d[0]),), "bool"), grad=lambda g, y, x: None,
    doc="whether x is -infinity",
)  # fmt: skip


_ODD = np.array([0.0, 1.0, 1 + 1e-6, 1.1, np.inf, -np.inf, np.nan])


def _ends(x: Expr) -> tuple[float, float]:
    info = np.finfo(x.dtype)
    return float(info.min), float(info.max)


@composite(
    name="nan_to_num", shape=lambda args, **p: args[0].shape, dtype=first_dtype,
    numpy=lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
    samples=lambda: [((_ODD,), {"nan": 0.0, "posinf": None, "neginf": None}),
                     ((_ODD.astype("float32"),), {"nan": -1.0, "posinf": 9.0, "neginf": -9.0})],
)  # fmt: skip
def nan_to_num(x: Expr, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    "x with NaN as `nan`, and infinities as `posinf` and `neginf` (if None, the ends of the range of the dtype)"
    if not is_float(x.dtype):
        return cast(x, x.dtype)
    low, high = _ends(x)
    high, low = (high if posinf is None else posinf), (low if neginf is None else neginf)
    finite = where(gt(x, _ends(x)[1]), high, where(lt(x, _ends(x)[0]), low, x))
    return where(isnan(x), nan, finite)


def _isclose_numpy(a: Any, b: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    return np.isclose(a, b, rtol, atol, equal_nan)


@composite(
    name="isclose", shape=lambda args, **p: broadcast([a.shape for a in args]), dtype=lambda dtypes, **p: "bool", numpy=_isclose_numpy,
    samples=lambda: [((_ODD, x), {"rtol": r, "atol": 1e-8, "equal_nan": r > 1e-5})
                     for x in (_ODD, _ODD[:, None], np.array(1.0)) for r in (1e-5, 0.2)],
)  # fmt: skip
def isclose(a: Expr, b: Expr, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    "whether |a - b| <= atol + rtol * |b|, as bool; infinities are close to themselves only, NaN to NaN if `equal_nan`"
    dtype = promote([a.dtype, b.dtype])
    x, y = (cast(v, dtype if is_float(dtype) else "float64") for v in (a, b))
    near = logical_and(isfinite(y), le(abs_(sub(x, y)), add(mul(abs_(y), rtol), atol)))
    close = logical_or(eq(x, y), near)
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Expr:
    """Tell whether all elements are close, see `isclose`: a scalar of dtype bool.

    >>> import exprc.tensor as T
    >>> bool(T.allclose(T.constant([1.0, 2.0]), T.constant([1.0, 2.0000001])).eval())
    True
    """
    a, b = wrap((a, b))
    return all_(isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan))  # type: ignore[no-any-return]
