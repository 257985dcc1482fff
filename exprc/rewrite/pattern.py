"""The notation of rules: ``rule("log(1 + x)", "log1p(x)")``.

A text names operations by the names of their records, with the operators ``+ - * / ** //`` for add, sub, mul,
true_div, power and floor_div, and comparisons. A free name is a variable that stands for any expression (the same one
wherever it occurs), a number for a constant of that value with one element. Keywords are static parameters: a name
binds the value, anything else must be equal. A keyword left out must have the record's default.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Union

from exprc.expr import Constant, Expr
from exprc.forms import Composite, Op, wrap
from exprc.ops.formula import cast
from exprc.ops.view import dimshuffle
from exprc.rewrite.engine import Rule
from exprc.rewrite.shapes import same_shape
from exprc.types import TensorType

_OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "true_div",
    ast.Pow: "power",
    ast.FloorDiv: "floor_div",
}
_COMPARISONS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
#: What a number may be written as (see `scalar_value`).
_HOLDERS = frozenset({"constant", "dimshuffle", "cast"})
COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum", "logical_and", "logical_or", "eq", "neq"})


@dataclass(frozen=True)
class Variable:
    name: str


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Term:
    op: Op
    args: tuple[Pattern, ...]
    params: Mapping[str, Any]


Pattern = Union[Variable, Number, Term]  # noqa: UP007 (names a class that is defined later)


@dataclass(frozen=True)
class Match:
    """What variables and parameters stand for, and the views that lay between the operations, outermost first."""

    bound: Mapping[str, Any] = field(default_factory=dict)
    views: tuple[Expr, ...] = ()

    def bind(self, name: str, value: Any) -> Match | None:
        if name in self.bound:
            same = self.bound[name] is value or (not isinstance(value, Expr) and self.bound[name] == value)
            return self if same else None
        return Match({**self.bound, name: value}, self.views)


class Notation:
    """Reads texts over the records that modules hold.

    Parameters
    ----------
    modules : files of the catalogue. transparent : records of views that commute with every elementwise operation; a
        rule with ``through=True``
        fits also where such views lie between the operations of its left side, which must be a chain.
    """

    def __init__(self, *modules: ModuleType, transparent: Callable[[Expr], bool] = lambda node: False):
        self.table = {op.name: op for m in modules for op in vars(m).values() if isinstance(op, Op)}
        self.transparent = transparent

    def rule(
        self,
        left: str,
        right: str,
        when: Callable[..., bool] | None = None,
        through: bool = False,
        apart: tuple[float, ...] = (),
    ) -> Rule:
        """Make a rule of two texts; `when` gets what the variables stand for, by name."""
        lhs, rhs = self.parse(left), self.parse(right)
        if not isinstance(lhs, Term):
            raise ValueError(f"the left side of a rule must be an operation: {left!r}")
        look = self.transparent if through else None

        numbers = [a.value for a in lhs.args if isinstance(a, Number)]

        def apply(node: Expr) -> Expr | None:
            if numbers and not all(any(scalar_value(i) == n for i in node.inputs) for n in numbers):
                return None
            found = next((m for m in matches(lhs, node, Match(), look) if when is None or when(**m.bound)), None)
            if found is None:
                return None
            result = _under(found.views, build(rhs, found.bound))
            return result if not isinstance(rhs, Variable) or same_shape(result, node) else None

        named = frozenset((*_records(lhs), *_records(rhs)))
        return Rule(f"{left} → {right}", apply, (lhs.op.name,), _inside(lhs, through), named, (left,), apart)

    def parse(self, text: str) -> Pattern:
        """Return the pattern that a text describes."""
        return self._pattern(ast.parse(text, mode="eval").body, text)

    def _pattern(self, tree: ast.expr, text: str) -> Pattern:
        if isinstance(tree, ast.Name):
            return Variable(tree.id)
        if isinstance(tree, ast.Constant):
            return Number(tree.value)  # type: ignore[arg-type]
        if isinstance(tree, ast.UnaryOp):
            inner = self._pattern(tree.operand, text)
            return Number(-inner.value) if isinstance(inner, Number) else Term(self.table["neg"], (inner,), {})
        if isinstance(tree, ast.BinOp):
            return self._binary(_OPERATORS[type(tree.op)], tree.left, tree.right, text)
        if isinstance(tree, ast.Compare) and type(tree.ops[0]) in _COMPARISONS:
            return self._binary(_COMPARISONS[type(tree.ops[0])], tree.left, tree.comparators[0], text)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            args = tuple(self._pattern(a, text) for a in tree.args)
            return Term(self.table[tree.func.id], args, {k.arg: _param(k.value) for k in tree.keywords if k.arg})
        raise ValueError(f"the notation of rules has no {ast.unparse(tree)!r}: {text!r}")

    def _binary(self, name: str, left: ast.expr, right: ast.expr, text: str) -> Term:
        return Term(self.table[name], (self._pattern(left, text), self._pattern(right, text)), {})

    def expression(self, text: str, values: Mapping[str, Any]) -> Expr:
        """Return the expression that a text describes, its variables being `values`."""
        return build(self.parse(text), values)


def _inside(term: Term, through: bool) -> Callable[[tuple[str, ...]], bool] | None:
    """A quick look at a node: whether each argument that is no variable has an input that may be it."""
    wanted = [_HOLDERS if isinstance(a, Number) else {a.op.name} for a in term.args if not isinstance(a, Variable)]
    if through or not wanted:
        return None
    return lambda names: all(any(n in kinds for n in names) for kinds in wanted)


def _param(tree: ast.expr) -> Any:
    return Variable(tree.id) if isinstance(tree, ast.Name) else ast.literal_eval(tree)


def _records(pattern: Pattern) -> Iterator[Op]:
    if isinstance(pattern, Term):
        yield pattern.op
        for arg in pattern.args:
            yield from _records(arg)


# -- matching: as deep as the pattern, never as the graph ---------------------------------------------------------------


def matches(pattern: Pattern, node: Expr, match: Match, look: Callable[[Expr], bool] | None = None) -> Iterator[Match]:
    """Yield every way in which a pattern describes a node; `look` tells which views may lie above an operation."""
    if isinstance(pattern, Variable):
        yield from _one(match.bind(pattern.name, node))
    elif isinstance(pattern, Number):
        yield from _one(match if scalar_value(node) == pattern.value else None)
    elif node.op is pattern.op and len(node.inputs) == len(pattern.args):
        yield from _match_term(pattern, node, match, look)
    elif look is not None and look(node):
        below = Match(match.bound, (*match.views, node))
        yield from matches(pattern, node.inputs[0], below, look)


def _one(match: Match | None) -> Iterator[Match]:
    if match is not None:
        yield match


def _match_term(term: Term, node: Expr, match: Match, look: Callable[[Expr], bool] | None) -> Iterator[Match]:
    started = _match_params(term, node, match)
    if started is None:
        return
    orders = [term.args]
    if len(term.args) == 2 and term.op.name in COMMUTATIVE:
        orders.append(term.args[::-1])
    for args in orders:
        yield from _match_args(args, node.inputs, started, look)


def _match_args(
    args: tuple[Pattern, ...], inputs: tuple[Expr, ...], match: Match, look: Callable[[Expr], bool] | None
) -> Iterator[Match]:
    if not args:
        yield match
        return
    for first in matches(args[0], inputs[0], match, look):
        yield from _match_args(args[1:], inputs[1:], first, look)


def _match_params(term: Term, node: Expr, match: Match) -> Match | None:
    defaults = term.op.static_params() if isinstance(term.op, Composite) else {}
    found: Match | None = match
    for name, value in node.params.items():
        wanted = term.params.get(name, defaults.get(name, _MISSING))
        if isinstance(wanted, Variable):
            found = found.bind(wanted.name, value) if found is not None else None
        elif wanted != value:
            return None
    return found


_MISSING = object()


def scalar_value(node: Expr) -> Any:
    """Return the number that a constant of one element holds, also below dimshuffles and one cast; None if it is none."""
    dtype = node.dtype if isinstance(node.type, TensorType) else "bool"
    for _ in range(8):
        if isinstance(node, Constant):
            if node.value.size != 1 or dtype == "bool":
                return None
            return node.value.item() if node.dtype == dtype else node.value.astype(dtype).item()
        if node.op is not dimshuffle and (node.op is not cast or node.inputs[0].op.form != "leaf"):
            return None
        node = node.inputs[0]
    return None


# -- building -----------------------------------------------------------------------------------------------------------


def build(pattern: Pattern, bound: Mapping[str, Any]) -> Any:
    """Return the expression (or the number) that a pattern describes."""
    if isinstance(pattern, Variable):
        return bound[pattern.name]
    if isinstance(pattern, Number):
        return pattern.value
    args = [build(a, bound) for a in pattern.args]
    params = {k: bound[v.name] if isinstance(v, Variable) else v for k, v in pattern.params.items()}
    defaults = pattern.op.static_params() if isinstance(pattern.op, Composite) else {}
    return pattern.op.node(wrap(args), {**defaults, **params}) if params or defaults else pattern.op(*args)


def _under(views: tuple[Expr, ...], core: Expr) -> Expr:
    """Put the views that lay between the operations on top of the result."""
    for view in reversed(views):
        core = view.op.node((core, *view.inputs[1:]), view.params)
    return core
