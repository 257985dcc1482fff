/* pool.h: pooling over windows of the last two image axes
 *
 *     MODE 0   y[b,c,p,q,l] = max over (u, v) of x[b, c, h, w, l],  code = u*KW + v of the first maximum
 *     MODE 1   y[b,c,p,q,l] = sum over (u, v) of x[b, c, h, w, l]
 *     h = p*SH + u*DH - PH,   w = q*SW + v*DW - PW,   over those (u, v) for which (h, w) lies inside the image
 *
 * NaN wins a maximum, the first one, as in NumPy. A window wholly outside the image gives 0 and code 0.
 * The sum runs over u, then v, in order.
 *
 * Layout: l < LANE_COUNT are images that lie side by side (batch-innermost: LANE_COUNT = LANES), the vectorised
 * axis. LANE_COUNT == 1 is the plain layout: then neighbouring columns q are vectorised, a strip of up to 64 at a time.
 *
 *        x   +--+--+--+--+      y  +--+--+       u, v ->  0 1      one block is one row p
 *          h |0 |1 |  |  |       p |  |  |  <-- code      2 3      of one channel of one b
 *            |2 |3 |  |  |         +--+--+
 *            +--+--+--+--+
 *
 * In the plain layout columns that are 2 to 4 apart read every second to fourth number of a row. The row is then read as it
 * lies and taken apart into `phases`, in which lies side by side what the columns read through one v:
 *
 *        row          w0 w1 w2 w3 w4 w5 ..       SW = 2, KW = 3:   v = 0   phase 0 of the row from w0 on
 *        phases[0]    w0 w2 w4 ..                                  v = 1   phase 1
 *        phases[1]    w1 w3 w5 ..                                  v = 2   phase 0 of the row from w2 on
 *
 * Sizes   NB, C, H, W, P, Q, KH, KW, SH, SW, PH, PW, DH, DW;  MODE, LANE_COUNT are constants
 * Hooks   LOAD_x(b,c,h,w,l)             value
 *         STORE_y(b,c,p,q,l,value)      statement; run once per element
 *         STORE_code(b,c,p,q,l,code)    MODE 0: statement; code is an int, and its type in memory the hook's business
 */
#ifndef KERNEL
#define KERNEL pool
#define PARAMS const T *restrict x, T *restrict y, int32_t *restrict code, int64_t NB, int64_t C, int64_t H, int64_t W, int64_t P, int64_t Q
#define KH 2
#define KW 2
#define SH 2
#define SW 2
#define LOAD_x(b, c, h, w, l) x[((((b) * C + (c)) * H + (h)) * W + (w)) * LANE_COUNT + (l)]
#define STORE_y(b, c, p, q, l, value) y[((((b) * C + (c)) * P + (p)) * Q + (q)) * LANE_COUNT + (l)] = (value)
#define STORE_code(b, c, p, q, l, value) code[((((b) * C + (c)) * P + (p)) * Q + (q)) * LANE_COUNT + (l)] = (value)
#endif
#ifndef T
#define T float
#endif
#ifndef LANES
#define LANES 16
#endif
#ifndef REGISTERS
#define REGISTERS 32
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
#ifndef STORE_code
#define STORE_code(b, c, p, q, l, value) (void)(value)
#endif

#define POOL_PASTE_(kernel, name) kernel##_##name
#define POOL_PASTE(kernel, name) POOL_PASTE_(kernel, name)
#define POOL_NAME(name) POOL_PASTE(KERNEL, name)
#define POOL_CUT(n, size) (((int64_t)(n) + (size) - 1) / (size))
#define POOL_MIN(x, y) ((int64_t)(x) < (int64_t)(y) ? (int64_t)(x) : (int64_t)(y))
#define POOL_ROOM (LANE_COUNT > 1 ? LANE_COUNT : 64)
#define POOL_PHASES 4
#define POOL_ROW (LANE_COUNT > 1 ? LANE_COUNT : POOL_PHASES * POOL_ROOM)
/* Vectors of 64 bytes load and choose under masks: so do columns at a border, and those beyond Q up to a whole vector. Others
 * go from the first column inside to the last, one by one at the end. */
#define POOL_MASKED (LANE_COUNT == 1 && REGISTERS >= 32 && LANES >= 8)
#define POOL_ROUNDED (POOL_MASKED && (SW) <= POOL_PHASES)
#define POOL_SPLITS(WHOLE) (LANE_COUNT == 1 && (SW) > 1 && (SW) <= POOL_PHASES && width % LANES == 0 && (POOL_MASKED || (WHOLE)))
#define POOL_UNROLL _Pragma("GCC unroll 16")
#define POOL_SIMD _Pragma("omp simd")

/* A hook may load what is the same for all columns, a bias. gcc 12 makes no vectors of a loop whose mask hides such a load, but
 * does where the same was loaded in the open before. */
#define POOL_TOUCH(value) do { const T touched = (value); __asm__ volatile("" : : "rm"(touched)); } while (0)

/* Those j for which w + j * step is inside the image: inside0 ... inside1 - 1. */
#define POOL_INSIDE(w, step)                                                                              \
    const int32_t inside0 = (w) < 0 ? (int32_t)POOL_MIN(POOL_ROW, POOL_CUT(-(w), step)) : 0;              \
    const int32_t inside1 = (w) < (W) ? (int32_t)POOL_MIN(POOL_ROW, POOL_CUT((W) - (w), step)) : 0
/* to[j] = x[h, w + j * step] for those of j = 0 ... n - 1 that are inside the image. LANE_COUNT > 1: the lanes of x[h, w]. */
#define POOL_LOAD(to, n, h, w, step) do {                                                                 \
    POOL_INSIDE(w, step);                                                                                 \
    if (LANE_COUNT > 1)                                                                                   \
        POOL_SIMD for (int64_t l = 0; l < LANE_COUNT; l++) to[l] = LOAD_x(b, c, h, w, l);                 \
    else if (inside0 == 0 && (w) + ((n) - 1) * (step) < (W))                                              \
        POOL_SIMD for (int64_t j = 0; j < (n); j++) to[j] = LOAD_x(b, c, h, (w) + j * (step), 0);         \
    else if (POOL_MASKED && inside0 < inside1) {                                                          \
        POOL_TOUCH(LOAD_x(b, c, h, (w) + inside0 * (step), 0));                                           \
        POOL_SIMD for (int64_t j = 0; j < (n); j++)                                                       \
            to[j] = (ramp[j] >= inside0) & (ramp[j] < inside1) ? LOAD_x(b, c, h, (w) + j * (step), 0) : 0; \
    } else if (POOL_MASKED)                                                                               \
        POOL_SIMD for (int64_t j = 0; j < (n); j++) to[j] = 0;                                            \
    else                                                                                                  \
        POOL_SIMD for (int64_t j = inside0; j < POOL_MIN(inside1, n); j++)                                \
            to[j] = LOAD_x(b, c, h, (w) + j * (step), 0);                                                 \
} while (0)

/* All windows of the strip take what they read through (u, v), position k; WHOLE: they are inside the image. */
#define POOL_TAKE(u, v, WHOLE) do {                                                                       \
    const int64_t k = (u) * (KW) + (v), h = p * (SH) + (u) * (DH) - (PH), w = first_w + (v) * (DW);       \
    const int64_t shift = (v) * (DW) / (SW), phase = (v) * (DW) % (SW);                                   \
    if (!(WHOLE) && LANE_COUNT > 1 && (w < 0 || w >= (W))) continue;                                      \
    if (!POOL_SPLITS(WHOLE)) POOL_LOAD(row, width, h, w, SW);                                             \
    else if ((v) == 0 || shift != ((v) - 1) * (DW) / (SW)) {                                              \
        POOL_LOAD(row, width * (SW), h, first_w + shift * (SW), 1);                                       \
        /* all phases in one loop: of one alone the compiler would take the last vector apart, not to read beyond it */ \
        POOL_SIMD for (int64_t i = 0; i < width; i++)                                                     \
            POOL_UNROLL for (int64_t r = 0; r < (SW); r++) phases[r][i] = row[i * (SW) + r];              \
    }                                                                                                     \
    const T *const new = POOL_SPLITS(WHOLE) ? phases[phase] : row;                                        \
    POOL_INSIDE(w, SW);                                                                                   \
    const int ranges = !(WHOLE) && LANE_COUNT == 1 && !POOL_MASKED;                                       \
    const int64_t i0 = ranges ? inside0 : 0, i1 = ranges ? POOL_MIN(inside1, width) : width;              \
    if ((WHOLE) && k == 0)                                                                                \
        POOL_SIMD for (int64_t i = 0; i < width; i++) { best[i] = (MODE) ? (T)0 + new[i] : new[i]; where[i] = 0; } \
    else                                                                                                  \
        POOL_SIMD for (int64_t i = i0; i < i1; i++) {                                                     \
            const T x_i = new[i], y_i = best[i];                                                          \
            if (MODE) best[i] = y_i + x_i;   /* + 0 for what is outside changes no sum that began with 0 */ \
            else {                                                                                        \
                const int taken = POOL_SEEN(WHOLE, ((WHOLE) ? 0 : where[i] < 0) | (x_i > y_i) | ((x_i != x_i) & (y_i == y_i))); \
                best[i] = taken ? x_i : y_i;                                                              \
                where[i] = taken ? (int32_t)k : where[i];                                                 \
            }                                                                                             \
        }                                                                                                 \
} while (0)
#if POOL_MASKED
#define POOL_SEEN(WHOLE, condition) ((condition) & ((WHOLE) | ((ramp[i] >= inside0) & (ramp[i] < inside1))))
#else
#define POOL_SEEN(WHOLE, condition) (condition)
#endif

__attribute__((unused)) static int64_t POOL_NAME(blocks)(PARAMS) { return (NB) * (C) * (P); }

static void KERNEL(PARAMS, int64_t begin, int64_t end) {
    T best[POOL_ROOM] __attribute__((aligned(64))), row[POOL_ROW] __attribute__((aligned(64))) = {0};
    T phases[POOL_PHASES][POOL_ROOM] __attribute__((aligned(64)));
    int32_t where[POOL_ROOM] __attribute__((aligned(64)));   /* -1: nothing seen yet */
    int32_t ramp[POOL_ROW] __attribute__((aligned(64)));     /* 0, 1, 2 ... */
    const int64_t columns = LANE_COUNT > 1 ? 1 : POOL_ROOM;  /* how many q are pooled side by side */
    for (int32_t j = 0; j < POOL_ROW; j++) ramp[j] = j;

    for (int64_t block = begin; block < end; block++) {
        const int64_t p = block % (P), c = block / (P) % (C), b = block / ((P) * (C));
        const int64_t above = (PH) - p * (SH), below = (H) + above;
        const int64_t u0 = above > 0 ? POOL_CUT(above, DH) : 0;
        const int64_t u1 = below > 0 ? POOL_MIN(KH, POOL_CUT(below, DH)) : 0;
        for (int64_t q0 = 0; q0 < (Q); q0 += columns) {
            const int64_t count = LANE_COUNT > 1 ? LANE_COUNT : POOL_MIN(columns, (Q) - q0);
            const int64_t width = POOL_ROUNDED ? POOL_CUT(count, LANES) * LANES : count;
            const int64_t first_w = q0 * (SW) - (PW), last_w = first_w + (columns > 1 ? (count - 1) * (SW) : 0) + ((KW) - 1) * (DW);
            if (u0 == 0 && u1 == (KH) && first_w >= 0 && last_w < (W)) {
                POOL_UNROLL for (int64_t at = 0; at < (KH) * (KW); at++) POOL_TAKE(at / (KW), at % (KW), 1);
            } else {
                POOL_SIMD for (int64_t i = 0; i < width; i++) { best[i] = 0; where[i] = -1; }
                if (LANE_COUNT == 1 && u1 - u0 == (KH))
                    POOL_UNROLL for (int64_t at = 0; at < (KH) * (KW); at++) POOL_TAKE(at / (KW), at % (KW), 0);
                else for (int64_t u = u0; u < u1; u++)
                    for (int64_t v = 0; v < (KW); v++) POOL_TAKE(u, v, 0);
            }
            POOL_SIMD for (int64_t i = 0; i < count; i++) {
                const int64_t q = LANE_COUNT > 1 ? q0 : q0 + i, l = LANE_COUNT > 1 ? i : 0;
                STORE_y(b, c, p, q, l, best[i]);
                if (!(MODE)) { STORE_code(b, c, p, q, l, (where[i] < 0 ? 0 : where[i])); }
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
#undef POOL_PHASES
#undef POOL_SPLITS
#undef POOL_MASKED
#undef POOL_ROUNDED
#undef POOL_ROW
#undef POOL_UNROLL
#undef POOL_SIMD
#undef POOL_LOAD
#undef POOL_TOUCH
#undef POOL_INSIDE
#undef POOL_TAKE
#undef POOL_SEEN
