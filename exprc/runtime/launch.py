"""Launches: what a device runs. The one seam between programs and devices: a GPU, or the emulator of one.

A program is a text with kernels and a list of launches. A device loads the text, keeps memory, and runs the launches in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from exprc.library import Work
from exprc.runtime.compiler import Target

if TYPE_CHECKING:
    from exprc.runtime.roundtrip import Journey, RoundTrip

Array = np.ndarray[Any, Any]

#: What CUDA texts are made for: no vector lanes (so layouts are plain), 255 registers a thread.
CUDA = Target("cuda", 0, 255, (), "nvcc", False, "cuda")


def precisions(capability: tuple[int, int]) -> tuple[str, ...]:
    """Which of `exprc.config.PRECISIONS` a GPU of this compute capability offers: matrix instructions for the last two came with 8.0.

    >>> precisions((7, 5)), precisions((9, 0))
    (('float32', 'strict'), ('float32', 'strict', 'tf32', 'bf16'))
    """
    return ("float32", "strict", "tf32", "bf16") if capability >= (8, 0) else ("float32", "strict")


@dataclass(frozen=True)
class Launch:
    """A kernel with the blocks that run it.

    kernel : the name of its entry in the text. grid, block : the numbers of blocks and of threads in each, along x, y, z.
    shared : bytes of shared memory. arguments : one number of 8 bytes each, an address on the device or an integer.
    work : what a library that the device uses does in the kernel's place.
    extents : for each argument the bytes that it may reach, -1 where that is not known; () where of none. The emulator looks at them.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    arguments: tuple[int, ...]
    extents: tuple[int, ...] = ()
    work: Work | None = None

    def numbers(self) -> list[np.number[Any]]:
        """The arguments as pycuda takes them, each in 8 bytes."""
        return [np.uint64(value) if value >= 0 else np.int64(value) for value in self.arguments]


class Memory(Protocol):
    """A piece of a device's memory; it is freed when nothing holds it any more."""

    @property
    def address(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


class Module(Protocol):
    """A text compiled and loaded.

    Attributes
    ----------
    cached : whether the cache had it. compile_seconds : what compiling took in this process.
    """

    @property
    def cached(self) -> bool: ...

    @property
    def compile_seconds(self) -> float: ...


class Prepared(Protocol):
    """Launches that can be run again and again: a CUDA graph on a GPU."""

    def run(self) -> None:
        """Run them in order. A GPU may still be at it on return; an error of a kernel surfaces at the next `synchronize` or `read`."""


class Device(Protocol):
    """Where programs run; all work of one device is done in the order in which it was asked for."""

    @property
    def name(self) -> str:
        """``cuda``, ``cuda1`` ... or ``cuda-emulator``."""

    @property
    def target(self) -> Target:
        """What texts are made for."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """How exact the products are that it offers, of `exprc.config.PRECISIONS`."""

    def libraries(self) -> tuple[str, ...]:
        """The libraries that may compute in the place of kernels, as `exprc.config.cuda_libraries` says.

        Raises
        ------
        DeviceError
            where that names one which is not found.
        """

    def refusal(self, work: Work) -> str:
        """Why one of these libraries leaves something to the kernel all the same, or ""."""

    @property
    def dlpack(self) -> tuple[int, int]:
        """What DLPack calls its memory: the type of the device and its number."""

    @property
    def stream(self) -> int | None:
        """The stream of CUDA that work is done on."""

    def check_own(self, address: int) -> None:
        """Raise ValueError for memory of another device, or of another context."""

    def wait_for(self, stream: int | None) -> None:
        """Let nothing begin before what others have asked for on a stream of theirs is done; None: on all streams."""

    def let_wait(self, stream: int) -> None:
        """Let nothing begin on a stream of others before what was asked for here is done."""

    def shared_with_others(self, array: Any) -> None:
        """Note that other libraries have the memory of an array: from now on work is done in turn with theirs on the default stream."""

    def load(self, text: str, flush: bool = False) -> Module:
        """Compile a self-contained text, or take it from the cache, and load it; with `flush`, subnormal numbers count as 0."""

    def may_ask(self, keeper: Any) -> None:
        """Note who keeps memory ready for calls to come: its `give_back` is called before memory is said to have run out."""

    def allocate(self, nbytes: int, label: str = "") -> Memory:
        """Return memory of exactly this size, with no particular contents; `label` says what for, where memory runs out."""

    def write(self, address: int, array: Array) -> None:
        """Copy a C-contiguous array to the device; it may be changed afterwards."""

    def read(self, address: int, array: Array) -> None:
        """Fill a C-contiguous array from the device, after all work asked for before."""

    def copy(self, source: int, target: int, nbytes: int) -> None:
        """Copy from one place on the device to another."""

    def forget(self, address: int, nbytes: int) -> None:
        """Declare that nothing reads what lies there before it is written again; the emulator sees who does."""

    def prepare(self, module: Module, launches: Sequence[Launch]) -> Prepared:
        """Make launches ready to run; the memory that they name must live as long as they are run."""

    @property
    def lock(self) -> Any:
        """Held while the device is at work for one call of it; who takes several takes it last."""

    def round_trip(self, prepared: Prepared, journey: Journey) -> RoundTrip | None:
        """The short way to copy in, run launches and copy out, or None where there is none; who takes it asks `may_start` first."""

    def may_start(self, prepared: Prepared) -> bool:
        """Whether launches may be started by a round trip now."""

    def seconds(self, prepared: Prepared) -> float:
        """Run launches, and return how long the device was at it."""

    @property
    def repeats(self) -> int:
        """How often a launch is repeated to be timed."""

    def synchronize(self) -> None:
        """Wait until all work is done; raise what went wrong in it."""
