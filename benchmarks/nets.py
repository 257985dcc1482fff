"""The networks that are measured, as data: each program builds its own from the same list of layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE, MOMENTUM = 0.01, 0.9
#: Steps whose losses, and after which the parameters, must be the same in all programs.
CHECKED = 4


class Conv(NamedTuple):
    """Filters moved over the image, with `pad` zeros around it; batch normalisation (with `norm`, instead of a bias) and ReLU follow."""

    filters: int
    size: int
    pad: int = 0
    norm: bool = False
    stride: int = 1


class Pool(NamedTuple):
    """The maximum of each window; windows do not overlap."""

    size: int


class Dense(NamedTuple):
    """Every input to every unit; then batch normalisation (with `norm`, instead of a bias) and ReLU, unless it is the last layer."""

    units: int
    norm: bool = False


class Residual(NamedTuple):
    """Two convolutions of 3 x 3 with batch normalisation, the first with a stride, ReLU between them; what went in is added, then ReLU.

    Where its shape differs, it goes through a convolution of 1 x 1 with batch normalisation.
    """

    filters: int
    stride: int = 1


class Mean(NamedTuple):
    """The mean of each channel."""


class Net(NamedTuple):
    """A network: the shape of one sample, and its layers; softmax and cross-entropy follow."""

    name: str
    title: str
    shape: tuple[int, ...]
    layers: tuple[Any, ...]


LENET = Net(
    "lenet", "LeNet 20C5-MP2-50C5-MP2-FC256-FC10", (1, 28, 28),
    (Conv(20, 5), Pool(2), Conv(50, 5), Pool(2), Dense(256), Dense(10)),
)  # fmt: skip
FC256 = Net("fc256", "FC256-FC256 784-256-256-10", (784,), (Dense(256), Dense(256), Dense(10)))
FC64 = Net("fc64", "FC64-FC64 784-64-64-10", (784,), (Dense(64), Dense(64), Dense(10)))
LENET_NORM = Net(
    "lenet_norm", "LeNet with batch normalisation", (1, 28, 28),
    (Conv(20, 5, norm=True), Pool(2), Conv(50, 5, norm=True), Pool(2), Dense(256, norm=True), Dense(10)),
)  # fmt: skip
VGG = Net(
    "vgg", "64C3-64C3-MP2-128C3-128C3-MP2-FC256-FC10", (3, 32, 32),
    (Conv(64, 3, 1), Conv(64, 3, 1), Pool(2), Conv(128, 3, 1), Conv(128, 3, 1), Pool(2), Dense(256), Dense(10)),
)  # fmt: skip
RESNET20 = Net(
    "resnet20", "ResNet-20", (3, 32, 32),
    (Conv(16, 3, 1, norm=True), *(Residual(filters, 1 + (filters > 16 and k == 0)) for filters in (16, 32, 64) for k in range(3)), Mean(),
     Dense(10)),
)  # fmt: skip
#: Networks unlike those above: nothing in exprc may be tuned to a name or a size.
OTHERS = (
    Net("other1", "23C3-MP2-47C3-MP2-FC120-FC10 on 1×30×30", (1, 30, 30),
        (Conv(23, 3), Pool(2), Conv(47, 3), Pool(2), Dense(120), Dense(10))),
    Net("other2", "23C4-MP3-47C4-FC75-FC10 on 3×30×30", (3, 30, 30), (Conv(23, 4), Pool(3), Conv(47, 4), Dense(75), Dense(10))),
    Net("other3", "17C7, stride 2-33C3-MP2-FC100-FC10 on 3×36×36", (3, 36, 36),
        (Conv(17, 7, stride=2), Conv(33, 3), Pool(2), Dense(100), Dense(10))),
    Net("other4", "13C3-13C3-MP2-29C3-29C3-MP2-FC90-FC10, padded, on 3×30×30", (3, 30, 30),
        (Conv(13, 3, 1), Conv(13, 3, 1), Pool(2), Conv(29, 3, 1), Conv(29, 3, 1), Pool(2), Dense(90), Dense(10))),
    Net("other5", "900-333-77-10", (900,), (Dense(333), Dense(77), Dense(10))),
    Net("other6", "1500-301-10", (1500,), (Dense(301), Dense(10))),
    Net("other7", "41C5, stride 2, padded-59C3-MP2-FC10 on 1×30×30", (1, 30, 30),
        (Conv(41, 5, 2, stride=2), Conv(59, 3), Pool(2), Dense(10))),
    Net("other8", "23C3-MP2-47C3-MP2-FC63-FC10 with batch normalisation on 1×30×30", (1, 30, 30),
        (Conv(23, 3, norm=True), Pool(2), Conv(47, 3, norm=True), Pool(2), Dense(63, norm=True), Dense(10))),
    Net("other9", "31C3-31C3-31C3-MP2-FC10 on 1×28×28", (1, 28, 28), (Conv(31, 3), Conv(31, 3), Conv(31, 3), Pool(2), Dense(10))),
    Net("other10", "11C4-MP2-22C4-MP2-35C3-FC10 on 3×36×36", (3, 36, 36),
        (Conv(11, 4), Pool(2), Conv(22, 4), Pool(2), Conv(35, 3), Dense(10))),
)  # fmt: skip
NETS = {net.name: net for net in (FC64, FC256, LENET, LENET_NORM, VGG, RESNET20, *OTHERS)}
#: What each of them should reach of the share of the peak of the table's networks of its kind.
KEPT_SHARE = 0.8
#: The epsilon of batch normalisation.
EPSILON = 1e-4


class Case(NamedTuple):
    """What is measured: a training step or the output of a network; exprc should be `goal` times as fast as every peer, 0: no matter."""

    work: str  # "train" or "infer"
    net: str
    batch: int
    goal: float


CASES = (
    Case("train", "fc64", 128, 1.8), Case("train", "fc64", 500, 1.4),
    Case("train", "fc256", 128, 1.3), Case("train", "fc256", 500, 1.2),
    Case("train", "lenet", 128, 2.0), Case("train", "lenet", 500, 2.0),
    Case("train", "lenet_norm", 128, 2.0), Case("train", "vgg", 64, 1.3),
    Case("infer", "lenet", 1, 2.5), Case("infer", "lenet", 32, 1.5), Case("infer", "lenet", 128, 1.5), Case("infer", "fc256", 1, 1.3),
    *(Case("train", net.name, batch, 0) for net, batch in zip(OTHERS, (120, 120, 96, 100, 120, 200, 64, 120, 50, 250))),
)  # fmt: skip


class Weighted(NamedTuple):
    """What a layer with weights has: the shapes of W and b, what W's spread depends on, multiplications per sample, and a scale or none."""

    W: tuple[int, ...]
    b: tuple[int, ...]
    fan_in: int
    products: int
    norm: bool = False


def weighted(net: Net) -> Iterator[Weighted]:
    """Yield the layers with weights; W is (filters, channels, rows, columns) or (inputs, units)."""
    return (made for layers, _ in shaped(net) for made in layers)


def shaped(net: Net) -> Iterator[tuple[list[Weighted], tuple[int, ...]]]:
    """Yield for each layer what has weights in it, and the shape of its result for one sample."""
    shape = net.shape
    for layer in net.layers:
        made = []
        if isinstance(layer, Pool):
            shape = (shape[0], *(n // layer.size for n in shape[1:]))
        elif isinstance(layer, Mean):
            shape = shape[:1]
        elif isinstance(layer, Conv):
            made = [_convolution(shape, layer.filters, layer.size, layer.pad, layer.stride, layer.norm)]
            shape = _convolved(shape, layer.filters, layer.size, layer.pad, layer.stride)
        elif isinstance(layer, Residual):
            inner = _convolved(shape, layer.filters, 3, 1, layer.stride)
            made = [_convolution(shape, layer.filters, 3, 1, layer.stride, True), _convolution(inner, layer.filters, 3, 1, 1, True)]
            made += [_convolution(shape, layer.filters, 1, 0, layer.stride, True)] if inner != shape else []
            shape = inner
        else:
            inputs, shape = math.prod(shape), (layer.units,)
            made = [Weighted((inputs, layer.units), shape, inputs, inputs * layer.units, layer.norm)]
        yield made, shape


def _convolved(shape: tuple[int, ...], filters: int, size: int, pad: int, stride: int) -> tuple[int, ...]:
    return (filters, *((n + 2 * pad - size) // stride + 1 for n in shape[1:]))


def _convolution(shape: tuple[int, ...], filters: int, size: int, pad: int, stride: int, norm: bool) -> Weighted:
    fan_in = shape[0] * size**2
    products = math.prod(_convolved(shape, filters, size, pad, stride)) * fan_in
    return Weighted((filters, shape[0], size, size), (filters,), fan_in, products, norm)


def step_flops(net: Net, batch: int) -> int:
    """Floating-point operations of a training step in convolutions and dense layers: forward and two gradients.

    The gradient of the first layer's input is not counted: no program computes it.
    """
    products = [layer.products for layer in weighted(net)]
    return 2 * batch * (3 * sum(products) - products[0])


def output_flops(net: Net, batch: int) -> int:
    """The same of the output of a network."""
    return 2 * batch * sum(layer.products for layer in weighted(net))


def step_bytes(net: Net, batch: int, work: str = "train") -> int:
    """The fewest bytes that a step moves through memory: inputs, what layers give (of pooling and ReLU only the result) and parameters.

    Each result is written once and read once; in training it is read again and its gradient written and read, and parameters and velocities
    are read and written.
    """
    layers = list(shaped(net))
    stored = [shape for k, (_, shape) in enumerate(layers) if k + 1 == len(net.layers) or not isinstance(net.layers[k + 1], Pool)]
    results, parameters = batch * sum(map(math.prod, stored)), sum(math.prod(w.W) + math.prod(w.b) * (1 + w.norm) for w in weighted(net))
    inputs = batch * math.prod(net.shape)
    return 4 * (2 * inputs + 5 * results + 5 * parameters if work == "train" else inputs + 2 * results + parameters)


def first_parameters(net: Net, seed: int = 0) -> list[NDArray[np.float32]]:
    """Return W and b of each layer, with batch normalisation W, shift and scale: normal, W of variance 2 / fan_in, scales around 1.

    The biases are not 0: on the black background of a digit every ReLU would sit on its kink, where libraries may differ.
    """
    rng = np.random.default_rng(seed)
    made = []
    for w in weighted(net):
        made += [rng.standard_normal(w.W) * math.sqrt(2 / w.fan_in), 0.05 * rng.standard_normal(w.b)]
        made += [1 + 0.05 * rng.standard_normal(w.b)] if w.norm else []
    return [x.astype(np.float32) for x in made]


class Task(NamedTuple):
    """What every program gets: batches of images and labels, and the parameters to begin with."""

    net: Net
    images: NDArray[np.float32]  # (batches, samples, *net.shape)
    labels: NDArray[np.int32]  # (batches, samples)
    parameters: list[NDArray[np.float32]]

    @property
    def batch(self) -> int:
        return len(self.labels[0])


def digits_task(net: Net, batch: int, batches: int) -> Task:
    """Make a task of generated digits; needs exprc, so that it is for our environment only."""
    from exprc.datasets import as_floats, digits

    drawn = digits(batch * batches)
    images = as_floats(drawn.images)
    whole = np.zeros((len(images), *net.shape), np.float32)
    if len(net.shape) == 1:
        whole[:, :784] = images.reshape(-1, 784)[:, : net.shape[0]]
    else:  # a digit in a corner of each channel
        whole[:, :, :28, :28] = images.reshape(-1, 1, 28, 28)
    images = whole.reshape(batches, batch, *net.shape)
    return Task(net, images, drawn.labels.astype(np.int32).reshape(batches, batch), first_parameters(net))


def save_task(path: Any, task: Task) -> None:
    arrays = {f"p{k:02}": p for k, p in enumerate(task.parameters)}
    np.savez(path, images=task.images, labels=task.labels, **arrays)  # type: ignore[arg-type]


def load_task(path: Any, name: str) -> Task:
    with np.load(path) as file:
        parameters = [file[key] for key in sorted(file.files) if key.startswith("p")]
        return Task(NETS[name], file["images"], file["labels"], parameters)
