"""The emulator finds what is wrong with a kernel: each barrier dropped, each comparison shifted, one at a time.

A mutant is found if the checking build reports it, or if what it gives is wrong, in one of the orders. A mutant that is as right as the
text it was made of is listed with the reason, and does not count.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from exprc.config import config
from exprc.errors import KernelError
from exprc.ops.tiling import TILE
from exprc.render.base import kernel_source
from exprc.runtime.devices import open_device
from tests.cuda import test_kernels as kernels
from tests.cuda import test_kernels_of_windows_and_rows as windows
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

@dataclass(frozen=True)
class Trial:
    """A paste with what it is given, empty arrays of the shapes of its results, and a judge of these."""

    paste: Paste
    inputs: Sequence[Array]
    outs: Sequence[Array]
    right: Callable[[Sequence[Array]], bool]

    def holds(self, module: Any, blocks: int | None) -> bool:
        bench = Bench(module)
        given, results = [*map(bench.put, self.inputs)], [bench.new(max(out.nbytes, 1)) for out in self.outs]
        bench.device.prepare(module, self.paste.launches([*given, *results], blocks)).run(MILLISECONDS)
        return self.right([bench.get(y, out.shape, out.dtype) for y, out in zip(results, self.outs, strict=True)])

    def found(self, module: Any) -> str:
        """How it is found to be wrong, in as many blocks as its launch says, or in two."""
        return next(filter(None, (how_found(partial(self.holds, module, blocks)) for blocks in (None, 2))), "")


Case = Callable[[int], Trial]


def in_parts(paste: Paste, inputs: Sequence[Array], want: Array) -> Trial:
    """Of products: the parts add up; the bias is in each of them, and a convolution stores twice its result."""
    parts = paste.sizes.get("PARTS", 1)

    def right(got: Sequence[Array]) -> bool:
        total = got[0].sum(0)
        total = total - (parts - 1) * inputs[2] if len(inputs) == 3 else total / 2
        return np.allclose(total, want, rtol=0, atol=np.finfo(total.dtype).eps * 4000)

    return Trial(paste, inputs, [np.empty((parts, *want.shape), inputs[0].dtype)], right)


def gemm(case: Sequence[Any], impl: str = "gemm") -> Case:
    return lambda number: in_parts(*kernels.gemm_case(number, impl, *case))


def exact_gemm(impl: str) -> Case:
    """A product of small whole numbers, which no rounding of factors changes."""

    def case(number: int) -> Trial:
        paste, (a, b, c), _ = kernels.gemm_case(number, impl, (1, 70, 67, 37), "", "float32", ())
        a, b = np.rint(4 * a), np.rint(4 * b)
        return in_parts(paste, [a, b, c], a.astype(float) @ b + c)

    return case


def conv_case(kind: str, case: Any, number: int) -> tuple[Paste, list[Array], Array]:
    impl = "conv2d_grad_weight" if kind == "conv2d_grad_weight" else "conv2d"
    return kernels.conv_paste(number, kind, impl, case)


def conv(kind: str, case: Any) -> Case:
    """case : a row of `kernels.CONVOLUTIONS`, or its number."""
    row = kernels.CONVOLUTIONS[case] if isinstance(case, int) else case
    return lambda number: in_parts(*conv_case(kind, row, number))


def tiled(case: Case, *tile: int) -> Case:
    """The same with another tile: one whose threads are more than some of its lengths take, or do not load it in equal shares."""

    def made(number: int) -> Trial:
        trial = case(number)
        trial.paste.sizes.update(zip(TILE, tile, strict=True))
        return trial

    return made


def way(paste: Paste, stages: int, computed: int | None = None) -> Paste:
    """A product whose tiles come by registers (2 stages) or by copies; computed : which factor a hook computes, that comes by registers."""
    loads = sorted(hook.split("(")[0] for hook in paste.hooks if hook.startswith("LOAD_"))
    other = copy.copy(paste)
    other.sizes = {**paste.sizes, "STAGES": stages}
    other.computed = set() if computed is None else {loads[computed]}
    return other


def staged(case: Case, stages: int, computed: int | None = None) -> Case:
    """The same with its tiles brought another way."""

    def made(number: int) -> Trial:
        trial = case(number)
        return dataclasses.replace(trial, paste=way(trial.paste, stages, computed))

    return made


def by_rows(case: Case, channels: int, rows_first: int) -> Case:
    """A convolution whose pieces are rows of the windows of some channels."""

    def made(number: int) -> Trial:
        trial = case(number)
        kernels.by_rows(trial.paste, channels, rows_first)
        return trial

    return made


def infinite(kind: str, index: int) -> Case:
    """The same with infinities times ones: what is beyond an edge must not be multiplied, not even by 0."""

    def case(number: int) -> Trial:
        paste, (a, b), _ = conv_case(kind, kernels.CONVOLUTIONS[index], number)
        params = kernels.operands(kind, kernels.CONVOLUTIONS[index])[2]
        reached = kernels.RECORDS[kind].numpy(np.ones_like(a), np.ones_like(b), **params) > 0
        return in_parts(paste, [np.full_like(a, np.inf), np.ones_like(b)], np.where(reached, np.inf, 0))

    return case


def exact(paste: Paste, inputs: Sequence[Array], wanted: Sequence[Array]) -> Trial:
    return Trial(paste, inputs, wanted, lambda got: all(np.allclose(y, w, 1e-5, 1e-5, equal_nan=True) for y, w in zip(got, wanted)))


def pooled(case: Any, **windows: Any) -> Case:
    """A convolution that pools its own result."""
    return lambda number: exact(*kernels.pooled_paste(number, case, {**windows, "pad": (0, 0), "dilation": (1, 1), "partial": True}))


def pooling(row: int, which: int) -> Case:
    """which : 0 max_pool, 1 unpool, 2 sum_pool, 3 sum_unpool."""
    return lambda number: exact(*windows.pool_case(number, *windows.POOLS[row])[which])


def scatter(row: int) -> Case:
    return lambda number: exact(*windows.scatter_case(number, *windows.SCATTERS[row]))


def running(mode: int, row: int) -> Case:
    return lambda number: exact(*windows.running_case(number, mode, *windows.RUNNING[row]))


#: Windows that reach one row, or one column, beyond the end, and nothing else beyond an edge.
ONE_BELOW: Any = ((2, 3, 6, 5), 4, (3, 2), (1, 1), ((0, 1), (0, 0)), (1, 1), 1, "float32", ())
ONE_ASIDE: Any = ((2, 3, 6, 5), 4, (3, 2), (1, 1), ((0, 0), (0, 1)), (1, 1), 1, "float32", ())
#: Rows of so many images that a tile holds one row, of padded windows.
ONE_ROW: Any = ((9, 2, 4, 7), 3, (3, 3), (1, 1), "full", (1, 1), 1, "float32", ())

#: file -> what runs it: sizes small, odd, and such that every branch is taken
CASES: dict[str, list[Case]] = {
    "product.cuh": [
        gemm(((1, 130, 67, 37), "ab", "float32", ("M", "N", "K"))), gemm(((2, 29, 33, 17), "", "float64", ())),
        gemm(((1, 20, 25, 700), "", "float32", ()), "gemm_in_parts"), conv("conv2d", 1),
        tiled(gemm(((1, 20, 150, 37), "", "float32", ())), 20, 64, 4, 4, 2), tiled(conv("conv2d", 4), 52, 64, 4, 4, 1),
        tiled(exact_gemm("gemm_tf32"), 32, 64, 2, 8, 2), tiled(exact_gemm("gemm_bf16"), 64, 32, 4, 4, 1),
        staged(gemm(((1, 20, 70, 150), "", "float32", ())), 2), staged(conv("conv2d", 1), 4, 0), staged(conv("conv2d", 1), 4),
        staged(exact_gemm("gemm_bf16"), 3),
    ],
    "conv2d.cuh": [
        conv("conv2d", 1), conv("conv2d", 4), conv("conv2d_grad_input", 2), infinite("conv2d_grad_input", 3),
        conv("conv2d", ONE_BELOW), conv("conv2d", ONE_ASIDE), by_rows(conv("conv2d", 1), 2, 0), by_rows(conv("conv2d_grad_input", 2), 3, 1),
        by_rows(infinite("conv2d_grad_input", 3), 2, 1), by_rows(conv("conv2d", ONE_BELOW), 3, 1), by_rows(conv("conv2d", ONE_ASIDE), 2, 0),
        by_rows(conv("conv2d", ONE_ROW), 2, 1),
        pooled(((2, 3, 8, 7), 5, (2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, "float32", ()), window=(2, 2), stride=(2, 2)),
        pooled(((1, 2, 6, 9), 3, (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, "float32", ()), window=(1, 4), stride=(1, 4)),
        pooled(((1, 2, 9, 5), 3, (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, "float32", ()), window=(4, 1), stride=(4, 1)),
    ],
    "conv2d_grad_weight.cuh": [conv("conv2d_grad_weight", case) for case in (1, 2, 3, ONE_BELOW, ONE_ASIDE)],
    "pool.cuh": [pooling(1, 0), pooling(2, 0), pooling(3, 0), pooling(1, 2), pooling(2, 2)],
    "unpool.cuh": [pooling(1, 1), pooling(2, 1), pooling(1, 3), pooling(2, 3)],
    "scatter.cuh": [scatter(1), scatter(2), scatter(3), scatter(5), scatter(-1)],
    "cumulative.cuh": [running(0, 1), running(1, 3), running(2, 2), running(0, 6)],
}  # fmt: skip

_DIVIDE = {
    "(most) «<=» 0x7fffffff": "at exactly 2**31 - 1 either way of dividing gives the quotient",
    "CONV_BELOW(x, n) ((n) «<=»": "at exactly 2**31 - 1 either way of comparing is right",
    "(x) «>=» 0 && (x) < (n)": "of images with more rows than ints count",
    "(x) >= 0 && (x) «<» (n)": "of images with more rows than ints count",
}
_GUARDED = "asks about edges where no window crosses one"
RIGHT: dict[str, dict[str, str]] = {
    "product.cuh": {
        "PRODUCT_AHEAD «<» end": "a piece that nobody multiplies", "piece + 1 «<» end": "a piece that nobody multiplies",
        "STAGES «>» 2": "copies in two stages are right, too",
        "PRODUCT_STAGE_OF(piece«») * TILE_K": "keys are written and read by way of it",
        "PRODUCT_TALL (PRODUCT_DOWN «<» PRODUCT_ACROSS)": "of a square either side",
        "for (int s = 0; s «<» PRODUCT_B_LOADS; s++)": "a bit that nobody asks for, where loads are asked about",
        "REG_M * REG_N «>» 64": "how many registers a thread may have",
        "(PRODUCT_N) - first_j «<» TILE_N": "of two equal numbers either",
        "first «<» SLICES": "a turn of no slice",
    },
    "conv2d.cuh": {
        **_DIVIDE, "CONV_ROW(from_p, u) «<» (H)": "a row of windows that meets nothing more",
        **{f"({size}) «>» {least}": _GUARDED for size, least in (("UP_H", 1), ("UP_W", 1), ("PH", 0), ("PW", 0))},
    },
    "conv2d_grad_weight.cuh": {
        **_DIVIDE, "(PH) «>» 0": _GUARDED, "(PW) «>» 0": _GUARDED,
        **{f"{what} (CONV_GROUP_C «>» 0": "without channels there is nothing to load" for what in ("CONV_ONE", "CONV_APART")},
    },
    "pool.cuh": {"(where «<» 0 ? 0 : where)": "0 or 0"},
    "scatter.cuh": {
        "(long long)(x) «<» (long long)(y)": "of two equal numbers either",
        "block «<» across * down": "a block without rows",
        "first_m «<» (M)": "a chunk of nothing",
        "step «<» 32": "no lane is 32 ahead",
        "first «<» entries": "nothing is left to take",
    },
    "cumulative.cuh": {
        "first «<» columns": "a tile without columns",
        "first_k «<» (N)": "a tile without steps",
        "(N) - first_k «<» (DEPTH)": "of two equal numbers either",
    },
}


@pytest.mark.long
@pytest.mark.parametrize("file", CASES)
def test_mutants_of_our_kernels_are_found(file: str) -> None:
    made, cases, results = mutants(kernel_source(f"cuda/{file}")), CASES[file], {}
    for start in range(0, len(made), TOGETHER):
        some = made[start : start + TOGETHER]
        rows = [[case(100 * i + k) for k, case in enumerate(cases)] for i in range(len(some))]
        text = module_text([]) + "".join(t.paste.text({file: m.text}) for m, row in zip(some, rows, strict=True) for t in row)
        with config.override(emulator="check"):
            module = open_device("cuda-emulator").load(text)
        results |= {m: next(filter(None, (t.found(module) for t in row)), "") for m, row in zip(some, rows, strict=True)}
    assert share_found(results, RIGHT.get(file, {})) >= 0.95


@pytest.mark.long
@pytest.mark.parametrize("file", CASES)
def test_the_texts_themselves_are_right(file: str) -> None:
    trials = [case(k) for k, case in enumerate(CASES[file])]
    with config.override(emulator="check"):
        module = open_device("cuda-emulator").load(module_text([t.paste for t in trials]))
    assert [t.found(module) for t in trials] == [""] * len(trials)
