/* half.h: numbers of 16 bits (IEEE 754 binary16). They are only stored; arithmetic on them is done on floats.
 *
 *   from_half(h)   the float of the same value, exactly
 *   to_half(x)     the nearest half of a float, ties to even; beyond 65504 by half a step: infinity; NaN stays NaN
 *   to_half_d(x)   the same of a double, rounded once
 *
 *   bits of a half:   s eeeee ffffffffff       value of a normal one   (-1)^s 2^(e-15) (1 + f/1024)
 *
 * No branches, so that loops over them run in vector lanes.
 */
typedef uint16_t half;

SCALAR float from_half(half h) {
    const uint32_t size = h & 0x7fffu;
    const union { uint32_t bits; float value; } normal = {(size << 13) + 0x38000000u}, special = {(size << 13) | 0x7f800000u};
    const float tiny = (float)size * 0x1p-24f;  /* subnormal: a whole number of the smallest steps */
    const float found = size >= 0x7c00u ? special.value : size < 0x400u ? tiny : normal.value;
    return h & 0x8000u ? -found : found;
}

SCALAR half to_half(float x) {
    union { float value; uint32_t bits; } given = {x}, small;
    const uint32_t size = given.bits & 0x7fffffffu, sign = (given.bits >> 16) & 0x8000u;
    given.bits = size;
    small.value = given.value + 0.5f;  /* the last bit of 0.5f is the smallest step: the addition rounds to it */
    const uint32_t tiny = small.bits - 0x3f000000u;
    const uint32_t normal = (size + 0xfffu + ((size >> 13) & 1u) - 0x38000000u) >> 13;
    const uint32_t finite = size < 0x38800000u ? tiny : normal;
    const uint32_t special = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return (half)(sign | (size >= 0x477ff000u ? special : finite));
}

SCALAR half to_half_d(double x) {
    union { float value; uint32_t bits; } odd = {(float)x};
    const double lost = x - (double)odd.value;
    /* round to odd: towards 0, the last bit set where something was lost, so that rounding again is rounding once */
    const uint32_t away = (odd.bits >> 31) == (lost > 0) ? 1u : 0u;  /* by its sign: it may be -0 */
    if (lost != 0 && lost == lost) odd.bits = (odd.bits - away) | 1u;
    return to_half(odd.value);
}
