"""One thread and two give the same bits, and one function can be called from many threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.config import config

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    return rng.standard_normal(shape).astype("float32")


def elementwise() -> Any:
    x, y = T.matrix("x"), T.matrix("y")
    return [x, y], [T.tanh(x) * y + T.exp(-x * x), x.T + 1, (x > y).astype("int8")], [floats(777, 333), floats(777, 333)]


def softmax_rows() -> Any:
    x = T.matrix("x")
    return [x], [T.softmax(x), T.log_softmax(x), T.softmax(x, axis=0)], [floats(3001, 37)]


def sums_to_scalars() -> Any:
    x = T.matrix("x")
    outputs = [x.sum(), x.mean(), x.max(), x.argmax(), (x * x).sum(), T.logsumexp(x), x.var(), T.exp(x / 99).prod()]
    return [x], outputs, [floats(1237, 311)]


def sums_to_few() -> Any:
    x, g = T.matrix("x"), T.tensor4("g")
    outputs = [x.sum(axis=0), x.argmin(axis=0), x.sum(axis=1), g.sum(axis=(0, 2, 3)), g.mean(axis=(0, 2, 3))]
    return [x, g], outputs, [floats(70001, 5), floats(32, 3, 41, 43)]


def bias_gradients() -> Any:
    x, w, b = T.matrix("x"), T.matrix("w"), T.vector("b")
    loss = (T.tanh(T.dot(x, w) + b) ** 2).mean()
    return [x, w, b], [loss, *exprc.grad(loss, [b, w, x])], [floats(1000, 64), floats(64, 130) / 8, floats(130)]


def products() -> Any:
    a, b = T.matrix("a"), T.matrix("b")
    return [a, b], [T.dot(a, b), T.dot(b.T, a.T), T.relu(T.dot(a, b))], [floats(301, 257), floats(257, 199)]


def convolutions() -> Any:
    x, w, b = T.tensor4("x"), T.tensor4("w"), T.vector("b")
    y = T.pool_2d(T.relu(T.conv2d(x, w) + b.dimshuffle("x", 0, "x", "x")), (2, 2), ignore_border=True)
    loss = (y * y).mean()
    return [x, w, b], [y, *exprc.grad(loss, [x, w, b])], [floats(37, 3, 20, 20), floats(8, 3, 5, 5), floats(8)]


NETS = [elementwise, softmax_rows, sums_to_scalars, sums_to_few, bias_gradients, products, convolutions]


@pytest.mark.parametrize("net", NETS)
def test_two_threads_give_the_bits_of_one(net: Callable[[], Any]) -> None:
    inputs, outputs, values = net()
    results = []
    for threads in (1, 2, 3):
        with config.override(threads=threads):
            f = exprc.function(inputs, outputs, mode="compiled")
            results.append(f(*values))
            (runner,) = f._compiled.runners.values()
            assert runner.threads == threads, "too little work to be shared"
    reference = exprc.function(inputs, outputs, mode="reference")(*values)
    for one, two, three, wanted in zip(*results, reference):
        np.testing.assert_array_equal(one.view("int8") if one.ndim else one, two.view("int8") if two.ndim else two)
        np.testing.assert_array_equal(one, three)
        np.testing.assert_allclose(one, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_updates_in_place_with_two_threads() -> None:
    """Rows of one step are read by another: a barrier stands between them."""
    start = floats(900, 500)
    results = []
    for threads in (1, 2):
        with config.override(threads=threads):
            w = exprc.shared(start)
            f = exprc.function([], w.sum(), updates={w: T.softmax(w[::-1] * 1.5) + w.mean(axis=0) - w.T[:500].sum() / 1e6})
            sums = [f() for _ in range(5)]
            results.append((sums, w.get_value()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def together(work: Callable[[int], None], count: int = 8) -> None:
    """Run work(0) ... work(count - 1) in threads that start at once; raise what one of them raised."""
    errors: list[BaseException] = []
    gate = threading.Barrier(count)

    def run(k: int) -> None:
        try:
            gate.wait()
            work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_one_function_in_eight_threads_at_once() -> None:
    """Different shapes, some of them general, each call in an arena of its own."""
    x, w = T.matrix("x"), exprc.shared(floats(30, 20))
    h = T.softmax(T.dot(x, w))
    outputs = [h, T.dot(h, w.T), h.sum(axis=0)]
    f, reference = exprc.function([x], outputs), exprc.function([x], outputs, mode="reference")
    values = [floats(n, 30) for n in (1, 2, 17, 64, 100, 200, 7, 301)]
    wanted = [reference(v) for v in values]

    def work(k: int) -> None:
        for turn in range(60):
            which = (k + turn) % len(values)
            for a, b in zip(f(values[which]), wanted[which]):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    together(work)


def test_updates_from_eight_threads_are_none_lost() -> None:
    n, x = exprc.shared(np.zeros(5000, "float32")), T.scalar("x")
    f = exprc.function([x], updates={n: n + x})
    together(lambda k: [f(1.0) for _ in range(50)][0])
    np.testing.assert_array_equal(n.get_value(), np.full(5000, 400))
