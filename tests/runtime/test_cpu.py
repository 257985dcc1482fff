"""The CPU's features, the number of threads, and loading programs: warm, damaged, forked, from several threads."""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cffi
import pytest

from exprc.errors import CompileError
from exprc.runtime import cpu, threads
from exprc.runtime.cpu import AVX2, AVX512, NEON, SCALAR, host_target, load, set_threads, thread_count

FFI = cffi.FFI()
NULL = FFI.NULL
TEXT = """
#include <stdint.h>
#define EXPORT __attribute__((visibility("default")))
static int forked;
EXPORT void exprc_set_forked(void) { forked = 1; }
EXPORT int exprc_run(void **buffers, const int64_t *sizes, char *arena, int64_t threads, int64_t *status) {
    float *x = buffers[0];
    int seen = 0;
    #pragma omp parallel num_threads((int)threads) if(!forked) reduction(+ : seen)
    seen++;
    for (int64_t i = 0; i < sizes[0]; i++) x[i] *= 2;
    status[0] = seen;
    return 7;
}
"""


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE", str(tmp_path / "cache"))
    for name in ("EXPRC_CC", "CC", "EXPRC_CPU", "EXPRC_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A cache that holds TEXT for SCALAR and what the probes found."""
    folder = tmp_path_factory.mktemp("built") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPRC_CACHE", str(folder))
        python("load([TEXT], SCALAR); host_target()")
    return folder


@pytest.fixture
def warm(built, tmp_path):
    """A copy of that cache; the path of the program in it."""
    shutil.copytree(built, tmp_path / "cache")
    (tmp_path / "cache").chmod(0o700)
    return next((tmp_path / "cache" / "programs").glob("*/program.so"))


def call(program, values=(1.0, 2.0), threads=2):
    """Run the test program; what it returned, the doubled values, the threads that took part."""
    x, status = FFI.new("float[]", list(values)), FFI.new("int64_t[1]")
    result = program.run(FFI.new("void *[]", [x]), FFI.new("int64_t[]", [len(values)]), NULL, threads, status)
    return result, list(x), status[0]


PRELUDE = """
import cffi
from exprc.runtime.cpu import SCALAR, host_target, load
FFI = cffi.FFI()
NULL = FFI.NULL
"""


def python(code: str) -> str:
    """What a new Python prints for the code, in which TEXT and `call` are known; a warning is an error there."""
    code = f"{PRELUDE}\nTEXT = {TEXT!r}\n{inspect.getsource(call)}\n{code}"
    told = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(told, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Features


def test_lanes():
    assert [t.lanes(4) for t in (AVX512, AVX2, NEON, SCALAR)] == [16, 8, 4, 2]
    assert [t.lanes(8) for t in (AVX512, AVX2, NEON, SCALAR)] == [8, 4, 2, 1]
    assert SCALAR.lanes(16) == 1


ALL = "avx2 fma f16c avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("have", "name"),
    [
        (ALL, "avx512"),
        (ALL.replace("avx512bw", ""), "avx2"),
        ("avx2 f16c", "scalar"),
        ("sse2", "scalar"),
        ("asimd", "neon"),
    ],
)
def test_the_widest_vectors_that_the_cpu_has_whole(monkeypatch, have, name):
    monkeypatch.setattr(cpu, "_features", lambda: frozenset(have.split()))
    assert host_target().name == name


def test_EXPRC_CPU_asks_for_less(monkeypatch):
    monkeypatch.setattr(cpu, "_features", lambda: frozenset(ALL.split()))
    for name in ("avx512", "AVX2", "scalar"):
        monkeypatch.setenv("EXPRC_CPU", name)
        assert host_target().name == name.lower()


def test_EXPRC_CPU_that_is_unknown(monkeypatch):
    monkeypatch.setattr(cpu, "_features", lambda: frozenset(ALL.split()))
    monkeypatch.setenv("EXPRC_CPU", "skylake")
    with pytest.raises(ValueError) as caught:
        host_target()
    assert str(caught.value) == (
        "EXPRC_CPU is 'skylake', which is none of avx512, avx2, neon, scalar\n  this CPU has avx512, avx2, scalar"
    )


def test_EXPRC_CPU_that_the_cpu_lacks(monkeypatch):
    monkeypatch.setattr(cpu, "_features", lambda: frozenset(["avx2", "fma", "f16c", "avx512f"]))
    monkeypatch.setenv("EXPRC_CPU", "avx512")
    with pytest.raises(ValueError) as caught:
        host_target()
    assert str(caught.value) == (
        "EXPRC_CPU asks for avx512, but this CPU lacks avx512bw, avx512cd, avx512dq, avx512vl\n"
        "  this CPU has avx2, scalar; or unset EXPRC_CPU"
    )


def test_only_what_all_cores_have_counts():
    assert cpu._flags_line("flags : a b c\nmodel : x\nflags\t: b c d\n") == {"b", "c"}
    assert cpu._flags_line("processor : 0\n") == frozenset()


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="compares two sources, of which this system has one")
def test_linux_and_numpy_agree_about_this_cpu():
    known = frozenset(ALL.split())
    assert cpu._numpy_features() & known == cpu._features() & known


def test_the_host_target_runs_here():
    target = host_target()
    assert target.compiler in ("gcc", "clang", "other")
    assert call(load([TEXT], target))[:2] == (7, [2.0, 4.0])


# Threads


def test_threads_come_from_the_call_then_the_environment_then_the_cpus(monkeypatch):
    monkeypatch.setattr(threads, "_quota", lambda: 0)
    assert thread_count() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert thread_count() == 3
    monkeypatch.setenv("EXPRC_THREADS", "5")
    assert thread_count() == 5
    set_threads(4)
    try:
        assert thread_count() == 4
    finally:
        set_threads(None)
    assert thread_count() == 5


def test_the_affinity_and_the_quota_of_a_container_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for quota, expected in ((0, 8), (3, 3), (20, 8)):
        monkeypatch.setattr(threads, "_quota", lambda quota=quota: quota)
        assert thread_count() == expected


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True])
def test_a_number_of_threads_that_is_none(n):
    with pytest.raises(ValueError, match="is not a number of threads"):
        set_threads(n)


@pytest.mark.parametrize("text", ["0", "many", "-2", "1.5"])
def test_EXPRC_THREADS_that_is_no_number(monkeypatch, text):
    monkeypatch.setenv("EXPRC_THREADS", text)
    with pytest.raises(ValueError, match=f"EXPRC_THREADS is '{text}', which is not a number of threads"):
        thread_count()


def test_OMP_NUM_THREADS_that_is_no_number_is_left_to_openmp(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert thread_count() >= 1


# Loading


def test_a_program_is_compiled_once():
    first, second = load([TEXT], SCALAR), load([TEXT], SCALAR)
    assert (first.cached, second.cached) == (False, True)
    assert first.compile_seconds > 0 and second.compile_seconds == 0
    assert first.path == second.path and first.path.is_file()
    assert first.source == (TEXT,)
    assert (first.path.parent / "unit0.c").read_text() == TEXT
    assert call(first) == call(second) == (7, [2.0, 4.0], 2)
    assert repr(second) == "Program(1 texts, cached)" and "compiled in" in repr(first)


def test_a_warm_start_runs_no_other_program(warm):
    code = "import subprocess; subprocess.Popen = None; print(load([TEXT], SCALAR).cached, host_target().openmp)"
    assert python(code) == "True True\n"


def test_a_hit_is_loaded_within_30_ms(warm):
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        assert load([TEXT], SCALAR).cached
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.03


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [flip, lambda p: os.truncate(p, 3000), lambda p: os.truncate(p, 0), os.unlink, lambda p: shutil.rmtree(p.parent)],
    ids=["flip", "truncate", "empty", "delete", "delete all"],
)
def test_a_damaged_program_is_never_loaded(warm, damage):
    damage(warm)
    code = "for _ in range(2): p = load([TEXT], SCALAR); print(p.cached, call(p))"
    assert python(code) == "False (7, [2.0, 4.0], 2)\nTrue (7, [2.0, 4.0], 2)\n"


def test_a_whole_entry_that_does_not_load_is_built_again(warm):
    """As after an upgrade of the system's libraries: the hash is right, the loader refuses."""
    warm.write_bytes(b"\x7fELF of another machine")
    meta = json.loads((warm.parent / "meta.json").read_text())
    meta["sha256"] = hashlib.sha256(warm.read_bytes()).hexdigest()
    (warm.parent / "meta.json").write_text(json.dumps(meta))
    assert python("p = load([TEXT], SCALAR); print(p.cached, call(p)[0])") == "False 7\n"


def test_texts_without_the_entry():
    with pytest.raises(CompileError, match=r"the program lacks an entry: .*exprc_run"):
        load(["int a;"], SCALAR)


def test_texts_that_do_not_compile_leave_no_entry(tmp_path):
    for _ in range(2):
        with pytest.raises(CompileError, match="the C compiler failed: exit status 1"):
            load(["int a( {"], SCALAR)
    assert list((tmp_path / "cache" / "programs").iterdir()) == []
    assert list((tmp_path / "cache" / "build").iterdir()) == []


def test_several_texts():
    helper = "int sum(int a, int b) { return a + b; }"
    main = TEXT.replace("return 7;", "extern int sum(int, int); return sum(3, 4);")
    program = load([main, helper], SCALAR)
    assert program.source == (main, helper) and call(program)[0] == 7


def test_the_entry_outlives_the_program_and_then_the_code_is_unloaded():
    text = TEXT.replace("return 7", "return 8")
    run = load([text], replace(SCALAR, openmp=False)).run
    path = str(cpu.cache._asked())
    gc.collect()
    buffers, sizes = FFI.new("void *[1]"), FFI.new("int64_t[1]")
    assert run(buffers, sizes, NULL, 1, FFI.new("int64_t[1]")) == 8
    if Path("/proc/self/maps").exists():
        assert path in Path("/proc/self/maps").read_text()
        del run
        gc.collect()
        assert path not in Path("/proc/self/maps").read_text()


def test_the_openmp_library_stays_when_the_last_program_goes(warm):
    code = "import gc, time; print(call(load([TEXT], SCALAR))[2]); gc.collect(); time.sleep(0.2); print('alive')"
    assert python(code) == "2\nalive\n"


def test_a_call_lets_other_threads_run():
    slow = TEXT.replace("return 7;", "extern int usleep(unsigned); usleep(300000); return 7;")
    program = load([slow], SCALAR)
    begin = time.perf_counter()
    threads = [threading.Thread(target=call, args=(program,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.perf_counter() - begin < 1.0  # one after the other would take 1.2


def test_threads_that_load_the_same_text_compile_it_once():
    programs = []
    threads = [threading.Thread(target=lambda: programs.append(load([TEXT], SCALAR))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(program.cached for program in programs) == [False, True, True, True]


FLOATS = """
import numpy as np
def subnormal(): return float(np.float64(5e-324) * np.float64(1)), float(np.float32(1e-39) * np.float32(0.5)) > 0
before = subnormal()
call(load([TEXT], host_target()))
print(before == subnormal() == (5e-324, True))
"""


def test_loading_leaves_the_floating_point_mode_of_the_process_alone(warm):
    assert python(FLOATS) == "True\n"


# Forking

FORK = """
import os, signal, time
program = load([TEXT], SCALAR)
assert call(program)[2] == {before}
child = os.fork()
if child == 0:
    signal.alarm(5)
    later = load([TEXT.replace("return 7", "return 8")], SCALAR)
    os._exit(10 * call(program)[2] + call(later)[2])
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), call(program)[2])
"""


def test_a_forked_child_stays_serial_and_does_not_hang(warm):
    assert python(FORK.format(before=2)) == "11 2\n"


def test_a_child_forked_before_any_program_was_loaded_has_threads(warm):
    code = """
import os
child = os.fork()
if child == 0:
    os._exit(call(load([TEXT], SCALAR))[2])
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(code) == "2\n"


def test_workers_of_a_forked_pool(warm):
    code = """
import multiprocessing
program = load([TEXT], SCALAR)
call(program)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(work, [1.0, 2.0]).get(timeout=5))
"""
    code = "def work(value): return call(program, [value])[1:]\n" + code
    assert python(code) == "[([2.0], 1), ([4.0], 1)]\n"


def test_without_openmp_the_pragmas_are_serial():
    assert call(load([TEXT], replace(SCALAR, openmp=False)), threads=8) == (7, [2.0, 4.0], 1)
