"""Elementwise operations: one scalar expression each, applied at every index of the broadcast operands.

The functions in the texts (`exp`, `mod`, `sign` ...) are those of ``kernels/c/scalar.h``, which serve every dtype. Each gradient is
written with these same operations and the operators of expressions, so that it can be differentiated again.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.expr import Expr, as_expr
from exprc.forms import _CAST, Arg, Formula, fill_dims, formula, split_dims
from exprc.size import UNKNOWN, Dim, floordiv, product
from exprc.size import maximum as larger_size
from exprc.size import minimum as smaller_size
from exprc.types import dtype_name, float_of, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "abs_", "add", "bitwise_and", "bitwise_or", "bitwise_xor", "cast", "ceil", "clip", "cos", "cosh", "eq", "erf",
    "exp", "exp2", "expm1", "eye", "floor", "floor_div", "ge", "gt", "inv", "invert", "isinf", "isnan", "le", "log",
    "log10", "log1p", "log2", "logical_and", "logical_not", "logical_or", "lt", "maximum", "minimum", "mod", "mul",
    "neg", "neq", "power", "round_", "sigmoid", "sign", "sin", "sinh", "softplus", "sqr", "sqrt", "sub", "tanh",
    "true_div", "where",
]  # fmt: skip

# -- dtypes ------------------------------------------------------------------------------------------------------------


def _cast_call(x: Any, dtype: Any) -> Expr:
    return cast.node((as_expr(x),), {"dtype": dtype_name(dtype)})


def _as_dtype(x: np.ndarray[Any, Any], dtype: str) -> Any:
    with np.errstate(invalid="ignore"):
        return np.asarray(x).astype(dtype)


cast = formula(
    "cast", "({T})({x})", numpy=_as_dtype, dtype=lambda dtypes, dtype: dtype, call=_cast_call, size=lambda x: x,
    grad=lambda g, y, x, dtype: g,
    samples=lambda: [((x,), {"dtype": d}) for x in (np.array([0, 1, 3, 100], "int8"), np.array([0.0, 1.7, -2.5], "float32"))
                     for d in ("bool", "int8", "int32", "int64", "float32", "float64")],
    doc="`x` in another dtype: floats are truncated toward 0, everything but 0 is True as bool.",
)  # fmt: skip
_CAST.append(cast)

copy = formula("copy", "{x}", numpy=np.array, grad=lambda g, y, x: g, size=lambda x: x, doc="the same values, stored anew")

# -- arithmetic --------------------------------------------------------------------------------------------------------

add = formula("add", "{a} + {b}", numpy=np.add, grad=lambda g, y, a, b: (g, g), size=operator.add, doc="a + b")
sub = formula(
    "sub", "{a} - {b}", numpy=np.subtract, meet="number", grad=lambda g, y, a, b: (g, -g), size=operator.sub, doc="a - b"
)
mul = formula("mul", "{a} * {b}", numpy=np.multiply, grad=lambda g, y, a, b: (g * b, g * a), size=operator.mul, doc="a * b")
true_div = formula(
    "true_div", "{a} / {b}", numpy=np.true_divide, meet="float", grad=lambda g, y, a, b: (g / b, -g * y / b),
    doc="a / b; integers divide to ``config.floatX``",
)  # fmt: skip
floor_div = formula(
    "floor_div", "floor_divide({a}, {b})", numpy=np.floor_divide, meet="number", size=floordiv, cheap=False,
    grad=lambda g, y, a, b: (None, None), doc="the largest integer not above a / b; 0 for a division of integers by 0",
)  # fmt: skip
mod = formula(
    "mod", "mod({a}, {b})", numpy=np.remainder, meet="number", cheap=False, grad=lambda g, y, a, b: (g, -g * floor_div(a, b)),
    size=operator.mod, doc="a - b * floor_div(a, b), with the sign of b; 0 for integers modulo 0",
)  # fmt: skip
neg = formula("neg", "-{x}", numpy=np.negative, meet="number", grad=lambda g, y, x: -g, size=operator.neg, doc="-x")
abs_ = formula("abs", "abs({x})", numpy=np.abs, grad=lambda g, y, x: g * sign(x), doc="|x|")
sign: Formula = formula(
    "sign", "sign({x})", numpy=np.sign, meet="number", grad=lambda g, y, x: None, doc="-1, 0 or 1 as x is below, at or above 0; NaN for NaN"
)
maximum = formula(
    "maximum", "maximum({a}, {b})", numpy=np.maximum, size=larger_size,
    grad=lambda g, y, a, b: _shared_extreme(g, y, a, b),
    doc="the larger of a and b, NaN if either is; at a tie each takes half of the gradient",
)  # fmt: skip
minimum = formula(
    "minimum", "minimum({a}, {b})", numpy=np.minimum, size=smaller_size,
    grad=lambda g, y, a, b: _shared_extreme(g, y, a, b),
    doc="the smaller of a and b, NaN if either is; at a tie each takes half of the gradient",
)  # fmt: skip


def _shared_extreme(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    tie = where(eq(a, b), 0.5, 1.0)
    return where(eq(y, a), g * tie, 0), where(eq(y, b), g * tie, 0)


clip = formula(
    "clip", "minimum(maximum({x}, {low}), {high})", numpy=np.clip,
    grad=lambda g, y, x, low, high: (
        where(logical_and(ge(x, low), le(x, high)), g, 0), where(lt(x, low), g, 0), where(gt(x, high), g, 0)),
    doc="x held between low and high; the gradient passes where low <= x <= high",
)  # fmt: skip
where: Formula = formula(
    "where", "{c} ? {a} : {b}", numpy=np.where,
    meet=lambda dtypes: (("bool", *[promote(dtypes[1:])] * 2), promote(dtypes[1:])),
    grad=lambda g, y, c, a, b: (None, where(c, g, 0), where(c, 0, g)), doc="a where c is true, else b",
)  # fmt: skip

# -- comparison and logic ----------------------------------------------------------------------------------------------


def _compare(name: str, symbol: str, reference: Any) -> Any:
    return formula(
        name, f"{{a}} {symbol} {{b}}", numpy=reference, meet="compare", grad=lambda g, y, a, b: (None, None),
        doc=f"whether a {symbol} b, as bool",
    )  # fmt: skip


lt: Formula = _compare("lt", "<", np.less)
le: Formula = _compare("le", "<=", np.less_equal)
gt: Formula = _compare("gt", ">", np.greater)
ge: Formula = _compare("ge", ">=", np.greater_equal)
eq = _compare("eq", "==", np.equal)
neq = _compare("neq", "!=", np.not_equal)


def _bits(name: str, symbol: str, reference: Any) -> Any:
    return formula(
        name, f"{{a}} {symbol} {{b}}", numpy=reference, grad=lambda g, y, a, b: (None, None), meet=_only_integers(name),
        doc=f"a {symbol} b, bit by bit; logical for bool",
    )  # fmt: skip


def _only_integers(name: str) -> Any:
    def meet(dtypes: Sequence[str]) -> tuple[Sequence[str], str]:
        dtype = promote(dtypes)
        if "float" in dtype:
            raise TypeError(f"{name} takes bools and integers, not {', '.join(dtypes)}")
        return (dtype,) * len(dtypes), dtype

    return meet


bitwise_and = _bits("bitwise_and", "&", np.bitwise_and)
bitwise_or = _bits("bitwise_or", "|", np.bitwise_or)
bitwise_xor = _bits("bitwise_xor", "^", np.bitwise_xor)
invert = formula(
    "invert", "{x} ^ ({T})-1", numpy=np.invert, grad=lambda g, y, x: None, meet=_only_integers("invert"),
    doc="every bit turned; logical not for bool",
)  # fmt: skip
logical_and: Formula = formula(
    "logical_and", "{a} && {b}", numpy=np.logical_and, meet="logic", grad=lambda g, y, a, b: (None, None), doc="a and b"
)
logical_or = formula("logical_or", "{a} || {b}", numpy=np.logical_or, meet="logic", grad=lambda g, y, a, b: (None, None), doc="a or b")
logical_not = formula("logical_not", "!{x}", numpy=np.logical_not, meet="logic", grad=lambda g, y, x: None, doc="not x")
isnan = formula("isnan", "{x} != {x}", numpy=lambda x: x != x, meet="compare", grad=lambda g, y, x: None, doc="whether x is NaN")
isinf = formula(
    "isinf", "isinf({x})", numpy=np.isinf, meet=lambda d: ((float_of(d[0]),), "bool"), grad=lambda g, y, x: None,
    doc="whether x is ±infinity",
)  # fmt: skip

# -- exponentials, logarithms, powers ----------------------------------------------------------------------------------


def _float(name: str, reference: Any, grad: Any, doc: str) -> Any:
    return formula(name, f"{name}({{x}})", numpy=reference, meet="float", cheap=False, grad=grad, doc=doc)


exp = _float("exp", np.exp, lambda g, y, x: g * y, "e to the power x")
exp2 = _float("exp2", np.exp2, lambda g, y, x: g * y * float(np.log(2)), "2 to the power x")
expm1 = _float("expm1", np.expm1, lambda g, y, x: g * exp(x), "exp(x) - 1, accurate for small x")
log = _float("log", np.log, lambda g, y, x: g / x, "natural logarithm; NaN below 0, -inf at 0")
log2 = _float("log2", np.log2, lambda g, y, x: g / (x * float(np.log(2))), "logarithm to base 2")
log10 = _float("log10", np.log10, lambda g, y, x: g / (x * float(np.log(10))), "logarithm to base 10")
log1p = _float("log1p", np.log1p, lambda g, y, x: g / (1 + x), "log(1 + x), accurate for small x")
sqrt = formula("sqrt", "sqrt({x})", numpy=np.sqrt, meet="float", grad=lambda g, y, x: g / (2 * y), doc="square root; NaN below 0")
sqr = formula("sqr", "{x} * {x}", size=lambda x: x * x, numpy=np.square, meet="number", grad=lambda g, y, x: 2 * g * x, doc="x * x")
inv = formula("inv", "1 / {x}", numpy=lambda x: 1 / x, meet="float", grad=lambda g, y, x: -g * sqr(y), doc="1 / x")


def _power(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.power(a, b) if a.dtype.kind == "f" or np.all(b >= 0) else _integer_power(a, b)


def _integer_power(a: Any, b: Any) -> Any:
    """NumPy refuses negative integer exponents; here they truncate toward 0, as 1 / a**-b does in C."""
    positive = np.power(a, np.maximum(b, 0))
    negative = np.where(a == 1, 1, np.where(a == -1, np.where(b % 2 == 0, 1, -1), 0))
    return np.where(b >= 0, positive, negative).astype(positive.dtype)


def _power_size(a: Dim, b: Dim) -> Dim:
    return product([a] * b) if isinstance(b, int) and 0 <= b <= 8 else UNKNOWN


power: Formula = formula(
    "power", "power({a}, {b})", numpy=_power, size=_power_size, meet="number", cheap=False,
    grad=lambda g, y, a, b: (g * b * power(a, b - 1), g * where(eq(a, 0), 0, y * log(where(gt(a, 0), a, 1)))),
    doc="a to the power b; a negative exponent of an integer truncates toward 0",
)  # fmt: skip

# -- trigonometric and hyperbolic --------------------------------------------------------------------------------------

sin = _float("sin", np.sin, lambda g, y, x: g * cos(x), "sine of x, in radians")
cos: Formula = _float("cos", np.cos, lambda g, y, x: -g * sin(x), "cosine of x, in radians")
tanh = _float("tanh", np.tanh, lambda g, y, x: g * (1 - sqr(y)), "hyperbolic tangent")
sinh = _float("sinh", np.sinh, lambda g, y, x: g * cosh(x), "hyperbolic sine")
cosh: Formula = _float("cosh", np.cosh, lambda g, y, x: g * sinh(x), "hyperbolic cosine")


def _erf(x: Any) -> Any:
    import math

    return np.vectorize(math.erf, otypes=[x.dtype])(x)


erf = _float("erf", _erf, lambda g, y, x: g * float(2 / np.sqrt(np.pi)) * exp(-sqr(x)), "error function")


def _sigmoid(x: Any) -> Any:
    with np.errstate(all="ignore"):
        return 1 / (1 + np.exp(-x))


sigmoid = _float("sigmoid", _sigmoid, lambda g, y, x: g * y * (1 - y), "1 / (1 + exp(-x))")
softplus = _float(
    "softplus", lambda x: np.logaddexp(x, np.zeros_like(x)), lambda g, y, x: g * sigmoid(x), "log(1 + exp(x)), without overflow"
)


def _rounding_meet(dtypes: Sequence[str]) -> tuple[Sequence[str], str]:
    return (float_of(dtypes[0]),), float_of(dtypes[0])


floor = formula("floor", "floor({x})", numpy=np.floor, meet=_rounding_meet, grad=lambda g, y, x: None, doc="largest integer not above x")
ceil = formula("ceil", "ceil({x})", numpy=np.ceil, meet=_rounding_meet, grad=lambda g, y, x: None, doc="smallest integer not below x")
round_ = formula(
    "round", "round({x})", numpy=np.rint, meet=_rounding_meet, grad=lambda g, y, x: None, doc="nearest integer, halves to even"
)

# -- constants of the index --------------------------------------------------------------------------------------------


def _dims(args: Sequence[Arg], shape: tuple[int | None, ...], **params: Any) -> tuple[Any, ...]:
    return tuple(larger_size(d, 0) for d in fill_dims(shape, [a.value for a in args]))


def _iota_call(n: Any) -> Expr:
    static, sizes = split_dims(n)
    return iota.node(sizes, {"shape": static})


iota = formula(
    "iota", "{i0}", data=0, shape=_dims, dtype=lambda dtypes, **p: "int64", call=_iota_call,
    numpy=lambda *sizes, shape: np.arange(fill_dims(shape, sizes)[0]),
    grad=lambda g, y, *sizes, shape: (), samples=lambda: [((), {"shape": (n,)}) for n in (0, 1, 7)],
    doc="0, 1 ... n-1 as int64",
)  # fmt: skip


def _eye_call(n: Any, m: Any = None, k: int = 0, dtype: Any = "floatX") -> Expr:
    """Ones on the k-th diagonal of an (n, m) matrix, zeros elsewhere."""
    static, sizes = split_dims((n, n if m is None else m))
    return eye.node(sizes, {"shape": static, "k": int(k), "dtype": dtype_name(dtype)})


def _eye_numpy(*sizes: Any, shape: tuple[int | None, ...], k: int, dtype: str) -> Any:
    n, m = (int(d) for d in fill_dims(shape, sizes))
    return np.eye(n, m, k, dtype)


eye = formula(
    "eye", "{i1} - {i0} == {k}", data=0, shape=lambda args, shape, k, dtype: _dims(args, shape),
    dtype=lambda dtypes, shape, k, dtype: dtype, call=_eye_call,
    numpy=_eye_numpy,
    grad=lambda g, y, *sizes, **p: (),
    samples=lambda: [((), {"shape": s, "k": k, "dtype": d})
                     for s, k, d in (((3, 4), 0, "float32"), ((4, 3), 1, "int32"), ((0, 2), -1, "float64"))],
    doc="ones on the k-th diagonal of an (n, m) matrix, zeros elsewhere",
)  # fmt: skip
