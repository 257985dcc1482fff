"""NumPy's functions on expressions: ``np.tanh(x)`` builds what ``exprc.tensor.tanh(x)`` builds.

The table is made from the catalogue: a NumPy function and an operation of the same name are twins, and so are a ufunc and the formula that
has it for its reference. Only where one name means two things does this file say which.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from exprc.errors import nearest, report
from exprc.expr import Expr, as_expr
from exprc.forms import Op
from exprc.ops import PUBLIC, axes
from exprc.ops.formula import copy

#: In NumPy these change an array in place, or mean something else than the operation of their name.
_NOT_TWINS = {"fill_diagonal", "block", "choose", "trace", "diagonal", "norm", "indices"}
_ARRAY_FUNCTION = type(np.sum)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Expr:
    """NumPy's norm, of vectors, and the Frobenius norm of matrices: other orders mean something else for these."""
    ord = None if ord == "fro" else ord
    if ord is not None and (isinstance(axis, tuple) or (axis is None and as_expr(x).ndim == 2)):
        text = f"np.linalg.norm: order {ord!r} of a matrix is not supported on expressions, only that of vectors"
        raise TypeError(report(text, fix="name one axis, or leave the order out"))
    return PUBLIC["norm"](x, 2 if ord is None else ord, axis, keepdims)  # type: ignore[no-any-return]


def _vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Expr:
    return PUBLIC["norm"](x, ord, axis, keepdims)  # type: ignore[no-any-return]


def _matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Expr:
    return _norm(x, ord, (-2, -1), keepdims)


def _length(x: Any, axis: int | None = None) -> Any:
    return x.size if axis is None else x.shape[axes.one_axis("size", axis, x.ndim, x)]


def _twins() -> dict[Any, Callable[..., Any]]:
    made: dict[Any, Callable[..., Any]] = {}
    for name, op in PUBLIC.items():
        for home in (np, np.linalg):
            twin = getattr(home, name, None)
            if isinstance(twin, (np.ufunc, _ARRAY_FUNCTION)) and name not in _NOT_TWINS and not (home is np.linalg and name == "inv"):
                made.setdefault(twin, op)
    made.update({op.numpy: op for op in PUBLIC.values() if isinstance(getattr(op, "numpy", None), np.ufunc)})
    last = {"axis1": -2, "axis2": -1}
    names = {"diagonal": np.diagonal, "trace": np.trace, "choose": np.choose, "amax": np.amax, "amin": np.amin, "around": np.around}
    same = {"amax": "max", "amin": "min", "around": "round"}
    made.update({twin: PUBLIC[same.get(name, name)] for name, twin in names.items()})
    made.update({
        np.linalg.diagonal: functools.partial(PUBLIC["diagonal"], **last), np.linalg.trace: functools.partial(PUBLIC["trace"], **last),
        np.linalg.norm: _norm, np.linalg.vector_norm: _vector_norm, np.linalg.matrix_norm: _matrix_norm,
        np.astype: PUBLIC["cast"], np.shape: lambda a: a.shape, np.ndim: lambda a: a.ndim, np.size: _length,
        np.copy: copy, np.square: PUBLIC["sqr"],
        np.divide: PUBLIC["true_div"],
        np.reciprocal: PUBLIC["inv"], np.isnan: PUBLIC["isnan"], np.isinf: PUBLIC["isinf"], np.conjugate: PUBLIC["conj"],
        np.positive: as_expr,
    })  # fmt: skip
    return made


#: NumPy function -> ours.
TWINS: dict[Any, Callable[..., Any]] = _twins()

#: What a ufunc's methods are: the reduction along an axis, and the running one.
_REDUCTIONS = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min", np.logical_and: "all", np.logical_or: "any"}
_RUNNING = {np.add: "cumsum", np.multiply: "cumprod"}
_METHODS_OF_UFUNCS: dict[str, dict[Any, str]] = {"reduce": _REDUCTIONS, "accumulate": _RUNNING}


def _first_row(args: Any) -> list[tuple[str, str, str]]:
    first = next((a for a in args if isinstance(a, Expr)), None)
    return [("expression", first.label, first.where)] if first is not None else []


def _no_such(function: Any, args: Any, method: str = "") -> TypeError:
    rows = _first_row(args)
    name = getattr(function, "__name__", str(function))
    fix = nearest(name, [k.__name__ for k in TWINS]) or "exprc.tensor lists what there is; x.eval() gives an array first"
    return TypeError(report(f"np.{name}{method} is not supported on expressions", rows, fix))


@functools.cache
def _parameters(function: Any) -> dict[str, inspect.Parameter] | None:
    """The parameters of a function, None if they cannot be told apart by name."""
    if isinstance(function, Op):
        function = function.call or function.apply
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_POSITIONAL for p in found.values()) else dict(found)


def _call(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Hand NumPy's arguments to its twin: by name, or by place where only the names differ; what says the default is left out."""
    ours = TWINS[function]
    theirs, mine = _parameters(function), _parameters(ours)
    if theirs is None or mine is None:
        return ours(*args, **{k: v for k, v in kwargs.items() if k != "out" or v is not None})
    given = inspect.Signature(list(theirs.values())).bind(*args, **kwargs).arguments
    named: dict[str, Any] = {}
    for place, (name, parameter) in enumerate(theirs.items()):
        value = given.get(name, parameter.default)
        if value is parameter.default:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(value)
        elif name not in mine and place < len(mine) and (same := list(mine)[place]) not in theirs:
            named[same] = value
        else:
            named[name] = value
    unknown = next((k for k in named if k not in mine), None)
    if unknown is not None:
        text = f"np.{function.__name__}: the argument {unknown!r} is not supported on expressions"
        raise TypeError(report(text, _first_row(args), nearest(unknown, mine)))
    return ours(**named)


def _array_ufunc(self: Expr, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if method == "__call__" and ufunc in TWINS and not kwargs:
        return TWINS[ufunc](*inputs)
    table = _METHODS_OF_UFUNCS.get(method, {})
    if ufunc in table:
        given = {"axis": 0, **{k: v for k, v in kwargs.items() if v is not None or k == "axis"}}
        return PUBLIC[table[ufunc]](*inputs, **given)
    if method == "outer" and ufunc in TWINS and not kwargs:
        a, b = map(as_expr, inputs)
        return TWINS[ufunc](axes.shape_padright(a, b.ndim), b)
    if method == "__call__" and ufunc in TWINS:
        text = f"np.{ufunc.__name__}: the argument {next(iter(kwargs))!r} is not supported on expressions"
        raise TypeError(report(text, _first_row(inputs), "an expression is never written into an array; astype() gives another dtype"))
    raise _no_such(ufunc, inputs, "" if method == "__call__" else f".{method}")


def _array_function(self: Expr, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    if function not in TWINS:
        raise _no_such(function, _flat(args))
    return _call(function, args, kwargs)


def _flat(args: Any) -> list[Any]:
    return [b for a in args for b in (a if isinstance(a, (list, tuple)) else (a,))]


_HOOKS: dict[str, Callable[..., Any]] = {"__array_ufunc__": _array_ufunc, "__array_function__": _array_function}
for _name, _hook in _HOOKS.items():
    setattr(Expr, _name, _hook)
