"""What a page says about each step of a program: the user's lines that it came from, its loops, its C, its time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from exprc.compiled import Compiled, Loaded
from exprc.expr import Expr
from exprc.loops import Barrier, Copy
from exprc.loops_text import text_of
from exprc.profile import Profile, Row
from exprc.schedule.fuse import Call
from exprc.schedule.plan import Plan
from exprc.seeing import code

Line = tuple[str, int]
_MOST_NODES = 2000


@dataclass
class StepView:
    """A step as it is shown. lines : of the values that it stores, then of what is worked out on the way."""

    anchor: str
    name: str
    what: str
    lines: list[Line]
    loops: str
    source: str
    row: Row | None = None


@dataclass
class ProgramView:
    """A program with its steps; a function has several where the host must work in between."""

    number: int
    compiled: Compiled
    loaded: Loaded
    steps: list[StepView] = field(default_factory=list)

    @property
    def language(self) -> str:
        return "C" if self.compiled.machine.target.device == "cpu" else "CUDA"

    @property
    def profile(self) -> Profile | None:
        return self.loaded.profiled

    @property
    def time(self) -> float:
        """Seconds of all steps, as they were measured."""
        return sum(step.row.seconds for step in self.steps if step.row is not None)


def programs(compiled: Any) -> list[ProgramView]:
    """Return the programs of a compiled graph that have run or are loaded, in the order of their calls."""
    parts: Sequence[Compiled] = [compiled] if isinstance(compiled, Compiled) else getattr(compiled, "parts", [])
    views = [ProgramView(k, part, part.last) for k, part in enumerate(parts) if part.last is not None]
    for view in views:
        view.steps = _steps(view)
    return views


def _steps(view: ProgramView) -> list[StepView]:
    lowered, plan = view.loaded.lowered, view.loaded.plan
    sources = code.functions(view.loaded.text, lowered.steps, view.loaded.entries)
    rows = iter(view.profile.rows if view.profile is not None else [])
    made = []
    for number, step in enumerate(lowered.steps):
        if isinstance(step, Barrier):
            continue
        name = f"copy {step.source} → {step.target}" if isinstance(step, Copy) else step.name
        what = "at the end, because the old value is read until then" if isinstance(step, Copy) else step.comment
        anchor = f"p{view.number}s{number}"
        made.append(StepView(anchor, name, what, lines_of(plan, name), text_of(step), sources.get(name, ""), next(rows, None)))
    return made


def lines_of(plan: Plan, name: str) -> list[Line]:
    """The user's lines that the step of this name (``k3``, or ``k3_...`` for a part of it) was made for."""
    digits = name[1:].split("_")[0]
    if not name.startswith("k") or not digits.isdigit() or int(digits) >= len(plan.steps):
        return []
    step = plan.steps[int(digits)]
    first = [r.node for r in step.roots] + ([step.node] if isinstance(step, Call) else [])
    return list(dict.fromkeys(n.line for n in [*first, *_on_the_way(first, plan)] if n.line is not None))


def _on_the_way(roots: Iterable[Expr], plan: Plan) -> list[Expr]:
    """The nodes that are worked out where they are read, between stored values."""
    found: dict[Expr, None] = {}
    stack = [i for root in roots for i in root.inputs]
    while stack and len(found) < _MOST_NODES:
        node = stack.pop()
        if node not in found and node not in plan.stored and node.inputs:
            found[node] = None
            stack.extend(node.inputs)
    return list(found)
