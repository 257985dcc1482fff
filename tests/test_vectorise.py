"""Vectorising: every record for several rows at once against the same rows one by one, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Constant, Input, as_expr, topological
from exprc.forms import Formula, Reduce, composite, kernel, results
from exprc.ops import CATALOGUE
from exprc.reference import evaluate
from exprc.types import tensor_type
from exprc.vectorise import vectorise

ROWS = 3

#: Records whose results are as long as the values say, so that rows cannot be stacked.
OF_DIFFERENT_LENGTH = {"flatnonzero", "unique", "bincount", "mask_index"}


def samples_of(op):
    if op.samples is not None:
        return [([np.asarray(a) for a in args], params) for args, params in op.samples()]
    if isinstance(op, Reduce):
        x = np.random.default_rng(3).standard_normal((2, 3, 2))
        x = x > 0 if op.name in ("any", "all") else x
        return [([x], {"axes": axes}) for axes in ((0,), (1, 2), (0, 1, 2))]
    if isinstance(op, Formula):
        return formula_samples(op)
    return []


def formula_samples(op):
    for dtype in ("float64", "int64", "bool"):
        try:
            wanted = op.meeting([dtype] * len(op.operands))[0]
        except TypeError:
            continue
        low, high = (0.3, 0.9) if "float" in wanted[0] else (1, 5)
        values = np.random.default_rng(5).uniform(low, high, (len(wanted), 2, 3))
        arrays = [v.astype(d) if d != "bool" else v > np.mean(v) for v, d in zip(values, wanted)]
        smaller = [a[0] if k else a for k, a in enumerate(arrays)]
        return [(arrays, {}), (smaller, {}), ([a[0, 0] for a in arrays], {})]
    return []


def rows_of(a):
    """Different values of an argument: floats changed a little, others moved on."""
    if a.dtype.kind == "f":
        return np.stack([(1 - 0.03 * k) * a for k in range(ROWS)])
    return np.stack([np.roll(a, k) if a.size else a for k in range(ROWS)])


def choices(op, args):
    """Which arguments have rows: each alone, and all of them."""
    n = len(args) if op.data is None else min(op.data, len(args))
    alone = [tuple(k == j for j in range(len(args))) for k in range(n)]
    everything = [tuple(j < n for j in range(len(args)))] if n > 1 else []
    return alone + everything


CASES = [
    (name, args, params, which)
    for name, op in sorted(CATALOGUE.items())
    if op.form != "leaf" and name not in OF_DIFFERENT_LENGTH
    for args, params in samples_of(op)
    for which in choices(op, args)
]


def parts(made):
    return list(made) if isinstance(made, tuple) else [made]


def built(case, known):
    """Expressions of a case: what to give, the vectorised results, and what they must be."""
    name, args, params, which = case
    op = CATALOGUE[name]
    many = [rows_of(a) if rowed else a for a, rowed in zip(args, which)]
    one = [Input(tensor_type(a.dtype.name, a.shape if known or not rowed else (None,) * a.ndim)) for a, rowed in zip(args, which)]
    values, swap = {}, {}
    for x, a, rowed in zip(one, many, which):
        if rowed:
            swap[x] = Input(tensor_type(a.dtype.name, a.shape if known else (None,) * a.ndim))
        values[swap.get(x, x)] = a
    data = len(args) if op.data is None else op.data
    inputs = [as_expr(a) if k >= data else x for k, (x, a) in enumerate(zip(one, args))]
    roots = parts(results(op.node(tuple(inputs), params)))
    wanted = [by_hand(roots, one, many, which, k) for k in range(ROWS)]
    return vectorise(roots, swap), values, [np.stack(w) for w in zip(*wanted)]


def by_hand(roots, one, many, which, k):
    return evaluate(roots, {x: a[k] if rowed else a for x, a, rowed in zip(one, many, which)})


def same(made, wanted, what):
    assert made.shape == wanted.shape, what
    tolerance = {"float32": 2e-5, "float64": 1e-12}.get(wanted.dtype.name, 0)
    np.testing.assert_allclose(made, wanted, rtol=tolerance, atol=tolerance, err_msg=what)


def described(case):
    name, args, params, which = case
    return f"{name} {[f'{a.dtype}{a.shape}' for a in args]} {params} rows in {which}"


@pytest.mark.parametrize("name", sorted({name for name, *_ in CASES}))
def test_rows_of_every_record(name):
    for case in (c for c in CASES if c[0] == name):
        made, values, wanted = built(case, known=True)
        for y, w in zip(evaluate(made, values), wanted):
            same(y, w, described(case))


def test_most_of_the_catalogue_is_tried():
    assert len({name for name, *_ in CASES}) + len(OF_DIFFERENT_LENGTH) > 0.95 * sum(op.form != "leaf" for op in CATALOGUE.values())


#: What its rule does not serve: rows in these arguments.
UNSERVED = {("searchsorted", (True, False)), ("searchsorted", (True, True)), ("conv2d", (True, True)), ("conv2d_grad_input", (True, True)),
            ("conv2d_grad_weight", (True, True))}  # fmt: skip


def has_rule(case):
    """Whether rows whose number is not known can be worked out at once."""
    op, which = CATALOGUE[case[0]], case[3]
    if op.batched is not None:
        return (op.name, which[:2]) not in UNSERVED
    return op.form in ("reduce", "composite", "view") or (op.form == "formula" and op.shape is None)


@pytest.mark.parametrize("name", sorted({name for name, *_ in CASES if CATALOGUE[name].form != "formula"} | {"where", "uniform_f32"}))
def test_rows_whose_number_is_known_only_at_the_call(name):
    for case in (c for c in CASES if c[0] == name):
        if not has_rule(case):
            with pytest.raises(TypeError, match=f"{name} cannot be worked out for an unknown number of rows at once"):
                built(case, known=False)
            continue
        made, values, wanted = built(case, known=False)
        for y, w in zip(evaluate(made, values), wanted):
            same(y, w, described(case))


def test_every_view_and_nearly_every_kernel_has_a_rule():
    without = {name for name, op in CATALOGUE.items() if op.form in ("view", "kernel") and op.batched is None}
    assert without <= OF_DIFFERENT_LENGTH | {"dim"}


def compiled(cases, known):
    """All cases in one function: what it gives for each, beside what it must."""
    inputs, values, outputs, wanted, names = [], [], [], [], []
    for case in cases:
        made, given, right = built(case, known)
        inputs += given
        values += given.values()
        outputs += made
        wanted += right
        names += [described(case)] * len(made)
    f = exprc.function(inputs, outputs, on_unused_input="ignore")
    for y, w, name in zip(f(*values), wanted, names):
        same(y, w, name)


def one_each(cases):
    """Of every record the first case, and the one in which all arguments have rows."""
    found = {}
    for case in cases:
        found.setdefault((case[0], all(case[3][:2])), case)
    return list(found.values())


def test_rows_compiled_whose_number_is_known_only_at_the_call():
    compiled([c for c in one_each(CASES) if CATALOGUE[c[0]].form in ("view", "kernel") and has_rule(c)], known=False)


@pytest.mark.long
@pytest.mark.parametrize("known", [True, False])
def test_rows_of_every_case_compiled(known):
    cases = [c for c in CASES if CATALOGUE[c[0]].form != "formula" and (known or has_rule(c))]
    for start in range(0, len(cases), 80):
        compiled(cases[start : start + 80], known)


# -- what is shared, and what is refused ------------------------------------------------------------------------------------------------


def test_what_does_not_depend_on_the_rows_stays_the_same_node():
    x, w = T.vector("x"), T.matrix("w")
    heavy = T.exp(w)
    [y, z] = vectorise([T.dot(x, heavy), heavy.sum()], {x: T.matrix("many")})
    assert heavy in topological([y]) and x not in topological([y, z])
    assert z.ndim == 1


def test_lengths_are_those_of_one_row():
    x, many = T.vector("x"), T.matrix("many")
    [y] = vectorise([x / T.cast(x.shape[0], "float32")], {x: many})
    assert value(y, {many: [[3, 6, 9], [0, 3, 3]]}).tolist() == [[1, 2, 3], [0, 1, 1]]


def test_no_rows():
    x, many = T.vector("x"), T.matrix("many")
    w = Constant(np.ones((3, 2), "float32"))
    [y] = vectorise([T.softmax(T.dot(x, w))], {x: many})
    assert value(y, {many: np.zeros((0, 3), "float32")}).shape == (0, 2)


def test_several_values_at_once():
    a, b = T.scalar("a"), T.vector("b")
    many_a, many_b = T.vector("many_a"), T.matrix("many_b")
    [y] = vectorise([a * b], {a: many_a, b: many_b})
    assert value(y, {many_a: [1, 2], many_b: [[1, 1], [1, 3]]}).tolist() == [[1, 1], [2, 6]]


def test_gradient_modifiers_stay():
    x, many = T.vector("x"), T.matrix("many")
    [y] = vectorise([T.grad_scale(x, 3.0) * 2], {x: many})
    assert np.array_equal(value(exprc.grad(y.sum(), many), {many: np.ones((2, 2))}), np.full((2, 2), 6))


def test_a_long_chain():
    x, many = T.scalar("x"), T.vector("many")
    y = x
    for _ in range(5000):
        y = y + 1
    [rows] = vectorise([y], {x: many})
    assert evaluate([rows], {many: np.array([0, 1], "float32")})[0].tolist() == [5000, 5001]


def value(expr, values):
    return evaluate([expr], {x: np.asarray(v, x.dtype) for x, v in values.items()})[0]


def text_of(error, function):
    with pytest.raises(error) as caught:
        function()
    return str(caught.value)


def test_rows_of_another_rank_or_dtype():
    x = T.vector("x")
    for many in (T.vector("many"), T.dmatrix("many")):
        text = text_of(ValueError, lambda many=many: vectorise([x * 2], {x: many}))
        assert "rows must have one axis more than what they are values of" in text and "many" in text and "test_vectorise.py:" in text


odd = kernel(
    "odd", shape=lambda args: args[0].shape, dtype=lambda dtypes: dtypes[0], numpy=lambda x: x[::-1].copy(),
)  # fmt: skip


def test_a_users_kernel_without_a_rule_is_unrolled_or_refused():
    x = T.vector("x", shape=(2,))
    [y] = vectorise([odd(x)], {x: Constant(np.array([[1, 2], [3, 4]], "float32"))})
    assert evaluate([y], {})[0].tolist() == [[2, 1], [4, 3]]
    text = text_of(TypeError, lambda: vectorise([odd(x)], {x: T.matrix("many", shape=(None, 2))}))
    assert text.startswith("odd cannot be worked out for an unknown number of rows at once") and "made at test_vectorise.py:" in text
    assert "specify_shape" in text and "at most 512" in text
    text = text_of(TypeError, lambda: vectorise([odd(x)], {x: T.matrix("many", shape=(513, 2))}))
    assert text.startswith("odd cannot be worked out for 513 rows at once")


def test_results_of_different_lengths_are_refused():
    x = T.vector("x", shape=(4,))
    text = text_of(TypeError, lambda: vectorise([T.flatnonzero(x)], {x: T.matrix("many", shape=(2, 4))}))
    assert "flatnonzero: the length of its result would differ from row to row" in text and "made at test_vectorise.py:" in text


def test_a_users_operation_is_opened():
    @composite
    def both(x, y):
        return x * y, y + 1

    x, y, many = T.vector("x"), T.vector("y"), T.matrix("many")
    product, more = vectorise(both(x, y), {x: many})
    at = {many: np.array([[1, 2], [3, 4]], "float32"), y: np.array([1, 10], "float32")}
    assert value(product, at).tolist() == [[1, 20], [3, 40]]
    assert value(more, at).tolist() == [[2, 11], [2, 11]]
