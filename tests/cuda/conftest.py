"""What the tests of kernel texts run on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exprc.config import config
from exprc.runtime.devices import open_device
from exprc.runtime.launch import Device
from tests.cuda import fake_driver
from tests.cuda.devices import there

Done = subprocess.CompletedProcess[str]

PLAIN = pytest.param(("cuda-emulator", "plain", "random"), marks=pytest.mark.emulator, id="plain")
CHECK = pytest.param(("cuda-emulator", "check", "forward"), marks=pytest.mark.emulator, id="check")
GPU = pytest.param(("cuda", "plain", "forward"), marks=pytest.mark.cuda, id="cuda")


@pytest.fixture(params=[PLAIN, CHECK, GPU])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """The emulator, fast and in a random order, then with every access looked at; and a GPU."""
    name, build, order = request.param
    with config.override(emulator=build, emulator_order=order):
        yield open_device(there(name))


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_driver.build(tmp_path_factory.mktemp("driver"))


def _sound(done: Done) -> Done:
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-3000:] + done.stdout
    return done


@pytest.fixture
def faked(driver: Path, tmp_path: Path) -> Callable[..., Done]:
    """Run a program on the fake driver; it must end well, and give everything back."""

    def run(program: str, clean: bool = True, **settings: str) -> Done:
        log = tmp_path / "log"
        done = _sound(fake_driver.run(driver, program, FAKE_LOG=str(log), **settings))
        if clean:
            assert log.read_text() == "end\n"
        return done

    return run


@pytest.fixture(params=["fake", pytest.param("gpu", marks=pytest.mark.cuda)])
def ran(request: pytest.FixtureRequest) -> Callable[..., Done]:
    """Run a program, that knows nothing of the fake driver, on that or on a GPU."""
    if request.param == "fake":
        run: Callable[..., Done] = request.getfixturevalue("faked")
        return run
    return lambda program, clean=True: _sound(fake_driver.run_on_gpu(program))
