"""A failing graph with nodes deleted while it still fails in the same comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from exprc.expr import Constant, Expr, Input, leaves, rebuild, topological
from exprc.reference import evaluate
from exprc.types import TensorType, TupleType
from tests.fuzz.batch import Failure, run
from tests.fuzz.grow import Graph

#: Graphs tried, and seconds taken, at most.
TRIES, SECONDS = 150, 120.0


def shrink(failure: Failure, general: bool) -> Failure:
    """The smallest graph found that fails as `failure` does."""
    tries, end = TRIES, time.monotonic() + SECONDS

    def fails(g: Graph) -> Failure | None:
        nonlocal tries
        tries -= 1
        found = run([g], general) if _makes_sense(g) else []
        return found[0] if found and found[0].what == failure.what else None

    smallest = failure
    smaller: Failure | None = failure
    while smaller is not None and tries > 0 and time.monotonic() < end:
        smaller = _smaller(smallest, fails, lambda: tries > 0 and time.monotonic() < end)
        smallest = smaller or smallest
    return smallest


def _makes_sense(g: Graph) -> bool:
    """Whether the interpreter takes a graph: cutting may leave shapes that do not fit."""
    try:
        return len(evaluate(g.roots, g.values)) == len(g.roots)
    except (ValueError, IndexError, TypeError):
        return False


def _smaller(failure: Failure, fails: Callable[[Graph], Failure | None], time_left: Callable[[], bool]) -> Failure | None:
    for candidate in _candidates(failure):
        if not time_left():
            return None
        if found := fails(candidate):
            return found
    return None


def _candidates(failure: Failure) -> Iterator[Graph]:
    """Smaller graphs: one output alone; an operand in the place of its node; a node made an input; inputs with fewer odd values."""
    g = failure.graph
    if len(g.roots) > 1:
        yield _with(g, [g.roots[failure.root]])
        for k in range(len(g.roots)):
            yield _with(g, [x for j, x in enumerate(g.roots) if j != k])
    inner = [n for n in reversed(topological(g.roots)) if n.inputs]
    for node in inner:
        if node in g.roots:
            yield from (_with(g, [i]) for i in node.inputs if not isinstance(i, Constant) and not isinstance(i.type, TupleType))
        for i in node.inputs:
            if i.type == node.type:
                yield _swapped(g, {node: i})
    for node in inner:
        if node not in g.roots and not isinstance(node.type, TupleType):
            yield _cut(g, node)


def _cut(g: Graph, node: Expr) -> Graph:
    """The graph in which a node is an input of the value that it has."""
    (value,) = evaluate([node], g.values)
    x = Input(TensorType(node.dtype, node.type.shape), f"x{len(g.values) + 1}")
    return _swapped(g, {node: x}, {x: np.asarray(value)})


def _swapped(g: Graph, swap: Mapping[Expr, Expr], values: Mapping[Input, np.ndarray] | None = None) -> Graph:  # type: ignore[type-arg]
    return _with(Graph(g.label, g.roots, {**g.values, **(values or {})}, g.built, g.wild), rebuild(g.roots, swap))


def _with(g: Graph, roots: list[Expr]) -> Graph:
    used = {x for x in leaves(roots) if isinstance(x, Input)}
    return Graph(g.label, roots, {x: v for x, v in g.values.items() if x in used}, len(roots), g.wild)
