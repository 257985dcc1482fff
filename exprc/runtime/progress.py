"""A line on the terminal while the C compiler takes longer than a person likes to wait without being told why."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from exprc.config import config

#: Seconds of silence before the first word, and between two of them.
PATIENCE, EVERY = 2.0, 1.0


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say `what` on the standard error output if the block takes longer than two seconds, with the seconds so far.

    ``config.progress`` says when: "auto" where that output is a terminal, "on" always, "off" never. On a terminal the line is
    written over itself and wiped away at the end; elsewhere there is one line at the beginning and one at the end.
    """
    out = sys.stderr
    if not _wanted(out):
        yield
        return
    done, begin = threading.Event(), time.monotonic()
    teller = threading.Thread(target=_tell, args=(out, what, begin, done), daemon=True, name="exprc progress")
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _wanted(out: TextIO | None) -> bool:
    if out is None or config.progress == "off":  # a program without a console has no stderr
        return False
    return config.progress == "on" or _is_terminal(out)


def _is_terminal(out: TextIO) -> bool:
    with suppress(Exception):  # a stand-in for stderr may have no isatty, or be closed
        return bool(out.isatty())
    return False


def _tell(out: TextIO, what: str, begin: float, done: threading.Event) -> None:
    """Speak until `done`; whatever is wrong with the output, compiling goes on."""
    if done.wait(PATIENCE):
        return
    with suppress(Exception):
        if _is_terminal(out):
            _count(out, what, begin, done)
        else:
            print(f"exprc: {what} ...", file=out, flush=True)
            done.wait()
            print(f"exprc: {what} took {time.monotonic() - begin:.1f} s", file=out, flush=True)


def _count(out: TextIO, what: str, begin: float, done: threading.Event) -> None:
    """A line that counts seconds, wiped away at the end."""
    try:
        while True:
            out.write(f"\r\x1b[Kexprc: {what}, {time.monotonic() - begin:.0f} s")
            out.flush()
            if done.wait(EVERY):
                return
    finally:
        out.write("\r\x1b[K")
        out.flush()
