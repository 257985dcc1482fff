/* roundtrip.c: a call of a GPU program: what it is given goes in, a graph of launches runs, what it gives comes back.
 *
 * In Python this is a dozen calls of the driver's library, each with some checks; here it is one call from call.c. All that
 * a call copies to the GPU lies side by side there, and in pinned memory here, so that it is one copy; so do most results.
 *
 *     arrays of the call ──> [ sizes | x | y ... ] ──one copy──> GPU: graph ──a copy each──> [ status, small results | ... ] ──> arrays
 *                                 pinned memory                                                       pinned memory
 *
 * Whoever calls holds the device's lock. A result of the driver that is not 0 ends the call and stays in `failed`; then
 * `doing` says what it was about (exprc/runtime/roundtrip.py).
 */
#include <stdint.h>
#include <string.h>

enum { MAKE_CURRENT, WAIT_BEFORE, COPY_IN, START, COPY_OUT };

typedef struct {
    int64_t slot;             /* in the table of buffers: where an array of the call is */
    int64_t offset;           /* of its elements in pinned memory */
    int64_t rows, bytes;      /* they are rows of so many bytes, which lie side by side in the array */
    int64_t stride;           /* from one row to the next in pinned memory */
} Piece;

typedef struct {
    uint64_t address;         /* on the GPU */
    int64_t offset, bytes;    /* in pinned memory */
} Block;

typedef struct {
    int (*push)(void *context), (*pop)(void **context);                                        /* functions of the driver */
    int (*copy_in)(uint64_t, const void *, size_t, void *stream), (*copy_out)(void *, uint64_t, size_t, void *stream);
    int (*start)(void *graph, void *stream), (*wait)(void *stream);
    int (*record)(void *event, void *stream), (*wait_event)(void *event);
    void *context, *stream, *graph, *event;
    char *pinned;
    Block in;
    const Block *out;
    const Piece *given, *results;
    int64_t outs, givens, resultcount;
    int64_t checks;           /* whether the first block that comes back begins with the status of the checks of indices */
    int64_t under_way;        /* the GPU may still be reading the pinned memory: `event` comes about after that */
    int64_t failed, doing;
} Trip;

static void gather(const Trip *t, void *const *table) {
    for (int64_t k = 0; k < t->givens; k++) memcpy(t->pinned + t->given[k].offset, table[t->given[k].slot], (size_t)t->given[k].bytes);
}

static void scatter(const Trip *t, void *const *table) {
    for (int64_t k = 0; k < t->resultcount; k++) {
        const Piece p = t->results[k];
        char *to = table[p.slot];
        for (int64_t row = 0; row < p.rows; row++) memcpy(to + row * p.bytes, t->pinned + p.offset + row * p.stride, (size_t)p.bytes);
    }
}

#define DO(what, call) do { t->doing = what; if ((t->failed = (call))) return 1; } while (0)

/* Copy in, start, copy out and wait, with the context current. */
static int go(Trip *t, void *const *table) {
    if (t->under_way) DO(WAIT_BEFORE, t->wait_event(t->event));
    t->under_way = 0;
    if (t->in.bytes) {
        gather(t, table);
        DO(COPY_IN, t->copy_in(t->in.address, t->pinned + t->in.offset, (size_t)t->in.bytes, t->stream));
        if (!t->outs) DO(COPY_IN, t->record(t->event, t->stream));
        t->under_way = !t->outs;
    }
    if (t->graph) DO(START, t->start(t->graph, t->stream));
    for (int64_t k = 0; k < t->outs; k++)
        DO(COPY_OUT, t->copy_out(t->pinned + t->out[k].offset, t->out[k].address, (size_t)t->out[k].bytes, t->stream));
    if (t->outs) DO(COPY_OUT, t->wait(t->stream));
    return 0;
}

/* Like the entry of a program for the CPU; what it works in is a Trip. Not 0 where something failed, or an index was out of bounds. */
__attribute__((visibility("default"))) int exprc_roundtrip(void **table, const int64_t *sizes, char *arena, int64_t threads, int64_t *status) {
    (void)sizes, (void)threads;
    Trip *t = (Trip *)arena;
    void *popped;
    DO(MAKE_CURRENT, t->push(t->context));
    const int failed = go(t, table);
    t->pop(&popped);
    if (failed) return 1;
    scatter(t, table);
    if (t->checks) memcpy(status, t->pinned + t->out[0].offset, 4 * sizeof *status);
    return status[0] != 0;
}
