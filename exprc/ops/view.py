"""Views: the same elements in another order. Each rule maps an output index to the input index it shows.

Where a view leaves elements open (a padded border, the part of an array that a slice did not cover), the rule states the conditions
under which there is an element and what stands elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report, whole_number
from exprc.expr import _JOIN, Expr, as_expr
from exprc.forms import (
    _DIMSHUFFLE,
    Arg,
    ShapeError,
    Source,
    View,
    axes_there_are,
    broadcast,
    cast_to,
    fill_dims,
    node_rows,
    normal_axes,
    same_dim,
    shape_text,
    split_dims,
    static_size,
    view,
    wrap,
)  # fmt: skip
from exprc.size import Dim, Unknown, ceildiv, floordiv, maximum, minimum, mod, product
from exprc.types import dtype_name, is_integer, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "broadcast_to", "concatenate", "dimshuffle", "flatten", "reshape", "squeeze", "stack", "transpose",
]  # fmt: skip

# -- the length of an axis, as an expression ---------------------------------------------------------------------------


def dim_of(x: Expr, axis: int) -> int | Expr:
    """Return the length of an axis: an int where the type knows it, else an expression (which never computes `x`)."""
    known = x.type.shape[axis]
    return known if known is not None else dim.node((x,), {"axis": axis})


dim = view(
    "dim", data=1, shape=lambda args, axis: (), dtype=lambda dtypes, axis: "int64", grad=lambda g, y, x, axis: None,
    numpy=lambda x, axis: np.int64(x.shape[axis]),
    index=lambda i, args, load, axis: Source(()), samples=lambda: [((np.zeros((3, 4), "float32"),), {"axis": 1})],
    doc="the length of an axis",
)  # fmt: skip

# -- axes in another order ---------------------------------------------------------------------------------------------


def _dimshuffle_shape(args: Sequence[Arg], order: tuple[Any, ...]) -> tuple[Dim, ...]:
    x = args[0]
    for axis, d in enumerate(x.shape):
        if axis not in order and not (isinstance(d, Unknown) or (isinstance(d, int) and d == 1)):
            raise ShapeError(f"axis {axis} of length {d} cannot be dropped: order {order} of shape {shape_text(x.shape)}",
                             "only axes of length 1 may be left out")  # fmt: skip
    return tuple(1 if a == "x" else x.shape[a] for a in order)


def _dimshuffle_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, order: tuple[Any, ...]) -> Source:
    place = {a: k for k, a in enumerate(order) if a != "x"}
    return Source(tuple(i[place[a]] if a in place else 0 for a in range(len(args[0].shape))))


def _dimshuffle_grad(g: Expr, y: Expr, x: Expr, order: tuple[Any, ...]) -> Expr:
    kept = [a for a in order if a != "x"]
    squeezed = dimshuffle.node((g,), {"order": tuple(k for k, a in enumerate(order) if a != "x")})
    return dimshuffle.node((squeezed,), {"order": tuple(kept.index(a) if a in kept else "x" for a in range(x.ndim))})


def _behind(order: Sequence[Any]) -> tuple[Any, ...]:
    """The same order of axes that stand one place further back."""
    return (0, *(a if a == "x" else a + 1 for a in order))


def _dimshuffle_numpy(x: np.ndarray[Any, Any], order: tuple[Any, ...]) -> Any:
    kept = [a for a in order if a != "x"]
    dropped = [a for a in range(x.ndim) if a not in kept]
    moved = np.transpose(x, kept + dropped).reshape([x.shape[a] for a in kept])
    return moved.reshape([1 if a == "x" else x.shape[a] for a in order])


def _dimshuffle_call(x: Any, *order: Any) -> Expr:
    x = as_expr(x)
    entries = tuple(order[0]) if len(order) == 1 and isinstance(order[0], (tuple, list)) else order
    entries = tuple(a if isinstance(a, str) and a == "x" else whole_number(a, "dimshuffle: an axis", "'x' is a new one") for a in entries)
    for a in entries:
        if a != "x" and not -x.ndim <= a < x.ndim:
            text = f"dimshuffle: axis {a} is out of bounds for an array of {x.ndim} dimensions"
            raise ValueError(report(text, node_rows((x,)), axes_there_are(x.ndim)))
    axes = tuple(a if a == "x" else a % x.ndim for a in entries)
    named = [a for a in axes if a != "x"]
    if len(set(named)) != len(named):
        fix = "name each axis once; 'x' makes a new one of length 1"
        raise ValueError(report(f"dimshuffle: an axis is named twice: {axes}", node_rows((x,)), fix))
    return dimshuffle.node((x,), {"order": axes})


dimshuffle = view(
    "dimshuffle", data=1, shape=_dimshuffle_shape, index=_dimshuffle_index, grad=_dimshuffle_grad, numpy=_dimshuffle_numpy,
    call=_dimshuffle_call, batched=lambda node, inputs, which, rows: dimshuffle.node(inputs, {"order": _behind(node.params["order"])}),
    doc="axes in a new order: numbers are axes of `x`, 'x' a new axis of length 1",
    samples=lambda: [((np.arange(6.0).reshape(2, 1, 3),), {"order": o}) for o in ((2, 0), (0, "x", 2, 1), ("x", 2, 1, 0))],
)  # fmt: skip
_DIMSHUFFLE.append(dimshuffle)


def transpose(x: Any, axes: Any = None) -> Expr:
    """Reverse the axes of `x`, or put them in the order `axes`."""
    x = as_expr(x)
    if axes is not None and len(axes) != x.ndim:
        text = f"transpose: {len(axes)} axes for an array of {x.ndim} dimensions"
        raise ValueError(report(text, node_rows((x,)), "name every axis once; dimshuffle drops and adds axes"))
    return dimshuffle(x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))


def squeeze(x: Any, axis: Any = None) -> Expr:
    """Drop axes of length 1: those named, or all that are known to be 1."""
    x = as_expr(x)
    drop = [a for a, b in enumerate(x.broadcastable) if b] if axis is None else normal_axes(axis, x.ndim, "squeeze")
    for a in drop:
        if x.type.shape[a] not in (1, None):
            text = f"squeeze: axis {a} of length {x.type.shape[a]} cannot be dropped"
            raise ValueError(report(text, node_rows((x,)), "only axes of length 1 can; index it, x[0], or reduce along it"))
    return dimshuffle(x, tuple(a for a in range(x.ndim) if a not in drop))


# -- broadcasting ------------------------------------------------------------------------------------------------------


def _broadcast_shape(args: Sequence[Arg], shape: tuple[int | None, ...]) -> tuple[Dim, ...]:
    dims = fill_dims(shape, [a.value for a in args[1:]])
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise ShapeError(f"a length is negative: {shape_text(dims)}")
    if len(dims) < len(args[0].shape):
        raise ShapeError(f"cannot broadcast {shape_text(args[0].shape)} to fewer axes: {shape_text(dims)}")
    both = broadcast([args[0].shape, dims])
    for wanted, got in zip(dims, both):
        if isinstance(wanted, int) and isinstance(got, int) and wanted != got:
            text = f"cannot broadcast {shape_text(args[0].shape)} to {shape_text(dims)}: {got} ≠ {wanted}"
            raise ShapeError(text, "only axes of length 1 can be repeated")
    return dims


def broadcast_index(i: Sequence[Dim], shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Return the index into an operand of `shape` that NumPy's broadcasting pairs with the output index `i`."""
    return tuple(0 if isinstance(d, int) and d == 1 else j for d, j in zip(shape, i[len(i) - len(shape) :]))


broadcast_to: View = view(
    "broadcast_to", data=1, shape=_broadcast_shape, index=lambda i, args, load, shape: Source(broadcast_index(i, args[0].shape)),
    grad=lambda g, y, x, *sizes, shape: g, numpy=lambda x, *sizes, shape: np.broadcast_to(x, fill_dims(shape, sizes)),
    call=lambda x, shape: _with_dims(broadcast_to, x, shape),
    batched=lambda node, inputs, which, rows: _more_dims(node, _before_others(inputs[0], node.ndim), inputs, rows),
    samples=lambda: [((np.arange(3.0).reshape(3, 1),), {"shape": (2, 3, 4)}), ((np.float32(2),), {"shape": (0, 3)})],
    doc="`x` repeated along axes of length 1 and new leading axes until it has `shape`",
)  # fmt: skip


def _with_dims(op: Any, x: Any, shape: Any) -> Expr:
    static, sizes = split_dims(shape)
    return op.node((as_expr(x), *sizes), {"shape": static})


def _before_others(x: Expr, ndim: int) -> Expr:
    """`x` with axes of length 1 after its first until `ndim` others stand behind that one."""
    order = (0, *("x",) * (ndim + 1 - x.ndim), *range(1, x.ndim))
    return x if x.ndim == ndim + 1 else dimshuffle.node((x,), {"order": order})


def _more_dims(node: Expr, x: Expr, inputs: Sequence[Expr], rows: Any) -> Expr:
    """Make a node of a record whose parameter `shape` is that of the result, an axis of `rows` put before it."""
    static, sizes = split_dims((rows,))
    return node.op.node((x, *sizes, *inputs[1:]), {**node.params, "shape": (*static, *node.params["shape"])})


# -- reshape -----------------------------------------------------------------------------------------------------------


def _reshape_shape(args: Sequence[Arg], shape: tuple[int | None, ...]) -> tuple[Dim, ...]:
    dims, total = list(fill_dims(shape, [a.value for a in args[1:]])), product(args[0].shape)
    if -1 in [d for d in dims if isinstance(d, int)]:
        rest = product(d for d in dims if not (isinstance(d, int) and d == -1))
        dims[dims.index(-1)] = floordiv(total, rest) if not (isinstance(rest, int) and rest == 0) else 0
    if not any(isinstance(d, Unknown) for d in dims):
        what = f"cannot reshape {shape_text(args[0].shape)} to {shape_text(dims)}: numbers of elements differ"
        same_dim(total, product(dims), what, "one dim may be -1: it takes what the others leave over")
    return tuple(dims)


def _reshape_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, shape: tuple[int | None, ...]) -> Source:
    return Source(unravel(ravel(i, _reshape_shape(args, shape)), args[0].shape))


def ravel(i: Sequence[Dim], shape: Sequence[Dim]) -> Dim:
    """Return the position, in row-major order, of index `i`."""
    position: Dim = 0
    for j, d in zip(i, shape):
        position = position * d + j  # type: ignore[operator]
    return position


def unravel(position: Dim, shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Return the index at a position in row-major order."""
    index: list[Dim] = []
    for axis in range(len(shape)):
        inner = product(shape[axis + 1 :])
        outer = floordiv(position, inner)
        index.append(mod(outer, shape[axis]) if axis else outer)
    return tuple(index)


def _reshape_call(x: Any, shape: Any, ndim: int | None = None, order: str = "C") -> Expr:
    """Return the elements of `x` in another shape, in row-major order ("C"), or read and written with the first axis fastest ("F")."""
    x = as_expr(x)
    if order not in ("C", "F"):
        raise ValueError(report(f"reshape: order={order!r} is not supported", node_rows((x,)), "choose 'C' or 'F'"))
    shape = shape.tolist() if isinstance(shape, np.ndarray) else shape
    if order == "F":
        turned = tuple(reversed(shape)) if isinstance(shape, (tuple, list)) else shape
        return transpose(_reshape_call(transpose(x), turned, ndim))
    static, sizes = split_dims(shape)
    if static.count(-1) > 1:
        text = f"reshape: only one dim may be -1: {shape_text(static)}"
        raise ValueError(report(text, node_rows((x,)), "-1 is what the other dims leave over; give all but one as numbers"))
    return reshape.node((x, *sizes), {"shape": static})


reshape: View = view(
    "reshape", data=1, shape=_reshape_shape, index=_reshape_index, call=_reshape_call,
    grad=lambda g, y, x, *sizes, shape: reshape(g, tuple(dim_of(x, a) for a in range(x.ndim))),
    numpy=lambda x, *sizes, shape: np.reshape(x, fill_dims(shape, sizes)),
    batched=lambda node, inputs, which, rows: _more_dims(node, inputs[0], inputs, rows),
    samples=lambda: [((np.arange(24.0).reshape(2, 3, 4),), {"shape": s}) for s in ((6, 4), (-1,), (4, 3, 2), (2, 12, 1))],
    doc="the same elements, in row-major order, in another shape; one dim may be -1",
)  # fmt: skip


def flatten(x: Any, ndim: int = 1, outdim: int | None = None) -> Expr:
    """Merge the last axes so that `ndim` axes are left."""
    x, number = as_expr(x), outdim if outdim is not None else ndim
    ndim = whole_number(number, "flatten: the number of axes", "ravel(x, order='F') has an order")
    if not 1 <= ndim <= max(x.ndim, 1):
        text = f"flatten: cannot keep {ndim} axes of {x.ndim}"
        raise ValueError(report(text, node_rows((x,)), f"give a number from 1 to {max(x.ndim, 1)}"))
    if x.ndim == ndim:
        return x
    last = x.type.shape[ndim - 1 :]
    end = math.prod(last) if None not in last else (-1 if 0 not in x.type.shape else 0)
    return reshape(x, (*(dim_of(x, a) for a in range(ndim - 1)), end))


# -- slices ------------------------------------------------------------------------------------------------------------
# One entry an axis in `slices`: ("at", k) an integer, ("range", start, stop, step). A bound is an int, None, or "?" for a size input.


def _bound(value: Dim, n: Dim, low: Dim, high: Dim) -> Dim:
    """Clamp a bound of a slice as Python does: negative ones count from the end."""
    return maximum(low, minimum(_from_start(value, n), high))


def _from_start(value: Dim, n: Dim) -> Dim:
    """Count a negative position from the end; of one whose sign only the call knows, min(1, max(0, -value)) tells it."""
    if isinstance(value, int):
        return value if value >= 0 else value + n  # type: ignore[operator]
    return value + n * minimum(1, maximum(0, -value))  # type: ignore[operator]


def slice_range(entry: tuple[Any, ...], n: Dim, sizes: Any) -> tuple[Dim, Dim, int]:
    """Return (start, length, step) of a slice entry on an axis of length n; an integer is a slice of length 1."""
    kind, *bounds = entry
    values = [next(sizes) if b == "?" else b for b in bounds]
    if kind == "at":
        at = _from_start(values[0], n)
        if isinstance(n, int) and isinstance(at, int) and not 0 <= at < n:
            fix = f"indices go from 0 to {n - 1}, or from -{n} to -1 from the end" if n else "the axis is empty"
            raise ShapeError(f"index {values[0]} is out of bounds for an axis of length {n}", fix, IndexError)
        return at, 1, 1
    start, stop, step = values
    step = 1 if step is None else step
    if step > 0:
        first = 0 if start is None else _bound(start, n, 0, n)
        last = n if stop is None else _bound(stop, n, 0, n)
        return first, maximum(0, ceildiv(last - first, step)), step
    first = n - 1 if start is None else _bound(start, n, -1, n - 1)
    last = -1 if stop is None else _bound(stop, n, -1, n - 1)
    return first, maximum(0, ceildiv(first - last, -step)), step


def _ranges(shape: Sequence[Dim], slices: tuple[Any, ...], sizes: Sequence[Arg]) -> list[tuple[Dim, Dim, int]]:
    values = iter([a.value for a in sizes])
    return [slice_range(entry, n, values) for entry, n in zip(slices, shape)]


def _slice_shape(args: Sequence[Arg], slices: tuple[Any, ...]) -> tuple[Dim, ...]:
    ranges = _ranges(args[0].shape, slices, args[1:])
    return tuple(length for entry, (_, length, _) in zip(slices, ranges) if entry[0] == "range")


def _slice_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, slices: tuple[Any, ...]) -> Source:
    at = iter(i)
    ranges = _ranges(args[0].shape, slices, args[1:])
    return Source(tuple(
        start if entry[0] == "at" else start + next(at) * step for entry, (start, _, step) in zip(slices, ranges)
    ))  # fmt: skip


def python_slices(slices: tuple[Any, ...], sizes: Sequence[Any]) -> tuple[Any, ...]:
    """Return the index that NumPy takes for the entries `slices`."""
    values = iter(int(s) for s in sizes)
    filled = [[next(values) if b == "?" else b for b in entry[1:]] for entry in slices]
    return tuple(f[0] if entry[0] == "at" else slice(*f) for entry, f in zip(slices, filled))


def _slice_samples() -> list[Any]:
    x = np.arange(20.0).reshape(4, 5)
    full = ("range", None, None, None)
    return [((x,), {"slices": s}) for s in (
        (("range", 1, 3, None), full), (("at", -1), ("range", None, None, 2)), (("range", None, None, -1), ("range", 4, 0, -2)),
        (("range", 3, 1, None), full),
    )]  # fmt: skip


_FULL = ("range", None, None, None)

subtensor = view(
    "subtensor", data=1, shape=_slice_shape, index=_slice_index,
    grad=lambda g, y, x, *sizes, slices: place(g, [dim_of(x, a) for a in range(x.ndim)], slices, sizes),
    numpy=lambda x, *sizes, slices: x[python_slices(slices, sizes)], samples=_slice_samples,
    batched=lambda node, inputs, which, rows: subtensor.node(tuple(inputs), {"slices": (_FULL, *node.params["slices"])}),
    doc="basic indexing: integers and slices, one entry an axis",
)  # fmt: skip


def place(x: Expr, shape: Sequence[Any], slices: tuple[Any, ...], sizes: Sequence[Expr]) -> Expr:
    """Return an array of `shape` that holds `x` where `slices` point, 0 elsewhere: the transpose of `subtensor`."""
    static, dims = split_dims(list(shape))
    return place_record.node((x, *dims, *sizes), {"shape": static, "slices": slices})


def _place_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    static, sizes = split_dims((rows,))
    params = {"shape": (*static, *node.params["shape"]), "slices": (_FULL, *node.params["slices"])}
    return place_record.node((inputs[0], *sizes, *inputs[1:]), params)


def _place_dims(args: Sequence[Arg], shape: tuple[int | None, ...]) -> tuple[tuple[Dim, ...], Sequence[Arg]]:
    dims = shape.count(None)
    return fill_dims(shape, [a.value for a in args[1 : 1 + dims]]), args[1 + dims :]


def _place_shape(args: Sequence[Arg], shape: tuple[int | None, ...], slices: tuple[Any, ...]) -> tuple[Dim, ...]:
    dims, sizes = _place_dims(args, shape)
    lengths = [n for entry, (_, n, _) in zip(slices, _ranges(dims, slices, sizes)) if entry[0] == "range"]
    for got, wanted in zip(args[0].shape, lengths):
        same_dim(got, wanted, f"{shape_text(args[0].shape)} does not fit the part of shape {shape_text(lengths)}")
    return dims


def _place_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, shape: Any, slices: tuple[Any, ...]) -> Source:
    dims, sizes = _place_dims(args, shape)
    index: list[Dim] = []
    conditions: list[tuple[Dim, Dim]] = []
    for j, entry, (start, length, step) in zip(i, slices, _ranges(dims, slices, sizes)):
        offset = (j - start) if step > 0 else (start - j)  # type: ignore[operator]
        k = floordiv(offset, abs(step))
        if entry[0] == "range":
            index.append(k)
        conditions.append((k if entry[0] == "range" else offset, length))
        if abs(step) != 1:
            conditions.append((mod(offset, abs(step)), 1))
    return Source(tuple(index), tuple(conditions))


def _place_numpy(x: Any, *rest: Any, shape: Any, slices: Any) -> Any:
    dims = shape.count(None)
    out = np.zeros(fill_dims(shape, [int(d) for d in rest[:dims]]), x.dtype)
    out[python_slices(slices, rest[dims:])] = x
    return out


place_record = view(
    "place", data=1, shape=_place_shape, index=_place_index, numpy=_place_numpy, batched=_place_rows,
    grad=lambda g, y, x, *rest, shape, slices: subtensor.node((g, *rest[shape.count(None) :]), {"slices": slices}),
    samples=lambda: [((x[python_slices(p["slices"], ())],), {"shape": (4, 5), **p}) for (x,), p in _slice_samples()],
    doc="zeros with `x` in the part that slices point to",
)  # fmt: skip

# -- several arrays in one ---------------------------------------------------------------------------------------------


def _concatenate_shape(args: Sequence[Arg], axis: int) -> tuple[Dim, ...]:
    shape = list(args[0].shape)
    for arg in args[1:]:
        if len(arg.shape) != len(shape):
            raise ShapeError(f"arrays of {len(shape)} and {len(arg.shape)} axes cannot be joined", "stack() makes a new axis")
        for a in range(len(shape)):
            if a != axis:
                text = f"lengths of axis {a} differ (only those of axis {axis}, along which they are joined, may)"
                shape[a] = same_dim(shape[a], arg.shape[a], text, f"did you mean axis={a}?")
    shape[axis] = sum((a.shape[axis] for a in args), start=0)  # type: ignore[arg-type]
    return tuple(shape)


def _concatenate_place(i: Sequence[Dim], k: int, args: Sequence[Arg], axis: int) -> tuple[Dim, ...]:
    before: Dim = sum((a.shape[axis] for a in args[:k]), start=0)  # type: ignore[arg-type]
    return tuple(j + before if a == axis else j for a, j in enumerate(i))  # type: ignore[operator]


def _concatenate_grad(g: Expr, y: Expr, *arrays: Expr, axis: int) -> tuple[Expr, ...]:
    parts, start = [], as_expr(0)
    for x in arrays:
        stop = start + dim_of(x, axis)  # type: ignore[operator]
        parts.append(getitem(g, (slice(None),) * axis + (slice(start, stop),)))
        start = stop
    return tuple(parts)


def _concatenate_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    parts = (x if rowed else broadcast_to(x, (rows, *(dim_of(x, a) for a in range(x.ndim)))) for x, rowed in zip(inputs, which))
    return concatenate.node(tuple(parts), {"axis": node.params["axis"] + 1})


def _concatenate_call(arrays: Sequence[Any], axis: int | None = 0, dtype: Any = None) -> Expr:
    if axis is not None:
        axis = whole_number(axis, "concatenate: the axis", "the arrays go in a list: concatenate([a, b])")
    inputs = wrap(tuple(arrays))
    if axis is None:
        inputs, axis = tuple(flatten(x) for x in inputs), 0
    if not inputs:
        raise ValueError(report("concatenate: at least one array is needed", fix="is the list that was given empty?"))
    if inputs[0].ndim == 0:
        text = "concatenate: scalars have no axis to be joined along"
        raise ValueError(report(text, node_rows(inputs), "stack() puts them along a new axis"))
    if not -inputs[0].ndim <= axis < inputs[0].ndim:
        text = f"concatenate: axis {axis} is out of bounds for arrays of {inputs[0].ndim} dimensions"
        raise ShapeError(text, axes_there_are(inputs[0].ndim))
    wanted = promote(x.dtype for x in inputs) if dtype is None else dtype_name(dtype)
    return concatenate.node(tuple(cast_to(x, wanted) for x in inputs), {"axis": axis % inputs[0].ndim})


concatenate = view(
    "concatenate", shape=_concatenate_shape, place=_concatenate_place, grad=_concatenate_grad, call=_concatenate_call,
    batched=_concatenate_rows,
    aliases=("concat",), numpy=lambda *arrays, axis: np.concatenate(arrays, axis),
    samples=lambda: [((np.ones((2, 3)), np.zeros((2, 1)), np.full((2, 0), 5.0)), {"axis": 1}), ((np.arange(3), np.arange(2)), {"axis": 0})],
    doc="arrays one after the other along an axis",
)  # fmt: skip


def stack(arrays: Sequence[Any], axis: int = 0, dtype: Any = None) -> Expr:
    """Join arrays of one shape along a new axis."""
    axis = whole_number(axis, "stack: the axis", "the arrays go in a list: stack([a, b])")
    inputs = wrap(tuple(arrays))
    if not inputs:
        raise ValueError(report("stack: at least one array is needed", fix="is the list that was given empty?"))
    ndim = inputs[0].ndim + 1
    _check_alike(inputs)
    (where_,) = normal_axes(axis, ndim, "stack")
    order = tuple("x" if a == where_ else a - (a > where_) for a in range(ndim))
    return concatenate([dimshuffle(x, order) for x in inputs], axis=where_, dtype=dtype)


def _check_alike(inputs: Sequence[Expr]) -> None:
    first = inputs[0].type.shape
    for x in inputs:
        if x.ndim != len(first) or any(None not in (m, n) and m != n for m, n in zip(first, x.type.shape)):
            text = f"stack: arrays of one shape are needed: {shape_text(first)} ≠ {shape_text(x.type.shape)}"
            raise ValueError(report(text, node_rows((inputs[0], x)), "concatenate joins along an axis that is there; broadcast_to repeats"))


_JOIN.append(stack)

# -- indexing with an object -------------------------------------------------------------------------------------------


def getitem(x: Expr, index: Any) -> Expr:
    """Return ``x[index]`` for integers, slices, None and Ellipsis; integer arrays are `exprc.ops.index`'s."""
    entries, new_axes = full_index(x, index if isinstance(index, tuple) else (index,))
    slices, sizes = slice_entries(entries)
    only_new_axes = new_axes and all(s == ("range", None, None, None) for s in slices)
    y = x if only_new_axes else subtensor.node((x, *sizes), {"slices": slices})
    return dimshuffle(y, _with_new_axes(y.ndim, new_axes)) if new_axes else y


def full_index(x: Expr, index: tuple[Any, ...]) -> tuple[list[Any], list[int]]:
    """Return one entry for each axis of `x` (Ellipsis and missing ones filled in) and where new axes stand in the result."""
    if sum(e is Ellipsis for e in index) > 1:
        raise IndexError(report("an index can have one ... only", node_rows((x,)), "use : for a single axis"))
    used = sum(e is not None and e is not Ellipsis for e in index)
    if used > x.ndim:
        text = f"too many indices: {used} for an array of {x.ndim} dimensions"
        raise IndexError(report(text, [("array", f"{x.label}  {x.type}", x.where)], "give at most one index for each axis"))
    fill = [slice(None)] * (x.ndim - used)
    at = next((k for k, e in enumerate(index) if e is Ellipsis), len(index))
    spread = [*index[:at], *fill, *index[at + 1 :]]
    new_axes, out = [], 0
    for e in spread:
        if e is None:
            new_axes.append(out)
        out += e is None or isinstance(e, slice)
    return [e for e in spread if e is not None], new_axes


def _with_new_axes(ndim: int, new_axes: Sequence[int]) -> tuple[Any, ...]:
    kept = iter(range(ndim))
    return tuple("x" if k in new_axes else next(kept) for k in range(ndim + len(new_axes)))


def slice_entries(entries: Sequence[Any]) -> tuple[tuple[Any, ...], list[Expr]]:
    """Return the `slices` parameter and the size inputs for integers and slices, whose parts may be expressions."""
    sizes: list[Expr] = []
    slices = []
    for e in entries:
        parts = (e.start, e.stop, e.step) if isinstance(e, slice) else (e,)
        if isinstance(e, slice) and e.step is not None and (isinstance(e.step, Expr) or int(e.step) == 0):
            raise ShapeError("the step of a slice must be a number other than 0", "leave it out to take every element")
        slices.append(("range" if isinstance(e, slice) else "at", *(_part(p, sizes) for p in parts)))
    return tuple(slices), sizes


def _part(part: Any, sizes: list[Expr]) -> Any:
    if part is None:
        return None
    if not isinstance(part, Expr):
        return whole_number(part, "a bound of a slice", "round it and cast it to an integer")
    check_integer(part, "a bound of a slice")
    value = static_size(part)
    if isinstance(value, int):
        return value
    sizes.append(part)
    return "?"


def check_integer(x: Expr, what: str) -> None:
    """Refuse an expression that is no integer scalar; `what` says what it stands for."""
    if x.ndim or not is_integer(x.dtype):
        raise TypeError(report(f"{what} must be an integer scalar, not {x.type}", node_rows((x,)), "cast it to 'int64'?"))
