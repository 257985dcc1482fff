"""Machines: where programs run. A machine makes a text of a Plan, loads it, and runs it on the values of a call.

The stages before are the same for all (see `exprc.compiled`); what differs is asked here: the CPU in `exprc.machines.cpu`, a GPU or its
emulator in `exprc.machines.device`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from exprc.expr import Expr, Shared
from exprc.runtime.launch import Device
from exprc.schedule.plan import Plan
from exprc.size import Dim, substitute


@dataclass(frozen=True)
class HostCopy:
    """Bytes that a function copies between the host and a device: when ("once", at the first use, or "each call"), which way, and what."""

    when: str
    way: str
    nbytes: int
    what: str

    def __str__(self) -> str:
        return f"{self.when:<10} {self.way:<24} {self.nbytes:>12} bytes   {self.what}"


#: Takes arrays; returns the outputs (one by itself, several in a list), or NotImplemented where they are not what it was made for.
Direct = Callable[..., Any]


class Changed(Exception):
    """A variable got another shape while a program was chosen for the one before."""


class Runner(Protocol):
    """A loaded program bound to one set of sizes.

    arena : bytes that each running call takes.
    """

    loaded: Any
    arena: int

    def call(self, values: Mapping[Expr, Any], sizes: tuple[int, ...]) -> list[Any]:
        """Run on the values of a call (see `Machine.values`); return the outputs, and behind them None for each replaced container.

        sizes : the numbers of those sizes that are arguments of the program.
        """

    def direct(self, inputs: Sequence[Expr], values: Mapping[Expr, Any], sizes: tuple[int, ...]) -> Direct | None:
        """Return the short way to run on arrays of the inputs like `values`, in order; None where there is none."""

    def copies(self) -> list[HostCopy]:
        """Return what is copied between the host and a device."""

    def launched(self) -> list[str]:
        """Return a line for each launch of a call; none where programs run on the host."""


class Machine(Protocol):
    """Where programs run.

    target : what texts are made for. row : the longest row of values that a step keeps to itself. threads : of the CPU, else 1.
    libraries : that may compute in the place of kernels. stepwise : whether its runners make several steps at once (see `exprc.steps`).
    name : of the device. device : itself, None on the CPU. precision : how exact products are for this function, one of the `precisions`
        that the device offers.
    """

    @property
    def precision(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> Device | None: ...

    @property
    def stepwise(self) -> bool: ...

    @property
    def libraries(self) -> tuple[str, ...]: ...

    @property
    def target(self) -> Any: ...

    @property
    def row(self) -> int: ...

    def parts_of(self, results: int, folded: int, first: int) -> int:
        """In how many parts a reduction is cut (see `exprc.schedule.fuse`)."""

    def lower(self, plan: Plan) -> Any:
        """Return a plan as a program of Loops."""

    def render(self, program: Any) -> tuple[list[str], tuple[str, ...]]:
        """Return the texts of a program, and the names of the entries of its steps, where each has one."""

    def load(self, texts: Sequence[str]) -> Any:
        """Return texts as something that runs: with `cached`, `path` and `compile_seconds`."""

    def values(self, leaves: Sequence[Expr], arrays: Mapping[Expr, Any]) -> dict[Expr, Any]:
        """Return what stands for the leaves of a call: arrays with at least the right shapes; and values, where sizes follow from them."""

    def runner(self, loaded: Any, values: Mapping[str, int], updates: Sequence[Shared], left: frozenset[int]) -> Runner:
        """Bind a loaded program to sizes; `left` are the numbers of the outputs that stay where they are (see `exprc.Out`)."""


def number_of(values: Mapping[str, int]) -> Callable[[Dim], int]:
    """Return what gives a dim its number, from the numbers of the sizes."""

    def number(d: Dim) -> int:
        x = d if isinstance(d, int) else substitute(d, values)
        return int(x)  # type: ignore[arg-type]

    return number


def replaced(plan: Plan, updates: Sequence[Shared]) -> list[tuple[Shared, int]]:
    """Return the variables whose update has another shape, each with the number of the output that takes its place."""
    return [(v, k) for container, k in plan.replacements for v in updates if v.container is container]
