"""Layout: how the elements of an array lie in memory, and which layout each stored value gets.

A layout is an order of axes plus at most one split: with ``lanes = L`` the first axis is cut in blocks of L, and the place within the
block is innermost: ``[N/L][C][H][W][L]``. Index -> address is one function. Only kernels have wishes; a wish spreads through the values
that are connected to the kernel element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exprc.expr import Expr
from exprc.forms import Implementation
from exprc.schedule.fuse import Call, Fused, outer_index, own_index
from exprc.schedule.sizes import Dims
from exprc.size import Atom, Dim, Size, ceildiv, floordiv, mod, product
from exprc.types import itemsize


@dataclass(frozen=True)
class Layout:
    """Axes in order, row-major; with `lanes`, axis 0 is split and its low part innermost."""

    lanes: int = 0

    def address(self, index: Sequence[Dim], dims: Sequence[Dim]) -> Dim:
        """Return the position in memory of an element.

        >>> Layout(16).address((17, 2), (40, 5))
        113
        """
        if not self.lanes:
            return recombine(_row_major(index, dims))
        outer = (floordiv(index[0], self.lanes), *index[1:])
        blocks = (ceildiv(dims[0], self.lanes), *dims[1:])
        return recombine(_row_major(outer, blocks) * self.lanes + mod(index[0], self.lanes))  # type: ignore[operator]

    def elements(self, dims: Sequence[Dim]) -> Dim:
        """Return how many elements the storage has, padding lanes included."""
        if not self.lanes:
            return product(dims)
        return ceildiv(dims[0], self.lanes) * product(dims[1:]) * self.lanes  # type: ignore[operator]

    def __str__(self) -> str:
        return f"lanes of {self.lanes}" if self.lanes else "plain"


PLAIN = Layout()


def _row_major(index: Sequence[Dim], dims: Sequence[Dim]) -> Dim:
    position: Dim = 0
    for j, d in zip(index, dims):
        position = position * d + j  # type: ignore[operator]
    return position


def recombine(x: Dim) -> Dim:
    """Put together what a reshape took apart: ``(k // n) * n * c + (k % n) * c`` is ``k * c``."""
    while isinstance(x, Size):
        simpler = _recombine_once(x)
        if simpler is None:
            return x
        x = simpler
    return x


def _recombine_once(x: Size) -> Dim | None:
    for atoms, factor in x.terms.items():
        for atom in atoms:
            if not (isinstance(atom, Atom) and atom.kind == "%"):
                continue
            value, n = atom.args
            rest = _product_without(atoms, atom) * factor  # type: ignore[operator]
            whole = floordiv(value, n) * n * rest  # type: ignore[operator]
            if _contains(x, whole):
                return x - whole - Size({(atom,): 1}) * rest + value * rest  # type: ignore[operator]
    return None


def _product_without(atoms: tuple[Any, ...], atom: Any) -> Dim:
    left = list(atoms)
    left.remove(atom)
    return product(Size({(a,): 1}) for a in left)


def _contains(x: Size, part: Dim) -> bool:
    return isinstance(part, Size) and all(x.terms.get(k) == v for k, v in part.terms.items())


# -- which layout each stored value gets --------------------------------------------------------------------------------------------


def assign(
    fused: Fused, chosen: Mapping[Expr, Implementation], dims: Dims, lanes_of: Callable[[int], int]
) -> dict[Expr, Layout]:
    """Return the layout of every stored value: plain unless a kernel wishes otherwise.

    Wishes go back from kernels to what they read, through views that keep the first axis, then forward to what is worked out element by
    element from values in lanes.
    """
    layouts = dict.fromkeys(fused.stored, PLAIN)
    for step in fused.steps:
        if isinstance(step, Call):
            _wishes(step, fused, chosen[step.node], dims, layouts, lanes_of(itemsize(step.node.inputs[0].dtype)))
    for step in fused.steps:
        for root in step.roots:
            if layouts[root.node] == PLAIN and root.part is None and not root.is_reduce:
                layouts[root.node] = _spread(step, root, fused, dims, layouts)
    return layouts


def _wishes(step: Call, fused: Fused, impl: Implementation, dims: Dims, layouts: dict[Expr, Layout], lanes: int) -> None:
    node = step.node
    for x, wish in zip(node.inputs, impl.layouts[0]):
        if wish == "lanes":
            for base, at in fused.seen(x, outer_index(dims[x])):
                if base in layouts and base.op.form != "reduce" and at and at[0] == outer_index(dims[x])[0] and dims[base][0] == dims[x][0]:
                    layouts[base] = Layout(lanes)
    results = [n for n in layouts if n is node or (n.op.form == "item" and n.inputs[0] is node)]
    for n in results:
        if impl.layouts[1][n.params.get("i", 0) if n.op.form == "item" else 0] == "lanes":
            layouts[n] = Layout(lanes)


def _spread(step: Any, root: Any, fused: Fused, dims: Dims, layouts: dict[Expr, Layout]) -> Layout:
    """The layout of a value read at its own index, if one such is in lanes; of a kernel's hook, that of the kernel's result."""
    index = own_index(root, dims)
    for base, at in fused.reads(root, index):
        if base in layouts and layouts[base].lanes and at == index and dims[base] == root.dims:
            return layouts[base]
    return PLAIN

