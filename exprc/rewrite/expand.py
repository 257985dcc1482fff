"""Opens composites: each is replaced by the operations that it stands for.

`open_user` comes before `stabilise`: it opens what no rule names, so that a naive formula inside a user's operation
is repaired too. `expand` comes after it and opens the rest, but for late composites whose dims are not known yet;
`expand_bound` opens those as well, when sizes are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from exprc.collector import collector_paused
from exprc.errors import report
from exprc.expr import Expr, made_for, topological, with_inputs
from exprc.rewrite.engine import node_like
from exprc.types import TensorType, TupleType


def open_user(
    roots: Sequence[Expr], named: Collection[Any], held: Collection[Expr] = (), own_gradient: bool = False
) -> list[Expr]:
    """Open the composites that no rule names.

    Parameters
    ----------
    named : records that rules name (see `named_by`); they stay whole.
    held : nodes that are not opened and not entered where others use them.
    own_gradient : whether composites with a gradient of their own stay whole too; `grad` needs them.
    """

    def opens(node: Expr) -> bool:
        return node.op not in named and not (own_gradient and node.op.grad is not None) and not _waits(node)

    return _Opening(opens, held).run(roots)


def expand(roots: Sequence[Expr]) -> list[Expr]:
    """Open all composites except late ones with dims that are not known."""
    return _Opening(lambda node: not _waits(node)).run(roots)


def expand_bound(roots: Sequence[Expr]) -> list[Expr]:
    """Open all composites, the late ones too: every dim that can be known is known now."""
    return _Opening(lambda node: True).run(roots)


def named_by(rules: Sequence[Any]) -> frozenset[Any]:
    """Return the records that rules name."""
    return frozenset().union(*(rule.names for rule in rules))


def _waits(node: Expr) -> bool:
    """Tell whether a late composite must wait for dims."""
    types = [i.type for i in node.inputs] + (list(node.type.items) if isinstance(node.type, TupleType) else [node.type])
    return node.op.late and any(None in t.shape for t in types if isinstance(t, TensorType))  # type: ignore[attr-defined]


class _Opening:
    """One walk over a graph, with a stack of its own: composites may hold composites to any depth."""

    def __init__(self, opens: Callable[[Expr], bool], held: Collection[Expr] = ()):
        self.opens = opens
        self.made: dict[Expr, Expr] = {node: node for node in held}
        self.bodies: dict[Expr, Any] = {}

    def run(self, roots: Sequence[Expr]) -> list[Expr]:
        if not any(node.op.form == "composite" for node in topological(roots)):
            return list(roots)
        with collector_paused():
            return [self._held_root(r) if self.made.get(r) is r else self._opened(r) for r in roots]

    def _held_root(self, root: Expr) -> Expr:
        """A held node as a root is opened itself; where others use it, it stays."""
        if not root.inputs:
            return root
        moved = _moved(root, tuple(self._opened(i) for i in root.inputs))
        if root.op.form == "item" and isinstance(self.bodies.get(root.inputs[0]), tuple):
            return self._opened(self.bodies[root.inputs[0]][root.params["i"]])
        if not self._is_open(moved):
            return moved
        body = _body(moved)
        return moved if isinstance(body, tuple) else self._opened(body)

    def _opened(self, root: Expr) -> Expr:
        stack = [root]
        while stack:
            node = stack[-1]
            waiting = [] if node in self.made else self._needs(node)
            if waiting:
                stack.extend(reversed(waiting))
            else:
                stack.pop()
        return self.made[root]

    def _needs(self, node: Expr) -> list[Expr]:
        """Return the nodes to be opened before this one can be; with none left, note what stands for it."""
        waiting = [i for i in node.inputs if i not in self.made]
        if waiting:
            return waiting
        if node not in self.bodies:
            self.bodies[node] = self._stands_for(node)
        body = self.bodies[node]
        if isinstance(body, tuple):  # several results: each item asks for its own
            self.made[node] = node
            return []
        if body not in self.made:
            return [body]
        self.made[node] = self.made[body]
        return []

    def _stands_for(self, node: Expr) -> Any:
        if node.op.form == "item" and isinstance(self.bodies.get(node.inputs[0]), tuple):
            return self.bodies[node.inputs[0]][node.params["i"]]
        moved = _moved(node, tuple(self.made[i] for i in node.inputs))
        if self._is_open(moved):
            return _body(moved)
        self.made[moved] = moved
        return moved

    def _is_open(self, node: Expr) -> bool:
        return node.op.form == "composite" and self.opens(node)


def _moved(node: Expr, inputs: tuple[Expr, ...]) -> Expr:
    if all(a is b for a, b in zip(inputs, node.inputs)):
        return node
    same_types = all(a.type == b.type for a, b in zip(inputs, node.inputs))
    return node_like(node, inputs) if same_types else with_inputs(node, inputs)


def _body(node: Expr) -> Any:
    """What a composite stands for; its name goes to the node that takes its place."""
    with made_for(node):
        body = node.op.open(node.inputs, node.params)  # type: ignore[attr-defined]
    _check(node, body)
    if not isinstance(body, tuple) and body.name is None and node.name and body not in node.inputs:
        body.name = node.name
    return body


def _check(node: Expr, body: Any) -> None:
    """The body may know more of the shape than the node, never something else."""
    wanted = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    got = tuple(b.type for b in body) if isinstance(body, tuple) else (body.type,)
    if len(wanted) != len(got) or not all(_agree(w, g) for w, g in zip(wanted, got)):
        text = f"{node.op.name}: its body gives {', '.join(map(str, got))}, its shape and dtype rules {', '.join(map(str, wanted))}"
        raise TypeError(report(text, [("operation", node.label, node.where)]))


def _agree(a: TensorType, b: TensorType) -> bool:
    return a.dtype == b.dtype and a.ndim == b.ndim and all(x == y or None in (x, y) for x, y in zip(a.shape, b.shape))
