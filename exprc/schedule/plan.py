"""Plan: what scheduling gives. Steps in order, where every stored value lies, and what the call has to bind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exprc.expr import Expr
from exprc.forms import Implementation
from exprc.loops import Buffer
from exprc.schedule.layout import Layout
from exprc.schedule.sizes import Dims
from exprc.size import Dim


@dataclass(frozen=True)
class Stored:
    """Where the elements of a value lie. kind: "leaf", "output", "container" or "arena"."""

    buffer: Buffer
    layout: Layout
    dims: tuple[Dim, ...]
    kind: str

    def address(self, index: tuple[Dim, ...]) -> Dim:
        return self.layout.address(index, self.dims)


@dataclass
class Plan:
    """A scheduled graph.

    steps : Groups and Calls (see `exprc.schedule.fuse`), in order; a segment is what runs without the host, here all of them.
    stored : where each stored node and leaf lies; extra : more places that a node is written to (outputs, containers).
    implementations : of each Call's node. offsets : arena buffer -> place in the arena, in bytes; arena : its size.
    spans : arena buffer -> the first and the last step in which it is alive; of a GPU, the launches.
    leaves : leaf buffer -> the leaf of the user's graph; containers : the buffers that updates write, with their containers.
    replacements : (container, output) where an update has another shape: the host puts the output in the container's place.
    checks : the nodes whose run-time indices are checked, by code. limits : the lengths that they are checked against.
    """

    steps: list[Any]
    dims: Dims
    stored: dict[Expr, Stored]
    local: dict[Expr, int]
    copies: list[tuple[Stored, Stored]]
    implementations: dict[Expr, Implementation]
    lanes_of: Callable[[int], int]
    number: Callable[[Dim], int]
    reads: Callable[..., Any]
    symbols: Mapping[str, Any]
    items: dict[Any, Expr]
    partials: dict[Any, Stored] = field(default_factory=dict)
    offsets: dict[Buffer, int] = field(default_factory=dict)
    spans: dict[Buffer, tuple[int, int]] = field(default_factory=dict)
    arena: int = 0
    leaves: dict[Buffer, Expr] = field(default_factory=dict)
    outputs: list[Stored] = field(default_factory=list)
    containers: dict[Buffer, Any] = field(default_factory=dict)
    replacements: list[tuple[Any, int]] = field(default_factory=list)
    checks: list[Expr] = field(default_factory=list)
    limits: list[Dim] = field(default_factory=list)
