/* conv2d_rows.h: two-dimensional convolution along rows, for filters that see few channels of images in the plain layout
 *
 *     y[n,o,p,q] = sum over c, u, v of x[n, g*C + c, h, w] * w[o,c,u,v]
 *     h = p*SH + u*DH - PH,   w = q + v*DW - PW,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (u, v) for which (h, w) is inside the image; summed over c, u, v in order, in one accumulator per element.
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, PH, PW, DH, DW, GROUPS;  KH, KW, SH, DH, DW are small constants
 * Hooks   LOAD_x(n,c,h,w)         value; should go to the next one in memory along w
 *         LOAD_w(o,c,u,v)         value; c counts inside the group
 *         STORE_y(n,o,p,q,value)  statement; run once per element, lane by lane along q
 *
 * Tiling: LANES neighbouring columns of TALL rows of y are summed in registers. A row of x is loaded once for each v, and goes
 * to all rows of the tile that see it, each through a u of its own; the weights stay in registers, too.
 *
 *        x    row i   +---------------------+           SH = DH = 1, KH = 3:
 *             v = 0   [ LANES columns ]                 acc[i]     += x * w[0][v]
 *             v = 1     [ LANES columns ]               acc[i - 1] += x * w[1][v]
 *             v = 2       [ LANES columns ]             acc[i - 2] += x * w[2][v]
 *
 * The last tile of a row, and of a column of tiles, begins earlier, so that it is whole; what it works out again is not stored
 * again. The sums of a strip of tiles wait in `sums`. In a tile that reaches beyond the image (EDGE) a sum keeps what it was where
 * a column does not see the image through v: no product with padding is formed.
 * One block is one channel of one image (and a part of its rows, if there would be fewer than 16).
 */
#ifndef KERNEL
#define KERNEL conv2d_rows
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

#define CONV_PASTE_(kernel, name) kernel##_##name
#define CONV_PASTE(kernel, name) CONV_PASTE_(kernel, name)
#define CONV_NAME(name) CONV_PASTE(KERNEL, name)
#define CONV_UNROLL _Pragma("GCC unroll 64")
#define CONV_ROLLED _Pragma("GCC unroll 1")
#define CONV_VEC CONV_NAME(vec)
#define CONV_MASK CONV_NAME(mask)
#define CONV_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define CONV_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define CONV_MAX(x, y) ((int64_t)(x) > (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define CONV_TALL 4
#define CONV_STRIP 256   /* columns whose sums wait */

#if LANES == 1
typedef T CONV_VEC;
typedef int CONV_MASK;
#define CONV_CHOSEN(mask, x, y) ((mask) ? (x) : (y))
#else
typedef T CONV_VEC __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
typedef __typeof__((CONV_VEC){0} < (CONV_VEC){0}) CONV_MASK;   /* all bits of a lane where it is true */
#define CONV_CHOSEN(mask, x, y) ((CONV_VEC)(((CONV_MASK)(x) & (mask)) | ((CONV_MASK)(y) & ~(mask))))
#endif

/* The constants of one instance: rows of a tile, tiles of a channel, and in how many blocks they are cut. */
#define CONV_SIZES                                                                                        \
    const int64_t tall = (P) >= CONV_TALL ? CONV_TALL : 1, tiles = CONV_CUT(P, tall);                     \
    const int64_t apart = (N) * (O), chunks = apart >= 16 ? 1 : CONV_MIN(tiles, CONV_CUT(16, apart + !apart))

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    CONV_SIZES;
    return apart * chunks;
}

/* The sums of R rows from p0 on and LANES columns from q on, to `to`, rows CONV_STRIP + LANES apart. */
#define CONV_TILE(R, EDGE, to) do {                                                                       \
    CONV_VEC acc[CONV_TALL];                                                                              \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++) acc[r] = (CONV_VEC){0};                                 \
    CONV_ROLLED for (int64_t c = 0; c < (CIN) / (GROUPS); c++)                                            \
        CONV_UNROLL for (int64_t i = 0; i <= ((R) - 1) * (SH) + ((KH) - 1) * (DH); i++) {                 \
            const int64_t h = p0 * (SH) + i - (PH);                                                       \
            if (h < 0 || h >= (H)) continue;                                                              \
            CONV_UNROLL for (int64_t v = 0; v < (KW); v++) {                                              \
                const int64_t first_w = q + v * (DW) - (PW);                                              \
                const T inside0 = (T)CONV_MIN(LANES, -first_w), inside1 = (T)CONV_MAX(0, CONV_MIN(LANES, (W) - first_w)); \
                T x_v[LANES] __attribute__((aligned(64)));                                                \
                _Pragma("omp simd")                                                                       \
                for (int64_t l = 0; l < LANES; l++)                                                       \
                    x_v[l] = !(EDGE) || ((ramp[l] >= inside0) & (ramp[l] < inside1)) ? LOAD_x(n, g * ((CIN) / (GROUPS)) + c, h, first_w + l) : 0; \
                const CONV_VEC x_i = *(const CONV_VEC *)x_v, lane = *(const CONV_VEC *)ramp;              \
                const CONV_MASK seen = (lane >= inside0) & (lane < inside1);                              \
                (void)seen;                                                                               \
                CONV_UNROLL for (int64_t r = 0; r < (R); r++) {                                           \
                    const int64_t t = i - r * (SH);                                                       \
                    if (t < 0 || t % (DH) || t / (DH) >= (KH)) continue;                                  \
                    const CONV_VEC sum = acc[r] + x_i * LOAD_w(o, c, t / (DH), v);                        \
                    acc[r] = (EDGE) ? CONV_CHOSEN(seen, sum, acc[r]) : sum;                               \
                }                                                                                         \
            }                                                                                             \
        }                                                                                                 \
    CONV_UNROLL for (int64_t r = 0; r < (R); r++) *(CONV_VEC *)((to) + r * (CONV_STRIP + LANES)) = acc[r]; \
} while (0)
/* Tile after tile of columns q0 ... q1 - 1, the last one first: so no sum is read back that lies in two stores. */
#define CONV_TILES(R) do {                                                                                \
    CONV_ROLLED for (int64_t j = CONV_CUT(q1 - q0, LANES) - 1; j >= 0; j--) {                             \
        const int64_t q = CONV_MAX(q0, CONV_MIN(q0 + j * LANES, q1 - LANES));                             \
        if (q - (PW) >= 0 && q + LANES - 1 + ((KW) - 1) * (DW) - (PW) < (W)) CONV_TILE(R, 0, sums + q - q0); \
        else CONV_TILE(R, 1, sums + q - q0);                                                              \
    }                                                                                                     \
} while (0)

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    CONV_SIZES;
    T sums[CONV_TALL * (CONV_STRIP + LANES)] __attribute__((aligned(64)));
    T ramp[LANES] __attribute__((aligned(64)));   /* 0, 1, 2 ... */
    for (int64_t l = 0; l < LANES; l++) ramp[l] = (T)l;

    for (int64_t block = begin; block < end; block++) {
        const int64_t n = block / ((O) * chunks), o = block / chunks % (O), chunk = block % chunks, g = o / ((O) / (GROUPS));
        for (int64_t tile = tiles * chunk / chunks; tile < tiles * (chunk + 1) / chunks; tile++) {
            const int64_t p0 = CONV_MIN(tile * tall, (P) - tall);
            for (int64_t q0 = 0; q0 < (Q); q0 += CONV_STRIP) {
                const int64_t q1 = CONV_MIN(Q, q0 + CONV_STRIP);
                if ((P) >= CONV_TALL) CONV_TILES(CONV_TALL);
                else CONV_TILES(1);
                for (int64_t p = tile * tall; p < p0 + tall; p++) {
                    const T *from = sums + (p - p0) * (CONV_STRIP + LANES) - q0;
                    _Pragma("omp simd")
                    for (int64_t q = q0; q < q1; q++) { STORE_y(n, o, p, q, from[q]); }
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
#undef CONV_MASK
#undef CONV_CUT
#undef CONV_MIN
#undef CONV_MAX
#undef CONV_TALL
#undef CONV_STRIP
#undef CONV_CHOSEN
#undef CONV_SIZES
#undef CONV_TILE
#undef CONV_TILES
