"""The devices that tests of the GPU run on: the emulator always, a GPU where the test is marked so and one is there."""

from __future__ import annotations

import functools

import pytest

from exprc.errors import DeviceError
from exprc.runtime.devices import open_device

EMULATOR = pytest.param("cuda-emulator", marks=pytest.mark.emulator)
GPU = pytest.param("cuda", marks=pytest.mark.cuda)

#: For `pytest.mark.parametrize`; a test that takes one of these asks for `there` first.
DEVICES = [EMULATOR, GPU]


@functools.cache
def _missing(device: str) -> str:
    try:
        open_device(device)
    except DeviceError as error:
        return str(error)
    return ""


def there(device: str) -> str:
    """Return the device; skip the test, and say why, where it is missing."""
    reason = _missing(device)
    if reason:
        pytest.skip(reason)
    return device


