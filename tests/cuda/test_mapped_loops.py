"""What loops have for GPUs: those that threads share, shared memory, barriers, shuffles; printed, verified, interpreted."""

from __future__ import annotations

import numpy as np
import pytest

from exprc.gpu.narrow import narrowed
from exprc.interpret import interpret
from exprc.loops import (
    Accum,
    Alloc,
    Apply,
    Barrier,
    Buffer,
    If,
    Index,
    Kernel,
    Let,
    Literal,
    Load,
    Loop,
    Program,
    Shuffle,
    Store,
)
from exprc.loops_text import text_of
from exprc.render.cuda import render
from exprc.size import symbol
from exprc.verify import verify

x, y = Buffer("x", "float32", 64), Buffer("y", "float32", 8)
cell = Buffer("sum", "float32", 1, local=True)
thread, r = symbol("thread", 0, 31), symbol("r", 0, 63)


def total(*extra: object) -> Kernel:
    """Every thread sums each 32nd element, the first neighbours join."""
    add = Apply("{a} + {b}", (("a", Load(cell, 0)), ("b", Load(x, r))), "float32")
    joined = Apply("{a} + {b}", (("a", Load(cell, 0)), ("b", Shuffle(Load(cell, 0), 16, 32))), "float32")
    body = (
        Alloc(cell), Store(cell, 0, Literal(0.0, "float32")),
        Loop("r", 64, "serial", (Accum(((cell, 0),), (add,)),), thread, 32),
        Accum(((cell, 0),), (joined,)), *extra, If(((thread, 1),), (Store(y, 0, Load(cell, 0)),)),
    )  # fmt: skip
    return Kernel("total", (x, y), (y,), 1, (Loop("thread", 32, "block", body),), "total")


def test_text() -> None:
    text = text_of(total(Barrier(warp=True)))
    assert "serial r < 64, from thread by 32" in text and "sum[0] of the thread 16 on of 32" in text and "barrier of the warp" in text
    shared = Buffer("v", "float32", 8, local=True, shared=16)
    assert text_of(Alloc(shared)) == "float32 v[8], shared at 16"
    assert "of the first of 32" in text_of(Shuffle(Load(cell, 0), 0, 32))


def test_cuda() -> None:
    made = render(Program((total(Barrier()), total(Barrier())), (x, y), {}))
    assert made.entries == ("total", "total"), "equal kernels are printed once"
    assert "for (int64_t r = thread; r < 64; r += 32) {" in made.text and "__syncthreads();" in made.text
    assert "sum = sum + (float)__shfl_down_sync(0xffffffffu, sum, 16, 32);" in made.text
    assert "EXPRC_KERNEL void EXPRC_BOUNDS(32) total(const float *restrict b0, float *restrict b1, int64_t *status) {" in made.text


def test_verify_refuses_what_threads_do_not_all_reach() -> None:
    verify(total(Barrier()))
    with pytest.raises(ValueError, match="a barrier stands where not every thread comes by"):
        verify(total(If(((thread, 5),), (Barrier(),))))
    with pytest.raises(ValueError, match="a shuffle stands where not every thread comes by"):
        verify(total(If(((thread, 5),), (Let("z", "float32", Shuffle(Load(cell, 0), 1, 32)),))))
    with pytest.raises(ValueError, match="a barrier stands where not every thread comes by"):
        verify(total(Loop("k", 3, "serial", (Barrier(),), thread)))


def test_loops_with_a_step_are_interpreted() -> None:
    arrays = {"x": np.zeros(64, "float32")}
    steps = Loop("r", 64, "serial", (Store(x, r, Literal(1.0, "float32")),), 3, 7)
    interpret(Kernel("k", (x,), (x,), 1, (steps,)), arrays)
    assert np.flatnonzero(arrays["x"]).tolist() == list(range(3, 64, 7))


def test_indices_are_ints_where_they_are_enough() -> None:
    small = narrowed(total())
    assert small.index == "int32" and "int32_t r = thread" in render(Program((small,), (x, y), {})).text
    large = Buffer("x", "float32", 2**29)
    long = Loop("thread", 32, "block", (Let("i", "int64", Index(thread)), Store(large, symbol("i", 0, 31), Literal(0.0, "float32"))))
    assert narrowed(Kernel("k", (large,), (large,), 1, (long,))).index == "int64"
    counted = Apply("{i} * 3", (("i", Index(thread)),), "int64")
    number = Loop("thread", 32, "block", (Let("n", "int64", counted),))
    assert narrowed(Kernel("k", (x,), (), 1, (number,))).index == "int64", "the product may not be an int"
