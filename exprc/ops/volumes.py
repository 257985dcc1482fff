"""Convolution of volumes in three dimensions, as one convolution of images for all depths.

The windows along the depth stand where channels stand: a filter of D x C channels meets ``images[n d, c D + u] = x[n, c, d S + u]``. The
windows are a view and so is their transpose, so that gradients need nothing of their own.
"""

from __future__ import annotations

from typing import Any

from exprc.errors import report
from exprc.expr import Expr
from exprc.forms import node_rows, split_dims
from exprc.ops.conv import conv2d_grad_input, conv2d_grad_weight, conv2d_record, turned
from exprc.ops.convolve import check_stated, flipped, geometry, least_lengths, operands, paddings, spatial
from exprc.ops.sliding import overlapping_sum, sliding
from exprc.ops.view import dim_of, dimshuffle, reshape

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["conv3d", "conv3d_grad_wrt_inputs", "conv3d_grad_wrt_weights", "conv3d_transpose"]


def conv3d(
    input: Any,
    filters: Any,
    input_shape: Any = None,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1),
    num_groups: int = 1,
) -> Expr:
    """Convolve volumes with filters: `conv2d` with a depth before the rows.

    Parameters
    ----------
    input : float, shape (volumes, channels, depth, rows, columns)
    filters : float, shape (filters, channels / num_groups, depth, rows, columns), the depth known
    border_mode : "valid", "full", "half", an int, (depth, rows, columns), or three pairs (before, after)
    subsample, filter_dilation : int or three ints
    input_shape, filter_shape, filter_flip, num_groups : as for `conv2d`

    Returns
    -------
    shape (volumes, filters, (depth + padding - covered) // step + 1, the same for rows and columns)

    Raises
    ------
    ValueError
        if arrays are not of 5 axes, channels differ, or the filters do not fit.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, w = T.tensor5("x", shape=(None, 3, 16, 32, 32)), T.tensor5("w", shape=(8, 3, 3, 3, 3))
    >>> conv3d(x, w, border_mode="half", subsample=(2, 1, 1)).type.shape
    (None, 8, 8, 32, 32)
    """
    x, w = operands("conv3d", input, filters, 5, 5)
    check_stated("conv3d", x, "input_shape", input_shape)
    check_stated("conv3d", w, "filter_shape", filter_shape)
    params = geometry("conv3d", border_mode, subsample, filter_dilation, num_groups, 3)
    deep, flat = _parts("conv3d", params, w)
    windows = sliding(x, 2, **deep)
    made = conv2d_record.node((_slices(windows), _flat_filters(flipped(w, 3) if filter_flip else w)), flat)
    n, d, o, p, q = (dim_of(y, a) for y, a in ((x, 0), (windows, 2), (made, 1), (made, 2), (made, 3)))
    return dimshuffle(reshape(made, (n, d, o, p, q)), (0, 2, 1, 3, 4))  # type: ignore[no-any-return]


def conv3d_grad_wrt_inputs(
    output_grad: Any,
    filters: Any,
    input_shape: Any,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1),
    num_groups: int = 1,
) -> Expr:
    """Return the gradient of `conv3d` for its volumes; the parameters are those of `conv2d_grad_wrt_inputs` with a depth before the rows.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> g, w = T.tensor5("g", shape=(2, 8, 5, 5, 5)), T.tensor5("w", shape=(8, 3, 3, 3, 3))
    >>> conv3d_grad_wrt_inputs(g, w, (2, 3, 11, 11, 11), subsample=2).type.shape
    (2, 3, 11, 11, 11)
    """
    name = "conv3d_grad_wrt_inputs"
    g, w = operands(name, output_grad, filters, 5, 5)
    check_stated(name, w, "filter_shape", filter_shape)
    params = geometry(name, border_mode, subsample, filter_dilation, num_groups, 3)
    deep, flat = _parts(name, params, w)
    depth, *rest = spatial(name, "input_shape", input_shape, 3)
    size, sizes = split_dims(rest)
    turned_filters = turned(_flat_filters(flipped(w, 3) if filter_flip else w), flat["groups"])
    made = conv2d_grad_input.node((_slabs(g), turned_filters, *sizes), {**flat, "size": size})
    kd, c = deep["window"], dim_of(w, 1) * flat["groups"]
    windows = reshape(made, (dim_of(g, 0), dim_of(g, 2), c, kd, *rest))
    own = {k: v for k, v in deep.items() if k != "window"}
    y = overlapping_sum(dimshuffle(windows, (0, 2, 1, 4, 5, 3)), 2, depth, **own)
    check_stated(name, y, "input_shape", input_shape)
    return y


def conv3d_grad_wrt_weights(
    input: Any,
    output_grad: Any,
    filter_shape: Any,
    input_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1),
    num_groups: int = 1,
) -> Expr:
    """Return the gradient of `conv3d` for its filters; the parameters are those of `conv2d_grad_wrt_weights` with a depth before the rows.

    The depth of `filter_shape` must be an int.
    """
    name = "conv3d_grad_wrt_weights"
    x, g = operands(name, input, output_grad, 5, 5)
    check_stated(name, x, "input_shape", input_shape)
    params = geometry(name, border_mode, subsample, filter_dilation, num_groups, 3)
    kd, *rest = spatial(name, "filter_shape", filter_shape, 3)
    deep, flat = _split(name, params, kd, node_rows((x, g)))
    size, sizes = split_dims(rest)
    made = conv2d_grad_weight.node((_slices(sliding(x, 2, **deep)), _slabs(g), *sizes), {**flat, "size": size})
    y = reshape(made, (dim_of(g, 1), dim_of(x, 1) // flat["groups"], kd, *rest))
    check_stated(name, y, "filter_shape", filter_shape)
    return flipped(y, 3) if filter_flip else y


def conv3d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any = None,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    input_dilation: Any = (1, 1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1),
    num_groups: int = 1,
) -> Expr:
    """Convolve volumes transposed; see `conv2d_transpose`.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, w = T.tensor5("x", shape=(1, 8, 4, 4, 4)), T.tensor5("w", shape=(8, 2, 3, 3, 3))
    >>> conv3d_transpose(x, w, input_dilation=2).type.shape
    (1, 2, 9, 9, 9)
    """
    name = "conv3d_transpose"
    x, w = operands(name, input, filters, 5, 5)
    params = geometry(name, border_mode, input_dilation, filter_dilation, num_groups, 3)
    if output_shape is None:
        output_shape = (None, None, *least_lengths(x, w, params))
    return conv3d_grad_wrt_inputs(
        x, w, output_shape, filter_shape, border_mode, params["stride"], filter_flip, params["dilation"], num_groups
    )


# -- depth apart from rows and columns ---------------------------------------------------------------------------------


def _parts(name: str, params: dict[str, Any], w: Expr) -> tuple[dict[str, Any], dict[str, Any]]:
    return _split(name, params, w.type.shape[2], node_rows((w,)))


def _split(name: str, params: dict[str, Any], kd: Any, rows: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the params of `sliding` for the depth and those of the convolution of images."""
    if not isinstance(kd, int):
        fix = "give them a shape, such as (None, None, 3, None, None)"
        raise ValueError(report(f"{name}: the depth of the filters must be known", rows, fix))
    pad = params["pad"]
    (side,) = paddings(pad if isinstance(pad, str) else pad[:1], [kd], params["dilation"][:1])
    deep = {"window": kd, "stride": params["stride"][0], "dilation": params["dilation"][0], "pad": side}
    flat = {k: v if k == "groups" or isinstance(v, str) else v[1:] for k, v in params.items()}
    return deep, flat


def _slices(windows: Expr) -> Expr:
    """(n, c, d, h, w, kd) -> (n d, c kd, h, w): an image for each window along the depth."""
    n, c, d, h, w, kd = (dim_of(windows, a) for a in range(6))
    return reshape(dimshuffle(windows, (0, 2, 1, 5, 3, 4)), (n * d, c * kd, h, w))  # type: ignore[no-any-return]


def _slabs(g: Expr) -> Expr:
    """(n, o, d, p, q) -> (n d, o, p, q)"""
    n, o, d, p, q = (dim_of(g, a) for a in range(5))
    return reshape(dimshuffle(g, (0, 2, 1, 3, 4)), (n * d, o, p, q))  # type: ignore[no-any-return]


def _flat_filters(w: Expr) -> Expr:
    o, c, kd, kh, kw = (dim_of(w, a) for a in range(5))
    return reshape(w, (o, c * kd, kh, kw))  # type: ignore[no-any-return]
