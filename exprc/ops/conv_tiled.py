"""Convolutions and their gradients on a GPU: implementations on ``conv2d.cuh`` and ``conv2d_grad_weight.cuh``, and cuDNN before them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from exprc.forms import Arg, Consumer, Hook, Implementation
from exprc.ops.tiled import by_library, tiled
from exprc.size import Dim, ceildiv, floordiv


def _product_sizes(args: Any, outs: Any, params: Any, up_of: Callable[[Any], Sequence[int]]) -> tuple[Dim, Dim, Dim, Dim, Dim]:
    """(m, n, k, batch, unit) of the products of conv2d.cuh: filters, pixels, weights; groups and remainders."""
    groups, up = params["groups"], up_of(params)
    n, o, p, q = outs[0].shape[-4:]
    c, kh, kw = args[1].shape[1:]
    pixels, weights = n * ceildiv(p, up[0]) * ceildiv(q, up[1]), c * ceildiv(kh, up[0]) * ceildiv(kw, up[1])
    return floordiv(o, groups), pixels, weights, groups * up[0] * up[1], 1


def _pieces(args: Any, outs: Any, params: Any, tile: Mapping[str, Any], sizes: Any) -> dict[str, Dim]:
    """What conv2d.cuh calls CHANNELS, its TILE_K, and ROWS_FIRST: the cheapest pieces of windows, by what they are padded with."""
    own = sizes(args, outs, params, 1)
    c, (kh, kw) = args[1].shape[1], args[1].shape[2:]
    if not all(isinstance(d, int) and d > 0 for d in (c, kh, kw)):
        return {"CHANNELS": 0, "ROWS_FIRST": 0}
    across = -(-kw // own["V_STEP"])
    whole = c * -(-kh // own["U_STEP"]) * across
    most, slices = 16 if tile["MATRIX"] or tile["REG_M"] * tile["REG_N"] > 16 else 25, tile["SLICES"]
    depth = 16 if tile["MATRIX"] else -(-whole // (-(-whole // 16) * slices)) * slices
    ways = [((1.9 if tile["MATRIX"] else 1.35) * -(-whole // depth) * depth / whole, 0, depth)]
    step = tile["TILE_M"] // tile["REG_M"] * (tile["TILE_N"] // tile["REG_N"]) * slices // tile["TILE_N"]  # rows of k loaded at once
    for n in (n for n in range(1, most // across + 1) if n % step == 0 or step % n == 0):
        depth = 16 if tile["MATRIX"] else -(-n * across // slices) * slices
        ways += [(-(-c // n) * depth / (c * across) * (1 + 3 / depth), n, depth)] * (depth >= 8)
    _, channels, depth = min(ways)
    rows_first = channels > 0 and all(isinstance(own[k], int) for k in ("P", "H", "PH")) and _share_of_rows(own) < 0.8
    return {"CHANNELS": channels, "TILE_K": depth, "ROWS_FIRST": int(rows_first)}


def _share_of_rows(own: Mapping[str, Any]) -> float:
    """Of the rows that windows have, how many lie in the (spread) image."""
    rows = np.arange(own["P"])[:, None] * own["SH"] + np.arange(own["KH"]) * own["DH"] - own["PH"]
    return float(np.mean((rows >= 0) & (rows < own["H"] * own["UP_H"]))) if rows.size else 1.0


def tiled_correlations(
    plain: Implementation, up_of: Callable[[Any], Sequence[int]], absorbs: Consumer | None = None
) -> tuple[Implementation, ...]:
    """A correlation on a GPU.

    Parameters
    ----------
    plain : its text for a CPU that takes images in rows, whose sizes and hooks it shares.
    up_of(params) : by how much the images are spread.
    """

    def own(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
        whole: dict[str, Dim] = plain.sizes(args, [Arg(outs[0].shape[-4:], outs[0].dtype)], params, 1)
        (up_h, up_w), (dh, dw) = up_of(params), params["dilation"]
        return {**whole, "U_STEP": up_h // math.gcd(up_h, dh), "V_STEP": up_w // math.gcd(up_w, dw)}

    def extents(values: Mapping[str, int]) -> tuple[int, int, int]:
        up_h, up_w, groups = values["UP_H"], values["UP_W"], values["GROUPS"]
        pixels = values["N"] * -(-values["P"] // up_h) * -(-values["Q"] // up_w)
        if "POOL_H" in values:
            pixels = values["N"] * values["PP"] * values["PQ"] * values["POOL_H"] * values["POOL_W"]
        return values["O"] // groups, pixels, groups * up_h * up_w

    text = dataclasses.replace(
        plain, name="conv2d", text="conv2d.cuh product.cuh", device="cuda", sizes=own, absorbs=absorbs,
        hooks={**plain.hooks, "STORE_y": Hook("store", 0, lambda r, n, o, p, q: (n, o, p, q))},
    )  # fmt: skip
    products, pieces = partial(_product_sizes, up_of=up_of), partial(_pieces, sizes=own)
    return _or_cudnn(tiled(text, products, extents, Hook("store", 0, lambda r, n, o, p, q: (r, n, o, p, q)), pieces))


def _or_cudnn(made: tuple[Implementation, ...]) -> tuple[Implementation, ...]:
    """The implementations of a text, and cuDNN before them, which pads both ends alike."""
    return *by_library(made, "cudnn", ("float32", "strict", "tf32"), _padded_alike), *made


def _padded_alike(args: Any, outs: Any, params: Any, lanes: int) -> bool:
    return isinstance(params["pad"], str) or all(before == after for before, after in params["pad"])


def _weight_product(args: Any, outs: Any, params: Any) -> tuple[Dim, Dim, Dim, Dim, Dim]:
    """(m, n, k, batch, unit) of conv2d_grad_weight.cuh: filters of a group, their weights, pixels; groups; channels at one (u, v)."""
    o, c, kh, kw = outs[0].shape[-4:]
    n, _, p, q = args[1].shape
    return floordiv(o, params["groups"]), c * kh * kw, n * p * q, params["groups"], c


def tiled_weight_gradient(plain: Implementation) -> tuple[Implementation, ...]:
    """The gradient for the filters on a GPU; plain : its text for a CPU that takes images in rows, whose sizes and hooks it shares."""
    text = dataclasses.replace(
        plain, name="conv2d_grad_weight", text="conv2d_grad_weight.cuh product.cuh", device="cuda", parts=None,
        hooks={**plain.hooks, "STORE_y": Hook("store", 0, lambda r, o, c, u, v: (o, c, u, v))},
    )  # fmt: skip
    return _or_cudnn(tiled(text, _weight_product, _weight_extents, plain.hooks["STORE_y"]))


def _weight_extents(values: Mapping[str, int]) -> tuple[int, int, int]:
    return values["O"] // values["GROUPS"], values["CIN"] // values["GROUPS"] * values["KH"] * values["KW"], values["GROUPS"]
