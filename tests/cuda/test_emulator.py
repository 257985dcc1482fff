"""The emulator runs kernels of the usual shapes as NumPy computes them, whatever the order of blocks and threads is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from exprc.config import config
from exprc.device import run_kernel
from exprc.errors import CompileError, KernelError
from exprc.runtime.devices import open_device
from tests.cuda.shapes import SHAPES, Bench, with_prelude

pytestmark = pytest.mark.emulator
ROOT = Path(__file__).parents[2]
ORDERS = ("forward", "reverse", "random")
ALL = with_prelude("".join(shape.text for shape in SHAPES.values()))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", ["plain", "check"])
@pytest.mark.parametrize("name", SHAPES)
def test_usual_shapes(name, mode, order):
    with config.override(emulator_order=order, emulator=mode):
        got, expected = SHAPES[name].check(Bench(ALL), np.random.default_rng(0))
    tolerance = SHAPES[name].tolerance
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_compiles_the_same_text(tmp_path):
    (tmp_path / "module.cu").write_text(ALL + USUAL)
    command = ["nvcc", "-std=c++20", "-cubin", "-arch=sm_90", "module.cu", "-o", "module.cubin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- what threads do together


COLLECTIVES = """
EXPRC_KERNEL void shuffles(const int *x, int *y) {
    const int t = threadIdx.x, v = x[t];
    y[t] = __shfl_up_sync(0xffffffffu, v, 3);
    y[32 + t] = __shfl_down_sync(0xffffffffu, v, 3, 8);
    y[64 + t] = __shfl_xor_sync(0xffffffffu, v, 5);
    y[96 + t] = __shfl_sync(0xffffffffu, v, 2, 16);
    y[128 + t] = __any_sync(0xffffffffu, v == 7) + 2 * __all_sync(0xffffffffu, v < 32) + 4 * __all_sync(0xffffffffu, v < 31);
    y[160 + t] = (int)__match_any_sync(0xffffffffu, v % 4);
    y[192 + t] = __reduce_add_sync(0xffffffffu, v);
}
EXPRC_KERNEL void parts(int *y) {
    const unsigned mask = threadIdx.x < 8 ? 0x000000ffu : 0xffffff00u;
    int v = threadIdx.x;
    if (threadIdx.x < 8) v = __shfl_xor_sync(mask, v, 1);
    else v = __shfl_sync(mask, v, 31);
    y[threadIdx.x] = v;
}
EXPRC_KERNEL void exits(int *y) {
    if (threadIdx.x >= 20) return;
    int v = threadIdx.x;
    for (int i = 0; i < 3; i++) { __syncwarp(); v += __shfl_xor_sync(0xffffffffu, v, 1); __syncthreads(); }
    y[threadIdx.x] = v;
}
EXPRC_KERNEL void votes(int *y) {
    const int t = threadIdx.x;
    y[t] = __syncthreads_count(t % 3 == 0);
    y[100 + t] = __syncthreads_or(t == 99);
    y[200 + t] = __syncthreads_and(t != 99);
}
EXPRC_KERNEL void parameters(int64_t *y, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g, int64_t h) {
    y[blockIdx.z * 6 + blockIdx.y * 3 + blockIdx.x] = a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f + 1000000 * g + 10000000 * h;
}
"""


@pytest.fixture
def bench():
    return Bench(with_prelude(COLLECTIVES))


@pytest.mark.parametrize("order", ORDERS)
def test_shuffles_and_votes(bench, order):
    x, lane = np.arange(32, dtype="int32"), np.arange(32)
    a, y = bench.put(x), bench.new(4 * 224)
    with config.override(emulator_order=order, emulator="check"):
        bench.run("shuffles", 1, 32, a, y)
    up, down, xor, part, votes, match, total = bench.get(y, (7, 32), "int32")
    np.testing.assert_array_equal(up, np.where(lane < 3, lane, lane - 3))
    np.testing.assert_array_equal(down, np.where(lane % 8 + 3 < 8, lane + 3, lane))
    np.testing.assert_array_equal(xor, lane ^ 5)
    np.testing.assert_array_equal(part, lane // 16 * 16 + 2)
    assert set(votes) == {1 + 2} and set(total) == {x.sum()}
    np.testing.assert_array_equal(match.view("uint32"), np.uint32(0x11111111) << (lane % 4).astype("uint32"))


@pytest.mark.parametrize("order", ORDERS)
def test_parts_of_a_warp_and_lanes_that_have_ended(bench, order):
    y = bench.new(4 * 32)
    with config.override(emulator_order=order, emulator="check"):
        bench.run("parts", 1, 32, y)
        np.testing.assert_array_equal(bench.get(y, 32, "int32"), [*(np.arange(8) ^ 1), *[31] * 24])
        bench.run("exits", 1, 96, y)
    np.testing.assert_array_equal(bench.get(y, 20, "int32")[::2], (np.arange(20)[::2] * 2 + 1) * 4)


def test_votes_of_a_block(bench):
    y = bench.new(4 * 300)
    bench.run("votes", 1, 100, y)
    assert [set(part) for part in bench.get(y, (3, 100), "int32")] == [{34}, {1}, {0}]


def test_many_arguments_and_a_grid_of_three_axes(bench):
    y = bench.new(8 * 12)
    bench.run("parameters", (3, 2, 2), 1, y, *range(1, 9))
    assert set(bench.get(y, 12, "int64")) == {87654321}


def test_a_kernel_with_hundreds_of_arguments():
    count = 300
    given = ", ".join(f"int64_t a{i}" for i in range(count))
    total = " + ".join(f"{i} * a{i}" for i in range(count))
    bench = Bench(with_prelude(f"EXPRC_KERNEL void many(int64_t *y, {given}) {{ y[0] = {total}; }}"))
    y = bench.new(8)
    bench.run("many", 1, 1, y, *range(count))
    assert bench.get(y, 1, "int64")[0] == sum(i * i for i in range(count))


def test_shared_memory_is_poisoned_for_every_block():
    text = """EXPRC_KERNEL void peek(float *y) {
    EXPRC_SHARED(base);
    float *s = (float *)base;
    y[blockIdx.x * blockDim.x + threadIdx.x] = s[threadIdx.x];
    s[threadIdx.x] = 1;
}"""
    bench = Bench(with_prelude(text))
    y = bench.new(4 * 64)
    bench.run("peek", 2, 32, y, shared=128)
    assert np.isnan(bench.get(y, 64)).all()


USUAL = """
__constant__ float table[4] = {1, 10, 100, 1000};
__device__ float pick(int i) { return table[i % 4]; }
extern "C" __global__ void __launch_bounds__(64) turned(const float *__restrict__ x, float *y, int n) {
    extern __shared__ float row[];
    __shared__ float more[64];
    const int t = threadIdx.x;
    row[t] = t < n ? x[t] : 0.0f;
    more[t] = pick(t);
    __syncthreads();
    if (t < n) y[t] = row[n - 1 - t] * more[t] + fmaxf(rsqrtf(4.0f), __expf(0.0f) - 1) + (float)__popc(7u) - max(1, 2);
}
"""


@pytest.mark.parametrize("mode", ["plain", "check"])
def test_the_usual_spelling_of_cuda(mode):
    x, y = np.arange(40, dtype="float32"), np.zeros(40, "float32")
    with config.override(emulator=mode):
        run_kernel(USUAL, "turned", 1, 64, x, y, x.size, shared=4 * 64)
    np.testing.assert_allclose(y, x[::-1] * np.tile([1, 10, 100, 1000], 10) + 0.5 + 1)


def test_arguments_that_no_kernel_takes():
    with pytest.raises(TypeError, match="argument 1 is a float; a kernel is given arrays and integers"):
        run_kernel(USUAL, "turned", 1, 64, np.zeros(3, "float32"), 0.5, 3)
    with pytest.raises(ValueError, match="argument 0 is not C-contiguous"):
        run_kernel(USUAL, "turned", 1, 64, np.zeros((3, 3), "float32").T, np.zeros(9, "float32"), 9)


# -- what goes wrong


def test_an_overrun_is_found_after_the_launch_and_does_no_harm():
    bench = Bench(with_prelude("EXPRC_KERNEL void over(float *y, int64_t n) { y[threadIdx.x] = 1; }"))
    y = bench.new(4 * 30)
    with pytest.raises(KernelError, match=r"over: .*wrote out of bounds: byte 120 of 120 of y \(argument 0\)") as caught:
        bench.run("over", 1, 32, y, 30)
    assert caught.value.kind == "overrun"
    bench.run("over", 1, 30, y, 30)
    assert bench.get(y, 30).all()


def test_a_warp_that_waits_for_ever_is_an_error():
    text = """EXPRC_KERNEL void stuck(int *y) {
    if (threadIdx.x != 5) __syncwarp();
    else __shfl_sync(0xffffffffu, 1, 0);
}
EXPRC_KERNEL void fine(int *y) { y[threadIdx.x] = threadIdx.x; }"""
    bench = Bench(with_prelude(text))
    y = bench.new(4 * 32)
    with pytest.raises(KernelError, match="waits for lanes of its warp that never come") as caught:
        bench.run("stuck", 1, 32, y)
    assert caught.value.kind == "stuck-warp" and caught.value.line == with_prelude(text).splitlines().index(text.splitlines()[1]) + 1
    bench.run("fine", 1, 32, y)
    assert bench.get(y, 32, "int32")[5] == 5


def test_a_lane_outside_its_own_mask_is_an_error():
    bench = Bench(with_prelude("EXPRC_KERNEL void lanes(int *y) { __syncwarp(0xffu); }"))
    with pytest.raises(KernelError, match="is lane 8 of its warp, which the mask 0x000000ff that it gives lacks"):
        bench.run("lanes", 1, 32, bench.new(4))


@pytest.mark.parametrize(
    ("grid", "block", "shared", "arguments", "said"),
    [
        (0, 32, 0, 2, "a grid of"), (1, 2048, 0, 2, "a block of"), (1, (32, 64), 0, 2, "2048 threads"),
        (1, 1, 300000, 2, "shared memory"), (1, 1, 0, 3, "launched with 3 arguments\n  it takes 2: y, n"),
    ],
)  # fmt: skip
def test_launches_that_no_gpu_would_take(grid, block, shared, arguments, said):
    bench = Bench(with_prelude("EXPRC_KERNEL void some(int *y, int64_t n) {}"))
    with pytest.raises(ValueError, match=said):
        bench.run("some", grid, block, *range(arguments), shared=shared)


def test_a_kernel_that_the_module_lacks():
    bench = Bench(with_prelude("EXPRC_KERNEL void some(int *y) {}"))
    with pytest.raises(ValueError, match="the module has no kernel 'other'"):
        bench.run("other", 1, 1, 0)


def test_a_text_that_does_not_compile_is_told_with_its_own_line():
    with pytest.raises(CompileError, match=r"module\.cu:2:"):
        open_device("cuda-emulator").load("// nothing\nEXPRC_KERNEL void wrong(float *y) { y[0] = ; }\n")


def test_copies_beyond_a_piece_of_memory_are_refused():
    device = open_device("cuda-emulator")
    memory = device.allocate(16)
    with pytest.raises(ValueError, match="a write of 32 bytes goes beyond"):
        device.write(memory.address, np.zeros(8, "float32"))
    with pytest.raises(ValueError, match="a read of 8 bytes goes beyond .*\n.*begins at byte 12 of a piece of 16"):
        device.read(memory.address + 12, np.zeros(2, "float32"))


# -- around it


def test_threads_of_python_launch_side_by_side():
    bench, results = Bench(ALL), []

    def work(seed: int) -> None:
        for name in ("block_sum", "row_softmax", "gemm"):
            got, expected = SHAPES[name].check(Bench(ALL), np.random.default_rng(seed))
            results.append(np.allclose(got, expected, atol=1e-4))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [True] * 18 and bench


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_launches_while_another_thread_was_at_it():
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            SHAPES["gemm"].check(Bench(ALL), np.random.default_rng(0))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(3):
            child = os.fork()
            if child == 0:
                got, expected = SHAPES["block_sum"].check(Bench(ALL), np.random.default_rng(1))
                os._exit(0 if np.allclose(got, expected, atol=1e-4) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        worker.join()


ELSEWHERE = """
import numpy as np
from exprc.config import config
from exprc.runtime import emulator
from tests.cuda.shapes import SHAPES, Bench, with_prelude

read = emulator.kernel_source
emulator.kernel_source = lambda name: "#define EMULATOR_UCONTEXT\\n" * name.endswith("emulator.h") + read(name)
for mode in ("plain", "check"):
    with config.override(emulator=mode):
        for name in ("block_sum", "row_softmax"):
            got, expected = SHAPES[name].check(Bench(with_prelude(SHAPES[name].text)), np.random.default_rng(0))
            assert np.allclose(got, expected, atol=1e-4)
print("switched")
"""


def test_processors_without_a_switch_of_our_own_use_the_c_librarys():
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "switched\n", done.stderr


def test_the_second_load_comes_from_the_cache():
    device = open_device("cuda-emulator")
    text = with_prelude("EXPRC_KERNEL void cached_one(int *y) { y[0] = 3; }")
    first, second = device.load(text), device.load(text)
    assert not first.cached and second.cached and second.compile_seconds == 0


def test_memory_is_given_back():
    device = open_device("cuda-emulator")
    memory = device.allocate(64)
    address = memory.address
    del memory
    with pytest.raises(ValueError, match="goes beyond"):
        device.write(address, np.zeros(16, "float32"))
