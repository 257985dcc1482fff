"""Every draw: distributed as it says, the same compiled and interpreted and on any number of threads, and clear where it cannot be.

Seeds are fixed, so nothing here happens by chance. The bounds: ``sqrt(n) D < 1.95`` of Kolmogorov and Smirnov, exceeded by a right
distribution once in 1,000 times; a chi-square within 4 standard deviations of its degrees of freedom.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import philox
from exprc.distributions import log_factorial
from exprc.tensor.random import _mixed

N = 20_000


def normal_cdf(z: Any) -> Any:
    return np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(z)


def gamma_cdf(shape: float) -> Any:
    """For a whole shape: that of a sum of exponential numbers."""
    return lambda x: 1 - np.exp(-x) * sum(x**k / math.factorial(k) for k in range(int(shape)))


def truncated(low: float, high: float) -> Any:
    a, b = normal_cdf(low), normal_cdf(high)
    return lambda z: (normal_cdf(z) - a) / (b - a)


def tail(low: float) -> Any:
    return lambda z: 1 - np.vectorize(math.erfc)(z / math.sqrt(2)) / math.erfc(low / math.sqrt(2))


#: name -> (the draw, its distribution function, mean, standard deviation)
FLOATS: dict[str, tuple[Any, Any, float, float]] = {
    "uniform": (lambda r, n, **k: r.uniform(n, -1.0, 3.0, **k), lambda x: (x + 1) / 4, 1, 4 / math.sqrt(12)),
    "normal": (lambda r, n, **k: r.normal(n, 2.0, 0.5, **k), lambda x: normal_cdf((x - 2) / 0.5), 2, 0.5),
    "truncated": (lambda r, n, **k: r.truncated_normal(n, **k), truncated(-2, 2), 0, 0.879626),
    "lopsided": (lambda r, n, **k: r.truncated_normal(n, 1.0, 2.0, -0.5, 9.0, **k), lambda x: truncated(-0.75, 4)((x - 1) / 2),
                 1.7785, 1.436),
    "tail": (lambda r, n, **k: r.truncated_normal(n, low=5.0, high=np.inf, **k), tail(5.0), 5.186504, 0.179),
    "exponential": (lambda r, n, **k: r.exponential(n, 3.0, **k), lambda x: 1 - np.exp(-x / 3), 3, 3),
    "laplace": (lambda r, n, **k: r.laplace(n, 1.0, 2.0, **k),
                lambda x: np.where(x < 1, 0.5 * np.exp(np.minimum(x - 1, 0) / 2), 1 - 0.5 * np.exp(-np.maximum(x - 1, 0) / 2)),
                1, math.sqrt(8)),
    "gumbel": (lambda r, n, **k: r.gumbel(n, 1.0, 2.0, **k), lambda x: np.exp(-np.exp(-(x - 1) / 2)),
               1 + 2 * 0.5772157, 2 * math.pi / math.sqrt(6)),
    "gamma": (lambda r, n, **k: r.gamma(n, 3.0, 0.5, **k), lambda x: gamma_cdf(3)(2 * x), 1.5, math.sqrt(0.75)),
    "gamma of 1/2": (lambda r, n, **k: r.gamma(n, 0.5, 2.0, **k), lambda x: 2 * normal_cdf(np.sqrt(x)) - 1, 1, math.sqrt(2)),
    "beta": (lambda r, n, **k: r.beta(n, 2.0, 1.0, **k), lambda x: x**2, 2 / 3, math.sqrt(1 / 18)),
}  # fmt: skip

P = [0.1, 0.0, 0.5, 0.15, 0.25]


def binomial_chances(n: int, p: float) -> Any:
    k = np.arange(n + 1.0)
    logs = log_factorial(np.array([float(n)])) - log_factorial(k) - log_factorial(n - k) + k * math.log(p) + (n - k) * math.log(1 - p)
    return np.exp(logs)


def poisson_chances(mean: float) -> Any:
    k = np.arange(4.0 * mean + 20)
    return np.exp(k * math.log(mean) - mean - log_factorial(k))


#: name -> (the draw, the chance of 0, 1, 2 ...)
COUNTS: dict[str, tuple[Any, Any]] = {
    "coin": (lambda r, n: r.bernoulli(n, 0.3), [0.7, 0.3]),
    "ten": (lambda r, n: r.binomial(n, 10, 0.3, dtype="int32"), binomial_chances(10, 0.3)),
    "most of twenty": (lambda r, n: r.binomial(n, 20, 0.9), binomial_chances(20, 0.9)),
    "many": (lambda r, n: r.binomial(n, 300, 0.4), binomial_chances(300, 0.4)),
    "rare": (lambda r, n: r.poisson(n, 0.7), poisson_chances(0.7)),
    "at the limit of two methods": (lambda r, n: r.poisson(n, 10.0), poisson_chances(10.0)),
    "often": (lambda r, n: r.poisson(n, 85.5), poisson_chances(85.5)),
    "die": (lambda r, n: r.random_integers(n, 1, 6) - 1, [1 / 6] * 6),
    "seven": (lambda r, n: r.integers(n, 7), [1 / 7] * 7),
    "choice": (lambda r, n: r.choice(n, 9), [1 / 9] * 9),
    "choice with p": (lambda r, n: r.choice(n, 5, p=P), P),
    "outcome": (lambda r, n: r.multinomial(n, 1, P).argmax(-1), P),
    "of five": (lambda r, n: r.multinomial(n, 7, P)[:, 2], binomial_chances(7, 0.5)),
    "position in a permutation": (lambda r, n: r.permutation(n, 6)[:, 2], [1 / 6] * 6),
    "second of two different": (lambda r, n: r.multinomial_wo_replacement(n=2, pvals=np.tile([0.2, 0.3, 0.5], (n, 1)))[:, 1],
                                [0.2 * (0.3 / 0.7 + 0.5 / 0.5), 0.3 * (0.2 / 0.8 + 0.5 / 0.5), 0.5 * (0.2 / 0.8 + 0.3 / 0.7)]),
}  # fmt: skip


@functools.cache
def drawn(mode: str, n: int = N) -> dict[str, Any]:
    """All draws, n numbers of each, in one function."""
    r = T.RandomStreams(2024)
    made = {f"{name} {d}": draw(r, n, dtype=d) for name, (draw, *_) in FLOATS.items() for d in ("float32", "float64")}
    made |= {name: draw(r, n) for name, (draw, _) in COUNTS.items()}
    return dict(zip(made, exprc.function([], list(made.values()), mode=mode)()))


def smirnov(x: Any, cdf: Any) -> float:
    ranks = np.arange(len(x) + 1) / len(x)
    at = np.asarray(cdf(np.sort(x).astype("float64")))
    return math.sqrt(len(x)) * max(np.max(ranks[1:] - at), np.max(at - ranks[:-1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_distributed_as_they_say(name: str, dtype: str) -> None:
    x, (_, cdf, mean, std) = drawn("compiled")[f"{name} {dtype}"], FLOATS[name]
    assert x.dtype == dtype and x.shape == (N,) and np.isfinite(x).all()
    assert smirnov(x, cdf) < 1.95
    assert abs(x.mean(dtype="float64") - mean) < 4 * std / math.sqrt(N)
    assert abs(x.std(dtype="float64") / std - 1) < 0.05


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_distributed_as_they_say(name: str) -> None:
    x, chances = drawn("compiled")[name], np.asarray(COUNTS[name][1])
    assert x.dtype == ("int32" if name == "ten" else "int64") and x.min() >= 0
    found, wanted = np.bincount(x, minlength=len(chances)), N * chances
    assert found[: len(chances)].sum() == N and np.all(found[: len(chances)][chances == 0] == 0)
    often = wanted >= 8
    parts = [*zip(found[: len(wanted)][often], wanted[often]), (found[: len(wanted)][~often].sum(), max(wanted[~often].sum(), 1e-9))]
    square = sum((f - w) ** 2 / w for f, w in parts if w > 1)
    freedom = sum(w > 1 for _, w in parts) - 1
    assert square < freedom + 4 * math.sqrt(2 * freedom) + 2


def test_compiled_draws_are_those_of_the_interpreter() -> None:
    """Which draws fewer: the first ones are the same, however many there are."""
    for name, x in drawn("reference", 300).items():
        got = drawn("compiled")[name][:300]
        if x.dtype.kind == "i":
            np.testing.assert_array_equal(got, x, err_msg=name)
        else:
            error = 2e-5 if x.dtype == "float32" else 1e-10
            np.testing.assert_allclose(got, x, error, error, err_msg=name)


def test_threads_have_no_say() -> None:
    r = T.RandomStreams(3)
    draws = [r.uniform((300, 301)), r.normal((100_001,)), r.poisson((50_000,), 20.0), r.gamma((50_000,), 0.7), r.binomial((50_000,), 99)]
    f = exprc.function([], draws)
    first, values = r.get_state(), []
    try:
        for threads in (1, 2, 3):
            exprc.set_threads(threads)
            r.set_state(first)
            values.append(f())
    finally:
        exprc.set_threads(None)
    for one, two, three in zip(*values):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_draws_are_independent_of_each_other() -> None:
    """Draws of one stream, of streams with neighbouring seeds, and calls one after the other."""
    n = 40_000
    r, other = T.RandomStreams(10), T.RandomStreams(11)
    f = exprc.function([], [r.uniform((n,)), r.uniform((n,)), other.uniform((n,))])
    numbers = np.array([*f(), *f()])
    assert np.abs(np.corrcoef(numbers) - np.eye(6)).max() < 4.5 / math.sqrt(n)
    for a in range(6):
        for b in range(a):
            cells = np.histogram2d(numbers[a], numbers[b], bins=8, range=[[0, 1], [0, 1]])[0]
            assert abs(((cells - n / 64) ** 2).sum() / (n / 64) - 63) < 4.5 * math.sqrt(126)


def test_permutations_choices_and_shuffles_hold_what_they_should() -> None:
    r = T.RandomStreams(4)
    n, x = T.lscalar("n"), T.matrix("x")
    a = np.array([5.0, 7.0, 11.0, 13.0])
    outputs = [
        r.permutation((3,), n), r.permutation(n=4), r.shuffle_row_elements(x), r.choice((4,), n, replace=False), r.choice((2, 3), a),
        r.choice((4,), a, replace=False, p=[0.0, 0.2, 0.5, 0.3]), r.choice((3,), x), r.multinomial(n=n, pvals=x),
        r.multinomial_wo_replacement(n=3, pvals=x), r.choice(a=n),
    ]  # fmt: skip
    value = np.array([[0.25, 0.25, 0.5], [0.2, 0.2, 0.6]], "float32")
    perm, one, rows, four, of_a, weighted, of_x, counts, different, single = exprc.function([n, x], outputs)(6, value)
    assert perm.shape == (3, 6) and np.all(np.sort(perm) == np.arange(6)) and sorted(one) == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.sort(rows), np.sort(value))
    assert len(set(four)) == 4 and set(four) <= set(range(6))
    assert of_a.shape == (2, 3) and set(of_a.ravel()) <= set(a)
    assert sorted(weighted) == sorted(a) and weighted[-1] == 5.0  # what has no chance comes last
    assert of_x.shape == (3, 3) and all(any(np.array_equal(row, v) for v in value) for row in of_x)
    assert counts.shape == (2, 3) and counts.sum(1).tolist() == [6, 6]
    assert np.all(np.sort(different) == np.arange(3)) and single.shape == () and 0 <= single < 6


def test_parameters_as_arrays_make_the_size() -> None:
    r = T.RandomStreams(4)
    lam, std = T.vector("lam"), T.dmatrix("std")
    counts, x, y, sized = r.poisson(lam=lam), r.normal(std=std), r.binomial(n=np.array([[5], [9]]), p=lam / 100), r.normal((2, 3), avg=lam)
    f = exprc.function([lam, std], [counts, x, y, sized])
    values = f(np.array([0, 1, 50], "float32"), np.zeros((2, 3)))
    assert [v.shape for v in values] == [(3,), (2, 3), (2, 3), (2, 3)]
    assert values[0][0] == 0 and values[0][2] > 20 and np.all(values[1] == 0)
    assert np.all(values[2][:, 0] == 0) and np.all(values[2] <= [[5], [9]])
    assert len(np.unique(values[3])) == 6


def test_sizes_of_every_kind() -> None:
    r = T.RandomStreams(4)
    v, w, n = T.lvector("v"), T.TensorType("int64", (2,))("w"), T.lscalar("n")
    outputs = [r.uniform(v, ndim=2), r.normal(w), r.poisson((n, 0)), r.gamma((0,), 2.0), r.exponential(np.array([2, 3])), r.gumbel(n),
               r.permutation((2, 0), 3), r.permutation(n=0), r.uniform((2**33, 0))]  # fmt: skip
    shapes = [y.shape for y in exprc.function([v, w, n], outputs)([3, 2], [3, 2], 4)]
    assert shapes == [(3, 2), (3, 2), (4, 0), (0,), (2, 3), (4,), (2, 0, 3), (0,), (2**33, 0)]


def test_many_numbers_and_a_counter_that_runs_over() -> None:
    """Ten million numbers that no memory holds, across the place where the lower half of the counter ends."""
    r = T.RandomStreams(8)
    n = 10_000_000
    u = r.uniform((n,), dtype="float64")
    f = exprc.function([], [u.mean(), u[:4], u[n // 2], (u * u).mean()])
    r.set_state([np.array([_mixed(8, 0), 2**32 - 2], "uint64")])
    mean, first, middle, square = f()
    np.testing.assert_array_equal(first, philox.uniform(_mixed(8, 0), np.arange(2**32 - 2, 2**32 + 2, dtype="uint64"), "float64"))
    assert middle == philox.uniform(_mixed(8, 0), np.uint64(2**32 - 2 + n // 2), "float64")
    assert abs(mean - 0.5) < 4e-4 and abs(square - 1 / 3) < 4e-4
    assert r.get_state()[0][1] == 2**32 - 2 + n


def test_integers_of_every_width() -> None:
    r = T.RandomStreams(8)
    bounds = {"uint8": (0, 256), "int8": (-128, 128), "int64": (-(2**62), 2**62), "int32": (-5, -4), "uint32": (0, 2**32)}
    lows = np.array([[0], [10], [2**61]])
    draws = [r.integers(4000, low, high, dtype=d) for d, (low, high) in bounds.items()]
    values = exprc.function([], [r.integers((3, 4), lows, lows + [1, 2, 3, 9]), *draws])()
    assert np.all((values[0] >= lows) & (values[0] < lows + [1, 2, 3, 9]))
    for x, (d, (low, high)) in zip(values[1:], bounds.items()):
        assert x.dtype == d and x.min() >= low and x.max() < high
        assert float(x.max()) - float(x.min()) >= 0.99 * (high - 1 - low)


def test_half_precision_is_rounded_from_single() -> None:
    r = T.RandomStreams(8)
    draws = [r.uniform(N, dtype="float16"), *(draw(r, N, dtype="float16") for draw, *_ in FLOATS.values())]
    values = exprc.function([], draws)()
    assert all(x.dtype == "float16" and np.isfinite(x).all() for x in values) and values[0].max() < 1
    for x, (_, _, mean, std) in zip(values[1:], FLOATS.values()):
        assert abs(x.mean(dtype="float64") - mean) < 4 * std / math.sqrt(N) + 2e-3 * abs(mean)


def test_gradients_go_to_places_and_scales() -> None:
    r = T.RandomStreams(8)
    loc, scale = T.dscalar("loc"), T.dscalar("scale")
    for x in (r.gumbel((50,), loc, scale, "float64"), r.laplace((50,), loc, scale, "float64"), r.normal((50,), loc, scale, "float64"),
              r.truncated_normal((50,), loc, scale, dtype="float64"), loc + r.gamma((50,), 2.0, scale, "float64")):  # fmt: skip
        value, by_loc, by_scale = exprc.function([loc, scale], [x, *exprc.grad(x.sum(), [loc, scale])], mode="reference")(3.0, 2.0)
        np.testing.assert_allclose([by_loc, by_scale], [50, ((value - 3) / 2).sum()], 1e-8)


def test_what_only_a_call_knows() -> None:
    r = T.RandomStreams(8)
    p = T.dvector("p")
    bad = exprc.function([p], [r.poisson(lam=p), r.binomial(n=5, p=p), r.gamma(shape=p), r.normal(std=p)])
    counts, successes, x, _ = bad(np.array([-1.0, np.nan, 0.0]))
    assert counts.tolist() == [-1, -1, 0] and successes.tolist() == [-1, -1, 0]
    assert np.isnan(x[:2]).all() and x[2] == 0


ERRORS = {
    "normal: std must be at least 0: -1": lambda r: r.normal((2,), std=-1),
    "normal: std must be at least 0: nan": lambda r: r.normal((2,), std=np.nan),
    "truncated_normal: low must be below high: 2 and 1": lambda r: r.truncated_normal((2,), low=2, high=1),
    "exponential: scale must be at least 0: [1, -1]": lambda r: r.exponential((2,), [1, -1]),
    "gamma: shape must be at least 0": lambda r: r.gamma((2,), -0.5),
    "beta: b must be above 0: 0": lambda r: r.beta((2,), 1, 0),
    "binomial: p must be between 0 and 1: 1.5": lambda r: r.binomial((2,), p=1.5),
    "binomial: n must be a whole number of at least 0: 2.5": lambda r: r.binomial((2,), n=2.5),
    "poisson: lam must be from 0 to 2**52: -3": lambda r: r.poisson((2,), -3),
    "integers: no number is at least 5 and below 5": lambda r: r.integers((2,), 5, 5),
    "random_integers: no number is at least 5 and below 5": lambda r: r.random_integers((2,), 5, 4),
    "multinomial: probabilities must be at least 0 and sum to 1: they sum to 0.75": lambda r: r.multinomial(pvals=[0.5, 0.25]),
    "multinomial: probabilities must be at least 0 and sum to 1: one is -0.5": lambda r: r.multinomial(pvals=[1.5, -0.5]),
    "choice: 2 probabilities for 3 elements": lambda r: r.choice((2,), 3, p=[0.5, 0.5]),
    "choice: 4 different elements cannot be chosen from 3": lambda r: r.choice((4,), 3, replace=False),
    "choice: a must be an array or an integer of at least 1: 0": lambda r: r.choice((4,), 0),
    "3 different outcomes cannot be drawn from probabilities": lambda r: r.multinomial_wo_replacement(n=3, pvals=[[0.5, 0.5]]),
    "the rows of pvals give the size, not (2,)": lambda r: r.multinomial_wo_replacement((2,), pvals=[[0.5, 0.5]]),
    "permutation: n must be a whole number of at least 0: -2": lambda r: r.permutation(n=-2),
    "shuffle_row_elements: a scalar has no rows": lambda r: r.shuffle_row_elements(T.scalar("x")),
    "uniform: a size must be an integer of at least 0: -2": lambda r: r.uniform((3, -2)),
    "uniform: a size must be an integer of at least 0: 2.0": lambda r: r.uniform(2.0),
    "uniform: how many entries the size has must be known": lambda r: r.uniform(T.lvector("size")),
    "uniform: ndim=3 is stated, but the size has 2 entries": lambda r: r.uniform((2, 2), ndim=3),
    "normal: a parameter of shape (2, 3) does not fit in size (3,)": lambda r: r.normal((3,), avg=np.zeros((2, 3))),
    "normal: a parameter of shape (4,) does not fit in size (3,)": lambda r: r.normal((3,), std=np.ones(4)),
    "poisson: a parameter of shape (2, 1) does not fit in size (1, 3)": lambda r: r.poisson((1, 3), np.ones((2, 1))),
}  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text: str) -> None:
    with pytest.raises(ValueError) as error:
        ERRORS[text](T.RandomStreams(1))
    assert text in str(error.value)


def test_errors_of_types() -> None:
    r = T.RandomStreams(1)
    with pytest.raises(TypeError, match="integers are drawn between integers, not int64 between int64 and float32"):
        r.integers((2,), 0, T.scalar("high"))
    with pytest.raises(TypeError, match="integers are drawn between integers, not float32"):
        r.integers((2,), 3, dtype="float32")
    with pytest.raises(TypeError, match="multinomial: pvals is missing"):
        r.multinomial((2,))
    with pytest.raises(TypeError, match="gamma: numbers are drawn in a float dtype, not int64"):
        r.gamma((2,), dtype="int64")
