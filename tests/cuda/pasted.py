"""Texts of kernels/cuda pasted several times in one module, with hooks in plain CUDA, and run on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exprc.forms import Arg, Implementation, Kernel
from exprc.render.base import kernel_source
from exprc.runtime.launch import Device, Launch
from exprc.types import itemsize

Array = np.ndarray[Any, Any]

C_NAMES = {"float32": "float", "float64": "double", "int64": "long long", "int32": "int"}


class Paste:
    """One paste of an implementation: which arrays it has, which sizes are arguments, its hooks.

    Parameters
    ----------
    buffers : declarations of the pointers, the results last. hooks : macro with its arguments -> text.
    args, outs : shapes and dtypes as the rules of the record see them. given : names of the sizes that are arguments.

    Each hook that loads is an element as it lies in memory, and the text is told so, but for those in `computed`.
    """

    def __init__(
        self, name: str, impl: Implementation, buffers: Sequence[str], hooks: Mapping[str, str], args: Sequence[Arg], outs: Sequence[Arg],
        params: Mapping[str, Any] | None = None, given: Sequence[str] = (), flags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name, self.impl, self.given = name, impl, given
        self.sizes = {k: int(v) for k, v in impl.sizes(args, outs, params or {}, 1).items()}  # type: ignore[call-overload]
        self.type, self.itemsize = C_NAMES[args[0].dtype], itemsize(args[0].dtype)
        declared = [b.replace("T *", f"{self.type} *__restrict__ ") for b in buffers]
        self.params = ", ".join([*declared, *(f"long long {n}" for n in given)])
        self.flags = {f: int(f in flags) for f in impl.flags}
        self.hooks = hooks
        self.computed: set[str] = set()

    def text(self, changed: Mapping[str, str] | None = None) -> str:
        """Return the text; `changed` has other texts for some of the files."""
        sources = {name: kernel_source(f"cuda/{name}") for name in self.impl.text.split()} | dict(changed or {})
        sizes = {n: n if n in self.given else v for n, v in self.sizes.items()}
        macros = {"KERNEL": self.name, "T": self.type, "PARAMS": self.params, **sizes, **self.flags, **self._loads()}
        lines = [f"#define {n} {v}" for n, v in macros.items()]
        ends = [f"#undef {n.split('(')[0]}" for n in macros]
        return "\n".join([*lines, *(sources[name] for name in self.impl.text.split()), *ends, ""])

    def _loads(self) -> dict[str, Any]:
        """The hooks, and what the text is told of those that load."""
        names = {hook.split("(")[0]: hook for hook in self.hooks}
        values = {hook: f"(+{self.hooks[hook]})" for name, hook in names.items() if name in self.computed}
        stored = {f"{name}_STORED": 1 for name in names if name.startswith("LOAD_") and name not in self.computed}
        return {**self.hooks, **values, **stored}

    def launches(self, addresses: Sequence[int], blocks: int | None = None) -> list[Launch]:
        """Return the launches of the implementation's own rule, or with another number of blocks."""
        assert self.impl.launch is not None
        arguments = (*addresses, *(self.sizes[n] for n in self.given))
        own, threads, shared = self.impl.launch(self.sizes, self.itemsize)
        grid = (blocks or own, 1, 1)
        return [Launch(self.name, grid, (threads, 1, 1), shared, arguments)] if grid[0] else []


def module_text(pastes: Sequence[Paste]) -> str:
    return kernel_source("cuda/prelude.cuh") + "\n".join(p.text() for p in pastes)


def of_device(record: Kernel, name: str) -> Implementation:
    """Return the CUDA implementation of a record that has this name."""
    (impl,) = (i for i in record.implementations if i.device == "cuda" and i.name == name)
    return impl


def run(device: Device, module: Any, paste: Paste, inputs: Sequence[Array], outputs: Sequence[Array], blocks: int | None = None) -> None:
    """Run one paste; `outputs` are filled."""
    arrays = [*inputs, *outputs]
    memory = [device.allocate(max(a.nbytes, 1)) for a in arrays]
    for m, a in zip(memory, inputs):
        device.write(m.address, np.ascontiguousarray(a))
    device.prepare(module, paste.launches([m.address for m in memory], blocks)).run()
    for m, a in zip(memory[len(inputs) :], outputs):
        device.read(m.address, a)


def normal(seed: int, dtype: Any, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def arg(array: Array) -> Arg:
    return Arg(array.shape, array.dtype.name)
