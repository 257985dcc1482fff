"""The short ways of a program: what is called again with the same shapes is called by C (see `exprc.runtime.direct`).

Each refuses what it was not made for, with NotImplemented and without having done anything; whoever calls then takes the general way.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from exprc.expr import Expr, Input, Shared
from exprc.machines import Direct, Runner
from exprc.runtime.direct import holding

if TYPE_CHECKING:
    from exprc.steps import Walk

#: Short ways that one function keeps on the CPU, each with an arena, and the bytes of their arenas.
SHORTS, ARENAS = 8, 1 << 28
#: Sets of numbers that a short way on a device knows.
NUMBERS = 1 << 14


def general(*values: Any) -> Any:
    """The short way where there is none: whoever calls takes the general one."""
    return NotImplemented


class NoShorts:
    """None at all.

    call : what is asked, with the values of a call. plain : the positions of inputs whose numbers may come as Python's, where that matters.
    """

    call: Direct = staticmethod(general)
    plain: frozenset[int] = frozenset()


class ByShapes(NoShorts):
    """Those of a program for the CPU; each is bound to shapes. holders : whose locks are held meanwhile."""

    def __init__(self, inputs: Sequence[Input], holders: Sequence[Any]):
        self.inputs, self.holders = inputs, holders
        self.made: dict[tuple[Runner, tuple[int, ...]], Direct] = {}
        self.called: Any = None  # what was called last,
        self.served: Any = None  # and what `call` was made for
        self.lock = threading.Lock()  # of `made`: where no variable is written, several threads note what they called

    def note(self, found: tuple[Runner, tuple[int, ...]], values: Mapping[Expr, Any]) -> None:
        """Take the short way to what was called, if there is one; it is made, once, for what is called twice in a row."""
        if found is self.served:
            return
        short = self.made.get(found)
        if short is None and found is self.called:
            inner = found[0].direct(self.inputs, values, found[1])
            short = (holding(self.holders, inner) if inner and self.holders else inner) or general
            self._keep(found, short)
        if short is not None:
            self.served, self.call = found, short
        self.called = found

    def _keep(self, found: tuple[Runner, tuple[int, ...]], short: Direct) -> None:
        """Keep a short way, which has an arena of its own, and as many of those before it as there is room for."""
        with self.lock:
            while len(self.made) >= SHORTS or (self.made and sum(r.arena for r, _ in (*self.made, found)) > ARENAS):
                del self.made[next(iter(self.made))]
            self.made[found] = short


class ByNumbers(NoShorts):
    """Those of a program for a device, by the numbers that its sizes follow from; shapes are seen by what each is bound to."""

    def __init__(self, inputs: Sequence[Input], holders: Sequence[Any], walk: Walk):
        self.inputs, self.walk = inputs, walk
        self.sources = [x.container if isinstance(x, Shared) else inputs.index(x) for x in walk.scalars]
        self.numbers = [k for k in self.sources if isinstance(k, int)]
        self.rows: dict[tuple[int | None, ...], tuple[Direct, tuple[int, ...] | None, list[Any]]] = {}
        self.holders = holders

    def note(
        self, numbers: tuple[int, ...], runner: Any, sizes: Sequence[tuple[int, ...]], arrays: Mapping[Expr, Any], after: Any, stacked: bool
    ) -> None:
        """Know the short way of a call that was made, from the second call of its runner on.

        sizes : of each step. after : the numbers after the call, None where they are not known. stacked : whether outputs have an axis of
        steps.
        """
        short = runner.shortest(self.inputs, arrays, sizes, stacked)
        if short is None:
            return
        if len(self.rows) >= NUMBERS:
            self.rows.clear()
        self.rows[numbers] = short, after, [arrays[self.inputs[k]] for k in self.numbers]
        if self.call is general:
            self.call = holding(self.holders, self._call) or general

    def _call(self, *values: Any) -> Any:
        row = self.rows.get(tuple([self._number(s, values) if type(s) is int else int(s) for s in self.sources]))
        if row is None:
            return NotImplemented
        short, after, arrays = row
        made = short(*(self._with(values, arrays) if self.numbers else values))
        if after is not None and made is not NotImplemented:
            self.walk.arrived(after)
        return made

    def _number(self, k: int, values: Sequence[Any]) -> int | None:
        """The number that an input is given; None where it is no plain one."""
        value = values[k] if k < len(values) else None
        plain = k in self.plain if type(value) is int else getattr(value, "shape", None) == ()
        return int(value) if plain else None  # type: ignore[arg-type]

    def _with(self, values: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
        """The values of a call, with arrays in the place of Python's numbers."""
        made = list(values)
        for k, array in zip(self.numbers, arrays):
            if type(made[k]) is int:
                made[k] = array
        return made
