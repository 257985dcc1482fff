"""Counts in ints where they are enough: numbers of 64 bits take the threads of a GPU twice the instructions, divisions many more."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from exprc.loops import Apply, If, Index, Kernel, Let, Loop, dims_of, statements, subvalues, values_of
from exprc.size import Atom, Dim, Size, bounds

#: So many elements are counted by ints, with room for the terms of an address.
FEW = 2**29
_MOST, _THREADS = 2**31 - 1, 1024


def narrowed(kernel: Kernel) -> Kernel:
    """Return a kernel with ints for its indices where every array and loop is short enough, and no formula uses an index as a number."""
    if not _is_small(kernel):
        return kernel
    return replace(kernel, index="int32", body=tuple(_narrow(s) for s in kernel.body))


def _is_small(kernel: Kernel) -> bool:
    inside = list(statements(kernel.body))
    loops = [s.extent for s in inside if isinstance(s, Loop)]
    threads = kernel.blocks * kernel.threads  # type: ignore[operator]
    few = all(_few(d) for d in (threads, *loops, *(b.size for b in kernel.buffers)))
    values = [v for s in inside for value in values_of(s) for v in subvalues(value)]
    few = few and all(counted(d) for s in inside for d in dims_of(s))
    return few and not any(isinstance(a, Index) and not isinstance(a.dim, int) for v in values if isinstance(v, Apply) for _, a in v.args)


def counted(d: Dim) -> bool:
    """Whether ints hold everything that a number is worked out of, where each of its variables has less than `FEW` values.

    Every array may be short and this one not: an index of a view of a view of them, that nobody stores.

    >>> from exprc.size import floordiv, symbol
    >>> i = symbol("i", 0, 2999)
    >>> counted(13 * i), counted(floordiv(13_500_000 * i, 1_000_003))
    (True, False)
    """
    if not isinstance(d, Size):
        return abs(d) <= _MOST  # type: ignore[arg-type]
    inner = [a for atoms in d.terms for atom in atoms if isinstance(atom, Atom) and atom.kind != "load" for a in atom.args]
    return sum(_largest(atoms, factor) for atoms, factor in d.terms.items()) <= _MOST and all(map(counted, inner))


def _largest(atoms: tuple[Any, ...], factor: int) -> int:
    """How far from 0 a term may be. Numbers of blocks and threads have no bounds, but their product has (see `_is_small`)."""
    ends = [bounds(Size({(atom,): 1})) for atom in atoms]
    if abs(factor) <= _THREADS and any(None in pair for pair in ends):
        return FEW
    farthest = [FEW if low is None or high is None else max(abs(low), abs(high), 1) for low, high in ends]
    return abs(factor) * prod(farthest)


def _few(d: Dim) -> bool:
    high = bounds(d)[1]
    return high is not None and high < FEW


def _narrow(s: Any) -> Any:
    if isinstance(s, Loop):
        return replace(s, index="int32", body=tuple(map(_narrow, s.body)))
    if isinstance(s, If):
        return replace(s, body=tuple(map(_narrow, s.body)))
    return replace(s, dtype="int32") if isinstance(s, Let) and isinstance(s.value, Index) else s
