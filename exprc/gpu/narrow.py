"""Counts in ints where they are enough: numbers of 64 bits take the threads of a GPU twice the instructions, divisions many more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exprc.loops import Apply, If, Index, Kernel, Let, Loop, statements, subvalues, values_of
from exprc.size import Dim, bounds

#: So many elements are counted by ints, with room for the terms of an address.
FEW = 2**29


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
    return few and not any(isinstance(a, Index) and not isinstance(a.dim, int) for v in values if isinstance(v, Apply) for _, a in v.args)


def _few(d: Dim) -> bool:
    high = bounds(d)[1]
    return high is not None and high < FEW


def _narrow(s: Any) -> Any:
    if isinstance(s, Loop):
        return replace(s, index="int32", body=tuple(map(_narrow, s.body)))
    if isinstance(s, If):
        return replace(s, body=tuple(map(_narrow, s.body)))
    return replace(s, dtype="int32") if isinstance(s, Let) and isinstance(s.value, Index) else s
