/* conv2d.h: two-dimensional convolution, batch-innermost
 *
 *     y[b,o,p,q,l] = sum over c, u, v of x[b, g*C + c, h, w, l] * w[o,c,u,v]
 *     h = (p*SH + u*DH - PH) / UP_H,   w = (q*SW + v*DW - PW) / UP_W,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (u, v) for which h and w are whole and inside the image. UP_H, UP_W > 1 spread the input (the
 * gradient with respect to the input of a strided convolution); no product with a zero is formed for that.
 *
 * Layout: x is [NB][CIN][H][W][LANES]: lane l of block b is image b * LANES + l. y has the same lanes.
 *
 * Sizes   NB, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, UP_H, UP_W, GROUPS
 * Hooks   PTR_x(b,c,h,w)            address of LANES values; LANES apart along w
 *         LOAD_w(o,c,u,v)           value; c counts inside the group
 *         STORE_y(b,o,p,q,l,value)  statement; run once per element, lane by lane along l
 *
 * Tiling: WIDE neighbouring columns (UP_W apart) of TALL output channels are summed in registers.
 *
 *        x row h      +---+---+---+---+---+---+ .       for c, u, v:   acc[o][q] += w[o,c,u,v] * x[q + v]
 *                     | q | q | q | q |   |                             TALL broadcasts, WIDE loads,
 *        v = 0        +---+---+---+---+---+---+ .                       TALL * WIDE fused multiply-adds
 *        v = 1            | q | q | q | q |
 *
 * Where the columns of a tile do not all see the image through every v, they are summed one by one, with exact bounds on v and
 * up to SLIM output channels at a time, so that no column is asked for in the inner loop.
 * One block is one output row of one image block (and a part of the channels, if there would be fewer than 16).
 *
 * With POOL_H and POOL_W, windows of POOL_H x POOL_W results are pooled before anything is stored: PP x PQ windows side by
 * side from the first row and column on, of which the last may reach beyond P and Q. Of each window goes on what goes on from
 * pool.h: the largest value, and the position u*POOL_W + v of the first such. A block is then one row of windows; the sums of
 * a tile of channels wait in `strip`. The hooks are then PTR_x, LOAD_w and
 *
 *         VALUE(b,o,p,q,l,value)        what is pooled, as it comes of a sum
 *         STORE_y(b,c,h,w,l,value)      statement; the largest value of window (h, w) of channel c
 *         STORE_code(b,c,h,w,l,code)    statement; its position
 */
#ifndef KERNEL
#define KERNEL conv2d
#define PARAMS const T *restrict x, const T *restrict w, T *restrict y, int64_t NB, int64_t CIN, int64_t H, int64_t W, int64_t O, int64_t P, int64_t Q
#define KH 3
#define KW 3
#define PH 1
#define PW 1
#define PTR_x(b, c, h, w_) (x + ((((b) * CIN + (c)) * H + (h)) * W + (w_)) * LANES)
#define LOAD_w(o, c, u, v) w[(((o) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v)]
#define STORE_y(b, o, p, q, l, value) y[((((b) * O + (o)) * P + (p)) * Q + (q)) * LANES + (l)] = (value)
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
#ifdef POOL_H
#define CONV_LINES (PP)
#define CONV_COLUMNS (CONV_INNER1 > CONV_INNER0 ? CONV_INNER1 - CONV_INNER0 : (Q))   /* those that come in tiles */
#else
#define CONV_LINES (P)
#define CONV_COLUMNS CONV_CUT(Q, UP_W)
#endif
/* UP_W == 1: the first q that sees the image through every v, and the one after the last */
#define CONV_INNER0 ((PW) > 0 ? CONV_CUT(PW, SW) : 0)
#define CONV_INNER1 ((W) - 1 + (PW) < ((KW) - 1) * (DW) ? 0 : CONV_MIN(Q, ((W) - 1 + (PW) - ((KW) - 1) * (DW)) / (SW) + 1))

#define CONV_PASTE_(kernel, name) kernel##_##name
#define CONV_PASTE(kernel, name) CONV_PASTE_(kernel, name)
#define CONV_NAME(name) CONV_PASTE(KERNEL, name)
#define CONV_UNROLL _Pragma("GCC unroll 32")
#define CONV_ROLLED _Pragma("GCC unroll 1")
#define CONV_VEC CONV_NAME(vec)
/* The compiler shall not know that the x of the next v are those of this one: carried over, they would spill accumulators. */
#define CONV_FORGET(pointer) __asm__("" : "+r"(pointer))
#define CONV_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define CONV_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))

#if LANES == 1
typedef T CONV_VEC;
#else
typedef T CONV_VEC __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
#endif

/* How wide a tile is: the one of 6, 4, 5 (4, 3 with few registers) columns that wastes least of n columns. */
static inline __attribute__((always_inline)) int64_t CONV_NAME(wide)(int64_t n) {
    int64_t waste6 = CONV_CUT(n, 6) * 6, waste5 = CONV_CUT(n, 5) * 5, waste4 = CONV_CUT(n, 4) * 4, waste3 = CONV_CUT(n, 3) * 3;
    if (REGISTERS < 32) return n <= 4 ? n + !n : waste3 < waste4 ? 3 : 4;
    if (n <= 6) return n + !n;
    return ((waste6 <= waste4) & (waste6 <= waste5)) ? 6 : waste4 <= waste5 ? 4 : 5;
}

/* How the channels and rows are cut in blocks; from sizes alone. */
static inline __attribute__((always_inline)) int64_t CONV_NAME(chunks)(int64_t blocks, int64_t tiles) {
    return blocks >= 16 ? 1 : CONV_MIN(tiles, CONV_CUT(16, blocks + !blocks));
}
#define CONV_WIDE_MAX (REGISTERS >= 32 ? 6 : 4)
#define CONV_TALL_MAX (REGISTERS >= 32 ? 24 : 12)
#define CONV_SLIM (REGISTERS >= 32 ? 26 : 12)

/* The constants of one instance: WIDE, TALL, tiles of channels per group, chunks of channels. */
#define CONV_SIZES                                                                                        \
    const int64_t columns = CONV_COLUMNS, group_o = (O) / (GROUPS), group_c = (CIN) / (GROUPS);      \
    const int fixed = __builtin_constant_p(O) && __builtin_constant_p(Q);                                 \
    const int64_t wide = __builtin_constant_p(Q) ? CONV_NAME(wide)(columns) : REGISTERS >= 32 ? 6 : 4;    \
    const int64_t most = REGISTERS >= 32 ? 24 / wide : wide == 4 ? 3 : 12 / (wide + 1);                   \
    const int64_t tiles = CONV_CUT(group_o, most);                                                        \
    const int64_t chunks = CONV_NAME(chunks)((NB) * CONV_LINES, tiles * (GROUPS));                        \
    (void)group_c; (void)fixed

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    CONV_SIZES;
    return (NB) * CONV_LINES * chunks;
}

/* The sums of R channels from o on, `wide` columns from i0 on, to `to`: vectors of channels `apart`, of columns side by side.
 * EDGE: ask for every column whether it exists and sees the image. */
#define CONV_SUM(R, o, EDGE, to, apart) do {                                                              \
    CONV_VEC acc[CONV_TALL_MAX][CONV_WIDE_MAX];                                                           \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int64_t j = 0; j < wide; j++) acc[r][j] = (CONV_VEC){0};                         \
    CONV_ROLLED for (int64_t c = 0; c < group_c; c++)                                                     \
        CONV_ROLLED for (int64_t u = u0; u < u1; u++) {                                                   \
            const int64_t t_h = p * (SH) + u * (DH) - (PH);                                               \
            if (t_h % (UP_H)) continue;                                                                   \
            const T *row_x = PTR_x(b, g * group_c + c, t_h / (UP_H), 0);                                  \
            CONV_ROLLED for (int64_t v = v0; v < v1; v++) {                                               \
                const int64_t t_w = residue * (SW) + v * (DW) - (PW);                                     \
                if (t_w % (UP_W)) continue;                                                               \
                const int64_t w_0 = t_w / (UP_W) + i0 * (SW);                                             \
                const T *x_0 = row_x + w_0 * LANES;                                                       \
                CONV_FORGET(x_0);                                                                         \
                T w_r[CONV_TALL_MAX];                                                                     \
                CONV_UNROLL for (int64_t r = 0; r < (R); r++) w_r[r] = LOAD_w((o) + r, c, u, v);          \
                CONV_UNROLL for (int64_t j = 0; j < wide; j++) {                                          \
                    const int64_t w_j = w_0 + j * (SW);                                                   \
                    if (EDGE && ((j >= existing) | (w_j < 0) | (w_j >= (W)))) continue;                   \
                    const CONV_VEC x_j = *(const CONV_VEC *)(x_0 + j * (SW) * LANES);                     \
                    CONV_UNROLL for (int64_t r = 0; r < (R); r++) acc[r][j] += x_j * w_r[r];              \
                }                                                                                         \
            }                                                                                             \
        }                                                                                                 \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int64_t j = 0; j < wide; j++)                                                    \
            *(CONV_VEC *)((to) + (r * (apart) + j) * LANES) = acc[r][j];                                  \
} while (0)
#define CONV_TILE(R, o, EDGE) do {                                                                        \
    CONV_SUM(R, o, EDGE, tile, wide);                                                                     \
    CONV_ROLLED for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_ROLLED for (int64_t j = 0; j < existing; j++) {                                              \
            const T *from = tile + (r * wide + j) * LANES;                                                \
            _Pragma("omp simd")                                                                           \
            for (int64_t l = 0; l < LANES; l++) {                                                         \
                STORE_y(b, (o) + r, p, residue + (UP_W) * (i0 + j), l, from[l]);                          \
            }                                                                                             \
        }                                                                                                 \
} while (0)
/* The same of the one column q, which sees the image through v_first ... v_last - 1. */
#define CONV_COLUMN_SUM(R, o, to, apart) do {                                                             \
    CONV_VEC acc[CONV_SLIM];                                                                              \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++) acc[r] = (CONV_VEC){0};                                 \
    CONV_ROLLED for (int64_t c = 0; c < group_c; c++)                                                     \
        CONV_ROLLED for (int64_t u = u0; u < u1; u++) {                                                   \
            const int64_t t_h = p * (SH) + u * (DH) - (PH);                                               \
            if (t_h % (UP_H)) continue;                                                                   \
            const T *row_x = PTR_x(b, g * group_c + c, t_h / (UP_H), 0);                                  \
            CONV_ROLLED for (int64_t v = v_first; v < v_last; v++) {                                      \
                const int64_t t_w = q * (SW) + v * (DW) - (PW);                                           \
                if (t_w % (UP_W)) continue;                                                               \
                const CONV_VEC x_q = *(const CONV_VEC *)(row_x + t_w / (UP_W) * LANES);                   \
                CONV_UNROLL for (int64_t r = 0; r < (R); r++) acc[r] += x_q * LOAD_w((o) + r, c, u, v);   \
            }                                                                                             \
        }                                                                                                 \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++) *(CONV_VEC *)((to) + r * (apart) * LANES) = acc[r];     \
} while (0)
#define CONV_COLUMN(R, o) do {                                                                            \
    CONV_COLUMN_SUM(R, o, tile, 1);                                                                       \
    CONV_ROLLED for (int64_t r = 0; r < (R); r++) {                                                       \
        const T *from = tile + r * LANES;                                                                 \
        _Pragma("omp simd")                                                                               \
        for (int64_t l = 0; l < LANES; l++) { STORE_y(b, (o) + r, p, q, l, from[l]); }                    \
    }                                                                                                     \
} while (0)
/* The channels of one tile: one of two heights, which are constants if O is; else whole tiles and single channels. */
#define CONV_TILE_ROWS(EDGE) do {                                                                         \
    if (fixed && t < full) CONV_TILE(height, first_o, EDGE);                                              \
    else if (fixed) CONV_TILE(height - 1, first_o, EDGE);                                                 \
    else if (first_o + most <= last_o) CONV_TILE(most, first_o, EDGE);                                    \
    else for (int64_t o = first_o; o < last_o; o++) CONV_TILE(1, o, EDGE);                                \
} while (0)

#ifdef POOL_H
#define CONV_STRIP ((int64_t)(32768 / sizeof(T)))   /* room for the sums of a tile of channels: 32 KiB */
/* What SUM(R, o, ..., to, apart) does for the channels of one tile. */
#define CONV_STRIP_ROWS(SUM, to, ...) do {                                                                \
    if (fixed && t < full) SUM(height, first_o, __VA_ARGS__ to, apart);                                   \
    else if (fixed) SUM(height - 1, first_o, __VA_ARGS__ to, apart);                                      \
    else if (first_o + most <= last_o) SUM(most, first_o, __VA_ARGS__ to, apart);                         \
    else for (int64_t i = 0; i < last_o - first_o; i++) SUM(1, first_o + i, __VA_ARGS__ (to) + i * apart * LANES, apart); \
} while (0)
#define CONV_SUM_AT(R, o, EDGE, to, apart) CONV_SUM(R, o, EDGE, to, apart)

/* The largest value of the window from (p, q) on. If it is not WHOLE, the last row and column are taken again beyond them. */
#define CONV_WINDOW(o, p, q, from, WHOLE) do {                                                            \
    T value[LANES] __attribute__((aligned(64))), best[LANES] __attribute__((aligned(64)));                \
    int32_t code[LANES] __attribute__((aligned(64)));                                                     \
    CONV_UNROLL for (int32_t k = 0; k < (POOL_H) * (POOL_W); k++) {                                       \
        const int64_t p_k = (p) + (WHOLE ? k / (POOL_W) : CONV_MIN(k / (POOL_W), (P) - 1 - (p)));         \
        const int64_t q_k = (q) + (WHOLE ? k % (POOL_W) : CONV_MIN(k % (POOL_W), (Q) - 1 - (q)));         \
        const T *from_k = (from) + ((p_k - (p)) * line + q_k - (q)) * LANES;                              \
        /* apart from the comparison: where a value is a choice itself, the compiler would make branches of both */ \
        _Pragma("omp simd")                                                                               \
        for (int64_t l = 0; l < LANES; l++) value[l] = VALUE(b, o, p_k, q_k, l, from_k[l]);               \
        _Pragma("omp simd")                                                                               \
        for (int64_t l = 0; l < LANES; l++) {                                                             \
            const T x_k = value[l], best_l = best[l];                                                     \
            const int taken = (k == 0) | (x_k > best_l) | ((x_k != x_k) & (best_l == best_l));            \
            best[l] = taken ? x_k : best_l;                                                               \
            code[l] = taken ? k : code[l];                                                                \
        }                                                                                                 \
    }                                                                                                     \
    _Pragma("omp simd")                                                                                   \
    for (int64_t l = 0; l < LANES; l++) {                                                                 \
        STORE_y(b, o, (p) / (POOL_H), (q) / (POOL_W), l, best[l]);                                        \
        STORE_code(b, o, (p) / (POOL_H), (q) / (POOL_W), l, code[l]);                                     \
    }                                                                                                     \
} while (0)

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    CONV_SIZES;
    T strip[CONV_STRIP] __attribute__((aligned(64)));
    const int64_t height = fixed ? CONV_CUT(group_o, tiles + !tiles) : most;
    const int64_t full = fixed ? group_o - tiles * (height - 1) : tiles;   /* tiles of that height; the others have one less */
    /* strip[channel of the tile][row of the window][column]: so many columns at a time, `wide` more for the last tile */
    const int64_t span = (CONV_STRIP / (most * (POOL_H) * LANES) - wide) / (POOL_W) * (POOL_W);
    const int64_t line = CONV_MIN(span, (PQ) * (POOL_W)) + wide, apart = (POOL_H) * line;
    const int64_t inner0 = CONV_INNER0, inner1 = CONV_INNER1, residue = 0, v0 = 0, v1 = KW;

    for (int64_t block = begin; block < end; block++) {
        const int64_t b = block / ((PP) * chunks), chunk = block / (PP) % chunks, p_window = block % (PP) * (POOL_H);
        const int64_t first_tile = chunk * tiles * (GROUPS) / chunks, last_tile = (chunk + 1) * tiles * (GROUPS) / chunks;
        const int64_t rows = CONV_MIN(POOL_H, (P) - p_window);
        for (int64_t at = first_tile; at < last_tile; at++) {
            const int64_t g = at / tiles, t = at % tiles;
            const int64_t first_o = g * group_o + (t < full ? t * height : full + t * (height - 1));
            const int64_t last_o = CONV_MIN((g + 1) * group_o, first_o + height - (t >= full));
            for (int64_t q0 = 0; q0 < (PQ) * (POOL_W); q0 += span) {
                const int64_t q1 = CONV_MIN(CONV_MIN(Q, (PQ) * (POOL_W)), q0 + span);
                const int64_t from = CONV_MIN(CONV_MIN(inner0, q1) > q0 ? CONV_MIN(inner0, q1) : q0, q1);
                const int64_t to = inner1 < from ? from : CONV_MIN(inner1, q1);
                const int64_t tiled = to - from >= wide ? to : from;   /* from ... tiled - 1 come in tiles, the last one of which begins earlier */
                for (int64_t k = 0; k < rows; k++) {
                    const int64_t p = p_window + k;
                    /* the u for which 0 <= p*SH + u*DH - PH < H */
                    const int64_t above = (PH) - p * (SH), below = (H) + above;
                    const int64_t u0 = above > 0 ? CONV_CUT(above, DH) : 0;
                    const int64_t u1 = below > 0 ? CONV_MIN(KH, CONV_CUT(below, DH)) : 0;
                    for (int64_t i = from; i < tiled; i += wide) {
                        const int64_t i0 = CONV_MIN(i, tiled - wide), existing = wide;
                        (void)existing;
                        CONV_STRIP_ROWS(CONV_SUM_AT, strip + (k * line + i0 - q0) * LANES, 0,);
                    }
                    for (int64_t q = q0; q < q1; q++) {
                        if (q >= from && q < tiled) q = tiled;
                        if (q >= q1) break;
                        const int64_t before = (PW) - q * (SW), after = (W) + before;
                        const int64_t v_first = before > 0 ? CONV_CUT(before, DW) : 0;
                        const int64_t v_last = after > 0 ? CONV_MIN(KW, CONV_CUT(after, DW)) : 0;
                        CONV_STRIP_ROWS(CONV_COLUMN_SUM, strip + (k * line + q - q0) * LANES, );
                    }
                }
                for (int64_t o = first_o; o < last_o; o++)
                    for (int64_t q = q0; q < q1; q += POOL_W) {
                        const T *window = strip + ((o - first_o) * apart + q - q0) * LANES;
                        if (rows == (POOL_H) && q + (POOL_W) <= (Q)) CONV_WINDOW(o, p_window, q, window, 1);
                        else CONV_WINDOW(o, p_window, q, window, 0);
                    }
            }
        }
    }
}
#undef CONV_STRIP
#undef CONV_STRIP_ROWS
#undef CONV_SUM_AT
#undef CONV_WINDOW
#else
static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    CONV_SIZES;
    T tile[CONV_TALL_MAX * CONV_WIDE_MAX * LANES + 2 * LANES] __attribute__((aligned(64)));
    const int64_t height = fixed ? CONV_CUT(group_o, tiles + !tiles) : most;
    const int64_t full = fixed ? group_o - tiles * (height - 1) : tiles;   /* tiles of that height; the others have one less */
    const int64_t slims = CONV_CUT(group_o, CONV_SLIM);                 /* the same for single columns */
    const int64_t slim = fixed ? CONV_CUT(group_o, slims + !slims) : 1, tall = group_o - slims * (slim - 1);
    (void)slims; (void)slim; (void)tall;
    const int padded = !((PW) <= 0 && ((Q) - 1) * (SW) + ((KW) - 1) * (DW) - (PW) < (W) * (UP_W)) || columns % wide || (Q) % (UP_W);

    for (int64_t block = begin; block < end; block++) {
        const int64_t b = block / ((P) * chunks), chunk = block / (P) % chunks, p = block % (P);
        const int64_t first_tile = chunk * tiles * (GROUPS) / chunks, last_tile = (chunk + 1) * tiles * (GROUPS) / chunks;
        /* the u for which 0 <= p*SH + u*DH - PH < H*UP_H */
        const int64_t above = (PH) - p * (SH), below = (H) * (UP_H) + above;
        const int64_t u0 = above > 0 ? CONV_CUT(above, DH) : 0;
        const int64_t u1 = below > 0 ? CONV_MIN(KH, CONV_CUT(below, DH)) : 0;
        for (int64_t residue = 0; residue < CONV_MIN(UP_W, Q); residue++) {
            const int64_t count = CONV_CUT((Q) - residue, UP_W);
            for (int64_t i0 = 0; i0 < count; i0 += wide) {
                const int64_t existing = CONV_MIN(wide, count - i0);
                /* the v through which some column of the tile sees the image, and whether all do through all v */
                const int64_t first_q = residue + (UP_W) * i0, last_q = first_q + (UP_W) * (existing - 1);
                const int64_t left = (PW) - last_q * (SW), right = (W) * (UP_W) + (PW) - first_q * (SW);
                const int64_t v0 = left > 0 ? CONV_CUT(left, DW) : 0;
                const int64_t v1 = right > 0 ? CONV_MIN(KW, CONV_CUT(right, DW)) : 0;
                const int edge = padded && (existing < wide || first_q * (SW) - (PW) < 0
                                            || last_q * (SW) + ((KW) - 1) * (DW) - (PW) >= (W) * (UP_W));
                if (edge && fixed && chunks == 1) {
                    for (int64_t j = 0; j < existing; j++) {
                        const int64_t q = first_q + (UP_W) * j, before = (PW) - q * (SW), after = (W) * (UP_W) + before;
                        const int64_t v_first = before > 0 ? CONV_CUT(before, DW) : 0;
                        const int64_t v_last = after > 0 ? CONV_MIN(KW, CONV_CUT(after, DW)) : 0;
                        for (int64_t at = 0; at < slims * (GROUPS); at++) {
                            const int64_t g = at / slims, t = at % slims;
                            const int64_t o = g * group_o + (t < tall ? t * slim : tall + t * (slim - 1));
                            if (t < tall) CONV_COLUMN(slim, o);
                            else CONV_COLUMN(slim - 1, o);
                        }
                    }
                    continue;
                }
                for (int64_t at = first_tile; at < last_tile; at++) {
                    const int64_t g = at / tiles, t = at % tiles;
                    const int64_t first_o = g * group_o + (t < full ? t * height : full + t * (height - 1));
                    const int64_t last_o = CONV_MIN((g + 1) * group_o, first_o + height - (t >= full));
                    (void)last_o;
                    if (edge) CONV_TILE_ROWS(1);
                    else CONV_TILE_ROWS(0);
                }
            }
        }
    }
}

#endif

#undef CONV_PASTE_
#undef CONV_PASTE
#undef CONV_NAME
#undef CONV_UNROLL
#undef CONV_ROLLED
#undef CONV_VEC
#undef CONV_FORGET
#undef CONV_CUT
#undef CONV_MIN
#undef CONV_WIDE_MAX
#undef CONV_TALL_MAX
#undef CONV_SIZES
#undef CONV_LINES
#undef CONV_COLUMNS
#undef CONV_INNER0
#undef CONV_INNER1
#undef CONV_SUM
#undef CONV_COLUMN_SUM
#undef CONV_TILE
#undef CONV_TILE_ROWS
#undef CONV_COLUMN
#undef CONV_SLIM
