/* gemm.h: matrix product
 *
 *     y[g,i,j] = sum over k of a[g,i,k] * b[g,k,j]        g < BATCH, i < M, j < N, k < K
 *
 * The sum runs over k in rising order in one accumulator per element (N == 1: in LANES of them), whatever
 * the sizes and the threads are. K == 0 stores zeros.
 *
 * Sizes   M, N, K, BATCH          each an integer constant or an int64_t named in PARAMS
 * Hooks   LOAD_a(g,i,k)           value; broadcast along j, so any strides will do
 *         LOAD_b(g,k,j)           value; read lane by lane along j while a panel is packed
 *         STORE_y(g,i,j,x)        statement; run once per element, lane by lane along j
 *         PTR_b(g,k,j)            address of b[g,k,j]; needed where one of the next two is 1
 * Flags   B_ROWS_CONTIGUOUS       1: b is contiguous along j, and every step in k is as long as the first
 *         B_COLS_CONTIGUOUS       1: b is contiguous along k (a transposed matrix)
 *         A_COLS_CONTIGUOUS       1: a is contiguous along i (a transposed matrix)
 *
 * Tiling: a tile is ROWS x (2 vectors) of accumulators in registers; b is packed in panels as wide as a tile.
 *
 *                     panel: K x 2 vectors            One block: up to TILES tiles below each other, by one
 *                     +----+----+----+- -             panel (small), or by PANELS panels (large: K is cut in
 *                   k |    |    |    |                pieces of DEPTH so that the panels stay in L2, tiles of
 *            k        |    |    |    |                a are copied where their rows meet in the sets of L1,
 *        +--------+   +----+----+----+- -             and accumulators wait in `partial` between two pieces).
 *      i | a tile |   |tile|tile|tile|                The heights of the tiles differ by one row at most where
 *        +--------+   +----+----+----+- -             M is a constant: 64 rows are 13 + 13 + 13 + 13 + 12.
 */
#ifndef KERNEL
#define KERNEL gemm
#define PARAMS const T *restrict a, const T *restrict b, T *restrict y, int64_t M, int64_t N, int64_t K
#define BATCH 1
#define LOAD_a(g, i, k) a[((g) * M + (i)) * K + (k)]
#define LOAD_b(g, k, j) b[((g) * K + (k)) * N + (j)]
#define PTR_b(g, k, j) (b + ((g) * K + (k)) * N + (j))
#define STORE_y(g, i, j, x) y[((g) * M + (i)) * N + (j)] = (x)
#define B_ROWS_CONTIGUOUS 1
#endif
#ifndef T
#define T float
#endif
#ifndef LANES
#define LANES 16
#endif
#ifndef REGISTERS
#define REGISTERS 32
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef B_ROWS_CONTIGUOUS
#define B_ROWS_CONTIGUOUS 0
#endif
#ifndef B_COLS_CONTIGUOUS
#define B_COLS_CONTIGUOUS 0
#endif
#ifndef A_COLS_CONTIGUOUS
#define A_COLS_CONTIGUOUS 0
#endif
#ifndef PTR_b
#define PTR_b(g, k, j) ((const T *)0)
#endif

#define GEMM_PASTE_(kernel, name) kernel##_##name
#define GEMM_PASTE(kernel, name) GEMM_PASTE_(kernel, name)
#define GEMM_NAME(name) GEMM_PASTE(KERNEL, name)
#define GEMM_UNROLL _Pragma("GCC unroll 32")
/* One vector's worth of a statement. Longer plain copies become calls of memcpy, which cost more than they save. */
#define GEMM_LANES(statement) do { _Pragma("omp simd") for (int64_t l = 0; l < LANES; l++) { statement; } } while (0)
#define GEMM_VEC GEMM_NAME(vec)

#define GEMM_ROWS (REGISTERS >= 32 ? 14 : 6)
#define GEMM_WIDTH (2 * LANES)
#define GEMM_DEPTH 192                                                    /* large: piece of K */
#define GEMM_TILES 16                                                     /* large: tiles of one block */
#define GEMM_PANELS ((int64_t)(512 / (GEMM_WIDTH * sizeof(T))))           /* large: 512 bytes of every row of b */
#define GEMM_PACK ((int64_t)(262144 / sizeof(T)))                         /* room for packed panels: 256 KiB */
#define GEMM_COPIES (!A_COLS_CONTIGUOUS && K * (int64_t)sizeof(T) % 4096 == 0)   /* large: the rows of a, K apart mostly, meet in the sets of L1 */
#define GEMM_COPY_STRIDE (GEMM_DEPTH + 64 / (int64_t)sizeof(T))           /* no power of two: sets of the cache */

/* large: the panel does not fit, or is long and one of many, or a does not stay in L2 while it is read once per panel */
#define GEMM_LARGE (K > GEMM_PACK / GEMM_WIDTH || (K > GEMM_PACK / GEMM_WIDTH / 2 && GEMM_AFAR) || (int64_t)M * K * (int64_t)sizeof(T) > 2097152)
#define GEMM_AFAR (K * (int64_t)N * (int64_t)sizeof(T) > 4194304)         /* b is so large that its rows come from afar */
/* thin: so few rows that b is read once, WIDE panels at a time, so that it comes in longer runs; a last panel that is not full is packed */
#define GEMM_THIN (B_ROWS_CONTIGUOUS && __builtin_constant_p(M) && REGISTERS >= 32 && M <= 2 && M > 0 && N >= GEMM_WIDE * GEMM_WIDTH && \
                   (N % GEMM_WIDTH == 0 || K <= GEMM_PACK / (GEMM_WIDE * GEMM_WIDTH)))
#define GEMM_WIDE 4
#define GEMM_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define GEMM_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))

#if LANES == 1
typedef T GEMM_VEC;
#else
typedef T GEMM_VEC __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
#endif

/* How the product is cut; from sizes alone. */
typedef struct {
    int64_t tiles, panels;                  /* of the whole product */
    int64_t block_tiles, block_panels;      /* of one block */
    int64_t down, across;                   /* blocks of one matrix */
} GEMM_NAME(cut);

static inline __attribute__((always_inline)) GEMM_NAME(cut) GEMM_NAME(cut_of)(int64_t m, int64_t n, int64_t batch, int large, int thin) {
    GEMM_NAME(cut) c;
    c.tiles = GEMM_CUT(m, GEMM_ROWS);
    c.panels = GEMM_CUT(n, GEMM_WIDTH);
    c.block_panels = large && batch * c.tiles * GEMM_CUT(c.panels, GEMM_PANELS) >= 16 ? GEMM_PANELS : 1;
    if (thin) c.block_panels = GEMM_WIDE;
    c.across = GEMM_CUT(c.panels, c.block_panels);
    int64_t spare = batch * c.tiles * c.across / 16;   /* tiles a block may have if 16 blocks shall remain */
    if (c.tiles <= GEMM_TILES && batch * c.across >= 8) spare = c.tiles;   /* few rows: a panel is packed once */
    c.block_tiles = !large || spare < 1 ? 1 : GEMM_MIN(spare, GEMM_TILES);
    c.down = GEMM_CUT(c.tiles, c.block_tiles);
    return c;
}

__attribute__((unused)) static int64_t GEMM_NAME(blocks)(PARAMS) {
    GEMM_NAME(cut) cut = GEMM_NAME(cut_of)(M, N, BATCH, GEMM_LARGE && !(GEMM_THIN), GEMM_THIN);
    return BATCH * cut.down * cut.across;
}

/* The blocks below each other read one packed panel: a thread that takes some of them should take all. */
__attribute__((unused)) static int64_t GEMM_NAME(together)(PARAMS) {
    return GEMM_NAME(cut_of)(M, N, BATCH, GEMM_LARGE && !(GEMM_THIN), GEMM_THIN).down;
}

#if B_COLS_CONTIGUOUS && LANES > 1
/* The lower or upper halves of x and y, element by element in turn. */
#if LANES == 16
#define GEMM_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define GEMM_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define GEMM_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define GEMM_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define GEMM_LOW 0, 4, 1, 5
#define GEMM_HIGH 2, 6, 3, 7
#else
#define GEMM_LOW 0, 2
#define GEMM_HIGH 1, 3
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define GEMM_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
typedef __typeof__((GEMM_VEC){0} < (GEMM_VEC){0}) GEMM_NAME(lanes);
#define GEMM_SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (GEMM_NAME(lanes)){__VA_ARGS__})
#endif

/* panel[k][l] = b[l][k] for LANES x LANES elements: log2(LANES) rounds of perfect shuffles. */
static inline __attribute__((always_inline)) void GEMM_NAME(transpose)(T *panel, const T *const b[LANES], int64_t k) {
    GEMM_VEC x[LANES], z[LANES];
    GEMM_UNROLL for (int l = 0; l < LANES; l++) x[l] = *(const GEMM_VEC *)(b[l] + k);
    GEMM_UNROLL for (int round = 1; round < LANES; round *= 2) {
        GEMM_UNROLL for (int l = 0; l < LANES / 2; l++) {
            z[2 * l] = GEMM_SHUFFLE(x[l], x[l + LANES / 2], GEMM_LOW);
            z[2 * l + 1] = GEMM_SHUFFLE(x[l], x[l + LANES / 2], GEMM_HIGH);
        }
        GEMM_UNROLL for (int l = 0; l < LANES; l++) x[l] = z[l];
    }
    GEMM_UNROLL for (int l = 0; l < LANES; l++) *(GEMM_VEC *)(panel + l * GEMM_WIDTH) = x[l];
}
#endif

/* partial[R rows][V vectors] += a[R rows][depth] * panel[depth][V vectors] */
#define GEMM_TILE(R, V, A, row) do {                                                                     \
    GEMM_VEC acc[GEMM_ROWS][V];                                                                          \
    GEMM_UNROLL for (int64_t r = 0; r < (R); r++)                                                        \
        GEMM_UNROLL for (int v = 0; v < V; v++)                                                          \
            acc[r][v] = k0 == 0 ? (GEMM_VEC){0} : *(GEMM_VEC *)(tile + ((row) + r) * GEMM_WIDTH + v * LANES); \
    _Pragma("GCC unroll 1") for (int64_t k = 0; k < depth; k++) {                                        \
        GEMM_VEC b_k[V];                                                                                 \
        GEMM_UNROLL for (int v = 0; v < V; v++) b_k[v] = *(const GEMM_VEC *)(panel + k * stride + v * LANES); \
        GEMM_UNROLL for (int64_t r = 0; r < (R); r++) {                                                  \
            T a_rk = A((row) + r, k);                                                                    \
            GEMM_UNROLL for (int v = 0; v < V; v++) acc[r][v] += b_k[v] * a_rk;                          \
        }                                                                                                \
    }                                                                                                    \
    GEMM_UNROLL for (int64_t r = 0; r < (R); r++)                                                        \
        GEMM_UNROLL for (int v = 0; v < V; v++)                                                          \
            *(GEMM_VEC *)(tile + ((row) + r) * GEMM_WIDTH + v * LANES) = acc[r][v];                      \
} while (0)
#define GEMM_DIRECT(r, k) LOAD_a(g, i + (r), k0 + (k))
#define GEMM_COPIED(r, k) copy[(r) * GEMM_COPY_STRIDE + (k)]

/* The rows of one tile: one of two heights, which are constants if M is; else pieces of three heights. */
#define GEMM_TILE_ROWS(V, A) do {                                                                        \
    if (!fixed) {                                                                                        \
        int64_t row = 0;                                                                                 \
        for (; row + GEMM_ROWS <= rows; row += GEMM_ROWS) GEMM_TILE(GEMM_ROWS, V, A, row);               \
        for (; row + 4 <= rows; row += 4) GEMM_TILE(4, V, A, row);                                       \
        for (; row < rows; row++) GEMM_TILE(1, V, A, row);                                               \
    } else if (t < full) GEMM_TILE(height, V, A, 0);                                                     \
    else GEMM_TILE(height - 1, V, A, 0);                                                                 \
} while (0)

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    T packed[GEMM_PACK] __attribute__((aligned(64)));
    T partial[GEMM_TILES * GEMM_PANELS * GEMM_ROWS * GEMM_WIDTH] __attribute__((aligned(64)));
    T copy[GEMM_ROWS * GEMM_COPY_STRIDE] __attribute__((aligned(64)));
    const int thin = GEMM_THIN, large = GEMM_LARGE && !thin, fixed = __builtin_constant_p(M);
    const GEMM_NAME(cut) cut = GEMM_NAME(cut_of)(M, N, BATCH, large, thin);
    const int64_t height = fixed ? GEMM_CUT(M, cut.tiles + !cut.tiles) : GEMM_ROWS;
    const int64_t full = fixed ? M - cut.tiles * (height - 1) : cut.tiles;   /* tiles of that height; the others have one row less */
    const int64_t depth_of_piece = large ? GEMM_DEPTH : K + !K;
    /* reading b where it lies costs less than packing it for few rows */
    const int direct = B_ROWS_CONTIGUOUS && M <= 10 * GEMM_ROWS && !(large && GEMM_AFAR);
    int64_t packed_of = -1, packed_k = -1;   /* what lies in `packed` */
    (void)copy;

    for (int64_t block = begin; block < end; block++) {
        const int64_t g = block / (cut.down * cut.across), column = block / cut.down;
        const int64_t first_panel = column % cut.across * cut.block_panels;
        const int64_t last_panel = GEMM_MIN(cut.panels, first_panel + cut.block_panels);
        const int64_t first_tile = block % cut.down * cut.block_tiles;
        const int64_t last_tile = GEMM_MIN(cut.tiles, first_tile + cut.block_tiles);

        if (N == 1) {   /* a row of a times the only column: vectorised along k */
            for (int64_t t = first_tile; t < last_tile; t++) {
                const int64_t i0 = t < full ? t * height : full + t * (height - 1);
                const int64_t i1 = GEMM_MIN(M, i0 + height - (t >= full));
                for (int64_t i = i0; i < i1; i++) {
                    T sum = 0;
                    _Pragma("omp simd reduction(+:sum)")
                    for (int64_t k = 0; k < K; k++) sum += LOAD_a(g, i, k) * LOAD_b(g, k, 0);
                    STORE_y(g, i, 0, sum);
                }
            }
            continue;
        }

        if (thin && (first_panel + GEMM_WIDE) * GEMM_WIDTH <= N) {
            const int64_t j = first_panel * GEMM_WIDTH;
            GEMM_VEC acc[2][2 * GEMM_WIDE];
            GEMM_UNROLL for (int64_t r = 0; r < M; r++)
                GEMM_UNROLL for (int v = 0; v < 2 * GEMM_WIDE; v++) acc[r][v] = (GEMM_VEC){0};
            _Pragma("GCC unroll 1") for (int64_t k = 0; k < K; k++) {
                const T *b_k = PTR_b(g, k, j);
                GEMM_UNROLL for (int64_t r = 0; r < M; r++) {
                    const T a_rk = LOAD_a(g, r, k);
                    GEMM_UNROLL for (int v = 0; v < 2 * GEMM_WIDE; v++) acc[r][v] += *(const GEMM_VEC *)(b_k + v * LANES) * a_rk;
                }
            }
            GEMM_UNROLL for (int64_t r = 0; r < M; r++)
                GEMM_UNROLL for (int v = 0; v < 2 * GEMM_WIDE; v++) *(GEMM_VEC *)(partial + (r * 2 * GEMM_WIDE + v) * LANES) = acc[r][v];
            for (int64_t r = 0; r < M; r++)
                for (int v = 0; v < 2 * GEMM_WIDE; v++) {
                    const T *from = partial + (r * 2 * GEMM_WIDE + v) * LANES;
                    GEMM_LANES(STORE_y(g, r, j + v * LANES + l, from[l]));
                }
            continue;
        }

        for (int64_t k0 = 0; k0 == 0 || k0 < K; k0 += depth_of_piece) {
            const int64_t depth = GEMM_MIN(depth_of_piece, K - k0);
            const int last_piece = k0 + depth >= K;

            if (packed_of != column || packed_k != k0) {
                packed_of = column;
                packed_k = k0;
#if B_COLS_CONTIGUOUS && LANES > 1
                const int64_t shuffled = depth / LANES * LANES;   /* so many k of the full panels come through the transpose */
                for (int64_t p = first_panel; p < last_panel && (p + 1) * GEMM_WIDTH <= N; p++)
                    for (int half = 0; half < 2; half++) {
                        T *to = packed + (p - first_panel) * depth * GEMM_WIDTH + half * LANES;
                        const T *columns[LANES];
                        for (int l = 0; l < LANES; l++) columns[l] = PTR_b(g, k0, p * GEMM_WIDTH + half * LANES + l);
                        for (int64_t k = 0; k < shuffled; k += LANES) GEMM_NAME(transpose)(to + k * GEMM_WIDTH, columns, k);
                    }
#else
                const int64_t shuffled = 0;
#endif
                /* k outside, so that a row of b is read in one run of 512 bytes */
                for (int64_t k = 0; k < depth; k++)
                    for (int64_t p = first_panel; p < last_panel; p++) {
                        const int64_t j = p * GEMM_WIDTH, width = GEMM_MIN(GEMM_WIDTH, N - j);
                        T *to = packed + ((p - first_panel) * depth + k) * GEMM_WIDTH;
                        if (width == GEMM_WIDTH) {
                            if (direct || k < shuffled) continue;
#if B_ROWS_CONTIGUOUS
                            const int64_t ahead = GEMM_MIN(k0 + k + 8, K - 1);
                            __builtin_prefetch(PTR_b(g, ahead, j));
                            __builtin_prefetch(PTR_b(g, ahead, j + LANES));
#endif
                            GEMM_LANES(to[l] = LOAD_b(g, k0 + k, j + l));
                            GEMM_LANES(to[LANES + l] = LOAD_b(g, k0 + k, j + LANES + l));
                        } else {
                            for (int64_t l = width; l < GEMM_WIDTH; l++) to[l] = 0;
                            _Pragma("omp simd")
                            for (int64_t l = 0; l < width; l++) to[l] = LOAD_b(g, k0 + k, j + l);
                        }
                    }
            }

            for (int64_t t = first_tile; t < last_tile; t++) {
                const int64_t i = t < full ? t * height : full + t * (height - 1);
                const int64_t rows = GEMM_MIN(M - i, height - (t >= full));
                if (large && GEMM_COPIES)
                    for (int64_t r = 0; r < rows; r++) {
                        T *to = copy + r * GEMM_COPY_STRIDE;
                        int64_t k = 0;
                        for (; k + LANES <= depth; k += LANES) GEMM_LANES(to[k + l] = LOAD_a(g, i + r, k0 + k + l));
                        for (; k < depth; k++) to[k] = LOAD_a(g, i + r, k0 + k);
                    }
                for (int64_t p = first_panel; p < last_panel; p++) {
                    const int64_t j = p * GEMM_WIDTH, width = GEMM_MIN(GEMM_WIDTH, N - j);
                    const int wide = N > LANES && (N % GEMM_WIDTH == 0 || N % GEMM_WIDTH > LANES || j + GEMM_WIDTH <= N);
                    const int here = direct && width == GEMM_WIDTH;
                    const T *panel = here ? PTR_b(g, k0, j) : packed + (p - first_panel) * depth * GEMM_WIDTH;
                    const int64_t stride = here && depth > 1 ? PTR_b(g, k0 + 1, j) - panel : GEMM_WIDTH;
                    T *tile = partial;
                    if (large)
                        tile += ((t - first_tile) * GEMM_PANELS + (p - first_panel)) * GEMM_ROWS * GEMM_WIDTH;
                    if (large && GEMM_COPIES) {
                        if (wide) GEMM_TILE_ROWS(2, GEMM_COPIED);
                        else GEMM_TILE_ROWS(1, GEMM_COPIED);
                    } else {
                        if (wide) GEMM_TILE_ROWS(2, GEMM_DIRECT);
                        else GEMM_TILE_ROWS(1, GEMM_DIRECT);
                    }
                    if (!last_piece) continue;
                    for (int64_t r = 0; r < rows; r++) {
                        const T *from = tile + r * GEMM_WIDTH;
                        if (width == GEMM_WIDTH) {
                            GEMM_LANES(STORE_y(g, i + r, j + l, from[l]));
                            GEMM_LANES(STORE_y(g, i + r, j + LANES + l, from[LANES + l]));
                        } else {
                            _Pragma("omp simd")
                            for (int64_t l = 0; l < width; l++) { STORE_y(g, i + r, j + l, from[l]); }
                        }
                    }
                }
            }
        }
    }
}

#undef GEMM_PASTE_
#undef GEMM_PASTE
#undef GEMM_NAME
#undef GEMM_UNROLL
#undef GEMM_LANES
#undef GEMM_VEC
#undef GEMM_ROWS
#undef GEMM_WIDTH
#undef GEMM_DEPTH
#undef GEMM_TILES
#undef GEMM_PANELS
#undef GEMM_PACK
#undef GEMM_COPIES
#undef GEMM_COPY_STRIDE
#undef GEMM_LARGE
#undef GEMM_AFAR
#undef GEMM_THIN
#undef GEMM_WIDE
#undef GEMM_CUT
#undef GEMM_MIN
#undef GEMM_LOW
#undef GEMM_HIGH
#undef GEMM_SHUFFLE
#undef GEMM_TILE
#undef GEMM_DIRECT
#undef GEMM_COPIED
#undef GEMM_TILE_ROWS
