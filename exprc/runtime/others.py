"""Other libraries in the context of a GPU: work on their streams and on ours is put in order, and the host waits for neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from exprc.runtime.libcuda_entry import ffi

_NO_TIMING = 2  # an event that only says that it has come about
#: CU_STREAM_LEGACY, the default stream: where PyTorch and CuPy work unless they are told otherwise.
DEFAULT = 1


def event(driver: Any, check: Callable[[int, str], None]) -> Any:
    """Make an event that only says that it has come about; the context is current."""
    made = ffi.new("void **")
    check(driver.cuEventCreate(made, _NO_TIMING), "an event cannot be made")
    return made[0]


class Others:
    """What others have of ours, and the streams that wait for each other.

    All methods but `given` run with the context current and under the lock of the device. check : raises what a result of the driver means.

    Attributes
    ----------
    there : whether work is done in turn with that of others on the default stream: as long as they have an array, and once more after that.
    """

    def __init__(self, driver: Any, stream: Any, check: Callable[[int, str], None]):
        self._driver, self._stream, self._check = driver, stream, check
        self._arrays: WeakSet[Any] = WeakSet()
        self.there = False
        self._event: Any = None

    def given(self, array: Any) -> None:
        """Note that others have the memory of an array."""
        self._arrays.add(array)
        self.there = True

    def wait_for(self, stream: int) -> None:
        """Let nothing begin before what was asked for on a stream of theirs is done."""
        self._order(ffi.cast("void *", stream), self._stream)

    def let_wait(self, stream: int) -> None:
        """Let nothing begin on a stream of theirs before what was asked for on ours is done."""
        self._order(self._stream, ffi.cast("void *", stream))

    def begin(self) -> None:
        """Come after what others asked for on the default stream; what they do there after `end` comes after us."""
        self.there = len(self._arrays) > 0
        self.wait_for(DEFAULT)

    def end(self) -> None:
        self.let_wait(DEFAULT)

    def _order(self, first: Any, then: Any) -> None:
        if self._event is None:
            self._event = event(self._driver, self._check)
        self._check(self._driver.cuEventRecord(self._event, first), "the stream of another library cannot be waited for")
        self._check(self._driver.cuStreamWaitEvent(then, self._event, 0), "a stream cannot wait for another one")

    def close(self) -> None:
        """Give the event back; the context must still be there."""
        if self._event is not None:
            self._driver.cuEventDestroy_v2(self._event)
