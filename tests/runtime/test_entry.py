"""The parsed declarations of a program's entry."""

from __future__ import annotations

from pathlib import Path

from exprc.runtime import declarations
from exprc.runtime.entry import ffi


def test_the_entry_is_what_cffi_makes_of_the_declarations(tmp_path: Path) -> None:
    declarations.write(tmp_path / "entry.py")
    assert declarations.ENTRY.read_text(encoding="utf-8") == (tmp_path / "entry.py").read_text(encoding="utf-8")


def test_it_knows_the_types_that_programs_are_called_with() -> None:
    assert ffi.sizeof("int64_t") == 8
    assert ffi.new("void *[]", 2)[1] == ffi.NULL
