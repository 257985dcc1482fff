/* conv2d_plain_grad_weight.h: gradient of a convolution with respect to its weights, plain layout
 *
 *     dw[r,o,c,u,v] = sum over n of part r, p, q of x[n, g*C + c, h, w] * gy[n,o,p,q]
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW,   g = o / (O / GROUPS),   C = CIN / GROUPS
 *
 * over those (p, q) for which (h, w) lies inside the image. Part r holds the images from N*r/PARTS to
 * N*(r+1)/PARTS; the caller adds the parts.
 *
 * Sizes   N, CIN, H, W, O, KH, KW, P, Q, SH, SW, PH, PW, DH, DW, GROUPS, PARTS
 * Hooks   LOAD_x(n,c,h,w), LOAD_g(n,o,p,q)   value
 *         STORE_y(r,o,c,u,v,value)           statement; run once per element
 *
 * Tiling: none; every weight is one dot product of an image plane and a gradient plane, vectorised along q
 * between exact bounds. One block is one pair (o, c) of one part.
 *
 *        gy row p     |<----- q0 ... q1 ----->|
 *        x row h    |   |<------------------->|  |       shifted by v
 */
#ifndef KERNEL
#define KERNEL conv2d_plain_grad_weight
#define PARAMS const T *restrict x, const T *restrict gy, T *restrict y, int64_t N, int64_t CIN, int64_t H, int64_t W, int64_t O, int64_t P, int64_t Q
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

#define CONV_PASTE_(kernel, name) kernel##_##name
#define CONV_PASTE(kernel, name) CONV_PASTE_(kernel, name)
#define CONV_NAME(name) CONV_PASTE(KERNEL, name)
#define CONV_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define CONV_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))

__attribute__((unused)) static int64_t CONV_NAME(blocks)(PARAMS) {
    return (PARTS) * (O) * ((CIN) / (GROUPS));
}

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    const int64_t group_o = (O) / (GROUPS), group_c = (CIN) / (GROUPS);
    for (int64_t block = begin; block < end; block++) {
        const int64_t c = block % group_c, o = block / group_c % (O), part = block / (group_c * (O));
        const int64_t channel = o / group_o * group_c + c;
        const int64_t first = (N) * part / (PARTS), after = (N) * (part + 1) / (PARTS);
        for (int64_t u = 0; u < (KH); u++)
            for (int64_t v = 0; v < (KW); v++) {
                /* the p and q for which (p*SH + u*DH - PH, q*SW + v*DW - PW) lies inside the image */
                const int64_t above = (PH) - u * (DH), below = (H) + above;
                const int64_t left = (PW) - v * (DW), right = (W) + left;
                const int64_t p0 = above > 0 ? CONV_CUT(above, SH) : 0;
                const int64_t p1 = below > 0 ? CONV_MIN(P, CONV_CUT(below, SH)) : 0;
                const int64_t q0 = left > 0 ? CONV_CUT(left, SW) : 0;
                const int64_t q1 = right > 0 ? CONV_MIN(Q, CONV_CUT(right, SW)) : 0;
                T sum = 0;
                for (int64_t n = first; n < after; n++)
                    for (int64_t p = p0; p < p1; p++) {
                        _Pragma("omp simd reduction(+:sum)")
                        for (int64_t q = q0; q < q1; q++)
                            sum += LOAD_x(n, channel, p * (SH) - above, q * (SW) - left) * LOAD_g(n, o, p, q);
                    }
                STORE_y(part, o, c, u, v, sum);
            }
    }
}

#undef CONV_PASTE_
#undef CONV_PASTE
#undef CONV_NAME
#undef CONV_CUT
#undef CONV_MIN
