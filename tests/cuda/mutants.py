"""Kernel texts with one thing wrong in each: a barrier dropped, a wait for one group too few, a comparison or a stage shifted by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: what is searched -> what stands there instead. Comparisons stand between blanks, which those of templates do not.
_BARRIERS = re.compile(r"\b(__syncthreads\(\)|__syncwarp\([^()]*\)|copy_wait<[^<>]+>\(\))")
_COUNTS = re.compile(r"\bcopy_wait<([^<>]+)>|(?<!define )\bPRODUCT_STAGE_OF\(([^()]+)\)")
_COMPARISONS = re.compile(r"(?<= )(<=|>=|<|>)(?= )")
_SHIFTED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


@dataclass(frozen=True)
class Mutant:
    """A text and what was done to it. line : from 1. place : that line as it was, what was changed between « and »."""

    line: int
    place: str
    text: str


def mutants(text: str) -> list[Mutant]:
    """Return all mutants of a text, in the order of its lines.

    >>> for mutant in mutants("while (i < n) __syncthreads();"):
    ...     print(mutant.place, "  ", mutant.text)
    while (i «<» n) __syncthreads();    while (i <= n) __syncthreads();
    while (i < n) «__syncthreads()»;    while (i < n) (void)0;
    >>> [mutant.text for mutant in mutants("copy_wait<2>();")]
    ['(void)0;', 'copy_wait<2 + 1>();']
    """
    return list(_mutants(text))


def _mutants(text: str) -> Iterator[Mutant]:
    code = re.sub(r"/\*.*?\*/|//[^\n]*", lambda found: re.sub(r"[^\n]", " ", found[0]), text, flags=re.S)
    changes = [(m.start(), m.end(), _SHIFTED[m[0]]) for m in _COMPARISONS.finditer(code)]
    changes += [(m.start(), m.end(), "(void)0") for m in _BARRIERS.finditer(code)]
    changes += [(m.end(m.lastindex), m.end(m.lastindex), " + 1") for m in _COUNTS.finditer(code) if m.lastindex]
    for begin, end, new in sorted(changes):
        first, last = text.rfind("\n", 0, begin) + 1, text.find("\n", end)
        place = f"{text[first:begin]}«{text[begin:end]}»{text[end : last if last >= 0 else None]}"
        if not re.match(r"#\s*(el)?if", place):
            yield Mutant(text.count("\n", 0, begin) + 1, place.strip(), text[:begin] + new + text[end:])
