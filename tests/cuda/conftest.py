"""What the tests of kernel texts run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exprc.config import config
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Device
from tests.cuda.devices import there

PLAIN = pytest.param(("cuda-emulator", "plain", "random"), marks=pytest.mark.emulator, id="plain")
CHECK = pytest.param(("cuda-emulator", "check", "forward"), marks=pytest.mark.emulator, id="check")
GPU = pytest.param(("cuda", "plain", "forward"), marks=pytest.mark.cuda, id="cuda")


@pytest.fixture(params=[PLAIN, CHECK, GPU])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """The emulator, fast and in a random order, then with every access looked at; and a GPU."""
    name, build, order = request.param
    with config.override(emulator=build, emulator_order=order):
        yield open_device(there(name))
