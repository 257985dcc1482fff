"""docs/emulator.md is true: its examples run, and it names every kind of mistake that the emulator finds."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from exprc.render.base import kernel_source
from exprc.runtime.emulator_faults import KINDS

pytestmark = pytest.mark.emulator
PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"


def test_the_examples_run_and_print_what_the_page_says():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8")
    assert failed == 0 and tried > 8


def test_every_kind_is_in_the_table():
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(re.findall(r"`([a-z-]+)`", " ".join(rows))) == sorted(set(KINDS) - {"none"})


def test_the_numbers_of_the_kinds_are_those_of_the_engine():
    names = re.search(r"enum emulator_fault \{(.*?)\}", kernel_source("cuda/emulator.h"), re.S)
    assert names and len(names[1].split(",")) == len(KINDS)
