"""Lowers a Group: one nest of loops, with one axis in vector lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exprc.expr import Expr, topological
from exprc.loops import Accum, Alloc, Apply, Buffer, Index, Kernel, Let, Load, Loop, Store
from exprc.lower.emit import Emitter, Scope, holds, start_value
from exprc.schedule.fuse import Group, Root, axis_index, outer_index, own_index, placed, source_of
from exprc.schedule.plan import Plan, Stored
from exprc.size import Dim, Size, Symbol, atoms_of, bounds, ceildiv, floordiv, minimum, mod, product, substitute, symbol
from exprc.types import itemsize

#: Fewer blocks than this leave threads idle; more cost a division each.
BLOCKS = 64
#: Elements that one block of a plain elementwise loop works on.
CHUNK = 4096


@dataclass
class Pass:
    """Roots of a Group that run in the same inner loops."""

    inner: tuple[Dim, ...]
    roots: list[Root]


@dataclass
class Axis:
    """A loop: its symbol in terms of loop variables, and the loops themselves from outside in (name, extent, kind)."""

    index: Dim
    loops: list[tuple[str, Dim, str]]


class GroupLowering:
    """Lowers one Group to a Kernel.

    One axis of every pass runs in vector lanes: an outer axis (`lane` is its number; accumulators are arrays of one element a lane), or
    an inner axis of each pass (accumulators are joined across lanes at the end). The choice is the axis along which most loads and
    stores go to the next element.
    """

    def __init__(self, plan: Plan, group: Group, name: str):
        self.plan, self.group, self.name = plan, group, name
        self.emit = Emitter(plan)
        self.passes = self._passes()
        self.votes = self._votes()
        self.lane = self._lane()
        self.width = self._width()
        self.flat = self._flat()

    # -- the shape of the nest

    def _passes(self) -> list[Pass]:
        passes: list[Pass] = []
        inside = {r.node for r in self.group.roots}
        for root in self.group.roots:
            inner = self._inner_dims(root)
            reads = [(b, at) for b, at in self.plan.reads(root, self._index(root)) if b in inside and b is not root.node]
            last = passes[-1] if passes else None
            if last is not None and last.inner == inner and self._same_pass(last, root, reads):
                last.roots.append(root)
            else:
                passes.append(Pass(inner, [root]))
        return passes

    def _same_pass(self, last: Pass, root: Root, reads: Any) -> bool:
        mine = {r.node: r for r in last.roots}
        p = len(self.group.outer)
        here = tuple(axis_index(f"i{p + k}", d) for k, d in enumerate(last.inner))
        for base, at in reads:
            if base in mine and (mine[base].is_reduce or root.is_reduce or tuple(at[p:]) != here):
                return False
        return True

    def _inner_dims(self, root: Root) -> tuple[Dim, ...]:
        if root.is_reduce:
            operand = self.plan.dims[root.node.inputs[0]]
            return tuple(operand[a] for a in root.node.params["axes"])
        return tuple(root.dims[len(self.group.outer) :])

    def _index(self, root: Root) -> tuple[Dim, ...]:
        return own_index(root, self.plan.dims)

    def _inner_names(self, root: Root) -> list[str]:
        p = len(self.group.outer)
        return [f"r{k}" if root.is_reduce else f"i{p + k}" for k in range(len(self._inner_dims(root)))]

    # -- which axis runs in lanes

    def _accesses(self, root: Root) -> list[tuple[Stored, tuple[Dim, ...]]]:
        index = self._index(root)
        found = [(self.plan.stored[b], at) for b, at in self.plan.reads(root, index) if b in self.plan.stored and self.plan.stored[b].dims]
        if root.node in self.plan.stored and not root.is_reduce:
            at = placed(root, index, self.plan.dims)
            found.append((self.plan.stored[root.node], at))
        elif root.is_reduce and root.node in self.plan.stored:
            found.append((self.plan.stored[root.node], outer_index(root.dims)))
        return found

    def _votes(self) -> dict[str, int]:
        """How many accesses go to the next element along each symbol; one that is split in lanes counts more.

        The store of a reduction's result does not count: it comes once, after the loops.
        """
        votes: dict[str, int] = {}
        for root in self.group.roots:
            for stored, at in self._accesses(root)[: -1 if root.is_reduce and root.node in self.plan.stored else None]:
                address = stored.address(at)
                if stored.layout.lanes:
                    # what is stored in lanes must run along them: only then can the loop clear its padding lanes
                    weight = 1 << 20 if stored is self.plan.stored.get(root.node) else 8
                    for name in symbol_names(at[0]):
                        votes[name] = votes.get(name, 0) + weight
                elif isinstance(address, Size):
                    for atoms, factor in address.terms.items():
                        if factor == 1 and len(atoms) == 1 and isinstance(atoms[0], Symbol):
                            votes[atoms[0].name] = votes.get(atoms[0].name, 0) + 1
        return votes

    def _lane(self) -> int | None:
        """The outer axis that runs in lanes; None if an inner axis does."""
        outer = [(self.votes.get(f"i{k}", 0), k) for k in range(len(self.group.outer))]
        inner = [v for name, v in self.votes.items() if name.startswith("r") or int(name[1:]) >= len(outer)]
        best = max(outer, default=(0, 0))
        if not outer or (best[0] == 0 and inner) or best[0] < max(inner, default=0):
            return None
        return best[1] if best[0] else len(outer) - 1

    def _width(self) -> int:
        """How many lanes: those of a split layout, else enough for four vectors."""
        split = [s.layout.lanes for root in self.group.roots for s, _ in self._accesses(root) if s.layout.lanes]
        if split:
            return split[0]
        sizes = [itemsize(r.value.dtype) for r in self.group.roots]
        return 4 * self.plan.lanes_of(max(min(sizes), 4))

    def _flat(self) -> Dim | None:
        """The one address that every access has, if the whole Group is one elementwise loop over memory; None if not."""
        if any(p.inner for p in self.passes) or any(r.is_reduce or r.part is not None for r in self.group.roots) or not self.group.outer:
            return None
        accesses = [a for r in self.group.roots for a in self._accesses(r)]
        flat = next((s.address(at) for s, at in reversed(accesses) if s.dims == self.group.outer), None)
        if flat is None or any(_uses_index(r.node, self.plan) for r in self.group.roots):
            return None
        for stored, at in accesses:
            address = stored.address(at)
            if address != flat and isinstance(address, Size):
                return None
            if stored.layout.lanes and mod(stored.dims[0], stored.layout.lanes) != 0:
                return None
        return flat

    # -- the loops

    def kernel(self) -> Kernel:
        body, blocks = self._flat_body() if self.flat is not None else self._nest()
        return Kernel(
            self.name, tuple(self.emit.buffers), tuple(self.emit.written), blocks, tuple(body), comment(self.group.roots, self.group.outer)
        )

    def _flat_body(self) -> tuple[list[Any], Dim]:
        total = product(self.group.outer)
        scope = Scope()
        block, e = symbol("block"), symbol("e", 0, CHUNK - 1)
        self.emit.address = lambda stored, at: block * CHUNK + e if stored.address(at) == self.flat else stored.address(at)
        for root in self.group.roots:
            self._store_root(root, self._index(root), scope)
        return [Loop("e", minimum(CHUNK, total - block * CHUNK), "lanes", tuple(scope.body))], ceildiv(total, CHUNK)  # type: ignore[operator]

    def _store_root(self, root: Root, index: tuple[Dim, ...], scope: Scope) -> None:
        if root.part is not None:
            value = self.emit.value(root.value, index, scope)
        else:
            value = self.emit.compute(root.node, index, scope)
        scope.memo[root.node, index] = value
        if root.node in self.emit.local:
            target = self.emit.local[root.node](index)
            scope.body.append(Store(target.buffer, target.address, value))
        elif root.node in self.plan.stored:  # else it is local to one flat loop: the value just worked out serves its readers
            self.emit.store(scope, self.plan.stored[root.node], placed(root, index, self.plan.dims), value)

    def _nest(self) -> tuple[list[Any], Dim]:
        if self.lane is not None:
            self.width = self._inner_width(self.group.outer[self.lane])
        outer = [self._outer_axis(k, d) for k, d in enumerate(self.group.outer)]
        self.outer = {f"i{k}": axis.index for k, axis in enumerate(outer)}
        self.lane_count = outer[self.lane].loops[-1][1] if self.lane is not None else 1
        body = Scope()
        self._locals(body)
        for p in self.passes:
            self._run_pass(p, body)
        loops = [loop for k, axis in enumerate(outer) for loop in (axis.loops[:-1] if k == self.lane else axis.loops)]
        return self._grid(loops, body.body)

    def _outer_axis(self, k: int, dim: Dim) -> Axis:
        name = f"i{k}"
        if k != self.lane:
            return Axis(symbol(name, 0, dim - 1), [(name, dim, "serial")])  # type: ignore[operator]
        return split_axis(name, dim, self.width)

    def _grid(self, loops: list[tuple[str, Dim, str]], body: list[Any]) -> tuple[list[Any], Dim]:
        """Leading loops become blocks until there are enough of them; the rest stay loops."""
        blocks: Dim = 1
        taken = 0
        while taken < len(loops) and self.plan.number(blocks) < BLOCKS:
            blocks = blocks * loops[taken][1]  # type: ignore[operator]
            taken += 1
        for name, extent, kind in reversed(loops[taken:]):
            body = [Loop(name, extent, kind, tuple(body))]
        lets: list[Any] = []
        rest: Dim = symbol("block", 0, blocks - 1)  # type: ignore[operator]
        for name, extent, _ in reversed(loops[:taken]):
            whole = floordiv(rest, extent) if name != loops[0][0] else 0
            lets.append(Let(name, "int64", Index(mod(rest, extent) if name != loops[0][0] else rest)))
            rest = whole
        return [*reversed(lets), *body], blocks

    def _locals(self, body: Scope) -> None:
        """Values that only this Group needs live in arrays of one element a lane (and of one row, if they have inner axes)."""
        lanes = self.width if self.lane is not None else 1
        for root in self.group.roots:
            if root.node not in self.plan.local:
                continue
            inner = product(root.dims[len(self.group.outer) :])
            cell = Buffer(self.emit.fresh(), root.node.dtype, inner * lanes, local=True)  # type: ignore[operator]
            body.body.append(Alloc(cell))
            self.emit.local[root.node] = self._local_load(cell, root)

    def _local_load(self, cell: Buffer, root: Root) -> Any:
        p = len(self.group.outer)
        inner = root.dims[p:]

        def load(index: tuple[Dim, ...]) -> Load:
            position: Dim = 0
            for j, d in zip(index[p:], inner):
                position = position * d + j  # type: ignore[operator]
            if self.lane is not None:
                position = position * self.width + symbol("l", 0, self.width - 1)  # type: ignore[operator]
            return Load(cell, position)

        return load

    # -- passes

    def _run_pass(self, p: Pass, body: Scope) -> None:
        reduces = [r for r in p.roots if r.is_reduce]
        axes = self._inner_axes(p)
        lanes = self._lane_loop(axes)
        scope = Scope()
        cells = {r: self._accumulators(r, lanes, body) for r in reduces}
        for root in p.roots:
            index = self._substituted(root, axes)
            if root.is_reduce:
                self._accumulate(root, index, axes, cells[root], lanes, scope)
            else:
                self._store_root(root, index, scope)
        inner = [loop for a in axes for loop in a.loops if loop[2] != "lanes"]
        body.body += nest([*inner, *([lanes] if lanes else [])], scope.body)
        body.body += [s for r in p.roots if not r.is_reduce for s in self._padding(r, axes, inner)]
        for root in reduces:
            self._finish(root, cells[root], lanes, body)

    def _lane_loop(self, axes: list[Axis]) -> tuple[str, Dim, str] | None:
        if self.lane is not None:
            return ("l", self.lane_count, "lanes")
        return next((loop for a in axes for loop in a.loops if loop[2] == "lanes"), None)

    def _inner_axes(self, p: Pass) -> list[Axis]:
        """The loops of the inner axes; without an outer lane axis, the best inner one is split, or runs whole in lanes."""
        names = self._inner_names(p.roots[0])
        axes = [Axis(symbol(n, 0, d - 1), [(n, d, "serial")]) for n, d in zip(names, p.inner)]  # type: ignore[operator]
        if self.lane is not None or not axes:
            return axes
        best = max(range(len(axes)), key=lambda k: (self.votes.get(names[k], 0), k))
        split = any(r.is_reduce for r in p.roots) or self._split_layout(p)
        dim = p.inner[best]
        axes[best] = split_axis(names[best], dim, self._inner_width(dim)) if split else Axis(
            symbol(names[best], 0, dim - 1), [(names[best], dim, "lanes")])  # type: ignore[operator]  # fmt: skip
        return axes

    def _split_layout(self, p: Pass) -> bool:
        return any(s.layout.lanes for r in p.roots for s, _ in self._accesses(r))

    def _inner_width(self, dim: Dim) -> int:
        if not isinstance(dim, int) or self._any_split():
            return self.width
        width = self.width
        while width > 1 and width // 2 >= dim:
            width //= 2
        return width

    def _any_split(self) -> bool:
        return any(s.layout.lanes for r in self.group.roots for s, _ in self._accesses(r))

    def _substituted(self, root: Root, axes: list[Axis]) -> tuple[Dim, ...]:
        values = {**self.outer, **{n: a.index for n, a in zip(self._inner_names(root), axes)}}
        return tuple(substitute(j, values) for j in self._index(root))

    def _padding(self, root: Root, axes: list[Axis], inner: list[tuple[str, Dim, str]]) -> list[Any]:
        """Statements that clear the padding lanes of a last block, where the stored value has a split layout."""
        stored = self.plan.stored.get(root.node)
        if stored is None or not stored.layout.lanes or mod(stored.dims[0], stored.layout.lanes) == 0:
            return []
        lanes = self._lane_loop(axes)
        assert lanes is not None
        address = stored.address(placed(root, self._substituted(root, axes), self.plan.dims))
        rest = substitute(address, {"l": symbol("l") + lanes[1]})
        clear = Loop("l", self.width - lanes[1], "lanes", (Store(stored.buffer, rest, start_value("0", root.node.dtype)),))  # type: ignore[operator]
        return nest(inner, [clear])

    # -- reductions

    def _accumulators(self, root: Root, lanes: Any, body: Scope) -> dict[str, Buffer]:
        op: Any = root.node.op
        width = self.width if self.lane is not None else (self._cell_width(lanes) if lanes else 1)
        cells = {}
        for acc in op.accs:
            dtype = acc.dtype or root.node.inputs[0].dtype
            cell = cells[acc.name] = Buffer(self.emit.fresh(), dtype, width, local=True)
            body.body.append(Alloc(cell))
            start = Store(cell, symbol("l", 0, width - 1) if width > 1 else 0, start_value(acc.start, dtype))
            body.body.append(Loop("l", width, "lanes", (start,)) if width > 1 else start)
        return cells

    def _cell_width(self, lanes: tuple[str, Dim, str]) -> int:
        high = bounds(lanes[1])[1]
        return max(high, 1) if high is not None and high <= self.width else self.width

    def _accumulate(self, root: Root, index: tuple[Dim, ...], axes: list[Axis], cells: dict[str, Buffer], lanes: Any, scope: Scope) -> None:
        op: Any = root.node.op
        x = self.emit.value(root.node.inputs[0], index, scope)
        at: Dim = symbol("l", 0, self.width - 1) if lanes and next(iter(cells.values())).size != 1 else 0
        position: Dim = 0
        for axis, dim in zip(axes, self._inner_dims(root)):
            position = position * dim + axis.index  # type: ignore[operator]
        args: list[tuple[str, Any]] = [(name, Load(cell, at)) for name, cell in cells.items()]
        args += [("x", x), ("i", Index(position))]
        values = tuple(Apply(acc.step, tuple(a for a in args if f"{{{a[0]}}}" in acc.step), cells[acc.name].dtype) for acc in op.accs)
        scope.body.append(Accum(tuple((cells[acc.name], at) for acc in op.accs), values))

    def _finish(self, root: Root, cells: dict[str, Buffer], lanes: Any, body: Scope) -> None:
        if self.lane is None:
            self._join_lanes(root, cells, body)
            self._result(root, cells, 0, body)
            return
        scope = Scope()
        self._result(root, cells, symbol("l", 0, self.width - 1), scope)
        body.body += nest([lanes], scope.body)

    def _join_lanes(self, root: Root, cells: dict[str, Buffer], body: Scope) -> None:
        width = next(iter(cells.values())).size
        if width == 1:
            return
        l = symbol("l", 0, width - 1)  # type: ignore[operator]  # noqa: E741
        body.body.append(Loop("l", width - 1, "serial", (combined(root.node.op, cells, {n: Load(c, l + 1) for n, c in cells.items()}),)))  # type: ignore[operator]

    def _result(self, root: Root, cells: dict[str, Buffer], at: Dim, scope: Scope) -> None:
        value = finished(self.plan, root, {n: Load(c, at) for n, c in cells.items()})
        if root.node in self.emit.local:
            target = self.emit.local[root.node](tuple(self.outer.values()))
            scope.body.append(Store(target.buffer, target.address, value))
        else:
            self.emit.store(scope, self.plan.stored[root.node], tuple(self.outer.values()), value)


def combined(op: Any, cells: Mapping[str, Buffer], other: Mapping[str, Any]) -> Accum:
    """Join the accumulators `other` of a later part to those in element 0 of `cells`."""
    args: list[tuple[str, Any]] = [(n, Load(c, 0)) for n, c in cells.items()] + [(f"{n}_", v) for n, v in other.items()]
    values = tuple(Apply(a.combine, tuple(x for x in args if f"{{{x[0]}}}" in a.combine), cells[a.name].dtype) for a in op.accs)
    return Accum(tuple((cells[a.name], 0) for a in op.accs), values)


def finished(plan: Plan, root: Root, accs: Mapping[str, Any]) -> Any:
    """The result of a reduction from its accumulators."""
    op: Any = root.node.op
    operand = plan.dims[root.node.inputs[0]]
    args: list[tuple[str, Any]] = [*accs.items(), ("n", Index(product(operand[a] for a in root.node.params["axes"])))]
    return Apply(op.finish, tuple(a for a in args if f"{{{a[0]}}}" in op.finish), root.node.dtype)


def split_axis(name: str, dim: Dim, width: int) -> Axis:
    """An axis cut in blocks of `width`: the block's loop, and the lanes within it."""
    if isinstance(dim, int) and dim <= width:
        return Axis(symbol("l", 0, max(dim - 1, 0)), [("l", dim, "lanes")]) if dim != width else Axis(
            symbol("l", 0, width - 1), [("l", dim, "lanes")])  # fmt: skip
    blocks = ceildiv(dim, width)
    high = symbol(name, 0, blocks - 1)  # type: ignore[operator]
    count = width if mod(dim, width) == 0 else minimum(width, dim - high * width)  # type: ignore[operator]
    return Axis(high * width + symbol("l", 0, width - 1), [(name, blocks, "serial"), ("l", count, "lanes")])  # type: ignore[operator]


def nest(loops: Sequence[tuple[str, Dim, str]], body: Sequence[Any]) -> list[Any]:
    made = list(body)
    for name, extent, kind in reversed(loops):
        made = [Loop(name, extent, kind, tuple(made))]
    return made


def symbol_names(x: Dim) -> list[str]:
    return [a.name for a in atoms_of(x) if isinstance(a, Symbol)]


def _uses_index(node: Expr, plan: Plan) -> bool:
    """Whether the tree under a root needs its index: in a formula, or in the condition of a view (then it cannot run along memory)."""
    inside = topological([node], stop=lambda n: n is not node and (n in plan.stored or n in plan.local))
    return any(
        ("{i" in n.op.c) if n.op.form == "formula" else _conditional(n, plan)  # type: ignore[attr-defined]
        for n in inside
        if n.op.form in ("formula", "view") and n not in plan.stored
    ) or "{i" in getattr(node.op, "c", "")


def _conditional(node: Expr, plan: Plan) -> bool:
    if node.op.name == "dim":
        return False
    source = source_of(node, outer_index(plan.dims[node]), plan.dims, lambda x, j, n: symbol("j", 0, n - 1))
    if plan.symbols:  # a root may go over dims that are equal to the view's only in this call: then no condition is sure to hold
        return bool(source.conditions)
    return not all(map(holds, source.conditions))


def comment(roots: Sequence[Root], outer: Sequence[Dim]) -> str:
    names = ", ".join(dict.fromkeys(r.node.op.name for r in roots))
    return f"{names} over ({', '.join(map(str, outer))})"
