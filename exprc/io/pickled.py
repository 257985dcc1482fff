"""Arrays in pickles of others, read without running anything: weights that were shared as ``.pkl`` files.

A pickle is a program for a small machine, whose instructions can call any function. The reader here knows only the instructions that make
numbers, texts, lists, tuples, dictionaries and NumPy arrays; every other one, and every name that is not on a short list, is refused. What
is on the list is never called either: sizes are checked first, then the arrays are made here.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from exprc.errors import report

LIMIT = 2 << 30


def read_pickle(path: str | os.PathLike[str], limit: int = LIMIT) -> Any:
    """Read numbers, texts, lists, tuples, dictionaries and arrays from a pickle without trusting it.

    Files of weights that were written by Python 2 are read too: texts of theirs come back as str, each byte a character.

    Parameters
    ----------
    path : a pickle of any protocol.
    limit : the most bytes that the file, and that all arrays together, may take.

    Returns
    -------
    What was pickled. Arrays are of booleans, integers, floats or complex numbers, in the machine's byte order.

    Raises
    ------
    ValueError
        The file is no pickle, is damaged, claims more than it holds or than `limit`, or holds something else: the text names it.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "weights.pkl")
    ...     _ = file.write_bytes(pickle.dumps({"param values": [np.eye(2), np.zeros(2)]}))
    ...     loaded = read_pickle(file)
    >>> [w.shape for w in loaded["param values"]]
    [(2, 2), (2,)]
    """
    path = Path(path)
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length > limit:
            fix = "give read_pickle a greater limit if the file is to be trusted"
            raise ValueError(report(f"{path}: the file has {length:,} bytes, the limit is {limit:,}", fix=fix))
        try:
            return _Reader(_Bounded(file, length), limit).load()
        except Refusal as refusal:
            fix = "only numbers, texts, lists, tuples, dictionaries and arrays are read"
            raise ValueError(report(f"{path}: the pickle {refusal}", fix=fix)) from None
        except _DAMAGE as error:
            rows = [("reason", str(error) or repr(error), "")]
            raise ValueError(report(f"{path}: the file is damaged, or no pickle", rows)) from error


class Refusal(Exception):
    """What the pickle does that is not allowed."""


_DAMAGE = (
    pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError, OverflowError, struct.error, AssertionError,
)  # fmt: skip


class _Bounded:
    """A file of which nothing is asked that it does not have, so that no claim makes a large buffer."""

    def __init__(self, file: IO[bytes], length: int):
        self.file, self.left = file, length

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise EOFError(f"it claims {size:,} bytes where {self.left:,} are left")
        self.left -= size
        return self.file.read(size)

    def readline(self) -> bytes:
        line = self.file.readline()
        self.left -= len(line)
        return line


# -- what names stand for --------------------------------------------------------------------------------------------------------------


class _Name:
    """A name on the list, as the pickle holds it before it calls it."""

    def __init__(self, text: str, make: Callable[..., Any] | None):
        self.text, self.make = text, make


_DTYPE = re.compile(r"[?]|b1|[iu][1248]|f[248]|c(8|16)")
_ORDERS = ("<", ">", "|", "=")


def _dtype(reader: _Reader, name: Any, align: Any = False, copy: Any = False) -> Any:
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise Refusal(f"holds an array of dtype {name!r}"[:200])
    return np.dtype(name, copy=True)  # type: ignore[call-overload]


def _blank(reader: _Reader, type_: Any, shape: Any, code: Any) -> Any:
    if getattr(type_, "text", "") != "numpy.ndarray":
        raise Refusal("makes an array of another class")
    return np.empty(0, np.uint8)


def _scalar(reader: _Reader, dtype: Any, data: Any) -> Any:
    return reader.array(dtype, (), data)[()]


def _from_buffer(reader: _Reader, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    made = reader.array(dtype, shape if order == "C" else tuple(reversed(shape)), data)
    return made if order == "C" else made.T


def _encode(reader: _Reader, text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refusal(f"calls _codecs.encode for {encoding!r}"[:200])
    reader.spend(len(text))
    return text.encode("latin1")


def _no_bytes(reader: _Reader) -> bytes:
    return b""


def _ordered(reader: _Reader, items: Any = ()) -> Any:
    return OrderedDict((_key(k), v) for k, v in items)


def _names() -> dict[str, _Name]:
    made: dict[str, Callable[..., Any] | None]
    made = {"numpy.dtype": _dtype, "_codecs.encode": _encode, "builtins.bytes": _no_bytes, "__builtin__.bytes": _no_bytes,
            "collections.OrderedDict": _ordered, "numpy.ndarray": None}  # fmt: skip
    for core in ("numpy.core", "numpy._core"):
        made |= {f"{core}.multiarray._reconstruct": _blank, f"{core}.multiarray.scalar": _scalar}
        made[f"{core}.numeric._frombuffer"] = _from_buffer
    return {text: _Name(text, make) for text, make in made.items()}


NAMES = _names()


def _key(key: Any) -> Any:
    """Keys are plain: the hash of a tuple a million deep would end the process."""
    if not isinstance(key, (str, bytes, int, float, type(None))):
        raise Refusal(f"has a dictionary key of type {type(key).__name__}")
    return key


# -- the machine -----------------------------------------------------------------------------------------------------------------------


class _Reader(pickle._Unpickler):  # type: ignore[misc, name-defined]
    """The machine in Python, which can be taught what to refuse; the one in C allocates what a file claims before it reads it."""

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, file: Any, limit: int):
        super().__init__(file, encoding="latin1")
        self.room = self.limit = limit

    def spend(self, size: int) -> None:
        """Count memory that repeated use of one text could multiply."""
        self.room -= size
        if self.room < 0:
            raise Refusal(f"takes more than {self.limit:,} bytes, the limit")

    def find_class(self, module: str, name: str) -> Any:
        found = NAMES.get(f"{module}.{name}")
        if found is None:
            raise Refusal(f"names {module}.{name}"[:200])
        return found

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not isinstance(function, _Name) or function.make is None or type(arguments) is not tuple:
            raise Refusal(f"calls {getattr(function, 'text', type(function).__name__)}")
        self.stack[-1] = function.make(self, *arguments)

    def load_build(self) -> None:
        state = self.stack.pop()
        what = self.stack[-1]
        if type(what) is np.ndarray:
            _, shape, dtype, fortran, data = state
            what.__setstate__((1, shape, dtype, bool(fortran), self.agreed(dtype, shape, data)))  # type: ignore[arg-type]
        elif isinstance(what, np.dtype):
            if len(state) < 5 or state[1] not in _ORDERS or any(s is not None for s in state[2:5]):
                raise Refusal("holds an array of a dtype with fields")
            what.__setstate__((3, state[1], None, None, None, -1, -1, 0))  # type: ignore[attr-defined]
        else:
            raise Refusal(f"sets the state of an object of type {type(what).__name__}")

    def agreed(self, dtype: Any, shape: Any, data: Any) -> bytes:
        """Return the bytes of an array, once its claims agree."""
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(dtype, np.dtype) or not isinstance(data, (bytes, bytearray)):
            raise Refusal("holds an array of objects")
        if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape) or len(shape) > 32:
            raise Refusal(f"holds an array of shape {shape!r}"[:200])
        if math.prod(shape) * dtype.itemsize != len(data):
            raise Refusal(f"holds an array of {dtype} {shape} in {len(data):,} bytes"[:200])
        self.spend(len(data))
        return bytes(data)

    def array(self, dtype: Any, shape: Any, data: Any) -> np.ndarray[Any, Any]:
        return np.frombuffer(self.agreed(dtype, shape, data), dtype).reshape(shape).astype(dtype.newbyteorder("="))

    def load_append(self) -> None:
        value = self.stack.pop()
        self._list().append(value)

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._list().extend(values)

    def _list(self) -> list[Any]:
        found = self.stack[-1]
        if type(found) is not list:
            raise Refusal(f"appends to an object of type {type(found).__name__}")
        return found

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        self._fill(self.pop_mark())

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._fill(items)

    def _fill(self, items: list[Any]) -> None:
        found = self.stack[-1]
        if not isinstance(found, dict):
            raise Refusal(f"sets items of an object of type {type(found).__name__}")
        found.update((_key(k), v) for k, v in zip(items[::2], items[1::2]))

    def load_bytearray(self) -> None:
        """BYTEARRAY8, which Python has fill a buffer of the size that is claimed."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def load_refused(self) -> None:
        raise Refusal("holds objects, sets or references that the reader does not know")

    def load_name(self) -> None:
        """STACK_GLOBAL: the module and the name are texts on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refusal("names something that is no text")
        self.append(self.find_class(module, name))

    dispatch: ClassVar[dict[int, Any]] = dict.fromkeys(range(256), load_refused)


#: The instructions that are taken as Python has them.
_PLAIN = """PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING
    BINSTRING SHORT_BINSTRING BINBYTES BINBYTES8 SHORT_BINBYTES UNICODE BINUNICODE BINUNICODE8 SHORT_BINUNICODE TUPLE
    TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE EMPTY_LIST LIST EMPTY_DICT PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE GLOBAL""".split()
_OWN = {
    "REDUCE": _Reader.load_reduce, "BUILD": _Reader.load_build, "APPEND": _Reader.load_append, "APPENDS": _Reader.load_appends,
    "SETITEM": _Reader.load_setitem, "SETITEMS": _Reader.load_setitems, "DICT": _Reader.load_dict, "STACK_GLOBAL": _Reader.load_name,
    "BYTEARRAY8": _Reader.load_bytearray,
}  # fmt: skip

for _code in _PLAIN:
    _Reader.dispatch[getattr(pickle, _code)[0]] = pickle._Unpickler.dispatch[getattr(pickle, _code)[0]]
for _code, _method in _OWN.items():
    _Reader.dispatch[getattr(pickle, _code)[0]] = _method
