/* scalar.h: scalar mathematics for generated loops.
 *
 * Every function is `static inline`, branch-free (selects only) and free of tables, calls and
 * errno, so that gcc and clang vectorise it inside `#pragma omp simd`; the exceptions are marked
 * "libm" or "loop" below and keep the loop that calls them scalar. NaN propagates, infinities,
 * signed zeros, subnormals and huge arguments give what NumPy gives.
 *
 * A formula is written with NumPy's names, `maximum(exp(x), y)`; the macros at the end choose by
 * the type of the argument the function with the suffix _f32, _f64, _i32, _u32, _i64 or _u64.
 * Integers narrower than int are promoted by C, and wrap when the result is stored in their type.
 * A macro repeats its argument in the text (never in the program), so nested calls are best named.
 *
 * Largest error in ulp, measured over 4 million arguments (random bit patterns, and intervals where the
 * function is hard), with and without FMA; exp, log and erf in float32 over every number, with FMA (erf without: 1.4). "=": exact, or rounded once.
 *
 *   name               f32     f64        name               f32     f64
 *   exp                1.1     1.2        sin                1.6     libm
 *   exp2               1.1     1.1        cos                1.6     libm
 *   expm1              1.8     1.8        tan                3.6     libm
 *   log                1.1     0.8        arcsin             2.5     libm
 *   log1p              0.9     0.8        arccos             1.4     libm
 *   log2               2.0     1.6        arctan             1.9     libm
 *   log10              2.1     libm       arctan2            2.2     libm
 *   tanh               1.5     1.5        sinh               1.7     libm
 *   sigmoid            2.4     2.2        cosh               1.5     libm
 *   softplus           1.8     1.7        arcsinh            1.8     libm
 *   erf                1.1     1.0        arccosh            2.0     libm
 *   erfc               4.0     3.6        arctanh            1.9     libm
 *   power              0.6     libm       gammaln            libm    libm
 *   sqrt               =       =          hypot              libm    libm
 *   logaddexp          2.0     2.0        cbrt               0.6     libm     (logaddexp: of max(|x|, |y|, 1))
 *
 *   floor ceil trunc round round_away abs sign   =  (f32, f64 and every integer type)
 *   maximum minimum                       =  (f32, f64 and every integer type; NaN propagates)
 *   mod floor_divide fmod                 =  (f32 and f64: libm fmod; every integer type: x // 0 = x % 0 = 0)
 *   power                                 =  (every integer type: loop; wraps; 0 for a negative exponent, but 1 and -1)
 *   left_shift right_shift                =  (every integer type)
 *   copysign signbit isnan isinf isfinite =  (f32, f64)
 *   to_int8 ... to_uint64                 =  (f32, f64: truncated; NaN gives 0, what is out of range the nearest end)
 */
#ifdef EXPRC_DEVICE   /* CUDA: kernels/cuda/prelude.cuh comes before */
#define SCALAR EXPRC_DEVICE
#define SCALAR_LOOP EXPRC_DEVICE
#define SCALAR_CALL EXPRC_CALL
#define SCALAR_TABLE EXPRC_TABLE
#else
#include <stdint.h>
#define SCALAR static inline __attribute__((always_inline, unused))
#define SCALAR_LOOP static __attribute__((unused))             /* what loops: inlined where the compiler likes */
#define SCALAR_CALL static __attribute__((unused, noinline))   /* what is long */
#define SCALAR_TABLE static const __attribute__((unused))
#endif

#define INF_F32 __builtin_inff()
#define NAN_F32 __builtin_nanf("")
#define INF_F64 __builtin_inf()
#define NAN_F64 __builtin_nan("")

/* The bits of a number, and back. */
SCALAR int32_t bits_f32(float x) { int32_t i; __builtin_memcpy(&i, &x, sizeof i); return i; }
SCALAR int64_t bits_f64(double x) { int64_t i; __builtin_memcpy(&i, &x, sizeof i); return i; }
SCALAR float number_f32(int32_t i) { float x; __builtin_memcpy(&x, &i, sizeof x); return x; }
SCALAR double number_f64(int64_t i) { double x; __builtin_memcpy(&x, &i, sizeof x); return x; }

/* 2 to the power k, for k of a normal number. */
SCALAR float two_to_f32(int32_t k) { return number_f32((int32_t)((uint32_t)(k + 127) << 23)); }
SCALAR double two_to_f64(int64_t k) { return number_f64((int64_t)((uint64_t)(k + 1023) << 52)); }

/* ------------------------------------------------------------- rounding, sign, comparison */

SCALAR float sqrt_f32(float x) { return __builtin_sqrtf(x); }
SCALAR double sqrt_f64(double x) { return __builtin_sqrt(x); }
SCALAR float floor_f32(float x) { return __builtin_floorf(x); }
SCALAR double floor_f64(double x) { return __builtin_floor(x); }
SCALAR float ceil_f32(float x) { return __builtin_ceilf(x); }
SCALAR double ceil_f64(double x) { return __builtin_ceil(x); }
SCALAR float trunc_f32(float x) { return __builtin_truncf(x); }
SCALAR double trunc_f64(double x) { return __builtin_trunc(x); }
SCALAR float round_f32(float x) { return __builtin_rintf(x); }   /* half to even */
SCALAR double round_f64(double x) { return __builtin_rint(x); }
SCALAR float round_away_f32(float x) {                           /* half away from zero */
    float whole = __builtin_truncf(x), more = __builtin_fabsf(x - whole) >= 0.5f ? 1.0f : 0.0f;
    return __builtin_copysignf(__builtin_fabsf(whole) + more, x);
}
SCALAR double round_away_f64(double x) {
    double whole = __builtin_trunc(x), more = __builtin_fabs(x - whole) >= 0.5 ? 1.0 : 0.0;
    return __builtin_copysign(__builtin_fabs(whole) + more, x);
}
SCALAR int64_t whole_i64(int64_t x) { return x; }                /* floor, ceil, trunc, round of an integer */
SCALAR uint64_t whole_u64(uint64_t x) { return x; }

SCALAR float abs_f32(float x) { return __builtin_fabsf(x); }
SCALAR double abs_f64(double x) { return __builtin_fabs(x); }
SCALAR int32_t abs_i32(int32_t x) { return x < 0 ? (int32_t)(0u - (uint32_t)x) : x; }
SCALAR int64_t abs_i64(int64_t x) { return x < 0 ? (int64_t)(0u - (uint64_t)x) : x; }
SCALAR uint32_t abs_u32(uint32_t x) { return x; }
SCALAR uint64_t abs_u64(uint64_t x) { return x; }

SCALAR float sign_f32(float x) { return x != x ? x : (float)(x > 0) - (float)(x < 0); }
SCALAR double sign_f64(double x) { return x != x ? x : (double)(x > 0) - (double)(x < 0); }
SCALAR int32_t sign_i32(int32_t x) { return (x > 0) - (x < 0); }
SCALAR int64_t sign_i64(int64_t x) { return (x > 0) - (x < 0); }
SCALAR uint32_t sign_u32(uint32_t x) { return x > 0; }
SCALAR uint64_t sign_u64(uint64_t x) { return x > 0; }

SCALAR float copysign_f32(float x, float y) { return __builtin_copysignf(x, y); }
SCALAR double copysign_f64(double x, double y) { return __builtin_copysign(x, y); }

/* The comparison is false where one side is NaN: then the NaN is taken, the left one first. */
SCALAR float maximum_f32(float a, float b) { return ((a >= b) | (a != a)) ? a : b; }
SCALAR double maximum_f64(double a, double b) { return ((a >= b) | (a != a)) ? a : b; }
SCALAR int32_t maximum_i32(int32_t a, int32_t b) { return a > b ? a : b; }
SCALAR int64_t maximum_i64(int64_t a, int64_t b) { return a > b ? a : b; }
SCALAR uint32_t maximum_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }
SCALAR uint64_t maximum_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
SCALAR float minimum_f32(float a, float b) { return ((a <= b) | (a != a)) ? a : b; }
SCALAR double minimum_f64(double a, double b) { return ((a <= b) | (a != a)) ? a : b; }
SCALAR int32_t minimum_i32(int32_t a, int32_t b) { return a < b ? a : b; }
SCALAR int64_t minimum_i64(int64_t a, int64_t b) { return a < b ? a : b; }
SCALAR uint32_t minimum_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
SCALAR uint64_t minimum_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }

SCALAR int signbit_f32(float x) { return bits_f32(x) < 0; }
SCALAR int signbit_f64(double x) { return bits_f64(x) < 0; }

/* ------------------------------------------------------------- floats as integers: truncated, held in the range, NaN as 0 */

SCALAR double held(double x, double low, double high) {
    x = x > low ? x : x != x ? 0.0 : low;
    return x < high ? x : high;
}
SCALAR int64_t to_int64_f64(double x) {
    int64_t inside = (int64_t)held(x, -0x1p63, 0x1.fffffffffffffp62);
    return x >= 0x1p63 ? INT64_MAX : inside;
}
SCALAR uint64_t to_uint64_f64(double x) {
    uint64_t inside = (uint64_t)held(x, 0.0, 0x1.fffffffffffffp63);
    return x >= 0x1p64 ? UINT64_MAX : inside;
}

/* ------------------------------------------------------------- shifts: by a negative number or by all bits, what is left of the sign */

SCALAR int32_t left_shift_i32(int32_t a, int32_t b) { return (uint32_t)b < 32 ? (int32_t)((uint32_t)a << (b & 31)) : 0; }
SCALAR int64_t left_shift_i64(int64_t a, int64_t b) { return (uint64_t)b < 64 ? (int64_t)((uint64_t)a << (b & 63)) : 0; }
SCALAR uint32_t left_shift_u32(uint32_t a, uint32_t b) { return b < 32 ? a << (b & 31) : 0; }
SCALAR uint64_t left_shift_u64(uint64_t a, uint64_t b) { return b < 64 ? a << (b & 63) : 0; }
SCALAR int32_t right_shift_i32(int32_t a, int32_t b) { return a >> ((uint32_t)b < 32 ? b & 31 : 31); }
SCALAR int64_t right_shift_i64(int64_t a, int64_t b) { return a >> ((uint64_t)b < 64 ? b & 63 : 63); }
SCALAR uint32_t right_shift_u32(uint32_t a, uint32_t b) { return b < 32 ? a >> (b & 31) : 0; }
SCALAR uint64_t right_shift_u64(uint64_t a, uint64_t b) { return b < 64 ? a >> (b & 63) : 0; }

/* ------------------------------------------------------------- division and remainder (Python's: sign of the divisor) */

SCALAR float fmod_f32(float a, float b) { return __builtin_fmodf(a, b); }   /* libm; sign of the dividend */
SCALAR double fmod_f64(double a, double b) { return __builtin_fmod(a, b); }

SCALAR float mod_f32(float a, float b) {
    float r = __builtin_fmodf(a, b);
    float same_sign = (r < 0) == (b < 0) ? r : r + b;
    return r == 0 ? __builtin_copysignf(0.0f, b) : same_sign;
}
SCALAR double mod_f64(double a, double b) {
    double r = __builtin_fmod(a, b);
    double same_sign = (r < 0) == (b < 0) ? r : r + b;
    return r == 0 ? __builtin_copysign(0.0, b) : same_sign;
}

/* From the exact remainder, so that a // b agrees with a mod b; one step up where the division was rounded down. */
SCALAR float floor_divide_f32(float a, float b) {
    float r = __builtin_fmodf(a, b);
    float q = (a - r) / b - (((r != 0) & ((r < 0) != (b < 0))) ? 1.0f : 0.0f);
    float whole = __builtin_floorf(q);
    whole = q - whole > 0.5f ? whole + 1.0f : whole;
    whole = q == 0 ? __builtin_copysignf(0.0f, a / b) : whole;
    return b == 0 ? a / b : whole;
}
SCALAR double floor_divide_f64(double a, double b) {
    double r = __builtin_fmod(a, b);
    double q = (a - r) / b - (((r != 0) & ((r < 0) != (b < 0))) ? 1.0 : 0.0);
    double whole = __builtin_floor(q);
    whole = q - whole > 0.5 ? whole + 1.0 : whole;
    whole = q == 0 ? __builtin_copysign(0.0, a / b) : whole;
    return b == 0 ? a / b : whole;
}

/* The divisors 0 and -1 would trap (x / 0, MIN / -1): they are replaced by 1, and the result mended. */
SCALAR int32_t floor_divide_i32(int32_t a, int32_t b) {
    int32_t d = ((b == 0) | (b == -1)) ? 1 : b;
    int32_t q = a / d - (((a % d) != 0) & ((a < 0) != (d < 0)));
    return b == 0 ? 0 : b == -1 ? (int32_t)(0u - (uint32_t)a) : q;
}
SCALAR int64_t floor_divide_i64(int64_t a, int64_t b) {
    int64_t d = ((b == 0) | (b == -1)) ? 1 : b;
    int64_t q = a / d - (((a % d) != 0) & ((a < 0) != (d < 0)));
    return b == 0 ? 0 : b == -1 ? (int64_t)(0u - (uint64_t)a) : q;
}
SCALAR uint32_t floor_divide_u32(uint32_t a, uint32_t b) { return b == 0 ? 0 : a / (b == 0 ? 1 : b); }
SCALAR uint64_t floor_divide_u64(uint64_t a, uint64_t b) { return b == 0 ? 0 : a / (b == 0 ? 1 : b); }

SCALAR int32_t mod_i32(int32_t a, int32_t b) {
    int32_t r = a % (((b == 0) | (b == -1)) ? 1 : b);
    return ((r != 0) & ((r < 0) != (b < 0))) ? r + b : r;
}
SCALAR int64_t mod_i64(int64_t a, int64_t b) {
    int64_t r = a % (((b == 0) | (b == -1)) ? 1 : b);
    return ((r != 0) & ((r < 0) != (b < 0))) ? r + b : r;
}
SCALAR uint32_t mod_u32(uint32_t a, uint32_t b) { return a % (b == 0 ? 1 : b); }
SCALAR uint64_t mod_u64(uint64_t a, uint64_t b) { return a % (b == 0 ? 1 : b); }

SCALAR int32_t fmod_i32(int32_t a, int32_t b) { return a % (((b == 0) | (b == -1)) ? 1 : b); }
SCALAR int64_t fmod_i64(int64_t a, int64_t b) { return a % (((b == 0) | (b == -1)) ? 1 : b); }

/* ------------------------------------------------------------- exponentials
 * x = n ln 2 + r with |r| <= ln 2 / 2; exp(x) = 2^n exp(r), the power applied in two halves so that
 * results down to the smallest subnormal are rounded once. Adding SHIFT rounds to an integer in the low bits, biased like the
 * exponents of two numbers, so that each half of the bits is the exponent of half of the power. In float32 what overflows is cut off at
 * n, where it costs least, and not at x: the rest r then makes an infinity of it, and keeps a NaN. */

#define SHIFT_F32 12583166.0f          /* 1.5 * 2^23 + 2 * 127 */
#define SHIFT_F64 6755399441057790.0   /* 1.5 * 2^52 + 2 * 1023 */
#define LAST_F32 (bits_f32(SHIFT_F32) + 130)   /* the bits of the largest n that matters */
#define LN2_HIGH_F32 0.693145751953125f   /* 15 bits: n * high is exact */
#define LN2_LOW_F32 1.42860677e-6f
#define LN2_HIGH_F64 0.693147180559663
#define LN2_LOW_F64 2.8235290563031577e-13
#define LN2_F32 0.69314718f
#define LN2_F64 0.69314718055994531
#define LOG2E_F32 1.44269504f
#define LOG2E_F64 1.4426950408889634

/* exp(r) - 1 for |r| <= ln 2 / 2 */
SCALAR float expm1_core_f32(float r) {
    float p = 0.00139261759f;
    p = p * r + 0.00836317334f;
    p = p * r + 0.0416665561f;
    p = p * r + 0.166665778f;
    p = p * r + 0.5f;
    return r * r * p + r;
}
SCALAR double expm1_core_f64(double r) {
    double p = 2.5100375832561234e-08;
    p = p * r + 2.7620075879983367e-07;
    p = p * r + 2.7557268480310024e-06;
    p = p * r + 2.4801521322368692e-05;
    p = p * r + 0.00019841269863040545;
    p = p * r + 0.0013888888917196719;
    p = p * r + 0.008333333333330065;
    p = p * r + 0.041666666666624164;
    p = p * r + 0.16666666666666669;
    p = p * r + 0.5;
    return r * r * p + r;
}

/* x * 2^n for n up to twice the range of exponents, given as the bits of n + SHIFT */
SCALAR float scale_f32(float x, int32_t bits) {
    uint32_t half = (uint32_t)bits >> 1, other = (uint32_t)bits - half;
    return x * number_f32((int32_t)(half << 23)) * number_f32((int32_t)(other << 23));
}
SCALAR double scale_f64(double x, int64_t bits) {
    uint64_t half = (uint64_t)bits >> 1, other = (uint64_t)bits - half;
    return x * number_f64((int64_t)(half << 52)) * number_f64((int64_t)(other << 52));
}

/* exp(x) * 2^k, without overflow between */
SCALAR float exp_scaled_f32(float x, int32_t k) {
    x = x < -105.0f ? -105.0f : x;
    int32_t shifted = bits_f32(x * LOG2E_F32 + SHIFT_F32);
    shifted = shifted < LAST_F32 ? shifted : LAST_F32;
    float n = number_f32(shifted) - SHIFT_F32;
    float r = x - n * LN2_HIGH_F32 - n * LN2_LOW_F32;
    return scale_f32(1.0f + expm1_core_f32(r), shifted + k);
}
SCALAR double exp_scaled_f64(double x, int64_t k) {
    x = x < -746.0 ? -746.0 : x;
    x = x > 711.0 ? 711.0 : x;
    double shifted = x * LOG2E_F64 + SHIFT_F64;
    double n = shifted - SHIFT_F64;
    double r = x - n * LN2_HIGH_F64 - n * LN2_LOW_F64;
    return scale_f64(1.0 + expm1_core_f64(r), bits_f64(shifted) + k);
}
SCALAR float exp_f32(float x) { return exp_scaled_f32(x, 0); }
SCALAR double exp_f64(double x) { return exp_scaled_f64(x, 0); }

SCALAR float exp2_f32(float x) {
    x = x < -151.0f ? -151.0f : x;
    int32_t shifted = bits_f32(x + SHIFT_F32);
    shifted = shifted < LAST_F32 ? shifted : LAST_F32;
    float r = (x - (number_f32(shifted) - SHIFT_F32)) * LN2_F32;
    return scale_f32(1.0f + expm1_core_f32(r), shifted);
}
SCALAR double exp2_f64(double x) {
    x = x < -1076.0 ? -1076.0 : x;
    x = x > 1025.0 ? 1025.0 : x;
    double shifted = x + SHIFT_F64;
    double r = (x - (shifted - SHIFT_F64)) * LN2_F64;
    return scale_f64(1.0 + expm1_core_f64(r), bits_f64(shifted));
}

/* 2^n (exp(r) - 1) + (2^n - 1), halved on the way so that 2^n may be the overflow limit */
SCALAR float expm1_f32(float x) {
    float y = x < -20.0f ? -20.0f : x;
    y = y > 89.0f ? 89.0f : y;
    float shifted = y * LOG2E_F32 + SHIFT_F32;
    float n = shifted - SHIFT_F32;
    float r = y - n * LN2_HIGH_F32 - n * LN2_LOW_F32;
    float half = two_to_f32(bits_f32(shifted) - bits_f32(SHIFT_F32) - 1);
    float result = 2.0f * (half * expm1_core_f32(r) + (half - 0.5f));
    return __builtin_fabsf(x) < 1e-8f ? x : result;
}
SCALAR double expm1_f64(double x) {
    double y = x < -50.0 ? -50.0 : x;
    y = y > 710.0 ? 710.0 : y;
    double shifted = y * LOG2E_F64 + SHIFT_F64;
    double n = shifted - SHIFT_F64;
    double r = y - n * LN2_HIGH_F64 - n * LN2_LOW_F64;
    double half = two_to_f64(bits_f64(shifted) - bits_f64(SHIFT_F64) - 1);
    double result = 2.0 * (half * expm1_core_f64(r) + (half - 0.5));
    return __builtin_fabs(x) < 1e-17 ? x : result;
}

/* ------------------------------------------------------------- logarithms
 * x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). */

typedef struct { float k, f; } mantissa_f32;
typedef struct { double k, f; } mantissa_f64;

SCALAR mantissa_f32 mantissa_of_f32(float x) {
    int32_t normal = bits_f32(x), subnormal = bits_f32(x * 8388608.0f) - (23 << 23);
    int32_t i = x < 1.17549435e-38f ? subnormal : normal;
    int32_t k = (i - 0x3f3504f3) >> 23;
    mantissa_f32 m = {(float)k, number_f32(i - (int32_t)((uint32_t)k << 23)) - 1.0f};
    return m;
}
SCALAR mantissa_f64 mantissa_of_f64(double x) {
    int subnormal = x < 2.2250738585072014e-308;
    int64_t i = bits_f64(subnormal ? x * 4503599627370496.0 : x);
    int32_t high = (int32_t)(i >> 32);
    int32_t k = (high - 0x3fe6a09e) >> 20;
    mantissa_f64 m = {(double)(k - (subnormal ? 52 : 0)), number_f64(i - (int64_t)((uint64_t)(int64_t)k << 52)) - 1.0};
    return m;
}

/* log(1 + f) + correction: f32 as f + f^2 p, f64 as f - (f^2/2 - rest) */
SCALAR float log_core_f32(float f, float correction) {
    float p = -0.0790274367f;
    p = p * f + 0.126223192f;
    p = p * f - 0.129981831f;
    p = p * f + 0.142144963f;
    p = p * f - 0.166412815f;
    p = p * f + 0.200010449f;
    p = p * f - 0.25000307f;
    p = p * f + 0.333333313f;
    p = p * f - 0.5f;
    return f + (f * f * p + correction);
}
SCALAR double log_core_f64(double f, double correction) {
    double s = f / (2.0 + f), z = s * s;
    double p = 0.14616585424888623;
    p = p * z + 0.15331710618210773;
    p = p * z + 0.18182889455674947;
    p = p * z + 0.22222211130259878;
    p = p * z + 0.2857142862600327;
    p = p * z + 0.39999999999899444;
    p = p * z + 0.66666666666666696;
    double half_square = 0.5 * f * f;
    return f - (half_square - (s * (half_square + z * p) + correction));
}

/* What every logarithm of x is where x is zero, negative, infinite or NaN; else the value. */
SCALAR float log_edges_f32(float x, float value) {
    value = x == 0 ? -INF_F32 : value;
    value = x < 0 ? NAN_F32 : value;
    return x < INF_F32 ? value : x;
}
SCALAR double log_edges_f64(double x, double value) {
    value = x < INF_F64 ? value : x;
    return x > 0 ? value : x == 0 ? -INF_F64 : NAN_F64;
}

SCALAR float log_f32(float x) {
    mantissa_f32 m = mantissa_of_f32(x);
    return log_edges_f32(x, m.k * LN2_HIGH_F32 + log_core_f32(m.f, m.k * LN2_LOW_F32));
}
SCALAR double log_f64(double x) {
    mantissa_f64 m = mantissa_of_f64(x);
    return log_edges_f64(x, m.k * LN2_HIGH_F64 + log_core_f64(m.f, m.k * LN2_LOW_F64));
}

SCALAR float log2_f32(float x) {
    mantissa_f32 m = mantissa_of_f32(x);
    float natural = log_core_f32(m.f, 0.0f);
    return log_edges_f32(x, m.k + (natural * 1.44269502f + natural * 1.92596299e-8f));
}
SCALAR double log2_f64(double x) {
    mantissa_f64 m = mantissa_of_f64(x);
    double natural = log_core_f64(m.f, 0.0);
    return log_edges_f64(x, m.k + (natural * LOG2E_F64 + natural * 2.0355273740931033e-17));
}

SCALAR float log10_f32(float x) {
    mantissa_f32 m = mantissa_of_f32(x);
    float natural = log_core_f32(m.f, 0.0f);
    float low = m.k * 4.60503907e-6f + (natural * 0.434294492f - natural * 1.0103050e-8f);
    return log_edges_f32(x, m.k * 0.30102539f + low);
}
SCALAR double log10_f64(double x) { return __builtin_log10(x); }   /* libm */

/* log(u) for u = 1 + x rounded, with what the rounding lost put back */
SCALAR float log1p_f32(float x) {
    float u = 1.0f + x;
    mantissa_f32 m = mantissa_of_f32(u);
    float lost = (x - (u - 1.0f)) / u;
    float value = m.k * LN2_HIGH_F32 + log_core_f32(m.f, m.k * LN2_LOW_F32 + lost);
    return __builtin_fabsf(x) < 1e-8f ? x : log_edges_f32(u, value);
}
SCALAR double log1p_f64(double x) {
    double u = 1.0 + x;
    mantissa_f64 m = mantissa_of_f64(u);
    double lost = (x - (u - 1.0)) / u;
    double value = m.k * LN2_HIGH_F64 + log_core_f64(m.f, m.k * LN2_LOW_F64 + lost);
    return __builtin_fabs(x) < 1e-17 ? x : log_edges_f64(u, value);
}

/* ------------------------------------------------------------- power: f32 through double, so that y log2(x) keeps its bits */

SCALAR double log2_of_f32(double x) {
    mantissa_f64 m = mantissa_of_f64(x);
    double s = m.f / (2.0 + m.f), z = s * s;
    double p = 0.19362776836747533;
    p = p * z + 0.22191394493175057;
    p = p * z + 0.2857175463573276;
    p = p * z + 0.39999998796848674;
    p = p * z + 0.66666666667375452;
    return log_edges_f64(x, m.k + (2.0 * s + s * z * p) * LOG2E_F64);
}
SCALAR double exp2_of_f32(double x) {
    x = x < -200.0 ? -200.0 : x;
    x = x > 200.0 ? 200.0 : x;
    double shifted = x + SHIFT_F64;
    double r = (x - (shifted - SHIFT_F64)) * LN2_F64;
    double p = 0.00019899273958649361;
    p = p * r + 0.001388885404961482;
    p = p * r + 0.0083332984837548862;
    p = p * r + 0.041666666718980845;
    p = p * r + 0.16666666718997508;
    p = p * r + 0.5;
    return (1.0 + (r * r * p + r)) * two_to_f64(bits_f64(shifted) - bits_f64(SHIFT_F64));
}
SCALAR float power_f32(float x, float y) {
    float size = __builtin_fabsf(x);
    float value = (float)exp2_of_f32((double)y * log2_of_f32((double)size));
    value = size == 1.0f ? 1.0f : value;
    int whole = __builtin_truncf(y) == y;
    int odd = whole & (__builtin_truncf(0.5f * y) != 0.5f * y);
    int negative = bits_f32(x) < 0;
    value = (negative & odd) ? -value : value;
    value = ((x < 0) & !whole & (x > -INF_F32)) ? NAN_F32 : value;
    value = ((x != x) | (y != y)) ? x + y : value;
    return ((y == 0) | (x == 1.0f)) ? 1.0f : value;
}
SCALAR double power_f64(double x, double y) { return __builtin_pow(x, y); }   /* libm */
SCALAR float cbrt_f32(float x) {
    float size = __builtin_fabsf(x), value = (float)exp2_of_f32(log2_of_f32((double)size) * (1.0 / 3));
    return __builtin_copysignf(size < INF_F32 ? value : size, x);
}
SCALAR double cbrt_f64(double x) { return __builtin_cbrt(x); }   /* libm */

/* By squaring; wraps like multiplication. A negative exponent is 1 / x^n cut to an integer. */
SCALAR_LOOP uint64_t power_u64(uint64_t x, uint64_t n) {
    uint64_t result = 1;
    for (; n; n >>= 1, x *= x) result *= n & 1 ? x : 1;
    return result;
}
SCALAR_LOOP int64_t power_i64(int64_t x, int64_t n) {
    if (n >= 0) return (int64_t)power_u64((uint64_t)x, (uint64_t)n);
    return x == 1 ? 1 : x == -1 ? (n & 1 ? -1 : 1) : 0;
}

/* ------------------------------------------------------------- tanh, sigmoid, softplus */

SCALAR float tanh_f32(float x) {
    float z = x * x;
    float p = -0.00661022775f;
    p = p * z + 0.0213093888f;
    p = p * z - 0.0539094284f;
    p = p * z + 0.133331135f;
    p = p * z - 0.333333313f;
    float a = __builtin_fabsf(x);
    float large = 1.0f - 2.0f / (exp_f32(2.0f * a) + 1.0f);
    return __builtin_copysignf(a < 0.55f ? a * z * p + a : large, x);
}
SCALAR double tanh_f64(double x) {
    double z = x * x;
    double p = 7.8742743453444186e-06;
    p = p * z - 3.3720801120463162e-05;
    p = p * z + 9.455133052924858e-05;
    p = p * z - 0.00023847272480152521;
    p = p * z + 0.00058990529694927327;
    p = p * z - 0.0014558190971513511;
    p = p * z + 0.0035921267699626346;
    p = p * z - 0.0088632354631467992;
    p = p * z + 0.021869488534073906;
    p = p * z - 0.053968253968220373;
    p = p * z + 0.13333333333333311;
    p = p * z - 0.33333333333333331;
    double a = __builtin_fabs(x);
    double large = 1.0 - 2.0 / (exp_f64(2.0 * a) + 1.0);
    return __builtin_copysign(a < 0.55 ? a * z * p + a : large, x);
}

/* with exp of the negative side, so that neither tail overflows */
SCALAR float sigmoid_f32(float x) {
    float e = exp_f32(-__builtin_fabsf(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}
SCALAR double sigmoid_f64(double x) {
    double e = exp_f64(-__builtin_fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}
SCALAR float softplus_f32(float x) { return (x > 0 ? x : 0.0f) + log1p_f32(exp_f32(-__builtin_fabsf(x))); }
SCALAR double softplus_f64(double x) { return (x > 0 ? x : 0.0) + log1p_f64(exp_f64(-__builtin_fabs(x))); }

/* the larger + log(1 + exp(-difference)); of equal infinities themselves */
SCALAR float logaddexp_f32(float a, float b) {
    float low = minimum_f32(a, b), high = maximum_f32(a, b);
    return high + log1p_f32(exp_f32(a == b ? 0.0f : low - high));
}
SCALAR double logaddexp_f64(double a, double b) {
    double low = minimum_f64(a, b), high = maximum_f64(a, b);
    return high + log1p_f64(exp_f64(a == b ? 0.0 : low - high));
}

/* ------------------------------------------------------------- error function
 * Near 0 a polynomial; beyond, erfc(a) = exp(-a^2) core(a), core(a) = q(t) / (1 + 2a) with t = (a - c) / (a + c), where
 * the rounding error of a^2 is put back into the exponential. erf in float32 needs few digits of erfc, and has a polynomial of its own. */

SCALAR float erfc_core_f32(float a) {
    float t = (a - 2.0f) / (a + 2.0f);
    float p = 2.68610929e-05f;
    p = p * t - 0.000362295483f;
    p = p * t - 0.00124995841f;
    p = p * t + 0.00127345521f;
    p = p * t + 0.00863576028f;
    p = p * t - 0.00804556534f;
    p = p * t - 0.0542045385f;
    p = p * t + 0.164053425f;
    p = p * t - 0.166031405f;
    p = p * t - 0.0927639082f;
    p = p * t + 1.27697837f;
    return p / (1.0f + 2.0f * a);
}
SCALAR float erfc_tail_f32(float a) {
    a = a > 10.1f ? 10.1f : a;
    float high = number_f32(bits_f32(a) & ~0xfff), low = a - high;
    float square = a * a;
    float lost = (high * high - square) + 2.0f * high * low + low * low;
    float e = exp_f32(-square);
    return (e - e * lost) * erfc_core_f32(a);
}
SCALAR double erfc_core_f64(double a) {
    double t = (a - 4.0) / (a + 4.0);
    double p = -8.9062086639346217e-09;
    p = p * t - 9.4562715249156918e-09;
    p = p * t + 1.0181247475149971e-07;
    p = p * t + 5.8832306329144349e-08;
    p = p * t - 8.1876625629157859e-07;
    p = p * t + 3.0994402010831546e-07;
    p = p * t + 5.706827475068264e-06;
    p = p * t - 1.1232086023404734e-05;
    p = p * t - 2.4398609353512906e-05;
    p = p * t + 0.00015062567141369432;
    p = p * t - 0.00019925669640425623;
    p = p * t - 0.00075777430616933707;
    p = p * t + 0.0050319699523291529;
    p = p * t - 0.016197733895959854;
    p = p * t + 0.037167515542420759;
    p = p * t - 0.066330365827292792;
    p = p * t + 0.093732834997984626;
    p = p * t - 0.10103906603558063;
    p = p * t + 0.068097054254702125;
    p = p * t + 0.015379652102606133;
    p = p * t - 0.13962111684056255;
    p = p * t + 1.2329951186255526;
    return p / (1.0 + 2.0 * a);
}
SCALAR double erfc_tail_f64(double a) {
    a = a > 27.3 ? 27.3 : a;
    double high = number_f64(bits_f64(a) & ~(int64_t)0x7ffffff), low = a - high;
    double square = a * a;
    double lost = (high * high - square) + 2.0 * high * low + low * low;
    double e = exp_f64(-square);
    return (e - e * lost) * erfc_core_f64(a);
}
SCALAR float erf_near_f32(float x) {
    float z = x * x;
    float p = 7.87587487e-05f;
    p = p * z - 0.00080168643f;
    p = p * z + 0.00518908724f;
    p = p * z - 0.0268542115f;
    p = p * z + 0.112835944f;
    p = p * z - 0.37612626f;
    p = p * z + 0.128379166f;
    return x * p + x;
}
SCALAR double erf_near_f64(double x) {
    double z = x * x;
    double p = -4.2309458242953377e-12;
    p = p * z + 8.7090451290531062e-11;
    p = p * z - 1.216456005728345e-09;
    p = p * z + 1.4792401209404813e-08;
    p = p * z - 1.6364642158167616e-07;
    p = p * z + 1.6462045441468418e-06;
    p = p * z - 1.4925647567519332e-05;
    p = p * z + 0.00012055332902888736;
    p = p * z - 0.00085483270219348297;
    p = p * z + 0.0052239776254232985;
    p = p * z - 0.02686617064512984;
    p = p * z + 0.11283791670955121;
    p = p * z - 0.37612638903183754;
    p = p * z + 0.12837916709551259;
    return x * p + x;
}
/* a >= 1: 1 - erfc(a), with a polynomial for the square root of erfc; from 3.95 on that is 1 */
SCALAR float erf_far_f32(float a) {
    int32_t bits = bits_f32(a), last = bits_f32(3.95f);
    float t = number_f32(bits < last ? bits : last) - 1.375f;
    float p = -1.18904163e-05f;
    p = p * t + 4.71100429e-05f;
    p = p * t + 0.00032821772f;
    p = p * t - 0.00239736377f;
    p = p * t + 0.00348009611f;
    p = p * t + 0.0107846269f;
    p = p * t - 0.0381034501f;
    p = p * t - 0.00666808477f;
    p = p * t + 0.207010567f;
    p = p * t - 0.374150664f;
    p = p * t + 0.227661848f;
    return 1.0f - p * p;
}
SCALAR float erf_f32(float x) {
    float a = __builtin_fabsf(x);
    return a >= 1.0f ? __builtin_copysignf(erf_far_f32(a), x) : erf_near_f32(x);   /* NaN, too, is near */
}
SCALAR double erf_f64(double x) {
    double a = __builtin_fabs(x);
    return a < 1.0 ? erf_near_f64(x) : __builtin_copysign(1.0 - erfc_tail_f64(a), x);
}
SCALAR float erfc_f32(float x) {
    float tail = erfc_tail_f32(__builtin_fabsf(x));
    tail = x < 0 ? 2.0f - tail : tail;
    return ((x > -1.0f) & (x < 0.5f)) ? 1.0f - erf_near_f32(x) : tail;
}
SCALAR double erfc_f64(double x) {
    double tail = erfc_tail_f64(__builtin_fabs(x));
    tail = x < 0 ? 2.0 - tail : tail;
    return ((x > -1.0) & (x < 0.5)) ? 1.0 - erf_near_f64(x) : tail;
}

/* ------------------------------------------------------------- sine, cosine, tangent
 * |x| = (q + f) pi/2 with |f| <= 1/2, exact for every float: the 24 bits of x are multiplied as integers with
 * those 96 bits of 2/pi that matter for q mod 4 and f (Payne and Hanek 1983). */

SCALAR float sin_core_f32(float r) {
    float z = r * r;
    float p = -0.00019587639f;
    p = p * z + 0.00833274703f;
    p = p * z - 0.166666642f;
    return r * z * p + r;
}
SCALAR float cos_core_f32(float r) {
    float z = r * r;
    float p = 2.45476895e-05f;
    p = p * z - 0.00138883013f;
    p = p * z + 0.0416666642f;
    return z * z * p + (1.0f - 0.5f * z);
}
SCALAR double sin_core_f64(double r) {
    double z = r * r;
    double p = -7.5866368828251592e-13;
    p = p * z + 1.6058530596645953e-10;
    p = p * z - 2.5052106225994401e-08;
    p = p * z + 2.7557319219320579e-06;
    p = p * z - 0.00019841269841265041;
    p = p * z + 0.0083333333333333315;
    p = p * z - 0.16666666666666666;
    return r * z * p + r;
}
SCALAR double cos_core_f64(double r) {
    double z = r * r;
    double p = 4.7458384125310228e-14;
    p = p * z - 1.1470460319209511e-11;
    p = p * z + 2.0876755787492604e-09;
    p = p * z - 2.755731922139249e-07;
    p = p * z + 2.4801587301584632e-05;
    p = p * z - 0.0013888888888888887;
    p = p * z + 0.041666666666666664;
    return z * z * p + (1.0 - 0.5 * z);
}

typedef struct { uint32_t quarter; float angle; } quarter_turn_f32;

/* 2/pi: 32 zero bits, then its first 256 bits */
SCALAR_TABLE uint32_t two_over_pi[9] = {
    0, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561};

SCALAR quarter_turn_f32 quarter_turn_of_f32(float x) {
    uint32_t bits = (uint32_t)bits_f32(x) & 0x7fffffff;
    int32_t exponent = (int32_t)(bits >> 23);
    uint32_t mantissa = (bits & 0x7fffff) | 0x800000;
    int32_t offset = exponent < 120 ? 0 : exponent - 120;
    int32_t word = offset >> 5, shift = offset & 31;
    uint32_t t0 = two_over_pi[word], t1 = two_over_pi[word + 1];
    uint32_t t2 = two_over_pi[word + 2], t3 = two_over_pi[word + 3];
    uint32_t w0 = t0 << shift | t1 >> 1 >> (31 - shift);
    uint32_t w1 = t1 << shift | t2 >> 1 >> (31 - shift);
    uint32_t w2 = t2 << shift | t3 >> 1 >> (31 - shift);
    uint64_t product = ((uint64_t)(mantissa * w0) << 32) + (uint64_t)mantissa * w1 + ((uint64_t)mantissa * w2 >> 32);
    uint64_t quarter = (product + ((uint64_t)1 << 61)) >> 62;
    uint64_t rest = product - (quarter << 62);
    double f = (double)(int32_t)(rest >> 32) * 0x1p-30 + (double)(int32_t)((uint32_t)rest >> 1) * 0x1p-61;
    int small = bits < 0x3f490fdb;   /* pi/4 */
    quarter_turn_f32 turn = {small ? 0 : (uint32_t)quarter,
                             small ? number_f32((int32_t)bits) : (float)(f * 1.5707963267948966)};
    return turn;
}
SCALAR float sin_f32(float x) {
    quarter_turn_f32 t = quarter_turn_of_f32(x);
    float s = t.quarter & 1 ? cos_core_f32(t.angle) : sin_core_f32(t.angle);
    uint32_t flip = (t.quarter << 30 ^ (uint32_t)bits_f32(x)) & 0x80000000u;
    float value = number_f32((int32_t)((uint32_t)bits_f32(s) ^ flip));
    return __builtin_fabsf(x) < INF_F32 ? value : x - x;
}
SCALAR float cos_f32(float x) {
    quarter_turn_f32 t = quarter_turn_of_f32(x);
    float c = t.quarter & 1 ? sin_core_f32(t.angle) : cos_core_f32(t.angle);
    uint32_t flip = (t.quarter + 1) << 30 & 0x80000000u;
    float value = number_f32((int32_t)((uint32_t)bits_f32(c) ^ flip));
    return __builtin_fabsf(x) < INF_F32 ? value : x - x;
}
SCALAR float tan_f32(float x) {
    quarter_turn_f32 t = quarter_turn_of_f32(x);
    float s = sin_core_f32(t.angle), c = cos_core_f32(t.angle);
    float value = (t.quarter & 1 ? -c : s) / (t.quarter & 1 ? s : c);
    value = bits_f32(x) < 0 ? -value : value;
    return __builtin_fabsf(x) < INF_F32 ? value : x - x;
}
SCALAR double sin_f64(double x) { return __builtin_sin(x); }   /* libm */
SCALAR double cos_f64(double x) { return __builtin_cos(x); }
SCALAR double tan_f64(double x) { return __builtin_tan(x); }

/* ------------------------------------------------------------- inverse circular functions */

#define HALF_PI_F32 1.57079637f
#define HALF_PI_LOW_F32 -4.37113900e-8f

/* arcsin(s) for s^2 = z <= 1/4 */
SCALAR float arcsin_core_f32(float s, float z) {
    float p = 0.0380850248f;
    p = p * z + 0.0265545417f;
    p = p * z + 0.0450013801f;
    p = p * z + 0.0749885514f;
    p = p * z + 0.166666731f;
    return s * z * p + s;
}
/* above 1/2: arcsin(a) = pi/2 - 2 arcsin(sqrt((1 - a) / 2)) */
SCALAR float arcsin_f32(float x) {
    float a = __builtin_fabsf(x);
    int large = a > 0.5f;
    float z = large ? 0.5f * (1.0f - a) : a * a;
    float core = arcsin_core_f32(large ? __builtin_sqrtf(z) : a, z);
    float value = large ? HALF_PI_F32 - (2.0f * core - HALF_PI_LOW_F32) : core;
    return __builtin_copysignf(value, x);
}
SCALAR float arccos_f32(float x) {
    float a = __builtin_fabsf(x);
    int large = a > 0.5f;
    float z = large ? 0.5f * (1.0f - a) : a * a;
    float core = arcsin_core_f32(large ? __builtin_sqrtf(z) : x, z);
    float outer = x > 0 ? 2.0f * core : 2.0f * HALF_PI_F32 - (2.0f * core - 2.0f * HALF_PI_LOW_F32);
    return large ? outer : HALF_PI_F32 - (core - HALF_PI_LOW_F32);
}
/* arctan of a >= 0, turned by pi/4 or pi/2 towards zero first */
SCALAR float arctan_positive_f32(float a) {
    int far = a > 2.41421356f, middle = a > 0.414213562f;
    float t = (far ? -1.0f : middle ? a - 1.0f : a) / (far ? a : middle ? a + 1.0f : 1.0f);
    float base = far ? HALF_PI_F32 : middle ? 0.5f * HALF_PI_F32 : 0.0f;
    float base_low = far ? HALF_PI_LOW_F32 : middle ? 0.5f * HALF_PI_LOW_F32 : 0.0f;
    float z = t * t;
    float p = -0.0645171851f;
    p = p * z + 0.107436687f;
    p = p * z - 0.142639503f;
    p = p * z + 0.199995399f;
    p = p * z - 0.333333313f;
    return base + (t * z * p + base_low + t);
}
SCALAR float arctan_f32(float x) { return __builtin_copysignf(arctan_positive_f32(__builtin_fabsf(x)), x); }
SCALAR float arctan2_f32(float y, float x) {
    float a = __builtin_fabsf(y), b = __builtin_fabsf(x);
    float ratio = a == b ? 1.0f : a / b;      /* also where both are infinite */
    ratio = a == 0 ? 0.0f : ratio;
    float angle = arctan_positive_f32(ratio);
    angle = bits_f32(x) < 0 ? 2.0f * HALF_PI_F32 - (angle - 2.0f * HALF_PI_LOW_F32) : angle;
    return ((x != x) | (y != y)) ? x + y : __builtin_copysignf(angle, y);
}
SCALAR double arcsin_f64(double x) { return __builtin_asin(x); }   /* libm */
SCALAR double arccos_f64(double x) { return __builtin_acos(x); }
SCALAR double arctan_f64(double x) { return __builtin_atan(x); }
SCALAR double arctan2_f64(double y, double x) { return __builtin_atan2(y, x); }

/* ------------------------------------------------------------- hyperbolic functions */

SCALAR float sinh_f32(float x) {
    float z = x * x;
    float p = 2.80628024e-06f;
    p = p * z + 0.000198381022f;
    p = p * z + 0.00833333936f;
    p = p * z + 0.166666672f;
    float a = __builtin_fabsf(x), half = exp_scaled_f32(a, -1);
    return a < 1.0f ? x * z * p + x : __builtin_copysignf(half - 0.25f / half, x);
}
SCALAR float cosh_f32(float x) {
    float half = exp_scaled_f32(__builtin_fabsf(x), -1);
    return half + 0.25f / half;
}
SCALAR float arcsinh_f32(float x) {
    float a = __builtin_fabsf(x);
    float near = log1p_f32(a + a * a / (1.0f + __builtin_sqrtf(a * a + 1.0f)));
    return __builtin_copysignf(a > 16384.0f ? log_f32(a) + LN2_F32 : near, x);
}
SCALAR float arccosh_f32(float x) {
    float t = x - 1.0f;
    float value = x > 16384.0f ? log_f32(x) + LN2_F32 : log1p_f32(t + __builtin_sqrtf(2.0f * t + t * t));
    return x < 1.0f ? NAN_F32 : value;
}
SCALAR float arctanh_f32(float x) {
    float a = __builtin_fabsf(x);
    float value = 0.5f * log1p_f32(2.0f * a / (1.0f - a));
    return __builtin_copysignf(a > 1.0f ? NAN_F32 : value, x);
}
SCALAR double sinh_f64(double x) { return __builtin_sinh(x); }   /* libm */
SCALAR double cosh_f64(double x) { return __builtin_cosh(x); }
SCALAR double arcsinh_f64(double x) { return __builtin_asinh(x); }
SCALAR double arccosh_f64(double x) { return __builtin_acosh(x); }
SCALAR double arctanh_f64(double x) { return __builtin_atanh(x); }

/* ------------------------------------------------------------- rare: libm, scalar-only */

#ifdef EXPRC_DEVICE
SCALAR double gammaln_f64(double x) { return lgamma(x); }
#else
/* lgamma_r, not lgamma: the latter writes the global signgam, which threads would race for */
extern double lgamma_r(double, int *);
SCALAR double gammaln_f64(double x) { int sign; return lgamma_r(x, &sign); }
#endif
SCALAR float gammaln_f32(float x) { return (float)gammaln_f64((double)x); }
SCALAR float hypot_f32(float x, float y) { return __builtin_hypotf(x, y); }
SCALAR double hypot_f64(double x, double y) { return __builtin_hypot(x, y); }

/* ------------------------------------------------------------- names without a suffix */

#ifndef EXPRC_DEVICE   /* in C++ the prelude chooses */
#define TYPED(x, f32, f64, i32, u32, i64, u64) _Generic(+(x), float: f32, double: f64, int: i32, unsigned: u32, \
    long: i64, unsigned long: u64, long long: i64, unsigned long long: u64)
#define FLOAT(x, f32, others) _Generic((x), float: f32, default: others)
#endif
#define REAL(name, x) FLOAT(x, name##_f32, name##_f64)(x)
#define REAL2(name, x, y) FLOAT((x) + (y), name##_f32, name##_f64)(x, y)
#define ANY(name, x) TYPED(x, name##_f32, name##_f64, name##_i32, name##_u32, name##_i64, name##_u64)(x)
#define ANY2(name, x, y) TYPED((x) + (y), name##_f32, name##_f64, name##_i32, name##_u32, name##_i64, name##_u64)(x, y)
#define BITS2(name, x, y) TYPED((x) + (y), 0, 0, name##_i32, name##_u32, name##_i64, name##_u64)(x, y)
#define WHOLE(name, x) TYPED(x, name##_f32, name##_f64, whole_i64, whole_i64, whole_i64, whole_u64)(x)

#define exp(x) REAL(exp, x)
#define exp2(x) REAL(exp2, x)
#define expm1(x) REAL(expm1, x)
#define log(x) REAL(log, x)
#define log1p(x) REAL(log1p, x)
#define log2(x) REAL(log2, x)
#define log10(x) REAL(log10, x)
#define sqrt(x) REAL(sqrt, x)
#define tanh(x) REAL(tanh, x)
#define sigmoid(x) REAL(sigmoid, x)
#define softplus(x) REAL(softplus, x)
#define erf(x) REAL(erf, x)
#define erfc(x) REAL(erfc, x)
#define gammaln(x) REAL(gammaln, x)
#define sin(x) REAL(sin, x)
#define cos(x) REAL(cos, x)
#define tan(x) REAL(tan, x)
#define arcsin(x) REAL(arcsin, x)
#define arccos(x) REAL(arccos, x)
#define arctan(x) REAL(arctan, x)
#define sinh(x) REAL(sinh, x)
#define cosh(x) REAL(cosh, x)
#define arcsinh(x) REAL(arcsinh, x)
#define arccosh(x) REAL(arccosh, x)
#define arctanh(x) REAL(arctanh, x)
#define arctan2(y, x) REAL2(arctan2, y, x)
#define hypot(x, y) REAL2(hypot, x, y)
#define copysign(x, y) REAL2(copysign, x, y)
#define cbrt(x) REAL(cbrt, x)
#define logaddexp(x, y) REAL2(logaddexp, x, y)
#define rint(x) REAL(round, x)
#define signbit(x) REAL(signbit, x)
#define isnan(x) ((x) != (x))
#define isinf(x) (REAL(abs, x) == INF_F64)
#define isfinite(x) (REAL(abs, x) < INF_F64)
#define floor(x) WHOLE(floor, x)
#define ceil(x) WHOLE(ceil, x)
#define trunc(x) WHOLE(trunc, x)
#define round(x) WHOLE(round, x)
#define round_away(x) WHOLE(round_away, x)
#define to_int8(x) ((int8_t)held(x, -0x1p7, 0x1p7 - 1))
#define to_int16(x) ((int16_t)held(x, -0x1p15, 0x1p15 - 1))
#define to_int32(x) ((int32_t)held(x, -0x1p31, 0x1p31 - 1))
#define to_int64(x) to_int64_f64(x)
#define to_uint8(x) ((uint8_t)held(x, 0, 0x1p8 - 1))
#define to_uint16(x) ((uint16_t)held(x, 0, 0x1p16 - 1))
#define to_uint32(x) ((uint32_t)held(x, 0, 0x1p32 - 1))
#define to_uint64(x) to_uint64_f64(x)
#define left_shift(x, y) BITS2(left_shift, x, y)
#define right_shift(x, y) BITS2(right_shift, x, y)
#define second(x, y) (y)
#define abs(x) ANY(abs, x)
#define sign(x) ANY(sign, x)
#define maximum(x, y) ANY2(maximum, x, y)
#define minimum(x, y) ANY2(minimum, x, y)
#define mod(x, y) ANY2(mod, x, y)
#define floor_divide(x, y) ANY2(floor_divide, x, y)
#define fmod(x, y) TYPED((x) + (y), fmod_f32, fmod_f64, fmod_i32, mod_u32, fmod_i64, mod_u64)(x, y)
#define power(x, y) TYPED((x) + (y), power_f32, power_f64, power_i64, power_i64, power_i64, power_u64)(x, y)
