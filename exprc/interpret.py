"""The interpreter of Loops: runs a kernel in plain Python, slowly and suspiciously.

It is what generated C is compared with, and what finds mistakes of `exprc.lower` without a C compiler: every access
is checked against the size of its buffer, every element of a local array must be stored before it is read, and values
convert as in C.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from exprc import distributions, philox
from exprc.errors import report
from exprc.loops import (
    Accum,
    Alloc,
    Apply,
    Barrier,
    Buffer,
    Check,
    Copy,
    Function,
    If,
    Index,
    Kernel,
    Let,
    Literal,
    Load,
    Loop,
    Ref,
    Select,
    Store,
)
from exprc.loops_text import text_of
from exprc.scalar_text import FUNCTIONS as SCALAR
from exprc.scalar_text import convert, evaluate
from exprc.size import Dim, Size, Symbol

Array = np.ndarray[Any, Any]


def _draw(kind: str, dtype: str) -> Any:
    samples = getattr(philox, kind)
    return lambda key, counter: samples(int(key), counter, dtype)


#: name -> function, of all that the texts in Loops may call: those of scalar.h and philox.h in ``kernels/c``.
FUNCTIONS = SCALAR | {
    f"{kind}_{suffix}": _draw(kind, dtype)
    for kind in ("uniform", "normal")
    for suffix, dtype in (("f32", "float32"), ("f64", "float64"))
} | {
    "bounded_u64": distributions.bounded, "gamma_draw": distributions.gamma, "poisson_draw": distributions.poisson,
    "binomial_draw": distributions.binomial,
}  # fmt: skip


def interpret(
    step: Kernel | Copy, arrays: Mapping[str, Array], sizes: Mapping[str, int] | None = None
) -> dict[int, int]:
    """Run a kernel, block after block, or a copy.

    Parameters
    ----------
    step : what to run.
    arrays : name -> the 1-D array of each buffer, changed in place where the kernel stores.
    sizes : name -> value of every size that the kernel uses.

    Returns
    -------
    how often each `Check` failed: code -> count, without those that held.

    Raises
    ------
    IndexError
        for an access outside a buffer.
    ValueError
        for a local element that is read before it is stored, a name without a value, a barrier that not all threads
        reach, an array that is missing or does not fit its buffer.

    Examples
    --------
    >>> from exprc.size import symbol
    >>> n, i = symbol("n"), symbol("i")
    >>> x = Buffer("x", "int8", n)
    >>> body = Loop("i", n, "lanes", (Store(x, i, Apply("{a} * 100", (("a", Load(x, i)),), "int8")),))
    >>> data = np.array([1, 2, 3], "int8")
    >>> interpret(Kernel("hundred", (x,), (x,), 1, (body,)), {"x": data}, {"n": 3}), data.tolist()
    ({}, [100, -56, 44])
    """
    if isinstance(step, Copy):
        return _copy(step, arrays, dict(sizes or {}))
    if not isinstance(step, Kernel):
        what = f"a {type(step).__name__} is not interpreted, since its text is C"
        raise TypeError(report(what, [], "call its hooks with interpret_function"))
    run = _Run(f"kernel {step.name}", sizes)
    run.bind(dict.fromkeys((*step.buffers, *step.written)), arrays)
    for block in range(run.number(step.blocks)):
        run.names["block"] = block
        run.all_of(step.body)
    return run.failed


def interpret_function(
    function: Function, arguments: Sequence[Any], arrays: Mapping[str, Array], sizes: Mapping[str, int] | None = None,
    buffers: Sequence[Buffer] = (),
) -> Any:  # fmt: skip
    """Call a hook once.

    Parameters
    ----------
    function : the hook of a template.
    arguments : its indices, in order, and after them the value, if it is a hook that stores.
    arrays, sizes : as for `interpret`.
    buffers : the template's buffers; with them the sizes of the arrays are checked first.

    Returns
    -------
    the value of a hook that loads, the array from the address on for one that gives an address, None for one that
    stores.

    Examples
    --------
    >>> from exprc.size import symbol
    >>> load = Function("LOAD_a", ("i", "k"), None, (), Load(Buffer("a", "float32", 6), symbol("i") * 3 + symbol("k")))
    >>> float(interpret_function(load, (1, 2), {"a": np.arange(6, dtype="float32")}))
    5.0
    """
    run = _Run(f"hook {function.name}", sizes)
    run.bind(buffers, arrays)
    run.bind_arrays(arrays)
    wanted = len(function.arguments) + (function.value is not None)
    if len(arguments) != wanted:
        raise TypeError(f"the hook {function.name} takes {wanted} arguments, {len(arguments)} were given")
    run.names.update((name, int(value)) for name, value in zip(function.arguments, arguments))
    if function.value is not None:
        run.names[function.value.name] = convert(arguments[-1], function.value.dtype)
    run.all_of(function.body)
    return run.result(function)


def _copy(copy: Copy, arrays: Mapping[str, Array], sizes: dict[str, int]) -> dict[int, int]:
    run = _Run(f"copy of {copy.source} to {copy.target}", sizes)
    run.bind((copy.source, copy.target), arrays)
    count = run.number(copy.count)
    for buffer in (copy.source, copy.target):
        if count > run.number(buffer.size):
            raise IndexError(f"{run.where}: {count} elements are outside {buffer}, which has {run.number(buffer.size)}")
    arrays[copy.target.name][:count] = arrays[copy.source.name][:count]
    return {}


@dataclass
class _Storage:
    """The elements of a buffer; `ready` tells which elements of a local array have been stored."""

    data: Array
    size: int
    ready: Array | None = None


class _Run:
    """The names in scope with their values: integers, scalars and storage.

    A loop over the threads of a block (kind "block") runs them in step from barrier to barrier; every other loop runs
    in order.
    """

    def __init__(self, where: str, sizes: Mapping[str, int] | None):
        self.where = where
        self.names: dict[str, Any] = {n: int(v) for n, v in (sizes or {}).items()}
        self.failed: dict[int, int] = {}
        self.statement: Any = None

    # -- storage

    def bind(self, buffers: Any, arrays: Mapping[str, Array]) -> None:
        for b in buffers:
            if b.name not in arrays:
                raise ValueError(f"{self.where}: no array was given for the buffer {b}")
            array, size = arrays[b.name], self.number(b.size)
            if array.ndim != 1 or array.dtype != b.dtype or len(array) < size:
                given = f"{array.dtype}{list(array.shape)}"
                raise ValueError(f"{self.where}: the array does not fit the buffer {b}: {given} ≠ {b.dtype}[{size}]")
            self.names[b.name] = _Storage(array, size)

    def bind_arrays(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            self.names.setdefault(name, _Storage(array, len(array)))

    def alloc(self, buffer: Buffer) -> None:
        size = self.number(buffer.size)
        self.names[buffer.name] = _Storage(np.zeros(size, buffer.dtype), size, np.zeros(size, bool))

    def element(self, buffer: Any, address: Dim, doing: str) -> tuple[_Storage, int]:
        storage, at = self.look_up(str(buffer)), self.number(address)
        if not 0 <= at < storage.size:
            self.fail(IndexError, f"{buffer}[{at}] is {doing}, but {buffer} has {storage.size} elements")
        return storage, at

    def read(self, buffer: Any, address: Dim) -> Any:
        storage, at = self.element(buffer, address, "read")
        if storage.ready is not None and not storage.ready[at]:
            self.fail(ValueError, f"{buffer}[{at}] is read before it is stored")
        return storage.data[at]

    def store(self, buffer: Buffer, address: Dim, value: Any) -> None:
        storage, at = self.element(buffer, address, "stored")
        storage.data[at] = convert(value, buffer.dtype)
        if storage.ready is not None:
            storage.ready[at] = True

    # -- names and integer expressions

    def look_up(self, name: str) -> Any:
        if name not in self.names:
            self.fail(ValueError, f"{name} has no value")
        return self.names[name]

    def number(self, x: Dim) -> int:
        """The value of an integer expression."""
        if not isinstance(x, Size):
            return int(x)  # type: ignore[arg-type]
        return sum(factor * math.prod(self.atom(a) for a in atoms) for atoms, factor in x.terms.items())

    def atom(self, atom: Any) -> int:
        if isinstance(atom, Symbol):
            return int(self.look_up(atom.name))
        if atom.kind == "load":
            return int(self.read(atom.buffer, atom.args[0]))
        a, b = map(self.number, atom.args)
        if atom.kind in ("//", "%"):
            return a // b if atom.kind == "//" else a % b
        return min(a, b) if atom.kind == "min" else max(a, b)

    def hold(self, conditions: Any) -> bool:
        return all(0 <= self.number(e) < self.number(n) for e, n in conditions)

    def fail(self, kind: type[Exception], what: str) -> NoReturn:
        rows = [] if self.statement is None else [("statement", text_of(self.statement).split("\n")[0], "")]
        used = sorted(n for n, v in self.names.items() if isinstance(v, int) and not isinstance(v, bool))
        if used:
            rows.append(("where", ", ".join(f"{n} = {self.names[n]}" for n in used), ""))
        raise kind(report(f"{self.where}: {what}", rows))

    # -- statements

    def all_of(self, body: tuple[Any, ...]) -> None:
        """Run statements to the end; a barrier outside any loop over threads keeps nobody waiting."""
        for _ in self.steps(body):
            pass

    def steps(self, body: tuple[Any, ...]) -> Iterator[None]:
        """Run statements; pauses at every barrier."""
        for s in body:
            self.statement = s
            if isinstance(s, Barrier):
                yield
            elif isinstance(s, Loop):
                yield from self.threads(s) if s.kind == "block" else self.loop(s)
            elif isinstance(s, If):
                if self.hold(s.conditions):
                    yield from self.steps(s.body)
            else:
                self.simple(s)

    def loop(self, s: Loop) -> Iterator[None]:
        for k in range(self.number(s.first), self.number(s.extent), s.step):
            self.names[s.var] = k
            yield from self.steps(s.body)
        self.names.pop(s.var, None)

    def threads(self, s: Loop) -> Iterator[None]:
        """Run every thread to its next barrier, then all of them on; each has names of its own."""
        outside = self.names
        running = [({**outside, s.var: k}, self.steps(s.body)) for k in range(self.number(s.extent))]
        while running:
            waiting = [(names, steps) for names, steps in running if self.resume(names, steps)]
            self.names = outside
            if waiting and len(waiting) != len(running):
                counts = f"{len(waiting)} of {len(running)}"
                self.fail(ValueError, f"{counts} threads wait at a barrier that the others do not reach")
            running = waiting
            if running:
                yield

    def resume(self, names: dict[str, Any], steps: Iterator[None]) -> bool:
        """Run one thread on; tell whether it stopped at a barrier."""
        self.names = names
        return next(steps, self) is not self

    def simple(self, s: Any) -> None:
        match s:
            case Let():
                self.names[s.name] = convert(self.value(s.value), s.dtype)
            case Alloc():
                self.alloc(s.buffer)
            case Store():
                self.store(s.buffer, s.address, self.value(s.value))
            case Accum():
                values = [self.value(v) for v in s.values]
                for (buffer, address), value in zip(s.targets, values):
                    self.store(buffer, address, value)
            case Check():
                self.names[s.name] = self.checked(s)
            case _:
                self.fail(TypeError, f"{type(s).__name__} is no statement")

    def checked(self, s: Check) -> int:
        """An index, wrapped if negative; 0 where it is out of range, and the failure counted."""
        index, limit = int(self.value(s.index)), self.number(s.limit)
        index = index + limit if index < 0 else index
        if 0 <= index < limit:
            return index
        self.failed[s.code] = self.failed.get(s.code, 0) + 1
        return 0

    # -- values

    def value(self, v: Any) -> Any:
        match v:
            case Literal():
                return convert(v.value, v.dtype)
            case Ref():
                return convert(self.look_up(v.name), v.dtype)
            case Load():
                return self.read(v.buffer, v.address)
            case Index():
                return convert(self.number(v.dim), v.dtype)
            case Select():
                return convert(self.value(v.value if self.hold(v.conditions) else v.other), v.dtype)
            case Apply():
                return evaluate(v.text, {name: self.value(arg) for name, arg in v.args}, v.dtype, FUNCTIONS)
        self.fail(TypeError, f"{type(v).__name__} is no value")

    def result(self, function: Function) -> Any:
        if function.result is None:
            return None
        if function.pointer is None:
            return self.value(function.result)
        is_dim = isinstance(function.result, (int, Size))
        address = function.result if is_dim else int(self.value(function.result))
        storage, at = self.element(function.pointer, address, "pointed to")
        return storage.data[at:]
