"""Variances that do not wait for their means: on a GPU, where both are cut in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.ops.reduce import variance

EMULATOR = "cuda-emulator"
SHAPE = (5, 3, 40, 41)


def launches(f: Any) -> int:
    return len(f._compiled.last.lowered.launched())


def function(outputs: Any, device: str = EMULATOR) -> Any:
    x = T.tensor4("x", shape=SHAPE)
    return exprc.function([x], outputs(x), device=device)


@pytest.mark.emulator
@pytest.mark.parametrize("axes", [(0, 2, 3), None])
def test_a_variance_takes_the_launches_of_a_sum(axes: Any) -> None:
    """The parts, and what joins them; for the mean beside it, and what is made of both, none more."""
    total = launches(function(lambda x: x.sum(axis=axes)))
    assert launches(function(lambda x: x.var(axis=axes))) == total
    assert launches(function(lambda x: [x.mean(axis=axes), 1 / T.sqrt(x.var(axis=axes) + 0.1)])) == total


@pytest.mark.emulator
def test_within_a_row_and_on_a_cpu_a_variance_is_the_mean_of_squares() -> None:
    """A second pass over what is at hand takes less time."""
    assert "variance" not in function(lambda x: x.var(axis=3)).explain()
    assert "variance" not in function(lambda x: x.var(axis=(0, 2, 3)), "cpu").explain()
    other = function(lambda x: [T.sqr(x - x.mean(axis=(0, 1, 2, 3))).mean(axis=(0, 2, 3)), T.sqr(x - x.max()).mean()])
    assert "variance" not in other.explain(), "what is off something else"
    assert "variance" in function(lambda x: x.var(axis=(0, 2, 3))).explain()


@pytest.mark.emulator
@pytest.mark.parametrize("device", ["cpu", EMULATOR])
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1000, 1), (-3e19, 1e17), (0, 1e-18), (7, 0)])
def test_values(offset: float, scale: float, device: str) -> None:
    """As exact as squares allow: off by what numbers of this size are rounded by, and far from overflow."""
    values = (np.random.default_rng(0).standard_normal(SHAPE) * scale + offset).astype("float32")
    with exprc.config.override(emulator="check", emulator_order="random"):
        x = T.tensor4("x", shape=SHAPE)
        f = exprc.function([x], [variance(x, axis=(0, 2, 3)), variance(x)], device=device)
        got = f(values)
        assert all((a == b).all() for a, b in zip(got, f(values), strict=True)), "the same bits in every run"
    wide = values.astype("float64")
    for a, e in zip(got, [wide.var(axis=(0, 2, 3)), wide.var()], strict=True):
        np.testing.assert_allclose(a, e, rtol=2e-5, atol=(np.finfo("float32").eps * abs(offset)) ** 2)


@pytest.mark.emulator
@pytest.mark.parametrize("device", ["cpu", EMULATOR])
def test_what_is_no_number(device: str) -> None:
    """NaN and infinities have no variance, nor has nothing at all; other channels have."""
    values = np.random.default_rng(0).standard_normal(SHAPE).astype("float32")
    values[2, 0, 7, 7], values[-1, 1, -1, -1] = np.nan, np.inf
    found = function(lambda x: x.var(axis=(0, 2, 3)), device)(values)
    assert np.isnan(found[:2]).all() and found[2] == pytest.approx(values[:, 2].var(), rel=1e-5)
    x = T.matrix("x")
    f = exprc.function([x], variance(x, axis=0), device=device)
    assert np.isnan(f(np.empty((0, 2), "float32"))).all() and f(np.ones((1, 2), "float32")).tolist() == [0, 0]
