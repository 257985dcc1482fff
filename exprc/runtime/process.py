"""One careful way to run a compiler: bounded in time and output, leaving no process behind; and the error when it goes wrong."""

from __future__ import annotations

import errno
import functools
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exprc.errors import CompileError, report
from exprc.runtime import cache

_KEPT = 64 * 1024
_SHOWN_LINES = 20
#: What a question to a compiler, or a program made to try something, may take.
PROBE_SECONDS = 20.0


@dataclass(frozen=True)
class Tool:
    """A compiler as messages speak of it.

    name : as the subject of a sentence. variables : those that choose it. hints : pieces of what went wrong, and what would mend it.
    by_hand : what to do where no hint fits.
    """

    name: str
    variables: str
    hints: tuple[tuple[str, str], ...]
    by_hand: str


def time_limit() -> float:
    """Seconds that one run of the compiler may take; this is the one place that reads ``EXPRC_CC_TIMEOUT``."""
    text = os.environ.get("EXPRC_CC_TIMEOUT") or "300"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        what = f"EXPRC_CC_TIMEOUT is {text!r}, which is not a number of seconds above 0"
        raise ValueError(report(what, fix="for example 300"))
    return seconds


# Finding


def resolve(text: str) -> tuple[str, ...] | None:
    """The argument list of a command given as text, its program by its whole path; None where there is no such program."""
    words = shlex.split(text)
    found = shutil.which(words[0]) if words else None
    return (os.path.abspath(found), *words[1:]) if found else None


def fingerprint(paths: Iterable[str]) -> str:
    """Path, time and size of files, so that a compiler that was exchanged is asked again."""
    return "\n".join(f"{path} {os.stat(path).st_mtime_ns} {os.stat(path).st_size}" for path in paths)


def version_of(tool: Tool, command: tuple[str, ...]) -> str:
    """What a compiler says of itself, asked once for all processes: starting it costs more than loading a program."""
    return _version(tool, command, fingerprint(filter(None, map(shutil.which, command))))


@functools.cache
def _version(tool: Tool, command: tuple[str, ...], found: str) -> str:
    key = cache.digest([*command, found])
    stored = cache.get_blob("compiler", key)
    if stored is not None:
        return stored.decode()
    version = _ask_version(tool, command)
    cache.put_blob("compiler", key, version.encode())
    return version


def _ask_version(tool: Tool, command: tuple[str, ...]) -> str:
    (job,) = compile_with(tool, [[*command, "--version"]], Path(tempfile.gettempdir()), min(PROBE_SECONDS, time_limit()))
    if job.status != 0:
        what = f"{tool.name} did not tell its version: {job.fault}"
        raise CompileError(message(what, [("command", shlex.join(job.argv), "")], "", job.said))
    return job.said.strip()


# Running


class Job:
    """One run of a program in a session of its own, its output kept in bounds: the first and the last 64 KB."""

    def __init__(self, argv: Sequence[str], folder: Path, seconds: float):
        self.argv, self.folder, self.seconds = list(argv), folder, seconds
        self.deadline = time.monotonic() + seconds
        self.head, self.tail, self.left_out = b"", b"", 0
        self.status: int | None = None
        self.fault = ""
        environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            self.argv, cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.pipe = self.process.stdout

    def take(self) -> bool:
        """Take what the program has printed; False at its end."""
        chunk = os.read(self.pipe.fileno(), _KEPT)
        room = _KEPT - len(self.head)
        self.head += chunk[:room]
        rest = self.tail + chunk[room:]
        self.tail = rest[-_KEPT:]
        self.left_out += len(rest) - len(self.tail)
        return bool(chunk)

    @property
    def said(self) -> str:
        gap = f"\n... {self.left_out} bytes left out ...\n".encode() if self.left_out else b""
        return (self.head + gap + self.tail).decode(errors="replace")

    def finish(self) -> None:
        """Wait for the end of a program that has closed its output."""
        try:
            self.status = self.process.wait(max(0.01, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
            return
        self.fault = _ending(self.status)
        self.pipe.close()

    def stop(self) -> None:
        """Kill the program and all that it started; a compiler driver leaves its children running otherwise."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.pipe.close()
        self.status, self.fault = (
            -signal.SIGKILL,
            f"it did not finish in {self.seconds:g} s (EXPRC_CC_TIMEOUT sets the limit)",
        )


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return (
        f"killed by {signal.Signals(-status).name}" if -status in set(signal.Signals) else f"killed by signal {-status}"
    )


def run(commands: Sequence[Sequence[str]], folder: Path, seconds: float) -> list[Job]:
    """Run commands, as many at once as there are CPUs, each for at most `seconds`; the first that fails ends them all.

    Returns the jobs that ended, the failed ones first. Whatever ends this call, no process outlives it.
    """
    waiting = deque(commands)
    running: set[Job] = set()
    ended: list[Job] = []
    with selectors.DefaultSelector() as output:
        try:
            while (waiting or running) and not (ended and ended[-1].status != 0):
                while waiting and len(running) < (os.cpu_count() or 1):
                    job = Job(waiting.popleft(), folder, seconds)
                    running.add(job)
                    output.register(job.pipe, selectors.EVENT_READ, job)
                for job in _collect(output, running):
                    output.unregister(job.pipe)
                    job.finish() if time.monotonic() < job.deadline else job.stop()
                    running.remove(job)
                    ended.append(job)
        finally:
            for job in running:
                job.stop()
    return sorted(ended, key=lambda job: job.status == 0)


def compile_with(tool: Tool, commands: Sequence[Sequence[str]], folder: Path, seconds: float) -> list[Job]:
    """Run commands of a compiler; that one cannot even be started is a CompileError."""
    try:
        return run(commands, folder, seconds)
    except OSError as error:
        text = f"{tool.name} cannot be started: {error.strerror or error}"
        raise CompileError(report(text, [("command", shlex.join(commands[0]), "")], f"correct {tool.variables}, or unset it")) from None


def _collect(output: selectors.BaseSelector, running: set[Job]) -> list[Job]:
    """Wait for output or for the next deadline; the jobs that closed their output or are out of time."""
    patience = min(job.deadline for job in running) - time.monotonic()
    closed = [event.data for event, _ in output.select(max(0.0, patience)) if not event.data.take()]
    return closed + [job for job in running if job not in closed and time.monotonic() >= job.deadline]


# Failing


_FOLDER_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
def check_folder(said: str, folder: Path) -> None:
    """Raise the OSError that the compiler met but could only print: another folder may do."""
    for number in _FOLDER_FAULTS:
        if os.strerror(number) in said:
            raise OSError(number, os.strerror(number), str(folder))
    if "failed to map segment" in said:
        raise OSError(errno.EPERM, "forbids running what it holds (mounted noexec)", str(folder))


def failure(tool: Tool, job: Job, units: Mapping[str, str]) -> CompileError:
    """The error for a run that went wrong, with the texts `units` saved so that the command can be run again by hand."""
    check_folder(job.said, job.folder)
    return refusal(tool, job.fault, job.said, units, job.argv)


def refusal(tool: Tool, fault: str, said: str, units: Mapping[str, str], argv: Sequence[str] = ()) -> CompileError:
    """The error for texts that a compiler refused; `argv` is the command, empty where the compiler is a library."""
    hint = next((hint for sign, hint in tool.hints if sign in f"{fault}\n{said}"), tool.by_hand)
    saved: Path | None = None
    try:
        saved = cache.keep_failure(cache.digest(units.values()), dict(units))
    except OSError as error:
        hint = f"the text could not be saved: {error}"
    unit = next((word for word in argv if word in units), next(iter(units)))
    place = f"cd {shlex.quote(str(saved))} && " if saved else ""
    rows = [("command", f"{place}{shlex.join(argv)}", "")] * bool(argv) + [("source", str(saved / unit) if saved else "(not saved)", "")]
    return CompileError(message(f"{tool.name} failed: {fault}", rows, hint, said))


def message(what: str, rows: Sequence[tuple[str, str, str]], hint: str, said: str) -> str:
    """A text that ends with what a compiler said."""
    lines = [line[:400] for line in said.splitlines()[-_SHOWN_LINES:]]
    header = f"it said (last {len(lines)} lines):" if lines else "it said nothing"
    return report(what, rows, "\n  ".join([*filter(None, [hint]), header, *(f"  {line}" for line in lines)]))
