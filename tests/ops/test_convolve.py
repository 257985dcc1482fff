"""Convolutions of every kind against one sum over windows, compiled and interpreted; their gradients against differences."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Expr, Input
from exprc.reference import evaluate
from exprc.types import TensorType


def sides(pad: Any, kernel: Any, dilation: Any) -> list[tuple[int, int]]:
    covered = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    if pad == "full":
        return [(c - 1, c - 1) for c in covered]
    return [(c // 2, c // 2) for c in covered] if pad == "half" else list(pad)


def windows(x: Any, kernel: Any, stride: Any, pad: Any, dilation: Any) -> Any:
    """Every window of images with any number of axes: (n, c, *places, *kernel)."""
    axes = len(kernel)
    framed = np.pad(x, [(0, 0), (0, 0), *sides(pad, kernel, dilation)])
    covered = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    every = np.lib.stride_tricks.sliding_window_view(framed, covered, tuple(range(2, 2 + axes)))
    return every[(slice(None), slice(None), *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))]


def correlation(x: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int = 1, unshared: bool = False) -> Any:
    axes = x.ndim - 2
    kernel = w.shape[-axes:]
    found = windows(x, kernel, stride, pad, dilation)
    parts, filters = np.split(found, groups, 1), np.split(w, groups)
    letters = "pqr"[:axes], "uvt"[:axes]
    places = letters[0] if unshared else ""
    spec = f"nc{letters[0]}{letters[1]},o{places}c{letters[1]}->no{letters[0]}"
    return np.concatenate([np.einsum(spec, part, w_, optimize=True) for part, w_ in zip(parts, filters)], 1)


def random_geometry(rng: Any, axes: int) -> tuple[Any, Any, dict[str, Any]]:
    groups = int(rng.integers(1, 4))
    c, o = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    kernel, dilation = (tuple(map(int, rng.integers(1, 5 - (axes == 3), axes))), tuple(map(int, rng.integers(1, 3, axes))))
    pad: Any = tuple(tuple(map(int, rng.integers(0, 4, 2))) for _ in range(axes))
    pad = ("full", "half", pad, pad)[rng.integers(4)]
    least = [max(1, (k - 1) * d + 1 - sum(s)) for k, d, s in zip(kernel, dilation, sides(pad, kernel, dilation))]
    image = [m + int(rng.integers(0, 5)) for m in least]
    params = {"stride": tuple(map(int, rng.integers(1, 5, axes))), "pad": pad, "dilation": dilation, "groups": groups}
    return rng.normal(size=(2, c, *image)), rng.normal(size=(o, c // groups, *kernel)), params


#: What is odd about them is that they are ordinary elsewhere: strides beyond the filter, even and 1x1 filters, one row, a whole image.
ODD: tuple[tuple[Any, Any, dict[str, Any]], ...] = (
    ((3, 2, 7, 7), (4, 2, 1, 1), {"stride": (3, 3), "pad": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}),
    ((2, 4, 9, 6), (4, 1, 2, 4), {"stride": (5, 3), "pad": ((1, 0), (0, 3)), "dilation": (1, 1), "groups": 4}),
    ((1, 3, 5, 5), (2, 3, 5, 5), {"stride": (1, 1), "pad": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}),
    ((2, 6, 8, 9), (9, 2, 3, 2), {"stride": (2, 3), "pad": "half", "dilation": (2, 3), "groups": 3}),
    ((2, 1, 1, 1), (1, 1, 3, 3), {"stride": (2, 2), "pad": "full", "dilation": (2, 1), "groups": 1}),
    ((0, 2, 5, 5), (3, 2, 3, 3), {"stride": (1, 1), "pad": "half", "dilation": (1, 1), "groups": 1}),
    ((2, 2, 4, 5), (0, 2, 3, 3), {"stride": (1, 1), "pad": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}),
)


@functools.cache
def cases(axes: int) -> list[tuple[Any, Any, dict[str, Any]]]:
    rng = np.random.default_rng(40 + axes)
    made = [random_geometry(rng, axes) for _ in range({1: 6, 2: 8, 3: 6}[axes])]
    return made + [(rng.normal(size=x), rng.normal(size=w), params) for x, w, params in (ODD if axes == 2 else ())]


def leaf(array: Any, known: bool = True) -> Input:
    return Input(TensorType(array.dtype.name, array.shape if known else (None,) * array.ndim))


def arguments(params: dict[str, Any]) -> dict[str, Any]:
    one = len(params["stride"]) == 1
    pick = (lambda v: v[0]) if one else (lambda v: v)
    pad = params["pad"]
    return {
        "border_mode": pad if isinstance(pad, str) else pick(pad), "subsample": pick(params["stride"]),
        "filter_dilation": pick(params["dilation"]), "num_groups": params["groups"], "filter_flip": False,
    }  # fmt: skip


CONVOLUTIONS = {1: T.conv1d, 2: T.conv2d, 3: T.conv3d}


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_compiled_and_interpreted_are_the_sum_over_windows(axes: int) -> None:
    inputs, outputs, arrays, wanted = [], [], [], []
    for k, (x, w, params) in enumerate(cases(axes)):
        x = np.concatenate([x] * 9)[:17] if k % 3 == 1 else x
        ex, ew = leaf(x, bool(k % 2)), leaf(w)
        inputs += [ex, ew]
        arrays += [x, w]
        outputs += [CONVOLUTIONS[axes](ex, ew, **arguments(params))]
        wanted += [correlation(x, w, **params)]
    compiled = exprc.function(inputs, outputs)(*arrays)
    interpreted = evaluate(outputs, dict(zip(inputs, arrays)))
    for y, z, want, (_, _, params) in zip(compiled, interpreted, wanted, cases(axes), strict=True):
        np.testing.assert_allclose(y, want, 1e-10, 1e-10, err_msg=str(params))
        np.testing.assert_allclose(z, want, 1e-10, 1e-10, err_msg=str(params))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_gradients(axes: int) -> None:
    for x, w, params in [case for case in cases(axes) if case[0].size and case[1].size][::3]:
        convolve = functools.partial(CONVOLUTIONS[axes], **{**arguments(params), "filter_flip": True})
        exprc.verify_grad(convolve, [x, w], rng=1, directions=2)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_gradients_of_gradients(axes: int) -> None:
    """Each is linear in images and filters, so the cost is a square."""

    def step(ex: Expr, ew: Expr, **given: Any) -> Any:
        return tuple(exprc.grad((CONVOLUTIONS[axes](ex, ew, **given) ** 2).sum(), [ex, ew]))

    for x, w, params in cases(axes)[1:3]:
        exprc.verify_grad(functools.partial(step, **arguments(params)), [x, w], rng=1, directions=2)


@pytest.mark.parametrize("axes", [2, 3])
def test_gradients_as_functions_are_those_of_grad(axes: int) -> None:
    by_inputs = {2: T.conv2d_grad_wrt_inputs, 3: T.conv3d_grad_wrt_inputs}[axes]
    by_weights = {2: T.conv2d_grad_wrt_weights, 3: T.conv3d_grad_wrt_weights}[axes]
    inputs, outputs, arrays = [], [], []
    for k, (x, w, params) in enumerate(cases(axes)[:9]):
        given = {**arguments(params), "filter_flip": bool(k % 2)}
        ex, ew = leaf(x, k < 3), leaf(w)
        g = np.random.default_rng(k).normal(size=correlation(x, w, **params).shape)
        eg = leaf(g, k < 3)
        cost = (CONVOLUTIONS[axes](ex, ew, **given) * eg).sum()
        outputs += exprc.grad(cost, [ex, ew])
        shapes = x.shape if k < 3 else (None, None, *(ex.shape[2 + a] for a in range(axes)))
        outputs += [by_inputs(eg, ew, shapes, **given), by_weights(ex, eg, (None, None, *w.shape[2:]), **given)]
        inputs += [ex, ew, eg]
        arrays += [x, w, g]
    values = exprc.function(inputs, outputs)(*arrays)
    for k in range(0, len(values), 4):
        gx, gw, own_gx, own_gw = values[k : k + 4]
        np.testing.assert_allclose(own_gx, gx, 1e-10, 1e-10)
        np.testing.assert_allclose(own_gw, gw, 1e-10, 1e-10)


@pytest.mark.parametrize("axes", [2, 3])
def test_transposed_convolution_spreads_each_element(axes: int) -> None:
    """Without padding: every element times the filter, added where it belongs."""
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(2, 3, *(4, 3, 2)[:axes])), rng.normal(size=(3, 2, *(3, 2, 2)[:axes]))
    stride, dilation = (2, 1, 3)[:axes], (1, 2, 1)[:axes]
    covered = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation)]
    wanted = np.zeros((2, 2, *((n - 1) * s + c for n, s, c in zip(x.shape[2:], stride, covered))))
    for place in np.ndindex(*x.shape[2:]):
        at = tuple(slice(i * s, i * s + c, d) for i, s, c, d in zip(place, stride, covered, dilation))
        wanted[(slice(None), slice(None), *at)] += np.tensordot(x[(..., *place)], w, 1)
    transpose = {2: T.conv2d_transpose, 3: T.conv3d_transpose}[axes]
    ex, ew = leaf(x, False), leaf(w)
    smallest = transpose(ex, ew, input_dilation=stride, filter_dilation=dilation, filter_flip=False)
    larger = transpose(ex, ew, (None, 2, *(n + (s > 1) for n, s in zip(wanted.shape[2:], stride))),
                       input_dilation=stride, filter_dilation=dilation, filter_flip=False)  # fmt: skip
    value, more = exprc.function([ex, ew], [smallest, larger])(x, w)
    np.testing.assert_allclose(value, wanted, 1e-10, 1e-10)
    np.testing.assert_allclose(more[tuple(slice(0, n) for n in wanted.shape)], wanted, 1e-10, 1e-10)
    assert more.sum() == pytest.approx(wanted.sum()) and more.shape[2] == wanted.shape[2] + 1


def test_half_of_the_transpose_doubles_images() -> None:
    x, w = T.tensor4("x", shape=(1, 8, 7, 7)), T.tensor4("w", shape=(8, 3, 5, 5))
    assert T.conv2d_transpose(x, w, border_mode="half", input_dilation=2).type.shape == (1, 3, 13, 13)
    assert T.conv2d_transpose(x, w, (1, 3, 14, 14), border_mode="half", input_dilation=2).type.shape == (1, 3, 14, 14)
    with pytest.raises(ValueError, match="have results of another size than the gradient: 8 ≠ 7"):
        T.conv2d_transpose(x, w, (1, 3, 15, 15), border_mode="half", input_dilation=2)
    with pytest.raises(ValueError, match=r"input_shape \(1, 4, 14, 14\) is stated, but the array has shape \(1, 3, 14, 14\)"):
        T.conv2d_transpose(x, w, (1, 4, 14, 14), border_mode="half", input_dilation=2)


def test_filters_of_their_own_at_every_place() -> None:
    rng = np.random.default_rng(8)
    inputs, outputs, arrays, wanted = [], [], [], []
    for x, w, params in cases(2)[:4]:
        places = correlation(x, w, **params).shape[2:]
        local = rng.normal(size=(len(w), *places, *w.shape[1:]))
        ex, ew = leaf(x, bool(len(inputs) % 4)), leaf(local)
        inputs, arrays = [*inputs, ex, ew], [*arrays, x, local]
        outputs += [T.conv2d(ex, ew, **arguments(params), unshared=True)]
        wanted += [correlation(x, local, **params, unshared=True)]
    for y, want in zip(exprc.function(inputs, outputs)(*arrays), wanted, strict=True):
        np.testing.assert_allclose(y, want, 1e-10, 1e-10)
    convolve = functools.partial(T.conv2d, **arguments(cases(2)[3][2]), unshared=True)
    exprc.verify_grad(convolve, arrays[6:8], rng=1, directions=2)


def test_errors_of_filters_that_are_not_shared() -> None:
    x = T.tensor4("x", shape=(1, 2, 6, 6))
    with pytest.raises(ValueError, match=r"for channels and places \(2, 3, 3\), the images have \(2, 4, 4\)"):
        T.conv2d(x, T.TensorType("float32", (5, 3, 3, 2, 3, 3))("w"), unshared=True)
    with pytest.raises(ValueError, match="images and filters need 4 and 6 axes, not 4 and 4"):
        T.conv2d(x, T.tensor4("w"), unshared=True)
    with pytest.raises(ValueError, match="rows and columns of filters that are not shared must be known"):
        T.conv2d(x, T.TensorType("float32", (None,) * 6)("w"), unshared=True)


def test_causal_lines_see_only_what_came_before() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(2, 3, 10)), rng.normal(size=(4, 3, 3))
    ex, ew = leaf(x, False), leaf(w)
    y, jump = T.causal_conv1d(ex, ew, filter_dilation=2), T.causal_conv1d(ex, ew, subsample=3)
    value, steps = exprc.function([ex, ew], [y, jump])(x, w)
    assert value.shape == (2, 4, 10) and steps.shape == (2, 4, 4)
    later = x.copy()
    later[:, :, 6:] = 0
    (cut,) = evaluate([y], {ex: later, ew: w})
    np.testing.assert_allclose(cut[:, :, :6], value[:, :, :6], 1e-12)
    assert np.all(cut[:, :, 6:] != value[:, :, 6:])
    wanted = correlation(np.pad(x, ((0, 0), (0, 0), (4, 0))), w[..., ::-1], (1,), ((0, 0),), (2,))
    np.testing.assert_allclose(value, wanted, 1e-10)
    with pytest.raises(ValueError, match="causal_conv1d: the length of the filters must be known"):
        T.causal_conv1d(ex, leaf(w, False))


def test_separable_convolution_is_two() -> None:
    rng = np.random.default_rng(2)
    x, depth, point = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(6, 1, 3, 2)), rng.normal(size=(5, 6, 1, 1))
    leaves = [leaf(a) for a in (x, depth, point)]
    y = T.separable_conv2d(*leaves, 3, border_mode="half", subsample=(2, 1), filter_flip=False)
    (value,) = evaluate([y], dict(zip(leaves, (x, depth, point))))
    inner = correlation(x, depth, (2, 1), "half", (1, 1), 3)
    np.testing.assert_allclose(value, np.einsum("ncpq,oc->nopq", inner, point[..., 0, 0]), 1e-10, 1e-10)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_shapes_worked_out_are_those_that_come_out(axes: int) -> None:
    for x, w, params in cases(axes):
        given = arguments(params)
        shape = T.get_conv_output_shape(x.shape, w.shape, given["border_mode"], given["subsample"], given["filter_dilation"])
        assert shape == correlation(x, w, **params).shape
    open_ = T.get_conv_output_shape((None, *x.shape[1:2], None, *x.shape[3:]), w.shape, "valid", 1)
    assert open_[0] is None and open_[2] is None


def test_errors_of_shapes() -> None:
    with pytest.raises(ValueError, match=r"filters that cover 9 do not fit in images of 6 \(padding included\)"):
        T.get_conv_output_shape((1, 1, 4, 4), (1, 1, 5, 5), 1, (1, 1), (2, 2))
    with pytest.raises(ValueError, match="images of 4 and filters of 3 axes do not belong together"):
        T.get_conv_output_shape((1, 1, 4, 4), (1, 1, 5), "valid", 1)
    n = T.lscalar("n")
    (rows,) = evaluate([T.get_conv_output_shape((1, 1, n, 4), (1, 1, 3, 3), "half", 2)[2]], {n: np.int64(9)})
    assert rows == 5


def test_errors_of_arguments() -> None:
    x, w = T.tensor3("x", shape=(1, 3, 8)), T.tensor3("w", shape=(4, 3, 5))
    volumes, filters = T.tensor5("x"), T.tensor5("w")
    for text, call in {
        "conv1d: images and filters need 3 axes, not 2 and 3": lambda: T.conv1d(T.matrix("m"), w),
        "conv1d: subsample must be an integer of at least 1: 0": lambda: T.conv1d(x, w, subsample=0),
        "conv1d: border_mode must be an integer of at least 0, or two of them": lambda: T.conv1d(x, w, border_mode=(1, 2, 3)),
        "conv1d: filter_shape (4, 3, 6) is stated": lambda: T.conv1d(x, w, None, (4, 3, 6)),
        "conv3d: images and filters need 5 axes, not 3 and 3": lambda: T.conv3d(x, w),
        "conv3d: border_mode must have an entry for each of three axes": lambda: T.conv3d(volumes, filters, border_mode=(1, 2)),
        "conv3d: the depth of the filters must be known": lambda: T.conv3d(volumes, filters),
        "input_shape must have 4 entries, None only for the first two": lambda: T.conv2d_grad_wrt_inputs(
            T.tensor4(), T.tensor4(), (None, None, None, 3)
        ),
        "num_groups must be at least 1": lambda: T.conv2d(T.tensor4(), T.tensor4(), num_groups=1.5),
        "3 channels cannot be split in 2 groups": lambda: T.conv2d_grad_wrt_weights(
            T.tensor4(shape=(1, 3, 4, 4)), T.tensor4(), (None, None, 3, 3), num_groups=2
        ),
    }.items():
        with pytest.raises(ValueError) as error:
            call()
        assert text in str(error.value), str(error.value)
