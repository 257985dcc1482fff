"""function(): from expressions to something that can be called. The stages between are in `exprc.build` and `exprc.compiled`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exprc import pickles, reference
from exprc.arguments import DEFAULT, Slot, match
from exprc.config import config
from exprc.errors import outside, report
from exprc.expr import Constant, Expr, Input, Shared, leaves, rebuild
from exprc.parameters import (
    In,
    check_leaves,
    checked_updates,
    collect_updates,
    default_of,
    given_value,
    kind,
    pairs,
    read_inputs,
    read_outputs,
    returned,
    rows_of,
    state_updates,
    updated,
)
from exprc.runtime.containers import check_new_shape
from exprc.runtime.device_arrays import DeviceArray
from exprc.types import is_float

if TYPE_CHECKING:
    from exprc.profile import Profile
    from exprc.seeing.explain import Explanation

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
    no_default_updates: bool | Sequence[Shared] = False,
    trust_input: bool = False,
    accept_inplace: bool = False,
    rebuild_strict: bool = True,
    device: str | None = None,
    precision: str | None = None,
    steps: int | None = None,
) -> Function:
    """Compile expressions to a function of arrays.

    Parameters
    ----------
    inputs : list of input variables, or of `In` with defaults and more, in the order in which a call gives their values.
    outputs : an expression, a list or a dict of them (a call returns the same form), or None. Any may be wrapped in `Out`.
    updates : dict, or list of pairs, from a shared variable to the expression that becomes its value after the call. All expressions read
        the old values. The `default_update` of every shared variable used is an update too, unless one is given here.
    givens : dict, or list of pairs, from a node of the graph to what takes its place, cast to the dtype of the node.
    name : what messages call the function.
    mode : "compiled" (C) or "reference" (the NumPy interpreter); by default ``config.mode``.
    on_unused_input : "raise", "warn" or "ignore"; by default ``config.on_unused_input``.
    allow_input_downcast : whether values of a wider dtype are cast to a stated dtype. By default only Python numbers are, and
        whatever is given to an input of unstated dtype.
    no_default_updates : True for no default updates, or a list of the shared variables that are to have none.
    trust_input : whether values are taken as they are: no lists, no casts, no copies (see Notes). Also an attribute that may be set.
    accept_inplace, rebuild_strict : accepted for code of others, without effect: a graph holds no operation that works in place, and
        what `givens` put in a place always has its dtype and number of axes.
    device : "cpu", "cuda" (a GPU; "cuda1" the second), or "cuda-emulator" (CUDA kernels run by the CPU, slowly, to look at them); by
        default ``config.device``. Of several, as in "cuda,cpu", the first that this machine has.
    precision : how exact products of float32 are; by default ``config.precision``. "float32": sums of float32 products, which an algorithm
        with fewer of them may replace within the bound that it states (Winograd's convolution, docs/performance.md); "strict": the sums as
        they stand. A device may offer faster ones with rounded factors, "tf32" and "bf16".

    steps : how many steps a call makes: it applies the updates as often, on the same inputs, and each output has an axis in front, with its
        value in every step. The results are those of as many calls; on a GPU the host starts them all at once and reads once. What changes
        from step to step is a variable with an update of its own, as the number of a batch is. None: one step, and no such axis.

    Raises
    ------
    TypeError, ValueError
        for inputs, outputs and updates that do not fit together; the text names the variable and the line that made it. For a precision
        that the device does not offer.
    CompileError
        if the C compiler fails, or that for CUDA.
    DeviceError
        if the device is missing, or something that it needs; nothing falls back to the CPU unasked.

    Notes
    -----
    Who owns which memory:

    * *Inputs* are never written and never kept after the call. An array of the input's dtype that is C-contiguous and aligned is read where
      it lies; so is whatever gives away such memory (buffers, ``__array_interface__``, DLPack). Everything else is copied first.
    * With `trust_input` a value must be such an array; the cheap tests that keep the interpreter alive (array, dtype, axes, stated lengths,
      contiguous, aligned) remain, and a value that fails one is a TypeError.
    * *Outputs* are new arrays at every call and belong to the caller alone; no two of one call overlap. The memory of one of 4 MiB or more
      is used again when nobody holds the array, or a view of it, any more.
    * *Shared variables* own their storage. ``get_value()`` and ``set_value(a)`` copy, as do ``shared(a)``, ``np.asarray(w)`` and pickles.
      ``shared(a, borrow=True)`` and ``set_value(a, borrow=True)`` make `a` itself the storage if it is C-contiguous, aligned and writable.
      ``get_value(borrow=True)``, ``np.asarray(w, copy=False)`` and ``np.from_dlpack(w)`` return the storage itself: what is written
      there is the variable's value, and updates show in it as long as it is the storage; a value of another shape makes another
      array the storage. Such an array may be given to a function that updates the variable: it is read as it was before the call.
    * Calls that update a container come one after the other, and `get_value()` waits for them. A call that only reads a
      variable does not wait for one that updates it in another thread.

    Examples
    --------
    >>> import exprc, exprc.tensor as T
    >>> x, w = T.vector("x"), exprc.shared(2.0, name="w")
    >>> f = exprc.function([x], (w * x).sum(), updates={w: w + 1})
    >>> float(f([1, 2])), float(f([1, 2])), float(w.get_value())
    (6.0, 9.0, 4.0)
    """
    swap = {old: given_value(old, new) for old, new in pairs(givens, "givens")}
    listed = read_inputs(inputs)
    keys, roots, left = read_outputs(outputs)
    states = state_updates(listed)
    wanted = [updated(v, x) for v, x in pairs(updates, "updates")]
    plain = [*roots, *(x for _, x in states), *(x for _, x in wanted)]
    plain = rebuild(plain, swap) if swap else plain
    given = list(zip([v for v, _ in wanted], plain[len(roots) + len(states) :]))
    roots = plain[: len(roots) + len(states)]
    variables, values = collect_updates(roots, given, swap, no_default_updates)
    check_leaves(listed, [*roots, *values], _setting(on_unused_input))
    defaults = [default_of(one) for one in listed]
    made = Recipe(listed, defaults, [k for k, _ in states], keys, [*roots, *values], variables, left, _checked_steps(steps))
    return Function(made, name, mode, allow_input_downcast, trust_input, device=device, precision=precision)


#: In the place of locks, where there are fewer than one `with` takes.
_NO_LOCKS: list[Any] = [nullcontext()] * 8


@dataclass
class Recipe:
    """What a function is made of, before it is compiled.

    inputs : with their names and rules. defaults : where the value of each stays between calls, or None.
    states : positions of the inputs that have an update. keys : the form of the results.
    roots : the outputs, then the new value of each state, then that of each variable of `updates`.
    left : the outputs that stay on the device. steps : that a call makes, None for one whose outputs have no axis of steps.
    """

    inputs: list[In]
    defaults: list[Shared | None]
    states: list[int]
    keys: Any
    roots: list[Expr]
    updates: list[Shared]
    left: frozenset[int] = frozenset()
    steps: int | None = None

    @property
    def outputs(self) -> int:
        return len(self.roots) - len(self.states) - len(self.updates)

    @property
    def staying(self) -> frozenset[int]:
        """The new values of states, as numbers of `roots`, that stay on the device."""
        return frozenset(self.outputs + n for n, k in enumerate(self.states) if _stays(self.inputs[k].variable))


def _stays(x: Input) -> bool:
    """Whether a value that is kept stays on the device: not an integer that sizes or places may follow from, which the host must know."""
    return x.ndim > 0 or is_float(x.dtype)


class Function:
    """A compiled function; made by `function`.

    Attributes
    ----------
    inputs : the input variables. name : str or None. mode : "compiled" or "reference". device : where it runs.
    precision : how exact products are, see `function`.
    trust_input : whether values are taken as they are, see `function`.
    source : the C text of the program that ran last.
    """

    def __init__(
        self,
        recipe: Recipe,
        name: str | None,
        mode: str | None,
        allow_input_downcast: bool | None,
        trust_input: bool,
        program: Any = None,
        device: str | None = None,
        precision: str | None = None,
    ):
        self.name = name
        self.device = self.asked_device = _checked("device", device)
        self.precision = _checked("precision", precision)
        self.mode, self.asked = _checked_mode(mode), mode
        self.allow_input_downcast = allow_input_downcast
        self._recipe = recipe
        self.inputs: list[Input] = [one.variable for one in recipe.inputs]
        self.outputs, self.updates, self.roots = recipe.outputs, recipe.updates, recipe.roots
        self._single = recipe.keys == "single"
        self._slots = [Slot(one, allow_input_downcast) for one in recipe.inputs]
        self._states = [d for k in recipe.states if (d := recipe.defaults[k]) is not None]
        self._written = sorted({v.container for v in [*self.updates, *self._states]}, key=id)  # one order everywhere: no ring of waiting
        self._compiled: Any = program  # the programs (see exprc.build); None on the interpreter
        if self.mode == "compiled" and program is None:
            self._prepare()
        self._shorts: Any = None  # the short ways (see exprc.shorts), where there may be some
        if self._compiled is not None and not self._states:
            self._shorts = self._compiled.shorts if recipe.steps is None else self._compiled.stepped
        self.trust_input = trust_input
        for slot in self._slots if self._compiled is not None else ():
            slot.device = self._compiled.device

    @property
    def trust_input(self) -> bool:
        return self._trust_input

    @trust_input.setter
    def trust_input(self, trust_input: bool) -> None:
        self._trust_input = trust_input
        if self._shorts is not None:
            self._shorts.plain = frozenset() if trust_input else frozenset(k for k, slot in enumerate(self._slots) if slot.plain)

    def _prepare(self) -> None:
        from exprc import build  # the compiler itself: not needed by who imports exprc to read, or to write expressions
        from exprc.runtime.compiler import NoCompiler

        try:
            asked = self.asked_device, self.precision, self._recipe.left | self._recipe.staying
            self.device, self._compiled = build.build(self.roots, self.updates, self.inputs, *asked)
        except NoCompiler as error:
            if self.asked == "compiled" or self.asked_device != "cpu":
                raise
            _notice(f"{error}\nexprc runs on the NumPy interpreter meanwhile, which is slow.")
            self.mode = "reference"

    # -- calls

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        """Compute the outputs; see `function`."""
        if self._shorts is not None and not named:
            made = self._shorts.call(*args)
            if made is not NotImplemented:
                return made if self._single else returned(self._recipe.keys, made if type(made) is list else [made])
        return self._holding([c.lock for c in self._written], args, named)  # a fork gives them new ones

    def _holding(self, locks: list[Any], args: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call with locks held: in `with` alone no signal comes between taking one and being sure to give it back."""
        if not locks:
            return self._call(args, named)
        a, b, c, d, e, f, g, h = (locks[:8] + _NO_LOCKS)[:8]
        with a, b, c, d, e, f, g, h:
            return self._holding(locks[8:], args, named)

    def _call(self, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
        results = self._run(self._bind(args, named))
        return results[0] if self._single else returned(self._recipe.keys, results)

    def _run(self, arrays: Mapping[Expr, Any]) -> list[Any]:
        steps = self._recipe.steps
        if steps is None:
            return self._step(arrays)
        from exprc.steps import all_or_none, on_device, one_by_one

        made = None if self._states or self._compiled is None else on_device(self._compiled, arrays, steps)
        if made is not None:
            return made
        given = dict(arrays)

        def step() -> list[Any]:
            results = self._step(given)
            given.update((self.inputs[k], self._default(self._slots[k], default)) for k, default in zip(self._recipe.states, self._states))
            return results

        with all_or_none(self._written):
            return one_by_one(step, steps, self.outputs)

    def _step(self, arrays: Mapping[Expr, Any]) -> list[Any]:
        results = self._interpret(arrays) if self._compiled is None else self._compiled.call(arrays)
        if not self._states:
            return results
        for default, value in zip(self._states, results[self.outputs :]):
            check_new_shape(default, value.shape)
            if isinstance(value, DeviceArray):
                default.container.replace_by(value)
            else:
                default.container.replace(value)
        return results[: self.outputs]

    def _bind(self, args: Sequence[Any], named: Mapping[str, Any]) -> dict[Expr, Any]:
        if not named and len(args) == len(self._slots) and all(map(Slot.fits, self._slots, args)):
            return dict(zip(self.inputs, args))  # by far the most calls: a few tests, and no more
        values = match(self._label(), self._recipe.inputs, args, named, [d is not None for d in self._recipe.defaults])
        return {slot.variable: self._value(k, slot, value) for k, (slot, value) in enumerate(zip(self._slots, values))}

    def _value(self, k: int, slot: Slot, value: Any) -> Any:
        default = self._recipe.defaults[k]
        if value is DEFAULT and default is not None:
            return self._default(slot, default)
        return slot.trusted(self._label(), value) if self.trust_input else slot.take(self._label(), value)

    def _default(self, slot: Slot, default: Shared) -> Any:
        """The value that is kept for an input: on the device where the function runs there and may leave it there."""
        if slot.device is not None and _stays(slot.variable):
            return slot.take(self._label(), default.container.there(slot.device, slot.variable.label))
        return slot.take(self._label(), default.get_value())

    def _interpret(self, arrays: Mapping[Expr, Any]) -> list[Any]:
        results = [np.array(r, order="C") for r in reference.evaluate(self.roots, arrays)]
        kept = len(self.roots) - len(self.updates)
        for variable, value in zip(self.updates, results[kept:]):
            check_new_shape(variable, value.shape)
        for variable, value in zip(self.updates, results[kept:]):
            variable.container.write(value)
        return results[:kept]

    # -- what stays between calls

    def get_shared(self) -> list[Shared]:
        """Return the shared variables that the function reads or updates, in the order of first use."""
        used = [x for x in leaves(self.roots) if isinstance(x, Shared)]
        return list(dict.fromkeys([*used, *self.updates]))

    def _kept(self, key: Any) -> Shared:
        for one, default in zip(self._recipe.inputs, self._recipe.defaults):
            if default is not None and (key is one.variable or (isinstance(key, str) and key == one.key)):
                return default
        for variable in self.get_shared():
            if key is variable or (isinstance(key, str) and key == variable.name):
                return variable
        names = [one.key or one.variable.label for one, d in zip(self._recipe.inputs, self._recipe.defaults) if d is not None]
        there = [*names, *(v.label for v in self.get_shared())]
        what = getattr(key, "label", repr(key))
        raise KeyError(f"{self._label()} keeps no value for {what}; it has those of {', '.join(there) or 'nothing'}")

    def __getitem__(self, key: Any) -> Any:
        """Return (a copy of) the default of an input, or the value of a shared variable in use; `key` is a variable or a name."""
        return self._kept(key).get_value()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._kept(key).set_value(value)

    def __contains__(self, key: Any) -> bool:
        try:
            return self._kept(key) is not None
        except KeyError:
            return False

    # -- copies and pickles

    def copy(
        self,
        share_memory: bool = False,
        swap: Mapping[Shared, Shared] | None = None,
        delete_updates: bool = False,
        name: str | None = None,
    ) -> Function:
        """Return a function of the same graph and shared variables; the defaults of its inputs are its own from then on.

        Parameters
        ----------
        share_memory : whether both functions use the same programs and working memory. Copies with `swap` or `delete_updates` are of
            another graph and have their own.
        swap : dict from shared variables in use to those that take their place, of the same dtype and number of axes.
        delete_updates : whether the copy updates nothing.
        name : by default the same.

        Raises
        ------
        ValueError
            if `swap` names a variable that the function does not use.
        TypeError
            if what takes a variable's place is of another type.

        Examples
        --------
        >>> import exprc
        >>> a, b = exprc.shared(1.0, name="a"), exprc.shared(10.0, name="b")
        >>> f = exprc.function([], a * 2, updates={a: a + 1})
        >>> g = f.copy(swap={a: b})
        >>> float(g()), float(a.get_value()), float(b.get_value())
        (20.0, 1.0, 11.0)
        """
        old, swaps = self._recipe, _checked_swap(self, dict(pairs(swap, "swap")))
        own = [d if d is None or isinstance(one.value, Shared) else copy.deepcopy(d) for one, d in zip(old.inputs, old.defaults)]
        defaults = [None if d is None else swaps.get(d, d) for d in own]
        made = Recipe(old.inputs, defaults, old.states, old.keys, old.roots, old.updates, old.left, old.steps)
        if swaps:
            made.roots = rebuild(old.roots, swaps)
            made.updates, values = checked_updates([swaps.get(v, v) for v in old.updates], made.roots[len(old.roots) - len(old.updates) :])
            made.roots = [*made.roots[: len(old.roots) - len(old.updates)], *values]
        if delete_updates:
            made.roots, made.states, made.updates = made.roots[: old.outputs], [], []
        program = self._compiled if share_memory and not swaps and not delete_updates else None
        device = self.device if program else self.asked_device
        return Function(made, name or self.name, self.asked, self.allow_input_downcast, self.trust_input, program, device, self.precision)

    __copy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle has the graph and the values, never a program: that comes from the cache where it is loaded, or is compiled."""
        r = self._recipe
        kept = [d for d in r.defaults if d is not None]
        graph = pickles.table([*self.inputs, *r.roots, *r.updates, *kept])
        inputs = [(pickles.step(one.variable), one.name, one.strict, one.allow_downcast, isinstance(one.value, Shared)) for one in r.inputs]
        defaults = [None if d is None else pickles.step(d) for d in r.defaults]
        roots, updates = [pickles.step(x) for x in r.roots], [pickles.step(v) for v in r.updates]
        recipe = (inputs, defaults, r.states, r.keys, roots, updates, r.left, r.steps)
        settings = (self.name, self.asked, self.allow_input_downcast, self.trust_input, None, self.asked_device, self.precision)
        return _load, (graph, recipe, settings)

    # -- seeing

    @property
    def source(self) -> str:
        """The C or CUDA text of the program that was made last. Raises RuntimeError if there is none yet."""
        return "\n".join(self._loaded().text)

    def _loaded(self) -> Any:
        loaded = self._compiled.last if self._compiled is not None else None
        if loaded is None:
            what = "it runs on the NumPy interpreter" if self._compiled is None else "its sizes are not known before the first call"
            raise RuntimeError(report(f"{self._label()} has no C text: {what}", fix="call it once" if self._compiled is not None else ""))
        return loaded

    def explain(self, verbose: bool = False) -> Explanation:
        """Return the stages that the function went through, with the time of each; with `verbose`, what each made.

        The result is text to print; its ``save("page.html")`` writes the same as one page to look at, which a notebook shows by itself.
        """
        from exprc.seeing.explain import explain

        return explain(self, verbose)

    def profile(self, *args: Any, calls: int = 20, **named: Any) -> Profile:
        """Return a table of the time, bytes and operations of every step, measured over `calls` calls on these values.

        Shared variables keep their values.
        """
        if self._compiled is None:
            raise RuntimeError(f"{self._label()} runs on the NumPy interpreter: there are no steps to time")
        from exprc.profile import profile

        return profile(self._compiled, self._bind(args, named), calls)

    def _repr_html_(self) -> str:
        from exprc.seeing.notebook import function_html

        return function_html(self)

    def __repr__(self) -> str:
        on = "" if self.device == "cpu" else f", on {self.device}"
        return f"<{self._label()} of ({', '.join(x.label for x in self.inputs)}), {self.mode}{on}>"

    def _label(self) -> str:
        return f"function {self.name}" if self.name else "function"


def _notice(text: str) -> None:
    """Say something once a process."""
    if text not in _noticed:
        _noticed.append(text)
        warnings.warn(text, stacklevel=outside())


def _load(graph: Any, recipe: Any, settings: Any) -> Function:
    """A function from a pickle: the steps in `recipe` have become nodes."""
    pickles.set_defaults(graph[1])
    listed, defaults, *rest = recipe
    inputs = [
        In(x, name, d if linked else None, strict=strict, allow_downcast=downcast)
        for (x, name, strict, downcast, linked), d in zip(listed, defaults)
    ]
    return Function(Recipe(inputs, defaults, *rest), *settings)


def _setting(on_unused_input: str | None) -> str:
    chosen = config.on_unused_input if on_unused_input is None else on_unused_input
    if chosen not in ("raise", "warn", "ignore"):
        raise ValueError(f"on_unused_input is {chosen!r}: it must be 'raise', 'warn' or 'ignore'")
    return chosen


def _checked_steps(steps: int | None) -> int | None:
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1):
        raise ValueError(f"steps is {steps!r}: it must be a number of steps, at least 1")
    return None if steps is None else int(steps)


def _checked_mode(mode: str | None) -> str:
    chosen = config.mode if mode is None else mode
    if chosen not in ("compiled", "reference"):
        fix = "compiled: generated C; reference: the NumPy interpreter, which needs no compiler"
        raise ValueError(report(f"mode is {chosen!r}: it must be 'compiled' or 'reference'", fix=fix))
    return chosen


def _checked(setting: str, value: str | None) -> str:
    """What the user asks for, by default the setting of `config`."""
    return str(getattr(config, setting) if value is None else config.checked(setting, value))


def _checked_swap(f: Function, swap: Mapping[Any, Any]) -> dict[Any, Any]:
    used = {*f.get_shared(), *(d for d in f._recipe.defaults if d is not None)}
    for old, new in swap.items():
        if old not in used:
            there = ", ".join(v.label for v in f.get_shared()) or "none"
            what = f"copy: {getattr(old, 'label', repr(old))} is no shared variable that {f._label()} uses"
            raise ValueError(report(what, rows_of("given", old), f"it uses {there}"))
        if not isinstance(new, Shared) or (new.dtype, new.ndim) != (old.dtype, old.ndim):
            rows = [*rows_of("replaced", old), *rows_of("by", new)]
            other = f"{new.dtype} of {new.ndim} axes" if isinstance(new, Shared) else kind(new)
            what = f"copy: what takes the place of {old.label} must be a shared variable of its type, not {other}"
            raise TypeError(report(what, rows, "make it with exprc.shared(value)"))
    return dict(swap)


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
    if values is not None and not isinstance(values, Mapping):
        fix = "name the variable that it is the value of: .eval({x: value})"
        raise TypeError(report(f"eval takes a dict from variables to values, not {kind(values)}", fix=fix))
    given = dict(values or {})
    key = (self, tuple(given), mode, config.mode, config.device, config.precision)
    f = _evaluated.pop(key, None) or _eval_function(self, given, mode)
    _evaluated[key] = f  # the latest last
    while len(_evaluated) > _EVALUATED:
        _evaluated.pop(next(iter(_evaluated)), None)
    return f(*given.values())


def _eval_function(expr: Expr, given: Mapping[Any, Any], mode: str | None) -> Function:
    for key in given:
        if not isinstance(key, Expr) or isinstance(key, Constant):
            fix = "give the variable itself, not its name" if isinstance(key, str) else "it stands for the node that is given a value"
            raise TypeError(report(f"eval: a key must be a variable, not {kind(key)}", fix=fix))
    stand_in = {x: x if isinstance(x, Input) else Input(x.type, x.name, strict=False) for x in given}
    swap = {x: y for x, y in stand_in.items() if x is not y}
    return function(list(stand_in.values()), expr, None, swap, None, mode, "ignore")


Expr.eval = evaluate  # type: ignore[attr-defined]

