"""The CPU: what it can do, how many threads to use, and programs that run on it.

A program is a shared object with one entry, ``exprc_run``. It is built once (see `exprc.runtime.cache`), loaded with
cffi in ABI mode, so that one file serves every Python, and called with the interpreter lock released.
"""

from __future__ import annotations

import functools
import os
import platform
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from exprc.errors import CompileError, report
from exprc.runtime import cache, compiler
from exprc.runtime.compiler import AVX2, AVX512, NEON, SCALAR, Target
from exprc.runtime.entry import ffi
from exprc.runtime.threads import set_threads, thread_count

__all__ = [
    "AVX2",
    "AVX512",
    "NEON",
    "SCALAR",
    "Program",
    "Target",
    "host_target",
    "load",
    "set_threads",
    "thread_count",
]

# What the CPU can do

_AVX2_NEEDS = frozenset({"avx2", "fma", "f16c"})
_NEEDS = {
    "avx512": (AVX512, _AVX2_NEEDS | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    "avx2": (AVX2, _AVX2_NEEDS),
    "neon": (NEON, frozenset({"asimd"})),
    "scalar": (SCALAR, frozenset()),
}


def host_target() -> Target:
    """The Target of this machine: the widest vectors that the CPU says it has, and the compiler that is found.

    The CPU is asked for its features, never for its name: compilers mistake new CPUs, and virtual ones, for older ones.
    ``EXPRC_CPU`` = ``avx512``, ``avx2``, ``neon`` or ``scalar`` asks for less than the CPU has.

    Raises
    ------
    ValueError
        Where ``EXPRC_CPU`` is none of these, or something that the CPU lacks.
    exprc.runtime.compiler.NoCompiler, exprc.errors.CompileError
        Where there is no compiler, or it does not answer.

    Examples
    --------
    >>> host_target().lanes(4) >= 2
    True
    """
    target = host_vectors()
    return replace(target, openmp=compiler.openmp_works(target))


def host_vectors() -> Target:
    """The Target of this machine for texts without threads of their own; see `host_target`."""
    vectors = _vectors(os.environ.get("EXPRC_CPU", "").strip().lower())
    return replace(vectors, compiler=compiler.find_compiler().kind, openmp=False)


def _vectors(asked: str) -> Target:
    have = _features()
    fitting = [name for name, (_, needs) in _NEEDS.items() if needs <= have]
    name = asked or fitting[0]
    if name not in _NEEDS:
        what = f"EXPRC_CPU is {asked!r}, which is none of {', '.join(_NEEDS)}"
        raise ValueError(report(what, fix=f"this CPU has {', '.join(fitting)}"))
    target, needs = _NEEDS[name]
    if not needs <= have:
        what = f"EXPRC_CPU asks for {name}, but this CPU lacks {', '.join(sorted(needs - have))}"
        raise ValueError(report(what, fix=f"this CPU has {', '.join(fitting)}; or unset EXPRC_CPU"))
    return target


@functools.cache
def _features() -> frozenset[str]:
    """Names of the CPU's features as Linux spells them; elsewhere NumPy has asked the CPU and spells most the same."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return frozenset({"asimd"})  # part of the 64-bit ARM architecture itself
    try:
        return _flags_line(Path("/proc/cpuinfo").read_text(errors="replace"))
    except OSError:
        return _numpy_features()


def _flags_line(cpuinfo: str) -> frozenset[str]:
    """The features that all CPUs of the machine share (big and little cores may differ)."""
    lines = [line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")]
    return frozenset.intersection(*map(frozenset, lines)) if lines else frozenset()


def _numpy_features() -> frozenset[str]:
    have: dict[str, bool] = getattr(import_module("numpy._core._multiarray_umath"), "__cpu_features__", {})
    names = {name.lower() for name, present in have.items() if present}
    return frozenset(names | ({"fma"} if "fma3" in names else set()))


# Programs

class Program:
    """A loaded program.

    Attributes
    ----------
    run : the entry itself, ``run(buffers, sizes, arena, threads, status) -> int``, with cffi pointers of the types
        ``void **``, ``int64_t *``, ``char *``, then a number, then ``int64_t *``. It releases the interpreter lock. It
        keeps the machine code loaded, but only a Program that is alive becomes serial in a forked child: keep both.
    source : the C texts.
    path : the shared object.
    cached : whether the cache had it.
    compile_seconds : what building it took in this process; 0.0 where the cache had it.
    """

    __slots__ = ("__weakref__", "_set_forked", "cached", "compile_seconds", "path", "run", "source")

    def __init__(self, library: Any, source: tuple[str, ...], entry: cache.Entry, compile_seconds: float):
        self.source, self.path = source, entry.program
        self.cached, self.compile_seconds = entry.cached, compile_seconds
        # Whoever holds the entry holds the library: a call into code that was unloaded would end the process.
        close = ffi.dlclose  # at the end of the process the module may be gone before its programs
        self.run = ffi.gc(library.exprc_run, lambda _: close(library))
        self._set_forked = library.exprc_set_forked

    def __repr__(self) -> str:
        made = "cached" if self.cached else f"compiled in {self.compile_seconds:.2f} s"
        return f"Program({len(self.source)} texts, {made})"


def load(texts: Sequence[str], target: Target) -> Program:
    """Give a program for C texts: from the cache where it is there, else compiled.

    Parameters
    ----------
    texts : translation units. Together they export, with default visibility,
        ``int exprc_run(void **buffers, const int64_t *sizes, char *arena, int64_t threads, int64_t *status)`` and
        ``void exprc_set_forked(void)``, after which parallel regions stay serial.
    target : what to compile for.

    Raises
    ------
    CompileError
        Where the compiler fails, or the texts lack an entry.

    Examples
    --------
    >>> text = '''
    ... #include <stdint.h>
    ... #define EXPORT __attribute__((visibility("default")))
    ... EXPORT void exprc_set_forked(void) {}
    ... EXPORT int exprc_run(void **buffers, const int64_t *sizes, char *arena, int64_t threads, int64_t *status) {
    ...     return (int)(sizes[0] + threads);
    ... }
    ... '''
    >>> program, sizes = load([text], SCALAR), ffi.new("int64_t[]", [40])
    >>> program.run(ffi.NULL, sizes, ffi.NULL, 2, ffi.NULL)
    42
    """
    key = compiler.key(texts, target)
    entry = cache.lookup(key)
    if entry is not None:
        try:
            return _open(entry, texts, target, 0.0)
        except (
            OSError
        ):  # whole, yet it does not load: it was dropped meanwhile, or built on a machine with other libraries
            cache.drop(entry)
    begin = time.perf_counter()
    entry = cache.build(key, lambda folder: compiler.compile_shared(texts, target, folder))
    try:
        return _open(entry, texts, target, 0.0 if entry.cached else time.perf_counter() - begin)
    except OSError as error:
        raise CompileError(
            report(f"the compiled program cannot be loaded: {error}", [("program", str(entry.program), "")])
        ) from None


_pinned: dict[tuple[str, ...], Any] = {}


def _wait_politely() -> None:
    """Let threads that wait at a barrier sleep after some ten microseconds, unless the user chose otherwise.

    GNU's default is to spin for milliseconds: where another process wants the core, each barrier then costs a time slice.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "4000")


def _open(entry: cache.Entry, texts: Sequence[str], target: Target, seconds: float) -> Program:
    _wait_politely()
    library = ffi.dlopen(str(entry.program), ffi.RTLD_NOW)
    try:
        program = Program(library, tuple(texts), entry, seconds)
    except ffi.error as error:
        raise CompileError(
            report(f"the program lacks an entry: {error}", [("program", str(entry.program), "")])
        ) from None
    if target.openmp:
        # Unloading the last program would unload the OpenMP library under its sleeping threads, and end the process.
        _pinned.setdefault(compiler.find_compiler().command, ffi.dlopen(str(entry.program), ffi.RTLD_NOW))
    _programs.add(program)
    if _forked:
        program._set_forked()
    return program


# Forking: libgomp's threads do not exist in a forked child, and a parallel region there would wait for them for ever.

_programs: weakref.WeakSet[Program] = weakref.WeakSet()
_forked = False


def _stay_serial() -> None:
    """In a forked child: make all programs serial, also later ones; unless none was ever loaded that has threads."""
    global _forked
    _forked = _forked or bool(_pinned)
    if _forked:
        for program in list(_programs):
            program._set_forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stay_serial)
