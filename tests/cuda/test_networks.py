"""Networks on CUDA devices: layers and their gradients, training steps, data that stay on the device, work of the host between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import nn
from tests.cuda.devices import DEVICES, there

L, act = nn.layers, nn.nonlinearities
RNG = np.random.default_rng(3)


def images(channels: int = 3) -> Any:
    return L.InputLayer((4, channels, 9, 8))


#: Networks by name: the layers with kernels of their own, and what they are joined by.
NETWORKS: dict[str, Callable[[], Any]] = {
    "dense": lambda: L.DenseLayer(L.DenseLayer(L.InputLayer((5, 7)), 33, nonlinearity=act.tanh), 4, nonlinearity=act.softmax),
    "conv": lambda: L.Conv2DLayer(images(), 6, 3, nonlinearity=act.leaky_rectify),
    "conv same": lambda: L.Conv2DLayer(images(), 5, (3, 5), pad="same", stride=2),
    "conv groups": lambda: L.Conv2DLayer(images(4), 6, 3, num_groups=2),
    "untied": lambda: L.Conv2DLayer(images(), 4, 3, untie_biases=True, pad="full"),
    "max pool": lambda: L.MaxPool2DLayer(L.Conv2DLayer(images(), 6, 2), 2),
    "mean pool": lambda: L.Pool2DLayer(images(), 3, stride=2, pad=1, mode="average_inc_pad"),
    "global pool": lambda: L.GlobalPoolLayer(images()),
    "batch norm": lambda: L.batch_norm(L.Conv2DLayer(images(), 5, 3)),
    "dense norm": lambda: L.batch_norm(L.DenseLayer(L.InputLayer((6, 5)), 8)),
    "joined": lambda: L.ConcatLayer([L.Conv2DLayer(i := images(), 4, 1), L.Conv2DLayer(i, 3, 1)]),
    "residual": lambda: L.ElemwiseSumLayer([i := images(), L.Conv2DLayer(i, 3, 3, pad="same")]),
}


def values_of(net: Any) -> dict[Any, Any]:
    made = {}
    for layer in L.get_all_layers(net):
        if isinstance(layer, L.InputLayer):
            made[layer.input_var] = RNG.standard_normal(layer.shape, "float32")
    return made


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("names", [list(NETWORKS)[k::4] for k in range(4)], ids=lambda n: f"{n[0]} to {n[-1]}")
def test_layers_and_their_gradients(names: list[str], device: str) -> None:
    """As on the CPU within 200 units of the largest magnitude: a gradient is a sum of up to some hundred products."""
    outputs: list[Any] = []
    values: dict[Any, Any] = {}
    for name in names:
        net = NETWORKS[name]()
        y = L.get_output(net)
        given = values_of(net)
        params = L.get_all_params(net, trainable=True)
        outputs += [y, *exprc.grad((y * y).sum() + T.sin(3 * y).sum(), [*params, *given])]
        values |= given
    on = exprc.function(list(values), outputs, device=there(device))(*values.values())
    off = exprc.function(list(values), outputs)(*values.values())
    for a, b in zip(on, off):
        np.testing.assert_allclose(a, b, rtol=0, atol=200 * np.finfo("float32").eps * max(1, np.abs(b).max(initial=0)))


def lenet() -> Any:
    net = L.InputLayer((None, 1, 28, 28))
    net = L.MaxPool2DLayer(L.Conv2DLayer(net, 4, 5), 2)
    net = L.MaxPool2DLayer(L.Conv2DLayer(net, 6, 5), 2)
    return L.DenseLayer(L.DenseLayer(net, 30), 10, nonlinearity=act.softmax)


def trained(device: str, steps: int) -> tuple[list[float], list[Any]]:
    """The losses of some steps with data and batch index on the device, and the weights afterwards."""
    nn.random.set_rng(np.random.RandomState(1))
    net, rng = lenet(), np.random.default_rng(0)
    data = exprc.shared(rng.standard_normal((48, 1, 28, 28)).astype("float32"), name="images")
    labels = exprc.shared(rng.integers(0, 10, 48).astype("int32"), name="labels")
    x, y, k = L.get_all_layers(net)[0].input_var, T.ivector("y"), T.lscalar("k")
    loss = nn.objectives.categorical_crossentropy(L.get_output(net), y).mean()
    params = L.get_all_params(net, trainable=True)
    updates = nn.updates.nesterov_momentum(loss, params, 0.05, 0.9)
    part = slice(k * 8, (k + 1) * 8)
    step = exprc.function([k], loss, updates=updates, givens={x: data[part], y: labels[part]}, device=device)
    losses = [float(step(s % 6)) for s in range(steps)]
    if device != "cpu":
        assert all(p.container.resident.ahead for p in params), "no call brought a weight back to the host"
        copied = [line.split("bytes")[1].strip() for line in str(step.explain()).splitlines() if "each call" in line]
        assert set(copied) <= {"k", "sizes", "output 0", "status of the checks of indices"}
        assert not any(p.container.resident.behind for p in params)
    return losses, [p.get_value() for p in params]


@pytest.mark.parametrize("device", DEVICES)
def test_training_with_data_on_the_device(device: str) -> None:
    on, weights = trained(there(device), 9)
    off, others = trained("cpu", 9)
    np.testing.assert_allclose(on, off, rtol=1e-3)
    for a, b in zip(weights, others):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_two_runs_train_to_the_same_bits(device: str) -> None:
    (a, first), (b, second) = trained(there(device), 4), trained(device, 4)
    assert a == b and all(np.array_equal(x, y) for x, y in zip(first, second))


@pytest.mark.emulator
def test_every_access_of_training_is_checked() -> None:
    with exprc.config.override(emulator="check", emulator_order="random"):
        trained("cuda-emulator", 2)


@pytest.mark.parametrize("device", DEVICES)
def test_the_host_works_between_programs(device: str) -> None:
    x = T.matrix("x")
    order = T.argsort((x * 2).sum(1))
    outputs = [x[order] + 1, T.nonzero(x > 1)[0], T.sort(T.exp(x), axis=1) * 2]
    value = RNG.standard_normal((6, 5)).astype("float32")
    f = exprc.function([x], outputs, device=there(device))
    for a, b in zip(f(value), exprc.function([x], outputs)(value)):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert f"{device} → host" in str(f.explain())


@pytest.mark.parametrize("device", DEVICES)
def test_draws_are_those_of_the_cpu(device: str) -> None:
    def drawn(where: str) -> list[Any]:
        streams = T.random.RandomStreams(seed=5)
        outputs = [streams.uniform((7, 9)), streams.uniform((300,), dtype="float64"), streams.binomial((50,), p=0.3), streams.normal((40,))]
        f = exprc.function([], outputs, device=where)
        return [*f(), *f()]

    for k, (a, b) in enumerate(zip(drawn(there(device)), drawn("cpu"))):
        if k % 4 == 3:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            assert np.array_equal(a, b), "uniform bits are the same everywhere"
