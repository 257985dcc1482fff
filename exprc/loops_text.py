"""Loops as text to read: pseudo-C, a line a statement. What a compiler reads is printed by `exprc.render`."""

from __future__ import annotations

import re
from typing import Any

from exprc.loops import (
    Accum,
    Alloc,
    Apply,
    Barrier,
    Check,
    Copy,
    Function,
    If,
    Index,
    Kernel,
    Let,
    Literal,
    Load,
    Loop,
    Program,
    Ref,
    Select,
    Shuffle,
    Store,
    Template,
)

_SIMPLE = re.compile(r"[\w.]+|\w+\[[^][]*\]")


def text_of(what: Any) -> str:
    """Return a Program, a step of one, a hook, a statement or a value as readable text.

    >>> from exprc.loops import Buffer
    >>> x, y = Buffer("x", "float32", 8), Buffer("y", "float32", 8)
    >>> from exprc.size import symbol
    >>> i = symbol("i", 0, 7)
    >>> double = Apply("{a} + {a}", (("a", Load(x, i)),), "float32")
    >>> print(text_of(Kernel("k", (x, y), (y,), 1, (Loop("i", 8, "lanes", (Store(y, i, double),)),), "add")))
    kernel k(x: float32[8], y: float32[8]) writes y, 1 blocks  // add
        lanes i < 8
            y[i] = x[i] + x[i]
    """
    return "\n".join(_lines(what))


def _lines(what: Any) -> list[str]:
    if isinstance(what, Program):
        sizes = ", ".join(name if value is None else f"{name} = {value}" for name, value in what.sizes.items())
        steps = (line for s in what.steps for line in ["", *_lines(s)])
        return [f"program of {len(what.steps)} steps, sizes: {sizes or 'none'}", *steps]
    if isinstance(what, Kernel):
        threads = f" of {what.threads} threads" if what.threads else ""
        return [f"kernel {_head(what)}, {what.blocks} blocks{threads}{_comment(what)}", *_body(what.body)]
    if isinstance(what, Template):
        head = f"template {_head(what)}: {what.text}, {what.dtype}, {what.lanes} lanes{_comment(what)}"
        macros = [f"    {name} = {size}" for name, size in what.macros.items()]
        return [head, *macros, *("    " + line for hook in what.hooks for line in _lines(hook))]
    if isinstance(what, Function):
        return _function(what)
    if isinstance(what, Copy):
        return [f"copy {what.target}[0 .. {what.count}] = {what.source}[0 .. {what.count}]"]
    if isinstance(what, (Literal, Ref, Load, Apply, Index, Select, Shuffle)):
        return [_value(what)]
    return _statement(what)


def _head(step: Any) -> str:
    buffers = ", ".join(f"{b}: {b.dtype}[{b.size}]" for b in step.buffers)
    written = f" writes {', '.join(map(str, step.written))}" if step.written else ""
    return f"{step.name}({buffers}){written}"


def _comment(step: Any) -> str:
    return f"  // {step.comment}" if step.comment else ""


def _function(hook: Function) -> list[str]:
    arguments = [*hook.arguments, *([f"{hook.value.name}: {hook.value.dtype}"] if hook.value else [])]
    result = [] if hook.result is None else [_returned(hook)]
    return [f"hook {hook.name}({', '.join(arguments)})", *_body(hook.body), *(f"    {line}" for line in result)]


def _returned(hook: Function) -> str:
    value = _value(hook.result)
    return f"return {value}" if hook.pointer is None else f"return address of {hook.pointer}[{value}]"


def _body(body: tuple[Any, ...]) -> list[str]:
    return ["    " + line for s in body for line in _statement(s)]


def _statement(s: Any) -> list[str]:
    match s:
        case Loop():
            steps = "" if s.step == 1 and s.first == 0 else f", from {s.first} by {s.step}"
            return [f"{s.kind} {s.var} < {s.extent}{steps}", *_body(s.body)]
        case If():
            return [f"if {_conditions(s.conditions)}", *_body(s.body)]
        case Let():
            return [f"{s.dtype} {s.name} = {_value(s.value)}"]
        case Alloc():
            shared = "" if s.buffer.shared is None else f", shared at {s.buffer.shared}"
            return [f"{s.buffer.dtype} {s.buffer}[{s.buffer.size}]{shared}"]
        case Store():
            return [f"{s.buffer}[{s.address}] = {_value(s.value)}"]
        case Accum():
            targets = ", ".join(f"{b}[{address}]" for b, address in s.targets)
            return [f"{targets} = {', '.join(map(_value, s.values))}"]
        case Check():
            return [f"index {s.name} = {_value(s.index)} checked against {s.limit}  // check {s.code}"]
        case Barrier():
            return ["barrier of the warp" if s.warp else "barrier"]
    raise TypeError(f"{type(s).__name__} is no part of the language Loops")


def _conditions(conditions: Any) -> str:
    return " and ".join(f"0 <= {e} < {n}" for e, n in conditions) or "true"


def _value(v: Any) -> str:
    match v:
        case Literal():
            return str(v.value)
        case Ref():
            return v.name
        case Load():
            return f"{v.buffer}[{v.address}]"
        case Index():
            return str(v.dim)
        case Select():
            return f"({_conditions(v.conditions)}) ? {_operand(v.value)} : {_operand(v.other)}"
        case Shuffle():
            return f"{_value(v.value)} of the {'first' if v.by == 0 else f'thread {v.by} on'} of {v.width}"
        case Apply():
            known = {"T": v.dtype, **{name: _operand(arg) for name, arg in v.args}}
            return re.sub(r"{(\w+)}", lambda m: known.get(m[1], m[0]), v.text)
    return str(v)  # an address that is no value, or something foreign: shown as it is


def _operand(v: Any) -> str:
    text = _value(v)
    return text if _SIMPLE.fullmatch(text) else f"({text})"
