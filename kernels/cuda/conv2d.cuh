/* conv2d.cuh: two-dimensional convolution, as a product of filters and windows that is never stored
 *
 *     y[r,n,o,p,q] = sum over the (c, u, v) of part r of x[n, g*C + c, h, w] * w[o,c,u,v]
 *     h = (p*SH + u*DH - PH) / UP_H,   w = (q*SW + v*DW - PW) / UP_W,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (u, v) for which h and w are whole; x counts as 0 outside the image. UP_H, UP_W > 1 spread the input (the gradient with
 * respect to the input of a strided convolution): the rows p of one remainder by UP_H all meet the same u, so each pair of remainders
 * is a product of its own, and no product with a zero between spread rows is formed. Summed over c, u, v in order.
 *
 *     product (g, remainders):    i: filter o of the group    j: pixel (n, p, q) of the remainders    k: (c, u, v)
 *
 *        x   +--+--+--+--+            b   j ->  0  1  2  3         Tiling, tile sizes and launch: product.cuh, which is pasted
 *            |0 |1 |2 |3 |          k 0     |0 |1 |2 |3 |          behind this text. Neighbouring threads load pixels that lie
 *            +--+--+--+--+            1     |1 |2 |3 |  |          side by side (along q), and store so.
 *             window: 2 wide
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, UP_H, UP_W, GROUPS, PARTS
 *         U_STEP, V_STEP             constants: UP_H / gcd(UP_H, DH), UP_W / gcd(UP_W, DW): from one u that meets a row to the next
 * Hooks   LOAD_x(n,c,h,w)            value
 *         LOAD_w(o,c,u,v)            value; c counts inside the group
 *         STORE_y(r,n,o,p,q,value)   statement; run once per element
 */
#ifndef KERNEL
#define KERNEL conv2d
#define PARAMS const T *__restrict__ x, const T *__restrict__ w, T *__restrict__ y, long long N, long long CIN, long long H, long long W, long long O, long long P, long long Q
#define KH 3
#define KW 3
#define PH 1
#define PW 1
#define LOAD_x(n, c, h, w_) x[(((n) * CIN + (c)) * H + (h)) * W + (w_)]
#define LOAD_w(o, c, u, v) w[(((o) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v)]
#define STORE_y(r, n, o, p, q, value) y[(((n) * O + (o)) * P + (p)) * Q + (q)] = (value)
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
#ifndef UP_H
#define UP_H 1
#endif
#ifndef UP_W
#define UP_W 1
#endif
#ifndef U_STEP
#define U_STEP UP_H
#endif
#ifndef V_STEP
#define V_STEP UP_W
#endif
#ifndef GROUPS
#define GROUPS 1
#endif
#ifndef PARTS
#define PARTS 1
#endif

#undef CONV_INT
#undef CONV_CUT
#undef CONV_DIVIDE
#undef CONV_ROWS
#undef CONV_COLUMNS
#undef CONV_DOWN
#undef CONV_ACROSS
#undef CONV_GROUP_C
#undef CONV_GROUP_O
#undef CONV_EDGES
#undef CONV_PIXEL
#ifndef INDEX_BYTES
#define INDEX_BYTES 8
#endif
#if INDEX_BYTES == 4
#define CONV_INT int
#else
#define CONV_INT long long
#endif
#define CONV_CUT(n, size) (((CONV_INT)(n) + (size) - 1) / (size))
#define CONV_DIVIDE(x, d, most) ((most) <= 0x7fffffff ? (CONV_INT)((unsigned)(x) / (unsigned)(d)) : (x) / (d))   /* of x below `most` */
#define CONV_ROWS CONV_CUT(P, UP_H)         /* of one remainder */
#define CONV_COLUMNS CONV_CUT(Q, UP_W)
#define CONV_DOWN CONV_CUT(KH, U_STEP)      /* rows of filters that they meet, at most */
#define CONV_ACROSS CONV_CUT(KW, V_STEP)
#define CONV_GROUP_C ((CONV_INT)((CIN) / (GROUPS)))
#define CONV_GROUP_O ((CONV_INT)((O) / (GROUPS)))

/* Whether some window reaches beyond the image. */
#define CONV_EDGES                                                                                        \
    ((UP_H) > 1 || (UP_W) > 1 || (PH) > 0 || (PW) > 0 || ((P) - 1) * (SH) + ((KH) - 1) * (DH) - (PH) >= (H)  \
     || ((Q) - 1) * (SW) + ((KW) - 1) * (DW) - (PW) >= (W))

#define PRODUCT_BATCH ((GROUPS) * (UP_H) * (UP_W))
#define PRODUCT_M CONV_GROUP_O
#define PRODUCT_N ((N) * CONV_ROWS * CONV_COLUMNS)
#define PRODUCT_K (CONV_GROUP_C * CONV_DOWN * CONV_ACROSS)
#define PRODUCT_PARTS PARTS

/* The group, the remainders and the first u and v that meet them (KH and KW if none does). */
#define PRODUCT_BEGIN(at)                                                                                 \
    const CONV_INT group = (CONV_INT)(at) / ((UP_H) * (UP_W)), above = (CONV_INT)(at) / (UP_W) % (UP_H), left = (CONV_INT)(at) % (UP_W); \
    CONV_INT first_u = KH, first_v = KW;                                                                  \
    for (int u = (U_STEP) - 1; u >= 0; u--) if ((above * (SH) + u * (DH) - (PH)) % (UP_H) == 0) first_u = u; \
    for (int v = (V_STEP) - 1; v >= 0; v--) if ((left * (SW) + v * (DW) - (PW)) % (UP_W) == 0) first_v = v

/* key: (c, u, v) of k; j = (n, p, q) */
#define PRODUCT_KEY(key, k) do {                                                                          \
    const CONV_INT k_ = (k), c_u = CONV_DIVIDE(k_, CONV_ACROSS, PRODUCT_K);                               \
    key.a = CONV_DIVIDE(c_u, CONV_DOWN, PRODUCT_K);                                                       \
    key.b = first_u + (c_u - key.a * CONV_DOWN) * (U_STEP);                                               \
    key.c = first_v + (k_ - c_u * CONV_ACROSS) * (V_STEP);                                                \
    key.inside = k_ < PRODUCT_K && key.b < (KH) && key.c < (KW);                                          \
} while (0)
#define CONV_PIXEL(j)                                                                                     \
    const CONV_INT n_p = CONV_DIVIDE(j, CONV_COLUMNS, PRODUCT_N), n = CONV_DIVIDE(n_p, CONV_ROWS, PRODUCT_N); \
    const CONV_INT p = above + (n_p - n * CONV_ROWS) * (UP_H), q = left + ((j) - n_p * CONV_COLUMNS) * (UP_W)

#define PRODUCT_A(value, in_i, in_k, at, i, k, key) do {                                                  \
    const auto of_k = key;                                                                                \
    if ((in_i) && of_k.inside) value = LOAD_w(group * CONV_GROUP_O + (i), of_k.a, of_k.b, of_k.c);        \
} while (0)
#define PRODUCT_B(value, in_k, in_j, at, k, j, key) do {                                                  \
    const auto of_k = key;                                                                                \
    CONV_PIXEL(j);                                                                                        \
    const CONV_INT t_h = p * (SH) + of_k.b * (DH) - (PH), t_w = q * (SW) + of_k.c * (DW) - (PW);          \
    if ((in_j) && of_k.inside && (!CONV_EDGES || (t_h >= 0 && t_w >= 0 && t_h < (H) * (UP_H) && t_w < (W) * (UP_W)))) \
        value = LOAD_x(n, group * CONV_GROUP_C + of_k.a, t_h / (UP_H), t_w / (UP_W));                     \
} while (0)
#define PRODUCT_Y(r, at, i, j, value) do {                                                                \
    CONV_PIXEL(j);                                                                                        \
    if (p < (P) && q < (Q)) { STORE_y(r, n, group * CONV_GROUP_O + (i), p, q, value); }                   \
} while (0)
