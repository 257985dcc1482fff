/* crew.h: how the threads of a call share the blocks of its steps; pasted before the entry of a program
 *
 *     crew_share share = {0};
 *     while (crew_take(crew, step, blocks, least, &share)) k3(..., share.begin, share.end);   every block of a step, once in all threads
 *     crew_wait(crew, step, blocks);                                                           before what needs all of them
 *
 * Each thread owns an equal range of the blocks, so that it meets what it left in its cache in the step before. It takes pieces from the
 * front, of `least` blocks or more; a thread that has no more takes pieces from the back of others' ranges:
 *
 *     blocks   |  of thread 0               |  of thread 1               |
 *              |>>>>>>| >>>| >>|            |>>>>>>>|  ...         |<<<<<|      thread 0 is done, and helps
 *                front: 0 takes                1 takes                 back: 0 takes
 *
 * So a thread that the system does not let run, or that another program slows down, is not waited for longer than its last piece takes: what
 * counts is that the blocks are done, not that the threads came by. Which thread runs a block never changes a result.
 *
 * Memory: zeros for each call. For each step a line of the cache with the number of blocks that are done, then one for each
 * thread with what was taken of its range: from the front in the lower half, from the back in the upper half.
 */
enum { CREW_LINE = 64, CREW_HELPED = 8, CREW_SPINS = 4000 };   /* bytes; threads that one looks at to help; looks before others may run */

void *calloc(__SIZE_TYPE__, __SIZE_TYPE__);
void free(void *);
int sched_yield(void);

typedef struct {
    char *lines;
    int64_t thread, threads;
} crew_member;

typedef struct {
    int64_t begin, end;          /* the piece that was taken */
    int64_t helped, finished;    /* whose range it is of, counted from the own; blocks of this thread */
} crew_share;

static void *crew_line(const crew_member *crew, int64_t step, int64_t line) {
    return crew->lines + (step * (crew->threads + 1) + line) * CREW_LINE;
}

/* Take a piece of one range, a quarter of what is left; 0 where nothing is. Ranges count in units, of which there are fewer than 2^32. */
static int crew_take_of(const crew_member *crew, int64_t step, int64_t blocks, int64_t least, int64_t owner, crew_share *share) {
    const int64_t unit = (blocks >> 31) + 1, units = (blocks + unit - 1) / unit;
    const int64_t low = units * owner / crew->threads, high = units * (owner + 1) / crew->threads;
    uint64_t *const taken = crew_line(crew, step, 1 + owner);
    for (uint64_t now = __atomic_load_n(taken, __ATOMIC_RELAXED);;) {
        const int64_t first = low + (int64_t)(now & 0xffffffff), last = high - (int64_t)(now >> 32), left = last - first;
        const int64_t count = left > 4 * least ? (left + 3) / 4 : left < least ? left : least;
        if (count <= 0) return 0;
        const int64_t from = owner == crew->thread ? first : last - count;
        const uint64_t next = now + ((uint64_t)count << (owner == crew->thread ? 0 : 32));
        if (!__atomic_compare_exchange_n(taken, &now, next, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
        share->begin = from * unit;
        share->end = (from + count) * unit < blocks ? (from + count) * unit : blocks;
        return 1;
    }
}

static int crew_take(const crew_member *crew, int64_t step, int64_t blocks, int64_t least, crew_share *share) {
    if (crew->threads == 1) {
        share->begin = share->end;
        share->end = blocks;
        return share->begin < share->end;
    }
    share->finished += share->end - share->begin;
    for (; share->helped < crew->threads && share->helped <= CREW_HELPED; share->helped++)
        if (crew_take_of(crew, step, blocks, least, (crew->thread + share->helped) % crew->threads, share)) return 1;
    __atomic_fetch_add((int64_t *)crew_line(crew, step, 0), share->finished, __ATOMIC_RELEASE);
    return 0;
}

static void crew_wait(const crew_member *crew, int64_t step, int64_t blocks) {
    const int64_t *const done = crew_line(crew, step, 0);
    if (crew->threads == 1) return;
    for (int64_t spins = 0; __atomic_load_n(done, __ATOMIC_ACQUIRE) != blocks; spins++) {
        if (spins >= CREW_SPINS) sched_yield();
#if defined(__x86_64__)
        else __builtin_ia32_pause();
#elif defined(__aarch64__)
        else __asm__ volatile("yield");
#endif
    }
}
