"""The small functions of nn.utils, and the generator of nn.random."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.nn import utils


def test_floatx():
    assert utils.floatX([1, 2]).dtype == exprc.config.floatX
    with exprc.config.override(floatX="float64"):
        assert utils.floatX(np.float32(1)).dtype == "float64"


def test_shared_empty():
    empty = utils.shared_empty(3)
    assert empty.get_value().shape == (1, 1, 1) and empty.dtype == exprc.config.floatX
    empty.set_value(utils.floatX(np.ones((2, 3, 4))))
    assert empty.get_value().shape == (2, 3, 4)
    assert utils.shared_empty(1, "int32").dtype == "int32"


def test_as_expression():
    x = T.matrix("x")
    assert utils.as_expression(x) is x
    assert utils.as_expression(np.zeros((2, 3))).type.shape == (2, 3)


def test_collect_shared_vars():
    a, b, c = (exprc.shared(utils.floatX(1), name=name) for name in "abc")
    x = T.scalar("x")
    assert utils.collect_shared_vars([a * x + b, T.exp(c) * b]) == [a, b, c]
    assert utils.collect_shared_vars(c * a) == [c, a]
    assert utils.collect_shared_vars(b) == [b]
    assert utils.collect_shared_vars([]) == []


@pytest.mark.parametrize("m", [None, 5])
def test_one_hot(value, m):
    x = np.array([2, 0, 3])
    np.testing.assert_array_equal(value(utils.one_hot(T.constant(x), m)), np.eye(m or 4)[x])


def test_unique():
    assert utils.unique(iter([3, 1, 3, 2, 1])) == [3, 1, 2]


def test_as_tuple():
    assert utils.as_tuple(3, 2) == (3, 3)
    assert utils.as_tuple([1, 2, 3], 3) == (1, 2, 3)
    assert utils.as_tuple((x for x in (1, 2)), 2) == (1, 2)
    assert utils.as_tuple(np.int64(3), 2, int) == (3, 3)
    assert utils.as_tuple(1.5, 1, (int, float)) == (1.5,)
    with pytest.raises(ValueError, match=r"an iterable of length 2, got \(1, 2, 3\) of length 3"):
        utils.as_tuple((1, 2, 3), 2)
    with pytest.raises(TypeError, match=r"expected a single int or an iterable of int, got \(1, 2.5\)"):
        utils.as_tuple((1, 2.5), 2, int)


def test_inspect_kwargs():
    def function(a, b, c=1, *args, d=2, e, **kwargs):
        return a

    assert utils.inspect_kwargs(function) == ["c", "d"]


@pytest.mark.parametrize(
    ("shape", "norm_axes", "axes"),
    [
        ((5,), None, ()),
        ((3, 4), None, (0,)),
        ((3, 4, 5), None, (1, 2)),
        ((2, 3, 4, 5), None, (1, 2, 3)),
        ((3, 4), (1,), (1,)),
    ],
)
def test_compute_norms(value, rng, shape, norm_axes, axes):
    x = rng.normal(size=shape)
    expected = np.sqrt((x**2).sum(axes))
    np.testing.assert_allclose(utils.compute_norms(x, norm_axes), expected)
    np.testing.assert_allclose(value(utils.compute_norms(T.constant(x), norm_axes)), expected, rtol=1e-5)


def test_compute_norms_errors():
    with pytest.raises(TypeError, match="compute_norms: expected an array or an expression, got list"):
        utils.compute_norms([1, 2])
    with pytest.raises(ValueError, match="a parameter of 6 dimensions has no usual axes of incoming weights"):
        utils.compute_norms(np.zeros((1,) * 6))


def test_create_param_from_values():
    array = utils.create_param(np.float32([[1, 2]]), (1, 2), "w")
    assert array.get_value().tolist() == [[1, 2]] and array.name == "w"
    assert utils.create_param(np.float32(3), (), "s").get_value() == 3
    assert utils.create_param(3.5, ()).get_value() == 3.5
    assert utils.create_param(lambda shape: np.ones(shape), (2, 2)).get_value().shape == (2, 2)


def test_create_param_from_expressions():
    w = exprc.shared(utils.floatX([1, 2]))
    assert utils.create_param(w, (2,), "w") is w and w.name == "w"
    assert utils.create_param(w, (2,), "other").name == "w"
    expression = w * 2
    assert utils.create_param(expression, (2,)) is expression
    assert utils.create_param(lambda shape: expression, (2,)) is expression
    free = T.vector("free")
    assert utils.create_param(free, (7,)) is free


def test_create_param_from_a_number_gives_floatx():
    assert utils.create_param(0.5, ()).dtype == exprc.config.floatX
    assert utils.create_param(2, ()).dtype == exprc.config.floatX


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (np.zeros((3, 2)), RuntimeError, r"the value for the parameter 'w' has shape \(3, 2\), it should be \(2, 3\)"),
        (np.zeros(3), RuntimeError, r"has shape \(3,\), it should be \(2, 3\)"),
        (1.0, RuntimeError, r"has shape \(\), it should be \(2, 3\)"),
        (lambda shape: np.zeros(3), RuntimeError, "that the callable returned for the parameter 'w' has shape"),
        (lambda shape: "text", TypeError, "the value that the callable returned for the parameter 'w' is of type str"),
        ([1, 2], TypeError, "the value for the parameter 'w' is of type list"),
        (T.vector("v"), RuntimeError, r"has shape \(None,\), it should be \(2, 3\)"),
        (T.matrix("m", shape=(2, 4)), RuntimeError, r"has shape \(2, 4\), it should be \(2, 3\)"),
    ],
)
def test_create_param_errors(spec, error, text):
    with pytest.raises(error, match=text):
        utils.create_param(spec, (2, 3), "w")


def test_create_param_needs_positive_sizes():
    with pytest.raises(ValueError, match=r"every size must be positive, got shape=\(2, 0\) for the parameter 'w'"):
        utils.create_param(nn.init.Constant(1), (2, 0), "w")


def test_random_generator_repeats_initial_values():
    def weights():
        nn.random.set_rng(np.random.RandomState(3))
        return nn.init.GlorotUniform()((4, 5))

    np.testing.assert_array_equal(weights(), weights())


def test_random_generator_may_be_the_module():
    nn.random.set_rng(np.random)
    assert nn.random.get_rng() is np.random
    np.random.seed(5)
    first = nn.init.Normal()((3,))
    np.random.seed(5)
    np.testing.assert_array_equal(nn.init.Normal()((3,)), first)


def test_random_generator_of_the_new_kind_is_refused():
    with pytest.raises(TypeError, match="set_rng: Generator has no method randint") as error:
        nn.random.set_rng(np.random.default_rng(0))
    assert "numpy.random.RandomState(g.bit_generator)" in str(error.value)
    nn.random.set_rng(np.random.RandomState(np.random.default_rng(0).bit_generator))
    assert nn.init.Normal()((3,)).shape == (3,)
