"""NumPy's functions that are a recipe of a few other operations: parts of numbers, interpolation, index arrays, membership."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Constant, Expr, as_expr
from exprc.forms import cast_to, composite, node_rows, wrap
from exprc.ops.axes import array_row, expand_dims, one_axis, ravel, specify_shape, stated, swapaxes
from exprc.ops.create import arange, lower_mask, shape_of, zeros_like
from exprc.ops.cumulative import cumprod, cumsum, diff
from exprc.ops.formula import (
    cast,
    clip,
    eq,
    exp2,
    floor_div,
    iota,
    isinf,
    isnan,
    logaddexp,
    logical_not,
    lt,
    maximum,
    minimum,
    mul,
    sub,
    true_div,
    where,
)
from exprc.ops.index import getitem
from exprc.ops.nonzero import nonzero
from exprc.ops.numbers import copysign, signbit
from exprc.ops.reduce import all_, any_, sum_
from exprc.ops.rounding import trunc
from exprc.ops.sort import searchsorted, unique
from exprc.ops.take import take
from exprc.ops.trig import sin
from exprc.ops.view import broadcast_to, concatenate, dim_of, dimshuffle, reshape
from exprc.types import float_of, is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "angle", "array_equal", "array_equiv", "conj", "conjugate", "delete", "diag_indices", "diag_indices_from", "ediff1d", "imag", "insert",
    "interp", "intersect1d", "isin", "ix_", "ldexp", "logaddexp2", "matrix_transpose", "modf", "nancumprod", "nancumsum", "ndim", "polyval",
    "positive", "real", "repeat", "setdiff1d", "shape", "sinc", "size", "trapezoid", "tril_indices", "tril_indices_from", "triu_indices",
    "triu_indices_from", "union1d",
]  # fmt: skip

# -- what is known of an array -----------------------------------------------------------------------------------------


def shape(x: Any) -> tuple[Any, ...]:
    """Return the dims of `x`: ints where they are known, else expressions, which never compute `x`.

    >>> import exprc.tensor as T
    >>> shape(T.matrix(shape=(2, 3)))
    (2, 3)
    """
    return shape_of(as_expr(x))


def ndim(x: Any) -> int:
    """Return the number of axes of `x`."""
    return as_expr(x).ndim


def size(x: Any, axis: int | None = None) -> Any:
    """Return the number of elements of `x`, or the length of an axis: an int where it is known, else an expression."""
    x = as_expr(x)
    return math.prod(shape_of(x)) if axis is None else dim_of(x, one_axis("size", axis, x.ndim, x))


# -- parts of numbers --------------------------------------------------------------------------------------------------


def positive(x: Any) -> Expr:
    """Return `x` itself, as ``+x`` does."""
    return as_expr(x)


def real(x: Any) -> Expr:
    """Return `x` itself: there are no complex dtypes."""
    return as_expr(x)


def imag(x: Any) -> Expr:
    """Return zeros of the shape and dtype of `x`: there are no complex dtypes."""
    return zeros_like(x)


def conj(x: Any) -> Expr:
    """Return `x` itself, which as a real number is its own conjugate."""
    return as_expr(x)


conjugate = conj


def angle(x: Any, deg: bool = False) -> Expr:
    """Return the angle of the real numbers `x` in the complex plane: 0, or π (180 with `deg`) where their sign is negative."""
    x = as_expr(x)
    x = x if is_float(x.dtype) else cast(x, "floatX")
    return where(isnan(x), x, where(signbit(x), 180.0 if deg else math.pi, 0.0))  # type: ignore[no-any-return]


def modf(x: Any) -> tuple[Expr, Expr]:
    """Return the fraction and the whole part of `x`, both with its sign.

    >>> [float(part.eval()) for part in modf(-2.5)]
    [-0.5, -2.0]
    """
    x = as_expr(x)
    x = x if is_float(x.dtype) else cast(x, float_of(x.dtype))
    whole = trunc(x)
    return copysign(where(isinf(x), 0, sub(x, whole)), x), whole


def ldexp(x: Any, exponent: Any) -> Expr:
    """Return ``x * 2**exponent``, `exponent` being integers.

    >>> float(ldexp(0.5, 128).eval()) == 2.0**127
    True
    """
    x, exponent = as_expr(x), as_expr(exponent)
    x = x if is_float(x.dtype) else cast(x, float_of(x.dtype))
    part = floor_div(exponent, 3)  # in three factors, each of which is a number where the result is one
    for e in (part, part, exponent - 2 * part):
        x = mul(x, exp2(cast(e, x.dtype)))
    return x


def logaddexp2(a: Any, b: Any) -> Expr:
    """Return ``log2(2**a + 2**b)``, without overflow."""
    a, b = wrap((a, b))
    return true_div(logaddexp(mul(a, math.log(2)), mul(b, math.log(2))), math.log(2))  # type: ignore[no-any-return]


def _sinc_numpy(x: Any) -> Any:
    """NumPy before 2.3 gives NaN for 0 in float16."""
    return np.sinc(x.astype("float32")).astype(x.dtype) if x.dtype == "float16" else np.sinc(x)


@composite(
    name="sinc", shape=lambda args: args[0].shape, dtype=lambda dtypes: float_of(dtypes[0]), numpy=_sinc_numpy,
    samples=lambda: [((np.array([-2.0, -0.3, 0.0, 0.5, 1.0, 7.25], d),), {}) for d in ("float32", "float64")],
)  # fmt: skip
def sinc(x: Expr) -> Any:
    "sin(πx) / (πx), 1 at 0"
    angle = mul(where(eq(x, 0), 1, x), math.pi)
    return where(eq(x, 0), 1, true_div(sin(angle), angle))


# -- sums along an axis ------------------------------------------------------------------------------------------------


def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Expr:
    """Return the running sum along an axis, NaN counting as 0.

    >>> nancumsum([1.0, float("nan"), 2.0]).eval().tolist()
    [1.0, 1.0, 3.0]
    """
    x = as_expr(x)
    return cumsum(where(isnan(x), 0, x), axis, dtype)


def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Expr:
    """Return the running product along an axis, NaN counting as 1."""
    x = as_expr(x)
    return cumprod(where(isnan(x), 1, x), axis, dtype)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Expr:
    """Return the integral along an axis by the trapezoidal rule: NumPy's trapezoid.

    Parameters
    ----------
    x : the points, as many as `y` has along the axis (None: they lie `dx` apart).

    >>> float(trapezoid([1.0, 2.0, 3.0]).eval())
    4.0
    """
    y = as_expr(y)
    at = one_axis("trapezoid", axis, y.ndim, y)
    before = (slice(None),) * at
    steps: Any = dx
    if x is not None:
        points = as_expr(x)
        steps = diff(points, axis=at if points.ndim == y.ndim else -1)
        if points.ndim == 1:
            steps = dimshuffle(steps, tuple(0 if a == at else "x" for a in range(y.ndim)))
    both = getitem(y, (*before, slice(1, None))) + getitem(y, (*before, slice(None, -1)))
    return sum_(both * steps / 2, axis=at)  # type: ignore[no-any-return]


def ediff1d(x: Any, to_end: Any = None, to_begin: Any = None) -> Expr:
    """Return the differences of neighbours in the flattened `x`, with values before and behind them if they are given."""
    parts = [to_begin, diff(ravel(as_expr(x))), to_end]
    made = [ravel(as_expr(p)) for p in parts if p is not None]
    return made[0] if len(made) == 1 else concatenate([cast_to(p, made[to_begin is not None].dtype) for p in made])


def polyval(p: Any, x: Any) -> Expr:
    """Return the polynomial with coefficients `p`, the highest power first, at `x`.

    Raises
    ------
    ValueError
        if the number of coefficients is not known while building.

    >>> float(polyval([1.0, 2.0, 3.0], 2.0).eval())
    11.0
    """
    p, x = as_expr(p), as_expr(x)
    if p.ndim != 1 or p.type.shape[0] is None:
        fix = "state how many there are with specify_shape(p, (n,))"
        raise ValueError(report("polyval: the coefficients must be a vector of known length", node_rows((p, x)), fix))
    made: Expr = mul(x, 0)
    for k in range(p.type.shape[0]):
        made = made * x + p[k]
    return made


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Expr:
    """Return at `x` the value of the straight lines through the points (`xp`, `fp`): NumPy's interp, differentiable by `x` and `fp`.

    Parameters
    ----------
    xp : vector, rising. fp : vector of the same length.
    left, right : the value below the first and above the last point (None: that of this point).

    >>> interp([0.0, 1.5, 9.0], [1.0, 2.0, 3.0], [3.0, 2.0, 0.0]).eval().tolist()
    [3.0, 2.5, 0.0]
    """
    x, xp, fp = wrap((x, xp, fp))
    if xp.ndim != 1 or fp.ndim != 1:
        raise ValueError(report("interp: the points must be two vectors", node_rows((x, xp, fp))))
    fp = stated(fp, [dim_of(xp, 0)], "interp: the two vectors of points differ in length")
    k = clip(searchsorted(xp, x, "right") - 1, 0, maximum(dim_of(xp, 0) - 2, 0))
    behind = minimum(k + 1, dim_of(xp, 0) - 1)
    x0, x1, f0, f1 = xp[k], xp[behind], fp[k], fp[behind]
    width = where(eq(x1, x0), 1, x1 - x0)
    y = f0 + (f1 - f0) * clip((x - x0) / width, 0.0, 1.0)
    y = where(lt(x, xp[0]), fp[0] if left is None else left, y)
    return where(lt(xp[-1], x), fp[-1] if right is None else right, y)  # type: ignore[no-any-return]


# -- membership --------------------------------------------------------------------------------------------------------


def isin(element: Any, test_elements: Any, invert: bool = False) -> Expr:
    """Return for each of `element` whether it is among `test_elements` (with `invert`: is not), as bool.

    >>> isin([1, 5, 2], [2, 1]).eval().tolist()
    [True, False, True]
    """
    x, among = as_expr(element), ravel(as_expr(test_elements))
    found: Expr = any_(eq(dimshuffle(x, (*range(x.ndim), "x")), among), axis=-1)
    return logical_not(found) if invert else found


def union1d(a: Any, b: Any) -> Expr:
    """Return the different elements of two arrays, ascending."""
    return unique(concatenate([ravel(as_expr(a)), ravel(as_expr(b))]))  # type: ignore[no-any-return]


def intersect1d(a: Any, b: Any, assume_unique: bool = False) -> Expr:
    """Return the different elements that both arrays have, ascending.

    >>> intersect1d([3, 1, 3, 2], [3, 2, 7]).eval().tolist()
    [2, 3]
    """
    found = unique(a)
    return found[isin(found, b)]  # type: ignore[no-any-return]


def setdiff1d(a: Any, b: Any, assume_unique: bool = False) -> Expr:
    """Return the different elements of `a` that `b` has not, ascending (with `assume_unique`: those of `a`, in its order)."""
    found = ravel(as_expr(a)) if assume_unique else unique(a)
    return found[isin(found, b, invert=True)]  # type: ignore[no-any-return]


def array_equiv(a: Any, b: Any) -> Expr:
    """Tell whether two arrays are equal everywhere once they are broadcast: a scalar of dtype bool."""
    a, b = wrap((a, b))
    for m, n in zip(reversed(a.type.shape), reversed(b.type.shape)):
        if None not in (m, n) and m != n and 1 not in (m, n):
            return Constant(np.asarray(False))
    return all_(eq(a, b))  # type: ignore[no-any-return]


def array_equal(a: Any, b: Any, equal_nan: bool = False) -> Expr:
    """Tell whether two arrays of one shape are equal everywhere: a scalar of dtype bool, False where shapes are known to differ.

    Lengths that only the call knows must agree there.
    """
    a, b = wrap((a, b))
    if a.ndim != b.ndim or any(None not in (m, n) and m != n for m, n in zip(a.type.shape, b.type.shape)):
        return Constant(np.asarray(False))
    same = eq(a, b)
    return all_(same | (isnan(a) & isnan(b)) if equal_nan else same)  # type: ignore[no-any-return]


# -- index arrays ------------------------------------------------------------------------------------------------------


def tril_indices(n: Any, k: int = 0, m: Any = None) -> tuple[Expr, ...]:
    """Return the indices of the elements at and below the k-th diagonal of an (n, m) matrix: two int64 vectors."""
    return nonzero(lower_mask(n, n if m is None else m, k))  # type: ignore[no-any-return]


def triu_indices(n: Any, k: int = 0, m: Any = None) -> tuple[Expr, ...]:
    """Return the indices of the elements at and above the k-th diagonal of an (n, m) matrix: two int64 vectors.

    >>> [i.eval().tolist() for i in triu_indices(2)]
    [[0, 0, 1], [0, 1, 1]]
    """
    return nonzero(logical_not(lower_mask(n, n if m is None else m, k - 1)))  # type: ignore[no-any-return]


def tril_indices_from(x: Any, k: int = 0) -> tuple[Expr, ...]:
    """Return `tril_indices` for the matrix `x`."""
    n, m = _matrix_dims("tril_indices_from", x)
    return tril_indices(n, k, m)


def triu_indices_from(x: Any, k: int = 0) -> tuple[Expr, ...]:
    """Return `triu_indices` for the matrix `x`."""
    n, m = _matrix_dims("triu_indices_from", x)
    return triu_indices(n, k, m)


def diag_indices_from(x: Any) -> tuple[Expr, ...]:
    """Return `diag_indices` for the square array `x`."""
    x = as_expr(x)
    if x.ndim < 2 or len(set(x.type.shape) - {None}) > 1:
        raise ValueError(report("diag_indices_from: the axes must be of one length, and two or more", node_rows((x,))))
    return diag_indices(dim_of(x, 0), x.ndim)


def _matrix_dims(name: str, x: Any) -> tuple[Any, ...]:
    x = as_expr(x)
    if x.ndim != 2:
        raise ValueError(report(f"{name} takes a matrix, not {x.ndim} axes", node_rows((x,))))
    return shape_of(x)


def diag_indices(n: Any, ndim: int = 2) -> tuple[Expr, ...]:
    """Return the indices of the diagonal of an array of `ndim` axes of length `n`: the same int64 vector for each axis."""
    return (iota(n),) * ndim


def ix_(*args: Any) -> tuple[Expr, ...]:
    """Return index vectors set up to take every combination: ``x[ix_(rows, columns)]`` is the block where they cross.

    >>> import exprc.tensor as T
    >>> T.constant([[1, 2, 3], [4, 5, 6]])[ix_([0, 1], [0, 2])].eval().tolist()
    [[1, 3], [4, 6]]
    """
    vectors = [as_expr(v) for v in args]
    found = [nonzero(v)[0] if v.dtype == "bool" else v for v in vectors]
    return tuple(dimshuffle(v, tuple(0 if b == a else "x" for b in range(len(found)))) for a, v in enumerate(found))


setattr(ix_, "aliases", ("ix_",))  # noqa: B010 (the underscore at its end is part of NumPy's name)


def matrix_transpose(x: Any) -> Expr:
    """Return the matrices in the last two axes transposed."""
    return swapaxes(x, -1, -2)


# -- repeated ----------------------------------------------------------------------------------------------------------


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Expr:
    """Return `x` with each element along an axis (None: of the flattened array) repeated.

    Parameters
    ----------
    repeats : an int or an integer scalar expression; or one int of 0 or more for each element, in a list or a vector.

    >>> import exprc.tensor as T
    >>> repeat(T.matrix(shape=(2, 3)), 2, axis=1).type.shape
    (2, 6)
    """
    x = as_expr(x)
    if axis is None:
        x, axis = ravel(x), 0
    at = one_axis("repeat", axis, x.ndim, x)
    counts = as_expr(repeats)
    if "int" not in counts.dtype or counts.ndim > 1:
        raise TypeError(report(f"repeat: repeats must be integers, a number or one an element, not {counts.type}", array_row(x)))
    if counts.ndim and not isinstance(counts, Constant):
        return _repeat_as_told(x, cast_to(counts, "int64"), at)
    if isinstance(counts, Constant) and np.any(counts.value < 0):
        raise ValueError(report("repeat: repeats must be 0 or more", array_row(x)))
    return _repeat_all(x, repeats, at) if not counts.ndim else _repeat_each(x, np.asarray(counts.value), at)  # type: ignore[attr-defined]


def _repeat_all(x: Expr, times: Any, at: int) -> Expr:
    dims = list(shape_of(x))
    wide = broadcast_to(expand_dims(x, at + 1), (*dims[: at + 1], times, *dims[at + 1 :]))
    return reshape(wide, (*dims[:at], dims[at] * times, *dims[at + 1 :]))  # type: ignore[no-any-return]


def _repeat_each(x: Expr, counts: Any, at: int) -> Expr:
    n = x.type.shape[at]
    if len(counts) == 1:
        return _repeat_all(x, int(counts[0]), at)
    if n is not None and n != len(counts):
        raise ValueError(report(f"repeat: {len(counts)} numbers for {n} elements", array_row(x)))
    x = specify_shape(x, tuple(len(counts) if a == at else None for a in range(x.ndim)))
    return x[(slice(None),) * at + (np.repeat(np.arange(len(counts)), counts),)]


def _repeat_as_told(x: Expr, counts: Expr, at: int) -> Expr:
    """How often each element is repeated only the call knows: place k of the result shows the first element up to which more than k are."""
    counts = stated(counts, [dim_of(x, at)], "repeat: numbers and elements differ in number")
    return take(x, searchsorted(cumsum(counts), arange(sum_(counts)), "right"), at)


# -- parts taken out and put in ----------------------------------------------------------------------------------------


def _cut_at(name: str, x: Any, places: Any, axis: int | None) -> tuple[Expr, int, list[int]]:
    x = as_expr(x)
    if axis is None:
        x, axis = ravel(x), 0
    if isinstance(places, Expr):
        fix = "give integers, or take what stays: x[mask], x[indices]"
        raise TypeError(report(f"{name}: the places must be known while building", node_rows((places,)), fix))
    axis = one_axis(name, axis, x.ndim, x)
    numbers = _places_of(places, x.type.shape[axis])
    if numbers.dtype.kind not in "iu":
        fix = "a slice needs an axis of known length" if isinstance(places, slice) else ""
        raise TypeError(report(f"{name}: the places must be integers, not {places!r}", node_rows((x,)), fix))
    return x, axis, [int(k) for k in numbers.ravel()]


def _places_of(places: Any, n: int | None) -> np.ndarray[Any, Any]:
    """The places that integers, a slice or a mask stand for on an axis of length `n`."""
    if isinstance(places, slice):
        return np.arange(n)[places] if n is not None else np.asarray(places)
    numbers = np.asarray(places) if np.size(places) else np.zeros(0, int)
    return np.flatnonzero(numbers) if numbers.dtype == bool else numbers


def delete(x: Any, obj: Any, axis: int | None = None) -> Expr:
    """Return `x` without the parts at places `obj` (integers, a slice or a mask) along an axis (None: of the flattened array).

    The length of the axis must be known, unless `obj` is a single number.

    >>> delete([1, 2, 3, 4], [0, -1]).eval().tolist()
    [2, 3]
    """
    x, at, places = _cut_at("delete", x, obj, axis)
    before, n = (slice(None),) * at, x.type.shape[at]
    if n is not None:
        return x[(*before, np.delete(np.arange(n), places))]
    if len(places) != 1:
        fix = "state it: specify_shape, or shape=(...) of the variable"
        raise ValueError(report(f"delete: the length of axis {at} is not known", node_rows((x,)), fix))
    behind = places[0] + 1
    return concatenate([x[(*before, slice(None, places[0]))], x[(*before, slice(behind or dim_of(x, at), None))]], axis=at)


def insert(x: Any, obj: Any, values: Any, axis: int | None = None) -> Expr:
    """Return `x` with `values` put in before the places `obj` along an axis (None: of the flattened array): NumPy's insert.

    Parameters
    ----------
    obj : an integer, before which all values go; or several, a slice or a mask: one place a value, counted in `x`. Several need an axis of
        known length.

    >>> insert([1, 2, 3], 1, 9).eval().tolist(), insert([1, 2, 3], [0, 2], [7, 8]).eval().tolist()
    ([1, 9, 2, 3], [7, 1, 2, 8, 3])
    """
    several = isinstance(obj, slice) or np.ndim(obj) > 0
    x, at, places = _cut_at("insert", x, obj, axis)
    if several and len(places) != 1:
        return _put_between(x, at, places, cast_to(as_expr(values, (x.dtype,)), x.dtype))
    before = (slice(None),) * at
    part = _as_part(x, cast_to(as_expr(values, (x.dtype,)), x.dtype), at)
    return concatenate([x[(*before, slice(None, places[0]))], part, x[(*before, slice(places[0], None))]], axis=at)


def _put_between(x: Expr, at: int, places: list[int], values: Expr) -> Expr:
    """Several values, each before its place: one gather from `x` followed by the values."""
    n = x.type.shape[at]
    if n is None:
        fix = "state it: specify_shape, or shape=(...) of the variable"
        raise ValueError(report(f"insert: the length of axis {at} is not known", node_rows((x,)), fix))
    wide = broadcast_to(values, tuple(len(places) if a == at else dim_of(x, a) for a in range(x.ndim)))
    order = np.insert(np.arange(n), places, n + np.arange(len(places)))
    return take(concatenate([x, wide], axis=at), order, at)


def _as_part(x: Expr, values: Expr, at: int) -> Expr:
    """Values in the shape of a part of `x`: repeated along the other axes, of length 1 along `at` where they have no such axis."""
    if values.ndim == x.ndim - 1 and x.ndim > 1:
        values = dimshuffle(values, (*range(at), "x", *range(at, values.ndim)))
    length = dim_of(values, values.ndim - x.ndim + at) if values.ndim >= x.ndim - at else 1
    return broadcast_to(values, tuple(length if a == at else dim_of(x, a) for a in range(x.ndim)))  # type: ignore[no-any-return]
