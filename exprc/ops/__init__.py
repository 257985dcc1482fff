"""The catalogue: one record an operation, a file a family."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import Any

from exprc.errors import name_function
from exprc.forms import Item, Op, blame
from exprc.ops import (
    assign,
    axes,
    bits,
    classification,
    composite,
    conv,
    convolve,
    create,
    cumulative,
    diagonal,
    downsample,
    formula,
    gradient,
    index,
    join,
    linalg,
    neighbours,
    nonzero,
    numbers,
    pad,
    pool,
    products,
    quantiles,
    random,
    recipes,
    reduce,
    rounding,
    series,
    sliding,
    sort,
    special,
    statistics,
    take,
    trig,
    unshared,
    view,
    volumes,
)

#: The families, each of which imports only those to its left.
families: tuple[ModuleType, ...] = (
    formula, bits, rounding, trig, special, view, create, reduce, numbers, axes, join, diagonal, nonzero, index, take, assign, pad,
    cumulative, linalg, products, sort, quantiles, statistics, recipes, composite, classification, gradient, sliding, series, conv,
    unshared, convolve, volumes, pool, downsample, neighbours, random,
)  # fmt: skip


def _collect() -> dict[str, Op]:
    made: dict[str, Op] = {}
    for family in families:
        for op in vars(family).values():
            if isinstance(op, Op) and not isinstance(op, Item) and made.setdefault(op.name, op) is not op:
                raise ValueError(f"two operations have the name {op.name!r}; the second is in {family.__name__}")
    return made


#: name -> record of every operation.
CATALOGUE: dict[str, Op] = _collect()

def _speaking(function: Any, name: str) -> Any:
    """A function of the catalogue whose errors name it and the expressions that it was given, as those of records do."""
    if not inspect.isfunction(function):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            name_function(error, function, name)
            raise blame(error, (*args, *kwargs.values()))  # noqa: B904 (it is the same error)

    return call


def _shown() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for family in families:
        for name in getattr(family, "__all__", ()):
            public = _speaking(getattr(family, name), name.rstrip("_"))
            setattr(family, name, public)  # so that a pickle finds it under its name
            made[name.rstrip("_")] = public
    return made


#: public name -> operation, as `exprc.tensor` shows them. A name that Python has already (`abs`, `sum` ...) carries an underscore in its
#: family.
PUBLIC: dict[str, Any] = _shown()
PUBLIC |= {alias: op for op in PUBLIC.values() for alias in getattr(op, "aliases", ())}
