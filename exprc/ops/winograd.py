"""Winograd's convolution for filters of 3 x 3 at stride 1: fewer products, and more additions around them.

Tiles of TILE x TILE results come of (TILE + 2)² products for each pair of channels, not of 9 TILE² (Lavin and Gray 2016, Fast Algorithms
for Convolutional Neural Networks). What it costs beside, and whether it pays, is counted here (`vector_operations`); how far its results
may be off stands in ``kernels/c/conv2d_winograd.h``. ``precision="strict"`` does without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exprc.expr import Expr
from exprc.forms import Arg, Consumer, Hook, Implementation, Kernel
from exprc.size import Dim, ceildiv

#: Filters side by side in the transformed ones.
PANEL = 8

#: Tiles side by side that the text multiplies at once.
_WIDE = 3

#: TILE -> what transforming costs in multiplications of a vector, memory's waits included: a channel's pixels of a tile, and a filter's
#: results. Measured at 16 to 128 channels.
_TRANSFORMS = {4: (600, 800), 2: (200, 200)}

#: What transforming a filter costs, for each of its products.
_FILTER = 4

#: Of the operations of the convolution as it stands, at most so many may be left for it to pay.
_PAYS = 0.8

_G = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    4: np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
}


# -- the filters, transformed ------------------------------------------------------------------------------------------


def _transformed_shape(args: Sequence[Arg], tile: int) -> tuple[Dim, ...]:
    """(products, panels, channels, PANEL)"""
    o, c = args[0].shape[:2]
    return ((tile + 2) ** 2, ceildiv(o, PANEL), c, PANEL)


def _transformed(w: Any, tile: int) -> Any:
    padded = np.pad(w, ((0, -len(w) % PANEL), (0, 0), (0, 0), (0, 0)))
    u = np.einsum("iv,ocvx,jx->ijoc", _G[tile], padded, _G[tile])
    return u.reshape((tile + 2) ** 2, -1, PANEL, w.shape[1]).swapaxes(2, 3).astype(w.dtype)


def _filter_sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
    o, c = args[0].shape[:2]
    return {"CIN": c, "O": o, "TILE": params["tile"], "PANEL": PANEL}


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
    doc="filters (filters, channels, 3, 3), transformed for tiles of tile x tile results: (products, panels, channels, filters of a panel)",
)  # fmt: skip


# -- whether it pays ---------------------------------------------------------------------------------------------------


def vector_operations(tile: int, images: Sequence[Dim], result: Sequence[Dim], lanes: int) -> tuple[float, float]:
    """Return about how many multiplications of vectors a convolution of 3 x 3 takes for one block of images: as it stands, and here.

    Of sizes that are not known yet it is assumed that they fill their tiles.

    >>> direct, here = vector_operations(4, (64, 64, 32, 32), (64, 64, 32, 32), 16)
    >>> round(direct / here, 1)
    2.5
    """
    (n, c, *_), (_, o, p, q) = images, result
    rows, columns = (d if isinstance(d, int) else 1024 * tile for d in (p, q))
    blocks = -(-n // lanes) if isinstance(n, int) else 1024
    assert isinstance(c, int) and isinstance(o, int)
    tiles = -(-(-(-rows // tile) * -(-columns // tile) * blocks) // _WIDE) * _WIDE / blocks if blocks else 0
    products, (pixels, results) = (tile + 2) ** 2, _TRANSFORMS[tile]
    filters = products * c * o * _FILTER / lanes / max(blocks, 1)
    here = tiles * (products * c * -(-o // PANEL) * PANEL + c * pixels + o * results) + filters
    return 9.0 * c * o * rows * columns, here


def _pays(tile: int, args: Sequence[Arg], outs: Sequence[Arg], params: Any, lanes: int) -> bool:
    images, filters = args[0].shape, args[1].shape
    plain = params["stride"] == params["dilation"] == (1, 1) and params["groups"] == 1
    if not plain or filters[2:] != (3, 3) or args[0].dtype != "float32" or not all(isinstance(d, int) and d for d in filters):
        return False
    direct, here = vector_operations(tile, images, outs[0].shape, lanes)
    other = min(vector_operations(t, images, outs[0].shape, lanes)[1] for t in _TRANSFORMS)
    return here < _PAYS * direct and here <= other


# -- the convolution ---------------------------------------------------------------------------------------------------


def winograd(
    sizes: Callable[..., dict[str, Dim]], fills: Callable[..., bool], absorbs: Consumer | None = None
) -> tuple[Implementation, ...]:
    """Return the implementations of a correlation, one for each size of tile.

    Parameters
    ----------
    sizes, absorbs : what ``conv2d.h`` has of it. fills : whether there are images enough to fill vectors.
    """
    return tuple(_of_tile(tile, sizes, fills, absorbs) for tile in _TRANSFORMS)


def _of_tile(tile: int, sizes: Callable[..., dict[str, Dim]], fills: Callable[..., bool], absorbs: Consumer | None) -> Implementation:
    def own(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
        given = sizes(args, outs, params, lanes)
        names = ("N", "NB", "CIN", "H", "W", "O", "P", "Q", "PH", "PW")
        return {**{name: given[name] for name in names}, "TILE": tile, "PANEL": PANEL}

    def flops(args: Any, outs: Any, params: Any) -> Dim:
        """Those of the products alone."""
        n, o, p, q = outs[0].shape
        return 2 * n * o * args[0].shape[1] * ceildiv(p, tile) * ceildiv(q, tile) * (tile + 2) ** 2  # type: ignore[no-any-return]

    return Implementation(
        name=f"conv2d_winograd_{tile}", text="conv2d_winograd.h", sizes=own, flops=flops, precisions=("float32",),
        when=lambda args, outs, params, lanes: fills(args, outs, params, lanes) and _pays(tile, args, outs, params, lanes),
        layouts=(("lanes", "any", "plain"), ("lanes",)), prepare={1: lambda w: transformed(w, tile)},
        absorbs=absorbs and _fitting(absorbs, tile), hooks={
            "PTR_x": Hook("pointer", 0, lambda b, c, h, w, lanes: (b * lanes, c, h, w)),
            "LOAD_w": Hook("load", 1, lambda o, c, u, v: (o, c, u, v)),
            "PTR_u": Hook("pointer", 2, lambda k, t, c: (k, t, c, 0)),
            "STORE_y": Hook("store", 0, lambda b, o, p, q, l, lanes: (b * lanes + l, o, p, q)),  # noqa: E741
        },
    )  # fmt: skip


def transformed(w: Expr, tile: int) -> Expr:
    """The filters as the text reads them."""
    return FILTERS.node((w,), {"tile": tile})


def _fitting(consumer: Consumer, tile: int) -> Consumer:
    """A consumer whose windows do not reach from tile to tile."""

    def when(args: Any, outs: Any, producer: Any, params: Any, lanes: int) -> bool:
        return consumer.when(args, outs, producer, params, lanes) and all(tile % n == 0 for n in params["window"])

    return dataclasses.replace(consumer, when=when)
