"""The teams of threads that Groups are mapped to: sizes on both sides of every choice, along every axis, each access looked at."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.gpu import parts_of
from exprc.gpu.teams import THREADS, WARP, shape_of
from tests.cuda.devices import DEVICES, there

#: Rows shorter than a warp, as long, longer, as long as a block; columns that fill a warp and that do not; axes of 1; much of it.
SHAPES = [(2, 3, 257), (33, 31, 5), (1, 1, 5000), (70, 1, 3), (64, 129, 2), (5, 7, 1), (3, 32, 33), (300, 4, 4), (1, 8, 8)]
AXES = [a for n in (1, 2, 3) for a in itertools.combinations(range(3), n)]


def outputs_of(x: Any, axes: tuple[int, ...]) -> list[Any]:
    """A sum, a position, a mean with variance, and rows that need three passes; results of one element among them."""
    shifted = T.exp(x - x.max(axes, keepdims=True))
    return [x.sum(axes), T.argmax(x, axes), x.var(axes), shifted / shifted.sum(axes, keepdims=True), x.min(axes) * 2 + x.mean(axes)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_size_of_team(shape: tuple[int, ...], device: str) -> None:
    x, turned = T.tensor3("x", shape=shape), T.tensor3("turned", shape=shape[::-1])
    outputs = [y for axes in AXES for y in outputs_of(x, axes)] + [y for axes in AXES[:4] for y in outputs_of(turned.T * 2, axes)]
    rng = np.random.default_rng(sum(shape))
    values = [np.round(rng.standard_normal(s) * 8).astype("float32") / 8 for s in (shape, shape[::-1])]
    with exprc.config.override(emulator="check", emulator_order="random"):
        got = exprc.function([x, turned], outputs, device=there(device))(*values)
    for k, (a, b) in enumerate(zip(got, exprc.function([x, turned], outputs)(*values))):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-6, err_msg=f"output {k}")


@pytest.mark.parametrize("device", DEVICES)
def test_reductions_in_parts_of_every_axis(device: str) -> None:
    x = T.tensor3("x", shape=(9, 40, 301))
    outputs = [y for axes in AXES for y in (x.sum(axes), T.argmin(x, axes), x.var(axes))]
    value = np.round(np.random.default_rng(1).standard_normal((9, 40, 301)) * 8).astype("float32") / 8
    f = exprc.function([x], outputs, device=there(device))
    assert f.source.count("the parts joined in order") >= 2
    for a, b in zip(f(value), exprc.function([x], outputs)(value)):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_teams_of_several_warps_in_a_block(device: str) -> None:
    """Four to a block, of which the last is not whole: sums, positions, a mean with variance, rows that stay in shared memory."""
    x = T.matrix("x", shape=(531, 130))
    value = np.round(np.random.default_rng(3).standard_normal((531, 130)) * 8).astype("float32") / 8
    assert (shape_of(531, 130, False).size, shape_of(531, 130, False).teams) == (64, 4)
    with exprc.config.override(emulator="check", emulator_order="random"):
        got = exprc.function([x], outputs_of(x, (1,)), device=there(device))(value)
    for k, (a, b) in enumerate(zip(got, exprc.function([x], outputs_of(x, (1,)))(value))):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-6, err_msg=f"output {k}")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(37, 9), (531, 130)], ids=str)
def test_updates_in_place_next_to_what_reads_them(shape: tuple[int, int], device: str) -> None:
    """A variable is written by one thread of a team while others of its team, and of a last team that is not whole, are about."""
    w, b, g = (exprc.shared(np.ones(s, "float32"), name="v") for s in (shape, shape[0], shape))
    x = T.matrix("x", shape=shape)
    updates = {w: w - 0.5 * (x - x.mean(1, keepdims=True)), b: b + (x * w).sum(1), g: T.softmax(g + x)}
    value = np.random.default_rng(2).standard_normal(shape).astype("float32")

    def after(where: str) -> list[Any]:
        for v, start in ((w, 1.0), (b, 2.0), (g, 3.0)):
            v.set_value(np.full(v.get_value().shape, start, "float32"))
        f = exprc.function([x], [b.sum(), (b + 1).max()], updates=updates, device=where)
        return [*f(value), *f(value), w.get_value(), b.get_value(), g.get_value()]

    with exprc.config.override(emulator="check", emulator_order="random"):
        got = after(there(device))
    for a, wanted in zip(got, after("cpu")):
        np.testing.assert_allclose(a, wanted, rtol=2e-5, atol=2e-5)


def test_blocks_are_whole_warps() -> None:
    for count, work, column in itertools.product((1, 7, 32, 1000, 10**6), (0, 1, 2, 5, 31, 32, 33, 300, 10**5), (False, True)):
        shape = shape_of(count, work, column)
        assert shape.threads % WARP == 0 and shape.threads <= 1024 and shape.size & (shape.size - 1) == 0
        assert shape.size <= max(work, 1) and (shape.size <= THREADS or shape.column)


def test_parts_follow_from_sizes() -> None:
    assert parts_of(1, 2048, 2048) == 0 and parts_of(1, 2049, 2049) == 2 and parts_of(1, 10**9, 10**9) == 1024
    assert parts_of(4096, 10**6, 10**6) == 0, "enough results for all threads"
