"""Convolutions that pool their own result, and gradients that read through pooling, on the emulator: values and codes of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.ops.conv import conv2d_record
from exprc.ops.pool import max_pool, unpool

pytestmark = pytest.mark.emulator
EMULATOR = "cuda-emulator"
PLAIN = {"stride": (1, 1), "pad": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
WINDOWS = {"window": (2, 2), "stride": (2, 2), "pad": (0, 0), "dilation": (1, 1), "partial": False}
CASES = [
    ((3, 1, 12, 12), (20, 1, 5, 5), {}, {}),
    ((2, 3, 9, 13), (7, 3, 3, 3), {}, {"partial": True}),  # windows beyond the border
    ((2, 3, 8, 12), (5, 3, 2, 2), {}, {}),  # a row and a column that no window holds
    ((2, 4, 10, 11), (6, 2, 3, 2), {"groups": 2, "pad": ((1, 1), (2, 0)), "stride": (2, 1), "dilation": (1, 2)},
     {"window": (1, 2), "stride": (1, 2)}),
    ((1, 2, 9, 9), (3, 2, 1, 1), {}, {"window": (4, 1), "stride": (4, 1), "partial": True}),
]  # fmt: skip


def wave(*shape: int, dtype: str = "float32") -> Any:
    return np.sin(np.arange(np.prod(shape)) * 0.7).reshape(shape).astype(dtype)


def both(inputs: list[Any], outputs: list[Any], arrays: list[Any]) -> Any:
    with exprc.config.override(emulator="check"):
        on_device = exprc.function(inputs, outputs, device=EMULATOR)
        return on_device, on_device(*arrays), exprc.function(inputs, outputs, mode="reference")(*arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("images", "filters", "geometry", "windows"), CASES)
def test_values_codes_and_gradients(images: Any, filters: Any, geometry: Any, windows: Any, dtype: str) -> None:
    x, w = T.tensor4("x", dtype=dtype, shape=images), T.tensor4("w", dtype=dtype, shape=filters)
    b = T.vector("b", dtype=dtype, shape=filters[:1])
    arrays = [wave(*images, dtype=dtype), wave(*filters, dtype=dtype), wave(filters[0], dtype=dtype)]
    made = T.relu(conv2d_record.apply(x, w, **{**PLAIN, **geometry}) + b[None, :, None, None])
    largest, code = max_pool.apply(made, **{**WINDOWS, **windows})
    cost = (largest**2).sum()
    f, got, want = both([x, w, b], [largest, code, *exprc.grad(cost, [x, w, b])], arrays)
    assert "conv2d_max_pool" in f.source and "pool.cuh:" not in f.source, "no pass of its own pools or spreads"
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_array_equal(got[1], want[1])
    for a, e in zip(got, want, strict=True):
        np.testing.assert_allclose(a, e, **tolerance)


def test_the_first_nan_of_a_window_wins() -> None:
    x, w = T.tensor4("x", shape=(1, 1, 6, 6)), T.tensor4("w", shape=(1, 1, 1, 1))
    image = wave(1, 1, 6, 6)
    image[0, 0, 1, 0] = image[0, 0, 1, 1] = image[0, 0, 3, 3] = np.nan
    _, got, want = both([x, w], max_pool.apply(conv2d_record.apply(x, w, **PLAIN), **WINDOWS), [image, np.ones((1, 1, 1, 1), "float32")])
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])
    assert got[1][0, 0, 0, 0] == 2 and got[1][0, 0, 1, 1] == 3


def test_codes_of_any_kind_are_only_compared() -> None:
    """A code that names no place in the window gives nothing, and is no error; what is returned itself is stored by the text of unpool."""
    g, code = T.tensor4("g", shape=(1, 1, 2, 3)), T.itensor4("code", shape=(1, 1, 2, 3))
    back = unpool.node((g, code), {**WINDOWS, "size": (5, 7)})
    codes = np.array([[[[0, 3, -1], [4, 2, 2**31 - 1]]]], "int32")
    for outputs in ([back * 2], [back], [back * 2, back]):
        _, got, want = both([g, code], outputs, [wave(1, 1, 2, 3), codes])
        for a, e in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, e)


def test_other_windows_keep_their_texts() -> None:
    """Windows that overlap, are padded or have three rows are pooled, and spread, by texts of their own."""
    x, w = T.tensor4("x", shape=(2, 2, 9, 9)), T.tensor4("w", shape=(3, 2, 2, 2))
    for windows in ({"window": (3, 3), "stride": (2, 2)}, {"window": (3, 3), "stride": (3, 3)}, {"pad": (1, 1), "partial": True}):
        largest = max_pool.apply(T.tanh(conv2d_record.apply(x, w, **PLAIN)), **{**WINDOWS, **windows})[0]
        f, got, want = both([x, w], [largest, exprc.grad((largest**2).sum(), w)], [wave(2, 2, 9, 9), wave(3, 2, 2, 2)])
        assert "conv2d_max_pool" not in f.source
        for a, e in zip(got, want, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


def test_sizes_that_become_arguments() -> None:
    x, w = T.tensor4("x"), exprc.shared(wave(6, 2, 3, 3))
    cost = (max_pool.apply(T.tanh(conv2d_record.apply(x, w, **PLAIN)), **WINDOWS)[0] ** 2).sum()
    functions = [exprc.function([x], [cost, exprc.grad(cost, w)], **how) for how in ({"device": EMULATOR}, {"mode": "reference"})]
    for n in (3, 5, 2, 7, 4):
        got, want = (f(wave(n, 2, 8, 9)) for f in functions)
        np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-4)
