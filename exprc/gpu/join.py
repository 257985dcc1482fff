"""Maps a reduction that is cut in parts: a kernel for the parts, one that joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exprc.gpu.teams import WARP, Shape, Teams, shape_of
from exprc.loops import Buffer, Kernel, Load, Loop
from exprc.lower.emit import Scope
from exprc.lower.nest import Pass, combined, comment
from exprc.schedule.fuse import Group, Root
from exprc.schedule.plan import Plan
from exprc.size import Dim, ceildiv, minimum, product, symbol


def lower_parts(plan: Plan, group: Group, name: str) -> list[Kernel]:
    """Return the two kernels of a reduction in parts."""
    return [_Parts(plan, group, name).kernel(), _Join(plan, group, f"{name}_join").kernel()]


class _Parts(Teams):
    """The first of the two: a team works on one part of the folded elements of one outer index."""

    def _passes(self) -> list[Pass]:
        return [p for p in super()._passes() if any(r.is_reduce for r in p.roots)]

    def _dims(self) -> list[tuple[str, Dim]]:
        return [("part", self.group.parts), *super()._dims()]

    def _shape(self) -> Shape:
        folded = self.plan.number(product(self.passes[0].inner))
        return shape_of(self.plan.number(self.count), -(-folded // self.group.parts), self._column())

    def _loop(self, n: Dim, body: Sequence[Any]) -> Loop:
        chunk = ceildiv(n, self.group.parts)
        begin = self.outer["part"] * chunk  # type: ignore[operator]
        return Loop("r", minimum(n, begin + chunk), "serial", tuple(body), begin + self.lane, self.shape.size)  # type: ignore[operator]

    def _comment(self) -> str:
        return comment([r for r in self.group.roots if r.is_reduce], self.group.outer) + f", in {self.group.parts} parts"

    def _result(self, root: Root, cells: Mapping[str, Buffer], at: Dim, scope: Scope) -> None:
        index = (self.outer["part"], *self._outer_index())
        store = Scope()
        for name, cell in cells.items():
            self.emit.store(store, self.plan.partials[root.node, name], index, Load(cell, at))
        self._guarded(scope, store.body, *self._first())


class _Join(Teams):
    """The second: a team folds the parts of one outer index, and works out what is made of the results at once."""

    def _shape(self) -> Shape:
        count = self.plan.number(self.count)
        return shape_of(count, self.group.parts, column=count >= WARP)

    def _run_pass(self, p: Any, body: Scope, later: Any) -> None:
        if not any(r.is_reduce for r in p.roots):  # formulas of what was joined
            super()._run_pass(p, body, later)
            return
        outer = self._outer_index()
        part = symbol("part", 0, self.group.parts - 1)
        for root in p.roots:
            op: Any = root.node.op
            cells = self._accumulators(root, body)
            other = {n: self.emit.load(self.plan.partials[root.node, n], (part, *outer)) for n in cells}
            loop = Loop("part", self.group.parts, "serial", (combined(op, cells, other),), self.lane, self.shape.size)
            body.body.append(loop)
            self._fold(root, cells, body)
            self._result(root, cells, 0, body)

    def _comment(self) -> str:
        then = [r.node.op.name for r in self.group.roots if not r.is_reduce]
        return ", ".join(["the parts joined in order", *then])
