"""Pooling as users call it: windows over the last two or three axes, folded to their largest element, sum or average."""

from __future__ import annotations

from typing import Any

from exprc.errors import nearest, report
from exprc.expr import Expr, as_expr
from exprc.forms import node_rows, results, shape_text, split_dims
from exprc.ops.formula import cast, maximum
from exprc.ops.pool import always_hold, max_pool, reach, sum_pool, unpool
from exprc.ops.sliding import entries
from exprc.ops.view import broadcast_to, dim_of, reshape
from exprc.types import float_of, is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["max_pool_2d_same_size", "pool_2d", "pool_3d"]

MODES = ("max", "sum", "average_inc_pad", "average_exc_pad")


def pool_2d(
    input: Any, ws: Any, ignore_border: bool = True, stride: Any = None, pad: Any = (0, 0), mode: str = "max", dilation: Any = (1, 1)
) -> Expr:
    """Pool windows over the last two axes.

    Parameters
    ----------
    input : shape (..., rows, columns), at least 2 axes
    ws : int or pair
        Rows and columns of a window.
    ignore_border : bool
        Leave out windows that reach beyond the lower or right border; False keeps them, with what they hold.
    stride : int or pair, optional
        Step between windows, by default `ws`.
    pad : int or pair
        Rows and columns of padding on every side; only with ``ignore_border=True``, and smaller than what a window covers.
    mode : "max" (padding does not count), "sum", "average_inc_pad" (padding counts as zeros) or "average_exc_pad" (only the
        elements of `input` count)
    dilation : int or pair
        Step between the elements of a window, which covers ``(ws - 1) * dilation + 1`` rows or columns. A window with gaps can lie wholly
        in the padding; it gives 0 in every mode.

    Returns
    -------
    shape (..., (rows + 2 pad - covered) // stride + 1, the same for columns); with ``ignore_border=False`` one more where elements are left

    Raises
    ------
    ValueError
        for geometry that does not fit, or an unknown mode.

    Notes
    -----
    NaN is the largest of a window. Of equal largest elements the first one has the gradient.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.tensor4("x", shape=(None, 8, 28, 28))
    >>> pool_2d(x, 2).type.shape, pool_2d(x, 3, stride=2, pad=1, dilation=2).type.shape
    ((None, 8, 14, 14), (None, 8, 13, 13))
    """
    x = _checked("pool_2d", input, 2, mode)
    params = _geometry("pool_2d", 2, ws, stride, pad, dilation, ignore_border)
    images = _as_images(x, 2)
    pooled = _pooled(images, params, mode)
    return pooled if x.ndim == 4 else _with_lead(pooled, x, 2)


def pool_3d(
    input: Any, ws: Any, ignore_border: bool = True, stride: Any = None, pad: Any = (0, 0, 0), mode: str = "max",
    dilation: Any = (1, 1, 1),
) -> Expr:  # fmt: skip
    """Pool windows over the last three axes: `pool_2d` with a depth before the rows.

    Parameters
    ----------
    input : shape (..., depth, rows, columns), at least 3 axes
    ws, stride, pad, dilation : int or three ints
    ignore_border, mode : as for `pool_2d`

    Raises
    ------
    ValueError
        for geometry that does not fit, or an unknown mode.

    Notes
    -----
    Rows and columns are folded first and depth afterwards, which gives the same: the first largest element of the first largest part.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> pool_3d(T.tensor5("x", shape=(None, 8, 16, 28, 28)), (1, 2, 2)).type.shape
    (None, 8, 16, 14, 14)
    """
    x = _checked("pool_3d", input, 3, mode)
    params = _geometry("pool_3d", 3, ws, stride, pad, dilation, ignore_border)
    flat, deep = ({k: v if k == "partial" else v[part] for k, v in params.items()} for part in (slice(1, 3), slice(0, 1)))
    deep = {k: v if k == "partial" else (*v, 0 if k == "pad" else 1) for k, v in deep.items()}
    y = _pooled(_as_images(x, 2), flat, mode)
    rows, columns = dim_of(y, 2), dim_of(y, 3)
    slabs = reshape(y, (*_lead(x, 3), dim_of(x, x.ndim - 3), rows * columns))
    pooled = _pooled(slabs, deep, mode)
    return reshape(pooled, (*_shape(x, x.ndim - 3), dim_of(pooled, 2), rows, columns))  # type: ignore[no-any-return]


def max_pool_2d_same_size(input: Any, patch_size: Any) -> Expr:
    """Keep the largest element of each patch of images where it is and set all others to 0.

    Parameters
    ----------
    input : shape (images, channels, rows, columns)
    patch_size : int or pair
        Rows and columns of a patch; patches do not overlap. Rows and columns that fill no patch become 0.

    Returns
    -------
    the shape of `input`

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, 0.0, 6.0]]).reshape(1, 1, 2, 4)
    >>> max_pool_2d_same_size(x, 2).eval()[0, 0].tolist()
    [[0.0, 0.0, 0.0, 0.0], [4.0, 0.0, 0.0, 6.0]]
    """
    x = as_expr(input)
    if x.ndim != 4:
        raise ValueError(report(f"max_pool_2d_same_size: images have 4 axes, not {x.ndim}", node_rows((x,)), _IMAGES))
    params = _geometry("max_pool_2d_same_size", 2, patch_size, None, 0, 1, True)
    largest, code = results(max_pool.node((x,), params))
    size, sizes = split_dims([dim_of(x, 2), dim_of(x, 3)])
    return unpool.node((largest, code, *sizes), {**params, "size": size})


# -- what the user said ------------------------------------------------------------------------------------------------

_IMAGES = "images are (images, channels, rows, columns)"


def _checked(name: str, input: Any, axes: int, mode: str) -> Expr:
    x = as_expr(input)
    if x.ndim < axes:
        fix = _IMAGES if axes == 2 else "volumes are (images, channels, depth, rows, columns)"
        raise ValueError(report(f"{name}: at least {axes} axes are needed, not {x.ndim}", node_rows((x,)), fix))
    if mode not in MODES:
        raise ValueError(report(f"{name}: mode {mode!r} is none of {', '.join(MODES)}", node_rows((x,)), nearest(mode, MODES)))
    if x.dtype == "bool":
        raise TypeError(report(f"{name}: numbers are needed, not bool", node_rows((x,)), "cast them to 'int8' or 'floatX'"))
    return x


def _geometry(name: str, n: int, ws: Any, stride: Any, pad: Any, dilation: Any, ignore_border: bool) -> dict[str, Any]:
    window = entries(name, "ws", ws, n, 1)
    steps = window if stride is None else entries(name, "stride", stride, n, 1)
    pads, gaps = entries(name, "pad", pad, n, 0), entries(name, "dilation", dilation, n, 1)
    if any(pads) and not ignore_border:
        raise ValueError(f"{name}: padding {pads} needs ignore_border=True")
    covered = reach(window, gaps)
    if any(p >= c for p, c in zip(pads, covered)):
        what = f"the window {window}" if covered == window else f"what a window covers, {shape_text(covered)}"
        raise ValueError(f"{name}: padding {pads} must be smaller than {what}: some windows would hold nothing but padding")
    return {"window": window, "stride": steps, "pad": pads, "dilation": gaps, "partial": not ignore_border}


# -- axes --------------------------------------------------------------------------------------------------------------


def _shape(x: Expr, count: int) -> tuple[Any, ...]:
    return tuple(dim_of(x, a) for a in range(count))


def _lead(x: Expr, axes: int) -> tuple[Any, Any]:
    """The axes before the last ones as two: leading ones are merged, missing ones of length 1."""
    lead = list(_shape(x, x.ndim - axes))
    first: Any = 1
    for d in lead[: max(len(lead) - 1, 1)]:
        first = first * d
    return first, lead[-1] if len(lead) > 1 else 1


def _as_images(x: Expr, axes: int) -> Expr:
    """Return `x` with 4 axes, the last `axes` of them as they are."""
    return x if x.ndim == 4 else reshape(x, (*_lead(x, axes), *(dim_of(x, x.ndim - axes + a) for a in range(axes))))


def _with_lead(pooled: Expr, x: Expr, axes: int) -> Expr:
    return reshape(pooled, (*_shape(x, x.ndim - axes), dim_of(pooled, 2), dim_of(pooled, 3)))  # type: ignore[no-any-return]


# -- the modes ---------------------------------------------------------------------------------------------------------


def _pooled(images: Expr, params: dict[str, Any], mode: str) -> Expr:
    if mode == "max":
        return results(max_pool.node((images,), params))[0]  # type: ignore[no-any-return]
    if mode != "sum" and not is_float(images.dtype):
        images = cast(images, float_of(images.dtype))
    total = sum_pool.node((images,), params)
    return total if mode == "sum" else total / _number(images, params, mode)  # type: ignore[no-any-return]


def _number(images: Expr, params: dict[str, Any], mode: str) -> Any:
    """How many elements a window counts."""
    if mode == "average_inc_pad" and not params["partial"]:
        return float(params["window"][0] * params["window"][1])
    ones = broadcast_to(as_expr(1, (images.dtype,)), (1, 1, dim_of(images, 2), dim_of(images, 3)))
    number = sum_pool.node((ones,), params)
    return number if always_hold(**params) else maximum(number, 1)
