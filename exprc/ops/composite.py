"""Operations written in other operations: activations, losses, variance, normalisation.

Each stays one node until `expand`, so that rules can name it and so that its own gradient, where it has one, keeps its accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import (
    Arg,
    Composite,
    ShapeError,
    broadcast,
    composite,
    node_rows,
    normal_axes,
    restore_axes,
    same_dim,
    shape_text,
    wrap,
)
from exprc.ops.axes import stated
from exprc.ops.formula import (
    cast,
    clip,
    eq,
    exp,
    expm1,
    gt,
    iota,
    isinf,
    log,
    log1p,
    lt,
    maximum,
    minimum,
    second,
    sigmoid,
    softplus,
    sqr,
    sqrt,
    where,
)
from exprc.ops.index import getitem
from exprc.ops.reduce import count, max_, mean, min_, spread, sum_, variance_numpy
from exprc.ops.view import dim_of, dimshuffle, reshape
from exprc.size import Dim
from exprc.types import float_of, is_float, is_integer, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "batch_normalization", "batch_normalization_test", "batch_normalization_train", "binary_crossentropy",
    "categorical_crossentropy", "elu", "hard_sigmoid", "log_softmax", "logsumexp", "norm", "relu", "selu",
    "sigmoid_binary_crossentropy", "softmax", "softmax_crossentropy", "softsign", "std", "var",
]  # fmt: skip


def _same_shape(args: Sequence[Arg], **params: Any) -> tuple[Dim, ...]:
    return args[0].shape


def _float_dtype(dtypes: Sequence[str], **params: Any) -> str:
    return float_of(promote(dtypes))


def _meeting(args: Sequence[Arg], **params: Any) -> tuple[Dim, ...]:
    return broadcast([a.shape for a in args])


def _common_dtype(dtypes: Sequence[str], **params: Any) -> str:
    return promote(dtypes)


def _floating(x: Any) -> Expr:
    """`x` as an expression of a float dtype."""
    x = as_expr(x)
    return x if is_float(x.dtype) else cast(x, float_of(x.dtype))


_ROWS = np.array([[0.5, -1.0, 2.0], [100.0, -100.0, 0.0]])


def _along(name: str, x: Any, axis: Any) -> tuple[Expr, tuple[int, ...]]:
    x = _floating(x)
    return x, normal_axes(axis, x.ndim, name)


# -- softmax and its logarithm -----------------------------------------------------------------------------------------


def _one_axis(op: Composite, axis_default: Any = -1) -> Any:
    def call(x: Any, axis: Any = axis_default) -> Expr:
        x, axes = _along(op.name, x, axis)
        return op.node((x,), {"axes": axes})

    object.__setattr__(op, "call", call)
    return op


def _softmax_numpy(x: Any, axes: tuple[int, ...]) -> Any:
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(x, axis=axes, keepdims=True))
        return e / np.sum(e, axis=axes, keepdims=True)


def _logsumexp_numpy(x: Any, axes: tuple[int, ...]) -> Any:
    with np.errstate(all="ignore"):
        top = np.max(x, axis=axes, keepdims=True)
        top = np.where(np.isinf(top), 0, top)
        return np.log(np.sum(np.exp(x - top), axis=axes)) + np.squeeze(top, axis=axes)


def _log_softmax_numpy(x: Any, axes: tuple[int, ...]) -> Any:
    with np.errstate(all="ignore"):
        shifted = x - np.max(x, axis=axes, keepdims=True)
        return shifted - np.log(np.sum(np.exp(shifted), axis=axes, keepdims=True))


@composite(
    name="softmax", shape=_same_shape, dtype=_float_dtype, numpy=_softmax_numpy,
    samples=lambda: [((_ROWS,), {"axes": (1,)}), ((_ROWS.astype("float32"),), {"axes": (0,)}), ((_ROWS[0],), {"axes": (0,)})],
)  # fmt: skip
def softmax(x: Expr, *, axes: tuple[int, ...]) -> Any:
    "exp(x) / sum(exp(x)) along an axis (the last), without overflow"
    e = exp(x - max_(x, axis=axes, keepdims=True))
    return e / sum_(e, axis=axes, keepdims=True)


@softmax.gradient
def _softmax_grad(g: Expr, y: Expr, x: Expr, *, axes: tuple[int, ...]) -> Any:
    return (g - sum_(g * y, axis=axes, keepdims=True)) * y


@composite(
    name="log_softmax", aliases=("logsoftmax",), shape=_same_shape, dtype=_float_dtype, samples=softmax.samples,
    numpy=_log_softmax_numpy,
)  # fmt: skip
def log_softmax(x: Expr, *, axes: tuple[int, ...]) -> Any:
    "log(softmax(x)) along an axis (the last), finite wherever x is"
    shifted = x - max_(x, axis=axes, keepdims=True)
    return shifted - log(sum_(exp(shifted), axis=axes, keepdims=True))


@log_softmax.gradient
def _log_softmax_grad(g: Expr, y: Expr, x: Expr, *, axes: tuple[int, ...]) -> Any:
    return g - exp(y) * sum_(g, axis=axes, keepdims=True)


_one_axis(softmax)
_one_axis(log_softmax)


def _reduced(args: Sequence[Arg], axes: tuple[int, ...], **params: Any) -> tuple[Dim, ...]:
    return tuple(d for a, d in enumerate(args[0].shape) if a not in axes)


def _reducer(op: Composite) -> Any:
    """Give a composite over `axes` the signature of a reduction."""

    def call(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
        x, axes = _along(op.name, x, axis)
        y = op.node((x,), {"axes": axes})
        return restore_axes(y, axes) if keepdims else y

    object.__setattr__(op, "call", call)
    return op


def _masked_deviation(op: Composite, x: Expr, axes: tuple[int, ...], ddof: int, mask: Any) -> Any:
    """The variance, or the standard deviation, of the elements for which a mask is true."""
    centred = x - mean(x, axis=axes, keepdims=True, where=mask)
    square = sum_(sqr(centred), axis=axes, where=mask) / (sum_(second(x, cast(mask, x.dtype)), axis=axes) - ddof)
    return square if op is var else sqrt(square)


def _deviation(op: Composite) -> Any:
    """Give a composite over `axes` and `ddof` the signature of NumPy's var."""

    def call(
        x: Any, axis: Any = None, dtype: Any = None, ddof: int = 0, keepdims: bool = False, where: Any = None, correction: Any = None
    ) -> Expr:
        x, axes = _along(op.name, x if dtype is None else cast(x, dtype), axis)
        free = ddof if correction is None else correction
        y = op.node((x,), {"axes": axes, "ddof": free}) if where is None else _masked_deviation(op, x, axes, free, where)
        return restore_axes(y, axes) if keepdims else y

    object.__setattr__(op, "call", call)
    return op


@composite(
    name="logsumexp", shape=_reduced, dtype=_float_dtype, numpy=_logsumexp_numpy,
    samples=lambda: [((_ROWS,), {"axes": (1,)}), ((_ROWS,), {"axes": (0, 1)}), ((np.full((2, 2), -np.inf),), {"axes": (1,)})],
)  # fmt: skip
def logsumexp(x: Expr, *, axes: tuple[int, ...]) -> Any:
    "log(sum(exp(x))) over axes, without overflow; -inf of elements that all are"
    top = max_(x, axis=axes, keepdims=True)
    top = where(isinf(top), 0, top)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    return log(sum_(exp(x - top), axis=axes)) + dimshuffle(top, kept)


@logsumexp.gradient
def _logsumexp_grad(g: Expr, y: Expr, x: Expr, *, axes: tuple[int, ...]) -> Any:
    finite = where(isinf(y), 0, y)
    return spread(g, x, axes) * exp(x - spread(finite, x, axes))


_reducer(logsumexp)

# -- variance ----------------------------------------------------------------------------------------------------------


def _var_samples() -> list[Any]:
    return [((_ROWS,), {"axes": (1,), "ddof": 0}), ((_ROWS.astype("float32"),), {"axes": (0, 1), "ddof": 1})]


@composite(name="var", shape=_reduced, dtype=_float_dtype, numpy=variance_numpy, samples=_var_samples)
def var(x: Expr, *, axes: tuple[int, ...], ddof: int) -> Any:
    "variance over axes: the mean of (x - mean(x))**2; with `ddof` the sum of it divided by n - ddof"
    centred = x - mean(x, axis=axes, keepdims=True)
    if not ddof:
        return mean(sqr(centred), axis=axes)
    return sum_(sqr(centred), axis=axes) / (count(x, axes, x.dtype) - ddof)


@var.gradient
def _var_grad(g: Expr, y: Expr, x: Expr, *, axes: tuple[int, ...], ddof: int) -> Any:
    centred = x - mean(x, axis=axes, keepdims=True)
    return spread(g * 2 / (count(x, axes, x.dtype) - ddof), x, axes) * centred


@composite(
    name="std", shape=_reduced, dtype=_float_dtype, samples=_var_samples,
    numpy=lambda x, axes, ddof: np.sqrt(variance_numpy(x, axes, ddof)),
)  # fmt: skip
def std(x: Expr, *, axes: tuple[int, ...], ddof: int) -> Any:
    "standard deviation over axes: sqrt(var(x))"
    return sqrt(var.node((x,), {"axes": axes, "ddof": ddof}))


@std.gradient
def _std_grad(g: Expr, y: Expr, x: Expr, *, axes: tuple[int, ...], ddof: int) -> Any:
    "0, and not NaN, where all elements are equal"
    centred = x - mean(x, axis=axes, keepdims=True)
    return spread(g / (where(eq(y, 0), 1, y) * (count(x, axes, x.dtype) - ddof)), x, axes) * centred


_deviation(var)
_deviation(std)


def norm(x: Any, L: Any = 2, axis: Any = None, keepdims: bool = False, ord: Any = None) -> Expr:
    """Return the L-norm of `x` over axes (None: all), as of a vector.

    Parameters
    ----------
    L : the order (NumPy's `ord`): a number, ``inf`` (largest magnitude), ``-inf`` (smallest) or 0 (number of elements that are not 0).
        The gradient of order 2 is 0 where all elements are 0.

    >>> float(norm([3.0, 4.0]).eval())
    5.0
    """
    x, L = _floating(x), L if ord is None else ord
    if isinstance(L, str):
        raise TypeError(report(f"norm: the order must be a number, not {L!r}", node_rows((x,)), "L=2 over all axes is the Frobenius norm"))
    if L == 0:
        return sum_(cast(1 - eq(x, 0), x.dtype), axis=axis, keepdims=keepdims)
    if L == float("inf"):
        return max_(abs(x), axis=axis, keepdims=keepdims)
    if L == -float("inf"):
        return min_(abs(x), axis=axis, keepdims=keepdims)
    if L == 1:
        return sum_(abs(x), axis=axis, keepdims=keepdims)
    if L == 2:
        squares = sum_(sqr(x), axis=axis, keepdims=keepdims)
        none = eq(squares, 0)
        return where(none, 0, sqrt(where(none, 1, squares)))  # type: ignore[no-any-return]
    return sum_(abs(x) ** L, axis=axis, keepdims=keepdims) ** (1.0 / L)


# -- activations -------------------------------------------------------------------------------------------------------

_LINE = np.array([-3.0, -0.5, 0.0, 0.5, 30.0])


def _line_samples(*rest: Any) -> Any:
    return lambda: [((_LINE.astype(d), *(np.asarray(r, d) for r in rest)), {}) for d in ("float32", "float64")]


@composite(
    name="relu",
    shape=_same_shape,
    dtype=lambda dtypes: dtypes[0],
    numpy=lambda x: np.maximum(x, 0),
    samples=_line_samples(),
)
def rectified(x: Expr) -> Any:
    "max(x, 0); the gradient at 0 is 0"
    return maximum(x, 0)


@rectified.gradient
def _rectified_grad(g: Expr, y: Expr, x: Expr) -> Any:
    return where(gt(y, 0), g, 0)  # of y, not x: then x need not be kept


@composite(
    name="leaky_relu", shape=_meeting, dtype=_common_dtype, numpy=lambda x, alpha: np.where(x > 0, x, alpha * x), samples=_line_samples(0.1)
)
def leaky(x: Expr, alpha: Expr) -> Any:
    "x above 0, alpha * x below; the gradient at 0 is alpha"
    return where(gt(x, 0), x, alpha * x)


def relu(x: Any, alpha: Any = 0) -> Expr:
    """Rectifier: x above 0, ``alpha * x`` below.

    The gradient at 0 is `alpha` (0 for the plain rectifier), as PyTorch has it; Theano has the mean of both sides.

    >>> import exprc.tensor as T
    >>> relu(T.matrix("x", shape=(2, 3))).type.shape
    (2, 3)
    """
    x = as_expr(x)
    if not isinstance(alpha, Expr) and np.ndim(alpha) == 0 and alpha == 0:
        return rectified.node((x,), {})
    return leaky(*wrap((x, alpha)))


@composite(
    name="elu", shape=_meeting, dtype=_common_dtype,
    numpy=lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), samples=_line_samples(0.7),
)  # fmt: skip
def _elu(x: Expr, alpha: Expr) -> Any:
    "x above 0, alpha * (exp(x) - 1) below (Clevert et al. 2015, arXiv:1511.07289)"
    return where(gt(x, 0), x, alpha * expm1(minimum(x, 0)))


@_elu.gradient
def _elu_grad(g: Expr, y: Expr, x: Expr, alpha: Expr) -> Any:
    low = minimum(x, 0)
    return where(gt(x, 0), g, g * alpha * exp(low)), g * expm1(low)


def elu(x: Any, alpha: Any = 1.0) -> Expr:
    """Exponential linear unit: x above 0, ``alpha * (exp(x) - 1)`` below (Clevert et al. 2015, arXiv:1511.07289)."""
    return _elu(*wrap((_floating(x), alpha)))


def selu(x: Any) -> Expr:
    """Scaled exponential linear unit, which keeps mean 0 and variance 1 (Klambauer et al. 2017, arXiv:1706.02515, eq. 2)."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def softsign(x: Any) -> Expr:
    """x / (1 + |x|)"""
    x = _floating(x)
    return x / (1 + abs(x))


def hard_sigmoid(x: Any) -> Expr:
    """0.2 x + 0.5, held between 0 and 1: an approximation of `sigmoid` by three lines."""
    return clip(_floating(x) * 0.2 + 0.5, 0.0, 1.0)


# -- losses ------------------------------------------------------------------------------------------------------------


def _crossentropy_shape(args: Sequence[Arg]) -> tuple[Dim, ...]:
    p, t = args
    if len(t.shape) not in (len(p.shape), len(p.shape) - 1) or not p.shape:
        raise ShapeError(
            f"targets of shape {shape_text(t.shape)} do not fit predictions of shape {shape_text(p.shape)}",
            "targets are integers, one axis fewer than predictions, or distributions of the same shape",
        )
    for a, b in zip(p.shape, t.shape):
        same_dim(a, b, f"predictions {shape_text(p.shape)} and targets {shape_text(t.shape)} differ")
    return p.shape[:-1]


def _loss_dtype(dtypes: Sequence[str]) -> str:
    return float_of(dtypes[0]) if is_integer(dtypes[1]) else float_of(promote(dtypes))


def _xlogy(x: Any, y: Any) -> Any:
    return np.where(x == 0, 0, x * np.log(y))


def _picked_numpy(p: Any, t: Any) -> Any:
    return np.take_along_axis(p, np.expand_dims(np.where(t < 0, t + p.shape[-1], t), -1).astype("int64"), -1)[..., 0]


def _crossentropy_numpy(p: Any, t: Any) -> Any:
    with np.errstate(all="ignore"):
        return -np.log(_picked_numpy(p, t)) if t.ndim < p.ndim else -np.sum(_xlogy(t, p), axis=-1)


def _class_samples(x: Any) -> Any:
    hot = np.array([[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]])
    return lambda: [
        ((x, np.array([2, 0])), {}), ((x.astype("float32"), np.array([1, -1], "int32")), {}), ((x, hot), {}),
        ((x.reshape(2, 1, 3), np.array([[2], [0]])), {}),
    ]  # fmt: skip


def _picked(x: Expr, t: Expr) -> Expr:
    """The element of each row of the last axis that the integers `t` name."""
    if x.ndim == 1:
        return getitem(x, t)
    rows: Any = 1
    for a in range(x.ndim - 1):
        rows = rows * dim_of(x, a)
    flat = reshape(x, (rows, dim_of(x, x.ndim - 1)))
    picked = getitem(flat, (iota(rows), reshape(t, (rows,))))
    return picked if x.ndim == 2 else reshape(picked, tuple(dim_of(x, a) for a in range(x.ndim - 1)))


def _is_index(x: Expr, t: Expr) -> bool:
    return t.ndim < x.ndim


def one_hot(t: Expr, n: Any, dtype: str) -> Expr:
    """Rows of `n` elements, 1 where the integers `t` point (negative ones from the end) and 0 elsewhere."""
    t = dimshuffle(t, (*range(t.ndim), "x"))
    return cast(eq(iota(n), where(lt(t, 0), t + n, t)), dtype)


@composite(
    name="categorical_crossentropy", shape=_crossentropy_shape, dtype=_loss_dtype, numpy=_crossentropy_numpy,
    samples=_class_samples(np.array([[0.2, 0.5, 0.3], [0.0, 0.4, 0.6]])),
)  # fmt: skip
def crossentropy(p: Expr, t: Expr) -> Any:
    "-log of the probability of the true class; or -sum(t * log(p)) over the last axis, 0 * log(0) being 0"
    if _is_index(p, t):
        return -log(_picked(p, t))
    return -sum_(where(eq(t, 0), 0, t * log(p)), axis=-1)


@crossentropy.gradient
def _crossentropy_grad(g: Expr, y: Expr, p: Expr, t: Expr) -> Any:
    g = dimshuffle(g, (*range(g.ndim), "x"))
    if _is_index(p, t):
        hit = one_hot(t, dim_of(p, p.ndim - 1), "bool")
        return where(hit, -g / p, 0), None
    return where(eq(t, 0), 0, -g * t / p), -g * log(p)


def _targets(name: str, x: Expr, t: Expr) -> Expr:
    """Check targets: integers, one a row, or distributions of the shape of the predictions; lengths at the call if not before."""
    if _is_index(x, t) and not is_integer(t.dtype):
        raise TypeError(report(f"{name}: class numbers must be integers, not {t.dtype}", node_rows((x, t)), "cast them to 'int32'?"))
    # What is multiplied would be stretched: a column of class numbers passed for distributions.
    known = [None not in lengths for lengths in zip(x.type.shape, t.type.shape)]
    if t.ndim not in (x.ndim, x.ndim - 1) or any(k and n != m for k, n, m in zip(known, x.type.shape, t.type.shape)):
        return t  # the shape rule knows more of it
    dims = [None if k else dim_of(x, a) for a, k in enumerate(known)]
    return stated(t, dims, f"{name}: predictions and targets differ in length")


def categorical_crossentropy(predictions: Any, targets: Any) -> Expr:
    """Return the crossentropy between predicted and true distributions over classes, one value a row.

    ``L_i = -log(p[i, t[i]])`` for class numbers, ``L_i = -sum_j t[i, j] log(p[i, j])`` for distributions, with 0 log 0 = 0.

    Parameters
    ----------
    predictions : float, shape (..., classes)
        Probabilities, as from `softmax`; of a softmax the loss is computed from its input, without overflow.
    targets : int, shape (...), or float, shape (..., classes)
        Class numbers, or distributions (one-hot rows among them).

    Returns
    -------
    shape (...)

    Raises
    ------
    ValueError
        if the shapes do not fit.
    TypeError
        if class numbers are not integers.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> categorical_crossentropy(T.softmax(T.matrix("x")), T.ivector("t")).ndim
    1
    """
    p, t = _floating(predictions), as_expr(targets)
    return crossentropy.node((p, _targets("categorical_crossentropy", p, t)), {})


def _softmax_crossentropy_numpy(x: Any, t: Any) -> Any:
    log_p = x - np.expand_dims(_logsumexp_numpy(x, (x.ndim - 1,)), -1)
    return -_picked_numpy(log_p, t) if t.ndim < x.ndim else -np.sum(np.where(t == 0, 0, t * log_p), axis=-1)


@composite(
    name="softmax_crossentropy", shape=_crossentropy_shape, dtype=_loss_dtype, numpy=_softmax_crossentropy_numpy,
    samples=_class_samples(_ROWS),
)  # fmt: skip
def _softmax_crossentropy(x: Expr, t: Expr) -> Any:
    "categorical_crossentropy(softmax(x), t), computed from x without overflow"
    if _is_index(x, t):
        return logsumexp(x, axis=-1) - _picked(x, t)
    return -sum_(where(eq(t, 0), 0, t * log_softmax(x)), axis=-1)


@_softmax_crossentropy.gradient
def _softmax_crossentropy_grad(g: Expr, y: Expr, x: Expr, t: Expr) -> Any:
    g = dimshuffle(g, (*range(g.ndim), "x"))
    if _is_index(x, t):
        return g * (softmax(x) - one_hot(t, dim_of(x, x.ndim - 1), g.dtype)), None
    return g * (softmax(x) * sum_(t, axis=-1, keepdims=True) - t), -g * log_softmax(x)


def softmax_crossentropy(x: Any, targets: Any) -> Expr:
    """Return ``categorical_crossentropy(softmax(x), targets)``, computed from `x` without overflow; shapes as there."""
    x, t = _floating(x), as_expr(targets)
    return _softmax_crossentropy.node((x, _targets("softmax_crossentropy", x, t)), {})


_P, _T = np.array([0.0, 0.25, 1.0, 0.5]), np.array([0.0, 1.0, 1.0, 0.5])


def _binary_samples(x: Any) -> Any:
    return lambda: [((x.astype(d), _T.astype(d)), {}) for d in ("float32", "float64")]


def _binary_numpy(p: Any, t: Any) -> Any:
    with np.errstate(all="ignore"):
        return -(_xlogy(t, p) + np.where(t == 1, 0, (1 - t) * np.log1p(-p)))


@composite(name="binary_crossentropy", shape=_meeting, dtype=_common_dtype, numpy=_binary_numpy, samples=_binary_samples(_P))
def _binary_crossentropy(p: Expr, t: Expr) -> Any:
    "-(t * log(p) + (1 - t) * log(1 - p)), 0 * log(0) being 0"
    return -(where(eq(t, 0), 0, t * log(p)) + where(eq(t, 1), 0, (1 - t) * log1p(-p)))


@_binary_crossentropy.gradient
def _binary_grad(g: Expr, y: Expr, p: Expr, t: Expr) -> Any:
    # Where p = t the derivative is 0; at p = t = 0 and p = t = 1 the formula would be 0 / 0.
    same = eq(p, t)
    return where(same, 0, g * (p - t) / where(same, 1, p * (1 - p))), g * (log1p(-p) - log(p))


def binary_crossentropy(predictions: Any, targets: Any) -> Expr:
    """Return ``-(t log(p) + (1 - t) log(1 - p))``, element by element, with 0 log 0 = 0.

    Parameters
    ----------
    predictions : float, probabilities as from `sigmoid`; of a sigmoid the loss is computed from its input, without overflow.
    targets : numbers from 0 to 1, of the same shape (or one that broadcasts).
    """
    p, t = wrap((predictions, targets))
    p = _floating(p)
    return _binary_crossentropy.node((p, t if is_float(t.dtype) else cast(t, p.dtype)), {})


@composite(
    name="sigmoid_crossentropy", shape=_meeting, dtype=_common_dtype, samples=_binary_samples(np.array([-50.0, 0.0, 0.5, 300.0])),
    numpy=lambda x, t: np.logaddexp(0, x) - t * x,
)  # fmt: skip
def _sigmoid_crossentropy(x: Expr, t: Expr) -> Any:
    "binary_crossentropy(sigmoid(x), t), computed from x without overflow"
    return softplus(x) - t * x


@_sigmoid_crossentropy.gradient
def _sigmoid_crossentropy_grad(g: Expr, y: Expr, x: Expr, t: Expr) -> Any:
    return g * (sigmoid(x) - t), -g * x


def sigmoid_binary_crossentropy(x: Any, targets: Any) -> Expr:
    """Return ``binary_crossentropy(sigmoid(x), targets)``, computed from `x` without overflow."""
    x, t = wrap((x, targets))
    x = _floating(x)
    return _sigmoid_crossentropy.node((x, t if is_float(t.dtype) else cast(t, x.dtype)), {})


# -- normalisation -----------------------------------------------------------------------------------------------------


def _axes_of(name: str, x: Expr, axes: Any) -> tuple[int, ...]:
    if axes == "per-activation":
        return (0,)
    if axes == "spatial":
        return (0, *range(2, x.ndim))
    return normal_axes(axes, x.ndim, name)


def _statistics(x: Expr, axes: tuple[int, ...], p: Any) -> Expr:
    """A parameter of as many axes as `x` (length 1 along `axes`), from one of that form or without those axes."""
    p = as_expr(p, (x.dtype,))
    return p if p.ndim == x.ndim else restore_axes(p, axes)


def _normalized_shapes(args: Sequence[Arg], axes: tuple[int, ...], epsilon: float) -> tuple[tuple[Dim, ...], ...]:
    x, gamma, beta = (a.shape for a in args)
    kept = tuple(d for a, d in enumerate(x) if a not in axes)
    for p in (gamma, beta):
        if len(p) not in (len(kept), len(x)):
            text = f"x of shape {shape_text(x)} has {len(kept)} axes besides {axes}, a parameter of shape {shape_text(p)} {len(p)}"
            raise ShapeError(text, "gamma and beta have the shape of x without the axes that are normalised over")
    scales = [p if len(p) == len(x) else _with_ones(p, axes) for p in (gamma, beta)]
    return broadcast([x, *scales]), kept, kept


def _with_ones(shape: tuple[Dim, ...], axes: tuple[int, ...]) -> tuple[Dim, ...]:
    rest = iter(shape)
    return tuple(1 if a in axes else next(rest) for a in range(len(shape) + len(axes)))


@composite(
    name="batch_normalization_train", shape=_normalized_shapes,
    dtype=lambda dtypes, axes, epsilon: (promote(dtypes), dtypes[0], dtypes[0]),
    samples=lambda: [((_ROWS, np.ones(3), np.zeros(3)), {"axes": (0,), "epsilon": 1e-4})],
)  # fmt: skip
def _normalize(x: Expr, gamma: Expr, beta: Expr, *, axes: tuple[int, ...], epsilon: float) -> Any:
    "(x - mean) * gamma / sqrt(var + epsilon) + beta over axes, with the mean and 1 / sqrt(var + epsilon)"
    average = mean(x, axis=axes)
    inv_std = 1 / sqrt(var(x, axis=axes) + epsilon)
    scale = _statistics(x, axes, gamma) * restore_axes(inv_std, axes)
    return (x - restore_axes(average, axes)) * scale + _statistics(x, axes, beta), average, inv_std


def batch_normalization_train(
    x: Any, gamma: Any, beta: Any, axes: Any = "per-activation", epsilon: float = 1e-4
) -> tuple[Expr, Expr, Expr]:
    """Normalise with the statistics of the batch: ``(x - mean) * gamma / sqrt(var + epsilon) + beta``.

    Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1.

    Parameters
    ----------
    x : float, at least 1 axis.
    gamma, beta : the shape of `x` without `axes` (or with length 1 there).
    axes : what statistics are taken over: "per-activation" (axis 0), "spatial" (all but axis 1), or a tuple of axes.
    epsilon : added to the variance.

    Returns
    -------
    the normalised `x`, the mean and ``1 / sqrt(var + epsilon)``, the last two of the shape of `x` without `axes`.

    >>> y, mean, inv_std = batch_normalization_train([[1.0], [3.0]], [1.0], [0.0], epsilon=0.0)
    >>> y.eval().tolist(), mean.eval().tolist(), inv_std.eval().tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    x = _floating(x)
    params = {"axes": _axes_of("batch_normalization_train", x, axes), "epsilon": float(epsilon)}
    return _normalize(x, *(as_expr(p, (x.dtype,)) for p in (gamma, beta)), **params)


def batch_normalization_test(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, axes: Any = "per-activation", epsilon: float = 1e-4
) -> Expr:
    """Normalise with given statistics: ``(x - mean) * gamma / sqrt(var + epsilon) + beta``; shapes as for `batch_normalization_train`."""
    x = _floating(x)
    over = _axes_of("batch_normalization_test", x, axes)
    gamma, beta, mean, var = (_statistics(x, over, p) for p in (gamma, beta, mean, var))
    return (x - mean) * (gamma / sqrt(var + epsilon)) + beta


def batch_normalization(x: Any, gamma: Any, beta: Any, mean: Any, std: Any = None, inv_std: Any = None) -> Expr:
    """Normalise with a given mean and a given standard deviation or its inverse: ``(x - mean) * gamma / std + beta``.

    All of them broadcast against `x`.
    """
    if (std is None) == (inv_std is None):
        raise TypeError("batch_normalization: give one of std and inv_std")
    x = _floating(x)
    gamma, beta, mean = (as_expr(p, (x.dtype,)) for p in (gamma, beta, mean))
    scale = gamma / as_expr(std, (x.dtype,)) if inv_std is None else gamma * as_expr(inv_std, (x.dtype,))
    return (x - mean) * scale + beta
