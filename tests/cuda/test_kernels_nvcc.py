"""nvcc reads the texts of kernels/cuda as well as the emulator does, and keeps what they sum up in registers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from exprc.ops.tiled import MATRIX
from tests.cuda.pasted import Paste, module_text
from tests.cuda.test_kernels import CONVOLUTIONS, GEMMS, RECORDS, conv_paste, gemm_case
from tests.cuda.test_kernels_of_windows_and_rows import POOLS, RUNNING, SCATTERS, pool_case, running_case, scatter_case

pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")


def products() -> list[Paste]:
    """One of each text, with the tiles of large products and of small ones, by threads and by matrix instructions."""
    pastes = [gemm_case(0, "gemm", (1, 512, 512, 512), "", "float32", ())[0], gemm_case(1, *("gemm", *GEMMS[2]))[0]]
    for kind in RECORDS:
        name = "conv2d_grad_weight" if kind == "conv2d_grad_weight" else "conv2d"
        pastes.append(conv_paste(len(pastes), kind, name, CONVOLUTIONS[2])[0])
        pastes += [conv_paste(len(pastes) + i, kind, f"{name}_{p}", CONVOLUTIONS[4])[0] for i, p in enumerate(MATRIX)]
    large = [gemm_case(len(pastes) + i, f"gemm_{p}", (1, 2048, 2048, 64), "", "float32", ())[0] for i, p in enumerate(MATRIX)]
    return [*pastes, *large]


def others() -> list[Paste]:
    scattered = [scatter_case(20 + i, *SCATTERS[i])[0] for i in (0, 1, 4)]
    running = [running_case(0, mode, *RUNNING[3])[0] for mode in range(3)]
    return [*(paste for paste, _, _ in pool_case(9, *POOLS[1])), *scattered, *running]


@pytest.mark.parametrize("architecture", ["sm_90", *(pytest.param(a, marks=pytest.mark.long) for a in ("sm_80", "sm_100"))])
def test_nvcc_compiles_the_texts_without_a_warning(architecture: str, tmp_path: Path) -> None:
    pastes = [*products(), *others()]
    (tmp_path / "module.cu").write_text(module_text(pastes))
    strict = ["-Werror=all-warnings", "-Xptxas", "-v"]
    command = ["nvcc", "-std=c++20", *strict, "-cubin", f"-arch={architecture}", "module.cu", "-o", "module.cubin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spilled = dict(re.findall(r"entry function '(\w+)'.*?(\d+) bytes spill stores", done.stderr, re.DOTALL))
    assert set(spilled) == {p.name for p in pastes}
    assert {p.name: spilled[p.name] for p in pastes if not p.given and int(spilled[p.name]) > 128} == {}  # sums would be more


@pytest.mark.parametrize(("architecture", "there"), [("sm_75", False), ("sm_80", True)])
def test_products_are_copied_where_a_gpu_can(architecture: str, there: bool, tmp_path: Path) -> None:
    """GPUs before compute capability 8.0 have no cp.async: there the same text goes by registers."""
    paste = gemm_case(0, "gemm", (1, 512, 512, 512), "", "float32", ())[0]
    (tmp_path / "module.cu").write_text(module_text([paste]))
    command = ["nvcc", "-std=c++17", "-Werror=all-warnings", "--ptx", f"-arch={architecture}", "module.cu", "-o", "module.ptx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("cp.async" in (tmp_path / "module.ptx").read_text()) == there
    assert paste.sizes["STAGES"] > 2
