"""Images as rows of their neighbourhoods and back, and larger images between the elements of smaller ones: views and formulas alone."""

from __future__ import annotations

from typing import Any

from exprc.errors import nearest, report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, node_rows, shape_text
from exprc.ops.axes import expand_dims
from exprc.ops.create import arange, shape_of
from exprc.ops.formula import cast, eq, where
from exprc.ops.pad import pad
from exprc.ops.sliding import entries, sliding
from exprc.ops.view import broadcast_to, concatenate, dim_of, dimshuffle, getitem, reshape
from exprc.types import is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["bilinear_upsampling", "images2neibs", "neibs2images"]

MODES = ("valid", "ignore_borders", "wrap_centered", "half", "full")


def images2neibs(ten4: Any, neib_shape: Any, neib_step: Any = None, mode: str = "valid") -> Expr:
    """Make a row of each neighbourhood in images.

    Parameters
    ----------
    ten4 : shape (images, channels, rows, columns)
    neib_shape : int or pair
        Rows and columns of a neighbourhood.
    neib_step : int or pair, optional
        Step from one to the next, by default `neib_shape`.
    mode : "valid" (neighbourhoods fill the images, or it is an error where that is known; else as the next), "ignore_borders" (what is
        left at the border is left out), "wrap_centered" (one around every element a step apart, going on at the other side; odd
        neighbourhoods only), "half" and "full" (zeros around the images, as for `conv2d`)

    Returns
    -------
    shape (images * channels * neighbourhoods of an image, elements of a neighbourhood): row by row, from left to right

    Raises
    ------
    ValueError
        for another number of axes, an unknown mode, or neighbourhoods that do not fit.

    Examples
    --------
    >>> x = [[[[1, 2, 3, 4], [5, 6, 7, 8]]]]
    >>> images2neibs(x, (2, 2)).eval().tolist()
    [[1, 2, 5, 6], [3, 4, 7, 8]]
    """
    x = _four_axes("images2neibs", ten4)
    shape = entries("images2neibs", "neib_shape", neib_shape, 2, 1)
    steps = shape if neib_step is None else entries("images2neibs", "neib_step", neib_step, 2, 1)
    if mode not in MODES:
        raise ValueError(report(f"images2neibs: mode {mode!r} is none of {', '.join(MODES)}", node_rows((x,)), nearest(mode, MODES)))
    if mode == "valid":
        _check_filled(x, shape, steps)
    if mode == "wrap_centered":
        x = _wrapped(x, shape)
    for axis, k, s in zip((2, 3), shape, steps):
        side = k // 2 if mode == "half" else k - 1 if mode == "full" else 0
        x = sliding(x, axis, k, s, 1, (side, side))
    n, c, p, q, kh, kw = (dim_of(x, a) for a in range(6))
    return reshape(x, (n * c * p * q, kh * kw))  # type: ignore[no-any-return]


def neibs2images(neibs: Any, neib_shape: Any, original_shape: Any, mode: str = "valid") -> Expr:
    """Put images together of neighbourhoods that do not overlap: the inverse of `images2neibs`.

    Parameters
    ----------
    neibs : shape (neighbourhoods, elements of one)
    neib_shape : int or pair
    original_shape : the shape of the images, four ints or expressions
    mode : "valid", or "ignore_borders" (zeros where no neighbourhood was)

    Examples
    --------
    >>> neibs2images([[1, 2, 5, 6], [3, 4, 7, 8]], (2, 2), (1, 1, 2, 4)).eval().tolist()
    [[[[1, 2, 3, 4], [5, 6, 7, 8]]]]
    """
    x = as_expr(neibs)
    kh, kw = entries("neibs2images", "neib_shape", neib_shape, 2, 1)
    if x.ndim != 2 or len(original_shape) != 4:
        text = f"neibs2images: neighbourhoods have 2 axes and images 4, not {x.ndim} and {len(original_shape)}"
        raise ValueError(report(text, node_rows((x,))))
    if mode not in ("valid", "ignore_borders"):
        raise ValueError(report(f"neibs2images: mode {mode!r} is neither 'valid' nor 'ignore_borders'", node_rows((x,))))
    n, c, h, w = original_shape
    p, q = h // kh, w // kw
    parts = reshape(x, (n, c, p, q, kh, kw))
    images = reshape(dimshuffle(parts, (0, 1, 2, 4, 3, 5)), (n, c, p * kh, q * kw))
    if mode == "valid":
        return reshape(images, (n, c, h, w))  # type: ignore[no-any-return]
    return pad(images, ((0, 0), (0, 0), (0, h - p * kh), (0, w - q * kw)))


def bilinear_upsampling(input: Any, ratio: int) -> Expr:
    """Enlarge images `ratio` times, on straight lines between their elements.

    Element i of a line of the result is ``x[i / ratio]``, between two elements the mean of both weighted by nearness; beyond the last one
    the last. That is what a transposed convolution with the kernel ``1 - |k| / ratio``, |k| < ratio, gives.

    Parameters
    ----------
    input : shape (images, channels, rows, columns); integers become floats
    ratio : int of at least 1

    Returns
    -------
    shape (images, channels, rows * ratio, columns * ratio)

    Examples
    --------
    >>> bilinear_upsampling([[[[1.0, 3.0]]]], 2).eval()[0, 0].tolist()
    [[1.0, 2.0, 3.0, 3.0], [1.0, 2.0, 3.0, 3.0]]
    """
    x = _four_axes("bilinear_upsampling", input)
    (times,) = entries("bilinear_upsampling", "ratio", ratio, 1, 1)
    x = x if is_float(x.dtype) else cast(x, "floatX")
    return _between(_between(x, 2, times), 3, times)


# -- parts -------------------------------------------------------------------------------------------------------------


def _four_axes(name: str, value: Any) -> Expr:
    x = as_expr(value)
    if x.ndim != 4:
        fix = "images are (images, channels, rows, columns)"
        raise ValueError(report(f"{name}: images have 4 axes, not {x.ndim}", node_rows((x,)), fix))
    return x


def _check_filled(x: Expr, shape: tuple[int, ...], steps: tuple[int, ...]) -> None:
    for n, k, s in zip(x.type.shape[2:], shape, steps):
        if n is not None and (n < k or (n - k) % s):
            sizes = map(shape_text, (shape, steps, x.type.shape[2:]))
            text = "images2neibs: neighbourhoods of {}, {} apart, do not fill images of {}".format(*sizes)
            raise ValueError(report(text, node_rows((x,)), "mode='ignore_borders' leaves out what is left"))


def _wrapped(x: Expr, shape: tuple[int, ...]) -> Expr:
    if any(k % 2 == 0 for k in shape):
        text = f"images2neibs: 'wrap_centered' needs neighbourhoods with a middle, not {shape_text(shape)}"
        raise ValueError(report(text, node_rows((x,)), "odd numbers of rows and columns"))
    return pad(x, ((0, 0), (0, 0), *((k // 2, k // 2) for k in shape)), mode="wrap")


def _between(x: Expr, axis: int, times: int) -> Expr:
    """Each element and `times` - 1 places on the line to the next one, the last one to itself."""
    here = (slice(None),) * axis
    following = concatenate([getitem(x, (*here, slice(1, None))), getitem(x, (*here, slice(-1, None)))], axis=axis)
    share = cast_to(arange(times), x.dtype) / float(times)
    share = dimshuffle(share, ("x",) * (axis + 1) + (0,) + ("x",) * (x.ndim - axis - 1))
    dims = shape_of(x)
    near, far = (expand_dims(e, axis + 1) for e in (x, following))
    between = where(eq(share, 0), near, near + (far - near) * share)  # infinity times 0 would be NaN
    wide = broadcast_to(between, (*dims[: axis + 1], times, *dims[axis + 1 :]))
    return reshape(wide, (*dims[:axis], dims[axis] * times, *dims[axis + 1 :]))  # type: ignore[no-any-return]
