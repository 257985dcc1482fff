"""Which kernels are launched together: small ones that do not need each other share a launch, each with blocks of its own.

::

    launch 6    block  0 ... 15   16 ... 25   26       a gradient, the sum for a bias, the mean of the losses: no order among them
                kernel k10        k28         k9

A launch takes a GPU about as long to begin as a small kernel takes to run, and a small kernel leaves most of the GPU idle. What a kernel
needs decides which launches it may join, and sizes alone which of these it does.

All blocks of a launch have the threads, the registers and the shared memory of the largest. Threads that a kernel does not need leave at
once, but what a block was given counts as taken until the block ends. So kernels share a launch where none of them has fewer blocks at a
time than alone: a multiprocessor holds two blocks of 208 threads with 128 registers each, which serves a kernel of 160 threads that has two
blocks for it, but not one that has more, of which it would hold three. Where all blocks run in hardly more than a round it makes no odds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from exprc.loops import Buffer, Kernel, Program, Template
from exprc.lower import program_of
from exprc.ops.tiling import MULTIPROCESSORS, blocks_at_once
from exprc.schedule.memory import arena
from exprc.schedule.plan import Plan
from exprc.size import Dim
from exprc.types import itemsize

#: Registers of a thread: of loops, of a tiled product (for 512 threads of a multiprocessor), of one with so many sums that 256 must do.
LOOPS, PRODUCT, SUMS = 64, 128, 255
#: Buffers of a launch: with the sizes and the status their addresses fit in the 4096 bytes that CUDA before 12.1 has for arguments.
MOST = 500
#: So many of the last launches are looked at for one that a kernel may join.
RECENT = 100


@dataclass(frozen=True)
class Shape:
    """Blocks, threads of each, bytes of shared memory."""

    blocks: int
    threads: int
    shared: int


def shape_of(step: Any, number: Callable[[Dim], int]) -> Shape:
    """The launch of one kernel."""
    if isinstance(step, Kernel):
        arrays = [a.buffer for a in step.body[:-1]]
        shared = max((a.shared + number(a.size) * itemsize(a.dtype) for a in arrays), default=0)  # type: ignore[operator]
        return Shape(number(step.blocks), step.threads, shared)
    return Shape(*step.launch({name: number(d) for name, d in step.macros.items()}, itemsize(step.dtype)))


def joint_shape(shapes: Sequence[Shape]) -> Shape:
    """The launch of several kernels, the blocks of one after those of another; threads that a kernel does not need leave at once."""
    return Shape(sum(s.blocks for s in shapes), max(s.threads for s in shapes), max(s.shared for s in shapes))


def registers_of(step: Any) -> int:
    """The registers that a thread of a kernel has at most, before it is compiled; of loops a guess."""
    if isinstance(step, Kernel):
        return LOOPS
    sums = step.macros.get("REG_M", 0) * step.macros.get("REG_N", 0)  # of each thread of a tiled product
    return SUMS if sums > 64 else PRODUCT


def at_once(shape: Shape, registers: int) -> int:
    """How many blocks a multiprocessor holds at a time."""
    return max(1, blocks_at_once(shape.threads, registers, shape.shared))


@dataclass
class Launch:
    """Kernels that are launched together, and whether their numbers of blocks are `fixed`."""

    fixed: bool
    steps: list[Any] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    buffers: set[Buffer] = field(default_factory=set)

    def add(self, step: Any, shape: Shape) -> None:
        self.steps.append(step)
        self.shapes.append(shape)
        self.buffers.update(step.buffers)

    def takes(self, step: Any, shape: Shape) -> bool:
        """Whether kernels find room beside each other: all in a round and a half of blocks, or each as many at a time as it has alone."""
        if not self.fixed or not shape.blocks or len(self.buffers.union(step.buffers)) > MOST:
            return False
        shapes, registers = [*self.shapes, shape], [registers_of(s) for s in (*self.steps, step)]
        whole = joint_shape(shapes)
        held = at_once(whole, max(registers))
        short = 2 * whole.blocks <= 3 * held * MULTIPROCESSORS
        return short or all(held >= min(at_once(s, r), -(-s.blocks // MULTIPROCESSORS)) for s, r in zip(shapes, registers))


@dataclass
class _Order:
    """The launches so far, and for each buffer the last launch that reads, and that writes it."""

    launches: list[Launch] = field(default_factory=list)
    read: dict[Buffer, int] = field(default_factory=dict)
    written: dict[Buffer, int] = field(default_factory=dict)

    def add(self, step: Any, shape: Shape, fixed: bool) -> None:
        before = max((self.written.get(b, -1) for b in step.buffers), default=-1)
        before = max([before, *(self.read.get(b, -1) for b in step.written)])
        at = self._place(step, shape, before + 1) if fixed else len(self.launches)
        if at == len(self.launches):
            self.launches.append(Launch(fixed))
        self.launches[at].add(step, shape)
        for b in step.buffers:
            table = self.written if b in step.written else self.read
            table[b] = max(table.get(b, -1), at)

    def _place(self, step: Any, shape: Shape, first: int) -> int:
        end = len(self.launches)
        return next((k for k in range(max(first, end - RECENT), end) if self.launches[k].takes(step, shape)), end)


def launches_of(steps: Sequence[Any], number: Callable[[Dim], int]) -> list[Launch]:
    """Return the launches of kernels that are given in an order in which they may run."""
    order = _Order()
    for step in steps:
        order.add(step, shape_of(step, number), _is_fixed(step))
    return order.launches


def _is_fixed(step: Any) -> bool:
    if isinstance(step, Template) and step.library:
        return False  # launched alone: a library may take its place
    dims = step.macros.values() if isinstance(step, Template) else (step.blocks,)
    return all(isinstance(d, int) for d in dims)


def program_together(steps: Sequence[Any], plan: Plan) -> Program:
    """Return kernels as a program of launches, and give the arena's buffers their places by the launches that they are alive in."""
    launches = launches_of(steps, plan.number)
    plan.spans = _spans(launches, plan)
    plan.offsets, plan.arena = arena(plan.spans, plan.number)
    return program_of([s for launch in launches for s in launch.steps], plan, tuple(len(launch.steps) for launch in launches))


def _spans(launches: Sequence[Launch], plan: Plan) -> dict[Buffer, tuple[int, int]]:
    spans: dict[Buffer, tuple[int, int]] = {}
    for k, launch in enumerate(launches):
        for buffer in (b for step in launch.steps for b in step.buffers if b in plan.offsets):
            spans[buffer] = (spans.get(buffer, (k, k))[0], k)
    return spans
