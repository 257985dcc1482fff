"""What was grown, counted and printed, so that nobody has to believe that the fuzzer reaches what it is meant to."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from exprc.expr import Expr, topological
from exprc.forms import Kernel, Reduce
from exprc.ops import CATALOGUE
from tests.fuzz.batch import Tally
from tests.fuzz.grow import Graph

_PRODUCTS = {"gemm"}
_INDEXING = {"gather", "scatter", "subtensor", "place", "mixed_index", "one_a_row"}


class Distribution:
    """Counts over graphs; nodes are those of the graph as it was grown, without leaves and without gradients."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.dtypes: Counter[str] = Counter()
        self.nodes: list[int] = []
        self.all_nodes: list[int] = []
        self.tally = Tally()

    def add(self, graph: Graph) -> None:
        built = _inner(graph.roots[: graph.built])
        self.nodes.append(len(built))
        self.all_nodes.append(len(_inner(graph.roots)))
        self.operations.update(n.op.name for n in _inner(graph.roots) if n.op.name in CATALOGUE)
        self.dtypes.update({x.dtype for x in graph.roots})
        self.kinds.update(_kinds(graph, built))

    def join(self, other: Distribution) -> None:
        """Add the counts of another."""
        self.operations += other.operations
        self.kinds += other.kinds
        self.dtypes += other.dtypes
        self.nodes += other.nodes
        self.all_nodes += other.all_nodes
        self.tally.compared += other.tally.compared
        self.tally.open += other.tally.open

    @property
    def graphs(self) -> int:
        return len(self.nodes)

    def share(self, kind: str) -> float:
        return self.kinds[kind] / max(1, self.graphs)

    def rare(self, least: int) -> dict[str, int]:
        """Operations of the catalogue that came up fewer than `least` times."""
        return {name: self.operations[name] for name in CATALOGUE if self.operations[name] < least}

    def __str__(self) -> str:
        counts = sorted((self.operations[name], name) for name in CATALOGUE)
        shares = ", ".join(f"{kind} {100 * n / max(1, self.graphs):.0f} %" for kind, n in self.kinds.most_common())
        seen = max(1, self.tally.compared + self.tally.open)
        return "\n".join([
            f"graphs      {self.graphs}, of {_quantiles(self.nodes)} nodes, with their gradients {_quantiles(self.all_nodes)}",
            f"with        {shares}",
            f"outputs     {', '.join(f'{d} {n}' for d, n in self.dtypes.most_common())}",
            f"operations  all {len(counts)} of the catalogue, {sum(n for n, _ in counts)} nodes; "
            f"the rarest: {', '.join(f'{name} {n}' for n, name in counts[:5])}",
            f"elements    {self.tally.compared} compared, {100 * self.tally.open / seen:.2f} % left open because rounding decides them",
        ])  # fmt: skip


def _inner(roots: Sequence[Expr]) -> list[Expr]:
    return [n for n in topological(roots) if n.op.form != "leaf"]


def _quantiles(counts: Sequence[int]) -> str:
    ordered = sorted(counts) or [0]
    return f"{ordered[0]} to {ordered[-1]} (median {statistics.median(ordered):g})"


def _kinds(graph: Graph, built: Iterable[Expr]) -> set[str]:
    kinds = {"wild values"} if graph.wild else set()
    kinds |= {"gradients"} if graph.built < len(graph.roots) else set()
    kinds |= {"unknown dims"} if any(None in x.type.shape for x in graph.values) else set()
    for n in built:
        kinds |= {"products"} if n.op.name in _PRODUCTS else set()
        kinds |= {"convolution or pooling"} if isinstance(n.op, Kernel) and "window" in n.params or "dilation" in n.params else set()
        kinds |= {"indexing"} if n.op.name in _INDEXING else set()
        kinds |= {"reductions"} if isinstance(n.op, Reduce) else set()
    if kinds & {"products", "convolution or pooling", "indexing", "reductions"}:
        kinds.add("any of these four")
    return kinds
