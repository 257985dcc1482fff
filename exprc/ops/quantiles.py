"""Quantiles: elements, or what lies between two of them, at a share of the way through the sorted values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from exprc.errors import nearest, report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, normal_axes, restore_axes
from exprc.ops.axes import array_row, moveaxis
from exprc.ops.formula import cast, eq, isinf, isnan, maximum, minimum, mul, neq, where
from exprc.ops.reduce import any_, sum_
from exprc.ops.rounding import floor, rint
from exprc.ops.sort import sort_record
from exprc.ops.take import take, take_along_axis
from exprc.ops.view import dim_of, dimshuffle, reshape, stack
from exprc.types import is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]

# -- methods: Hyndman and Fan, Sample quantiles in statistical packages, 1996, and those of NumPy --------------------------


def _between(alpha: float, beta: float) -> Callable[[Any, float], Any]:
    """The place of a quantile p among n values, counted from 0, for the plotting positions (k - alpha) / (n + 1 - alpha - beta)."""
    return lambda n, p: n * p + (alpha + p * (1 - alpha - beta)) - 1


def _line(place: Any, share: Any) -> Any:
    return share


def _least(place: Any, share: Any) -> Any:
    return where(share > 0, 1.0, 0.0)


def _times(n: Any, p: float) -> Any:
    """The product of two that are not negative, rounded: what compilers make of 5 * 0.2 - 1 by one multiply-add is not 0."""
    return maximum(n * p, 0.0)


#: method -> (the place among n sorted values, how much of the element above it counts, by the place and its fraction).
_METHODS: dict[str, tuple[Callable[[Any, float], Any], Callable[[Any, Any], Any]]] = {
    "linear": (lambda n, p: _times(n - 1, p), _line),
    "lower": (lambda n, p: _times(n - 1, p), lambda place, share: mul(share, 0.0)),
    "higher": (lambda n, p: _times(n - 1, p), _least),
    "nearest": (lambda n, p: _times(n - 1, p), lambda place, share: rint(place) - floor(place)),
    "midpoint": (lambda n, p: _times(n - 1, p), lambda place, share: where(share > 0, 0.5, 0.0)),
    "inverted_cdf": (lambda n, p: _times(n, p) - 1, _least),
    "averaged_inverted_cdf": (lambda n, p: _times(n, p) - 1, lambda place, share: where(share > 0, 1.0, 0.5)),
    "interpolated_inverted_cdf": (_between(0, 1), _line),
    "hazen": (_between(0.5, 0.5), _line),
    "weibull": (_between(0, 0), _line),
    "median_unbiased": (_between(1 / 3, 1 / 3), _line),
    "normal_unbiased": (_between(3 / 8, 3 / 8), _line),
}


# -- over axes ---------------------------------------------------------------------------------------------------------


def quantile(x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear") -> Expr:
    """Return the quantile `q` over axes: NumPy's quantile; NaN where there is one. Between infinities of one sign lies that.

    Parameters
    ----------
    q : a number, or a list of numbers, from 0 to 1; of a list the result has an axis in front.
    method : how to go between two elements: "linear", "lower", "higher", "nearest", "midpoint", "inverted_cdf",
        "averaged_inverted_cdf", "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased".

    Raises
    ------
    ValueError
        for a `q` outside of 0 to 1, another method, or if there are no elements.

    >>> float(quantile([1.0, 2.0, 3.0, 5.0], 0.5).eval()), float(quantile([1.0, 2.0, 3.0, 5.0], 0.5, method="higher").eval())
    (2.5, 3.0)
    """
    return _quantiles("quantile", x, _shares("quantile", q, 1), axis, keepdims, method)


def percentile(x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear") -> Expr:
    """Return the percentile `q` (0 to 100) over axes: ``quantile(x, q / 100)``."""
    return _quantiles("percentile", x, _shares("percentile", q, 100), axis, keepdims, method)


def median(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Return the median over axes (None: all): the middle element, or the mean of the two in the middle; NaN where there is one.

    >>> float(median([3.0, 1.0, 2.0]).eval())
    2.0
    """
    return _quantiles("median", x, np.float64(0.5), axis, keepdims, "linear")


def nanquantile(x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear") -> Expr:
    """Return the quantile `q` over axes of the elements that are not NaN; NaN where there are none. Arguments as for `quantile`.

    >>> float(nanquantile([1.0, float("nan"), 3.0], 0.5).eval())
    2.0
    """
    return _quantiles("nanquantile", x, _shares("nanquantile", q, 1), axis, keepdims, method)


def nanpercentile(x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear") -> Expr:
    """Return the percentile `q` (0 to 100) over axes of the elements that are not NaN; NaN where there are none."""
    return _quantiles("nanpercentile", x, _shares("nanpercentile", q, 100), axis, keepdims, method)


def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Return the median over axes of the elements that are not NaN; NaN where there are none."""
    return _quantiles("nanmedian", x, np.float64(0.5), axis, keepdims, "linear")


def _shares(name: str, q: Any, whole: int) -> Any:
    """The numbers `q` as shares of 1."""
    try:
        wanted = np.asarray(q, "float64")
    except (TypeError, ValueError):
        raise TypeError(report(f"{name}: q must be numbers from 0 to {whole}, known while building")) from None
    if not np.all((wanted >= 0) & (wanted <= whole)):
        raise ValueError(report(f"{name}: q must lie between 0 and {whole}, not {q}"))
    return wanted / whole


def _quantiles(name: str, x: Any, wanted: Any, axis: Any, keepdims: bool, method: str) -> Expr:
    if method not in _METHODS:
        text = f"{name}: method={method!r} is not supported"
        raise ValueError(report(text, fix=nearest(method, _METHODS) or f"choose one of {', '.join(map(repr, _METHODS))}"))
    x = as_expr(x)
    x = x if is_float(x.dtype) else cast(x, "floatX")
    axes = normal_axes(axis, x.ndim, name)
    rows = _rows(name, x, axes)
    ordered = sort_record.node((rows,), {"axis": rows.ndim - 1})  # NaN last
    gone = isnan(rows)
    pick = _of_the_numbers(ordered, gone) if name.startswith("nan") else _of_all(ordered, gone)
    made = [pick(*_METHODS[method], float(p)) for p in wanted.ravel()]
    made = [restore_axes(y, axes) for y in made] if keepdims else made
    if not wanted.ndim:
        return made[0]
    return stack(made) if wanted.ndim == 1 else reshape(stack(made), (*wanted.shape, *made[0].shape))


def _rows(name: str, x: Expr, axes: tuple[int, ...]) -> Expr:
    """The folded axes as one, the last."""
    if any(x.type.shape[a] == 0 for a in axes):
        raise ValueError(report(f"{name}: there are no elements", array_row(x)))
    kept = tuple(dim_of(x, a) for a in range(x.ndim) if a not in axes)
    total: Any = 1
    for a in axes:
        total = total * dim_of(x, a)
    return reshape(moveaxis(x, axes, tuple(range(x.ndim - len(axes), x.ndim))), (*kept, total))  # type: ignore[no-any-return]


Picked = Callable[[Any, Any, float], Expr]


def _of_all(ordered: Expr, gone: Expr) -> Picked:
    """Every row has the same number of values, so the places are those of columns; NaN where a row has one."""
    n, bad = dim_of(ordered, ordered.ndim - 1), any_(gone, axis=-1)

    def pick(place: Any, weight: Any, p: float) -> Expr:
        low, high, share = _neighbours(as_expr(n), place, weight, p, ordered.dtype)
        return where(bad, float("nan"), _mixed(take(ordered, low, -1), take(ordered, high, -1), share))  # type: ignore[no-any-return]

    return pick


def _of_the_numbers(ordered: Expr, gone: Expr) -> Picked:
    """Each row has as many values as it has numbers."""
    n = sum_(cast(~gone, "int64"), axis=-1)

    def element(k: Expr) -> Expr:
        return take_along_axis(ordered, dimshuffle(k, (*range(k.ndim), "x")), -1)[..., 0]  # type: ignore[no-any-return]

    def pick(place: Any, weight: Any, p: float) -> Expr:
        low, high, share = _neighbours(n, place, weight, p, ordered.dtype)
        return where(eq(n, 0), float("nan"), _mixed(element(low), element(high), share))  # type: ignore[no-any-return]

    return pick


def _neighbours(n: Expr, place: Any, weight: Any, p: float, dtype: str) -> tuple[Expr, Expr, Expr]:
    """The positions of the elements below and above the place, and how much the second counts."""
    at = place(cast_to(n, "float64"), p)
    below = cast(floor(at), "int64")
    share = cast_to(weight(at, at - floor(at)), dtype)
    return maximum(minimum(below, n - 1), 0), maximum(minimum(below + 1, n - 1), 0), share


def _mixed(low: Expr, high: Expr, share: Expr) -> Expr:
    """The value between two, by the share of the second; infinity minus itself, or times 0, would be NaN."""
    exact = eq(share, 0) | (isinf(low) & neq(high, -low))
    return where(exact, low, where(eq(share, 1), high, low + (high - low) * share))  # type: ignore[no-any-return]
