"""Operations that are the identity forward and change what comes back: `expand` drops them, `exprc.grad` respects them."""

from __future__ import annotations

from typing import Any

import numpy as np

from exprc.expr import Expr, as_expr
from exprc.forms import Composite
from exprc.ops.formula import clip

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "disconnected_grad", "grad_clip", "zero_grad",
]  # fmt: skip


def _identity(name: str, doc: str, **record: Any) -> Composite:
    """A composite whose result is its input."""
    return Composite(
        name, shape=lambda args, **p: args[0].shape, dtype=lambda dtypes, **p: dtypes[0], numpy=lambda x, **p: x, doc=doc, **record,
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
