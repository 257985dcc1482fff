"""The training step in PyTorch on a GPU: eager as people run it, and the whole step in one CUDA graph, the fastest that it has."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks import nets
from benchmarks.peers.torch_step import build, turned


class TorchGpu:
    """Images and labels come from pinned memory of the host, the loss is read each step. tf32 : whether products may round to TF32."""

    def __init__(self, task: nets.Task, tf32: bool):
        self.task, self.tf32 = task, tf32
        self.images = [torch.from_numpy(x).pin_memory() for x in task.images]
        self.labels = [torch.from_numpy(y).long().pin_memory() for y in task.labels]
        self.model, parameters = build(task.net)
        self.model.cuda()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=nets.RATE, momentum=nets.MOMENTUM, nesterov=True)
        self.criterion = nn.CrossEntropyLoss()
        with torch.no_grad():
            for parameter, value in zip(parameters, task.parameters, strict=True):
                parameter.copy_(torch.from_numpy(turned(value).copy()))

    def ready(self) -> None:
        """Set what this program computes with; two in one process may differ."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32

    def step(self, k: int) -> float:
        images, labels = self.images[k].cuda(non_blocking=True), self.labels[k].cuda(non_blocking=True)
        self.optimiser.zero_grad()
        loss = self.criterion(self.model(images), labels)
        loss.backward()
        self.optimiser.step()
        return float(loss.item())


class TorchGraph(TorchGpu):
    """The same step captured: only the copies of the inputs and the reading of the loss are left outside."""

    def __init__(self, task: nets.Task, tf32: bool):
        super().__init__(task, tf32)
        self.ready()
        self.x, self.y = self.images[0].cuda(), self.labels[0].cuda()
        aside: Any = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._work()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self._work()

    def _work(self) -> Any:
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.criterion(self.model(self.x), self.y)
        loss.backward()
        self.optimiser.step()
        return loss

    def step(self, k: int) -> float:
        self.x.copy_(self.images[k], non_blocking=True)
        self.y.copy_(self.labels[k], non_blocking=True)
        self.graph.replay()
        return float(self.loss.item())
