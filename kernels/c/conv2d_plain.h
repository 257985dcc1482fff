/* conv2d_plain.h: two-dimensional convolution in the plain layout, for batches too small to fill the lanes
 *
 *     y[n,o,p,q] = sum over c, u, v of x[n, g*C + c, h, w] * w[o,c,u,v]
 *     h = (p*SH + u*DH - PH) / UP_H,   w = (q*SW + v*DW - PW) / UP_W,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (u, v) for which h and w are whole and inside the image; summed over c, u, v in order.
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, UP_H, UP_W, GROUPS
 * Hooks   LOAD_x(n,c,h,w)         value
 *         LOAD_w(o,c,u,v)         value; c counts inside the group
 *         STORE_y(n,o,p,q,value)  statement; run once per element, lane by lane along q
 *
 * Tiling: four output channels by up to COLUMNS columns of one output row are summed in a buffer on the stack; the
 * columns are the vectorised axis, between exact bounds for every v. One block is one row p of one tile of channels.
 *
 *        x row h   | . . . . . . . . |        for c, u, v:   sum[o][q] += w[o,c,u,v] * x[q*SW + v]
 *        v = 1       |<- all q ->|
 */
#ifndef KERNEL
#define KERNEL conv2d_plain
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
#ifndef GROUPS
#define GROUPS 1
#endif

#define CONV_PASTE_(kernel, name) kernel##_##name
#define CONV_PASTE(kernel, name) CONV_PASTE_(kernel, name)
#define CONV_NAME(name) CONV_PASTE(KERNEL, name)
#define CONV_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define CONV_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define CONV_TALL 4
#define CONV_COLUMNS 256

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    return (N) * (GROUPS) * CONV_CUT((O) / (GROUPS), CONV_TALL) * (P);
}

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    T sum[CONV_TALL][CONV_COLUMNS] __attribute__((aligned(64)));
    const int64_t group_o = (O) / (GROUPS), group_c = (CIN) / (GROUPS), tiles = CONV_CUT(group_o, CONV_TALL);

    for (int64_t block = begin; block < end; block++) {
        const int64_t p = block % (P), t = block / (P) % tiles, g = block / ((P) * tiles) % (GROUPS);
        const int64_t n = block / ((P) * tiles * (GROUPS));
        const int64_t o0 = g * group_o + t * CONV_TALL, rows = CONV_MIN(CONV_TALL, group_o - t * CONV_TALL);
        for (int64_t q0 = 0; q0 < (Q); q0 += CONV_COLUMNS) {
            const int64_t count = CONV_MIN(CONV_COLUMNS, (Q) - q0);
            for (int64_t r = 0; r < CONV_TALL; r++) {
                _Pragma("omp simd")
                for (int64_t i = 0; i < count; i++) sum[r][i] = 0;
            }
            for (int64_t c = 0; c < group_c; c++)
                for (int64_t u = 0; u < (KH); u++) {
                    const int64_t t_h = p * (SH) + u * (DH) - (PH), h = t_h / (UP_H);
                    if (t_h < 0 || t_h % (UP_H) || h >= (H)) continue;
                    for (int64_t v = 0; v < (KW); v++) {
                        const int64_t t_w = q0 * (SW) + v * (DW) - (PW);   /* of column q0 */
                        T w_r[CONV_TALL];
                        for (int64_t r = 0; r < CONV_TALL; r++) w_r[r] = LOAD_w(o0 + CONV_MIN(r, rows - 1), c, u, v);
                        if ((UP_W) == 1) {
                            const int64_t i0 = t_w < 0 ? CONV_CUT(-t_w, SW) : 0;
                            const int64_t i1 = t_w < (W) ? CONV_MIN(count, CONV_CUT((W) - t_w, SW)) : 0;
                            _Pragma("omp simd")
                            for (int64_t i = i0; i < i1; i++) {
                                const T x_i = LOAD_x(n, g * group_c + c, h, t_w + i * (SW));
                                for (int r = 0; r < CONV_TALL; r++) sum[r][i] += w_r[r] * x_i;
                            }
                        } else {
                            for (int64_t i = 0; i < count; i++) {
                                const int64_t t_i = t_w + i * (SW);
                                if (t_i < 0 || t_i % (UP_W) || t_i / (UP_W) >= (W)) continue;
                                const T x_i = LOAD_x(n, g * group_c + c, h, t_i / (UP_W));
                                for (int r = 0; r < CONV_TALL; r++) sum[r][i] += w_r[r] * x_i;
                            }
                        }
                    }
                }
            for (int64_t r = 0; r < rows; r++) {
                _Pragma("omp simd")
                for (int64_t i = 0; i < count; i++) { STORE_y(n, o0 + r, p, q0 + i, sum[r][i]); }
            }
        }
    }
}

#undef CONV_PASTE_
#undef CONV_PASTE
#undef CONV_NAME
#undef CONV_CUT
#undef CONV_MIN
#undef CONV_TALL
#undef CONV_COLUMNS
