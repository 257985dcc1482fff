"""Values that must not be computed together: each case was chosen because a careless Group would read what is not yet written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T

rng = np.random.default_rng(0)


def floats(*shape: int) -> Any:
    return rng.standard_normal(shape).astype("float32")


def check(inputs: list[Any], outputs: list[Any], *values: Any) -> Any:
    """The program against the interpreter."""
    compiled, reference = (exprc.function(inputs, outputs, mode=m) for m in ("compiled", "reference"))
    for k, (got, wanted) in enumerate(zip(compiled(*values), reference(*values))):
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(got, wanted, 1e-4, 1e-5 * scale, err_msg=f"output {k}")
    return compiled


@pytest.mark.parametrize(("first", "second", "columns"), [(5, 8, 3), (500, 800, 300), (1, 8, 3), (3, 8, 64), (64, 128, 5), (8, 8, 4)])
def test_the_head_of_joined_arrays(first: int, second: int, columns: int) -> None:
    """The second array goes to rows first .. first+second-1; a reader of rows 0 .. second-1 must wait for all of them."""
    a, b = T.matrix("a"), T.matrix("b")
    z = T.concatenate([a, b])
    head = z[:second]
    check([a, b], [z, head * 2, T.exp(head).sum(axis=1), head + b], floats(first, columns), floats(second, columns))


def test_joined_along_other_axes() -> None:
    a, b = T.matrix("a"), T.matrix("b")
    z = T.concatenate([a, b * 2, a], axis=1)
    check([a, b], [T.softmax(z), z[:, 3:8] + b, z[:, ::-1], T.stack([z, -z], axis=1).max(axis=1)], floats(40, 3), floats(40, 5))


def test_a_value_read_at_another_row() -> None:
    x = T.matrix("x")
    e = T.exp(x)
    s = e.sum(axis=1, keepdims=True)
    check([x], [e / s, (e / s)[::-1] * e, e[1:] - e[:-1], s[::-1] / s, e[:, ::-1] * e], floats(33, 17))


def test_a_value_read_transposed() -> None:
    x = T.matrix("x")
    h = T.tanh(x) * x.sum(axis=1, keepdims=True)
    check([x], [h + h.T, h.T.sum(axis=1) + h.sum(axis=1), T.softmax(h.T)], floats(31, 31))


def test_reductions_that_need_each_other() -> None:
    x = T.matrix("x")
    m = x.max(axis=1, keepdims=True)
    y = x - m
    z = y / T.sqrt((y * y).mean(axis=1, keepdims=True) + 1e-3)
    check([x], [z, z.max(axis=0), (z * z.max()).sum(), z - z.mean(axis=0)], floats(50, 40))


@pytest.mark.parametrize("axis", [0, 1, None])
def test_the_gradient_of_an_extreme_finds_its_element_again(axis: int | None) -> None:
    """The element is worked out twice, and compared: both must be rounded alike."""
    v = [T.matrix(n) for n in "abcd"]
    for e in (v[0] * v[1] + v[2] * v[3], v[0] * v[1] - v[2] * v[3] + v[0] * v[3]):
        check(v, exprc.grad(T.max(e, axis=axis).sum(), v), *(floats(300, 70) for _ in v))


def test_rows_gathered_by_what_the_same_pass_computes() -> None:
    x = T.matrix("x")
    best = x.argmax(axis=1)
    rows = T.arange(x.shape[0])
    p = T.softmax(x)
    second = p[rows, (best + 1) % x.shape[1]] - p.min(axis=1)
    check([x], [p[rows, best], x[best % x.shape[0]], second, T.exp(x)[::-1][rows, best]], floats(45, 9))


def test_a_hook_reads_its_product_at_the_same_place_only() -> None:
    a, b = T.matrix("a"), T.matrix("b")
    y = T.dot(a, b)
    r = T.relu(y)
    check([a, b], [r, y.T + 1, r + r.T, r - r[::-1], r * y.sum(axis=0), T.dot(r, y), y + y[0, 0]], floats(24, 30), floats(30, 24))


def test_products_of_products_read_by_one_sum() -> None:
    a, b = T.matrix("a"), T.matrix("b")
    y, z = T.dot(a, b), T.dot(a + 1, b)
    check([a, b], [y + z, (y * z).sum(axis=0), T.tanh(y) - T.tanh(z), T.where(y > z, y, z)], floats(19, 23), floats(23, 37))
