"""Programs that take turns: each lives in a process of its own and works only while it is asked something.

The driver writes one line of JSON to a program's standard input and reads one from its standard output. A program that is
not asked waits for input, so that never two of them compute at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import fmean, median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.nets import CHECKED, NETS, Task, load_task

ROOT = Path(__file__).parent.parent
#: Steps, and part of a turn, that warm up before the clock runs.
WARM_STEPS, WARM_PART = 3, 0.15
#: Seconds that a program may take to answer: the slowest compile, with room.
PATIENCE = 900.0


# -- the program's end


class Stepper(Protocol):
    """A training step of one library."""

    settings: dict[str, Any]

    def step(self, k: int) -> Any:
        """Learn from batch `k`; return the loss, as a float unless the program was told not to wait for it."""

    def wait(self) -> None:
        """Return when all steps are done."""

    def reset(self) -> None:
        """Go back to the first parameters, and to no momentum."""

    def parameters(self) -> Sequence[NDArray[Any]]:
        """Return W and b of each layer, in the shapes of `nets.weighted`."""


def timed(
    stepper: Stepper, batches: int, seconds: float, block: int = 1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Warm up, then take steps for `seconds`; the clock is read after each block of steps."""
    stepper.reset()
    numbers = (k % batches for k in count())
    _steps(stepper, numbers, seconds * WARM_PART, block, WARM_STEPS, clock)
    times = _steps(stepper, numbers, seconds, block, 1, clock)
    return {"median": median(times), "mean": fmean(times), "best": min(times), "steps": len(times) * block}


def _steps(
    stepper: Stepper, numbers: Iterator[int], seconds: float, block: int, least: int, clock: Callable[[], float]
) -> list[float]:
    times: list[float] = []
    begin = now = clock()
    while now - begin < seconds or len(times) < least:
        last = now
        for _ in range(block):
            stepper.step(next(numbers))
        stepper.wait()
        now = clock()
        times.append((now - last) / block)
    return times


def checked(stepper: Stepper, path: str) -> dict[str, Any]:
    """Take the first steps from the first parameters; the losses are the answer, the parameters go to a file."""
    stepper.reset()
    losses = [_number(stepper.step(k)) for k in range(CHECKED)]
    stepper.wait()
    np.savez(path, **{f"p{k:02}": np.asarray(p) for k, p in enumerate(stepper.parameters())})  # type: ignore[arg-type]
    return {"losses": losses}


def _number(result: Any) -> float:
    """A loss; of an output, the probability of the first class, summed over the samples."""
    values = np.asarray(result)
    return float(values if values.ndim == 0 else values[:, 0].sum())


def serve(make: Callable[[Task, argparse.Namespace], Stepper], parser: argparse.ArgumentParser | None = None) -> None:
    """Build a step and answer questions about it until standard input ends."""
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--net", choices=list(NETS), required=True)
    parser.add_argument("--data", required=True, help="the file of the task")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--work", choices=("train", "infer"), default="train")
    parser.add_argument("--block", type=int, default=1, help="steps between two looks at the clock")
    args = parser.parse_args()
    task = load_task(args.data, args.net)

    def answer(stepper: Stepper, question: dict[str, Any], clock: Callable[[], float]) -> dict[str, Any]:
        if "check" in question:
            return checked(stepper, question["check"])
        return timed(stepper, len(task.labels), question["seconds"], args.block, clock)

    take_turns(lambda: make(task, args), args.threads, answer)


#: (program, question, clock) -> answer.
Answer = Callable[[Any, dict[str, Any], Callable[[], float]], Mapping[str, Any]]


def take_turns(make: Callable[[], Any], threads: int, answer: Answer) -> None:
    """Make a program, say how it is set up, and answer questions until standard input ends."""
    answers = _own_output()
    program = make()
    # with one thread, the processor's time: what else the machine does then matters less
    clock = time.process_time if threads == 1 else time.perf_counter
    _answer(answers, {**program.settings, "clock": clock.__name__})
    for line in sys.stdin:
        _answer(answers, answer(program, json.loads(line), clock))


def _own_output() -> Any:
    """Keep standard output for answers: whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: Any, value: Mapping[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


# -- the driver's end

#: Variables that change how a library computes, allocates or waits: every program runs without them, as on a fresh machine.
REMOVED = (
    "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_",
    "TORCH", "PYTORCH_", "XLA_", "JAX_", "TF_", "PYTHON",
)  # fmt: skip


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process' environment without what `REMOVED` begins with, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(REMOVED)}
    return {**kept, **extra}


def removed() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(REMOVED))


class Failed(Exception):
    """A program ended, or gave no answer in time."""


class Worker:
    """A program that waits for its turn.

    Raises
    ------
    Failed
        If the program ends or is silent for too long, here or in `ask`; with the end of what it said.
    """

    def __init__(self, name: str, command: Sequence[str], extra: Mapping[str, str]):
        self.name = name
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            list(command), cwd=ROOT, env=environment(extra),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said,
        )  # fmt: skip
        try:
            self.settings = self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and _answer says why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            what = "ended" if ready else f"gave no answer in {PATIENCE:g} s"
            raise Failed(f"{self.name} {what}:\n{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self.said.seek(0)
        return "\n".join(self.said.read().decode(errors="replace").splitlines()[-20:])

    def close(self) -> None:
        """End the program, and wait until it has ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.said.close()


@contextmanager
def working(workers: list[Worker]) -> Iterator[list[Worker]]:
    """End all workers of a list, those too that are added later, when the block ends."""
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()
