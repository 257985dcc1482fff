"""Every record of the catalogue: the compiled program against the NumPy interpreter on the graph as it was built.

Nothing is listed here: operands follow from a record's form and from what it says it takes. All cases of a record are outputs of one function, so that
a record costs one compile, and cases of equal shape meet in one loop.

How far apart two results may lie: integers, bools, comparisons, views and formulas of one rounding not at all; functions 8 units in the last place (4 at most in
``kernels/c/scalar.h``, as many in NumPy's float32 functions), where results below the smallest normal number count as equal; sums of
products and what is made of them 1e-5 (float32) or 1e-12 (float64) of the largest magnitude in the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import exprc
from exprc import compiled
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


# -- values and operands -----------------------------------------------------------------------------------------------------------------


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


# -- cases by form -------------------------------------------------------------------------------------------------------------------------


def formula_cases(op: Formula, dtypes: tuple[str, ...] = DTYPES, known: bool = True) -> Iterator[Case | None]:
    n = len(op.operands)
    for d in dtypes:
        vectors = [line(d, k) for k in range(n)]
        tables = [np.resize(v, (5, 7)) for v in vectors]
        yield case(f"{d} all pairs", op, [grid(d, k, n) for k in range(n)], known=known)
        yield case(f"{d} strided", op, [strided(v) for v in vectors], known=known)
        yield case(f"{d} Fortran", op, [np.asfortranarray(t) for t in tables], known=known)
        yield case(f"{d} turned", op, tables, seen=turned, known=known)
        yield case(f"{d} rows and columns", op, [tables[k][:1] if k % 2 else tables[k][:, :1] for k in range(n)], known=known)
        yield case(f"{d} scalars", op, [v[k] for k, v in enumerate(vectors)], known=known)
        yield case(f"{d} empty", op, [np.zeros((0, 3) if k else (1, 3), d) for k in range(n)], known=known)


def reduce_cases(op: Reduce, dtypes: tuple[str, ...] = DTYPES, known: bool = True) -> Iterator[Case]:
    for d in dtypes:
        x = moderate(op, d, (3, 4, 5))
        for axes in [a for n in range(4) for a in itertools.combinations(range(3), n)]:
            yield reduced(op, f"{d} axes {axes}", x, known, axis=axes, keepdims=len(axes) == 2)
        if d not in ("int16", "uint16", "uint32", "int32"):
            yield reduced(op, f"{d} turned", x, known, axis=(0, 2), view=turned)
            yield reduced(op, f"{d} long rows", moderate(op, d, (3, 301)), known, axis=1)
            yield reduced(op, f"{d} many columns", strided(moderate(op, d, (9, 70))), known, axis=0)
            yield reduced(op, f"{d} of nothing", np.zeros((0, 3), d), known, axis=1)
        if not op.nonempty:
            yield reduced(op, f"{d} no elements", np.zeros((2, 0), d), known, axis=1)
        if d in FLOATS:
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


def sample_cases(op: Op, known: bool = True) -> Iterator[Case | None]:
    """The record's own samples, in the other dtypes it takes, straight and strided."""
    assert op.samples is not None, f"{op.name}: a record of the form {op.form} must give samples"
    for number, (args, params) in enumerate(op.samples()):
        data = len(args) if op.data is None else op.data
        arrays, sizes = [np.asarray(a) for a in args[:data]], [Constant(np.asarray(a)) for a in args[data:]]
        for d in _dtypes(op, arrays):
            cast = [a.astype(d) if arrays and a.dtype == arrays[0].dtype and a.dtype.kind == arrays[0].dtype.kind else a for a in arrays]
            if op.form not in ("view",) and len({a.dtype for a in cast if a.dtype.kind == "f"}) > 1:
                continue
            for label, given in (("", cast), (" strided", [strided(a) if a.ndim else a for a in cast])):
                xs = [variable(a, known) for a in given]
                node = op.node((*xs, *sizes), params)
                yield Case(f"sample {number} {d} {params}{label}", dict(zip(xs, given)), items(node))


def _dtypes(op: Op, arrays: list[Array]) -> list[str]:
    """A view takes everything; of the others, what was sampled as a float comes in both widths."""
    if not arrays:
        return ["int64"]
    own = arrays[0].dtype.name
    if isinstance(op, View) and op.name not in ("dim",):
        return list(DTYPES)
    return list(FLOATS) if own in FLOATS and isinstance(op, (Composite, Kernel)) else [own]


def cases(op: Op) -> list[Case]:
    """All cases of a record."""
    if op.samples is not None:
        made: Iterator[Case | None] = sample_cases(op)
    elif isinstance(op, Formula):
        made = formula_cases(op)
    else:
        assert isinstance(op, Reduce), f"{op.name}: a record of the form {op.form} must give samples"
        made = reduce_cases(op)
    return [c for c in made if c is not None]


def few_cases(op: Op) -> list[Case]:
    """Cases of unknown dims, in few dtypes."""
    if op.samples is not None:
        made: Iterator[Case | None] = sample_cases(op, known=False)
        return [c for k, c in enumerate(c for c in made if c is not None) if k % 5 == 0]
    maker: Any = formula_cases if isinstance(op, Formula) else reduce_cases
    return [c for c in maker(op, ("float32", "int64"), False) if c is not None]


# -- comparing -------------------------------------------------------------------------------------------------------------------------------


def check(op: Op, case: Case, got: Array, wanted: Array) -> None:
    what = f"{op.name}: {case.label}"
    assert got.dtype == wanted.dtype, what
    assert got.shape == wanted.shape, what
    if got.dtype.kind != "f" or isinstance(op, View) or (isinstance(op, Formula) and op.cheap):
        np.testing.assert_array_equal(got, wanted, what)
    elif isinstance(op, Formula):
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


def run(op: Op, all_cases: list[Case]) -> None:
    """One function of all cases; each result against the interpreter's."""
    values = {x: a for c in all_cases for x, a in c.inputs.items()}
    nodes = [n for c in all_cases for n in c.nodes]
    wanted = evaluate(nodes, values)
    function = exprc.function(list(values), nodes, mode="compiled", on_unused_input="ignore")
    used = [values[x] for x in function.inputs]
    results = iter(zip(function(*used), wanted))
    for c in all_cases:
        for _ in c.nodes:
            check(op, c, *next(results))


RECORDS = [pytest.param(op, id=op.name) for op in CATALOGUE.values()]


@pytest.mark.parametrize("op", RECORDS)
def test_compiled_is_the_interpreter(op: Op) -> None:
    run(op, cases(op))


@pytest.mark.parametrize("op", RECORDS)
def test_sizes_as_arguments(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with no dim known before the call, and every size above 1 an argument of the program."""
    monkeypatch.setattr(compiled, "VALUES", 1)
    run(op, few_cases(op))
