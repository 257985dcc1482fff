"""Operations that are the identity going forward and change what comes back: `expand` drops them, `exprc.grad` respects them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from exprc.expr import Expr, as_expr
from exprc.forms import Composite
from exprc.ops.formula import clip


def _identity(name: str, grad: Callable[..., Any], doc: str, call: Any = None, params: tuple[dict[str, Any], ...] = ({},)) -> Composite:
    return Composite(
        name, body=lambda x, **p: x, shape=lambda args, **p: args[0].shape, dtype=lambda dtypes, **p: dtypes[0], numpy=lambda x, **p: x,
        grad=grad, call=call, doc=doc, samples=lambda: [((np.array([0.5, -2.0, 3.0]),), p) for p in params],
    )  # fmt: skip


disconnected_grad = _identity(
    "disconnected_grad", lambda g, y, x: None, "`x`, through which no gradient flows: what is reached only through it counts as disconnected"
)
zero_grad = _identity("zero_grad", lambda g, y, x: None, "`x`, with a gradient of 0")


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
    "grad_clip", lambda g, y, x, low, high: clip(g, low, high), "`x`, with a gradient held between `low` and `high`", _clip_call,
    ({"low": -10.0, "high": 10.0},),
)  # fmt: skip
