"""The training step in JAX: one function under jit, its parameters and velocities donated."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
from jax import lax

from benchmarks import nets
from benchmarks.turns import serve


def scores(net: nets.Net, parameters: list[Any], x: Any) -> Any:
    """Return the scores of the classes before softmax, (samples, classes)."""
    rest = iter(parameters)
    for layer in net.layers:
        if isinstance(layer, nets.Pool):
            window = (1, layer.size, layer.size, 1)
            x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        elif isinstance(layer, nets.Conv):
            x = jax.nn.relu(shifted(convolved(x, next(rest), layer.pad, layer.stride), rest, layer.norm))
        elif isinstance(layer, nets.Mean):
            x = x.mean((1, 2))
        elif isinstance(layer, nets.Residual):
            made = jax.nn.relu(shifted(convolved(x, next(rest), 1, layer.stride), rest, True))
            made = shifted(convolved(made, next(rest), 1), rest, True)
            x = x if made.shape == x.shape else shifted(convolved(x, next(rest), 0, layer.stride), rest, True)
            x = jax.nn.relu(made + x)
        else:
            x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x  # the weights follow channels, rows, columns
            x = shifted(x.reshape(len(x), -1) @ next(rest), rest, layer.norm)
            x = x if layer is net.layers[-1] else jax.nn.relu(x)
    return x


def convolved(x: Any, w: Any, pad: int, stride: int = 1) -> Any:
    return lax.conv_general_dilated(x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "OIHW", "NHWC"))


def shifted(x: Any, rest: Any, norm: bool) -> Any:
    """Add the bias; or normalise each channel over the batch, scale and shift it."""
    axes, shift = tuple(range(x.ndim - 1)), next(rest)
    if not norm:
        return x + shift
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + nets.EPSILON) * next(rest) + shift


def mean_loss(net: nets.Net, parameters: list[Any], x: Any, labels: Any) -> Any:
    logarithms = jax.nn.log_softmax(scores(net, parameters, x))
    return -jnp.mean(jnp.take_along_axis(logarithms, labels[:, None], axis=1))


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def training_step(net: nets.Net, parameters: list[Any], velocities: list[Any], x: Any, labels: Any) -> Any:
    loss, gradients = jax.value_and_grad(partial(mean_loss, net))(parameters, x, labels)
    new = [nets.MOMENTUM * v - nets.RATE * g for v, g in zip(velocities, gradients, strict=True)]
    moved = [p + nets.MOMENTUM * v - nets.RATE * g for p, v, g in zip(parameters, new, gradients, strict=True)]
    return moved, new, loss


@partial(jax.jit, static_argnums=0)
def output(net: nets.Net, parameters: list[Any], x: Any) -> Any:
    return jax.nn.softmax(scores(net, parameters, x))


class Jax:
    """The step of JAX; it waits for each loss, or lets steps queue up."""

    def __init__(self, task: nets.Task, waits: bool, work: str):
        self.task, self.waits, self.trains = task, waits, work == "train"
        # channels last: several times as fast as channels first
        self.images = [jax.device_put(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x) for x in task.images]
        self.labels = [jax.device_put(y) for y in task.labels]
        self.settings = {
            "version": f"jax {jax.__version__}, jaxlib {jaxlib.__version__}, jit with donated parameters, channels last",
            "threads": len(os.sched_getaffinity(0)),  # XLA takes as many as the process may use
            "device": str(jax.devices()[0]),
            "result": ("float(loss) each step" if self.trains else "waited for") if waits else "not read; waits once a block of steps",
        }
        self.values: list[Any] = []
        self.velocities: list[Any] = []
        self.reset()
        self.step(0)  # compiles
        self.wait()

    def step(self, k: int) -> Any:
        if not self.trains:
            self.loss = output(self.task.net, self.values, self.images[k])
            return self.loss.block_until_ready() if self.waits else self.loss
        self.values, self.velocities, self.loss = training_step(
            self.task.net, self.values, self.velocities, self.images[k], self.labels[k]
        )
        return float(self.loss) if self.waits else self.loss

    def wait(self) -> None:
        jax.block_until_ready((self.values, self.velocities, self.loss))

    def reset(self) -> None:
        self.values = [jnp.array(p) for p in self.task.parameters]
        self.velocities = [jnp.zeros_like(p) for p in self.values]

    def parameters(self) -> list[Any]:
        return list(self.values)


def make(task: nets.Task, args: argparse.Namespace) -> Jax:
    return Jax(task, args.block == 1, args.work)


if __name__ == "__main__":
    serve(make)
