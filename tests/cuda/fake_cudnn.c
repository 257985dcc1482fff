/* fake_cudnn.c: as much of cuDNN as exprc calls, on the fake driver. Compiled as libcudnn.so.9 by fake_driver.py.
 *
 * It looks at what cuDNN would: the sizes in the descriptors must fit, elements of the result must lie apart, memory that an algorithm
 * asked for must be there, and is written to. FAKE_CUDNN (a file): each convolution is noted in it. FAKE_CUDNN_FAIL: the result of every
 * convolution. FAKE_CUDNN_ONLY: the one algorithm that there is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
typedef int R;
enum { OK = 0, NOT_INITIALIZED = 1001, BAD_PARAM = 2000, SHAPE = 2008, NOT_SUPPORTED = 3000, ROOM = 4096, FMA = 3 };
struct tensor { int64_t type, shape[4], steps[4]; };
struct convolution { int64_t pad[2], stride[2], dilation[2], cross, type, groups, math; };
struct way { int algorithm, status; float milliseconds; size_t memory; int deterministic, math, reserved[3]; };
typedef int (*Work)(void *, void (*)(const int64_t *), const int64_t *, int64_t);

API size_t cudnnGetVersion(void) { return 92800; }
API const char *cudnnGetErrorString(int status) { return status == NOT_SUPPORTED ? "CUDNN_STATUS_NOT_SUPPORTED" : "CUDNN_STATUS_BAD_PARAM"; }
API R cudnnCreate(void **made) { *made = calloc(1, sizeof(void *)); return OK; }
API R cudnnDestroy(void *made) { free(made); return OK; }
API R cudnnSetStream(void *handle, void *stream) { *(void **)handle = stream; return OK; }
API R cudnnCreateTensorDescriptor(void **made) { *made = calloc(1, sizeof(struct tensor)); return OK; }
API R cudnnDestroyTensorDescriptor(void *made) { free(made); return OK; }
API R cudnnCreateFilterDescriptor(void **made) { return cudnnCreateTensorDescriptor(made); }
API R cudnnDestroyFilterDescriptor(void *made) { free(made); return OK; }
API R cudnnCreateConvolutionDescriptor(void **made) { *made = calloc(1, sizeof(struct convolution)); return OK; }
API R cudnnDestroyConvolutionDescriptor(void *made) { free(made); return OK; }

API R cudnnSetTensor4dDescriptorEx(void *made, int type, int n, int c, int h, int w, int sn, int sc, int sh, int sw) {
    if (n < 1 || c < 1 || h < 1 || w < 1 || sn < 1 || sc < 1 || sh < 1 || sw < 1) return BAD_PARAM;
    *(struct tensor *)made = (struct tensor){type, {n, c, h, w}, {sn, sc, sh, sw}};
    return OK;
}
API R cudnnSetFilter4dDescriptor(void *made, int type, int format, int o, int c, int h, int w) {
    return format ? BAD_PARAM : cudnnSetTensor4dDescriptorEx(made, type, o, c, h, w, c * h * w, h * w, w, 1);
}
API R cudnnSetConvolution2dDescriptor(void *made, int ph, int pw, int sh, int sw, int dh, int dw, int cross, int type) {
    if (ph < 0 || pw < 0 || sh < 1 || sw < 1 || dh < 1 || dw < 1) return BAD_PARAM;
    *(struct convolution *)made = (struct convolution){{ph, pw}, {sh, sw}, {dh, dw}, cross, type, 1, 0};
    return OK;
}
API R cudnnSetConvolutionGroupCount(void *made, int groups) { ((struct convolution *)made)->groups = groups; return OK; }
API R cudnnSetConvolutionMathType(void *made, int math) { ((struct convolution *)made)->math = math; return OK; }

static R fits(const struct tensor *x, const struct tensor *w, const struct convolution *c, const struct tensor *y) {
    if (x->type != w->type || x->type != y->type || x->type != c->type || c->cross < 0 || c->cross > 1) return BAD_PARAM;
    if (x->shape[0] != y->shape[0] || x->shape[1] != w->shape[1] * c->groups || y->shape[1] != w->shape[0] || w->shape[0] % c->groups) return SHAPE;
    for (int a = 0; a < 2; a++) {
        const int64_t free_ = x->shape[2 + a] + 2 * c->pad[a] - ((w->shape[2 + a] - 1) * c->dilation[a] + 1);
        if (free_ < 0 || y->shape[2 + a] != free_ / c->stride[a] + 1) return SHAPE;
    }
    return OK;
}

/* The fastest first: those that only transform, and that add atomically, before those that sum. */
static R name_ways(int only_sums, int atomic, int math, int room, int *count, struct way *ways) {
    const char *only = getenv("FAKE_CUDNN_ONLY");
    const struct way all[] = {
        {4, 0, 1, ROOM, 1, math, {0}}, {atomic, 0, 2, ROOM, 0, math, {0}}, {only_sums, NOT_SUPPORTED, -1, 0, 1, math, {0}},
        {only_sums, 0, 3, (size_t)1 << 40, 1, math, {0}}, {only_sums, 0, 4, ROOM, 1, math == FMA ? 1 : math, {0}},
        {only_sums, 0, 5, ROOM, 1, math, {0}},
    };
    *count = 0;
    for (int k = 0; k < 6 && *count < room; k++)
        if (!only || !*only || all[k].algorithm == atoi(only)) ways[(*count)++] = all[k];
    return OK;
}
#define ASK(name, FIRST, SECOND, RESULT, sums, atomic) \
    API R name(void *h, void *FIRST, void *SECOND, struct convolution *c, void *RESULT, int room, int *count, struct way *ways) { \
        const R wrong = h ? fits(x, w, c, y) : NOT_INITIALIZED; \
        return wrong ? wrong : name_ways(sums, atomic, (int)c->math, room, count, ways); \
    }
ASK(cudnnGetConvolutionForwardAlgorithm_v7, x, w, y, 1, 7)
ASK(cudnnGetConvolutionBackwardDataAlgorithm_v7, w, y, x, 1, 0)
ASK(cudnnGetConvolutionBackwardFilterAlgorithm_v7, x, y, w, 1, 3)

/* numbers: what is computed (0: y, 1: x, 2: w), the three tensors, the convolution, three addresses, memory to write to */
enum { TENSOR = 9, AT = 1 + 3 * TENSOR + 10 };
#define ELEMENT(T, k, a, b, c, d) \
    ((T *)n[AT + (k)])[(a) * n[1 + (k) * TENSOR + 5] + (b) * n[1 + (k) * TENSOR + 6] + (c) * n[1 + (k) * TENSOR + 7] + (d) * n[1 + (k) * TENSOR + 8]]
#define LENGTH(k, a) n[1 + (k) * TENSOR + 1 + (a)]
#define EACH(name, length) for (int64_t name = 0; name < (length); name++)
#define CONVOLVE(T) do { \
    const int64_t own = n[0] == 0 ? 2 : n[0] == 1 ? 0 : 1; /* 0: x, 1: w, 2: y */ \
    EACH(a, LENGTH(own, 0)) EACH(b, LENGTH(own, 1)) EACH(c, LENGTH(own, 2)) EACH(d, LENGTH(own, 3)) ELEMENT(T, own, a, b, c, d) = 0; \
    EACH(i, LENGTH(2, 0)) EACH(o, LENGTH(2, 1)) EACH(p, LENGTH(2, 2)) EACH(q, LENGTH(2, 3)) \
        EACH(c, LENGTH(1, 1)) EACH(u, LENGTH(1, 2)) EACH(v, LENGTH(1, 3)) { \
            const int64_t r = p * is[2] + u * is[4] - is[0], s = q * is[3] + v * is[5] - is[1]; \
            if (r < 0 || r >= LENGTH(0, 2) || s < 0 || s >= LENGTH(0, 3)) continue; \
            const int64_t z = o / (LENGTH(2, 1) / is[8]) * LENGTH(1, 1) + c; \
            T *x = &ELEMENT(T, 0, i, z, r, s), *y = &ELEMENT(T, 2, i, o, p, q); \
            T *w = is[6] ? &ELEMENT(T, 1, o, c, u, v) : &ELEMENT(T, 1, o, c, LENGTH(1, 2) - 1 - u, LENGTH(1, 3) - 1 - v); \
            if (own == 2) *y += *x * *w; else if (own == 0) *x += *y * *w; else *w += *x * *y; \
        } \
    } while (0)
static void convolve(const int64_t *n) {
    const int64_t *is = n + 1 + 3 * TENSOR; /* pad, stride, dilation, cross, type, groups, math */
    memset((void *)n[AT + 3], 0xff, ROOM);
    if (is[7]) CONVOLVE(double); else CONVOLVE(float);
}

static R start(void *handle, int computes, const struct tensor *x, const struct tensor *w, const struct convolution *c, const struct tensor *y,
               uint64_t at_x, uint64_t at_w, uint64_t at_y, int algorithm, uint64_t room, size_t bytes, const void *one, const void *zero) {
    const char *path = getenv("FAKE_CUDNN"), *fail = getenv("FAKE_CUDNN_FAIL");
    if (fail && *fail) return atoi(fail);
    const R wrong = fits(x, w, c, y);
    if (wrong) return wrong;
    const double factors[2] = {c->type ? *(const double *)one : *(const float *)one, c->type ? *(const double *)zero : *(const float *)zero};
    if (algorithm != 1 || !room || bytes != ROOM || factors[0] != 1 || factors[1] != 0) return BAD_PARAM;
    FILE *file = path ? fopen(path, "a") : 0;
    if (file) {
        fprintf(file, "%c %s math %d cross %d groups %d pad %d %d stride %d %d dilation %d %d: %dx%dx%dx%d %dx%dx%dx%d\n", "yxw"[computes],
                c->type ? "double" : "float", (int)c->math, (int)c->cross, (int)c->groups, (int)c->pad[0], (int)c->pad[1], (int)c->stride[0],
                (int)c->stride[1], (int)c->dilation[0], (int)c->dilation[1], (int)x->shape[0], (int)x->shape[1], (int)x->shape[2],
                (int)x->shape[3], (int)w->shape[0], (int)w->shape[1], (int)w->shape[2], (int)w->shape[3]);
        fclose(file);
    }
    int64_t n[AT + 4];
    n[0] = computes;
    memcpy(n + 1, x, sizeof *x), memcpy(n + 1 + TENSOR, w, sizeof *w), memcpy(n + 1 + 2 * TENSOR, y, sizeof *y);
    memcpy(n + 1 + 3 * TENSOR, c, sizeof *c);
    n[AT] = (int64_t)at_x, n[AT + 1] = (int64_t)at_w, n[AT + 2] = (int64_t)at_y, n[AT + 3] = (int64_t)room;
    Work work = (Work)dlsym(RTLD_DEFAULT, "fake_library_work");
    return work && !work(*(void **)handle, convolve, n, AT + 4) ? OK : NOT_INITIALIZED;
}
#define START(name, computes, A, B, RESULT) \
    API R name(void *h, const void *one, void *A, uint64_t at_##A, void *B, uint64_t at_##B, void *c, int algorithm, uint64_t room, size_t bytes, \
               const void *zero, void *RESULT, uint64_t at_##RESULT) { \
        return start(h, computes, x, w, c, y, at_x, at_w, at_y, algorithm, room, bytes, one, zero); \
    }
START(cudnnConvolutionForward, 0, x, w, y)
START(cudnnConvolutionBackwardData, 1, w, y, x)
START(cudnnConvolutionBackwardFilter, 2, x, y, w)
