"""Memory that waits to be used again: of large results on the host, and of arrays that a function leaves on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exprc.runtime.launch import Device, Memory

#: Bytes that wait at most; the oldest are given back.
KEPT = 1 << 28


class Waiting:
    """Pieces of memory, each of `nbytes` bytes, that wait for who needs just as much.

    What gives a piece back runs wherever an array dies, also in the middle of `take`: so there is no lock to wait for, and the list is only
    changed by calls that other threads see done or not begun.
    """

    def __init__(self, kept: int = KEPT):
        self.kept = kept
        self.free: list[Any] = []

    def take(self, nbytes: int) -> Any:
        """A piece of this size, or None."""
        for piece in reversed(self.free):  # what was used last may still be in the cache
            if piece.nbytes == nbytes:
                try:
                    self.free.remove(piece)
                    return piece
                except ValueError:  # another thread took it
                    continue
        return None

    def back(self, piece: Any) -> None:
        """Let a piece wait."""
        self.free.append(piece)
        while sum(p.nbytes for p in self.free) > self.kept:
            try:
                self.free.pop(0)
            except IndexError:  # another thread was first
                break


class Lease:
    """Memory of a device that waits again when nobody holds this.

    shared : whether another library had it. That may still be at work on it when it lets go, so it is given back to the device instead.
    """

    __slots__ = ("address", "nbytes", "shared", "_memory", "_spare")

    def __init__(self, memory: Memory, spare: Spare):
        self.address, self.nbytes, self.shared = memory.address, memory.nbytes, False
        self._memory, self._spare = memory, spare

    def __del__(self) -> None:
        if not self.shared:
            self._spare.waiting.back(self._memory)


class Spare:
    """Memory of a device for arrays that are handed out. All work of a device is done in order, so that it can be used again at once."""

    def __init__(self, device: Device):
        self.device, self.waiting = device, Waiting()
        device.may_ask(self)

    def take(self, nbytes: int, label: str) -> Lease:
        """Memory with no particular contents."""
        memory = self.waiting.take(nbytes) or self.device.allocate(nbytes, label)
        self.device.forget(memory.address, nbytes)
        return Lease(memory, self)

    def give_back(self) -> None:
        """Let go of what waits."""
        self.waiting.free.clear()
