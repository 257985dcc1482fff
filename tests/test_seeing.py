"""docs/seeing.md is true: its examples run, its picture is one of ours, and it names every command."""

from __future__ import annotations

import doctest
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from exprc import doctor

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "seeing.md").read_text(encoding="utf-8")


def test_the_examples_run_and_print_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(DOCS / "seeing.md"), module_relative=False, optionflags=flags, encoding="utf-8")
    assert (failed, tried > 15) == (0, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cost.html", "cost.svg", "step.html"]


def test_the_picture_needs_nothing_from_elsewhere():
    text = (DOCS / "seeing.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert len(text) < 30_000 and "softmax" in text and text.count("http") == 1 and "href" not in text and "url(" not in text


def test_the_page_shows_every_look_of_the_doctor():
    shown = re.findall(r"^(?:OK|WARN|FAIL) +(\w+) ", PAGE, re.MULTILINE)
    assert shown == list(doctor.LOOKS)
