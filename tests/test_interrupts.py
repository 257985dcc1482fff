"""Ctrl-C at any moment: the user has the shell back at once, no process is left behind and nothing is half-written."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exprc.io import load_npz
from exprc.runtime.compiler import find_compiler

ROOT = Path(__file__).parents[1]
REAL = shlex.join(find_compiler().command)


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(*words: object, **environment: object) -> subprocess.Popen:
    """Start Python in a session of its own, so that the whole group gets the signal, as from a terminal."""
    told = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **{k: str(v) for k, v in environment.items()}}
    return subprocess.Popen(
        [sys.executable, *map(str, words)], env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


# While compiling

FUNCTION = """
import exprc, exprc.tensor as T
x = T.vector("x", shape=(3,))
try:
    exprc.function([x], x * 2, mode="compiled")
except KeyboardInterrupt:
    print("interrupted")
    f = exprc.function([x], x * 2, mode="compiled")
    print(f([1, 2, 3]).tolist())
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="what runs is seen in /proc")
def test_while_compiling(tmp_path):
    """The first time the compiler hangs and is interrupted; the second time the same process builds the same program."""
    cc = tmp_path / "cc"
    pids = tmp_path / "pids"
    hang = f"test -e {pids} || {{ sleep 300 & echo $$ $! > {pids}.new; echo half > program.so; mv {pids}.new {pids}; wait; }}"
    cc.write_text(f'#!/bin/sh\ncase "$*" in *program.so*) {hang};; esac\nexec {REAL} "$@"\n')
    cc.chmod(0o755)
    process = start("-c", FUNCTION, EXPRC_CC=cc, EXPRC_CACHE=tmp_path / "cache")
    until((tmp_path / "pids").exists)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("interrupted\n[2.0, 4.0, 6.0]\n", "", 0)
    assert time.monotonic() - begin < 30
    assert [pid for pid in map(int, (tmp_path / "pids").read_text().split()) if alive(pid)] == []
    assert list((tmp_path / "cache" / "build").iterdir()) == []
    (entry,) = (tmp_path / "cache" / "programs").iterdir()
    assert (entry / "program.so").stat().st_size > 1000


# In the middle of a call

CALLS = """
import signal, sys, threading
import numpy as np
import exprc, exprc.tensor as T

def stop(*_):
    raise KeyboardInterrupt

x = T.vector("x")
variables = [exprc.shared(np.zeros(6, "float32")) for _ in range(10)]
f = exprc.function([x], x + 1, updates={v: v + 1 for v in variables})
f(np.ones(6, "float32"))
signal.signal(signal.SIGALRM, stop)
for k in range(400):
    try:
        signal.setitimer(signal.ITIMER_REAL, 2e-4 + 1e-7 * (k % 100), 1)  # again, where it was swallowed
        while True:
            f(np.ones(6, "float32"))
    except KeyboardInterrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
same = len({v.get_value().tobytes() for v in variables})
free = []
other = threading.Thread(target=lambda: free.extend(v.container.lock.acquire(timeout=5) for v in variables))
other.start()
other.join()
print(all(free), same)
"""


def test_in_the_middle_of_a_call():
    """However a call ends, other threads can update the variables, and all of them are as after the same step."""
    out, err = start("-c", CALLS).communicate(timeout=120)
    assert (out, err) == ("True 1\n", "")


# While training: examples/mnist.py


FEW = "import sys, mnist; mnist.QUICK = (640, 200, 200); sys.exit(mnist.main(sys.argv[1:]))"


def train(folder: Path, *words: object, few: bool = False) -> subprocess.Popen:
    """Start the example, on few digits if asked, for more epochs than it will ever see."""
    line = ["--data", "digits", "--quick", "--model", "fc64", "--epochs", 5000, "--out", folder, *words]
    program = ["-c", FEW] if few else [ROOT / "examples" / "mnist.py"]
    return start(*program, *line, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'examples'}")


def interrupted(process: subprocess.Popen, mark: str) -> tuple[str, str, float]:
    """Send Ctrl-C when a line with `mark` has been printed; what was printed, and the seconds to the end."""
    lines = []
    while not (lines and mark in lines[-1]):
        line = process.stdout.readline()
        assert line, process.communicate()
        lines.append(line)
    time.sleep(0.05)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return "".join(lines) + out, err, time.monotonic() - begin


def test_while_training(tmp_path):
    process = train(tmp_path, few=True)
    out, err, seconds = interrupted(process, "    2 ")
    assert process.returncode == 130 and seconds < 10
    assert "Traceback" not in out + err
    last = out.splitlines()[-1]
    assert re.fullmatch(rf"interrupted in epoch \d+; --resume {re.escape(str(tmp_path))}/fc64-state.npz goes on", last), out
    epochs = int(last.split()[3].rstrip(";")) - 1
    state = load_npz(tmp_path / "fc64-state.npz")
    saved = sum(~(row != row).any() for row in state["rows"])
    assert epochs - 1 <= saved <= epochs and saved >= 2  # a signal may come while an epoch's state is being written: then the old one stays
    assert [path.name for path in tmp_path.iterdir()] == ["fc64-state.npz"]
    again = train(tmp_path, "--resume", tmp_path / "fc64-state.npz", few=True)
    out, err, _ = interrupted(again, f"{epochs + 1:5} ")
    assert again.returncode == 130 and "Traceback" not in out + err


@pytest.mark.parametrize("mark", ["drawing", pytest.param("compiling", marks=pytest.mark.long)])
def test_before_training(tmp_path, mark):
    """While the digits are drawn, and while the functions are compiled."""
    process = train(tmp_path)
    out, err, seconds = interrupted(process, mark)
    assert process.returncode == 130 and seconds < 10
    assert "Traceback" not in out + err and out.splitlines()[-1] == "interrupted before the first epoch"
    assert list(tmp_path.iterdir()) == []
