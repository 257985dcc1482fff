"""What this machine can do at the moment: floating-point operations from registers, and bytes from memory.

Measured before and after the programs, in the C that exprc's own compiler settings give: the share of the peak is then
a share of what was possible in that hour, and two numbers that differ say that the machine was not quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import cffi
import numpy as np

from exprc.runtime import compiler, cpu

#: Chains of dependent FMAs: more than latency times ports of today's CPUs, fewer than the registers of AVX2.
CHAINS = 12

SOURCE = """
#include <stdint.h>
#define EXPORT __attribute__((visibility("default")))
typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define START(k) vec a##k = x * (1.0f + k);
#define NEXT(k) a##k = a##k * x + y;
#define TOTAL(k) total += a##k;

/* Twelve chains of a = a * x + y on each thread; they tend to y / (1 - x) and never leave the normal numbers. */
EXPORT float multiply_add(int64_t rounds, int threads, float x0, float y0)
{
    float sum = 0;
    (void)threads;
    #ifdef _OPENMP
    #pragma omp parallel for num_threads(threads) reduction(+:sum)
    #endif
    for (int t = 0; t < threads; t++) {
        vec x = (vec){0} + x0, y = (vec){0} + y0, total = {0};
        EACH(START)
        for (int64_t r = 0; r < rounds; r++) {
            EACH(NEXT)
        }
        EACH(TOTAL)
        sum += total[0];
    }
    return sum;
}

/* c = a + s b, a block of the arrays to each thread. */
EXPORT void triad(float *restrict c, const float *restrict a, const float *restrict b, float s, int64_t n, int threads)
{
    (void)threads;
    #ifdef _OPENMP
    #pragma omp parallel for simd num_threads(threads) schedule(static)
    #else
    #pragma omp simd
    #endif
    for (int64_t i = 0; i < n; i++)
        c[i] = a[i] + s * b[i];
}
"""

DECLARATIONS = """
    float multiply_add(int64_t rounds, int threads, float x0, float y0);
    void triad(float *c, const float *a, const float *b, float s, int64_t n, int threads);
"""


class Machine:
    """The calibration program, compiled once.

    Parameters
    ----------
    threads : how many threads it uses.
    """

    def __init__(self, threads: int):
        self.target = cpu.host_target()
        self.threads = threads if self.target.openmp else 1
        text = f"#define VECTOR_BYTES {self.target.vector_bytes}\n{SOURCE}"
        self.ffi = cffi.FFI()
        self.ffi.cdef(DECLARATIONS)
        self.library: Any = self.ffi.dlopen(str(compiler.compile_shared([text], self.target)))

    def measure(self, seconds: float = 0.3, megabytes: int = 64, times: int = 5) -> dict[str, float]:
        """Return GFLOP/s of FMAs and GB/s of a triad over three arrays of `megabytes` each; medians of `times`."""
        return {"gflops": self._gflops(seconds, times) / 1e9, "gbytes": self._bandwidth(megabytes, times) / 1e9}

    def _gflops(self, seconds: float, times: int) -> float:
        run = lambda rounds: self.library.multiply_add(rounds, self.threads, 0.999, 0.001)  # noqa: E731
        rounds = 10_000
        while (taken := self.clocked(run, rounds)) < seconds / 4:
            rounds *= 2
        rounds = max(1, int(rounds * seconds / taken))
        flops = 2 * CHAINS * (self.target.vector_bytes // 4) * rounds * self.threads
        return flops / median(self.clocked(run, rounds) for _ in range(times))

    def _bandwidth(self, megabytes: int, times: int) -> float:
        n = megabytes * 2**20 // 4
        a, b, c = (np.full(n, value, np.float32) for value in (1, 2, 3))
        pointers = [self.ffi.from_buffer("float[]", array) for array in (c, a, b)]
        run = lambda s: self.library.triad(*pointers, s, n, self.threads)  # noqa: E731
        run(1.0)
        return 3 * a.nbytes / median(self.clocked(run, 0.5) for _ in range(times))

    def clocked(self, run: Callable[[Any], Any], argument: Any) -> float:
        """Return the seconds of one call: of the processor if it has one thread, as in `benchmarks.turns`."""
        clock = time.process_time if self.threads == 1 else time.perf_counter
        begin = clock()
        run(argument)
        return clock() - begin
