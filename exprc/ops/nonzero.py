"""Where an array is not 0, and the arithmetic between positions and indices.

How many elements are not 0 only the data decide, so `flatnonzero` is computed on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Constant, Expr, as_expr
from exprc.forms import cast_to, kernel, wrap
from exprc.ops.create import shape_of
from exprc.ops.formula import floor_div, maximum, minimum, mod, neq, where
from exprc.ops.view import flatten, stack
from exprc.size import UNKNOWN

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["argwhere", "flatnonzero", "nonzero", "ravel_multi_index", "unravel_index"]

_SPARSE = np.array([0.0, 2.0, 0.0, -1.0, np.nan, 0.0])

positions = kernel(
    "flatnonzero", shape=lambda args: (UNKNOWN,), dtype=lambda dtypes: "int64", numpy=lambda x: np.flatnonzero(x).astype("int64"),
    grad=lambda g, y, x: None, samples=lambda: [((_SPARSE != 0,), {}), ((np.zeros(3, "bool"),), {}), ((np.ones(2, "bool"),), {})],
    doc="positions of the elements that are true in a vector of bools",
)  # fmt: skip


def flatnonzero(x: Any) -> Expr:
    """Return the positions, in row-major order, of the elements of `x` that are not 0.

    Returns
    -------
    int64 vector; its length is known only at the call.

    >>> flatnonzero([0, 3, 0, 5]).eval().tolist()
    [1, 3]
    """
    x = as_expr(x)
    if isinstance(x, Constant):
        return Constant(np.flatnonzero(x.value).astype("int64"))
    return positions.node((flatten(x if x.dtype == "bool" else neq(x, 0), 1),), {})


def nonzero(x: Any, return_matrix: bool = False) -> Any:
    """Return the indices of the elements of `x` that are not 0: one int64 vector for each axis, of a length known only at the call.

    Parameters
    ----------
    return_matrix : stack the vectors to a matrix (Theano's argument).

    Raises
    ------
    ValueError
        for a scalar.
    """
    x = as_expr(x)
    if x.ndim == 0:
        raise ValueError(report("nonzero: a scalar has no axes", [("array", f"{x.label}  {x.type}", x.where)], "use x.flatten()?"))
    found = unravel_index(flatnonzero(x), shape_of(x))
    return stack(found) if return_matrix else found


def _where_call(condition: Any, *values: Any) -> Any:
    """Return ``where(c, a, b)``, a where c is true, else b; with c alone, where it is true: `nonzero`."""
    return where.apply(as_expr(condition), *wrap(values)) if values else nonzero(condition)  # no number takes the condition's dtype


object.__setattr__(where, "call", _where_call)  # its record comes before that of `nonzero`


def argwhere(x: Any) -> Expr:
    """Return the indices of the elements of `x` that are not 0, a row each."""
    return stack(nonzero(x), axis=1)


def unravel_index(indices: Any, shape: Any) -> tuple[Expr, ...]:
    """Return the indices along each axis of an array of `shape` that belong to positions in row-major order.

    Parameters
    ----------
    indices : integers from 0 to the number of elements - 1; beyond them the result is no valid index.
    shape : a tuple of ints and integer expressions.

    >>> [int(i.eval()) for i in unravel_index(7, (3, 4))]
    [1, 3]
    """
    rest = cast_to(as_expr(indices), "int64")
    dims = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    if isinstance(rest, Constant) and all(isinstance(d, (int, np.integer)) for d in dims):
        return tuple(Constant(i.astype("int64")) for i in map(np.asarray, np.unravel_index(rest.value, dims)))
    found: list[Expr] = []
    for d in reversed(dims[1:]):
        found.append(mod(rest, d))
        rest = floor_div(rest, d)
    return (rest, *reversed(found)) if dims else ()


def ravel_multi_index(multi_index: Sequence[Any], dims: Any, mode: str = "raise", order: str = "C") -> Expr:
    """Return the positions, in row-major order, that belong to indices along each axis of an array of shape `dims`.

    Parameters
    ----------
    mode : "raise" takes indices as they are (those out of range give positions of other elements or none), "wrap" takes them modulo
        the length, "clip" moves them into range.
    order : "C"; other orders are refused.
    """
    if mode not in ("raise", "wrap", "clip") or order != "C":
        raise ValueError(f"ravel_multi_index: mode must be 'raise', 'wrap' or 'clip' and order 'C', not {mode!r} and {order!r}")
    dims = list(dims) if isinstance(dims, (tuple, list)) else [dims]
    if len(dims) != len(multi_index):
        raise ValueError(f"ravel_multi_index: {len(multi_index)} indices for {len(dims)} dims")
    position: Any = as_expr(0, ("int64",))
    for i, d in zip(multi_index, dims):
        position = position * d + bounded(cast_to(as_expr(i), "int64"), d, mode)
    return position  # type: ignore[no-any-return]


def bounded(i: Expr, n: Any, mode: str) -> Expr:
    """Return indices brought into 0 ... n - 1 by `mode`: "clip", "wrap", or "raise", which leaves them."""
    if mode == "wrap":
        return mod(i, n)  # type: ignore[no-any-return]
    return maximum(minimum(i, n - 1), 0) if mode == "clip" else i  # type: ignore[no-any-return]
