/* cumulative.cuh: running values along the middle axis
 *
 *     MODE 0 (sum)         y[o, k, i] = y[o, k-1, i] + x[o, k, i]
 *     MODE 1 (product)     y[o, k, i] = y[o, k-1, i] * x[o, k, i]
 *     MODE 2 (recurrence)  y[o, k, i] = a[o, k, i] * y[o, k-1, i] + x[o, k, i]
 *
 * with y[o, -1, i] the neutral element (-0, 1, none: y[o, 0, i] is x[o, 0, i]), in order of k: every element is rounded as in a plain
 * loop, so that sums and products have the bits of the CPU.
 *
 *                      column (o, i) ->
 *        k   0..DEPTH |x x x x| |x x x x| .     a block owns COLUMNS columns. All its threads bring DEPTH x COLUMNS elements to
 *            ..2 DEPTH|x x x x| |x x x x|       shared memory, one thread a column goes down them there, all bring them back:
 *                      block 0   block 1        neighbouring threads read neighbours in memory, along i, or along k where I == 1.
 *
 * A single long column takes one addition after the other, some ns each: the price of equal bits.
 *
 * Sizes   O, N, I;  MODE, COLUMNS and DEPTH are constants
 * Hooks   LOAD_x(o,k,i)           value
 *         LOAD_a(o,k,i)           value; MODE 2 only
 *         STORE_y(o,k,i,value)    statement; run once per element
 * Launch  any number of blocks of 256 threads (COLUMNS at least); DEPTH * (COLUMNS | 1) elements of shared memory, in MODE 2 twice that
 */
#ifndef KERNEL
#define KERNEL cumulative
#define PARAMS const T *__restrict__ x, const T *__restrict__ a, T *__restrict__ y, long long O, long long N, long long I
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
#ifndef COLUMNS
#define COLUMNS 32
#define DEPTH 64
#endif

#define CUMULATIVE_STRIDE (COLUMNS | 1)   /* odd: banks of shared memory */
/* Where element e of the block's share lies: the column and the step in k. */
#define CUMULATIVE_AT(e)                                                                                  \
    const int column = (I) == 1 ? (e) / (DEPTH) : (e) % (COLUMNS), at = (I) == 1 ? (e) % (DEPTH) : (e) / (COLUMNS); \
    const long long o = (first + column) / (I), i = (first + column) % (I), k = first_k + at;             \
    const bool inside = first + column < columns && k < (N);                                              \
    const int place = at * CUMULATIVE_STRIDE + column

EXPRC_KERNEL void EXPRC_BOUNDS(256) KERNEL(PARAMS) {
    EXPRC_SHARED(shared_bytes);
    T *const x_tile = (T *)shared_bytes, *const a_tile = x_tile + (DEPTH) * CUMULATIVE_STRIDE;
    const long long columns = (long long)(O) * (I);
    const int thread = threadIdx.x, threads = EXPRC_THREADS;
    (void)a_tile;

    for (long long first = (long long)EXPRC_BLOCK * (COLUMNS); first < columns; first += (long long)EXPRC_BLOCKS * (COLUMNS)) {
        T value = (T)((MODE) == 1 ? 1.0 : -0.0);
        for (long long first_k = 0; first_k < (N); first_k += (DEPTH)) {
            for (int e = thread; e < (DEPTH) * (COLUMNS); e += threads) {
                CUMULATIVE_AT(e);
                if (!inside) continue;
                x_tile[place] = LOAD_x(o, k, i);
                if ((MODE) == 2) a_tile[place] = LOAD_a(o, k, i);
            }
            __syncthreads();
            const int depth = (int)((N) - first_k < (DEPTH) ? (N) - first_k : (DEPTH));
            if (thread < (COLUMNS) && first + thread < columns)
                for (int at = 0; at < depth; at++) {
                    const int place = at * CUMULATIVE_STRIDE + thread;
                    const T x_k = x_tile[place];
                    if ((MODE) == 0) value = (T)(value + x_k);
                    else if ((MODE) == 1) value = (T)(value * x_k);
                    else value = first_k + at == 0 ? x_k : (T)(a_tile[place] * value + x_k);
                    x_tile[place] = value;
                }
            __syncthreads();
            for (int e = thread; e < (DEPTH) * (COLUMNS); e += threads) {
                CUMULATIVE_AT(e);
                if (inside) { STORE_y(o, k, i, x_tile[place]); }   /* a thread loads next where it stores now: no barrier */
            }
        }
    }
}

#undef CUMULATIVE_STRIDE
#undef CUMULATIVE_AT
#undef LOAD_a
