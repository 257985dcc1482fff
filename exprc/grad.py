"""Reverse mode: the gradient of a scalar cost, as an expression that can be differentiated again.

The cost is stabilised first (`exprc.rewrite.stabilise`), so that ``-mean(log(softmax(s))[arange(n), y])`` has a
finite gradient. Then every node between the cost and what it is differentiated by hands its gradient to its inputs,
users before inputs, each node once: the work is linear in the graph. Casts, sums over broadcast axes and sums over
several uses are done here, never in the rule of an operation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from exprc import operators as operators  # the rules of the records use the operators of expressions
from exprc.config import config
from exprc.errors import report
from exprc.expr import Expr, Input, as_expr, made_for
from exprc.forms import ITEM, Formula, cast_to
from exprc.ops.formula import add, mul
from exprc.ops.gradient import disconnected_grad as disconnected_grad
from exprc.ops.gradient import grad_clip as grad_clip
from exprc.ops.gradient import zero_grad as zero_grad
from exprc.ops.reduce import sum_, unbroadcast_to
from exprc.ops.view import broadcast_to, dim, dim_of
from exprc.reference import evaluate
from exprc.rewrite.engine import rewrite
from exprc.rewrite.expand import named_by, open_user
from exprc.rewrite.shapes import dim_key, same_shape
from exprc.rewrite.stabilise import STABILISE
from exprc.types import TensorType, TupleType, is_float, tensor_type

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
    _check_choice("disconnected_inputs", disconnected_inputs, ("raise", "warn", "ignore"))
    _check_choice("return_disconnected", return_disconnected, ("zero", "none"))
    targets = [wrt] if isinstance(wrt, Expr) else list(wrt)
    constants = [consider_constant] if isinstance(consider_constant, Expr) else list(consider_constant or ())
    known = {node: _known_grad(node, g) for node, g in (known_grads or {}).items()}
    for x in targets:
        _check_wrt(x)
    if cost is not None:
        _check_cost(cost)
        known.setdefault(cost, as_expr(1.0, (cost.dtype,)))
    elif not known:
        raise ValueError("grad: a cost or known_grads is needed")
    sweep = _Sweep(targets, constants, known)
    grads = [sweep.gradient(x, disconnected_inputs, return_disconnected) for x in targets]
    return grads[0] if isinstance(wrt, Expr) else tuple(grads) if isinstance(wrt, tuple) else grads


# -- what may be asked for ----------------------------------------------------------------------------------------------


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"grad: {name}={value!r} is none of {', '.join(map(repr, choices))}")


def _row(role: str, x: Expr) -> tuple[str, str, str]:
    return (role, f"{x.label}  {x.type}", x.where)


def _check_cost(cost: Any) -> None:
    if not isinstance(cost, Expr):
        raise TypeError(f"grad: the cost must be an expression, not {type(cost).__name__}")
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


def _check_wrt(x: Any) -> None:
    if not isinstance(x, Expr):
        raise TypeError(f"grad: wrt must hold expressions, not {type(x).__name__}")
    if not isinstance(x.type, TensorType) or not is_float(x.dtype):
        raise TypeError(
            report("grad: only float expressions have a gradient", [_row("wrt", x)], "make it a float variable?")
        )


def _known_grad(node: Expr, g: Any) -> Expr:
    made = as_expr(g, (node.dtype,))
    if made.ndim != node.ndim:
        rows = [_row("expression", node), _row("gradient", made)]
        raise ValueError(report(f"grad: known_grads: {made.ndim} axes ≠ {node.ndim} axes", rows))
    return cast_to(made, node.dtype)


# -- the sweep ----------------------------------------------------------------------------------------------------------


class _Sweep:
    """One pass from the cost to the leaves.

    `below` maps a held node (one of wrt, consider_constant or known_grads) to its stabilised self: others see the
    held node, the gradient that it collects goes on into the stabilised one.
    """

    def __init__(self, wrt: Sequence[Expr], constants: Sequence[Expr], known: Mapping[Expr, Expr]):
        held = list(dict.fromkeys((*wrt, *constants, *known)))
        self.below = dict(zip(held, _stabilised(held)))
        self.constants = set(constants)
        self.parts: dict[Expr, list[Expr]] = {node: [g] for node, g in known.items()}
        self.known = set(known)
        self.item_parts: dict[Expr, dict[int, Expr]] = {}
        self.order = self._order(known)
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
            for x, gx in zip(inputs, _apply_rule(inner, g)):
                if gx is not None and x in self.useful and is_float(x.dtype):
                    self._give(x, _fitted(gx, x, inner))

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
        return tuple(slots[i] if i in slots else _zeros(_item(node, i)) for i in range(len(node.type.items)))

    def gradient(self, x: Expr, disconnected: str, stand_in: str) -> Expr | None:
        """The gradient that has arrived at one of wrt."""
        if x in self.parts and x in self.useful:
            return self._total(x)
        connected = x in self.useful and x in self.reached
        if not connected:
            _report_disconnected(x, disconnected)
        return _zeros(x) if connected or stand_in == "zero" else None


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


def _zeros(x: Expr) -> Expr:
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


def _report_disconnected(x: Expr, how: str) -> None:
    text = f"grad: the cost does not depend on {x.label}"
    fix = "is it the variable that the cost was built from? disconnected_inputs='ignore' gives a gradient of 0"
    message = report(text, [_row("wrt", x)], fix)
    if how == "raise":
        raise ValueError(message)
    if how == "warn":
        warnings.warn(message, stacklevel=3)


# -- the check against finite differences -------------------------------------------------------------------------------


def verify_grad(
    fun: Callable[..., Any],
    points: Sequence[Any],
    rng: Any = None,
    eps: float = 3e-4,
    abs_tol: float = 1e-6,
    rel_tol: float = 1e-6,
    directions: int | None = None,
) -> None:
    """Compare the gradient of a function of expressions with finite differences, in float64.

    Parameters
    ----------
    fun : function of expressions that returns an expression or a tuple of them.
    points : one array per argument of `fun`. Floats are taken as float64 and differentiated by; integers and bools
        are constants.
    rng : NumPy `Generator` (or a seed) for the weights of the results, whose weighted sum is the cost.
    eps : step of the differences.
    abs_tol, rel_tol : how far the two may differ: ``abs_tol + rel_tol * |difference quotient|``.
    directions : for large arrays: compare along so many random directions instead of along every axis.

    Raises
    ------
    ValueError
        if they differ by more; the text says where, and both values.

    Notes
    -----
    Differences of fourth order: ``f' = (f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h)) / 12h`` (Abramowitz and
    Stegun 1964, 25.3.6). The points should stay clear of kinks by more than ``2 eps``. All values are computed by the
    NumPy interpreter.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> verify_grad(lambda x: T.tanh(x) ** 2, [[0.5, -1.0]])
    """
    arrays = [_point(p) for p in points]
    with config.override(floatX="float64"):
        inputs = [Input(tensor_type(a.dtype.name, a.shape), f"argument {k}") for k, a in enumerate(arrays)]
        cost = _weighted_sum(fun(*inputs), dict(zip(inputs, arrays)), np.random.default_rng(rng))
        active = [x for x in inputs if is_float(x.dtype)]
        made = evaluate(grad(cost, active, disconnected_inputs="ignore"), dict(zip(inputs, arrays)))
    for x, g in zip(active, made):
        steps = _steps(g.shape, directions, np.random.default_rng(rng))
        slopes = np.array([np.sum(g * d) for d in steps])
        quotients = np.array([_quotient(cost, x, dict(zip(inputs, arrays)), eps * d) / eps for d in steps])
        _compare(
            f"{x.name}, {'element' if directions is None else 'direction'}",
            g.shape,
            slopes,
            quotients,
            abs_tol,
            rel_tol,
        )


def _point(value: Any) -> np.ndarray[Any, Any]:
    array = np.array(value)
    return array.astype("float64") if array.dtype.kind == "f" else array


def _weighted_sum(results: Any, values: Mapping[Expr, Any], rng: np.random.Generator) -> Expr:
    """The cost: every element of every float result times a random weight of its own, away from 0."""
    parts = [r for r in (results if isinstance(results, (tuple, list)) else [results]) if is_float(r.dtype)]
    total = as_expr(0.0, ("float64",))
    for r, value in zip(parts, evaluate(parts, values)):
        weights = rng.uniform(0.5, 1.5, value.shape) * rng.choice([-1.0, 1.0], value.shape)
        total = add(total, sum_(mul(cast_to(r, "float64"), weights)))
    return total


def _steps(shape: tuple[int, ...], directions: int | None, rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
    """Unit steps along every element in turn, or random ones."""
    count = int(np.prod(shape))
    if directions is not None and directions < count:
        return [rng.standard_normal(shape) / np.sqrt(count) for _ in range(directions)]
    return [np.eye(1, count, k).reshape(shape) for k in range(count)]


def _quotient(cost: Expr, x: Expr, values: dict[Expr, Any], step: np.ndarray[Any, Any]) -> float:
    """The change of the cost along a step, from four points around."""
    f = {k: float(evaluate([cost], {**values, x: values[x] + k * step})[0]) for k in (-2, -1, 1, 2)}
    return (f[-2] - 8 * f[-1] + 8 * f[1] - f[2]) / 12


def _compare(what: str, shape: tuple[int, ...], made: Any, wanted: Any, abs_tol: float, rel_tol: float) -> None:
    bad = ~(np.abs(made - wanted) <= abs_tol + rel_tol * np.abs(wanted))
    if np.any(bad):
        k = int(np.argmax(bad))
        at = tuple(int(i) for i in np.unravel_index(k, shape)) if bad.size == np.prod(shape) else k
        text = f"verify_grad: {what} {at}: gradient {made[k]:.9g} ≠ difference quotient {wanted[k]:.9g}"
        raise ValueError(report(text, fix=f"{int(np.sum(bad))} of {bad.size} differ; is the point near a kink?"))
