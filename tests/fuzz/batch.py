"""Many graphs in one program, each result against the oracle.

Of each graph are compared: the program with the interpreter on the rewritten graph, that is what the compiler was given; the interpreter on
the rewritten graph with that on the graph as built; and the program with two threads with the program with one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import exprc
from exprc.errors import CompileError
from exprc.expr import Expr
from exprc.rewrite.engine import rewrite
from exprc.rewrite.expand import named_by, open_user
from exprc.rewrite.stabilise import STABILISE
from tests.fuzz.grow import Graph
from tests.fuzz.oracle import MANY, Array, Truth, differences, truths

#: What a graph may end with where the compiler is at fault.
FAULTS = (CompileError, ValueError, IndexError, KeyError, TypeError, AssertionError, AttributeError, RecursionError, ZeroDivisionError)


@dataclass
class Failure:
    """A graph that came out wrong: which of the comparisons, which output, and what was wrong with it."""

    graph: Graph
    what: str
    root: int
    text: str

    def __str__(self) -> str:
        return f"{self.graph.label}: {self.what}: {self.text}"


@dataclass
class Tally:
    """Elements compared, and elements that rounding decides."""

    compared: int = 0
    open: int = 0

    def count(self, truth: Truth) -> None:
        self.compared += int(truth.firm.sum())
        self.open += int((~truth.firm).sum())


def run(graphs: Sequence[Graph], general: bool = False, tally: Tally | None = None) -> list[Failure]:
    """Compile graphs into one program and compare; a batch that cannot be compiled or called is halved until the graph is found.

    Parameters
    ----------
    general : whether every size above 1 is an argument of the program.
    """
    try:
        rewritten, results = _results(graphs, general)
    except FAULTS as error:
        if len(graphs) == 1:
            return [Failure(graphs[0], "no program", 0, f"{type(error).__name__}: {error}")]
        half = len(graphs) // 2
        return run(graphs[:half], general, tally) + run(graphs[half:], general, tally)
    failures = []
    at = 0
    for g in graphs:
        part = slice(at, at + len(g.roots))
        at = part.stop
        try:
            failures += _compared(g, rewritten[part], [r[part] for r in results], tally or Tally())
        except Exception as error:  # the oracle's own fault is one graph's, not the end of a long run
            failures.append(Failure(g, "oracle", 0, f"{type(error).__name__}: {error}"))
    return failures


def program_of(graphs: Sequence[Graph], general: bool) -> tuple[Any, list[Any]]:
    """The function of graphs, not called yet, and the programs that it is made of."""
    inputs = {x: None for g in graphs for x in g.values}
    f = exprc.function(list(inputs), [x for g in graphs for x in g.roots], mode="compiled", on_unused_input="ignore")
    programs = getattr(f._compiled, "parts", [f._compiled])
    for program in programs if general else ():
        program.seen.update({key: {-1, -2} for key in program.keys})
    return f, programs


def _results(graphs: Sequence[Graph], general: bool) -> tuple[list[Expr], list[list[Array]]]:
    """The rewritten graphs, and what their program gives with one thread and with two."""
    f, programs = program_of(graphs, general)
    values = [v for g in graphs for v in g.values.values()]
    f(*values)
    results = []
    for threads in (1, 2):
        for runner in [r for program in programs for r in program.bound_runners()]:
            runner.threads = threads
        results.append(f(*values))
    return f._compiled.roots, results


def _compared(g: Graph, rewritten: list[Expr], results: list[list[Array]], tally: Tally) -> list[Failure]:
    """The first fault of a graph, if any."""
    for k, (one, two) in enumerate(zip(*results)):
        if one.tobytes() != two.tobytes():
            return [Failure(g, "two threads", k, _places(two, one, two != one))]
    simpler = truths(rewritten, g.values)
    for k, truth in enumerate(simpler):
        tally.count(truth)
        if fault := _fault(g.roots[k], results[0][k], truth, lambda k=k: truths(rewritten[k : k + 1], g.values, MANY)[0]):
            return [Failure(g, "program", k, fault)]
    for k, truth in enumerate(truths(g.roots, g.values)):
        got = simpler[k].value
        fault = _fault(g.roots[k], got, truth, lambda k=k: truths(g.roots[k : k + 1], g.values, MANY)[0])
        if fault and (fault := _fault(g.roots[k], got, truth, lambda k=k: _repaired(g, k))):
            return [Failure(g, "rewriting", k, fault)]
    return []


def _repaired(g: Graph, root: int) -> Truth:
    """An output by the stable form of its formulas: where log(exp(x)) would overflow even in wide floats, x is right."""
    opened = open_user([g.roots[root]], named_by(STABILISE))
    return truths(rewrite(opened, STABILISE), g.values, MANY)[0]


def _fault(root: Expr, got: Any, truth: Truth, surer: Callable[[], Truth]) -> str:
    """What is wrong with a result; `surer` gives a truth of more witnesses where this one says that something is."""
    got = np.asarray(got)
    if got.dtype != truth.value.dtype or got.shape != truth.value.shape or got.dtype.name != root.dtype:
        return f"{got.dtype} {got.shape}, wanted {truth.value.dtype} {truth.value.shape}"
    if not differences(got, truth).any():
        return ""
    wrong = differences(got, surer())
    return _places(got, truth.value, wrong) if wrong.any() else ""


def _places(got: Array, wanted: Array, wrong: Array) -> str:
    places = [tuple(int(k) for k in p) for p in np.argwhere(wrong)[:4]]
    shown = ", ".join(f"{p}: {got[p]!r}, wanted {wanted[p]!r}" for p in places)
    return f"{int(wrong.sum())} of {got.size} elements: {shown}"
