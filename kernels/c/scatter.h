/* scatter.h: an array with rows added to (or set in) it at given places
 *
 *     y[row, r] = x[row, r], then
 *     MODE 0 (add)   y[index[m], r] += v[m, r]     for m = 0, 1, ... M - 1 in order: duplicates add up
 *     MODE 1 (set)   y[index[m], r]  = v[m, r]     of duplicates the last one stays
 *
 * The hook LOAD_index has brought every index into 0 <= index < ROWS; a block skips those of other blocks.
 *
 *        m, index   0: 2   1: 0   2: 2          y   r ->  | block 0 | block 1 | .   every block goes through all m
 *                                               0   ......|  v[1]   |  v[1]   |     for its own columns r (its own
 *                                               1   ......|         |         |     rows, where a row is short):
 *                                               2   ......|v[0]+v[2]|v[0]+v[2]|     one owner per element of y
 *
 * Sizes   M, ROWS, R;  MODE is a constant
 * Hooks   LOAD_x(row,r)          value
 *         LOAD_index(m)          int64_t
 *         LOAD_v(m,r)            value
 *         PTR_y(row,r)           address of an element of the result, next to that of r + 1
 */
#ifndef KERNEL
#define KERNEL scatter
#define PARAMS const T *restrict x, const int64_t *restrict index, const T *restrict v, T *restrict y, int64_t M, int64_t ROWS, int64_t R
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

#define SCATTER_PASTE_(kernel, name) kernel##_##name
#define SCATTER_PASTE(kernel, name) SCATTER_PASTE_(kernel, name)
#define SCATTER_NAME(name) SCATTER_PASTE(KERNEL, name)
#define SCATTER_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define SCATTER_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
/* Columns are cut in pieces of 64, up to 16; short rows are cut by rows instead, in parts that each read all indices. */
#define SCATTER_ACROSS SCATTER_MIN(16, SCATTER_CUT(R, 64))
#define SCATTER_DOWN SCATTER_MIN(SCATTER_CUT(16, SCATTER_ACROSS + !SCATTER_ACROSS), SCATTER_CUT(ROWS, 64))

__attribute__((unused)) static int64_t SCATTER_NAME(blocks)(PARAMS) {
    return SCATTER_ACROSS * (SCATTER_DOWN);
}

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    const int64_t across = SCATTER_ACROSS, down = SCATTER_DOWN;
    for (int64_t block = begin; block < end; block++) {
        const int64_t column = block % across, part = block / across;
        const int64_t r0 = (R) * column / across, r1 = (R) * (column + 1) / across;
        const int64_t row0 = (ROWS) * part / down, row1 = (ROWS) * (part + 1) / down;
        for (int64_t row = row0; row < row1; row++) {
            _Pragma("omp simd")
            for (int64_t r = r0; r < r1; r++) *PTR_y(row, r) = LOAD_x(row, r);
        }
        for (int64_t m = 0; m < (M); m++) {
            const int64_t row = LOAD_index(m);
            if (row < row0 || row >= row1) continue;
            _Pragma("omp simd")
            for (int64_t r = r0; r < r1; r++) {
                *PTR_y(row, r) = (T)(MODE ? LOAD_v(m, r) : *PTR_y(row, r) + LOAD_v(m, r));
            }
        }
    }
}

#undef SCATTER_PASTE_
#undef SCATTER_PASTE
#undef SCATTER_NAME
#undef SCATTER_MIN
#undef SCATTER_CUT
#undef SCATTER_ACROSS
#undef SCATTER_DOWN
