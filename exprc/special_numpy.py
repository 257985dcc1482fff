"""Special functions in NumPy: the references of `exprc.ops.special`, and what computes their texts in the interpreters.

They take one number after the other, in extended precision where the machine has it, so that they are slow and exact to about
one unit in the last place; `kernels/c/special.h` has the same functions for programs. Both are held to 40 digits by the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_L: Any = np.longdouble
_PI = _L("3.14159265358979323846264338327950288")
_BERNOULLI = [1 / _L(6), -1 / _L(30), 1 / _L(42), -1 / _L(30), 5 / _L(66), -691 / _L(2730), 7 / _L(6), -3617 / _L(510),
              43867 / _L(798), -174611 / _L(330), 854513 / _L(138), -236364091 / _L(2730)]  # fmt: skip


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Apply a function of numbers (and an order) to every element of arrays that broadcast; the result has the dtype of the first."""

    def apply(*arrays: Any, order: Any = None) -> Any:
        given = arrays if order is None else (*arrays, order)
        with np.errstate(all="ignore"):
            return np.vectorize(function, otypes=[np.asarray(arrays[0]).dtype])(*given)[()]

    return apply


# -- gamma and its logarithmic derivatives -------------------------------------------------------------------------------


def _gamma(x: float) -> float:
    if x == 0:
        return math.copysign(math.inf, x)
    try:
        return math.gamma(x)
    except OverflowError:
        return math.copysign(math.inf, x)
    except ValueError:  # at -1, -2 ... and -infinity
        return math.nan


def _gammaln(x: float) -> Any:
    if not math.isfinite(x) or (x <= 0 and x == round(x)):
        return x if x != x else math.inf
    if x in (1, 2):
        return 0.0
    if x < 0:
        return np.log(_PI / abs(np.sin(_PI * (_L(x) - np.rint(_L(x)))))) - _gammaln_above(1 - _L(x))
    return _gammaln_above(_L(x))


def _gammaln_above(x: Any) -> Any:
    """Of positive numbers."""
    if x < 25:
        return _lgamma1p(x) - np.log(x) if x < 0.5 else _lgamma1p(x - 1)
    return (x - _L(0.5)) * np.log(x) - x + np.log(2 * _PI) / 2 + _stirling(x)


def _stirling(x: Any) -> Any:
    """What Stirling's formula lacks of log(gamma(x)), x >= 25."""
    return sum(b / (2 * k * (2 * k - 1)) * x ** (1 - 2 * k) for k, b in enumerate(_BERNOULLI, 1))


def _lgamma1p(a: Any) -> Any:
    """log(gamma(1 + a)), a > -1, by Stirling's series from 27 + a on; what does not depend on a cancels before it is computed."""
    n, step = _L(26), np.log1p(a / 26)
    total = -sum(np.log1p(a / k) for k in range(1, 27))
    total += (n + a + _L(0.5)) * step + a * np.log(n) - a
    return total + sum(
        b / (2 * k * (2 * k - 1)) * n ** (1 - 2 * k) * np.expm1((1 - 2 * k) * step) for k, b in enumerate(_BERNOULLI, 1)
    )


def _power_sum(x: Any, n: int) -> Any:
    """The sum of (x + k)**-(n + 1) over k >= 0, for x > 0, by Euler and Maclaurin from 25 + n on."""
    total = _L(0)
    while x < 25 + n:
        total += x ** -(n + 1)
        x += 1
    term = _L(n + 1) / 2 * x ** -(n + 2)
    total += x**-n / n + x ** -(n + 1) / 2
    for k, b in enumerate(_BERNOULLI, 1):
        total += b * term
        term *= _L(2 * k + n) * (2 * k + n + 1) / ((2 * k + 1) * (2 * k + 2)) / (x * x)
    return total


def _psi_positive(x: Any) -> Any:
    total = _L(0)
    while x < 25:
        total -= 1 / x
        x += 1
    series = sum(b / (2 * k) * x ** (-2 * k) for k, b in enumerate(_BERNOULLI, 1))
    return total + np.log(x) - 1 / (2 * x) - series


def _psi(x: float) -> Any:
    if x != x or x == math.inf:
        return x
    if x > 0:
        return _psi_positive(_L(x))
    if x == 0:
        return math.copysign(math.inf, -x)
    if x == -math.inf or x == round(x):
        return math.nan
    r = _L(x) - np.rint(_L(x))
    return _psi_positive(1 - _L(x)) - _PI / np.tan(_PI * r)


def _polygamma(x: float, order: int) -> Any:
    """The derivative of psi of an order; below 0 by its sum (difference, for even orders) with that at 1 - x, of period 1."""
    if order == 0:
        return _psi(x)
    if x != x or x == -math.inf:
        return math.nan
    odd = order % 2
    scale = _L(math.factorial(order)) * (1 if odd else -1)
    if x > 0:
        return scale * _power_sum(_L(x), order)
    r = _L(x) - np.rint(_L(x))
    if r == 0 and x != 0 and not odd:
        return math.nan
    near = _L(math.inf) if r == 0 else r ** -(order + 1)
    near += _power_sum(1 + r, order)
    beyond = _power_sum(1 - r, order) - _power_sum(1 - _L(x), order)
    return scale * (near + beyond if odd else near - beyond)


# -- error functions -----------------------------------------------------------------------------------------------------


def _erfcx(x: float) -> Any:
    if x < 25:
        return np.exp(_L(x) * _L(x)) * _L(math.erfc(x))
    z, series = 1 / (2 * _L(x) * _L(x)), _L(1)
    for k in range(19, 0, -2):
        series = 1 - k * z * series
    return series / (_L(x) * np.sqrt(_PI))


def _erfcinv_tail(z: Any) -> Any:
    """Where erfc is z, for 0 < z <= 1/2: Newton's method on the logarithms."""
    x = np.sqrt(-np.log(z) + _L(0.1))
    for _ in range(40):
        scaled = _L(_erfcx(float(x))) + (x - _L(float(x))) * (2 * x * _L(_erfcx(float(x))) - 2 / np.sqrt(_PI))
        step = (np.log(scaled) - x * x - np.log(z)) * scaled * np.sqrt(_PI) / 2
        x += step
        if abs(step) < 1e-18 * x:
            break
    return x


def _erfinv(x: float) -> Any:
    a = abs(x)
    if not a < 1:
        return math.copysign(math.inf, x) if a == 1 else math.nan
    if a > 0.5:
        return math.copysign(1, x) * _erfcinv_tail(1 - _L(a))
    y = _L(x)
    for _ in range(4):  # Newton's method; what y has beyond double counts by the derivative
        error = _L(math.erf(float(y))) + (y - _L(float(y))) * 2 / np.sqrt(_PI) * np.exp(-y * y) - _L(x)
        y -= error * np.sqrt(_PI) / 2 * np.exp(y * y)
    return y if x else x


def _erfcinv(x: float) -> Any:
    if 0.5 < x < 1.5:
        return _erfinv(1 - x)
    if 0 < x < 2:
        return _erfcinv_tail(_L(x)) if x < 1 else -_erfcinv_tail(2 - _L(x))
    return {0.0: math.inf, 2.0: -math.inf}.get(x, math.nan)


# -- Bessel functions ----------------------------------------------------------------------------------------------------


def _asymptotic(x: Any, order: int) -> list[Any]:
    """The terms of Hankel's expansion, to the smallest."""
    terms = [_L(1)]
    for k in range(1, 60):
        term = terms[-1] * (4 * order * order - (2 * k - 1) ** 2) / (8 * k * x)
        if abs(term) > abs(terms[-1]) or abs(term) < 1e-22:
            break
        terms.append(term)
    return terms


def _bessel_j(x: float, order: int) -> Any:
    if not math.isfinite(x):
        return x if x != x else math.copysign(0.0, x if order else 1)
    a, sign = _L(abs(x)), (-1 if order and math.copysign(1, x) < 0 else 1)
    if a > 30:
        terms, plus, minus = _asymptotic(a, order), np.sin(a) + np.cos(a), np.sin(a) - np.cos(a)
        even, odd = (sum((-1) ** k * t for k, t in enumerate(terms[part::2])) for part in (0, 1))
        cosine, sine = (minus, -plus) if order else (plus, minus)  # of a - pi/4 or a - 3pi/4, times sqrt(2)
        return sign / np.sqrt(_PI * a) * (even * cosine - odd * sine)
    if a == 0:
        return x if order else 1.0
    if a < 0.1:  # of small numbers the first terms of the power series
        q = a * a / 4
        series = sum((-q) ** k / (math.factorial(k) * math.factorial(k + order)) for k in range(9))
        return sign * (a / 2) ** order * series
    values = [_L(0), _L("1e-300")]  # Miller: backward recurrence from where J is negligible, then normalised
    top = int(a) + 60
    for n in range(top, 0, -1):
        values.append(2 * n / a * values[-1] - values[-2])
        if abs(values[-1]) > 1e200:
            values = [v * _L("1e-250") for v in values]
    values.reverse()
    return sign * values[order] / (values[0] + 2 * sum(values[2::2]))


def _bessel_i(x: float, order: int) -> Any:
    if not math.isfinite(x):
        return abs(x) if not order else x
    a, sign = _L(abs(x)), (-1 if order and math.copysign(1, x) < 0 else 1)
    if a > 40:
        return sign * np.exp(a) / np.sqrt(2 * _PI * a) * sum((-1) ** k * t for k, t in enumerate(_asymptotic(a, order)))
    term, total, q = _L(1), _L(1), a * a / 4
    for k in range(1, 100):
        term *= q / (k * (k + order))
        total += term
    return sign * (a / 2) ** order * total


# -- incomplete gamma functions -------------------------------------------------------------------------------------------


def _gap(a: Any, x: Any) -> Any:
    """mu - log(1 + mu), for x = a * (1 + mu)."""
    mu = (x - a) / a
    if abs(mu) > 0.35:
        return mu - np.log(x / a)
    s = mu / (2 + mu)
    return s * mu - 2 * s**3 * sum(s ** (2 * k) / (2 * k + 3) for k in range(16))


def _weight(a: Any, x: Any) -> Any:
    """x**a * exp(-x) / gamma(a + 1)."""
    if a < 25:
        return x**a * np.exp(-x - _lgamma1p(a)) if x < 1e4 else _L(0)
    return np.exp(-a * _gap(a, x) - _stirling(a)) / np.sqrt(2 * _PI * a)


_TEMME = (
    (-1 / 3, 1 / 12, -2 / 135, 1 / 864, 1 / 2835, -139 / 777600, 1 / 25515, -571 / 261273600, -281 / 151559100,
     8.296711340953086e-07, -1.7665952736826079e-07, 6.7078535434014986e-09),
    (-1 / 540, -1 / 288, 1 / 378, -77 / 77760, 7 / 34020), (25 / 6048, -139 / 51840, 1 / 1296),
)  # fmt: skip


def _temme(a: Any, x: Any, upper: bool) -> Any:
    exponent = a * _gap(a, x)
    if exponent > 750:
        return float((x > a) ^ upper)
    sign = 1 if x > a else -1
    eta = sign * np.sqrt(2 * exponent / a)
    rest = sum(sum(c * eta**n for n, c in enumerate(row)) / a**k for k, row in enumerate(_TEMME))
    rest *= np.exp(-exponent) / np.sqrt(2 * _PI * a)
    side = np.sqrt(exponent) * (sign if upper else -sign)
    return _erfc(side) / 2 + (rest if upper else -rest)


def _erfc(side: Any) -> Any:
    """The complementary error function in extended precision, from the scaled one."""
    return _L(_erfcx(float(side))) * np.exp(-side * side) if side > 0 else 2 - _erfc(-side) if side else _L(1)


def _series(a: Any, x: Any) -> Any:
    term, total, n = _L(1), _L(1), 1
    while term > 1e-21 * total:
        term *= x / (a + n)
        total += term
        n += 1
    return _weight(a, x) * total


def _fraction(a: Any, x: Any) -> Any:
    """The upper function by its continued fraction, with Lentz's method."""
    b = x + 1 - a
    c, d = _L(1e300), 1 / b
    h, i, change = d, 1, _L(2)
    while abs(change - 1) > 2e-19 and i < 100_000:
        b += 2
        d, c = 1 / (b - i * (i - a) * d), b - i * (i - a) / c
        change = c * d
        h *= change
        i += 1
    return a * _weight(a, x) * h


def _near(a: Any, x: Any) -> Any:
    """The upper function for a < 1 and small x, where 1 - lower would cancel."""
    logarithm = a * np.log(x) - _lgamma1p(a)
    power, total = _L(1), _L(0)
    for n in range(1, 30):
        power *= -x / n
        total += a * power / (a + n)
    return -np.expm1(logarithm) - np.exp(logarithm) * total


def _gamma_part(a: float, x: float, upper: bool) -> Any:
    if not (a >= 0 and x >= 0) or a == x == 0 or a == x == math.inf:
        return math.nan
    if x == 0 or a == math.inf:
        return float(upper)
    if a == 0 or x == math.inf:
        return float(not upper)
    p, q = _L(a), _L(x)
    if a > 1e5:
        return _temme(p, q, upper)
    if a < 1 and x < 1.1 and upper:
        return _near(p, q)
    value, is_upper = (_series(p, q), False) if x <= a + 1 else (_fraction(p, q), True)
    return value if is_upper == upper else 1 - value


def _gammainc_da(a: float, x: float, order: int) -> Any:
    """A derivative of the lower function by a: that of the terms x**m exp(-x) / gamma(m + 1) of its series."""
    if not (a >= 0 and x >= 0):
        return math.nan
    if x == 0 or math.inf in (float(a), float(x)):
        return 0.0
    p, q = _L(a), _L(x)
    if x > 1e8:
        steps = {1: ((-1, 0.5),), 2: ((1, 1.0), (-1, 0.0)), 3: ((-1, -0.5), (2, 0.5), (-1, 1.5))}[order]
        return sum(sign * _weight(abs(p - _L(back)), q) for sign, back in steps)
    width = 12 * math.sqrt(x) + 40
    m = p + max(0.0, math.floor(x - a - width))
    steps = m + np.arange(1, max(1, math.ceil(x + width - m)), dtype=_L)  # up to 240,000 of them, hence all at once
    weights = _weight(m, q) * np.append(_L(1), np.cumprod(q / steps))
    sums = [np.append(_L(0), np.cumsum(1 / steps**k)) for k in (1, 2, 3)]
    slope, second, third = _psi_positive(m + 1) + sums[0], _power_sum(m + 1, 1) - sums[1], -2 * _power_sum(m + 1, 2) + 2 * sums[2]
    return np.sum(weights * _bell(np.log(q) - slope, second, third, order))


def _bell(slope: Any, second: Any, third: Any, order: int) -> Any:
    """A derivative of exp(f), over exp(f), from those of f: slope, -second, -third."""
    return {1: slope, 2: slope**2 - second, 3: slope**3 - 3 * slope * second - third}[order]


gamma, gammaln, psi, polygamma = each(_gamma), each(_gammaln), each(_psi), each(_polygamma)
erf, erfc, erfcx, erfinv, erfcinv = each(math.erf), each(math.erfc), each(_erfcx), each(_erfinv), each(_erfcinv)
j0, j1 = each(lambda x: _bessel_j(x, 0)), each(lambda x: _bessel_j(x, 1))
i0, i1 = each(lambda x: _bessel_i(x, 0)), each(lambda x: _bessel_i(x, 1))
gammainc, gammaincc = each(lambda a, x: _gamma_part(a, x, False)), each(lambda a, x: _gamma_part(a, x, True))
gammainc_da = each(_gammainc_da)
