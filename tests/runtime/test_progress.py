"""The line that tells of long compiling."""

from __future__ import annotations

import io
import sys
import time

import pytest

from exprc.config import config
from exprc.runtime import cpu, progress
from exprc.runtime.compiler import compile_shared


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.02)
    monkeypatch.setattr(progress, "EVERY", 0.02)


def said(out: io.StringIO, seconds: float, monkeypatch, **settings) -> str:
    monkeypatch.setattr(sys, "stderr", out)
    with config.override(**settings), progress.told("compiling 7 lines of C"):
        time.sleep(seconds)
    return out.getvalue()


def test_a_terminal_gets_a_line_that_is_wiped_away(monkeypatch):
    shown = said(Terminal(), 0.3, monkeypatch)
    assert shown.count("\r\x1b[Kexprc: compiling 7 lines of C, 0 s") > 1 and shown.endswith("\r\x1b[K") and "\n" not in shown


def test_what_is_quick_is_not_told(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 30)
    begin = time.monotonic()
    assert said(Terminal(), 0, monkeypatch) == "" and time.monotonic() - begin < 10


def test_a_file_gets_nothing_unless_asked(monkeypatch):
    assert said(io.StringIO(), 0.1, monkeypatch) == ""
    lines = said(io.StringIO(), 0.3, monkeypatch, progress="on").splitlines()
    assert len(lines) == 2 and lines[0] == "exprc: compiling 7 lines of C ..."
    assert lines[1].startswith("exprc: compiling 7 lines of C took ") and lines[1].endswith(" s")
    assert said(Terminal(), 0.1, monkeypatch, progress="off") == ""


def test_an_output_that_breaks_keeps_nobody_from_working(monkeypatch):
    class Broken(Terminal):
        def write(self, text):
            raise OSError("gone")

    closed = Terminal()
    closed.close()
    for out in (Broken(), closed, None):
        monkeypatch.setattr(sys, "stderr", out)
        with progress.told("x"):
            time.sleep(0.1)


def test_errors_pass_through(monkeypatch):
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    with pytest.raises(KeyError), progress.told("x"):
        time.sleep(0.2)
        raise KeyError
    assert out.getvalue().endswith("\x1b[K")


def test_compiling_tells(monkeypatch, tmp_path):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with config.override(progress="on"):
        compile_shared(["int x;\nint y;\n"], cpu.SCALAR, tmp_path)
    assert out.getvalue().startswith("exprc: compiling 2 lines of C ...\n")
