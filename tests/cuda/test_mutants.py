"""The emulator finds what is wrong with a kernel: each barrier dropped, each comparison shifted, one at a time.

A mutant is found if the checking build reports it, or if what it gives is wrong, in one of the orders. A mutant that is as right as the
text it was made of is listed with the reason, and does not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from exprc.config import config
from exprc.errors import KernelError
from exprc.render.base import kernel_source
from exprc.runtime.devices import open_device
from tests.cuda import test_kernels as kernels
from tests.cuda.mutants import Mutant, mutants
from tests.cuda.pasted import Paste, module_text
from tests.cuda.shapes import SHAPES, Bench, Shape, with_prelude

pytestmark = pytest.mark.emulator

Array = np.ndarray[Any, Any]
ORDERS = ("forward", "reverse", "random")
MILLISECONDS = 3000
TOGETHER = 12  # mutants in one module


def share_found(results: Mapping[Mutant, str], right: Mapping[str, str]) -> float:
    """Print what became of each mutant (how it was found, "" for not) and return the share of the found among those that are wrong."""
    wrong, used = [], set()
    for mutant, how in results.items():
        listed = [piece for piece in right if piece in mutant.place]
        used |= {*listed} if not how else set()
        wrong += [how] if how or not listed else []
        print(f"{how or ('right, ' + right[listed[0]] if listed else 'MISSED')}: line {mutant.line}: {mutant.place[:110]}")
    assert {*right} == used, "listed as right, but found or not there"
    print(f"{sum(map(bool, wrong))} of {len(wrong)} wrong mutants found")
    return sum(map(bool, wrong)) / len(wrong)


def how_found(check: Callable[[], bool]) -> str:
    """How the emulator finds a kernel to be wrong, in one of the orders; "" where it does not. check : runs it, tells if it was right."""
    for order in ORDERS:
        with config.override(emulator="check", emulator_order=order):
            try:
                if not check():
                    return "a wrong result"
            except KernelError as error:
                return error.kind
    return ""


# -- the usual shapes

RIGHT_SHAPES = {
    **{f"v.{x} «>» 0": "0 or 0" for x in "xyzw"},
    "x[j] «>» 0": "0 or 0",
    "first «<» k": "one more round of zeros, where K is a multiple of 16",
    "first + step «<» n": "copies zeros that nobody reads, where n is a multiple of 64",
    "next «<» n ? row": "an address that is not read from",
}


def renamed(text: str, suffix: str) -> str:
    return re.sub(r"(EXPRC_KERNEL void (?:EXPRC_BOUNDS\(\d+\) )?\w+)\(", rf"\1{suffix}(", text)


def test_mutants_of_the_usual_shapes_are_found():
    made = {m: (shape, f"_{i}_{k}") for i, shape in enumerate(SHAPES.values()) for k, m in enumerate(mutants(shape.text))}
    text = with_prelude("".join(renamed(mutant.text, suffix) for mutant, (_, suffix) in made.items()))
    with config.override(emulator="check"):
        module = open_device("cuda-emulator").load(text)

    def check(shape: Shape, suffix: str) -> bool:
        got, expected = shape.check(Bench(module, suffix, MILLISECONDS), np.random.default_rng(0))
        return np.allclose(got, expected, rtol=shape.tolerance, atol=shape.tolerance)

    results = {mutant: how_found(partial(check, *case)) for mutant, case in made.items()}
    assert share_found(results, RIGHT_SHAPES) >= 0.95


# -- the texts of kernels/cuda

Case = Callable[[int], tuple[Paste, list[Array], Array]]


def gemm(case: Sequence[Any], impl: str = "gemm") -> Case:
    return lambda number: kernels.gemm_case(number, impl, *case)


def conv(kind: str, index: int) -> Case:
    impl = "conv2d_grad_weight" if kind == "conv2d_grad_weight" else "conv2d"
    return lambda number: kernels.conv_paste(number, kind, impl, kernels.CONVOLUTIONS[index])


def infinite(kind: str, index: int) -> Case:
    """The same with infinities times ones: what is beyond an edge must not be multiplied, not even by 0."""

    def case(number: int) -> tuple[Paste, list[Array], Array]:
        paste, (a, b), _ = conv(kind, index)(number)
        params = kernels.operands(kind, kernels.CONVOLUTIONS[index])[2]
        reached = kernels.RECORDS[kind].numpy(np.ones_like(a), np.ones_like(b), **params) > 0
        return paste, [np.full_like(a, np.inf), np.ones_like(b)], np.where(reached, np.inf, 0)

    return case


#: file -> what runs it: sizes small, odd, and such that every branch is taken
CASES: dict[str, list[Case]] = {
    "product.cuh": [
        gemm(((1, 130, 67, 37), "ab", "float32", ("M", "N", "K"))), gemm(((2, 29, 33, 17), "", "float64", ())),
        gemm(((1, 20, 25, 700), "", "float32", ()), "gemm_in_parts"),
    ],
    "conv2d.cuh": [conv("conv2d", 1), conv("conv2d", 4), conv("conv2d_grad_input", 2), infinite("conv2d_grad_input", 3)],
    "conv2d_grad_weight.cuh": [conv("conv2d_grad_weight", 1), conv("conv2d_grad_weight", 2), conv("conv2d_grad_weight", 3)],
}  # fmt: skip

_DIVIDE = {"(most) «<=» 0x7fffffff": "at exactly 2**31 - 1 either way of dividing gives the quotient"}
RIGHT = {
    "product.cuh": {f"if (piece + 1 «<» end) PRODUCT_{what}": "a piece that nobody multiplies" for what in ("FETCH", "KEEP")},
    "conv2d.cuh": _DIVIDE,
    "conv2d_grad_weight.cuh": _DIVIDE,
}


def is_right(module: Any, paste: Paste, inputs: Sequence[Array], want: Array, blocks: int | None) -> bool:
    bench = Bench(module, milliseconds=MILLISECONDS)
    parts = paste.sizes.get("PARTS", 1)
    y = bench.new(inputs[0].itemsize * parts * want.size)
    launches = paste.launches([*map(bench.put, inputs), y], blocks)
    bench.device.prepare(module, launches).run(MILLISECONDS)
    got = bench.get(y, (parts, *want.shape), inputs[0].dtype).sum(0)
    got = got - (parts - 1) * inputs[2] if len(inputs) == 3 else got / 2  # the bias is in each part; a convolution stores twice its result
    return np.allclose(got, want, rtol=0, atol=np.finfo(got.dtype).eps * 4000)


@pytest.mark.long
@pytest.mark.parametrize("file", CASES)
def test_mutants_of_our_kernels_are_found(file: str) -> None:
    made, cases, results = mutants(kernel_source(f"cuda/{file}")), CASES[file], {}
    for start in range(0, len(made), TOGETHER):
        some = made[start : start + TOGETHER]
        pasted = [[case(100 * i + k) for k, case in enumerate(cases)] for i in range(len(some))]
        text = module_text([]) + "".join(p.text({file: m.text}) for m, row in zip(some, pasted, strict=True) for p, _, _ in row)
        with config.override(emulator="check"):
            module = open_device("cuda-emulator").load(text)
        for mutant, row in zip(some, pasted, strict=True):
            results[mutant] = next(filter(None, (found(module, *case) for case in row)), "")
    assert share_found(results, RIGHT.get(file, {})) >= 0.95


def found(module: Any, paste: Paste, inputs: Sequence[Array], want: Array) -> str:
    ways = (how_found(partial(is_right, module, paste, inputs, want, blocks)) for blocks in (None, 2))
    return next(filter(None, ways), "")


@pytest.mark.long
@pytest.mark.parametrize("file", CASES)
def test_the_texts_themselves_are_right(file: str) -> None:
    pasted = [case(k) for k, case in enumerate(CASES[file])]
    with config.override(emulator="check"):
        module = open_device("cuda-emulator").load(module_text([p for p, _, _ in pasted]))
    assert [found(module, *case) for case in pasted] == [""] * len(pasted)
