/* special.h: special functions for generated loops, pasted after scalar.h where a text calls one of them.
 *
 * They have branches, loops and tables: the loop that calls one stays scalar. Those of float compute in double and round
 * once. NaN propagates; outside of its domain a function gives NaN, at a pole infinity where all sides agree, else NaN.
 *
 * Largest error in ulp against 40 digits (tests/ops/test_special.py), f32 at most 0.51 everywhere but where noted:
 *
 *   name        f64                                    how
 *   gamma       libm, 6                                tgamma
 *   psi         3 for x > 0; below, of max(1, |psi|)   recurrence to [1, 2] or an asymptotic series; reflection
 *   polygamma   8; below 0, of n! 2^(n + 1)            recurrence and asymptotic series (Abramowitz and Stegun 6.4.11), reflection
 *   erfinv      4                                      Chebyshev series below 1/2, else as erfcinv
 *   erfcinv     4                                      Halley steps on exp(x^2) erfc(x)
 *   erfcx       6; 64 below 0, where x^2 is large      the tail of erfc without its exponential
 *   i0 i1       6                                      power series to 8, Chebyshev series in 1/x
 *   j0 j1       6 of max(|J|, 1/sqrt(1 + |x|))         Miller's recurrence to 25, Hankel's expansion; f32 the same
 *   gammainc    1000 (a to 1e5: series or fraction; above: Temme 1979, uniform expansion); f32 too in double
 *   gammaincc   1000
 *   gammainc_da absolute, 1e-13                        sum of the derivatives of the series' terms
 */

#define SPECIAL SCALAR_CALL
#define THROUGH_F64(name) SCALAR float name##_f32(float x) { return (float)name##_f64((double)x); }
#define PI_F64 3.1415926535897931
#define ROOT_PI_F64 1.7724538509055161

/* The sum of c[k] T_k(t), k < n (Clenshaw). */
SPECIAL double chebyshev(const double *c, int n, double t) {
    double a = 0, b = 0;
    for (int k = n - 1; k > 0; --k) { double next = 2 * t * a - b + c[k]; b = a; a = next; }
    return t * a - b + c[0];
}
#define CHEBYSHEV(table, t) chebyshev(table, (int)(sizeof table / sizeof *table), t)

/* ------------------------------------------------------------- gamma and its logarithmic derivatives */

SPECIAL double gamma_f64(double x) { return __builtin_tgamma(x); }   /* libm */
THROUGH_F64(gamma)

/* psi(x) / (x - root) on [1, 2], in 2x - 3 */
SCALAR_TABLE double psi_near[] = {
    0.98357026044156699, -0.2270640863346444, 0.033368899023930109, -0.0053200772715965474, 0.00087886569378205053,
    -0.00014773492650606043, 2.5060543468359144e-5, -4.2721034029993322e-6, 7.302769272465923e-7,
    -1.2502886813559596e-7, 2.1425009322359474e-8, -3.673295918565179e-9, 6.2997172361089309e-10,
    -1.080593028883266e-10, 1.8537351920536379e-11, -3.18023536582553e-12, 5.4561475703227942e-13,
    -9.3609931310364382e-14, 1.606064636295075e-14, -2.7555431377438813e-15, 4.7277361786019114e-16,
    -8.11148420346509e-17
};
#define PSI_ROOT_HIGH 1.4616321449683622
#define PSI_ROOT_LOW 9.5499954299656977e-17

SPECIAL double psi_positive(double x) {
    if (x >= 10) {
        double z = 1 / x / x;
        double p = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
        return log_f64(x) - 0.5 / x - p;
    }
    double sum = 0;
    for (; x > 2; sum += 1 / x) x -= 1;
    if (x < 1) { sum -= 1 / x; x += 1; }
    return (x - PSI_ROOT_HIGH - PSI_ROOT_LOW) * CHEBYSHEV(psi_near, 2 * x - 3) + sum;
}
/* psi(1 - x) - psi(x) = pi cot(pi x) */
SPECIAL double psi_f64(double x) {
    if (x > 0) return x == INF_F64 ? x : psi_positive(x);
    if (x == 0) return -1 / x;
    if (x > -0.5) return psi_positive(x + 1) - 1 / x;
    double r = x - __builtin_rint(x);
    return r == 0 ? NAN_F64 : psi_positive(1 - x) - PI_F64 / __builtin_tan(PI_F64 * r);
}
THROUGH_F64(psi)

SPECIAL double factorial(int n) { return __builtin_tgamma(n + 1.0); }

/* B_2k / (2k)!, k = 1 ... 10 */
SCALAR_TABLE double bernoulli_over_factorial[] = {
    1.0 / 12, -1.0 / 720, 1.0 / 30240, -1.0 / 1209600, 1.0 / 47900160, -691.0 / 1307674368000.0, 1.0 / 74724249600.0,
    -3617.0 / 10670622842880000.0, 43867.0 / 5109094217170944000.0, -174611.0 / 802857662698291200000.0
};
/* The sum of (x + k)^-(n + 1) over k >= 0, x > 0: to 12 + n term by term, the rest by Euler and Maclaurin. */
SPECIAL double power_sum(double x, int n) {
    double sum = 0;
    for (; x < 12 + n; x += 1) sum += __builtin_pow(x, -(n + 1));
    double power = __builtin_pow(x, -n), t = (n + 1) * power / x / x, rest = 0;
    for (int k = 1; k <= 10; ++k) {
        rest += bernoulli_over_factorial[k - 1] * t;
        t *= (2.0 * k + n) * (2.0 * k + n + 1) / x / x;
    }
    return sum + (power / n + (0.5 * power / x + rest));
}
/* The n-th derivative of psi. Its sum with that at 1 - x (even n: their difference) has the period 1. */
SPECIAL double polygamma_f64(double x, int64_t order) {
    const int n = (int)order, odd = n & 1;
    if (n == 0) return psi_f64(x);
    if (x != x || x == -INF_F64) return NAN_F64;
    const double scale = odd ? factorial(n) : -factorial(n);
    if (x > 0) return scale * power_sum(x, n);
    const double r = x - __builtin_rint(x), pole = __builtin_pow(r, -(n + 1));
    if (r == 0 && !odd && x != 0) return NAN_F64;
    const double near = pole + power_sum(1 + r, n);
    if (x > -0.5) return scale * near;
    const double above = power_sum(1 - r, n), far = power_sum(1 - x, n);
    return scale * (odd ? near + (above - far) : near - (above - far));
}
SPECIAL float polygamma_f32(float x, int64_t order) { return (float)polygamma_f64((double)x, order); }

/* ------------------------------------------------------------- exp(x^2) erfc(x), and the inverses of erf and erfc */

SPECIAL double erfcx_f64(double x) {
    if (x < 0.5) {
        double high = number_f64(bits_f64(x) & ~(int64_t)0x7ffffff), low = x - high;
        double square = exp_f64(high * high) * exp_f64(low * (x + high));
        return x < -27 ? INF_F64 : square * erfc_f64(x);
    }
    if (x < 27) return erfc_core_f64(x);
    double z = 0.5 / x / x, series = 1;
    for (int k = 13; k > 0; k -= 2) series = 1 - k * z * series;
    return series / ROOT_PI_F64 / x; /* x * root(pi) would overflow before the result is 0 */
}
THROUGH_F64(erfcx)

/* erfc(x) = z for 0 < z <= 1/2: the start is Abramowitz and Stegun's 26.2.23, good to 3e-4; each step cubes the error. */
SPECIAL double erfcinv_tail(double z) {
    double logarithm = log_f64(z), t = __builtin_sqrt(2 * (LN2_F64 - logarithm));
    double x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    x *= 0.70710678118654752;
    for (int step = 0; step < 3; ++step) {
        double ratio = 0.5 * ROOT_PI_F64 * (exp_f64(x * x + logarithm) - erfcx_f64(x));
        x -= ratio / (1 + x * ratio);
    }
    return x;
}
/* erfinv(x) / x for x^2 <= 1/4, in 8 x^2 - 1 */
SCALAR_TABLE double erfinv_near[] = {
    0.91872561173501449, 0.033758575600065418, 0.0013206742781165998, 6.4040769967875965e-5, 3.4412121504496272e-6,
    1.9639319431763805e-7, 1.1660992270753084e-8, 7.120387036722737e-10, 4.4393783156625656e-11,
    2.8127938621948307e-12, 1.8051946908097277e-13, 1.1707093852711806e-14, 7.6584930224401334e-16,
    5.0468120599324141e-17, 3.3466401083134628e-18
};

SPECIAL double erfinv_f64(double x) {
    double a = __builtin_fabs(x);
    if (a <= 0.5) return x * CHEBYSHEV(erfinv_near, 8 * x * x - 1);
    return a < 1 ? __builtin_copysign(erfcinv_tail(1 - a), x) : a == 1 ? __builtin_copysign(INF_F64, x) : NAN_F64;
}
SPECIAL double erfcinv_f64(double x) {
    if (x > 0.5 && x < 1.5) return erfinv_f64(1 - x);
    if (x > 0 && x < 2) return x < 1 ? erfcinv_tail(x) : -erfcinv_tail(2 - x);
    return x == 0 ? INF_F64 : x == 2 ? -INF_F64 : NAN_F64;
}
THROUGH_F64(erfinv)
THROUGH_F64(erfcinv)

/* ------------------------------------------------------------- Bessel functions */

/* J beyond 25: Hankel's expansion to its smallest term (Abramowitz and Stegun 9.2.5) */
SPECIAL double hankel_j(double x, int order) {
    double parts[2] = {1, 0}, term = 1;
    for (int k = 1; k < 40; k++) {
        double next = term * (4.0 * order * order - (2.0 * k - 1) * (2.0 * k - 1)) / (8 * k * x);
        if (!(abs_f64(next) < abs_f64(term)) || abs_f64(next) < 1e-18) break;
        term = next;
        parts[k % 2] += k / 2 % 2 ? -term : term;
    }
    double plus = sin_f64(x) + cos_f64(x), minus = sin_f64(x) - cos_f64(x);   /* of x - pi/4 and x - 3 pi/4, times sqrt(2) */
    double wave = order ? parts[0] * minus + parts[1] * plus : parts[0] * plus - parts[1] * minus;
    return wave / (ROOT_PI_F64 * sqrt_f64(x));
}

/* J to 25: Miller's recurrence, downwards from where J is negligible, then normalised by J0 + 2 J2 + 2 J4 ... = 1 */
SPECIAL double miller_j(double x, int order) {
    double above = 0, here = 1e-300, sum = 0;
    for (int n = (int)(x + 36); n > 0; n--) {
        sum += n % 2 ? 0 : 2 * here;
        double below = 2 * n / x * here - above;
        above = here;
        here = below;
        if (abs_f64(here) > 1e200) { here *= 1e-250; above *= 1e-250; sum *= 1e-250; }
    }
    return (order ? above : here) / (sum + here);
}

/* of small x the first terms of the power series */
SPECIAL double series_j(double x, int order) {
    double q = -0.25 * x * x, term = order ? 0.5 * x : 1, sum = term;
    for (int k = 1; k < 8; k++) { term *= q / (k * (k + order)); sum += term; }
    return sum;
}

SPECIAL double bessel_j(double x, int order) {
    double a = abs_f64(x);
    if (!(a < __builtin_inf())) return x != x ? x : order ? copysign_f64(0.0, x) : 0.0;
    double y = a > 25 ? hankel_j(a, order) : a > 0.1 ? miller_j(a, order) : series_j(a, order);
    return order && x < 0 ? -y : order && x == 0 ? x : y;
}
SPECIAL double j0_f64(double x) { return bessel_j(x, 0); }
SPECIAL double j1_f64(double x) { return bessel_j(x, 1); }
THROUGH_F64(j0)
THROUGH_F64(j1)

/* exp(-x) sqrt(x) I(x) for x >= 8, in 16 / x - 1 */
SCALAR_TABLE double i0_far[] = {
    0.40224520550705442, 0.0033691164782556941, 6.889758346916824e-5, 2.8913705208347565e-6, 2.0489185894690637e-7,
    2.2666689904981781e-8, 3.3962320257083863e-9, 4.9406023882249696e-10, 1.1889147107846438e-11,
    -3.1499165279632414e-11, -1.3215811840447713e-11, -1.7941785315068061e-12, 7.1801244513836662e-13,
    3.8527783827421425e-13, 1.5400862175214151e-14, -4.1505693472872241e-14, -9.5548466988284767e-15,
    3.8116806693529708e-15, 1.7725601330566223e-15, -3.4254856196922543e-16, -2.8276239804969704e-16,
    3.4612228679909002e-17, 4.4656214190710166e-17, -4.8305044795094674e-18
};
SCALAR_TABLE double i1_far[] = {
    0.38928811750914006, -0.0097610974913614684, -0.00011058893876262372, -3.8825648088776904e-6,
    -2.5122362378702089e-7, -2.6314688468895195e-8, -3.835380385964237e-9, -5.5897434621965838e-10,
    -1.8974958123505412e-11, 3.2526035830154882e-11, 1.4125807436613781e-11, 2.0356285441470895e-12,
    -7.1985517762459084e-13, -4.0835511110921971e-13, -2.1015418427726697e-14, 4.2724400167119536e-14,
    1.0420276984128972e-14, -3.8144030724373658e-15, -1.8803547755108636e-15, 3.3082023109361146e-16,
    2.9626289976255072e-16, -3.2095259222801632e-17, -4.650305367239895e-17, 4.4143483160046073e-18
};

/* The sum of (x/2)^2k / (k! (k + order)!), to 8 */
SPECIAL double bessel_near(double x, int order) {
    double q = 0.25 * x * x, term = 1, sum = 1;
    for (int k = 1; k < 30; ++k) { term *= q / (k * (k + order)); sum += term; }
    return sum;
}
/* the exponential in two halves, since it overflows before its quotient by sqrt(x) does */
SPECIAL double bessel_far(double x, double series) {
    double half = exp_f64(0.5 * x);
    return x > 720 ? INF_F64 : half * (series / __builtin_sqrt(x)) * half;
}
SPECIAL double i0_f64(double x) {
    double a = __builtin_fabs(x);
    return a <= 8 ? bessel_near(a, 0) : a > 8 ? bessel_far(a, CHEBYSHEV(i0_far, 16 / a - 1)) : x;
}
SPECIAL double i1_f64(double x) {
    double a = __builtin_fabs(x);
    double value = a <= 8 ? 0.5 * a * bessel_near(a, 1) : a > 8 ? bessel_far(a, CHEBYSHEV(i1_far, 16 / a - 1)) : a;
    return __builtin_copysign(value, x);
}
THROUGH_F64(i0)
THROUGH_F64(i1)

/* ------------------------------------------------------------- incomplete gamma functions, regularised */

/* mu - log(1 + mu), for x = a (1 + mu) */
SPECIAL double logarithm_gap(double a, double x) {
    double mu = (x - a) / a;
    if (__builtin_fabs(mu) > 0.35) return mu - log_f64(x / a);
    double s = mu / (2 + mu), z = s * s, sum = 0;
    for (int k = 27; k > 1; k -= 2) sum = sum * z + 1.0 / k;
    return s * mu - 2 * s * z * sum;
}
/* x^a exp(-x) / gamma(a + 1) */
SPECIAL double gamma_weight(double a, double x) {
    if (a <= 20) {
        double half = exp_f64(-0.5 * x);
        return x > 2e3 ? 0 : __builtin_pow(x, a) * half / (a < 1 ? __builtin_tgamma(1 + a) : a * __builtin_tgamma(a)) * half;
    }
    double z = 1 / a / a;
    double stirling = (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z / 1188)))) / a;
    return exp_f64(-a * logarithm_gap(a, x) - stirling) / __builtin_sqrt(2 * PI_F64 * a);
}
/* The coefficients of Temme's expansion, powers of eta (DiDonato and Morris 1986, appendix F; here from its recurrence). */
SPECIAL double temme(double a, double x, int upper) {
    double exponent = a * logarithm_gap(a, x);
    if (exponent > 750) return (x > a) ^ upper;
    double e = __builtin_copysign(__builtin_sqrt(2 * exponent / a), x - a), side = __builtin_copysign(__builtin_sqrt(exponent), x - a);
    double c0 = -0.33333333333333333 + e * (0.083333333333333333 + e * (-0.014814814814814815 + e * (0.0011574074074074074
        + e * (0.0003527336860670194 + e * (-0.00017875514403292181 + e * (3.9192631785224378e-5 + e * (-2.1854485106799922e-6
        + e * (-1.85406221071516e-6 + e * (8.296711340953086e-7 + e * (-1.7665952736826079e-7 + e * 6.7078535434014986e-9))))))))));
    double c1 = -0.0018518518518518519 + e * (-0.0034722222222222222 + e * (0.0026455026455026455 + e * (-0.00099022633744855967
        + e * 0.00020576131687242798)));
    double c2 = 0.0041335978835978836 + e * (-0.0026813271604938272 + e * 0.00077160493827160494);
    double rest = exp_f64(-exponent) / __builtin_sqrt(2 * PI_F64 * a) * (c0 + (c1 + c2 / a) / a);
    return upper ? 0.5 * erfc_f64(side) + rest : 0.5 * erfc_f64(-side) - rest;
}
SPECIAL double gamma_series(double a, double x) {
    double term = 1, sum = 1;
    for (double n = 1; term > 1e-17 * sum; n += 1) { term *= x / (a + n); sum += term; }
    return gamma_weight(a, x) * sum;
}
/* The continued fraction of the upper one (Abramowitz and Stegun 6.5.31), by Lentz's method */
SPECIAL double gamma_fraction(double a, double x) {
    double b = x + 1 - a, c = 1e300, d = 1 / b, h = d, change = 2;
    for (double i = 1; __builtin_fabs(change - 1) > 2e-16 && i < 1e5; i += 1) {
        b += 2;
        d = b - i * (i - a) * d;
        c = b - i * (i - a) / c;
        d = 1 / (d == 0 ? 1e-300 : d);
        change = c * d;
        h *= change;
    }
    return a * gamma_weight(a, x) * h;
}
/* The upper one for a < 1 and small x, where 1 - lower would cancel: log gamma(1 + a) with what rounding 1 + a lost put back */
SPECIAL double gamma_upper_near(double a, double x) {
    double u = 1 + a, logarithm = a * log_f64(x) - (gammaln_f64(u) + (a - (u - 1)) * psi_f64(u)), power = 1, sum = 0;
    for (int n = 1; n < 24; ++n) { power *= -x / n; sum += a * power / (a + n); }
    return -expm1_f64(logarithm) - exp_f64(logarithm) * sum;
}
SPECIAL double gamma_part(double a, double x, int upper) {
    if (!(a >= 0) || !(x >= 0) || (a == 0 && x == 0) || (a == INF_F64 && x == INF_F64)) return NAN_F64;
    if (x == 0 || a == INF_F64) return upper;
    if (a == 0 || x == INF_F64) return !upper;
    if (a > 1e5) return temme(a, x, upper);
    if (a < 1 && x < 1.1 && upper) return gamma_upper_near(a, x);
    if (x <= a + 1) return upper ? 1 - gamma_series(a, x) : gamma_series(a, x);
    return upper ? gamma_fraction(a, x) : 1 - gamma_fraction(a, x);
}
SPECIAL double gammainc_f64(double a, double x) { return gamma_part(a, x, 0); }
SPECIAL double gammaincc_f64(double a, double x) { return gamma_part(a, x, 1); }
SCALAR float gammainc_f32(float a, float x) { return (float)gamma_part((double)a, (double)x, 0); }
SCALAR float gammaincc_f32(float a, float x) { return (float)gamma_part((double)a, (double)x, 1); }

/* The derivative of order 1, 2 or 3 of the lower one by a: that of the series x^m exp(-x) / gamma(m + 1), m = a, a + 1 ...,
 * whose terms count within 12 widths of its largest. Beyond 1e8, differences of the weights, good to 1e-8. */
SPECIAL double weight_difference(double a, double x, int64_t order) {
#define WEIGHT(back) gamma_weight(__builtin_fabs(a - (back)), x)
    return order == 1 ? -WEIGHT(0.5) : order == 2 ? WEIGHT(1.0) - WEIGHT(0.0) : 2 * WEIGHT(0.5) - WEIGHT(-0.5) - WEIGHT(1.5);
#undef WEIGHT
}
SPECIAL double gammainc_da_f64(double a, double x, int64_t order) {
    if (!(a >= 0) || !(x >= 0)) return NAN_F64;
    if (x == 0 || x == INF_F64 || a == INF_F64) return 0;
    if (x > 1e8) return weight_difference(a, x, order);
    double width = 12 * __builtin_sqrt(x) + 40, m = a + __builtin_fmax(0, __builtin_floor(x - a - width));
    double weight = gamma_weight(m, x), logarithm = log_f64(x), sum = 0;
    double p = psi_f64(m + 1), q = polygamma_f64(m + 1, 1), r = polygamma_f64(m + 1, 2);
    do {  /* once at least; where m is so large that m + 1 is m, once */
        double slope = logarithm - p, z = 1 / (m + 1);
        sum += weight * (order == 1 ? slope : order == 2 ? slope * slope - q : slope * (slope * slope - 3 * q) - r);
        weight *= x * z;
        p += z;
        q -= z * z;
        r += 2 * z * z * z;
        m += 1;
    } while (m < x + width);
    return sum;
}
SPECIAL float gammainc_da_f32(float a, float x, int64_t order) { return (float)gammainc_da_f64((double)a, (double)x, order); }

/* ------------------------------------------------------------- names without a suffix */

#define gamma(x) REAL(gamma, x)
#define psi(x) REAL(psi, x)
#define polygamma(x, n) FLOAT(x, polygamma_f32, polygamma_f64)(x, n)
#define erfcx(x) REAL(erfcx, x)
#define erfinv(x) REAL(erfinv, x)
#define erfcinv(x) REAL(erfcinv, x)
#define j0(x) REAL(j0, x)
#define j1(x) REAL(j1, x)
#define i0(x) REAL(i0, x)
#define i1(x) REAL(i1, x)
#define gammainc(a, x) REAL2(gammainc, a, x)
#define gammaincc(a, x) REAL2(gammaincc, a, x)
#define gammainc_da(a, x, order) FLOAT((a) + (x), gammainc_da_f32, gammainc_da_f64)(a, x, order)
