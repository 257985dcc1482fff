"""From the graph that the user gave to programs: the stages that need no sizes, walked once for a function.

This module, and all of the compiler behind it, is imported when the first function is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from exprc.compiled import Compiled, Road
from exprc.config import config
from exprc.errors import DeviceError, report
from exprc.expr import Expr, Input, Shared
from exprc.machines import Machine
from exprc.machines.cpu import CpuMachine
from exprc.machines.device import DeviceMachine
from exprc.rewrite.engine import rewrite
from exprc.rewrite.expand import expand, named_by, open_user
from exprc.rewrite.half import widened
from exprc.rewrite.optimise import OPTIMISE
from exprc.rewrite.simplify import SIMPLIFY
from exprc.rewrite.stabilise import STABILISE
from exprc.runtime import cpu
from exprc.runtime.devices import open_device
from exprc.seeing.stages import graph_text
from exprc.segments import Segments, compiled_of


def build(
    roots: Sequence[Expr], updates: Sequence[Shared], inputs: Sequence[Input], device: str, precision: str, left: frozenset[int]
) -> tuple[str, Compiled | Segments]:
    """Return the device and the programs of a graph; where all shapes are known, they are compiled at once.

    Parameters
    ----------
    roots : the outputs, then the new value of each variable of `updates`.
    device : where they run; of several, separated by commas, the first that there is.
    precision : how exact products are, one of `exprc.config.PRECISIONS`.
    left : the numbers of the outputs that stay on the device.

    Raises
    ------
    ValueError
        if the device does not offer that precision.
    exprc.runtime.compiler.NoCompiler
        if there is no C compiler.
    exprc.errors.CompileError
        if it fails.
    """
    machine = machine_of(device, precision)
    road = Road([])
    made = road.take("open", lambda: open_user(roots, named_by([*SIMPLIFY, *STABILISE])), graph_text)
    made = road.take("simplify", lambda: rewrite(made, SIMPLIFY), graph_text)
    made = road.take("stabilise", lambda: rewrite(made, STABILISE), graph_text)
    made = road.take("expand", lambda: expand(made), graph_text)
    made = road.take("optimise", lambda: rewrite(made, OPTIMISE), graph_text)
    made = road.take("narrow", lambda: widened(made), graph_text)

    def make(roots: Sequence[Expr], outputs: int, updates: Sequence[Shared], inputs: Sequence[Input]) -> Compiled:
        return Compiled(list(roots), outputs, list(updates), list(inputs), machine, road.stages)

    programs = compiled_of(made, len(made) - len(updates), updates, inputs, make)
    programs.leave(left)
    if isinstance(programs, Compiled):
        programs.compile_known()
    return machine.name, programs


def machine_of(device: str, precision: str = "float32") -> Machine:
    """Return the machine of the first device in a list that there is, which computes products with `precision`.

    Raises
    ------
    ValueError, exprc.errors.DeviceError
        for a name that is none, for a precision that the device does not offer, or where the last device of the list is lacking.
    """
    names = device.split(",")
    for name in names[:-1]:
        try:
            return _machine(name, precision)
        except DeviceError:
            continue
    return _machine(names[-1], precision)


def _machine(name: str, precision: str) -> Machine:
    device = None if name == "cpu" else open_device(name)
    offered = device.precisions if device else CpuMachine.precisions
    if precision not in offered:
        raise ValueError(report(f"{name} does not compute with precision {precision!r}", fix=f"it offers {', '.join(offered)}"))
    flush = config.flush_subnormals
    return DeviceMachine(device, precision, flush) if device else CpuMachine(cpu.host_target(), _threads, flush, precision)


def _threads() -> int:
    return config.threads or cpu.thread_count()
