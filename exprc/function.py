"""function(): from expressions to something that can be called. The one place that knows the order of the stages."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exprc import compiled, reference
from exprc.compiled import Compiled, Road, Stage
from exprc.config import config
from exprc.errors import report
from exprc.expr import Constant, Expr, Input, Shared, as_expr, leaves, rebuild, topological
from exprc.forms import cast_to, shape_text
from exprc.profile import profile
from exprc.rewrite.engine import rewrite
from exprc.rewrite.expand import expand, named_by, open_user
from exprc.rewrite.optimise import OPTIMISE
from exprc.rewrite.simplify import SIMPLIFY
from exprc.rewrite.stabilise import STABILISE
from exprc.runtime import cpu
from exprc.runtime.compiler import NoCompiler
from exprc.show import debugprint
from exprc.types import is_float, promote

_noticed: list[str] = []


def function(
    inputs: Sequence[Any],
    outputs: Any = None,
    updates: Any = None,
    givens: Any = None,
    name: str | None = None,
    mode: str | None = None,
    on_unused_input: str | None = None,
    allow_input_downcast: bool | None = None,
) -> Function:
    """Compile expressions to a function of arrays.

    Parameters
    ----------
    inputs : list of input variables, in the order in which a call gives their values.
    outputs : an expression, a list or a dict of them (a call returns the same form), or None.
    updates : dict, or list of pairs, from a shared variable to the expression that becomes its value after the call. All expressions read
        the old values. The `default_update` of every shared variable used is an update too, unless one is given here.
    givens : dict, or list of pairs, from a node of the graph to what takes its place.
    name : what messages call the function.
    mode : "compiled" (C) or "reference" (the NumPy interpreter); by default ``config.mode``.
    on_unused_input : "raise", "warn" or "ignore"; by default ``config.on_unused_input``.
    allow_input_downcast : whether values of a wider dtype are cast to a stated dtype. By default only Python numbers are, and
        whatever is given to an input of unstated dtype.

    Raises
    ------
    TypeError, ValueError
        for inputs, outputs and updates that do not fit together; the text names the variable and the line that made it.
    CompileError
        if the C compiler fails.

    Examples
    --------
    >>> import exprc, exprc.tensor as T
    >>> x, w = T.vector("x"), exprc.shared(2.0, name="w")
    >>> f = exprc.function([x], (w * x).sum(), updates={w: w + 1})
    >>> float(f([1, 2])), float(f([1, 2])), float(w.get_value())
    (6.0, 9.0, 4.0)
    """
    return Function(inputs, outputs, updates, givens, name, mode, on_unused_input, allow_input_downcast)


class Function:
    """A compiled function; made by `function`.

    Attributes
    ----------
    inputs : the input variables. name : str or None. mode : "compiled" or "reference".
    source : the C text of the program that ran last.
    """

    def __init__(
        self, inputs: Any, outputs: Any, updates: Any, givens: Any, name: Any, mode: Any, on_unused_input: Any, allow_input_downcast: Any
    ):
        self.name = name
        self.inputs = _checked_inputs(inputs)
        self.allow_input_downcast = allow_input_downcast
        self.mode, self.asked = _checked_mode(mode), mode
        self.keys, roots = _outputs(outputs)
        swap = {old: _given(old, new) for old, new in _pairs(givens, "givens")}
        roots = rebuild(roots, swap) if swap else roots
        given = [(v, _new_value(v, x)) for v, x in _pairs(updates, "updates")]
        given = [(v, rebuild([x], swap)[0] if swap else x) for v, x in given]
        self.updates, values = _with_defaults(roots, given, swap)
        _check_leaves(self, roots, values, _setting(on_unused_input))
        self.outputs = len(roots)
        self.roots = [*roots, *values]
        self._compiled: Compiled | None = None
        if self.mode == "compiled":
            self._prepare()

    # -- the stages of the graph; those of a program are in exprc.compiled

    def _prepare(self) -> None:
        try:
            target = cpu.host_target()
        except NoCompiler as error:
            if self.asked == "compiled":
                raise
            _notice(f"{error}\nexprc runs on the NumPy interpreter meanwhile, which is slow.")
            self.mode = "reference"
            return
        road = Road([])
        roots = road.take("open", lambda: open_user(self.roots, named_by([*SIMPLIFY, *STABILISE])), _graph_text)
        roots = road.take("simplify", lambda: rewrite(roots, SIMPLIFY), _graph_text)
        roots = road.take("stabilise", lambda: rewrite(roots, STABILISE), _graph_text)
        roots = road.take("expand", lambda: expand(roots), _graph_text)
        roots = road.take("optimise", lambda: rewrite(roots, OPTIMISE), _graph_text)
        roots = compiled.storable(roots)
        threads = lambda: config.threads or cpu.thread_count()  # noqa: E731
        self._compiled = Compiled(roots, self.outputs, self.updates, self.inputs, threads, target, config.flush_subnormals, road.stages)
        if all(None not in x.type.shape for x in self._compiled.leaves) and not self._compiled.scalars:
            shapes = [n for x in self._compiled.leaves for n in (x.container.value.shape if isinstance(x, Shared) else x.type.shape)]
            self._compiled.runner(tuple(shapes))

    # -- calls

    def __call__(self, *args: Any, **named: Any) -> Any:
        arrays = self._bind(args, named)
        if self._compiled is None:
            results = self._interpret(arrays)
        elif self.updates:
            results = self._update(self._compiled, arrays)
        else:
            results = self._compiled.call(arrays)
        return _returned(self.keys, results)

    def _update(self, program: Compiled, arrays: Mapping[Expr, Any]) -> list[Any]:
        """Calls that write the same variables, of whatever functions, come one after the other."""
        with contextlib.ExitStack() as held:  # in one order everywhere, so that none waits for another in a ring
            for container in sorted({v.container for v in self.updates}, key=id):
                held.enter_context(container.lock)
            return program.call(arrays)

    def _bind(self, args: Sequence[Any], named: Mapping[str, Any]) -> dict[Expr, Any]:
        values = list(args)
        if named or len(values) != len(self.inputs):
            values = _match(self, values, named)
        return {x: _array(self, x, value) for x, value in zip(self.inputs, values)}

    def _interpret(self, arrays: Mapping[Expr, Any]) -> list[Any]:
        results = reference.evaluate(self.roots, arrays)
        for variable, value in zip(self.updates, results[self.outputs :]):
            variable.container.replace(np.array(value, order="C"))
        return [np.array(r) for r in results[: self.outputs]]

    # -- seeing

    @property
    def source(self) -> str:
        """The C text of the program that was made last. Raises RuntimeError if there is none yet."""
        return "\n".join(self._loaded().text)

    def _loaded(self) -> Any:
        loaded = self._compiled.last if self._compiled is not None else None
        if loaded is None:
            what = "it runs on the NumPy interpreter" if self._compiled is None else "its sizes are not known before the first call"
            raise RuntimeError(report(f"{self._label()} has no C text: {what}", fix="call it once" if self._compiled is not None else ""))
        return loaded

    def explain(self, verbose: bool = False) -> str:
        """Return the stages that the function went through, with the time of each; with `verbose`, what each made."""
        stages: list[Stage] = self._loaded().stages
        lines = [f"{self._label()}: {len(self.inputs)} inputs, {self.outputs} outputs, {len(self.updates)} updates"]
        for stage in stages:
            text = stage.show()
            lines.append(f"{stage.name:<10} {stage.seconds * 1e3:9.2f} ms   {text.splitlines()[0] if not verbose else ''}".rstrip())
            lines += [f"    {line}" for line in text.splitlines()] if verbose else []
        return "\n".join(lines)

    def profile(self, *args: Any, calls: int = 20, **named: Any) -> str:
        """Return a table of the time, bytes and operations of every step, measured over `calls` calls on these values.

        Shared variables keep their values.
        """
        if self._compiled is None:
            raise RuntimeError(f"{self._label()} runs on the NumPy interpreter: there are no steps to time")
        return profile(self._compiled, self._bind(args, named), calls)

    def __repr__(self) -> str:
        return f"<{self._label()} of ({', '.join(x.label for x in self.inputs)}), {self.mode}>"

    def _label(self) -> str:
        return f"function {self.name}" if self.name else "function"


def _notice(text: str) -> None:
    """Say something once a process."""
    if text not in _noticed:
        _noticed.append(text)
        warnings.warn(text, stacklevel=4)


def _graph_text(roots: Sequence[Expr]) -> str:
    return f"{len(topological(roots))} nodes\n{debugprint(list(roots), file='str')}"


# -- what the user gave --------------------------------------------------------------------------------------------------------------


def _setting(on_unused_input: str | None) -> str:
    chosen = config.on_unused_input if on_unused_input is None else on_unused_input
    if chosen not in ("raise", "warn", "ignore"):
        raise ValueError(f"on_unused_input is {chosen!r}: it must be 'raise', 'warn' or 'ignore'")
    return chosen


def _checked_mode(mode: str | None) -> str:
    chosen = config.mode if mode is None else mode
    if chosen not in ("compiled", "reference"):
        raise ValueError(f"mode is {chosen!r}: it must be 'compiled' or 'reference'")
    return chosen


def _checked_inputs(inputs: Any) -> list[Input]:
    if isinstance(inputs, Expr):
        rows = [("given", inputs.label, inputs.where)]
        raise TypeError(report("inputs must be a list of variables", rows, f"did you mean [{inputs.label}]?"))
    checked: list[Input] = []
    for x in inputs:
        if not isinstance(x, Input):
            where = [("given", x.label, x.where)] if isinstance(x, Expr) else []
            fix = "a shared variable is used without being listed; replace it with givens=" if isinstance(x, Shared) else ""
            raise TypeError(report(f"an input must be an input variable, not {_kind(x)}", where, fix))
        if x in checked:
            raise ValueError(report(f"the input {x.label} is listed twice", [("input", x.label, x.where)]))
        checked.append(x)
    return checked


def _kind(x: Any) -> str:
    if not isinstance(x, Expr):
        return f"{x!r} ({type(x).__name__})"
    return {"shared": "a shared variable", "constant": "a constant"}.get(x.op.name, f"the expression {x.label}")


def _outputs(outputs: Any) -> tuple[Any, list[Expr]]:
    """Return how results are handed back (None, "single", a list's type or a dict's keys), and the expressions."""
    if outputs is None:
        return None, []
    if isinstance(outputs, Mapping):
        return list(outputs), [as_expr(v) for v in outputs.values()]
    if isinstance(outputs, (list, tuple)):
        return list, [as_expr(v) for v in outputs]
    return "single", [as_expr(outputs)]


def _returned(keys: Any, results: list[Any]) -> Any:
    if keys is None:
        return None
    if keys == "single":
        return results[0]
    return results if keys is list else dict(zip(keys, results))


def _pairs(given: Any, what: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    pairs = list(given.items()) if isinstance(given, Mapping) else [tuple(p) for p in given]
    if any(len(p) != 2 for p in pairs):
        raise TypeError(f"{what} must be a dict or a list of pairs")
    return pairs


def _given(old: Any, new: Any) -> Expr:
    if not isinstance(old, Expr):
        raise TypeError(f"givens: a key must be an expression, not {old!r}")
    fresh = as_expr(new, (old.dtype,))
    if fresh.ndim != old.ndim:
        rows = [("replaced", f"{old.label}  {old.type}", old.where), ("by", f"{fresh.label}  {fresh.type}", fresh.where)]
        raise TypeError(report(f"givens: {old.label} has {old.ndim} dimensions, what takes its place {fresh.ndim}", rows))
    return cast_to(fresh, old.dtype)


def _new_value(variable: Any, value: Any) -> Expr:
    """Check that an expression can become the value of a shared variable."""
    if not isinstance(variable, Shared):
        where = [("given", variable.label, variable.where)] if isinstance(variable, Expr) else []
        raise TypeError(report(f"updates: only shared variables can be updated, not {_kind(variable)}", where))
    new = as_expr(value, (variable.dtype,))
    rows = [("variable", f"{variable.label}  {variable.type}", variable.where), ("update", f"{new.label}  {new.type}", new.where)]
    if new.ndim != variable.ndim:
        raise TypeError(report(f"updates: {variable.label} has {variable.ndim} dimensions, its update {new.ndim}", rows))
    if any(None not in (a, b) and a != b for a, b in zip(new.type.shape, variable.type.shape)):
        texts = f"{shape_text(variable.type.shape)}, its update {shape_text(new.type.shape)}"
        raise ValueError(report(f"updates: {variable.label} has shape {texts}", rows))
    if new.dtype != variable.dtype and promote([new.dtype, variable.dtype]) != variable.dtype:
        text = f"updates: {variable.label} is {variable.dtype}, its update {new.dtype}"
        raise TypeError(report(text, rows, f"cast the update: .astype({variable.dtype!r})"))
    return cast_to(new, variable.dtype)


def _with_defaults(
    roots: Sequence[Expr], given: Sequence[tuple[Shared, Expr]], swap: Mapping[Expr, Expr]
) -> tuple[list[Shared], list[Expr]]:
    """Add the default updates of every shared variable in use. Of two updates of one container the one collected later wins."""
    found: dict[int, tuple[Shared, Expr]] = {}
    explicit = {v for v, _ in given}
    for variable, value in given:
        if any(v is variable for v, _ in found.values()):
            raise ValueError(report(f"updates: {variable.label} is updated twice", [("variable", variable.label, variable.where)]))
        found[id(variable.container)] = (variable, value)
    seen: set[Expr] = set()
    queue = [*roots, *(x for _, x in given)]
    while queue:
        fresh = [x for x in leaves(queue) if isinstance(x, Shared) and x not in seen]
        seen.update(fresh)
        queue = []
        for variable in fresh:
            if variable.default_update is not None and variable not in explicit:
                value = _new_value(variable, variable.default_update)
                value = rebuild([value], swap)[0] if swap else value
                found[id(variable.container)] = (variable, value)
                queue.append(value)
    return [v for v, _ in found.values()], [x for _, x in found.values()]


def _check_leaves(f: Function, roots: Sequence[Expr], values: Sequence[Expr], unused: str) -> None:
    used = leaves([*roots, *values])
    missing = [x for x in used if isinstance(x, Input) and x not in f.inputs]
    if missing:
        x = missing[0]
        user = next(n for n in topological([*roots, *values]) if x in n.inputs or n is x)
        rows = [("variable", f"{x.label}  {x.type}", x.where), ("used by", user.label, user.where)]
        text = f"{x.label} is needed by the outputs or updates, but is not among the inputs"
        raise ValueError(report(text, rows, "add it to inputs, or give it a value with givens="))
    idle = [x for x in f.inputs if x not in used]
    if idle and unused != "ignore":
        rows = [("input", f"{x.label}  {x.type}", x.where) for x in idle]
        text = report("an input is not needed by any output or update", rows, "leave it out, or pass on_unused_input='ignore'")
        if unused == "raise":
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)


# -- what a call gives ------------------------------------------------------------------------------------------------------------------


def _match(f: Function, values: list[Any], named: Mapping[str, Any]) -> list[Any]:
    """Put positional and named values in the order of the inputs."""
    names = [x.name or "" for x in f.inputs]
    if len(values) > len(names):
        raise TypeError(f"{f._label()} takes {len(names)} inputs ({', '.join(x.label for x in f.inputs)}), {len(values)} were given")
    for key in named:
        if key not in names:
            raise TypeError(f"{f._label()} has no input named {key!r}: its inputs are {', '.join(x.label for x in f.inputs)}")
        if names.index(key) < len(values):
            raise TypeError(f"{f._label()}: the input {key!r} was given twice")
    lacking = [x for x in f.inputs[len(values) :] if x.name not in named]
    if lacking:
        rows = [("input", f"{x.label}  {x.type}", x.where) for x in lacking]
        raise TypeError(report(f"{f._label()}: {len(lacking)} of {len(names)} inputs are missing", rows))
    return [*values, *(named[n] for n in names[len(values) :])]


def _array(f: Function, x: Input, value: Any) -> np.ndarray[Any, Any]:
    """Return a value as the array that the program reads: of the input's dtype, C-contiguous, its shape checked."""
    if type(value) is not np.ndarray or value.dtype.name != x.dtype:
        value = _cast(f, x, value)
    shape = x.type.shape
    if value.ndim != len(shape):
        raise TypeError(_mismatch(f, x, f"it takes {len(shape)} dimensions, the value has {value.ndim}: shape {shape_text(value.shape)}"))
    for wanted, got in zip(shape, value.shape):
        if wanted is not None and wanted != got:
            raise ValueError(_mismatch(f, x, f"it takes shape {shape_text(shape)}, the value has {shape_text(value.shape)}"))
    fits = value.flags.c_contiguous and value.flags.aligned and value.dtype.isnative
    return value if fits else np.array(value, dtype=value.dtype.newbyteorder("="), order="C")


def _mismatch(f: Function, x: Input, what: str, fix: str = "") -> str:
    return report(f"{f._label()}: wrong value for the input {x.label}: {what}", [("input", f"{x.label}  {x.type}", x.where)], fix)


def _cast(f: Function, x: Input, value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Expr):
        raise TypeError(_mismatch(f, x, "an array is needed, not an expression", "use givens= to replace an input by an expression"))
    plain = isinstance(value, (bool, int, float, list, tuple)) and not isinstance(value, np.generic)
    array = np.asarray(value)
    if array.dtype.name == x.dtype:
        return array
    if array.dtype.kind not in "biuf":
        raise TypeError(_mismatch(f, x, f"an array of numbers is needed, not {array.dtype}"))
    if not _castable(f, x, array, plain):
        fix = f"pass value.astype({x.dtype!r}), or allow_input_downcast=True to function()"
        raise TypeError(_mismatch(f, x, f"its dtype is {x.dtype}, that of the value {array.dtype}", fix))
    return array.astype(x.dtype)


def _castable(f: Function, x: Input, array: np.ndarray[Any, Any], plain: bool) -> bool:
    """Whether a value of another dtype may be cast: if nothing is lost, if allowed, or to a float if the dtype was not stated."""
    if f.allow_input_downcast or np.can_cast(array.dtype, x.dtype, "safe"):
        return True
    if f.allow_input_downcast is False:
        return False
    if is_float(x.dtype):
        return plain or not x.strict or array.dtype.kind in "biu"
    return array.dtype.kind in "biu" and bool(np.all(array.astype(x.dtype) == array)) and (plain or not x.strict)


# -- expr.eval ----------------------------------------------------------------------------------------------------------------------------

_evaluated: dict[Any, Function] = {}  # of the last expressions; a function holds its expression, so their number is bounded
_EVALUATED = 64


def evaluate(self: Expr, values: Mapping[Any, Any] | None = None, mode: str | None = None) -> Any:
    """Compute this expression now.

    Parameters
    ----------
    values : dict from input variables (or other nodes) to values.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.scalar("x")
    >>> float((x * x).eval({x: 3}))
    9.0
    """
    given = dict(values or {})
    key = (self, tuple(given), mode, config.mode)
    f = _evaluated.pop(key, None) or _eval_function(self, given, mode)
    _evaluated[key] = f  # the latest last
    while len(_evaluated) > _EVALUATED:
        _evaluated.pop(next(iter(_evaluated)), None)
    return f(*given.values())


def _eval_function(expr: Expr, given: Mapping[Any, Any], mode: str | None) -> Function:
    for key in given:
        if not isinstance(key, Expr) or isinstance(key, Constant):
            raise TypeError(f"eval: a key must be a variable, not {_kind(key)}")
    stand_in = {x: x if isinstance(x, Input) else Input(x.type, x.name, strict=False) for x in given}
    swap = {x: y for x, y in stand_in.items() if x is not y}
    return Function(list(stand_in.values()), expr, None, swap, None, mode, "ignore", None)


Expr.eval = evaluate  # type: ignore[attr-defined]

