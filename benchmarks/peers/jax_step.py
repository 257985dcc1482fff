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
    pairs = iter(zip(parameters[::2], parameters[1::2], strict=True))
    for layer in net.layers:
        if isinstance(layer, nets.Pool):
            window = (1, 1, layer.size, layer.size)
            x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        elif isinstance(layer, nets.Conv):
            W, b = next(pairs)
            x = jax.nn.relu(lax.conv_general_dilated(x, W, (1, 1), "VALID") + b[:, None, None])
        else:
            W, b = next(pairs)
            x = x.reshape(len(x), -1) @ W + b
            x = x if layer is net.layers[-1] else jax.nn.relu(x)
    return x


def mean_loss(net: nets.Net, parameters: list[Any], x: Any, labels: Any) -> Any:
    logarithms = jax.nn.log_softmax(scores(net, parameters, x))
    return -jnp.mean(jnp.take_along_axis(logarithms, labels[:, None], axis=1))


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def training_step(net: nets.Net, parameters: list[Any], velocities: list[Any], x: Any, labels: Any) -> Any:
    loss, gradients = jax.value_and_grad(partial(mean_loss, net))(parameters, x, labels)
    new = [nets.MOMENTUM * v - nets.RATE * g for v, g in zip(velocities, gradients, strict=True)]
    moved = [p + nets.MOMENTUM * v - nets.RATE * g for p, v, g in zip(parameters, new, gradients, strict=True)]
    return moved, new, loss


class Jax:
    """The step of JAX; it waits for each loss, or lets steps queue up."""

    def __init__(self, task: nets.Task, waits: bool):
        self.task, self.waits = task, waits
        self.images = [jax.device_put(x) for x in task.images]
        self.labels = [jax.device_put(y) for y in task.labels]
        self.settings = {
            "version": f"jax {jax.__version__}, jaxlib {jaxlib.__version__}, jit with donated parameters",
            "threads": len(os.sched_getaffinity(0)),  # XLA takes as many as the process may use
            "device": str(jax.devices()[0]),
            "loss": "float(loss) each step" if waits else "not read; waits once a block of steps",
        }
        self.values: list[Any] = []
        self.velocities: list[Any] = []
        self.reset()
        self.step(0)  # compiles
        self.wait()

    def step(self, k: int) -> Any:
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
    return Jax(task, args.block == 1)


if __name__ == "__main__":
    serve(make)
