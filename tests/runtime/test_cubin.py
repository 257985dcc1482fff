"""CUDA text to machine code: finding NVRTC or nvcc, compiling, the cache, and what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exprc.errors import CompileError
from exprc.runtime import cache, cubin, inventory

TEXT = 'extern "C" __global__ void scale(float *x, long long n) { if (threadIdx.x < n) x[threadIdx.x] *= 2.0f / 3.0f; }\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A cache of its own, and an environment that names no compiler."""
    for name in ("EXPRC_NVCC", "EXPRC_CC_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EXPRC_CACHE", str(tmp_path / "cache"))


def script(folder: Path, *lines: str) -> str:
    """A program of shell that plays nvcc."""
    path = folder / "nvcc"
    path.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo release 13.0 && exit\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return str(path)


def real(kind: str) -> None:
    """Choose NVRTC or nvcc, or skip."""
    library = cubin._find_nvrtc()
    if kind == "NVRTC" and library is None:
        pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc)")
    if kind == "nvcc":
        command = cubin._find_nvcc()
        if command is None:
            pytest.skip("nvcc is not installed")
        os.environ["EXPRC_NVCC"] = command[0]


@pytest.mark.parametrize("kind", ["NVRTC", "nvcc"])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_a_text_becomes_machine_code_once(kind, architecture, monkeypatch):
    monkeypatch.setenv("EXPRC_NVCC", "")
    real(kind)
    first, second = (cubin.load_cubin(TEXT, architecture) for _ in range(2))
    assert first.code.startswith(b"\x7fELF") and first.code == second.code
    assert (first.cached, second.cached, second.compile_seconds) == (False, True, 0.0) and first.compile_seconds > 0
    assert cubin.find_cuda_compiler().kind == kind
    held = inventory.inventory()
    assert [e.kind for e in held.entries if e.kind != "blobs"] == ["programs"] and not held.strangers


@pytest.mark.parametrize("kind", ["NVRTC", "nvcc"])
def test_a_text_that_is_refused_is_saved_and_the_compiler_quoted(kind, monkeypatch):
    monkeypatch.setenv("EXPRC_NVCC", "")
    real(kind)
    with pytest.raises(CompileError, match=f"^{kind} failed: ") as caught:
        cubin.load_cubin("\nnonsense here;\n", "sm_90")
    text = str(caught.value)
    assert 'unit0.cu(2): error: identifier "nonsense" is undefined' in text
    saved = Path(next(line.split()[1] for line in text.splitlines() if line.startswith("  source")))
    assert saved.read_text() == "\nnonsense here;\n" and saved.name == "unit0.cu"


@pytest.mark.parametrize("kind", ["NVRTC", "nvcc"])
def test_an_architecture_that_the_compiler_does_not_know(kind, monkeypatch):
    monkeypatch.setenv("EXPRC_NVCC", "")
    real(kind)
    with pytest.raises(CompileError, match="the GPU is newer than the compiler: pip install -U nvidia-cuda-nvrtc"):
        cubin.load_cubin(TEXT, "sm_999")


def test_the_flags_keep_single_precision_whole():
    told = cubin.flags("sm_90")
    assert {"--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--fmad=true"} <= set(told)
    assert not any("fast" in flag for flag in told)


def test_the_key_holds_all_that_the_code_depends_on(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRC_NVCC", script(tmp_path, "exit 1"))
    keys = [cubin.key(TEXT, "sm_90"), cubin.key(TEXT, "sm_80"), cubin.key(TEXT + " ", "sm_90"), cubin.key(TEXT, "sm_90", flush=True)]
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("EXPRC_NVCC", script(other, "exit 2"))
    assert len({*keys, cubin.key(TEXT, "sm_90")}) == 5


def test_a_damaged_entry_is_built_again(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRC_NVCC", script(tmp_path, 'printf code > program.cubin'))
    assert cubin.load_cubin(TEXT, "sm_90").code == b"code"
    entry = cache.lookup(cubin.key(TEXT, "sm_90"), cache.CUBIN)
    assert entry is not None and (entry.folder / "unit0.cu").read_text() == TEXT
    entry.program.write_bytes(b"kode")
    again = cubin.load_cubin(TEXT, "sm_90")
    assert (again.code, again.cached) == (b"code", False)


def test_programs_of_the_cpu_and_of_a_gpu_do_not_answer_for_each_other():
    key = "a" * 64
    cache.build(key, lambda folder: (folder / "program.cubin").write_bytes(b"x"), cache.CUBIN)
    assert cache.lookup(key, cache.CUBIN) is not None and cache.lookup(key) is None


FAULTS = {
    "exit": ("echo 'nvcc fatal: no'; exit 3", "nvcc failed: exit status 3", "nvcc fatal: no"),
    "nothing": ("exit 0", "it reported success but wrote no program", "is it nvcc at all? EXPRC_NVCC names another one"),
    "hang": ("sleep 60", "it did not finish in 0.5 s", "give it more time, or compile a smaller function"),
    "old gcc": ("echo 'error: -- unsupported GNU version! gcc 15'; exit 1", "exit status 1", "pip install nvidia-cuda-nvrtc"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_nvcc_that_fails(name, monkeypatch, tmp_path):
    line, what, mend = FAULTS[name]
    monkeypatch.setenv("EXPRC_NVCC", script(tmp_path, line))
    cubin.find_cuda_compiler()
    monkeypatch.setenv("EXPRC_CC_TIMEOUT", "0.5" if name == "hang" else "30")
    with pytest.raises(CompileError) as caught:
        cubin.load_cubin(TEXT, "sm_90")
    text = str(caught.value)
    assert what in text and mend in text and "--gpu-architecture=sm_90" in text


def test_an_nvcc_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("EXPRC_NVCC", "no-such-nvcc")
    with pytest.raises(CompileError, match="EXPRC_NVCC names 'no-such-nvcc', which does not exist\n  correct EXPRC_NVCC, or unset it"):
        cubin.find_cuda_compiler()


def test_no_compiler_at_all(monkeypatch, tmp_path):
    monkeypatch.setattr(cubin, "_toolkit", lambda pattern: [])
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompileError) as caught:
        cubin.find_cuda_compiler()
    assert str(caught.value) == (
        "no CUDA compiler found: neither the library NVRTC nor nvcc\n"
        "  pip install nvidia-cuda-nvrtc; or install the CUDA toolkit and name its nvcc in EXPRC_NVCC"
    )


def test_nvrtc_in_a_package_comes_before_nvcc(monkeypatch, tmp_path):
    library = tmp_path / "nvidia" / "cu13" / "lib" / "libnvrtc.so.13"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"no library")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cubin._find_nvrtc() == library
    with pytest.raises(CompileError, match="NVRTC cannot be loaded: .*\n  library  .*libnvrtc.so.13\n  pip install --force-reinstall"):
        cubin.find_cuda_compiler()
    monkeypatch.setenv("EXPRC_NVCC", script(tmp_path))
    assert cubin.find_cuda_compiler().kind == "nvcc"


def test_many_processes_compile_a_text_once(monkeypatch, tmp_path):
    counter = tmp_path / "count"
    monkeypatch.setenv("EXPRC_NVCC", script(tmp_path, f"echo x >> {counter}; sleep 0.5; printf code > program.cubin"))
    program = f"from exprc.runtime import cubin; print(cubin.load_cubin({TEXT!r}, 'sm_90').code)"
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [p.communicate()[0] for p in running] == ["b'code'\n"] * 3
    assert counter.read_text() == "x\n"
