"""The device ``cuda-emulator``: CUDA kernels run by the CPU, thread by thread.

The text of a module is compiled by the C compiler's C++ side behind ``kernels/cuda/emulator.h``, which holds CUDA's words. The
engine, ``kernels/cuda/emulator_engine.c``, is a program of its own: it keeps the memory, and runs threads as fibers.

``config.emulator`` says how, when a module is loaded and when memory is allocated: ``plain`` is fast, ``check`` looks at every
access. ``config.emulator_order`` is read when launches are prepared.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from exprc.config import config
from exprc.errors import CompileError, KernelError, report
from exprc.library import Work
from exprc.render.base import kernel_source
from exprc.runtime import compiler, cpu
from exprc.runtime.emulator_entry import ffi
from exprc.runtime.emulator_faults import FAULT_FIELDS, fault_error, parameters_of
from exprc.runtime.launch import CUDA, Array, Launch, precisions

#: How the lines of a module are called in messages of the compiler and in what the linker knows of lines.
FILE = "module.cu"
_ORDERS = ("forward", "reverse", "random")
_DYNAMIC = re.compile(r"\bextern\s+__shared__\s+(?:__align__\(\d+\)\s*)?(\w+(?:\s+\w+)*)\s+(\w+)\s*\[\s*\]\s*;")
_PLAIN = ("-x", "c++", "-std=c++20", "-O1", "-fno-strict-aliasing", "-fno-exceptions", "-fno-rtti", "-Wno-unknown-pragmas")
#: The compiler calls the sanitizers' functions, which emulator.h defines; without default libraries their own are not linked.
_CHECKS = (
    "-DEMULATOR_CHECKS=1", "-g1", "-nodefaultlibs",
    "-fsanitize=thread", "-fsanitize=bounds,alignment,integer-divide-by-zero",
)  # fmt: skip

_MORE = {"gcc": ("-fno-tree-sink",), "clang": ("-mllvm", "-tsan-instrument-read-before-write=1")}

#: One launch at a time, also where memory is looked up; a fork waits for the one that runs.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


# Building


@functools.cache
def _host() -> compiler.Target:
    return cpu.host_vectors()


def engine_path() -> Path:
    """The shared object of the engine, built where the cache lacks it."""
    names = ("emulator.h", "emulator_engine.c", "emulator_checks.c")
    entry, _ = compiler.built("\n".join(kernel_source(f"cuda/{name}") for name in names), _host())
    return entry.program


@functools.cache
def _engine() -> Any:
    """The loaded engine; it stays for the life of the process, because memory and modules belong to it."""
    stays = getattr(ffi, "RTLD_NODELETE", 0)  # what is given back at the very end of a process is given back by it
    return ffi.dlopen(str(engine_path()), ffi.RTLD_NOW | stays)


def compiler_flags(check: bool, kind: str) -> tuple[str, ...]:
    """What the compiler, of this kind (gcc, clang), is told for a module beyond what it is told for C.

    gcc would move a load to where its value is needed: behind the question whether it may be made. clang would leave out reads before a
    write to the same place, and leaves out the alignment of structures that are copied.

    >>> compiler_flags(check=False, kind="gcc")[:3]
    ('-x', 'c++', '-std=c++20')
    """
    return _PLAIN + (_CHECKS + _MORE.get(kind, ())) * check


def whole_text(text: str) -> str:
    """Put the words of CUDA before the text of a module, so that lines are counted from the text's own first one.

    ``extern __shared__ T name[];`` has no equal in C++ that the words could be made into; it becomes the pointer that it is.

    >>> whole_text("extern __shared__ float row[];").splitlines()[-1]
    'static float *const &row = (float *const &)emulated.shared;'
    """
    made = _DYNAMIC.sub(r"static \1 *const &\2 = (\1 *const &)emulated.shared;", text)
    return f'{kernel_source("cuda/emulator.h")}\n#line 1 "{FILE}"\n{made}'


# What the device gives


class Memory:
    """A piece of memory of exactly `nbytes` bytes, filled with NaNs; freed when it is dropped."""

    __slots__ = ("address", "nbytes", "_free", "__weakref__")

    def __init__(self, nbytes: int):
        engine = _engine()
        self._free = engine.exprc_emulator_free
        with _lock:
            self.address: int = engine.exprc_emulator_allocate(nbytes, config.emulator == "check")
        self.nbytes = nbytes
        if not self.address:
            raise MemoryError(report(f"cuda-emulator: no memory for {nbytes} bytes"))

    def __del__(self) -> None:
        if getattr(self, "address", 0):
            with _lock:
                self._free(self.address)


class Module:
    """A text compiled for the CPU and loaded.

    Attributes
    ----------
    text : as it was given. check : whether its accesses are looked at. flush : whether subnormal numbers count as 0.
    program : the path of the shared object.
    cached : whether the cache had it. compile_seconds : what compiling took in this process.
    """

    def __init__(self, text: str, check: bool, flush: bool = False):
        self.text, self.check, self.flush = text, check, flush
        target = replace(_host(), features=(*_host().features, *compiler_flags(check, _host().compiler)))
        entry, self.compile_seconds = compiler.built(whole_text(text), target)
        self.cached, self.program = entry.cached, entry.program
        self.handle = _open(str(self.program))
        self.parameters = parameters_of(text)
        self._kernels: dict[str, Any] = {}

    def kernel(self, name: str) -> Any:
        """Return the machine code of an entry."""
        if name not in self._kernels:
            found = _engine().exprc_emulator_kernel(self.handle, name.encode())
            if found == ffi.NULL:
                fix = 'an entry begins with EXPRC_KERNEL (extern "C" __global__)'
                raise ValueError(report(f"the module has no kernel {name!r}", fix=fix))
            self._kernels[name] = found
        return self._kernels[name]


def _open(path: str) -> Any:
    said = ffi.new("char[]", 512)
    with _lock:
        handle = _engine().exprc_emulator_open(path.encode(), said, 512)
    if handle == ffi.NULL:
        raise CompileError(report(f"the compiled module cannot be loaded: {ffi.string(said).decode()}", [("program", path, "")]))
    close = _engine().exprc_emulator_close
    return ffi.gc(handle, close)


class Prepared:
    """Launches with their arguments laid out."""

    def __init__(self, module: Module, launches: Sequence[Launch], order: str):
        self.module, self.order = module, _ORDERS.index(order)
        self._calls = [_Call(module, launch) for launch in launches]

    def run(self, milliseconds: int = 0) -> None:
        """Run them in order.

        Parameters
        ----------
        milliseconds : that one launch may take; 0 for as long as it likes. Looked at where threads wait, and in the checking build.

        Raises
        ------
        exprc.errors.KernelError
            for the first thing that a kernel does wrong.
        """
        for call in self._calls:
            call.run(self.order, milliseconds)


_numbers = itertools.count(1)
_LIMITS = (
    ("blocks", "grid", (2**31 - 1, 65535, 65535)),
    ("threads", "block", (1024, 1024, 64)),
)
_THREADS, _SHARED, _ARGUMENTS = 1024, 227 * 1024, 512


class _Call:
    """One launch: what the engine is called with."""

    def __init__(self, module: Module, launch: Launch):
        _check(launch)
        self.module, self.launch = module, launch
        self.kernel = module.kernel(launch.kernel)
        count = len(launch.arguments)
        given = module.parameters.get(launch.kernel, ())
        _check_count(launch, given)
        self.arguments = ffi.new("int64_t[]", 64 if count <= 64 else _ARGUMENTS)
        for i, value in enumerate(launch.arguments):
            self.arguments[i] = value if value < 2**63 else value - 2**64
        self.shape = ffi.new("int64_t[11]", [*launch.grid, *launch.block, launch.shared, 0, 0, 0, module.flush])
        self.read_only = ffi.new("unsigned char[]", [p.read_only for p in given] or count + 1)
        self.extents = ffi.new("int64_t[]", launch.extents or [-1] * count)

    def run(self, order: int, milliseconds: int) -> None:
        told = ffi.new("int64_t[]", len(FAULT_FIELDS))
        with _lock:
            self.shape[7], self.shape[8], self.shape[9] = order, next(_numbers), milliseconds
            status = _engine().exprc_emulator_launch(
                self.module.handle, self.kernel, self.shape,
                self.arguments, self.read_only, self.extents, len(self.launch.arguments), told,
            )  # fmt: skip
        if status < 0:
            raise MemoryError(report(f"cuda-emulator: no memory for the threads of {self.launch.kernel}"))
        if status:
            raise fault_error(dict(zip(FAULT_FIELDS, told, strict=True)), self.launch, self.module)


def _check(launch: Launch) -> None:
    """Refuse what no GPU would launch."""
    for what, name, limits in _LIMITS:
        given = getattr(launch, name)
        if any(not 1 <= n <= limit for n, limit in zip(given, limits, strict=True)):
            text = f"{launch.kernel}: a {name} of {given} {what} cannot be launched"
            raise ValueError(report(text, fix=f"each number must be at least 1 and at most {limits}"))
    x, y, z = launch.block
    if x * y * z > _THREADS:
        raise ValueError(report(f"{launch.kernel}: a block of {launch.block} has {x * y * z} threads", fix=f"at most {_THREADS} fit"))
    if not 0 <= launch.shared <= _SHARED:
        raise ValueError(report(f"{launch.kernel}: {launch.shared} bytes of shared memory", fix=f"a block has at most {_SHARED}"))


def _check_count(launch: Launch, given: Sequence[Any]) -> None:
    count = len(launch.arguments)
    if count > _ARGUMENTS or (given and len(given) != count):
        fix = f"it takes {len(given)}: {', '.join(p.name for p in given)}" if given else f"at most {_ARGUMENTS} fit"
        raise ValueError(report(f"{launch.kernel} is launched with {count} arguments", fix=fix))


class Emulator:
    """See `exprc.runtime.launch.Device`."""

    name, target, precisions = "cuda-emulator", CUDA, precisions((9, 0))
    dlpack = (1, 0)  # its memory is the host's
    stream = None

    def check_own(self, address: int) -> None:
        """Nothing to look at: no other library has memory of the emulator."""

    def wait_for(self, stream: int | None) -> None:
        """Nobody works on it."""

    def let_wait(self, stream: int) -> None:
        """Nobody has to: all work is done when it was asked for."""

    def shared_with_others(self, array: Any) -> None:
        """Nothing to do: whoever has the memory works on it at once, too."""

    def may_ask(self, keeper: Any) -> None:
        """Nobody is asked: the host's memory is never said to have run out."""

    def load(self, text: str, flush: bool = False) -> Module:
        return Module(text, config.emulator == "check", flush)

    def allocate(self, nbytes: int, label: str = "") -> Memory:
        return Memory(nbytes)

    def write(self, address: int, array: Array) -> None:
        if array.nbytes:
            self._move("write", address, ffi.from_buffer(array), array.nbytes)

    def read(self, address: int, array: Array) -> None:
        if array.nbytes:
            self._move("read", address, ffi.from_buffer(array, require_writable=True), array.nbytes)

    def copy(self, source: int, target: int, nbytes: int) -> None:
        if nbytes:
            self._move("copy", source, target, nbytes)

    def forget(self, address: int, nbytes: int) -> None:
        if nbytes:
            self._move("forget", address, nbytes)

    def _move(self, how: str, address: int, *others: Any) -> None:
        told = ffi.new("int64_t[2]")
        with _lock:
            status = getattr(_engine(), f"exprc_emulator_{how}")(address, *others, told)
        if status == 1:
            text = f"cuda-emulator: a {how} of {others[-1]} bytes goes beyond the memory that it is in"
            raise ValueError(report(text, fix=f"it begins at byte {told[0]} of a piece of {told[1]}"))
        if status == 2:
            text = f"cuda-emulator: byte {told[0]} of {others[-1]} that are read back was never written"
            raise KernelError(report(text), "uninitialised")

    def prepare(self, module: Module, launches: Sequence[Launch]) -> Prepared:
        return Prepared(module, launches, config.emulator_order)

    def libraries(self) -> tuple[str, ...]:
        """None: its kernels are what it is for."""
        return ()

    def refusal(self, work: Work) -> str:
        return "the emulator runs kernels"

    def round_trip(self, prepared: Prepared, journey: Any) -> None:
        """None: what it runs takes longer than Python."""

    def may_start(self, prepared: Prepared) -> bool:
        return False

    @property
    def lock(self) -> Any:
        return _lock

    repeats = 1

    def seconds(self, prepared: Prepared) -> float:
        begin = time.perf_counter()
        prepared.run()
        return time.perf_counter() - begin

    def synchronize(self) -> None:
        """Nothing is ever under way: a launch is over when it returns."""


def open_device(name: str) -> Emulator:
    """Return the device; the engine is compiled, or found in the cache.

    Examples
    --------
    >>> import numpy as np
    >>> device = open_device("cuda-emulator")
    >>> module = device.load('''
    ... EXPRC_KERNEL void twice(const float *x, float *y, long long n) {
    ...     const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    ...     if (i < n) y[i] = 2 * x[i];
    ... }''')
    >>> x, y = device.allocate(12), device.allocate(12)
    >>> device.write(x.address, np.arange(3, dtype="float32"))
    >>> launch = Launch("twice", (1, 1, 1), (32, 1, 1), 0, (x.address, y.address, 3))
    >>> device.prepare(module, [launch]).run()
    >>> got = np.empty(3, "float32")
    >>> device.read(y.address, got)
    >>> got
    array([0., 2., 4.], dtype=float32)
    """
    _engine()
    return Emulator()
