"""Masks of dropout on a GPU: worked out again from their counter by who reads them, or stored in one byte; the same bits in every way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from benchmarks import nets
from benchmarks.gpu_resources import launches_of, loaded
from exprc import nn
from exprc.schedule import fuse

L = nn.layers
ON = pytest.param("cuda-emulator", marks=pytest.mark.emulator)
RANDOM = ("uniform_f32", "lt", "cast")


@pytest.fixture(autouse=True)
def seeds() -> Iterator[None]:
    before = nn.random.get_rng()
    yield
    nn.random.set_rng(before)


def lenet(batch: int, side: int = 28, filters: tuple[int, int] = (20, 50), units: int = 256) -> tuple[Any, Any, Any, Any]:
    """A training step with dropout before both dense layers: inputs, loss, parameters, updates."""
    images, labels = T.tensor4("images", shape=(batch, 1, side, side)), T.ivector("labels", shape=(batch,))
    nn.random.set_rng(np.random.RandomState(7))
    last: Any = L.InputLayer((None, 1, side, side))
    for count in filters:
        last = L.MaxPool2DLayer(L.Conv2DLayer(last, count, 5), 2)
    last = L.DenseLayer(L.DropoutLayer(last, 0.25), units)
    last = L.DenseLayer(L.DropoutLayer(last), 10, nonlinearity=nn.nonlinearities.softmax)
    parameters = L.get_all_params(last, trainable=True)
    loss = nn.objectives.categorical_crossentropy(L.get_output(last, images), labels).mean()
    return [images, labels], loss, parameters, nn.updates.nesterov_momentum(loss, parameters, nets.RATE, nets.MOMENTUM)


def masks(plan: Any) -> list[str]:
    """What is stored of random numbers and of what is compared with them: the dtypes."""
    return [s.buffer.dtype for node, s in plan.stored.items() if node.op.name in RANDOM and s.kind == "arena"]


@pytest.mark.parametrize("batch", [128, 500])
def test_a_step_of_lenet_stores_no_mask(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, loss, _, updates = lenet(batch)
    made = loaded(lambda: exprc.function(inputs, loss, updates=updates))
    launches = len(launches_of(made)[1])
    text = next(stage.show() for stage in made.stages if stage.name == "fuse")
    assert launches <= 12 and masks(made.plan) == [] and text.count("worked out again by each reader: cast") == 2
    monkeypatch.setattr(fuse, "AGAIN", 0)
    stored = loaded(lambda: exprc.function(inputs, loss, updates=updates))
    assert masks(stored.plan) == ["bool", "bool"] and launches < len(launches_of(stored)[1])


def test_a_mask_of_very_many_elements_is_stored_in_a_byte_each() -> None:
    x = T.matrix("x", shape=(4096, 4096))
    y = L.get_output(L.DropoutLayer(L.InputLayer((None, 4096))), x)
    made = loaded(lambda: exprc.function([x], exprc.grad(((y - y.mean()) ** 2).sum(), x)))
    assert masks(made.plan) == ["bool"]


def steps(device: str, count: int = 3) -> list[Any]:
    inputs, loss, parameters, updates = lenet(6, 16, (4, 5), 8)
    f = exprc.function(inputs, loss, updates=updates, device=device)
    rng = np.random.default_rng(0)
    losses = [f(rng.random((6, 1, 16, 16), "f"), rng.integers(0, 10, 6).astype("int32")) for _ in range(count)]
    return [*losses, *(p.get_value() for p in parameters)]


@pytest.mark.parametrize("device", [ON])
def test_steps_have_the_values_of_the_cpu_whether_masks_are_stored_or_not(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, got = steps("cpu"), steps(device)
    monkeypatch.setattr(fuse, "AGAIN", 0)
    for stored, again, plain in zip(steps(device), got, wanted, strict=True):
        np.testing.assert_array_equal(stored, again)
        np.testing.assert_allclose(again, plain, 1e-4, 1e-5)


@pytest.mark.parametrize("device", ["cpu", ON])
@pytest.mark.parametrize("again", [0, fuse.AGAIN])
def test_the_mask_has_the_bits_of_the_reference(device: str, again: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward, elementwise and in the hook of a product, along rows and turned."""
    monkeypatch.setattr(fuse, "AGAIN", again)
    x, w = T.matrix("x"), exprc.shared(np.ones((7, 9), "f"))
    values = np.ones((5, 7), "f")

    def made(**how: Any) -> Any:
        nn.random.set_rng(np.random.RandomState(3))
        y = L.get_output(L.DropoutLayer(L.InputLayer((None, 7)), 0.5), x)
        z = L.get_output(L.DropoutLayer(L.InputLayer((None, 9)), 0.25), T.tanh(y @ w)) * T.exp(y.T).sum()
        f = exprc.function([x], [y, exprc.grad(z.sum(), x), z, y.T @ y], **how)
        return [f(values) for _ in range(2)]

    for got, wanted in zip(made(device=device), made(mode="reference"), strict=True):
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a == 0, b == 0)
            np.testing.assert_allclose(a, b, 1e-4, 1e-4)
