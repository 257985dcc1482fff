"""What stands around classifiers: losses with a bias, confusion matrices, rows with a constant in front, checks of values.

These are Theano's names for it; each is short in other operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, kernel, node_rows, wrap
from exprc.ops.composite import categorical_crossentropy, softmax, softmax_crossentropy
from exprc.ops.formula import eq, floor_div, iota, mod
from exprc.ops.index import gather, getitem
from exprc.ops.linalg import dot, tensordot
from exprc.ops.products import batched_dot
from exprc.ops.rows import everywhere
from exprc.ops.sort import argsort, unique
from exprc.ops.take import take_along_axis
from exprc.ops.view import broadcast_to, concatenate, dim_of, dimshuffle, flatten, reshape
from exprc.types import is_integer

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "Assert", "assert_op", "confusion_matrix", "crossentropy_categorical_1hot", "crossentropy_softmax_1hot",
    "crossentropy_softmax_1hot_with_bias", "h_softmax", "permute_row_elements", "prepend_0_to_each_row", "prepend_1_to_each_row",
    "prepend_scalar_to_each_row", "softmax_with_bias",
]  # fmt: skip

# -- losses ------------------------------------------------------------------------------------------------------------


def softmax_with_bias(x: Any, b: Any) -> Expr:
    """Return ``softmax(x + b)`` along the last axis."""
    return softmax(as_expr(x) + as_expr(b))  # type: ignore[no-any-return]


def crossentropy_softmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> tuple[Expr, Expr]:
    """Return the cross-entropy of ``softmax(x + b)`` with the classes `y_idx` (integers, one a row), and the softmax itself."""
    x = as_expr(x) + as_expr(b)
    return softmax_crossentropy(x, y_idx), softmax(x)


def crossentropy_softmax_1hot(x: Any, y_idx: Any) -> tuple[Expr, Expr]:
    """Return the cross-entropy of ``softmax(x)`` with the classes `y_idx` (integers, one a row), and the softmax itself."""
    return softmax_crossentropy(x, y_idx), softmax(x)


def crossentropy_categorical_1hot(coding_dist: Any, true_one_of_n: Any) -> Expr:
    """Return ``-log(coding_dist[k, true_one_of_n[k]])`` for each row k: `categorical_crossentropy` with classes as integers."""
    return categorical_crossentropy(coding_dist, true_one_of_n)


def h_softmax(
    x: Any, batch_size: Any, n_outputs: int, n_classes: int, n_outputs_per_class: int, W1: Any, b1: Any, W2: Any, b2: Any,
    target: Any = None,
) -> Expr:
    """Return probabilities of a softmax of two levels: that of the class of an output, times that of the output within its class.

    Goodman 2001, "Classes for fast maximum entropy training", section 2.

    Parameters
    ----------
    x : (batch_size, n_features).
    n_outputs, n_classes, n_outputs_per_class : ints; the classes hold at least as many outputs as there are.
    W1, b1 : (n_features, n_classes) and (n_classes,), for the class.
    W2, b2 : (n_classes, n_features, n_outputs_per_class) and (n_classes, n_outputs_per_class), for the output within it.
    target : integers (batch_size,); None for the probabilities of all outputs.

    Returns
    -------
    (batch_size,), the probability of each target; without targets (batch_size, n_outputs).
    """
    if n_classes * n_outputs_per_class < n_outputs:
        text = f"h_softmax: {n_classes} classes of {n_outputs_per_class} hold fewer than {n_outputs} outputs"
        raise ValueError(report(text, node_rows((as_expr(x),)), "take more classes, or more outputs a class"))
    x, W1, b1, W2, b2 = wrap((x, W1, b1, W2, b2))
    classes = softmax(dot(x, W1) + b1)
    if target is None:
        inner = softmax(tensordot(x, W2, (1, 1)) + b2)
        both = dimshuffle(classes, (0, 1, "x")) * inner
        return getitem(reshape(both, (dim_of(x, 0), n_classes * n_outputs_per_class)), (slice(None), slice(None, n_outputs)))
    target = as_expr(target)
    chosen, within, row = floor_div(target, n_outputs_per_class), mod(target, n_outputs_per_class), iota(dim_of(x, 0))
    scores = getitem(batched_dot(dimshuffle(x, (0, "x", 1)), gather.node((W2, chosen), {})), (slice(None), 0))
    inner = softmax(scores + gather.node((b2, chosen), {}))
    return getitem(classes, (row, chosen)) * getitem(inner, (row, within))


# -- counts and rows ---------------------------------------------------------------------------------------------------


def confusion_matrix(actual: Any, pred: Any) -> list[Expr]:
    """Return how often each class was taken for each other, and the classes in rising order.

    Parameters
    ----------
    actual, pred : integer vectors of one length.

    Returns
    -------
    [matrix, classes] : ``matrix[i, j]`` (int64) counts where `actual` is ``classes[i]`` and `pred` is ``classes[j]``.

    >>> [y.eval().tolist() for y in confusion_matrix([2, 0, 2], [0, 0, 2])]
    [[[1, 0], [1, 1]], [0, 2]]
    """
    actual, pred = (flatten(as_expr(y)) for y in (actual, pred))
    order = unique(concatenate([actual, pred]))
    rows, columns = (cast_to(eq(dimshuffle(y, (0, "x")), order), "int64") for y in (actual, pred))
    return [dot(rows.T, columns), order]


def prepend_scalar_to_each_row(val: Any, matrix: Any) -> Expr:
    """Return `matrix` with a column of `val` in front."""
    matrix = as_expr(matrix)
    column = broadcast_to(cast_to(as_expr(val, (matrix.dtype,)), matrix.dtype), (dim_of(matrix, 0), 1))
    return concatenate([column, matrix], axis=1)  # type: ignore[no-any-return]


def prepend_0_to_each_row(matrix: Any) -> Expr:
    """Return `matrix` with a column of 0 in front."""
    return prepend_scalar_to_each_row(0, matrix)


def prepend_1_to_each_row(matrix: Any) -> Expr:
    """Return `matrix` with a column of 1 in front."""
    return prepend_scalar_to_each_row(1, matrix)


def permute_row_elements(x: Any, y: Any, inverse: bool = False) -> Expr:
    """Return the elements of each row (the last axis) of `x` in the order `y`, a permutation or one for each row; `inverse` undoes that.

    >>> permute_row_elements([10, 20, 30], [2, 0, 1]).eval().tolist()
    [30, 10, 20]
    """
    x, y = as_expr(x), as_expr(y)
    if not is_integer(y.dtype):
        raise TypeError(report("permute_row_elements: a permutation is made of integers", node_rows((x, y)), "cast it to 'int64'?"))
    y = argsort(y) if inverse else y
    ndim = max(x.ndim, y.ndim)
    x, y = (dimshuffle(v, ("x",) * (ndim - v.ndim) + tuple(range(v.ndim))) for v in (x, y))
    return take_along_axis(x, y, -1)


# -- checks ------------------------------------------------------------------------------------------------------------


def _checked(x: Any, *conditions: Any, msg: str) -> Any:
    if not all(np.all(c) for c in conditions):
        raise ValueError(msg)
    return x


def _checked_rows(node: Expr, inputs: Any, which: Any, rows: Any) -> Expr:
    whole = everywhere(inputs[:1], which[:1], rows)[0]
    return assert_record.node((whole, *inputs[1:]), node.params)


assert_record = kernel(
    "checked", data=None, shape=lambda args, msg: args[0].shape, dtype=lambda dtypes, msg: dtypes[0], numpy=_checked, batched=_checked_rows,
    grad=lambda g, y, x, *conditions, msg: (g, *(None for _ in conditions)),
    samples=lambda: [((np.arange(3.0), np.array([True, True])), {"msg": "-"}), ((np.arange(3.0),), {"msg": "-"})],
    doc="`x`, after a check that all conditions are true in all their elements",
)  # fmt: skip


class Assert:
    """A check of values at each call: ``Assert(msg)(x, condition, ...)`` is `x`; a call in which a condition is not true is an error.

    The check is made on the host, so `x` is written to memory there and the program is cut in two; it is made only where the result
    is used. The error is a ValueError with `msg` and the line of the check.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.vector("x")
    >>> y = T.log(Assert("x must be above 0")(x, x > 0))
    >>> y.eval({x: [1.0]}).tolist()
    [0.0]
    """

    def __init__(self, msg: str = "an assertion failed"):
        self.msg = str(msg)

    def __call__(self, value: Any, *conds: Any) -> Expr:
        return assert_record.node((as_expr(value), *map(as_expr, conds)), {"msg": self.msg})


def assert_op(value: Any, *conds: Any) -> Expr:
    """Return `value` where all conditions are true in all their elements; a call in which one is not is an error, see `Assert`."""
    return Assert()(value, *conds)
