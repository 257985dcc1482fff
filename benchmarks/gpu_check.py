"""All that a machine with a GPU should look at, in parts of at most eight minutes.

    python -m benchmarks.gpu_check --report FOLDER             all parts, one after the other
    python -m benchmarks.gpu_check --report FOLDER --part 1    one of them

Part 1 looks at what is there, compiles and runs a text, measures copies and launches, breaks things on purpose, and meets
PyTorch. Part 2 is the test suite for GPUs, part 3 a few functions under compute-sanitizer, part 4 LeNet on MNIST. Each check is a
process of its own, so that what ends one of them does not end the others. What they say is printed and kept in FOLDER/partN.txt, the
results in FOLDER/report.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks.turns import ROOT
from exprc.errors import DeviceError
from exprc.runtime.cache import atomic_write

#: Seconds that a part may take; what is left of them is what a check may take.
PART_SECONDS = 470.0


class Check(NamedTuple):
    """Something to look at: a command, and the seconds that it may take."""

    name: str
    command: tuple[str, ...]
    seconds: float
    needs: str = ""  # a program without which it is left out


def python(name: str, seconds: float, *options: str, module: str = "gpu_looks") -> Check:
    """A look of `benchmarks.gpu_looks`, or a case of `benchmarks.gpu_cases`."""
    return Check(" ".join((name, *options)), (sys.executable, "-m", f"benchmarks.{module}", name, *options), seconds)


def case(name: str, seconds: float, *options: str) -> Check:
    return python(name, seconds, *options, module="gpu_cases")


def _sanitized(tool: str, *options: str) -> Check:
    command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", *options)
    return Check(tool, (*command, sys.executable, "-m", "benchmarks.gpu_looks", "small"), 150, "compute-sanitizer")


_WORKERS = ("-n", "8") if importlib.util.find_spec("xdist") else ()  # most of the time goes into compiling
# Without pytest-benchmark, which some have installed: its warning beside pytest-xdist is an error here.
_PYTEST = (
    "-m", "pytest", "-m", "cuda", "-p", "no:cacheprovider", "-p", "no:benchmark", "-q", "-ra", "--durations=10", "--timeout=200",
    *_WORKERS, "tests",
)  # fmt: skip

PARTS = {
    1: [
        Check("doctor", (sys.executable, "-m", "exprc", "doctor"), 60),
        python("machine", 60), python("smoke", 60), python("copies", 60), python("launches", 90), python("faults", 120),
        python("torch", 90),
    ],
    2: [Check("suite", (sys.executable, *_PYTEST), 460)],
    3: [_sanitized("memcheck"), _sanitized("racecheck"), _sanitized("initcheck"), _sanitized("synccheck")],
    4: [
        python("step", 100, "--net", "fc256", "--batch", "128"), python("step", 120, "--net", "lenet", "--batch", "128"),
        python("step", 120, "--net", "lenet", "--batch", "500"), Check("resident", (sys.executable, "-m", "benchmarks.gpu_resident"), 90),
        python("mnist", 150), case("train", 90, "--batch", "128", "--quick"),
        case("train", 90, "--batch", "500", "--quick"), case("products", 90), python("kernels", 60, "--net", "fc256", "--batch", "128"),
        python("kernels", 60, "--net", "lenet", "--batch", "128"), python("kernels", 60, "--net", "lenet", "--batch", "500"),
    ],
}  # fmt: skip


class Result(NamedTuple):
    """How a check ended. status : ok, FAILED, out of time, or left out."""

    name: str
    status: str
    seconds: float
    numbers: dict[str, Any]


def run(check: Check, device: str, log: IO[str], seconds: float) -> Result:
    """Run one check; what it prints goes to the standard output and the log, lines ``= name value`` are its numbers."""
    begin = time.monotonic()
    if check.needs and shutil.which(check.needs) is None:
        return Result(check.name, f"left out: there is no {check.needs}", 0.0, {})
    command = [*check.command, *(["--device", device] if any(c.startswith("benchmarks.gpu_") for c in check.command) else [])]
    numbers: dict[str, Any] = {}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    limit = min(check.seconds, seconds)
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as process, _Ending(process, limit) as ending:
        for line in process.stdout or ():
            _say(f"    {line.rstrip()}", log)
            if line.startswith("= "):
                name, _, value = line[2:].strip().rpartition(" ")
                numbers[name] = float(value)
        process.wait()
    spent = time.monotonic() - begin
    return Result(check.name, ending.told(), round(spent, 2), numbers)


class _Ending:
    """Ends a process, with all that it started, that takes too long or is not waited for any more."""

    def __init__(self, process: subprocess.Popen[str], seconds: float):
        self.process, self.seconds, self.late = process, seconds, False
        self.timer = threading.Timer(max(seconds, 1.0), self._end)
        self.timer.daemon = True
        self.timer.start()

    def __enter__(self) -> _Ending:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.timer.cancel()
        if kind is not None:
            self._end()

    def _end(self) -> None:
        self.late = True
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def told(self) -> str:
        if self.late:
            return f"out of time ({self.seconds:.0f} s)"
        return "ok" if self.process.returncode == 0 else f"FAILED (exit status {self.process.returncode})"


def _say(text: str, log: IO[str]) -> None:
    print(text, flush=True)
    print(text, file=log, flush=True)


def run_part(checks: Sequence[Check], number: int, device: str, folder: Path, done: Collection[str] = ()) -> list[Result]:
    """Run the checks of a part, but for those that are `done`."""
    results, end = [], time.monotonic() + PART_SECONDS
    with open(folder / f"part{number}.txt", "a" if done else "w", encoding="utf-8") as log:
        for k, check in enumerate(checks, 1):
            if check.name in done:
                continue
            _say(f"== part {number}, {k} of {len(checks)}: {check.name}", log)
            left = end - time.monotonic()
            result = run(check, device, log, left) if left > 5 else Result(check.name, "left out: the part is out of time", 0.0, {})
            _say(f"-- {check.name}: {result.status}, {result.seconds:.1f} s", log)
            results.append(result)
    return results


def kept(folder: Path, number: int) -> list[Result]:
    """The results of a part in the report, as far as it has been run."""
    path = folder / "report.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [Result(**result) for result in told.get(f"part {number}", [])]


def keep(folder: Path, number: int, results: Sequence[Result]) -> None:
    """Put the results of a part in the report."""
    path = folder / "report.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    told[f"part {number}"] = [result._asdict() for result in results]
    atomic_write(path, json.dumps(told, indent=2).encode())


def _missing(device: str) -> str:
    """Why the device cannot be used, or ""."""
    from exprc.runtime.devices import open_device

    try:
        open_device(device)
    except DeviceError as error:
        return str(error)
    return ""


def options(program: str, about: str, parts: Collection[int]) -> argparse.ArgumentParser:
    """What this command and `benchmarks.gpu` take."""
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{program}", description=about, formatter_class=plain)
    parser.add_argument("--report", type=Path, required=True, metavar="FOLDER", help="where the report is written")
    parser.add_argument("--part", type=int, choices=parts, action="append", help="which part; may be given several times (default: all)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda1 ...; cuda-emulator tries the command itself (default: cuda)")
    return parser


def carry_out(parts: Mapping[int, Sequence[Check]], asked: argparse.Namespace, resumes: bool = False) -> int:
    """Run the parts that are asked for; the exit status is 0 where all is well, 1 where something failed, 2 without a device.

    resumes : whether checks that the report has as good are not run again.
    """
    missing = _missing(asked.device)
    if missing:
        print(f"There is nothing to check here: {missing}", file=sys.stderr)
        return 2
    asked.report.mkdir(parents=True, exist_ok=True)
    every: list[Result] = []
    for number in asked.part or parts:
        good = [r for r in kept(asked.report, number) if r.status == "ok"] if resumes else []
        results = [*good, *run_part(parts[number], number, asked.device, asked.report, {r.name for r in good})]
        keep(asked.report, number, results)
        every += results
    print("== summary")
    for result in every:
        print(f"{result.status:<14} {result.seconds:7.1f} s  {result.name}")
        for name, value in result.numbers.items():
            print(f"{'':<26}{name} {value:g}")
    return 0 if all(r.status == "ok" or r.status.startswith("left out") for r in every) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; the exit status is 0 where all is well, 1 where something failed, 2 without a device."""
    return carry_out(PARTS, options("gpu_check", __doc__ or "", PARTS).parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
