"""Matrix products. `matmul` of stacks of matrices is the one kernel; dot, tensordot and outer are written in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr
from exprc.forms import (
    Arg,
    Hook,
    Implementation,
    Kernel,
    axes_there_are,
    cast_to,
    kernel,
    node_rows,
    same_dim,
    shape_text,
    wrap,
)
from exprc.ops.formula import maximum, mul
from exprc.ops.reduce import sum_
from exprc.ops.rows import fold, unfold
from exprc.ops.tiled import by_library, tiled
from exprc.ops.view import broadcast_to, dim_of, dimshuffle, reshape
from exprc.size import Dim
from exprc.types import float_of, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "dot", "matmul", "matvec", "outer", "tensordot", "vecmat",
]  # fmt: skip


def _gemm_shape(args: Sequence[Arg]) -> tuple[Dim, ...]:
    """(batch, m, k) times (batch, k, n)."""
    a, b = args
    batch = same_dim(a.shape[0], b.shape[0], "stacks differ")
    same_dim(a.shape[2], b.shape[1], f"inner sizes differ: {shape_text(a.shape[1:])} · {shape_text(b.shape[1:])}")
    return (batch, a.shape[1], b.shape[2])


def _gemm_sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
    """Of a whole result, or of one in parts, which stand in front."""
    batch, m, n = outs[0].shape[-3:]
    return {"BATCH": batch, "M": m, "N": n, "K": args[0].shape[2]}


_GEMM = Implementation(
    name="gemm",
    text="gemm.h",
    sizes=_gemm_sizes,
    hooks={
        "LOAD_a": Hook("load", 0, lambda g, i, k: (g, i, k)),
        "LOAD_b": Hook("load", 1, lambda g, k, j: (g, k, j)),
        "PTR_b": Hook("pointer", 1, lambda g, k, j: (g, k, j)),
        "STORE_y": Hook("store", 0, lambda g, i, j: (g, i, j)),
    },
    layouts=(("any", "any"), ("any",)),
    flags={"B_ROWS_CONTIGUOUS": ("PTR_b", "j"), "B_COLS_CONTIGUOUS": ("PTR_b", "k"), "A_COLS_CONTIGUOUS": ("LOAD_a", "i")},
    flops=lambda args, outs, params: 2 * outs[0].shape[0] * outs[0].shape[1] * outs[0].shape[2] * args[0].shape[2],
)  # fmt: skip


_CUDA = tiled(
    Implementation(
        name="gemm", text="gemm.cuh product.cuh", device="cuda", sizes=_gemm_sizes, flops=_GEMM.flops, layouts=(("any", "any"), ("any",)),
        flags={"A_COLS_CONTIGUOUS": ("LOAD_a", "i"), "B_COLS_CONTIGUOUS": ("LOAD_b", "k")},
        hooks={
            "LOAD_a": Hook("load", 0, lambda g, i, k: (g, i, k)),
            "LOAD_b": Hook("load", 1, lambda g, k, j: (g, k, j)),
            "STORE_y": Hook("store", 0, lambda r, g, i, j: (g, i, j)),
        },
    ),
    products=lambda args, outs, params: (*outs[0].shape[-2:], args[0].shape[2], outs[0].shape[-3], 0),
    extents=lambda values: (values["M"], values["N"], values["BATCH"]),
    parts_store=Hook("store", 0, lambda r, g, i, j: (r, g, i, j)),
)  # fmt: skip


#: cuBLAS may compute a whole product of plain operands.
_CUBLAS = by_library(_CUDA, "cublas", ("float32", "strict"))


def _swap(x: Expr) -> Expr:
    return dimshuffle(x, (0, 2, 1))


def _gemm_rows(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    """Rows of both are more products; rows of one are more rows or more columns of the matrices."""
    a, b = inputs
    if all(which):
        return unfold(gemm.node((fold(a, 0), fold(b, 0)), {}), 0, rows, dim_of(a, 1))
    if which[0]:
        return unfold(gemm.node((fold(a, 1), b), {}), 1, rows, dim_of(a, 2))
    return unfold(gemm.node((a, fold(b, 2)), {}), 2, rows, dim_of(b, 3))


gemm: Kernel = kernel(
    "gemm", shape=_gemm_shape, dtype=lambda dtypes: dtypes[0], numpy=np.matmul, implementations=(_GEMM, *_CUBLAS, *_CUDA),
    meet=lambda dtypes: [float_of(promote(dtypes))] * 2,
    grad=lambda g, y, a, b: (gemm(g, _swap(b)), gemm(_swap(a), g)), batched=_gemm_rows,
    samples=lambda: [((np.ones((2, 3, 4)) * 0.5, np.arange(40.0).reshape(2, 4, 5)), {}), ((np.ones((1, 2, 0)), np.ones((1, 0, 3))), {})],
    doc="products of stacks of matrices: (batch, m, k) · (batch, k, n)", called="dot",
)  # fmt: skip


def dot(a: Any, b: Any) -> Expr:
    """Product of vectors and matrices; for more axes NumPy's dot: the last axis of `a` with the last but one of `b`.

    Raises
    ------
    ValueError
        if the inner sizes differ; the text says both shapes and where each operand was made.
    """
    a, b = wrap((a, b))
    if a.ndim == 0 or b.ndim == 0:
        return mul(a, b)
    _check_inner(a, b)
    if a.ndim <= 2 and b.ndim <= 2:
        return _product(a, b)
    return tensordot(a, b, ((a.ndim - 1,), (max(b.ndim - 2, 0),)))


def _check_inner(a: Expr, b: Expr) -> None:
    left, right = a.type.shape[-1], b.type.shape[max(b.ndim - 2, 0)]
    if left is not None and right is not None and left != right:
        text = f"dot: inner sizes differ: {shape_text(a.type.shape)} · {shape_text(b.type.shape)}: {left} ≠ {right}"
        raise ValueError(report(text, node_rows((a, b)), _transposed_fits(a, b)))


def _transposed_fits(a: Expr, b: Expr) -> str:
    if b.ndim == 2 and b.type.shape[1] == a.type.shape[-1]:
        return f"did you mean dot({a.label}, {b.label}.T)?"
    if a.ndim == 2 and a.type.shape[0] == b.type.shape[max(b.ndim - 2, 0)]:
        return f"did you mean dot({a.label}.T, {b.label})?"
    return "the last axis of the left must be as long as the one of the right that is summed over with it"


def _product(a: Expr, b: Expr) -> Expr:
    """Product of operands of one or two axes."""
    dtype = float_of(promote((a.dtype, b.dtype)))
    if "float" not in promote((a.dtype, b.dtype)):
        return _integer_product(a, b)
    left = dimshuffle(cast_to(a, dtype), ("x", "x", 0) if a.ndim == 1 else ("x", 0, 1))
    right = dimshuffle(cast_to(b, dtype), ("x", 0, "x") if b.ndim == 1 else ("x", 0, 1))
    kept = (() if a.ndim == 1 else (1,)) + (() if b.ndim == 1 else (2,))
    return dimshuffle(gemm.node((left, right), {}), kept)


def _integer_product(a: Expr, b: Expr) -> Expr:
    """Integers are multiplied exactly: a sum of products, in the dtype in which the operands meet."""
    left = dimshuffle(a, (0, "x") if a.ndim == 1 else (0, 1, "x"))
    right = dimshuffle(b, (0, "x")) if b.ndim == 1 else b
    total = cast_to(sum_(mul(left, right), axis=a.ndim - 1), promote((a.dtype, b.dtype)))
    return reshape(total, tuple(dim_of(x, k) for x, k in ((a, 0),) * (a.ndim == 2) + ((b, 1),) * (b.ndim == 2)))


def stack_product(a: Expr, b: Expr) -> Expr:
    """Products of stacks of matrices, (batch, m, k) · (batch, k, n); of integers and bools exactly, in the dtype in which they meet."""
    dtype = promote((a.dtype, b.dtype))
    if "float" in dtype:
        return gemm(a, b)  # type: ignore[no-any-return]
    return cast_to(sum_(mul(dimshuffle(a, (0, 1, 2, "x")), dimshuffle(b, (0, "x", 1, 2))), axis=2), dtype)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Expr:
    """Sum of products over axes of `a` paired with axes of `b`: NumPy's tensordot.

    Parameters
    ----------
    axes : an int n (the last n of `a` with the first n of `b`), or a pair of ints or of lists of ints.

    >>> import exprc.tensor as T
    >>> tensordot(T.tensor3(shape=(2, 3, 4)), T.tensor3(shape=(4, 3, 5)), ((1, 2), (1, 0))).type.shape
    (2, 5)
    """
    a, b = wrap((a, b))
    over_a, over_b = _paired_axes(a, b, axes)
    free_a = [i for i in range(a.ndim) if i not in over_a]
    free_b = [i for i in range(b.ndim) if i not in over_b]
    for i, j in zip(over_a, over_b):
        if None not in (a.type.shape[i], b.type.shape[j]) and a.type.shape[i] != b.type.shape[j]:
            text = f"tensordot: axis {i} of the left and axis {j} of the right differ: {a.type.shape[i]} ≠ {b.type.shape[j]}"
            fix = "axes=1 pairs the last axis of the left with the first of the right; axes=([0], [1]) names both"
            raise ValueError(report(text, node_rows((a, b)), fix))
    left = reshape(dimshuffle(a, (*free_a, *over_a)), (_count(a, free_a), _count(a, over_a)))
    right = reshape(dimshuffle(b, (*over_b, *free_b)), (_count(b, over_b), _count(b, free_b)))
    return reshape(_product(left, right), (*(dim_of(a, i) for i in free_a), *(dim_of(b, i) for i in free_b)))


def _paired_axes(a: Expr, b: Expr, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, (int, np.integer)):
        if axes < 0 or axes > min(a.ndim, b.ndim):
            fix = f"give a number from 0 to {min(a.ndim, b.ndim)}"
            raise ValueError(report(f"tensordot: cannot sum over {axes} axes", node_rows((a, b)), fix))
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    if isinstance(axes, str) or not hasattr(axes, "__len__") or len(axes) != 2:
        text = f"tensordot: axes must be a number or a pair, not {axes!r}"
        raise TypeError(report(text, node_rows((a, b)), "as axes=1, or axes=([1], [0]) for axis 1 of the left with axis 0 of the right"))
    left, right = ([x] if isinstance(x, int) else list(x) for x in axes)
    if len(left) != len(right):
        text = f"tensordot: {len(left)} axes cannot be paired with {len(right)}"
        raise ValueError(report(text, node_rows((a, b)), "name as many axes of the left as of the right"))
    for x, part in ((a, left), (b, right)):
        bad = next((i for i in part if not -x.ndim <= i < x.ndim), None)
        if bad is not None:
            text = f"tensordot: axis {bad} is out of bounds for an array of {x.ndim} dimensions"
            raise ValueError(report(text, node_rows((a, b)), axes_there_are(x.ndim)))
    return [i % a.ndim for i in left], [i % b.ndim for i in right]


def _count(x: Expr, axes: Sequence[int]) -> Any:
    total: Any = 1
    for i in axes:
        total = total * dim_of(x, i)
    return total


def outer(a: Any, b: Any) -> Expr:
    """Every element of `a` times every element of `b`: a matrix."""
    a, b = (x if x.ndim == 1 else reshape(x, (-1,)) for x in wrap((a, b)))
    return mul(dimshuffle(a, (0, "x")), dimshuffle(b, ("x", 0)))


def matmul(a: Any, b: Any) -> Expr:
    """NumPy's ``a @ b``: matrices in the last two axes, the others broadcast; vectors are taken as a row or a column."""
    a, b = wrap((a, b))
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(report("matmul: operands need at least one axis", node_rows((a, b)), "use * for scalars"))
    if a.ndim <= 2 and b.ndim <= 2:
        return dot(a, b)
    _check_inner(a, b)
    row, column = a.ndim == 1, b.ndim == 1
    a, b = (dimshuffle(a, ("x", 0)) if row else a), (dimshuffle(b, (0, "x")) if column else b)
    product = _stacked(a, b)
    keep = list(range(product.ndim))
    drop = [keep[-2]] * row + [keep[-1]] * column
    return dimshuffle(product, tuple(k for k in keep if k not in drop)) if drop else product


def matvec(a: Any, b: Any) -> Expr:
    """Products of matrices in the last two axes of `a` with vectors in the last of `b`; the others broadcast."""
    a, b = wrap((a, b))
    made = matmul(a, dimshuffle(b, (*range(b.ndim), "x")))
    return dimshuffle(made, tuple(range(made.ndim - 1)))


def vecmat(a: Any, b: Any) -> Expr:
    """Products of vectors in the last axis of `a` with matrices in the last two of `b`; the others broadcast."""
    a, b = wrap((a, b))
    made = matmul(dimshuffle(a, (*range(a.ndim - 1), "x", a.ndim - 1)), b)
    return dimshuffle(made, (*range(made.ndim - 2), made.ndim - 1))


def _stacked(a: Expr, b: Expr) -> Expr:
    """Broadcast the leading axes of both, and multiply as one stack."""
    lead = _leading(a, b)
    left = _as_stack(a, lead)
    right = _as_stack(b, lead)
    return reshape(stack_product(left, right), (*lead, dim_of(a, a.ndim - 2), dim_of(b, b.ndim - 1)))


def _leading(a: Expr, b: Expr) -> tuple[Any, ...]:
    """The broadcast leading dims, as numbers or expressions."""
    ndim = max(a.ndim, b.ndim) - 2
    lead = []
    for k in range(ndim):
        dims = [dim_of(x, k - ndim + x.ndim - 2) for x in (a, b) if k - ndim + x.ndim - 2 >= 0]
        fixed = [d for d in dims if isinstance(d, int) and d != 1]
        symbolic = [d for d in dims if not isinstance(d, int)]
        lead.append(fixed[0] if fixed else (_larger(symbolic) if symbolic else 1))
    return tuple(lead)


def _larger(dims: Sequence[Expr]) -> Expr:
    """The symbolic dims that meet are equal where the sizes are bound, or one of them is 1."""
    return dims[0] if len(dims) == 1 else maximum(dims[0], dims[1])


def _as_stack(x: Expr, lead: tuple[Any, ...]) -> Expr:
    full = broadcast_to(x, (*lead, dim_of(x, x.ndim - 2), dim_of(x, x.ndim - 1))) if x.type.shape[:-2] != lead else x
    total: Any = 1
    for d in lead:
        total = total * d
    return reshape(full, (total, dim_of(x, x.ndim - 2), dim_of(x, x.ndim - 1)))
