"""Convolution against plain loops, and its gradients against the definition of a transpose: <A x, g> = <x, A' g>."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Input
from exprc.ops.conv import _conv_numpy, conv2d_record, pads
from exprc.reference import evaluate
from exprc.types import TensorType


def loops(x: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
    """The sum as the module states it, one element at a time."""
    (top, bottom), (left, right) = pads(pad, w.shape[2:], dilation)
    framed = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation)]
    p, q = ((n - r) // s + 1 for n, r, s in zip(framed.shape[2:], reach, stride))
    y = np.zeros((len(x), len(w), p, q), x.dtype)
    per_group = len(w) // groups
    for n, o, i, j in np.ndindex(*y.shape):
        for c, u, v in np.ndindex(*w.shape[1:]):
            channel = o // per_group * w.shape[1] + c
            y[n, o, i, j] += (
                framed[n, channel, i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]] * w[o, c, u, v]
            )
    return y


def random_geometry(rng: Any) -> tuple[Any, Any, dict[str, Any]]:
    groups = int(rng.integers(1, 3))
    c, o = groups * rng.integers(1, 3), groups * rng.integers(1, 3)
    k, d = rng.integers(1, 4, 2), rng.integers(1, 3, 2)
    pad: Any = [tuple(map(int, rng.integers(0, 4, 2))) for _ in range(2)]
    least = [max(1, (kk - 1) * dd + 1 - a - b) for kk, dd, (a, b) in zip(k, d, pad)]
    h, w = (int(m + rng.integers(0, 4)) for m in least)
    params = {
        "stride": tuple(map(int, rng.integers(1, 4, 2))),
        "pad": tuple(pad),
        "dilation": tuple(map(int, d)),
        "groups": groups,
    }
    if rng.integers(3) == 0:
        params["pad"] = ("full", "half")[rng.integers(2)]
        h, w = h + 5, w + 5
    return rng.normal(size=(2, c, h, w)), rng.normal(size=(o, c // groups, *k)), params


@pytest.mark.parametrize("seed", range(25))
def test_the_reference_is_the_loops(seed: int) -> None:
    x, w, params = random_geometry(np.random.default_rng(seed))
    np.testing.assert_allclose(_conv_numpy(x, w, **params), loops(x, w, **params), rtol=1e-12, atol=1e-12)


def leaf(array: Any, known: bool) -> Input:
    return Input(TensorType("float64", array.shape if known else (None,) * array.ndim))


@pytest.mark.parametrize(("seed", "known"), list(itertools.product(range(15), (True, False))))
def test_gradients_are_transposes(seed: int, known: bool) -> None:
    rng = np.random.default_rng(100 + seed)
    x, w, params = random_geometry(rng)
    ex, ew = leaf(x, known), leaf(w, known)
    y = conv2d_record.node((ex, ew), params)
    g = rng.normal(size=_conv_numpy(x, w, **params).shape)
    eg = leaf(g, known)
    gx, gw = conv2d_record.grad(eg, y, ex, ew, **params)  # type: ignore[misc]
    values = {ex: x, ew: w, eg: g}
    vy, vgx, vgw = evaluate([y, gx, gw], values)
    assert vgx.shape == x.shape and vgw.shape == w.shape
    np.testing.assert_allclose([np.vdot(x, vgx), np.vdot(w, vgw)], np.vdot(vy, g), rtol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_gradients_of_gradients_are_transposes(seed: int) -> None:
    rng = np.random.default_rng(200 + seed)
    x, w, params = random_geometry(rng)
    ex, ew = leaf(x, True), leaf(w, True)
    g = rng.normal(size=_conv_numpy(x, w, **params).shape)
    eg = leaf(g, True)
    values = {ex: x, ew: w, eg: g}
    gx, gw = conv2d_record.grad(eg, None, ex, ew, **params)  # type: ignore[misc]
    inner = gx.op.name, gw.op.name
    assert inner == ("conv2d_grad_input", "conv2d_grad_weight")
    for node in (gx, gw):
        h = rng.normal(size=node.type.shape)
        eh = leaf(h, True)
        first, second = node.op.grad(eh, node, *node.inputs, **node.params)
        value, v1, v2, in1, in2 = evaluate([node, first, second, *node.inputs[:2]], {**values, eh: h})
        np.testing.assert_allclose([np.vdot(in1, v1), np.vdot(in2, v2)], np.vdot(value, h), rtol=1e-9)


#: Images, filters of a channel, their rows and columns, padding, dilation, stride.
DEPTHWISE: list[tuple[Any, int, Any, Any, Any, Any]] = [
    ((18, 3, 9, 30), 1, (3, 3), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    ((2, 5, 8, 16), 1, (3, 3), "half", (1, 1), (1, 1)),
    ((2, 2, 3, 11), 2, (2, 5), "full", (1, 1), (1, 1)),  # fewer rows than a tile, fewer columns than a vector
    ((1, 1, 7, 290), 2, (4, 3), ((3, 0), (1, 5)), (2, 3), (1, 1)),  # more columns than wait at a time
    ((3, 4, 13, 21), 1, (5, 5), ((2, 2), (2, 2)), (1, 1), (2, 1)),
    ((2, 3, 15, 45), 1, (3, 3), "half", (1, 1), (2, 2)),  # every second column
    ((2, 3, 7, 7), 1, (3, 3), "half", (1, 1), (1, 1)),  # narrow images: vectors of half the size
    ((2, 3, 8, 10), 1, (3, 3), "half", (1, 1), (1, 2)),
]


def test_filters_of_one_channel_go_along_rows(vectors: str) -> None:
    """Forward, with what is worked out from the sums as they are stored, and both gradients."""
    rng = np.random.default_rng(5)
    inputs, outputs, arrays = [], [], []
    for k, (shape, per, size, pad, dilation, stride) in enumerate(DEPTHWISE):
        dtype = "float32" if k % 2 else "float64"
        for made in (shape, (shape[1] * per, 1, *size), (shape[1] * per,)):
            arrays.append(rng.normal(size=made).astype(dtype))
            inputs.append(Input(TensorType(dtype, made)))
        x, w, b = inputs[-3:]
        y = conv2d_record.node((x, w), {"stride": stride, "pad": pad, "dilation": dilation, "groups": shape[1]})
        z = T.relu(y + b.dimshuffle("x", 0, "x", "x"))
        outputs += [y, z, *exprc.grad((z * z).sum(), [x, w])]
    f = exprc.function(inputs, outputs)
    assert f.source.count("conv2d_rows.h: ") >= len(DEPTHWISE)
    for got, want in zip(f(*arrays), evaluate(outputs, dict(zip(inputs, arrays))), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=64 * np.finfo(got.dtype).eps * np.abs(want).max())


def test_images_in_lanes_stay_there() -> None:
    """Many images that are worked out, or long strides along rows, take the text for vectors of images."""
    w = T.tensor4("w", shape=(4, 1, 3, 3))
    for images, stride, computed, along in ((20, 1, False, True), (20, 1, True, False), (3, 1, True, True), (20, 3, False, False)):
        x = T.tensor4("x", shape=(images, 4, 20, 20))
        y = T.conv2d(T.conv2d(x, w, num_groups=4) if computed else x, w, num_groups=4, subsample=(1, stride))
        assert exprc.function([x, w], y).source.count("conv2d_rows.h: ") == along + computed


def test_padding_is_not_multiplied_along_rows(vectors: str) -> None:
    """An infinite weight makes infinities where it meets the image, and no NaN where it meets padding; a NaN reaches its neighbours."""
    x, w = np.ones((1, 1, 6, 20), "float32"), np.ones((1, 1, 3, 3), "float32")
    w[0, 0, 0, 0] = np.inf
    ex, ew = (Input(TensorType("float32", a.shape)) for a in (x, w))
    f = exprc.function([ex, ew], T.conv2d(ex, ew, border_mode="half", filter_flip=False))
    want = np.full((6, 20), np.inf, "float32")
    want[0], want[1:, 0] = 6, 6
    want[0, [0, -1]] = want[-1, 0] = 4
    np.testing.assert_array_equal(f(x, w)[0, 0], want)
    x[0, 0, 3, 9] = np.nan
    nan = np.isnan(f(x, w)[0, 0])
    assert nan[2:5, 8:11].all() and nan.sum() == 9


def test_flipped_filters_give_the_mathematical_convolution() -> None:
    x, w = np.arange(5.0).reshape(1, 1, 1, 5), np.array([1.0, 10.0, 100.0]).reshape(1, 1, 1, 3)
    ex, ew = leaf(x, True), leaf(w, True)
    flipped, plain = evaluate([T.conv2d(ex, ew), T.conv2d(ex, ew, filter_flip=False)], {ex: x, ew: w})
    np.testing.assert_array_equal(flipped.ravel(), np.convolve(x.ravel(), w.ravel(), "valid"))
    np.testing.assert_array_equal(plain.ravel(), [210, 321, 432])


@pytest.mark.parametrize(
    ("border", "shape"),
    [
        ("valid", (8, 6)),
        ("full", (12, 8)),
        ("half", (10, 7)),
        (1, (10, 8)),
        ((2, 0), (12, 6)),
        (((1, 0), (0, 3)), (9, 9)),
    ],
)
def test_border_modes(border: Any, shape: Any) -> None:
    x, w = T.dtensor4(shape=(2, 3, 10, 7)), T.dtensor4(shape=(4, 3, 3, 2))
    y = T.conv2d(x, w, border_mode=border)
    assert y.type.shape[2:] == (shape if border != "half" else (10, 8))
    values = {x: np.ones((2, 3, 10, 7)), w: np.ones((4, 3, 3, 2))}
    assert evaluate([y], values)[0].shape == y.type.shape


def test_unknown_dims_are_worked_out_at_the_call() -> None:
    x, w = T.tensor4("x"), T.tensor4("w", shape=(8, None, 3, 3))
    assert T.conv2d(x, w, border_mode="full").type.shape == (None, 8, None, None)


def message(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ValueError) as error:
        T.conv2d(*args, **kwargs)
    return str(error.value)


def test_errors_say_what_does_not_fit() -> None:
    x, w = T.tensor4("x", shape=(1, 3, 4, 4)), T.tensor4("w", shape=(4, 3, 5, 5))
    text = message(x, w)
    assert text.startswith("conv2d: filters that cover (5, 5) do not fit in images of (4, 4) (padding included)")
    assert "x  float32, (1, 3, 4, 4)" in text and "made at test_conv.py" in text
    assert "larger images, smaller filters or border_mode='half'" in text
    other = T.tensor4("w", shape=(4, 2, 3, 3))
    assert message(x, other).startswith(
        "conv2d: the images have another number of channels than the filters take: 3 ≠ 2"
    )
    assert "in 2 groups: 3 ≠ 4" in message(x, other, num_groups=2)
    four, odd = T.tensor4(shape=(1, 4, 9, 9)), T.tensor4(shape=(3, 2, 3, 3))
    assert "3 filters cannot be split in 2 groups" in message(four, odd, num_groups=2)


def test_errors_of_arguments() -> None:
    x, w = T.tensor4("x", shape=(1, 3, 8, 8)), T.tensor4("w", shape=(4, 3, 5, 5))
    assert message(T.matrix("m"), w).startswith("conv2d: images and filters need 4 axes, not 2 and 4")
    assert "border_mode 'same' is none of 'valid', 'full', 'half'" in message(x, w, border_mode="same")
    assert "border_mode must be an integer of at least 0" in message(x, w, border_mode=-1)
    assert "border_mode must have an entry for rows and one for columns" in message(x, w, border_mode=(1, 2, 3))
    assert "subsample must be an integer of at least 1, or two of them: 0" in message(x, w, subsample=0)
    assert "filter_dilation must be" in message(x, w, filter_dilation=(1, 0))
    assert "num_groups must be at least 1: 0" in message(x, w, num_groups=0)
    assert "input_shape (2, 3, 8, 8) is stated, but the array has shape (1, 3, 8, 8)" in message(x, w, (2, 3, 8, 8))
    assert "filter_shape (4, 3) is stated" in message(x, w, None, (4, 3))
