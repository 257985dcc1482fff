"""All updates of a call are made, or none: what keeps variables whole where an index turns out to be out of bounds.

A program writes variables in place while it still reads indices. So before it runs, the indices that the call itself gives are compared
with the lengths of their axes; only where one may be out of bounds, or where indices are computed by the program, the old values are kept
until it has ended well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from exprc.blame import as_written
from exprc.errors import report
from exprc.expr import Constant, Expr, Shared
from exprc.schedule.plan import Plan
from exprc.schedule.sizes import Bound
from exprc.size import Dim

Array = np.ndarray[Any, Any]


class Guard:
    """Keeps the old values of the variables that a program updates, if one of its indices may be out of bounds.

    Parameters
    ----------
    plan, bound : the program's; number : the value of a size in the calls that are guarded.
    """

    def __init__(self, plan: Plan, bound: Bound, number: Callable[[Dim], int]):
        self.plan = plan
        self.containers = list(plan.containers.values()) if plan.checks else []
        self.limits: set[tuple[Expr, int]] = set()
        self.known: dict[tuple[Expr, int], int] = {}
        self.unknown = False
        for node, limit in zip(plan.checks, plan.limits) if self.containers else ():
            self._take(_leaf(node), bound, number(limit))
        self.variables = [(leaf, limit) for leaf, limit in self.limits if isinstance(leaf, Shared)]
        self.inputs = [(leaf, limit) for leaf, limit in self.limits if not isinstance(leaf, Shared)]

    def _take(self, leaf: Expr | None, bound: Bound, limit: int) -> None:
        if leaf is None:
            self.unknown = True
        elif isinstance(leaf, Constant):
            self.unknown = self.unknown or not _within(leaf.value, limit)
        else:
            self.limits.add((bound.leaves[leaf], limit))

    def given(self, variables: bool = False) -> dict[Expr, int] | None:
        """The inputs that are indices, with the least length that each must be within; None where others are to be looked at, too.

        variables : whether whoever asks looks at those that are variables (see `settled`).
        """
        if self.unknown or (self.variables and not variables):
            return None
        return {leaf: min(n for x, n in self.inputs if x is leaf) for leaf, _ in self.inputs}

    def settled(self, steps: int = 1) -> bool:
        """Whether no index that is a variable may be out of bounds in so many steps."""
        for leaf, limit in self.variables:  # a few lines of Python at every call
            if steps > 1 and leaf.container in self.containers or not self._variable_holds(leaf, limit):
                return False
        return True

    def doubts(self, values: Mapping[Expr, Array], steps: int = 1) -> bool:
        """Tell whether variables are written and an index may be out of bounds, in one of so many steps."""
        if not self.containers or self.unknown:
            return bool(self.containers)
        if not self.settled(steps):
            return True
        given = [(values[leaf], limit) for leaf, limit in self.inputs]  # one that is on a device is not fetched to be looked at
        return not all(isinstance(value, np.ndarray) and _within(value, limit) for value, limit in given)

    def _variable_holds(self, leaf: Shared, limit: int) -> bool:
        """Whether all elements of a variable are within bounds; they are looked at again when it has changed."""
        container = leaf.container
        lent, edits = container.lent, container.edits  # before it is looked at: what is set meanwhile counts as another edit
        if not lent and self.known.get((leaf, limit)) == edits:
            return True
        holds = _within(container.value, limit)
        if holds:
            self.known[leaf, limit] = edits
        return holds

    def keep(self, values: Mapping[Expr, Array]) -> list[tuple[Array, Array]]:
        """Return (storage, copy of what it holds) of each variable that is written, or nothing if all indices are within bounds."""
        return [(c.value, c.value.copy()) for c in self.containers] if self.doubts(values) else []

    def message(self, status: Sequence[int]) -> str:
        """Return the text about the index that a program found out of bounds: which check, the index, the length."""
        node = as_written(self.plan.checks[status[0] - 1])
        text = f"index {status[1]} is out of bounds for an axis of length {status[2]}"
        there = f"indices go from 0 to {status[2] - 1}, or from -{status[2]} to -1 from the end" if status[2] else "the axis is empty"
        fix = there + ("; no variable was updated" if self.plan.containers else "")
        return report(text, [("index", f"{node.label}  {node.type}", node.where)], fix)


def _leaf(node: Expr) -> Expr | None:
    """The leaf whose elements a node hands on, in whatever order; None if they are computed."""
    while node.op.form == "view" and len(node.op.data_inputs(node)) == 1 or node.op.name == "cast" and node.inputs[0].dtype != "uint64":
        node = node.inputs[0]
    return node if node.op.form == "leaf" and np.dtype(node.dtype).kind in "iu" else None


def _within(indices: Array, limit: int) -> bool:
    if indices.ndim == 0:
        return -limit <= int(indices) < limit
    return indices.size == 0 or (int(indices.min()) >= -limit and int(indices.max()) < limit)
