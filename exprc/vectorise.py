"""The same expression for many values at once: every node that depends on them gets a leading axis of rows.

Formulas broadcast, reductions fold the axes behind the rows, composites are opened, and a view or a kernel has a rule of its own
(`batched` in its record). What has none is worked out row by row and stacked, if the number of rows is known and not too large. What
does not depend on the rows stays as it is, and is computed once.

The idea is Frostig, Johnson and Leary 2018, Compiling machine learning programs via high-level tracing, section 2 (vmap), applied
to a finished graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from exprc.errors import report
from exprc.expr import Expr, as_expr, made_for, topological, with_inputs
from exprc.forms import Composite, Formula, Reduce, results
from exprc.ops.rows import repeated
from exprc.ops.view import dim, dim_of, dimshuffle, getitem, stack
from exprc.types import TensorType, TupleType

#: So many rows are worked out one by one where an operation has no rule for all of them at once.
UNROLLED = 512

_POSITION = re.compile(r"{i\d*}")


def vectorise(roots: Sequence[Expr], replace: Mapping[Expr, Expr]) -> list[Expr]:
    """Return expressions for many values of some of their nodes.

    Parameters
    ----------
    roots : expressions.
    replace : dict from nodes that they depend on to expressions with one axis more, in front: a row for each value. All have the same
        number of rows.

    Returns
    -------
    one expression for each root, with the axis of rows in front.

    Raises
    ------
    TypeError
        if an operation can be worked out only row by row, and there are more than 512 rows or their number is not known; if the length
        of its result would differ from row to row.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, w = T.vector("x"), T.vector("w")
    >>> many = T.matrix("many")
    >>> [y] = vectorise([T.dot(x, w)], {x: many})
    >>> y.eval({many: [[1, 2], [3, 4]], w: [10, 1]}).tolist()
    [12.0, 34.0]
    """
    for node, many in replace.items():
        if many.ndim != node.ndim + 1 or many.dtype != node.dtype:
            rows = [(role, f"{x.label}  {x.type}", x.where) for role, x in (("expression", node), ("rows", many))]
            raise ValueError(report("vectorise: rows must have one axis more than what they are values of, and its dtype", rows))
    return _Rows(replace).run(roots)


class _Rows:
    """One walk; `made` is what stands for a node (a tuple for several results), `rowed` are the nodes for which that has rows."""

    def __init__(self, replace: Mapping[Expr, Expr]):
        self.made: dict[Expr, Any] = dict(replace)
        self.rowed = set(replace)
        self.count = dim_of(next(iter(replace.values())), 0)

    def run(self, roots: Sequence[Expr]) -> list[Expr]:
        self._walk(roots)
        return [self.made[r] if r in self.rowed else repeated(self.made[r], self.count) for r in roots]

    def _walk(self, roots: Sequence[Expr]) -> None:
        for node in topological(roots, stop=lambda n: n in self.made):
            if node not in self.made:
                with made_for(node):
                    self.made[node] = self._one(node)

    def _one(self, node: Expr) -> Any:
        inputs = tuple(self.made[i] for i in node.inputs)
        which = tuple(i in self.rowed for i in node.inputs)
        if not any(which):
            return node if all(a is b for a, b in zip(inputs, node.inputs)) else with_inputs(node, inputs)
        if node.op is dim:  # the same for all rows
            return self._length(node)
        self.rowed.add(node)
        if node.op.form == "item":
            return inputs[0][node.params["i"]]
        made = self._by_form(node, inputs, which)
        return self._one_by_one(node, inputs, which) if made is None else made

    def _length(self, node: Expr) -> Expr:
        x, axis = self.made[node.inputs[0]], node.params["axis"] + 1
        return as_expr(dim_of(x, axis), ("int64",))

    def _by_form(self, node: Expr, inputs: tuple[Expr, ...], which: tuple[bool, ...]) -> Any:
        """All rows at once, or None."""
        n = len(node.op.data_inputs(node))
        if any(which[n:]):  # a length that differs from row to row
            return None
        if node.op.batched is not None:
            return node.op.batched(node, inputs, which, self.count)
        if isinstance(node.op, Formula) and node.op.shape is None and not _POSITION.search(node.op.c):
            return node.op.node(tuple(_aligned(x, node.ndim) if rowed else x for x, rowed in zip(inputs, which)), node.params)
        if isinstance(node.op, Reduce):
            return node.op.node(inputs, {**node.params, "axes": tuple(a + 1 for a in node.params["axes"])})
        return self._opened(node) if isinstance(node.op, Composite) and not node.op.late else None

    def _opened(self, node: Expr) -> Any:
        """The rows of what a composite stands for."""
        body = node.op.open(node.inputs, node.params)  # type: ignore[attr-defined]
        parts = self.run(body if isinstance(body, tuple) else (body,))
        return tuple(parts) if isinstance(body, tuple) else parts[0]

    def _one_by_one(self, node: Expr, inputs: tuple[Expr, ...], which: tuple[bool, ...]) -> Any:
        if not isinstance(self.count, int) or self.count > UNROLLED:
            number = "an unknown number of rows" if isinstance(self.count, Expr) else f"{self.count} rows"
            fix = f"state lengths (specify_shape, shape=), at most {UNROLLED}, or give its record a `batched` rule (exprc.forms)"
            raise TypeError(report(f"{node.op.name} cannot be worked out for {number} at once", _rows_of(node), fix))
        if _differs(node):
            fix = "take what depends on it out of what is differentiated, or differentiate row by row"
            raise TypeError(report(f"{node.op.name}: the length of its result would differ from row to row", _rows_of(node), fix))
        made = [self._row(node, inputs, which, k) for k in range(self.count)]
        return tuple(map(_stacked, zip(*made))) if isinstance(node.type, TupleType) else _stacked(made)

    def _row(self, node: Expr, inputs: tuple[Expr, ...], which: tuple[bool, ...], k: int) -> Any:
        return results(node.op.node(tuple(getitem(x, (k,)) if rowed else x for x, rowed in zip(inputs, which)), node.params))


def _aligned(x: Expr, ndim: int) -> Expr:
    """`x` with axes of length 1 behind its rows, so that it broadcasts with arrays of `ndim` axes."""
    if x.ndim == ndim + 1:
        return x
    return dimshuffle.node((x,), {"order": (0, *("x",) * (ndim + 1 - x.ndim), *range(1, x.ndim))})


def _stacked(rows: Sequence[Expr]) -> Expr:
    return stack(list(rows))


def _differs(node: Expr) -> bool:
    """Tell whether the values decide how long the result is: all lengths of the inputs are known, and one of the result is not."""
    types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    known = all(isinstance(i.type, TensorType) and None not in i.type.shape for i in node.inputs)
    return known and any(None in t.shape for t in types)


def _rows_of(node: Expr) -> list[tuple[str, str, str]]:
    return [("operation", f"{node.label}  {node.type}", node.where)]
