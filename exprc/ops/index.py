"""Indexing: what ``x[...]`` builds, and arrays with a part set or increased.

Integers and slices are views (`exprc.ops.view`). Integer arrays are a view too, `gather`, whose index is read from memory.
The way back, `scatter`, adds or writes rows at positions that only the data knows; it is a kernel.
"""

from __future__ import annotations

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
    formula,
    kernel,
    same_dim,
    shape_text,
    split_dims,
    static_size,
    view,
)  # fmt: skip
from exprc.ops import view as views
from exprc.ops.formula import eq, iota, where
from exprc.ops.view import broadcast_index, broadcast_to, dim_of, dimshuffle, place, reshape, subtensor
from exprc.size import Dim
from exprc.types import is_float, is_integer

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "inc_subtensor", "set_subtensor", "take",
]  # fmt: skip

_FULL = ("range", None, None, None)

# -- rows at positions in integer arrays -------------------------------------------------------------------------------


def _gather_shape(args: Sequence[Arg]) -> tuple[Dim, ...]:
    x, *indices = args
    if len(indices) > len(x.shape):
        raise ShapeError(f"{len(indices)} index arrays for an array of {len(x.shape)} dimensions")
    return (*broadcast([a.shape for a in indices]), *x.shape[len(indices) :])


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


one_a_row = Composite(
    "one_a_row", body=_one_a_row, numpy=_one_a_row_numpy, data=2, late=True, dtype=lambda dtypes, shape: dtypes[0],
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


gather = view(
    "gather", shape=_gather_shape, index=_gather_index, grad=_gather_grad, numpy=lambda x, *indices: x[indices], samples=_gather_samples,
    doc="x[i, j ...]: the first axes of `x` indexed by integer arrays that broadcast together; negative indices count from the end",
)  # fmt: skip

# -- writing and adding at such positions ------------------------------------------------------------------------------

#: What `flat_index` gives for an index out of range: no row, whatever is added to it.
_NO_ROW = -(2**62)


def _flat_numpy(row: Any, i: Any, n: Any) -> Any:
    if np.any((i < -n) | (i >= n)):
        bad = i[(i < -n) | (i >= n)] if np.ndim(i) else i
        raise IndexError(f"index {np.ravel(bad)[0]} is out of bounds for an axis of length {np.ravel(n)[0]}")
    return row * n + np.where(i < 0, i + n, i)


flat_index = formula(
    "flat_index",
    f"({{row}} < 0 || {{at}} < -{{length}} || {{at}} >= {{length}}) ? {_NO_ROW}LL"
    " : {row} * {length} + ({at} < 0 ? {at} + {length} : {at})",
    numpy=_flat_numpy, meet=lambda dtypes: (("int64",) * 3, "int64"), grad=lambda g, y, row, at, length: (None, None, None),
    samples=lambda: [((np.array([0, 1, 2]), np.array([3, -1, 0]), np.int64(4)), {})],
    doc="position of index (row, at) where rows have `length` elements; `at` below 0 counts from the end; negative if it is out of range",
)  # fmt: skip


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
    "scatter", shape=_scatter_shape, dtype=lambda dtypes, mode: dtypes[0], numpy=_scatter_numpy, implementations=(_SCATTER,),
    grad=_scatter_grad, samples=_scatter_samples,
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
        row = flat_index(row, i, dim_of(x, axis))
    lead = tuple(dim_of(part, a) for a in range(index_ndim))
    count, width = _length(part, range(index_ndim)), _length(x, range(k, x.ndim))
    flat = reshape(broadcast_to(row, lead), (count,))
    rows = reshape(broadcast_to(value, tuple(dim_of(part, a) for a in range(part.ndim))), (count, width))
    made = scatter_rows.node((reshape(x, (_length(x, range(k)), width)), flat, cast_to(rows, x.dtype)), {"mode": mode})
    return reshape(made, tuple(dim_of(x, a) for a in range(x.ndim)))


# -- x[...] ------------------------------------------------------------------------------------------------------------


def getitem(x: Any, index: Any) -> Expr:
    """Return ``x[index]`` as NumPy does, for integers, slices, None, Ellipsis, integer arrays and integer expressions.

    Raises
    ------
    IndexError
        for too many indices, or one that is known to be out of range.
    TypeError
        for boolean masks, floats and what is no index at all.
    """
    x = as_expr(x)
    entries = [_entry(x, e) for e in (index if isinstance(index, tuple) else (index,))]
    if not any(isinstance(e, Expr) for e in entries):
        return views.getitem(x, tuple(entries))
    spread, new_axes = views.full_index(x, tuple(entries))
    arrays = [e for e in spread if isinstance(e, Expr)]
    for axis, e in enumerate(spread):
        _check_range(x, axis, e)
    if (
        not new_axes
        and all(isinstance(e, Expr) for e in spread[: len(arrays)])
        and all(_is_full(e) for e in spread[len(arrays) :])
    ):
        return gather.node((x, *arrays), {})
    return _mixed(x, entries)


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
                _no_index(x, f"an index must be an integer, a slice, None, ... or integers in an array, not {e.dtype}")
            )
        if e.ndim == 0 and e.dtype.kind in "iu":
            return int(e)
        e = Constant(e)
    if e.dtype == "bool":
        raise TypeError(
            _no_index(x, "boolean masks are not supported yet", "use where(mask, x, 0) and reductions over it")
        )
    if not is_integer(e.dtype):
        raise TypeError(_no_index(x, f"an index must be of an integer dtype, not {e.dtype}", "cast it to 'int64'?"))
    value = static_size(e) if e.ndim == 0 else None
    return value if isinstance(value, int) else e


def _no_index(x: Expr, what: str, fix: str = "") -> str:
    return report(what, [("array", f"{x.label}  {x.type}", x.where)], fix)


def _check_range(x: Expr, axis: int, e: Any) -> None:
    n = x.type.shape[axis]
    if n is None or not isinstance(e, Constant) or not e.value.size:
        return
    low, high = int(e.value.min()), int(e.value.max())
    if low < -n or high >= n:
        raise IndexError(
            _no_index(x, f"index {low if low < -n else high} is out of bounds for axis {axis} of length {n}")
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
    together = places[-1] - places[0] + 1 == len(places)
    rest = iter(range(index_ndim, taken.ndim))
    order: list[Any] = [] if together else list(range(index_ndim))
    for k, e in enumerate(spread):
        if together and k == places[0]:
            order.extend(range(index_ndim))
        elif e is None or isinstance(e, slice):
            order.append("x" if e is None else next(rest))
    return taken if order == list(range(taken.ndim)) else dimshuffle(taken, tuple(order))


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
    "mixed_index", body=_mixed_body, numpy=_mixed_numpy, samples=_mixed_samples,
    doc="slices and integer arrays in one index, arranged as NumPy does",
)  # fmt: skip


def take(x: Any, indices: Any, axis: int | None = None) -> Expr:
    """Return the elements at `indices` along an axis (None: of the flattened array): NumPy's take.

    >>> import exprc.tensor as T
    >>> T.take(T.matrix("x", shape=(4, 5)), [0, 0, 3], axis=1).type.shape
    (4, 3)
    """
    x = as_expr(x)
    if axis is None:
        x, axis = views.flatten(x, 1), 0
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(_no_index(x, f"take: axis {axis} is out of bounds for an array of {x.ndim} dimensions"))
    return getitem(x, (slice(None),) * (axis % x.ndim) + (indices,))


# -- an array with a part changed --------------------------------------------------------------------------------------


def set_subtensor(part: Any, value: Any) -> Expr:
    """Return ``x`` with ``x[...]`` replaced.

    Parameters
    ----------
    part : the indexed expression ``x[...]`` itself.
    value : what to put there; it broadcasts to the shape of the part and takes the dtype of ``x``. Where an index array names
        one position twice, the later value stays.

    Returns
    -------
    a new expression of the shape and dtype of ``x``; ``x`` does not change.

    Raises
    ------
    TypeError
        if `part` was not made by indexing, or floats are to be put among integers.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.matrix("x", shape=(3, 4))
    >>> set_subtensor(x[1:, 0], 5).type.shape
    (3, 4)
    """
    return _assign("set_subtensor", part, value, "set")


def inc_subtensor(part: Any, value: Any) -> Expr:
    """Return ``x`` with `value` added to ``x[...]``; where an index array names one position twice, both values are added.

    Parameters, result and errors as for `set_subtensor`.
    """
    return _assign("inc_subtensor", part, value, "inc")


def _assign(name: str, part: Any, value: Any, mode: str) -> Expr:
    if not isinstance(part, Expr) or not part.inputs:
        raise TypeError(
            f"{name}: the first argument must be an indexed expression x[...], not {getattr(part, 'label', part)!r}"
        )
    value = as_expr(value, (part.dtype,))
    if is_float(value.dtype) and not is_float(part.dtype):
        rows = [
            ("part", f"{part.label}  {part.type}", part.where),
            ("value", f"{value.label}  {value.type}", value.where),
        ]
        raise TypeError(report(f"{name}: values of {value.dtype} do not fit in {part.dtype}", rows, "cast one of them"))
    value = cast_to(value, part.dtype)
    if value.ndim > part.ndim:
        raise ValueError(
            _no_index(part, f"{name}: a value of {value.ndim} dimensions does not fit in a part of {part.ndim}")
        )
    return _replace(name, part, broadcast_to(value, tuple(dim_of(part, a) for a in range(part.ndim))), mode)


def _replace(name: str, part: Expr, value: Expr, mode: str) -> Expr:
    """Return the array that `part` shows, with `value`, of the shape of `part`, in that place."""
    base, rest = part.inputs[0], part.inputs[1:]
    if part.op is subtensor:
        return _replace_slices(base, part.params["slices"], rest, value, mode)
    if part.op is gather:
        return scatter(base, rest, value, mode)
    if part.op is dimshuffle:
        return (
            _replace(name, base, _undo_shuffle(value, part.params["order"], base.ndim), mode)
            if base.inputs
            else _whole(base, value, part, mode)
        )
    if part.op is mixed_index:
        return _replace_chain(part.op.open(part.inputs, part.params), base, value, mode)
    raise TypeError(_no_index(part, f"{name}: the first argument must be an indexed expression x[...]"))


def _replace_slices(x: Expr, slices: tuple[Any, ...], sizes: Sequence[Expr], value: Expr, mode: str) -> Expr:
    shape = [dim_of(x, a) for a in range(x.ndim)]
    placed = place(value, shape, slices, sizes)
    if mode == "inc":
        return x + placed
    ones = broadcast_to(as_expr(True), tuple(dim_of(value, a) for a in range(value.ndim)))
    return where(place(ones, shape, slices, sizes), placed, x)


def _undo_shuffle(value: Expr, order: tuple[Any, ...], ndim: int) -> Expr:
    at = {a: k for k, a in enumerate(order) if a != "x"}
    squeezed = dimshuffle(value, tuple(k for k, a in enumerate(order) if a != "x"))
    kept = sorted(at, key=lambda a: at[a])
    return dimshuffle(squeezed, tuple(kept.index(a) if a in at else "x" for a in range(ndim)))


def _whole(base: Expr, value: Expr, part: Expr, mode: str) -> Expr:
    undone = _undo_shuffle(value, part.params["order"], base.ndim)
    return undone if mode == "set" else base + undone


def _replace_chain(view_: Expr, base: Expr, value: Expr, mode: str) -> Expr:
    """Undo the views from `view_` down to `base`: the new value of each one's input is what replaces it in the next."""
    while view_ is not base:
        inner = view_.inputs[0]
        if view_.op is dimshuffle:
            value = _undo_shuffle(value, view_.params["order"], inner.ndim)
        else:
            value, mode = (
                _replace("", view_, value, mode),
                "set",
            )  # the gather comes first; what is below it takes its result whole
        view_ = inner
    return value
