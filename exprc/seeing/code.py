"""The C or CUDA of a program cut into what belongs to each step, and marked up to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from exprc.loops import Barrier, Copy, Template
from exprc.render.base import kernel_source
from exprc.seeing.svg import escape

_TOKEN = re.compile(
    r"(?P<i>/\*.*?\*/|//[^\n]*)"
    r"|(?P<u>^[ \t]*#(?:[^\n\\]|\\.)*)"
    r"|(?P<b>\b(?:auto|break|case|char|const|continue|do|double|else|enum|float|for|if|inline|int|long|restrict|return|short|signed|sizeof"
    r"|static|struct|switch|unsigned|void|while|u?int(?:8|16|32|64)_t|_Bool|bool|_Generic|SCALAR|T)\b)",
    re.DOTALL | re.MULTILINE,
)  # fmt: skip


def marked(text: str) -> str:
    """Return C as HTML: comments in ``<i>``, keywords in ``<b>``, lines of the preprocessor in ``<u>``; a page gives them colours.

    >>> marked("int x = a < b;  /* less */")
    '<b>int</b> x = a &lt; b;  <i>/* less */</i>'
    """
    made, at = [], 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        made += [escape(text[at : token.start()], quote=False), f"<{kind}>{escape(token[0], quote=False)}</{kind}>"]
        at = token.end()
    return "".join([*made, escape(text[at:], quote=False)])


def functions(texts: Sequence[str], steps: Sequence[Any], entries: Sequence[str] = ()) -> dict[str, str]:
    """Return the function of each step by the step's name; steps whose functions are equal share one, and are told so.

    entries : of a CUDA text, the names of the steps' kernels.
    """
    called = entries or re.findall(r"^        (\w+)\(.*share\.begin, share\.end\);", texts[-1], re.MULTILINE)
    named = [s for s in steps if not isinstance(s, (Barrier, Copy))]
    whole = "\n".join(texts)
    found: dict[str, str] = {}
    for step, function in zip(named, called):
        shared = "" if function == step.name else f"/* {step.name} is the same function as {function} */\n"
        found[step.name] = shared + (_kernel if entries else _function)(whole, function, step)
    return found


def _kernel(text: str, name: str, step: Any) -> str:
    """A CUDA kernel, from the comment above it to its end; of one that a text of kernels/ is, what is defined for it."""
    if isinstance(step, Template):
        at = text.index(f"\n#define KERNEL {name}\n")
        begin = text.rindex("/*", 0, text.rindex("\n#define PARAMS ", 0, at))
        end = text.index(kernel_source(f"cuda/{step.text.split()[0]}"), at)
        return f"{text[begin:end]}\n/* here stands {_named(step, 'cuda')}, see below */\n"
    start = text.index(f" {name}(", text.index("EXPRC_KERNEL void EXPRC_BOUNDS"))
    return text[text.rindex("/*", 0, start) : text.index("\n}", start) + 2]


def _function(text: str, name: str, step: Any) -> str:
    """A function, from the comment above it to its end; the text of a kernel, which others paste too, is only named."""
    start = re.search(rf"^void {re.escape(name)}\(", text, re.MULTILINE)
    if start is None:
        return ""
    end = text.index("\n}", start.start()) + 2
    if not isinstance(step, Template):
        return text[text.rindex("/*", 0, start.start()) : end]
    pasted = [kernel_source(f"c/{name}") for name in step.text.split()]
    after = text.rindex(pasted[-1], 0, start.start()) + len(pasted[-1])
    before = text.rindex(pasted[0], 0, after)
    begin = text.rindex("/*", 0, text.rindex("\n#define PARAMS ", 0, before))
    head, tail = text[begin:before], re.sub(r"^#undef .*\n", "", text[after:end], flags=re.MULTILINE)
    return f"{head}\n/* here stands {_named(step, 'c')}, see below */\n{tail}"


def _named(step: Template, folder: str) -> str:
    """The texts of ``kernels/`` that a step pastes."""
    return " and ".join(f"kernels/{folder}/{name}" for name in step.text.split())


def entry(texts: Sequence[str]) -> str:
    """The function that runs the steps."""
    return texts[-1][max(texts[-1].find("int exprc_run("), 0) :]


def kernel_texts(steps: Sequence[Any], folder: str = "c") -> dict[str, str]:
    """The texts of ``kernels/`` that the steps paste, by name."""
    names = dict.fromkeys(name for s in steps if isinstance(s, Template) for name in s.text.split())
    return {f"kernels/{folder}/{name}": kernel_source(f"{folder}/{name}") for name in names}
