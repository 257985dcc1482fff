"""The short way of a call: taken for what it was made for, refused for all else, with the results of the general way."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.render.base import kernel_source
from exprc.runtime import direct
from exprc.shorts import SHORTS

pytestmark = pytest.mark.skipif(not direct._works(), reason="the short way is for CPython on Linux; elsewhere calls go the general way")


def taken(f: Any, *values: Any) -> bool:
    """Whether a call of these values goes the short way."""
    return f._compiled.shorts.call(*values) is not NotImplemented


def called(f: Any, *values: Any) -> Any:
    """Call until the short way is there."""
    for _ in range(2):
        f(*values)
    assert taken(f, *values)
    return f(*values)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "uint64", "bool"])
def test_it_gives_what_the_general_way_gives(dtype: str) -> None:
    x, y = T.matrix("x", dtype=dtype), T.scalar("y", dtype=dtype)
    f = exprc.function([x, y], [T.maximum(x, y), x.T, y])
    a, b = np.arange(6).reshape(2, 3).astype(dtype), np.asarray(1, dtype)
    first = f(a, b)
    for got, want in zip(called(f, a, b), first):
        assert got.dtype == want.dtype and got.shape == want.shape and (got == want).all() and got.flags.owndata
    assert taken(f, a, b) and not taken(f, a[:1], b) and not taken(f, a, 1) and not taken(f, a) and not taken(f, a, b, b)


def test_what_it_was_not_made_for_goes_the_general_way() -> None:
    x = T.vector("x")
    f = exprc.function([x], x * 2)
    a = np.arange(8, dtype=np.float32)
    called(f, a)
    raw = np.zeros(33, np.uint8)
    unaligned = raw[1:].view(np.float32)
    unaligned[:] = a
    others = [a.tolist(), np.repeat(a, 2)[::2], a.astype(np.float64), a.astype(">f4"), a.astype(np.int32), unaligned, np.ma.array(a)]
    for other in [*others, memoryview(a)]:
        assert not taken(f, other) and (f(other) == a * 2).all()
    frozen = a.copy()
    frozen.flags.writeable = False
    assert taken(f, frozen)
    with pytest.raises(TypeError, match="it takes 1 dimensions, the value has 2"):
        f(a[None])
    with pytest.raises(TypeError, match="1 of 1 inputs are missing"):
        f()
    with pytest.raises(TypeError, match="has no input named 'z'"):
        f(a, z=1)


def test_results_come_in_the_form_that_was_asked_for() -> None:
    x = T.vector("x")
    a = np.ones(3, np.float32)
    assert isinstance(called(exprc.function([x], [x + 1]), a), list)
    made = called(exprc.function([x], {"one": x + 1, "two": x.sum()}), a)
    assert list(made) == ["one", "two"] and float(made["two"]) == 3
    f = exprc.function([], T.arange(3) + 1)
    assert called(f).tolist() == [1, 2, 3]
    empty = called(exprc.function([x], [x + 1, x.sum()]), a[:0])
    assert empty[0].shape == (0,) and float(empty[1]) == 0


def test_results_are_new_arrays() -> None:
    x = T.vector("x")
    f = exprc.function([x], [x + 1, x + 2])
    a = np.zeros(4, np.float32)
    called(f, a)
    made = [r for _ in range(50) for r in f(a)]
    assert len({r.ctypes.data for r in made}) == 100 and all((r == 1 + k % 2).all() for k, r in enumerate(made))


def test_variables_are_read_where_they_are() -> None:
    x, w = T.vector("x"), exprc.shared(np.ones(3, np.float32), name="w", shape=(None,))
    f, step = exprc.function([x], (x * w).sum()), exprc.function([], updates={w: w * 2})
    a = np.ones(3, np.float32)
    assert called(f, a) == 3
    step()
    assert taken(f, a) and f(a) == 6
    w.set_value(np.full(3, 5, np.float32))
    assert taken(f, a) and f(a) == 15
    borrowed = np.full(3, 7, np.float32)
    w.set_value(borrowed, borrow=True)
    borrowed[0] = 0
    assert taken(f, a) and f(a) == 14
    w.set_value(np.ones(2, np.float32))
    assert not taken(f, a) and f(a[:2]) == 2


def test_an_index_out_of_bounds_is_told_as_ever() -> None:
    x, k = T.vector("x"), T.lvector("k")
    f = exprc.function([x, k], x[k])
    a = np.arange(4, dtype=np.float32)
    assert called(f, a, np.array([0, -1])).tolist() == [0, 3]
    with pytest.raises(IndexError, match="index 4 is out of bounds for an axis of length 4"):
        f(a, np.array([0, 4]))
    assert f(a, np.array([1, 1])).tolist() == [1, 1]


def test_values_that_sizes_follow_from_go_the_general_way() -> None:
    x, n = T.vector("x"), T.iscalar("n")
    f = exprc.function([x, n], x[:n])
    a = np.arange(5, dtype=np.float32)
    for k in (2, 2, 2, 3, 3, 3, 1):
        assert f(a, np.int32(k)).tolist() == a[:k].tolist() and f(a, np.array(k, np.int32)).tolist() == a[:k].tolist()
    assert not taken(f, a, np.array(2, np.int32))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8"])
def test_updates_are_all_made_or_none(dtype: str) -> None:
    k, w, n = T.vector("k", dtype=dtype), exprc.shared(np.zeros(4, np.float32), name="w"), exprc.shared(0)
    f = exprc.function([k], w.sum(), updates={w: T.inc_subtensor(w[k], 1), n: n + 1})
    good = np.array([0, 3], dtype)
    called(f, good)
    want, steps, edits = w.get_value(), int(n.get_value()), w.container.edits
    assert want.tolist() == [steps, 0, 0, steps]
    for bad in (4, 100, *(() if dtype == "uint8" else (-5,))):
        assert not taken(f, np.array([1, bad], dtype))
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds for an axis of length 4"):
            f(np.array([1, bad], dtype))
    assert (w.get_value() == want).all() and n.get_value() == steps
    f(good)
    assert n.get_value() == steps + 1 and w.container.edits > edits


def test_storage_that_is_given_as_a_value_is_read_as_it_was() -> None:
    x, w = T.vector("x"), exprc.shared(np.arange(6, dtype=np.float32), name="w")
    f = exprc.function([x], w[0], updates={w: w + x[::-1]})
    called(f, np.zeros(6, np.float32))
    storage = w.get_value(borrow=True)
    old = storage.copy()
    assert not taken(f, storage)
    f(storage)
    assert (storage == old + old[::-1]).all() and taken(f, np.zeros(6, np.float32))


def test_threads_update_one_variable_one_after_the_other() -> None:
    x, w = T.vector("x"), exprc.shared(np.zeros(30_000, np.float32), name="w")
    f = exprc.function([x], updates={w: w + x})
    one = np.ones(30_000, np.float32)
    called(f, one)
    before = w.get_value()[0]

    def work(_: int) -> bool:
        for _ in range(100):
            f(one)
            value = w.get_value()
            if not (value == value[0]).all():
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert (w.get_value() == before + 800).all()


def test_threads_call_one_function_at_once() -> None:
    x = T.vector("x")
    small, large = exprc.function([x], x * 2 + 1), exprc.function([x], T.exp(-x).cumsum()[-1] + (x * 2).sum())
    for f, n, calls in ((small, 10, 1000), (large, 40_000, 60)):
        wanted = [f(np.full(n, k, np.float32)) for k in range(8)]
        called(f, np.zeros(n, np.float32))

        def work(k: int, f: Any = f, n: int = n, calls: int = calls, wanted: Any = wanted) -> bool:
            a = np.full(n, k, np.float32)
            return all((f(a) == wanted[k]).all() for _ in range(calls))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))


def test_nothing_is_kept_of_a_call_and_a_function_can_go() -> None:
    x, w = T.vector("x"), exprc.shared(np.ones(3, np.float32))
    f = exprc.function([x], [x + w, x[T.cast(x, "int64")]])
    a, none = np.zeros(3, np.float32), sys.getrefcount(NotImplemented)
    called(f, a)
    held = [sys.getrefcount(v) for v in (a, w.container._value, np.ndarray, np.empty)]
    for _ in range(2000):
        f(a)
        f._compiled.shorts.call(a[:2])
        f._compiled.shorts.call(a + 5)  # an index out of bounds
        f._compiled.shorts.call(None)
    assert [sys.getrefcount(v) for v in (a, w.container._value, np.ndarray, np.empty)] == held
    assert abs(sys.getrefcount(NotImplemented) - none) < 10
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_sizes_that_come_in_turn_get_one_short_way_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr("exprc.machines.cpu.direct", lambda *given: made.append(given) or direct.direct(*given))
    x = T.matrix("x")
    f = exprc.function([x], T.tanh(T.dot(x, x.T)).sum() + x)
    values = [np.full((2, n), 0.5, np.float32) for n in range(2, 4)]
    for k in range(60):
        f(values[k % 2])
    assert not made  # neither was called twice in a row
    want = [f(v) for v in values]
    for k in range(60):
        assert (f(values[k // 2 % 2]) == want[k // 2 % 2]).all()
    assert len(made) == 2 == len(f._compiled.shorts.made)
    for n in range(4, 4 + 2 * SHORTS):
        called(f, np.full((2, n), 0.5, np.float32))
    assert len(f._compiled.shorts.made) == SHORTS


def test_the_text_has_room_for_as_many_arrays_as_it_is_asked_for() -> None:
    assert f"enum {{ MOST = {direct.MOST}, MOST_LOCKS = {direct.MOST_LOCKS} }};" in kernel_source("c/call.c")


def test_a_forked_child_calls_it() -> None:
    x = T.vector("x")
    f = exprc.function([x], T.tanh(x) * 2)
    a = np.linspace(0, 1, 500_000, dtype=np.float32)
    want = called(f, a)
    child = os.fork()
    if child == 0:
        os._exit(0 if taken(f, a) and (f(a) == want).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_where_it_does_not_work_calls_go_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_library", lambda: None)
    x = T.vector("x")
    f = exprc.function([x], x + 1)
    a = np.ones(3, np.float32)
    assert [f(a).tolist() for _ in range(4)] == [[2, 2, 2]] * 4 and not taken(f, a)
