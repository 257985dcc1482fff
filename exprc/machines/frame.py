"""The memory on a device that one running call of a program has: an arena, places for what it takes and gives, launches that are ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from exprc.expr import Constant, Expr, Shared
from exprc.loops import Buffer
from exprc.machines import Changed
from exprc.runtime.device_arrays import DeviceArray
from exprc.runtime.launch import Device, Launch, Memory, Module, Prepared
from exprc.runtime.waiting import Spare

if TYPE_CHECKING:
    from exprc.machines.device import DeviceRunner, Launched

#: Sets of launches that one frame keeps prepared.
PREPARED = 32
#: Outputs of up to so many bytes lie side by side, behind the status, and are read in one go.
TOGETHER = 1 << 16
STATUS = 32  # bytes
#: Where outputs begin behind it.
AFTER_STATUS = 64
_ALIGN_GIVEN = 256


def told(node: Expr) -> str:
    """What a message calls a value."""
    return f"{node.label} made at {node.where}" if node.where else node.label


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
    given : where the sizes begin, and behind them the inputs, and how many bytes that is.
    results, together : where the status and the outputs lie that are side by side, and their bytes; apart : the numbers of the outputs
        that do not, and are read.
    trips : the short ways to make the call, by whether outputs have an axis of steps (see `exprc.machines.trips`).
    """

    prepared: Prepared
    residents: tuple[tuple[Any, Any], ...]
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    given: tuple[int, int]
    results: int
    together: int
    apart: tuple[int, ...]
    fixed: Mapping[Buffer, int]
    written: Mapping[Buffer, Place]
    trips: dict[bool, Any] = field(default_factory=dict)

    def beside(self, checks: bool) -> tuple[int, int]:
        """The address and the bytes of what is read in one go: the outputs that lie together, and the status where there are checks."""
        first = 0 if checks else AFTER_STATUS
        return self.results + first, max(self.together - first, 0)

    def comes_back(self, checks: bool) -> list[tuple[int, int]]:
        """The addresses and bytes of all that is read after a call."""
        apart = [(place.address, place.whole if place.nbytes else 0) for place in (self.outputs[k] for k in self.apart)]
        return [(address, nbytes) for address, nbytes in (self.beside(checks), *apart) if nbytes]


def _resident(leaf: Shared, device: Device, shape: tuple[int, ...]) -> Any:
    """The copy of a variable's value that the device has, of the shape that the program was chosen for."""
    with leaf.container.lock:
        if leaf.container.shape != shape:
            raise Changed
        return leaf.container.on(device, told(leaf))


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

    def ready(self, runner: DeviceRunner, values: Mapping[Expr, Any], sizes: Sequence[tuple[int, ...]]) -> Ready:
        """Copy the inputs, and return the launches of a call that makes steps with these sizes."""
        ready = self.bound.get((runner, len(sizes)))
        if ready is None or not all(container.is_on(copy) for container, copy in ready.residents):
            ready = self._bind(runner, len(sizes))
        if sizes[0]:
            self.device.write(ready.given[0], np.array(sizes, np.int64))
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
        addresses = {b: base + at for b, at in runner.offsets.items()}
        shared = [(b, leaf) for b, leaf in runner.leaves if isinstance(leaf, Shared)]
        residents = {b: _resident(leaf, self.device, runner.shapes.get(b, leaf.type.shape)) for b, leaf in shared}
        addresses |= {b: resident.memory.address for b, resident in residents.items()}
        addresses |= {b: self._constant(b, leaf) for b, leaf in runner.leaves if isinstance(leaf, Constant)}
        inputs, given = self._given(runner, steps)
        outputs, together = self._outputs(runner, steps)
        addresses |= {b: place.address for b, place in inputs.items()}
        written = {b: place for (b, _, _), place in zip(runner.outputs, outputs)}
        key = (runner.form, steps, *(addresses[b] for b, _ in shared))
        prepared = self._prepared(key, runner.program.module, lambda: self.launches(runner, addresses, written, steps))
        # launches for a copy that a variable has left would keep its memory
        self.bound = {key: r for key, r in self.bound.items() if all(container.resident is copy for container, copy in r.residents)}
        while len(self.bound) >= PREPARED:
            del self.bound[next(iter(self.bound))]
        held = tuple((leaf.container, residents[b]) for b, leaf in shared)
        results = self.places["results"].address
        apart = tuple(k for k in runner.read if not results < outputs[k].address < results + together)
        ready = Ready(prepared, held, tuple(inputs.values()), tuple(outputs), given, results, together, apart, addresses, written)
        self.bound[runner, steps] = ready
        return ready

    def _given(self, runner: DeviceRunner, steps: int) -> tuple[dict[Buffer, Place], tuple[int, int]]:
        """Places for what the host gives each call, side by side: the sizes, then the inputs; and where that begins and how long it is."""
        inputs = [(b, leaf) for b, leaf in runner.leaves if not isinstance(leaf, (Constant, Shared))]
        end = 8 * steps * len(runner.loaded.lowered.sizes)
        offsets = []
        for buffer, _ in inputs:
            offsets.append(-(-end // _ALIGN_GIVEN) * _ALIGN_GIVEN)
            end = offsets[-1] + runner.nbytes[buffer]
        base = self._place("given", end, ", ".join(told(leaf) for _, leaf in inputs) or "sizes")
        return {b: Place(base + at, leaf, (), None, runner.nbytes[b]) for (b, leaf), at in zip(inputs, offsets)}, (base, end)

    def _outputs(self, runner: DeviceRunner, steps: int) -> tuple[list[Place], int]:
        """Places for the outputs: small ones that are read lie behind the status, up to the byte that is returned."""
        nbytes = [int(np.prod(shape)) * dtype.itemsize for _, shape, dtype in runner.outputs]
        strides = [-(-n // AFTER_STATUS) * AFTER_STATUS for n in nbytes]
        offsets: dict[int, int] = {}
        end = STATUS
        for k in runner.read:
            at, whole = -(-end // AFTER_STATUS) * AFTER_STATUS, (steps - 1) * strides[k] + nbytes[k]
            if nbytes[k] and at + whole <= TOGETHER:
                offsets[k], end = at, at + whole
        base = self._place("results", end, "results", True)

        def place(k: int, buffer: Buffer, shape: tuple[int, ...], dtype: Any) -> Place:
            whole = steps * strides[k] if steps > 1 else nbytes[k]
            address = base + offsets[k] if k in offsets else self._place(buffer, whole, "an output", steps > 1)
            return Place(address, None, shape, dtype, nbytes[k], steps, strides[k])

        return [place(k, *output) for k, output in enumerate(runner.outputs)], end

    def _constant(self, buffer: Buffer, leaf: Constant) -> int:
        value = np.ascontiguousarray(leaf.value)
        address = self._place(buffer, value.nbytes, told(leaf))
        if buffer not in self.constants:
            self.device.write(address, value)
            self.constants.add(buffer)
        return address

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
        given, results = self.places["given"].address, self.places["results"].address
        reach = [*([nbytes] if nbytes else []), STATUS]

        def launch(s: Launched, step: int) -> Launch:
            addresses = {**fixed, **{b: place.address + step * place.stride for b, place in written.items()}}
            ends = [*([given + step * nbytes] if nbytes else []), results]
            arguments, extents = (*(addresses[b] for b in s.buffers), *ends), (*(runner.nbytes[b] for b in s.buffers), *reach)
            return Launch(s.kernel, (s.shape.blocks, 1, 1), (s.shape.threads, 1, 1), s.shape.shared, arguments, extents, s.work)

        return [launch(s, step) for step in range(steps) for s in runner.launches]

    def read(self, ready: Ready, runner: DeviceRunner, stacked: bool) -> Results:
        """Fetch the outputs, and the status where there are checks: what lies together in one go, nothing where nothing is asked for."""
        checks = bool(runner.loaded.plan.checks)
        base, nbytes = ready.beside(checks)
        block = np.empty(nbytes, np.uint8)
        if nbytes:
            self.device.read(base, block)
        outputs = {}
        for k in runner.read:
            place = ready.outputs[k]
            outputs[k] = self._output(place, stacked) if k in ready.apart else place.rows(block.data, place.address - base, stacked)
        status = block[:STATUS].view(np.int64).tolist() if checks else []
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
        self.device.write(self.places["results"].address, np.zeros(STATUS, np.uint8))
