"""cuDNN through cffi: it convolves in the place of kernels; see `exprc.runtime.libraries`.

Of its algorithms, those are taken that have the same bits in every run and sum what there is to sum: the transforms of Fourier and Winograd
make NaN of the neighbours of an infinity.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from exprc.errors import DeviceError, report
from exprc.library import Convolution, Tensor
from exprc.runtime.cudnn_entry import ffi
from exprc.runtime.finding import first_of

_FLOAT, _DOUBLE, _ROWS = 0, 1, 0  # CUDNN_DATA_FLOAT, CUDNN_DATA_DOUBLE; CUDNN_TENSOR_NCHW
_FLIPPED, _CROSS = 0, 1  # CUDNN_CONVOLUTION, CUDNN_CROSS_CORRELATION
_DEFAULT, _FMA = 0, 3  # CUDNN_DEFAULT_MATH, which may round factors of float32 to TF32, and CUDNN_FMA_MATH, which does not
#: What is computed -> (its name in functions, the algorithms that only sum): matrix products and direct sums; ALGO_1 of both gradients.
_SUMS = {"y": ("Forward", {0, 1, 2, 3}), "x": ("BackwardData", {1}), "w": ("BackwardFilter", {1})}
#: Memory that an algorithm may ask for, and algorithms that the library may name.
ROOM, _NAMED = 256 << 20, 16
#: Convolutions whose algorithm is remembered.
_REMEMBERED = 1024


@functools.cache
def library() -> tuple[Any, str]:
    """The library and its place; (None, "") if it is missing."""
    return first_of(ffi, "libcudnn.so.[0-9]*", "libcublasLt.so.[0-9]*", ("libcudnn.so.9", "libcudnn.so"))


def version() -> str:
    """What the library that was found says it is.

    >>> _version(92800), _version(8907)
    ('9.28.0', '8.9.7')
    """
    return _version(library()[0].cudnnGetVersion())


def _version(number: int) -> str:
    major = 10000 if number >= 90000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


class Way(NamedTuple):
    """How a convolution is computed: the number of the algorithm, the memory that it needs, and its arithmetic."""

    algorithm: int
    memory: int
    math: int


class Cudnn:
    """See `exprc.runtime.libraries.Library`."""

    def __init__(self, stream: Any):
        self._library = library()[0]
        self._handle = self._new("cudnnCreate")
        self._check(self._library.cudnnSetStream(self._handle, ffi.cast("void *", stream)), "cuDNN takes no stream")
        self._x, self._y = self._new("cudnnCreateTensorDescriptor"), self._new("cudnnCreateTensorDescriptor")
        self._w, self._convolution = self._new("cudnnCreateFilterDescriptor"), self._new("cudnnCreateConvolutionDescriptor")
        self._way = functools.lru_cache(_REMEMBERED)(self._found)

    def _new(self, name: str) -> Any:
        made = ffi.new("void **")
        self._check(getattr(self._library, name)(made), "cuDNN cannot be used")
        return made[0]

    def _check(self, status: int, what: str) -> None:
        if status:
            said = ffi.string(self._library.cudnnGetErrorString(status)).decode()
            raise DeviceError(report(f"{what}: its result is {status} ({said})", fix="config.cuda_libraries = 'off' does without it"))

    def _describe(self, work: Convolution, math: int) -> None:
        """Say in the descriptors what is convolved."""
        mine, dtype = self._library, _DOUBLE if work.dtype == "float64" else _FLOAT
        mode = _FLIPPED if work.flipped else _CROSS
        told = [
            mine.cudnnSetTensor4dDescriptorEx(self._x, dtype, *work.x.shape, *work.x.steps),
            mine.cudnnSetTensor4dDescriptorEx(self._y, dtype, *work.y.shape, *work.y.steps),
            mine.cudnnSetFilter4dDescriptor(self._w, dtype, _ROWS, *work.w.shape),
            mine.cudnnSetConvolution2dDescriptor(self._convolution, *work.pad, *work.stride, *work.dilation, mode, dtype),
            mine.cudnnSetConvolutionGroupCount(self._convolution, work.groups),
            mine.cudnnSetConvolutionMathType(self._convolution, math),
        ]
        self._check(next(filter(None, told), 0), f"cuDNN does not take {_told(work)}")

    def _of(self, work: Convolution) -> list[Any]:
        """The descriptors as the functions take them: of the operands, of the convolution, of the result."""
        operands = {"y": (self._x, self._w), "x": (self._w, self._y), "w": (self._x, self._y)}[work.computes]
        return [*operands, self._convolution, {"y": self._y, "x": self._x, "w": self._w}[work.computes]]

    def _found(self, work: Convolution) -> Way | None:
        """The first of the algorithms, which the library names in the order of their speed, that may be taken."""
        exact = work.precision != "tf32" and work.dtype == "float32"
        self._describe(work, _FMA if exact else _DEFAULT)
        count, ways, (name, sums) = ffi.new("int *"), ffi.new("cudnn_way[]", _NAMED), _SUMS[work.computes]
        ask = getattr(self._library, f"cudnnGetConvolution{name}Algorithm_v7")
        self._check(ask(self._handle, *self._of(work), _NAMED, count, ways), f"cuDNN knows no algorithm for {_told(work)}")
        for way in ways[0 : count[0]]:
            may = not way.status and way.deterministic and way.algorithm in sums and way.memory <= ROOM
            if may and (not exact or way.math == _FMA):
                return Way(way.algorithm, way.memory, way.math)
        return None

    def refusal(self, work: Convolution) -> str:
        return "" if self._way(work) else "it has no algorithm for it that only sums, with the same bits in every run"

    def room(self, work: Convolution) -> int:
        way = self._way(work)
        return way.memory if way else 0

    def start(self, work: Convolution, arguments: tuple[int, ...], room: int) -> None:
        way = self._way(work)
        assert way is not None
        self._describe(work, way.math)
        kind = "double *" if work.dtype == "float64" else "float *"
        place = {name: arguments[t.argument] + t.offset for name, t in (("x", work.x), ("w", work.w), ("y", work.y))}
        first, second, convolution, result = self._of(work)
        names = {"y": "xw", "x": "wy", "w": "xy"}[work.computes]
        status = getattr(self._library, f"cudnnConvolution{_SUMS[work.computes][0]}")(
            self._handle, ffi.new(kind, 1), first, place[names[0]], second, place[names[1]], convolution, way.algorithm,
            room if way.memory else 0, way.memory, ffi.new(kind, 0), result, place[work.computes],
        )  # fmt: skip
        self._check(status, f"cuDNN cannot compute {_told(work)}")

    def close(self) -> None:
        for name, made in (("Tensor", self._x), ("Tensor", self._y), ("Filter", self._w), ("Convolution", self._convolution)):
            getattr(self._library, f"cudnnDestroy{name}Descriptor")(made)
        self._library.cudnnDestroy(self._handle)



def _told(work: Convolution) -> str:
    gradient = {"y": "", "x": "the gradient for the images of ", "w": "the gradient for the filters of "}
    return f"{gradient[work.computes]}the convolution of {_shape(work.x)} with filters {_shape(work.w)}"


def _shape(x: Tensor) -> str:
    return " x ".join(map(str, x.shape))
