"""The C compiler: finding it, what it is told, and one careful way to run it.

Texts come in, the path of a shared object that loads goes out; everything else that can happen is a `CompileError` that
names the command, what the compiler said and where the text was saved.
"""

from __future__ import annotations

import functools
import os
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exprc.errors import CompileError, report
from exprc.runtime import cache, progress
from exprc.runtime.entry import ffi
from exprc.runtime.process import (
    PROBE_SECONDS,
    Tool,
    check_folder,
    compile_with,
    failure,
    resolve,
    run,
    time_limit,
    version_of,
)

FLAGS = (
    "-O2",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fwrapv",
    "-fvisibility=hidden",
    "-fPIC",
)


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
    device : the kind of device that runs the text: ``cpu`` or ``cuda``.

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
    device: str = "cpu"

    def lanes(self, dtype_size: int) -> int:
        """How many numbers of `dtype_size` bytes one vector register holds; at least 1."""
        return max(1, self.vector_bytes // dtype_size)


# gcc alone: it would turn the short copies of packed panels into `rep movs`, which takes longer to start than to copy. And where a loop
# copies from an argument to a local array, gcc 12 addresses the array relative to the argument, takes it for no local any more, and moves
# a load of it before the loop that fills it (`tests/ops/test_pool.py`: windows of 3 x 3 side by side in images of 3 columns).
_GCC_FLAGS = ("-fno-tree-loop-distribute-patterns", "-fno-gcse-lm")

_AVX2_FLAGS = ("-mavx2", "-mfma", "-mf16c")
_AVX512_FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512")

#: Targets that depend on no machine: what the golden texts are rendered for.
AVX512 = Target("avx512", 64, 32, _AVX2_FLAGS + _AVX512_FLAGS, "gcc", True)
AVX2 = Target("avx2", 32, 16, _AVX2_FLAGS, "gcc", True)
NEON = Target("neon", 16, 32, (), "gcc", True)
SCALAR = Target("scalar", 8, 16, (), "gcc", True)


TOOL = Tool(
    "the C compiler",
    "EXPRC_CC or CC",
    (
        ("File size limit exceeded", "the process may not write files this big: raise ulimit -f"),
        ("Killed", "the machine may be out of memory: close other programs, or compile a smaller function"),
        ("omp.h", "the compiler lacks its OpenMP header: install libgomp (gcc) or libomp-dev (clang)"),
        ("EXPRC_CC_TIMEOUT", "give it more time, or compile a smaller function"),
        ("cannot be loaded", "is it a compiler for another machine? EXPRC_CC names another one"),
        ("wrote no program", "is it a compiler at all? EXPRC_CC names another one"),
    ),
    "run the command by hand to look closer; EXPRC_CC names another compiler",
)


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
    version = version_of(TOOL, command)
    return Compiler(command, version, _kind(version))


def _command() -> tuple[str, ...]:
    """The argument list that starts the compiler; this is the one place that reads ``EXPRC_CC`` and ``CC``."""
    asked = os.environ.get("EXPRC_CC", "").strip()
    if asked:
        command = resolve(asked)
        if command is None:
            what = f"EXPRC_CC names the compiler {asked!r}, which does not exist"
            raise CompileError(report(what, fix="correct EXPRC_CC, or unset it to use cc, gcc or clang"))
        return command
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        command = resolve(name)
        if command:
            return command
    raise NoCompiler(report(_NONE, fix=_INSTALL))


_NONE = "no C compiler found: neither EXPRC_CC nor CC names one, and cc, gcc and clang are not on the path"
_INSTALL = (
    "install one: apt install gcc (Debian, Ubuntu), dnf install gcc (Fedora), xcode-select --install (macOS),\n"
    "  or conda install gcc"
)


def _kind(version: str) -> str:
    if "clang" in version.lower():
        return "clang"
    return "gcc" if "Free Software Foundation" in version or "gcc" in version.lower() else "other"


# Telling


def flags(target: Target) -> tuple[str, ...]:
    """What the compiler is told for every text.

    Never -ffast-math: it makes NaN and infinity unreliable, and gcc before 13 links a start-up file to it that changes
    the floating-point mode of the whole Python process. Without OpenMP the vector pragmas (omp simd) still work.

    >>> flags(SCALAR)[0], flags(SCALAR)[-1]
    ('-O2', '-fopenmp')
    """
    return (*FLAGS, *(_GCC_FLAGS if target.compiler == "gcc" else ()), *target.features, "-fopenmp" if target.openmp else "-fopenmp-simd")


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
            for job in compile_with(TOOL, commands, folder, time_limit()):
                if job.status != 0:
                    raise failure(TOOL, job, units)
    fault = load_fault(folder / cache.PROGRAM)
    if fault is not None:
        check_folder(fault, folder)
        job.fault = fault
        raise failure(TOOL, job, units)
    return folder / cache.PROGRAM


def built(text: str, target: Target) -> tuple[cache.Entry, float]:
    """Compile one text, or find it in the cache; also return the seconds that it took."""
    name = key([text], target)
    entry = cache.lookup(name)
    if entry is not None:
        return entry, 0.0
    begin = time.perf_counter()
    entry = cache.build(name, lambda folder: compile_shared([text], target, folder))
    return entry, 0.0 if entry.cached else time.perf_counter() - begin


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
            (job,) = run([[*told, "plain.c", "-o", "plain"]], folder, min(PROBE_SECONDS, time_limit()))
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
        (job,) = run([[*told, "probe.c", "-o", "probe"]], folder, min(PROBE_SECONDS, time_limit()))
        check_folder(job.said, folder)
        return job.status == 0 and (folder / "probe").is_file() and _runs(folder / "probe")


def _runs(program: Path) -> bool:
    try:
        (job,) = run([[str(program)]], program.parent, PROBE_SECONDS)
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
