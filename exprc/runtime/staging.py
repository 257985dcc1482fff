"""Copies between the host and a GPU through pinned memory, which the GPU reads and writes while the CPU goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from exprc.runtime.libcuda_entry import ffi
from exprc.runtime.others import event

#: Bytes of each half of the pinned memory: one is filled while the GPU empties the other.
HALF_BYTES = 4 << 20
_ALIGNED = 512

Array = np.ndarray[Any, Any]


class Staging:
    """Two halves of pinned memory, filled one after the other.

    Copies lie side by side in a half. When it is full an event is recorded, and the half is used again once that has come about; after
    whoever waits for all work, as a read does, everything is free. So most copies are one call of the driver.

    All methods run with the context current and under the lock of the device. check : raises what a result of the driver means.
    """

    def __init__(self, driver: Any, pycuda: Any, stream: Any, check: Callable[[int, str], None]):
        self._driver, self._check, self._stream = driver, check, stream
        self._pinned = pycuda.pagelocked_empty(2 * HALF_BYTES, np.uint8)
        self._base = ffi.cast("char *", self._pinned.ctypes.data)
        self._events = [event(driver, check) for _ in range(2)]
        self._busy = [False, False]  # an event was recorded, and nobody has waited for it
        self._half, self._used = 0, 0

    def _take(self, nbytes: int) -> int:
        """Where `nbytes` of pinned memory begin that the GPU is done with."""
        if self._used + nbytes > HALF_BYTES:
            self._turn()
        place = self._half * HALF_BYTES + self._used
        self._used += -(-nbytes // _ALIGNED) * _ALIGNED
        return place

    def _turn(self) -> None:
        """Go on in the other half."""
        self._check(self._driver.cuEventRecord(self._events[self._half], self._stream), "a copy failed")
        self._busy[self._half] = True
        self._half, self._used = 1 - self._half, 0
        self._wait(self._half)

    def _wait(self, half: int) -> None:
        if self._busy[half]:
            self._check(self._driver.cuEventSynchronize(self._events[half]), "a copy failed")
            self._busy[half] = False

    def write(self, address: int, array: Array) -> None:
        """Copy a C-contiguous array to the GPU; on return the array may change, and the copy may be under way."""
        data = array.reshape(-1).view(np.uint8)
        for start in range(0, data.size, HALF_BYTES):
            piece = data[start : start + HALF_BYTES]
            place = self._take(piece.size)
            self._pinned[place : place + piece.size] = piece
            status = self._driver.cuMemcpyHtoDAsync_v2(address + start, self._base + place, piece.size, self._stream)
            self._check(status, "a copy to the GPU failed")

    def read(self, address: int, array: Array) -> None:
        """Fill a C-contiguous array from the GPU; it is full on return."""
        data = array.reshape(-1).view(np.uint8)
        pieces = [(start, data[start : start + HALF_BYTES]) for start in range(0, data.size, HALF_BYTES)]
        before = None
        for start, piece in pieces:
            place = self._take(piece.size)
            status = self._driver.cuMemcpyDtoHAsync_v2(self._base + place, address + start, piece.size, self._stream)
            self._check(status, "a copy from the GPU failed")
            if before is not None:
                self._arrive(*before)
            before = place, piece
        self._check(self._driver.cuStreamSynchronize(self._stream), "a copy from the GPU failed")
        self._busy, self._used = [False, False], 0
        if before is not None:
            self._arrive(*before)

    def _arrive(self, place: int, piece: Array) -> None:
        """Take what was read; a piece that is not the last one filled a half, whose event was then recorded."""
        self._wait(place // HALF_BYTES)
        piece[...] = self._pinned[place : place + piece.size]

    @property
    def pinned(self) -> Any:
        """What pycuda made for this."""
        return self._pinned.base

    def close(self) -> None:
        """Give the pinned memory back; the context must still be there."""
        for one in self._events:
            self._driver.cuEventDestroy_v2(one)
        self._events = []
        self._pinned.base.free()
