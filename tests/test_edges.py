"""Cases at the edges of the schedule: odd batches in vector lanes, sizes that become arguments, what calls leave behind."""

from __future__ import annotations

import itertools
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import exprc
import exprc.tensor as T

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


def check_both(inputs, outputs, *values, updates=None):
    """Call compiled and in reference mode; outputs must agree."""
    made = [exprc.function(inputs, outputs, updates=updates, mode=mode)(*values) for mode in ("compiled", "reference")]
    for ours, right in zip(*made):
        np.testing.assert_allclose(ours, right, rtol=2e-5, atol=2e-5 * max(1, np.abs(right).max(initial=0)))
    return made[0]


# -- a batch that does not fill the last vector


@pytest.mark.parametrize("n", [17, 20, 33])
def test_an_update_that_is_computed_in_lanes(n):
    x, w = T.tensor4("x"), exprc.shared(floats(3, 2, 3, 3))
    for mode in ("compiled", "reference"):
        s = exprc.shared(np.zeros((n, 3, 6, 6), "float32"))
        value = np.random.default_rng(1).standard_normal((n, 2, 8, 8)).astype("float32")
        exprc.function([x], s.sum(), updates={s: T.conv2d(x, w)}, mode=mode)(value)
        if mode == "compiled":
            ours = s.get_value()
    np.testing.assert_allclose(ours, s.get_value(), rtol=2e-5, atol=2e-5)


def test_plain_operands_are_not_read_beyond_the_last_image():
    x, y, e, i = T.tensor4("x"), T.tensor4("y"), T.matrix("e"), T.ivector("i")
    w = exprc.shared(floats(3, 2, 3, 3))
    value = floats(17, 2, 8, 8)
    check_both([x, y], [T.conv2d(x, w) + y], value, floats(17, 3, 6, 6))
    check_both([x], [T.pool_2d(x, (2, 2))], value)
    rows = np.arange(17, dtype="int32") % 5
    check_both([x, e, i], [T.conv2d(x, w) + e[i].dimshuffle(0, 1, "x", "x")], value, floats(5, 3), rows)


def test_padding_lanes_are_cleared_whatever_else_a_loop_reads():
    x = T.tensor4("x")
    w, w2 = exprc.shared(floats(3, 2, 3, 3)), exprc.shared(floats(2, 3, 3, 3))
    z = T.conv2d(x, w)
    z = z - z.mean(axis=(0, 2, 3), keepdims=True)
    for _ in range(20):
        z = z + exprc.shared(floats(20, 3, 6, 6))
    check_both([x], [T.conv2d(z, w2), exprc.grad(T.sqr(T.conv2d(z, w2)).sum(), w2)], floats(20, 2, 8, 8))


# -- sizes that became arguments


def test_a_derived_length_of_one_broadcasts_in_a_general_program():
    x, y = T.vector("x"), T.vector("y")
    f = exprc.function([x, y], [y + x[1:], exprc.grad((x[1:] * y).sum(), x)])
    r = exprc.function([x, y], [y + x[1:], exprc.grad((x[1:] * y).sum(), x)], mode="reference")
    for n, m in [(5, 4), (6, 5), (7, 6), (8, 7), (2, 4), (2, 1), (9, 8)]:
        a, b = floats(n), floats(m)
        for ours, right in zip(f(a, b), r(a, b)):
            np.testing.assert_allclose(ours, right, rtol=1e-5)


def test_one_row_by_a_changing_index_compiles_a_few_times_only():
    data, i = exprc.shared(floats(40, 5)), T.lscalar("i")
    f = exprc.function([i], T.squeeze(data[i : i + 1] * 2, 0))
    for k in range(12):
        np.testing.assert_array_equal(f(k), data.get_value()[k] * 2)
    assert len(f._compiled.programs) <= 3


def test_clones_of_a_variable_whose_length_changes():
    v = exprc.shared(floats(3), name="v", shape=(None,))
    twin = exprc.clone(v, share_inputs=False)
    f = exprc.function([], [v.sum(), (twin * 2).sum()], updates={v: twin * 2 + v[::-1]})
    for n in (3, 4, 5, 6, 7):
        value = floats(n)
        v.set_value(value)
        np.testing.assert_allclose(f(), [value.sum(), 2 * value.sum()], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(v.get_value(), value * 2 + value[::-1], rtol=1e-5)


def test_image_sizes_that_change():
    x, w = T.tensor4("x"), exprc.shared(floats(3, 2, 3, 3), name="w")
    cost = T.sqr(T.conv2d(x, w)).mean()
    f = exprc.function([x], exprc.grad(cost, w))
    r = exprc.function([x], exprc.grad(cost, w), mode="reference")
    for n, size in [(2, 6), (2, 7), (2, 8), (2, 9), (2, 10), (20, 9), (21, 6), (33, 7), (34, 8)]:
        value = floats(n, 2, size, size)
        np.testing.assert_allclose(f(value), r(value), rtol=1e-4, atol=1e-5)


def test_no_kernel_text_uses_the_names_of_sizes():
    for text in (Path(__file__).parent.parent / "kernels" / "c").glob("*.h"):
        assert not re.findall(r"\bn\d+\b", text.read_text()), text.name


def test_a_length_that_is_negative_is_refused_and_one_that_is_computed_is_not():
    n, v = T.lscalar("n"), T.lvector("v")
    with pytest.raises(ValueError, match="(?s)a length is negative|negative"):
        exprc.function([n], T.zeros((n - 5,)) + 1)(2)
    f = exprc.function([v], T.ones((v[0],)))
    assert f(np.array([3])).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="a length is negative"):
        f(np.array([-3]))


def test_sizes_that_rewriting_spells_otherwise():
    """d * d becomes a square before sizes are bound."""
    x = T.matrix("x")
    d = x.shape[0]
    check_both([x], [T.reshape(T.zeros((2, d, d)) + x.sum(), (2, d * d)), T.zeros((d**2,)) + x.sum()], floats(4, 3))


def test_a_program_uses_every_thread_once_its_sizes_are_large():
    x = T.matrix("x")
    f = exprc.function([x], T.exp(x).sum(axis=1))
    with exprc.config.override(threads=2):
        for shape in [(2, 3), (3, 4), (4, 5), (5, 6), (2000, 500)]:
            f(np.ones(shape, "float32"))
    assert [r.threads for r in f._compiled.bound_runners()] == [1, 1, 1, 1, 2]


# -- what calls leave behind


def test_two_functions_that_update_one_variable_lose_nothing():
    w = exprc.shared(np.zeros(40_000, "float32"))
    steps = [exprc.function([], None, updates={w: w + k}) for k in (1, 2)]
    workers = [threading.Thread(target=lambda f=f: [f() for _ in range(100)]) for f in steps]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert np.unique(w.get_value()).tolist() == [300]


def test_slices_by_a_changing_index_do_not_pile_up_arenas():
    data, i = exprc.shared(floats(512, 1000)), T.lscalar("i")
    f = exprc.function([i], T.tanh(T.dot(data[i * 2 : (i + 1) * 2], T.ones((1000, 64)))).sum(axis=0))
    for k in range(200):
        f(k)
    kept = sum(r.arena for r in f._compiled.bound_runners())
    assert kept <= 1 << 28 and len(f._compiled.programs) <= 8


def test_a_long_chain_of_views():
    x = T.matrix("x")
    y = x
    for _ in range(400):
        y = y[::-1].T
    value = floats(3, 5)
    right = value
    for _ in range(400):
        right = right[::-1].T
    np.testing.assert_array_equal(y.eval({x: value}), right)


def test_profile_leaves_borrowed_storage_in_place():
    w = exprc.shared(np.zeros(10, "float32"))
    mine = w.get_value(borrow=True)
    exprc.function([], None, updates={w: w + 1}).profile(calls=2)
    assert w.get_value(borrow=True) is mine and mine.max() == 0


def test_an_update_cannot_change_a_shape_that_is_fixed():
    x, w = T.vector("x"), exprc.shared(np.zeros(3, "float32"), name="w")
    f = exprc.function([x], None, updates={w: x})
    f(np.ones(3))
    with pytest.raises(ValueError) as error:
        f(np.ones(5))
    assert "w has shape (3,), its update (5,)" in str(error.value) and "shape=(None, ...)" in str(error.value)
    assert w.get_value().shape == (3,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_one_and_two_rows(dtype):
    """Long columns, and a last panel of columns that is not full: what is packed has room for it."""
    rng = np.random.default_rng(0)
    made = []
    for m, k, n in itertools.product((1, 2), (256, 257, 1025, 4000), (128, 129, 133, 1000)):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        made.append((T.matrix(dtype=dtype, shape=(m, k)), T.matrix(dtype=dtype, shape=(k, n)), a, b))
    f = exprc.function([x for row in made for x in row[:2]], [T.dot(x, y) for x, y, *_ in made])
    for got, (*_, a, b) in zip(f(*(v for row in made for v in row[2:])), made):
        np.testing.assert_allclose(got, a @ b, atol=(2e-4 if dtype == "float32" else 1e-11) * len(b) ** 0.5)


def test_an_index_that_is_a_comparison():
    """gcc 12 gathers with -1 where it sees that an index is the result of a comparison."""
    dtypes = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]
    w, table = T.vector("w"), np.array([1, 2, 3], "float32")
    inputs = [T.matrix(f"x_{dtype}", dtype) for dtype in dtypes]
    values = [np.random.default_rng(k).integers(0, 2, (3, 37)).astype(dtype) for k, dtype in enumerate(dtypes)]
    outputs, wanted = [], []
    for x, value in zip(inputs, values):
        for index, of in ((T.cast(x > 0, "uint8"), value), (T.where(T.neq(x, 0), 2, 0), 2 * (value != 0)), (T.cast(x * x, "int16"), value)):
            outputs += [w[index], *(T.take(w, index, mode=mode) for mode in ("clip", "wrap")), (w * 2 + 1)[index].sum(axis=1)]
            found = table[np.asarray(of).astype(int)]
            wanted += [found, found, found, (found * 2 + 1).sum(axis=1)]
    for got, want in zip(exprc.function([w, *inputs], outputs)(table, *values), wanted):
        np.testing.assert_array_equal(got, want)
