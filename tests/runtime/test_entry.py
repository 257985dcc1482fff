"""The parsed declarations of a program's entry and of CUDA's libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from exprc.runtime import declarations
from exprc.runtime.entry import ffi


@pytest.mark.parametrize("name", declarations.MODULES)
def test_a_module_is_what_cffi_makes_of_its_declarations(name: str, tmp_path: Path) -> None:
    declarations.write(name, tmp_path / "entry.py")
    found = declarations.FOLDER / f"{name}.py"
    assert found.read_text(encoding="utf-8") == (tmp_path / "entry.py").read_text(encoding="utf-8")


def test_it_knows_the_types_that_programs_are_called_with() -> None:
    assert ffi.sizeof("int64_t") == 8
    assert ffi.new("void *[]", 2)[1] == ffi.NULL
