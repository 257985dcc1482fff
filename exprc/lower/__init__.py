"""Lower: takes a Plan, gives Loops. Each form has one way down.

A formula is worked out in the loop body, a view rewrites the index, a reduction becomes an accumulation loop, a kernel becomes a call
of a text with hooks. Where a value lies, and in which step it is made, was decided by `exprc.schedule`; how the loops of a step run is
decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exprc.loops import Barrier, Buffer, Copy, Program
from exprc.lower.call import lower_call
from exprc.lower.group import GroupLowering
from exprc.lower.parts import lower_parts
from exprc.schedule.fuse import Call
from exprc.schedule.plan import Plan
from exprc.types import itemsize


def lower(plan: Plan) -> Program:
    """Return a plan as a program: its steps as kernels and templates, with barriers where one step needs another."""
    copies = (Copy(a.buffer, b.buffer, a.layout.elements(a.dims)) for a, b in plan.copies)
    return program_of(with_barriers([*_steps(plan), *copies], plan), plan)


def program_of(steps: Sequence[Any], plan: Plan, launches: tuple[int, ...] = ()) -> Program:
    """Return steps as a program with the buffers and sizes that they use; `launches`: see `exprc.loops.Program`."""
    buffers = dict.fromkeys(b for step in steps if not isinstance(step, (Barrier, Copy)) for b in step.buffers)
    buffers.update(dict.fromkeys(b for step in steps if isinstance(step, Copy) for b in (step.source, step.target)))
    return Program(tuple(steps), tuple(buffers), dict.fromkeys(plan.symbols), launches)


def with_barriers(steps: Sequence[Any], plan: Plan) -> list[Any]:
    """Put a barrier before each step that touches what a step since the last barrier wrote, or writes what one read."""
    made: list[Any] = []
    since: list[tuple[set[Any], set[Any]]] = []
    for step in steps:
        reads, writes = _touched(step)
        if any(_meet(writes, r | w, plan) or _meet(reads, w, plan) for r, w in since):
            made.append(Barrier())
            since = []
        made.append(step)
        since.append((reads, writes))
    return made


def _touched(step: Any) -> tuple[set[Any], set[Any]]:
    if isinstance(step, Copy):
        return {step.source}, {step.target}
    return set(step.buffers), set(step.written)


def _meet(a: set[Buffer], b: set[Buffer], plan: Plan) -> bool:
    """Whether buffers of two sets are the same, or share memory in the arena (whose places vary if sizes do)."""
    if a & b:
        return True
    inside = [[_range(x, plan) for x in side if x in plan.offsets] for side in (a, b)]
    if plan.symbols:
        return bool(inside[0] and inside[1])
    return any(p[0] < q[1] and q[0] < p[1] for p in inside[0] for q in inside[1])


def _range(buffer: Buffer, plan: Plan) -> tuple[int, int]:
    at = plan.offsets[buffer]
    return at, at + max(plan.number(buffer.size) * itemsize(buffer.dtype), 1)


def _steps(plan: Plan) -> list[Any]:
    made: list[Any] = []
    for k, step in enumerate(plan.steps):
        if isinstance(step, Call):
            made.append(lower_call(plan, step, f"k{k}"))
        elif step.parts:
            made += lower_parts(plan, step, f"k{k}")
        else:
            made.append(GroupLowering(plan, step, f"k{k}").kernel())
    return made
