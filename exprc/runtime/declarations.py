"""What Python calls in a compiled program, in C; `exprc.runtime.entry` is generated from it.

cffi would parse these declarations at every start, which takes longer than loading a program. Its out-of-line ABI mode
(cffi's documentation, "Preparing and Distributing modules") stores them parsed. After a change run
``python -m exprc.runtime.declarations``.
"""

from __future__ import annotations

from pathlib import Path

DECLARATIONS = """
    int exprc_run(void **buffers, const int64_t *sizes, char *arena, int64_t threads, int64_t *status);
    void exprc_set_forked(void);
"""

ENTRY = Path(__file__).with_name("entry.py")


def write(path: Path = ENTRY) -> None:
    """Write the module that holds the parsed declarations."""
    import cffi  # type: ignore[import-untyped]

    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    ffi.set_source("exprc.runtime.entry", None)
    ffi.emit_python_code(str(path))
    path.write_text("# ruff: noqa\n# mypy: ignore-errors\n" + path.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    write()
