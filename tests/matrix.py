"""The suite on several Pythons, each in a fresh virtual environment: from the source tree and from a built wheel.

::

    python tests/matrix.py                              # Python 3.10 to 3.13, those that there are; the whole default suite
    python tests/matrix.py --python 3.12 -- tests/nn    # one of them; arguments after -- go to pytest
    python tests/matrix.py --only wheel -- tests/ops/test_conv.py

The wheel is installed without the source tree beside it: its tests run from a folder that holds only the tests (and what they read
of the repository), so that whatever the wheel lacks, `kernels` among it, is missed. A table of what came out ends the run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
#: What tests read beside the package, and tests of the repository itself, which a wheel does not hold.
BESIDE = ("tests", "examples", "benchmarks", "docs", "README.md", "SECURITY.md", "CHANGELOG.md", "pyproject.toml", "CONTRIBUTING.md")
OF_THE_REPOSITORY = ("test_house.py", "test_kernels.py", "test_benchmarks.py", "test_readme.py")


@dataclass
class Row:
    """How one Python and one way of installing came out."""

    version: str
    source: str
    result: str
    seconds: float
    good: bool

    def __str__(self) -> str:
        return f"{self.version:<8} {self.source:<7} {'ok' if self.good else 'FAILED':<7} {self.seconds:6.0f} s  {self.result}"


def interpreter(version: str) -> str | None:
    """A Python of this version that can make virtual environments: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True))]
    probe = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for found in filter(None, candidates):
        asked = subprocess.run([found, "-c", probe], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout.strip() == version:
            return found
    return None


def environment(python: str, folder: Path) -> Path:
    """A fresh virtual environment; its Python."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return folder / "bin" / "python"


def install(python: Path, *what: str) -> None:
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], check=True)


def build_wheel(python: Path, folder: Path) -> Path:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([str(python), "-m", "pip", "wheel", *quiet, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def beside(folder: Path) -> Path:
    """A folder with the tests but without the package."""
    for name in BESIDE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy2(source, folder / name)
    return folder


def run_suite(python: Path, where: Path, arguments: Sequence[str], scratch: Path) -> tuple[str, bool]:
    """Run pytest; the last line of what it says, and whether all is well."""
    told = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    kept["EXPRC_CACHE"] = str(scratch / "cache")
    done = subprocess.run(told, cwd=where, env=kept, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        print("\n".join(lines[-40:]), done.stderr[-2000:], sep="\n")
    last = re.sub(r"=+", "", lines[-1]).strip() if lines else done.stderr.strip()[-200:]
    return last, done.returncode == 0


def try_one(version: str, python: str, source: str, arguments: Sequence[str]) -> Row:
    """One row of the table."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="exprc-matrix-") as made:
        scratch = Path(made)
        try:
            fresh = environment(python, scratch / "venv")
            if source == "wheel":
                install(fresh, f"{build_wheel(fresh, scratch / 'wheel')}[test]")
                where = beside(scratch / "beside")
                left_out = [f"--ignore=tests/{name}" for name in OF_THE_REPOSITORY]
                result, good = run_suite(fresh, where, [*(arguments or ["tests"]), *left_out], scratch)
            else:
                install(fresh, "-e", f"{ROOT}[test]")
                result, good = run_suite(fresh, ROOT, arguments, scratch)
        except subprocess.CalledProcessError as error:
            result, good = f"could not be set up: {error}", False
    return Row(version, source, result, time.monotonic() - begin, good)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", choices=VERSIONS, help="a version; all by default")
    parser.add_argument("--only", choices=("source", "wheel"), help="one way of installing; both by default")
    parser.add_argument("arguments", nargs="*", help="for pytest")
    asked = parser.parse_args()
    rows = []
    for version in asked.python or VERSIONS:
        python = interpreter(version)
        for source in (asked.only,) if asked.only else ("source", "wheel"):
            missing = Row(version, source, "not on this machine: not tried", 0, True)
            rows.append(try_one(version, python, source, asked.arguments) if python else missing)
            print(rows[-1], flush=True)
    print("\nPython   from    result    time  pytest\n" + "\n".join(map(str, rows)))
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
