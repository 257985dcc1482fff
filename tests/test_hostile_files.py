"""Files that were changed at random: each reader gives arrays or its one kind of error, quickly, in bounded memory.

The readers run in a process whose address space is limited, so that a file which makes one of them ask for much memory
ends in a MemoryError there, which no reader may raise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOM = 192 << 20  # bytes of address space beyond what the process has after the imports

READERS = """
import gzip, io, json, random, resource, struct, sys, time, warnings, zipfile
from pathlib import Path
import numpy as np
from exprc.datasets import read_idx
from exprc.io import load_npz
from exprc.io.npy import read_array

LIMIT, LENGTH = 1 << 20, 60_000
rng = random.Random(7)
warnings.simplefilter("ignore", UserWarning)  # zipfile warns of a name that is there twice, and so do we, by an error

def idx(*shape, code=8):
    values = rng.randbytes(int(np.prod(shape)) * (1 if code < 10 else 4))
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values

def npz(save, **arrays):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()

def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()

ARRAYS = {"W": np.arange(60, dtype=np.float32).reshape(5, 12), "b": np.arange(12), "flag": np.array(True)}
BOMB = {"W": np.zeros(4 << 20, np.uint8)}
SEEDS = {
    "idx": [idx(4, 5, 5), idx(9), idx(3, 4, code=0x0D)],
    "idx.gz": [gzip.compress(idx(4, 5, 5)), gzip.compress(idx(9) + bytes(8 << 20)), gzip.compress(idx(7, 7)) * 2],
    "npy": [npy(a) for a in ARRAYS.values()] + [npy(np.asfortranarray(ARRAYS["W"]))],
    "npz": [npz(np.savez, **ARRAYS), npz(np.savez)],
    "npz deflated": [npz(np.savez_compressed, **ARRAYS), npz(np.savez_compressed, **BOMB)],
}

def read(kind, path):
    if kind.startswith("idx"):
        return [read_idx(path, limit=LIMIT)]
    if kind == "npy":
        return [read_array(io.BytesIO(path.read_bytes()))]
    return list(load_npz(path, limit=LIMIT).values())

LIES = [b"\\xff" * 4, b"\\x7f\\xff\\xff\\xff", b"\\0" * 4, b"\\xff" * 8, b"PK\\x01\\x02", b"PK\\x05\\x06", b"PK\\x06\\x06",
        b"\\x1f\\x8b\\x08", b"9" * 19, b"|O", b"(-1,)", b"\\x93NUMPY", b"\\0" * 64]

def mutated(content):
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(len(changed) + 1)
        if rng.random() < 0.5:  # headers and directories are where it hurts
            place = rng.choice((min(place, 60), max(0, len(changed) - 80) + place % 81))
        way = rng.randrange(7)
        if way == 0:
            del changed[place:]
        elif way == 1:
            changed[place:place] = rng.randbytes(rng.randrange(1, 40))
        elif way == 2:
            lie = rng.choice(LIES)
            changed[place : place + len(lie)] = lie
        elif way == 3:
            del changed[place : place + rng.randrange(1, 20)]
        elif way == 4:
            changed[place:place] = changed[: rng.randrange(1, 200)]
        elif changed and place < len(changed):
            changed[place] = changed[place] ^ (1 << rng.randrange(8)) if way == 5 else rng.randrange(256)
    return bytes(changed)

folder, count, room = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + room, taken + room))
path, tally, worst = folder / "file", {}, 0.0
for kind, seeds in SEEDS.items():
    valid = refused = 0
    for number in range(count):
        path.write_bytes(mutated(seeds[number % len(seeds)]))
        begin = time.perf_counter()
        try:
            arrays = read(kind, path)
        except ValueError as error:
            assert type(error) is ValueError, repr(error)
            assert kind == "npy" or str(error).startswith(f"{path}: "), error
            refused += 1
        else:
            assert kind == "npy" or sum(a.nbytes for a in arrays) <= LIMIT
            valid += 1
        worst = max(worst, time.perf_counter() - begin)
    tally[kind] = [valid, refused]
print(json.dumps({"tally": tally, "slowest": worst, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}))
"""


def hostile(tmp_path, count: int) -> dict:
    """Read `count` changed files of each kind; how many were valid and refused, and the slowest time."""
    told = [sys.executable, "-c", READERS, str(tmp_path), str(count), str(ROOM)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(told, capture_output=True, text=True, timeout=900, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    print(found)
    assert len(found["tally"]) == 5
    for kind, (valid, refused) in found["tally"].items():
        assert valid + refused == count
        assert refused > 0.4 * count, f"{kind}: changes that nobody notices show nothing"
    assert found["slowest"] < 5
    return found


linux_only = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit on memory is set from /proc")


@linux_only
def test_changed_files_give_arrays_or_a_value_error(tmp_path):
    hostile(tmp_path, 150)


@linux_only
@pytest.mark.long
def test_twenty_thousand_changed_files_give_arrays_or_a_value_error(tmp_path):
    found = hostile(tmp_path, 4000)
    assert all(valid for valid, _ in found["tally"].values()), "some changes are harmless"
