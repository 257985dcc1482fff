"""What `benchmarks.gpu_check` looks at on a GPU, one thing in each process: ``python -m benchmarks.gpu_looks NAME``.

A line ``= name value`` is a number for the report. What is wrong raises.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import exprc
import exprc.tensor as T
from benchmarks import nets
from benchmarks.turns import ROOT
from exprc.render.base import kernel_source
from exprc.runtime import cubin, libcuda
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Device, Launch

TEXT = """
EXPRC_KERNEL void scale(const float *x, float *y, long long n, long long k) {
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += gridDim.x * (long long)blockDim.x) y[i] = x[i] * k;
}
EXPRC_KERNEL void mathematics(const float *x, float *y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] = expf(x[i]) / sqrtf(x[i] + 3.0f);
}
EXPRC_KERNEL void exact(const float *x, float *y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] = i % 2 ? x[i] / 3.0f : i % 4 ? sqrtf(x[i]) : x[i] * 1e-42f;
}
EXPRC_KERNEL void reverse(const float *x, float *y, long long n) {
    EXPRC_SHARED(raw);
    float *t = (float *)raw;
    for (long long i = threadIdx.x; i < n; i += blockDim.x) t[i] = x[i];
    __syncthreads();
    for (long long i = threadIdx.x; i < n; i += blockDim.x) y[i] = t[n - 1 - i];
}
EXPRC_KERNEL void stray(float *y, long long n) { y[n] = 1.0f; }
"""

Array = NDArray[Any]


def number(name: str, value: float) -> None:
    print(f"= {name} {value:.6g}", flush=True)


def text() -> str:
    return kernel_source("cuda/prelude.cuh") + TEXT


def seconds_of(work: Callable[[], Any], wait: Callable[[], Any], count: int, rounds: int = 7) -> float:
    """The median over rounds of the seconds that one of `count` calls takes, the wait at the end included."""
    work()
    wait()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(count):
            work()
        wait()
        times.append((time.perf_counter() - begin) / count)
    return median(times)


# -- part 1


def machine(device: Device, asked: argparse.Namespace) -> None:
    """What is there."""
    print(platform.platform(), "Python", platform.python_version(), "NumPy", np.__version__, os.cpu_count(), "CPUs")
    if asked.device != "cuda-emulator":
        for gpu in libcuda.gpus():
            print(gpu)
        print("the driver knows CUDA", libcuda.driver_version())
        print(cubin.find_cuda_compiler())
    for program in ("nvidia-smi", "nvcc", "compute-sanitizer", "cc"):
        print(f"{program}: {shutil.which(program)}")
    if shutil.which("nvidia-smi"):
        print(subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False, timeout=30).stdout)


def smoke(device: Device, asked: argparse.Namespace) -> None:
    """A text compiled anew, loaded and run; subnormals are kept, and division and square root are exact."""
    begin = time.perf_counter()
    module = device.load(f"{text()}\n// {time.time_ns()}\n")
    number("compile and load, ms", 1e3 * (time.perf_counter() - begin))
    x = np.random.default_rng(0).random(100_001, np.float32)
    given, made, turned = (device.allocate(x.nbytes) for _ in range(3))
    device.write(given.address, x)
    part = 50_000
    device.prepare(module, [
        Launch("mathematics", (-(-x.size // 256), 1, 1), (256, 1, 1), 0, (given.address, made.address, x.size)),
        Launch("scale", (100, 1, 1), (128, 1, 1), 0, (made.address, turned.address, part, 1)),
        Launch("reverse", (1, 1, 1), (1024, 1, 1), 4 * part, (turned.address, given.address, part)),
    ]).run()  # fmt: skip
    y, z = np.empty_like(x), np.empty(part, np.float32)
    device.read(made.address, y)
    device.read(given.address, z)
    expected = (np.exp(x.astype(float)) / np.sqrt(x.astype(float) + 3)).astype(np.float32)
    error = float(np.max(np.abs(y - expected) / np.spacing(expected)))
    number("error of exp / sqrt, units in the last place", error)
    assert error < 4 and (z == y[:part][::-1]).all()
    device.write(given.address, x)
    device.prepare(module, [Launch("exact", (-(-x.size // 256), 1, 1), (256, 1, 1), 0, (given.address, made.address, x.size))]).run()
    device.read(made.address, y)
    k = np.arange(x.size)
    assert (y == np.where(k % 2, x / np.float32(3), np.where(k % 4, np.sqrt(x), x * np.float32(1e-42)))).all()


def copies(device: Device, asked: argparse.Namespace) -> None:
    """How fast copies are, small and large ones."""
    for nbytes, count in ((4, 300), (400_000, 50), (64 << 20, 3)):
        x = np.random.default_rng(0).random(nbytes // 4, np.float32)
        y, one, two = np.empty_like(x), device.allocate(nbytes), device.allocate(nbytes)
        to = seconds_of(lambda x=x, one=one: device.write(one.address, x), device.synchronize, count)
        over = seconds_of(lambda one=one, two=two, n=nbytes: device.copy(one.address, two.address, n), device.synchronize, count)
        back = seconds_of(lambda y=y, two=two: device.read(two.address, y), device.synchronize, count)
        assert (x == y).all()
        for name, took in (("to the GPU", to), ("on the GPU", over), ("from the GPU", back)):
            number(f"copy of {nbytes} bytes {name}, us", 1e6 * took)
            if nbytes > 1 << 20:
                number(f"copy of {nbytes} bytes {name}, GB/s", nbytes / took / 1e9)


def launches(device: Device, asked: argparse.Namespace) -> None:
    """What a graph costs by the number of its launches, and what preparing one costs."""
    module, place = device.load(text()), device.allocate(4096)
    one = Launch("scale", (1, 1, 1), (32, 1, 1), 0, (place.address, place.address, 32, 1))
    for count in (1, 10, 40, 400):
        begin = time.perf_counter()
        graph = device.prepare(module, [one] * count)
        number(f"preparing {count} launches, us", 1e6 * (time.perf_counter() - begin))
        number(f"a graph of {count} launches, us", 1e6 * seconds_of(graph.run, device.synchronize, 200))
        waited = seconds_of(lambda g=graph: (g.run(), device.synchronize()), lambda: None, 50)
        number(f"a graph of {count} launches, waited for, us", 1e6 * waited)
    number("starting a graph of 10 launches, us", 1e6 * _start_cost(device, device.prepare(module, [one] * 10)))


def _start_cost(device: Device, graph: Any) -> float:
    """What the CPU spends on starting a graph, with room in the queue."""
    times = []
    for _ in range(200):
        device.synchronize()
        begin = time.perf_counter()
        graph.run()
        times.append(time.perf_counter() - begin)
    device.synchronize()
    return median(times)


_BEGIN = """
import sys, numpy as np
from benchmarks.gpu_looks import text
from exprc.errors import DeviceError
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Launch
device = open_device(sys.argv[1])
module = device.load(text())
"""
_END = """
import exprc, exprc.tensor as T
v = T.vector("v")
assert exprc.function([v], v + 1)(np.float32([1]))[0] == 2
print("the CPU goes on")
"""
#: What goes wrong, a program that brings it about, and a piece of what must be said.
FAULTS = {
    "memory that is not there": ("held = device.allocate(1 << 30, 'one buffer'); device.allocate(1 << 42)", MemoryError, "out of memory"),
    "too much shared memory": (
        "device.prepare(module, [Launch('scale', (1, 1, 1), (1, 1, 1), 1 << 20, (0, 0, 0, 0))])", Exception, "bytes of shared memory",
    ),
    "a kernel that is not there": ("device.prepare(module, [Launch('scael', (1, 1, 1), (1, 1, 1), 0, ())])", Exception, "scael"),
    "a store outside all memory": (
        "device.prepare(module, [Launch('stray', (1, 1, 1), (1, 1, 1), 0, (0, 1 << 40))]).run(); device.synchronize()", Exception, "stray",
    ),
}  # fmt: skip


def faults(device: Device, asked: argparse.Namespace) -> None:
    """What goes wrong is told, and a process survives it; processes end with status 0 and say nothing at their end."""
    for name, (program, kind, piece) in FAULTS.items():
        tried = f"try:\n    {program}\nexcept {kind.__name__} as error:\n    print(error)\nelse:\n    raise AssertionError('no error')\n"
        said = _child(_BEGIN + tried + _END, asked.device)
        print(f"{name}:\n{said}")
        assert piece in said, piece
    held = "held = [device.allocate(1000), device.prepare(module, [Launch('scale', (1, 1, 1), (1, 1, 1), 0, (0, 0, 0, 0))])]"
    print("an end with everything held:", _child(_BEGIN + held + "\nheld[1].run()\nprint('good')", asked.device))


def _child(program: str, device: str) -> str:
    """Run a program that must end well; what it printed."""
    done = subprocess.run([sys.executable, "-c", program, device], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == "", f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


_TORCH = """
x = torch.arange(1000, device="cuda", dtype=torch.float32)
total = float((x * 2).sum())
place = device.allocate(4000)
device.write(place.address, np.arange(1000, dtype=np.float32))
made = device.allocate(4000)
graph = device.prepare(module, [Launch("scale", (4, 1, 1), (256, 1, 1), 0, (place.address, made.address, 1000, 3))])
for _ in range(3):
    graph.run()
    y = torch.randn(300, 300, device="cuda") @ torch.randn(300, 300, device="cuda")
got = np.empty(1000, np.float32)
device.read(made.address, got)
import exprc, exprc.tensor as T
v, w = T.vector("v"), exprc.shared(np.zeros(1000, np.float32))
f = exprc.function([v], [v.sum(), exprc.Out(v * 2, return_internal_type=True)], updates={w: w + v}, device=device.name)
for k in range(20):  # torch's work on x, ours, and torch's on what we made
    x.fill_(k)
    total, twice = f(x)
    assert float(total) == 1000 * k, (k, total)
    there = torch.from_dlpack(twice)
    assert there.device.type == "cuda" and there.data_ptr() == twice.address and float((there + x).sum()) == 3000 * k
assert (torch.as_tensor(twice, device="cuda") == 38).all() and f(there)[0] == 38000
lent = torch.from_dlpack(w.get_value(borrow=True, return_internal_type=True))
assert float(lent[0]) == sum(range(20)) + 38
lent.zero_()
torch.cuda.synchronize()
assert not w.get_value().any()
w.set_value(x)
assert (w.get_value() == 19).all()
x = torch.arange(1000, device="cuda", dtype=torch.float32)
total = float((x * 2).sum())
assert total == 999000 and (got == 3 * np.arange(1000)).all() and float((x * 2).sum()) == total and bool(torch.isfinite(y).all())
print("good")
"""


def torch(device: Device, asked: argparse.Namespace) -> None:
    """PyTorch and exprc in one process share the primary context, whoever comes first."""
    try:
        import torch as found  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        print("PyTorch is not installed: not looked at")
        return
    print("PyTorch", found.__version__)
    print("exprc first:", _child(_BEGIN + "import torch\n" + _TORCH, asked.device))
    print("PyTorch first:", _child("import torch\ntorch.zeros(1, device='cuda')\n" + _BEGIN + _TORCH, asked.device))


# -- part 3


def small(device: Device, asked: argparse.Namespace) -> None:
    """A few functions of odd sizes, for a sanitizer; their values are those of the CPU."""
    rng = np.random.default_rng(0)
    for name, (inputs, outputs) in _functions().items():
        values = [rng.standard_normal([d or 7 for d in leaf.type.shape]).astype(leaf.type.dtype) for leaf in inputs]
        values = [np.abs(v) % 5 if v.dtype.kind == "i" else v for v in values]
        expected = exprc.function(inputs, outputs, mode="reference")(*values)
        with exprc.config.override(device=asked.device):
            got = exprc.function(inputs, outputs)(*values)
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=2e-5, atol=2e-5, err_msg=name)
        print(f"{name}: good", flush=True)


def _functions() -> dict[str, tuple[list[Any], list[Any]]]:
    x, w = T.matrix("x", shape=(37, 29)), T.matrix("w", shape=(29, 11))
    maps, filters = T.tensor4("maps", shape=(3, 2, 11, 13)), T.tensor4("filters", shape=(5, 2, 3, 3))
    rows = T.ivector("rows", shape=(9,))
    pooled = T.pool_2d(T.relu(T.conv2d(maps, filters)), 2)
    cost = T.sqr(pooled).sum()
    return {
        "chain": ([x], [T.exp(x) / (1 + T.abs(x))]),
        "sums": ([x], [x.sum(), x.mean(axis=0), x.max(axis=1), x.argmax(axis=1)]),
        "softmax": ([x], [T.softmax(x)]),
        "product": ([x, w], [T.relu(x @ w), *exprc.grad(T.sqr(x @ w).sum(), [x, w])]),
        "convolution": ([maps, filters], [pooled, *exprc.grad(cost, [maps, filters])]),
        "rows": ([x, rows], [x[rows], exprc.grad(T.sqr(x[rows]).sum(), x)]),
        "running sum": ([x], [x.cumsum(axis=1)]),
    }


# -- part 4


def step(device: Device, asked: argparse.Namespace) -> None:
    """A training step: its time with the loss read each time, then its losses beside those of the CPU, whose threads come last."""
    from benchmarks.exprc_step import Exprc

    task = nets.digits_task(nets.NETS[asked.net], asked.batch, 16)
    with exprc.config.override(device=asked.device):
        begin = time.perf_counter()
        made = Exprc(task, 1)
        made.reset()
        losses = [made.step(k) for k in range(nets.CHECKED)]
    number("build and first steps, s", time.perf_counter() - begin)
    turn = iter(range(10**9))
    took = seconds_of(lambda: made.step(next(turn) % 16), device.synchronize, asked.steps)
    number(f"{asked.net} step of {asked.batch}, loss read each time, us", 1e6 * took)
    number(f"{asked.net} step of {asked.batch}, GFLOP/s", nets.step_flops(task.net, task.batch) / took / 1e9)
    cpu = Exprc(task, len(os.sched_getaffinity(0)))
    cpu.reset()
    expected = [cpu.step(k) for k in range(nets.CHECKED)]
    print("losses", losses, "on the CPU", expected)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def kernels(device: Device, asked: argparse.Namespace) -> None:
    """What each kernel of a training step takes, alone, many times in one graph; then the whole step without the host."""
    from benchmarks.exprc_step import Exprc

    seen: list[tuple[str, Any, Sequence[Launch]]] = []
    load, prepare, texts = device.load, device.prepare, {}

    def loaded(text: str, *how: Any) -> Any:
        module = load(text, *how)
        texts[id(module)] = text
        return module

    def prepared(module: Any, launches: Sequence[Launch]) -> Any:
        seen.append((texts[id(module)], module, launches))
        return prepare(module, launches)

    device.load, device.prepare = loaded, prepared  # type: ignore[method-assign]
    with exprc.config.override(device=asked.device):
        made = Exprc(nets.digits_task(nets.NETS[asked.net], asked.batch, 16), 1)
    made.reset()
    made.step(0)
    text, module, launches = seen[-1]
    for launch in launches:
        graph = prepare(module, [launch] * _REPEATS)
        took = 1e6 * seconds_of(graph.run, device.synchronize, 3, 5) / _REPEATS
        how = f"{launch.grid!s:<16} {launch.block!s:<14} {launch.shared:>7} B"
        print(f"{launch.kernel:<9} {took:8.2f} us  {how}  {_said_of(text, launch.kernel)}", flush=True)
    whole = prepare(module, launches)
    number(f"{asked.net} {asked.batch}: {len(launches)} kernels in a graph, us", 1e6 * seconds_of(whole.run, device.synchronize, 20))


_REPEATS = 20


def _said_of(text: str, kernel: str) -> str:
    """What a text says of a kernel: the comment before it, or the name of the pasted text that it is made of."""
    pasted = re.search(rf"#define KERNEL {kernel}\n.*?#define KERNEL (\w+)", text, re.DOTALL)
    own = re.search(rf"/\* ([^\n]*) \*/\n[^\n]*\b{kernel}\(", text)
    return own[1] if own else pasted[1] if pasted else ""


def mnist(device: Device, asked: argparse.Namespace) -> None:
    """examples/mnist.py as a user runs it, on the device."""
    exprc.config.device = asked.device
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, str(ROOT / "examples"))
        sys.argv = ["mnist.py", "--model", "lenet", "--epochs", str(asked.epochs), "--out", folder]
        begin = time.perf_counter()
        try:
            runpy.run_path(str(Path(ROOT) / "examples" / "mnist.py"), run_name="__main__")
        except SystemExit as ending:
            assert not ending.code, ending.code
        number(f"{asked.epochs} epochs and all around them, s", time.perf_counter() - begin)


LOOKS = {look.__name__: look for look in (machine, smoke, copies, launches, faults, torch, small, step, kernels, mnist)}


def main(looks: Mapping[str, Callable[[Device, argparse.Namespace], None]] = LOOKS) -> None:
    parser = argparse.ArgumentParser(description="One thing to look at on a GPU.")
    parser.add_argument("look", choices=looks)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--net", choices=nets.NETS, default="lenet")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer peers")
    asked = parser.parse_args()
    looks[asked.look](open_device(asked.device), asked)
    print("good", flush=True)


if __name__ == "__main__":
    main()
