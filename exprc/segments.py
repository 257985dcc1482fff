"""Segments: programs with work of the host between them.

Most functions are one program. A graph is cut where only the data decide how it goes on: at a *host operation* (a kernel record without
an implementation, such as `nonzero` and `sort`, which NumPy computes), and at a *read*, a size that must be known before what follows can
be bound (``x[:lengths.max()]``). Every node is computed in the first segment that can; what later segments use is handed to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exprc.compiled import Compiled, Loaded, Stage, storable
from exprc.expr import Constant, Expr, Input, Shared, rebuild, topological
from exprc.forms import Kernel
from exprc.machines import HostCopy
from exprc.reference import value_of
from exprc.runtime.launch import Device
from exprc.shorts import NoShorts
from exprc.types import TupleType

#: How a program is made of roots: (roots, number of outputs, updated variables, inputs) -> Compiled.
Make = Callable[[Sequence[Expr], int, Sequence[Shared], Sequence[Input]], Compiled]


def compiled_of(roots: Sequence[Expr], outputs: int, updates: Sequence[Shared], inputs: Sequence[Input], make: Make) -> Compiled | Segments:
    """Return the program of a graph, or its segments where it has host operations or reads.

    Parameters
    ----------
    roots : the outputs, then the new value of each variable of `updates`.
    make : makes one program.
    """
    levels = _levels(roots)
    last = max(levels.values(), default=0)
    if last == 0:
        return make(storable(roots), outputs, updates, inputs)
    return Segments(list(roots), outputs, list(updates), list(inputs), make, levels, last)


def is_host(node: Expr) -> bool:
    """Tell whether NumPy computes a node between two segments."""
    return isinstance(node.op, Kernel) and not node.op.implementations


def _levels(roots: Sequence[Expr]) -> dict[Expr, int]:
    """The segment in which each node can be computed first: one later than what a host operation or a size waits for."""
    levels: dict[Expr, int] = {}
    for node in topological(roots):
        level = max((levels[i] for i in node.inputs), default=0) + is_host(node)
        levels[node] = max([level, *(levels[read] + 1 for read in _reads(node))])
    return levels


def _reads(node: Expr) -> list[Expr]:
    """The computed values that the sizes of a node follow from."""
    sizes = () if node.op.data is None else node.inputs[node.op.data :]
    found = topological(sizes, stop=lambda n: n.op.name == "dim" or n.op.size is None)
    return [n for n in found if n.inputs and n.op.name != "dim" and n.op.size is None]


@dataclass
class Step:
    """A program and what it hands on: `given` stand for values of earlier segments, `made` are the nodes that it computes."""

    program: Compiled
    given: dict[Expr, Expr]
    made: list[Expr]
    host: list[Expr]


class Segments:
    """The programs of a graph that is cut, called one after the other; they are compiled when they are first reached."""

    shorts = stepped = NoShorts()  # the host works between the programs

    def __init__(
        self, roots: list[Expr], outputs: int, updates: list[Shared], inputs: list[Input], make: Make, levels: Mapping[Expr, int], last: int
    ):
        self.roots, self.outputs, self.updates, self.inputs = roots, outputs, updates, inputs
        self.levels, self.last_level = levels, last
        self.items: dict[Expr, list[Expr]] = {}  # of the host operations with several results, those that are used
        for node in filter(_of_host, topological(roots)):
            self.items.setdefault(node.inputs[0], []).append(node)
        crossing = self._crossing()
        stand_ins: dict[Expr, Expr] = {n: _stand_in(n) for n in crossing}
        self.steps = [self._step(level, crossing, stand_ins, make) for level in range(last + 1)]

    def _crossing(self) -> list[Expr]:
        """The nodes whose values go from one segment to another, or to the host, in order."""
        found: dict[Expr, None] = {}
        for node in topological(self.roots):
            for i in node.inputs:
                if self._goes_over(i, node):
                    found[i] = None
            found.update(dict.fromkeys(_reads(node)))
        found.update(dict.fromkeys(r for r in self.roots if self._goes_over(r, None)))
        return list(found)

    def _goes_over(self, x: Expr, user: Expr | None) -> bool:
        """Whether a value goes from one segment to another for a user, None being the caller of the function."""
        if not self._computed(x):
            return False
        level = self.last_level if user is None else self.levels[user]
        return is_host(x) or _of_host(x) or self.levels[x] < level or (user is not None and is_host(user))

    def _computed(self, x: Expr) -> bool:
        return bool(x.inputs) and not isinstance(x.type, TupleType)

    def _step(self, level: int, crossing: Sequence[Expr], stand_ins: Mapping[Expr, Expr], make: Make) -> Step:
        is_last = level == self.last_level
        made = [n for n in crossing if self.levels[n] == level and not is_host(n) and not _of_host(n)]
        host = [n for n in topological(self.roots) if is_host(n) and self.levels[n] == level + 1]
        wanted = [*made, *self.roots] if is_last else made
        earlier = {n: s for n, s in stand_ins.items() if n not in made}
        roots = rebuild(wanted, earlier)
        used = set(topological(roots))
        given = {n: s for n, s in earlier.items() if s in used}
        inputs = [x for x in (*self.inputs, *given.values()) if x in used]
        outputs, updates = (len(made) + self.outputs, self.updates) if is_last else (len(made), [])
        return Step(make(storable(roots), outputs, updates, inputs), given, made, host)  # type: ignore[arg-type]

    @property
    def parts(self) -> list[Compiled]:
        """The programs in the order of their calls."""
        return [step.program for step in self.steps]

    @property
    def device(self) -> Device | None:
        """Where the programs run, None on the CPU."""
        return self.steps[0].program.device

    def leave(self, outputs: frozenset[int]) -> None:
        """Say which outputs stay on the device."""
        last = self.steps[-1]
        last.program.leave(frozenset(len(last.made) + k for k in outputs))

    def copies(self) -> list[HostCopy]:
        """What the programs copy between the host and a device; where the host works between them, also what it takes and gives."""
        return [copy for part in self.parts for copy in part.copies()]

    def launched(self) -> list[str]:
        """Return a line for each launch of a call."""
        return [launch for part in self.parts for launch in part.launched()]

    @property
    def leaves(self) -> list[Expr]:
        """The inputs and shared variables of the whole graph."""
        return [n for n in topological(self.roots) if n.op.form == "leaf" and not isinstance(n, Constant)]

    @property
    def last(self) -> Loaded | None:
        """What the last segment loaded last, with the stages and the texts of all."""
        loaded = [part.last for part in self.parts]
        if not loaded or None in loaded:
            return None
        whole = [one for one in loaded if one is not None]
        stages = self.parts[0].precompiled.copy()
        for k, one in enumerate(whole):
            own = one.stages[len(self.parts[k].precompiled) :]
            stages += [Stage(f"{k} {stage.name}", stage.seconds, stage.show) for stage in own]
        return replace(whole[-1], stages=stages, text=[line for one in whole for line in one.text])

    def call(self, arrays: Mapping[Expr, Any]) -> list[Any]:
        """Run on arrays of the inputs, as `Compiled.call` does."""
        values: dict[Expr, Any] = dict(arrays)
        results: list[Any] = []
        for step in self.steps:
            inner: dict[Expr, Any] = {x: values[x] for x in step.program.inputs if x in values}
            inner.update({s: values[n] for n, s in step.given.items()})
            results = step.program.call(inner)
            values.update(zip(step.made, results))
            for node in step.host:
                self._run_host(node, values)
        return results[len(self.steps[-1].made) :]

    def _run_host(self, node: Expr, values: dict[Expr, Any]) -> None:
        """Compute a host operation with NumPy; its results go to the node, or to those of its items that are used."""
        given = [_value(i, values) for i in node.inputs]
        made = value_of(node, given)
        if not isinstance(node.type, TupleType):
            values[node] = np.require(made, node.dtype, "C")
            return
        for item in self.items.get(node, ()):
            values[item] = np.require(made[item.params["i"]], item.dtype, "C")


def _of_host(x: Expr) -> bool:
    """Whether it is one of the results of a host operation."""
    return x.op.form == "item" and is_host(x.inputs[0])


def _stand_in(node: Expr) -> Input:
    made = Input(node.type, node.name or node.op.name)
    object.__setattr__(made, "line", node.line)
    return made


def _value(x: Expr, values: Mapping[Expr, Any]) -> Any:
    if isinstance(x, Constant):
        return x.value
    return x.container.value if isinstance(x, Shared) else values[x]
