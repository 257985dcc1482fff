"""Expr: the graph of array operations that users write, that is differentiated and rewritten.

A node is immutable: an operation, its inputs, its static parameters and its type, with the one line of the user's that made it. Only
`name` may be set. ``==`` is identity, so that expressions are keys of dictionaries; `exprc.tensor.eq` builds a comparison.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.types import TensorType, TupleType, dtype_name, scalar_dtype, tensor_type

if TYPE_CHECKING:
    from exprc.forms import Op

#: What the user wrote: a file and a line in it; None for what nobody's line made.
Line = "tuple[str, int] | None"

_PACKAGE = os.path.dirname(__file__) + os.sep
_set = object.__setattr__

#: The line that new nodes take while `grad`, `expand` or a rewrite works for a node; None: the caller's own line.
origin: ContextVar[tuple[str, int] | None] = ContextVar("origin", default=None)


def user_line() -> tuple[str, int] | None:
    """Return file and line of the innermost caller outside of exprc."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None


def place_of(line: tuple[str, int] | None) -> str:
    """Return how messages write a line: ``file:line``, with the file's last part only; "" for None."""
    return f"{os.path.basename(line[0])}:{line[1]}" if line else ""


class made_for:
    """A block whose new nodes have the line of the node that they are made for."""

    __slots__ = ("line", "token")

    def __init__(self, node: Expr):
        self.line = node.line

    def __enter__(self) -> None:
        self.token = origin.set(self.line)

    def __exit__(self, *_: object) -> None:
        origin.reset(self.token)


class Expr:
    """A node of the graph: what the user has in hand.

    Attributes
    ----------
    op : the operation's record (see `exprc.forms`); leaves have one of the form "leaf".
    inputs : tuple of Expr.
    params : dict of static parameters, hashable values; never changed.
    type : TensorType, or TupleType for an operation with several results.
    name : str or None; the user may set it.
    line : (file, line) of the user's that made it, or None.
    """

    __slots__ = ("op", "inputs", "params", "type", "name", "line", "dim_keys", "__weakref__")

    op: Op
    inputs: tuple[Expr, ...]
    params: Mapping[str, Any]
    type: Any
    name: str | None
    line: tuple[str, int] | None
    dim_keys: tuple[Any, ...] | None  # kept by `exprc.rewrite.shapes`, which works it out when it is first asked

    if TYPE_CHECKING:  # `exprc.operators` hangs these on; methods (`x.sum()` ...) are the records' own functions
        T: Expr
        shape: tuple[Any, ...]
        size: Any

        def __add__(self, other: Any) -> Expr: ...
        def __radd__(self, other: Any) -> Expr: ...
        def __sub__(self, other: Any) -> Expr: ...
        def __rsub__(self, other: Any) -> Expr: ...
        def __mul__(self, other: Any) -> Expr: ...
        def __rmul__(self, other: Any) -> Expr: ...
        def __truediv__(self, other: Any) -> Expr: ...
        def __rtruediv__(self, other: Any) -> Expr: ...
        def __floordiv__(self, other: Any) -> Expr: ...
        def __rfloordiv__(self, other: Any) -> Expr: ...
        def __mod__(self, other: Any) -> Expr: ...
        def __rmod__(self, other: Any) -> Expr: ...
        def __pow__(self, other: Any) -> Expr: ...
        def __rpow__(self, other: Any) -> Expr: ...
        def __matmul__(self, other: Any) -> Expr: ...
        def __rmatmul__(self, other: Any) -> Expr: ...
        def __and__(self, other: Any) -> Expr: ...
        def __rand__(self, other: Any) -> Expr: ...
        def __or__(self, other: Any) -> Expr: ...
        def __ror__(self, other: Any) -> Expr: ...
        def __xor__(self, other: Any) -> Expr: ...
        def __rxor__(self, other: Any) -> Expr: ...
        def __lt__(self, other: Any) -> Expr: ...
        def __le__(self, other: Any) -> Expr: ...
        def __gt__(self, other: Any) -> Expr: ...
        def __ge__(self, other: Any) -> Expr: ...
        def __neg__(self) -> Expr: ...
        def __pos__(self) -> Expr: ...
        def __abs__(self) -> Expr: ...
        def __invert__(self) -> Expr: ...
        def __getitem__(self, index: Any) -> Expr: ...
        def __iter__(self) -> Iterator[Expr]: ...
        def __len__(self) -> int: ...
        def __index__(self) -> int: ...
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, op: Op, inputs: tuple[Expr, ...], params: Mapping[str, Any], type: Any, name: str | None = None):
        _set(self, "op", op)
        _set(self, "inputs", inputs)
        _set(self, "params", params)
        _set(self, "type", type)
        _set(self, "name", name)
        _set(self, "line", origin.get() or user_line())
        _set(self, "dim_keys", None)

    def __setattr__(self, field: str, value: Any) -> None:
        if field != "name":
            rows = [("expression", self.label, self.where)]
            fix = "an operation makes a new expression: x.astype(dtype), x.reshape(shape)"
            may = "name and default_update" if isinstance(self, Shared) else "name"
            raise AttributeError(report(f"an expression is immutable: only its {may} can be set, not {field!r}", rows, fix))
        if value is not None and not isinstance(value, str):
            raise TypeError(report(f"a name must be a string, not {value!r}", [("expression", self.label, self.where)]))
        _set(self, field, value)

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        return self.type.broadcastable

    @property
    def where(self) -> str:
        """The user's ``file:line``, with the file's last part only; "" where there is none."""
        return place_of(self.line)

    @property
    def label(self) -> str:
        """What messages call this node: its name, or its operation's."""
        return self.name or (f"{self.op.name}(...)" if self.inputs else f"<{self.op.name}>")


class Input(Expr):
    """A leaf whose value is given at each call. `strict` is False where the user stated no dtype: float64 and ints are cast then."""

    __slots__ = ("strict",)
    strict: bool

    def __init__(self, type: TensorType, name: str | None = None, strict: bool = True):
        super().__init__(_leaf("input"), (), {}, type, name)
        _set(self, "strict", strict)


class Constant(Expr):
    """A leaf with a fixed value, a read-only NumPy array."""

    __slots__ = ("value",)
    value: np.ndarray[Any, Any]

    def __init__(self, value: Any, name: str | None = None):
        array = np.array(value, order="C")  # a copy: the user's array may change
        array.setflags(write=False)
        super().__init__(_leaf("constant"), (), {}, tensor_type(dtype_name(array.dtype), array.shape), name)
        _set(self, "value", array)


class Shared(Expr):
    """A leaf whose value lives in a container between calls (made by `exprc.shared`).

    Attributes
    ----------
    container : the storage; clones of a shared variable have the same one.
    default_update : expression that `function` collects as an update where this leaf is used, or None. It may be set.
    """

    __slots__ = ("container", "default_update")
    container: Any
    default_update: Expr | None

    def __init__(self, container: Any, type: TensorType, name: str | None = None):
        super().__init__(_leaf("shared"), (), {}, type, name)
        _set(self, "container", container)
        _set(self, "default_update", None)

    def __setattr__(self, field: str, value: Any) -> None:
        if field == "default_update":
            _set(self, field, None if value is None else as_expr(value, (self.dtype,)))
        else:
            super().__setattr__(field, value)

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> Any:
        """Return the value: a copy, or with `borrow` the storage itself (changes to it are changes of the variable).

        return_internal_type : whether a value that is on a device comes as an array there, a `DeviceArray` (see `exprc.device`), without
            a copy to the host. Of a variable that no function on a device has used it is an array of NumPy, as always.
        """
        return self.container.get(borrow, return_internal_type)

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Set the value; with `borrow` the array given may become the storage. Its shape may change where the type allows it."""
        self.container.set(value, borrow, self)

    def zero(self, borrow: bool = False) -> None:
        """Set every element to 0; `borrow` is accepted for code of others."""
        self.set_value(np.zeros(self.container.shape, self.dtype))


_LEAVES: dict[str, Op] = {}


def _leaf(kind: str) -> Op:
    return _LEAVES[kind]


def set_leaf_records(records: Mapping[str, Op]) -> None:
    """Take the records of the three leaves from `exprc.forms`, which is built on this file."""
    _LEAVES.update(records)


def make_input(self: TensorType, name: str | None = None) -> Input:
    """Return a new input variable of this type."""
    return Input(self, name)


setattr(TensorType, "__call__", make_input)  # noqa: B010 (the class does not know of variables)


#: What makes one expression of those in a list: `exprc.ops.view` puts its `stack` here.
_JOIN: list[Callable[[Sequence[Any]], Expr]] = []


def holds_expr(value: Any) -> bool:
    """Tell whether a list or tuple, or one within it, has an expression in it."""
    return isinstance(value, Expr) or (isinstance(value, (list, tuple)) and any(map(holds_expr, value)))


def as_expr(value: Any, others: Sequence[str] = ()) -> Expr:
    """Return `value` as an expression: itself, a constant, or the stack of the expressions in a list.

    A Python scalar takes its dtype from the dtypes `others` that it meets (NumPy 2's weak scalars); so does a NumPy
    float64 scalar, a deliberate difference: ``np.sqrt(2) * x`` must not widen a float32 ``x``.

    Raises
    ------
    TypeError
        for what is no number, array or expression.
    OverflowError
        for a Python int that does not fit the integer dtype it meets.
    """
    if isinstance(value, Expr):
        if isinstance(value.type, TupleType):
            raise TypeError(f"{value.label} has several results ({value.type}); take one of them with item(i)")
        return value
    if isinstance(value, (bool, int, float)) and not isinstance(value, np.integer):
        dtype = scalar_dtype(value, others)
        if "int" in dtype and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            fix = "cast the other operand to a wider dtype first: x.astype('int64')"
            raise OverflowError(report(f"Python integer {value} is out of bounds for {dtype}", fix=fix))
        return Constant(np.asarray(value, dtype))
    if isinstance(value, (list, tuple)) and holds_expr(value):
        return _JOIN[0](value)
    array = np.asarray(unmasked(value))
    if array.dtype == np.float64 and isinstance(value, (list, tuple, range)):
        array = array.astype(config.floatX)  # Python floats in a list, like one alone, must not bring float64
    if array.dtype.kind not in "biuf":
        text = f"cannot make an expression of {value!r} ({type(value).__name__}): a number, an array or an expression is needed"
        raise TypeError(report(text, fix="there are no complex dtypes: use one array for each part" if array.dtype.kind == "c" else ""))
    return Constant(array.astype(array.dtype.newbyteorder("="), copy=False))


def unmasked(value: Any) -> Any:
    """Return a value that is about to become an array; one of NumPy's with elements masked away has none for them."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(report("an array with masked elements has no value for them", fix="say what they are: value.filled(0)"))
    return value


# -- walks: all of them iterative, so that a chain of 100,000 nodes needs no deep recursion ----------------------------


def topological(roots: Iterable[Expr], stop: Callable[[Expr], bool] | None = None) -> list[Expr]:
    """Return every node that the roots need, inputs before users; what `stop` accepts is listed, its inputs are not."""
    order: list[Expr] = []
    seen: set[int] = set()
    waiting: list[Expr] = []  # nodes whose inputs come first; each has a None in the stack, below its inputs
    stack: list[Expr | None] = [*reversed(list(roots))]
    while stack:
        node = stack.pop()
        if node is None:
            order.append(waiting.pop())
        elif id(node) not in seen:
            seen.add(id(node))
            if not node.inputs or (stop is not None and stop(node)):
                order.append(node)
            else:
                waiting.append(node)
                stack.append(None)
                stack.extend(node.inputs[::-1])
    return order


def leaves(roots: Iterable[Expr]) -> list[Expr]:
    """Return the leaves that the roots need, each once, in the order of first use."""
    return [node for node in topological(roots) if not node.inputs and node.op.form == "leaf"]


def rebuild(roots: Sequence[Expr], replace: Mapping[Expr, Expr]) -> list[Expr]:
    """Return the roots with nodes replaced; what does not depend on a replaced node stays the same object."""
    made: dict[Expr, Expr] = dict(replace)
    for node in topological(roots, stop=lambda n: n in replace):
        if node in made:
            continue
        inputs = tuple(made[i] for i in node.inputs)
        same = all(a is b for a, b in zip(inputs, node.inputs))
        made[node] = node if same else with_inputs(node, inputs)
    return [made[root] for root in roots]


def with_inputs(node: Expr, inputs: tuple[Expr, ...]) -> Expr:
    """Return a node like `node` on other inputs, its type worked out anew, its name and line kept."""
    with made_for(node):
        fresh = node.op.node(inputs, node.params)
    _set(fresh, "name", node.name)
    _set(fresh, "line", node.line)
    return fresh


def clone(
    expr: Expr | Sequence[Expr],
    replace: Mapping[Any, Any] | Sequence[tuple[Any, Any]] = (),
    share_inputs: bool = True,
    strict: bool = True,
) -> Any:
    """Copy an expression with some of its nodes replaced.

    Parameters
    ----------
    expr : an expression or a list of them.
    replace : dict or pairs from a node to what takes its place (an expression or a value).
    share_inputs : if False, inputs and shared variables are copied too; the copy of a shared variable is another leaf on
        the same container, with a `default_update` of its own.
    strict : whether what takes the place of a node must have as many axes. Its dtype may differ; types are worked out anew.

    Raises
    ------
    TypeError
        if a key of `replace` is no expression, or for another number of axes.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, y = T.scalar("x"), T.scalar("y")
    >>> float(clone(x * 2 + 1, {x: y}).eval({y: 3}))
    7.0
    """
    swap = {old: _replacement(old, new, strict) for old, new in dict(replace).items()}
    roots = [expr] if isinstance(expr, Expr) else list(expr)
    if not share_inputs:
        swap = {**{leaf: _copy_leaf(leaf) for leaf in leaves(roots)}, **swap}
    new = rebuild(roots, swap)
    return new[0] if isinstance(expr, Expr) else new


def _replacement(old: Any, new: Any, strict: bool) -> Expr:
    if not isinstance(old, Expr):
        fix = "give the variable itself, not its name" if isinstance(old, str) else ""
        raise TypeError(report(f"clone: a key of replace must be an expression, not {old!r}", fix=fix))
    made = as_expr(new, (old.dtype,))
    if strict and made.ndim != old.ndim:
        rows = [("replaced", f"{old.label}  {old.type}", old.where), ("by", f"{made.label}  {made.type}", made.where)]
        fix = "strict=False replaces it all the same"
        raise TypeError(report(f"clone: {old.label} has {old.ndim} axes, what takes its place {made.ndim}", rows, fix))
    return made


def _copy_leaf(leaf: Expr) -> Expr:
    if isinstance(leaf, Shared):
        return Shared(leaf.container, leaf.type, leaf.name)
    if isinstance(leaf, Input):
        return Input(leaf.type, leaf.name, leaf.strict)
    return leaf
