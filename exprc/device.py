"""The devices that functions can run on here.

>>> import exprc
>>> [d.name for d in exprc.device.list()][0]
'cpu'
"""

from __future__ import annotations

import builtins
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from exprc.errors import CompileError, DeviceError, bytes_text

__all__ = ["DeviceInfo", "list"]


@dataclass(frozen=True)
class DeviceInfo:
    """A device as ``device=`` of `exprc.function` names it.

    Attributes
    ----------
    name : "cpu", "cuda" (the first GPU), "cuda1" ... or "cuda-emulator".
    description : what it is.
    memory : bytes of its memory; 0 where that is not known.
    capability : the compute capability of a GPU, as (9, 0); None for others.
    missing : why it cannot be used, and what would mend that; "" where it can be used.
    """

    name: str
    description: str
    memory: int
    capability: tuple[int, int] | None = None
    missing: str = ""

    def __str__(self) -> str:
        memory = f", {bytes_text(self.memory)}" if self.memory else ""
        return f"{self.name:<13}  {self.description}{memory}" + (f"; not usable: {self.missing}" if self.missing else "")


def list(missing: bool = False) -> builtins.list[DeviceInfo]:
    """Return the devices of this machine; nothing is opened, and no memory of a GPU is taken.

    Parameters
    ----------
    missing : also return devices that cannot be used, for lack of a driver, of pycuda or of a compiler; they say what is missing.

    Examples
    --------
    >>> import exprc
    >>> for device in exprc.device.list():
    ...     print(device)
    cpu            ...

    See Also
    --------
    ``python -m exprc doctor``, which also tries to compile.
    """
    found = [_cpu(), *_gpus(), _emulator()]
    return [device for device in found if missing or not device.missing]


def _cpu() -> DeviceInfo:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return DeviceInfo("cpu", f"{platform.machine()}, {os.cpu_count()} CPUs", max(memory, 0))


def _gpus() -> Iterator[DeviceInfo]:
    from exprc.runtime import libcuda

    try:
        found = libcuda.gpus()
    except DeviceError as error:
        yield DeviceInfo("cuda", "an NVIDIA GPU", 0, missing=_line(error))
        return
    lacking = _lacking()
    for gpu in found:
        yield DeviceInfo(gpu.device, gpu.described, gpu.memory, gpu.capability, lacking)


def _lacking() -> str:
    """What a GPU lacks to be used."""
    from exprc.runtime import cubin, cuda

    try:
        cuda.import_pycuda()
        cubin.find_cuda_compiler()
    except (DeviceError, CompileError) as error:
        return _line(error)
    return ""


def _emulator() -> DeviceInfo:
    from exprc.runtime.compiler import find_compiler

    try:
        find_compiler()
        missing = ""
    except CompileError as error:
        missing = _line(error)
    return DeviceInfo("cuda-emulator", "CUDA kernels run by the CPU, slowly, to look at them", 0, missing=missing)


def _line(error: Exception) -> str:
    """A message on one line: what is wrong, then what would mend it."""
    return "; ".join(line.strip() for line in str(error).splitlines())
