"""Locally connected layers: a convolution with other filters at every place of the result."""

from __future__ import annotations

from typing import Any

from exprc.errors import report
from exprc.expr import Expr
from exprc.forms import node_rows, shape_text
from exprc.ops.conv import pads
from exprc.ops.products import batched_dot
from exprc.ops.sliding import sliding
from exprc.ops.view import dim_of, dimshuffle, reshape


def unshared_conv2d(x: Expr, w: Expr, params: dict[str, Any]) -> Expr:
    """Correlate images (n, channels, rows, columns) with filters (filters, p, q, channels of a group, rows, columns).

    At each of the p q places the windows of all images meet that place's filters in a matrix product.
    """
    windows = _patches(x, w, params)  # (n, channels, p, q, rows, columns)
    n, c, p, q, kh, kw = (dim_of(windows, a) for a in range(6))
    groups = params["groups"]
    _check(x, w, windows, groups)
    o, per_group = dim_of(w, 0), dim_of(w, 3)
    per_place = reshape(windows, (n, groups, per_group, p, q, kh, kw))
    left = reshape(dimshuffle(per_place, (3, 4, 1, 0, 2, 5, 6)), (p * q * groups, n, per_group * kh * kw))
    grouped = reshape(w, (groups, o // groups, p, q, per_group, kh, kw))
    right = reshape(dimshuffle(grouped, (2, 3, 0, 4, 5, 6, 1)), (p * q * groups, per_group * kh * kw, o // groups))
    y = reshape(batched_dot(left, right), (p, q, groups, n, o // groups))
    return reshape(dimshuffle(y, (3, 2, 4, 0, 1)), (n, o, p, q))  # type: ignore[no-any-return]


def _patches(x: Expr, w: Expr, params: dict[str, Any]) -> Expr:
    window = w.type.shape[4:]
    if None in window:
        text = "conv2d: the rows and columns of filters that are not shared must be known"
        raise ValueError(report(text, node_rows((x, w)), "give the filters a shape"))
    sides = pads(params["pad"], window, params["dilation"])  # type: ignore[arg-type]
    for axis, k, s, d, side in zip((2, 3), window, params["stride"], params["dilation"], sides):
        x = sliding(x, axis, k, s, d, side)  # type: ignore[arg-type]
    return x


def _check(x: Expr, w: Expr, windows: Expr, groups: int) -> None:
    o, p, q, c = w.type.shape[:4]
    if o is not None and o % groups:
        text = f"conv2d: {o} filters cannot be split in {groups} groups"
        raise ValueError(report(text, node_rows((x, w)), "num_groups must divide their number"))
    wanted = (None if c is None else c * groups, p, q)
    there = windows.type.shape[1:4]
    if any(None not in (a, b) and a != b for a, b in zip(wanted, there)):
        text = f"conv2d: the filters are for channels and places {shape_text(wanted)}, the images have {shape_text(there)}"
        fix = "filters that are not shared are (filters, rows of the result, columns of the result, channels, rows, columns)"
        raise ValueError(report(text, node_rows((x, w)), fix))
