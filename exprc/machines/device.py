"""A GPU, or its emulator, as a machine: one text of kernels, launched in order; variables and working memory live on the device.

A call copies its inputs to fixed places, runs the launches, which were prepared once, and reads the outputs back. Variables are moved
when they are first used and stay; only what the host asks for comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exprc import gpu
from exprc.expr import Constant, Expr, Shared
from exprc.guard import Guard
from exprc.library import Work
from exprc.loops import Buffer
from exprc.machines import Changed, HostCopy, number_of, replaced
from exprc.render.cuda import entry_of, render
from exprc.runtime.containers import check_new_shape
from exprc.runtime.device_arrays import DeviceArray
from exprc.runtime.launch import Device, Launch, Memory, Module, Prepared
from exprc.runtime.waiting import Spare
from exprc.schedule.memory import arena
from exprc.schedule.plan import Plan
from exprc.types import itemsize

if TYPE_CHECKING:
    from exprc.compiled import Loaded

#: Frames (arenas and places for inputs and outputs) kept ready per program; sets of launches that one frame keeps prepared.
FRAMES, PREPARED = 2, 32
#: Outputs of up to so many bytes lie side by side, behind the status, and are read in one go.
TOGETHER = 1 << 16
#: Values named where memory ran out.
SHOWN = 3
_STATUS = 32  # bytes
_ALIGN = 64


def _told(node: Expr) -> str:
    return f"{node.label} made at {node.where}" if node.where else node.label


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
        self.there: frozenset[Expr] = frozenset()  # the inputs that the last call had on the device
        self.steps = 1  # of the last call
        plan, number = loaded.plan, number_of(values)
        self.number, self.replaced = number, replaced(plan, updates)
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
        return "working memory: " + (", ".join(f"{_told(n)} ({inside[n]} bytes)" for n in shown) or "none")

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

    def direct(self, inputs: Sequence[Expr], values: Mapping[Expr, Any], sizes: tuple[int, ...]) -> None:
        """Calls of a device copy and launch: there is no shorter way."""

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


@dataclass(frozen=True)
class Place:
    """Where an input or an output lies. stride : bytes from what one of `steps` steps stores to what the next one does."""

    address: int
    leaf: Expr | None
    shape: tuple[int, ...]
    dtype: Any
    nbytes: int
    steps: int = 1
    stride: int = 0

    @property
    def whole(self) -> int:
        """Bytes of all steps."""
        return (self.steps - 1) * self.stride + self.nbytes

    def each(self) -> range:
        """The addresses of the steps."""
        return range(self.address, self.address + self.steps * max(self.stride, 1), max(self.stride, 1))

    def copy_to(self, array: DeviceArray) -> None:
        """Copy what all steps have stored to an array on the same device."""
        for step, address in enumerate(self.each()):
            array.source.copy(address, array.address + step * self.nbytes, self.nbytes)

    def rows(self, block: Any, at: int, stacked: bool) -> Any:
        """A copy of what lies in a block of bytes from `at` on; with an axis of steps in front if `stacked`."""
        shape = (self.steps, *self.shape) if stacked else self.shape
        if not self.nbytes:
            return np.empty(shape, self.dtype)
        inner = np.empty(self.shape, self.dtype).strides
        return np.ndarray(shape, self.dtype, block, at, (self.stride, *inner) if stacked else inner).copy()


@dataclass(frozen=True)
class Ready:
    """Launches with all addresses; they serve as long as the variables are where they were.

    fixed, written : the addresses of what the launches read, and the places of the outputs.
    together : bytes of the status and the outputs that lie side by side; apart : the numbers of the outputs that do not, and are read.
    """

    prepared: Prepared
    residents: tuple[tuple[Any, Any], ...]
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    together: int
    apart: tuple[int, ...]
    fixed: Mapping[Buffer, int]
    written: Mapping[Buffer, Place]


def _resident(leaf: Shared, device: Device, shape: tuple[int, ...]) -> Any:
    """The copy of a variable's value that the device has, of the shape that the program was chosen for."""
    with leaf.container.lock:
        if leaf.container.shape != shape:
            raise Changed
        return leaf.container.on(device, _told(leaf))


@dataclass
class Results:
    """What was read after a run. status : four numbers, where the program has checks; outputs : by number."""

    status: Sequence[int]
    outputs: dict[int, Any]


class Frame:
    """Memory on a device for one running call of a program: an arena, places for inputs, outputs and constants, sizes, results.

    The results are the status and the outputs that are read back together.

    prepared : launches by the blocks that they have and the addresses of the variables. bound : what is ready for a runner.
    spare : where memory for outputs that stay on the device comes from.
    """

    def __init__(self, device: Device, spare: Spare):
        self.device, self.spare = device, spare
        self.places: dict[Any, Memory] = {}
        self.copies: dict[int, Memory] = {}
        self.constants: set[Buffer] = set()
        self.prepared: dict[Any, Prepared] = {}
        self.bound: dict[tuple[DeviceRunner, int], Ready] = {}

    def _place(self, key: Any, nbytes: int, label: str, clean: bool = False) -> int:
        """Memory of at least so many bytes; other memory than before makes what is prepared useless.

        label : what it is for. clean : whether it begins with zeros, because what lies between results is read, too.
        """
        memory = self.places.get(key)
        if memory is None or memory.nbytes < nbytes:
            memory = self.places[key] = self.device.allocate(max(nbytes, 1), label)
            self.prepared.clear()
            self.bound.clear()
            if clean:
                self.device.write(memory.address, np.zeros(memory.nbytes, np.uint8))
        return memory.address

    def _write(self, key: Any, array: Any) -> None:
        if array.nbytes:
            self.device.write(self.places[key].address, array)

    def ready(self, runner: DeviceRunner, values: Mapping[Expr, Any], sizes: Sequence[tuple[int, ...]]) -> Ready:
        """Copy the inputs, and return the launches of a call that makes steps with these sizes."""
        ready = self.bound.get((runner, len(sizes)))
        if ready is None or not all(container.is_on(copy) for container, copy in ready.residents):
            ready = self._bind(runner, len(sizes))
        if sizes[0]:
            self._write("sizes", np.array(sizes, np.int64))
        self.device.forget(self.places["arena"].address, runner.bytes)
        for place in ready.outputs:
            for address in place.each():
                self.device.forget(address, place.nbytes)
        for place in ready.inputs:
            self._take(place, values[place.leaf])  # type: ignore[index]
        return ready

    def _take(self, place: Place, value: Any) -> None:
        if isinstance(value, DeviceArray):
            self.device.copy(value.address, place.address, place.nbytes)
        elif place.nbytes:
            self.device.write(place.address, value)

    def copy_of(self, number: int, nbytes: int) -> Memory:
        """Memory for the old value of a variable, kept for the next call."""
        memory = self.copies.get(number)
        if memory is None or memory.nbytes < nbytes:
            memory = self.copies[number] = self.device.allocate(max(nbytes, 1), "a copy of a variable that is updated")
        return memory

    def _bind(self, runner: DeviceRunner, steps: int) -> Ready:
        """Find the addresses of everything, and prepare the launches if no other sizes had the same."""
        base = self._place("arena", runner.bytes, runner.largest())
        if runner.loaded.lowered.sizes:
            self._place("sizes", 8 * steps * len(runner.loaded.lowered.sizes), "sizes")
        addresses = {b: base + at for b, at in runner.offsets.items()}
        shared = [(b, leaf) for b, leaf in runner.leaves if isinstance(leaf, Shared)]
        residents = {b: _resident(leaf, self.device, runner.shapes.get(b, leaf.type.shape)) for b, leaf in shared}
        addresses |= {b: resident.memory.address for b, resident in residents.items()}
        inputs = [(b, leaf) for b, leaf in runner.leaves if not isinstance(leaf, Shared)]
        places = [self._input(b, leaf, runner.nbytes[b]) for b, leaf in inputs]
        outputs, together = self._outputs(runner, steps)
        addresses |= {b: place.address for (b, _), place in zip(inputs, places)}
        written = {b: place for (b, _, _), place in zip(runner.outputs, outputs)}
        key = (runner.form, steps, *(addresses[b] for b, _ in shared))
        prepared = self._prepared(key, runner.program.module, lambda: self.launches(runner, addresses, written, steps))
        # launches for a copy that a variable has left would keep its memory
        self.bound = {key: r for key, r in self.bound.items() if all(container.resident is copy for container, copy in r.residents)}
        while len(self.bound) >= PREPARED:
            del self.bound[next(iter(self.bound))]
        own = tuple(p for p in places if not isinstance(p.leaf, Constant))
        held = tuple((leaf.container, residents[b]) for b, leaf in shared)
        results = self.places["results"]
        apart = tuple(k for k in runner.read if not results.address < outputs[k].address < results.address + together)
        ready = self.bound[runner, steps] = Ready(prepared, held, own, tuple(outputs), together, apart, addresses, written)
        return ready

    def _outputs(self, runner: DeviceRunner, steps: int) -> tuple[list[Place], int]:
        """Places for the outputs: small ones that are read lie behind the status, up to the byte that is returned."""
        nbytes = [int(np.prod(shape)) * dtype.itemsize for _, shape, dtype in runner.outputs]
        strides = [-(-n // _ALIGN) * _ALIGN for n in nbytes]
        offsets: dict[int, int] = {}
        end = _STATUS
        for k in runner.read:
            at, whole = -(-end // _ALIGN) * _ALIGN, (steps - 1) * strides[k] + nbytes[k]
            if nbytes[k] and at + whole <= TOGETHER:
                offsets[k], end = at, at + whole
        base = self._place("results", end, "results", True)

        def place(k: int, buffer: Buffer, shape: tuple[int, ...], dtype: Any) -> Place:
            whole = steps * strides[k] if steps > 1 else nbytes[k]
            address = base + offsets[k] if k in offsets else self._place(buffer, whole, "an output", steps > 1)
            return Place(address, None, shape, dtype, nbytes[k], steps, strides[k])

        return [place(k, *output) for k, output in enumerate(runner.outputs)], end

    def _input(self, buffer: Buffer, leaf: Expr, nbytes: int) -> Place:
        place = Place(self._place(buffer, nbytes, _told(leaf)), leaf, (), None, nbytes)
        if isinstance(leaf, Constant) and buffer not in self.constants:
            self._write(buffer, np.ascontiguousarray(leaf.value))
            self.constants.add(buffer)
        return place

    def _prepared(self, key: Any, module: Module, launches: Callable[[], list[Launch]]) -> Prepared:
        found = self.prepared.get(key)
        if found is None:
            while len(self.prepared) >= PREPARED:
                del self.prepared[next(iter(self.prepared))]
            found = self.prepared[key] = self.device.prepare(module, launches())
        return found

    def launches(self, runner: DeviceRunner, fixed: Mapping[Buffer, int], written: Mapping[Buffer, Place], steps: int) -> list[Launch]:
        """The launches of all steps, which differ in where they find their sizes and leave their outputs."""
        nbytes = 8 * len(runner.loaded.lowered.sizes)
        tail = ([self.places["sizes"]] if runner.loaded.lowered.sizes else []) + [self.places["results"]]
        reach = [*([nbytes] if nbytes else []), _STATUS]

        def launch(s: Launched, step: int) -> Launch:
            addresses = {**fixed, **{b: place.address + step * place.stride for b, place in written.items()}}
            ends = [m.address + step * nbytes if m is not tail[-1] else m.address for m in tail]
            arguments, extents = (*(addresses[b] for b in s.buffers), *ends), (*(runner.nbytes[b] for b in s.buffers), *reach)
            return Launch(s.kernel, (s.shape.blocks, 1, 1), (s.shape.threads, 1, 1), s.shape.shared, arguments, extents, s.work)

        return [launch(s, step) for step in range(steps) for s in runner.launches]

    def read(self, ready: Ready, runner: DeviceRunner, stacked: bool) -> Results:
        """Fetch the outputs, and the status where there are checks: what lies together in one go, nothing where nothing is asked for."""
        first = 0 if runner.loaded.plan.checks else _ALIGN
        block = np.empty(max(ready.together - first, 0), np.uint8)
        if block.size:
            self.device.read(self.places["results"].address + first, block)
        base = self.places["results"].address + first
        outputs = {}
        for k in runner.read:
            place = ready.outputs[k]
            outputs[k] = self._output(place, stacked) if k in ready.apart else place.rows(block.data, place.address - base, stacked)
        status = [] if first else block[:_STATUS].view(np.int64).tolist()
        return Results(status, outputs)

    def _output(self, place: Place, stacked: bool) -> Any:
        if stacked:
            block = np.empty(place.whole if place.nbytes else 0, np.uint8)
            if block.nbytes:
                self.device.read(place.address, block)
            return place.rows(block.data, 0, True)
        array = np.empty(place.shape, place.dtype)
        if array.nbytes:
            self.device.read(place.address, array)
        return array

    def handed(self, place: Place, stacked: bool) -> DeviceArray:
        """Memory of its own for an output that stays on the device; `Place.copy_to` fills it."""
        memory = self.spare.take(max(place.steps * place.nbytes, 1), "an output that was returned")
        return DeviceArray(self.device, memory, memory.address, (place.steps, *place.shape) if stacked else place.shape, place.dtype)

    def clear_status(self) -> None:
        self.device.write(self.places["results"].address, np.zeros(_STATUS, np.uint8))
