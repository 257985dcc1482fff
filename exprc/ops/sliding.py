"""Windows that slide along an axis, as views: what convolutions of other kinds, neighbourhoods and locally connected layers are made of.

Window p of K elements holds the elements ``p S + u D - P``, u = 0 ... K - 1, with stride S, dilation D and P zeros before the axis. The two
records have an axis of length K at the end, in which u runs. They are each other's transpose, so both gradients are views, too::

    windows(x)[..., p, ..., u] = x[..., p S + u D - P, ..., u]            where that is inside the axis, else 0
    shares(g)[..., n, ..., u]  = g[..., (n + P - u D) / S, ..., u]        where that is a window, else 0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import Arg, ShapeError, Source, fill_dims, node_rows, normal_axes, same_dim, split_dims, view
from exprc.ops.axes import expand_dims
from exprc.ops.create import shape_of
from exprc.ops.reduce import sum_
from exprc.ops.rows import by_axis
from exprc.ops.view import broadcast_to, dim_of
from exprc.size import Dim, floordiv, mod

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["sliding_window_view"]


def entries(where: str, name: str, value: Any, count: int, least: int) -> tuple[int, ...]:
    """Return `count` integers of at least `least`: those that the user gave, or the one given, as often; `where` is for the message."""
    given = (value,) * count if isinstance(value, (int, np.integer)) else tuple(value) if isinstance(value, (tuple, list)) else ()
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= least for v in given)
    if len(given) != count or not whole:
        several = {1: "", 2: ", or two of them", 3: ", or three of them"}[count]
        raise ValueError(report(f"{where}: {name} must be an integer of at least {least}{several}: {value!r}"))
    return tuple(int(v) for v in given)


def window_count(n: Any, window: Any, stride: int, dilation: int, pad: tuple[Any, Any]) -> Any:
    """How many windows there are along an axis of length n with `pad` zeros (before, after); numbers, dims or expressions."""
    return (n + sum(pad) - ((window - 1) * dilation + 1)) // stride + 1


# -- the records -------------------------------------------------------------------------------------------------------
# Params of both: axis, stride, dilation, pad (before, after); of `shares` also size, the length of the axis (None: an input has it).


def _windows_shape(args: Sequence[Arg], axis: int, stride: int, dilation: int, pad: tuple[int, int]) -> tuple[Dim, ...]:
    x = args[0].shape
    covered = (x[-1] - 1) * dilation + 1
    free = x[axis] + pad[0] + pad[1] - covered
    if isinstance(free, int) and free < 0:
        text = f"windows that cover {covered} elements do not fit in an axis of {x[axis] + pad[0] + pad[1]} (padding included)"
        raise ShapeError(text, "smaller windows, or padding")
    return (*x[:axis], floordiv(free, stride) + 1, *x[axis + 1 :])


def _windows_index(
    i: Sequence[Dim], args: Sequence[Arg], load: Any, axis: int, stride: int, dilation: int, pad: tuple[int, int]
) -> Source:
    place = i[axis] * stride + i[-1] * dilation - pad[0]
    return Source((*i[:axis], place, *i[axis + 1 :]), conditions=((place, args[0].shape[axis]),) if any(pad) else ())


def _places(count: int, window: int, stride: int, dilation: int, pad: tuple[int, int]) -> Any:
    """Which element each window has at each of its positions, shape (count, window)."""
    return np.arange(count)[:, None] * stride + np.arange(window) * dilation - pad[0]


def _windows_numpy(x: Any, axis: int, stride: int, dilation: int, pad: tuple[int, int]) -> Any:
    places = _places(window_count(x.shape[axis], x.shape[-1], stride, dilation, pad), x.shape[-1], stride, dilation, pad)
    rows = np.moveaxis(x, axis, 0)
    inside = (places >= 0) & (places < len(rows))
    y = np.zeros((len(places), *rows.shape[1:]), x.dtype)
    for u in range(x.shape[-1]):
        y[inside[:, u], ..., u] = rows[places[inside[:, u], u], ..., u]
    return np.moveaxis(y, 0, axis)


def _windows_grad(g: Expr, y: Expr, x: Expr, axis: int, **params: Any) -> Expr:
    size, sizes = split_dims([dim_of(x, axis)])
    return shares.node((g, *sizes), {"axis": axis, "size": size, **params})


def _shares_shape(args: Sequence[Arg], axis: int, size: Any, **params: Any) -> tuple[Dim, ...]:
    g = args[0].shape
    (n,) = fill_dims(size, [a.value for a in args[1:]])
    same_dim(_windows_shape((Arg((n, g[-1]), ""),), axis=0, **params)[0], g[axis], f"an axis of {n} has another number of windows")
    return (*g[:axis], n, *g[axis + 1 :])


def _shares_index(
    i: Sequence[Dim], args: Sequence[Arg], load: Any, axis: int, size: Any, stride: int, dilation: int, pad: tuple[int, int]
) -> Source:
    start = i[axis] + pad[0] - i[-1] * dilation
    conditions = ((floordiv(start, stride), args[0].shape[axis]), *(((mod(start, stride), 1),) if stride > 1 else ()))
    return Source((*i[:axis], floordiv(start, stride), *i[axis + 1 :]), conditions=conditions)


def _shares_numpy(g: Any, *sizes: Any, axis: int, size: Any, stride: int, dilation: int, pad: tuple[int, int]) -> Any:
    n = int(fill_dims(size, sizes)[0])
    rows = np.moveaxis(g, axis, 0)
    places = _places(len(rows), g.shape[-1], stride, dilation, pad)
    inside = (places >= 0) & (places < n)
    y = np.zeros((n, *rows.shape[1:]), g.dtype)
    for u in range(g.shape[-1]):
        y[places[inside[:, u], u], ..., u] = rows[inside[:, u], ..., u]
    return np.moveaxis(y, 0, axis)


def _shares_grad(g: Expr, y: Expr, x: Expr, *sizes: Expr, size: Any, **params: Any) -> Expr:
    """`g` has zeros beyond the last window, and `y` has a place for them; the windows that `x` has are those that there are."""
    return windows.node((g,), params)


_GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"axis": 0, "stride": 1, "dilation": 1, "pad": (0, 0)},
    {"axis": 1, "stride": 2, "dilation": 3, "pad": (2, 1)},
    {"axis": 1, "stride": 4, "dilation": 1, "pad": (0, 3)},
    {"axis": 0, "stride": 3, "dilation": 2, "pad": (5, 5)},
)


def _windows_samples() -> list[Any]:
    return [((np.sin(np.arange(6 * 9 * 3.0)).reshape(6, 9, 3),), params) for params in _GEOMETRIES]


def _shares_samples() -> list[Any]:
    return [((_windows_numpy(x, **params),), {**params, "size": (x.shape[params["axis"]],)}) for (x,), params in _windows_samples()]


windows = view(
    "windows", data=1, shape=_windows_shape, index=_windows_index, numpy=_windows_numpy, grad=_windows_grad, samples=_windows_samples,
    batched=by_axis, doc="windows along an axis; the last axis counts the elements of a window, and has them already",
)  # fmt: skip
shares = view(
    "shares", data=1, shape=_shares_shape, index=_shares_index, numpy=_shares_numpy, grad=_shares_grad, samples=_shares_samples,
    batched=by_axis,
    doc="what each element of an axis is in the windows along it, for every position in a window: the transpose of windows",
)  # fmt: skip

# -- what is built of them ---------------------------------------------------------------------------------------------


def sliding(x: Expr, axis: int, window: Any, stride: int = 1, dilation: int = 1, pad: tuple[int, int] = (0, 0)) -> Expr:
    """Return the windows along an axis: that axis counts them, and a new last axis of length `window` has their elements."""
    wide = broadcast_to(expand_dims(x, x.ndim), (*shape_of(x), window))
    return windows.node((wide,), {"axis": axis, "stride": stride, "dilation": dilation, "pad": pad})


def overlapping_sum(g: Expr, axis: int, n: Any, stride: int = 1, dilation: int = 1, pad: tuple[int, int] = (0, 0)) -> Expr:
    """Return the transpose of `sliding`: each of the n elements of an axis gets the sum over the windows that hold it."""
    size, sizes = split_dims([n])
    spread = shares.node((g, *sizes), {"axis": axis, "size": size, "stride": stride, "dilation": dilation, "pad": pad})
    return sum_(spread, axis=spread.ndim - 1)  # type: ignore[no-any-return]


def sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> Expr:
    """Return every window of a shape: NumPy's ``lib.stride_tricks.sliding_window_view``.

    Parameters
    ----------
    x : array
    window_shape : int or tuple of ints
    axis : int or tuple of ints, optional
        The axis of each entry of `window_shape`, by default all axes in order.

    Returns
    -------
    shape of `x` with each of these axes shortened to ``n - window + 1``, and with `window_shape` at the end; a view: no data is moved

    Raises
    ------
    ValueError
        if window_shape and axes differ in number, or windows do not fit.

    Examples
    --------
    >>> sliding_window_view([1, 2, 3, 4], 2).eval().tolist()
    [[1, 2], [2, 3], [3, 4]]
    """
    x = as_expr(x)
    shape = tuple(window_shape) if isinstance(window_shape, (tuple, list)) else (window_shape,)
    axes = [normal_axes(a, x.ndim, "sliding_window_view")[0] for a in _named_axes(axis, x.ndim)]
    if len(axes) != len(shape):
        text = f"sliding_window_view: a window of {len(shape)} axes for {len(axes)} axes of the array"
        raise ValueError(report(text, node_rows((x,)), "name as many axes as window_shape has"))
    for a, window in zip(axes, shape):
        x = sliding(x, a, entries("sliding_window_view", "window_shape", window, 1, 1)[0])
    return x


def _named_axes(axis: Any, ndim: int) -> Sequence[Any]:
    if axis is None:
        return range(ndim)
    return axis if isinstance(axis, (tuple, list)) else (axis,)
