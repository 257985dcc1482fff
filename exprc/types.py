"""The dtypes, the one table of promotion, and the types of expressions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import nearest, report, whole_number

#: name -> the C type that holds one element. 16-bit floats are only stored (see `exprc.rewrite.half`).
C_TYPES = {
    "bool": "_Bool",
    "int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t",
    "uint8": "uint8_t", "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t",
    "float16": "half", "float32": "float", "float64": "double",
}  # fmt: skip

DTYPES = tuple(C_TYPES)
INTEGERS = tuple(d for d in DTYPES if "int" in d)
FLOATS = ("float16", "float32", "float64")

#: NumPy works the name of a dtype out anew each time, which takes longer than building a node. Byte orders have one name.
_NAMES = {kind: d for d in DTYPES for kind in (np.dtype(d), np.dtype(d).newbyteorder("S"))}


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype, checked against the table ("floatX" gives ``config.floatX``).

    >>> dtype_name(np.float32), dtype_name("i4"), dtype_name(float)
    ('float32', 'int32', 'float64')
    """
    if isinstance(dtype, str) and dtype == "floatX":
        return config.floatX
    try:
        known = _NAMES.get(np.dtype(dtype))
    except TypeError:
        fix = nearest(dtype, DTYPES) if isinstance(dtype, str) else ""
        if isinstance(dtype, (int, np.integer)):
            fix = "several lengths or axes go in one tuple: zeros((3, 4)), sum(axis=(0, 1))"
        raise TypeError(report(f"{dtype!r} is no dtype", fix=fix or f"expressions take {', '.join(DTYPES)}")) from None
    if known is None:
        name = np.dtype(dtype).name
        raise TypeError(report(f"dtype {name!r} is not supported", fix=f"expressions take {', '.join(DTYPES)}"))
    return known


def itemsize(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_integer(dtype: str) -> bool:
    """Tell whether a dtype counts: integers, not bool."""
    return dtype in INTEGERS


def promote(dtypes: Iterable[str]) -> str:
    """Return the dtype in which values of these dtypes meet.

    NumPy 2's table with two deliberate differences, so that float64 never creeps in: an integer or bool beside a float
    takes that float's dtype (NumPy: int32 with float32 gives float64), and int64 with uint64 gives ``config.floatX``.

    >>> promote(["int64", "float32"]), promote(["int8", "uint8"]), promote(["bool", "bool"])
    ('float32', 'int16', 'bool')
    """
    names = set(dtypes)
    if len(names) == 1:
        return names.pop()
    floats = [d for d in names if is_float(d)]
    name = np.result_type(*(floats or sorted(names))).name
    return config.floatX if is_float(name) and not floats else name


def float_of(dtype: str) -> str:
    """Return the dtype of mathematics on values of `dtype`: itself if a float, else ``config.floatX``."""
    return dtype if is_float(dtype) else config.floatX


def scalar_dtype(value: bool | int | float, others: Sequence[str]) -> str:
    """Return the dtype that a Python scalar takes beside arrays of the dtypes `others` (it never widens them).

    >>> scalar_dtype(2, ["int8"]), scalar_dtype(0.5, ["int8"]), scalar_dtype(1, [])
    ('int8', 'float32', 'int64')
    """
    meet = promote(others) if others else "bool"
    if isinstance(value, (bool, np.bool_)):
        return "bool" if meet == "bool" else meet
    if isinstance(value, float):
        return float_of(meet)
    return "int64" if meet == "bool" else meet


@dataclass(frozen=True)
class TensorType:
    """The type of an array expression: a dtype and a shape whose unknown dims are None.

    Parameters
    ----------
    dtype : name of a dtype (or anything `numpy.dtype` takes, or ``"floatX"``).
    shape : a tuple of int or None, one for each axis. A tuple of bool is read as Theano's `broadcastable`: True is 1.

    Examples
    --------
    >>> TensorType("float32", (None, 3))
    TensorType(float32, (?, 3))

    Calling a type makes an input variable of it (`exprc.expr` hangs that on): ``TensorType("float32", (None, 3))("x")``.
    """

    dtype: str
    shape: tuple[int | None, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", dtype_name(self.dtype))
        object.__setattr__(self, "shape", tuple(_checked_dim(d) for d in self.shape))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """For each axis, whether its length is known to be 1."""
        return tuple(d == 1 for d in self.shape)

    def __repr__(self) -> str:
        return f"TensorType({self})"

    def __str__(self) -> str:
        dims = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.dtype}, ({dims}{',' * (self.ndim == 1)})"


def _checked_dim(dim: Any) -> int | None:
    if dim is None:
        return None
    if isinstance(dim, (bool, np.bool_)):
        return 1 if dim else None
    dim = whole_number(dim, "a length of a shape", "or None, where it is not known")
    if dim < 0:
        raise ValueError(report(f"a dim must be 0 or more, not {dim}", fix="None stands for a length that is not known"))
    return dim


def tensor_type(dtype: str, shape: tuple[int | None, ...]) -> TensorType:
    """Make a `TensorType` from parts known to be good, without checking them again."""
    made = object.__new__(TensorType)
    object.__setattr__(made, "dtype", dtype)
    object.__setattr__(made, "shape", shape)
    return made


@dataclass(frozen=True)
class TupleType:
    """The type of an operation with several results; each is had by `item`."""

    items: tuple[TensorType, ...]

    def __str__(self) -> str:
        return f"tuple of ({'), ('.join(map(str, self.items))})"
