"""What the C and the CUDA printer share: sizes, literals, values and statements."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from exprc.loops import (
    Accum,
    Alloc,
    Apply,
    Barrier,
    Buffer,
    Check,
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
    statements,
    subvalues,
    values_of,
)  # fmt: skip
from exprc.size import Atom, Dim, Size, Symbol, nonnegative
from exprc.types import C_TYPES


@cache
def kernel_source(name: str) -> str:
    """Return a text of ``kernels/``."""
    path = kernel_folder() / name
    if not path.is_file():
        raise FileNotFoundError(f"the kernel text {name} is missing from this installation of exprc; install it again")
    return path.read_text(encoding="utf-8")


def kernel_folder() -> Path:
    """Return where ``kernels/`` is: in the package where that was installed, beside it where it is a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "kernels"
    return inside if inside.is_dir() else package.parent / "kernels"


# -- integers


def dim_text(x: Dim) -> str:
    """Print an integer expression.

    >>> from exprc.size import symbol
    >>> dim_text(symbol("i") * 4 + symbol("j") + 1)
    '4*i + j + 1'
    """
    if not isinstance(x, Size):
        return str(x)
    text = ""
    for atoms, factor in sorted(x.terms.items(), key=_stride_first):
        term = "*".join([str(abs(factor))] * (abs(factor) != 1 or not atoms) + [_atom_text(a) for a in atoms])
        text += (" - " if factor < 0 else " + ") + term
    return text[3:] if text.startswith(" + ") else "-" + text[3:]


def _stride_first(term: tuple[tuple[Any, ...], int]) -> Any:
    """Constants last; of the others those with more symbols first, then those with larger factors."""
    atoms, factor = term
    return (not atoms, -len(atoms), -abs(factor), str(atoms))


def _atom_text(atom: Any) -> str:
    if isinstance(atom, Symbol):
        return atom.name
    assert isinstance(atom, Atom)
    a, b = (dim_text(x) for x in atom.args)
    if atom.kind in ("min", "max"):
        return f"{'minimum' if atom.kind == 'min' else 'maximum'}((int64_t)({a}), (int64_t)({b}))"
    if all(nonnegative(x) for x in atom.args):
        p, q = (t if t.isidentifier() or t.isdigit() else f"({t})" for t in (a, b))
        return f"({p} {'/' if atom.kind == '//' else '%'} {q})"
    return f"{'floor_divide' if atom.kind == '//' else 'mod'}((int64_t)({a}), (int64_t)({b}))"


def condition_text(conditions: Sequence[tuple[Dim, Dim]]) -> str:
    """Print ``0 <= e < n`` for each pair; one comparison where the lower end is sure."""
    parts = []
    for e, n in conditions:
        low = "" if nonnegative(e) else f"{dim_text(e)} >= 0 && "
        parts.append(f"{low}{dim_text(e)} < {dim_text(n)}")
    return " && ".join(parts)


# -- values


def literal_text(value: Any, dtype: str) -> str:
    """Print a constant so that the compiler reads back the same bits."""
    if dtype == "bool":
        return "1" if value else "0"
    if dtype == "float16":
        return hex(np.float16(value).view(np.uint16))
    if dtype in ("float32", "float64"):
        return _float_text(float(value), dtype)
    text = f"(-{2**63 - 1} - 1)" if value == -(2**63) else (f"{value}u" if value >= 2**63 else str(value))
    return text if dtype == "int32" else f"({C_TYPES[dtype]})({text})" if value < 0 else f"({C_TYPES[dtype]}){text}"


def _float_text(value: float, dtype: str) -> str:
    suffix = "f" if dtype == "float32" else ""
    if math.isnan(value):
        return f'__builtin_nan{suffix}("")'
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}__builtin_inf{suffix}()"
    text = str(np.float32(value)) if suffix else repr(value)  # the shortest that reads back as the same number
    return (text if "." in text or "e" in text else text + ".0") + suffix


def value_text(value: Any) -> str:
    if isinstance(value, Literal):
        text = literal_text(value.value, value.dtype)
        return f"({text})" if text.startswith("-") else text
    if isinstance(value, Ref):
        return value.name
    if isinstance(value, Index):
        text = dim_text(value.dim)
        return text if text.isidentifier() else f"(int64_t)({text})"  # variables of loops are int64_t
    if isinstance(value, Load):
        return element_text(value.buffer, value.address)
    if isinstance(value, Shuffle):
        kind, by = ("_down", value.by) if value.by else ("", 0)
        return f"({C_TYPES[value.dtype]})__shfl{kind}_sync(0xffffffffu, {value_text(value.value)}, {by}, {value.width})"
    if isinstance(value, Select):
        return f"({condition_text(value.conditions)} ? {value_text(value.value)} : {value_text(value.other)})"
    return apply_text(value)


def apply_text(value: Apply) -> str:
    """Fill the operands in a scalar text."""
    filled = {name: value_text(arg) for name, arg in value.args}
    return value.text.format_map({**filled, "T": C_TYPES[value.dtype], "lowest": "", "highest": ""})


def element_text(buffer: Buffer, address: Dim) -> str:
    if buffer.local and buffer.size == 1 and buffer.shared is None:
        return buffer.name
    return f"{buffer.name}[{dim_text(address)}]"


# -- statements


class Printer:
    """Prints statements; a backend says how a loop begins (`loop_head`) and how it notes a failed check."""

    status = "status"
    folder = ""  # of the texts in kernels/

    def loop_head(self, loop: Loop) -> list[str]:
        raise NotImplementedError("a backend prints its loops")

    def barrier(self, warp: bool = False) -> str:
        raise NotImplementedError("a backend prints its barrier")

    def index_type(self, hook: Function) -> str:
        """The type of the indices that a hook takes."""
        return "int64_t"

    def stored(self, hook: Function) -> Load | None:
        """The element that a hook is, where a text may ask for the place of it: then the text sees ``NAME_STORED``."""
        return None

    def lines(self, body: Sequence[Any], depth: int) -> Iterator[str]:
        pad = "    " * depth
        for s in body:
            if isinstance(s, Loop):
                yield from (pad + line for line in self.loop_head(s))
                yield from self.lines(s.body, depth + 1)
                yield pad + "}"
            elif isinstance(s, If):
                yield f"{pad}if ({condition_text(s.conditions)}) {{"
                yield from self.lines(s.body, depth + 1)
                yield pad + "}"
            else:
                yield from (pad + line for line in self.statement(s))

    def statement(self, s: Any) -> list[str]:
        if isinstance(s, Let):
            return [f"const {C_TYPES[s.dtype]} {s.name} = {self._rhs(s.value)};"]
        if isinstance(s, Store):
            return [f"{element_text(s.buffer, s.address)} = {self._rhs(s.value)};"]
        if isinstance(s, Alloc) and s.buffer.shared is not None:
            c_type = C_TYPES[s.buffer.dtype]
            count = f"/* {dim_text(s.buffer.size)} elements */"
            return [f"{c_type} *const {s.buffer.name} = ({c_type} *)(shared + {s.buffer.shared});  {count}"]
        if isinstance(s, Alloc):
            size = "" if s.buffer.size == 1 else f"[{dim_text(s.buffer.size)}]"
            return [f"{C_TYPES[s.buffer.dtype]} {s.buffer.name}{size};"]
        if isinstance(s, Accum):
            return self.accumulate(s)
        if isinstance(s, Check):
            return [f"const int64_t {s.name} = checked({value_text(s.index)}, {dim_text(s.limit)}, {s.code}, {self.status});"]
        assert isinstance(s, Barrier), s
        return [self.barrier(s.warp)]

    def _rhs(self, value: Any) -> str:
        return dim_text(value.dim) if isinstance(value, Index) else value_text(value)

    def accumulate(self, s: Accum) -> list[str]:
        """Several values are worked out before the first is written."""
        targets = [element_text(b, at) for b, at in s.targets]
        if len(targets) == 1:
            return [f"{targets[0]} = {value_text(s.values[0])};"]
        lets = [f"const {C_TYPES[b.dtype]} {b.name}_next = {value_text(v)};" for (b, _), v in zip(s.targets, s.values)]
        return ["{", *(f"    {line}" for line in lets), *(f"    {t} = {b.name}_next;" for t, (b, _) in zip(targets, s.targets)), "}"]

    def function_lines(self, f: Function, head: str) -> list[str]:
        stored = self.stored(f)
        lines = [head + " {", *([] if stored else self.lines(f.body, 1))]
        if stored is not None:
            lines.append(f"    return {value_text(stored)};")
        elif f.pointer is not None:
            lines.append(f"    return {f.pointer.name} + ({dim_text(f.result.dim)});")
        elif f.result is not None:
            lines.append(f"    return {self._rhs(f.result)};")
        return [*lines, "}"]


# -- functions: the parameters, the hooks of templates, the texts that they call


#: Texts that are pasted only where a step calls one of their functions.
_ON_CALL = ("c/philox.h", "c/special.h", "c/half.h")


def called(program: Program) -> list[str]:
    """Return those of the texts that are pasted on call which the program needs."""
    texts = {v.text for step in program.steps for s in _all_statements(step) for value in values_of(s)
             for v in subvalues(value) if isinstance(v, Apply)}  # fmt: skip
    halves = any(b.dtype == "float16" for b in program.buffers)
    return [kernel_source(n) for n in _ON_CALL if any(map(_calls_of(n).search, texts)) or (halves and n == "c/half.h")]


@cache
def _calls_of(name: str) -> re.Pattern[str]:
    """What matches a call of a function that a text of `kernels` defines."""
    defined = re.findall(r"^(?:SCALAR \w+ |#define )([a-z]\w*)\(", kernel_source(name), re.M)
    return re.compile(r"\b(?:" + "|".join(defined) + r")\(")


def _all_statements(step: Any) -> list[Any]:
    if isinstance(step, Kernel):
        return list(statements(step.body))
    return [s for h in step.hooks for s in statements(h.body)] if isinstance(step, Template) else []


def comment(text: str) -> str:
    return re.sub(r"[^\w ,.:()\[\]+*<>=→·-]", "?", text)


def parameters(step: Any, names: dict[str, str], sizes: Sequence[str]) -> str:
    """Print the parameters of a step's function: its buffers, `sizes` as they are declared, and the status."""
    buffers = [f"{'' if b in step.written else 'const '}{C_TYPES[b.dtype]} *restrict {names[b.name]}" for b in step.buffers]
    return ", ".join([*buffers, *sizes, "int64_t *status"])


def named(program: Program, *texts: str) -> list[str]:
    """Return the sizes of a program that texts name: a function takes no others, for a program may have a thousand."""
    words = set(re.findall(r"\w+", " ".join(texts))) if program.sizes else ()
    return [name for name in program.sizes if name in words]


def renamed(text: str, names: dict[str, str]) -> str:
    """Replace the program's buffer names by the function's own, so that equal functions have equal texts."""
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + r")\b(?=\[| \+)") if names else None
    return pattern.sub(lambda m: names[m[1]], text) if pattern else text


def named_by(template: Template, program: Program, printer: Printer) -> list[str]:
    """Return the sizes that the hooks and the macros of a template name."""
    return named(program, *(hook_text(h, template, printer) for h in template.hooks), *map(dim_text, template.macros.values()))


def arguments(hook: Function) -> list[str]:
    return [*hook.arguments, *([hook.value.name] if hook.value is not None else [])]


def hook_text(hook: Function, template: Template, printer: Printer) -> str:
    """A hook is an inlined function, so that the text can call it with any index."""
    if printer.stored(hook) is not None:
        result = f"const {C_TYPES[hook.result.dtype]} &"
    elif hook.pointer is not None:
        const = "" if hook.pointer in template.written else "const "
        result = f"{const}{C_TYPES[hook.pointer.dtype]} *"
    elif hook.result is not None:
        result = C_TYPES[hook.result.dtype]
    else:
        result = "void"
    arguments = [f"{printer.index_type(hook)} {a}" for a in hook.arguments]
    arguments += [f"{C_TYPES[hook.value.dtype]} {hook.value.name}"] if hook.value is not None else []
    head = f"SCALAR {result} @_{hook.name}({', '.join(['PARAMS', *arguments])})"
    return "\n".join(printer.function_lines(hook, head))


def template_lines(
    template: Template, names: dict[str, str], macros: Mapping[str, str], declared: str, args: str, printer: Printer
) -> list[str]:
    """Return a text of kernels/ between the definitions and the removals of its macros and hooks; @ stands for its name.

    declared, args : the parameters of its functions, and what is given for them.
    """
    hooks = [renamed(hook_text(h, template, printer), names) for h in template.hooks]
    macros = {**macros, **{name: dim_text(d) if isinstance(d, int) else f"({dim_text(d)})" for name, d in template.macros.items()}}
    macros |= {f"{h.name}_STORED": "1" for h in template.hooks if printer.stored(h) is not None}
    defines = [f"#define {name} {text}" for name, text in macros.items()]
    defines += [f"#define {h.name}({', '.join(arguments(h))}) @_{h.name}({args}, {', '.join(arguments(h))})" for h in template.hooks]
    undefs = [f"#undef {name}" for name in ("PARAMS", *macros, *(h.name for h in template.hooks))]
    texts = [kernel_source(f"{printer.folder}/{name}") for name in template.text.split()]
    return [f"/* {comment(template.comment)} */", f"#define PARAMS {declared}", *hooks, *defines, *texts, *undefs]
