"""Losses and accuracies: expressions with one value for each sample, to be aggregated with a mean or with weights.

>>> import exprc.tensor as T
>>> prediction, target = T.matrix("prediction"), T.ivector("target")
>>> loss = aggregate(categorical_crossentropy(prediction, target))
>>> loss.ndim
0
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import exprc.tensor as T
from exprc.errors import nearest, outside, report
from exprc.forms import shape_text
from exprc.nn.utils import as_expression

__all__ = [
    "aggregate",
    "binary_accuracy",
    "binary_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "squared_error",
]


def _aligned(predictions: Any, targets: Any) -> tuple[Any, Any]:
    """Return both as expressions; a vector of targets beside a column of predictions becomes a column.

    Otherwise broadcasting would silently pair every prediction with every target. The user is warned of other shapes that
    it would stretch.
    """
    predictions, targets = as_expression(predictions), as_expression(targets)
    if predictions.ndim == 2 and predictions.type.shape[1] == 1 and targets.ndim == 1:
        targets = targets.dimshuffle(0, "x")
    if predictions.ndim and targets.ndim and not _alike(predictions.type.shape, targets.type.shape):
        text = f"predictions of shape {shape_text(predictions.type.shape)} and targets of {shape_text(targets.type.shape)} are broadcast"
        rows = [(role, f"{x.label}  {x.type}", x.where) for role, x in (("predictions", predictions), ("targets", targets))]
        fix = "give both the same axes, for example targets.dimshuffle(0, 'x') beside a column of predictions"
        warnings.warn(report(text, rows, fix), stacklevel=outside())
    return predictions, targets


def _alike(left: Sequence[int | None], right: Sequence[int | None]) -> bool:
    """Whether shapes have as many axes, and no axis of length 1 beside a longer one."""
    return len(left) == len(right) and all(a == b or None in (a, b) for a, b in zip(left, right, strict=True))


def binary_crossentropy(predictions: Any, targets: Any) -> Any:
    r"""Cross-entropy between probabilities and binary targets, :math:`L = -t \log p - (1 - t) \log(1 - p)`.

    Parameters
    ----------
    predictions : expression
        Probabilities in (0, 1), such as the output of a sigmoid.
    targets : expression of the same shape
        In [0, 1].  A vector is taken as a column if `predictions` is one.

    Returns
    -------
    expression of the same shape
        One loss for every element.

    Notes
    -----
    Written on a sigmoid it is finite for every score: the compiler joins the logarithm and the sigmoid.

    >>> print(binary_crossentropy(T.constant([0.5]), T.constant([1.0])).eval().round(4))
    [0.6931]
    """
    return T.binary_crossentropy(*_aligned(predictions, targets))


def categorical_crossentropy(predictions: Any, targets: Any) -> Any:
    r"""Cross-entropy between class probabilities and targets, :math:`L_i = -\sum_j t_{i,j} \log p_{i,j}`.

    Parameters
    ----------
    predictions : matrix, shape (samples, classes)
        Probabilities, such as the output of a softmax.
    targets : vector of integers, shape (samples,), or matrix, shape (samples, classes)
        The number of the right class, or the probabilities of all classes.

    Returns
    -------
    vector, shape (samples,)

    Notes
    -----
    Written on a softmax it is finite for every score: the compiler joins the logarithm and the softmax.

    >>> print(categorical_crossentropy(T.constant([[0.5, 0.5]]), T.constant([1])).eval().round(4))
    [0.6931]
    """
    return T.categorical_crossentropy(as_expression(predictions), as_expression(targets))


def squared_error(a: Any, b: Any) -> Any:
    r"""Squared difference, :math:`L = (a - b)^2`.

    Parameters
    ----------
    a, b : expressions of the same shape
        A vector `b` is taken as a column if `a` is one.

    Returns
    -------
    expression of the same shape
        One loss for every element.

    >>> squared_error(T.constant([1.0, 2.0]), T.constant([1.0, 4.0])).eval().tolist()
    [0.0, 4.0]
    """
    a, b = _aligned(a, b)
    return T.sqr(a - b)


def aggregate(loss: Any, weights: Any = None, mode: str = "mean") -> Any:
    """Make one number of the losses of all elements.

    Parameters
    ----------
    loss : expression
        One loss for every element.
    weights : expression, optional
        Broadcasts to the shape of `loss`; multiplied with it.
    mode : {'mean', 'sum', 'normalized_sum'}
        Mean over the elements, sum, or sum divided by the sum of the weights.

    Returns
    -------
    scalar expression

    Raises
    ------
    ValueError
        If the mode is unknown, or if 'normalized_sum' gets no weights.

    Notes
    -----
    With 'sum' the size of a step grows with the batch, with 'mean' it does not; 'normalized_sum' is a mean over the
    elements of weight 1 where the weights are a mask.

    >>> loss = T.constant([2.0, 4.0, 9.0])
    >>> float(aggregate(loss, T.constant([1.0, 1.0, 0.0]), mode="normalized_sum").eval())
    3.0
    """
    if mode not in ("mean", "sum", "normalized_sum"):
        fix = nearest(str(mode), ("mean", "sum", "normalized_sum"))
        raise ValueError(report(f"mode must be 'mean', 'sum' or 'normalized_sum', got {mode!r}", fix=fix))
    if mode == "normalized_sum" and weights is None:
        text = "mode='normalized_sum' requires weights: the sum is divided by theirs"
        rows = [("loss", f"{loss.label}  {loss.type}", loss.where)] if isinstance(loss, T.Expr) else []
        raise ValueError(report(text, rows, "give weights, or take mode='mean'"))
    weighted = loss if weights is None else loss * weights
    if mode == "mean":
        return weighted.mean()
    return weighted.sum() if mode == "sum" else weighted.sum() / weights.sum()


def binary_accuracy(predictions: Any, targets: Any, threshold: float = 0.5) -> Any:
    r"""Say where a thresholded prediction is right, :math:`L = [(p \ge \theta) = t]`.

    Parameters
    ----------
    predictions : expression
    targets : expression of the same shape, 0 or 1
        A vector is taken as a column if `predictions` is one.
    threshold : float
        From here on a prediction counts as 1.

    Returns
    -------
    expression of bool, of the same shape
        Its mean is the accuracy.

    >>> binary_accuracy(T.constant([0.2, 0.7]), T.constant([1, 1])).eval().tolist()
    [False, True]
    """
    predictions, targets = _aligned(predictions, targets)
    return T.eq(T.ge(predictions, threshold), targets)


def categorical_accuracy(predictions: Any, targets: Any, top_k: int = 1) -> Any:
    """Say for which samples the right class is among the `top_k` highest predictions.

    Parameters
    ----------
    predictions : matrix, shape (samples, classes)
    targets : vector of integers, shape (samples,), or matrix, shape (samples, classes)
        The number of the right class, or probabilities, of which the highest counts.
    top_k : int

    Returns
    -------
    vector of bool, shape (samples,)
        Its mean is the accuracy.

    Raises
    ------
    TypeError
        If `targets` has neither as many axes as `predictions` nor one less.

    Notes
    -----
    Among equal predictions the first class wins for ``top_k=1``, and the later classes for more, as if the classes
    were sorted by their predictions.

    >>> p = T.constant([[0.2, 0.5, 0.3]])
    >>> categorical_accuracy(p, T.constant([2])).eval(), categorical_accuracy(p, T.constant([2]), top_k=2).eval()
    (array([False]), array([ True]))
    """
    predictions, targets = as_expression(predictions), as_expression(targets)
    if targets.ndim == predictions.ndim:
        targets = T.argmax(targets, axis=-1)
    elif targets.ndim != predictions.ndim - 1:
        pairs = (("targets", targets), ("predictions", predictions))
        rows = [(role, f"{x.label}  {x.type}", x.where) for role, x in pairs]
        text = f"targets have {targets.ndim} axes, predictions {predictions.ndim}"
        raise TypeError(report(text, rows, "targets need as many axes, or one less (class numbers)"))
    if top_k == 1:
        return T.eq(T.argmax(predictions, axis=-1), targets)
    return T.lt(_rank(predictions, targets), top_k)


def _rank(predictions: Any, targets: Any) -> Any:
    """Count for every sample the classes that come before the target, the highest prediction first."""
    last = targets.ndim
    classes = T.arange(predictions.shape[last])
    target = targets.dimshuffle(*range(last), "x")  # (samples, 1)
    own = T.sum(T.where(T.eq(classes, target), predictions, 0), axis=-1, keepdims=True)
    later_equal = T.eq(predictions, own) & T.gt(classes, target)
    return T.sum(T.gt(predictions, own) | later_equal, axis=-1)
