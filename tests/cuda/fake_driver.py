"""The fake CUDA driver: building it, and running programs on it.

A program runs in a process of its own, in which ``libcuda.so.1`` is ``fake_driver.c`` and CUDA texts are compiled for the emulator
instead of a GPU; all else is what runs on a GPU: pycuda, the driver's calls, graphs, the order in which things end.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from exprc.runtime.compiler import find_compiler
from exprc.runtime.declarations import EMULATOR

SOURCE = Path(__file__).with_name("fake_driver.c")
#: The libraries beside it: source -> what it is compiled as.
LIBRARIES = {"fake_cublas.c": "libcublas.so.13", "fake_cudnn.c": "libcudnn.so.9"}
NO_PYCUDA = "pycuda is not installed (pip install 'exprc[cuda]'; .ci/run builds it where nvcc is)"

#: Put before every program.
BEGIN = """
import os, sys
import numpy as np
from exprc.render.base import kernel_source
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Launch
"""
#: Put before one that is for the fake driver.
PRELUDE = """
import os
from exprc.runtime import cubin, emulator

def emulated(text, architecture, flush):
    assert architecture == "sm_90"
    module = emulator.Module(text, check=os.environ.get("FAKE_CHECK") == "1")
    return cubin.Cubin(f"FAKE {module.program}\\n".encode(), module.cached, module.compile_seconds)

cubin.load_cubin = emulated
os.environ["FAKE_ENGINE"] = str(emulator.engine_path())
"""


def pycuda_library() -> Path | None:
    """The extension module of pycuda, found without loading it: that takes a driver."""
    found = importlib.util.find_spec("pycuda")
    folder = Path(found.origin).parent if found and found.origin else None
    return next(iter(folder.glob("_driver*.so")), None) if folder else None


def build(folder: Path) -> Path:
    """Compile the fake driver in `folder`, with all functions that pycuda and exprc need; return its path."""
    source = SOURCE.read_text(encoding="utf-8")
    needed: set[str] = set()
    library = pycuda_library()
    if library is not None:
        needed |= {name.decode() for name in re.findall(rb"\0(cu[A-Z]\w+)(?=\0)", library.read_bytes())}
    lacking = sorted(needed - set(re.findall(r"\bAPI R (\w+)\(", source)))
    stubs = "".join(f"int {name}(void) {{ return 801; }}\n" for name in lacking)
    (folder / "stubs.c").write_text(stubs, encoding="utf-8")
    (folder / "engine.h").write_text(f"#include <stdint.h>\n{EMULATOR}", encoding="utf-8")
    made = folder / "libcuda.so.1"
    _compile(made, [SOURCE, folder / "stubs.c"], f"-I{folder}")
    for source, name in LIBRARIES.items():
        _compile(folder / name, [SOURCE.with_name(source)])
    return made


def _compile(made: Path, sources: list[Path], *flags: str) -> None:
    shared = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{made.name}"]
    subprocess.run([*find_compiler().command, *shared, *flags, *map(str, sources), "-o", str(made), "-ldl"], check=True)


def run(driver: Path, program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program on the fake driver; `settings` are those of fake_driver.c."""
    return _run(PRELUDE + BEGIN + textwrap.dedent(program), environment(driver, **settings))


def environment(driver: Path, **settings: str) -> dict[str, str]:
    """The environment of a process that finds the fake driver."""
    paths = os.pathsep.join(filter(None, [str(driver.parent), os.environ.get("LD_LIBRARY_PATH")]))
    made = {**os.environ, "LD_LIBRARY_PATH": paths, **settings}
    made.pop("CUDA_VISIBLE_DEVICES", None)  # it hides GPUs, and messages speak of it
    return made


def run_on_gpu(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program on the GPU of this machine."""
    return _run(BEGIN + textwrap.dedent(program), dict(os.environ))


def _run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False)
