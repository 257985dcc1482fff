"""InputLayer and DenseLayer."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.nn.layers import DenseLayer, InputLayer, get_output


def test_input_variable_has_the_static_shape():
    layer = InputLayer((None, 3, 1), name="data")
    assert layer.input_var.name == "data.input"
    assert layer.input_var.type.shape == (None, 3, 1)
    assert layer.input_var.dtype == exprc.config.floatX
    assert InputLayer((2,)).input_var.name == "input"
    assert layer.get_params() == []


def test_input_variable_may_be_given():
    x = T.imatrix("x")
    layer = InputLayer((None, 3), input_var=x)
    assert layer.input_var is x
    assert get_output(layer) is x


def test_input_variable_must_fit():
    with pytest.raises(ValueError, match=r"shape \(None, 3\) has 2 dimensions, but the variable 'x' has 3"):
        InputLayer((None, 3), input_var=T.tensor3("x"))
    with pytest.raises(ValueError, match=r"the variable 'x' has shape \(None, 4\), not \(None, 3\)"):
        InputLayer((None, 3), input_var=T.matrix("x", shape=(None, 4)))


@pytest.mark.parametrize("shape", [(0, 3), (None, -1)])
def test_input_sizes_must_be_positive(shape):
    with pytest.raises(ValueError, match="InputLayer: every size must be positive or None, got shape"):
        InputLayer(shape)


def test_a_wrong_size_is_refused_when_the_function_is_called(value):
    layer = InputLayer((None, 3), name="data")
    with pytest.raises(ValueError, match="data.input"):
        value(get_output(layer), {layer.input_var: np.zeros((2, 4), "float32")})


@pytest.mark.parametrize(
    ("shape", "leading", "weights", "result"),
    [
        ((5, 3), 1, (3, 4), (5, 4)),
        ((5, 3, 2), 1, (6, 4), (5, 4)),
        ((5, 3, 2), 2, (2, 4), (5, 3, 4)),
        ((5, 3, 2), -1, (2, 4), (5, 3, 4)),
        ((5, 3, 2), -2, (6, 4), (5, 4)),
        ((5, 3, 2), 0, (30, 4), (4,)),
    ],
)
def test_dense_is_a_product_over_the_trailing_axes(value, rng, shape, leading, weights, result):
    l_in = InputLayer(shape)
    layer = DenseLayer(l_in, 4, b=nn.init.Normal(1.0), num_leading_axes=leading, nonlinearity=nn.nonlinearities.tanh)
    assert layer.W.get_value().shape == weights
    assert layer.output_shape == result
    x = rng.normal(size=shape).astype("float32")
    rows = x.reshape(-1, weights[0])
    expected = np.tanh(rows @ layer.W.get_value() + layer.b.get_value()).reshape(result)
    out = value(get_output(layer), {l_in.input_var: x})
    assert out.shape == result
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_dense_with_unknown_leading_axes(value, rng):
    l_in = InputLayer((None, None, 3))
    layer = DenseLayer(l_in, 2, num_leading_axes=2, nonlinearity=None)
    assert layer.output_shape == (None, None, 2)
    x = rng.normal(size=(4, 5, 3)).astype("float32")
    out = value(get_output(layer), {l_in.input_var: x})
    np.testing.assert_allclose(out, x @ layer.W.get_value(), rtol=1e-4, atol=1e-5)


def test_dense_defaults():
    layer = DenseLayer((None, 3), 2, name="d")
    assert layer.nonlinearity is nn.nonlinearities.rectify
    assert [p.name for p in layer.get_params()] == ["d.W", "d.b"]
    assert layer.get_params(regularizable=True) == [layer.W]
    assert layer.b.get_value().tolist() == [0, 0]
    assert DenseLayer((None, 3), 2, nonlinearity=None).nonlinearity is nn.nonlinearities.identity


def test_dense_without_bias(value, rng):
    l_in = InputLayer((None, 3))
    layer = DenseLayer(l_in, 2, b=None, nonlinearity=None)
    assert layer.b is None and layer.get_params() == [layer.W]
    x = rng.normal(size=(4, 3)).astype("float32")
    out = value(get_output(layer), {l_in.input_var: x})
    np.testing.assert_allclose(out, x @ layer.W.get_value(), rtol=1e-4, atol=1e-5)


def test_dense_shares_weights():
    first = DenseLayer((None, 3), 2)
    second = DenseLayer((None, 3), 2, W=first.W, b=first.b)
    assert second.W is first.W and second.b is first.b


@pytest.mark.parametrize("leading", [2, -3])
def test_dense_needs_an_axis_for_the_product(leading):
    with pytest.raises(ValueError, match=f"DenseLayer: num_leading_axes={leading} leaves no axis") as error:
        DenseLayer(InputLayer((None, 3), name="data"), 2, num_leading_axes=leading)
    assert "data (InputLayer)" in str(error.value)
    assert "give a number from -2 to 1" in str(error.value)


def test_dense_needs_fixed_trailing_sizes():
    with pytest.raises(ValueError) as error:
        DenseLayer(InputLayer((None, 3, None), name="data"), 2, name="out")
    text = str(error.value)
    assert text.startswith("out (DenseLayer): the inputs of a unit need fixed sizes, got (None, 3, None)")
    assert "data (InputLayer)" in text
    assert "num_leading_axes" in text


def test_dense_refuses_weights_of_another_shape():
    with pytest.raises(RuntimeError, match=r"parameter 'W' has shape \(3, 3\), it should be \(3, 2\)"):
        DenseLayer((None, 3), 2, W=np.zeros((3, 3)))
