"""exprc.device.list(): what there is, and what is missing."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import exprc
from exprc.errors import CompileError, DeviceError
from exprc.runtime import cubin, cuda, libcuda

ONE = libcuda.Gpu(0, "Some GPU", 80 << 30, (9, 0), 132, 232448)
TWO = libcuda.Gpu(1, "Another GPU", 8 << 30, (8, 6), 28, 101376)


def listed(**how):
    return {device.name: device for device in exprc.device.list(**how)}


def raiser(error):
    def work(*_):
        raise error

    return work


def test_the_cpu_and_the_emulator_are_always_there():
    found = listed()
    assert list(found)[0] == "cpu" and "cuda-emulator" in found
    assert found["cpu"].memory > 0 and all(device.missing == "" for device in found.values())


def test_gpus_that_can_be_used(monkeypatch):
    monkeypatch.setattr(libcuda, "gpus", lambda: [ONE, TWO])
    monkeypatch.setattr(cuda, "import_pycuda", lambda: None)
    monkeypatch.setattr(cubin, "find_cuda_compiler", lambda: None)
    found = listed()
    assert list(found) == ["cpu", "cuda", "cuda1", "cuda-emulator"]
    assert found["cuda1"].capability == (8, 6) and found["cuda"].memory == 80 << 30
    assert str(found["cuda"]) == "cuda           Some GPU, compute capability 9.0, 132 multiprocessors, 80.0 GiB"


@pytest.mark.parametrize("room, name, error", [
    (libcuda, "gpus", DeviceError("no NVIDIA driver found\n  install it")),
    (cuda, "import_pycuda", DeviceError("no pycuda\n  install it")),
    (cubin, "find_cuda_compiler", CompileError("no CUDA compiler\n  install it")),
])  # fmt: skip
def test_a_gpu_that_cannot_be_used_says_why(monkeypatch, room, name, error):
    monkeypatch.setattr(libcuda, "gpus", lambda: [ONE])
    monkeypatch.setattr(cuda, "import_pycuda", lambda: None)
    monkeypatch.setattr(cubin, "find_cuda_compiler", lambda: None)
    monkeypatch.setattr(room, name, raiser(error))
    assert "cuda" not in listed()
    found = listed(missing=True)["cuda"]
    assert found.missing == str(error).replace("\n  ", "; ") and "not usable: no" in str(found)


def test_the_page_about_gpus_runs():
    page = Path(__file__).parents[1] / "docs" / "gpu.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0 and tried >= 4


def test_nothing_of_cuda_is_imported_before_it_is_asked_for():
    program = "import exprc, sys; print([m for m in sys.modules if 'pycuda' in m or 'runtime.cu' in m or 'libcuda' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
