"""The matrix of the catalogue: the cases of every operation, and how far the program may be from the interpreter.

Nothing is listed here: operands follow from a record's form and from what it says it takes, so that a new operation is in the matrix
as soon as it is in the catalogue. Values are `specials`: NaN, infinities, zeros of both signs, the ends of the range, subnormals,
ordinary numbers.

=====================  ============================================================================================================
form                   bound: the difference, in units in the last place (ulp), from the NumPy interpreter
=====================  ============================================================================================================
integers and bools     0, whatever the form
view                   0
formula, one rounding  0: a comparison, a selection, one arithmetic operation
formula                8 of the result: 4 at most in ``kernels/c/scalar.h``, as many in NumPy; below the smallest normal number equal;
                       and of what it changes if an operand changes by one: j0(1e30) hangs on the last bit of its argument
reduce                 8 of the largest magnitude in the result's array, and of the sum of the magnitudes folded
kernel, composite      64 of the largest magnitude in the result's array
=====================  ============================================================================================================
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import exprc
from exprc.expr import Constant, Expr, Input
from exprc.forms import Composite, Formula, Kernel, Op, Reduce, View
from exprc.ops import CATALOGUE
from exprc.ops.view import dimshuffle, getitem
from exprc.reference import evaluate
from exprc.types import DTYPES, FLOATS, TensorType, TupleType
from tests.bounds import slack
from tests.fuzz.grow import specials

Array = np.ndarray[Any, Any]

#: NumPy leaves open which of 0.0 and -0.0 is the larger.
ZEROS_TIE = {"maximum", "minimum", "fmax", "fmin", "clip", "max", "min", "relu"}
#: Units in the last place: see the table above. Formulas state their own, `ulps`.
REDUCTION, OTHER = 8, 64


@dataclass
class Case:
    """An operation on inputs with their values."""

    label: str
    dtype: str
    inputs: dict[Input, Array]
    nodes: list[Expr]


# -- operands ----------------------------------------------------------------------------------------------------------


def line(dtype: str, k: int, n: int = 37) -> Array:
    """A vector that is no multiple of any number of lanes, another for each operand number k."""
    return np.resize(np.roll(specials(dtype), 3 * k), n)


def grid(dtype: str, k: int, count: int) -> Array:
    """Operand k of `count` that together pair every special with every other by broadcasting."""
    values = specials(dtype)
    if count > 2:
        values = values[:: max(1, len(values) // (9 if count == 3 else 4))]
    return values.reshape((-1,) + (1,) * (count - 1 - k))


def variable(a: Any, known: bool = True) -> Input:
    array = np.asarray(a)
    return Input(TensorType(array.dtype.name, array.shape if known else (None,) * array.ndim))


def case(label: str, op: Op, arrays: Sequence[Any], known: bool, view: Callable[[Expr], Expr] | None = None, **how: Any) -> Case | None:
    """Apply `op` to variables, each seen through `view`; None where the record says that it does not take these dtypes."""
    xs = [variable(a, known) for a in arrays]
    try:
        node = op(*(view(x) for x in xs) if view else xs, **how)
    except TypeError:
        return None
    return Case(label, xs[0].dtype if xs else "", {x: np.asarray(a) for x, a in zip(xs, arrays)}, items(node))


def items(node: Expr) -> list[Expr]:
    return list(exprc.forms.results(node)) if isinstance(node.type, TupleType) else [node]


def turned(x: Expr) -> Expr:
    """Backwards along every axis, axes in the other order: read through indices, not copied before."""
    back = getitem(x, (slice(None, None, -1),) * x.ndim) if x.ndim else x
    return dimshuffle(back, tuple(reversed(range(x.ndim))))


# -- cases by form -----------------------------------------------------------------------------------------------------


def cases(op: Op, known: bool = True, full: bool = True) -> list[Case]:
    """All cases of a record; with unknown dims in few dtypes; not `full`: functions in fewer dtypes and shapes, each compiled to much."""
    if op.samples is not None:
        return list(sample_cases(op, known))[:: 1 if known else 2]
    made = formula_cases(op, known, full) if isinstance(op, Formula) else reduce_cases(op, known, full) if isinstance(op, Reduce) else ()
    return [c for c in made if c is not None]


def _dtypes_of(op: Op, full: bool, native: Callable[[str], bool]) -> list[str]:
    """All dtypes; else those that the record does not cast first, and one of those it does, another for each record."""
    cast = [d for d in DTYPES if not native(d)]
    if full or not cast:
        return list(DTYPES)
    return [d for d in DTYPES if native(d)] + [cast[_number(op) % len(cast)]]


def _number(op: Op) -> int:
    return list(CATALOGUE).index(op.name)


def formula_cases(op: Formula, known: bool, full: bool) -> Iterator[Case | None]:
    """Every pair of specials; and tables read backwards, scalars and nothing at all."""
    n = len(op.operands)
    for d in _dtypes_of(op, full or op.cheap, lambda d: _native(op, d)) if known else ("float32", "int64"):
        yield case(f"{d} all pairs", op, [grid(d, k, n) for k in range(n)], known)
        if not _native(op, d) or (not full and d not in ("float32", "int16", DTYPES[_number(op) % len(DTYPES)])):
            continue
        tables = [np.resize(line(d, k), (5, 7)) for k in range(n)]
        yield case(f"{d} scalars", op, [t[0, k] for k, t in enumerate(tables)], known)
        yield case(f"{d} empty", op, [np.zeros((0, 3) if k else (1, 3), d) for k in range(n)], known)
        if full or op.cheap:
            yield case(f"{d} turned", op, tables, known, turned)


def _native(op: Formula, dtype: str) -> bool:
    try:
        return set(op.meeting([dtype] * len(op.operands))[0]) == {dtype}
    except TypeError:
        return False


def reduce_cases(op: Reduce, known: bool, full: bool) -> Iterator[Case | None]:
    """Every choice of axes, views, long rows, nothing at all, and what is not finite."""
    for d in DTYPES if known else ("float32",):
        counts = {"float32": range(4) if known else (1, 3), "int8": range(1, 4), "bool": (3,)}.get(d, ())
        some = counts if full else (1,) if d == "float32" else ()
        for axes in [a for n in some for a in itertools.combinations(range(3), n)]:
            yield case(f"{d} axes {axes}", op, [moderate(op, d, (3, 4, 5))], known, axis=axes, keepdims=len(axes) == 2)
        yield case(f"{d} turned", op, [moderate(op, d, (3, 4, 5))], known, turned, axis=(0, 2))
        if d in FLOATS and known:
            yield from _special_reductions(op, d)
        if d == "float32" or (full and d == "int8"):
            yield from _long_reductions(op, d, known)


def _long_reductions(op: Reduce, d: str, known: bool) -> Iterator[Case | None]:
    """Rows of more than one block of lanes, columns, a scalar, and nothing at all."""
    yield case(f"{d} long rows", op, [moderate(op, d, (3, 301))], known, axis=1)
    yield case(f"{d} many columns", op, [moderate(op, d, (9, 70))], known, axis=0)
    yield case(f"{d} scalar", op, [moderate(op, d, ())], known, axis=())
    yield case(f"{d} empty rows", op, [np.zeros((0, 3), d)], known, axis=1)
    if not op.nonempty:
        yield case(f"{d} of nothing", op, [np.zeros((2, 0), d)], known, axis=1)


def _special_reductions(op: Reduce, d: str) -> Iterator[Case | None]:
    x = np.resize(np.array([0, 1, np.nan, np.inf, -np.inf, -0.0, 2, 3, 5, -1, -np.inf], d), (6, 7))
    end = np.finfo(d)
    yield case(f"{d} not finite", op, [x], True, axis=1)
    yield case(f"{d} all infinite", op, [np.full((2, 3), [[np.inf], [-np.inf]], d)], True, axis=1)
    ends = [end.max, end.min, end.smallest_subnormal, -end.tiny, -0.0]
    yield case(f"{d} one special", op, [np.array([[v, 0.0] for v in ends], d)], True, axis=1)


def moderate(op: Reduce, dtype: str, shape: tuple[int, ...]) -> Array:
    """Numbers whose sums and products stay in range whatever the order; with ties for argmax."""
    rng = np.random.default_rng(sum(shape))
    if dtype in FLOATS:
        return np.asarray(np.round(rng.uniform(0.5, 1.5, shape) * 16) / 16 * rng.choice([-1, 1], shape)).astype(dtype)
    if np.dtype(op.meet(dtype)[0]).kind == "f":  # as a float the ends of an integer's range would cancel
        return np.asarray(rng.integers(0, 2 if dtype == "bool" else 50, shape)).astype(dtype)
    return np.resize(specials(dtype), shape)


def sample_cases(op: Op, known: bool) -> Iterator[Case]:
    """The record's own samples, in the other dtypes it takes; of those with floats one in which some of them are special."""
    assert op.samples is not None, f"{op.name}: a record of the form {op.form} must give samples"
    for number, (args, params) in enumerate(op.samples()):
        data = len(args) if op.data is None else op.data
        arrays, sizes = [np.asarray(a) for a in args[:data]], [Constant(np.asarray(a)) for a in args[data:]]
        for k, d in enumerate(_dtypes(op, arrays)):
            given = [_cast(a, d) if a.dtype == arrays[0].dtype else a for a in arrays]
            if (number + k) % 2 and isinstance(op, (View, Composite)) and known:
                given = [_sprinkled(a) for a in given]
            xs = [variable(a, known) for a in given]
            node = op.node((*xs, *sizes), params)
            yield Case(f"sample {number} {d} {params}", d, dict(zip(xs, given)), items(node))


def _sprinkled(a: Array) -> Array:
    """Every third number NaN, an infinity or a zero, in turn; integers stay: they may be positions."""
    if a.dtype.kind != "f" or not a.size:
        return a
    made = a.copy()
    made.reshape(-1)[::3] = np.resize(np.array([np.nan, np.inf, -0.0, -np.inf, 0.0], a.dtype), made.reshape(-1)[::3].size)
    return made


def _cast(a: Array, d: str) -> Array:
    with np.errstate(invalid="ignore"):
        return a.astype(d)


def _dtypes(op: Op, arrays: list[Array]) -> list[str]:
    """A view takes everything; of the others, what was sampled as a float comes in all widths."""
    if not arrays:
        return ["int64"]
    own = arrays[0].dtype.name
    if isinstance(op, View) and len(arrays) == 1:
        return list(DTYPES)
    return list(FLOATS) if own in FLOATS and isinstance(op, (Composite, Kernel, View)) else [own]


# -- layouts -----------------------------------------------------------------------------------------------------------


def _strided(a: Array) -> Array:
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype) if a.ndim else a
    if a.ndim:
        wide[..., ::2] = a
    return wide[..., ::2] if a.ndim else a


def _misaligned(a: Array) -> Array:
    held = np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:]
    return np.ndarray(a.shape, a.dtype, held)


#: How the arrays of a call may lie; the values are the same, so must the results be, bit for bit.
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": lambda a: np.array(a, order="C"),
    "Fortran": lambda a: np.array(a, order="F"),
    "strided": _strided,
    "negative stride": lambda a: np.flip(np.flip(a).copy()),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "misaligned": _misaligned,
}


# -- running -----------------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """A result with what the interpreter gives."""

    case: Case
    got: Array
    wanted: Array
    magnitude: float = 0.0
    change: Any = 0.0


@dataclass
class Run:
    """The results of some records, and in which layouts they were not the same."""

    found: dict[str, list[Found]]
    layouts: dict[str, list[str]]


def run(names: Sequence[str], known: bool, full: bool) -> Run:
    """Run all cases of some records as outputs of one function, called once for each layout."""
    flat = [(name, c, n) for name in names for c in cases(CATALOGUE[name], known, full) for n in c.nodes]
    flat.sort(key=lambda entry: str(entry[2].type.shape) if known else "")  # equal shapes side by side share their loops
    values = {x: a for _, c, _ in flat for x, a in c.inputs.items()}
    nodes = [n for _, _, n in flat]
    function = exprc.function(list(values), nodes, mode="compiled", on_unused_input="ignore")
    if not known:
        make_sizes_arguments(function, {next(iter(c.inputs), None) for _, c, _ in flat})
    results = function(*values.values())
    made = Run({name: [] for name in names}, {name: [] for name in names})
    for (name, c, n), got, wanted in zip(flat, results, evaluate(nodes, values)):
        made.found[name].append(Found(c, got, wanted, _magnitude(n, values), _change(n, values, wanted)))
    for layout, lay in LAYOUTS.items():
        for (name, c, _), got, first in zip(flat, function(*map(lay, values.values())), results):
            made.layouts[name] += [f"{layout}: {c.label}"] if got.tobytes() != first.tobytes() else []
    return made


def make_sizes_arguments(function: Any, first: set[Any]) -> None:
    """Let it look as if every size had taken other values before; of images (first operands) only their number, as in a network."""
    for program in getattr(function._compiled, "parts", [function._compiled]):
        for leaf, axis in program.keys:
            if leaf.ndim != 4 or (leaf in first and axis == 0):
                program.seen[leaf, axis] = {-1, -2}


def _magnitude(node: Expr, values: dict[Input, Array]) -> float:
    """For a reduction, the largest sum of the magnitudes that it folds."""
    if not isinstance(node.op, Reduce) or np.dtype(node.dtype).kind != "f":
        return 0.0
    (x,) = evaluate([node.inputs[0]], values)
    with np.errstate(all="ignore"):
        totals = np.asarray(node.op.numpy(np.abs(x), **node.params))  # type: ignore[misc]
    return float(np.max(totals[np.isfinite(totals)], initial=0))


def _change(node: Expr, values: dict[Input, Array], wanted: Array) -> Any:
    """For a function, by how much it changes where an operand goes to the next number above or below; of what becomes infinite, nothing."""
    if not isinstance(node.op, Formula) or node.op.cheap or wanted.dtype.kind != "f":
        return 0.0
    operands, most = evaluate(node.inputs, values), np.zeros(wanted.shape)
    for k, x in enumerate(operands):
        for to in (np.inf, -np.inf) if x.dtype.kind == "f" else ():
            with np.errstate(all="ignore"):
                moved = [*operands[:k], np.nextafter(x, x.dtype.type(to)), *operands[k + 1 :]]
                change = np.abs(np.asarray(node.op.numpy(*moved, **node.params), "float64") - wanted)  # type: ignore[misc]
            most = np.maximum(most, np.where(np.isfinite(change), change, 0))
    return most


@functools.cache
def batch(names: tuple[str, ...], known: bool, full: bool) -> Run:
    return run(names, known, full)


def count(names: Sequence[str], known: bool, full: bool) -> Counter[str]:
    """Cases by form."""
    made: Counter[str] = Counter()
    for name in names:
        made[CATALOGUE[name].form] += sum(len(c.nodes) for c in cases(CATALOGUE[name], known, full))
    return made


# -- comparing ---------------------------------------------------------------------------------------------------------


def check(op: Op, found: Found) -> None:
    """Compare by the table above."""
    what, got, wanted = f"{op.name}: {found.case.label}", found.got, found.wanted
    assert got.dtype == wanted.dtype, what
    assert got.shape == wanted.shape, what
    if got.dtype.kind != "f" or isinstance(op, View) or (isinstance(op, Formula) and op.cheap and rounds_once(op)):
        np.testing.assert_array_equal(got, wanted, what)
    else:
        near(what, got, wanted, tolerance(op, found))
    if got.dtype.kind == "f" and isinstance(op, Formula) and op.name not in ZEROS_TIE:
        zero = (got == 0) & (wanted == 0)
        np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(wanted)[zero], f"{what}: sign of zero")


def rounds_once(op: Formula) -> bool:
    """Whether the text has one arithmetic operation at most, and is the same for all dtypes."""
    return len(re.findall(r" [-+*/] ", op.c)) <= 1


def tolerance(op: Op, found: Found) -> Any:
    wanted, end = found.wanted, np.finfo(found.wanted.dtype)
    if isinstance(op, Formula):
        return slack(op, wanted) + end.tiny
    largest = np.max(np.abs(wanted[np.isfinite(wanted)]), initial=found.magnitude)
    return (REDUCTION if isinstance(op, Reduce) else OTHER) * max(float(largest) * float(end.eps), float(end.smallest_subnormal))


def near(what: str, got: Array, wanted: Array, error: Any) -> None:
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted), what)
    with np.errstate(all="ignore"):
        good = (got == wanted) | np.isnan(wanted) | (np.abs(got - wanted) <= error)
    places = np.argwhere(~good)[:5]
    assert good.all(), f"{what}: at {places.tolist()}: {[got[tuple(p)] for p in places]}, wanted {[wanted[tuple(p)] for p in places]}"
