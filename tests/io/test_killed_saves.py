"""Weights are whole at every instant: their writer is killed again and again, and what it left goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from exprc.io import load_npz, save_npz

ROOT = Path(__file__).parents[2]

KILL = """
import os, random, signal, sys, time
import numpy as np
from exprc.io import load_npz, save_npz

path, rng, changes = sys.argv[1], random.Random(1), 0

def save(value):
    begin = time.monotonic()
    save_npz(path, {"W": np.full(100_000, value), "steps": np.array(value)})
    return time.monotonic() - begin

for number in range(int(sys.argv[2])):
    if number % 20 == 0:  # the disk is not always as quick
        takes = save(changes + 1.0)
    child = os.fork()
    if child == 0:
        value = float(load_npz(path)["steps"])
        while True:
            value += 1
            save(value)
    time.sleep(rng.uniform(0.5, 4) * takes)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    loaded = load_npz(path, expected={"W": (100_000,), "steps": ()})
    assert (loaded["W"] == loaded["steps"]).all(), "half of one state, half of another"
    changes = max(changes, int(loaded["steps"]))
print(changes)
"""


def killed(path, count: int) -> int:
    """Kill writers; how many states the file went through."""
    told = [sys.executable, "-c", KILL, str(path), str(count)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(told, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def leftovers(folder) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_weights_are_whole_after_their_writer_was_killed(tmp_path):
    assert killed(tmp_path / "weights.npz", 15) > 4


@pytest.mark.long
def test_weights_are_whole_after_two_hundred_kills(tmp_path):
    assert killed(tmp_path / "weights.npz", 200) > 60
    left = leftovers(tmp_path)
    assert len(left) > 20, "else the kills came at the wrong moments"
    for path in left:
        os.utime(path, (time.time() - 4000,) * 2)
    save_npz(tmp_path / "weights.npz", {"W": np.zeros(3)})
    assert leftovers(tmp_path) == []


def test_what_killed_writers_left_is_swept_when_it_is_old(tmp_path):
    names = [".weights.npz.one.tmp", ".weights.npz.two.tmp", ".other.npz.three.tmp", "weights.npz.tmp", ".weights.npz.keep"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - 4000,) * 2)
    (tmp_path / ".weights.npz.young.tmp").write_bytes(b"half")
    save_npz(tmp_path / "weights.npz", {"W": np.zeros(3)})
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(["weights.npz", ".weights.npz.young.tmp", *names[2:]])
    assert load_npz(tmp_path / "weights.npz")["W"].shape == (3,)


FULL = """
import resource, sys
import numpy as np
from exprc.io import load_npz, save_npz
save_npz(sys.argv[1], {"W": np.ones(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_npz(sys.argv[1], {"W": np.zeros(1_000_000)})
except OSError as error:
    print(error.strerror)
assert load_npz(sys.argv[1])["W"].sum() == 10
"""


def test_weights_that_find_no_room_leave_the_old_ones(tmp_path):
    told = [sys.executable, "-c", FULL, str(tmp_path / "weights.npz")]
    done = subprocess.run(told, capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout == "File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]
