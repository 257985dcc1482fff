"""Memory of large results, used again.

The pages of a fresh array are mapped and zeroed when they are first written, which for a large result takes longer than computing it:
0.1 to 0.5 ms a MiB. So the memory of a large result goes back to a pool when the array dies, and all views of it. NumPy keeps track of
that: an array holds on to its base, here a lease, and hands it on to its views.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np

from exprc.runtime.entry import ffi
from exprc.runtime.waiting import Waiting

#: From this many bytes on results come from the pool; below it, malloc keeps what it got.
LARGE = 1 << 22
#: What a page is where the system is asked for large ones.
_PAGE = 1 << 21


class Block:
    """Private memory of `nbytes` bytes at `address`, in large pages where the system has them."""

    __slots__ = ("address", "nbytes", "_mapped")

    def __init__(self, nbytes: int):
        self._mapped = mmap.mmap(-1, nbytes + _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # not shared with forked children
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._advise()
        start = int(ffi.cast("uintptr_t", ffi.from_buffer(self._mapped)))
        self.address, self.nbytes = -(-start // _PAGE) * _PAGE, nbytes

    def _advise(self) -> None:
        try:
            self._mapped.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without them
            pass


class Pool(Waiting):
    """Blocks that wait for a result of their size."""

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return an array of whatever the memory holds; the memory comes back when the array and its views are gone."""
        nbytes = math.prod(shape) * dtype.itemsize
        block = self.take(nbytes) or self._block(nbytes)
        lease = ffi.gc(ffi.cast("char *", block.address), lambda _: self.back(block))
        return np.ndarray(shape, dtype, ffi.buffer(lease, block.nbytes))

    def _block(self, nbytes: int) -> Block:
        try:
            return Block(nbytes)
        except OSError as error:
            raise MemoryError(f"no memory for a result of {nbytes} bytes: {error}") from error


_pool = Pool()


def maker(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return what makes the array of a result, ``make(shape, dtype)``: `numpy.empty`, or the pool for a large one."""
    large = math.prod(shape) * dtype.itemsize >= LARGE
    return _pool.array if large and hasattr(mmap, "MAP_PRIVATE") else np.empty
