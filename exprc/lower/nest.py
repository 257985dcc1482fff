"""The nest of loops that a Group becomes, as far as no target decides it: its passes, what they read and write, and along which axis.

`exprc.lower.group` makes loops with vector lanes of it, `exprc.gpu` loops over the threads of a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exprc.expr import Expr, topological
from exprc.loops import Accum, Apply, Buffer, Index, Load, Loop, Store
from exprc.lower.emit import Emitter, Scope, holds
from exprc.schedule.fuse import Group, Root, axis_index, outer_index, own_index, placed, source_of
from exprc.schedule.plan import Plan, Stored
from exprc.size import Dim, Size, Symbol, atoms_of, mod, product, substitute, symbol


@dataclass
class Pass:
    """Roots of a Group that run in the same inner loops."""

    inner: tuple[Dim, ...]
    roots: list[Root]


class Nest:
    """The parts of a Group's loops.

    passes : runs of roots that share their inner loops, in order. votes : for each symbol, how many loads and stores go to the next element
    along it. flat : the one address of every access, where there is one. outer : what stands for the outer indices.
    """

    neighbours: tuple[int, ...] = (1,)  # the steps in memory that count as going to the next element

    def __init__(self, plan: Plan, group: Group, name: str):
        self.plan, self.group, self.name = plan, group, name
        self.emit = Emitter(plan)
        self.passes = self._passes()
        self.votes = self._votes()
        self.flat = self._flat()
        self.outer: dict[str, Dim] = {}

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

    # -- what is read and written

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
        """How many accesses go to the next element along each symbol; one that is split in lanes counts more."""
        votes: dict[str, int] = {}
        for root, stored, at in self._voters():
            address = stored.address(at)
            if stored.layout.lanes:
                # what is stored in lanes must run along them: only then can the loop clear its padding lanes
                weight = 1 << 20 if stored is self.plan.stored.get(root.node) else 8
                for name in symbol_names(at[0]):
                    votes[name] = votes.get(name, 0) + weight
            elif isinstance(address, Size):
                for atoms, factor in address.terms.items():
                    if factor in self.neighbours and len(atoms) == 1 and isinstance(atoms[0], Symbol):
                        votes[atoms[0].name] = votes.get(atoms[0].name, 0) + 1
        return votes

    def _voters(self) -> list[tuple[Root, Stored, tuple[Dim, ...]]]:
        """The accesses that count, of each root; not the store of a reduction's result: it comes once, after the loops."""
        made = []
        for root in self.group.roots:
            accesses = self._accesses(root)[: -1 if root.is_reduce and root.node in self.plan.stored else None]
            made += [(root, stored, at) for stored, at in accesses]
        return made

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

    # -- values in the loops

    def _store_root(self, root: Root, index: tuple[Dim, ...], scope: Scope) -> None:
        if root.part is not None:
            value = self.emit.value(root.value, index, scope)
        else:
            value = self.emit.compute(root.node, index, scope)
        scope.memo[root.node, placed(root, index, self.plan.dims)] = value
        if root.node in self.emit.local:
            target = self.emit.local[root.node](index)
            scope.body.append(Store(target.buffer, target.address, value))
        elif root.node in self.plan.stored:  # else it is local to one flat loop: the value just worked out serves its readers
            self.emit.store(scope, self.plan.stored[root.node], placed(root, index, self.plan.dims), value)

    def _substituted(self, root: Root, axes: Sequence[Dim]) -> tuple[Dim, ...]:
        """The index of a root's element in terms of loop variables; `axes` are those of its inner axes."""
        values = {**self.outer, **dict(zip(self._inner_names(root), axes))}
        return tuple(substitute(j, values) for j in self._index(root))

    def _position(self, root: Root, axes: Sequence[Dim]) -> Dim:
        """The row-major number of an inner index."""
        position: Dim = 0
        for j, dim in zip(axes, self._inner_dims(root)):
            position = position * dim + j  # type: ignore[operator]
        return position

    def _accumulate(self, root: Root, index: tuple[Dim, ...], position: Dim, cells: Mapping[str, Buffer], at: Dim, scope: Scope) -> None:
        """Take one more element, at `index` of the operand and `position` among those that are folded, into element `at` of the cells."""
        op: Any = root.node.op
        x = self.emit.value(root.node.inputs[0], index, scope)
        args: list[tuple[str, Any]] = [(name, Load(cell, at)) for name, cell in cells.items()]
        args += [("x", x), ("i", Index(position))]
        values = tuple(Apply(acc.step, tuple(a for a in args if f"{{{a[0]}}}" in acc.step), cells[acc.name].dtype) for acc in op.accs)
        scope.body.append(Accum(tuple((cells[acc.name], at) for acc in op.accs), values))

    def _result(self, root: Root, cells: Mapping[str, Buffer], at: Dim, scope: Scope) -> None:
        value = finished(self.plan, root, {n: Load(c, at) for n, c in cells.items()})
        if root.node in self.emit.local:
            target = self.emit.local[root.node](tuple(self.outer.values()))
            scope.body.append(Store(target.buffer, target.address, value))
        else:
            self.emit.store(scope, self.plan.stored[root.node], tuple(self.outer.values()), value)


def combined(op: Any, cells: Mapping[str, Buffer], other: Mapping[str, Any], at: Dim = 0) -> Accum:
    """Join the accumulators `other` of a later part to those in element `at` of the cells."""
    args: list[tuple[str, Any]] = [(n, Load(c, at)) for n, c in cells.items()] + [(f"{n}_", v) for n, v in other.items()]
    values = tuple(Apply(a.combine, tuple(x for x in args if f"{{{x[0]}}}" in a.combine), cells[a.name].dtype) for a in op.accs)
    return Accum(tuple((cells[a.name], at) for a in op.accs), values)


def finished(plan: Plan, root: Root, accs: Mapping[str, Any]) -> Any:
    """The result of a reduction from its accumulators."""
    op: Any = root.node.op
    operand = plan.dims[root.node.inputs[0]]
    args: list[tuple[str, Any]] = [*accs.items(), ("n", Index(product(operand[a] for a in root.node.params["axes"])))]
    return Apply(op.finish, tuple(a for a in args if f"{{{a[0]}}}" in op.finish), root.node.dtype)


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
    source = source_of(node, outer_index(plan.dims[node]), plan.dims, lambda x, j, n: symbol("j", 0, n if n is None else n - 1))
    if plan.symbols:  # a root may go over dims that are equal to the view's only in this call: then no condition is sure to hold
        return bool(source.conditions or source.also)
    return not all(map(holds, (*source.conditions, *source.also)))


def comment(roots: Sequence[Root], outer: Sequence[Dim]) -> str:
    names = ", ".join(dict.fromkeys(r.node.op.name for r in roots))
    return f"{names} over ({', '.join(map(str, outer))})"
