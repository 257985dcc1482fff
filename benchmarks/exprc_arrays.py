"""Work on arrays in exprc."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import exprc
import exprc.tensor as T
from benchmarks import arrays


class Words:
    """What `arrays.WORK` is written in."""

    one = 1
    exp, log, sqrt, tanh, erf = map(staticmethod, (T.exp, T.log, T.sqrt, T.tanh, T.erf))
    softplus, sum, matmul = map(staticmethod, (T.softplus, T.sum, T.dot))

    def logsumexp(self, x: Any) -> Any:
        return T.logsumexp(x, axis=1)

    def layer_norm(self, x: Any, epsilon: float) -> Any:
        return (x - x.mean(axis=1, keepdims=True)) / T.sqrt(x.var(axis=1, keepdims=True) + epsilon)

    def conv(self, x: Any, w: Any, groups: int = 1, dilation: int = 1) -> Any:
        return T.conv2d(x, w, filter_flip=False, num_groups=groups, filter_dilation=(dilation, dilation))

    def average_pool(self, x: Any) -> Any:
        return T.pool_2d(x, (2, 2), mode="average_inc_pad")


class Prepared(arrays.OnVariables):
    """See `arrays.Prepared`."""

    def __init__(self, work: arrays.Work, values: list[Any], args: argparse.Namespace):
        exprc.set_threads(args.threads)
        self.first = values[: work.state]
        self.state = [exprc.shared(v) for v in self.first]
        leaves = [exprc.expr.Input(exprc.types.TensorType(work.dtype, v.shape)) for v in values[work.state :]]
        made = work.write(Words(), *self.state, *leaves)
        results = list(made) if isinstance(made, tuple) else [made]
        results += [exprc.grad(results[0], leaves[k]) for k in work.wrt]
        updates = dict(zip(self.state, results))
        self.call = exprc.function(leaves, results[work.state :] if len(results) > 1 else results[0], updates=updates, name=work.name)
        self.values = values[work.state :]
        self.settings = {"version": f"exprc, this checkout; numpy {np.__version__}", "threads": args.threads, "result": "new arrays"}


if __name__ == "__main__":
    arrays.serve(Prepared)
