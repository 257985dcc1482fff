"""Every record of the catalogue: the compiled program against the NumPy interpreter on the graph as it was built. See `matrix`.

The cases of several records are outputs of one function, so that they cost one compile, and cases of equal shape meet in one loop. The
default suite takes the functions, whose loops are long to compile, in fewer dtypes and shapes than the long one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import exprc
from exprc.forms import Composite, Formula, Kernel, Op, Reduce, View
from exprc.ops import CATALOGUE
from exprc.reference import evaluate
from exprc.types import DTYPES
from tests.ops.matrix import LAYOUTS, Case, Found, Run, batch, case, cases, check, count, moderate, turned

#: Records that share a function.
BATCH = 12
NAMES = [*CATALOGUE]
#: But for their text, formulas are all lowered alike: those that use an index, and one for each number of operands.
OF_SIZES = [
    op.name for op in CATALOGUE.values() if not isinstance(op, Formula) or op.shape or op.name in ("neg", "add", "where")
]


def outcome(name: str, known: bool, full: bool) -> Run:
    """The run of a record's batch; of the record alone where others of its batch do not compile, or sizes are arguments.

    (With sizes as arguments compilers take far longer for all in one text than for one after the other.)
    """
    start = NAMES.index(name) // BATCH * BATCH
    try:
        return batch(tuple(NAMES[start : start + BATCH]) if known else (name,), known, full)
    except Exception:
        return batch((name,), known, full)


def hold(name: str, known: bool, full: bool) -> None:
    made = outcome(name, known, full)
    for found in made.found[name]:
        check(CATALOGUE[name], found)
    assert made.layouts[name] == []


@pytest.mark.parametrize("name", NAMES)
def test_compiled_is_the_interpreter(name: str) -> None:
    hold(name, known=True, full=False)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_compiled_is_the_interpreter_in_full(name: str) -> None:
    hold(name, known=True, full=True)


@pytest.mark.long
@pytest.mark.parametrize("name", OF_SIZES)
def test_sizes_as_arguments(name: str) -> None:
    """The same with no dim known before the call, and every size above 1 an argument of the program."""
    hold(name, known=False, full=False)


# -- that nothing is left out ------------------------------------------------------------------------------------------


def test_every_operation_is_in_the_matrix() -> None:
    assert {op.form for op in CATALOGUE.values()} <= {"formula", "view", "reduce", "composite", "kernel", "nested"}
    without = [op.name for op in CATALOGUE.values() if not cases(op, full=False)]
    assert without == [], "these have no case: a record that is neither a formula nor a reduction gives `samples`"


def test_every_dtype_and_layout_is_in_the_matrix() -> None:
    """Each form in every dtype; each formula in every dtype that it takes without a cast, on scalars and on nothing."""
    for form in (Formula, View, Reduce):
        seen = {c.dtype for op in CATALOGUE.values() if isinstance(op, form) for c in cases(op, full=False)}
        assert seen >= set(DTYPES), form.form
    for form in (Composite, Kernel):
        seen = {c.dtype for op in CATALOGUE.values() if isinstance(op, form) for c in cases(op, full=False)}
        assert seen >= {"float32", "float64"}, form.form
    shapes = [x.shape for op in CATALOGUE.values() for c in cases(op, full=False) for x in c.inputs.values()]
    assert shapes.count(()) > 50 and sum(0 in s for s in shapes) > 50
    assert set(LAYOUTS) == {"contiguous", "Fortran", "strided", "negative stride", "byte-swapped", "misaligned"}


def test_matrix_is_counted() -> None:
    for title, full, known in (("default", False, True), ("long", True, True), ("sizes as arguments", False, False)):
        made = count(NAMES if known else OF_SIZES, known, full)
        print(f"{title:<20} {sum(made.values())} cases × {len(LAYOUTS)} layouts: {dict(made)}")
        assert sum(made.values()) > 500 if known else 100


def test_layouts_keep_the_values() -> None:
    for lay in LAYOUTS.values():
        for a in (np.arange(12, dtype="int16").reshape(3, 4), np.float64(2.5), np.zeros((0, 3), "float32")):
            made = lay(np.asarray(a))
            np.testing.assert_array_equal(made, a)
    assert not LAYOUTS["misaligned"](np.arange(3.0)).flags.aligned
    assert not LAYOUTS["byte-swapped"](np.arange(3.0)).dtype.isnative
    assert LAYOUTS["negative stride"](np.arange(6.0).reshape(2, 3)).strides == (-24, -8)


# -- long reductions ---------------------------------------------------------------------------------------------------


def cut_cases() -> Iterator[tuple[Op, Case]]:
    """Many elements to few results: such sums are cut in parts, whose joints must not show. Ties, and NaN in two of the parts."""
    for op in [op for op in CATALOGUE.values() if isinstance(op, Reduce)]:
        for shape, axis in [((70000,), 0), ((2, 40000), None), ((16, 5, 1024), (0, 2)), ((70001, 3), 0)]:
            x = moderate(op, "float32", shape)
            if op.name == "prod":
                x[np.random.default_rng(0).random(shape) < 0.999] = 1
            made = [case(f"{shape}, axes {axis}", op, [x], True, axis=axis)]
            made.append(case(f"{shape}, axes {axis} of int16", op, [moderate(op, "int16", shape)], True, axis=axis))
            yield from ((op, c) for c in made if c is not None)
        x = moderate(op, "float32", (17, 5000))
        x[[5, 12], [70, 3]] = np.nan
        found = case("NaN", op, [x], True, turned, axis=None)
        yield from [(op, found)] if found is not None else []


def test_reductions_cut_in_parts() -> None:
    made = list(cut_cases())
    values: dict[Any, Any] = {x: a for _, c in made for x, a in c.inputs.items()}
    nodes = [n for _, c in made for n in c.nodes]
    function = exprc.function(list(values), nodes, mode="compiled")
    assert sum("in 16 parts" in line for line in function.explain(True).splitlines()) > len(nodes) / 3
    for (op, c), got, wanted in zip(made, function(*values.values()), evaluate(nodes, values)):
        magnitude = float(np.sum(np.abs(next(iter(c.inputs.values())), dtype="float64"), where=~np.isnan(next(iter(c.inputs.values())))))
        check(op, Found(c, got, wanted, magnitude))
