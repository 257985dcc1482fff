"""The doctor: every fault that it knows is faked, and the line that says how to mend it is read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from exprc import doctor
from exprc.__main__ import main
from exprc.config import config
from exprc.doctor import FAIL, LOOKS, OK, WARN, Finding
from exprc.errors import CompileError, DeviceError
from exprc.runtime import cache, compiler, cubin, cublas, cuda, cudnn, inventory, libcuda


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A cache folder of its own, and none of the settings of whoever runs the tests."""
    for name in ("EXPRC_CC", "CC", "EXPRC_CPU", "EXPRC_THREADS", "OMP_NUM_THREADS", "EXPRC_CACHE_BYTES", "EXPRC_CC_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EXPRC_CACHE", str(tmp_path / "cache"))


def look(name: str) -> Finding:
    """One finding, as the whole examination makes it."""
    only = {name: LOOKS[name]}
    before, doctor.LOOKS = doctor.LOOKS, only
    try:
        (found,) = doctor.examine()
    finally:
        doctor.LOOKS = before
    return found


def says(found: Finding, status: str, text: str, mend: str) -> None:
    assert (found.status, text in found.text, mend in found.mend) == (status, True, True), found
    assert "\n" not in found.text + found.mend


def program(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


# -- the command


def test_a_sound_installation_is_told_so():
    done = subprocess.run([sys.executable, "-m", "exprc", "doctor", "--json"], capture_output=True, text=True, timeout=120)
    told = json.loads(done.stdout)
    assert done.stderr == "" and done.returncode == (0 if told["ok"] else 1)
    assert [f["name"] for f in told["findings"]] == list(LOOKS)
    by_name = {f["name"]: f for f in told["findings"]}
    assert by_name["versions"]["status"] == "OK" and by_name["versions"]["details"]["numpy"]
    assert all(f["mend"] or f["status"] == "OK" for f in told["findings"])


def test_the_exit_status_is_1_where_something_fails(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  compiler" in shown and "mend: install one: apt install gcc" in shown and "2 FAIL" in shown


def test_every_look_says_something_here():
    for name in LOOKS:
        found = look(name)
        assert found.name == name and found.text and found.status in (OK, WARN, FAIL)
        assert (found.mend == "") == (found.status == OK), found


def test_a_look_that_breaks_down_does_not_end_the_others(monkeypatch):
    def broken() -> Finding:
        raise RuntimeError("out of order\n  try again")

    monkeypatch.setattr(doctor, "LOOKS", {"first": broken, "GPU": LOOKS["GPU"]})
    first, second = doctor.examine()
    says(first, FAIL, "out of order", "try again")
    assert second.name == "GPU" and not doctor.healthy([first, second]) and doctor.healthy([second])


# -- GPUs

ONE = libcuda.Gpu(0, "Some GPU", 80 << 30, (9, 0), 132, 232448)


def fails(error: Exception):
    def work(*_):
        raise error

    return work


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, as far as the doctor can see."""
    monkeypatch.setattr(libcuda, "gpus", lambda: [ONE])
    monkeypatch.setattr(libcuda, "driver_version", lambda: "13.0")
    monkeypatch.setattr(doctor, "_version", lambda name: "2026.1")
    monkeypatch.setattr(cuda, "import_pycuda", lambda: None)
    monkeypatch.setattr(cubin, "find_cuda_compiler", lambda: cubin.CudaCompiler((), "libnvrtc.so.13", "NVRTC 13.0"))
    monkeypatch.setattr(cubin, "compile_cubin", lambda *_: None)


def test_a_machine_with_a_gpu(gpu):
    says(look("driver"), OK, "the NVIDIA driver knows CUDA 13.0 and finds 1 GPU", "")
    says(look("GPU"), OK, "cuda: Some GPU, compute capability 9.0, 132 multiprocessors, 80.0 GiB", "")
    says(look("pycuda"), OK, "pycuda 2026.1", "")
    says(look("CUDA"), OK, "NVRTC (libnvrtc.so.13) compiled a small kernel for sm_90", "")


def test_a_machine_without_a_gpu(monkeypatch):
    monkeypatch.setattr(libcuda, "gpus", fails(DeviceError("no NVIDIA driver found\n  install it")))
    monkeypatch.setattr(doctor, "_has_gpu", lambda: False)
    monkeypatch.setattr(cubin, "find_cuda_compiler", fails(CompileError("no CUDA compiler found\n  pip install it")))
    for name in ("driver", "GPU", "pycuda", "CUDA", "libraries"):
        assert look(name).status == OK
    assert 'device="cuda-emulator" can' in look("driver").text


def test_a_gpu_whose_driver_does_not_work(monkeypatch):
    monkeypatch.setattr(doctor, "_has_gpu", lambda: True)
    monkeypatch.setattr(libcuda, "gpus", fails(DeviceError("the NVIDIA driver does not start: mismatch\n  start the machine again")))
    says(look("driver"), WARN, "the NVIDIA driver does not start: mismatch", "start the machine again")


class FakeCublas:
    """As much of the library as tells its version."""

    def cublasGetProperty(self, which, value):  # noqa: N802
        value[0] = (13, 1, 2)[which]


def test_libraries_that_compute_in_the_place_of_kernels(gpu, monkeypatch):
    monkeypatch.setattr(cublas, "library", lambda: (FakeCublas(), "lib/libcublas.so.13"))
    monkeypatch.setattr(cudnn, "library", lambda: (None, ""))
    monkeypatch.setattr(libcuda, "driver_version", lambda: "13.0")
    says(look("libraries"), OK, "cuBLAS 13.1.2, cuDNN not found; config.cuda_libraries is 'off'", "")
    with config.override(cuda_libraries="auto"):
        says(look("libraries"), OK, "config.cuda_libraries is 'auto'", "")
    with config.override(cuda_libraries="cublas,cudnn"):
        what, mend = "config.cuda_libraries asks for cuDNN, which is not found", "pip install nvidia-cudnn-cu13"
        says(look("libraries"), WARN, what, mend)
    assert look("libraries").details == {"cublas": {"version": "13.1.2", "path": "lib/libcublas.so.13"}, "cudnn": None}


def test_a_gpu_without_pycuda(gpu, monkeypatch):
    monkeypatch.setattr(cuda, "import_pycuda", fails(DeviceError("pycuda is not installed\n  pip install 'exprc[cuda]'")))
    says(look("pycuda"), WARN, "pycuda is not installed", "pip install 'exprc[cuda]'")
    monkeypatch.setattr(doctor, "_version", lambda name: "2024.1")
    says(look("pycuda"), WARN, "pycuda 2024.1 is too old for CUDA 13", "pip install -U 'exprc[cuda]'")


def test_a_gpu_without_a_compiler_or_with_one_that_fails(gpu, monkeypatch):
    monkeypatch.setattr(cubin, "compile_cubin", fails(CompileError("nvcc failed: exit status 1\n  look closer\n  it said nothing")))
    says(look("CUDA"), WARN, "nvcc failed: exit status 1", "look closer it said nothing")
    monkeypatch.setattr(cubin, "find_cuda_compiler", fails(CompileError("no CUDA compiler found\n  pip install nvidia-cuda-nvrtc")))
    says(look("CUDA"), WARN, "no CUDA compiler found", "pip install nvidia-cuda-nvrtc")


# -- versions


def test_versions_that_are_too_old_or_missing(monkeypatch):
    def version(name):
        if name == "cffi":
            raise metadata.PackageNotFoundError(name)
        return "1.26.4"

    monkeypatch.setattr(metadata, "version", version)
    found = look("versions")
    says(found, FAIL, "numpy 1.26.4", "pip install 'numpy>=2.0' 'cffi>=1.17'")
    assert "cffi missing" in found.text


# -- compiler


def test_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    says(look("compiler"), FAIL, "no C compiler found", "apt install gcc")
    assert "NumPy interpreter" in look("compiler").text
    says(look("build"), FAIL, "no program can be built", "mend the compiler")
    says(look("OpenMP"), WARN, "not tried", "mend the compiler")


def test_a_compiler_that_is_not_there(monkeypatch):
    monkeypatch.setenv("EXPRC_CC", "no-such-compiler")
    says(look("compiler"), FAIL, "EXPRC_CC names the compiler 'no-such-compiler'", "correct EXPRC_CC")


def test_a_compiler_that_answers_and_builds_nothing(monkeypatch, tmp_path):
    script = 'case "$1" in --version) echo "gcc (fake) 1.0";; *) echo "it is broken" >&2; exit 1;; esac'
    monkeypatch.setenv("EXPRC_CC", str(program(tmp_path, "broken-cc", script)))
    assert look("compiler").status == OK
    says(look("build"), FAIL, "the C compiler failed: exit status 1", "it is broken")


def test_a_compiler_that_builds_what_computes_nonsense(monkeypatch):
    monkeypatch.setattr(doctor, "_run", lambda _: 7)
    says(look("build"), FAIL, "gave 7 instead of 2058", "EXPRC_CC")


def test_no_openmp(monkeypatch):
    monkeypatch.setattr(compiler, "openmp_works", lambda _: False)
    says(look("OpenMP"), WARN, "functions use one thread", "install libgomp (gcc) or libomp-dev (clang)")


# -- CPU, threads


def test_a_cpu_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("EXPRC_CPU", "sse9")
    says(look("CPU"), FAIL, "EXPRC_CPU is 'sse9', which is none of avx512", "unset it")


def test_a_cpu_without_vectors(monkeypatch):
    monkeypatch.setenv("EXPRC_CPU", "scalar")
    says(look("CPU"), WARN, "programs are made for scalar", "unset EXPRC_CPU")


def test_threads_that_are_no_number(monkeypatch):
    monkeypatch.setenv("EXPRC_THREADS", "many")
    says(look("threads"), FAIL, "EXPRC_THREADS is 'many'", "whole number")


def test_more_threads_than_cpus(monkeypatch):
    monkeypatch.setenv("EXPRC_THREADS", "4000")
    says(look("threads"), WARN, "4000 threads", "ask for at most")


# -- folders


def failing(number: int):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_read_only_cache(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(errno.EROFS))
    says(look("cache"), WARN, "cannot be written (Read-only file system): every process compiles anew", "EXPRC_CACHE")
    says(look("temporary"), FAIL, "cannot be written: Read-only file system", "TMPDIR")


def test_a_full_disk(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(errno.ENOSPC))
    says(look("cache"), WARN, "No space left on device", "free some space")


def test_a_disk_that_is_nearly_full(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    says(look("cache"), WARN, "only 976.6 KiB free", "free some space")


def test_a_cache_that_others_can_write(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o777)
    (tmp_path / "cache").chmod(0o777)
    says(look("cache"), WARN, "can be written by others", "make it yours alone")


def test_a_cache_that_is_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    says(look("cache"), WARN, "is a symbolic link", "name another folder in EXPRC_CACHE")


def test_a_cache_of_someone_else(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setattr(cache, "_user", lambda: 54321)
    says(look("cache"), WARN, "not to user 54321", "chown")


def test_a_relative_cache_folder(monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE", "some/folder")
    says(look("cache"), WARN, "is not an absolute path", "EXPRC_CACHE")


def test_a_limit_that_is_no_number(monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE_BYTES", "plenty")
    says(look("cache"), FAIL, "EXPRC_CACHE_BYTES is 'plenty'", "for example 1000000000")


def test_looking_makes_no_cache_folder(tmp_path):
    assert look("cache").status in (OK, WARN) and inventory.inventory().entries == []
    assert not (tmp_path / "cache").exists()


def test_no_temporary_folder(monkeypatch):
    def none():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    says(look("temporary"), FAIL, "No usable temporary directory", "TMPDIR")
