"""The ways of the tiles of ``product.cuh`` to shared memory: by copies (cp.async) come the bits that come by registers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.config import config
from exprc.ops.tiling import TILE, blocks_at_once, product_launch, product_stages, product_tile
from exprc.render.base import kernel_source
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Device
from tests.cuda.conftest import CHECK, GPU
from tests.cuda.mutants import mutants
from tests.cuda.pasted import Paste, module_text, normal, run
from tests.cuda.test_kernels import by_rows, conv_paste, gemm_case
from tests.cuda.test_mutants import Trial, exact_gemm, how_found, in_parts, way

Array = np.ndarray[Any, Any]

#: (batch, m, n, k), which factors lie transposed, the sizes that are arguments: fewer pieces of K than stages, and many more
GEMMS = [
    ((1, 5, 7, 0), "ab", ("K",)), ((1, 1, 1, 1), "", ()), ((1, 33, 17, 17), "", ()), ((2, 70, 67, 33), "a", ("M", "N", "K")),
    ((1, 37, 130, 150), "b", ()), ((1, 20, 31, 92), "ab", ("M",)),
]  # fmt: skip
#: images (n, c, h, w), filters o, (kh, kw), stride, pad, dilation, groups, the sizes that are arguments
CONVOLUTIONS = [
    ((2, 1, 9, 8), 5, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, ()),
    ((2, 3, 11, 10), 6, (3, 2), (2, 3), ((1, 0), (2, 1)), (2, 1), 1, ("N", "H", "W", "P", "Q")),
    ((1, 50, 6, 7), 9, (3, 3), (1, 2), "half", (1, 2), 1, ()),
]  # fmt: skip
#: (stages, number of the factor that a hook computes, or None): by registers, by copies, the one or the other by registers
WAYS = [(2, None), (3, None), (4, None), (3, 0), (4, 1)]

Case = tuple[Paste, list[Array], tuple[int, ...]]


def gemms(dtype: str, suffix: str) -> Iterator[Case]:
    for i, (dims, turned, given) in enumerate(GEMMS):
        paste, inputs, want = gemm_case(0, f"gemm{suffix}", dims, turned, dtype, given)
        if not suffix and i == 4:
            paste.sizes.update(zip(TILE, (40, 64, 4, 4, 4), strict=True))  # slices; loads that are no equal shares
        yield paste, inputs, (paste.sizes["PARTS"], *want.shape)


def convolutions(dtype: str, suffix: str) -> Iterator[Case]:
    for i, case in enumerate(CONVOLUTIONS):
        for kind in ("conv2d", "conv2d_grad_input", "conv2d_grad_weight"):
            name = ("conv2d_grad_weight" if kind == "conv2d_grad_weight" else "conv2d") + suffix
            paste, inputs, want = conv_paste(0, kind, name, (*case[:7], dtype, case[7]))
            if not suffix and kind != "conv2d_grad_weight" and i == 1:
                by_rows(paste, 2, 1)
            yield paste, inputs, (paste.sizes["PARTS"], *want.shape)


@pytest.mark.parametrize("device", [CHECK, GPU], indirect=True)
@pytest.mark.parametrize(
    ("make", "precision"),
    [(gemms, "float32"), (gemms, "tf32"), (gemms, "float64"), (convolutions, "float32"), (convolutions, "tf32")],
)
def test_copies_bring_the_bits_that_registers_do(make: Callable[..., Iterator[Case]], precision: str, device: Device) -> None:
    dtype, suffix = ("float64", "") if precision == "float64" else ("float32", "_tf32" * (precision == "tf32"))
    cases = list(make(dtype, suffix))
    pastes = [[way(paste, *how) for how in WAYS] for paste, _, _ in cases]
    for k, paste in enumerate(paste for row in pastes for paste in row):
        paste.name = f"k{k}"
    module = device.load(module_text([paste for row in pastes for paste in row]))
    for (_, inputs, shape), row in zip(cases, pastes, strict=True):
        results = [np.full(shape, np.nan, dtype) for _ in row]
        for paste, y in zip(row, results, strict=True):
            run(device, module, paste, inputs, [y], 2)
        assert not np.isnan(results[0]).any()
        for y in results[1:]:
            np.testing.assert_array_equal(y.view(f"u{y.itemsize}"), results[0].view(f"u{y.itemsize}"))


def products_of_pieces(number: int, stages: int, computed: int | None) -> list[Trial]:
    """A product of many pieces by matrix instructions, and a convolution whose pieces have keys."""
    products = [exact_gemm("gemm_tf32")(number), in_parts(*conv_paste(number, "conv2d", "conv2d", (*CONVOLUTIONS[2][:7], "float32", ())))]
    products[1].paste.sizes.update(CHANNELS=0, TILE_K=16)
    for k, t in enumerate(products):
        t.paste.name = f"k{number}_{k}"
    return [dataclasses.replace(t, paste=way(t.paste, stages, computed)) for t in products]


@pytest.mark.emulator
def test_wrong_waits_and_stages_are_found() -> None:
    """A wait for one group too few or for none, each stage off by one, each barrier missing: of copies, and of copies beside registers."""
    text = kernel_source("cuda/product.cuh")
    made = [m for m in mutants(text) if any(word in m.place for word in ("copy_wait", "STAGE_OF", "__syncthreads"))]
    made = [m for m in made if "KEY_OF" not in m.place]  # keys are written and read by way of it
    trials = [[t for k, how in enumerate(((3, None), (4, 0))) for t in products_of_pieces(10 * i + k, *how)] for i in range(len(made) + 1)]
    texts = [t.paste.text({"product.cuh": m}) for m, row in zip([*(m.text for m in made), text], trials, strict=True) for t in row]
    with config.override(emulator="check"):
        module = open_device("cuda-emulator").load(module_text([]) + "".join(texts))
    found = [[how_found(partial(t.holds, module, 2)) for t in row] for row in trials]
    assert found.pop() == [""] * 4
    assert [m.place for m, how in zip(made, found, strict=True) if not any(how)] == []
    assert len(made) >= 10


def test_stages_take_no_room_from_other_blocks() -> None:
    """Of tiles of all kinds; and never more than every GPU with such instructions has."""
    seen = set()
    for m, n, k in [(8, 8, 8), (50, 8192, 500), (128, 256, 800), (1000, 1000, 1000), (4096, 4096, 4096), (20, 73728, 25)]:
        for size, matrix in ((4, 0), (4, 1), (4, 2), (8, 0)):
            values = {**product_tile(m, n, k, 1, size, matrix), "PARTS": 1}
            stages = product_stages(values, k, size)
            seen.add((matrix == 2, stages))
            (_, threads, two), (_, _, whole) = (product_launch({**values, "STAGES": s}, m, n, 1, size) for s in (2, stages))  # type: ignore[dict-item]
            registers = 255 if values["REG_M"] * values["REG_N"] > 64 else 128  # type: ignore[operator]
            assert blocks_at_once(threads, registers, whole) == blocks_at_once(threads, registers, two)
            assert whole <= (99 if matrix else 64) * 1024
    assert {(True, 2), (False, 3), (False, 4)} <= seen
    assert product_stages(product_tile(64, 64, 64, 1, 2), 64, 2) == 2  # float16 is read as it is, but no word
    assert [product_stages(product_tile(64, 64, k, 1, 4), k, 4) > 2 for k in (0, 32, 33)] == [False, False, True]


@pytest.mark.emulator
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_what_is_worked_out_where_it_is_loaded_goes_by_registers(precision: str) -> None:
    """Gradients read through pooling: the gradient by registers, the filters and images that it meets by copies. Of small whole numbers."""
    x, w = T.tensor4("x", shape=(2, 16, 12, 12)), T.tensor4("w", shape=(20, 16, 3, 3))
    gradients = exprc.grad(T.pool_2d(T.conv2d(x, w), (2, 2)).sum(), [x, w])
    values = [np.rint(2 * normal(k, "float32", *i.type.shape)) for k, i in enumerate((x, w))]
    with config.override(emulator="check"):
        f = exprc.function([x, w], gradients, device="cuda-emulator", precision=precision)
        for got, want in zip(f(*values), exprc.function([x, w], gradients)(*values), strict=True):
            np.testing.assert_array_equal(got, want)
    assert re.findall(r"#define LOAD_(\w)_STORED 1", f.source) == ["x", "w", "w", "x"]
    assert len(re.findall(r"const float & k\d+_LOAD_[xw]\(", f.source)) == 4
    assert re.search(r"#define STAGES [34]\n", f.source)
