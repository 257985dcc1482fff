/* conv2d_plain.h: two-dimensional convolution in the plain layout, for batches too small to fill the lanes
 *
 *     y[n,o,p,q] = sum over c, u, v of x[n, g*C + c, h, w] * w[o,c,u,v]
 *     h = (p*SH + u*DH - PH) / UP_H,   w = (q*SW + v*DW - PW) / UP_W,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * where x is 0 if h or w are not whole or outside the image; summed over c, u, v in order, in one accumulator per element.
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, UP_H, UP_W, GROUPS
 * Hooks   LOAD_x(n,c,h,w)         value
 *         LOAD_w(o,c,u,v)         value; c counts inside the group
 *         STORE_y(n,o,p,q,value)  statement; run once per element, lane by lane along q
 *
 * Tiling: the matrix product of the filters, (O, C*KH*KW), with the windows of the image, (C*KH*KW, P*Q), of which two
 * vectors of neighbouring elements of y are gathered at a time.
 *
 *                          windows: DEPTH x 2 vectors       One block is one such panel of one image by up to TILES
 *                          +----+----+                      tiles of filters, each of up to ROWS rows of accumulators
 *            c,u,v       k |    |    |                      in registers; they wait in `sums` between two pieces of
 *        +-----------+     +----+----+                      DEPTH elements (c, u, v).
 *      o | w         |     |tile|tile|
 *        +-----------+     +----+----+
 */
#ifndef KERNEL
#define KERNEL conv2d_plain
#define PARAMS const T *restrict x, const T *restrict w, T *restrict y, int64_t N, int64_t CIN, int64_t H, int64_t W, int64_t O, int64_t P, int64_t Q
#define KH 3
#define KW 3
#define PH 1
#define PW 1
#define LOAD_x(n, c, h, w_) x[(((n) * CIN + (c)) * H + (h)) * W + (w_)]
#define LOAD_w(o, c, u, v) w[(((o) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v)]
#define STORE_y(n, o, p, q, value) y[(((n) * O + (o)) * P + (p)) * Q + (q)] = (value)
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
#ifndef SH
#define SH 1
#endif
#ifndef SW
#define SW 1
#endif
#ifndef PH
#define PH 0
#endif
#ifndef PW
#define PW 0
#endif
#ifndef DH
#define DH 1
#endif
#ifndef DW
#define DW 1
#endif
#ifndef UP_H
#define UP_H 1
#endif
#ifndef UP_W
#define UP_W 1
#endif
#ifndef GROUPS
#define GROUPS 1
#endif

#define CONV_PASTE_(kernel, name) kernel##_##name
#define CONV_PASTE(kernel, name) CONV_PASTE_(kernel, name)
#define CONV_NAME(name) CONV_PASTE(KERNEL, name)
#define CONV_UNROLL _Pragma("GCC unroll 32")
#define CONV_ROLLED _Pragma("GCC unroll 1")
#define CONV_VEC CONV_NAME(vec)
#define CONV_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define CONV_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define CONV_MAX(x, y) ((int64_t)(x) > (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define CONV_ROWS (REGISTERS >= 32 ? 14 : 6)
#define CONV_WIDTH (2 * LANES)
#define CONV_DEPTH ((int64_t)(65536 / (CONV_WIDTH * sizeof(T))))   /* a panel has 64 KiB */
#define CONV_TILES 16
#define CONV_BLOCKS 2                                             /* so many at least, if there are filters enough */

#if LANES == 1
typedef T CONV_VEC;
#else
typedef T CONV_VEC __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
#endif

/* The constants of one instance: tiles of filters, panels, and in how many blocks the tiles of a panel are cut. */
#define CONV_SIZES                                                                                        \
    const int64_t group_o = (O) / (GROUPS), tiles = CONV_CUT(group_o, CONV_ROWS);                         \
    const int64_t panels = CONV_CUT((P) * (Q), CONV_WIDTH), apart = CONV_MAX(1, (N) * (GROUPS) * panels); \
    const int64_t cuts = CONV_MAX(CONV_CUT(tiles, CONV_TILES), CONV_MIN(tiles, CONV_CUT(CONV_BLOCKS, apart)))

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    CONV_SIZES;
    return (N) * (GROUPS) * panels * cuts;
}

/* sum[R filters from o on][2 vectors] += w[R filters][(c, u, v) from k0 on] * panel[depth][2 vectors] */
#define CONV_TILE(R, o, sum) do {                                                                         \
    CONV_VEC acc[CONV_ROWS][2];                                                                           \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int i = 0; i < 2; i++)                                                           \
            acc[r][i] = k0 == 0 ? (CONV_VEC){0} : *(CONV_VEC *)((sum) + r * CONV_WIDTH + i * LANES);      \
    int64_t c = k0 / ((KH) * (KW)), u = k0 / (KW) % (KH), v = k0 % (KW);                                  \
    CONV_ROLLED for (int64_t k = 0; k < depth; k++) {                                                     \
        CONV_VEC x_k[2];                                                                                  \
        CONV_UNROLL for (int i = 0; i < 2; i++) x_k[i] = *(const CONV_VEC *)(panel + k * CONV_WIDTH + i * LANES); \
        CONV_UNROLL for (int64_t r = 0; r < (R); r++) {                                                   \
            const T w_r = LOAD_w((o) + r, c, u, v);                                                       \
            CONV_UNROLL for (int i = 0; i < 2; i++) acc[r][i] += x_k[i] * w_r;                            \
        }                                                                                                 \
        if (++v == (KW)) { v = 0; if (++u == (KH)) { u = 0; c++; } }                                      \
    }                                                                                                     \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int i = 0; i < 2; i++) *(CONV_VEC *)((sum) + r * CONV_WIDTH + i * LANES) = acc[r][i]; \
} while (0)

/* A statement for i = from ... to - 1: whole runs of a constant length, which become vectors, and what is left. */
#define CONV_RUN (LANES >= 8 ? LANES / 2 : LANES)
#define CONV_RUNS(i, from, to, statement) do {                                                            \
    int64_t at = (from);                                                                                  \
    for (; at + CONV_RUN <= (to); at += CONV_RUN) {                                                       \
        _Pragma("omp simd")                                                                               \
        for (int64_t m = 0; m < CONV_RUN; m++) { const int64_t i = at + m; statement; }                   \
    }                                                                                                     \
    CONV_ROLLED for (int64_t i = at; i < (to); i++) { statement; }                                        \
} while (0)
/* The elements of a row of the image that (c, u, v) meets from column q0 on go to a row of the panel; those outside stay 0. */
#define CONV_GATHER(count) do {                                                                           \
    const int64_t t_w = q0 * (SW) + v * (DW) - (PW);                                                      \
    if ((UP_W) == 1) {                                                                                    \
        const int64_t i0 = t_w < 0 ? CONV_CUT(-t_w, SW) : 0;                                              \
        const int64_t i1 = t_w < (W) ? CONV_MIN(count, CONV_CUT((W) - t_w, SW)) : 0;                      \
        CONV_RUNS(i, i0, i1, to[i] = LOAD_x(n, g * ((CIN) / (GROUPS)) + c, t_h / (UP_H), t_w + i * (SW))); \
    } else                                                                                                \
        for (int64_t i = 0; i < (count); i++) {                                                           \
            const int64_t t_i = t_w + i * (SW);                                                           \
            if (t_i < 0 || t_i % (UP_W) || t_i / (UP_W) >= (W)) continue;                                 \
            to[i] = LOAD_x(n, g * ((CIN) / (GROUPS)) + c, t_h / (UP_H), t_i / (UP_W));                    \
        }                                                                                                 \
} while (0)
/* The same of `count` elements from column q0 + i on for all v, where all are inside. */
#define CONV_COLUMNS(count) do {                                                                          \
    CONV_ROLLED for (int64_t v = v0; v < v1; v++)                                                         \
        _Pragma("omp simd")                                                                               \
        for (int64_t m = 0; m < (count); m++)                                                             \
            to[(v - v0) * CONV_WIDTH + i + m] = LOAD_x(n, g * ((CIN) / (GROUPS)) + c, t_h / (UP_H),       \
                                                       (q0 + i + m) * (SW) + v * (DW) - (PW));            \
} while (0)

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    CONV_SIZES;
    T panel[CONV_DEPTH * CONV_WIDTH] __attribute__((aligned(64)));
    T sums[CONV_TILES * CONV_ROWS * CONV_WIDTH] __attribute__((aligned(64)));
    const int fixed = __builtin_constant_p(O);
    const int64_t height = fixed ? CONV_CUT(group_o, tiles + !tiles) : CONV_ROWS;
    const int64_t full = fixed ? group_o - tiles * (height - 1) : tiles;   /* tiles of that height; the others have one less */
    const int64_t all = (CIN) / (GROUPS) * (KH) * (KW);
    const int clipped = !((PW) <= 0 && ((Q) - 1) * (SW) + ((KW) - 1) * (DW) - (PW) < (W));   /* whether some column is outside */
    (void)clipped;

    for (int64_t block = begin; block < end; block++) {
        const int64_t cut = block % cuts, j0 = block / cuts % panels * CONV_WIDTH;
        const int64_t g = block / (cuts * panels) % (GROUPS), n = block / (cuts * panels * (GROUPS));
        const int64_t first = tiles * cut / cuts, last = tiles * (cut + 1) / cuts;
        const int64_t j1 = CONV_MIN((P) * (Q), j0 + CONV_WIDTH);   /* the elements of y, row by row */

        for (int64_t k0 = 0; k0 == 0 || k0 < all; k0 += CONV_DEPTH) {
            const int64_t depth = CONV_MIN(CONV_DEPTH, all - k0);
            CONV_ROLLED for (int64_t k = 0; k < 2 * depth; k++) *(CONV_VEC *)(panel + k * LANES) = (CONV_VEC){0};
            for (int64_t cu = k0 / (KW); cu * (KW) < k0 + depth; cu++) {   /* those v of it that are in this piece */
                const int64_t c = cu / (KH), u = cu % (KH), v0 = CONV_MAX(0, k0 - cu * (KW)), v1 = CONV_MIN(KW, k0 + depth - cu * (KW));
                for (int64_t j = j0, next; j < j1; j = next) {             /* those of one row of y */
                    const int64_t p = j / (Q), q0 = j % (Q), t_h = p * (SH) + u * (DH) - (PH);
                    next = CONV_MIN(j1, (p + 1) * (Q));
                    if (t_h < 0 || t_h % (UP_H) || t_h / (UP_H) >= (H)) continue;
                    T *to = panel + (cu * (KW) + v0 - k0) * CONV_WIDTH + j - j0;
                    if (clipped || (UP_W) > 1)
                        CONV_ROLLED for (int64_t v = v0; v < v1; v++, to += CONV_WIDTH) CONV_GATHER(next - j);
                    else {   /* run by run, the v inside: each run's place is worked out once */
                        int64_t i = 0;
                        for (; i + CONV_RUN <= next - j; i += CONV_RUN) CONV_COLUMNS(CONV_RUN);
                        for (; i < next - j; i++) CONV_COLUMNS(1);
                    }
                }
            }
            for (int64_t t = first; t < last; t++) {
                const int64_t o = g * group_o + (t < full ? t * height : full + t * (height - 1));
                const int64_t rows = CONV_MIN((g + 1) * group_o - o, height - (t >= full));
                T *const sum = sums + (t - first) * CONV_ROWS * CONV_WIDTH;
                if (fixed && t < full) CONV_TILE(height, o, sum);
                else if (fixed) CONV_TILE(height - 1, o, sum);
                else if (rows == CONV_ROWS) CONV_TILE(CONV_ROWS, o, sum);
                else for (int64_t row = 0; row < rows; row++) CONV_TILE(1, o + row, sum + row * CONV_WIDTH);
                if (k0 + depth < all) continue;
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t j = j0, next; j < j1; j = next) {
                        const int64_t p = j / (Q), q0 = j % (Q);
                        const T *from = sum + i * CONV_WIDTH + j - j0;
                        next = CONV_MIN(j1, (p + 1) * (Q));
                        CONV_RUNS(l, 0, next - j, STORE_y(n, o + i, p, q0 + l, from[l]));
                    }
            }
        }
    }
}

#undef CONV_PASTE_
#undef CONV_PASTE
#undef CONV_NAME
#undef CONV_UNROLL
#undef CONV_ROLLED
#undef CONV_VEC
#undef CONV_CUT
#undef CONV_MIN
#undef CONV_MAX
#undef CONV_ROWS
#undef CONV_WIDTH
#undef CONV_DEPTH
#undef CONV_TILES
#undef CONV_BLOCKS
#undef CONV_SIZES
#undef CONV_TILE
#undef CONV_RUN
#undef CONV_RUNS
#undef CONV_GATHER
#undef CONV_COLUMNS
