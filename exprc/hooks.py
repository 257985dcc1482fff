"""Hooks: how the text of a kernel reaches its operands, and what it may compute beside its own operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from exprc.size import Dim


@cache
def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters; looking them up costs more than building a node."""
    return tuple(inspect.signature(function).parameters)


@dataclass(frozen=True)
class Hook:
    """How a kernel text reaches an operand: `index` maps the hook's arguments to a logical index.

    kind : "load" (the value), "pointer" (the address of a vector), "store", "result" (the address of an element of the result, for a
        text that builds it up; then no other value can be worked out in its hooks), or "value" (made by `exprc.schedule.absorb`: the
        operand, worked out from the text's own sum); operand : number of the input or of the result.
    once : from the node's params, whether a load takes each element at most once: formulas are then worked out there, and never stored.
    ``index(*arguments, lanes)`` gives the logical index; its parameter names (but `lanes`) are the hook's.
    """

    kind: str
    operand: int
    index: Callable[..., tuple[Dim, ...]]
    once: Callable[..., bool] | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(n for n in argument_names(self.index) if n != "lanes")


@dataclass(frozen=True)
class Consumer:
    """A kernel operation of one operand that a text computes from its own result, which is then never stored.

    op : its name. when(args, outs, producer, params, lanes) : whether the text can, from the params of both.
    sizes(args, outs, params, lanes) : more macros of the text; hooks : its stores instead of the text's; layouts : wishes of its results.
    """

    op: str
    when: Callable[..., bool]
    sizes: Callable[..., dict[str, Dim]]
    hooks: Mapping[str, Hook]
    layouts: tuple[str, ...]


@dataclass(frozen=True)
class Producer:
    """A kernel operation whose result a text makes for itself, piece by piece, so that it is never stored.

    op : its name. when(args, outs, params, lanes) : whether the text can; args and outs are those of the operation.
    sizes(args, outs, params, lanes) : more macros of the text; hooks : loads of the operation's operands, instead of the hook that read
        its result; layouts : wishes for them.
    """

    op: str
    when: Callable[..., bool]
    sizes: Callable[..., dict[str, Dim]]
    hooks: Mapping[str, Hook]
    layouts: tuple[str, ...]
