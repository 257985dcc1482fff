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
from typing import Any

import numpy as np

from exprc.errors import CompileError, DeviceError, bytes_text, report
from exprc.runtime.device_arrays import DeviceArray

__all__ = ["DeviceArray", "DeviceInfo", "list", "run_kernel"]


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


# One kernel


def run_kernel(text: str, kernel: str, grid: Any, block: Any, *arguments: Any, shared: int = 0, device: str = "cuda-emulator") -> None:
    """Run one kernel of a CUDA text on NumPy arrays, and wait for it.

    Parameters
    ----------
    text : CUDA C++ that includes nothing. An entry is ``extern "C" __global__ void``; its parameters are pointers or ``long long``.
    kernel : the name of the entry.
    grid, block : the number of blocks, and of threads in each: an integer, or up to three for x, y and z.
    arguments : C-contiguous arrays, which are copied to the device and back if they may be written; or integers.
    shared : bytes of dynamic shared memory.
    device : where it runs. ``cuda-emulator`` looks at every access if ``config.emulator`` is ``check`` (docs/emulator.md).

    Raises
    ------
    exprc.errors.CompileError
        where the text does not compile.
    exprc.errors.KernelError
        where the emulator finds something wrong: what, in which thread, at which line.
    TypeError, ValueError
        for arguments that no kernel takes, or a launch that no GPU would take.

    Examples
    --------
    >>> import numpy as np
    >>> text = '''
    ... extern "C" __global__ void scale(float *x, long long n) {
    ...     const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    ...     if (i < n) x[i] *= 10;
    ... }'''
    >>> x = np.arange(5, dtype="float32")
    >>> run_kernel(text, "scale", 1, 32, x, x.size)
    >>> x
    array([ 0., 10., 20., 30., 40.], dtype=float32)
    """
    from exprc.runtime.devices import open_device
    from exprc.runtime.launch import Launch

    opened = open_device(device)
    module = opened.load(text)
    held: dict[int, Any] = {}
    for i, argument in enumerate(arguments):
        if _is_array(argument, i):
            held[i] = opened.allocate(max(argument.nbytes, 1))
            opened.write(held[i].address, argument)
    given = tuple(held[i].address if i in held else int(a) for i, a in enumerate(arguments))
    opened.prepare(module, [Launch(kernel, _triple(grid), _triple(block), shared, given)]).run()
    for i, memory in held.items():
        if arguments[i].flags.writeable:
            opened.read(memory.address, arguments[i])
    opened.synchronize()


def _is_array(argument: Any, number: int) -> bool:
    """Whether an argument is an array, and else an integer."""
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise ValueError(report(f"argument {number} is not C-contiguous", fix="np.ascontiguousarray() makes such a copy"))
        return True
    if not isinstance(argument, (int, np.integer)):
        what = f"argument {number} is a {type(argument).__name__}; a kernel is given arrays and integers"
        raise TypeError(report(what, fix="for one number of another kind, pass an array of one element"))
    return False


def _triple(sizes: Any) -> tuple[int, int, int]:
    x, y, z = (*sizes, 1, 1)[:3] if isinstance(sizes, tuple) else (sizes, 1, 1)
    return int(x), int(y), int(z)
