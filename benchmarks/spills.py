"""What the C compiler made of the hot loops of a LeNet training step: do their registers suffice?

    python -m benchmarks.spills

The steps that take most of the time are found with `f.profile()`; their text is compiled to assembly with exprc's own flags. In each
innermost loop with multiply-adds it counts those, and the moves of vectors to and from the stack: a value that found no register.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import exprc
from benchmarks import nets
from benchmarks.exprc_step import training_step
from benchmarks.table import table
from exprc.runtime import compiler, cpu

#: Loops with fewer multiply-adds are no kernels.
LEAST = 4
_LABEL, _FUNCTION = re.compile(r"^(\.?[\w.$]+):"), re.compile(r"^([A-Za-z_]\w*?)(\.\w+)*:")
_JUMP = re.compile(r"^\s+(?:j[a-z]+|b\.?[a-z]*|cbn?z|tbn?z)\s+(?:\w+,\s*)*(\.L[\w.$]+)")
_FMA = re.compile(r"\bv?fn?m(?:add|sub|la|ls)\w*\b")
#: A vector register and an address on the stack in one instruction: x86, then 64-bit ARM.
_SPILL = re.compile(r"(?=.*%[xyz]mm\d)(?=.*\(%r(?:sp|bp)\b)|(?=.*\b[qv]\d+\b)(?=.*\[(?:sp|x29)\b)")


class Loop(NamedTuple):
    """An innermost loop of a function: its instructions, multiply-adds, and moves of vectors to and from the stack."""

    function: str
    instructions: int
    products: int
    spills: int


def loops(assembly: str) -> Iterator[Loop]:
    """Yield the innermost loops: from a label to a jump back to it, with no other such pair inside."""
    lines = assembly.splitlines()
    function, starts, begun = "", {}, []
    for number, text in enumerate(lines):
        if found := _LABEL.match(text):
            starts[found[1]] = number
            named = _FUNCTION.match(text)
            function = named[1] if named and not found[1].startswith(".") else function
        elif (jump := _JUMP.match(text)) and (start := starts.get(jump[1])) is not None:
            if not any(start <= s for s in begun):
                body = [line for line in lines[start : number + 1] if line.startswith(("\t", " ")) and not line.strip().startswith(".")]
                yield Loop(function, len(body), sum(bool(_FMA.search(b)) for b in body), sum(bool(_SPILL.match(b)) for b in body))
            begun.append(start)


def assembled(texts: Sequence[str], target: compiler.Target) -> list[str]:
    """Compile texts as exprc does, but to assembly."""
    told = (*compiler.find_compiler().command, *compiler.flags(target), "-S", "-o", "-")
    made = []
    with tempfile.TemporaryDirectory(prefix="exprc-spills-") as folder:
        for k, text in enumerate(texts):
            unit = Path(folder) / f"unit{k}.c"
            unit.write_text(text, encoding="utf-8")
            made.append(subprocess.run([*told, str(unit)], capture_output=True, text=True, check=True).stdout)
    return made


def step_of(function: str) -> str:
    """The step that a function of a generated text belongs to: k3 and k3_tile are of step k3."""
    return function.partition("_")[0]


def hot(net: nets.Net, batch: int, count: int) -> tuple[list[Any], list[str]]:
    """Return the rows of a profile that take most time, and the texts of the program."""
    f = training_step(net, batch).compile(f"{net.name} step")
    task = nets.digits_task(net, batch, 1)
    rows = f.profile(task.images[0], task.labels[0], calls=5).rows
    return sorted(rows, key=lambda row: -row.seconds)[:count], f._compiled.last.text


def report(net: nets.Net, batch: int, count: int) -> list[str]:
    rows, texts = hot(net, batch, count)
    found: dict[str, list[Loop]] = {}
    for assembly in assembled(texts, cpu.host_target()):
        for loop in loops(assembly):
            if loop.products >= LEAST:
                found.setdefault(step_of(loop.function), []).append(loop)
    lines = []
    for row in rows:
        inner = found.get(step_of(row.name), [])
        worst = max(inner, key=lambda loop: loop.spills, default=Loop("", 0, 0, 0))
        largest = max((loop.products for loop in inner), default=0)
        lines.append([row.name, row.comment, f"{row.share:.0%}", str(len(inner)), str(largest), str(sum(x.spills for x in inner)),
                      f"{worst.spills} beside {worst.products}"])  # fmt: skip
    titles = ("step", "what", "of the time", "inner loops", "most multiply-adds", "vectors to or from the stack", "in the worst")
    return table(titles, lines)


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spills", description="Registers in the hot loops of a training step.")
    parser.add_argument("--net", choices=list(nets.NETS), default="lenet")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--count", type=int, default=4, help="how many steps (default: 4)")
    args = parser.parse_args(given)
    exprc.set_threads(1)
    found = compiler.find_compiler()
    print(f"{args.net}, batch {args.batch}; {found.version.splitlines()[0]}; {cpu.host_target().name}\n")
    print("\n".join(report(nets.NETS[args.net], args.batch, args.count)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
