/* conv2d_rows.h: two-dimensional convolution along rows, for filters that see few channels of images in the plain layout
 *
 *     y[n,o,p,q] = sum over c, u, v of x[n, g*C + c, h, w] * w[o,c,u,v]
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (u, v) for which (h, w) is inside the image; in one accumulator per element, in an order that sizes alone decide.
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, GROUPS;  KH, KW, SH, SW, DH, DW are small constants
 *         HALVES is a constant: vectors of LANES / 2^HALVES numbers, for images that are narrower than LANES
 * Hooks   LOAD_x(n,c,h,w)         value; should go to the next one in memory along w
 *         LOAD_w(o,c,u,v)         value; c counts inside the group
 *         STORE_y(n,o,p,q,value)  statement; run once per element, lane by lane along q
 *
 * Tiling: a vector of neighbouring columns of up to CONV_MOST rows of y is summed in registers. A row of x is loaded once for each v,
 * and goes to all rows of the tile that see it, each through a u of its own; the weights of one v stay in registers, too.
 *
 *        x    row i   +---------------------+           SH = SW = DH = 1, KH = 3:
 *             v = 0   [ a vector        ]               acc[i]     += x * w[0][v]
 *             v = 1     [ a vector        ]             acc[i - 1] += x * w[1][v]
 *             v = 2       [ a vector        ]           acc[i - 2] += x * w[2][v]
 *
 * Columns that are SW apart read every SWth number of a row. It is loaded as it lies and taken apart into `phases`, in which lies
 * side by side what the columns read through one v; v that differ by less than SW share one load:
 *
 *        row          w0 w1 w2 w3 w4 w5 ..       SW = 2, KW = 3:   v = 0   phase 0 of the row from w0 on
 *        phases[0]    w0 w2 w4 ..                                  v = 1   phase 1
 *        phases[1]    w1 w3 w5 ..                                  v = 2   phase 0 of the row from w2 on
 *
 * The last tile of a row, and of a column of tiles, begins earlier, so that it is whole; what it works out again is not stored
 * again: the sums of the last tile wait in `last` until the others are done. In a tile that reaches beyond the image (EDGE) images and
 * weights are 0 where a column does not see the image through v: no weight meets padding, so that an infinite one makes no NaN there.
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
#ifndef HALVES
#define HALVES 0
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
#define CONV_LANES (LANES >> HALVES)
#define CONV_MOST (REGISTERS >= 32 ? 6 : 4)   /* rows of a tile at most */

#if CONV_LANES == 1
typedef T CONV_VEC;
typedef int CONV_MASK;
#define CONV_CHOSEN(mask, x, y) ((mask) ? (x) : (y))
#else
typedef T CONV_VEC __attribute__((vector_size(CONV_LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
typedef __typeof__((CONV_VEC){0} < (CONV_VEC){0}) CONV_MASK;   /* all bits of a lane where it is true */
#define CONV_CHOSEN(mask, x, y) ((CONV_VEC)(((CONV_MASK)(x) & (mask)) | ((CONV_MASK)(y) & ~(mask))))
#endif

/* A vector is in a register here: gcc would load it anew for each product, mostly across two lines of the cache. Vectors that are longer
 * than a register are left to the compiler. */
#if defined(__AVX512F__)
#define CONV_REGISTER 64
#elif defined(__AVX__)
#define CONV_REGISTER 32
#else
#define CONV_REGISTER 16
#endif
#if defined(__x86_64__)
#define CONV_HELD(vector) do { if (sizeof(vector) <= CONV_REGISTER) __asm__("" : "+v"(vector)); } while (0)
#elif defined(__aarch64__)
#define CONV_HELD(vector) do { if (sizeof(vector) <= CONV_REGISTER) __asm__("" : "+w"(vector)); } while (0)
#else
#define CONV_HELD(vector) (void)0
#endif

/* Rows of a tile: so many that all tiles are equally high where P is a constant, and what they have in common is little. */
#define CONV_TALL (__builtin_constant_p(P) ? CONV_CUT(P, CONV_MAX(1, CONV_CUT(P, CONV_MOST))) : (P) >= CONV_MOST ? CONV_MOST : 1)
/* The constants of one instance: rows of a tile, tiles of a channel, and in how many blocks they are cut. */
#define CONV_SIZES                                                                                        \
    const int64_t tall = CONV_TALL, tiles = CONV_CUT(P, CONV_MAX(1, tall));                               \
    const int64_t apart = (N) * (O), chunks = apart >= 16 ? 1 : CONV_MIN(tiles, CONV_CUT(16, apart + !apart))

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    CONV_SIZES;
    return apart * chunks;
}

/* Columns read through v are those read through 0, CONV_SHIFT(v) places on, in the same or another phase. */
#define CONV_SHIFT(v) ((v) * (DW) / (SW))
/* phases[s][l] = x[h, w + l * SW + s]; 0 outside the image, where EDGE. */
#define CONV_LOAD(EDGE, phases, h, w) do {                                                                \
    T row[(SW) * CONV_LANES] __attribute__((aligned(64)));                                                \
    const T inside0 = (T)CONV_MIN((SW) * CONV_LANES, -(w)), inside1 = (T)CONV_MAX(0, CONV_MIN((SW) * CONV_LANES, (W) - (w))); \
    _Pragma("omp simd")                                                                                   \
    for (int64_t l = 0; l < (SW) * CONV_LANES; l++)                                                       \
        row[l] = !(EDGE) || ((ramp[l] >= inside0) & (ramp[l] < inside1)) ? LOAD_x(n, g * ((CIN) / (GROUPS)) + c, h, (w) + l) : 0; \
    _Pragma("omp simd")                                                                                   \
    for (int64_t l = 0; l < CONV_LANES; l++)                                                              \
        CONV_UNROLL for (int64_t s = 0; s < (SW); s++) phases[s][l] = row[l * (SW) + s];                  \
} while (0)

/* R rows from p0 on, CONV_LANES columns from q on. Those of a whole tile are stored from row p1 on, others wait in `last`. */
#define CONV_TILE(R, EDGE) do {                                                                           \
    CONV_VEC acc[CONV_MOST];                                                                              \
    CONV_UNROLL for (int64_t r = 0; r < CONV_MOST; r++) acc[r] = (CONV_VEC){0};                           \
    CONV_ROLLED for (int64_t c = 0; c < (CIN) / (GROUPS); c++)                                            \
        CONV_UNROLL for (int64_t v0 = 0; v0 < (KW); v0++) {                                               \
            if (v0 > 0 && CONV_SHIFT(v0) == CONV_SHIFT(v0 - 1)) continue;                                 \
            CONV_UNROLL for (int64_t i = 0; i <= (CONV_MOST - 1) * (SH) + ((KH) - 1) * (DH); i++) {       \
                const int64_t h = p0 * (SH) + i - (PH);                                                   \
                T phases[SW][CONV_LANES] __attribute__((aligned(64)));                                    \
                if (i > ((R) - 1) * (SH) + ((KH) - 1) * (DH) || h < 0 || h >= (H)) continue;              \
                CONV_LOAD(EDGE, phases, h, w0 + CONV_SHIFT(v0) * (SW));                                   \
                CONV_UNROLL for (int64_t v = 0; v < (KW); v++) {                                          \
                    if (CONV_SHIFT(v) != CONV_SHIFT(v0)) continue;                                        \
                    const int64_t w_v = w0 + v * (DW);                                                    \
                    const T inside0 = (T)CONV_MIN(CONV_LANES, CONV_CUT(-w_v, SW));                        \
                    const T inside1 = (T)CONV_MAX(0, CONV_MIN(CONV_LANES, CONV_CUT((W) - w_v, SW)));      \
                    const CONV_VEC lane = *(const CONV_VEC *)ramp;                                        \
                    const CONV_MASK seen = (lane >= inside0) & (lane < inside1);                          \
                    CONV_VEC x_v = *(const CONV_VEC *)phases[v * (DW) % (SW)];                            \
                    CONV_HELD(x_v);                                                                       \
                    (void)seen;                                                                           \
                    CONV_UNROLL for (int64_t r = 0; r < CONV_MOST; r++) {                                 \
                        const int64_t t = i - r * (SH);                                                   \
                        if (r >= (R) || t < 0 || t % (DH) || t / (DH) >= (KH)) continue;                  \
                        const CONV_VEC weight = (CONV_VEC){0} + LOAD_w(o, c, t / (DH), v);                \
                        acc[r] += x_v * ((EDGE) ? CONV_CHOSEN(seen, weight, (CONV_VEC){0}) : weight);     \
                    }                                                                                     \
                }                                                                                         \
            }                                                                                             \
        }                                                                                                 \
    CONV_UNROLL for (int64_t r = 0; r < CONV_MOST; r++) {                                                 \
        if (r >= (R)) break;                                                                              \
        T made[CONV_LANES] __attribute__((aligned(64)));                                                  \
        *(CONV_VEC *)(whole ? made : last[r]) = acc[r];                                                   \
        if (!whole || p0 + r < p1) continue;                                                              \
        _Pragma("omp simd")                                                                               \
        for (int64_t l = 0; l < CONV_LANES; l++) { STORE_y(n, o, p0 + r, q + l, made[l]); }               \
    }                                                                                                     \
} while (0)
#define CONV_TILES(R) do {                                                                                \
    CONV_ROLLED for (int64_t j = CONV_CUT(Q, CONV_LANES) - 1; j >= 0; j--) {                              \
        const int64_t q = CONV_MAX(0, CONV_MIN(j * CONV_LANES, (Q) - CONV_LANES));                        \
        const int64_t whole = (Q) % CONV_LANES == 0 || j < (Q) / CONV_LANES, w0 = q * (SW) - (PW);        \
        if (w0 >= 0 && w0 + (CONV_SHIFT((KW) - 1) + CONV_LANES) * (SW) <= (W)) CONV_TILE(R, 0);           \
        else CONV_TILE(R, 1);                                                                             \
    }                                                                                                     \
    for (int64_t p = p1; (Q) % CONV_LANES && p < p0 + (R); p++) {                                         \
        _Pragma("omp simd")                                                                               \
        for (int64_t q = (Q) - (Q) % CONV_LANES; q < (Q); q++) { STORE_y(n, o, p, q, last[p - p0][q - CONV_MAX(0, (Q) - CONV_LANES)]); } \
    }                                                                                                     \
} while (0)

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    CONV_SIZES;
    T last[CONV_MOST][CONV_LANES] __attribute__((aligned(64)));
    T ramp[(SW) * CONV_LANES] __attribute__((aligned(64)));   /* 0, 1, 2 ... */
    for (int64_t l = 0; l < (SW) * CONV_LANES; l++) ramp[l] = (T)l;

    for (int64_t block = begin; block < end; block++) {
        const int64_t n = block / ((O) * chunks), o = block / chunks % (O), chunk = block % chunks, g = o / ((O) / (GROUPS));
        for (int64_t tile = tiles * chunk / chunks; tile < tiles * (chunk + 1) / chunks; tile++) {
            const int64_t p1 = tile * tall, p0 = CONV_MIN(p1, (P) - tall);
            if (__builtin_constant_p(P)) CONV_TILES(CONV_TALL);
            else if ((P) >= CONV_MOST) CONV_TILES(CONV_MOST);
            else CONV_TILES(1);
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
#undef CONV_LANES
#undef CONV_MOST
#undef CONV_TALL
#undef CONV_HELD
#undef CONV_REGISTER
#undef CONV_CHOSEN
#undef CONV_SIZES
#undef CONV_TILE
#undef CONV_SHIFT
#undef CONV_LOAD
#undef CONV_TILES
