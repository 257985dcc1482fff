"""Integer expressions: the dims of arrays and the indices of loops, as polynomials that simplify themselves.

A dim or an index is a plain ``int``, or a `Size`: a sum of products of *atoms*. An atom is a `Symbol` (a dim known only at the
call, a loop variable) or an `Atom` (a floor division, a remainder, a minimum, a maximum, an element of an integer
buffer). Two equal polynomials are equal objects for ``==`` and ``hash``, so that "the same size by construction" is
one comparison. `UNKNOWN` stands for a dim that nobody knows while the expression is being built; it absorbs arithmetic.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class Unknown:
    """A dim that is not known yet: every arithmetic result with it is unknown too."""

    def _absorb(self, other: Any) -> Unknown:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _absorb
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _absorb

    def __neg__(self) -> Unknown:
        return self

    def __repr__(self) -> str:
        return "?"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Symbol:
    """A named integer with known bounds; `high` is inclusive, None where there is none."""

    name: str
    low: int = 0
    high: Any = None  # int, Size or None

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Atom:
    """An integer that is no polynomial: `kind` is "//", "%", "min", "max" or "load" (an element of `buffer`)."""

    kind: str
    args: tuple[Any, ...]
    buffer: Any = None

    def __str__(self) -> str:
        if self.kind in ("//", "%"):
            return f"({self.args[0]} {self.kind} {self.args[1]})"
        name = self.buffer if self.kind == "load" else self.kind
        return f"{name}({', '.join(map(str, self.args))})"


class Size:
    """A polynomial with integer coefficients over atoms; made by `symbol` and by arithmetic, never directly."""

    __slots__ = ("terms", "_hash")

    def __init__(self, terms: dict[tuple[Any, ...], int]):
        self.terms = terms
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Size) and self.terms == other.terms)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __add__(self, other: Dim) -> Dim:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return _sum(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _sum(-self, other, 1)

    def __neg__(self) -> Dim:
        return self * -1

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, Unknown):
            return other
        if not isinstance(other, Size):
            factor = int(other)  # type: ignore[call-overload]
            return self if factor == 1 else Size({k: a * factor for k, a in self.terms.items()}) if factor else 0
        terms: dict[tuple[Any, ...], int] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                key = tuple(sorted(left + right, key=str)) if left and right else left or right
                terms[key] = terms.get(key, 0) + a * b
        return _make(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __rmod__(self, other: int) -> Dim:
        return mod(other, self)

    def __str__(self) -> str:
        parts = []
        for atoms, factor in sorted(self.terms.items(), key=lambda item: (not item[0], str(item[0]))):
            names = [str(a) for a in atoms]
            parts.append("*".join([str(factor)] * (factor != 1 or not names) + names))
        return " + ".join(parts)

    __repr__ = __str__


Dim = int | Size | Unknown


def symbol(name: str, low: int = 0, high: Dim | None = None) -> Size:
    """Return the polynomial that is one named integer.

    >>> n = symbol("n")
    >>> (2 * n + 4) // 2, (n * n - n * n)
    (n + 2, 0)
    """
    return Size({(Symbol(name, low, high),): 1})


def load(buffer: Any, *index: Dim) -> Size:
    """Return the integer that the element of a buffer holds, as an atom of an index."""
    return Size({(Atom("load", index, buffer),): 1})


def _terms(x: Dim) -> dict[tuple[Any, ...], int]:
    if isinstance(x, Size):
        return x.terms
    return {(): int(x)} if x else {}  # type: ignore[arg-type]


def _make(terms: dict[tuple[Any, ...], int]) -> Dim:
    if 0 in terms.values():
        terms = {k: v for k, v in terms.items() if v}
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    return Size(terms)


def _sum(x: Dim, y: Dim, sign: int) -> Dim:
    if isinstance(y, Unknown):
        return y
    if not isinstance(y, Size) and not hasattr(y, "__index__"):
        return NotImplemented
    terms = dict(_terms(x))
    for key, value in _terms(y).items():
        terms[key] = terms.get(key, 0) + sign * value
    return _make(terms)


def bounds(x: Dim) -> tuple[int | None, int | None]:
    """Return what is known of the smallest and the largest value of `x`, None for unbounded."""
    if isinstance(x, Unknown):
        return None, None
    low: int | None = 0
    high: int | None = 0
    for atoms, factor in _terms(x).items():
        term_low, term_high = factor, factor
        for atom in atoms:
            term_low, term_high = _times((term_low, term_high), _atom_bounds(atom))  # type: ignore[assignment]
        low = None if low is None or term_low is None else low + term_low
        high = None if high is None or term_high is None else high + term_high
    return low, high


def _times(x: tuple[int | None, int | None], y: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    """Bounds of a product whose second factor is mostly non-negative; unknown where it may be negative."""
    if y[0] is None or y[0] < 0:
        if None in x or None in y:
            return None, None
        corners = [a * b for a in x for b in y]  # type: ignore[operator]
        return min(corners), max(corners)
    low = None if x[0] is None else (x[0] * y[0] if x[0] >= 0 else (None if y[1] is None else x[0] * y[1]))
    high = None if x[1] is None else (x[1] * y[0] if x[1] <= 0 else (None if y[1] is None else x[1] * y[1]))
    return low, high


def _atom_bounds(atom: Any) -> tuple[int | None, int | None]:
    if isinstance(atom, Symbol):
        return atom.low, (bounds(atom.high)[1] if atom.high is not None else None)
    if atom.kind == "load":
        return None, None
    a, b = (bounds(arg) for arg in atom.args[:2])
    if atom.kind == "%":
        return 0, (None if b[1] is None else b[1] - 1)
    if atom.kind == "//":
        least = b[0] or 0
        positive = least > 0
        low = a[0] // b[1] if positive and a[0] is not None and b[1] else (0 if positive and (a[0] or -1) >= 0 else None)
        return low, (a[1] // least if positive and a[1] is not None and a[1] >= 0 else None)
    pick = min if atom.kind == "min" else max
    known = [[e for e in side if e is not None] for side in zip(a, b)]
    one_side = 1 if atom.kind == "min" else 0  # min(a, b) <= either high; max(a, b) >= either low
    return tuple(  # type: ignore[return-value]
        pick(k) if len(k) == 2 or (k and i == one_side) else None for i, k in enumerate(known)
    )


def nonnegative(x: Dim) -> bool:
    """Tell whether `x` is surely 0 or more."""
    low = bounds(x)[0]
    return low is not None and low >= 0


def below(x: Dim, limit: Dim) -> bool:
    """Tell whether ``x < limit`` surely holds; symbols are replaced by their symbolic upper bounds."""
    for _ in range(8):
        low = bounds(limit - x)[0]  # type: ignore[operator]
        if low is not None and low > 0:
            return True
        raised = _raise(x)
        if raised == x:
            return False
        x = raised
    return False


def _raise(x: Dim) -> Dim:
    """Replace one symbol that has a symbolic upper bound, in terms where that makes `x` larger, by that bound."""
    seen = Counter(atom.name for atom in atoms_of(x) if isinstance(atom, Symbol))
    for atoms, factor in _terms(x).items():
        for atom in atoms:
            if isinstance(atom, Symbol) and atom.high is not None and factor > 0 and seen[atom.name] == 1:
                return substitute(x, {atom.name: atom.high})
    return x


def floordiv(x: Dim, y: Dim) -> Dim:
    """Floor division that keeps what divides exactly outside.

    >>> i, l = symbol("i"), symbol("l", 0, 15)
    >>> floordiv(16 * i + l, 16)
    i
    """
    if isinstance(x, Unknown) or isinstance(y, Unknown):
        return UNKNOWN
    if isinstance(y, int) and y == 0:
        return 0  # only an empty array has such an index
    if isinstance(x, int) and isinstance(y, int):
        return x // y
    if y == 1:
        return x
    whole, rest = _split(x, y)
    if below(rest, y) and nonnegative(rest):
        return whole
    inner = _single(rest)
    if inner is not None and inner.kind == "//" and bounds(y)[0] is not None and bounds(y)[0] > 0:  # type: ignore[operator]
        return whole + floordiv(inner.args[0], inner.args[1] * y)  # (a // b) // y == a // (b * y)
    return whole + Size({(Atom("//", (rest, y)),): 1})


def _single(x: Dim) -> Atom | None:
    """Return the atom that `x` is, if it is no more than one."""
    terms = _terms(x)
    if len(terms) != 1:
        return None
    (atoms, factor), *_ = terms.items()
    return atoms[0] if factor == 1 and len(atoms) == 1 and isinstance(atoms[0], Atom) else None


def mod(x: Dim, y: Dim) -> Dim:
    """Remainder with the sign of `y`, simplified like `floordiv`."""
    if isinstance(x, Unknown) or isinstance(y, Unknown):
        return UNKNOWN
    if isinstance(y, int) and y == 0:
        return 0
    if isinstance(x, int) and isinstance(y, int):
        return x % y
    if y == 1:
        return 0
    rest = _split(x, y)[1]
    if below(rest, y) and nonnegative(rest):
        return rest
    return Size({(Atom("%", (rest, y)),): 1})


def _split(x: Dim, y: Dim) -> tuple[Dim, Dim]:
    """Return (w, r) with ``x = w * y + r``, w holding every term of x that y divides."""
    divisor = _terms(y)
    if len(divisor) != 1:
        return 0, x
    (atoms, factor), whole, rest = next(iter(divisor.items())), {}, {}
    for key, value in _terms(x).items():
        left = _without(key, atoms)
        if left is not None and value % factor == 0:
            whole[left] = value // factor
        else:
            rest[key] = value
    return _make(whole), _make(rest)


def _without(atoms: tuple[Any, ...], divisor: tuple[Any, ...]) -> tuple[Any, ...] | None:
    left = list(atoms)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def ceildiv(x: Dim, y: Dim) -> Dim:
    """Return how many pieces of `y` cover `x`."""
    return floordiv(x + y - 1, y)  # type: ignore[operator]


def minimum(x: Dim, y: Dim) -> Dim:
    return _extreme("min", x, y)


def maximum(x: Dim, y: Dim) -> Dim:
    return _extreme("max", x, y)


def _extreme(kind: str, x: Dim, y: Dim) -> Dim:
    if isinstance(x, Unknown) or isinstance(y, Unknown):
        return UNKNOWN
    low, high = bounds(x - y)
    if x == y or (low is not None and low >= 0):
        return y if kind == "min" else x
    if high is not None and high <= 0:
        return x if kind == "min" else y
    return Size({(Atom(kind, (x, y)),): 1})


def product(dims: Iterable[Dim]) -> Dim:
    return math.prod(dims, start=1)  # type: ignore[arg-type, type-var]


def substitute(x: Dim, values: Mapping[str, Dim], load: Callable[[Atom], Dim] | None = None) -> Dim:
    """Replace symbols by name (and, where `load` is given, elements of buffers) and simplify.

    >>> n = symbol("n")
    >>> substitute(n * n + 1, {"n": 3})
    10
    """
    if not isinstance(x, Size):
        return x
    total: Dim = 0
    for atoms, factor in x.terms.items():
        term: Dim = factor
        for atom in atoms:
            term = term * _substitute_atom(atom, values, load)
        total = total + term
    return total


_REBUILD: dict[str, Callable[[Dim, Dim], Dim]] = {"//": floordiv, "%": mod, "min": minimum, "max": maximum}


def _substitute_atom(atom: Any, values: Mapping[str, Dim], load: Callable[[Atom], Dim] | None) -> Dim:
    if isinstance(atom, Symbol):
        return values[atom.name] if atom.name in values else Size({(atom,): 1})
    args = tuple(substitute(arg, values, load) for arg in atom.args)
    if atom.kind == "load":
        moved = Atom("load", args, atom.buffer)
        return load(moved) if load else Size({(moved,): 1})
    return _REBUILD[atom.kind](*args)


def atoms_of(x: Dim) -> Iterable[Any]:
    """Yield every atom of `x`, those inside other atoms too."""
    for atoms in _terms(x) if isinstance(x, Size) else ():
        for atom in atoms:
            yield atom
            if isinstance(atom, Atom):
                for arg in atom.args:
                    yield from atoms_of(arg)
