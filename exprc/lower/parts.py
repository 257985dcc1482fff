"""Lowers a reduction that is cut in parts: a fixed number of partial results, and a step that joins them in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exprc.loops import Alloc, Buffer, Index, Kernel, Let, Load, Loop, Store
from exprc.lower.emit import Emitter, Scope, start_value
from exprc.lower.group import Axis, GroupLowering
from exprc.lower.nest import Pass, combined, comment, finished, nest
from exprc.schedule.fuse import Group, Root
from exprc.schedule.plan import Plan
from exprc.size import Dim, ceildiv, minimum, substitute, symbol


def lower_parts(plan: Plan, group: Group, name: str) -> list[Kernel]:
    """A reduction cut in a fixed number of parts: one kernel for the parts, one that joins them in order."""
    return [_Parts(plan, group, name).partial(), _join_kernel(plan, group, f"{name}_join")]


class _Parts(GroupLowering):
    """The first of the two: every block works on one part of the first folded axis, for every outer index."""

    def __init__(self, plan: Plan, group: Group, name: str):
        super().__init__(plan, group, name)
        self.lane = None

    def partial(self) -> Kernel:
        self.outer = {f"i{k}": symbol(f"i{k}", 0, d - 1) for k, d in enumerate(self.group.outer)}  # type: ignore[operator]
        body = Scope()
        for p in self.passes:
            self._run_pass(p, body)
        loops = [(f"i{k}", d, "serial") for k, d in enumerate(self.group.outer)]
        made = nest(loops, body.body)
        block = [Let("part", "int64", Index(symbol("block", 0, self.group.parts - 1)))]
        return Kernel(self.name, tuple(self.emit.buffers), tuple(self.emit.written), self.group.parts, (*block, *made),
                      comment(self.group.roots, self.group.outer) + f", in {self.group.parts} parts")  # fmt: skip

    def _inner_axes(self, p: Pass) -> list[Axis]:
        axes = super()._inner_axes(p)
        name, extent, kind = axes[0].loops[0]
        if kind == "lanes":  # too short to be split: cut the lanes themselves
            name, kind = f"{name}_", "serial"
            axes[0] = Axis(symbol(name, 0, extent - 1), [(name, extent, kind)])  # type: ignore[operator]
        chunk = ceildiv(extent, self.group.parts)
        part = symbol("part", 0, self.group.parts - 1)
        count = minimum(chunk, extent - part * chunk)  # type: ignore[operator]
        moved = part * chunk + symbol("c", 0, chunk - 1)  # type: ignore[operator]
        index = substitute(axes[0].index, {name: moved})
        lanes = [(n, substitute(e, {name: moved}), k) for n, e, k in axes[0].loops[1:]]
        axes[0] = Axis(index, [("c", count, kind), *lanes])
        return axes

    def _result(self, root: Root, cells: Mapping[str, Buffer], at: Dim, scope: Scope) -> None:
        for name, cell in cells.items():
            stored = self.plan.partials[root.node, name]
            self.emit.store(scope, stored, (symbol("part", 0, self.group.parts - 1), *self.outer.values()), Load(cell, at))


def _join_kernel(plan: Plan, group: Group, name: str) -> Kernel:
    emit = Emitter(plan)
    outer = tuple(symbol(f"i{k}", 0, d - 1) for k, d in enumerate(group.outer))  # type: ignore[operator]
    body: list[Any] = []
    for root in group.roots:
        body += _joined_root(plan, emit, root, outer, group.parts)
    made = nest([(f"i{k}", d, "serial") for k, d in enumerate(group.outer)], body)
    return Kernel(name, tuple(emit.buffers), tuple(emit.written), 1, tuple(made), "the parts joined in order")


def _joined_root(plan: Plan, emit: Emitter, root: Root, outer: tuple[Dim, ...], parts: int) -> list[Any]:
    op: Any = root.node.op
    scope = Scope()
    cells: dict[str, Buffer] = {}
    part = symbol("part", 0, parts - 1)
    for acc in op.accs:
        cells[acc.name] = cell = Buffer(emit.fresh(), plan.partials[root.node, acc.name].buffer.dtype, 1, local=True)
        scope.body += [Alloc(cell), Store(cell, 0, start_value(acc.start, cell.dtype))]
    other = {n: emit.load(plan.partials[root.node, n], (part, *outer)) for n in cells}
    scope.body.append(Loop("part", parts, "serial", (combined(op, cells, other),)))
    emit.store(scope, plan.stored[root.node], outer, finished(plan, root, {n: Load(c, 0) for n, c in cells.items()}))
    return scope.body
