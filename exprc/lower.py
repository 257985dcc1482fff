"""Lower: a Plan becomes Loops. Each form has one way down.

A formula is worked out in the loop body, a view rewrites the index, a reduction becomes an accumulation loop, a kernel becomes a call
of a text with hooks. Where a value lies, and in which step it is made, was decided by `exprc.schedule`; how the loops of a step run is decided here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exprc.expr import Constant, Expr, topological
from exprc.forms import Hook, Implementation
from exprc.loops import (
    Accum, Alloc, Apply, Barrier, Buffer, Check, Copy, Function, If, Index, Kernel, Let, Literal, Load, Loop, Program, Ref, Select,
    Store, Template,
)  # fmt: skip
from exprc.schedule.choose import kernel_args, kernel_outs
from exprc.schedule.fuse import Call, Group, Root, aligned, data_inputs, own_index, source_of
from exprc.schedule.plan import Plan, Stored
from exprc.schedule.sizes import size_args
from exprc.size import Dim, Size, Symbol, atoms_of, below, bounds, ceildiv, floordiv, minimum, mod, nonnegative, product, substitute, symbol
from exprc.types import TupleType, itemsize

#: Fewer blocks than this leave threads idle; more cost a division each.
BLOCKS = 64
#: Elements that one block of a plain elementwise loop works on.
CHUNK = 4096


def lower(plan: Plan) -> Program:
    """Return a plan as a program: its steps as kernels and templates, with barriers where one step needs another."""
    steps = with_barriers([*_steps(plan), *(Copy(a.buffer, b.buffer, a.layout.elements(a.dims)) for a, b in plan.copies)], plan)
    buffers = dict.fromkeys(b for step in steps if not isinstance(step, (Barrier, Copy)) for b in step.buffers)
    buffers.update(dict.fromkeys(b for step in steps if isinstance(step, Copy) for b in (step.source, step.target)))
    return Program(tuple(steps), tuple(buffers), dict.fromkeys(plan.symbols))


def with_barriers(steps: Sequence[Any], plan: Plan) -> list[Any]:
    """Put a barrier before each step that touches what a step since the last barrier wrote, or writes what one read."""
    made: list[Any] = []
    since: list[tuple[set[Any], set[Any]]] = []
    for step in steps:
        reads, writes = _touched(step)
        if any(_meet(writes, r | w, plan) or _meet(reads, w, plan) for r, w in since):
            made.append(Barrier())
            since = []
        made.append(step)
        since.append((reads, writes))
    return made


def _touched(step: Any) -> tuple[set[Any], set[Any]]:
    if isinstance(step, Copy):
        return {step.source}, {step.target}
    return set(step.buffers), set(step.written)


def _meet(a: set[Buffer], b: set[Buffer], plan: Plan) -> bool:
    """Whether buffers of two sets are the same, or share memory in the arena (whose places vary if sizes do)."""
    if a & b:
        return True
    inside = [[_range(x, plan) for x in side if x in plan.offsets] for side in (a, b)]
    if plan.symbols:
        return bool(inside[0] and inside[1])
    return any(p[0] < q[1] and q[0] < p[1] for p in inside[0] for q in inside[1])


def _range(buffer: Buffer, plan: Plan) -> tuple[int, int]:
    at = plan.offsets[buffer]
    return at, at + max(plan.number(buffer.size) * itemsize(buffer.dtype), 1)


def _steps(plan: Plan) -> list[Any]:
    made: list[Any] = []
    for k, step in enumerate(plan.steps):
        if isinstance(step, Call):
            made.append(lower_call(plan, step, f"k{k}"))
        elif step.parts:
            made += lower_parts(plan, step, f"k{k}")
        else:
            made.append(_GroupLowering(plan, step, f"k{k}").kernel())
    return made


# -- values ----------------------------------------------------------------------------------------------------------------------


@dataclass
class Scope:
    """Statements under construction, and the values already worked out in them."""

    parent: Scope | None = None
    body: list[Any] = field(default_factory=list)
    memo: dict[Any, Any] = field(default_factory=dict)

    def find(self, key: Any) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if key in scope.memo:
                return scope.memo[key]
            scope = scope.parent
        return None


class Emitter:
    """Works out values at an index, adding statements to a scope."""

    def __init__(self, plan: Plan, prefix: str = "v"):
        self.plan, self.prefix, self.count = plan, prefix, 0
        self.given: dict[tuple[Expr, Any], Any] = {}
        self.local: dict[Expr, Any] = {}
        self.buffers: dict[Buffer, None] = {}
        self.written: dict[Buffer, None] = {}
        self.checks = plan.checks
        self.address: Any = lambda stored, index: stored.address(index)

    def fresh(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"

    def let(self, scope: Scope, value: Any) -> Any:
        if isinstance(value, (Ref, Literal, Index)):
            return value
        name = self.fresh()
        scope.body.append(Let(name, value.dtype, value))
        return Ref(name, value.dtype)

    def value(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        """Return the element of `node` at `index`, from where it is stored or worked out."""
        key = (node, index)
        known = scope.find(key)
        if known is None:
            known = self._known(node, index, scope)
            scope.memo[key] = known
        return known

    def _known(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        if (node, None) in self.given:
            return self.given[node, None]
        if node in self.local:
            return self.let(scope, self.local[node](index))
        if isinstance(node, Constant) and node.value.ndim == 0:
            return Literal(node.value.item(), node.dtype)
        if node in self.plan.stored:
            return self.let(scope, self.load(self.plan.stored[node], index))
        return self.compute(node, index, scope)

    def load(self, stored: Stored, index: tuple[Dim, ...]) -> Load:
        self.buffers[stored.buffer] = None
        return Load(stored.buffer, self.address(stored, index))

    def store(self, scope: Scope, stored: Stored, index: tuple[Dim, ...], value: Any) -> None:
        self.buffers[stored.buffer] = self.written[stored.buffer] = None
        scope.body.append(Store(stored.buffer, self.address(stored, index), value))

    def compute(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        """Work a formula or view out, even if it is stored somewhere."""
        if node.op.form == "formula":
            return self._formula(node, index, scope)
        if node.op.name == "dim":
            return Index(self.plan.dims[node.inputs[0]][node.params["axis"]])
        return self._view(node, index, scope)

    def _formula(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        op: Any = node.op
        if op.c == "{i0}":
            return Index(index[0])
        operands = [self.value(x, aligned(index, self.plan.dims[x]), scope) for x in data_inputs(node)]
        args = [*zip(op.operands, operands), *_places(op.c, index, self.plan.dims[node])]
        args += [(k, Literal(v, "int64")) for k, v in node.params.items() if f"{{{k}}}" in op.c]
        return self.let(scope, Apply(op.c, tuple(args), node.dtype, op))

    def _view(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        source = source_of(node, index, self.plan.dims, lambda x, j, n: self.loaded(x, j, n, scope))
        x = node.inputs[source.input]
        conditions = tuple(c for c in source.conditions if not holds(c))
        if not conditions:
            return self.value(x, source.index, scope)
        cell = Buffer(self.fresh(), node.dtype, 1, local=True)
        inner = Scope(scope)
        inner.body.append(Store(cell, 0, self.value(x, source.index, inner)))
        scope.body += [Alloc(cell), Store(cell, 0, start_value(source.fill, node.dtype)), If(conditions, tuple(inner.body))]
        return Load(cell, 0)

    def loaded(self, x: Expr, index: tuple[Dim, ...], limit: Dim, scope: Scope) -> Dim:
        """Return an element of an integer operand for use in an index: wrapped if negative, checked against `limit`."""
        value = self.value(x, index, scope)
        if isinstance(value, Index) and nonnegative(value.dim) and below(value.dim, limit):
            return value.dim
        if isinstance(value, Literal) and isinstance(limit, int) and -limit <= value.value < limit:
            return int(value.value) % limit
        key = ("check", value, limit)
        name = scope.find(key)
        if name is None:
            name = self.fresh()
            scope.body.append(Check(name, value, limit, len(self.checks)))
            self.checks.append(x)
            scope.memo[key] = name
        return symbol(name, 0, limit - 1)  # type: ignore[operator]


def holds(condition: tuple[Dim, Dim]) -> bool:
    e, n = condition
    return nonnegative(e) and below(e, n)


def _places(text: str, index: tuple[Dim, ...], dims: Sequence[Dim]) -> list[tuple[str, Any]]:
    """The output index, as far as a formula's text uses it."""
    found = [(f"i{k}", Index(j)) for k, j in enumerate(index) if f"{{i{k}}}" in text]
    if "{i}" in text:
        position: Dim = 0
        for j, d in zip(index, dims):
            position = position * d + j  # type: ignore[operator]
        found.append(("i", Index(position)))
    return found


def start_value(text: str, dtype: str) -> Any:
    """The value that a text such as "0" or "{lowest}" stands for in a dtype."""
    if text not in ("{lowest}", "{highest}", "lowest"):
        return Literal(np.dtype(dtype).type(int(text)).item(), dtype)
    low = text != "{highest}"
    if dtype == "bool":
        return Literal(not low, dtype)
    if dtype.startswith("float"):
        return Literal(float("-inf") if low else float("inf"), dtype)
    info = np.iinfo(dtype)
    return Literal(int(info.min if low else info.max), dtype)


# -- groups ----------------------------------------------------------------------------------------------------------------------


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


class _GroupLowering:
    """Lowers one Group to a Kernel.

    One axis of every pass runs in vector lanes: an outer axis (`lane` is its number; accumulators are arrays of one element a lane), or
    an inner axis of each pass (accumulators are joined across lanes at the end). The choice is the axis along which most loads and stores go
    to the next element.
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
        here = tuple(symbol(f"i{p + k}", 0, d - 1) for k, d in enumerate(last.inner))  # type: ignore[operator]
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
            at = _placed(root, index, self.plan.dims)
            found.append((self.plan.stored[root.node], at))
        elif root.is_reduce and root.node in self.plan.stored:
            found.append((self.plan.stored[root.node], tuple(symbol(f"i{k}", 0, d - 1) for k, d in enumerate(root.dims))))  # type: ignore[operator]
        return found

    def _votes(self) -> dict[str, int]:
        """How many accesses go to the next element along each symbol; one that is split in lanes counts more."""
        votes: dict[str, int] = {}
        for root in self.group.roots:
            for stored, at in self._accesses(root):
                address = stored.address(at)
                if stored.layout.lanes:
                    for name in _names(at[0]):
                        votes[name] = votes.get(name, 0) + 8
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
            self.name, tuple(self.emit.buffers), tuple(self.emit.written), blocks, tuple(body), _comment(self.group.roots, self.group.outer)
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
        else:
            self.emit.store(scope, self.plan.stored[root.node], _placed(root, index, self.plan.dims), value)

    def _nest(self) -> tuple[list[Any], Dim]:
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
        address = stored.address(_placed(root, self._substituted(root, axes), self.plan.dims))
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
        return high if high is not None and high <= self.width else self.width

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


def _names(x: Dim) -> list[str]:
    return [a.name for a in atoms_of(x) if isinstance(a, Symbol)]


def _placed(root: Root, index: tuple[Dim, ...], dims: Mapping[Expr, Any]) -> tuple[Dim, ...]:
    """Where an element of a root goes in what is stored."""
    if root.part is None:
        return index
    return tuple(root.node.op.place(index, root.part, size_args(root.node, dims), **root.node.params))  # type: ignore[attr-defined]


def _uses_index(node: Expr, plan: Plan) -> bool:
    """Whether a formula in the tree under a root uses its output index (then the tree cannot run along memory)."""
    inside = topological([node], stop=lambda n: n is not node and (n in plan.stored or n in plan.local))
    return any(n.op.form == "formula" and "{i" in n.op.c for n in inside)  # type: ignore[attr-defined]


def _comment(roots: Sequence[Root], outer: Sequence[Dim]) -> str:
    names = ", ".join(dict.fromkeys(r.node.op.name for r in roots))
    return f"{names} over ({', '.join(map(str, outer))})"


# -- reductions cut in parts -------------------------------------------------------------------------------------------------------


def lower_parts(plan: Plan, group: Group, name: str) -> list[Kernel]:
    """A reduction cut in a fixed number of parts: one kernel for the parts, one that joins them in order."""
    return [_Parts(plan, group, name).partial(), _join_kernel(plan, group, f"{name}_join")]


class _Parts(_GroupLowering):
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
                      _comment(self.group.roots, self.group.outer) + f", in {self.group.parts} parts")  # fmt: skip

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

    def _result(self, root: Root, cells: dict[str, Buffer], at: Dim, scope: Scope) -> None:
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


# -- kernels -----------------------------------------------------------------------------------------------------------------------


def lower_call(plan: Plan, call: Call, name: str) -> Template:
    """A kernel node becomes its text with sizes and hooks filled in."""
    impl = plan.implementations[call.node]
    lanes = plan.lanes_of(itemsize(call.node.inputs[0].dtype))
    args, outs = kernel_args(call.node, plan.dims), kernel_outs(call.node, plan.dims)
    lowering = _CallLowering(plan, call, impl, lanes)
    hooks = [lowering.hook(macro, hook) for macro, hook in impl.hooks.items()]
    flags = {macro: int(key in lowering.units) for macro, key in impl.flags.items()}
    macros: dict[str, Dim] = {**impl.sizes(args, outs, call.node.params, lanes), **flags}
    return Template(
        name, impl.text, call.node.inputs[0].dtype, lanes, tuple(lowering.buffers), tuple(lowering.written), macros,
        tuple(h for h in hooks if h is not None), _call_comment(call, args, outs),
    )  # fmt: skip


def _call_comment(call: Call, args: Sequence[Any], outs: Sequence[Any]) -> str:
    shapes = " , ".join(f"({', '.join(map(str, a.shape))})" for a in args)
    result = f"({', '.join(map(str, outs[0].shape))})"
    then = "".join(f", then {r.node.op.name}" for r in call.roots)
    return f"{call.node.op.name}: {shapes} -> {result}{then}"


class _CallLowering:
    """Makes the hooks of one call. `units` holds the (hook, argument) along which an operand that is simply stored goes to the next element."""

    def __init__(self, plan: Plan, call: Call, impl: Implementation, lanes: int):
        self.plan, self.call, self.impl, self.lanes = plan, call, impl, lanes
        self.buffers: dict[Buffer, None] = {}
        self.written: dict[Buffer, None] = {}
        self.units: set[tuple[str, str]] = set()

    def hook(self, macro: str, hook: Hook) -> Function | None:
        emit = Emitter(self.plan)
        emit.buffers, emit.written = self.buffers, self.written
        index = self._index(hook)
        if hook.kind == "store":
            return self._store(macro, hook, index, emit)
        operand = self.call.node.inputs[hook.operand]
        scope = Scope()
        value = emit.value(operand, index, scope)
        load = scope.body[0].value if len(scope.body) == 1 and isinstance(scope.body[0], Let) else None
        if isinstance(load, Load):
            self._note_units(macro, hook, load.address)
        if hook.kind == "load":
            return Function(macro, hook.arguments, None, tuple(scope.body), value)
        return Function(macro, hook.arguments, None, (), Index(load.address), load.buffer) if isinstance(load, Load) else None

    def _index(self, hook: Hook) -> tuple[Dim, ...]:
        """The logical index that the hook's arguments stand for, each argument with its range."""
        dims = self._operand_dims(hook)
        plain = hook.index(**{a: symbol(a) for a in hook.arguments}, **self._extra(hook))
        high = {a: self._high(a, plain, dims) for a in hook.arguments}
        return tuple(hook.index(**{a: symbol(a, 0, high[a]) for a in hook.arguments}, **self._extra(hook)))

    def _extra(self, hook: Hook) -> dict[str, int]:
        return {"lanes": self.lanes} if "lanes" in inspect.signature(hook.index).parameters else {}

    def _operand_dims(self, hook: Hook) -> tuple[Dim, ...]:
        if hook.kind == "store":
            return tuple(kernel_outs(self.call.node, self.plan.dims)[hook.operand].shape)
        return tuple(self.plan.dims[self.call.node.inputs[hook.operand]])

    def _high(self, name: str, index: Sequence[Dim], dims: Sequence[Dim]) -> Dim | None:
        """The largest value of an argument: of an axis it is itself, of lanes, or of blocks of lanes."""
        for j, d in zip(index, dims):
            if j == symbol(name):
                return d - 1  # type: ignore[operator]
            if isinstance(j, Size) and j == symbol("b") * self.lanes + symbol("l") and name in ("b", "l"):
                return self.lanes - 1 if name == "l" else ceildiv(d, self.lanes) - 1  # type: ignore[operator]
        return None

    def _note_units(self, macro: str, hook: Hook, address: Dim) -> None:
        steps = {a: _coefficient(address, a) for a in hook.arguments}
        if None not in steps.values():
            self.units |= {(macro, a) for a, step in steps.items() if step == 1}

    def _store(self, macro: str, hook: Hook, index: tuple[Dim, ...], emit: Emitter) -> Function:
        result = self._result_node(hook.operand)
        value = Ref("x", kernel_outs(self.call.node, self.plan.dims)[hook.operand].dtype)
        if result is not None:
            emit.given[result, None] = value
        dims = self._operand_dims(hook)
        scope = Scope()
        if result is not None and result in self.plan.stored:
            self._put(emit, scope, self.plan.stored[result], index, value, dims)
        for root in self.call.roots:
            if self.call.result[root] == hook.operand:
                self._root(emit, scope, root, index, dims)
        return Function(macro, hook.arguments, value, tuple(scope.body))

    def _result_node(self, k: int) -> Expr | None:
        """The node that stands for result k: the kernel's own, or its item (None if nothing uses it)."""
        if not isinstance(self.call.node.type, TupleType):
            return self.call.node
        return self.plan.items.get((self.call.node, k))

    def _root(self, emit: Emitter, scope: Scope, root: Root, index: tuple[Dim, ...], dims: Sequence[Dim]) -> None:
        axes = self.call.axes[root]
        place = {a: index[k] for k, a in enumerate(axes) if a is not None}
        at = tuple(place.get(k, 0) for k in range(len(root.dims)))
        value = emit.compute(root.node, at, scope)
        emit.given[root.node, None] = value
        if root.node in self.plan.stored:
            self._put(emit, scope, self.plan.stored[root.node], at, value, root.dims)

    def _put(self, emit: Emitter, scope: Scope, stored: Stored, index: tuple[Dim, ...], value: Any, dims: Sequence[Dim]) -> None:
        """Store an element; of a lane beyond the last image, nothing in a plain layout, 0 in a split one."""
        inside = tuple((j, d) for j, d in zip(index, dims) if not holds((j, d)))
        if not inside:
            emit.store(scope, stored, index, value)
        elif stored.layout.lanes:
            emit.store(scope, stored, index, Select(inside, value, start_value("0", value.dtype)))
        else:
            inner = Scope(scope)
            emit.store(inner, stored, index, value)
            scope.body.append(If(inside, tuple(inner.body)))


def _coefficient(address: Dim, name: str) -> Dim | None:
    """The factor of a symbol in an address, 0 if it is not there; None if it stands inside a division or the like."""
    total: Dim = 0
    for atoms, factor in address.terms.items() if isinstance(address, Size) else ():
        plain = [a for a in atoms if isinstance(a, Symbol)]
        if any(name in _names(Size({(a,): 1})) for a in atoms if not isinstance(a, Symbol)) or [a.name for a in plain].count(name) > 1:
            return None
        if name in [a.name for a in plain]:
            total = total + Size({tuple(a for a in atoms if not (isinstance(a, Symbol) and a.name == name)): factor})
    return substitute(total, {})
