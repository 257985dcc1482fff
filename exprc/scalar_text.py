"""Scalar C expressions: parses the texts of formulas and accumulators and computes them in NumPy with C's rules.

This makes the text of a record testable against its NumPy reference without a C compiler, and lets `exprc.interpret`
run Loops. The language is what the texts use: numbers, ``{name}`` operands, ``( )``, casts, calls of the functions of
``kernels/c/scalar.h`` and ``special.h``, the operators of C without assignment, and ``?:``. C's promotions hold: what is narrower than
int counts as int, integers wrap, int beside float gives float. Values may be whole arrays; then both sides of ``?:``
are computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from exprc import special_numpy
from exprc.errors import nearest, report
from exprc.types import C_TYPES, INTEGERS, is_float

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0x[\da-fA-F.]+p[+-]?\d+|0x[\da-fA-F]+|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)(?P<suffix>[fFuUlL]*)"
    r"|(?P<word>{\w+}|[A-Za-z_]\w*)|(?P<sign><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>!?:&|^~(),]))"
)
#: The binary operators, those that bind least first.
_LEVELS = tuple(level.split() for level in ("||", "&&", "|", "^", "&", "== !=", "< <= > >=", "<< >>", "+ -", "* / %"))
_TYPES = {c: name for name, c in C_TYPES.items()} | {"int": "int32", "bool": "bool"}
_DTYPES = {name: np.dtype(name) for name in C_TYPES}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_CONSTANTS = {"INFINITY": np.float32(np.inf), "NAN": np.float32(np.nan)}


# -- parsing ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parse(text: str) -> Any:
    """Return the tree of a scalar C expression, as nested tuples that start with a kind.

    Raises
    ------
    ValueError
        where the text is none, with the place where reading stopped.

    >>> parse("{a} + exp({b})")
    ('binary', '+', ('operand', 'a'), ('call', 'exp', (('operand', 'b'),)))
    """
    parser = _Parser(text)
    tree = parser.choose()
    if parser.at < len(parser.tokens):
        raise parser.error("an operator or the end")
    return tree


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str):
        self.text, self.at, self.tokens = text, 0, list[Any]()
        place = 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            if match is None:
                what = f"no scalar C expression: {text[place:].strip()!r} cannot be read"
                raise ValueError(report(what, [("text", text, "")]))
            self.tokens.append(match)
            place = match.end()

    def peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place].group().strip() if place < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """Return the next token if it is one of `wanted`, else ""."""
        token = self.peek()
        if token not in wanted or not token:
            return ""
        self.at += 1
        return token

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise self.error(repr(sign))

    def error(self, wanted: str) -> ValueError:
        found = repr(self.peek()) if self.peek() else "the end"
        what = f"no scalar C expression: {wanted} expected, {found} found"
        return ValueError(report(what, [("text", self.text, "")]))

    def choose(self) -> Any:
        condition = self.binary(0)
        if not self.take("?"):
            return condition
        yes = self.choose()
        self.expect(":")
        return "choose", condition, yes, self.choose()

    def binary(self, level: int) -> Any:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while sign := self.take(*_LEVELS[level]):
            left = "binary", sign, left, self.binary(level + 1)
        return left

    def unary(self) -> Any:
        if sign := self.take("-", "+", "!", "~"):
            return "unary", sign, self.unary()
        if self.peek() == "(" and self.peek(2) == ")" and (self.peek(1) in _TYPES or self.peek(1) == "{T}"):
            c_type = self.peek(1)
            self.at += 3
            return "cast", _TYPES.get(c_type, ""), self.unary()
        return self.primary()

    def primary(self) -> Any:
        if self.take("("):
            inside = self.choose()
            self.expect(")")
            return inside
        groups = self.tokens[self.at].groupdict() if self.at < len(self.tokens) else {}
        if groups.get("number"):
            self.at += 1
            return "number", _number(groups["number"], groups["suffix"].lower())
        if not groups.get("word"):
            raise self.error("a number, an operand or a call")
        self.at += 1
        word = groups["word"]
        if word.startswith("{"):
            return "operand", word[1:-1]
        return ("call", word, self.arguments()) if self.peek() == "(" else ("constant", word)

    def arguments(self) -> tuple[Any, ...]:
        self.expect("(")
        if self.take(")"):
            return ()
        found = [self.choose()]
        while self.take(","):
            found.append(self.choose())
        self.expect(")")
        return tuple(found)


def _number(digits: str, suffix: str) -> Any:
    """A literal with the type that C gives it: the first of the candidates that holds the value."""
    if re.search(r"[.p]|^\d+e", digits, re.IGNORECASE):
        value = float.fromhex(digits) if digits.startswith("0x") else float(digits)
        return np.float32(value) if suffix == "f" else np.float64(value)
    whole = int(digits, 0)
    kinds = ["int32", "uint32", "int64", "uint64"]
    if "u" in suffix:
        kinds = ["uint32", "uint64"]
    elif not digits.startswith("0x"):
        kinds = ["int32", "int64"]
    for kind in kinds:
        if whole <= np.iinfo(kind).max and ("l" not in suffix or "64" in kind):
            return np.dtype(kind).type(whole)
    raise ValueError(f"the literal {digits}{suffix} has no C type that holds it")


# -- the types of C --------------------------------------------------------------------------------------------------


def convert(x: Any, dtype: str) -> Any:
    """Convert a value as an assignment in C does: integers wrap, floats are truncated, everything but 0 is true."""
    if getattr(x, "dtype", None) is _DTYPES[dtype]:
        return x
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(dtype)[()]


def promoted(dtype: str) -> str:
    """Return the type that an operand counts as: what is narrower than int is int.

    >>> promoted("uint8"), promoted("bool"), promoted("uint32")
    ('int32', 'int32', 'uint32')
    """
    return "int32" if _DTYPES[dtype].itemsize < 4 and not is_float(dtype) else dtype


def common(a: str, b: str) -> str:
    """Return the type in which C computes on two operands (the usual arithmetic conversions).

    >>> common("int64", "float32"), common("int8", "uint8"), common("int64", "uint32"), common("int64", "uint64")
    ('float32', 'int32', 'int64', 'uint64')
    """
    a, b = promoted(a), promoted(b)
    floats = [d for d in (a, b) if is_float(d)]
    if floats:
        return max(floats)
    return max((a, b), key=lambda d: (_DTYPES[d].itemsize, d.startswith("u")))


def _name(x: Any) -> str:
    return _NAMES[x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype]


def _meet(*values: Any) -> list[Any]:
    """Convert operands to their common type."""
    dtype = promoted(_name(values[0]))
    for value in values[1:]:
        dtype = common(dtype, _name(value))
    return [convert(v, dtype) for v in values]


# -- operators -------------------------------------------------------------------------------------------------------


def _truth(x: Any) -> Any:
    return np.asarray(x) != 0


def _flag(x: Any) -> Any:
    return convert(x, "int32")


def _no_trap(a: Any, b: Any) -> None:
    """Integer division by 0, and of the lowest integer by -1, ends a C program: a text must keep them away."""
    lowest = (a == np.iinfo(_name(a)).min) & (b == -1) & (a < 0)
    if np.any((b == 0) | lowest):
        raise ZeroDivisionError("an integer division in C by 0, or of the lowest integer by -1, ends the program")


def _divide(a: Any, b: Any) -> Any:
    if is_float(_name(a)):
        return a / b
    _no_trap(a, b)
    quotient = a // b
    inexact = (quotient * b != a) & ((a < 0) != (b < 0))
    return quotient + inexact.astype(_name(a))


def _remainder(a: Any, b: Any) -> Any:
    _only_whole("%", a)
    _no_trap(a, b)
    return np.fmod(a, b)


def _only_whole(sign: str, *values: Any) -> None:
    if any(is_float(_name(v)) for v in values):
        raise TypeError(f"the C operator {sign} takes integers, not {' and '.join(_name(v) for v in values)}")


def _bitwise(sign: str, function: Any) -> Callable[[Any, Any], Any]:
    def apply(a: Any, b: Any) -> Any:
        _only_whole(sign, a, b)
        return function(*_meet(a, b))

    return apply


def _shift(sign: str, function: Any) -> Callable[[Any, Any], Any]:
    def apply(a: Any, b: Any) -> Any:
        _only_whole(sign, a, b)
        a = convert(a, promoted(_name(a)))
        bits = 8 * np.dtype(_name(a)).itemsize
        if np.any(np.asarray(b) < 0) or np.any(np.asarray(b) >= bits):
            raise ValueError(f"the C operator {sign} shifts {_name(a)} by 0 to {bits - 1} bits, not by {b}")
        return function(a, convert(b, _name(a)))

    return apply


def _met(function: Any, flag: bool = False) -> Callable[[Any, Any], Any]:
    def apply(a: Any, b: Any) -> Any:
        result = function(*_meet(a, b))
        return _flag(result) if flag else result

    return apply


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": _met(np.add), "-": _met(np.subtract), "*": _met(np.multiply), "/": _met(_divide), "%": _met(_remainder),
    "<": _met(np.less, True), "<=": _met(np.less_equal, True), ">": _met(np.greater, True), ">=": _met(np.greater_equal, True),
    "==": _met(np.equal, True), "!=": _met(np.not_equal, True),
    "&&": lambda a, b: _flag(_truth(a) & _truth(b)), "||": lambda a, b: _flag(_truth(a) | _truth(b)),
    "&": _bitwise("&", np.bitwise_and), "|": _bitwise("|", np.bitwise_or), "^": _bitwise("^", np.bitwise_xor),
    "<<": _shift("<<", np.left_shift), ">>": _shift(">>", np.right_shift),
}  # fmt: skip


def _invert(x: Any) -> Any:
    _only_whole("~", x)
    return np.invert(*_meet(x))


_UNARY: dict[str, Callable[[Any], Any]] = {
    "-": lambda x: np.negative(*_meet(x)), "+": lambda x: _meet(x)[0], "!": lambda x: _flag(~_truth(x)), "~": _invert,
}  # fmt: skip


# -- the functions of kernels/c/scalar.h and special.h ------------------------------------------------------------------------------


def _real(function: Any) -> Callable[..., Any]:
    """A function of floats: float32 where the operands meet in float32, else float64."""

    def apply(*values: Any) -> Any:
        met = _meet(*values)
        dtype = "float32" if _name(met[0]) == "float32" else "float64"
        return convert(function(*(convert(v, dtype) for v in met)), dtype)

    return apply


def _any(function: Any) -> Callable[..., Any]:
    """A function that serves every type, in the common type of its operands."""
    return lambda *values: function(*_meet(*values))


def _whole(function: Any) -> Callable[[Any], Any]:
    """A rounding: integers stay as they are, in 64 bits."""

    def apply(x: Any) -> Any:
        if is_float(_name(x)):
            return function(x)
        return convert(x, "uint64" if _name(x) == "uint64" else "int64")

    return apply


def _test(function: Any) -> Callable[[Any], Any]:
    return lambda x: _flag(function(x))


def _saturated(dtype: str) -> Callable[[Any], Any]:
    """A float as an integer: truncated toward 0 and held in the range of `dtype`, NaN as 0."""
    ends = np.iinfo(dtype)

    def apply(x: Any) -> Any:
        x = np.where(np.isnan(x), 0, x)
        inside = np.clip(x, np.nextafter(ends.min, 0), np.nextafter(np.float64(ends.max), 0))
        return np.where(x >= ends.max, ends.max, np.where(x <= ends.min, ends.min, inside.astype(dtype))).astype(dtype)[()]

    return apply


def _with_order(function: Any) -> Callable[..., Any]:
    """A function of floats whose last argument is a whole number."""
    return lambda *values: _real(lambda *xs: function(*xs, order=values[-1]))(*values[:-1])


def _round_away(x: Any) -> Any:
    whole = np.trunc(x)
    return np.copysign(np.abs(whole) + (np.abs(x - whole) >= 0.5), x).astype(x.dtype)


def _power(a: Any, b: Any) -> Any:
    """Floats as pow() does; integers wrap in 64 bits, and a negative exponent truncates toward 0."""
    a, b = _meet(a, b)
    if is_float(_name(a)):
        return np.power(a, b)
    wide = "uint64" if _name(a) == "uint64" else "int64"
    a, b = convert(a, wide), convert(b, wide)
    inverse = np.where(a == 1, 1, np.where(a == convert(-1, wide), 1 - 2 * (b % 2), 0))
    below = b < 0
    return np.where(below, convert(inverse, wide), np.power(a, np.where(below, 0, b).astype(wide)))[()]


_REAL_NAMES = (
    "exp exp2 expm1 log log1p log2 log10 sqrt tanh sin cos tan arcsin arccos arctan sinh cosh arcsinh arccosh arctanh "
    "arctan2 hypot copysign cbrt logaddexp"
).split()

_SPECIAL_NAMES = "erf erfc erfcx erfinv erfcinv gamma gammaln psi j0 j1 i0 i1 gammainc gammaincc".split()

#: name -> function, for every name that a text may call.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _real(getattr(np, name)) for name in _REAL_NAMES},
    "sigmoid": _real(lambda x: 1 / (1 + np.exp(-x))), "softplus": _real(lambda x: np.logaddexp(x, np.zeros_like(x))),
    **{name: _real(getattr(special_numpy, name)) for name in _SPECIAL_NAMES},
    "polygamma": _with_order(special_numpy.polygamma), "gammainc_da": _with_order(special_numpy.gammainc_da),
    "isnan": _test(np.isnan), "isinf": _test(np.isinf), "isfinite": _test(np.isfinite),
    "floor": _whole(np.floor), "ceil": _whole(np.ceil), "trunc": _whole(np.trunc), "round": _whole(np.rint),
    "round_away": _whole(_round_away), "rint": _real(np.rint), "signbit": _test(np.signbit), "second": lambda a, b: b, "abs": _any(np.abs),
    "sign": _any(np.sign), "maximum": _any(np.maximum), "minimum": _any(np.minimum),
    "mod": _any(np.remainder), "floor_divide": _any(np.floor_divide), "fmod": _any(np.fmod), "power": _power,
    "left_shift": _any(np.left_shift), "right_shift": _any(np.right_shift),
    **{f"to_{dtype}": _saturated(dtype) for dtype in INTEGERS},
    "from_half": lambda x: convert(x, "float32"), "to_half": lambda x: convert(x, "float16"), "to_half_d": lambda x: convert(x, "float16"),
}  # fmt: skip


# -- evaluation ------------------------------------------------------------------------------------------------------


def evaluate(
    text: str, values: Mapping[str, Any], dtype: str, functions: Mapping[str, Callable[..., Any]] = FUNCTIONS
) -> Any:
    """Compute a scalar C expression on values and convert the result to `dtype`.

    Parameters
    ----------
    text : the expression, with ``{name}`` where an operand stands; ``({T})`` is a cast to `dtype`, ``{lowest}`` and
        ``{highest}`` the ends of its range.
    values : the operands, NumPy scalars or arrays that broadcast; their dtypes decide how C would compute.
    dtype : what the result is assigned to.
    functions : name -> function, of all that a text may call.

    Raises
    ------
    ValueError
        for a text that is no such expression, an operand without a value, or a function that ``kernels/c/scalar.h``
        lacks.
    ZeroDivisionError
        for an integer division that would end a C program.

    Examples
    --------
    >>> int(evaluate("{a} + {b}", {"a": np.uint8(200), "b": np.uint8(100)}, "uint8"))
    44
    """
    low, high = ends(dtype)
    known = {"lowest": low, "highest": high, **values}
    with np.errstate(all="ignore"):
        return convert(_Evaluation(text, known, dtype, functions).value(parse(text)), dtype)


@cache
def ends(dtype: str) -> tuple[Any, Any]:
    """Return the lowest and the highest value of a dtype; infinities for floats.

    >>> [str(end) for end in ends("int8")]
    ['-128', '127']
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return kind.type(-np.inf), kind.type(np.inf)
    if kind.kind == "b":
        return np.False_, np.True_
    return kind.type(np.iinfo(kind).min), kind.type(np.iinfo(kind).max)


@dataclass(frozen=True)
class _Evaluation:
    """What a text is computed with."""

    text: str
    values: Mapping[str, Any]
    dtype: str
    functions: Mapping[str, Callable[..., Any]]

    def value(self, tree: Any) -> Any:
        kind, first, *rest = tree
        if kind == "number":
            return first
        if kind == "operand":
            return self.find(self.values, first, f"no value for {first} in a scalar text")
        if kind == "constant":
            return self.find(_CONSTANTS, first, f"no value for {first} in a scalar text")
        if kind == "cast":
            return convert(self.value(rest[0]), first or self.dtype)
        if kind == "call":
            function = self.find(self.functions, first, f"{first} is no function of kernels/c")
            return function(*map(self.value, rest[0]))
        parts = [self.value(part) for part in rest]
        if kind == "choose":
            return np.where(_truth(self.value(first)), *_meet(*parts))[()]
        return _UNARY[first](*parts) if kind == "unary" else _BINARY[first](*parts)

    def find(self, table: Mapping[str, Any], name: str, otherwise: str) -> Any:
        if name not in table:
            raise ValueError(report(otherwise, [("text", self.text, "")], nearest(name, table)))
        return table[name]
