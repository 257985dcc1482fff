"""The one form of every message: what is wrong, what disagrees, where it was made, what would fix it.

Errors are Python's own types (`ValueError`, `TypeError`, `IndexError` ...) plus `CompileError` and `DeviceError`.
"""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any


class CompileError(RuntimeError):
    """The C (or CUDA) compiler could not build a program.

    The text names the command, the last lines that the compiler printed and the file that
    holds the source, so that the command can be run again by hand.
    """


def no_attribute(text: str, name: str) -> AttributeError:
    """Return an AttributeError that says what is meant itself: Python adds a guess of its own unless it has been told the object."""
    return AttributeError(text, name=name, obj=None)


class DeviceError(RuntimeError):
    """A device is missing, lacks what a program needs, or failed; the text says which, and what to do."""


class KernelError(DeviceError):
    """A kernel did something wrong, as the emulator saw it.

    Attributes
    ----------
    kind : a word for what was wrong: ``bounds``, ``race``, ``uninitialised`` ...
    kernel : the name of its entry.
    block, thread : the indices of who did it.
    line : the line of the module's text, from 1; 0 where it is not known.
    """

    def __init__(self, text: str, kind: str = "", kernel: str = "", block: Any = (), thread: Any = (), line: int = 0):
        super().__init__(text)
        self.kind, self.kernel, self.block, self.thread, self.line = kind, kernel, tuple(block), tuple(thread), line


def report(what: str, rows: Iterable[tuple[str, str, str]] = (), fix: str = "") -> str:
    """Lay out a message.

    Parameters
    ----------
    what : one sentence, with the values that disagree.
    rows : (role, name, where) for each thing involved; `where` is the user's ``file:line``, or "".
    fix : what would mend it, as a sentence or a question; "" where nothing sensible can be said.

    >>> print(report("dot: inner sizes differ: 784 ≠ 100", [("left", "x", "train.py:12")], "did you mean dot(h, W)?"))
    dot: inner sizes differ: 784 ≠ 100
      left  x    made at train.py:12
      did you mean dot(h, W)?
    """
    rows = list(rows)
    roles = max((len(role) for role, _, _ in rows), default=0)
    names = max((len(name) for _, name, _ in rows), default=0)
    lines = [what]
    for role, name, where in rows:
        place = f"    made at {where}" if where else ""
        lines.append(f"  {role:<{roles}}  {name:<{names}}{place}".rstrip())
    if fix:
        lines.append(f"  {fix}")
    return "\n".join(lines)


def bytes_text(count: float) -> str:
    """A number of bytes as messages show it.

    >>> bytes_text(512), bytes_text(11742144)
    ('512 B', '11.2 MiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest of `choices`, or "" where none is close.

    >>> nearest("flaotX", ["floatX", "device"])
    "did you mean 'floatX'?"
    """
    import difflib

    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def outside() -> int:
    """The `stacklevel` for which a warning of the caller is shown at the user's line."""
    frame, level = sys._getframe(1), 0
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "exprc":
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    return level + 1


def name_function(error: Exception, function: Callable[..., Any], name: str) -> None:
    """Where Python says that arguments do not fit a function, say the name that the user wrote, and what it takes."""
    mark, text = f"{function.__qualname__}() ", str(error)
    if text.startswith(mark):
        error.args = (report(f"{name}() {text.removeprefix(mark)}", fix=f"its arguments are {arguments_of(function)}"),)


def whole_number(value: Any, what: str, fix: str = "") -> int:
    """Return an integer, of Python's or NumPy's; `what` says what it stands for."""
    try:
        return operator.index(value)
    except TypeError:
        shown = f"the expression {value.label}" if hasattr(value, "label") else repr(value)
        raise TypeError(report(f"{what} must be an integer, not {shown}", fix=fix)) from None


def arguments_of(function: Callable[..., Any]) -> str:
    """Return the arguments of a function with their defaults, as messages show them."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    return ", ".join(map(str, parameters))
