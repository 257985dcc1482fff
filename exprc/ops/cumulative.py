"""Running sums and products along an axis, and their inverse, the differences.

One kernel text computes ``y[k] = a[k] y[k-1] + x[k]``, of which the running sum (a = 1) and the running product are special cases. The
gradient of such a recurrence is a recurrence backwards (Blelloch 1990, Prefix sums and their applications, section 1.4), so that zeros
among the factors of a product need no case of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import Arg, Hook, Implementation, cast_to, kernel, same_dim
from exprc.ops.axes import array_row, flip, one_axis, ravel
from exprc.ops.create import ones, shape_of, zeros
from exprc.ops.formula import neq
from exprc.ops.reduce import wide
from exprc.ops.rows import by_first_axis
from exprc.ops.tiling import Launch, blocks_launch
from exprc.ops.view import broadcast_to, concatenate, getitem, reshape
from exprc.size import Dim
from exprc.types import dtype_name

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["cumprod", "cumsum", "diff"]


def _same_shape(args: Sequence[Arg]) -> tuple[Dim, ...]:
    for a, b in zip(args[0].shape, args[-1].shape):
        same_dim(a, b, "factors and terms differ in shape")
    return args[0].shape


def _implementation(mode: int) -> Implementation:
    plain = {"LOAD_x": Hook("load", 0, lambda o, k, i: (o, k, i)), "STORE_y": Hook("store", 0, lambda o, k, i: (o, k, i))}
    hooks = plain if mode < 2 else {**plain, "LOAD_a": Hook("load", 1, lambda o, k, i: (o, k, i))}
    return Implementation(
        name="cumulative", text="cumulative.h", hooks=hooks, layouts=(("any",) * (1 + (mode == 2)), ("plain",)),
        sizes=lambda args, outs, params, lanes: {**dict(zip("ONI", args[0].shape)), "MODE": mode},
        flops=lambda args, outs, params: args[0].shape[0] * args[0].shape[1] * args[0].shape[2] * (1 + (mode == 2)),
    )  # fmt: skip


def _cuda_sizes(args: Sequence[Arg], outs: Sequence[Arg], params: Any, lanes: int, mode: int) -> dict[str, Dim]:
    """Up to 32 columns a block, fewer where there are fewer, and as many steps as fill 2048 elements."""
    outer, _, inner = args[0].shape
    columns = outer * inner
    across = min(32, 1 << max(columns - 1, 0).bit_length()) if isinstance(columns, int) else 32
    depth = 2048 // across
    return {**dict(zip("ONI", args[0].shape)), "MODE": mode, "COLUMNS": across, "DEPTH": depth}


def _cuda_launch(values: Mapping[str, int], size: int) -> Launch:
    """A tile of x in shared memory, for a recurrence one of a."""
    shared = (1 + (values["MODE"] == 2)) * values["DEPTH"] * (values["COLUMNS"] | 1) * size
    return blocks_launch(-(-values["O"] * values["I"] // values["COLUMNS"]), 256, shared)


def _cuda_implementation(mode: int) -> Implementation:
    return dataclasses.replace(
        _implementation(mode), text="cumulative.cuh", device="cuda", launch=_cuda_launch,
        sizes=lambda args, outs, params, lanes: _cuda_sizes(args, outs, params, lanes, mode),
    )  # fmt: skip


def _samples() -> list[Any]:
    x = np.array([0.5, -1.5, 0.0, 2.0, 1.25, -0.5, 3.0, 0.75] * 3)
    return [((x.reshape(s),), {}) for s in ((2, 3, 4), (1, 24, 1), (24, 1, 1))] + [((np.zeros((2, 0, 3)),), {})]


def _back(x: Expr) -> Expr:
    return flip(x, 1)


def _shifted(x: Expr, first: Expr) -> Expr:
    """`x` moved on by one along the middle axis, `first` (of length 1 there, or 0 where x is empty) before it."""
    return getitem(concatenate([first, x], 1), (slice(None), slice(0, x.shape[1])))


def _edge(x: Expr, value: float) -> Expr:
    outer, _, inner = shape_of(x)
    return (ones if value else zeros)((outer, 1, inner), x.dtype)


sum_record = kernel(
    "cumsum", shape=_same_shape, dtype=lambda dtypes: dtypes[0], numpy=lambda x: np.cumsum(x, axis=1, dtype=x.dtype), samples=_samples,
    batched=by_first_axis,
    implementations=(_implementation(0), _cuda_implementation(0)), grad=lambda g, y, x: _back(sum_record.node((_back(g),), {})),
    doc="running sums along the middle axis of three",
)  # fmt: skip


def _product_grad(g: Expr, y: Expr, x: Expr) -> Expr:
    """x[i] is a factor of y[i], y[i+1] ...: the product before it times the sum of g[k] x[i+1] ... x[k], a recurrence from the end."""
    following = _shifted(_back(x), _edge(x, 0.0))  # x[k+1], counted from the end
    after = _back(recurrence.node((_back(g), following), {}))
    return _shifted(y, _edge(x, 1.0)) * after


product_record = kernel(
    "cumprod", shape=_same_shape, dtype=lambda dtypes: dtypes[0], numpy=lambda x: np.cumprod(x, axis=1, dtype=x.dtype), samples=_samples,
    batched=by_first_axis,
    implementations=(_implementation(1), _cuda_implementation(1)), grad=_product_grad,
    doc="running products along the middle axis of three",
)  # fmt: skip


def _recurrence_numpy(x: Any, a: Any) -> Any:
    y = x.copy()
    for k in range(1, x.shape[1]):
        y[:, k] = a[:, k] * y[:, k - 1] + x[:, k]
    return y


def _recurrence_grad(g: Expr, y: Expr, x: Expr, a: Expr) -> tuple[Expr, Expr]:
    total = _back(recurrence.node((_back(g), _shifted(_back(a), _edge(a, 0.0))), {}))
    return total, total * _shifted(y, _edge(y, 0.0))


recurrence = kernel(
    "recurrence", shape=_same_shape, dtype=lambda dtypes: dtypes[0], numpy=_recurrence_numpy,
    implementations=(_implementation(2), _cuda_implementation(2)), grad=_recurrence_grad, batched=by_first_axis,
    samples=lambda: [((x, np.roll(x, 2, 1) + 0.25), {}) for ((x,), _) in _samples()],
    doc="y[k] = a[k] y[k-1] + x[k] along the middle axis of three; y[-1] is 0",
)  # fmt: skip


def _along(record: Any, x: Any, axis: int | None, dtype: Any) -> Expr:
    x = as_expr(x)
    x = cast_to(x, wide(x.dtype) if dtype is None else dtype_name(dtype))
    if axis is None:
        x, axis = ravel(x), 0
    at, dims = one_axis(record.name, axis, x.ndim, x), shape_of(x)
    y = record.node((reshape(x, (_product(dims[:at]), dims[at], _product(dims[at + 1 :]))),), {})
    return reshape(y, dims)  # type: ignore[no-any-return]


def _product(dims: Sequence[Any]) -> Any:
    total: Any = 1
    for d in dims:
        total = total * d
    return total


def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Expr:
    """Return the running sums along an axis (None: of the flattened array), of the same length: NumPy's cumsum.

    Parameters
    ----------
    dtype : that of the sums, by default the one of `x`; small integers are summed in 64 bits.

    >>> cumsum([1, 2, 3]).eval().tolist()
    [1, 3, 6]
    """
    return _along(sum_record, x, axis, dtype)


def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Expr:
    """Return the running products along an axis (None: of the flattened array); parameters as for `cumsum`.

    The gradient is right where factors are 0, too.
    """
    return _along(product_record, x, axis, dtype)


def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Expr:
    """Return the differences of neighbours along an axis, `n` times over: NumPy's diff.

    Parameters
    ----------
    prepend, append : arrays (or scalars) put before and after `x` first.

    >>> diff([1.0, 4.0, 9.0]).eval().tolist()
    [3.0, 5.0]
    """
    x = as_expr(x)
    if n < 0:
        raise ValueError(report(f"diff: n must be 0 or more, not {n}", array_row(x)))
    at = one_axis("diff", axis, x.ndim, x)
    parts = [_of_length_one(e, x, at) if e is not x else x for e in (prepend, x, append) if e is not None]
    x = concatenate(parts, at) if len(parts) > 1 else x
    for _ in range(n):
        late, early = ((slice(None),) * at + (part,) for part in (slice(1, None), slice(None, -1)))
        x = neq(x[late], x[early]) if x.dtype == "bool" else x[late] - x[early]
    return x


def _of_length_one(e: Any, x: Expr, axis: int) -> Expr:
    """A scalar stands for one layer of elements."""
    e = as_expr(e, (x.dtype,))
    if e.ndim:
        return e
    return broadcast_to(e, tuple(1 if a == axis else d for a, d in enumerate(shape_of(x))))  # type: ignore[no-any-return]
