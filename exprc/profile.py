"""f.profile(): the time, the bytes and the operations of every step of a compiled function, with the user's lines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exprc.compiled import Compiled
from exprc.expr import Expr
from exprc.loops import Barrier, Copy
from exprc.machines.cpu import CpuMachine, Runner, flops
from exprc.machines.device import DeviceRunner
from exprc.render.c import render
from exprc.runtime import cpu
from exprc.runtime.entry import ffi
from exprc.schedule.fuse import Call
from exprc.segments import Segments
from exprc.types import itemsize


@dataclass(frozen=True)
class Row:
    """A step as it was measured: seconds, operations and bytes of one call."""

    name: str
    seconds: float
    share: float
    operations: int
    moved: int
    comment: str
    places: str

    def __str__(self) -> str:
        rate = f"{self.operations / self.seconds / 1e9:8.1f}" if self.operations and self.seconds else " " * 8
        moved = self.moved / self.seconds / 1e9 if self.seconds else 0
        return f"{self.name:<10} {self.seconds * 1e3:8.3f} {self.share:6.1%} {rate} {moved:7.1f}  {self.comment}  {self.places}"


class Profile(str):
    """The table as text, to be printed; `rows` has it as numbers.

    Attributes
    ----------
    rows : list of Row, one a step. seconds : of one call. threads : how many worked. arena : bytes.
    """

    rows: list[Row]
    seconds: float
    threads: int
    arena: int

    @classmethod
    def of(cls, rows: list[Row], seconds: float, threads: int, arena: int, device: str = "cpu") -> Profile:
        head = f"{'step':<10} {'ms':>8} {'share':>6} {'GFLOP/s':>8} {'GB/s':>7}  what and where"
        how = f"with {threads} thread{'s' * (threads > 1)}" if device == "cpu" else f"on {device}"
        total = f"{'all':<10} {seconds * 1e3:8.3f}   {how}, arena {arena} bytes"
        made = cls("\n".join([head, *map(str, rows), total]))
        made.rows, made.seconds, made.threads, made.arena = rows, seconds, threads, arena
        return made

    def __repr__(self) -> str:
        return str(self)


def profile(compiled: Compiled | Segments, arrays: Mapping[Expr, Any], calls: int = 20) -> Profile:
    """Run a program that times its steps, `calls` times, and return a table; shared variables keep their values.

    The steps of this program end with a barrier each, so that its total is a little more than the function's own time. On a device each
    launch is timed alone, between two events, and the total is their sum: what it takes to start them is not in it. What was measured last
    is also shown by the page of `f.explain()`. Of a function of several programs, the work of the host is not timed.
    """
    if calls < 1:
        raise ValueError(f"profile: calls is {calls}: it must be at least 1")
    saved = [(v.container, v.container.value.copy()) for v in compiled.updates]
    try:
        made = [_program(compiled, arrays, calls)] if isinstance(compiled, Compiled) else _segments(compiled, arrays, calls)
    finally:
        for container, value in saved:
            if container.value.shape == value.shape:
                container.value[...] = value  # in place: who borrowed the storage keeps it
                container.written()
            else:
                container.replace(value)
    rows = [row for one in made for row in one.rows]
    name = "cpu" if compiled.device is None else compiled.device.name
    return Profile.of(rows, sum(p.seconds for p in made), max(p.threads for p in made), max(p.arena for p in made), name)


def _program(compiled: Compiled, arrays: Mapping[Expr, Any], calls: int) -> Profile:
    compiled.call(arrays)
    runner, sizes = compiled.runner(compiled.signature(_values(compiled, arrays)))
    if isinstance(runner, DeviceRunner):
        return _on_device(compiled, runner, sizes, arrays, calls)
    assert isinstance(runner, Runner)
    seconds, total = _measure(compiled, runner, ffi.new("int64_t[]", sizes or [0]), arrays, calls)
    made = Profile.of(_rows(runner, seconds / calls), total / calls, runner.threads, runner.loaded.plan.arena)
    runner.loaded.profiled = made
    return made


def _on_device(compiled: Compiled, runner: DeviceRunner, sizes: tuple[int, ...], arrays: Mapping[Expr, Any], calls: int) -> Profile:
    """Time each launch alone; of steps that are launched together, each has a share of the time by the bytes that it moves."""
    seconds = dict.fromkeys((step.name for step in runner.loaded.lowered.steps), 0.0)
    took = runner.seconds(_values(compiled, arrays), sizes, calls)
    for launch, t in zip(runner.launches, took):
        moved = [_bytes(runner, step) for step in launch.steps]
        seconds.update((step.name, t * n / max(sum(moved), 1)) for step, n in zip(launch.steps, moved))
    made = Profile.of(_rows(runner, list(seconds.values())), sum(took), 1, runner.bytes, compiled.machine.name)
    runner.loaded.profiled = made
    return made


def _segments(whole: Segments, arrays: Mapping[Expr, Any], calls: int) -> list[Profile]:
    """Time the programs one after the other, each with the values that those before it made."""
    values = dict(arrays)
    made = []
    for step in whole.steps:
        inner: dict[Expr, Any] = {x: values[x] for x in step.program.inputs if x in values}
        inner.update({s: values[n] for n, s in step.given.items()})
        made.append(_program(step.program, inner, calls))
        values.update(zip(step.made, step.program.call(inner)))
        for node in step.host:
            whole._run_host(node, values)
    return made


def _values(compiled: Compiled, arrays: Mapping[Expr, Any]) -> dict[Expr, Any]:
    return compiled.machine.values(compiled.leaves, arrays)


def _measure(compiled: Compiled, runner: Runner, sizes: Any, arrays: Mapping[Expr, Any], calls: int) -> tuple[Any, float]:
    loaded, machine = runner.loaded, compiled.machine
    assert isinstance(machine, CpuMachine)
    program = cpu.load(render(loaded.lowered, machine.target.registers, machine.flush, profile=True), machine.target)
    times = np.zeros(len(loaded.lowered.steps))
    total = 0.0
    for k in range(calls + 1):
        frame = runner.frame()
        held, _ = runner.fill(frame, _values(compiled, arrays))
        frame.table[len(loaded.lowered.buffers)] = ffi.from_buffer(times)
        begin = time.perf_counter()
        program.run(frame.table, sizes, ffi.NULL, runner.threads, frame.status)
        total += time.perf_counter() - begin
        del held
        runner.release(frame)
        if k == 0:  # the first call warms up
            times[:], total = 0, 0.0
    return times, total


def _rows(runner: Runner | DeviceRunner, seconds: Any) -> list[Row]:
    total = float(np.sum(seconds)) or 1.0
    made = []
    for step, t in zip(runner.loaded.lowered.steps, map(float, seconds)):
        if not isinstance(step, Barrier):
            name, comment = ("copy", "") if isinstance(step, Copy) else (step.name, step.comment)
            operations, places = _operations(runner, name)
            made.append(Row(name, t, t / total, operations, _bytes(runner, step), comment, places))
    return made


def _operations(runner: Runner | DeviceRunner, name: str) -> tuple[int, str]:
    """The operations of a kernel call, and the user's lines that a step was made for."""
    digits = name[1:].split("_")[0]
    if not digits.isdigit():
        return 0, ""
    plan = runner.loaded.plan
    step = plan.steps[int(digits)]
    nodes = [r.node for r in step.roots] + ([step.node] if isinstance(step, Call) else [])
    places = ", ".join(dict.fromkeys(n.where for n in nodes if n.where))
    return (flops(plan, step, runner.number) if isinstance(step, Call) else 0), places


def _bytes(runner: Runner | DeviceRunner, step: Any) -> int:
    """What a step reads and writes, each buffer once."""
    buffers: Sequence[Any] = (step.source, step.target) if isinstance(step, Copy) else step.buffers
    return sum(runner.number(b.size) * itemsize(b.dtype) for b in buffers)
