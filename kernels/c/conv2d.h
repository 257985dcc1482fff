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
    const int64_t columns = CONV_CUT(Q, UP_W), group_o = (O) / (GROUPS), group_c = (CIN) / (GROUPS);      \
    const int fixed = __builtin_constant_p(O) && __builtin_constant_p(Q);                                 \
    const int64_t wide = __builtin_constant_p(Q) ? CONV_NAME(wide)(columns) : REGISTERS >= 32 ? 6 : 4;    \
    const int64_t most = REGISTERS >= 32 ? 24 / wide : wide == 4 ? 3 : 12 / (wide + 1);                   \
    const int64_t tiles = CONV_CUT(group_o, most);                                                        \
    const int64_t chunks = CONV_NAME(chunks)((NB) * (P), tiles * (GROUPS));                               \
    (void)group_c; (void)fixed

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    CONV_SIZES;
    return (NB) * (P) * chunks;
}

/* R channels from o on, `wide` columns from i0 on. EDGE: ask for every column whether it exists and sees the image. */
#define CONV_TILE(R, o, EDGE) do {                                                                        \
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
            *(CONV_VEC *)(tile + (r * wide + j) * LANES) = acc[r][j];                                     \
    CONV_ROLLED for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_ROLLED for (int64_t j = 0; j < existing; j++) {                                              \
            const T *from = tile + (r * wide + j) * LANES;                                                \
            _Pragma("omp simd")                                                                           \
            for (int64_t l = 0; l < LANES; l++) {                                                         \
                STORE_y(b, (o) + r, p, residue + (UP_W) * (i0 + j), l, from[l]);                          \
            }                                                                                             \
        }                                                                                                 \
} while (0)
/* R channels from o on, the one column q. */
#define CONV_COLUMN(R, o) do {                                                                            \
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
    CONV_ROLLED for (int64_t r = 0; r < (R); r++) *(CONV_VEC *)(tile + r * LANES) = acc[r];               \
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
#undef CONV_TILE
#undef CONV_TILE_ROWS
#undef CONV_COLUMN
#undef CONV_SLIM
