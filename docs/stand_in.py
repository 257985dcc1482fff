"""A stand-in for a GPU, its driver and pycuda, for docs/errors.py: it computes nothing, and answers as a case asks it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from exprc.runtime import cubin, cuda, devices, libcuda
from exprc.runtime.libcuda_entry import ffi

#: CUresult -> its name and text.
ERRORS = {
    2: ("CUDA_ERROR_OUT_OF_MEMORY", "out of memory"),
    700: ("CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"),
}


class Driver:
    """The driver's functions; `results` are those of calls that do not succeed."""

    def __init__(self, gpus: int, version: int, shared: int, memory: int, context: int, results: dict[str, int]):
        self.values = {"cuDriverGetVersion": version, "cuDeviceGetCount": gpus, "cuDeviceTotalMem_v2": memory}
        self.shared, self.context, self.results = shared, context, results
        self.texts: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *given: self._answer(name, given)

    def _answer(self, name: str, given: tuple[Any, ...]) -> int:
        if name in ("cuGetErrorName", "cuGetErrorString"):
            self.texts.append(ffi.new("char[]", ERRORS[given[0]][name == "cuGetErrorString"].encode()))
            given[1][0] = self.texts[-1]
        elif name == "cuDeviceGetName":
            given[0][0:4] = b"GPU\0"
        elif name == "cuDeviceGetAttribute":
            given[0][0] = {8: self.shared, 97: self.shared, 75: 9}.get(given[1], 0)
        elif name == "cuPointerGetAttribute":
            given[0][0] = ffi.cast("void *", self.context) if given[1] == 1 else 0
        elif name == "cuMemGetInfo_v2":
            given[0][0], given[1][0] = 3 << 20, self.values["cuDeviceTotalMem_v2"]
        elif name in self.values:
            given[0][0] = self.values[name]
        return self.results.get(name, 0)


class Context:
    """What pycuda makes of a context, a stream, a module, a kernel or a piece of memory."""

    handle = base = 1
    max_threads_per_block, num_regs = 1024, 40

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *given, **named: Context()

    def __call__(self, *given: Any, **named: Any) -> None:
        """A launch."""

    def __int__(self) -> int:
        return 4096


class Error(Exception):
    """pycuda's."""


class OutOfMemory(Error):
    """pycuda's MemoryError."""


class Pinned(np.ndarray[Any, Any]):
    """Memory that pycuda gives back."""

    base = Context()


def pycuda(memory: int) -> Any:
    """The module pycuda.driver of a GPU with so many bytes for one piece of memory."""

    def allocate(nbytes: int) -> Context:
        if nbytes > memory:
            raise OutOfMemory("cuMemAlloc failed: out of memory")
        return Context()

    return SimpleNamespace(
        Error=Error, MemoryError=OutOfMemory, init=lambda: None, Device=lambda index: Context(), Context=Context(),
        Stream=lambda flags: Context(), mem_alloc=allocate, module_from_buffer=lambda code: Context(), function_attribute=Context(),
        pagelocked_empty=lambda shape, dtype: np.zeros(shape, dtype).view(Pinned),
    )  # fmt: skip


@contextmanager
def restored() -> Iterator[None]:
    """Put everything back that a stand-in took the place of."""
    names = [
        (libcuda, "_open"), (libcuda, "ffi"), (cuda, "import_module"), (cuda, "_opened"), (devices, "_opened"),
        (cubin, "load_cubin"), (cubin, "_find_nvrtc"), (cubin, "_find_nvcc"),
    ]  # fmt: skip
    kept = [(module, name, getattr(module, name)) for module, name in names]
    try:
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)
        libcuda.library.cache_clear()


def gpu(gpus: int = 1, version: int = 13000, shared: int = 232448, memory: int = 64 << 20, context: int = 1, **results: int) -> None:
    """Put a GPU in the machine, with its driver, pycuda and a compiler that makes nothing."""
    driver = Driver(gpus, version, shared, memory, context, results)
    libcuda.library.cache_clear()
    libcuda._open = lambda: driver
    cuda._opened, devices._opened = {}, {}
    cuda.import_module = lambda name: pycuda(memory)  # type: ignore[assignment]
    cubin.load_cubin = lambda text, architecture, flush=False: cubin.Cubin(b"", True, 0.0)


def no_driver() -> None:
    """Take the driver out."""

    def fail(name: str, flags: int) -> Any:
        raise OSError(f"cannot load library '{name}': {name}: cannot open shared object file: No such file or directory")

    libcuda.library.cache_clear()
    libcuda.ffi = SimpleNamespace(dlopen=fail, RTLD_NOW=0, RTLD_GLOBAL=0)
    cuda._opened, devices._opened = {}, {}


def no_pycuda() -> None:
    """Take pycuda out of a machine with a GPU."""
    gpu()

    def fail(name: str) -> Any:
        raise ModuleNotFoundError(name)

    cuda.import_module = fail


def no_cuda_compiler() -> None:
    """Take NVRTC and nvcc out of a machine with a GPU."""
    load = cubin.load_cubin
    gpu()
    cubin.load_cubin, cubin._find_nvrtc, cubin._find_nvcc = load, lambda: None, lambda: None
