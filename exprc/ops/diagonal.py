"""Diagonals: taken, put in a matrix, summed; and the parts of a matrix on either side of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import Arg, Source, cast_to, fill_dims, same_dim, shape_text, split_dims, view
from exprc.ops.axes import array_row, moveaxis, ravel
from exprc.ops.create import lower_mask, shape_of, zeros_like
from exprc.ops.formula import eq, iota, where
from exprc.ops.reduce import sum_
from exprc.ops.rows import as_it_is
from exprc.ops.view import broadcast_to, dim_of, dimshuffle
from exprc.size import Dim, maximum, minimum

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["diag", "diagflat", "diagonal", "fill_diagonal", "fill_diagonal_offset", "trace", "tril", "triu"]


def _diagonal_length(rows: Dim, columns: Dim, offset: int) -> Dim:
    return maximum(0, minimum(rows + min(offset, 0), columns - max(offset, 0)))  # type: ignore[operator]


def _diagonal_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, offset: int) -> Source:
    return Source((*i[:-1], i[-1] + max(-offset, 0), i[-1] + max(offset, 0)))  # type: ignore[operator]


def _diagonal_samples() -> list[Any]:
    x = np.arange(24.0).reshape(2, 3, 4)
    return [((x,), {"offset": k}) for k in (0, 2, -1, 5)] + [((x[0],), {"offset": 1}), ((np.zeros((0, 3)),), {"offset": 0})]


diagonal_record = view(
    "diagonal", data=1, index=_diagonal_index, samples=_diagonal_samples, batched=as_it_is,
    shape=lambda args, offset: (*args[0].shape[:-2], _diagonal_length(args[0].shape[-2], args[0].shape[-1], offset)),
    grad=lambda g, y, x, offset: place_diagonal(g, (dim_of(x, x.ndim - 2), dim_of(x, x.ndim - 1)), offset),
    numpy=lambda x, offset: np.diagonal(x, offset, -2, -1), doc="the diagonal of the matrices in the last two axes, as the last axis",
)  # fmt: skip


def _place_shape(args: Sequence[Arg], shape: tuple[int | None, ...], offset: int) -> tuple[Dim, ...]:
    rows, columns = fill_dims(shape, [a.value for a in args[1:]])
    what = f"{shape_text(args[0].shape)} does not fit on a diagonal of {shape_text((rows, columns))}"
    same_dim(args[0].shape[-1], _diagonal_length(rows, columns, offset), what)
    return (*args[0].shape[:-1], rows, columns)


def _place_index(i: Sequence[Dim], args: Sequence[Arg], load: Any, shape: Any, offset: int) -> Source:
    row, column = i[-2], i[-1]
    return Source((*i[:-2], row - max(-offset, 0)), ((column - row - offset, 1), (row - max(-offset, 0), args[0].shape[-1])))  # type: ignore[operator]


def _place_numpy(x: Any, *sizes: Any, shape: Any, offset: int) -> Any:
    out = np.zeros((*x.shape[:-1], *(int(d) for d in fill_dims(shape, sizes))), x.dtype)
    k = np.arange(x.shape[-1])
    out[..., k + max(-offset, 0), k + max(offset, 0)] = x
    return out


place_diagonal_record = view(
    "place_diagonal", data=1, shape=_place_shape, index=_place_index, numpy=_place_numpy, batched=as_it_is,
    grad=lambda g, y, x, *sizes, shape, offset: diagonal_record.node((g,), {"offset": offset}),
    samples=lambda: [((np.arange(1.0, 4.0),), {"shape": s, "offset": k}) for s, k in (((3, 3), 0), ((3, 5), 1), ((4, 4), -1), ((3, 4), 0))]
    + [((np.ones((2, 3)),), {"shape": (5, 3), "offset": -2})],
    doc="zeros with the last axis on a diagonal of new last two axes",
)  # fmt: skip


def place_diagonal(x: Expr, shape: tuple[Any, Any], offset: int) -> Expr:
    """Return matrices of `shape`, zeros but for `x` on the diagonal `offset`."""
    static, sizes = split_dims(list(shape))
    return place_diagonal_record.node((x, *sizes), {"shape": static, "offset": offset})


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Expr:
    """Return the diagonal of the matrices in two axes, as the last axis: NumPy's diagonal.

    Parameters
    ----------
    offset : 0 for the main diagonal, above 0 to the right of it, below 0 under it.

    Raises
    ------
    ValueError
        for fewer than two axes, or if both axes are the same.
    """
    x = as_expr(x)
    if x.ndim < 2:
        raise ValueError(report(f"diagonal: two axes are needed, not {x.ndim}", array_row(x), "diag makes a matrix of a vector"))
    if (axis1 - axis2) % x.ndim == 0:
        raise ValueError(report("diagonal: axis1 and axis2 must differ", array_row(x)))
    last = moveaxis(x, (axis1, axis2), (-2, -1))
    return diagonal_record.node((last,), {"offset": int(offset)})


def diag(x: Any, k: int = 0) -> Expr:
    """Return the k-th diagonal of a matrix, or a square matrix with the vector `x` on its k-th diagonal.

    >>> diag([1, 2]).eval().tolist()
    [[1, 0], [0, 2]]
    """
    x = as_expr(x)
    if x.ndim == 1:
        n = dim_of(x, 0) + abs(k)
        return place_diagonal(x, (n, n), int(k))
    if x.ndim != 2:
        raise ValueError(report(f"diag takes a vector or a matrix, not {x.ndim} axes", array_row(x), "use diagonal?"))
    return diagonal(x, k)


def diagflat(x: Any, k: int = 0) -> Expr:
    """Return a square matrix with the elements of `x`, flattened, on its k-th diagonal."""
    return diag(ravel(x), k)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Expr:
    """Return the sum of the diagonal of the matrices in two axes; other parameters as for `diagonal`.

    >>> int(trace([[1, 2], [3, 4]]).eval())
    5
    """
    return sum_(diagonal(x, offset, axis1, axis2), axis=-1, dtype=dtype)


def _triangle(name: str, x: Any, k: Any) -> tuple[Expr, Expr]:
    x = as_expr(x)
    if x.ndim == 0:
        raise ValueError(report(f"{name}: a scalar has no triangle", array_row(x)))
    if x.ndim == 1:  # NumPy repeats a vector as the rows of a square matrix
        x = broadcast_to(x, (dim_of(x, 0),) * 2)
    return x, lower_mask(dim_of(x, x.ndim - 2), dim_of(x, x.ndim - 1), k)


def tril(x: Any, k: Any = 0) -> Expr:
    """Return the matrices in the last two axes with zeros above the k-th diagonal."""
    x, mask = _triangle("tril", x, k)
    return where(mask, x, zeros_like(x))


def triu(x: Any, k: Any = 0) -> Expr:
    """Return the matrices in the last two axes with zeros below the k-th diagonal."""
    x, mask = _triangle("triu", x, k - 1)
    return where(mask, zeros_like(x), x)


def fill_diagonal(x: Any, value: Any) -> Expr:
    """Return `x` with its main diagonal (elements whose indices are all equal) replaced by a scalar or a vector.

    Raises
    ------
    ValueError
        for fewer than two axes, or a value of more than one.
    """
    return _filled("fill_diagonal", x, value, 0)


def fill_diagonal_offset(x: Any, value: Any, offset: int) -> Expr:
    """Return the matrix `x` with the diagonal `offset` replaced by a scalar."""
    x = as_expr(x)
    if x.ndim != 2:
        raise ValueError(report(f"fill_diagonal_offset takes a matrix, not {x.ndim} axes", array_row(x)))
    return _filled("fill_diagonal_offset", x, value, offset)


def _filled(name: str, x: Any, value: Any, offset: Any) -> Expr:
    x = as_expr(x)
    value = cast_to(as_expr(value, (x.dtype,)), x.dtype)
    if x.ndim < 2 or value.ndim > 1:
        text = f"{name}: at least two axes and a scalar or vector are needed, not {x.ndim} and {value.ndim}"
        raise ValueError(report(text, array_row(x)))
    first, *others = (dimshuffle(iota(d), ("x",) * a + (0,) + ("x",) * (x.ndim - 1 - a)) for a, d in enumerate(shape_of(x)))
    hit = eq(first + offset, others[0])
    for k in others[1:]:
        hit = hit & eq(first, k)
    along = value if not value.ndim else dimshuffle(value, (0, *("x",) * (x.ndim - 1)))
    return where(hit, along, x)
