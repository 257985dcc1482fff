"""The kernel texts of kernels/cuda, pasted alone with hooks of all kinds, on the emulator and compared with NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from exprc.ops import pool
from exprc.ops.conv import conv2d_grad_input, conv2d_grad_weight, conv2d_record
from exprc.ops.linalg import gemm
from exprc.ops.tiling import TILE, tiles
from exprc.runtime.launch import Device
from exprc.schedule import absorb
from tests.cuda.pasted import Paste, arg, module_text, normal, of_device, run

Array = np.ndarray[Any, Any]


def assert_close(got: Array, want: Array, terms: int) -> None:
    """Within the rounding of a sum of `terms` products of numbers around one."""
    allowed = np.finfo(got.dtype).eps * (4 * terms + 32)
    assert got.shape == want.shape
    assert got.size == 0 or np.abs(got - want).max() <= allowed, np.abs(got - want).max()


# -- gemm --------------------------------------------------------------------------------------------------------------

#: (batch, m, n, k), whether a and b lie transposed, dtype, the sizes that are arguments
GEMMS = [
    ((1, 1, 1, 1), "", "float32", ()), ((2, 5, 7, 0), "ab", "float32", ("K",)), ((1, 64, 10, 33), "a", "float64", ("M", "N")),
    ((3, 13, 1, 40), "b", "float32", ("BATCH",)), ((2, 29, 33, 17), "", "float64", ()), ((1, 130, 67, 5), "ab", "float32", ("M", "N", "K")),
    ((1, 200, 129, 50), "", "float32", ()), ((0, 3, 4, 5), "", "float32", ()), ((1, 0, 4, 5), "", "float32", ()),
]  # fmt: skip


def gemm_hooks(turned: str, parts: bool) -> dict[str, str]:
    a = "a[((g) * K + (k)) * M + (i)]" if "a" in turned else "a[((g) * M + (i)) * K + (k)]"
    b = "b[((g) * N + (j)) * K + (k)]" if "b" in turned else "b[((g) * K + (k)) * N + (j)]"
    lead = "((r) * BATCH + (g))" if parts else "(g)"
    return {"LOAD_a(g, i, k)": a, "LOAD_b(g, k, j)": b, "STORE_y(r, g, i, j, x)": f"y[({lead} * M + (i)) * N + (j)] = (x) + bias[j]"}


def gemm_case(
    number: int, impl: str, dims: Sequence[int], turned: str, dtype: str, given: Sequence[str]
) -> tuple[Paste, list[Array], Array]:
    batch, m, n, k = dims
    a, b, c = normal(1, dtype, batch, m, k), normal(2, dtype, batch, k, n), normal(3, dtype, n)
    want = a.astype(float) @ b.astype(float) + c
    flags = ["A_COLS_CONTIGUOUS"] * ("a" in turned) + ["B_COLS_CONTIGUOUS"] * ("b" in turned)
    hooks = gemm_hooks(turned, impl.endswith("in_parts"))
    paste = Paste(
        f"k{number}", of_device(gemm, impl), ["const T *a", "const T *b", "const T *bias", "T *y"], hooks,
        [arg(a), arg(b)], [arg(want.astype(dtype))], given=given, flags=flags,
    )  # fmt: skip
    stored = [np.ascontiguousarray(v.swapaxes(1, 2)) if name in turned else v for name, v in (("a", a), ("b", b))]
    return paste, [*stored, c], want


def test_gemm_of_odd_sizes_strides_and_types(device: Device) -> None:
    cases = [gemm_case(i, "gemm", *case) for i, case in enumerate(GEMMS)]
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for paste, inputs, want in cases:
        for blocks in (None, 1):  # one block goes through all tiles
            y = np.full(want.shape, np.nan, inputs[0].dtype)
            run(device, module, paste, inputs, [y], blocks)
            assert_close(y, want, paste.sizes["K"])


#: (tile_m, tile_n, reg_m, reg_n, slices), each for a type: squares, lengths that no power of two is, more loads of one operand than of the
#: other, sums shared by threads
TILES = [
    ((128, 128, 8, 8, 1), "float32"), ((64, 64, 8, 4, 2), "float32"), ((128, 64, 4, 8, 1), "float32"), ((20, 128, 4, 4, 2), "float32"),
    ((128, 20, 4, 4, 1), "float32"), ((52, 64, 4, 4, 2), "float64"), ((64, 36, 8, 4, 1), "float32"), ((32, 16, 4, 4, 4), "float64"),
]  # fmt: skip


@pytest.mark.parametrize("turned", ["", "ab"])
def test_gemm_with_tiles_of_all_kinds(turned: str, device: Device) -> None:
    cases = []
    for tile, dtype in TILES:
        m, n = tile[0] + tile[0] // 2, tile[1] + 1
        assert tile in tiles(tile[0], tile[1], np.dtype(dtype).itemsize)
        paste, inputs, want = gemm_case(len(cases), "gemm", (1, m, n, 21), turned, dtype, ())
        paste.sizes.update(zip(TILE, tile))
        cases.append((paste, inputs, want))
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for paste, inputs, want in cases:
        y = np.full(want.shape, np.nan, inputs[0].dtype)
        run(device, module, paste, inputs, [y])
        assert_close(y, want, 21)


def test_gemm_in_parts(device: Device) -> None:
    cases = [gemm_case(i, "gemm_in_parts", (1, 20, 25, k), "", d, ()) for i, (k, d) in enumerate([(1000, "float32"), (700, "float64")])]
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for paste, inputs, want in cases:
        parts = paste.sizes["PARTS"]
        assert parts > 3
        y = np.full((parts, *want.shape), np.nan, inputs[0].dtype)
        run(device, module, paste, inputs, [y])
        assert_close(y.sum(0) - (parts - 1) * inputs[2], want, paste.sizes["K"])


# -- convolution -------------------------------------------------------------------------------------------------------

#: images (n, c, h, w), filters o, (kh, kw), stride, pad, dilation, groups, dtype, the sizes that are arguments
CONVOLUTIONS = [
    ((3, 4, 7, 6), 6, (3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, "float32", ()),
    ((2, 3, 9, 8), 5, (3, 3), (2, 3), ((1, 0), (2, 1)), (1, 1), 1, "float32", ("N", "H", "W", "P", "Q")),
    ((1, 4, 11, 9), 6, (4, 3), (3, 2), "full", (2, 1), 2, "float64", ()),
    ((2, 4, 10, 9), 4, (3, 4), (4, 2), "half", (2, 2), 4, "float32", ("CIN", "O")),
    ((2, 1, 20, 21), 50, (5, 5), (1, 1), ((2, 2), (1, 3)), (1, 1), 1, "float32", ()),
    ((2, 3, 6, 6), 70, (1, 1), (6, 1), ((0, 0), (0, 0)), (1, 3), 1, "float32", ()),
    ((0, 4, 5, 5), 2, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, "float32", ()),
    ((2, 0, 5, 5), 2, (3, 3), (1, 1), ((1, 1), (0, 0)), (1, 1), 1, "float32", ()),
    ((1, 2, 5, 6), 3, (3, 3), (1, 1), ((0, 1), (0, 0)), (1, 1), 1, "float32", ()),
    ((1, 2, 5, 6), 3, (3, 3), (1, 1), ((0, 0), (0, 1)), (1, 1), 1, "float32", ()),
]  # fmt: skip

RECORDS = {"conv2d": conv2d_record, "conv2d_grad_input": conv2d_grad_input, "conv2d_grad_weight": conv2d_grad_weight}
FORWARD = {
    "LOAD_x(n, c, h, w_)": "a[(((n) * CIN + (c)) * H + (h)) * W + (w_)]",
    "LOAD_w(o, c, u, v)": "b[(((o) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v)]",
    "STORE_y(r, n, o, p, q, x)": "y[((((r) * N + (n)) * O + (o)) * P + (p)) * Q + (q)] = 2 * (x)",
}
WEIGHT = {
    "LOAD_x(n, c, h, w_)": "a[(((n) * CIN + (c)) * H + (h)) * W + (w_)]",
    "LOAD_g(n, o, p, q)": "b[(((n) * O + (o)) * P + (p)) * Q + (q)]",
    "STORE_y(r, o, c, u, v, x)": "y[((((r) * O + (o)) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v)] = 2 * (x)",
}


def operands(kind: str, case: Sequence[Any]) -> tuple[Array, Array, dict[str, Any], Array]:
    """What a record of the three takes, its params, and its result."""
    (n, c, h, w), o, window, stride, pad, dilation, groups, dtype, _ = case
    x, filters = normal(1, dtype, n, c, h, w), normal(2, dtype, o, c // groups, *window)
    params: dict[str, Any] = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
    y = conv2d_record.numpy(x, filters, **params)
    if kind == "conv2d":
        return x, filters, params, y
    g = normal(3, dtype, *y.shape)
    if kind == "conv2d_grad_input":
        a, b, params = g, normal(2, dtype, c, o // groups, *window), {**params, "size": (h, w)}
    else:
        a, b, params = x, g, {**params, "size": window}
    return a, b, params, RECORDS[kind].numpy(a, b, **params)


def conv_paste(number: int, kind: str, name: str, case: Sequence[Any]) -> tuple[Paste, list[Array], Array]:
    a, b, params, want = operands(kind, case)
    hooks, given = (WEIGHT if kind == "conv2d_grad_weight" else FORWARD), case[-1]
    impl = of_device(RECORDS[kind], name)
    paste = Paste(f"k{number}", impl, ["const T *a", "const T *b", "T *y"], hooks, [arg(a), arg(b)], [arg(want)], params, given)
    return paste, [a, b], want


def pooled_paste(number: int, case: Sequence[Any], windows: Mapping[str, Any]) -> tuple[Paste, list[Array], list[Array]]:
    """A convolution that pools its result, as `exprc.schedule.absorb` joins the two; the largest elements, and where they are.

    Of small whole numbers, so that sums are exact and windows hold equal ones.
    """
    a, b, params, y = operands("conv2d", case)
    a, b = np.round(a), np.round(b)
    y = conv2d_record.numpy(a, b, **params)
    value, code = pool.max_pool.numpy(y, **windows)
    impl = absorb._implementation(of_device(conv2d_record, "conv2d"), params, windows, 2)
    stores = {f"STORE_{name}(n, o, p, q, x)": f"{name}[(((n) * O + (o)) * PP + (p)) * PQ + (q)] = (x)" for name in ("y", "code")}
    hooks = {**FORWARD, **stores, "VALUE(r, n, o, p, q, x)": "(x)"}
    del hooks["STORE_y(r, n, o, p, q, x)"]
    args, buffers = [arg(a), arg(b), arg(y), arg(y)], ["const T *a", "const T *b", "T *y", "int *code"]
    return Paste(f"k{number}", impl, buffers, hooks, args, [arg(value), arg(code)], params), [a, b], [value, code]


@pytest.mark.parametrize("kind", RECORDS)
def test_convolution_of_any_geometry(kind: str, device: Device) -> None:
    name = "conv2d_grad_weight_in_parts" if kind == "conv2d_grad_weight" else "conv2d"
    cases = [conv_paste(i, kind, name, case) for i, case in enumerate(CONVOLUTIONS)]
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for paste, inputs, want in cases:
        for blocks in (None, 2):
            y = np.full((paste.sizes["PARTS"], *want.shape), np.nan, inputs[0].dtype)
            run(device, module, paste, inputs, [y], blocks)
            assert_close(y.sum(0), 2 * want, 1000)


def by_rows(paste: Paste, channels: int, rows_first: int) -> Paste:
    """A convolution whose pieces are rows of the windows of some channels, and a little more."""
    across, slices = -(-paste.sizes["KW"] // paste.sizes["V_STEP"]), paste.sizes["SLICES"]
    paste.sizes.update(CHANNELS=channels, TILE_K=-(-(channels * across + rows_first) // slices) * slices, ROWS_FIRST=rows_first)
    return paste


@pytest.mark.parametrize("kind", ["conv2d", "conv2d_grad_input"])
def test_convolution_by_rows_of_windows(kind: str, device: Device) -> None:
    """Channels that are and that are no multiple of the rows loaded at once, nor of the channels that there are; both orders of pixels."""
    cases = []
    for i, case in enumerate(CONVOLUTIONS):
        for channels, rows_first in ((2, i % 2), (3, 1 - i % 2)):
            paste, inputs, want = conv_paste(len(cases), kind, "conv2d", case)
            cases.append((by_rows(paste, channels, rows_first), inputs, want))
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for paste, inputs, want in cases:
        y = np.full((1, *want.shape), np.nan, inputs[0].dtype)
        run(device, module, paste, inputs, [y])
        assert_close(y[0], 2 * want, 1000)


@pytest.mark.parametrize("kind", ["conv2d", "conv2d_grad_input"])
def test_convolution_of_few_pixels_is_cut_in_parts(kind: str, device: Device) -> None:
    case = ((1, 96, 6, 5), 80, (3, 3), (2, 1), ((1, 1), (0, 2)), (1, 1), 1, "float32", ())
    paste, inputs, want = conv_paste(0, kind, "conv2d_in_parts", case)
    y = np.full((paste.sizes["PARTS"], *want.shape), np.nan, "float32")
    assert len(y) > 1
    run(device, device.load(module_text([paste])), paste, inputs, [y])
    assert_close(y.sum(0), 2 * want, 1000)
