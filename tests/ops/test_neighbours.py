"""Windows as views, neighbourhoods and enlarged images, against NumPy."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Input
from exprc.types import TensorType

X = np.random.default_rng(0).normal(size=(2, 3, 4, 6))


def neighbourhoods(x: Any, shape: Any, step: Any, mode: str) -> Any:
    """Row by row, image by image."""
    sides = {"half": [k // 2 for k in shape], "full": [k - 1 for k in shape], "wrap_centered": [k // 2 for k in shape]}.get(mode, (0, 0))
    framed = np.pad(x, [(0, 0), (0, 0), *((s, s) for s in sides)], "wrap" if mode == "wrap_centered" else "constant")
    every = np.lib.stride_tricks.sliding_window_view(framed, shape, (2, 3))[:, :, :: step[0], :: step[1]]
    return every.reshape(-1, np.prod(shape))


CASES = [
    ((2, 3), (2, 3), "valid"), ((1, 1), (1, 1), "valid"), ((4, 6), (1, 1), "valid"), ((2, 2), (1, 2), "valid"),
    ((3, 4), (3, 4), "ignore_borders"), ((3, 2), (2, 3), "ignore_borders"), ((3, 3), (1, 1), "wrap_centered"),
    ((1, 5), (2, 3), "wrap_centered"), ((3, 3), (1, 1), "half"), ((2, 3), (2, 1), "full"),
]  # fmt: skip


def test_neighbourhoods_compiled() -> None:
    known, unknown = Input(TensorType("float64", X.shape)), Input(TensorType("float64", (None,) * 4))
    outputs = [T.images2neibs(x, shape, step, mode) for x in (known, unknown) for shape, step, mode in CASES]
    for y, (shape, step, mode) in zip(exprc.function([known, unknown], outputs)(X, X), CASES * 2, strict=True):
        np.testing.assert_array_equal(y, neighbourhoods(X, shape, step, mode), err_msg=f"{shape} {step} {mode}")


def test_images_come_back() -> None:
    x = Input(TensorType("float64", (None,) * 4))
    whole = T.neibs2images(T.images2neibs(x, (2, 3)), (2, 3), x.shape)
    part = T.neibs2images(T.images2neibs(x, (3, 4), mode="ignore_borders"), (3, 4), X.shape, "ignore_borders")
    first, second = exprc.function([x], [whole, part])(X)
    np.testing.assert_array_equal(first, X)
    wanted = np.zeros_like(X)
    wanted[:, :, :3, :4] = X[:, :, :3, :4]
    np.testing.assert_array_equal(second, wanted)


@pytest.mark.parametrize(("shape", "step", "mode"), CASES[4:])
def test_gradients(shape: Any, step: Any, mode: str) -> None:
    exprc.verify_grad(functools.partial(T.images2neibs, neib_shape=shape, neib_step=step, mode=mode), [X], rng=1, directions=2)


def test_bilinear_upsampling() -> None:
    x = Input(TensorType("float64", (None,) * 4))
    infinite = X.copy()
    infinite[0, 0, 1, 2] = np.inf
    places = [np.minimum(np.arange(n * 3) / 3, n - 1) for n in X.shape[2:]]
    lines = np.apply_along_axis(lambda line: np.interp(places[0], np.arange(4), line), 2, X)
    wanted = np.apply_along_axis(lambda line: np.interp(places[1], np.arange(6), line), 3, lines)
    f = exprc.function([x], [T.bilinear_upsampling(x, 3), T.bilinear_upsampling(x, 1)])
    value, same = f(X)
    np.testing.assert_allclose(value, wanted, 1e-12, 1e-12)
    np.testing.assert_array_equal(same, X)
    assert f(infinite)[0][0, 0, 3, 6] == np.inf and np.isfinite(f(infinite)[0][0, 0, 0]).all()
    exprc.verify_grad(functools.partial(T.bilinear_upsampling, ratio=2), [X], rng=1, directions=2)


def test_sliding_window_view_is_numpys() -> None:
    x = Input(TensorType("float64", (None,) * 4))
    given = [((2, 3), (2, 3)), (2, 1), ((2, 2), (-1, -1)), ((1, 2, 3, 2), None)]
    values = exprc.function([x], [T.sliding_window_view(x, w, a) for w, a in given])(X)
    for y, (w, a) in zip(values, given, strict=True):
        np.testing.assert_array_equal(y, np.lib.stride_tricks.sliding_window_view(X, w, a))
    exprc.verify_grad(lambda e: T.sliding_window_view(e, (2, 4), (2, 3)) ** 2, [X], rng=1, directions=2)


def message(function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ValueError) as error:
        function(*args, **kwargs)
    return str(error.value)


def test_errors() -> None:
    x = T.tensor4("x", shape=(1, 1, 4, 6))
    text = message(T.images2neibs, x, (3, 2))
    assert text.startswith("images2neibs: neighbourhoods of (3, 2), (3, 2) apart, do not fill images of (4, 6)")
    assert "mode='ignore_borders' leaves out what is left" in text and "made at test_neighbours.py" in text
    assert "'wrap_centered' needs neighbourhoods with a middle, not (2, 3)" in message(T.images2neibs, x, (2, 3), mode="wrap_centered")
    assert "did you mean 'valid'?" in message(T.images2neibs, x, 2, mode="vali")
    assert message(T.images2neibs, T.matrix("m"), 2).startswith("images2neibs: images have 4 axes, not 2")
    assert "windows that cover 7 elements do not fit in an axis of 6" in message(T.images2neibs, x, (1, 7), mode="ignore_borders")
    assert "mode 'half' is neither 'valid' nor 'ignore_borders'" in message(T.neibs2images, T.matrix("m"), 2, (1, 1, 4, 6), "half")
    assert "neighbourhoods have 2 axes and images 4, not 1 and 4" in message(T.neibs2images, T.vector("v"), 2, (1, 1, 4, 6))
    assert "ratio must be an integer of at least 1: 0" in message(T.bilinear_upsampling, x, 0)
    assert "a window of 1 axes for 4 axes of the array" in message(T.sliding_window_view, x, 2)
