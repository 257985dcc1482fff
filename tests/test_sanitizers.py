"""The address and undefined-behaviour sanitizers over the C of the catalogue and of 500 random graphs.

A child process compiles with both sanitizers (in one build: each program is compiled once) and runs the matrix of the catalogue and the
fuzzer's graphs; whatever the sanitizers say on its standard error is a failure. Undefined behaviour does not end the child, so that one
run names all places; a wrong address does. ``python -m tests.test_sanitizers matrix 0 40`` is such a child, in an `environment()`.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GRAPHS = 500
#: Operations, and graphs, that one child takes: few enough to bound the memory, which the address sanitizer holds back for a while.
OPERATIONS, SEEDS = 60, 125
#: With -O1 a program takes half as long to compile, and fewer wrong reads are optimised away before they can be seen.
SANITIZE = "-O1 -fsanitize=address,undefined,float-cast-overflow"


@functools.cache
def runtime_library() -> str:
    """The address sanitizer's library, which must be in the process before all others; '' where gcc has none."""
    try:
        asked = ["gcc", "-print-file-name=libasan.so"]
        name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
    return name if os.path.isabs(name) else ""


def environment(folder: Path) -> dict[str, str]:
    """What a child runs in: the flags, the library, and malloc for Python's own objects, so that arrays have guarded ends."""
    sanitizing = folder / "cc"  # a script, so that its flags come last
    sanitizing.write_text(f'#!/bin/sh\nexec env -u LD_PRELOAD gcc "$@" {SANITIZE}\n', encoding="utf-8")
    sanitizing.chmod(0o700)
    return {
        **os.environ, "EXPRC_CC": str(sanitizing), "EXPRC_CACHE": str(folder / "cache"),
        "LD_PRELOAD": runtime_library(), "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=16:allocator_may_return_null=1", "UBSAN_OPTIONS": "print_stacktrace=0",
    }  # fmt: skip


def child(what: str, first: str, last: str) -> None:
    """Run a part of the catalogue, or of the graphs; what comes out is compared by other tests."""
    if what == "matrix":
        from exprc.ops import CATALOGUE
        from tests.ops.matrix import run

        names = [*CATALOGUE][int(first) : int(last)]
        for start in range(0, len(names), 6):
            print(*names[start : start + 6], file=sys.stderr, flush=True)
            run(names[start : start + 6], True, False)
    else:
        from tests.fuzz.batch import program_of
        from tests.fuzz.grow import graph

        for start in range(int(first), int(last), 25):
            print(f"graphs from {start}", file=sys.stderr, flush=True)
            graphs = [graph(seed) for seed in range(start, min(start + 25, int(last)))]
            f, _ = program_of(graphs, general=start % 4 == 3)
            f(*(v for g in graphs for v in g.values.values()))
    print("done")


def reports(what: str, first: int, last: int, folder: Path) -> list[str]:
    """What the sanitizers say of a child, each with the operations or graphs that it was at."""
    told = [sys.executable, "-m", "tests.test_sanitizers", what, str(first), str(last)]
    done = subprocess.run(told, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False, timeout=900)
    found, at = [], ""
    for line in done.stderr.splitlines():
        if re.search(r"runtime error:|ERROR: AddressSanitizer|AddressSanitizer:DEADLYSIGNAL", line):
            found.append(f"{at}: {line}")
        elif not line.startswith((" ", "=", "#")):
            at = line[:160]
    if done.returncode or "done" not in done.stdout:
        found.append(f"the child ended with {done.returncode}: {done.stderr[-3000:]}")
    return found


def parts(count: int, size: int) -> list[tuple[int, int]]:
    return [(k, min(k + size, count)) for k in range(0, count, size)]


needs_library = pytest.mark.skipif(not runtime_library(), reason="gcc has no address sanitizer here (libasan is not installed)")


def operations() -> list[tuple[int, int]]:
    from exprc.ops import CATALOGUE

    return parts(len(CATALOGUE), OPERATIONS)


@pytest.mark.long
@needs_library
@pytest.mark.parametrize("first, last", operations())
def test_operations_are_clean(first: int, last: int, tmp_path: Path) -> None:
    assert reports("matrix", first, last, tmp_path) == []


@pytest.mark.long
@needs_library
@pytest.mark.parametrize("first, last", parts(GRAPHS, SEEDS))
def test_graphs_are_clean(first: int, last: int, tmp_path: Path) -> None:
    assert reports("graphs", first, last, tmp_path) == []


PLANTED = """
import numpy as np
import exprc, exprc.tensor as T
from exprc.ops import CATALOGUE
x = T.vector("x", dtype="int64", shape=(16,))
record = CATALOGUE["add"]
object.__setattr__(record, "c", {text!r})
print(exprc.function([x], x + 1, mode="compiled")(np.full(16, 2**62 + 5)))
"""


@needs_library
@pytest.mark.parametrize("text, report", [("{a} << ({b} + 70)", "shift exponent"), ("(&{a})[4096]", "AddressSanitizer")])
def test_sanitizers_see_a_planted_fault(text: str, report: str, tmp_path: Path) -> None:
    told = [sys.executable, "-c", PLANTED.format(text=text)]
    done = subprocess.run(told, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=120)
    assert report in done.stderr, done.stdout + done.stderr


if __name__ == "__main__":
    child(*sys.argv[1:])
