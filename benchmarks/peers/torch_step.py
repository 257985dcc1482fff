"""The training step in PyTorch, eager."""

from __future__ import annotations

import argparse
import os
from typing import Any

import torch
from torch import nn

from benchmarks import nets
from benchmarks.turns import serve


def build(net: nets.Net) -> tuple[nn.Sequential, list[Any]]:
    """Return the model, and its parameters in the order of `nets.first_parameters`."""
    modules: list[nn.Module] = []
    parameters: list[Any] = []
    shapes = nets.weighted(net)
    images = len(net.shape) == 3  # not yet flat
    for layer in net.layers:
        if isinstance(layer, nets.Pool):
            modules.append(nn.MaxPool2d(layer.size))
        elif isinstance(layer, nets.Mean):
            modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        elif isinstance(layer, nets.Residual):
            modules.append(Residual(layer, shapes, parameters))
        elif isinstance(layer, nets.Conv):
            made: Any = nn.Conv2d(next(shapes).W[1], layer.filters, layer.size, stride=layer.stride, padding=layer.pad, bias=not layer.norm)
            modules += [*normed(made, nn.BatchNorm2d, layer.filters, layer.norm, parameters), nn.ReLU()]
        else:
            flat = [nn.Flatten()] if images else []
            made = nn.Linear(next(shapes).W[0], layer.units, bias=not layer.norm)
            modules += [*flat, *normed(made, nn.BatchNorm1d, layer.units, layer.norm, parameters)]
            modules += [nn.ReLU()] if layer is not net.layers[-1] else []
            images = False
    return nn.Sequential(*modules), parameters


class Residual(nn.Module):
    """Two convolutions around which the input goes, by itself or through a third."""

    def __init__(self, layer: nets.Residual, shapes: Any, parameters: list[Any]):
        super().__init__()
        channels = next(shapes).W[1]
        size = next(shapes).W[0]

        def conv(inputs: int, width: int, stride: int) -> list[nn.Module]:
            made = nn.Conv2d(inputs, size, width, stride, padding=width // 2, bias=False)
            return normed(made, nn.BatchNorm2d, size, True, parameters)

        self.around = nn.Sequential(*conv(channels, 3, layer.stride), nn.ReLU(), *conv(size, 3, 1))
        changes = channels != size or layer.stride != 1
        self.through = nn.Sequential(*(conv(channels, 1, layer.stride) if changes else []))
        if changes:
            next(shapes)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.around(x) + self.through(x))


def normed(made: Any, kind: Any, units: int, norm: bool, parameters: list[Any]) -> list[nn.Module]:
    after = kind(units, eps=nets.EPSILON) if norm else None
    parameters += [made.weight, made.bias] if after is None else [made.weight, after.bias, after.weight]
    return [made] if after is None else [made, after]


def turned(array: Any) -> Any:
    """Swap the axes of a dense layer's weights: here they are (units, inputs)."""
    return array.T if array.ndim == 2 else array


class Torch:
    """The step of PyTorch: NCHW and the default allocator, or channels last."""

    def __init__(self, task: nets.Task, threads: int, channels_last: bool, work: str):
        torch.set_num_threads(threads)
        form = torch.channels_last if channels_last and len(task.net.shape) == 3 else torch.contiguous_format
        self.task, self.trains = task, work == "train"
        self.images = [torch.from_numpy(x).contiguous(memory_format=form) for x in task.images]
        self.labels = [torch.from_numpy(y).long() for y in task.labels]
        self.model, self.weights = build(task.net)
        self.model = self.model.to(memory_format=form).train(self.trains)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=nets.RATE, momentum=nets.MOMENTUM, nesterov=True)
        self.criterion = nn.CrossEntropyLoss()
        self.settings = {
            "version": f"torch {torch.__version__}, eager",
            "threads": torch.get_num_threads(),
            "memory format": str(form).removeprefix("torch."),
            "allocator": "MALLOC_ settings" if "MALLOC_MMAP_THRESHOLD_" in os.environ else "default malloc",
            "result": "zero_grad(), loss.item() each step" if self.trains else "inference_mode(), a tensor",
        }

    def step(self, k: int) -> Any:
        if not self.trains:
            with torch.inference_mode():
                return torch.softmax(self.model(self.images[k]), 1)
        self.optimiser.zero_grad()
        loss = self.criterion(self.model(self.images[k]), self.labels[k])
        loss.backward()
        self.optimiser.step()
        return float(loss.item())

    def wait(self) -> None:
        """Steps are done when the loss was read."""

    @torch.no_grad()
    def reset(self) -> None:
        self.optimiser.state.clear()
        for parameter, value in zip(self.weights, self.task.parameters, strict=True):
            parameter.copy_(torch.from_numpy(turned(value)))

    def parameters(self) -> list[Any]:
        return [turned(p.detach().numpy()) for p in self.weights]


def make(task: nets.Task, args: argparse.Namespace) -> Torch:
    return Torch(task, args.threads, args.channels_last, args.work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--channels-last", action="store_true")
    serve(make, parser)
