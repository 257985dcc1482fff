"""Lowers a kernel node: its text, with sizes and hooks filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exprc.expr import Expr
from exprc.forms import Hook, Implementation, argument_names
from exprc.loops import Buffer, Function, If, Index, Let, Load, Ref, Select, Template
from exprc.lower.emit import Emitter, Scope, holds, start_value
from exprc.lower.nest import symbol_names
from exprc.schedule.choose import kernel_args, kernel_outs
from exprc.schedule.fuse import Call, Root
from exprc.schedule.plan import Plan, Stored
from exprc.size import Dim, Size, Symbol, ceildiv, floordiv, minimum, mod, substitute, symbol
from exprc.types import TupleType, itemsize


def lower_call(plan: Plan, call: Call, name: str) -> Template:
    """A kernel node becomes its text with sizes and hooks filled in."""
    impl = plan.implementations[call.node]
    lanes = plan.lanes_of(itemsize(call.node.inputs[0].dtype))
    args, outs = kernel_args(call.node, plan.dims), kernel_outs(call.node, plan.dims)
    lowering = _CallLowering(plan, call, impl, lanes)
    hooks = [lowering.hook(macro, hook) for macro, hook in impl.hooks.items()]
    flags = {macro: int(key in lowering.units) for macro, key in impl.flags.items()}
    macros: dict[str, Dim] = {**impl.sizes(args, outs, call.node.params, lanes), **flags}
    return Template(
        name, impl.text, call.node.inputs[0].dtype, lanes, tuple(lowering.buffers), tuple(lowering.written), macros,
        tuple(h for h in hooks if h is not None), _call_comment(call, args, outs), impl.launch, impl.library,
    )  # fmt: skip


def _call_comment(call: Call, args: Sequence[Any], outs: Sequence[Any]) -> str:
    shapes = " , ".join(f"({', '.join(map(str, a.shape))})" for a in args)
    result = f"({', '.join(map(str, outs[0].shape))})"
    then = "".join(f", then {r.node.op.name}" for r in call.roots)
    return f"{call.node.op.name}: {shapes} -> {result}{then}"


class _CallLowering:
    """Makes the hooks of one call.

    `units` holds the (hook, argument) along which an operand that is simply stored goes to the next element.
    """

    def __init__(self, plan: Plan, call: Call, impl: Implementation, lanes: int):
        self.plan, self.call, self.impl, self.lanes = plan, call, impl, lanes
        self.buffers: dict[Buffer, None] = {}
        self.written: dict[Buffer, None] = {}
        self.units: set[tuple[str, str]] = set()

    def hook(self, macro: str, hook: Hook) -> Function | None:
        emit = Emitter(self.plan)
        emit.buffers, emit.written = self.buffers, self.written
        index = self._index(hook)
        if hook.kind in ("load", "store", "value"):
            emit.within = self._within(index, self._operand_dims(hook))
        if hook.kind == "store":
            return self._store(macro, hook, index, emit)
        if hook.kind == "result":
            return self._address(macro, hook, index)
        operand = self.call.node.inputs[hook.operand]
        scope = Scope()
        if hook.kind == "value":
            return self._value(macro, hook, index, emit)
        value = emit.value(operand, index, scope)
        load = scope.body[0].value if len(scope.body) == 1 and isinstance(scope.body[0], Let) else None
        if isinstance(load, Load):
            self._note_units(macro, hook, load.address)
        if hook.kind == "load":
            return Function(macro, hook.arguments, None, tuple(scope.body), value)
        return Function(macro, hook.arguments, None, (), Index(load.address), load.buffer) if isinstance(load, Load) else None

    def _value(self, macro: str, hook: Hook, index: tuple[Dim, ...], emit: Emitter) -> Function:
        """The operand, from an element of what the text sums: the last input of the node stands for it."""
        *_, leaf = self.call.node.inputs
        own = Ref("x", leaf.dtype)
        emit.given[leaf, None] = own
        scope = Scope()
        value = emit.value(self.call.node.inputs[hook.operand], index, scope)
        return Function(macro, hook.arguments, own, tuple(scope.body), value)

    def _within(self, index: tuple[Dim, ...], dims: Sequence[Dim]) -> Any:
        """Where lanes go beyond the last image, loads take the last image there: nothing keeps what comes of it."""
        tail = next(((j, d) for j, d in zip(index, dims) if not holds((j, d)) and "l" in symbol_names(j)), None)
        if tail is None:
            return None
        j, d = tail
        lane = symbol("l", 0, self.lanes - 1)
        last = minimum(lane, d - 1 - (j - lane))  # type: ignore[operator]

        def within(stored: Stored, at: tuple[Dim, ...]) -> tuple[Dim, ...]:
            own = stored.layout.lanes and at and at[0] == j
            return at if own else tuple(substitute(k, {"l": last}) for k in at)

        return within

    def _index(self, hook: Hook) -> tuple[Dim, ...]:
        """The logical index that the hook's arguments stand for, each argument with its range."""
        dims = self._operand_dims(hook)
        plain = hook.index(**{a: symbol(a) for a in hook.arguments}, **self._extra(hook))
        high = {a: self._high(a, plain, dims) for a in hook.arguments}
        return tuple(hook.index(**{a: symbol(a, 0, high[a]) for a in hook.arguments}, **self._extra(hook)))

    def _extra(self, hook: Hook) -> dict[str, int]:
        return {"lanes": self.lanes} if "lanes" in argument_names(hook.index) else {}

    def _operand_dims(self, hook: Hook) -> tuple[Dim, ...]:
        if hook.kind in ("store", "result"):
            return tuple(kernel_outs(self.call.node, self.plan.dims)[hook.operand].shape)
        return tuple(self.plan.dims[self.call.node.inputs[hook.operand]])

    def _high(self, name: str, index: Sequence[Dim], dims: Sequence[Dim]) -> Dim | None:
        """The largest value of an argument: of an axis it is itself, of lanes, or of blocks of lanes."""
        for j, d in zip(index, dims):
            if j == symbol(name):
                return d - 1  # type: ignore[operator]
            if isinstance(j, Size) and j == symbol("b") * self.lanes + symbol("l") and name in ("b", "l"):
                return self.lanes - 1 if name == "l" else ceildiv(d, self.lanes) - 1  # type: ignore[operator]
        return None

    def _address(self, macro: str, hook: Hook, index: tuple[Dim, ...]) -> Function:
        """The address of an element of the result, which such a kernel always stores."""
        stored = self.plan.stored[self._result_node(hook.operand)]  # type: ignore[index]
        self.buffers[stored.buffer] = self.written[stored.buffer] = None
        return Function(macro, hook.arguments, None, (), Index(stored.address(index)), stored.buffer)

    def _note_units(self, macro: str, hook: Hook, address: Dim) -> None:
        steps = {a: coefficient(address, a) for a in hook.arguments}
        if None not in steps.values():
            self.units |= {(macro, a) for a, step in steps.items() if step == 1}

    def _store(self, macro: str, hook: Hook, index: tuple[Dim, ...], emit: Emitter) -> Function:
        result = self._result_node(hook.operand)
        value = Ref("x", kernel_outs(self.call.node, self.plan.dims)[hook.operand].dtype)
        if result is not None:
            emit.given[result, None] = value
        dims = self._operand_dims(hook)
        scope = Scope()
        if result is not None and result in self.plan.stored:
            self._put(emit, scope, self.plan.stored[result], index, value, dims)
        for root in self.call.roots:
            if self.call.result[root] == hook.operand:
                self._root(emit, scope, root, index, dims)
        return Function(macro, hook.arguments, value, tuple(scope.body))

    def _result_node(self, k: int) -> Expr | None:
        """The node that stands for result k: the kernel's own, or its item (None if nothing uses it)."""
        if not isinstance(self.call.node.type, TupleType):
            return self.call.node
        return self.plan.items.get((self.call.node, k))

    def _root(self, emit: Emitter, scope: Scope, root: Root, index: tuple[Dim, ...], dims: Sequence[Dim]) -> None:
        axes = self.call.axes[root]
        if axes is None:
            at = _unflattened(index, dims, root.dims)
        else:
            place = {a: index[k] for k, a in enumerate(axes) if a is not None}
            at = tuple(place.get(k, 0) for k in range(len(root.dims)))
        value = emit.compute(root.node, at, scope)
        emit.given[root.node, None] = value
        if root.node in self.plan.stored:
            self._put(emit, scope, self.plan.stored[root.node], at, value, root.dims)

    def _put(self, emit: Emitter, scope: Scope, stored: Stored, index: tuple[Dim, ...], value: Any, dims: Sequence[Dim]) -> None:
        """Store an element; of a lane beyond the last image, nothing in a plain layout, 0 in a split one."""
        inside = tuple((j, d) for j, d in zip(index, dims) if not holds((j, d)))
        if not inside:
            emit.store(scope, stored, index, value)
        elif stored.layout.lanes:
            emit.store(scope, stored, index, Select(inside, value, start_value("0", value.dtype)))
        else:
            inner = Scope(scope)
            emit.store(inner, stored, index, value)
            scope.body.append(If(inside, tuple(inner.body)))


def _unflattened(index: Sequence[Dim], dims: Sequence[Dim], others: Sequence[Dim]) -> tuple[Dim, ...]:
    """The index of the same element, in row-major order, of an array of another shape."""
    number: Dim = 0
    for j, d in zip(index, dims):
        number = number * d + j  # type: ignore[operator]
    made: list[Dim] = []
    for d in reversed(others):
        made.append(mod(number, d))
        number = floordiv(number, d)
    return tuple(made[::-1])


def coefficient(address: Dim, name: str) -> Dim | None:
    """The factor of a symbol in an address, 0 if it is not there; None if it stands inside a division or the like."""
    total: Dim = 0
    for atoms, factor in address.terms.items() if isinstance(address, Size) else ():
        plain = [a for a in atoms if isinstance(a, Symbol)]
        inside = any(name in symbol_names(Size({(a,): 1})) for a in atoms if not isinstance(a, Symbol))
        if inside or [a.name for a in plain].count(name) > 1:
            return None
        if name in [a.name for a in plain]:
            total = total + Size({tuple(a for a in atoms if not (isinstance(a, Symbol) and a.name == name)): factor})
    return substitute(total, {})
