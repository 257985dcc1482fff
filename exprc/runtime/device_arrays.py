"""Arrays in the memory of a device, and how they meet those of PyTorch, CuPy, JAX and pycuda: ``__cuda_array_interface__`` and DLPack.

Both protocols describe memory; nothing is copied. Who takes an array of ours by DLPack says on which stream: that waits for the work asked
for before. Not everybody who speaks the other protocol looks at its stream, so there the host waits. An array of others is taken by DLPack
where it speaks it, because that makes our stream wait for theirs; else our stream waits for the one that it names, or the host for all.
"""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from exprc.errors import report
from exprc.runtime.waiting import Lease

if TYPE_CHECKING:
    from exprc.runtime.launch import Device

#: DLDeviceType of a GPU's memory, and DLDataTypeCode -> kind of a dtype (dlpack.h).
GPU = 2
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}


class DeviceArray:
    """A C-contiguous array in the memory of a device.

    `numpy.asarray` copies it to the host. On a GPU other libraries share its memory: ``torch.from_dlpack(a)``, ``cupy.asarray(a)``,
    ``jax.dlpack.from_dlpack(a)``; that of the emulator is the host's, and ``numpy.from_dlpack(a)`` shares it.

    Attributes
    ----------
    device : the name of the device. shape : tuple of int. dtype : of NumPy. address : where it begins on the device.
    foreign : whether the memory is another library's.
    """

    __slots__ = ("_device", "_memory", "address", "shape", "dtype", "foreign", "__weakref__")

    def __init__(self, device: Device, memory: Any, address: int, shape: tuple[int, ...], dtype: Any, foreign: bool = False):
        self._device, self._memory = device, memory  # the memory lives as long as the array
        self.address, self.shape, self.dtype, self.foreign = address, shape, np.dtype(dtype), foreign

    @property
    def device(self) -> str:
        return self._device.name

    @property
    def source(self) -> Device:
        """The device itself."""
        return self._device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def get(self) -> np.ndarray[Any, Any]:
        """Return a copy on the host, once all work asked for before is done."""
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            self._device.read(self.address, array)
        return array

    def copy(self) -> DeviceArray:
        """Return a copy on the device."""
        memory = self._device.allocate(max(self.nbytes, 1), "a copy of an array")
        self._device.copy(self.address, memory.address, self.nbytes)
        return DeviceArray(self._device, memory, memory.address, self.shape, self.dtype)

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> DeviceArray:
        return self.copy()

    def __reduce__(self) -> Any:
        raise TypeError(report(f"an array on {self.device} cannot be pickled", fix="pickle what get() returns"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError(report(f"an array on {self.device} cannot become one of NumPy without a copy", fix="leave copy=False out"))
        return self.get() if dtype is None else self.get().astype(dtype, copy=False)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __repr__(self) -> str:
        return f"DeviceArray({self.shape}, {self.dtype}, on {self.device})"

    # -- to others

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self._device.dlpack[0] != GPU:
            raise AttributeError(f"the memory of {self.device} is none of a GPU")
        self._share()
        self._device.synchronize()
        return {**self._described(), "stream": None}

    def _share(self) -> None:
        """Note that another library has the memory."""
        self._device.shared_with_others(self)
        if isinstance(self._memory, Lease):
            self._memory.shared = True

    def _described(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "strides": None, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device.dlpack

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None) -> Any:
        """A capsule of the memory itself; it is NumPy's, made to say where the memory is.

        stream : the handle of the stream that waits for the work asked for before, 1 for the default stream, as None says, too; -1 where
            nothing needs to be waited for.
        """
        if dl_device is not None and tuple(dl_device) != self._device.dlpack:
            raise BufferError(f"an array on {self.device} cannot be given away as one of the DLPack device {tuple(dl_device)}: take get()")
        given = self.copy() if copy else self
        if stream != -1:
            self._device.let_wait(1 if stream is None else _handle(stream))
        given._share()
        capsule = np.asarray(_Described(given)).__dlpack__()
        tensor = _tensor(capsule)
        tensor.device_type, tensor.device_id = self._device.dlpack
        return capsule


class _Described:
    """What NumPy makes an array of; it keeps the array on the device alive."""

    def __init__(self, array: DeviceArray):
        self.array = array
        self.__array_interface__ = array._described()


class _Tensor(ctypes.Structure):
    """DLTensor (dlpack.h), with which a DLManagedTensor begins."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)), ("offset", ctypes.c_uint64),
    ]  # fmt: skip


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _tensor(capsule: Any) -> _Tensor:
    return ctypes.cast(_pointer_of(capsule, b"dltensor"), ctypes.POINTER(_Tensor)).contents


# -- from others


def on_device(value: Any) -> bool:
    """Whether a value is an array in the memory of a device: ours, or another library's on a GPU."""
    if isinstance(value, np.ndarray):
        return False
    if isinstance(value, DeviceArray):
        return True
    if hasattr(value, "__dlpack_device__") and hasattr(value, "__dlpack__"):
        return int(value.__dlpack_device__()[0]) == GPU
    return hasattr(value, "__cuda_array_interface__")


def taken(value: Any, device: Device | None) -> DeviceArray:
    """Return an array on a device as one of ours in the same memory.

    device : where it must lie; None for the host.

    Raises
    ------
    ValueError
        for an array of another device or context, or one that is not C-contiguous. TypeError for one of another kind of numbers.
    """
    if isinstance(value, DeviceArray):
        if device is None or value._device is not device:
            raise _elsewhere(value.device, device)
        return value
    if device is None or device.dlpack[0] != GPU:
        raise _elsewhere(_gpu_of(value), device)
    made = _by_dlpack(value, device) if hasattr(value, "__dlpack__") else _by_interface(value, device)
    if made.nbytes:
        device.check_own(made.address)
    return made


def _elsewhere(there: str, here: Device | None) -> ValueError:
    fix = f"copy it to the host first, or make the function with device={there!r}" if "cuda" in there else "copy it to the host first"
    return ValueError(report(f"the array is on {there}, the function on {here.name if here else 'cpu'}", fix=fix))


def _gpu_of(value: Any) -> str:
    """What ``device=`` calls the GPU that an array is on, where that is said."""
    return f"cuda{value.__dlpack_device__()[1] or ''}" if hasattr(value, "__dlpack_device__") else "a GPU"


def _by_dlpack(value: Any, device: Device) -> DeviceArray:
    if tuple(map(int, value.__dlpack_device__())) != device.dlpack:
        raise _elsewhere(_gpu_of(value), device)
    capsule = value.__dlpack__(stream=device.stream)
    tensor = _tensor(capsule)
    shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
    strides = tuple(tensor.strides[k] for k in range(tensor.ndim)) if tensor.strides else None
    if tensor.lanes != 1 or tensor.code not in _KINDS:
        raise TypeError(report(f"the array has elements of DLPack's kind {tensor.code}", fix="booleans, integers and floats can be taken"))
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    _check_contiguous(shape, strides, 1)
    return DeviceArray(device, capsule, (tensor.data or 0) + tensor.offset, shape, dtype, foreign=True)


def _by_interface(value: Any, device: Device) -> DeviceArray:
    told = value.__cuda_array_interface__
    shape, dtype, strides = tuple(told["shape"]), np.dtype(told["typestr"]), told.get("strides")
    _check_contiguous(shape, strides, dtype.itemsize)
    if told["version"] < 3 or "stream" not in told:  # there may be work on any
        device.wait_for(None)
    elif told["stream"] is not None:
        device.wait_for(_handle(told["stream"]))
    return DeviceArray(device, value, told["data"][0], shape, dtype, foreign=True)


def _handle(stream: Any) -> int:
    """The number of a stream that another library names; 0 could be either of two default streams, and both protocols forbid it."""
    if int(stream) < 1:
        raise ValueError(report(f"{stream} is no stream", fix="the default stream is 1, that of a thread 2, others are their handles"))
    return int(stream)


def _check_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None, step: int) -> None:
    """Strides are counted in units of `step` elements or bytes."""
    if strides is None or 0 in shape:
        return
    for n, stride in zip(reversed(shape), reversed(strides)):
        if n != 1 and stride != step:
            raise ValueError(report("the array on the device is not C-contiguous", fix="give a contiguous copy: tensor.contiguous()"))
        step *= n
