"""Loops: the C-like language that every operation is lowered to. C and CUDA are both printed from it.

The whole language
------------------
::

    Kernel(name, buffers, sizes, blocks, body)   a function of its buffers; `block` counts from 0 to blocks-1. On a GPU the body is
                                                 arrays in shared memory, then one loop of kind block: the threads of each block
    Template(name, text, macros, hooks, ...)     a text of kernels/, filled in with sizes and hooks
    Function(name, arguments, body, result)      a hook: called by a Template at an index

    statement = Loop(var, extent, kind, body)    kind: serial, unroll, lanes, parallel, grid or block
              | Let(name, dtype, value)          a scalar that never changes
              | Alloc(name, dtype, size)         a small local array, in registers if it can
              | Store(buffer, address, value)
              | Accum(names, addresses, values)  several local values replaced at once
              | If(conditions, body)             conditions: pairs (e, n) meaning 0 <= e < n
              | Check(index, limit, name, where) a wrapped run-time index, its failure counted in the status
              | Barrier(warp)

    value     = Literal(value, dtype) | Ref(name, dtype) | Load(buffer, address) | Apply(text, args, dtype, op) | Index(dim)
              | Select(conditions, value, other) | Shuffle(value, by, width)

Addresses, extents and limits are integer expressions of `exprc.size` over loop variables and sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from exprc.size import Dim

KINDS = ("serial", "unroll", "lanes", "parallel", "grid", "block")


@dataclass(frozen=True)
class Buffer:
    """Storage that a kernel reads or writes: `size` elements of `dtype`, or a local array.

    shared : where a local array belongs to the threads of a block together, its first byte in their shared memory; else None.
    """

    name: str
    dtype: str
    size: Dim = 0
    local: bool = False
    shared: int | None = None

    def __str__(self) -> str:
        return self.name


# -- values


@dataclass(frozen=True)
class Literal:
    value: Any
    dtype: str


@dataclass(frozen=True)
class Ref:
    name: str
    dtype: str


@dataclass(frozen=True)
class Load:
    buffer: Buffer
    address: Dim

    @property
    def dtype(self) -> str:
        return self.buffer.dtype


@dataclass(frozen=True)
class Apply:
    """A scalar text applied to values; `op` is the record that it comes from, for the interpreter."""

    text: str
    args: tuple[tuple[str, Any], ...]
    dtype: str
    op: Any = None


@dataclass(frozen=True)
class Index:
    dim: Dim
    dtype: str = "int64"


@dataclass(frozen=True)
class Select:
    """`value` where all conditions hold, else `other`; only the one that is taken is worked out."""

    conditions: tuple[tuple[Dim, Dim], ...]
    value: Any
    other: Any

    @property
    def dtype(self) -> str:
        return str(self.value.dtype)


@dataclass(frozen=True)
class Shuffle:
    """The value that another thread has of a local name: the one `by` further on, or with `by` 0 the first of `width` neighbours."""

    value: Load
    by: int
    width: int

    @property
    def dtype(self) -> str:
        return self.value.dtype


Value = Literal | Ref | Load | Apply | Index | Select | Shuffle


# -- statements


@dataclass(frozen=True)
class Loop:
    """`var`, of the dtype `index`, counts from `first` up to below `extent`, by `step`."""

    var: str
    extent: Dim
    kind: str
    body: tuple[Any, ...]
    first: Dim = 0
    step: int = 1
    index: str = "int64"


@dataclass(frozen=True)
class Let:
    name: str
    dtype: str
    value: Value


@dataclass(frozen=True)
class Alloc:
    buffer: Buffer


@dataclass(frozen=True)
class Store:
    buffer: Buffer
    address: Dim
    value: Value


@dataclass(frozen=True)
class Accum:
    """Replace several elements of local arrays at once: every value is worked out before the first is written."""

    targets: tuple[tuple[Buffer, Dim], ...]
    values: tuple[Value, ...]


@dataclass(frozen=True)
class If:
    conditions: tuple[tuple[Dim, Dim], ...]
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Check:
    """``name = index`` if it is in [0, limit), else 0 with the failure noted in the status (`code` says which check)."""

    name: str
    index: Value
    limit: Dim
    code: int


@dataclass(frozen=True)
class Barrier:
    """All threads wait for each other: of the program, between steps; of the block, or with `warp` of the warp, inside a kernel."""

    warp: bool = False


Statement = Loop | Let | Alloc | Store | Accum | If | Check | Barrier


# -- functions


@dataclass(frozen=True)
class Kernel:
    """Loops over `blocks` blocks; any thread may run any range of them. `index` is the dtype of `block`."""

    name: str
    buffers: tuple[Buffer, ...]
    written: tuple[Buffer, ...]
    blocks: Dim
    body: tuple[Any, ...]
    comment: str = ""
    index: str = "int64"

    @property
    def threads(self) -> int:
        """On a GPU, the threads of each block; else 0."""
        last = self.body[-1]
        return int(last.extent) if isinstance(last, Loop) and last.kind == "block" else 0  # type: ignore[arg-type]


@dataclass(frozen=True)
class Function:
    """A hook of a template: arguments are indices (and for a store one value); `result` is a value, an address or None."""

    name: str
    arguments: tuple[str, ...]
    value: Ref | None
    body: tuple[Any, ...]
    result: Any = None
    pointer: Buffer | None = None


@dataclass(frozen=True)
class Template:
    """A text of kernels/ with the values of its macros; `launch` and `library` of a CUDA text: see `Implementation`."""

    name: str
    text: str
    dtype: str
    lanes: int
    buffers: tuple[Buffer, ...]
    written: tuple[Buffer, ...]
    macros: Mapping[str, Dim]
    hooks: tuple[Function, ...]
    comment: str = ""
    launch: Any = None
    library: str = ""


@dataclass(frozen=True)
class Copy:
    """Storage copied whole, at the end of a segment."""

    source: Buffer
    target: Buffer
    count: Dim


@dataclass(frozen=True)
class Program:
    """What is rendered as one text: steps in order, with barriers between them; the parameters of the whole.

    launches : on a GPU, how many of the steps, one after the other, are launched together; () where each is launched alone.
    """

    steps: tuple[Any, ...]
    buffers: tuple[Buffer, ...]
    sizes: Mapping[str, int | None]
    launches: tuple[int, ...] = ()

    def launched(self) -> list[tuple[Any, ...]]:
        """The steps of each launch."""
        ends = list(accumulate(self.launches or (1,) * len(self.steps)))
        return [self.steps[a:b] for a, b in zip([0, *ends], ends)]


# -- walks and checks


def statements(body: tuple[Any, ...]) -> Iterator[Any]:
    """Yield every statement, outer ones first."""
    for s in body:
        yield s
        if isinstance(s, (Loop, If)):
            yield from statements(s.body)


def values_of(s: Any) -> tuple[Value, ...]:
    """Return the values that a statement uses itself."""
    if isinstance(s, (Let, Store)):
        return (s.value,)
    if isinstance(s, Accum):
        return s.values
    return (s.index,) if isinstance(s, Check) else ()


def dims_of(s: Any) -> Iterator[Dim]:
    """Yield the numbers that a statement counts with: addresses, ends of loops, both sides of conditions."""
    if isinstance(s, Loop):
        yield from (s.first, s.extent)
    elif isinstance(s, (Store, Check)):
        yield s.address if isinstance(s, Store) else s.limit
    elif isinstance(s, Accum):
        yield from (address for _, address in s.targets)
    conditions = list(s.conditions) if isinstance(s, If) else []
    for v in (v for value in values_of(s) for v in subvalues(value)):
        if isinstance(v, (Load, Index)):
            yield v.address if isinstance(v, Load) else v.dim
        conditions += v.conditions if isinstance(v, Select) else ()
    yield from (d for pair in conditions for d in pair)


def subvalues(value: Value) -> Iterator[Value]:
    yield value
    if isinstance(value, Apply):
        for _, arg in value.args:
            yield from subvalues(arg)
    elif isinstance(value, Select):
        yield from subvalues(value.value)
        yield from subvalues(value.other)
    elif isinstance(value, Shuffle):
        yield value.value
