"""The memory of large results is used again, and never while somebody can see it."""

from __future__ import annotations

import gc
import mmap
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.runtime.results import LARGE, Pool, maker

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="results come from malloc where there is no mmap")
F32 = np.dtype(np.float32)
SHAPE = (LARGE // 4,)


def address(a: np.ndarray) -> int:
    return int(a.ctypes.data)


def test_only_large_results_come_from_it() -> None:
    assert maker((LARGE // 4 - 1,), F32) is np.empty and maker(SHAPE, F32) is not np.empty


def test_memory_is_used_again_when_the_array_and_all_views_are_gone() -> None:
    pool = Pool()
    a = pool.array((2, LARGE // 8), F32)
    assert a.flags.c_contiguous and a.flags.writeable and a.dtype == F32 and address(a) % 64 == 0
    first, view = address(a), a.T[3:]
    del a
    b = pool.array(SHAPE, F32)
    assert address(b) != first and not np.shares_memory(b, view)
    taken = view.base is not None and memoryview(view)
    del view
    c = pool.array(SHAPE, F32)
    assert address(c) != first
    del taken
    d = pool.array(SHAPE, F32)
    assert address(d) == first
    assert len({address(x) for x in (b, c, d)}) == 3


def test_another_size_has_other_memory_and_what_waits_is_bounded() -> None:
    pool = Pool(kept=3 * LARGE)
    for n in (1, 2, 3, 1, 2):
        pool.array((n * LARGE // 4,), F32)
        assert sum(b.nbytes for b in pool.free) <= pool.kept
    assert [b.nbytes // LARGE for b in pool.free] == [1, 2]
    pool.array((4 * LARGE // 4,), F32)
    assert pool.free == []
    with pytest.raises(MemoryError, match="no memory for a result of"):
        pool.array((1 << 60,), F32)


def test_threads_never_share_a_block() -> None:
    pool = Pool(kept=2 * LARGE)

    def work(k: int) -> bool:
        good = True
        for _ in range(150):
            a = pool.array(SHAPE, F32)
            a[:: 1 << 18] = k
            b = pool.array(SHAPE, F32)
            b[:: 1 << 18] = -k
            good &= bool((a[:: 1 << 18] == k).all())
        return good

    with ThreadPoolExecutor(8) as workers:
        assert all(workers.map(work, range(8)))
    assert len({b.address for b in pool.free}) == len(pool.free)


def test_results_of_a_function_stay_what_they_are() -> None:
    x = T.vector("x")
    f = exprc.function([x], [x + 1, x + 2])
    a = np.zeros(SHAPE, np.float32)
    kept = [f(a + k) for k in range(4)]
    assert len({address(r) for pair in kept for r in pair}) == 8
    assert all((pair[0] == k + 1).all() and (pair[1] == k + 2).all() for k, pair in enumerate(kept))
    seen = {address(r) for pair in kept for r in pair}
    del kept
    gc.collect()
    again = {address(r) for _ in range(10) for r in f(a)}
    assert again <= seen


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_memory_of_its_own() -> None:
    pool = Pool()
    a = pool.array(SHAPE, F32)
    a[:] = 1
    child = os.fork()
    if child == 0:
        a[:] = 2
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0 and (a == 1).all()
