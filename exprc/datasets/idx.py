"""Read IDX files (the form MNIST is published in), trusting nothing that they say about themselves.

An IDX file is two zero bytes, a byte for the dtype, a byte for the number of axes, each size as a big-endian uint32,
and the values, big-endian, the last axis fastest (LeCun, Cortes, Burges, The MNIST database, "the IDX file format").
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from exprc.errors import report

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 8
CHUNK = 1 << 18


class Header(NamedTuple):
    """What an IDX file claims to hold; `raw` are the bytes that say so."""

    raw: bytes
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_idx(
    path: str | os.PathLike[str],
    shape: tuple[int, ...] | None = None,
    sha256: str | None = None,
    limit: int = 2 << 30,
) -> NDArray[Any]:
    """Read one array from an IDX file, plain or compressed with gzip.

    The header comes first and decides how much is read: a file that claims more than `limit`, or holds more or less
    than it claims, is refused after at most the claimed bytes and one more, however far it would unpack.

    Parameters
    ----------
    path : the file; gzip is recognised by its content, not by its name.
    shape : the shape that the array must have, or None for any.
    sha256 : the checksum in hexadecimal of the whole uncompressed file, or None for no check.
    limit : the most bytes that the values may take.

    Returns
    -------
    array
        Of the dtype that the file names (uint8, int8, int16, int32, float32 or float64), in native byte order.

    Raises
    ------
    ValueError
        The file is no IDX file, is damaged, truncated or oversized, or differs from `shape` or `sha256`.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "two-idx1-ubyte")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 30, 40]))
    ...     read_idx(file)
    array([30, 40], dtype=uint8)
    """
    path = Path(path)
    with _opened(path) as stream:
        header = _header(path, stream)
        _check_claim(path, header, shape, limit)
        values = _values(path, stream, header.nbytes)
    if sha256 is not None:
        _check_content(path, header.raw, values, sha256)
    array = np.frombuffer(values, header.dtype).reshape(header.shape)
    return array.astype(header.dtype.newbyteorder("="), copy=False)


def _refusal(path: Path, what: str, *rows: tuple[str, str]) -> ValueError:
    fix = "remove the file and fetch it again; it is damaged or something else"
    return ValueError(report(f"{path}: {what}", [(role, text, "") for role, text in rows], fix))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The uncompressed content; damage that gzip reports becomes the one error of this module."""
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        try:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if packed else plain
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _refusal(path, "the compressed data is damaged", ("gzip", str(error))) from error


def _header(path: Path, stream: IO[bytes]) -> Header:
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in DTYPES or not 0 < start[3] <= MAX_AXES:
        raise _refusal(path, "not an IDX file", ("first bytes", start.hex(" ") or "none"))
    sizes = stream.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise _refusal(path, "the file ends inside its header", ("axes", str(start[3])))
    return Header(start + sizes, np.dtype(DTYPES[start[2]]), struct.unpack(f">{start[3]}I", sizes))


def _check_claim(path: Path, header: Header, shape: tuple[int, ...] | None, limit: int) -> None:
    if shape is not None and header.shape != shape:
        raise _refusal(path, "the shape is another one", ("shape", f"{header.shape}, {shape} expected"))
    if header.nbytes > limit:
        size = f"{header.nbytes:,} bytes for {header.shape}, the limit is {limit:,}"
        raise _refusal(path, "the file claims more than may be read", ("claim", size))


def _check_content(path: Path, raw: bytes, values: bytearray, sha256: str) -> None:
    found = hashlib.sha256(raw)
    found.update(values)
    if found.hexdigest() != sha256:
        rows = ("sha-256", found.hexdigest()), ("expected", sha256)
        raise _refusal(path, "the content is not the published one", *rows)


def _values(path: Path, stream: IO[bytes], claimed: int) -> bytearray:
    """Exactly `claimed` bytes; memory grows with what is really there, and the file ends behind them."""
    values = bytearray()
    while len(values) < claimed and (chunk := stream.read(min(CHUNK, claimed - len(values)))):
        values += chunk
    if len(values) < claimed:
        raise _refusal(path, "the file is truncated", ("values", f"{len(values):,} bytes, {claimed:,} claimed"))
    if stream.read(1):
        raise _refusal(path, "the file is longer than it claims", ("values", f"more than {claimed:,} bytes"))
    return values
