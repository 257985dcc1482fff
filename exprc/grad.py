"""Reverse mode: the gradient of a scalar cost, as an expression that can be differentiated again.

The cost is stabilised first (`exprc.rewrite.stabilise`), so that ``-mean(log(softmax(s))[arange(n), y])`` has a
finite gradient. Then every node between the cost and what it is differentiated by hands its gradient to its inputs,
users before inputs, each node once: the work is linear in the graph. Casts, sums over broadcast axes and sums over
several uses are done here, never in the rule of an operation.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exprc import operators as operators  # the rules of the records use the operators of expressions
from exprc.collector import collector_paused
from exprc.errors import nearest, outside, report
from exprc.expr import Expr, as_expr, made_for
from exprc.forms import ITEM, Formula, cast_to, shape_text
from exprc.ops.formula import add
from exprc.ops.gradient import Undefined
from exprc.ops.gradient import disconnected_grad as disconnected_grad
from exprc.ops.gradient import grad_clip as grad_clip
from exprc.ops.gradient import grad_scale as grad_scale
from exprc.ops.gradient import grad_undefined as grad_undefined
from exprc.ops.gradient import zero_grad as zero_grad
from exprc.ops.reduce import unbroadcast_to
from exprc.ops.view import broadcast_to, dim, dim_of
from exprc.rewrite.engine import rewrite
from exprc.rewrite.expand import named_by, open_user
from exprc.rewrite.shapes import dim_key, same_shape
from exprc.rewrite.stabilise import STABILISE
from exprc.types import TensorType, TupleType, is_float

#: Operations through which nothing is connected: lengths do not depend on elements.
_CUTS = (disconnected_grad, dim)

_NAMED = named_by(STABILISE)


def grad(
    cost: Expr | None,
    wrt: Any,
    consider_constant: Iterable[Expr] | None = None,
    disconnected_inputs: str = "raise",
    known_grads: Mapping[Expr, Any] | None = None,
    return_disconnected: str = "zero",
    add_names: bool = False,
) -> Any:
    """Return the gradient of a cost with respect to expressions.

    Parameters
    ----------
    cost : float scalar expression. It may be None if `known_grads` is given.
    wrt : a float expression, or a list or tuple of them; leaves, or anything that the cost is computed from.
    consider_constant : expressions through which no gradient flows.
    disconnected_inputs : what to do if the cost does not depend on one of `wrt`: "raise", "warn" or "ignore".
    known_grads : dict from expressions to their gradient, which is taken as given instead of being worked out from
        the cost.
    return_disconnected : what stands for the gradient of such a one: "zero" (zeros of its shape) or "none" (None).
    add_names : whether the gradient of a cost c by an x, where both have names, is called ``(dc/dx)`` in dumps and messages.

    Returns
    -------
    an expression of the shape and dtype of `wrt`, or a list or tuple of them as `wrt` is.

    Raises
    ------
    TypeError
        if the cost or one of `wrt` is no float expression.
    ValueError
        if the cost is no scalar; if it does not depend on one of `wrt`.

    Notes
    -----
    Reverse accumulation: Griewank and Walther 2008, Evaluating Derivatives, section 3.2. Integer and bool values have
    no gradient: what is connected only through them (or through a derivative that is 0 everywhere, such as that of
    `floor`) has a gradient of 0.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.scalar("x")
    >>> float(grad(x**3, x).eval({x: 2.0}))
    12.0
    """
    check_choice("grad", "disconnected_inputs", disconnected_inputs, HOW)
    check_choice("grad", "return_disconnected", return_disconnected, STAND_INS)
    targets = checked_wrt("grad", wrt)
    known = {node: given_grad("grad: known_grads", node, g) for node, g in dict(known_grads or ()).items()}
    if cost is not None:
        _check_cost(cost)
    elif not known:
        raise ValueError("grad: a cost or known_grads is needed")
    seeds = [(cost, as_expr(1.0, (cost.dtype,)))] if cost is not None and cost not in known else []
    sweep = Sweep("grad", targets, constants_of("grad", consider_constant), seeds, known)
    made = [sweep.gradient(x, disconnected_inputs, return_disconnected) for x in targets]
    return like(wrt, [_called(g, cost, x) if add_names else g for g, x in zip(made, targets)])


def _called(g: Expr | None, cost: Expr | None, x: Expr) -> Expr | None:
    """The gradient with its name, where it is an unnamed node of the sweep, and cost and variable have one."""
    if g is not None and g.inputs and not g.name and cost is not None and cost.name and x.name:
        g.name = f"(d{cost.name}/d{x.name})"
    return g


# -- what may be asked for ----------------------------------------------------------------------------------------------

#: What to do about what is not connected, and what stands for its gradient.
HOW, STAND_INS = ("raise", "warn", "ignore"), ("zero", "none")


def several(given: Any) -> list[Any]:
    """The expressions of an argument that takes one, several or None."""
    return [] if given is None else [given] if isinstance(given, Expr) or not isinstance(given, Iterable) else list(given)


def constants_of(caller: str, given: Any) -> list[Any]:
    """The expressions through which no gradient is to flow."""
    constants = several(given)
    for x in constants:
        if not isinstance(x, Expr):
            fix = "give the expressions themselves, not their values"
            raise TypeError(report(f"{caller}: consider_constant must hold expressions, not {type(x).__name__}: {x!r}"[:200], fix=fix))
    return constants


def like(given: Any, made: list[Any]) -> Any:
    """Results in the form of the argument that they belong to: one, a tuple or a list."""
    return made[0] if isinstance(given, Expr) else tuple(made) if isinstance(given, tuple) else made


def check_choice(caller: str, name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        text = f"{caller}: {name}={value!r} is none of {', '.join(map(repr, choices))}"
        raise ValueError(report(text, fix=nearest(str(value), choices)))


def _row(role: str, x: Expr) -> tuple[str, str, str]:
    return (role, f"{x.label}  {x.type}", x.where)


def _check_cost(cost: Any) -> None:
    if not isinstance(cost, Expr):
        fix = "a number is constant; build the cost from variables, without .eval() or get_value()"
        fix = "add several costs up, or take the gradient of each" if isinstance(cost, (list, tuple)) else fix
        raise TypeError(report(f"grad: the cost must be an expression, not {type(cost).__name__}", fix=fix))
    if cost.type.shape != ():
        raise ValueError(
            report(
                f"grad: the cost must be a scalar, it has {cost.ndim} axes",
                [_row("cost", cost)],
                "take its mean() or sum()?",
            )
        )
    if not is_float(cost.dtype):
        text = f"grad: the cost must be of a float dtype, it is {cost.dtype}"
        raise TypeError(
            report(
                text, [_row("cost", cost)], "integers and bools have no gradient; use a cost that is computed in floats"
            )
        )


def checked_wrt(caller: str, wrt: Any) -> list[Any]:
    """The expressions to differentiate by, each of floats."""
    targets = [None] if wrt is None else several(wrt)
    for x in targets:
        _check_wrt(caller, x)
    return targets


def _check_wrt(caller: str, x: Any) -> None:
    if not isinstance(x, Expr):
        fix = "give the variables themselves, not their values"
        raise TypeError(report(f"{caller}: wrt must hold expressions, not {type(x).__name__}: {x!r}"[:200], fix=fix))
    if not isinstance(x.type, TensorType) or not is_float(x.dtype):
        text = f"{caller}: only float expressions have a gradient, not {x.type}"
        raise TypeError(report(text, [_row("wrt", x)], "make it a float variable?"))


def given_grad(caller: str, node: Expr, g: Any, what: str = "gradient") -> Expr:
    """A gradient (or a direction) that the user gives for a node, checked and in the node's dtype."""
    made = as_expr(g, (node.dtype,))
    rows = [_row("expression", node), _row(what, made)]
    fix = f"a {what} has the shape of what it is the {what} of"
    if made.ndim != node.ndim:
        text = f"{caller}: a {what} of {made.ndim} axes for an expression of {node.ndim}"
        raise ValueError(report(text, rows, fix))
    if any(None not in (a, b) and a != b for a, b in zip(made.type.shape, node.type.shape)):
        shapes = f"{shape_text(made.type.shape)} for an expression of {shape_text(node.type.shape)}"
        raise ValueError(report(f"{caller}: a {what} of shape {shapes}", rows, fix))
    return cast_to(made, node.dtype)


# -- the sweep ----------------------------------------------------------------------------------------------------------


class Sweep:
    """One pass from the cost to the leaves.

    Parameters
    ----------
    caller : the function that messages name.
    wrt, constants : what to differentiate by, and through what no gradient flows.
    seeds : expressions with the gradient that they bring; what others hand to them is added.
    known : expressions whose gradient is given, whatever others hand to them.

    `below` maps a held node (any of these) to its stabilised self: others see the held node, the gradient that it collects goes
    on into the stabilised one.
    """

    def __init__(
        self,
        caller: str,
        wrt: Sequence[Expr],
        constants: Sequence[Expr],
        seeds: Sequence[tuple[Expr, Expr]],
        known: Mapping[Expr, Expr],
    ):
        self.caller = caller
        self.roots = list(dict.fromkeys((*(node for node, _ in seeds), *known)))
        with collector_paused():
            self._sweep(wrt, constants, seeds, known)

    def _sweep(
        self, wrt: Sequence[Expr], constants: Sequence[Expr], seeds: Sequence[tuple[Expr, Expr]], known: Mapping[Expr, Expr]
    ) -> None:
        held = list(dict.fromkeys((*wrt, *constants, *self.roots)))
        self.below = dict(zip(held, _stabilised(held)))
        self.constants = set(constants)
        self.parts: dict[Expr, list[Expr]] = {node: [g] for node, g in known.items()}
        self.known = set(known)
        self.item_parts: dict[Expr, dict[int, Expr]] = {}
        for node, g in seeds:
            self._give(node, g)
        self.order = self._order(self.roots)
        self.reached = set(self.order)
        self.useful = self._leading_to(wrt)
        self._run()

    def _order(self, known: Iterable[Expr]) -> list[Expr]:
        """All nodes from the leaves up, those below held nodes too: inputs before users."""
        order: list[Expr] = []
        done: set[Expr] = set()
        stack = [(node, False) for node in known]
        while stack:
            node, ready = stack.pop()
            if node in done:
                continue
            if ready:
                done.add(node)
                order.append(node)
            else:
                stack.append((node, True))
                stack.extend((i, False) for i in self._inputs(node) if i not in done)
        return order

    def _inputs(self, node: Expr) -> tuple[Expr, ...]:
        """The inputs through which a gradient may flow."""
        if node in self.constants:
            return ()
        inner = self.below.get(node, node)
        if inner is not node and inner in self.below:  # stabilised to another held node
            return (inner,)
        return () if inner.op in _CUTS else inner.op.data_inputs(inner)

    def _leading_to(self, wrt: Iterable[Expr]) -> set[Expr]:
        """The nodes that depend on one of wrt."""
        useful = {x for x in wrt if x not in self.constants}
        for node in self.order:
            if node not in useful and any(i in useful for i in self._inputs(node)):
                useful.add(node)
        return useful

    def _run(self) -> None:
        for node in reversed(self.order):
            if node in self.useful and (node in self.parts or node in self.item_parts):
                with made_for(node):
                    self._pass_on(node)

    def _pass_on(self, node: Expr) -> None:
        """Hand the gradient of a node to those of its inputs that lead to one of wrt."""
        inner = self.below.get(node, node)
        inputs = self._inputs(node)
        if not any(i in self.useful for i in inputs):
            if node in self.parts:
                self._total(node)
            return
        g: Any = self._total(node) if node in self.parts else self._item_totals(inner)
        if inner.op.form == "item":
            self._give_item(inner, g)
        elif inner is not node and inner in self.below:
            self._give(inner, g)
        else:
            for k, (x, gx) in enumerate(zip(inputs, _apply_rule(inner, g))):
                if gx is not None and x in self.useful and is_float(x.dtype):
                    self._give(x, _fitted(_defined(gx, inner, k), x, inner))

    def _give(self, x: Expr, g: Expr) -> None:
        if x not in self.known:
            self.parts.setdefault(x, []).append(g)

    def _give_item(self, item: Expr, g: Expr) -> None:
        source, i = item.inputs[0], item.params["i"]
        slots = self.item_parts.setdefault(source, {})
        slots[i] = add(slots[i], g) if i in slots else g

    def _total(self, node: Expr) -> Expr:
        """The sum of what the users of a node gave it."""
        total, *rest = self.parts[node]
        for part in rest:
            total = add(total, part)
        self.parts[node] = [total]
        return total

    def _item_totals(self, node: Expr) -> tuple[Expr, ...]:
        """One gradient per result, zeros for those that nobody used."""
        slots = self.item_parts[node]
        return tuple(slots[i] if i in slots else zeros_of(_item(node, i)) for i in range(len(node.type.items)))

    def gradient(self, x: Expr, disconnected: str, stand_in: str) -> Expr | None:
        """The gradient that has arrived at one of wrt."""
        if x in self.parts and x in self.useful:
            return self._total(x)
        connected = x in self.useful and x in self.reached
        if not connected:
            _report_disconnected(self.caller, x, self.roots, disconnected)
        return zeros_of(x) if connected or stand_in == "zero" else None


def _stabilised(held: Sequence[Expr]) -> list[Expr]:
    """Stabilise what is below each held node, the others being leaves; open composites without a gradient of their own."""
    opened = open_user(held, _NAMED, held, own_gradient=True)
    below = _bodies(held, opened)
    stable = _bodies(held, rewrite(below, STABILISE, held))
    return _bodies(held, open_user(stable, (), held, own_gradient=True))


def _bodies(held: Sequence[Expr], made: Sequence[Expr]) -> list[Expr]:
    return [node if not node.inputs else new for node, new in zip(held, made)]


def _item(node: Expr, i: int) -> Expr:
    return ITEM.node((node,), {"i": i})


def zeros_of(x: Expr) -> Expr:
    """Zeros of the shape and dtype of `x`."""
    with made_for(x):
        return broadcast_to(as_expr(0.0, (x.dtype,)), tuple(dim_of(x, a) for a in range(x.ndim)))


def _apply_rule(node: Expr, g: Any) -> Sequence[Expr | None]:
    """Return the gradients of the data inputs by the node's rule."""
    if node.op.grad is None:
        row = ("operation", node.label, node.where)
        raise TypeError(
            report(
                f"grad: {node.op.name} has no gradient",
                [row],
                "give its record one, or wrap its argument in disconnected_grad",
            )
        )
    y = tuple(_item(node, i) for i in range(len(node.type.items))) if isinstance(node.type, TupleType) else node
    made = node.op.grad(g, y, *node.inputs, **node.params)
    made = tuple(made) if isinstance(made, (tuple, list)) else (made,)
    if len(made) < len(node.op.data_inputs(node)):
        text = f"grad: the gradient of {node.op.name} gives {len(made)} expressions for {len(node.op.data_inputs(node))} inputs"
        raise ValueError(
            report(text, [("operation", node.label, node.where)], "give one for each input, None where there is none")
        )
    return made


def _defined(g: Any, node: Expr, k: int) -> Any:
    """Refuse a gradient of which the rule says that there is none."""
    if isinstance(g, Undefined):
        text = f"grad: {node.op.name} has no gradient for its input {k}: {g.why}"
        rows = [("operation", node.label, node.where), _row("input", node.inputs[k])]
        raise TypeError(report(text, rows, "wrap that input in disconnected_grad, or name it in consider_constant"))
    return g


def _fitted(g: Any, x: Expr, node: Expr) -> Expr:
    """Bring what a rule gave to the dtype and shape of the input: cast it, and sum it where the input was broadcast."""
    g = cast_to(as_expr(g, (x.dtype,)), x.dtype)
    if g.ndim == x.ndim and (not _broadcasts(node, x) or same_shape(g, x)):
        fitted = g
    else:
        fitted = unbroadcast_to(g, x) if g.ndim >= x.ndim and not _narrow(g, x) else g
    if g.ndim < x.ndim or any(None not in (a, b) and a != b for a, b in zip(fitted.type.shape, x.type.shape)):
        rows = [_row("input", x), ("gradient", str(g.type), node.where)]
        raise ValueError(report(f"grad: the gradient of {node.op.name} does not have the shape of the input", rows))
    return fitted


def _narrow(g: Expr, x: Expr) -> bool:
    """Tell whether a gradient does not reach along an axis on which the input is known to be longer."""
    return any(None not in (a, b) and b != 1 and a != b for a, b in zip(g.type.shape[g.ndim - x.ndim :], x.type.shape))


def _broadcasts(node: Expr, x: Expr) -> bool:
    """Tell whether the operation may have repeated `x` along an axis: another operand is, or may be, longer there."""
    if isinstance(node.op, Formula):  # its gradient has the shape of its result
        return any(_longer(node, x, axis) for axis in range(x.ndim))
    return node.op is broadcast_to or (node.op.form == "composite" and len(node.op.data_inputs(node)) > 1)


def _longer(node: Expr, x: Expr, axis: int) -> bool:
    """Tell whether the node may be longer than its input along an axis of the input."""
    return x.type.shape[axis] in (1, None) and dim_key(x, axis) != dim_key(node, node.ndim - x.ndim + axis)


def _report_disconnected(caller: str, x: Expr, costs: Iterable[Expr], how: str) -> None:
    what = "cost" if caller == "grad" else "expression"
    text = f"{caller}: the {what} does not depend on {x.label}"
    fix = f"is it the variable that the {what} was built from? disconnected_inputs='ignore' gives a gradient of 0"
    message = report(text, [*(_row(what, cost) for cost in costs), _row("wrt", x)], fix)
    complain(message, how)


def complain(message: str, how: str) -> None:
    """Raise, warn or say nothing, as the user asked."""
    if how == "raise":
        raise ValueError(message)
    if how == "warn":
        warnings.warn(message, stacklevel=outside())

