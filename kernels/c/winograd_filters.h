/* winograd_filters.h: filters of 3 x 3 or 5 x 5, transformed for conv2d_winograd.h
 *
 *     u[i*K + j, t, c, r] = sum over v, v' of G[i,v] * w[o,c,v,v'] * G[j,v'],   o = t*PANEL + r,   K = TILE + SIZE - 1
 *
 * G is that of Winograd's minimal filtering F(TILE, SIZE) with the points 0, 1, -1 (TILE = 2) and 2, -2 (K = 6), and infinity
 * (Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks). Where o is beyond O, u is 0.
 *
 *     TILE = 2:   1    0    0          TILE = 4:   1/4    0     0          SIZE = 5: the six rows of TILE = 4 with
 *                1/2  1/2  1/2                    -1/6  -1/6  -1/6         two more powers of the points, infinity's
 *                1/2 -1/2  1/2                    -1/6   1/6  -1/6         1 in the last column
 *                 0    0    1                     1/24  1/12   1/6
 *                                                 1/24 -1/12   1/6
 *                                                   0     0     1
 *
 * Sizes   CIN, O, TILE and SIZE (4 and 3, 2 and 3, 2 and 5), PANEL
 * Hooks   LOAD_w(o,c,u,v)           value
 *         STORE_u(k,t,c,r,value)    statement; run once per element
 *
 * One block is one panel of PANEL filters.
 */
#ifndef KERNEL
#define KERNEL winograd_filters
#define PARAMS const T *restrict w, T *restrict u, int64_t CIN, int64_t O
#define TILE 4
#define PANEL 8
#define LOAD_w(o, c, u, v) w[(((o) * (CIN) + (c)) * SIZE + (u)) * SIZE + (v)]
#define STORE_u(k, t, c, r, value) u[(((k) * (((O) + (PANEL) - 1) / (PANEL)) + (t)) * (CIN) + (c)) * (PANEL) + (r)] = (value)
#endif
#ifndef T
#define T float
#endif
#ifndef SIZE
#define SIZE 3
#endif

#define FILTERS_PASTE_(kernel, name) kernel##_##name
#define FILTERS_PASTE(kernel, name) FILTERS_PASTE_(kernel, name)
#define FILTERS_NAME(name) FILTERS_PASTE(KERNEL, name)
#define FILTERS_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))

__attribute__((unused)) static int64_t FILTERS_NAME(blocks)(PARAMS) {
    return ((O) + (PANEL) - 1) / (PANEL);
}

/* to[i] = sum over v of G[i,v] * from[v], of PANEL numbers at a time; the rows of `from` and `to` are `step` and `apart` such. */
static inline void FILTERS_NAME(line)(const T (*from)[PANEL], int64_t step, T (*to)[PANEL], int64_t apart) {
    _Pragma("omp simd")
    for (int64_t r = 0; r < (PANEL); r++) {
        const T a = from[0][r], b = from[step][r], c = from[2 * step][r];
#if SIZE == 5
        const T d = from[3 * step][r], e = from[4 * step][r];
        const T even = (a + c * 4 + e * 16) * (T)(1.0 / 24), odd = (b + d * 4) * (T)(1.0 / 12);
        const T ends = (a + c + e) * (T)(-1.0 / 6), middle = (b + d) * (T)(1.0 / 6);
        to[0][r] = a * (T)0.25;
        to[apart][r] = ends - middle;
        to[2 * apart][r] = ends + middle;
        to[3 * apart][r] = even + odd;
        to[4 * apart][r] = even - odd;
        to[5 * apart][r] = e;
#elif TILE == 4
        const T even = a * (T)(1.0 / 24) + c * (T)(1.0 / 6), odd = b * (T)(1.0 / 12), ends = (a + c) * (T)(-1.0 / 6), middle = b * (T)(1.0 / 6);
        to[0][r] = a * (T)0.25;
        to[apart][r] = ends - middle;
        to[2 * apart][r] = ends + middle;
        to[3 * apart][r] = even + odd;
        to[4 * apart][r] = even - odd;
        to[5 * apart][r] = c;
#else
        const T ends = (a + c) * (T)0.5, middle = b * (T)0.5;
        to[0][r] = a;
        to[apart][r] = ends + middle;
        to[2 * apart][r] = ends - middle;
        to[3 * apart][r] = c;
#endif
    }
}

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    enum { side = TILE + SIZE - 1 };
    for (int64_t t = begin; t < end; t++)
        for (int64_t c = 0; c < (CIN); c++) {
            T w_c[SIZE][SIZE][PANEL], rows[side][SIZE][PANEL], u_c[side][side][PANEL];
            for (int64_t u = 0; u < SIZE; u++)
                for (int64_t v = 0; v < SIZE; v++)
                    for (int64_t r = 0; r < (PANEL); r++) {
                        const int64_t o = t * (PANEL) + r;
                        w_c[u][v][r] = o < (O) ? LOAD_w(FILTERS_MIN(o, (O) - 1), c, u, v) : 0;
                    }
            for (int64_t v = 0; v < SIZE; v++) FILTERS_NAME(line)(&w_c[0][v], SIZE, &rows[0][v], SIZE);
            for (int64_t i = 0; i < side; i++) FILTERS_NAME(line)(&rows[i][0], 1, &u_c[i][0], 1);
            for (int64_t k = 0; k < side * side; k++)
                for (int64_t r = 0; r < (PANEL); r++) { STORE_u(k, t, c, r, u_c[k / side][k % side][r]); }
        }
}

#undef FILTERS_PASTE_
#undef FILTERS_PASTE
#undef FILTERS_NAME
#undef FILTERS_MIN
