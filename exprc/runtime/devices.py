"""Devices by name: each opened once, when it is first asked for."""

from __future__ import annotations

import os
import re
import threading
from importlib import import_module
from typing import Any

from exprc.errors import report
from exprc.runtime.device_arrays import DeviceArray
from exprc.runtime.launch import Device

#: pattern of a name -> (module with ``open_device(name)``, what it is).
KINDS = {
    r"cuda\d*": ("exprc.runtime.cuda", "an NVIDIA GPU"),
    r"cuda-emulator": ("exprc.runtime.emulator", "CUDA kernels run by the CPU"),
}

_opened: dict[str, Device] = {}
_lock = threading.RLock()


def _renew_lock() -> None:
    """After a fork: a thread that held the lock in the parent is not there to let go of it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def open_device(name: str) -> Device:
    """Return a device: ``cuda`` (the first GPU), ``cuda1`` ... or ``cuda-emulator``.

    Raises
    ------
    ValueError
        for a name that is none of these.
    exprc.errors.DeviceError
        where this machine lacks it, or what it needs.

    Examples
    --------
    >>> open_device("gpu")
    Traceback (most recent call last):
    ValueError: 'gpu' is no device
      devices are cpu, cuda, cuda1 ... and cuda-emulator
    """
    with _lock:
        if name not in _opened:
            _opened[name] = _open(name)
        return _opened[name]


def device_of(value: Any) -> Device:
    """Return the device that an array lies on (see `exprc.runtime.device_arrays.on_device`)."""
    if isinstance(value, DeviceArray):
        return value.source
    return open_device(f"cuda{value.__dlpack_device__()[1] or ''}" if hasattr(value, "__dlpack_device__") else "cuda")


def _open(name: str) -> Device:
    for pattern, (module, _) in KINDS.items():
        if re.fullmatch(pattern, name):
            made: Device = import_module(module).open_device(name)
            return made
    raise ValueError(report(f"{name!r} is no device", fix="devices are cpu, cuda, cuda1 ... and cuda-emulator"))
