"""The NumPy interpreter: walks a graph and computes each node with its record's reference.

It is the oracle of the tests, the folder of constants, and what runs where there is no C compiler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exprc.expr import Constant, Expr, Shared, topological
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
    with np.errstate(all="ignore"):
        return _as_type(node.op.numpy(*inputs, **node.params), node.type)


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
