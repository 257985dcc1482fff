"""16-bit floats: they are stored, moved and cast; every other operation on them is done in float32 and rounded to 16 bits.

So an operation on float16 gives what NumPy gives: its value rounded once. Kernels and formulas need no text for 16 bits, and a loop over
several operations loads, widens, computes and narrows without storing between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exprc.expr import Constant, Expr, made_for, topological, with_inputs
from exprc.forms import cast_to
from exprc.ops.formula import cast, copy
from exprc.types import TensorType, TupleType

HALF, WIDE = "float16", "float32"


def widened(roots: Sequence[Expr]) -> list[Expr]:
    """Return the roots with arithmetic on float16 done in float32."""
    if not any(_is_half(node) for node in topological(roots)):
        return list(roots)
    made: dict[Expr, Expr] = {}
    for node in topological(roots):
        with made_for(node):
            made[node] = _widened(node, tuple(made[i] for i in node.inputs))
    return [made[root] for root in roots]


def _is_half(node: Expr) -> bool:
    types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    return any(isinstance(t, TensorType) and t.dtype == HALF for t in types)


def _widened(node: Expr, inputs: tuple[Expr, ...]) -> Expr:
    moves = node.op in (cast, copy) or node.op.form == "view"
    if not node.inputs and node.op.form == "leaf":
        return node
    if moves or not (_is_half(node) or any(map(_is_half, inputs)) or node.op.form == "item"):
        same = all(a is b for a, b in zip(inputs, node.inputs))
        return node if same else with_inputs(node, inputs)
    fresh = node.op.node(tuple(map(_wide, inputs)), _wide_params(node.params))
    fresh.name = node.name
    if isinstance(fresh.type, TupleType):
        return fresh
    return cast_to(fresh, node.dtype)


def _wide(x: Expr) -> Expr:
    if isinstance(x.type, TupleType) or x.dtype != HALF:
        return x
    return Constant(x.value.astype(WIDE)) if isinstance(x, Constant) else cast_to(x, WIDE)


def _wide_params(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: WIDE if value == HALF else value for name, value in params.items()}
