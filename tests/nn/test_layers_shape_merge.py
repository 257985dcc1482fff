"""Flatten, reshape, nonlinearity, concatenation and element-wise layers."""

from __future__ import annotations

import numpy as np
import pytest

import exprc.tensor as T
from exprc import nn
from exprc.nn.layers import (
    ConcatLayer,
    ElemwiseMergeLayer,
    ElemwiseSumLayer,
    FlattenLayer,
    InputLayer,
    NonlinearityLayer,
    ReshapeLayer,
    autocrop,
    autocrop_array_shapes,
    concat,
    get_output,
)


@pytest.mark.parametrize(("outdim", "shape"), [(1, (120,)), (2, (2, 60)), (3, (2, 3, 20)), (4, (2, 3, 4, 5))])
def test_flatten(value, rng, outdim, shape):
    l_in = InputLayer((2, 3, 4, 5))
    layer = FlattenLayer(l_in, outdim)
    assert layer.output_shape == shape
    x = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    np.testing.assert_array_equal(value(get_output(layer), {l_in.input_var: x}), x.reshape(shape))


def test_flatten_of_unknown_sizes():
    assert FlattenLayer((None, 3, 4)).output_shape == (None, 12)
    assert FlattenLayer((None, 3, None)).output_shape == (None, None)
    assert FlattenLayer((None, 3, 4), outdim=1).output_shape == (None,)


@pytest.mark.parametrize("outdim", [0, 4])
def test_flatten_outdim_must_fit(outdim):
    with pytest.raises(ValueError, match=f"FlattenLayer: outdim={outdim} must be from 1 to 3, the input's axes"):
        FlattenLayer((2, 3, 4), outdim)


@pytest.mark.parametrize(
    ("given", "shape", "result"),
    [
        ((16, 3, 5, 7, 10), ([0], [1], 5, -1), (16, 3, 5, 70)),
        ((16, 3, 10), (16, 30), (16, 30)),
        ((None, 784), ([0], 1, 28, 28), (None, 1, 28, 28)),
        ((None, 784), (-1, 28, 28), (None, 28, 28)),
        ((None, 784), (None, 1, 784), (None, 1, 784)),
        ((None, 3, None, 4), ([0], -1, [2]), (None, 12, None)),
        ((None, 6), ([0], [0], -1), (None, None, None)),
        ((4, 6), (-1,), (24,)),
    ],
)
def test_reshape_output_shape(given, shape, result):
    assert ReshapeLayer(given, shape).output_shape == result


def test_reshape_values(value, rng):
    l_in = InputLayer((None, 3, 8))
    layer = ReshapeLayer(l_in, ([0], 2, -1, [1]))
    assert layer.output_shape == (None, 2, 4, 3)
    x = rng.normal(size=(5, 3, 8)).astype("float32")
    np.testing.assert_array_equal(value(get_output(layer), {l_in.input_var: x}), x.reshape(5, 2, 4, 3))


def test_reshape_with_a_symbolic_size(value, rng):
    n = T.iscalar("n")
    l_in = InputLayer((None, 12))
    layer = ReshapeLayer(l_in, (-1, n))
    assert layer.output_shape == (None, None)
    x = rng.normal(size=(2, 12)).astype("float32")
    np.testing.assert_array_equal(value(get_output(layer), {l_in.input_var: x, n: 4}), x.reshape(6, 4))


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((16, 0), "a size must be positive or -1, got 0"),
        ((16, -2), "a size must be positive or -1, got -2"),
        ((16, [0, 1]), r"\[0, 1\] must be a list of one axis of the input, 0 to 1"),
        ((16, [2]), r"\[2\] must be a list of one axis of the input, 0 to 1"),
        ((-1, -1), r"only one axis can be left over \(-1\), got shape=\(-1, -1\)"),
        ((16, 3.5), r"shape holds int, \[int\], None or scalar expressions, got 3.5"),
        ((T.ivector("v"), 3), "a symbolic size must be a scalar, got 1 dimensions"),
        ((16, 4), r"\(16, 3\) cannot be reshaped to \(16, 4\): 48 elements do not make 64"),
        ((-1, 5), r"\(16, 3\) cannot be reshaped to \(-1, 5\): 48 elements do not make 5"),
    ],
)
def test_reshape_errors(shape, text):
    with pytest.raises(ValueError, match=text):
        ReshapeLayer((16, 3), shape)


def test_reshape_of_unknown_sizes_compares_the_rest():
    with pytest.raises(ValueError, match="784 elements do not make 783"):
        ReshapeLayer((None, 784), ([0], 27, 29))


def test_nonlinearity_layer(value, rng):
    l_in = InputLayer((None, 3))
    x = rng.normal(size=(2, 3)).astype("float32")
    assert NonlinearityLayer(l_in).nonlinearity is nn.nonlinearities.rectify
    np.testing.assert_array_equal(value(get_output(NonlinearityLayer(l_in)), {l_in.input_var: x}), np.maximum(x, 0))
    plain = NonlinearityLayer(l_in, None)
    assert get_output(plain) is l_in.input_var
    assert plain.output_shape == (None, 3)


def test_concat(value, rng):
    a, b = InputLayer((None, 3, 4)), InputLayer((None, 2, 4))
    layer = ConcatLayer([a, b])
    assert layer.output_shape == (None, 5, 4)
    x, y = rng.normal(size=(2, 3, 4)).astype("float32"), rng.normal(size=(2, 2, 4)).astype("float32")
    out = value(get_output(layer), {a.input_var: x, b.input_var: y})
    np.testing.assert_array_equal(out, np.concatenate([x, y], axis=1))


def test_concat_shapes():
    assert concat is ConcatLayer
    assert ConcatLayer([(2, 3), (2, None)]).output_shape == (2, None)
    assert ConcatLayer([(None, 3), (2, 3)], axis=-1).output_shape == (2, 6)
    assert ConcatLayer([(None, 3, 1), (2, None, 5)], axis=2).output_shape == (2, 3, 6)
    with pytest.raises(ValueError, match="axis 2 is out of range for 2-dimensional inputs"):
        ConcatLayer([(2, 3), (2, 3)], axis=2)
    with pytest.raises(ValueError, match=r"must be the same except along axis 1, got \(2, 3\), \(4, 3\)"):
        ConcatLayer([(2, 3), (4, 3)])
    with pytest.raises(ValueError, match="must be the same except along axis 1"):
        ConcatLayer([(2, 3), (2, 3, 1)])


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [("lower", slice(0, 3), slice(0, 3)), ("center", slice(1, 4), slice(0, 3)), ("upper", slice(2, 5), slice(0, 3))],
)
def test_concat_with_cropping(value, rng, mode, first, second):
    a, b = InputLayer((2, 1, 5)), InputLayer((2, 2, 3))
    layer = ConcatLayer([a, b], cropping=[None, "lower", mode])
    assert layer.output_shape == (2, 3, 3)
    x, y = rng.normal(size=(2, 1, 5)).astype("float32"), rng.normal(size=(2, 2, 3)).astype("float32")
    out = value(get_output(layer), {a.input_var: x, b.input_var: y})
    np.testing.assert_array_equal(out, np.concatenate([x[:, :, first], y[:, :, second]], axis=1))


def test_cropping_of_sizes_known_at_the_call_only(value, rng):
    a, b = T.matrix("a"), T.matrix("b")
    x, y = rng.normal(size=(2, 5)).astype("float32"), rng.normal(size=(3, 4)).astype("float32")
    left, right = value(autocrop([a, b], ["upper", "center"]), {a: x, b: y})
    np.testing.assert_array_equal(left, x[:, :4])
    np.testing.assert_array_equal(right, y[1:])


def test_cropped_shapes():
    assert autocrop_array_shapes([(2, 3), (4, 3)], None) == [(2, 3), (4, 3)]
    assert autocrop_array_shapes([(2, 3), (4, None)], ["lower", "upper"]) == [(2, None), (2, None)]
    with pytest.raises(ValueError, match="cropping holds None, 'lower', 'center' or 'upper', got \\['middle'\\]"):
        autocrop_array_shapes([(2, 3), (4, 3)], ["middle"])
    with pytest.raises(ValueError, match=r"cropping needs inputs with the same number of axes, got \[2, 1\]"):
        autocrop_array_shapes([(2, 3), (4,)], ["lower"])


def test_elemwise_merge(value, rng):
    layers = [InputLayer((None, 3)) for _ in range(3)]
    layer = ElemwiseMergeLayer(layers, T.maximum)
    assert layer.output_shape == (None, 3)
    xs = [rng.normal(size=(2, 3)).astype("float32") for _ in range(3)]
    out = value(get_output(layer), {layer.input_var: x for layer, x in zip(layers, xs, strict=True)})
    np.testing.assert_array_equal(out, np.max(xs, axis=0))


@pytest.mark.parametrize(("coeffs", "numbers"), [(1, (1, 1)), (0.5, (0.5, 0.5)), ([2, -1], (2, -1))])
def test_elemwise_sum(value, rng, coeffs, numbers):
    a, b = InputLayer((None, 3)), InputLayer((2, 3))
    layer = ElemwiseSumLayer([a, b], coeffs)
    assert layer.output_shape == (2, 3)
    x, y = rng.normal(size=(2, 2, 3)).astype("float32")
    out = value(get_output(layer), {a.input_var: x, b.input_var: y})
    np.testing.assert_allclose(out, numbers[0] * x + numbers[1] * y, rtol=1e-5)


def test_elemwise_sum_with_cropping():
    assert ElemwiseSumLayer([(2, 8), (2, 5)], cropping=[None, "center"]).output_shape == (2, 5)


def test_elemwise_errors():
    with pytest.raises(ValueError, match=r"the input shapes must be the same, got \(2, 3\), \(2, 1\)"):
        ElemwiseSumLayer([(2, 3), (2, 1)])
    with pytest.raises(ValueError, match="the input shapes must be the same"):
        ElemwiseMergeLayer([(None, 3), (2, 3), (4, 3)], T.maximum)
    with pytest.raises(ValueError, match="3 coefficients for 2 inputs"):
        ElemwiseSumLayer([(2, 3), (2, 3)], coeffs=[1, 2, 3])
