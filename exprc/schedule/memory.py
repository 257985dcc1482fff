"""Memory: where every stored value lies. Leaves, outputs and containers have storage of their own, the rest shares one arena.

Planning goes by container, never by leaf. A container is written in place only if every other read of its old value comes earlier;
else the new value is stored apart and copied at the end. All updates read the old values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exprc.expr import Constant, Expr, Shared
from exprc.forms import Implementation
from exprc.loops import Buffer
from exprc.schedule.fuse import Call, Fused, Group, Root, own_index
from exprc.schedule.layout import PLAIN, Layout
from exprc.schedule.plan import Plan, Stored
from exprc.schedule.sizes import Bound
from exprc.size import Dim, product
from exprc.types import itemsize

#: Alignment of arena buffers: a cache line, and the widest vector.
ALIGN = 64
#: A row that only its Group needs is kept on the stack up to this many elements.
ROW = 128


def build_plan(
    bound: Bound,
    fused: Fused,
    layouts: Mapping[Expr, Layout],
    chosen: dict[Expr, Implementation],
    outputs: int,
    updates: Sequence[Shared],
    copy: Any,
    lanes_of: Callable[[int], int],
    number: Callable[[Dim], int],
    row: int = ROW,
) -> Plan:
    """Return the Plan: the first `outputs` roots of the graph are outputs, the others new values of `updates`.

    row : the longest row that a Group which alone needs it keeps to itself.
    """
    items = {(n.inputs[0], n.params["i"]): n for n in fused.stored if n.op.form == "item"}
    plan = Plan(fused.steps, bound.dims, {}, {}, [], chosen, lanes_of, number, fused.reads, bound.symbols, items)
    builder = _Builder(bound, fused, layouts, plan, copy, row)
    builder.leaves()
    targets = builder.targets(bound.roots, outputs, updates)
    builder.values(targets)
    plan.spans = _spans(plan, fused)
    plan.offsets, plan.arena = arena(plan.spans, number)
    return plan


class _Builder:
    def __init__(self, bound: Bound, fused: Fused, layouts: Mapping[Expr, Layout], plan: Plan, copy: Any, row: int):
        self.bound, self.fused, self.layouts, self.plan, self.copy, self.row = bound, fused, layouts, plan, copy, row

    def leaves(self) -> None:
        shared: dict[Any, Stored] = {}
        for k, (leaf, old) in enumerate(self.bound.leaves.items()):
            dims = self.bound.dims[leaf]
            if isinstance(leaf, Constant) and leaf.value.ndim == 0:
                continue
            key = (id(old.container), dims) if isinstance(old, Shared) else leaf
            if key in shared:  # clones of a shared variable share their storage
                self.plan.stored[leaf] = shared[key]
                continue
            stored = shared[key] = Stored(Buffer(f"x{k}", leaf.dtype, product(dims)), PLAIN, dims, "leaf")
            self.plan.stored[leaf] = stored
            self.plan.leaves[stored.buffer] = old

    def targets(self, roots: Sequence[Expr], outputs: int, updates: Sequence[Shared]) -> dict[Expr, Stored]:
        """Outputs are written straight where they are returned, updates straight in their container where that is safe."""
        found: dict[Expr, Stored] = {}
        for k, root in enumerate(roots[:outputs]):
            dims = self.bound.dims[root]
            stored = Stored(Buffer(f"out{k}", root.dtype, product(dims)), PLAIN, dims, "output")
            self.plan.outputs.append(stored)
            self._direct(root, stored, found)
        for leaf, root in zip(updates, roots[outputs:]):
            kept = self._container(leaf, root)
            if kept is not None:
                self._direct(root, kept, found, self._safe(leaf, root))
                continue
            dims = self.bound.dims[root]
            stored = Stored(Buffer(f"out{len(self.plan.outputs)}", root.dtype, product(dims)), PLAIN, dims, "output")
            self.plan.replacements.append((leaf.container, len(self.plan.outputs)))
            self.plan.outputs.append(stored)
            self._direct(root, stored, found)
        return found

    def _direct(self, root: Expr, stored: Stored, found: dict[Expr, Stored], safe: bool = True) -> None:
        if self.layouts[root].lanes:  # the conversion comes after every other step, so after every read of the old value
            self._convert(root, stored)
        elif not safe:
            apart = self.plan.stored[root] = self._arena(root)
            self.plan.copies.append((apart, stored))
        else:
            found[root] = stored

    def _convert(self, root: Expr, target: Stored) -> None:
        node = Expr(self.copy, (root,), {}, root.type)
        self.bound.dims[node] = self.bound.dims[root]
        self.plan.stored[node] = target
        self.fused.steps.append(Group(self.bound.dims[root], [Root(node, node, self.bound.dims[root])]))
        self.fused.readers[root].add(len(self.fused.steps) - 1)
        self.fused.step_of[node] = len(self.fused.steps) - 1

    def _container(self, leaf: Shared, root: Expr) -> Stored | None:
        """The container's storage; a new shape gives None (its value is then replaced)."""
        for bound_leaf, old in self.bound.leaves.items():
            if isinstance(old, Shared) and old.container is leaf.container and self.bound.dims[bound_leaf] == self.bound.dims[root]:
                stored = self.plan.stored[bound_leaf]
                self.plan.containers[stored.buffer] = leaf.container
                return stored
        return self._unread(leaf, root)

    def _unread(self, leaf: Shared, root: Expr) -> Stored | None:
        """The storage of a variable that is written and not read, where its shape never changes: no leaf of the graph tells another."""
        dims, read = self.bound.dims[root], (old for old in self.bound.leaves.values() if isinstance(old, Shared))
        if leaf.type.shape != dims or any(old.container is leaf.container for old in read):
            return None
        stored = Stored(Buffer(f"w{len(self.plan.leaves)}", root.dtype, product(dims)), PLAIN, dims, "leaf")
        self.plan.leaves[stored.buffer] = leaf
        self.plan.containers[stored.buffer] = leaf.container
        return stored

    def _safe(self, leaf: Shared, root: Expr) -> bool:
        """Whether nothing reads the container's old value in or after the step that writes it, but the new value's own element."""
        step = self.fused.step_of[root]
        mine = [b for b, old in self.bound.leaves.items() if isinstance(old, Shared) and old.container is leaf.container]
        for old in mine:
            if any(k > step for k in self.fused.readers.get(old, ())):
                return False
            if step in self.fused.readers.get(old, ()) and not self._own_element(old, root, step):
                return False
        return True

    def _own_element(self, leaf: Expr, root: Expr, number: int) -> bool:
        """Whether, inside the step that writes a container, its old value is read by the new value alone, element for element."""
        step = self.fused.steps[number]
        if isinstance(step, Call) and leaf in [b for b in self._operands(step)]:
            return False
        for r in step.roots:
            for base, at in self.fused.reads(r, own_index(r, self.bound.dims)):
                if base is leaf and (r.is_reduce or tuple(at) != own_index(r, self.bound.dims) or not self._before(r, root, step)):
                    return False
        return True

    def _before(self, reader: Root, root: Expr, step: Any) -> bool:
        """In a hook every root of an element is worked out in order; in a Group only the root itself surely reads before it writes."""
        order = [r.node for r in step.roots]
        return reader.node is root or (isinstance(step, Call) and order.index(reader.node) < order.index(root))

    def _operands(self, call: Call) -> list[Expr]:
        return [base for x in call.node.inputs for base, _ in self.fused.seen(x, tuple(0 for _ in self.bound.dims[x]))]

    def values(self, targets: Mapping[Expr, Stored]) -> None:
        for node in sorted(self.fused.stored, key=lambda n: self.fused.step_of[n]):
            if node in targets:
                self.plan.stored[node] = targets[node]
            elif node in self.plan.stored or node.op.form == "kernel" and not hasattr(node.type, "dtype"):
                continue
            elif self._is_local(node):
                self.plan.local[node] = self.fused.step_of[node]
            elif self.fused.readers[node] - {self.fused.step_of[node]} or not self._in_call(node):
                self.plan.stored[node] = self._arena(node)
        for step in self.fused.steps:
            if isinstance(step, Group) and step.parts:
                self._partials(step)

    def _in_call(self, node: Expr) -> bool:
        return isinstance(self.fused.steps[self.fused.step_of[node]], Call)

    def _is_local(self, node: Expr) -> bool:
        number = self.fused.step_of[node]
        step = self.fused.steps[number]
        if isinstance(step, Call) or step.parts or self.fused.readers[node] - {number}:
            return False
        dims = self.bound.dims[node]
        inner = product(dims[len(step.outer) :])
        only = [r for r in step.roots if r.node is node]
        alone = len(only) == 1 and only[0].part is None and dims[: len(step.outer)] == step.outer
        return alone and isinstance(inner, int) and inner <= self.row

    def _arena(self, node: Expr) -> Stored:
        layout, dims = self.layouts[node], self.bound.dims[node]
        name = f"t{len([s for s in self.plan.stored.values() if s.kind == 'arena'])}"
        return Stored(Buffer(name, node.dtype, layout.elements(dims)), layout, dims, "arena")

    def _partials(self, group: Group) -> None:
        for root in group.roots:
            op: Any = root.node.op
            for acc in op.accs if root.is_reduce else ():
                dims = (group.parts, *group.outer)
                name = f"p{len(self.plan.partials)}"
                buffer = Buffer(name, acc.dtype or root.node.inputs[0].dtype, product(dims))
                self.plan.partials[root.node, acc.name] = Stored(buffer, PLAIN, dims, "arena")


def arena(spans: Mapping[Buffer, tuple[int, int]], number: Callable[[Dim], int]) -> tuple[dict[Buffer, int], int]:
    """Give every arena buffer a place: largest first, at the lowest place free over the steps in which it is alive (`spans`)."""
    placed: list[tuple[int, int, int, int]] = []  # (first byte, last byte, first step, last step)
    offsets: dict[Buffer, int] = {}
    top = 0
    for buffer, (first, last) in sorted(spans.items(), key=lambda item: -number(item[0].size) * itemsize(item[0].dtype)):
        size = max(-(-number(buffer.size) * itemsize(buffer.dtype) // ALIGN) * ALIGN, ALIGN)
        at = _lowest([p for p in placed if p[2] <= last and first <= p[3]], size)
        placed.append((at, at + size, first, last))
        offsets[buffer] = at
        top = max(top, at + size)
    return offsets, top


def _spans(plan: Plan, fused: Fused) -> dict[Buffer, tuple[int, int]]:
    spans: dict[Buffer, tuple[int, int]] = {}
    end = len(fused.steps)
    copied = {source.buffer for source, _ in plan.copies}
    for node, stored in plan.stored.items():
        if stored.kind == "arena":
            first = _first_write(node, fused)
            last = end if stored.buffer in copied else max(fused.readers.get(node, {first}) | {first, fused.step_of[node]})
            spans[stored.buffer] = (first, last)
    for (node, _), stored in plan.partials.items():
        spans[stored.buffer] = (fused.step_of[node], fused.step_of[node])
    return spans


def _first_write(node: Expr, fused: Fused) -> int:
    """A store view is written by several steps."""
    return min((k for k, step in enumerate(fused.steps) for r in step.roots if r.node is node), default=fused.step_of[node])


def _lowest(taken: Sequence[tuple[int, int, int, int]], size: int) -> int:
    at = 0
    for low, high, _, _ in sorted(taken):
        if at + size <= low:
            break
        at = max(at, high)
    return at
