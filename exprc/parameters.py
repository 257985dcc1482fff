"""What `function()` is given: inputs with defaults, outputs, updates and givens, read and checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exprc.errors import outside, report
from exprc.expr import Constant, Expr, Input, Shared, as_expr, leaves, rebuild, topological
from exprc.forms import cast_to, shape_text
from exprc.runtime.containers import Container, owned
from exprc.types import is_float, promote

Row = tuple[str, str, str]
_set = object.__setattr__


@dataclass(frozen=True, eq=False)
class In:
    """An input of `function` with more said about it than its variable says.

    Parameters
    ----------
    variable : the input variable.
    name : its keyword in calls; by default the variable's name.
    value : what it is where a call does not give it: numbers (copied), or a shared variable, whose value is read at each such call.
        ``f[variable]`` and ``f["name"]`` read and set it.
    update : expression that its value becomes after each call, so that the function has a state of its own. It needs a `value`.
        Calls of one function with a state come one after the other.
    mutable : accepted for code of others; a program never writes into an array that it was given.
    strict : whether only arrays of exactly the variable's dtype are taken.
    borrow : whether the array given as `value` may be kept as it is instead of a copy of it.
    allow_downcast : whether wider values are cast; None does what ``function(allow_input_downcast=)`` says.

    Raises
    ------
    TypeError, ValueError
        for what is no input variable, or for a `value` or an `update` that does not fit it.

    Examples
    --------
    >>> import exprc, exprc.tensor as T
    >>> x, total = T.scalar("x"), T.scalar("total")
    >>> f = exprc.function([x, exprc.In(total, value=0, update=total + x)], total + x)
    >>> float(f(2)), float(f(3)), float(f["total"])
    (2.0, 5.0, 5.0)
    """

    variable: Any
    name: str | None = None
    value: Any = None
    update: Any = None
    mutable: bool | None = None
    strict: bool = False
    borrow: bool | None = None
    allow_downcast: bool | None = None

    def __post_init__(self) -> None:
        x = self.variable
        if not isinstance(x, Input):
            fix = "a shared variable is used without being listed; replace it with givens=" if isinstance(x, Shared) else ""
            fix = "list an input variable, and put it there with givens={expression: variable}" if isinstance(x, Expr) and x.inputs else fix
            raise TypeError(report(f"an input must be an input variable, not {kind(x)}", rows_of("given", x), fix))
        if self.update is not None and self.value is None:
            fix = "give value= what it is before the first call, or update a shared variable"
            raise ValueError(report(f"In: {x.label} has an update but no value to begin with", rows_of("input", x), fix))

    @property
    def key(self) -> str | None:
        """Its keyword in calls."""
        return self.name or self.variable.name


@dataclass(frozen=True, eq=False)
class Out:
    """An output of `function`.

    Parameters
    ----------
    expr : the expression.
    borrow : accepted for code of others. Every call returns arrays of its own, made without a copy, whatever `borrow` says.
    return_internal_type : whether the result stays on the device of the function: a call returns a `DeviceArray`, which other functions of
        the device and other libraries take without a copy to the host. On the CPU it is an array of NumPy, as always.

    Examples
    --------
    >>> import exprc, exprc.tensor as T
    >>> x = T.scalar("x")
    >>> float(exprc.function([x], exprc.Out(x + 1, borrow=True))(2))
    3.0
    """

    expr: Any
    borrow: bool = False
    return_internal_type: bool = False


def kind(x: Any) -> str:
    """What a message calls something that is not what it should be."""
    if not isinstance(x, Expr):
        return f"{x!r} ({type(x).__name__})"[:200]
    return {"shared": "a shared variable", "constant": "a constant"}.get(x.op.name, f"the expression {x.label}")


def rows_of(role: str, x: Any) -> list[Row]:
    return [(role, f"{x.label}  {x.type}", x.where)] if isinstance(x, Expr) else []


# -- inputs ----------------------------------------------------------------------------------------------------------------------------


def read_inputs(inputs: Any) -> list[In]:
    """Return every input as an `In`; each variable may be listed once, each keyword too."""
    if isinstance(inputs, (Expr, In)):
        x = inputs.variable if isinstance(inputs, In) else inputs
        rows = [("given", x.label, x.where)]
        raise TypeError(report("inputs must be a list of variables", rows, f"did you mean [{x.label}]?"))
    made = [x if isinstance(x, In) else In(x) for x in inputs]
    seen: dict[Any, Input] = {}
    for one in made:
        if one.variable in seen:
            raise ValueError(report(f"the input {one.variable.label} is listed twice", [("input", one.variable.label, one.variable.where)]))
        if one.name is not None and one.name in seen:
            rows = [*rows_of("first", seen[one.name]), *rows_of("second", one.variable)]
            raise ValueError(report(f"two inputs have the name {one.name!r}", rows, "give one of them another name="))
        seen[one.variable] = one.variable
        if one.key is not None:
            seen[one.key] = one.variable
    return made


def default_of(one: In) -> Shared | None:
    """Return where the value of an input stays between calls: a shared variable of its own, or the user's."""
    x = one.variable
    if one.value is None:
        return None
    if isinstance(one.value, Shared):
        if one.value.dtype != x.dtype or one.value.ndim != x.ndim:
            rows = [*rows_of("input", x), *rows_of("value", one.value)]
            raise TypeError(report(f"In: the default of {x.label} is {one.value.type}, it is {x.type}", rows))
        return one.value
    container = Container(np.empty(0, x.dtype), one.strict, one.allow_downcast)
    made = Shared(container, x.type, x.name)
    _set(made, "line", x.line)
    container.replace(owned(container.fitting(one.value, made), bool(one.borrow)))
    container.lent = bool(one.borrow)
    return made


def state_updates(inputs: Sequence[In]) -> list[tuple[int, Expr]]:
    """(position, new value) of the inputs that have an update."""
    return [(k, new_value(one.variable, one.update, "In")) for k, one in enumerate(inputs) if one.update is not None]


# -- outputs ---------------------------------------------------------------------------------------------------------------------------


def read_outputs(outputs: Any) -> tuple[Any, list[Expr], frozenset[int]]:
    """Return how results are handed back (None, "single", a list's type or a dict's keys), the expressions, which stay on the device."""
    keys, listed = _form(outputs)
    wrapped = [x if isinstance(x, Out) else Out(x) for x in listed]
    for key, x in zip(keys if isinstance(keys, list) else range(len(wrapped)), wrapped):
        if x.expr is None:
            fix = "an output is an expression: has the function that makes it no return?"
            raise TypeError(report(f"the output {key!r} is None", fix=fix))
    return keys, [as_expr(x.expr) for x in wrapped], frozenset(k for k, x in enumerate(wrapped) if x.return_internal_type)


def _form(outputs: Any) -> tuple[Any, list[Any]]:
    if outputs is None:
        return None, []
    if isinstance(outputs, Mapping):
        return list(outputs), list(outputs.values())
    if isinstance(outputs, (list, tuple)):
        return list, list(outputs)
    return "single", [outputs]


def returned(keys: Any, results: list[Any]) -> Any:
    """Hand results back in the form that was asked for."""
    if keys is None:
        return None
    if keys == "single":
        return results[0]
    return results if keys is list else dict(zip(keys, results))


# -- updates and givens ----------------------------------------------------------------------------------------------------------------


def pairs(given: Any, what: str) -> list[tuple[Any, Any]]:
    """Return a dict or a list of pairs as a list of pairs."""
    if given is None:
        return []
    single = isinstance(given, Expr) or not isinstance(given, Iterable)
    listed = [given] if single else list(given.items()) if isinstance(given, Mapping) else list(given)
    for one in listed:
        if not isinstance(one, (tuple, list)) or len(one) != 2:
            text = f"{what} must be a dict or a list of pairs; it is given {kind(one)}"
            raise TypeError(report(text, rows_of("given", one), f"for example {what}={{variable: expression}}"))
    return [(one[0], one[1]) for one in listed]


def given_value(old: Any, new: Any) -> Expr:
    """Check that an expression can take the place of another, and cast it to the other's dtype."""
    if not isinstance(old, Expr):
        fix = "give the variable itself, not its name" if isinstance(old, str) else "it stands for the node that is replaced"
        raise TypeError(report(f"givens: a key must be an expression, not {old!r}", fix=fix))
    fresh = as_expr(new, (old.dtype,))
    if fresh.ndim != old.ndim:
        rows = [("replaced", f"{old.label}  {old.type}", old.where), ("by", f"{fresh.label}  {fresh.type}", fresh.where)]
        raise TypeError(report(f"givens: {old.label} has {old.ndim} dimensions, what takes its place {fresh.ndim}", rows))
    if is_float(fresh.dtype) and not is_float(old.dtype):
        rows = [*rows_of("replaced", old), *rows_of("by", fresh)]
        fix = f"cast it where fractions may be dropped: .astype({old.dtype!r})"
        raise TypeError(report(f"givens: {old.label} is {old.dtype}, what takes its place {fresh.dtype}", rows, fix))
    return cast_to(fresh, old.dtype)


def updated(variable: Any, value: Any) -> tuple[Shared, Expr]:
    """Return a variable with what it becomes, checked to be a shared variable and of its type."""
    if not isinstance(variable, Shared):
        where = [("given", variable.label, variable.where)] if isinstance(variable, Expr) else []
        raise TypeError(report(f"updates: only shared variables can be updated, not {kind(variable)}", where))
    return variable, new_value(variable, value)


def new_value(variable: Expr, value: Any, what: str = "updates") -> Expr:
    """Check that an expression can become the value of a variable, and cast it to the variable's dtype."""
    new = as_expr(value, (variable.dtype,))
    rows = [("variable", f"{variable.label}  {variable.type}", variable.where), ("update", f"{new.label}  {new.type}", new.where)]
    if new.ndim != variable.ndim:
        raise TypeError(report(f"{what}: {variable.label} has {variable.ndim} dimensions, its update {new.ndim}", rows))
    if any(None not in (a, b) and a != b for a, b in zip(new.type.shape, variable.type.shape)):
        texts = f"{shape_text(variable.type.shape)}, its update {shape_text(new.type.shape)}"
        raise ValueError(report(f"{what}: {variable.label} has shape {texts}", rows))
    if new.dtype != variable.dtype and promote([new.dtype, variable.dtype]) != variable.dtype:
        raise TypeError(_wider(variable, new, rows, what))
    return cast_to(new, variable.dtype)


def _wider(variable: Expr, new: Expr, rows: Sequence[Row], what: str) -> str:
    """A message that names the parts of an update which brought a dtype that the variable does not have."""
    brought = _brought(new)
    fix = f"cast the update: .astype({variable.dtype!r})"
    if brought:
        fix = f"cast what brought {new.dtype} to {variable.dtype}, or the update: .astype({variable.dtype!r})"
    more = [(f"{new.dtype} from", f"{x.label}  {x.type}{_number(x)}", x.where) for x in brought[:4]]
    return report(f"{what}: {variable.label} is {variable.dtype}, its update {new.dtype}", [*rows, *more], fix)


def _brought(new: Expr) -> list[Expr]:
    """The nodes below `new` that have its dtype although none of their inputs has."""
    path = topological([new], stop=lambda n: not hasattr(n.type, "dtype") or n.dtype != new.dtype)
    own = [x for x in path if hasattr(x.type, "dtype") and x.dtype == new.dtype]
    first = [x for x in own if x is not new and not any(getattr(i.type, "dtype", "") == new.dtype for i in x.inputs)]
    firm = [x for x in first if not _follows(x)]
    return firm or [x for x in first if x.op.name == "cast"] or first


def _follows(x: Expr) -> bool:
    """Whether a node may have its dtype from what it meets: Python numbers do, and casts that promotion made."""
    return x.op.name == "cast" or (isinstance(x, Constant) and x.value.ndim == 0)


def _number(x: Expr) -> str:
    return f"  {x.value}" if isinstance(x, Constant) and x.value.ndim == 0 else ""


def collect_updates(
    roots: Sequence[Expr], given: Sequence[tuple[Shared, Expr]], swap: Mapping[Expr, Expr], without: Any = False
) -> tuple[list[Shared], list[Expr]]:
    """Add the default updates of every shared variable in use. Of two default updates of one container the one collected later wins.

    without : True for no default updates, or a list of the variables that are to have none.
    """
    found = _explicit(given)
    explicit = {v for v, _ in given}
    refused = set() if isinstance(without, bool) else {_refused(v) for v in without}
    seen: set[Expr] = set()
    queue = [*roots, *(x for _, x in given)]
    while queue and without is not True:
        fresh = [x for x in leaves(queue) if isinstance(x, Shared) and x not in seen]
        seen.update(fresh)
        queue = []
        for variable in fresh:
            if variable.default_update is not None and variable not in explicit and variable not in refused:
                value = new_value(variable, variable.default_update)
                value = rebuild([value], swap)[0] if swap else value
                found[id(variable.container)] = (variable, value)
                queue.append(value)
    _check_memory([v for v, _ in found.values()])
    return [v for v, _ in found.values()], [x for _, x in found.values()]


def _check_memory(variables: Sequence[Shared]) -> None:
    """Refuse updates of two variables that were given the same memory to keep: neither would have its own value afterwards."""
    lent = [v for v in variables if v.container.lent]
    for k, variable in enumerate(lent):
        for other in lent[:k]:
            if variable.container.overlaps(other.container):
                rows = [*rows_of("first", other), *rows_of("second", variable)]
                text = f"updates: {other.label} and {variable.label} are kept in the same memory, which was borrowed"
                raise ValueError(report(text, rows, "make one of them without borrow=True, or update only one"))


def checked_updates(variables: Sequence[Shared], values: Sequence[Expr]) -> tuple[list[Shared], list[Expr]]:
    """Check that each variable can have its value, and that no storage has two."""
    pairs_of = [updated(v, x) for v, x in zip(variables, values)]
    _explicit(pairs_of)
    return [v for v, _ in pairs_of], [x for _, x in pairs_of]


def _explicit(given: Sequence[tuple[Shared, Expr]]) -> dict[int, tuple[Shared, Expr]]:
    found: dict[int, tuple[Shared, Expr]] = {}
    for variable, value in given:
        first = found.get(id(variable.container))
        if first is not None:
            same = "" if first[0] is variable else f": it shares its storage with {first[0].label}"
            rows = [("first update", first[1].label, first[1].where), ("second update", value.label, value.where)]
            text = report(f"updates: {variable.label} is updated twice{same}", [("variable", variable.label, variable.where), *rows])
            raise ValueError(text)
        found[id(variable.container)] = (variable, value)
    return found


def _refused(variable: Any) -> Shared:
    if not isinstance(variable, Shared):
        what = "no_default_updates must be True, False or a list of shared variables"
        raise TypeError(report(f"{what}, not {kind(variable)}", rows_of("given", variable)))
    return variable


def check_leaves(inputs: Sequence[In], roots: Sequence[Expr], unused: str) -> None:
    """Refuse a graph that needs inputs which are not listed, and speak of listed ones that it does not need."""
    used = leaves(roots)
    listed = {one.variable for one in inputs}
    missing = [x for x in used if isinstance(x, Input) and x not in listed]
    if missing:
        x = missing[0]
        user = next(n for n in topological(roots) if x in n.inputs or n is x)
        rows = [("variable", f"{x.label}  {x.type}", x.where), ("used by", user.label, user.where)]
        text = f"{x.label} is needed by the outputs or updates, but is not among the inputs"
        raise ValueError(report(text, rows, "add it to inputs, or give it a value with givens="))
    idle = [one.variable for one in inputs if one.variable not in set(used)]
    if idle and unused != "ignore":
        rows = [("input", f"{x.label}  {x.type}", x.where) for x in idle]
        text = report("an input is not needed by any output or update", rows, "leave it out, or pass on_unused_input='ignore'")
        if unused == "raise":
            raise ValueError(text)
        warnings.warn(text, stacklevel=outside())
