/* conv2d_grad_weight.h: gradient of a convolution with respect to its weights, batch-innermost
 *
 *     dw[r,o,c,u,v] = sum over b of part r, p, q, l of x[b, g*C + c, h, w, l] * gy[b,o,p,q,l]
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (p, q) for which (h, w) lies inside the image. Part r holds the image blocks from NB*r/PARTS to
 * NB*(r+1)/PARTS; the caller adds the parts. The sum runs over b, p, q in order in LANES accumulators per element,
 * which are added in order at the end. The padding lanes of x and gy must be zero.
 *
 * Layout: x is [NB][CIN][H][W][LANES], gy is [NB][O][P][Q][LANES]: lane l of block b is image b * LANES + l.
 *
 * Sizes   NB, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, GROUPS, PARTS
 * Hooks   PTR_x(b,c,h,w), PTR_g(b,o,p,q)   address of LANES values; LANES apart along w and q, every step in c and o alike
 *         STORE_y(r,o,c,u,v,value)         statement; run once per element
 *
 * Or gy is what max-pooling sends back: zeros, and in each window of POOL_H x POOL_W, side by side from the first row and column on, one
 * of PP x PQ pooled gradients, at the place that its code names, u*POOL_W + v. A piece of it is then made in `staged`, never all.
 * Sizes   N images, POOL_H, POOL_W, PP, PQ;  STAGED, a constant: room for so many columns, Q or more
 * Hooks   LOAD_g(b,o,p,q,l), LOAD_code(b,o,p,q,l) instead of PTR_g
 *
 * Tiling: TALL output channels by WIDE weights of one kernel row u (neighbours in v, of several c where KW is small)
 * are summed in registers while columns q run.
 *
 *                        q ->                        for p, q:   acc[o][v] += gy[o, q] * x[q + v]
 *        gy[o]      +---+---+---+---+ .                          TALL + WIDE loads,
 *                   | q |   |   |                                TALL * WIDE fused multiply-adds
 *        x[c,h]     +---+---+---+---+---+---+ .
 *                   |v=0|v=1|v=2|   |   |
 *
 * One block is some tiles of output channels by several c, all u and v, of one part. A piece of the images (rows of one,
 * or several whole ones) stays in L2 while every tile of the block passes over it; its accumulators wait in `sums`
 * between two pieces.
 * Near the border, the weights that see no image through column q are skipped one by one.
 */
#ifndef KERNEL
#define KERNEL conv2d_grad_weight
#define PARAMS const T *restrict x, const T *restrict gy, T *restrict y, int64_t NB, int64_t CIN, int64_t H, int64_t W, int64_t O, int64_t P, int64_t Q
#define KH 3
#define KW 3
#define PH 1
#define PW 1
#define PTR_x(b, c, h, w) (x + ((((b) * CIN + (c)) * H + (h)) * W + (w)) * LANES)
#define PTR_g(b, o, p, q) (gy + ((((b) * O + (o)) * P + (p)) * Q + (q)) * LANES)
#define STORE_y(r, o, c, u, v, value) y[((((r) * O + (o)) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v)] = (value)
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
#ifndef GROUPS
#define GROUPS 1
#endif
#ifndef PARTS
#define PARTS 1
#endif

#define CONV_PASTE_(kernel, name) kernel##_##name
#define CONV_PASTE(kernel, name) CONV_PASTE_(kernel, name)
#define CONV_NAME(name) CONV_PASTE(KERNEL, name)
#define CONV_UNROLL _Pragma("GCC unroll 32")
#define CONV_ROLLED _Pragma("GCC unroll 1")
#define CONV_SIMD _Pragma("omp simd")
#define CONV_VEC CONV_NAME(vec)
/* The compiler shall not know that the x of the next q are those of this one: carried over, they would spill accumulators. */
#define CONV_FORGET(pointer) __asm__("" : "+r"(pointer))
#define CONV_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define CONV_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define CONV_MAX(x, y) ((int64_t)(x) > (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))

#if LANES == 1
typedef T CONV_VEC;
#else
typedef T CONV_VEC __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
#endif

#define CONV_WIDE_MAX (REGISTERS >= 32 ? 7 : 6)
#define CONV_TALL_MAX (REGISTERS >= 32 ? 8 : 3)
#define CONV_ROOM ((int64_t)(131072 / sizeof(T)))           /* for the accumulators of one block: 128 KiB */
#define CONV_PIECE 192                                      /* columns of a piece: enough to pay for the accumulators' way */
#define CONV_TILES 4                                        /* tiles of output channels of one block */
#define CONV_BLOCKS 32                                      /* so many at least, if there are c enough */

/* How many v of n a tile has: the number that wastes least, the largest of those. No loop: constants are known as early as the compiler looks. */
#define CONV_WASTES_LESS(k) if ((k) < best && CONV_CUT(n, k) * (k) < CONV_CUT(n, best) * best) best = (k)
static inline __attribute__((always_inline)) int64_t CONV_NAME(wide_v)(int64_t n) {
    int64_t best = CONV_MIN(n, CONV_WIDE_MAX);
    CONV_WASTES_LESS(6);
    CONV_WASTES_LESS(5);
    CONV_WASTES_LESS(4);
    CONV_WASTES_LESS(3);
    return best;
}

/* How many c of n a tile has beside wide_v weights: as many as fit, and as waste an eighth at most. */
#define CONV_FITS(k) ((k) <= most && CONV_CUT(n, k) * (k) * 8 <= n * 9)
static inline __attribute__((always_inline)) int64_t CONV_NAME(wide_c)(int64_t n, int64_t wide_v) {
    const int64_t most = wide_v == 1 ? 5 : wide_v == 2 ? 3 : wide_v == 3 ? 2 : 1;
    return CONV_FITS(5) ? 5 : CONV_FITS(4) ? 4 : CONV_FITS(3) ? 3 : CONV_FITS(2) ? 2 : 1;
}

/* In how many cuts o is taken, c in the others, for CONV_BLOCKS blocks: a cut of o reads all of x again, one of c all of gy. */
static inline int64_t CONV_NAME(cuts_o)(int64_t apart, int64_t least, int64_t tiles_o, int64_t tiles_c, int64_t x, int64_t gy) {
    int64_t o = least, c = 1;
    while (o > 0 && apart * o * c < CONV_BLOCKS && (o < tiles_o || c < tiles_c)) {
        if (o < tiles_o && (c == tiles_c || x * o <= gy * c)) o = CONV_MIN(2 * o, tiles_o);
        else c = CONV_MIN(2 * c, tiles_c);
    }
    return o;
}

/* The constants of one instance. wide_v * wide_c weights by `most` channels: 7*3, 6*4, 5*5, 4*6, 3*7 (6*2, 5*2, 4*2, 3*3 with few registers). */
#define CONV_SIZES                                                                                        \
    const int64_t group_o = (O) / (GROUPS), group_c = (CIN) / (GROUPS);                                   \
    const int fixed = __builtin_constant_p(O) && __builtin_constant_p(KW) && __builtin_constant_p(CIN);   \
    const int64_t wide_v = __builtin_constant_p(KW) ? CONV_NAME(wide_v)(KW) : 3;                          \
    const int64_t wide_c = fixed ? CONV_NAME(wide_c)(group_c, wide_v) : 1;                                \
    const int64_t wide = wide_v * wide_c;                                                                 \
    const int64_t most = CONV_MIN(CONV_TALL_MAX, (REGISTERS - 2) / (wide + 1));                           \
    const int64_t tiles_o = CONV_CUT(group_o, most), tiles_c = CONV_CUT(group_c, wide_c);                 \
    const int64_t tiles_v = CONV_CUT(KW, wide_v);                                                         \
    const int64_t apart = CONV_MAX(1, (PARTS) * (GROUPS)), few_o = CONV_CUT(tiles_o, CONV_TILES);         \
    const int64_t cuts_o = CONV_NAME(cuts_o)(apart, few_o, tiles_o, tiles_c, (CIN) * (H) * (W), (O) * (P) * (Q)); \
    const int64_t cuts_c = CONV_MAX(1, CONV_MIN(tiles_c, CONV_CUT(CONV_BLOCKS, apart * cuts_o + !cuts_o))); \
    /* whether weights of some tile may see columns outside the image */                                  \
    const int edges = (PW) != 0 || ((Q) - 1) * (SW) + (tiles_v * wide_v - 1) * (DW) >= (W);               \
    (void)fixed; (void)edges

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    CONV_SIZES;
    return (PARTS) * (GROUPS) * cuts_o * cuts_c;
}

#ifdef LOAD_code
/* Columns of a row of gy, of a channel; where row p of block b of channel o is. */
#define CONV_STRIDE_G ((int64_t)(STAGED) * LANES)
#define CONV_ROW_G(b, o, p) (staged + ((o) - staged_o) * CONV_STRIDE_G + (((b) - piece_b) * piece_rows + (p) - piece_p) * (Q) * LANES)
#define CONV_PIECE_ROWS (CONV_MAX(1, (STAGED) / CONV_MAX(Q, 1)))
/* The first `count` columns of the window that is in row p and begins at column q * POOL_W */
#define CONV_WINDOW(count) do {                                                                           \
    T g_q[LANES] __attribute__((aligned(64)));                                                            \
    int32_t code_q[LANES] __attribute__((aligned(64)));                                                   \
    CONV_SIMD for (int64_t l = 0; l < LANES; l++) {                                                       \
        const T g_l = LOAD_g(b, o, p / (POOL_H), q, l);                                                   \
        g_q[l] = b * LANES + l < (N) ? g_l : 0;                                                           \
        code_q[l] = (int32_t)LOAD_code(b, o, p / (POOL_H), q, l) - (int32_t)(p % (POOL_H) * (POOL_W));    \
    }                                                                                                     \
    CONV_UNROLL for (int64_t v = 0; v < (count); v++)                                                     \
        CONV_SIMD for (int64_t l = 0; l < LANES; l++)                                                     \
            row[(q * (POOL_W) + v) * LANES + l] = code_q[l] == (int32_t)v ? g_q[l] : 0;                   \
} while (0)
/* staged = the piece of gy in channels staged_o ... staged_o + rows - 1 */
#define CONV_STAGE(rows) do {                                                                             \
    for (int64_t o = staged_o; o < staged_o + (rows); o++)                                                \
        for (int64_t b = piece_b; b < end_b; b++)                                                         \
            for (int64_t p = piece_p; p < end_p; p++) {                                                   \
                T *const row = CONV_ROW_G(b, o, p);                                                       \
                const int64_t pooled = p / (POOL_H) < (PP) ? (PQ) : 0, whole = CONV_MIN(pooled, (Q) / (POOL_W)); \
                int64_t q = 0;                                                                            \
                for (; q < whole; q++) CONV_WINDOW(POOL_W);                                               \
                if (q < pooled) CONV_WINDOW((Q) - q * (POOL_W));                                          \
                for (int64_t i = CONV_MIN(Q, pooled * (POOL_W)) * LANES; i < (Q) * LANES; i++) row[i] = 0; \
            }                                                                                             \
} while (0)
#else
#define CONV_STRIDE_G (PTR_g(0, 1, 0, 0) - PTR_g(0, 0, 0, 0))
#define CONV_ROW_G(b, o, p) PTR_g(b, o, p, 0)
#define CONV_PIECE_ROWS INT64_MAX
#define CONV_STAGE(rows) (void)staged_o
#endif

/* Where a tile begins, and its accumulators. The last c-s begin earlier where they run out, and are stored from first_c on. */
#define CONV_FIRST_O(t) (g * group_o + ((t) < full ? (t) * height : full + (t) * (height - 1)))
#define CONV_PLACE(t, tile)                                                                               \
    const int64_t o = CONV_FIRST_O(t);                                                                    \
    const int64_t v0 = (tile) % tiles_v * wide_v, u = (tile) / tiles_v % (KH);                            \
    const int64_t first_c = (tile) / ((KH) * tiles_v) * wide_c, c0 = CONV_MIN(first_c, group_c - wide_c); \
    T *const sum = sums + (((t) - first_t) * count + (tile) - first) * size;                              \
    (void)first_c

/* acc += gy[R channels] * x[wide weights] at column q of output row p of image block b */
#define CONV_STEP(R, EDGE) do {                                                                           \
    CONV_VEC g_r[CONV_TALL_MAX];                                                                          \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++) g_r[r] = *(const CONV_VEC *)(g_p + r * step_g + q * LANES); \
    const T *x_q = x_p + q * (SW) * LANES;                                                                \
    CONV_FORGET(x_q);                                                                                     \
    CONV_UNROLL for (int64_t j = 0; j < wide; j++) {                                                      \
        const int64_t w = q * (SW) + (v0 + j % wide_v) * (DW) - (PW);                                     \
        if (EDGE && ((w < 0) | (w >= (W)))) continue;                                                     \
        const CONV_VEC x_j = *(const CONV_VEC *)(x_q + j / wide_v * step_x + j % wide_v * (DW) * LANES);  \
        CONV_UNROLL for (int64_t r = 0; r < (R); r++) acc[r][j] += g_r[r] * x_j;                          \
    }                                                                                                     \
} while (0)
/* sum[R channels from o on][wide weights] of kernel row u takes up a piece: rows p of image blocks b. */
#define CONV_TILE(R, o, sum) do {                                                                         \
    CONV_VEC acc[CONV_TALL_MAX][CONV_WIDE_MAX];                                                           \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int64_t j = 0; j < wide; j++) acc[r][j] = *(CONV_VEC *)((sum) + (r * wide + j) * LANES); \
    CONV_ROLLED for (int64_t b = piece_b, p = p0; b < end_b; p + 1 < p1 ? p++ : (p = p0, b++)) {          \
        const T *g_p = CONV_ROW_G(b, o, p);                                                               \
        const T *x_p = PTR_x(b, g * group_c + c0, p * (SH) + u * (DH) - (PH), 0)                          \
            + (v0 * (DW) - (PW)) * LANES;                                                                 \
        if (edges) CONV_ROLLED for (int64_t q = 0; q < q0; q++) CONV_STEP(R, 1);                          \
        CONV_ROLLED for (int64_t q = q0; q < q1; q++) CONV_STEP(R, 0);                                    \
        if (edges) CONV_ROLLED for (int64_t q = q1; q < (Q); q++) CONV_STEP(R, 1);                        \
    }                                                                                                     \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int64_t j = 0; j < wide; j++) *(CONV_VEC *)((sum) + (r * wide + j) * LANES) = acc[r][j]; \
} while (0)
static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    CONV_SIZES;
    T sums[CONV_ROOM] __attribute__((aligned(64)));
#ifdef LOAD_code
    T staged[CONV_TALL_MAX * CONV_STRIDE_G] __attribute__((aligned(64)));
#endif
    const int64_t height = fixed ? CONV_CUT(group_o, tiles_o + !tiles_o) : most;
    const int64_t full = fixed ? group_o - tiles_o * (height - 1) : tiles_o;   /* tiles of that height; the others have one less */
    const int64_t size = most * wide * LANES;
    const int64_t image = CONV_MAX((P) * (Q), 1), pieces = CONV_MAX(1, image / CONV_PIECE);   /* of one image */
    const int64_t piece_rows = CONV_MIN(CONV_CUT(P, pieces), CONV_PIECE_ROWS), piece_images = CONV_CUT(CONV_PIECE, image);
    const int64_t step_x = PTR_x(0, 1, 0, 0) - PTR_x(0, 0, 0, 0), step_g = CONV_STRIDE_G;

    for (int64_t block = begin; block < end; block++) {
        int64_t rest = block;
        const int64_t cut_c = rest % cuts_c; rest /= cuts_c;
        const int64_t cut_o = rest % cuts_o; rest /= cuts_o;
        const int64_t g = rest % (GROUPS), part = rest / (GROUPS);
        const int64_t first_b = (NB) * part / (PARTS), last_b = (NB) * (part + 1) / (PARTS);
        const int64_t first_t = tiles_o * cut_o / cuts_o, last_t = tiles_o * (cut_o + 1) / cuts_o;
        /* the tiles of c, u, v; as many at a time as `sums` holds for all the tiles of o */
        const int64_t held = CONV_ROOM / (size * CONV_MAX(1, last_t - first_t));
        const int64_t per_c = (KH) * tiles_v, last = tiles_c * (cut_c + 1) / cuts_c * per_c;
        for (int64_t first = tiles_c * cut_c / cuts_c * per_c; first < last; first += held) {
            const int64_t count = CONV_MIN(held, last - first);
            for (int64_t i = 0; i < (last_t - first_t) * count * size; i++) sums[i] = 0;
            for (int64_t piece_b = first_b; piece_b < last_b; piece_b += piece_images)
                for (int64_t piece_p = 0; piece_p < (P); piece_p += piece_rows)
                    for (int64_t t = first_t; t < last_t; t++) {
                        const int64_t end_b = CONV_MIN(last_b, piece_b + piece_images), end_p = CONV_MIN(P, piece_p + piece_rows);
                        const int64_t staged_o = CONV_FIRST_O(t);
                        CONV_STAGE(CONV_MIN((g + 1) * group_o - staged_o, height - (t >= full)));
                        for (int64_t tile = first; tile < first + count; tile++) {
                            CONV_PLACE(t, tile);
                            /* the p for which 0 <= p*SH + u*DH - PH < H; the q for which all weights of the tile see the image */
                            const int64_t above = (PH) - u * (DH), below = (H) + above;
                            const int64_t p0 = CONV_MAX(piece_p, above > 0 ? CONV_CUT(above, SH) : 0);
                            const int64_t p1 = below > 0 ? CONV_MIN(end_p, CONV_CUT(below, SH)) : 0;
                            const int64_t left = (PW) - v0 * (DW), right = (W) + (PW) - (v0 + wide_v - 1) * (DW);
                            const int64_t q0 = CONV_MIN(Q, left > 0 ? CONV_CUT(left, SW) : 0);
                            const int64_t q1 = CONV_MAX(q0, right > 0 ? CONV_MIN(Q, CONV_CUT(right, SW)) : 0);
                            if (p0 >= p1) continue;
                            if (fixed && t < full) CONV_TILE(height, o, sum);
                            else if (fixed) CONV_TILE(height - 1, o, sum);
                            else if (t * most + most <= group_o) CONV_TILE(most, o, sum);
                            else for (int64_t i = 0; i < group_o - t * most; i++) CONV_TILE(1, o + i, sum + i * wide * LANES);
                        }
                    }
            for (int64_t t = first_t; t < last_t; t++)
                for (int64_t tile = first; tile < first + count; tile++) {
                    CONV_PLACE(t, tile);
                    const int64_t rows = CONV_MIN((g + 1) * group_o - o, height - (t >= full));
                    for (int64_t r = 0; r < rows; r++)
                        for (int64_t j = 0; j < wide; j++) {
                            const T *from = sum + (r * wide + j) * LANES;
                            const int64_t c = c0 + j / wide_v, v = v0 + j % wide_v;
                            T total = 0;
                            for (int64_t l = 0; l < LANES; l++) total += from[l];
                            if (c >= first_c && v < (KW)) { STORE_y(part, o + r, c, u, v, total); }
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
#undef CONV_FORGET
#undef CONV_CUT
#undef CONV_MIN
#undef CONV_MAX
#undef CONV_WIDE_MAX
#undef CONV_TALL_MAX
#undef CONV_ROOM
#undef CONV_PIECE
#undef CONV_TILES
#undef CONV_BLOCKS
#undef CONV_PLACE
#undef CONV_FIRST_O
#undef CONV_SIMD
#undef CONV_STRIDE_G
#undef CONV_ROW_G
#undef CONV_PIECE_ROWS
#undef CONV_STAGE
#undef CONV_WINDOW
#undef CONV_SIZES
#undef CONV_WASTES_LESS
#undef CONV_FITS
#undef CONV_STEP
#undef CONV_TILE
