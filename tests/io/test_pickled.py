"""Pickles of arrays read without trust: what honest files hold, and what hostile ones try."""

from __future__ import annotations

import os
import pickle
import random
import resource
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exprc.io import read_pickle

ARRAYS = [
    np.arange(6, dtype="float32").reshape(2, 3), np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.array(5, "int8"), np.zeros((0, 3)),
    np.arange(4, dtype=">i4"), np.array([True, False]), np.arange(8, dtype="uint16")[::2], np.ones(3, "complex64"), np.ones(2, "float16"),
]  # fmt: skip


def written(folder: Path, text: bytes) -> Path:
    file = folder / "weights.pkl"
    file.write_bytes(text)
    return file


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_come_back(tmp_path: Path, protocol: int) -> None:
    told = {"arrays": ARRAYS, "again": ARRAYS[0], "ordered": OrderedDict(a=1, b=[2.5]), "size": np.float32(1.5), "pair": (1, (True,)),
            "text": "naïve", "bytes": b"\0\xff", "empty": b"", "large": 2**70, 3: -1.0}  # fmt: skip
    read = read_pickle(written(tmp_path, pickle.dumps(told, protocol)))
    assert list(read) == list(told) and type(read["ordered"]) is OrderedDict
    for one, two in zip(read.pop("arrays"), ARRAYS):
        assert type(one) is np.ndarray and one.dtype == two.dtype.newbyteorder("=") and one.shape == two.shape and one.flags.writeable
        np.testing.assert_array_equal(one, two)
    assert np.array_equal(read.pop("again"), ARRAYS[0])
    assert read == {k: v for k, v in told.items() if k not in ("arrays", "again")}


def test_an_array_that_is_there_twice_is_one_array(tmp_path: Path) -> None:
    w = np.zeros(3)
    one, two = read_pickle(written(tmp_path, pickle.dumps([w, w])))
    assert one is two


#: What Python 2 wrote for {'param values': [array([[1, 2, 3], [4, 5, 6]], float32)], 'model name': 'net'} (protocol 2)
PYTHON2 = (
    b"\x80\x02}q\x00(U\x0cparam valuesq\x01]q\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85q\x05U\x01bq\x06"
    b"\x87q\x07Rq\x08(K\x01K\x02K\x03\x86q\tcnumpy\ndtype\nq\nU\x02f4q\x0bK\x00K\x01\x87q\x0cRq\r(K\x03U\x01<q\x0eNNNJ\xff\xff\xff\xffJ\xff"
    b"\xff\xff\xffK\x00tq\x0fb\x89U\x18" + np.arange(1, 7, dtype="<f4").tobytes() + b"q\x10tq\x11baU\nmodel nameq\x12U\x03netq\x13u."
)


def test_weights_that_python_2_wrote(tmp_path: Path) -> None:
    read = read_pickle(written(tmp_path, PYTHON2))
    assert read["model name"] == "net"
    np.testing.assert_array_equal(read["param values"][0], [[1, 2, 3], [4, 5, 6]])


# -- hostile files


class Calls:
    """Pickles as a call of whatever is given."""

    def __init__(self, function: Any, *args: Any):
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def _text(module: str, name: str, *args: bytes) -> bytes:
    """A call by name, without the module being there; the arguments are instructions."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + b"".join(args) + b"tR."


def _unicode(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


MARKER = "EXECUTED"  # what each tries to write to standard output
SAY = f"import sys; sys.stdout.write('{MARKER}'); sys.stdout.flush()"
_array = pickle.dumps(np.array([Calls(exec, SAY)], object), 2)

HOSTILE = {
    "system": _text("os", "system", _unicode(f"echo {MARKER}")),
    "posix": _text("posix", "system", _unicode(f"echo {MARKER}")),
    "eval": pickle.dumps(Calls(eval, f"print('{MARKER}')")),
    "exec": pickle.dumps(Calls(exec, SAY), 2),
    "builtins of Python 2": _text("__builtin__", "eval", _unicode(f"print('{MARKER}')")),
    "Popen": pickle.dumps(Calls(subprocess.Popen, ["echo", MARKER])),
    "getattr": pickle.dumps(Calls(getattr, os, "system") if False else Calls(getattr, "a", "upper")),
    "import": pickle.dumps(Calls(__import__, "antigravity")),
    "partial": _text("functools", "partial", b"cbuiltins\nprint\n", _unicode(MARKER)),
    "runpy": _text("runpy", "run_path", _unicode("/dev/stdin")),
    "open": pickle.dumps(Calls(open, "planted", "w")),
    "memmap": _text("numpy", "memmap", _unicode("planted"), _unicode("u1"), _unicode("w+")),
    "an array of objects": _array,
    "fromfile": _text("numpy", "fromfile", _unicode("/dev/zero")),
    "a dotted name": b"\x80\x04" + b"\x8c\x05numpy" + b"\x8c\x0ecore.os.system" + b"\x93" + b"\x8c\x02id" + b"\x85R.",
    "ndarray itself": _text("numpy", "ndarray", b"\x8a\x05\0\0\0\0\2", _unicode("u1")),
    "bytes of a length": _text("builtins", "bytes", b"\x8a\x05\0\0\0\0\2"),
    "a new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "an old instance": b"(S'echo'\nios\nsystem\n.",
    "a persistent id": b"Psomething\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "state for a name": b"\x80\x02cnumpy\nndarray\n}b.",
    "a claim of 4 TiB": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 42) + b"x.",
    "a shape of 4 TiB": PYTHON2.replace(b"K\x02K\x03\x86", b"\x8a\x06\0\0\0\0\0\4K\x03\x86"),
    "a negative shape": PYTHON2.replace(b"K\x02K\x03\x86", b"J\xfe\xff\xff\xffJ\xfd\xff\xff\xff\x86"),
    "a dtype of objects": PYTHON2.replace(b"U\x02f4", b"U\x02O8"),
    "a dtype with fields": PYTHON2.replace(b"U\x01<q\x0eNNN", b"U\x01<q\x0eN}}"),
    "a deep key": b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.",
    "a set of itself": b"\x80\x04\x8f(K\x01\x90.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, HOSTILE[name])
    with pytest.raises(ValueError) as error:
        read_pickle(file)
    text = str(error.value)
    assert text.startswith(f"{file}: ") and ("the pickle" in text or "the file is damaged, or no pickle" in text), text
    assert MARKER not in capfd.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pkl"] and "antigravity" not in sys.modules


def test_some_of_them_would_do_harm_elsewhere() -> None:
    """Else the test above would show nothing."""
    program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    for name in ("eval", "exec", "system", "an array of objects"):
        run = subprocess.run([sys.executable, "-c", program], input=HOSTILE[name], capture_output=True, check=False)
        assert MARKER.encode() in run.stdout, name


def test_messages_name_what_was_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the pickle names os\.system\n  only numbers, texts, lists"):
        read_pickle(written(tmp_path, HOSTILE["system"]))
    with pytest.raises(ValueError, match="(?s)the file is damaged, or no pickle.*claims 4,398,046,511,104 bytes where 2 are left"):
        read_pickle(written(tmp_path, HOSTILE["a claim of 4 TiB"]))
    with pytest.raises(ValueError, match="the file has 200 bytes, the limit is 100"):
        read_pickle(written(tmp_path, b"x" * 200), limit=100)


def test_one_text_used_often_cannot_fill_the_memory(tmp_path: Path) -> None:
    """Each array is a copy of the same bytes."""
    one = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f8K\x00K\x01tRh\x01tR"
    many = b"\x80\x02U\x08abcdefghq\x010]" + (one + b"a") * 1000 + b"."
    assert len(read_pickle(written(tmp_path, many))) == 1000
    with pytest.raises(ValueError, match="takes more than"):
        read_pickle(written(tmp_path, b"\x80\x02T" + struct.pack("<I", 100_000) + b"x" * 100_000 + b"q\x010](" + (
            b"c_codecs\nencode\nh\x01\x85R" * 40) + b"e."), limit=1_000_000)  # fmt: skip


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_mutated_files_give_only_clear_errors_in_bounded_memory(tmp_path: Path, count: int) -> None:
    chance = random.Random(5)
    whole = [PYTHON2, pickle.dumps({"w": ARRAYS}, 2), pickle.dumps([ARRAYS, "text", 1.5], 5)]
    refused = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        text = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(text))
            kind = chance.randrange(3)
            if kind == 0:
                text[place] = chance.randrange(256)
            elif kind == 1:
                del text[place : place + chance.randint(1, 30)]
            else:
                text[place:place] = chance.randbytes(chance.randint(1, 8))
        try:
            read_pickle(written(tmp_path, bytes(text)))
        except ValueError as error:
            refused += 1
            assert str(tmp_path) in str(error)
    assert refused > count // 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # in KiB
