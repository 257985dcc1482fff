"""Pickles and copies of graphs: tables of nodes, inputs before users, so that a long chain needs no deep recursion.

An expression is pickled as the table of everything that it needs, and its place in it. Nodes that several expressions of one pickle share
are shared after loading, too. An operation is pickled by its name in the catalogue; one of the user's by the module that holds it, as
Python pickles a function. No code is in a pickle, yet loading one runs what it names: load only what you trust (`exprc.io.read_pickle`
reads arrays of others).
"""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from exprc.errors import report
from exprc.expr import Constant, Expr, Input, Shared, topological
from exprc.forms import ITEM, Op
from exprc.ops import CATALOGUE
from exprc.types import TupleType, tensor_type

_set = object.__setattr__

# -- nodes -----------------------------------------------------------------------------------------------------------------------------


class Step:
    """Stands for a node in a table, and loads as that node.

    A pickle knows objects by their identity; a node itself is pickled with all that it needs, its step as one line that names the
    steps of its inputs.
    """

    __slots__ = ("node", "__weakref__")

    def __init__(self, node: Expr):
        self.node = node

    def __reduce__(self) -> tuple[Callable[..., Expr], tuple[Any, ...]]:
        return _record(self.node, step)

    def __deepcopy__(self, memo: dict[int, Any]) -> Expr:
        return _deepcopy(self.node, memo)


_steps: WeakValueDictionary[int, Step] = WeakValueDictionary()  # a step holds its node, so that the id stays that of the node
_lock = threading.Lock()


def step(node: Expr) -> Step:
    """Return the one step of a node: as long as a pickle holds it, the same object."""
    with _lock:
        found = _steps.get(id(node))
        if found is None:
            found = _steps[id(node)] = Step(node)
        return found


def _record(node: Expr, input_of: Callable[[Expr], Any]) -> tuple[Callable[..., Expr], tuple[Any, ...]]:
    """Return the function and the arguments that make a node like this one, on what stands for its inputs."""
    if isinstance(node, Input):
        return _make_input, (_plain(node.type), node.name, node.strict, node.line)
    if isinstance(node, Constant):
        return _make_constant, (node.value, node.name, node.line)
    if isinstance(node, Shared):
        return _make_shared, (node.container, _plain(node.type), node.name, node.line)
    inputs = tuple(map(input_of, node.inputs))
    return _make_node, (node.op, inputs, dict(node.params), _plain(node.type), node.name, node.line)


def _make_input(type_: Any, name: str | None, strict: bool, line: Any) -> Expr:
    return _placed(Input(_typed(type_), name, strict), line)


def _make_constant(value: Any, name: str | None, line: Any) -> Expr:
    return _placed(Constant(value, name), line)


def _make_shared(container: Any, type_: Any, name: str | None, line: Any) -> Expr:
    return _placed(Shared(container, _typed(type_), name), line)


def _make_node(op: Op, inputs: tuple[Expr, ...], params: dict[str, Any], type_: Any, name: str | None, line: Any) -> Expr:
    return _placed(Expr(op, inputs, params, _typed(type_), name), line)


def _placed(node: Expr, line: Any) -> Expr:
    _set(node, "line", line)
    return node


def _plain(type_: Any) -> tuple[Any, ...]:
    """A type as dtype and shape, or as a tuple of such pairs."""
    if isinstance(type_, TupleType):
        return tuple((t.dtype, t.shape) for t in type_.items)
    return type_.dtype, type_.shape


def _typed(plain: Any) -> Any:
    if plain and not isinstance(plain[0], str):
        return TupleType(tuple(tensor_type(*p) for p in plain))
    return tensor_type(*plain)


# -- tables ----------------------------------------------------------------------------------------------------------------------------


def _closure(roots: Iterable[Expr]) -> tuple[list[Expr], dict[Shared, Expr]]:
    """Return every node that the roots need, inputs first, those of default updates too; and the default updates."""
    wanted = list(roots)
    defaults: dict[Shared, Expr] = {}
    while True:
        nodes = topological(wanted)
        fresh = {x: x.default_update for x in nodes if isinstance(x, Shared) and x.default_update is not None and x not in defaults}
        if not fresh:
            return nodes, defaults
        defaults.update(fresh)
        wanted += fresh.values()


def table(roots: Iterable[Expr]) -> tuple[list[Step], list[tuple[Step, Step]]]:
    """Return the steps of everything that the roots need, inputs first, and (variable, default update) of its shared variables."""
    nodes, defaults = _closure(roots)
    return [step(n) for n in nodes], [(step(v), step(x)) for v, x in defaults.items()]


def set_defaults(defaults: Sequence[tuple[Shared, Expr]]) -> None:
    """Give shared variables their default updates back, which may need the variables themselves."""
    for variable, value in defaults:
        _set(variable, "default_update", value)


def _restore(nodes: Sequence[Expr], defaults: Sequence[tuple[Shared, Expr]], node: Expr) -> Expr:
    """Return the node that was pickled, once its table is loaded."""
    set_defaults(defaults)
    return node


def _reduce(self: Expr) -> tuple[Callable[..., Expr], tuple[Any, ...]]:
    return _restore, (*table([self]), step(self))


def _copy(self: Expr) -> Expr:
    """A node like this one on the same inputs; of a shared variable another leaf on the same container."""
    make, arguments = _record(self, lambda i: i)
    return make(*arguments)


def _deepcopy(self: Expr, memo: dict[int, Any]) -> Expr:
    """A graph of its own, with containers of its own."""
    if id(self) not in memo:
        nodes, defaults = _closure([self])
        fresh = [n for n in nodes if id(n) not in memo]
        for node in fresh:
            memo[id(node)] = _fresh(node, memo)
        memo.setdefault(id(memo), []).extend(fresh)  # where `copy` keeps alive what the ids in the memo belong to
        set_defaults([(memo[id(v)], memo[id(x)]) for v, x in defaults.items()])
    return memo[id(self)]  # type: ignore[no-any-return]


def _fresh(node: Expr, memo: dict[int, Any]) -> Expr:
    make, arguments = _record(node, lambda i: memo[id(i)])
    if isinstance(node, Shared):
        arguments = (copy.deepcopy(node.container, memo), *arguments[1:])
    if node.op.form == "nested":
        arguments = (*arguments[:2], copy.deepcopy(dict(node.params), memo), *arguments[3:])
    return make(*arguments)


setattr(Expr, "__reduce__", _reduce)  # noqa: B010
setattr(Expr, "__copy__", _copy)  # noqa: B010
setattr(Expr, "__deepcopy__", _deepcopy)  # noqa: B010

# -- operations ------------------------------------------------------------------------------------------------------------------------


def _catalogue_op(name: str) -> Op:
    if name == ITEM.name:
        return ITEM
    if name not in CATALOGUE:
        what = f"the pickle needs an operation {name!r}, which the catalogue does not have"
        raise pickle.UnpicklingError(report(what, fix="was it written by a newer exprc?"))
    return CATALOGUE[name]


def _users_op(module: str, name: str) -> Op:
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, Op):
        what = f"the pickle needs the operation {name!r} of the module {module!r}, which has none of that name"
        raise pickle.UnpicklingError(report(what, fix="was it renamed or moved since?"))
    return found


def _reduce_op(self: Op) -> tuple[Callable[..., Op], tuple[str, ...]]:
    if self is ITEM or CATALOGUE.get(self.name) is self:
        return _catalogue_op, (self.name,)
    home = _home(self)
    if home is None:
        body = getattr(getattr(self, "body", None), "__code__", None)
        rows = [("operation", self.name, f"{body.co_filename.rpartition('/')[2]}:{body.co_firstlineno}" if body else "")]
        fix = "keep it in a variable of a module, not inside a function, so that loading can find it there"
        raise pickle.PicklingError(report(f"cannot pickle the operation {self.name}: no module holds it", rows, fix))
    return _users_op, home


def _home(op: Op) -> tuple[str, str] | None:
    """The module and the variable that hold a user's operation."""
    for function in (getattr(op, "body", None), op.numpy, op.grad, op.shape, op.call):
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        for name, value in vars(module).items() if module is not None else ():
            if value is op:
                return str(module.__name__), name  # type: ignore[union-attr]
    return None


def _same_op(self: Op, memo: Any = None) -> Op:
    return self


setattr(Op, "__reduce__", _reduce_op)  # noqa: B010
setattr(Op, "__copy__", _same_op)  # noqa: B010
setattr(Op, "__deepcopy__", _same_op)  # noqa: B010
