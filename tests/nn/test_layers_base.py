"""Layer and MergeLayer: parameters, tags, shapes, and networks of foreign objects."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import exprc
from exprc import nn
from exprc.nn.layers import DenseLayer, InputLayer, Layer, MergeLayer, get_all_layers, get_output

TWO = nn.init.Constant(2.0)


class Scale(Layer):
    """A layer with one parameter."""

    def __init__(self, incoming, factor=TWO, **kwargs):
        super().__init__(incoming, **kwargs)
        self.factor = self.add_param(factor, self.input_shape[1:], "factor", special=True, regularizable=False)

    def get_output_for(self, input, **kwargs):
        return input * self.factor


def test_layer_takes_a_layer_or_a_shape():
    first = InputLayer((None, 3))
    layer = Layer(first, name="second")
    assert layer.input_layer is first
    assert layer.input_shape == layer.output_shape == (None, 3)
    free = Layer((5, 4))
    assert free.input_layer is None
    assert free.output_shape == (5, 4)


def test_layer_takes_anything_with_an_output_shape():
    foreign = SimpleNamespace(output_shape=(None, 3))
    assert Layer(foreign).input_layer is foreign
    merged = MergeLayer([foreign, (2, 3)])
    assert merged.input_layers == [foreign, None]
    assert merged.input_shapes == [(None, 3), (2, 3)]


def test_incoming_must_be_a_layer_or_a_shape():
    with pytest.raises(TypeError, match=r"incoming is a layer or a tuple \(a shape\), got \[None, 3\] of type list"):
        Layer([None, 3])
    with pytest.raises(TypeError, match="MergeLayer: incomings is a list of layers, got Layer"):
        MergeLayer(Layer((2, 3)))
    with pytest.raises(ValueError, match="MergeLayer: the list of incoming layers is empty"):
        MergeLayer([])


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_must_be_positive(size):
    with pytest.raises(ValueError, match=r"bad \(Layer\): every size must be positive or None, got input_shape \(4, "):
        Layer((4, size), name="bad")
    with pytest.raises(ValueError, match="MergeLayer: every size must be positive or None"):
        MergeLayer([(4, 3), (4, size)])


def test_a_subclass_must_say_what_it_computes():
    with pytest.raises(NotImplementedError, match=r"Layer does not define get_output_for\(input, \*\*kwargs\)"):
        Layer((2, 3)).get_output_for(None)
    with pytest.raises(NotImplementedError, match=r"MergeLayer does not define get_output_for\(inputs, \*\*kwargs\)"):
        MergeLayer([(2, 3)]).get_output_for([None])
    with pytest.raises(NotImplementedError, match=r"MergeLayer does not define get_output_shape_for\(input_shapes\)"):
        MergeLayer([(2, 3)]).output_shape  # noqa: B018 - the property raises


def test_symbolic_output_shape_is_refused():
    class Symbolic(Layer):
        def get_output_shape_for(self, input_shape):
            return (exprc.tensor.iscalar("n"), 3)

    with pytest.raises(ValueError, match=r"Symbolic: get_output_shape_for\(\) returned a symbolic shape"):
        Symbolic((2, 3)).output_shape  # noqa: B018 - the property raises


def test_add_param_names_tags_and_order():
    layer = Layer((2, 3), name="l")
    a = layer.add_param(nn.init.Constant(1), (3,), "a")
    b = layer.add_param(np.zeros((2,)), (2,), "b", regularizable=False)
    c = layer.add_param(nn.init.Constant(1), (1,), "c", trainable=False, mine=True)
    d = layer.add_param(nn.init.Constant(1), (1,))
    assert [p.name for p in (a, b, c, d)] == ["l.a", "l.b", "l.c", None]
    assert layer.get_params() == [a, b, c, d]
    assert layer.get_params(trainable=True) == [a, b, d]
    assert layer.get_params(trainable=True, regularizable=True) == [a, d]
    assert layer.get_params(trainable=True, regularizable=False) == [b]
    assert layer.get_params(mine=True) == [c]
    assert layer.get_params(mine=False) == [a, b, d]


def test_a_parameter_may_be_an_expression():
    v, w = exprc.shared(nn.utils.floatX([1, 2, 3]), name="v"), exprc.shared(nn.utils.floatX([1, 1, 1]), name="w")
    product = v * w
    layer = Scale((2, 3), factor=product)
    assert layer.get_params() == [v, w]
    assert layer.get_params(unwrap_shared=False) == [product]
    assert layer.get_params(special=True, regularizable=False) == [v, w]


def test_a_shared_variable_keeps_its_name():
    w = exprc.shared(nn.utils.floatX([1, 2, 3]), name="mine")
    assert Scale((2, 3), factor=w, name="l").factor is w
    assert w.name == "mine"


def test_custom_layer_in_a_network(value, rng):
    x = rng.normal(size=(2, 3)).astype("float32")
    layer = Scale(Scale(InputLayer((None, 3))))
    out = value(get_output(layer), {get_all_layers(layer)[0].input_var: x})
    np.testing.assert_allclose(out, 4 * x, rtol=1e-6)


def test_errors_show_the_layers_that_lead_there():
    network = InputLayer((None, 1, 8, 8), name="image")
    network = nn.layers.Conv2DLayer(network, 4, 5, name="conv1")
    network = nn.layers.MaxPool2DLayer(network, 2, name="pool1")
    with pytest.raises(ValueError) as error:
        nn.layers.Conv2DLayer(network, 4, 5, name="conv2")
    lines = str(error.value).split("\n")
    assert lines[0] == (
        "conv2 (Conv2DLayer): the output would be empty: axis 2 has size 2 (pad 0), the filter 5"
    )
    assert [line.split() [0] for line in lines[1:4]] == ["image", "conv1", "pool1"]
    assert "(None, 1, 8, 8)" in lines[1] and "(None, 4, 4, 4)" in lines[2] and "(None, 4, 2, 2)" in lines[3]
    assert lines[4].startswith("  conv2 (Conv2DLayer)") and "does not fit" in lines[4]
    assert all("test_layers_base.py:" in line for line in lines[1:5])
    assert lines[5] == "  use a smaller filter, more padding, or less pooling before"


def test_errors_show_the_inputs_of_a_merge():
    with pytest.raises(ValueError) as error:
        nn.layers.ConcatLayer([InputLayer((None, 3, 8), name="left"), (None, 3, 9)], name="both")
    lines = str(error.value).split("\n")
    assert lines[0] == (
        "both (ConcatLayer): the input shapes must be the same except along axis 1, got (None, 3, 8), (None, 3, 9)"
    )
    assert lines[1].split()[0] == "left" and "(None, 3, 8)" in lines[1]
    assert lines[2].split()[0] == "input" and "(None, 3, 9)" in lines[2]


def test_errors_of_very_deep_networks_stay_short():
    network = InputLayer((None, 3))
    for _ in range(50):
        network = Layer(network)
    with pytest.raises(ValueError) as error:
        DenseLayer(network, 4, num_leading_axes=2)
    assert len(str(error.value).split("\n")) < 20
