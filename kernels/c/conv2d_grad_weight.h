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
 * Hooks   PTR_x(b,c,h,w), PTR_g(b,o,p,q)   address of LANES values; LANES apart along w and q
 *         STORE_y(r,o,c,u,v,value)         statement; run once per element
 *
 * Tiling: TALL output channels by WIDE weights of one kernel row u (neighbours in v; in c where KW is 1 or 2)
 * are summed in registers while b, p, q run.
 *
 *                        q ->                        for b, p, q:   acc[o][v] += gy[o, q] * x[q + v]
 *        gy[o]      +---+---+---+---+ .                             TALL + WIDE loads,
 *                   | q |   |   |                                   TALL * WIDE fused multiply-adds
 *        x[c,h]     +---+---+---+---+---+---+ .
 *                   |v=0|v=1|v=2|   |   |
 *
 * Near the border, the weights that see no image through column q are skipped one by one.
 * One block is one register tile of one part.
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

#define CONV_WIDE_MAX 6
#define CONV_TALL_MAX (REGISTERS >= 32 ? 8 : 4)

/* The constants of one instance. wide_v * wide_c weights by `most` channels: 5*5, 6*4, 4*6, 3*8 (3*3, 4*2 with few registers). */
#define CONV_SIZES                                                                                        \
    const int64_t group_o = (O) / (GROUPS), group_c = (CIN) / (GROUPS);                                   \
    const int fixed = __builtin_constant_p(O) && __builtin_constant_p(KW);                                \
    const int64_t wide_limit = REGISTERS >= 32 ? 6 : 4;                                                   \
    const int64_t wide_v = __builtin_constant_p(KW) ? CONV_CUT(KW, CONV_CUT(KW, wide_limit)) : 3;         \
    const int64_t wide_c = wide_v == 1 ? 4 : wide_v == 2 ? 2 : 1;                                         \
    const int64_t wide = wide_v * wide_c;                                                                 \
    const int64_t most = REGISTERS >= 32 ? (wide == 5 ? 5 : 24 / wide) : wide >= 4 ? 2 : 3;               \
    const int64_t tiles_o = CONV_CUT(group_o, most), tiles_c = CONV_CUT(group_c, wide_c);                 \
    const int64_t tiles_v = CONV_CUT(KW, wide_v);                                                         \
    (void)fixed

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    CONV_SIZES;
    return (PARTS) * (GROUPS) * tiles_o * tiles_c * (KH) * tiles_v;
}

/* acc += gy[R channels] * x[wide weights] at column q of output row p of image block b */
#define CONV_STEP(R, o, EDGE) do {                                                                        \
    CONV_VEC g_r[CONV_TALL_MAX];                                                                          \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++) g_r[r] = *(const CONV_VEC *)(row_g[r] + q * LANES);     \
    const T *x_q[CONV_WIDE_MAX];                                                                          \
    CONV_UNROLL for (int64_t i = 0; i < wide_c; i++) {                                                    \
        x_q[i] = row_x[i] + (q * (SW) + v0 * (DW) - (PW)) * LANES;                                        \
        CONV_FORGET(x_q[i]);                                                                              \
    }                                                                                                     \
    CONV_UNROLL for (int64_t j = 0; j < wide; j++) {                                                      \
        const int64_t w = q * (SW) + (v0 + j % wide_v) * (DW) - (PW);                                     \
        if (EDGE && ((w < 0) | (w >= (W)))) continue;                                                     \
        const CONV_VEC x_j = *(const CONV_VEC *)(x_q[j / wide_v] + (j % wide_v) * (DW) * LANES);          \
        CONV_UNROLL for (int64_t r = 0; r < (R); r++) acc[r][j] += g_r[r] * x_j;                          \
    }                                                                                                     \
} while (0)
/* R channels from o on. Channels c and weights v past the end repeat the last one, and are not stored. */
#define CONV_TILE(R, o) do {                                                                              \
    CONV_VEC acc[CONV_TALL_MAX][CONV_WIDE_MAX];                                                           \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int64_t j = 0; j < wide; j++) acc[r][j] = (CONV_VEC){0};                         \
    CONV_ROLLED for (int64_t b = first_b; b < last_b; b++)                                                \
        CONV_ROLLED for (int64_t p = p0; p < p1; p++) {                                                   \
            const T *row_x[CONV_WIDE_MAX], *row_g[CONV_TALL_MAX];                                         \
            const int64_t h = p * (SH) + u * (DH) - (PH);                                                 \
            CONV_UNROLL for (int64_t i = 0; i < wide_c; i++)                                              \
                row_x[i] = PTR_x(b, g * group_c + CONV_MIN(c0 + i, group_c - 1), h, 0);                   \
            CONV_UNROLL for (int64_t r = 0; r < (R); r++) row_g[r] = PTR_g(b, (o) + r, p, 0);             \
            CONV_ROLLED for (int64_t q = 0; q < q0; q++) CONV_STEP(R, o, 1);                              \
            CONV_ROLLED for (int64_t q = q0; q < q1; q++) CONV_STEP(R, o, 0);                             \
            CONV_ROLLED for (int64_t q = q1; q < (Q); q++) CONV_STEP(R, o, 1);                            \
        }                                                                                                 \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_UNROLL for (int64_t j = 0; j < wide; j++)                                                    \
            *(CONV_VEC *)(tile + (r * wide + j) * LANES) = acc[r][j];                                     \
    CONV_ROLLED for (int64_t r = 0; r < (R); r++)                                                         \
        CONV_ROLLED for (int64_t j = 0; j < wide; j++) {                                                  \
            const T *from = tile + (r * wide + j) * LANES;                                                \
            const int64_t c = c0 + j / wide_v, v = v0 + j % wide_v;                                       \
            T sum = 0;                                                                                    \
            for (int64_t l = 0; l < LANES; l++) sum += from[l];                                           \
            if (c < group_c && v < (KW)) { STORE_y(part, (o) + r, c, u, v, sum); }                        \
        }                                                                                                 \
} while (0)

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    CONV_SIZES;
    T tile[CONV_TALL_MAX * CONV_WIDE_MAX * LANES] __attribute__((aligned(64)));
    const int64_t height = fixed ? CONV_CUT(group_o, tiles_o + !tiles_o) : most;
    const int64_t full = fixed ? group_o - tiles_o * (height - 1) : tiles_o;   /* tiles of that height; the others have one less */

    for (int64_t block = begin; block < end; block++) {
        int64_t rest = block;
        const int64_t v0 = rest % tiles_v * wide_v; rest /= tiles_v;
        const int64_t u = rest % (KH); rest /= (KH);
        const int64_t c0 = rest % tiles_c * wide_c; rest /= tiles_c;
        const int64_t t = rest % tiles_o; rest /= tiles_o;
        const int64_t g = rest % (GROUPS), part = rest / (GROUPS);
        const int64_t first_b = (NB) * part / (PARTS), last_b = (NB) * (part + 1) / (PARTS);
        const int64_t first_o = g * group_o + (t < full ? t * height : full + t * (height - 1));
        /* the p for which 0 <= p*SH + u*DH - PH < H; the q for which all weights of the tile see the image */
        const int64_t above = (PH) - u * (DH), below = (H) + above;
        const int64_t p0 = above > 0 ? CONV_CUT(above, SH) : 0;
        const int64_t p1 = below > 0 ? CONV_MIN(P, CONV_CUT(below, SH)) : 0;
        const int64_t left = (PW) - v0 * (DW), right = (W) + (PW) - (v0 + wide_v - 1) * (DW);
        const int64_t q0 = CONV_MIN(Q, left > 0 ? CONV_CUT(left, SW) : 0);
        const int64_t q1 = CONV_MAX(q0, right > 0 ? CONV_MIN(Q, CONV_CUT(right, SW)) : 0);
        if (fixed && t < full) CONV_TILE(height, first_o);
        else if (fixed) CONV_TILE(height - 1, first_o);
        else if (t * most + most <= group_o) CONV_TILE(most, first_o);
        else for (int64_t o = first_o; o < (g + 1) * group_o; o++) CONV_TILE(1, o);
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
#undef CONV_SIZES
#undef CONV_STEP
#undef CONV_TILE
