"""The texts of kernels/cuda for pooling, scattering and running values, pasted alone on the emulator and compared with NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from exprc.ops import cumulative, pool
from exprc.ops.index import scatter_rows
from exprc.runtime.launch import Device
from tests.cuda.pasted import Paste, arg, module_text, normal, of_device, run

Array = np.ndarray[Any, Any]
Case = tuple[Paste, list[Array], list[Array]]


def check(device: Device, cases: Sequence[Case], tolerance: float = 0) -> None:
    """Each case with its own launch, then with one block that takes everything; 0: the bits of NumPy."""
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for paste, inputs, wanted in cases:
        for blocks in (None, 1):
            got = [np.full(w.shape, 77, w.dtype) for w in wanted]
            run(device, module, paste, inputs, got, blocks)
            for y, want in zip(got, wanted):
                np.testing.assert_allclose(y, want, rtol=tolerance, atol=tolerance, err_msg=paste.name)


# -- pooling -----------------------------------------------------------------------------------------------------------

PLAIN: dict[str, Any] = {"window": (2, 2), "stride": (2, 2), "pad": (0, 0), "dilation": (1, 1), "partial": False}
#: images, params, dtype, the sizes that are arguments
POOLS = [
    ((2, 3, 7, 6), PLAIN, "float32", ()),
    ((1, 50, 9, 8), {**PLAIN, "window": (3, 2), "stride": (2, 1), "pad": (1, 0)}, "float64", ("N", "C", "H", "W", "P", "Q")),
    ((3, 1, 11, 10), {**PLAIN, "window": (2, 3), "stride": (1, 2), "dilation": (3, 2), "pad": (2, 1)}, "float32", ("H", "P")),
    ((1, 2, 7, 6), {**PLAIN, "stride": (1, 3), "dilation": (8, 6), "pad": (7, 6)}, "float32", ()),
    ((0, 2, 4, 4), PLAIN, "float32", ()),
]


def nchw(pointer: str, rows: str, columns: str) -> str:
    return f"{pointer}[(((n) * C + (c)) * {rows} + (h)) * {columns} + (w)]"


SMALL = {"STORE_y(n, c, h, w, x)": nchw("y", "P", "Q") + " = (x)", "LOAD_x(n, c, h, w)": nchw("a", "H", "W")}
CODED = {**SMALL, "STORE_code(n, c, h, w, x)": nchw("code", "P", "Q") + " = (x)"}
LARGE = {"STORE_y(n, c, h, w, x)": nchw("y", "H", "W") + " = (x)", "LOAD_g(n, c, h, w)": nchw("a", "P", "Q")}
FROM_CODE = {**LARGE, "LOAD_code(n, c, h, w)": nchw("code", "P", "Q")}


def images(shape: tuple[int, ...], dtype: str) -> Array:
    """Rounded, so that windows hold equal largest elements, with NaN, infinities and both zeros."""
    x = normal(1, dtype, *shape).round(1)
    x.reshape(-1)[3::11], x.reshape(-1)[5::17], x.reshape(-1)[6::13] = np.nan, -np.inf, -0.0
    return x


def pool_case(number: int, shape: tuple[int, ...], params: dict[str, Any], dtype: str, given: Sequence[str]) -> list[Case]:
    """max_pool, unpool, sum_pool and sum_unpool of one geometry."""
    x = images(shape, dtype)
    value, code = pool.max_pool.numpy(x, **params)
    back, finite = {**params, "size": shape[2:]}, np.nan_to_num(x, neginf=-1)
    g = normal(2, dtype, *value.shape)
    rows: list[Any] = [
        (pool.max_pool, ["const T *a", "T *y", "int *code"], CODED, [x], [value, code], params),
        (pool.unpool, ["const T *a", "const int *code", "T *y"], FROM_CODE, [g, code], [pool.unpool.numpy(g, code, **back)], back),
        (pool.sum_pool, ["const T *a", "T *y"], SMALL, [finite], [pool.sum_pool.numpy(finite, **params)], params),
        (pool.sum_unpool, ["const T *a", "T *y"], LARGE, [g], [pool.sum_unpool.numpy(g, **back)], back),
    ]
    return [
        (Paste(f"k{number}_{record.name}", of_device(record, record.name), buffers, hooks, list(map(arg, inputs)), list(map(arg, outs)),
               own, given), inputs, outs)
        for record, buffers, hooks, inputs, outs, own in rows
    ]  # fmt: skip


def test_pooling_of_any_geometry(device: Device) -> None:
    check(device, [case for number, row in enumerate(POOLS) for case in pool_case(number, *row)], 1e-6)


# -- rows at given places ----------------------------------------------------------------------------------------------

#: rows, width, m, dtype, mode, the sizes that are arguments
SCATTERS = [
    (4, 3, 5, "float32", "inc", ()), (1000, 1, 5000, "float32", "inc", ("M", "ROWS")), (3, 1, 4100, "float64", "inc", ()),
    (300, 70, 90, "float32", "set", ("R",)), (5, 1, 3000, "int64", "set", ()), (7, 300, 2100, "float64", "inc", ()),
    (2, 2, 0, "float32", "inc", ()), (600, 4, 3000, "int64", "inc", ()), (3, 0, 4, "float32", "inc", ()),
    (600, 130, 900, "float32", "inc", ()),
]  # fmt: skip

SCATTER = {
    "LOAD_x(row, r)": "a[(row) * R + (r)]", "LOAD_index(m)": "checked(index[m], ROWS, 4, status)", "LOAD_v(m, r)": "v[(m) * R + (r)]",
    "PTR_y(row, r)": "(y + (row) * R + (r))",
}  # fmt: skip
BUFFERS = ["const T *a", "const long long *index", "const T *v", "long long *status", "T *y"]


def scatter_case(number: int, rows: int, width: int, m: int, dtype: str, mode: str, given: Sequence[str]) -> Case:
    x, v = ((normal(k, "float64", n, width) * 9).astype(dtype) for k, n in enumerate((rows, m)))
    index = np.random.default_rng(2).integers(-rows, rows, m)
    want = scatter_rows.numpy(x, index % rows, v, mode=mode)
    args = [arg(x), arg(index), arg(v)]
    paste = Paste(f"k{number}", of_device(scatter_rows, "scatter"), BUFFERS, SCATTER, args, [arg(want)], {"mode": mode}, given)
    return paste, [x, index, v, np.zeros(3, "int64")], [want]


def test_scatter_has_the_bits_of_numpy(device: Device) -> None:
    """As repeated positions are added in order."""
    check(device, [scatter_case(i, *row) for i, row in enumerate(SCATTERS)])


def test_scatter_notes_an_index_that_is_out_of_bounds(device: Device) -> None:
    paste, inputs, _ = scatter_case(0, 40, 3, 50, "float32", "inc", ())
    inputs[1][7] = 40
    memory = [device.allocate(a.nbytes) for a in (*inputs, inputs[0])]
    for m, a in zip(memory, inputs):
        device.write(m.address, a)
    device.prepare(device.load(module_text([paste])), paste.launches([m.address for m in memory])).run()
    device.read(memory[3].address, inputs[3])
    assert inputs[3].tolist() == [5, 40, 40]


# -- running values ----------------------------------------------------------------------------------------------------

#: (o, n, i), dtype, the sizes that are arguments
RUNNING = [
    ((2, 3, 4), "float32", ()), ((1, 5000, 1), "float32", ()), ((40, 70, 1), "float64", ("O", "N")), ((3, 65, 37), "float32", ("I", "N")),
    ((2, 0, 3), "float32", ()), ((1, 1, 1), "int64", ()), ((2, 300, 5), "int64", ()), ((0, 4, 3), "float32", ()),
]  # fmt: skip


def running_case(number: int, mode: int, shape: tuple[int, ...], dtype: str, given: Sequence[str]) -> Case:
    record = (cumulative.sum_record, cumulative.product_record, cumulative.recurrence)[mode]
    scale = 0.01 if mode == 1 else 1
    x = (1 + scale * normal(1, "float64", *shape)).astype(dtype)
    inputs = [x, normal(2, "float64", *shape).astype(dtype)][: 1 + (mode == 2)]
    at = "[((o) * N + (k)) * I + (i)]"
    hooks = {"LOAD_x(o, k, i)": f"a{at}", "LOAD_a(o, k, i)": f"b{at}", "STORE_y(o, k, i, x)": f"y{at} = (x)"}
    buffers = ["const T *a", "const T *b", "T *y"] if mode == 2 else ["const T *a", "T *y"]
    if mode < 2:
        del hooks["LOAD_a(o, k, i)"]
    want = record.numpy(*inputs)
    paste = Paste(f"k{mode}_{number}", of_device(record, "cumulative"), buffers, hooks, list(map(arg, inputs)), [arg(want)], {}, given)
    return paste, inputs, [want]


@pytest.mark.parametrize("mode", [0, 1])
def test_running_sums_and_products_have_the_bits_of_numpy(mode: int, device: Device) -> None:
    check(device, [running_case(i, mode, *row) for i, row in enumerate(RUNNING)])


def test_recurrences(device: Device) -> None:
    check(device, [running_case(i, 2, *row) for i, row in enumerate(RUNNING)], 1e-4)


def test_a_running_sum_begins_with_the_sign_of_zero(device: Device) -> None:
    x = np.array([-0.0, -0.0, 0.0, 1.0], "float32").reshape(1, 4, 1)
    paste, _, _ = running_case(0, 0, (1, 4, 1), "float32", ())
    y = np.empty_like(x)
    run(device, device.load(module_text([paste])), paste, [x], [y])
    assert np.signbit(y).ravel().tolist() == [True, True, False, False]
