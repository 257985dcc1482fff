"""Weights in .npz files: named arrays, written whole or not at all, read within bounds.

An .npz file is a zip archive whose members are .npy files, ``W.npy`` for the array ``W`` (NumPy Enhancement Proposal
1, "A simple file format for NumPy arrays"). NumPy reads what is written here. The reader is our own, because a file of
weights comes from anywhere: no object arrays, no code, and no allocation that the file does not fill.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from exprc.errors import report
from exprc.io.npy import END, read_array, read_claim, write_array
from exprc.runtime.cache import atomic_write

LIMIT = 2 << 30
MOST_DIRECTORY = 4 << 20  # bytes of the list of members: some 40,000 arrays
MOST_INFLATION = 1033  # deflate makes at most 1032 bytes of one, and a header

Arrays = Mapping[str, Any] | Sequence[Any]


def save_npz(path: str | os.PathLike[str], values: Arrays) -> None:
    """Write named arrays to a file, which holds either all of them or what it held before.

    Parameters
    ----------
    path : the file to write; no suffix is added.
    values : a mapping from names to arrays, or a sequence of arrays, which get the names ``arr_0``, ``arr_1`` ...
        Arrays are of booleans, integers, floats or complex numbers, of any shape. Equal values make equal files.

    Raises
    ------
    TypeError
        A value is no array of numbers.
    ValueError
        A name is empty, or holds a character that cannot be printed or is a backslash.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "weights.npz")
    ...     save_npz(file, {"W": np.eye(2), "b": np.zeros(2)})
    ...     loaded = load_npz(file, expected={"W": (2, 2), "b": (2,)})
    >>> loaded["W"]
    array([[1., 0.],
           [0., 1.]])
    """
    arrays = {name: _array(name, value) for name, value in named(values).items()}
    atomic_write(path, lambda file: _write(file, arrays))


def _write(file: IO[bytes], arrays: dict[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # the date of a bare ZipInfo is always 1980, so that equal values make equal files
            with archive.open(zipfile.ZipInfo(name + END), "w", force_zip64=True) as member:
                write_array(member, array)


def load_npz(
    path: str | os.PathLike[str], expected: Arrays | None = None, limit: int = LIMIT
) -> dict[str, NDArray[Any]]:
    """Read named arrays from a file without trusting it.

    Sizes are checked before anything is allocated: what each member claims against its header, against the length of
    the file and against `limit`.

    Parameters
    ----------
    path : a file written by `save_npz`, ``np.savez`` or ``np.savez_compressed``.
    expected : what the file must hold, no more and no less: a mapping from names to shapes or to anything with a
        ``shape``, or a sequence of these, named as in `save_npz`. None accepts any arrays.
    limit : the most bytes that all arrays together may take.

    Returns
    -------
    dict
        Names to arrays, in the order of the file, or of `expected`, so that ``list(loaded.values())`` suits
        `exprc.nn.layers.set_all_param_values`.

    Raises
    ------
    ValueError
        The file is no .npz file, is damaged, claims more than it holds or than `limit`, holds something other than
        arrays of numbers, or does not fit `expected`: all differences are listed at once.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "weights.npz")
    ...     save_npz(file, [np.zeros((2, 3)), np.zeros(3)])
    ...     load_npz(file, expected=[(3, 2), (3,)])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ValueError: .../weights.npz: 1 difference from what was expected
      shape  arr_0: (2, 3) in the file, (3, 2) expected
      the file was written by another network, or by another version of this one
    """
    path = Path(path)
    with path.open("rb") as file, _damage(path):
        length = os.fstat(file.fileno()).st_size
        with zipfile.ZipFile(_Wary(file, length)) as archive:
            members = _members(path, archive, length, limit)
            claims = {name: _claim(path, archive, member) for name, member in members.items()}
            wanted = list(members)
            if expected is not None:
                wanted = _check_fit(path, {name: shape for name, (_, shape) in claims.items()}, named(expected))
            return {name: _read(archive, members[name]) for name in wanted}


def named(values: Arrays) -> dict[str, Any]:
    """The names that values are filed under: their own, or ``arr_0``, ``arr_1`` ... for a sequence.

    >>> named([10, 20])
    {'arr_0': 10, 'arr_1': 20}
    """
    if isinstance(values, Mapping):
        return dict(values)
    if not isinstance(values, Iterable) or isinstance(values, str):
        fix = "those of a network are exprc.nn.layers.get_all_param_values(layer)"
        raise TypeError(report(f"arrays are given as a dict or a list, not as {type(values).__name__}", fix=fix))
    return {f"arr_{i}": value for i, value in enumerate(values)}


def _array(name: str, value: Any) -> NDArray[Any]:
    if not isinstance(name, str) or not name.isprintable() or not name or "\\" in name:
        raise ValueError(
            report(f"save_npz: {name!r} cannot name an array", fix="a name is a printable text without backslashes")
        )
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        what = f"save_npz: {name} has dtype {array.dtype}: only numbers and booleans are written"
        raise TypeError(report(what, fix="write texts and settings to a JSON file beside it"))
    return array


# --- the archive ------------------------------------------------------------------------------------------------------


class _Wary(io.BufferedIOBase):
    """A file that refuses to be read outside of it, or in pieces larger than an honest archive needs."""

    def __init__(self, file: IO[bytes], length: int):
        self.file = file
        self.length = length

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self.length - self.file.tell())
        size = left if size is None or size < 0 else min(size, left)
        if size > MOST_DIRECTORY:
            raise ValueError(f"the list of its members takes {size:,} bytes, the limit is {MOST_DIRECTORY:,}")
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == os.SEEK_SET and not 0 <= offset <= self.length:
            raise ValueError(f"it points to byte {offset:,} of {self.length:,}")
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)


_ANOTHER = "nothing of it was loaded; take another copy of it, or write it again"
_OURS = "only files that save_npz, numpy.savez or numpy.savez_compressed wrote are read"


class _Refusal(ValueError):
    """A text that needs no more said; it leaves this file as a plain ValueError."""


def _refusal(path: Path, what: str, *rows: tuple[str, str], fix: str = "") -> _Refusal:
    return _Refusal(report(f"{path}: {what}", [(role, text, "") for role, text in rows], fix))


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Whatever the reading of an archive may raise becomes one ValueError that names the file."""
    try:
        yield
    except _Refusal as refusal:
        raise ValueError(str(refusal)) from None
    except DAMAGE as error:
        rows = ("reason", str(error) or repr(error))
        reason = _refusal(path, "the file is damaged, or no .npz file", rows, fix=_ANOTHER)
        raise ValueError(str(reason)) from error


def _members(path: Path, archive: zipfile.ZipFile, length: int, limit: int) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(END)
        if name == member.filename or name in members:
            why = "is there twice" if name in members else "is not an array"
            raise _refusal(path, f"member {member.filename!r} {why}", fix=_OURS)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            what = f"member {member.filename!r} is encrypted or compressed in an unknown way"
            raise _refusal(path, what, fix=_OURS)
        members[name] = member
    _check_sizes(path, members, length, limit)
    return members


def _check_sizes(path: Path, members: dict[str, zipfile.ZipInfo], length: int, limit: int) -> None:
    for name, member in members.items():
        inflation = 1 if member.compress_type == zipfile.ZIP_STORED else MOST_INFLATION
        if member.compress_size > length or member.file_size > inflation * member.compress_size:
            size = f"{member.file_size:,} bytes in {member.compress_size:,} of a file of {length:,}"
            raise _refusal(path, f"{name} claims more than the file can hold", ("claim", size), fix=_ANOTHER)
    total = sum(member.file_size for member in members.values())
    if total > limit:
        fix = "give load_npz a greater limit if the file is to be trusted"
        raise _refusal(path, f"the arrays take {total:,} bytes, the limit is {limit:,}", fix=fix)


def _claim(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[np.dtype[Any], tuple[int, ...]]:
    with archive.open(member) as stream:
        claim = read_claim(stream)
    if claim.length != member.file_size:
        size = f"{claim.length:,} bytes for {claim.dtype} {claim.shape}, there are {member.file_size:,}"
        raise _refusal(path, f"{member.filename} is not as long as its header says", ("claim", size), fix=_ANOTHER)
    return claim.dtype, claim.shape


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as stream:
        return read_array(stream)


# --- fitting a network ------------------------------------------------------------------------------------------------


def _check_fit(path: Path, found: dict[str, tuple[int, ...]], expected: dict[str, Any]) -> list[str]:
    """The names in the order of `expected`; every difference in one error."""
    shapes = {name: tuple(getattr(value, "shape", value)) for name, value in expected.items()}
    rows = [("missing", f"{name}: {shapes[name]}") for name in shapes if name not in found]
    rows += [("unexpected", f"{name}: {found[name]}") for name in found if name not in shapes]
    rows += [
        ("shape", f"{name}: {found[name]} in the file, {shapes[name]} expected")
        for name in shapes
        if name in found and found[name] != shapes[name]
    ]
    if rows:
        what = f"{len(rows)} difference{'s' if len(rows) > 1 else ''} from what was expected"
        fix = "the file was written by another network, or by another version of this one"
        raise _refusal(path, what, *rows, fix=fix)
    return list(shapes)
