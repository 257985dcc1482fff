"""Elements taken by integers: along one axis, beside every other index, or by choice between arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import axes_there_are, cast_to, node_rows
from exprc.ops.axes import broadcast_arrays, one_axis, ravel
from exprc.ops.create import shape_of
from exprc.ops.formula import eq, iota, where
from exprc.ops.index import gather, getitem
from exprc.ops.nonzero import bounded, flatnonzero
from exprc.ops.view import dim_of, dimshuffle, flatten, stack
from exprc.types import dtype_name, is_integer, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["choose", "compress", "extract", "nonzero_values", "select", "take", "take_along_axis", "to_one_hot"]


def take(x: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Expr:
    """Return the elements at `indices` along an axis (None: of the flattened array): NumPy's take.

    Parameters
    ----------
    indices : integers of any shape, which takes the place of the axis.
    mode : what an index out of range means: "raise" (an IndexError at the call), "wrap" (modulo the length), "clip" (the nearest there is).

    >>> import exprc.tensor as T
    >>> T.take(T.matrix("x", shape=(4, 5)), [0, 0, 3], axis=1).type.shape
    (4, 3)
    """
    x = as_expr(x)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(report(f"take: mode={mode!r} is none of 'raise', 'wrap', 'clip'", node_rows((x,))))
    if axis is None:
        x, axis = flatten(x, 1), 0
    if not -x.ndim <= axis < x.ndim:
        text = f"take: axis {axis} is out of bounds for an array of {x.ndim} dimensions"
        raise ValueError(report(text, [("array", f"{x.label}  {x.type}", x.where)], axes_there_are(x.ndim)))
    if mode != "raise":
        indices = bounded(cast_to(as_expr(indices), "int64"), dim_of(x, axis), mode)
    return getitem(x, (slice(None),) * (axis % x.ndim) + (indices,))


def _along(d: Any, axis: int, ndim: int) -> Expr:
    """0, 1 ... d - 1 along one of `ndim` axes."""
    return dimshuffle(iota(d), ("x",) * axis + (0,) + ("x",) * (ndim - 1 - axis))  # type: ignore[no-any-return]


def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Expr:
    """Return the elements at `indices` along an axis, each index beside its own place in the other axes: NumPy's take_along_axis.

    Parameters
    ----------
    indices : integers, of as many axes as `x`; the other axes broadcast against those of `x`.
    axis : None takes from the flattened array.

    >>> take_along_axis([[3, 1, 2]], [[1, 2]], 1).eval().tolist()
    [[1, 2]]
    """
    x, indices = as_expr(x), as_expr(indices)
    if axis is None:
        x, axis = ravel(x), 0
    if not is_integer(indices.dtype) or indices.ndim != x.ndim:
        text = f"take_along_axis: integers of {x.ndim} axes are needed, not {indices.type}"
        raise (ValueError if is_integer(indices.dtype) else TypeError)(report(text, node_rows((x, indices))))
    at = one_axis("take_along_axis", axis, x.ndim, x)
    return gather.node((x, *(indices if a == at else _along(d, a, x.ndim) for a, d in enumerate(shape_of(x)))), {})


def choose(a: Any, choices: Any, mode: str = "raise") -> Expr:
    """Return for each element of `a` that of the array whose number it is: NumPy's choose.

    Parameters
    ----------
    a : integers, 0 to the number of choices - 1.
    choices : a sequence of arrays, which broadcast together and with `a`.
    mode : what a number out of range means, as for `take`.

    >>> choose([0, 1, 0], [[1, 2, 3], [10, 20, 30]]).eval().tolist()
    [1, 20, 3]
    """
    if not choices:
        raise ValueError(report("choose: at least one array is needed", fix="is the list that was given empty?"))
    a, *arrays = broadcast_arrays(a, *choices)
    if not is_integer(a.dtype) and a.dtype != "bool":
        raise TypeError(report(f"choose: numbers of arrays are integers, not {a.dtype}", node_rows((a,)), "cast them to 'int64'?"))
    dtype = promote([x.dtype for x in arrays])
    number = bounded(cast_to(a, "int64"), len(arrays), mode)
    others = [_along(d, k, a.ndim) for k, d in enumerate(shape_of(a))]
    return gather.node((stack([cast_to(x, dtype) for x in arrays]), number, *others), {})


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Expr:
    """Return for each element that of the first array whose condition is true there, else `default`: NumPy's select.

    >>> import exprc.tensor as T
    >>> x = T.constant([1, -1])
    >>> select([x > 0], [x * 5], -9).eval().tolist()
    [5, -9]
    """
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(f"select: {len(condlist)} conditions for {len(choicelist)} arrays")
    made = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        made = where(condition, choice, made)
    return made  # type: ignore[no-any-return]


def compress(condition: Any, x: Any, axis: int | None = None) -> Expr:
    """Return the parts of `x` along an axis (None: the elements of the flattened array) for which a vector of bools is true."""
    condition = as_expr(condition)
    if condition.ndim != 1:
        raise ValueError(report("compress: the condition must be a vector", node_rows((condition,)), "use x[condition]?"))
    return take(x, flatnonzero(condition), axis)


def extract(condition: Any, x: Any) -> Expr:
    """Return the elements of `x`, in row-major order, for which `condition` is true."""
    return take(ravel(x), flatnonzero(condition))


def nonzero_values(x: Any) -> Expr:
    """Return the elements of `x`, in row-major order, that are not 0: Theano's nonzero_values."""
    x = as_expr(x)
    return take(ravel(x), flatnonzero(x))


def to_one_hot(y: Any, nb_class: Any, dtype: Any = "floatX") -> Expr:
    """Return a row of `nb_class` elements for each integer of `y`: 1 at its place, 0 elsewhere; all 0 for one out of range.

    Parameters
    ----------
    y : integers of any shape.
    nb_class : an int or an integer scalar expression.

    >>> to_one_hot([2, 0], 3).eval().tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    y = as_expr(y)
    if not is_integer(y.dtype):
        raise TypeError(report(f"to_one_hot takes integers, not {y.dtype}", node_rows((y,)), "cast them to 'int32'?"))
    return cast_to(eq(dimshuffle(y, (*range(y.ndim), "x")), iota(nb_class)), dtype_name(dtype))
