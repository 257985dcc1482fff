"""The six forms that an operation can have, and what a record of each form declares.

The compiler knows these forms, never the names of operations. A record is made once, in a file of `exprc.ops`; from it follow the
function, the NumPy reference, C and CUDA, the gradient, the documentation and the tests.

Rules that every record shares
------------------------------
shape(args, **params) : the dims of the result, by plain arithmetic over the dims of `args` (see `Arg`); one rule serves
    building (dims may be `UNKNOWN`), binding (ints, where it also checks) and ``x.shape``, which never computes ``x``.
dtype(dtypes, **params) : the dtype of the result.
grad(g, y, *inputs, **params) : one expression per data input (None: 0; `exprc.grad_undefined`: an error for who asks), in the public
    language. Casts, un-broadcasting and sums over several uses are done once, in `exprc.grad`, never in a rule.
numpy(*arrays, **params) : the reference.
samples() : [(args, params), ...] for the tests, where they cannot be worked out from the form.
batched(node, inputs, which, rows) : the result of `node` for `rows` values at once (see `exprc.vectorise`): `inputs` stand for its inputs,
    those for which `which` is true with a leading axis of length `rows`; the result (or each of them) has that axis too. None where it does
    not serve. Formulas, reductions and composites need none; another record without one is worked out row by row.
called : what messages call it, where that is not its name.
aliases : other names under which `exprc.tensor` shows the operation; those of NumPy's ufuncs make NumPy hand them over, too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, NamedTuple, overload

import numpy as np

from exprc.blame import ShapeError as ShapeError
from exprc.blame import blame as blame
from exprc.blame import node_rows as node_rows
from exprc.errors import arguments_of, name_function, nearest, report, whole_number
from exprc.expr import Constant, Expr, Input, as_expr, set_leaf_records, topological
from exprc.hooks import Consumer as Consumer
from exprc.hooks import Hook as Hook
from exprc.hooks import Producer as Producer
from exprc.hooks import argument_names as argument_names
from exprc.size import UNKNOWN, Dim, Unknown
from exprc.types import TensorType, TupleType, dtype_name, float_of, is_integer, promote, tensor_type


class Arg(NamedTuple):
    """What a rule may know of an input: its dims, its dtype and, of an integer scalar that gives a size, its value.

    leaf : of a kernel's operand, whether the call gives it, or a variable has it, row by row in memory.
    """

    shape: tuple[Dim, ...]
    dtype: str
    value: Dim = UNKNOWN
    leaf: bool = False


class Op:
    """What the records of all forms have; `data` is how many inputs hold data, the rest give sizes (None: all hold data).

    The annotations of a form are its fields, their values in the class the defaults; a record does not change once it is made.
    """

    fields: ClassVar[frozenset[str]] = frozenset()

    form: ClassVar[str] = ""
    name: str
    numpy: Callable[..., Any] | None = None
    shape: Callable[..., Any] | None = None
    dtype: Callable[..., Any] | None = None
    grad: Callable[..., Any] | None = None
    call: Callable[..., Any] | None = None
    data: int | None = None
    size: Callable[..., Dim] | None = None
    samples: Callable[[], list[Any]] | None = None
    doc: str = ""
    aliases: tuple[str, ...] = ()
    batched: Callable[..., Any] | None = None
    called: str = ""

    def __init_subclass__(cls) -> None:
        own = (name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar"))
        cls.fields = cls.fields | Op.__annotations__.keys() - {"form", "fields"} | frozenset(own)

    def __init__(self, name: str, **record: Any) -> None:
        for key, value in {"name": name, **record}.items():
            if key not in self.fields:
                hint = nearest(key, self.fields) or f"its fields are {', '.join(sorted(self.fields))}"
                raise TypeError(report(f"the record of {name} has no field {key!r}", fix=hint))
            object.__setattr__(self, key, value)
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", self.name):
            raise ValueError(f"the name of an operation must match [a-z_][a-z0-9_]*: {self.name!r}")
        object.__setattr__(self, "__doc__", self.doc)
        object.__setattr__(self, "__name__", self.name)
        self.complete()

    def complete(self) -> None:
        """Work out what follows from the fields."""

    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError(f"the record of {self.name} does not change: make another one with its own {key!r}")

    def __repr__(self) -> str:
        return f"<{self.form} {self.name}>"

    def __call__(self, *args: Any, **params: Any) -> Any:
        try:
            return (self.call or self.apply)(*args, **params)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            name_function(error, self.call or self.apply, self.name)
            raise blame(error, (*args, *params.values()))  # noqa: B904 (it is the same error)

    def apply(self, *args: Any, **params: Any) -> Any:
        """Make the node of a call whose record has no `call`."""
        return self.node(wrap(args), params)

    def node(self, inputs: tuple[Expr, ...], params: Mapping[str, Any]) -> Expr:
        """Build the node, its type worked out and checked."""
        try:
            type_ = self.infer(inputs, params)
        except ShapeError as error:
            raise error.told(self, inputs) from None
        return Expr(self, inputs, params, type_)

    def infer(self, inputs: tuple[Expr, ...], params: Mapping[str, Any]) -> Any:
        data = len(inputs) if self.data is None else self.data
        args = [_static_arg(x, i >= data) for i, x in enumerate(inputs)]
        assert self.shape is not None and self.dtype is not None
        dims, dtype = self.shape(args, **params), self.dtype([a.dtype for a in args[:data]], **params)
        if isinstance(dtype, str):
            return tensor_type(dtype, known(dims))
        return TupleType(tuple(tensor_type(t, known(d)) for t, d in zip(dtype, dims)))

    def data_inputs(self, node: Expr) -> tuple[Expr, ...]:
        return node.inputs if self.data is None else node.inputs[: self.data]


def shape_rule(op: Any, args: Sequence[Arg], params: Mapping[str, Any]) -> Any:
    """Run a record's shape rule; a formula without one broadcasts."""
    return op.shape(args, **params) if op.shape is not None else broadcast([a.shape for a in args])


def known(shape: Sequence[Dim]) -> tuple[int | None, ...]:
    return tuple(None if isinstance(d, Unknown) else int(d) for d in shape)  # type: ignore[arg-type]


def _static_arg(x: Expr, is_size: bool) -> Arg:
    dims = tuple(UNKNOWN if d is None else d for d in x.type.shape)
    return Arg(dims, x.dtype, static_size(x) if is_size else UNKNOWN)


def static_size(x: Expr) -> Dim:
    """Return the value of an integer scalar as far as it is known while building."""

    def dim_of(array: Expr, axis: int) -> Dim:
        dim = array.type.shape[axis]
        return UNKNOWN if dim is None else dim

    return size_value(x, dim_of, lambda leaf: int(leaf.value) if isinstance(leaf, Constant) and leaf.value.size == 1 else UNKNOWN)


def size_value(x: Expr, dim_of: Callable[[Expr, int], Dim], leaf: Callable[[Expr], Dim]) -> Dim:
    """Work out an integer scalar from dims and leaves; UNKNOWN where an operation in it has no `size` rule."""
    values: dict[Expr, Dim] = {}
    for node in topological([x], stop=lambda n: n.op.name == "dim" or n.op.size is None):
        if node.op.name == "dim":
            values[node] = dim_of(node.inputs[0], node.params["axis"])
        elif node.op.form == "leaf":
            values[node] = leaf(node)
        else:
            rule = node.op.size
            values[node] = rule(*(values[i] for i in node.inputs)) if rule else UNKNOWN
    return values[x]


def wrap(args: Sequence[Any], compared: bool = False) -> tuple[Expr, ...]:
    """Make expressions of arguments; Python scalars take their dtype from the others.

    compared : whether they are only compared: then an int that is out of their range is no error.
    """
    if all(isinstance(a, Expr) and type(a.type) is TensorType for a in args):
        return tuple(args)
    others = [_dtype_of(a) for a in args if not isinstance(a, (bool, int, float)) or isinstance(a, np.integer)]
    return tuple(as_expr(a, () if compared and _beyond(a, others) else others) for a in args)


def _beyond(value: Any, others: Sequence[str]) -> bool:
    """Whether a Python int does not fit in the dtype of the integers that it meets."""
    meet = promote(others) if others else ""
    return type(value) is int and is_integer(meet) and not np.iinfo(meet).min <= value <= np.iinfo(meet).max


def _dtype_of(value: Any) -> str:
    return value.dtype if isinstance(value, Expr) and isinstance(value.type, TensorType) else as_expr(value).dtype


# -- shape rules that many records share -------------------------------------------------------------------------------


def same_dim(a: Dim, b: Dim, what: str, fix: str = "") -> Dim:
    """Return the dim that both must be, or raise what `what` says; of two that cannot be compared yet, the better known."""
    if isinstance(a, int) and isinstance(b, int) and a != b:
        raise ShapeError(f"{what}: {a} ≠ {b}", fix)
    return a if isinstance(a, int) or isinstance(b, Unknown) else (b if isinstance(b, int) or isinstance(a, Unknown) else a)


def broadcast_dim(dims: Sequence[Dim]) -> Dim:
    """NumPy's rule for one axis. Of dims that are not numbers, none is 1 when a program is bound (see schedule/sizes.py)."""
    result: Dim = 1
    for dim in dims:
        if isinstance(dim, int) and dim == 1:
            continue
        if isinstance(result, int) and result == 1:
            result = dim
        elif isinstance(result, int) and isinstance(dim, int) and dim != result:
            raise ShapeError(f"shapes do not broadcast: {result} ≠ {dim}")
        elif isinstance(dim, int):
            result = dim
    return result


def broadcast(shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    """NumPy's broadcasting of several shapes."""
    ndim = max(map(len, shapes), default=0)
    padded = [(1,) * (ndim - len(s)) + tuple(s) for s in shapes]
    try:
        return tuple(broadcast_dim(dims) for dims in zip(*padded))
    except ShapeError as error:
        texts = " · ".join(shape_text(s) for s in shapes)
        fix = "axes are matched from the last one; x[:, None] or dimshuffle puts an axis of length 1 where one is lacking"
        raise ShapeError(f"{error.args[0].split(':')[0]}: {texts}:{error.args[0].split(':')[1]}", fix) from None


def shape_text(shape: Sequence[Any]) -> str:
    dims = ", ".join("?" if d is None else str(d) for d in shape)
    return f"({dims}{',' * (len(shape) == 1)})"


def fill_dims(shape: Sequence[int | None], sizes: Sequence[Any]) -> tuple[Any, ...]:
    """Put the size inputs in the places that a static shape leaves open (None)."""
    rest = iter(sizes)
    return tuple(next(rest) if d is None else d for d in shape)


def split_dims(shape: Any) -> tuple[tuple[int | None, ...], tuple[Expr, ...]]:
    """Split a shape given by the user in its static part (None where an expression stands) and those expressions."""
    several = isinstance(shape, (tuple, list)) or (isinstance(shape, (Expr, np.ndarray)) and shape.ndim == 1)
    entries = list(shape) if several else [shape]
    static: list[int | None] = []
    sizes: list[Expr] = []
    for entry in entries:
        value = static_size(_size_expr(entry)) if isinstance(entry, Expr) else whole_number(entry, "a length")
        static.append(value if isinstance(value, int) else None)
        if not isinstance(value, int):
            sizes.append(entry)
    return tuple(static), tuple(sizes)


def _size_expr(x: Expr) -> Expr:
    if x.type.shape != () or x.dtype == "bool" or "int" not in x.dtype:
        fix = "x.shape has the sizes of an array x; zeros_like(x) and its kin take it whole" if x.ndim else "cast it to 'int64'?"
        raise TypeError(report(f"a size must be an integer scalar, not {x.type}", [("size", x.label, x.where)], fix))
    return x


# -- form 1: formula ---------------------------------------------------------------------------------------------------

#: How operands meet: kind -> (their common dtype) -> (dtype the operands are cast to, dtype of the result).
MEETING: dict[str, Callable[[str], tuple[str, str]]] = {
    "same": lambda d: (d, d),
    "float": lambda d: (float_of(d), float_of(d)),
    "compare": lambda d: (d, "bool"),
    "logic": lambda d: ("bool", "bool"),
    "number": lambda d: ("int64" if d == "bool" else d,) * 2,  # type: ignore[dict-item, return-value]
}

_RESERVED = re.compile(r"i\d*|T|n")


class Formula(Op):
    """One branch-free scalar C expression, applied at every index of its broadcast operands.

    c : the expression, valid in C and CUDA. ``{x}`` is an operand, ``{i0}`` an output index, ``{i}`` the position of the element
        in row-major order, ``{T}`` the C type of the result. With `data` stated, names after the first `data` operands are integer params.
    meet : a key of `MEETING`, or a function from operand dtypes to (dtypes to cast to, result dtype).
    cheap : whether computing it again costs less than storing it (no function call in it).
    ulps : how many units in the last place a program and the reference may differ by where the text calls a function; 0 if `cheap`.
    least : the units are those of this magnitude where the result is smaller (1: the bound is one of max(1, |result|)).
    domain : for each operand an interval in which the operation is smooth; empty: all are, between 0.3 and 0.9.
    text : where the expression depends on dtypes: (those of the operands, that of the result) -> what stands for `c`.
    """

    form: ClassVar[str] = "formula"
    c: str = ""
    meet: Any = "same"
    cheap: bool = True
    ulps: float = 8
    least: float = 0
    domain: tuple[tuple[float, float], ...] = ()
    text: Callable[[Sequence[str], str], str] | None = None
    operands: tuple[str, ...] = ()

    def complete(self) -> None:
        operands = tuple(dict.fromkeys(n for n in re.findall(r"{(\w+)}", self.c) if not _RESERVED.fullmatch(n)))
        object.__setattr__(self, "operands", operands if self.data is None else operands[: self.data])
        object.__setattr__(self, "data", len(self.operands))

    def apply(self, *args: Any, **params: Any) -> Any:
        if len(args) != len(self.operands):
            count = f"{len(self.operands)} operand{'s' * (len(self.operands) != 1)}"
            text = f"{self.name} takes {count}, {len(args)} {'was' if len(args) == 1 else 'were'} given"
            raise TypeError(report(text, fix=f"call it as {self.name}({', '.join(self.operands)})"))
        if params:
            self._check_params(params)
        inputs = wrap(args, compared=self.meet == "compare")
        dtypes = [x.type.dtype for x in inputs]
        wanted = self.meeting(dtypes)[0]
        cast = inputs if list(wanted) == dtypes else tuple(map(cast_to, inputs, wanted))
        return self.node(cast, params)

    def _check_params(self, params: Mapping[str, Any]) -> None:
        """Refuse what neither the expression nor a rule knows, such as NumPy's ``out=``."""
        known = {*re.findall(r"{(\w+)}", self.c)}.union(*(argument_names(rule) for rule in (self.shape, self.dtype) if rule))
        unknown = next((p for p in params if p not in known), None)
        if unknown is not None:
            text = f"{self.name}() got an unexpected keyword argument {unknown!r}"
            raise TypeError(report(text, fix=f"call it as {self.name}({', '.join(self.operands)})"))

    def text_of(self, dtypes: Sequence[str], dtype: str) -> str:
        """Return the C expression for operands of `dtypes` and a result of `dtype`."""
        return self.c if self.text is None else self.text(dtypes, dtype)

    def meeting(self, dtypes: Sequence[str]) -> tuple[Sequence[str], str]:
        if not isinstance(self.meet, str):
            return self.meet(dtypes)  # type: ignore[no-any-return]
        operand, result = MEETING[self.meet](promote(dtypes))
        return (operand,) * len(dtypes), result

    def infer(self, inputs: tuple[Expr, ...], params: Mapping[str, Any]) -> Any:
        if self.shape is not None:
            return super().infer(inputs, params)
        dtypes = [x.type.dtype for x in inputs]
        dtype = self.dtype(dtypes, **params) if self.dtype else self.meeting(dtypes)[1]
        shapes = {x.type.shape for x in inputs} - {()}
        if len(shapes) <= 1:  # most nodes: nothing to broadcast but scalars
            return tensor_type(dtype, shapes.pop() if shapes else ())
        return tensor_type(dtype, known(broadcast([_static_arg(x, False).shape for x in inputs])))


def formula(name: str, c: str, **record: Any) -> Formula:
    """Declare a formula; see `Formula` for the fields.

    >>> cube = formula("cube", "{x} * {x} * {x}", numpy=lambda x: x**3, grad=lambda g, y, x: 3 * g * x * x)
    >>> cube.operands
    ('x',)
    """
    return Formula(name=name, c=c, **record)


_CAST: list[Op] = []


def cast_to(x: Expr, dtype: str) -> Expr:
    """Return `x` in another dtype; itself if it has that one already."""
    return x if x.dtype == dtype else _CAST[0].node((x,), {"dtype": dtype})


# -- form 2: view ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Where an element of a view comes from: an index into one input, where that is valid, and what stands elsewhere.

    conditions : pairs (e, n), each meaning ``0 <= e < n``; all must hold. `fill` is "0" or "lowest", the value elsewhere.
    also : more such conditions, without which the index is valid, too: the element is loaded before they are looked at.
    """

    index: tuple[Dim, ...]
    conditions: tuple[tuple[Dim, Dim], ...] = ()
    fill: str = "0"
    input: int = 0
    also: tuple[tuple[Dim, Dim], ...] = ()


class View(Op):
    """Data in another order: no element is computed.

    index(i, args, load, **params) : `Source` of the element at output index `i`; ``load(k, j, limit)`` is the element of integer input k at
        index j, to be used in the index: one that is not below the limit is an error. Without a limit (None) only conditions may use it.
    place(i, k, args, **params) : for a *store view* (concatenate): the output index where element `i` of input k goes.
    """

    form: ClassVar[str] = "view"
    index: Callable[..., Source] | None = None
    place: Callable[..., tuple[Dim, ...]] | None = None

    def complete(self) -> None:
        if self.dtype is None:
            object.__setattr__(self, "dtype", first_dtype)


def first_dtype(dtypes: Sequence[str], **params: Any) -> str:
    return dtypes[0]


def view(name: str, **record: Any) -> View:
    """Declare a view; see `View` for the fields."""
    return View(name=name, **record)


# -- form 3: reduce ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Acc:
    """One accumulator of a reduction; the texts are scalar C expressions.

    start : its first value ("{lowest}" and "{highest}" are the ends of its dtype's range).
    step : its next value, from the old values of all accumulators by name, the element ``{x}`` and its position ``{i}``.
    combine : its value for two parts joined: ``{name}`` of the earlier part, ``{name_}`` of the later one.
    dtype : its dtype; None for that of the element.
    """

    name: str
    start: str
    step: str
    combine: str
    dtype: str | None = None


class Reduce(Op):
    """Axes folded to one value by accumulators that can be split and joined.

    accs : the accumulators; finish : the result from them (``{n}`` is the number of elements).
    meet : dtype of the operand -> (dtype it is cast to, dtype of the result).
    nonempty : whether there is no result for no elements.
    alone(node) : a reduction of equal result that waits for no other one of the same axes, where there is one; else None.
    """

    form: ClassVar[str] = "reduce"
    accs: tuple[Acc, ...] = ()
    finish: str = ""
    meet: Callable[[str], tuple[str, str]] = staticmethod(lambda d: (d, d))
    nonempty: bool = False
    alone: Callable[[Expr], Expr | None] = staticmethod(lambda node: None)

    def complete(self) -> None:
        object.__setattr__(self, "shape", self._reduced)
        object.__setattr__(self, "dtype", lambda dtypes, **params: self.meet(dtypes[0])[1])

    def _reduced(self, args: Sequence[Arg], axes: tuple[int, ...]) -> tuple[Dim, ...]:
        folded = [args[0].shape[a] for a in axes]
        if self.nonempty and any(isinstance(d, int) and d == 0 for d in folded):
            fix = "reduce along axes that are not empty, or join with something that is always there"
            raise ShapeError(f"no elements to take the {self.name} of: shape {shape_text(args[0].shape)}, axes {axes}", fix)
        return tuple(d for a, d in enumerate(args[0].shape) if a not in axes)

    def apply(self, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None) -> Expr:
        """Fold axes; `dtype` is that of the result, `acc_dtype` that of the accumulators where it is another one."""
        x = as_expr(x)
        result = dtype_name(dtype) if dtype is not None else self.meet(x.dtype)[1] if acc_dtype is not None else None
        if result is not None:
            x = cast_to(x, dtype_name(acc_dtype if acc_dtype is not None else dtype))
        x = cast_to(x, self.meet(x.dtype)[0])
        axes = normal_axes(axis, x.ndim, self.name)
        y = self.node((x,), {"axes": axes})
        y = y if result is None else cast_to(y, result)
        return restore_axes(y, axes) if keepdims else y


def reduce(name: str, **record: Any) -> Reduce:
    """Declare a reduction; see `Reduce` for the fields."""
    return Reduce(name=name, data=1, **record)


def normal_axes(axis: Any, ndim: int, name: str) -> tuple[int, ...]:
    """Return axes as a sorted tuple of ints from 0; None means all."""
    if axis is None:
        return tuple(range(ndim))
    entries = [axis] if not isinstance(axis, (tuple, list)) else list(axis)
    fix = "this argument says along which axes: a number, a tuple of them, or None"
    entries = [whole_number(a, f"{name}: an axis", fix) for a in entries]
    for a in entries:
        if not -ndim <= a < ndim:
            raise ShapeError(f"{name}: axis {a} is out of bounds for an array of {ndim} dimensions", axes_there_are(ndim))
    axes = [a % ndim for a in entries]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: an axis is named twice: {tuple(entries)}", "name each axis once; -1 is the last one")
    return tuple(sorted(axes))


_DIMSHUFFLE: list[Op] = []


def axes_there_are(ndim: int) -> str:
    return f"its axes are 0 to {ndim - 1}, or -{ndim} to -1 from the end" if ndim else "a scalar has no axes"


def restore_axes(y: Expr, axes: tuple[int, ...]) -> Expr:
    """Put axes of length 1 back where a reduction removed `axes`."""
    kept = iter(range(y.ndim))
    order = tuple("x" if a in axes else next(kept) for a in range(y.ndim + len(axes)))
    return _DIMSHUFFLE[0].node((y,), {"order": order})


# -- form 4: composite -------------------------------------------------------------------------------------------------


class Composite(Op):
    """An operation written in other operations; it stays whole until `expand`, so that rules and its own gradient can name it.

    body(*inputs, **params) : the expression (or tuple of them) that it stands for.
    late : whether the body must see the dims that only a call knows; such a node is opened when sizes are bound.
    """

    form: ClassVar[str] = "composite"
    body: Callable[..., Any] = staticmethod(lambda *inputs: inputs)
    late: bool = False

    def apply(self, *args: Any, **params: Any) -> Any:
        names = argument_names(self.body)
        data = [n for n in names if n not in self.static_params()]
        self._check_arguments(names, data, args, params)
        params = {**self.static_params(), **params}
        positional = dict(zip(names, args))
        inputs = wrap([positional.pop(n) if n in positional else params.pop(n) for n in data])
        return results(self.node(inputs, {**params, **positional}))

    def _check_arguments(self, names: Sequence[str], data: Sequence[str], args: Sequence[Any], params: Mapping[str, Any]) -> None:
        if _takes_any_number(self.body):
            return
        missing = next((n for n in data if n not in params and n not in names[: len(args)]), None)
        unknown = next((p for p in params if p not in names), None)
        if missing is None and unknown is None and len(args) <= len(names):
            return
        found = f"needs {missing!r}" if missing else f"was given {len(args)} arguments"
        text = f"got an unexpected argument {unknown!r}" if unknown else found
        raise TypeError(report(f"{self.name}() {text}", fix=f"its arguments are {arguments_of(self.body)}"))

    def static_params(self) -> dict[str, Any]:
        """The keyword-only parameters of the body with their defaults: static values, not arrays."""
        return dict(_keyword_only(self.body))

    def infer(self, inputs: tuple[Expr, ...], params: Mapping[str, Any]) -> Any:
        if self.shape is not None:
            return super().infer(inputs, params)
        made = self.open(inputs, params)
        return TupleType(tuple(m.type for m in made)) if isinstance(made, tuple) else made.type

    def open(self, inputs: tuple[Expr, ...], params: Mapping[str, Any]) -> Any:
        """Return what this operation stands for on these inputs."""
        made = self.body(*inputs, **params)
        return tuple(map(as_expr, made)) if isinstance(made, (tuple, list)) else as_expr(made)

    def gradient(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: give this operation a gradient of its own, ``rule(g, y, *inputs, **params)``."""
        object.__setattr__(self, "grad", rule)
        return rule


@cache
def _takes_any_number(function: Callable[..., Any]) -> bool:
    return any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())


@cache
def _keyword_only(function: Callable[..., Any]) -> tuple[tuple[str, Any], ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple((p.name, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY)


@overload
def composite(body: Callable[..., Any], **record: Any) -> Composite: ...
@overload
def composite(body: None = None, **record: Any) -> Callable[[Callable[..., Any]], Composite]: ...
def composite(body: Callable[..., Any] | None = None, **record: Any) -> Any:
    """Make an operation of a Python function over expressions: a decorator, for users too.

    Parameters
    ----------
    body : function of expressions that returns an expression or a tuple of them. Keyword-only parameters are static values.
    numpy : reference function, by default the body's own operations one by one.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> @composite
    ... def swish(x, *, beta=1.0):
    ...     "x * sigmoid(beta x)"
    ...     return x * T.sigmoid(beta * x)
    >>> x = T.scalar("x")
    >>> round(float(swish(x, beta=2.0).eval({x: 1.0})), 4)
    0.8808
    """
    if body is None:
        return lambda function: composite(function, **record)
    record.setdefault("name", body.__name__)
    return Composite(body=body, doc=inspect.getdoc(body) or "", **record)


# -- form 5: kernel ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Implementation:
    """One way to compute a kernel operation: a text of `kernels/` and how to fill it in.

    when(args, outs, params, lanes) : whether it can serve; the first that can is chosen.
    layouts : (layout wish of each input, of each result): "plain", "lanes" (first axis split, vector lanes innermost), "turned" (first axis
        innermost) or "any".
    sizes(args, outs, params, lanes) : macro -> dim or number.
    hooks : macro -> Hook. parts : the number of partial results along a leading axis, summed by the scheduler afterwards; 0 for none.
    flags : macro -> (hook, argument): 1 if the hook's operand is simply stored and goes to the next element along that argument.
    flops(args, outs, params) : multiplications and additions, for `f.profile()`.
    absorbs : what the text computes, too, where nothing else reads its result; the text's hook VALUE gives what lies between.
    makes : of what kernel the text makes the result itself, where that is its last operand and nothing else reads it.
    device : "cpu" for a text of kernels/c, "cuda" for one of kernels/cuda; it may be several, separated by blanks and pasted in
        order: the first has what the next need, in terms of its own hooks.
    opens(node, args, outs, lanes) : other kernel nodes that the node stands for here, for an implementation without a text of its own. Of
        equal ones among them, whoever asked, there is one.
    library : one that may compute it in the place of the text, where the hooks only load and store; the text is there all the same. Chosen
        only where the machine has that library and may use it.
    precisions : those of `exprc.config.PRECISIONS` under which it may be chosen; empty: all.
    view(i, args, load, **params) : instead of a text: the index of a view (see `View`) that shows the result, where nothing stores it.
    launch(values, itemsize) : of a CUDA text: (blocks, threads of a block, bytes of shared memory), from the numbers of its macros and the
        bytes of an element.
    """

    name: str
    text: str = ""
    sizes: Callable[..., dict[str, Dim]] = lambda args, outs, params, lanes: {}
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    layouts: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    when: Callable[..., bool] = lambda args, outs, params, lanes: True
    parts: Callable[..., int] | None = None
    flops: Callable[..., Dim] | None = None
    flags: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    absorbs: Consumer | None = None
    makes: Producer | None = None
    device: str = "cpu"
    view: Callable[..., Source] | None = None
    precisions: tuple[str, ...] = ()
    opens: Callable[..., Expr] | None = None
    library: str = ""
    launch: Callable[[Mapping[str, int], int], tuple[int, int, int]] | None = None


class Kernel(Op):
    """An operation that a text in `kernels/` (or a library) computes.

    shape and dtype return a tuple of shapes / of dtypes if there are several results.
    meet(dtypes) : dtypes the inputs are cast to before.
    """

    form: ClassVar[str] = "kernel"
    implementations: tuple[Implementation, ...] = ()
    meet: Callable[[Sequence[str]], Sequence[str]] | None = None

    def apply(self, *args: Any, **params: Any) -> Any:
        inputs = wrap(args)
        if self.meet is not None:
            inputs = tuple(cast_to(x, d) for x, d in zip(inputs, self.meet([x.dtype for x in inputs])))
        return results(self.node(inputs, params))


def kernel(name: str, **record: Any) -> Kernel:
    """Declare a kernel operation; see `Kernel` for the fields."""
    return Kernel(name=name, **record)


# -- form 6: nested ----------------------------------------------------------------------------------------------------


class Nested(Op):
    """An operation that holds graphs of its own (loops, lazy branches).

    A node's params hold the inner graphs as `Graph` values under the names in `graphs`; what they capture from outside are ordinary
    inputs of the node. `grad`, `rewrite` and `schedule` call themselves on each inner graph.
    """

    form: ClassVar[str] = "nested"
    graphs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Graph:
    """Inputs and outputs of an inner graph."""

    inputs: tuple[Input, ...]
    outputs: tuple[Expr, ...]


# -- leaves and results ------------------------------------------------------------------------------------------------


class Leaf(Op):
    """The record of inputs, constants and shared variables."""

    form: ClassVar[str] = "leaf"


class Item(Op):
    """One of the results of an operation that has several."""

    form: ClassVar[str] = "item"

    def infer(self, inputs: tuple[Expr, ...], params: Mapping[str, Any]) -> Any:
        return inputs[0].type.items[params["i"]]


set_leaf_records({kind: Leaf(kind) for kind in ("input", "constant", "shared")})
ITEM = Item("item", numpy=lambda results, i: results[i])


def results(node: Expr) -> Any:
    """Return a node, or the tuple of its results if it has several."""
    if not isinstance(node.type, TupleType):
        return node
    return tuple(ITEM.node((node,), {"i": i}) for i in range(len(node.type.items)))
