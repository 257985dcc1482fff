"""Settings: one object, read when a leaf or a function is made, never deep inside.

A setting comes from ``EXPRC_FLAGS="floatX=float64,threads=1"``, from an assignment to the attribute, or for the length of a block from
`config.override`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from exprc.errors import nearest, no_attribute, report


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    return check


def _switch(value: Any) -> bool:
    words = {"1": True, "true": True, "0": False, "false": False}
    if str(value).lower() not in words:
        raise ValueError(f"{value!r} is neither true nor false")
    return words[str(value).lower()]


def _count(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value).strip()):
        raise ValueError(f"{value!r} is no whole number of at least 0")
    return int(value)


def _devices(value: Any) -> str:
    names = str(value).replace(" ", "").split(",")
    for name in names:
        if not re.fullmatch(r"cpu|cuda\d*|cuda-emulator", name):
            raise ValueError(f"{name!r} is none of cpu, cuda, cuda1 ..., cuda-emulator")
    return ",".join(names)


#: How exact products, convolutions among them, are computed in float32. What a device offers of these says its machine.
PRECISIONS = ("float32", "strict", "tf32", "bf16")

#: What `cuda_libraries` may name.
LIBRARIES = ("cublas", "cudnn")


def _libraries(value: Any) -> str:
    names = str(value).replace(" ", "").split(",")
    if names in (["off"], ["auto"]):
        return names[0]
    for name in names:
        if name not in LIBRARIES:
            raise ValueError(f"{name!r} is none of off, auto, {', '.join(LIBRARIES)}")
    return ",".join(names)


#: name -> (default, check, what it does)
SETTINGS: dict[str, tuple[Any, Callable[[Any], Any], str]] = {
    "floatX": ("float32", _one_of("float32", "float64"), "dtype of inputs of unstated dtype and of mathematics on integers"),
    "device": (
        "cpu", _devices, "where compiled functions run: cpu, cuda, cuda1 ..., cuda-emulator; of several, cuda,cpu, the first that is there"
    ),
    "mode": ("compiled", _one_of("compiled", "reference"), "compiled: generated C; reference: the NumPy interpreter"),
    "threads": (0, _count, "threads of a compiled function; 0: as many as the process may use"),
    "precision": (
        "float32", _one_of(*PRECISIONS),
        "how float32 products are computed: float32; strict: as sums, by no algorithm with fewer products; tf32, bf16: of rounded factors",
    ),
    "flush_subnormals": (False, _switch, "treat subnormal numbers as 0 inside compiled functions (faster where they occur)"),
    "cuda_libraries": (
        "off", _libraries,
        "auto: on a GPU plain products of matrices are cuBLAS's, and convolutions cuDNN's, where these are found; cublas, cudnn, or both:"
        " it must be found; off: all kernels are exprc's own",
    ),
    "emulator": ("plain", _one_of("plain", "check"), "how cuda-emulator runs kernels: plain: fast; check: every access is looked at"),
    "emulator_order": (
        "forward",
        _one_of("forward", "reverse", "random"),
        "the order in which cuda-emulator runs blocks and threads: a result that depends on it is a race",
    ),
    "progress": ("auto", _one_of("auto", "on", "off"), "whether stderr tells of compiling that takes over 2 s; auto: if a terminal"),
    "on_unused_input": ("raise", _one_of("raise", "warn", "ignore"), "what function() does with an input that no output needs"),
}


class Config:
    """The settings as attributes; see `SETTINGS` for what there is.

    >>> config = Config("floatX=float64")
    >>> config.floatX
    'float64'
    >>> with config.override(floatX="float32"):
    ...     config.floatX
    'float32'
    """

    floatX: str
    device: str
    mode: str
    threads: int
    precision: str
    flush_subnormals: bool
    cuda_libraries: str
    emulator: str
    emulator_order: str
    progress: str
    on_unused_input: str

    def __init__(self, flags: str = ""):
        for name, (default, _, _) in SETTINGS.items():
            object.__setattr__(self, name, default)
        for flag in filter(None, (f.strip() for f in re.split(r",(?=[^,]*=|\s*$)", flags))):  # a value may be a list, as in device=cuda,cpu
            name, equals, value = flag.partition("=")
            if not equals:
                raise ValueError(f"EXPRC_FLAGS: {flag!r} is not of the form name=value")
            setattr(self, name.strip(), value.strip())

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, self.checked(name, value))

    def checked(self, name: str, value: Any) -> Any:
        """Return what a setting would be; raise AttributeError for one that there is not, ValueError for a value that it cannot have."""
        if name not in SETTINGS:
            fix = nearest(name, SETTINGS) or f"settings: {', '.join(SETTINGS)}"
            raise no_attribute(report(f"config has no setting {name!r}", fix=fix), name)
        try:
            return SETTINGS[name][1](value)
        except ValueError as error:
            what = f"config.{name}: {error}"
            raise ValueError(report(what, fix=f"{SETTINGS[name][2]}; the default is {SETTINGS[name][0]!r}")) from None

    @contextmanager
    def override(self, **settings: Any) -> Iterator[None]:
        """Change settings for the length of a ``with`` block."""
        before = {name: getattr(self, name) for name in settings if name in SETTINGS}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def __repr__(self) -> str:
        return "\n".join(f"{n} = {getattr(self, n)!r}  ({doc})" for n, (_, _, doc) in SETTINGS.items())


config = Config(os.environ.get("EXPRC_FLAGS", ""))
