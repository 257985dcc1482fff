"""The verifier of Loops: refuses programs that no C compiler should see.

Every name is defined once and before it is used, every buffer is declared and written only where that is said, the
kinds of loops nest as they may, and no address is surely outside its buffer. One walk, linear in the program's length.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from exprc.errors import nearest, report
from exprc.loops import (
    KINDS,
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
    Program,
    Ref,
    Select,
    Shuffle,
    Store,
    Template,
    values_of,
)
from exprc.loops_text import text_of
from exprc.size import Dim, Size, Symbol, atoms_of, bounds, nonnegative, substitute, symbol
from exprc.types import C_TYPES, is_float

#: Placeholders of a text that need no operand.
_GIVEN = frozenset({"T", "lowest", "highest"})


def verify(what: Program | Kernel | Template | Copy, sizes: Mapping[str, int | None] | None = None) -> None:
    """Check a program or one of its steps.

    Parameters
    ----------
    what : a `Program`, or a step of one.
    sizes : name -> value, or None where it is an argument, of every size; a Program has its own. Without it, the
        symbols in the sizes of a step's buffers and in its number of blocks count as its sizes.

    Raises
    ------
    ValueError
        that names the step and the statement: a name used before it is defined, out of its scope, or defined twice; a
        buffer that is not declared, or stored to without being in `written`; an address that is surely out of its
        buffer; an unknown dtype or kind of loop; lanes within lanes; an accumulation into what is not local; a barrier
        that not every thread reaches.

    Examples
    --------
    >>> x = Buffer("x", "float32", 4)
    >>> verify(Kernel("k", (x,), (x,), 1, (Store(x, 7, Literal(0, "float32")),)))
    Traceback (most recent call last):
    ValueError: kernel k: address 7 is outside x, which has 4 elements
      statement  x[7] = 0
    """
    if isinstance(what, Program):
        bound = frozenset(what.buffers)
        for step in (s for s in what.steps if not isinstance(s, Barrier)):
            verify(step, what.sizes)
            _program_has(bound, step)
        return
    known = dict.fromkeys(_size_names(what)) if sizes is None else dict(sizes)
    if isinstance(what, Kernel):
        _kernel(what, known)
    elif isinstance(what, Template):
        for hook in what.hooks:
            _hook(what, hook, known)
    elif not isinstance(what, Copy):
        raise TypeError(f"{type(what).__name__} is no step of a program")


def _program_has(bound: Collection[Buffer], step: Any) -> None:
    used = (step.source, step.target) if isinstance(step, Copy) else (*step.buffers, *step.written)
    missing = next((b for b in used if b not in bound), None)
    if missing is not None:
        name = "a copy" if isinstance(step, Copy) else f"kernel {step.name}"
        what = f"{name}: buffer {missing} is not one of the program's"
        raise ValueError(report(what, [("buffer", _signature(missing), "")]))


def _signature(buffer: Buffer) -> str:
    return f"{buffer}: {buffer.dtype}[{buffer.size}]"


def _symbols(x: Dim) -> list[str]:
    return [a.name for a in atoms_of(x) if isinstance(a, Symbol)]


def _size_names(step: Any) -> list[str]:
    """The sizes that a step alone shows: in its buffers and its number of blocks."""
    if isinstance(step, Copy):
        return _symbols(step.count)
    dims = [b.size for b in step.buffers] + ([step.blocks] if isinstance(step, Kernel) else list(step.macros.values()))
    return [name for dim in dims for name in _symbols(dim)]


def _kernel(kernel: Kernel, sizes: Mapping[str, int | None]) -> None:
    walk = _Walk(f"kernel {kernel.name}", kernel, sizes)
    walk.dim(kernel.blocks)
    walk.executed = _at_least_one(walk.fixed(kernel.blocks))
    walk.define("block", "int64", Loop("block", kernel.blocks, "grid", ()))
    walk.body(kernel.body)


def _hook(template: Template, hook: Function, sizes: Mapping[str, int | None]) -> None:
    walk = _Walk(f"template {template.name}, hook {hook.name}", template, sizes)
    walk.executed = False  # the text decides whether and where it is called
    for argument in hook.arguments:
        walk.define(argument, "int64", None)
    if hook.value is not None:
        walk.define(hook.value.name, hook.value.dtype, None)
    walk.body(hook.body)
    if hook.pointer is not None:
        walk.buffer(hook.pointer)
    if isinstance(hook.result, (int, Size)):
        walk.dim(hook.result)
    elif hook.result is not None:
        walk.values((hook.result,))


def _at_least_one(extent: Dim) -> bool:
    low = bounds(extent)[0]
    return low is not None and low > 0


class _Walk:
    """One pass over the statements of a kernel or hook, with the names in scope.

    loops : the loop of each loop variable in scope. ranges : what stands for a name in proofs of bounds.
    executed : whether the statement at hand surely runs; of an address in one that may not, nothing can be said.
    uniform : whether all threads of a block come by. varying : names that may differ between those threads.
    """

    def __init__(self, where: str, step: Any, sizes: Mapping[str, int | None]):
        self.where, self.sizes = where, frozenset(sizes)
        self.defined: list[str] = []
        self.names: dict[str, str] = {}
        self.loops: dict[str, Loop] = {}
        self.ranges: dict[str, Dim] = {n: v for n, v in sizes.items() if v is not None}
        self.buffers: dict[str, Buffer] = {}
        self.written = {b.name for b in step.written}
        self.executed, self.lanes, self.uniform = True, False, True
        self.varying: set[str] = set()
        self.statement: Any = None
        for name in sizes:
            self.define(name, "int64", None, ranged=False)
        for b in dict.fromkeys((*step.buffers, *step.written)):
            self.declare(b)

    # -- messages

    def fail(self, what: str, fix: str = "") -> NoReturn:
        rows = [] if self.statement is None else [("statement", text_of(self.statement).split("\n")[0], "")]
        raise ValueError(report(f"{self.where}: {what}", rows, fix))

    # -- names and buffers

    def define(self, name: str, dtype: str, loop: Loop | None, ranged: bool = True) -> None:
        if name in self.names or name in self.buffers:
            self.fail(f"the name {name} is defined twice")
        self.dtype(dtype)
        self.defined.append(name)
        self.names[name] = dtype
        if loop is not None:
            self.loops[name] = loop
            extent = self.fixed(loop.extent)
            self.ranges[name] = symbol(name, 0, extent - 1)  # type: ignore[operator]
        elif ranged:
            self.ranges[name] = symbol(name, None)  # type: ignore[arg-type]

    def declare(self, buffer: Buffer) -> None:
        if buffer.name in self.buffers or buffer.name in self.names:
            self.fail(f"the name {buffer} is defined twice")
        self.dtype(buffer.dtype)
        self.dim(buffer.size)
        self.defined.append(buffer.name)
        self.buffers[buffer.name] = buffer

    def dtype(self, dtype: str) -> None:
        if dtype not in C_TYPES:
            self.fail(f"unknown dtype {dtype!r}", nearest(dtype, C_TYPES))

    def buffer(self, buffer: Buffer) -> None:
        known = self.buffers.get(buffer.name)
        if known is None:
            self.fail(f"the buffer {buffer} is not declared", nearest(buffer.name, self.buffers))
        if known != buffer:
            self.fail(f"the buffer {buffer} is declared otherwise: {_signature(known)} ≠ {_signature(buffer)}")

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is defined inside ends with it; the state of the walk is put back."""
        outside, flags = len(self.defined), (self.executed, self.lanes, self.uniform)
        yield
        for name in self.defined[outside:]:
            for table in (self.names, self.loops, self.ranges, self.buffers):
                table.pop(name, None)  # type: ignore[attr-defined]
            self.varying.discard(name)
        del self.defined[outside:]
        self.executed, self.lanes, self.uniform = flags

    # -- statements

    def body(self, body: tuple[Any, ...]) -> None:
        for s in body:
            self.statement = s
            self.statement_of(s)

    def statement_of(self, s: Any) -> None:
        self.values(values_of(s))
        match s:
            case Loop():
                self.loop(s)
            case If():
                self.branch(s)
            case Let():
                self.let(s)
            case Alloc():
                self.declare(s.buffer)
            case Store():
                self.store(s.buffer, s.address)
            case Accum():
                self.accumulate(s)
            case Check():
                self.check(s)
            case Barrier():
                if not self.uniform:
                    fix = "move it out of the loop or If that threads run differently"
                    self.fail("a barrier stands where not every thread comes by", fix)
            case _:
                self.fail(f"{type(s).__name__} is no statement")

    def loop(self, s: Loop) -> None:
        if s.kind not in KINDS:
            self.fail(f"unknown kind of loop {s.kind!r}", nearest(s.kind, KINDS) or f"known: {', '.join(KINDS)}")
        if s.kind == "lanes" and self.lanes:
            self.fail(f"the loop {s.var} in lanes stands inside another loop in lanes")
        self.dim(s.extent)
        self.dim(s.first)
        uniform = self.uniform and s.kind not in ("lanes", "parallel") and not self.varies(s.extent) and not self.varies(s.first)
        with self.scope():
            self.define(s.var, "int64", s)
            self.executed = self.executed and s.first == 0 and s.step == 1 and _at_least_one(self.fixed(s.extent))
            self.lanes, self.uniform = self.lanes or s.kind == "lanes", uniform
            if s.kind == "block":
                self.varying.add(s.var)
            self.body(s.body)

    def branch(self, s: If) -> None:
        self.conditions(s.conditions)
        uniform = self.uniform and not any(self.varies(e) or self.varies(n) for e, n in s.conditions)
        with self.scope():
            self.executed, self.uniform = self.executed and not s.conditions, uniform
            self.body(s.body)

    def varies(self, x: Dim) -> bool:
        """Whether threads of one block may see different values: what a thread's index or memory decides."""
        return any(a.name in self.varying if isinstance(a, Symbol) else a.kind == "load" for a in atoms_of(x))

    def let(self, s: Let) -> None:
        self.define(s.name, s.dtype, None)
        if isinstance(s.value, Index):
            self.ranges[s.name] = symbol(s.name, *bounds(self.fixed(s.value.dim)))  # type: ignore[arg-type]
        if not isinstance(s.value, Index) or self.varies(s.value.dim):
            self.varying.add(s.name)

    def check(self, s: Check) -> None:
        self.dim(s.limit)
        self.define(s.name, "int64", None)
        self.ranges[s.name] = symbol(s.name, 0, self.fixed(s.limit) - 1)  # type: ignore[operator]
        self.varying.add(s.name)
        if is_float(s.index.dtype):
            self.fail(f"the index {s.name} is of dtype {s.index.dtype}, not an integer")

    def store(self, buffer: Buffer, address: Dim) -> None:
        self.buffer(buffer)
        if not buffer.local and buffer.name not in self.written:
            written = ", ".join(sorted(self.written)) or "none"
            self.fail(f"{buffer} is stored to, but is not one of the buffers written: {written}")
        self.address(buffer, address, self.executed)

    def accumulate(self, s: Accum) -> None:
        if len(s.targets) != len(s.values):
            self.fail(f"{len(s.targets)} targets for {len(s.values)} values")
        for buffer, address in s.targets:
            if not buffer.local:
                self.fail(f"{buffer} is accumulated in, but is not local")
            self.store(buffer, address)

    def conditions(self, conditions: Any) -> None:
        for e, n in conditions:
            self.dim(e)
            self.dim(n)

    # -- values

    def values(self, roots: tuple[Any, ...]) -> None:
        """Check values, each once however often it is used."""
        stack = [(v, self.executed) for v in roots]
        seen: set[tuple[int, bool]] = set()
        while stack:
            value, executed = stack.pop()
            if (id(value), executed) not in seen:
                seen.add((id(value), executed))
                stack.extend(self.value(value, executed))

    def value(self, value: Any, executed: bool) -> list[tuple[Any, bool]]:
        """Check one value; return those that it is made of."""
        match value:
            case Literal() | Ref() | Apply() | Index():
                self.dtype(value.dtype)
        match value:
            case Ref():
                self.reference(value)
            case Index():
                self.dim(value.dim)
            case Load():
                self.buffer(value.buffer)
                self.address(value.buffer, value.address, executed)
            case Shuffle():
                if not self.uniform:
                    self.fail("a shuffle stands where not every thread comes by")
                return [(value.value, executed)]
            case Select():
                self.conditions(value.conditions)
                return [(value.value, False), (value.other, False)]
            case Apply():
                self.operands(value)
                return [(v, executed) for _, v in value.args]
            case Literal():
                pass
            case _:
                self.fail(f"{type(value).__name__} is no value")
        return []

    def reference(self, ref: Ref) -> None:
        self.name(ref.name)
        if self.names[ref.name] != ref.dtype:
            self.fail(f"{ref.name} is used in another dtype than its own: {self.names[ref.name]} ≠ {ref.dtype}")

    def operands(self, apply: Apply) -> None:
        missing = set(re.findall(r"{(\w+)}", apply.text)) - {name for name, _ in apply.args} - _GIVEN
        if missing:
            self.fail(f"the text {apply.text!r} has no operand for {', '.join(sorted(missing))}")

    # -- integer expressions

    def name(self, name: str) -> None:
        if name not in self.names:
            self.fail(f"{name} is used where it is not defined", nearest(name, self.names))

    def dim(self, x: Dim) -> None:
        if not isinstance(x, (int, Size)):
            self.fail(f"an integer expression is needed, not {x}")
        for atom in atoms_of(x):
            if isinstance(atom, Symbol):
                self.name(atom.name)
            elif atom.kind == "load":
                self.element(atom)

    def element(self, atom: Any) -> None:
        """An element of an integer buffer within an index."""
        if not isinstance(atom.buffer, Buffer):
            self.fail(f"the index reads {atom.buffer}, which is no buffer")
        if len(atom.args) != 1:
            self.fail(f"{atom} needs one address, not {len(atom.args)} indices")
        self.buffer(atom.buffer)

    def fixed(self, x: Dim) -> Dim:
        """Put in known sizes, and the ranges of loop variables in place of what their symbols claim of themselves."""
        return substitute(x, self.ranges)

    def address(self, buffer: Buffer, address: Dim, executed: bool) -> None:
        self.dim(address)
        if not executed:
            return
        at, size = self.fixed(address), self.fixed(buffer.size)
        for extreme, sign in ((self.extreme(at, True), 1), (self.extreme(at, False), -1)):
            low, high = bounds(extreme - size if sign > 0 else extreme)  # type: ignore[operator]
            if (sign > 0 and low is not None and low >= 0) or (sign < 0 and high is not None and high < 0):
                reached = "" if extreme == at else f" reaches {extreme} and"
                self.fail(f"address {address}{reached} is outside {buffer}, which has {buffer.size} elements")

    def extreme(self, x: Dim, largest: bool) -> Dim:
        """The largest or smallest value that `x` takes in its loops, where it is sure to be taken; else `x` itself.

        Sure means: loop variables appear only linearly, and their extents are of sizes alone.
        """
        if not isinstance(x, Size) or not all(self.linear(atoms) for atoms in x.terms):
            return x
        ends: dict[str, Dim] = {}
        for atoms, factor in x.terms.items():
            for name in (a.name for a in atoms if a.name in self.loops):
                end = self.fixed(self.loops[name].extent) - 1 if (factor > 0) == largest else 0  # type: ignore[operator]
                if ends.setdefault(name, end) != end:
                    return x  # it rises in one term and falls in another
        return substitute(x, ends)

    def linear(self, atoms: tuple[Any, ...]) -> bool:
        """Whether a term is a product of what is not negative and of at most one loop variable."""
        if not all(isinstance(a, Symbol) and nonnegative(Size({(a,): 1})) for a in atoms):
            return len(atoms) == 1 and isinstance(atoms[0], Symbol)
        moving = [a.name for a in atoms if a.name in self.loops]
        return len(moving) <= 1 and all(name in self.sizes for m in moving for name in _symbols(self.loops[m].extent))
