"""What all tests share: a compile cache of their own, settings that no shell can change, and repeatable random numbers."""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import tempfile

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)

_cache = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Runs before exprc is imported, which reads its environment then."""
    os.environ.pop("EXPRC_FLAGS", None)
    config.stash[_cache] = os.environ["EXPRC_CACHE"] = tempfile.mkdtemp(prefix="exprc-tests-")
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; programs that tests interrupt would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_cache], ignore_errors=True)


@functools.cache
def no_gpu() -> str:
    """Why the tests marked `cuda` cannot run, or ""."""
    from exprc.errors import DeviceError
    from exprc.runtime.devices import open_device

    try:
        open_device("cuda")
    except DeviceError as error:
        return str(error).partition("\n")[0]
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and no_gpu():
        pytest.skip(no_gpu())


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Let each test begin with the same random numbers, alone or in the suite."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(params=["avx512", "avx2", "scalar"])
def vectors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Programs are compiled for vectors of this width, where the CPU has them; its name in ``EXPRC_CPU``."""
    from exprc.runtime import cpu

    monkeypatch.setenv("EXPRC_CPU", request.param)
    try:
        cpu.host_vectors()
    except ValueError as error:
        pytest.skip(str(error))
    return str(request.param)
