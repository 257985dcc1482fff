"""The checking build finds each planted bug, by kernel, block, thread and line; what is right passes; the process lives on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from exprc.config import config
from exprc.errors import KernelError
from exprc.runtime.compiler import find_compiler
from exprc.runtime.launch import Launch
from tests.cuda.shapes import Bench, with_prelude

pytestmark = pytest.mark.emulator


@dataclass(frozen=True)
class Planted:
    """A kernel with a bug in the line that ends with ``// bug``.

    kind, said : of the error. grid, block, shared : of the launch. who : (block, thread) in forward order, where it is always the same.
    """

    text: str
    kind: str
    said: str
    grid: Any = 1
    block: Any = 64
    shared: int = 0
    who: Any = None


#: Every kernel takes x: 64 floats set to 0 ... 63, y: 64 floats never written, n = 64.
HEAD = "(const float *__restrict__ x, float *__restrict__ y, int64_t n)"

PLANTED = {
    "read_beyond": Planted(
        """
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const float v = x[i]; // bug
    if (i < n) y[i] = v;""",
        "bounds", r"reads 4 bytes out of bounds: byte 256 of 256 of x \(argument 0\)",
        grid=3, block=32, who=((2, 0, 0), (0, 0, 0)),
    ),
    "write_before": Planted(
        """
    y[(int64_t)threadIdx.x - 1] = x[threadIdx.x]; // bug""",
        "bounds", r"writes 4 bytes out of bounds: byte -4 of 256 of y", who=((0, 0, 0), (0, 0, 0)),
    ),
    "write_far": Planted(
        """
    if (threadIdx.x == 7) *(float *)((char *)0 + 8) = 1; // bug""",
        "bounds", "out of bounds", who=((0, 0, 0), (7, 0, 0)),
    ),
    "write_const": Planted(
        """
    y[threadIdx.x] = 1;
    if (threadIdx.x == 9) ((float *)x)[3] = 1; // bug""",
        "read-only", "of x .argument 0., which the kernel takes as const", who=((0, 0, 0), (9, 0, 0)),
    ),
    "shared_beyond": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    s[threadIdx.x + 1] = x[threadIdx.x]; // bug
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];""",
        "bounds", "byte 256 of 256 of shared memory", shared=256, who=((0, 0, 0), (63, 0, 0)),
    ),
    "array_beyond": Planted(
        """
    __shared__ float s[60];
    s[threadIdx.x] = x[threadIdx.x]; // bug
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];""",
        "index", "uses the index 60 of an array", who=((0, 0, 0), (60, 0, 0)),
    ),
    "local_beyond": Planted(
        """
    float own[4];
    for (int64_t k = 0; k < n; k++) own[k] = x[k]; // bug
    y[threadIdx.x] = own[threadIdx.x % 4];""",
        "index", "uses the index 4 of an array",
    ),
    "misaligned": Planted(
        """
    if (threadIdx.x < 8) {
        const float4 v = *(const float4 *)(x + 4 * threadIdx.x + 1); // bug
        y[threadIdx.x] = v.x;
    }""",
        "misaligned", "takes the bytes at an address that is not a multiple of 16",
    ),
    "nobody_wrote": Planted(
        """
    y[threadIdx.x] += x[threadIdx.x]; // bug""",
        "uninitialised", r"reads 4 bytes that nothing has written: byte 0 of 256 of y",
    ),
    "shared_nobody_wrote": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    if (threadIdx.x < 63) s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x]; // bug""",
        "uninitialised", "byte 252 of 256 of shared memory", shared=256, who=((0, 0, 0), (63, 0, 0)),
    ),
    "shared_of_the_block_before": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    if (blockIdx.x == 0) s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (blockIdx.x == 1) y[threadIdx.x] = s[threadIdx.x]; // bug""",
        "uninitialised", "of shared memory", grid=2, shared=256, who=((1, 0, 0), (0, 0, 0)),
    ),
    "no_barrier": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    s[threadIdx.x] = 0;
    __syncthreads();
    s[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = s[threadIdx.x ^ 1]; // bug""",
        "race",
        "writes byte 4 of shared memory, which another thread of its block reads without a barrier in between\n.*\n *other *thread .*line",
        shared=256, who=((0, 0, 0), (1, 0, 0)),
    ),
    "no_second_barrier": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    float total = 0;
    for (int k = 0; k < 2; k++) {
        s[threadIdx.x] = x[threadIdx.x] + k; // bug
        __syncthreads();
        total += s[63 - threadIdx.x];
    }
    y[threadIdx.x] = total;""",
        "race", "of shared memory, which another thread of its block writes without a barrier",
        shared=256, who=((0, 0, 0), (32, 0, 0)),
    ),
    "no_syncwarp": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    s[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    const float other = s[threadIdx.x ^ 1];
    s[threadIdx.x] = other; // bug
    __syncwarp();
    y[threadIdx.x] = s[threadIdx.x];""",
        "race", "reads byte 0 of shared memory, which another thread of its block writes",
        block=32, shared=128, who=((0, 0, 0), (1, 0, 0)),
    ),
    "race_in_bytes": Planted(
        """
    EXPRC_SHARED(base);
    if (threadIdx.x < 8) base[threadIdx.x] = 0;
    __syncthreads();
    if (threadIdx.x < 8) base[threadIdx.x] = (unsigned char)threadIdx.x;
    if (threadIdx.x == 40) y[0] = base[3]; // bug""",
        "race", "byte 3 of shared memory", shared=8,
    ),
    "scatter": Planted(
        """
    y[threadIdx.x / 2] = x[threadIdx.x]; // bug""",
        "race", "writes byte 0 of y .argument 1., which another thread of its block writes", who=((0, 0, 0), (1, 0, 0)),
    ),
    "atomic_and_plain": Planted(
        """
    int *count = (int *)y;
    if (threadIdx.x == 0) count[0] = 0;
    __syncthreads();
    atomicAdd(&count[0], 1);
    if (threadIdx.x == 50) count[1] = count[0]; // bug""",
        "race", "reads byte 0 of y .argument 1., which another thread of its block updates atomically",
        who=((0, 0, 0), (50, 0, 0)),
    ),
    "two_blocks": Planted(
        """
    y[threadIdx.x] = x[threadIdx.x]; // bug""",
        "blocks",
        "writes byte 0 of y .argument 1., which another block writes in the same launch\n.*\n *other *thread .0, 0, 0. of block .0, 0, 0.",
        grid=2, who=((1, 0, 0), (0, 0, 0)),
    ),
    "reads_another_block": Planted(
        """
    if (blockIdx.x == 0) y[threadIdx.x] = x[threadIdx.x];
    else y[32 + threadIdx.x] = y[threadIdx.x] + 1; // bug""",
        "blocks|uninitialised", "reads byte 0 of y .argument 1., which another block writes in the same launch",
        grid=2, block=32, who=((1, 0, 0), (0, 0, 0)),
    ),
    "partial_barrier": Planted(
        """
    if (threadIdx.x >= 40) return;
    __syncthreads(); // bug
    y[threadIdx.x] = x[threadIdx.x];""",
        "partial-barrier", "waits at a barrier that only 40 of 64 threads of its block reach",
        who=((0, 0, 0), (0, 0, 0)),
    ),
    "divergent_barrier": Planted(
        """
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads(); // bug
    y[threadIdx.x] = x[threadIdx.x];""",
        "divergent-barrier", "waits at another barrier than thread 0 of its block, which waits at line",
        who=((0, 0, 0), (32, 0, 0)),
    ),
    "divergent_shuffle": Planted(
        """
    float v = x[threadIdx.x];
    if (threadIdx.x % 2) __syncwarp();
    else v += __shfl_xor_sync(0xffffffffu, v, 2); // bug
    y[threadIdx.x] = v;""",
        "stuck-warp",
        "waits for lanes of its warp that never come: mask 0xffffffff, arrived 0x55555555\n.*\n *other *thread .1, 0, 0. of block",
        who=((0, 0, 0), (0, 0, 0)),
    ),
    "half_a_mask": Planted(
        """
    float v = x[threadIdx.x];
    v += __shfl_xor_sync(0x0000ffffu, v, 1); // bug
    y[threadIdx.x] = v;""",
        "mask", "is lane 16 of its warp, which the mask 0x0000ffff that it gives lacks", who=((0, 0, 0), (16, 0, 0)),
    ),
    "shuffles_from_outside": Planted(
        """
    float v = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(0x0000ffffu, v, 16); // bug
    y[threadIdx.x] = v;""",
        "source-lane", "shuffles from lane 16 of its warp, which did not take part", who=((0, 0, 0), (0, 0, 0)),
    ),
    "division": Planted(
        """
    y[threadIdx.x] = (float)(n / (int64_t)x[threadIdx.x]); // bug""",
        "division", "divides by 0",
    ),
    "trap": Planted(
        """
    if (x[threadIdx.x] == 5) __trap(); // bug""",
        "trap", "traps", who=((0, 0, 0), (5, 0, 0)),
    ),
    "copy_not_waited_for": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    copy_async<4>(s + threadIdx.x, x + threadIdx.x);
    copy_commit();
    copy_wait<1>();
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x]; // bug""",
        "copying", "reads 4 bytes to which an asynchronous copy is under way: byte", shared=256,
    ),
    "copy_written_over": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    copy_async<4>(s + threadIdx.x, x + threadIdx.x);
    copy_commit();
    s[threadIdx.x] = 1; // bug
    copy_wait<0>();
    y[threadIdx.x] = s[threadIdx.x];""",
        "copying", "writes 4 bytes to which an asynchronous copy is under way: byte", shared=256,
    ),
    "copied_twice": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    copy_async_if<4>(s + threadIdx.x, x + threadIdx.x, threadIdx.x < 7);
    copy_commit();
    copy_async<4>(s + threadIdx.x, x + threadIdx.x); // bug
    copy_commit();
    copy_wait<0>();
    y[threadIdx.x] = s[threadIdx.x];""",
        "copying", "writes 4 bytes to which an asynchronous copy is under way: byte", shared=256,
    ),
    "copy_without_barrier": Planted(
        """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    copy_async<4>(s + threadIdx.x, x + threadIdx.x);
    copy_commit();
    copy_wait<0>();
    y[threadIdx.x] = s[threadIdx.x ^ 1]; // bug""",
        "race|uninitialised", "of shared memory", shared=256,
    ),
    "copy_misaligned": Planted(
        """
    EXPRC_SHARED(base);
    copy_async<16>(base + 16 * threadIdx.x, x + threadIdx.x % 32); // bug
    copy_commit();""",
        "misaligned", "takes the bytes at an address that is not a multiple of 16", shared=1024,
    ),
}  # fmt: skip

#: What is right although it looks alike.
RIGHT = {
    "halves": """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    s[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    y[threadIdx.x] = s[threadIdx.x ^ 1];""",
    "partial_syncwarp": """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    if (threadIdx.x % 32 < 8) {
        s[threadIdx.x] = x[threadIdx.x];
        __syncwarp(0xffu);
        y[threadIdx.x] = s[threadIdx.x ^ 3];
    }
    __syncthreads();
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x % 32 >= 8) y[threadIdx.x] = s[63 - threadIdx.x];""",
    "bytes_side_by_side": """
    EXPRC_SHARED(base);
    base[threadIdx.x] = (unsigned char)x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = base[63 - threadIdx.x];""",
    "atomics": """
    EXPRC_SHARED(base);
    int *count = (int *)base;
    if (threadIdx.x == 0) count[0] = 0;
    __syncthreads();
    atomicAdd(&count[0], 1);
    __syncthreads();
    y[threadIdx.x] = (float)count[0];""",
    "copies": """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    if (threadIdx.x < 16) copy_async<16>(s + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x == 15 ? 8 : 16);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    y[threadIdx.x] = s[63 - threadIdx.x];""",
    "copies_ahead": """
    EXPRC_SHARED(base);
    float *s = (float *)base;
    for (int k = 0; k < 6; k++) {
        if (k < 4) copy_async_if<4>(s + k % 3 * 64 + threadIdx.x, x + threadIdx.x, k == (int)threadIdx.x);
        copy_commit();
        copy_wait<2>();
        __syncthreads();
        if (k > 1) y[threadIdx.x] = s[(k - 2) % 3 * 64 + 63 - threadIdx.x];
        __syncthreads();
    }""",
    "table": """
    static const float table[3] = {1, 2, 3};
    y[threadIdx.x] = table[(int)x[threadIdx.x] % 3];""",
}


def entry(name: str, body: str) -> str:
    return f"EXPRC_KERNEL void {name}{HEAD} {{{body}\n}}\n"


TEXT = with_prelude("".join([entry(n, p.text) for n, p in PLANTED.items()] + [entry(n, t) for n, t in RIGHT.items()]))


class Checking(Bench):
    """A bench whose memory and module are checked."""

    def __init__(self, text: str = TEXT):
        with config.override(emulator="check"):
            super().__init__(text)

    def arguments(self) -> tuple[int, int, int]:
        with config.override(emulator="check"):
            return self.put(np.arange(64, dtype="float32")), self.new(256), 64


def line_of_bug(name: str) -> int:
    lines = TEXT.splitlines()
    begin = next(i for i, line in enumerate(lines) if f"void {name}(" in line)
    return next(i for i in range(begin, len(lines)) if lines[i].endswith("// bug")) + 1


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_with_its_line(name, order):
    if name == "misaligned" and find_compiler().kind == "clang":
        pytest.skip("clang does not look at the alignment of a structure that is copied")
    planted, bench = PLANTED[name], Checking()
    with config.override(emulator_order=order), pytest.raises(KernelError) as caught:
        bench.run(name, planted.grid, planted.block, *bench.arguments(), shared=planted.shared)
    error = caught.value
    assert re.fullmatch(planted.kind, error.kind), str(error)
    assert error.kernel == name and str(error).startswith(f"{name}: thread {error.thread} of block {error.block} ")
    if order == "forward":
        assert re.search(planted.said, str(error)), str(error)
        assert planted.who in (None, (error.block, error.thread)), str(error)
    lines = {error.line, *map(int, re.findall(r"line (\d+)", str(error)))}  # of a race, one of the two
    assert line_of_bug(name) in lines, str(error)


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name, order):
    bench = Checking()
    x, y, n = bench.arguments()
    with config.override(emulator_order=order):
        bench.run(name, 1, 64, x, y, n, shared=768)
        bench.run(name, 1, 64, x, y, n, shared=768)  # the second launch comes after the first
    numbers = np.arange(64, dtype="float32")
    expected = {
        "halves": numbers.reshape(-1, 2)[:, ::-1].ravel(), "bytes_side_by_side": numbers[::-1], "atomics": np.full(64, 64, "float32"),
        "copies": np.where(numbers < 62, numbers, 0)[::-1], "copies_ahead": np.where(numbers == 60, 3, 0), "table": numbers % 3 + 1,
        "partial_syncwarp": np.where(numbers % 32 < 8, numbers.astype(int) ^ 3, 63 - numbers),
    }  # fmt: skip
    np.testing.assert_array_equal(bench.get(y, 64), expected[name])


def test_after_a_fault_everything_goes_on():
    bench = Checking()
    x, y, n = bench.arguments()
    for _ in range(3):
        with pytest.raises(KernelError, match="barrier"):
            bench.run("partial_barrier", 1, 64, x, y, n)
        bench.run("halves", 1, 64, x, y, n, shared=256)
    assert bench.get(y, 64)[0] == 1


def test_reading_back_what_no_kernel_wrote_is_an_error():
    bench = Checking()
    _, y, _ = bench.arguments()
    with pytest.raises(KernelError, match="byte 0 of 256 that are read back was never written"):
        bench.get(y, 64)


def test_what_a_kernel_without_checks_may_have_written_counts_as_written():
    bench, plain = Checking(), Bench(TEXT)
    x, y, n = bench.arguments()
    plain.run("halves", 1, 64, x, y, n, shared=256)
    bench.run("nobody_wrote", 1, 64, x, y, n)


def test_another_buffer_is_out_of_bounds():
    bench = Checking(with_prelude("EXPRC_KERNEL void wild(float *y, int64_t offset) { y[offset] = 1; }"))
    with config.override(emulator="check"):
        y, other = bench.new(64), bench.new(64)
    with pytest.raises(KernelError, match="out of bounds: byte .* of 64 of y") as caught:
        bench.run("wild", 1, 1, y, (other - y) // 4)
    assert caught.value.kind == "bounds"


def test_an_argument_reaches_as_far_as_its_launch_says():
    bench = Checking(with_prelude("EXPRC_KERNEL void parts(const float *x, float *y, int64_t n) { y[n] = x[n]; }"))
    arena = bench.put(np.zeros(64, "float32"))
    said = {7: "", 8: r"reads 4 bytes out of bounds: byte 32 of 32 of x \(argument 0\)", -1: "reads 4 bytes out of bounds: byte -4"}
    for n, what in said.items():
        launch = Launch("parts", (1, 1, 1), (1, 1, 1), 0, (arena + 64, arena + 128, n), (32, 36, -1))
        prepared = bench.device.prepare(bench.module, [launch])
        if what:
            with pytest.raises(KernelError, match=what):
                prepared.run()
        else:
            prepared.run()


def test_what_was_forgotten_counts_as_never_written():
    bench = Checking()
    x, y, n = bench.arguments()
    bench.device.forget(x + 4, 8)
    with pytest.raises(KernelError, match="reads 4 bytes that nothing has written: byte 4 of 256 of x"):
        bench.run("halves", 1, 64, x, y, n, shared=256)


def test_a_kernel_that_never_ends_is_stopped_when_it_is_given_a_time():
    text = with_prelude("EXPRC_KERNEL void endless(int *y) { for (volatile int *p = y; *p == 0;) {} }")
    bench = Checking(text)
    y = bench.put(np.zeros(1, "int32"))
    prepared = bench.device.prepare(bench.module, [Launch("endless", (1, 1, 1), (1, 1, 1), 0, (y,))])
    with pytest.raises(KernelError, match="still at work"):
        prepared.run(milliseconds=100)
