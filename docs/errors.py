"""Write docs/errors.md: what exprc says when something is wrong, each text beside the program that provokes it.

    python docs/errors.py           write the page again
    python docs/errors.py --aloud   print the texts alone, to be read aloud

The cases stand in tables, tests/errors/*.py. Each is a small program for the file train.py, the type of the error and the
pieces that its text must hold; tests/test_errors.py holds them to that, and this page to them.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
import tempfile
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import exprc
import exprc.tensor as T
from exprc import datasets, io, nn
from exprc.runtime import cache

sys.path.insert(0, str(Path(__file__).parent))
import stand_in  # noqa: E402

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
PACKAGE = str(Path(exprc.__file__).parent) + os.sep
FILE = "train.py"  # what the programs call themselves


class Case(NamedTuple):
    """A mistake: its title, the type of the error, the program, and the pieces of the text in their order.

    ``@3`` among the pieces stands for line 3 of the program. `given` says in words what `before`, which is run first and
    not shown, has done to the machine.
    """

    title: str
    error: type[BaseException]
    program: str
    says: tuple[str, ...] = ()
    given: str = ""
    before: str = ""

    @property
    def lines(self) -> str:
        return textwrap.dedent(self.program).strip()

    @property
    def pieces(self) -> list[str]:
        return [re.sub(r"^@(\d+)$", rf"{FILE}:\1", piece) for piece in self.says]


class Told(NamedTuple):
    """What a case brought about: the text, and the place in exprc that said it."""

    kind: type[BaseException] | None
    text: str
    place: str


def tables() -> dict[str, list[Case]]:
    """Return the cases by the title of their table, in the order of the page."""
    found = {}
    for path in sorted((ROOT / "tests" / "errors").glob("*.py")):
        table = runpy.run_path(str(path))
        found[table["TITLE"]] = [Case(*row) for row in table["CASES"]]
    return found


# -- running a case ------------------------------------------------------------------------------------------------------


def run(case: Case) -> Told:
    """Run a case in a folder, with settings and random numbers of its own."""
    with tempfile.TemporaryDirectory() as name, machine(Path(name)) as world, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            exec(textwrap.dedent(case.before), world)
            exec(compile(case.lines, FILE, "exec"), world)
        except (Exception, KeyboardInterrupt) as error:
            return Told(type(error), portable(said(error), name), place(error))
    return Told(None, "", "")


@contextmanager
def machine(folder: Path) -> Iterator[dict[str, Any]]:
    """The names that a program may use; what it does to the environment is undone."""
    kept = dict(os.environ)
    os.environ.update(EXPRC_CACHE=str(folder / "cache"), EXPRC_OFFLINE="1", no_proxy="*")
    for name in ("EXPRC_CC", "CC", "EXPRC_CC_TIMEOUT", "EXPRC_DATA", "EXPRC_CPU", "EXPRC_THREADS", "EXPRC_CACHE_BYTES", "EXPRC_NVCC"):
        os.environ.pop(name, None)

    def compiler(lines: str) -> None:
        """Put a shell script in the place of the C compiler; it tells its version like an honest one."""
        script = folder / "cc"
        script.write_text(f'#!/bin/sh\ncase "$*" in *--version*) echo fake 1.0; exit;; esac\n{lines}\n')
        script.chmod(0o700)
        os.environ["EXPRC_CC"] = str(script)

    exprc.config.mode, mode = "compiled", exprc.config.mode
    user = cache._user
    with stand_in.restored():
        try:
            yield {
                "exprc": exprc, "T": T, "nn": nn, "L": nn.layers, "np": np, "os": os, "Path": Path, "io": io,
                "datasets": datasets, "folder": folder, "compiler": compiler, "gpu": stand_in.gpu, "no_driver": stand_in.no_driver,
                "no_pycuda": stand_in.no_pycuda, "no_cuda_compiler": stand_in.no_cuda_compiler,
            }  # fmt: skip
        finally:
            exprc.config.mode, cache._user = mode, user
            os.environ.clear()
            os.environ.update(kept)


def said(error: BaseException) -> str:
    """The text as Python shows it at the end of a traceback, without the type."""
    return "".join(traceback.format_exception_only(error)).partition(": ")[2].rstrip()


def place(error: BaseException) -> str:
    """The innermost function of exprc that the error passed through, with the line in it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(PACKAGE)]
    return f"{frames[-1].filename.removeprefix(PACKAGE)}:{frames[-1].lineno} {frames[-1].name}" if frames else ""


def portable(text: str, folder: str) -> str:
    """Take out what differs from machine to machine: folders, digests and the numbers of users."""
    text = text.replace(os.path.realpath(folder), "FOLDER").replace(folder, "FOLDER").replace(str(ROOT), "EXPRC")
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/exprc-\w+", "TEMPORARY", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)
    text = re.sub(r"-O2 .* (?=unit0.c)", "FLAGS ", text)
    text = re.sub(r"this CPU has .*", "this CPU has avx2, scalar", text)
    return re.sub(r"user \d+", "user NUMBER", text)


# -- the page ------------------------------------------------------------------------------------------------------------

INTRODUCTION = """\
# What exprc says when something is wrong

Each message names what is wrong, the two things that disagree, the user's own variable with the line that made it, and what
would mend it. Here each stands below a program, `train.py`, that provokes it; the programs begin with

```python
import exprc, exprc.tensor as T
from exprc import datasets, io, nn
L = nn.layers
```

Written by `python docs/errors.py` from the tables in `tests/errors`; the test suite holds every text to its table, and this page to
both. `FOLDER` and `DIGEST` stand for what differs from machine to machine.
"""


def page(answer: Callable[[Case], Told] = run) -> str:
    parts = [INTRODUCTION]
    for title, cases in tables().items():
        parts.append(f"\n## {title}\n")
        parts += [entry(case, answer(case)) for case in cases]
    return "".join(parts)


def entry(case: Case, told: Told) -> str:
    given = f"\n{case.given[0].upper()}{case.given[1:]}:\n" if case.given else ""
    name = told.kind.__name__ if told.kind else "no error"
    return f"\n### {case.title}\n{given}\n```python\n{case.lines}\n```\n```text\n{name}: {told.text}\n```\n"


def aloud() -> None:
    for title, cases in tables().items():
        print(f"\n{'=' * 20} {title}")
        for case in cases:
            told = run(case)
            lacking = [p for p in case.pieces if p not in told.text]
            right = told.kind is case.error and not lacking
            print(f"\n[{case.title}]{'' if right else f'  WRONG: {told.kind}, lacks {lacking}'}   {told.place}\n{told.text}")


def main() -> None:
    if "--aloud" in sys.argv:
        aloud()
    else:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
