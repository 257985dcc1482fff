"""Works out values at an index: loads, formulas and views, as statements in a scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exprc.expr import Constant, Expr
from exprc.loops import Alloc, Apply, Buffer, Check, If, Index, Let, Literal, Load, Ref, Select, Store
from exprc.schedule.fuse import aligned, data_inputs, source_of
from exprc.schedule.plan import Plan, Stored
from exprc.size import Dim, below, nonnegative, symbol


@dataclass
class Scope:
    """Statements under construction, and the values already worked out in them."""

    parent: Scope | None = None
    body: list[Any] = field(default_factory=list)
    memo: dict[Any, Any] = field(default_factory=dict)

    def find(self, key: Any) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if key in scope.memo:
                return scope.memo[key]
            scope = scope.parent
        return None


class Emitter:
    """Works out values at an index, adding statements to a scope."""

    def __init__(self, plan: Plan, prefix: str = "v"):
        self.plan, self.prefix, self.count = plan, prefix, 0
        self.given: dict[tuple[Expr, Any], Any] = {}
        self.local: dict[Expr, Any] = {}
        self.buffers: dict[Buffer, None] = {}
        self.written: dict[Buffer, None] = {}
        self.checks, self.limits = plan.checks, plan.limits
        self.within: Any = None  # keeps the index of a load inside, where lanes go beyond the last element
        self.address: Any = lambda stored, index: stored.address(index)

    def fresh(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"

    def let(self, scope: Scope, value: Any) -> Any:
        if isinstance(value, (Ref, Literal, Index)):
            return value
        name = self.fresh()
        scope.body.append(Let(name, value.dtype, value))
        return Ref(name, value.dtype)

    def value(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        """Return the element of `node` at `index`, from where it is stored or worked out."""
        key = (node, index)
        known = scope.find(key)
        if known is None:
            known = self._known(node, index, scope)
            scope.memo[key] = known
        return known

    def _known(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        if (node, None) in self.given:
            return self.given[node, None]
        if node in self.local:
            return self.let(scope, self.local[node](index))
        if isinstance(node, Constant) and node.value.ndim == 0:
            return Literal(node.value.item(), node.dtype)
        if node in self.plan.stored:
            return self.let(scope, self.load(self.plan.stored[node], index))
        return self.compute(node, index, scope)

    def load(self, stored: Stored, index: tuple[Dim, ...]) -> Load:
        self.buffers[stored.buffer] = None
        index = index if self.within is None else self.within(stored, index)
        return Load(stored.buffer, self.address(stored, index))

    def store(self, scope: Scope, stored: Stored, index: tuple[Dim, ...], value: Any) -> None:
        self.buffers[stored.buffer] = self.written[stored.buffer] = None
        scope.body.append(Store(stored.buffer, self.address(stored, index), value))

    def compute(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        """Work a formula or view out, even if it is stored somewhere."""
        if node.op.form == "formula":
            return self._formula(node, index, scope)
        if node.op.name == "dim":
            return Index(self.plan.dims[node.inputs[0]][node.params["axis"]])
        return self._view(node, index, scope)

    def _formula(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        op: Any = node.op
        if op.c == "{i0}":
            return Index(index[0])
        operands = [self.value(x, aligned(index, self.plan.dims[x]), scope) for x in data_inputs(node)]
        if op.c == "{x}":
            return operands[0]
        args = [*zip(op.operands, operands), *_places(op.c, index, self.plan.dims[node])]
        args += [(k, Literal(v, "int64")) for k, v in node.params.items() if f"{{{k}}}" in op.c]
        text = op.text_of([x.dtype for x in data_inputs(node)], node.dtype)
        return self.let(scope, Apply(text, tuple(args), node.dtype, op))

    def _view(self, node: Expr, index: tuple[Dim, ...], scope: Scope) -> Any:
        source = source_of(node, index, self.plan.dims, lambda x, j, n: self.loaded(x, j, n, scope))
        x = node.inputs[source.input]
        conditions, also = (tuple(c for c in given if not holds(c)) for given in (source.conditions, source.also))
        elsewhere = start_value(source.fill, node.dtype)
        if not conditions:
            value = self.value(x, source.index, scope)
            return self.let(scope, Select(also, value, elsewhere)) if also else value
        cell = Buffer(self.fresh(), node.dtype, 1, local=True)
        inner = Scope(scope)
        value = self.value(x, source.index, inner)
        inner.body.append(Store(cell, 0, Select(also, value, elsewhere) if also else value))
        scope.body += [Alloc(cell), Store(cell, 0, elsewhere), If(conditions, tuple(inner.body))]
        return Load(cell, 0)

    def loaded(self, x: Expr, index: tuple[Dim, ...], limit: Dim | None, scope: Scope) -> Dim:
        """Return an element of an integer operand for use in an index: wrapped if negative, checked against `limit` if there is one."""
        value = self.value(x, index, scope)
        if limit is None:
            return value.dim if isinstance(value, Index) else self._named(value, scope)
        if isinstance(value, Index) and nonnegative(value.dim) and below(value.dim, limit):
            return value.dim
        if isinstance(value, Literal) and isinstance(limit, int) and -limit <= value.value < limit:
            return int(value.value) % limit
        key = ("check", value, limit)
        name = scope.find(key)
        if name is None:
            name = self.fresh()
            scope.body.append(Check(name, value, limit, len(self.checks)))
            self.checks.append(x)
            self.limits.append(limit)
            scope.memo[key] = name
        return symbol(name, 0, limit - 1)  # type: ignore[operator]

    def _named(self, value: Any, scope: Scope) -> Dim:
        """An integer value as a symbol."""
        key = ("named", value)
        name = scope.find(key)
        if name is None:
            name = scope.memo[key] = value.name if isinstance(value, Ref) else self.fresh()
            scope.body += [] if isinstance(value, Ref) else [Let(name, value.dtype, value)]
        return symbol(name)


def holds(condition: tuple[Dim, Dim]) -> bool:
    e, n = condition
    return nonnegative(e) and below(e, n)


def _places(text: str, index: tuple[Dim, ...], dims: Sequence[Dim]) -> list[tuple[str, Any]]:
    """The output index, as far as a formula's text uses it."""
    found = [(f"i{k}", Index(j)) for k, j in enumerate(index) if f"{{i{k}}}" in text]
    if "{i}" in text:
        position: Dim = 0
        for j, d in zip(index, dims):
            position = position * d + j  # type: ignore[operator]
        found.append(("i", Index(position)))
    return found


def start_value(text: str, dtype: str) -> Any:
    """The value that a text such as "0" or "{lowest}" stands for in a dtype."""
    if text not in ("{lowest}", "{highest}", "lowest"):
        return Literal(np.dtype(dtype).type(int(text)).item(), dtype)
    low = text != "{highest}"
    if dtype == "bool":
        return Literal(not low, dtype)
    if dtype.startswith("float"):
        return Literal(float("-inf") if low else float("inf"), dtype)
    info = np.iinfo(dtype)
    return Literal(int(info.min if low else info.max), dtype)
