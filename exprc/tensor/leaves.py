"""Variables, constants and arrays made of nothing but a shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.expr import Constant, Expr, Input, as_expr
from exprc.forms import cast_to
from exprc.ops.formula import iota
from exprc.ops.view import broadcast_to, dim_of
from exprc.types import TensorType, dtype_name, is_float, promote

#: kind of variable -> its dims (1 where broadcasting is promised)
KINDS: dict[str, tuple[int | None, ...]] = {
    "scalar": (), "vector": (None,), "row": (1, None), "col": (None, 1), "matrix": (None, None),
    "tensor3": (None,) * 3, "tensor4": (None,) * 4, "tensor5": (None,) * 5,
}  # fmt: skip

#: prefix -> dtype, as in `ivector`
PREFIXES = {"b": "int8", "w": "int16", "i": "int32", "l": "int64", "f": "float32", "d": "float64"}

_PLURALS = {"matrix": "matrices"}


def variable(name: str | None, dtype: Any, shape: Sequence[int | None]) -> Input:
    """Return an input variable; a `dtype` of None is ``config.floatX``, and then values of float64 and integers are cast to it."""
    strict = dtype is not None
    return Input(TensorType(dtype_name(dtype) if strict else config.floatX, tuple(shape)), name, strict)


def _dims(kind: str, shape: Any) -> tuple[int | None, ...]:
    dims = KINDS[kind]
    if shape is None:
        return dims
    entries = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(entries) != len(dims) or any(d == 1 and s not in (1, None) for d, s in zip(dims, entries)):
        raise ValueError(f"{kind}: shape {entries} does not fit: a {kind} has the shape {dims}")
    return tuple(1 if d == 1 else s for d, s in zip(dims, entries))


def _constructor(kind: str, fixed: str | None) -> Callable[..., Input]:
    def make(name: str | None = None, dtype: Any = None, shape: Any = None) -> Input:
        if fixed is not None and dtype is not None and dtype_name(dtype) != fixed:
            raise TypeError(f"{make.__name__} is of dtype {fixed}, not {dtype_name(dtype)}")
        return variable(name, fixed or dtype, _dims(kind, shape))

    made = (
        f"of dtype {fixed}"
        if fixed
        else "of dtype `dtype` (by default ``config.floatX``; then float64 and integers are cast to it)"
    )
    make.__name__ = f"{_prefix(fixed)}{kind}"
    make.__doc__ = (
        f"Return an input variable with {len(KINDS[kind])} axes {made}; `shape` states lengths that are known."
    )
    return make


def _prefix(dtype: str | None) -> str:
    return next((p for p, d in PREFIXES.items() if d == dtype), "")


def _several(make: Callable[..., Input], name: str) -> Callable[..., list[Input]]:
    def make_all(*names: str | int, dtype: Any = None) -> list[Input]:
        wanted = [None] * names[0] if len(names) == 1 and isinstance(names[0], int) else list(names)
        return [make(n, dtype) for n in wanted]

    make_all.__name__ = name
    make_all.__doc__ = f"Return several variables: ``{name}('x', 'y')`` or ``{name}(2)``; see `{make.__name__}`."
    return make_all


def constructors() -> dict[str, Callable[..., Any]]:
    """Return every constructor by its name: `matrix`, `imatrix`, `matrices`, `imatrices` ..."""
    made: dict[str, Callable[..., Any]] = {}
    for kind in KINDS:
        for dtype in (None, *PREFIXES.values()):
            make = _constructor(kind, dtype)
            made[make.__name__] = make
            plural = _prefix(dtype) + _PLURALS.get(kind, f"{kind}s")
            made[plural] = _several(make, plural)
    return made


def constant(value: Any, name: str | None = None, dtype: Any = None) -> Expr:
    """Return a fixed value as an expression.

    Parameters
    ----------
    value : number, nested list or array. An array keeps its dtype; Python floats (and lists of them) take ``config.floatX``.
    dtype : the dtype to take instead.

    >>> constant([[1.0, 2.0]]).type
    TensorType(float32, (1, 2))
    """
    if isinstance(value, Expr):
        raise TypeError(
            report("constant: the value must be numbers, not an expression", [("expression", value.label, value.where)])
        )
    array = np.asarray(as_expr(value).value if dtype is None else value)
    return Constant(array if dtype is None else array.astype(dtype_name(dtype)), name)


def as_tensor_variable(value: Any, name: str | None = None, ndim: int | None = None) -> Expr:
    """Return `value` as an expression: itself, a constant, or expressions in a list stacked.

    Parameters
    ----------
    ndim : the number of axes wanted; axes of length 1 are put in front where there are fewer.
    """
    from exprc.ops.view import dimshuffle, stack

    if (
        isinstance(value, (list, tuple))
        and any(isinstance(v, (Expr, list, tuple)) for v in value)
        and _holds_expr(value)
    ):
        x = stack([as_tensor_variable(v) for v in value])
    else:
        x = value if isinstance(value, Expr) else constant(value, name)
    x = as_expr(x)
    if ndim is not None and x.ndim > ndim:
        raise ValueError(
            report(
                f"as_tensor_variable: {x.ndim} axes are more than ndim={ndim}",
                [("array", f"{x.label}  {x.type}", x.where)],
            )
        )
    return x if ndim is None or ndim == x.ndim else dimshuffle(x, ("x",) * (ndim - x.ndim) + tuple(range(x.ndim)))


def _holds_expr(value: Any) -> bool:
    return isinstance(value, Expr) or (isinstance(value, (list, tuple)) and any(map(_holds_expr, value)))


# -- filled arrays -----------------------------------------------------------------------------------------------------


def full(shape: Any, value: Any, dtype: Any = None) -> Expr:
    """Return an array of `shape` (ints or integer expressions) whose elements are all `value`; `value` may be an array that broadcasts."""
    x = as_expr(value) if dtype is None else cast_to(as_expr(value, (dtype_name(dtype),)), dtype_name(dtype))
    return broadcast_to(x, shape)


def zeros(shape: Any, dtype: Any = "floatX") -> Expr:
    """Return an array of zeros; `shape` is an int, an integer expression, or a tuple of them."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = "floatX") -> Expr:
    """Return an array of ones; `shape` is an int, an integer expression, or a tuple of them."""
    return full(shape, 1, dtype)


def full_like(x: Any, value: Any, dtype: Any = None) -> Expr:
    """Return an array of the shape (and, if none is given, the dtype) of `x` whose elements are all `value`."""
    x = as_expr(x)
    return full(tuple(dim_of(x, a) for a in range(x.ndim)), value, dtype or x.dtype)


def zeros_like(x: Any, dtype: Any = None) -> Expr:
    """Return zeros of the shape (and, if none is given, the dtype) of `x`."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Expr:
    """Return ones of the shape (and, if none is given, the dtype) of `x`."""
    return full_like(x, 1, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Expr:
    """Return ``start, start + step ...`` up to but not including `stop`; with one argument ``0 ... start - 1``.

    Parameters
    ----------
    start, stop, step : integers, integer scalar expressions, or Python floats.
    dtype : by default int64 for integers (or the expressions' own), ``config.floatX`` for floats.

    Examples
    --------
    >>> arange(3).type, arange(0.0, 1.0, 0.25).type
    (TensorType(int64, (3,)), TensorType(float32, (4,)))
    """
    start, stop = (0, start) if stop is None else (start, stop)
    entries = (start, stop, step)
    if not isinstance(step, Expr) and step == 0:
        raise ValueError("arange: step must not be 0")
    wanted = dtype_name(dtype) if dtype is not None else _arange_dtype(entries)
    x = iota(_arange_length(*entries))
    exact = x if not is_float(wanted) else cast_to(x, wanted)
    scaled = exact if not isinstance(step, Expr) and step == 1 else exact * step
    return cast_to(scaled if not isinstance(start, Expr) and start == 0 else scaled + start, wanted)


def _arange_dtype(entries: Sequence[Any]) -> str:
    if any(isinstance(e, float) for e in entries):
        return config.floatX
    return promote([e.dtype for e in entries if isinstance(e, Expr)] or ["int64"])


def _arange_length(start: Any, stop: Any, step: Any) -> Any:
    if not any(isinstance(e, Expr) for e in (start, stop, step)):
        return max(0, int(np.ceil((stop - start) / step)))
    for e in (start, stop, step):
        if isinstance(e, float) or (isinstance(e, Expr) and "int" not in e.dtype):
            raise TypeError("arange: beside expressions, start, stop and step must be integers")
    start, stop, step = (cast_to(e, "int64") if isinstance(e, Expr) else e for e in (start, stop, step))
    from exprc.ops.formula import maximum

    return maximum(-((start - stop) // step), 0)
