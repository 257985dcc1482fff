"""Everything that is measured on the CPU, exprc beside its peers, in one interleaved run.

    python -m benchmarks.cpu --peers-python PATH/TO/ENVIRONMENT/bin/python

All programs of a case are started first; then they take turns, A B C A B C ..., so that whatever slows the machine for a
while slows all of them. See README.md for the peers' environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import arrays, cold, memory, nets, roofline
from benchmarks.calibrate import Machine
from benchmarks.table import markdown
from benchmarks.turns import ROOT, Failed, Worker, removed, working
from exprc.runtime.cache import atomic_write

#: The networks whose cold start and memory are measured.
COLD = ("fc256", "lenet")
#: Different batches that a program learns from in turn.
TASK_BATCHES = 16
#: How far losses and parameters (or the results of work on arrays) may be apart after the first steps, relative to the greatest or to 1,
#: whichever is more. The second leaves room for a ReLU that rounding puts on the other side of its kink: it moves a filter by some 5e-6.
#: "winograd": so many times as far with filters of 3 x 3 or 5 x 5, convolved with fewer products that are rounded 3 to 8 times as much.
TOLERANCE = {"loss": 1e-5, "parameters": 5e-5, "winograd": 10}
#: Seconds between two turns: threads that still spin at a barrier have then gone to sleep.
PAUSE = 0.1


class Program(NamedTuple):
    """A row of the table: how a training step is started."""

    name: str
    module: str
    options: tuple[str, ...] = ()
    extra: dict[str, str] = {}  # never written
    judged: bool = True  # whether exprc should be as many times as fast as the case says


EXPRC = Program("exprc", "benchmarks.exprc_step")
TORCH = Program("PyTorch eager", "benchmarks.peers.torch_step")
JAX = Program("JAX jit", "benchmarks.peers.jax_step")
JAX_QUEUED = Program("JAX jit, queued", "benchmarks.peers.jax_step", ("--block", "10"), judged=False)
# Keeps the memory of activations instead of giving it back after each step: up to twice as fast for convolutions.
KEPT = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "268435456"}
TORCH_TUNED = Program("PyTorch tuned", "benchmarks.peers.torch_step", ("--channels-last",), {**KEPT, "OMP_PROC_BIND": "true"})

#: What runs beside exprc for each network; beside one unlike those of the table, only so that numbers are compared.
PEERS = {
    "fc64": (JAX, JAX_QUEUED, TORCH_TUNED), "fc256": (JAX, JAX_QUEUED, TORCH_TUNED),
    "lenet": (TORCH_TUNED, TORCH, JAX), "lenet_norm": (TORCH_TUNED, TORCH, JAX), "vgg": (TORCH_TUNED, TORCH, JAX),
    **{net.name: (TORCH_TUNED._replace(judged=False),) for net in nets.OTHERS},
}  # fmt: skip
#: What runs beside exprc for work on arrays, by the names in `arrays.WORK`.
ARRAYS = {
    "exprc": Program("exprc", "benchmarks.exprc_arrays"),
    "NumPy": Program("NumPy", "benchmarks.peers.numpy_arrays", extra=KEPT),
    "numexpr": Program("numexpr", "benchmarks.peers.numpy_arrays", ("--compiled",), KEPT),
    "PyTorch": Program("PyTorch tuned", "benchmarks.peers.torch_arrays", (), TORCH_TUNED.extra),
    "PyTorch compiled": Program("PyTorch compiled", "benchmarks.peers.torch_arrays", ("--compiled",), TORCH_TUNED.extra),
    "JAX": Program("JAX jit", "benchmarks.peers.jax_arrays"),
    "PyTensor": Program("PyTensor", "benchmarks.peers.pytensor_arrays", extra=KEPT),
}
CASES = (*nets.CASES, *(nets.Case("arrays", work.name, 1, work.goal) for work in arrays.WORK.values()))
#: What `--quick` measures, unless it is told what.
ESSENTIAL = ("fc64", "lenet", "other1", "chain", "layer_norm", "call", "product1000")
#: And without whom: who is never the fastest of the peers. To start a program takes longer than its turns.
SPARED = ("PyTorch eager", "JAX jit, queued", "PyTensor", "numexpr")


class Settings(NamedTuple):
    """How long everything takes."""

    rounds: int
    seconds: float
    starts: int
    calls: int
    samples: int  # of the calibration


FULL, QUICK = Settings(7, 2.0, 5, 10_000, 5), Settings(3, 0.3, 1, 300, 3)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- a case: one network, one batch size


def run_case(case: nets.Case, programs: Sequence[Program], python: str, threads: int, settings: Settings) -> dict[str, Any]:
    """Start the programs, compare their numbers, and let them take turns."""
    what = described_case(case)
    say(f"{case.work} {what['title']}, batch {case.batch}")
    with tempfile.TemporaryDirectory(prefix="exprc-bench-") as folder, working([]) as workers:
        task = ["--threads", str(threads), "--work", case.net] if case.work == "arrays" else net_task(case, Path(folder), threads)
        for program in programs:
            say(f"  starting {program.name}")
            interpreter = sys.executable if program.name == "exprc" else python
            workers.append(Worker(program.name, [interpreter, "-m", program.module, *task, *program.options], program.extra))
        checks = compare(workers, Path(folder), room(case))
        rounds = [take_turns(workers, settings.seconds, k) for k in range(settings.rounds)]
        rows = {
            p.name: {
                "settings": w.settings, "environment": p.extra, "goal": (case.goal or None) if p.judged else None,
                "rounds": [r[p.name] for r in rounds],
            }
            for p, w in zip(programs, workers, strict=True)
        }
    return {**what, "checks": checks, "programs": rows}


def described_case(case: nets.Case) -> dict[str, Any]:
    """Say what a case computes: operations, and the bytes of what it is given, the least that is read."""
    what: dict[str, Any] = {"work": case.work, "net": case.net, "batch": case.batch}
    if case.work == "arrays":
        work = arrays.WORK[case.net]
        return {**what, "title": work.title, "flops": work.flops, "bytes": work.nbytes, "products": work.judged}
    net = nets.NETS[case.net]
    flops = nets.step_flops(net, case.batch) if case.work == "train" else nets.output_flops(net, case.batch)
    return {**what, "title": net.title, "flops": flops, "bytes": nets.step_bytes(net, case.batch, case.work), "products": True}


def net_task(case: nets.Case, folder: Path, threads: int) -> list[str]:
    """Write the batches and first parameters of a network to a file; return what a program is told."""
    data = folder / "task.npz"
    nets.save_task(data, nets.digits_task(nets.NETS[case.net], case.batch, TASK_BATCHES))
    return ["--net", case.net, "--data", str(data), "--threads", str(threads), "--work", case.work]


def take_turns(workers: Sequence[Worker], seconds: float, number: int) -> dict[str, dict[str, float]]:
    """One round: each program once."""
    answers = {}
    for worker in workers:
        time.sleep(PAUSE)
        answers[worker.name] = worker.ask(seconds=seconds)
    say(f"  round {number + 1}: " + "  ".join(f"{name} {a['median'] * 1e3:.3f} ms" for name, a in answers.items()))
    return answers


def room(case: nets.Case) -> float:
    """How many times `TOLERANCE` a case is allowed."""
    layers = nets.NETS[case.net].layers if case.net in nets.NETS else ()
    ours = any(isinstance(x, nets.Residual) or (isinstance(x, nets.Conv) and x.size in (3, 5)) for x in layers)
    return TOLERANCE["winograd"] if ours else 1


def compare(workers: Sequence[Worker], folder: Path, room: float = 1) -> dict[str, dict[str, Any]]:
    """Let all programs take the same first steps; return how far each peer is from exprc, which comes first."""
    found: list[Any] = []
    for worker in workers:
        file = folder / f"{len(found)}.npz"
        losses = worker.ask(check=str(file))["losses"]
        with np.load(file) as arrays:
            found.append((losses, [arrays[key] for key in sorted(arrays.files)]))
    return {w.name: difference(found[0], other, room) for w, other in zip(workers[1:], found[1:], strict=True)}


def difference(ours: Any, theirs: Any, room: float = 1) -> dict[str, Any]:
    """Compare (losses, parameters) with (losses, parameters); not a number anywhere is a difference too."""
    losses = max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(ours[0], theirs[0], strict=True))
    parameters = max(float(np.abs(a - b).max()) / max(1.0, float(np.abs(a).max())) for a, b in zip(ours[1], theirs[1], strict=True))
    finite = all(np.isfinite(x).all() for x in (*ours[0], *theirs[0], *ours[1], *theirs[1]))
    agrees = bool(finite and losses <= room * TOLERANCE["loss"] and parameters <= room * TOLERANCE["parameters"])
    return {"losses": ours[0], "their_losses": theirs[0], "loss": losses, "parameters": parameters, "agrees": agrees}


# -- the whole run


def run(args: argparse.Namespace) -> dict[str, Any]:
    settings = QUICK if args.quick else FULL
    settings = settings._replace(rounds=args.rounds or settings.rounds, seconds=args.seconds or settings.seconds)
    threads = confined(args.threads)
    results: dict[str, Any] = {"machine": described(threads), "settings": settings._asdict()}
    results |= {"tolerance": TOLERANCE, "checked": nets.CHECKED}
    calibration = Machine(threads)
    say("calibration")
    before = calibration.measure(times=settings.samples)
    results["cases"] = [
        run_case(case, programs_of(case, args), args.peers_python, threads, settings)
        for case in CASES
        if case.work in args.work and case.net in args.only and (not args.batches or case.batch in args.batches)
    ]
    results["calibration"] = {"before": before, "after": calibration.measure(times=settings.samples)}
    results |= beside_steps([n for n in COLD if n in args.only], 128, settings, threads)
    results["machine"]["load after"] = load()
    return results


def beside_steps(names: Sequence[str], batch: int, settings: Settings, threads: int) -> dict[str, Any]:
    """Measure cold starts and memory of each network."""
    say(f"{settings.starts} cold starts of each network")
    starts = [cold.starts(nets.NETS[name], batch, settings.starts) for name in names]
    say(f"memory over {settings.calls} calls")
    sizes = [memory.asked(nets.NETS[name], batch, settings.calls, threads) for name in names]
    return {
        "cold": [{"net": name, "batch": batch, "starts": found} for name, found in zip(names, starts, strict=True)],
        "memory": [{"net": name, "batch": batch, **found} for name, found in zip(names, sizes, strict=True)],
    }


def programs_of(case: nets.Case, args: argparse.Namespace) -> list[Program]:
    if case.work == "arrays":
        ours, peers = ARRAYS["exprc"], [ARRAYS[name] for name in arrays.WORK[case.net].peers]
    else:
        ours, peers = EXPRC, [p for p in PEERS[case.net] if p is not JAX_QUEUED or case.work == "train"]
    return [ours, *(p for p in peers if not args.no_peers and p.name not in args.without)]


def confined(threads: int) -> int:
    """Keep this process, and all that it starts, to as many CPUs as threads: some peers take all that they may use."""
    if not hasattr(os, "sched_setaffinity"):
        return threads
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])
    return min(threads, len(allowed))


def described(threads: int) -> dict[str, Any]:
    kept = {k: v for k, v in os.environ.items() if k.startswith("EXPRC_") or k == "CC"}
    return {
        "processor": processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": threads,
        "cpus": os.cpu_count(),
        "load before": load(),
        "environment removed": removed(),
        "environment of exprc": {k: v for k, v in kept.items() if k not in ("EXPRC_CACHE", "EXPRC_PEERS_PYTHON")},
        "checkout": checkout(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def checkout() -> str:
    """Return the commit that is measured, and whether files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def load() -> float:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else float("nan")


# -- the command


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description="exprc beside its peers, on the CPU.")
    add = parser.add_argument
    python, out = os.environ.get("EXPRC_PEERS_PYTHON"), Path("benchmarks/results")
    add("--peers-python", default=python, help="interpreter of the peers' environment (default: $EXPRC_PEERS_PYTHON)")
    add("--without", nargs="+", metavar="PROGRAM", default=[], help="programs that do not run, by their names in the table")
    add("--no-peers", action="store_true", help="exprc alone")
    add("--only", "--nets", nargs="+", metavar="NAME", choices=[*nets.NETS, *arrays.WORK], help="these networks and work on arrays")
    add("--batches", nargs="+", type=int, help="only these (default: all of the table)")
    add("--work", nargs="+", choices=("train", "infer", "arrays"), default=["train", "infer", "arrays"])
    add("--threads", type=int, default=2)
    add("--rounds", type=int, help=f"turns of each program (default: {FULL.rounds})")
    add("--seconds", type=float, help=f"length of a turn (default: {FULL.seconds:g})")
    add("--quick", action="store_true", help="the essentials, in short turns, beside the fastest peers")
    add("--json", action="store_true", help="print all numbers instead of the tables")
    add("--out", metavar="DIR", type=Path, default=out, help=f"the folder for cpu.json, cpu.md and cpu.svg (default: {out})")
    args = parser.parse_args(given)
    args.only = args.only or (list(ESSENTIAL) if args.quick else [*nets.NETS, *arrays.WORK])
    args.without = [*args.without, *(SPARED if args.quick else ())]
    if not args.peers_python and not args.no_peers:
        parser.error("give --peers-python or EXPRC_PEERS_PYTHON (benchmarks/README.md), or --no-peers")
    return args


def main(given: Sequence[str] | None = None) -> int:
    args = arguments(given)
    try:
        results = run(args)
    except (Failed, OSError) as error:
        say(f"benchmarks.cpu: {error}")
        return 2
    text, tables = json.dumps(results, indent=1), markdown(results)
    args.out.mkdir(parents=True, exist_ok=True)
    atomic_write(args.out / "cpu.json", text.encode())
    atomic_write(args.out / "cpu.md", tables.encode())
    atomic_write(args.out / "cpu.svg", roofline.picture(results).encode())
    print(text if args.json else tables)
    return 0 if all(check["agrees"] for case in results["cases"] for check in case["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
