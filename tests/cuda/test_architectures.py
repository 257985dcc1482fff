"""Every CUDA text that the catalogue gives is compiled for GPUs of three generations; none of them is needed for that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import exprc
from exprc import build
from exprc.compiled import Compiled
from exprc.errors import CompileError, DeviceError
from exprc.ops import CATALOGUE
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


@pytest.mark.long
@pytest.mark.skipif(bool(compiler_is_missing()), reason=compiler_is_missing())
@pytest.mark.parametrize("number", range(len(GROUPS)), ids=lambda k: f"{GROUPS[k][0]}-to-{GROUPS[k][-1]}")
def test_texts_compile(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All for the H100's architecture (sm_90), every third one for sm_80 and sm_100 too: some take most of a minute each."""
    texts: list[str] = []

    def load(text: str, flush: bool) -> Any:
        texts.append(text)
        return SimpleNamespace(cached=False, compile_seconds=0.0)

    device = SimpleNamespace(name="cuda", target=CUDA, precisions=precisions((9, 0)), load=load, idle=set(), libraries=tuple)
    monkeypatch.setattr(build, "open_device", lambda name: device)
    whole = [name for name in GROUPS[number] if isinstance(made([name]), Compiled)]  # the host works between the programs of the others
    texts.clear()
    made(whole)
    assert len(texts) == 1 and len(whole) >= len(GROUPS[number]) // 3
    for text in texts:
        for architecture in ("sm_80", "sm_90", "sm_100") if number % 3 == 0 else ("sm_90",):
            assert compile_cubin(text, architecture, tmp_path).stat().st_size > 1000
