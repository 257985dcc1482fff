"""Random streams: repeatable, independent, advancing by default updates, and distributed as they say."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import philox
from exprc.tensor.random import _mixed


def call(*outputs, inputs=()):
    """A compiled-by-nobody function: the interpreter, with its updates."""
    return exprc.function(list(inputs), list(outputs), mode="reference")


def message(kind, function, *args, **kwargs):
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    return str(error.value)


def test_elements_are_the_generators_blocks():
    srng = T.RandomStreams(7)
    f = call(srng.uniform((2, 3)))
    key = _mixed(7, 0)
    np.testing.assert_array_equal(f()[0], philox.uniform(key, np.arange(6)).reshape(2, 3))
    np.testing.assert_array_equal(f()[0], philox.uniform(key, np.arange(6, 12)).reshape(2, 3))


def test_a_seed_repeats_and_calls_differ():
    def draws(seed):
        f = call(T.RandomStreams(seed).normal((4,)))
        return [f()[0] for _ in range(3)]

    first, same, other = draws(1), draws(1), draws(2)
    np.testing.assert_array_equal(first, same)
    assert len({x.tobytes() for x in [*first, *other]}) == 6


def test_draws_of_one_stream_are_independent_and_within_a_call_each_is_one():
    srng = T.RandomStreams(3)
    x, y = srng.uniform((5,)), srng.uniform((5,))
    difference, other = call(x - x, x - y)()
    assert np.all(difference == 0) and np.all(other != 0)


def test_seeding_starts_anew():
    srng = T.RandomStreams(5)
    f = call(srng.uniform((3,)), srng.normal((3,)))
    first = f()
    f()
    srng.seed(5)
    np.testing.assert_array_equal(f(), first)
    srng.seed(6)
    assert np.all(f()[0] != first[0])


def test_state_updates_can_be_given_by_hand():
    srng = T.RandomStreams(5)
    x = srng.uniform((3,))
    ((state, update),) = srng.state_updates
    assert state.default_update is update and state.dtype == "uint64"
    f = call(x)
    f()
    assert state.get_value()[1] == 3


def test_the_default_seed():
    exprc.seed(0)
    first = [call(T.RandomStreams().uniform((3,)))()[0] for _ in range(2)]
    exprc.seed(0)
    second = [call(T.RandomStreams().uniform((3,)))()[0] for _ in range(2)]
    np.testing.assert_array_equal(first, second)
    assert np.all(first[0] != first[1])
    exprc.seed(1)
    assert np.all(call(T.RandomStreams().uniform((3,)))()[0] != first[0])


def test_the_default_seed_leaves_streams_that_exist_alone():
    exprc.seed(0)
    f, g = call(T.RandomStreams().uniform((3,))), call(T.RandomStreams(9).uniform((3,)))
    first = f()[0], g()[0]
    exprc.seed(0)
    assert np.all(f()[0] != first[0]) and np.all(g()[0] != first[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype):
    srng = T.RandomStreams(11)
    u, n = call(srng.uniform((100_000,), -1.0, 3.0, dtype), srng.normal((100_000,), 2.0, 0.5, dtype))()
    assert u.dtype == n.dtype == dtype and -1 <= u.min() < -0.99 and 2.99 < u.max() <= 3
    assert abs(u.mean() - 1) < 0.02 and abs(u.std() - 4 / np.sqrt(12)) < 0.02
    assert abs(n.mean() - 2) < 0.01 and abs(n.std() - 0.5) < 0.01


def test_binomial():
    srng = T.RandomStreams(12)
    coin, ten = srng.binomial((100_000,), p=0.3), srng.binomial((20_000,), n=10, p=0.3, dtype="int32")
    c, t = call(coin, ten)()
    assert c.dtype == "int64" and set(np.unique(c)) == {0, 1} and abs(c.mean() - 0.3) < 0.01
    assert t.dtype == "int32" and t.min() >= 0 and t.max() <= 10 and abs(t.mean() - 3) < 0.05
    assert srng.binomial((3,), dtype="floatX").dtype == "float32"


def test_sizes_can_be_expressions():
    n, x = T.lscalar("n"), T.matrix("x", shape=(None, 3))
    srng = T.RandomStreams(1)
    draws = srng.uniform((n, 2)), srng.normal(x.shape), srng.uniform(4), srng.uniform(), srng.binomial(n)
    assert draws[1].type.shape == (None, 3)
    values = call(*draws, inputs=[n, x])(5, np.zeros((2, 3), "float32"))
    assert [v.shape for v in values] == [(5, 2), (2, 3), (4,), (), (5,)]


def test_bounds_can_be_expressions_and_are_differentiated():
    srng = T.RandomStreams(1)
    avg, std = T.vector("avg"), T.scalar("std")
    x = srng.normal((2, 3), avg, std)
    g = exprc.grad(x.sum(), [avg, std])
    value, by_avg, by_std = call(x, *g, inputs=[avg, std])(np.ones(3, "float32"), np.float32(2))
    np.testing.assert_allclose(by_avg, [2, 2, 2])
    np.testing.assert_allclose(by_std, ((value - 1) / 2).sum(), rtol=1e-5)


def test_errors():
    srng = T.RandomStreams(1)
    assert message(ValueError, T.RandomStreams, -1).startswith("a seed must be an int from 0 to 2**64 - 1: -1")
    assert "a seed must be an int" in message(ValueError, exprc.seed, "zero")
    text = message(TypeError, srng.uniform, (2,), dtype="int32")
    assert "uniform: numbers are drawn in a float dtype, not int32" in text and "uniform(...).astype('int32')" in text
    assert "a size must be an integer scalar" in message(TypeError, srng.uniform, (T.scalar("n"),))


def test_states_are_taken_and_put_back():
    srng = T.RandomStreams(5)
    f = call(srng.uniform((3,)), srng.normal((2,)))
    f()
    states = srng.get_state()
    wanted = f()
    assert [s.tolist()[1] for s in states] == [3, 2]
    srng.set_state(states)
    for a, b in zip(f(), wanted):
        np.testing.assert_array_equal(a, b)
    assert "set_state takes the states of 2 draws" in message(ValueError, srng.set_state, states[:1])
    assert "set_state takes the states" in message(ValueError, srng.set_state, [0, 1])


def test_a_function_without_default_updates_repeats():
    srng = T.RandomStreams(5)
    x = srng.uniform((3,))
    still, moving = exprc.function([], x, no_default_updates=True, mode="reference"), call(x)
    first = still()
    np.testing.assert_array_equal(still(), first)
    np.testing.assert_array_equal(moving()[0], first)
    assert np.all(still() != first)
