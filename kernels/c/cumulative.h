/* cumulative.h: running values along the middle axis
 *
 *     MODE 0 (sum)         y[o, k, i] = y[o, k-1, i] + x[o, k, i]
 *     MODE 1 (product)     y[o, k, i] = y[o, k-1, i] * x[o, k, i]
 *     MODE 2 (recurrence)  y[o, k, i] = a[o, k, i] * y[o, k-1, i] + x[o, k, i]
 *
 * with y[o, -1, i] the neutral element (-0, 1, none: y[o, 0, i] is x[o, 0, i]), in order of k: every element is rounded as in a plain loop.
 *
 *        o, i ->   | block 0 | block 1 | .      a block owns up to 64 columns i of one o; it goes down its k with
 *        k   0     |    x    |         |        all running values side by side, so that the columns run in lanes
 *            1     |   x+x   |         |
 *            2     |  x+x+x  |         |
 *
 * Sizes   O, N, I;  MODE is a constant
 * Hooks   LOAD_x(o,k,i)           value
 *         LOAD_a(o,k,i)           value; MODE 2 only
 *         STORE_y(o,k,i,value)    statement; run once per element
 */
#ifndef KERNEL
#define KERNEL cumulative
#define PARAMS const T *restrict x, const T *restrict a, T *restrict y, int64_t O, int64_t N, int64_t I
#define LOAD_x(o, k, i) x[((o) * N + (k)) * I + (i)]
#define LOAD_a(o, k, i) a[((o) * N + (k)) * I + (i)]
#define STORE_y(o, k, i, value) y[((o) * N + (k)) * I + (i)] = (value)
#endif
#ifndef T
#define T float
#endif
#ifndef MODE
#define MODE 0
#endif
#ifndef LOAD_a
#define LOAD_a(o, k, i) 1
#endif

#define CUMULATIVE_PASTE_(kernel, name) kernel##_##name
#define CUMULATIVE_PASTE(kernel, name) CUMULATIVE_PASTE_(kernel, name)
#define CUMULATIVE_NAME(name) CUMULATIVE_PASTE(KERNEL, name)
#define CUMULATIVE_ROOM 64
#define CUMULATIVE_ACROSS (((int64_t)(I) + CUMULATIVE_ROOM - 1) / CUMULATIVE_ROOM)

__attribute__((unused)) static int64_t CUMULATIVE_NAME(blocks)(PARAMS) {
    return (int64_t)(O) * CUMULATIVE_ACROSS;
}

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    T value[CUMULATIVE_ROOM] __attribute__((aligned(64)));
    const int64_t across = CUMULATIVE_ACROSS;

    for (int64_t block = begin; block < end; block++) {
        const int64_t o = block / across, i0 = block % across * CUMULATIVE_ROOM;
        const int64_t left = (int64_t)(I) - i0, count = left < CUMULATIVE_ROOM ? left : CUMULATIVE_ROOM;
        for (int64_t c = 0; c < count; c++) value[c] = (T)(MODE == 1 ? 1.0 : -0.0);
        for (int64_t k = 0; k < (N); k++) {
            _Pragma("omp simd")
            for (int64_t c = 0; c < count; c++) {
                const T x_k = LOAD_x(o, k, i0 + c);
                if (MODE == 0) value[c] = (T)(value[c] + x_k);
                else if (MODE == 1) value[c] = (T)(value[c] * x_k);
                else value[c] = k == 0 ? x_k : (T)(LOAD_a(o, k, i0 + c) * value[c] + x_k);
            }
            for (int64_t c = 0; c < count; c++) {
                STORE_y(o, k, i0 + c, value[c]);
            }
        }
    }
}

#undef CUMULATIVE_PASTE_
#undef CUMULATIVE_PASTE
#undef CUMULATIVE_NAME
#undef CUMULATIVE_ROOM
#undef CUMULATIVE_ACROSS
