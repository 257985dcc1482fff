"""Reductions: axes folded by accumulators that can be split into parts and joined again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import (
    Acc,
    Composite,
    Reduce,
    ShapeError,
    fill_dims,
    first_dtype,
    node_rows,
    normal_axes,
    reduce,
    restore_axes,
    split_dims,
    static_size,
)  # fmt: skip
from exprc.ops.create import shape_of
from exprc.ops.formula import add, cast, eq, maximum, minimum, mul, neg, sqr, sub, where
from exprc.ops.view import broadcast_to, concatenate, dim_of, dimshuffle
from exprc.types import float_of, is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "all_", "any_", "argmax", "argmin", "max_", "mean", "min_", "prod", "sum_",
]  # fmt: skip


def wide(dtype: str) -> str:
    """Small integers are summed in 64 bits, as NumPy does."""
    return dtype if is_float(dtype) else ("uint64" if dtype.startswith("uint") else "int64")


def _wide(dtype: str) -> tuple[str, str]:
    return wide(dtype), wide(dtype)


def _mathematics(dtype: str) -> tuple[str, str]:
    return float_of(dtype), float_of(dtype)


def spread(g: Expr, x: Expr, axes: tuple[int, ...]) -> Expr:
    """Repeat a reduced value along the axes that were folded, to the shape of `x`."""
    return broadcast_to(restore_axes(g, axes), tuple(dim_of(x, a) for a in range(x.ndim)))


def _reference(function: Any) -> Any:
    def numpy(x: Any, axes: tuple[int, ...]) -> Any:
        with np.errstate(all="ignore"):
            return function(x, axis=axes)

    return numpy


def _positions(function: Any) -> Any:
    """argmax and argmin over several axes: the position in the row-major order of those axes."""

    def numpy(x: Any, axes: tuple[int, ...]) -> Any:
        kept = [a for a in range(x.ndim) if a not in axes]
        rows = np.transpose(x, kept + list(axes)).reshape([x.shape[a] for a in kept] + [math.prod(x.shape[a] for a in axes)])
        return function(rows, axis=-1)

    return numpy


def _mean(x: Any, axis: Any) -> Any:
    """NumPy's mean, NaN without a warning where there are no elements."""
    count = int(np.prod([x.shape[a] for a in axis]))
    return (np.sum(x, axis=axis) / x.dtype.type(count)).astype(x.dtype)


def variance_numpy(x: Any, axes: tuple[int, ...], ddof: int = 0) -> Any:
    """NumPy's variance, NaN or infinite without a warning where there are not more than `ddof` elements."""
    n = int(np.prod([x.shape[a] for a in axes]))
    with np.errstate(all="ignore"):
        centred = x - np.sum(x, axis=axes, keepdims=True) / x.dtype.type(n)
        return np.sum(centred * centred, axis=axes) / x.dtype.type(n - ddof)


sum_ = reduce(
    "sum", accs=(Acc("s", "0", "{s} + {x}", "{s} + {s_}"),), finish="{s}", meet=_wide, numpy=_reference(np.sum),
    grad=lambda g, y, x, axes: spread(g, x, axes), doc="sum over axes; small integers are summed in 64 bits",
)  # fmt: skip
prod = reduce(
    "prod", accs=(Acc("p", "1", "{p} * {x}", "{p} * {p_}"),), finish="{p}", meet=_wide, numpy=_reference(np.prod),
    grad=lambda g, y, x, axes: _prod_grad(g, y, x, axes), doc="product over axes; small integers are multiplied in 64 bits",
)  # fmt: skip
mean = reduce(
    "mean", accs=(Acc("s", "0", "{s} + {x}", "{s} + {s_}"),), finish="{s} / {n}", meet=_mathematics, numpy=_reference(_mean),
    grad=lambda g, y, x, axes: spread(g / count(x, axes, g.dtype), x, axes), doc="mean over axes; NaN of no elements",
    alone=lambda node: _variance_alone(node),
)  # fmt: skip
#: By Welford 1962 for elements, by Chan, Golub and LeVeque 1983 for parts: `k` elements of mean `m`, `v` the sum of (x - m)**2.
#: m - m is 0, or no number where an element is infinite.
_JOINED = "({m_} - {m}) * (({m_} - {m}) * ({k} * ({k_} / ({k} + {k_}))))"
variance = reduce(
    "variance", finish="({v} + ({m} - {m})) / {n}", meet=_mathematics, numpy=variance_numpy,
    accs=(
        Acc("k", "0", "{k} + 1", "{k} + {k_}"),
        Acc("m", "0", "{m} + ({x} - {m}) * (1 / ({k} + 1))", "{k_} > 0 ? {m} + ({m_} - {m}) * ({k_} / ({k} + {k_})) : {m}"),
        Acc("v", "0", "{v} + ({x} - {m}) * (({x} - {m}) * ({k} * (1 / ({k} + 1))))", f"{{k_}} > 0 ? {{v}} + {{v_}} + {_JOINED} : {{v}}"),
    ),
    grad=lambda g, y, x, axes: spread(g * 2 / count(x, axes, g.dtype), x, axes) * (x - spread(mean(x, axis=axes), x, axes)),
    doc="variance over axes in one pass, which does not wait for the mean",
)  # fmt: skip


def _variance_alone(node: Expr) -> Expr | None:
    """mean(sqr(x - mean(x))) → variance(x)"""
    axes, square = node.params["axes"], node.inputs[0]
    if square.op is not sqr or square.inputs[0].op is not sub:
        return None
    x, centre = square.inputs[0].inputs
    kept = iter(range(x.ndim))
    order = tuple("x" if a in axes else next(kept) for a in range(x.ndim))
    restored = centre.op is dimshuffle and centre.params["order"] == order
    average = centre.inputs[0] if restored else centre
    alike = (restored or centre.ndim == 0) and average.op is mean and average.inputs == (x,) and average.params == node.params
    return variance.node((x,), {"axes": axes}) if alike else None


def count(x: Expr, axes: tuple[int, ...], dtype: str) -> Any:
    """Return how many elements axes hold, as a scalar of `dtype`: a number where it is known."""
    total: Any = 1
    for a in axes:
        total = total * dim_of(x, a)
    return cast(total, dtype) if isinstance(total, Expr) else (float(total) if is_float(dtype) else total)


def _prod_grad(g: Expr, y: Expr, x: Expr, axes: tuple[int, ...]) -> Expr:
    """The product of the others: y / x, except at zeros, where it is the product of the elements that are not 0, if there is but one 0."""
    zero = eq(x, 0)
    zeros = sum_(cast(zero, "int64"), axis=axes)
    others = prod.node((where(zero, 1, x),), {"axes": axes})
    at_zero = where(zero, spread(where(eq(zeros, 1), others, 0), x, axes), 0)
    no_zero = where(zero, 0, spread(where(eq(zeros, 0), y, 0), x, axes) / where(zero, 1, x))
    return spread(g, x, axes) * (at_zero + no_zero)


def _extreme_grad(g: Expr, y: Expr, x: Expr, axes: tuple[int, ...]) -> Expr:
    """Elements that tie for the extreme share the gradient evenly."""
    hit = cast(eq(x, spread(y, x, axes)), g.dtype)
    return spread(g / sum_(hit, axis=axes), x, axes) * hit


max_ = reduce(
    "max", accs=(Acc("m", "{lowest}", "maximum({m}, {x})", "maximum({m}, {m_})"),), finish="{m}", nonempty=True,
    numpy=_reference(np.max), grad=_extreme_grad, aliases=("amax",),
    doc="largest element over axes; NaN if one is NaN; ties share the gradient",
)  # fmt: skip
min_ = reduce(
    "min", accs=(Acc("m", "{highest}", "minimum({m}, {x})", "minimum({m}, {m_})"),), finish="{m}", nonempty=True,
    numpy=_reference(np.min), grad=_extreme_grad, aliases=("amin",),
    doc="smallest element over axes; NaN if one is NaN; ties share the gradient",
)  # fmt: skip


def _position(name: str, sign: str, start: str, reference: Any, doc: str) -> Any:
    """argmax and argmin: the best value so far and its position; the first NaN wins, then the first of equals.

    A position of -1 stands for "none yet", so that an element equal to the start value is taken.
    """
    better = f"(({{x}} {sign} {{m}}) || ({{x}} != {{x}} && {{m}} == {{m}}) || {{at}} < 0)"
    joined = f"({{at_}} >= 0 && (({{m_}} {sign} {{m}}) || ({{m_}} != {{m_}} && {{m}} == {{m}}) || {{at}} < 0" \
             " || (({m_} == {m} || ({m_} != {m_} && {m} != {m})) && {at_} < {at})))"  # fmt: skip
    accs = (
        Acc("m", start, f"{better} ? {{x}} : {{m}}", f"{joined} ? {{m_}} : {{m}}"),
        Acc("at", "-1", f"{better} ? {{i}} : {{at}}", f"{joined} ? {{at_}} : {{at}}", dtype="int64"),
    )
    return reduce(
        name, accs=accs, finish="{at}", nonempty=True, numpy=_positions(reference), meet=lambda d: (d, "int64"),
        grad=lambda g, y, x, axes: None, doc=doc,
    )  # fmt: skip


argmax = _position("argmax", ">", "{lowest}", np.argmax, "position of the first largest element, row-major in the folded axes")
argmin = _position("argmin", "<", "{highest}", np.argmin, "position of the first smallest element, row-major in the folded axes")
any_ = reduce(
    "any", accs=(Acc("s", "0", "{s} || {x}", "{s} || {s_}"),), finish="{s}", meet=lambda d: ("bool", "bool"),
    numpy=_reference(np.any), grad=lambda g, y, x, axes: None, doc="whether any element over axes is true",
)  # fmt: skip
all_ = reduce(
    "all", accs=(Acc("s", "1", "{s} && {x}", "{s} && {s_}"),), finish="{s}", meet=lambda d: ("bool", "bool"),
    numpy=_reference(np.all), grad=lambda g, y, x, axes: None, doc="whether all elements over axes are true",
)  # fmt: skip


# -- arguments of NumPy's ----------------------------------------------------------------------------------------------


def _only(name: str, x: Expr, mask: Any, none: Any) -> Expr:
    """`x` where a mask is true, elsewhere what counts for nothing."""
    chosen: Expr = where(mask, x, none)
    if chosen.ndim > x.ndim:
        raise ShapeError(f"{name}: a mask of {chosen.ndim} axes for an array of {x.ndim}", "the mask must fit the array, not the other way")
    return chosen


def _one_more(x: Expr, axes: tuple[int, ...], value: Expr) -> Expr:
    """`x` with `value` behind its last elements along the axes that may be empty."""
    for a in axes:
        if x.type.shape[a] in (None, 0):
            edge = broadcast_to(cast(value, x.dtype), tuple(1 if b == a else dim_of(x, b) for b in range(x.ndim)))
            x = concatenate([x, edge], axis=a)
    return x


def _numeric(op: Reduce, none: int, join: Any) -> None:
    """Give sum and prod the arguments `initial`, which is joined to the result, and `where`, the elements that count."""

    def call(
        x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None, initial: Any = None, where: Any = None
    ) -> Expr:
        x = as_expr(x)
        y = op.apply(x if where is None else _only(op.name, x, where, none), axis, dtype, keepdims, acc_dtype)
        return y if initial is None else join(y, initial)  # type: ignore[no-any-return]

    object.__setattr__(op, "call", call)


def _extreme(op: Reduce, larger: Any) -> None:
    """Give max and min the arguments `initial`, with which they have a value for no elements too, and `where`, which needs it."""

    def call(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Expr:
        x = as_expr(x)
        if initial is None:
            if where is not None:
                text = f"{op.name}: of no elements there is no {op.name}, and a mask may leave none"
                raise ValueError(report(text, node_rows((x,)), "give initial=, the value to begin with"))
            return op.apply(x, axis, None, keepdims)
        first = as_expr(initial, (x.dtype,))
        x = x if where is None else _only(op.name, x, where, first)
        x = _one_more(x, normal_axes(axis, x.ndim, op.name), first)
        return larger(op.apply(x, axis, None, keepdims), first)  # type: ignore[no-any-return]

    object.__setattr__(op, "call", call)


def _without_dtype(op: Reduce, none: bool | None = None) -> None:
    """Give a reduction whose result has a dtype of its own the arguments that Theano and NumPy have for it."""

    def call(x: Any, axis: Any = None, keepdims: bool = False, where: Any = None) -> Expr:
        x = as_expr(x)
        return op.apply(x if where is None else _only(op.name, cast(x, "bool"), where, none), axis, None, keepdims)

    def position(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
        return op.apply(x, axis, None, keepdims)

    object.__setattr__(op, "call", position if none is None else call)


def _mean_call(
    x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None, where: Any = None
) -> Expr:
    """Return the mean over axes; `where` is a mask of the elements that count."""
    if where is None:
        return mean.apply(x, axis, dtype, keepdims, acc_dtype)
    x = as_expr(x)
    x = cast(x, float_of(x.dtype) if dtype is None else dtype)
    number = sum_(cast(_only("mean", broadcast_to(True, shape_of(x)), where, False), x.dtype), axis, keepdims=keepdims)
    return sum_(x, axis, keepdims=keepdims, where=where) / number  # type: ignore[no-any-return]


_numeric(sum_, 0, add)
_numeric(prod, 1, mul)
_extreme(max_, maximum)
_extreme(min_, minimum)
_without_dtype(argmax)
_without_dtype(argmin)
_without_dtype(any_, False)
_without_dtype(all_, True)
object.__setattr__(mean, "call", _mean_call)


# -- folding back what broadcasting repeated ---------------------------------------------------------------------------


def _unbroadcast_shape(args: Any, shape: tuple[int | None, ...]) -> tuple[Any, ...]:
    return fill_dims(shape, [a.value for a in args[1:]])


def _unbroadcast_body(g: Expr, *sizes: Expr, shape: tuple[int | None, ...]) -> Expr:
    """Unknown dims are known not to be 1 by the time this body is opened (`late`)."""
    lead = g.ndim - len(shape)
    dims = fill_dims(shape, [static_size(s) for s in sizes])
    repeated = [lead + a for a, d in enumerate(dims) if isinstance(d, int) and d == 1 and g.type.shape[lead + a] != 1]
    axes = (*range(lead), *repeated)
    if not axes:
        return g
    return restore_axes(sum_.node((g,), {"axes": axes}), tuple(a - lead for a in repeated))


def _unbroadcast_numpy(g: Any, *sizes: Any, shape: tuple[int | None, ...]) -> Any:
    dims = fill_dims(shape, [int(s) for s in sizes])
    lead = g.ndim - len(dims)
    axes = tuple(range(lead)) + tuple(lead + a for a, d in enumerate(dims) if d == 1)
    return np.sum(g, axis=axes, dtype=g.dtype).reshape(dims)


def _unbroadcast_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    """The axes that are summed over stand in front, so the rows go behind them first."""
    g, shape = inputs[0], node.params["shape"]
    lead = g.ndim - 1 - len(shape)
    static, sizes = split_dims((rows,))
    moved = dimshuffle(g, (*range(1, lead + 1), 0, *range(lead + 1, g.ndim))) if lead else g
    return unbroadcast.node((moved, *sizes, *inputs[1:]), {"shape": (*static, *shape)})


unbroadcast = Composite(
    "unbroadcast", body=_unbroadcast_body, shape=_unbroadcast_shape, dtype=first_dtype, data=1, late=True, numpy=_unbroadcast_numpy,
    batched=_unbroadcast_rows,
    grad=lambda g, y, x, *sizes, shape: broadcast_to(g, tuple(dim_of(x, a) for a in range(x.ndim))),
    samples=lambda: [((np.arange(6.0).reshape(2, 3),), {"shape": s}) for s in ((1, 3), (3,), (2, 3), ())],
    doc="the sum over the axes along which broadcasting would repeat an array of `shape`",
)  # fmt: skip


def unbroadcast_to(g: Expr, x: Expr) -> Expr:
    """Sum `g` back to the shape of `x`, from which broadcasting made it.

    Of a product, a factor that is the same all along what is summed, as the scale of a channel, multiplies the sum instead: the other
    factor is summed for other parameters, too, in the same pass.
    """
    if g.type.shape == x.type.shape and None not in x.type.shape:
        return g
    if None in x.type.shape:
        static, sizes = split_dims([dim_of(x, a) for a in range(x.ndim)])
        return unbroadcast.node((g, *sizes), {"shape": static})
    if g.op is neg:
        return -unbroadcast_to(g.inputs[0], x)
    for other, factor in (g.inputs, g.inputs[::-1]) if g.op is mul else ():
        if _same_along(factor, other, g, x):
            return unbroadcast_to(other, x) * factor
    return unbroadcast.node((g,), {"shape": x.type.shape}) if None in g.type.shape else _unbroadcast_body(g, shape=x.type.shape)


def _same_along(factor: Expr, other: Expr, g: Expr, x: Expr) -> bool:
    """Whether a factor of `g` has length 1 along all axes that `g` is summed over to the shape of `x`, and the other its length else."""
    if not factor.ndim == other.ndim == x.ndim or other.dtype != g.dtype:
        return False
    axes = zip(factor.type.shape, other.type.shape, g.type.shape, x.type.shape)
    return all(f == 1 if m == 1 and n != 1 else o == m for f, o, n, m in axes)
