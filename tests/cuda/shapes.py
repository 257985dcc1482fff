"""Kernels of the usual shapes, each with what it must give: what the emulator is tested on, and nvcc reads too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from exprc.render.base import kernel_source
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Launch

Array = np.ndarray[Any, Any]


def with_prelude(text: str) -> str:
    return kernel_source("cuda/prelude.cuh") + text


class Bench:
    """A device with memory and a text, or a loaded module. suffix : of the names of its kernels. milliseconds : that a launch may take."""

    def __init__(self, text: Any, suffix: str = "", milliseconds: int = 0):
        self.device = open_device("cuda-emulator")
        self.module = self.device.load(text) if isinstance(text, str) else text
        self.held: list[Any] = []
        self.suffix, self.milliseconds = suffix, milliseconds

    def put(self, array: Array) -> int:
        memory = self.device.allocate(array.nbytes)
        self.held.append(memory)
        self.device.write(memory.address, np.ascontiguousarray(array))
        return memory.address

    def new(self, nbytes: int) -> int:
        self.held.append(self.device.allocate(nbytes))
        return self.held[-1].address

    def get(self, address: int, shape: Any, dtype: str = "float32") -> Array:
        array = np.empty(shape, dtype)
        self.device.read(address, array)
        return array

    def run(self, kernel: str, grid: Any, block: Any, *arguments: int, shared: int = 0) -> None:
        launch = Launch(kernel + self.suffix, _triple(grid), _triple(block), shared, arguments)
        self.device.prepare(self.module, [launch]).run(self.milliseconds)


def _triple(n: Any) -> tuple[int, int, int]:
    return (*n, 1, 1)[:3] if isinstance(n, tuple) else (n, 1, 1)


@dataclass(frozen=True)
class Shape:
    """A kernel text, and a function that runs it on a bench and returns what it gave beside what it should."""

    text: str
    check: Callable[[Bench, np.random.Generator], tuple[Array, Array]]
    tolerance: float = 1e-5


def _floats(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape).astype("float32")


def _elementwise(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x = _floats(rng, 1000)
    a, y = bench.put(x), bench.new(x.nbytes)
    bench.run("elementwise", 3, 128, a, y, x.size)
    return bench.get(y, x.shape), np.exp(-(x * x))


def _float4(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x = _floats(rng, 999)
    a, y = bench.put(x), bench.new(x.nbytes)
    bench.run("relu4", 4, 64, a, y, x.size)
    return bench.get(y, x.shape), np.maximum(x, 0)


def _block_sum(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x = _floats(rng, 7, 777)
    a, y = bench.put(x), bench.new(4 * 7)
    bench.run("block_sum", 7, 256, a, y, 777, shared=4 * 256)
    return bench.get(y, 7), x.sum(1)


def _row_softmax(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x = _floats(rng, 10, 45)
    a, y = bench.put(x), bench.new(x.nbytes)
    bench.run("row_softmax", 3, (32, 4), a, y, 10, 45)
    e = np.exp(x - x.max(1, keepdims=True))
    return bench.get(y, x.shape), e / e.sum(1, keepdims=True)


def _gemm(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    m, n, k = 37, 29, 45
    x, w = _floats(rng, m, k), _floats(rng, k, n)
    a, b, y = bench.put(x), bench.put(w), bench.new(4 * m * n)
    bench.run("tiled", (2, 3), (16, 16), a, b, y, m, n, k, shared=2 * 4 * 16 * 16)
    return bench.get(y, (m, n)), x @ w


def _count(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x = rng.integers(0, 13, 2000).astype("int32")
    a, y = bench.put(x), bench.put(np.zeros(13, "int32"))
    bench.run("count", 5, 96, a, y, x.size)
    return bench.get(y, 13, "int32"), np.bincount(x, minlength=13).astype("int32")


def _transpose(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x = _floats(rng, 50, 70)
    a, y = bench.put(x), bench.new(x.nbytes)
    bench.run("transpose", (3, 2), (32, 8), a, y, 50, 70)
    return bench.get(y, (70, 50)), x.T


def _compact(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x = rng.integers(-9, 9, 64).astype("int32")
    a, y = bench.put(x), bench.put(np.zeros(64, "int32"))
    bench.run("compact", 2, 32, a, y)
    kept = [part[part > 0] for part in x.reshape(2, 32)]
    return bench.get(y, (2, 32), "int32"), np.array([np.pad(part, (0, 32 - part.size)) for part in kept])


def _tf32(x: Array) -> Array:
    """To 10 bits of fraction, the nearest, halves away from zero."""
    return ((x.view("uint32") + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view("float32")


def _bf16(x: Array) -> Array:
    """The upper 16 bits of a float, cut off."""
    return (x.view("uint32") & np.uint32(0xFFFF0000)).view("float32")


def _mma_tf32(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    m, n, k = 48, 24, 40
    x, w = _floats(rng, m, k), _floats(rng, k, n)
    a, b, y = bench.put(x), bench.put(w), bench.new(4 * m * n)
    bench.run("product_tf32", (n // 8, m // 16), 32, a, b, y, n, k)
    return bench.get(y, (m, n)), _tf32(x) @ _tf32(w)


def _mma_bf16(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    m, n, k = 32, 16, 48
    x, w = _floats(rng, m, k), _floats(rng, k, n)
    pairs = [np.ascontiguousarray(v.view("uint32") >> 16).astype("uint16") for v in (x, w.T.copy())]
    a, b, y = bench.put(pairs[0]), bench.put(pairs[1]), bench.new(4 * m * n)
    bench.run("product_bf16", (n // 8, m // 16), 32, a, b, y, n, k)
    return bench.get(y, (m, n)), _bf16(x) @ _bf16(w)


def _pipelined(bench: Bench, rng: np.random.Generator) -> tuple[Array, Array]:
    x, given, expected = _floats(rng, 6, 515), [], []
    for n in (515, 512):
        a, y = bench.put(x[:, :n]), bench.new(4 * 6)
        bench.run("pipelined_sum", 6, 64, a, y, n, shared=2 * 4 * 64)
        given.append(bench.get(y, 6))
        expected.append(x[:, :n].sum(1))
    return np.array(given), np.array(expected)


SHAPES = {
    "elementwise": Shape(
        """
EXPRC_KERNEL void elementwise(const float *__restrict__ x, float *__restrict__ y, int64_t n) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        y[i] = expf(-x[i] * x[i]);
}""",
        _elementwise,
    ),
    "float4": Shape(
        """
EXPRC_KERNEL void relu4(const float *__restrict__ x, float *__restrict__ y, int64_t n) {
    const int64_t i = 4 * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < n) {
        float4 v = *(const float4 *)(x + i);
        v.x = v.x > 0 ? v.x : 0; v.y = v.y > 0 ? v.y : 0; v.z = v.z > 0 ? v.z : 0; v.w = v.w > 0 ? v.w : 0;
        *(float4 *)(y + i) = v;
    } else {
        for (int64_t j = i; j < n; j++) y[j] = x[j] > 0 ? x[j] : 0;
    }
}""",
        _float4,
        0,
    ),
    "block_sum": Shape(
        """
EXPRC_KERNEL void EXPRC_BOUNDS(256) block_sum(const float *__restrict__ x, float *__restrict__ y, int64_t n) {
    EXPRC_SHARED(base);
    float *s = (float *)base;
    float total = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) total += x[blockIdx.x * n + i];
    s[threadIdx.x] = total;
    __syncthreads();
    for (unsigned half_of = blockDim.x / 2; half_of; half_of /= 2) {
        if (threadIdx.x < half_of) s[threadIdx.x] += s[threadIdx.x + half_of];
        __syncthreads();
    }
    if (threadIdx.x == 0) y[blockIdx.x] = s[0];
}""",
        _block_sum,
        1e-4,
    ),
    "row_softmax": Shape(
        """
EXPRC_KERNEL void row_softmax(const float *__restrict__ x, float *__restrict__ y, int64_t rows, int64_t n) {
    const int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    float largest = -__int_as_float(0x7f800000), total = 0;
    for (int64_t i = threadIdx.x; i < n; i += 32) largest = fmaxf(largest, x[row * n + i]);
    for (int with = 16; with; with /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, with));
    for (int64_t i = threadIdx.x; i < n; i += 32) total += expf(x[row * n + i] - largest);
    for (int by = 16; by; by /= 2) total += __shfl_down_sync(0xffffffffu, total, by);
    total = __shfl_sync(0xffffffffu, total, 0);
    for (int64_t i = threadIdx.x; i < n; i += 32) y[row * n + i] = expf(x[row * n + i] - largest) / total;
}""",
        _row_softmax,
    ),
    "gemm": Shape(
        """
EXPRC_KERNEL void tiled(const float *__restrict__ a, const float *__restrict__ b, float *__restrict__ y, int64_t m, int64_t n, int64_t k) {
    EXPRC_SHARED(base);
    float *left = (float *)base, *right = left + 16 * 16;
    const int64_t i = (int64_t)blockIdx.y * 16 + threadIdx.y, j = (int64_t)blockIdx.x * 16 + threadIdx.x;
    const int at = threadIdx.y * 16 + threadIdx.x;
    float total = 0;
    for (int64_t first = 0; first < k; first += 16) {
        left[at] = i < m && first + threadIdx.x < k ? a[i * k + first + threadIdx.x] : 0;
        right[at] = first + threadIdx.y < k && j < n ? b[(first + threadIdx.y) * n + j] : 0;
        __syncthreads();
        for (int l = 0; l < 16; l++) total += left[threadIdx.y * 16 + l] * right[l * 16 + threadIdx.x];
        __syncthreads();
    }
    if (i < m && j < n) y[i * n + j] = total;
}""",
        _gemm,
        1e-4,
    ),
    "count": Shape(
        """
EXPRC_KERNEL void count(const int *__restrict__ x, int *__restrict__ y, int64_t n) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        atomicAdd(&y[x[i]], 1);
}""",
        _count,
        0,
    ),
    "transpose": Shape(
        """
EXPRC_KERNEL void transpose(const float *__restrict__ x, float *__restrict__ y, int64_t rows, int64_t columns) {
    __shared__ float tile[32][33];
    const int64_t i0 = (int64_t)blockIdx.y * 32, j0 = (int64_t)blockIdx.x * 32;
    for (int i = threadIdx.y; i < 32; i += blockDim.y)
        if (i0 + i < rows && j0 + threadIdx.x < columns) tile[i][threadIdx.x] = x[(i0 + i) * columns + j0 + threadIdx.x];
    __syncthreads();
    for (int j = threadIdx.y; j < 32; j += blockDim.y)
        if (j0 + j < columns && i0 + threadIdx.x < rows) y[(j0 + j) * rows + i0 + threadIdx.x] = tile[threadIdx.x][j];
}""",
        _transpose,
        0,
    ),
    "compact": Shape(
        """
EXPRC_KERNEL void compact(const int *__restrict__ x, int *__restrict__ y) {
    const int value = x[blockIdx.x * 32 + threadIdx.x];
    const unsigned kept = __ballot_sync(0xffffffffu, value > 0);
    if (value > 0) y[blockIdx.x * 32 + __popc(kept & ((1u << threadIdx.x) - 1))] = value;
}""",
        _compact,
        0,
    ),
    "mma_tf32": Shape(
        """
EXPRC_KERNEL void product_tf32(const float *__restrict__ a, const float *__restrict__ b, float *__restrict__ y, int64_t n, int64_t k) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const int64_t i = (int64_t)blockIdx.y * 16 + g, j = (int64_t)blockIdx.x * 8;
    float d[4] = {0, 0, 0, 0};
    for (int64_t l = t; l < k; l += 8) {
        const unsigned left[4] = {
            to_tf32(a[i * k + l]), to_tf32(a[(i + 8) * k + l]), to_tf32(a[i * k + l + 4]), to_tf32(a[(i + 8) * k + l + 4])};
        const unsigned right[2] = {to_tf32(b[l * n + j + g]), to_tf32(b[(l + 4) * n + j + g])};
        mma_tf32(d, left, right);
    }
    for (int e = 0; e < 4; e++) y[(i + e / 2 * 8) * n + j + 2 * t + e % 2] = d[e];
}""",
        _mma_tf32,
    ),
    "mma_bf16": Shape(
        """
EXPRC_KERNEL void product_bf16(const unsigned short *a, const unsigned short *b, float *__restrict__ y, int64_t n, int64_t k) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const int64_t i = (int64_t)blockIdx.y * 16 + g, j = (int64_t)blockIdx.x * 8;
    float d[4] = {0, 0, 0, 0};
    for (int64_t l = 2 * t; l < k; l += 16) {
        const unsigned left[4] = {
            *(const unsigned *)(a + i * k + l), *(const unsigned *)(a + (i + 8) * k + l),
            *(const unsigned *)(a + i * k + l + 8), *(const unsigned *)(a + (i + 8) * k + l + 8)};
        const unsigned right[2] = {*(const unsigned *)(b + (j + g) * k + l), *(const unsigned *)(b + (j + g) * k + l + 8)};
        mma_bf16(d, left, right);
    }
    for (int e = 0; e < 4; e++) y[(i + e / 2 * 8) * n + j + 2 * t + e % 2] = d[e];
}""",
        _mma_bf16,
    ),
    "pipelined": Shape(
        """
EXPRC_KERNEL void pipelined_sum(const float *__restrict__ x, float *__restrict__ y, int64_t n) {
    EXPRC_SHARED(base);
    float *s = (float *)base;
    const float *row = x + (int64_t)blockIdx.x * n;
    const int64_t step = blockDim.x;
    float total = 0;
    copy_async<4>(s + threadIdx.x, row + threadIdx.x);
    copy_commit();
    for (int64_t first = 0, at = 0; first < n; first += step, at ^= 1) {
        const int64_t next = first + step + threadIdx.x;
        if (first + step < n) copy_async<4>(s + (at ^ 1) * step + threadIdx.x, next < n ? row + next : row, next < n ? 4 : 0);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        total += s[at * step + (step - 1 - threadIdx.x)];
        __syncthreads();
    }
    s[threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0;
        for (int64_t i = 0; i < step; i++) sum += s[i];
        y[blockIdx.x] = sum;
    }
}""",
        _pipelined,
        1e-4,
    ),
}  # fmt: skip
