"""Every CUDA text that the catalogue gives is compiled for GPUs of three generations; none of them is needed for that."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import build
from exprc.compiled import Compiled
from exprc.errors import CompileError, DeviceError
from exprc.ops import CATALOGUE
from exprc.runtime import cubin
from exprc.runtime.cubin import compile_cubin, find_cuda_compiler
from exprc.runtime.launch import CUDA, precisions
from tests.cuda.test_catalogue import GROUPS
from tests.ops.matrix import cases


def compiler_is_missing() -> str:
    try:
        find_cuda_compiler()
    except (CompileError, DeviceError) as error:
        return str(error).splitlines()[0]
    return ""


def made(names: Sequence[str]) -> Any:
    """The programs of all cases of some records; known shapes are compiled at once."""
    found = [c for name in names for c in cases(CATALOGUE[name], full=False)]
    inputs, nodes = [x for c in found for x in c.inputs], [n for c in found for n in c.nodes]
    return exprc.function(inputs, nodes, on_unused_input="ignore", device="cuda")._compiled


def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a GPU in the machine that only takes the texts of programs; they come in the list."""
    texts: list[str] = []

    def load(text: str, flush: bool) -> Any:
        texts.append(text)
        return SimpleNamespace(cached=False, compile_seconds=0.0)

    device = SimpleNamespace(name="cuda", target=CUDA, precisions=precisions((9, 0)), load=load, may_ask=[].append, libraries=tuple)
    monkeypatch.setattr(build, "open_device", lambda name: device)
    return texts


@pytest.mark.emulator
def test_the_emulator_reads_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text that is proven here is the one that a GPU runs."""
    x, w = T.matrix("x", shape=(5, 7)), exprc.shared(np.ones((7, 3), "float32"), name="w")
    p = T.softmax(T.dot(T.relu(x), w))
    updates = {w: w - 0.1 * exprc.grad(T.log(p).sum(), w)}
    emulated = exprc.function([x], p.sum(0), updates=updates, device="cuda-emulator").source
    texts = taken(monkeypatch)
    exprc.function([x], p.sum(0), updates=updates, device="cuda")
    assert [sha256(text.encode()).hexdigest() for text in texts] == [sha256(emulated.encode()).hexdigest()]


@pytest.mark.long
@pytest.mark.skipif(bool(compiler_is_missing()), reason=compiler_is_missing())
@pytest.mark.parametrize("number", range(len(GROUPS)), ids=lambda k: f"{GROUPS[k][0]}-to-{GROUPS[k][-1]}")
def test_texts_compile(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the H100's architecture (sm_90), and for those before and after it without optimising, which takes half the time."""
    texts = taken(monkeypatch)
    whole = [name for name in GROUPS[number] if isinstance(made([name]), Compiled)]  # the host works between the programs of the others
    texts.clear()
    made(whole)
    assert len(texts) == 1 and len(whole) >= len(GROUPS[number]) // 3
    assert compile_cubin(texts[0], "sm_90", tmp_path).stat().st_size > 1000
    flags = cubin.flags
    monkeypatch.setattr(cubin, "flags", lambda architecture, flush: (*flags(architecture, flush), "--ptxas-options=-O0"))
    for architecture in ("sm_80", "sm_100"):
        assert compile_cubin(texts[0], architecture, tmp_path).stat().st_size > 1000
