"""What hangs on Expr: operators and array methods, each from the record of the operation; NumPy's functions are `exprc.dispatch`'s.

``x == y`` stays identity (expressions are keys of dictionaries); `exprc.tensor.eq` builds a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from exprc.errors import no_attribute, report
from exprc.expr import Expr
from exprc.forms import blame, static_size
from exprc.ops import PUBLIC, index, view
from exprc.ops import formula as f
from exprc.spellings import instead

# -- operators ---------------------------------------------------------------------------------------------------------

#: Python's name -> that of the operation.
_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "true_div", "floordiv": "floor_div", "mod": "mod", "pow": "power",
    "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
_COMPARISONS = {"lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_UNARY = {"neg": "neg", "abs": "abs", "invert": "invert", "floor": "floor", "ceil": "ceil", "trunc": "trunc"}


def _operator(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: op(self, other)


def _reflected(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: op(other, self)


def _of_one(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self: op(self)


def _power(self: Any, other: Any, modulo: Any = None) -> Any:
    made = PUBLIC["power"](self, other)
    return made if modulo is None else PUBLIC["mod"](made, modulo)


for _name, _op in _BINARY.items():
    setattr(Expr, f"__{_name}__", _operator(PUBLIC[_op]))
    setattr(Expr, f"__r{_name}__", _reflected(PUBLIC[_op]))
for _name, _op in _COMPARISONS.items():
    setattr(Expr, f"__{_name}__", _operator(PUBLIC[_op]))
for _name, _op in _UNARY.items():
    setattr(Expr, f"__{_name}__", _of_one(PUBLIC[_op]))
_MORE: dict[str, Callable[..., Any]] = {
    "__pos__": lambda self: self, "__divmod__": _operator(PUBLIC["divmod"]), "__rdivmod__": _reflected(PUBLIC["divmod"]), "__pow__": _power,
    "__round__": lambda self, digits=None: PUBLIC["round"](self) if digits is None else PUBLIC["round"](self, digits),
}  # fmt: skip
for _name, _special in _MORE.items():
    setattr(Expr, _name, _special)

# -- methods and properties --------------------------------------------------------------------------------------------

#: Operations whose first argument is the array: they are methods under their own name.
_NAMES = (
    "all any argmax argmin argsort choose clip cumprod cumsum diagonal dimshuffle dot fill flatten max mean min nonzero "
    "nonzero_values norm ones_like prod ptp ravel repeat round searchsorted sort squeeze std sum swapaxes take trace var zeros_like"
    " arccos arccosh arcsin arcsinh arctan arctanh ceil cos cosh deg2rad exp exp2 expm1 floor log log10 log1p log2 rad2deg sin sinh sqrt"
    " tan tanh trunc"
).split()


def _is_int(x: Any) -> bool:
    return hasattr(x, "__index__") and not hasattr(x, "__len__")


_METHODS: dict[str, Callable[..., Any]] = {
    **{name: PUBLIC[name] for name in _NAMES},
    "astype": f.cast, "compress": lambda self, condition, axis=None: PUBLIC["compress"](condition, self, axis),
    "reshape": lambda self, *shape, ndim=None, order="C": view.reshape(self, shape[0] if len(shape) == 1 else shape, ndim, order),
    "transpose": lambda self, *axes: view.transpose(self, axes[0] if len(axes) == 1 and not _is_int(axes[0]) else axes or None),
    "copy": lambda self: f.cast(self, self.dtype), "conj": lambda self: self, "conjugate": lambda self: self,
}  # fmt: skip


def _method(op: Callable[..., Any], name: str) -> Callable[..., Any]:
    def method(self: Expr, *args: Any, **kwargs: Any) -> Any:
        return op(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, op.__doc__
    return method


for _name, _function in _METHODS.items():
    setattr(Expr, _name, _method(_function, _name))


def _shape(self: Expr) -> tuple[Any, ...]:
    """The dims: ints where the type knows them, else expressions, which never compute the array."""
    return tuple(view.dim_of(self, a) for a in range(self.ndim))


def _size(self: Expr) -> Any:
    """The number of elements: an int where it is known."""
    total: Any = 1
    for d in _shape(self):
        total = total * d
    return total


def _matrix_transpose(self: Expr) -> Expr:
    """The matrices in the last two axes transposed."""
    if self.ndim < 2:
        rows = [("expression", f"{self.label}  {self.type}", self.where)]
        raise ValueError(report(f"mT: {self.ndim} axes hold no matrix", rows, "use x[:, None] for a column"))
    return PUBLIC["swapaxes"](self, -1, -2)  # type: ignore[no-any-return]


_PROPERTIES: dict[str, Callable[[Any], Any]] = {
    "shape": _shape, "size": _size, "T": view.transpose, "mT": _matrix_transpose, "real": lambda self: self,
    "imag": PUBLIC["zeros_like"],
}  # fmt: skip
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


def _getitem(self: Expr, entries: Any) -> Expr:
    try:
        return index.getitem(self, entries)
    except (TypeError, ValueError, IndexError) as error:
        raise blame(error, (self,))  # noqa: B904 (it is the same error)


def _length(self: Expr, fix: str = "state it, shape=(10,), or use x.shape[0], an expression, instead of len(x)") -> int:
    if self.ndim == 0:
        fix = "only arrays of one axis or more can be counted and walked over"
        raise TypeError(report("a scalar has no length", [("expression", self.label, self.where)], fix))
    if self.type.shape[0] is None:
        raise TypeError(
            report(
                "the length of the first axis is not known",
                [("expression", f"{self.label}  {self.type}", self.where)],
                fix,
            )
        )
    return int(self.type.shape[0])


def _iterate(self: Expr) -> Iterator[Expr]:
    fix = "state it, shape=(10,), to walk over it; arrays go in a list: concatenate([x, y]); x.sum(), x.max() ... need no loop"
    return iter([self[k] for k in range(_length(self, fix))])


def _index(self: Expr) -> int:
    value = static_size(self) if self.type.shape == () and "int" in self.dtype else None
    if isinstance(value, int):
        return value
    return _refuse("an expression is no number", "use .eval() for its value")(self)  # type: ignore[no-any-return]


_NO_BRANCH = "use where(condition, a, b); (a < x) & (x < b) for a < x < b; & | ~ for and, or, not; maximum for max; .eval() for a value"

_SPECIAL: dict[str, Callable[..., Any]] = {
    "__getitem__": _getitem, "__len__": _length, "__iter__": _iterate, "__index__": _index,
    "__bool__": _refuse("an expression is neither true nor false", _NO_BRANCH),
    "__float__": _refuse("an expression is no number", "use .eval() for its value"),
    "__int__": _refuse("an expression is no number", "use .eval() for its value"),
    "__complex__": _refuse("an expression is no number", "use .eval() for its value"),
    "__contains__": _refuse("whether an expression holds a value is not known", "use eq(x, value).any(), or .eval() for its value"),
    "__setitem__": _refuse("an expression cannot be changed", "x = set_subtensor(x[...], value) makes a new one"),
    "__delitem__": _refuse("an expression cannot be changed", "choose what stays by indexing"),
    "__format__": lambda self, spec: str(self) if not spec else _refuse("an expression is no number", "format .eval() of it")(self),
    "item": _refuse("an expression is no number", "use .eval() for its value, and item() of that"),
    "tolist": _refuse("an expression is no list", "use .eval() for its value, and tolist() of that"),
    "__array__": _refuse("an expression is no array", "use .eval() for its value, or exprc.tensor.stack to join expressions"),
}  # fmt: skip
for _name, _special in _SPECIAL.items():
    setattr(Expr, _name, _special)


def _missing(self: Expr, name: str) -> Any:
    """Called for an attribute that is not there."""
    if name.startswith("_") or name in Expr.__slots__:  # Python's own protocols ask for such, also before there is a label
        raise AttributeError(name)
    fix = instead(name, [n for n in dir(type(self)) if not n.startswith("_")])
    if not fix and name in PUBLIC:
        fix = f"exprc.tensor.{name} is a function"
    raise no_attribute(report(f"an expression has no attribute {name!r}", [("expression", self.label, self.where)], fix), name)


setattr(Expr, "__getattr__", _missing)  # noqa: B010
