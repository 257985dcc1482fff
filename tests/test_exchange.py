"""Arrays of others: DLPack, the array interface and the buffer protocol, in and out, with as few copies as can be."""

from __future__ import annotations

import array
import ctypes
import mmap
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.arguments import Slot
from exprc.parameters import In
from exprc.runtime.containers import as_array

VALUES = np.arange(6, dtype="float32")


class Interface:
    def __init__(self, value: Any):
        self.__array_interface__ = value.__array_interface__
        self.keep = value


class Pack:
    """Nothing but DLPack."""

    def __init__(self, value: Any):
        self.value = value

    def __dlpack__(self, **options: Any) -> Any:
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()


class Method:
    def __init__(self, value: Any):
        self.value = value

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.value


def mapped() -> Any:
    memory = mmap.mmap(-1, VALUES.nbytes)
    memory[:] = VALUES.tobytes()
    return memoryview(memory).cast("f")


MAKERS = {
    "array interface": lambda: Interface(VALUES.copy()), "DLPack": lambda: Pack(VALUES.copy()), "__array__": lambda: Method(VALUES.copy()),
    "memoryview": lambda: memoryview(VALUES.copy()), "array.array": lambda: array.array("f", VALUES), "mmap": mapped,
    "ctypes": lambda: (ctypes.c_float * 6)(*VALUES), "subclass": lambda: VALUES.view(np.recarray),
}  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS)
def test_inputs_are_read_where_they_lie(maker: str) -> None:
    x = T.fvector("x")
    value = MAKERS[maker]()
    slot = Slot(In(x), None)
    assert np.shares_memory(slot.take("f", value), as_array(value))
    np.testing.assert_array_equal(exprc.function([x], x + 1)(value), VALUES + 1)


@pytest.mark.parametrize("value", [Pack(VALUES[::2]), memoryview(VALUES)[::-1], array.array("d", VALUES), Interface(VALUES.astype(">f4"))],
                         ids=["strided DLPack", "backward memory", "another dtype", "another byte order"])  # fmt: skip
def test_what_does_not_fit_is_copied(value: Any) -> None:
    x = T.vector("x")
    np.testing.assert_array_equal(exprc.function([x], x * 2)(value), as_array(value) * 2)
    assert not np.shares_memory(Slot(In(x), None).take("f", value), as_array(value))


@pytest.mark.parametrize("maker", MAKERS)
def test_shared_variables_take_them(maker: str) -> None:
    w = exprc.shared(np.zeros(6, "float32"))
    w.set_value(MAKERS[maker]())
    np.testing.assert_array_equal(w.get_value(), VALUES)
    np.testing.assert_array_equal(exprc.shared(MAKERS[maker]()).get_value(), VALUES)


def test_a_value_that_fails_to_become_an_array_says_why() -> None:
    class Elsewhere:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("it lies on another device")

    x = T.vector("x")
    with pytest.raises(TypeError) as error:
        exprc.function([x], x)(Elsewhere())
    for part in ("wrong value for the input x: Elsewhere cannot be made an array", "it lies on another device", "test_exchange.py"):
        assert part in str(error.value)


def test_shared_variables_as_arrays_of_others() -> None:
    w = exprc.shared(VALUES, "w")
    copied, lent = np.asarray(w), np.asarray(w, copy=False)
    assert not np.shares_memory(copied, lent) and lent is w.get_value(borrow=True)
    assert np.asarray(w, "float64").dtype == "float64" and np.array(w, dtype="int32").tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="cannot become float64 without a copy"):
        np.asarray(w, "float64", copy=False)
    packed = np.from_dlpack(w)
    assert np.shares_memory(packed, lent) and w.__dlpack_device__() == (1, 0)
    exprc.function([], updates={w: w + 1})()
    np.testing.assert_array_equal(packed, VALUES + 1)
    np.testing.assert_array_equal(copied, VALUES)
    assert not np.shares_memory(np.from_dlpack(w, copy=True), lent) and not np.shares_memory(np.asarray(w.container), lent)


def test_memory_that_was_lent_outlives_the_variable() -> None:
    packed = np.from_dlpack(exprc.shared(np.full(1000, 3, "float32")))
    np.testing.assert_array_equal(packed, np.full(1000, 3))


def test_lent_memory_is_safe_as_an_input_of_what_writes_it() -> None:
    w, x = exprc.shared(np.arange(1000, dtype="float32")), T.vector("x")
    f = exprc.function([x], None, updates={w: w[::-1] + x})
    f(np.from_dlpack(w))
    np.testing.assert_array_equal(w.get_value(), np.full(1000, 999))


def test_storage_that_was_let_go_of_is_not_looked_at_again() -> None:
    w, x = exprc.shared(np.zeros(1000, dtype="float32")), T.vector("x")
    f = exprc.function([x], None, updates={w: w[::-1] + x})
    held = w.get_value(borrow=True)
    f(held)
    assert w.container._lent
    del held
    f(np.ones(1000, "float32"))
    assert not w.container._lent


def test_an_expression_is_still_no_array() -> None:
    w = exprc.shared(VALUES, "w")
    with pytest.raises(TypeError, match="an expression is no array"):
        np.asarray(w * 2)
    assert (np.ones(6, "float32") * w).op.name == "mul"  # and beside an array a shared variable is an expression


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    x, w = T.vector("x"), exprc.shared(VALUES.copy())
    tensor = torch.arange(6, dtype=torch.float32)
    assert np.shares_memory(Slot(In(x), None).take("f", tensor), tensor.numpy())
    assert exprc.function([x], x * 2)(tensor).tolist() == [0, 2, 4, 6, 8, 10]
    lent = torch.from_dlpack(w)
    lent += 1
    np.testing.assert_array_equal(w.get_value(), VALUES + 1)
    with pytest.raises(TypeError, match="(?s)Tensor cannot be made an array.*requires grad"):
        exprc.function([x], x)(tensor.requires_grad_())
