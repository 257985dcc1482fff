"""Borders put around an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exprc.errors import report, whole_number
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to
from exprc.ops.axes import array_row, one_axis
from exprc.ops.create import arange, shape_of
from exprc.ops.formula import maximum, minimum, mod, where
from exprc.ops.reduce import max_, mean, min_
from exprc.ops.rounding import rint
from exprc.ops.take import take
from exprc.ops.view import broadcast_to, concatenate, dim_of, place, slice_entries

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["pad"]


def _nearest(i: Any, n: Any) -> Any:
    return maximum(minimum(i, n - 1), 0)


def _mirrored(i: Any, n: Any) -> Any:
    """Back and forth between the ends, which occur once; of one element, that one."""
    period = maximum(2 * n - 2, 1)
    k = mod(i, period)
    return minimum(k, mod(period - k, period))


def _doubled(i: Any, n: Any) -> Any:
    """Back and forth between the ends, which occur twice."""
    k = mod(i, 2 * n)
    return minimum(k, 2 * n - 1 - k)


#: mode -> which element of an axis of length n stands at place i, inside and outside of it.
_PLACES: dict[str, Any] = {"edge": _nearest, "reflect": _mirrored, "symmetric": _doubled, "wrap": mod}

#: mode -> what of the axis stands in the border.
_VALUES: dict[str, Any] = {"maximum": max_, "minimum": min_, "mean": mean}


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Expr:
    """Return `x` with a border: NumPy's pad.

    Parameters
    ----------
    pad_width : a number for all sides; (before, after) for all axes; one such pair for each axis; or a dict from axes to numbers or
        pairs. Numbers are ints of 0 or more, or integer scalar expressions.
    mode : "constant"; "edge" (the nearest element), "reflect" (mirrored at the elements of the edge), "symmetric" (mirrored beyond them),
        "wrap" (from the other side); "maximum", "minimum", "mean" (of the axis).
    constant_values : for "constant", in the same forms as `pad_width`.

    Raises
    ------
    ValueError
        for another mode, or widths that do not fit the axes.

    Examples
    --------
    >>> pad([1, 2, 3], (1, 2), mode="reflect").eval().tolist()
    [2, 1, 2, 3, 2, 1]
    """
    x = as_expr(x)
    widths = _pairs("pad_width", pad_width, x)
    for side in (w for pair in widths for w in pair):
        if not isinstance(side, Expr) and whole_number(side, "pad: a width") < 0:
            raise ValueError(report(f"pad: a width must be 0 or more, not {side}", array_row(x), "use a slice to cut"))
    if mode in ("constant", "empty"):
        return _with_constant(x, widths, _pairs("constant_values", constant_values, x))
    if mode not in _PLACES and mode not in _VALUES:
        modes = ", ".join(map(repr, ("constant", *_PLACES, *_VALUES)))
        raise ValueError(report(f"pad: mode={mode!r} is not supported", array_row(x), f"choose one of {modes}"))
    for axis, (before, after) in enumerate(widths):
        if isinstance(before, Expr) or isinstance(after, Expr) or before or after:
            x = _along(x, axis, before, after, mode)
    return x


def _pairs(name: str, value: Any, x: Expr) -> list[tuple[Any, Any]]:
    """The widths (or values) of every axis as (before, after)."""
    if isinstance(value, dict):
        named = {one_axis("pad", a, x.ndim, x): pair for a, pair in value.items()}
        value = [named.get(a, 0) for a in range(x.ndim)]
        value = [[w, w] if not isinstance(w, (tuple, list)) else w for w in value]
    value = value.tolist() if hasattr(value, "tolist") and not isinstance(value, Expr) else value
    entries = list(value) if isinstance(value, (tuple, list)) else [value]
    nested = [list(e) if isinstance(e, (tuple, list)) else e for e in entries]
    if not any(isinstance(e, list) for e in nested):
        nested = [nested]
    made = [(e[0], e[-1]) if isinstance(e, list) and 1 <= len(e) <= 2 else None for e in nested]
    made = made * x.ndim if len(made) == 1 else made
    if None in made or len(made) != x.ndim:
        text = f"pad: {name} {value!r} does not fit an array of {x.ndim} axes"
        raise ValueError(report(text, array_row(x), "give a number, a pair, or one pair for each axis"))
    return made  # type: ignore[return-value]


def _with_constant(x: Expr, widths: Sequence[tuple[Any, Any]], values: Sequence[tuple[Any, Any]]) -> Expr:
    zero = all(not isinstance(v, Expr) and v == 0 for pair in values for v in pair)
    if zero:
        return _placed(x, widths)
    if len({str(v) for pair in values for v in pair}) == 1 and not isinstance(values[0][0], Expr):
        inside = _placed(broadcast_to(as_expr(True), shape_of(x)), widths)
        return where(inside, _placed(x, widths), cast_to(as_expr(values[0][0], (x.dtype,)), x.dtype))
    for axis, (pair, value) in enumerate(zip(widths, values)):
        borders = [_border(x, axis, w, cast_to(as_expr(v, (x.dtype,)), x.dtype)) for w, v in zip(pair, value)]
        x = concatenate([borders[0], x, borders[1]], axis)
    return x


def _placed(x: Expr, widths: Sequence[tuple[Any, Any]]) -> Expr:
    dims = shape_of(x)
    slices, sizes = slice_entries([slice(before, before + d) for (before, _), d in zip(widths, dims)])
    return place(x, [before + d + after for (before, after), d in zip(widths, dims)], slices, sizes)


def _border(x: Expr, axis: int, width: Any, value: Expr) -> Expr:
    return broadcast_to(value, tuple(width if a == axis else d for a, d in enumerate(shape_of(x))))  # type: ignore[no-any-return]


def _along(x: Expr, axis: int, before: Any, after: Any, mode: str) -> Expr:
    if mode in _VALUES:
        value = _VALUES[mode](x, axis=axis, keepdims=True)
        value = value if value.dtype == x.dtype else cast_to(rint(value), x.dtype)  # the mean of integers
        return concatenate([_border(x, axis, before, value), x, _border(x, axis, after, value)], axis)  # type: ignore[no-any-return]
    n = dim_of(x, axis)
    return take(x, _PLACES[mode](arange(-before, n + after), n), axis)
