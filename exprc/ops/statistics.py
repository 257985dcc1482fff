"""Reductions written in other reductions: ranges, counts, averages, and those that pass over NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, node_rows, normal_axes, restore_axes
from exprc.ops.axes import array_row
from exprc.ops.diagonal import diagonal
from exprc.ops.formula import cast, isnan, neq, sqrt, where
from exprc.ops.linalg import dot
from exprc.ops.reduce import all_, argmax, argmin, count, max_, mean, min_, prod, sum_
from exprc.ops.view import broadcast_to, concatenate, dim_of, dimshuffle
from exprc.types import float_of, is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "average", "corrcoef", "count_nonzero", "cov", "max_and_argmax", "nanargmax", "nanargmin", "nanmax", "nanmean", "nanmin", "nanprod",
    "nanstd", "nansum", "nanvar", "ptp",
]  # fmt: skip


def max_and_argmax(x: Any, axis: Any = None, keepdims: bool = False) -> tuple[Expr, Expr]:
    """Return (the largest element, its position) over axes."""
    return max_(x, axis=axis, keepdims=keepdims), argmax(x, axis=axis, keepdims=keepdims)


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Return the range, largest element minus smallest, over axes.

    >>> int(ptp([4, 9, 2]).eval())
    7
    """
    return max_(x, axis=axis, keepdims=keepdims) - min_(x, axis=axis, keepdims=keepdims)


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Return how many elements over axes are not 0, as int64 (NaN is not)."""
    return sum_(neq(x, 0), axis=axis, keepdims=keepdims)


def average(x: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """Return the weighted mean over axes: NumPy's average.

    Parameters
    ----------
    weights : of the shape of `x`, or a vector along the one axis that is named; None for the plain mean.
    returned : whether to return (average, sum of the weights).

    Raises
    ------
    ValueError
        if the weights do not have such a shape.
    """
    x = as_expr(x)
    axes = normal_axes(axis, x.ndim, "average")
    if weights is None:
        made = mean(x, axis=axes, keepdims=keepdims)
        return (made, count(x, axes, made.dtype) + made * 0) if returned else made
    w = _weights(x, as_expr(weights), axes)
    total = sum_(w, axis=axes, keepdims=keepdims)
    made = sum_(x * w, axis=axes, keepdims=keepdims) / total
    return (made, total) if returned else made


def _weights(x: Expr, w: Expr, axes: tuple[int, ...]) -> Expr:
    if w.ndim == 1 and len(axes) == 1:
        w = dimshuffle(w, tuple(0 if a == axes[0] else "x" for a in range(x.ndim)))
    elif w.ndim != x.ndim:
        text = f"average: weights of {w.ndim} axes do not fit an array of {x.ndim}"
        raise ValueError(report(text, node_rows((x, w)), "give weights of the same shape, or a vector and one axis"))
    return broadcast_to(w if is_float(w.dtype) else cast(w, float_of(x.dtype)), tuple(dim_of(x, a) for a in range(x.ndim)))


# -- passing over NaN --------------------------------------------------------------------------------------------------


def _instead(x: Any, value: float) -> Expr:
    """`x` with `value` in the place of every NaN; integers have none."""
    x = as_expr(x)
    return where(isnan(x), value, x) if is_float(x.dtype) else x


def nansum(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Expr:
    """Return the sum over axes of the elements that are not NaN; 0 where there are none."""
    return sum_(_instead(x, 0.0), axis=axis, dtype=dtype, keepdims=keepdims)


def nanprod(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Expr:
    """Return the product over axes of the elements that are not NaN; 1 where there are none."""
    return prod(_instead(x, 1.0), axis=axis, dtype=dtype, keepdims=keepdims)


def _counted(x: Expr, axes: tuple[int, ...], dtype: str) -> Expr:
    return cast(sum_(~isnan(x), axis=axes), dtype)


def nanmean(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Expr:
    """Return the mean over axes of the elements that are not NaN; NaN where there are none."""
    x = as_expr(x)
    x = cast(x, dtype if dtype is not None else float_of(x.dtype))
    axes = normal_axes(axis, x.ndim, "nanmean")
    made = sum_(_instead(x, 0.0), axis=axes) / _counted(x, axes, x.dtype)
    return restore_axes(made, axes) if keepdims else made


def nanvar(x: Any, axis: Any = None, dtype: Any = None, ddof: int = 0, keepdims: bool = False) -> Expr:
    """Return the variance over axes of the elements that are not NaN; with `ddof` divided by their number - ddof."""
    x = as_expr(x)
    x = cast(x, dtype if dtype is not None else float_of(x.dtype))
    axes = normal_axes(axis, x.ndim, "nanvar")
    off = where(isnan(x), 0.0, x - nanmean(x, axes, keepdims=True))
    left = _counted(x, axes, x.dtype) - ddof
    made = where(left > 0, sum_(off * off, axis=axes) / left, float("nan"))
    return restore_axes(made, axes) if keepdims else made


def nanstd(x: Any, axis: Any = None, dtype: Any = None, ddof: int = 0, keepdims: bool = False) -> Expr:
    """Return the standard deviation over axes of the elements that are not NaN: the root of `nanvar`."""
    return sqrt(nanvar(x, axis, dtype, ddof, keepdims))


def _nan_extreme(name: str, extreme: Any, other: float, doc: str) -> Callable[..., Expr]:
    def reduction(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
        x = as_expr(x)
        if not is_float(x.dtype):
            return extreme(x, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]
        found = extreme(_instead(x, other), axis=axis, keepdims=keepdims)
        return where(all_(isnan(x), axis=axis, keepdims=keepdims), float("nan"), found)

    reduction.__name__, reduction.__doc__ = name, doc
    return reduction


nanmax = _nan_extreme(
    "nanmax", max_, -np.inf, "Return the largest element over axes that is not NaN; NaN where there is none."
)
nanmin = _nan_extreme(
    "nanmin", min_, np.inf, "Return the smallest element over axes that is not NaN; NaN where there is none."
)


def nanargmax(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Return the position of the first largest element over axes that is not NaN; 0 where there is none."""
    return argmax(_instead(x, -np.inf), axis=axis, keepdims=keepdims)


def nanargmin(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Return the position of the first smallest element over axes that is not NaN; 0 where there is none."""
    return argmin(_instead(x, np.inf), axis=axis, keepdims=keepdims)


# -- pairs of variables ------------------------------------------------------------------------------------------------


def cov(
    x: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None, aweights: Any = None
) -> Expr:
    """Return the covariances of variables, one a row of a matrix: NumPy's cov.

    Parameters
    ----------
    y : more variables, of as many observations.
    rowvar : whether a row is a variable; False if a column is.
    bias : divide by the number of observations, not by one less; `ddof` states what to take from it.
    fweights : how often each observation counts: a vector of integers.
    aweights : how much each observation weighs: a vector.

    Raises
    ------
    ValueError
        for more than two axes.

    >>> cov([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).eval().tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    parts = [_variables(a, rowvar) for a in (x, y) if a is not None]
    m = parts[0] if len(parts) == 1 else concatenate(parts, 0)
    less = ddof if ddof is not None else 0 if bias else 1
    if fweights is None and aweights is None:
        off = m - mean(m, axis=1, keepdims=True)
        made = dot(off, dimshuffle(off, (1, 0))) / (count(m, (1,), m.dtype) - less)
    else:
        made = _weighed(m, less, fweights, aweights)
    return made[0, 0] if made.type.shape == (1, 1) else made  # type: ignore[no-any-return]


def _variables(x: Any, rowvar: bool) -> Expr:
    """A matrix whose rows are variables, in floats; a vector is one variable."""
    x = as_expr(x)
    if x.ndim > 2:
        raise ValueError(report(f"cov takes a vector or a matrix, not {x.ndim} axes", array_row(x)))
    x = x if is_float(x.dtype) else cast(x, "floatX")
    return dimshuffle(x, ("x",) * (2 - x.ndim) + tuple(range(x.ndim))) if x.ndim < 2 else x if rowvar else dimshuffle(x, (1, 0))


def _weighed(m: Expr, less: Any, fweights: Any, aweights: Any) -> Expr:
    given = [cast_to(as_expr(w), m.dtype) for w in (fweights, aweights) if w is not None]
    w = given[0] if len(given) == 1 else given[0] * given[1]
    total: Any = sum_(w)
    off = m - sum_(m * w, axis=1, keepdims=True) / total
    lost = less if aweights is None else less * sum_(w * given[-1]) / total
    return dot(off * w, dimshuffle(off, (1, 0))) / (total - lost)  # type: ignore[no-any-return]


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Expr:
    """Return the correlations of variables, one a row of a matrix: their covariances over the product of their deviations."""
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    spread = sqrt(diagonal(c))
    return c / dimshuffle(spread, (0, "x")) / dimshuffle(spread, ("x", 0))
