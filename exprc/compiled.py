"""From a graph to programs that run: the road from binding sizes to calling C, walked once for each set of sizes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exprc.errors import report
from exprc.expr import Constant, Expr, Input, Shared, leaves
from exprc.loops_text import text_of
from exprc.machines import Changed, HostCopy, Machine, Runner, number_of
from exprc.ops.formula import copy
from exprc.ops.reduce import sum_
from exprc.ops.view import dimshuffle
from exprc.runtime.launch import Device
from exprc.schedule.absorb import absorb, inline
from exprc.schedule.alone import alone
from exprc.schedule.choose import choose, closed
from exprc.schedule.fuse import Call, Fuser
from exprc.schedule.layout import assign
from exprc.schedule.memory import build_plan
from exprc.schedule.plan import Plan
from exprc.schedule.sizes import Bound, Signature, bind, size_leaves
from exprc.shorts import ARENAS, ByNumbers, ByShapes
from exprc.size import Dim
from exprc.steps import Walk
from exprc.types import itemsize
from exprc.verify import verify

#: A size that has taken this many values becomes an argument of the program, so that compiling ends.
VALUES = 3
#: Programs, and sets of sizes, that one function keeps; the oldest are dropped.
PROGRAMS, RUNNERS = 64, 256
#: How often a program is chosen again because another thread gave a variable another shape.
TRIES = 100
#: Programs that are asked first whether they serve new values as they are.
RIGID = 4


@dataclass
class Stage:
    """One step of the road: its name, how long it took, and what it made, as text on request."""

    name: str
    seconds: float
    show: Callable[[], str]
    made: Any = None


@dataclass
class Loaded:
    """A program in memory with the plan that it was made from."""

    plan: Plan
    fused: Any
    lowered: Any
    program: Any
    stages: list[Stage]
    bound: Bound
    text: list[str]
    entries: tuple[str, ...]  # of the steps, where each has one of its own
    profiled: Any = None  # what `f.profile()` measured last


@dataclass
class Compiled:
    """A graph with the programs made of it so far.

    Parameters
    ----------
    roots : the outputs, then the new value of each variable of `updates`; each a node that can be stored (see `storable`).
    inputs : the leaves whose arrays each call gives, in order.
    """

    roots: list[Expr]
    outputs: int
    updates: list[Shared]
    inputs: list[Input]
    machine: Machine
    precompiled: list[Stage] = field(default_factory=list)
    left: frozenset[int] = frozenset()  # the outputs that stay on the device (see `exprc.Out`)

    def __post_init__(self) -> None:
        used = dict.fromkeys(leaves(self.roots))
        unread = [v for v in self.updates if v not in used and None not in v.type.shape]  # written where they are (see `build_plan`)
        self.leaves = [*(x for x in used if not isinstance(x, Constant)), *unread]
        self.scalars = [x for x in size_leaves(self.roots) if x in used]
        self.walk = Walk(self.scalars, {v.container: new for v, new in zip(self.updates, self.roots[self.outputs :])})
        self.lock = threading.RLock()
        self.runners: dict[tuple[int, ...], tuple[Runner, tuple[int, ...]]] = {}
        self.rigid: list[tuple[Runner, Mapping[Any, int]]] = []
        self.programs: dict[tuple[Any, ...], Loaded] = {}
        self.seen: dict[tuple[Expr, int | None], set[int]] = {}
        self.lengths: dict[Any, set[int]] = {}
        self.keys = [(x, a) for x in self.leaves for a in range(x.ndim)] + [(x, None) for x in self.scalars]
        self.variables = any(isinstance(x, Shared) for x in self.leaves)
        self.known = all(None not in x.type.shape for x in self.leaves) and not self.scalars
        self.only: tuple[Runner, tuple[int, ...]] | None = None  # where all shapes are known
        written = sorted({v.container for v in self.updates}, key=id)
        holders = [*written, *([] if self.device is None else [self.device])]
        # the short ways (see `exprc.shorts`) of calls that make one step, and several
        self.shorts = ByNumbers(self.inputs, holders, self.walk) if self.machine.stepwise else ByShapes(self.inputs, holders)
        self.stepped = ByNumbers(self.inputs, holders, self.walk)
        self.last: Loaded | None = None
        self.last_runner: Runner | None = None

    # -- sizes

    def signature(self, arrays: Mapping[Expr, Any]) -> tuple[int, ...]:
        """The numbers that decide which program runs."""
        shapes = [n for x in self.leaves for n in arrays[x].shape]
        return (*shapes, *(int(arrays[x]) for x in self.scalars))

    def compile_known(self) -> None:
        """Compile at once if the shapes of all inputs are known."""
        if self.known:
            shapes = [x.container.shape if isinstance(x, Shared) else x.type.shape for x in self.leaves]
            self.runner(tuple(n for shape in shapes for n in shape))  # type: ignore[misc]

    def runner(self, signature: tuple[int, ...]) -> tuple[Runner, tuple[int, ...]]:
        """Return the program that runs, and the numbers of the sizes that are its arguments."""
        found = self.runners.get(signature)
        if found is None:
            with self.lock:
                found = self.runners.get(signature) or self._bound_runner(dict(zip(self.keys, signature)))
                _make_room(self.runners, RUNNERS)
                self.runners[signature] = found
        return found

    def bound_runners(self) -> list[Runner]:
        """The programs that are bound to sizes, each once."""
        return list(dict.fromkeys(runner for runner, _ in self.runners.values()))

    def _bound_runner(self, sizes: Mapping[Any, int]) -> tuple[Runner, tuple[int, ...]]:
        runner = self._known(sizes) or self._new_runner(sizes)
        symbols = runner.loaded.plan.symbols
        return runner, tuple(sizes[symbols[name]] for name in runner.loaded.lowered.sizes)

    def _known(self, sizes: Mapping[Any, int]) -> Runner | None:
        """A program that serves these sizes as it is: only values differ that its dims do not follow from."""
        for runner, own in self.rigid:
            symbols = runner.loaded.plan.symbols
            free = set(symbols.values())
            same = all(n == own[key] for key, n in sizes.items() if key not in free)
            if same and runner.loaded.bound.holds({name: sizes[key] for name, key in symbols.items()}):
                return runner
        return None

    def _new_runner(self, sizes: Mapping[Any, int]) -> Runner:
        for key, n in sizes.items():
            self.seen.setdefault(key, set()).add(n)
        moving = {(x, None) for _, x in self.walk.moving}  # will have another value in the next call
        many = {k for k in sizes if len(self.seen[k]) >= VALUES} | moving
        # A size of 1 stays a number: axes broadcast along it.
        free = frozenset(k for k, n in sizes.items() if k in many and (n > 1 or k[1] is None and (n != 1 or k in moving)))
        road = Road(list(self.precompiled))
        numbers = road.take("sizes", lambda: self._bind(sizes, frozenset()), sizes_text)  # also where shapes are checked
        bound = road.take("arguments", lambda: self._general(sizes, free, numbers), sizes_text) if free else numbers
        pattern = tuple(sizes.values()) if not bound.symbols else (*(None if k in free else n for k, n in sizes.items()), bound.pinned)
        loaded = self.programs.get(pattern)
        if loaded is None:
            _make_room(self.programs, PROGRAMS)
            loaded = self.programs[pattern] = self._compile(bound, sizes, road)
        values = {name: sizes[key] for name, key in loaded.plan.symbols.items()}
        self.last = loaded
        runner = self.last_runner = self.machine.runner(loaded, values, self.updates, self.left)
        while self.runners and runner.arena + sum(r.arena for r in self.bound_runners()) > ARENAS:
            del self.runners[next(iter(self.runners))]
        if bound.rigid:
            self.rigid = [(runner, dict(sizes)), *self.rigid[: RIGID - 1]]
        return runner

    def _general(self, sizes: Mapping[Any, int], free: frozenset[Any], numbers: Bound) -> Bound:
        """The graph with `free` as symbols; `numbers` where it can only be bound with numbers."""
        try:
            return self._bind(sizes, free)
        except ValueError:  # shapes that only agree as numbers
            return numbers

    def _bind(self, sizes: Mapping[Any, int], free: frozenset[Any]) -> Bound:
        shapes = {x: tuple(sizes[x, a] for a in range(x.ndim)) for x in self.leaves}
        return bind(self.roots, Signature(shapes, {x: sizes[x, None] for x in self.scalars}), free, self.lengths)

    @property
    def device(self) -> Device | None:
        """Where it runs, None on the CPU."""
        return self.machine.device

    def leave(self, outputs: frozenset[int]) -> None:
        """Say which outputs stay on the device."""
        self.left = outputs

    def copies(self) -> list[HostCopy]:
        """What the program for the sizes that came last copies between the host and a device."""
        return self.last_runner.copies() if self.last_runner else []

    def launched(self) -> list[str]:
        """Return a line for each launch of a call with the sizes that came last."""
        return self.last_runner.launched() if self.last_runner else []

    # -- the road

    def _compile(self, bound: Bound, sizes: Mapping[Any, int], road: Road) -> Loaded:
        """After sizes: choose, fuse, layout, memory, lower, render, load: each timed."""
        values = {name: sizes[key] for name, key in bound.symbols.items()}
        number, machine = number_of(values), self.machine
        lanes_of, device = machine.target.lanes, machine.target.device
        offered = device, machine.precision, machine.libraries
        bound, chosen = road.take("choose", lambda: absorb(
            *choose(self._alone(bound, number), lanes_of, sum_, copy, dimshuffle, *offered), lanes_of),
            lambda r: _chosen_text(r[1]))  # fmt: skip
        fuser = Fuser(bound.roots, bound.dims, number, closed(chosen), inline(chosen), machine.parts_of, device == "cuda")
        fused = road.take("fuse", fuser.run, fused_text)
        layouts = road.take("layout", lambda: assign(fused, chosen, bound.dims, lanes_of), layout_text)
        plan = road.take("memory", lambda: build_plan(
            bound, fused, layouts, chosen, self.outputs, self.updates, copy, lanes_of, number, machine.row), memory_text)  # fmt: skip
        lowered = road.take("lower", lambda: machine.lower(plan), lowered_text)
        road.take("verify", lambda: verify(lowered), lambda _: "every name, buffer and bound holds")
        text, entries = road.take("render", lambda: machine.render(lowered), lambda r: source_text(r[0], device))
        program = road.take("load", lambda: machine.load(text), _program_text)
        return Loaded(plan, fused, lowered, program, road.stages, bound, text, entries)

    def _alone(self, bound: Bound, number: Callable[[Dim], int]) -> Bound:
        """On a GPU, where each part of a wait is a launch; a CPU takes less time for a second pass than for what one must work out."""
        return alone(bound, number, self.machine.parts_of) if self.machine.target.device == "cuda" else bound

    # -- calls

    def call(self, arrays: Mapping[Expr, Any]) -> list[Any]:
        """Run on arrays: of the inputs as given and checked, of shared variables as their containers have them."""
        return steady(lambda: self._call(arrays))

    def _call(self, arrays: Mapping[Expr, Any]) -> list[Any]:
        values = self.machine.values(self.leaves, arrays) if self.variables else arrays
        found = self.only
        numbers = tuple(int(values[x]) for x in self.walk.scalars)
        if found is None:
            found = self.runner(self.signature(values))
            self.only = found if self.known else None
        runner, sizes = found
        outputs = runner.call(values, sizes)
        if isinstance(self.shorts, ByNumbers):
            after = self.walk.after(numbers) if self.walk.moving and self.walk.known else None
            if after is not None:
                self.walk.arrived(after)
            self.shorts.note(numbers, runner, (sizes,), arrays, after, False)
        elif not self.scalars:  # a program is bound to the values of those
            self.shorts.note(found, values)
        return outputs if len(outputs) == self.outputs else outputs[: self.outputs]


def steady(call: Callable[[], Any]) -> Any:
    """Call until no other thread has given a variable another shape meanwhile."""
    for _ in range(TRIES):
        try:
            return call()
        except Changed:
            continue
    fix = "hold a lock of your own around set_value() with other shapes and calls of the function"
    raise ValueError(report("a variable of the function gets other shapes faster than programs are chosen for them", fix=fix))


class Road:
    """Runs stages one after the other, timing each."""

    def __init__(self, stages: list[Stage]):
        self.stages = stages

    def take(self, name: str, work: Callable[[], Any], show: Callable[[Any], str]) -> Any:
        begin = time.perf_counter()
        made = work()
        self.stages.append(Stage(name, time.perf_counter() - begin, lambda: show(made), made))
        return made


def storable(roots: Sequence[Expr]) -> list[Expr]:
    """Give every root a node of its own that can be stored: leaves, views and repeated roots are copied."""
    seen: set[Expr] = set()
    made = []
    for root in roots:
        plain = root.op.form in ("formula", "reduce") or (root.op.form in ("kernel", "item"))
        node = root if plain and root not in seen else copy.node((root,), {})
        seen.add(node)
        made.append(node)
    return made


def _make_room(kept: dict[Any, Any], most: int) -> None:
    """Drop the oldest entries of a table so that one more fits."""
    while len(kept) >= most:
        del kept[next(iter(kept))]


# -- what stages made, as text


def _chosen_text(chosen: Mapping[Expr, Any]) -> str:
    return "\n".join(f"{n.op.name:<24} {impl.name:<24} {n.where}" for n, impl in chosen.items()) or "no kernels"


def source_text(texts: Sequence[str], device: str) -> str:
    lines = f"{sum(len(text.splitlines()) for text in texts)} lines of {'C' if device == 'cpu' else 'CUDA'}"
    return f"{lines} in {len(texts)} units" if device == "cpu" else lines


def _program_text(program: Any) -> str:
    return f"{'from the cache' if program.cached else 'compiled'}: {program.path}"


def sizes_text(bound: Bound) -> str:
    arguments = [f"{name}: {leaf.label}{'' if axis is None else f', axis {axis}'}" for name, (leaf, axis) in bound.symbols.items()]
    return "\n".join([f"{len(bound.dims)} nodes, {len(arguments)} sizes are arguments", *arguments])


def fused_text(fused: Any) -> str:
    lines = []
    for k, step in enumerate(fused.steps):
        parts = f" in {step.parts} parts" if getattr(step, "parts", 0) else ""
        kind = f"call {step.node.op.name}" if isinstance(step, Call) else f"loops over {step.outer}{parts}"
        lines.append(f"k{k}: {kind}")
        lines += [f"      {r.node.op.name:<20} {r.dims}  {r.node.where}" for r in step.roots]
    lines += [f"worked out again by each reader: {n.op.name} {n.type.shape}  {n.where}" for n in fused.again]
    return "\n".join(lines)


def layout_text(layouts: Mapping[Expr, Any]) -> str:
    split = [f"{n.op.name:<24} {layout}  {n.where}" for n, layout in layouts.items() if layout.lanes]
    return "\n".join([f"{len(layouts) - len(split)} values plain", *split])


def lowered_text(program: Any) -> str:
    together = f" in {len(program.launches)} launches" if program.launches else ""
    return f"{len(program.steps)} steps{together}\n{text_of(program)}"


def memory_text(plan: Plan) -> str:
    lines = [f"arena: {plan.arena} bytes, {len(plan.offsets)} buffers"]
    total = 0
    for buffer, at in sorted(plan.offsets.items(), key=lambda item: item[1]):
        size = plan.number(buffer.size) * itemsize(buffer.dtype)
        total += size
        lines.append(f"  {buffer.name:<6} at {at:>10}  {size:>10} bytes")
    return "\n".join([*lines, f"without sharing it would be {total} bytes"])

