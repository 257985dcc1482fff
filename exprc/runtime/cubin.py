"""From CUDA text to machine code of a GPU (a cubin), without a GPU: by NVRTC where that library is found, else by nvcc.

Both read the same text with the same flags. NVRTC runs inside the process, needs no C compiler beside it and takes a tenth of
nvcc's time for a small text. The results are kept in the cache of programs.
"""

from __future__ import annotations

import functools
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exprc.errors import CompileError, report
from exprc.runtime import cache, progress
from exprc.runtime.finding import in_packages, open_for_others
from exprc.runtime.nvrtc_entry import ffi
from exprc.runtime.process import Tool, compile_with, failure, fingerprint, refusal, resolve, time_limit, version_of

#: The name of a text in the cache, in messages, and in the line numbers that debuggers show.
UNIT = "unit0.cu"

# Full float32: subnormals kept, division and square root rounded as IEEE 754 says; a * b + c may be one operation, as on the CPU.
_FLAGS = ("--std=c++17", "--fmad=true", "--prec-div=true", "--prec-sqrt=true", "--generate-line-info")

_TOO_NEW = "the GPU is newer than the compiler: pip install -U nvidia-cuda-nvrtc, or install a newer CUDA toolkit"
NVCC = Tool(
    "nvcc",
    "EXPRC_NVCC",
    (
        ("unsupported GNU version", "pip install nvidia-cuda-nvrtc: it needs no C compiler beside it"),
        ("nsupported gpu architecture", _TOO_NEW),
        ("Killed", "the machine may be out of memory: close other programs, or compile a smaller function"),
        ("EXPRC_CC_TIMEOUT", "give it more time, or compile a smaller function"),
        ("wrote no program", "is it nvcc at all? EXPRC_NVCC names another one"),
    ),
    "run the command by hand to look closer; EXPRC_NVCC names another nvcc",
)
NVRTC = Tool("NVRTC", "EXPRC_NVCC", (("gpu-architecture", _TOO_NEW),), "EXPRC_NVCC=nvcc compiles with nvcc instead")

_NONE = "no CUDA compiler found: neither the library NVRTC nor nvcc"
_INSTALL = "pip install nvidia-cuda-nvrtc; or install the CUDA toolkit and name its nvcc in EXPRC_NVCC"


def flags(architecture: str, flush: bool = False) -> tuple[str, ...]:
    """What the compiler is told, for an architecture like ``sm_90``. Never --use_fast_math, for the reasons of the CPU's flags.

    flush : whether subnormal numbers of float32 count as 0.

    >>> flags("sm_90")[:2]
    ('--gpu-architecture=sm_90', '--ftz=false')
    """
    return (f"--gpu-architecture={architecture}", f"--ftz={str(flush).lower()}", *_FLAGS)


# Finding


@dataclass(frozen=True)
class CudaCompiler:
    """What was found: NVRTC's library at `path` (`command` is then empty) or the command of an nvcc, and what it says it is."""

    command: tuple[str, ...]
    path: str
    version: str

    @property
    def kind(self) -> str:
        return "nvcc" if self.command else "NVRTC"


def find_cuda_compiler() -> CudaCompiler:
    """The nvcc named by ``EXPRC_NVCC``, else NVRTC (of a Python package, or the system's), else nvcc on the path or in ``CUDA_HOME``.

    Raises
    ------
    CompileError
        where there is none, or ``EXPRC_NVCC`` names one that does not exist or does not answer.
    """
    asked = os.environ.get("EXPRC_NVCC", "").strip()
    if asked and resolve(asked) is None:
        raise CompileError(report(f"EXPRC_NVCC names {asked!r}, which does not exist", fix="correct EXPRC_NVCC, or unset it"))
    library = None if asked else _find_nvrtc()
    if library is not None:
        return CudaCompiler((), str(library), _nvrtc_version(str(library)))
    command = resolve(asked) or _find_nvcc()
    if command is None:
        raise CompileError(report(_NONE, fix=_INSTALL))
    return CudaCompiler(command, command[0], version_of(NVCC, command))


def _find_nvcc() -> tuple[str, ...] | None:
    found = shutil.which("nvcc") or next((str(p) for p in _toolkit("bin/nvcc") if os.access(p, os.X_OK)), None)
    return (found,) if found else None


def _toolkit(pattern: str) -> Iterable[Path]:
    """Files of a CUDA toolkit at its usual places."""
    for root in filter(None, (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")):
        yield from sorted(Path(root).glob(pattern), reverse=True)


def _find_nvrtc() -> Path | None:
    """The library in a package of Python (``nvidia/cu13/lib``, ``nvidia/cuda_nvrtc/lib``) or in a toolkit."""
    return next(in_packages("libnvrtc.so.[0-9]*"), None) or next(iter(_toolkit("lib64/libnvrtc.so.[0-9]*")), None)


@functools.cache
def _open_nvrtc(path: str) -> Any:
    """Open the library; first, and for all, the one beside it, which NVRTC would look for where the loader looks and not find."""
    for other in sorted(Path(path).parent.glob("libnvrtc-builtins.so.[0-9]*"), reverse=True)[:1]:
        open_for_others(ffi, other)
    return ffi.dlopen(path, ffi.RTLD_NOW)


def _nvrtc(path: str) -> Any:
    try:
        return _open_nvrtc(path)
    except OSError as error:
        what = f"NVRTC cannot be loaded: {error}"
        raise CompileError(report(what, [("library", path, "")], "pip install --force-reinstall nvidia-cuda-nvrtc")) from None


@functools.cache
def _nvrtc_version(path: str) -> str:
    major, minor = ffi.new("int *"), ffi.new("int *")
    _nvrtc(path).nvrtcVersion(major, minor)
    return f"NVRTC {major[0]}.{minor[0]}"


# Compiling


def key(text: str, architecture: str, flush: bool = False) -> str:
    """The name of a cubin in the cache: the digest of everything that its machine code depends on."""
    found = find_cuda_compiler()
    return cache.digest([found.kind, found.version, fingerprint([found.path]), *found.command, *flags(architecture, flush), text])


def compile_cubin(text: str, architecture: str, folder: Path, flush: bool = False) -> Path:
    """Compile a text that includes nothing; ``program.cubin`` in `folder`, beside the text.

    Raises
    ------
    CompileError
        where the compiler is missing, or refuses the text: with its words, and where the text was saved.
    """
    found = find_cuda_compiler()
    (folder / UNIT).write_text(text, encoding="utf-8")
    with progress.told(f"compiling {text.count(chr(10))} lines of CUDA"):
        if found.command:
            _run_nvcc(found.command, text, flags(architecture, flush), folder)
        else:
            _run_nvrtc(_nvrtc(found.path), text, flags(architecture, flush), folder)
    return folder / cache.CUBIN


def _run_nvcc(command: Sequence[str], text: str, given: Sequence[str], folder: Path) -> None:
    argv = [*command, *given, "--cubin", "-o", cache.CUBIN, UNIT]
    (job,) = compile_with(NVCC, [argv], folder, time_limit())
    if job.status == 0 and not (folder / cache.CUBIN).is_file():
        job.status, job.fault = 1, "it reported success but wrote no program"
    if job.status != 0:
        raise failure(NVCC, job, {UNIT: text})


def _run_nvrtc(library: Any, text: str, given: Sequence[str], folder: Path) -> None:
    program = ffi.new("void **")
    _check(library, library.nvrtcCreateProgram(program, text.encode(), UNIT.encode(), 0, ffi.NULL, ffi.NULL))
    try:
        told = [ffi.new("char[]", flag.encode()) for flag in given]
        status = library.nvrtcCompileProgram(program[0], len(told), ffi.new("const char *[]", told))
        if status:
            fault = ffi.string(library.nvrtcGetErrorString(status)).decode()
            raise refusal(NVRTC, fault, _result(library, program[0], "ProgramLog").rstrip(b"\0").decode(errors="replace"), {UNIT: text})
        (folder / cache.CUBIN).write_bytes(_result(library, program[0], "CUBIN"))
    finally:
        library.nvrtcDestroyProgram(program)


def _result(library: Any, program: Any, what: str) -> bytes:
    """Something that NVRTC made: the text of its messages or the machine code."""
    size = ffi.new("size_t *")
    _check(library, getattr(library, f"nvrtcGet{what}Size")(program, size))
    made = ffi.new("char[]", size[0])
    _check(library, getattr(library, f"nvrtcGet{what}")(program, made))
    return bytes(ffi.buffer(made))


def _check(library: Any, status: int) -> None:
    if status:
        raise CompileError(report(f"NVRTC failed: {ffi.string(library.nvrtcGetErrorString(status)).decode()}", fix=NVRTC.by_hand))


# Loading


@dataclass(frozen=True)
class Cubin:
    """Machine code for a GPU, whether the cache had it, and what compiling took in this process."""

    code: bytes
    cached: bool
    compile_seconds: float


def load_cubin(text: str, architecture: str, flush: bool = False) -> Cubin:
    """The machine code of a text: from the cache where it is there, else compiled; `flush` as in `flags`."""
    name = key(text, architecture, flush)
    begin = time.perf_counter()
    make = functools.partial(compile_cubin, text, architecture, flush=flush)
    entry = cache.lookup(name, cache.CUBIN) or cache.build(name, make, cache.CUBIN)
    return Cubin(entry.program.read_bytes(), entry.cached, 0.0 if entry.cached else time.perf_counter() - begin)
