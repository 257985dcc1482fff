"""The fuzzer's graphs, and the fuzzer itself: that it reaches every operation, finds a planted fault, shrinks it and keeps it.

Of the 2,000 graphs of a run of ``.ci/run`` the first are in the default suite, the rest are `long`. ``python -m tests.fuzz`` runs more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exprc import tensor as T
from exprc.expr import topological
from exprc.ops import CATALOGUE
from tests.fuzz import shrink as shrinking
from tests.fuzz.batch import Failure, run
from tests.fuzz.corpus import FOLDER, keep, kept, read, text_of
from tests.fuzz.distribution import Distribution
from tests.fuzz.grow import Graph, graph
from tests.fuzz.oracle import differences, truths
from tests.fuzz.runs import batches, compiler, run_batch, search_compilers

ROOT = Path(__file__).resolve().parent.parent
#: Graphs of a run, how many of them the default suite takes, how many share a program, and how many one long test takes.
GRAPHS, DEFAULT, BATCH, PART = 2000, 200, 50, 600


def check(seeds: range, general: bool, other: str = "") -> None:
    outcome = run_batch(seeds, general, other)
    print(outcome.distribution)
    kept_texts = "\n\n".join(f"{f}\n{text_of(f.graph, g)}" for f, g in outcome.failures)
    assert not outcome.failures, f"{len(outcome.failures)} graphs of {seeds}, shrunk:\n\n{kept_texts}"


def parts(first: int, count: int) -> list[object]:
    return [pytest.param(s, g, id=f"{s[0]}-to-{s[-1]}{'-any-size' if g else ''}") for s, g in batches(first, count, BATCH)]


@pytest.mark.parametrize("seeds, general", parts(0, DEFAULT))
def test_random_graphs(seeds: range, general: bool) -> None:
    check(seeds, general)


@pytest.mark.long
@pytest.mark.parametrize("first", range(DEFAULT, GRAPHS, PART))
def test_many_random_graphs(first: int, tmp_path: Path) -> None:
    """In processes of their own, one a CPU."""
    graphs = [f"--skip={first}", f"--graphs={min(first + PART, GRAPHS)}", f"--batch={2 * BATCH}"]
    done = command_line(*graphs, f"--jobs={os.cpu_count()}", "--other=none", f"--keep={tmp_path}")
    assert done.returncode == 0, done.stdout + "\n\n".join(p.read_text(encoding="utf-8") for p in kept(tmp_path)) + done.stderr
    assert f"{min(first + PART, GRAPHS)}/" in done.stdout and "0 failures in" in done.stdout


@pytest.mark.skipif(not search_compilers(), reason="clang is not installed: there is no second compiler to compare with gcc")
@pytest.mark.filterwarnings("ignore:.*cannot build programs with OpenMP")
def test_another_compiler_gives_the_same() -> None:
    with compiler(search_compilers()):
        check(range(BATCH), False)


def test_corpus() -> None:
    """Graphs that failed once; those with sizes as arguments in a program of their own."""
    read_back = [read(path.read_text(encoding="utf-8"), path.name) for path in kept()]
    assert read_back
    for general in (False, True):
        failures = run([g for g, any_size in read_back if any_size is general], general)
        assert not failures, "\n".join(map(str, failures))


# -- what is grown


def grown(count: int) -> Distribution:
    distribution = Distribution()
    for seed in range(count):
        distribution.add(graph(seed))
    print(distribution)
    return distribution


def assert_wide(distribution: Distribution) -> None:
    assert np.median(distribution.nodes) >= 12
    assert distribution.share("any of these four") >= 0.3  # products, convolution, indexing, reductions
    assert distribution.share("gradients") >= 0.15
    assert distribution.share("wild values") >= 0.2


def test_distribution() -> None:
    distribution = grown(DEFAULT)
    assert_wide(distribution)
    assert len(distribution.rare(1)) <= 0.05 * len(CATALOGUE)


@pytest.mark.long
def test_distribution_of_a_run() -> None:
    distribution = grown(GRAPHS)
    assert_wide(distribution)
    assert distribution.rare(10) == {}


def test_a_seed_gives_one_graph() -> None:
    assert all(text_of(graph(seed), False) == text_of(graph(seed), False) for seed in range(8))


# -- the oracle


def test_most_elements_are_compared() -> None:
    found = [t for seed in range(60) for g in [graph(seed)] for t in truths(g.roots, g.values)]
    assert sum(int(t.firm.sum()) for t in found) > 0.95 * sum(t.firm.size for t in found)


def test_oracle_sees_one_wrong_digit() -> None:
    found = [t for seed in range(60) for g in [graph(seed)] if not g.wild for t in truths(g.roots, g.values)]
    floats = [t for t in found if t.value.dtype.kind == "f" and t.value.size and np.all(t.value != 0)]
    seen = np.concatenate([differences((t.value * (1 + 2e-3)).astype(t.value.dtype), t)[t.firm] for t in floats])
    assert len(floats) > 20 and seen.mean() > 0.9
    assert not any(differences(t.value, t).any() for t in found)


def test_an_index_that_rounding_takes_out_of_bounds_leaves_all_open() -> None:
    x = T.matrix("x", dtype="float32")
    y = x[T.argmax(T.log(x) - T.log(x), axis=1)]
    (truth,) = truths([y], {x: np.full((3, 4), 1.7, "float32")})
    assert not truth.firm.any()
    assert np.array_equal(truth.value, np.full((3, 4), 1.7, "float32"))


def test_a_comparison_that_raises_is_a_failure_of_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("tests.fuzz.batch.truths", broken)
    failures = run([graph(0), graph(1)])
    assert [(f.what, f.text) for f in failures] == [("oracle", "ZeroDivisionError: planted")] * 2


@pytest.mark.parametrize("name, text", [("sub", "{b} - {a}"), ("maximum", "{a} > {b} ? {a} : {b}")])
def test_a_planted_fault_is_found(name: str, text: str) -> None:
    record = CATALOGUE[name]
    before = record.c  # type: ignore[attr-defined]
    object.__setattr__(record, "c", text)
    try:
        failures = run(reached(name, 6))
    finally:
        object.__setattr__(record, "c", before)
    assert "program" in {f.what for f in failures}


def reached(name: str, count: int) -> list[Graph]:
    """The first graphs that have an operation."""
    found: list[Graph] = []
    seed = 0
    while len(found) < count:
        g = graph(seed)
        found += [g] if any(n.op.name == name for n in topological(g.roots)) else []
        seed += 1
    return found


# -- shrinking and keeping


def test_shrinking_leaves_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A make-believe fault: whatever holds a reduction of a formula."""

    def fake(graphs: list[Graph], general: bool = False) -> list[Failure]:
        (g,) = graphs
        bad = [n for n in topological(g.roots) if n.op.form == "reduce" and n.inputs[0].op.form == "formula"]
        return [Failure(g, "program", 0, "make-believe")] if bad else []

    monkeypatch.setattr(shrinking, "run", fake)
    failing = [f for seed in range(60) for f in fake([graph(seed)])]
    sizes = [len([n for n in topological(shrinking.shrink(f, False).graph.roots) if n.inputs]) for f in failing]
    assert len(sizes) > 5 and max(sizes) <= 4 and np.median(sizes) == 2


def test_texts_read_back(tmp_path: Path) -> None:
    for seed in range(40):
        g = graph(seed)
        path = keep(g, True, "two\nlines", tmp_path)
        text = path.read_text(encoding="utf-8")
        again, general = read(text, g.label)
        assert general and text_of(again, general, "two\nlines") == text
        for one, other in zip(truths(g.roots, g.values), truths(again.roots, again.values)):
            np.testing.assert_array_equal(one.value, other.value)


def test_corpus_is_never_executed() -> None:
    with pytest.raises(KeyError):
        read("n0 = __import__('os')\n")
    with pytest.raises(ValueError, match="a name is wanted"):
        read("n0 = (lambda: 0)()\n")


def command_line(*options: str) -> subprocess.CompletedProcess[str]:
    told = [sys.executable, "-m", "tests.fuzz", *options]
    return subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=False)


def test_command_line() -> None:
    done = command_line("--graphs=4", "--batch=4", "--seed=3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4/4 graphs" in done.stdout and "0 failures in" in done.stdout and FOLDER.is_dir()
