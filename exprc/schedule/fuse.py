"""Fuse: which values are stored, and which of them are computed together.

A *root* is a value that is stored; everything else is worked out where it is read. Roots form Groups: a Group has outer axes that all its
members share, and every value passed inside is needed only at the same outer index, so that it can live in a register or in a buffer the
size of a row. A root that reads a kernel's result element by element goes into the kernel's hook instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from exprc.expr import Expr, topological
from exprc.schedule.sizes import Dims, size_args
from exprc.size import Dim, load, symbol
from exprc.types import itemsize

#: A value that costs more than this to work out again is stored instead where several readers want it. A cheap formula costs 1, a
#: function call 10.
CHEAP = 8
#: On a GPU also one that costs more than SHORT and is wanted by OFTEN elements each, CUT of them in all.
SHORT, OFTEN = 2, 64
#: What follows from single numbers and its own index alone, as a random number does, is worked out again for each reader on a GPU where
#: that costs less than this in all, elements counted: about what a launch takes.
AGAIN = 1 << 23
#: A reduction of at least this many elements to fewer than 16 results is cut in parts.
CUT = 1 << 16
#: A value whose formulas cost more than this together is stored, to keep loops readable and registers few.
LIMIT = 100
#: A Group takes no more roots once its formulas cost this much together: the C compiler's time grows faster than a loop's length.
GROUP = 600


@dataclass(eq=False)
class Root:
    """A value that is stored.

    node : what is stored; value : the expression that is worked out (differs from `node` for a part of a store view).
    dims : the dims of `value`; part : which input of the store view `node` this is, or None.
    copy_to : an output that this root is a copy for, or None.
    """

    node: Expr
    value: Expr
    dims: tuple[Dim, ...]
    part: int | None = None
    copy_to: int | None = None

    @property
    def is_reduce(self) -> bool:
        return self.value is self.node and self.node.op.form == "reduce" and self.copy_to is None


@dataclass(eq=False)
class Group:
    """Roots worked out in one nest of loops over the outer axes `outer`."""

    outer: tuple[Dim, ...]
    roots: list[Root] = field(default_factory=list)
    parts: int = 0
    cost: int = 0

    @property
    def has_reduce(self) -> bool:
        return any(r.is_reduce for r in self.roots)


@dataclass(eq=False)
class Call:
    """A kernel node with the roots that its store hooks compute.

    axes : for each, the axis of the root that each axis of the result is; None where the root is the result in another shape.
    """

    node: Expr
    roots: list[Root] = field(default_factory=list)
    axes: dict[Root, tuple[int | None, ...] | None] = field(default_factory=dict)
    result: dict[Root, int] = field(default_factory=dict)


Step = "Group | Call"


@dataclass
class Fused:
    """Steps in order; for every stored node the number of its step, and the steps that read it."""

    steps: list[Any]
    step_of: dict[Expr, int]
    stored: list[Expr]
    readers: dict[Expr, set[int]]
    reads: Callable[..., Any]
    seen: Callable[..., Any]
    again: list[Expr] = field(default_factory=list)  # worked out where they are read, though they are not cheap


Reads = "list[tuple[Expr, tuple[Dim, ...]]]"


def parts_of(results: int, folded: int, first: int) -> int:
    """In how many parts a CPU cuts a reduction of `folded` elements, the first axis of them `first`, to each of `results`."""
    return min(16, first) if results < 16 and results * folded >= CUT and first > 1 else 0


class Fuser:
    """Fuses one graph.

    number : estimates a dim. closed : the kernel nodes whose hooks take no other values. inline : kernel nodes with operands
    that they work out themselves.
    parts_of : the target's rule for cutting reductions, by sizes alone. finishes : whether what joins the parts works
        out formulas, too, and a hook those that see its result in another shape; so it is on a GPU.
    """

    def __init__(
        self,
        roots: Sequence[Expr],
        dims: Dims,
        number: Callable[[Dim], int],
        closed: Collection[Expr] = (),
        inline: Collection[tuple[Expr, Expr]] = (),
        parts_of: Callable[[int, int, int], int] = parts_of,
        finishes: bool = False,
    ):
        self.closed, self.inline, self.parts_of, self.finishes = closed, inline, parts_of, finishes
        self.order = topological(roots, stop=lambda n: n.op.name == "dim")  # the length of an array does not need the array
        self.roots, self.dims, self.number = list(roots), dims, number
        self.again: list[Expr] = []
        self.of_numbers = self._of_numbers() if finishes else set()
        self.needed = self._needed()
        self.steps: list[Any] = []
        self.step_of: dict[Expr, int] = {}

    # -- which values are stored

    def _needed(self) -> set[Expr]:
        needed = {n for n in self.order if n.op.form in ("kernel", "reduce", "item") or is_store_view(n)}
        needed |= {r for r in self.roots if r.op.form == "formula"}
        for node in self.order:
            if node.op.form == "kernel":
                operands = [x for x in node.op.data_inputs(node) if (node, x) not in self.inline]
                needed |= {b for b in map(view_base, operands) if b.op.form == "formula" and b.inputs}
        if self.finishes:
            needed |= self._taken_out(self._costs(set(needed)))
        cost = self.cost = self._costs(needed)
        owners: dict[Expr, set[Expr]] = {n: set() for n in self.order}
        for node in reversed(self.order):
            if node.op.form == "formula" and node not in needed and cost[node] > CHEAP and len(owners[node]) > 1:
                if self._worth_again(node, len(owners[node])):
                    self.again.append(node)
                else:
                    needed.add(self._narrowest(node))
            mine = {node} if node in needed else owners[node]
            for x in data_inputs(node):
                owners[x] |= mine
                if x.op.form == "formula" and cost[x] > CHEAP and self._repeats(node, x):
                    needed.add(self._narrowest(x))
        return needed

    def _worth_again(self, node: Expr, readers: int) -> bool:
        """Whether a GPU works a value out for each reader rather than once more often than it would be stored and read."""
        work = (readers - 1) * self.cost[node] * self.number(_count(self.dims[node]))
        return self.finishes and work <= AGAIN and node in self.of_numbers

    def _of_numbers(self) -> set[Expr]:
        """The values that follow from single numbers and their own index."""
        found: set[Expr] = set()
        for node in self.order:
            if node.op.form in ("formula", "view") and all(x in found or _count(self.dims[x]) == 1 for x in data_inputs(node)):
                found.add(node)
        return found

    def _narrowest(self, node: Expr) -> Expr:
        """What a GPU stores for a value that is not cheap: where it is cheaply made of a narrower one, element by element, that.

        So it is the comparison, one byte, of a mask for dropout. On a CPU a product's hook that reads bools takes longer (gcc 12).
        """
        if not self.finishes:
            return node
        best, x, count = node, node, _count(self.dims[node])
        while True:
            costly = [i for i in data_inputs(x) if i.op.form == "formula" and self.cost[i] > CHEAP]
            arrays = [i for i in data_inputs(x) if _count(self.dims[i]) != 1]
            if len(costly) != 1 or arrays != costly or _count(self.dims[costly[0]]) != count:
                return best
            (x,) = costly
            if self.cost[node] - self.cost[x] > CHEAP:
                return best
            best = x if itemsize(x.dtype) < itemsize(best.dtype) else best

    def _taken_out(self, cost: dict[Expr, int]) -> set[Expr]:
        """Values that very many elements have in common, such as the scale of a channel: a GPU works them out again for each.

        There every element has a thread of its own, and no loop that they could be taken out of.
        """
        number, taken = self.number, set()
        for node in self.order:
            for x in map(view_base, data_inputs(node) if node.op.form == "formula" else ()):
                if x.op.form == "formula" and cost[x] > SHORT:
                    each = number(_count(self.dims[node])) // max(1, number(_count(self.dims[x])))
                    taken |= {x} if each >= OFTEN and each * number(_count(self.dims[x])) >= CUT else set()
        return taken

    def _costs(self, needed: set[Expr]) -> dict[Expr, int]:
        cost: dict[Expr, int] = {}
        for node in self.order:
            own = 0 if node.op.form in ("leaf", "kernel", "reduce", "item") else (1 if getattr(node.op, "cheap", True) else 10)
            inner = own + sum(cost[x] for x in data_inputs(node) if x not in needed)
            if inner > LIMIT and (node.op.form == "formula" or (node.op.form == "view" and node.op.name != "dim")):
                needed.add(node)
            cost[node] = min(inner, LIMIT + 1) if own else 0
        return cost

    def _repeats(self, user: Expr, x: Expr) -> bool:
        """Whether `user` reads elements of `x` more than once."""
        if user.op.form not in ("formula", "view"):
            return False
        return self.number(_count(self.dims[user])) > self.number(_count(self.dims[x]))

    # -- reads

    def reads(self, root: Root, index: Sequence[Dim]) -> Any:
        """Return the stored values that a root reads, each with the index, in terms of the root's own index."""
        found: dict[Any, None] = {}
        if root.is_reduce:
            self._visit(root.node.inputs[0], tuple(index), found, set())
        elif root.value is not root.node or root.copy_to is not None:
            self._visit(root.value, tuple(index), found, set())
        else:
            self._visit_inputs(root.node, tuple(index), found, set())
        return list(found)

    def _visit(self, node: Expr, index: tuple[Dim, ...], found: dict[Any, None], seen: set[Any]) -> None:
        if (node, index) in seen:
            return
        seen.add((node, index))
        if node in self.needed or node.op.form == "leaf":
            found[node, index] = None
        else:
            self._visit_inputs(node, index, found, seen)

    def _visit_inputs(self, node: Expr, index: tuple[Dim, ...], found: dict[Any, None], seen: set[Any]) -> None:
        for x, at in input_indices(node, index, self.dims, lambda x, j, n: self._loaded(x, j, found, seen)):
            self._visit(x, at, found, seen)

    def _loaded(self, x: Expr, index: tuple[Dim, ...], found: dict[Any, None], seen: set[Any]) -> Dim:
        self._visit(x, index, found, seen)
        return load(f"v{id(x)}", *index)

    # -- which are computed together

    def run(self) -> Fused:
        for node in self.order:
            if node.op.form == "kernel":
                self._append(Call(node), node)
            elif node.op.form == "item":
                self.step_of[node] = self.step_of[node.inputs[0]]
            elif is_store_view(node):
                for part, x in enumerate(node.inputs):
                    self._place(Root(node, x, self.dims[x], part))
            elif node in self.needed:
                self._place(Root(node, node, self.dims[node]))
        inner = {x for node in self.again for x in node.inputs}
        again = [node for node in self.again if node not in inner]
        stored = [n for n in self.order if n in self.needed and n in self.step_of]  # in order: names in the text follow from it
        return Fused(self.steps, self.step_of, stored, self._readers(), self.reads, self.seen, again)

    def _readers(self) -> dict[Expr, set[int]]:
        readers: dict[Expr, set[int]] = {n: set() for n in self.order}
        for k, step in enumerate(self.steps):
            for root in step.roots:
                for base, _ in self.reads(root, own_index(root, self.dims)):
                    readers[base].add(k)
            if isinstance(step, Call):
                for base in self.operand_bases(step.node):
                    readers[base].add(k)
        return readers

    def operand_bases(self, node: Expr) -> list[Expr]:
        """Return the stored values and leaves that a kernel's operands read."""
        return [base for x in data_inputs(node) for base, _ in self.seen(x, outer_index(self.dims[x]))]

    def seen(self, x: Expr, index: tuple[Dim, ...]) -> Any:
        """Return the stored values that an element of `x` needs, each with the index into it."""
        found: dict[Any, None] = {}
        self._visit(x, index, found, set())
        return list(found)

    def _append(self, step: Any, *nodes: Expr) -> None:
        self.steps.append(step)
        for node in nodes:
            self.step_of[node] = len(self.steps) - 1

    def _place(self, root: Root) -> None:
        index = own_index(root, self.dims)
        reads = self.reads(root, index)
        position = max((self.step_of[b] for b, _ in reads if b in self.step_of), default=-1)
        for k in range(max(position, 0), len(self.steps)):
            if k > position + 1 and k < len(self.steps) - 3:
                continue
            if self._join(k, root, index, reads):
                self.step_of[root.node] = max(k, self.step_of.get(root.node, k))
                return
        self._append(Group(root.dims, [root], self._parts(root)))
        self.step_of[root.node] = len(self.steps) - 1

    def _parts(self, root: Root) -> int:
        """In how many parts a reduction is cut, so that every thread has work: by sizes alone, never by threads."""
        axes = root.node.params["axes"] if root.is_reduce else ()
        if not axes:
            return 0
        operand = self.dims[root.node.inputs[0]]
        folded = [self.number(operand[a]) for a in axes]
        return self.parts_of(self.number(_count(root.dims)), prod(folded), folded[0])

    def _join(self, k: int, root: Root, index: Sequence[Dim], reads: Any) -> bool:
        step = self.steps[k]
        inside = [(b, at) for b, at in reads if self.step_of.get(b) == k]
        if isinstance(step, Call):
            return self._join_call(step, root, index, inside)
        return self._join_group(step, root, index, inside)

    def _join_call(self, call: Call, root: Root, index: Sequence[Dim], inside: Any) -> bool:
        """A root goes in a store hook if it is elementwise over the kernel's result, seen perhaps with its axes in another order."""
        if root.node.op.form != "formula" or not inside or "parts" in call.node.params or call.node in self.closed:
            return False
        own = [b for b, _ in inside if b is call.node or b.op.form == "item"]
        if not own or any(b is not own[0] for b in own):
            return False
        dims = self.dims[own[0]]
        axes = next((_axes(at, index, dims) for b, at in inside if b is own[0]), None)
        if axes is None and self.finishes and self._reshaped(root, index, inside, own[0]):
            call.roots.append(root)
            call.axes[root], call.result[root] = None, own[0].params.get("i", 0) if own[0].op.form == "item" else 0
            return True
        if axes is None or _count(dims) != _count(root.dims):
            return False
        for b, at in inside:
            if b is own[0] and _axes(at, index, dims) != axes:
                return False
            if b is not own[0] and not self._same_element(call, b, at, axes, index):
                return False
        result = own[0].params.get("i", 0) if own[0].op.form == "item" else 0
        if any(call.result[r] != result for r in call.roots if r.node in [b for b, _ in inside]):
            return False
        call.roots.append(root)
        call.axes[root], call.result[root] = axes, result
        return True

    def _reshaped(self, root: Root, index: Sequence[Dim], inside: Any, result: Expr) -> bool:
        """Whether a root reads nothing of the step but the result of its kernel, each element where it lies in row-major order."""
        flat = _flat(index, root.dims)
        return all(b is result and _flat(at, self.dims[b]) == flat for b, at in inside) and _count(self.dims[result]) == _count(root.dims)

    def _same_element(self, call: Call, b: Expr, at: tuple[Dim, ...], axes: Any, index: Sequence[Dim]) -> bool:
        """Whether a value of the same hook is read at the element that the hook is working on."""
        other = next((r for r in call.roots if r.node is b), None)
        if other is None or other.part is not None or call.axes[other] is None:
            return False
        place = {k: axis for axis, k in enumerate(axes) if k is not None}
        theirs = {k: axis for axis, k in enumerate(call.axes[other] or ()) if k is not None}
        by_axis = {place[k]: j for k, j in enumerate(index) if k in place}
        return all(k in theirs and by_axis.get(theirs[k]) == j or _is_zero(j) for k, j in enumerate(at))

    def _join_group(self, group: Group, root: Root, index: Sequence[Dim], inside: Any) -> bool:
        if group.cost > GROUP:
            return False
        if group.parts:
            return self._join_parts(group, root, inside)
        dims = root.dims
        p = _common(group.outer, dims)
        if root.is_reduce and p != len(dims):
            return False
        if group.has_reduce and p != len(group.outer):
            return False
        if p == 0 and len(group.outer) + len(dims) > 0 and not (len(group.outer) == 0 and not root.is_reduce and inside):
            return False
        if p < len(group.outer) and not inside:
            return False
        if not inside and (dims != group.outer or root.is_reduce):
            return False
        mine = outer_index(dims)[:p]
        if any(tuple(at[:p]) != mine or self._elsewhere(group, b, mine) for b, at in inside):
            return False
        if any(self._big(r) for r in [root, *group.roots]) and len(group.outer[:p]) == 0 and p < len(dims):
            return False
        group.outer = group.outer[:p]
        group.cost += self.cost[root.value]
        group.roots.append(root)
        return True

    def _elsewhere(self, group: Group, b: Expr, mine: tuple[Dim, ...]) -> bool:
        """Whether a part of a store view is written at another outer index than it is worked out at, so that a reader must wait for all."""
        parts = [r for r in group.roots if r.node is b and r.part is not None]
        return any(tuple(placed(r, own_index(r, self.dims), self.dims)[: len(mine)]) != mine for r in parts)

    def _join_parts(self, group: Group, root: Root, inside: Any) -> bool:
        """Reductions of the same axes that do not need each other are cut together."""
        first = group.roots[0].node
        if self.finishes and not root.is_reduce:
            return self._finishes(group, root, inside)
        if inside or not root.is_reduce or root.dims != group.outer or root.node.params != first.params:
            return False
        if self.dims[root.node.inputs[0]] != self.dims[first.inputs[0]]:
            return False
        group.roots.append(root)
        return True

    def _finishes(self, group: Group, root: Root, inside: Any) -> bool:
        """A formula of the results of such reductions, at the same element, is worked out where their parts are joined."""
        index = outer_index(group.outer)
        alone = root.dims == group.outer and root.part is None and root.copy_to is None
        if not inside or not alone or any(tuple(at) != index or self._elsewhere(group, b, index) for b, at in inside):
            return False
        group.roots.append(root)
        return True

    def _big(self, root: Root) -> bool:
        return self.number(_count(root.dims)) > 4096


def own_index(root: Root, dims: Dims) -> tuple[Dim, ...]:
    """Symbols for the elements that a root goes over; for a reduction, the index of its operand, kept axes named i0, i1 ... in order."""
    if not root.is_reduce:
        return outer_index(root.dims)
    axes, operand = root.node.params["axes"], dims[root.node.inputs[0]]
    kept, folded = iter(range(len(operand))), iter(range(len(axes)))
    names = [f"r{next(folded)}" if a in axes else f"i{next(kept)}" for a in range(len(operand))]
    return tuple(axis_index(n, d) for n, d in zip(names, operand))


def axis_index(name: str, dim: Dim) -> Dim:
    """The symbol that runs along an axis; the number 0 where the axis has but one element."""
    return 0 if isinstance(dim, int) and dim == 1 else symbol(name, 0, dim - 1)  # type: ignore[operator]


def placed(root: Root, index: tuple[Dim, ...], dims: Dims) -> tuple[Dim, ...]:
    """Return where an element of a root goes in what is stored: elsewhere than its index if the root is a part of a store view."""
    if root.part is None:
        return index
    return tuple(root.node.op.place(index, root.part, size_args(root.node, dims), **root.node.params))  # type: ignore[attr-defined]


def outer_index(dims: Sequence[Dim]) -> tuple[Dim, ...]:
    """The symbols that `own_index` gives the axes that a root keeps."""
    return tuple(axis_index(f"i{k}", d) for k, d in enumerate(dims))


def is_store_view(node: Expr) -> bool:
    return getattr(node.op, "place", None) is not None


def data_inputs(node: Expr) -> tuple[Expr, ...]:
    return node.op.data_inputs(node) if node.op.name != "dim" else ()


def view_base(x: Expr) -> Expr:
    """Return what a chain of views shows."""
    while x.op.form == "view" and not is_store_view(x) and x.inputs and x.op.name != "dim":
        x = x.inputs[0]
    return x


def input_indices(node: Expr, index: tuple[Dim, ...], dims: Dims, loaded: Callable[..., Dim]) -> Any:
    """Return the data inputs that element `index` of a formula or view needs, each with the index into it."""
    if node.op.form == "formula":
        return [(x, aligned(index, dims[x])) for x in data_inputs(node)]
    if node.op.name == "dim":
        return []
    source = source_of(node, index, dims, loaded)
    return [(node.inputs[source.input], source.index)]


def source_of(node: Expr, index: tuple[Dim, ...], dims: Dims, loaded: Callable[..., Dim]) -> Any:
    """Ask a view where an element comes from."""
    return node.op.index(index, size_args(node, dims), lambda k, j, n: loaded(node.inputs[k], tuple(j), n), **node.params)  # type: ignore[attr-defined]


def aligned(index: Sequence[Dim], dims: Sequence[Dim]) -> tuple[Dim, ...]:
    """Return the index into an operand that broadcasting pairs with `index`."""
    return tuple(0 if isinstance(d, int) and d == 1 else j for d, j in zip(dims, index[len(index) - len(dims) :]))


def _axes(at: Sequence[Dim], index: Sequence[Dim], dims: Sequence[Dim]) -> tuple[int | None, ...] | None:
    """For each axis of the result, which axis of the root runs along it; None where its only index is 0. None if it is no permutation."""
    axes: list[int | None] = []
    for j, d in zip(at, dims):
        if _is_zero(j) and isinstance(d, int) and d == 1:
            axes.append(None)
        elif j in index:
            axes.append(list(index).index(j))
        else:
            return None
    used = [a for a in axes if a is not None]
    return tuple(axes) if len(set(used)) == len(used) else None


def _flat(index: Sequence[Dim], dims: Sequence[Dim]) -> Dim:
    """The row-major number of an element."""
    number: Dim = 0
    for j, d in zip(index, dims):
        number = number * d + j  # type: ignore[operator]
    return number


def _is_zero(j: Dim) -> bool:
    return isinstance(j, int) and j == 0


def _common(a: Sequence[Dim], b: Sequence[Dim]) -> int:
    """Return how many leading dims two shapes share."""
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def _count(dims: Sequence[Dim]) -> Dim:
    total: Dim = 1
    for d in dims:
        total = total * d  # type: ignore[operator]
    return total

