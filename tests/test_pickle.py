"""Pickles and deep copies: of graphs, of shared variables, of functions."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Expr, topological
from exprc.ops import CATALOGUE

HERE = "test_pickle.py"


@exprc.composite
def softsign(x: Any, *, scale: float = 1.0) -> Any:
    return scale * x / (1 + abs(x))


renamed = exprc.composite(lambda x: x * 3 + 1, name="affine")


def again(value: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(value, protocol))


def facts(x: Expr) -> list[Any]:
    """What two graphs of the same make have in common."""
    order = topological([x])
    place = {n: k for k, n in enumerate(order)}
    return [(n.op, [place[i] for i in n.inputs], dict(n.params), str(n.type), n.name, n.line) for n in order]


def network() -> tuple[Any, Any, Any, list[Any]]:
    x, y = T.matrix("x"), T.ivector("y")
    w, b = exprc.shared(np.ones((5, 3), "float32"), "w"), exprc.shared(np.zeros(3, "float32"), "b")
    cost = T.categorical_crossentropy(T.softmax(T.dot(x, w) + b[None]), y).mean() + 1e-3 * (w**2).sum()
    cost.name = "cost"
    return x, y, cost, [w, b]


# -- graphs


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_graph_comes_back_as_it_was(protocol: int) -> None:
    x, y, cost, params = network()
    back = again(exprc.grad(cost, params), protocol)
    for one, two in zip(exprc.grad(cost, params), back):
        assert [f[:5] for f in facts(one)] == [f[:5] for f in facts(two)]
    assert facts(again(cost, protocol)) == facts(cost)
    assert HERE in again(cost).where


def test_what_expressions_share_they_share_after_loading() -> None:
    x, w = T.vector("x"), exprc.shared(2.0, "w")
    h = T.tanh(x * w)
    x2, w2, h2, cost = again([x, w, h, (h * h).sum()])
    assert h2.inputs[0].inputs[0] is x2 and cost.inputs[0].inputs == (h2, h2)
    assert w2 in topological([cost])
    assert float(exprc.grad(cost, w2).eval({x2: [1.0]})) == pytest.approx(2 * np.tanh(2) * (1 - np.tanh(2) ** 2))
    assert cost.eval({h2: [2.0]}) == 4


def test_a_chain_of_100000_nodes_needs_no_deep_recursion() -> None:
    x = w = exprc.shared(np.ones(2, "float32"), "w")
    for _ in range(50_000):
        x = (-x) * w
    nodes = topological([again(x)])
    assert len(nodes) == 100_001 and nodes[0] is not w and nodes[0].name == "w"


def test_a_chain_of_20000_nodes_is_copied_without_deep_recursion() -> None:
    x = w = T.vector("x")
    for _ in range(10_000):
        x = (-x) * w
    nodes = topological([copy.deepcopy(x)])
    assert len(nodes) == 20_001 and nodes[0] is not w and nodes[0].name == "x"


def test_the_pure_python_pickler_which_others_build_upon_gives_the_same() -> None:
    _, _, cost, _ = network()
    file = io.BytesIO()
    pickle._Pickler(file).dump([cost, cost])  # type: ignore[attr-defined]
    one, two = pickle.loads(file.getvalue())
    assert one is two and facts(one) == facts(cost)


def test_every_operation_of_the_catalogue_is_pickled_by_its_name() -> None:
    for name, op in CATALOGUE.items():
        text = pickle.dumps(op)
        assert pickle.loads(text) is op and len(text) < 100 + len(name)
        assert copy.deepcopy(op) is op and copy.copy(op) is op


def test_a_tuple_of_results_and_their_items() -> None:
    x = T.matrix("x")
    assert any(op.form == "kernel" for op in CATALOGUE.values())
    back = again(T.conv2d(x.dimshuffle("x", "x", 0, 1), np.ones((1, 1, 2, 2), "float32")))
    assert back.ndim == 4


def test_an_operation_of_the_users_is_pickled_by_the_variable_that_holds_it() -> None:
    x = T.scalar("x")
    back = again(softsign(x, scale=2.0) + renamed(x))
    used = [n.op for n in topological([back])]
    assert softsign in used and renamed in used
    assert float(back.eval({topological([back])[0]: 1.0})) == 5.0


def test_an_operation_that_no_module_holds_is_refused_with_its_place() -> None:
    @exprc.composite
    def hidden(x: Any) -> Any:
        return x + 1

    y = hidden(T.scalar("x"))
    with pytest.raises(pickle.PicklingError) as error:
        pickle.dumps(y)
    for part in ("cannot pickle the operation hidden: no module holds it", HERE, "keep it in a variable of a module"):
        assert part in str(error.value)
    assert copy.deepcopy(y).op is hidden


def test_an_operation_that_is_gone_when_the_pickle_is_loaded() -> None:
    text = pickle.dumps(softsign(T.scalar("x")), 0)
    with pytest.raises(pickle.UnpicklingError, match="the operation 'softbang' of the module (?s:.*)was it renamed or moved"):
        pickle.loads(text.replace(b"softsign", b"softbang"))
    text = pickle.dumps(T.exp(T.scalar("x")), 0)
    with pytest.raises(pickle.UnpicklingError, match="(?s)an operation 'exq'.*written by a newer exprc"):
        pickle.loads(text.replace(b"Vexp\n", b"Vexq\n"))


def test_another_process_loads_it(tmp_path: Any) -> None:
    x, y, cost, params = network()
    f = exprc.function([x, y], cost, updates=[(p, p - g) for p, g in zip(params, exprc.grad(cost, params))], name="train")
    file = tmp_path / "all.pkl"
    file.write_bytes(pickle.dumps((cost, f, params)))
    program = (
        "import pickle, sys, numpy as np\n"
        "cost, f, params = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(repr(f), params[0].where, float(f(np.ones((4, 5), 'float32'), np.zeros(4, 'int32'))))\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True, env=dict(os.environ))
    wanted = float(f(np.ones((4, 5), "float32"), np.zeros(4, "int32")))
    assert run.stdout.split() == [*repr(f).split(), params[0].where, str(wanted)]


# -- shared variables


@pytest.mark.parametrize("duplicate", [again, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_shared_variables_bring_a_container_of_their_own(duplicate: Any) -> None:
    w = exprc.shared(np.zeros((2, 3), "float32"), "w", shape=(None, 3), strict=True)
    v = duplicate(w)
    v.set_value(np.ones((4, 3), "float32"))
    assert w.get_value().shape == (2, 3) and v.get_value().shape == (4, 3)
    assert (v.name, v.type, v.container.strict, v.where) == ("w", w.type, True, w.where)
    with pytest.raises(TypeError, match="its dtype is float32"):
        v.set_value(np.ones((4, 3)))


@pytest.mark.parametrize("duplicate", [again, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_aliases_of_one_container_are_aliases_after_loading(duplicate: Any) -> None:
    mean = exprc.shared(np.zeros(2, "float32"), "mean")
    running = exprc.clone(mean, share_inputs=False)
    running.default_update = 0.5 * running + 1.0
    mean2, running2 = duplicate([mean, running])
    exprc.function([], running2 + 0)()
    np.testing.assert_array_equal(mean2.get_value(), [1, 1])
    np.testing.assert_array_equal(mean.get_value(), [0, 0])
    assert mean2.default_update is None and mean2 is not running2


@pytest.mark.parametrize("duplicate", [again, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_default_updates_that_need_each_other(duplicate: Any) -> None:
    a, b = exprc.shared(1.0, "a"), exprc.shared(10.0, "b")
    a.default_update, b.default_update = a + b, b + a
    f = exprc.function([], duplicate(a) * 1)
    assert [float(f()) for _ in range(3)] == [1, 11, 22]


def test_streams_of_random_numbers_go_on_where_they_were() -> None:
    srng = T.RandomStreams(3)
    x = srng.normal((4,))
    exprc.function([], x)()
    stream, y = again((srng, x))
    np.testing.assert_array_equal(exprc.function([], x)(), exprc.function([], y)())
    stream.seed(3)
    srng.seed(3)
    np.testing.assert_array_equal(exprc.function([], x)(), exprc.function([], y)())


def test_two_loads_of_one_buffer_share_nothing() -> None:
    w = exprc.shared(np.zeros(1000, "float32"))
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(w, 5, buffer_callback=buffers.append)
    memory = [bytearray(b) for b in buffers]
    one, two = pickle.loads(text, buffers=memory), pickle.loads(text, buffers=memory)
    exprc.function([], updates={one: one + 1})()
    assert one.get_value().sum() == 1000 and two.get_value().sum() == 0


def test_a_shallow_copy_is_a_node_on_the_same_inputs() -> None:
    x, w = T.vector("x"), exprc.shared(1.0, "w")
    y = x * w
    z = copy.copy(y)
    assert z is not y and z.inputs == y.inputs and z.line == y.line
    assert copy.copy(w) is not w and copy.copy(w).container is w.container


# -- functions


def functions() -> Any:
    x, n = T.vector("x"), T.scalar("n")
    w, seen = exprc.shared(np.ones(3, "float32"), "w"), exprc.shared(0, "seen")
    seen.default_update = seen + 1
    outputs = {"y": x * w * n, "seen": seen + 0}
    return exprc.function([x, exprc.In(n, value=2.0, update=n + 1)], outputs, updates={w: w + 1}, name="f", allow_input_downcast=True)


@pytest.mark.parametrize("duplicate", [again, copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("mode", ["compiled", "reference"])
def test_functions_keep_form_updates_defaults_and_state(duplicate: Any, mode: str) -> None:
    with exprc.config.override(mode=mode):
        f = functions()
        f([1, 1, 1])
        g = duplicate(f)
    assert repr(g) == repr(f) and g.mode == mode
    for scale in (6, 12):
        one, two = f(np.ones(3)), g(np.ones(3))  # float64, which was allowed
        np.testing.assert_array_equal(one["y"], np.full(3, scale))
        np.testing.assert_array_equal(two["y"], one["y"])
        assert two["seen"] == one["seen"]
    assert float(g["n"]) == 5 and [v.name for v in g.get_shared()] == ["w", "seen"]


def test_a_pickle_of_a_function_has_no_program_in_it() -> None:
    f = functions()
    f([1, 1, 1])
    before = len(pickle.dumps(f))
    assert b"\x7fELF" not in pickle.dumps(f) and f.source.encode()[:200] not in pickle.dumps(f)
    f([2, 2, 2])
    assert len(pickle.dumps(f)) == before < 4000


def test_a_copy_and_its_variables_stay_together() -> None:
    """Parameters and the functions on them in one pickle: the functions work on the parameters that were loaded."""
    w = exprc.shared(np.zeros(2, "float32"), "w")
    train, show = exprc.function([], updates={w: w + 1}), exprc.function([], w * 2)
    train2, show2, w2 = again((train, show, w))
    train2()
    np.testing.assert_array_equal(show2(), [2, 2])
    np.testing.assert_array_equal(w2.get_value(), [1, 1])
    np.testing.assert_array_equal(show(), [0, 0])
