"""Sequences of values along an axis: slopes, convolutions of vectors, angles without jumps, powers."""

from __future__ import annotations

import math
from typing import Any

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, node_rows, wrap
from exprc.ops.axes import array_row, one_axis
from exprc.ops.create import arange, zeros_like
from exprc.ops.cumulative import cumprod, cumsum, diff
from exprc.ops.formula import abs_, cast, eq, gt, iota, logical_and, lt, maximum, minimum, mod, power, where
from exprc.ops.index import getitem
from exprc.ops.linalg import dot
from exprc.ops.pad import pad
from exprc.ops.reduce import sum_
from exprc.ops.view import concatenate, dim_of, dimshuffle
from exprc.types import float_of, is_float, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["convolve", "correlate", "cumulative_prod", "cumulative_sum", "float_power", "gradient", "unwrap", "vander"]


def _part(x: Expr, axis: int, start: Any, stop: Any) -> Expr:
    return getitem(x, (slice(None),) * axis + (slice(start, stop),))


def _floats(x: Any) -> Expr:
    x = as_expr(x)
    return x if is_float(x.dtype) else cast(x, "floatX")  # type: ignore[no-any-return]


# -- slopes ------------------------------------------------------------------------------------------------------------


def gradient(f: Any, *varargs: Any, axis: Any = None) -> Any:
    """Return the slopes of values along axes, by central differences, at the ends by one-sided ones: NumPy's gradient.

    This is of arrays of values; the derivative of an expression is `exprc.grad`.

    Parameters
    ----------
    varargs : the distance between neighbours, one for all axes or one for each: a number, or the vector of their coordinates (by
        default 1).
    axis : an axis, or a tuple of them (None: all).

    Returns
    -------
    an expression of the shape of `f` for each axis; of one axis, the expression itself.

    Raises
    ------
    ValueError
        if there are not as many distances as axes, or fewer than two elements along one.

    >>> gradient([1.0, 2.0, 4.0, 7.0]).eval().tolist()
    [1.0, 1.5, 2.5, 3.0]
    """
    f = _floats(f)
    given = range(f.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = [one_axis("gradient", a, f.ndim, f) for a in given]
    steps = list(varargs) or [1.0]
    steps = steps * len(axes) if len(steps) == 1 else steps
    if len(steps) != len(axes):
        raise ValueError(report(f"gradient: {len(steps)} distances for {len(axes)} axes", array_row(f), "give one, or one for each axis"))
    made = [_slope(f, a, cast_to(as_expr(h, (f.dtype,)), f.dtype)) for a, h in zip(axes, steps)]
    return made[0] if len(made) == 1 else tuple(made)


def _slope(f: Expr, axis: int, h: Expr) -> Expr:
    n = f.type.shape[axis]
    if n is not None and n < 2:
        raise ValueError(report(f"gradient: axis {axis} has fewer than two elements", array_row(f)))
    rise = diff(f, axis=axis)
    if not h.ndim:
        inner = (_part(rise, axis, 1, None) + _part(rise, axis, None, -1)) / (2 * h)
        return concatenate([_part(rise, axis, 0, 1) / h, inner, _part(rise, axis, -1, None) / h], axis)  # type: ignore[no-any-return]
    run = dimshuffle(diff(h), tuple(0 if a == axis else "x" for a in range(f.ndim)))
    slope = rise / run
    before, behind = _part(run, axis, None, -1), _part(run, axis, 1, None)
    inner = (_part(slope, axis, None, -1) * behind + _part(slope, axis, 1, None) * before) / (before + behind)
    return concatenate([_part(slope, axis, 0, 1), inner, _part(slope, axis, -1, None)], axis)  # type: ignore[no-any-return]


# -- convolutions of vectors -------------------------------------------------------------------------------------------


def convolve(a: Any, v: Any, mode: str = "full") -> Expr:
    """Return the convolution of two vectors: NumPy's convolve.

    Parameters
    ----------
    mode : "full" (wherever they overlap), "same" (the middle of that, as long as the longer one), "valid" (where they overlap wholly).

    >>> convolve([1, 2, 3], [1, 10]).eval().tolist()
    [1, 12, 23, 30]
    """
    a, v = _vectors("convolve", a, v, mode)
    return _overlaps(a, v, mode, 0)


def correlate(a: Any, v: Any, mode: str = "valid") -> Expr:
    """Return the sums of products of a vector with a shifted one: NumPy's correlate; `mode` as for `convolve`.

    >>> correlate([1, 2, 3, 4], [1, 10]).eval().tolist()
    [21, 32, 43]
    """
    a, v = _vectors("correlate", a, v, mode)
    n, m = dim_of(a, 0), dim_of(v, 0)
    return _overlaps(a, getitem(v, (slice(None, None, -1),)), mode, minimum(1, maximum(0, m - n)))


def _vectors(name: str, a: Any, v: Any, mode: str) -> tuple[Expr, Expr]:
    a, v = wrap((a, v))
    if a.ndim != 1 or v.ndim != 1 or 0 in (*a.type.shape, *v.type.shape):
        text = f"{name}: two vectors that are not empty are needed"
        raise ValueError(report(text, node_rows((a, v)), "conv1d and conv2d take stacks of signals and filters"))
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"{name}: mode={mode!r} is none of 'full', 'same', 'valid'")
    dtype = promote((a.dtype, v.dtype))
    return cast_to(a, dtype), cast_to(v, dtype)


def _overlaps(a: Expr, v: Expr, mode: str, later: Any) -> Expr:
    """The convolution; `later` is 1 where the middle of an even number of overlaps lies one further."""
    n, m = dim_of(a, 0), dim_of(v, 0)
    places = dimshuffle(iota(n + m - 1), (0, "x")) + iota(m)
    full = dot(getitem(pad(a, m - 1), places), getitem(v, (slice(None, None, -1),)))
    short, long = minimum(n, m), maximum(n, m)
    if mode == "full":
        return full
    start = short - 1 if mode == "valid" else (short - 1) // 2 + later * (short // 2 - (short - 1) // 2)
    return getitem(full, (slice(start, start + (long - short + 1 if mode == "valid" else long)),))


# -- running -----------------------------------------------------------------------------------------------------------


def cumulative_sum(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Expr:
    """Return the running sum along an axis, which only a vector may leave out; with `include_initial` there is a 0 in front."""
    return _running("cumulative_sum", cumsum, x, axis, dtype, 0 if include_initial else None)


def cumulative_prod(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Expr:
    """Return the running product along an axis, which only a vector may leave out; with `include_initial` there is a 1 in front."""
    return _running("cumulative_prod", cumprod, x, axis, dtype, 1 if include_initial else None)


def _running(name: str, record: Any, x: Any, axis: int | None, dtype: Any, first: int | None) -> Expr:
    x = as_expr(x)
    if axis is None and x.ndim != 1:
        raise ValueError(report(f"{name}: the axis must be named for an array of {x.ndim} dimensions", array_row(x)))
    at = one_axis(name, 0 if axis is None else axis, x.ndim, x)
    made = record(x, at, dtype)
    if first is None:
        return made  # type: ignore[no-any-return]
    ones = zeros_like(sum_(made, axis=at, keepdims=True), made.dtype) + as_expr(first, (made.dtype,))
    return concatenate([ones, made], at)  # type: ignore[no-any-return]


def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Expr:
    """Return angles with multiples of the period added so that no step along an axis is longer than half of it, in floats.

    Parameters
    ----------
    discont : steps shorter than this stay as they are, too (None: half of the period).
    period : 2 π by default.

    >>> unwrap([0.0, 3.0, -0.25], period=6.25).eval().tolist()
    [0.0, 3.0, 6.0]
    """
    p = _floats(p)
    at = one_axis("unwrap", axis, p.ndim, p)
    step, half = diff(p, axis=at), period / 2
    within = mod(step + half, period) - half
    within = where(logical_and(eq(within, -half), gt(step, 0)), half, within)
    added = where(lt(abs_(step), half if discont is None else discont), 0, within - step)
    return concatenate([_part(p, at, None, 1), _part(p, at, 1, None) + cumsum(added, at)], at)  # type: ignore[no-any-return]


# -- powers ------------------------------------------------------------------------------------------------------------


def float_power(a: Any, b: Any) -> Expr:
    """Return a to the power b in floats: integers count as ``config.floatX``, so that negative exponents give fractions."""
    a, b = wrap((a, b))
    return power(cast_to(a, float_of(a.dtype)), cast_to(b, float_of(b.dtype)))  # type: ignore[no-any-return]


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Expr:
    """Return a matrix whose columns are the powers of a vector, the highest first, or with `increasing` the lowest.

    >>> vander([2, 3], 3).eval().tolist()
    [[4, 2, 1], [9, 3, 1]]
    """
    x = as_expr(x)
    if x.ndim != 1:
        raise ValueError(report("vander takes a vector", array_row(x)))
    powers = arange(dim_of(x, 0) if N is None else N)
    made = power(dimshuffle(x, (0, "x")), cast_to(powers if increasing else getitem(powers, (slice(None, None, -1),)), x.dtype))
    return made  # type: ignore[no-any-return]
