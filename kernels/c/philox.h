/* philox.h: random numbers from a counter (needs scalar.h)
 *
 * Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): ten rounds
 * of two multiplications 32 x 32 -> 64 that stir a counter of four words under a key of two. Here the counter is
 * (low, high, 0, 0) of a uint64_t and the key (low, high) of another; every element of an array has its own counter,
 * so that a sample is a pure function of (key, index), whatever the order and the number of threads.
 *
 *   uniform_f32   top 24 bits of word 0, times 2^-24: in [0, 1)
 *   uniform_f64   27 bits of word 0 and 26 bits of word 1, times 2^-53: in [0, 1)
 *   normal_f32    sqrt(-2 log a) cos(2 pi t) (Box and Muller 1958), a in (0, 1] from word 0, t from word 1
 *   normal_f64    the same, a from words 0 and 1, t from words 2 and 3
 *
 * Uniforms are exact, bit for bit those of exprc/philox.py; normals within 4 ulp of it. A draw that may need several
 * tries has the number of the try in the third word of the counter, 64 tries at most (see below):
 *
 *   bounded_u64    a whole number below n: the upper half of word 1:0 times n, off by less than n / 2^64 from even
 *   gamma_draw     of Marsaglia and Tsang, "A simple method for generating gamma variables" (TOMS 2000)
 *   poisson_draw   inversion below a mean of 10; PTRS of Hörmann, "The transformed rejection method for generating
 *                  Poisson random variables" (1993)
 *   binomial_draw  inversion below a mean of 10; BTRS of Hörmann, "The generation of binomial random variates" (1993)
 *
 * exprc/distributions.py is the same in NumPy.
 */
typedef struct { uint32_t word[4]; } philox_words;

SCALAR philox_words philox_try(uint64_t key, uint64_t counter, uint32_t number) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = number, c3 = 0;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    _Pragma("GCC unroll 10") for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c0, product1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    philox_words result = {{c0, c1, c2, c3}};
    return result;
}
SCALAR philox_words philox(uint64_t key, uint64_t counter) { return philox_try(key, counter, 0); }
/* one word of the four; `word` a constant */
SCALAR uint32_t philox_word(uint64_t key, uint64_t counter, int word) { return philox(key, counter).word[word]; }

SCALAR float uniform_f32(uint64_t key, uint64_t counter) {
    return (float)(int32_t)(philox(key, counter).word[0] >> 8) * 0x1p-24f;
}
SCALAR double uniform_f64(uint64_t key, uint64_t counter) {
    philox_words r = philox(key, counter);
    return ((double)(int32_t)(r.word[0] >> 5) * 0x1p26 + (double)(int32_t)(r.word[1] >> 6)) * 0x1p-53;
}

/* cos of (quarter + f) quarter turns, |f| <= 1/2, from an exact f */
SCALAR float cos_quarters_f32(uint32_t quarter, float f) {
    float angle = f * HALF_PI_F32;
    float value = quarter & 1 ? sin_core_f32(angle) : cos_core_f32(angle);
    return (quarter + 1) & 2 ? -value : value;
}
SCALAR double cos_quarters_f64(uint32_t quarter, double f) {
    double angle = f * 1.5707963267948966;
    double value = quarter & 1 ? sin_core_f64(angle) : cos_core_f64(angle);
    return (quarter + 1) & 2 ? -value : value;
}
SCALAR float normal_f32(uint64_t key, uint64_t counter) {
    philox_words r = philox(key, counter);
    float a = ((float)(int32_t)(r.word[0] >> 1) + 0.5f) * 0x1p-31f;   /* 2^-32 ... 1 */
    uint32_t quarter = (r.word[1] + 0x20000000u) >> 30;
    float f = (float)(int32_t)(r.word[1] - (quarter << 30)) * 0x1p-30f;
    return sqrt_f32(-2.0f * log_f32(a)) * cos_quarters_f32(quarter, f);
}
SCALAR double normal_of_words(philox_words r) {
    double high = (double)(int32_t)(r.word[0] >> 5) * 0x1p26, low = (double)(int32_t)(r.word[1] >> 6);
    double a = (high + low + 1.0) * 0x1p-53;                         /* 2^-53 ... 1 */
    uint32_t quarter = (r.word[2] + 0x20000000u) >> 30;
    double f = (double)(int32_t)(r.word[2] - (quarter << 30)) * 0x1p-30 + (double)(int32_t)(r.word[3] >> 9) * 0x1p-53;
    return sqrt_f64(-2.0 * log_f64(a)) * cos_quarters_f64(quarter, f);
}
SCALAR double normal_f64(uint64_t key, uint64_t counter) { return normal_of_words(philox(key, counter)); }

SCALAR uint64_t bounded_u64(uint64_t key, uint64_t counter, uint64_t n) {
    philox_words r = philox(key, counter);
    uint64_t low = (uint32_t)n, high = n >> 32;
    uint64_t middle = ((r.word[0] * low) >> 32) + r.word[1] * low;         /* at most 2^64 - 2^32: no carry is lost */
    uint64_t other = r.word[0] * high + (uint32_t)middle;
    return r.word[1] * high + (middle >> 32) + (other >> 32);
}

/* ------------------------------------------------------------------------------------------ with branches: loops stay scalar */

#define DRAW SCALAR_CALL
#define DRAW_TRIES 64

/* in (0, 1), neither of them */
SCALAR double open_unit(uint32_t high, uint32_t low) {
    return ((double)(int32_t)(high >> 5) * 0x1p26 + (double)(int32_t)(low >> 6) + 0.5) * 0x1p-53;
}
/* log(k!) for k = 0, 1, 2 ... (Stirling from 10 on) */
DRAW double log_factorial(double k) {
    double shift = 1;
    while (k < 10) { k += 1; shift *= k; }
    double z = 1 / k, z2 = z * z;
    double rest = z * (1 / 12.0 - z2 * (1 / 360.0 - z2 * (1 / 1260.0 - z2 / 1680)));
    return (k + 0.5) * log_f64(k) - k + 0.91893853320467274 + rest - log_f64(shift);
}

DRAW double gamma_tries(uint64_t key, uint64_t counter, double shape) {
    if (!(shape >= 0)) return NAN_F64;
    if (shape == 0 || shape == INF_F64) return shape;
    double d = (shape < 1 ? shape + 1 : shape) - 1 / 3.0, c = 1 / sqrt_f64(9 * d), v = 1;
    philox_words r;
    for (uint32_t number = 0; number < DRAW_TRIES; number++) {
        double x = normal_of_words(philox_try(key, counter, 2 * number));
        double cube = (1 + c * x) * (1 + c * x) * (1 + c * x);
        r = philox_try(key, counter, 2 * number + 1);
        if (cube <= 0) continue;
        v = cube;
        if (log_f64(open_unit(r.word[0], r.word[1])) < 0.5 * x * x + d - d * v + d * log_f64(v)) break;
    }
    return shape < 1 ? d * v * exp_f64(log_f64(open_unit(r.word[2], r.word[3])) / shape) : d * v;
}
SCALAR double gamma_draw(uint64_t key, uint64_t counter, double shape) { return gamma_tries(key, counter, shape); }

/* The first k at which u is used up by p, p lam, p lam^2/2 ... or by the chances of k of n; then what is left is rounding. */
DRAW double poisson_search(double u, double mean) {
    double p = exp_f64(-mean), k = 0;
    while (u > p && (k < mean || p > 0x1p-60)) { u -= p; k += 1; p *= mean / k; }
    return k;
}
DRAW double poisson_tries(uint64_t key, uint64_t counter, double mean) {
    if (!(mean >= 0) || mean > 0x1p52) return -1;
    philox_words r = philox(key, counter);
    if (mean < 10) return poisson_search(open_unit(r.word[0], r.word[1]), mean);
    double b = 0.931 + 2.53 * sqrt_f64(mean), a = -0.059 + 0.02483 * b, logarithm = log_f64(mean);
    double scale = 1.1239 + 1.1328 / (b - 3.4), limit = 0.9277 - 3.6224 / (b - 2);
    for (uint32_t number = 0; number < DRAW_TRIES; number++) {
        r = philox_try(key, counter, number);
        double u = open_unit(r.word[0], r.word[1]) - 0.5, v = open_unit(r.word[2], r.word[3]), side = 0.5 - __builtin_fabs(u);
        double k = floor_f64((2 * a / side + b) * u + mean + 0.43);
        if (side >= 0.07 && v <= limit) return k;
        if (k < 0 || (side < 0.013 && v > side)) continue;
        if (log_f64(v * scale / (a / (side * side) + b)) <= k * logarithm - mean - log_factorial(k)) return k;
    }
    return floor_f64(mean);
}
SCALAR double poisson_draw(uint64_t key, uint64_t counter, double mean) { return poisson_tries(key, counter, mean); }

DRAW double binomial_search(double u, double n, double p) {
    double chance = exp_f64(n * log1p_f64(-p)), k = 0;
    while (u > chance && k < n && (k < n * p || chance > 0x1p-60)) {
        u -= chance;
        chance *= (n - k) / (k + 1) * (p / (1 - p));
        k += 1;
    }
    return k;
}
DRAW double binomial_tries(uint64_t key, uint64_t counter, double n, double p) {   /* p at most a half */
    philox_words r = philox(key, counter);
    if (n * p < 10) return binomial_search(open_unit(r.word[0], r.word[1]), n, p);
    double spread = sqrt_f64(n * p * (1 - p)), b = 1.15 + 2.53 * spread, a = -0.0873 + 0.0248 * b + 0.01 * p;
    double alpha = (2.83 + 5.1 / b) * spread, limit = 0.92 - 4.2 / b, slope = log_f64(p / (1 - p)), m = floor_f64((n + 1) * p);
    double top = log_factorial(m) + log_factorial(n - m);
    for (uint32_t number = 0; number < DRAW_TRIES; number++) {
        r = philox_try(key, counter, number);
        double u = open_unit(r.word[0], r.word[1]) - 0.5, v = open_unit(r.word[2], r.word[3]), side = 0.5 - __builtin_fabs(u);
        double k = floor_f64((2 * a / side + b) * u + n * p + 0.5);
        if (k < 0 || k > n) continue;
        if (side >= 0.07 && v <= limit) return k;
        if (log_f64(v * alpha / (a / (side * side) + b)) <= top - log_factorial(k) - log_factorial(n - k) + (k - m) * slope) return k;
    }
    return m;
}
SCALAR double binomial_draw(uint64_t key, uint64_t counter, double n, double p) {
    if (!(n >= 0) || !(p >= 0) || p > 1 || n > 0x1p52) return -1;
    return p > 0.5 ? n - binomial_tries(key, counter, n, 1 - p) : binomial_tries(key, counter, n, p);
}
