"""Every operation, its gradient, and random graphs on CUDA devices: the emulator in every run, a GPU with ``pytest -m cuda``.

The cases and the bounds are those of the CPU (`tests.ops.matrix`, `tests.fuzz`): the NumPy interpreter is the oracle of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Expr
from exprc.forms import Kernel
from exprc.ops import CATALOGUE
from tests.cuda.devices import DEVICES, EMULATOR, there
from tests.fuzz.runs import batches, run_batch
from tests.ops.matrix import Case, cases, check, run

#: Records that share a program; graphs of a run, how many the default suite takes, and how many share a program.
BATCH, GRAPHS, DEFAULT, TOGETHER = 12, 500, 100, 50
NAMES = [*CATALOGUE]
GROUPS = [tuple(NAMES[k : k + BATCH]) for k in range(0, len(NAMES), BATCH)]
#: Gradients share a program with those of more records: many have none.
WIDE = [tuple(NAMES[k : k + 3 * BATCH]) for k in range(0, len(NAMES), 3 * BATCH)]


def hold(names: Sequence[str], device: str, known: bool = True, full: bool = False) -> None:
    with exprc.config.override(device=there(device)):
        made = run(names, known, full)
    for name in names:
        for found in made.found[name]:
            check(CATALOGUE[name], found)
        assert made.layouts[name] == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: f"{names[0]}-to-{names[-1]}")
def test_the_device_is_the_interpreter(names: tuple[str, ...], device: str) -> None:
    hold(names, device)


@pytest.mark.long
@pytest.mark.parametrize("device", [EMULATOR])
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: f"{names[0]}-to-{names[-1]}")
def test_every_access_is_checked(names: tuple[str, ...], device: str) -> None:
    """In the checking build: no race, no wrong address, no read of what nothing wrote, no barrier that a thread does not reach."""
    with exprc.config.override(emulator="check", emulator_order="random"):
        hold(names, device)


@pytest.mark.long
@pytest.mark.emulator
def test_every_access_of_gradients_and_random_graphs_is_checked() -> None:
    with exprc.config.override(emulator="check", emulator_order="random"):
        for names in WIDE:
            hold_gradients(names, "cuda-emulator")
        for seeds, general in batches(0, DEFAULT, TOGETHER):
            compare(seeds, general, "cuda-emulator")


@pytest.mark.parametrize("device", DEVICES)
def test_sizes_as_arguments(device: str) -> None:
    some = ("sum", "argmax", "softmax", "take", "concatenate", "gemm", "conv2d", "cumsum", "var")
    hold([n for n in NAMES if n in some], device, known=False)


def test_nothing_of_the_catalogue_is_left_to_the_cpu() -> None:
    """Each kernel record with a text for the CPU has one for CUDA; what NumPy computes on the host is the host's on every device."""
    kernels = [op for op in CATALOGUE.values() if isinstance(op, Kernel) and op.implementations]
    assert kernels and [op.name for op in kernels if all(i.device == "cpu" for i in op.implementations)] == []


# -- gradients -------------------------------------------------------------------------------------------------------------------------


def float_cases(names: Sequence[str]) -> Iterator[tuple[str, Case]]:
    for name in names:
        made = [c for c in cases(CATALOGUE[name], full=False) if c.dtype == "float32" and c.nodes[0].dtype == "float32"]
        yield from ((name, c) for c in made[:3])


def gradients(case: Case) -> list[Expr]:
    """The gradients of a sum of the results, each element with a weight of its own."""
    costs = [(n * (1 + T.arange(n.size, dtype="float32").reshape(n.shape) % 7)).sum() for n in case.nodes if n.dtype == "float32"]
    floats = [x for x in case.inputs if x.dtype == "float32"]
    try:
        return list(exprc.grad(sum(costs[1:], costs[0]), floats, disconnected_inputs="ignore"))
    except (ValueError, NotImplementedError, TypeError):  # no gradient is defined
        return []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("names", WIDE, ids=lambda n: f"{n[0]}-to-{n[-1]}")
def test_gradients(names: tuple[str, ...], device: str) -> None:
    """The gradient of every record as the CPU computes it, within 64 units of the largest magnitude."""
    hold_gradients(names, device)


def hold_gradients(names: Sequence[str], device: str) -> None:
    found = [(name, c, g) for name, c in float_cases(names) for g in gradients(c)]
    values: dict[Any, Any] = {x: a for _, c, _ in found for x, a in c.inputs.items()}
    outputs = [g for *_, g in found]
    assert outputs
    on = exprc.function(list(values), outputs, on_unused_input="ignore", device=there(device))(*values.values())
    off = exprc.function(list(values), outputs, on_unused_input="ignore", device="cpu")(*values.values())
    for (name, c, _), a, b in zip(found, on, off):
        with np.errstate(all="ignore"):
            finite = np.isfinite(b)
            assert (np.isfinite(a) == finite).all(), f"{name}: {c.label}"
            bound = 64 * np.finfo("float32").eps * np.max(np.abs(b[finite]), initial=1)
            assert np.max(np.abs(a[finite] - b[finite]), initial=0) <= bound, f"{name}: {c.label}"


# -- random graphs ---------------------------------------------------------------------------------------------------------------------


def graphs(first: int, count: int) -> list[Any]:
    return [pytest.param(s, g, id=f"{s[0]}-to-{s[-1]}{'-any-size' if g else ''}") for s, g in batches(first, count, TOGETHER)]


def compare(seeds: range, general: bool, device: str) -> None:
    with exprc.config.override(device=there(device)):
        outcome = run_batch(seeds, general, shrunk=False)
    assert not outcome.failures, "\n".join(str(f) for f, _ in outcome.failures)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seeds, general", graphs(0, DEFAULT))
def test_random_graphs(seeds: range, general: bool, device: str) -> None:
    compare(seeds, general, device)


@pytest.mark.long
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seeds, general", graphs(DEFAULT, GRAPHS - DEFAULT))
def test_many_random_graphs(seeds: range, general: bool, device: str) -> None:
    """On the emulator in the checking build, as the first ones are in `test_every_access_of_gradients_and_random_graphs_is_checked`."""
    with exprc.config.override(emulator="check", emulator_order="random"):
        compare(seeds, general, device)
