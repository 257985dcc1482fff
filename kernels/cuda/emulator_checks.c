/* emulator_checks.c: what the checking build looks at when a thread reads or writes. It follows emulator_engine.c.
 *
 * Bounds        an address must lie in shared memory, or in a window: what one argument of the launch may reach
 * Initialised   a byte for each byte: written by the host or by a kernel, or what cp.async will write once it was waited for
 * Races         a cell for each 4 bytes (for each byte, once a smaller access was seen) says who wrote and read it last
 *
 * Who is a stamp:  | interval 36 bits | thread 10 | clock 16 | atomic 1 | 1 |
 *
 *     interval  counts on from launch to launch: a new one for each block, and after each barrier of a block
 *     clock     of a lane, counts its __syncwarp within an interval; seen[i][k] is the clock of lane k that lane i knows of
 *
 *     launch_first          block_first      interval
 *     |  other blocks       |  this block    |  since its last barrier         Two accesses, one of them a write, not both atomic,
 *     -+---------------------+----------------+------------- intervals ->      are in order if the earlier one is from before
 *      never in order          in order         in order in one thread, or     the launch, or from this block and before its
 *      (shared memory: always)                  across __syncwarp              barrier; else only through __syncwarp.
 */

#define COMING 2 /* of `known`: an asynchronous copy is under way to this byte */

struct window {
    uintptr_t begin, end;
    struct region *region;
    int read_only, alone; /* alone: nothing that may be written overlaps it */
};

struct access {
    const struct window *window;
    uintptr_t at;
    unsigned long size;
    int how;
    int64_t place;
};

struct cell {
    uint64_t writes[2]; /* the last writer; an atomic one before it, where the last is atomic too and not in order after it */
    uint64_t reads[3];  /* the last reader, the one before, the last one of another warp than the last */
    int32_t write_places[2], read_places[3];
};

static struct {
    uint64_t interval, block_first, launch_first;
    uint64_t *starts; /* the first interval of each block of this launch, in the order in which they ran */
    int64_t blocks, room;
    uint16_t clock[THREADS], seen[WARPS][32][32];
    uint64_t joined[WARPS]; /* the interval that `seen` of a warp is about */
    struct region shared, statics;
    struct window windows[ARGUMENTS + 2], *last; /* what the arguments reach, and the window that was looked into last */
    int window_count;
    int64_t coming; /* copies that are under way in this block */
} checked;

/* ---------------------------------------------------------------- faults */

static int is_shared(const struct region *region) { return region == &checked.shared || region == &checked.statics; }

static struct window shared_window(struct region *region) { return (struct window){region->begin, region->end, region, 0, 0}; }

/* The block that was running in an interval. */
static int64_t block_of_interval(uint64_t interval) {
    int64_t low = 0, high = checked.blocks;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (checked.starts[middle] <= interval) low = middle;
        else high = middle;
    }
    return block_at(low);
}

static void describe_other(uint64_t stamp, int64_t place, int how) {
    const struct emulator_index block = block_index(block_of_interval(stamp >> 28));
    const struct emulator_index thread = the.lanes[stamp >> 18 & 1023].index;
    the.fault->other_block[0] = block.x, the.fault->other_block[1] = block.y, the.fault->other_block[2] = block.z;
    the.fault->other_thread[0] = thread.x, the.fault->other_thread[1] = thread.y, the.fault->other_thread[2] = thread.z;
    the.fault->other_place = place;
    the.fault->other_how = stamp & 2 ? EMULATOR_ATOMIC : how;
}

static int contains(const struct window *window, uintptr_t at) { return at - window->begin < window->end - window->begin; }

static void note_access(int kind, const struct window *window, uintptr_t at, unsigned long size, int how, int64_t place) {
    if (the.stopped) return;
    note(kind, the.lane, place, 0, 0);
    the.fault->address = (int64_t)at;
    the.fault->size = (int64_t)size;
    the.fault->how = how;
    if (!window) return;
    the.fault->buffer = is_shared(window->region) ? -1 : (int64_t)window->begin;
    the.fault->offset = (int64_t)(at - window->begin);
    the.fault->bytes = (int64_t)(window->end - window->begin);
}

/* The window that an address lies closest to. */
static const struct window *nearest(uintptr_t at) {
    static struct window shared;
    const struct window *found = 0;
    uintptr_t least = UINTPTR_MAX;
    for (int i = 0; i < checked.window_count; i++) {
        const struct window *window = &checked.windows[i];
        const uintptr_t far = at < window->begin ? window->begin - at : at < window->end ? 0 : at - window->end;
        if (far < least) found = window, least = far;
    }
    if (at - checked.shared.begin >= SHARED_LIMIT) return found;
    shared = shared_window(&checked.shared);
    return &shared;
}

/* ---------------------------------------------------------------- who comes before whom */

static uint64_t stamp(void) {
    const unsigned number = the.lane->number;
    return checked.interval << 28 | (uint64_t)number << 18 | (uint64_t)checked.clock[number] << 2 | 1;
}

/* Whether what a stamp says happened before what the running thread does now. */
static int in_order(uint64_t earlier, int shared) {
    const uint64_t interval = earlier >> 28;
    if (interval != checked.interval) return interval >= checked.block_first || shared || interval < checked.launch_first;
    const unsigned mine = the.lane->number, other = earlier >> 18 & 1023;
    if (other == mine) return 1;
    if (other / 32 != mine / 32 || checked.joined[mine / 32] != interval) return 0;
    return checked.seen[mine / 32][mine % 32][other % 32] >= (earlier >> 2 & 0xffff);
}

static void new_interval(void) {
    checked.interval++;
    for (int i = 0; i < the.threads; i++) checked.clock[i] = 1;
}

/* __syncwarp: each lane now knows of all that the others did or knew of. */
static void join_lanes(int warp, unsigned group) {
    uint16_t joint[32] = {0}, (*seen)[32] = checked.seen[warp];
    if (checked.joined[warp] != checked.interval) memset(seen, 0, sizeof checked.seen[warp]);
    checked.joined[warp] = checked.interval;
    for (unsigned rest = group; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        for (int k = 0; k < 32; k++) joint[k] = joint[k] > seen[lane][k] ? joint[k] : seen[lane][k];
        joint[lane] = checked.clock[warp * 32 + lane];
    }
    for (unsigned rest = group; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        memcpy(seen[lane], joint, sizeof joint);
        checked.clock[warp * 32 + lane] += checked.clock[warp * 32 + lane] < 0xffff;
    }
}

/* ---------------------------------------------------------------- cells */

/* Cells for single bytes in place of cells for 4, because a smaller access came. */
static int split_cells(struct region *region) {
    const size_t count = region->room / 4 + 1;
    struct cell *fine = calloc(4 * count, sizeof *fine);
    if (!fine) return 0;
    for (size_t i = 0; region->cells && i < 4 * count; i++) fine[i] = region->cells[i / 4];
    free(region->cells);
    region->cells = fine;
    region->cell_log2 = 0;
    return 1;
}

static int prepare_cells(struct region *region, uintptr_t at, unsigned long size) {
    if (region->cell_log2 && ((size | (at - region->begin)) & 3)) return split_cells(region);
    if (!region->cells) region->cells = calloc((region->room >> region->cell_log2) + 1, sizeof(struct cell));
    return region->cells != 0;
}

static void remember_read(struct cell *cell, uint64_t now, int32_t place, int shared) {
    const uint64_t last = cell->reads[0];
    if (last && (last ^ now) >> 18 && !in_order(last, shared)) {
        const int where = last >> 23 == now >> 23 ? 1 : 2;  /* the same interval and warp: the one before; else another warp */
        cell->reads[where] = last;
        cell->read_places[where] = cell->read_places[0];
    }
    cell->reads[0] = now;
    cell->read_places[0] = place;
}

static void remember_write(struct cell *cell, uint64_t now, int32_t place, int shared) {
    if (cell->writes[0] && !in_order(cell->writes[0], shared)) {
        cell->writes[1] = cell->writes[0];
        cell->write_places[1] = cell->write_places[0];
    } else if (cell->writes[1] && in_order(cell->writes[1], shared)) cell->writes[1] = 0;
    cell->writes[0] = now;
    cell->write_places[0] = place;
    memset(cell->reads, 0, sizeof cell->reads);
}

static void conflict(const struct access *access, uint64_t other, int32_t other_place, int other_how) {
    note_access(other >> 28 >= checked.block_first ? FAULT_RACE : FAULT_BLOCKS, access->window, access->at, access->size, access->how, access->place);
    describe_other(other, other_place, other_how);
    abandon();
}

static void check_order(const struct access *access) {
    struct region *region = access->window->region;
    const int shared = is_shared(region), atomic = access->how == EMULATOR_ATOMIC;
    const uint64_t now = stamp() | (atomic ? 2 : 0);
    const uintptr_t offset = access->at - region->begin;
    const uintptr_t first = offset >> region->cell_log2, last = (offset + access->size - 1) >> region->cell_log2;
    for (uintptr_t i = first; i <= last; i++) {
        struct cell *cell = &region->cells[i];
        for (int k = 0; k < 2; k++) {
            const uint64_t write = cell->writes[k];
            if (write && !(atomic && (write & 2)) && !in_order(write, shared)) conflict(access, write, cell->write_places[k], EMULATOR_WRITE);
        }
        if (access->how == EMULATOR_READ) {
            if (cell->reads[0] != now) remember_read(cell, now, (int32_t)access->place, shared);
            continue;
        }
        for (int k = 0; k < 3; k++)
            if (cell->reads[k] && !in_order(cell->reads[k], shared)) conflict(access, cell->reads[k], cell->read_places[k], EMULATOR_READ);
        remember_write(cell, now, (int32_t)access->place, shared);
    }
}

/* ---------------------------------------------------------------- an access */

static void fault_access(int kind, const struct access *access) {
    note_access(kind, access->window, access->at, access->size, access->how, access->place);
    abandon();
}

/* Whether an access may be made through a window; if it is in there at all, that is noted as what a fault is about. */
static int allows(struct access *access, const struct window *window) {
    if (!contains(window, access->at)) return 0;
    access->window = window;
    return access->size <= window->end - access->at && !(window->read_only && access->how != EMULATOR_READ);
}

static void locate(struct access *access) {
    if (checked.last && allows(access, checked.last)) return;
    access->window = 0;
    for (int i = 0; i < checked.window_count; i++)
        if (allows(access, &checked.windows[i])) {
            checked.last = &checked.windows[i];
            return;
        }
    if (!access->window) access->window = nearest(access->at);
    else if (access->size <= access->window->end - access->at) fault_access(FAULT_READ_ONLY, access);
    fault_access(FAULT_BOUNDS, access);
}

static int all_known(const unsigned char *known, unsigned long size) {
    uint32_t four;
    uint64_t eight;
    if (size == 4) return memcpy(&four, known, 4), four == 0x01010101u;
    if (size == 8) return memcpy(&eight, known, 8), eight == 0x0101010101010101u;
    return !memchr(known, 0, size);
}

static void check_known(struct access *access) {
    unsigned char *known = access->window->region->known + (access->at - access->window->region->begin);
    const unsigned char *coming = checked.coming ? memchr(known, COMING, access->size) : 0;
    if (coming) {
        access->at += (uintptr_t)(coming - known);
        fault_access(FAULT_COPYING, access);
    }
    if (access->how == EMULATOR_WRITE) {
        if (access->size == 4) memcpy(known, "\1\1\1\1", 4);
        else memset(known, 1, access->size);
        return;
    }
    if (all_known(known, access->size)) return;
    const unsigned char *missing = memchr(known, 0, access->size);
    access->at += (uintptr_t)(missing - known);
    fault_access(FAULT_UNINITIALISED, access);
}

static void check_access(uintptr_t at, unsigned long size, int how, int64_t place) {
    struct access access = {0, at, size, how, place};
    locate(&access);
    struct region *region = access.window->region;
    if (how == EMULATOR_ATOMIC && at % size) engine_fault(FAULT_MISALIGNED, (int)place, 0, (long long)at, (long long)size);
    if (region->known) check_known(&access);
    if (access.window->alone) return;
    if (!prepare_cells(region, at, size)) fault_access(FAULT_MEMORY, &access);
    check_order(&access);
}

static int in_image(uintptr_t at) {
    return at - the.image < the.image_end - the.image && at - checked.statics.begin >= checked.statics.end - checked.statics.begin;
}

static void engine_access(const void *address, unsigned long size, int how, const void *code, int place) {
    const uintptr_t at = (uintptr_t)address;
    if (at - (uintptr_t)the.stacks < (uintptr_t)STACK_STRIDE * (THREADS + 1)) return;  /* a thread's own variables */
    check_time();
    if (in_image(at)) return;  /* tables of the module */
    check_access(at, size, how, place_of(code, place));
}

/* ---------------------------------------------------------------- launches and blocks */

static void shared_region(struct region *region, uintptr_t begin, uintptr_t end) {
    if (region->begin != begin || end - begin > region->room) {
        free(region->known);
        free(region->cells);
        *region = (struct region){.begin = begin, .cell_log2 = 2, .room = end - begin};
        if (end != begin) region->known = malloc(end - begin + 16);
    }
    region->end = end;
}

static int overlap(const struct window *a, const struct window *b) { return a->begin < b->end && b->begin < a->end; }

/* What each argument that is an address may reach: as many bytes as the launch says, or the piece of memory that it points into. */
static void open_windows(void) {
    checked.window_count = 0;
    checked.last = 0;
    for (int i = 0; i < the.argument_count; i++) {
        struct region *region = region_at((uintptr_t)the.arguments[i]);
        if (!region) continue;
        struct window window = {region->begin, region->end, region, the.read_only[i], 0};
        if (the.extents && the.extents[i] >= 0) {
            window.begin = (uintptr_t)the.arguments[i];
            if ((uintptr_t)the.extents[i] < window.end - window.begin) window.end = window.begin + (uintptr_t)the.extents[i];
        }
        checked.windows[checked.window_count++] = window;
    }
    for (int i = 0; i < checked.window_count; i++) {
        struct window *window = &checked.windows[i];
        window->alone = window->read_only;
        for (int k = 0; k < checked.window_count; k++)
            if (!checked.windows[k].read_only && overlap(window, &checked.windows[k])) window->alone = 0;
    }
    if (the.shared_bytes) checked.windows[checked.window_count++] = shared_window(&checked.shared);
    if (checked.statics.end != checked.statics.begin) checked.windows[checked.window_count++] = shared_window(&checked.statics);
}

static void begin_checks(void) {
    new_interval();
    checked.launch_first = checked.interval;
    checked.blocks = 0;
    shared_region(&checked.shared, (uintptr_t)the.shared, (uintptr_t)the.shared + SHARED_LIMIT);
    checked.shared.end = checked.shared.begin + (uintptr_t)the.shared_bytes;
    shared_region(&checked.statics, (uintptr_t)the.module->statics, (uintptr_t)the.module->statics_end);
    open_windows();
}

static void begin_checked_block(void) {
    new_interval();
    checked.block_first = checked.interval;
    if (checked.blocks == checked.room) {
        const int64_t room = checked.room ? 2 * checked.room : 1024;
        uint64_t *more = realloc(checked.starts, (size_t)room * sizeof *more);
        if (!more) {
            note(FAULT_MEMORY, &the.lanes[0], 0, 0, 0);
            return;
        }
        checked.starts = more;
        checked.room = room;
    }
    checked.starts[checked.blocks++] = checked.interval;
    if (checked.shared.known) memset(checked.shared.known, 0, (size_t)the.shared_bytes);
    if (checked.statics.known) memset(checked.statics.known, 0, checked.statics.end - checked.statics.begin);
}

/* ---------------------------------------------------------------- cp.async: the bytes come when they are waited for */

#define COPIES 256 /* of a thread; where more are under way, the first group is taken to be there */

struct pending {
    char *target;
    const char *source;
    unsigned size, from_source, group;
    int place;
};

static struct {
    struct pending copies[COPIES];
    unsigned count, group;
} pending[THREADS];

static void see(const void *address, unsigned size, int how, int place) {
    if (!the.checks || !size) return;
    if ((uintptr_t)address % size && (size & (size - 1)) == 0) engine_fault(FAULT_MISALIGNED, place, 0, (long long)(uintptr_t)address, size);
    engine_access(address, size, how, 0, place);
}

/* Whether nobody but a copy may use its target. */
static void set_coming(const struct pending *copy, int coming) {
    if (!the.checks) return;
    struct access access = {0, (uintptr_t)copy->target, copy->size, EMULATOR_WRITE, copy->place};
    locate(&access);
    const struct region *region = access.window->region;
    if (region->known) memset(region->known + (access.at - region->begin), coming ? COMING : 0, copy->size);
    checked.coming += coming ? 1 : -1;
}

static void finish_copy(const struct pending *copy) {
    set_coming(copy, 0);
    see(copy->target, copy->size, EMULATOR_WRITE, copy->place);
    memcpy(copy->target, copy->source, copy->from_source);
    memset(copy->target + copy->from_source, 0, copy->size - copy->from_source);
}

static void finish_copies(unsigned number, unsigned last_group) {
    unsigned left = 0;
    for (unsigned i = 0; i < pending[number].count; i++) {
        struct pending *copy = &pending[number].copies[i];
        if ((int)(copy->group - last_group) <= 0) finish_copy(copy);
        else pending[number].copies[left++] = *copy;
    }
    pending[number].count = left;
}

/* Until it is waited for, the target holds poison, and may not be used. */
static void engine_copy(void *target, const void *source, unsigned size, unsigned from_source, int place) {
    const unsigned number = the.lane->number;
    see(source, from_source, EMULATOR_READ, place);
    see(target, size, EMULATOR_WRITE, place);
    memset(target, POISON, size);
    if (pending[number].count == COPIES) finish_copies(number, pending[number].copies[0].group);
    struct pending *copy = &pending[number].copies[pending[number].count++];
    *copy = (struct pending){target, source, size, from_source, pending[number].group, place};
    set_coming(copy, 1);
}

static void engine_copy_commit(void) { pending[the.lane->number].group++; }

static void engine_copy_wait(unsigned groups) {
    const unsigned number = the.lane->number;
    finish_copies(number, pending[number].group - groups - 1);
}

static void forget_copies(void) {
    for (int i = 0; i < the.threads; i++) pending[i].count = 0;
    checked.coming = 0;
}
