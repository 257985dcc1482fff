"""The short way to call a program of a device: bound once, a call is a round trip made in C (see `exprc.runtime.roundtrip`).

It is there beside the general way, for what is called twice: plain arrays of the same shapes, variables that stayed on the device. It keeps
no memory of the device from others: the frame with the places that it is bound to is taken for a call like by any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from exprc.expr import Expr, Shared
from exprc.machines import Direct
from exprc.machines.frame import AFTER_STATUS, Ready
from exprc.runtime.direct import Operand, Result, There, direct
from exprc.runtime.roundtrip import Block, Journey, Piece

if TYPE_CHECKING:
    from exprc.machines.device import DeviceRunner


class Trip(NamedTuple):
    """call : takes the arrays of a call, then any sizes. check : raises what the driver said."""

    call: Direct
    check: Callable[[], None]


def trip_of(
    runner: DeviceRunner, ready: Ready, inputs: Sequence[Expr], values: Mapping[Expr, Any], steps: int, stacked: bool
) -> Trip | None:
    """Bind the short way of a call that makes so many steps, or return None where there is none.

    inputs : of the callable, in order. values : of a call like those to come. stacked : whether outputs have an axis of steps.
    """
    plan, limits = runner.loaded.plan, runner.guard.given(variables=True)
    if runner.left or plan.replacements or limits is None or not all(isinstance(values[x], np.ndarray) for x in inputs):
        return None
    operands = [Operand(np.dtype(x.dtype), values[x].shape, -1, None, limits.get(x, -1)) for x in inputs]
    sizes = len(runner.loaded.lowered.sizes)
    if sizes:
        operands.append(Operand(np.dtype(np.int64), (steps, sizes), -1))
    journey, slots = _journey(runner, ready, list(inputs), 8 * steps * sizes)
    made = runner.program.device.round_trip(ready.prepared, journey)
    if made is None:
        return None
    front = (steps,) if stacked else ()
    results = [Result(np.empty, d, (*front, *shape), slots.get(k, -1)) for k, (_, shape, d) in enumerate(runner.outputs)]
    bound = [o._replace(slot=slots.get(x, -1)) for o, x in zip(operands, [*inputs, None])]
    there = [There(leaf.container, resident, leaf.container in runner.written) for leaf, (_, resident) in _variables(runner, ready)]
    call = direct(made.bound(), bound, results, there)
    return call and Trip(call, made.check)


def _variables(runner: DeviceRunner, ready: Ready) -> list[tuple[Shared, tuple[Any, Any]]]:
    leaves = [leaf for _, leaf in runner.leaves if isinstance(leaf, Shared)]
    return list(zip(leaves, ready.residents, strict=True))


def _journey(runner: DeviceRunner, ready: Ready, inputs: list[Expr], sizes: int) -> tuple[Journey, dict[Any, int]]:
    """What is copied, and the slots: of inputs, of the sizes (None) and of outputs (by number)."""
    start, nbytes = ready.given
    given: list[tuple[Any, int, int]] = [(p.leaf, p.address - start, p.nbytes) for p in ready.inputs if p.leaf in inputs]
    given += [(None, 0, sizes)] if sizes else []
    checks = bool(runner.loaded.plan.checks) and not runner.guard.containers  # of what is written all indices are looked at before
    back = _back(ready, checks, -(-nbytes // AFTER_STATUS) * AFTER_STATUS)
    slots: dict[Any, int] = {}
    pieces = []
    for x, offset, length in given:
        slots[x] = len(slots)
        pieces.append(Piece(slots[x], offset, 1, length, length))
    results = []
    for k in runner.read:
        place = ready.outputs[k]
        if place.nbytes:
            slots[k] = len(slots)
            block = next(b for b in back if b.address <= place.address < b.address + b.bytes)
            results.append(Piece(slots[k], block.offset + place.address - block.address, place.steps, place.nbytes, place.stride))
    return Journey(pieces, Block(start, 0, nbytes), back, results, checks), slots


def _back(ready: Ready, checks: bool, offset: int) -> list[Block]:
    """What comes back to pinned memory, from an offset on."""
    blocks = []
    for address, nbytes in ready.comes_back(checks):
        blocks.append(Block(address, offset, nbytes))
        offset += -(-nbytes // AFTER_STATUS) * AFTER_STATUS
    return blocks
