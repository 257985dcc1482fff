"""The check of a gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from exprc.config import config
from exprc.errors import report
from exprc.expr import Expr, Input, as_expr
from exprc.forms import cast_to
from exprc.grad import grad
from exprc.ops.formula import add, mul
from exprc.ops.reduce import sum_
from exprc.reference import evaluate
from exprc.types import is_float, tensor_type


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
    if not callable(fun):
        fix = "for example verify_grad(lambda x: x**2, [[1.0, 2.0]])"
        raise TypeError(report(f"verify_grad: a function of expressions is needed, not {getattr(fun, 'label', repr(fun))}", fix=fix))
    if isinstance(points, np.ndarray):
        fix = "for a function of one argument: [points]"
        raise TypeError(report("verify_grad: points is a list with one array per argument, not an array", fix=fix))
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
