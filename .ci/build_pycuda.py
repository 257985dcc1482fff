"""Build a wheel of pycuda on a machine that has nvcc but no GPU, no driver and perhaps no cuRAND: ``build_pycuda.py FOLDER``.

Plain pip fails there: pycuda is linked with the driver's library and, unless told otherwise, with cuRAND. So it is linked with a
stand-in for that library, which has all of its functions (the linker drops an empty one, and with it the note that the driver
is needed), and told the rest in the file that its setup reads from the home folder. That takes one to three minutes of one core; a
wheel that is there already is kept. Prints the path of the wheel.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "2026.1"


def toolkit() -> Path:
    """The folder of the CUDA toolkit that the nvcc on the path belongs to."""
    told = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [Path(told)] if told else []
    found = shutil.which("nvcc")
    if found:
        places.append(Path(os.path.realpath(found)).parents[1])
    for place in (*places, Path("/usr/local/cuda")):
        if (place / "include" / "cuda.h").is_file():
            return place
    sys.exit("there is no CUDA toolkit here (cuda.h beside an nvcc)")


def stand_in(cuda: Path, folder: Path) -> None:
    """Compile a libcuda.so whose functions do nothing."""
    compiler = os.environ.get("CC") or "cc"
    headers = "#include <cuda.h>\n#include <cudaProfiler.h>\n"
    read = [compiler, "-E", "-P", f"-I{cuda / 'include'}", "-xc", "-"]
    declared = subprocess.run(read, input=headers, text=True, capture_output=True, check=True).stdout
    names = sorted(set(re.findall(r"\bCUresult\s+(cu\w+)\s*\(", declared)))
    text = "".join(f"int {name}(void) {{ return 100; }}\n" for name in names)
    link = [compiler, "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so"), "-xc", "-"]
    subprocess.run(link, input=text, text=True, check=True)


def build(cuda: Path, wheels: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stand_in(cuda, folder)
        settings = {
            "CUDA_ROOT": str(cuda), "CUDA_ENABLE_CURAND": False, "CUDADRV_LIB_DIR": [name], "CXXFLAGS": ["-g0", "-w"], "LDFLAGS": ["-s"],
        }  # fmt: skip
        lines = "".join(f"{key} = {value!r}\n" for key, value in settings.items())
        (folder / ".aksetup-defaults.py").write_text(lines, encoding="utf-8")
        environment = {**os.environ, "HOME": name, "PATH": f"{cuda / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-cache-dir", f"pycuda=={VERSION}", "-w", name]
        subprocess.run(pip, env=environment, check=True)
        for wheel in folder.glob("pycuda-*.whl"):
            shutil.move(wheel, wheels / wheel.name)


def main() -> None:
    wheels = Path(sys.argv[1])
    wheels.mkdir(parents=True, exist_ok=True)
    pattern = f"pycuda-{VERSION}-cp{sys.version_info[0]}{sys.version_info[1]}-*.whl"
    if not any(wheels.glob(pattern)):
        build(toolkit(), wheels)
    print(next(wheels.glob(pattern)))


if __name__ == "__main__":
    main()
