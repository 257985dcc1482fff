/* emulator_checks.c: what the checking build looks at when a thread reads or writes. */

static void engine_access(const void *address, unsigned long size, int how, const void *code, int place) {
    (void)address, (void)size, (void)how, (void)code, (void)place;
}
static void engine_copy(void *target, const void *source, unsigned size, unsigned from_source, int place) {
    (void)place;
    memcpy(target, source, from_source);
    memset((char *)target + from_source, 0, size - from_source);
}
static void engine_copy_commit(void) {}
static void engine_copy_wait(unsigned groups) { (void)groups; }
static void begin_checks(void) {}
