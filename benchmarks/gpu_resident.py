"""A training step on a data set that lives on the device, one and more steps a call: ``python -m benchmarks.gpu_resident``.

What it prints is as of `benchmarks.gpu_looks`.
"""

from __future__ import annotations

import argparse

import exprc
from benchmarks import nets
from benchmarks.exprc_step import Exprc, training_step
from benchmarks.gpu_looks import number, seconds_of
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Device

COUNTS = (1, 4, 16, 64)


def resident(device: Device, asked: argparse.Namespace) -> None:
    """A training step on a data set that lives on the device, by the number of the batch: one and more steps in a call."""
    task = nets.digits_task(nets.NETS[asked.net], asked.batch, 16)
    images = exprc.shared(task.images.reshape(-1, *task.images.shape[2:]), name="images")
    labels, index = exprc.shared(task.labels.reshape(-1), name="labels"), exprc.shared(0, name="index")
    here = slice(index * asked.batch, (index + 1) * asked.batch)
    first: list[float] = []
    for count in COUNTS:
        with exprc.config.override(device=asked.device):
            made = training_step(task.net, asked.batch)
            givens = {made.inputs[0]: images[here], made.inputs[1]: labels[here]}
            updates = {**made.updates, index: (index + 1) % len(task.images)}
            function = exprc.function([], made.loss, updates, givens, steps=count)
        reset = Exprc.__new__(Exprc)
        reset.task, reset.shared, reset.function = task, made.parameters, function
        reset.reset()
        losses = [float(loss) for _ in range(-(-64 // count)) for loss in function()]
        first = first or losses
        assert losses == first, "the losses of steps one by one"
        took = seconds_of(function, device.synchronize, -(-asked.steps // count)) / count
        number(f"{asked.net} step of {asked.batch} on resident data, {count} steps a call, us", 1e6 * took)
    print("losses", first[:3], "...", first[-1])
    print(function.explain().partition("copies between")[2])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_resident", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--net", choices=nets.NETS, default="lenet")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100)
    asked = parser.parse_args()
    resident(open_device(asked.device), asked)
    print("good", flush=True)


if __name__ == "__main__":
    main()
