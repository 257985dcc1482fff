"""Arrays of other libraries on a GPU, and of ours with them: on the fake driver, and on a GPU where one is."""

from __future__ import annotations

import pytest

from tests.cuda import fake_driver

pytestmark = pytest.mark.skipif(fake_driver.pycuda_library() is None, reason=fake_driver.NO_PYCUDA)

#: What other libraries have: memory of pycuda's in the primary context, described by the one protocol or by the other.
OTHERS = """
import pycuda.driver
import exprc, exprc.tensor as T
from exprc.device import DeviceArray
d = open_device("cuda")

class Memory:
    def __init__(self, value, device=d, strides=None, **more):
        with device.pycuda_current("memory"):
            self.piece = pycuda.driver.mem_alloc(value.nbytes)
        device.write(int(self.piece), value)
        self.told = {"data": (int(self.piece), False), "shape": value.shape, "typestr": value.dtype.str, "version": 3, **more}
        if strides:
            self.told["strides"] = strides
        self.whole = device, int(self.piece), value.shape, value.dtype
    @property
    def own(self):
        device, *rest = self.whole
        return DeviceArray(device, self, *rest)
    def __del__(self):
        d.give_back(self.piece)

class Described(Memory):
    @property
    def __cuda_array_interface__(self):
        return self.told

class Packed(Memory):
    asked = []
    def __dlpack_device__(self):
        return self.own.__dlpack_device__()
    def __dlpack__(self, stream=None):
        self.asked.append(stream)
        return self.own.__dlpack__(stream=stream)

x, w = T.matrix("x"), exprc.shared(np.zeros(3, "float32"), name="w")
value = np.arange(6, dtype="float32").reshape(2, 3)
f = exprc.function([x], [x.sum(0), exprc.Out(x * 2, return_internal_type=True)], updates={w: w + x[0]}, device="cuda")
"""


def test_a_function_takes_arrays_of_other_libraries(ran):
    ran(OTHERS + """
for other in (Described(value), Described(value, stream=None), Described(value, stream=1), Packed(value), Packed(value).own):
    total, twice = f(other)
    assert total.tolist() == [3, 5, 7] and (twice.get() == 2 * value).all() and (np.asarray(twice) == 2 * value).all()
    assert "host → cuda" not in "".join(l for l in str(f.explain()).splitlines() if " x" in l[-3:])
    total, _ = f(twice)
    assert total.tolist() == [6, 10, 14]
assert Packed.asked == [d.stream], "the other library waits for our stream"
g = exprc.function([x], [], updates={w: x[1]}, device="cuda")
other = Described(value)
g(other)  # is done with it when it returns, though nothing is read
d.write(int(other.piece), 0 * value)
assert w.get_value().tolist() == [3, 4, 5]
w.set_value(Packed(value[1] + 1))
assert w.get_value().tolist() == [4, 5, 6]
del other
""")


def test_others_take_our_arrays(ran):
    ran(OTHERS + """
import ctypes
from exprc.runtime.device_arrays import _tensor
_, twice = f(value)
told = twice.__cuda_array_interface__
assert told == {"shape": (2, 3), "typestr": "<f4", "data": (twice.address, False), "strides": None, "version": 3, "stream": None}
assert twice.__dlpack_device__() == (2, 0)
capsule = twice.__dlpack__(stream=1)
tensor = _tensor(capsule)
assert (tensor.data, tensor.device_type, tensor.device_id, tensor.ndim, tensor.code, tensor.bits) == (twice.address, 2, 0, 2, 2, 32)
assert tensor.shape[:2] == [2, 3]
address = twice.address
del twice
class Holder:
    __dlpack__ = lambda self, stream=None: capsule
    __dlpack_device__ = lambda self: (2, 0)
total, _ = f(Holder())
assert total.tolist() == [6, 10, 14], "the capsule keeps the memory"
lent = w.get_value(borrow=True, return_internal_type=True)
before = lent.get()
f(lent.get()[None] * 0 + 1)
assert (lent.get() == before + 1).all() and lent.device == "cuda"
""")


#: Work of others that nobody waits for is not done: so the fake driver is, and so a GPU may be.
ASIDE = OTHERS + """
from exprc.runtime.libcuda_entry import ffi
sources = []
def to_device(address, array, stream):
    sources.append(array)  # it is read later
    with d:
        assert not d._driver.cuMemcpyHtoDAsync_v2(address, ffi.from_buffer(array), array.nbytes, ffi.cast("void *", stream))
def seen(address, stream, shape=(2, 3)):
    array = np.zeros(shape, "float32")
    with d:
        assert not d._driver.cuMemcpyDtoHAsync_v2(ffi.from_buffer(array), address, array.nbytes, ffi.cast("void *", stream))
        assert not d._driver.cuStreamSynchronize(ffi.cast("void *", stream))
    return array.tolist()
total = exprc.function([x], x.sum(0), device="cuda")
"""


def test_the_stream_that_an_array_names_is_waited_for_and_no_other(faked):
    faked(ASIDE + """
def on(works, **told):
    other = Described(np.zeros((2, 3), "float32"), **told)
    to_device(int(other.piece), value, works)
    return total(other).tolist()
assert on(77, stream=77) == on(1, stream=1) == [3, 5, 7]
assert on(77, stream=78) == on(77, stream=None) == [0, 0, 0], "nobody says that there is work on 77"
assert on(77) == [3, 5, 7], "which stream is not said: all of them"
assert on(77, version=2, stream=None) == [3, 5, 7], "streams came with version 3"
for wrong in (0, -1):
    try:
        on(77, stream=wrong)
    except ValueError as error:
        assert f"wrong value for the input x: {wrong} is no stream" in str(error), error
        assert "the default stream is 1, that of a thread 2" in str(error)
    else:
        raise AssertionError("a stream that there is not was taken")
""")


def test_who_takes_an_array_waits_on_the_stream_that_it_names(faked):
    faked(ASIDE + """
double, held = (2 * value).tolist(), []  # giving memory back waits for everything
for stream, reads in ((9, 9), (1, 1), (None, 1)):
    y = f(value)[1]
    capsule = y.__dlpack__(stream=stream)
    assert seen(y.address, reads) == double, stream
    held.append((y, capsule))
y = f(value + 7)[1]
capsule = y.__dlpack__(stream=-1)
assert seen(y.address, 9) != (2 * value + 14).tolist(), "-1: nobody waits"
try:
    y.__dlpack__(stream=0)
except ValueError as error:
    assert str(error).startswith("0 is no stream"), error
else:
    raise AssertionError("0 is no stream")
del y, capsule
""")


def test_work_of_others_on_the_default_stream_comes_in_turn_with_ours(faked):
    faked(ASIDE + """
y = f(value)[1]
to_device(y.address, value, 1)
assert total(y).tolist() == [6, 10, 14], "nobody was given it: whoever writes there is on their own"
capsule = y.__dlpack__(stream=1)
to_device(y.address, value + 1, 1)
assert total(y).tolist() == [5, 7, 9] and y.get().tolist() == (value + 1).tolist()
to_device(y.address, value + 2, 1)
y = y.copy()
assert total(y).tolist() == [7, 9, 11]
lent = w.get_value(borrow=True, return_internal_type=True)
told = lent.__cuda_array_interface__
before = np.array(w.get_value())
to_device(lent.address, before + 5, 1)
g = exprc.function([], [], updates={w: w * 2}, device="cuda")
g()
assert seen(lent.address, 1, (3,)) == (2 * (before + 5)).tolist(), "they see the update"
to_device(lent.address, before, 1)
del lent, told, capsule
g()
assert w.get_value().tolist() == (2 * before).tolist(), "what was asked for before they let go of it is waited for"
assert not d._others.there, "and that was the last"
""")


MISTAKES = {
    "strides": ("f(Described(value, strides=(4, 8)))", "the array on the device is not C-contiguous"),
    "dtype": ("f(Described(value.astype('float64')))", "its dtype is float32, that of the value float64"),
    "axes": ("f(Packed(value[0]))", "it takes 2 dimensions, the value has 1: shape (3,)"),
    "the host": ("exprc.function([x], x + 1)(Packed(value))", "the array is on cuda, the function on cpu"),
    "the emulator": (
        "exprc.function([x], x + 1, device='cuda-emulator')(Described(value))",
        "the array is on a GPU, the function on cuda-emulator",
    ),
    "no memory": (
        "f(type('A', (), {'__cuda_array_interface__': {**Described(value).told, 'data': (4096, False)}})())",
        "is in no memory that a GPU",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_taken_is_told(ran, name):
    call, text = MISTAKES[name]
    done = ran(OTHERS + f"""
try:
    {call}
except (TypeError, ValueError) as error:
    print(error)
assert f(value)[0].tolist() == [3, 5, 7]
""")
    assert text in done.stdout and "wrong value for the input x" in done.stdout


def test_memory_of_another_gpu_or_context_is_told_by_name(faked):
    done = faked(OTHERS + """
second = open_device("cuda1")
own = pycuda.driver.Device(0).make_context()
piece = pycuda.driver.mem_alloc(24)
class Apart:
    __cuda_array_interface__ = {"data": (int(piece), False), "shape": (2, 3), "typestr": "<f4", "version": 3}
for other in (Described(value, second), Packed(value, second), Apart()):
    try:
        f(other)
    except ValueError as error:
        print(error)
piece.free(); own.pop(); own.detach()
del other
""", FAKE_GPUS="2", clean=False)
    assert done.stdout.count("the array is on cuda1, the function on cuda") == 2
    assert done.stdout.count("make the function with device='cuda1'") == 2
    assert "the array is in another CUDA context on cuda than the primary one" in done.stdout


def test_threads_give_arrays_of_others_and_of_the_host(ran):
    """Whoever gave an array may change it when the call is over, whatever other threads call meanwhile."""
    ran(OTHERS + """
from concurrent.futures import ThreadPoolExecutor
v = [exprc.shared(np.zeros(3, "float32"), name=f"v{k}") for k in range(2)]
g = [exprc.function([x], [], updates={a: a + x.sum(0)}, device="cuda") for a in v]
h = exprc.function([x], [], updates={w: w + x.sum(0)}, device="cuda")
def work(k):
    for turn in range(20):
        if k == 0:
            h(value)
        else:
            other = Described(value)
            h(other)
            d.write(int(other.piece), 100 * value)
with ThreadPoolExecutor(2) as pool:
    list(pool.map(work, range(2)))
assert w.get_value().tolist() == [40 * n for n in (3, 5, 7)]
""")
