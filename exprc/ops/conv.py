"""Convolution of stacks of images in two dimensions, and its two transposes.

With padding P above, stride S and dilation D (the same for columns)::

    y[n, o, p, q] = sum over c, u, v of x[n, c, p S + u D - P, q S + v D - P] * w[o, c, u, v]

The gradient for `x` is the same sum over an upsampled `g`, with the weights of input and output channels swapped and both
spatial axes reversed (`turned`); so the two share one text. Each of the three records is the gradient of the others.

`exprc.ops.convolve` has the functions for users.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from exprc.expr import Expr
from exprc.forms import (
    Arg,
    Consumer,
    Hook,
    Implementation,
    ShapeError,
    fill_dims,
    kernel,
    same_dim,
    shape_text,
    split_dims,
)
from exprc.ops.conv_tiled import tiled_correlations, tiled_weight_gradient
from exprc.ops.pool import POOLED, POOLED_CUDA, UNPOOLED
from exprc.ops.rows import fold, unfold
from exprc.ops.view import dim_of, dimshuffle, getitem, reshape
from exprc.ops.winograd import winograd, winograd_weights
from exprc.size import Dim, ceildiv, floordiv, product
from exprc.types import float_of, promote

# -- geometry ----------------------------------------------------------------------------------------------------------
# Params of all three: stride (2 ints), pad ("half", "full", or ((top, bottom), (left, right))), dilation (2 ints), groups.


def span(k: Dim, dilation: int) -> Dim:
    """How many rows a filter of k rows covers."""
    return (k - 1) * dilation + 1


def pads(pad: Any, kernel_dims: Sequence[Dim], dilation: Sequence[int]) -> list[tuple[Dim, Dim]]:
    """Return (before, after) for rows and columns."""
    if pad == "full":
        return [(span(k, d) - 1,) * 2 for k, d in zip(kernel_dims, dilation)]
    if pad == "half":
        return [(floordiv(span(k, d), 2),) * 2 for k, d in zip(kernel_dims, dilation)]
    return list(pad)


def _lengths(image: Sequence[Dim], kernel_dims: Sequence[Dim], stride: Any, pad: Any, dilation: Any) -> tuple[Dim, ...]:
    """Rows and columns of the result."""
    made = []
    for n, k, s, d, (before, after) in zip(image, kernel_dims, stride, dilation, pads(pad, kernel_dims, dilation)):
        free = n + before + after - span(k, d)
        if isinstance(free, int) and free < 0:
            raise ShapeError(
                _does_not_fit(image, kernel_dims, pad, dilation), "larger images, smaller filters or border_mode='half'"
            )
        made.append(floordiv(free, s) + 1)
    return tuple(made)


def _does_not_fit(image: Sequence[Dim], kernel_dims: Sequence[Dim], pad: Any, dilation: Any) -> str:
    sides = pads(pad, kernel_dims, dilation)
    padded = tuple(n + before + after for n, (before, after) in zip(image, sides))
    covers = tuple(span(k, d) for k, d in zip(kernel_dims, dilation))
    return f"filters that cover {shape_text(covers)} do not fit in images of {shape_text(padded)} (padding included)"


def _check_channels(x: Sequence[Dim], w: Sequence[Dim], groups: int) -> None:
    channels = w[1] * groups
    text = f"the images have another number of channels than the filters take{f' in {groups} groups' if groups > 1 else ''}"
    same_dim(x[1], channels, text, "filters are (filters, channels of the images, rows, columns)")
    if isinstance(w[0], int) and w[0] % groups:
        raise ShapeError(f"{w[0]} filters cannot be split in {groups} groups", "num_groups must divide their number")


def _check_groups(channels: Dim, groups: int) -> None:
    if isinstance(channels, int) and channels % groups:
        raise ShapeError(f"{channels} channels cannot be split in {groups} groups", "num_groups must divide their number")


def _conv_shape(args: Sequence[Arg], stride: Any, pad: Any, dilation: Any, groups: int) -> tuple[Dim, ...]:
    x, w = args[0].shape, args[1].shape
    _check_channels(x, w, groups)
    return (x[0], w[0], *_lengths(x[2:], w[2:], stride, pad, dilation))


def _two_sizes(size: tuple[int | None, ...], args: Sequence[Arg]) -> tuple[Dim, ...]:
    return fill_dims(size, [a.value for a in args[2:]])


def _check_lengths(image: Sequence[Dim], kernel_dims: Sequence[Dim], result: Sequence[Dim], **params: Any) -> None:
    """Compare the rows and columns of a gradient with those of the result that it is a gradient of."""
    for made, stated in zip(_lengths(image, kernel_dims, **params), result):
        text = f"images of {shape_text(image)} and filters of {shape_text(kernel_dims)} have results of another size than the gradient"
        same_dim(made, stated, text, "give the shape of the images (or filters) that the forward pass had")


def _input_shape(args: Sequence[Arg], size: Any, groups: int, **params: Any) -> tuple[Dim, ...]:
    g, w = args[0].shape, args[1].shape  # w: (channels, filters of a group, rows, columns)
    _check_channels(g, w, groups)
    image = _two_sizes(size, args)
    _check_lengths(image, w[2:], g[2:], **params)
    return (g[0], w[0], *image)


def _weight_shape(args: Sequence[Arg], size: Any, groups: int, **params: Any) -> tuple[Dim, ...]:
    x, g = args[0].shape, args[1].shape
    same_dim(x[0], g[0], "images and gradients differ in number")
    _check_groups(x[1], groups)
    kernel_dims = _two_sizes(size, args)
    _check_lengths(x[2:], kernel_dims, g[2:], **params)
    return (g[1], floordiv(x[1], groups), *kernel_dims)


# -- the NumPy reference: one product a position of the filter ---------------------------------------------------------


def _framed(x: Any, first: Sequence[int], lengths: Sequence[int], up: Sequence[int]) -> Any:
    """Return rows and columns ``first ... first + lengths`` of `x` upsampled by `up`, zeros where there is nothing."""
    out = np.zeros((*x.shape[:2], *lengths), x.dtype)
    places, parts = [], []
    for n, f, length, u in zip(x.shape[2:], first, lengths, up):
        low = max(0, -(-f // u))  # the first element of x that is not before the frame
        high = min(n, (f + length - 1) // u + 1)
        places.append(slice(low * u - f, max(low * u - f, (high - 1) * u - f + 1), u) if high > low else slice(0, 0))
        parts.append(slice(low, max(low, high)))
    out[(slice(None), slice(None), *places)] = x[(slice(None), slice(None), *parts)]
    return out


def _windows(
    x: Any, size: Any, kernel_dims: Any, stride: Any, up: Any, before: Any, dilation: Any
) -> Callable[[int, int], Any]:
    """Return a function that gives, for a position in the filter, the element of `x` that it meets at each output, 0 outside."""
    lengths = [max((n - 1) * s + span(k, d), 0) for n, s, k, d in zip(size, stride, kernel_dims, dilation)]
    frame = _framed(x, [-b for b in before], lengths, up)
    (p, q), (sh, sw), (dh, dw) = size, stride, dilation
    return lambda u, v: frame[:, :, u * dh : u * dh + (p - 1) * sh + 1 : sh, v * dw : v * dw + (q - 1) * sw + 1 : sw]


def _correlate(x: Any, w: Any, size: Any, stride: Any, up: Any, before: Any, dilation: Any, groups: int) -> Any:
    n, (o, c, kh, kw) = len(x), w.shape
    y = np.zeros((n, groups, o // groups, *size), x.dtype)
    at = _windows(x, size, (kh, kw), stride, up, before, dilation)
    weights = w.reshape(groups, o // groups, c, kh, kw)
    for u, v in np.ndindex(kh, kw) if y.size else ():
        part = at(u, v).reshape(n, groups, c, *size)
        y += np.einsum("ngcpq,goc->ngopq", part, weights[..., u, v], optimize=True)
    return y.reshape(n, o, *size)


def _conv_numpy(x: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
    size = _lengths(x.shape[2:], w.shape[2:], stride, pad, dilation)
    before = [b for b, _ in pads(pad, w.shape[2:], dilation)]
    return _correlate(x, w, size, stride, (1, 1), before, dilation, groups)


def _turned_pads(pad: Any, kernel_dims: Sequence[Dim], dilation: Sequence[int]) -> list[Dim]:
    """Rows and columns before the upsampled gradient: what the filter covers beyond the padding of the forward pass."""
    return [span(k, d) - 1 - b for k, d, (b, _) in zip(kernel_dims, dilation, pads(pad, kernel_dims, dilation))]


def _input_numpy(g: Any, w: Any, *sizes: Any, size: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
    dims = [int(d) for d in fill_dims(size, sizes)]
    return _correlate(g, w, dims, (1, 1), stride, _turned_pads(pad, w.shape[2:], dilation), dilation, groups)


def _weight_numpy(x: Any, g: Any, *sizes: Any, size: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
    kh, kw = (int(d) for d in fill_dims(size, sizes))
    (n, o), c = g.shape[:2], x.shape[1] // groups
    before = [b for b, _ in pads(pad, (kh, kw), dilation)]
    y = np.zeros((groups, o // groups, c, kh, kw), x.dtype)
    at = _windows(x, g.shape[2:], (kh, kw), stride, (1, 1), before, dilation)
    gradients = g.reshape(n, groups, o // groups, *g.shape[2:])
    for u, v in np.ndindex(kh, kw) if y.size and g.size else ():
        part = at(u, v).reshape(n, groups, c, *g.shape[2:])
        y[..., u, v] = np.einsum("ngopq,ngcpq->goc", gradients, part, optimize=True)
    return y.reshape(o, c, kh, kw)


# -- gradients ---------------------------------------------------------------------------------------------------------


def turned(w: Expr, groups: int) -> Expr:
    """Swap the input and output channels of filters within each group, and reverse rows and columns; its own inverse."""
    backwards = getitem(w, (slice(None), slice(None), slice(None, None, -1), slice(None, None, -1)))
    if groups == 1:
        return dimshuffle(backwards, (1, 0, 2, 3))
    o, c, kh, kw = (dim_of(w, a) for a in range(4))
    grouped = reshape(backwards, (groups, o // groups, c, kh, kw))
    return reshape(dimshuffle(grouped, (0, 2, 1, 3, 4)), (c * groups, o // groups, kh, kw))


def _input_gradient(g: Expr, w: Expr, like: Expr, params: dict[str, Any]) -> Expr:
    size, sizes = split_dims([dim_of(like, 2), dim_of(like, 3)])
    return conv2d_grad_input.node((g, turned(w, params["groups"]), *sizes), {**params, "size": size})


def _weight_gradient(x: Expr, g: Expr, like: Expr, params: dict[str, Any]) -> Expr:
    size, sizes = split_dims([dim_of(like, 2), dim_of(like, 3)])
    return conv2d_grad_weight.node((x, g, *sizes), {**params, "size": size})


def _conv_grad(g: Expr, y: Expr, x: Expr, w: Expr, **params: Any) -> tuple[Expr, Expr]:
    return _input_gradient(g, w, x, params), _weight_gradient(x, g, w, params)


def _input_grad(g: Expr, y: Expr, gy: Expr, w: Expr, *sizes: Expr, size: Any, **params: Any) -> tuple[Expr, Expr]:
    """`y` is linear in `gy` and in the turned weights; `g` has the shape of the images."""
    forward = conv2d_record.node((g, turned(w, params["groups"])), params)
    return _same_images(forward, gy), turned(_weight_gradient(g, gy, w, params), params["groups"])


def _weight_grad(g: Expr, y: Expr, x: Expr, gy: Expr, *sizes: Expr, size: Any, **params: Any) -> tuple[Expr, Expr]:
    return _input_gradient(gy, g, x, params), _same_images(conv2d_record.node((x, g), params), gy)


def _same_images(y: Expr, like: Expr) -> Expr:
    """`y` has the rows and columns of `like` by construction; say so where only the type of `like` knows them."""
    return y if y.type.shape == like.type.shape else reshape(y, tuple(dim_of(like, a) for a in range(4)))


# -- implementations ---------------------------------------------------------------------------------------------------


def _fills_lanes(args: Sequence[Arg], outs: Sequence[Arg], params: Any, lanes: int) -> bool:
    """Whether vectors of images are full; of an unknown number it is assumed."""
    n = args[0].shape[0]
    return not isinstance(n, int) or n > lanes // 2


def _sizes(images: Arg, result: Arg, kernel_dims: Sequence[Dim], lanes: int, params: Any) -> dict[str, Dim]:
    """What the texts for the forward pass and the gradient of the images share."""
    n, c, h, w = images.shape
    _, o, p, q = result.shape
    return {
        "N": n, "NB": ceildiv(n, lanes), "CIN": c, "H": h, "W": w, "O": o, "P": p, "Q": q, "KH": kernel_dims[0], "KW": kernel_dims[1],
        "DH": params["dilation"][0], "DW": params["dilation"][1], "GROUPS": params["groups"],
    }  # fmt: skip


def _forward_sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
    kernel_dims = args[1].shape[2:]
    (top, _), (left, _) = pads(params["pad"], kernel_dims, params["dilation"])
    stride = params["stride"]
    own = {"SH": stride[0], "SW": stride[1], "UP_H": 1, "UP_W": 1, "PH": top, "PW": left}
    return _sizes(args[0], outs[0], kernel_dims, lanes, params) | own


def _input_sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
    kernel_dims = args[1].shape[2:]
    top, left = _turned_pads(params["pad"], kernel_dims, params["dilation"])
    stride = params["stride"]
    own = {"SH": 1, "SW": 1, "UP_H": stride[0], "UP_W": stride[1], "PH": top, "PW": left}
    return _sizes(args[0], outs[0], kernel_dims, lanes, params) | own


def _flops(args: Any, outs: Any, params: Any) -> Dim:
    return 2 * product(outs[0].shape) * product(args[1].shape[1:])  # type: ignore[operator]


def _input_flops(args: Any, outs: Any, params: Any) -> Dim:
    """As many as in the forward pass: each element of the gradient meets the weights of the channels that it goes to."""
    c, _, kh, kw = args[1].shape
    return 2 * product(args[0].shape) * floordiv(c, params["groups"]) * kh * kw  # type: ignore[operator]


def _correlation_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr | None:
    """Rows of the images are more images, those of the filters more filters; of both, more groups: their number must be known then."""
    x, w, *sizes = inputs
    params, groups = node.params, node.params["groups"]
    if not which[1]:
        return unfold(node.op.node((fold(x, 0), w, *sizes), params), 0, rows, dim_of(x, 1))
    filters = dim_of(w, 1)
    if not which[0]:
        return unfold(node.op.node((x, fold(w, 0, groups), *sizes), params), 1, rows, filters, groups)
    if not isinstance(rows, int):
        return None
    return unfold(node.op.node((fold(x, 1), fold(w, 0), *sizes), {**params, "groups": rows * groups}), 1, rows, filters)


def _weight_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr | None:
    """Rows of the images are more channels, those of the gradients more filters; of both, more groups."""
    x, g, *sizes = inputs
    params, groups = node.params, node.params["groups"]
    if not which[1]:
        return unfold(node.op.node((fold(x, 1, groups), g, *sizes), params), 1, rows, dim_of(x, 2) // groups)
    filters = dim_of(g, 2)
    if not which[0]:
        return unfold(node.op.node((x, fold(g, 1, groups), *sizes), params), 0, rows, filters, groups)
    if not isinstance(rows, int):
        return None
    return unfold(node.op.node((fold(x, 1), fold(g, 1), *sizes), {**params, "groups": rows * groups}), 0, rows, filters)


_FILTER = Hook("load", 1, lambda o, c, u, v: (o, c, u, v))


def _correlations(
    sizes: Callable[..., dict[str, Dim]], flops: Callable[..., Dim], absorbs: Consumer | None = None
) -> tuple[Implementation, ...]:
    """Row by row where filters see one channel; a vector of images at a time where there are enough; else image by image."""
    lanes = Implementation(
        name="conv2d", text="conv2d.h", sizes=sizes, when=_fills_lanes, layouts=(("lanes", "turned"), ("lanes",)), flops=flops,
        absorbs=absorbs, hooks={
            "PTR_x": Hook("pointer", 0, lambda b, c, h, w, lanes: (b * lanes, c, h, w)),
            "LOAD_w": _FILTER,
            "STORE_y": Hook("store", 0, lambda b, o, p, q, l, lanes: (b * lanes + l, o, p, q)),  # noqa: E741
        },
    )  # fmt: skip
    plain = Implementation(
        name="conv2d_plain", text="conv2d_plain.h", sizes=sizes, layouts=(("plain", "plain"), ("plain",)), flops=flops,
        hooks={
            "LOAD_x": Hook("load", 0, lambda n, c, h, w: (n, c, h, w)),
            "LOAD_w": _FILTER,
            "STORE_y": Hook("store", 0, lambda n, o, p, q: (n, o, p, q)),
        },
    )  # fmt: skip
    when, own = partial(_goes_along_rows, sizes=sizes), partial(_row_sizes, sizes=sizes)
    return dataclasses.replace(plain, name="conv2d_rows", text="conv2d_rows.h", when=when, sizes=own), lanes, plain


def _row_sizes(args: Any, outs: Any, params: Any, lanes: int, sizes: Callable[..., dict[str, Dim]]) -> dict[str, Dim]:
    """Narrow images take vectors that are halved until they fill more than half of one."""
    own = sizes(args, outs, params, lanes)
    narrow = [half for half in (lanes // 2, lanes // 4) if isinstance(own["Q"], int) and own["Q"] <= half >= _FEWEST]
    return {**own, "HALVES": len(narrow)}


#: The largest filters that conv2d_rows.h is written out for: elements, and rows that they span; its smallest vector.
_ELEMENTS, _SPAN, _FEWEST = 25, 32, 4


def _goes_along_rows(args: Sequence[Arg], outs: Sequence[Arg], params: Any, lanes: int, sizes: Callable[..., dict[str, Dim]]) -> bool:
    """Whether a pixel meets too few weights to pay for turning images into lanes: filters see one channel, and images lie in rows.

    They do where the call gives them, and where they are too few to fill lanes.
    """
    (filters, channels, kh, kw), own = args[1].shape, sizes(args, outs, params, lanes)
    if not all(isinstance(d, int) for d in (filters, channels, kh, kw)):
        return False
    few = channels == 1 and filters <= 2 * params["groups"]  # type: ignore[operator]
    small = kh * kw <= _ELEMENTS and span(kh, params["dilation"][0]) <= _SPAN  # type: ignore[operator]
    side_by_side = own["UP_H"] == own["UP_W"] == 1 and own["SH"] in (1, 2) and own["SW"] in (1, 2)
    wide = not isinstance(own["Q"], int) or own["Q"] > min(lanes, _FEWEST) // 2
    return few and small and side_by_side and wide and (args[0].leaf or not _fills_lanes(args, outs, params, lanes))


def _weight_sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
    o, _, kh, kw = outs[0].shape[-4:]
    n, c, h, w = args[0].shape
    (top, _), (left, _) = pads(params["pad"], (kh, kw), params["dilation"])
    (sh, sw), (dh, dw) = params["stride"], params["dilation"]
    return {
        "N": n, "NB": ceildiv(n, lanes), "CIN": c, "H": h, "W": w, "O": o, "P": args[1].shape[2], "Q": args[1].shape[3], "KH": kh, "KW": kw,
        "SH": sh, "SW": sw, "DH": dh, "DW": dw, "PH": top, "PW": left, "GROUPS": params["groups"],
        "PARTS": _weight_parts(args, outs, params, lanes),
    }  # fmt: skip


def _weight_parts(args: Any, outs: Any, params: Any, lanes: int) -> int:
    """At most 16 partial sums over the images, fewer where they would be large beside the data; from sizes only, never from threads."""
    blocks: Any = ceildiv(args[0].shape[0], lanes)
    data: Any = product(args[0].shape) + product(args[1].shape)  # type: ignore[operator]
    weights: Any = product(outs[0].shape[-4:])
    if not all(isinstance(n, int) for n in (blocks, data, weights)):
        return 16
    return max(1, min(16, blocks, data // (8 * max(weights, 1))))


def _weight_flops(args: Any, outs: Any, params: Any) -> Dim:
    n, o, p, q = args[1].shape
    c, kh, kw = outs[0].shape[-3:]
    return 2 * n * o * p * q * c * kh * kw


_WEIGHT = (
    Implementation(
        name="conv2d_grad_weight", text="conv2d_grad_weight.h", sizes=_weight_sizes, layouts=(("lanes", "lanes"), ("plain",)),
        when=_fills_lanes, parts=_weight_parts, flops=_weight_flops, makes=UNPOOLED,
        hooks={
            "PTR_x": Hook("pointer", 0, lambda b, c, h, w, lanes: (b * lanes, c, h, w)),
            "PTR_g": Hook("pointer", 1, lambda b, o, p, q, lanes: (b * lanes, o, p, q)),
            "STORE_y": Hook("store", 0, lambda r, o, c, u, v: (r, o, c, u, v)),
        },
    ),
    Implementation(
        name="conv2d_plain_grad_weight", text="conv2d_plain_grad_weight.h", sizes=_weight_sizes,
        layouts=(("plain", "plain"), ("plain",)), parts=_weight_parts, flops=_weight_flops,
        hooks={
            "LOAD_x": Hook("load", 0, lambda n, c, h, w: (n, c, h, w)),
            "LOAD_g": Hook("load", 1, lambda n, o, p, q: (n, o, p, q)),
            "STORE_y": Hook("store", 0, lambda r, o, c, u, v: (r, o, c, u, v)),
        },
    ),
)  # fmt: skip


# -- the records -------------------------------------------------------------------------------------------------------

_GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"stride": (1, 1), "pad": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1},
    {"stride": (2, 3), "pad": ((1, 0), (2, 1)), "dilation": (1, 1), "groups": 2},
    {"stride": (1, 2), "pad": "full", "dilation": (2, 1), "groups": 1},
    {"stride": (2, 1), "pad": "half", "dilation": (1, 2), "groups": 2},
    {"stride": (3, 3), "pad": ((4, 4), (3, 5)), "dilation": (1, 1), "groups": 1},
)


def _wave(shape: tuple[int, ...], dtype: str) -> Any:
    return np.sin(np.arange(np.prod(shape)) * 0.7).reshape(shape).astype(dtype)


def _conv_samples() -> list[Any]:
    made = []
    for k, params in enumerate(_GEOMETRIES):
        dtype = "float64" if k % 2 else "float32"
        made.append(((_wave((3, 4, 7, 6), dtype), _wave((6, 4 // params["groups"], 3, 2), dtype)), params))
    return [*made, ((_wave((0, 4, 5, 5), "float32"), _wave((2, 4, 3, 3), "float32")), _GEOMETRIES[0])]


def _input_samples() -> list[Any]:
    made = []
    for (x, w), params in _conv_samples():
        g = _wave(_conv_numpy(x, w, **params).shape, x.dtype.name)
        swapped = _wave((x.shape[1], len(w) // params["groups"], *w.shape[2:]), x.dtype.name)
        made.append(((g, swapped), {**params, "size": x.shape[2:]}))
    return made


def _weight_samples() -> list[Any]:
    return [
        ((x, _wave(_conv_numpy(x, w, **params).shape, x.dtype.name)), {**params, "size": w.shape[2:]})
        for (x, w), params in _conv_samples()
    ]


def meet_as_floats(dtypes: Sequence[str]) -> Sequence[str]:
    return [float_of(promote(dtypes))] * 2


_FORWARD, _INPUT = _correlations(_forward_sizes, _flops, POOLED), _correlations(_input_sizes, _input_flops)

conv2d_record = kernel(
    "conv2d", batched=_correlation_rows,
    shape=_conv_shape, dtype=lambda dtypes, **params: dtypes[0], meet=meet_as_floats, numpy=_conv_numpy, grad=_conv_grad,
    samples=_conv_samples,
    implementations=(
        *winograd("conv2d", _forward_sizes, _fills_lanes, POOLED), *_FORWARD,
        *tiled_correlations(_FORWARD[-1], lambda params: (1, 1), POOLED_CUDA),
    ),
    doc="correlation of images (n, channels, rows, columns) with filters (filters, channels of a group, rows, columns)",
)  # fmt: skip
conv2d_grad_input = kernel(
    "conv2d_grad_input", batched=_correlation_rows,
    data=2, shape=_input_shape, dtype=lambda dtypes, **params: dtypes[0], numpy=_input_numpy, grad=_input_grad,
    samples=_input_samples,
    implementations=(
        *winograd("conv2d_grad_input", _input_sizes, _fills_lanes), *_INPUT,
        *tiled_correlations(_INPUT[-1], lambda params: params["stride"]),
    ),
    doc="gradient of conv2d for its images, from that of its result and from the filters, `turned`; `size` is the images' rows and columns",
)  # fmt: skip
conv2d_grad_weight = kernel(
    "conv2d_grad_weight", batched=_weight_rows,
    data=2, shape=_weight_shape, dtype=lambda dtypes, **params: dtypes[0], numpy=_weight_numpy, grad=_weight_grad,
    implementations=(*winograd_weights(_weight_sizes, _fills_lanes), *_WEIGHT, *tiled_weight_gradient(_WEIGHT[1])), samples=_weight_samples,
    doc="gradient of conv2d for its filters, from the images and the gradient of its result; `size` is the filters' rows and columns",
)  # fmt: skip
