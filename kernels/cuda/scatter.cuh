/* scatter.cuh: an array with rows added to (or set in) it at given places
 *
 *     y[row, r] = x[row, r], then
 *     MODE 0 (add)   y[index[m], r] += v[m, r]     for m = 0, 1, ... M - 1 in order: duplicates add up
 *     MODE 1 (set)   y[index[m], r]  = v[m, r]     of duplicates the last one stays
 *
 * The hook LOAD_index has brought every index into 0 <= index < ROWS. Every element has one owner, which takes its m in order, without
 * atomic additions: the bits are those of the CPU.
 *
 *        m, index   0: 2   1: 0   2: 2          y   r ->  | block 0 | block 1 | .   a block owns ROWS_EACH rows by WIDTH columns, a
 *                                               0   ......|  v[1]   |  v[1]   |     thread one column of every row that falls to
 *        list of block 0: rows 0 0, m 1         1   ......|         |         |     its group of WIDTH threads. The block reads all
 *        list of block 2: rows 2 2, m 0 2       2   ......| block 2 | block 3 |     indices, SCATTER_CHUNK at a time, and lists
 *                                                   ......|v[0]+v[2]|v[0]+v[2]|     those of its rows in order; groups go through it.
 *
 * Cost: every block reads all indices, so M * ROWS / ROWS_EACH * R / WIDTH reads; the longest run of equal indices is added one by one.
 *
 * Sizes   M, ROWS, R;  ROWS_EACH;  MODE and WIDTH (a power of two up to 256) are constants
 * Hooks   LOAD_x(row,r)          value
 *         LOAD_index(m)          long long
 *         LOAD_v(m,r)            value
 *         PTR_y(row,r)           address of an element of the result
 * Launch  any number of blocks of 256 threads; SCATTER_CHUNK * (8 + sizeof(T) where WIDTH is 1) + 64 bytes of shared memory
 */
#ifndef KERNEL
#define KERNEL scatter
#define PARAMS const T *__restrict__ x, const long long *__restrict__ index, const T *__restrict__ v, T *__restrict__ y, long long M, long long ROWS, long long R
#define LOAD_x(row, r) x[(row) * R + (r)]
#define LOAD_index(m) index[m]
#define LOAD_v(m, r) v[(m) * R + (r)]
#define PTR_y(row, r) (y + (row) * R + (r))
#endif
#ifndef T
#define T float
#endif
#ifndef MODE
#define MODE 0
#endif
#ifndef WIDTH
#define WIDTH 32
#endif
#ifndef ROWS_EACH
#define ROWS_EACH 64
#endif

#define SCATTER_THREADS 256
#define SCATTER_EACH 8                                   /* neighbouring indices that one thread looks at */
#define SCATTER_CHUNK (SCATTER_THREADS * SCATTER_EACH)
#define SCATTER_AHEAD 4                                  /* elements of v that are on their way at a time */
#define SCATTER_CUT(n, size) (((long long)(n) + (size) - 1) / (size))
#define SCATTER_MIN(x, y) ((long long)(x) < (long long)(y) ? (long long)(x) : (long long)(y))

EXPRC_KERNEL void EXPRC_BOUNDS(SCATTER_THREADS) KERNEL(PARAMS) {
    EXPRC_SHARED(shared_bytes);
    int *const totals = (int *)shared_bytes, *const list_row = totals + 16, *const list_m = list_row + SCATTER_CHUNK;
    T *const list_v = (T *)(list_m + SCATTER_CHUNK);
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int group = thread / (WIDTH), groups = SCATTER_THREADS / (WIDTH);
    const long long across = SCATTER_CUT(R, WIDTH), down = SCATTER_CUT(ROWS, ROWS_EACH);

    for (long long block = EXPRC_BLOCK; block < across * down; block += EXPRC_BLOCKS) {
        const long long r = block % across * (WIDTH) + thread % (WIDTH);
        const long long first_row = block / across * (ROWS_EACH), rows = SCATTER_MIN(ROWS_EACH, (ROWS) - first_row);
        const bool owner = r < (R);
        if (owner)
            for (long long row = group; row < rows; row += groups) *PTR_y(first_row + row, r) = LOAD_x(first_row + row, r);

        long long held_row = -1;   /* the row whose element is in `held`, not in memory */
        T held = 0;
        for (long long first_m = 0; first_m < (M); first_m += SCATTER_CHUNK) {
            int row_of[SCATTER_EACH], count = 0;
            EXPRC_UNROLL
            for (int s = 0; s < SCATTER_EACH; s++) {
                const long long m = first_m + thread * SCATTER_EACH + s;
                const long long row = m < (M) ? LOAD_index(m) - first_row : -1;
                row_of[s] = row >= 0 && row < rows ? (int)row : -1;
                count += row_of[s] >= 0;
            }
            int before = count;   /* entries of the threads up to this one, in its warp */
            EXPRC_UNROLL
            for (int step = 1; step < 32; step *= 2) {
                const int other = __shfl_up_sync(0xffffffffu, before, step);
                if (lane >= step) before += other;
            }
            if (lane == 31) totals[warp] = before;
            __syncthreads();
            int place = before - count, entries = 0;
            for (int w = 0; w < SCATTER_THREADS / 32; w++) {
                if (w < warp) place += totals[w];
                entries += totals[w];
            }
            EXPRC_UNROLL
            for (int s = 0; s < SCATTER_EACH; s++) {
                if (row_of[s] < 0) continue;
                list_row[place] = row_of[s];
                list_m[place] = thread * SCATTER_EACH + s;
                if ((WIDTH) == 1) list_v[place] = LOAD_v(first_m + thread * SCATTER_EACH + s, r);
                place++;
            }
            __syncthreads();

            for (int first = 0; first < entries; first += SCATTER_AHEAD) {
                T v_next[SCATTER_AHEAD];
                int row_next[SCATTER_AHEAD];
                EXPRC_UNROLL
                for (int s = 0; s < SCATTER_AHEAD; s++) {
                    const int e = first + s, row = e < entries ? list_row[e] : -1;
                    const bool mine = owner && row >= 0 && row % groups == group;
                    row_next[s] = mine ? row : -1;
                    v_next[s] = 0;
                    if (mine) v_next[s] = (WIDTH) == 1 ? list_v[e] : LOAD_v(first_m + list_m[e], r);
                }
                EXPRC_UNROLL
                for (int s = 0; s < SCATTER_AHEAD; s++) {
                    if (row_next[s] < 0) continue;
                    if (row_next[s] != held_row) {
                        if (held_row >= 0) *PTR_y(first_row + held_row, r) = held;
                        held_row = row_next[s];
                        held = *PTR_y(first_row + held_row, r);
                    }
                    held = (T)((MODE) ? v_next[s] : held + v_next[s]);
                }
            }   /* the list is written again only behind the next barrier */
        }
        if (held_row >= 0) *PTR_y(first_row + held_row, r) = held;
    }
}

#undef SCATTER_THREADS
#undef SCATTER_EACH
#undef SCATTER_CHUNK
#undef SCATTER_AHEAD
#undef SCATTER_CUT
#undef SCATTER_MIN
