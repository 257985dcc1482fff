"""Axes added, dropped, moved, turned round and repeated.

All of it is index arithmetic: views of views, which simplify to one address when they are lowered.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report, whole_number
from exprc.expr import Expr, as_expr
from exprc.forms import (
    Arg,
    ShapeError,
    Source,
    axes_there_are,
    broadcast_dim,
    fill_dims,
    same_dim,
    shape_text,
    split_dims,
    static_size,
    view,
    wrap,
)
from exprc.ops.create import shape_of
from exprc.ops.formula import maximum
from exprc.ops.rows import by_axis
from exprc.ops.view import broadcast_to, dim_of, dimshuffle, flatten, getitem, reshape
from exprc.size import Dim, mod

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "addbroadcast", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "expand_dims", "flip", "fliplr", "flipud", "moveaxis",
    "patternbroadcast", "permute_dims", "ravel", "roll", "rollaxis", "rot90", "shape_padaxis", "shape_padleft", "shape_padright",
    "specify_shape", "swapaxes", "tile", "unbroadcast",
]  # fmt: skip

# -- axes by number ----------------------------------------------------------------------------------------------------


def array_row(x: Expr) -> list[tuple[str, str, str]]:
    """The row of a message that shows an array."""
    return [("array", f"{x.label}  {x.type}", x.where)]


def one_axis(name: str, axis: Any, ndim: int, x: Expr | None = None) -> int:
    """Return an axis counted from 0.

    Raises
    ------
    ValueError
        if there is no such axis.
    """
    number = whole_number(axis, f"{name}: an axis")
    if not -ndim <= number < ndim:
        text = f"{name}: axis {number} is out of bounds for an array of {ndim} dimensions"
        raise ValueError(report(text, array_row(x) if x is not None else (), axes_there_are(ndim)))
    return number % ndim


def entries_of(value: Any) -> list[Any]:
    """The numbers of an argument that takes one or several, these in a tuple, a list or an array."""
    return list(value) if isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim) else [value]


def _axes(name: str, axis: Any, ndim: int, x: Expr) -> list[int]:
    entries = entries_of(axis)
    axes = [one_axis(name, a, ndim, x) for a in entries]
    if len(set(axes)) != len(axes):
        raise ValueError(report(f"{name}: an axis is named twice: {tuple(entries)}", array_row(x)))
    return axes


def expand_dims(x: Any, axis: Any) -> Expr:
    """Return `x` with axes of length 1 put in, `axis` being their place (or places) in the result."""
    x = as_expr(x)
    ndim = x.ndim + len(entries_of(axis))
    new, kept = _axes("expand_dims", axis, ndim, x), iter(range(x.ndim))
    return dimshuffle(x, tuple("x" if a in new else next(kept) for a in range(ndim)))  # type: ignore[no-any-return]


def swapaxes(x: Any, axis1: int, axis2: int) -> Expr:
    """Return `x` with two axes exchanged."""
    x = as_expr(x)
    order = list(range(x.ndim))
    a, b = one_axis("swapaxes", axis1, x.ndim, x), one_axis("swapaxes", axis2, x.ndim, x)
    order[a], order[b] = b, a
    return dimshuffle(x, tuple(order))  # type: ignore[no-any-return]


def moveaxis(x: Any, source: Any, destination: Any) -> Expr:
    """Return `x` with axes (one or several) moved to other places, the others in their order.

    >>> import exprc.tensor as T
    >>> moveaxis(T.tensor3(shape=(2, 3, 4)), 0, -1).type.shape
    (3, 4, 2)
    """
    x = as_expr(x)
    old, new = _axes("moveaxis", source, x.ndim, x), _axes("moveaxis", destination, x.ndim, x)
    if len(old) != len(new):
        raise ValueError(report(f"moveaxis: {len(old)} axes cannot go to {len(new)} places", array_row(x)))
    order = [a for a in range(x.ndim) if a not in old]
    for place, axis in sorted(zip(new, old)):
        order.insert(place, axis)
    return dimshuffle(x, tuple(order))  # type: ignore[no-any-return]


def rollaxis(x: Any, axis: int, start: int = 0) -> Expr:
    """Return `x` with an axis moved to stand before axis `start`: NumPy's rollaxis."""
    x = as_expr(x)
    axis, start = one_axis("rollaxis", axis, x.ndim, x), one_axis("rollaxis", start, x.ndim + 1, x) if start >= 0 else start % x.ndim
    return moveaxis(x, axis, start - (axis < start))


def permute_dims(x: Any, axes: Any) -> Expr:
    """Return `x` with its axes in the order `axes`."""
    return dimshuffle(x, tuple(axes))  # type: ignore[no-any-return]


def ravel(x: Any, order: str = "C") -> Expr:
    """Return the elements of `x` as a vector, in row-major order ("C"), or with the first axis fastest ("F")."""
    return reshape(x, (-1,), order=order) if order != "C" else flatten(as_expr(x), 1)  # type: ignore[no-any-return]


def _atleast(ndim: int, pad: Any) -> Any:
    def atleast(*arrays: Any) -> Any:
        made = tuple(x if x.ndim >= ndim else dimshuffle(x, pad(x.ndim)) for x in map(as_expr, arrays))
        return made[0] if len(made) == 1 else made

    atleast.__name__ = f"atleast_{ndim}d"
    atleast.__doc__ = f"Return each array with axes of length 1 added until it has {ndim}, where NumPy puts them."
    return atleast


atleast_1d = _atleast(1, lambda n: ("x",))
atleast_2d = _atleast(2, lambda n: ("x",) * (2 - n) + tuple(range(n)))
atleast_3d = _atleast(3, lambda n: (("x",) * 3, ("x", 0, "x"), (0, 1, "x"))[n])


def shape_padleft(x: Any, n_ones: int = 1) -> Expr:
    """Return `x` with `n_ones` axes of length 1 before its own."""
    x = as_expr(x)
    return dimshuffle(x, ("x",) * n_ones + tuple(range(x.ndim)))  # type: ignore[no-any-return]


def shape_padright(x: Any, n_ones: int = 1) -> Expr:
    """Return `x` with `n_ones` axes of length 1 after its own."""
    x = as_expr(x)
    return dimshuffle(x, tuple(range(x.ndim)) + ("x",) * n_ones)  # type: ignore[no-any-return]


def shape_padaxis(x: Any, axis: int) -> Expr:
    """Return `x` with an axis of length 1 at place `axis` of the result."""
    return expand_dims(x, axis)


# -- what is known of a shape ------------------------------------------------------------------------------------------


def _specify_shape(args: Sequence[Arg], shape: tuple[int | None, ...], what: str = "", mask: bool = False) -> tuple[Dim, ...]:
    x, wanted = args[0].shape, fill_dims(shape, [a.value for a in args[1:]])
    if len(x) != len(wanted):
        raise ShapeError(f"an array of {len(x)} dimensions cannot have the shape {shape_text(wanted)}")
    try:
        return tuple(same_dim(w, d, what or f"the shape is {shape_text(x)}, not {shape_text(wanted)}") for w, d in zip(wanted, x))
    except ShapeError as error:
        raise ShapeError(str(error), kind=IndexError if mask else ValueError, whole=bool(what)) from None


def _specify_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    static, sizes = split_dims((rows,))
    return specify_shape_record.node((inputs[0], *sizes, *inputs[1:]), {**node.params, "shape": (*static, *node.params["shape"])})


specify_shape_record = view(
    "specify_shape", data=1, shape=_specify_shape, index=lambda i, args, load, **params: Source(tuple(i)),
    grad=lambda g, y, x, *sizes, **params: g,
    numpy=lambda x, *sizes, shape, what="", mask=False: _checked(x, fill_dims(shape, sizes), what, mask),
    samples=lambda: [((np.arange(6.0).reshape(2, 3),), {"shape": (2, 3)})], batched=_specify_rows,
    doc="`x`, whose shape is stated; a call with another one is an error",
)  # fmt: skip


def _checked(x: Any, shape: tuple[Any, ...], what: str, mask: bool) -> Any:
    wrong = next(((int(w), d) for w, d in zip(shape, x.shape) if int(w) != d), None)
    if wrong is not None or len(shape) != x.ndim:
        stated_ = f"specify_shape: the shape is {shape_text(x.shape)}, not {shape_text(shape)}"
        raise (IndexError if mask else ValueError)(f"{what}: {wrong[0]} ≠ {wrong[1]}" if what and wrong else stated_)
    return x


def stated(x: Expr, dims: Sequence[Any], what: str, mask: bool = False) -> Expr:
    """Return `x` with its first axes checked to have the lengths `dims` (None: any) at each call; `what` says what is wrong else.

    mask : whether the lengths are those of a mask, so that the error is an IndexError.

    It is `x` itself where nothing is to be checked any more.
    """
    if all(d is None or (isinstance(d, int) and d == n) for d, n in zip(dims, x.type.shape)):
        return x
    static, sizes = split_dims([dim_of(x, a) if a >= len(dims) or dims[a] is None else dims[a] for a in range(x.ndim)])
    return specify_shape_record.node((x, *sizes), {"shape": static, "what": what, "mask": mask})


def specify_shape(x: Any, shape: Any) -> Expr:
    """Return `x` with dims that are known from now on, and checked at each call.

    Parameters
    ----------
    shape : a tuple of ints, integer expressions, or None where nothing is to be stated.

    Raises
    ------
    ValueError
        if they contradict what is known; at a call, if the array has another shape.

    >>> import exprc.tensor as T
    >>> specify_shape(T.matrix("x"), (None, 3)).type
    TensorType(float32, (?, 3))
    """
    x = as_expr(x)
    entries = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    if len(entries) != x.ndim:
        raise ValueError(report(f"specify_shape: {len(entries)} dims for an array of {x.ndim} dimensions", array_row(x)))
    static, sizes = split_dims([dim_of(x, a) if d is None else d for a, d in enumerate(entries)])
    return specify_shape_record.node((x, *sizes), {"shape": static})


def addbroadcast(x: Any, *axes: int) -> Expr:
    """Return `x` with axes stated to be of length 1, along which it is then repeated where it meets longer arrays."""
    x = as_expr(x)
    ones = _axes("addbroadcast", list(axes), x.ndim, x)
    return specify_shape(x, tuple(1 if a in ones else None for a in range(x.ndim))) if ones else x


def unbroadcast(x: Any, *axes: int) -> Expr:
    """Return `x` itself: here the lengths of a call say what is repeated, so there is no promise to take back.

    It stands for Theano's function of that name; the axes are only checked.
    """
    x = as_expr(x)
    _axes("unbroadcast", list(axes), x.ndim, x)
    return x


def patternbroadcast(x: Any, broadcastable: Sequence[bool]) -> Expr:
    """Return `x` with the axes for which `broadcastable` is true stated to be of length 1."""
    return addbroadcast(x, *(a for a, one in enumerate(broadcastable) if one))


# -- repeated ----------------------------------------------------------------------------------------------------------


def broadcast_shape(*arrays: Expr) -> tuple[Any, ...]:
    """Return the shape in which arrays meet, as ints and expressions."""
    ndim = max((x.ndim for x in arrays), default=0)
    dims = []
    for a in range(ndim):
        there = [dim_of(x, a - ndim + x.ndim) for x in arrays if a - ndim + x.ndim >= 0]
        fixed = broadcast_dim([d for d in there if isinstance(d, int)])
        open_ = [d for d in there if isinstance(d, Expr)]
        dims.append(_meeting(open_) if fixed == 1 and open_ else fixed)
    return tuple(dims)


def _meeting(dims: Sequence[Expr]) -> Expr:
    """Of dims that are equal or 1, the one that is not 1."""
    longest = dims[0]
    for d in dims[1:]:
        longest = maximum(longest, d)
    return longest


def broadcast_arrays(*arrays: Any) -> tuple[Expr, ...]:
    """Return each array repeated to the shape in which all of them meet."""
    inputs = tuple(as_expr(a) for a in arrays)
    shape = broadcast_shape(*inputs)
    return tuple(broadcast_to(x, shape) for x in inputs)


def tile(x: Any, reps: Any, ndim: int | None = None) -> Expr:
    """Return `x` put side by side with itself, ``reps[k]`` times along axis k: NumPy's tile.

    Parameters
    ----------
    reps : an int, an integer scalar expression, or a tuple of them; the last is that of the last axis.
    ndim : axes of the result, if more than `x` and `reps` have (Theano's argument).

    >>> import exprc.tensor as T
    >>> tile(T.matrix(shape=(2, 3)), (2, 1, 2)).type.shape
    (2, 2, 6)
    """
    x = as_expr(x)
    times: list[Any] = [t if isinstance(t, Expr) else whole_number(t, "tile: a number of times") for t in entries_of(reps)]
    negative = next((t for t in times if isinstance(t, int) and t < 0), None)
    if negative is not None:
        raise ValueError(report(f"tile: a number of times must be 0 or more, not {negative}", array_row(x)))
    axes = max(x.ndim, len(times), ndim or 0)
    times = [1] * (axes - len(times)) + times
    x = shape_padleft(x, axes - x.ndim) if axes > x.ndim else x
    dims = shape_of(x)
    if all(isinstance(t, int) and t == 1 for t in times):
        return x
    apart = dimshuffle(x, tuple(e for a in range(axes) for e in ("x", a)))
    wide = broadcast_to(apart, tuple(d for t, n in zip(times, dims) for d in (t, n)))
    return reshape(wide, tuple(t * n for t, n in zip(times, dims)))  # type: ignore[no-any-return]


# -- turned round ------------------------------------------------------------------------------------------------------


def flip(x: Any, axis: Any = None) -> Expr:
    """Return `x` backwards along an axis, several, or (None) all of them."""
    x = as_expr(x)
    axes = list(range(x.ndim)) if axis is None else _axes("flip", axis, x.ndim, x)
    return getitem(x, tuple(slice(None, None, -1 if a in axes else None) for a in range(x.ndim))) if axes else x


def flipud(x: Any) -> Expr:
    """Return `x` backwards along its first axis."""
    return flip(x, 0)


def fliplr(x: Any) -> Expr:
    """Return `x` backwards along its second axis."""
    return flip(x, 1)


def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Expr:
    """Return `x` turned by `k` quarters of a circle, from the first of two axes towards the second."""
    x = as_expr(x)
    a, b = _axes("rot90", list(axes), x.ndim, x)
    quarter = operator.index(k) % 4
    if quarter == 0:
        return x
    if quarter == 2:
        return flip(x, (a, b))
    return swapaxes(flip(x, b), a, b) if quarter == 1 else flip(swapaxes(x, a, b), b)


def _roll_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, axis: int, shift: int | None) -> Source:
    n, by = args[0].shape[axis], shift if shift is not None else args[1].value
    return Source(tuple(mod(j + n - mod(by, n), n) if a == axis else j for a, j in enumerate(i)))  # type: ignore[operator]


roll_record = view(
    "roll", data=1, shape=lambda args, axis, shift: args[0].shape, index=_roll_index,
    grad=lambda g, y, x, *sizes, axis, shift: (
        roll_record.node((g, *(-s for s in sizes)), {"axis": axis, "shift": None if shift is None else -shift})),
    numpy=lambda x, *sizes, axis, shift: np.roll(x, int(sizes[0]) if shift is None else shift, axis),
    samples=lambda: [((np.arange(10.0).reshape(2, 5),), {"axis": a, "shift": s}) for a, s in ((1, 2), (1, -7), (0, 1), (0, 0))]
    + [((np.zeros((0, 2)),), {"axis": 0, "shift": 3}), ((np.arange(5.0), np.int64(-2)), {"axis": 0, "shift": None})],
    batched=by_axis, doc="elements moved along an axis; those that leave it at one end come back at the other",
)  # fmt: skip


def roll(x: Any, shift: Any, axis: Any = None) -> Expr:
    """Return `x` with its elements moved along an axis, those that leave it at one end coming back at the other: NumPy's roll.

    Parameters
    ----------
    shift : an int or an integer scalar expression; or one for each of several axes.
    axis : an int, a tuple, or None for the flattened array.

    >>> roll([1, 2, 3, 4], 1).eval().tolist()
    [4, 1, 2, 3]
    """
    x = as_expr(x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), shape_of(x)) if x.ndim != 1 else roll(x, shift, 0)
    axes, shifts = entries_of(axis), entries_of(shift)
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    axes = axes if len(axes) == len(shifts) else axes * len(shifts)
    if len(axes) != len(shifts):
        raise ValueError(report(f"roll: {len(shifts)} shifts for {len(axes)} axes", array_row(x)))
    for by, a in zip(shifts, axes):
        static, sizes = _shift(by)
        x = roll_record.node((x, *sizes), {"axis": one_axis("roll", a, x.ndim, x), "shift": static})
    return x


def _shift(by: Any) -> tuple[int | None, tuple[Expr, ...]]:
    if not isinstance(by, Expr):
        return whole_number(by, "roll: a shift"), ()
    if by.ndim or "int" not in by.dtype:
        raise TypeError(report(f"roll: a shift must be an integer scalar, not {by.type}", [("shift", by.label, by.where)]))
    value = static_size(by)
    return (value, ()) if isinstance(value, int) else (None, wrap((by,)))
