"""`repr` and `debugprint`."""

from __future__ import annotations

import io
import re

import numpy as np

import exprc.tensor as T
from exprc.show import debugprint


def drawn(obj):
    """The tree without the users' lines."""
    return re.sub(r"  test_show\.py:\d+", "", debugprint(obj, "str")).splitlines()


def test_repr_of_leaves():
    assert repr(T.matrix("x")) == "x"
    assert repr(T.matrix()) == "<input float32, (?, ?)>"
    assert repr(T.constant(2.5)) == "2.5"
    assert repr(T.constant(np.arange(3))) == "[0, 1, 2]"
    assert len(repr(T.constant(np.random.default_rng(0).random((50, 50))))) <= 40


def test_repr_of_operations():
    x = T.matrix("x")
    assert repr(x + 1) == "add(x, 1.0)"
    assert repr(T.sum(x, axis=1)) == "sum(x, axes=(1,))"
    y = T.exp(x)
    y.name = "y"
    assert repr(y) == "y" and repr(y * y) == "mul(y, y)"


def test_repr_is_one_short_line_whatever_the_graph():
    y = T.scalar("x")
    for _ in range(5000):
        y = y + y
    assert repr(y).startswith("add(add(add(...") and len(repr(y)) <= 100
    many = T.concatenate([T.vector("a_rather_long_name")] * 500)
    assert repr(many).count("a_rather_long_name") == 4 and "..." in repr(many) and len(repr(many)) <= 100


def test_tree():
    x = T.vector("x")
    y = T.exp(x)
    z = T.sum(y * y)
    z.name = "energy"
    assert drawn(z) == [
        "sum{axes=(0,)}  float32, ()  'energy'",
        "└─ mul  float32, (?,)",
        "   ├─ [1] exp  float32, (?,)",
        "   │  └─ x  float32, (?,)",
        "   └─ [1] ...",
    ]


def test_tree_tells_the_users_line():
    x = T.vector("x")
    y = T.exp(x)
    assert f"exp  float32, (?,)  {y.where}" in debugprint(y, "str")
    assert y.where.startswith("test_show.py:")


def test_several_roots_share_numbers():
    x = T.vector("x")
    y = T.exp(x)
    assert drawn([y + 1, y]) == [
        "add  float32, (?,)", "├─ [1] exp  float32, (?,)", "│  └─ x  float32, (?,)", "└─ 1.0  float32, ()", "[1] ...",
    ]  # fmt: skip


def test_where_the_text_goes(capsys):
    x = T.vector("x")
    file = io.StringIO()
    assert debugprint(x, file) is None and debugprint(x) is None
    assert file.getvalue() == capsys.readouterr().out == debugprint(x, "str") + "\n"


def test_a_deep_graph_goes_on_in_a_tree_of_its_own():
    y = T.scalar("x")
    for _ in range(60):
        y = T.exp(y)
    lines = drawn(y)
    assert sum(line.endswith("exp  float32, ()") for line in lines) == 60
    cut = [line for line in lines if line.endswith("...")]
    assert [c.split("─ ")[1] for c in cut] == ["[1] ...", "[2] ..."]
    assert [line for line in lines if line.startswith("[")] == ["[1] exp  float32, ()", "[2] exp  float32, ()"]


def test_the_text_grows_with_the_graph_not_faster():
    def length(n):
        y = T.scalar("x")
        for _ in range(n):
            y = T.exp(y) + y
        return len(debugprint(y, "str"))

    assert length(4000) <= 5 * length(1000)


def test_large_parameters_and_constants_are_cut():
    x = T.vector("x")
    long = T.reshape(x, (1,) * 40)
    assert max(map(len, drawn(long))) < 240
    assert all(len(line) < 80 for line in drawn(T.constant(np.random.default_rng(0).random((9, 9))) + 1))
