/* emulator_engine.c: runs kernels that were compiled for the CPU (see emulator.h), thread by thread.
 *
 * A thread of CUDA is a fiber: a stack of its own, and a switch of a few instructions. Threads take turns on one thread
 * of the process; a thread runs until it has to wait. The caller holds a lock: one launch at a time.
 *
 *     for each block:   threads are new
 *         for each warp that can go on:      for each lane that can go on: switch to it, until
 *                                                it ends              -> its fiber takes the next new lane, without a switch
 *                                                it waits for lanes   -> the last one of the mask completes the collective
 *                                                it waits for the block
 *         all that are left wait for the block: let them go on
 *
 * So a kernel without barriers is a plain loop over its threads, on one fiber. Blocks run one after another.
 * The order of blocks, warps and lanes is forward, reverse or random: a result that depends on it is a race.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define API __attribute__((visibility("default")))
#define THREADS 1024
#define WARPS 32
#define EVERYONE 0xffffffffu
#define SHARED_LIMIT (227 * 1024)

enum { FORWARD, REVERSE, RANDOM };

/* ---------------------------------------------------------------- switching stacks */

/* Not a power of two apart, so that the same variables of many threads do not fall on the same lines of the cache. */
#define STACK_BYTES (256 * 1024)
#define STACK_GAP (2 * 4096 + 320) /* holds a page that nobody may touch */
#define STACK_STRIDE (STACK_BYTES + STACK_GAP)

struct context;
static void fiber_body(void);

#if defined(__x86_64__) && !defined(EMULATOR_UCONTEXT)
struct context { void *stack_pointer; };

/* Saves what the called function must keep, and takes the other stack. */
void exprc_emulator_switch(struct context *from, struct context *to);
__asm__(
    ".text\n.hidden exprc_emulator_switch\n.type exprc_emulator_switch, @function\nexprc_emulator_switch:\n"
    "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
    "    mov %rsp, (%rdi)\n    mov (%rsi), %rsp\n"
    "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbx\n    pop %rbp\n    ret\n"
    ".size exprc_emulator_switch, .-exprc_emulator_switch\n");

static void context_make(struct context *made, char *stack, size_t bytes) {
    void **top = (void **)((uintptr_t)(stack + bytes) & ~(uintptr_t)63);
    *--top = 0;                  /* where fiber_body would return to; also what aligns its frame */
    *--top = (void *)fiber_body; /* where the switch returns to */
    for (int i = 0; i < 6; i++) *--top = 0;
    made->stack_pointer = top;
}
#else
#include <ucontext.h>
struct context { ucontext_t saved; };

static void exprc_emulator_switch(struct context *from, struct context *to) { swapcontext(&from->saved, &to->saved); }

static void context_make(struct context *made, char *stack, size_t bytes) {
    getcontext(&made->saved);
    made->saved.uc_stack.ss_sp = stack;
    made->saved.uc_stack.ss_size = bytes;
    made->saved.uc_link = 0;
    makecontext(&made->saved, fiber_body, 0);
}
#endif

/* ---------------------------------------------------------------- what emulator_checks.c adds, in the same unit */

struct cell;
static void begin_checks(void);
static void begin_checked_block(void);
static void new_interval(void);
static void join_lanes(int warp, unsigned group);
static void forget_copies(void);
static struct emulator_index block_index(int64_t number);
static int64_t block_at(int64_t i);
static void engine_access(const void *address, unsigned long size, int how, const void *code, int place);
static void engine_copy(void *target, const void *source, unsigned size, unsigned from_source, int place);
static void engine_copy_commit(void);
static void engine_copy_wait(unsigned groups);

/* ---------------------------------------------------------------- state */

struct lane {
    struct emulator_index index;
    int fiber;  /* -1: not begun */
    int place;  /* where it waits */
    int collective;
    unsigned mask, predicate, number;
    void *payload;
    emulator_complete complete;
};

/* What the caller is told. The order is that of `FAULT_FIELDS` in exprc/runtime/emulator_faults.py. */
struct fault {
    int64_t kind, block[3], thread[3], place, how, address, size, buffer, offset, bytes;
    int64_t other_block[3], other_thread[3], other_place, other_how, first, second;
};

static struct {
    char *stacks;
    struct context fibers[THREADS + 1];
    int free_fibers[THREADS + 1], free_count;
    struct context scheduler;

    struct lane lanes[THREADS];
    /* Lanes that can go on; that wait for lanes; that have ended. The others wait for the block. */
    unsigned ready[WARPS], waiting[WARPS], ended[WARPS];
    int threads, warps, warp, left; /* left: threads that no barrier is to wait for */
    unsigned barrier_threads, barrier_count;
    struct lane *lane;

    struct emulator_module *module;
    uintptr_t image, image_end;  /* where the machine code and the constants of the module lie */
    void *kernel;
    const int64_t *arguments;
    const unsigned char *read_only;
    const int64_t *extents;
    int argument_count, order, checks;
    int64_t blocks, block_step, block_start, shared_bytes;
    uint64_t random;
    double deadline;
    unsigned ticks;

    unsigned char *shared;
    struct fault *fault;
    int stopped;
} the;

static uint64_t draw(void) {
    the.random ^= the.random << 13;
    the.random ^= the.random >> 7;
    the.random ^= the.random << 17;
    return the.random;
}

/* One of the bits that are set: the first, the last or any. */
static int pick(unsigned bits) {
    if (the.order == FORWARD) return __builtin_ctz(bits);
    if (the.order == REVERSE) return 31 - __builtin_clz(bits);
    for (int skip = (int)(draw() >> 33) % __builtin_popcount(bits); skip; skip--) bits &= bits - 1;
    return __builtin_ctz(bits);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---------------------------------------------------------------- memory
 * Every piece has its exact bounds, and a margin on both sides, so that a small overrun is found after the launch. */

#define MARGIN 256
#define MARGIN_BYTE 0xa5
#define POISON 0xff /* a NaN as a float, -1 as an integer */

struct region {
    uintptr_t begin, end;
    void *block;               /* what to free; 0 for shared memory */
    unsigned char *known;      /* of every byte: is it written? (1), or will a copy write it? (COMING); 0 where nobody asks */
    struct cell *cells;        /* who has used it */
    int cell_log2;
    uintptr_t room;            /* bytes that `known` and `cells` are for; shared memory may use fewer */
};

static struct {
    struct region *regions;  /* by address */
    int64_t count, room;
} memory;

/* The number of regions that begin at or before an address. */
static int64_t regions_before(uintptr_t address) {
    int64_t low = 0, high = memory.count;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (memory.regions[middle].begin <= address) low = middle + 1;
        else high = middle;
    }
    return low;
}

static struct region *region_at(uintptr_t address) {
    const int64_t before = regions_before(address);
    if (!before) return 0;
    struct region *found = &memory.regions[before - 1];
    return address < found->end || address == found->begin ? found : 0;
}

/* Returns the address of `bytes` new bytes, 0 where there is no room. `tracked`: reading what nobody wrote is a fault. */
API int64_t exprc_emulator_allocate(int64_t bytes, int tracked) {
    if (memory.count == memory.room) {
        const int64_t room = memory.room ? 2 * memory.room : 64;
        struct region *more = realloc(memory.regions, (size_t)room * sizeof *more);
        if (!more) return 0;
        memory.regions = more;
        memory.room = room;
    }
    char *block;
    unsigned char *known = tracked ? calloc((size_t)bytes + 16, 1) : 0;
    if ((tracked && !known) || posix_memalign((void **)&block, MARGIN, (size_t)bytes + 2 * MARGIN)) {
        free(known);
        return 0;
    }
    memset(block, MARGIN_BYTE, MARGIN);
    memset(block + MARGIN, POISON, (size_t)bytes);
    memset(block + MARGIN + bytes, MARGIN_BYTE, MARGIN);
    const uintptr_t begin = (uintptr_t)block + MARGIN;
    const int64_t place = regions_before(begin);
    memmove(memory.regions + place + 1, memory.regions + place, (size_t)(memory.count - place) * sizeof *memory.regions);
    memory.count++;
    memory.regions[place] = (struct region){
        .begin = begin, .end = begin + (uintptr_t)bytes, .block = block, .known = known, .cell_log2 = 2, .room = (uintptr_t)bytes};
    return (int64_t)begin;
}

API void exprc_emulator_free(int64_t address) {
    struct region *found = region_at((uintptr_t)address);
    if (!found || found->begin != (uintptr_t)address) return;
    free(found->block);
    free(found->known);
    free(found->cells);
    memory.count--;
    memmove(found, found + 1, (size_t)(memory.regions + memory.count - found) * sizeof *found);
}

/* Whether bytes lie inside one piece; else how far from its begin they are, and how long it is (-1, 0: none near). */
static int inside(uintptr_t address, int64_t bytes, int64_t *told) {
    struct region *found = region_at(address);
    if (found && bytes <= (int64_t)(found->end - address)) return 1;
    const int64_t before = regions_before(address);
    told[0] = before ? (int64_t)(address - memory.regions[before - 1].begin) : -1;
    told[1] = before ? (int64_t)(memory.regions[before - 1].end - memory.regions[before - 1].begin) : 0;
    return 0;
}

API int exprc_emulator_write(int64_t address, const void *host, int64_t bytes, int64_t *told) {
    if (!inside((uintptr_t)address, bytes, told)) return 1;
    struct region *found = region_at((uintptr_t)address);
    memcpy((void *)address, host, (size_t)bytes);
    if (found->known) memset(found->known + ((uintptr_t)address - found->begin), 1, (size_t)bytes);
    return 0;
}

/* Returns 2, and where, if some of the bytes were never written. */
API int exprc_emulator_read(int64_t address, void *host, int64_t bytes, int64_t *told) {
    if (!inside((uintptr_t)address, bytes, told)) return 1;
    struct region *found = region_at((uintptr_t)address);
    memcpy(host, (void *)address, (size_t)bytes);
    if (!found->known) return 0;
    const unsigned char *known = found->known + ((uintptr_t)address - found->begin);
    const unsigned char *missing = memchr(known, 0, (size_t)bytes);
    if (!missing) return 0;
    told[0] = missing - known;
    return 2;
}

API int exprc_emulator_copy(int64_t source, int64_t target, int64_t bytes, int64_t *told) {
    if (!inside((uintptr_t)source, bytes, told) || !inside((uintptr_t)target, bytes, told)) return 1;
    struct region *from = region_at((uintptr_t)source), *to = region_at((uintptr_t)target);
    memmove((void *)target, (void *)source, (size_t)bytes);
    if (!to->known) return 0;
    unsigned char *known = to->known + ((uintptr_t)target - to->begin);
    if (from->known) memmove(known, from->known + ((uintptr_t)source - from->begin), (size_t)bytes);
    else memset(known, 1, (size_t)bytes);
    return 0;
}

/* What lies there counts as never written from now on. */
API int exprc_emulator_forget(int64_t address, int64_t bytes, int64_t *told) {
    if (!inside((uintptr_t)address, bytes, told)) return 1;
    struct region *found = region_at((uintptr_t)address);
    memset((void *)address, POISON, (size_t)bytes);
    if (found->known) memset(found->known + ((uintptr_t)address - found->begin), 0, (size_t)bytes);
    return 0;
}

/* ---------------------------------------------------------------- faults */

static void describe_thread(int64_t *block, int64_t *thread, const struct lane *lane) {
    block[0] = the.module->block->x, block[1] = the.module->block->y, block[2] = the.module->block->z;
    thread[0] = lane->index.x, thread[1] = lane->index.y, thread[2] = lane->index.z;
}

static void note(int kind, const struct lane *lane, int64_t place, int64_t first, int64_t second) {
    if (the.stopped) return;  /* the first one counts */
    the.stopped = 1;
    the.fault->kind = kind;
    the.fault->place = place;
    the.fault->first = first;
    the.fault->second = second;
    describe_thread(the.fault->block, the.fault->thread, lane);
}

/* A place as one number: the line, or minus the distance of the machine code from the module's beginning. */
static int64_t place_of(const void *code, int place) {
    return code && !place ? -((const char *)code - 1 - (const char *)the.image) : place;
}

/* Leave a thread in the middle. Its fiber is never continued. */
static void abandon(void) {
    struct context nowhere;
    exprc_emulator_switch(&nowhere, &the.scheduler);
    __builtin_unreachable();
}

static void engine_fault(int kind, int place, const void *code, long long first, long long second) {
    note(kind, the.lane, place_of(code, place), first, second);
    abandon();
}

static void engine_fault_of_lane(int kind, unsigned lane, long long first) {
    if (kind == FAULT_SOURCE_NOT_IN_MASK && !the.checks) return;  /* what it got is poison */
    struct lane *guilty = &the.lanes[the.warp * 32 + (int)lane];
    note(kind, guilty, guilty->place, first, guilty->mask);
}

static void check_time(void) {
    if (++the.ticks & 0xfffff || the.deadline == 0 || now() < the.deadline) return;
    note(FAULT_TIME, the.lane, the.lane->place, 0, 0);
    abandon();
}

/* ---------------------------------------------------------------- threads take turns */

static void enter(struct lane *lane) {
    the.lane = lane;
    *the.module->thread = lane->index;
}

/* Where to go from a thread that cannot go on: to the next lane of its warp that can, or to the scheduler. */
static struct context *next_context(void) {
    const unsigned ready = the.ready[the.warp];
    if (!ready) return &the.scheduler;
    struct lane *lane = &the.lanes[the.warp * 32 + pick(ready)];
    if (lane->fiber < 0) lane->fiber = the.free_fibers[--the.free_count];
    enter(lane);
    return &the.fibers[lane->fiber];
}

static void wait_turn(struct lane *lane, int place) {
    lane->place = place;
    the.ready[the.warp] &= ~(1u << (lane->number & 31));
    exprc_emulator_switch(&the.fibers[lane->fiber], next_context());
}

typedef int64_t A;
#define A4 A, A, A, A
#define A16 A4, A4, A4, A4
#define V4(i) a[i], a[i + 1], a[i + 2], a[i + 3]
#define V16(i) V4(i), V4(i + 4), V4(i + 8), V4(i + 12)
#define A64 A16, A16, A16, A16
#define V64(i) V16(i), V16(i + 16), V16(i + 32), V16(i + 48)
#define ARGUMENTS 512

/* Every argument takes 8 bytes, and a function that is called with more of them than it has does not look at them. */
static void call_kernel(void) {
    const int64_t *a = the.arguments;
    if (the.argument_count <= 4) ((void (*)(A4))the.kernel)(V4(0));
    else if (the.argument_count <= 8) ((void (*)(A4, A4))the.kernel)(V4(0), V4(4));
    else if (the.argument_count <= 16) ((void (*)(A16))the.kernel)(V16(0));
    else if (the.argument_count <= 64) ((void (*)(A64))the.kernel)(V64(0));
    else ((void (*)(A64, A64, A64, A64, A64, A64, A64, A64))the.kernel)(
        V64(0), V64(64), V64(128), V64(192), V64(256), V64(320), V64(384), V64(448));
}

/* Lanes whose warp holds them up; a lane that has ended is not waited for. */
static int try_complete(struct lane *lane) {
    const int warp = lane->number / 32;
    const unsigned group = lane->mask & ~the.ended[warp];
    if ((the.waiting[warp] & group) != group) return 0;
    void *payloads[32];
    for (unsigned rest = group; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        struct lane *other = &the.lanes[warp * 32 + i];
        if (other->mask != lane->mask || other->collective != lane->collective) return 0;
        payloads[i] = other->payload;
    }
    if (lane->complete) lane->complete(payloads, group, lane->mask);
    if (the.checks && lane->collective == COLLECTIVE_SYNC) join_lanes(warp, group);
    the.waiting[warp] &= ~group;
    the.ready[warp] |= group;
    return 1;
}

static void engine_collect(int collective, unsigned mask, void *payload, emulator_complete complete, int place) {
    struct lane *lane = the.lane;
    const unsigned bit = 1u << (lane->number & 31);
    lane->place = place;
    if (!(mask & bit)) engine_fault(FAULT_LANE_NOT_IN_MASK, place, 0, mask, lane->number & 31);
    check_time();
    lane->collective = collective;
    lane->mask = mask;
    lane->payload = payload;
    lane->complete = complete;
    the.waiting[the.warp] |= bit;
    if (!try_complete(lane)) wait_turn(lane, place);
    if (the.stopped) abandon();
}

static unsigned engine_barrier(unsigned predicate, unsigned *threads, int place) {
    the.lane->predicate = predicate;
    check_time();
    wait_turn(the.lane, place);
    *threads = the.barrier_threads;
    return the.barrier_count;
}

static void engine_leave(void) { the.left++; }

static unsigned engine_active(void) { return ~the.ended[the.warp]; }

/* A thread has ended: lanes that waited for it and others may go on. */
static void end_thread(struct lane *lane) {
    const int warp = the.warp;
    const unsigned bit = 1u << (lane->number & 31);
    the.ended[warp] |= bit;
    the.ready[warp] &= ~bit;
    for (unsigned rest = the.waiting[warp]; rest; rest &= rest - 1) {
        struct lane *other = &the.lanes[warp * 32 + __builtin_ctz(rest)];
        if ((other->mask & bit) && try_complete(other)) rest &= the.waiting[warp];
    }
}

/* The life of a fiber: a thread, and as long as the next lane of the warp has not begun either, that one. */
static void fiber_body(void) {
    for (;;) {
        struct lane *lane = the.lane;
        const int fiber = lane->fiber;
        call_kernel();
        end_thread(lane);
        if (the.stopped) abandon();
        the.free_fibers[the.free_count++] = fiber;
        struct context *next = next_context();
        if (next != &the.fibers[fiber]) exprc_emulator_switch(&the.fibers[fiber], next);
    }
}

/* ---------------------------------------------------------------- blocks and launches */

static struct emulator_index block_index(int64_t number) {
    const struct emulator_index grid = *the.module->grid_size;
    return (struct emulator_index){
        (unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y), (unsigned)(number / grid.x / grid.y)};
}

static void begin_block(int64_t number) {
    *the.module->block = block_index(number);
    the.left = 0;
    for (int i = 0; i < the.threads; i++) the.lanes[i].fiber = -1;
    for (int warp = 0; warp < the.warps; warp++) {
        const int lanes = the.threads - 32 * warp;
        the.ready[warp] = lanes >= 32 ? EVERYONE : (1u << lanes) - 1;
        the.ended[warp] = ~the.ready[warp];
        the.waiting[warp] = 0;
    }
    memset(the.shared, POISON, (size_t)the.shared_bytes);
    if (the.module->statics)
        memset(the.module->statics, POISON, (size_t)((char *)the.module->statics_end - (char *)the.module->statics));
    forget_copies();
    if (the.checks) begin_checked_block();
}

static unsigned warps_with(const unsigned *lanes) {
    unsigned found = 0;
    for (int warp = 0; warp < the.warps; warp++) found |= (unsigned)(lanes[warp] != 0) << warp;
    return found;
}

static struct lane *lane_of(const unsigned *lanes) {
    const int warp = __builtin_ctz(warps_with(lanes));
    return &the.lanes[warp * 32 + __builtin_ctz(lanes[warp])];
}

/* Everyone who is left waits for the block. In the checking build that must be everyone, and in one line of the text. */
static void release_block(void) {
    unsigned waits[WARPS], threads = 0, count = 0;
    struct lane *first = 0;
    for (int warp = 0; warp < the.warps; warp++) {
        waits[warp] = ~the.ended[warp];
        for (unsigned rest = waits[warp]; rest; rest &= rest - 1) {
            struct lane *lane = &the.lanes[warp * 32 + __builtin_ctz(rest)];
            if (!first) first = lane;
            threads++;
            count += lane->predicate != 0;
            if (the.checks && lane->place != first->place) note(FAULT_BARRIER_DIVERGED, lane, lane->place, first->place, first->number);
        }
    }
    const int expected = the.threads - the.left;
    if (the.checks && threads != (unsigned)expected) note(FAULT_BARRIER_PARTIAL, first, first->place, threads, expected);
    the.barrier_threads = threads;
    the.barrier_count = count;
    memcpy(the.ready, waits, sizeof waits[0] * (size_t)the.warps);
    if (the.checks) new_interval();
}

/* A lane that nothing can help: tells who has come, and where one of the others is. */
static void stuck(const struct lane *lane) {
    const int warp = lane->number / 32;
    const struct lane *other = 0;
    unsigned arrived = 0;
    for (unsigned rest = lane->mask & ~the.ended[warp]; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        const struct lane *mate = &the.lanes[warp * 32 + i];
        if ((the.waiting[warp] >> i & 1) && mate->mask == lane->mask && mate->collective == lane->collective) arrived |= 1u << i;
        else other = other ? other : mate;
    }
    note(FAULT_WARP_STUCK, lane, lane->place, lane->mask, arrived);
    describe_thread(the.fault->other_block, the.fault->other_thread, other);
    the.fault->other_place = other->place;
}

static void run_block(int64_t number) {
    begin_block(number);
    while (!the.stopped) {
        for (unsigned warps; !the.stopped && (warps = warps_with(the.ready));) {
            the.warp = pick(warps);
            exprc_emulator_switch(&the.scheduler, next_context());
        }
        if (the.stopped) return;
        if (warps_with(the.waiting)) {
            stuck(lane_of(the.waiting));
            return;
        }
        int alive = 0;
        for (int warp = 0; warp < the.warps; warp++) alive |= ~the.ended[warp] != 0;
        if (!alive) return;
        release_block();
    }
}

static int64_t common_divisor(int64_t a, int64_t b) { return b ? common_divisor(b, a % b) : a; }

/* The number of the block that runs as the i-th; in random order i times a number without a common divisor with theirs. */
static int64_t block_at(int64_t i) {
    if (the.order == REVERSE) return the.blocks - 1 - i;
    return (int64_t)(((__int128)i * the.block_step + the.block_start) % the.blocks);
}

static void run_blocks(int64_t blocks) {
    the.blocks = blocks;
    the.block_step = 1;
    the.block_start = 0;
    if (the.order == RANDOM && blocks > 2) {
        do the.block_step = 1 + (int64_t)(draw() % (uint64_t)(blocks - 1));
        while (common_divisor(the.block_step, blocks) != 1);
        the.block_start = (int64_t)(draw() % (uint64_t)blocks);
    }
    for (int64_t i = 0; i < blocks && !the.stopped; i++) run_block(block_at(i));
}

/* All fibers are at their beginning: at the start, and after a launch that was stopped in the middle. */
static int prepare_fibers(void) {
    if (!the.stacks) {
        const size_t bytes = (size_t)STACK_STRIDE * (THREADS + 1);
        char *stacks = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) return 0;
        the.stacks = stacks;
        for (size_t at = 0; at < bytes; at += STACK_STRIDE) mprotect((char *)(((uintptr_t)stacks + at + 4095) & ~(uintptr_t)4095), 4096, PROT_NONE);
        the.stopped = 1;
    }
    if (!the.shared && posix_memalign((void **)&the.shared, 1024, SHARED_LIMIT)) return 0;
    if (the.stopped) {
        for (int i = 0; i <= THREADS; i++) {
            context_make(&the.fibers[i], the.stacks + (size_t)STACK_STRIDE * i + STACK_GAP, STACK_BYTES);
            the.free_fibers[i] = THREADS - i;
        }
        the.free_count = THREADS + 1;
        the.stopped = 0;
    }
    return 1;
}

/* ---------------------------------------------------------------- modules */

struct opened {
    void *library;
    struct emulator_module *module;
    uintptr_t image, image_end;
};

static const struct emulator_engine engine = {
    engine_barrier, engine_collect, engine_active, engine_access, engine_copy, engine_copy_commit, engine_copy_wait,
    engine_fault, engine_fault_of_lane, engine_leave
};

static int measure(struct dl_phdr_info *info, size_t size, void *data) {
    struct opened *opened = data;
    (void)size;
    uintptr_t end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz > end)
            end = info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
    const uintptr_t inside = (uintptr_t)opened->module;
    if (inside < info->dlpi_addr || inside >= info->dlpi_addr + end) return 0;
    opened->image = info->dlpi_addr;
    opened->image_end = info->dlpi_addr + end;
    return 1;
}

/* Loads the shared object of a module; 0, and why in `said`, if it cannot be. */
API void *exprc_emulator_open(const char *path, char *said, int64_t room) {
    struct opened *opened = calloc(1, sizeof *opened);
    struct emulator_module *(*about)(void) = 0;
    if (opened) opened->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (opened && opened->library) about = (struct emulator_module *(*)(void))dlsym(opened->library, "exprc_emulated");
    if (!about) {
        const char *why = dlerror();
        snprintf(said, (size_t)room, "%s", why ? why : "no memory");
        if (opened && opened->library) dlclose(opened->library);
        free(opened);
        return 0;
    }
    opened->module = about();
    opened->module->engine = engine;
    dl_iterate_phdr(measure, opened);
    return opened;
}

API void exprc_emulator_close(void *module) {
    dlclose(((struct opened *)module)->library);
    free(module);
}

API void *exprc_emulator_kernel(void *module, const char *name) { return dlsym(((struct opened *)module)->library, name); }

/* ---------------------------------------------------------------- launches */

/* What was written beyond the bounds of a piece, as far as its margins reach. */
static void check_margins(struct region *region) {
    const unsigned char *begin = (unsigned char *)region->begin, *end = (unsigned char *)region->end;
    for (int i = 1; i <= MARGIN; i++) {
        const int before = begin[-i] != MARGIN_BYTE, behind = end[i - 1] != MARGIN_BYTE;
        if (!before && !behind) continue;
        note(FAULT_OVERRUN, &the.lanes[0], 0, 0, 0);
        the.fault->buffer = (int64_t)region->begin;
        the.fault->bytes = (int64_t)(region->end - region->begin);
        the.fault->offset = before ? -i : the.fault->bytes + i - 1;
        memset(region->block, MARGIN_BYTE, MARGIN);
        memset((void *)region->end, MARGIN_BYTE, MARGIN);
        return;
    }
}

static void after_unchecked(void) {
    for (int i = 0; i < the.argument_count; i++) {
        struct region *region = region_at((uintptr_t)the.arguments[i]);
        if (!region) continue;
        if (region->known) memset(region->known, 1, (size_t)(region->end - region->begin));
        check_margins(region);
    }
}

static void set_threads(struct emulator_index block) {
    the.threads = (int)(block.x * block.y * block.z);
    the.warps = (the.threads + 31) / 32;
    for (int i = 0; i < the.threads; i++) {
        const unsigned t = (unsigned)i;
        the.lanes[i].index = (struct emulator_index){t % block.x, t / block.x % block.y, t / block.x / block.y};
        the.lanes[i].number = t;
    }
}

static int launch(const struct opened *opened, const int64_t *shape) {
    if (!prepare_fibers()) return -1;
    the.module = opened->module;
    the.image = opened->image;
    the.image_end = opened->image_end;
    the.checks = opened->module->checks;
    the.shared_bytes = shape[6];
    the.order = (int)shape[7];
    the.random = (uint64_t)shape[8] * 0x9e3779b97f4a7c15u + 1;
    the.deadline = shape[9] ? now() + 1e-3 * (double)shape[9] : 0;
    *the.module->grid_size = (struct emulator_index){(unsigned)shape[0], (unsigned)shape[1], (unsigned)shape[2]};
    *the.module->block_size = (struct emulator_index){(unsigned)shape[3], (unsigned)shape[4], (unsigned)shape[5]};
    the.module->shared = the.shared;
    set_threads(*the.module->block_size);
    if (the.checks) begin_checks();
    run_blocks(shape[0] * shape[1] * shape[2]);
    if (!the.checks) after_unchecked();
    return the.stopped ? (int)the.fault->kind : 0;
}

/* Runs one kernel.
 *
 * shape      grid x y z, block x y z, bytes of shared memory, order, seed, milliseconds that it may take (0: any),
 *            whether subnormal numbers count as 0
 * arguments  `count` of them, 8 bytes each; room for ARGUMENTS is read
 * read_only  for each argument whether the kernel promises not to write through it
 * extents    for each argument how many bytes it may reach, -1: as far as the piece of memory goes; 0: so for all of them
 * fault      filled in if the result, the kind of fault, is not 0; -1: no memory for the threads
 */
API int exprc_emulator_launch(void *module, void *kernel, const int64_t *shape, const int64_t *arguments,
                              const unsigned char *read_only, const int64_t *extents, int64_t count, int64_t *fault) {
    the.kernel = kernel;
    the.arguments = arguments;
    the.argument_count = (int)count;
    the.read_only = read_only;
    the.extents = extents;
    the.fault = (struct fault *)fault;
    if (!shape[10]) return launch(module, shape);
#if defined(__x86_64__)
    const unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040);
    const int found = launch(module, shape);
    __builtin_ia32_ldmxcsr(mode);
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1 << 24)));
    const int found = launch(module, shape);
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    const int found = launch(module, shape);
#endif
    return found;
}
