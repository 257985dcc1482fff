"""Errors that say which expressions were given, and where these were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exprc.errors import report
from exprc.expr import Expr

if TYPE_CHECKING:
    from exprc.forms import Op


class ShapeError(ValueError):
    """Raised by a shape rule; the caller adds what the inputs are called and where they were made.

    kind : what the user gets. whole : whether the text says all, also which operation it is about.
    """

    def __init__(self, text: str, fix: str = "", kind: type[Exception] = ValueError, whole: bool = False):
        super().__init__(text)
        self.fix, self.kind, self.whole = fix, kind, whole or kind is IndexError

    def told(self, op: Op, inputs: Sequence[Expr]) -> Exception:
        """Return the error for the user: of which operation, and what it was given."""
        text = str(self) if self.whole else f"{op.called or op.name}: {self}"
        return self.kind(report(text, node_rows(inputs[: op.data]), self.fix))


def blame(error: Exception, given: Sequence[Any]) -> Exception:
    """Return an error with rows for the expressions in `given`; one that says already where things were made stays as it is."""
    text = str(error)
    if " made at " in text:
        return error
    what, _, fix = text.partition("\n")
    flat = [x for g in given for x in (g if isinstance(g, (list, tuple)) else (g,)) if isinstance(x, Expr)]
    text = report(what, node_rows(flat), fix.strip() or getattr(error, "fix", ""))
    if isinstance(error, ShapeError):
        return error.kind(text)
    error.args = (text,)
    return error


def node_rows(inputs: Sequence[Expr]) -> list[tuple[str, str, str]]:
    """Rows for a message about a node: its inputs with type and the user's line."""
    roles = {1: ("input",), 2: ("left", "right")}.get(len(inputs)) or tuple(f"input {i}" for i in range(len(inputs)))
    return [(role, f"{x.label}  {x.type}", x.where) for role, x in zip(roles, map(as_written, inputs))]


def as_written(x: Expr) -> Expr:
    """What the user has in hand, where the operation that he called cast it, checked its shape or gave it axes of length 1."""
    while x.name is None and (x.op.name in ("cast", "specify_shape") or _only_adds_axes(x)):
        x = x.inputs[0]
    return x


def _only_adds_axes(x: Expr) -> bool:
    return x.op.name == "dimshuffle" and [a for a in x.params["order"] if a != "x"] == list(range(x.inputs[0].ndim))
