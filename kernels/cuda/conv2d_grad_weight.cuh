/* conv2d_grad_weight.cuh: gradient of a convolution with respect to its weights, as a product of gradients and windows
 *
 *     dw[r,o,c,u,v] = sum over the (n, p, q) of part r of x[n, g*C + c, h, w] * gy[n,o,p,q]
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * x counts as 0 outside the image. Summed over n, p, q in order; the caller adds the parts.
 *
 *     product g:    i: filter o of the group    j: weight (u, v, c)    k: pixel (n, p, q)
 *
 *        gy   k ->  | . . . . . . |  i        Tiling, tile sizes and launch: product.cuh, which is pasted behind this text.
 *        x    k ->  | . . . . . . |  j        Both lie along q, so neighbouring threads load along k;
 *             k ->  | . . . . . . |  j + 1, the next channel        where a thread's j go by a divisor of C, (u, v) is the same for all threads.
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, GROUPS, PARTS
 * Hooks   LOAD_x(n,c,h,w), LOAD_g(n,o,p,q)   value
 *         STORE_y(r,o,c,u,v,value)           statement; run once per element
 */
#ifndef KERNEL
#define KERNEL conv2d_grad_weight
#define PARAMS const T *__restrict__ x, const T *__restrict__ gy, T *__restrict__ y, long long N, long long CIN, long long H, long long W, long long O, long long P, long long Q
#define KH 3
#define KW 3
#define PH 1
#define PW 1
#define LOAD_x(n, c, h, w) x[(((n) * CIN + (c)) * H + (h)) * W + (w)]
#define LOAD_g(n, o, p, q) gy[(((n) * O + (o)) * P + (p)) * Q + (q)]
#define STORE_y(r, o, c, u, v, value) y[((((r) * O + (o)) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v)] = (value)
#endif
#ifndef T
#define T float
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

#undef CONV_INT
#undef CONV_DIVIDE
#undef CONV_BELOW
#undef CONV_GROUP_C
#undef CONV_GROUP_O
#undef CONV_FILTER
#undef CONV_APART
#undef CONV_ONE
#undef CONV_EDGES
#ifndef INDEX_BYTES
#define INDEX_BYTES 8
#endif
#if INDEX_BYTES == 4
#define CONV_INT int
#else
#define CONV_INT long long
#endif
#define CONV_DIVIDE(x, d, most) ((most) <= 0x7fffffff ? (CONV_INT)((unsigned)(x) / (unsigned)(d)) : (x) / (d))   /* of x below `most` */
#define CONV_BELOW(x, n) ((n) <= 0x7fffffff ? (unsigned)(x) < (unsigned)(n) : (x) >= 0 && (x) < (n))   /* 0 <= x < n */
#define CONV_GROUP_C ((CONV_INT)((CIN) / (GROUPS)))
#define CONV_GROUP_O ((CONV_INT)((O) / (GROUPS)))

/* Whether some window reaches beyond the image. */
#define CONV_EDGES                                                                                        \
    ((PH) > 0 || (PW) > 0 || ((P) - 1) * (SH) + ((KH) - 1) * (DH) - (PH) >= (H)                            \
     || ((Q) - 1) * (SW) + ((KW) - 1) * (DW) - (PW) >= (W))

#define PRODUCT_BATCH GROUPS
#define PRODUCT_M CONV_GROUP_O
#define PRODUCT_N (CONV_GROUP_C * (KH) * (KW))
#define PRODUCT_K ((N) * (P) * (Q))
#define PRODUCT_PARTS PARTS
#define PRODUCT_A_STORED LOAD_g_STORED
#define PRODUCT_B_STORED LOAD_x_STORED
#define PRODUCT_B_ALONG_K 1

/* j = (u, v, c), of which (u, v) is that of the tile, if it is part of the channels; or of `from`, which all threads have, if a block loads
 * a share of the channels at a time. */
#define CONV_ONE (CONV_GROUP_C > 0 && CONV_GROUP_C % TILE_N == 0)
#define CONV_APART (CONV_GROUP_C > 0 && CONV_GROUP_C % PRODUCT_B_STEP == 0 && TILE_N % PRODUCT_B_STEP == 0)
#define CONV_FILTER(j, from)                                                                              \
    const CONV_INT u_v = CONV_DIVIDE(from, CONV_GROUP_C, PRODUCT_N), u = CONV_DIVIDE(u_v, KW, PRODUCT_N); \
    const CONV_INT c = (j) - u_v * CONV_GROUP_C, v = u_v - u * (KW)
/* key: (n, p, q) of k */
#define PRODUCT_KEY(key, k) do {                                                                          \
    const CONV_INT k_ = (k), n_p = CONV_DIVIDE(k_, Q, PRODUCT_K);                                         \
    key.a = CONV_DIVIDE(n_p, P, PRODUCT_K);                                                               \
    key.b = n_p - key.a * (P);                                                                            \
    key.c = k_ - n_p * (Q);                                                                               \
    key.inside = k_ < PRODUCT_K;                                                                          \
} while (0)

#define PRODUCT_A(value, in_i, in_k, at, i, k, t, key) do {                                                  \
    const auto of_k = key;                                                                                \
    PRODUCT_A_IS(value, (in_i) && of_k.inside, LOAD_g(of_k.a, (at) * CONV_GROUP_O + (i), of_k.b, of_k.c)); \
} while (0)
#define PRODUCT_B(value, in_k, at, k, t, j, from, may, key) do {                                  \
    const auto of_k = key;                                                                                \
    CONV_FILTER(j, CONV_ONE ? first_j : CONV_APART ? (from) : (j));                                                          \
    const CONV_INT h = of_k.b * (SH) + u * (DH) - (PH), w_ = of_k.c * (SW) + v * (DW) - (PW);             \
    PRODUCT_B_IS(value, (may) && of_k.inside && (!CONV_EDGES || (CONV_BELOW(h, H) && CONV_BELOW(w_, W))), \
        LOAD_x(of_k.a, (at) * CONV_GROUP_C + c, h, w_));                                                  \
} while (0)
#define PRODUCT_Y(r, at, i, j, value) do {                                                                \
    CONV_FILTER(j, j);                                                                                    \
    STORE_y(r, (at) * CONV_GROUP_O + (i), c, u, v, value);                                                \
} while (0)
