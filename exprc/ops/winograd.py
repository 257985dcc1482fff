"""Winograd's convolution for filters of 3 x 3 or 5 x 5 at stride 1, with any dilation: fewer products, and more additions around them.

Tiles of TILE x TILE results come of (TILE + SIZE - 1)² products for each pair of channels, not of SIZE² TILE² (Lavin and Gray 2016,
Fast Algorithms for Convolutional Neural Networks); so does the gradient for filters of 3 x 3. What it costs beside, and whether it pays, is
counted here (`vector_operations`, `gradient_operations`); how far its results may be off stands in the texts. ``precision="strict"`` does
without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from exprc.expr import Expr
from exprc.forms import Arg, Consumer, Hook, Implementation, Kernel
from exprc.size import Dim, ceildiv, product


class Way(NamedTuple):
    """F(tile x tile, size x size): results that are made at once, and filters."""

    tile: int
    size: int

    @property
    def products(self) -> int:
        return (self.tile + self.size - 1) ** 2

    @property
    def macros(self) -> dict[str, Dim]:
        return {"TILE": self.tile, "SIZE": self.size}


#: Filters side by side in the transformed ones.
PANEL = 8

#: Tiles side by side that the text multiplies at once.
_WIDE = 3

#: What transforming costs in multiplications of a vector, memory's waits included: a channel's pixels of a tile, and a filter's
#: results, or their gradients. Fitted to the times of 14 shapes of 4 to 128 channels, beside the convolution as it stands; of 64 and more,
#: for which it pays in any case, it takes about a third longer than this says.
_TRANSFORMS = {Way(4, 3): (300, 300), Way(2, 3): (120, 120), Way(2, 5): (250, 220)}

#: Tiles whose gradients are added up at once, and what it costs to take a vector of sums up again.
_DEEP = 2
_RESUME = 4

#: The most parts that sums over images come in.
_PARTS = 8

#: What transforming a filter costs, for each of its products.
_FILTER = 4

#: Of the operations of the convolution as it stands, at most so many may be left for it to pay.
_PAYS = 0.85

_G = {
    Way(2, 3): np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    Way(4, 3): np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
    Way(2, 5): np.array([
        [6, 0, 0, 0, 0], [-4, -4, -4, -4, -4], [-4, 4, -4, 4, -4], [1, 2, 4, 8, 16], [1, -2, 4, -8, 16], [0, 0, 0, 0, 24],
    ]) / 24,
}  # fmt: skip


# -- the filters, transformed ------------------------------------------------------------------------------------------


def _way(filters: Sequence[Dim], tile: int) -> Way:
    assert isinstance(filters[2], int)
    return Way(tile, filters[2])


def _transformed_shape(args: Sequence[Arg], tile: int) -> tuple[Dim, ...]:
    """(products, panels, channels, PANEL)"""
    o, c = args[0].shape[:2]
    return (_way(args[0].shape, tile).products, ceildiv(o, PANEL), c, PANEL)


def _transformed(w: Any, tile: int) -> Any:
    way = _way(w.shape, tile)
    padded = np.pad(w, ((0, -len(w) % PANEL), (0, 0), (0, 0), (0, 0)))
    u = np.einsum("iv,ocvx,jx->ijoc", _G[way], padded, _G[way])
    return u.reshape(way.products, -1, PANEL, w.shape[1]).swapaxes(2, 3).astype(w.dtype)


def _filter_sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
    o, c = args[0].shape[:2]
    return {"CIN": c, "O": o, **_way(args[0].shape, params["tile"]).macros, "PANEL": PANEL}


FILTERS = Kernel(
    "winograd_filters", shape=_transformed_shape, dtype=lambda dtypes, **params: dtypes[0], numpy=_transformed,
    implementations=(
        Implementation(
            name="winograd_filters", text="winograd_filters.h", sizes=_filter_sizes, layouts=(("any",), ("plain",)),
            hooks={
                "LOAD_w": Hook("load", 0, lambda o, c, u, v: (o, c, u, v)),
                "STORE_u": Hook("store", 0, lambda k, t, c, r: (k, t, c, r)),
            },
        ),
    ),
    doc="filters (filters, channels, size, size), transformed for tiles of tile x tile results: (products, panels, channels, PANEL)",
)  # fmt: skip


# -- whether it pays ---------------------------------------------------------------------------------------------------


def vector_operations(
    way: Way, images: Sequence[Dim], result: Sequence[Dim], lanes: int, before: Sequence[Dim] = (1, 1), dilation: Sequence[int] = (1, 1)
) -> tuple[float, float]:
    """Return about how many multiplications of vectors a convolution takes for one block of images: as it stands, and here.

    Of sizes that are not known yet it is assumed that they fill their tiles. `before`: rows above and columns left of the images that the
    filters reach; what they meet there is not multiplied.

    >>> direct, here = vector_operations(Way(4, 3), (64, 64, 32, 32), (64, 64, 32, 32), 16)
    >>> round(direct / here, 1)
    3.1
    """
    c, o, tiles, blocks = _counts(way, images, result, lanes, dilation)
    filled = -(-tiles * blocks // _WIDE) * _WIDE / blocks
    fetched, given = _TRANSFORMS[way]
    filters = way.products * c * o * _FILTER / lanes / blocks
    here = filled * (way.products * c * _padded(o, PANEL) + c * fetched + o * given) + filters
    return c * o * _met(way, images, result, before, dilation), here


def gradient_operations(
    way: Way, images: Sequence[Dim], result: Sequence[Dim], lanes: int, before: Sequence[Dim] = (1, 1), dilation: Sequence[int] = (1, 1)
) -> tuple[float, float]:
    """Return the same of the gradient for the filters.

    >>> direct, here = gradient_operations(Way(4, 3), (64, 64, 32, 32), (64, 64, 32, 32), 16)
    >>> round(direct / here, 1)
    2.9
    """
    c, o, tiles, blocks = _counts(way, images, result, lanes, dilation)
    fetched, given = _TRANSFORMS[way]
    sums = way.products * _padded(c, PANEL) * _padded(o, lanes)
    here = tiles * (sums + sums * _RESUME / lanes / _DEEP + c * fetched + o * given) + sums * _FILTER / lanes * _PARTS / blocks
    return c * o * _met(way, images, result, before, dilation), here


def _counts(way: Way, images: Sequence[Dim], result: Sequence[Dim], lanes: int, dilation: Sequence[int]) -> tuple[int, int, int, int]:
    """Channels, filters, tiles of an image, blocks of images."""
    (n, c, *_), (_, o, p, q) = images, result
    rows, columns = (d if isinstance(d, int) else 1024 * way.tile for d in (p, q))
    blocks = max(1, -(-n // lanes)) if isinstance(n, int) else 1024
    assert isinstance(c, int) and isinstance(o, int)
    return c, o, tiles_along(way, rows, dilation[0]) * tiles_along(way, columns, dilation[1]), blocks  # type: ignore[operator, return-value]


def tiles_along(way: Way, n: Dim, dilation: int) -> Dim:
    """How many tiles there are along n results, of which every `dilation`-th one belong together."""
    return dilation * ceildiv(ceildiv(n, dilation), way.tile)  # type: ignore[operator, no-any-return]


def _met(way: Way, images: Sequence[Dim], result: Sequence[Dim], before: Sequence[Dim], dilation: Sequence[int]) -> float:
    """How many pixels the results of an image meet, and those beyond a border that half a filter reaches: columns there come one by one."""
    met = 1.0
    for n, m, above, apart in zip(images[2:], result[2:], before, dilation):
        length = m if isinstance(m, int) else 1024 * way.tile
        if isinstance(n, int) and isinstance(m, int) and isinstance(above, int) and above > way.size // 2 * apart:
            met *= sum(max(0, min(m, n + above - u) - max(0, above - u)) for u in range(0, way.size * apart, apart))
        else:
            met *= way.size * length
    return met


def _padded(n: int, to: int) -> int:
    return -(-n // to) * to


Count = Callable[[Way, Sequence[Dim], Sequence[Dim], int, Sequence[Dim], Sequence[int]], tuple[float, float]]


def _pays(way: Way, count: Count, images: Arg, filters: Sequence[Dim], result: Sequence[Dim], params: Any, given: Any, lanes: int) -> bool:
    plain, dilation = params["stride"] == (1, 1) and params["groups"] == 1, params["dilation"]
    fits = plain and filters[2:] == (way.size, way.size) and images.dtype == "float32"
    if not fits or not all(isinstance(d, int) and d for d in filters):
        return False
    # The channels are those of the filters, which are known; images may say them by an argument.
    pixels, results = (images.shape[0], filters[1], *images.shape[2:]), (result[0], filters[0], *result[2:])
    before = (given["PH"], given["PW"])
    direct, here = count(way, pixels, results, lanes, before, dilation)
    others = [w for w in _TRANSFORMS if w.size == way.size]
    return here < _PAYS * direct and here <= min(count(w, pixels, results, lanes, before, dilation)[1] for w in others)


# -- the convolution ---------------------------------------------------------------------------------------------------

#: The sizes that all texts of this file need, of those of conv2d.h.
_SIZES = ("N", "NB", "CIN", "H", "W", "O", "P", "Q", "PH", "PW", "DH", "DW")

_PIXELS = Hook("pointer", 0, lambda b, c, h, w, lanes: (b * lanes, c, h, w))


def winograd(
    name: str, sizes: Callable[..., dict[str, Dim]], fills: Callable[..., bool], absorbs: Consumer | None = None
) -> tuple[Implementation, ...]:
    """Return the implementations of a correlation, one for each size of tile.

    Parameters
    ----------
    name : of its record. sizes, absorbs : what ``conv2d.h`` has of it. fills : whether there are images enough to fill vectors.
    """
    return tuple(_of_way(name, way, sizes, fills, absorbs) for way in _TRANSFORMS)


def _of_way(name: str, way: Way, sizes: Callable[..., Any], fills: Callable[..., bool], absorbs: Consumer | None) -> Implementation:
    kernel = Kernel(name, implementations=(_convolution(way, sizes, absorbs),), doc="a correlation, transformed filters beside it")

    def when(args: Any, outs: Any, params: Any, lanes: int) -> bool:
        given = sizes(args, outs, params, lanes)
        pays = _pays(way, vector_operations, args[0], args[1].shape, outs[0].shape, params, given, lanes)
        return pays and fills(args, outs, params, lanes)

    def opens(node: Expr, args: Any, outs: Any, lanes: int) -> Expr:
        x, w = node.op.data_inputs(node)
        return Expr(kernel, (x, w, FILTERS.node((w,), {"tile": way.tile})), node.params, node.type, node.name)

    return Implementation(name=f"winograd_{way.tile}", when=when, opens=opens, precisions=("float32",))


def _convolution(way: Way, sizes: Callable[..., Any], absorbs: Consumer | None) -> Implementation:
    def own(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
        given = sizes(args, outs, params, lanes)
        return {**{name: given[name] for name in _SIZES}, **way.macros, "PANEL": PANEL}

    def flops(args: Any, outs: Any, params: Any) -> Dim:
        return _flops(way, args[0].shape[1], outs[0].shape, params["dilation"])

    return Implementation(
        name=f"conv2d_winograd_{way.tile}_{way.size}", text="winograd_tile.h conv2d_winograd.h", sizes=own, flops=flops,
        layouts=(("lanes", "any", "plain"), ("lanes",)), absorbs=absorbs and _fitting(absorbs, way.tile), hooks={
            "PTR_x": _PIXELS,
            "LOAD_w": Hook("load", 1, lambda o, c, u, v: (o, c, u, v)),
            "PTR_u": Hook("pointer", 2, lambda k, t, c: (k, t, c, 0)),
            "STORE_y": Hook("store", 0, lambda b, o, p, q, l, lanes: (b * lanes + l, o, p, q)),  # noqa: E741
        },
    )  # fmt: skip


def _flops(way: Way, c: Dim, result: Sequence[Dim], dilation: Sequence[int] = (1, 1)) -> Dim:
    """Those of the products alone."""
    n, o, p, q = result
    return 2 * n * o * c * tiles_along(way, p, dilation[0]) * tiles_along(way, q, dilation[1]) * way.products  # type: ignore[operator, no-any-return]


def _fitting(consumer: Consumer, tile: int) -> Consumer:
    """A consumer whose windows do not reach from tile to tile: the results of a tile are neighbours without dilation."""

    def when(args: Any, outs: Any, producer: Any, params: Any, lanes: int) -> bool:
        fits = producer["dilation"] == (1, 1) and all(tile % n == 0 for n in params["window"])
        return fits and consumer.when(args, outs, producer, params, lanes)

    return dataclasses.replace(consumer, when=when)


# -- the gradient for the filters --------------------------------------------------------------------------------------


def winograd_weights(sizes: Callable[..., dict[str, Dim]], fills: Callable[..., bool]) -> tuple[Implementation, ...]:
    """Return the implementations of the gradient for the filters; what they need is that of `winograd`."""
    return tuple(_weights_of_way(way, sizes, fills) for way in _TRANSFORMS if way.size == 3)


def _weights_of_way(way: Way, sizes: Callable[..., Any], fills: Callable[..., bool]) -> Implementation:
    summed = Kernel(
        "conv2d_grad_weight", shape=lambda args, shape, **params: shape, dtype=lambda dtypes, **params: dtypes[0],
        implementations=(_sums(way),), doc="the transformed gradient: (parts, products, channels, filters)",
    )  # fmt: skip
    weights = Kernel("winograd_weights", implementations=(_weights(way),), doc="filters' gradient from the transformed one")

    def when(args: Any, outs: Any, params: Any, lanes: int) -> bool:
        given = sizes(args, outs, params, lanes)
        pays = _pays(way, gradient_operations, args[0], outs[0].shape, args[1].shape, params, given, lanes)
        return pays and params["dilation"] == (1, 1) and fills(args, outs, params, lanes)

    def opens(node: Expr, args: Any, outs: Any, lanes: int) -> Expr:
        given = sizes(args, outs, node.params, lanes)
        parts = _parts(way, args, outs, lanes)
        o, c = outs[0].shape[:2]
        shape = (parts, way.products, _padded(c, PANEL), _padded(o, lanes))
        params = {"shape": shape, "before": (given["PH"], given["PW"])}
        x, g = node.op.data_inputs(node)
        return Expr(weights, (summed.node((x, g), params), x, g), params, node.type, node.name)

    return Implementation(name=f"winograd_{way.tile}", when=when, opens=opens, precisions=("float32",))


def _parts(way: Way, args: Sequence[Arg], outs: Sequence[Arg], lanes: int) -> int:
    """Partial sums over the images: a power of two, fewer where they would be large beside the data; from sizes only."""
    data: Any = product(args[0].shape) + product(args[1].shape)  # type: ignore[operator]
    sums: Any = way.products * product(outs[0].shape[:2])  # type: ignore[operator]
    most = min(_PARTS, data // (2 * sums)) if isinstance(data, int) else _PARTS
    return 1 << max(0, most.bit_length() - 1)


def _gradient_sizes(images: Arg, result: Arg, params: Any, lanes: int) -> dict[str, Dim]:
    (n, c, h, w), (_, o, p, q) = images.shape, result.shape
    top, left = params["before"]
    return {
        "N": n, "NB": ceildiv(n, lanes), "CIN": c, "H": h, "W": w, "O": o, "P": p, "Q": q, "PH": top, "PW": left, "DH": 1, "DW": 1,
        "PARTS": params["shape"][0],
    }  # fmt: skip


def _sums(way: Way) -> Implementation:
    def sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
        own: dict[str, Dim] = {**way.macros, "CPAD": params["shape"][2], "OPAD": params["shape"][3]}
        return _gradient_sizes(args[0], args[1], params, lanes) | own

    return Implementation(
        name=f"conv2d_winograd_grad_weight_{way.tile}", text="winograd_tile.h conv2d_winograd_grad_weight.h", sizes=sizes,
        flops=lambda args, outs, params: _flops(way, args[0].shape[1], args[1].shape), layouts=(("lanes", "lanes"), ("plain",)),
        hooks={
            "PTR_x": _PIXELS,
            "PTR_g": Hook("pointer", 1, lambda b, o, p, q, lanes: (b * lanes, o, p, q)),
            "PTR_m": Hook("result", 0, lambda r, k, c, o: (r, k, c, o)),
        },
    )  # fmt: skip


def _weights(way: Way) -> Implementation:
    return Implementation(
        name=f"winograd_weights_{way.tile}", text="winograd_weights.h", layouts=(("plain", "lanes", "lanes"), ("plain",)),
        sizes=lambda args, outs, params, lanes: _gradient_sizes(args[1], args[2], params, lanes) | {"TILE": way.tile},
        hooks={
            "LOAD_m": Hook("load", 0, lambda r, k, c, o: (r, k, c, o)),
            "PTR_x": Hook("pointer", 1, _PIXELS.index),
            "PTR_g": Hook("pointer", 2, lambda b, o, p, q, lanes: (b * lanes, o, p, q)),
            "STORE_y": Hook("store", 0, lambda o, c, u, v: (o, c, u, v)),
        },
    )  # fmt: skip
