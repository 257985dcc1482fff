"""Every record of the catalogue: the compiled program against the NumPy interpreter on the graph as it was built.

Nothing is listed here: operands follow from a record's form and from what it says it takes. The cases of several records are outputs of one
function, so that they cost one compile, and cases of equal shape meet in one loop.

How far apart two results may lie: integers, bools, comparisons, views and formulas of one rounding not at all; functions 8 units in the
last place (4 at most in ``kernels/c/scalar.h``, as many in NumPy's float32 functions), where results below the smallest normal number
count as equal; reductions, kernels and what is made of them 1e-5 (float32) or 1e-12 (float64) of the largest magnitude in the result.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import exprc
from exprc.expr import Constant, Expr, Input
from exprc.forms import Composite, Formula, Kernel, Op, Reduce, View
from exprc.ops import CATALOGUE
from exprc.ops.view import dimshuffle, getitem
from exprc.reference import evaluate
from exprc.types import DTYPES, FLOATS, TensorType, TupleType

Array = np.ndarray[Any, Any]

#: NumPy leaves open which of 0.0 and -0.0 is the larger.
ZEROS_TIE = {"maximum", "minimum", "clip", "max", "min", "relu"}


@dataclass
class Case:
    """An operation on inputs with their values."""

    label: str
    inputs: dict[Input, Array]
    nodes: list[Expr]


# -- values and operands -----------------------------------------------------------------------------------------------


def extremes(dtype: str) -> Array:
    """What goes wrong: zeros of both signs, the ends of the range, NaN and infinities, and numbers in between."""
    if dtype == "bool":
        return np.array([False, True])
    if "int" in dtype:
        info = np.iinfo(dtype)
        wanted = [0, 1, 2, 3, 7, 64, 100, info.max, info.max - 1, -1, -2, -7, info.min, info.min + 1]
        return np.array([v for v in wanted if info.min <= v <= info.max], dtype)
    info_ = np.finfo(dtype)
    ends = [info_.max, info_.min, info_.tiny, info_.smallest_subnormal, -info_.tiny, info_.eps, 1 + info_.eps]
    return np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 3.25, 88.5, -103.0, 1e4, -1e10, np.nan, np.inf, -np.inf, *ends], dtype)


def line(dtype: str, k: int, n: int = 37) -> Array:
    """A vector that is no multiple of any number of lanes, another for each operand number k."""
    return np.resize(np.roll(extremes(dtype), 3 * k), n)


def grid(dtype: str, k: int, count: int) -> Array:
    """Operand k of `count` that together pair every extreme with every other by broadcasting."""
    values = extremes(dtype)
    if count == 3:
        values = values[:: max(1, len(values) // 9)]
    return values.reshape((-1,) + (1,) * (count - 1 - k))


def strided(a: Array) -> Array:
    """The same values, every second element of a larger array from its end."""
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::-2] = a
    return wide[..., ::-2]


def variable(a: Any, known: bool = True) -> Input:
    array = np.asarray(a)
    return Input(TensorType(array.dtype.name, array.shape if known else (None,) * array.ndim))


def case(label: str, op: Any, arrays: list[Any], params: Any = None, seen: Any = None, known: bool = True) -> Case | None:
    """Apply `op` to variables (each seen through `seen`); None where the record says it does not take these dtypes."""
    xs = [variable(a, known) for a in arrays]
    operands = [seen(x) for x in xs] if seen else xs
    try:
        node = op(*operands) if params is None else op.node(tuple(operands), params)
    except TypeError:
        return None
    return Case(label, {x: np.asarray(a) for x, a in zip(xs, arrays)}, items(node))


def items(node: Expr) -> list[Expr]:
    return list(exprc.forms.results(node)) if isinstance(node.type, TupleType) else [node]


def turned(x: Expr) -> Expr:
    """Backwards along every axis, axes in the other order: read through indices, not copied before."""
    back = getitem(x, (slice(None, None, -1),) * x.ndim) if x.ndim else x
    return dimshuffle(back, tuple(reversed(range(x.ndim))))


# -- cases by form -----------------------------------------------------------------------------------------------------


def formula_cases(op: Formula, known: bool = True) -> Iterator[Case | None]:
    """Every dtype; those that the record does not cast first, in every form that operands can have."""
    n = len(op.operands)
    for d in DTYPES if known else ("float32",):
        if not op.cheap and not _native(op, d) and d not in ("bool", "int64", "uint8"):
            continue  # a function's loop is long to compile, and but for the cast it is that of floats
        yield case(f"{d} all pairs", op, [strided(grid(d, k, n)) for k in range(n)], known=known)
        if not _native(op, d) or (not op.cheap and d not in ("float32", "int64")):
            continue
        tables = [np.resize(line(d, k), (5, 7)) for k in range(n)]
        yield case(f"{d} Fortran, turned", op, [np.asfortranarray(t) for t in tables], seen=turned, known=known)
        yield case(f"{d} scalars", op, [t[0, k] for k, t in enumerate(tables)], known=known)
        yield case(f"{d} empty", op, [np.zeros((0, 3) if k else (1, 3), d) for k in range(n)], known=known)


def _native(op: Formula, dtype: str) -> bool:
    try:
        return set(op.meeting([dtype] * len(op.operands))[0]) == {dtype}
    except TypeError:
        return False


def reduce_cases(op: Reduce, known: bool = True) -> Iterator[Case]:
    for d in DTYPES if known else ("float32",):
        some = {"float32": range(4) if known else (1, 3), "int8": range(1, 4), "bool": (3,)}.get(d, ())
        for axes in [a for n in some for a in itertools.combinations(range(3), n)]:
            yield reduced(op, f"{d} axes {axes}", moderate(op, d, (3, 4, 5)), known, axis=axes, keepdims=len(axes) == 2)
        yield reduced(op, f"{d} turned", moderate(op, d, (3, 4, 5)), known, axis=(0, 2), view=turned)
        if d in ("float32", "int8"):
            yield from _long_cases(op, d, known)


def _long_cases(op: Reduce, d: str, known: bool) -> Iterator[Case]:
    """Rows of more than one block of lanes, columns, views, nothing at all, and what is not finite."""
    yield reduced(op, f"{d} long rows", moderate(op, d, (3, 301)), known, axis=1)
    yield reduced(op, f"{d} many columns", strided(moderate(op, d, (9, 70))), known, axis=0)
    yield reduced(op, f"{d} of nothing", np.zeros((0, 3), d), known, axis=1)
    if not op.nonempty:
        yield reduced(op, f"{d} no elements", np.zeros((2, 0), d), known, axis=1)
    if d in FLOATS and known:
        x = np.resize(np.array([0, 1, np.nan, np.inf, -np.inf, -0.0, 2, 3, 5, -1, -np.inf], d), (6, 7))
        yield reduced(op, f"{d} not finite", x, known, axis=1)
        yield reduced(op, f"{d} not finite columns", x, known, axis=0)
        yield reduced(op, f"{d} all infinite", np.full((2, 3), [[np.inf], [-np.inf]], d), known, axis=1)


def moderate(op: Reduce, dtype: str, shape: tuple[int, ...]) -> Array:
    """Numbers whose sums and products stay in range whatever the order; with ties for argmax."""
    rng = np.random.default_rng(sum(shape))
    if dtype in FLOATS:
        return (np.round(rng.uniform(0.5, 1.5, shape) * 16) / 16 * rng.choice([-1, 1], shape)).astype(dtype)
    return np.resize(extremes(dtype), shape) if op.name != "mean" else rng.integers(0, 2 if dtype == "bool" else 50, shape).astype(dtype)


def reduced(op: Reduce, label: str, x: Array, known: bool, view: Any = None, **how: Any) -> Case:
    v = variable(x, known)
    return Case(label, {v: x}, [op(view(v) if view else v, **how)])


def sample_cases(op: Op, known: bool = True) -> Iterator[Case]:
    """The record's own samples, in the other dtypes it takes; every second one strided."""
    assert op.samples is not None, f"{op.name}: a record of the form {op.form} must give samples"
    for number, (args, params) in enumerate(op.samples()):
        data = len(args) if op.data is None else op.data
        arrays, sizes = [np.asarray(a) for a in args[:data]], [Constant(np.asarray(a)) for a in args[data:]]
        for k, d in enumerate(_dtypes(op, arrays)):
            given = [_cast(a, d) if a.dtype == arrays[0].dtype else a for a in arrays]
            given = [strided(a) if a.ndim and k % 2 else a for a in given]
            xs = [variable(a, known) for a in given]
            node = op.node((*xs, *sizes), params)
            yield Case(f"sample {number} {d} {params}", dict(zip(xs, given)), items(node))


def _cast(a: Array, dtype: str) -> Array:
    with np.errstate(invalid="ignore"):
        return a.astype(dtype)


def _dtypes(op: Op, arrays: list[Array]) -> list[str]:
    """A view takes everything; of the others, what was sampled as a float comes in both widths."""
    if not arrays:
        return ["int64"]
    own = arrays[0].dtype.name
    if isinstance(op, View) and len(arrays) == 1:
        return list(DTYPES)
    return list(FLOATS) if own in FLOATS and isinstance(op, (Composite, Kernel, View)) else [own]


def cases(op: Op, known: bool) -> list[Case]:
    """All cases of a record; with unknown dims, in few dtypes."""
    if op.samples is not None:
        return list(sample_cases(op, known))[:: 1 if known else 2]
    if isinstance(op, Formula):
        return [c for c in formula_cases(op, known) if c is not None]
    assert isinstance(op, Reduce), f"{op.name}: a record of the form {op.form} must give samples"
    return list(reduce_cases(op, known))


# -- comparing ---------------------------------------------------------------------------------------------------------


def check(op: Op, case: Case, got: Array, wanted: Array) -> None:
    what = f"{op.name}: {case.label}"
    assert got.dtype == wanted.dtype, what
    assert got.shape == wanted.shape, what
    if got.dtype.kind != "f" or isinstance(op, View) or (isinstance(op, Formula) and op.cheap):
        np.testing.assert_array_equal(got, wanted, what)
    elif isinstance(op, Formula):
        with np.errstate(over="ignore", invalid="ignore"):
            near(what, got, wanted, 8 * np.spacing(np.abs(wanted)) + np.finfo(got.dtype).tiny)
    else:
        finite = np.abs(wanted[np.isfinite(wanted)])
        near(what, got, wanted, (1e-5 if got.dtype == np.float32 else 1e-12) * max(finite.max(initial=0), 1e-30))
    if got.dtype.kind == "f" and isinstance(op, Formula) and op.name not in ZEROS_TIE:
        zero = (got == 0) & (wanted == 0)
        np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(wanted)[zero], f"{what}: sign of zero")


def near(what: str, got: Array, wanted: Array, tolerance: Any) -> None:
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted), what)
    with np.errstate(all="ignore"):
        good = (got == wanted) | np.isnan(wanted) | (np.abs(got - wanted) <= tolerance)
    places = np.argwhere(~good)[:5]
    assert good.all(), f"{what}: at {places.tolist()}: {[got[tuple(p)] for p in places]}, wanted {[wanted[tuple(p)] for p in places]}"


# -- running -----------------------------------------------------------------------------------------------------------

#: Records that share a function.
BATCH = 7
NAMES = [*CATALOGUE]


@functools.cache
def outcomes(names: tuple[str, ...], known: bool) -> dict[str, list[tuple[Case, Array, Array]]]:
    """Run all cases of some records in one function: for each record its cases, what came out, and what the interpreter gives."""
    made = {name: cases(CATALOGUE[name], known) for name in names}
    flat = [(name, c, n) for name, all_cases in made.items() for c in all_cases for n in c.nodes]
    flat.sort(key=lambda entry: str(entry[2].type.shape) if known else "")  # equal shapes side by side share their loops
    values = {x: a for _, c, _ in flat for x, a in c.inputs.items()}
    nodes = [n for _, _, n in flat]
    function = exprc.function(list(values), nodes, mode="compiled", on_unused_input="ignore")
    if not known:
        make_sizes_arguments(function, {next(iter(c.inputs), None) for _, c, _ in flat})
    found: dict[str, list[tuple[Case, Array, Array]]] = {name: [] for name in names}
    for (name, c, _), got, wanted in zip(flat, function(*values.values()), evaluate(nodes, values)):
        found[name].append((c, got, wanted))
    return found


def make_sizes_arguments(function: Any, first: set[Any]) -> None:
    """Let it look as if every size had taken other values before; of images (first operands) only their number, as in a network."""
    for leaf, axis in function._compiled.keys:
        if leaf.ndim != 4 or (leaf in first and axis == 0):
            function._compiled.seen[leaf, axis] = {-1, -2}


def outcome(op: Op, known: bool) -> list[tuple[Case, Array, Array]]:
    """A record alone where others of its batch do not compile."""
    names = NAMES if known else [o.name for o in OF_SIZES]
    start = names.index(op.name) // BATCH * BATCH
    try:
        return outcomes(tuple(names[start : start + BATCH]), known)[op.name]
    except Exception:
        return outcomes((op.name,), known)[op.name]


RECORDS = [pytest.param(op, id=op.name) for op in CATALOGUE.values()]


@pytest.mark.parametrize("op", RECORDS)
def test_compiled_is_the_interpreter(op: Op) -> None:
    for found in outcome(op, known=True):
        check(op, *found)


def cut_cases() -> Iterator[tuple[Op, Case]]:
    """Many elements to few results: such sums are cut in parts, whose joints must not show. Ties, and NaN in two of the parts."""
    for op in [op for op in CATALOGUE.values() if isinstance(op, Reduce)]:
        for shape, axis in [((70000,), 0), ((2, 40000), None), ((16, 5, 1024), (0, 2)), ((70001, 3), 0)]:
            x = moderate(op, "float32", shape)
            if op.name == "prod":
                x[np.random.default_rng(0).random(shape) < 0.999] = 1
            yield op, reduced(op, f"{shape}, axes {axis}", x, True, axis=axis)
            yield op, reduced(op, f"{shape}, axes {axis} of int16", moderate(op, "int16", shape), True, axis=axis)
        x = moderate(op, "float32", (17, 5000))
        x[[5, 12], [70, 3]] = np.nan
        yield op, reduced(op, "NaN", x, True, view=turned)


def test_reductions_cut_in_parts() -> None:
    made = list(cut_cases())
    values = {x: a for _, c in made for x, a in c.inputs.items()}
    nodes = [n for _, c in made for n in c.nodes]
    function = exprc.function(list(values), nodes, mode="compiled")
    assert sum("in 16 parts" in line for line in function.explain(True).splitlines()) > len(nodes) / 3
    for (op, c), got, wanted in zip(made, function(*values.values()), evaluate(nodes, values)):
        check(op, c, got, wanted)


#: But for their text, formulas are all lowered alike: those that use an index, and one for each number of operands.
OF_SIZES = [op for op in CATALOGUE.values() if not isinstance(op, Formula) or op.shape or op.name in ("neg", "add", "where")]


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OF_SIZES])
def test_sizes_as_arguments(op: Op) -> None:
    """The same with no dim known before the call, and every size above 1 an argument of the program."""
    for found in outcome(op, known=False):
        check(op, *found)
