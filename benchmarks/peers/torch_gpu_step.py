"""The step in PyTorch on a GPU: eager as people run it, compiled, and the whole step in one CUDA graph, the fastest that it has."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks import nets
from benchmarks.peers.torch_step import build, turned


class TorchGpu:
    """Images and labels come from pinned memory of the host, the result is read each step. tf32 : whether products may round to TF32."""

    def __init__(self, task: nets.Task, tf32: bool, work: str = "train"):
        self.task, self.tf32, self.trains = task, tf32, work == "train"
        self.images = [torch.from_numpy(x).pin_memory() for x in task.images]
        self.labels = [torch.from_numpy(y).long().pin_memory() for y in task.labels]
        self.model, self.weights = build(task.net)
        self.model.cuda().train(self.trains)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=nets.RATE, momentum=nets.MOMENTUM, nesterov=True, fused=True)
        self.criterion = nn.CrossEntropyLoss()
        self.x, self.y = self.images[0].cuda(), self.labels[0].cuda()
        self.ready()
        for _ in range(3):
            self._work()
        self.reset()

    def ready(self) -> None:
        """Set what this program computes with; two in one process may differ."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
        torch.backends.cudnn.benchmark = True

    @torch.no_grad()
    def reset(self) -> None:
        """Go back to the first parameters, and to no momentum, in the same memory."""
        for parameter, value in zip(self.weights, self.task.parameters, strict=True):
            parameter.copy_(torch.from_numpy(turned(value).copy()))
        for state in self.optimiser.state.values():
            state["momentum_buffer"].zero_()

    def _work(self) -> Any:
        if not self.trains:
            with torch.no_grad():
                return torch.softmax(self.model(self.x), 1)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.criterion(self.model(self.x), self.y)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def _given(self, k: int) -> None:
        self.x = self.images[k].cuda(non_blocking=True)
        if self.trains:
            self.y = self.labels[k].cuda(non_blocking=True)

    def _run(self) -> Any:
        return self._work()

    def step(self, k: int) -> Any:
        self._given(k)
        result = self._run()
        return float(result.item()) if self.trains else result.cpu().numpy()


class TorchCompiled(TorchGpu):
    """torch.compile(mode="reduce-overhead"): the model with its loss compiled, in CUDA graphs of its own."""

    def __init__(self, task: nets.Task, tf32: bool, work: str = "train"):
        self.compiled: Any = None
        super().__init__(task, tf32, work)

    def _work(self) -> Any:
        if self.compiled is None:
            whole = (lambda x, y: self.criterion(self.model(x), y)) if self.trains else (lambda x, y: torch.softmax(self.model(x), 1))
            self.compiled = torch.compile(whole, mode="reduce-overhead")
        if not self.trains:
            with torch.no_grad():
                return self.compiled(self.x, self.y)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.compiled(self.x, self.y)
        loss.backward()
        self.optimiser.step()
        return loss.detach()


class TorchGraph(TorchGpu):
    """The same step captured: only the copies of the inputs and the reading of the result are left outside."""

    def __init__(self, task: nets.Task, tf32: bool, work: str = "train"):
        super().__init__(task, tf32, work)
        aside: Any = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._work()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = self._work()
        self.reset()

    def _given(self, k: int) -> None:
        self.x.copy_(self.images[k], non_blocking=True)
        if self.trains:
            self.y.copy_(self.labels[k], non_blocking=True)

    def _run(self) -> Any:
        self.graph.replay()
        return self.result
