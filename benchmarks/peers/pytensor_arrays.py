"""Work on arrays in PyTensor, through C, which starts a call soonest, or through numba where that is faster."""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np

os.environ.setdefault("PYTENSOR_FLAGS", "floatX=float32,openmp=True")

import pytensor
import pytensor.tensor as pt

from benchmarks import arrays


class Words:
    """What `arrays.WORK` is written in."""

    one = np.int8(1)
    exp, log, sqrt, tanh, erf = map(staticmethod, (pt.exp, pt.log, pt.sqrt, pt.tanh, pt.erf))
    softplus, sum, matmul = map(staticmethod, (pt.softplus, pt.sum, pt.dot))

    def logsumexp(self, x: Any) -> Any:
        return pt.logsumexp(x, axis=1)

    def layer_norm(self, x: Any, epsilon: float) -> Any:
        return (x - x.mean(axis=1, keepdims=True)) / pt.sqrt(x.var(axis=1, keepdims=True) + np.float32(epsilon))


#: Where numba was faster than C (2 threads, AVX-512).
NUMBA = ("layer_norm", "logsumexp")


class Prepared(arrays.OnVariables):
    """See `arrays.Prepared`."""

    def __init__(self, work: arrays.Work, values: list[Any], args: argparse.Namespace):
        mode = "NUMBA" if work.name in NUMBA else "CVM"
        self.first = values[: work.state]
        self.state = [pytensor.shared(v.copy()) for v in self.first]
        leaves = [pt.tensor(dtype=work.dtype, shape=v.shape) for v in values[work.state :]]
        made = work.write(Words(), *self.state, *leaves)
        results = list(made) if isinstance(made, tuple) else [made]
        results += pt.grad(results[0], [leaves[k] for k in work.wrt]) if work.wrt else []
        updates = [(v, r.astype(v.dtype)) for v, r in zip(self.state, results)]
        outputs = results[work.state :]
        self.call = pytensor.function(leaves, outputs if len(outputs) != 1 else outputs[0], updates=updates, mode=mode, trust_input=True)
        self.values = values[work.state :]
        self.settings = {
            "version": f"pytensor {pytensor.__version__}, {mode}, trust_input", "threads": args.threads, "result": "new arrays",
        }  # fmt: skip


if __name__ == "__main__":
    arrays.serve(Prepared)
