"""Memory of large results, used again.

The pages of a fresh array are mapped and zeroed when they are first written, which for a large result takes longer than computing it:
0.1 to 0.5 ms a MiB. So the memory of a large result goes back to a pool when the array dies, and all views of it. NumPy keeps track of
that: an array holds on to its base, here a lease, and hands it on to its views.
"""

from __future__ import annotations

import math
import mmap
from functools import partial
from typing import Any

import numpy as np

from exprc.runtime.entry import ffi

#: From this many bytes on results come from the pool; below it, malloc keeps what it got.
LARGE = 1 << 22
#: Bytes that wait in the pool at most; the oldest are given back to the system.
KEPT = 1 << 28
#: What a page is where the system is asked for large ones.
_PAGE = 1 << 21


class Block:
    """Private memory of `size` bytes at `address`, in large pages where the system has them."""

    __slots__ = ("address", "size", "_mapped")

    def __init__(self, size: int):
        self._mapped = mmap.mmap(-1, size + _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # not shared with forked children
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._advise()
        start = int(ffi.cast("uintptr_t", ffi.from_buffer(self._mapped)))
        self.address, self.size = -(-start // _PAGE) * _PAGE, size

    def _advise(self) -> None:
        try:
            self._mapped.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without them
            pass


class Pool:
    """Blocks that wait for a result of their size.

    What gives a block back runs wherever an array dies, also in the middle of `array`: so there is no lock to wait for, and the list is
    only changed by calls that other threads see done or not begun.
    """

    def __init__(self, kept: int = KEPT):
        self.kept = kept
        self.free: list[Block] = []

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return an array of whatever the memory holds; the memory comes back when the array and its views are gone."""
        block = self._take(math.prod(shape) * dtype.itemsize)
        lease = ffi.gc(ffi.cast("char *", block.address), partial(self._back, block))
        return np.ndarray(shape, dtype, ffi.buffer(lease, block.size))

    def _take(self, size: int) -> Block:
        for block in reversed(self.free):  # what was used last may still be in the cache
            if block.size == size:
                try:
                    self.free.remove(block)
                    return block
                except ValueError:  # another thread took it
                    continue
        try:
            return Block(size)
        except OSError as error:
            raise MemoryError(f"no memory for a result of {size} bytes: {error}") from error

    def _back(self, block: Block, _: Any) -> None:
        self.free.append(block)
        while sum(b.size for b in self.free) > self.kept:
            try:
                self.free.pop(0)
            except IndexError:  # another thread was first
                break


_pool = Pool()


def maker(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return what makes the array of a result, ``make(shape, dtype)``: `numpy.empty`, or the pool for a large one."""
    large = math.prod(shape) * dtype.itemsize >= LARGE
    return _pool.array if large and hasattr(mmap, "MAP_PRIVATE") else np.empty
