"""An axis of rows in front: what the `batched` rules of records are written with.

A row stands for one value of what an expression is worked out for many times at once (`exprc.vectorise`). A record that has an axis of
independent entries (the samples of a convolution, the columns of a product) takes the rows in by *folding*: the leading axis is merged with
that axis, and split off again from the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exprc.expr import Expr
from exprc.forms import results
from exprc.ops.create import shape_of
from exprc.ops.view import broadcast_to, dim_of, dimshuffle, reshape


def repeated(x: Expr, rows: Any) -> Expr:
    """Return `x` once for each row."""
    return broadcast_to(x, (rows, *shape_of(x)))  # type: ignore[no-any-return]


def everywhere(inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> tuple[Expr, ...]:
    """Return the inputs, those without rows repeated."""
    return tuple(x if rowed else repeated(x, rows) for x, rowed in zip(inputs, which))


def fold(x: Expr, axis: int, groups: int = 1) -> Expr:
    """Merge the rows into an axis, counted without that of the rows.

    With `groups` the axis holds so many groups one after the other, and each of them takes the rows in: (rows, groups * n) becomes
    (groups * rows * n).
    """
    dims = shape_of(x)
    if groups > 1:
        x = reshape(x, (*dims[: axis + 1], groups, dims[axis + 1] // groups, *dims[axis + 2 :]))
        x = dimshuffle(x, (*range(1, axis + 2), 0, *range(axis + 2, x.ndim)))
    elif axis:
        x = dimshuffle(x, (*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))
    return reshape(x, (*dims[1 : axis + 1], dims[0] * dims[axis + 1], *dims[axis + 2 :]))  # type: ignore[no-any-return]


def unfold(y: Expr, axis: int, rows: Any, length: Any, groups: int = 1) -> Expr:
    """Undo `fold`: split the rows off an axis whose length without them is `length`, and put them in front."""
    dims = shape_of(y)
    if groups == 1:
        apart = reshape(y, (*dims[:axis], rows, length, *dims[axis + 1 :]))
        return apart if not axis else dimshuffle(apart, (axis, *(a for a in range(apart.ndim) if a != axis)))  # type: ignore[no-any-return]
    apart = reshape(y, (*dims[:axis], groups, rows, length // groups, *dims[axis + 1 :]))
    moved = dimshuffle(apart, (axis + 1, *(a for a in range(apart.ndim) if a != axis + 1)))
    return reshape(moved, (rows, *dims[:axis], length, *dims[axis + 1 :]))  # type: ignore[no-any-return]


# -- rules that many records share -------------------------------------------------------------------------------------


def as_it_is(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr | None:
    """The operation does not care for leading axes of its first input."""
    return node.op.node(tuple(inputs), node.params) if which[0] and not any(which[1:]) else None


def by_axis(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Expr:
    """The operation works along the axis that its parameter `axis` counts."""
    data = everywhere(inputs, which, rows) if node.op.data is None else tuple(inputs)
    return node.op.node(data, {**node.params, "axis": node.params["axis"] + 1})


def by_first_axis(node: Expr, inputs: Sequence[Expr], which: Sequence[bool], rows: Any) -> Any:
    """The entries along the first axis of the data do not know of each other: samples of images, outer axes."""
    n = len(node.op.data_inputs(node))
    data = everywhere(inputs[:n], which, rows)
    made = results(node.op.node((*(fold(x, 0) for x in data), *inputs[n:]), node.params))
    length = dim_of(data[0], 1)
    return tuple(unfold(y, 0, rows, length) for y in made) if isinstance(made, tuple) else unfold(made, 0, rows, length)
