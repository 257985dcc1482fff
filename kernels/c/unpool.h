/* unpool.h: gradient of pooling with respect to its input, gathered
 *
 *     y[b,c,h,w,l] = sum over the windows (p, q) that hold (h, w) of g[b,c,p,q,l]
 *     MODE 0: only over those whose code says so, code[b,c,p,q,l] == u*KW + v;   MODE 1: over all
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW
 *
 * Every element is owned by one block and summed over u, then v, in order: no scattered additions.
 *
 * Layout: as in pool.h; LANE_COUNT == 1 vectorises the columns that share a position in the window.
 *
 *        g   +--+--+        y  +--+--+--+--+       one block is one row h
 *          p |a |b |           |  |a |  |  |       of one channel of one b
 *            +--+--+           |  |  |b |  |
 *       code |1 |2 |           +--+--+--+--+
 *            +--+--+
 *
 * Sizes   NB, C, H, W, P, Q, KH, KW, SH, SW, PH, PW, DH, DW;  MODE, LANE_COUNT are constants
 * Hooks   LOAD_g(b,c,p,q,l)            value
 *         LOAD_code(b,c,p,q,l)         MODE 0: integer
 *         STORE_y(b,c,h,w,l,value)     statement; run once per element
 */
#ifndef KERNEL
#define KERNEL unpool
#define PARAMS const T *restrict g, const int32_t *restrict code, T *restrict y, int64_t NB, int64_t C, int64_t H, int64_t W, int64_t P, int64_t Q
#define KH 2
#define KW 2
#define SH 2
#define SW 2
#define LOAD_g(b, c, p, q, l) g[((((b) * C + (c)) * P + (p)) * Q + (q)) * LANE_COUNT + (l)]
#define LOAD_code(b, c, p, q, l) code[((((b) * C + (c)) * P + (p)) * Q + (q)) * LANE_COUNT + (l)]
#define STORE_y(b, c, h, w, l, value) y[((((b) * C + (c)) * H + (h)) * W + (w)) * LANE_COUNT + (l)] = (value)
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
#ifndef LOAD_code
#define LOAD_code(b, c, p, q, l) 0
#endif

#define POOL_PASTE_(kernel, name) kernel##_##name
#define POOL_PASTE(kernel, name) POOL_PASTE_(kernel, name)
#define POOL_NAME(name) POOL_PASTE(KERNEL, name)
#define POOL_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define POOL_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define POOL_ROOM (LANE_COUNT > 1 ? LANE_COUNT : 64)
#define POOL_UNROLL _Pragma("GCC unroll 16")
/* The windows lie side by side: every element is in one window, or beyond the last. */
#define POOL_TILED ((SH) == (KH) && (SW) == (KW) && (PH) == 0 && (PW) == 0 && (DH) == 1 && (DW) == 1)
/* Both sides are loaded, so that the choice is a select. */
#define POOL_ADD(i, p, q, l) do {                                                                         \
    const T g_q = LOAD_g(b, c, p, q, l);                                                                  \
    const int chosen = (MODE) ? 1 : (int64_t)LOAD_code(b, c, p, q, l) == k;                               \
    sum[i] += chosen ? g_q : (T)0;                                                                        \
} while (0)

__attribute__((unused)) static int64_t POOL_NAME(blocks)(PARAMS) { return (NB) * (C) * (H); }

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    T sum[POOL_ROOM] __attribute__((aligned(64)));
    const int64_t columns = LANE_COUNT > 1 ? 1 : POOL_ROOM;   /* how many w are summed side by side */

    for (int64_t block = begin; block < end; block++) {
        const int64_t h = block % (H), c = block / (H) % (C), b = block / ((H) * (C));
        int64_t done = 0;                                     /* the columns before it are stored */
        if (LANE_COUNT > 1 && POOL_TILED && h < (P) * (KH)) {
            const int64_t p = h / (KH), q1 = POOL_MIN(Q, (W) / (KW));
            const int32_t first_k = (int32_t)(h % (KH) * (KW));
            (void)first_k;
            done = q1 * (KW);
            for (int64_t q = 0; q < q1; q++) {
                T g_q[POOL_ROOM] __attribute__((aligned(64)));
                int32_t code_q[POOL_ROOM] __attribute__((aligned(64)));
                _Pragma("omp simd")
                for (int64_t l = 0; l < LANE_COUNT; l++) { g_q[l] = LOAD_g(b, c, p, q, l); code_q[l] = (int32_t)LOAD_code(b, c, p, q, l); }
                POOL_UNROLL for (int64_t v = 0; v < (KW); v++)
                    _Pragma("omp simd")
                    for (int64_t l = 0; l < LANE_COUNT; l++) {
                        const T g_l = g_q[l];                 /* loaded, so that the choice is a select */
                        const int chosen = (MODE) ? 1 : code_q[l] == first_k + (int32_t)v;
                        STORE_y(b, c, h, q * (KW) + v, l, (T)0 + (chosen ? g_l : (T)0));
                    }
            }
        }
        for (int64_t w0 = done; w0 < (W); w0 += columns) {
            const int64_t count = LANE_COUNT > 1 ? LANE_COUNT : POOL_MIN(columns, (W) - w0);
            _Pragma("omp simd")
            for (int64_t i = 0; i < count; i++) sum[i] = 0;
            for (int64_t u = 0; u < (KH); u++) {
                const int64_t t_h = h + (PH) - u * (DH), p = t_h / (SH);
                if (t_h < 0 || t_h % (SH) || p >= (P)) continue;
                for (int64_t v = 0; v < (KW); v++) {
                    const int64_t t_w = w0 + (PW) - v * (DW);   /* q * SW of column w0 */
                    const int64_t k = u * (KW) + v;
                    (void)k;
                    if (LANE_COUNT > 1) {
                        const int64_t q = t_w / (SW);
                        if (t_w < 0 || t_w % (SW) || q >= (Q)) continue;
                        _Pragma("omp simd")
                        for (int64_t l = 0; l < LANE_COUNT; l++) POOL_ADD(l, p, q, l);
                    } else {
                        const int64_t q0 = t_w > 0 ? POOL_CUT(t_w, SW) : 0;
                        const int64_t q1 = t_w + count > 0 ? POOL_MIN(Q, POOL_CUT(t_w + count, SW)) : 0;
                        _Pragma("omp simd")
                        for (int64_t q = q0; q < q1; q++) POOL_ADD(q * (SW) - t_w, p, q, 0);
                    }
                }
            }
            _Pragma("omp simd")
            for (int64_t i = 0; i < count; i++) {
                const int64_t w = LANE_COUNT > 1 ? w0 : w0 + i, l = LANE_COUNT > 1 ? i : 0;
                STORE_y(b, c, h, w, l, sum[i]);
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
#undef POOL_ADD
#undef POOL_UNROLL
#undef POOL_TILED
