"""Products and convolutions by matrix instructions: against products of rounded factors and within the stated bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import build
from exprc.ops.tiled import MATRIX
from exprc.ops.tiling import TILE, tiles
from exprc.runtime.launch import CUDA, Device, Launch, precisions
from tests.cuda.devices import DEVICES, there
from tests.cuda.pasted import module_text, normal, run
from tests.cuda.test_kernels import CONVOLUTIONS, GEMMS, RECORDS, conv_paste, gemm_case, operands

Array = np.ndarray[Any, Any]

#: The share of a product that rounding both of its factors may take away.
BOUND = {"tf32": 2.0**-10, "bf16": 2.0**-7}


def rounded(x: Array, precision: str) -> Array:
    """To the nearest number with 10 bits of fraction, halves away from zero; with 7 bits, halves to the even one."""
    bits = x.astype("float32").view("uint32").astype("uint64")
    bits = bits + 0x1000 & 0xFFFFE000 if precision == "tf32" else bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000
    return bits.astype("uint32").view("float32").astype(float)


def assert_product(got: Array, product: Callable[[Array, Array], Array], a: Array, b: Array, precision: str, terms: int) -> None:
    """The product of rounded factors, summed in float32; and as near to that of the factors themselves as is stated."""
    size = product(np.abs(a).astype(float), np.abs(b).astype(float))
    sums = (terms + 8) * 2.0**-24 * size
    assert np.all(np.abs(got - product(rounded(a, precision), rounded(b, precision))) <= sums)
    assert np.all(np.abs(got - product(a.astype(float), b.astype(float))) <= sums + BOUND[precision] * size)
    assert precision == "tf32" or got.size < 100 or terms < 2 or np.any(np.abs(got - product(a.astype(float), b.astype(float))) > sums)


def matrices(turned: str) -> Callable[[Array, Array], Array]:
    return lambda a, b: (a.swapaxes(1, 2) if "a" in turned else a) @ (b.swapaxes(1, 2) if "b" in turned else b)


@pytest.mark.parametrize("precision", MATRIX)
def test_gemm_of_odd_sizes_and_strides(precision: str, device: Device) -> None:
    rows = [(dims, turned, "float32", given) for dims, turned, _, given in GEMMS]
    cases = [gemm_case(i, f"gemm_{precision}", *row) for i, row in enumerate(rows)]
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for (paste, (a, b, c), want), row in zip(cases, rows, strict=True):
        for blocks in (None, 1):
            y = np.full(want.shape, np.nan, "float32")
            run(device, module, paste, [a, b, np.zeros_like(c)], [y], blocks)
            assert_product(y, matrices(row[1]), a, b, precision, paste.sizes["K"])


#: (tile_m, tile_n, reg_m, reg_n): warps below each other, side by side, and both; the largest
TILES = [(64, 32, 8, 4), (32, 64, 2, 8), (16, 128, 2, 4), (48, 64, 2, 8), (128, 128, 8, 8), (64, 48, 4, 4), (32, 32, 4, 4),
         (256, 128, 8, 16)]  # fmt: skip


@pytest.mark.parametrize("precision", MATRIX)
def test_gemm_with_tiles_of_all_kinds(precision: str, device: Device) -> None:
    cases = []
    for i, sides in enumerate(TILES):
        tile = (*sides, 2 if precision == "tf32" and i % 2 == 0 and i != 4 else 1)
        m, n = tile[0] + tile[0] // (2 if i < 7 else 16) + 1, tile[1] + 1
        assert tile in tiles(tile[0], tile[1], 4, MATRIX[precision])
        paste, inputs, want = gemm_case(i, f"gemm_{precision}", (1, m, n, 37), ("", "ab")[i % 2], "float32", ())
        paste.sizes.update(zip(TILE, tile))
        cases.append((paste, inputs, want))
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for i, (paste, (a, b, c), want) in enumerate(cases):
        y = np.full(want.shape, np.nan, "float32")
        run(device, module, paste, [a, b, np.zeros_like(c)], [y])
        assert_product(y, matrices(("", "ab")[i % 2]), a, b, precision, 37)


ROUND = """
EXPRC_KERNEL void round_all(const float *x, unsigned *y, long long n) {
    const long long i = blockIdx.x * 256ll + threadIdx.x;
    if (i < n) y[i] = to_tf32(x[i]) & 0xffffe000u;
}
"""


def test_rounding_to_tf32(device: Device) -> None:
    """Of every exponent, with fractions around the halves and at the ends; subnormal numbers are cut off."""
    fractions = np.unique([base + off & 0x7FFFFF for base in (0, 0x1000, 0x2000, 0x3000, 0x5555, 0x7FE000) for off in (-0x1001, -1, 0, 1)])
    heads = np.arange(512, dtype="uint32") << 23
    x = (heads[:, None] | fractions.astype("uint32")).ravel().view("float32")
    bits = np.zeros(x.shape, "uint32")
    memory = [device.allocate(x.nbytes) for _ in range(2)]
    device.write(memory[0].address, x)
    launch = Launch("round_all", (-(-len(x) // 256), 1, 1), (256, 1, 1), 0, (memory[0].address, memory[1].address, len(x)))
    device.prepare(device.load(module_text([]) + ROUND), [launch]).run()
    device.read(memory[1].address, bits)
    usual, small = np.isfinite(x) & (np.abs(x) >= 2.0**-126), np.abs(x) < 2.0**-126
    np.testing.assert_array_equal(bits[usual].view("float32"), rounded(x[usual], "tf32").astype("float32"))
    np.testing.assert_array_equal(bits[small], x[small].view("uint32") & 0xFFFFE000)
    np.testing.assert_array_equal(bits[np.isinf(x)].view("float32"), x[np.isinf(x)])
    assert np.isnan(bits[np.isnan(x)].view("float32")).all()


@pytest.mark.parametrize("precision", MATRIX)
def test_infinities_and_nan_stay_what_they_are(precision: str, device: Device) -> None:
    paste, (a, b, c), want = gemm_case(0, f"gemm_{precision}", (1, 5, 6, 20), "", "float32", ())
    a[0, 1, 3], a[0, 2, 4], b[0, 7, 2] = np.inf, -np.inf, np.nan
    a[0, 3, 5], b[0, 5] = np.array(0x7F800001, "uint32").view("float32"), 1  # a NaN of which rounding leaves no bit
    y = np.full(want.shape, np.nan, "float32")
    run(device, device.load(module_text([paste])), paste, [a, b, np.zeros_like(c)], [y])
    with np.errstate(invalid="ignore"):
        expected = a.astype(float) @ b.astype(float)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(y[np.isinf(expected)], expected[np.isinf(expected)])


def convolution(kind: str, case: Sequence[Any]) -> Callable[[Array, Array], Array]:
    params = operands(kind, case)[2]
    return lambda a, b: RECORDS[kind].numpy(a, b, **params)  # type: ignore[no-any-return]


@pytest.mark.parametrize("precision", MATRIX)
@pytest.mark.parametrize("kind", RECORDS)
def test_convolution_of_any_geometry(kind: str, precision: str, device: Device) -> None:
    name = "conv2d_grad_weight" if kind == "conv2d_grad_weight" else "conv2d"
    rows = [(*case[:7], "float32", case[8]) for case in CONVOLUTIONS]
    cases = [conv_paste(i, kind, f"{name}_{precision}", row) for i, row in enumerate(rows)]
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for (paste, (a, b), want), row in zip(cases, rows, strict=True):
        y = np.full((1, *want.shape), np.nan, "float32")
        run(device, module, paste, [a, b], [y])
        assert_product(y[0] / 2, convolution(kind, row), a, b, precision, 1000)


#: one of few pixels and many channels, one of many pixels and few weights
IN_PARTS = {
    "conv2d": ((2, 64, 6, 5), 40, (3, 3), (2, 1), ((1, 1), (0, 2)), (1, 1), 1, "float32", ()),
    "conv2d_grad_weight": ((3, 3, 18, 17), 12, (3, 2), (1, 1), "half", (1, 1), 1, "float32", ()),
}


@pytest.mark.parametrize("precision", MATRIX)
def test_in_parts(precision: str, device: Device) -> None:
    cases = [conv_paste(i, kind, f"{kind}_{precision}_in_parts", case) for i, (kind, case) in enumerate(IN_PARTS.items())]
    module = device.load(module_text([paste for paste, _, _ in cases]))
    for (paste, (a, b), want), (kind, case) in zip(cases, IN_PARTS.items(), strict=True):
        y = np.full((paste.sizes["PARTS"], *want.shape), np.nan, "float32")
        assert len(y) > 1
        run(device, module, paste, [a, b], [y])
        assert_product(y.sum(0) / 2, convolution(kind, case), a, b, precision, 1000)


def network() -> tuple[list[Any], list[Any], list[Array]]:
    """A convolution, a layer on top and their gradients, all of sizes that matrix instructions serve; what they are given."""
    x, w, v = T.tensor4("x", shape=(32, 16, 10, 10)), T.tensor4("w", shape=(32, 16, 3, 3)), T.matrix("v", shape=(2048, 64))
    y = T.dot(T.tanh(T.conv2d(x, w) / 8).reshape((32, 2048)), v)
    made = [x, w, v], [y, *exprc.grad(T.sqr(y).mean(), [x, w, v])]
    return *made, [normal(k, "float32", *i.type.shape) for k, i in enumerate(made[0])]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("precision", MATRIX)
def test_function_computes_with_a_precision(precision: str, name: str) -> None:
    inputs, outputs, values = network()
    wanted = exprc.function(inputs, outputs)(*values)
    f = exprc.function(inputs, outputs, device=there(name), precision=precision)
    for got, again, want in zip(f(*values), f(*values), wanted, strict=True):
        np.testing.assert_array_equal(got, again)
        off = np.abs(got - want).max() / np.abs(want).max()
        assert 2.0**-20 < off < 4 * BOUND[precision]
    assert f.source.count(f"#define MATRIX {MATRIX[precision]}") >= 5


def test_float64_is_never_rounded() -> None:
    a = T.matrix("a", dtype="float64", shape=(64, 64))
    value = normal(0, "float64", 64, 64)
    got = exprc.function([a], a @ a, device="cuda-emulator", precision="tf32")(value)
    np.testing.assert_allclose(got, value @ value, rtol=1e-12, atol=1e-12)


def test_a_gpu_without_matrix_instructions_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(name="cuda", target=CUDA, precisions=precisions((7, 5)))
    monkeypatch.setattr(build, "open_device", lambda name: old)
    a = T.matrix("a", shape=(4, 4))
    with pytest.raises(ValueError, match="cuda does not compute with precision 'tf32'\n  it offers float32, strict"):
        exprc.function([a], a @ a, device="cuda", precision="tf32")
