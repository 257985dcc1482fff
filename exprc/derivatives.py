"""Jacobians, Hessians, and products of Jacobians with vectors, all by reverse mode.

With the Jacobian J of f, reverse mode gives L(v) = v J for any v. A Jacobian is L for all rows of an identity matrix at once
(`exprc.vectorise`); and since L is linear in v, its own derivative for v is the transpose: J u = d/dv (L(v) u).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exprc.errors import report
from exprc.expr import Expr, Input, as_expr, made_for, rebuild
from exprc.grad import (
    HOW,
    STAND_INS,
    Sweep,
    check_choice,
    checked_wrt,
    complain,
    constants_of,
    given_grad,
    grad,
    like,
    several,
    zeros_of,
)
from exprc.ops.create import shape_of
from exprc.ops.formula import eye
from exprc.ops.view import reshape
from exprc.types import TensorType, is_float
from exprc.vectorise import vectorise


def Lop(  # noqa: N802 (Theano's name)
    f: Any, wrt: Any, eval_points: Any, consider_constant: Iterable[Expr] | None = None, disconnected_inputs: str = "raise"
) -> Any:
    """Return the product of vectors with a Jacobian, ``v J`` with ``J = df / dwrt``, without the Jacobian.

    Parameters
    ----------
    f : a float expression of any shape, or a list or tuple of them, whose products are added up.
    wrt : a float expression, or a list or tuple of them.
    eval_points : `v`, of the shape of `f`: an expression or an array, or a list of them if `f` is one.
    consider_constant : expressions through which no gradient flows.
    disconnected_inputs : what to do if no `f` depends on one of `wrt`: "raise", "warn" or "ignore".

    Returns
    -------
    an expression of the shape and dtype of `wrt`, or a list or tuple of them as `wrt` is:
    ``Lop[j] = sum over i of v[i] * df[i] / dwrt[j]``.

    Raises
    ------
    TypeError
        for what has no gradient.
    ValueError
        if `f` and `eval_points` do not fit, or `f` does not depend on one of `wrt`.

    Notes
    -----
    The vector-Jacobian product of reverse mode: Griewank and Walther 2008, Evaluating Derivatives, section 3.2.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.vector("x")
    >>> Lop(T.sqr(x), x, [1.0, 10.0]).eval({x: [1, 2]}).tolist()
    [2.0, 40.0]
    """
    check_choice("Lop", "disconnected_inputs", disconnected_inputs, HOW)
    targets = checked_wrt("Lop", wrt)
    outputs = _checked("Lop", f)
    seeds = list(zip(outputs, _directions("Lop", "f", f, outputs, eval_points)))
    sweep = Sweep("Lop", targets, constants_of("Lop", consider_constant), seeds, {})
    return like(wrt, [sweep.gradient(x, disconnected_inputs, "zero") for x in targets])


def Rop(  # noqa: N802 (Theano's name)
    f: Any, wrt: Any, eval_points: Any, disconnected_outputs: str = "raise", return_disconnected: str = "zero"
) -> Any:
    """Return the product of a Jacobian with vectors, ``J u`` with ``J = df / dwrt``: the derivative of `f` along `u`.

    Parameters
    ----------
    f : a float expression of any shape, or a list or tuple of them.
    wrt : a float expression, or a list or tuple of them, all of which move at once.
    eval_points : `u`, of the shape of `wrt`: an expression or an array, or a list of them if `wrt` is one.
    disconnected_outputs : what to do if an `f` depends on none of `wrt`: "raise", "warn" or "ignore".
    return_disconnected : what stands for the derivative of such a one: "zero" (zeros of its shape) or "none" (None).

    Returns
    -------
    an expression of the shape and dtype of `f`, or a list or tuple of them as `f` is:
    ``Rop[i] = sum over j of df[i] / dwrt[j] * u[j]``.

    Raises
    ------
    TypeError
        for what has no gradient.
    ValueError
        if `wrt` and `eval_points` do not fit, or an `f` depends on none of `wrt`.

    Notes
    -----
    Twice reverse mode: L(v) = v J is linear in v, so its gradient for v, with u handed to it, is J u (Townsend 2017, A new trick
    for calculating Jacobian vector products). No operation needs a rule for forward mode. Of a gradient it is the product of
    the Hessian with a vector: ``Rop(grad(cost, x), x, u)`` (Pearlmutter 1994, Fast exact multiplication by the Hessian).

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.vector("x")
    >>> Rop(T.stack([x[0] * x[1], x[0]]), x, [1.0, 10.0]).eval({x: [2, 3]}).tolist()
    [23.0, 1.0]
    """
    check_choice("Rop", "disconnected_outputs", disconnected_outputs, HOW)
    check_choice("Rop", "return_disconnected", return_disconnected, STAND_INS)
    targets = checked_wrt("Rop", wrt)
    outputs = _checked("Rop", f)
    along = _directions("Rop", "wrt", wrt, targets, eval_points)
    free = [Input(y.type) for y in outputs]
    back = Sweep("Rop", targets, (), list(zip(outputs, free)), {})
    rows = [back.gradient(x, "ignore", "none") for x in targets]
    seeds = [(row, u) for row, u in zip(rows, along) if row is not None]
    forth = Sweep("Rop", free, (), seeds, {})
    moved = [forth.gradient(v, "ignore", "zero") for v in free]
    made = rebuild([m for m in moved if m is not None], {v: zeros_of(y) for v, y in zip(free, outputs)})
    for y in outputs:
        if y not in back.useful:
            _report_disconnected(y, targets, disconnected_outputs)
    return like(f, [m if y in back.useful or return_disconnected == "zero" else None for y, m in zip(outputs, made)])


def jacobian(
    expression: Expr, wrt: Any, consider_constant: Iterable[Expr] | None = None, disconnected_inputs: str = "raise"
) -> Any:
    """Return all derivatives of all elements of an expression.

    Parameters
    ----------
    expression : a float expression of any shape; of a scalar the Jacobian is the gradient.
    wrt : a float expression, or a list or tuple of them.
    consider_constant : expressions through which no gradient flows.
    disconnected_inputs : what to do if the expression does not depend on one of `wrt`: "raise", "warn" or "ignore".

    Returns
    -------
    an expression of shape ``expression.shape + wrt.shape`` and the dtype of `wrt`, or a list or tuple of them as `wrt` is:
    ``J[i, j] = d expression[i] / d wrt[j]``.

    Raises
    ------
    TypeError
        for what has no gradient; if an operation cannot be worked out for all elements at once (see `exprc.vectorise`).
    ValueError
        if the expression does not depend on one of `wrt`.

    Notes
    -----
    One backward pass for all elements at once: it takes ``expression.size`` times the memory of a gradient's. For a product
    with a vector, `Lop` and `Rop` do without.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.vector("x")
    >>> jacobian(x * x[0], x).eval({x: [2, 3]}).tolist()
    [[4.0, 0.0], [3.0, 2.0]]
    """
    check_choice("jacobian", "disconnected_inputs", disconnected_inputs, HOW)
    targets = checked_wrt("jacobian", wrt)
    [y] = _checked("jacobian", [expression])
    v = Input(y.type) if y.ndim else as_expr(1.0, (y.dtype,))
    sweep = Sweep("jacobian", targets, constants_of("jacobian", consider_constant), [(y, v)], {})
    rows = [row for x in targets if (row := sweep.gradient(x, disconnected_inputs, "zero")) is not None]
    return like(wrt, _for_all_rows(rows, y, v) if y.ndim else rows)


def hessian(
    cost: Expr, wrt: Any, consider_constant: Iterable[Expr] | None = None, disconnected_inputs: str = "raise"
) -> Any:
    """Return all second derivatives of a scalar cost.

    Parameters
    ----------
    cost : float scalar expression.
    wrt : a float expression of any shape, or a list or tuple of them; each is differentiated by twice, by itself.
    consider_constant : expressions through which no gradient flows.
    disconnected_inputs : what to do if the cost does not depend on one of `wrt`: "raise", "warn" or "ignore". Where the gradient
        does not depend on it (the cost is linear in it), the Hessian is 0.

    Returns
    -------
    an expression of shape ``wrt.shape + wrt.shape`` and the dtype of `wrt`, or a list or tuple of them as `wrt` is:
    ``H[i, j] = d^2 cost / (d wrt[i] d wrt[j])``.

    Raises
    ------
    TypeError, ValueError
        as `exprc.grad` and `jacobian` do.

    Notes
    -----
    The Jacobian of the gradient: Griewank and Walther 2008, Evaluating Derivatives, section 5.1.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.vector("x")
    >>> hessian(x[0] ** 2 * x[1], x).eval({x: [2, 3]}).tolist()
    [[6.0, 4.0], [4.0, 0.0]]
    """
    constants, targets = constants_of("hessian", consider_constant), checked_wrt("hessian", wrt)
    check_choice("hessian", "disconnected_inputs", disconnected_inputs, HOW)
    slopes = grad(cost, targets, constants, disconnected_inputs)
    return like(wrt, [jacobian(slope, x, constants, "ignore") for slope, x in zip(slopes, targets)])


# -- what may be asked for ----------------------------------------------------------------------------------------------


def _checked(caller: str, f: Any) -> list[Expr]:
    """The expressions to be differentiated, after a check of them."""
    outputs = several(f)
    for y in outputs:
        if not isinstance(y, Expr):
            fix = "a number is constant; build it from variables, without .eval() or get_value()"
            raise TypeError(report(f"{caller}: an expression is needed, not {type(y).__name__}: {y!r}"[:200], fix=fix))
        if not isinstance(y.type, TensorType) or not is_float(y.dtype):
            row = ("expression", f"{y.label}  {y.type}", y.where)
            fix = "integers and bools have no gradient; use an expression that is computed in floats"
            raise TypeError(report(f"{caller}: only float expressions can be differentiated, not {y.type}", [row], fix))
    return outputs


def _directions(caller: str, of: str, given: Any, nodes: Sequence[Expr], points: Any) -> list[Expr]:
    """The vectors that belong to nodes: one, or as many as there are; of one expression in a list, that one."""
    listed = isinstance(points, (list, tuple)) and (not isinstance(given, Expr) or any(isinstance(p, Expr) for p in points))
    entries = list(points) if listed else [points]
    if len(entries) != len(nodes):
        text = f"{caller}: {len(entries)} eval_points for {len(nodes)} expressions in {of}"
        raise ValueError(report(text, fix=f"give one for each of {of}, in the same order"))
    what = "direction" if of == "wrt" else "gradient"
    return [given_grad(f"{caller}: eval_points", node, point, what) for node, point in zip(nodes, entries)]


def _report_disconnected(y: Expr, targets: Sequence[Expr], how: str) -> None:
    rows = [(role, f"{x.label}  {x.type}", x.where) for role, x in (("f", y), *(("wrt", x) for x in targets))]
    fix = "is it built from those variables? disconnected_outputs='ignore' gives a derivative of 0"
    complain(report(f"Rop: {y.label} does not depend on any of wrt", rows, fix), how)


# -- all rows -----------------------------------------------------------------------------------------------------------


def _for_all_rows(rows: Sequence[Expr], y: Expr, v: Expr) -> list[Expr]:
    """What v times the Jacobians of `y` are for one v, for the rows of an identity matrix in the place of v: the Jacobians."""
    with made_for(y):
        many = vectorise(rows, {v: _basis(y)})
        return many if y.ndim == 1 else [reshape(m, (*shape_of(y), *shape_of(m)[1:])) for m in many]


def _basis(y: Expr) -> Expr:
    """An identity matrix whose rows have the shape of `y`: row k is 1 at the k-th element and 0 elsewhere."""
    n, *others = shape_of(y)
    for d in others:
        n = n * d
    ones = eye(n, dtype=y.dtype)
    return reshape(ones, (n, *shape_of(y))) if others else ones  # type: ignore[no-any-return]
