/* emulator.h: CUDA C++ as g++ and clang++ read it, so that the text of a kernel runs on the CPU unchanged.
 *
 * Put before the text of a module by the compiler (-include). It has two parts: what a module and the engine
 * (emulator_engine.c) say to each other, in C; and the words of CUDA, in C++. Nothing is included.
 *
 *     module (the user's text)                       engine (one for all modules)
 *     threadIdx, blockIdx, shared memory   <------   written before a thread runs on
 *     __syncthreads, __shfl_sync, votes    ------>   barrier, collect: another thread runs until this one may go on
 *     every load and store (checking)      ------>   access: bounds, alignment, initialised, races
 *
 * EMULATOR_CHECKS 1 makes the checking build. It is compiled with -fsanitize=thread,bounds,alignment,integer-divide-by-zero
 * and linked without them: the compiler then calls the functions at the end of this text at every load and store.
 *
 * A function that takes `place` gets the line of the text that calls it (__builtin_LINE as a default argument).
 */

/* ---------------------------------------------------------------- what a module and the engine say to each other */

struct emulator_index { unsigned x, y, z; };

enum emulator_access { EMULATOR_READ, EMULATOR_WRITE, EMULATOR_ATOMIC };

/* What went wrong. exprc/runtime/emulator_faults.py has a sentence for each. */
enum emulator_fault {
    FAULT_NONE, FAULT_BOUNDS, FAULT_READ_ONLY, FAULT_MISALIGNED, FAULT_UNINITIALISED, FAULT_COPYING, FAULT_RACE, FAULT_BLOCKS,
    FAULT_BARRIER_PARTIAL, FAULT_BARRIER_DIVERGED, FAULT_WARP_STUCK, FAULT_LANE_NOT_IN_MASK, FAULT_SOURCE_NOT_IN_MASK,
    FAULT_WARP_DIVERGED, FAULT_INDEX, FAULT_DIVISION, FAULT_TRAP, FAULT_OVERRUN, FAULT_TIME, FAULT_MEMORY
};

/* What the lanes of a warp do together; lanes wait for each other only in the same one. */
enum emulator_collective {
    COLLECTIVE_SYNC, COLLECTIVE_SHUFFLE, COLLECTIVE_VOTE, COLLECTIVE_MATCH, COLLECTIVE_REDUCE, COLLECTIVE_MATRIX
};

/* Runs once, when all lanes of `present` have come; payloads[lane] is what the lane brought. */
typedef void (*emulator_complete)(void **payloads, unsigned present, unsigned mask);

struct emulator_engine {
    /* Wait for the block. What comes back is how many of its threads brought a predicate that is not 0, and in `threads` how many came. */
    unsigned (*barrier)(unsigned predicate, unsigned *threads, int place);
    void (*collect)(int collective, unsigned mask, void *payload, emulator_complete complete, int place);
    unsigned (*active)(void);  /* the lanes of the warp that have not ended */
    /* An access; `place` is a line where `address_of_code` is 0. It comes back only if the access may be made. */
    void (*access)(const void *address, unsigned long size, int how, const void *code, int place);
    void (*copy)(void *target, const void *source, unsigned size, unsigned from_source, int place);  /* cp.async */
    void (*copy_commit)(void);
    void (*copy_wait)(unsigned groups);
    void (*fault)(int fault, int place, const void *code, long long first, long long second);  /* does not come back */
    void (*fault_of_lane)(int fault, unsigned lane, long long first);  /* inside `complete`: it does */
    void (*leave)(void);  /* the thread is about to end, and no barrier is to wait for it */
};

/* A module. What its kernels see, `shared` and `engine` are written by the engine. */
struct emulator_module {
    struct emulator_index *thread, *block, *block_size, *grid_size;
    unsigned char *shared;
    struct emulator_engine engine;
    void *statics, *statics_end;  /* shared memory of fixed size */
    int checks;
};

#ifdef __cplusplus

/* ---------------------------------------------------------------- declarations */

#ifndef EMULATOR_CHECKS
#define EMULATOR_CHECKS 0
#endif

#define EXPRC_EMULATED 1
#define EXPRC_KERNEL extern "C" __attribute__((visibility("default")))
#define EXPRC_DEVICE static inline __attribute__((always_inline, unused))
#define EXPRC_BOUNDS(...)
#define EXPRC_LEAVE do { emulated.engine.leave(); return; } while (0)
#define EXPRC_SHARED(name) unsigned char *const name = emulated.shared

#define __global__ __attribute__((visibility("default")))
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("emulator_shared")))

#define EMULATED static inline __attribute__((unused))
#define UNSEEN static __attribute__((noinline, unused, no_sanitize("thread", "undefined")))

typedef struct emulator_index uint3, dim3;
static struct emulator_module emulated;
extern "C" __attribute__((weak, visibility("hidden"))) char __start_emulator_shared[], __stop_emulator_shared[];

/* Constants as far as a thread can see, so they may be kept in registers, and the checking build does not look at them. */
#define SEEN(name) \
    extern "C" __attribute__((visibility("hidden"))) const struct emulator_index emulated_##name; \
    __asm__(".pushsection .bss\n.balign 16\n.globl emulated_" #name "\n.hidden emulated_" #name "\nemulated_" #name ":\n.zero 16\n.popsection");
SEEN(thread) SEEN(block) SEEN(block_size) SEEN(grid_size)

extern "C" __attribute__((visibility("default"), no_sanitize("thread", "undefined"))) struct emulator_module *exprc_emulated(void) {
    emulated.thread = (struct emulator_index *)&emulated_thread;
    emulated.block = (struct emulator_index *)&emulated_block;
    emulated.block_size = (struct emulator_index *)&emulated_block_size;
    emulated.grid_size = (struct emulator_index *)&emulated_grid_size;
    emulated.statics = __start_emulator_shared;
    emulated.statics_end = __stop_emulator_shared;
    emulated.checks = EMULATOR_CHECKS;
    return &emulated;
}

#define threadIdx emulated_thread
#define blockIdx emulated_block
#define blockDim emulated_block_size
#define gridDim emulated_grid_size
static const int warpSize = 32;

/* ---------------------------------------------------------------- vectors */

#define VECTOR_2(T, name, bytes) \
    struct __attribute__((aligned(bytes))) name##2 { T x, y; }; \
    EMULATED name##2 make_##name##2(T x, T y) { return {x, y}; }
#define VECTOR_3(T, name) \
    struct name##3 { T x, y, z; }; \
    EMULATED name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }
#define VECTOR_4(T, name, bytes) \
    struct __attribute__((aligned(bytes))) name##4 { T x, y, z, w; }; \
    EMULATED name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

VECTOR_2(signed char, char, 2) VECTOR_4(signed char, char, 4)
VECTOR_2(unsigned char, uchar, 2) VECTOR_4(unsigned char, uchar, 4)
VECTOR_2(short, short, 4) VECTOR_4(short, short, 8)
VECTOR_2(unsigned short, ushort, 4) VECTOR_4(unsigned short, ushort, 8)
VECTOR_2(int, int, 8) VECTOR_3(int, int) VECTOR_4(int, int, 16)
VECTOR_2(unsigned, uint, 8) VECTOR_4(unsigned, uint, 16)
VECTOR_2(long long, longlong, 16) VECTOR_2(unsigned long long, ulonglong, 16)
VECTOR_2(float, float, 8) VECTOR_3(float, float) VECTOR_4(float, float, 16)
VECTOR_2(double, double, 16) VECTOR_4(double, double, 16)
EMULATED uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

/* ---------------------------------------------------------------- the block: barriers */

EMULATED void __syncthreads(int place = __builtin_LINE()) {
    unsigned threads;
    emulated.engine.barrier(0, &threads, place);
}
EMULATED int __syncthreads_count(int predicate, int place = __builtin_LINE()) {
    unsigned threads;
    return (int)emulated.engine.barrier(predicate != 0, &threads, place);
}
EMULATED int __syncthreads_or(int predicate, int place = __builtin_LINE()) { return __syncthreads_count(predicate, place) > 0; }
EMULATED int __syncthreads_and(int predicate, int place = __builtin_LINE()) {
    unsigned threads;
    return emulated.engine.barrier(predicate != 0, &threads, place) == threads;
}
EMULATED void __threadfence() {}
EMULATED void __threadfence_block() {}
EMULATED void __threadfence_system() {}
EMULATED void __nanosleep(unsigned) {}
EMULATED void __trap(int place = __builtin_LINE()) { emulated.engine.fault(FAULT_TRAP, place, 0, 0, 0); }

/* ---------------------------------------------------------------- the warp: shuffles, votes */

EMULATED void __syncwarp(unsigned mask = 0xffffffffu, int place = __builtin_LINE()) {
    emulated.engine.collect(COLLECTIVE_SYNC, mask, 0, 0, place);
}
EMULATED unsigned __activemask() { return emulated.engine.active(); }

template <class T> struct emulated_shuffled { T given, taken; unsigned source; };

template <class T> UNSEEN void emulated_shuffle_complete(void **payloads, unsigned present, unsigned mask) {
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(present >> lane & 1)) continue;
        auto *mine = (emulated_shuffled<T> *)payloads[lane];
        auto *theirs = mine->source < 32 && (present >> mine->source & 1) ? (emulated_shuffled<T> *)payloads[mine->source] : 0;
        if (theirs) mine->taken = theirs->given;
        else {
            __builtin_memset(&mine->taken, 0xff, sizeof(T));
            emulated.engine.fault_of_lane(FAULT_SOURCE_NOT_IN_MASK, lane, mine->source);
        }
    }
}
template <class T> EMULATED T emulated_shuffle(unsigned mask, T value, unsigned source, int place) {
    emulated_shuffled<T> mine = {value, value, source};
    emulated.engine.collect(COLLECTIVE_SHUFFLE, mask, &mine, emulated_shuffle_complete<T>, place);
    return mine.taken;
}
/* The lane of this thread, and the first of its part of `width` lanes. */
EMULATED unsigned emulated_lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31;
}
EMULATED unsigned emulated_part(int width) { return emulated_lane() & ~(unsigned)(width - 1); }

template <class T> EMULATED T __shfl_sync(unsigned mask, T value, int lane, int width = 32, int place = __builtin_LINE()) {
    return emulated_shuffle(mask, value, emulated_part(width) + ((unsigned)lane & (unsigned)(width - 1)), place);
}
template <class T> EMULATED T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, int place = __builtin_LINE()) {
    unsigned lane = emulated_lane(), first = emulated_part(width);
    return emulated_shuffle(mask, value, lane - first >= by ? lane - by : lane, place);
}
template <class T> EMULATED T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, int place = __builtin_LINE()) {
    unsigned lane = emulated_lane(), end = emulated_part(width) + (unsigned)width;
    return emulated_shuffle(mask, value, lane + by < end ? lane + by : lane, place);
}
template <class T> EMULATED T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, int place = __builtin_LINE()) {
    unsigned lane = emulated_lane(), other = lane ^ (unsigned)with, end = emulated_part(width) + (unsigned)width;
    return emulated_shuffle(mask, value, other < end ? other : lane, place);
}

struct emulated_vote { unsigned predicate, ballot; };

UNSEEN void emulated_vote_complete(void **payloads, unsigned present, unsigned) {
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        if (present >> lane & 1) ballot |= (unsigned)(((emulated_vote *)payloads[lane])->predicate != 0) << lane;
    for (unsigned lane = 0; lane < 32; lane++)
        if (present >> lane & 1) *(emulated_vote *)payloads[lane] = {present, ballot};
}
/* Gives the ballot, and in `predicate` who was there. */
EMULATED emulated_vote emulated_voting(unsigned mask, int predicate, int place) {
    emulated_vote mine = {predicate != 0, 0};
    emulated.engine.collect(COLLECTIVE_VOTE, mask, &mine, emulated_vote_complete, place);
    return mine;
}
EMULATED unsigned __ballot_sync(unsigned mask, int predicate, int place = __builtin_LINE()) {
    return emulated_voting(mask, predicate, place).ballot;
}
EMULATED int __any_sync(unsigned mask, int predicate, int place = __builtin_LINE()) {
    return emulated_voting(mask, predicate, place).ballot != 0;
}
EMULATED int __all_sync(unsigned mask, int predicate, int place = __builtin_LINE()) {
    emulated_vote vote = emulated_voting(mask, predicate, place);
    return vote.ballot == vote.predicate;
}

template <class T> struct emulated_matched { T value; unsigned equal; };

template <class T> UNSEEN void emulated_match_complete(void **payloads, unsigned present, unsigned) {
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(present >> lane & 1)) continue;
        auto *mine = (emulated_matched<T> *)payloads[lane];
        for (unsigned other = 0; other < 32; other++)
            if ((present >> other & 1) && !__builtin_memcmp(&((emulated_matched<T> *)payloads[other])->value, &mine->value, sizeof(T)))
                mine->equal |= 1u << other;
    }
}
template <class T> EMULATED unsigned __match_any_sync(unsigned mask, T value, int place = __builtin_LINE()) {
    emulated_matched<T> mine = {value, 0};
    emulated.engine.collect(COLLECTIVE_MATCH, mask, &mine, emulated_match_complete<T>, place);
    return mine.equal;
}

struct emulated_add { template <class T> T operator()(T a, T b) const { return a + b; } };
struct emulated_min { template <class T> T operator()(T a, T b) const { return b < a ? b : a; } };
struct emulated_max { template <class T> T operator()(T a, T b) const { return a < b ? b : a; } };
struct emulated_and { template <class T> T operator()(T a, T b) const { return a & b; } };
struct emulated_or { template <class T> T operator()(T a, T b) const { return a | b; } };
struct emulated_xor { template <class T> T operator()(T a, T b) const { return a ^ b; } };

template <class T, class F> UNSEEN void emulated_reduce_complete(void **payloads, unsigned present, unsigned) {
    T total = *(T *)payloads[__builtin_ctz(present)];
    for (unsigned rest = present & (present - 1); rest; rest &= rest - 1) total = F()(total, *(T *)payloads[__builtin_ctz(rest)]);
    for (unsigned rest = present; rest; rest &= rest - 1) *(T *)payloads[__builtin_ctz(rest)] = total;
}
#define WARP_REDUCE(name, T) \
    EMULATED T __reduce_##name##_sync(unsigned mask, T value, int place = __builtin_LINE()) { \
        emulated.engine.collect(COLLECTIVE_REDUCE, mask, &value, emulated_reduce_complete<T, emulated_##name>, place); \
        return value; \
    }
WARP_REDUCE(add, int) WARP_REDUCE(add, unsigned) WARP_REDUCE(min, int) WARP_REDUCE(min, unsigned)
WARP_REDUCE(max, int) WARP_REDUCE(max, unsigned) WARP_REDUCE(and, unsigned) WARP_REDUCE(or, unsigned) WARP_REDUCE(xor, unsigned)

/* ---------------------------------------------------------------- atomics: threads take turns, so a plain update is one */

#if EMULATOR_CHECKS
#define ATOMIC_SEEN(p, place) emulated.engine.access(p, sizeof *(p), EMULATOR_ATOMIC, 0, place)
#define ATOMIC UNSEEN
#else
#define ATOMIC_SEEN(p, place) (void)(place)
#define ATOMIC EMULATED
#endif

#define ATOMIC_UPDATE(name, T, updated) \
    ATOMIC T name(T *p, T value, int place = __builtin_LINE()) { \
        ATOMIC_SEEN(p, place); \
        T old = *p; \
        *p = (updated); \
        return old; \
    }
#define ATOMIC_SWAP(T) \
    ATOMIC_UPDATE(atomicExch, T, value)
#define ATOMIC_COMPARE(T) \
    ATOMIC T atomicCAS(T *p, T expected, T value, int place = __builtin_LINE()) { \
        ATOMIC_SEEN(p, place); \
        T old = *p; \
        if (old == expected) *p = value; \
        return old; \
    }
#define ATOMIC_INTEGER(T) \
    ATOMIC_UPDATE(atomicMin, T, value < old ? value : old) \
    ATOMIC_UPDATE(atomicMax, T, value > old ? value : old) \
    ATOMIC_UPDATE(atomicAnd, T, old & value) \
    ATOMIC_UPDATE(atomicOr, T, old | value) \
    ATOMIC_UPDATE(atomicXor, T, old ^ value)

ATOMIC_UPDATE(atomicAdd, int, (int)((unsigned)old + (unsigned)value))
ATOMIC_UPDATE(atomicAdd, unsigned, old + value)
ATOMIC_UPDATE(atomicAdd, unsigned long long, old + value)
ATOMIC_UPDATE(atomicAdd, float, old + value)
ATOMIC_UPDATE(atomicAdd, double, old + value)
ATOMIC_UPDATE(atomicSub, int, (int)((unsigned)old - (unsigned)value))
ATOMIC_UPDATE(atomicSub, unsigned, old - value)
ATOMIC_UPDATE(atomicInc, unsigned, old >= value ? 0u : old + 1u)
ATOMIC_UPDATE(atomicDec, unsigned, old == 0 || old > value ? value : old - 1u)
ATOMIC_INTEGER(int) ATOMIC_INTEGER(unsigned) ATOMIC_INTEGER(long long) ATOMIC_INTEGER(unsigned long long)
ATOMIC_SWAP(int) ATOMIC_SWAP(unsigned) ATOMIC_SWAP(unsigned long long) ATOMIC_SWAP(float)
ATOMIC_COMPARE(int) ATOMIC_COMPARE(unsigned) ATOMIC_COMPARE(unsigned long long) ATOMIC_COMPARE(unsigned short)

/* ---------------------------------------------------------------- bits and conversions */

#define __ldg(p) (*(p))
#define __ldcg(p) (*(p))
#define __ldcs(p) (*(p))
#define __stcs(p, value) ((void)(*(p) = (value)))
#define __stcg(p, value) ((void)(*(p) = (value)))

#define REINTERPRET(name, From, To) EMULATED To name(From x) { return __builtin_bit_cast(To, x); }
REINTERPRET(__float_as_int, float, int) REINTERPRET(__int_as_float, int, float)
REINTERPRET(__float_as_uint, float, unsigned) REINTERPRET(__uint_as_float, unsigned, float)
REINTERPRET(__double_as_longlong, double, long long) REINTERPRET(__longlong_as_double, long long, double)

EMULATED int __popc(unsigned x) { return __builtin_popcount(x); }
EMULATED int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
EMULATED int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
EMULATED int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
EMULATED int __ffs(int x) { return __builtin_ffs(x); }
EMULATED int __ffsll(long long x) { return __builtin_ffsll(x); }
EMULATED unsigned __brev(unsigned x) {
    unsigned turned = 0;
    for (int bit = 0; bit < 32; bit++) turned |= (x >> bit & 1u) << (31 - bit);
    return turned;
}
EMULATED unsigned __byte_perm(unsigned x, unsigned y, unsigned chosen) {
    unsigned long long bytes = (unsigned long long)y << 32 | x;
    unsigned made = 0;
    for (int i = 0; i < 4; i++) {
        unsigned which = chosen >> 4 * i & 15u, byte = (unsigned)(bytes >> 8 * (which & 7u)) & 255u;
        made |= (which & 8u ? (byte & 128u ? 255u : 0u) : byte) << 8 * i;
    }
    return made;
}
EMULATED unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return (unsigned)(((unsigned long long)high << 32 | low) << (by & 31u) >> 32);
}
EMULATED unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return (unsigned)(((unsigned long long)high << 32 | low) >> (by & 31u));
}
EMULATED unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
EMULATED int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
EMULATED unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
EMULATED long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }

/* A float as an integer: rounded, held in the range of the integer, NaN as 0. */
template <class I> EMULATED I emulated_whole(double x, I low, I high) {
    return x != x ? 0 : x <= (double)low ? low : x >= (double)high ? high : (I)x;
}
#define TO_INTEGER(name, From, I, low, high) \
    EMULATED I name##_rz(From x) { return emulated_whole<I>(__builtin_trunc(x), low, high); } \
    EMULATED I name##_rn(From x) { return emulated_whole<I>(__builtin_rint(x), low, high); } \
    EMULATED I name##_rd(From x) { return emulated_whole<I>(__builtin_floor(x), low, high); } \
    EMULATED I name##_ru(From x) { return emulated_whole<I>(__builtin_ceil(x), low, high); }
TO_INTEGER(__float2int, float, int, -2147483647 - 1, 2147483647)
TO_INTEGER(__float2uint, float, unsigned, 0u, 4294967295u)
TO_INTEGER(__float2ll, float, long long, -9223372036854775807ll - 1, 9223372036854775807ll)
TO_INTEGER(__float2ull, float, unsigned long long, 0ull, 18446744073709551615ull)
TO_INTEGER(__double2int, double, int, -2147483647 - 1, 2147483647)
TO_INTEGER(__double2uint, double, unsigned, 0u, 4294967295u)
TO_INTEGER(__double2ll, double, long long, -9223372036854775807ll - 1, 9223372036854775807ll)
TO_INTEGER(__double2ull, double, unsigned long long, 0ull, 18446744073709551615ull)
EMULATED float __int2float_rn(int x) { return (float)x; }
EMULATED float __uint2float_rn(unsigned x) { return (float)x; }
EMULATED float __ll2float_rn(long long x) { return (float)x; }
EMULATED float __ull2float_rn(unsigned long long x) { return (float)x; }
EMULATED double __ll2double_rn(long long x) { return (double)x; }
EMULATED double __ull2double_rn(unsigned long long x) { return (double)x; }
EMULATED float __double2float_rn(double x) { return (float)x; }

/* ---------------------------------------------------------------- mathematics: the C library's, and what only CUDA has */

#define MATH_1(name) extern "C" double name(double) noexcept; extern "C" float name##f(float) noexcept;
#define MATH_2(name) extern "C" double name(double, double) noexcept; extern "C" float name##f(float, float) noexcept;
MATH_1(exp) MATH_1(exp2) MATH_1(expm1) MATH_1(log) MATH_1(log2) MATH_1(log10) MATH_1(log1p) MATH_1(sqrt) MATH_1(cbrt)
MATH_1(sin) MATH_1(cos) MATH_1(tan) MATH_1(asin) MATH_1(acos) MATH_1(atan) MATH_1(sinh) MATH_1(cosh) MATH_1(tanh)
MATH_1(asinh) MATH_1(acosh) MATH_1(atanh) MATH_1(erf) MATH_1(erfc) MATH_1(lgamma) MATH_1(tgamma)
MATH_1(floor) MATH_1(ceil) MATH_1(trunc) MATH_1(round) MATH_1(rint) MATH_1(nearbyint) MATH_1(fabs) MATH_1(logb)
MATH_1(j0) MATH_1(j1) MATH_1(y0) MATH_1(y1)
MATH_2(pow) MATH_2(fmod) MATH_2(atan2) MATH_2(hypot) MATH_2(copysign) MATH_2(fmax) MATH_2(fmin) MATH_2(fdim)
MATH_2(remainder) MATH_2(nextafter)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" double frexp(double, int *) noexcept;
extern "C" float frexpf(float, int *) noexcept;
extern "C" double modf(double, double *) noexcept;
extern "C" float modff(float, float *) noexcept;
extern "C" int ilogb(double) noexcept;
extern "C" int ilogbf(float) noexcept;
extern "C" int printf(const char *, ...);
extern "C" void *memcpy(void *, const void *, __SIZE_TYPE__) noexcept;
extern "C" void *memset(void *, int, __SIZE_TYPE__) noexcept;

/* The C++ overloads for float, and the classes of numbers. */
#define OVERLOAD_1(name) EMULATED float name(float x) { return name##f(x); }
OVERLOAD_1(exp) OVERLOAD_1(log) OVERLOAD_1(sqrt) OVERLOAD_1(sin) OVERLOAD_1(cos) OVERLOAD_1(tanh) OVERLOAD_1(floor) OVERLOAD_1(ceil)
OVERLOAD_1(fabs) OVERLOAD_1(trunc) OVERLOAD_1(rint)
EMULATED int abs(int x) { return x < 0 ? -x : x; }
EMULATED long long abs(long long x) { return x < 0 ? -x : x; }
EMULATED float abs(float x) { return __builtin_fabsf(x); }
EMULATED double abs(double x) { return __builtin_fabs(x); }
EMULATED long long llabs(long long x) { return x < 0 ? -x : x; }
#define CLASSIFY(T) \
    EMULATED int isnan(T x) { return x != x; } \
    EMULATED int isinf(T x) { return __builtin_isinf(x) != 0; } \
    EMULATED int isfinite(T x) { return __builtin_isfinite(x) != 0; } \
    EMULATED int signbit(T x) { return __builtin_signbit(x) != 0; }
CLASSIFY(float) CLASSIFY(double)
#define LARGER(T) \
    EMULATED T max(T a, T b) { return a < b ? b : a; } \
    EMULATED T min(T a, T b) { return b < a ? b : a; }
LARGER(int) LARGER(unsigned) LARGER(long long) LARGER(unsigned long long)
EMULATED float max(float a, float b) { return fmaxf(a, b); }
EMULATED float min(float a, float b) { return fminf(a, b); }
EMULATED double max(double a, double b) { return fmax(a, b); }
EMULATED double min(double a, double b) { return fmin(a, b); }

EMULATED float rsqrtf(float x) { return (float)(1.0 / __builtin_sqrt((double)x)); }
EMULATED double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
EMULATED float rcbrtf(float x) { return 1.0f / cbrtf(x); }
EMULATED float exp10f(float x) { return (float)pow(10.0, (double)x); }
EMULATED double exp10(double x) { return pow(10.0, x); }
EMULATED float sinpif(float x) { return (float)sin(3.14159265358979323846 * (double)remainderf(x, 2.0f)); }
EMULATED float cospif(float x) { return (float)cos(3.14159265358979323846 * (double)remainderf(x, 2.0f)); }
EMULATED double sinpi(double x) { return sin(3.14159265358979323846 * remainder(x, 2.0)); }
EMULATED double cospi(double x) { return cos(3.14159265358979323846 * remainder(x, 2.0)); }
EMULATED void sincosf(float x, float *s, float *c) { *s = sinf(x); *c = cosf(x); }
EMULATED void sincos(double x, double *s, double *c) { *s = sin(x); *c = cos(x); }
EMULATED float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

/* Rounded once, never contracted to a multiplication and addition in one. The fast ones are accurate here. */
#define ROUNDED(T, letter, fused) \
    EMULATED T __##letter##add_rn(T a, T b) { T volatile sum = a + b; return sum; } \
    EMULATED T __##letter##sub_rn(T a, T b) { T volatile difference = a - b; return difference; } \
    EMULATED T __##letter##mul_rn(T a, T b) { T volatile product = a * b; return product; } \
    EMULATED T __##letter##div_rn(T a, T b) { return a / b; }
ROUNDED(float, f, fmaf) ROUNDED(double, d, fma)
EMULATED float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
EMULATED double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
EMULATED float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
EMULATED double __dsqrt_rn(double x) { return __builtin_sqrt(x); }
EMULATED float __frcp_rn(float x) { return 1.0f / x; }
EMULATED float __frsqrt_rn(float x) { return rsqrtf(x); }
EMULATED float __expf(float x) { return expf(x); }
EMULATED float __exp10f(float x) { return exp10f(x); }
EMULATED float __logf(float x) { return logf(x); }
EMULATED float __log2f(float x) { return log2f(x); }
EMULATED float __log10f(float x) { return log10f(x); }
EMULATED float __sinf(float x) { return sinf(x); }
EMULATED float __cosf(float x) { return cosf(x); }
EMULATED float __tanf(float x) { return tanf(x); }
EMULATED float __powf(float x, float y) { return powf(x, y); }
EMULATED float __fdividef(float x, float y) { return x / y; }

/* ---------------------------------------------------------------- matrix instructions and asynchronous copies: see prelude.cuh */

/* Who holds what of D = A B + D (PTX manual, "Matrix fragments"): row and column of element `i` of a lane. */
EMULATED unsigned emulated_row(unsigned lane, unsigned i) { return lane / 4 + (i & 2 ? 8 : 0); }
EMULATED unsigned emulated_column(unsigned lane, unsigned i) { return lane % 4 * 2 + (i & 1); }

struct emulated_fragments { float *d; const unsigned *a, *b; };

/* tf32: the 10 upper bits of the fraction count, the others are dropped. */
EMULATED float emulated_tf32(unsigned bits) { return __builtin_bit_cast(float, bits & 0xffffe000u); }
EMULATED float emulated_bf16(unsigned pair, unsigned which) {
    return __builtin_bit_cast(float, which ? pair & 0xffff0000u : pair << 16);
}

template <int K, class A, class B> UNSEEN void emulated_multiply(void **payloads, A a, B b) {
    float left[16][K], right[K][8];
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < K; k++) left[i][k] = a(i, k);
    for (int k = 0; k < K; k++)
        for (int j = 0; j < 8; j++) right[k][j] = b(k, j);
    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned n = 0; n < 4; n++) {
            const unsigned i = emulated_row(lane, n), j = emulated_column(lane, n);
            float sum = 0;
            for (int k = 0; k < K; k++) sum += left[i][k] * right[k][j];
            ((emulated_fragments *)payloads[lane])->d[n] += sum;
        }
}
UNSEEN bool emulated_whole_warp(unsigned present) {
    if (present == 0xffffffffu) return true;
    emulated.engine.fault_of_lane(FAULT_WARP_DIVERGED, (unsigned)__builtin_ctz(present), (long long)present);
    return false;
}
UNSEEN void emulated_tf32_complete(void **payloads, unsigned present, unsigned) {
    if (!emulated_whole_warp(present)) return;
    emulated_fragments **lanes = (emulated_fragments **)payloads;
    emulated_multiply<8>(payloads,
        [=](int i, int k) { return emulated_tf32(lanes[i % 8 * 4 + k % 4]->a[i / 8 + k / 4 * 2]); },
        [=](int k, int j) { return emulated_tf32(lanes[j * 4 + k % 4]->b[k / 4]); });
}
UNSEEN void emulated_bf16_complete(void **payloads, unsigned present, unsigned) {
    if (!emulated_whole_warp(present)) return;
    emulated_fragments **lanes = (emulated_fragments **)payloads;
    emulated_multiply<16>(payloads,
        [=](int i, int k) { return emulated_bf16(lanes[i % 8 * 4 + k % 8 / 2]->a[i / 8 + k / 8 * 2], k & 1); },
        [=](int k, int j) { return emulated_bf16(lanes[j * 4 + k % 8 / 2]->b[k / 8], k & 1); });
}
EMULATED void emulated_mma(float *d, const unsigned *a, const unsigned *b, emulator_complete complete, int place) {
    emulated_fragments mine = {d, a, b};
    emulated.engine.collect(COLLECTIVE_MATRIX, 0xffffffffu, &mine, complete, place);
}
EMULATED void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int place = __builtin_LINE()) {
    emulated_mma(d, a, b, emulated_tf32_complete, place);
}
EMULATED void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int place = __builtin_LINE()) {
    emulated_mma(d, a, b, emulated_bf16_complete, place);
}
/* To the upper 16 bits of the nearest number that has no others, of two the even one; NaN stays NaN. */
EMULATED unsigned short to_bf16(float x) {
    const unsigned bits = __float_as_uint(x);
    return (unsigned short)(x != x ? 0x7fff : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

template <int bytes> EMULATED void copy_async(void *shared, const void *global, int from_global = bytes, int place = __builtin_LINE()) {
    static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async copies 4, 8 or 16 bytes");
    emulated.engine.copy(shared, global, bytes, (unsigned)from_global, place);
}
template <int bytes> EMULATED void copy_async_if(void *shared, const void *global, bool there, int place = __builtin_LINE()) {
    copy_async<bytes>(shared, global, there ? bytes : 0, place);
}
EMULATED void copy_commit() { emulated.engine.copy_commit(); }
template <int groups> EMULATED void copy_wait() { emulated.engine.copy_wait(groups); }

/* ---------------------------------------------------------------- the checking build: what the compiler calls */

#if EMULATOR_CHECKS
#define HOOK extern "C" __attribute__((visibility("hidden"), used, no_sanitize("thread", "undefined"))) void
#define HERE __builtin_return_address(0)
#define ACCESS_HOOKS(size) \
    HOOK __tsan_read##size(void *p) { emulated.engine.access(p, size, EMULATOR_READ, HERE, 0); } \
    HOOK __tsan_write##size(void *p) { emulated.engine.access(p, size, EMULATOR_WRITE, HERE, 0); } \
    HOOK __tsan_volatile_read##size(void *p) { emulated.engine.access(p, size, EMULATOR_READ, HERE, 0); } \
    HOOK __tsan_volatile_write##size(void *p) { emulated.engine.access(p, size, EMULATOR_WRITE, HERE, 0); }
#define UNALIGNED_HOOKS(size) \
    HOOK __tsan_unaligned_read##size(void *p) { emulated.engine.access(p, size, EMULATOR_READ, HERE, 0); } \
    HOOK __tsan_unaligned_write##size(void *p) { emulated.engine.access(p, size, EMULATOR_WRITE, HERE, 0); }
ACCESS_HOOKS(1) ACCESS_HOOKS(2) ACCESS_HOOKS(4) ACCESS_HOOKS(8) ACCESS_HOOKS(16)
UNALIGNED_HOOKS(2) UNALIGNED_HOOKS(4) UNALIGNED_HOOKS(8) UNALIGNED_HOOKS(16)
HOOK __tsan_read_range(void *p, unsigned long size) { emulated.engine.access(p, size, EMULATOR_READ, HERE, 0); }
HOOK __tsan_write_range(void *p, unsigned long size) { emulated.engine.access(p, size, EMULATOR_WRITE, HERE, 0); }
HOOK __tsan_init() {}
HOOK __tsan_func_entry(void *) {}
HOOK __tsan_func_exit(void *) {}

/* The descriptions that the undefined-behaviour sanitizer passes begin with the place. */
struct emulated_place { const char *file; unsigned line, column; };
struct emulated_mismatch { emulated_place place; void *type; unsigned char align_log2, kind; };

HOOK __ubsan_handle_out_of_bounds(void *data, unsigned long index) {
    emulated.engine.fault(FAULT_INDEX, (int)((emulated_place *)data)->line, HERE, (long long)index, 0);
}
HOOK __ubsan_handle_type_mismatch_v1(void *data, unsigned long address) {
    auto *found = (emulated_mismatch *)data;
    emulated.engine.fault(FAULT_MISALIGNED, (int)found->place.line, HERE, (long long)address, 1ll << found->align_log2);
}
HOOK __ubsan_handle_divrem_overflow(void *data, unsigned long, unsigned long) {
    emulated.engine.fault(FAULT_DIVISION, (int)((emulated_place *)data)->line, HERE, 0, 0);
}
#endif
#endif
