"""Special functions: of the error, gamma and Bessel families, and logarithms that are 0 at 0.

Their texts call ``kernels/c/special.h``; `exprc.special_numpy` has the references.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from exprc import special_numpy as reference
from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import Formula, cast_to, formula
from exprc.ops.formula import eq, exp, function, log, sqr, true_div, where
from exprc.types import float_of

#: What `exprc.tensor` shows of this family.
__all__ = [
    "chi2sf", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "gamma", "gammainc", "gammaincc", "gammaln", "i0", "i1", "j0", "j1", "polygamma",
    "psi", "tri_gamma", "xlogx", "xlogy",
]  # fmt: skip

# -- error functions -----------------------------------------------------------------------------------------------------

_SLOPE = 2 / math.sqrt(math.pi)

erf = function("erf", reference.erf, lambda g, y, x: g * _SLOPE * exp(-sqr(x)), "error function, 2/sqrt(pi) * integral of exp(-t**2) to x")
erfc = function("erfc", reference.erfc, lambda g, y, x: -g * _SLOPE * exp(-sqr(x)), "1 - erf(x), accurate where that is small")
erfcx = function(
    "erfcx", reference.erfcx, lambda g, y, x: g * (2 * x * y - _SLOPE), "exp(x**2) * erfc(x), finite where erfc underflows"
)
erfinv = function(
    "erfinv", reference.erfinv, lambda g, y, x: g / _SLOPE * exp(sqr(y)), "inverse of erf, on -1 to 1; NaN outside"
)
erfcinv = function(
    "erfcinv", reference.erfcinv, lambda g, y, x: -g / _SLOPE * exp(sqr(y)), "inverse of erfc, on 0 to 2; NaN outside"
)

# -- gamma family --------------------------------------------------------------------------------------------------------

gamma = function(
    "gamma", reference.gamma, lambda g, y, x: g * y * psi(x), "gamma function, (x - 1)! at whole x; NaN at -1, -2 ...", ulps=16
)
gammaln = function("gammaln", reference.gammaln, lambda g, y, x: g * psi(x), "log(|gamma(x)|), infinite at 0, -1, -2 ...", least=1 / 4)
psi: Formula = function(
    "psi", reference.psi, lambda g, y, x: g * tri_gamma(x), "digamma function, the derivative of gammaln; NaN at -1, -2 ...",
    aliases=("digamma",), least=1,
)  # fmt: skip


def _polygamma_call(n: int, x: Any) -> Expr:
    x = as_expr(x)
    if not 0 <= int(n) <= 100:
        raise ValueError(report(f"polygamma: the order must be between 0 and 100, not {n}", [("operand", f"{x.label}  {x.type}", x.where)]))
    return polygamma.node((cast_to(x, float_of(x.dtype)),), {"order": int(n)})


_POINTS = np.array([0.3, 1.0, 2.5, 7.25, 40.0, 1e4])
_MIDDLE = np.array([0.8, 1.5, 2.5, -0.4, -1.6])

polygamma = formula(
    "polygamma", "polygamma({x}, {order})", data=1, meet="float", cheap=False, call=_polygamma_call, numpy=reference.polygamma,
    grad=lambda g, y, x, order: g * _polygamma_call(order + 1, x), ulps=64, least=1,
    samples=lambda: [((x,), {"order": n}) for n in (0, 1) for x in (_POINTS, _POINTS.astype("float32"))]
    + [((_MIDDLE,), {"order": n}) for n in (1, 2, 3)],
    doc="polygamma(n, x), the n-th derivative of psi, n >= 0 a number; infinite or NaN at 0, -1, -2 ...",
)  # fmt: skip


def tri_gamma(x: Any) -> Expr:
    """Return the trigamma function, the derivative of `psi`, element by element.

    Parameters
    ----------
    x : array of any shape; integers count as ``config.floatX``.

    >>> import exprc.tensor as T
    >>> round(float(T.tri_gamma(T.constant(1.0)).eval()), 6)  # pi**2 / 6
    1.644934
    """
    return _polygamma_call(1, x)


def _gammainc_grad(side: int) -> Any:
    """By x the density x**(a-1) exp(-x) / gamma(a); by a the sum of the derivatives of the series' terms."""

    def rule(g: Expr, y: Expr, a: Expr, x: Expr) -> Any:
        return side * g * gammainc_da.node((a, x), {"order": 1}), side * g * _density(a, x)

    return rule


def _density_da(a: Expr, x: Expr, order: int) -> Any:
    """The derivative by a, of order 1 or 2, of the density that is the derivative of gammainc by x."""
    slope = log(x) - psi(a)
    return _density(a, x) * (slope if order == 1 else sqr(slope) - tri_gamma(a))


def _density(a: Expr, x: Expr) -> Any:
    return exp((a - 1) * log(x) - x - gammaln(a))


def _da_grad(g: Expr, y: Expr, a: Expr, x: Expr, order: int) -> Any:
    if order > 2:
        rows = [("operand", f"{a.label}  {a.type}", a.where)]
        raise TypeError(report("grad: gammainc has three derivatives by its first operand, not four", rows, "wrap it in disconnected_grad"))
    return g * gammainc_da.node((a, x), {"order": order + 1}), g * _density_da(a, x, order)


_SHAPES = np.array([[0.3, 0.8, 2.0, 5.5]])
_ENDS = np.array([[0.2], [0.9], [3.0], [6.0]])

gammainc = formula(
    "gammainc", "gammainc({a}, {x})", numpy=reference.gammainc, meet="float", cheap=False, grad=_gammainc_grad(1), ulps=4096,
    doc="lower incomplete gamma function, regularised: integral of t**(a-1) exp(-t) from 0 to x, divided by gamma(a)",
)  # fmt: skip
gammaincc = formula(
    "gammaincc", "gammaincc({a}, {x})", numpy=reference.gammaincc, meet="float", cheap=False, grad=_gammainc_grad(-1), ulps=4096,
    doc="upper incomplete gamma function, regularised: 1 - gammainc(a, x), accurate where that is small",
)  # fmt: skip
gammainc_da = formula(
    "gammainc_da", "gammainc_da({a}, {x}, {order})", data=2, numpy=reference.gammainc_da, meet="float", cheap=False, grad=_da_grad,
    ulps=4096, least=1,
    samples=lambda: [((_SHAPES, _ENDS), {"order": 1}), ((_SHAPES.astype("float32"), _ENDS.astype("float32")), {"order": 1})],
    doc="the derivative of gammainc(a, x) by a, of order 1, 2 or 3",
)  # fmt: skip


def chi2sf(x: Any, k: Any) -> Expr:
    """Return the probability that a chi-squared variable of `k` degrees of freedom exceeds `x`: gammaincc(k / 2, x / 2).

    >>> import exprc.tensor as T
    >>> round(float(T.chi2sf(T.constant(2.0), 2).eval()), 6)  # exp(-1)
    0.367879
    """
    return gammaincc(true_div(k, 2), true_div(x, 2))  # type: ignore[no-any-return]


# -- Bessel functions ----------------------------------------------------------------------------------------------------


def _j1_grad(g: Expr, y: Expr, x: Expr) -> Expr:
    at_zero = eq(x, 0)
    return g * (j0(x) - where(at_zero, 0.5, y / where(at_zero, 1, x)))


def _i1_grad(g: Expr, y: Expr, x: Expr) -> Expr:
    at_zero = eq(x, 0)
    return g * (i0(x) - where(at_zero, 0.5, y / where(at_zero, 1, x)))


j0: Formula = function("j0", reference.j0, lambda g, y, x: -g * j1(x), "Bessel function of the first kind, order 0", ulps=64, least=1 / 16)
j1: Formula = function("j1", reference.j1, _j1_grad, "Bessel function of the first kind, order 1", ulps=64, least=1 / 16)
i0: Formula = function("i0", reference.i0, lambda g, y, x: g * i1(x), "modified Bessel function of the first kind, order 0", ulps=16)
i1: Formula = function("i1", reference.i1, _i1_grad, "modified Bessel function of the first kind, order 1", ulps=16)

# -- logarithms that are 0 at 0 ------------------------------------------------------------------------------------------


def _xlogy(x: Any, y: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where((x == 0) & (y == y), np.zeros_like(x), x * np.log(y))


xlogx = formula(
    "xlogx", "{x} == 0 ? 0 : {x} * log({x})", numpy=lambda x: _xlogy(x, x), meet="float", cheap=False,
    grad=lambda g, y, x: g * (1 + log(x)), doc="x * log(x), and 0 at 0",
)  # fmt: skip
xlogy = formula(
    "xlogy", "{x} == 0 && {y} == {y} ? 0 : {x} * log({y})", numpy=_xlogy, meet="float", cheap=False,
    grad=lambda g, z, x, y: (g * log(y), g * x / y), aliases=("xlogy0",), doc="x * log(y), and 0 where x is 0 and y is not NaN",
)  # fmt: skip
