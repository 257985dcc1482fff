/* conv2d_winograd.h: convolution with filters of 3 x 3 or 5 x 5 at stride 1, batch-innermost, with fewer multiplications
 *
 *     y[b,o,p,q,l] = sum over c, u, v of x[b, c, p + u*DH - PH, q + v*DW - PW, l] * w[o,c,u,v]
 *
 * over those (u, v) that meet the image: what conv2d.h computes, by Winograd's minimal filtering F(TILE x TILE, SIZE x SIZE)
 * (Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks). TILE x TILE results of one image come of K x K pixels,
 * K = TILE + SIZE - 1:
 *
 *        x  +--------+          V = B^T d B            M[k] = sum over c           y = A^T M A
 *           | K x K  |   -->    K*K planes k    -->    u[k,o,c] * V[k,c]    -->    +------+
 *           | pixels |                                                            | TILE |
 *           +--------+          (the filters' u is made beforehand: winograd_filters.h)  +------+
 *
 * 36 products instead of 144 for TILE = 4, 16 instead of 36 for TILE = 2, 36 instead of 100 for filters of 5 x 5 and TILE = 2.
 *
 * Error: with X the largest |x| that a tile sees and W the largest |w|, at most about (CIN + 32) * epsilon * 2304 * X * W for TILE = 4,
 * 64 instead of 2304 for TILE = 2, where the sums as they stand have 9, and 3326 for filters of 5 x 5, where those have 25; of ordinary
 * numbers 3 times the error of conv2d.h, half of it for TILE = 2, and 3 to 8 times for filters of 5 x 5. Where a result is not finite (an infinity or a NaN that the tile sees, or an overflow of a transform) all results
 * of its tile are computed as sums, so that those that do not see it are what they should be. Every result is summed in one order.
 *
 * winograd_tile.h is pasted before this text; the tiles and their V are made there, and what dilation does to them is told there.
 *
 * Layout: x is [NB][CIN][H][W][LANES]: lane l of block b is image b * LANES + l. y has the same lanes.
 *         u is [K*K][ceil(O / PANEL)][CIN][PANEL], 0 beyond O.
 *
 * Sizes   NB, CIN, H, W, O, P, Q, PH, PW, DH, DW, TILE and SIZE (4 and 3, 2 and 3, 2 and 5), PANEL (a multiple of 8)
 * Hooks   PTR_x(b,c,h,w)            address of LANES values; LANES apart along w
 *         PTR_u(k,t,c)              address of PANEL values of panel t; PANEL apart along c
 *         LOAD_w(o,c,u,v)           value of the filters as they are, for what is computed as sums
 *         STORE_y(b,o,p,q,l,value)  statement; run once per element, lane by lane along l
 *
 * Order: all tiles of all image blocks stand in one line, row by row; one block takes WIDE neighbours through all three stages
 * (and a part of the channels, if there would be fewer than 16 blocks).
 *
 *        for some output channels (MANY)                   while V, M and what is read of u stay in L2
 *            for some input channels (ALL of them, if they are few)
 *                V of WIDE tiles, unless it is there still
 *                for k, for TALL output channels:          M[k][TALL][WIDE] in registers: TALL broadcasts, WIDE loads and
 *                    for c                                 TALL * WIDE fused multiply-adds for each c
 *            y of WIDE tiles
 *
 * V is [k][c][WIDE][LANES] and M [k][o][WIDE][LANES]; a plane k has an odd number of vectors, so that the planes, which are written
 * and read side by side, do not meet in the sets of a cache.
 *
 * With POOL_H and POOL_W, both of which divide TILE, and without dilation, windows of the results are pooled before they are stored; the hooks and sizes
 * of that are the ones of conv2d.h: VALUE, STORE_y, STORE_code, PP, PQ.
 */
#ifndef PARAMS
#define PARAMS const T *restrict x, const T *restrict u, const T *restrict w, T *restrict y, int64_t NB, int64_t CIN, int64_t H, int64_t W, int64_t O, int64_t P, int64_t Q
#define PANEL 8
#define PTR_x(b, c, h, w_) (x + ((((b) * (CIN) + (c)) * (H) + (h)) * (W) + (w_)) * LANES)
#define PTR_u(k, t, c) (u + (((k) * (((O) + (PANEL) - 1) / (PANEL)) + (t)) * (CIN) + (c)) * (PANEL))
#define LOAD_w(o, c, u, v) w[(((o) * (CIN) + (c)) * SIZE + (u)) * SIZE + (v)]
#define STORE_y(b, o, p, q, l, value) y[((((b) * (O) + (o)) * (P) + (p)) * (Q) + (q)) * LANES + (l)] = (value)
#endif
#define WINO_WIDE 3
#define WINO_TALL (REGISTERS >= 32 ? 8 : 4)
/* Input channels at a time (all, if V of them finds room), and output channels. */
#define WINO_ALL ((CIN) <= 128 ? (CIN) : 64)
#define WINO_MANY ((CIN) <= 128 ? 16 : 64)
#define WINO_PLANE(channels) (((channels) * WINO_WIDE) | 1)   /* vectors of a plane of V or M */
#define WINO_APART 64   /* output channels for which V is made once more, where blocks are few */
#define WINO_ROOM (WINO_PLANES * (128 * WINO_WIDE + 1 + 16 * WINO_WIDE + 1))

#define WINO_CUTS                                                                                          \
    WINO_LINE;                                                                                             \
    const int64_t panels = WINO_CUT(O, PANEL), groups = WINO_CUT(tiles, WINO_WIDE);                        \
    const int64_t most = WINO_CUT((O), WINO_APART);                                                        \
    const int64_t cuts = groups >= 16 ? 1 : WINO_MIN(most, WINO_CUT(16, groups + !groups));                \
    (void)panels; (void)cuts

__attribute__((unused)) static int64_t WINO_NAME(blocks)(PARAMS) {
    WINO_CUTS;
    return groups * cuts;
}

/* to = A^T from: of one line of K vectors, `step` and `apart` from one another */
WINO_INLINE void WINO_NAME(result)(const WINO_VEC *from, int64_t step, WINO_VEC *to, int64_t apart) {
    const WINO_VEC m0 = from[0], m1 = from[step], m2 = from[2 * step], m3 = from[3 * step];
#if TILE + SIZE == 7   /* K = 6 */
    const WINO_VEC m4 = from[4 * step], m5 = from[5 * step];
    const WINO_VEC one = m1 + m2, other = m1 - m2, two = m3 + m4, four = m3 - m4;
    to[0] = m0 + one + two;
#if TILE == 4
    to[apart] = other + four * 2;
    to[2 * apart] = one + two * 4;
    to[3 * apart] = other + four * 8 + m5;
#else
    to[apart] = other + four * 2 + m5;
#endif
#else
    to[0] = m0 + m1 + m2;
    to[apart] = m1 - m2 - m3;
#endif
}

/* y of one tile and channel from M[k] */
WINO_INLINE void WINO_NAME(back)(const WINO_VEC *m, int64_t plane, WINO_VEC *y) {
    WINO_VEC half[TILE * WINO_SIDE];
    WINO_ROLLED for (int64_t j = 0; j < WINO_SIDE; j++)
        WINO_NAME(result)(m + j * plane, WINO_SIDE * plane, half + j, WINO_SIDE);
    WINO_ROLLED for (int64_t i = 0; i < TILE; i++)
        WINO_NAME(result)(half + i * WINO_SIDE, 1, y + i * TILE, 1);
}

/* m[r][j] = (MORE: itself +) the sum over c of u[c][r] * v[c][j] */
WINO_INLINE void WINO_NAME(product)(const T *u_c, const WINO_VEC *v, WINO_VEC *m, int64_t channels, int more) {
    WINO_VEC acc[WINO_TALL][WINO_WIDE];
    WINO_UNROLL for (int64_t r = 0; r < WINO_TALL; r++)
        WINO_UNROLL for (int64_t j = 0; j < WINO_WIDE; j++) acc[r][j] = more ? m[r * WINO_WIDE + j] : (WINO_VEC){0};
    WINO_ROLLED for (int64_t c = 0; c < channels; c++) {
        WINO_UNROLL for (int64_t r = 0; r < WINO_TALL; r++)
            WINO_UNROLL for (int64_t j = 0; j < WINO_WIDE; j++) acc[r][j] += v[j] * u_c[r];
        u_c += PANEL;
        v += WINO_WIDE;
    }
    WINO_UNROLL for (int64_t r = 0; r < WINO_TALL; r++)
        WINO_UNROLL for (int64_t j = 0; j < WINO_WIDE; j++) m[r * WINO_WIDE + j] = acc[r][j];
}

/* out = the results of a tile as sums */
#define WINO_SUMS(out) do {                                                                               \
    WINO_ROLLED for (int64_t at = 0; at < TILE * TILE; at++) {                                            \
        WINO_VEC acc = {0};                                                                               \
        WINO_ROLLED for (int64_t c = 0; c < (CIN); c++)                                                   \
            WINO_ROLLED for (int64_t k = 0; k < SIZE * SIZE; k++) {                                       \
                const int64_t h = p0 + (at / TILE + k / SIZE) * (DH) - (PH), w_ = q0 + (at % TILE + k % SIZE) * (DW) - (PW); \
                if (h < 0 || h >= (H) || w_ < 0 || w_ >= (W)) continue;                                   \
                acc += *(const WINO_VEC *)(PTR_x(b, c, h, w_)) * LOAD_w(o, c, k / SIZE, k % SIZE);        \
            }                                                                                             \
        (out)[at] = acc;                                                                                  \
    }                                                                                                     \
} while (0)

/* Whether any of the results of a tile is not finite (or their sum: then the sums are made without need). */
WINO_INLINE int WINO_NAME(doubtful)(const WINO_VEC *out) {
    WINO_VEC row[TILE];   /* sums of rows, then half as many, a quarter ... */
    WINO_UNROLL for (int64_t i = 0; i < TILE; i++) {
        row[i] = out[i * TILE] + out[i * TILE + 1];
        WINO_UNROLL for (int64_t j = 2; j < TILE; j += 2) row[i] += out[i * TILE + j] + out[i * TILE + j + 1];
    }
    WINO_UNROLL for (int64_t n = TILE / 2; n > 0; n /= 2)
        WINO_UNROLL for (int64_t i = 0; i < n; i++) row[i] += row[i + n];
    const WINO_VEC nothing = row[0] - row[0];   /* +0, which has no bits, or NaN */
    uint32_t words[sizeof(WINO_VEC) / 4], bad = 0;
    __builtin_memcpy(words, &nothing, sizeof words);
    WINO_UNROLL for (int64_t i = 0; i < (int64_t)(sizeof words / 4); i++) bad |= words[i];
    return bad != 0;
}

#ifdef POOL_H
/* The largest value of a window of the tile's results, as conv2d.h chooses it; beyond P and Q the last row and column again. */
#define WINO_FINISH do {                                                                                  \
    for (int64_t i = 0; i < rows; i += (POOL_H))                                                          \
        for (int64_t j = 0; j < across; j += (POOL_W)) {                                                  \
            if ((p0 + i) / (POOL_H) >= (PP) || (q0 + j) / (POOL_W) >= (PQ)) continue;                     \
            T value[LANES] __attribute__((aligned(64))), best[LANES] __attribute__((aligned(64)));        \
            int32_t code[LANES] __attribute__((aligned(64)));                                             \
            WINO_UNROLL for (int32_t k = 0; k < (POOL_H) * (POOL_W); k++) {                               \
                const int64_t i_k = WINO_MIN(i + k / (POOL_W), rows - 1), j_k = WINO_MIN(j + k % (POOL_W), across - 1); \
                const T *from = (const T *)(out + i_k * TILE + j_k);                                      \
                _Pragma("omp simd")                                                                       \
                for (int64_t l = 0; l < LANES; l++) value[l] = VALUE(b, o, p0 + i_k, q0 + j_k, l, from[l]); \
                _Pragma("omp simd")                                                                       \
                for (int64_t l = 0; l < LANES; l++) {                                                     \
                    const T x_k = value[l], best_l = best[l];                                             \
                    const int taken = (k == 0) | (x_k > best_l) | ((x_k != x_k) & (best_l == best_l));    \
                    best[l] = taken ? x_k : best_l;                                                       \
                    code[l] = taken ? k : code[l];                                                        \
                }                                                                                         \
            }                                                                                             \
            _Pragma("omp simd")                                                                           \
            for (int64_t l = 0; l < LANES; l++) {                                                         \
                STORE_y(b, o, (p0 + i) / (POOL_H), (q0 + j) / (POOL_W), l, best[l]);                      \
                STORE_code(b, o, (p0 + i) / (POOL_H), (q0 + j) / (POOL_W), l, code[l]);                   \
            }                                                                                             \
        }                                                                                                 \
} while (0)
#else
#define WINO_FINISH do {                                                                                  \
    for (int64_t i = 0; i < rows; i++)                                                                    \
        for (int64_t j = 0; j < across; j++) {                                                            \
            const T *from = (const T *)(out + i * TILE + j);                                              \
            _Pragma("omp simd")                                                                           \
            for (int64_t l = 0; l < LANES; l++) { STORE_y(b, o, p0 + i * (DH), q0 + j * (DW), l, from[l]); } \
        }                                                                                                 \
} while (0)
#endif

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    WINO_CUTS;
    _Static_assert(sizeof(WINO_VEC[WINO_ROOM]) <= WINO_BYTES, "the room of a thread");
    WINO_VEC *const room = (WINO_VEC *)winograd_room;
    const int64_t all = WINO_ALL, plane_v = WINO_PLANE(all), plane_m = WINO_PLANE(WINO_MANY);
    WINO_VEC *const v = room, *const m = room + WINO_PLANES * plane_v;

    for (int64_t block = begin; block < end; block++) {
        const int64_t first_t = block / cuts * WINO_WIDE, cut = block % cuts;
        const int64_t first_o = panels * cut / cuts * (PANEL), last_o = panels * (cut + 1) / cuts * (PANEL);
        for (int64_t o0 = first_o; o0 < last_o; o0 += WINO_MANY) {
            const int64_t many = WINO_MIN(WINO_MANY, last_o - o0);
            for (int64_t c0 = 0; c0 < (CIN); c0 += all) {
                const int64_t channels = WINO_MIN(all, (CIN) - c0);
                for (int64_t c = c0; c < c0 + channels && (o0 == first_o || channels < (CIN)); c++)
                    for (int64_t j = 0; j < WINO_WIDE; j++) {   /* beyond the last tile: that again */
                        const int64_t t = WINO_MIN(first_t + j, tiles - 1);
                        WINO_PIXELS(t, c, v + (c - c0) * WINO_WIDE + j, plane_v, j > 0);
                    }
                for (int64_t k = 0; k < WINO_PLANES; k++)
                    for (int64_t r = 0; r < many; r += WINO_TALL)
                        WINO_NAME(product)(PTR_u(k, (o0 + r) / (PANEL), c0) + (o0 + r) % (PANEL), v + k * plane_v,
                                           m + k * plane_m + r * WINO_WIDE, channels, c0 > 0);
            }
            for (int64_t o = o0; o < WINO_MIN(O, o0 + many); o++)
                for (int64_t t = first_t; t < WINO_MIN(tiles, first_t + WINO_WIDE); t++) {
                    const int64_t b = t / (lines * columns), p0 = WINO_ROW(t), q0 = WINO_COLUMN(t);
                    const int64_t rows = p0 < (P) ? WINO_MIN(TILE, WINO_CUT((P) - p0, DH)) : 0;
                    const int64_t across = q0 < (Q) ? WINO_MIN(TILE, WINO_CUT((Q) - q0, DW)) : 0;
                    WINO_VEC out[TILE * TILE];
                    WINO_NAME(back)(m + (o - o0) * WINO_WIDE + t - first_t, plane_m, out);
                    if (__builtin_expect(WINO_NAME(doubtful)(out), 0)) WINO_SUMS(out);
                    WINO_FINISH;
                }
        }
    }
}

#undef WINO_PASTE_
#undef WINO_PASTE
#undef WINO_NAME
#undef WINO_UNROLL
#undef WINO_ROLLED
#undef WINO_INLINE
#undef WINO_VEC
#undef WINO_CUT
#undef WINO_MIN
#undef WINO_SIDE
#undef WINO_PLANES
#undef WINO_AHEAD
#undef WINO_LINE
#undef WINO_LINES
#undef WINO_ROW
#undef WINO_COLUMN
#undef WINO_AT
#undef WINO_PIXELS
#undef WINO_WIDE
#undef WINO_TALL
#undef WINO_ALL
#undef WINO_MANY
#undef WINO_PLANE
#undef WINO_APART
#undef WINO_ROOM
#undef WINO_CUTS
#undef WINO_SUMS
#undef WINO_FINISH
