"""Segments: functions whose graph is cut at host operations, and at sizes that are computed."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.forms import kernel
from exprc.segments import Segments

halves = kernel(
    "halves", shape=lambda args: ((args[0].shape[0],),) * 2, dtype=lambda dtypes: dtypes * 2, numpy=lambda x: (np.sort(x), np.sort(x)[::-1])
)
POINTS = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


def test_what_a_mask_takes_is_computed_in_a_second_segment() -> None:
    x, w = T.matrix("x"), exprc.shared(np.ones((3, 4), "float32"), name="w")
    y = T.tanh(x) * w
    taken = y[y > 0.2]
    f = exprc.function([x], [taken, T.sum(taken**2), T.sort(T.sum(y, axis=0)), y], updates={w: w + T.sum(taken)})
    assert isinstance(f._compiled, Segments)
    for _ in range(3):
        before = w.get_value()
        whole = np.tanh(POINTS) * before
        wanted = whole[whole > np.float32(0.2)]
        made = f(POINTS)
        for a, b in zip(made, [wanted, np.sum(wanted**2), np.sort(whole.sum(axis=0)), whole]):
            np.testing.assert_allclose(a, b, rtol=1e-5)
        np.testing.assert_allclose(w.get_value(), before + wanted.sum(), rtol=1e-5)


def test_a_size_that_is_computed_is_read_between_two_segments() -> None:
    v, lengths = T.vector("v"), T.lvector("lengths")
    longest = T.max(lengths)
    f = exprc.function([v, lengths], [v[:longest] * 2, T.arange(longest) + lengths[0]])
    for given in ([2, 5, 3], [2, 7, 3], [1, 0, 1]):
        taken, counted = f(np.arange(10.0), given)
        assert taken.tolist() == (2 * np.arange(10.0)[: max(given)]).tolist()
        assert counted.tolist() == (np.arange(max(given)) + given[0]).tolist()


def test_every_result_of_a_host_operation_goes_on() -> None:
    x = T.vector("x")
    up, down = halves(T.exp(x))
    f = exprc.function([x], {"up": up, "difference": up - down, "largest": T.max(down)})
    made = f([3.0, 1.0, 2.0])
    rising = np.exp(np.float32([1, 2, 3]))
    np.testing.assert_allclose(made["up"], rising, rtol=1e-6)
    np.testing.assert_allclose(made["difference"], rising - rising[::-1], rtol=1e-5)
    np.testing.assert_allclose(made["largest"], rising[-1], rtol=1e-6)


def test_a_chain_of_host_operations_has_a_segment_each() -> None:
    x = T.vector("x")
    once = T.sort(x)
    twice = T.sort(T.sqr(once - 2))
    f = exprc.function([x], twice[T.nonzero(twice)[0]])
    assert f([1.0, 2.0, 3.0, 5.0]).tolist() == [1.0, 1.0, 9.0]
    assert f([2.0, 2.0]).tolist() == []
    assert len(f._compiled.parts) == 4


def test_a_host_operation_may_be_an_output_and_an_update() -> None:
    w = exprc.shared(np.float32([3, 1, 2]), name="w")
    f = exprc.function([], [T.sort(w), w * 2], updates={w: T.sort(w)})
    ordered, doubled = f()
    assert ordered.tolist() == [1, 2, 3] == w.get_value().tolist()
    assert doubled.tolist() == [6, 2, 4]


def test_the_last_segment_updates_so_that_all_read_the_old_value() -> None:
    w = exprc.shared(np.float32([1, 0, 2]), name="w")
    f = exprc.function([], w[w > 0] + T.sum(w), updates={w: w * 0})
    assert f().tolist() == [4, 5]
    assert w.get_value().tolist() == [0, 0, 0]


def test_explain_and_source_have_every_segment() -> None:
    x = T.vector("x")
    f = exprc.function([x], T.sum(T.sort(T.exp(x))))
    with pytest.raises(RuntimeError, match="its sizes are not known before the first call"):
        _ = f.source
    f([1.0, 2.0])
    told = str(f.explain())
    assert "0 lower" in told and "1 lower" in told
    assert f.source.count("exprc_run(void") == 2


def test_interpreted_and_compiled_agree_on_gradients_through_segments() -> None:
    x = T.dvector("x")
    cost = T.sum(T.sort(x)[:2] ** 2) + T.sum(x[x > 0] ** 3)
    slope = exprc.grad(cost, x)
    given = np.array([0.5, -1.0, 2.0, 0.25])
    compiled, interpreted = (exprc.function([x], slope, mode=mode)(given) for mode in ("compiled", "reference"))
    np.testing.assert_allclose(compiled, interpreted, rtol=1e-12)
    np.testing.assert_allclose(compiled, [0.75, -2.0, 12.0, 0.5 + 0.1875], rtol=1e-12)
