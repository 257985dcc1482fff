"""cuBLAS through cffi: it multiplies matrices in the place of kernels; see `exprc.runtime.libraries`.

The library counts in column-major order: row-major c = a · b is the column-major product of b and a with their axes exchanged.
"""

from __future__ import annotations

import functools
from typing import Any

from exprc.errors import DeviceError, report
from exprc.library import Matrix, Product
from exprc.runtime.cublas_entry import ffi
from exprc.runtime.finding import first_of

#: CUBLAS_PEDANTIC_MATH: sums of float32 products, no TF32 and no other way to them.
_PEDANTIC = 2
#: What the library may use for itself: without it, it would allocate memory while launches are captured.
WORKSPACE = 32 << 20
_KIND = {"float32": ("float", "cublasSgemmStridedBatched"), "float64": ("double", "cublasDgemmStridedBatched")}


@functools.cache
def library() -> tuple[Any, str]:
    """The library and its place; (None, "") if it is missing."""
    return first_of(ffi, "libcublas.so.[0-9]*", "libcublasLt.so.[0-9]*", ("libcublas.so.13", "libcublas.so.12", "libcublas.so"))


def version() -> str:
    """What the library that was found says it is: "13.1.1"."""
    value = ffi.new("int *")
    numbers = [(library()[0].cublasGetProperty(which, value), value[0])[1] for which in range(3)]
    return ".".join(map(str, numbers))


class Cublas:
    """See `exprc.runtime.libraries.Library`."""

    def __init__(self, stream: Any):
        self._library = library()[0]
        made = ffi.new("void **")
        self._check(self._library.cublasCreate_v2(made), "cuBLAS cannot be used")
        self._handle = made[0]
        self._check(self._library.cublasSetStream_v2(self._handle, ffi.cast("void *", stream)), "cuBLAS takes no stream")
        self._check(self._library.cublasSetMathMode(self._handle, _PEDANTIC), "cuBLAS does not promise full precision")

    def _check(self, status: int, what: str) -> None:
        if status:
            raise DeviceError(report(f"{what}: its result is {status}", fix="config.cuda_libraries = 'off' does without it"))

    def refusal(self, work: Product) -> str:
        return ""

    def room(self, work: Product) -> int:
        return WORKSPACE

    def start(self, work: Product, arguments: tuple[int, ...], room: int) -> None:
        kind, name = _KIND[work.dtype]
        one, zero = ffi.new(f"{kind} *", 1), ffi.new(f"{kind} *", 0)
        m, n, k = work.m, work.n, work.k
        self._check(self._library.cublasSetWorkspace_v2(self._handle, room, WORKSPACE), "cuBLAS takes no workspace")
        status = getattr(self._library, name)(
            self._handle, int(not _by_rows(work.right, k, n)), int(not _by_rows(work.left, m, k)), n, m, k, one,
            *_place(work.right, arguments, k, n), *_place(work.left, arguments, m, k), zero,
            *_place(work.result, arguments, m, n), work.batch,
        )  # fmt: skip
        self._check(status, f"cuBLAS cannot multiply {m} x {k} by {k} x {n}")

    def close(self) -> None:
        self._library.cublasDestroy_v2(self._handle)



def _by_rows(x: Matrix, rows: int, columns: int) -> bool:
    return (x.columns == 1 or columns == 1) and (x.rows >= columns or rows == 1)


def _place(x: Matrix, arguments: tuple[int, ...], rows: int, columns: int) -> tuple[int, int, int]:
    """Address, elements from row to row (or from column to column, if columns are contiguous), and from product to product."""
    leading = max(x.rows, columns) if _by_rows(x, rows, columns) else max(x.columns, rows)
    return arguments[x.argument] + x.offset, leading, x.batch
