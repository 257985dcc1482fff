"""Winograd's convolution: its bound, its edges, when it is chosen, and that it depends on nothing but sizes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.ops.conv import conv2d_grad_weight, conv2d_record
from exprc.ops.winograd import _G, _WIDE, FILTERS, Way, gradient_operations, vector_operations
from exprc.render.base import kernel_source
from exprc.runtime import cpu

Array = np.ndarray[Any, Any]

WAYS = (Way(2, 3), Way(4, 3), Way(2, 5))
#: The matrices of F(TILE, SIZE) beside `_G`, as kernels/c/winograd_tile.h and conv2d_winograd.h write them out.
B = {
    4: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    6: [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
}
A = {
    Way(2, 3): [[1, 1, 1, 0], [0, 1, -1, -1]],
    Way(4, 3): [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    Way(2, 5): [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 1]],
}
#: What sums of magnitudes grow by in the worst case; conv2d_winograd.h states it.
GROWTH = {Way(2, 3): 64, Way(4, 3): 2304, Way(2, 5): 3325}


def geometry(pad: Any = ((1, 1), (1, 1)), dilation: Any = (1, 1)) -> dict[str, Any]:
    return {"stride": (1, 1), "pad": pad, "dilation": dilation, "groups": 1}


def arrays(*shapes: Sequence[int]) -> list[Array]:
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def both(shape: Sequence[int], filters: Sequence[int], pad: Any, dilation: Any = (1, 1), **how: Any) -> Any:
    """The convolution with a bias and relu, and its gradients for the images and the filters."""
    x, w, b = T.tensor4("x", shape=tuple(shape)), T.tensor4("w", shape=tuple(filters)), T.vector("b", shape=(filters[0],))
    y = T.maximum(conv2d_record.apply(x, w, **geometry(pad, dilation)) + b[None, :, None, None], 0)
    return exprc.function([x, w, b], [y, *exprc.grad((y * y).sum(), [x, w])], **how)


def text_of(f: exprc.Function) -> str:
    return "".join(sorted({f"F{t}" for t in (2, 4) if f"#define TILE {t}\n" in f.source}))


def allowed(way: Way, channels: int, x: Array, w: Array) -> float:
    """The bound that conv2d_winograd.h states."""
    return float((channels + 32) * np.finfo("float32").eps * GROWTH[way] * np.abs(x).max() * np.abs(w).max())


@pytest.mark.parametrize("way", WAYS)
def test_the_matrices_are_a_convolution_and_grow_as_stated(way: Way) -> None:
    side = way.tile + way.size - 1
    a, b, g = np.array(A[way], float), np.array(B[side], float), _G[way]
    rng = np.random.default_rng(way.tile)
    d, w = rng.standard_normal((side, side)), rng.standard_normal((way.size, way.size))
    y = a @ ((g @ w @ g.T) * (b @ d @ b.T)) @ a.T
    want = [[(d[i : i + way.size, j : j + way.size] * w).sum() for j in range(way.tile)] for i in range(way.tile)]
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-12)
    growth = (np.abs(a) @ (np.abs(g).sum(1) * np.abs(b).sum(1))).max() ** 2
    assert round(float(growth)) == GROWTH[way]


GEOMETRIES = [
    # images, channels, rows, columns, filters, padding
    ((16, 40, 12, 12), 40, ((1, 1), (1, 1))),
    ((33, 47, 13, 10), 23, ((0, 0), (0, 0))),  # no multiples of anything
    ((20, 23, 9, 30), 47, ((2, 2), (2, 2))),  # the gradient sees a border of none
    ((17, 64, 6, 6), 64, ((1, 1), (1, 1))),  # as many rows as F(2 x 2) suits better
    ((9, 32, 16, 5), 61, ((2, 0), (0, 1))),
    ((16, 150, 8, 8), 72, ((1, 1), (1, 1))),  # more channels than stay in L2 at a time
]


@pytest.mark.parametrize(("shape", "filters", "pad"), GEOMETRIES)
def test_it_is_the_convolution_within_its_bound(shape: Any, filters: int, pad: Any) -> None:
    given = arrays(shape, (filters, shape[1], 3, 3), (filters,))
    f, exact = both(shape, (filters, shape[1], 3, 3), pad), both(shape, (filters, shape[1], 3, 3), pad, mode="reference")
    assert text_of(f)
    x, w, _ = given
    results, wanted = f(*given), exact(*given)
    assert np.abs(results[0] - wanted[0]).max() < allowed(Way(4, 3), shape[1], x, w)
    assert np.abs(results[1] - wanted[1]).max() < allowed(Way(4, 3), filters, 2 * wanted[0], w)
    for got, want in zip(results, wanted):
        assert np.sqrt(((got - want) ** 2).mean()) < 1e-5 * np.sqrt((want**2).mean())  # ordinary numbers: far below the worst case


@pytest.mark.parametrize(("shape", "filters", "pad"), [
    ((33, 20, 12, 12), 50, ((0, 0), (0, 0))),
    ((16, 47, 13, 10), 23, ((2, 2), (2, 2))),
    ((20, 32, 6, 7), 61, ((2, 0), (1, 2))),
    ((9, 150, 8, 8), 40, ((2, 2), (2, 2))),
])  # fmt: skip
def test_filters_of_5_x_5_within_their_bound(shape: Any, filters: int, pad: Any) -> None:
    given = arrays(shape, (filters, shape[1], 5, 5), (filters,))
    f, exact = both(shape, (filters, shape[1], 5, 5), pad), both(shape, (filters, shape[1], 5, 5), pad, mode="reference")
    assert "#define SIZE 5\n" in f.source
    x, w, _ = given
    results, wanted = f(*given), exact(*given)
    assert np.abs(results[0] - wanted[0]).max() < allowed(Way(2, 5), shape[1], x, w)
    assert np.abs(results[1] - wanted[1]).max() < allowed(Way(2, 5), filters, 2 * wanted[0], w)
    for got, want in zip(results, wanted):
        assert np.sqrt(((got - want) ** 2).mean()) < 2e-5 * np.sqrt((want**2).mean())


@pytest.mark.parametrize(("shape", "filters", "size", "pad", "dilation"), [
    ((16, 40, 20, 19), 40, 3, ((0, 0), (0, 0)), (2, 2)),
    ((33, 47, 15, 12), 32, 3, ((2, 2), (1, 1)), (2, 1)),  # odd rows have a row less than even ones
    ((9, 64, 31, 26), 61, 3, ((3, 3), (5, 5)), (3, 5)),  # columns of which some have a tile less
    ((20, 40, 20, 18), 50, 5, "half", (2, 2)),
])  # fmt: skip
def test_dilated_filters_within_their_bound(shape: Any, filters: int, size: int, pad: Any, dilation: Any) -> None:
    given = arrays(shape, (filters, shape[1], size, size), (filters,))
    f, exact = (both(shape, (filters, shape[1], size, size), pad, dilation, mode=mode) for mode in (None, "reference"))
    assert f.source.count("conv2d_winograd.h: ") >= 1 and "conv2d_grad_weight.h: " in f.source
    way = Way(2, 5) if size == 5 else Way(4, 3)
    x, w, _ = given
    results, wanted = f(*given), exact(*given)
    assert np.abs(results[0] - wanted[0]).max() < allowed(way, shape[1], x, w)
    for got, want in zip(results, wanted):
        assert np.sqrt(((got - want) ** 2).mean()) < 2e-5 * np.sqrt((want**2).mean())


def test_a_dilated_convolution_is_not_pooled_in_its_tiles() -> None:
    """Neighbouring results are made in other tiles."""
    x, w = T.tensor4("x", shape=(18, 40, 15, 16)), T.tensor4("w", shape=(40, 40, 3, 3))
    given = arrays((18, 40, 15, 16), (40, 40, 3, 3))
    y = T.pool_2d(T.relu(conv2d_record.apply(x, w, **geometry("half", (2, 2)))), (2, 2))
    f, exact = exprc.function([x, w], y), exprc.function([x, w], y, precision="strict")
    assert text_of(f) and "#define PP" not in f.source and "conv2d_max_pool" not in f.source
    np.testing.assert_allclose(f(*given), exact(*given), rtol=0, atol=1e-4 * np.abs(exact(*given)).max())


def test_a_gradient_that_meets_mostly_zeros_is_summed_as_it_stands() -> None:
    """That of a convolution without padding: the filters reach beyond the images everywhere, and no product with those zeros is formed."""
    g, w = T.tensor4("g", shape=(128, 50, 8, 8)), T.tensor4("w", shape=(20, 50, 5, 5))
    y = conv2d_record.apply(g, w, **geometry(((4, 4), (4, 4))))
    assert text_of(exprc.function([g, w], y)) == ""


@pytest.mark.parametrize("cpu_name", ["avx2", "scalar"])
def test_other_widths_of_vectors(cpu_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPRC_CPU", cpu_name)
    if cpu_name == "avx2" and cpu.host_target().name != "avx2":
        pytest.skip("this CPU has no AVX2")
    shape, filters, pad = (7, 34, 9, 8), 35, ((1, 1), (1, 1))
    given = arrays(shape, (filters, shape[1], 3, 3), (filters,))
    f, exact = both(shape, (filters, shape[1], 3, 3), pad), both(shape, (filters, shape[1], 3, 3), pad, mode="reference")
    assert text_of(f)
    for got, want in zip(f(*given), exact(*given)):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_pooling_takes_place_in_the_tile() -> None:
    x, w = T.tensor4("x", shape=(18, 40, 11, 14)), T.tensor4("w", shape=(30, 40, 3, 3))
    given = arrays((18, 40, 11, 14), (30, 40, 3, 3))
    given[1] *= 0.05
    for window in ((2, 2), (4, 1)):
        y = T.pool_2d(T.tanh(conv2d_record.apply(x, w, **geometry())), window, ignore_border=False)
        cost = exprc.grad((y * y).sum(), w)
        f, exact = exprc.function([x, w], [y, cost]), exprc.function([x, w], [y, cost], precision="strict")
        assert "conv2d_max_pool" in f.source and text_of(f) == "F4"
        for got, want in zip(f(*given), exact(*given)):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(("size", "dilation"), [(3, (1, 1)), (5, (1, 1)), (3, (2, 3))])
def test_what_is_not_finite_stays_where_it_is(size: int, dilation: Any) -> None:
    """A NaN, an infinity and an overflow in the middle of tiles: all other results are what they would be without them."""
    x, w = arrays((16, 40, 12, 12), (40, 40, size, size))
    x[0, 3, 5, 5], x[1, 0, 0, 0], x[2, 7, 11, 3], x[3, 1, 6, 6] = np.nan, np.inf, -np.inf, 5e37
    x[4, 2, 3, 3], x[4, 2, 3, 4] = np.inf, -np.inf
    w[5, 0, size // 2, size // 2] = np.inf
    w[6] = 0
    images, filters = T.tensor4("x", shape=x.shape), T.tensor4("w", shape=w.shape)
    y = conv2d_record.apply(images, filters, **geometry("half", dilation))
    f = exprc.function([images, filters], y)
    assert f"#define SIZE {size}\n" in f.source
    with np.errstate(invalid="ignore", over="ignore"):
        want = exprc.function([images, filters], y, mode="reference")(x, w)
    got = f(x, w)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got) * np.sign(got), np.isinf(want) * np.sign(want))
    finite = np.isfinite(want)
    assert finite.mean() > 0.9 and np.abs(want[finite]).max() > 1e37
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-5 if size == 3 else 1e-4, atol=1e-3)


def test_what_is_not_finite_in_a_gradient_reaches_the_weights_that_meet_it() -> None:
    """A NaN in a corner meets one weight of nine; an infinity that meets only zeros makes a NaN of it."""
    x, g = arrays((16, 40, 14, 14), (16, 40, 12, 12))
    x[0, 3, 0, 0], x[1, 4, 13, 5], x[2, 5, 6, 6], x[3, 6, 13, 13] = np.nan, np.inf, 1e38, -np.inf
    g[3, 7] = 0
    images, gradients = T.tensor4("x", shape=x.shape), T.tensor4("g", shape=g.shape)
    y = conv2d_grad_weight.node((images, gradients), {**geometry(((0, 0), (0, 0))), "size": (3, 3)})
    f = exprc.function([images, gradients], y)
    assert text_of(f) == "F4"
    with np.errstate(invalid="ignore", over="ignore"):
        want = exprc.function([images, gradients], y, mode="reference")(x, g)
    got = f(x, g)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got) * np.sign(got), np.isinf(want) * np.sign(want))
    finite = np.isfinite(want)
    assert finite.mean() > 0.95 and np.abs(want[finite]).max() > 1e37
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-4, atol=1e-2)


def test_strict_is_the_sum_as_it_stands() -> None:
    shape, filters, pad = (16, 40, 12, 12), (40, 40, 3, 3), ((1, 1), (1, 1))
    f, g = both(shape, filters, pad, precision="strict"), both(shape, filters, pad)
    assert text_of(f) == "" and text_of(g) == "F4"
    given = arrays(shape, filters, (40,))
    with exprc.config.override(precision="strict"):
        for a, b in zip(f(*given), both(shape, filters, pad)(*given)):
            np.testing.assert_array_equal(a, b)


def test_threads_do_not_change_a_bit() -> None:
    shape, filters, pad = (40, 36, 10, 9), (33, 36, 3, 3), ((1, 1), (1, 1))
    given = arrays(shape, filters, (33,))
    results = []
    for threads in (1, 2, 5):
        with exprc.config.override(threads=threads):
            results.append(both(shape, filters, pad)(*given))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_a_batch_of_any_size() -> None:
    """The number of images is an argument of the program from the third on."""
    x, w = T.tensor4("x", shape=(None, 40, None, None)), T.tensor4("w", shape=(40, 40, 3, 3))
    y = conv2d_record.apply(x, w, **geometry("half"))
    f, exact = exprc.function([x, w], y), exprc.function([x, w], y, mode="reference")
    (weights,) = arrays((40, 40, 3, 3))
    for shape in ((16, 40, 8, 8), (17, 40, 9, 7), (31, 40, 5, 12), (33, 40, 10, 4), (24, 40, 6, 11)):
        (images,) = arrays(shape)
        np.testing.assert_allclose(f(images, weights), exact(images, weights), rtol=0, atol=2e-3)
    assert text_of(f)


@pytest.mark.parametrize(("shape", "filters", "changed"), [
    ((16, 3, 32, 32), (64, 3, 3, 3), {}),  # so few channels that transforming costs more
    ((16, 40, 12, 12), (40, 40, 3, 2), {}),
    ((16, 40, 12, 12), (40, 40, 3, 3), {"stride": (2, 1)}),
    ((16, 40, 12, 12), (40, 40, 3, 3), {"dilation": (1, 5)}),  # so few columns that belong together
    ((16, 80, 12, 12), (80, 40, 3, 3), {"groups": 2}),
    ((1, 40, 12, 12), (40, 40, 3, 3), {}),  # vectors of images would be empty
    ((16, 0, 12, 12), (40, 0, 3, 3), {}),
])  # fmt: skip
def test_where_it_does_not_serve(shape: Any, filters: Any, changed: Any) -> None:
    x, w = T.tensor4("x", shape=shape), T.tensor4("w", shape=filters)
    f = exprc.function([x, w], conv2d_record.apply(x, w, **{**geometry(), **changed}))
    assert text_of(f) == ""


def test_float64_is_summed_as_it_stands() -> None:
    x, w = T.tensor4("x", dtype="float64", shape=(16, 40, 12, 12)), T.tensor4("w", dtype="float64", shape=(40, 40, 3, 3))
    assert text_of(exprc.function([x, w], conv2d_record.apply(x, w, **geometry()))) == ""


def test_the_choice_follows_from_what_both_ways_cost() -> None:
    """More channels make it pay more; results that fill their tiles badly less."""
    for count in (vector_operations, gradient_operations):

        def gain(channels: int, rows: int, tile: int = 4) -> float:
            direct, here = count(Way(tile, 3), (64, channels, rows, rows), (64, channels, rows, rows), 16)  # noqa: B023
            return direct / here

        assert gain(4, 32) < 1 < gain(32, 32) < gain(64, 32) < gain(128, 32) < 4
        assert gain(64, 5) < gain(64, 8)
        assert gain(64, 6, 4) < gain(64, 6, 2)


def test_filters_that_two_kernels_read_are_transformed_once() -> None:
    x, y, w = (T.tensor4(n, shape=s) for n, s in zip("xyw", [(16, 40, 12, 12), (32, 40, 8, 8), (40, 40, 3, 3)]))
    f = exprc.function([x, y, w], [conv2d_record.apply(v, w, **geometry()) for v in (x, y)])
    assert [node.op for node in f._loaded().plan.implementations].count(FILTERS) == 1


def test_the_transformed_filters_of_the_interpreter_are_those_of_the_program() -> None:
    for tile, size in WAYS:
        w = T.tensor4("w", shape=(11, 5, size, size))
        (value,) = arrays((11, 5, size, size))
        u = FILTERS.node((w,), {"tile": tile})
        got, want = (exprc.function([w], u, mode=mode)(value) for mode in ("compiled", "reference"))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
        assert (got[:, -1, :, 11 % 8 :] == 0).all()


def test_a_step_of_two_convolutions_learns_what_the_strict_one_learns() -> None:
    losses = []
    images, (target,) = arrays((16, 8, 12, 12))[0], arrays((16,))
    for precision in ("float32", "strict"):
        first, second = (exprc.shared(0.1 * v, n) for v, n in zip(arrays((32, 8, 3, 3), (32, 32, 3, 3)), "vw"))
        x, t = T.tensor4("x", shape=images.shape), T.vector("t", shape=(16,))
        h = T.maximum(conv2d_record.apply(x, first, **geometry()), 0)
        y = T.tanh(conv2d_record.apply(h, second, **geometry())).mean(axis=(1, 2, 3))
        cost = ((y - t) ** 2).mean()
        updates = {p: p - 0.5 * g for p, g in zip((first, second), exprc.grad(cost, [first, second]))}
        f = exprc.function([x, t], cost, updates=updates, precision=precision)
        assert bool(text_of(f)) == (precision == "float32")
        losses.append([float(f(images, target)) for _ in range(5)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_it_runs_on_a_small_stack() -> None:
    """V and M of a block take a megabyte: threads of Python and of OpenMP may have less than that."""
    x, w = T.tensor4("x"), T.tensor4("w")
    y = T.conv2d(x, w, border_mode=(1, 1))
    f = exprc.function([x, w], [y, *T.grad((y * y).sum(), [x, w])], mode="compiled")
    values = [np.ones((32, 32, 16, 16), "float32"), np.ones((32, 32, 3, 3), "float32")]
    want = f(*values)
    assert any("winograd" in i.name for i in f._compiled.last.plan.implementations.values())
    size = threading.stack_size(256 * 1024)
    try:
        with ThreadPoolExecutor(1) as pool:
            got = pool.submit(f, *values).result()
    finally:
        threading.stack_size(size)
    assert all(np.array_equal(a, b) for a, b in zip(got, want))


def test_the_count_knows_how_many_tiles_the_text_takes_at_a_time() -> None:
    assert f"#define WINO_WIDE {_WIDE}\n" in kernel_source("c/conv2d_winograd.h")
