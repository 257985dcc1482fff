"""The short way to a GPU, on the fake driver and on a GPU: the values of the general way, and its errors; refused where it must be."""

from __future__ import annotations

import pytest

from exprc.runtime import direct
from tests.cuda import fake_driver

pytestmark = [
    pytest.mark.skipif(fake_driver.pycuda_library() is None, reason=fake_driver.NO_PYCUDA),
    pytest.mark.skipif(not direct._works(), reason="the short way is for CPython on Linux; elsewhere calls go the general way"),
]

#: A step that takes the next batch of a data set that lives on the device, and counts it; whether a call went the short way.
LEARNING = """
import exprc, exprc.tensor as T
from exprc.shorts import general
from exprc.runtime.device_arrays import DeviceArray

rng = np.random.default_rng(0)
DATA, LABELS = rng.standard_normal((25, 3)).astype("float32"), rng.integers(0, 4, 25).astype("int32")

def learning(device, steps=None, rows=22, batch=5, given=False):
    data, labels = exprc.shared(DATA[:rows], name="data"), exprc.shared(LABELS[:rows], name="labels")
    index = T.lscalar("index") if given else exprc.shared(0, name="index")
    w, x, y = exprc.shared(np.zeros((3, 4), "float32"), name="w"), T.matrix("x"), T.ivector("y")
    cost = T.categorical_crossentropy(T.softmax(x @ w), y).mean()
    updates = {w: w - 0.1 * exprc.grad(cost, w), **({} if given else {index: (index + 1) % -(-rows // batch)})}
    here = slice(index * batch, (index + 1) * batch)
    f = exprc.function([index] if given else [], [cost, w * 1], updates, {x: data[here], y: labels[here]}, device=device, steps=steps)
    return f, w, index, labels

def short(f):
    "The ways that calls of a function go from now on: True for a short one."
    shorts, taken = f._shorts, []
    call = shorts.call
    def seen(*values):
        made = call(*values)
        taken.append(made is not NotImplemented)
        return made
    shorts.call = seen
    return taken

def same(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape and type(x) is type(y), (x, y)
        np.testing.assert_array_equal(x, y)
"""


def test_a_step_on_resident_data_by_a_number_that_it_counts_itself(ran):
    ran(
        LEARNING
        + """
for rows in (20, 22):
    f, w, index, _ = learning("cuda", rows=rows)
    g, v, place, _ = learning("cuda", rows=rows)
    g._shorts = None
    for _ in range(12):
        same(f(), g())
    taken = short(f)
    for k in range(12):
        same(f(), g())
        assert int(index.get_value()) == int(place.get_value())
    np.testing.assert_array_equal(w.get_value(), v.get_value())
    assert taken == [True] * 12, taken
    w.set_value(v.get_value() * 2), v.set_value(v.get_value() * 2)
    index.set_value(1), place.set_value(1)
    del taken[:]
    for _ in range(3):
        same(f(), g())
    assert taken == [False, True, True], taken
    held = w.get_value(borrow=True)
    for _ in range(2):
        same(f(), g())
        np.testing.assert_array_equal(held, v.get_value())
    assert taken[3:] == [False, False], taken
    del held
    for _ in range(3):
        same(f(), g())
    assert taken[-1]
"""
    )


def test_a_step_on_resident_data_by_a_number_that_is_given(ran):
    ran(
        LEARNING
        + """
f, w, *_ = learning("cuda", given=True)
g, v, *_ = learning("cuda", given=True)
g._shorts = None
for k in [0, 1, 2, 3, 4] * 2:
    same(f(k), g(k))
taken = short(f)
for k in (3, np.array(4), 0, np.array(1)):
    same(f(k), g(k))
assert taken == [True] * 4, taken
for k in (np.int64(2), np.array(1, "int32"), np.array(1, "uint8"), [], True, 2.0):
    results = []
    for one in (f, g):
        try: results.append(one(k))
        except TypeError as error: results.append(str(error))
    assert results[0] == results[1] if isinstance(results[0], str) else same(*results) is None
for refused in ((), (1, 2), ("a",), (np.array([1]),)):
    try: f(*refused)
    except TypeError: pass
    else: assert False, refused
f.trust_input = True
try: f(1)
except TypeError as error: assert "with trust_input" in str(error)
else: assert False
same(f(np.array(2)), g(2))
"""
    )


def test_several_steps_a_call(ran):
    ran(
        LEARNING
        + """
f, w, *_ = learning("cuda", steps=10, rows=25)
g, v, *_ = learning("cuda", steps=10, rows=25)
g._shorts = None
for _ in range(2):
    same(f(), g())
taken = short(f)
for _ in range(3):
    same(f(), g())
assert taken == [True] * 3 and f()[0].shape == (10,), taken
assert "sizes" in str(f.explain())
h, *_ = learning("cuda", steps=4, rows=22)  # the last batch is another program: the host is between
plain, *_ = learning("cuda", rows=22)
for _ in range(6):
    costs, ws = h()
    single = [plain() for _ in range(4)]
    same([costs, ws], [np.array([c for c, _ in single]), np.array([w for _, w in single])])
"""
    )


def test_arrays_of_the_host_and_results_of_any_size(ran):
    ran(
        """
import exprc, exprc.tensor as T
from exprc.runtime.device_arrays import DeviceArray
x, y, n = T.matrix("x"), T.vector("y", dtype="int8"), T.scalar("n", dtype="float64")
f = exprc.function([x, y, n], [x * 2, y.sum(), (x.sum(0) + n).astype("float64"), x[:0], y[::-1]], device="cuda")
def values(rows, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 7)).astype("f"), rng.integers(-9, 9, rows).astype("int8"), np.asarray(rng.standard_normal())
for rows in (3, 30000, 1):
    for k in range(6):
        a, b, c = values(rows, k)
        got = f(a, b, c)
        a, b, c = a.copy(), b.copy(), c.copy()
        want = [a * 2, b.sum(dtype="int64"), a.sum(0, dtype="float64") + c, a[:0], b[::-1]]
        for g, w in zip(got, want, strict=True):
            assert g.shape == w.shape and g.flags.owndata and g.flags.writeable
            np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-3)
    call = f._shorts.call
    assert call(a, b, c) is not NotImplemented
    assert call(a.astype("d"), b, c) is NotImplemented and call(a[:, ::-1], b, c) is NotImplemented and call(a, b) is NotImplemented
    assert call(a.tolist(), b, c) is NotImplemented and call(a, b, float(c)) is NotImplemented
results = [f(a, b, c)[0] for _ in range(20)]
assert len({r.ctypes.data for r in results}) == 20
update = exprc.function([], updates={(w := exprc.shared(np.zeros(5, "f"))): w + 1}, device="cuda")
for k in range(100):
    assert update() is None
assert w.container.resident.ahead and (w.get_value() == 100).all()
add = exprc.function([y], updates={w: w + y.sum()}, device="cuda")  # nothing is read: calls need not wait for each other
for k in range(100):
    b = np.full(4, k % 5, "int8")
    add(b)
    b[:] = 99
assert (w.get_value() == 100 + 800).all(), w.get_value()
"""
    )


def test_an_index_out_of_bounds_is_told_and_nothing_updated(ran):
    ran(
        """
import exprc, exprc.tensor as T
k, w, n = T.lvector("k"), exprc.shared(np.zeros(4, "f"), name="w"), exprc.shared(0)
f = exprc.function([k], w.sum(), updates={w: T.inc_subtensor(w[k], 1), n: n + 1}, device="cuda")
good = np.array([0, 3])
for _ in range(4):
    f(good)
assert f._shorts.call(good) is not NotImplemented
for bad in (4, 100, -5):
    try: f(np.array([1, bad]))
    except IndexError as error: assert f"index {bad} is out of bounds for an axis of length 4" in str(error), error
    else: assert False
assert w.get_value().tolist() == [5, 0, 0, 5] and int(n.get_value()) == 5
f(good)
assert f._shorts.call(good) is not NotImplemented and w.get_value().tolist() == [7, 0, 0, 7]

x = T.vector("x")
g = exprc.function([x, k], x[k], device="cuda")  # nothing is updated: the kernel looks itself
a = np.arange(4, dtype="f")
for _ in range(3):
    g(a, good)
assert g._shorts.call(a, good).tolist() == [0, 3]
try: g(a, np.array([0, 4]))
except IndexError as error: assert "index 4 is out of bounds for an axis of length 4" in str(error)
else: assert False
for _ in range(2):
    g(a, good)
assert g._shorts.call(a, good).tolist() == [0, 3]

rows = exprc.shared(np.array([0, 1, 1]), name="rows")  # indices that are a variable are looked at when it has changed
h = exprc.function([], w.sum(), updates={w: T.inc_subtensor(w[rows], 1)}, device="cuda")
for _ in range(4):
    h()
assert h._shorts.call() is not NotImplemented
before = w.get_value()
rows.set_value(np.array([0, 1, 9]))
for _ in range(2):
    try: h()
    except IndexError as error: assert "index 9 is out of bounds" in str(error)
    else: assert False
assert (w.get_value() == before).all()
rows.set_value(np.array([2, 2, 2]))
for _ in range(3):
    h()
assert h._shorts.call() is not NotImplemented and (w.get_value() == before + [0, 0, 12, 0]).all()
"""
    )


def test_a_call_that_only_updates_does_not_wait(faked):
    """Its indices were looked at before: nothing needs to be read."""
    faked(
        LEARNING
        + """
k, x, w = T.lvector("k"), T.vector("x"), exprc.shared(np.zeros(4, "f"), name="w")
f = exprc.function([k, x], None, {w: T.inc_subtensor(w[k], x)}, device="cuda")
places, values = np.array([0, 3, 3]), np.array([1, 2, 3], "f")
for _ in range(3):
    f(places, values)
assert f._compiled.last.plan.checks
taken = short(f)
os.environ["FAKE_FAIL"] = "cuStreamSynchronize=801"
for n in range(20):
    places, values = np.array([n % 4, 3, -1]), np.array([1, 2, 3], "f")
    f(places, values)
    places[:], values[:] = 99, 99
os.environ["FAKE_FAIL"] = ""
assert taken == [True] * 20, taken
assert w.get_value().tolist() == [3 + 5, 5, 5, 15 + 5 + 100], w.get_value()
try: f(np.array([0, 1, 4]), values)
except IndexError as error: assert "index 4 is out of bounds for an axis of length 4" in str(error), error
else: assert False
assert w.get_value().tolist() == [8, 5, 5, 120]
"""
    )


def test_threads_and_values_that_are_set_meanwhile(ran):
    ran(
        LEARNING
        + """
import threading
from concurrent.futures import ThreadPoolExecutor
x, w, total = T.vector("x"), exprc.shared(np.zeros(8, "f"), name="w"), exprc.shared(0)
f = exprc.function([x], w + x, updates={w: w + 1, total: total + 1}, device="cuda")
g = exprc.function([x], (x * 2).sum(), device="cuda")
a = np.arange(8, dtype="f")
for _ in range(3):
    f(a), g(a)
def work(k):
    for _ in range(50):
        made = f(a) - a
        assert (made == made[0]).all()
        assert g(a) == 56
        if k == 0:
            w.set_value(w.get_value() * 0)
        values = w.get_value()
        assert (values == values[0]).all()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(4)))
assert int(total.get_value()) == 203
"""
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("cuCtxPushCurrent", "the GPU cannot be used: "),
        ("cuMemcpyHtoDAsync", "a copy to the GPU failed: "),
        ("cuGraphLaunch", "a GPU program cannot be started: "),
        ("cuMemcpyDtoHAsync", "a copy from the GPU failed: "),
        ("cuStreamSynchronize", "a copy from the GPU failed: "),
    ],
)
def test_what_the_driver_says_is_told(faked, call, text):
    faked(
        f"""
import exprc, exprc.tensor as T
x, w = T.vector("x"), exprc.shared(np.zeros(3, "f"))
f = exprc.function([x], (x + w).sum(), updates={{w: w + x}}, device="cuda")
a = np.ones(3, "f")
for _ in range(3):
    f(a)
assert f._shorts.call(a) is not NotImplemented
os.environ["FAKE_FAIL"] = "{call}=801"
try: f._shorts.call(a)
except Exception as error: assert str(error).startswith({text!r}) and "CUDA_ERROR_NOT_SUPPORTED, 801" in str(error), error
else: assert False
os.environ["FAKE_FAIL"] = ""
assert f(a).shape == () and f._shorts.call(a) is not NotImplemented  # the error was not one of those that stay
os.environ["FAKE_FAIL"] = "{call}=719"
texts = []
for call in (lambda: f._shorts.call(a), lambda: f(a), w.get_value):
    try: call()
    except exprc.errors.DeviceError as error: texts.append(str(error))
assert len(texts) == 3 and len(set(texts)) == 1 and "the kernels that ran last are" in texts[0], texts
""",
        clean=False,
    )


def test_other_libraries_and_what_they_hold(ran):
    ran(
        """
import exprc, exprc.tensor as T
x = T.vector("x")
f = exprc.function([x], exprc.Out(x * 2, return_internal_type=True), device="cuda")
g = exprc.function([x], (x * 3).sum(), device="cuda")
a = np.ones(4, "f")
for _ in range(3):
    kept = f(a)
    g(a)
assert f._shorts.call(a) is NotImplemented  # what stays on the device is made the general way
assert g._shorts.call(a) == 12
held = kept.__dlpack__()
assert g._shorts.call(a) is NotImplemented and g(a) == 12  # work is done in turn with others
del held, kept
g(a)
assert g(a) == 12 and g._shorts.call(a) == 12
assert g._shorts.call(f(a)) is NotImplemented and g(f(a)) == 24
"""
    )


def test_memory_that_is_kept_ready_is_given_back(faked):
    faked(
        """
import exprc, exprc.tensor as T
x = T.vector("x")
f = exprc.function([x], (x * 2).sum(), device="cuda")
g = exprc.function([x], T.cumsum(x).sum(), device="cuda")
a = np.ones(1 << 19, "f")
for _ in range(3):
    f(a), g(a)
assert f._shorts.call(a) == 1 << 20
device = open_device("cuda")
device._tidy()  # as where memory ran out
assert f._shorts.call(a) is NotImplemented and not device._pinned
for _ in range(3):
    assert f(a) == 1 << 20
assert f._shorts.call(a) == 1 << 20
""",
    )
