"""Products that a library may compute: what it must know of a kernel's hooks, where these do nothing but load and store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exprc.loops import Buffer, Function, Let, Load, Ref, Store, Template
from exprc.lower.call import coefficient
from exprc.products import Matrix, Product
from exprc.size import Dim, substitute
from exprc.types import itemsize

#: What a library counts rows and columns with.
_MOST = 2**31 - 1


def product_of(step: Any, number: Callable[[Dim], int]) -> Product | None:
    """Return what a step multiplies, or None where only its kernel can: other hooks than plain ones, or a layout that no library takes."""
    if not isinstance(step, Template) or not step.library:
        return None
    hooks = {hook.name: hook for hook in step.hooks}
    batch, m, n, k = (number(step.macros[name]) for name in ("BATCH", "M", "N", "K"))
    left = _matrix(step, _loaded(hooks["LOAD_a"]), ("g", "i", "k"), number)
    right = _matrix(step, _loaded(hooks["LOAD_b"]), ("g", "k", "j"), number)
    result = _matrix(step, _stored(hooks["STORE_y"]), ("g", "i", "j"), number)
    if left is None or right is None or result is None or not min(batch, m, n, k) or max(batch, m, n, k) > _MOST:
        return None
    if not (_lies(left, m, k) and _lies(right, k, n) and result.columns == 1 and result.rows >= n and _separate(result, m, batch)):
        return None
    return Product(step.library, step.dtype, batch, m, n, k, left, right, result)


def _loaded(hook: Function) -> tuple[Buffer, Dim] | None:
    """The place that a hook loads, where it does no more."""
    let = hook.body[0] if len(hook.body) == 1 else None
    plain = isinstance(let, Let) and isinstance(let.value, Load) and isinstance(hook.result, Ref) and hook.result.name == let.name
    value = let.value if plain else hook.result if not hook.body else None  # type: ignore[union-attr]
    return (value.buffer, value.address) if isinstance(value, Load) else None


def _stored(hook: Function) -> tuple[Buffer, Dim] | None:
    """The place that a hook stores to, where it does no more."""
    store = hook.body[0] if len(hook.body) == 1 else None
    return (store.buffer, store.address) if isinstance(store, Store) and store.value == hook.value else None


def _matrix(step: Template, place: tuple[Buffer, Dim] | None, names: tuple[str, str, str], number: Callable[[Dim], int]) -> Matrix | None:
    if place is None:
        return None
    buffer, address = place
    steps = [coefficient(address, name) for name in names]
    if None in steps:
        return None
    batch, rows, columns = (number(s) for s in steps if s is not None)
    first = number(substitute(address, dict.fromkeys(names, 0)))
    return Matrix(step.buffers.index(buffer), first * itemsize(buffer.dtype), rows, columns, batch)


def _lies(x: Matrix, rows: int, columns: int) -> bool:
    """Whether one of the axes is contiguous, and the other goes beyond it."""
    by_rows = (x.columns == 1 or columns == 1) and (x.rows >= columns or rows == 1)
    by_columns = (x.rows == 1 or rows == 1) and (x.columns >= rows or columns == 1)
    return min(x.rows, x.columns, x.batch, x.offset) >= 0 and max(x.rows, x.columns) <= _MOST and (by_rows or by_columns)


def _separate(result: Matrix, m: int, batch: int) -> bool:
    """Whether the results of several products lie apart, within what a library counts."""
    return 0 < result.rows <= _MOST and result.offset >= 0 and (batch == 1 or result.batch >= result.rows * m)
