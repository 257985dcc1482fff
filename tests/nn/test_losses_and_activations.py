"""Nonlinearities, objectives and regularisation against NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.nn import nonlinearities, objectives, regularization
from exprc.nn.layers import DenseLayer, InputLayer


def np_softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


SELU_SCALE, SELU_NEG = 1.0507009873554805, 1.6732632423543772

ACTIVATIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": np_softmax,
    "tanh": np.tanh,
    "rectify": lambda x: np.maximum(x, 0),
    "leaky_rectify": lambda x: np.where(x > 0, x, 0.01 * x),
    "very_leaky_rectify": lambda x: np.where(x > 0, x, x / 3),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_NEG * np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "linear": lambda x: x,
    "identity": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nonlinearities(value, rng, name):
    x = (3 * rng.normal(size=(5, 4))).astype("float32")
    x[0, 0] = 0
    variable = T.matrix("x")
    out = value(getattr(nonlinearities, name)(variable), {variable: x})
    np.testing.assert_allclose(out, ACTIVATIONS[name](x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nonlinearities.ScaledTanH(0.5, 2), lambda x: 2 * np.tanh(0.5 * x)),
        (nonlinearities.LeakyRectify(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
        (nonlinearities.SELU(2, 3), lambda x: 2 * np.where(x > 0, x, 3 * np.expm1(np.minimum(x, 0)))),
    ],
)
def test_nonlinearities_with_options(value, rng, function, expected):
    x = rng.normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(value(function(T.constant(x))), expected(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["elu", "selu", "softplus", "sigmoid", "softmax"])
def test_nonlinearities_have_finite_gradients_far_out(value, name):
    x = T.vector("x")
    cost = T.sum(getattr(nonlinearities, name)(x.dimshuffle("x", 0)) * nn.utils.floatX([[1, 2, 3]]))
    gradient = value(exprc.grad(cost, x), {x: nn.utils.floatX([-1e4, 0, 1e4])})
    assert np.isfinite(gradient).all()


def test_aliases():
    assert nonlinearities.ScaledTanh is nonlinearities.ScaledTanH
    assert nonlinearities.identity is nonlinearities.linear


def test_binary_crossentropy(value, rng):
    p, t = rng.uniform(0.1, 0.9, (4, 3)).astype("float32"), rng.randint(0, 2, (4, 3)).astype("float32")
    expected = -t * np.log(p) - (1 - t) * np.log(1 - p)
    np.testing.assert_allclose(value(objectives.binary_crossentropy(T.constant(p), T.constant(t))), expected, rtol=1e-4)


def test_categorical_crossentropy(value, rng):
    p = np_softmax(rng.normal(size=(6, 4))).astype("float32")
    classes = rng.randint(0, 4, 6).astype("int32")
    expected = -np.log(p[np.arange(6), classes])
    one_hot = np.eye(4, dtype="float32")[classes]
    for targets in (classes, one_hot):
        loss = objectives.categorical_crossentropy(T.constant(p), T.constant(targets))
        np.testing.assert_allclose(value(loss), expected, rtol=1e-4)


def test_squared_error(value, rng):
    a, b = rng.normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(value(objectives.squared_error(T.constant(a), T.constant(b))), (a - b) ** 2, rtol=1e-5)


@pytest.mark.parametrize("loss", [objectives.binary_crossentropy, objectives.squared_error, objectives.binary_accuracy])
def test_a_vector_of_targets_beside_a_column_is_a_column(loss):
    predictions, targets = T.matrix("p", shape=(None, 1)), T.vector("t")
    assert loss(predictions, targets).type.shape[1] == 1
    assert loss(predictions, T.matrix("t", shape=(None, 1))).ndim == 2


def test_aggregate(value):
    loss, weights = nn.utils.floatX([1, 2, 6]), nn.utils.floatX([1, 0, 0.5])
    cases = [
        (None, "mean", 3),
        (None, "sum", 9),
        (weights, "mean", 4 / 3),
        (weights, "sum", 4),
        (weights, "normalized_sum", 4 / 1.5),
    ]
    for given, mode, expected in cases:
        given = None if given is None else T.constant(given)
        out = value(objectives.aggregate(T.constant(loss), given, mode))
        np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_aggregate_errors():
    with pytest.raises(ValueError, match="mode must be 'mean', 'sum' or 'normalized_sum', got 'median'"):
        objectives.aggregate(T.vector("l"), mode="median")
    with pytest.raises(ValueError, match="mode='normalized_sum' requires weights"):
        objectives.aggregate(T.vector("l"), mode="normalized_sum")


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.5, [True, True, False, True]), (0.8, [True, False, True, False])]
)
def test_binary_accuracy(value, threshold, expected):
    p, t = nn.utils.floatX([0.2, 0.7, 0.6, 0.5]), np.array([0, 1, 0, 1])
    out = value(objectives.binary_accuracy(T.constant(p), T.constant(t), threshold))
    assert out.tolist() == expected


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
def test_categorical_accuracy(value, rng, top_k):
    p = rng.permutation(6 * 4).reshape(6, 4).astype("float32")
    classes = rng.randint(0, 4, 6)
    best = np.argsort(p, axis=1)[:, -top_k:]
    expected = (best == classes[:, None]).any(1)
    for targets in (classes, np.eye(4, dtype="float32")[classes]):
        out = value(objectives.categorical_accuracy(T.constant(p), T.constant(targets), top_k))
        assert out.tolist() == expected.tolist()


def test_categorical_accuracy_of_equal_predictions(value):
    p = T.constant(nn.utils.floatX([[1, 1, 1]] * 3))
    right = [value(objectives.categorical_accuracy(p, T.constant(np.arange(3)), k)).tolist() for k in (1, 2, 3)]
    assert right == [[True, False, False], [False, True, True], [True, True, True]]


def test_categorical_accuracy_needs_fitting_axes():
    with pytest.raises(TypeError, match="targets have 0 axes, predictions 2"):
        objectives.categorical_accuracy(T.matrix("p"), T.iscalar("t"))


def two_layers():
    first = DenseLayer(InputLayer((None, 3)), 4, b=nn.init.Constant(2))
    return first, DenseLayer(first, 2, b=nn.init.Constant(3))


def norms(*params):
    return sum(float((p.get_value() ** 2).sum()) for p in params)


def test_penalties(value, rng):
    x, y = rng.normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(value(regularization.l1(T.constant(x))), np.abs(x).sum(), rtol=1e-5)
    np.testing.assert_allclose(value(regularization.l2(T.constant(x))), (x**2).sum(), rtol=1e-5)
    both = regularization.apply_penalty([T.constant(x), T.constant(y)], regularization.l2)
    np.testing.assert_allclose(value(both), (x**2).sum() + (y**2).sum(), rtol=1e-5)
    one = regularization.apply_penalty(T.constant(x), lambda t, scale: scale * T.sum(t), scale=2)
    np.testing.assert_allclose(value(one), 2 * x.sum(), rtol=1e-4)


def test_layer_and_network_penalties(value):
    first, second = two_layers()
    l2, weights = regularization.l2, {first: 0.5, second: 2}
    cases = [
        (regularization.regularize_layer_params(second, l2), norms(second.W)),
        (regularization.regularize_layer_params([first, second], l2), norms(first.W, second.W)),
        (regularization.regularize_layer_params(second, l2, tags={"regularizable": False}), norms(second.b)),
        (regularization.regularize_layer_params_weighted(weights, l2), 0.5 * norms(first.W) + 2 * norms(second.W)),
        (regularization.regularize_network_params(second, l2), norms(first.W, second.W)),
        (regularization.regularize_network_params(second, l2, {}), norms(*first.get_params(), *second.get_params())),
    ]
    for penalty, expected in cases:
        np.testing.assert_allclose(value(penalty), expected, rtol=1e-4)


def test_penalties_take_options(value):
    first, second = two_layers()
    biases = {"regularizable": False}
    scaled = regularization.regularize_network_params(second, lambda x, scale: scale * T.sum(x), biases, scale=3)
    np.testing.assert_allclose(value(scaled), 3 * (4 * 2 + 2 * 3), rtol=1e-5)


@pytest.mark.parametrize("loss", [objectives.squared_error, objectives.binary_crossentropy, objectives.binary_accuracy])
def test_shapes_that_would_be_stretched_are_warned_of(loss):
    p, column = T.matrix("p"), T.matrix("column", shape=(None, 1))
    t, wide = T.vector("t"), T.matrix("wide", shape=(None, 3))
    for left, right in ((p, t), (wide, column), (p, T.tensor3("cube"))):
        with pytest.warns(UserWarning, match="are broadcast") as told:
            loss(left, right)
        assert told[0].filename == __file__ and "give both the same axes" in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loss(column, t).type.shape == (None, 1)
        for left, right in ((p, wide), (p, p), (p, 1.0), (p, T.scalar("s"))):
            loss(left, right)
