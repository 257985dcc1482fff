"""Operations that are the identity forward and change what comes back: `expand` drops them, `exprc.grad` respects them.

And what the rule of an operation gives for an input that has no gradient, though one might be asked for: `grad_undefined`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from exprc.expr import Expr, as_expr
from exprc.forms import Composite
from exprc.ops.formula import clip
from exprc.ops.rows import as_it_is

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "disconnected_grad", "grad_clip", "grad_scale", "zero_grad",
]  # fmt: skip


def _identity(name: str, doc: str, **record: Any) -> Composite:
    """A composite whose result is its input."""
    return Composite(
        name, shape=lambda args, **p: args[0].shape, dtype=lambda dtypes, **p: dtypes[0], numpy=lambda x, **p: x, doc=doc,
        batched=as_it_is, **record,
    )  # fmt: skip


_LINE = np.array([0.5, -2.0, 3.0])

disconnected_grad = _identity(
    "disconnected_grad", "`x`, through which no gradient flows: what is reached only through it counts as disconnected",
    body=lambda x: x, grad=lambda g, y, x: None, samples=lambda: [((_LINE,), {})],
)  # fmt: skip
zero_grad = _identity(
    "zero_grad", "`x`, with a gradient of 0", body=lambda x: x, grad=lambda g, y, x: None, samples=lambda: [((_LINE,), {})],
)  # fmt: skip


def _clip_call(x: Any, low: float, high: float) -> Expr:
    """Return `x` with a gradient that is held between `low` and `high`, element by element.

    Parameters
    ----------
    x : float expression of any shape.
    low, high : numbers.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> from exprc.grad import grad
    >>> x = T.scalar("x")
    >>> float(grad(grad_clip(x, -1, 1) * 5, x).eval({x: 2.0}))
    1.0
    """
    if not low <= high:
        raise ValueError(f"grad_clip: the lower bound {low} is above the upper bound {high}")
    return grad_clip.node((as_expr(x),), {"low": float(low), "high": float(high)})


grad_clip = _identity(
    "grad_clip", "`x`, with a gradient held between `low` and `high`", body=lambda x, *, low, high: x, call=_clip_call,
    grad=lambda g, y, x, low, high: clip(g, low, high), samples=lambda: [((_LINE,), {"low": -10.0, "high": 10.0})],
)  # fmt: skip


def _scale_call(x: Any, multiplier: float) -> Expr:
    """Return `x` with a gradient that is multiplied by a number: above 1 to learn faster, below 0 to climb where the rest descends.

    A factor below 0 is the gradient reversal of Ganin and Lempitsky 2015, arXiv:1409.7495, section 3.

    Parameters
    ----------
    x : float expression of any shape.
    multiplier : number.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> from exprc.grad import grad
    >>> x = T.scalar("x")
    >>> float(grad(grad_scale(x, -0.5) * 4, x).eval({x: 2.0}))
    -2.0
    """
    return grad_scale.node((as_expr(x),), {"multiplier": float(multiplier)})


grad_scale = _identity(
    "grad_scale", "`x`, with a gradient that is multiplied by a number", body=lambda x, *, multiplier: x, call=_scale_call,
    grad=lambda g, y, x, multiplier: g * multiplier, samples=lambda: [((_LINE,), {"multiplier": 1.0})],
)  # fmt: skip


@dataclass(frozen=True)
class Undefined:
    """Stands in a rule's result for a gradient that there is none of; `why` goes into the error for who asks for it."""

    why: str


def grad_undefined(why: str) -> Undefined:
    """Return what the gradient rule of an operation gives for an input for which the gradient is not defined, or not written.

    Nothing happens until somebody differentiates by that input; then `exprc.grad` raises a `TypeError` that says why there is none.
    None, in contrast, is a gradient of 0.

    Examples
    --------
    >>> import exprc
    >>> import exprc.tensor as T
    >>> @exprc.composite
    ... def picked(x, place):
    ...     return T.exp(-T.sqr(x - place))
    >>> @picked.gradient
    ... def _(g, y, x, place):
    ...     return -2 * g * y * (x - place), grad_undefined("places are not learnt")
    >>> x, place = T.scalars("x", "place")
    >>> float(exprc.grad(picked(x, place), x).eval({x: 1.0, place: 1.0}))
    -0.0
    """
    return Undefined(why)
