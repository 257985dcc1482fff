"""What of a plan a library may compute: what it must know of a kernel's hooks, where these do nothing but load and store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exprc.library import Convolution, Matrix, Product, Tensor, Work
from exprc.loops import Buffer, Function, Let, Load, Ref, Store, Template
from exprc.lower.call import coefficient
from exprc.size import Dim, floordiv, substitute, symbol
from exprc.types import itemsize

#: What a library counts rows, columns and elements with.
_MOST = 2**31 - 1

Number = Callable[[Dim], int]
Place = tuple[Buffer, Dim]


class Refused(Exception):
    """Only the kernel can; the text says why."""


def work_of(step: Any, number: Number) -> tuple[Work | None, str]:
    """Return what a library may compute in the place of a step, or why only its kernel can; (None, "") where no library was chosen."""
    if not isinstance(step, Template) or not step.library:
        return None, ""
    try:
        return (_product if step.library == "cublas" else _convolution)(step, number), ""
    except Refused as refused:
        return None, str(refused)


# -- hooks


def _places(step: Template) -> dict[str, Place]:
    """The place that each hook loads or stores, where it does no more: its macro's last letter -> place."""
    return {hook.name[-1]: (_stored if hook.name.startswith("STORE") else _loaded)(hook) for hook in step.hooks}


def _loaded(hook: Function) -> Place:
    let = hook.body[0] if len(hook.body) == 1 else None
    plain = isinstance(let, Let) and isinstance(let.value, Load) and isinstance(hook.result, Ref) and hook.result.name == let.name
    value = let.value if plain else hook.result if not hook.body else None  # type: ignore[union-attr]
    if not isinstance(value, Load):
        raise Refused(f"{hook.name} does more than load")
    return value.buffer, value.address


def _stored(hook: Function) -> Place:
    store = hook.body[0] if len(hook.body) == 1 else None
    if not isinstance(store, Store) or store.value != hook.value:
        raise Refused(f"{hook.name} does more than store")
    return store.buffer, store.address


def _steps(place: Place, names: Sequence[str], number: Number) -> tuple[int, list[int]]:
    """Where the first element lies, and the elements from one to the next along arguments of a hook; "r" is of a whole result."""
    steps = [coefficient(place[1], name) for name in names]
    if None in steps:
        raise Refused("its elements do not lie in steps")
    return number(substitute(place[1], dict.fromkeys([*names, "r"], 0))), [number(s) for s in steps if s is not None]


# -- products


def _product(step: Template, number: Number) -> Product:
    places = _places(step)
    batch, m, n, k = (number(step.macros[name]) for name in ("BATCH", "M", "N", "K"))
    left, right, result = (
        _matrix(step, places[x], names, number) for x, names in (("a", "gik"), ("b", "gkj"), ("y", "gij"))
    )  # fmt: skip
    if not min(batch, m, n, k) or max(batch, m, n, k) > _MOST:
        raise Refused("it is empty, or too large")
    if not (_lies(left, m, k) and _lies(right, k, n) and result.columns == 1 and result.rows >= n and _separate(result, m, batch)):
        raise Refused("neither rows nor columns of a factor lie one after the other")
    return Product(step.library, step.dtype, batch, m, n, k, left, right, result)


def _matrix(step: Template, place: Place, names: Sequence[str], number: Number) -> Matrix:
    first, (batch, rows, columns) = _steps(place, names, number)
    return Matrix(step.buffers.index(place[0]), first * itemsize(place[0].dtype), rows, columns, batch)


def _lies(x: Matrix, rows: int, columns: int) -> bool:
    """Whether one of the axes is contiguous, and the other goes beyond it."""
    by_rows = (x.columns == 1 or columns == 1) and (x.rows >= columns or rows == 1)
    by_columns = (x.rows == 1 or rows == 1) and (x.columns >= rows or columns == 1)
    return min(x.rows, x.columns, x.batch, x.offset) >= 0 and max(x.rows, x.columns) <= _MOST and (by_rows or by_columns)


def _separate(result: Matrix, m: int, batch: int) -> bool:
    """Whether the results of several products lie apart, within what a library counts."""
    return 0 < result.rows <= _MOST and result.offset >= 0 and (batch == 1 or result.batch >= result.rows * m)


# -- convolutions
# The texts say ``h = (p*SH + u*DH - PH) / UP_H``: with UP 1 a convolution; with S 1, and filters that lie as those of the convolution which
# it is the gradient of, that gradient. The sizes of the texts: N, CIN, H, W of what is read; O, P, Q.


def _convolution(step: Template, number: Number) -> Convolution:
    size = {name: number(dim) for name, dim in step.macros.items()}
    places = _places(step)
    if not min(size[name] for name in ("N", "CIN", "H", "W", "O", "P", "Q", "KH", "KW")):
        raise Refused("it is empty")
    if "g" in places:
        return _weight_gradient(step, places, size, number)
    x, y = _images(step, places["x"], "nchw", size, "CIN H W", number), _images(step, places["y"], "nopq", size, "O P Q", number)
    if size["UP_H"] == size["UP_W"] == 1:
        found = _filters(step, (size["O"], size["CIN"] // size["GROUPS"]), "ic", places["w"], size, number)
        if found is not None:
            return _made(step, size, "y", x, found, y)
    if size["SH"] == size["SW"] == 1:
        found = _filters(step, (size["CIN"], size["O"] // size["GROUPS"]), "ci", places["w"], size, number)
        if found is not None:
            return _made(step, _turned(size), "x", y, (found[0], not found[1]), x)
    raise Refused("its filters do not lie one after the other")


def _turned(size: Mapping[str, int]) -> dict[str, int]:
    """The sizes of the convolution that this one is the gradient of: strides are what images are spread by, padding the other end's."""
    pads = {f"P{a}": (size[f"K{a}"] - 1) * size[f"D{a}"] - size[f"P{a}"] for a in "HW"}
    return {**size, **pads, "SH": size["UP_H"], "SW": size["UP_W"]}


def _weight_gradient(step: Template, places: Mapping[str, Place], size: Mapping[str, int], number: Number) -> Convolution:
    x, g = _images(step, places["x"], "nchw", size, "CIN H W", number), _images(step, places["g"], "nopq", size, "O P Q", number)
    found = _filters(step, (size["O"], size["CIN"] // size["GROUPS"]), "ic", places["y"], size, number)
    if found is None:
        raise Refused("its filters do not lie one after the other")
    return _made(step, size, "w", x, found, g)


def _made(step: Template, size: Mapping[str, int], computes: str, x: Tensor, w: tuple[Tensor, bool], y: Tensor) -> Convolution:
    pad, stride, dilation = ((size[f"{name}H"], size[f"{name}W"]) for name in "PSD")
    precision = "tf32" if size["MATRIX"] else "float32"
    return Convolution(step.library, step.dtype, computes, x, w[0], y, pad, stride, dilation, size["GROUPS"], w[1], precision)


def _images(step: Template, place: Place, names: str, size: Mapping[str, int], axes: str, number: Number) -> Tensor:
    first, steps = _steps(place, names, number)
    shape = (size["N"], *(size[axis] for axis in axes.split()))
    steps = _stepped(shape, steps)
    if first < 0 or not _apart(shape, steps):
        raise Refused("images go backwards, or lie in each other, or are too large")
    return Tensor(step.buffers.index(place[0]), first * itemsize(place[0].dtype), shape, tuple(steps))


def _stepped(shape: Sequence[int], steps: Sequence[int]) -> list[int]:
    """The steps, along axes of one element as in row-major order: a library looks at them all the same."""
    made, inner = list(steps), 1
    for k in reversed(range(len(shape))):
        if shape[k] == 1:
            made[k] = inner
        inner = max(inner, made[k] * shape[k])
    return made


def _apart(shape: Sequence[int], steps: Sequence[int]) -> bool:
    """Whether no element is there twice, all lie forwards, and a library can count them."""
    reach = 1
    for step, n in sorted(zip(steps, shape)):
        if step < reach and n > 1:
            return False
        reach = max(reach, step * n)
    return reach <= _MOST


def _filters(
    step: Template, lead: tuple[int, int], order: str, place: Place, size: Mapping[str, int], number: Number
) -> tuple[Tensor, bool] | None:
    """Filters (lead, rows, columns), and whether they are read backwards; None where they do not lie in row-major order.

    order : "ic" where what the text's "o" counts comes first in `lead` ("i" inside a group), "ci" where its "c" does.
    """
    groups, shape = size["GROUPS"], (*lead, size["KH"], size["KW"])
    own = floordiv(step.macros["O"], groups)
    of_group = symbol("group", 0, groups - 1) * own + symbol("i", 0, own - 1)  # type: ignore[operator]
    first, (group, *steps) = _steps((place[0], substitute(place[1], {"o": of_group})), ["group", *order, "u", "v"], number)
    wanted = [math.prod(shape[k + 1 :]) for k in range(4)]
    extents = (lead[0] // groups, *shape[1:])
    seen = [s // w if s % w == 0 else 0 for n, s, w in zip(extents, steps, wanted) if n > 1]  # 1 forwards, -1 backwards
    turns = [s for n, s in zip(shape[2:], steps[2:]) if n > 1]
    backwards = any(s < 0 for s in turns)
    forwards = sum(n > 1 for n in extents[:2])  # of the axes that must be
    expected = [1] * forwards + [-1 if backwards else 1] * len(turns)
    if seen != expected or (groups > 1 and group != wanted[0] * extents[0]):
        return None
    first -= (shape[2] * shape[3] - 1) * backwards
    return Tensor(step.buffers.index(place[0]), first * itemsize(place[0].dtype), shape, tuple(wanted)), backwards
