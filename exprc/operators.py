"""What hangs on Expr: operators, array methods and NumPy's functions, each from the record of the operation.

``x == y`` stays identity (expressions are keys of dictionaries); `exprc.tensor.eq` builds a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from exprc.errors import nearest, report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, static_size
from exprc.ops import composite, index, linalg, reduce, view
from exprc.ops import formula as f
from exprc.types import dtype_name

# -- operators ---------------------------------------------------------------------------------------------------------

_BINARY: dict[str, Callable[..., Any]] = {
    "add": f.add, "sub": f.sub, "mul": f.mul, "truediv": f.true_div, "floordiv": f.floor_div, "mod": f.mod, "pow": f.power,
    "and": f.bitwise_and, "or": f.bitwise_or, "xor": f.bitwise_xor, "matmul": linalg.matmul,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[..., Any]] = {"lt": f.lt, "le": f.le, "gt": f.gt, "ge": f.ge}
_UNARY: dict[str, Callable[..., Any]] = {"neg": f.neg, "pos": lambda x: x, "abs": f.abs_, "invert": f.invert}


def _operator(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: op(self, other)


def _reflected(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: op(other, self)


for _name, _op in _BINARY.items():
    setattr(Expr, f"__{_name}__", _operator(_op))
    setattr(Expr, f"__r{_name}__", _reflected(_op))
for _name, _op in _COMPARISONS.items():
    setattr(Expr, f"__{_name}__", _operator(_op))
for _name, _op in _UNARY.items():
    setattr(Expr, f"__{_name}__", (lambda op: lambda self: op(self))(_op))

# -- methods and properties --------------------------------------------------------------------------------------------

_METHODS: dict[str, Callable[..., Any]] = {
    **{n: getattr(reduce, n) for n in ("mean", "prod", "argmax", "argmin")},
    "sum": reduce.sum_, "max": reduce.max_, "min": reduce.min_, "any": reduce.any_, "all": reduce.all_,
    "var": composite.var, "std": composite.std, "norm": composite.norm, "take": index.take,
    "dot": linalg.dot, "astype": f.cast, "clip": f.clip, "round": f.round_,
    "reshape": lambda self, *shape, ndim=None: view.reshape(self, shape[0] if len(shape) == 1 else shape, ndim),
    "flatten": view.flatten, "ravel": lambda self: view.flatten(self, 1), "squeeze": view.squeeze,
    "dimshuffle": view.dimshuffle,
    "transpose": lambda self, *axes: view.transpose(self, (axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes) or None),
    "copy": lambda self: f.cast(self, self.dtype),
}  # fmt: skip


def _method(op: Callable[..., Any], name: str) -> Callable[..., Any]:
    def method(self: Expr, *args: Any, **kwargs: Any) -> Any:
        return op(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, op.__doc__
    return method


for _name, _op in _METHODS.items():
    setattr(Expr, _name, _method(_op, _name))


def _shape(self: Expr) -> tuple[Any, ...]:
    """The dims: ints where the type knows them, else expressions, which never compute the array."""
    return tuple(view.dim_of(self, a) for a in range(self.ndim))


def _size(self: Expr) -> Any:
    """The number of elements: an int where it is known."""
    total: Any = 1
    for d in _shape(self):
        total = total * d
    return total


_PROPERTIES: dict[str, Callable[[Any], Any]] = {"shape": _shape, "size": _size, "T": view.transpose}
for _name, _getter in _PROPERTIES.items():
    setattr(Expr, _name, property(_getter))

# -- indexing, iteration and what an expression cannot be --------------------------------------------------------------


def _refuse(what: str, fix: str) -> Callable[..., Any]:
    def refuse(self: Expr, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            report(
                f"{what}: it has no value until it is compiled and called",
                [("expression", self.label, self.where)],
                fix,
            )
        )

    return refuse


def _length(self: Expr) -> int:
    if self.ndim == 0:
        raise TypeError(report("a scalar has no length", [("expression", self.label, self.where)]))
    if self.type.shape[0] is None:
        raise TypeError(
            report(
                "the length of the first axis is not known", [("expression", self.label, self.where)], "use x.shape[0]"
            )
        )
    return int(self.type.shape[0])


def _iterate(self: Expr) -> Iterator[Expr]:
    return iter([self[k] for k in range(_length(self))])


def _index(self: Expr) -> int:
    value = static_size(self) if self.type.shape == () and "int" in self.dtype else None
    if isinstance(value, int):
        return value
    return _refuse("an expression is no number", "use .eval() for its value")(self)  # type: ignore[no-any-return]


_SPECIAL: dict[str, Callable[..., Any]] = {
    "__getitem__": index.getitem, "__len__": _length, "__iter__": _iterate, "__index__": _index,
    "__bool__": _refuse("an expression is neither true nor false", "use where(condition, a, b), or .eval() for its value"),
    "__float__": _refuse("an expression is no number", "use .eval() for its value"),
    "__int__": _refuse("an expression is no number", "use .eval() for its value"),
    "__array__": _refuse("an expression is no array", "use .eval() for its value, or exprc.tensor.stack to join expressions"),
}  # fmt: skip
for _name, _op in _SPECIAL.items():
    setattr(Expr, _name, _op)

# -- NumPy's functions on expressions ----------------------------------------------------------------------------------


def _full_like(x: Any, value: Any, dtype: Any = None) -> Expr:
    """Return an array of the shape (and, if none is given, the dtype) of `x` whose elements are all `value`."""
    x = as_expr(x)
    wanted = dtype_name(dtype) if dtype is not None else x.dtype
    return view.broadcast_to(cast_to(as_expr(value, (wanted,)), wanted), _shape(x))


def _filled(value: int) -> Callable[..., Expr]:
    return lambda x, dtype=None: _full_like(x, value, dtype)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Expr:
    """NumPy's norm, of vectors only: for matrices its orders mean something else."""
    if ord is not None and isinstance(axis, tuple) and len(axis) > 1:
        raise TypeError(
            f"np.linalg.norm: order {ord!r} of a matrix is not supported on expressions, only that of vectors"
        )
    return composite.norm(x, 2 if ord is None else ord, axis, keepdims)


#: NumPy function -> ours. Ufuncs come from the records; these have Python signatures of their own.
_NUMPY: dict[Any, Callable[..., Any]] = {
    np.sum: reduce.sum_, np.mean: reduce.mean, np.prod: reduce.prod, np.max: reduce.max_, np.min: reduce.min_, np.amax: reduce.max_,
    np.amin: reduce.min_, np.argmax: reduce.argmax, np.argmin: reduce.argmin, np.any: reduce.any_, np.all: reduce.all_,
    np.dot: linalg.dot, np.tensordot: linalg.tensordot, np.outer: linalg.outer, np.where: f.where, np.clip: f.clip, np.round: f.round_,
    np.reshape: view.reshape, np.transpose: view.transpose, np.squeeze: view.squeeze, np.broadcast_to: view.broadcast_to,
    np.concatenate: view.concatenate, np.stack: view.stack, np.ravel: lambda x: view.flatten(x, 1),
    np.var: composite.var, np.std: composite.std, np.take: index.take, np.linalg.norm: _norm, np.square: f.sqr, np.isinf: f.isinf,
    np.zeros_like: _filled(0), np.ones_like: _filled(1), np.full_like: _full_like, np.matmul: linalg.matmul, np.abs: f.abs_,
    np.divide: f.true_div, np.reciprocal: f.inv, np.isnan: f.isnan,
}  # fmt: skip
_NUMPY.update({op.numpy: op for op in vars(f).values() if isinstance(getattr(op, "numpy", None), np.ufunc)})


def _no_such(function: Any, args: Any) -> TypeError:
    first = next((a for a in args if isinstance(a, Expr)), None)
    rows = [("expression", first.label, first.where)] if first is not None else []
    name = getattr(function, "__name__", str(function))
    return TypeError(
        report(f"np.{name} is not supported on expressions", rows, nearest(name, [k.__name__ for k in _NUMPY]))
    )


def _array_ufunc(self: Expr, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if method != "__call__" or kwargs or ufunc not in _NUMPY:
        raise _no_such(ufunc, inputs)
    return _NUMPY[ufunc](*inputs)


def _array_function(self: Expr, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    if function not in _NUMPY:
        raise _no_such(function, args)
    return _NUMPY[function](*args, **kwargs)


_DISPATCH: dict[str, Callable[..., Any]] = {"__array_ufunc__": _array_ufunc, "__array_function__": _array_function}
for _name, _op in _DISPATCH.items():
    setattr(Expr, _name, _op)
