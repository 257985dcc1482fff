"""What the host itself does in a training step on a GPU: ``python -m benchmarks.gpu_host``. No GPU is needed, pycuda is.

The driver is that of the tests, told to do nothing (``FAKE_IDLE``): every call of it comes back at once. So what is timed is what the
processor does from the call of a function to its return, without what the real driver adds to it. What is computed is never looked at.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import exprc
import exprc.tensor as T
from benchmarks import nets
from benchmarks.exprc_step import training_step
from benchmarks.turns import ROOT
from exprc.runtime import cubin

BATCHES, STEPS = 16, 16


def from_the_host(net: nets.Net, batch: int) -> Callable[[], Any]:
    """A step on images and labels that are arrays of NumPy; its loss is read."""
    task, made = nets.digits_task(net, batch, BATCHES), training_step(net, batch)
    step, images, labels = made.compile("step"), task.images[0], task.labels[0]
    return lambda: step(images, labels)


def resident(net: nets.Net, batch: int, steps: int | None, read: bool) -> Callable[[], Any]:
    """A step, or so many in a call, on data that live on the device, by the number of the batch; its loss is read or there is none."""
    task, made = nets.digits_task(net, batch, BATCHES), training_step(net, batch)
    images = exprc.shared(task.images.reshape(-1, *task.images.shape[2:]), name="images")
    labels, index = exprc.shared(task.labels.reshape(-1), name="labels"), exprc.shared(0, name="index")
    here = slice(index * batch, (index + 1) * batch)
    givens = {made.inputs[0]: images[here], made.inputs[1]: labels[here]}
    updates = {**made.updates, index: (index + 1) % BATCHES}
    return exprc.function([], made.loss if read else None, updates, givens, steps=steps)


def by_number(net: nets.Net, batch: int) -> Callable[[], Any]:
    """A step on resident data whose number of the batch is given as a number of Python, as Theano's tutorials do."""
    task, made = nets.digits_task(net, batch, BATCHES), training_step(net, batch)
    images = exprc.shared(task.images.reshape(-1, *task.images.shape[2:]), name="images")
    labels, index = exprc.shared(task.labels.reshape(-1), name="labels"), T.lscalar("index")
    here = slice(index * batch, (index + 1) * batch)
    givens = {made.inputs[0]: images[here], made.inputs[1]: labels[here]}
    step, numbers = exprc.function([index], made.loss, made.updates, givens), itertools.cycle(range(BATCHES))
    return lambda: step(next(numbers))


def cases(net: nets.Net, batch: int) -> dict[str, Callable[[], Any]]:
    return {
        "images and labels from NumPy, the loss read": from_the_host(net, batch),
        "resident data and index, the loss read": resident(net, batch, None, True),
        "resident data and index, no loss": resident(net, batch, None, False),
        "resident data, the index given, the loss read": by_number(net, batch),
        f"{STEPS} steps a call, resident, the losses read": resident(net, batch, STEPS, True),
    }


def microseconds(call: Callable[[], Any], count: int, rounds: int = 9) -> float:
    """The median over rounds of the time that a call takes."""
    for _ in range(2 * BATCHES + 3):
        call()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        times.append((time.perf_counter() - begin) / count)
    return 1e6 * median(times)


def profile(call: Callable[[], Any]) -> None:
    """Print the functions of a call that take longest."""
    with cProfile.Profile() as seen:
        for _ in range(5000):
            call()
    pstats.Stats(seen).sort_stats("tottime").print_stats(25)


def look(asked: argparse.Namespace) -> None:
    """Time the cases, in a process whose driver does nothing."""
    cubin.load_cubin = lambda *_: cubin.Cubin(b"IDLE", True, 0.0)
    with exprc.config.override(device="cuda"):
        made = cases(nets.NETS[asked.net], asked.batch)
        for name, call in made.items():
            print(f"{asked.net} step of {asked.batch}, {name}: {microseconds(call, asked.calls):.1f} us a call", flush=True)
            if asked.profile:
                profile(call)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_host", description=__doc__)
    parser.add_argument("--net", choices=nets.NETS, default="lenet")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--calls", type=int, default=2000, help="of each case in a round")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    asked = parser.parse_args()
    if "FAKE_IDLE" in os.environ:
        return look(asked)
    from tests.cuda import fake_driver

    if fake_driver.pycuda_library() is None:
        raise SystemExit(fake_driver.NO_PYCUDA)
    with tempfile.TemporaryDirectory() as folder:
        driver = fake_driver.build(Path(folder))
        there = fake_driver.environment(driver, FAKE_IDLE="1", FAKE_MEMORY=str(1 << 33))
        command = [sys.executable, "-m", "benchmarks.gpu_host", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=there, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
