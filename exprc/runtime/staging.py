"""Copies between the host and a GPU through pinned memory, which the GPU reads and writes while the CPU goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from exprc.runtime.libcuda_entry import ffi

#: Slots of pinned memory: big enough that a large copy keeps the bus busy, few enough to cost little.
SLOTS, SLOT_BYTES = 8, 1 << 20
_NO_TIMING = 2  # an event that only says that it has come about

Array = np.ndarray[Any, Any]


class Staging:
    """A ring of pinned slots. A slot is free again once the event recorded after its copy has come about.

    All methods run with the context current and under the lock of the device. check : raises what a result of the driver means.
    """

    def __init__(self, driver: Any, pycuda: Any, stream: Any, check: Callable[[int, str], None]):
        self._driver, self._check, self._stream = driver, check, stream
        self._pinned = pycuda.pagelocked_empty(SLOTS * SLOT_BYTES, np.uint8)
        self._slots = [self._pinned[k * SLOT_BYTES : (k + 1) * SLOT_BYTES] for k in range(SLOTS)]
        self._places = [ffi.cast("void *", slot.ctypes.data) for slot in self._slots]
        self._events = [self._event() for _ in range(SLOTS)]
        self._used = [False] * SLOTS
        self._next = 0

    def _event(self) -> Any:
        made = ffi.new("void **")
        self._check(self._driver.cuEventCreate(made, _NO_TIMING), "an event cannot be made")
        return made[0]

    def _take(self) -> int:
        """The next slot, once the GPU is done with what was in it."""
        slot = self._next
        self._next = (slot + 1) % SLOTS
        self._wait(slot)
        return slot

    def _wait(self, slot: int) -> None:
        if self._used[slot]:
            self._check(self._driver.cuEventSynchronize(self._events[slot]), "a copy failed")
            self._used[slot] = False

    def _mark(self, slot: int) -> None:
        self._check(self._driver.cuEventRecord(self._events[slot], self._stream), "a copy failed")
        self._used[slot] = True

    def write(self, address: int, array: Array) -> None:
        """Copy a C-contiguous array to the GPU; on return the array may change, and the copy may be under way."""
        data = array.reshape(-1).view(np.uint8)
        for start in range(0, data.size, SLOT_BYTES):
            piece, slot = data[start : start + SLOT_BYTES], self._take()
            self._slots[slot][: piece.size] = piece
            status = self._driver.cuMemcpyHtoDAsync_v2(address + start, self._places[slot], piece.size, self._stream)
            self._check(status, "a copy to the GPU failed")
            self._mark(slot)

    def read(self, address: int, array: Array) -> None:
        """Fill a C-contiguous array from the GPU; it is full on return."""
        data = array.reshape(-1).view(np.uint8)
        if data.size <= SLOT_BYTES:
            self._read_one(address, data)
            return
        under_way: list[tuple[int, Array]] = []
        for start in range(0, data.size, SLOT_BYTES):
            if len(under_way) == SLOTS:
                self._arrive(*under_way.pop(0))
            piece, slot = data[start : start + SLOT_BYTES], self._take()
            status = self._driver.cuMemcpyDtoHAsync_v2(self._places[slot], address + start, piece.size, self._stream)
            self._check(status, "a copy from the GPU failed")
            self._mark(slot)
            under_way.append((slot, piece))
        for slot, piece in under_way:
            self._arrive(slot, piece)

    def _read_one(self, address: int, data: Array) -> None:
        """Fill a small array: waiting for all work takes one call of the driver less than waiting for an event."""
        slot = self._take()
        status = self._driver.cuMemcpyDtoHAsync_v2(self._places[slot], address, data.size, self._stream)
        self._check(status or self._driver.cuStreamSynchronize(self._stream), "a copy from the GPU failed")
        data[...] = self._slots[slot][: data.size]

    def _arrive(self, slot: int, piece: Array) -> None:
        self._wait(slot)
        piece[...] = self._slots[slot][: piece.size]

    @property
    def pinned(self) -> Any:
        """What pycuda made for this."""
        return self._pinned.base

    def close(self) -> None:
        """Give the pinned memory back; the context must still be there."""
        for event in self._events:
            self._driver.cuEventDestroy_v2(event)
        self._slots, self._places, self._events = [], [], []
        self._pinned.base.free()
