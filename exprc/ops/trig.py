"""Circular and hyperbolic functions, their inverses, and degrees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from exprc.forms import Formula, formula
from exprc.ops.formula import eq, function, inv, sqr, sqrt, where

#: What `exprc.tensor` shows of this family.
__all__ = [
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cos", "cosh", "deg2rad", "rad2deg", "sin", "sinh",
    "tan", "tanh",
]  # fmt: skip

# -- circular ----------------------------------------------------------------------------------------------------------

sin = function("sin", np.sin, lambda g, y, x: g * cos(x), "sine of x, in radians")
cos: Formula = function("cos", np.cos, lambda g, y, x: -g * sin(x), "cosine of x, in radians")
tan = function("tan", np.tan, lambda g, y, x: g * (1 + sqr(y)), "tangent of x, in radians")
arcsin = function(
    "arcsin", np.arcsin, lambda g, y, x: g / sqrt((1 - x) * (1 + x)), "the angle from -pi/2 to pi/2 whose sine is x", aliases=("asin",)
)
arccos = function(
    "arccos", np.arccos, lambda g, y, x: -g / sqrt((1 - x) * (1 + x)), "the angle from 0 to pi whose cosine is x", aliases=("acos",)
)
arctan = function(
    "arctan", np.arctan, lambda g, y, x: g / (1 + sqr(x)), "the angle from -pi/2 to pi/2 whose tangent is x", aliases=("atan",)
)


def _arctan2_grad(g: Any, y: Any, a: Any, b: Any) -> Any:
    square = sqr(a) + sqr(b)
    square = where(eq(square, 0), 1, square)  # the origin has no angle that changes: 0, not NaN
    return g * b / square, -g * a / square


arctan2 = formula(
    "arctan2", "arctan2({a}, {b})", numpy=np.arctan2, meet="float", cheap=False, grad=_arctan2_grad, aliases=("atan2",),
    doc="the angle from -pi to pi of the point with the ordinate a and the abscissa b",
)  # fmt: skip


def _scaled(name: str, factor: float, doc: str, *aliases: str) -> Formula:
    def reference(x: Any) -> Any:
        wide = np.promote_types(np.asarray(x).dtype, "float32")
        return (x * wide.type(factor)).astype(np.asarray(x).dtype)

    return formula(
        name, f"{{x}} * {factor!r}", text=lambda dtypes, dtype: f"{{x}} * {factor!r}" + "f" * (dtype != "float64"), numpy=reference,
        meet="float", grad=lambda g, y, x: g * factor, doc=doc, aliases=aliases,
    )  # fmt: skip


deg2rad = _scaled("deg2rad", math.pi / 180, "degrees as radians", "radians")
rad2deg = _scaled("rad2deg", 180 / math.pi, "radians as degrees", "degrees")

# -- hyperbolic --------------------------------------------------------------------------------------------------------

tanh = function("tanh", np.tanh, lambda g, y, x: g * (1 - sqr(y)), "hyperbolic tangent")
sinh = function("sinh", np.sinh, lambda g, y, x: g * cosh(x), "hyperbolic sine")
cosh: Formula = function("cosh", np.cosh, lambda g, y, x: g * sinh(x), "hyperbolic cosine")
arcsinh = function("arcsinh", np.arcsinh, lambda g, y, x: g * inv(sqrt(sqr(x) + 1)), "inverse of sinh", aliases=("asinh",))
arccosh = function(
    "arccosh", np.arccosh, lambda g, y, x: g * inv(sqrt((x - 1) * (x + 1))), "inverse of cosh, from x = 1 on; NaN below",
    domain=((1.3, 2.5),), aliases=("acosh",),
)  # fmt: skip
arctanh = function(
    "arctanh", np.arctanh, lambda g, y, x: g * inv((1 - x) * (1 + x)), "inverse of tanh; NaN outside of -1 to 1", aliases=("atanh",)
)
