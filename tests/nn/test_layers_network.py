"""Functions over whole networks: walks, outputs, shapes, parameters."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.nn.layers import (
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    ElemwiseSumLayer,
    InputLayer,
    Layer,
    MergeLayer,
    count_params,
    get_all_layers,
    get_all_param_values,
    get_all_params,
    get_output,
    get_output_shape,
    set_all_param_values,
)


class Tell(Layer):
    """A layer whose output is what it was told; records what it was given."""

    def __init__(self, incoming, answer="answer"):
        super().__init__(incoming)
        self.answer = answer
        self.calls = []

    def get_output_for(self, input, **kwargs):
        self.calls.append((input, kwargs))
        return self.answer


def diamond():
    """An input, two branches, and their sum."""
    l_in = InputLayer((None, 3))
    left, right = DenseLayer(l_in, 4, name="left"), DenseLayer(l_in, 4, name="right")
    return l_in, left, right, ElemwiseSumLayer([left, right])


def test_all_layers_are_topological_and_stable():
    l_in, left, right, out = diamond()
    assert get_all_layers(out) == [l_in, left, right, out]
    assert get_all_layers([right, left]) == [l_in, right, left]
    assert get_all_layers([out, left]) == [l_in, left, right, out]
    assert get_all_layers(l_in) == [l_in]


def test_all_layers_may_stop_early():
    l_in, left, right, out = diamond()
    assert get_all_layers(out, treat_as_input=[left, right]) == [left, right, out]
    assert get_all_layers(out, treat_as_input=[left]) == [left, l_in, right, out]


def test_all_layers_of_a_free_layer():
    layer = DenseLayer((None, 3), 4)
    assert get_all_layers(layer) == [layer]
    assert get_all_layers(MergeLayer([(2, 3), layer]))[0] is layer


def test_a_network_may_be_deeper_than_the_recursion_limit():
    layer = InputLayer((None, 3))
    for _ in range(5000):
        layer = Layer(layer)
    assert len(get_all_layers(layer)) == 5001


def test_output_is_exactly_what_the_layer_returned():
    answer = object()
    layer = Tell(InputLayer((None, 3)), answer)
    assert get_output(layer) is answer
    assert layer.calls == [(layer.input_layer.input_var, {})]
    assert get_output([layer, layer.input_layer]) == [answer, layer.input_layer.input_var]


def test_output_passes_keyword_arguments_to_every_layer():
    first = Tell(InputLayer((None, 3)), "one")
    second = Tell(first, "two")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert get_output(second, mine=3, deterministic=True) == "two"
    assert first.calls[0][1] == second.calls[0][1] == {"mine": 3, "deterministic": True}
    assert second.calls[0][0] == "one"


def test_output_of_several_layers_builds_shared_layers_once():
    base = Tell(InputLayer((None, 3)))
    outputs = get_output([Tell(base, 1), Tell(base, 2), base])
    assert outputs == [1, 2, "answer"] and len(base.calls) == 1


def test_output_for_another_input():
    l_in, *_, out = diamond()
    x = T.matrix("other")
    layer = Tell(l_in)
    get_output(layer, x)
    assert layer.calls[-1][0] is x
    get_output(layer, np.ones((2, 3), "float32"))
    assert isinstance(layer.calls[-1][0], exprc.expr.Constant)


def test_output_with_an_input_for_any_layer(value, rng):
    l_in, left, right, out = diamond()
    h, x = rng.normal(size=(2, 4)).astype("float32"), rng.normal(size=(2, 3)).astype("float32")
    expected = h + value(get_output(right), {l_in.input_var: x})
    np.testing.assert_allclose(value(get_output(out, {left: h, l_in: x})), expected, rtol=1e-5)
    merged = Tell(left)
    get_output(merged, {left: h})
    assert merged.calls[-1][0].type.shape == (2, 4)


def test_output_of_a_merge_gets_a_list():
    class Pair(MergeLayer):
        def get_output_for(self, inputs, **kwargs):
            return inputs

    a, b = InputLayer((2, 3)), InputLayer((2, 4))
    assert get_output(Pair([a, b])) == [a.input_var, b.input_var]


def test_output_of_foreign_layers():
    start = InputLayer((None, 3))
    foreign = SimpleNamespace(
        input_layer=start, output_shape=(None, 3), get_output_kwargs=[], get_output_for=lambda input, **kw: input * 2
    )
    # SimpleNamespace compares by value and cannot be a key; a foreign layer only has to be hashable.
    foreign = type("Foreign", (), vars(foreign) | {"get_output_for": staticmethod(foreign.get_output_for)})()
    layer = Tell(foreign)
    assert get_output(layer) == "answer"
    assert layer.calls[0][0].inputs[0] is start.input_var


@pytest.mark.parametrize("make", [lambda: Tell((2, 3)), lambda: ConcatLayer([InputLayer((2, 3)), (2, 3)])])
def test_output_of_a_free_layer_needs_an_input(make):
    with pytest.raises(ValueError, match=r"get_output\(\): the layer \w+ was made from a bare shape") as error:
        get_output(make())
    assert "test_layers_network.py:" in str(error.value)
    assert "call get_output() with a dictionary" in str(error.value)


def test_output_warns_of_unused_arguments():
    layer = DropoutLayer(InputLayer((None, 3)))
    with pytest.warns(UserWarning, match="unused kwargs") as caught:
        get_output(layer, determinstic=True, wurst=1)
    text = str(caught[0].message)
    assert "\tdeterminstic (perhaps you meant deterministic)" in text
    assert "\twurst" in text and "wurst (" not in text
    assert caught[0].filename == __file__


def test_output_does_not_warn_of_used_arguments():
    class Known(Tell):
        def get_output_for(self, input, mine=None, **kwargs):
            return input

    listed = Tell(Known(InputLayer((None, 3))))
    listed.get_output_kwargs.append("listed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_output(listed, mine=1, listed=2, deterministic=True)


def test_output_shape():
    l_in, left, right, out = diamond()
    assert get_output_shape(out) == (None, 4)
    assert get_output_shape([l_in, out]) == [(None, 3), (None, 4)]
    assert get_output_shape(out, (7, 3)) == (7, 4)
    assert get_output_shape([out, left], {l_in: (7, 3)}) == [(7, 4), (7, 4)]
    assert get_output_shape(out, {left: (5, 4), right: (None, 4)}) == (5, 4)
    assert get_output_shape(out, {left: (None, 4)}) == (None, 4)
    with pytest.raises(ValueError, match=r"get_output_shape\(\): the layer DenseLayer was made from a bare shape"):
        get_output_shape(DenseLayer(DenseLayer((None, 3), 4), 5), {InputLayer((2,)): (2,)})


def test_all_params_are_stable_and_unique():
    l_in, left, right, out = diamond()
    shared = DenseLayer(out, 4, W=np.eye(4, dtype="float32"), b=left.b, name="last")
    assert get_all_params(shared) == [left.W, left.b, right.W, right.b, shared.W]
    assert get_all_params(shared, regularizable=True) == [left.W, right.W, shared.W]
    assert get_all_params(shared, regularizable=False) == [left.b, right.b]
    assert get_all_params([right, left]) == [right.W, right.b, left.W, left.b]


def test_all_params_may_keep_expressions():
    w = exprc.shared(np.zeros((3, 4), "float32"), name="w")
    layer = DenseLayer((None, 3), 4, W=w * 2, b=None)
    assert get_all_params(layer) == [w]
    assert get_all_params(layer, unwrap_shared=False) == [layer.W]


def test_count_params():
    *_, out = diamond()
    assert count_params(out) == 2 * (3 * 4 + 4)
    assert count_params(out, regularizable=True) == 2 * 3 * 4


def test_param_values_make_a_round_trip():
    *_, out = diamond()
    *_, other = diamond()
    values = get_all_param_values(out)
    set_all_param_values(other, values)
    for a, b in zip(values, get_all_param_values(other), strict=True):
        np.testing.assert_array_equal(a, b)
    values[0][:] = 0
    assert get_all_param_values(out)[0].any(), "the values are copies"


def test_set_param_values_casts_to_the_parameter():
    layer = DenseLayer((None, 2), 1)
    set_all_param_values(layer, [[[1], [2]], np.ones(1, "float64")])
    assert layer.W.get_value().dtype == exprc.config.floatX
    assert layer.W.get_value().tolist() == [[1], [2]]


def test_set_param_values_by_tag():
    layer = DenseLayer((None, 2), 1)
    set_all_param_values(layer, [np.full((2, 1), 5)], regularizable=True)
    assert layer.W.get_value().tolist() == [[5], [5]] and layer.b.get_value().tolist() == [0]


def test_set_param_values_errors_change_nothing():
    layer = DenseLayer((None, 2), 1, name="d")
    before = layer.W.get_value()
    with pytest.raises(ValueError, match="mismatch: got 3 values to set 2 parameters"):
        set_all_param_values(layer, [1, 2, 3])
    with pytest.raises(ValueError, match=r"'d.b' has shape \(1,\), but the value to set has shape \(2,\)"):
        set_all_param_values(layer, [np.zeros((2, 1)), np.zeros(2)])
    np.testing.assert_array_equal(layer.W.get_value(), before)


def test_every_layer_is_exported():
    exported = {name for name in nn.layers.__all__ if isinstance(getattr(nn.layers, name), type)}
    wanted = """InputLayer DenseLayer Conv2DLayer Pool2DLayer MaxPool2DLayer GlobalPoolLayer BatchNormLayer DropoutLayer
        FlattenLayer ReshapeLayer NonlinearityLayer ConcatLayer ElemwiseSumLayer Layer MergeLayer""".split()
    assert set(wanted) <= exported
    assert all(hasattr(nn.layers, name) for name in nn.layers.__all__)


def test_a_misspelt_tag_is_warned_of():
    layer = DenseLayer(InputLayer((None, 2)), 1)
    with pytest.warns(UserWarning, match=r"no parameter has the tag trainble \(perhaps you meant trainable\)") as told:
        assert get_all_params(layer, trainble=True) == []
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_all_params(layer, mine=True) == [] and len(get_all_params(layer, mine=False)) == 2
        layer.params[layer.W].add("trainee")
        assert get_all_params(layer, trainee=True) == [layer.W]


def test_set_param_values_refuses_what_a_parameter_cannot_hold_and_changes_nothing():
    layer = DenseLayer(InputLayer((None, 2)), 1, W=nn.init.Constant(3))
    with pytest.raises(TypeError, match="cannot set the value of b: its dtype is float32, that of the value complex128"):
        set_all_param_values(layer, [np.ones((2, 1)), np.ones(1, complex)])
    assert layer.W.get_value().tolist() == [[3], [3]]


def test_only_layers_are_keys_of_inputs():
    layer = DenseLayer(InputLayer((None, 2)), 1)
    with pytest.raises(TypeError, match=r"a layer, or a list of layers, is needed, not 'x' \(str\)"):
        get_output(layer, {"x": T.matrix()})
