/* conv2d_winograd_grad_weight.h: gradient of a convolution with respect to its filters of 3 x 3, with fewer multiplications
 *
 *     m[r,k,c,o] = sum over the tiles t of part r, l of (B^T d B)[k, c, t, l] * (A g A^T)[k, o, t, l]
 *
 * d being the K x K pixels that tile t of the results sees, g the gradient of its TILE x TILE results; B and A are those of
 * conv2d_winograd.h, which this is the transpose of. winograd_weights.h makes the gradient of m. The padding lanes of x and g must
 * be zero. winograd_tile.h is pasted before this text; the tiles and their V are made there.
 *
 * Error: with X and Y the largest |x| and |g|, of a weight at most about (n + 32) * epsilon * 2304 * X * Y for TILE = 4, 64 instead
 * of 2304 for TILE = 2, of n results in all images; of ordinary numbers 3 to 7 times that of conv2d_grad_weight.h, 1.4 times for TILE = 2.
 * What comes of an infinity or a NaN is mended in winograd_weights.h.
 *
 * Layout: x is [NB][CIN][H][W][LANES], g is [NB][O][P][Q][LANES]: lane l of block b is image b * LANES + l.
 *         m is [PARTS][K*K][CPAD][OPAD], CPAD and OPAD being CIN and O, rounded up to multiples of 8 and LANES.
 *
 * Sizes   NB, CIN, H, W, O, P, Q, PH, PW, DH and DW (1), TILE (2 or 4), CPAD, OPAD, PARTS
 * Hooks   PTR_x(b,c,h,w), PTR_g(b,o,p,q)   address of LANES values; LANES apart along w and q
 *         PTR_m(r,k,c,o)                   address of what comes of k, c, o and those behind it
 *
 * Order: one block is a part's tiles by MANY channels c by MANY o; DEEP tiles at a time go through all stages while V and S stay in L2.
 *
 *        V[k][c][n]: pixels, n = j*LANES + l the images of tile j               for k, for TALL channels c, WIDE vectors of o:
 *        S[k][n][o]: gradients, transformed, then turned so that o is             m[k][c][o] into registers
 *                    innermost: LANES x LANES elements by perfect shuffles        for n: TALL broadcasts, WIDE loads and
 *                                                                                 TALL * WIDE fused multiply-adds
 *                                                                                 and back
 */
#ifndef PARAMS
#define PARAMS const T *restrict x, const T *restrict g, T *restrict m, int64_t NB, int64_t CIN, int64_t H, int64_t W, int64_t O, int64_t P, int64_t Q
#define PARTS 1
#define CPAD (((CIN) + 7) / 8 * 8)
#define OPAD (((O) + LANES - 1) / LANES * LANES)
#define PTR_x(b, c, h, w_) (x + ((((b) * (CIN) + (c)) * (H) + (h)) * (W) + (w_)) * LANES)
#define PTR_g(b, o, p, q) (g + ((((b) * (O) + (o)) * (P) + (p)) * (Q) + (q)) * LANES)
#define PTR_m(r, k, c, o) (m + (((r) * WINO_PLANES + (k)) * (CPAD) + (c)) * (OPAD) + (o))
#endif
#define WINO_MANY 128   /* channels of a block, on either side; a multiple of LANES */
#define WINO_DEEP ((CIN) <= 64 && (O) <= 64 ? 3 : 2)
#define WINO_TALL (REGISTERS >= 32 ? 8 : 4)
#define WINO_WIDE 2
#define WINO_PLANE(vectors) ((vectors) | 1)   /* vectors of a plane of V or S: odd, so that planes do not meet in the sets of a cache */
#define WINO_ROOM (2 * WINO_PLANES * (WINO_MANY * 2 + 1))

#define WINO_CUTS                                                                                         \
    WINO_LINE;                                                                                            \
    const int64_t cuts_c = WINO_CUT(CIN, WINO_MANY), cuts_o = WINO_CUT(O, WINO_MANY);                     \
    (void)cuts_c; (void)cuts_o

__attribute__((unused)) static int64_t WINO_NAME(blocks)(PARAMS) {
    WINO_CUTS;
    return (PARTS) * cuts_c * cuts_o;
}

/* to = A from: of one line of TILE vectors K, `step` and `apart` from one another */
WINO_INLINE void WINO_NAME(spread)(const WINO_VEC *from, int64_t step, WINO_VEC *to, int64_t apart) {
    const WINO_VEC g0 = from[0], g1 = from[step];
#if TILE == 4
    const WINO_VEC g2 = from[2 * step], g3 = from[3 * step];
    const WINO_VEC even = g0 + g2, odd = g1 + g3, even2 = g0 + g2 * 4, odd2 = g1 * 2 + g3 * 8;
    to[0] = g0;
    to[apart] = even + odd;
    to[2 * apart] = even - odd;
    to[3 * apart] = even2 + odd2;
    to[4 * apart] = even2 - odd2;
    to[5 * apart] = g3;
#else
    to[0] = g0;
    to[apart] = g0 + g1;
    to[2 * apart] = g0 - g1;
    to[3 * apart] = -g1;
#endif
}

/* A g A^T of one tile and channel, `plane` vectors from one k to the next; rows and columns beyond `rows`, `across` are 0. */
WINO_INLINE void WINO_NAME(results)(const T *const *rows, int64_t across, int whole, WINO_VEC *to, int64_t plane) {
    WINO_VEC half[TILE * WINO_SIDE];
    WINO_ROLLED for (int64_t j = 0; j < TILE; j++) {
        WINO_VEC g_j[TILE];
        WINO_UNROLL for (int64_t i = 0; i < TILE; i++)
            g_j[i] = whole || (rows[i] && j < across) ? *(const WINO_VEC *)(rows[i] + j * LANES) : (WINO_VEC){0};
        WINO_NAME(spread)(g_j, 1, half + j, TILE);
    }
    WINO_ROLLED for (int64_t i = 0; i < WINO_SIDE; i++)
        WINO_NAME(spread)(half + i * TILE, 1, to + i * WINO_SIDE * plane, plane);
}

#if LANES > 1
/* The lower or upper halves of two vectors, element by element in turn. */
#if LANES == 16
#define WINO_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define WINO_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define WINO_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define WINO_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define WINO_LOW 0, 4, 1, 5
#define WINO_HIGH 2, 6, 3, 7
#else
#define WINO_LOW 0, 2
#define WINO_HIGH 1, 3
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define WINO_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
typedef __typeof__((WINO_VEC){0} < (WINO_VEC){0}) WINO_NAME(numbers);
#define WINO_SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (WINO_NAME(numbers)){__VA_ARGS__})
#endif
#endif

/* LANES vectors of LANES elements, turned; those of the result are `apart` from one another. */
WINO_INLINE void WINO_NAME(turn)(const WINO_VEC *from, WINO_VEC *to, int64_t apart) {
    WINO_VEC x[LANES];
    WINO_UNROLL for (int l = 0; l < LANES; l++) x[l] = from[l];
#if LANES > 1
    WINO_VEC z[LANES];
    WINO_UNROLL for (int round = 1; round < LANES; round *= 2) {
        WINO_UNROLL for (int l = 0; l < LANES / 2; l++) {
            z[2 * l] = WINO_SHUFFLE(x[l], x[l + LANES / 2], WINO_LOW);
            z[2 * l + 1] = WINO_SHUFFLE(x[l], x[l + LANES / 2], WINO_HIGH);
        }
        WINO_UNROLL for (int l = 0; l < LANES; l++) x[l] = z[l];
    }
#endif
    WINO_UNROLL for (int l = 0; l < LANES; l++) to[l * apart] = x[l];
}

/* m[TALL][wide vectors] += v[TALL][n] * s[n][wide vectors], of rows `row_m`, `row_v` elements and `row_s` vectors apart */
WINO_INLINE void WINO_NAME(product)(const T *v, int64_t row_v, const WINO_VEC *s, int64_t row_s, T *m, int64_t row_m, int64_t depth, int wide) {
    WINO_VEC acc[WINO_TALL][WINO_WIDE];
    WINO_UNROLL for (int64_t r = 0; r < WINO_TALL; r++)
        WINO_UNROLL for (int64_t j = 0; j < wide; j++) acc[r][j] = *(WINO_VEC *)(m + r * row_m + j * LANES);
    WINO_ROLLED for (int64_t n = 0; n < depth; n++) {
        WINO_UNROLL for (int64_t r = 0; r < WINO_TALL; r++)
            WINO_UNROLL for (int64_t j = 0; j < wide; j++) acc[r][j] += s[j] * v[r * row_v + n];
        s += row_s;
    }
    WINO_UNROLL for (int64_t r = 0; r < WINO_TALL; r++)
        WINO_UNROLL for (int64_t j = 0; j < wide; j++) *(WINO_VEC *)(m + r * row_m + j * LANES) = acc[r][j];
}

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    WINO_CUTS;
    _Static_assert(sizeof(WINO_VEC[WINO_ROOM]) <= WINO_BYTES, "the room of a thread");
    WINO_VEC *const room = (WINO_VEC *)winograd_room, apart[WINO_PLANES * LANES] __attribute__((aligned(64)));
    for (int64_t block = begin; block < end; block++) {
        const int64_t part = block / (cuts_c * cuts_o), c0 = block / cuts_o % cuts_c * WINO_MANY, o0 = block % cuts_o * WINO_MANY;
        const int64_t count_c = WINO_MIN(WINO_MANY, (CIN) - c0), count_o = WINO_MIN(WINO_MANY, (O) - o0);
        const int64_t padded_c = WINO_CUT(count_c, 8) * 8, groups = WINO_CUT(count_o, LANES);
        const int64_t plane_v = WINO_PLANE(padded_c * WINO_DEEP), plane_s = WINO_PLANE(groups * LANES * WINO_DEEP);
        WINO_VEC *const v = room, *const s = room + WINO_PLANES * plane_v;
        const int64_t first_t = tiles * part / (PARTS), last_t = tiles * (part + 1) / (PARTS);
        for (int64_t i = 0; i < WINO_PLANES * plane_v; i++) v[i] = (WINO_VEC){0};   /* also the channels that pad */
        for (int64_t k = 0; k < WINO_PLANES; k++)
            for (int64_t c = 0; c < padded_c; c++)
                for (int64_t o = 0; o < groups * LANES; o++) *(PTR_m(part, k, c0 + c, o0) + o) = 0;

        for (int64_t t0 = first_t; t0 < last_t; t0 += WINO_DEEP) {
            const int64_t deep = WINO_MIN(WINO_DEEP, last_t - t0);
            for (int64_t c = 0; c < count_c; c++)
                for (int64_t j = 0; j < deep; j++) WINO_PIXELS(t0 + j, c0 + c, v + c * WINO_DEEP + j, plane_v, j > 0);
            for (int64_t group = 0; group < groups; group++)
                for (int64_t j = 0; j < deep; j++) {
                    const int64_t t = t0 + j, b = t / (lines * columns), p0 = WINO_ROW(t), q0 = WINO_COLUMN(t);
                    const int64_t across = WINO_MIN(TILE, (Q) - q0);
                    for (int64_t i = 0; i < LANES; i++) {
                        const int64_t o = group * LANES + i;
                        const T *rows[TILE];
                        for (int64_t y = 0; y < TILE; y++)
                            rows[y] = o < count_o && p0 + y < (P) ? PTR_g(b, o0 + WINO_MIN(o, count_o - 1), p0 + y, q0) : 0;
                        if (o < count_o && p0 + TILE <= (P) && across == TILE) WINO_NAME(results)(rows, across, 1, apart + i, LANES);
                        else WINO_NAME(results)(rows, across, 0, apart + i, LANES);
                    }
                    WINO_ROLLED for (int64_t k = 0; k < WINO_PLANES; k++)
                        WINO_NAME(turn)(apart + k * LANES, s + k * plane_s + j * LANES * groups + group, groups);
                }
            for (int64_t k = 0; k < WINO_PLANES; k++)
                for (int64_t group = 0; group < groups; group += WINO_WIDE)
                    for (int64_t c = 0; c < padded_c; c += WINO_TALL) {
                        const T *const v_c = (const T *)(v + k * plane_v + c * WINO_DEEP);
                        const WINO_VEC *const s_k = s + k * plane_s + group;
                        T *const to = PTR_m(part, k, c0 + c, o0) + group * LANES;
                        const int64_t row_v = WINO_DEEP * LANES;
                        if (group + WINO_WIDE <= groups) WINO_NAME(product)(v_c, row_v, s_k, groups, to, OPAD, deep * LANES, WINO_WIDE);
                        else WINO_NAME(product)(v_c, row_v, s_k, groups, to, OPAD, deep * LANES, 1);
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
#undef WINO_MANY
#undef WINO_DEEP
#undef WINO_TALL
#undef WINO_WIDE
#undef WINO_PLANE
#undef WINO_ROOM
#undef WINO_CUTS
#undef WINO_LOW
#undef WINO_HIGH
#undef WINO_SHUFFLE
