/* pool.h: pooling over windows of the last two image axes
 *
 *     MODE 0   y[b,c,p,q,l] = max over (u, v) of x[b, c, h, w, l],  code = u*KW + v of the first maximum
 *     MODE 1   y[b,c,p,q,l] = sum over (u, v) of x[b, c, h, w, l]
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW,   over those (u, v) for which (h, w) lies inside the image
 *
 * NaN wins a maximum, the first one, as in NumPy. A window wholly outside the image gives 0 and code 0.
 * The sum runs over u, then v, in order.
 *
 * Layout: l < LANE_COUNT are images that lie side by side (batch-innermost: LANE_COUNT = LANES), the vectorised
 * axis. LANE_COUNT == 1 is the plain layout: then the columns q are vectorised.
 *
 *        x   +--+--+--+--+      y  +--+--+       u, v ->  0 1      one block is one row p
 *          h |0 |1 |  |  |       p |  |  |  <-- code      2 3      of one channel of one b
 *            |2 |3 |  |  |         +--+--+
 *            +--+--+--+--+
 *
 * Sizes   NB, C, H, W, P, Q, KH, KW, SH, SW, PH, PW, DH, DW;  MODE, LANE_COUNT are constants
 * Hooks   LOAD_x(b,c,h,w,l)             value
 *         STORE_y(b,c,p,q,l,value)      statement; run once per element
 *         STORE_code(b,c,p,q,l,code)    MODE 0: statement; code is an int, and its type in memory the hook's business
 */
#ifndef KERNEL
#define KERNEL pool
#define PARAMS const T *restrict x, T *restrict y, int32_t *restrict code, int64_t NB, int64_t C, int64_t H, int64_t W, int64_t P, int64_t Q
#define KH 2
#define KW 2
#define SH 2
#define SW 2
#define LOAD_x(b, c, h, w, l) x[((((b) * C + (c)) * H + (h)) * W + (w)) * LANE_COUNT + (l)]
#define STORE_y(b, c, p, q, l, value) y[((((b) * C + (c)) * P + (p)) * Q + (q)) * LANE_COUNT + (l)] = (value)
#define STORE_code(b, c, p, q, l, value) code[((((b) * C + (c)) * P + (p)) * Q + (q)) * LANE_COUNT + (l)] = (value)
#endif
#ifndef T
#define T float
#endif
#ifndef LANE_COUNT
#define LANE_COUNT 1
#endif
#ifndef MODE
#define MODE 0
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
#ifndef STORE_code
#define STORE_code(b, c, p, q, l, value) (void)(value)
#endif

#define POOL_PASTE_(kernel, name) kernel##_##name
#define POOL_PASTE(kernel, name) POOL_PASTE_(kernel, name)
#define POOL_NAME(name) POOL_PASTE(KERNEL, name)
#define POOL_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define POOL_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define POOL_ROOM (LANE_COUNT > 1 ? LANE_COUNT : 64)
#define POOL_UNROLL _Pragma("GCC unroll 16")
#define POOL_SIMD _Pragma("omp simd")
#define POOL_LOAD(h, w, i) (LANE_COUNT > 1 ? LOAD_x(b, c, h, w, i) : LOAD_x(b, c, h, (w) + (i) * (SW), 0))

/* Elements i0 ... i1 - 1 take value(i), which meets position k of their windows; `known`: k is not the first such position. */
#define POOL_TAKE(i0, i1, k, known, value) do {                                                           \
    /* apart from the comparison: where a value is a choice itself, the compiler would make branches of both */ \
    _Pragma("omp simd")                                                                                   \
    for (int64_t i = i0; i < i1; i++) new[i] = value;                                                     \
    _Pragma("omp simd")                                                                                   \
    for (int64_t i = i0; i < i1; i++) {                                                                   \
        const T x_i = new[i], y_i = best[i];                                                              \
        if (MODE) best[i] = y_i + x_i;                                                                    \
        else {                                                                                            \
            const int taken = ((known) ? 0 : where[i] < 0) | (x_i > y_i) | ((x_i != x_i) & (y_i == y_i)); \
            best[i] = taken ? x_i : y_i;                                                                  \
            where[i] = taken ? (int32_t)(k) : where[i];                                                   \
        }                                                                                                 \
    }                                                                                                     \
} while (0)

__attribute__((unused)) static int64_t POOL_NAME(blocks)(PARAMS) { return (NB) * (C) * (P); }

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    T best[POOL_ROOM] __attribute__((aligned(64))), new[POOL_ROOM] __attribute__((aligned(64)));
    int32_t where[POOL_ROOM] __attribute__((aligned(64)));   /* -1: nothing seen yet */
    const int64_t columns = LANE_COUNT > 1 ? 1 : POOL_ROOM;  /* how many q are pooled side by side */

    for (int64_t block = begin; block < end; block++) {
        const int64_t p = block % (P), c = block / (P) % (C), b = block / ((P) * (C));
        const int64_t above = (PH) - p * (SH), below = (H) + above;
        const int64_t u0 = above > 0 ? POOL_CUT(above, DH) : 0;
        const int64_t u1 = below > 0 ? POOL_MIN(KH, POOL_CUT(below, DH)) : 0;
        for (int64_t q0 = 0; q0 < (Q); q0 += columns) {
            const int64_t count = LANE_COUNT > 1 ? LANE_COUNT : POOL_MIN(columns, (Q) - q0);
            const int64_t first_w = q0 * (SW) - (PW), last_w = first_w + (columns > 1 ? (count - 1) * (SW) : 0) + ((KW) - 1) * (DW);
            if (u0 == 0 && u1 == (KH) && first_w >= 0 && last_w < (W)) {   /* the windows are whole */
                POOL_UNROLL for (int64_t k = 0; k < (KH) * (KW); k++) {
                    const int64_t h = p * (SH) + k / (KW) * (DH) - (PH), w = first_w + k % (KW) * (DW);
                    if (k == 0)
                        POOL_SIMD for (int64_t i = 0; i < count; i++) { best[i] = (MODE) ? (T)0 + POOL_LOAD(h, w, i) : POOL_LOAD(h, w, i); where[i] = 0; }
                    else POOL_TAKE(0, count, k, 1, POOL_LOAD(h, w, i));
                }
            } else {
                POOL_SIMD for (int64_t i = 0; i < count; i++) { best[i] = 0; where[i] = -1; }
                for (int64_t u = u0; u < u1; u++)
                    for (int64_t v = 0; v < (KW); v++) {
                        const int64_t h = p * (SH) + u * (DH) - (PH), w = first_w + v * (DW);   /* of column q0 */
                        const int64_t inside = w >= 0 && w < (W) ? count : 0;                   /* LANE_COUNT > 1 */
                        const int64_t i0 = LANE_COUNT > 1 || w >= 0 ? 0 : POOL_CUT(-w, SW);
                        const int64_t i1 = LANE_COUNT > 1 ? inside : w < (W) ? POOL_MIN(count, POOL_CUT((W) - w, SW)) : 0;
                        POOL_TAKE(i0, i1, u * (KW) + v, 0, POOL_LOAD(h, w, i));
                    }
            }
            POOL_SIMD for (int64_t i = 0; i < count; i++) {
                const int64_t q = LANE_COUNT > 1 ? q0 : q0 + i, l = LANE_COUNT > 1 ? i : 0;
                STORE_y(b, c, p, q, l, best[i]);
                if (!(MODE)) { STORE_code(b, c, p, q, l, (where[i] < 0 ? 0 : where[i])); }
            }
        }
    }
}

#undef POOL_PASTE_
#undef POOL_PASTE
#undef POOL_NAME
#undef POOL_CUT
#undef POOL_MIN
#undef POOL_ROOM
#undef POOL_UNROLL
#undef POOL_SIMD
#undef POOL_LOAD
#undef POOL_TAKE
