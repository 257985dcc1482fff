"""Lowers a Group: one nest of loops, with one axis in vector lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exprc.loops import Alloc, Buffer, If, Index, Kernel, Let, Load, Loop, Store
from exprc.lower.distribute import PIECE, calls, distributed
from exprc.lower.emit import Emitter, Scope, start_value
from exprc.lower.nest import Nest, Pass, combined, comment, nest, symbol_names
from exprc.schedule.fuse import Group, Root, placed
from exprc.schedule.plan import Plan, Stored
from exprc.size import Dim, Size, Symbol, bounds, ceildiv, floordiv, minimum, mod, product, substitute, symbol
from exprc.types import itemsize

#: Fewer blocks than this leave threads idle; more cost a division each.
BLOCKS = 64
#: How long a row in memory may be so that it is worth turning the loops (see `GroupLowering._turned`), and a tile of it stays in L1.
ROW = (8, 256)
#: Elements that one block of a plain elementwise loop works on.
CHUNK = 4096


@dataclass
class Axis:
    """A loop: its symbol in terms of loop variables, and the loops themselves from outside in (name, extent, kind)."""

    index: Dim
    loops: list[tuple[str, Dim, str]]


class GroupLowering(Nest):
    """Lowers one Group to a Kernel.

    One axis of every pass runs in vector lanes: an outer axis (`lane` is its number; accumulators are arrays of one element a lane), or
    an inner axis of each pass (accumulators are joined across lanes at the end). The choice is the axis along which most loads and
    stores go to the next element.
    """

    def __init__(self, plan: Plan, group: Group, name: str):
        super().__init__(plan, group, name)
        self.lane = self._lane()
        self.width = self._width()
        self.turned = self._turned()

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

    def _turned(self) -> int | None:
        """The outer axis that runs in lanes instead of `lane`, which then runs around it; None if none does.

        What goes from images in lanes to rows in memory, or back, would go to another page with every lane. With the loops turned, a tile
        of a row and all lanes stays in L1, and the rows are read or written in runs.
        """
        if self.lane is None or self.plan.local or any(p.inner or any(r.is_reduce for r in p.roots) for p in self.passes):
            return None
        split, rows = 0, [0] * len(self.group.outer)
        for _, stored, at in self._voters():
            split += stored.layout.lanes > 0
            for k in self._rows(stored, at):
                rows[k] += 1
        best = max(range(len(rows)), key=lambda k: rows[k])
        length = self.plan.number(self.group.outer[best])
        return best if rows[best] and split and 2 * rows[best] >= split and ROW[0] <= length <= ROW[1] else None

    def _rows(self, stored: Stored, at: tuple[Dim, ...]) -> list[int]:
        """The outer axes along which an access goes from element to element, while it goes far along the lanes."""
        address = stored.address(at)
        if stored.layout.lanes or not isinstance(address, Size) or f"i{self.lane}" not in symbol_names(address):
            return []
        runs = [a[0].name for a, factor in address.terms.items() if factor == 1 and len(a) == 1 and isinstance(a[0], Symbol)]
        return [k for k in range(len(self.group.outer)) if k != self.lane and f"i{k}" in runs]

    # -- the loops

    def kernel(self) -> Kernel:
        body, blocks = self._flat_body() if self.flat is not None else self._nest()
        return Kernel(
            self.name, tuple(self.emit.buffers), tuple(self.emit.written), blocks, tuple(body), comment(self.group.roots, self.group.outer)
        )

    def _flat_body(self) -> tuple[list[Any], Dim]:
        loop, blocks = self._flat_loop(CHUNK)
        if len(calls(loop.body)) < 2:
            return [loop], blocks
        self.emit = Emitter(self.plan)
        loop, blocks = self._flat_loop(PIECE)
        return distributed(loop, self.emit.written, self.emit.fresh), blocks

    def _flat_loop(self, chunk: int) -> tuple[Loop, Dim]:
        """One loop over the elements of a block, and how many blocks of that length there are."""
        total = product(self.group.outer)
        scope = Scope()
        block, e = symbol("block"), symbol("e", 0, chunk - 1)
        self.emit.address = lambda stored, at: block * chunk + e if stored.address(at) == self.flat else stored.address(at)
        for root in self.group.roots:
            self._store_root(root, self._index(root), scope)
        return Loop("e", minimum(chunk, total - block * chunk), "lanes", tuple(scope.body)), ceildiv(total, chunk)  # type: ignore[operator]

    def _nest(self) -> tuple[list[Any], Dim]:
        if self.lane is not None:
            self.width = self._inner_width(self.group.outer[self.lane])
        outer = [self._outer_axis(k, d) for k, d in enumerate(self.group.outer)]
        self.outer = {f"i{k}": axis.index for k, axis in enumerate(outer)}
        serial = [axis.loops[:-1] if k == self.lane else axis.loops for k, axis in enumerate(outer) if k != self.turned]
        loops = [loop for loops in serial for loop in loops]
        count = outer[self.lane].loops[-1][1] if self.lane is not None else 1
        versions = [(when, self._body(n)) for when, n in self._versions(count)]
        return self._grid(loops, versions or [((), self._body(count))], _known(loops, count))

    def _body(self, lane_count: Dim) -> list[Any]:
        """What is inside the outer loops."""
        self.lane_count = lane_count
        body = Scope()
        self._locals(body)
        for p in self.passes:
            self._run_pass(p, body)
        return body.body

    def _outer_axis(self, k: int, dim: Dim) -> Axis:
        name = f"i{k}"
        if k != self.lane:
            return Axis(symbol(name, 0, dim - 1), [(name, dim, "serial")])  # type: ignore[operator]
        return split_axis(name, dim, self.width)

    def _grid(self, loops: list[tuple[str, Dim, str]], versions: list[tuple[Any, list[Any]]], known: int) -> tuple[list[Any], Dim]:
        """Leading loops become blocks until there are enough of them; the rest stay loops.

        Of several versions each has its condition, which the first `known` loops decide.
        """
        blocks: Dim = 1
        taken = 0
        while taken < len(loops) and self.plan.number(blocks) < BLOCKS:
            blocks = blocks * loops[taken][1]  # type: ignore[operator]
            taken += 1
        known = max(known, taken)
        nested = [(when, nest(loops[known:], body)) for when, body in versions]
        body = [If(when, tuple(made)) for when, made in nested] if nested[0][0] else nested[0][1]
        body = nest(loops[taken:known], body)
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
        at = [a.index for a in axes]
        for root in p.roots:
            index = self._substituted(root, at)
            if root.is_reduce:
                cell: Dim = symbol("l", 0, self.width - 1) if lanes and next(iter(cells[root].values())).size != 1 else 0
                self._accumulate(root, index, self._position(root, at), cells[root], cell, scope)
            else:
                self._store_root(root, index, scope)
        inner = [loop for a in axes for loop in a.loops if loop[2] != "lanes"]
        clear = [s for r in p.roots if not r.is_reduce for s in self._padding(r, axes, inner)]
        if self.turned is not None and lanes:
            row = (f"i{self.turned}", self.group.outer[self.turned])
            body.body += nest([(*lanes[:2], "serial"), (*row, "lanes")], scope.body)
            clear = nest([(*row, "serial")], clear) if clear else []
        elif lanes and self.lane is None and self._versions(lanes[1]):
            body.body += self._inside_versions(inner, lanes, scope.body)
        else:
            body.body += nest([*inner, *([lanes] if lanes else [])], scope.body)
        body.body += clear
        for root in reduces:
            self._finish(root, cells[root], lanes, body)

    def _versions(self, count: Dim) -> list[tuple[Any, Dim]]:
        """Conditions and numbers of lanes: a block whose lanes are all there runs in loops of a known length, a vector.

        None where all are like that, or where a block is more than a vector, and little would be gained.
        """
        if isinstance(count, int) or not self._any_split():
            return []
        return [(((count - self.width, 1),), self.width), (((self.width - 1 - count, self.width),), count)]  # type: ignore[operator]

    def _inside_versions(self, inner: list[tuple[str, Dim, str]], lanes: tuple[str, Dim, str], made: list[Any]) -> list[Any]:
        name, count, kind = lanes
        known = _known(inner, count)
        versions = [If(when, tuple(nest([*inner[known:], (name, n, kind)], made))) for when, n in self._versions(count)]
        return nest(inner[:known], versions)

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

    def _padding(self, root: Root, axes: list[Axis], inner: list[tuple[str, Dim, str]]) -> list[Any]:
        """Statements that clear the padding lanes of a last block, where the stored value has a split layout."""
        stored = self.plan.stored.get(root.node)
        if stored is None or not stored.layout.lanes or mod(stored.dims[0], stored.layout.lanes) == 0:
            return []
        lanes = self._lane_loop(axes)
        assert lanes is not None
        if lanes[1] == self.width:
            return []
        address = stored.address(placed(root, self._substituted(root, [a.index for a in axes]), self.plan.dims))
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

    def _finish(self, root: Root, cells: dict[str, Buffer], lanes: Any, body: Scope) -> None:
        if self.lane is None:
            self._join_lanes(root, cells, body)
            self._result(root, cells, 0, body)
            return
        scope = Scope()
        self._result(root, cells, symbol("l", 0, self.width - 1), scope)
        body.body += nest([lanes], scope.body)

    def _join_lanes(self, root: Root, cells: dict[str, Buffer], body: Scope) -> None:
        """Join the upper half of the lanes to the lower one, again and again: few steps that wait for each other, and those in lanes."""
        width: Any = next(iter(cells.values())).size
        while width > 1:
            half = (width + 1) // 2
            l = symbol("l", 0, width - half - 1)  # noqa: E741
            joined = combined(root.node.op, cells, {n: Load(c, l + half) for n, c in cells.items()}, l)
            body.body.append(Loop("l", width - half, "lanes", (joined,)))
            width = half


def split_axis(name: str, dim: Dim, width: int) -> Axis:
    """An axis cut in blocks of `width`: the block's loop, and the lanes within it."""
    if isinstance(dim, int) and dim <= width:
        return Axis(symbol("l", 0, max(dim - 1, 0)), [("l", dim, "lanes")]) if dim != width else Axis(
            symbol("l", 0, width - 1), [("l", dim, "lanes")])  # fmt: skip
    blocks = ceildiv(dim, width)
    high = symbol(name, 0, blocks - 1)  # type: ignore[operator]
    count = width if mod(dim, width) == 0 else minimum(width, dim - high * width)  # type: ignore[operator]
    return Axis(high * width + symbol("l", 0, width - 1), [(name, blocks, "serial"), ("l", count, "lanes")])  # type: ignore[operator]


def _known(loops: list[tuple[str, Dim, str]], count: Dim) -> int:
    """How many of the loops, from outside, it takes to know a number."""
    return 1 + max((k for k, loop in enumerate(loops) if loop[0] in symbol_names(count)), default=-1)
