"""The elementwise operations that others are written in: casts, arithmetic, comparison, choice, exponentials and logarithms.

Each is one scalar expression, applied at every index of the broadcast operands. The functions in the texts (`exp`, `mod`, `sign` ...)
are those of ``kernels/c/scalar.h``, which serve every dtype. Each gradient is written with these same operations and the operators of
expressions, so that it can be differentiated again. More elementwise operations: `rounding`, `bits`, `trig`, `special`, `numbers`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import _CAST, Arg, Formula, fill_dims, formula, split_dims
from exprc.size import UNKNOWN, Dim, floordiv, product
from exprc.size import maximum as larger_size
from exprc.size import minimum as smaller_size
from exprc.types import DTYPES, dtype_name, float_of, is_float, is_integer, promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = [
    "abs_", "add", "cast", "cbrt", "clip", "copy", "eq", "exp", "exp2", "expm1", "eye", "floor_div", "fmax", "fmin", "fmod", "ge", "gt",
    "hypot", "inv", "isfinite", "isinf", "isnan", "le", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "logical_not",
    "logical_or", "logical_xor", "lt", "maximum", "minimum", "mod", "mul", "neg", "neq", "power", "second", "sigmoid", "sign", "softplus",
    "sqr", "sqrt", "sub", "true_div", "where",
]  # fmt: skip

# -- dtypes ------------------------------------------------------------------------------------------------------------


def _cast_call(x: Any, dtype: Any) -> Expr:
    return cast.node((as_expr(x),), {"dtype": dtype_name(dtype)})


def saturated(x: np.ndarray[Any, Any], dtype: str) -> Any:
    """Floats as integers of `dtype`: truncated toward 0, NaN as 0, what is out of range as the end of the range next to it."""
    ends = np.iinfo(dtype)
    x = np.where(np.isnan(x), 0, np.asarray(x, np.longdouble))
    inside = np.clip(x, ends.min, ends.max).astype(dtype)
    return np.where(x >= ends.max, ends.max, np.where(x <= ends.min, ends.min, inside)).astype(dtype)


def _as_dtype(x: Any, dtype: str) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        return saturated(x, dtype) if x.dtype.kind == "f" and is_integer(dtype) else x.astype(dtype)


def _cast_text(dtypes: Sequence[str], dtype: str) -> str:
    source = dtypes[0]
    x = "from_half({x})" if source == "float16" else "{x}"
    if dtype == "float16":
        return "{x}" if source == dtype else "to_half_d({x})" if source == "float64" else "to_half((float)({x}))"
    return f"to_{dtype}({x})" if is_float(source) and is_integer(dtype) else f"({{T}})({x})"


_CAST_VALUES = (
    np.array([0, 1, 3, 100], "int8"), np.array([0, 2**63, 2**64 - 1], "uint64"), np.array([0, -1, 2**62 + 1, -(2**63)], "int64"),
    np.array([0.0, -0.0, 1.7, -2.5, 127.6, -128.7, 300, -1e9, 3e9, 2.0**63, -(2.0**63), 2.0**64, 1e30, np.inf, -np.inf, np.nan], "float32"),
    np.array([0.3, -0.9, 255.9, -1.5, 2.0**53 + 1, -(2.0**63), 2.0**64, 1e300, np.inf, -np.inf, np.nan]),
)  # fmt: skip

cast = formula(
    "cast", "({T})({x})", text=_cast_text, numpy=_as_dtype, dtype=lambda dtypes, dtype: dtype, call=_cast_call, size=lambda x: x,
    grad=lambda g, y, x, dtype: g, samples=lambda: [((x,), {"dtype": d}) for x in _CAST_VALUES for d in DTYPES],
    doc="`x` in another dtype. Integers wrap, everything but 0 is True as bool; floats become integers by truncation toward 0, those out "
    "of range (±infinity too) the end of the range next to them, NaN 0: the same on every machine, where C and NumPy leave it open.",
)  # fmt: skip
_CAST.append(cast)

copy = formula(
    "copy", "{x}", numpy=np.array, grad=lambda g, y, x: g, size=lambda x: x, aliases=("tensor_copy",), doc="the same values, stored anew"
)

# -- arithmetic --------------------------------------------------------------------------------------------------------

add = formula("add", "{a} + {b}", numpy=np.add, grad=lambda g, y, a, b: (g, g), size=operator.add, doc="a + b")
sub = formula(
    "sub", "{a} - {b}", numpy=np.subtract, meet="number", grad=lambda g, y, a, b: (g, -g), size=operator.sub, aliases=("subtract",),
    doc="a - b",
)  # fmt: skip
mul = formula(
    "mul", "{a} * {b}", numpy=np.multiply, grad=lambda g, y, a, b: (g * b, g * a), size=operator.mul, aliases=("multiply",), doc="a * b"
)
true_div = formula(
    "true_div", "{a} / {b}", numpy=np.true_divide, meet="float", grad=lambda g, y, a, b: (g / b, -g * y / b),
    aliases=("divide", "true_divide"), doc="a / b; integers divide to ``config.floatX``",
)  # fmt: skip
floor_div = formula(
    "floor_div", "floor_divide({a}, {b})", numpy=np.floor_divide, meet="number", size=floordiv, cheap=False,
    grad=lambda g, y, a, b: (None, None), domain=((2.1, 2.4), (0.85, 0.95)), aliases=("int_div", "floor_divide"),
    doc="the largest integer not above a / b; 0 for a division of integers by 0",
)  # fmt: skip
mod = formula(
    "mod", "mod({a}, {b})", numpy=np.remainder, meet="number", cheap=False, grad=lambda g, y, a, b: (g, -g * floor_div(a, b)),
    size=operator.mod, domain=((2.1, 2.4), (0.85, 0.95)), aliases=("remainder",),
    doc="a - b * floor_div(a, b), with the sign of b; 0 for integers modulo 0",
)  # fmt: skip
fmod = formula(
    "fmod", "fmod({a}, {b})", numpy=np.fmod, meet="number", cheap=False, domain=((2.1, 2.4), (0.85, 0.95)),
    grad=lambda g, y, a, b: (g, -g * sign(a) * sign(b) * floor_div(abs_(a), abs_(b))),
    doc="the remainder of a / b with the sign of a, as C gives it; 0 for integers modulo 0",
)  # fmt: skip
neg = formula(
    "neg", "-{x}", numpy=np.negative, meet="number", grad=lambda g, y, x: -g, size=operator.neg, aliases=("negative",), doc="-x"
)
abs_ = formula(
    "abs", "abs({x})", numpy=np.abs, grad=lambda g, y, x: g * sign(x), aliases=("abs_", "absolute"),
    doc="|x|; of the lowest integer, which has no positive, itself",
)  # fmt: skip
sign: Formula = formula(
    "sign", "sign({x})", numpy=np.sign, meet="number", grad=lambda g, y, x: None, aliases=("sgn",),
    doc="-1, 0 or 1 as x is below, at or above 0; NaN for NaN",
)  # fmt: skip
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


fmax = formula(
    "fmax", "{a} != {a} ? {b} : {b} != {b} ? {a} : maximum({a}, {b})", numpy=np.fmax,
    grad=lambda g, y, a, b: _shared_extreme(g, y, a, b), doc="the larger of a and b, the other one where one is NaN",
)  # fmt: skip
fmin = formula(
    "fmin", "{a} != {a} ? {b} : {b} != {b} ? {a} : minimum({a}, {b})", numpy=np.fmin,
    grad=lambda g, y, a, b: _shared_extreme(g, y, a, b), doc="the smaller of a and b, the other one where one is NaN",
)  # fmt: skip


def _shared_extreme(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    tie = where(eq(a, b), 0.5, 1.0)
    return where(eq(y, a), g * tie, 0), where(eq(y, b), g * tie, 0)




def _clip_call(x: Any, min: Any = None, max: Any = None, *, a_min: Any = None, a_max: Any = None) -> Expr:
    """Return `x` held between `min` and `max` (NumPy's `a_min` and `a_max`), either of which may be None."""
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is None and high is None:
        raise TypeError(report("clip: give one of min and max"))
    if is_integer(dtype := as_expr(x).dtype):  # an int beyond what the dtype holds bounds nothing
        low = np.iinfo(dtype).min if type(low) is int and low < np.iinfo(dtype).min else low
        high = np.iinfo(dtype).max if type(high) is int and high > np.iinfo(dtype).max else high
    if high is None:
        return maximum(x, low)  # type: ignore[no-any-return]
    return minimum(x, high) if low is None else clip.apply(x, low, high)  # type: ignore[no-any-return]


clip = formula(
    "clip", "minimum(maximum({x}, {low}), {high})", numpy=np.clip, call=_clip_call, domain=((0.3, 0.9), (0.1, 0.25), (0.92, 1.2)),
    grad=lambda g, y, x, low, high: (
        where(logical_and(ge(x, low), le(x, high)), g, 0), where(lt(x, low), g, 0), where(gt(x, high), g, 0)),
    doc="x held between low and high; the gradient passes where low <= x <= high",
)  # fmt: skip
where: Formula = formula(
    "where", "{c} ? {a} : {b}", numpy=np.where,
    meet=lambda dtypes: (("bool", *[promote(dtypes[1:])] * 2), promote(dtypes[1:])),
    grad=lambda g, y, c, a, b: (None, where(c, g, 0), where(c, 0, g)), aliases=("switch",), doc="a where c is true, else b",
)  # fmt: skip
second = formula(
    "second", "second({a}, {b})", numpy=lambda a, b: np.broadcast_arrays(a, b)[1].copy(),
    meet=lambda dtypes: (tuple(dtypes), dtypes[1]), grad=lambda g, y, a, b: (None, g), aliases=("fill",),
    doc="b, broadcast to the shape in which it meets a",
)  # fmt: skip

# -- comparison and logic ----------------------------------------------------------------------------------------------


def _compare(name: str, symbol: str, reference: Any, *aliases: str) -> Any:
    return formula(
        name, f"{{a}} {symbol} {{b}}", numpy=reference, meet="compare", grad=lambda g, y, a, b: (None, None), aliases=aliases,
        doc=f"whether a {symbol} b, as bool",
    )  # fmt: skip


lt: Formula = _compare("lt", "<", np.less, "less")
le: Formula = _compare("le", "<=", np.less_equal, "less_equal")
gt: Formula = _compare("gt", ">", np.greater, "greater")
ge: Formula = _compare("ge", ">=", np.greater_equal, "greater_equal")
eq = _compare("eq", "==", np.equal, "equal")
neq = _compare("neq", "!=", np.not_equal, "not_equal")


logical_and: Formula = formula(
    "logical_and", "{a} && {b}", numpy=np.logical_and, meet="logic", grad=lambda g, y, a, b: (None, None), doc="a and b"
)
logical_or = formula("logical_or", "{a} || {b}", numpy=np.logical_or, meet="logic", grad=lambda g, y, a, b: (None, None), doc="a or b")
logical_xor = formula(
    "logical_xor", "!{a} != !{b}", numpy=np.logical_xor, meet="logic", grad=lambda g, y, a, b: (None, None), doc="a or b, not both"
)
logical_not = formula("logical_not", "!{x}", numpy=np.logical_not, meet="logic", grad=lambda g, y, x: None, doc="not x")
isnan = formula("isnan", "{x} != {x}", numpy=lambda x: x != x, meet="compare", grad=lambda g, y, x: None, doc="whether x is NaN")
isinf = formula(
    "isinf", "isinf({x})", numpy=np.isinf, meet=lambda d: ((float_of(d[0]),), "bool"), grad=lambda g, y, x: None,
    doc="whether x is ±infinity",
)  # fmt: skip
isfinite = formula(
    "isfinite", "isfinite({x})", numpy=np.isfinite, meet=lambda d: ((float_of(d[0]),), "bool"), grad=lambda g, y, x: None,
    doc="whether x is a number and not ±infinity",
)  # fmt: skip

# -- exponentials, logarithms, powers ----------------------------------------------------------------------------------


def function(name: str, reference: Any, grad: Any, doc: str, **record: Any) -> Any:
    """Declare a function of one float that ``kernels/c`` has under the same name."""
    return formula(name, f"{name}({{x}})", numpy=reference, meet="float", cheap=False, grad=grad, doc=doc, **record)


exp = function("exp", np.exp, lambda g, y, x: g * y, "e to the power x")
exp2 = function("exp2", np.exp2, lambda g, y, x: g * y * float(np.log(2)), "2 to the power x")
expm1 = function("expm1", np.expm1, lambda g, y, x: g * exp(x), "exp(x) - 1, accurate for small x")
log = function("log", np.log, lambda g, y, x: g / x, "natural logarithm; NaN below 0, -inf at 0")
log2 = function("log2", np.log2, lambda g, y, x: g / (x * float(np.log(2))), "logarithm to base 2")
log10 = function("log10", np.log10, lambda g, y, x: g / (x * float(np.log(10))), "logarithm to base 10")
log1p = function("log1p", np.log1p, lambda g, y, x: g / (1 + x), "log(1 + x), accurate for small x")
sqrt = formula("sqrt", "sqrt({x})", numpy=np.sqrt, meet="float", grad=lambda g, y, x: g / (2 * y), doc="square root; NaN below 0")
cbrt = function("cbrt", np.cbrt, lambda g, y, x: g / (3 * sqr(y)), "cube root")
sqr = formula(
    "sqr", "{x} * {x}", size=lambda x: x * x, numpy=np.square, meet="number", grad=lambda g, y, x: 2 * g * x, aliases=("square",),
    doc="x * x",
)  # fmt: skip
inv = formula(
    "inv", "1 / {x}", numpy=lambda x: 1 / x, meet="float", grad=lambda g, y, x: -g * sqr(y), aliases=("reciprocal",),
    doc="1 / x; of integers in ``config.floatX``",
)  # fmt: skip
hypot = formula(
    "hypot", "hypot({a}, {b})", numpy=np.hypot, meet="float", cheap=False, grad=lambda g, y, a, b: (g * a / y, g * b / y),
    doc="sqrt(a * a + b * b), without overflow",
)  # fmt: skip
logaddexp = formula(
    "logaddexp", "logaddexp({a}, {b})", numpy=np.logaddexp, meet="float", cheap=False, least=1,
    grad=lambda g, y, a, b: (g * sigmoid(a - b), g * sigmoid(b - a)), doc="log(exp(a) + exp(b)), without overflow",
)  # fmt: skip


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
    grad=lambda g, y, a, b: (  # of a**0, which is 1 everywhere, it is 0 also at 0
        g * b * power(a, where(eq(b, 0), 0, b - 1)), g * where(eq(a, 0), 0, y * log(where(gt(a, 0), a, 1)))),
    aliases=("pow",), doc="a to the power b; a negative exponent of an integer truncates toward 0",
)  # fmt: skip

def _sigmoid(x: Any) -> Any:
    with np.errstate(all="ignore"):
        return 1 / (1 + np.exp(-x))


sigmoid = function("sigmoid", _sigmoid, lambda g, y, x: g * y * (1 - y), "1 / (1 + exp(-x))", aliases=("ultra_fast_sigmoid",))
softplus = function(
    "softplus", lambda x: np.logaddexp(x, np.zeros_like(x)), lambda g, y, x: g * sigmoid(x), "log(1 + exp(x)), without overflow"
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
