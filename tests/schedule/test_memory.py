"""What lies where: updates read old values, returned arrays stay as they are, and a steady state allocates nothing but its results."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import compiled
from exprc.expr import Shared, clone
from exprc.machines.cpu import Frame

Array = np.ndarray[Any, Any]


def variable(values: Any, name: str = "w") -> Shared:
    return exprc.shared(np.array(values, "float32"), name=name)


def twin_of(w: Shared) -> Shared:
    """Another variable on the same container."""
    return clone(w, share_inputs=False)  # type: ignore[no-any-return]


def arrays(f: Any) -> list[Any]:
    """The arenas of the frames that wait for calls, or that a short way holds on to, beside its runner."""
    runners = f._compiled.bound_runners()
    owners = [owner for r in runners for owner in (r.frames, *gc.get_referrers(r)) if isinstance(owner, (list, tuple))]
    return list({id(x): x.arena for owner in owners for x in owner if isinstance(x, Frame)}.values())


# -- updates -----------------------------------------------------------------------------------------------------------


def test_variables_swap_their_values() -> None:
    a, b = variable([1, 2, 3], "a"), variable([4, 5, 6], "b")
    f = exprc.function([], updates={a: b, b: a})
    f()
    np.testing.assert_array_equal(a.get_value(), [4, 5, 6])
    np.testing.assert_array_equal(b.get_value(), [1, 2, 3])
    f()
    np.testing.assert_array_equal(a.get_value(), [1, 2, 3])


def test_three_variables_turn_round() -> None:
    a, b, c = (variable([float(k)] * 40, n) for k, n in enumerate("abc"))
    f = exprc.function([], [a + b, c], updates=[(a, b), (b, c), (c, a)])
    first, second = f()
    np.testing.assert_array_equal(first, np.full(40, 1.0))
    np.testing.assert_array_equal(second, np.full(40, 2.0))
    assert [v.get_value()[7] for v in (a, b, c)] == [1, 2, 0]


@pytest.mark.parametrize("n", [3, 50, 5000])
def test_all_updates_read_old_values(n: int) -> None:
    a, b = variable(np.arange(n), "a"), variable(np.ones(n), "b")
    old_a, old_b = a.get_value(), b.get_value()
    f = exprc.function([], [a.sum(), a], updates=[(a, a + b), (b, a * 2)])
    total, whole = f()
    np.testing.assert_array_equal(whole, old_a)
    np.testing.assert_allclose(total, old_a.sum(), rtol=1e-5)
    np.testing.assert_array_equal(a.get_value(), old_a + old_b)
    np.testing.assert_array_equal(b.get_value(), old_a * 2)


def test_an_update_that_needs_the_whole_old_value() -> None:
    w = variable(np.arange(12).reshape(3, 4))
    old = w.get_value()
    exprc.function([], updates={w: w[::-1, ::-1] + w.sum()})()
    np.testing.assert_array_equal(w.get_value(), old[::-1, ::-1] + old.sum())


def test_softmax_of_a_variable_in_its_place() -> None:
    w = variable(np.linspace(-3, 3, 77).reshape(7, 11))
    old = w.get_value()
    exprc.function([], updates={w: T.softmax(w)})()
    e = np.exp(old - old.max(1, keepdims=True))
    np.testing.assert_allclose(w.get_value(), e / e.sum(1, keepdims=True), rtol=1e-5)


def test_a_product_with_the_variable_itself() -> None:
    rng = np.random.default_rng(0)
    w = variable(rng.standard_normal((33, 33)))
    old = w.get_value()
    g = exprc.function([], T.dot(w, w), updates={w: w - T.dot(w, w.T)})()
    np.testing.assert_allclose(g, old @ old, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(w.get_value(), old - old @ old.T, rtol=1e-4, atol=1e-4)


def test_a_product_read_after_the_update() -> None:
    """The gradient's hook would write w; but w is needed once more, after it."""
    rng = np.random.default_rng(1)
    x, w = T.matrix("x"), variable(rng.standard_normal((20, 30)))
    v, old = rng.standard_normal((40, 20)).astype("float32"), w.get_value()
    h = T.dot(x, w)
    loss = (h * h).sum()
    f = exprc.function([x], [loss, T.dot(T.exp(x / 10), w)], updates={w: w - 0.01 * exprc.grad(loss, w)})
    _, after = f(v)
    np.testing.assert_allclose(after, np.exp(v / 10) @ old, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(w.get_value(), old - 0.02 * v.T @ (v @ old), rtol=1e-3, atol=1e-3)


def test_clones_share_one_container() -> None:
    w = variable([1, 2, 3, 4])
    twin = twin_of(w)
    f = exprc.function([], w + twin, updates={twin: w * 10})
    np.testing.assert_array_equal(f(), [2, 4, 6, 8])
    np.testing.assert_array_equal(w.get_value(), [10, 20, 30, 40])
    np.testing.assert_array_equal(twin.get_value(), [10, 20, 30, 40])


def test_a_clone_that_reads_elsewhere_in_the_container() -> None:
    w = variable(np.arange(100))
    twin = twin_of(w)
    exprc.function([], updates={w: twin[::-1] + w})()
    np.testing.assert_array_equal(w.get_value(), np.full(100, 99))


def test_an_update_of_another_shape() -> None:
    w = exprc.shared(np.ones(2, "float32"), shape=(None,))
    f = exprc.function([], w.sum(), updates={w: T.concatenate([w, w])})
    assert [float(f()) for _ in range(5)] == [2, 4, 8, 16, 32]
    assert w.get_value().shape == (64,)


def test_an_input_that_is_the_storage_of_a_variable() -> None:
    """The array given may be the very one that an update writes."""
    w = exprc.shared(np.arange(1000, dtype="float32"), borrow=True)
    x = T.vector("x")
    f = exprc.function([x], x.sum(), updates={w: w + x[::-1]})
    storage = w.get_value(borrow=True)
    old = storage.copy()
    np.testing.assert_allclose(f(storage), old.sum(), rtol=1e-6)
    np.testing.assert_array_equal(w.get_value(), old + old[::-1])


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_outputs_that_are_leaves_or_the_same() -> None:
    x, w = T.vector("x"), variable([5, 6])
    y = x * 2
    f = exprc.function([x], [y, y, x, w, y[::-1], x, T.constant(np.arange(3.0))])
    given = np.array([1, 2], "float32")
    got = f(given)
    for a, wanted in zip(got, ([2, 4], [2, 4], [1, 2], [5, 6], [4, 2], [1, 2], [0, 1, 2])):
        np.testing.assert_array_equal(a, wanted)
    for k, a in enumerate(got):
        assert a.flags.owndata and a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in [*got[:k], given, w.get_value(borrow=True)])


def test_an_output_of_an_updated_variable_is_its_old_value() -> None:
    w = variable([1, 2, 3])
    f = exprc.function([], [w, w + 1], updates={w: w + 1})
    old, new = f()
    np.testing.assert_array_equal(old, [1, 2, 3])
    np.testing.assert_array_equal(new, [2, 3, 4])
    np.testing.assert_array_equal(w.get_value(), [2, 3, 4])
    new[:] = 0
    np.testing.assert_array_equal(w.get_value(), [2, 3, 4])


def test_returned_arrays_are_never_written_again() -> None:
    x, w = T.matrix("x"), variable(np.zeros(7))
    f = exprc.function([x], [T.softmax(x + w), x.sum(axis=0)], updates={w: w + x.mean(axis=0)})
    rng = np.random.default_rng(0)
    held, copies = [], []
    for k in range(50):
        results = f(rng.standard_normal((5 if k % 2 else 9, 7)).astype("float32"))
        held += [results[0], results[1][2:5]]  # a view of a result keeps it too
        copies += [results[0].copy(), results[1][2:5].copy()]
        del results
        gc.collect()
    for a, b in zip(held, copies):
        np.testing.assert_array_equal(a, b)


def test_a_variable_given_away_with_borrow_is_a_shared_view_and_an_output_never_is() -> None:
    w = variable([1, 2, 3])
    f = exprc.function([], w * 1, updates={w: w + 1})
    seen = w.get_value(borrow=True)
    out = f()
    np.testing.assert_array_equal(seen, [2, 3, 4])  # written in place
    np.testing.assert_array_equal(out, [1, 2, 3])


# -- the arena ---------------------------------------------------------------------------------------------------------


def deep(x: Any) -> Any:
    """Products with something between them that has to be stored."""
    for _ in range(4):
        x = T.dot(T.softmax(x), x.T).T
    return x


def test_one_arena_serves_all_calls() -> None:
    x = T.matrix("x", shape=(24, 24))
    f = exprc.function([x], deep(x))
    value = np.random.default_rng(0).standard_normal((24, 24)).astype("float32")
    first = f(value)
    (arena,) = arrays(f)
    for _ in range(20):
        np.testing.assert_array_equal(f(value), first)
        assert [a is arena for a in arrays(f)] == [True]


def test_the_arena_is_shared_by_values_that_are_not_alive_together() -> None:
    x = T.matrix("x", shape=(64, 64))
    f = exprc.function([x], deep(x))
    plan = f._compiled.last.plan
    total = sum(plan.number(b.size) * 4 for b in plan.offsets)
    assert 0 < plan.arena <= total / 2
    assert "without sharing" in f.explain(True)


def test_memory_stays_flat() -> None:
    x, w = T.matrix("x", shape=(32, 20)), variable(np.full((20, 20), 0.01))
    h = T.tanh(T.dot(x, w))
    loss = (h * h).mean()
    f = exprc.function([x], loss, updates={w: w - 0.1 * exprc.grad(loss, w)})
    value = np.ones((32, 20), "float32")
    for _ in range(50):
        f(value)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            f(value)
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 8 * 2000  # not one object a call
    assert peak - before < 32768
    assert len(arrays(f)) == 1


# -- sizes -------------------------------------------------------------------------------------------------------------


def network() -> tuple[Any, list[Any]]:
    x, w = T.matrix("x"), exprc.shared(np.linspace(-1, 1, 6 * 5).reshape(6, 5).astype("float32"))
    p = T.softmax(T.dot(x, w))
    loss = -T.log(p[:, 0]).mean()
    return x, [loss, p, exprc.grad(loss, w), x.var(axis=0), p.argmax(axis=1), T.concatenate([x[:2], x[::-1]]), x.reshape((-1, 2))]


def test_the_third_size_makes_a_general_program() -> None:
    x, outputs = network()
    f = exprc.function([x], outputs)
    reference = exprc.function([x], outputs, mode="reference")
    rng = np.random.default_rng(0)
    texts = []
    for n in (8, 5, 31, 2, 64, 17, 1, 3, 200, 8):
        value = rng.standard_normal((n, 6)).astype("float32")
        for got, wanted in zip(f(value), reference(value)):
            assert got.shape == wanted.shape and got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-5)
        texts.append(f.source)
    assert len(f._compiled.programs) == compiled.VALUES + 1  # two of their own, the general one, and one for size 1
    assert texts[2] == texts[3] == texts[4] == texts[8]
    assert len({texts[0], texts[1], texts[2], texts[6]}) == 4


def test_sizes_0_and_1_stay_constants() -> None:
    x, y = T.matrix("x"), T.matrix("y")
    outputs = [x + y, (x * y).sum(axis=1), exprc.grad((x * y).sum(), x), x.mean(axis=0)]
    f, reference = (exprc.function([x, y], outputs, mode=m) for m in ("compiled", "reference"))
    rng = np.random.default_rng(0)
    shapes = [
        ((3, 4), (3, 4)), ((5, 4), (5, 4)), ((6, 4), (6, 4)), ((6, 4), (1, 4)), ((1, 4), (6, 4)), ((0, 4), (1, 4)),
        ((7, 1), (7, 4)), ((2, 3), (2, 1)), ((1, 1), (9, 9)), ((0, 0), (1, 1)), ((8, 5), (8, 5)), ((8, 5), (1, 5)),
    ]  # fmt: skip
    for shape, other in shapes:
        a, b = rng.standard_normal(shape).astype("float32"), rng.standard_normal(other).astype("float32")
        for got, wanted in zip(f(a, b), reference(a, b)):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_shapes_that_disagree_are_refused_at_the_call() -> None:
    x, y = T.matrix("x"), T.matrix("y")
    f = exprc.function([x, y], x + y)
    with pytest.raises(ValueError, match="shapes do not broadcast") as error:
        f(np.zeros((3, 4), "float32"), np.zeros((2, 4), "float32"))
    assert "test_memory.py" in str(error.value)


def test_a_scalar_that_sizes_depend_on() -> None:
    n, x = T.lscalar("n"), T.vector("x")
    f, reference = (exprc.function([n, x], [T.arange(n) * 2, x[:n], x[n:].sum(), x[-n:]], mode=m) for m in ("compiled", "reference"))
    value = np.arange(20, dtype="float32")
    for k in (3, 4, 0, 1, 7, 20, 25, 5):
        for got, wanted in zip(f(k, value), reference(k, value)):
            np.testing.assert_array_equal(got, wanted)


def images() -> tuple[list[Any], list[Shared], Any, Any]:
    """Two convolutions with pooling, and a softmax; images in lanes."""
    rng = np.random.default_rng(0)
    x, y = T.tensor4("x", shape=(None, 1, 14, 14)), T.ivector("y")
    shapes = [(5, 1, 3, 3), (5,), (7, 5, 3, 3), (7,), (28, 10), (10,)]
    values = [(rng.standard_normal(s) * 0.3).astype("float32") for s in shapes]
    w1, b1, w2, b2, w3, b3 = params = [exprc.shared(v, name=f"p{k}") for k, v in enumerate(values)]
    h = T.pool_2d(T.relu(T.conv2d(x, w1) + b1.dimshuffle("x", 0, "x", "x")), (2, 2), ignore_border=True)
    h = T.pool_2d(T.tanh(T.conv2d(h, w2) + b2.dimshuffle("x", 0, "x", "x")), (2, 2), ignore_border=True)
    p = T.softmax(T.dot(h.flatten(2), w3) + b3)
    loss = -T.log(p)[T.arange(y.shape[0]), y].mean()
    return [x, y], params, loss, p


def test_training_on_batches_of_many_sizes() -> None:
    """The last batch of an epoch, and general programs: what lies in the lanes behind the last image is nobody's."""
    rng = np.random.default_rng(1)
    made = []
    for mode in ("compiled", "reference"):
        inputs, params, loss, p = images()
        grads = exprc.grad(loss, params)
        made.append((exprc.function(inputs, [loss, p], updates=[(w, w - 0.1 * g) for w, g in zip(params, grads)], mode=mode), params))
    (f, mine), (reference, theirs) = made
    for n in (16, 7, 33, 50, 3, 16, 1, 49, 2, 64):
        x, y = rng.random((n, 1, 14, 14)).astype("float32"), rng.integers(0, 10, n).astype("int32")
        for got, wanted in zip(f(x, y), reference(x, y)):
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5)
    for a, b in zip(mine, theirs):
        np.testing.assert_allclose(a.get_value(), b.get_value(), rtol=1e-3, atol=1e-4)


def test_a_length_that_follows_from_sizes_may_be_1() -> None:
    """Every other element from the eighth on is one of eight; what broadcasts depends on it."""
    x = T.matrix("x")
    outputs = [x[:, 7::2] * x[:, :1], (x[:, 7::2] * 2).sum(axis=1), x[:, 7:8] + x]
    f, reference = (exprc.function([x], outputs, mode=m) for m in ("compiled", "reference"))
    tail, tail_reference = (exprc.function([x], x[:, 7::2] + x, mode=m) for m in ("compiled", "reference"))
    rng = np.random.default_rng(0)
    for rows, n in [(3, 12), (4, 10), (5, 9), (6, 8), (6, 15), (2, 8), (9, 8)]:
        a = rng.standard_normal((rows, n)).astype("float32")
        for got, wanted in zip(f(a), reference(a)):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
        if n in (8, 9):  # of other lengths the two do not broadcast
            np.testing.assert_array_equal(tail(a), tail_reference(a))
