"""What is said where the driver or pycuda is missing or unfit; on any machine."""

from __future__ import annotations

import pytest

from exprc.errors import DeviceError
from exprc.runtime import cuda, libcuda
from exprc.runtime.libcuda_entry import ffi


class Loader:
    """Stands for cffi: dlopen gives what the test says."""

    NULL, RTLD_NOW, RTLD_GLOBAL = ffi.NULL, ffi.RTLD_NOW, ffi.RTLD_GLOBAL
    new, string = staticmethod(ffi.new), staticmethod(ffi.string)

    def __init__(self, found):
        self.found = found

    def dlopen(self, name, flags):
        assert name == "libcuda.so.1"
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Library:
    """Stands for a driver; cffi lists what was declared, and looks for a function when it is named."""

    version, status, lacks = 13000, 0, ()

    def __dir__(self):
        return ["cuInit", "cuDriverGetVersion", "cuGraphLaunch"]

    def __getattr__(self, name):
        if name in self.lacks:
            raise AttributeError(f"function/symbol '{name}' not found in library")
        return lambda *_: 0

    def cuDriverGetVersion(self, version):
        version[0] = self.version
        return 0

    def cuInit(self, flags):
        return self.status


@pytest.fixture
def driver(monkeypatch):
    """Put a library in the place of the driver."""

    def put(found):
        monkeypatch.setattr(libcuda, "ffi", Loader(found))
        libcuda.library.cache_clear()

    yield put
    libcuda.library.cache_clear()


def told(work=libcuda.gpus):
    with pytest.raises(DeviceError) as caught:
        work()
    return str(caught.value)


def test_no_driver(driver):
    missing = "cannot load library 'libcuda.so.1': libcuda.so.1: cannot open shared object file: No such file or directory"
    driver(OSError(missing + ".  Additionally, ctypes.util.find_library() did not manage to locate a library called 'libcuda.so.1'"))
    assert told() == (
        f"no NVIDIA driver found: {missing}\n"
        '  install the driver of the GPU; in a container, start it with --gpus all; device="cpu" and device="cuda-emulator" need no GPU'
    )


def test_a_driver_without_a_function_that_is_needed(driver):
    old = Library()
    old.lacks = ("cuGraphLaunch",)
    driver(old)
    assert told().startswith("the NVIDIA driver is too old: it lacks cuGraphLaunch\n  update the driver to one for CUDA 12.0 or newer")


def test_an_old_driver(driver):
    old = Library()
    old.version = 11040
    driver(old)
    assert told().startswith("the NVIDIA driver is too old: it knows CUDA 11.4, exprc needs 12.0\n  update the driver; ")


def test_no_gpu(driver, monkeypatch):
    none = Library()
    none.status = libcuda.NO_DEVICE
    driver(none)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert told().startswith("the NVIDIA driver finds no GPU\n  is one in the machine, and given to it?")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert told() == "the NVIDIA driver finds no GPU: CUDA_VISIBLE_DEVICES is '-1'\n  unset CUDA_VISIBLE_DEVICES, or name a GPU in it"


PYCUDA = {
    ModuleNotFoundError("No module named 'pycuda'"): (
        "device=\"cuda\" needs pycuda, which is not installed\n  pip install 'exprc[cuda]'"
    ),
    ImportError("_driver.so: undefined symbol: cuCtxCreate_v4"): (
        "pycuda cannot be loaded: _driver.so: undefined symbol: cuCtxCreate_v4\n  it may be built for a newer driver: "
    ),
}  # fmt: skip


@pytest.mark.parametrize("error", PYCUDA, ids=lambda e: type(e).__name__)
def test_pycuda_that_is_missing_or_does_not_fit(error, monkeypatch):
    def fail(name):
        raise error

    monkeypatch.setattr(cuda, "import_module", fail)
    assert told(cuda.import_pycuda).startswith(PYCUDA[error])


def test_a_device_that_is_none():
    with pytest.raises(ValueError, match="'gpu' is no GPU\n  GPUs are called cuda, cuda1, cuda2"):
        cuda.open_device("gpu")


def test_every_error_has_something_that_would_mend_it():
    assert all(text and text[0] != " " for text in (*libcuda.MENDS.values(), *libcuda.LOST.values()))
    assert not set(libcuda.MENDS) & set(libcuda.LOST)
