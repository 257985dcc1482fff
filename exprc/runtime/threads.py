"""How many threads compiled functions use."""

from __future__ import annotations

import functools
import os

from exprc.errors import report

_threads: int | None = None
_AT_LEAST_1 = "give a whole number of at least 1"


def set_threads(n: int | None) -> None:
    """Let compiled functions use `n` threads, whatever the environment says; None goes back to what it says.

    >>> set_threads(2)
    >>> thread_count()
    2
    >>> set_threads(None)
    """
    global _threads
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise ValueError(report(f"set_threads: {n!r} is not a number of threads", fix=_AT_LEAST_1))
    _threads = n


def thread_count() -> int:
    """How many threads compiled functions use.

    What `set_threads` said, else ``EXPRC_THREADS``, else ``OMP_NUM_THREADS``, else as many CPUs as the process may use.
    """
    if _threads is not None:
        return _threads
    asked = os.environ.get("EXPRC_THREADS", "").strip()
    if asked and not _positive(asked):
        raise ValueError(report(f"EXPRC_THREADS is {asked!r}, which is not a number of threads", fix=_AT_LEAST_1))
    openmp = (
        os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    )  # a list has one number for each nesting level
    return _positive(asked) or _positive(openmp) or _usable_cpus()


def _positive(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _usable_cpus() -> int:
    """CPUs that the process may run on; a container's quota counts too, or its threads would wait for each other."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota() or allowed))


@functools.cache
def _quota() -> int:
    """CPUs that the control group of the process may use, rounded up; 0 where there is no limit."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            limit, period = file.read().split()
        return -(-int(limit) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return 0
