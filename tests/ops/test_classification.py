"""What stands around classifiers, checks of values, and what a call says when NumPy refuses its values."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T

RNG = np.random.default_rng(2)
X = RNG.normal(size=(4, 3)).astype("float32")
Y = np.array([2, 0, 1, 2])


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_losses_of_a_softmax_under_theanos_names() -> None:
    x, b, y = T.matrix("x"), T.vector("b"), T.lvector("y")
    bias = np.array([1, -1, 0.5], "float32")
    loss, p = T.crossentropy_softmax_1hot_with_bias(x, b, y)
    plain, q = T.crossentropy_softmax_1hot(x, y)
    f = exprc.function([x, b, y], [loss, p, plain, q, T.softmax_with_bias(x, b), T.crossentropy_categorical_1hot(p, y)])
    right, bare = softmax(X + bias), softmax(X)
    losses = [-np.log(r[np.arange(4), Y]) for r in (right, bare)]
    for made, wanted in zip(f(X, bias, Y), [losses[0], right, losses[1], bare, right, losses[0]], strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-5)


def test_a_softmax_of_two_levels_is_the_softmax_of_classes_times_that_within_them() -> None:
    x, y = T.matrix("x"), T.lvector("y")
    W1, b1 = RNG.normal(size=(3, 2)), RNG.normal(size=2)
    W2, b2 = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 4))
    weights = [w.astype("float32") for w in (W1, b1, W2, b2)]
    every = T.h_softmax(x, 4, 7, 2, 4, *weights)
    chosen = T.h_softmax(x, 4, 7, 2, 4, *weights, target=y)
    target = np.array([6, 0, 3, 4])
    whole, one = exprc.function([x, y], [every, chosen])(X, target)
    inner = softmax(np.einsum("nf,cfo->nco", X, W2) + b2)
    wanted = (softmax(X @ W1 + b1)[:, :, None] * inner).reshape(4, 8)[:, :7]
    np.testing.assert_allclose(whole, wanted, rtol=1e-4)
    np.testing.assert_allclose(one, wanted[np.arange(4), target], rtol=1e-4)


def test_a_confusion_matrix_counts_and_rows_are_extended_and_permuted() -> None:
    a, p, x, order = T.lvector("a"), T.lvector("p"), T.matrix("x"), T.lvector("order")
    outputs = [
        *T.confusion_matrix(a, p), T.prepend_0_to_each_row(x), T.prepend_1_to_each_row(x), T.prepend_scalar_to_each_row(2.5, x),
        T.permute_row_elements(x, order), T.permute_row_elements(T.permute_row_elements(x, order), order, inverse=True),
    ]  # fmt: skip
    counts, classes, *rows, permuted, back = exprc.function([a, p, x, order], outputs)([1, 5, 5, 1], [5, 5, 1, 1], X, [2, 0, 1])
    assert counts.tolist() == [[1, 1], [1, 1]] and classes.tolist() == [1, 5]
    for made, value in zip(rows, (0, 1, 2.5), strict=True):
        np.testing.assert_array_equal(made, np.c_[np.full(4, value, "float32"), X])
    np.testing.assert_array_equal(permuted, X[:, [2, 0, 1]])
    np.testing.assert_array_equal(back, X)


def test_scalars_that_are_known_and_dims_as_functions() -> None:
    x = T.matrix("x", shape=(2, None))
    assert T.get_scalar_constant_value(x.shape[0] * T.constant(3)).item() == 6
    assert T.shape(x)[0] == 2 and T.ndim(x) == 2 and T.size(x, 0) == 2
    n = exprc.function([x], T.size(x))
    assert n(np.zeros((2, 5))) == 10
    assert T.array([[1, x[0, 0]], [2, 3]]).type.shape == (2, 2)
    assert T.asarray([1, 2], "int8").dtype == "int8"


# -- checks and refusals at a call


@pytest.mark.parametrize("mode", ["compiled", "reference"])
def test_an_assertion_stops_the_call_and_lets_the_gradient_through(mode) -> None:
    x, w = T.vector("x"), exprc.shared(np.float32(1), name="w")
    y = T.Assert("x must be above 0")(x, x > 0, T.lt(x.sum(), 100))
    f = exprc.function([x], [T.log(y), exprc.grad(T.log(y).sum(), x)], updates={w: w + y.sum()}, mode=mode)
    np.testing.assert_allclose(f([1, 2])[1], [1, 0.5])
    with pytest.raises(ValueError, match="x must be above 0") as error:
        f([1, -1])
    assert "made at test_classification.py" in str(error.value) and "x  float32, (2,)" in str(error.value)
    with pytest.raises(ValueError, match="x must be above 0"):
        f([60, 60])
    assert w.get_value() == 4, "a call that fails changes nothing"
    assert T.assert_op(x, T.constant(True)).eval({x: [3]}).tolist() == [3]


@pytest.mark.parametrize("mode", ["compiled", "reference"])
def test_what_numpy_refuses_names_the_expression_and_its_line(mode) -> None:
    counts = T.lvector("counts")
    f = exprc.function([counts], T.bincount(counts), mode=mode)
    assert f([0, 2]).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="elements must be 0 or more, not -1") as error:
        f([-1])
    assert "expression  bincount(...)" in str(error.value)
    assert "counts  int64, (1,)" in str(error.value) and "made at test_classification.py" in str(error.value)


def test_a_step_that_the_call_makes_0_is_an_error() -> None:
    x, step = T.vector("x"), T.lscalar("step")
    for mode in ("compiled", "reference"):
        f = exprc.function([x, step], x[::step], mode=mode)
        for k in (1, 2, -1, -2, 7, -7):
            np.testing.assert_array_equal(f(np.arange(5), k), np.arange(5)[::k])
        with pytest.raises(IndexError, match="index -6 is out of bounds"):
            f(np.arange(5), 0)


@pytest.mark.parametrize("mode", ["compiled", "reference"])
def test_targets_of_another_shape_are_refused_in_loss_and_gradient(mode: str) -> None:
    x, hot, y = T.matrix("x"), T.imatrix("hot"), T.ivector("y")
    for p in (x, T.softmax(x)):
        loss = T.categorical_crossentropy(p, hot)
        f = exprc.function([x, hot], exprc.grad(loss.sum(), x), mode=mode)
        assert f(np.full((2, 3), 0.5), np.eye(3)[:2].astype("int32")).shape == (2, 3)
        with pytest.raises(ValueError, match="predictions and targets differ in length: 3 ≠ 1"):
            f(np.full((2, 3), 0.5), [[1], [0]])
    g = exprc.function([x, y], T.categorical_crossentropy(x, y), mode=mode)
    with pytest.raises(ValueError):
        g(np.full((2, 3), 0.5), [1])


def test_wrong_lengths_known_while_building_are_told_with_both_shapes() -> None:
    p, t = T.matrix("p", shape=(None, 2)), T.imatrix("t", shape=(None, 1))
    with pytest.raises(ValueError, match=r"predictions \(\?, 2\) and targets \(\?, 1\) differ: 2 ≠ 1"):
        T.categorical_crossentropy(p, t)
