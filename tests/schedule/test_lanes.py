"""Images in vector lanes whose last block is not full: what lies between convolutions, and sums over images."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T


def wave(*shape: int) -> Any:
    return np.sin(np.arange(np.prod(shape)) * 0.7).reshape(shape).astype("float32")


def step(images: Any) -> tuple[list[Any], list[Any]]:
    """Two convolutions, batch normalisation between them, and gradients: elementwise loops and sums over images in lanes, both ways."""
    x, w, v = T.tensor4("x", shape=images), T.tensor4("w", shape=(5, 2, 3, 3)), T.tensor4("v", shape=(4, 5, 2, 2))
    u = T.conv2d(x, w)
    mean, var = u.mean(axis=(0, 2, 3), keepdims=True), u.var(axis=(0, 2, 3), keepdims=True)
    y = T.conv2d(T.maximum((u - mean) / T.sqrt(var + 1e-4), 0.1), v)
    return [x, w, v], [y, *exprc.grad((y**2).mean(), [w, v]), u.max(axis=0), T.argmin(u, axis=0)]


@pytest.mark.parametrize("sizes", [(40,), (17,), (48,), (40, 33, 16, 50, 17)], ids=str)
def test_blocks_that_are_not_full_give_the_same(sizes: tuple[int, ...]) -> None:
    """One size is a constant of the program; of several, the later ones are arguments."""
    inputs, results = step((sizes[0] if len(sizes) == 1 else None, 2, 9, 8))
    functions = [exprc.function(inputs, results, mode=mode) for mode in ("compiled", "reference")]
    for n in sizes:
        arrays = (wave(n, 2, 9, 8), wave(5, 2, 3, 3), wave(4, 5, 2, 2))
        for got, want in zip(*(f(*arrays) for f in functions), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_a_full_block_runs_in_a_loop_of_a_known_length() -> None:
    """A vector; with a length that the program looks up each time it would be a loop over single images, or nearly."""
    inputs, results = step((41, 2, 9, 8))
    f = exprc.function(inputs, results)
    f(wave(41, 2, 9, 8), wave(5, 2, 3, 3), wave(4, 5, 2, 2))
    unknown = re.findall(r"l = 0; l < minimum\(\(int64_t\)\((\d+)\)", f.source)
    known = re.findall(rf"l = 0; l < {unknown[0]}; \+\+l", f.source)
    assert len(known) >= len(unknown) > 0
