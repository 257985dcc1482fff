"""What `benchmarks.gpu` measures, one case in each process: ``python -m benchmarks.gpu_cases train --net lenet --batch 128``.

A line ``= name value`` is a number for the report. Programs take turns within a process; what is compared was measured in the same run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

import exprc
import exprc.tensor as T
from benchmarks import nets
from benchmarks.gpu_looks import main, number, seconds_of
from exprc.runtime.launch import Device

#: Rates of an H100 or H200 (SXM) by its data sheet: additions and multiplications a second in float32 and in TF32; bytes a second.
FLOAT32, TF32, BYTES = 66.9e12, 494e12, 4.8e12
#: Batches that programs go through, one a step; a scan does all of them in a call.
BATCHES = 16
#: By how much results may differ from ours, relatively: of the first step; of those after it LATER times as much, as differences grow.
SAME, SAME_TF32, LATER = 1e-4, 3e-2, 30


class Program(NamedTuple):
    """A program that takes turns. ready : called before each turn. step(k) : does batch k and returns the result.

    same : by how much its results may differ from ours.
    """

    name: str
    ready: Callable[[], None]
    reset: Callable[[], None]
    step: Callable[[int], Any]
    same: float = SAME


# -- networks


def train(device: Device, asked: argparse.Namespace) -> None:
    """A training step: batches from the host, the loss read each time."""
    _net("train", device, asked)


def infer(device: Device, asked: argparse.Namespace) -> None:
    """The output of a network, batches from the host and results to it."""
    _net("infer", device, asked)


def _net(work: str, device: Device, asked: argparse.Namespace) -> None:
    from benchmarks.exprc_step import Exprc

    net, case = nets.NETS[asked.net], f"{work} {asked.net} {asked.batch}"
    task = nets.digits_task(net, asked.batch, BATCHES)
    with exprc.config.override(device=asked.device):
        ours = Exprc(task, 1, work)
        ours.reset()
        expected = _first(ours.step)
    flops = (nets.step_flops if work == "train" else nets.output_flops)(net, asked.batch)
    floors = {"FLOP": flops / FLOAT32, "TF32": flops / TF32, "bytes": nets.step_bytes(net, asked.batch, work) / BYTES}
    for name, seconds in floors.items():
        number(f"{case}: floor {name}, us", 1e6 * seconds)
    number(f"{case}: launches", len(ours.function._compiled.launched()))
    programs = [Program("exprc", lambda: None, ours.reset, ours.step)]
    for program in _peers(task, work, asked.quick):
        program.ready()
        program.reset()
        apart = [float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(_first(program.step), expected, strict=True)]
        number(f"{case}: {program.name}, differs by", max(apart))
        assert apart[0] < program.same and max(apart) < LATER * program.same, f"{program.name} computes something else: {apart}"
        programs.append(program)
    times = _turns(programs, BATCHES * max(asked.steps // (4 * BATCHES if asked.quick else BATCHES), 1), 3 if asked.quick else 7)
    for name, took in times.items():
        number(f"{case}: {name}, us", 1e6 * median(took))
        if name != "exprc":
            number(f"{case}: {name} / exprc", median(t / o for t, o in zip(took, times["exprc"], strict=True)))


def _first(step: Callable[[int], Any]) -> list[Any]:
    return [np.asarray(step(k)) for k in range(nets.CHECKED)]


def _turns(programs: list[Program], steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a step in each round of each program."""
    times: dict[str, list[float]] = {program.name: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            program.ready()
            for k in range(BATCHES):
                program.step(k)
            begin = perf_counter()
            for k in range(steps):
                program.step(k % BATCHES)
            times[program.name].append((perf_counter() - begin) / steps)
    return times


def _peers(task: nets.Task, work: str, quick: bool) -> Iterator[Program]:
    """The peers that are installed, each at its best; one that fails is named."""
    for name, make in [*_torch(task, work, quick), *_jax(task, work, quick)]:
        try:
            yield make(name)
        except Exception as error:  # whatever a peer raises, the others are measured
            print(f"{name} fails: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", flush=True)


def _torch(task: nets.Task, work: str, quick: bool) -> list[tuple[str, Callable[[str], Program]]]:
    try:
        from benchmarks.peers.torch_gpu_step import TorchCompiled, TorchGpu, TorchGraph
    except ImportError:
        print("PyTorch is not installed")
        return []

    def maker(kind: Any, tf32: bool) -> Callable[[str], Program]:
        def make(name: str) -> Program:
            made = kind(task, tf32, work)
            return Program(name, made.ready, made.reset, made.step, SAME_TF32 if tf32 else SAME)

        return make

    kinds = [("PyTorch eager", TorchGpu, False), ("PyTorch graph", TorchGraph, False), ("PyTorch graph TF32", TorchGraph, True)]
    kinds += [] if quick else [("PyTorch compile", TorchCompiled, False), ("PyTorch compile TF32", TorchCompiled, True)]
    return [(name, maker(kind, tf32)) for name, kind, tf32 in kinds]


def _jax(task: nets.Task, work: str, quick: bool) -> list[tuple[str, Callable[[str], Program]]]:
    try:
        from benchmarks.peers.jax_gpu_step import JaxGpu, JaxScan
    except ImportError:
        print("JAX is not installed")
        return []

    def jit(name: str) -> Program:
        made = JaxGpu(task, "TF32" in name, work)
        return Program(name, made.ready, made.reset, made.step, SAME_TF32 if made.tf32 else SAME)

    def scan(name: str) -> Program:
        made = JaxScan(task, "TF32" in name, work)
        losses: list[float] = []

        def step(k: int) -> float:
            losses[:] = losses if k else made.steps()
            return losses[k]

        return Program(name, made.ready, made.reset, step, SAME_TF32 if made.tf32 else SAME)

    scans = [("JAX scan", scan)] if work == "train" else []
    return [("JAX jit", jit), *scans, *([] if quick else [("JAX jit TF32", jit)])]


# -- memory


def bandwidth(device: Device, asked: argparse.Namespace) -> None:
    """Chains of formulas and reductions over 10^8 elements, on data that stay on the device, beside the bytes that they must move."""
    count = 10**7 if asked.quick else 10**8
    source = np.random.default_rng(0).random(count, np.float32)
    x, y = exprc.shared(source), exprc.shared(np.zeros(count, np.float32))
    rows = x.reshape((count // 1000, 1000))
    cases: dict[str, tuple[dict[Any, Any], int]] = {
        "copy": ({y: x + 0}, 2), "chain": ({y: T.tanh(x) * T.exp(-x) + x * x}, 2), "update in place": ({y: 0.9 * y + x}, 3),
        "sum": ({exprc.shared(np.float32(0)): x.sum()}, 1), "max": ({exprc.shared(np.float32(0)): x.max()}, 1),
        "row sums": ({exprc.shared(np.zeros(count // 1000, np.float32)): rows.sum(axis=1)}, 1),
        "column sums": ({exprc.shared(np.zeros(1000, np.float32)): rows.sum(axis=0)}, 1),
        "softmax of rows": ({y: T.softmax(rows).reshape((count,))}, 2),
    }  # fmt: skip
    try:
        from benchmarks.peers.torch_gpu_products import bandwidth_of, wait
    except ImportError:
        print("PyTorch is not installed: exprc alone")
        theirs = {}
    else:
        theirs = bandwidth_of(source)
    for name, (updates, passes) in cases.items():
        moved = 4.0 * count * passes
        step = exprc.function([], [], updates=updates, device=asked.device)
        took = seconds_of(step, device.synchronize, 5, 3 if asked.quick else 7)
        number(f"{name} of {count}: exprc, GB/s", moved / took / 1e9)
        number(f"{name} of {count}: floor bytes, us", 1e6 * moved / BYTES)
        if name in theirs:
            number(f"{name} of {count}: PyTorch / exprc", seconds_of(theirs[name], wait, 5) / took)


# -- products


def products(device: Device, asked: argparse.Namespace) -> None:
    """Matrix products and convolutions with their gradients, alone, on data that stay on the device, beside those of PyTorch in float32."""
    own = {name: seconds_of(work, device.synchronize, 10) for name, work in _products(asked.device).items()}
    try:
        from benchmarks.peers.torch_gpu_products import products_of, wait
    except ImportError:
        print("PyTorch is not installed: exprc alone")
        theirs = {}
    else:
        theirs = {name: seconds_of(work, wait, 10) for name, work in products_of(PRODUCTS).items()}
    for name, took in own.items():
        case = PRODUCTS[name.split(":")[0]]
        number(f"{name}, TFLOP/s", case.flops / took / 1e12)
        if name in theirs:
            number(f"{name}, PyTorch / exprc", theirs[name] / took)


class Product(NamedTuple):
    """A matrix product (m, k) · (k, n), or a convolution of images with filters and padding."""

    a: tuple[int, ...]
    b: tuple[int, ...]
    pad: int = 0

    @property
    def flops(self) -> float:
        if len(self.a) == 2:
            return 2.0 * self.a[0] * self.a[1] * self.b[1]
        (n, _, h, w), (o, c, kh, kw) = self.a, self.b
        return 2.0 * n * o * (h + 2 * self.pad - kh + 1) * (w + 2 * self.pad - kw + 1) * c * kh * kw


PRODUCTS = {
    "gemm 4096": Product((4096, 4096), (4096, 4096)),
    "gemm 1000": Product((1000, 1000), (1000, 1000)),
    "gemm 128 800 256": Product((128, 800), (800, 256)),
    "conv lenet 1": Product((128, 1, 28, 28), (20, 1, 5, 5)),
    "conv lenet 2": Product((128, 20, 12, 12), (50, 20, 5, 5)),
    "conv vgg": Product((32, 128, 56, 56), (128, 128, 3, 3), 1),
}


def product_graphs() -> Iterator[tuple[str, Any]]:
    """Yield (name, or name: gradient; what computes it from variables) of `PRODUCTS`."""
    rng = np.random.default_rng(0)
    for name, case in PRODUCTS.items():
        a, b = (exprc.shared(rng.standard_normal(shape).astype(np.float32)) for shape in (case.a, case.b))
        y = a @ b if len(case.a) == 2 else T.conv2d(a, b, border_mode=case.pad)
        g = exprc.shared(rng.standard_normal(y.type.shape).astype(np.float32))
        parts = {name: y}
        if len(case.a) == 4:
            parts |= dict(zip((f"{name}: input", f"{name}: weights"), exprc.grad((y * g).sum(), [a, b]), strict=True))
        yield from parts.items()


def _products(device: str) -> dict[str, Callable[[], Any]]:
    """The same by name, computed into variables."""
    made: dict[str, Callable[[], Any]] = {}
    for name, value in product_graphs():
        kept = exprc.shared(np.zeros(value.type.shape, np.float32))
        made[name] = exprc.function([], [], updates={kept: value + kept / 2}, device=device)  # read, so that it stays there
    return made


CASES = {case.__name__: case for case in (train, infer, bandwidth, products)}

if __name__ == "__main__":
    main(CASES)
