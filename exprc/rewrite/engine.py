"""One pass of rules over a graph: interning, rules from the inputs up, a bounded amount of work.

Inside a call equal nodes become one node: nodes are equal if operation, input identities and parameters are,
constants if dtype, shape and bytes are; other leaves, and nodes with an effect, are equal only to themselves. Common
subexpressions are merged by that alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exprc.collector import collector_paused
from exprc.expr import Constant, Expr, Input, _set, made_for, topological

#: How often rules may be applied again to what one of them made, and how deep inside of it.
AGAIN, DEPTH = 8, 4

#: Constants up to this many bytes are compared by value; larger ones only by identity.
COMPARED = 1024


@dataclass(frozen=True)
class Rule:
    """An equation: nodes that `apply` knows are replaced by what it returns.

    apply : node -> the node that takes its place, or None where the rule does not fit. It must have the node's type,
        and the node's value on
        all inputs (but for rounding and the sign of zeros); the engine refuses a result of another type.
    roots : names of the operations on which it is tried.
    inside : tells from the names of the operations of a node's inputs whether it may fit at all; None: it may.
    names : records that its sides name; composites among them stay whole until the rule had its chance, and are not taken apart to be
        found again.
    examples : left sides for the tests: texts in the notation of `exprc.rewrite.pattern`, or functions of a dict of
        variables.
    apart : values of the inputs at which the two sides are known to differ.
    """

    name: str
    apply: Callable[[Expr], Expr | None]
    roots: tuple[str, ...]
    inside: Callable[[tuple[str, ...]], bool] | None = None
    names: frozenset[Any] = frozenset()
    examples: tuple[Any, ...] = ()
    apart: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"<rule {self.name}>"


def rewrite(roots: Sequence[Expr], rules: Sequence[Rule], held: Iterable[Expr] = ()) -> list[Expr]:
    """Return the roots with rules applied everywhere, inputs before users; equal nodes are merged.

    Parameters
    ----------
    roots : the expressions.
    rules : tried in this order; the first that fits is taken.
    held : nodes that are leaves where others use them; as a root such a node is rewritten like any other.
    """
    with collector_paused():
        return Rewriting(rules, held).run(roots)


class Rewriting:
    """The state of one call; `fired` counts the rules that were taken, `attempts` all that were tried."""

    def __init__(self, rules: Sequence[Rule], held: Iterable[Expr] = ()):
        self.rules = tuple(rules)
        self.index: dict[tuple[str, ...], list[Rule]] = {}
        self.held = {node: _stand_in(node) for node in held}
        self.done: dict[Expr, Expr] = dict(self.held)
        self.known: dict[Any, Expr] = {}
        self.settled: dict[Expr, Expr] = {leaf: leaf for leaf in self.held.values()}
        self.fired: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.attempts = 0
        self.room = 0

    def run(self, roots: Sequence[Expr]) -> list[Expr]:
        """Rewrite the roots."""
        inner = [i for r in roots for i in (r.inputs if r in self.held else (r,))]
        order = topological(inner, stop=lambda n: n in self.held)
        self.room += 1000 + 20 * len(order)
        for node in order:
            if node not in self.done:
                self.done[node] = self._settle(self._moved(node), 0)
        made = [self._held_root(r) if r in self.held else self.done[r] for r in roots]
        return _put_back(made, {self.held[n]: n for n in order if n in self.held and n.inputs})

    def _held_root(self, root: Expr) -> Expr:
        return self._exhaust(self._moved(root), 0) if root.inputs else root

    def _moved(self, node: Expr) -> Expr:
        """The node on its rewritten inputs. They have the types of the old ones, so the node keeps its own."""
        inputs = tuple([self.done[i] for i in node.inputs])
        return node if inputs == node.inputs else node_like(node, inputs)

    def _settle(self, node: Expr, depth: int) -> Expr:
        """Return what stands for a node whose inputs are settled."""
        node = self.known.setdefault(intern_key(node), node)
        if node not in self.settled:
            self.settled[node] = node  # rules that meet the node again while it is being rewritten see itself
            final = self._exhaust(node, depth) if depth <= DEPTH else node
            self.settled[node] = self.settled.setdefault(final, final)
        return self.settled[node]

    def _exhaust(self, node: Expr, depth: int) -> Expr:
        """Apply rules to a node until none fits any more."""
        for _ in range(AGAIN):
            result = self._first(node)
            if result is None:
                break
            node = self._absorb(result, depth)
        return node

    def _first(self, node: Expr) -> Expr | None:
        """Return the result of the first rule that fits."""
        rules = self._rules(node)
        if not rules or self.room <= 0:
            return None
        with made_for(node):
            for rule in rules:
                result = rule.apply(node)
                self.attempts += 1
                if result is not None and result is not node and self._taken(rule, node, result):
                    return _named_like(result, node) if result not in self.settled else result
        return None

    def _rules(self, node: Expr) -> list[Rule]:
        """The rules that may fit an operation on such inputs, in the order of the list."""
        names = (node.op.name, *[i.op.name for i in node.inputs])
        found = self.index.get(names)
        if found is None:
            found = self.index[names] = [
                r for r in self.rules if (names[0] in r.roots or "*" in r.roots) and (r.inside is None or r.inside(names[1:]))
            ]
        return found

    def _taken(self, rule: Rule, node: Expr, result: Expr) -> bool:
        """Count what a rule made, and refuse it if it is of another type."""
        good = bool(result.type == node.type)
        (self.fired if good else self.refused)[rule.name] += 1
        self.room -= good
        return good

    def _absorb(self, result: Expr, depth: int) -> Expr:
        """Settle the new nodes below `result`, and intern it."""
        made: dict[Expr, Expr] = {}
        for node in topological([result], stop=lambda n: n in self.settled):
            if node in self.settled:
                made[node] = self.settled[node]
                continue
            self.room -= 1
            inputs = tuple([made[i] for i in node.inputs])
            moved = node if inputs == node.inputs else node_like(node, inputs)
            made[node] = self._settle(moved, depth + 1) if node is not result else self._interned(moved)
        return made[result]

    def _interned(self, node: Expr) -> Expr:
        node = self.known.setdefault(intern_key(node), node)
        return self.settled.get(node, node)


def _stand_in(node: Expr) -> Expr:
    """A leaf in the place of a held node: no rule can look into it."""
    return Input(node.type, node.name) if node.inputs else node


def _put_back(roots: Sequence[Expr], nodes: Mapping[Expr, Expr]) -> list[Expr]:
    """Replace leaves by the nodes that they stood for."""
    made: dict[Expr, Expr] = dict(nodes)
    for node in topological(roots) if nodes else ():
        if node not in made:
            inputs = tuple(made[i] for i in node.inputs)
            made[node] = node if all(a is b for a, b in zip(inputs, node.inputs)) else node_like(node, inputs)
    return [made.get(root, root) for root in roots]


def node_like(node: Expr, inputs: tuple[Expr, ...]) -> Expr:
    """Return a node like `node` on other inputs of the same types: its type, name and line are kept."""
    with made_for(node):
        fresh = Expr(node.op, inputs, node.params, node.type, node.name)
    _set(fresh, "line", node.line)
    return fresh


def _named_like(result: Expr, node: Expr) -> Expr:
    if node.name is not None and result.name is None and result.inputs:
        result.name = node.name
    return result


def intern_key(node: Expr) -> Any:
    """Return a key that is equal for nodes that may be merged."""
    if isinstance(node, Constant):
        small = node.value.nbytes <= COMPARED
        return ("constant", node.dtype, node.value.shape, node.value.tobytes()) if small else id(node)
    if node.op.form == "leaf" or getattr(node.op, "effect", False):
        return id(node)
    if not node.params:
        return (node.op, *map(id, node.inputs))
    try:
        params = tuple((k, _exact(v)) for k, v in sorted(node.params.items()))
        key = (node.op, tuple(map(id, node.inputs)), params)
        hash(key)
    except TypeError:  # a parameter that cannot be compared: the node is equal only to itself
        return id(node)
    return key


def _exact(value: Any) -> Any:
    """Tell apart what ``==`` does not: 1 and 1.0 and True, 0.0 and -0.0."""
    if isinstance(value, tuple):
        return tuple(map(_exact, value))
    return (type(value), value.hex()) if isinstance(value, float) else (type(value), value)
