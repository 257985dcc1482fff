"""Runs of many graphs: batches of seeds, each compiled, compared and shrunk; what the command line and the suite share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fuzz.batch import Failure, run
from tests.fuzz.distribution import Distribution
from tests.fuzz.grow import Graph, graph
from tests.fuzz.shrink import shrink

#: Every so many batches one is compiled with its sizes as arguments.
GENERAL = 4


@dataclass
class Outcome:
    """What some batches gave: the failures, shrunk, each with whether its sizes were arguments."""

    distribution: Distribution = field(default_factory=Distribution)
    failures: list[tuple[Failure, bool]] = field(default_factory=list)

    def join(self, other: Outcome) -> None:
        self.distribution.join(other.distribution)
        self.failures += other.failures


def batches(first: int, count: int, size: int) -> list[tuple[range, bool]]:
    """Seeds in batches, and whether the sizes of a batch are arguments of its program."""
    starts = range(first, first + count, size)
    return [(range(s, min(s + size, first + count)), s // size % GENERAL == GENERAL - 1) for s in starts]


def run_batch(seeds: Sequence[int], general: bool, other: str = "", shrunk: bool = True) -> Outcome:
    """Grow the graphs of some seeds, and compare; with a second compiler, its programs too."""
    outcome = Outcome()
    graphs = []
    for seed in seeds:
        try:
            graphs.append(graph(seed))
            outcome.distribution.add(graphs[-1])
        except Exception as error:  # a reference or a shape rule that fails where it must not
            outcome.failures.append((Failure(Graph(f"seed {seed}", [], {}, 0, False), "growing", 0, repr(error)), general))
    failures = run(graphs, general, outcome.distribution.tally)
    if other:
        with compiler(other):
            failures += [Failure(f.graph, f"{f.what} of {other}", f.root, f.text) for f in run(graphs, general)]
    outcome.failures += [(shrink(f, general) if shrunk and other not in f.what.split() else f, general) for f in failures]
    return outcome


def search_compilers() -> str:
    """A second compiler, if there is one beside the default."""
    names = ["clang", *(f"clang-{version}" for version in range(22, 13, -1))]
    return next((found for name in names if (found := shutil.which(name))), "")


@contextmanager
def compiler(command: str) -> Iterator[None]:
    """Compile with another compiler for the length of a block."""
    before = os.environ.get("EXPRC_CC")
    os.environ["EXPRC_CC"] = command
    try:
        yield
    finally:
        os.environ.pop("EXPRC_CC")
        if before is not None:
            os.environ["EXPRC_CC"] = before
