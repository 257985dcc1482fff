"""Kernels that compute their consumer, too: a convolution that pools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.ops.conv import conv2d_record
from exprc.ops.pool import max_pool, sum_pool

PLAIN = {"stride": (1, 1), "pad": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
WINDOWS = {"window": (2, 2), "stride": (2, 2), "pad": (0, 0), "dilation": (1, 1), "partial": False}


def conv(x: Any, w: Any, **params: Any) -> Any:
    return conv2d_record.apply(x, w, **{**PLAIN, **params})


def pooled(x: Any, **params: Any) -> Any:
    return max_pool.apply(x, **{**WINDOWS, **params})


def wave(*shape: int, dtype: str = "float32") -> Any:
    return np.sin(np.arange(np.prod(shape)) * 0.7).reshape(shape).astype(dtype)


GEOMETRIES = [
    ((32, 1, 12, 12), (20, 1, 5, 5), {}, {}),
    ((19, 3, 9, 13), (7, 3, 3, 3), {}, {"partial": True}),  # windows beyond the border, a part of a block of images
    ((17, 4, 10, 11), (6, 2, 3, 2), {"groups": 2, "pad": ((1, 1), (2, 0)), "stride": (2, 1), "dilation": (1, 2)},
     {"window": (3, 2), "stride": (3, 2)}),
    ((16, 5, 4, 70), (30, 5, 1, 1), {}, {"window": (4, 4), "stride": (4, 4), "partial": True}),  # several strips of columns
    ((16, 2, 6, 3), (3, 2, 3, 3), {"pad": "half"}, {}),  # no tile of columns sees the image through the whole filter
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("images", "filters", "geometry", "windows"), GEOMETRIES)
def test_values_and_codes(images: Any, filters: Any, geometry: Any, windows: Any, dtype: str) -> None:
    x, w, b = T.tensor4("x", dtype=dtype), T.tensor4("w", dtype=dtype), T.vector("b", dtype=dtype)
    largest, code = pooled(T.maximum(conv(x, w, **geometry) + b[None, :, None, None], 0), **windows)
    arrays = (wave(*images, dtype=dtype), wave(*filters, dtype=dtype), wave(filters[0], dtype=dtype))
    arrays[0][0, 0, 2, 1] = np.nan
    results = [exprc.function([x, w, b], [largest, code], mode=mode) for mode in ("compiled", "reference")]
    (y, k), (want_y, want_k) = (f(*arrays) for f in results)
    assert "conv2d_max_pool" in results[0].source
    np.testing.assert_allclose(y, want_y, rtol=0, atol=2e-5 if dtype == "float32" else 1e-13)
    equal = np.isclose(y, want_y, rtol=0, atol=0, equal_nan=True) | (k == want_k)  # two values that rounding makes equal may change places
    assert equal.all()


def test_a_training_step_pools_while_it_convolves_and_gives_the_same_numbers() -> None:
    x, t = T.tensor4("x"), T.vector("t")
    w = exprc.shared(wave(6, 2, 3, 3), "w")
    y = pooled(T.tanh(conv(x, w)))[0]
    cost = ((y.sum(axis=(1, 2, 3)) - t) ** 2).mean()
    functions = [exprc.function([x, t], [cost, exprc.grad(cost, w)], mode=mode) for mode in ("compiled", "reference")]
    for n in (16, 40, 21, 33, 18):  # the number of images becomes an argument
        got, want = (f(wave(n, 2, 8, 9), wave(n)) for f in functions)
        np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-5)
    assert "conv2d_max_pool" in functions[0].source


def test_one_thread_and_two_give_the_same_bits() -> None:
    x, w = T.tensor4("x", shape=(48, 3, 11, 11)), T.tensor4("w", shape=(10, 3, 4, 4))
    f = exprc.function([x, w], pooled(conv(x, w) * 2))
    found = []
    for threads in (1, 2):
        exprc.set_threads(threads)
        found.append(f(wave(48, 3, 11, 11), wave(10, 3, 4, 4)))
    exprc.set_threads(None)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def _read_twice(u: Any) -> Any:
    return [pooled(u)[0], u.sum()]


def _overlapping(u: Any) -> Any:
    return [pooled(u, window=(3, 3))[0]]


def _normalised(u: Any) -> Any:
    return [pooled(u - u.mean(axis=(0, 2, 3), keepdims=True))[0]]


def _padded(u: Any) -> Any:
    return [pooled(u, pad=(1, 1))[0]]


def _shifted(u: Any) -> Any:
    return [pooled(u[:, :, 1:])[0]]


def _asked_for(u: Any) -> Any:
    return [pooled(u)[0], exprc.Out(u, borrow=True)]


def _dear(u: Any) -> Any:
    """Formulas that share their operands: counted along every path they would be 2**40."""
    for _ in range(40):
        u = u * u * 0.5
    return [pooled(u)[0]]


def _gelu(u: Any) -> Any:
    return 0.5 * u * (1 + T.tanh(0.79788456 * (u + 0.044715 * u * u * u)))


def _shared_by_many_paths(u: Any) -> Any:
    """Few formulas, of which each is read twice: along every path they cost more than is worked out in place."""
    return [pooled(_gelu(_gelu(u)))[0]]


@pytest.mark.parametrize(
    "made", [_read_twice, _overlapping, _normalised, _padded, _shifted, _asked_for, _dear, _shared_by_many_paths]
)
def test_what_else_is_needed_is_stored(made: Any) -> None:
    x, w = T.tensor4("x", shape=(16, 2, 8, 8)), T.tensor4("w", shape=(3, 2, 3, 3))
    outputs = made(T.maximum(conv(x, w), 0))
    compiled, reference = (exprc.function([x, w], outputs, mode=mode) for mode in ("compiled", "reference"))
    assert "conv2d_max_pool" not in compiled.source
    arrays = wave(16, 2, 8, 8), wave(3, 2, 3, 3)
    for got, want in zip(compiled(*arrays), reference(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("images", "windows", "inside"), [
    ((33, 2, 9, 12), {}, True), ((3, 2, 9, 12), {}, True), ((33, 2, 9, 12), {"stride": (3, 2), "partial": True}, True),
    ((33, 2, 9, 12), {"window": (3, 3)}, False), ((33, 2, 9, 12), {"window": (2, 3), "dilation": (1, 2), "stride": (2, 3)}, False),
])  # fmt: skip
def test_what_is_pooled_is_worked_out_where_it_is_loaded_unless_windows_overlap(images: Any, windows: Any, inside: bool) -> None:
    x, scale = T.tensor4("x"), T.vector("scale")
    total = T.tanh(x * scale[None, :, None, None])
    largest, code = pooled(total, **windows)
    results = [exprc.function([x, scale], [largest, code], mode=mode) for mode in ("compiled", "reference")]
    arrays = (wave(*images), np.array([1.5, -0.5], "float32"))
    arrays[0][1, 1, 4, 4] = np.nan
    (y, k), (want_y, want_k) = (f(*arrays) for f in results)
    np.testing.assert_allclose(y, want_y, rtol=0, atol=1e-6)
    assert (np.isclose(y, want_y, rtol=0, atol=0, equal_nan=True) | (k == want_k)).all()
    assert ("tanh" not in [node.op.name for node in results[0]._loaded().fused.stored]) == inside


@pytest.mark.parametrize("mode", ["largest", "sum"])
def test_windows_side_by_side_are_pooled_and_spread_like_the_reference(mode: str) -> None:
    """A count of images that fills no block of lanes, rows and columns beyond the last window, -0, NaN and equal elements."""
    x, g = T.tensor4("x"), T.tensor4("g")
    y = pooled(x)[0] if mode == "largest" else sum_pool.node((x,), WINDOWS)
    parts = [y, exprc.grad((y * g).sum(), x)]
    functions = [exprc.function([x, g], parts, mode=way) for way in ("compiled", "reference")]
    image = wave(37, 3, 7, 9).round(1)
    image[0, 0, :2] = -0.0
    image[3, 1, 2, 3] = np.nan
    gradient = wave(37, 3, 3, 4)
    gradient[5, 0, 0] = -0.0
    for got, want in zip(*(f(image, gradient) for f in functions), strict=True):
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


#: Images, filters, the geometry of the convolution, the windows.
UNPOOLED = [
    ((32, 1, 12, 12), (20, 1, 5, 5), {}, {}),
    ((19, 3, 9, 13), (7, 3, 3, 2), {}, {"partial": True}),  # windows beyond the border, a part of a block of images
    ((37, 4, 10, 11), (6, 2, 3, 2), {"groups": 2, "pad": ((1, 1), (2, 0)), "stride": (2, 1), "dilation": (1, 2)},
     {"window": (3, 2), "stride": (3, 2)}),  # rows beyond the last window
    ((16, 5, 30, 70), (30, 5, 1, 1), {}, {"window": (4, 4), "stride": (4, 4), "partial": True}),  # pieces of several rows
    ((16, 1, 3, 383), (9, 1, 2, 2), {"pad": "half"}, {}),  # a piece is a row
]  # fmt: skip


def _weights_of_pooled(filters: Any, geometry: Any, windows: Any, dtype: str = "float32", images: Any = None) -> tuple[Any, Any]:
    x, w, g = T.tensor4("x", dtype=dtype, shape=images), T.tensor4("w", dtype=dtype, shape=filters), T.tensor4("g", dtype=dtype)
    y = pooled(T.tanh(conv(x, w, **geometry)), **windows)[0]
    return [x, w, g], exprc.grad((y * g).sum(), w)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("images", "filters", "geometry", "windows"), UNPOOLED)
def test_the_gradient_of_filters_makes_that_of_pooling_itself(images: Any, filters: Any, geometry: Any, windows: Any, dtype: str) -> None:
    inputs, gradient = _weights_of_pooled(filters, geometry, windows, dtype, images)
    arrays = (wave(*images, dtype=dtype), wave(*filters, dtype=dtype) * 0.1)
    shape = exprc.function(inputs[:2], pooled(conv(*inputs[:2], **geometry), **windows)[0], mode="reference")(*arrays).shape
    functions = [exprc.function(inputs, gradient, mode=mode) for mode in ("compiled", "reference")]
    got, want = (f(*arrays, wave(*shape, dtype=dtype)) for f in functions)
    assert "conv2d_grad_weight_unpool" in functions[0].source
    assert "unpool" not in [node.op.name for node in functions[0]._loaded().fused.stored]
    np.testing.assert_allclose(got, want, rtol=0, atol=(2e-6 if dtype == "float32" else 1e-14) * max(1, np.abs(want).max()))


def test_the_number_of_images_may_change_where_a_gradient_makes_that_of_pooling() -> None:
    inputs, gradient = _weights_of_pooled((6, 2, 3, 3), {}, {})
    functions = [exprc.function(inputs, gradient, mode=mode) for mode in ("compiled", "reference")]
    for n in (16, 40, 21, 33, 18):
        got, want = (f(wave(n, 2, 8, 9), wave(6, 2, 3, 3) * 0.1, wave(n, 6, 3, 3)) for f in functions)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_a_gradient_of_pooling_that_is_read_twice_is_stored_once() -> None:
    x, w, v, g = T.tensor4("x"), T.tensor4("w", shape=(6, 2, 3, 3)), T.tensor4("v", shape=(2, 2, 3, 3)), T.tensor4("g")
    y = pooled(conv(T.tanh(conv(x, v)), w))[0]
    f = exprc.function([x, v, w, g], exprc.grad((y * g).sum(), [v, w]))
    f(wave(32, 2, 12, 12), wave(2, 2, 3, 3), wave(6, 2, 3, 3), wave(32, 6, 4, 4))
    assert "conv2d_grad_weight_unpool" not in f.source
    assert "unpool:" in f.source


def test_padding_lanes_add_nothing_to_a_gradient_that_makes_that_of_pooling() -> None:
    """What is pooled may come to be infinite where there is no image, an exponential of lanes that no one reads."""
    inputs, gradient = _weights_of_pooled((3, 1, 2, 2), {}, {}, images=(17, 1, 7, 7))
    f = exprc.function(inputs, gradient, givens={inputs[2]: T.exp(1000 * inputs[2])})
    want = exprc.function(inputs, gradient, mode="reference", givens={inputs[2]: T.exp(1000 * inputs[2])})
    arrays = (wave(17, 1, 7, 7), wave(3, 1, 2, 2), -abs(wave(17, 3, 3, 3)))
    np.testing.assert_allclose(f(*arrays), want(*arrays), rtol=0, atol=1e-6)
    assert "conv2d_grad_weight_unpool" in f.source


def test_one_thread_and_two_give_the_same_bits_where_a_gradient_makes_that_of_pooling() -> None:
    inputs, gradient = _weights_of_pooled((10, 3, 4, 4), {}, {}, images=(48, 3, 11, 11))
    f = exprc.function(inputs, gradient)
    found = []
    for threads in (1, 2):
        exprc.set_threads(threads)
        found.append(f(wave(48, 3, 11, 11), wave(10, 3, 4, 4), wave(48, 10, 4, 4)))
    exprc.set_threads(None)
    np.testing.assert_array_equal(*found)
