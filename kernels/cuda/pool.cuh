/* pool.cuh: pooling over windows of the last two image axes
 *
 *     MODE 0   y[n,c,p,q] = max over (u, v) of x[n, c, h, w],  code = u*KW + v of the first maximum
 *     MODE 1   y[n,c,p,q] = sum over (u, v) of x[n, c, h, w]
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW,   over those (u, v) for which (h, w) lies inside the image
 *
 * NaN wins a maximum, the first one, as in NumPy. A window wholly outside the image gives 0 and code 0.
 * The sum runs over u, then v, in order.
 *
 *        x   +--+--+--+--+      y  +--+--+       u, v ->  0 1      one thread is one element of y, or several a grid apart;
 *          h |0 |1 |  |  |       p |  |  |  <-- code      2 3      neighbours lie along q, and so do their windows
 *            |2 |3 |  |  |         +--+--+
 *            +--+--+--+--+
 *
 * Sizes   N, C, H, W, P, Q, KH, KW, SH, SW, PH, PW, DH, DW;  MODE is a constant
 *         INDEX_BYTES   4 where images and results have less than 2^30 elements, so that ints count them; else 8
 * Hooks   LOAD_x(n,c,h,w)             value
 *         STORE_y(n,c,p,q,value)      statement; run once per element
 *         STORE_code(n,c,p,q,code)    MODE 0: statement; code is an int, and its type in memory the hook's business
 * Launch  any number of blocks of up to 256 threads
 */
#ifndef KERNEL
#define KERNEL pool
#define PARAMS const T *__restrict__ x, T *__restrict__ y, int *__restrict__ code, long long N, long long C, long long H, long long W, long long P, long long Q
#define KH 2
#define KW 2
#define SH 2
#define SW 2
#define LOAD_x(n, c, h, w) x[(((n) * C + (c)) * H + (h)) * W + (w)]
#define STORE_y(n, c, p, q, value) y[(((n) * C + (c)) * P + (p)) * Q + (q)] = (value)
#define STORE_code(n, c, p, q, value) code[(((n) * C + (c)) * P + (p)) * Q + (q)] = (value)
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
#ifndef STORE_code
#define STORE_code(n, c, p, q, value) (void)(value)
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
    const POOL_INT count = (POOL_INT)(N) * (C) * (P) * (Q), step = (POOL_INT)EXPRC_BLOCKS * EXPRC_THREADS;
    for (POOL_INT e = (POOL_INT)EXPRC_BLOCK * EXPRC_THREADS + threadIdx.x; e < count; e += step) {
        const POOL_INT q = e % (Q), p = e / (Q) % (P), c = e / ((POOL_INT)(Q) * (P)) % (C), n = e / ((POOL_INT)(Q) * (P) * (C));
        T best = 0;
        int where = -1;   /* nothing seen yet */
        for (int u = 0; u < (KH); u++) {
            const POOL_INT h = p * (SH) + u * (DH) - (PH);
            if (h < 0 || h >= (H)) continue;
            for (int v = 0; v < (KW); v++) {
                const POOL_INT w = q * (SW) + v * (DW) - (PW);
                if (w < 0 || w >= (W)) continue;
                const T x_k = LOAD_x(n, c, h, w);
                const bool taken = (MODE) == 0 && (where < 0 || x_k > best || (x_k != x_k && best == best));
                if ((MODE) == 1) best += x_k;
                if (taken) {
                    best = x_k;
                    where = u * (int)(KW) + v;
                }
            }
        }
        STORE_y(n, c, p, q, best);
        if ((MODE) == 0) { STORE_code(n, c, p, q, (where < 0 ? 0 : where)); }
    }
}

#undef STORE_code
#undef POOL_INT
