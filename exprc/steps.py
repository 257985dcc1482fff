"""Several steps in one call: ``function(..., steps=K)``.

On a device as many steps as follow each other in one program are one set of launches, prepared once, with places for the outputs of each.
The host has to know beforehand only which numbers the sizes of every step follow from: where such a number is a variable that the function
itself updates (the number of a batch), its values are worked out here. Everywhere else, and on the CPU, the steps are calls one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Constant, Expr, Shared, leaves
from exprc.machines import Changed
from exprc.reference import evaluate
from exprc.runtime.device_arrays import DeviceArray

#: Steps of the numbers that sizes follow from, known by heart; launches that are prepared together.
KNOWN, LAUNCHES = 1 << 16, 1 << 12


class Walk:
    """The integer scalars that sizes follow from, from step to step.

    moving : those that the function updates, by position. known : whether what they become follows from these scalars alone.
    """

    def __init__(self, scalars: Sequence[Expr], updates: Mapping[Any, Expr]):
        self.scalars = list(scalars)
        self.moving = [(k, x) for k, x in enumerate(scalars) if isinstance(x, Shared) and x.container in updates]
        self.new = [updates[x.container] for _, x in self.moving]
        self.known = all(isinstance(x, Constant) or x in self.scalars for x in leaves(self.new))
        self._next: dict[tuple[int, ...], tuple[int, ...]] = {}

    def after(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """The numbers after a step."""
        found = self._next.get(numbers)
        if found is None:
            values = {x: np.asarray(n, x.dtype) for x, n in zip(self.scalars, numbers)}
            made = list(numbers)
            for (k, _), value in zip(self.moving, evaluate(self.new, values)):
                made[k] = int(value)
            if len(self._next) >= KNOWN:
                self._next.clear()
            found = self._next[numbers] = tuple(made)
        return found

    def path(self, numbers: tuple[int, ...], steps: int) -> list[tuple[int, ...]]:
        """The numbers before each step, and after the last one."""
        made = [numbers]
        for _ in range(steps):
            made.append(self.after(made[-1]) if self.moving else numbers)
        return made

    def arrived(self, numbers: tuple[int, ...]) -> None:
        """Tell the variables on the host what the device has made of them, too: nobody needs to read that back."""
        for k, x in self.moving:
            x.container.known(numbers[k])


def on_device(program: Any, arrays: Mapping[Expr, Any], steps: int) -> list[Any] | None:
    """Run steps of a program on a device; return the outputs with an axis of steps in front, or None where the host must act between them.

    program : a `Compiled`, or the segments of a function, between which the host always acts.
    """
    walk: Walk | None = getattr(program, "walk", None)
    if walk is None or not walk.known or not program.machine.stepwise:
        return None
    values = program.machine.values(program.leaves, arrays)
    numbers = walk.path(tuple(int(values[x]) for x in walk.scalars), steps)
    shapes = tuple(n for x in program.leaves for n in values[x].shape)
    found = [program.runner((*shapes, *own)) for own in numbers[:-1]]
    runs = list(_runs(found))
    plans = [runner.loaded.plan for runner, _ in runs]
    if any(plan.replacements for plan in plans) or len(runs) > 1 and any(plan.checks and plan.containers for plan in plans):
        return None
    parts: list[Any] = []
    for runner, sizes in runs:
        try:
            parts.append(runner.call_steps(values, sizes))
        except Changed:  # by another thread
            if parts:
                raise ValueError(report("a variable got another shape between the steps of a call")) from None
            return on_device(program, arrays, steps)
    walk.arrived(numbers[-1])
    if len(runs) == 1:
        program.stepped.note(numbers[0], runs[0][0], runs[0][1], arrays, numbers[-1] if walk.moving else None, True)
    return parts[0] if len(parts) == 1 else [joined(own, np.concatenate) for own in zip(*parts)]


def _runs(found: Sequence[tuple[Any, tuple[int, ...]]]) -> Iterator[tuple[Any, list[tuple[int, ...]]]]:
    """Steps that follow each other in one program, with the sizes of each; no more than are prepared together."""
    for runner, group in groupby(found, key=lambda one: one[0]):
        sizes = [own for _, own in group]
        most = max(LAUNCHES // max(len(runner.launches), 1), 1)
        yield from ((runner, sizes[k : k + most]) for k in range(0, len(sizes), most))


@contextmanager
def all_or_none(containers: Sequence[Any]) -> Iterator[None]:
    """Give variables the values back that they had before, where one of several calls fails or is interrupted."""
    old = [(c, c.get(internal=True)) for c in containers]
    try:
        yield
    except BaseException:
        for container, value in old:
            if isinstance(value, DeviceArray):
                container.replace_by(value)
            else:
                container.write(value)
        raise


def one_by_one(call: Callable[[], list[Any]], steps: int, outputs: int) -> list[Any]:
    """Make steps one after the other; return the outputs with an axis of steps in front."""
    rows = [call() for _ in range(steps)]
    return [joined([row[k] for row in rows], np.stack) for k in range(outputs)]


def joined(values: Sequence[Any], join: Callable[[Sequence[Any]], Any]) -> Any:
    """Results of several steps as one array, on the device where they are there."""
    shapes = {value.shape[1:] if join is np.concatenate else value.shape for value in values}
    if len(shapes) > 1:
        fix = "return only what has the same shape after every step, a mean for one"
        raise ValueError(report(f"an output has other shapes in other steps: {' and '.join(map(str, sorted(shapes)))}", fix=fix))
    made = join([np.asarray(value) for value in values])
    first = values[0]
    if not isinstance(first, DeviceArray):
        return made
    memory = first.source.allocate(max(made.nbytes, 1), "outputs of several steps")
    first.source.write(memory.address, made)
    return DeviceArray(first.source, memory, memory.address, made.shape, made.dtype)
