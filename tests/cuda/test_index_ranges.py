"""Arrays of 2³¹ elements and more, stored or not, and the smallest and most crooked ones: indices have room, and begin anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from benchmarks.gpu_resources import launches_of, loaded
from exprc.gpu.narrow import counted
from exprc.loops import Buffer, Let, Load, dims_of
from exprc.size import floordiv, mod, symbol
from tests.cuda.devices import DEVICES, there
from tests.cuda.pasted import normal

ROWS, COLUMNS = 1_000_000, 1_500_000


def seen() -> tuple[list[Any], Any]:
    """A matrix of 1.5 * 10¹² elements that nobody stores, as another one sees it."""
    x, y = T.vector("x", dtype="int32", shape=(COLUMNS,)), T.vector("y", dtype="int32", shape=(ROWS,))
    return [x, y], (x[:, None] * 3 + y[None, :]).reshape((ROWS, COLUMNS))


def expected(rows: Any, columns: Any, x: Any, y: Any) -> Any:
    flat = np.arange(ROWS, dtype=np.int64)[rows][:, None] * COLUMNS + np.arange(COLUMNS)[columns]
    return x[flat // ROWS] * 3 + y[flat % ROWS]


@pytest.mark.parametrize("device", DEVICES)
def test_elements_of_a_view_that_is_too_large_for_ints(device: str) -> None:
    """Arrays and loops are short, and the index that a view is asked for is not."""
    inputs, big = seen()
    far, near = (slice(None, None, 99_991), slice(None, None, 9_973)), (slice(None, 27_000, 9), slice(None, None, 9_973))
    few = big[far]
    factor = np.ones((few.type.shape[1], 4), "f")
    sums = T.cast(big[near], "int64").sum(axis=1)
    f = exprc.function(inputs, [few, sums, T.cast(few, "float32") @ factor], device=there(device))
    x, y = np.arange(COLUMNS, dtype="int32"), np.arange(ROWS, dtype="int32") * 7
    picked, added, multiplied = f(x, y)
    wanted = expected(*far, x, y)
    np.testing.assert_array_equal(picked, wanted)
    np.testing.assert_array_equal(added, expected(*near, x, y).sum(axis=1, dtype="int64"))
    np.testing.assert_allclose(multiplied, wanted.astype("f") @ factor, rtol=1e-5)


def test_what_ints_can_count() -> None:
    i, block, n = symbol("i", 0, 2999), symbol("block"), symbol("n", 2)
    for short in (0, 13 * i, 256 * block + i, floordiv(7 * i + 5, 1000), mod(i, n), -700_000 * i):
        assert counted(short), short
    again = mod(5 * floordiv(10_000_000 * i, 7), 11)
    for long in (2**31, 720_000 * i, floordiv(13_500_000 * i, 1_000_003), again, 4096 * block, 900_000 * i * n):
        assert not counted(long), long
    address = 13_500_000 * i
    assert list(dims_of(Let("v", "int32", Load(Buffer("b", "int32", 10), address)))) == [address]


def test_indices_of_long_arrays_have_64_bits_and_short_ones_32() -> None:
    for n, kind in ((2**31 + 8, "int64_t"), (2**29, "int64_t"), (2**29 - 512, "int32_t")):
        x = T.vector("x", dtype="int8", shape=(n,))
        text, launches = launches_of(loaded(lambda x=x: exprc.function([x], x + 1)))
        assert f"const {kind} block = EXPRC_BLOCK" in text and launches[0].shape.blocks == -(-n // 256)
        text, _ = launches_of(loaded(lambda x=x: exprc.function([x], x.sum())))
        assert f"for ({kind} r = " in text


@pytest.mark.parametrize("device", DEVICES)
def test_more_blocks_than_a_gpu_starts_are_refused(device: str) -> None:
    x = T.vector("x", dtype="int8", shape=(2**40,))
    text = r"add over \(1099511627776\) takes 4294967296 blocks of threads, and a GPU starts 2147483647 at once"
    with pytest.raises(ValueError, match=text):
        exprc.function([x], x + 1, device=there(device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3, 50])
def test_one_image_of_few_or_many_channels_that_begins_anywhere(channels: int, device: str) -> None:
    """A view from the second element on: no address is a multiple of what a GPU loads at a time."""
    flat, w = T.vector("flat", shape=(channels * 72 + 1,)), T.tensor4("w", shape=(5, channels, 3, 3))
    x = flat[1:].reshape((1, channels, 9, 8))
    y = T.pool_2d(T.relu(T.conv2d(x, w)), (2, 2), ignore_border=True)
    outputs = [y, *exprc.grad(T.sqr(y).sum(), [flat, w]), flat[1:9].reshape((1, 8)) @ flat[2:66].reshape((8, 8))]
    values = normal(0, "float32", channels * 72 + 1), normal(1, "float32", 5, channels, 3, 3)
    wanted = exprc.function([flat, w], outputs)(*values)
    for got, want in zip(exprc.function([flat, w], outputs, device=there(device))(*values), wanted, strict=True):
        np.testing.assert_allclose(got, want, 1e-4, 1e-3)


@pytest.mark.long
@pytest.mark.parametrize("device", DEVICES)
def test_a_variable_of_more_elements_than_ints_count(device: str) -> None:
    """2³¹ + 8 bytes on the host and as many on the device; about half a minute on the emulator."""
    n = 2**31 + 8
    w, i = exprc.shared(np.zeros(n, "int8"), name="w"), T.lvector("i")
    exprc.function([], updates={w: w + T.cast(T.arange(n), "int8")}, device=there(device))()
    at = np.array([0, 255, n // 2 - 1, n // 2, 2**31 - 1, 2**31, 2**31 + 7, -1, -8, -9, -n])
    got, total = exprc.function([i], [w[i], T.cast(w, "int64").sum()], device=there(device))(at)
    np.testing.assert_array_equal(got, (at % n).astype("int8"))
    assert int(total) == -(2**31) // 2 + sum(range(8))
