"""Containers: the storage behind shared variables, which lives from call to call.

Who may hold that storage, and when a copy is made, is written down in `exprc.function` (Notes).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.expr import Expr, Shared, unmasked
from exprc.forms import shape_text
from exprc.runtime.device_arrays import DeviceArray, on_device, taken
from exprc.types import C_TYPES, TensorType, is_float

if TYPE_CHECKING:
    from exprc.runtime.launch import Device, Memory


class Resident:
    """The copy of a container's value that a device has.

    ahead : whether it is newer than the host's, behind : whether it is older. borrowed : the arrays of it that users hold; while there
    is one, the host's is never taken for as new.
    """

    __slots__ = ("device", "memory", "ahead", "behind", "borrowed")

    def __init__(self, device: Device, memory: Memory):
        self.device, self.memory = device, memory
        self.ahead, self.behind = False, True
        self.borrowed: WeakSet[DeviceArray] = WeakSet()

    def array(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """The memory itself, lent."""
        made = DeviceArray(self.device, self.memory, self.memory.address, shape, dtype)
        self.borrowed.add(made)
        self.ahead = True
        return made

    def fetch(self, array: np.ndarray[Any, Any]) -> None:
        lent = len(self.borrowed) > 0  # asked first: what is written before it is let go of is fetched
        self.device.read(self.memory.address, array)
        self.ahead = lent

    def send(self, array: np.ndarray[Any, Any]) -> None:
        self.device.write(self.memory.address, array)
        self.behind = False


class Container:
    """One array, owned and C-contiguous, that shared variables and compiled functions hold on to.

    Attributes
    ----------
    value : ndarray. A compiled function may write into it, or put another in its place; who writes into it calls `written`. Where the
        latest value is on a device, it is fetched.
    resident : the copy on a device, or None.
    version : int, increased whenever `value` becomes another array or its shape changes: bound pointers are then stale.
    edits : int, increased whenever the value changes, but for what the user writes in lent storage.
    strict : whether only arrays of exactly the variable's dtype may be set.
    allow_downcast : whether an array of a wider dtype may be set and lose precision; None: from float64 and ints to floats only.
    lock : held while a compiled function that updates the variable runs, and while a value is set or copied.
    lent : whether the user may hold `value` itself (and could pass it to a function that writes it).
    """

    __slots__ = ("_value", "resident", "version", "edits", "strict", "allow_downcast", "lock", "_lent", "__weakref__")

    def __init__(self, value: np.ndarray[Any, Any], strict: bool = False, allow_downcast: bool | None = None):
        self._value = value
        self.resident: Resident | None = None
        self.version = self.edits = 0
        self.lock = threading.RLock()
        self.strict = strict
        self.allow_downcast = allow_downcast
        self._lent = False
        _alive.add(self)

    @property
    def lent(self) -> bool:
        if self._lent:
            self._look()
        return self._lent

    @lent.setter
    def lent(self, lent: bool) -> None:
        self._lent = lent

    def _look(self) -> None:
        """See whether whoever borrowed the storage has let go of it: a call asks before it holds the storage itself."""
        if self._value.flags.owndata and sys.getrefcount(self._value) <= _ALONE:
            self._lent = False
            self.written()  # it may have been written into before

    @property
    def value(self) -> np.ndarray[Any, Any]:
        if self._lent:
            self._look()
        if self.resident is not None and self.resident.ahead:
            with self.lock:
                if self.resident.ahead:  # nobody else has fetched it, or set another value
                    self.resident.fetch(self._value)
        return self._value

    def __int__(self) -> int:
        return int(self.value)

    @property
    def nbytes(self) -> int:
        return self._value.nbytes

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value, wherever that is."""
        return self._value.shape

    def overlaps(self, other: Container) -> bool:
        """Whether both have elements in the same memory of the host."""
        return self is not other and np.may_share_memory(self._value, other._value)

    def written(self) -> None:
        """Say that the value was written into on the host."""
        self.edits += 1
        if self.resident is not None:
            self.resident.ahead, self.resident.behind = False, True
            self._show()

    def _show(self) -> None:
        """Let who holds the memory of the device see a new value at once."""
        if self.resident is not None and len(self.resident.borrowed) and self.resident.memory.nbytes == max(self._value.nbytes, 1):
            self.resident.send(self._value)
            self.resident.ahead = True

    def on(self, device: Device, label: str = "") -> Resident:
        """Return the copy of the value on a device, where it is put if it is not there yet; `label` says whose it is."""
        with self.lock:
            lent = self.lent
            if self.resident is None or self.resident.device is not device or self.resident.memory.nbytes != max(self._value.nbytes, 1):
                value = self.value  # fetched from where it was
                self.resident = Resident(device, device.allocate(max(value.nbytes, 1), label))
            if self.resident.behind or lent:
                self.resident.send(self.value)
            return self.resident

    def is_on(self, resident: Resident) -> bool:
        """Whether a copy on a device is this container's, and up to date."""
        return not self.lent and self.resident is resident and not resident.behind

    def known(self, number: int) -> None:
        """Say what the value of one element is on the device: the host has it, too, without reading it."""
        if self.resident is not None and self.resident.ahead and not len(self.resident.borrowed):
            self._value[...] = number
            self.resident.ahead = False

    def written_on(self, device: Device) -> None:
        """Say that the value was written on a device; storage that the user may hold is brought up to date at once."""
        assert self.resident is not None and self.resident.device is device
        self.edits += 1
        self.resident.ahead = True
        if self._lent:
            self.resident.fetch(self._value)

    def get(self, borrow: bool = False, internal: bool = False) -> Any:
        """Return the value: a copy, never one that a function is in the middle of writing; or with `borrow` the storage itself.

        internal : whether a value that a device has is returned as an array there.
        """
        with self.lock:
            if borrow and self.resident is not None:
                self._check_lent_once(self.lent if internal else len(self.resident.borrowed) > 0)
            if internal and self.resident is not None:
                lent = self.on(self.resident.device).array(self.shape, self._value.dtype)
                return lent if borrow else lent.copy()
            value = self.value
            self.lent = self.lent or borrow
            return value if borrow else value.copy()

    def _check_lent_once(self, other: bool) -> None:
        """Storage is lent on the host or on the device: of two that are written, one would be lost."""
        if other:
            fix = "let go of what get_value(borrow=True) returned before, or leave borrow out"
            raise ValueError(report("the storage of the variable is lent already, on the other side of host and device", fix=fix))

    def set(self, value: Any, borrow: bool, leaf: Shared) -> None:
        """Check `value` against the type of `leaf` and store it: a copy, or with `borrow` the array given if it fits as it is."""
        if on_device(value):
            self._set_there(value, leaf)
            return
        array = self.fitting(value, leaf)
        with self.lock:
            if array.shape == self.shape and not borrow:
                self.value[...] = array  # the storage stays where it is, and so do the pointers to it
                self.written()
                return
            if borrow and self.resident is not None:
                self._check_lent_once(len(self.resident.borrowed) > 0)
            self.lent = self.lent or borrow
            self.replace(owned(array, borrow))

    def _set_there(self, value: Any, leaf: Shared) -> None:
        """Take a value that lies on a device; it is copied there, and not to the host."""
        from exprc.runtime.devices import device_of  # containers are there before anything that runs

        array = taken(value, device_of(value))
        _check_shape(array, leaf)
        if array.dtype.name != leaf.dtype:
            what = f"its dtype is {leaf.dtype}, that of the value {array.dtype}"
            raise TypeError(_cannot(leaf, what, "an array on a device is not cast: cast it there"))
        self.replace_by(array)
        if array.foreign:
            array.source.synchronize()  # who gave it may change it afterwards

    def replace_by(self, array: DeviceArray) -> None:
        """Take the value of an array on a device; it stays there."""
        with self.lock:
            same, lent = array.shape == self.shape, self.lent
            room = self.room_on(array.source, array.nbytes)
            self.replace_on(room, array.address, self._value if same else np.empty(array.shape, array.dtype))
            if same and lent and self.resident is not None:
                self.resident.fetch(self._value)

    def there(self, device: Device, label: str) -> DeviceArray:
        """The value as an array on a device, to be read before another is set."""
        with self.lock:
            memory = self.on(device, label).memory
            return DeviceArray(device, memory, memory.address, self.shape, self._value.dtype)

    def replace(self, array: np.ndarray[Any, Any]) -> None:
        """Make `array` the storage."""
        self._value = array
        self.version += 1
        self.edits += 1
        if self.resident is not None:
            self.resident.ahead, self.resident.behind = False, True
            self._show()

    def room_on(self, device: Device, nbytes: int) -> Resident:
        """Memory of a device for a new value of this size: what the value has there already, if that fits."""
        resident, nbytes = self.resident, max(nbytes, 1)
        if resident is None or resident.device is not device or resident.memory.nbytes != nbytes:
            resident = Resident(device, device.allocate(nbytes, "the new value of a variable"))
        return resident

    def replace_on(self, resident: Resident, address: int, array: np.ndarray[Any, Any]) -> None:
        """Make `array` the storage, whose value lies at an address of a device; it stays there, copied to `resident`."""
        resident.device.copy(address, resident.memory.address, array.nbytes)
        self._lent = self._lent and array is self._value
        self._value, self.resident, resident.ahead, resident.behind = array, resident, True, False
        self.version += 1
        self.edits += 1

    def write(self, array: np.ndarray[Any, Any]) -> None:
        """Write into the storage; where it has another shape, make `array` the storage."""
        if array.shape == self.shape:
            self.value[...] = array
            self.written()
        else:
            self.replace(array)

    def fitting(self, value: Any, leaf: Shared) -> np.ndarray[Any, Any]:
        """Return `value` as an array of the type of `leaf`; raise TypeError or ValueError if it has another."""
        if isinstance(value, Expr):
            raise TypeError(
                _cannot(leaf, "its value must be numbers, not an expression", "use updates= of function() for that")
            )
        array = _array_of(value, f"cannot set the value of {leaf.label}: ", [("variable", f"{leaf.label}  {leaf.type}", leaf.where)])
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

    # -- a container as an array of others, and in a pickle

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """A copy of the value; with ``copy=False`` the storage itself."""
        array = self.get(borrow=copy is False)
        if dtype is None or array.dtype == dtype:
            return array
        if copy is False:
            raise ValueError(f"a value of dtype {array.dtype} cannot become {np.dtype(dtype)} without a copy")
        return array.astype(dtype)

    def __dlpack__(self, *, copy: bool | None = None, **options: Any) -> Any:
        """The storage itself, for `np.from_dlpack` and its like; with ``copy=True`` a copy of it."""
        return self.get(borrow=not copy).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.value.__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.get(), self.strict, self.allow_downcast)


_alive: WeakSet[Container] = WeakSet()
#: What Python counts as the holders of an array that only its container holds.
_ALONE = (lambda container: sys.getrefcount(container._value))(Container(np.empty(0)))


def _load(value: np.ndarray[Any, Any], strict: bool, allow_downcast: bool | None) -> Container:
    """A container from a pickle. Arrays in memory that the pickle lent (protocol 5) are copied: another load could have the same."""
    return Container(owned(value, value.flags.owndata), strict, allow_downcast)


def _renew_locks() -> None:
    """After a fork: a thread that held a lock in the parent is not there to let go of it."""
    for container in _alive:
        container.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """Return an array of whatever holds one: arrays, numbers, nested lists, buffers, ``__array_interface__``, DLPack.

    Memory is shared where the value gives it away. What is no array comes back with a dtype that is none of ours.

    >>> import array
    >>> numbers = array.array("f", [1, 2])
    >>> np.shares_memory(as_array(numbers), as_array(memoryview(numbers)))
    True
    """
    if type(value) is np.ndarray:
        return value
    if hasattr(value, "__dlpack__") and not any(hasattr(value, n) for n in ("__array__", "__array_interface__", "__array_struct__")):
        return np.from_dlpack(value)
    return np.asarray(unmasked(value))


def _array_of(value: Any, start: str, rows: Sequence[tuple[str, str, str]] = ()) -> np.ndarray[Any, Any]:
    """Like `as_array`, with the user's words where that fails: for ragged lists, and whatever the value's own protocol raises."""
    try:
        return as_array(value)
    except Exception as error:
        fix = "are all its rows as long?" if isinstance(value, (list, tuple)) else str(error).partition("\n")[0]
        raise TypeError(report(f"{start}{type(value).__name__} cannot be made an array", rows, fix)) from error


def _as_array_of_shared(self: Shared, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
    """``np.asarray(w)``: a copy of the value; with ``copy=False`` the storage itself."""
    return self.container.__array__(dtype, copy)  # type: ignore[no-any-return]


def _dlpack_of_shared(self: Shared, **options: Any) -> Any:
    """``np.from_dlpack(w)``: the storage itself, as `get_value(borrow=True)` gives it."""
    return self.container.__dlpack__(**options)


for _name, _method in {
    "__array__": _as_array_of_shared,
    "__dlpack__": _dlpack_of_shared,
    "__dlpack_device__": lambda self: self.container.__dlpack_device__(),
}.items():
    setattr(Shared, _name, _method)


def _check_shape(array: np.ndarray[Any, Any] | DeviceArray, leaf: Shared) -> None:
    wanted = leaf.type.shape
    if array.ndim != len(wanted):
        raise ValueError(
            _cannot(
                leaf,
                f"it has {len(wanted)} dimensions, the value {array.ndim}: shape {shape_text(array.shape)}",
                "the number of dimensions never changes; reshape the value",
            )
        )
    if any(d is not None and d != n for d, n in zip(wanted, array.shape)):
        text = f"its shape is {shape_text(wanted)}, that of the value {shape_text(array.shape)}"
        turned = array.shape == tuple(wanted)[::-1] and array.ndim == 2
        fix = "did you mean value.T?" if turned else "give shape=(None, ...) to shared() for lengths that may change"
        raise ValueError(_cannot(leaf, text, fix))


def check_new_shape(leaf: Shared, shape: Sequence[int]) -> None:
    """Refuse an update whose shape the variable's type does not allow."""
    if any(d is not None and d != n for d, n in zip(leaf.type.shape, shape)):
        text = f"updates: {leaf.label} has shape {shape_text(leaf.type.shape)}, its update {shape_text(shape)}"
        fix = "give shape=(None, ...) to shared() for lengths that may change"
        raise ValueError(report(text, [("variable", leaf.label, leaf.where)], fix))


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
    broadcastable: Sequence[bool] | None = None,
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
    broadcastable : which axes have length 1 and keep it, in place of `shape`; an axis of length 1 for which it says False may change its
        length.

    Raises
    ------
    TypeError
        for a value that is an expression or no numbers, and for a name that is no text.
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
    if name is not None and not isinstance(name, str):
        raise TypeError(report(f"shared: a name must be a string, not {name!r}", fix="shared(value, name='w')"))
    array = _first_value(value)
    storage = owned(array, borrow)
    dims = array.shape if shape is None else shape
    type_ = TensorType(array.dtype.name, tuple(dims if broadcastable is None else _dims_of(array, shape, broadcastable)))
    leaf = Shared(Container(storage, strict, allow_downcast), type_, name)
    leaf.container.lent = borrow
    _check_shape(array, leaf)
    return leaf


def _dims_of(array: np.ndarray[Any, Any], shape: Any, broadcastable: Sequence[bool]) -> list[int | None]:
    """The dims that `broadcastable` states."""
    given = tuple(map(bool, broadcastable))
    if shape is not None:
        raise TypeError(report("shared: shape and broadcastable say the same", fix="give one of them; shape=(1, None) says more"))
    if len(given) != array.ndim or any(b and n != 1 for b, n in zip(given, array.shape)):
        what = f"shared: broadcastable={given} does not fit a value of shape {shape_text(array.shape)}"
        raise ValueError(report(what, fix="one bool for each axis, True only for lengths of 1"))
    return [None if n == 1 and not b else n for b, n in zip(given, array.shape)]


def _first_value(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Expr):
        raise TypeError(
            report(
                "shared: the value must be numbers, not an expression",
                [("expression", value.label, value.where)],
                "use .eval() for its value",
            )
        )
    array = _array_of(value, "shared: ")
    if array.dtype.name not in C_TYPES:
        text = f"shared: cannot hold {array.dtype} values: {value!r}"[:200]
        raise TypeError(report(text, fix="a shared variable holds booleans, integers or floats"))
    if array.dtype == np.float64 and not isinstance(value, np.ndarray):
        return array.astype(config.floatX)
    return array
