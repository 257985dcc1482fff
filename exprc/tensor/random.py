"""Streams of random numbers: expressions that give others at every call, and the same ones for the same seed."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.expr import Expr, Shared, as_expr
from exprc.forms import cast_to
from exprc.ops.formula import cast, iota, lt
from exprc.ops.random import draw
from exprc.ops.reduce import sum_
from exprc.runtime.containers import shared
from exprc.types import dtype_name, is_float

_MASK = 2**64 - 1


def _mixed(seed: int, number: int) -> int:
    """A 64-bit number that a seed and a count decide, unlike those of other seeds and counts (Steele, Lea and Flood 2014: SplitMix64)."""
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


class _Default:
    """Where streams that are made without a seed have theirs from, in the order in which they are made."""

    def __init__(self) -> None:
        self.restart(secrets.randbits(64))

    def restart(self, seed: int) -> None:
        self.seed, self.count = seed, 0

    def next(self) -> int:
        self.count += 1
        return _mixed(self.seed, self.count - 1)


_default = _Default()


def seed(value: int) -> None:
    """Decide the seeds of all streams that are made without one from now on, in the order in which they are made.

    Parameters
    ----------
    value : int from 0 to 2**64 - 1. Streams that exist already go on as they are; they have a method `seed` of their own.

    Raises
    ------
    ValueError
        for anything else.

    Examples
    --------
    >>> import exprc
    >>> exprc.seed(0)
    >>> first = exprc.function([], RandomStreams().uniform((3,)))()
    >>> exprc.seed(0)
    >>> bool((exprc.function([], RandomStreams().uniform((3,)))() == first).all())
    True
    """
    _default.restart(_checked_seed(value))


def _checked_seed(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not 0 <= int(value) <= _MASK:
        raise ValueError(f"a seed must be an int from 0 to 2**64 - 1: {value!r}")
    return int(value)


class RandomStreams:
    """Makes expressions of random numbers.

    Each draw is an expression of its own, independent of all others, with a shared state that advances at every call of a function that
    uses it (by the state's `default_update`). Within one call a draw has one value, however often it is used.

    Parameters
    ----------
    seed : int, optional
        By default one that `exprc.seed` decides, or chance.

    Notes
    -----
    The numbers come from Philox 4x32-10 (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3): element i of a call is a
    function of the draw's key and of counter + i alone, so that threads and devices have no say in it.

    Examples
    --------
    >>> srng = RandomStreams(1)
    >>> x = srng.normal((2, 3), avg=5.0)
    >>> x.type
    TensorType(float32, (2, 3))
    """

    def __init__(self, seed: int | None = None):
        self._states: list[Shared] = []
        self._seed = _default.next() if seed is None else _checked_seed(seed)

    def seed(self, seed: int) -> None:
        """Start all draws made so far anew, from another seed."""
        self._seed = _checked_seed(seed)
        for number, state in enumerate(self._states):
            state.set_value(self._first_state(number))

    def _first_state(self, number: int) -> Any:
        return np.array([_mixed(self._seed, number), 0], "uint64")

    @property
    def state_updates(self) -> list[tuple[Shared, Expr]]:
        """(state, what it becomes at each call) of every draw made so far."""
        return [(s, s.default_update) for s in self._states if s.default_update is not None]

    def _draw(self, name: str, size: Any, dtype: str) -> Expr:
        number = len(self._states)
        state = shared(self._first_state(number), name=f"random_state_{number}")
        self._states.append(state)
        x = draw(name, state[0], state[1], size, dtype)
        state.default_update = state + cast(iota(2), "uint64") * cast_to(as_expr(x.size, ("uint64",)), "uint64")
        return x

    def uniform(self, size: Any = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = None) -> Expr:
        """Return numbers that are evenly distributed between `low` (included) and `high`.

        Parameters
        ----------
        size : int, integer expression, or tuple of them
        low, high : numbers or float expressions that broadcast with `size`
            The result can be differentiated by them.
        dtype : float dtype, by default ``config.floatX``
        """
        dtype = _float("uniform", dtype)
        x = self._draw("uniform", size, dtype)
        if _is_number(low, 0) and _is_number(high, 1):
            return x
        low, high = (cast_to(as_expr(e, (dtype,)), dtype) for e in (low, high))
        return x * (high - low) + low

    def normal(self, size: Any = (), avg: Any = 0.0, std: Any = 1.0, dtype: Any = None) -> Expr:
        """Return normally distributed numbers.

        Parameters
        ----------
        size : int, integer expression, or tuple of them
        avg, std : mean and standard deviation, numbers or float expressions that broadcast with `size`
            The result can be differentiated by them.
        dtype : float dtype, by default ``config.floatX``
        """
        dtype = _float("normal", dtype)
        x = self._draw("normal", size, dtype)
        if not _is_number(std, 1):
            x = x * cast_to(as_expr(std, (dtype,)), dtype)
        return x if _is_number(avg, 0) else x + cast_to(as_expr(avg, (dtype,)), dtype)

    def binomial(self, size: Any = (), n: int = 1, p: Any = 0.5, dtype: Any = "int64") -> Expr:
        """Return how many of `n` trials succeed, each with probability `p`.

        Parameters
        ----------
        size : int, integer expression, or tuple of them
        n : int of at least 1
        p : number from 0 to 1, or float expression that broadcasts with `size`
        dtype : any dtype
        """
        if isinstance(n, Expr) or int(n) != n or n < 1:
            raise ValueError(f"binomial: n must be an int of at least 1: {getattr(n, 'label', n)}")
        if not isinstance(p, Expr) and not np.all((np.asarray(p) >= 0) & (np.asarray(p) <= 1)):
            raise ValueError(f"binomial: p must lie between 0 and 1: {p}")
        entries = tuple(size) if isinstance(size, (tuple, list)) else (size,)
        trials = lt(self._draw("uniform", entries if n == 1 else (int(n), *entries), _probability_dtype(p)), p)
        return cast_to(trials if n == 1 else sum_(trials, axis=0), dtype_name(dtype))


def _probability_dtype(p: Any) -> str:
    return p.dtype if isinstance(p, Expr) and is_float(p.dtype) else config.floatX


def _is_number(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and value == number


def _float(name: str, dtype: Any) -> str:
    made = dtype_name("floatX" if dtype is None else dtype)
    if not is_float(made):
        raise TypeError(
            report(f"{name}: numbers are drawn in a float dtype, not {made}", fix=f"{name}(...).astype({made!r})")
        )
    return made
