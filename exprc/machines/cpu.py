"""The CPU as a machine: C texts, arenas with tables of pointers, threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exprc.expr import Constant, Expr, Shared
from exprc.guard import Guard
from exprc.lower import lower
from exprc.machines import Direct, HostCopy, number_of, replaced
from exprc.render.c import render
from exprc.runtime import cpu
from exprc.runtime.containers import Container, check_new_shape
from exprc.runtime.direct import Bound, Operand, Result, direct
from exprc.runtime.entry import ffi
from exprc.runtime.results import maker
from exprc.schedule.choose import kernel_args, kernel_outs
from exprc.schedule.fuse import Call, parts_of
from exprc.schedule.memory import ROW, arena
from exprc.schedule.plan import Plan
from exprc.size import Dim, product

if TYPE_CHECKING:
    from exprc.compiled import Loaded

from_buffer = ffi.from_buffer  # looked up at every call

#: Less work than this many operations is done by one thread: waking others takes longer.
SMALL = 200_000
#: Less work than this keeps the interpreter's lock, where a call comes by the short way: some microseconds.
BRIEF = 20_000
#: Frames (arenas with their tables of pointers) kept ready per program and set of sizes.
FRAMES = 4


class CpuMachine:
    """See `exprc.machines.Machine`; `flush`: whether subnormal numbers count as 0, `threads`: asked when sizes are bound."""

    name, row, precisions, stepwise, device = "cpu", ROW, ("float32", "strict"), False, None
    libraries = ()

    def __init__(self, target: cpu.Target, threads: Callable[[], int], flush: bool = False, precision: str = "float32"):
        self.target, self.threads, self.flush, self.precision = target, threads, flush, precision

    def parts_of(self, results: int, folded: int, first: int) -> int:
        return parts_of(results, folded, first)

    def lower(self, plan: Plan) -> Any:
        return lower(plan)

    def render(self, program: Any) -> tuple[list[str], tuple[str, ...]]:
        return render(program, self.target.registers, self.flush), ()

    def load(self, texts: Sequence[str]) -> Any:
        return cpu.load(texts, self.target)

    def values(self, leaves: Sequence[Expr], arrays: Mapping[Expr, Any]) -> dict[Expr, Any]:
        return {x: x.container.value if isinstance(x, Shared) else arrays[x] for x in leaves}

    def runner(self, loaded: Loaded, values: Mapping[str, int], updates: Sequence[Shared], left: frozenset[int]) -> Runner:
        return Runner(loaded, values, self.threads(), updates)


class Runner:
    """A loaded program bound to one set of sizes: places in the arena, shapes of the outputs, frames that wait for calls."""

    def __init__(self, loaded: Loaded, values: Mapping[str, int], threads: int, updates: Sequence[Shared]):
        self.loaded = loaded
        plan = loaded.plan
        number = self.number = number_of(values)
        self.replaced = replaced(plan, updates)
        self.offsets, self.arena = arena(plan.spans, number) if plan.symbols else (plan.offsets, plan.arena)
        types = [(tuple(number(d) for d in s.dims), np.dtype(s.buffer.dtype)) for s in plan.outputs]
        self.outputs = [(maker(shape, dtype), shape, dtype) for shape, dtype in types]
        self.work = _work(plan, number)
        self.threads = 1 if self.work < SMALL else threads
        names = {s.buffer: k for k, s in enumerate(plan.outputs)}
        self.slots_out = [(k, names[b]) for k, b in enumerate(loaded.lowered.buffers) if b in names]
        self.slots_leaf = [(k, plan.leaves[b]) for k, b in enumerate(loaded.lowered.buffers) if b in plan.leaves]
        self.slots_arena = [(k, b) for k, b in enumerate(loaded.lowered.buffers) if b in self.offsets]
        self.slots_given = [(k, leaf) for k, leaf in self.slots_leaf if not isinstance(leaf, Constant)]
        self.frames: list[Frame] = []
        self.guard = Guard(plan, loaded.bound, number)
        self.containers, self.run = list(plan.containers.values()), loaded.program.run

    def frame(self) -> Frame:
        """Take a frame that no call is using; a call of its own has an arena of its own."""
        try:
            return self.frames.pop()
        except IndexError:
            return Frame(self)

    def check_replacements(self) -> None:
        """An update of another shape is possible only where the variable's type leaves the length open."""
        for variable, k in self.replaced:
            check_new_shape(variable, self.outputs[k][1])

    def release(self, frame: Frame) -> None:
        if len(self.frames) < FRAMES:
            self.frames.append(frame)

    def call(self, values: Mapping[Expr, Any], sizes: tuple[int, ...]) -> list[Any]:
        """Run on the values of a call; return the outputs, and those that replaced containers.

        A call of little work takes as long as this function, which therefore skips what the plan does not need.
        """
        if self.replaced:
            self.check_replacements()
        frame = self.frame()
        held, outputs = self.fill(frame, _apart(self.containers, values) if self.containers else values)
        kept = self.guard.keep(values) if self.guard.containers else ()
        numbers = ffi.new("int64_t[]", sizes) if sizes else ffi.NULL
        failed = self.run(frame.table, numbers, ffi.NULL, self.threads, frame.status)
        status = list(frame.status) if failed else None
        del held
        self.release(frame)
        if status is not None:
            for storage, old in kept:
                storage[...] = old
        for container in self.containers:
            container.written()
        if status is not None:
            raise IndexError(self.guard.message(status))
        for container, k in self.loaded.plan.replacements:
            container.replace(outputs[k])
        return outputs

    def fill(self, frame: Frame, values: Mapping[Expr, Any]) -> tuple[list[Any], list[Any]]:
        """Put the pointers of a call in a frame's table: to leaves, and to outputs that are fresh arrays."""
        table, held = frame.table, []
        for k, leaf in self.slots_given:
            pointer = table[k] = from_buffer(values[leaf])
            held.append(pointer)
        outputs = [make(shape, dtype) for make, shape, dtype in self.outputs]
        for k, o in self.slots_out:
            pointer = table[k] = from_buffer(outputs[o])
            held.append(pointer)
        frame.status[0] = 0
        return held, outputs

    def direct(self, inputs: Sequence[Expr], values: Mapping[Expr, Any], sizes: tuple[int, ...]) -> Direct | None:
        slots = {leaf: k for k, leaf in self.slots_given}
        variables = [leaf for leaf in slots if isinstance(leaf, Shared)]
        limits = self.guard.given()
        if self.replaced or limits is None or len(inputs) + len(variables) != len(slots):
            return None
        operands = [self._operand(x, values[x].shape, slots[x], limits.get(x, -1)) for x in (*inputs, *variables)]
        places = {o: k for k, o in self.slots_out}
        results = [Result(make, dtype, shape, places.get(o, -1)) for o, (make, shape, dtype) in enumerate(self.outputs)]
        frame, numbers = self.frame(), ffi.new("int64_t[]", sizes or (0,))
        bound = Bound(self.run, frame.table, numbers, frame.status, self.threads, self.work > BRIEF, (self, frame))
        made = direct(bound, operands, results)
        if made is None:
            self.frames.append(frame)
        return made

    def _operand(self, leaf: Expr, shape: tuple[int, ...], slot: int, limit: int) -> Operand:
        container = getattr(leaf, "container", None)
        return Operand(np.dtype(leaf.dtype), shape, slot, container, limit, container in self.containers)

    def copies(self) -> list[HostCopy]:
        return []

    def launched(self) -> list[str]:
        return []


class Frame:
    """An arena and the table of pointers into it."""

    def __init__(self, runner: Runner):
        buffers = runner.loaded.lowered.buffers
        self.arena = np.zeros(runner.arena + 64, np.uint8)  # zeros: the padding lanes of the first call
        base = int(ffi.cast("uintptr_t", ffi.from_buffer(self.arena)))
        base = -(-base // 64) * 64
        self.table = ffi.new("void *[]", len(buffers) + 1)
        self.status = ffi.new("int64_t[4]")
        for k, buffer in runner.slots_arena:
            self.table[k] = ffi.cast("void *", base + runner.offsets[buffer])
        self.constants = []
        for k, leaf in runner.slots_leaf:
            if isinstance(leaf, Constant):
                self.constants.append(ffi.from_buffer(np.ascontiguousarray(leaf.value)))
                self.table[k] = ffi.cast("void *", self.constants[-1])


def _apart(containers: Sequence[Container], values: Mapping[Expr, Any]) -> Mapping[Expr, Any]:
    """Copy inputs that lie in storage which the program writes: what `get_value(borrow=True)` gave, for one."""
    lent = [container.value for container in containers if container.lent]
    if not lent:
        return values

    def overlaps(x: Expr, value: Any) -> bool:
        return not isinstance(x, Shared) and any(np.may_share_memory(value, a) for a in lent)

    return {x: v.copy() if overlaps(x, v) else v for x, v in values.items()}


def _work(plan: Plan, number: Callable[[Dim], int]) -> int:
    """About how many operations a call takes: elements of everything stored, and the kernels' multiplications."""
    total = sum(number(s.layout.elements(s.dims)) for s in plan.stored.values())
    for step in plan.steps:
        if isinstance(step, Call):
            total += flops(plan, step, number) // 8
        for root in step.roots:
            total += 4 * number(product(plan.dims[root.node.inputs[0] if root.is_reduce else root.node]))
    return total


def flops(plan: Plan, step: Call, number: Callable[[Dim], int]) -> int:
    """Multiplications and additions of a kernel."""
    impl = plan.implementations[step.node]
    if impl.flops is None:
        return 0
    args, outs = kernel_args(step.node, plan.dims), kernel_outs(step.node, plan.dims)
    if "parts" in step.node.params:  # together they do what one of the whole would
        outs = [out._replace(shape=out.shape[1:]) for out in outs]
    return number(impl.flops(args, outs, step.node.params))
