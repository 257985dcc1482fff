"""`repr` and `debugprint`."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.show import debugprint, pp


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


def test_the_tree_of_a_function_has_outputs_and_updates():
    x, w = T.scalar("x"), exprc.shared(1.0, "w")
    f = exprc.function([x], x + 1, updates={w: w * 2}, mode="reference")
    roots = [line for line in drawn(f) if line[0].isalpha()]
    assert roots == ["add  float32, ()", "mul  float32, ()"]


def test_what_is_no_expression_has_no_text():
    with pytest.raises(TypeError, match="pp: an expression is needed, not int"):
        pp(3)


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


# -- pp


def test_pp_writes_what_python_would_read():
    x, y, z = T.vector("x"), T.vector("y"), T.vector("z")
    texts = [
        "x + y * z", "(x + y) * z", "x - (y - z)", "x - y - z", "x / y / z", "x / (y / z)", "x ** y ** z", "(x ** y) ** z", "-x ** y",
        "(-x) ** y", "-(x + y)", "x * -y", "(x < y) & (y < z)", "x // y % z", "x < y + z", "-x * y", "x % (y + z)",
    ]  # fmt: skip
    assert [pp(eval(text, {"x": x, "y": y, "z": z})) for text in texts] == texts


def test_pp_keeps_the_value():
    """Read by Python again, the text gives the same numbers: no parenthesis is missing."""
    values = {name: np.float64(value) for name, value in (("x", 1.7), ("y", 2.3), ("z", 0.6))}
    leaves = {name: T.scalar(name, dtype="float64") for name in values}
    rng = np.random.default_rng(0)
    signs = ["+", "-", "*", "/", "**", "%"]
    for _ in range(60):
        text = str(rng.choice(list(values)))
        for _ in range(6):
            other = str(rng.choice([*values, f"(-{text})", f"({text})"]))[:400]
            text = f"{other} {rng.choice(signs)} ({text})" if rng.random() < 0.5 else f"({text}) {rng.choice(signs)} {other}"
        with np.errstate(all="ignore"):
            written = pp(eval(text, dict(leaves)))
            if "..." not in written:
                np.testing.assert_equal(np.float64(eval(written, dict(values))), np.float64(eval(text, dict(values))))


def test_pp_of_calls_names_and_numbers():
    x = T.matrix("x")
    assert pp(T.exp(x).sum(axis=1)) == "sum(exp(x), axes=(1,))" and pp(x * 0.1) == "x * 0.1" and pp(2 - x) == "2.0 - x"
    assert pp(x ** T.constant(-1.0)) == "x ** (-1.0)" and pp(T.constant(-1.0) ** x) == "(-1.0) ** x"


def test_pp_ends_soon_whatever_the_graph():
    y = T.scalar("x")
    for _ in range(5000):
        y = y + y
    assert "..." in pp(y) and len(pp(y)) <= 2000
