"""What draws of random numbers share: the size that the user means, parameters checked where they are known, and inverses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Constant, Expr, as_expr
from exprc.forms import ShapeError, cast_to, node_rows, shape_text
from exprc.ops.axes import broadcast_shape, expand_dims
from exprc.ops.composite import one_hot
from exprc.ops.cumulative import cumsum
from exprc.ops.formula import ge, gt, log1p, maximum, where
from exprc.ops.reduce import sum_
from exprc.ops.special import erfc, erfcinv
from exprc.ops.view import dim_of
from exprc.types import dtype_name, is_float

# -- size --------------------------------------------------------------------------------------------------------------


def size_of(name: str, size: Any, ndim: int | None, *params: Expr) -> tuple[Any, ...]:
    """Return the dims that are drawn, ints and expressions, and check that parameters fit in them."""
    dims = _meeting(name, params) if size is None else _dims(name, size, ndim)
    if ndim is not None and ndim != len(dims):
        raise ValueError(report(f"{name}: ndim={ndim} is stated, but the size has {len(dims)} entries", fix="leave out one of them"))
    for x in params:
        known = [d if isinstance(d, int) else None for d in dims[max(len(dims) - x.ndim, 0) :]]
        if x.ndim > len(dims) or any(None not in (a, b) and a not in (1, b) for a, b in zip(x.type.shape, known)):
            sizes = shape_text([d if isinstance(d, int) else None for d in dims])
            text = f"{name}: a parameter of shape {shape_text(x.type.shape)} does not fit in size {sizes}"
            raise ValueError(report(text, node_rows((x,)), "leave out size: then it is the shape of the parameters"))
    return dims


def _meeting(name: str, params: Sequence[Expr]) -> tuple[Any, ...]:
    try:
        return broadcast_shape(*params)
    except ShapeError as error:
        raise ValueError(report(f"{name}: parameters do not meet: {error}", node_rows(params))) from None


def _dims(name: str, size: Any, ndim: int | None) -> tuple[Any, ...]:
    if isinstance(size, Expr) and size.ndim == 1:
        return _entries(name, size, ndim)
    entries = tuple(size.tolist()) if isinstance(size, np.ndarray) and size.ndim else size
    dims = tuple(entries) if isinstance(entries, (tuple, list)) else (entries,)
    for d in dims:
        if not isinstance(d, Expr) and (isinstance(d, (bool, np.bool_)) or not isinstance(d, (int, np.integer)) or d < 0):
            raise ValueError(report(f"{name}: a size must be an integer of at least 0: {d!r} in {size!r}", fix="for example (2, 3)"))
    return tuple(d if isinstance(d, Expr) else int(d) for d in dims)


def _entries(name: str, size: Expr, ndim: int | None) -> tuple[Any, ...]:
    """The entries of a vector of sizes."""
    length = size.type.shape[0] if size.type.shape[0] is not None else ndim
    if length is None:
        text = f"{name}: how many entries the size has must be known"
        raise ValueError(report(text, node_rows((size,)), "state ndim, or give a tuple such as (n, 3)"))
    return tuple(size[k] for k in range(length))


def product(dims: Sequence[Any]) -> Any:
    return math.prod(dims) if all(isinstance(d, int) for d in dims) else _product_of(list(dims))


def _product_of(dims: list[Any]) -> Any:
    made = dims[0]
    for d in dims[1:]:
        made = made * d
    return made


# -- parameters --------------------------------------------------------------------------------------------------------


def float_dtype(name: str, dtype: Any) -> str:
    made = dtype_name("floatX" if dtype is None else dtype)
    if not is_float(made):
        raise TypeError(report(f"{name}: numbers are drawn in a float dtype, not {made}", fix=f"{name}(...).astype({made!r})"))
    return made


def wider(dtype: str) -> str:
    """The dtype in which numbers are drawn that only then are rounded to `dtype`."""
    return "float32" if dtype == "float16" else dtype


def floats(dtype: str, *values: Any) -> list[Expr]:
    return [cast_to(as_expr(v, (dtype,)), dtype) for v in values]


def is_number(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == number


def known_value(value: Any) -> Any:
    """What is known of a parameter while building: an array, or None for an expression."""
    if isinstance(value, Expr):
        return value.value if isinstance(value, Constant) else None
    return np.asarray(value)


def require(name: str, what: str, value: Any, holds: Callable[[Any], Any], text: str) -> None:
    """Refuse a known parameter that is out of its range (or NaN)."""
    known = known_value(value)
    if known is not None and not np.all(holds(known)):
        raise ValueError(report(f"{name}: {what} must be {text}: {value}"))


def probabilities(name: str, p: Any) -> Expr:
    """Return probabilities as float64; those that are known must be at least 0 and sum to 1 along the last axis."""
    if p is None:
        raise TypeError(report(f"{name}: pvals is missing", fix=f"{name}(pvals=[0.2, 0.8])"))
    x = as_expr(p)
    if x.ndim == 0:
        raise ValueError(report(f"{name}: probabilities are an array, one an outcome, not a scalar", node_rows((x,))))
    known = known_value(p)
    if known is not None:
        sums = known.sum(-1, dtype="float64")
        if np.any(known < 0) or not np.all(np.abs(sums - 1) < 1e-5):
            wrong = f"one is {known.min()}" if np.any(known < 0) else f"they sum to {sums.flat[np.argmax(np.abs(sums - 1))]}"
            raise ValueError(report(f"{name}: probabilities must be at least 0 and sum to 1: {wrong}", fix="divide by their sum?"))
    return cast_to(x, "float64")


def check_choice(n: Any, weights: Expr | None, dims: Sequence[Any], replace: bool) -> None:
    """Check what can be known of a choice among n elements."""
    length = weights.type.shape[-1] if weights is not None else None
    if weights is not None and weights.ndim != 1:
        raise ValueError(report(f"choice: p has one axis, not {weights.ndim}", node_rows((weights,))))
    if not isinstance(n, Expr) and (int(n) != n or n < 1):
        raise ValueError(report(f"choice: a must be an array or an integer of at least 1: {n}"))
    if isinstance(n, Expr) or (length is None and weights is not None):
        return
    if length is not None and length != n:
        raise ValueError(report(f"choice: {length} probabilities for {n} elements", node_rows((weights,)) if weights is not None else ()))
    if not replace and all(isinstance(d, int) for d in dims) and math.prod(dims) > n:
        text = f"choice: {math.prod(dims)} different elements cannot be chosen from {n}"
        raise ValueError(report(text, fix="replace=True lets elements come more than once"))


# -- from uniform numbers ----------------------------------------------------------------------------------------------


def positive_exponential(u: Expr) -> Expr:
    """Exponentially distributed numbers, never 0: the smallest is half of the step between uniform ones."""
    return maximum(-log1p(-u), 2.0**-25 if u.dtype != "float64" else 2.0**-54)  # type: ignore[no-any-return]


def outcome(u: Expr, p: Expr) -> Expr:
    """Which outcome each uniform number stands for; `p` has the outcomes in its last axis and meets `u` before it.

    The number is scaled by the sum of the probabilities as it was rounded, so that one of probability 0 never comes.
    """
    bounds = cumsum(p, axis=-1)
    level = expand_dims(u, u.ndim) * bounds[..., -1:]
    return cast_to(sum_(ge(level, bounds[..., :-1]), axis=level.ndim - 1), "int64")


def outcome_marked(u: Expr, p: Expr) -> Expr:
    """1.0 for that outcome and 0.0 for the others, along a new last axis."""
    return one_hot(outcome(u, p), dim_of(p, p.ndim - 1), "float64")


def cut_normal(u: Expr, a: Expr, b: Expr) -> Expr:
    """Standard normal numbers between a and b, by the inverse of the distribution function on the side where it is small."""
    mirrored = gt(a + b, 0)
    low, high = where(mirrored, -b, a), where(mirrored, -a, b)
    below, above = (0.5 * erfc(z * -math.sqrt(0.5)) for z in (low, high))
    p = below + maximum(u, 2.0**-54) * (above - below)
    x = -math.sqrt(2.0) * erfcinv(2 * p)
    return where(mirrored, -x, x)  # type: ignore[no-any-return]
