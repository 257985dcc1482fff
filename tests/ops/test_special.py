"""Special functions, compiled and their references, against values to 25 digits.

``special_values.json`` has them, from a calculation with 50 digits: function -> rows of the operands and the value.

Bounds are in units in the last place of the value, or of a larger scale where a function has zeros or a difference is taken; they
are those that ``kernels/c/special.h`` states.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.ops import special
from exprc.reference import evaluate

Array = np.ndarray[Any, Any]


@dataclass
class Table:
    """An operation at points, with its exact values; `floor` is what an error is measured in where the value is smaller."""

    op: Callable[..., Any]
    points: tuple[Array, ...]
    values: Array
    ulps: float
    floor: Callable[..., Any]


def _amplitude(x: Array) -> Array:
    return 1 / np.sqrt(1 + np.abs(x))


def _operation(name: str) -> Callable[..., Any]:
    word, _, order = name.partition(" ")
    if word == "polygamma":
        return functools.partial(T.polygamma, int(order))
    if word == "gammainc_da":
        return lambda a, x: special.gammainc_da.node((a, x), {"order": int(order)})
    return getattr(T, word)  # type: ignore[no-any-return]


#: word -> largest error in ulp; what it is measured in stands in FLOORS where it is not the value.
BOUNDS = {
    "gamma": 6, "gammaln": 6, "psi": 3, "polygamma": 8, "erfcx": 6, "erfinv": 4, "erfcinv": 4, "j0": 6, "j1": 6, "i0": 6, "i1": 6,
    "gammainc": 1000, "gammaincc": 1000, "gammainc_da": 1000,
}  # fmt: skip
FLOORS: dict[str, Callable[..., Any]] = {
    "gammaln": np.ones_like, "psi": lambda x: np.where(x < 0, 1.0, 0), "j0": _amplitude, "gammainc_da": lambda a, x: np.ones_like(a),
    "j1": lambda x: np.where(np.abs(x) > 1, _amplitude(x), 0),
}  # fmt: skip


#: The references work in the precision of long double, but near the zeros of psi.
REFERENCE_BOUNDS = {"gammaln": 6, "gammainc": 16, "gammaincc": 16}
REFERENCE_FLOORS = {"psi": lambda x: np.where(x < 0, 1.0, 0.01)}


def _table(name: str, rows: list[Any]) -> Table:
    *points, values = zip(*rows)
    word = name.split()[0]
    exact = np.array([np.longdouble(v) for v in values])
    floor = FLOORS.get(word, lambda *xs: 0.0)
    if word == "polygamma":  # below 0 a difference of two functions of this size
        n = int(name.split()[1])
        floor = lambda x: np.where(x < 0, math.factorial(n) * 2.0 ** (n + 1), 0)
    return Table(_operation(name), tuple(map(np.array, points)), exact, BOUNDS[word], floor)


VALUES = json.loads((Path(__file__).parent / "special_values.json").read_text(encoding="utf-8"))
TABLES = {name: _table(name, rows) for name, rows in VALUES.items()}


def _as_dtype(t: Table, dtype: str) -> tuple[tuple[Array, ...], Array]:
    """The points that the dtype has, and the values there."""
    exact = np.all([p.astype(dtype) == p for p in t.points], axis=0) & (np.abs(t.values) < np.finfo(dtype).max)
    return tuple(p[exact].astype(dtype) for p in t.points), t.values[exact]


@functools.cache
def results() -> dict[tuple[str, str], tuple[Array, Array]]:
    """What the compiled program gives, all in one, and what the references give."""
    names = [(name, dtype) for name in TABLES for dtype in ("float32", "float64")]
    points = {key: _as_dtype(TABLES[key[0]], key[1])[0] for key in names}
    inputs = {key: tuple(T.TensorType(key[1], p.shape)() for p in points[key]) for key in names}
    nodes = [TABLES[key[0]].op(*inputs[key]) for key in names]
    values = {x: p for key in names for x, p in zip(inputs[key], points[key])}
    compiled = exprc.function(list(values), nodes, mode="compiled")(*values.values())
    return {key: both for key, *both in zip(names, compiled, evaluate(nodes, values))}  # type: ignore[misc]


def error_in_ulps(t: Table, dtype: str, got: Array, floor: Any = None) -> Array:
    points, exact = _as_dtype(t, dtype)
    size = np.maximum(np.abs(exact.astype(dtype)), (floor or t.floor)(*points)).astype(dtype)
    return np.abs(got.astype(np.longdouble) - exact) / np.spacing(size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TABLES)
def test_compiled(name: str, dtype: str) -> None:
    t, (got, _) = TABLES[name], results()[name, dtype]
    assert got.dtype == dtype and got.size > 3
    errors = error_in_ulps(t, dtype, got)
    limit = t.ulps if dtype == "float64" else 0.51
    assert errors.max() <= limit, f"{errors.max()} ulp at {[p[errors.argmax()] for p in _as_dtype(t, dtype)[0]]}"


@pytest.mark.parametrize("name", TABLES)
def test_references(name: str) -> None:
    t, (_, got) = TABLES[name], results()[name, "float64"]
    word = name.split()[0]
    errors = error_in_ulps(t, "float64", got, REFERENCE_FLOORS.get(word))
    limit = REFERENCE_BOUNDS.get(word, 2)
    assert errors.max() <= limit, f"{errors.max()} ulp at {[p[errors.argmax()] for p in t.points]}"


def test_the_derivative_of_the_incomplete_gamma_function_ends() -> None:
    """Beyond 2**53 the next number is the number itself, which a loop over the terms must not wait for."""
    a, x = T.dvector("a"), T.dvector("x")
    huge = [1e16, 1e300, 1e17, 3.0]
    slope = exprc.grad(T.sum(T.gammainc(a, x)), a)
    compiled, interpreted = (exprc.function([a, x], slope, mode=mode)(huge, [1.0, 5.0, 1e7, 1e7]) for mode in ("compiled", "reference"))
    assert np.all(np.abs(compiled) < 1e-12)
    np.testing.assert_allclose(compiled, interpreted, atol=1e-12)
