"""Sorting, searching and counting: left to NumPy, on the host between two compiled parts of a call.

Such a record has a reference, rules for shape and dtype, and a gradient, but no implementation in C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report, whole_number
from exprc.expr import Constant, Expr, as_expr
from exprc.forms import Arg, ShapeError, cast_to, kernel, results, same_dim
from exprc.ops.axes import array_row, one_axis, ravel, stated
from exprc.ops.create import shape_of
from exprc.ops.formula import cast
from exprc.ops.index import getitem
from exprc.ops.rows import by_axis
from exprc.ops.take import take, take_along_axis
from exprc.ops.view import reshape
from exprc.size import UNKNOWN, Dim
from exprc.types import is_float, is_integer

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "argpartition", "argsort", "argtopk", "bincount", "digitize", "inverse_permutation", "lexsort", "partition", "searchsorted", "sort",
    "topk", "topk_and_argtopk", "unique",
]  # fmt: skip

# -- sorted ------------------------------------------------------------------------------------------------------------


def _same_shape(args: Sequence[Arg], **params: Any) -> tuple[Dim, ...]:
    return args[0].shape


def _sort_samples() -> list[Any]:
    x = np.array([[3.0, -1.0, 2.0, 0.5], [-2.0, 7.0, 1.0, 4.0], [0.25, -0.75, 9.0, 5.0]])
    return [((x,), {"axis": a}) for a in (0, 1)] + [((np.zeros((0, 2)),), {"axis": 0})]


argsort_record = kernel(
    "argsort", shape=_same_shape, dtype=lambda dtypes, axis: "int64", numpy=lambda x, axis: np.argsort(x, axis, kind="stable"),
    grad=lambda g, y, x, axis: None, samples=_sort_samples, batched=by_axis,
    doc="the order in which elements along an axis ascend; equal ones stay in order",
)  # fmt: skip
sort_record = kernel(
    "sort", shape=_same_shape, dtype=lambda dtypes, axis: dtypes[0], numpy=lambda x, axis: np.sort(x, axis, kind="stable"),
    grad=lambda g, y, x, axis: take_along_axis(g, _inverse(argsort_record.node((x,), {"axis": axis}), axis), axis), samples=_sort_samples,
    batched=by_axis,
    doc="elements in ascending order along an axis, NaN last",
)  # fmt: skip


def _inverse(order: Expr, axis: int) -> Expr:
    return argsort_record.node((order,), {"axis": axis})


def _line(name: str, x: Any, axis: int | None) -> tuple[Expr, int]:
    """The array and its axis from 0; without an axis the flattened array."""
    x = as_expr(x)
    return (ravel(x), 0) if axis is None else (x, one_axis(name, axis, x.ndim, x))


def sort(x: Any, axis: int | None = -1, kind: Any = None, order: Any = None, stable: Any = None) -> Expr:
    """Return the elements in ascending order along an axis (None: of the flattened array), NaN last.

    Parameters
    ----------
    kind, order, stable : taken for NumPy's sake; the sort is stable.

    >>> sort([3, 1, 2]).eval().tolist()
    [1, 2, 3]
    """
    x, at = _line("sort", x, axis)
    return sort_record.node((x,), {"axis": at})


def argsort(x: Any, axis: int | None = -1, kind: Any = None, order: Any = None, stable: Any = None) -> Expr:
    """Return the positions of the elements in ascending order along an axis, as int64; equal elements stay in order."""
    x, at = _line("argsort", x, axis)
    return argsort_record.node((x,), {"axis": at})


def partition(x: Any, kth: Any, axis: int | None = -1) -> Expr:
    """Return the elements along an axis so that none before place `kth` is greater than the one there: here in full order."""
    return sort(x, axis)


def argpartition(x: Any, kth: Any, axis: int | None = -1) -> Expr:
    """Return the positions of the elements as `partition` orders them."""
    return argsort(x, axis)


def lexsort(keys: Any, axis: int = -1) -> Expr:
    """Return the positions that sort by several keys of one shape, the last of them first: NumPy's lexsort.

    >>> lexsort(([1, 0, 2], [5, 5, 4])).eval().tolist()
    [2, 1, 0]
    """
    first, *others = map(as_expr, keys)
    order = argsort(first, axis)
    for key in others:
        order = take_along_axis(order, argsort(take_along_axis(key, order, axis), axis), axis)
    return order


def inverse_permutation(permutation: Any) -> Expr:
    """Return the permutation (along the last axis) that undoes another: ``inverse[permutation[i]] = i``."""
    p = as_expr(permutation)
    if not is_integer(p.dtype) or p.ndim == 0:
        raise TypeError(report(f"inverse_permutation takes integers in an array, not {p.type}", array_row(p)))
    return _inverse(p, p.ndim - 1)


def topk_and_argtopk(x: Any, kth: int, axis: int | None = -1, sorted: bool = True, idx_dtype: Any = "int64") -> tuple[Expr, Expr]:
    """Return the `kth` largest elements along an axis in descending order, and their positions.

    Parameters
    ----------
    kth : how many; a number below 0 asks for the ``-kth`` smallest, in ascending order.
    sorted : taken for Theano's sake; they always are.

    Raises
    ------
    ValueError
        if `kth` is 0, or more than there are elements.

    >>> values, where_ = topk_and_argtopk([5, 9, 7], 2)
    >>> values.eval().tolist(), where_.eval().tolist()
    ([9, 7], [1, 2])
    """
    x, at = _line("topk", x, axis)
    kth = whole_number(kth, "topk: kth", "how many there are must be known while building")
    n = x.type.shape[at]
    if kth == 0 or (n is not None and abs(kth) > n):
        text = f"topk: kth must be between 1 and the number of elements, {'?' if n is None else n}, not {kth}"
        raise ValueError(report(text, array_row(x)))
    order = argsort_record.node((x,), {"axis": at})
    part = slice(None, -kth) if kth < 0 else slice(-1, -kth - 1, -1)
    found = getitem(order, (slice(None),) * at + (part,))
    found = stated(found, [None] * at + [abs(kth)], "topk: there are fewer elements than kth")
    return take_along_axis(x, found, at), cast(found, idx_dtype)


def topk(x: Any, kth: int, axis: int | None = -1, sorted: bool = True, idx_dtype: Any = "int64") -> Expr:
    """Return the `kth` largest elements along an axis in descending order; see `topk_and_argtopk`."""
    return topk_and_argtopk(x, kth, axis, sorted, idx_dtype)[0]


def argtopk(x: Any, kth: int, axis: int | None = -1, sorted: bool = True, idx_dtype: Any = "int64") -> Expr:
    """Return the positions of the `kth` largest elements along an axis; see `topk_and_argtopk`."""
    return topk_and_argtopk(x, kth, axis, sorted, idx_dtype)[1]


# -- searched and counted ----------------------------------------------------------------------------------------------


def _search_shape(args: Sequence[Arg], side: str) -> tuple[Dim, ...]:
    if len(args[0].shape) != 1:
        raise ShapeError("the sorted values must be a vector")
    return args[1].shape


search_record = kernel(
    "searchsorted", shape=_search_shape, dtype=lambda dtypes, side: "int64", grad=lambda g, y, a, v, side: (None, None),
    batched=lambda node, inputs, which, rows: None if which[0] else search_record.node(inputs, node.params),
    numpy=lambda a, v, side: np.asarray(np.searchsorted(a, v, side), "int64"),
    samples=lambda: [((np.array([1.0, 2.0, 2.0, 5.0]), np.array([[0.0, 2.0], [3.0, 9.0]])), {"side": s}) for s in ("left", "right")],
    doc="where elements belong in an ascending vector",
)  # fmt: skip


def searchsorted(x: Any, v: Any, side: str = "left", sorter: Any = None) -> Expr:
    """Return where the elements of `v` belong in the ascending vector `x`, as int64: NumPy's searchsorted.

    Parameters
    ----------
    side : "left" (before equal elements) or "right" (after them).
    sorter : integers that put `x` in ascending order, as from `argsort`.

    >>> searchsorted([1, 2, 4], [2, 3]).eval().tolist()
    [1, 2]
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side={side!r} is neither 'left' nor 'right'")
    x = as_expr(x)
    x = x if sorter is None else take(x, sorter)
    return search_record.node((x, as_expr(v, (x.dtype,))), {"side": side})


def digitize(x: Any, bins: Any, right: bool = False) -> Expr:
    """Return the number of the interval between `bins` in which each element of `x` lies: NumPy's digitize.

    Parameters
    ----------
    bins : ascending, or numbers (no expression) that descend.
    right : whether an interval holds its greater end instead of its smaller one.

    Raises
    ------
    ValueError
        for numbers that neither ascend nor descend.

    >>> digitize([0.5, 2.5], [3.0, 2.0, 1.0]).eval().tolist()
    [3, 1]
    """
    edges, side = as_expr(bins), "left" if right else "right"
    steps = np.diff(edges.value) if isinstance(edges, Constant) else np.zeros(0)
    if (steps < 0).any():
        if (steps > 0).any():
            raise ValueError(report("digitize: the bins must ascend or descend", array_row(edges), "sort them?"))
        return len(edges.value) - searchsorted(edges.value[::-1], x, side)  # type: ignore[no-any-return]
    return searchsorted(edges, x, side)


def _bincount_numpy(x: Any, weights: Any = None, *, minlength: int) -> Any:
    if np.any(x < 0):
        raise ValueError(f"bincount: elements must be 0 or more, not {x.min()}")
    counts = np.bincount(x, weights, minlength)
    return counts.astype("int64" if weights is None else weights.dtype)


def _bincount_shape(args: Sequence[Arg], minlength: int) -> tuple[Dim, ...]:
    if any(len(a.shape) != 1 for a in args):
        raise ShapeError("vectors are needed")
    for a in args[1:]:
        same_dim(args[0].shape[0], a.shape[0], "elements and weights differ in number")
    return (UNKNOWN,)


count_record = kernel(
    "bincount", shape=_bincount_shape, dtype=lambda dtypes, minlength: dtypes[1] if len(dtypes) > 1 else "int64", numpy=_bincount_numpy,
    grad=lambda g, y, x, *weights, minlength: (None, *(take(g, x) for _ in weights)),
    samples=lambda: [((np.array([1, 0, 3, 1]),), {"minlength": 0}), ((np.array([1, 0, 1]), np.array([0.5, 2.0, 1.5])), {"minlength": 4})],
    doc="how often each number occurs, or the sum of the weights of its occurrences",
)  # fmt: skip


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Expr:
    """Return how often each number 0, 1 ... occurs in a vector of integers: NumPy's bincount.

    Parameters
    ----------
    weights : a float vector; then the sum of the weights of the occurrences.
    minlength : the least length of the result, which is else the largest element + 1.

    >>> bincount([1, 1, 3]).eval().tolist()
    [0, 2, 0, 1]
    """
    x = as_expr(x)
    if is_float(x.dtype):
        raise TypeError(report(f"bincount counts integers, not {x.dtype}", array_row(x), "cast it to 'int64'?"))
    x = cast_to(x, "int64")
    if weights is None:
        return count_record.node((x,), {"minlength": int(minlength)})
    weights = as_expr(weights)
    weights = weights if is_float(weights.dtype) else cast(weights, "floatX")
    return count_record.node((x, weights), {"minlength": int(minlength)})


def _unique_numpy(x: Any) -> Any:
    values, index, inverse, counts = np.unique(x, True, True, True)
    return values, index.astype("int64"), inverse.reshape(-1).astype("int64"), counts.astype("int64")


unique_record = kernel(
    "unique", dtype=lambda dtypes: (dtypes[0], "int64", "int64", "int64"), numpy=_unique_numpy,
    shape=lambda args: ((UNKNOWN,), (UNKNOWN,), args[0].shape, (UNKNOWN,)),
    grad=lambda g, y, x: None, samples=lambda: [((np.array([3, 1, 3, 2, 1]),), {}), ((np.zeros(0, "int32"),), {})],
    doc="the different elements of a vector, ascending; where each occurs first; which each element is; how often each occurs",
)  # fmt: skip


def unique(x: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """Return the different elements of `x`, ascending; their number only the call knows. No gradient flows through it.

    Parameters
    ----------
    return_index : also where each occurs first in the flattened array.
    return_inverse : also which of them each element of `x` is, in the shape of `x`.
    return_counts : also how often each occurs.

    >>> unique([3, 1, 3]).eval().tolist()
    [1, 3]
    """
    x = as_expr(x)
    values, index, inverse, counts = results(unique_record.node((ravel(x),), {}))
    wanted = (return_index, return_inverse, return_counts)
    extra = tuple(y for y, w in zip((index, reshape(inverse, shape_of(x)), counts), wanted) if w)
    return (values, *extra) if extra else values
