"""Convolution and pooling layers against naive loops, and their geometry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import exprc.tensor as T
from exprc import nn
from exprc.nn.layers import (
    BaseConvLayer,
    Conv2DLayer,
    GlobalPoolLayer,
    InputLayer,
    MaxPool2DLayer,
    Pool2DLayer,
    conv_output_length,
    get_output,
    pool_output_length,
)


def naive_conv(x, w, stride, pads, flip, groups):
    """Convolve with loops over output positions; x (n, c, h, w), w (f, c / groups, kh, kw)."""
    x = np.pad(x, ((0, 0), (0, 0), (pads[0],) * 2, (pads[1],) * 2))
    if flip:
        w = w[:, :, ::-1, ::-1]
    filters, channels, kh, kw = w.shape
    rows = (x.shape[2] - kh) // stride[0] + 1
    columns = (x.shape[3] - kw) // stride[1] + 1
    out = np.zeros((x.shape[0], filters, rows, columns))
    for f, i, j in itertools.product(range(filters), range(rows), range(columns)):
        start = f // (filters // groups) * channels
        window = x[:, start : start + channels, i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw]
        out[:, f, i, j] = (window * w[f]).sum(axis=(1, 2, 3))
    return out


CONVOLUTIONS = [
    # filter, stride, pad, zeros at both ends, flip, groups
    ((3, 3), (1, 1), 0, (0, 0), True, 1),
    ((3, 3), (1, 1), "valid", (0, 0), False, 1),
    ((3, 2), (2, 1), (1, 0), (1, 0), True, 1),
    ((3, 5), (1, 1), "same", (1, 2), True, 1),
    ((3, 3), (2, 2), "same", (1, 1), True, 1),
    ((2, 3), (1, 2), "full", (1, 2), True, 1),
    ((3, 3), (3, 2), 2, (2, 2), False, 2),
]


@pytest.mark.parametrize(("size", "stride", "pad", "zeros", "flip", "groups"), CONVOLUTIONS)
def test_conv_against_loops(value, rng, size, stride, pad, zeros, flip, groups):
    l_in = InputLayer((2, 4, 7, 8))
    layer = Conv2DLayer(
        l_in, 6, size, stride, pad, b=nn.init.Normal(1.0), nonlinearity=None, flip_filters=flip, num_groups=groups
    )
    assert layer.W.get_value().shape == (6, 4 // groups, *size)
    x = rng.normal(size=(2, 4, 7, 8)).astype("float32")
    expected = naive_conv(x, layer.W.get_value(), stride, zeros, flip, groups)
    expected += layer.b.get_value().reshape(1, 6, 1, 1)
    out = value(get_output(layer), {l_in.input_var: x})
    assert out.shape == layer.output_shape
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_conv_with_untied_biases(value, rng):
    l_in = InputLayer((None, 2, 5, 5))
    layer = Conv2DLayer(l_in, 3, 3, untie_biases=True, b=nn.init.Normal(1.0))
    assert layer.b.get_value().shape == (3, 3, 3)
    x = rng.normal(size=(2, 2, 5, 5)).astype("float32")
    expected = naive_conv(x, layer.W.get_value(), (1, 1), (0, 0), True, 1) + layer.b.get_value()
    np.testing.assert_allclose(
        value(get_output(layer), {l_in.input_var: x}), np.maximum(expected, 0), rtol=1e-4, atol=1e-4
    )


def test_conv_defaults():
    layer = Conv2DLayer((None, 1, 28, 28), 20, 5, name="c")
    assert layer.output_shape == (None, 20, 24, 24)
    assert layer.nonlinearity is nn.nonlinearities.rectify
    assert layer.flip_filters and layer.pad == (0, 0) and layer.stride == (1, 1) and layer.num_groups == 1
    assert [p.name for p in layer.get_params()] == ["c.W", "c.b"]
    assert layer.get_params(regularizable=True) == [layer.W]
    unbiased = Conv2DLayer((None, 1, 28, 28), 20, 5, b=None)
    assert unbiased.get_params() == [unbiased.W]


def test_conv_uses_the_function_given():
    seen = {}

    def convolution(input, W, input_shape, W_shape, **options):
        seen.update(options, shapes=(input_shape, W_shape))
        return input

    layer = Conv2DLayer((None, 1, 8, 8), 2, 3, pad="same", b=None, nonlinearity=None, convolution=convolution)
    x = T.tensor4("x")
    assert layer.get_output_for(x) is x
    assert seen == {
        "subsample": (1, 1),
        "border_mode": "half",
        "filter_flip": True,
        "shapes": ((None, 1, 8, 8), (2, 1, 3, 3)),
    }


def test_conv_takes_images_of_another_size():
    layer = Conv2DLayer(InputLayer((4, 1, 8, 8)), 2, 3)
    out = get_output(layer, T.tensor4("x", shape=(None, 1, 16, 20)))
    assert out.type.shape == (None, 2, 14, 18)
    with pytest.raises(ValueError, match="channels"):
        get_output(layer, T.tensor4("x", shape=(None, 3, 16, 20)))


def test_conv_with_unknown_image_size(value, rng):
    l_in = InputLayer((None, 1, None, None))
    layer = Conv2DLayer(l_in, 2, 3, nonlinearity=None)
    assert layer.output_shape == (None, 2, None, None)
    x = rng.normal(size=(1, 1, 6, 9)).astype("float32")
    expected = naive_conv(x, layer.W.get_value(), (1, 1), (0, 0), True, 1)
    np.testing.assert_allclose(value(get_output(layer), {l_in.input_var: x}), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        ((10, 3, 1, 0), 8),
        ((10, 3, 2, 1), 5),
        ((10, 3, 1, "full"), 12),
        ((10, 3, 1, "same"), 10),
        ((10, 3, 2, "same"), 5),
        ((11, 3, 2, "valid"), 5),
        ((None, 3, 2, "valid"), None),
        ((3, 3, 1, 0), 1),
        ((2, 3, 2, 0), 0),
    ],
)
def test_conv_output_length(arguments, length):
    assert conv_output_length(*arguments) == length


def test_conv_output_length_refuses_an_unknown_pad():
    with pytest.raises(ValueError, match="pad is an int, 'full', 'same' or 'valid', got 'half'"):
        conv_output_length(10, 3, 1, "half")


ERRORS = [
    ((None, 1, 8), {}, ValueError, r"a 2D convolution takes 4 axes \(batch, channels, 2 spatial\), got \(None, 1, 8\)"),
    ((None, None, 8, 8), {}, ValueError, r"the number of channels must be known, got \(None, None, 8, 8\)"),
    ((None, 3, 8, 8), {"num_groups": 2}, ValueError, "num_groups=2 must divide the 3 channels and the 4 filters"),
    ((None, 3, 8, 8), {"num_groups": 3}, ValueError, "num_groups=3 must divide the 3 channels and the 4 filters"),
    ((None, 3, 8, 8), {"num_groups": 0}, ValueError, "num_groups=0 must divide"),
    ((None, 3, 8, 8), {"pad": "half"}, ValueError, "pad is an int, .* 'full', 'same' or 'valid', got 'half'"),
    ((None, 3, 8, 8), {"pad": 0.5}, TypeError, "pad must be an int, or 2 of them, got 0.5"),
    ((None, 3, 8, 8), {"stride": (1, 1, 1)}, ValueError, r"stride must be an int, or 2 of them, got \(1, 1, 1\)"),
    ((None, 3, 8, None), {"untie_biases": True}, ValueError, "untied biases need a fixed output size"),
    ((None, 3, 8, 8), {"filter_size": 4, "pad": "same"}, NotImplementedError, r"odd filter sizes, got \(4, 4\)"),
    ((None, 3, 8, 2), {}, ValueError, r"the output would be empty: axis 3 has size 2 \(pad 0\), the filter 3"),
]


@pytest.mark.parametrize(("shape", "options", "error", "text"), ERRORS)
def test_conv_errors(shape, options, error, text):
    with pytest.raises(error, match=text):
        Conv2DLayer(InputLayer(shape), **{"num_filters": 4, "filter_size": 3, **options})


def test_base_conv_leaves_the_convolution_to_subclasses():
    layer = BaseConvLayer((None, 1, 8), 2, 3)
    assert layer.n == 1 and layer.output_shape == (None, 2, 6)
    with pytest.raises(NotImplementedError, match=r"BaseConvLayer does not define convolve\(input, \*\*kwargs\)"):
        layer.get_output_for(T.tensor3("x"))


def naive_pool(x, size, stride, pad, ignore_border, mode):
    """Pool with loops over windows; -inf marks what is outside of the input."""
    shape = [pool_output_length(n, *a, ignore_border) for n, *a in zip(x.shape[2:], size, stride, pad, strict=True)]
    big = np.pad(x, ((0, 0), (0, 0), (pad[0], pad[0] + size[0]), (pad[1], pad[1] + size[1])), constant_values=-np.inf)
    ends = [n + 2 * p if ignore_border else n for n, p in zip(x.shape[2:], pad, strict=True)]
    out = np.zeros((*x.shape[:2], *shape))
    for i, j in itertools.product(*map(range, shape)):
        rows = slice(i * stride[0], min(i * stride[0] + size[0], ends[0]))
        columns = slice(j * stride[1], min(j * stride[1] + size[1], ends[1]))
        window = big[:, :, rows, columns].reshape(*x.shape[:2], -1)
        inside = np.isfinite(window)
        total = np.where(inside, window, 0).sum(-1)
        counts = {"sum": 1, "average_exc_pad": inside.sum(-1), "average_inc_pad": window.shape[-1]}
        out[:, :, i, j] = window.max(-1) if mode == "max" else total / counts[mode]
    return out


POOLS = [
    ((2, 2), (2, 2), (0, 0), True),
    ((3, 2), (2, 1), (0, 0), True),
    ((3, 3), (2, 2), (1, 1), True),
    ((2, 3), (2, 3), (0, 0), False),
    ((3, 3), (2, 2), (0, 0), False),
]


@pytest.mark.parametrize("mode", ["max", "sum", "average_inc_pad", "average_exc_pad"])
@pytest.mark.parametrize(("size", "stride", "pad", "ignore_border"), POOLS)
def test_pool_against_loops(value, rng, size, stride, pad, ignore_border, mode):
    l_in = InputLayer((None, 3, 7, 8))
    layer = Pool2DLayer(l_in, size, stride, pad, ignore_border, mode)
    x = rng.normal(size=(2, 3, 7, 8)).astype("float32")
    out = value(get_output(layer), {l_in.input_var: x})
    assert (None, *out.shape[1:]) == layer.output_shape
    np.testing.assert_allclose(out, naive_pool(x, size, stride, pad, ignore_border, mode), rtol=1e-5, atol=1e-5)


def test_max_pool_is_pool_with_mode_max(value, rng):
    layer = MaxPool2DLayer((None, 3, 7, 8), 2, name="p")
    assert layer.mode == "max" and layer.name == "p"
    assert layer.stride == layer.pool_size == (2, 2)
    assert layer.output_shape == (None, 3, 3, 4)
    assert layer.get_params() == []


@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        ((10, 3, 3), 3),
        ((10, 3, 3, 1), 4),
        ((10, 3, 3, 0, False), 4),
        ((10, 3, 2, 0, False), 5),
        ((9, 3, 2, 0, False), 4),
        ((2, 3, 1, 0, False), 1),
        ((None, 3, 1), None),
        ((2, 3, 1), 0),
    ],
)
def test_pool_output_length(arguments, length):
    assert pool_output_length(*arguments) == length


def test_pool_with_an_empty_output_names_the_chain():
    network = MaxPool2DLayer(InputLayer((None, 1, 4, 4), name="image"), 4, name="pool1")
    with pytest.raises(ValueError) as error:
        Pool2DLayer(network, (1, 2), name="pool2")
    text = str(error.value)
    assert text.startswith("pool2 (Pool2DLayer): the output would be empty: axis 3 has size 1 (pad 0), the window 2\n")
    assert "image (InputLayer)" in text and "pool1 (MaxPool2DLayer)" in text and "(None, 1, 1, 1)" in text
    assert text.endswith("  use a smaller window, less pooling before, or ignore_border=False")


POOL_ERRORS = [
    ((None, 8, 8), {}, r"2D pooling takes 4 axes \(batch, channels, rows, columns\), got \(None, 8, 8\)"),
    ((None, 1, 8, 8), {"mode": "mean"}, "mode is one of max, sum, average_inc_pad, average_exc_pad, got 'mean'"),
    ((None, 1, 8, 8), {"pad": 1, "ignore_border": False}, r"pad=\(1, 1\) needs ignore_border=True"),
    ((None, 1, 8, 8), {"pad": (0, 2)}, r"the padding \(0, 2\) must be smaller than the window \(2, 2\)"),
    ((None, 1, 8, 8), {"pool_size": (2, 2, 2)}, "pool_size must be an int, or 2 of them"),
]


@pytest.mark.parametrize(("shape", "options", "text"), POOL_ERRORS)
def test_pool_errors(shape, options, text):
    with pytest.raises(ValueError, match=text):
        Pool2DLayer(InputLayer(shape), **{"pool_size": 2, **options})


@pytest.mark.parametrize(("function", "numpy"), [(T.mean, np.mean), (T.max, np.max)])
def test_global_pool(value, rng, function, numpy):
    l_in = InputLayer((None, 3, 4, 5))
    layer = GlobalPoolLayer(l_in, function)
    assert layer.output_shape == (None, 3)
    x = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    out = value(get_output(layer), {l_in.input_var: x})
    np.testing.assert_allclose(out, numpy(x, axis=(2, 3)), rtol=1e-5, atol=1e-6)


def test_global_pool_over_one_axis(value, rng):
    l_in = InputLayer((2, 3, 4))
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    out = value(get_output(GlobalPoolLayer(l_in)), {l_in.input_var: x})
    np.testing.assert_allclose(out, x.mean(axis=2), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"global pooling takes \(batch, channels, positions ...\), got \(2, 3\)"):
        GlobalPoolLayer((2, 3))
