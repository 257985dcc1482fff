"""Which kernels are launched together, and that they compute what they compute alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.gpu.together import LOOPS, launches_of
from exprc.loops import Buffer, Kernel, Literal, Loop, Store, Template
from exprc.ops.tiling import MULTIPROCESSORS, REGISTERS
from exprc.size import symbol

pytestmark = pytest.mark.emulator
EMULATOR = "cuda-emulator"
#: As many blocks of 64 threads as find room at a time.
ROUND = MULTIPROCESSORS * REGISTERS // (64 * LOOPS)


def kernel(name: str, reads: str, writes: str, blocks: Any = 1, threads: int = 64) -> Kernel:
    """A kernel that reads and writes buffers, a letter each."""
    written = tuple(Buffer(b, "float32", 64) for b in writes)
    body = tuple(Store(b, symbol("thread", 0, 63), Literal(0.0, "float32")) for b in written)
    read = tuple(Buffer(b, "float32", 64) for b in reads)
    return Kernel(name, (*read, *written), written, blocks, (Loop("thread", threads, "block", body),))


def names(*kernels: Kernel) -> list[str]:
    return ["+".join(s.name for s in launch.steps) for launch in launches_of(kernels, lambda d: int(d))]  # type: ignore[arg-type]


def test_who_needs_whom_decides() -> None:
    assert names(kernel("a", "x", "p"), kernel("b", "x", "q"), kernel("c", "pq", "r")) == ["a+b", "c"]
    assert names(kernel("a", "x", "p"), kernel("b", "p", "q"), kernel("c", "x", "r")) == ["a+c", "b"], "the first launch that has room"
    assert names(kernel("a", "w", "p"), kernel("b", "x", "w")) == ["a", "b"], "what is read is not written meanwhile"
    assert names(kernel("a", "x", "p"), kernel("b", "x", "p")) == ["a", "b"]


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        ([kernel("a", "", "p", ROUND), kernel("b", "", "q")], ["a+b"]),
        ([kernel("a", "", "p", ROUND), kernel("b", "", "q", 1, 128)], ["a", "b"]),  # of a only half as many blocks would run at a time
        ([kernel("a", "", "p", ROUND // 2), kernel("b", "", "q", 1, 128)], ["a+b"]),  # all the same
        ([kernel("a", "", "p", ROUND // 2), kernel("b", "", "q", 9 * ROUND, 128)], ["a+b"]),  # a has no more blocks than that anyway
        ([kernel("a", "", "p", ROUND), kernel("b", "", "q", ROUND // 2, 128)], ["a", "b"]),
        ([kernel("a", "", "p", 9 * ROUND), kernel("b", "", "q", 9 * ROUND)], ["a+b"]),  # one after the other, without a launch between
        ([kernel("a", "", "p", ROUND // 2 + 9, 96), kernel("b", "", "q", 1, 128)], ["a+b"]),  # hardly more than a round
        ([kernel("a", "", "p", symbol("n", 0, 9)), kernel("b", "", "q")], ["a", "b"]),  # blocks that only a call knows
        ([kernel("a", "", "p", 0), kernel("b", "", "q")], ["a+b"]),
    ],
)
def test_room_decides(kernels: list[Kernel], expected: list[str]) -> None:
    assert names_of(kernels) == expected


def test_a_launch_has_room_for_so_many_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exprc.gpu.together.MOST", 4)
    assert names(kernel("a", "x", "p"), kernel("b", "y", "q"), kernel("c", "y", "r"), kernel("d", "x", "s")) == ["a+b", "c+d"]
    assert names(kernel("a", "x", "p"), kernel("b", "x", "q"), kernel("c", "x", "r"), kernel("d", "x", "s")) == ["a+b+c", "d"]


def names_of(kernels: list[Kernel]) -> list[str]:
    launches = launches_of(kernels, lambda d: d if isinstance(d, int) else 3)
    return ["+".join(s.name for s in launch.steps) for launch in launches]


def several() -> tuple[Any, list[Any]]:
    """Reductions along every axis, products and pooling, which do not need each other: rows and columns of threads of several widths."""
    x, images = T.matrix("x", shape=(37, 29)), T.tensor4("images", shape=(2, 3, 6, 5))
    w = T.as_tensor(np.linspace(-1, 1, 29 * 5, dtype=np.float32).reshape(29, 5))
    return [x, images], [x.sum(axis=0), x.max(axis=1), T.softmax(x), x @ w, x.mean(), T.pool_2d(images, 2), x.cumsum(axis=1)]


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
def test_values_are_those_of_kernels_alone(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, outputs = several()
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(leaf.type.shape).astype("float32") for leaf in inputs]
    with exprc.config.override(emulator="check", emulator_order=order):
        together = exprc.function(inputs, outputs, device=EMULATOR)
        got = together(*values)
        monkeypatch.setattr("exprc.gpu.together.Launch.takes", lambda *_: False)
        alone = exprc.function(inputs, outputs, device=EMULATOR)
        expected = alone(*values)
    assert all((a == b).all() for a, b in zip(got, expected, strict=True))
    launches, kernels = (int(re.search(r"launches of a call, (\d+)", f.explain())[1]) for f in (together, alone))  # type: ignore[index]
    assert launches == 1 and kernels == 6


def test_products_whose_blocks_differ_share_a_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of the filters of two convolutions, and a bias: the threads that one of them does not need leave."""
    shapes = [(3, 1, 28, 28), (20, 1, 5, 5), (3, 20, 12, 12), (50, 20, 5, 5)]
    inputs = [T.tensor4(shape=shape) for shape in shapes]
    rng = np.random.default_rng(1)
    values = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    costs = [T.sqr(T.conv2d(x, w)).sum() for x, w in zip(inputs[::2], inputs[1::2])]
    outputs = [*exprc.grad(sum(costs), inputs[1::2]), T.conv2d(*inputs[:2]).sum(axis=(0, 2, 3))]
    with exprc.config.override(emulator="check", emulator_order="random"):
        together = exprc.function(inputs, outputs, device=EMULATOR)
        got = together(*values)
        monkeypatch.setattr("exprc.gpu.together.Launch.takes", lambda *_: False)
        expected = exprc.function(inputs, outputs, device=EMULATOR)(*values)
    assert all((a == b).all() for a, b in zip(got, expected, strict=True))
    launched = together._compiled.last.lowered.launched()
    threads = [{step.launch(step.macros, 4)[1] for step in launch if isinstance(step, Template)} for launch in launched]
    assert max(len(t) for t in threads) > 1, threads


def test_a_step_of_training_has_few_launches() -> None:
    """Sums for biases, losses and small updates take no launches of their own; variables are written when all have read them."""
    x, y = T.matrix("x", shape=(64, 30)), T.ivector("y", shape=(64,))
    rng = np.random.default_rng(0)
    shapes = [(30, 40), (40,), (40, 10), (10,)]
    start = [rng.standard_normal(s).astype("float32") for s in shapes]
    images, labels = rng.standard_normal((64, 30)).astype("float32"), np.arange(64, dtype="int32") % 10
    losses = {}
    for device in ("cpu", EMULATOR):
        w1, b1, w2, b2 = params = [exprc.shared(value) for value in start]
        loss = T.categorical_crossentropy(T.softmax(T.relu(x @ w1 + b1) @ w2 + b2), y).mean()
        updates = [(w, w - 0.1 * g) for w, g in zip(params, exprc.grad(loss, params), strict=True)]
        step = exprc.function([x, y], loss, updates=updates, device=device)
        losses[device] = [float(step(images, labels)) for _ in range(4)]
    np.testing.assert_allclose(losses[EMULATOR], losses["cpu"], rtol=1e-5)
    assert "launches of a call" not in exprc.function([x], x + 1).explain()
    assert "9 steps in 5 launches" in step.explain()


def test_threads_that_no_barrier_waits_for() -> None:
    """A part with fewer threads than its launch: the checking build does not wait for the others, but for all of its own."""
    from exprc.errors import KernelError
    from exprc.render.base import kernel_source
    from exprc.runtime.devices import open_device
    from exprc.runtime.launch import Launch

    text = """
EXPRC_KERNEL void turned(const float *x, float *y, long long n) {
    if (threadIdx.x >= 40) EXPRC_LEAVE;
    EXPRC_SHARED(raw);
    float *t = (float *)raw;
    t[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = t[n - 1 - threadIdx.x];
}
EXPRC_KERNEL void lost(const float *x, float *y, long long n) {
    if (threadIdx.x >= 40) return;
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}
"""
    device = open_device(EMULATOR)
    with exprc.config.override(emulator="check"):
        module = device.load(kernel_source("cuda/prelude.cuh") + text)
        x, y = np.arange(40, dtype=np.float32), np.empty(40, np.float32)
        given, made = device.allocate(160), device.allocate(160)
        device.write(given.address, x)
        device.prepare(module, [Launch("turned", (1, 1, 1), (96, 1, 1), 160, (given.address, made.address, 40))]).run()
        device.read(made.address, y)
        assert (y == x[::-1]).all()
        with pytest.raises(KernelError, match="40 of 96"):
            device.prepare(module, [Launch("lost", (1, 1, 1), (96, 1, 1), 0, (given.address, made.address, 40))]).run()
            device.synchronize()


def test_what_is_made_of_a_cut_sum_at_once_takes_no_launch_of_its_own() -> None:
    """Formulas of joined parts, updates in place among them, also where another axis is read, or several sums."""
    x = T.tensor4("x", shape=(4, 3, 40, 40))
    value = np.random.default_rng(0).standard_normal((4, 3, 40, 40)).astype("float32")
    found = {}
    for device in ("cpu", EMULATOR):
        b = exprc.shared(np.arange(3, dtype="float32"))
        total, mean = x.sum(axis=(0, 2, 3)), T.sqr(x).mean(axis=(0, 2, 3))
        scale = 1 / T.sqrt(mean + 0.1)
        outputs = [scale, total * scale + b, (total - total[::-1]) * b]
        with exprc.config.override(emulator="check", emulator_order="random"):
            f = exprc.function([x], outputs, updates={b: b - 0.01 * total}, device=device)
            found[device] = [*f(value), *f(value), b.get_value()]
    for a, e in zip(found[EMULATOR], found["cpu"], strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)
    text = f.explain()
    assert "the parts joined in order, inv, add, sub" in text
    assert "launches of a call, 4:" in text, "the parts, what joins them, what reads other elements, a copy: b is read till then"


def test_a_formula_of_a_product_in_another_shape_is_worked_out_in_its_hook() -> None:
    """As behind the first dense layer: the gradient is a matrix, what it is masked with are images."""
    x, w = T.matrix("x", shape=(6, 7)), T.matrix("w", shape=(7, 60))
    images = T.tensor4("images", shape=(6, 5, 4, 3))
    seen = (x @ w).reshape((6, 5, 4, 3))
    outputs = [T.where(images > 0, seen, 0), (x @ w).reshape((12, 30)) * 2, T.exp(seen[:, ::-1]), seen + (x @ w).reshape((6, 5, 4, 3))]
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(leaf.type.shape).astype("float32") for leaf in (x, w, images)]
    for k, output in enumerate(outputs):
        with exprc.config.override(emulator="check"):
            f = exprc.function([x, w, images], output, device=EMULATOR, on_unused_input="ignore")
            got = f(*values)
        expected = exprc.function([x, w, images], output, mode="reference", on_unused_input="ignore")(*values)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        assert f"launches of a call, {1 + (k in (1, 2))}:" in f.explain(), f.explain()


def test_what_very_many_elements_have_in_common_is_worked_out_once() -> None:
    """The scale of a channel, in the kernel that joins the parts of its variance; for fewer elements, where it is wanted."""
    g = T.vector("g", shape=(3,))
    for images, functions in ((6, 1), (2, 2)):
        x = T.tensor4("x", shape=(images, 3, 64, 64))
        scale = (g / T.sqrt(x.var(axis=(0, 2, 3)) + 0.1)).dimshuffle("x", 0, "x", "x")
        value = np.random.default_rng(0).standard_normal((images, 3, 64, 64)).astype("float32")
        outputs = [x * scale, T.relu(x - scale).sum(axis=(0, 1))]
        f = exprc.function([x, g], outputs, device=EMULATOR)
        given = value, np.float32([1, -2, 3])
        for a, e in zip(f(*given), exprc.function([x, g], outputs)(*given), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)
        text = f.source[f.source.index("EXPRC_KERNEL void EXPRC_BOUNDS(") :]
        assert text.count(" = sqrt(") == functions, images
