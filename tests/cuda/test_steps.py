"""``function(steps=)``: several steps in one call, on a device in one set of launches."""

import pickle

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.device import DeviceArray
from exprc.runtime.devices import open_device

ON = pytest.param("cuda-emulator", marks=pytest.mark.emulator)
WHERE = pytest.mark.parametrize("device", ["cpu", ON])
RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((22, 3)).astype("float32")


def learning(device, steps=None, rows=22, batch=5):
    """A step that takes the next batch of a data set, and counts it."""
    data, index = exprc.shared(DATA[:rows], name="data"), exprc.shared(0, name="index")
    w, x = exprc.shared(np.zeros(3, "float32"), name="w"), T.matrix("x")
    error = x @ w - 1
    cost = (error**2).mean()
    updates = {w: w - 0.1 * exprc.grad(cost, w), index: (index + 1) % -(-rows // batch)}
    f = exprc.function([], [cost, w * 1], updates, {x: data[index * batch : (index + 1) * batch]}, device=device, steps=steps)
    return f, w, index


@pytest.fixture
def work(monkeypatch):
    """How often launches are prepared and run, and the bytes that are read."""
    seen = {"prepare": [], "run": [], "read": []}
    kind = type(open_device("cuda-emulator"))
    prepare, read = kind.prepare, kind.read

    def counted(self, module, launches):
        made = prepare(self, module, launches)
        run = made.run
        seen["prepare"].append(len(launches))
        made.run = lambda *how: seen["run"].append(1) or run(*how)
        return made

    monkeypatch.setattr(kind, "prepare", counted)
    monkeypatch.setattr(kind, "read", lambda self, at, array: seen["read"].append(array.nbytes) or read(self, at, array))
    return seen


@WHERE
@pytest.mark.parametrize("rows", [20, 22])
def test_steps_are_as_many_calls(device, rows):
    """Over the data set more than once, the last batch whole or short."""
    one, w, index = learning(device, rows=rows)
    many, v, place = learning(device, 7, rows=rows)
    for _ in range(3):
        single = [one() for _ in range(7)]
        costs, weights = many()
        assert costs.shape == (7,) and weights.shape == (7, 3) and costs.dtype == weights.dtype == np.float32
        np.testing.assert_array_equal(costs, [c for c, _ in single])
        np.testing.assert_array_equal(weights, [w for _, w in single])
        np.testing.assert_array_equal(v.get_value(), w.get_value())
        assert int(place.get_value()) == int(index.get_value())


@pytest.mark.emulator
def test_steps_on_a_device_are_one_run_and_one_read(work):
    f, w, index = learning("cuda-emulator", 4, rows=20)
    f()
    for seen in work.values():
        seen.clear()
    for _ in range(3):
        f()
    assert not work["prepare"] and len(work["run"]) == 3, "prepared once, run once a call"
    assert len(work["read"]) == 3, "and read once: the number of the batch is known without"
    assert "index" not in "".join(line for line in str(f.explain()).splitlines() if "each call" in line)
    assert w.container.resident.ahead and int(index.get_value()) == 0 and len(work["read"]) == 3
    one, _, index = learning("cuda-emulator", rows=20)
    one()
    work["read"].clear()
    assert one() and one() and len(work["read"]) == 2 and int(index.get_value()) == 3, "so it is for single steps"
    index.set_value(1)
    again, _, other = learning("cuda-emulator", rows=20)
    other.set_value(1)
    assert int(index.get_value()) == 1 and one()[0].shape == again()[0].shape and int(index.get_value()) == 2


@WHERE
def test_inputs_stay_and_updates_go_on(device):
    x, total = T.vector("x"), exprc.shared(np.zeros(3, "float32"))
    f = exprc.function([x], {"sum": total.sum(), "none": x[:0]}, updates={total: total + x}, device=device, steps=3)
    got = f([1, 2, 3])
    assert got["sum"].tolist() == [0, 6, 12] and got["none"].shape == (3, 0) and total.get_value().tolist() == [3, 6, 9]
    for g in (f.copy(), pickle.loads(pickle.dumps(f))):
        assert g([1, 2, 3])["sum"].shape == (3,)
    single = exprc.function([x], x + 1, device=device, steps=1)
    assert single(np.ones(2, "float32")).tolist() == [[2, 2]]


@WHERE
def test_steps_that_the_host_takes_part_in(device):
    """Sorting, a state of the function's own, a variable whose length changes, sizes that the data decide."""
    x, count = T.vector("x"), T.scalar("count")
    w = exprc.shared(np.float32([3, 1, 2]))
    f = exprc.function([x], T.sort(w), updates={w: w * x}, device=device, steps=2)
    assert f([1, -1, 1]).tolist() == [[1, 2, 3], [-1, 2, 3]]
    g = exprc.function([x, exprc.In(count, value=0, update=count + x.sum())], count, device=device, steps=3)
    assert g([1, 1]).tolist() == [0, 2, 4] and g([1, 1]).tolist() == [6, 8, 10]
    v = exprc.shared(np.zeros(1, "float32"), shape=(None,))
    h = exprc.function([x], v.sum(), updates={v: T.concatenate([v, x])}, device=device, steps=3)
    assert h([1, 2]).tolist() == [0, 3, 6] and v.get_value().shape == (7,)
    with pytest.raises(ValueError, match=r"an output has other shapes in other steps: \(7,\) and \(8,\)\n  return only"):
        exprc.function([], v * 1, updates={v: T.concatenate([v, v[:1]])}, device=device, steps=2)()
    n = exprc.shared(1)
    k = exprc.function([x], x[:n].sum(), updates={n: n + x[0].astype("int64")}, device=device, steps=3)
    assert k([1, 2, 3]).tolist() == [1, 3, 6]


@WHERE
def test_an_index_out_of_bounds_in_a_later_step_changes_nothing(device):
    at, w = exprc.shared(0, name="at"), exprc.shared(np.zeros(3, "float32"), name="w")
    f = exprc.function([], w[at], updates={at: at + 1, w: w + 1}, device=device, steps=3)
    assert f().tolist() == [0, 1, 2] and int(at.get_value()) == 3
    with pytest.raises(IndexError, match=r"index 3 is out of bounds for an axis of length 3(.|\n)*no variable was updated"):
        f()
    at.set_value(1)
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        f()
    assert int(at.get_value()) == 1 and w.get_value().tolist() == [3] * 3
    at.set_value(0)
    assert f().tolist() == [3, 4, 5]


@pytest.mark.emulator
def test_outputs_that_stay_have_the_axis_too():
    x, w = T.vector("x"), exprc.shared(np.zeros((), "float32"))
    for n in (3, 20_000):
        f = exprc.function([x], [exprc.Out(x + w, return_internal_type=True), x * w], updates={w: w + 1}, device="cuda-emulator", steps=3)
        with exprc.config.override(emulator="check"):
            w.set_value(np.float32(0))
            left, read = f(np.ones(n, "float32"))
        assert isinstance(left, DeviceArray) and left.shape == (3, n)
        np.testing.assert_array_equal(left.get(), np.broadcast_to(np.float32([[1], [2], [3]]), (3, n)))
        np.testing.assert_array_equal(read, np.broadcast_to(np.float32([[0], [1], [2]]), (3, n)))


@WHERE
def test_random_draws_are_those_of_as_many_calls(device):
    def drawing(steps=None):
        streams = T.random.RandomStreams(3)
        return exprc.function([], streams.uniform((2, 3)), device=device, steps=steps)

    one = drawing()
    np.testing.assert_array_equal(drawing(3)(), [one() for _ in range(3)])


def test_no_number_of_steps():
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match=f"steps is {wrong}: it must be a number of steps, at least 1"):
            exprc.function([], T.constant(1.0) + 1, steps=wrong)
