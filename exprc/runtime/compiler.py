"""The C compiler: finding it, what it is told, and one careful way to run it.

Texts come in, the path of a shared object that loads goes out; everything else that can happen is a `CompileError` that
names the command, what the compiler said and where the text was saved.
"""

from __future__ import annotations

import errno
import functools
import os
import platform
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exprc.errors import CompileError, report
from exprc.runtime import cache, progress
from exprc.runtime.entry import ffi

FLAGS = (
    "-O2",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fwrapv",
    "-fvisibility=hidden",
    "-fPIC",
)
_KEPT = 64 * 1024
_SHOWN_LINES = 20
_PROBE_SECONDS = 20.0


class NoCompiler(CompileError):
    """There is no C compiler on this machine; the NumPy interpreter can still run the program, slowly."""


@dataclass(frozen=True)
class Target:
    """What a program is made for: the vectors of the CPU, and the compiler that will read the text.

    Parameters
    ----------
    name : ``avx512``, ``avx2``, ``neon`` or ``scalar``.
    vector_bytes, registers : the size of a vector register and how many of them there are.
    features : the compiler flags that switch these vectors on.
    compiler : ``gcc``, ``clang`` or ``other``.
    openmp : whether the text may rely on OpenMP threads.

    Examples
    --------
    >>> AVX512.lanes(4), SCALAR.lanes(8)
    (16, 1)
    """

    name: str
    vector_bytes: int
    registers: int
    features: tuple[str, ...]
    compiler: str
    openmp: bool

    def lanes(self, dtype_size: int) -> int:
        """How many numbers of `dtype_size` bytes one vector register holds; at least 1."""
        return max(1, self.vector_bytes // dtype_size)


# gcc alone: it would turn the short copies of packed panels into `rep movs`, which takes longer to start than to copy.
_GCC_FLAGS = ("-fno-tree-loop-distribute-patterns",)

_AVX2_FLAGS = ("-mavx2", "-mfma", "-mf16c")
_AVX512_FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512")

#: Targets that depend on no machine: what the golden texts are rendered for.
AVX512 = Target("avx512", 64, 32, _AVX2_FLAGS + _AVX512_FLAGS, "gcc", True)
AVX2 = Target("avx2", 32, 16, _AVX2_FLAGS, "gcc", True)
NEON = Target("neon", 16, 32, (), "gcc", True)
SCALAR = Target("scalar", 8, 16, (), "gcc", True)


# Finding


@dataclass(frozen=True)
class Compiler:
    """A compiler that answered: its command, what it says it is, and its family (``gcc``, ``clang``, ``other``)."""

    command: tuple[str, ...]
    version: str
    kind: str


def find_compiler() -> Compiler:
    """The compiler named by ``EXPRC_CC``, else by ``CC``, else the first of cc, gcc and clang on the path.

    Raises
    ------
    NoCompiler
        Where there is none.
    CompileError
        Where ``EXPRC_CC`` names one that does not exist, or the compiler does not answer.
    """
    command = _command()
    return _identify(command, _fingerprint(command))


def _command() -> tuple[str, ...]:
    """The argument list that starts the compiler; this is the one place that reads ``EXPRC_CC`` and ``CC``."""
    asked = os.environ.get("EXPRC_CC", "").strip()
    if asked:
        command = _resolve(asked)
        if command is None:
            what = f"EXPRC_CC names the compiler {asked!r}, which does not exist"
            raise CompileError(report(what, fix="correct EXPRC_CC, or unset it to use cc, gcc or clang"))
        return command
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        command = _resolve(name)
        if command:
            return command
    raise NoCompiler(report(_NONE, fix=_INSTALL))


_NONE = "no C compiler found: neither EXPRC_CC nor CC names one, and cc, gcc and clang are not on the path"
_INSTALL = (
    "install one: apt install gcc (Debian, Ubuntu), dnf install gcc (Fedora), xcode-select --install (macOS),\n"
    "  or conda install gcc"
)


def _resolve(text: str) -> tuple[str, ...] | None:
    words = shlex.split(text)
    found = shutil.which(words[0]) if words else None
    return (os.path.abspath(found), *words[1:]) if found else None


def _fingerprint(command: tuple[str, ...]) -> str:
    """Path, time and size of every program in the command, so that a compiler that was exchanged is asked again."""
    programs = filter(None, map(shutil.which, command))
    return "\n".join(f"{path} {os.stat(path).st_mtime_ns} {os.stat(path).st_size}" for path in programs)


@functools.cache
def _identify(command: tuple[str, ...], fingerprint: str) -> Compiler:
    """Ask the compiler for its version, once for all processes: starting it costs more than loading a program."""
    key = cache.digest([*command, fingerprint])
    stored = cache.get_blob("compiler", key)
    if stored is not None:
        version = stored.decode()
    else:
        version = _ask_version(command)
        cache.put_blob("compiler", key, version.encode())
    return Compiler(command, version, _kind(version))


def _ask_version(command: tuple[str, ...]) -> str:
    (job,) = _compile([[*command, "--version"]], Path(tempfile.gettempdir()), min(_PROBE_SECONDS, _timeout()))
    if job.status != 0:
        what = f"the C compiler did not tell its version: {job.fault}"
        raise CompileError(_message(what, [("command", shlex.join(job.argv), "")], "", job.said))
    return job.said.strip()


def _kind(version: str) -> str:
    if "clang" in version.lower():
        return "clang"
    return "gcc" if "Free Software Foundation" in version or "gcc" in version.lower() else "other"


def _timeout() -> float:
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


# Telling


def flags(target: Target) -> tuple[str, ...]:
    """What the compiler is told for every text.

    Never -ffast-math: it makes NaN and infinity unreliable, and gcc before 13 links a start-up file to it that changes
    the floating-point mode of the whole Python process. Without OpenMP the vector pragmas (omp simd) still work.

    >>> flags(SCALAR)[0], flags(SCALAR)[-1]
    ('-O2', '-fopenmp')
    """
    return (*FLAGS, *_GCC_FLAGS[: target.compiler == "gcc"], *target.features, "-fopenmp" if target.openmp else "-fopenmp-simd")


def key(texts: Sequence[str], target: Target) -> str:
    """The name of a program in the cache: the digest of everything that its machine code depends on."""
    compiler = find_compiler()
    made_by = [sys.platform, platform.machine(), *compiler.command, compiler.version]
    return cache.digest([*made_by, "flags", *flags(target), "texts", *texts])


def compile_shared(texts: Sequence[str], target: Target, folder: Path | None = None) -> Path:
    """Compile C texts into one shared object.

    Parameters
    ----------
    texts : the translation units; they are compiled side by side, as many at once as there are CPUs.
    target : gives the flags.
    folder : an empty folder for the texts and the result; a new private one by default.

    Returns
    -------
    Path
        ``program.so`` in `folder`; it was loaded once to see that it can be.

    Raises
    ------
    CompileError
        Where the compiler fails, hangs, dies, writes nothing or writes what does not load.
    OSError
        Where the folder is full, read-only or forbids running what it holds.
    """
    compiler = find_compiler()
    folder = cache.private_folder() if folder is None else folder
    units = {f"unit{i}.c": text for i, text in enumerate(texts)}
    for name, text in units.items():
        (folder / name).write_text(text, encoding="utf-8")
    told = (*compiler.command, *flags(target))
    lines = sum(text.count("\n") for text in texts)
    with progress.told(f"compiling {lines} lines of C"):
        for commands in _commands(told, list(units)):
            for job in _compile(commands, folder, _timeout()):
                if job.status != 0:
                    raise _failure(job, units)
    fault = load_fault(folder / cache.PROGRAM)
    if fault is not None:
        _check_folder(fault, folder)
        job.fault = fault
        raise _failure(job, units)
    return folder / cache.PROGRAM


def _commands(told: tuple[str, ...], names: list[str]) -> list[list[list[str]]]:
    """Rounds of commands that may run side by side; one text is compiled and linked in one go, which is quicker."""
    link = ["-shared", "-o", cache.PROGRAM, "-lm"]
    if len(names) == 1:
        return [[[*told, names[0], *link]]]
    objects = [name.replace(".c", ".o") for name in names]
    return [
        [[*told, "-c", name, "-o", made] for name, made in zip(names, objects, strict=True)],
        [[*told, *objects, *link]],
    ]


def load_fault(program: Path) -> str | None:
    """Why a shared object cannot be used, or None where it loads."""
    if not program.is_file():
        return "it reported success but wrote no program"
    try:
        ffi.dlclose(ffi.dlopen(str(program), ffi.RTLD_NOW))
    except OSError as error:
        return f"what it wrote cannot be loaded: {str(error).rpartition(f'{program}: ')[2]}"
    return None


# Failing


_FOLDER_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_HINTS = {
    "File size limit exceeded": "the process may not write files this big: raise ulimit -f",
    "Killed": "the machine may be out of memory: close other programs, or compile a smaller function",
    "omp.h": "the compiler lacks its OpenMP header: install libgomp (gcc) or libomp-dev (clang)",
    "EXPRC_CC_TIMEOUT": "give it more time, or compile a smaller function",
    "cannot be loaded": "is it a compiler for another machine? EXPRC_CC names another one",
    "wrote no program": "is it a compiler at all? EXPRC_CC names another one",
}
_BY_HAND = "run the command by hand to look closer; EXPRC_CC names another compiler"


def _check_folder(said: str, folder: Path) -> None:
    """Raise the OSError that the compiler met but could only print: another folder may do."""
    for number in _FOLDER_FAULTS:
        if os.strerror(number) in said:
            raise OSError(number, os.strerror(number), str(folder))
    if "failed to map segment" in said:
        raise OSError(errno.EPERM, "forbids running what it holds (mounted noexec)", str(folder))


def _failure(job: _Job, units: dict[str, str]) -> CompileError:
    """The error for a run that went wrong, with the text saved so that the command can be run again by hand."""
    _check_folder(job.said, job.folder)
    hint = next((hint for sign, hint in _HINTS.items() if sign in f"{job.fault}\n{job.said}"), _BY_HAND)
    try:
        saved = cache.keep_failure(cache.digest(units.values()), units)
    except OSError as error:
        saved, hint = None, f"the text could not be saved: {error}"
    unit = next((word for word in job.argv if word in units), "unit0.c")
    rows = [
        ("command", f"cd {shlex.quote(str(saved or job.folder))} && {shlex.join(job.argv)}", ""),
        ("source", str(saved / unit) if saved else "(not saved)", ""),
    ]
    return CompileError(_message(f"the C compiler failed: {job.fault}", rows, hint, job.said))


def _message(what: str, rows: list[tuple[str, str, str]], hint: str, said: str) -> str:
    lines = [line[:400] for line in said.splitlines()[-_SHOWN_LINES:]]
    header = f"it said (last {len(lines)} lines):" if lines else "it said nothing"
    return report(what, rows, "\n  ".join([*filter(None, [hint]), header, *(f"  {line}" for line in lines)]))


# Running


class _Job:
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


def _run(commands: Sequence[Sequence[str]], folder: Path, seconds: float) -> list[_Job]:
    """Run commands, as many at once as there are CPUs, each for at most `seconds`; the first that fails ends them all.

    Returns the jobs that ended, the failed ones first. Whatever ends this call, no process outlives it.
    """
    waiting = deque(commands)
    running: set[_Job] = set()
    ended: list[_Job] = []
    with selectors.DefaultSelector() as output:
        try:
            while (waiting or running) and not (ended and ended[-1].status != 0):
                while waiting and len(running) < (os.cpu_count() or 1):
                    job = _Job(waiting.popleft(), folder, seconds)
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


def _compile(commands: Sequence[Sequence[str]], folder: Path, seconds: float) -> list[_Job]:
    """Run compiler commands; that one cannot even be started is a CompileError."""
    try:
        return _run(commands, folder, seconds)
    except OSError as error:
        text = f"the C compiler cannot be started: {error.strerror or error}"
        raise CompileError(
            report(text, [("command", shlex.join(commands[0]), "")], "correct EXPRC_CC or CC, or unset it")
        ) from None


def _collect(output: selectors.BaseSelector, running: set[_Job]) -> list[_Job]:
    """Wait for output or for the next deadline; the jobs that closed their output or are out of time."""
    patience = min(job.deadline for job in running) - time.monotonic()
    closed = [event.data for event, _ in output.select(max(0.0, patience)) if not event.data.take()]
    return closed + [job for job in running if job not in closed and time.monotonic() >= job.deadline]


# OpenMP


_PROBE = """\
#include <omp.h>
int main(void) {
    int seen = 0, vector = 0;
    #pragma omp parallel num_threads(2) reduction(+ : seen)
    seen += omp_get_num_threads() > 0;
    #pragma omp simd reduction(+ : vector)
    for (int i = 0; i < 100; i++) vector += i;
    return seen >= 1 && vector == 4950 ? 0 : 1;
}
"""


def openmp_works(target: Target) -> bool:
    """Whether a small parallel program compiles, links and runs with these flags.

    That it does is noted in the cache, for all processes. That it does not is found anew by each process (it takes some
    milliseconds), because the user may have installed what was missing; compiled functions then use one thread, and a
    warning says so once.
    """
    compiler = find_compiler()
    told = (*compiler.command, *FLAGS, *target.features, "-fopenmp")
    works = _probe(told, cache.digest([*told, compiler.version, _PROBE]))
    if not works and _builds((*compiler.command, *FLAGS, *target.features)):  # else there is more wrong, and it will be said
        _notice_serial(shlex.join(compiler.command))
    return works


@functools.cache
def _builds(told: tuple[str, ...]) -> bool:
    """Whether the compiler can build anything at all."""

    def build(root: Path) -> bool:
        with cache.scratch(root) as folder:
            (folder / "plain.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
            (job,) = _run([[*told, "plain.c", "-o", "plain"]], folder, min(_PROBE_SECONDS, _timeout()))
            return job.status == 0 and (folder / "plain").is_file()

    try:
        return cache.attempt(build)
    except OSError:
        return False


@functools.cache
def _probe(told: tuple[str, ...], name: str) -> bool:
    if cache.get_blob("openmp", name) == b"works":
        return True
    try:
        works = cache.attempt(lambda root: _try_openmp(root, told))
    except OSError:
        return False
    if works:
        cache.put_blob("openmp", name, b"works")
    return works


def _try_openmp(root: Path, told: tuple[str, ...]) -> bool:
    with cache.scratch(root) as folder:
        (folder / "probe.c").write_text(_PROBE, encoding="utf-8")
        (job,) = _run([[*told, "probe.c", "-o", "probe"]], folder, min(_PROBE_SECONDS, _timeout()))
        _check_folder(job.said, folder)
        return job.status == 0 and (folder / "probe").is_file() and _runs(folder / "probe")


def _runs(program: Path) -> bool:
    try:
        (job,) = _run([[str(program)]], program.parent, _PROBE_SECONDS)
    except PermissionError:  # the folder forbids running what it holds; another may not
        raise
    except OSError:
        return False
    return job.status == 0


@functools.cache
def _notice_serial(compiler: str) -> None:
    text = f"{compiler} cannot build programs with OpenMP: compiled functions use one thread"
    fix = "install libgomp (gcc) or libomp-dev (clang), or name another compiler in EXPRC_CC"
    warnings.warn(report(text, fix=fix), RuntimeWarning, stacklevel=2)
