"""When two dims are surely equal although neither is known: both come from the same axis of the same node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exprc.expr import Expr, _set
from exprc.forms import Arg, Formula, Reduce, ShapeError
from exprc.ops.reduce import unbroadcast
from exprc.ops.view import broadcast_to, dim, dim_of, dimshuffle, reshape, subtensor
from exprc.size import Size, symbol
from exprc.types import TensorType, TupleType

FULL = ("range", None, None, None)


def dim_key(x: Expr, axis: int) -> Any:
    """Return a number, or where the dim comes from, as (node, axis). Equal keys are equal dims; unequal ones may be."""
    known = x.type.shape[axis]
    if known is not None:
        return known
    key = (x.dim_keys or _worked_out(x))[axis]
    return (x, axis) if key is None else key


def _worked_out(x: Expr) -> tuple[Any, ...]:
    """Work out the keys of all dims of a node, those of what it is made of first, and keep them in the nodes."""
    stack = [(x, _all_origins(x))]
    while stack:
        node, origins = stack[-1]
        waiting = next((o for found in origins for o, a in found if o.dim_keys is None and o.type.shape[a] is None), None)
        if waiting is not None:
            stack.append((waiting, _all_origins(waiting)))
        else:
            stack.pop()
            _set(node, "dim_keys", tuple(map(_one_key, origins)))
    assert x.dim_keys is not None
    return x.dim_keys


def _one_key(origins: Sequence[tuple[Expr, int]]) -> Any:
    """The key that all origins have; None where the node itself is the origin (kept in it, it would never be freed)."""
    keys = {dim_key(o, a) for o, a in origins}
    return keys.pop() if len(keys) == 1 else None


def _all_origins(x: Expr) -> list[Sequence[tuple[Expr, int]]]:
    """For each axis, the axes of inputs whose dims, if they are all equal, are its dim; none where it is known."""
    return [() if known is not None else _origins(x, axis) for axis, known in enumerate(x.type.shape)]


def _origins(x: Expr, axis: int) -> Sequence[tuple[Expr, int]]:
    op = x.op
    if isinstance(op, Formula) and op.shape is None:
        return _aligned_axes(x, axis - x.ndim)
    if op is dimshuffle:
        return [(x.inputs[0], x.params["order"][axis])]
    if isinstance(op, Reduce):
        return [(x.inputs[0], _kept(x.inputs[0].ndim, x.params["axes"])[axis])]
    if op is broadcast_to or op is reshape or op is unbroadcast:
        return _from_size(x, axis)
    if op is subtensor:
        entries = x.params["slices"]
        at = [a for a, e in enumerate(entries) if e[0] == "range"][axis]
        return [(x.inputs[0], at)] if entries[at] == FULL else []
    return _by_rule(x, axis) if op.shape is not None else []


def _aligned_axes(x: Expr, axis: int) -> list[tuple[Expr, int]]:
    """The axes of the operands of a formula that stand at `axis`, counted from the end (below 0), but for those of length 1."""
    found = []
    for i in x.inputs:
        shape = i.type.shape
        if axis + len(shape) >= 0 and shape[axis] != 1:
            found.append((i, axis + len(shape)))
    return found


def _by_rule(x: Expr, axis: int) -> list[tuple[Expr, int]]:
    """Ask the shape rule of the record, with a symbol for each dim of each input: it may hand one of them on."""
    inputs = x.inputs if x.op.data is None else x.inputs[: x.op.data]
    if not all(isinstance(i.type, TensorType) for i in x.inputs) or isinstance(x.type, TupleType):
        return []
    args = [Arg(tuple(symbol(f"{k} {a}") for a in range(i.ndim)), i.dtype) for k, i in enumerate(inputs)]
    sizes = [Arg((), i.dtype, symbol(f"{k} size")) for k, i in enumerate(x.inputs[len(inputs) :], len(inputs))]
    try:
        found = x.op.shape([*args, *sizes], **x.params)[axis]  # type: ignore[misc]
        if not isinstance(found, Size):
            return []
        if len(inputs) > 1:  # with 1 in its place another dim may show, to which it is broadcast
            ones = [a._replace(shape=tuple(1 if d == found else d for d in a.shape)) for a in args]
            if x.op.shape([*ones, *sizes], **x.params)[axis] != 1 and "size" not in str(found):  # type: ignore[misc]
                return []
    except ShapeError:
        return []
    return _named(x, str(found))


def _named(x: Expr, text: str) -> list[tuple[Expr, int]]:
    k, _, axis = text.partition(" ")
    if axis.isdigit():
        return [(x.inputs[int(k)], int(axis))]
    size = x.inputs[int(k)] if axis == "size" else None
    return [(size.inputs[0], size.params["axis"])] if size is not None and size.op is dim else []


def _kept(ndim: int, axes: tuple[int, ...]) -> list[int]:
    return [a for a in range(ndim) if a not in axes]


def _from_size(x: Expr, axis: int) -> list[tuple[Expr, int]]:
    """The dim that a size input gives, where that is the length of an axis."""
    static = x.params["shape"]
    if static[axis] is not None:
        return []
    size = x.inputs[1 + static[:axis].count(None)]
    return [(size.inputs[0], size.params["axis"])] if size.op is dim else []


def size_key(size: Expr) -> Any:
    """Return the key of the dim that an integer scalar is the length of; of any other scalar, itself."""
    return dim_key(size.inputs[0], size.params["axis"]) if size.op is dim else size


def same_shape(a: Expr, b: Expr) -> bool:
    """Tell whether two expressions surely have the same shape."""
    if not (isinstance(a.type, TensorType) and isinstance(b.type, TensorType)):
        return a.type == b.type
    return a.ndim == b.ndim and all(dim_key(a, k) == dim_key(b, k) for k in range(a.ndim))


def meet_shape(parts: Iterable[Expr], whole: Expr) -> bool:
    """Tell whether the parts surely broadcast to the shape of `whole`."""
    inputs = list(parts)
    return max((p.ndim for p in inputs), default=0) == whole.ndim and all(
        _meets(_aligned(inputs, whole.ndim, k), dim_key(whole, k)) for k in range(whole.ndim)
    )


def _aligned(inputs: list[Expr], ndim: int, axis: int) -> Iterator[Any]:
    for x in inputs:
        if axis - ndim + x.ndim >= 0:
            yield dim_key(x, axis - ndim + x.ndim)


def _meets(keys: Iterator[Any], wanted: Any) -> bool:
    long = {k for k in keys if k != 1}
    return long == {wanted} or (not long and wanted == 1)


def as_known_as(made: Expr, node: Expr) -> Expr:
    """Return `made`, which has the shape of `node`, with the dims that the type of `node` knows."""
    if made.type.shape == node.type.shape:
        return made
    return broadcast_to(made, tuple(dim_of(made, a) if d is None else d for a, d in enumerate(node.type.shape)))
