"""The road to a GPU: the same graphs on ``cuda-emulator`` as on the CPU."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import exprc
import exprc.compiled
import exprc.tensor as T
from exprc.config import Config
from exprc.errors import DeviceError
from exprc.ops import CATALOGUE
from exprc.runtime.devices import open_device

pytestmark = pytest.mark.emulator

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


def test_of_several_devices_the_first_that_is_there_is_taken():
    x = T.vector("x")
    f = exprc.function([x], x * 2, device="cuda9,cuda-emulator,cpu")
    assert f.device == ON and f([1.5]).tolist() == [3.0]
    g = exprc.function([x], x * 2, device="cuda9,cpu")
    assert g.device == "cpu" and g([1.5]).tolist() == [3.0]
    with pytest.raises(DeviceError):
        exprc.function([x], x * 2, device="cuda9")
    with pytest.raises(ValueError, match="config.device: 'gpu' is none of cpu, cuda"):
        exprc.config.device = "gpu"


def test_a_list_of_devices_in_the_flags():
    made = Config("device=cuda,cpu,floatX=float64")
    assert made.device == "cuda,cpu" and made.floatX == "float64"


def test_copies_and_pickles_keep_the_device():
    x, w = T.vector("x"), exprc.shared(np.ones(3, "float32"), name="w")
    f = exprc.function([x], (x * w).sum(), updates={w: w + 1}, device=ON)
    f(np.ones(3, "float32"))
    g, h = f.copy(), pickle.loads(pickle.dumps(f))
    assert g.device == h.device == ON
    assert float(h(np.ones(3, "float32"))) == 6.0, "the pickle had the value from the device"
    assert float(g(np.ones(3, "float32"))) == 6.0 and w.get_value().tolist() == [3.0] * 3


def test_values_of_other_shapes_are_replaced():
    w, x = exprc.shared(np.zeros(2, "float32"), name="w", shape=(None,)), T.vector("x")
    f = exprc.function([x], w.sum(), updates={w: T.concatenate([w, x])}, device=ON)
    for k in range(5):
        f(np.full(k % 3, 1, "float32"))
    assert w.get_value().tolist() == [0, 0, 1, 1, 1, 1]
    w.set_value(np.full(4, 2, "float32"))
    assert float(f(np.ones(1, "float32"))) == 8.0 and w.get_value().shape == (5,)


def test_threads_call_a_function_of_one_device():
    x, w = T.matrix("x"), exprc.shared(np.float32(0), name="w")
    f = exprc.function([x], T.softmax(x).sum(0), updates={w: w + 1}, device=ON)
    g = exprc.function([x], T.softmax(x).sum(0), device=ON)
    values = [RNG.standard_normal((5, k + 2)).astype("float32") for k in range(8)]
    wanted = [g(v) for v in values]
    with ThreadPoolExecutor(4) as pool:
        for call in (f, g):
            assert all(np.array_equal(a, b) for a, b in zip(pool.map(call, values), wanted))
    assert float(w.get_value()) == 8


def test_the_profile_of_a_device_has_its_kernels():
    x, w, seen = T.matrix("x"), exprc.shared(RNG.standard_normal((50, 20)).astype("float32"), name="w"), exprc.shared(0)
    y = T.softmax(T.dot(x, w))
    i = T.lvector("i")
    f = exprc.function([x, i], y[i].sum(), updates={w: w + y.sum(), seen: seen + 1}, device=ON)
    value, before = RNG.standard_normal((30, 50)).astype("float32"), w.get_value()
    made = f.profile(value, [0, 29], calls=2)
    assert {row.name for row in made.rows} == {step.name for step in f._loaded().lowered.steps} and len(made.rows) > 1
    assert all(row.seconds > 0 and row.moved > 0 for row in made.rows) and sum(row.share for row in made.rows) == pytest.approx(1)
    assert max(row.operations for row in made.rows) == 2 * 30 * 50 * 20
    assert "test_road.py:" in made and f"on {ON}, arena" in made and "GFLOP/s" in made
    assert (w.get_value() == before).all() and int(seen.get_value()) == 0, "variables keep their values"
    assert "as f.profile() measured it" in f.explain().html
    assert float(f(value, [0, 29])) > 0
    cut = exprc.function([x], T.sort(x * 2).sum(), device=ON).profile(value, calls=1)
    assert len(cut.rows) >= 2 and f"on {ON}" in cut


def test_long_rows_of_their_own_group_do_without_shared_memory():
    """Eight rows of 500 doubles that nothing else needs would take more shared memory than a block has."""
    x = T.dmatrix("x")
    rows = [T.exp(x / (k + 1)) for k in range(8)]
    total = sum(r.sum(1, keepdims=True) for r in rows[1:]) + rows[0].sum(1, keepdims=True)
    both([x], [r / total for r in rows], RNG.standard_normal((9, 500)), tolerance=1e-12)


def test_half_numbers_and_small_integers():
    x, i, b = T.matrix("x", dtype="float16"), T.matrix("i", dtype="int8"), T.matrix("b", dtype="bool")
    value, whole = RNG.standard_normal((5, 7)).astype("float16"), RNG.integers(-128, 127, (5, 7)).astype("int8")
    outputs = [x.sum(1), T.exp(x), T.softmax(x), (i * i).sum(0), i.max(1), b.all(1), b.any(0), (b & (i > 0)).sum(), x.argmax(0), i.prod()]
    both([x, i, b], outputs, value, whole, whole > 0, tolerance=2e-3)


def test_memory_that_runs_out_is_told_with_the_users_lines(monkeypatch):
    """Every piece of memory says what it is for; a device that has no more names the largest (tests.cuda.test_driver)."""
    told = []
    device = open_device(ON)
    allocate = device.allocate
    monkeypatch.setattr(type(device), "allocate", lambda self, nbytes, label="": told.append(label) or allocate(nbytes, label))
    x, w = T.matrix("x"), exprc.shared(np.ones((4, 4), "float32"), name="weights")
    f = exprc.function([x], T.dot(T.exp(T.dot(x, w)), w).sum(), device=ON)
    f(np.ones((3, 4), "float32"))
    assert any(label.startswith("weights made at test_road.py:") for label in told)
    assert any(label.startswith("x made at test_road.py:") for label in told)
    assert any(label.startswith("working memory: ") and "made at test_road.py:" in label and "bytes" in label for label in told)


def test_an_index_that_a_team_works_out_is_checked_for_no_team_beyond_the_last():
    """One minimum takes 8 of 256 threads; the start of a minimum, 2**63 - 1, is no index of the others."""
    x, k = T.matrix("x"), T.lvector("k")
    both([x, k], [x[k.min()], x[k.reshape((3, 8)).max(1)]], RNG.standard_normal((9, 7)), RNG.integers(-9, 9, 24))


def test_the_page_of_a_function_shows_its_kernels_and_its_copies():
    x, w = T.matrix("x"), exprc.shared(np.ones((5, 3), "float32"), name="w")
    f = exprc.function([x], T.softmax(T.dot(x, w)).sum(1), updates={w: 2 * w}, device=ON)
    f(np.ones((4, 5), "float32"))
    page = f.explain().html
    assert "runs on cuda-emulator" in page and "host → cuda-emulator" in page and "kernels/cuda/gemm.cuh" in page
    assert "here stands kernels/cuda/gemm.cuh and kernels/cuda/product.cuh" in page and page.count("EXPRC_KERNEL") >= 2
    assert "lines of CUDA" in f.explain() and "CUDA on cuda-emulator" in f._repr_html_()


def test_an_operation_without_a_kernel_for_the_device_is_named():
    """Never computed elsewhere unasked: the error says which operation, what of, and where it was made."""
    gemm = CATALOGUE["gemm"]
    all_of_them = gemm.implementations
    object.__setattr__(gemm, "implementations", tuple(i for i in all_of_them if i.device == "cpu"))
    try:
        x = T.matrix("x", shape=(2, 3))
        text = r"gemm: no kernel serves float32 .* on cuda\n  node .*test_road.py:\d+\n  device='cpu' computes it"
        with pytest.raises(NotImplementedError, match=text):
            exprc.function([x], T.dot(x, x.T), device=ON)
    finally:
        object.__setattr__(gemm, "implementations", all_of_them)


def test_a_variable_of_one_element_stays_on_the_device_too():
    """A counter of steps; only one that a size follows from is read before each call."""
    steps, rows, x = exprc.shared(np.float32(0), name="steps"), exprc.shared(2, name="rows"), T.matrix("x")
    f = exprc.function([x], [], updates={steps: steps + x.sum()}, device=ON)
    for _ in range(3):
        f(np.ones((2, 2), "float32"))
        assert steps.container.resident.ahead, "nobody asked for it"
    assert float(steps.get_value()) == 12.0
    g = exprc.function([x], x[:rows].sum(), updates={rows: rows + 1}, device=ON)
    assert [float(g(np.ones((5, 2), "float32"))) for _ in range(4)] == [4.0, 6.0, 8.0, 10.0]


def test_what_was_written_to_borrowed_storage_is_seen():
    """Once the storage is let go of, and while a view of it is not."""
    w = exprc.shared(np.zeros(3, "float32"))
    f = exprc.function([], w * 1, device=ON)
    f()
    w.get_value(borrow=True)[...] = 5
    assert f().tolist() == [5, 5, 5] == w.get_value().tolist()
    base = np.zeros(6, "float32")
    v = exprc.shared(base[:3], borrow=True)
    g = exprc.function([], v * 1, device=ON)
    g()
    base[:] = 7
    assert g().tolist() == [7, 7, 7]


def test_launches_of_other_sizes_are_not_taken_for_these():
    """With k of 0 or 10, one of two kernels has nothing to do."""
    x, k = T.vector("x"), T.lscalar("k")
    f = exprc.function([x, k], [x[:k] * 2, x[k:] * 3], device=ON)
    value = RNG.standard_normal(10).astype("float32")
    for n in (2, 3, 4, 5, 6, 7, 0, 10, 0, 10, 5):
        head, rest = f(value, n)
        np.testing.assert_array_equal(head, value[:n] * 2)
        np.testing.assert_array_equal(rest, value[n:] * np.float32(3))


def _each_call(f):
    return [line for line in str(f.explain()).splitlines() if "each call" in line]


def test_a_variable_that_is_written_and_not_read_stays_on_the_device():
    x, best = T.matrix("x"), exprc.shared(np.zeros(3, "float32"), name="best")
    seen = exprc.shared(np.zeros((0, 3), "float32"), shape=(None, 3))
    f = exprc.function([x], [], updates={best: x.max(0), seen: 2 * x}, device=ON)
    for rows in (2, 2, 5, 2):
        value = RNG.standard_normal((rows, 3)).astype("float32")
        f(value)
        assert best.container.resident.ahead and seen.container.resident.ahead, "nothing came back"
    assert [line.split()[2] for line in _each_call(f)] == ["host"], "only x is copied"
    np.testing.assert_array_equal(best.get_value(), value.max(0))
    np.testing.assert_array_equal(seen.get_value(), 2 * value)
    g = exprc.function([], [best * 1, seen.sum(0)], device=ON)
    np.testing.assert_allclose(g()[1], 2 * value.sum(0), rtol=1e-6)


def test_a_variable_that_is_written_and_not_read_keeps_its_storage():
    """So that what `get_value(borrow=True)` gave shows the updates, as it does where the variable is read, too."""
    x, v = T.vector("x", shape=(3,)), exprc.shared(np.zeros(3, "float32"))
    lent = v.get_value(borrow=True)
    for device in ("cpu", ON):
        f = exprc.function([x], [], updates={v: x + 1}, device=device)
        f(np.full(3, len(device), "float32"))
        assert lent.tolist() == [len(device) + 1.0] * 3
    i = T.lvector("i")
    g = exprc.function([x, i], [], updates={v: x[i]}, device="cpu")
    with pytest.raises(IndexError, match="no variable was updated"):
        g(np.ones(3, "float32"), [0, 1, 3])
    assert v.get_value().tolist() == [len(ON) + 1.0] * 3


def test_a_variable_that_gets_another_shape_during_a_call_is_bound_again(monkeypatch):
    """Another thread sets it between the choice of a program and the binding of its memory."""
    w = exprc.shared(np.ones((4, 6), "float32"), name="w", shape=(None, None))
    f = exprc.function([], [w.sum(0), w.sum()], device=ON)
    f()
    choose, turns = exprc.compiled.Compiled.runner, iter([(6, 4), (5, 5), (2, 3)])

    def chosen(self, signature):
        found, shape = choose(self, signature), next(turns, None)
        if shape is not None:
            w.set_value(np.full(shape, 2, "float32"))
        return found

    monkeypatch.setattr(exprc.compiled.Compiled, "runner", chosen)
    columns, total = f()
    assert columns.tolist() == [4, 4, 4] and float(total) == 12.0
    turns = iter([(k, 1) for k in range(1, 1000)])
    with pytest.raises(ValueError, match="gets other shapes faster than programs are chosen(.|\n)*hold a lock of your own"):
        f()


def test_shapes_that_change_in_another_thread_never_mix():
    w = exprc.shared(np.zeros(1, "float32"), shape=(None,))
    f = exprc.function([], w.sum() / w.shape[0], device=ON)
    stop = []

    def setting():
        while not stop:
            for n in (3, 70, 1):
                w.set_value(np.full(n, 1, "float32"))

    w.set_value(np.ones(3, "float32"))
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(setting)
            assert all(float(f()) == 1.0 for _ in range(60))
        finally:
            stop.append(True)


def test_subnormal_numbers_count_as_zero_where_that_is_asked_for():
    x = T.vector("x")
    tiny = np.float32([1e-40, -1e-40, 1.0])
    for flush, expected in ((False, 2 * tiny), (True, np.float32([0, 0, 2]))):
        with exprc.config.override(flush_subnormals=flush):
            f = exprc.function([x], x * 2, device=ON)
        np.testing.assert_array_equal(f(tiny), expected)
        np.testing.assert_array_equal(np.float32(tiny) + np.float32(0), tiny, "the mode of the process is as before")
