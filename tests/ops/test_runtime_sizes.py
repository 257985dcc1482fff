"""Bounds, masks and sizes that only a call knows: one compiled function, many values, NumPy's clipping and NumPy's errors."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.grad import grad
from exprc.verify_grad import verify_grad

X = np.arange(12, dtype="float32").reshape(3, 4)


def changed(array, index, value, increase=False):
    made = array.copy()
    if increase:
        np.add.at(made, index, value)
    else:
        made[index] = value
    return made


def equal(ours, theirs, what=""):
    for got, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(got, wanted, str(what))
        assert got.shape == wanted.shape


# -- slices


def test_bounds_are_clipped_as_numpys():
    x, a, b = T.matrix("x"), T.iscalar("a"), T.lscalar("b")
    outputs = [x[:, a:b], x[a:], x[: b : 2], x[b:a:-1], T.set_subtensor(x[:, a:b], 7), T.inc_subtensor(x[a:b], 1.5)]
    f = exprc.function([x, a, b], outputs, mode="compiled")
    for p, q in [(0, 2), (-2, 9), (1, -1), (3, 1), (-9, -3), (9, 9)]:
        part, rows = (slice(None), slice(p, q)), slice(p, q)
        wanted = [X[part], X[p:], X[:q:2], X[q:p:-1], changed(X, part, 7), changed(X, rows, 1.5, True)]
        equal(f(X, p, q), wanted, (p, q))


def test_all_bounds_in_the_interpreter():
    x, a, b, s = T.matrix("x"), T.iscalar("a"), T.iscalar("b"), T.iscalar("s")
    outputs = [x[:, a:b:s], x[::s], x[a::s], x[:, :b:s], T.set_subtensor(x[:, a:b:s], 7), x[a:b]]
    f = exprc.function([x, a, b, s], outputs, mode="reference")
    for p, q, r in itertools.product((-5, -1, 0, 2, 9), (-9, -2, 0, 3, 4), (-2, -1, 1, 3)):
        part = (slice(None), slice(p, q, r))
        equal(f(X, p, q, r), [X[part], X[::r], X[p::r], X[:, :q:r], changed(X, part, 7), X[p:q]], (p, q, r))


def test_a_step_that_only_the_call_knows():
    x, a, s = T.matrix("x"), T.iscalar("a"), T.iscalar("s")
    f = exprc.function([x, a, s], [x[:, a::s], T.inc_subtensor(x[::s], 1), x[a::s, 1:]], mode="compiled")
    for p, r in [(0, 2), (1, -1), (-1, -2), (9, 1)]:
        equal(f(X, p, r), [X[:, p::r], changed(X, slice(None, None, r), 1, True), X[p::r, 1:]], (p, r))


def test_gradients_through_run_time_bounds():
    x, a, b = T.matrix("x"), T.iscalar("a"), T.iscalar("b")
    cost = T.sqr(x[a:b, ::2]).sum() + T.set_subtensor(x[:, a:], 0).sum()
    f = exprc.function([x, a, b], grad(cost, x), mode="reference")
    for p, q in [(0, 2), (1, 3), (-1, 9), (2, 1)]:
        wanted = np.ones_like(X)
        wanted[:, p:] = 0
        wanted[p:q, ::2] += 2 * X[p:q, ::2]
        np.testing.assert_array_equal(f(X, p, q), wanted)


# -- integers and integer arrays


def test_an_index_out_of_range_is_an_error_of_the_call():
    x, i, v = T.matrix("x"), T.iscalar("i"), T.ivector("v")
    f = exprc.function([x, i, v], [x[i], x[:, i], x[v, i], x[1:, v], T.take(x, v, 1), T.inc_subtensor(x[:, i], 1)], mode="compiled")
    for p, rows in [(0, [2, 1]), (-3, [-3, 0]), (2, [1, 1])]:
        k = np.array(rows)
        equal(f(X, p, rows), [X[p], X[:, p], X[k, p], X[1:, k], X[:, k], changed(X, (slice(None), p), 1, True)])
    for p, rows, text in [(5, [0, 0], "index 5"), (-4, [0, 0], "index -4"), (0, [0, 9], "index 9"), (0, [-8, 0], "index -8")]:
        with pytest.raises(IndexError) as error:
            f(X, p, rows)
        assert f"{text} is out of bounds for an axis of length" in str(error.value)
        assert "made at test_runtime_sizes.py" in str(error.value)


def test_modes_of_take_never_fail():
    x, v = T.matrix("x"), T.ivector("v")
    f = exprc.function([x, v], [T.take(x, v, 1, mode="clip"), T.take(x, v, 0, mode="wrap"), T.take(x, v, mode="wrap")], mode="compiled")
    k = np.array([-9, 0, 3, 77], "int32")
    equal(f(X, k), [X.take(k, 1, mode="clip"), X.take(k, 0, mode="wrap"), X.take(k, mode="wrap")])
    with pytest.raises(ValueError, match="mode='bounce' is none of 'raise', 'wrap', 'clip'"):
        T.take(x, v, mode="bounce")


# -- masks


@pytest.mark.parametrize("mode", ["reference", "compiled"])
def test_masks(mode):
    x, m, r, v = T.matrix("x"), T.TensorType("bool", (None, None))("m"), T.TensorType("bool", (None,))("r"), T.vector("v")
    outputs = [
        x[m], x[r], x[r, 1:], x[r, 0], x[x > 4], T.set_subtensor(x[m], 0), T.inc_subtensor(x[r], 1), T.set_subtensor(x[m], v),
        T.set_subtensor(x[r], v[:1]), T.set_subtensor(x[x > 100], 1), T.set_subtensor(x[r, 1:], -1), m.nonzero()[1],
    ]  # fmt: skip
    f = exprc.function([x, m, r, v], outputs, mode=mode)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        mask, rows = rng.random((3, 4)) < 0.5, rng.random(3) < 0.5
        if seed == 2:
            mask[:], rows[:] = False, False
        values = rng.random(max(mask.sum(), 1)).astype("float32")[: mask.sum()] if mask.any() else np.zeros(0, "float32")
        given = values if len(values) else np.zeros(1, "float32")
        wanted = [
            X[mask], X[rows], X[rows, 1:], X[rows, 0], X[X > 4], changed(X, mask, 0), X + rows[:, None],
            changed(X, mask, given if len(values) else 0), changed(X, rows, given[0]), X, changed(X, (rows, slice(1, None)), -1),
            mask.nonzero()[1],
        ]  # fmt: skip
        equal(f(X, mask, rows, given), wanted, seed)


def test_gradients_of_masks_and_order():
    x = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -0.75]])
    m = np.array([[True, False, True], [False, True, True]])
    verify_grad(lambda x: (x[m], x[x > 0] * 2, x[[True, False], 1:]), [x])
    verify_grad(lambda x, v: (T.set_subtensor(x[m], v), T.inc_subtensor(x[m], v), T.set_subtensor(x[m], 3.0)), [x, x.ravel()[:4]])
    verify_grad(lambda x: (T.sort(x), T.topk(x, 2), T.median(x, axis=1)), [x])
    mask = T.TensorType("bool", (2, 3))("m")
    given = T.dmatrix("x")
    cost = T.sqr(given[mask]).sum()
    second = exprc.function([given, mask], grad(grad(cost, given).sum(), given))
    np.testing.assert_array_equal(second(x, m), 2.0 * m)


# -- shapes that follow from numbers given at the call


def test_sizes_given_at_the_call():
    x, n, k = T.matrix("x"), T.iscalar("n"), T.iscalar("k")
    outputs = [
        T.repeat(x, n, axis=1), T.tile(x, (n, 2)), T.roll(x, k, axis=0), T.roll(x, n), T.eye(n, n + 1), T.tri(n, k=1),
        T.arange(n, 3 * n, 2), T.linspace(0.0, 1.0, n), T.pad(x, ((n, 0), (1, n))), T.pad(x, n, mode="wrap"), T.zeros((n, k + 3)),
        T.full((n,), 2.5), T.broadcast_to(x[0], (n, 4)), T.diag(x, 1), T.tril(x, -1), T.meshgrid(T.arange(n), T.arange(2))[0],
        T.alloc(1.5, n, 2),
        T.array_split(x, 3, axis=1)[2], T.split(x, [n - 1], axis=1)[1], T.cumsum(T.ones(n)),
    ]  # fmt: skip
    f = exprc.function([x, n, k], outputs, mode="compiled")
    for m, s in [(2, 1), (3, -2), (2, 5)]:
        wanted = [
            X.repeat(m, 1), np.tile(X, (m, 2)), np.roll(X, s, 0), np.roll(X, m), np.eye(m, m + 1), np.tri(m, k=1), np.arange(m, 3 * m, 2),
            np.linspace(0, 1, m, dtype="float32"), np.pad(X, ((m, 0), (1, m))), np.pad(X, m, mode="wrap"), np.zeros((m, s + 3)),
            np.full((m,), 2.5), np.broadcast_to(X[0], (m, 4)), np.diag(X, 1), np.tril(X, -1), np.meshgrid(np.arange(m), np.arange(2))[0],
            np.full((m, 2), 1.5), np.array_split(X, 3, axis=1)[2], X[:, m - 1 :], np.cumsum(np.ones(m)),
        ]  # fmt: skip
        equal(f(X, m, s), wanted, (m, s))


def test_what_is_stated_of_a_shape_is_checked_at_the_call():
    x = T.matrix("x")
    f = exprc.function([x], T.specify_shape(x, (None, 3)).sum(axis=0))
    assert T.specify_shape(x, (None, 3)).type.shape == (None, 3)
    np.testing.assert_array_equal(f(np.ones((2, 3))), [2, 2, 2])
    with pytest.raises(ValueError, match=r"specify_shape: the shape is \(2, 4\), not \(2, 3\): 3 ≠ 4"):
        f(np.ones((2, 4)))
    with pytest.raises(ValueError, match="cannot reshape"):
        exprc.function([x], T.split(x, 2)[0])(np.ones((3, 2)))
    g = exprc.function([x], T.addbroadcast(x, 0) + T.ones((5, 1)))
    assert g(np.ones((1, 3))).shape == (5, 3)
    with pytest.raises(ValueError, match=r"specify_shape: the shape is \(2, 3\), not \(1, 3\): 1 ≠ 2"):
        g(np.ones((2, 3)))


def test_a_kernel_takes_only_the_sizes_that_it_names():
    """A program of many inputs has many sizes: with all of them in every function, its text would grow with their square."""
    inputs = [T.matrix(f"x{k}") for k in range(8)]
    f = exprc.function(inputs, [T.dot(x, x.T) if k % 2 else x.T * 2 for k, x in enumerate(inputs)], mode="compiled")
    for length in range(2, 6):
        values = [np.full((length + k, length), 0.5, "float32") for k in range(8)]
        made = f(*values)
    equal(made, [v @ v.T if k % 2 else v.T * 2 for k, v in enumerate(values)])
    heads = re.findall(r"^void k\d+\(.*\{$", f.source, re.MULTILINE)
    assert len(heads) == 8
    assert all(1 <= len(re.findall(r"const int64_t n\d+", head)) <= 2 for head in heads)
