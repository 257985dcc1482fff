"""The catalogue: one record an operation, a file a family."""

from __future__ import annotations

from types import ModuleType

from exprc.forms import Item, Op
from exprc.ops import composite, conv, formula, gradient, index, linalg, pool, random, reduce, view

#: The families, each of which imports only those to its left.
families: tuple[ModuleType, ...] = (formula, view, reduce, index, linalg, composite, gradient, conv, pool, random)


def _collect() -> dict[str, Op]:
    made: dict[str, Op] = {}
    for family in families:
        for op in vars(family).values():
            if isinstance(op, Op) and not isinstance(op, Item) and made.setdefault(op.name, op) is not op:
                raise ValueError(f"two operations have the name {op.name!r}; the second is in {family.__name__}")
    return made


#: name -> record of every operation.
CATALOGUE: dict[str, Op] = _collect()
