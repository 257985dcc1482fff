/* winograd_weights.h: the gradient of filters of 3 x 3, from what conv2d_winograd_grad_weight.h sums
 *
 *     y[o,c,u,v] = sum over r, i, j of G[i,u] * m[r, i*K + j, c, o] * G[j,v],   K = TILE + 2
 *
 * with the G of winograd_filters.h. The parts r are added in order. Where one of the nine is not finite, all nine are computed as sums,
 *
 *     y[o,c,u,v] = sum over b, p, q, l of x[b, c, p + u - PH, q + v - PW, l] * g[b,o,p,q,l]
 *
 * so that an infinity or a NaN goes where it belongs.
 *
 * Sizes   NB, CIN, H, W, O, P, Q, PH, PW, TILE (2 or 4), PARTS
 * Hooks   LOAD_m(r,k,c,o)                  value
 *         PTR_x(b,c,h,w), PTR_g(b,o,p,q)   address of LANES values; LANES apart along w and q
 *         STORE_y(o,c,u,v,value)           statement; run once per element
 *
 * One block is one channel c; MANY filters o are done at a time, the parts and then the transform.
 */
#ifndef KERNEL
#define KERNEL winograd_weights
#define PARAMS const T *restrict m, const T *restrict x, const T *restrict g, T *restrict y, int64_t NB, int64_t CIN, int64_t H, int64_t W, int64_t O, int64_t P, int64_t Q
#define PARTS 1
#define PH 1
#define PW 1
#define TILE 4
#define LOAD_m(r, k, c, o) m[(((r) * 36 + (k)) * (CIN) + (c)) * (O) + (o)]
#define PTR_x(b, c, h, w_) (x + ((((b) * (CIN) + (c)) * (H) + (h)) * (W) + (w_)) * LANES)
#define PTR_g(b, o, p, q) (g + ((((b) * (O) + (o)) * (P) + (p)) * (Q) + (q)) * LANES)
#define STORE_y(o, c, u, v, value) y[(((o) * (CIN) + (c)) * 3 + (u)) * 3 + (v)] = (value)
#endif
#ifndef T
#define T float
#endif
#ifndef LANES
#define LANES 16
#endif

#define WEIGHTS_PASTE_(kernel, name) kernel##_##name
#define WEIGHTS_PASTE(kernel, name) WEIGHTS_PASTE_(kernel, name)
#define WEIGHTS_NAME(name) WEIGHTS_PASTE(KERNEL, name)
#define WEIGHTS_MANY 128
#define WEIGHTS_VEC WEIGHTS_NAME(vec)

#if LANES == 1
typedef T WEIGHTS_VEC;
#else
typedef T WEIGHTS_VEC __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
#endif

__attribute__((unused)) static int64_t WEIGHTS_NAME(blocks)(PARAMS) {
    return (CIN);
}

/* to[u] = sum over i of G[i,u] * from[i], of `count` numbers; rows are `step` and `apart` times MANY from one another. */
static inline void WEIGHTS_NAME(line)(const T (*from)[WEIGHTS_MANY], int64_t step, T (*to)[WEIGHTS_MANY], int64_t apart, int64_t count) {
    _Pragma("omp simd")
    for (int64_t l = 0; l < count; l++) {
        const T m0 = from[0][l], m1 = from[step][l], m2 = from[2 * step][l], m3 = from[3 * step][l];
#if TILE == 4
        const T m4 = from[4 * step][l], m5 = from[5 * step][l];
        const T ends = (m1 + m2) * (T)(-1.0 / 6), middle = (m2 - m1) * (T)(1.0 / 6);
        const T even = (m3 + m4) * (T)(1.0 / 24), odd = (m3 - m4) * (T)(1.0 / 12);
        to[0][l] = m0 * (T)0.25 + ends + even;
        to[apart][l] = middle + odd;
        to[2 * apart][l] = ends + even * 4 + m5;
#else
        const T even = (m1 + m2) * (T)0.5, odd = (m1 - m2) * (T)0.5;
        to[0][l] = m0 + even;
        to[apart][l] = odd;
        to[2 * apart][l] = even + m3;
#endif
    }
}

/* w_o[u][v][l], the nine of one o and c, as sums */
#define WEIGHTS_SUMS(o, c, l) do {                                                                        \
    WEIGHTS_VEC acc[9];                                                                                    \
    for (int64_t k = 0; k < 9; k++) acc[k] = (WEIGHTS_VEC){0};                                            \
    for (int64_t b = 0; b < (NB); b++)                                                                    \
        for (int64_t p = 0; p < (P); p++)                                                                 \
            for (int64_t q = 0; q < (Q); q++)                                                             \
                for (int64_t k = 0; k < 9; k++) {                                                         \
                    const int64_t h = p + k / 3 - (PH), w_ = q + k % 3 - (PW);                            \
                    if (h < 0 || h >= (H) || w_ < 0 || w_ >= (W)) continue;                               \
                    acc[k] += *(const WEIGHTS_VEC *)PTR_x(b, c, h, w_) * *(const WEIGHTS_VEC *)PTR_g(b, o, p, q); \
                }                                                                                         \
    for (int64_t k = 0; k < 9; k++) {                                                                     \
        const T *each = (const T *)&acc[k];                                                               \
        T total = 0;                                                                                      \
        for (int64_t i = 0; i < LANES; i++) total += each[i];                                             \
        w_o[k / 3][k % 3][l] = total;                                                                     \
    }                                                                                                     \
} while (0)

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    enum { side = TILE + 2 };
    for (int64_t c = begin; c < end; c++)
        for (int64_t o0 = 0; o0 < (O); o0 += WEIGHTS_MANY) {
            T sums[side][side][WEIGHTS_MANY], rows[3][side][WEIGHTS_MANY], w_o[3][3][WEIGHTS_MANY];
            const int64_t count = (O) - o0 < WEIGHTS_MANY ? (O) - o0 : WEIGHTS_MANY;
            for (int64_t r = 0; r < (PARTS); r++)
                for (int64_t k = 0; k < side * side; k++) {
                    T *const to = sums[k / side][k % side];
                    _Pragma("omp simd")
                    for (int64_t l = 0; l < count; l++) to[l] = (r ? to[l] : 0) + LOAD_m(r, k, c, o0 + l);
                }
            for (int64_t j = 0; j < side; j++) WEIGHTS_NAME(line)(&sums[0][j], side, &rows[0][j], side, count);
            for (int64_t u = 0; u < 3; u++) WEIGHTS_NAME(line)(&rows[u][0], 1, &w_o[u][0], 1, count);
            for (int64_t l = 0; l < count; l++) {
                T total = 0;
                for (int64_t k = 0; k < 9; k++) total += w_o[k / 3][k % 3][l];
                if (__builtin_expect(!(total - total == 0), 0)) WEIGHTS_SUMS(o0 + l, c, l);
                for (int64_t k = 0; k < 9; k++) { STORE_y(o0 + l, c, k / 3, k % 3, w_o[k / 3][k % 3][l]); }
            }
        }
}

#undef WEIGHTS_PASTE_
#undef WEIGHTS_PASTE
#undef WEIGHTS_NAME
#undef WEIGHTS_MANY
#undef WEIGHTS_VEC
#undef WEIGHTS_SUMS
