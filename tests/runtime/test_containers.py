"""Shared variables: what they hold, what may be set, and who owns the memory."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T


def message(kind, function, *args, **kwargs):
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    return str(error.value)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1.0, "float32"), (1, "int64"), (True, "bool"), ([1.0, 2.0], "float32"), (np.zeros(2), "float64"), (np.float32(1), "float32"),
     (np.int8(1), "int8"), (np.float64(1), "float32"), (np.zeros(2, "uint8"), "uint8")],
)  # fmt: skip
def test_dtypes(value, dtype):
    assert exprc.shared(value).dtype == dtype


def test_floatx_decides_for_python_floats():
    with exprc.config.override(floatX="float64"):
        assert exprc.shared(1.0).dtype == exprc.shared([1.0]).dtype == "float64"


def test_the_value_is_a_copy_unless_borrowed():
    array = np.zeros((2, 3), "float32")
    w = exprc.shared(array, "w")
    array[:] = 1
    assert w.get_value().sum() == 0 and w.name == "w"
    copy = w.get_value()
    copy[:] = 5
    assert w.get_value().sum() == 0
    w.get_value(borrow=True)[0, 0] = 7
    assert w.get_value()[0, 0] == 7


def test_borrowing_takes_the_array_itself():
    array = np.zeros(3, "float32")
    w = exprc.shared(array, borrow=True)
    assert w.get_value(borrow=True) is array
    other = np.ones(3, "float32")
    version = w.container.version
    w.set_value(other, borrow=True)
    assert w.get_value(borrow=True) is other and w.container.version > version


@pytest.mark.parametrize(
    "array", [np.zeros((4, 3), "float32")[::2], np.zeros((2, 3), ">f4"), np.zeros((3, 2), "float32").T]
)
def test_what_cannot_be_storage_is_copied(array):
    w = exprc.shared(array, borrow=True)
    stored = w.get_value(borrow=True)
    assert stored is not array and stored.flags.c_contiguous and stored.dtype.isnative and stored.flags.writeable


def test_a_read_only_array_is_copied():
    array = np.zeros(3, "float32")
    array.flags.writeable = False
    w = exprc.shared(array, borrow=True)
    w.set_value([1, 2, 3])
    assert w.get_value().tolist() == [1, 2, 3] and array.sum() == 0


def test_setting_a_value_of_the_same_shape_keeps_the_storage():
    w = exprc.shared(np.zeros(3, "float32"))
    storage, version = w.get_value(borrow=True), w.container.version
    w.set_value(np.arange(3.0))
    assert w.get_value(borrow=True) is storage and w.container.version == version and storage.tolist() == [0, 1, 2]


def test_a_value_set_is_not_aliased():
    w = exprc.shared(np.zeros(3, "float32"), shape=(None,))
    array = np.arange(5, dtype="float32")
    w.set_value(array)
    array[:] = 9
    assert w.get_value().tolist() == [0, 1, 2, 3, 4]


def test_lengths_that_may_change():
    w = exprc.shared(np.zeros((2, 3), "float32"), shape=(None, 3))
    assert w.type.shape == (None, 3)
    version = w.container.version
    w.set_value(np.ones((5, 3)))
    assert w.get_value().shape == (5, 3) and w.container.version > version
    assert "its shape is (?, 3), that of the value (5, 4)" in message(ValueError, w.set_value, np.ones((5, 4)))


def test_errors_of_setting():
    w = exprc.shared(np.zeros((2, 3), "float32"), "w")
    text = message(ValueError, w.set_value, np.zeros((3, 3)))
    assert text.startswith("cannot set the value of w: its shape is (2, 3), that of the value (3, 3)")
    assert (
        "variable  w  float32, (2, 3)    made at test_containers.py" in text
        and "give shape=(None, ...) to shared()" in text
    )
    assert "it has 2 dimensions, the value 1: shape (3,)" in message(ValueError, w.set_value, np.zeros(3))
    assert "must be numbers, not an expression" in message(TypeError, w.set_value, T.matrix())
    assert "its dtype is float32, that of the value complex128" in message(
        TypeError, w.set_value, np.zeros((2, 3), complex)
    )
    assert w.get_value().shape == (2, 3)


def test_casts_that_are_made_and_those_that_are_not():
    w, i = exprc.shared(np.zeros(2, "float32")), exprc.shared(np.zeros(2, "int32"))
    w.set_value([1, 2])
    i.set_value(np.array([3, 4], "int64"))
    assert w.get_value().dtype == "float32" and i.get_value().tolist() == [3, 4]
    assert "cast the value: value.astype('int32')" in message(TypeError, i.set_value, [1.0, 2.0])
    assert "that of the value int64" in message(TypeError, i.set_value, [2**40, 1])
    strict = exprc.shared(np.zeros(2, "float32"), strict=True)
    assert "its dtype is float32, that of the value float64" in message(TypeError, strict.set_value, np.zeros(2))
    narrow = exprc.shared(np.zeros(2, "float32"), allow_downcast=False)
    assert "that of the value float64" in message(TypeError, narrow.set_value, np.zeros(2))
    willing = exprc.shared(np.zeros(2, "int32"), allow_downcast=True)
    willing.set_value([1.7, 2.2])
    assert willing.get_value().tolist() == [1, 2]


def test_errors_of_making():
    assert "shared: the value must be numbers, not an expression" in message(TypeError, exprc.shared, T.scalar("x"))
    assert "shared: cannot hold" in message(TypeError, exprc.shared, "text")
    assert "its shape is (3,), that of the value (2,)" in message(ValueError, exprc.shared, np.zeros(2), shape=(3,))


def test_a_default_update_takes_the_variables_dtype():
    w = exprc.shared(np.zeros(2, "float32"))
    w.default_update = w + 1
    assert w.default_update.op.name == "add"
    w.default_update = None
    assert w.default_update is None
