"""The short way to a GPU: a call copies in, starts a graph and copies out without Python between (``kernels/c/roundtrip.c``)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from exprc.runtime import direct
from exprc.runtime.entry import ffi
from exprc.runtime.staging import HALF_BYTES

#: What went wrong in each stage of a call that failed (see `doing` in the text).
STAGES = (
    "the GPU cannot be used", "a copy to the GPU failed", "a copy to the GPU failed", "a GPU program cannot be started",
    "a copy from the GPU failed",
)  # fmt: skip


class Piece(NamedTuple):
    """Elements of an array of the call: rows of bytes, from an offset in pinned memory on; `slot`: which array it is."""

    slot: int
    offset: int
    rows: int
    bytes: int
    stride: int


class Block(NamedTuple):
    """Memory of the GPU, and where its bytes are in pinned memory."""

    address: int
    offset: int
    bytes: int


class Journey(NamedTuple):
    """What is copied: `given` from arrays to pinned memory, that to the block `there`; after the graph `back`, and `results` to arrays.

    checks : whether the first block that comes back begins with the status of the checks of indices.
    """

    given: Sequence[Piece]
    there: Block
    back: Sequence[Block]
    results: Sequence[Piece]
    checks: bool

    @property
    def nbytes(self) -> int:
        """Of pinned memory."""
        return max([self.there.offset + self.there.bytes, *(b.offset + b.bytes for b in self.back)])

    @property
    def fits(self) -> bool:
        """Whether the copies are so short that it matters how they are made."""
        return self.nbytes <= HALF_BYTES


class _Piece(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in Piece._fields)


class _Block(ctypes.Structure):
    _fields_ = (("address", ctypes.c_uint64), ("offset", ctypes.c_int64), ("bytes", ctypes.c_int64))


#: The functions of the driver that the text calls, in its order.
_FUNCTIONS = (
    "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuGraphLaunch", "cuStreamSynchronize",
    "cuEventRecord", "cuEventSynchronize",
)  # fmt: skip


class _Trip(ctypes.Structure):
    _fields_ = (
        ("functions", ctypes.c_void_p * len(_FUNCTIONS)),
        *((name, ctypes.c_void_p) for name in ("context", "stream", "graph", "event", "pinned")),
        ("there", _Block),
        *((name, ctypes.c_void_p) for name in ("out", "given", "results")),
        *((name, ctypes.c_int64) for name in ("outs", "givens", "resultcount", "checks", "under_way", "failed", "doing")),
    )


class RoundTrip:
    """What a call of a prepared graph does, bound to its places.

    Parameters
    ----------
    driver : whose functions are called. handles : of the context, the stream, the graph (NULL: none) and an event.
    pinned : memory of the host that the GPU copies from and to, with an `address`.
    told : raises what a result of the driver means: its number, and what was being done. keep : what must live as long.
    """

    def __init__(
        self, driver: Any, handles: Sequence[Any], pinned: Any, journey: Journey, told: Callable[[int, str], None], keep: Any
    ):
        rows: list[Any] = [(_Piece * len(pieces))(*(_Piece(*p) for p in pieces)) for pieces in (journey.given, journey.results)]
        back = (_Block * len(journey.back))(*(_Block(*b) for b in journey.back))
        functions = (ctypes.c_void_p * len(_FUNCTIONS))(*(_address(getattr(driver, name)) for name in _FUNCTIONS))
        self._told, self._keep = told, (keep, pinned, rows, back)
        self._trip = _Trip(
            functions, *map(_address, handles), pinned.address, _Block(*journey.there),
            *(ctypes.addressof(r) for r in (back, *rows)), len(back), *map(len, rows), journey.checks, 0, 0, 0,
        )  # fmt: skip
        self.arrays = len(journey.given) + len(journey.results)

    def bound(self) -> direct.Bound:
        """As a program that `exprc.runtime.direct.direct` makes a callable of; arrays have the slots of their pieces."""
        table, status, sizes = ffi.new("void *[]", self.arrays + 1), ffi.new("int64_t[4]"), ffi.new("int64_t[1]")
        arena = ffi.cast("char *", ctypes.addressof(self._trip))
        return direct.Bound(ffi.cast("void *", run()), table, sizes, status, 1, True, self, arena)

    def check(self) -> None:
        """Raise what went wrong in the last call, if the driver said that something did."""
        failed, self._trip.failed = self._trip.failed, 0
        if failed:
            self._told(failed, STAGES[self._trip.doing])


@functools.cache
def run() -> int:
    """The address of the compiled text's function; 0 where there is none."""
    found = direct.library("c/roundtrip.c", ())
    return 0 if found is None else int(ctypes.cast(found.exprc_roundtrip, ctypes.c_void_p).value or 0)


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))
