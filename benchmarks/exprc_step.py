"""The training step in exprc, written as examples/mnist.py writes it: layers, gradients and updates of `exprc.nn`."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import exprc
import exprc.tensor as T
from benchmarks import nets
from benchmarks.turns import serve
from exprc import nn
from exprc.runtime import compiler, cpu

L = nn.layers


def build(net: nets.Net) -> Any:
    """Return the last layer of a network."""
    last: Any = L.InputLayer((None, *net.shape))
    for layer in net.layers:
        if isinstance(layer, nets.Conv):
            last = normed(L.Conv2DLayer(last, layer.filters, layer.size, layer.stride, layer.pad), layer)
        elif isinstance(layer, nets.Pool):
            last = L.MaxPool2DLayer(last, layer.size)
        elif isinstance(layer, nets.Mean):
            last = L.GlobalPoolLayer(last)
        elif isinstance(layer, nets.Residual):
            last = residual(last, layer)
        else:
            output = nn.nonlinearities.softmax if layer is net.layers[-1] else nn.nonlinearities.rectify
            last = normed(L.DenseLayer(last, layer.units, nonlinearity=output), layer)
    return last


def residual(last: Any, layer: nets.Residual) -> Any:
    rectify, size = nn.nonlinearities.rectify, layer.filters
    made = L.batch_norm(L.Conv2DLayer(last, size, 3, layer.stride, pad=1), epsilon=nets.EPSILON)
    made = L.batch_norm(L.Conv2DLayer(made, size, 3, pad=1, nonlinearity=None), epsilon=nets.EPSILON)
    if made.output_shape != last.output_shape:
        last = L.batch_norm(L.Conv2DLayer(last, size, 1, layer.stride, nonlinearity=None), epsilon=nets.EPSILON)
    return L.NonlinearityLayer(L.ElemwiseSumLayer([made, last]), rectify)


def normed(made: Any, layer: Any) -> Any:
    return L.batch_norm(made, epsilon=nets.EPSILON) if layer.norm else made


class Step(NamedTuple):
    """The expressions of a training step."""

    inputs: list[Any]
    loss: Any
    parameters: list[Any]
    updates: dict[Any, Any]

    def compile(self, name: str) -> exprc.Function:
        return exprc.function(self.inputs, self.loss, updates=self.updates, name=name)


def training_step(net: nets.Net, batch: int) -> Step:
    """Write a step for images (batch, *net.shape) and labels (batch,); it returns the mean loss."""
    leaf: Any = T.tensor4 if len(net.shape) == 3 else T.matrix
    images, labels = leaf("images", shape=(batch, *net.shape)), T.ivector("labels", shape=(batch,))
    last = build(net)
    parameters = L.get_all_params(last, trainable=True)
    loss = nn.objectives.categorical_crossentropy(L.get_output(last, images), labels).mean()
    updates = nn.updates.nesterov_momentum(loss, parameters, nets.RATE, nets.MOMENTUM)
    return Step([images, labels], loss, parameters, updates)


def output(net: nets.Net, batch: int) -> Step:
    """Write the output of a network, the probabilities of the classes, as a step without updates."""
    leaf: Any = T.tensor4 if len(net.shape) == 3 else T.matrix
    images = leaf("images", shape=(batch, *net.shape))
    last = build(net)
    return Step([images], L.get_output(last, images, deterministic=True), L.get_all_params(last, trainable=True), {})


def flipped(array: NDArray[Any]) -> NDArray[Any]:
    """Turn filters around: our layers convolve, the peers' correlate."""
    return array[:, :, ::-1, ::-1] if array.ndim == 4 else array


class Exprc:
    """The step of exprc."""

    def __init__(self, task: nets.Task, threads: int, work: str = "train"):
        exprc.set_threads(threads)
        self.task, self.trains = task, work == "train"
        step = (training_step if self.trains else output)(task.net, task.batch)
        self.shared, self.function = step.parameters, step.compile(f"{task.net.name} step")
        self.settings = {
            "version": f"exprc, this checkout; numpy {np.__version__}",
            "threads": cpu.thread_count(),
            "compiler": compiler.find_compiler().version.splitlines()[0],
            "flags": " ".join(compiler.flags(cpu.host_target())),
            "result": "the loss, read each step" if self.trains else "an array",
        }

    def step(self, k: int) -> Any:
        return float(self.function(self.task.images[k], self.task.labels[k])) if self.trains else self.function(self.task.images[k])

    def wait(self) -> None:
        """Steps are done when they return."""

    def reset(self) -> None:
        for variable in self.function.updates:
            variable.set_value(np.zeros_like(variable.get_value(borrow=True)))
        for variable, value in zip(self.shared, self.task.parameters, strict=True):
            variable.set_value(flipped(value))

    def parameters(self) -> list[NDArray[Any]]:
        return [flipped(variable.get_value()) for variable in self.shared]


def make(task: nets.Task, args: argparse.Namespace) -> Exprc:
    return Exprc(task, args.threads, args.work)


if __name__ == "__main__":
    serve(make)
