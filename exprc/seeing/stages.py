"""The stages of a function, as far as it has gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exprc.compiled import Stage
from exprc.expr import Expr, topological
from exprc.show import debugprint

if TYPE_CHECKING:
    from exprc.function import Function


def stages_of(f: Function) -> list[Stage]:
    """The stages so far: of the program that ran last, else those of the graph."""
    if f._compiled is None:
        return [Stage("graph", 0.0, lambda: graph_text(f.roots), f.roots)]
    if f._compiled.last is not None:
        return list(f._compiled.last.stages)
    parts: Any = getattr(f._compiled, "parts", None) or [f._compiled]
    return list(parts[0].precompiled)


def what_is_missing(f: Function) -> str:
    """Why there are no more stages, or ""."""
    if f._compiled is None:
        return "it runs on the NumPy interpreter: there is no program"
    return "" if f._compiled.last is not None else "its sizes are not known before the first call: call it once to see the other stages"


def graph_text(roots: Sequence[Expr]) -> str:
    """A graph as a tree, the number of its nodes first."""
    return f"{len(topological(roots))} nodes\n{debugprint(list(roots), file='str')}"
