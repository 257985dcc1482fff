"""Choose: each kernel node takes the first of its implementations that can serve these sizes on this target.

An implementation that computes partial results (`parts`) becomes a node of its own with a leading axis of parts, and a sum over that axis:
from then on it is an ordinary reduction, which fuses with what uses it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from exprc.errors import report
from exprc.expr import Expr, made_for, topological
from exprc.forms import Arg, Implementation, Kernel, Op, Reduce, Source, View, shape_rule
from exprc.schedule.sizes import Bound, Dims
from exprc.types import TupleType, itemsize, tensor_type


def kernel_args(node: Expr, dims: Dims) -> list[Arg]:
    """What the rules of an implementation may know of the data inputs of a kernel node."""
    return [Arg(dims[x], x.dtype, leaf=x.op.form == "leaf") for x in node.op.data_inputs(node)]


def kernel_outs(node: Expr, dims: Dims) -> list[Arg]:
    """The same for its results."""
    types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    shapes = dims[node] if isinstance(node.type, TupleType) else (dims[node],)
    return [Arg(s, t.dtype) for s, t in zip(shapes, types)]


def choose(
    bound: Bound, lanes_of: Callable[[int], int], total: Reduce, copy: Op, turn: Op, device: str = "cpu", precision: str = "float32",
    libraries: Collection[str] = (),
) -> tuple[Bound, dict[Expr, Implementation]]:
    """Return the graph with partial kernels made explicit, and the implementation of every kernel node.

    Parameters
    ----------
    lanes_of : the target's vector lanes for an element size.
    total : the record of the sum, which joins partial results; copy : the record of the identity, for operands that must be stored anew;
        turn : the record that puts axes in another order.
    device : "cpu" or "cuda": whose implementations are looked at. precision : what `Implementation.precisions` must allow.
    libraries : that may be used (see `Implementation`).
    """
    chooser = _Chooser(bound.dims, lanes_of, total, copy, turn, device, precision, libraries)
    new: dict[Expr, Expr] = {}
    roots = set(bound.roots)
    for node in topological(bound.roots):
        new[node] = chooser.take(node, tuple(new[i] for i in node.inputs), node in roots)
    return dataclasses.replace(bound, roots=[new[r] for r in bound.roots]), chooser.chosen


class _Chooser:
    """See `choose`; `made` holds what implementations asked for beside their nodes, so that it is there once."""

    def __init__(
        self, dims: Dims, lanes_of: Callable[[int], int], total: Reduce, copy: Op, turn: Op, device: str, precision: str,
        libraries: Collection[str],
    ):  # fmt: skip
        self.dims, self.lanes_of, self.total, self.copy, self.turn = dims, lanes_of, total, copy, turn
        self.device, self.precision, self.libraries = device, precision, libraries
        self.chosen: dict[Expr, Implementation] = {}
        self.partial_of: dict[Expr, Expr] = {}
        self.made: dict[Any, Expr] = {}

    def take(self, node: Expr, inputs: tuple[Expr, ...], stored: bool) -> Expr:
        """Return what stands for a node, on what stands for its inputs; `stored`: whether it must be stored, so that a view will not do."""
        fresh = with_inputs(node, inputs, self.dims)
        if node.op.form == "item":
            return self.made.setdefault((inputs[0], node.params["i"]), fresh)
        if node.op.form == "kernel":
            return self.kernel(fresh, stored)
        of_elements = node.op.form == "view" and node.op.name != "dim" and len(node.op.data_inputs(node)) == 1
        if of_elements and inputs[0] in self.partial_of:
            return _sum_of_view(fresh, self.partial_of, self.dims, self.total)
        return fresh

    def kernel(self, node: Expr, stored: bool) -> Expr:
        impl = self.first(node, stored)
        if impl.view is not None:
            return _shown(node, impl, self.dims)
        if impl.opens is not None:
            with made_for(node):
                return self.opened(node, impl.opens(node, kernel_args(node, self.dims), kernel_outs(node, self.dims), self.lanes(node)))
        fresh = _with_operands(node, impl, self.dims, self.copy, self.turn, self.made)
        self.chosen[fresh] = impl
        if impl.parts is None:
            return fresh
        joined, self.partial_of[joined] = _in_parts(fresh, impl, self.dims, self.chosen, self.lanes(fresh), self.total)
        return joined

    def lanes(self, node: Expr) -> int:
        return self.lanes_of(itemsize(node.inputs[0].dtype))

    def first(self, node: Expr, stored: bool) -> Implementation:
        """Return the first of the implementations that serves a node here; `stored` as in `take`."""
        assert isinstance(node.op, Kernel)
        args, outs = kernel_args(node, self.dims), kernel_outs(node, self.dims)
        for impl in node.op.implementations:
            allowed = (not impl.precisions or self.precision in impl.precisions) and (not impl.library or impl.library in self.libraries)
            allowed = allowed and not (stored and impl.view is not None)
            if impl.device == self.device and allowed and impl.when(args, outs, node.params, self.lanes(node)):
                return impl
        on = "" if self.device == "cpu" else f" on {self.device}"
        text = f"{node.op.name}: no kernel serves {', '.join(f'{a.dtype} {a.shape}' for a in args)}{on}"
        fix = "mode='reference' computes it with NumPy" if self.device == "cpu" else "device='cpu' computes it"
        raise NotImplementedError(report(text, [("node", node.label, node.where)], fix))

    def opened(self, node: Expr, stands: Expr) -> Expr:
        """Return the kernel nodes that stand for a node; those that another one brought along, too, are there once."""
        self.dims[stands] = self.dims[node]
        new: dict[Expr, Expr] = {}
        for part in topological([stands], stop=lambda x: x in self.dims and x is not stands):
            if part in self.dims and part is not stands:
                new[part] = part
                continue
            inputs = tuple(new[i] for i in part.inputs)
            if part is not stands:
                self.dims[part] = shape_rule(part.op, [Arg(self.dims[x], x.dtype) for x in inputs], part.params)
            key = (part.op, inputs, tuple(part.params.items()))
            if key not in self.made:
                self.made[key] = self.take(part, inputs, True)
            new[part] = self.made[key]
        return new[stands]


def closed(chosen: Mapping[Expr, Implementation]) -> set[Expr]:
    """Return the kernel nodes whose text, or a library, builds its result up in memory, so that no element is final before the end."""
    return {node for node, impl in chosen.items() if impl.library or any(h.kind == "result" for h in impl.hooks.values())}


def with_inputs(node: Expr, inputs: Sequence[Expr], dims: Dims) -> Expr:
    """Return a node on other inputs of the same types."""
    if all(a is b for a, b in zip(node.inputs, inputs)):
        return node
    with made_for(node):
        fresh = Expr(node.op, tuple(inputs), node.params, node.type, node.name)
    dims[fresh] = dims[node]
    if node in dims.sizes:
        dims.sizes[fresh] = dims.sizes[node]
    return fresh


def _with_operands(node: Expr, impl: Implementation, dims: Dims, copy: Op, turn: Op, copies: dict[Any, Expr]) -> Expr:
    """Store anew what the text must read in a layout that the operand cannot have.

    An operand that is read through an address in lanes must be a value of its own. One that is wished "turned" is stored with its first
    axis innermost, and seen through a view that turns it back.
    """
    wishes = impl.layouts[0] + ("any",) * len(node.inputs)
    hard = {h.operand for h in impl.hooks.values() if h.kind == "pointer"}
    inputs = list(node.inputs)
    with made_for(node):
        for k, x in enumerate(node.inputs):
            if wishes[k] == "lanes" and k in hard and x.op.form not in ("formula", "kernel", "item"):
                inputs[k] = copies.setdefault(x, _moved(copy, x, {}, dims[x], dims))
            elif wishes[k] == "turned":
                if (x, "turned") not in copies:
                    copies[x, "turned"] = _turned(x, copy, turn, dims)
                inputs[k] = copies[x, "turned"]
    return with_inputs(node, inputs, dims)


def _turned(x: Expr, copy: Op, turn: Op, dims: Dims) -> Expr:
    away = (*range(1, x.ndim), 0)
    back = (x.ndim - 1, *range(x.ndim - 1))
    moved = tuple(dims[x][a] for a in away)
    seen = _moved(turn, x, {"order": away}, moved, dims)
    return _moved(turn, _moved(copy, seen, {}, moved, dims), {"order": back}, dims[x], dims)


def _moved(op: Op, x: Expr, params: dict[str, Any], shape: tuple[Any, ...], dims: Dims) -> Expr:
    type_ = tensor_type(x.dtype, tuple(d if isinstance(d, int) else None for d in shape))
    node = Expr(op, (x,), params, type_)
    dims[node] = shape
    return node


def _shown(node: Expr, impl: Implementation, dims: Dims) -> Expr:
    """The view that stands for a kernel node whose elements are worked out where they are read."""
    with made_for(node):
        op = View(node.op.name, index=impl.view, data=len(node.op.data_inputs(node)))
        shown = Expr(op, node.inputs, node.params, node.type, node.name)
    dims[shown] = dims[node]
    if node in dims.sizes:
        dims.sizes[shown] = dims.sizes[node]
    return shown


def _in_parts(
    node: Expr, impl: Implementation, dims: Dims, chosen: dict[Expr, Implementation], lanes: int, total: Reduce
) -> tuple[Expr, Expr]:
    assert impl.parts is not None and isinstance(node.op, Kernel)
    count = impl.parts(kernel_args(node, dims), kernel_outs(node, dims), node.params, lanes)
    shape = (count, *dims[node])
    with made_for(node):
        type_ = tensor_type(node.dtype, (count, *node.type.shape))
        partial = Expr(node.op, node.inputs, {**node.params, "parts": count}, type_, node.name)
        dims[partial] = shape
        joined = Expr(total, (partial,), {"axes": (0,)}, node.type, node.name)
        dims[joined] = dims[node]
    del chosen[node]
    chosen[partial] = impl
    return joined, partial


def _sum_of_view(node: Expr, partial_of: dict[Expr, Expr], dims: Dims, total: Reduce) -> Expr:
    """A view of a sum of parts is a sum of views of the parts, which what uses it can be fused with."""
    partial = partial_of[node.inputs[0]]
    assert isinstance(node.op, View) and node.op.index is not None
    rule = node.op.index

    def index(i: Any, args: Any, load: Any, **params: Any) -> Source:
        source = rule(i[1:], [args[0]._replace(shape=args[0].shape[1:]), *args[1:]], load, **params)
        return dataclasses.replace(source, index=(i[0], *source.index))

    with made_for(node):
        parts = dims[partial][0]
        type_ = tensor_type(node.dtype, (parts, *node.type.shape))
        lifted = Expr(View(node.op.name, index=index, data=1), (partial, *node.inputs[1:]), node.params, type_)
        joined = Expr(total, (lifted,), {"axes": (0,)}, node.type, node.name)
    dims[lifted], dims[joined] = (parts, *dims[node]), dims[node]
    partial_of[joined] = lifted
    return joined
