"""One array in the .npy form: a line of text that says dtype, order and shape, and the bytes.

The header is matched against the one form that NumPy writes and is never evaluated, so it can name no code; object
arrays have no dtype here (NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays").
"""

from __future__ import annotations

import math
import re
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

END = ".npy"
MAGIC = b"\x93NUMPY"
MOST_HEADER = 10_000
MOST_AXES = 32
CHUNK = 1 << 18

HEADER = re.compile(
    r"\{'descr': '(?P<dtype>[<>|][biufc]\d{1,2})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>|\d{1,19},|\d{1,19}(?:, \d{1,19})+)\), \} *\n"
)


class Claim(NamedTuple):
    """What a .npy header says; `length` is that of header and values together, in bytes."""

    dtype: np.dtype[Any]
    fortran: bool
    shape: tuple[int, ...]
    length: int


def write_array(stream: IO[bytes], array: NDArray[Any]) -> None:
    """Write an array of numbers as .npy, in C order and with its own byte order."""
    np.lib.format.write_array(stream, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def read_claim(stream: IO[bytes]) -> Claim:
    """Read a header and nothing behind it.

    Raises
    ------
    ValueError
        It is no .npy header, or one of something other than an array of numbers.
    """
    start = stream.read(8)
    if start[:6] != MAGIC or start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError("an array does not start with a .npy header")
    width = 2 if start[6] == 1 else 4
    size = int.from_bytes(stream.read(width), "little")
    if size > MOST_HEADER:
        raise ValueError(f"a .npy header of {size:,} bytes, the limit is {MOST_HEADER:,}")
    return _parse(stream.read(size).decode("latin-1"), 8 + width + size)


def _parse(text: str, before: int) -> Claim:
    match = HEADER.fullmatch(text)
    if match is None:
        raise ValueError(f"a .npy header that names no array of numbers: {text.strip()[:200]!r}")
    shape = tuple(int(number) for number in re.findall(r"\d+", match["shape"]))
    if len(shape) > MOST_AXES:
        raise ValueError(f"an array of {len(shape)} axes, the limit is {MOST_AXES}")
    dtype = _dtype(match["dtype"])
    return Claim(dtype, match["fortran"] == "True", shape, before + math.prod(shape) * dtype.itemsize)


def _dtype(text: str) -> np.dtype[Any]:
    try:
        return np.dtype(text)
    except TypeError as error:
        raise ValueError(f"a .npy header with an unknown dtype: {text!r}") from error


def read_array(stream: IO[bytes]) -> NDArray[Any]:
    """Read an array, growing no faster than its bytes come; the stream must end with it.

    Raises
    ------
    ValueError
        The header is none, or the stream holds more or less than the header says.
    """
    claim = read_claim(stream)
    size = math.prod(claim.shape) * claim.dtype.itemsize
    values = bytearray()
    while len(values) < size and (chunk := stream.read(min(CHUNK, size - len(values)))):
        values += chunk
    if len(values) < size or stream.read(1):
        raise ValueError(f"an array of {size:,} bytes with more or fewer bytes behind its header")
    array = np.frombuffer(values, claim.dtype)
    array = array.reshape(claim.shape, order="F" if claim.fortran else "C")
    return np.ascontiguousarray(array.astype(claim.dtype.newbyteorder("="), copy=False)).reshape(claim.shape)
