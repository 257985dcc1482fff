"""The CUDA driver library through cffi: looking for GPUs without making a context, what its errors mean, and what pycuda lacks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from exprc.errors import DeviceError, report
from exprc.runtime.libcuda_entry import ffi

#: The oldest driver interface that has all that is called here, as cuDriverGetVersion counts: 1000 * major + 10 * minor.
OLDEST = 12000

# CUdevice_attribute (cuda.h)
_SHARED, _SHARED_OPTIN, _PROCESSORS, _MAJOR, _MINOR = 8, 97, 16, 75, 76

OUT_OF_MEMORY, NO_DEVICE = 2, 100

_ELSEWHERE = 'device="cpu" and device="cuda-emulator" need no GPU'
_ANEW = (
    'all values on the GPU are lost, and this process cannot use it any more: start it again; device="cpu" still works, and\n'
    '  device="cuda-emulator" finds the line of a kernel that reads or writes where it must not'
)
_DRIVER = "update the NVIDIA driver, or pip install an older nvidia-cuda-nvrtc that fits it"

#: CUresult -> what would mend it; for those of the second table, what a kernel or the GPU did.
MENDS = {
    3: "CUDA cannot be used in a process that was forked after CUDA was: start processes with the method 'spawn'",
    35: _DRIVER,
    46: "another process has the GPU for itself: wait for it, or choose another with CUDA_VISIBLE_DEVICES",
    NO_DEVICE: _ELSEWHERE,
    101: "python -m exprc doctor lists the GPUs; CUDA_VISIBLE_DEVICES may hide some",
    200: _DRIVER,
    201: "something in this process has destroyed or replaced the CUDA context; use the device's primary context, as PyTorch and CuPy do",
    209: _DRIVER,
    222: _DRIVER,
    709: "something in this process has reset the GPU (cudaDeviceReset, or pycuda's Context.detach): do that only at the end",
    801: "the GPU or its driver cannot do this: update the driver",
    802: "the GPU is still starting: wait a little",
    803: "the driver was updated while the machine ran: start the machine again",
    804: _DRIVER,
}
LOST = {
    214: "an uncorrectable memory error of the GPU",
    220: "an error of NVLink",
    700: "a kernel used memory that is not its own",
    702: "a kernel ran longer than this machine allows",
    710: "an assertion failed in a kernel",
    714: "the stack of a kernel is damaged",
    715: "a kernel came upon an instruction that is none",
    716: "a kernel used an address that is not aligned",
    717: "a kernel used an address of the wrong kind of memory",
    718: "a kernel ran off its code",
    719: "a kernel failed",
    721: "tensor memory was not freed by a kernel",
    999: "an unknown error",
}

#: After these nothing more can be done with the context.
FINAL = frozenset({*LOST, 709})


@functools.cache
def library() -> Any:
    """The driver's library, with `cuInit` done.

    Raises
    ------
    DeviceError
        where there is no driver, an old one, or one that does not start.
    """
    found = _open()
    version = ffi.new("int *")
    if found.cuDriverGetVersion(version) or version[0] < OLDEST:
        raise DeviceError(report(f"the NVIDIA driver is too old: it knows CUDA {_dotted(version[0])}, exprc needs {_dotted(OLDEST)}",
                                 fix=f"update the driver; {_ELSEWHERE}"))  # fmt: skip
    status = found.cuInit(0)
    if status == NO_DEVICE:
        raise no_gpu()
    check(found, status, "the NVIDIA driver does not start")
    return found


def _open() -> Any:
    try:
        found = ffi.dlopen("libcuda.so.1", ffi.RTLD_NOW | ffi.RTLD_GLOBAL)
    except OSError as error:
        fix = f"install the driver of the GPU; in a container, start it with --gpus all; {_ELSEWHERE}"
        raise DeviceError(report(f"no NVIDIA driver found: {error}".partition(".  Additionally")[0], fix=fix)) from None
    missing = [name for name in dir(found) if not _has(found, name)]
    if missing:
        what = f"the NVIDIA driver is too old: it lacks {missing[0]}"
        raise DeviceError(report(what, fix=f"update the driver to one for CUDA {_dotted(OLDEST)} or newer; {_ELSEWHERE}"))
    return found


def _has(found: Any, name: str) -> bool:
    try:
        return getattr(found, name) is not None
    except AttributeError:  # cffi looks for a function when it is first named
        return False


def no_gpu() -> DeviceError:
    """The error for a machine with a driver and without a GPU that it shows."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        what = f"the NVIDIA driver finds no GPU: CUDA_VISIBLE_DEVICES is {hidden!r}"
        return DeviceError(report(what, fix="unset CUDA_VISIBLE_DEVICES, or name a GPU in it"))
    return DeviceError(report("the NVIDIA driver finds no GPU", fix=f"is one in the machine, and given to it? {_ELSEWHERE}"))


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def error_text(found: Any, status: int) -> str:
    """What the driver calls an error: "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS, 700)"."""
    name, text = ffi.new("const char **"), ffi.new("const char **")
    if found.cuGetErrorName(status, name) or found.cuGetErrorString(status, text) or ffi.NULL in (name[0], text[0]):
        return f"error {status} of the driver"
    return f"{ffi.string(text[0]).decode()} ({ffi.string(name[0]).decode()}, {status})"


def error(found: Any, status: int, what: str) -> Exception:
    """The exception for a result of the driver; `what` went wrong."""
    said = error_text(found, status)
    if status in LOST:
        return DeviceError(report(f"{what}: {LOST[status]}: {said}", fix=_ANEW))
    return DeviceError(report(f"{what}: {said}", fix=MENDS.get(status, "python -m exprc doctor looks at the driver and the GPU")))


def check(found: Any, status: int, what: str) -> None:
    """Raise what a result of the driver means, if it is not success."""
    if status:
        raise error(found, status, what)


def status_of(driver: Any, error: Exception) -> int:
    """The number of an error of pycuda's, which has only the driver's text for it; 0 where it is pycuda's own."""
    text = str(error).partition(" failed: ")[2].partition(" - ")[0].strip()
    return _numbers(driver).get(text, 0)


def _numbers(driver: Any) -> dict[str, int]:
    numbers: dict[str, int] = {}
    text = ffi.new("const char **")
    for status in range(1, 1000):
        if not driver.cuGetErrorString(status, text) and text[0] != ffi.NULL:
            numbers.setdefault(ffi.string(text[0]).decode(), status)
    return numbers


# Looking


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver describes it.

    memory, shared : bytes of its memory, and of the shared memory that a block may ask for. capability : compute capability.
    """

    index: int
    name: str
    memory: int
    capability: tuple[int, int]
    processors: int
    shared: int

    @property
    def device(self) -> str:
        """What ``device=`` calls it."""
        return f"cuda{self.index or ''}"

    @property
    def described(self) -> str:
        return f"{self.name}, compute capability {self.capability[0]}.{self.capability[1]}, {self.processors} multiprocessors"

    @property
    def architecture(self) -> str:
        return f"sm_{self.capability[0]}{self.capability[1]}"


def driver_version() -> str:
    """The version of CUDA that the driver knows, as "13.0"."""
    version = ffi.new("int *")
    library().cuDriverGetVersion(version)
    return _dotted(version[0])


def gpus() -> list[Gpu]:
    """The GPUs of this machine that the environment lets this process see; no context is made.

    Raises
    ------
    DeviceError
        where there is no driver, or no GPU.
    """
    found, count = library(), ffi.new("int *")
    check(found, found.cuDeviceGetCount(count), "the NVIDIA driver does not count the GPUs")
    if not count[0]:
        raise no_gpu()
    return [_describe(found, index) for index in range(count[0])]


def _describe(found: Any, index: int) -> Gpu:
    device, name, memory = ffi.new("int *"), ffi.new("char[]", 256), ffi.new("size_t *")
    what = f"the NVIDIA driver does not describe GPU {index}"
    check(found, found.cuDeviceGet(device, index), what)
    check(found, found.cuDeviceGetName(name, 256, device[0]), what)
    check(found, found.cuDeviceTotalMem_v2(memory, device[0]), what)

    def attribute(number: int) -> int:
        value = ffi.new("int *")
        check(found, found.cuDeviceGetAttribute(value, number, device[0]), what)
        return int(value[0])

    shared = max(attribute(_SHARED), attribute(_SHARED_OPTIN))
    told = ffi.string(name).decode(errors="replace")
    return Gpu(index, told, int(memory[0]), (attribute(_MAJOR), attribute(_MINOR)), attribute(_PROCESSORS), shared)


def timed(driver: Any, stream: Any, check: Callable[[int, str], None], run: Callable[[], None]) -> float:
    """Start work on a stream, wait for it, and return the seconds between an event before and one after; the context is current."""
    begin, end, took = ffi.new("void **"), ffi.new("void **"), ffi.new("float *")
    for event in (begin, end):
        check(driver.cuEventCreate(event, 0), "an event cannot be made")
    try:
        check(driver.cuEventRecord(begin[0], stream), "an event cannot be recorded")
        run()
        check(driver.cuEventRecord(end[0], stream), "an event cannot be recorded")
        check(driver.cuEventSynchronize(end[0]), "a GPU program failed")
        check(driver.cuEventElapsedTime(took, begin[0], end[0]), "a GPU program failed")
    finally:
        for event in (begin, end):
            driver.cuEventDestroy_v2(event[0])
    return float(took[0]) / 1e3
