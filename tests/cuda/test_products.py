"""Products and convolutions large enough to be cut in parts or to take large tiles, in whole functions: a CUDA device beside the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from tests.cuda.devices import DEVICES, there
from tests.cuda.pasted import normal


def dense(k: int, dtype: str) -> tuple[list[Any], list[Any]]:
    """A layer of many inputs and few outputs: parts of k in both directions, an epilogue after the sum of the parts."""
    x, w = T.matrix("x", dtype=dtype, shape=(21, k)), T.matrix("w", dtype=dtype, shape=(k, 23))
    y = T.tanh(x @ w / k + 1)
    return [x, w], [y, *exprc.grad(T.sqr(y).sum(), [x, w])]


def tall() -> tuple[list[Any], list[Any]]:
    """Large tiles, which no size fills."""
    a, b = T.matrix("a", shape=(1501, 40)), T.matrix("b", shape=(40, 1037))
    return [a, b], [T.relu(a @ b), (a @ b).sum(axis=0)]


def stacks() -> tuple[list[Any], list[Any]]:
    """Products of stacks, one operand turned, the other of every second row."""
    a, b = T.tensor3("a", shape=(3, 70, 33)), T.tensor3("b", shape=(3, 70, 58))
    backwards = T.batched_dot(a.dimshuffle(0, 2, 1)[:, ::-1], b[:, :, ::2])
    return [a, b], [backwards, T.batched_dot(a[:1, :17], b[1:2].dimshuffle(0, 2, 1)[:, :33])]


def images(groups: int, border: Any, stride: tuple[int, int]) -> tuple[list[Any], list[Any]]:
    x, w = T.tensor4("x", shape=(2, 32, 9, 8)), T.tensor4("w", shape=(24, 32 // groups, 3, 3))
    y = T.conv2d(x, w, border_mode=border, subsample=stride, num_groups=groups)
    return [x, w], [T.relu(y), *exprc.grad(T.sqr(y).sum(), [x, w])]


CASES: dict[str, Callable[[], tuple[list[Any], list[Any]]]] = {
    "dense": lambda: dense(3000, "float32"),
    "dense, float64": lambda: dense(2000, "float64"),
    "tall": tall,
    "stacks": stacks,
    "images": lambda: images(1, "half", (1, 1)),
    "images, strided": lambda: images(1, "full", (3, 2)),
    "images, in groups": lambda: images(4, "valid", (1, 2)),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_large_products_are_those_of_the_cpu(case: str, device: str) -> None:
    inputs, outputs = CASES[case]()
    values = [normal(k, x.dtype, *x.type.shape) for k, x in enumerate(inputs)]
    wanted = exprc.function(inputs, outputs)(*values)
    f = exprc.function(inputs, outputs, device=there(device))
    for got, again, want in zip(f(*values), f(*values), wanted, strict=True):
        np.testing.assert_array_equal(got, again)
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=scale * np.finfo(want.dtype).eps * 500)
