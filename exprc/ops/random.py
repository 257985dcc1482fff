"""Random numbers as functions of a key, a counter and the index: formulas, so they fuse, and are worked out again instead of stored.

Element i of a draw comes from block ``counter + i`` of the generator Philox 4x32-10 (Salmon, Moraes, Dror and Shaw 2011, Parallel random
numbers: as easy as 1, 2, 3) with the draw's key; `exprc.philox` is the same in NumPy. `exprc.tensor.RandomStreams` holds keys and counters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exprc import philox
from exprc.expr import Expr
from exprc.forms import Arg, Formula, fill_dims, formula, split_dims
from exprc.size import Dim, maximum


def _draw_shape(args: Sequence[Arg], shape: tuple[int | None, ...]) -> tuple[Dim, ...]:
    return tuple(maximum(d, 0) for d in fill_dims(shape, [a.value for a in args[2:]]))


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


def draw(name: str, key: Expr, counter: Expr, size: Any, dtype: str) -> Expr:
    """Return random numbers of a distribution ("uniform", "normal"); `key` and `counter` are uint64 scalars, `size` ints or expressions."""
    static, sizes = split_dims(size)
    return _RECORDS[name, dtype].node((key, counter, *sizes), {"shape": static})
