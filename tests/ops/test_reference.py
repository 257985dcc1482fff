"""Every record of the catalogue: its NumPy reference against what its shape and dtype rules promise.

Nothing is listed here: the records say themselves what they take, so a new operation is tested by being in the catalogue.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from exprc.expr import Constant, Expr, Input
from exprc.forms import Composite, Formula, Item, Op, Reduce
from exprc.ops import CATALOGUE, families
from exprc.reference import evaluate
from exprc.types import DTYPES, TensorType, TupleType

VALUES = {
    "b": [False, True, True, False, True, False], "u": [0, 1, 2, 7, 100, 3], "i": [0, 1, -1, 2, -7, 100],
    "f": [0.0, -0.5, 2.0, np.nan, np.inf, -3.25],
}  # fmt: skip


def array_of(dtype: str, k: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Values of a dtype, others for each operand number `k`."""
    values = np.roll(np.array(VALUES[np.dtype(dtype).kind], dtype), 2 * k)
    return np.resize(values, shape) if np.prod(shape) else np.zeros(shape, dtype)


def formula_samples(op: Formula) -> Iterator[Any]:
    """Operands of every dtype the operation takes, in shapes that broadcast."""
    shapes = [((2, 3), (3,), (2, 1)), ((), (), ()), ((0, 2), (1,), (0, 1))]
    for dtype, sizes in itertools.product(DTYPES, shapes):
        try:
            op.meeting([dtype] * len(op.operands))
        except TypeError:
            continue  # it says itself that it does not take this dtype
        yield tuple(array_of(dtype, k, s) for k, s in zip(range(len(op.operands)), sizes)), {}


def reduce_samples(op: Reduce) -> Iterator[Any]:
    for dtype, axes in itertools.product(DTYPES, [(0,), (1, 2), (0, 1, 2), ()]):
        yield (array_of(dtype, 0, (2, 3, 2)).astype(op.meet(dtype)[0]),), {"axes": axes}
    if not op.nonempty:
        yield (np.zeros((2, 0), "float32").astype(op.meet("float32")[0]),), {"axes": (1,)}


def samples(op: Op) -> list[Any]:
    """The record's own samples, or what its form lets one make."""
    if op.samples is not None:
        return op.samples()
    made = {Formula: formula_samples, Reduce: reduce_samples}.get(type(op))
    assert made is not None, f"{op.name}: a record of the form {op.form} must give samples"
    return list(made(op))  # type: ignore[operator]


def build(op: Op, inputs: list[Expr], params: dict[str, Any]) -> Expr:
    """The node on these inputs, operands of a formula cast as its call casts them."""
    if isinstance(op, Formula) and op.samples is None:
        return op(*inputs)  # type: ignore[no-any-return]
    return op.node(tuple(inputs), params)


def types_of(node: Expr) -> tuple[TensorType, ...]:
    return node.type.items if isinstance(node.type, TupleType) else (node.type,)


def fits(shape: tuple[int, ...], type_: TensorType) -> bool:
    """Tell whether an array has the shape of a type; lengths that the data decide stay unknown in the type."""
    return len(shape) == type_.ndim and all(d in (None, n) for d, n in zip(type_.shape, shape))


def parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def leaves(op: Op, args: tuple[Any, ...], known: bool) -> list[Expr]:
    """Inputs for data; sizes stay constants where dims are to be known."""
    data = len(args) if op.data is None else op.data
    made: list[Expr] = []
    for k, a in enumerate(args):
        array = np.asarray(a)
        shape = array.shape if known else (None,) * array.ndim
        made.append(Constant(array) if k >= data and known else Input(TensorType(array.dtype.name, shape)))
    return made


CASES = [pytest.param(op, id=op.name) for op in CATALOGUE.values()]


@pytest.mark.parametrize("op", CASES)
def test_reference_has_the_inferred_type(op: Op) -> None:
    for args, params in samples(op):
        inputs = leaves(op, args, known=True)
        node = build(op, inputs, params)
        (value,) = evaluate([node], {x: np.asarray(a) for x, a in zip(inputs, args) if isinstance(x, Input)})
        for v, t in zip(parts(value), types_of(node), strict=True):
            assert fits(v.shape, t) and v.dtype == t.dtype, (args, params)


@pytest.mark.parametrize("op", CASES)
def test_reference_itself_gives_the_dtype(op: Op) -> None:
    if op.numpy is None:
        assert op.form == "composite", f"{op.name} has no reference"
    for args, params in samples(op):
        node = build(op, leaves(op, args, known=True), params)
        if node.op.numpy is None:
            continue
        dtypes = [x.dtype for x in node.inputs]
        with np.errstate(all="ignore"):
            value = node.op.numpy(*(np.asarray(a).astype(d) for a, d in zip(args, dtypes)), **node.params)
        for v, t in zip(parts(value), types_of(node), strict=True):
            assert np.asarray(v).dtype == t.dtype, (args, params)


@pytest.mark.parametrize("op", CASES)
def test_unknown_dims_contradict_nothing(op: Op) -> None:
    """With no dim known the rules know less, never something else."""
    for args, params in samples(op):
        inputs = leaves(op, args, known=False)
        loose, exact = build(op, inputs, params), build(op, leaves(op, args, known=True), params)
        for t, e in zip(types_of(loose), types_of(exact), strict=True):
            assert t.dtype == e.dtype and len(t.shape) == len(e.shape)
            assert all(a is None or a == b for a, b in zip(t.shape, e.shape)), (args, params)
        (value,) = evaluate([loose], {x: np.asarray(a) for x, a in zip(inputs, args)})
        for v, e in zip(parts(value), types_of(exact), strict=True):
            assert fits(v.shape, e)


COMPOSITES = [
    pytest.param(op, id=op.name) for op in CATALOGUE.values() if isinstance(op, Composite) and op.numpy is not None
]


@pytest.mark.parametrize("op", COMPOSITES)
def test_the_body_of_a_composite_is_its_reference(op: Composite) -> None:
    for args, params in samples(op):
        inputs = leaves(op, args, known=True)
        node = op.node(tuple(inputs), params)
        body = op.open(tuple(inputs), params)
        values = {x: np.asarray(a) for x, a in zip(inputs, args) if isinstance(x, Input)}
        got, wanted = evaluate([body], values)[0], evaluate([node], values)[0]
        tolerance = 1e-5 if got.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(got, wanted, tolerance, tolerance)
        assert got.dtype == wanted.dtype


def test_every_record_says_what_it_is() -> None:
    assert [op.name for op in CATALOGUE.values() if not op.doc] == []


def test_names_are_keys_and_unique() -> None:
    assert all(name == op.name for name, op in CATALOGUE.items())
    records = {id(v) for f in families for v in vars(f).values() if isinstance(v, Op) and not isinstance(v, Item)}
    assert len(records) == len(CATALOGUE)
