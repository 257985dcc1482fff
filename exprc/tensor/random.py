"""Streams of random numbers: expressions that give others at every call, and the same ones for the same seed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.expr import Expr, Shared, as_expr
from exprc.forms import Formula, cast_to, node_rows
from exprc.ops.axes import expand_dims
from exprc.ops.create import shape_of
from exprc.ops.formula import cast, clip, iota, log, log1p, lt, where
from exprc.ops.random import binomial, bounded, draw, draw_with, poisson, standard_gamma
from exprc.ops.reduce import sum_
from exprc.ops.rounding import floor
from exprc.ops.sort import argsort
from exprc.ops.take import take, take_along_axis
from exprc.ops.view import dim_of, reshape
from exprc.runtime.containers import shared
from exprc.tensor.draws import (
    check_choice,
    cut_normal,
    float_dtype,
    floats,
    is_number,
    outcome,
    outcome_marked,
    positive_exponential,
    probabilities,
    product,
    require,
    size_of,
    wider,
)
from exprc.types import dtype_name, is_float, is_integer

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
        self.restart(int.from_bytes(os.urandom(8), "little"))

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
        text = f"a seed must be an int from 0 to 2**64 - 1: {value!r}"
        raise ValueError(report(text, fix="for example 1234; without one a seed is drawn anew in every process"))
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

    All draws take

    size : int, integer expression, tuple of them, or an integer vector expression of known length
        By default the shape in which the parameters meet. What has parameters as arrays must broadcast to `size`.
    ndim : int, optional
        The number of axes: for a vector as `size` whose length is unknown, else a check.

    Parameters that are known while building are checked then. Of those that only a call knows, a wrong one gives NaN, or -1 where counts
    are drawn.

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

    # -- the state

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

    def get_state(self) -> list[Any]:
        """Return the states of all draws made so far: arrays of two numbers, the key and the counter of the next call."""
        return [state.get_value() for state in self._states]

    def set_state(self, states: Sequence[Any]) -> None:
        """Put all draws made so far where they were when `get_state` gave `states`.

        Raises
        ------
        ValueError
            if they are not as many, or not what `get_state` gives.
        """
        made = [np.asarray(s) for s in states]
        if len(made) != len(self._states) or any(s.shape != (2,) or s.dtype != "uint64" for s in made):
            text = f"set_state takes the states of {len(self._states)} draws, uint64 arrays of two numbers, not {len(made)} of {states!r}"
            raise ValueError(report(text, fix="make the same draws in the same order, then give what get_state() returned"))
        for state, value in zip(self._states, made):
            state.set_value(value)

    def _new_state(self) -> Shared:
        number = len(self._states)
        state = shared(self._first_state(number), name=f"random_state_{number}")
        self._states.append(state)
        return state

    def _drawn(self, make: Callable[[Expr, Expr], Expr]) -> Expr:
        """Draw what `make` makes of a key and a counter; the state goes on by as many elements."""
        state = self._new_state()
        x = make(state[0], state[1])
        state.default_update = state + cast(iota(2), "uint64") * cast_to(as_expr(x.size, ("uint64",)), "uint64")
        return x

    def _draw(self, name: str, size: Any, dtype: str) -> Expr:
        """Uniform or normal numbers; those of float16 are drawn as float32, uniform ones with the 11 bits that stay below 1."""
        if dtype in ("float32", "float64"):
            return self._drawn(lambda key, counter: draw(name, key, counter, size, dtype))
        x = self._drawn(lambda key, counter: draw(name, key, counter, size, "float32"))
        return cast_to(floor(x * 2048.0) / 2048.0 if name == "uniform" else x, dtype)

    def _draw_with(self, op: Formula, params: Sequence[Expr], size: Any) -> Expr:
        return self._drawn(lambda key, counter: draw_with(op, key, counter, params, size))

    # -- floats

    def uniform(self, size: Any = None, low: Any = 0.0, high: Any = 1.0, dtype: Any = None, ndim: int | None = None) -> Expr:
        """Return numbers that are evenly distributed between `low` (included) and `high`.

        Parameters
        ----------
        low, high : numbers or float expressions that broadcast to `size`
            The result can be differentiated by them.
        dtype : float dtype, by default ``config.floatX``
        """
        dtype = float_dtype("uniform", dtype)
        low_, high_ = floats(dtype, low, high)
        x = self._draw("uniform", size_of("uniform", size, ndim, low_, high_), dtype)
        return x if is_number(low, 0) and is_number(high, 1) else x * (high_ - low_) + low_

    def normal(self, size: Any = None, avg: Any = 0.0, std: Any = 1.0, dtype: Any = None, ndim: int | None = None) -> Expr:
        """Return normally distributed numbers.

        Parameters
        ----------
        avg, std : mean and standard deviation, numbers or float expressions that broadcast to `size`
            The result can be differentiated by them.
        dtype : float dtype, by default ``config.floatX``

        Raises
        ------
        ValueError
            for a negative `std`.
        """
        dtype = float_dtype("normal", dtype)
        require("normal", "std", std, lambda v: v >= 0, "at least 0")
        avg_, std_ = floats(dtype, avg, std)
        x = self._draw("normal", size_of("normal", size, ndim, avg_, std_), dtype)
        x = x if is_number(std, 1) else x * std_
        return x if is_number(avg, 0) else x + avg_

    def truncated_normal(
        self, size: Any = None, avg: Any = 0.0, std: Any = 1.0, low: Any = None, high: Any = None, dtype: Any = None,
        ndim: int | None = None,
    ) -> Expr:  # fmt: skip
        """Return numbers of a normal distribution cut off at both sides.

        Parameters
        ----------
        avg, std : mean and standard deviation before the cut, numbers or float expressions that broadcast to `size`
        low, high : where it is cut, the same; by default 2 standard deviations from `avg`
        dtype : float dtype, by default ``config.floatX``

        Notes
        -----
        The inverse of the distribution function at a uniform number, in float64, mirrored to the side where that is exact; good to 37
        standard deviations from `avg`.
        """
        dtype = float_dtype("truncated_normal", dtype)
        require("truncated_normal", "std", std, lambda v: v > 0, "above 0")
        avg_, std_ = floats("float64", avg, std)
        low_, high_ = (avg_ + side * std_ if e is None else floats("float64", e)[0] for e, side in ((low, -2.0), (high, 2.0)))
        if not any(isinstance(e, Expr) or e is None for e in (low, high)) and not np.all(np.asarray(low) < np.asarray(high)):
            raise ValueError(report(f"truncated_normal: low must be below high: {low} and {high}"))
        u = self._draw("uniform", size_of("truncated_normal", size, ndim, avg_, std_, low_, high_), "float64")
        return cast_to(clip(avg_ + std_ * cut_normal(u, (low_ - avg_) / std_, (high_ - avg_) / std_), low_, high_), dtype)

    def exponential(self, size: Any = None, scale: Any = 1.0, dtype: Any = None, ndim: int | None = None) -> Expr:
        """Return exponentially distributed numbers of mean `scale`: ``-scale * log(1 - u)``, u uniform."""
        dtype = float_dtype("exponential", dtype)
        require("exponential", "scale", scale, lambda v: v >= 0, "at least 0")
        (scale_,) = floats(wider(dtype), scale)
        x = -log1p(-self._draw("uniform", size_of("exponential", size, ndim, scale_), wider(dtype)))
        return cast_to(x if is_number(scale, 1) else x * scale_, dtype)

    def laplace(self, size: Any = None, loc: Any = 0.0, scale: Any = 1.0, dtype: Any = None, ndim: int | None = None) -> Expr:
        """Return numbers of the Laplace distribution, exponential to both sides of `loc`."""
        dtype = float_dtype("laplace", dtype)
        require("laplace", "scale", scale, lambda v: v >= 0, "at least 0")
        loc_, scale_ = floats(wider(dtype), loc, scale)
        u = self._draw("uniform", size_of("laplace", size, ndim, loc_, scale_), wider(dtype)) * 2.0
        return cast_to(where(lt(u, 1), -log1p(-u), log1p(1 - u)) * scale_ + loc_, dtype)

    def gumbel(self, size: Any = None, loc: Any = 0.0, scale: Any = 1.0, dtype: Any = None, ndim: int | None = None) -> Expr:
        """Return numbers of the Gumbel distribution: ``loc - scale * log(-log(u))``, u uniform; all finite."""
        dtype = float_dtype("gumbel", dtype)
        require("gumbel", "scale", scale, lambda v: v >= 0, "at least 0")
        loc_, scale_ = floats(wider(dtype), loc, scale)
        u = self._draw("uniform", size_of("gumbel", size, ndim, loc_, scale_), wider(dtype))
        return cast_to(loc_ - scale_ * log(positive_exponential(u)), dtype)

    def gamma(self, size: Any = None, shape: Any = 1.0, scale: Any = 1.0, dtype: Any = None, ndim: int | None = None) -> Expr:
        """Return gamma distributed numbers of mean ``shape * scale`` (Marsaglia and Tsang 2000), drawn in float64.

        The result can be differentiated by `scale`, not by `shape`.
        """
        dtype = float_dtype("gamma", dtype)
        require("gamma", "shape", shape, lambda v: v >= 0, "at least 0")
        require("gamma", "scale", scale, lambda v: v >= 0, "at least 0")
        shape_, scale_ = floats("float64", shape, scale)
        x = self._draw_with(standard_gamma, [shape_], size_of("gamma", size, ndim, shape_, scale_))
        return cast_to(x if is_number(scale, 1) else x * scale_, dtype)

    def beta(self, size: Any = None, a: Any = 1.0, b: Any = 1.0, dtype: Any = None, ndim: int | None = None) -> Expr:
        """Return beta distributed numbers: ``x / (x + y)`` of gamma distributed x and y of shapes `a` and `b`.

        Both must be above 0. Below about 0.01 both x and y may be too small for a float64; then the result is NaN.
        """
        dtype = float_dtype("beta", dtype)
        for name, value in (("a", a), ("b", b)):
            require("beta", name, value, lambda v: v > 0, "above 0")
        a_, b_ = floats("float64", a, b)
        dims = size_of("beta", size, ndim, a_, b_)
        x, y = (self._draw_with(standard_gamma, [shape], dims) for shape in (a_, b_))
        return cast_to(x / (x + y), dtype)

    # -- counts and whole numbers

    def binomial(self, size: Any = None, n: Any = 1, p: Any = 0.5, dtype: Any = "int64", ndim: int | None = None) -> Expr:
        """Return how many of `n` trials succeed, each with probability `p`.

        Parameters
        ----------
        n : int of at least 0 (to 2**52), or integer expression that broadcasts to `size`
        p : number from 0 to 1, or float expression that broadcasts to `size`
        dtype : any dtype

        Raises
        ------
        ValueError
            if `n` is negative or no whole number, or `p` is not from 0 to 1.
        """
        require("binomial", "n", n, lambda v: (v >= 0) & (v == np.floor(v)), "a whole number of at least 0")
        require("binomial", "p", p, lambda v: (v >= 0) & (v <= 1), "between 0 and 1")
        given = p.dtype if isinstance(p, Expr) and is_float(p.dtype) else config.floatX
        n_, p_ = as_expr(n), floats(given, p)[0]
        dims = size_of("binomial", size, ndim, n_, p_)
        if is_number(n, 1):
            return cast_to(lt(self._draw("uniform", dims, given), p_), dtype_name(dtype))
        return cast_to(self._draw_with(binomial, [n_, p_], dims), dtype_name(dtype))

    def bernoulli(self, size: Any = None, p: Any = 0.5, dtype: Any = "int64", ndim: int | None = None) -> Expr:
        """Return 1 with probability `p`, else 0: `binomial` of one trial."""
        return self.binomial(size, 1, p, dtype, ndim)

    def poisson(self, size: Any = None, lam: Any = 1.0, dtype: Any = "int64", ndim: int | None = None) -> Expr:
        """Return Poisson distributed counts of mean `lam`, from 0 to 2**52."""
        require("poisson", "lam", lam, lambda v: (v >= 0) & (v <= 2.0**52), "from 0 to 2**52")
        (mean,) = floats("float64", lam)
        return cast_to(self._draw_with(poisson, [mean], size_of("poisson", size, ndim, mean)), dtype_name(dtype))

    def integers(self, size: Any = None, low: Any = 0, high: Any = None, dtype: Any = "int64", ndim: int | None = None) -> Expr:
        """Return whole numbers from `low` to ``high - 1``, all equally likely; with `low` alone from 0 to ``low - 1``.

        Parameters
        ----------
        low, high : ints, or integer expressions that broadcast to `size`
        dtype : integer dtype, by default int64

        Raises
        ------
        ValueError
            if there is no number between them, where they are known.
        TypeError
            if they, or `dtype`, are no integers.
        """
        if high is None:
            low, high = 0, low
        return self._whole("integers", size, low, high, dtype, ndim)

    def random_integers(self, size: Any = None, low: Any = 0, high: Any = 1, dtype: Any = "int64", ndim: int | None = None) -> Expr:
        """Return whole numbers from `low` to `high`, which is included, all equally likely."""
        return self._whole("random_integers", size, low, high + 1, dtype, ndim)

    def _whole(self, name: str, size: Any, low: Any, high: Any, dtype: Any, ndim: int | None) -> Expr:
        made = dtype_name(dtype)
        low_, high_ = as_expr(low, ("int64",)), as_expr(high, ("int64",))
        if not all(is_integer(d) for d in (made, low_.dtype, high_.dtype)):
            text = f"{name}: integers are drawn between integers, not {made} between {low_.dtype} and {high_.dtype}"
            raise TypeError(report(text, fix="cast the bounds, or the result"))
        if not isinstance(low, Expr) and not isinstance(high, Expr) and not np.all(np.asarray(low) < np.asarray(high)):
            ends = "random_integers takes both ends" if name == "random_integers" else "high itself is left out"
            raise ValueError(report(f"{name}: no number is at least {low} and below {high}", fix=ends))
        low_, high_ = cast_to(low_, "int64"), cast_to(high_, "int64")
        count = cast_to(high_, "uint64") - cast_to(low_, "uint64")
        drawn = self._draw_with(bounded, [count], size_of(name, size, ndim, low_, high_))
        return cast_to(cast_to(drawn, "int64") + low_, made)

    # -- choices

    def multinomial(self, size: Any = None, n: Any = 1, pvals: Any = None, dtype: Any = "int64", ndim: int | None = None) -> Expr:
        """Return how often each of k outcomes comes in `n` draws.

        Parameters
        ----------
        size : as for all draws, without the axis of outcomes; by default the axes of `pvals` before its last
        n : int of at least 0, or integer scalar expression
        pvals : float, shape (..., k): probabilities, which sum to 1 along the last axis
        dtype : any dtype

        Returns
        -------
        shape (*size, k)

        Raises
        ------
        ValueError
            if known probabilities are negative or do not sum to 1.
        """
        require("multinomial", "n", n, lambda v: (v >= 0) & (v == np.floor(v)), "a whole number of at least 0")
        p = probabilities("multinomial", pvals)
        dims = size_of("multinomial", size, ndim, p[..., 0])
        if is_number(n, 1):
            return cast_to(outcome_marked(self._draw("uniform", dims, "float64"), p), dtype_name(dtype))
        trials = outcome_marked(self._draw("uniform", (*dims, n), "float64"), expand_dims(p, p.ndim - 1))
        return cast_to(sum_(trials, axis=trials.ndim - 2), dtype_name(dtype))

    def choice(
        self, size: Any = None, a: Any = 2, replace: bool = True, p: Any = None, dtype: Any = "int64", ndim: int | None = None
    ) -> Expr:
        """Return elements of `a` chosen at random.

        Parameters
        ----------
        size : as for all draws; by default one element
        a : int or integer scalar expression n, which stands for 0 ... n - 1; or an array, chosen from along its first axis
        replace : whether an element can come more than once
        p : float vector of probabilities, one an element, which sum to 1; by default all are equally likely
        dtype : integer dtype of the result where `a` is a number

        Notes
        -----
        Without `replace` the elements are those with the smallest ``e / p``, e exponentially distributed, in that order (Efraimidis and
        Spirakis 2006), which is as if they were drawn one after the other. Sorting is left to the host.
        """
        values = a if isinstance(a, Expr) or np.ndim(a) == 0 else as_expr(a)
        from_array = isinstance(values, Expr) and values.ndim > 0
        n = dim_of(values, 0) if from_array else values
        dims = size_of("choice", size, ndim)
        weights = None if p is None else probabilities("choice", p)
        check_choice(n, weights, dims, replace)
        if replace:
            index = self.integers(dims, 0, n) if weights is None else outcome(self._draw("uniform", dims, "float64"), weights)
        else:
            index = reshape(self._order((n,), weights)[: product(dims)], dims)
        return take(values, index, axis=0) if from_array else cast_to(index, dtype_name(dtype))

    def multinomial_wo_replacement(self, size: Any = None, n: int = 1, pvals: Any = None, dtype: Any = "int64") -> Expr:
        """Return `n` different outcomes for each row of probabilities, as if drawn one after the other.

        Parameters
        ----------
        size : taken for Theano's sake; must be None
        n : int of at least 1
        pvals : float, shape (m, k): probabilities, which sum to 1 along the last axis

        Returns
        -------
        shape (m, n), numbers from 0 to k - 1
        """
        if size is not None:
            raise ValueError(report(f"multinomial_wo_replacement: the rows of pvals give the size, not {size!r}", fix="leave out size"))
        p = probabilities("multinomial_wo_replacement", pvals)
        k = p.type.shape[-1]
        if p.ndim != 2 or n < 1 or (k is not None and n > k):
            text = f"multinomial_wo_replacement: {n} different outcomes cannot be drawn from probabilities {p.type}"
            raise ValueError(report(text, node_rows((p,)), "pvals has a row for each draw and a column for each outcome"))
        return cast_to(self._order(shape_of(p), p)[:, :n], dtype_name(dtype))

    def _order(self, dims: Any, weights: Expr | None) -> Expr:
        """Numbers along the last axis in random order; of larger weights rather in front, of 0 last."""
        u = self._draw("uniform", dims, "float64")
        return argsort(u if weights is None else positive_exponential(u) / weights, axis=-1)

    def permutation(self, size: Any = None, n: Any = 1, dtype: Any = "int64", ndim: int | None = None) -> Expr:
        """Return random permutations of 0 ... n - 1.

        Parameters
        ----------
        size : how many, as for all draws; by default one
        n : int or integer scalar expression

        Returns
        -------
        shape (*size, n)
        """
        require("permutation", "n", n, lambda v: (v >= 0) & (v == np.floor(v)), "a whole number of at least 0")
        return cast_to(self._order((*size_of("permutation", size, ndim), n), None), dtype_name(dtype))

    def shuffle_row_elements(self, input: Any) -> Expr:
        """Return an array with the elements of each row (along the last axis) in random order, another one for each row."""
        x = as_expr(input)
        if x.ndim == 0:
            raise ValueError(report("shuffle_row_elements: a scalar has no rows", node_rows((x,))))
        return take_along_axis(x, self._order(shape_of(x), None), -1)
