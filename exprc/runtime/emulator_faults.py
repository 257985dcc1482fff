"""What the emulator tells of a kernel that did something wrong, in words."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exprc.errors import KernelError, report
from exprc.runtime.launch import Launch

#: struct fault of kernels/cuda/emulator_engine.c, number by number.
FAULT_FIELDS = (
    "kind", "block_x", "block_y", "block_z", "thread_x", "thread_y", "thread_z", "place", "how", "address", "size",
    "buffer", "offset", "bytes", "other_block_x", "other_block_y", "other_block_z",
    "other_thread_x", "other_thread_y", "other_thread_z", "other_place", "other_how", "first", "second",
)  # fmt: skip

#: enum emulator_fault of kernels/cuda/emulator.h: the word for each.
KINDS = (
    "none", "bounds", "read-only", "misaligned", "uninitialised", "copying", "race", "blocks", "partial-barrier", "divergent-barrier",
    "stuck-warp", "mask", "source-lane", "divergent-warp", "index", "division", "trap", "overrun", "time", "memory",
)  # fmt: skip

_HOW = ("reads", "writes", "updates atomically")
_SHARED = -1  # where others have the address of a buffer

#: kind -> what a thread did; the names in braces are those of `_words`.
_SENTENCES = {
    "bounds": "{how} {size} bytes out of bounds: byte {offset} of {bytes} of {buffer}",
    "read-only": "{how} {size} bytes of {buffer}, which the kernel takes as const",
    "misaligned": "takes {size} bytes at an address that is not a multiple of {second}: {first:#x}",
    "uninitialised": "reads {size} bytes that nothing has written: byte {offset} of {bytes} of {buffer}",
    "copying": "{how} {size} bytes to which an asynchronous copy is under way: byte {offset} of {bytes} of {buffer}",
    "race": "{how} byte {offset} of {buffer}, which another thread of its block {other_how} without a barrier in between",
    "blocks": "{how} byte {offset} of {buffer}, which another block {other_how} in the same launch",
    "partial-barrier": "waits at a barrier that only {first} of {second} threads of its block reach",
    "divergent-barrier": "waits at another barrier than thread {second} of its block, which waits at line {first}",
    "stuck-warp": "waits for lanes of its warp that never come: mask {first:#010x}, arrived {second:#010x}",
    "mask": "is lane {second} of its warp, which the mask {first:#010x} that it gives lacks",
    "source-lane": "shuffles from lane {first} of its warp, which did not take part: mask {second:#010x}",
    "divergent-warp": "gives a matrix instruction to a part of its warp only: {first:#010x}",
    "index": "uses the index {first} of an array that is shorter",
    "division": "divides by 0, or the smallest integer by -1",
    "trap": "traps",
    "overrun": "(some thread) wrote out of bounds: byte {offset} of {bytes} of {buffer}",
    "time": "is still at work when the time given is over",
    "memory": "was the last that there was room to take notes of",
}
_FIXES = {
    "overrun": "config.override(emulator='check') finds the thread and the line",
    "copying": "wait for the group of the copy (copy_wait), then at a barrier where another thread uses what was copied",
    "race": "__syncthreads() or, inside a warp, __syncwarp() orders them",
    "blocks": "blocks run in any order: give each its own place, or use atomics",
    "partial-barrier": "let all threads reach it: a thread that has nothing to do must not return before",
    "divergent-barrier": "move the barrier out of the branch",
    "uninitialised": "is a barrier missing, or does what should fill the buffer not write all of it?",
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel, as the text declares it."""

    name: str
    read_only: bool


def fault_error(fault: dict[str, int], launch: Launch, module: Any) -> KernelError:
    """The error for a fault that the engine found in a launch."""
    kind = KINDS[fault["kind"]]
    block, thread = _triple(fault, "block"), _triple(fault, "thread")
    line = _line(fault["place"], module)
    what = f"{launch.kernel}: thread {thread} of block {block} {_SENTENCES[kind].format(**_words(fault, launch, module))}"
    if kind == "overrun":
        what = what.replace(f"thread {thread} of block {block} ", "")
    rows = [("at", _shown(line, module), "")] * bool(line)
    if fault["other_place"]:
        other = f"thread {_triple(fault, 'other_thread')} of block {_triple(fault, 'other_block')}"
        rows.append(("other", f"{other}, {_shown(_line(fault['other_place'], module), module)}", ""))
    return KernelError(report(what, rows, _FIXES.get(kind, "")), kind, launch.kernel, block, thread, line)


def _triple(fault: dict[str, int], what: str) -> tuple[int, int, int]:
    return fault[f"{what}_x"], fault[f"{what}_y"], fault[f"{what}_z"]


def _words(fault: dict[str, int], launch: Launch, module: Any) -> dict[str, Any]:
    named = {name: fault[name] for name in ("size", "bytes", "first", "second")}
    buffer, offset = _buffer(fault, launch, module)
    size = fault["size"] or "the"
    return {**named, "size": size, "buffer": buffer, "offset": offset, "how": _HOW[fault["how"]], "other_how": _HOW[fault["other_how"]]}


def _buffer(fault: dict[str, int], launch: Launch, module: Any) -> tuple[str, int]:
    """What memory a fault is about, and the byte of it: the argument that begins there, or lies at or before the place."""
    if fault["buffer"] == _SHARED:
        return "shared memory", fault["offset"]
    if not fault["buffer"]:
        return f"no buffer at all (address {fault['address']:#x})", fault["offset"]
    begin, place = fault["buffer"], fault["buffer"] + fault["offset"]
    inside = [i for i, a in enumerate(launch.arguments) if begin <= a <= begin + fault["bytes"]]
    fitting = [i for i in inside if launch.arguments[i] <= place] or inside
    if not fitting:
        return f"a buffer that is no argument of the launch (address {begin:#x})", fault["offset"]
    index = launch.arguments.index(begin) if begin in launch.arguments else max(fitting, key=lambda i: launch.arguments[i])
    given = module.parameters.get(launch.kernel, ())
    name = f"{given[index].name} (argument {index})" if index < len(given) else f"argument {index}"
    ahead = launch.arguments[index] - begin
    return (f"{name}, which begins at byte {ahead} there" if ahead else name), fault["offset"]


# Lines


def _line(place: int, module: Any) -> int:
    """The line of a place: the number itself, or looked up for a place in the machine code; 0 where that cannot be."""
    if place >= 0:
        return place
    command = shutil.which("addr2line")
    if command is None:
        return 0
    asked = [command, "-i", "-e", str(module.program), hex(-place)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"module\.cu:(\d+)", done.stdout)
    return int(found[1]) if found else 0


def _shown(line: int, module: Any) -> str:
    lines = module.text.splitlines()
    if not 1 <= line <= len(lines):
        return "(line not known)"
    return f"line {line}: {lines[line - 1].strip()}"


# Parameters


def parameters_of(text: str) -> dict[str, tuple[Parameter, ...]]:
    """The kernels of a text with their parameters, as far as they can be read without a compiler.

    Entries whose name and parameters are macros (``KERNEL``, ``PARAMS``) are found through their definitions.

    >>> parameters_of("EXPRC_KERNEL void twice(const float *x, float *y, long long n) {}")["twice"][0]
    Parameter(name='x', read_only=True)
    """
    found = {}
    for head in _heads(text):
        match = re.match(r"EXPRC_KERNEL\s+void\s+(?:\w*(?:BOUNDS|bounds__)\s*\([^()]*\)\s*)?(.+?)\(([^()]*)\)\s*\{", head)
        if match:
            found[match[1].strip()] = tuple(_parameter(p) for p in match[2].split(",") if p.strip())
    return found


def _parameter(text: str) -> Parameter:
    name = re.search(r"(\w+)\s*$", text)
    return Parameter(name[1] if name else "?", "*" in text and bool(re.match(r"\s*(const\b|\w+\s+const\b)", text)))


def _heads(text: str) -> Iterator[str]:
    """The heads of the entries, up to ``{``, with the macros of the text replaced."""
    macros: dict[str, str] = {}
    skipping, head = [False], ""
    for line in text.replace("\\\n", " ").replace('extern "C" __global__', "EXPRC_KERNEL").splitlines():
        if line.startswith("#"):
            _directive(line, macros, skipping)
        elif not skipping[-1] and (head or "EXPRC_KERNEL" in line):
            head = f"{head} {line.partition('//')[0]}"
            if "{" in head:
                yield _replaced(head[head.index("EXPRC_KERNEL") :].partition("{")[0] + "{", macros)
                head = ""


def _directive(line: str, macros: dict[str, str], skipping: list[bool]) -> None:
    word, _, rest = line[1:].strip().partition(" ")
    name, _, body = rest.strip().partition(" ")
    if word in ("ifdef", "ifndef", "if"):
        skipping.append(skipping[-1] or (word == "ifndef" and name in macros) or (word == "ifdef" and name not in macros))
    elif word == "endif" and len(skipping) > 1:
        skipping.pop()
    elif word == "else" and len(skipping) > 1:
        skipping[-1] = skipping[-2] or not skipping[-1]
    elif skipping[-1]:
        return
    elif word == "define" and "(" not in name:
        macros[name] = re.sub(r"/\*.*?\*/", "", body).strip()
    elif word == "undef":
        macros.pop(name, None)


def _replaced(head: str, macros: dict[str, str]) -> str:
    for _ in range(4):
        head = re.sub(r"\b\w+\b", lambda word: macros.get(word[0], word[0]) if word[0] != "EXPRC_KERNEL" else word[0], head)
    return re.sub(r"EXPRC_NAME\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)", r"\1_\2", head)
