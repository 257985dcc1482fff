"""The work on graphs: what a node costs, how that grows, what importing takes, and how long a deep network compiles.

Processor time, so that other programs on the machine disturb little; but for importing and compiling, whose wall time users wait for.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.expr import Expr, topological
from exprc.rewrite import OPTIMISE, SIMPLIFY, STABILISE, expand, named_by, open_user, rewrite

L = nn.layers


def chain(length: int) -> tuple[Expr, Expr]:
    """Return a vector and the sum of a chain of operations on it: arithmetic with numbers, a function, a rectifier, a product."""
    x = y = T.vector("x")
    links: list[Callable[[Any], Any]] = [lambda v: v * 0.99 + 0.01, T.tanh, lambda v: T.maximum(v, 0.0), lambda v: v * x]
    for k in range(length):
        y = links[k % 4](y)
    return x, T.sum(y)


def graph_work(nodes: int) -> dict[str, Any]:
    """Build a chain whose graph has about `nodes` nodes with its gradient, differentiate and rewrite it; microseconds per node."""
    seconds: dict[str, float] = {}
    gc.collect()
    x, cost = _clocked(seconds, "build", lambda: chain(round(nodes / 7.25)))
    roots = [cost, _clocked(seconds, "grad", lambda: exprc.grad(cost, x))]
    count = len(topological(roots))
    opened = _clocked(seconds, "open", lambda: open_user(roots, named_by([*SIMPLIFY, *STABILISE])))
    simple = _clocked(seconds, "simplify", lambda: rewrite(opened, SIMPLIFY))
    stable = _clocked(seconds, "stabilise", lambda: rewrite(simple, STABILISE))
    whole = _clocked(seconds, "expand", lambda: expand(stable))
    _clocked(seconds, "optimise", lambda: rewrite(whole, OPTIMISE))
    total = sum(seconds.values())
    stages = {name: s / count * 1e6 for name, s in seconds.items()}
    return {"nodes": count, "seconds": total, "microseconds per node": total / count * 1e6, **stages}


def _clocked(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    begin = time.process_time()
    made = work()
    seconds[name] = time.process_time() - begin
    return made


def growth(small: int = 10_000, large: int = 40_000, rounds: int = 3) -> dict[str, Any]:
    """Compare two sizes in turns: t(large) / t(small), from the fastest of each, which other programs disturbed least."""
    runs = [(graph_work(small), graph_work(large)) for _ in range(rounds)]
    little, much = (min((pair[k] for pair in runs), key=lambda r: r["seconds"]) for k in (0, 1))
    return {"small": little, "large": much, "ratio": much["seconds"] / little["seconds"]}


def deep_chain(length: int = 100_000) -> dict[str, float]:
    """Build, differentiate, run on the interpreter and pickle a chain of `length` nodes under the default recursion limit."""
    seconds: dict[str, float] = {}
    x = T.vector("x")

    def build() -> Expr:
        y = x
        for _ in range(length // 2):
            y = T.tanh(y) + x
        return y

    y = _clocked(seconds, "build", build)
    gradient = _clocked(seconds, "grad", lambda: exprc.grad(T.sum(y), x))
    f = exprc.function([x], [y, gradient], mode="reference")
    _clocked(seconds, "run", lambda: f(np.linspace(0, 1, 4, dtype="float32")))
    text = _clocked(seconds, "pickle", lambda: pickle.dumps(y))
    again = _clocked(seconds, "unpickle", lambda: pickle.loads(text))  # what this process has just written
    assert len(topological([again])) == len(topological([y]))
    return seconds


# -- importing


def importing(times: int = 11) -> dict[str, float]:
    """Milliseconds that ``import exprc`` takes in a fresh process, and NumPy alone: medians, taken in turns.

    With compiled bytecode, as any second start has it, even where this process was told to write none.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {f"import {name}": s * 1e3 for name, s in _medians(["numpy", "exprc"], times, environment).items()}


def _medians(modules: Sequence[str], times: int, environment: dict[str, str]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(times):
        for name in modules:
            code = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
            told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
            taken[name].append(float(told.stdout))
    return {name: statistics.median(values) for name, values in taken.items()}


# -- a deep network


def resnet(depth: int, image: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Any:
    """A residual network for small images (He and others 2016, Deep residual learning, section 4.2), with projections as shortcuts."""
    if depth % 6 != 2:
        raise ValueError(f"a residual network has 6 n + 2 layers, not {depth}: try 8, 14, 20, 56 or 110")
    net = _convolved(L.InputLayer((None, *image)), 16, 3, 1)
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(depth // 6):
            net = _block(net, filters, 2 if stage and not block else 1)
    return L.DenseLayer(L.GlobalPoolLayer(net), classes, nonlinearity=nn.nonlinearities.softmax)


def _convolved(net: Any, filters: int, size: int, stride: int, nonlinearity: Any = nn.nonlinearities.rectify) -> Any:
    made = L.Conv2DLayer(net, filters, size, stride=stride, pad="same", b=None, nonlinearity=nonlinearity, flip_filters=False)
    return L.batch_norm(made)


def _block(net: Any, filters: int, stride: int) -> Any:
    inner = _convolved(_convolved(net, filters, 3, stride), filters, 3, 1, None)
    widened = L.get_output_shape(net)[1] != filters or stride > 1
    shortcut = _convolved(net, filters, 1, stride, None) if widened else net
    return L.NonlinearityLayer(L.ElemwiseSumLayer([inner, shortcut]), nn.nonlinearities.rectify)


def compile_resnet(depth: int, batch: int = 32, side: int = 32) -> dict[str, Any]:
    """Seconds to write, compile and call the training step of a residual network once, and the stages."""
    begin = time.perf_counter()
    images, labels = T.tensor4("images", shape=(batch, 3, side, side)), T.ivector("labels", shape=(batch,))
    net = resnet(depth, (3, side, side))
    loss = nn.objectives.categorical_crossentropy(L.get_output(net, images), labels).mean()
    updates = nn.updates.nesterov_momentum(loss, L.get_all_params(net, trainable=True), 0.1, 0.9)
    written = time.perf_counter()
    f = exprc.function([images, labels], loss, updates=updates)
    value = float(f(np.random.default_rng(0).random((batch, 3, side, side), "float32"), np.arange(batch, dtype="int32") % 10))
    return {"expressions": written - begin, "function and call": time.perf_counter() - written, "loss": value, "stages": f.explain()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graph", description=__doc__)
    parser.add_argument("what", choices=["nodes", "growth", "chain", "import", "resnet"])
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--depth", type=int, default=110)
    parser.add_argument("--side", type=int, default=32)
    asked = parser.parse_args()
    works: dict[str, Callable[[], dict[str, Any]]] = {
        "nodes": lambda: graph_work(asked.nodes),
        "growth": growth,
        "chain": deep_chain,
        "import": importing,
        "resnet": lambda: compile_resnet(asked.depth, side=asked.side),
    }
    made = works[asked.what]()
    stages = made.pop("stages", "")
    print(json.dumps(made, indent=2), stages, sep="\n")


if __name__ == "__main__":
    main()
