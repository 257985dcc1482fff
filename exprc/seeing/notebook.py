"""What notebooks show of expressions, shared variables and functions. A look at a large graph must not cost more than one at a small."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from exprc.expr import Expr, Shared
from exprc.seeing.drawing import drawn, nearest_nodes
from exprc.seeing.svg import escape
from exprc.show import expression_text

if TYPE_CHECKING:
    from exprc.function import Function

#: The most nodes that a notebook draws by itself, and the most elements of a shared variable that it shows.
DRAWN, VALUES = 60, 1000


def expr_html(self: Expr) -> str:
    """A leaf in words, a small graph as a drawing, a large one as a summary."""
    if not self.inputs:
        return _leaf_html(self)
    kept, whole = nearest_nodes([self], DRAWN)
    if whole:
        return f'<div style="overflow:auto;max-height:600px">{drawn(self).svg}</div>'
    forms = ", ".join(f"{count} {name}" for name, count in Counter(n.op.name for n in kept).most_common(5))
    return (
        f"<div>{_head(self)}<br>a graph of more than {DRAWN} nodes (near the result: {escape(forms)}); "
        "<code>exprc.draw(x)</code> draws it, <code>exprc.debugprint(x)</code> prints it</div>"
    )


def _head(node: Expr) -> str:
    where = f", made at {escape(node.where)}" if node.where else ""
    return f"<code>{escape(expression_text(node))}</code> <b>{escape(str(node.type))}</b>{where}"


def _leaf_html(leaf: Expr) -> str:
    if not isinstance(leaf, Shared):
        return f"<div>{escape(leaf.op.name)} {_head(leaf)}</div>"
    value = leaf.container.value
    text = np.array2string(value, threshold=VALUES, edgeitems=3) if value.ndim else str(value)
    shape = ", ".join(map(str, value.shape))
    return f"<div>shared variable {_head(leaf)}, now of shape ({shape})<pre>{escape(text)}</pre></div>"


def function_html(f: Function) -> str:
    """What a function takes, gives and updates, and where to look further."""
    rows = [
        ("takes", ", ".join(f"{x.label} {x.type}" for x in f.inputs) or "nothing"),
        ("gives", f"{f.outputs} output{'s' * (f.outputs != 1)}"),
        ("updates", ", ".join(v.label for v in f.updates)),
        ("runs as", "the NumPy interpreter" if f.mode == "reference" else "compiled C" if f.device == "cpu" else f"CUDA on {f.device}"),
        ("look at", "f.explain(), exprc.draw(f), f.profile(...)"),
    ]
    cells = "".join(f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in rows if text)
    return f"<div><b>{escape(f._label())}</b><table>{cells}</table></div>"
