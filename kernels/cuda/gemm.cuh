/* gemm.cuh: matrix product
 *
 *     y[r,g,i,j] = sum over k of part r of a[g,i,k] * b[g,k,j]        g < BATCH, i < M, j < N, k < K, r < PARTS
 *
 * The sum runs over k in rising order in one accumulator per element, whatever the sizes are; the caller adds the parts.
 * K == 0 stores zeros. Tiling, tile sizes and launch: product.cuh, which is pasted behind this text.
 *
 * Sizes   M, N, K, BATCH, PARTS   each an integer constant or a long long named in PARAMS
 * Hooks   LOAD_a(g,i,k)           value; any strides will do
 *         LOAD_b(g,k,j)           value
 *         STORE_y(r,g,i,j,x)      statement; run once per element, neighbouring threads along j
 * Flags   B_COLS_CONTIGUOUS       1: b is contiguous along k (a transposed matrix)
 *         A_COLS_CONTIGUOUS       1: a is contiguous along i (a transposed matrix)
 */
#ifndef KERNEL
#define KERNEL gemm
#define PARAMS const T *__restrict__ a, const T *__restrict__ b, T *__restrict__ y, long long M, long long N, long long K
#define LOAD_a(g, i, k) a[((g) * M + (i)) * K + (k)]
#define LOAD_b(g, k, j) b[((g) * K + (k)) * N + (j)]
#define STORE_y(r, g, i, j, x) y[((g) * M + (i)) * N + (j)] = (x)
#endif
#ifndef T
#define T float
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef PARTS
#define PARTS 1
#endif
#ifndef B_COLS_CONTIGUOUS
#define B_COLS_CONTIGUOUS 0
#endif
#ifndef A_COLS_CONTIGUOUS
#define A_COLS_CONTIGUOUS 0
#endif

#define PRODUCT_BATCH BATCH
#define PRODUCT_M M
#define PRODUCT_N N
#define PRODUCT_K K
#define PRODUCT_PARTS PARTS
#define PRODUCT_A(x, in_i, in_k, g, i, k, t, key) PRODUCT_A_IS(x, in_i && in_k, LOAD_a(g, i, k))
#define PRODUCT_B(x, in_k, g, k, t, j, from, may, key) PRODUCT_B_IS(x, in_k && may, LOAD_b(g, k, j))
#define PRODUCT_Y(r, g, i, j, x) STORE_y(r, g, i, j, x)
#define PRODUCT_A_ALONG_I A_COLS_CONTIGUOUS
#define PRODUCT_B_ALONG_K B_COLS_CONTIGUOUS
#define PRODUCT_A_STORED LOAD_a_STORED
#define PRODUCT_B_STORED LOAD_b_STORED
