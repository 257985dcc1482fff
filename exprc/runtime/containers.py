"""Containers: the storage behind shared variables, which lives from call to call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.expr import Expr, Shared
from exprc.forms import shape_text
from exprc.types import C_TYPES, TensorType, is_float


class Container:
    """One array, owned and C-contiguous, that shared variables and compiled functions hold on to.

    Attributes
    ----------
    value : ndarray. A compiled function may write into it, or put another in its place.
    version : int, increased whenever `value` becomes another array or its shape changes: bound pointers are then stale.
    strict : whether only arrays of exactly the variable's dtype may be set.
    allow_downcast : whether an array of a wider dtype may be set and lose precision; None: from float64 and ints to floats only.
    lock : held while a compiled function that updates the variable runs, and while a value is set.
    lent : whether the user may hold `value` itself (and could pass it to a function that writes it).
    """

    __slots__ = ("value", "version", "strict", "allow_downcast", "lock", "lent")

    def __init__(self, value: np.ndarray[Any, Any], strict: bool = False, allow_downcast: bool | None = None):
        self.value = value
        self.version = 0
        self.lock = threading.RLock()
        self.strict = strict
        self.allow_downcast = allow_downcast
        self.lent = False

    def get(self, borrow: bool = False) -> np.ndarray[Any, Any]:
        """Return the value: a copy, or with `borrow` the storage itself."""
        self.lent = self.lent or borrow
        return self.value if borrow else self.value.copy()

    def set(self, value: Any, borrow: bool, leaf: Shared) -> None:
        """Check `value` against the type of `leaf` and store it: a copy, or with `borrow` the array given if it fits as it is."""
        array = self._fitting(value, leaf)
        with self.lock:
            if array.shape == self.value.shape and not borrow:
                self.value[...] = array  # the storage stays where it is, and so do the pointers to it
                return
            self.lent = self.lent or borrow
            self.replace(owned(array, array is not value or borrow))

    def replace(self, array: np.ndarray[Any, Any]) -> None:
        """Make `array` the storage."""
        self.value = array
        self.version += 1

    def _fitting(self, value: Any, leaf: Shared) -> np.ndarray[Any, Any]:
        if isinstance(value, Expr):
            raise TypeError(
                _cannot(leaf, "its value must be numbers, not an expression", "use updates= of function() for that")
            )
        array = np.asarray(value)
        _check_shape(array, leaf)
        if array.dtype.name == leaf.dtype:
            return array
        if not self._casts(array, value, leaf.dtype):
            raise TypeError(
                _cannot(
                    leaf,
                    f"its dtype is {leaf.dtype}, that of the value {array.dtype}",
                    f"cast the value: value.astype({leaf.dtype!r})",
                )
            )
        return array.astype(leaf.dtype)

    def _casts(self, array: np.ndarray[Any, Any], value: Any, dtype: str) -> bool:
        """Whether a value of another dtype is cast: never if strict, always where it loses nothing (or what floats may lose)."""
        if self.strict or array.dtype.name not in C_TYPES:
            return False
        if self.allow_downcast or np.can_cast(array.dtype, dtype, "safe"):
            return True
        if self.allow_downcast is False:
            return False
        return is_float(dtype) or (array.dtype.kind in "iub" and bool(np.all(array.astype(dtype) == array)))


def _check_shape(array: np.ndarray[Any, Any], leaf: Shared) -> None:
    wanted = leaf.type.shape
    if array.ndim != len(wanted):
        raise ValueError(
            _cannot(leaf, f"it has {len(wanted)} dimensions, the value {array.ndim}: shape {shape_text(array.shape)}")
        )
    if any(d is not None and d != n for d, n in zip(wanted, array.shape)):
        text = f"its shape is {shape_text(wanted)}, that of the value {shape_text(array.shape)}"
        raise ValueError(_cannot(leaf, text, "give shape=(None, ...) to shared() for lengths that may change"))


def _cannot(leaf: Shared, what: str, fix: str = "") -> str:
    return report(
        f"cannot set the value of {leaf.label}: {what}", [("variable", f"{leaf.label}  {leaf.type}", leaf.where)], fix
    )


def owned(array: np.ndarray[Any, Any], borrow: bool) -> np.ndarray[Any, Any]:
    """Return a C-contiguous, aligned, writable array in the machine's byte order; `array` itself if it is one and may be borrowed."""
    fits = array.flags.c_contiguous and array.flags.aligned and array.flags.writeable and array.dtype.isnative
    return array if borrow and fits else np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def shared(
    value: Any,
    name: str | None = None,
    borrow: bool = False,
    shape: Sequence[int | None] | None = None,
    strict: bool = False,
    allow_downcast: bool | None = None,
) -> Shared:
    """Return a variable that keeps its value between calls, and that functions can update.

    Parameters
    ----------
    value : array, nested list or number. An array keeps its dtype; Python floats (and lists of them) take ``config.floatX``,
        Python ints int64.
    name : what dumps and messages call it.
    borrow : whether the array given may become the storage (if it is contiguous and writable) instead of a copy of it.
    shape : dims to be known, by default those of the value; None where `set_value` may change the length.
    strict : whether `set_value` takes arrays of exactly this dtype only.
    allow_downcast : whether `set_value` may narrow a value's dtype. By default only to floats (from float64 and ints), and integers
        that fit.

    Raises
    ------
    TypeError
        for a value that is an expression or no numbers.
    ValueError
        if the value does not have the shape given.

    Examples
    --------
    >>> import numpy as np
    >>> w = shared(np.zeros((2, 3), "float32"), name="w")
    >>> w.set_value(np.ones((2, 3)))
    >>> w.get_value().sum(), w.type
    (np.float32(6.0), TensorType(float32, (2, 3)))
    """
    array = _first_value(value)
    storage = owned(array, borrow or array is not value)
    type_ = TensorType(array.dtype.name, tuple(array.shape if shape is None else shape))
    leaf = Shared(Container(storage, strict, allow_downcast), type_, name)
    leaf.container.lent = borrow
    _check_shape(array, leaf)
    return leaf


def _first_value(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Expr):
        raise TypeError(
            report(
                "shared: the value must be numbers, not an expression",
                [("expression", value.label, value.where)],
                "use .eval() for its value",
            )
        )
    array = np.asarray(value)
    if array.dtype.name not in C_TYPES:
        raise TypeError(f"shared: cannot hold {array.dtype} values: {value!r}"[:200])
    if array.dtype == np.float64 and not isinstance(value, np.ndarray):
        return array.astype(config.floatX)
    return array
