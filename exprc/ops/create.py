"""Arrays made of nothing but a shape, a value or a range: every one a broadcast or a formula of the index, so none is stored for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import report, whole_number
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to
from exprc.ops.formula import eq, eye, ge, iota, maximum, power, where
from exprc.ops.rounding import floor
from exprc.ops.view import broadcast_to, dim_of, dimshuffle, reshape, stack
from exprc.types import dtype_name, float_of, is_float, is_integer, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "alloc", "arange", "empty", "empty_like", "full", "full_like", "geomspace", "identity", "identity_like", "indices", "linspace",
    "logspace", "meshgrid", "mgrid", "ogrid", "ones", "ones_like", "tri", "zeros", "zeros_like",
]  # fmt: skip

# -- filled arrays -----------------------------------------------------------------------------------------------------


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Expr:
    """Return an array whose elements are all `fill_value`, or that value (an array) repeated.

    Parameters
    ----------
    shape : an int, an integer expression, or a tuple of them.
    fill_value : number or array that broadcasts to `shape`.
    dtype : by default that of the value.

    >>> full((2, 3), 7).type
    TensorType(int64, (2, 3))
    """
    x = as_expr(fill_value) if dtype is None else cast_to(as_expr(fill_value, (dtype_name(dtype),)), dtype_name(dtype))
    return broadcast_to(x, shape)


def zeros(shape: Any, dtype: Any = "floatX") -> Expr:
    """Return an array of zeros; `shape` is an int, an integer expression, or a tuple of them."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = "floatX") -> Expr:
    """Return an array of ones; `shape` is an int, an integer expression, or a tuple of them."""
    return full(shape, 1, dtype)


def empty(shape: Any, dtype: Any = "floatX") -> Expr:
    """Return an array to be overwritten; it holds zeros, since an expression has no memory that could be left as it is."""
    return zeros(shape, dtype)


def shape_of(x: Expr) -> tuple[Any, ...]:
    """The dims of `x`: ints where they are known, else expressions."""
    return tuple(dim_of(x, a) for a in range(x.ndim))


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Expr:
    """Return an array of the shape and dtype of `x`, where none are given, whose elements are all `fill_value`."""
    x = as_expr(x)
    return full(shape_of(x) if shape is None else shape, fill_value, dtype or x.dtype)


def zeros_like(x: Any, dtype: Any = None, shape: Any = None) -> Expr:
    """Return zeros of the shape and dtype of `x`, where none are given."""
    return full_like(x, 0, dtype, shape)


def ones_like(x: Any, dtype: Any = None, shape: Any = None) -> Expr:
    """Return ones of the shape and dtype of `x`, where none are given."""
    return full_like(x, 1, dtype, shape)


def empty_like(x: Any, dtype: Any = None, shape: Any = None) -> Expr:
    """Return an array of the shape of `x` to be overwritten; it holds zeros."""
    return zeros_like(x, dtype, shape)


def alloc(value: Any, *shape: Any) -> Expr:
    """Return `value` repeated to a shape given dim by dim: Theano's alloc.

    >>> alloc(0.0, 2, 3).type
    TensorType(float32, (2, 3))
    """
    return full(shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape, value)


# -- ranges ------------------------------------------------------------------------------------------------------------


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Expr:
    """Return ``start, start + step ...`` up to but not including `stop`; with one argument ``0 ... start - 1``.

    Parameters
    ----------
    start, stop, step : integers, integer scalar expressions, or Python floats.
    dtype : by default int64 for integers (or the expressions' own), ``config.floatX`` for floats.

    Raises
    ------
    ValueError
        if `step` is 0.
    TypeError
        for floats beside expressions: the length would follow from rounding.

    Examples
    --------
    >>> arange(3).type, arange(0.0, 1.0, 0.25).type
    (TensorType(int64, (3,)), TensorType(float32, (4,)))
    """
    start, stop = (0, start) if stop is None else (start, stop)
    entries = (start, stop, step)
    for e in entries:
        if not isinstance(e, (Expr, bool, int, float, np.number, np.ndarray)):
            raise TypeError(f"arange: start, stop and step must be numbers, not {e!r}")
    if not isinstance(step, Expr) and step == 0:
        raise ValueError(report("arange: step must not be 0", fix="a step of 1 or -1 counts up or down"))
    wanted = dtype_name(dtype) if dtype is not None else _arange_dtype(entries)
    x = iota(_arange_length(*entries))
    exact = x if not is_float(wanted) else cast_to(x, wanted)
    scaled = exact if not isinstance(step, Expr) and step == 1 else exact * step
    return cast_to(scaled if not isinstance(start, Expr) and start == 0 else scaled + start, wanted)


def _arange_dtype(entries: Sequence[Any]) -> str:
    if any(isinstance(e, (float, np.floating)) for e in entries):
        return config.floatX
    return promote([e.dtype for e in entries if isinstance(e, Expr)] or ["int64"])


def _arange_length(start: Any, stop: Any, step: Any) -> Any:
    if not any(isinstance(e, Expr) for e in (start, stop, step)):
        return max(0, int(np.ceil((stop - start) / step)))
    for e in (start, stop, step):
        if isinstance(e, (float, np.floating)) or (isinstance(e, Expr) and "int" not in e.dtype):
            rows = [("given", e.label, e.where)] if isinstance(e, Expr) else []
            raise TypeError(report("arange: beside expressions, start, stop and step must be integers", rows, "use linspace?"))
    start, stop, step = (cast_to(e, "int64") if isinstance(e, Expr) else e for e in (start, stop, step))
    return maximum(-((start - stop) // step), 0)


def linspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0) -> Any:
    """Return `num` evenly spaced numbers from `start` to `stop`: NumPy's linspace.

    Parameters
    ----------
    start, stop : numbers or arrays that broadcast together; the new axis is put at `axis`.
    num : an int or an integer scalar expression.
    endpoint : whether `stop` is the last of them.
    retstep : whether to return (numbers, step).
    dtype : by default the float dtype in which start and stop meet; for integers the numbers are rounded down.

    >>> linspace(0.0, 1.0, 5).type
    TensorType(float32, (5,))
    """
    start, stop = as_expr(start), as_expr(stop)
    made = float_of(promote((start.dtype, stop.dtype)))
    start, stop = cast_to(start, made), cast_to(stop, made)
    if not isinstance(num, Expr):
        num = _count("linspace", num)
    parts = num - 1 if endpoint else num
    parts = cast_to(maximum(parts, 1), made) if isinstance(parts, Expr) else float(max(parts, 1))
    step = (stop - start) / parts
    ndim = step.ndim
    k = dimshuffle(iota(num), (0, *("x",) * ndim))
    x = cast_to(k, made) * step + start
    if endpoint:
        x = where(eq(k, num - 1) if isinstance(num, Expr) or num > 1 else False, stop, x)  # exactly, whatever was rounded
    at = axis % (ndim + 1)
    x = x if not at else dimshuffle(x, (*range(1, at + 1), 0, *range(at + 1, ndim + 1)))
    if dtype is not None:
        x = cast_to(floor(x) if is_integer(dtype_name(dtype)) else x, dtype_name(dtype))
    return (x, step) if retstep else x


def _count(name: str, num: Any) -> int:
    number = whole_number(num, f"{name}: the number of elements")
    if number < 0:
        raise ValueError(f"{name}: the number of elements must be 0 or more, not {number}")
    return number


def logspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None) -> Expr:
    """Return `num` numbers from ``base ** start`` to ``base ** stop``, evenly spaced on a logarithmic scale."""
    exponents = linspace(start, stop, num, endpoint)
    made = power(as_expr(base, (exponents.dtype,)), exponents)
    return made if dtype is None else cast_to(made, dtype_name(dtype))


def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None) -> Expr:
    """Return `num` numbers from `start` to `stop`, each the same multiple of the one before; both ends have one sign.

    >>> [round(float(v), 4) for v in geomspace(1.0, 8.0, 4).eval()]
    [1.0, 2.0, 4.0, 8.0]
    """
    start, stop = as_expr(start), as_expr(stop)
    made = float_of(promote((start.dtype, stop.dtype)))
    start, stop = cast_to(start, made), cast_to(stop, made)
    x = start * power(stop / start, linspace(as_expr(0.0, (made,)), as_expr(1.0, (made,)), num, endpoint))
    return x if dtype is None else cast_to(x, dtype_name(dtype))


# -- matrices of the index ---------------------------------------------------------------------------------------------


def identity(n: Any, dtype: Any = "floatX") -> Expr:
    """Return the (n, n) identity matrix."""
    return eye(n, dtype=dtype)  # type: ignore[no-any-return]


def identity_like(x: Any, dtype: Any = None) -> Expr:
    """Return ones on the diagonal of a matrix of the shape (and, if none is given, the dtype) of the matrix `x`, zeros elsewhere."""
    x = as_expr(x)
    if x.ndim != 2:
        raise ValueError(report(f"identity_like takes a matrix, not {x.ndim} axes", [("array", f"{x.label}  {x.type}", x.where)]))
    return eye(dim_of(x, 0), dim_of(x, 1), dtype=dtype or x.dtype)  # type: ignore[no-any-return]


def lower_mask(n: Any, m: Any, k: Any) -> Expr:
    """Return where an (n, m) matrix is at or below its k-th diagonal, as bool."""
    return ge(dimshuffle(iota(n), (0, "x")) + k, dimshuffle(iota(m), ("x", 0)))


def tri(N: Any, M: Any = None, k: Any = 0, dtype: Any = "floatX") -> Expr:
    """Return an (N, M) matrix of ones at and below the k-th diagonal, zeros above.

    >>> tri(2, 3, k=1).eval().tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    return cast_to(lower_mask(N, N if M is None else M, k), dtype_name(dtype))


# -- grids -------------------------------------------------------------------------------------------------------------


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Expr, ...]:
    """Return one array for each vector, its values along an axis of its own and repeated along the others: NumPy's meshgrid.

    Parameters
    ----------
    xi : vectors; other arrays count as the vector of their elements.
    sparse : leave the other axes at length 1.
    indexing : "xy" (the first two axes exchanged) or "ij".
    copy : taken for NumPy's sake; expressions share nothing.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing={indexing!r} is neither 'xy' nor 'ij'")
    vectors = [v if v.ndim == 1 else reshape(v, (-1,)) for v in map(as_expr, xi)]
    n = len(vectors)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    lengths: list[Any] = [0] * n
    for v, a in zip(vectors, order):
        lengths[a] = dim_of(v, 0)
    open_ = tuple(dimshuffle(v, tuple(0 if b == a else "x" for b in range(n))) for v, a in zip(vectors, order))
    return open_ if sparse else tuple(broadcast_to(v, tuple(lengths)) for v in open_)


def indices(dimensions: Any, dtype: Any = "int64", sparse: bool = False) -> Any:
    """Return for each axis of an array of shape `dimensions` the index along it: NumPy's indices."""
    ranges = [arange(d, dtype=dtype) for d in dimensions]
    made = meshgrid(*ranges, sparse=sparse, indexing="ij")
    return made if sparse else stack(made)


class _Grid:
    """What `mgrid` and `ogrid` are: slices in brackets become ranges; an imaginary step is a number of points, ends included."""

    def __init__(self, name: str, dense: bool):
        self.name, self.dense = name, dense

    def __repr__(self) -> str:
        return f"exprc.tensor.{self.name}"

    def __getitem__(self, key: Any) -> Any:
        one = not isinstance(key, tuple)
        ranges = [_grid_range(s) for s in ((key,) if one else key)]
        if one:
            return ranges[0]
        dtype = promote([r.dtype for r in ranges])
        made = meshgrid(*(cast_to(r, dtype) for r in ranges), sparse=not self.dense, indexing="ij")
        return stack(made) if self.dense else made


def _grid_range(s: slice) -> Expr:
    if not isinstance(s, slice):
        raise TypeError(f"a grid is made of slices, start:stop:step, not {s!r}")
    start = 0 if s.start is None else s.start
    step = 1 if s.step is None else s.step
    return linspace(start, s.stop, int(abs(step))) if isinstance(step, complex) else arange(start, s.stop, step)  # type: ignore[no-any-return]


mgrid = _Grid("mgrid", dense=True)
ogrid = _Grid("ogrid", dense=False)
