/* unpool.cuh: gradient of pooling with respect to its input, gathered
 *
 *     y[n,c,h,w] = sum over the windows (p, q) that hold (h, w) of g[n,c,p,q]
 *     MODE 0: only over those whose code says so, code[n,c,p,q] == u*KW + v;   MODE 1: over all
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW
 *
 * Every element is owned by one thread and summed over u, then v, in order: no scattered additions.
 *
 *        g   +--+--+        y  +--+--+--+--+       one thread is one element of y, or several a grid apart;
 *          p |a |b |           |  |a |  |  |       neighbours lie along w
 *            +--+--+           |  |  |b |  |
 *       code |1 |2 |           +--+--+--+--+
 *            +--+--+
 *
 * Sizes   N, C, H, W, P, Q, KH, KW, SH, SW, PH, PW, DH, DW;  MODE is a constant
 *         INDEX_BYTES   4 where images and results have less than 2^30 elements, so that ints count them; else 8
 * Hooks   LOAD_g(n,c,p,q)            value
 *         LOAD_code(n,c,p,q)         MODE 0: integer
 *         STORE_y(n,c,h,w,value)     statement; run once per element
 * Launch  any number of blocks of up to 256 threads
 */
#ifndef KERNEL
#define KERNEL unpool
#define PARAMS const T *__restrict__ g, const int *__restrict__ code, T *__restrict__ y, long long N, long long C, long long H, long long W, long long P, long long Q
#define KH 2
#define KW 2
#define SH 2
#define SW 2
#define LOAD_g(n, c, p, q) g[(((n) * C + (c)) * P + (p)) * Q + (q)]
#define LOAD_code(n, c, p, q) code[(((n) * C + (c)) * P + (p)) * Q + (q)]
#define STORE_y(n, c, h, w, value) y[(((n) * C + (c)) * H + (h)) * W + (w)] = (value)
#endif
#ifndef T
#define T float
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
#define LOAD_code(n, c, p, q) 0
#endif
#ifndef INDEX_BYTES
#define INDEX_BYTES 8
#endif
#if INDEX_BYTES == 4
#define POOL_INT int
#else
#define POOL_INT long long
#endif

EXPRC_KERNEL void EXPRC_BOUNDS(256) KERNEL(PARAMS) {
    const POOL_INT count = (POOL_INT)(N) * (C) * (H) * (W), step = (POOL_INT)EXPRC_BLOCKS * EXPRC_THREADS;
    for (POOL_INT e = (POOL_INT)EXPRC_BLOCK * EXPRC_THREADS + threadIdx.x; e < count; e += step) {
        const POOL_INT w = e % (W), h = e / (W) % (H), c = e / ((POOL_INT)(W) * (H)) % (C), n = e / ((POOL_INT)(W) * (H) * (C));
        T sum = 0;
        for (int u = 0; u < (KH); u++) {
            const POOL_INT t_h = h + (PH) - u * (DH), p = t_h / (SH);
            if (t_h < 0 || t_h % (SH) || p >= (P)) continue;
            for (int v = 0; v < (KW); v++) {
                const POOL_INT t_w = w + (PW) - v * (DW), q = t_w / (SW);
                if (t_w < 0 || t_w % (SW) || q >= (Q)) continue;
                if ((MODE) == 1 || (long long)LOAD_code(n, c, p, q) == u * (KW) + v) sum += LOAD_g(n, c, p, q);
            }
        }
        STORE_y(n, c, h, w, sum);
    }
}

#undef LOAD_code
#undef POOL_INT
