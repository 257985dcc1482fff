"""draw(): expressions as pictures, and what notebooks show of expressions. The code that draws is imported when it is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from exprc.expr import Expr

if TYPE_CHECKING:
    from exprc.seeing.drawing import Drawing


def draw(obj: Any, file: str | os.PathLike[str] | None = None, limit: int = 400) -> Drawing:
    """Draw a graph: inputs on top, results at the bottom, one shape and colour for each form of operation.

    Every node shows its operation, its dtype and its shape; when the pointer rests on a node, its parameters and the line of yours
    that made it are shown. Constants of one number stand inside the node that uses them.

    Parameters
    ----------
    obj : an expression, a list, tuple or dict of them, or a compiled function (its graph after the rewrites, as it is computed).
    file : where to save the picture, a name ending in ``.svg`` or ``.html``; None to save nothing.
    limit : the most nodes that are drawn: those nearest to the results. A note in the picture tells how many are missing.

    Returns
    -------
    Drawing
        with ``svg`` and ``html`` (texts that need nothing from elsewhere), ``save(file)``, and what notebooks show by themselves.

    Raises
    ------
    TypeError
        for what is neither an expression nor a function.
    ValueError
        for a file name that ends in neither ``.svg`` nor ``.html``, and for a limit below 1.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.vector("x")
    >>> drawing = draw(T.exp(x).sum())
    >>> drawing
    <drawing of 3 nodes>
    >>> drawing.svg[:4]
    '<svg'
    """
    from exprc.seeing.drawing import drawn

    return drawn(obj, file, limit)


def expr_html(self: Expr) -> str:
    """What a notebook shows of an expression."""
    from exprc.seeing import notebook

    return notebook.expr_html(self)


Expr._repr_html_ = expr_html  # type: ignore[attr-defined]
