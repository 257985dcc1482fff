/* conv2d.cuh: two-dimensional convolution, as a product of filters and windows that is never stored
 *
 *     y[r,n,o,p,q] = sum over the (c, u, v) of part r of x[n, g*C + c, h, w] * w[o,c,u,v]
 *     h = (p*SH + u*DH - PH) / UP_H,   w = (q*SW + v*DW - PW) / UP_W,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (u, v) for which h and w are whole; x counts as 0 outside the image. UP_H, UP_W > 1 spread the input (the gradient with
 * respect to the input of a strided convolution): the rows p of one remainder by UP_H all meet the same u, so each pair of remainders
 * is a product of its own, and no product with a zero between spread rows is formed.
 *
 *     product (g, remainders):    i: filter o of the group    j: pixel (n, p, q) of the remainders    k: (c, u, v)
 *
 *        x   +--+--+--+--+            b   j ->  0  1  2  3         Tiling, tile sizes and launch: product.cuh, which is pasted
 *            |0 |1 |2 |3 |          k 0     |0 |1 |2 |3 |          behind this text. Neighbouring threads load pixels that lie
 *            +--+--+--+--+            1     |1 |2 |3 |  |          side by side (along q), and store so.
 *             window: 2 wide
 *
 * CHANNELS 0: a piece of k is what comes next, and shared memory says which (c, u, v) that is; summed over c, u, v in order.
 * CHANNELS > 0: a piece is one row u of the windows of as many channels, t = (v, c): which columns a thread's pixel meets is the same for
 * all pieces, the row is asked for once per piece, and what remains for an element is an address. If one of CHANNELS and of the rows of
 * k that a block loads at once is a multiple of the other, a thread's (v, c) go by constants. Summed over c by pieces, u, then v, c.
 *
 * ROWS_FIRST 1: j = (p, n, q): a tile holds one row of many images, or few, and goes through those u only that meet any of them: exact
 * bounds where padding is a large part of the rows (the gradient of a valid convolution, for small images).
 *
 *           p 0   u . . . . 4           which rows of a filter of 5 meet the rows of the image: tiles of row 0 take one fifth of the work
 *             1   u . . . 3 4
 *
 * With POOL_H and POOL_W, windows of POOL_H x POOL_W results are pooled before anything is stored, PP x PQ of them, side by side (those at the
 * border may reach beyond P and Q): the largest value, NaN if one is, and the position u*POOL_W + v of the first such. Then the pixels of a
 * window follow each other, so that one thread finds their sums together. UP_H, UP_W and PARTS are 1, ROWS_FIRST is 0.
 *
 *     j    0  1 | 4  5            windows of 2 x 2
 *          2  3 | 6  7
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, UP_H, UP_W, GROUPS, PARTS
 *         CHANNELS, ROWS_FIRST       constants; TILE_K >= CHANNELS * columns of the filters that meet a remainder
 *         U_STEP, V_STEP             constants: UP_H / gcd(UP_H, DH), UP_W / gcd(UP_W, DW): from one u that meets a row to the next
 * Hooks   LOAD_x(n,c,h,w)            value
 *         LOAD_w(o,c,u,v)            value; c counts inside the group
 *         STORE_y(r,n,o,p,q,value)   statement; run once per element
 *         with windows:  VALUE(r,n,o,p,q,value)  what is pooled, as it comes of a sum
 *                        STORE_y(n,o,p,q,value), STORE_code(n,o,p,q,code)  p, q: the window
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
#ifndef CHANNELS
#define CHANNELS 0
#endif
#ifndef ROWS_FIRST
#define ROWS_FIRST 0
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
#undef CONV_BELOW
#undef CONV_ROWS
#undef CONV_COLUMNS
#undef CONV_DOWN
#undef CONV_ACROSS
#undef CONV_GROUP_C
#undef CONV_GROUP_O
#undef CONV_EDGES
#undef CONV_PIXEL
#undef CONV_P
#undef CONV_Q
#undef CONV_AREA
#undef CONV_ROW
#undef CONV_COLUMN
#undef CONV_U
#undef CONV_STEP
#undef CONV_STEP_FROM
#undef CONV_V
#undef CONV_T_INSIDE
#undef CONV_C_INSIDE
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
#define CONV_BELOW(x, n) ((n) <= 0x7fffffff ? (unsigned)(x) < (unsigned)(n) : (x) >= 0 && (x) < (n))   /* 0 <= x < n */
#define CONV_GROUP_C ((CONV_INT)((CIN) / (GROUPS)))
#define CONV_GROUP_O ((CONV_INT)((O) / (GROUPS)))

#ifdef POOL_H
#define CONV_AREA ((POOL_H) * (POOL_W))
#define CONV_P ((PP) * (POOL_H))            /* rows that windows reach */
#define CONV_Q ((PQ) * (POOL_W))
#define PRODUCT_N ((N) * (PP) * (PQ) * CONV_AREA)
#define PRODUCT_GROUP CONV_AREA
#else
#define CONV_P (P)
#define CONV_Q (Q)
#define PRODUCT_N ((N) * CONV_ROWS * CONV_COLUMNS)
#endif

/* Whether some window of the filters reaches beyond the image. */
#define CONV_EDGES                                                                                        \
    ((UP_H) > 1 || (UP_W) > 1 || (PH) > 0 || (PW) > 0 || (CONV_P - 1) * (SH) + ((KH) - 1) * (DH) - (PH) >= (H)  \
     || (CONV_Q - 1) * (SW) + ((KW) - 1) * (DW) - (PW) >= (W))

#define PRODUCT_BATCH ((GROUPS) * (UP_H) * (UP_W))
#define PRODUCT_M CONV_GROUP_O
#define PRODUCT_K (CONV_GROUP_C * CONV_DOWN * CONV_ACROSS)
#define PRODUCT_PARTS PARTS
#define PRODUCT_A_STORED LOAD_w_STORED
#define PRODUCT_B_STORED LOAD_x_STORED

/* j = (n, p, q) or (p, n, q), or (n, p, q of a window, place in it) */
#if defined(POOL_H)
#define CONV_PIXEL(j)                                                                                     \
    const CONV_INT window = CONV_DIVIDE(j, CONV_AREA, PRODUCT_N), place = (j) - window * CONV_AREA;       \
    const CONV_INT n_p = CONV_DIVIDE(window, PQ, PRODUCT_N), n = CONV_DIVIDE(n_p, PP, PRODUCT_N);         \
    const CONV_INT p = (n_p - n * (PP)) * (POOL_H) + CONV_DIVIDE(place, POOL_W, CONV_AREA);               \
    const CONV_INT q = (window - n_p * (PQ)) * (POOL_W) + place % (POOL_W)
#elif ROWS_FIRST
#define CONV_PIXEL(j)                                                                                     \
    const CONV_INT p_n = CONV_DIVIDE(j, CONV_COLUMNS, PRODUCT_N), p_ = CONV_DIVIDE(p_n, N, PRODUCT_N), n = p_n - p_ * (CONV_INT)(N); \
    const CONV_INT p = above + p_ * (UP_H), q = left + ((j) - p_n * CONV_COLUMNS) * (UP_W)
#else
#define CONV_PIXEL(j)                                                                                     \
    const CONV_INT n_p = CONV_DIVIDE(j, CONV_COLUMNS, PRODUCT_N), n = CONV_DIVIDE(n_p, CONV_ROWS, PRODUCT_N); \
    const CONV_INT p = above + (n_p - n * CONV_ROWS) * (UP_H), q = left + ((j) - n_p * CONV_COLUMNS) * (UP_W)
#endif
#define CONV_ROW(p, u) ((p) * (SH) + (u) * (DH) - (PH))          /* of the spread image, that u of a window at p meets */
#define CONV_COLUMN(q, v) ((q) * (SW) + (v) * (DW) - (PW))

/* The group, the remainders and the first u and v that meet them (KH and KW if none does); */
#define PRODUCT_BEGIN(at, first_j, end_j)                                                                 \
    const CONV_INT group = (CONV_INT)(at) / ((UP_H) * (UP_W)), above = (CONV_INT)(at) / (UP_W) % (UP_H), left = (CONV_INT)(at) % (UP_W); \
    CONV_INT first_u = KH, first_v = KW;                                                                  \
    for (int u = (U_STEP) - 1; u >= 0; u--) if (CONV_ROW(above, u) % (UP_H) == 0) first_u = u;            \
    for (int v = (V_STEP) - 1; v >= 0; v--) if (CONV_COLUMN(left, v) % (UP_W) == 0) first_v = v;          \
    CONV_U(first_j, end_j)

#if CHANNELS
/* and from begin_u on, rows_u of them, those u that meet the row of the tile, or its rows. */
#if ROWS_FIRST
#define CONV_U(first_j, end_j)                                                                            \
    const CONV_INT from_p = above + (first_j) / ((CONV_INT)(N) * CONV_COLUMNS) * (UP_H);                  \
    const CONV_INT last_p = above + ((end_j) - 1) / ((CONV_INT)(N) * CONV_COLUMNS) * (UP_H);              \
    CONV_INT begin_u = first_u, rows_u = 0;                                                               \
    for (CONV_INT u = first_u; u < (KH); u += (U_STEP)) {                                                 \
        if (CONV_ROW(last_p, u) < 0) begin_u = u + (U_STEP);                                              \
        else if (CONV_ROW(from_p, u) < (H) * (UP_H)) rows_u = rows_u + 1;                                 \
    }
#else
#define CONV_U(first_j, end_j) const CONV_INT begin_u = first_u, rows_u = CONV_CUT((KH) - first_u, U_STEP)
#endif

#define PRODUCT_PIECES (CONV_CUT(CONV_GROUP_C, CHANNELS) * rows_u)
#define PRODUCT_PIECE(piece)                                                                              \
    const CONV_INT piece_c = (piece) / rows_u, first_c = piece_c * (CHANNELS), u = begin_u + ((piece) - piece_c * rows_u) * (U_STEP)
/* The column of the filter's that is t, counted in steps; as `from` says, which all threads have, and the thread's row. */
#define CONV_STEP(t) ((t) / (CHANNELS))
#define CONV_STEP_FROM(t, from)                                                                           \
    ((CHANNELS) % PRODUCT_B_STEP == 0 ? (from) / (CHANNELS)                                               \
     : PRODUCT_B_STEP % (CHANNELS) == 0 ? (from) / (CHANNELS) + ((t) - (from)) / (CHANNELS) : (t) / (CHANNELS))
#define CONV_V(step) (first_v + (step) * (V_STEP))
#define CONV_T_INSIDE(t, step) ((t) < (CHANNELS) * CONV_ACROSS && ((UP_W) == 1 || CONV_V(step) < (KW)))
#define CONV_C_INSIDE(c) (CONV_GROUP_C % (CHANNELS) == 0 || (c) < CONV_GROUP_C)

#define PRODUCT_A(value, in_i, in_k, at, i, k, t, key) do {                                               \
    const CONV_INT step = CONV_STEP(t), c = first_c + (t) - step * (CHANNELS);                            \
    PRODUCT_A_IS(value, (in_i) && CONV_T_INSIDE(t, step) && CONV_C_INSIDE(c), LOAD_w(group * CONV_GROUP_O + (i), c, u, CONV_V(step))); \
} while (0)
#define PRODUCT_B(value, in_k, at, k, t, j, from, may, key) do {                                  \
    CONV_PIXEL(j);                                                                                        \
    const CONV_INT step = CONV_STEP_FROM(t, from), c = first_c + (t) - step * (CHANNELS);                 \
    const CONV_INT h = CONV_ROW(p, u), w_ = CONV_COLUMN(q, CONV_V(step));                                 \
    PRODUCT_B_IS(value, (may) && CONV_C_INSIDE(c) && (!CONV_EDGES || CONV_BELOW(h, (H) * (UP_H))),        \
        LOAD_x(n, group * CONV_GROUP_C + c, h / (UP_H), w_ / (UP_W)));                                    \
} while (0)
#define PRODUCT_B_MAY(may, t, j, from) do {                                                               \
    CONV_PIXEL(j);                                                                                        \
    const CONV_INT step = CONV_STEP_FROM(t, from);                                                        \
    may = may && CONV_T_INSIDE(t, step) && (!CONV_EDGES || CONV_BELOW(CONV_COLUMN(q, CONV_V(step)), (W) * (UP_W))); \
} while (0)
#else
#define CONV_U(first_j, end_j)
/* key: (c, u, v) of k */
#define PRODUCT_KEY(key, k) do {                                                                          \
    const CONV_INT k_ = (k), c_u = CONV_DIVIDE(k_, CONV_ACROSS, PRODUCT_K);                               \
    key.a = CONV_DIVIDE(c_u, CONV_DOWN, PRODUCT_K);                                                       \
    key.b = first_u + (c_u - key.a * CONV_DOWN) * (U_STEP);                                               \
    key.c = first_v + (k_ - c_u * CONV_ACROSS) * (V_STEP);                                                \
    key.inside = k_ < PRODUCT_K && key.b < (KH) && key.c < (KW);                                          \
} while (0)
#define PRODUCT_A(value, in_i, in_k, at, i, k, t, key) do {                                               \
    const auto of_k = key;                                                                                \
    PRODUCT_A_IS(value, (in_i) && of_k.inside, LOAD_w(group * CONV_GROUP_O + (i), of_k.a, of_k.b, of_k.c)); \
} while (0)
#define PRODUCT_B(value, in_k, at, k, t, j, from, may, key) do {                                  \
    const auto of_k = key;                                                                                \
    CONV_PIXEL(j);                                                                                        \
    const CONV_INT h = CONV_ROW(p, of_k.b), w_ = CONV_COLUMN(q, of_k.c);                                  \
    PRODUCT_B_IS(value, (may) && of_k.inside && (!CONV_EDGES || (CONV_BELOW(h, (H) * (UP_H)) && CONV_BELOW(w_, (W) * (UP_W)))),\
        LOAD_x(n, group * CONV_GROUP_C + of_k.a, h / (UP_H), w_ / (UP_W)));                               \
} while (0)
#endif
#ifdef POOL_H
#define PRODUCT_Y(r, at, i, j, sums) do {                                                                 \
    CONV_PIXEL(j);                                                                                        \
    const CONV_INT o = group * CONV_GROUP_O + (i);                                                        \
    T best = 0;                                                                                           \
    int where = -1;   /* nothing seen yet */                                                              \
    EXPRC_UNROLL                                                                                          \
    for (int k_ = 0; k_ < CONV_AREA; k_++) {                                                              \
        const CONV_INT p_k = p + k_ / (POOL_W), q_k = q + k_ % (POOL_W);                                  \
        if (p_k >= (P) || q_k >= (Q)) continue;                                                           \
        const T x_k = VALUE(0, n, o, p_k, q_k, (sums)[k_]);                                               \
        const bool taken = where < 0 || x_k > best || (x_k != x_k && best == best);                       \
        best = taken ? x_k : best;                                                                        \
        where = taken ? k_ : where;                                                                       \
    }                                                                                                     \
    STORE_y(n, o, p / (POOL_H), q / (POOL_W), best);                                                      \
    STORE_code(n, o, p / (POOL_H), q / (POOL_W), where);                                                  \
} while (0)
#else
#define PRODUCT_Y(r, at, i, j, value) do {                                                                \
    CONV_PIXEL(j);                                                                                        \
    if (p < (P) && q < (Q)) { STORE_y(r, n, group * CONV_GROUP_O + (i), p, q, value); }                   \
} while (0)
#endif
