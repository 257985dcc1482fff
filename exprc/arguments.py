"""What a call gives: values put in the order of the inputs, and made the arrays that a program reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exprc.errors import DeviceError, nearest, report
from exprc.expr import Expr
from exprc.forms import shape_text
from exprc.parameters import In
from exprc.runtime.containers import as_array
from exprc.runtime.device_arrays import DeviceArray, on_device, taken
from exprc.types import C_TYPES, is_float

#: Stands in a list of values for "as it is by default".
DEFAULT = object()

#: Bits of ``flags.num``: C-contiguous and aligned.
_PLAIN = 0x0001 | 0x0100


def match(label: str, inputs: Sequence[In], values: Sequence[Any], named: Mapping[str, Any], has: Sequence[bool]) -> list[Any]:
    """Put positional and named values in the order of the inputs, `DEFAULT` where an input that has a default was not given."""
    keys = [one.key or "" for one in inputs]
    listed = ", ".join(one.key or one.variable.label for one in inputs)
    if len(values) > len(keys):
        raise TypeError(f"{label} takes {len(keys)} inputs ({listed}), {len(values)} were given")
    for key in named:
        if key not in keys:
            hint = nearest(key, [k for k in keys if k])
            raise TypeError(f"{label} has no input named {key!r}: its inputs are {listed}" + (f"; {hint}" if hint else ""))
        if keys.index(key) < len(values):
            raise TypeError(f"{label}: the input {key!r} was given twice")
        if keys.count(key) > 1:
            raise TypeError(f"{label} has {keys.count(key)} inputs named {key!r}: give them by position, or another name with In()")
    rest = range(len(values), len(keys))
    lacking = [inputs[k].variable for k in rest if keys[k] not in named and not has[k]]
    if lacking:
        rows = [("input", f"{x.label}  {x.type}", x.where) for x in lacking]
        raise TypeError(report(f"{label}: {len(lacking)} of {len(keys)} inputs are missing", rows))
    return [*values, *(named.get(keys[k], DEFAULT) if keys[k] else DEFAULT for k in rest)]


class Slot:
    """Takes the values of one input.

    Parameters
    ----------
    one : the input.
    downcast : whether values of a wider dtype are cast to a stated dtype; None: Python numbers are.
    """

    __slots__ = ("variable", "dtype", "ndim", "fixed", "shape", "strict", "downcast", "device")

    def __init__(self, one: In, downcast: bool | None):
        self.variable = one.variable
        self.dtype = np.dtype(one.variable.dtype)
        self.ndim = one.variable.ndim
        self.fixed = tuple((axis, n) for axis, n in enumerate(one.variable.type.shape) if n is not None)
        self.shape = one.variable.type.shape if None not in one.variable.type.shape else None
        self.strict = one.strict
        self.downcast = one.allow_downcast if one.allow_downcast is not None else downcast
        self.device: Any = None  # whose arrays are taken as they are (see `exprc.runtime.device_arrays`)

    def fits(self, value: Any) -> bool:
        """Whether a value can be read as it is: an array of this dtype, number of axes and stated lengths, in C order, aligned."""
        if type(value) is not np.ndarray:
            return False
        if value.dtype is not self.dtype and value.dtype != self.dtype:  # NumPy has one object for most arrays of a dtype
            return False
        shape = value.shape
        if self.shape is not None:
            if shape != self.shape:
                return False
        elif len(shape) != self.ndim or any(shape[axis] != n for axis, n in self.fixed):
            return False
        return (value.flags.num & _PLAIN) == _PLAIN

    @property
    def plain(self) -> bool:
        """Whether it takes an integer of Python's that is in range."""
        exact = self.dtype == np.int64 or not (self.strict or self.downcast is False)
        return self.ndim == 0 and self.dtype.kind in "iu" and exact

    def trusted(self, label: str, value: Any) -> Any:
        """Return a value as it is, or raise TypeError; nothing is cast or copied."""
        if self.fits(value):
            return value  # type: ignore[no-any-return]
        if on_device(value):
            return self._of_device(label, value)
        given = f"{value.dtype}, {shape_text(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
        what = f"with trust_input it takes only contiguous arrays of its own type, not {given}"
        raise TypeError(self._mismatch(label, what, "give such an array, or leave trust_input out"))

    def take(self, label: str, value: Any) -> Any:
        """Return a value as an array that the program can read: the same memory where it fits, else a copy."""
        if self.fits(value):
            return value
        if on_device(value):
            return self._of_device(label, value)
        array = self._checked(label, value)
        fits = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
        return array if fits else np.array(array, dtype=array.dtype.newbyteorder("="), order="C")

    def _checked(self, label: str, value: Any) -> np.ndarray[Any, Any]:
        if type(value) is not np.ndarray or value.dtype != self.dtype:
            value = self._cast(label, value)
        self._check_shape(label, value)
        return value  # type: ignore[no-any-return]

    def _of_device(self, label: str, value: Any) -> DeviceArray:
        """Return an array on the device of the function; nothing there is cast or copied."""
        try:
            array = taken(value, self.device)
        except DeviceError:
            raise
        except Exception as error:  # what the other library's protocol raises, too
            first, _, rest = str(error).partition("\n")
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(self._mismatch(label, first, rest.strip())) from error
        if array.dtype != self.dtype:
            fix = "an array on a device is not cast: cast it there"
            raise TypeError(self._mismatch(label, f"its dtype is {self.dtype.name}, that of the value {array.dtype}", fix))
        self._check_shape(label, array)
        return array

    def _check_shape(self, label: str, value: Any) -> None:
        x = self.variable
        if value.ndim != self.ndim:
            what = f"it takes {self.ndim} dimensions, the value has {value.ndim}: shape {shape_text(value.shape)}"
            raise TypeError(self._mismatch(label, what, self._axes_hint(value)))
        if any(value.shape[axis] != n for axis, n in self.fixed):
            texts = f"it takes shape {shape_text(x.type.shape)}, the value has {shape_text(value.shape)}"
            raise ValueError(self._mismatch(label, texts))

    def _axes_hint(self, value: Any) -> str:
        if value.ndim == self.ndim - 1:
            return "value[None] adds an axis in front, value[..., None] at the end"
        return "value[0] is one element of it" if value.ndim == self.ndim + 1 else ""

    def _mismatch(self, label: str, what: str, fix: str = "") -> str:
        x = self.variable
        return report(f"{label}: wrong value for the input {x.label}: {what}", [("input", f"{x.label}  {x.type}", x.where)], fix)

    def _cast(self, label: str, value: Any) -> np.ndarray[Any, Any]:
        if isinstance(value, Expr):
            fix = "pass its .get_value()" if value.op.name == "shared" else "use givens= to replace an input by an expression"
            raise TypeError(self._mismatch(label, "an array is needed, not an expression", fix))
        plain = isinstance(value, (bool, int, float, list, tuple)) and not isinstance(value, np.generic)
        array = self._as_array(label, value)
        if array.dtype == self.dtype:
            return array
        if array.dtype.kind not in "biuf":
            what = f"an array of numbers is needed, not {array.dtype}"
            fix = "an integer beyond 64 bits: pass float(value)" if isinstance(value, int) else ""
            raise TypeError(self._mismatch(label, f"{what}: {value!r}"[:300] if array.ndim == 0 else what, fix))
        if not self._castable(array, plain):
            raise TypeError(self._not_castable(label, array, plain))
        return array.astype(self.dtype)

    def _not_castable(self, label: str, array: np.ndarray[Any, Any], plain: bool) -> str:
        name = self.dtype.name
        if plain and not self.strict and array.dtype.kind in "biu" and self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            for value in array.flat:
                if not limits.min <= value <= limits.max:
                    what = f"{value} does not fit {name}, {limits.min} to {limits.max}"
                    return self._mismatch(label, what, "an input of a wider dtype takes it")
        cast = f"np.asarray(value, {name!r})" if plain else f"value.astype({name!r})"
        fix = f"pass {cast}: the input is strict" if self.strict else f"pass {cast}, or allow_input_downcast=True to function()"
        return self._mismatch(label, f"its dtype is {name}, that of the value {array.dtype}", fix)

    def _as_array(self, label: str, value: Any) -> np.ndarray[Any, Any]:
        try:
            return as_array(value)
        except Exception as error:  # ragged lists, tensors of another device, and whatever the value's own protocol raises
            what = f"{type(value).__name__} cannot be made an array"
            raise TypeError(self._mismatch(label, what, str(error).splitlines()[0] if str(error) else "")) from error

    def _castable(self, array: np.ndarray[Any, Any], plain: bool) -> bool:
        """Whether a value of another dtype may be cast: if nothing is lost, if allowed, or to a float if the dtype was not stated."""
        if self.strict:
            return False
        if self.downcast or np.can_cast(array.dtype, self.dtype, "safe"):
            return True
        if self.downcast is False:
            return False
        stated = self.variable.strict
        if is_float(self.dtype.name):
            return plain or not stated or array.dtype.kind in "biu"
        exact = array.dtype.kind in "biu" and array.dtype.name in C_TYPES and bool(np.all(array.astype(self.dtype) == array))
        return exact and (plain or not stated)
