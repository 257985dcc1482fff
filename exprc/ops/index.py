"""Indexing: what ``x[...]`` builds.

Integers and slices are views (`exprc.ops.view`). Integer arrays are a view too, `gather`, whose index is read from memory; a boolean mask
is the integer arrays that `exprc.ops.nonzero` gives.
The way back, `scatter`, adds or writes rows at positions that only the data knows; it is a kernel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Constant, Expr, as_expr
from exprc.forms import (
    Arg,
    Composite,
    Hook,
    Implementation,
    ShapeError,
    Source,
    broadcast,
    cast_to,
    fill_dims,
    first_dtype,
    kernel,
    same_dim,
    shape_text,
    split_dims,
    static_size,
    view,
)  # fmt: skip
from exprc.ops import view as views
from exprc.ops.axes import stated
from exprc.ops.formula import cast, eq, floor_div, iota, maximum, minimum, where
from exprc.ops.nonzero import nonzero
from exprc.ops.rows import everywhere, fold, unfold
from exprc.ops.tiling import scatter_cut, scatter_launch
from exprc.ops.view import broadcast_index, broadcast_to, dim_of, dimshuffle, reshape, subtensor
from exprc.size import UNKNOWN, Dim
from exprc.types import is_integer

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__: list[str] = []

_FULL = ("range", None, None, None)

# -- rows at positions in integer arrays -------------------------------------------------------------------------------


def _gather_shape(args: Sequence[Arg]) -> tuple[Dim, ...]:
    x, *indices = args
    if len(indices) > len(x.shape):
        raise ShapeError(f"{len(indices)} index arrays for an array of {len(x.shape)} dimensions")
    positions = broadcast([a.shape for a in indices])
    if 0 not in positions and UNKNOWN not in positions and any(isinstance(d, int) and d == 0 for d in x.shape[: len(indices)]):
        raise ShapeError(f"there is no element to take: {shape_text(x.shape)}", "the axis that is indexed is empty", IndexError)
    return (*positions, *x.shape[len(indices) :])


def _gather_index(i: Sequence[Dim], args: Sequence[Arg], load: Any) -> Source:
    x, *indices = args
    ndim = max(len(a.shape) for a in indices)
    at = [load(k + 1, broadcast_index(i[:ndim], a.shape), x.shape[k]) for k, a in enumerate(indices)]
    return Source((*at, *i[ndim:]))


def _gather_grad(g: Expr, y: Expr, x: Expr, *indices: Expr) -> tuple[Expr | None, ...]:
    if x.ndim == 2 and len(indices) == 2 and indices[0].op is iota and indices[1].ndim == 1:
        static, sizes = split_dims([dim_of(x, 0), dim_of(x, 1)])
        return (one_a_row.node((g, indices[1], *sizes), {"shape": static}), None, None)
    return (scatter(_zeros(x, g.dtype), indices, g, "inc"), *(None for _ in indices))


def _one_a_row(g: Expr, y: Expr, *sizes: Expr, shape: tuple[int | None, ...]) -> Expr:
    """Each row has one element that is not 0, so a comparison does where a scatter would be needed otherwise."""
    rows, columns = fill_dims(shape, sizes)
    if g.type.shape[0] != static_size(as_expr(rows)):  # fewer positions than rows
        return scatter(broadcast_to(as_expr(0, (g.dtype,)), (rows, columns)), (iota(dim_of(g, 0)), y), g, "inc")
    at = dimshuffle(where(y < 0, y + columns, y), (0, "x"))  # type: ignore[operator]
    return where(eq(dimshuffle(iota(columns), ("x", 0)), at), dimshuffle(g, (0, "x")), 0)


def _one_a_row_numpy(g: Any, y: Any, *sizes: Any, shape: tuple[int | None, ...]) -> Any:
    out = np.zeros([int(d) for d in fill_dims(shape, sizes)], g.dtype)
    out[np.arange(len(g)), y] = g
    return out


def _one_a_row_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    """The rows of the whole are the last axis of what is scattered."""
    g, at, *sizes = inputs
    dims = fill_dims(node.params["shape"], sizes)
    if which[1]:
        index = [dimshuffle(iota(rows), (0, "x")), dimshuffle(iota(dim_of(at, 1)), ("x", 0)), at]
        return scatter(broadcast_to(as_expr(0, (g.dtype,)), (rows, *dims)), index, g, "inc")
    none = broadcast_to(as_expr(0, (g.dtype,)), (*dims, rows))
    return dimshuffle(scatter(none, (iota(dim_of(g, 1)), at), dimshuffle(g, (1, 0)), "inc"), (2, 0, 1))  # type: ignore[no-any-return]


one_a_row = Composite(
    "one_a_row", body=_one_a_row, batched=_one_a_row_rows, numpy=_one_a_row_numpy, data=2, late=True, dtype=lambda dtypes, shape: dtypes[0],
    shape=lambda args, shape: fill_dims(shape, [a.value for a in args[2:]]),
    grad=lambda gg, y, g, at, *sizes, shape: (gather.node((gg, iota(dim_of(g, 0)), at), {}), None),
    samples=lambda: [((np.arange(3.0), np.array([1, -1, 0])), {"shape": (3, 4)}), ((np.arange(2.0), np.array([1, 3])), {"shape": (3, 4)})],
    doc="a matrix of zeros with g[k] at column y[k] of row k: the transpose of ``x[arange(n), y]``",
)  # fmt: skip


def _zeros(x: Expr, dtype: str) -> Expr:
    return broadcast_to(as_expr(0, (dtype,)), tuple(dim_of(x, a) for a in range(x.ndim)))


def _gather_samples() -> list[Any]:
    x = np.arange(24.0).reshape(4, 3, 2)
    return [
        ((x, np.array([3, 0, -1, 0])), {}),
        ((x, np.array([[1], [2]], "int32"), np.array([0, -3, 2])), {}),
        ((x.astype("float32"), np.int64(2)), {}),
        ((x, np.zeros((0,), "int64")), {}),
    ]


def _gather_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    """Rows of the indices count as an index of their own; rows of the array alone stand behind what is indexed meanwhile."""
    x, *indices = inputs
    ndim = max(i.ndim for i in node.inputs[1:])
    if any(which[1:]):
        aligned = [_behind_rows(i, ndim) if rowed else i for i, rowed in zip(indices, which[1:])]
        first = (dimshuffle(iota(rows), (0, *("x",) * ndim)),) if which[0] else ()
        return gather.node((x, *first, *aligned), {})
    k = len(indices)
    taken = gather.node((dimshuffle(x, (*range(1, k + 1), 0, *range(k + 1, x.ndim))), *indices), {})
    return dimshuffle(taken, (ndim, *(a for a in range(taken.ndim) if a != ndim)))  # type: ignore[no-any-return]


def _behind_rows(i: Expr, ndim: int) -> Expr:
    """Indices with rows, broadcast to `ndim` axes besides."""
    return dimshuffle(i, (0, *("x",) * (ndim + 1 - i.ndim), *range(1, i.ndim)))  # type: ignore[no-any-return]


gather = view(
    "gather", shape=_gather_shape, index=_gather_index, grad=_gather_grad, numpy=lambda x, *indices: x[indices], samples=_gather_samples,
    batched=_gather_rows,
    doc="x[i, j ...]: the first axes of `x` indexed by integer arrays that broadcast together; negative indices count from the end",
)  # fmt: skip

# -- writing and adding at such positions ------------------------------------------------------------------------------

def _scatter_shape(args: Sequence[Arg], mode: str) -> tuple[Dim, ...]:
    x, index, v = args
    same_dim(index.shape[0], v.shape[0], "rows and positions differ")
    same_dim(x.shape[1], v.shape[1], f"rows differ in length: {shape_text(x.shape)} · {shape_text(v.shape)}")
    return x.shape


def _scatter_numpy(x: Any, index: Any, v: Any, mode: str) -> Any:
    if np.any((index < 0) | (index >= len(x))):
        raise IndexError(f"row {index[(index < 0) | (index >= len(x))][0]} is out of bounds for {len(x)} rows")
    y = x.copy()
    if mode == "inc":
        np.add.at(y, index, v)
    else:
        for m, row in enumerate(index):  # one after the other: of equal positions the last wins
            y[row] = v[m]
    return y


def _scatter_grad(g: Expr, y: Expr, x: Expr, index: Expr, v: Expr, mode: str) -> tuple[Expr | None, ...]:
    taken = gather.node((g, index), {})
    if mode == "inc":
        return g, None, taken
    nothing = scatter_rows.node((g, index, _zeros(v, g.dtype)), {"mode": "set"})
    return nothing, None, where(_last_writes(x, index), taken, 0)


def _last_writes(x: Expr, index: Expr) -> Expr:
    """For each position whether it is the last with its value: of several writes of one row, that one stays. Shape (m, 1)."""
    order = reshape(iota(dim_of(index, 0)), (dim_of(index, 0), 1))
    none = broadcast_to(as_expr(-1, ("int64",)), (dim_of(x, 0), 1))
    last = scatter_rows.node((none, index, order), {"mode": "set"})
    return eq(gather.node((last, index), {}), order)


def _scatter_in_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    """Rows of the arrays alone make what is scattered longer; where positions differ from row to row, each has its part of the array."""
    index = inputs[1]
    x, v = everywhere(inputs[::2], which[::2], rows)
    if not which[1]:
        return unfold(scatter_rows.node((fold(x, 1), index, fold(v, 1)), node.params), 1, rows, dim_of(x, 2))
    length = dim_of(x, 1)
    moved = index + dimshuffle(iota(rows) * length, (0, "x"))
    return unfold(scatter_rows.node((fold(x, 0), fold(moved, 0), fold(v, 0)), node.params), 0, rows, length)


_SCATTER = Implementation(
    name="scatter",
    text="scatter.h",
    sizes=lambda args, outs, params, lanes: {
        "ROWS": args[0].shape[0], "R": args[0].shape[1], "M": args[1].shape[0], "MODE": int(params["mode"] == "set")},
    hooks={
        "LOAD_x": Hook("load", 0, lambda row, r: (row, r)),
        "LOAD_index": Hook("load", 1, lambda m: (m,)),
        "LOAD_v": Hook("load", 2, lambda m, r: (m, r)),
        "PTR_y": Hook("result", 0, lambda row, r: (row, r)),
    },
    layouts=(("any", "any", "any"), ("plain",)),
    flops=lambda args, outs, params: args[1].shape[0] * args[0].shape[1],
)  # fmt: skip


_CUDA_SCATTER = dataclasses.replace(
    _SCATTER, text="scatter.cuh", device="cuda", launch=scatter_launch,
    sizes=lambda args, *rest: {**_SCATTER.sizes(args, *rest), **scatter_cut(args[0].shape[0], args[0].shape[1])},
)  # fmt: skip


def _scatter_samples() -> list[Any]:
    x, v = np.arange(12.0).reshape(4, 3), np.arange(100.0, 115.0).reshape(5, 3)
    index = np.array([2, 0, 2, 3, 2])
    samples = [
        ((x.astype(d), index, v.astype(d)), {"mode": m})
        for m in ("inc", "set")
        for d in ("float32", "float64", "int64")
    ]
    return [*samples, ((x, np.zeros((0,), "int64"), np.zeros((0, 3))), {"mode": "inc"})]


scatter_rows = kernel(
    "scatter", shape=_scatter_shape, dtype=lambda dtypes, mode: dtypes[0], numpy=_scatter_numpy, implementations=(_SCATTER, _CUDA_SCATTER),
    grad=_scatter_grad, samples=_scatter_samples, batched=_scatter_in_rows,
    doc='rows of a matrix increased (mode "inc": repeated positions add up, in order) or replaced ("set": the last of them wins)',
)  # fmt: skip


def _length(x: Expr, axes: Sequence[int]) -> Any:
    total: Any = 1
    for a in axes:
        total = total * dim_of(x, a)
    return total


def scatter(x: Expr, indices: Sequence[Expr], value: Expr, mode: str) -> Expr:
    """Return `x` with `value` added to (mode "inc") or put in the place of ("set") ``x[indices]``; `value` broadcasts to that part."""
    k = len(indices)
    part = gather.node((x, *indices), {})
    index_ndim = part.ndim - (x.ndim - k)
    row: Any = as_expr(0, ("int64",))
    for axis, i in enumerate(indices):
        n = dim_of(x, axis)
        row = row * n + gather.node((iota(n), i), {})  # which brings an index below 0 into range, and refuses one out of range
    lead = tuple(dim_of(part, a) for a in range(index_ndim))
    count, width = _length(part, range(index_ndim)), _length(x, range(k, x.ndim))
    flat = reshape(broadcast_to(row, lead), (count,))
    rows = reshape(broadcast_to(value, tuple(dim_of(part, a) for a in range(part.ndim))), (count, width))
    made = scatter_rows.node((reshape(x, (_length(x, range(k)), width)), flat, cast_to(rows, x.dtype)), {"mode": mode})
    return reshape(made, tuple(dim_of(x, a) for a in range(x.ndim)))


# -- x[...] ------------------------------------------------------------------------------------------------------------


def getitem(x: Any, index: Any) -> Expr:
    """Return ``x[index]`` as NumPy does: for integers, slices, None, Ellipsis, integer arrays, boolean masks, and expressions of these.

    Bounds and steps of slices may be integer scalar expressions; they are clipped as NumPy clips them. A mask gives as many elements as
    are true in it, which only the call knows.

    Raises
    ------
    IndexError
        for too many indices, an index that is known to be out of range, or a mask of another length; at the call, for an index out of
        range.
    TypeError
        for floats and what is no index at all.
    """
    x = as_expr(x)
    given = index if isinstance(index, tuple) else (index,)
    if len(given) == 1 and isinstance(given[0], Expr) and _is_mask(given[0]):
        return mask_index.node((x, given[0]), {})
    entries = _flat([_entry(x, e) for e in _masks_made(x, given)])
    spread, new_axes = views.full_index(x, entries)
    for axis, e in enumerate(spread):
        _check_range(x, axis, e)
        if isinstance(e, slice) and isinstance(e.step, Expr) and not isinstance(static_size(e.step), int):
            views.check_integer(e.step, "the step of a slice")
            stepped = getitem(x, (slice(None),) * axis + (_stepped(x, axis, e),))
            rest = tuple(slice(None) if other is e else other for other in entries)
            return stepped if all(_is_full(other) or other is Ellipsis for other in rest) else getitem(stepped, rest)
    arrays = [e for e in spread if isinstance(e, Expr)]
    if not arrays:
        return views.getitem(x, entries)
    in_front = all(isinstance(e, Expr) for e in spread[: len(arrays)]) and all(_is_full(e) for e in spread[len(arrays) :])
    return gather.node((x, *arrays), {}) if in_front and not new_axes else _mixed(x, entries)


def _is_mask(e: Expr) -> bool:
    """Whether an expression is a mask of which only the call knows how much it lets through."""
    return e.dtype == "bool" and e.ndim > 0 and not isinstance(e, Constant)


def _masks_made(x: Expr, given: Sequence[Any]) -> Sequence[Any]:
    """Masks of NumPy and of lists as expressions, checked."""
    if all(type(e) in (int, slice) or e is None or e is Ellipsis for e in given):  # what is asked for most
        return given
    made = [e if e is None or e is Ellipsis or isinstance(e, (slice, Expr)) or np.asarray(e).dtype != bool else as_expr(e) for e in given]
    _check_masks(x, made)
    return made


def _flat(entries: Sequence[Any]) -> tuple[Any, ...]:
    """A mask stands for as many index arrays as it has axes."""
    return tuple(part for e in entries for part in (e if isinstance(e, tuple) else (e,)))


def _stepped(x: Expr, axis: int, e: slice) -> Expr:
    """Return the positions that a slice covers whose step only the call knows.

    With a step below 0 a slice goes from the last element to the one before the first; `down` is 1 then, else 0. A step of 0 (`still`
    is 1 then) gives one position, which no axis has: an error of the call.
    """
    n, step = dim_of(x, axis), cast(e.step, "int64")
    down, still = minimum(1, maximum(0, -step)), 1 - minimum(1, step * step)
    low, high = -down, n - down
    first = down * (n - 1) if e.start is None else _clipped(e.start, n, low, high)
    last = (1 - down) * (n + 1) - 1 if e.stop is None else _clipped(e.stop, n, low, high)
    return iota(maximum(-floor_div(first - last, step), still)) * step + first - still * (first + n + 1)  # type: ignore[no-any-return]


def _clipped(bound: Any, n: Any, low: Expr, high: Expr) -> Expr:
    bound = cast(as_expr(bound), "int64")
    return maximum(low, minimum(bound + n * minimum(1, maximum(0, -bound)), high))  # type: ignore[no-any-return]


def _is_full(e: Any) -> bool:
    return isinstance(e, slice) and e == slice(None)


def _entry(x: Expr, e: Any) -> Any:
    """Return an entry of an index as None, Ellipsis, slice, int, or an integer expression."""
    if e is None or e is Ellipsis or isinstance(e, slice):
        return e
    if not isinstance(e, Expr):
        e = np.asarray(e) if not isinstance(e, (list, range)) or len(e) else np.zeros(0, "int64")
        if e.dtype.kind not in "iub":
            raise TypeError(
                _no_index(
                    x,
                    f"an index must be an integer, a slice, None, ... or integers in an array, not {e.dtype}",
                    "round a number and cast it to an integer; a list of texts or records has no place here",
                )
            )
        if e.ndim == 0 and e.dtype.kind in "iu":
            return int(e)
        e = Constant(e)
    if e.dtype == "bool":
        return _indices_of_mask(x, e)
    if not is_integer(e.dtype):
        raise TypeError(_no_index(x, f"an index must be of an integer dtype, not {e.dtype}", "cast it to 'int64'?"))
    value = static_size(e) if e.ndim == 0 else None
    return value if isinstance(value, int) else e


def _indices_of_mask(x: Expr, mask: Expr) -> tuple[Expr, ...]:
    if mask.ndim == 0:
        fix = "use where(condition, x, 0), or ifelse for a choice between arrays"
        raise TypeError(_no_index(x, "a single bool is no index: whether there is an element would depend on it", fix))
    return nonzero(mask)  # type: ignore[no-any-return]


def _check_masks(x: Expr, given: Sequence[Any]) -> None:
    """A mask must be as long as the axes it stands for, which are counted from either end as an Ellipsis says."""
    sizes = [0 if e is None else e.ndim if isinstance(e, Expr) and e.dtype == "bool" else 1 for e in given]
    for k, e in enumerate(given):
        if not isinstance(e, Expr) or e.dtype != "bool":
            continue
        behind = any(other is Ellipsis for other in given[:k])
        first = x.ndim - sum(sizes[k:]) if behind else sum(sizes[:k])
        for a, (n, m) in enumerate(zip(x.type.shape[first:], e.type.shape), first):
            if None not in (n, m) and n != m:
                raise IndexError(_no_index(x, f"boolean index did not match: {m} ≠ {n} along axis {a}", "a mask is as long as the axis"))


def _no_index(x: Expr, what: str, fix: str = "") -> str:
    return report(what, [("array", f"{x.label}  {x.type}", x.where)], fix)


def _mask_shape(args: Sequence[Arg]) -> tuple[Dim, ...]:
    x, mask = args[0].shape, args[1].shape
    if not 1 <= len(mask) <= len(x):
        raise ShapeError(f"a mask of {len(mask)} dimensions for an array of {len(x)} dimensions")
    for a, (n, m) in enumerate(zip(x, mask)):
        if isinstance(n, int) and isinstance(m, int) and n != m:
            raise ShapeError(f"boolean index did not match: {m} ≠ {n} along axis {a}", "a mask is as long as the axis", IndexError)
    return (UNKNOWN, *x[len(mask) :])


def _mask_samples() -> list[Any]:
    x, m = np.arange(12.0).reshape(3, 4), np.array([True, False, True])
    return [((x, m), {}), ((x, x > 4.0), {}), ((x, np.zeros(3, "bool")), {})]


def masked_rows(x: Expr, mask: Expr) -> Expr:
    """Return `x`, at each call as long as the mask along the axes that this stands for."""
    return stated(x, [dim_of(mask, a) for a in range(mask.ndim)], "boolean index did not match", mask=True)


mask_index = Composite(
    "mask_index", body=lambda x, mask: gather.node((masked_rows(x, mask), *nonzero(mask)), {}), shape=_mask_shape, dtype=first_dtype,
    numpy=lambda x, mask: x[mask], samples=_mask_samples, doc="x[mask]: the elements, or rows, where a mask is true",
)  # fmt: skip


def _check_range(x: Expr, axis: int, e: Any) -> None:
    n = x.type.shape[axis]
    places = np.asarray(e) if isinstance(e, int) else e.value if isinstance(e, Constant) else np.zeros(0)
    if n is None or not places.size:
        return
    low, high = int(places.min()), int(places.max())
    if low < -n or high >= n:
        raise IndexError(
            _no_index(
                x,
                f"index {low if low < -n else high} is out of bounds for axis {axis} of length {n}",
                f"indices go from 0 to {n - 1}, or from -{n} to -1 from the end" if n else "the axis is empty",
            )
        )


def _mixed(x: Expr, entries: Sequence[Any]) -> Expr:
    """Slices and integer arrays in one index: one node, so that `set_subtensor` sees what was indexed."""
    pattern: list[tuple[Any, ...]] = []
    inputs: list[Expr] = []
    for e in entries:
        if isinstance(e, Expr):
            pattern.append(("array",))
            inputs.append(e)
        elif isinstance(e, slice):
            slices, sizes = views.slice_entries([e])
            pattern.append(slices[0])
            inputs.extend(sizes)
        else:
            pattern.append(("new",) if e is None else ("rest",) if e is Ellipsis else ("at", int(e)))
    return mixed_index.node((x, *inputs), {"pattern": tuple(pattern)})


def _unpack(pattern: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """Return the index that `_mixed` was given, from its pattern and its inputs."""
    values = iter(inputs)
    plain = {"new": None, "rest": Ellipsis}
    entries = []
    for kind, *parts in pattern:
        filled = [next(values) if p == "?" else p for p in parts]
        entries.append(
            plain[kind]
            if kind in plain
            else next(values)
            if kind == "array"
            else filled[0]
            if kind == "at"
            else slice(*filled)
        )
    return entries


def _mixed_body(x: Expr, *inputs: Expr, pattern: tuple[Any, ...]) -> Expr:
    """Slice first; then move the axes that arrays index to the front, gather, and move the result where NumPy puts it."""
    entries, _ = views.full_index(x, tuple(_unpack(pattern, inputs)))
    arrays = {a: as_expr(e) for a, e in enumerate(entries) if not isinstance(e, slice)}
    slices, sizes = views.slice_entries([slice(None) if a in arrays else e for a, e in enumerate(entries)])
    sliced = x if all(s == _FULL for s in slices) else subtensor.node((x, *sizes), {"slices": slices})
    others = [a for a in range(x.ndim) if a not in arrays]
    front = sliced if list(arrays) == list(range(len(arrays))) else dimshuffle(sliced, (*arrays, *others))
    taken = gather.node((front, *arrays.values()), {})
    return _arranged(taken, taken.ndim - len(others), _unpack(pattern, inputs), x.ndim)


def _arranged(taken: Expr, index_ndim: int, entries: Sequence[Any], ndim: int) -> Expr:
    """Put the axes of the index arrays where the first of them stood if they stood side by side, else first; and new axes."""
    used = sum(e is not None and e is not Ellipsis for e in entries)
    at = next((k for k, e in enumerate(entries) if e is Ellipsis), len(entries))
    spread = [*entries[:at], *[slice(None)] * (ndim - used), *entries[at + 1 :]]
    places = [k for k, e in enumerate(spread) if e is not None and not isinstance(e, slice)]
    together = _side_by_side([e is not None and e is not Ellipsis and not isinstance(e, slice) for e in entries])
    rest = iter(range(index_ndim, taken.ndim))
    order: list[Any] = [] if together else list(range(index_ndim))
    for k, e in enumerate(spread):
        if together and k == places[0]:
            order.extend(range(index_ndim))
        elif e is None or isinstance(e, slice):
            order.append("x" if e is None else next(rest))
    return taken if order == list(range(taken.ndim)) else dimshuffle(taken, tuple(order))


def _side_by_side(indexing: Sequence[bool]) -> bool:
    """Whether the integers and arrays of an index are neighbours in it; an Ellipsis parts them even where it covers no axis."""
    places = [k for k, there in enumerate(indexing) if there]
    return places[-1] - places[0] + 1 == len(places)


def _mixed_shape(args: Sequence[Arg], pattern: tuple[Any, ...]) -> tuple[Dim, ...]:
    """The lengths of the slices, and those in which the index arrays meet where `_arranged` puts them; bounds of a call are unknown."""
    shape, rest = args[0].shape, list(args[1:])
    spread = _spread(pattern, len(shape))
    arrays, sliced, dims = [], [], iter(shape)
    for entry in spread:
        n = None if entry[0] == "new" else next(dims)
        given = [rest.pop(0) for part in entry if part == "?"] or ([rest.pop(0)] if entry[0] == "array" else [])
        arrays += [given[0].shape] if entry[0] == "array" else []
        sliced.append(1 if n is None else UNKNOWN if given else views.slice_range(entry, n, iter(()))[1])
    met = broadcast(arrays)
    places = [k for k, entry in enumerate(spread) if entry[0] in ("array", "at")]
    first = places[0] if _side_by_side([entry[0] in ("array", "at") for entry in pattern]) else 0
    lengths = [d for k, d in enumerate(sliced) if k not in places]
    at = sum(k not in places for k in range(first))
    return (*lengths[:at], *met, *lengths[at:])


def _spread(pattern: Sequence[Any], ndim: int) -> list[Any]:
    """The entries of an index with whole slices for the axes that an Ellipsis, or nothing, covers."""
    used = sum(entry[0] not in ("new", "rest") for entry in pattern)
    at = next((k for k, entry in enumerate(pattern) if entry[0] == "rest"), len(pattern))
    return [*pattern[:at], *[_FULL] * (ndim - used), *pattern[at + 1 :]]


def _mixed_numpy(x: Any, *inputs: Any, pattern: tuple[Any, ...]) -> Any:
    entries = _unpack(pattern, inputs)
    return x[
        tuple(
            slice(*(None if p is None else int(p) for p in (e.start, e.stop, e.step))) if isinstance(e, slice) else e
            for e in entries
        )
    ]


def _mixed_samples() -> list[Any]:
    x, i, j = np.arange(60.0).reshape(3, 4, 5), np.array([2, 0, -1]), np.array([[1], [3]])
    part = ("range", 1, None, 2)
    return [
        ((x, i), {"pattern": (_FULL, ("array",))}),
        ((x, i, j), {"pattern": (("array",), part, ("array",))}),
        ((x, j, i), {"pattern": (part, ("array",), ("array",))}),
        ((x, i), {"pattern": (("rest",), ("new",), ("array",))}),
        ((x, i), {"pattern": (("at", 1), ("array",), part)}),
    ]


mixed_index = Composite(
    "mixed_index", body=_mixed_body, shape=_mixed_shape, dtype=first_dtype, numpy=_mixed_numpy, samples=_mixed_samples,
    doc="slices and integer arrays in one index, arranged as NumPy does",
)  # fmt: skip
