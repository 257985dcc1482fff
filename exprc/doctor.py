"""``python -m exprc doctor``: what exprc needs, whether it is there, and how to mend what is not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import exprc
from exprc.config import config
from exprc.errors import CompileError, DeviceError, bytes_text
from exprc.runtime import cache, compiler, cpu, cubin, cuda, inventory, libcuda, libraries, threads
from exprc.runtime.compiler import NoCompiler, Target
from exprc.runtime.entry import ffi

OK, WARN, FAIL = "OK", "WARN", "FAIL"
#: Less free space than this may not hold the programs of a day.
_ROOM = 200 * 2**20
#: CUDA 13 needs 2025.1.2.
_PYCUDA = (2025, 1)
_NEEDED = {"numpy": (2, 0), "cffi": (1, 17), "platformdirs": (0, 0)}


@dataclass
class Finding:
    """One line of the report. status : OK, WARN (exprc works, but slower) or FAIL. mend : what to do about it, or ""."""

    name: str
    status: str
    text: str
    mend: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def examine() -> list[Finding]:
    """Look at everything, one thing after the other; what goes wrong in one look does not keep the others from looking."""
    found = []
    for name, look in LOOKS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they would say is said by a finding
            try:
                found.append(look())
            except Exception as error:  # noqa: BLE001 (a doctor must not faint)
                found.append(Finding(name, FAIL, *_told(error)))
    return found


def report_text(findings: Sequence[Finding]) -> str:
    """
    >>> print(report_text([Finding("compiler", "FAIL", "there is none", "install gcc")]))
    FAIL  compiler   there is none
                     mend: install gcc
    1 FAIL, 0 WARN, 0 OK
    """
    lines = []
    for f in findings:
        lines.append(f"{f.status:<4}  {f.name:<9}  {f.text}")
        lines += [f"{'':<17}mend: {f.mend}"] * bool(f.mend)
    counts = ", ".join(f"{sum(f.status == s for f in findings)} {s}" for s in (FAIL, WARN, OK))
    return "\n".join([*lines, counts])


def as_data(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as JSON has them."""
    return {"ok": healthy(findings), "findings": [asdict(f) for f in findings]}


def healthy(findings: Sequence[Finding]) -> bool:
    return all(f.status != FAIL for f in findings)


def _told(error: BaseException) -> tuple[str, str]:
    """What an error says is wrong, and what it says would mend it: the first line of its text, and the others."""
    what, *rest = str(error).splitlines() or [type(error).__name__]
    mend = " ".join(line.strip() for line in rest if line.strip())
    return what, mend or "report this: it should not happen"


# -- versions


def _versions() -> Finding:
    have = {name: _version(name) for name in _NEEDED}
    others = [f"{name} {version or 'missing'}" for name, version in have.items()]
    text = ", ".join([f"exprc {exprc.__version__}", f"Python {platform.python_version()}", *others])
    old = [f"{name}>={'.'.join(map(str, least))}" for name, least in _NEEDED.items() if _numbers(have[name]) < least]
    details = {"python": platform.python_version(), "executable": sys.executable, "platform": platform.platform(), **have}
    if old:
        return Finding("versions", FAIL, text, f"pip install {' '.join(repr(o) for o in old)}", details)
    return Finding("versions", OK, text, "", details)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; (-1,) where there is none.

    >>> _numbers("2.1.3rc1")
    (2, 1)
    """
    parts = [part for part in version.split(".")[:2] if part.isdigit()]
    return tuple(map(int, parts)) or (-1,)


# -- compiler, CPU, OpenMP

_TRIAL = """\
#include <stdint.h>
__attribute__((visibility("default"))) void exprc_set_forked(void) {}
__attribute__((visibility("default"))) int exprc_run(void **b, const int64_t *sizes, char *a, int64_t threads, int64_t *status) {
    float total = 0;
    #pragma omp simd reduction(+ : total)
    for (int i = 0; i < 64; i++) total += (float)i;
    return (int)total + (int)sizes[0];
}
"""


def _find_compiler() -> Finding:
    try:
        found = compiler.find_compiler()
    except CompileError as error:
        what, mend = _told(error)
        instead = "; until then functions run on the NumPy interpreter, slowly" if isinstance(error, NoCompiler) else ""
        return Finding("compiler", FAIL, what + instead, mend)
    version = found.version.splitlines()[0] if found.version else "it tells no version"
    return Finding("compiler", OK, f"{' '.join(found.command)}: {version}", "", {"command": found.command, "kind": found.kind})


def _target() -> Target | None:
    try:
        return cpu.host_target()
    except (CompileError, ValueError):
        return None


def _processor() -> Finding:
    have = sorted(cpu._features() & {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "asimd", "sse4_2"})
    try:
        target = cpu._vectors(os.environ.get("EXPRC_CPU", "").strip().lower())
    except ValueError as error:
        what, mend = _told(error)
        return Finding("CPU", FAIL, what, mend if "unset" in mend else f"{mend}: name one of these in EXPRC_CPU, or unset it")
    text = f"{platform.machine()} with {', '.join(have) or 'no vectors that are known'}; programs are made for {target.name}"
    details = {"features": have, "target": target.name, "vector_bytes": target.vector_bytes}
    if target.name == "scalar" and os.environ.get("EXPRC_CPU"):
        return Finding("CPU", WARN, text, "unset EXPRC_CPU to use the vectors of the CPU", details)
    if target.name == "scalar":
        return Finding("CPU", WARN, text, "none on this CPU: exprc uses vectors of AVX2, AVX-512 and NEON", details)
    return Finding("CPU", OK, text, "", details)


def _build() -> Finding:
    """Compile, load and run a small program, as a function would, but past the cache."""
    target = _target()
    if target is None:
        return Finding("build", FAIL, "no program can be built", "mend the compiler and the CPU first")
    begin = time.perf_counter()
    folder = cache.private_folder()
    try:
        program = compiler.compile_shared([_TRIAL], target, folder)
        answer = _run(program)
    except (CompileError, OSError) as error:
        return Finding("build", FAIL, *_told(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - begin
    if answer != 2016 + 42:
        return Finding("build", FAIL, f"a small program gave {answer} instead of 2058", "name another compiler in EXPRC_CC")
    flags = compiler.flags(target)
    text = f"a small program was compiled, loaded and run in {seconds:.2f} s, told {' '.join(flags[:2])} ... {flags[-1]}"
    return Finding("build", OK, text, "", {"seconds": seconds, "flags": flags})


def _run(program: Path) -> int:
    library = ffi.dlopen(str(program), ffi.RTLD_NOW)
    try:
        return int(library.exprc_run(ffi.NULL, ffi.new("int64_t[]", [42]), ffi.NULL, 1, ffi.NULL))
    finally:
        ffi.dlclose(library)


def _openmp() -> Finding:
    target = _target()
    if target is None:
        return Finding("OpenMP", WARN, "not tried: no program can be built", "mend the compiler and the CPU first")
    if target.openmp:
        return Finding("OpenMP", OK, "a parallel program compiles, links and runs")
    mend = "install libgomp (gcc) or libomp-dev (clang), or name another compiler in EXPRC_CC"
    return Finding("OpenMP", WARN, "the compiler cannot build parallel programs: functions use one thread", mend)


# -- threads, BLAS


def _threads() -> Finding:
    count = config.threads or threads.thread_count()
    usable, cores = threads._usable_cpus(), os.cpu_count() or 1
    said = [f"{name}={os.environ[name]}" for name in ("EXPRC_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY") if os.environ.get(name)]
    said += [f"config.threads={config.threads}"] if config.threads else []
    limits = [f"{cores} CPUs", *([f"{usable} of them may be used here"] if usable < cores else []), *said]
    text = f"functions use {count} thread{'s' * (count != 1)} ({', '.join(limits)})"
    details = {"threads": count, "usable": usable, "cpus": cores, "quota": threads._quota()}
    if count > usable:
        return Finding("threads", WARN, text, f"more threads than CPUs wait for each other: ask for at most {usable}", details)
    return Finding("threads", OK, text, "", details)


def _blas() -> Finding:
    own = _version("scipy-openblas32")
    found = f"scipy-openblas32 {own} is installed" if own else "scipy-openblas32 is not installed"
    return Finding("BLAS", OK, f"not used: products of matrices are C that exprc generates ({found})", "", {"scipy-openblas32": own})


# -- GPUs

_NOT_NEEDED = "not needed: there is no GPU to use"
_CUDA_TRIAL = 'extern "C" __global__ void scale(float *x, long long n) { if (threadIdx.x < n) x[threadIdx.x] *= 2.0f; }\n'


def _has_gpu() -> bool:
    """Whether the machine seems to have an NVIDIA GPU, even one whose driver does not work."""
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None or _gpus() is not None


def _gpus() -> list[libcuda.Gpu] | None:
    try:
        return libcuda.gpus()
    except DeviceError:
        return None


def _driver() -> Finding:
    if not _has_gpu():
        text = 'no NVIDIA GPU and no driver found: device="cuda" cannot be used here, device="cuda-emulator" can'
        return Finding("driver", OK, text, "", {"cuda": None})
    try:
        found = libcuda.gpus()
        version = libcuda.driver_version()
    except DeviceError as error:
        return Finding("driver", WARN, *_told(error))
    count = f"{len(found)} GPU{'s' * (len(found) > 1)}"
    return Finding("driver", OK, f"the NVIDIA driver knows CUDA {version} and finds {count}", "", {"cuda": version})


def _gpu() -> Finding:
    found = _gpus()
    if not found:
        return Finding("GPU", OK, "none that the driver finds", "", {"gpus": []})
    text = "; ".join(f"{g.device}: {g.described}, {bytes_text(g.memory)}" for g in found)
    return Finding("GPU", OK, text, "", {"gpus": [asdict(g) for g in found]})


def _pycuda() -> Finding:
    version = _version("pycuda")
    if not _has_gpu():
        return Finding("pycuda", OK, f"{_NOT_NEEDED} ({version or 'not installed'})", "", {"pycuda": version})
    if version and _numbers(version) < _PYCUDA:
        return Finding("pycuda", WARN, f"pycuda {version} is too old for CUDA 13", "pip install -U 'exprc[cuda]'", {"pycuda": version})
    try:
        cuda.import_pycuda()
    except DeviceError as error:
        return Finding("pycuda", WARN, *_told(error), {"pycuda": version})
    return Finding("pycuda", OK, f"pycuda {version}", "", {"pycuda": version})


def _cuda() -> Finding:
    """Compile a small kernel for the GPU, or for a usual one, past the cache."""
    gpus = _gpus()
    try:
        found = cubin.find_cuda_compiler()
    except CompileError as error:
        if gpus:
            return Finding("CUDA", WARN, *_told(error))
        return Finding("CUDA", OK, _NOT_NEEDED)
    architecture = gpus[0].architecture if gpus else "sm_90"
    begin, folder = time.perf_counter(), cache.private_folder()
    try:
        cubin.compile_cubin(_CUDA_TRIAL, architecture, folder)
    except (CompileError, OSError) as error:
        return Finding("CUDA", WARN, *_told(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - begin
    text = f"{found.kind} ({found.path}) compiled a small kernel for {architecture} in {seconds:.2f} s"
    return Finding("CUDA", OK, text, "", {"compiler": found.kind, "version": found.version, "seconds": seconds})


def _libraries() -> Finding:
    """Libraries that may compute in the place of kernels: nothing needs them."""
    details: dict[str, Any] = {}
    for name, known in libraries.LIBRARIES.items():
        found, path = known.find()
        details[name] = {"version": known.version(), "path": path} if found is not None else None
    told = [
        f"{known.title} {details[name]['version'] if details[name] else 'not found'}" for name, known in libraries.LIBRARIES.items()
    ]  # fmt: skip
    text, use = ", ".join(told), f"config.cuda_libraries is {config.cuda_libraries!r}"
    if not _has_gpu():
        return Finding("libraries", OK, f"{_NOT_NEEDED} ({text})", "", details)
    try:
        libraries.allowed()
    except DeviceError as error:
        return Finding("libraries", WARN, *_told(error), details)
    return Finding("libraries", OK, f"{text}; {use}", "", details)


# -- folders


def _cache() -> Finding:
    limit = cache._limit()
    held = inventory.inventory()
    kinds = ", ".join(f"{len(held.of(kind))} {kind}" for kind in inventory.KINDS)
    text = f"{held.folder}: {kinds}, {bytes_text(held.size)} of at most {bytes_text(limit)}"
    details = {"folder": str(held.folder), "entries": len(held.entries), "bytes": held.size, "limit": limit}
    anew = "every process compiles anew"
    if held.fault:
        mend = "make it yours alone (chown, chmod 700), or name another folder in EXPRC_CACHE"
        return Finding("cache", WARN, f"{held.folder} {held.fault}: {anew}", mend, details)
    parent = next(p for p in (held.folder, *held.folder.parents) if p.is_dir())
    fault = _write_fault(parent)
    if fault:
        return Finding("cache", WARN, f"{held.folder} cannot be written ({fault}): {anew}", _mend_of(fault), details)
    free = shutil.disk_usage(parent).free
    details["free"] = free
    if free < _ROOM:
        return Finding("cache", WARN, f"{text}; only {bytes_text(free)} free", _mend_of("no space"), details)
    return Finding("cache", OK, f"{text}; {bytes_text(free)} free", "", details)


def _mend_of(fault: str) -> str:
    if "space" in fault.lower() or "quota" in fault.lower():
        return "free some space, or name another folder in EXPRC_CACHE"
    return "let your user write there, or name another folder in EXPRC_CACHE"


def _write_fault(folder: Path) -> str:
    """Why nothing can be written in a folder, or ""; a file is made and removed again."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _temporary() -> Finding:
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        return Finding("temporary", FAIL, str(error), "set TMPDIR to a folder that can be written")
    fault = _write_fault(folder)
    if fault:
        return Finding("temporary", FAIL, f"{folder} cannot be written: {fault}", "free some space, or set TMPDIR to another folder")
    return Finding("temporary", OK, f"{folder}, {bytes_text(shutil.disk_usage(folder).free)} free", "", {"folder": str(folder)})


LOOKS: dict[str, Callable[[], Finding]] = {
    "versions": _versions, "compiler": _find_compiler, "CPU": _processor, "build": _build, "OpenMP": _openmp, "threads": _threads,
    "BLAS": _blas, "cache": _cache, "temporary": _temporary, "driver": _driver, "GPU": _gpu, "pycuda": _pycuda, "CUDA": _cuda,
    "libraries": _libraries,
}  # fmt: skip
