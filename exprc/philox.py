"""Random numbers from a counter: the NumPy twin of ``kernels/c/philox.h``.

Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
section 3.3). A sample is a pure function of a key and a counter, both 64-bit: the interpreter, the C
code and any number of threads draw the same numbers, in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Words = np.ndarray[Any, np.dtype[np.uint32]]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85


def _round(block: list[npt.NDArray[np.uint64]], key: tuple[int, int]) -> list[npt.NDArray[np.uint64]]:
    """One round on four words (each in the low half of a uint64)."""
    first, second = _MULTIPLIERS[0] * block[0], _MULTIPLIERS[1] * block[2]
    return [
        (second >> _HALF) ^ block[1] ^ np.uint64(key[0]),
        second & _LOW,
        (first >> _HALF) ^ block[3] ^ np.uint64(key[1]),
        first & _LOW,
    ]


def philox4x32(counter: npt.ArrayLike, key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Stir a counter of four 32-bit words under a key of two.

    Parameters
    ----------
    counter : array of four words (or of four arrays of words), the lowest first.
    key : two words, the lowest first.

    Returns
    -------
    Four uint32 arrays, each with the shape of one counter word.

    >>> [hex(int(w)) for w in philox4x32([0, 0, 0, 0], (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    block = [np.asarray(word, dtype=np.uint64) for word in np.asarray(counter, dtype=np.uint64)]
    for number in range(10):
        bumped = [(k + number * w) & 0xFFFFFFFF for k, w in zip(key, _WEYL, strict=True)]
        block = _round(block, (bumped[0], bumped[1]))
    return tuple(word.astype(np.uint32) for word in block)  # type: ignore[return-value]


def words(key: int, counters: npt.ArrayLike, number: int = 0) -> tuple[Words, Words, Words, Words]:
    """The four random words of every counter.

    Parameters
    ----------
    key : integer below 2**64.
    counters : array of integers below 2**64, any shape.
    number : which try it is, where a draw may need several; the third word of the counter.

    Returns
    -------
    Four uint32 arrays of that shape.

    >>> [int(w) for w in words(7, 0)] == [int(w) for w in words(7, 0)]
    True
    """
    counters = np.asarray(counters).astype(np.uint64)
    zero = np.zeros_like(counters)
    key = int(key) & 0xFFFFFFFFFFFFFFFF
    return philox4x32([counters & _LOW, counters >> _HALF, zero + np.uint64(number), zero], (key & 0xFFFFFFFF, key >> 32))


def _fraction(high: Words, low: Words) -> npt.NDArray[np.float64]:
    """The 53-bit integer made of 27 bits of `high` and 26 bits of `low`."""
    return (high >> np.uint32(5)).astype(np.float64) * 2.0**26 + (low >> np.uint32(6)).astype(np.float64)


def uniform(key: int, counters: npt.ArrayLike, dtype: npt.DTypeLike = "float32") -> npt.NDArray[np.floating]:
    """Uniform samples in [0, 1), bit for bit those of the C code.

    Parameters
    ----------
    key : integer below 2**64.
    counters : array of integers below 2**64, any shape.
    dtype : float32 (24 random bits) or float64 (53 random bits).

    >>> float(uniform(0, 0)) == (0x6627e8d5 >> 8) / 2**24
    True
    """
    first, second, _, _ = words(key, counters)
    if np.dtype(dtype) == np.float64:
        return np.asarray(_fraction(first, second) * 2.0**-53)
    return np.asarray((first >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24))


def _cos_turns(turn: Words, below: Words) -> npt.NDArray[np.float64]:
    """cos(2 pi t) for t = turn / 2**32 plus 23 bits of `below`, reduced exactly to an eighth of a turn."""
    quarter = (turn + np.uint32(0x20000000)) >> np.uint32(30)
    rest = (turn - (quarter << np.uint32(30))).view(np.int32).astype(np.float64)
    angle = (rest * 2.0**-30 + (below >> np.uint32(9)).astype(np.float64) * 2.0**-53) * (np.pi / 2)
    value = np.where(quarter & np.uint32(1), np.sin(angle), np.cos(angle))
    return np.where((quarter + np.uint32(1)) & np.uint32(2), -value, value)


def normal_of_words(r: tuple[Words, Words, Words, Words]) -> npt.NDArray[np.float64]:
    """The standard normal sample that four random words give."""
    return np.asarray(np.sqrt(-2.0 * np.log((_fraction(r[0], r[1]) + 1.0) * 2.0**-53)) * _cos_turns(r[2], r[3]))


def open_unit(high: Words, low: Words) -> npt.NDArray[np.float64]:
    """Uniform samples in (0, 1), neither end included."""
    return np.asarray((_fraction(high, low) + 0.5) * 2.0**-53)


def normal(key: int, counters: npt.ArrayLike, dtype: npt.DTypeLike = "float32") -> npt.NDArray[np.floating]:
    """Standard normal samples, within 4 ulp of those of the C code.

    ``sqrt(-2 log a) cos(2 pi t)`` (Box and Muller, "A note on the generation of random normal
    deviates", 1958), evaluated in float64.

    Parameters
    ----------
    key : integer below 2**64.
    counters : array of integers below 2**64, any shape.
    dtype : float32 or float64.

    >>> normal(3, [0, 1, 2]).shape
    (3,)
    """
    r = words(key, np.atleast_1d(counters))
    if np.dtype(dtype) == np.float64:
        value = normal_of_words(r)
    else:
        a = ((r[0] >> np.uint32(1)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-31)
        value = np.sqrt(-2.0 * np.log(a.astype(np.float64))) * _cos_turns(r[1], np.zeros_like(r[1]))
    return np.asarray(value.astype(dtype).reshape(np.shape(counters)))
