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

#: Arrays of one call, and locks, that the C text has room for.
MOST, MOST_LOCKS = 64, 2048


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


class There(NamedTuple):
    """A variable whose value is on a device: the copy there that a program was bound to, and whether the program writes it."""

    container: Container
    resident: Any
    written: bool


class Bound(NamedTuple):
    """A program bound to sizes; `keep`: whatever must live as long as it is called."""

    run: Any
    table: Any
    sizes: Any
    status: Any
    threads: int
    releases: bool
    keep: Any
    arena: Any = ffi.NULL


class _Operand(ctypes.Structure):
    _fields_ = (
        ("container", ctypes.c_void_p), ("format", ctypes.c_char_p), ("itemsize", ctypes.c_int64), ("axes", ctypes.c_int64),
        ("shape", ctypes.c_void_p), ("slot", ctypes.c_int64), ("limit", ctypes.c_int64), ("written", ctypes.c_int64),
    )  # fmt: skip


class _Result(ctypes.Structure):
    _fields_ = (("make", ctypes.c_void_p), ("arguments", ctypes.c_void_p), ("slot", ctypes.c_int64))


class _Resident(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_void_p) for name in ("container", "resident", "version")), ("written", ctypes.c_int64))


#: What C compares with and counts by, and the attributes of a container, and of its copy on a device, that it looks at.
_OBJECTS = (np.ndarray, None, NotImplemented, False, True, 1)
_NAMES = tuple(map(sys.intern, ("_value", "resident", "_lent", "version", "edits", "behind", "ahead")))
_LOCKS = tuple(map(sys.intern, ("lock", "acquire", "release")))


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("run", "table", "sizes", "arena", "status")),
        *((name, ctypes.c_int64) for name in ("threads", "releases", "arguments", "operands", "residents", "results", "busy")),
        *((name, ctypes.c_void_p) for name in ("operand", "there", "result")),
        ("objects", ctypes.c_void_p * len(_OBJECTS)), ("names", ctypes.c_void_p * len(_NAMES)),
    )  # fmt: skip


class _Holding(ctypes.Structure):
    _fields_ = (
        ("inner", ctypes.c_void_p), ("holders", ctypes.c_void_p), ("count", ctypes.c_int64), ("names", ctypes.c_void_p * len(_LOCKS)),
    )  # fmt: skip


def direct(
    bound: Bound, operands: Sequence[Operand], results: Sequence[Result], there: Sequence[There] = ()
) -> Callable[..., Any] | None:
    """Return a callable of arrays that runs a bound program, or None where there is none on this system.

    Parameters
    ----------
    operands : the arguments in order, then shared variables.
    results : what the callable returns: one by itself, several, or none, in a list.
    there : the shared variables of a program that runs on a device.

    Notes
    -----
    The callable returns NotImplemented, and has done nothing, unless its arguments are plain arrays of just these dtypes and shapes, which
    share no memory with what is written; and unless no other thread is in it, and no index is out of bounds. Who gives it containers that
    are written holds their locks (see `holding`), and indices into them have limits. Containers are told that they were written.
    """
    found = _library()
    if found is None or len(operands) + len(results) > MOST:
        return None
    shapes = [(ctypes.c_int64 * len(o.shape))(*o.shape) for o in operands]
    forms = [_form(o.dtype) for o in operands]
    rows = (_Operand * len(operands))(*map(_operand, operands, forms, shapes))
    arguments = [(r.shape, r.dtype) for r in results]
    made = (_Result * len(results))(*(_Result(id(r.make), id(a), r.slot) for r, a in zip(results, arguments)))
    taken = sum(o.container is None for o in operands)
    versions = [t.container.version for t in there]  # the objects themselves
    copies = (_Resident * len(there))(*(_Resident(id(t.container), id(t.resident), id(v), t.written) for t, v in zip(there, versions)))
    call = _Call(
        *map(_address, (bound.run, bound.table, bound.sizes, bound.arena, bound.status)), bound.threads, bound.releases, taken, len(rows),
        len(copies), len(made), 0, ctypes.addressof(rows), ctypes.addressof(copies), ctypes.addressof(made), _ids(_OBJECTS), _ids(_NAMES),
    )  # fmt: skip
    kept = (bound, operands, results, there, versions, shapes, forms, rows, copies, arguments, made, call)
    return found.exprc_direct((ctypes.addressof(call), kept))  # type: ignore[no-any-return]


def holding(holders: Sequence[Any], call: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return a callable that takes the `lock` of each holder, in order, calls, and gives them back; None where there is none.

    No line of Python comes between taking a lock and being sure to give it back, so no signal does.
    """
    found = _library()
    if found is None or len(holders) > MOST_LOCKS:
        return None
    rows = (ctypes.c_void_p * len(holders))(*map(id, holders))
    made = _Holding(id(call), ctypes.addressof(rows), len(holders), _ids(_LOCKS))
    return found.exprc_holding((ctypes.addressof(made), (holders, call, rows, made)))  # type: ignore[no-any-return]


def _ids(objects: Sequence[Any]) -> Any:
    return (ctypes.c_void_p * len(objects))(*map(id, objects))


def _form(dtype: np.dtype[Any]) -> bytes:
    """What a buffer of this dtype says of its elements."""
    return memoryview(np.empty(0, dtype)).format.encode()  # type: ignore[arg-type, unused-ignore]


def _operand(o: Operand, form: bytes, shape: Any) -> _Operand:
    container = None if o.container is None else id(o.container)
    return _Operand(container, form, o.dtype.itemsize, len(o.shape), ctypes.addressof(shape), o.slot, o.limit, o.written)


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def library(name: str, functions: Sequence[str]) -> Any:
    """A text of ``kernels/c``, compiled, whose functions take an object and return one; None where that cannot be."""
    if not _works():
        return None
    try:
        entry, _ = compiler.built(kernel_source(name), cpu.host_vectors())
        found = ctypes.PyDLL(str(entry.program))
    except (CompileError, OSError):  # a shortcut only
        return None
    for function in functions:
        one = getattr(found, function)
        one.restype, one.argtypes = ctypes.py_object, [ctypes.py_object]
    return found


@functools.cache
def _library() -> Any:
    """What makes callables of (address of a structure, what it holds on to), or None where it cannot work."""
    return library("c/call.c", ("exprc_direct", "exprc_holding"))


def _works() -> bool:
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return sys.implementation.name == "cpython" and sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8 and locked
