"""What kernels take of a GPU, by the compiler: no GPU is needed.

    python -m benchmarks.gpu_resources [--architectures sm_80,sm_90,sm_100]     products and convolutions
    python -m benchmarks.gpu_resources --net lenet --batch 128                  the launches of a training step, with operations and bytes

Registers, shared memory, how many warps find room at a time, and what does not fit in registers.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import exprc
from benchmarks import nets
from benchmarks.exprc_step import training_step
from benchmarks.gpu_cases import BYTES, FLOAT32, product_graphs
from exprc import build
from exprc.loops import Template
from exprc.machines.cpu import flops
from exprc.machines.device import DeviceRunner
from exprc.ops.tiling import WARPS, blocks_at_once
from exprc.runtime.cubin import flags
from exprc.runtime.launch import CUDA, precisions
from exprc.types import itemsize


def loaded(make: Callable[[], Any]) -> Any:
    """What a function of a GPU that is not there would run: make() returns the function."""
    device = SimpleNamespace(name="cuda", target=CUDA, precisions=precisions((9, 0)), may_ask=[].append, libraries=tuple)
    device.load = lambda text, *how: SimpleNamespace(cached=False, compile_seconds=0.0, text=text)
    with mock.patch.object(build, "open_device", lambda name: device), exprc.config.override(device="cuda"):
        return make()._compiled.last


def launches_of(made: Any) -> tuple[str, list[Any]]:
    """The text of a program, and its launches."""
    return "".join(made.text), DeviceRunner(made, {}, [], frozenset()).launches


def compiled(text: str, architecture: str) -> dict[str, tuple[int, int]]:
    """The registers of each kernel of a text, and the bytes that it keeps in memory for lack of more."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.cu").write_text(text, encoding="utf-8")
        command = ["nvcc", *flags(architecture), "-Xptxas", "-v", "--cubin", "-o", "text.cubin", "text.cu"]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr
    found = re.findall(r"entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers", said, re.DOTALL)
    return {name: (int(registers), int(spilled)) for name, spilled, registers in found}


def rows(name: str, value: Any, precision: str, architectures: Sequence[str]) -> list[str]:
    """A line of the table for each kernel of an expression."""
    text, launches = launches_of(loaded(lambda: exprc.function([], value, precision=precision)))
    found = {a: compiled(text, a) for a in architectures}
    made = []
    for launch in launches:
        registers, shape = found[architectures[-1]][launch.kernel][0], launch.shape
        held = blocks_at_once(shape.threads, registers, shape.shared)
        spilled = " / ".join(str(found[a][launch.kernel][1]) for a in architectures)
        room = f"{held} blocks, {held * -(-shape.threads // 32)} of {WARPS} warps"
        made.append(f"| {name} | {precision} | {shape.blocks} × {shape.threads} | {registers} | {shape.shared} | {room} | {spilled} |")
    return made


def step_rows(net: str, batch: int, architectures: Sequence[str]) -> list[str]:
    """A line of the table for each launch of a training step."""
    made = loaded(lambda: training_step(nets.NETS[net], batch).compile("step"))
    text, launches = launches_of(made)
    found = {a: compiled(text, a) for a in architectures}
    lines = []
    for steps, launch in zip(made.lowered.launched(), launches, strict=True):
        operations = sum(flops(made.plan, made.plan.steps[int(s.name[1:])], int) for s in steps if isinstance(s, Template))
        moved = sum(int(b.size) * itemsize(b.dtype) for b in launch.buffers)
        registers, shape = found[architectures[-1]][launch.kernel][0], launch.shape
        held = min(blocks_at_once(shape.threads, registers, shape.shared) * -(-shape.threads // 32), WARPS)
        spilled = sum(of[launch.kernel][1] for of in found.values())
        what = "; ".join(s.comment.split(":")[0] for s in steps)
        floor = 1e6 * max(operations / FLOAT32, moved / BYTES)
        lines.append(
            f"| {what} | {shape.blocks} × {shape.threads} | {operations / 1e6:.1f} | {moved / 1e6:.2f} | {floor:.1f}"
            f" | {registers} | {shape.shared} | {held} | {spilled} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_resources", description=__doc__)
    parser.add_argument("--architectures", default="sm_80,sm_100,sm_90")
    parser.add_argument("--only", default="", help="products whose names begin so")
    parser.add_argument("--net", choices=nets.NETS, help="the launches of a training step of this network instead")
    parser.add_argument("--batch", type=int, default=128)
    asked = parser.parse_args()
    architectures = asked.architectures.split(",")
    if asked.net:
        print("| launch | blocks × threads | MFLOP | MB | floor, µs | registers | shared bytes | warps of 64 | spilled bytes |")
        print(f"| ---{' | ---:' * 8} |")
        print("\n".join(step_rows(asked.net, asked.batch, architectures)))
        return
    print(f"| kernel | precision | blocks × threads | registers | shared bytes | at once | spilled: {' / '.join(architectures)} |")
    print("| --- | --- | ---: | ---: | ---: | --- | ---: |")
    for name, value in product_graphs():
        for precision in ("float32", "tf32", "bf16"):
            if name.startswith(asked.only):
                print("\n".join(rows(name, value, precision, architectures)), flush=True)


if __name__ == "__main__":
    main()
