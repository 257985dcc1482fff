"""The short way into a program: a callable that goes from Python's arrays to machine code by itself.

``kernels/c/call.c`` checks, binds and calls; here it is compiled, once a machine, and told what a bound program takes and gives. It wants
CPython with its interpreter lock, and Linux, whose linker lets a library find the interpreter that loads it. Elsewhere `direct` gives
None, and every call goes the general way.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from exprc.errors import CompileError
from exprc.render.base import kernel_source
from exprc.runtime import compiler, cpu
from exprc.runtime.containers import Container
from exprc.runtime.entry import ffi

#: Arrays of one call that the C text has room for.
MOST = 64


class Operand(NamedTuple):
    """An array that a call reads: an argument, or the storage of `container`.

    slot : where in the table of buffers, -1 where nowhere. limit : the length of the axis that its elements index, -1 where they index
    none. written : whether the program writes it.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    slot: int
    container: Container | None = None
    limit: int = -1
    written: bool = False


class Result(NamedTuple):
    """An array that a call makes, ``make(shape, dtype)``; `slot` as of operands."""

    make: Callable[..., Any]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    slot: int


class Bound(NamedTuple):
    """A program bound to sizes; `keep`: whatever must live as long as it is called."""

    run: Any
    table: Any
    sizes: Any
    status: Any
    threads: int
    releases: bool
    keep: Any


class _Operand(ctypes.Structure):
    _fields_ = (
        ("container", ctypes.c_void_p), ("format", ctypes.c_char_p), ("itemsize", ctypes.c_int64), ("axes", ctypes.c_int64),
        ("shape", ctypes.c_void_p), ("slot", ctypes.c_int64), ("limit", ctypes.c_int64), ("written", ctypes.c_int64),
    )  # fmt: skip


class _Result(ctypes.Structure):
    _fields_ = (("make", ctypes.c_void_p), ("arguments", ctypes.c_void_p), ("slot", ctypes.c_int64))


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("run", "table", "sizes", "status")),
        *((name, ctypes.c_int64) for name in ("threads", "releases", "arguments", "operands", "results", "busy")),
        *((name, ctypes.c_void_p) for name in ("operand", "result", "array", "none", "refused", "storage", "resident")),
    )


def direct(bound: Bound, operands: Sequence[Operand], results: Sequence[Result]) -> Callable[..., Any] | None:
    """Return a callable of arrays that runs a bound program, or None where there is none on this system.

    Parameters
    ----------
    operands : the arguments in order, then shared variables.
    results : what the callable returns: one by itself, several, or none, in a list.

    Notes
    -----
    The callable returns NotImplemented, and has done nothing, unless its arguments are plain arrays of just these dtypes and shapes, which
    share no memory with what is written; and unless no other thread is in it, and no index is out of bounds. Who gives it containers that
    are written holds their locks, and indices into them have limits.
    """
    make = _maker()
    if make is None or len(operands) + len(results) > MOST:
        return None
    shapes = [(ctypes.c_int64 * len(o.shape))(*o.shape) for o in operands]
    forms = [_form(o.dtype) for o in operands]
    rows = (_Operand * len(operands))(*map(_operand, operands, forms, shapes))
    arguments = [(r.shape, r.dtype) for r in results]
    made = (_Result * len(results))(*(_Result(id(r.make), id(a), r.slot) for r, a in zip(results, arguments)))
    taken = sum(o.container is None for o in operands)
    call = _Call(
        *map(_address, (bound.run, bound.table, bound.sizes, bound.status)), bound.threads, bound.releases, taken, len(rows), len(made),
        0, ctypes.addressof(rows), ctypes.addressof(made), id(np.ndarray), id(None), id(NotImplemented), *map(id, _NAMES),
    )  # fmt: skip
    kept = (bound, operands, results, shapes, forms, rows, arguments, made, call)
    return make((ctypes.addressof(call), kept))  # type: ignore[no-any-return]


#: The attributes of a container that hold its array and its copy on a device.
_NAMES = tuple(map(sys.intern, ("_value", "resident")))


def _form(dtype: np.dtype[Any]) -> bytes:
    """What a buffer of this dtype says of its elements."""
    return memoryview(np.empty(0, dtype)).format.encode()  # type: ignore[arg-type, unused-ignore]


def _operand(o: Operand, form: bytes, shape: Any) -> _Operand:
    container = None if o.container is None else id(o.container)
    return _Operand(container, form, o.dtype.itemsize, len(o.shape), ctypes.addressof(shape), o.slot, o.limit, o.written)


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


@functools.cache
def _maker() -> Any:
    """What makes a callable of (address of a Call, what it holds on to), or None where it cannot work."""
    if not _works():
        return None
    try:
        entry, _ = compiler.built(kernel_source("c/call.c"), cpu.host_vectors())
        make = ctypes.PyDLL(str(entry.program)).exprc_direct
    except (CompileError, OSError):  # a shortcut only
        return None
    make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object]
    return make


def _works() -> bool:
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return sys.implementation.name == "cpython" and sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8 and locked
