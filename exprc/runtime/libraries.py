"""Libraries that compute in the place of kernels of a GPU: which there are, which may be used, and what they do.

Whether a library may is decided when a function is made (`exprc.config.cuda_libraries`); what is left to it are launches whose kernels only
load and store (`exprc.gpu.library`). The kernels are in the text all the same, so that nothing else knows of libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from exprc.config import config
from exprc.errors import DeviceError, report
from exprc.library import Work
from exprc.runtime import cublas, cudnn, libcuda


class Library(Protocol):
    """A library in the context that is current, working on one stream."""

    def refusal(self, work: Any) -> str:
        """Why it leaves something to the kernel, or ""."""

    def room(self, work: Any) -> int:
        """Bytes of memory that it may use meanwhile."""

    def start(self, work: Any, arguments: tuple[int, ...], room: int) -> None:
        """Start what it does in the place of a kernel, on the arguments of that; `room` is the address of the memory that it asked for."""

    def close(self) -> None:
        """Give everything back; the context must still be there."""


@dataclass(frozen=True)
class Known:
    """A library that may compute in the place of kernels.

    title : as people write it. packages : of Python, which bring it along, for CUDA 13 and for 12.
    find() : the library and its place, (None, "") if it is missing. version() : what the library that was found says it is.
    begin(stream) : it, ready to be used.
    """

    title: str
    packages: tuple[str, str]
    find: Callable[[], tuple[Any, str]]
    version: Callable[[], str]
    begin: Callable[[Any], Library]


#: `exprc.config.LIBRARIES`.
LIBRARIES = {
    "cublas": Known("cuBLAS", ("nvidia-cublas", "nvidia-cublas-cu12"), lambda: cublas.library(), cublas.version, cublas.Cublas),
    "cudnn": Known("cuDNN", ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"), lambda: cudnn.library(), cudnn.version, cudnn.Cudnn),
}


def allowed() -> tuple[str, ...]:
    """Return the libraries that `exprc.config.cuda_libraries` names, all of which must be found, or with "auto" those that are.

    Raises
    ------
    DeviceError
        where one that is named is missing.
    """
    if config.cuda_libraries == "off":
        return ()
    found = tuple(name for name, known in LIBRARIES.items() if known.find()[0] is not None)
    if config.cuda_libraries == "auto":
        return found
    asked = config.cuda_libraries.split(",")
    for known in (LIBRARIES[name] for name in asked if name not in found):
        package = known.packages[libcuda.driver_version().startswith("12.")]
        fix = f"pip install {package}, or config.cuda_libraries = 'auto', which takes what is there"
        raise DeviceError(report(f"config.cuda_libraries asks for {known.title}, which is not found", fix=fix))
    return tuple(asked)


class Libraries:
    """The libraries that work on one stream, each begun when it is first needed. The context is current whenever they are called."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._begun: dict[str, Library] = {}

    def of(self, work: Work) -> Library:
        """The library that does something."""
        if work.library not in self._begun:
            self._begun[work.library] = LIBRARIES[work.library].begin(self._stream)
        return self._begun[work.library]

    def room(self, works: Sequence[Work]) -> int:
        """Bytes of memory that they use, one after the other."""
        return max((self.of(work).room(work) for work in works), default=0)

    def close(self) -> None:
        for library in self._begun.values():
            library.close()
