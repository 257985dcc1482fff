"""The C and CUDA texts of small programs for fixed Targets, compared with texts in tests/golden that someone has read.

The texts of ``kernels/`` are cut out (their names stay), so that work on a kernel changes no golden text. The machine that runs the
tests has no say: nothing is compiled for them, and the Target is given. ``python -m pytest tests/render --update-golden`` writes them anew.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import build
from exprc.render import c as printer
from exprc.render.base import kernel_folder, kernel_source
from exprc.runtime import cpu
from exprc.runtime.compiler import AVX2, AVX512, Target
from exprc.runtime.launch import CUDA, precisions

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FOLDER = kernel_folder()
KERNELS = sorted(p.relative_to(FOLDER).as_posix() for p in [*FOLDER.glob("c/*.h"), *FOLDER.glob("cuda/*.cuh")])


def chain() -> Any:
    """Elementwise operations and a broadcast vector: one loop."""
    x, b = T.matrix("x", shape=(100, 50)), T.vector("b", shape=(50,))
    return [x, b], T.tanh(x + b) * x - 0.5


def softmax_rows() -> Any:
    """Three passes over a row, which stays in the cache."""
    x = T.matrix("x", shape=(200, 10))
    return [x], T.softmax(x)


def crossentropy_gradient() -> Any:
    """The loss of integer targets and its gradient: no one-hot array, no scatter."""
    x, y = T.matrix("x", shape=(128, 10)), T.ivector("y", shape=(128,))
    loss = -T.log(T.softmax(x))[T.arange(128), y].mean()
    return [x, y], [loss, exprc.grad(loss, x)]


def bias_gradient() -> Any:
    """A sum over rows: columns run in lanes."""
    g, h = T.matrix("g", shape=(128, 256)), T.matrix("h", shape=(128, 256))
    return [g, h], (g * (h > 0)).sum(axis=0)


def channel_statistics() -> Any:
    """Mean and variance over images and places, as in batch normalisation."""
    x = T.tensor4("x", shape=(32, 20, 12, 12))
    return [x], [x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))]


def long_sum() -> Any:
    """A sum to a scalar is cut in parts whose number follows from the size."""
    x = T.matrix("x", shape=(1000, 300))
    return [x], (x * x).sum()


def mlp_step() -> Any:
    """A whole training step: the bias and ReLU in the product's hook, updates in place."""
    x, y = T.matrix("x", shape=(64, 30)), T.ivector("y", shape=(64,))
    shapes = {"w1": (30, 40), "b1": (40,), "w2": (40, 10), "b2": (10,)}
    w1, b1, w2, b2 = params = [exprc.shared(np.zeros(s, "float32"), name=n) for n, s in shapes.items()]
    p = T.softmax(T.dot(T.relu(T.dot(x, w1) + b1), w2) + b2)
    loss = -T.log(p)[T.arange(64), y].mean()
    updates = [(w, w - 0.1 * g) for w, g in zip(params, exprc.grad(loss, params))]
    return [x, y], loss, updates


NETS = [chain, softmax_rows, crossentropy_gradient, bias_gradient, channel_statistics, long_sum, mlp_step]


def text_of(net: Callable[[], Any], target: Target, monkeypatch: pytest.MonkeyPatch) -> str:
    """Render for a Target, in one unit, without compiling."""
    monkeypatch.setattr(cpu, "host_target", lambda: target)
    monkeypatch.setattr(cpu, "load", lambda texts, target: SimpleNamespace(cached=False, path="", run=None))
    monkeypatch.setattr(printer, "UNITS", 10**6)
    inputs, outputs, *updates = net()
    (text,) = exprc.function(inputs, outputs, updates=updates[0] if updates else None)._compiled.last.text
    return text


def cuda_text_of(net: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Render for a GPU that is not there."""
    loaded = SimpleNamespace(cached=False, compile_seconds=0.0)
    known = {"name": "cuda", "target": CUDA, "precisions": precisions((9, 0)), "may_ask": [].append, "libraries": tuple}
    device = SimpleNamespace(**known, load=lambda text, flush: loaded)
    monkeypatch.setattr(build, "open_device", lambda name: device)
    inputs, outputs, *updates = net()
    (text,) = exprc.function(inputs, outputs, updates=updates[0] if updates else None, device="cuda")._compiled.last.text
    return str(text)


def without_kernels(text: str) -> str:
    """Put the name of each pasted text in its place."""
    for name in KERNELS:
        text = text.replace(kernel_source(name), f"<the text of kernels/{name}>\n")
    return text


def compare(text: str, name: str, request: pytest.FixtureRequest) -> None:
    file = GOLDEN / name
    if request.config.getoption("--update-golden", default=False):
        file.write_text(text, encoding="utf-8")
    lines = file.read_text(encoding="utf-8").splitlines()
    difference = "\n".join(difflib.unified_diff(lines, text.splitlines(), f"tests/golden/{file.name}", "rendered", lineterm="", n=2))
    assert not difference, f"{difference}\nIf this is meant: python -m pytest tests/render --update-golden"


@pytest.mark.parametrize("target", [AVX512, AVX2], ids=lambda t: t.name)
@pytest.mark.parametrize("net", NETS, ids=lambda n: n.__name__)
def test_golden(net: Callable[[], Any], target: Target, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    compare(without_kernels(text_of(net, target, monkeypatch)), f"{net.__name__}_{target.name}.c", request)


@pytest.mark.parametrize("net", NETS, ids=lambda n: n.__name__)
def test_golden_cuda(net: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    compare(without_kernels(cuda_text_of(net, monkeypatch)), f"{net.__name__}.cu", request)


@pytest.mark.parametrize("net", NETS, ids=lambda n: n.__name__)
def test_the_text_is_the_same_every_time(net: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """No address and no order of a set gets into it: the text is the key of the cache."""
    assert text_of(net, AVX512, monkeypatch) == text_of(net, AVX512, monkeypatch)
    assert cuda_text_of(net, monkeypatch) == cuda_text_of(net, monkeypatch)


def test_pasted_texts_are_whole_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of(mlp_step, AVX512, monkeypatch)
    assert kernel_source("c/scalar.h") in text and kernel_source("c/gemm.h") in text
    cuda = without_kernels(cuda_text_of(mlp_step, monkeypatch))
    assert "#include" not in cuda and cuda.count("<the text of kernels/cuda/prelude.cuh>") == 1
    assert "<the text of kernels/cuda/gemm.cuh>" in cuda
    cut = without_kernels(text)
    assert cut.count("<the text of kernels/c/scalar.h>") == 1 and cut.count("<the text of kernels/c/gemm.h>") >= 3
    assert len(cut.splitlines()) < 1000


def test_nothing_of_the_users_gets_into_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    name = '*/ system("evil"); /*'

    def net() -> Any:
        x = T.vector(name, shape=(4,))
        w = exprc.shared(np.ones(4, "float32"), name=name)
        y = x * w
        y.name = name
        return [x], y.sum()

    for text in (text_of(net, AVX2, monkeypatch), cuda_text_of(net, monkeypatch)):
        assert "evil" not in text and "test_golden" not in text


@pytest.mark.parametrize("name", ["avx2", "scalar"])
def test_programs_for_lesser_cpus_run_here(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPRC_CPU", name)
    try:
        assert cpu.host_target().name == name
    except ValueError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    for net in (softmax_rows, crossentropy_gradient, channel_statistics):
        inputs, outputs = net()
        values = [(rng.integers(0, 10, x.type.shape) if x.dtype == "int32" else rng.standard_normal(x.type.shape)).astype(x.dtype)
                  for x in inputs]  # fmt: skip
        made = [exprc.function(inputs, outputs, mode=mode)(*values) for mode in ("compiled", "reference")]
        for got, wanted in zip(*(m if isinstance(m, list) else [m] for m in made)):
            np.testing.assert_allclose(got, wanted, 1e-5, 1e-5)
