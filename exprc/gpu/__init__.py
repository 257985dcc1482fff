"""Maps a Plan to a GPU: the same steps as on a CPU, as kernels of blocks of threads.

`exprc.gpu.teams` decides how many threads work on one outer index of a Group, and how its reductions are joined. A text of
``kernels/cuda`` brings its own mapping. `exprc.gpu.together` decides which kernels share a launch. All of it follows from sizes
alone, so that the bits are the same in every run.
"""

from __future__ import annotations

from typing import Any

from exprc.gpu.join import lower_parts
from exprc.gpu.library import work_of
from exprc.gpu.narrow import narrowed
from exprc.gpu.teams import THREADS, Teams
from exprc.gpu.together import Shape, joint_shape, program_together, shape_of
from exprc.loops import Barrier, Buffer, If, Index, Kernel, Let, Load, Loop, Program, Store
from exprc.lower.call import lower_call
from exprc.schedule.fuse import Call
from exprc.schedule.plan import Plan, Stored
from exprc.size import ceildiv, symbol

__all__ = ["Shape", "joint_shape", "lower", "parts_of", "shape_of", "work_of"]

#: A reduction is cut in parts of at least PART elements, and so far that about BUSY threads have work.
PART, BUSY = 2048, 1 << 16


def parts_of(results: int, folded: int, first: int) -> int:
    """In how many parts a reduction of `folded` elements to each of `results` is cut; 0 for whole.

    >>> parts_of(1, 1 << 20, 1 << 20), parts_of(512, 128, 128)
    (512, 0)
    """
    parts = min(-(-folded // PART), -(-BUSY // (64 * max(results, 1))))
    return parts if parts > 1 else 0


def lower(plan: Plan) -> Program:
    """Return a plan as a program of kernels for a GPU; each launch runs after the one before it."""
    steps = [kernel for k, step in enumerate(plan.steps) for kernel in _lowered(plan, step, f"k{k}")]
    copies = [_copy(a, b, f"c{k}") for k, (a, b) in enumerate(plan.copies)]
    return program_together([s for s in (*steps, *copies) if not isinstance(s, Barrier)], plan)


def _lowered(plan: Plan, step: Any, name: str) -> list[Any]:
    if isinstance(step, Call):
        return [lower_call(plan, step, name)]
    return lower_parts(plan, step, name) if step.parts else [Teams(plan, step, name).kernel()]


def _copy(source: Stored, target: Stored, name: str) -> Kernel:
    """Storage copied whole, a thread an element."""
    count = source.layout.elements(source.dims)
    e = symbol("e", 0, count - 1)  # type: ignore[operator]
    at = Let("e", "int64", Index(symbol("block") * THREADS + symbol("thread")))  # type: ignore[arg-type]
    store = If(((e, count),), (Store(target.buffer, e, Load(source.buffer, e)),))
    buffers: tuple[Buffer, ...] = (source.buffer, target.buffer)
    loop = Loop("thread", THREADS, "block", (at, store))
    return narrowed(Kernel(name, buffers, (target.buffer,), ceildiv(count, THREADS), (loop,), f"copy of {count} elements"))
