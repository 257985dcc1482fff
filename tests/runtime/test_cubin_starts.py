"""Starts that are killed while they compile CUDA: what the cache holds afterwards is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: A compiler that takes a while, and writes its result in two halves.
SLOW = """#!/bin/sh
case "$*" in *--version*) echo slow 1.0; exit;; esac
sleep 0.04
head -c 3000 unit0.cu > program.cubin
sleep 0.06
tail -c +3001 unit0.cu >> program.cubin
sleep 0.02
"""

STARTS = """
import os, random, signal, sys, time
from pathlib import Path
from exprc.runtime import cache, cubin

def text(number):
    return f"// {number}\\n" * 1000

def check(code, number):
    assert code == text(number).encode(), (number, len(code))

cubin.find_cuda_compiler()
rng, halves, whole = random.Random(0), 0, 0
for number in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.setsid()
        cubin.load_cubin(text(number), "sm_90")
        os._exit(0)
    time.sleep(rng.uniform(0.0, 0.3))
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        os.kill(child, signal.SIGKILL)
    halves += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    found = cache.lookup(cubin.key(text(number), "sm_90"), cache.CUBIN)
    if found:
        whole += 1
        check(found.program.read_bytes(), number)
    check(cubin.load_cubin(text(number), "sm_90").code, number)
for number in range(int(sys.argv[1])):
    again = cubin.load_cubin(text(number), "sm_90")
    assert again.cached
    check(again.code, number)

root = Path(os.environ["EXPRC_CACHE"])
for path in [*(root / "build").iterdir(), *(root / "locks").iterdir()]:
    os.utime(path, (time.time() - 4000,) * 2)
cubin.load_cubin("another", "sm_90")
print("killed", halves, "whole", whole, "left", len(list((root / "build").iterdir())))
"""


@pytest.mark.parametrize("count", [6, pytest.param(40, marks=pytest.mark.long)])
def test_killed_starts_leave_the_cache_whole(tmp_path, count):
    script = tmp_path / "nvcc"
    script.write_text(SLOW)
    script.chmod(0o755)
    own = {"EXPRC_NVCC": str(script), "EXPRC_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    told = [sys.executable, "-c", STARTS, str(count)]
    done = subprocess.run(told, capture_output=True, text=True, timeout=300, env={**os.environ, **own}, check=False)
    assert done.returncode == 0, done.stderr
    killed, whole, left = map(int, re.findall(r"\d+", done.stdout))
    print(done.stdout)
    assert left == 0, "what they left is swept when it is old"
    assert count < 40 or killed > 10, "else the kills came too late to show anything"
