"""Arrays joined to one, and one array cut in several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report, whole_number
from exprc.expr import Expr, as_expr
from exprc.forms import wrap
from exprc.ops.axes import array_row, atleast_1d, atleast_2d, atleast_3d, one_axis, ravel
from exprc.ops.create import shape_of
from exprc.ops.formula import floor_div, minimum
from exprc.ops.view import concatenate, dim_of, dimshuffle, getitem, reshape, stack

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "append", "array_split", "block", "column_stack", "dsplit", "dstack", "horizontal_stack", "hsplit", "hstack", "join", "split",
    "stacklists", "unstack", "vertical_stack", "vsplit", "vstack",
]  # fmt: skip

# -- joined ------------------------------------------------------------------------------------------------------------


def _several(name: str, arrays: Any) -> list[Expr]:
    """The arrays of a call as expressions; one array counts as the list of its rows, as for NumPy."""
    made = list(wrap(tuple(arrays)))
    if not made:
        raise ValueError(f"{name}: at least one array is needed")
    return made


def join(axis: int, *arrays: Any) -> Expr:
    """Return arrays one after the other along an axis: Theano's name and order for `concatenate`."""
    return concatenate(list(arrays), axis)  # type: ignore[no-any-return]


def append(x: Any, values: Any, axis: int | None = None) -> Expr:
    """Return `x` followed by `values` along an axis (None: both flattened)."""
    return concatenate([ravel(x), ravel(values)] if axis is None else [x, values], axis or 0)  # type: ignore[no-any-return]


def vstack(arrays: Any, dtype: Any = None) -> Expr:
    """Return arrays below one another: joined along axis 0, vectors as rows."""
    return concatenate([atleast_2d(x) for x in _several("vstack", arrays)], 0, dtype)  # type: ignore[no-any-return]


def hstack(arrays: Any, dtype: Any = None) -> Expr:
    """Return arrays beside one another: joined along axis 1, vectors along axis 0."""
    made = [atleast_1d(x) for x in _several("hstack", arrays)]
    return concatenate(made, 0 if made[0].ndim == 1 else 1, dtype)  # type: ignore[no-any-return]


def dstack(arrays: Any) -> Expr:
    """Return arrays behind one another: joined along axis 2, matrices as layers."""
    return concatenate([atleast_3d(x) for x in _several("dstack", arrays)], 2)  # type: ignore[no-any-return]


def column_stack(arrays: Any) -> Expr:
    """Return vectors as the columns of a matrix, matrices beside them."""
    made = [dimshuffle(x, (0, "x")) if x.ndim == 1 else atleast_2d(x).T if x.ndim == 0 else x for x in _several("column_stack", arrays)]
    return concatenate(made, 1)  # type: ignore[no-any-return]


def horizontal_stack(*arrays: Any) -> Expr:
    """Return matrices beside one another: Theano's name."""
    return concatenate(_matrices("horizontal_stack", arrays), 1)  # type: ignore[no-any-return]


def vertical_stack(*arrays: Any) -> Expr:
    """Return matrices below one another: Theano's name."""
    return concatenate(_matrices("vertical_stack", arrays), 0)  # type: ignore[no-any-return]


def _matrices(name: str, arrays: Any) -> list[Expr]:
    made = _several(name, arrays)
    for x in made:
        if x.ndim != 2:
            raise ValueError(report(f"{name} takes matrices, not {x.ndim} axes", array_row(x), "use concatenate?"))
    return made


def stacklists(arrays: Any) -> Expr:
    """Return expressions in nested lists as one array, a new axis for each level of lists.

    >>> import exprc.tensor as T
    >>> a, b = T.scalars("a", "b")
    >>> stacklists([[a, b], [b, a]]).type
    TensorType(float32, (2, 2))
    """
    return stack([stacklists(a) for a in arrays]) if isinstance(arrays, (list, tuple)) else as_expr(arrays)


def block(arrays: Any) -> Expr:
    """Return arrays in nested lists put together: the innermost lists along the last axis, those around them along the axes before."""
    depth, entry = 0, arrays
    while isinstance(entry, list):
        depth, entry = depth + 1, entry[0]
    return _block(arrays, depth, max(depth, _most_axes(arrays)))


def _most_axes(arrays: Any) -> int:
    return max(map(_most_axes, arrays)) if isinstance(arrays, list) else as_expr(arrays).ndim


def _block(arrays: Any, depth: int, ndim: int) -> Expr:
    if not depth:
        x = as_expr(arrays)
        return dimshuffle(x, ("x",) * (ndim - x.ndim) + tuple(range(x.ndim)))  # type: ignore[no-any-return]
    return concatenate([_block(a, depth - 1, ndim) for a in arrays], ndim - depth)  # type: ignore[no-any-return]


# -- cut ---------------------------------------------------------------------------------------------------------------


def _part(x: Expr, axis: int, start: Any, stop: Any) -> Expr:
    return getitem(x, (slice(None),) * axis + (slice(start, stop),))


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Expr]:
    """Return the parts of `x` along an axis: NumPy's split.

    Parameters
    ----------
    indices_or_sections : an int, the number of equal parts; or a sequence of the places (ints or integer expressions) to cut at.

    Raises
    ------
    ValueError
        if the parts cannot be equal, while building or, where the length is not known, at the call.

    >>> import exprc.tensor as T
    >>> [part.type.shape for part in split(T.vector(shape=(5,)), [1, 3])]
    [(1,), (2,), (2,)]
    """
    x = as_expr(x)
    at = one_axis("split", axis, x.ndim, x)
    if _are_places(indices_or_sections):
        return _cut(x, at, list(indices_or_sections))
    parts = _sections("split", indices_or_sections)
    n = x.type.shape[at]
    if n is None:
        return _equal_parts(x, at, parts)
    if n % parts:
        text = f"split: {n} elements of axis {at} cannot be cut in {parts} equal parts"
        raise ValueError(report(text, array_row(x), "use array_split for parts of different lengths"))
    return _cut(x, at, [n // parts * k for k in range(1, parts)])


def _are_places(given: Any) -> bool:
    return isinstance(given, (list, tuple)) or (isinstance(given, (np.ndarray, Expr)) and given.ndim > 0)


def _sections(name: str, sections: Any) -> int:
    number = whole_number(sections, f"{name}: the number of parts", "places to cut at go in a list, and may be expressions")
    if number < 1:
        raise ValueError(f"{name}: the number of parts must be 1 or more, not {number}")
    return number


def _cut(x: Expr, axis: int, places: Sequence[Any]) -> list[Expr]:
    starts = [None, *places]
    stops = [*places, None]
    return [_part(x, axis, start, stop) for start, stop in zip(starts, stops)]


def _equal_parts(x: Expr, axis: int, parts: int) -> list[Expr]:
    """Through a reshape, so that a length that is no multiple is an error of the call."""
    dims = shape_of(x)
    apart = reshape(x, (*dims[:axis], parts, floor_div(dims[axis], parts), *dims[axis + 1 :]))
    return [apart[(slice(None),) * axis + (k,)] for k in range(parts)]


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Expr]:
    """Return the parts of `x` along an axis as `split` does; parts of which the first are longer by one where they cannot be equal."""
    x = as_expr(x)
    at = one_axis("array_split", axis, x.ndim, x)
    if _are_places(indices_or_sections):
        return _cut(x, at, list(indices_or_sections))
    parts = _sections("array_split", indices_or_sections)
    n = dim_of(x, at)
    if isinstance(n, int):
        return _cut(x, at, [k * (n // parts) + min(k, n % parts) for k in range(1, parts)])
    each, more = floor_div(n, parts), n % parts
    return _cut(x, at, [each * k + minimum(more, k) for k in range(1, parts)])


def hsplit(x: Any, indices_or_sections: Any) -> list[Expr]:
    """Return the parts of `x` along axis 1 (a vector: along axis 0)."""
    x = as_expr(x)
    return split(x, indices_or_sections, 1 if x.ndim > 1 else 0)


def vsplit(x: Any, indices_or_sections: Any) -> list[Expr]:
    """Return the parts of `x`, of two axes or more, along axis 0."""
    return split(_of_axes("vsplit", x, 2), indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: Any) -> list[Expr]:
    """Return the parts of `x`, of three axes or more, along axis 2."""
    return split(_of_axes("dsplit", x, 3), indices_or_sections, 2)


def _of_axes(name: str, x: Any, ndim: int) -> Expr:
    x = as_expr(x)
    if x.ndim < ndim:
        raise ValueError(report(f"{name} takes arrays of {ndim} or more axes", array_row(x)))
    return x  # type: ignore[no-any-return]


def unstack(x: Any, axis: int = 0) -> tuple[Expr, ...]:
    """Return the arrays of which `x` is the stack along an axis, whose length must be known."""
    x = as_expr(x)
    at = one_axis("unstack", axis, x.ndim, x)
    n = x.type.shape[at]
    if n is None:
        raise ValueError(report(f"unstack: the length of axis {at} is not known", array_row(x), "state it with specify_shape?"))
    return tuple(x[(slice(None),) * at + (k,)] for k in range(n))
