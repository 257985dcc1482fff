/* fake_cublas.c: as much of cuBLAS as exprc calls, on the fake driver. Compiled as libcublas.so.13 by fake_driver.py.
 *
 * FAKE_CUBLAS (a file): each product is noted in it. FAKE_CUBLAS_FAIL (0): the result of every product.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
typedef int R;
enum { OK = 0, NOT_INITIALIZED = 1, INVALID = 7 };
struct handle { void *stream; uint64_t workspace; int mode; };

typedef int (*Work)(void *, void (*)(const int64_t *), const int64_t *, int64_t);

API R cublasCreate_v2(void **handle) { *handle = calloc(1, sizeof(struct handle)); return OK; }
API R cublasDestroy_v2(void *handle) { free(handle); return OK; }
API R cublasGetProperty(int which, int *value) { *value = which ? 1 : 13; return OK; }
API R cublasSetStream_v2(void *handle, void *stream) { ((struct handle *)handle)->stream = stream; return OK; }
API R cublasSetWorkspace_v2(void *handle, uint64_t workspace, size_t bytes) {
    ((struct handle *)handle)->workspace = workspace;
    return workspace && bytes ? OK : INVALID;
}
API R cublasSetMathMode(void *handle, int mode) { ((struct handle *)handle)->mode = mode; return OK; }

/* arguments: is double, of a, of b, m, n, k, a, lda, stride, b, ldb, stride, c, ldc, stride, batch */
#define AT(T, base, row, column, leading, turned) ((const T *)(base))[turned ? (column) + (row) * (leading) : (row) + (column) * (leading)]
#define MULTIPLY(T) \
    for (int64_t g = 0; g < w[15]; g++) \
        for (int64_t i = 0; i < w[3]; i++) \
            for (int64_t j = 0; j < w[4]; j++) { \
                T sum = 0; \
                for (int64_t k = 0; k < w[5]; k++) \
                    sum += AT(T, w[6] + g * w[8] * (int64_t)sizeof(T), i, k, w[7], w[1]) * AT(T, w[9] + g * w[11] * (int64_t)sizeof(T), k, j, w[10], w[2]); \
                ((T *)w[12])[g * w[14] + i + j * w[13]] = sum; \
            }
static void multiply(const int64_t *w) { if (w[0]) { MULTIPLY(double) } else { MULTIPLY(float) } }

static R start(struct handle *h, const int64_t *w) {
    const char *path = getenv("FAKE_CUBLAS"), *fail = getenv("FAKE_CUBLAS_FAIL");
    if (fail && *fail) return atoi(fail);
    if (h->mode != 2 || !h->workspace) return INVALID;
    const int64_t least_a = w[1] ? w[5] : w[3], least_b = w[2] ? w[4] : w[5];
    if (w[7] < least_a || w[10] < least_b || w[13] < w[3]) return INVALID; /* leading dimensions */
    FILE *file = path ? fopen(path, "a") : 0;
    if (file) fprintf(file, "%s %d%d %ld %ld %ld x%ld\n", w[0] ? "double" : "float", (int)w[1], (int)w[2], (long)w[3], (long)w[4], (long)w[5], (long)w[15]), fclose(file);
    Work work = (Work)dlsym(RTLD_DEFAULT, "fake_library_work");
    return work && !work(h->stream, multiply, w, 16) ? OK : NOT_INITIALIZED;
}
#define PRODUCT(name, T, is_double) \
    API R name(void *h, int of_a, int of_b, int m, int n, int k, const T *alpha, uint64_t a, int lda, long long sa, uint64_t b, int ldb, \
               long long sb, const T *beta, uint64_t c, int ldc, long long sc, int batch) { \
        if (*alpha != 1 || *beta != 0) return INVALID; \
        const int64_t w[16] = {is_double, of_a, of_b, m, n, k, (int64_t)a, lda, sa, (int64_t)b, ldb, sb, (int64_t)c, ldc, sc, batch}; \
        return start(h, w); \
    }
PRODUCT(cublasSgemmStridedBatched, float, 0)
PRODUCT(cublasDgemmStridedBatched, double, 1)
