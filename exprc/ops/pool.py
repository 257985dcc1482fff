"""Pooling of images in two dimensions: the largest element or the sum of each window, and the transposes.

Window p holds the rows ``p S + u D - P`` for u = 0 ... K - 1 with stride S, dilation D and padding P, those that the images have; columns
alike. `max_pool` also gives the *code* of each window, the position ``u * KW + v`` of its first largest element; `unpool` sends a gradient
there, `pool_at` reads there. A window that holds nothing but padding gives 0 and the code 0, and no gradient goes anywhere from there.

`exprc.ops.downsample` has the functions for users.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.expr import Expr
from exprc.forms import (
    Arg,
    Consumer,
    Hook,
    Implementation,
    Producer,
    ShapeError,
    Source,
    fill_dims,
    kernel,
    same_dim,
    shape_text,
    split_dims,
    view,
)
from exprc.ops.rows import by_first_axis
from exprc.ops.tiling import elements_launch, index_bytes
from exprc.ops.view import dim_of
from exprc.size import Dim, ceildiv, floordiv, maximum, minimum, mod, product

# -- geometry ----------------------------------------------------------------------------------------------------------
# Params of all records: window, stride, pad, dilation (2 ints each), partial (whether windows may reach beyond the lower and right border).


def reach(window: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """How many rows and columns a window covers."""
    return tuple((w - 1) * d + 1 for w, d in zip(window, dilation))


def _windows_along(n: Dim, w: int, s: int, p: int, partial: bool) -> Dim:
    """How many windows that cover w elements there are along an axis of length n."""
    if not partial:
        return maximum(floordiv(n + 2 * p - w, s) + 1, 0)
    if s >= w:
        return floordiv(n - 1, s) + 1
    return maximum(floordiv(n - 1 - w + s, s), 0) + 1


def _pool_dims(x: Sequence[Dim], window: Any, stride: Any, pad: Any, dilation: Any, partial: bool) -> tuple[Dim, ...]:
    covered = reach(window, dilation)
    if any(isinstance(n, int) and n == 0 for n in x[2:]):
        raise ShapeError(f"images of {shape_text(x[2:])} have nothing to pool", "at least one row and one column are needed")
    made = tuple(_windows_along(n, w, s, p, partial) for n, w, s, p in zip(x[2:], covered, stride, pad))
    if any(isinstance(m, int) and m < 1 for m in made):
        windows = f"windows of {shape_text(window)}" + (f" that cover {shape_text(covered)}" if covered != tuple(window) else "")
        sides = f"images of {shape_text(x[2:])}" + (f" with padding {tuple(pad)}" if any(pad) else "")
        raise ShapeError(f"{windows} do not fit in {sides}", "smaller windows, or ignore_border=False")
    return (*x[:2], *made)


def always_hold(window: Sequence[int], pad: Sequence[int], dilation: Sequence[int], **params: Any) -> bool:
    """Whether every window is sure to hold an element of the images, of whatever size they are."""
    return all(p == 0 or (d == 1 and p < w) for w, p, d in zip(window, pad, dilation))


def _max_shape(args: Sequence[Arg], **params: Any) -> tuple[tuple[Dim, ...], ...]:
    return (_pool_dims(args[0].shape, **params),) * 2


def _unpool_shape(args: Sequence[Arg], size: Any, **params: Any) -> tuple[Dim, ...]:
    codes = 2 if len(args[0].shape) == 4 and len(args) > 1 and len(args[1].shape) == 4 else 1
    if codes == 2:
        for a, b in zip(args[0].shape, args[1].shape):
            same_dim(a, b, "values and codes differ in shape")
    return (*args[0].shape[:2], *fill_dims(size, [a.value for a in args[codes:]]))


# -- the NumPy references ----------------------------------------------------------------------------------------------


def _framed(x: Any, fill: Any, window: Any, stride: Any, pad: Any, dilation: Any, partial: bool) -> tuple[Any, tuple[Any, Any]]:
    """Return `x` with `fill` around it as far as windows reach, and the number of windows each way."""
    _, _, p, q = _pool_dims(x.shape, window, stride, pad, dilation, partial)
    lengths = [(m - 1) * s + w for m, s, w in zip((p, q), stride, reach(window, dilation))]
    frame = np.full((*x.shape[:2], *(max(length, n + b) for length, n, b in zip(lengths, x.shape[2:], pad))), fill, x.dtype)
    frame[:, :, pad[0] : pad[0] + x.shape[2], pad[1] : pad[1] + x.shape[3]] = x
    return frame, (p, q)


def _positions(window: Any, stride: Any, dilation: Any, counts: Any) -> Any:
    """For each position in the window, the part of the frame that it meets, window by window."""
    for u, v in np.ndindex(*window):
        starts = (u * dilation[0], v * dilation[1])
        parts = (slice(a, a + (m - 1) * s + 1, s) for a, m, s in zip(starts, counts, stride))
        yield u * window[1] + v, (slice(None), slice(None), *parts)


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _max_numpy(x: Any, window: Any, stride: Any, dilation: Any, **params: Any) -> Any:
    geometry = {"window": window, "stride": stride, "dilation": dilation, **params}
    inside, counts = _framed(np.ones(x.shape, bool), False, **geometry)
    frame, _ = _framed(x, _lowest(x.dtype), **geometry)
    best = np.full((*x.shape[:2], *counts), _lowest(x.dtype), x.dtype)
    code = np.full(best.shape, -1, "int32")
    for k, part in _positions(window, stride, dilation, counts):
        new = frame[part]
        better = inside[part] & ((code < 0) | (new > best) | (np.isnan(new) & ~np.isnan(best)))
        best, code = np.where(better, new, best), np.where(better, np.int32(k), code)
    return np.where(code < 0, x.dtype.type(0), best), np.maximum(code, np.int32(0))


def _unpool_numpy(g: Any, code: Any, *sizes: Any, size: Any, **params: Any) -> Any:
    return _spread_numpy(g, [int(d) for d in fill_dims(size, sizes)], lambda k: np.where(code == k, g, 0), **params)


def _spread_numpy(g: Any, size: Any, share: Any, window: Any, stride: Any, pad: Any, dilation: Any, partial: bool) -> Any:
    counts = g.shape[2:]
    covered = reach(window, dilation)
    lengths = [max((m - 1) * s + w, p + n) for m, s, w, p, n in zip(counts, stride, covered, pad, size)]
    frame = np.zeros((*g.shape[:2], *lengths), g.dtype)
    for k, part in _positions(window, stride, dilation, counts):
        frame[part] += share(k)
    return frame[:, :, pad[0] : pad[0] + size[0], pad[1] : pad[1] + size[1]].copy()


def _pool_at_numpy(x: Any, code: Any, window: Any, stride: Any, pad: Any, dilation: Any, partial: bool) -> Any:
    n, c, p, q = np.indices(code.shape)
    h = p * stride[0] - pad[0] + code // window[1] * dilation[0]
    w = q * stride[1] - pad[1] + code % window[1] * dilation[1]
    inside = (h >= 0) & (h < x.shape[2]) & (w >= 0) & (w < x.shape[3])
    y = np.zeros(code.shape, x.dtype)
    y[inside] = x[n[inside], c[inside], h[inside], w[inside]]
    return y


def _sum_numpy(x: Any, window: Any, stride: Any, dilation: Any, **params: Any) -> Any:
    frame, counts = _framed(x, 0, window, stride, dilation=dilation, **params)
    total = np.zeros((*x.shape[:2], *counts), x.dtype)
    for _, part in _positions(window, stride, dilation, counts):
        total += frame[part]
    return total


def _sum_unpool_numpy(g: Any, *sizes: Any, size: Any, **params: Any) -> Any:
    return _spread_numpy(g, [int(d) for d in fill_dims(size, sizes)], lambda k: g, **params)


# -- gradients ---------------------------------------------------------------------------------------------------------


def _image_size(x: Expr) -> tuple[tuple[int | None, ...], tuple[Expr, ...]]:
    return split_dims([dim_of(x, 2), dim_of(x, 3)])


def _max_grad(g: tuple[Expr, Expr], y: tuple[Expr, Expr], x: Expr, **params: Any) -> Expr:
    """Only the value has a gradient; the code says where it goes."""
    size, sizes = _image_size(x)
    return unpool.node((g[0], y[1], *sizes), {**params, "size": size})


def _unpool_grad(
    g: Expr, y: Expr, value: Expr, code: Expr, *sizes: Expr, size: Any, **params: Any
) -> tuple[Expr, None]:
    return pool_at.node((g, code), params), None


def _pool_at_grad(g: Expr, y: Expr, x: Expr, code: Expr, **params: Any) -> tuple[Expr, None]:
    size, sizes = _image_size(x)
    return unpool.node((g, code, *sizes), {**params, "size": size}), None


def _sum_grad(g: Expr, y: Expr, x: Expr, **params: Any) -> Expr:
    size, sizes = _image_size(x)
    return sum_unpool.node((g, *sizes), {**params, "size": size})


# -- implementations ---------------------------------------------------------------------------------------------------


def _fills_lanes(args: Sequence[Arg], outs: Sequence[Arg], params: Any, lanes: int) -> bool:
    """Whether vectors of images are full, which is assumed of an unknown number, and do not have to be gathered from rows."""
    n = args[0].shape[0]
    return (not isinstance(n, int) or n >= lanes) and not args[0].leaf


def _sizes(images: Arg, pooled: Arg, params: Any, lanes: int) -> dict[str, Dim]:
    n, c, h, w = images.shape
    pairs = {"K": params["window"], "S": params["stride"], "P": params["pad"], "D": params["dilation"]}
    own = {f"{name}{axis}": value for name, pair in pairs.items() for axis, value in zip("HW", pair)}
    blocks = {"NB": ceildiv(n, lanes), "LANE_COUNT": lanes}
    return {**blocks, "C": c, "H": h, "W": w, "P": pooled.shape[2], "Q": pooled.shape[3], **own}


def _in_lanes(b: Dim, c: Dim, h: Dim, w: Dim, l: Dim, lanes: int) -> tuple[Dim, ...]:  # noqa: E741
    return (b * lanes + l, c, h, w)  # type: ignore[operator]


def _one_by_one(b: Dim, c: Dim, h: Dim, w: Dim, l: Dim) -> tuple[Dim, ...]:  # noqa: E741
    return (b, c, h, w)


def _counted(given: Arg, made: Arg) -> dict[str, Dim]:
    """The number of images, and the bytes of what counts the elements of either array."""
    return {"N": given.shape[0], "INDEX_BYTES": index_bytes(2 * product(given.shape), 2 * product(made.shape))}


def apart(window: Sequence[int], stride: Sequence[int], dilation: Sequence[int], **params: Any) -> bool:
    """Whether no two windows share an element."""
    return all(s >= n for s, n in zip(stride, reach(window, dilation)))


def _implementations(
    name: str, text: str, mode: int, loads: Sequence[str], stores: Sequence[str], pooled_first: bool
) -> tuple[Implementation, ...]:
    """A vector of images at a time where there are enough, else image by image; MODE 0 goes by the largest, 1 by the sum."""

    def sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
        images, pooled = (outs[0], args[0]) if pooled_first else (args[0], outs[0])
        return {**_sizes(images, pooled, params, lanes), "MODE": mode}

    def hooks(index: Any) -> dict[str, Hook]:
        made = {macro: Hook("load", k, index, None if pooled_first else apart) for k, macro in enumerate(loads)}
        return {**made, **{macro: Hook("store", k, index) for k, macro in enumerate(stores)}}

    def layouts(wish: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (wish,) * len(loads), (wish,) * len(stores)

    return (
        Implementation(name, text, sizes, hooks(_in_lanes), layouts("lanes"), _fills_lanes),
        Implementation(
            f"{name}_plain",
            text,
            lambda args, outs, params, lanes: sizes(args, outs, params, 1),
            hooks(_one_by_one),
            layouts("plain"),
        ),
        Implementation(
            name, f"{text.removesuffix('.h')}.cuh",
            lambda args, outs, params, lanes: {**sizes(args, outs, params, 1), **_counted(args[0], outs[0])},
            hooks(lambda n, c, h, w: (n, c, h, w)), layouts("plain"), device="cuda",
            launch=lambda values, size: elements_launch(math.prod(values[d] for d in ("NC" + ("HW" if pooled_first else "PQ")))),
        ),
    )  # fmt: skip


def side_by_side(params: Any) -> bool:
    """Whether windows lie side by side from the first element on."""
    return bool(params["stride"] == params["window"] and params["pad"] == (0, 0) and params["dilation"] == (1, 1))


def _unpool_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, size: Any, window: Any, **params: Any) -> Source:
    """Where windows lie side by side, an element is in one of them: the value of that one, if its code says so."""
    n, c, h, w = i
    inside = [(floordiv(a, b), d) for a, b, d in zip((h, w), window, args[0].shape[2:])]
    at = (n, c, *(minimum(p, d - 1) for p, d in inside))  # type: ignore[operator]
    place = mod(h, window[0]) * window[1] + mod(w, window[1])
    return Source(at, also=(*inside, (load(1, at, None) - place, 1)))


#: On a GPU the gradient kernels read through it: what a pass over memory would store is worked out as they load.
_SHOWN = Implementation(
    "unpool, as it is read", "", lambda *given: {}, {}, when=lambda args, outs, params, lanes: side_by_side(params), device="cuda",
    view=_unpool_index,
)  # fmt: skip
_MAX = _implementations("max_pool", "pool.h", 0, ["LOAD_x"], ["STORE_y", "STORE_code"], False)
_SUM = _implementations("sum_pool", "pool.h", 1, ["LOAD_x"], ["STORE_y"], False)
_UNPOOL = (_SHOWN, *_implementations("unpool", "unpool.h", 0, ["LOAD_g", "LOAD_code"], ["STORE_y"], True))
_SUM_UNPOOL = _implementations("sum_unpool", "unpool.h", 1, ["LOAD_g"], ["STORE_y"], True)



def _in_tiles(args: Any, outs: Any, producer: Any, params: Any, lanes: int) -> bool:
    """Whether the windows lie side by side from the first element on, and are small."""
    return side_by_side(params) and max(params["window"]) <= 4 and max(params["window"]) > 1


#: What a text in lanes of images needs to pool its result.
POOLED = Consumer(
    op="max_pool",
    when=_in_tiles,
    sizes=lambda args, outs, params, lanes: {
        "POOL_H": params["window"][0], "POOL_W": params["window"][1], "PP": outs[0].shape[2], "PQ": outs[0].shape[3],
    },
    hooks={"STORE_y": Hook("store", 0, _in_lanes), "STORE_code": Hook("store", 1, _in_lanes)},
    layouts=("lanes", "lanes"),
)  # fmt: skip


def _in_small_tiles(args: Any, outs: Any, producer: Any, params: Any, lanes: int) -> bool:
    """The same, and tiles of a product hold whole windows."""
    return _in_tiles(args, outs, producer, params, lanes) and math.prod(params["window"]) in (2, 4)


#: What a text of ``kernels/cuda`` needs for it.
POOLED_CUDA = dataclasses.replace(
    POOLED, when=_in_small_tiles, layouts=("plain", "plain"), sizes=lambda *given: {**POOLED.sizes(*given), "ROWS_FIRST": 0},
    hooks={macro: Hook("store", k, lambda n, c, h, w: (n, c, h, w)) for k, macro in enumerate(("STORE_y", "STORE_code"))},
)  # fmt: skip


#: How many columns of a gradient a text makes at a time of a pooled one: whole rows.
_STAGED = 384


def _in_rows(args: Any, outs: Any, params: Any, lanes: int) -> bool:
    """Whether the windows lie side by side from the first element on, and rows are short enough."""
    columns = outs[0].shape[3]
    return side_by_side(params) and isinstance(columns, int) and columns <= _STAGED


#: What a text in lanes of images needs to make the gradient of pooling of a pooled one.
UNPOOLED = Producer(
    op="unpool",
    when=_in_rows,
    sizes=lambda args, outs, params, lanes: {
        "POOL_H": params["window"][0], "POOL_W": params["window"][1], "PP": args[0].shape[2], "PQ": args[0].shape[3], "STAGED": _STAGED,
    },
    hooks={"LOAD_g": Hook("load", 0, _in_lanes), "LOAD_code": Hook("load", 1, _in_lanes)},
    layouts=("lanes", "lanes"),
)  # fmt: skip

# -- the records -------------------------------------------------------------------------------------------------------

_PLAIN: dict[str, Any] = {"window": (2, 2), "stride": (2, 2), "pad": (0, 0), "dilation": (1, 1), "partial": False}
_GEOMETRIES: tuple[dict[str, Any], ...] = (
    _PLAIN,
    {**_PLAIN, "window": (3, 2), "stride": (2, 1), "pad": (1, 0)},
    {**_PLAIN, "window": (2, 3), "partial": True},
    {**_PLAIN, "stride": (3, 3), "partial": True},
    {**_PLAIN, "window": (2, 3), "stride": (1, 2), "dilation": (3, 2), "pad": (2, 1)},
    {**_PLAIN, "stride": (1, 3), "dilation": (8, 6), "pad": (7, 6)},  # some windows hold nothing but padding
    {**_PLAIN, "window": (2, 3), "dilation": (2, 2), "partial": True},
)


def _images(dtype: str) -> Any:
    x = np.sin(np.arange(2 * 3 * 7 * 6) * 1.3).reshape(2, 3, 7, 6).round(1)  # rounded: some windows hold equal largest elements
    x[0, 0, 0, 1] = x[1, 2, 3, 3] = np.nan
    return x.astype(dtype)


def _pool_samples() -> list[Any]:
    return [((_images(d),), p) for d in ("float32", "float64") for p in _GEOMETRIES]


def _unpool_samples() -> list[Any]:
    made = []
    for (x,), params in _pool_samples():
        value, code = _max_numpy(x, **params)
        made.append(
            ((np.arange(value.size).reshape(value.shape).astype(x.dtype), code), {**params, "size": x.shape[2:]})
        )
    return made


def _sum_unpool_samples() -> list[Any]:
    return [((args[0],), params) for args, params in _unpool_samples()]


def _pool_at_samples() -> list[Any]:
    return [((x, _max_numpy(x, **params)[1]), params) for (x,), params in _pool_samples()]


def _pool_at_index(
    i: Sequence[Dim], args: Sequence[Arg], load: Any, window: Any, stride: Any, pad: Any, dilation: Any, partial: bool
) -> Source:
    n, c, p, q = i
    code = load(1, tuple(i), window[0] * window[1])
    h = p * stride[0] - pad[0] + floordiv(code, window[1]) * dilation[0]
    w = q * stride[1] - pad[1] + mod(code, window[1]) * dilation[1]
    return Source((n, c, h, w), conditions=((h, args[0].shape[2]), (w, args[0].shape[3])))


max_pool = kernel(
    "max_pool",
    batched=by_first_axis,
    shape=_max_shape,
    dtype=lambda dtypes, **params: (dtypes[0], "int32"),
    numpy=_max_numpy,
    grad=_max_grad,
    implementations=_MAX,
    samples=_pool_samples,
    doc="largest element of each window of images (n, channels, rows, columns), NaN if one is, and its position; padding does not count",
)
unpool = kernel(
    "unpool",
    batched=by_first_axis,
    data=2,
    shape=_unpool_shape,
    dtype=lambda dtypes, **params: dtypes[0],
    numpy=_unpool_numpy,
    grad=_unpool_grad,
    implementations=_UNPOOL,
    samples=_unpool_samples,
    doc="zeros with each window's value added at the position in the window that its code names: the gradient of max_pool",
)
pool_at = view(
    "pool_at",
    batched=by_first_axis,
    shape=lambda args, **params: args[1].shape,
    index=_pool_at_index,
    numpy=_pool_at_numpy,
    grad=_pool_at_grad,
    samples=_pool_at_samples,
    doc="the element of each window at the position that its code names",
)
sum_pool = kernel(
    "sum_pool",
    batched=by_first_axis,
    shape=lambda args, **params: _pool_dims(args[0].shape, **params),
    dtype=lambda dtypes, **params: dtypes[0],
    numpy=_sum_numpy,
    grad=_sum_grad,
    implementations=_SUM,
    samples=_pool_samples,
    doc="the sum of each window of images (n, channels, rows, columns)",
)
sum_unpool = kernel(
    "sum_unpool",
    batched=by_first_axis,
    data=1,
    shape=_unpool_shape,
    dtype=lambda dtypes, **params: dtypes[0],
    numpy=_sum_unpool_numpy,
    grad=lambda g, y, value, *sizes, size, **params: sum_pool.node((g,), params),
    implementations=_SUM_UNPOOL,
    samples=_sum_unpool_samples,
    doc="zeros with each window's value added at every position in it: the gradient of sum_pool",
)
