"""A GPU, or its emulator, as a machine: one text of kernels, launched in order; variables and working memory live on the device.

A call copies its inputs to fixed places, runs the launches, which were prepared once, and reads the outputs back. Variables are moved
when they are first used and stay; only what the host asks for comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exprc import gpu
from exprc.errors import report
from exprc.expr import Constant, Expr, Shared
from exprc.guard import Guard
from exprc.library import Work
from exprc.loops import Buffer
from exprc.machines import Direct, HostCopy, number_of, replaced
from exprc.machines.frame import Frame, told
from exprc.machines.trips import trip_of
from exprc.ops.tiling import MOST_BLOCKS
from exprc.render.cuda import entry_of, render
from exprc.runtime.containers import check_new_shape
from exprc.runtime.device_arrays import DeviceArray
from exprc.runtime.launch import Device, Memory, Module
from exprc.runtime.waiting import Spare
from exprc.schedule.memory import arena
from exprc.schedule.plan import Plan
from exprc.types import itemsize

if TYPE_CHECKING:
    from exprc.compiled import Loaded

#: Frames (arenas and places for inputs and outputs) kept ready per program.
FRAMES = 2
_NONE: frozenset[Expr] = frozenset()
#: Values named where memory ran out.
SHOWN = 3


class DeviceMachine:
    """See `exprc.machines.Machine`."""

    row, threads, stepwise = 512, 1, True

    def __init__(self, device: Device, precision: str = "float32", flush: bool = False):
        self.device, self.name, self.target = device, device.name, device.target
        self.precision, self.precisions, self.flush = precision, device.precisions, flush
        self.libraries = device.libraries()

    def parts_of(self, results: int, folded: int, first: int) -> int:
        return gpu.parts_of(results, folded, first)

    def lower(self, plan: Plan) -> Any:
        return gpu.lower(plan)

    def render(self, program: Any) -> tuple[list[str], tuple[str, ...]]:
        made = render(program)
        return [made.text], made.entries

    def load(self, texts: Sequence[str]) -> DeviceProgram:
        return DeviceProgram(self.device, self.device.load(texts[0], self.flush))

    def values(self, leaves: Sequence[Expr], arrays: Mapping[Expr, Any]) -> dict[Expr, Any]:
        """Containers stand for variables: they have a shape, and as a number the value, which is fetched where a size follows from it.

        Not their arrays: who holds an array looks like somebody who borrowed it.
        """
        return {x: x.container if isinstance(x, Shared) else arrays[x] for x in leaves}

    def runner(self, loaded: Loaded, values: Mapping[str, int], updates: Sequence[Shared], left: frozenset[int]) -> DeviceRunner:
        return DeviceRunner(loaded, values, updates, left)


class DeviceProgram:
    """A loaded module, with the frames that its calls share."""

    def __init__(self, device: Device, module: Module):
        self.device, self.module = device, module
        self.cached, self.compile_seconds = module.cached, module.compile_seconds
        self.path = getattr(module, "path", "")
        self.frames: list[Frame] = []
        self.spare = Spare(device)
        device.may_ask(self)

    def give_back(self) -> None:
        """Let go of the memory that is kept ready for calls to come."""
        self.frames.clear()

    def frame(self) -> Frame:
        """Take a frame that no call is using."""
        try:
            return self.frames.pop()
        except IndexError:
            return Frame(self.device, self.spare)

    def release(self, frame: Frame) -> None:
        if len(self.frames) < FRAMES:
            self.frames.append(frame)


@dataclass(frozen=True)
class Launched:
    """A launch of steps whose addresses are not known yet."""

    kernel: str
    shape: gpu.Shape
    buffers: tuple[Buffer, ...]
    steps: tuple[Any, ...]
    work: Work | None
    kept: str  # why the kernel does it, and not the library that was chosen

    def __str__(self) -> str:
        does = " | ".join(step.comment for step in self.steps)
        if self.work is not None:
            return f"{self.kernel:<20} {self.work.library:>12} {'':>20}   {does}"
        shape = f"{self.shape.blocks} x {self.shape.threads}"
        kept = f"; not by {self.steps[0].library}: {self.kept}" if self.kept else ""
        return f"{self.kernel:<20} {shape:>12} {self.shape.shared:>7} bytes shared   {does}{kept}"


class DeviceRunner:
    """A loaded program bound to one set of sizes: blocks, places in the arena, shapes of the outputs."""

    arena = 0  # it belongs to the frames of the program, whatever the sizes

    def __init__(self, loaded: Loaded, values: Mapping[str, int], updates: Sequence[Shared], left: frozenset[int]):
        self.loaded, self.program = loaded, loaded.program
        self.there = _NONE  # the inputs that the last call had on the device
        self.steps = 1  # of the last call
        self.again = False  # whether it was called before
        plan, number = loaded.plan, number_of(values)
        self.number, self.replaced, self.written = number, replaced(plan, updates), set(plan.containers.values())
        self.offsets, self.bytes = arena(plan.spans, number) if plan.symbols else (plan.offsets, plan.arena)
        self.nbytes = {b: number(b.size) * itemsize(b.dtype) for b in loaded.lowered.buffers}
        self.outputs = [(s.buffer, tuple(number(d) for d in s.dims), np.dtype(s.buffer.dtype)) for s in plan.outputs]
        returned = len(self.outputs) - len(self.replaced)
        self.left = [k for k in range(returned) if k in left]  # outputs that stay on the device
        self.read = [k for k in range(returned) if k not in left]
        self.shapes = {s.buffer: tuple(number(d) for d in s.dims) for s in plan.stored.values() if s.kind == "leaf"}
        self.leaves = [(b, plan.leaves[b]) for b in loaded.lowered.buffers if b in plan.leaves]
        self.launches = [s for s in self._launches() if s.shape.blocks]
        launched = tuple((s.kernel, s.shape, s.work) for s in self.launches)
        self.form = (launched, tuple(self.offsets.values()), tuple(self.nbytes.values()))
        self.guard = Guard(plan, loaded.bound, number)

    def _launches(self) -> list[Launched]:
        entries = iter(self.loaded.entries)
        made = []
        for steps in self.loaded.lowered.launched():
            kernel = entry_of(steps, [next(entries) for _ in steps])
            buffers = tuple(dict.fromkeys(b for step in steps for b in step.buffers))
            shape = gpu.joint_shape([gpu.shape_of(step, self.number) for step in steps])
            if shape.blocks > MOST_BLOCKS:
                does = " | ".join(step.comment for step in steps)
                what = f"{does} takes {shape.blocks} blocks of threads, and a GPU starts {MOST_BLOCKS} at once"
                raise ValueError(report(what, fix="do it for a part of the elements at a time"))
            made.append(Launched(kernel, shape, buffers, steps, *self._work(steps)))
        return made

    def _work(self, steps: tuple[Any, ...]) -> tuple[Work | None, str]:
        """What a library does in the place of a launch, or why it does not where one was chosen."""
        work, kept = gpu.work_of(steps[0], self.number) if len(steps) == 1 else (None, "")
        kept = self.program.device.refusal(work) if work is not None else kept
        return (None, kept) if kept else (work, "")

    def largest(self) -> str:
        """What the arena holds most of, with the user's lines, for who is told that memory ran out."""
        inside = {n: self.nbytes.get(s.buffer, 0) for n, s in self.loaded.plan.stored.items() if s.kind == "arena"}
        shown = sorted(inside, key=lambda n: -inside[n])[:SHOWN]
        return "working memory: " + (", ".join(f"{told(n)} ({inside[n]} bytes)" for n in shown) or "none")

    # -- calls

    def call(self, values: Mapping[Expr, Any], sizes: tuple[int, ...]) -> list[Any]:
        """Run on the values of a call; return the outputs. New values of variables stay on the device."""
        return self._run(values, (sizes,), False)

    def call_steps(self, values: Mapping[Expr, Any], sizes: Sequence[tuple[int, ...]]) -> list[Any]:
        """Make steps with these sizes, one after the other, in one set of launches; the outputs have an axis of steps in front."""
        return self._run(values, sizes, True)

    def _run(self, values: Mapping[Expr, Any], sizes: Sequence[tuple[int, ...]], stacked: bool) -> list[Any]:
        for variable, k in self.replaced:
            check_new_shape(variable, self.outputs[k][1])
        frame, device = self.program.frame(), self.program.device
        ready = frame.ready(self, values, sizes)
        given = [place.leaf for place in ready.inputs if isinstance(values[place.leaf], DeviceArray)]  # type: ignore[index]
        self.steps, self.there = len(sizes), frozenset(given)  # type: ignore[arg-type]
        kept = self._kept(frame, values, len(sizes))
        # all memory is had before anything is written: a call that finds none leaves the variables as they were
        rooms = [container.room_on(device, ready.outputs[k].nbytes) for container, k in self.loaded.plan.replacements]
        handed = {k: frame.handed(ready.outputs[k], stacked) for k in self.left}
        ready.prepared.run()
        for container in self.loaded.plan.containers.values():
            container.written_on(device)
        results = frame.read(ready, self, stacked)
        if self.loaded.plan.checks:
            self._check(frame, results.status, kept)
        for (container, k), room in zip(self.loaded.plan.replacements, rooms):
            place = ready.outputs[k]
            container.replace_on(room, place.address, np.empty(place.shape, place.dtype))
        for k, array in handed.items():
            ready.outputs[k].copy_to(array)
        outputs = results.outputs | handed
        if any(values[leaf].foreign for leaf in given):  # type: ignore[index]
            device.synchronize()  # who gave an array may change it when the call is over
        self.program.release(frame)
        return [outputs[k] for k in range(len(outputs))]

    def seconds(self, values: Mapping[Expr, Any], sizes: tuple[int, ...], calls: int) -> list[float]:
        """How long the device takes for each launch of a call, alone and several times in a row; variables are written as by calls."""
        frame, device = self.program.frame(), self.program.device
        ready = frame.ready(self, values, (sizes,))
        ready.prepared.run()
        launches = frame.launches(self, ready.fixed, ready.written, 1)
        alone = [device.prepare(self.program.module, [launch] * device.repeats) for launch in launches]
        for prepared in alone:
            prepared.run()
        took = [min(device.seconds(prepared) for _ in range(calls)) / device.repeats for prepared in alone]
        for container in self.loaded.plan.containers.values():
            container.written_on(device)
        frame.clear_status()
        self.program.release(frame)
        return took

    def _kept(self, frame: Frame, values: Mapping[Expr, Any], steps: int) -> list[tuple[Any, Memory]]:
        """Copies of the variables that are written, where an index may be out of bounds."""
        if not self.guard.doubts(values, steps):
            return []
        device = self.program.device
        kept = [(container, frame.copy_of(k, container.nbytes)) for k, container in enumerate(self.guard.containers)]
        for container, memory in kept:
            device.copy(container.on(device).memory.address, memory.address, container.nbytes)
        return kept

    def _check(self, frame: Frame, status: Sequence[int], kept: Sequence[tuple[Any, Memory]]) -> None:
        """Raise for an index out of bounds; variables get their old values back."""
        if not status[0]:
            return
        frame.clear_status()
        device = self.program.device
        for container, memory in kept:
            device.copy(memory.address, container.on(device).memory.address, container.nbytes)
            container.written_on(device)
        device.synchronize()
        raise IndexError(self.guard.message(status))

    # -- what is launched and copied

    def launched(self) -> list[str]:
        return [str(launch) for launch in self.launches]

    def direct(self, inputs: Sequence[Expr], values: Mapping[Expr, Any], sizes: tuple[int, ...]) -> Direct | None:
        return self.shortest(inputs, values, (sizes,), False)

    def shortest(
        self, inputs: Sequence[Expr], values: Mapping[Expr, Any], sizes: Sequence[tuple[int, ...]], stacked: bool
    ) -> Direct | None:
        """The short way to make steps with these sizes, from the second call on; None where there is none (see `exprc.machines.trips`)."""
        ready = self.program.frames[-1].bound.get((self, len(sizes))) if self.program.frames else None
        if ready is None or not self.again:
            self.again = True
            return None
        if stacked not in ready.trips:
            ready.trips[stacked] = trip_of(self, ready, inputs, values, len(sizes), stacked)
        return self._round(sizes, stacked) if ready.trips[stacked] else None

    def _round(self, sizes: Sequence[tuple[int, ...]], stacked: bool) -> Direct:
        """Calls that make steps with these sizes in the frame that is free, if that is ready for it."""
        numbers = (np.array(sizes, np.int64),) if sizes[0] else ()
        frames, steps, key = self.program.frames, len(sizes), (self, len(sizes))
        may_start, settled = self.program.device.may_start, self.guard.settled

        def call(*values: Any) -> Any:
            try:
                frame = frames.pop()
            except IndexError:
                return NotImplemented
            made, ready = NotImplemented, frame.bound.get(key)
            if ready is not None and (trip := ready.trips.get(stacked)) and may_start(ready.prepared) and settled(steps):
                self.steps, self.there = steps, _NONE
                made = trip.call(*values, *numbers)
                if made is NotImplemented:
                    trip.check()
            frames.append(frame)
            return made

        return call

    def copies(self) -> list[HostCopy]:
        there, back = f"host → {self.program.device.name}", f"{self.program.device.name} → host"
        made = []
        for buffer, leaf in self.leaves:
            if leaf in self.there:
                continue
            lent = isinstance(leaf, Shared) and leaf.container.lent
            kept = isinstance(leaf, (Constant, Shared)) and not lent
            made.append(HostCopy("once" if kept else "each call", there, self.nbytes[buffer], f"{leaf.label}{' (lent)' * lent}"))
            if lent and buffer in self.loaded.plan.containers:
                made.append(HostCopy("each call", back, self.nbytes[buffer], f"{leaf.label} (lent)"))
        if self.loaded.lowered.sizes:
            made.append(HostCopy("each call", there, 8 * self.steps * len(self.loaded.lowered.sizes), "sizes"))
        made += [HostCopy("each call", back, self.steps * self.nbytes.get(self.outputs[k][0], 0), f"output {k}") for k in self.read]
        return made + ([HostCopy("each call", back, 32, "status of the checks of indices")] if self.loaded.plan.checks else [])
