"""Sizes: give every dim of a graph a number, or a symbol that the program takes as an argument.

Binding walks the graph once with the shape rules of the records, now over known dims; so it is also where shapes that could not be compared
while building are checked, with the user's lines in the message. Dims of 0 and 1 are always numbers, because they change broadcasting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Constant, Expr, Input, Shared, made_for, topological
from exprc.forms import Arg, ShapeError, shape_rule, shape_text, size_value
from exprc.size import UNKNOWN, Dim, Symbol, atoms_of, substitute, symbol
from exprc.types import TensorType, TupleType, tensor_type


class Dims(dict[Expr, Any]):
    """The shape of every node, in sizes (a tuple of shapes for several results); `sizes` has the values of its size inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[Expr, Dim] = {}


@dataclass
class Bound:
    """A graph whose dims are all sizes.

    roots : the graph; dims : of every node, its shape in sizes;
    pinned : (where, number) of the dims that follow from symbols and are numbers all the same (see `bind`);
    leaves : the original leaf of each leaf; symbols : name -> which leaf and axis (None: its value) the size is read from.
    lengths : the dims that were pinned, with their numbers: other values of the symbols that give the same numbers give the same dims.
    """

    roots: list[Expr]
    dims: Dims
    leaves: dict[Expr, Expr]
    symbols: dict[str, tuple[Expr, int | None]]
    pinned: tuple[Any, ...] = ()
    lengths: Mapping[Dim, int] = field(default_factory=dict)

    @property
    def rigid(self) -> bool:
        """Whether every dim is a number, though there are symbols."""
        return bool(self.symbols) and all(isinstance(d, int) for shape in self.dims.values() for d in _flat(shape))

    def holds(self, values: Mapping[str, int]) -> bool:
        """Whether the dims are the same for other values of the symbols, as far as they were pinned."""
        return all(substitute(dim, values) == number for dim, number in self.lengths.items())


#: A length that follows from values (of a slice, say) has been this many numbers before it becomes a symbol.
LENGTHS = 3


@dataclass(frozen=True)
class Signature:
    """What a call gives: the shape of each leaf, and the value of each integer scalar that a size depends on."""

    shapes: Mapping[Expr, tuple[int, ...]]
    values: Mapping[Expr, int]


def size_leaves(roots: Sequence[Expr]) -> list[Expr]:
    """Return the integer scalar leaves whose values sizes depend on."""
    found: dict[Expr, None] = {}
    for node in topological(roots):
        sizes = () if node.op.data is None else node.inputs[node.op.data :]
        for leaf in topological(sizes, stop=lambda n: n.op.name == "dim"):
            if leaf.op.form == "leaf" and not isinstance(leaf, Constant) and leaf.type.shape == () and "int" in leaf.dtype:
                found[leaf] = None
    return list(found)


def bind(
    roots: Sequence[Expr],
    signature: Signature,
    free: frozenset[tuple[Expr, int | None]] = frozenset(),
    lengths: dict[Any, set[int]] | None = None,
) -> Bound:
    """Return the graph with every dim known.

    A dim of 1 is a number even if it follows from symbols, because 1 changes broadcasting. So is a length that follows from a value, as
    that of ``data[k * 128 : (k + 1) * 128]``, unless it has been several numbers: loops over 128 elements are better than loops over what
    min and max say of k.

    Parameters
    ----------
    signature : the numbers of this call.
    free : (leaf, axis) pairs whose size becomes an argument of the program (axis None: the leaf's value).
    lengths : which numbers each length that follows from a value has been; this call's are put in.

    Raises
    ------
    ValueError
        if shapes disagree, with the node's inputs and the user's lines.
    """
    binder = _Binder(signature, free, {} if lengths is None else lengths)
    for node in topological(roots):
        binder.take(node)
    return Bound([binder.new[r] for r in roots], binder.dims, binder.leaves, binder.symbols, tuple(binder.pinned), binder.fixed)


class _Binder:
    def __init__(self, signature: Signature, free: frozenset[tuple[Expr, int | None]], lengths: dict[Any, set[int]]):
        self.signature, self.free, self.lengths = signature, free, lengths
        self.new: dict[Expr, Expr] = {}
        self.dims = Dims()
        self.leaves: dict[Expr, Expr] = {}
        self.symbols: dict[str, tuple[Expr, int | None]] = {}
        self.values: dict[str, int] = {}
        self.pinned: list[tuple[Any, int]] = []
        self.fixed: dict[Dim, int] = {}
        self.containers: dict[int, tuple[Dim, ...]] = {}

    def take(self, node: Expr) -> None:
        if not node.inputs and node.op.form == "leaf":
            self._leaf(node)
            return
        inputs = tuple(self.new[i] for i in node.inputs)
        with made_for(node):
            self.new[node] = self._node(node, inputs)

    def _leaf(self, leaf: Expr) -> None:
        if isinstance(leaf, Constant):
            self.new[leaf], self.dims[leaf], self.leaves[leaf] = leaf, leaf.value.shape, leaf
            return
        dims = self._leaf_dims(leaf)
        type_ = tensor_type(leaf.dtype, tuple(d if isinstance(d, int) else None for d in dims))
        fresh: Expr = Input(type_, leaf.name)
        object.__setattr__(fresh, "line", leaf.line)
        self.new[leaf], self.dims[fresh], self.leaves[fresh] = fresh, dims, leaf

    def _leaf_dims(self, leaf: Expr) -> tuple[Dim, ...]:
        """Clones of a shared variable have the same dims, symbols too: they are one storage."""
        key = id(leaf.container) if isinstance(leaf, Shared) else id(leaf)
        if key not in self.containers:
            self.containers[key] = tuple(self._size(leaf, axis, n) for axis, n in enumerate(self.signature.shapes[leaf]))
        return self.containers[key]

    def _size(self, leaf: Expr, axis: int | None, number: int) -> Dim:
        if (leaf, axis) not in self.free or (axis is not None and number < 2):
            return number
        name = f"n{len(self.symbols)}"
        self.symbols[name], self.values[name] = (leaf, axis), number
        return symbol(name, 2 if axis is not None else -(2**62))

    def _value(self, x: Expr) -> Dim:
        """The value of a size expression of the *new* graph."""
        return size_value(x, lambda array, axis: self.dims[array][axis], self._leaf_value)

    def _leaf_value(self, leaf: Expr) -> Dim:
        if isinstance(leaf, Constant):
            return int(leaf.value)
        old = self.leaves[leaf]
        if old not in self.signature.values:
            return UNKNOWN
        for name, key in self.symbols.items():
            if key == (old, None):
                return symbol(name, -(2**62))
        return self._size(old, None, self.signature.values[old])

    def _node(self, node: Expr, inputs: tuple[Expr, ...]) -> Expr:
        data = len(inputs) if node.op.data is None else node.op.data
        sizes = [self._value(x) for x in inputs[data:]]
        for x, value in zip(inputs[data:], sizes):
            if value is UNKNOWN:
                raise ValueError(_not_host(node, x))
        fixed = tuple(_number(x, v) for x, v in zip(inputs[data:], sizes))
        self.dims.sizes.update(zip(fixed, sizes))
        for x in fixed:
            self.dims.setdefault(x, ())
        args = [Arg(self._shape(x), "tuple" if isinstance(x.type, TupleType) else x.dtype) for x in inputs[:data]]
        args += [Arg((), "int64", v) for v in sizes]
        return self._build(node, inputs[:data] + fixed, args)

    def _shape(self, x: Expr) -> Any:
        return self.dims[x]

    def _build(self, node: Expr, inputs: tuple[Expr, ...], args: list[Arg]) -> Expr:
        op = node.op
        if op.form == "composite":
            return self._open(node, inputs)
        try:
            dims = args[0].shape[node.params["i"]] if op.form == "item" else shape_rule(op, args, node.params)
            if op.form != "item" and any(isinstance(d, int) and d < 0 for d in dims):
                raise ShapeError(f"a length is negative: {shape_text(dims)}")
        except ShapeError as error:
            raise error.told(op, inputs) from None
        dims = self._pin(dims)
        fresh = Expr(op, inputs, node.params, _bound_type(node.type, dims), node.name)
        self.dims[fresh] = dims
        return fresh

    def _pin(self, dims: Any) -> Any:
        """Put the number in the place of a symbolic dim where `bind` says so."""
        if any(isinstance(d, tuple) for d in dims):  # the shapes of several results
            return tuple(self._pin(d) for d in dims)
        return tuple(d if isinstance(d, int) else self._pinned(d, (len(self.dims), axis)) for axis, d in enumerate(dims))

    def _pinned(self, dim: Dim, where: Any) -> Dim:
        number = substitute(dim, self.values)
        if not isinstance(number, int) or (number != 1 and not self._is_length(dim, number, where)):
            return dim
        self.pinned.append((where, number))
        self.fixed[dim] = number
        return number

    def _is_length(self, dim: Dim, number: int, where: Any) -> bool:
        """Whether a dim follows from a value, and has been few numbers."""
        if not any(isinstance(a, Symbol) and self.symbols[a.name][1] is None for a in atoms_of(dim)):
            return False
        been = self.lengths.setdefault(where, set())
        if len(been) < LENGTHS:
            been.add(number)
        return len(been) < LENGTHS

    def _open(self, node: Expr, inputs: tuple[Expr, ...]) -> Expr:
        made = node.op.open(inputs, node.params)  # type: ignore[attr-defined]
        for part in topological([made], stop=lambda n: n in self.dims):
            if part in self.dims:
                self.new[part] = part
            elif part.op.form == "leaf":
                self._leaf(part)
            else:
                self.new[part] = self._node(part, tuple(self.new[i] for i in part.inputs))
        return self.new[made]


def _flat(shape: Any) -> list[Any]:
    """The dims of a node, of all its results if it has several."""
    return [d for part in shape for d in (part if isinstance(part, tuple) else (part,))]


def _number(x: Expr, value: Dim) -> Expr:
    """A size input as a constant where its number is known."""
    return Constant(np.int64(value)) if isinstance(value, int) else x


def _bound_type(old: Any, dims: Any) -> Any:
    if isinstance(old, TupleType):
        return TupleType(tuple(_bound_type(t, d) for t, d in zip(old.items, dims)))
    assert isinstance(old, TensorType)
    return tensor_type(old.dtype, tuple(int(d) if isinstance(d, (int, np.integer)) else None for d in dims))


def _not_host(node: Expr, x: Expr) -> str:
    text = f"{node.op.name}: a size must follow from shapes and integer scalar inputs"
    return report(text, [("size", x.label, x.where), ("of", node.label, node.where)], "compute it outside, and pass it as an input")




def size_args(node: Expr, dims: Dims) -> list[Arg]:
    """Return what a rule of a bound node may know of its inputs, the values of its size inputs included."""
    data = len(node.inputs) if node.op.data is None else node.op.data
    args = [Arg(dims[x], x.dtype) for x in node.inputs[:data]]
    return args + [Arg((), "int64", dims.sizes[x]) for x in node.inputs[data:]]
