"""Random numbers as functions of a key, a counter and the index: formulas, so they fuse, and are worked out again instead of stored.

Element i of a draw comes from block ``counter + i`` of the generator Philox 4x32-10 (Salmon, Moraes, Dror and Shaw 2011, Parallel random
numbers: as easy as 1, 2, 3) with the draw's key; `exprc.philox` is the same in NumPy. `exprc.tensor.RandomStreams` holds keys and counters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exprc import distributions, philox
from exprc.expr import Expr
from exprc.forms import Arg, Formula, ShapeError, broadcast, cast_to, fill_dims, formula, shape_text, split_dims
from exprc.size import Dim, maximum


def _draw_shape(args: Sequence[Arg], shape: tuple[int | None, ...]) -> tuple[Dim, ...]:
    return tuple(maximum(d, 0) for d in fill_dims(shape, [a.value for a in args[2:]]))


def _shape_with(params: int) -> Callable[..., tuple[Dim, ...]]:
    """The shape rule of draws with so many arrays of parameters, which broadcast to the shape that is drawn."""

    def rule(args: Sequence[Arg], shape: tuple[int | None, ...]) -> tuple[Dim, ...]:
        drawn = _draw_shape([*args[:2], *args[2 + params :]], shape)
        for given in args[2 : 2 + params]:
            met = broadcast((drawn, given.shape))
            if len(met) != len(drawn) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(met, drawn)):
                text = f"a parameter of shape {shape_text(given.shape)} does not fit in draws of shape {shape_text(drawn)}"
                raise ShapeError(text, "leave out size: then it is the shape of the parameters")
        return drawn

    return rule


def _reference(draw: Callable[..., Any], dtype: str) -> Callable[..., Any]:
    def numpy(key: Any, counter: Any, *sizes: Any, shape: tuple[int | None, ...]) -> Any:
        dims = [int(d) for d in fill_dims(shape, sizes)]
        blocks = np.uint64(counter) + np.arange(math.prod(dims), dtype="uint64")
        return draw(np.uint64(key), blocks, dtype).reshape(dims)

    return numpy


def _samples() -> list[Any]:
    key, counter = np.uint64(0x9E3779B97F4A7C15), np.uint64(2**32 - 3)  # the lower half of the counter runs over
    return [
        ((key, counter), {"shape": (3, 4)}),
        ((key, np.uint64(0)), {"shape": ()}),
        ((key, counter), {"shape": (0, 2)}),
        ((key, counter, np.int64(5)), {"shape": (None, 2)}),
    ]


def _record(name: str, draw: Callable[..., Any], dtype: str, doc: str) -> Formula:
    suffix = {"float32": "f32", "float64": "f64"}[dtype]
    return formula(
        f"{name}_{suffix}", f"{name}_{suffix}({{key}}, {{counter}} + {{i}})", data=2, shape=_draw_shape, cheap=False,
        dtype=lambda dtypes, shape: dtype, numpy=_reference(draw, dtype), grad=lambda g, y, key, counter, *sizes, shape: (None, None),
        samples=_samples, doc=doc,
    )  # fmt: skip


_UNIFORM = "evenly distributed numbers, 0 <= x < 1"
_NORMAL = "normally distributed numbers, mean 0 and standard deviation 1"

uniform_f32 = _record("uniform", philox.uniform, "float32", _UNIFORM)
uniform_f64 = _record("uniform", philox.uniform, "float64", _UNIFORM)
normal_f32 = _record("normal", philox.normal, "float32", _NORMAL)
normal_f64 = _record("normal", philox.normal, "float64", _NORMAL)

_RECORDS = {("uniform", "float32"): uniform_f32, ("uniform", "float64"): uniform_f64,
            ("normal", "float32"): normal_f32, ("normal", "float64"): normal_f64}  # fmt: skip


# -- draws with parameters ---------------------------------------------------------------------------------------------


def _with_params(name: str, c: str, twin: Callable[..., Any], params: int, dtype: str, grid: Sequence[Any], doc: str) -> Formula:
    """A draw whose text has branches; `grid` are parameters for the samples, which broadcast to shape (4, 5)."""

    def numpy(key: Any, counter: Any, *args: Any, shape: tuple[int | None, ...]) -> Any:
        dims = [int(d) for d in fill_dims(shape, args[params:])]
        blocks = (np.uint64(counter) + np.arange(math.prod(dims), dtype="uint64")).reshape(dims)
        return np.asarray(twin(np.uint64(key), blocks, *(np.broadcast_to(a, dims) for a in args[:params])), dtype)

    def samples() -> list[Any]:
        key, counter = np.uint64(0x9E3779B97F4A7C15), np.uint64(2**32 - 3)
        empty = [np.asarray(g)[:0] for g in grid]
        sized = (key, counter, *grid, np.int64(4))
        return [((key, counter, *grid), {"shape": (4, 5)}), ((key, counter, *empty), {"shape": (0, 5)}), (sized, {"shape": (None, 5)})]

    return formula(
        name, c, data=2 + params, shape=_shape_with(params), cheap=False, dtype=lambda dtypes, shape: dtype, numpy=numpy, samples=samples,
        grad=lambda g, y, key, counter, *args, shape: (None,) * (2 + params), ulps=256, doc=doc,
    )  # fmt: skip


_MEANS = np.array([[0.0, 0.3, 2.5, 9.99, 10.0], [11.5, 40.0, 300.0, 1e5, 1e9], [-1.0, np.nan, np.inf, 1e-8, 5.0], [1, 2, 3, 4, 64.0]])
_TRIALS = np.array([[0.0], [7.0], [60.0], [1e6]])
_CHANCES = np.array([[0.0, 0.2, 0.5, 0.97, 1.0]] * 3 + [[0.3, -0.1, np.nan, 1.1, 1e-6]])
_BOUNDS = np.array([[1, 2, 3, 6, 100]] * 3 + [[2**31, 2**32 + 1, 2**40, 2**63, 2**64 - 1]], "uint64")

bounded = _with_params(
    "bounded", "bounded_u64({key}, {counter} + {i}, {bound})", distributions.bounded, 1, "uint64", [_BOUNDS],
    "whole numbers from 0 to bound - 1, each as likely as the others but for bound / 2**64",
)  # fmt: skip
standard_gamma = _with_params(
    "standard_gamma", "gamma_draw({key}, {counter} + {i}, {alpha})", distributions.gamma, 1, "float64", [np.abs(_MEANS)],
    "gamma distributed numbers of shape alpha and scale 1; NaN where alpha is negative",
)  # fmt: skip
poisson = _with_params(
    "poisson", "poisson_draw({key}, {counter} + {i}, {mean})", distributions.poisson, 1, "float64", [_MEANS],
    "Poisson distributed whole numbers; -1 where the mean is negative, NaN or above 2**52",
)  # fmt: skip
binomial = _with_params(
    "binomial", "binomial_draw({key}, {counter} + {i}, {trials}, {p})", distributions.binomial, 2, "float64", [_TRIALS, _CHANCES],
    "how many of some trials succeed, each with probability p; -1 where trials are negative or p not from 0 to 1",
)  # fmt: skip


def draw_with(op: Formula, key: Expr, counter: Expr, params: Sequence[Expr], size: Any) -> Expr:
    """Return random numbers of a distribution with parameters, which broadcast to `size`."""
    static, sizes = split_dims(size)
    dtype = "uint64" if op is bounded else "float64"
    return op.node((key, counter, *(cast_to(p, dtype) for p in params), *sizes), {"shape": static})


def draw(name: str, key: Expr, counter: Expr, size: Any, dtype: str) -> Expr:
    """Return numbers of "uniform" or "normal", without parameters; `key` and `counter` are uint64 scalars, `size` ints or expressions."""
    static, sizes = split_dims(size)
    return _RECORDS[name, dtype].node((key, counter, *sizes), {"shape": static})
