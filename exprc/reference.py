"""The NumPy interpreter: walks a graph and computes each node with its record's reference.

It is the oracle of the tests, the folder of constants, and what runs where there is no C compiler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exprc.blame import ShapeError, as_written
from exprc.errors import report
from exprc.expr import Constant, Expr, Shared, topological
from exprc.forms import Arg, shape_rule, shape_text
from exprc.types import TupleType


def evaluate(roots: Sequence[Expr], values: Mapping[Expr, Any]) -> list[Any]:
    """Compute expressions.

    Parameters
    ----------
    roots : what to compute.
    values : arrays for inputs (and for any other node whose value is to be taken as given); shared variables that are not in it
        have the value of their container.

    Returns
    -------
    one array (or tuple of arrays) per root, of the root's dtype.
    """
    known: dict[Expr, Any] = dict(values)
    order = topological(roots, stop=lambda n: n in values)
    uses = _count_uses(order, roots)
    for node in order:
        if node not in known:
            known[node] = _compute(node, known)
        for i in node.inputs if node not in values else ():
            uses[i] -= 1
            if not uses[i] and i not in values:
                del known[i]  # a value that nothing needs any more makes room
    return [known[root] for root in roots]


def _count_uses(order: Sequence[Expr], roots: Sequence[Expr]) -> dict[Expr, int]:
    uses = dict.fromkeys(order, 0)
    for node in order:
        for i in node.inputs:
            if i in uses:
                uses[i] += 1
    for root in roots:
        uses[root] += 1
    return uses


def _compute(node: Expr, known: Mapping[Expr, Any]) -> Any:
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Shared):
        return node.get_value(borrow=True)
    if node.op.form == "leaf":
        raise ValueError(f"no value was given for the input {node.label}")
    inputs = [known[i] for i in node.inputs]
    if node.op.numpy is None:
        return _open(node, inputs)
    return _as_type(value_of(node, inputs), node.type)


def value_of(node: Expr, inputs: Sequence[Any]) -> Any:
    """Return what the NumPy reference of a node gives for arrays.

    Raises
    ------
    ValueError, IndexError, TypeError
        that NumPy raises, with the expression and the line that made it.
    """
    assert node.op.numpy is not None
    try:
        if node.op.form == "composite" and (misfit := _misfit(node, inputs)):
            raise misfit  # where NumPy may broadcast
        with np.errstate(all="ignore"):
            return node.op.numpy(*inputs, **node.params)
    except (ValueError, IndexError, TypeError) as error:
        if " made at " in str(error):
            raise
        raise _told(node, inputs, error) from error


def _told(node: Expr, inputs: Sequence[Any], error: Exception) -> Exception:
    """The error for the user: what the shape rule of a node says of the arrays, else what NumPy said."""
    kind: type[Exception] = next(k for k in (IndexError, TypeError, ValueError) if isinstance(error, k))
    name = node.op.called or node.op.name
    what, _, fix = str(error).partition("\n")
    misfit = _misfit(node, inputs)
    if misfit and (kind is ValueError or misfit.kind is kind):
        what, fix, kind = str(misfit) if misfit.whole else f"{name}: {misfit}", misfit.fix, misfit.kind
    rows = [("expression", node.name or f"{name}(...)", node.where)]
    return kind(report(what, [*rows, *(_given_row(x, a) for x, a in zip(node.inputs[: node.op.data], inputs))], fix.strip()))


def _misfit(node: Expr, inputs: Sequence[Any]) -> ShapeError | None:
    if any(isinstance(x.type, TupleType) for x in node.inputs) or (node.op.shape is None and node.op.form != "formula"):
        return None
    data = len(inputs) if node.op.data is None else node.op.data
    args = [Arg(np.shape(a), x.dtype) for x, a in zip(node.inputs[:data], inputs)]
    args += [Arg((), "int64", int(a)) for a in inputs[data:]]
    try:
        shape_rule(node.op, args, node.params)
    except ShapeError as error:
        return error
    return None


def _given_row(x: Expr, value: Any) -> tuple[str, str, str]:
    """A row for an input of a node and its value, without what the operation that the user called did to it."""
    if isinstance(x.type, TupleType):
        return "of", f"{x.label}  {x.type}", x.where
    shape, written = np.shape(value), as_written(x)
    while x is not written:
        if x.op.name == "dimshuffle":
            shape = tuple(n for n, a in zip(shape, x.params["order"]) if a != "x")
        x = x.inputs[0]
    return "of", f"{x.label}  {x.dtype}, {shape_text(shape)}", x.where


def _open(node: Expr, inputs: Sequence[Any]) -> Any:
    """Compute a composite that has no reference of its own by its body."""
    body = node.op.open(node.inputs, node.params)  # type: ignore[attr-defined]
    parts = body if isinstance(body, tuple) else (body,)
    made = evaluate(parts, dict(zip(node.inputs, inputs)))
    return tuple(made) if isinstance(body, tuple) else made[0]


def _as_type(value: Any, type_: Any) -> Any:
    if isinstance(type_, TupleType):
        return tuple(_as_type(v, t) for v, t in zip(value, type_.items))
    return np.asarray(value, dtype=type_.dtype)
