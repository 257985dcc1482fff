/* winograd_tile.h: what the texts of Winograd's convolution share, pasted before each of them
 *
 * Tiles of TILE x TILE results see K x K pixels, K = TILE + SIZE - 1, of which filters of SIZE x SIZE make them. All tiles of all image blocks stand in one line, row by row: tile t
 * is at row (t / columns) % lines of block t / (lines * columns).
 *
 *     WINO_LINE             constants: lines, columns, tiles
 *     WINO_PIXELS(t, c, to, plane, again)   V[k] = (B^T d B)[k] of channel c of tile t at to + k * plane, in vectors; `again`: the tile
 *                           before, which is its left neighbour mostly, was fetched too
 *
 *        x  +--------+  d           V = B^T d B
 *           | K x K  |   -->        K*K vectors of LANES images
 *           | pixels |              0 beyond the image: row h0 = WINO_ROW(t) - PH and on, column w0 = WINO_COLUMN(t) - PW and on
 *           +--------+
 *
 * Sizes   NB, H, W, P, Q, PH, PW, DH, DW, CIN, TILE and SIZE (4 and 3, 2 and 3, 2 and 5)
 * Hooks   PTR_x(b,c,h,w)    address of LANES values; LANES apart along w
 */
#ifndef KERNEL
#define KERNEL winograd
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
#ifndef TILE
#define TILE 4
#endif
#ifndef SIZE
#define SIZE 3
#endif
#ifndef PH
#define PH 1
#endif
#ifndef PW
#define PW 1
#endif
#ifndef DH
#define DH 1
#endif
#ifndef DW
#define DW 1
#endif

#define WINO_PASTE_(kernel, name) kernel##_##name
#define WINO_PASTE(kernel, name) WINO_PASTE_(kernel, name)
#define WINO_NAME(name) WINO_PASTE(KERNEL, name)
#define WINO_UNROLL _Pragma("GCC unroll 32")
#define WINO_ROLLED _Pragma("GCC unroll 1")
#define WINO_INLINE static inline __attribute__((always_inline))
#define WINO_VEC WINO_NAME(vec)
#define WINO_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define WINO_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))

#if LANES == 1
typedef T WINO_VEC;
#else
typedef T WINO_VEC __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
#endif

/* V, M and S of a block: a megabyte of each thread that is not on its stack, for stacks may be small. Steps take turns with it. */
#ifndef WINO_BYTES
#define WINO_BYTES (5 << 18)
static _Thread_local char winograd_room[WINO_BYTES] __attribute__((aligned(64)));
#endif

#define WINO_SIDE (TILE + SIZE - 1)
#define WINO_PLANES (WINO_SIDE * WINO_SIDE)
#define WINO_AHEAD 2   /* channels from the one whose pixels are fetched to the one that is transformed */

#define WINO_LINE                                                                                         \
    const int64_t lines = WINO_LINES(P, DH), columns = WINO_LINES(Q, DW), tiles = (NB) * lines * columns; \
    (void)columns; (void)tiles
#define WINO_LINES(n, apart) ((apart) * WINO_CUT(WINO_CUT(n, apart), TILE))
#define WINO_ROW(t) WINO_AT((t) / columns % lines, lines, DH)
#define WINO_COLUMN(t) WINO_AT((t) % columns, columns, DW)
#define WINO_AT(line, lines, apart) ((apart) == 1 ? (line) * TILE : (line) / ((lines) / (apart)) + (line) % ((lines) / (apart)) * TILE * (apart))

/* to = B^T from: of one line of K vectors, `step` and `apart` from one another */
WINO_INLINE void WINO_NAME(image)(const WINO_VEC *from, int64_t step, WINO_VEC *to, int64_t apart) {
    const WINO_VEC d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step];
#if TILE + SIZE == 7   /* K = 6 */
    const WINO_VEC d4 = from[4 * step], d5 = from[5 * step];
    const WINO_VEC even = d4 - d2 * 4, odd = d3 - d1 * 4, ends = d4 - d2, middle = (d3 - d1) * 2;
    to[0] = d0 * 4 - d2 * 5 + d4;
    to[apart] = even + odd;
    to[2 * apart] = even - odd;
    to[3 * apart] = ends + middle;
    to[4 * apart] = ends - middle;
    to[5 * apart] = d1 * 4 - d3 * 5 + d5;
#else
    to[0] = d0 - d2;
    to[apart] = d1 + d2;
    to[2 * apart] = d2 - d1;
    to[3 * apart] = d1 - d3;
#endif
}

/* V[k] of one tile and channel, `plane` vectors from one k to the next; the K x K pixels begin at row h0, column w0, columns `apart`. */
WINO_INLINE void WINO_NAME(forth)(const T *const *rows, int64_t w0, int64_t apart, int64_t width, int inside, WINO_VEC *v, int64_t plane) {
    WINO_VEC half[WINO_PLANES];
    WINO_ROLLED for (int64_t j = 0; j < WINO_SIDE; j++) {
        WINO_VEC d[WINO_SIDE];
        const int there = inside || (w0 + j * apart >= 0 && w0 + j * apart < width);
        WINO_UNROLL for (int64_t i = 0; i < WINO_SIDE; i++)
            d[i] = there && (inside || rows[i]) ? *(const WINO_VEC *)(rows[i] + (w0 + j * apart) * LANES) : (WINO_VEC){0};
        WINO_NAME(image)(d, 1, half + j, WINO_SIDE);
    }
    WINO_ROLLED for (int64_t i = 0; i < WINO_SIDE; i++)
        WINO_NAME(image)(half + i * WINO_SIDE, 1, v + i * WINO_SIDE * plane, plane);
}

#define WINO_PIXELS(t, c, to, plane, again) do {                                                          \
    const int64_t t_b = (t) / (lines * columns), h0 = WINO_ROW(t) - (PH), w0 = WINO_COLUMN(t) - (PW);      \
    const int inside = h0 >= 0 && h0 + (WINO_SIDE - 1) * (DH) < (H) && w0 >= 0 && w0 + (WINO_SIDE - 1) * (DW) < (W); \
    const T *rows[WINO_SIDE];                                                                             \
    for (int64_t i = 0; i < WINO_SIDE; i++) {                                                             \
        const int64_t h = h0 + i * (DH);                                                                  \
        rows[i] = h >= 0 && h < (H) ? PTR_x(t_b, c, h, 0) : 0;                                            \
        if (!rows[i] || (c) + WINO_AHEAD >= (CIN)) continue;                                              \
        const T *const later = PTR_x(t_b, (c) + WINO_AHEAD, h, w0);                                       \
        for (int64_t k = (again) ? WINO_SIDE - TILE : 0; k < WINO_SIDE; k++) __builtin_prefetch(later + k * (DW) * LANES); \
    }                                                                                                     \
    if (inside) WINO_NAME(forth)(rows, w0, DW, W, 1, to, plane);                                              \
    else WINO_NAME(forth)(rows, w0, DW, W, 0, to, plane);                                                     \
} while (0)
