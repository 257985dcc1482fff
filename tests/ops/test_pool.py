"""Pooling against plain loops; gradients against the definition of a transpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import exprc.tensor as T
from exprc.expr import Input
from exprc.forms import results
from exprc.ops.pool import max_pool, pool_at, sum_pool
from exprc.reference import evaluate
from exprc.types import TensorType

NAN = np.nan


def loops(x: Any, ws: Any, ignore_border: bool, stride: Any, pad: Any, mode: str) -> Any:
    """Windows one by one over an array that can be asked outside of its borders."""
    counts = [count_windows(n, w, s, p, ignore_border) for n, w, s, p in zip(x.shape[-2:], ws, stride, pad)]
    y = np.zeros((*x.shape[:-2], *counts), x.dtype)
    for i, j in np.ndindex(*counts):
        low = [i * stride[0] - pad[0], j * stride[1] - pad[1]]
        rows = range(max(low[0], 0), min(low[0] + ws[0], x.shape[-2]))
        columns = range(max(low[1], 0), min(low[1] + ws[1], x.shape[-1]))
        inside = x[..., rows.start : rows.stop, columns.start : columns.stop]
        number = ws[0] * ws[1] if mode == "average_inc_pad" and ignore_border else len(rows) * len(columns)
        total = inside.sum((-2, -1))
        y[..., i, j] = inside.max((-2, -1)) if mode == "max" else total if mode == "sum" else total / number
    return y


def count_windows(n: int, w: int, s: int, p: int, ignore_border: bool) -> int:
    """Windows that fit; or, where the border counts, as few as reach every element (or start inside)."""
    if ignore_border:
        return sum(1 for start in range(-p, n + p, s) if start + w <= n + p)
    k = 1
    while (k - 1) * s + w < n and k * s < n:
        k += 1
    return k


def random_geometry(rng: Any) -> tuple[Any, dict[str, Any]]:
    ws = tuple(map(int, rng.integers(1, 4, 2)))
    ignore = bool(rng.integers(2))
    params = {
        "ws": ws, "ignore_border": ignore, "stride": tuple(map(int, rng.integers(1, 4, 2))),
        "pad": tuple(int(rng.integers(0, w)) if ignore else 0 for w in ws),
    }  # fmt: skip
    return rng.integers(-5, 5, (2, 3, *rng.integers(4, 8, 2))).astype("float64"), params


@pytest.mark.parametrize("mode", ["max", "sum", "average_inc_pad", "average_exc_pad"])
@pytest.mark.parametrize("seed", range(12))
def test_every_mode_is_the_loops(mode: str, seed: int) -> None:
    x, params = random_geometry(np.random.default_rng(seed))
    for known in (True, False):
        ex = Input(TensorType("float64", x.shape if known else (None,) * 4))
        y = T.pool_2d(ex, mode=mode, **params)
        (value,) = evaluate([y], {ex: x})
        np.testing.assert_allclose(value, loops(x, mode=mode, **params), rtol=1e-12)
        assert not known or value.shape == y.type.shape


@pytest.mark.parametrize("lead", [(), (3,), (2, 2, 3)])
def test_leading_axes_are_kept(lead: Any) -> None:
    x = np.random.default_rng(0).normal(size=(*lead, 5, 6))
    ex = Input(TensorType("float64", (None,) * x.ndim))
    (value,) = evaluate([T.pool_2d(ex, (2, 3))], {ex: x})
    np.testing.assert_array_equal(value, loops(x, (2, 3), True, (2, 3), (0, 0), "max"))


def test_the_code_is_the_position_of_the_first_largest_and_nan_wins() -> None:
    x = np.array([[1.0, 1, 5, NAN], [0, 1, 7, NAN], [NAN, 2, -np.inf, -np.inf], [3, 4, -np.inf, -np.inf]]).reshape(
        1, 1, 4, 4
    )
    ex = Input(TensorType("float64", x.shape))
    value, code = evaluate(
        results(max_pool.node((ex,), {"window": (2, 2), "stride": (2, 2), "pad": (0, 0), "partial": False})), {ex: x}
    )
    np.testing.assert_array_equal(value[0, 0], [[1, NAN], [NAN, -np.inf]])
    np.testing.assert_array_equal(code[0, 0], [[0, 1], [0, 0]])


@pytest.mark.parametrize("seed", range(12))
def test_gradients_are_transposes(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    x, p = random_geometry(rng)
    params = {"window": p["ws"], "stride": p["stride"], "pad": p["pad"], "partial": not p["ignore_border"]}
    ex = Input(TensorType("float64", (None,) * 4))
    value, code = results(max_pool.node((ex,), params))
    g = rng.normal(size=evaluate([value], {ex: x})[0].shape)
    eg = Input(TensorType("float64", g.shape))
    back = max_pool.grad((eg, eg), (value, code), ex, **params)  # type: ignore[misc]
    again = back.op.grad(ex, back, *back.inputs, **back.params)[0]
    assert again.op is pool_at
    routed, read = evaluate([back, again], {ex: x, eg: g})
    np.testing.assert_allclose(np.vdot(routed, x), np.vdot(read, g))
    total = sum_pool.node((ex,), params)
    spread = sum_pool.grad(eg, total, ex, **params)  # type: ignore[misc]
    vt, vs = evaluate([total, spread], {ex: x, eg: g})
    np.testing.assert_allclose(np.vdot(vt, g), np.vdot(vs, x))


def message(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ValueError) as error:
        T.pool_2d(*args, **kwargs)
    return str(error.value)


def test_errors_say_what_does_not_fit() -> None:
    x = T.tensor4("x", shape=(1, 1, 3, 3))
    text = message(x, 4)
    assert (
        text.startswith("max_pool: windows of (4, 4) do not fit in images of (3, 3)") and "made at test_pool.py" in text
    )
    assert "smaller windows, or ignore_border=False" in text
    assert (
        message(x, 2, pad=2)
        == "pool_2d: padding (2, 2) must be smaller than the window (2, 2): some windows would hold nothing but padding"
    )
    assert message(x, 2, ignore_border=False, pad=1) == "pool_2d: padding (1, 1) needs ignore_border=True"
    assert message(x, 2, mode="mean") == "pool_2d: mode 'mean' is none of max, sum, average_inc_pad, average_exc_pad"
    assert message(x, 0).startswith("pool_2d: ws must be an integer of at least 1")
    assert message(T.vector("v"), 2).startswith("pool_2d: at least 2 axes are needed, not 1")
