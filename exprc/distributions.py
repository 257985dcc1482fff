"""Draws that need branches and several tries: the NumPy twin of the second half of ``kernels/c/philox.h``.

The number of the try is a word of the counter, so that a sample is still a function of the key and of its counter alone. The sources of
the methods are named in the header. At most `TRIES` tries are made, each of which succeeds with a chance of more than 0.6 (most with 0.9
and more): a draw that is left after them, with a chance below 1e-25, gets the last candidate or the mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from exprc.philox import Words, normal_of_words, open_unit, words

TRIES = 64

Array = np.ndarray[Any, Any]


def bounded(key: int, counters: Any, n: Any) -> Any:
    """Whole numbers from 0 to n - 1 as uint64, the upper half of a random 64-bit number times n; 0 for n = 0.

    >>> bounded(1, np.arange(3), np.uint64(1)).tolist()
    [0, 0, 0]
    """
    r = words(key, counters)
    n = np.asarray(n).astype(np.uint64)
    first, second, half, lower = r[0].astype(np.uint64), r[1].astype(np.uint64), np.uint64(32), np.uint64(0xFFFFFFFF)
    middle = ((first * (n & lower)) >> half) + second * (n & lower)
    other = first * (n >> half) + (middle & lower)
    return second * (n >> half) + (middle >> half) + (other >> half)


def _tried(counters: Array, given: list[Array], start: Array, step: Callable[..., tuple[Array, Array]]) -> Array:
    """Try every element until it is accepted: ``step(number, counters, *given)`` gives values and which of them are good."""
    values = start.copy()
    left = np.arange(len(values))
    for number in range(TRIES):
        if not len(left):
            break
        made, good = step(number, counters[left], *(g[left] for g in given))
        values[left[good]] = made[good]
        left = left[~good]
    return values


def _elementwise(draw: Callable[..., Array]) -> Callable[..., Any]:
    """Make a draw of flat float64 parameters one of arrays that broadcast with the counters."""

    def apply(key: int, counters: Any, *params: Any) -> Any:
        arrays = np.broadcast_arrays(np.asarray(counters).astype(np.uint64), *(np.asarray(p, "float64") for p in params))
        with np.errstate(all="ignore"):
            made = draw(int(key), *(np.ravel(a) for a in arrays))
        return made.reshape(arrays[0].shape)

    return apply


def log_factorial(k: Array) -> Array:
    """log(k!) for whole k of at least 0, by Stirling's series from 10 on."""
    k, shift = k.copy(), np.ones_like(k)
    for _ in range(10):
        small = k < 10
        k[small] += 1
        shift[small] *= k[small]
    z = 1 / k
    rest = z * (1 / 12 - z * z * (1 / 360 - z * z * (1 / 1260 - z * z / 1680)))
    return np.asarray((k + 0.5) * np.log(k) - k + 0.91893853320467274 + rest - np.log(shift))


# -- gamma -------------------------------------------------------------------------------------------------------------


@_elementwise
def gamma(key: int, counters: Array, shape: Array) -> Array:
    """Gamma samples of a shape and scale 1; NaN for a negative shape."""
    d = np.where(shape < 1, shape + 1, shape) - 1 / 3
    plain = (shape > 0) & (shape < np.inf)
    values = np.where(shape >= 0, shape, np.nan)
    drawn = _tried(counters[plain], [d[plain], shape[plain]], d[plain], lambda number, *given: _gamma_try(key, number, *given))
    values[plain] = drawn
    return values


def _gamma_try(key: int, number: int, counters: Array, d: Array, shape: Array) -> tuple[Array, Array]:
    c = 1 / np.sqrt(9 * d)
    x = normal_of_words(words(key, counters, 2 * number))
    r = words(key, counters, 2 * number + 1)
    v = (1 + c * x) * (1 + c * x) * (1 + c * x)
    good = (v > 0) & (np.log(open_unit(r[0], r[1])) < 0.5 * x * x + d - d * v + d * np.log(v))
    return np.where(shape < 1, d * v * np.exp(np.log(open_unit(r[2], r[3])) / shape), d * v), good


# -- counts ------------------------------------------------------------------------------------------------------------


def _searched(u: Array, p: Array, mean: Array, factor: Callable[[int, Any], Array]) -> Array:
    """The first k at which u is used up by p, p factor(0), p factor(0) factor(1) ...; beyond the mean and 2^-60 only rounding is left."""
    u, p, k = u.copy(), p.copy(), np.zeros_like(u)
    left = np.arange(len(u))
    number = 0
    while True:
        left = left[(u[left] > p[left]) & ((number < mean[left]) | (p[left] > 2.0**-60))]
        if not len(left):
            return k
        u[left] -= p[left]
        p[left] *= factor(number, left)
        number += 1
        k[left] = number


def _hat(r: tuple[Words, Words, Words, Words]) -> tuple[Array, Array, Array]:
    """The two numbers of a transformed rejection, and how far the first is from its ends."""
    u, v = open_unit(r[0], r[1]) - 0.5, open_unit(r[2], r[3])
    return u, v, 0.5 - np.abs(u)


@_elementwise
def poisson(key: int, counters: Array, mean: Array) -> Array:
    """Poisson samples as float64; -1 for a mean that is negative, NaN or above 2**52."""
    values = np.full(len(mean), -1.0)
    few, many = (mean >= 0) & (mean < 10), (mean >= 10) & (mean <= 2.0**52)
    r, m = words(key, counters[few]), mean[few]
    values[few] = _searched(open_unit(r[0], r[1]), np.exp(-m), m, lambda k, left: m[left] / (k + 1))
    values[many] = _tried(counters[many], [mean[many]], np.floor(mean[many]), lambda number, *given: _poisson_try(key, number, *given))
    return values


def _poisson_try(key: int, number: int, counters: Array, mean: Array) -> tuple[Array, Array]:
    b = 0.931 + 2.53 * np.sqrt(mean)
    a = -0.059 + 0.02483 * b
    scale, limit = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)
    u, v, side = _hat(words(key, counters, number))
    k = np.floor((2 * a / side + b) * u + mean + 0.43)
    chance = k * np.log(mean) - mean - log_factorial(np.maximum(k, 0))
    rest = (k >= 0) & ~((side < 0.013) & (v > side)) & (np.log(v * scale / (a / (side * side) + b)) <= chance)
    return k, ((side >= 0.07) & (v <= limit)) | rest


@_elementwise
def binomial(key: int, counters: Array, n: Array, p: Array) -> Array:
    """How many of n trials succeed, as float64; -1 for n that is negative, NaN or above 2**52, or p that is not from 0 to 1."""
    valid = (n >= 0) & (n <= 2.0**52) & (p >= 0) & (p <= 1)
    values = np.full(len(n), -1.0)
    n, q = n[valid], np.where(p > 0.5, 1 - p, p)[valid]
    made = _binomial_below_half(key, counters[valid], n, q)
    values[valid] = np.where(p[valid] > 0.5, n - made, made)
    return values


def _binomial_below_half(key: int, counters: Array, n: Array, p: Array) -> Array:
    values = np.zeros(len(n))
    few = n * p < 10
    r, m, q = words(key, counters[few]), n[few], p[few]

    def factor(k: int, left: Any) -> Array:
        return np.asarray(np.maximum(m[left] - k, 0) / (k + 1) * (q[left] / (1 - q[left])))

    found = _searched(open_unit(r[0], r[1]), np.exp(m * np.log1p(-q)), m * q, factor)
    values[few] = np.minimum(found, m)
    many, mode = ~few, np.floor((n + 1) * p)
    given = [n[many], p[many]]
    values[many] = _tried(counters[many], given, mode[many], lambda number, *given: _binomial_try(key, number, *given))
    return values


def _binomial_try(key: int, number: int, counters: Array, n: Array, p: Array) -> tuple[Array, Array]:
    spread = np.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha, limit = (2.83 + 5.1 / b) * spread, 0.92 - 4.2 / b
    slope, m = np.log(p / (1 - p)), np.floor((n + 1) * p)
    u, v, side = _hat(words(key, counters, number))
    k = np.floor((2 * a / side + b) * u + n * p + 0.5)
    inside = (k >= 0) & (k <= n)
    within = np.where(inside, k, 0)
    rest = log_factorial(m) + log_factorial(n - m) - log_factorial(within) - log_factorial(n - within) + (k - m) * slope
    return k, inside & (((side >= 0.07) & (v <= limit)) | (np.log(v * alpha / (a / (side * side) + b)) <= rest))
