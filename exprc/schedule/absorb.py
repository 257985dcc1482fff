"""Absorb: of two kernel nodes, one may compute what the other does, and what lies between them is never stored.

The first may compute the second, which reads its result element by element (`Implementation.absorbs`). The pair becomes one node: its
inputs are those of the first kernel, and the formulas between the two, worked out on a leaf that stands for an element of the first one's
result. Or the second makes its last operand itself, piece by piece, from what the first would have made it of (`Implementation.makes`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exprc.expr import Expr, Input, made_for, topological
from exprc.forms import Consumer, Hook, Implementation, Kernel
from exprc.schedule.choose import kernel_args, kernel_outs, with_inputs
from exprc.schedule.sizes import Bound, Dims
from exprc.types import TupleType, itemsize, tensor_type

#: Formulas between two kernels that cost more than this together (a cheap one 1, a function call 10) are not worked out there.
FORMULAS = 50


def absorb(
    bound: Bound, chosen: dict[Expr, Implementation], lanes_of: Callable[[int], int]
) -> tuple[Bound, dict[Expr, Implementation]]:
    """Return the graph in which consumers are absorbed, and the implementations of its kernel nodes."""
    order = topological(bound.roots)
    users = _users(order, bound.roots)
    new: dict[Expr, Expr] = {}
    items: dict[Any, Expr] = {}
    made: dict[Expr, Implementation] = {}
    for node in order:
        producer = _producer(node, chosen, users, bound.dims, lanes_of) if node in chosen else None
        if producer is not None:
            new[node], made[new[node]] = _joined(node, producer, new, chosen, bound.dims)
            continue
        if node in chosen and _makes(node, chosen, users, bound.dims, lanes_of):
            new[node], made[new[node]] = _with_operand(node, new, chosen, bound.dims)
            continue
        new[node] = with_inputs(node, tuple(new[i] for i in node.inputs), bound.dims)
        if node.op.form == "item":
            new[node] = items.setdefault((new[node].inputs[0], node.params["i"]), new[node])
        if node in chosen:
            made[new[node]] = chosen[node]
    roots = [new[r] for r in bound.roots]
    left = set(topological(roots))
    return dataclasses.replace(bound, roots=roots), {node: impl for node, impl in made.items() if node in left}


def inline(chosen: Mapping[Expr, Implementation]) -> set[tuple[Expr, Expr]]:
    """Return nodes with operands that need not be stored: what a text makes of its own sums, and what it loads but once."""
    return {(node, node.inputs[h.operand]) for node, impl in chosen.items() for h in impl.hooks.values() if _inside(node, h)}


def _inside(node: Expr, hook: Hook) -> bool:
    once = hook.once is not None and node.inputs[hook.operand].op.form == "formula" and hook.once(**node.params)
    return hook.kind == "value" or once


def _users(order: Sequence[Expr], roots: Sequence[Expr]) -> dict[Expr, set[Expr | None]]:
    """The nodes that read each node; None stands for who reads a root."""
    users: dict[Expr, set[Expr | None]] = {node: set() for node in order}
    for node in order:
        for x in node.inputs:
            users[x].add(node)
    for root in roots:
        users[root].add(None)
    return users


def _producer(
    node: Expr, chosen: Mapping[Expr, Implementation], users: Mapping[Expr, set[Expr | None]], dims: Dims, lanes_of: Callable[[int], int]
) -> Expr | None:
    """The kernel node that can absorb `node`: formulas lead from it, and from nothing else of it, to the operand of `node`."""
    operand = node.inputs[0]
    between = [x for x in topological([operand], stop=lambda x: x.op.form != "formula") if x.op.form == "formula"]
    found = {x for y in [*between, node] for x in y.inputs if (c := _consumer(x, chosen)) is not None and c.op == node.op.name}
    if len(found) != 1 or len(node.inputs) != 1 or _cost(operand) > FORMULAS:
        return None
    producer = found.pop()
    own = {producer}
    for x in between:
        if not own.isdisjoint(x.inputs):
            own.add(x)
    alike = all(dims[x] == dims[operand] for x in own) and producer.dtype == operand.dtype
    if operand not in own or not alike or any(user is not node and user not in own for x in own for user in users[x]):
        return None
    consumer = _consumer(producer, chosen)
    args, outs = kernel_args(node, dims), kernel_outs(node, dims)
    fits = consumer is not None and consumer.when(args, outs, producer.params, node.params, lanes_of(itemsize(producer.dtype)))
    return producer if fits else None


def _consumer(x: Expr, chosen: Mapping[Expr, Implementation]) -> Consumer | None:
    return chosen[x].absorbs if x in chosen and not isinstance(x.type, TupleType) else None


def _cost(x: Expr) -> int:
    """What a value costs along every path, as `exprc.schedule.fuse` counts it: that would store what costs too much."""
    cost: dict[Expr, int] = {}
    for y in topological([x], stop=lambda n: n.op.form not in ("formula", "view")):
        if y.op.form in ("formula", "view"):
            own = 1 if getattr(y.op, "cheap", True) else 10
            cost[y] = min(own + sum(cost.get(i, 0) for i in y.op.data_inputs(y)), FORMULAS + 1)
    return cost.get(x, 0)


def _joined(
    node: Expr, producer: Expr, new: Mapping[Expr, Expr], chosen: Mapping[Expr, Implementation], dims: Dims
) -> tuple[Expr, Implementation]:
    """The node that stands for both, with inputs (those of the producer, the value between them, the leaf of its element)."""
    with made_for(node):
        leaf = Input(tensor_type(producer.dtype, producer.type.shape))
        dims[leaf] = dims[producer]
        value = _on(node.inputs[0], producer, leaf, new, dims)
        inputs = (*(new[x] for x in producer.inputs), value, leaf)
        op = Kernel(f"{producer.op.name}_{node.op.name}", doc=f"{producer.op.name}, then {node.op.name} of its result")
        fresh = Expr(op, inputs, {}, node.type, node.name)
        dims[fresh] = dims[node]
    return fresh, _implementation(chosen[producer], producer.params, node.params, len(producer.inputs))


def _on(x: Expr, producer: Expr, leaf: Expr, new: Mapping[Expr, Expr], dims: Dims) -> Expr:
    """The formulas that lead to `x`, on the leaf in the place of the producer."""
    made: dict[Expr, Expr] = {producer: leaf}
    for y in topological([x], stop=lambda y: y is producer or y.op.form != "formula"):
        if y.op.form == "formula" and any(i in made for i in y.inputs):
            made[y] = with_inputs(y, tuple(made[i] if i in made else new[i] for i in y.inputs), dims)
    return made[x]


def _implementation(impl: Implementation, first: Mapping[str, Any], second: Mapping[str, Any], n: int) -> Implementation:
    """How both are computed: `first` and `second` are the params of the two nodes, n the number of inputs of the first."""
    consumer = impl.absorbs
    assert consumer is not None
    store = next(h for h in impl.hooks.values() if h.kind == "store")
    hooks = {macro: h for macro, h in impl.hooks.items() if h.kind != "store"} | {"VALUE": Hook("value", n, store.index)}

    def sizes(args: Any, outs: Any, params: Any, lanes: int) -> Any:
        return {**impl.sizes(args[:n], args[n + 1 :], first, lanes), **consumer.sizes(args[n + 1 :], outs, second, lanes)}

    def flops(args: Any, outs: Any, params: Any) -> Any:
        return impl.flops(args[:n], args[n + 1 :], first) if impl.flops is not None else 0

    return dataclasses.replace(
        impl, name=f"{impl.name}, {consumer.op}", sizes=sizes, hooks={**hooks, **consumer.hooks}, absorbs=None, flops=flops,
        layouts=((*impl.layouts[0], "any", "any"), consumer.layouts),
    )  # fmt: skip


def _makes(
    node: Expr, chosen: Mapping[Expr, Implementation], users: Mapping[Expr, set[Expr | None]], dims: Dims, lanes_of: Callable[[int], int]
) -> bool:
    """Whether the text of `node` makes its last operand itself: that of the kernel it knows, and read by nothing else."""
    producer, operand = chosen[node].makes, node.op.data_inputs(node)[-1]
    if producer is None or operand not in chosen or operand.op.name != producer.op or users[operand] != {node}:
        return False
    args, outs = kernel_args(operand, dims), kernel_outs(operand, dims)
    return producer.when(args, outs, operand.params, lanes_of(itemsize(node.dtype)))


def _with_operand(
    node: Expr, new: Mapping[Expr, Expr], chosen: Mapping[Expr, Implementation], dims: Dims
) -> tuple[Expr, Implementation]:
    """The node that makes its last operand itself: in the place of that stand what it is made of."""
    *before, operand = node.op.data_inputs(node)
    with made_for(node):
        inputs = tuple(new[x] for x in (*before, *operand.op.data_inputs(operand)))
        op = Kernel(f"{node.op.name}_{operand.op.name}", doc=f"{node.op.name} of what {operand.op.name} gives")
        fresh = Expr(op, inputs, node.params, node.type, node.name)
        dims[fresh] = dims[node]
    return fresh, _made_inside(chosen[node], node, operand, dims)


def _made_inside(impl: Implementation, node: Expr, operand: Expr, dims: Dims) -> Implementation:
    """How both are computed; what is asked of the text goes by the operand that is not there."""
    producer, given = impl.makes, kernel_args(node, dims)
    assert producer is not None
    n, made, outs = len(given) - 1, kernel_args(operand, dims), kernel_outs(operand, dims)
    own = {macro: h for macro, h in impl.hooks.items() if h.kind == "store" or h.operand != n}
    loads = {macro: dataclasses.replace(h, operand=n + h.operand) for macro, h in producer.hooks.items()}

    def sizes(args: Any, results: Any, params: Any, lanes: int) -> Any:
        return {**impl.sizes(given, results, params, lanes), **producer.sizes(made, outs, operand.params, lanes)}

    def flops(args: Any, results: Any, params: Any) -> Any:
        return impl.flops(given, results, params) if impl.flops is not None else 0

    wishes = (*impl.layouts[0][:n], *producer.layouts)
    return dataclasses.replace(
        impl, name=f"{impl.name} of {producer.op}", sizes=sizes, hooks={**own, **loads}, makes=None, flops=flops,
        layouts=(wishes, impl.layouts[1]),
    )  # fmt: skip
