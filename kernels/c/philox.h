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
 * Uniforms are exact, bit for bit those of exprc/philox.py; normals within 4 ulp of it.
 */
typedef struct { uint32_t word[4]; } philox_words;

SCALAR philox_words philox(uint64_t key, uint64_t counter) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
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
SCALAR double normal_f64(uint64_t key, uint64_t counter) {
    philox_words r = philox(key, counter);
    double high = (double)(int32_t)(r.word[0] >> 5) * 0x1p26, low = (double)(int32_t)(r.word[1] >> 6);
    double a = (high + low + 1.0) * 0x1p-53;                         /* 2^-53 ... 1 */
    uint32_t quarter = (r.word[2] + 0x20000000u) >> 30;
    double f = (double)(int32_t)(r.word[2] - (quarter << 30)) * 0x1p-30 + (double)(int32_t)(r.word[3] >> 9) * 0x1p-53;
    return sqrt_f64(-2.0 * log_f64(a)) * cos_quarters_f64(quarter, f);
}
