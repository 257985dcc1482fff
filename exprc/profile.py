"""f.profile(): the time, the bytes and the operations of every step of a compiled function, with the user's lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.compiled import Compiled, Runner, ffi, flops
from exprc.expr import Expr, Shared
from exprc.loops import Barrier, Copy
from exprc.render.c import render
from exprc.runtime import cpu
from exprc.schedule.fuse import Call
from exprc.types import itemsize


def profile(compiled: Compiled, arrays: dict[Expr, Any], calls: int = 20) -> str:
    """Run a program that times its steps, `calls` times, and return a table; shared variables keep their values.

    The steps of this program end with a barrier each, so that its total is a little more than the function's own time.
    """
    saved = [(v.container, v.container.value.copy()) for v in compiled.updates]
    try:
        compiled.call(arrays)
        runner = compiled.runner(compiled.signature(_values(compiled, arrays)))
        seconds, total = _measure(compiled, runner, arrays, calls)
    finally:
        for container, value in saved:
            if container.value.shape == value.shape:
                container.value[...] = value  # in place: who borrowed the storage keeps it
            else:
                container.replace(value)
    return _table(runner, seconds / calls, total / calls)


def _values(compiled: Compiled, arrays: dict[Expr, Any]) -> dict[Expr, Any]:
    return {x: x.container.value if isinstance(x, Shared) else arrays[x] for x in compiled.leaves}


def _measure(compiled: Compiled, runner: Runner, arrays: dict[Expr, Any], calls: int) -> tuple[Any, float]:
    loaded = runner.loaded
    program = cpu.load(render(loaded.lowered, compiled.target.registers, compiled.flush, profile=True), compiled.target)
    times = np.zeros(len(loaded.lowered.steps))
    total = 0.0
    for k in range(calls + 1):
        frame = runner.frame()
        held, _ = compiled.fill(frame, runner, _values(compiled, arrays))
        frame.table[len(loaded.lowered.buffers)] = ffi.from_buffer(times)
        begin = time.perf_counter()
        program.run(frame.table, runner.sizes, ffi.NULL, runner.threads, frame.status)
        total += time.perf_counter() - begin
        del held
        runner.release(frame)
        if k == 0:  # the first call warms up
            times[:], total = 0, 0.0
    return times, total


def _table(runner: Runner, seconds: Any, total: float) -> str:
    loaded, threads = runner.loaded, runner.threads
    lines = [f"{'step':<10} {'ms':>8} {'share':>6} {'GFLOP/s':>8} {'GB/s':>7}  what and where"]
    for k, (step, t) in enumerate(zip(loaded.lowered.steps, seconds)):
        if not isinstance(step, Barrier):
            lines.append(_row(runner, step, t, float(np.sum(seconds))) if k < len(seconds) else "")
    lines.append(f"{'all':<10} {total * 1e3:8.3f}   with {threads} thread{'s' * (threads > 1)}, arena {loaded.plan.arena} bytes")
    return "\n".join(lines)


def _row(runner: Runner, step: Any, t: float, total: float) -> str:
    name = "copy" if isinstance(step, Copy) else step.name
    operations, places = _operations(runner, name)
    rate = f"{operations / t / 1e9:8.1f}" if operations and t else " " * 8
    moved = _bytes(runner, step)
    comment = "" if isinstance(step, Copy) else step.comment
    return f"{name:<10} {t * 1e3:8.3f} {t / total if total else 0:6.1%} {rate} {moved / t / 1e9 if t else 0:7.1f}  {comment}  {places}"


def _operations(runner: Runner, name: str) -> tuple[int, str]:
    """The operations of a kernel call, and the user's lines that a step was made for."""
    digits = name[1:].split("_")[0]
    if not digits.isdigit():
        return 0, ""
    plan = runner.loaded.plan
    step = plan.steps[int(digits)]
    nodes = [r.node for r in step.roots] + ([step.node] if isinstance(step, Call) else [])
    places = ", ".join(dict.fromkeys(n.where for n in nodes if n.where))
    return (flops(plan, step, runner.number) if isinstance(step, Call) else 0), places


def _bytes(runner: Runner, step: Any) -> int:
    """What a step reads and writes, each buffer once."""
    buffers: Sequence[Any] = (step.source, step.target) if isinstance(step, Copy) else step.buffers
    return sum(runner.number(b.size) * itemsize(b.dtype) for b in buffers)
