"""One thread and two give the same bits, and one function can be called from many threads at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.config import config
from exprc.shorts import SHORTS, ByShapes, general

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


def rows_of_images() -> Any:
    x, w = T.tensor4("x"), T.tensor4("w", shape=(6, 1, 3, 3))
    pooled = [T.pool_2d(x, (2, 2), mode="sum"), T.pool_2d(x, (3, 3), stride=(2, 2), pad=(1, 1))]
    return [x, w], [T.conv2d(x, w, border_mode="half", num_groups=6), *pooled], [floats(7, 6, 60, 61), floats(6, 1, 3, 3)]


NETS = [elementwise, softmax_rows, sums_to_scalars, sums_to_few, bias_gradients, products, convolutions, rows_of_images]


@pytest.mark.parametrize("net", NETS)
def test_two_threads_give_the_bits_of_one(net: Callable[[], Any]) -> None:
    inputs, outputs, values = net()
    results = []
    for threads in (1, 2, 3):
        with config.override(threads=threads):
            f = exprc.function(inputs, outputs, mode="compiled")
            results.append(f(*values))
            (runner,) = f._compiled.bound_runners()
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


def test_eight_threads_call_one_function_a_thousand_times_each() -> None:
    """Without updates: shapes that take turns, and numbers that say which call they belong to."""
    x, k = T.vector("x"), T.scalar("k")
    f = exprc.function([x, k], [x * k, (x * k).sum(), T.concatenate([x, x]) + k], name="shared")
    lengths = [0, 1, 2, 3, 17, 64, 100, 333]
    values = {n: np.arange(n, dtype="float32") for n in lengths}

    def work(thread: int) -> None:
        for turn in range(1000):
            x, k = values[lengths[(thread + turn) % 8]], np.float32(thread * 1000 + turn)
            product, total, twice = f(x, k)
            assert np.array_equal(product, x * k) and np.array_equal(twice, np.concatenate([x, x]) + k)
            assert abs(total - (x.astype("float64") * float(k)).sum()) <= 1e-5 * abs(total)

    together(work)


def test_eight_threads_update_one_variable_a_thousand_times_each() -> None:
    """Every call sees a whole value, that of some number of calls before it, and no two calls the same one."""
    w, x = exprc.shared(np.zeros(50, "float32"), "w"), T.vector("x")
    f = exprc.function([x], w, updates={w: w + x.sum() / x.shape[0]})
    seen: list[list[float]] = [[] for _ in range(8)]

    def work(thread: int) -> None:
        value = np.ones(thread + 1, "float32")
        for _ in range(1000):
            before = f(value)
            assert before.min() == before.max()
            seen[thread].append(float(before[0]))

    together(work)
    assert sorted(v for part in seen for v in part) == list(range(8000))
    np.testing.assert_array_equal(w.get_value(), np.full(50, 8000))


def test_two_functions_with_the_same_variables_in_another_order_do_not_wait_for_each_other() -> None:
    a, b = exprc.shared(np.zeros(10, "float32")), exprc.shared(np.zeros(10, "float32"))
    f, g = exprc.function([], updates=[(a, a + 1), (b, b + 1)]), exprc.function([], updates=[(b, b + 1), (a, a + 1)])
    together(lambda k: [(f, g)[k % 2]() for _ in range(300)][0])
    assert a.get_value().tolist() == b.get_value().tolist() == [2400] * 10


_FORKS = """
import os, sys, threading, time
import numpy as np, exprc, exprc.tensor as T
from exprc.config import config

config.threads = 2
x, w = T.matrix("x"), exprc.shared(np.ones(300, "float32"))
f = exprc.function([x], [T.softmax(x * w), x.sum(axis=0)], updates={w: w * 1})
value = np.random.default_rng(0).standard_normal((2000, 300)).astype("float32")
wanted = f(value)
assert max(r.threads for r in f._compiled.bound_runners()) == 2

def train():
    while True:  # holds the lock of w most of the time: a child must not inherit that
        f(value)

threading.Thread(target=train, daemon=True).start()

def child():
    try:
        right = all(np.array_equal(a, b) for a, b in zip(f(value), wanted)) and w.get_value().sum() == 300
        os._exit(0 if right else 3)
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(4)

def ended(process):
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return "hangs"

codes = []
for _ in range(int(sys.argv[1])):
    process = os.fork()
    if process == 0:
        child()
    codes.append(ended(process))
print(sorted(set(map(str, codes))), len(codes))
"""


@pytest.mark.parametrize("forks", [10, pytest.param(50, marks=pytest.mark.long)])
def test_forks_after_a_parallel_call_do_not_hang(forks: int) -> None:
    """Beside them, a thread of the parent updates the variable that they read."""
    command = [sys.executable, "-W", "ignore", "-c", _FORKS, str(forks)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 5 * forks)
    assert run.stdout.split() == ["['0']", str(forks)], run.stdout + run.stderr


_SPAWN = """
import multiprocessing, numpy as np, exprc, exprc.tensor as T

def work(f, value, send):
    send.send(f(value))

if __name__ == "__main__":
    x, w = T.vector("x"), exprc.shared(2.0)
    f = exprc.function([x], x * w, updates={w: w + 1})
    f([1, 2])
    here = multiprocessing.get_context("spawn")
    take, send = here.Pipe(False)
    process = here.Process(target=work, args=(f, [1, 2], send))
    process.start()
    print(take.recv().tolist(), f([1, 2]).tolist())
    process.join()
"""


def test_a_function_goes_to_a_spawned_process_by_pickle(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_SPAWN)
    run = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=60)
    assert run.stdout.strip() == "[3.0, 6.0] [3.0, 6.0]", run.stdout + run.stderr


class Way(NamedTuple):
    arena: int


def test_threads_that_note_short_ways_at_once() -> None:
    """Where no variable is written, calls of a function hold no lock when they drop the oldest of its short ways."""
    interval, ways = sys.getswitchinterval(), ByShapes([], [])

    def work(k: int) -> None:
        for n in range(3000):
            found: Any = Way(1), (k, n)
            ways._keep(found, general)

    try:
        sys.setswitchinterval(1e-6)
        together(work)
    finally:
        sys.setswitchinterval(interval)
    assert len(ways.made) == SHORTS
