/* fake_driver.c: a CUDA driver without a GPU, for the tests: what exprc and pycuda call, done by the CPU.
 *
 * Compiled as libcuda.so.1 by fake_driver.py, with a function for every other name that pycuda needs, which answers "not supported".
 * Memory, copies, streams and graphs do what they should, kernels run on the engine of the emulator (kernels/cuda/emulator_engine.c).
 * Nothing that is asynchronous on a GPU is done before somebody waits, and then only what is on that stream: who changes memory too early,
 * or does not wait for another stream, gets wrong numbers.
 * The image of a module is two lines: the path of the engine's shared object, and that of a text compiled for the emulator.
 *
 * Environment: FAKE_GPUS (1), FAKE_MEMORY (bytes, 2**26), FAKE_VERSION (13000), FAKE_INIT (a result for cuInit, 0),
 * FAKE_IDLE (1: no work is ever done and any module is taken, to see what the host does itself),
 * FAKE_FAIL ("cuGraphLaunch=719": results of calls), FAKE_LOG (a file; at the end of the process what was not given back is written to it).
 * An error of a kernel, and one of the codes from 700, is there to stay, as on a GPU.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"

#define API __attribute__((visibility("default")))
typedef int R;
typedef uint64_t P;
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_READY = 3, GONE = 4, NO_DEVICE = 100, BAD_DEVICE = 101, BAD_IMAGE = 200, BAD_CONTEXT = 201,
       BAD_HANDLE = 400, NOT_FOUND = 500, RESOURCES = 701, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801, CAPTURE = 901 };

static const struct { R code; const char *name, *text; } errors[] = {
    {0, "CUDA_SUCCESS", "no error"}, {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"}, {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"}, {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}, {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}, {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}, {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}, {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

/* ---------------------------------------------------------------- state */

#define MEMORY_KINDS(X) X(context) X(memory) X(pinned) X(module) X(stream) X(event) X(graph) X(executable)
#define COUNT(name) static long name##_count;
MEMORY_KINDS(COUNT)

static R stuck;         /* an error that is there to stay */
static int started;     /* cuInit was called */
static long calls_without_context;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

/* Whether all work is left undone. */
static int idle(void) {
    static int asked = -1;
    if (asked < 0) asked = (int)setting("FAKE_IDLE", 0);
    return asked;
}

/* The result that the test wants of a call; 0: do it. */
static R wanted(const char *call) {
    if (idle()) return OK;
    const char *text = getenv("FAKE_FAIL"), *found = text ? strstr(text, call) : 0;
    const size_t length = strlen(call);
    if (!found || found[length] != '=') return OK;
    const R result = atoi(found + length + 1);
    if (result >= 700 && result < 800 && result != RESOURCES) stuck = result;
    return result;
}

#define BEGIN(call) \
    do { \
        if (!started) return NOT_READY; \
        if (stuck) return stuck; \
        const R result_ = wanted(#call); \
        if (result_) return result_; \
    } while (0)
#define WITH_CONTEXT(call) \
    do { \
        BEGIN(call); \
        if (!depth) { calls_without_context++; return BAD_CONTEXT; } \
    } while (0)

static _Thread_local void *contexts[64];
static _Thread_local int depth;
static char primary[8]; /* a context for each GPU */
static long retained;

/* ---------------------------------------------------------------- errors, devices, contexts */

API R cuInit(unsigned flags) {
    (void)flags;
    const R result = (R)setting("FAKE_INIT", setting("FAKE_GPUS", 1) ? OK : NO_DEVICE);
    started = !result;
    return result;
}
API R cuDriverGetVersion(int *version) { *version = (int)setting("FAKE_VERSION", 13000); return OK; }

static R describe(R code, const char **out, int text) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) { *out = text ? errors[i].text : errors[i].name; return OK; }
    *out = 0;
    return INVALID;
}
API R cuGetErrorName(R code, const char **out) { return describe(code, out, 0); }
API R cuGetErrorString(R code, const char **out) { return describe(code, out, 1); }

API R cuDeviceGetCount(int *count) { BEGIN(cuDeviceGetCount); *count = (int)setting("FAKE_GPUS", 1); return OK; }
API R cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < setting("FAKE_GPUS", 1) ? OK : BAD_DEVICE; }
API R cuDeviceGetName(char *name, int length, int device) { snprintf(name, (size_t)length, "Fake GPU %d", device); return OK; }
API R cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)setting("FAKE_MEMORY", 1 << 26); return OK; }
API R cuDeviceComputeCapability(int *major, int *minor, int device) { (void)device; *major = 9; *minor = 0; return OK; }
API R cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : attribute == 8 ? 49152 : attribute == 97 ? 232448 : 0;
    return OK;
}

API R cuDevicePrimaryCtxRetain(void **context, int device) {
    BEGIN(cuDevicePrimaryCtxRetain);
    retained++, context_count++;
    *context = &primary[device];
    return OK;
}
API R cuDevicePrimaryCtxRelease_v2(int device) { (void)device; retained--, context_count--; return OK; }
API R cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
API R cuCtxPushCurrent_v2(void *context) { BEGIN(cuCtxPushCurrent); contexts[depth++] = context; return OK; }
API R cuCtxPopCurrent_v2(void **context) {
    if (!depth) return BAD_CONTEXT;
    *context = contexts[--depth];
    return OK;
}
API R cuCtxGetCurrent(void **context) { *context = depth ? contexts[depth - 1] : 0; return OK; }
API R cuCtxGetDevice(int *device) { *device = 0; return depth ? OK : BAD_CONTEXT; }
API R cuCtxCreate_v2(void **context, unsigned flags, int device) {
    BEGIN(cuCtxCreate);
    (void)flags, (void)device;
    *context = malloc(1);
    contexts[depth++] = *context;
    return OK;
}
API R cuCtxCreate_v4(void **context, void *how, unsigned flags, int device) { (void)how; return cuCtxCreate_v2(context, flags, device); }
API R cuCtxDetach(void *context) { free(context); if (depth) depth--; return OK; }
API R cuCtxDestroy_v2(void *context) { return cuCtxDetach(context); }
static R drain(void *stream);
static void *const EVERY;
API R cuCtxSynchronize(void) { WITH_CONTEXT(cuCtxSynchronize); return drain(EVERY); }

/* ---------------------------------------------------------------- the engine of the emulator */

/* engine.h is exprc.runtime.declarations: the compiler sees whether the engine is still called as it wants to be. */
#define ENGINE(X) X(allocate) X(free) X(open) X(close) X(kernel) X(launch)
#define FIELD(name) __typeof__(exprc_emulator_##name) *name;
static struct { ENGINE(FIELD) } engine;

/* Before any memory is taken: memory and kernels are the engine's alike. */
static int find_engine(void) {
    const char *path = getenv("FAKE_ENGINE");
    if (engine.launch) return 1;
    void *library = path ? dlopen(path, RTLD_NOW) : 0;
    if (!library) return 0;
#define FIND(name) engine.name = (__typeof__(engine.name))dlsym(library, "exprc_emulator_" #name);
    ENGINE(FIND)
    return engine.launch != 0;
}

/* ---------------------------------------------------------------- memory and copies */

struct piece { P address; size_t bytes; void *context; };
static struct piece pieces[4096];
static size_t used;

API R cuMemAlloc_v2(P *address, size_t bytes) {
    WITH_CONTEXT(cuMemAlloc);
    if (!bytes) return INVALID;
    if (bytes > (size_t)setting("FAKE_MEMORY", 1 << 26) - used) return NO_MEMORY;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (pieces[i].address) continue;
        *address = find_engine() ? (P)engine.allocate((int64_t)bytes, 0) : (P)malloc(bytes);
        pieces[i] = (struct piece){*address, bytes, contexts[depth - 1]};
        used += bytes, memory_count++;
        return OK;
    }
    return NO_MEMORY;
}

API R cuMemFree_v2(P address) {
    WITH_CONTEXT(cuMemFree);
    if (drain(EVERY)) return stuck; /* as on a GPU */
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (pieces[i].address != address) continue;
        find_engine() ? engine.free((int64_t)address) : free((void *)address);
        used -= pieces[i].bytes, memory_count--;
        pieces[i].address = 0;
        return OK;
    }
    return INVALID;
}
API R cuMemGetInfo_v2(size_t *left, size_t *total) {
    WITH_CONTEXT(cuMemGetInfo);
    *total = (size_t)setting("FAKE_MEMORY", 1 << 26);
    *left = *total - used;
    return OK;
}

/* Whether bytes of the GPU's lie in one piece. */
static int inside(P address, size_t bytes) {
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        if (pieces[i].address && address >= pieces[i].address && address + bytes <= pieces[i].address + pieces[i].bytes) return 1;
    return 0;
}

API R cuPointerGetAttribute(void *value, int attribute, P address) { /* CU_POINTER_ATTRIBUTE_CONTEXT, _DEVICE_ORDINAL */
    WITH_CONTEXT(cuPointerGetAttribute);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (!pieces[i].address || address < pieces[i].address || address >= pieces[i].address + pieces[i].bytes) continue;
        char *context = pieces[i].context;
        if (attribute == 1) *(void **)value = context;
        if (attribute == 9) *(int *)value = context >= primary && context < primary + sizeof primary ? (int)(context - primary) : 0;
        return OK;
    }
    return INVALID;
}

API R cuMemHostAlloc(void **place, size_t bytes, unsigned flags) {
    WITH_CONTEXT(cuMemHostAlloc);
    (void)flags;
    *place = malloc(bytes);
    pinned_count++;
    return OK;
}
API R cuMemFreeHost(void *place) { WITH_CONTEXT(cuMemFreeHost); drain(EVERY); free(place); pinned_count--; return OK; }

/* ---------------------------------------------------------------- work that waits */

struct graph;
static R run_graph(const struct graph *graph);

struct event { double when; long record; void *stream; }; /* the number of the work that records it, and where */
struct work { enum { COPY, GRAPH, EVENT, WAIT } kind; void *stream, *to, *from; size_t bytes; long until; int done; };
static struct work *queue;
static long queue_end, queue_room, queue_first; /* the number of the first work that is still in the queue */

/* Note work; return its number. */
static long later(struct work work) {
    if (idle()) return 0;
    if (queue_end == queue_room) queue = realloc(queue, (size_t)(queue_room = 2 * queue_room + 64) * sizeof *queue);
    queue[queue_end] = work;
    return queue_first + queue_end++;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void *const EVERY = &queue;

/* Do what waits on a stream, or on every one, up to the work of a number. What another stream has is left, but for what is waited for. */
static R advance(void *stream, long until) {
    for (long i = 0; i < queue_end && queue_first + i <= until && !stuck; i++) {
        const struct work work = queue[i];
        if (work.done || (stream != EVERY && work.stream != stream)) continue;
        queue[i].done = 1;
        if (work.kind == COPY) memmove(work.to, work.from, work.bytes);
        if (work.kind == GRAPH) run_graph(work.from);
        if (work.kind == EVENT) ((struct event *)work.from)->when = now();
        if (work.kind == WAIT) advance(work.from, work.until);
    }
    return stuck;
}
static R drain(void *stream) {
    advance(stream, queue_first + queue_end);
    long left = 0;
    for (long i = 0; i < queue_end; i++) left += !queue[i].done;
    if (!left) queue_first += queue_end, queue_end = 0;
    return stuck;
}

#define COPY_LATER(call, to_, from_, device_side) \
    do { \
        WITH_CONTEXT(call); \
        if (!idle() && !inside(device_side, bytes)) return INVALID; \
        later((struct work){COPY, stream, (void *)(to_), (void *)(from_), bytes, 0, 0}); \
        return OK; \
    } while (0)
API R cuMemcpyHtoDAsync_v2(P to, const void *from, size_t bytes, void *stream) { COPY_LATER(cuMemcpyHtoDAsync, to, from, to); }
API R cuMemcpyDtoHAsync_v2(void *to, P from, size_t bytes, void *stream) {
    if (idle()) memset(to, 0, bytes); /* no index was out of bounds */
    COPY_LATER(cuMemcpyDtoHAsync, to, from, from);
}
API R cuMemcpyDtoDAsync_v2(P to, P from, size_t bytes, void *stream) {
    if (!idle() && !inside(from, bytes)) return INVALID;
    COPY_LATER(cuMemcpyDtoDAsync, to, from, to);
}

/* ---------------------------------------------------------------- streams and events */

API R cuStreamCreate(void **stream, unsigned flags) { WITH_CONTEXT(cuStreamCreate); (void)flags; *stream = malloc(1); stream_count++; return OK; }
API R cuStreamDestroy_v2(void *stream) { WITH_CONTEXT(cuStreamDestroy); free(stream); stream_count--; return OK; }
API R cuStreamSynchronize(void *stream) { WITH_CONTEXT(cuStreamSynchronize); return drain(stream); }
API R cuEventCreate(void **event, unsigned flags) { WITH_CONTEXT(cuEventCreate); (void)flags; *event = calloc(1, sizeof(struct event)); event_count++; return OK; }
API R cuEventDestroy_v2(void *event) { WITH_CONTEXT(cuEventDestroy); free(event); event_count--; return OK; }
API R cuEventRecord(void *event, void *stream) {
    WITH_CONTEXT(cuEventRecord);
    struct event *recorded = event;
    recorded->stream = stream, recorded->record = later((struct work){EVENT, stream, 0, event, 0, 0, 0});
    return OK;
}
API R cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    (void)flags;
    WITH_CONTEXT(cuStreamWaitEvent);
    later((struct work){WAIT, stream, 0, ((struct event *)event)->stream, 0, ((struct event *)event)->record, 0});
    return OK;
}
API R cuEventElapsedTime(float *milliseconds, void *begin, void *end) {
    WITH_CONTEXT(cuEventElapsedTime);
    *milliseconds = (float)(((struct event *)end)->when - ((struct event *)begin)->when);
    return OK;
}
API R cuEventSynchronize(void *event) { WITH_CONTEXT(cuEventSynchronize); return advance(((struct event *)event)->stream, ((struct event *)event)->record); }

/* ---------------------------------------------------------------- modules and kernels */

struct function { void *module, *kernel; int shared; struct function *next; };
struct module { void *loaded; struct function *functions; };

API R cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
    (void)count, (void)options, (void)values;
    WITH_CONTEXT(cuModuleLoadDataEx);
    if (!idle() && (strncmp(image, "FAKE ", 5) || !find_engine())) return BAD_IMAGE;
    char path[4096], said[512];
    snprintf(path, sizeof path, "%.*s", (int)strcspn((const char *)image + 5, "\n"), (const char *)image + 5);
    struct module *made = calloc(1, sizeof *made);
    made->loaded = idle() ? made : engine.open(path, said, sizeof said);
    if (!made->loaded) { free(made); return BAD_IMAGE; }
    *module = made;
    module_count++;
    return OK;
}
API R cuModuleLoadData(void **module, const void *image) { return cuModuleLoadDataEx(module, image, 0, 0, 0); }
API R cuModuleUnload(void *opaque) {
    WITH_CONTEXT(cuModuleUnload);
    struct module *module = opaque;
    for (struct function *f = module->functions, *next; f; f = next) next = f->next, free(f);
    if (!idle()) engine.close(module->loaded);
    free(module);
    module_count--;
    return OK;
}
API R cuModuleGetFunction(void **function, void *opaque, const char *name) {
    WITH_CONTEXT(cuModuleGetFunction);
    struct module *module = opaque;
    void *kernel = idle() ? module : engine.kernel(module->loaded, name);
    if (!kernel) return NOT_FOUND;
    struct function *made = calloc(1, sizeof *made);
    *made = (struct function){module->loaded, kernel, 49152, module->functions};
    *function = module->functions = made;
    return OK;
}
API R cuFuncGetAttribute(int *value, int attribute, void *function) {
    (void)function;
    WITH_CONTEXT(cuFuncGetAttribute);
    *value = attribute == 0 ? 1024 : attribute == 4 ? 40 : 0; /* threads a block, registers a thread */
    return OK;
}
API R cuFuncSetAttribute(void *function, int attribute, int value) {
    WITH_CONTEXT(cuFuncSetAttribute);
    if (attribute == 8) ((struct function *)function)->shared = value; /* dynamic shared memory */
    return OK;
}
API R cuFuncSetBlockShape(void *function, int x, int y, int z) { (void)function; return x * y * z > 0 && x * y * z <= 1024 ? OK : INVALID; }
API R cuFuncSetSharedSize(void *function, unsigned bytes) { (void)function, (void)bytes; return OK; }

struct node { struct function *function; int64_t shape[7]; int64_t *arguments; int64_t count; struct node *next;
              void (*own)(const int64_t *); /* what a library does instead of a kernel (fake_cublas.c) */ };
struct graph { struct node *first, **end; };

static void *capturing; /* the stream under capture */
static struct graph *captured;

/* The engine reads as many arguments as any kernel may have. */
enum { ARGUMENTS = 512 };
static int64_t *room(const void *arguments, size_t bytes) {
    int64_t *made = calloc(ARGUMENTS, 8);
    memcpy(made, arguments, bytes);
    return made;
}

static R run(const struct node *node) {
    static const unsigned char writable[ARGUMENTS];
    int64_t fault[64] = {0}, shape[32] = {0};
    memcpy(shape, node->shape, sizeof node->shape);
    if (node->own) { node->own(node->arguments); return OK; }
    if (engine.launch(node->function->module, node->function->kernel, shape, node->arguments, writable, 0, node->count, fault))
        return stuck = LAUNCH_FAILED;
    return OK;
}

API R cuLaunchKernel(void *opaque, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream,
                     void **parameters, void **extra) {
    WITH_CONTEXT(cuLaunchKernel);
    struct function *function = opaque;
    if (!gx || !gy || !gz || !bx || !by || !bz || gy > 65535 || gz > 65535 || bx * by * bz > 1024 || (int)shared > function->shared) return INVALID;
    if (parameters || !extra) return NOT_SUPPORTED;
    const char *buffer = 0;
    size_t bytes = 0;
    for (; *extra; extra += 2) {
        if ((uintptr_t)*extra == 1) buffer = extra[1];
        else if ((uintptr_t)*extra == 2) bytes = *(size_t *)extra[1];
    }
    if (bytes > 8 * ARGUMENTS) return INVALID;
    struct node *node = calloc(1, sizeof *node);
    *node = (struct node){function, {gx, gy, gz, bx, by, bz, shared}, room(buffer, bytes), (int64_t)(bytes / 8), 0, 0};
    if (captured && stream == capturing) {
        *captured->end = node;
        captured->end = &node->next;
        return OK;
    }
    if (drain(EVERY)) return stuck;
    const R result = run(node);
    free(node->arguments);
    free(node);
    return result;
}

/* Work of a library on a stream: captured, or done at once. */
API R fake_library_work(void *stream, void (*own)(const int64_t *), const int64_t *arguments, int64_t count) {
    WITH_CONTEXT(fake_library_work);
    struct node *node = calloc(1, sizeof *node);
    *node = (struct node){0, {0}, room(arguments, (size_t)count * 8), count, 0, own};
    if (captured && stream == capturing) {
        *captured->end = node;
        captured->end = &node->next;
        return OK;
    }
    return CAPTURE; /* exprc never works outside of a capture */
}

/* ---------------------------------------------------------------- graphs */

API R cuStreamBeginCapture_v2(void *stream, int mode) {
    (void)mode;
    WITH_CONTEXT(cuStreamBeginCapture);
    if (captured) return CAPTURE;
    captured = calloc(1, sizeof *captured);
    captured->end = &captured->first;
    capturing = stream;
    graph_count++;
    return OK;
}
API R cuStreamEndCapture(void *stream, void **graph) {
    WITH_CONTEXT(cuStreamEndCapture);
    if (!captured || stream != capturing) return CAPTURE;
    *graph = captured;
    captured = 0, capturing = 0;
    return OK;
}

static struct node *copies(const struct node *node) {
    struct node *first = 0, **end = &first;
    for (; node; node = node->next) {
        struct node *made = *end = malloc(sizeof *made);
        *made = *node;
        made->arguments = room(node->arguments, (size_t)node->count * 8);
        made->next = 0;
        end = &made->next;
    }
    return first;
}
static void discard(struct node *node) {
    for (struct node *next; node; node = next) next = node->next, free(node->arguments), free(node);
}

API R cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    (void)flags;
    WITH_CONTEXT(cuGraphInstantiateWithFlags);
    struct graph *made = calloc(1, sizeof *made);
    made->first = copies(((struct graph *)graph)->first);
    *executable = made;
    executable_count++;
    return OK;
}
static R run_graph(const struct graph *graph) {
    for (const struct node *node = graph->first; node; node = node->next)
        if (run(node)) return stuck;
    return OK;
}
API R cuGraphLaunch(void *executable, void *stream) {
    WITH_CONTEXT(cuGraphLaunch);
    later((struct work){GRAPH, stream, 0, executable, 0, 0, 0});
    return OK;
}
API R cuGraphDestroy(void *graph) { discard(((struct graph *)graph)->first); free(graph); graph_count--; return OK; }
API R cuGraphExecDestroy(void *executable) {
    drain(EVERY); /* it goes when it has run */
    discard(((struct graph *)executable)->first);
    free(executable);
    executable_count--;
    return OK;
}

/* ---------------------------------------------------------------- the end */

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("FAKE_LOG");
    FILE *file = path ? fopen(path, "w") : 0;
    if (!file) return;
#define TELL(name) if (name##_count) fprintf(file, #name " %ld\n", name##_count);
    MEMORY_KINDS(TELL)
    if (calls_without_context) fprintf(file, "calls without a context %ld\n", calls_without_context);
    fprintf(file, "end\n");
    fclose(file);
}
