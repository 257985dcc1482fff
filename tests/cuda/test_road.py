"""The road to a GPU: the same graphs on ``cuda-emulator`` as on the CPU."""

import numpy as np
import pytest

import exprc
import exprc.tensor as T

ON = "cuda-emulator"
RNG = np.random.default_rng(0)


def both(inputs, outputs, *values, updates=None, tolerance=2e-6):
    """Run a function on the CPU and on the emulator; compare; return what the emulator gives."""
    made = exprc.function(inputs, outputs, updates=updates, device=ON)
    got = made(*values)
    want = exprc.function(inputs, outputs)(*values)
    for a, b in zip(got, want) if isinstance(got, list) else [(got, want)]:
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    return made


SHAPES = [(37, 50), (3, 700), (700, 3), (40, 40), (1, 5), (33, 1), (0, 4), (4, 0)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_elementwise_rows_and_columns(shape):
    x = T.matrix("x")
    e = T.exp(x) * 2 + x[:1]
    mean = x.mean(1, keepdims=True)
    rows = [T.softmax(x), (x - mean) / T.sqrt(x.var(1, keepdims=True) + 1e-5), T.logsumexp(x, axis=1), x.sum(1), x.prod(1)]
    columns = [x.sum(0), T.logsumexp(x, axis=0), x.var(0)] if shape[0] else [x.sum(0)]
    full = [x.sum(), (x > 0).any(), (x.T + 1), T.concatenate([x, 2 * x], 1)]
    best = [T.argmax(x, 1), T.argmin(x, 0), x.max(), x.min(0)] if 0 not in shape else []
    value = RNG.standard_normal(shape).astype("float32")
    both([x], [e, *(rows if shape[1] else rows[3:]), *columns, *full, *best], value, tolerance=2e-5)


def test_long_reductions_are_cut_in_parts():
    x = T.matrix("x")
    value = RNG.standard_normal((70, 3001)).astype("float32")
    made = both([x], [x.sum(), T.argmax(x), x.var(), x.max(0), x.sum(0)], value, tolerance=2e-4)
    assert "parts joined in order" in made.source
    tall = RNG.standard_normal((30_000, 5)).astype("float32")
    both([x], [x.sum(0), T.argmax(x, 0), x.mean(0)], tall, tolerance=2e-4)


def test_the_bits_are_the_same_in_every_run_and_every_order():
    x = T.matrix("x")
    value = RNG.standard_normal((70, 3001)).astype("float32")
    first = exprc.function([x], [x.sum(), T.softmax(x), x.sum(0)], device=ON)(value)
    for order in ("reverse", "random"):
        with exprc.config.override(emulator_order=order):
            again = exprc.function([x], [x.sum(), T.softmax(x), x.sum(0)], device=ON)(value)
        assert all(np.array_equal(a, b) for a, b in zip(first, again))


def test_indices_are_checked_and_nothing_is_updated_after_a_failure():
    w = exprc.shared(np.arange(12.0).reshape(4, 3), name="w")
    i = T.lvector("i")
    f = exprc.function([i], (w * 1)[i].sum(), updates={w: w + 1}, device=ON)
    assert float(f([0, -1])) == 33.0
    before = w.get_value()
    with pytest.raises(IndexError, match=r"index 4 is out of bounds for an axis of length 4(.|\n)*no variable was updated"):
        f([1, 4])
    assert np.array_equal(w.get_value(), before)
    assert float(f([0])) == 6.0


def test_variables_live_on_the_device():
    w = exprc.shared(np.ones(5, "float32"), name="w")
    x = T.vector("x")
    f = exprc.function([x], (w * x).sum(), updates={w: w - 0.5 * x}, device=ON)
    g = exprc.function([], w * 2)  # on the CPU
    f(np.ones(5, "float32"))
    assert w.container.resident.ahead, "nothing came back yet"
    assert w.get_value().tolist() == [0.5] * 5 and not w.container.resident.ahead
    w.set_value(np.full(5, 3.0, "float32"))
    assert float(f(np.ones(5, "float32"))) == 15.0
    assert g().tolist() == [5.0] * 5
    h = exprc.function([], [], updates={w: w + 1})
    h()
    assert w.get_value().tolist() == [3.5] * 5 and float(f(np.zeros(5, "float32"))) == 0
    lent = w.get_value(borrow=True)
    f(np.ones(5, "float32"))
    assert lent.tolist() == [3.0] * 5, "an update shows in what was lent"
    lent[:] = 7
    assert float(f(np.ones(5, "float32"))) == 35.0


def test_one_place_to_choose_the_device():
    x = T.vector("x")
    with exprc.config.override(device=ON):
        f = exprc.function([x], x + 1)
    assert f.device == ON and f([1.0]).tolist() == [2.0]
    assert "EXPRC_KERNEL void" in f.source and "on cuda-emulator" in repr(f)
    with pytest.raises(ValueError, match="'tpu' is none of cpu, cuda"):
        exprc.function([x], x, device="tpu")
