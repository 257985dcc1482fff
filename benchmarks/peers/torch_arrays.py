"""Work on arrays in PyTorch: eager, with its own fused functions where it has them; or through torch.compile."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks import arrays


class Words:
    """What `arrays.WORK` is written in."""

    one = 1
    exp, log, sqrt, tanh, erf = map(staticmethod, (torch.exp, torch.log, torch.sqrt, torch.tanh, torch.erf))
    softplus, sum, matmul = map(staticmethod, (F.softplus, torch.sum, torch.matmul))

    def logsumexp(self, x: Any) -> Any:
        return torch.logsumexp(x, 1)

    def layer_norm(self, x: Any, epsilon: float) -> Any:
        return F.layer_norm(x, x.shape[1:], eps=epsilon)

    def conv(self, x: Any, w: Any, groups: int = 1, dilation: int = 1) -> Any:
        return F.conv2d(x, w, groups=groups, dilation=dilation)

    def average_pool(self, x: Any) -> Any:
        return F.avg_pool2d(x, 2)


def best_layout(value: Any) -> Any:
    tensor = torch.from_numpy(value)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


class Prepared:
    """See `arrays.Prepared`."""

    def __init__(self, work: arrays.Work, values: list[Any], args: argparse.Namespace):
        torch.set_num_threads(args.threads)
        self.work = work
        self.values = [best_layout(v) for v in values]
        words = Words()
        self.call: Any = lambda *v: work.write(words, *v)
        if work.repeats > 1:
            self.call = lambda x: x + 1
        self.settings = {"version": f"torch {torch.__version__}", "threads": torch.get_num_threads(), "result": "a tensor"}
        if args.compiled:
            self.call = torch.compile(self.call, fullgraph=True, dynamic=False)
            self.settings["version"] += ", torch.compile"
        if work.wrt:
            self.call = self._with_gradients(self.call)

    def _with_gradients(self, loss_of: Any) -> Any:
        wrt = [self.values[k].requires_grad_() for k in self.work.wrt]

        def call(*values: Any) -> Any:
            loss = loss_of(*values)
            return (loss.detach(), *torch.autograd.grad(loss, wrt))

        return call

    def wait(self, made: Any) -> None:
        """A call returns when it is done."""

    def arrays(self) -> list[Any]:
        made = self.call(*self.values)
        return [x.detach().contiguous().numpy() for x in (made if isinstance(made, tuple) else (made,))]


class Adam:
    """torch.optim.Adam in one fused kernel."""

    def __init__(self, work: arrays.Work, values: list[Any], args: argparse.Namespace):
        torch.set_num_threads(args.threads)
        self.first, self.values = [torch.from_numpy(v) for v in values], []
        self.parameter = self.first[0].clone().requires_grad_()
        self.parameter.grad = self.first[4]
        self.optimiser = torch.optim.Adam([self.parameter], arrays.RATE, (arrays.BETA1, arrays.BETA2), arrays.EPSILON, fused=True)
        self.call = self.optimiser.step
        self.settings = {"version": f"torch {torch.__version__}", "threads": torch.get_num_threads(), "result": "Adam(fused=True)"}

    def wait(self, made: Any) -> None:
        """A call returns when it is done."""

    def arrays(self) -> list[Any]:
        self.optimiser.step()  # makes its state
        state = self.optimiser.state[self.parameter]
        with torch.no_grad():
            for kept, value in zip((self.parameter, state["exp_avg"], state["exp_avg_sq"], state["step"]), self.first):
                kept.copy_(value)
        self.optimiser.step()
        return [x.detach().numpy() for x in (self.parameter, state["exp_avg"], state["exp_avg_sq"], state["step"])]


def prepare(work: arrays.Work, values: list[Any], args: argparse.Namespace) -> Any:
    return (Adam if work.state else Prepared)(work, values, args)


if __name__ == "__main__":
    with torch.set_grad_enabled(True):
        arrays.serve(prepare)
