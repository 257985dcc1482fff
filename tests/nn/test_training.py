"""Small networks that learn, compiled as users run them."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.nn import layers, nonlinearities, objectives


def compile_training(network, l_in, updates):
    """Return the functions (x, y) -> loss with a training step, and (x, y) -> (loss, accuracy) for testing."""
    y = T.ivector("y")
    loss = objectives.categorical_crossentropy(layers.get_output(network), y).mean()
    params = layers.get_all_params(network, trainable=True)
    step = exprc.function([l_in.input_var, y], loss, updates=updates(loss, params))
    p = layers.get_output(network, deterministic=True)
    test_loss = objectives.categorical_crossentropy(p, y).mean()
    accuracy = objectives.categorical_accuracy(p, y).mean()
    return step, exprc.function([l_in.input_var, y], [test_loss, accuracy])


def test_mlp_learns_a_spiral(rng):
    angle = rng.uniform(0.5, 3.0, 150)
    y = rng.randint(0, 3, 150).astype("int32")
    turn = 2 * angle + y * 2 * np.pi / 3
    x = (angle[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)).astype("float32")
    l_in = layers.InputLayer((None, 2))
    network = layers.DenseLayer(l_in, 32, W=nn.init.HeNormal("relu"))
    network = layers.DenseLayer(network, 32, W=nn.init.HeNormal("relu"))
    network = layers.DenseLayer(network, 3, nonlinearity=nonlinearities.softmax)
    step, test = compile_training(network, l_in, lambda loss, params: nn.updates.adam(loss, params, 0.01))
    first, _ = test(x, y)
    for _ in range(200):
        step(x, y)
    last, accuracy = test(x, y)
    assert first > 0.8 and last < 0.2 * first
    assert accuracy > 0.95


def bars(rng, count):
    """Images of a horizontal or a vertical bar (or none) at a random place, with noise."""
    x = 0.3 * rng.normal(size=(count, 1, 12, 12))
    y = rng.randint(0, 3, count)
    for image, kind, place in zip(x[:, 0], y, rng.randint(1, 11, count), strict=True):
        if kind:
            (image if kind == 1 else image.T)[place] += 1
    return x.astype("float32"), y.astype("int32")


@pytest.mark.parametrize("normalise", [False, True])
def test_small_lenet_learns_bars(rng, normalise):
    l_in = layers.InputLayer((None, 1, 12, 12))
    network = layers.Conv2DLayer(l_in, 6, 3, W=nn.init.HeNormal("relu"))
    network = layers.batch_norm(network) if normalise else network
    network = layers.MaxPool2DLayer(network, 2)
    network = layers.DenseLayer(network, 16)
    network = layers.DenseLayer(layers.DropoutLayer(network, p=0.1), 3, nonlinearity=nonlinearities.softmax)
    step, test = compile_training(
        network, l_in, lambda loss, params: nn.updates.nesterov_momentum(loss, params, 0.05, momentum=0.9)
    )
    x, y = bars(rng, 256)
    first, _ = test(x, y)
    for _ in range(12):
        for start in range(0, 256, 64):
            step(x[start : start + 64], y[start : start + 64])
    last, accuracy = test(x, y)
    assert last < 0.3 * first
    assert accuracy > 0.95


def test_weights_of_a_trained_part_stay_when_they_are_not_updated(rng):
    l_in = layers.InputLayer((None, 4))
    base = layers.DenseLayer(l_in, 5)
    head = layers.DenseLayer(base, 2, nonlinearity=nonlinearities.softmax)
    before = layers.get_all_param_values(head)
    y = T.ivector("y")
    loss = objectives.categorical_crossentropy(layers.get_output(head), y).mean()
    step = exprc.function([l_in.input_var, y], loss, updates=nn.updates.momentum(loss, head.get_params(), 0.1))
    step(rng.normal(size=(6, 4)).astype("float32"), np.array([0, 1, 0, 1, 1, 1], "int32"))
    after = layers.get_all_param_values(head)
    for old, new in zip(before[:2], after[:2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert (before[2] != after[2]).any()
