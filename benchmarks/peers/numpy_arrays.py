"""Work on arrays in NumPy, with SciPy for what it lacks, and in numexpr."""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np
import scipy.special

from benchmarks import arrays


class Words:
    """What `arrays.WORK` is written in."""

    one = np.float32(1)
    exp, log, sqrt, tanh, sum, matmul, erf = map(staticmethod, (np.exp, np.log, np.sqrt, np.tanh, np.sum, np.matmul, scipy.special.erf))

    def softplus(self, x: Any) -> Any:
        return np.logaddexp(x, np.float32(0))

    def logsumexp(self, x: Any) -> Any:
        most = x.max(axis=1, keepdims=True)
        return np.log(np.exp(x - most).sum(axis=1)) + most[:, 0]

    def layer_norm(self, x: Any, epsilon: float) -> Any:
        return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + np.float32(epsilon))


#: The same in numexpr, of inputs a, b, c; the sums are NumPy's: those of numexpr take one thread, and lose three digits of float32.
NUMEXPR = {"chain": "log1p(exp(tanh(a * b + c))) ** 2", "call": "a + 1"}
SUMMED = ("chain",)


class Prepared:
    """See `arrays.Prepared`."""

    def __init__(self, work: arrays.Work, values: list[Any], args: argparse.Namespace):
        self.values = values
        self.settings = {"version": f"numpy {np.__version__}", "threads": args.threads, "result": "new arrays"}
        words = Words()
        self.call: Any = (lambda *v: work.write(words, *v)) if work.repeats == 1 else (lambda x, one=words.one: x + one)

    def wait(self, made: Any) -> None:
        """A call returns when it is done."""

    def arrays(self) -> list[Any]:
        made = self.call(*self.values)
        return list(made) if isinstance(made, tuple) else [made]


class Numexpr(Prepared):
    """numexpr compiles once and evaluates the same again."""

    def __init__(self, work: arrays.Work, values: list[Any], args: argparse.Namespace):
        os.environ["NUMEXPR_MAX_THREADS"] = str(args.threads)
        import numexpr

        super().__init__(work, values, args)
        numexpr.set_num_threads(args.threads)
        named = dict(zip("abc", values))
        numexpr.evaluate(NUMEXPR[work.name], named)
        evaluate = numexpr.re_evaluate
        self.call, self.values = ((lambda v: evaluate(v).sum()) if work.name in SUMMED else evaluate), [named]
        self.settings["version"] = f"numexpr {numexpr.__version__}, re_evaluate"


def prepare(work: arrays.Work, values: list[Any], args: argparse.Namespace) -> Prepared:
    return (Numexpr if args.compiled else Prepared)(work, values, args)


if __name__ == "__main__":
    arrays.serve(prepare)
