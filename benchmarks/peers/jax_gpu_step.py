"""The step in JAX on a GPU: one jitted step a call, or all batches in one call by lax.scan, with data that stay on the device."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import nets
from benchmarks.peers.jax_step import Jax, output, training_step


class JaxGpu(Jax):
    """Images and labels come from the host each step, the result is read. tf32 : whether products may round to TF32."""

    def __init__(self, task: nets.Task, tf32: bool, work: str = "train"):
        self.tf32 = tf32
        self.ready()
        super().__init__(task, True, work)
        self.images = [np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x for x in task.images]
        self.labels = list(task.labels)
        self.reset()

    def ready(self) -> None:
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if self.tf32 else "highest")

    def step(self, k: int) -> Any:
        if self.trains:
            return super().step(k)
        return np.asarray(output(self.task.net, self.values, self.images[k]))


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def training_steps(net: nets.Net, parameters: list[Any], velocities: list[Any], images: Any, labels: Any) -> Any:
    def one(state: Any, batch: Any) -> Any:
        moved, new, loss = training_step(net, *state, *batch)
        return (moved, new), loss

    state, losses = lax.scan(one, (parameters, velocities), (images, labels))
    return *state, losses


class JaxScan(JaxGpu):
    """All batches in one call; the time is divided by their number. Only training."""

    def __init__(self, task: nets.Task, tf32: bool, work: str = "train"):
        super().__init__(task, tf32, work)
        self.all = jax.device_put(np.stack(self.images)), jax.device_put(np.stack(self.labels))

    def steps(self) -> list[float]:
        self.values, self.velocities, losses = training_steps(self.task.net, self.values, self.velocities, *self.all)
        return [float(x) for x in jnp.asarray(losses)]
