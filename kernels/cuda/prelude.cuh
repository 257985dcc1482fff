/* prelude.cuh: what every CUDA text of exprc begins with
 *
 * The same text is read by nvcc, by NVRTC and, through kernels/cuda/emulator.h, by a C++ compiler: nothing is included, and what the
 * emulator has defined already is left as it is.
 *
 *   EXPRC_KERNEL          an entry; all of its arguments are pointers or int64_t, 8 bytes each
 *   EXPRC_BOUNDS(n[, m])  after EXPRC_KERNEL void: the block has n threads at most, and m blocks shall find room at a time
 *   EXPRC_DEVICE          a function of one thread, inlined: hooks, scalar mathematics
 *   EXPRC_CALL            a long one, called
 *   EXPRC_TABLE           a constant table that such functions read
 *   EXPRC_UNROLL          before a short loop over arrays that shall lie in registers
 *   EXPRC_SHARED(name)    declares the one base, bytes aligned to 16, from which a kernel carves all of its shared memory
 *   EXPRC_BLOCK, EXPRC_BLOCKS, EXPRC_THREADS    the number of the block, how many there are, and the threads of each: of this kernel, which
 *                         may share its launch with others (then EXPRC_KERNEL is EXPRC_DEVICE)
 *   EXPRC_LEAVE           returns from an entry, before any barrier, in a thread that none of its barriers waits for
 *   EXPRC_NAME(a, b)      the name a_b, for entries and functions of a text that are named after KERNEL
 *
 *   int8_t ... uint64_t   64 bits are long long everywhere (a host's own int64_t may be long, another type)
 *   checked(...)          an index read from data; see below
 *   mma_tf32, mma_bf16    d += a b by a whole warp, and copy_async ... copy_wait: instructions of sm_80 and later; see below
 */
#ifdef __CUDACC__
#pragma nv_diag_suppress 177    /* functions that a text does not call */
#pragma nv_diag_suppress 1675   /* pragmas of gcc in kernels/c */
#pragma nv_diag_suppress 550    /* values that another kernel of the same shape needs */
#pragma nv_diag_suppress 39     /* divisions by the length of an axis without elements, which nothing comes to */
#pragma nv_diag_suppress 179
#endif
#ifndef EXPRC_KERNEL
#define EXPRC_KERNEL extern "C" __global__
#define EXPRC_BOUNDS(...) __launch_bounds__(__VA_ARGS__)
#define EXPRC_DEVICE static __device__ __forceinline__
#define EXPRC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif
#ifndef EXPRC_BOUNDS
#define EXPRC_BOUNDS(...)
#endif
#ifndef EXPRC_CALL
#define EXPRC_CALL static __device__ __noinline__
#endif
#ifndef EXPRC_UNROLL
#ifdef __CUDACC__
#define EXPRC_UNROLL _Pragma("unroll")
#else
#define EXPRC_UNROLL _Pragma("GCC unroll 8")
#endif
#endif
#ifndef EXPRC_TABLE
#define EXPRC_TABLE static __device__ const
#endif
#ifndef EXPRC_LEAVE
#define EXPRC_LEAVE return
#endif
#define EXPRC_BLOCK blockIdx.x
#define EXPRC_BLOCKS gridDim.x
#define EXPRC_THREADS blockDim.x
#define EXPRC_NAME_(a, b) a##_##b
#define EXPRC_NAME(a, b) EXPRC_NAME_(a, b)

#define int8_t signed char
#define int16_t short
#define int32_t int
#define int64_t long long
#define uint8_t unsigned char
#define uint16_t unsigned short
#define uint32_t unsigned int
#define uint64_t unsigned long long
#define half exprc_half
#define _Bool bool
#define restrict __restrict__
#undef INT64_MAX
#undef UINT64_MAX
#define INT64_MAX 0x7fffffffffffffffLL
#define UINT64_MAX 0xffffffffffffffffULL

/* What kernels/c takes from the C compiler. */
#define __builtin_memcpy memcpy
#define __builtin_inff() __int_as_float(0x7f800000)
#define __builtin_nanf(text) __int_as_float(0x7fc00000)
#define __builtin_inf() __longlong_as_double(0x7ff0000000000000LL)
#define __builtin_nan(text) __longlong_as_double(0x7ff8000000000000LL)
#define __builtin_sqrtf sqrtf
#define __builtin_sqrt sqrt
#define __builtin_floorf floorf
#define __builtin_floor floor
#define __builtin_ceilf ceilf
#define __builtin_ceil ceil
#define __builtin_truncf truncf
#define __builtin_trunc trunc
#define __builtin_rintf rintf
#define __builtin_rint rint
#define __builtin_fabsf fabsf
#define __builtin_fabs fabs
#define __builtin_copysignf copysignf
#define __builtin_copysign copysign
#define __builtin_fmodf fmodf
#define __builtin_fmod fmod
#define __builtin_fmax(x, y) fmax((double)(x), (double)(y))
#define __builtin_pow pow
#define __builtin_cbrt cbrt
#define __builtin_log10 log10
#define __builtin_sin sin
#define __builtin_cos cos
#define __builtin_tan tan
#define __builtin_asin asin
#define __builtin_acos acos
#define __builtin_atan atan
#define __builtin_atan2 atan2
#define __builtin_sinh sinh
#define __builtin_cosh cosh
#define __builtin_asinh asinh
#define __builtin_acosh acosh
#define __builtin_atanh atanh
#define __builtin_hypotf hypotf
#define __builtin_hypot hypot
#define __builtin_tgamma tgamma
#define __builtin_j0 j0
#define __builtin_j1 j1

/* What _Generic is in C: one of several functions by the type of an expression, which is not evaluated. */
template <class X> struct exprc_kind { static constexpr int n = 2; };
template <> struct exprc_kind<float> { static constexpr int n = 0; };
template <> struct exprc_kind<double> { static constexpr int n = 1; };
template <> struct exprc_kind<unsigned> { static constexpr int n = 3; };
template <> struct exprc_kind<long> { static constexpr int n = 4; };
template <> struct exprc_kind<long long> { static constexpr int n = 4; };
template <> struct exprc_kind<unsigned long> { static constexpr int n = 5; };
template <> struct exprc_kind<unsigned long long> { static constexpr int n = 5; };
template <int k, class F, class... Others> EXPRC_DEVICE constexpr auto exprc_nth(F first, Others... others) {
    if constexpr (k == 0) return first;
    else return exprc_nth<k - 1>(others...);
}
#define TYPED(x, ...) exprc_nth<exprc_kind<decltype(+(x))>::n>(__VA_ARGS__)
#define FLOAT(x, ...) exprc_nth<exprc_kind<decltype(+(x))>::n != 0>(__VA_ARGS__)

/* An index read from data: negative ones count from the end; of those out of range one is noted, and 0 stands in for it. */
EXPRC_DEVICE int64_t checked(int64_t index, int64_t limit, int64_t code, int64_t *status) {
    const int64_t i = index < 0 ? index + limit : index;
    if (i >= 0 && i < limit) return i;
    if (atomicCAS((unsigned long long *)status, 0ull, (unsigned long long)(code + 1)) == 0ull) { status[1] = index; status[2] = limit; }
    return 0;
}

/* Matrix instructions, d += a b by the 32 lanes of a warp together. Who holds what (g = lane / 4, t = lane % 4):
 *
 *   d[0] d[1]   row g      columns 2t, 2t+1          a of tf32   a[0] (g, t)      a[1] (g+8, t)      a[2] (g, t+4)      a[3] (g+8, t+4)
 *   d[2] d[3]   row g+8    columns 2t, 2t+1          b of tf32   b[0] (t, g)      b[1] (t+4, g)
 *
 *   mma_tf32    16 x 8 x 8, the bits of floats rounded by to_tf32, of which the last 13 do not count
 *   mma_bf16    16 x 8 x 16, two bfloat16 (of to_bf16) in each: a[0] (g, 2t), (g, 2t+1)  a[1] row g+8  a[2], a[3] columns +8;  b[0] (2t, g), (2t+1, g)  b[1] rows +8
 *
 * Asynchronous copies to shared memory, of 4, 8 or 16 bytes (aligned to as many), of which only `from_global` are read and the rest is 0;
 * copy_async_if reads all of them, or none where an element is not there. copy_commit() closes a group of copies, copy_wait<n>() waits until at
 * most the last n groups are under way. Then a barrier, for others to see them. EXPRC_COPIES: whether there is such an instruction.
 */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define EXPRC_COPIES 0
#else
#define EXPRC_COPIES 1
#endif
/* To the nearest number with 10 bits of fraction, halves away from zero: half of the last of these bits is added, in the power of two that x
 * begins with. Infinities and NaN stay what they are, which cvt.rna.tf32 makes an infinity of some; below 2^-126 bits are cut off instead. */
EXPRC_DEVICE unsigned to_tf32(float x) { return __float_as_uint(fmaf(__uint_as_float(__float_as_uint(x) & 0xff800000u), 0x1p-11f, x)); }
#ifndef EXPRC_EMULATED
EXPRC_DEVICE unsigned short to_bf16(float x) {
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
EXPRC_DEVICE void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
EXPRC_DEVICE void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
EXPRC_DEVICE unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }
template <int bytes> EXPRC_DEVICE void copy_async(void *shared, const void *global, int from_global = bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :: "r"(shared_address(shared)), "l"(global), "n"(bytes), "r"(from_global));
}
template <int bytes> EXPRC_DEVICE void copy_async_if(void *shared, const void *global, bool there) {
    asm volatile("{ .reg .pred none; setp.eq.s32 none, %3, 0; cp.async.ca.shared.global [%0], [%1], %2, none; }"
                 :: "r"(shared_address(shared)), "l"(global), "n"(bytes), "r"((int)there));
}
EXPRC_DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int groups> EXPRC_DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(groups) : "memory"); }
#endif
