"""Arrays with a part changed: ``x[...]`` set or increased, given the indexed expression itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, node_rows, shape_text
from exprc.ops.formula import where
from exprc.ops.index import _no_index, gather, mask_index, masked_rows, mixed_index, scatter
from exprc.ops.nonzero import nonzero
from exprc.ops.view import broadcast_to, dim_of, dimshuffle, place, subtensor
from exprc.types import is_float

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["inc_subtensor", "set_subtensor"]


def set_subtensor(part: Any, value: Any) -> Expr:
    """Return ``x`` with ``x[...]`` replaced.

    Parameters
    ----------
    part : the indexed expression ``x[...]`` itself.
    value : what to put there; it broadcasts to the shape of the part and takes the dtype of ``x``. Where an index array names
        one position twice, the later value stays.

    Returns
    -------
    a new expression of the shape and dtype of ``x``; ``x`` does not change.

    Raises
    ------
    TypeError
        if `part` was not made by indexing, or floats are to be put among integers.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.matrix("x", shape=(3, 4))
    >>> set_subtensor(x[1:, 0], 5).type.shape
    (3, 4)
    """
    return _assign("set_subtensor", part, value, "set")


def inc_subtensor(part: Any, value: Any) -> Expr:
    """Return ``x`` with `value` added to ``x[...]``; where an index array names one position twice, both values are added.

    Parameters, result and errors as for `set_subtensor`.
    """
    return _assign("inc_subtensor", part, value, "inc")


def _assign(name: str, part: Any, value: Any, mode: str) -> Expr:
    if not isinstance(part, Expr) or not part.inputs:
        text = f"{name}: the first argument must be an indexed expression x[...], not {getattr(part, 'label', part)!r}"
        rows = node_rows((part,)) if isinstance(part, Expr) else []
        raise TypeError(report(text, rows, "the whole of x is x[:]"))
    value = as_expr(value, (part.dtype,))
    if is_float(value.dtype) and not is_float(part.dtype):
        rows = [
            ("part", f"{part.label}  {part.type}", part.where),
            ("value", f"{value.label}  {value.type}", value.where),
        ]
        raise TypeError(report(f"{name}: values of {value.dtype} do not fit in {part.dtype}", rows, "cast one of them"))
    value = cast_to(value, part.dtype)
    if value.ndim > part.ndim:
        raise ValueError(
            _no_index(
                part,
                f"{name}: a value of {value.ndim} dimensions does not fit in a part of {part.ndim}",
                "the value must broadcast to the part",
            )
        )
    _check_part(name, part, value)
    if part.op is mask_index and (value.ndim < part.ndim or value.type.shape[0] == 1):
        return _where_masked(part.inputs[0], part.inputs[1], value, mode)
    return _replace(name, part, broadcast_to(value, tuple(dim_of(part, a) for a in range(part.ndim))), mode)


def _where_masked(x: Expr, mask: Expr, value: Expr, mode: str) -> Expr:
    """Every masked row takes the same value: no need to know how many there are."""
    x = masked_rows(x, mask)
    row = value if value.ndim < x.ndim - mask.ndim + 1 else dimshuffle(value, tuple(range(1, value.ndim)))
    full = where(dimshuffle(mask, (*range(mask.ndim), *("x",) * (x.ndim - mask.ndim))), row, x if mode == "set" else 0)
    return full if mode == "set" else x + full


def _check_part(name: str, part: Expr, value: Expr) -> None:
    for wanted, got in zip(reversed(part.type.shape), reversed(value.type.shape)):
        if None not in (wanted, got) and got not in (1, wanted):
            rows = [(role, f"{x.label}  {x.type}", x.where) for role, x in (("part", part), ("value", value))]
            shapes = f"{shape_text(value.type.shape)} does not fit in a part of {shape_text(part.type.shape)}"
            fix = "the value must have the shape of the part, or broadcast to it"
            raise ValueError(report(f"{name}: a value of {shapes}: {got} ≠ {wanted}", rows, fix))


def _replace(name: str, part: Expr, value: Expr, mode: str) -> Expr:
    """Return the array that `part` shows, with `value`, of the shape of `part`, in that place."""
    base, rest = part.inputs[0], part.inputs[1:]
    if part.op is subtensor:
        return _replace_slices(base, part.params["slices"], rest, value, mode)
    if part.op is gather:
        return scatter(base, rest, value, mode)
    if part.op is mask_index:
        return scatter(masked_rows(base, rest[0]), nonzero(rest[0]), value, mode)
    if part.op is dimshuffle:
        undone = _undo_shuffle(value, part.params["order"], base.ndim)
        if base.op in (subtensor, gather, mixed_index, mask_index):
            return _replace(name, base, undone, mode)
        return undone if mode == "set" else base + undone
    if part.op is mixed_index:
        return _replace_chain(part.op.open(part.inputs, part.params), base, value, mode)
    text = f"{name}: the first argument must be an indexed expression x[...]"
    raise TypeError(_no_index(part, text, "index last: set_subtensor(f(x)[...], value); the whole of x is x[:]"))


def _replace_slices(x: Expr, slices: tuple[Any, ...], sizes: Sequence[Expr], value: Expr, mode: str) -> Expr:
    shape = [dim_of(x, a) for a in range(x.ndim)]
    placed = place(value, shape, slices, sizes)
    if mode == "inc":
        return x + placed
    ones = broadcast_to(as_expr(True), tuple(dim_of(value, a) for a in range(value.ndim)))
    return where(place(ones, shape, slices, sizes), placed, x)


def _undo_shuffle(value: Expr, order: tuple[Any, ...], ndim: int) -> Expr:
    at = {a: k for k, a in enumerate(order) if a != "x"}
    squeezed = dimshuffle(value, tuple(k for k, a in enumerate(order) if a != "x"))
    kept = sorted(at, key=lambda a: at[a])
    return dimshuffle(squeezed, tuple(kept.index(a) if a in at else "x" for a in range(ndim)))


def _replace_chain(view_: Expr, base: Expr, value: Expr, mode: str) -> Expr:
    """Undo the views from `view_` down to `base`: the new value of each one's input is what replaces it in the next."""
    while view_ is not base:
        inner = view_.inputs[0]
        if view_.op is dimshuffle:
            value = _undo_shuffle(value, view_.params["order"], inner.ndim)
        else:
            value, mode = _replace("", view_, value, mode), "set"  # the gather comes first; what is below takes its result whole
        view_ = inner
    return value
