"""Cold starts at the same moment, and builders killed in the middle: each program is built once, and none is ever half there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exprc.runtime.compiler import find_compiler

ROOT = Path(__file__).parents[2]
REAL = shlex.join(find_compiler().command)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """An empty cache, and a compiler that notes which programs it links."""
    for name in ("CC", "EXPRC_CC_TIMEOUT", "EXPRC_CACHE_BYTES"):
        monkeypatch.delenv(name, raising=False)
    script = tmp_path / "cc"
    script.write_text(f'#!/bin/sh\ncase "$*" in *program.so*) cat unit0.c | cksum >> {tmp_path}/log;; esac\nexec {REAL} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("EXPRC_CC", str(script))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("EXPRC_CACHE", str(tmp_path / "cache"))
    return tmp_path


# Many processes at once: one forks them all, before it has compiled anything, so that imports do not make up the time

START = """
import os, sys, warnings
warnings.simplefilter("error")
import exprc, exprc.tensor as T

children, (go, start) = [], os.pipe()
for factor in map(float, sys.argv[1:]):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(start)
        os.read(go, 1)  # returns when the parent closes the other end: all go at the same moment
        x = T.vector("x", shape=(3,))
        f = exprc.function([x], (T.tanh(x) * factor).sum(), mode="compiled")
        os.write(into, b"%.3f" % f([1, 2, 3]))
        os._exit(0)
    os.close(into)
    children.append((child, out))
os.close(start)
for child, out in children:
    said = os.read(out, 100).decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(said)
"""


def cold_start(machine, factors: list[float]) -> list[str]:
    """Start a process for each factor on an empty cache; what they print. What was built is in the log."""
    environment = {**os.environ, "EXPRC_CACHE": str(machine / f"cache-{time.monotonic_ns()}")}
    (machine / "log").write_text("")
    told = [sys.executable, "-c", START, *map(str, factors)]
    done = subprocess.run(told, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.split()
    assert len(said) == len(factors)
    return said


def builds(machine) -> list[int]:
    """How often each program was built, by the checksum of its text."""
    lines = (machine / "log").read_text().splitlines()
    return [lines.count(line) for line in sorted(set(lines))]


def test_processes_that_start_together_build_a_program_once(machine):
    said = cold_start(machine, [1.0] * 4 + [2.0])
    assert len(set(said)) == 2
    assert builds(machine) == [1, 1]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_twenty_cold_starts_of_sixteen_processes_build_a_program_once(machine):
    for round_ in range(20):
        said = cold_start(machine, [float(round_ + 1)] * 16)
        assert len(set(said)) == 1
        assert builds(machine) == [1]


def test_two_programs_are_built_at_the_same_time(machine):
    """Each build waits until the other has begun: if one had to wait for the other's end, neither would ever end."""
    met = f"n=0; while [ $(wc -l < {machine}/log) -lt 2 ] && [ $n -lt 1000 ]; do sleep 0.02; n=$((n+1)); done"
    script = machine / "cc"
    script.write_text(script.read_text().replace(";; esac", f"; {met};; esac"))
    begin = time.monotonic()
    assert len(set(cold_start(machine, [1.0, 2.0]))) == 2
    assert builds(machine) == [1, 1] and time.monotonic() - begin < 20


# Builders that are killed. One process forks them all, so that a kill costs milliseconds.

KILL = """
import os, random, signal, sys, time
from pathlib import Path
import cffi
from exprc.runtime import cache, compiler
from exprc.runtime.compiler import SCALAR

EXPORT = '__attribute__((visibility("default")))'
LOOP = "float f%d(float *x, int n) { float s = 0; for (int i = 0; i < n; i++) s += x[i] * %d.0f; return s; }"

def texts(number):
    bodies = "\\n".join(LOOP % (k, k + number) for k in range(30))
    return [f"{bodies}\\n{EXPORT} int number(void) {{ return {number}; }}"]

def built(number):
    key = compiler.key(texts(number), SCALAR)
    return cache.build(key, lambda folder: compiler.compile_shared(texts(number), SCALAR, folder))

def check(entry, number):
    ffi = cffi.FFI()
    ffi.cdef("int number(void);")
    library = ffi.dlopen(str(entry.program))
    assert library.number() == number
    ffi.dlclose(library)

built(10**6)
rng, halves = random.Random(0), 0
for number in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.setsid()
        built(number)
        os._exit(0)
    time.sleep(rng.uniform(0.03, 0.35))
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    halves += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    found = cache.lookup(compiler.key(texts(number), SCALAR))
    if found:
        check(found, number)
    check(built(number), number)

root = Path(os.environ["EXPRC_CACHE"])
left = list((root / "build").iterdir())
for path in [*left, *(root / "locks").iterdir()]:
    os.utime(path, (time.time() - 4000,) * 2)
built(10**6 + 1)
print("killed", halves, "left", len(left), "after", len(list((root / "build").iterdir())), len(list((root / "locks").iterdir())))
"""


def killed_builders(machine, count: int) -> tuple[int, int]:
    """Kill builders at random moments; how many were in the middle, and how many folders they left before the sweep."""
    told = [sys.executable, "-c", KILL, str(count)]
    environment = {**os.environ, "EXPRC_CC": REAL}
    done = subprocess.run(told, capture_output=True, text=True, timeout=1100, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    halves, left, after, locks = map(int, re.findall(r"\d+", done.stdout))
    assert (after, locks) == (0, 1), "what they left is swept when it is old; the lock of the last build is not"
    print(done.stdout)
    return halves, left


def test_killed_builders_leave_nothing_that_loads_wrongly(machine):
    killed_builders(machine, 4)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_two_hundred_killed_builders_leave_nothing_that_loads_wrongly(machine):
    halves, left = killed_builders(machine, 200)
    assert halves > 50 and left > 10, "else the kills came too late to show anything"
