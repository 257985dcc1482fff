"""cuBLAS through cffi: used where it is found and `config.cuda_libraries` allows it, in the place of a kernel that multiplies matrices.

The library counts in column-major order: row-major c = a · b is the column-major product of b and a with their axes exchanged.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exprc.errors import DeviceError, report
from exprc.products import Matrix, Product
from exprc.runtime.cublas_entry import ffi

#: CUBLAS_PEDANTIC_MATH: sums of float32 products, no TF32 and no other way to them.
_PEDANTIC = 2
#: What the library may use for itself: without it, it would allocate memory while launches are captured.
WORKSPACE = 32 << 20
_KIND = {"float32": ("float", "cublasSgemmStridedBatched"), "float64": ("double", "cublasDgemmStridedBatched")}


@functools.cache
def library() -> Any:
    """The library, from a package of Python (``nvidia/cu13/lib``, ``nvidia/cublas/lib``) or where the loader finds it; None if missing."""
    for name in (*_in_packages(), "libcublas.so.13", "libcublas.so.12", "libcublas.so"):
        try:
            return ffi.dlopen(name, ffi.RTLD_NOW)
        except OSError:
            continue
    return None


def _in_packages() -> Iterator[str]:
    """The libraries of packages; the one that libcublas needs is opened first, because the loader does not look beside it."""
    for folder in filter(None, sys.path):
        for path in sorted(Path(folder).glob("nvidia/*/lib/libcublas.so.[0-9]*"), reverse=True):
            for beside in sorted(path.parent.glob("libcublasLt.so.[0-9]*"), reverse=True)[:1]:
                _open_beside(str(beside))
            yield str(path)


_beside: list[Any] = []  # a library that nothing holds is closed


def _open_beside(path: str) -> None:
    try:
        _beside.append(ffi.dlopen(path, ffi.RTLD_NOW | ffi.RTLD_GLOBAL))
    except OSError:
        pass  # then the library itself tells what it lacks


class Cublas:
    """cuBLAS in the context that is current, working on one stream; `workspace` is the address of `WORKSPACE` bytes.

    Attributes
    ----------
    version : as "13.1.1".
    """

    def __init__(self, stream: Any, workspace: int):
        self._library = library()
        made, version = ffi.new("void **"), ffi.new("int *")
        self._check(self._library.cublasCreate_v2(made), "cuBLAS cannot be used")
        self._handle = made[0]
        self._check(self._library.cublasGetVersion_v2(self._handle, version), "cuBLAS does not tell its version")
        self.version = f"{version[0] // 10000}.{version[0] // 100 % 100}.{version[0] % 100}"
        self._check(self._library.cublasSetStream_v2(self._handle, ffi.cast("void *", stream)), "cuBLAS takes no stream")
        self._check(self._library.cublasSetWorkspace_v2(self._handle, workspace, WORKSPACE), "cuBLAS takes no workspace")
        self._check(self._library.cublasSetMathMode(self._handle, _PEDANTIC), "cuBLAS does not promise full precision")

    def _check(self, status: int, what: str) -> None:
        if status:
            raise DeviceError(report(f"{what}: its result is {status}", fix="config.cuda_libraries = 'off' does without it"))

    def multiply(self, product: Product, arguments: tuple[int, ...]) -> None:
        """Start products; the context is current."""
        kind, name = _KIND[product.dtype]
        one, zero = ffi.new(f"{kind} *", 1), ffi.new(f"{kind} *", 0)
        m, n, k = product.m, product.n, product.k
        status = getattr(self._library, name)(
            self._handle, int(not _by_rows(product.right, k, n)), int(not _by_rows(product.left, m, k)), n, m, k, one,
            *_place(product.right, arguments, k, n), *_place(product.left, arguments, m, k), zero,
            *_place(product.result, arguments, m, n), product.batch,
        )  # fmt: skip
        self._check(status, f"cuBLAS cannot multiply {m} x {k} by {k} x {n}")

    def close(self) -> None:
        """Give the handle back; the context must still be there."""
        self._library.cublasDestroy_v2(self._handle)


def _by_rows(x: Matrix, rows: int, columns: int) -> bool:
    return (x.columns == 1 or columns == 1) and (x.rows >= columns or rows == 1)


def _place(x: Matrix, arguments: tuple[int, ...], rows: int, columns: int) -> tuple[int, int, int]:
    """Address, elements from row to row (or from column to column, if columns are contiguous), and from product to product."""
    leading = max(x.rows, columns) if _by_rows(x, rows, columns) else max(x.columns, rows)
    return arguments[x.argument] + x.offset, leading, x.batch
