"""kernels/c/crew.h: the threads of a call do every block of a step once, and what waits for a step sees all that it wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from exprc.render.base import kernel_source
from tests.test_kernels import COMPILER, pytestmark  # noqa: F401  # without a compiler there is nothing to test

#: Threads run a program of steps again and again; a block notes itself, with plain stores, and now and then takes long. Behind each wait
#: every thread looks whether each block of the step was done once.
PROGRAM = """\
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
%(crew)s
enum { STEPS = 12, MOST = 300, CALLS = %(calls)d };
static const int64_t blocks_of[STEPS] = {0, 1, 2, 3, 7, 8, 40, 300, 5, 1, 0, 64};
static int64_t threads, least;
static char *lines;
static int64_t ran[STEPS][MOST];      /* by whom: thread + 1; added up, so that twice is seen */
static int64_t wrong;
static pthread_barrier_t gate;

static void dawdle(int64_t turns) { for (volatile int64_t k = 0; k < turns; k++) {} }

static void work(int64_t step, int64_t begin, int64_t end, int64_t thread) {
    for (int64_t block = begin; block < end; block++) {
        ran[step][block] += thread + 1;
        if ((block * 7 + step + thread) %% 31 == 0) dawdle(20000);
    }
}

static void look(int64_t step) {
    for (int64_t block = 0; block < blocks_of[step]; block++)
        if (ran[step][block] < 1 || ran[step][block] > threads) __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
}

static void *member(void *which) {
    const crew_member crew = {lines, (intptr_t)which, threads};
    for (int64_t call = 0; call < CALLS; call++) {
        if (crew.thread == 0) {
            for (size_t k = 0; k < sizeof(ran) / sizeof(**ran); k++) (&ran[0][0])[k] = 0;
            for (int64_t k = 0; k < STEPS * (threads + 1) * CREW_LINE; k++) lines[k] = 0;
        }
        pthread_barrier_wait(&gate);
        if (crew.thread == call %% threads && crew.thread) dawdle(100000);      /* comes late */
        for (int64_t step = 0; step < STEPS; step++) {
            for (crew_share share = {0}; crew_take(&crew, step, blocks_of[step], least, &share);)
                work(step, share.begin, share.end, crew.thread);
            if (step %% 3 != 2) continue;                                      /* steps that need nothing of each other */
            for (int64_t before = step - 2; before <= step; before++) crew_wait(&crew, before, blocks_of[before]);
            for (int64_t before = step - 2; before <= step; before++) look(before);
        }
        pthread_barrier_wait(&gate);
    }
    return 0;
}

/* Nobody but thread 0 comes: it does all blocks, and waits for nobody; who comes later finds nothing to do. */
static int alone(void) {
    const crew_member first = {lines, 0, threads}, late = {lines, threads - 1, threads};
    int64_t count = 0;
    for (crew_share share = {0}; crew_take(&first, 7, blocks_of[7], least, &share);) work(7, share.begin, share.end, 0);
    crew_wait(&first, 7, blocks_of[7]);
    look(7);
    for (crew_share share = {0}; crew_take(&late, 7, blocks_of[7], least, &share);) count++;
    crew_wait(&late, 7, blocks_of[7]);
    printf("%%lld\\n", (long long)(wrong + count));
    return 0;
}

int main(int count, char **given) {
    threads = atoi(given[1]), least = atoi(given[2]);
    lines = calloc(STEPS * (threads + 1), CREW_LINE);
    if (count > 3) return alone();
    pthread_t made[64];
    pthread_barrier_init(&gate, 0, (unsigned)threads);
    for (int64_t k = 1; k < threads; k++) pthread_create(&made[k], 0, member, (void *)(intptr_t)k);
    member(0);
    for (int64_t k = 1; k < threads; k++) pthread_join(made[k], 0);
    printf("%%lld\\n", (long long)wrong);
    return 0;
}
"""

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-function")


def built(folder: Path, calls: int, *flags: str) -> Path:
    source, program = folder / "crew.c", folder / "crew"
    source.write_text(PROGRAM % {"crew": kernel_source("c/crew.h"), "calls": calls})
    subprocess.run([*COMPILER, "-O2", "-pthread", *WARNINGS, *flags, str(source), "-o", str(program)], check=True)
    return program


def faults(program: Path, *given: object) -> int:
    done = subprocess.run([str(program), *map(str, given)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout)


def test_every_block_is_done_once_and_waited_for(tmp_path: Path) -> None:
    """More threads than cores, pieces of one block and of many, a thread that comes late each time."""
    program = built(tmp_path, 300)
    for threads, least in ((1, 1), (2, 1), (2, 10), (3, 1), (5, 40), (12, 1), (12, 1000)):
        assert faults(program, threads, least) == 0


def test_nobody_waits_for_a_thread_that_does_not_come(tmp_path: Path) -> None:
    program = built(tmp_path, 1)
    for threads, least in ((2, 1), (2, 1000), (9, 1)):
        assert faults(program, threads, least, "alone") == 0


def sanitized(folder: Path) -> bool:
    (folder / "plain.c").write_text("int main(void) { return 0; }")
    done = subprocess.run([*COMPILER, "-fsanitize=thread", "plain.c", "-o", "plain"], cwd=folder, capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.long
def test_no_race_is_seen_by_the_sanitizer(tmp_path: Path) -> None:
    if not sanitized(tmp_path):
        pytest.skip("the compiler has no thread sanitizer")
    program = built(tmp_path, 20, "-fsanitize=thread", "-g")
    for threads, least in ((2, 1), (4, 3)):
        assert faults(program, threads, least) == 0
