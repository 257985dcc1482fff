"""float16: stored in 16 bits, computed in float32, rounded once an operation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import topological
from exprc.rewrite.half import widened

HALF = "float16"
EVERY = np.arange(2**16, dtype=np.uint16).view(HALF)  # every number of 16 bits


def half_matrix(name: str) -> T.Variable:
    return T.TensorType(HALF, (None, None))(name)


def test_every_number_goes_to_the_other_floats_and_back() -> None:
    x = T.TensorType(HALF, (None,))("x")
    f = exprc.function([x], [T.cast(x, "float32"), T.cast(x, "float64"), T.cast(T.cast(x, "float64"), HALF), T.cast(x, "int32")])
    single, double, back, whole = f(EVERY)
    np.testing.assert_array_equal(single, EVERY.astype("float32"))
    np.testing.assert_array_equal(double, EVERY.astype("float64"))
    np.testing.assert_array_equal(back, EVERY)
    np.testing.assert_array_equal(np.signbit(back), np.signbit(EVERY))
    inside = np.isfinite(EVERY)
    np.testing.assert_array_equal(whole[inside], EVERY[inside].astype("int32"))


@pytest.mark.parametrize("source", ["float32", "float64"])
def test_rounding_is_numpys(source: str) -> None:
    steps = EVERY[np.isfinite(EVERY)].astype(source)
    ties = np.sort(steps)[:-1] / 2 + np.sort(steps)[1:] / 2
    with np.errstate(over="ignore"):
        edges = np.array([65519, 65520, 1e30, -np.inf, np.nan], source)
        values = np.concatenate([ties, np.nextafter(ties, 0), np.nextafter(ties, np.inf), edges])
        wanted = values.astype(HALF)
    x = T.TensorType(source, (None,))("x")
    np.testing.assert_array_equal(exprc.function([x], T.cast(x, HALF))(values), wanted)


def test_each_operation_rounds_once_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=4000).astype(HALF) * np.float16(30) for _ in range(2))
    x, y = (T.TensorType(HALF, (None,))(n) for n in "xy")
    f = exprc.function([x, y], [x + y, x - y, x * y, x / y, T.sqrt(abs(x)), T.maximum(x, y), x < y, T.sum(x), -x, x * 3 + y])
    with np.errstate(all="ignore"):
        wanted = [a + b, a - b, a * b, a / b, np.sqrt(abs(a)), np.maximum(a, b), a < b, None, -a, a * np.float16(3) + b]
    for made, expected in zip(f(a, b), wanted):
        if expected is not None:
            assert made.dtype == expected.dtype
            np.testing.assert_array_equal(made, expected)


def test_a_network_in_16_bits_is_the_interpreters() -> None:
    rng = np.random.default_rng(1)
    x, w = half_matrix("x"), exprc.shared(rng.normal(size=(5, 3)).astype(HALF), name="w")
    y = T.softmax(T.tanh(T.dot(x, w)) * 2)
    loss = T.mean(y**2)
    outputs = [y, loss, T.argmax(y, axis=1), T.concatenate([y, y])[::2], exprc.grad(loss, w)]
    given = rng.normal(size=(4, 5)).astype(HALF)
    pair = []
    for mode in ("compiled", "reference"):
        first = w.get_value()
        pair.append((exprc.function([x], outputs, updates={w: w - exprc.grad(loss, w)}, mode=mode)(given), w.get_value()))
        w.set_value(first)
    assert pair[0][0][0].dtype == HALF
    for made, wanted in zip(itertools.chain(pair[0][0], [pair[0][1]]), itertools.chain(pair[1][0], [pair[1][1]])):
        assert made.dtype == wanted.dtype
        np.testing.assert_allclose(made.astype("float64"), wanted.astype("float64"), rtol=2e-3, atol=2e-3)


def test_sums_do_not_stop_at_2048() -> None:
    x = T.TensorType(HALF, (None,))("x")
    assert float(exprc.function([x], T.sum(x))(np.ones(5000, HALF))) == 5000


def test_a_convolution_in_16_bits() -> None:
    rng = np.random.default_rng(2)
    images, filters = T.TensorType(HALF, (2, 3, 6, 6))("images"), T.TensorType(HALF, (4, 3, 3, 3))("filters")
    f = exprc.function([images, filters], T.conv2d(images, filters))
    a, b = rng.normal(size=(2, 3, 6, 6)).astype(HALF), rng.normal(size=(4, 3, 3, 3)).astype(HALF)
    wide = T.conv2d(T.constant(a.astype("float64")), T.constant(b.astype("float64"))).eval()
    made = f(a, b)
    assert made.dtype == HALF
    np.testing.assert_allclose(made, wide, rtol=2e-3, atol=2e-2)


def test_graphs_without_16_bits_stay_as_they_are() -> None:
    x = T.matrix("x")
    root = T.tanh(x).sum()
    assert widened([root]) == [root]


def test_only_views_and_casts_are_left_in_16_bits() -> None:
    x = half_matrix("x")
    (made,) = widened([T.exp(x.T * 2) + x.T])
    left = {n.op.name for n in topological([made]) if n.inputs and HALF in [n.dtype, *(i.dtype for i in n.inputs)]}
    assert left == {"dimshuffle", "cast"}


def test_literals_and_masks_in_16_bits() -> None:
    x = T.TensorType(HALF, (4,))("x")
    f = exprc.function([x], [T.where(x > 0, x, np.float16(0.1)), T.pad(x, 1), T.zeros_like(x) + np.float16(1.5)])
    given = np.array([-1, 2, np.nan, 0.5], HALF)
    chosen, padded, filled = f(given)
    np.testing.assert_array_equal(chosen, np.where(given > 0, given, np.float16(0.1)))
    np.testing.assert_array_equal(padded, np.pad(given, 1))
    np.testing.assert_array_equal(filled, np.full(4, 1.5, HALF))
