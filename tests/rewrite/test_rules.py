"""Every rule of every list: equal sides, a smaller right side, the type kept, and that it fires on the whole road."""

from __future__ import annotations

import ast

import numpy as np
import pytest

import exprc.tensor as T
from exprc.config import config
from exprc.expr import Constant, Input, rebuild, topological
from exprc.grad import grad
from exprc.reference import evaluate
from exprc.rewrite import OPTIMISE, SIMPLIFY, STABILISE, Rewriting, expand, named_by, open_user, rewrite
from exprc.rewrite.stabilise import notation
from exprc.types import TensorType, is_float

OWN = {
    "simplify": SIMPLIFY,
    "stabilise": [r for r in STABILISE if r.name not in {s.name for s in SIMPLIFY}],
    "optimise": OPTIMISE[len(SIMPLIFY) :],
}
RULES = [(name, rule, example) for name, rules in OWN.items() for rule in rules for example in rule.examples]
IDS = [f"{name}: {example[:60] if isinstance(example, str) else rule.name}" for name, rule, example in RULES]

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.7, 1e4, -1e4, np.inf, -np.inf, np.nan]

#: What a parameter of a left side stands for when the rule is tried.
PARAMS = {"axes": (1,), "axis": 0}


def variables(dtype):
    """The names that examples use: u has unknown dims, v is a vector, p and t lie between 0 and 1, k counts, i are images."""
    made = {n: Input(TensorType(dtype, (3, 4)), n) for n in "xyzpt"}
    made.update(
        u=Input(TensorType(dtype, (None, None)), "u"),
        v=Input(TensorType(dtype, (4,)), "v"),
        k=Input(TensorType("int32", (3,)), "k"),
    )
    made["i"] = Input(TensorType(dtype, (2, 3, 6, 6)), "i")
    made.update(yes=Constant(True), no=Constant(False))
    return made


def left_side(example, dtype):
    """The expression of an example, and its inputs."""
    made = variables(dtype)
    if isinstance(example, str):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Name):
                made[node.value.id] = PARAMS[node.arg]
    expr = notation.expression(example, made) if isinstance(example, str) else example(made)
    return expr, [n for n in topological([expr]) if isinstance(n, Input)]


def values(inputs, rng, edges=()):
    """Random values, with edges sprinkled among them; probabilities and class numbers are what they should be."""
    out = {}
    for x in inputs:
        shape = tuple((3, 4)[a] if d is None else d for a, d in enumerate(x.type.shape))
        a = rng.uniform(-3, 3, shape)
        if x.name in "pt":
            a = rng.uniform(0.05, 0.95, shape)
        elif edges and is_float(x.dtype):
            a = np.where(rng.random(shape) < 0.5, rng.choice(edges, shape), a)
        elif x.name == "k":
            a = rng.integers(0, 4, shape)
        out[x] = a.astype(x.dtype)
    return out


def measure(root):
    """What a graph costs, roughly: operands times elements; a view nearly nothing, a call or a division more than a sum."""
    weight = {"leaf": 0.01, "item": 0.01, "view": 0.2, "reduce": 1.5, "composite": 4, "kernel": 10}
    total = 0.0
    for node in topological([root]):
        types = [n.type if isinstance(n.type, TensorType) else n.type.items[0] for n in (node, *node.inputs)]
        sizes = [np.prod([5 if d is None else d for d in t.shape]) for t in types]
        each = weight.get(node.op.form) or (1.5 if node.op.name in ("true_div", "inv") else 1 if node.op.cheap else 4)
        each *= 0.5 + 0.25 * len(node.inputs)
        total += each if node.op.form in ("leaf", "item", "view") else each * max(sizes)
    return total


def by_rule(rule, expr):
    """The expression with one rule applied once, and whether it was: twice could undo what a wrong rule did."""
    (expr,) = rewrite([expr], [])
    for node in topological([expr]):
        tried = node.op.name in rule.roots or "*" in rule.roots
        result = rule.apply(node) if tried else None
        if result is not None and result is not node and result.type == node.type:
            return rebuild([expr], {node: result})[0], True
    return expr, False


def road(roots):
    """What `function` does with a graph, and which rules were taken on the way."""
    fired = set()
    roots = open_user(roots, named_by(STABILISE))
    for rules in (SIMPLIFY, STABILISE, None, OPTIMISE):
        if rules is None:
            roots = expand(roots)
        else:
            run = Rewriting(rules)
            roots = run.run(roots)
            fired |= set(run.fired)
    return roots, fired


def agree(a, b, dtype="float64"):
    np.testing.assert_allclose(
        a, b, rtol=1e-11 if dtype == "float64" else 2e-5, atol=1e-12 if dtype == "float64" else 1e-5, equal_nan=True
    )


def kinds(rule, example):
    """The dtypes of inputs for which the rule applies to the example."""
    found = []
    for dtype in ("float64", "float32", "int64"):
        with config.override(floatX="float64"):
            expr, inputs = left_side(example, dtype)
            if by_rule(rule, expr)[1] and (dtype != "int64" or not found):
                found.append((dtype, expr, inputs))
    return found


@pytest.mark.parametrize(("name", "rule", "example"), RULES, ids=IDS)
def test_sides_are_equal(name, rule, example):
    cases = kinds(rule, example)
    assert cases, f"{rule.name} does not apply to its own example {example}"
    edges = [e for e in EDGES if e not in rule.apart] if name != "stabilise" else []
    rng = np.random.default_rng(3)
    for dtype, expr, inputs in cases:
        right = by_rule(rule, expr)[0]
        for _ in range(4):
            at = values(inputs, rng, edges)
            agree(*evaluate([expr, right], at), "float32" if dtype == "float32" else "float64")


@pytest.mark.parametrize(("name", "rule", "example"), RULES, ids=IDS)
def test_type_is_kept_and_nothing_refused(name, rule, example):
    for _, expr, _ in kinds(rule, example):
        run = Rewriting([rule])
        assert run.run([expr])[0].type == expr.type
        assert not run.refused


@pytest.mark.parametrize(
    ("name", "rule", "example"),
    [r for r in RULES if r[0] != "stabilise"],
    ids=[i for i in IDS if not i.startswith("stab")],
)
def test_right_side_is_smaller(name, rule, example):
    for _, expr, _ in kinds(rule, example):
        assert measure(by_rule(rule, expr)[0]) < measure(expr)


@pytest.mark.parametrize(("name", "rule", "example"), RULES, ids=IDS)
def test_fires_on_the_whole_road(name, rule, example):
    """In the pipeline of `function`, or (a rule whose left side `simplify` has turned into that of another rule) in that of `grad`."""
    fired = set()
    for dtype in ("float32", "int64"):
        expr, _ = left_side(example, dtype)
        fired |= road([expr])[1]
        if name == "stabilise":
            run = Rewriting(STABILISE)
            run.run([expr])
            fired |= set(run.fired)
    assert rule.name in fired


@pytest.mark.parametrize(("name", "rule", "example"), RULES, ids=IDS)
def test_the_whole_road_keeps_values(name, rule, example):
    rng = np.random.default_rng(4)
    with config.override(floatX="float64"):
        expr, inputs = left_side(example, "float64")
    at = values(inputs, rng)
    agree(*evaluate([expr, road([expr])[0][0]], at))


STABLE = [r for r in RULES if r[0] == "stabilise"]

#: Left sides whose derivative itself overflows at 10⁴.
GROWS = {"exp(x) - 1", "exp(x) + -1", "1 - exp(x)", "exp(x) - exp(-x)"}


@pytest.mark.parametrize("far", [1e4, -1e4])
@pytest.mark.parametrize(("name", "rule", "example"), STABLE, ids=[i for i in IDS if i.startswith("stab")])
def test_gradient_of_a_stabilised_left_side_is_finite_far_out(name, rule, example, far):
    for dtype in ("float32", "float64"):
        expr, inputs = left_side(example, dtype)
        at = values(inputs, np.random.default_rng(5))
        for x in inputs:
            if x.name not in "pt" and is_float(x.dtype):
                at[x].flat[::2] = far
        wrt = [x for x in inputs if is_float(x.dtype)]
        made = evaluate(grad(T.sum(expr), wrt, disconnected_inputs="ignore"), at)
        if example in GROWS and far > 0:
            assert not any(np.any(np.isnan(g)) for g in made)
        else:
            assert all(np.all(np.isfinite(g)) for g in made)


def compiled(expr, at):
    return evaluate(road([expr])[0], at)[0]


FAR = np.array([1e4, -1e4, 0.0, 3.0])


@pytest.mark.parametrize(
    ("plain", "wanted"),
    [
        (lambda x: T.log(1 + T.exp(x)), np.maximum(FAR, 0) + np.log1p(np.exp(-abs(FAR)))),
        (lambda x: T.log(T.exp(x) / T.sum(T.exp(x))), FAR - 1e4),
        (lambda x: T.log(T.softmax(x)), FAR - 1e4),
        (lambda x: T.log(T.sum(T.exp(x))), 1e4),
        (lambda x: T.log(T.mean(T.exp(x))), 1e4 - np.log(4)),
        (lambda x: T.log(T.sigmoid(x)), -np.logaddexp(0, -FAR)),
        (lambda x: T.log(1 - T.sigmoid(x)), -np.logaddexp(0, FAR)),
        (lambda x: T.log(1 - 1 / (1 + T.exp(-x))), -np.logaddexp(0, FAR)),
        (lambda x: T.log((1 - T.sigmoid(x)).reshape((2, 2)))[:, 1], -np.logaddexp(0, FAR[1::2])),
        (lambda x: (T.exp(2 * x) - 1) / (T.exp(2 * x) + 1), np.tanh(FAR)),
        (lambda x: (1 - T.exp(-x)) / (1 + T.exp(-x)), np.tanh(FAR / 2)),
        (lambda x: (T.exp(x) - T.exp(-x)) / (T.exp(x) + T.exp(-x)), np.tanh(FAR)),
        (lambda x: x / (1 + T.exp(-x)), np.where(FAR < -9, 0, FAR / (1 + np.exp(-np.maximum(FAR, -9))))),
        (lambda x: T.exp(x) / (1 + T.exp(x)), np.where(FAR < -9, 0, 1 / (1 + np.exp(-np.maximum(FAR, -9))))),
        (
            lambda x: -T.log(T.softmax(x.reshape((2, 2))))[T.arange(2), np.array([1, 0])],
            [2e4, 3.0 + np.log1p(np.exp(-3))],
        ),
        (
            lambda x: T.categorical_crossentropy(T.softmax(x.reshape((2, 2))), np.array([1, 0])),
            [2e4, 3.0 + np.log1p(np.exp(-3))],
        ),
        (lambda x: T.binary_crossentropy(T.sigmoid(x), np.ones(4)), np.logaddexp(0, -FAR)),
        (
            lambda x: -(0.5 * T.log(T.sigmoid(x)) + 0.5 * T.log(1 - T.sigmoid(x))),
            0.5 * np.logaddexp(0, -FAR) + 0.5 * np.logaddexp(0, FAR),
        ),
        (lambda x: T.log(T.softmax(T.stack([x, x])).T), np.stack([FAR - 1e4] * 2).T),
        (lambda x: T.log(T.cast(T.softmax(T.cast(x, "float32")), "float64")), FAR - 1e4),
    ],
)
def test_plain_formulas_far_out(plain, wanted):
    x = T.dvector("x", shape=4)
    with config.override(floatX="float64"):
        made = compiled(plain(x), {x: FAR})
        slope = evaluate(road([grad(T.sum(plain(x)), x)])[0], {x: FAR})[0]
    np.testing.assert_allclose(made, np.broadcast_to(wanted, made.shape), rtol=1e-6, atol=1e-9)
    assert np.all(np.isfinite(slope))


# -- what must not happen ------------------------------------------------------------------------------------------------------------


def simple(expr):
    return rewrite([expr], SIMPLIFY)[0]


def test_nothing_that_would_hide_a_nan():
    x = T.dvector("x")
    at = {x: np.array([np.nan, np.inf, 1.0])}
    for expr in (x * 0, x - x, x / x, 0 / x, T.exp(T.log(x)), T.sqr(T.sqrt(-x))):
        np.testing.assert_array_equal(evaluate([simple(expr)], at)[0], evaluate([expr], at)[0])


def test_a_rule_does_not_drop_a_broadcast():
    x, wide = T.vector("x"), T.matrix("wide")
    ones = T.ones((3, 1))
    assert simple(x * ones).type.shape == (3, None)
    assert simple(T.where(T.gt(wide, 0), x, x)).ndim == 2
    maybe = x * T.broadcast_to(T.constant(1.0), (T.iscalar("n"),))  # x may have length 1 and n be 5
    assert simple(maybe) is not x


def test_broadcast_of_the_shape_of_the_other_operand_goes():
    x = T.matrix("x")
    assert simple(x * T.ones_like(x)) is x
    assert simple(x + T.zeros_like(T.exp(x))) is x


def test_rules_do_not_change_dtypes():
    k = T.ivector("k")
    assert simple(k / 1).dtype == config.floatX
    assert simple(k**-1).op.name == "power"
    assert simple(T.cast(T.cast(T.lvector("l"), "float32"), "int64")).op.name == "cast"


def test_shapes_do_not_compute_arrays():
    x, w = T.matrix("x"), T.matrix("w")
    y = T.tanh(T.dot(x, w))
    assert [n.op.name for n in topological([simple(T.as_tensor_variable(y.shape[0]))])] == ["input", "dim"]
    assert isinstance(simple(T.as_tensor_variable(T.exp(T.matrix("z", shape=(3, 4))).size)), Constant)


def test_constants_are_folded_but_not_blown_up():
    assert isinstance(simple(T.constant(2.0) * 3 + T.exp(T.constant(0.0))), Constant)
    assert not isinstance(simple(T.zeros((1000, 1000))), Constant)
    assert simple(T.arange(100_000)).op.name == "iota"


def test_named_nodes_keep_their_names_and_lines():
    x = T.vector("x")
    y = x**2
    y.name = "energy"
    made = simple(y)
    assert made.op.name == "sqr" and made.name == "energy" and made.line == y.line
    plain = x + 0
    plain.name = "other"
    assert simple(plain) is x and x.name == "x"


def test_lists_hold_each_rule_once():
    for rules in (SIMPLIFY, STABILISE, OPTIMISE):
        names = [r.name for r in rules]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("rules", [SIMPLIFY, STABILISE, OPTIMISE])
def test_every_rule_has_an_example(rules):
    assert [r.name for r in rules if not r.examples] == []


def test_the_table_would_catch_a_wrong_rule_and_one_that_does_not_shrink():
    wrong = notation.rule("x - y", "y - x")
    idle = notation.rule("x + y", "y + x")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_sides_are_equal("simplify", wrong, wrong.examples[0])
    with pytest.raises(AssertionError):
        test_right_side_is_smaller("simplify", idle, idle.examples[0])
    with pytest.raises(AssertionError):
        test_fires_on_the_whole_road("simplify", wrong, wrong.examples[0])
