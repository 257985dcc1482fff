"""Finding libraries of CUDA: in packages of Python, and where the loader looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_open: list[Any] = []  # a library that nothing holds is closed


def in_packages(pattern: str) -> Iterator[Path]:
    """Files that packages of Python bring along (``nvidia/cu13/lib``, ``nvidia/cublas/lib``), the newest of a package first."""
    for folder in filter(None, sys.path):
        yield from sorted(Path(folder).glob(f"nvidia/*/lib/{pattern}"), reverse=True)


def open_for_others(ffi: Any, path: Path) -> None:
    """Open a library for all, and for good, that another one would look for where the loader looks and not find."""
    _open.append(ffi.dlopen(str(path), ffi.RTLD_NOW | ffi.RTLD_GLOBAL))


def first_of(ffi: Any, packaged: str, needs: str, names: Sequence[str]) -> tuple[Any, str]:
    """Open the first library that can be, in a package or where the loader finds one of `names`; return it and its place, or (None, "").

    needs : another one that is opened before it, of the same package or, where that has none, of any.
    """
    for path in [*map(str, in_packages(packaged)), *names]:
        with suppress(OSError):
            if path not in names:
                for other in [*sorted(Path(path).parent.glob(needs), reverse=True), *in_packages(needs)][:1]:
                    open_for_others(ffi, other)
            return ffi.dlopen(path, ffi.RTLD_NOW), path
    return None, ""
