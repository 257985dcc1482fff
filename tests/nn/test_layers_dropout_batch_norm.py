"""DropoutLayer: statistics and switches.  BatchNormLayer: statistics, averages and their updates; batch_norm."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
from exprc import nn
from exprc.nn.layers import (
    BatchNormLayer,
    Conv2DLayer,
    DenseLayer,
    DropoutLayer,
    InputLayer,
    NonlinearityLayer,
    batch_norm,
    dropout,
    get_all_layers,
    get_all_params,
    get_output,
)


def test_dropout_zeros_and_scales(value):
    l_in = InputLayer((200, 500))
    layer = DropoutLayer(l_in, p=0.3)
    out = value(get_output(layer), {l_in.input_var: np.ones((200, 500), "float32")})
    zeros = (out == 0).mean()
    assert abs(zeros - 0.3) < 4 * np.sqrt(0.3 * 0.7 / out.size)
    np.testing.assert_allclose(out[out != 0], 1 / 0.7, rtol=1e-5)
    assert abs(out.mean() - 1) < 0.01


def test_dropout_without_rescaling(value):
    l_in = InputLayer((100, 100))
    out = value(get_output(dropout(l_in, rescale=False)), {l_in.input_var: np.full((100, 100), 3, "float32")})
    assert set(np.unique(out)) == {0, 3}


def test_dropout_draws_anew_at_each_call_and_repeats_with_the_seed():
    def draws():
        nn.random.set_rng(np.random.RandomState(5))
        l_in = InputLayer((4, 50))
        function = exprc.function([l_in.input_var], get_output(DropoutLayer(l_in)), mode="reference")
        ones = np.ones((4, 50), "float32")
        return function(ones), function(ones)

    first, second = draws()
    again, _ = draws()
    assert (first != second).any()
    np.testing.assert_array_equal(first, again)


def test_dropout_layers_do_not_share_their_masks(value):
    l_in = InputLayer((4, 50))
    outputs = get_output([DropoutLayer(l_in), DropoutLayer(l_in)])
    first, second = value(outputs, {l_in.input_var: np.ones((4, 50), "float32")})
    assert (first != second).any()


def test_dropout_is_off_for_testing_and_for_p_0():
    l_in = InputLayer((4, 5))
    assert get_output(DropoutLayer(l_in), deterministic=True) is l_in.input_var
    assert get_output(DropoutLayer(l_in, p=0)) is l_in.input_var


def test_dropout_with_a_shared_probability():
    p = exprc.shared(nn.utils.floatX(0.9), name="p")
    l_in = InputLayer((100, 100))
    function = exprc.function([l_in.input_var], get_output(DropoutLayer(l_in, p=p)), mode="reference")
    ones = np.ones((100, 100), "float32")
    assert abs((function(ones) == 0).mean() - 0.9) < 0.02
    p.set_value(nn.utils.floatX(0.2))
    assert abs((function(ones) == 0).mean() - 0.2) < 0.02


def test_dropout_with_shared_axes_and_unknown_sizes(value):
    l_in = InputLayer((None, 40, None, 3))
    layer = DropoutLayer(l_in, shared_axes=(2, -1))
    out = value(get_output(layer), {l_in.input_var: np.ones((10, 40, 2, 3), "float32")})
    np.testing.assert_array_equal(out, np.broadcast_to(out[:, :, :1, :1], out.shape))
    assert 0.35 < (out[:, :, 0, 0] == 0).mean() < 0.65


@pytest.mark.parametrize("p", [1, -0.1, np.float32(2)])
def test_dropout_needs_a_probability(p):
    with pytest.raises(ValueError, match="p is the probability of zero, 0 <= p < 1, got"):
        DropoutLayer((2, 3), p=p)


def normalised(x, axes, beta, gamma, epsilon=1e-4):
    """Standardise with NumPy; also return mean and 1 / std."""
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    inv_std = 1 / np.sqrt(var + epsilon)
    return (x - mean) * inv_std * gamma + beta, mean, inv_std


@pytest.mark.parametrize(
    ("shape", "axes", "used", "kept"),
    [
        ((8, 3), "auto", (0,), (1, 3)),
        ((8, 3, 4, 5), "auto", (0, 2, 3), (1, 3, 1, 1)),
        ((8, 3, 4), (0, 1), (0, 1), (1, 1, 4)),
        ((8, 3, 4), -1, (2,), (8, 3, 1)),
        ((8, 3), 0, (0,), (1, 3)),
    ],
)
def test_batch_norm_standardises(value, rng, shape, axes, used, kept):
    l_in = InputLayer(shape)
    layer = BatchNormLayer(l_in, axes, beta=nn.init.Normal(1.0), gamma=nn.init.Uniform((0.5, 2)))
    assert layer.axes == used and layer.output_shape == shape
    x = (3 * rng.normal(size=shape) + 2).astype("float32")
    beta, gamma = layer.beta.get_value().reshape(kept), layer.gamma.get_value().reshape(kept)
    expected, mean, inv_std = normalised(x, used, beta, gamma)
    np.testing.assert_allclose(value(get_output(layer), {l_in.input_var: x}), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(layer.mean.get_value().reshape(kept), 0.1 * mean, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(layer.inv_std.get_value().reshape(kept), 0.9 + 0.1 * inv_std, rtol=1e-3, atol=1e-5)


def test_batch_norm_parameters():
    layer = BatchNormLayer((None, 3), name="bn")
    assert [p.name for p in layer.get_params()] == ["bn.beta", "bn.gamma", "bn.mean", "bn.inv_std"]
    assert layer.get_params(trainable=True) == [layer.beta, layer.gamma]
    assert layer.get_params(regularizable=True) == [layer.gamma]
    assert layer.get_params(trainable=False) == [layer.mean, layer.inv_std]
    plain = BatchNormLayer((None, 3), beta=None, gamma=None)
    assert plain.beta is None and plain.gamma is None
    assert plain.get_params() == [plain.mean, plain.inv_std]


def test_batch_norm_without_scale_and_offset(value, rng):
    l_in = InputLayer((8, 3))
    x = rng.normal(size=(8, 3)).astype("float32")
    out = value(get_output(BatchNormLayer(l_in, beta=None, gamma=None)), {l_in.input_var: x})
    np.testing.assert_allclose(out, normalised(x, (0,), 0, 1)[0], rtol=1e-3, atol=1e-4)


def running(layer):
    return np.concatenate([layer.mean.get_value(), layer.inv_std.get_value()])


@pytest.fixture
def averaging():
    """A layer with known averages, alpha 0.5, its input variable, and a batch."""
    l_in = InputLayer((None, 2))
    layer = BatchNormLayer(l_in, alpha=0.5, mean=np.float32([1, 2]), inv_std=np.float32([2, 4]))
    x = np.float32([[0, 10], [2, 14], [4, 18]])
    return layer, l_in.input_var, x


OLD = [1, 2, 2, 4]
BATCH_STD = np.sqrt(np.array([8 / 3, 32 / 3]) + 1e-4)
NEW = np.concatenate([0.5 * np.array([1, 2]) + 0.5 * np.array([2, 14]), 0.5 * np.array([2, 4]) + 0.5 / BATCH_STD])


@pytest.mark.parametrize(
    ("flags", "uses_averages", "updates"),
    [
        ({}, False, True),
        ({"deterministic": True}, True, False),
        ({"batch_norm_use_averages": True}, True, True),
        ({"batch_norm_update_averages": False}, False, False),
        ({"deterministic": True, "batch_norm_use_averages": False}, False, False),
        ({"deterministic": True, "batch_norm_update_averages": True}, True, True),
        ({"batch_norm_use_averages": True, "batch_norm_update_averages": False}, True, False),
    ],
)
def test_batch_norm_flags(value, averaging, flags, uses_averages, updates):
    layer, x_var, x = averaging
    with_averages = (x - np.float32([1, 2])) * np.float32([2, 4])
    with_batch = (x - x.mean(0)) / BATCH_STD
    out = value(get_output(layer, **flags), {x_var: x})
    np.testing.assert_allclose(out, with_averages if uses_averages else with_batch, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(running(layer), NEW if updates else OLD, rtol=1e-4)


def test_batch_norm_does_not_read_averages_that_it_only_updates(averaging):
    layer, x_var, x = averaging
    layer.mean.set_value(np.float32([np.nan, np.inf]))
    out = exprc.function([x_var], get_output(layer))(x)
    np.testing.assert_allclose(out, (x - x.mean(0)) / BATCH_STD, rtol=1e-4, atol=1e-5)
    assert np.isnan(layer.mean.get_value()[0])


def test_batch_norm_averages_follow_call_by_call(averaging):
    layer, x_var, x = averaging
    function = exprc.function([x_var], get_output(layer), mode="reference")
    for _ in range(3):
        function(x)
    np.testing.assert_allclose(layer.mean.get_value(), 0.125 * np.array([1, 2]) + 0.875 * np.array([2, 14]), rtol=1e-4)


def test_batch_norm_updates_beside_other_updates(averaging):
    layer, x_var, x = averaging
    loss = (get_output(layer) ** 2).mean()
    params = layer.get_params(trainable=True)
    step = exprc.function([x_var], loss, updates=nn.updates.sgd(loss, params, 0.1), mode="reference")
    step(x)
    np.testing.assert_allclose(running(layer), NEW, rtol=1e-4)
    assert (layer.gamma.get_value() != 1).all()


def test_batch_norm_leaves_the_average_without_default_update(averaging):
    layer, _, _ = averaging
    get_output(layer)
    assert layer.mean.default_update is None and layer.inv_std.default_update is None


def test_batch_norm_geometry_errors():
    with pytest.raises(ValueError, match=r"all axes but axes=\(0, 2\) must be known, got \(None, None, 3\)"):
        BatchNormLayer(InputLayer((None, None, 3)))
    with pytest.raises(ValueError, match=r"axes=\(0, 3\) are out of range for a 3-dimensional input"):
        BatchNormLayer((2, 3, 4), axes=(0, 3))


def test_batch_norm_function_takes_bias_and_nonlinearity():
    dense = DenseLayer(InputLayer((None, 3)), 4, name="d")
    network = batch_norm(dense)
    assert isinstance(network, NonlinearityLayer)
    assert network.nonlinearity is nn.nonlinearities.rectify
    assert dense.nonlinearity is nn.nonlinearities.identity and dense.b is None
    assert [layer.name for layer in get_all_layers(network)][1:] == ["d", "d_bn", "d_bn_nonlin"]
    assert [p.name for p in get_all_params(network, trainable=True)] == ["d.W", "d_bn.beta", "d_bn.gamma"]


def test_batch_norm_function_options():
    conv = Conv2DLayer((None, 3, 8, 8), 4, 3, nonlinearity=None)
    network = batch_norm(conv, name="mine", alpha=0.2)
    assert network.name == "mine_nonlin" and network.input_layer.name == "mine"
    assert network.input_layer.alpha == 0.2
    unnamed = batch_norm(DenseLayer((None, 3), 4))
    assert unnamed.name is None and unnamed.input_layer.name is None


def test_batch_norm_function_on_a_layer_without_nonlinearity(value, rng):
    l_in = InputLayer((None, 3), name="x")
    network = batch_norm(l_in)
    assert isinstance(network, BatchNormLayer) and network.name == "x_bn"
    x = rng.normal(size=(6, 3)).astype("float32")
    np.testing.assert_allclose(
        value(get_output(network), {l_in.input_var: x}), normalised(x, (0,), 0, 1)[0], rtol=1e-3, atol=1e-4
    )


def test_batch_norm_function_equals_its_parts(value, rng):
    l_in = InputLayer((None, 2, 6, 6))
    network = batch_norm(Conv2DLayer(l_in, 3, 3))
    conv, bn = get_all_layers(network)[1:3]
    x = rng.normal(size=(4, 2, 6, 6)).astype("float32")
    activation, out = value(get_output([conv, network], batch_norm_update_averages=False), {l_in.input_var: x})
    expected = normalised(activation, (0, 2, 3), 0, 1)[0]
    np.testing.assert_allclose(out, np.maximum(expected, 0), rtol=1e-3, atol=1e-3)
    assert bn.mean.get_value().tolist() == [0, 0, 0]


def test_dropout_refuses_what_it_cannot_use(value):
    l_in = InputLayer((None, 6))
    assert DropoutLayer(l_in, shared_axes=-1).shared_axes == (1,)
    with pytest.raises(ValueError, match=r"shared_axes=\(7,\) are out of range for a 2-dimensional input"):
        DropoutLayer(l_in, shared_axes=(7,))
    with pytest.raises(TypeError, match="p must be a number or a scalar expression, got 'half'"):
        DropoutLayer(l_in, p="half")
