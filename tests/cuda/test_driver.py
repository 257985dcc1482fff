"""The road to a GPU (pycuda, the driver's calls, graphs, errors, the end of the process) on the fake driver, and on a GPU where one is."""

from __future__ import annotations

import pytest

from tests.cuda import fake_driver

pytestmark = pytest.mark.skipif(fake_driver.pycuda_library() is None, reason=fake_driver.NO_PYCUDA)


KERNELS = '''
text = kernel_source("cuda/prelude.cuh") + """
EXPRC_KERNEL void scale(const float *x, float *y, long long n, long long k) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * k;
}
EXPRC_KERNEL void reverse(const float *x, float *y, long long n) {
    EXPRC_SHARED(raw);
    float *t = (float *)raw;
    t[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = t[n - 1 - threadIdx.x];
}
"""
d = open_device("cuda")
m = d.load(text)
a, b, c = (d.allocate(4 * 256, "buffer " + n) for n in "abc")
x = np.arange(256, dtype=np.float32)
y = np.empty_like(x)
d.write(a.address, x)
scale = Launch("scale", (2, 1, 1), (128, 1, 1), 0, (a.address, b.address, 256, -3))
reverse = Launch("reverse", (1, 1, 1), (256, 1, 1), 200 * 1024, (b.address, c.address, 256))
'''
CPU = """
import exprc, exprc.tensor as T
v = T.vector("v")
assert exprc.function([v], v + 1)(np.float32([1]))[0] == 2
"""


def test_launches_are_captured_once_and_run_again_and_again(ran):
    ran(KERNELS + """
g = d.prepare(m, [scale, reverse, Launch("scale", (0, 1, 1), (1, 1, 1), 0, (0, 0, 0, 0))])
for k in range(3):
    d.write(a.address, x + k)
    g.run()
    d.read(c.address, y)
    assert (y == -3 * (x + k)[::-1]).all(), y
d.prepare(m, []).run()
assert d.gpu.name in repr(d) and d.name == "cuda" and d.target.lanes(4) == 1
""")


def test_everything_is_given_back_even_while_the_user_holds_it(ran):
    ran(KERNELS + "g = d.prepare(m, [scale]); g.run(); keep = (d, m, a, b, c, g)")


def test_what_is_dropped_is_given_back_at_once(faked):
    faked("""
d = open_device("cuda")
for k in range(20):
    d.allocate(2**25)  # half of the memory
""")


def test_copies_of_any_size_and_dtype_arrive(ran):
    ran("""
d = open_device("cuda")
rng = np.random.default_rng(0)
for count in (0, 1, 3, 2**20, 2**20 + 1, 3 * 2**20 + 7, 4 * 2**20 + 5):  # the pinned memory has two halves of 2**22 bytes
    for dtype in ("float32", "bool", "float16", "int64"):
        if count * np.dtype(dtype).itemsize > 17 * 2**20:
            continue
        x = (100 * rng.random(count)).astype(dtype)
        one, two = d.allocate(x.nbytes), d.allocate(x.nbytes)
        d.write(one.address, x)
        d.copy(one.address, two.address, x.nbytes)
        y = np.empty_like(x)
        d.read(two.address, y)
        assert (x == y).all(), (count, dtype)
scalar, got = np.float32(2.5).reshape(()), np.empty((), "float32")
place = d.allocate(4)
d.write(place.address, scalar)
d.read(place.address, got)
assert got == 2.5
try:
    d.read(place.address, np.empty((2, 2), "float32")[:, 0])
except ValueError as error:
    assert "C-contiguous" in str(error)
else:
    raise AssertionError
""")


def test_an_array_may_change_as_soon_as_it_is_written(ran):
    ran("""
d = open_device("cuda")
rows, row = np.empty((3000, 1000), "float32"), np.empty(1000, "float32")
m = d.allocate(rows.nbytes)
for k in range(3000):  # three times what the pinned memory holds
    row[:] = k
    d.write(m.address + row.nbytes * k, row)
d.read(m.address, rows)
assert (rows == np.arange(3000)[:, None]).all()
x = np.ones(2**20, "float32")
m = d.allocate(x.nbytes)
d.write(m.address, x)
x[:] = 7
y = np.empty_like(x)
d.read(m.address, y)
assert (y == 1).all()
""")


def test_threads_push_the_context_and_leave_nothing_behind(ran):
    ran(KERNELS + """
import threading
wrong = []
def work(k):
    try:
        own = d.load(text)
        one, two = d.allocate(4 * 256), d.allocate(4 * 256)
        g = d.prepare(own, [Launch("scale", (2, 1, 1), (128, 1, 1), 0, (one.address, two.address, 256, k))])
        got = np.empty_like(x)
        for _ in range(20):
            d.write(one.address, x)
            g.run()
            d.read(two.address, got)
            if not (got == k * x).all(): wrong.append(k)
    except Exception as error:
        wrong.append(error)
threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
[t.start() for t in threads]; [t.join() for t in threads]
assert wrong == [], wrong
""")


def test_a_device_opened_in_a_thread_that_ended_can_be_used(ran):
    ran("""
import threading
def work():
    global d
    d = open_device("cuda")
t = threading.Thread(target=work); t.start(); t.join()
m = d.allocate(4)
d.write(m.address, np.float32([1]))
""", clean=False)  # pycuda cannot release a context in another thread than its own; the driver does at the end


def test_the_context_of_the_user_is_current_again_after_each_call(ran):
    ran("""
import pycuda.driver as cuda
cuda.init()
own = cuda.Device(0).make_context()
piece = cuda.mem_alloc(16)
from exprc.runtime.libcuda import library, ffi
def current():
    got = ffi.new("void **"); library().cuCtxGetCurrent(got); return int(ffi.cast("intptr_t", got[0]))
d = open_device("cuda")
for work in (lambda: d.allocate(16), d.synchronize, lambda: d.write(keep.address, np.float32([1, 2]))):
    assert current() == own.handle
    keep = work() or d.allocate(16)
assert current() == own.handle
piece.free()
own.pop(); own.detach()
""")


def test_a_training_step_is_that_of_the_cpu(ran):
    ran("""
import exprc, exprc.tensor as T
rng = np.random.default_rng(0)
images, labels = rng.random((6, 2, 8, 8), np.float32), np.arange(6, dtype="int32") % 4
def learn(device):
    W, V = (exprc.shared(np.random.default_rng(1).standard_normal(s).astype("float32")) for s in ((3, 2, 3, 3), (27, 4)))
    x, t = T.tensor4("x"), T.ivector("t")
    maps = T.relu(T.pool_2d(T.conv2d(x, W), 2))
    p = T.softmax(maps.flatten(2) @ V)
    cost = -T.mean(T.log(p)[T.arange(t.shape[0]), t])
    updates = {w: w - 0.1 * g for w, g in zip((W, V), exprc.grad(cost, [W, V]))}
    step = exprc.function([x, t], cost, updates=updates, device=device)
    return [float(step(images, labels)) for _ in range(4)], W.get_value(), V.get_value()
for here, there in zip(learn("cpu"), learn("cuda")):
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)
""")


def test_kernels_are_timed_by_events(ran):
    ran("""
import exprc, exprc.tensor as T
x, w = T.matrix("x"), exprc.shared(np.ones((40, 30), "float32"), name="w")
f = exprc.function([x], T.dot(x, w).sum(), updates={w: w - 0.1 * x.sum()}, device="cuda")
made = f.profile(np.ones((20, 40), "float32"), calls=3)
assert made.rows and all(0 < row.seconds < 1 for row in made.rows) and "on cuda, arena" in made, made
assert abs(made.seconds - sum(row.seconds for row in made.rows)) < 1e-9 and (w.get_value() == 1).all()
""")


# -- errors


def test_memory_that_is_not_there(faked):
    done = faked("""
d = open_device("cuda")
held = [d.allocate(n * 2**20, label) for n, label in ((30, "container W"), (20, "arena"), (1, ""))]
try:
    d.allocate(40 * 2**20)
except MemoryError as error:
    print(error)
del held
again = d.allocate(40 * 2**20)
""" + CPU)
    assert done.stdout == (
        "cuda is out of memory: 40.0 MiB more were asked for, 13.0 MiB of 64.0 MiB are free, 51.0 MiB are exprc's, the largest:\n"
        "  30.0 MiB  container W\n"
        "  20.0 MiB  arena\n"
        "  1.0 MiB   a buffer of a program\n"
        "  take smaller batches, or let go of functions and variables that are not needed; nvidia-smi shows who else has some\n"
    )


def test_memory_in_circles_of_python_is_found_before_giving_up(faked):
    faked("""
d = open_device("cuda")
circle = [d.allocate(40 * 2**20)]
circle.append(circle)
del circle
held = d.allocate(40 * 2**20)
""")


CASES = {
    "shared memory": (
        'd.prepare(m, [Launch("scale", (1, 1, 1), (1, 1, 1), 300000, (a.address, b.address, 1, 1))])',
        "kernel scale asks for 300000 bytes of shared memory for a block, ",
    ),
    "threads": (
        'd.prepare(m, [Launch("scale", (1, 1, 1), (2048, 1, 1), 0, (a.address, b.address, 1, 1))])',
        "kernel scale is started with 2048 threads a block, and can have 1024\n  it uses ",
    ),
    "a kernel that is not there": (
        'd.prepare(m, [Launch("scael", (1, 1, 1), (1, 1, 1), 0, ())])',
        "the kernels scael cannot be prepared: named symbol not found (CUDA_ERROR_NOT_FOUND, 500)",
    ),
    "a grid that is too high": (
        'd.prepare(m, [Launch("scale", (1, 70000, 1), (1, 1, 1), 0, (a.address, b.address, 1, 1))])',
        "kernel scale cannot be started with grid (1, 70000, 1) and block (1, 1, 1): invalid argument (CUDA_ERROR_INVALID_VALUE, 1)",
    ),
    "an address of nobody": (
        "d.write(16, x)",
        "a copy to the GPU failed: invalid argument (CUDA_ERROR_INVALID_VALUE, 1)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_and_the_device_goes_on(ran, name):
    call, text = CASES[name]
    done = ran(KERNELS + f"""
from exprc.errors import DeviceError
try:
    {call}
except DeviceError as error:
    print(error)
g = d.prepare(m, [scale]); g.run(); d.read(b.address, y)
assert (y == -3 * x).all()
""")
    assert text in done.stdout


LOST = """
from exprc.errors import DeviceError
g = d.prepare(m, [scale])
for call in (lambda: (g.run(), d.synchronize()), g.run, lambda: d.allocate(4), lambda: d.write(a.address, x), lambda: d.load(text)):
    try:
        call()
    except DeviceError as error:
        print(error)
    else:
        raise AssertionError(call)
"""


def test_a_kernel_that_fails_ends_the_device_and_not_the_process(ran):
    done = ran(KERNELS.replace("y[i] = x[i] * k;", "__trap();") + LOST + CPU, clean=False)
    first, *others = done.stdout.split("a GPU program failed; ")[1:]
    assert first.startswith("the kernels that ran last are scale: a kernel ")
    assert 'device="cuda-emulator" finds the line of a kernel' in first and "all values on the GPU are lost" in first
    assert others == [first] * 4


LOSSES = [(214, "an uncorrectable memory error of the GPU"), (700, "a kernel used memory that is not its own")]


@pytest.mark.parametrize("code, text", LOSSES)
def test_a_lost_device_is_told_by_whoever_waits(faked, code, text):
    done = faked(KERNELS + LOST + CPU, clean=False, FAKE_FAIL=f"cuStreamSynchronize={code}")
    assert done.stdout.count(f"a GPU program failed; the kernels that ran last are scale: {text}") == 5


OPEN = """
from exprc.errors import DeviceError
try:
    open_device("{name}")
except DeviceError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "name, settings, text",
    [
        ("cuda", {"FAKE_GPUS": "0"}, "the NVIDIA driver finds no GPU\n  is one in the machine, and given to it?"),
        ("cuda", {"FAKE_VERSION": "11040"}, "the NVIDIA driver is too old: it knows CUDA 11.4, exprc needs 12.0\n  update the driver;"),
        ("cuda", {"FAKE_INIT": "803"}, "the NVIDIA driver does not start: system has unsupported display driver / cuda driver combination"),
        ("cuda", {"FAKE_INIT": "803"}, "the driver was updated while the machine ran: start the machine again"),
        ("cuda", {"FAKE_FAIL": "cuDevicePrimaryCtxRetain=2"}, "the GPU cannot be opened: out of memory (CUDA_ERROR_OUT_OF_MEMORY, 2)"),
        ("cuda2", {"FAKE_GPUS": "2"}, "there is no GPU cuda2: this machine has cuda (Fake GPU 0), cuda1 (Fake GPU 1)\n  name one of these"),
    ],
)
def test_a_device_that_cannot_be_opened(faked, name, settings, text):
    assert text in faked(OPEN.format(name=name) + CPU, **settings).stdout


@pytest.mark.parametrize("code, mend", [(201, "use the device's primary context, as PyTorch and CuPy do"), (709, "has reset the GPU")])
def test_a_context_that_somebody_else_has_destroyed(faked, code, mend):
    done = faked(KERNELS + """
from exprc.errors import DeviceError
g = d.prepare(m, [scale])
try:
    g.run()
except DeviceError as error:
    print(error)
""" + CPU, clean=False, FAKE_FAIL=f"cuGraphLaunch={code}")
    assert done.stdout.startswith("a GPU program cannot be started: ") and mend in done.stdout


def test_code_that_the_driver_is_too_old_for(faked):
    done = faked(KERNELS.partition("m = d.load")[0] + """
from exprc.errors import DeviceError
try:
    d.load(text)
except DeviceError as error:
    print(error)
""", FAKE_FAIL="cuModuleLoadDataEx=222")
    assert "a GPU program cannot be loaded: the provided PTX was compiled with an unsupported toolchain." in done.stdout
    assert "update the NVIDIA driver, or pip install an older nvidia-cuda-nvrtc that fits it" in done.stdout


def test_a_forked_process_is_told_and_ends_well(ran):
    done = ran(KERNELS + """
import warnings
from exprc.errors import DeviceError
g = d.prepare(m, [scale])
sys.stdout.flush()
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of fork beside the driver's threads
child = os.fork()
if not child:
    os.environ.pop("FAKE_LOG", None)  # the parent's
    try:
        g.run()
    except DeviceError as error:
        print(error)
    del a, b, c, g, m
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
g.run(); d.read(b.address, y)
assert (y == -3 * x).all()
""")
    assert done.stdout.startswith("cuda cannot be used in a forked process\n  start processes with multiprocessing.set_start_method('spawn")


def test_memory_that_is_only_kept_ready_is_given_back_before_giving_up(faked):
    """Two functions have a third of the memory each, for calls to come; a variable takes half."""
    done = faked("""
import exprc, exprc.tensor as T
x = T.vector("x")
functions = [exprc.function([x], [(y := T.exp(x))[::-1].sum(), y.sum()], device="cuda") for _ in range(2)]
value = np.zeros(2**21 + 2**20, "float32")
for f in functions:
    f(value)
w = exprc.shared(np.zeros(2**23, "float32"), name="w")
g = exprc.function([], w[:2].sum(), device="cuda")
assert float(g()) == 0
d = open_device("cuda")
assert [float(f(value[:9])[1]) for f in functions] == [9, 9]
try:
    functions[0](np.zeros(2**24, "float32"))
except MemoryError as error:
    print(error)
assert float(g()) == 0 and float(functions[1](value[:5])[1]) == 5
""")
    assert "cuda is out of memory: 64.0 MiB more were asked for" in done.stdout
    assert "  32.0 MiB  w made at <string>:" in done.stdout


def test_a_call_that_finds_no_memory_leaves_the_variables_as_they_were(faked):
    """The new value of w fits beside the old one, but not twice: as the program's output, and as what the variable then holds."""
    faked("""
import exprc, exprc.tensor as T
n = exprc.shared(np.float32(0), name="n")
w = exprc.shared(np.ones(2**21, "float32"), name="w", shape=(None,))
step = exprc.function([], [], updates={n: n + 1, w: T.concatenate([w, w, w]) * 2}, device="cuda")
try:
    step()
except MemoryError as error:
    assert "24.0 MiB more were asked for" in str(error), error
else:
    raise AssertionError("there was memory")
assert n.get_value() == 0 and w.get_value().shape == (2**21,) and (w.get_value() == 1).all()
""")


def test_the_lock_of_the_devices_is_new_in_a_forked_process(faked):
    faked("""
import threading, warnings
from exprc.runtime import devices
held, done = threading.Event(), threading.Event()
def hold():
    with devices._lock:
        held.set(); done.wait()
t = threading.Thread(target=hold); t.start(); held.wait()
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if not child:
    os.environ.pop("FAKE_LOG", None)
    open_device("cuda-emulator")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
done.set(); t.join()
""", clean=False)
