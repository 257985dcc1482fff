"""Arrays that stay on a device: what functions return and take there, values of variables, and what other libraries are given."""

import copy
import gc
import pickle

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.device import DeviceArray
from exprc.runtime.device_arrays import on_device, taken
from exprc.runtime.devices import open_device

pytestmark = pytest.mark.emulator

ON = "cuda-emulator"
RNG = np.random.default_rng(0)
DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"]


def there(value):
    """An array on the emulator."""
    device = open_device(ON)
    memory = device.allocate(max(value.nbytes, 1))
    device.write(memory.address, value)
    return DeviceArray(device, memory, memory.address, value.shape, value.dtype)


def copies(f):
    return [" ".join(line.split()[4:] if "→" in line else []) for line in str(f.explain()).splitlines() if "each call" in line]


@pytest.fixture
def moved(monkeypatch):
    """The bytes that are read from, and written to, the device."""
    seen = {"read": [], "write": []}
    kind = type(open_device(ON))
    for name in seen:
        plain = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda s, at, a, plain=plain, name=name: seen[name].append(a.nbytes) or plain(s, at, a))
    return seen


def test_an_output_that_stays_is_an_input_of_the_next(moved):
    x = T.matrix("x")
    f = exprc.function([x], [exprc.Out(T.exp(x), return_internal_type=True), x.sum()], device=ON)
    g = exprc.function([x], x.sum(1), device=ON)
    value = RNG.standard_normal((4, 5)).astype("float32")
    left, total = f(value)
    assert isinstance(left, DeviceArray) and isinstance(total, np.ndarray) and moved["read"] == [4]
    assert (left.shape, left.dtype, left.device, left.ndim, left.nbytes, len(left)) == ((4, 5), np.float32, ON, 2, 80, 4)
    g(value)
    moved["read"].clear(), moved["write"].clear()
    got = g(left)
    assert moved["read"] == [16] and not moved["write"], "nothing but the result went through the host"
    np.testing.assert_allclose(got, np.exp(value).sum(1), rtol=1e-6)
    assert not any("x" in line.split() for line in copies(g))
    np.testing.assert_allclose(np.asarray(left), np.exp(value), rtol=1e-6)
    again, _ = f(2 * value)
    np.testing.assert_allclose(left.get(), np.exp(value), rtol=1e-6, err_msg="every call returns an array of its own")
    assert "DeviceArray((4, 5), float32, on cuda-emulator)" == repr(again)
    assert isinstance(exprc.function([x], exprc.Out(x + 1, return_internal_type=True))(value), np.ndarray), "on the CPU"


def test_copies_and_cut_functions_keep_what_stays():
    x, w = T.vector("x"), exprc.shared(np.zeros(3, "float32"))
    outputs = {"whole": exprc.Out(T.sort(x) * 2, return_internal_type=True), "total": x.sum()}
    f = exprc.function([x], outputs, updates={w: w + 1}, device=ON)
    for one in (f, f.copy()):
        got = one(np.float32([3, 1, 2]))
        assert isinstance(got["whole"], DeviceArray) and got["whole"].get().tolist() == [2, 4, 6] and float(got["total"]) == 6
    assert w.get_value().tolist() == [2, 2, 2]


def test_memory_of_what_stays_is_used_again_when_nobody_has_it():
    x = T.vector("x")
    f = exprc.function([x], exprc.Out(x * 2, return_internal_type=True), device=ON)
    kept, dropped = f([1, 2]), f([3, 4])
    first = dropped.address
    del dropped
    assert f([5, 6]).address == first, "let go of, it is there for the next call"
    other = f([7, 8])
    assert other.address == first and kept.address != first and kept.get().tolist() == [2, 4], "held, it is not"
    view = np.from_dlpack(other)
    del other
    assert view.tolist() == [14, 16] and f([9, 9]).address != first, "what another library has is not"
    del view
    assert f([9, 9]).address != first, "and is not trusted to be at rest when that lets go of it"
    longer = f([1, 2, 3])
    assert longer.get().tolist() == [2, 4, 6] and f([1, 2]).get().tolist() == [2, 4]


def test_memory_that_waits_is_given_back_where_there_is_no_other(monkeypatch):
    x = T.vector("x")
    f = exprc.function([x], exprc.Out(x * 2, return_internal_type=True), device=ON)
    f([1, 2])
    waiting = f._compiled.last.program.spare.waiting.free
    assert [piece.nbytes for piece in waiting] == [8]
    f._compiled.last.program.spare.give_back()
    assert not waiting and f([3, 4]).get().tolist() == [6, 8]


def test_a_state_stays_on_the_device(moved):
    x, total, seen = T.vector("x"), T.vector("total"), T.lscalar("seen")
    sums = exprc.In(total, value=np.zeros(3, "float32"), update=total + x, name="total")
    f = exprc.function([x, sums, exprc.In(seen, value=0, update=seen + 1, name="seen")], (total * seen).sum(), device=ON)
    value = np.float32([1, 2, 3])
    assert [float(f(value)) for _ in range(3)] == [0, 6, 24]
    moved["read"].clear(), moved["write"].clear()
    assert float(f(value)) == 54 and max(moved["read"]) <= 128
    assert sorted(moved["write"]) == [8, 12], "x, and the number: sizes may follow from it"
    assert not any("total" in line.split() for line in copies(f)), copies(f)
    assert f["total"].tolist() == [4, 8, 12] and f["seen"] == 4
    f["total"] = [1, 1, 1]
    assert float(f(value)) == 12 and f["total"].tolist() == [2, 3, 4]
    assert float(f(value, [0, 0, 1])) == 5 and f["total"].tolist() == [1, 2, 4], "a value that is given"
    g = f.copy()
    g(value)
    assert f["total"].tolist() == [1, 2, 4] and g["total"].tolist() == [2, 4, 7]


def test_states_on_the_device_of_other_lengths_and_lent_ones(moved):
    x, kept = T.vector("x"), T.vector("kept")
    f = exprc.function([x, exprc.In(kept, value=[], update=T.concatenate([kept, x]), name="kept")], kept.sum(), device=ON)
    assert [float(f([1, 2])) for _ in range(3)] == [0, 3, 6] and f["kept"].tolist() == [1, 2, 1, 2, 1, 2]
    w = exprc.shared(np.zeros(2, "float32"), name="w")
    lent = w.get_value(borrow=True)
    g = exprc.function([x, exprc.In(kept, value=w, update=kept + x, name="kept")], kept.sum(), device=ON, steps=2)
    assert g([1, 2]).tolist() == [0, 3] and lent.tolist() == [2, 4], "who borrowed the storage sees updates"
    lent[:] = 10
    assert g([1, 2]).tolist() == [20, 23] and w.get_value().tolist() == [12, 14]
    h = exprc.function([], w.sum(), device=ON)
    assert float(h()) == 26, "another function that reads the variable"


def test_a_call_that_fails_leaves_a_state_on_the_device_as_it_was():
    x, kept, i = T.vector("x"), T.vector("kept"), T.lvector("i")
    state = exprc.In(kept, value=[1, 2], update=kept + x[i], name="kept")
    f = exprc.function([x, i, state], kept.sum(), device=ON, steps=2)
    f([1, 2], [0, 1])
    with pytest.raises(IndexError):
        f([1, 2], [0, 2])
    assert f["kept"].tolist() == [3, 6]


def test_outputs_of_all_sizes_arrive_in_few_reads(moved):
    x, i = T.vector("x"), T.lvector("i")
    f = exprc.function([x, i], [x.sum(), x[i], x * 2, x.argmax(), (x[:0] + 1), T.concatenate([x, x]) + 1], device=ON)
    for n in (3, 70_000, 5):
        value = RNG.standard_normal(n).astype("float32")
        moved["read"].clear()
        got = f(value, [2, 0])
        assert len(moved["read"]) == (1 if n < 100 else 3), "the status and what is small come in one go"
        wanted = [value.sum(), value[[2, 0]], value * 2, value.argmax(), value[:0], np.concatenate([value, value]) + 1]
        for a, b in zip(got, wanted):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
            assert a.flags.owndata and a.flags.writeable
    g = exprc.function([x], [], updates={exprc.shared(np.float32(0)): x.sum()}, device=ON)
    moved["read"].clear()
    g(np.ones(5, "float32"))
    assert not moved["read"], "nothing is read where nothing is asked for"
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        f(np.ones(3, "float32"), [0, 9])
    assert float(f(np.ones(3, "float32"), [0, 1])[0]) == 3


def test_values_of_variables_stay_too(moved):
    w = exprc.shared(np.arange(3, dtype="float32"), name="w")
    assert isinstance(w.get_value(return_internal_type=True), np.ndarray), "no device has it yet"
    f = exprc.function([], [], updates={w: w + 1}, device=ON)
    f()
    lent, own = (w.get_value(borrow=borrow, return_internal_type=True) for borrow in (True, False))
    assert not moved["read"]
    f()
    assert lent.get().tolist() == [2, 3, 4] and own.get().tolist() == [1, 2, 3], "an update shows in what was lent"
    w.set_value(own)
    assert w.get_value().tolist() == [1, 2, 3] == lent.get().tolist()
    w.set_value(np.float32([7, 8, 9]))
    assert lent.get().tolist() == [7, 8, 9], "so does a value that is set"
    with pytest.raises(ValueError, match="lent already, on the other side of host and device\n  let go of what"):
        w.get_value(borrow=True)
    with pytest.raises(ValueError, match="lent already, on the other side of host and device"):
        w.set_value(np.float32([1, 2, 3]), borrow=True)
    open_device(ON).write(lent.address, np.float32([0, 0, 5]))
    assert w.get_value().tolist() == [0, 0, 5], "what its holder writes is the variable's value"
    f()
    open_device(ON).write(lent.address, np.float32([1, 1, 5]))
    del lent
    gc.collect()
    assert w.get_value().tolist() == [1, 1, 5]
    held = w.get_value(borrow=True)
    with pytest.raises(ValueError, match="lent already"):
        w.get_value(borrow=True, return_internal_type=True)
    held[:] = 3
    del held
    f()
    assert w.get_value().tolist() == [4, 4, 4]


def test_a_value_set_on_the_device_is_not_copied_to_the_host(moved):
    w, x = exprc.shared(np.zeros((0, 3), "float32"), name="w", shape=(None, 3)), T.matrix("x")
    f = exprc.function([x], exprc.Out(x * 2, return_internal_type=True), device=ON)
    g = exprc.function([], w.sum(0), device=ON)
    for rows in (4, 4, 2):
        value = RNG.standard_normal((rows, 3)).astype("float32")
        w.set_value(f(value))
        np.testing.assert_allclose(g(), 2 * value.sum(0), rtol=1e-5)
        assert w.container.shape == (rows, 3)
    assert set(moved["read"]) == {12} and [n for n in moved["write"] if n in (48, 24)] == [48, 48, 24]
    lent = w.get_value(borrow=True)
    w.set_value(there(np.full((2, 3), 7, "float32")))
    assert lent.tolist() == [[7] * 3] * 2, "what was lent on the host shows it"
    w.set_value(there(np.full((1, 3), 8, "float32")))
    assert lent.tolist() == [[7] * 3] * 2 and g().tolist() == [8] * 3, "a value of another shape is another array"
    with pytest.raises(TypeError, match="cannot set the value of w: its dtype is float32, that of the value float64"):
        w.set_value(there(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="cannot set the value of w: it has 2 dimensions, the value 1"):
        w.set_value(there(np.zeros(3, "float32")))


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_shares_the_memory_of_the_emulator(dtype):
    value = RNG.integers(0, 2, (2, 3)).astype(dtype)
    array = there(value)
    seen = np.from_dlpack(array)
    assert seen.dtype == dtype and seen.shape == (2, 3) and (seen == value).all()
    open_device(ON).write(array.address, np.zeros_like(value))
    address = array.address
    del array
    gc.collect()
    assert not seen.any(), "the memory lives as long as who shares it"
    assert seen.__array_interface__["data"][0] == address
    assert (np.from_dlpack(there(value), copy=True) == value).all()
    assert not hasattr(there(value), "__cuda_array_interface__"), "it is no memory of a GPU"
    empty = np.from_dlpack(there(value[:0]))
    assert empty.shape == (0, 3) and empty.dtype == dtype


def test_what_does_not_fit_is_told_with_both_devices():
    x = T.matrix("x")
    f, g = exprc.function([x], x + 1, device=ON), exprc.function([x], x + 1)
    array = there(np.ones((2, 3), "float32"))
    text = r"input x: the array is on cuda-emulator, the function on cpu\n  input .* made at (.|\n)*copy it to the host"
    with pytest.raises(ValueError, match=text):
        g(array)
    with pytest.raises(TypeError, match="its dtype is float32, that of the value float64(.|\n)*an array on a device is not cast"):
        f(there(np.ones((2, 3))))
    with pytest.raises(TypeError, match="it takes 2 dimensions, the value has 1"):
        f(there(np.ones(3, "float32")))
    f.trust_input = True
    assert f(array).tolist() == [[2] * 3] * 2
    with pytest.raises(BufferError, match="take get()"):
        array.__dlpack__(dl_device=(2, 0))
    with pytest.raises(ValueError, match="cannot become one of NumPy without a copy"):
        np.asarray(array, copy=False)


class Elsewhere:
    """An array of another library on the second GPU."""

    def __dlpack_device__(self):
        return 2, 1

    def __dlpack__(self, **_):
        raise AssertionError("nobody asks for it")


def test_arrays_of_another_device_are_refused_by_name():
    x = T.vector("x")
    for device, name in ((ON, ON), ("cpu", "cpu")):
        f = exprc.function([x], x + 1, device=device)
        with pytest.raises(ValueError, match=f"the array is on cuda1, the function on {name}(.|\n)*device='cuda1'"):
            f(Elsewhere())
    assert on_device(Elsewhere()) and not on_device([1, 2]) and not on_device(np.ones(2))
    array = there(np.ones(2))
    assert taken(array, open_device(ON)) is array and float(there(np.float64(2.5).reshape(()))) == 2.5
    with pytest.raises(TypeError, match="has no length"):
        len(there(np.float32(1).reshape(())))


def test_copies_truth_and_pickles():
    x = T.vector("x")
    f = exprc.function([x], exprc.Out(x * 0, return_internal_type=True), device=ON)
    one, two = f(np.ones(1, "float32")), f(np.ones(2, "float32"))
    for other in (copy.copy(one), copy.deepcopy(one)):
        assert other.address != one.address and other.get().tolist() == [0]
    assert not one
    with pytest.raises(ValueError, match="truth value of an array"):
        bool(two)
    with pytest.raises(TypeError, match="an array on cuda-emulator cannot be pickled\n  pickle what get\\(\\) returns"):
        pickle.dumps(one)


def test_a_variable_whose_length_changes_leaves_no_copy_behind():
    w = exprc.shared(np.zeros(3, "float32"), shape=(None,))
    f = exprc.function([], w.sum(), device=ON)
    for length in range(4, 16):
        w.set_value(np.ones(length, "float32"))
        assert f() == length
    (frame,) = f._compiled.last.program.frames
    assert [copy for ready in frame.bound.values() for _, copy in ready.residents] == [w.container.resident]
