"""Last batches and sentences of any length: few compiles, right results, bounded tables, flat memory."""

from __future__ import annotations

import gc
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import compiled


def compiles(f: Any) -> int:
    """The number of programs that a function has had made."""
    return len(f._compiled.programs)


def resident() -> int:
    """Bytes of memory that this process has in use."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory in use from /proc")


def test_500_sizes_need_few_programs_and_give_right_results() -> None:
    """A batch size and a length that are both different at almost every call, 0 and 1 among them."""
    x, w = T.tensor3("x"), exprc.shared(np.random.default_rng(0).standard_normal((4, 5)).astype("float32"), "w")
    h = T.tanh(T.dot(x, w))
    outputs = [h.mean(axis=1), T.softmax(h.sum(axis=2)), x[:, ::-1, :2]]
    f = exprc.function([x], outputs)
    reference = exprc.function([x], outputs, mode="reference")
    chance = random.Random(1)
    sizes = [(chance.randint(0, 40), chance.randint(1, 40)) for _ in range(500)]
    assert len(set(sizes)) > 400
    for count, (n, length) in enumerate(sizes):
        value = np.random.default_rng(count).standard_normal((n, length, 4)).astype("float32")
        got = f(value)
        if count < 30 or count % 10 == 0 or 1 in (n, length) or n == 0:
            for one, two in zip(got, reference(value)):
                np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-6)
    assert compiles(f) <= 16
    assert len(f._compiled.runners) <= compiled.RUNNERS
    assert sum(r.arena for r in f._compiled.bound_runners()) <= compiled.ARENAS


def test_the_last_batch_of_an_epoch_is_one_more_program_and_no_more() -> None:
    x, w = T.matrix("x"), exprc.shared(np.ones((6, 3), "float32"))
    cost = (T.dot(x, w) ** 2).mean()
    train = exprc.function([x], cost, updates={w: w - 0.01 * exprc.grad(cost, w)})
    rows = np.ones((100, 6), "float32")
    for _ in range(3):
        for start in range(0, 100, 32):
            train(rows[start : start + 32])
    assert compiles(train) == 2


def test_updates_with_sizes_that_vary() -> None:
    x, total = T.matrix("x"), exprc.shared(np.zeros(3, "float32"))
    f = exprc.function([x], x.sum(), updates={total: total + x.sum(axis=0)})
    for n in range(60):
        f(np.ones((n, 3), "float32"))
    np.testing.assert_array_equal(total.get_value(), np.full(3, 59 * 60 / 2))
    assert compiles(f) <= 6


@linux
def test_sizes_that_vary_leave_memory_flat() -> None:
    x = T.matrix("x")
    f = exprc.function([x], [T.softmax(x, axis=0), T.exp(x).sum(axis=1)])
    chance = random.Random(2)

    def turn() -> None:
        for _ in range(700):
            f(np.ones((chance.randint(2, 300), chance.randint(2, 60)), "float32"))

    turn()  # tables fill up to their bounds
    before = resident()
    turn()
    assert resident() - before < 1 << 20


@linux
@pytest.mark.parametrize("updates", [False, True], ids=["without updates", "with updates"])
def test_10000_calls_leave_memory_flat(updates: bool) -> None:
    x, w = T.matrix("x"), exprc.shared(np.ones((20, 30), "float32"), "w")
    seen = T.scalar("seen")
    h = T.softmax(T.dot(x, w))
    changes = {w: w * 0.5 + exprc.grad((h**2).sum(), w)} if updates else None
    inputs = [x, exprc.In(seen, value=0, update=seen + 1)] if updates else [x]
    f = exprc.function(inputs, {"h": h, "sum": h.sum(axis=0)}, updates=changes, on_unused_input="ignore")
    value, wrong = np.ones((10, 20), "float32"), np.ones((10, 21), "float32")

    def turn(calls: int) -> None:
        for k in range(calls):
            f(value)
            if k % 100 == 0:
                w.set_value(w.get_value() * 2)
                with pytest.raises(ValueError):
                    f(wrong)  # a call that fails must leave nothing behind, either

    turn(500)
    before = resident()
    turn(10_000)
    assert resident() - before < 1 << 20


@linux
@pytest.mark.long
def test_functions_that_are_dropped_leave_little_behind() -> None:
    def make(k: int) -> None:
        x = T.vector("x")
        exprc.function([x], T.exp(x * (k % 5)) + x)([1.0, 2.0])

    for k in range(100):
        make(k)
    before = resident()
    for k in range(500):
        make(k)
    assert resident() - before < 8 << 20


def test_a_slice_by_a_batch_number_keeps_its_length_a_number():
    """The program is the same for every batch: its loops go over a number of rows, and only where the rows begin is an argument."""
    data, k = exprc.shared(np.arange(40.0).reshape(20, 2), name="data", shape=(None, 2)), T.lscalar("k")
    f = exprc.function([k], [data[k * 4 : (k + 1) * 4] * 2, data[k * 4 : (k + 1) * 4].sum()])
    for _ in range(2):
        for n in range(5):
            (rows, total), wanted = f(n), data.get_value()[4 * n : 4 * n + 4]
            assert rows.tolist() == (wanted * 2).tolist() and total == wanted.sum()
    assert len(f._compiled.programs) == 3 and len(f._compiled.bound_runners()) == 3
    assert f._loaded().lowered.sizes and f._loaded().bound.rigid
    data.set_value(np.arange(36.0).reshape(18, 2))
    assert f(4)[0].shape == (2, 2) and f(9)[0].shape == (0, 2)


def test_a_slice_of_many_lengths_becomes_general():
    x, n = T.vector("x"), T.lscalar("n")
    f = exprc.function([x, n], x[:n].sum())
    value = np.arange(100, dtype="float32")
    assert [float(f(value, m)) for m in range(2, 60)] == [float(value[:m].sum()) for m in range(2, 60)]
    assert len(f._compiled.programs) <= 6
