"""Convolution as users call it: of images, of lines, its transposes, separable, and the sizes of what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr
from exprc.forms import cast_to, node_rows, shape_text, split_dims, wrap
from exprc.ops.axes import expand_dims
from exprc.ops.conv import conv2d_grad_input, conv2d_grad_weight, conv2d_record, meet_as_floats, turned
from exprc.ops.sliding import entries, window_count
from exprc.ops.unshared import unshared_conv2d
from exprc.ops.view import dim_of, getitem

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "causal_conv1d", "conv1d", "conv2d", "conv2d_grad_wrt_inputs", "conv2d_grad_wrt_weights", "conv2d_transpose", "get_conv_output_shape",
    "separable_conv2d",
]  # fmt: skip

# -- images ------------------------------------------------------------------------------------------------------------


def conv2d(
    input: Any,
    filters: Any,
    input_shape: Any = None,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Expr:
    """Convolve images with filters: ``y[n, o] = sum over channels c of x[n, c] * filters[o, c]``.

    Parameters
    ----------
    input : float, shape (images, channels, rows, columns)
    filters : float, shape (filters, channels / num_groups, rows, columns)
    input_shape, filter_shape : tuples of int or None, optional
        Compared with what is known of the arrays.
    border_mode : "valid" (no padding), "full" (every overlap), "half" (half of the filter: odd filters keep the size), an int,
        (rows, columns), or ((top, bottom), (left, right))
        Zeros around the images.
    subsample : int or pair
        Step between outputs.
    filter_flip : bool
        Reverse the filters, as in the mathematical convolution; False gives a correlation.
    filter_dilation : int or pair
        Step between the elements of a filter on the image.
    num_groups : int
        Split channels and filters in groups that do not mix.
    unshared : bool
        Take other filters at every place of the result (a locally connected layer): `filters` then have shape
        (filters, rows of the result, columns of the result, channels / num_groups, rows, columns).

    Returns
    -------
    shape (images, filters, (rows + padding - covered) // step + 1, the same for columns), where a filter of k rows covers
    ``(k - 1) * dilation + 1``

    Raises
    ------
    ValueError
        if arrays are not of 4 axes, channels differ, or the filters do not fit in the padded images.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, w = T.tensor4("x", shape=(None, 3, 32, 32)), T.tensor4("w", shape=(16, 3, 5, 5))
    >>> conv2d(x, w, border_mode="half", subsample=2).type.shape
    (None, 16, 16, 16)
    """
    x, w = operands("conv2d", input, filters, 4, 6 if unshared else 4, "x.dimshuffle('x', 'x', 0, 1) makes one of a matrix")
    check_stated("conv2d", x, "input_shape", input_shape)
    check_stated("conv2d", w, "filter_shape", filter_shape)
    params = geometry("conv2d", border_mode, subsample, filter_dilation, num_groups)
    if unshared:
        return unshared_conv2d(x, flipped(w, 2) if filter_flip else w, params)
    y = conv2d_record.node((x, w), params)  # made of the filters as given, so that a message names them
    return conv2d_record.node((x, flipped(w, 2)), params) if filter_flip else y


def conv2d_grad_wrt_inputs(
    output_grad: Any,
    filters: Any,
    input_shape: Any,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
) -> Expr:
    """Return the gradient of `conv2d` for its images.

    Parameters
    ----------
    output_grad : float, shape (images, filters, rows, columns)
        The gradient for the result of `conv2d`.
    filters : float, shape (filters, channels / num_groups, rows, columns), those given to `conv2d`
    input_shape : the shape of the images, four ints, expressions or None; rows and columns must be given
    filter_shape, border_mode, subsample, filter_flip, filter_dilation, num_groups : those given to `conv2d`

    Returns
    -------
    shape (images, channels, rows, columns), the last two those of `input_shape`

    Raises
    ------
    ValueError
        if images of that shape do not have results of the shape of `output_grad`.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> g, w = T.tensor4("g", shape=(2, 16, 14, 14)), T.tensor4("w", shape=(16, 3, 5, 5))
    >>> conv2d_grad_wrt_inputs(g, w, (2, 3, 32, 32), subsample=2).type.shape
    (2, 3, 32, 32)
    """
    name = "conv2d_grad_wrt_inputs"
    g, w = operands(name, output_grad, filters, 4, 4)
    check_stated(name, w, "filter_shape", filter_shape)
    params = geometry(name, border_mode, subsample, filter_dilation, num_groups)
    size, sizes = split_dims(spatial(name, "input_shape", input_shape))
    w = flipped(w, 2) if filter_flip else w
    y = conv2d_grad_input.node((g, turned(w, params["groups"]), *sizes), {**params, "size": size})
    check_stated(name, y, "input_shape", input_shape)
    return y


def conv2d_grad_wrt_weights(
    input: Any,
    output_grad: Any,
    filter_shape: Any,
    input_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
) -> Expr:
    """Return the gradient of `conv2d` for its filters.

    Parameters
    ----------
    input : float, shape (images, channels, rows, columns), those given to `conv2d`
    output_grad : float, shape (images, filters, rows, columns)
        The gradient for the result of `conv2d`.
    filter_shape : the shape of the filters, four ints, expressions or None; rows and columns must be given
    input_shape, border_mode, subsample, filter_flip, filter_dilation, num_groups : those given to `conv2d`

    Returns
    -------
    shape (filters, channels / num_groups, rows, columns), the last two those of `filter_shape`

    Raises
    ------
    ValueError
        if filters of that shape do not have results of the shape of `output_grad`.
    """
    name = "conv2d_grad_wrt_weights"
    x, g = operands(name, input, output_grad, 4, 4)
    check_stated(name, x, "input_shape", input_shape)
    params = geometry(name, border_mode, subsample, filter_dilation, num_groups)
    size, sizes = split_dims(spatial(name, "filter_shape", filter_shape))
    y = conv2d_grad_weight.node((x, g, *sizes), {**params, "size": size})
    check_stated(name, y, "filter_shape", filter_shape)
    return flipped(y, 2) if filter_flip else y


def conv2d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any = None,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    input_dilation: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
) -> Expr:
    """Convolve transposed ("deconvolve"): the gradient of a `conv2d` for its images, used as an operation of its own.

    Parameters
    ----------
    input : float, shape (images, channels, rows, columns)
    filters : float, shape (channels, channels of the result / num_groups, rows, columns)
        As for the `conv2d` that would lead back from the result to `input`: the order of the channels is that of `conv2d` reversed.
    output_shape : the shape of the result, four ints, expressions or None; optional
        By default the smallest that fits: ``(rows - 1) * input_dilation + covered - padding``, where a filter of k rows covers
        ``(k - 1) * filter_dilation + 1``. With a step of s there are s sizes that fit.
    border_mode : as for `conv2d`; what it would pad is cut from the result
    input_dilation : int or pair
        The step of that `conv2d`; here the elements of `input` move so far apart.
    filter_shape, filter_flip, filter_dilation, num_groups : as for `conv2d`

    Raises
    ------
    ValueError
        if `output_shape` does not fit.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, w = T.tensor4("x", shape=(None, 64, 7, 7)), T.tensor4("w", shape=(64, 32, 5, 5))
    >>> conv2d_transpose(x, w, (None, 32, 14, 14), border_mode="half", input_dilation=2).type.shape
    (None, 32, 14, 14)
    """
    name = "conv2d_transpose"
    x, w = operands(name, input, filters, 4, 4)
    params = geometry(name, border_mode, input_dilation, filter_dilation, num_groups)
    if output_shape is None:
        output_shape = (None, None, *least_lengths(x, w, params))
    return conv2d_grad_wrt_inputs(
        x, w, output_shape, filter_shape, border_mode, params["stride"], filter_flip, params["dilation"], num_groups
    )


def least_lengths(g: Expr, w: Expr, params: dict[str, Any]) -> list[Any]:
    """The smallest image, rows and columns or more axes, that a convolution makes `g` of."""
    axes = range(2, g.ndim)
    kernel_dims = [dim_of(w, a) for a in axes]
    sides = paddings(params["pad"], kernel_dims, params["dilation"])
    along = zip(axes, kernel_dims, params["stride"], params["dilation"], sides)
    return [(dim_of(g, a) - 1) * s + (k - 1) * d + 1 - sum(side) for a, k, s, d, side in along]


def separable_conv2d(
    input: Any,
    depthwise_filters: Any,
    pointwise_filters: Any,
    num_channels: int,
    input_shape: Any = None,
    depthwise_filter_shape: Any = None,
    pointwise_filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
) -> Expr:
    """Convolve each channel with filters of its own and mix what comes out at each place (Chollet 2017, Xception, section 2).

    Parameters
    ----------
    input : float, shape (images, num_channels, rows, columns)
    depthwise_filters : float, shape (num_channels * multiplier, 1, rows, columns)
    pointwise_filters : float, shape (filters, num_channels * multiplier, 1, 1)
    num_channels : int
    input_shape, depthwise_filter_shape, pointwise_filter_shape : compared with what is known of the arrays
    border_mode, subsample, filter_flip, filter_dilation : of the first convolution, as for `conv2d`

    Returns
    -------
    shape (images, filters, rows, columns)
    """
    depthwise = conv2d(
        input, depthwise_filters, input_shape, depthwise_filter_shape, border_mode, subsample, filter_flip, filter_dilation, num_channels
    )
    return conv2d(depthwise, pointwise_filters, None, pointwise_filter_shape)


# -- lines -------------------------------------------------------------------------------------------------------------


def conv1d(
    input: Any,
    filters: Any,
    input_shape: Any = None,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = 1,
    filter_flip: bool = True,
    filter_dilation: Any = 1,
    num_groups: int = 1,
) -> Expr:
    """Convolve lines with filters: `conv2d` with one axis less.

    Parameters
    ----------
    input : float, shape (lines, channels, length)
    filters : float, shape (filters, channels / num_groups, length)
    border_mode : "valid", "full", "half", an int, or (before, after)
    subsample, filter_dilation : int
    input_shape, filter_shape, filter_flip, num_groups : as for `conv2d`

    Returns
    -------
    shape (lines, filters, (length + padding - covered) // step + 1)

    Examples
    --------
    >>> conv1d([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, -1.0]]]).eval().tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    x, w = operands("conv1d", input, filters, 3, 3, "x[None, None] makes lines of a vector")
    check_stated("conv1d", x, "input_shape", input_shape)
    check_stated("conv1d", w, "filter_shape", filter_shape)
    border = border_mode if isinstance(border_mode, str) else ((0, 0), _both_ends("conv1d", border_mode))
    step, gap = entries("conv1d", "subsample", subsample, 1, 1), entries("conv1d", "filter_dilation", filter_dilation, 1, 1)
    x, w = expand_dims(x, 2), expand_dims(w, 2)
    y = conv2d(x, w, None, None, border, (1, *step), filter_flip, (1, *gap), num_groups)
    return getitem(y, (slice(None), slice(None), 0))


def _both_ends(name: str, value: Any) -> tuple[int, ...]:
    return entries(name, "border_mode", value, 2, 0)


def causal_conv1d(
    input: Any,
    filters: Any,
    filter_shape: Any = None,
    input_shape: Any = None,
    subsample: int = 1,
    filter_flip: bool = True,
    filter_dilation: int = 1,
    num_groups: int = 1,
) -> Expr:
    """Convolve lines with filters that see only what came before: element t of the result follows from elements 0 ... t.

    Parameters
    ----------
    input : float, shape (lines, channels, length)
    filters : float, shape (filters, channels / num_groups, length), the length known
    filter_shape, input_shape, subsample, filter_flip, filter_dilation, num_groups : as for `conv1d`

    Returns
    -------
    shape (lines, filters, length), for a step of 1

    Examples
    --------
    >>> causal_conv1d([[[1.0, 2.0, 3.0]]], [[[1.0, 10.0]]]).eval().tolist()
    [[[1.0, 12.0, 23.0]]]
    """
    x, w = operands("causal_conv1d", input, filters, 3, 3)
    length = w.type.shape[2]
    if length is None:
        raise ValueError(report("causal_conv1d: the length of the filters must be known", node_rows((x, w)), "give them a shape"))
    (gap,) = entries("causal_conv1d", "filter_dilation", filter_dilation, 1, 1)
    return conv1d(x, w, input_shape, filter_shape, ((length - 1) * gap, 0), subsample, filter_flip, gap, num_groups)


# -- sizes -------------------------------------------------------------------------------------------------------------


def get_conv_output_shape(
    image_shape: Sequence[Any], kernel_shape: Sequence[Any], border_mode: Any, subsample: Any, filter_dilation: Any = None
) -> tuple[Any, ...]:
    """Work out the shape of the result of a convolution.

    Parameters
    ----------
    image_shape : (images, channels, rows, columns), (images, channels, depth, rows, columns) or (lines, channels, length): ints,
        integer expressions, or None where it is unknown
    kernel_shape : (filters, channels, ...), the same
    border_mode, subsample, filter_dilation : as for `conv2d`, an entry for each axis

    Returns
    -------
    (images, filters, ...): ints, expressions and None

    Raises
    ------
    ValueError
        if the shapes have not the same number of entries, or the filters do not fit.

    Examples
    --------
    >>> get_conv_output_shape((None, 3, 32, 32), (16, 3, 5, 5), "half", (2, 2))
    (None, 16, 16, 16)
    """
    name, n = "get_conv_output_shape", len(image_shape) - 2
    if len(kernel_shape) != len(image_shape) or n not in (1, 2, 3):
        text = f"{name}: images of {len(image_shape)} and filters of {len(kernel_shape)} axes do not belong together"
        raise ValueError(report(text, fix="both have two axes before rows and columns"))
    steps = entries(name, "subsample", subsample, n, 1)
    gaps = entries(name, "filter_dilation", 1 if filter_dilation is None else filter_dilation, n, 1)
    border = border_mode if isinstance(border_mode, str) or n > 1 else (border_mode,)
    sides = paddings(border_pads(name, border, n), kernel_shape[2:], gaps)
    lengths = map(_length, image_shape[2:], kernel_shape[2:], steps, gaps, sides)
    return (image_shape[0], kernel_shape[0], *lengths)


def _length(n: Any, k: Any, step: int, gap: int, side: Any) -> Any:
    if n is None or k is None:
        return None
    made = window_count(n, k, step, gap, side)
    if isinstance(made, int) and made < 1:
        text = f"filters that cover {(k - 1) * gap + 1} do not fit in images of {n + sum(side)} (padding included)"
        raise ValueError(report(f"get_conv_output_shape: {text}", fix="larger images, smaller filters or border_mode='half'"))
    return made


def paddings(pad: Any, kernel_dims: Sequence[Any], dilation: Sequence[int]) -> list[Any]:
    """Return (before, after) for each axis, as far as the lengths of the filters (ints, expressions or None) tell."""
    if pad not in ("full", "half"):
        return list(pad)
    covered = [None if k is None else (k - 1) * d + 1 for k, d in zip(kernel_dims, dilation)]
    one = [None if c is None else c - 1 if pad == "full" else c // 2 for c in covered]
    return [(p, p) for p in one]


# -- what the user said ------------------------------------------------------------------------------------------------


def operands(name: str, x: Any, w: Any, x_axes: int, w_axes: int, fix: str = "") -> tuple[Expr, Expr]:
    x, w = wrap((x, w))
    if x.ndim != x_axes or w.ndim != w_axes:
        needed = f"{x_axes} axes" if x_axes == w_axes else f"{x_axes} and {w_axes} axes"
        layout = {3: "lines are (lines, channels, length)", 4: "images are (images, channels, rows, columns)",
                  5: "volumes are (volumes, channels, depth, rows, columns)"}[x_axes]  # fmt: skip
        text = f"{name}: images and filters need {needed}, not {x.ndim} and {w.ndim}"
        raise ValueError(report(text, node_rows((x, w)), f"{layout}; {fix}" if fix else layout))
    dtype = meet_as_floats((x.dtype, w.dtype))[0]
    return cast_to(x, dtype), cast_to(w, dtype)


def geometry(name: str, border_mode: Any, subsample: Any, dilation: Any, groups: Any, n: int = 2) -> dict[str, Any]:
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"{name}: num_groups must be at least 1: {groups}")
    return {
        "stride": entries(name, "subsample", subsample, n, 1), "pad": border_pads(name, border_mode, n),
        "dilation": entries(name, "filter_dilation", dilation, n, 1), "groups": int(groups),
    }  # fmt: skip


def border_pads(name: str, mode: Any, n: int = 2) -> Any:
    """Return the `pad` param for a border mode: "half", "full", or (before, after) for each of n axes."""
    if isinstance(mode, str):
        if mode not in ("valid", "full", "half"):
            raise ValueError(f"{name}: border_mode {mode!r} is none of 'valid', 'full', 'half', an int, or {n} ints or pairs")
        return ((0, 0),) * n if mode == "valid" else mode
    given = (mode,) * n if isinstance(mode, (int, np.integer)) else tuple(mode) if isinstance(mode, (tuple, list)) else ()
    if len(given) != n:
        axes = {1: "one axis", 2: "rows and one for columns", 3: "each of three axes"}[n]
        raise ValueError(f"{name}: border_mode must have an entry for {axes}: {mode!r}")
    return tuple(_both_ends(name, e) for e in given)


def flipped(w: Expr, axes: int) -> Expr:
    return getitem(w, (slice(None),) * (w.ndim - axes) + (slice(None, None, -1),) * axes)


def spatial(name: str, what: str, shape: Any, n: int = 2) -> tuple[Any, ...]:
    """Rows and columns (of n = 3, depth before them) of a shape that the user gives."""
    given = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(given) != n + 2 or any(d is None for d in given[2:]):
        text = f"{name}: {what} must have {n + 2} entries, None only for the first two: {shape!r}"
        example = ", ".join(["None, None", *["28"] * n])
        raise ValueError(report(text, fix=f"for example ({example}); entries may be expressions, such as x.shape[2]"))
    return given[2:]


def check_stated(name: str, x: Expr, what: str, stated: Any) -> None:
    """Compare a shape that the user states beside an array with the array's own."""
    if stated is None:
        return
    dims = tuple(None if isinstance(d, Expr) else d for d in stated)
    if len(dims) != x.ndim or any(None not in (a, b) and a != b for a, b in zip(dims, x.type.shape)):
        text = f"{name}: {what} {shape_text(dims)} is stated, but the array has shape {shape_text(x.type.shape)}"
        raise ValueError(report(text, [("array", f"{x.label}  {x.type}", x.where)], "correct it, or leave it out: it is only checked"))
