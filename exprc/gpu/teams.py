"""Maps a Group to teams of threads: each team works on one outer index.

::

    one thread            nothing but outer axes, or outer axes that memory runs along and enough of them
    a row of threads      2 to 256 neighbours: inner axes that memory runs along
    a column of threads   of 32 teams side by side, those with the same place in their warp: outer axes that memory runs along, but few

        rows of 4                              columns of 4, 32 teams
        thread  0 1 2 3 4 5 6 7 ...            warp 0   0  1  2 ... 31
        team    0 0 0 0 1 1 1 1                warp 1   0  1  2 ... 31
                                               warp 2   0  1  2 ... 31
                                               warp 3   0  1  2 ... 31

Each thread of a team folds every size-th element, then their accumulators are joined: in a row by shuffles, from the thread half a
row further on down to the next; between warps through shared memory, one after the other. The order follows from sizes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exprc.gpu.narrow import narrowed
from exprc.loops import Accum, Alloc, Barrier, Buffer, If, Index, Kernel, Let, Load, Loop, Ref, Shuffle, Store
from exprc.lower.emit import Scope, start_value
from exprc.lower.nest import Nest, Pass, combined, comment, finished
from exprc.ops.tiling import MULTIPROCESSORS
from exprc.schedule.fuse import Group, Root
from exprc.schedule.plan import Plan, Stored
from exprc.size import Dim, ceildiv, floordiv, minimum, mod, product, symbol
from exprc.types import itemsize

#: Threads of a block where nothing asks for another number; threads of a warp.
THREADS, WARP = 256, 32
#: So many threads keep a GPU busy: with fewer outer indices than that, teams are larger.
BUSY = 1 << 15
#: Bytes of shared memory that a block may use without asking for more.
SHARED = 48 << 10


@dataclass(frozen=True)
class Shape:
    """Teams of `size` threads, `teams` of them in a block; `column`: side by side, not one after the other."""

    size: int
    teams: int
    column: bool = False

    @property
    def threads(self) -> int:
        return self.size * self.teams

    @property
    def lane(self) -> Dim:
        """The place of a thread in its team."""
        thread = symbol("thread", 0, self.threads - 1)
        return floordiv(thread, self.teams) if self.column else mod(thread, self.size)

    @property
    def row(self) -> Dim:
        """The place of its team in the block."""
        thread = symbol("thread", 0, self.threads - 1)
        return mod(thread, self.teams) if self.column else floordiv(thread, self.size)


def shape_of(count: int, work: int, column: bool) -> Shape:
    """How many threads work on each of `count` outer indices with `work` elements; `column`: memory runs along the outer axes.

    Teams of more than a warp share a block where there are others for all multiprocessors, so that it finds room beside those of a product.

    >>> shape_of(100_000, 1, True), shape_of(64, 1000, False), shape_of(500, 128, True)
    (Shape(size=1, teams=256, column=False), Shape(size=256, teams=1, column=False), Shape(size=16, teams=32, column=True))
    >>> shape_of(720, 2000, False)
    Shape(size=64, teams=4, column=False)
    """
    if work <= 1 or (column and count >= BUSY):
        return Shape(1, THREADS)
    if column and count >= WARP // 2:
        return Shape(_power(min(work, 16)), WARP, column=True)
    size = _power(min(work, WARP))
    while size >= WARP and size < THREADS and 4 * size <= work and (size * count < BUSY or work > 4096):
        size *= 2
    return Shape(size, THREADS // size if size <= WARP else _power(min(THREADS // size, count // MULTIPROCESSORS)))


def _power(n: int) -> int:
    """The largest power of 2 that is not above `n`."""
    return 1 << (max(n, 1).bit_length() - 1)


class Teams(Nest):
    """Lowers one Group to a Kernel of teams; `valid` are the conditions under which a team has an outer index of its own."""

    neighbours = (1, -1)

    def __init__(self, plan: Plan, group: Group, name: str):
        super().__init__(plan, group, name)
        self.dims = self._dims()
        self.count = product(d for _, d in self.dims)
        self.shape = self._shape()
        self.shared: list[Buffer] = []
        self.team: Dim = symbol("team", 0, self.count - 1)  # type: ignore[operator]
        self.valid: tuple[tuple[Dim, Dim], ...] = ()

    # -- the teams

    def _dims(self) -> list[tuple[str, Dim]]:
        """The outer axes with the one last that memory runs along, so that neighbours among the teams read neighbours in memory."""
        axes = [(f"i{k}", d) for k, d in enumerate(self.group.outer)]
        if self.flat is not None or not axes:
            return axes
        best = max(range(len(axes)), key=lambda k: (self.votes.get(axes[k][0], 0), k))
        return [*axes[:best], *axes[best + 1 :], axes[best]]

    def _voters(self) -> list[tuple[Root, Stored, tuple[Dim, ...]]]:
        """Accesses to arrays that are about as large as any, in loops that are about as long as any: the others take no time."""
        number = self.plan.number
        sizes = [(number(product(self._inner_dims(root))), number(product(stored.dims))) for root, stored, _ in super()._voters()]
        least = [max(of) // 8 for of in zip(*sizes)]
        return [v for v, own in zip(super()._voters(), sizes) if all(n >= m for n, m in zip(own, least))]

    def _column(self) -> bool:
        """Whether memory runs along an outer axis rather than along inner ones."""
        names = [n for n, _ in self.dims]
        inner = [v for name, v in self.votes.items() if name not in names]
        return max((self.votes.get(n, 0) for n in names), default=0) >= max(inner, default=1)

    def _shape(self) -> Shape:
        work = max((self.plan.number(product(p.inner)) for p in self.passes), default=1)
        shape = shape_of(self.plan.number(self.count), work, self._column())
        return shape if self._row_bytes() * shape.teams <= SHARED // 2 else self._small(shape)

    def _small(self, shape: Shape) -> Shape:
        """Fewer teams in a block where their rows need much shared memory; one thread each where one team has too much."""
        teams = shape.teams
        while teams > 1 and self._row_bytes() * teams > SHARED // 2:
            teams //= 2
        whole = self._row_bytes() * teams <= SHARED // 2 and (shape.column or shape.size * teams >= WARP)
        return Shape(shape.size, teams, shape.column) if whole else Shape(1, THREADS)

    def _row_bytes(self) -> int:
        """Bytes of the rows that only one team needs."""
        rows = [r for r in self.group.roots if r.node in self.plan.local and self._row(r) != 1]
        return sum(self.plan.number(self._row(r)) * itemsize(r.node.dtype) for r in rows)

    def _row(self, root: Root) -> Dim:
        return product(root.dims[len(self.group.outer) :])

    # -- the kernel

    def kernel(self) -> Kernel:
        body = self._flat_body() if self.flat is not None else self._body()
        blocks = ceildiv(self.count, self.shape.teams)
        loop = Loop("thread", self.shape.threads, "block", tuple(body))
        shared = tuple(Alloc(b) for b in self.shared)
        buffers, written = tuple(self.emit.buffers), tuple(self.emit.written)
        return narrowed(Kernel(self.name, buffers, written, blocks, (*shared, loop), self._comment()))

    def _comment(self) -> str:
        return comment(self.group.roots, self.group.outer)

    def _flat_body(self) -> list[Any]:
        e = symbol("e", 0, self.count - 1)  # type: ignore[operator]
        scope = Scope()
        self.emit.address = lambda stored, at: e if stored.address(at) == self.flat else stored.address(at)
        for root in self.group.roots:
            self._store_root(root, self._index(root), scope)
        return [Let("e", "int64", Index(self._number())), If(((e, self.count),), tuple(scope.body))]

    def _number(self) -> Dim:
        """The number of a team, which may be beyond the last."""
        return symbol("block") * self.shape.teams + self.shape.row  # type: ignore[operator, return-value]

    def _body(self) -> list[Any]:
        """The passes, one after the other; a team beyond the last works out what the last does, but stores nothing.

        It loops too: what it would give without, the start of a reduction, may be no index that can be checked.
        """
        alone = self.shape.size == 1
        ragged = mod(self.count, self.shape.teams) != 0
        at = symbol("at", 0)
        scope = Scope()
        head = [Let("at" if ragged else "team", "int64", Index(self._number()))]
        if ragged and not alone:
            self.valid = ((at, self.count),)
            scope.body.append(Let("team", "int64", Index(minimum(at, self.count - 1))))  # type: ignore[operator]
        elif ragged:
            scope.body.append(Let("team", "int64", Index(at)))
        if not alone:
            scope.body += [Let("lane", "int64", Index(self.shape.lane))]
        self._indices(scope)
        self._locals(scope)
        for k, p in enumerate(self.passes):
            self._run_pass(p, scope, self.passes[k + 1 :])
        return [*head, If(((at, self.count),), tuple(scope.body))] if alone and ragged else [*head, *scope.body]

    def _indices(self, scope: Scope) -> None:
        """The outer indices of the team."""
        for name, index in split(self.team, self.dims):
            if isinstance(index, int):
                self.outer[name] = index
            else:
                scope.body.append(Let(name, "int64", Index(index)))
                self.outer[name] = symbol(name, 0, dict(self.dims)[name] - 1)  # type: ignore[operator]

    def _outer_index(self) -> tuple[Dim, ...]:
        return tuple(self.outer[f"i{k}"] for k in range(len(self.group.outer)))

    @property
    def lane(self) -> Dim:
        return 0 if self.shape.size == 1 else symbol("lane", 0, self.shape.size - 1)

    def _share(self, dtype: str, size: Dim) -> Buffer:
        """An array in shared memory, after those there are."""
        end = max((b.shared + _aligned(b) for b in self.shared), default=0)  # type: ignore[operator]
        self.shared.append(Buffer(self.emit.fresh(), dtype, size, local=True, shared=end))
        return self.shared[-1]

    def _locals(self, scope: Scope) -> None:
        """Values that only this Group needs: one in a register of every thread, a row in the team's shared memory."""
        for root in self.group.roots:
            if root.node not in self.plan.local:
                continue
            inner = self._row(root)
            if inner == 1 or self.shape.size == 1:
                cell = Buffer(self.emit.fresh(), root.node.dtype, inner, local=True)
                scope.body.append(Alloc(cell))
            else:
                cell = self._share(root.node.dtype, inner * self.shape.teams)  # type: ignore[operator]
            self.emit.local[root.node] = self._local_load(cell, root)

    def _local_load(self, cell: Buffer, root: Root) -> Any:
        p, row, inner = len(self.group.outer), self.shape.row, self._row(root)

        def load(index: tuple[Dim, ...]) -> Load:
            position: Dim = 0
            for j, d in zip(index[p:], root.dims[p:]):
                position = position * d + j  # type: ignore[operator]
            if cell.shared is None:
                return Load(cell, position)
            return Load(cell, position * self.shape.teams + row if self.shape.column else row * inner + position)  # type: ignore[operator]

        return load

    # -- passes

    def _run_pass(self, p: Pass, body: Scope, later: Sequence[Pass]) -> None:
        if product(p.inner) == 1 and not any(r.is_reduce for r in p.roots):
            for root in p.roots:
                self._run_single(root, body)
            return
        n = product(p.inner)
        r = symbol("r", 0, n - 1)  # type: ignore[operator]
        cells = {root: self._accumulators(root, body) for root in p.roots if root.is_reduce}
        scope = Scope(body)
        for root in p.roots:
            axes = [index for _, index in split(r, list(zip(self._inner_names(root), p.inner)))]
            index = self._substituted(root, axes)
            if root.is_reduce:
                self._accumulate(root, index, self._position(root, axes), cells[root], 0, scope)
            else:
                self._store_root(root, index, scope)
        if not cells and any(s.buffer in self.plan.containers for s in scope.body if isinstance(s, Store)):
            self._guarded(body, [self._loop(n, scope.body)])  # a team beyond the last would read a variable while the last one writes it
        else:
            body.body.append(self._loop(n, self._stored_once(scope.body)))
        if self._awaited(p, later):
            body.body.append(self._barrier(p.roots))
        for root, own in cells.items():
            self._fold(root, own, body)
            self._result(root, own, 0, body)

    def _loop(self, n: Dim, body: Sequence[Any]) -> Loop:
        return Loop("r", n, "serial", tuple(body), self.lane, self.shape.size)

    def _stored_once(self, body: Sequence[Any]) -> Sequence[Any]:
        """The same statements, but nothing goes to memory from a team beyond the last."""
        return [If(self.valid, (s,)) if self.valid and isinstance(s, Store) and not s.buffer.local else s for s in body]

    def _guarded(self, body: Scope, statements: Sequence[Any], *more: tuple[Dim, Dim]) -> None:
        conditions = (*self.valid, *more)
        body.body += [If(conditions, tuple(statements))] if conditions else statements

    def _first(self) -> tuple[tuple[Dim, Dim], ...]:
        return () if self.shape.size == 1 else ((self.lane, 1),)

    def _run_single(self, root: Root, body: Scope) -> None:
        """A value without inner axes: every thread of the team works it out, the first one stores it.

        One that goes to a variable in place is worked out by that thread alone: another might read the variable after it is written.
        """
        index = self._substituted(root, [0] * len(self._inner_dims(root)))
        stored = self.plan.stored.get(root.node)
        if stored is not None and stored.buffer in self.plan.containers:
            scope = Scope(body)
            self._store_root(root, index, scope)
            self._guarded(body, scope.body, *self._first())
            if self._is_read(root, self.group.roots):
                body.body.append(self._barrier([root]))
            return
        before = len(body.body)
        self._store_root(root, index, body)
        if stored is not None and root.node not in self.emit.local:
            store = body.body.pop()
            assert isinstance(store, Store) and len(body.body) >= before
            self._guarded(body, [store], *self._first())
            if root.part is not None and self._is_read(root, self.group.roots):
                body.body.append(self._barrier([root]))

    def _is_read(self, root: Root, others: Sequence[Root]) -> bool:
        return self.shape.size > 1 and any(
            base is root.node for other in others if other is not root for base, _ in self.plan.reads(other, self._index(other))
        )

    def _awaited(self, p: Pass, later: Sequence[Pass]) -> bool:
        """Whether later passes read elements that other threads of the team stored."""
        others = [r for q in later for r in q.roots]
        return any(not r.is_reduce and self._is_read(r, others) for r in p.roots)

    def _barrier(self, stored: Sequence[Root] = ()) -> Barrier:
        """Of the team's warp; where teams beyond the last read from memory what the last one stored there, of the block."""
        along = bool(self.valid) and any(r.node not in self.plan.local for r in stored)
        return Barrier(warp=not along and not self.shape.column and self.shape.size <= WARP)

    # -- reductions

    def _accumulators(self, root: Root, body: Scope) -> dict[str, Buffer]:
        cells = {}
        for acc in root.node.op.accs:  # type: ignore[attr-defined]
            dtype = acc.dtype or root.node.inputs[0].dtype
            cell = cells[acc.name] = Buffer(self.emit.fresh(), dtype, 1, local=True)
            body.body += [Alloc(cell), Store(cell, 0, start_value(acc.start, dtype))]
        return cells

    def _fold(self, root: Root, cells: Mapping[str, Buffer], body: Scope) -> None:
        """Join the accumulators of a team, so that each of its threads has the result."""
        op: Any = root.node.op
        if self.shape.column:
            self._through_memory(op, cells, self.shape.size, self.shape.lane * self.shape.teams + self.shape.row, body)  # type: ignore[operator]
            return
        width = min(self.shape.size, WARP)
        by = width // 2
        while by:
            other = {n: self.emit.fresh() for n in cells}
            body.body += [Let(other[n], c.dtype, Shuffle(Load(c, 0), by, width)) for n, c in cells.items()]
            body.body.append(combined(op, cells, {n: Ref(other[n], c.dtype) for n, c in cells.items()}))
            by //= 2
        if self.shape.size > WARP:
            count = self.shape.size // WARP
            at = self.shape.row * count + floordiv(self.lane, WARP)  # type: ignore[operator]
            self._through_memory(op, cells, count, at, body, ((mod(self.lane, WARP), 1),))
        elif width > 1:
            body.body += [Store(c, 0, Shuffle(Load(c, 0), 0, width)) for c in cells.values()]

    def _through_memory(
        self, op: Any, cells: Mapping[str, Buffer], count: int, at: Dim, body: Scope, who: tuple[tuple[Dim, Dim], ...] = ()
    ) -> None:
        """Join `count` accumulators that threads put in shared memory at `at`, one after the other, in every thread."""
        if count == 1:
            return
        step, first = (self.shape.teams, self.shape.row) if self.shape.column else (1, self.shape.row * count)  # type: ignore[operator]
        shared = {n: self._share(c.dtype, count * self.shape.teams) for n, c in cells.items()}
        stores = [Store(shared[n], at, Load(c, 0)) for n, c in cells.items()]
        body.body += [If(who, tuple(stores))] if who else stores
        body.body.append(Barrier())
        body.body.append(Accum(tuple((c, 0) for c in cells.values()), tuple(Load(shared[n], first) for n in cells)))
        k = symbol("k", 1, count - 1)
        other = {n: Load(shared[n], k * step + first) for n in cells}  # type: ignore[operator]
        body.body.append(Loop("k", count, "serial", (combined(op, cells, other),), 1))

    def _result(self, root: Root, cells: Mapping[str, Buffer], at: Dim, scope: Scope) -> None:
        index = self._outer_index()
        value = self.emit.let(scope, finished(self.plan, root, {n: Load(c, at) for n, c in cells.items()}))
        if root.node in self.emit.local:
            target = self.emit.local[root.node](index)
            scope.body.append(Store(target.buffer, target.address, value))
            return
        scope.memo[root.node, index] = value
        store = Scope()
        self.emit.store(store, self.plan.stored[root.node], index, value)
        self._guarded(scope, store.body, *self._first())


def split(number: Dim, dims: Sequence[tuple[str, Dim]]) -> list[tuple[str, Dim]]:
    """Take the row-major number of an element apart: (name, index) for each axis."""
    made: list[tuple[str, Dim]] = []
    rest = number
    for k, (name, dim) in reversed(list(enumerate(dims))):
        alone = all(d == 1 for _, d in dims[:k])
        made.append((name, 0 if dim == 1 else rest if alone else mod(rest, dim)))
        rest = rest if dim == 1 or alone else floordiv(rest, dim)
    return made[::-1]


def _aligned(buffer: Buffer) -> int:
    """Bytes of an array in shared memory, to the next multiple of 16."""
    return -(-int(buffer.size) * itemsize(buffer.dtype) // 16) * 16  # type: ignore[arg-type]
