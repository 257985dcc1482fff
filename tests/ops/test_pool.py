"""Pooling against plain loops; gradients against the definition of a transpose."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Input
from exprc.forms import results
from exprc.ops.pool import max_pool, pool_at, sum_pool
from exprc.reference import evaluate
from exprc.types import TensorType

NAN = np.nan


def loops(x: Any, ws: Any, ignore_border: bool, stride: Any, pad: Any, mode: str, dilation: Any) -> Any:
    """Windows one by one over an array of any number of pooled axes; positions outside of it are left out."""
    axes = len(ws)
    image = x.shape[-axes:]
    covered = [(w - 1) * d + 1 for w, d in zip(ws, dilation)]
    counts = [count_windows(n, c, s, p, ignore_border) for n, c, s, p in zip(image, covered, stride, pad)]
    y = np.zeros((*x.shape[:-axes], *counts), x.dtype)
    for place in np.ndindex(*counts):
        places = [[i * s - p + u * d for u in range(w)] for i, s, p, d, w in zip(place, stride, pad, dilation, ws)]
        within = [[k for k in row if 0 <= k < n] for row, n in zip(places, image)]
        inside = x[(..., *np.ix_(*(np.array(row, int) for row in within)))].reshape(*x.shape[:-axes], -1)
        y[(..., *place)] = fold(inside, np.prod(ws) if mode == "average_inc_pad" and ignore_border else inside.shape[-1], mode)
    return y


def fold(inside: Any, number: Any, mode: str) -> Any:
    if inside.shape[-1] == 0:
        return 0
    return inside.max(-1) if mode == "max" else inside.sum(-1) if mode == "sum" else inside.sum(-1) / number


def count_windows(n: int, w: int, s: int, p: int, ignore_border: bool) -> int:
    """Windows that fit; or, where the border counts, as few as reach every element (or start inside)."""
    if ignore_border:
        return sum(1 for start in range(-p, n + p, s) if start + w <= n + p)
    k = 1
    while (k - 1) * s + w < n and k * s < n:
        k += 1
    return k


def random_geometry(rng: Any, axes: int = 2) -> tuple[Any, dict[str, Any]]:
    ws = tuple(map(int, rng.integers(1, 4, axes)))
    dilation = tuple(map(int, rng.integers(1, 4, axes)))
    covered = [(w - 1) * d + 1 for w, d in zip(ws, dilation)]
    ignore = bool(rng.integers(2))
    params = {
        "ws": ws, "ignore_border": ignore, "stride": tuple(map(int, rng.integers(1, 4, axes))), "dilation": dilation,
        "pad": tuple(int(rng.integers(0, c)) if ignore else 0 for c in covered),
    }  # fmt: skip
    image = [int(max(1, c - 2 * p) + rng.integers(0, 5)) for c, p in zip(covered, params["pad"])]
    return rng.integers(-9, 5, (2, 3, *image)).astype("float64"), params


def record_params(p: dict[str, Any]) -> dict[str, Any]:
    own = {"window": p["ws"], "stride": p["stride"], "pad": p["pad"], "dilation": p["dilation"]}
    return {**own, "partial": not p["ignore_border"]}


MODES = ["max", "sum", "average_inc_pad", "average_exc_pad"]
PLAIN = {"stride": (2, 2), "pad": (0, 0), "dilation": (1, 1)}


@pytest.mark.parametrize("mode", MODES)
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
    np.testing.assert_array_equal(value, loops(x, (2, 3), True, (2, 3), (0, 0), "max", (1, 1)))


def test_the_code_is_the_position_of_the_first_largest_and_nan_wins() -> None:
    x = np.array([[1.0, 1, 5, NAN], [0, 1, 7, NAN], [NAN, 2, -np.inf, -np.inf], [3, 4, -np.inf, -np.inf]]).reshape(
        1, 1, 4, 4
    )
    ex = Input(TensorType("float64", x.shape))
    value, code = evaluate(
        results(max_pool.node((ex,), {"window": (2, 2), **PLAIN, "partial": False})), {ex: x}
    )
    np.testing.assert_array_equal(value[0, 0], [[1, NAN], [NAN, -np.inf]])
    np.testing.assert_array_equal(code[0, 0], [[0, 1], [0, 0]])


@pytest.mark.parametrize("seed", range(12))
def test_gradients_are_transposes(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    x, p = random_geometry(rng)
    params = record_params(p)
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


@functools.cache
def geometries(axes: int) -> list[tuple[Any, dict[str, Any]]]:
    rng = np.random.default_rng(7 + axes)
    made = [random_geometry(rng, axes) for _ in range(12)]
    x = rng.integers(-9, 5, (2, 3, *(4,) * axes)).astype("float64")
    beyond = {"ws": (2,) * axes, "ignore_border": True, "stride": (1,) * axes, "pad": (7,) * axes, "dilation": (9,) * axes}
    return [*made, (x, beyond)]  # the last one has windows that hold nothing but padding


@pytest.mark.parametrize("axes", [2, 3])
def test_compiled_is_the_loops(axes: int) -> None:
    """All geometries and modes in one function, batches that fill vectors and that do not."""
    pool = {2: T.pool_2d, 3: T.pool_3d}[axes]
    cases = [(x, p, m) for (x, p), m in zip(geometries(axes), MODES * 9)] + [(*geometries(axes)[-1], m) for m in MODES]
    arrays = [np.concatenate([x] * (9 if k % 2 else 1))[: 17 if k % 2 else 2] for k, (x, _, _) in enumerate(cases)]
    inputs = [Input(TensorType("float64", a.shape if k % 3 else (None,) * a.ndim)) for k, a in enumerate(arrays)]
    outputs = [pool(x, mode=m, **p) for x, (_, p, m) in zip(inputs, cases)]
    for y, x, (_, p, m) in zip(exprc.function(inputs, outputs)(*arrays), arrays, cases, strict=True):
        np.testing.assert_allclose(y, loops(x, mode=m, **p), rtol=1e-12, err_msg=f"{m} {p}")


#: (columns, window, stride, padding, dilation) of long rows: strips that are full, that are not, with borders, and taken apart.
ROWS = [
    (32, 2, 2, 0, 1), (30, 2, 2, 0, 1), (150, 2, 2, 0, 1), (129, 3, 2, 1, 1), (128, 3, 2, 0, 1), (64, 3, 3, 0, 1), (48, 2, 3, 0, 1),
    (37, 3, 3, 1, 1), (67, 5, 4, 2, 1), (66, 3, 4, 0, 1), (40, 3, 2, 3, 2), (70, 4, 5, 1, 1), (32, 3, 1, 1, 1), (79, 3, 1, 1, 2),
    (16, 1, 2, 0, 1),
    (3, 3, 3, 0, 1), (4, 4, 4, 0, 1),  # which gcc 12 got wrong (see `_GCC_FLAGS` in exprc/runtime/compiler.py)
]  # fmt: skip


def test_rows_taken_apart(vectors: str) -> None:
    """What is pooled along rows is what the interpreter pools, bit for bit, with vectors of every width."""
    rng = np.random.default_rng(3)
    inputs, outputs, arrays = [], [], []
    for k, (w, size, stride, pad, dilation) in enumerate(ROWS):
        height = size if w == size else 2
        x = rng.integers(-3, 4, (2, 1, max(height, 7 if w > size else 1), w)) / 2
        x[rng.random(x.shape) < 0.05] = (NAN, np.inf, -0.0)[k % 3]
        arrays.append(x.astype("float32" if k % 2 else "float64"))
        ex = Input(TensorType(arrays[-1].dtype.name, x.shape))
        p = {"window": (height, size), "stride": (height, stride), "pad": (min(pad, 1), pad), "dilation": (1, dilation), "partial": False}
        inputs.append(ex)
        outputs += [*results(max_pool.node((ex,), p)), sum_pool.node((ex,), p)]
    with np.errstate(invalid="ignore"):
        wanted = evaluate(outputs, dict(zip(inputs, arrays)))
    for got, want, y in zip(exprc.function(inputs, outputs)(*arrays), wanted, outputs, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=f"{y.type} {y.where}")
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_every_mode(mode: str, axes: int) -> None:
    pool = {2: T.pool_2d, 3: T.pool_3d}[axes]
    for x, params in geometries(axes)[::4]:
        distinct = np.random.default_rng(1).permutation(x.size).reshape(x.shape) / x.size
        exprc.verify_grad(functools.partial(pool, mode=mode, **params), [distinct], rng=2, directions=3)


def test_gradient_of_gradient() -> None:
    """The gradient of what a smooth function of the pooled images sends back."""
    x, params = geometries(2)[-1]
    distinct = np.random.default_rng(1).permutation(x.size).reshape(x.shape) / x.size

    def sent_back(e: Any, mode: str) -> Any:
        return exprc.grad((T.pool_2d(e, mode=mode, **params) ** 3).sum(), e)

    for mode in MODES:
        exprc.verify_grad(functools.partial(sent_back, mode=mode), [distinct], rng=2, directions=3)


def test_nan_and_what_lies_in_the_padding() -> None:
    x = np.full((1, 1, 2, 2), -3.0)
    x[0, 0, 0, 0] = NAN
    ex = Input(TensorType("float64", x.shape))
    outputs = [T.pool_2d(ex, 2, stride=1, pad=1, mode=m) for m in MODES]
    wide = T.pool_2d(ex, 2, stride=1, pad=2, dilation=3)  # four windows hold one element, five none
    largest, total, _, mean, corner = exprc.function([ex], [*outputs, wide])(x)
    np.testing.assert_array_equal(largest[0, 0], [[NAN, NAN, -3], [NAN, NAN, -3], [-3, -3, -3]])
    np.testing.assert_array_equal(np.isnan(total), np.isnan(largest))
    assert mean[0, 0, 2, 2] == -3 and total[0, 0, 2, 2] == -3
    np.testing.assert_array_equal(corner[0, 0], loops(x, (2, 2), True, (1, 1), (2, 2), "max", (3, 3))[0, 0])
    assert np.isnan(corner).any() and (corner == 0).sum() == 5
    empty = T.pool_2d(ex, 2, stride=1, pad=7, dilation=9)
    (value,) = evaluate([empty], {ex: x})
    assert (value == 0).any() and exprc.grad(empty.sum(), ex).type.shape == x.shape


def test_integers_and_large_windows() -> None:
    x = np.arange(-8, 8, dtype="int32").reshape(1, 1, 4, 4)
    ex = Input(TensorType("int32", (1, 1, None, None)))
    largest, total, mean = exprc.function([ex], [T.pool_2d(ex, 4, mode=m) for m in ("max", "sum", "average_inc_pad")])(x)
    assert (largest.item(), total.item(), mean.item()) == (7, -8, -0.5) and largest.dtype == total.dtype == "int32"


def test_lines_are_images_of_one_row() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 11))
    ex = Input(TensorType("float64", (None,) * 3))
    y = T.pool_2d(ex[:, :, None], (1, 3), stride=(1, 2), dilation=(1, 2), pad=(0, 1))[:, :, 0]
    (value,) = evaluate([y], {ex: x})
    wanted = loops(x[:, :, None], (1, 3), True, (1, 2), (0, 1), "max", (1, 2))[:, :, 0]
    np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("lead", [(), (3,), (2, 2, 3)])
def test_volumes_keep_their_leading_axes(lead: Any) -> None:
    x = np.random.default_rng(0).normal(size=(*lead, 4, 5, 6))
    ex = Input(TensorType("float64", (None,) * x.ndim))
    (value,) = evaluate([T.pool_3d(ex, (2, 2, 3))], {ex: x})
    np.testing.assert_array_equal(value, loops(x, (2, 2, 3), True, (2, 2, 3), (0,) * 3, "max", (1,) * 3))


def test_equal_elements_of_a_volume_send_the_gradient_to_the_first() -> None:
    ex = Input(TensorType("float64", (1, 1, 2, 2, 2)))
    (g,) = evaluate([exprc.grad(T.pool_3d(ex, 2).sum(), ex)], {ex: np.ones((1, 1, 2, 2, 2))})
    assert g.ravel().tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_largest_elements_where_they_are() -> None:
    x = np.random.default_rng(4).permutation(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype("float64")
    ex = Input(TensorType("float64", (None,) * 4))
    (value,) = exprc.function([ex], [T.max_pool_2d_same_size(ex, (2, 3))])(x)
    wanted = np.zeros_like(x)
    for i, j in np.ndindex(2, 2):
        part = (..., slice(2 * i, 2 * i + 2), slice(3 * j, 3 * j + 3))
        wanted[part] = np.where(x[part] == x[part].max((-2, -1), keepdims=True), x[part], 0)
    np.testing.assert_array_equal(value, wanted)
    exprc.verify_grad(functools.partial(T.max_pool_2d_same_size, patch_size=(2, 3)), [x / 10], rng=1, directions=3)


def test_every_image_folded_to_one_number() -> None:
    x = np.random.default_rng(4).normal(size=(2, 3, 5, 7))
    ex = Input(TensorType("float64", x.shape))
    whole, mean = evaluate([T.pool_2d(ex, (5, 7)), T.pool_2d(ex, (5, 7), mode="average_inc_pad")], {ex: x})
    np.testing.assert_array_equal(whole[..., 0, 0], x.max((2, 3)))
    np.testing.assert_allclose(mean[..., 0, 0], x.mean((2, 3)))


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
    assert message(x, 2, pad=2).startswith(
        "pool_2d: padding (2, 2) must be smaller than the window (2, 2): some windows would hold nothing but padding"
    )
    assert message(x, 2, ignore_border=False, pad=1).startswith("pool_2d: padding (1, 1) needs ignore_border=True")
    text = message(x, 2, mode="maxx")
    assert text.startswith("pool_2d: mode 'maxx' is none of max, sum, average_inc_pad, average_exc_pad")
    assert "made at test_pool.py" in text and "did you mean 'max'?" in text
    assert message(x, 0).startswith("pool_2d: ws must be an integer of at least 1")
    assert message(T.vector("v"), 2).startswith("pool_2d: at least 2 axes are needed, not 1")
    text = message(x, 2, dilation=3)
    assert text.startswith("max_pool: windows of (2, 2) that cover (4, 4) do not fit in images of (3, 3)")
    text = message(x, 2, dilation=3, pad=4)
    assert text.startswith("pool_2d: padding (4, 4) must be smaller than what a window covers, (4, 4)")
    assert message(x, 2, dilation=0).startswith("pool_2d: dilation must be an integer of at least 1, or two of them: 0")
    assert "images of (0, 3) have nothing to pool" in message(T.tensor4(shape=(1, 1, 0, 3)), 2, pad=1)


def test_errors_of_other_poolings() -> None:
    with pytest.raises(ValueError, match="pool_3d: at least 3 axes are needed, not 2"):
        T.pool_3d(T.matrix("m"), 2)
    with pytest.raises(ValueError, match="pool_3d: ws must be an integer of at least 1, or three of them"):
        T.pool_3d(T.tensor5("v"), (2, 2))
    with pytest.raises(ValueError, match="max_pool_2d_same_size: images have 4 axes, not 2"):
        T.max_pool_2d_same_size(T.matrix("m"), 2)
    with pytest.raises(TypeError, match="pool_2d: numbers are needed, not bool"):
        T.pool_2d(T.TensorType("bool", (1, 1, 4, 4))("b"), 2)
    with pytest.raises(ValueError, match="images of .* have nothing to pool"):
        x = T.tensor4("x")
        exprc.function([x], T.pool_2d(x, 2, pad=1))(np.zeros((1, 1, 0, 3), "float32"))
