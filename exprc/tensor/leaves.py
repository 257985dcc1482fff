"""Variables and constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.expr import Constant, Expr, Input, as_expr, holds_expr, leaves
from exprc.forms import cast_to
from exprc.types import TensorType, dtype_name

#: kind of variable -> its dims (1 where broadcasting is promised)
KINDS: dict[str, tuple[int | None, ...]] = {
    "scalar": (), "vector": (None,), "row": (1, None), "col": (None, 1), "matrix": (None, None),
    "tensor3": (None,) * 3, "tensor4": (None,) * 4, "tensor5": (None,) * 5, "tensor6": (None,) * 6, "tensor7": (None,) * 7,
}  # fmt: skip

#: prefix -> dtype, as in `ivector`
PREFIXES = {"b": "int8", "w": "int16", "i": "int32", "l": "int64", "f": "float32", "d": "float64"}

_PLURALS = {"matrix": "matrices"}


def variable(name: str | None, dtype: Any, shape: Sequence[int | None]) -> Input:
    """Return an input variable; a `dtype` of None is ``config.floatX``, and then values of float64 and integers are cast to it."""
    if name is not None and not isinstance(name, str):
        fix = "several variables: matrices('x', 'y'), vectors(3) ...; values: constant([1, 2])"
        raise TypeError(report(f"a name must be a string, not {name!r}", fix=fix))
    strict = dtype is not None
    return Input(TensorType(dtype_name(dtype) if strict else config.floatX, tuple(shape)), name, strict)


def _dims(kind: str, shape: Any) -> tuple[int | None, ...]:
    dims = KINDS[kind]
    if shape is None:
        return dims
    entries = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(entries) != len(dims) or any(d == 1 and s not in (1, None) for d, s in zip(dims, entries)):
        text = f"{kind}: shape {entries} does not fit: a {kind} has the shape {dims}"
        raise ValueError(report(text, fix=f"give {len(dims)} lengths, None where one is not known, or take another kind of variable"))
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
    from exprc.ops.view import dimshuffle

    x = as_expr(value) if holds_expr(value) else constant(value, name)
    if ndim is not None and x.ndim > ndim:
        raise ValueError(
            report(
                f"as_tensor_variable: {x.ndim} axes are more than ndim={ndim}",
                [("array", f"{x.label}  {x.type}", x.where)],
                "index or reshape it first: axes are added, never dropped",
            )
        )
    return x if ndim is None or ndim == x.ndim else dimshuffle(x, ("x",) * (ndim - x.ndim) + tuple(range(x.ndim)))


def asarray(value: Any, dtype: Any = None) -> Expr:
    """Return `value` as an expression, of dtype `dtype` where one is given: NumPy's asarray, under the name `array` too.

    >>> asarray([1, 2], "float32").type
    TensorType(float32, (2,))
    """
    x = as_expr(value) if holds_expr(value) else constant(value, dtype=dtype)
    return x if dtype is None else cast_to(x, dtype_name(dtype))


def get_scalar_constant_value(value: Any) -> np.ndarray[Any, Any]:
    """Return the value of a scalar that follows from constants and known lengths alone, as an array without axes.

    Raises
    ------
    ValueError
        if it depends on inputs or shared variables, or has more than one element.

    >>> import exprc.tensor as T
    >>> get_scalar_constant_value(T.matrix(shape=(2, 3)).shape[1] * T.constant(2)).item()
    6
    """
    from exprc.reference import evaluate

    x = as_expr(value)
    open_ = next((leaf for leaf in leaves([x]) if not isinstance(leaf, Constant)), None)
    if open_ is not None:
        text = "get_scalar_constant_value: the value is not known before the call"
        raise ValueError(report(text, [("expression", x.label, x.where), ("needs", open_.label, open_.where)], "compile a function of it"))
    made = evaluate([x], {})[0]
    if made.size != 1:
        text = f"get_scalar_constant_value: {made.size} elements are no scalar"
        raise ValueError(report(text, [("expression", f"{x.label}  {x.type}", x.where)], "index it first"))
    return np.asarray(made.reshape(()))
