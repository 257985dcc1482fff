"""Initial values: their statistics, shapes and dtype."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
from exprc.nn import init

SHAPE = (400, 300)


def close(samples, mean, std):
    """Assert mean and standard deviation within four standard errors or so."""
    assert abs(samples.mean() - mean) < 4 * std / np.sqrt(samples.size)
    assert abs(samples.std() - std) < 4 * std / np.sqrt(samples.size)


def test_constant():
    assert init.Constant(2.5)((2, 3)).tolist() == [[2.5] * 3] * 2
    assert init.Constant()((1,)).tolist() == [0]
    assert init.Constant([1, 2])((3, 2)).tolist() == [[1, 2]] * 3


def test_normal():
    close(init.Normal()(SHAPE), 0, 0.01)
    close(init.Normal(std=2, mean=1)(SHAPE), 1, 2)


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ({}, -0.01, 0.01),
        ({"range": 2}, -2, 2),
        ({"range": (1, 3)}, 1, 3),
        ({"std": 1, "mean": 5}, 5 - np.sqrt(3), 5 + np.sqrt(3)),
    ],
)
def test_uniform(options, low, high):
    samples = init.Uniform(**options)(SHAPE)
    assert low <= samples.min() < low + 0.01 * (high - low)
    assert high >= samples.max() > high - 0.01 * (high - low)
    close(samples, (low + high) / 2, (high - low) / np.sqrt(12))


STDS = [
    # shape, c01b, 1 / (Glorot variance), 1 / (He variance)
    ((400, 300), False, (400 + 300) / 2, 400),
    ((60, 40, 5, 5), False, (60 + 40) * 25 / 2, 40 * 25),
    ((40, 5, 5, 60), True, (60 + 40) * 25 / 2, 40 * 25),
    ((60, 40, 9), False, (60 + 40) * 9 / 2, 40 * 9),
]


@pytest.mark.parametrize(("shape", "c01b", "glorot", "he"), STDS)
@pytest.mark.parametrize(("gain", "factor"), [(1.0, 1), (0.5, 0.5), ("relu", np.sqrt(2))])
def test_glorot_and_he(shape, c01b, glorot, he, gain, factor):
    close(init.GlorotNormal(gain, c01b)(shape), 0, factor / np.sqrt(glorot))
    close(init.GlorotUniform(gain, c01b)(shape), 0, factor / np.sqrt(glorot))
    close(init.HeNormal(gain, c01b)(shape), 0, factor / np.sqrt(he))
    close(init.HeUniform(gain, c01b)(shape), 0, factor / np.sqrt(he))


def test_glorot_and_he_are_uniform_or_normal():
    bound = np.sqrt(6 / 700)
    assert np.abs(init.GlorotUniform()(SHAPE)).max() <= bound < np.abs(init.GlorotNormal()(SHAPE)).max()
    assert np.abs(init.HeUniform()(SHAPE)).max() <= np.sqrt(3 / 400) < np.abs(init.HeNormal()(SHAPE)).max()


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (20, 3, 4, 5), (200, 3, 4, 5)])
def test_orthogonal(shape):
    w = init.Orthogonal()(shape).reshape(shape[0], -1).astype("float64")
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(w.shape)), atol=1e-5)


@pytest.mark.parametrize(("gain", "factor"), [(2.0, 4), ("relu", 2)])
def test_orthogonal_gain(gain, factor):
    w = init.Orthogonal(gain)((10, 10))
    np.testing.assert_allclose(w @ w.T, factor * np.eye(10), atol=1e-4)


SCALED = [init.GlorotNormal, init.GlorotUniform, init.HeNormal, init.HeUniform]


@pytest.mark.parametrize("make", [*SCALED, init.Orthogonal])
def test_shapes_without_inputs_and_outputs_are_refused(make):
    with pytest.raises(RuntimeError, match=r"the shape needs at least 2 dimensions.*, got \(3,\)"):
        make()((3,))
    with pytest.raises(ValueError, match="gain is a number or 'relu', got 'tanh'"):
        make(gain="tanh")


@pytest.mark.parametrize("make", SCALED)
def test_c01b_needs_four_dimensions(make):
    with pytest.raises(RuntimeError, match=r"with c01b=True the shape needs 4 dimensions, got \(3, 4\)"):
        make(c01b=True)((3, 4))


@pytest.mark.parametrize(
    "initializer",
    [init.Constant(1), init.Normal(), init.Uniform(), init.GlorotUniform(), init.HeNormal(), init.Orthogonal()],
)
def test_dtype_is_floatx(initializer):
    assert initializer((3, 4)).dtype == exprc.config.floatX
    with exprc.config.override(floatX="float64"):
        assert initializer((3, 4)).dtype == "float64"


def test_subclasses_define_sample():
    with pytest.raises(NotImplementedError, match=r"Initializer does not define sample\(shape\)"):
        init.Initializer()((2, 3))
    with pytest.raises(NotImplementedError, match=r"Fans does not define std\(shape\)"):
        type("Fans", (init._Scaled,), {})(init.Normal)((2, 3))


def test_what_no_distribution_has():
    for range in ("a", (1, -1), (1, 2, 3), -0.5):
        with pytest.raises(ValueError, match="Uniform: range is a number or a pair"):
            init.Uniform(range)
    with pytest.raises(ValueError, match="Normal: std must be at least 0, got -1"):
        init.Normal(std=-1)
    with pytest.raises(TypeError, match="Constant: val is a number or an array of numbers, got 'a'"):
        init.Constant("a")
