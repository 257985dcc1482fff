"""function(): what it takes, what it gives back, what it refuses, and how it says so."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import exprc
import exprc.tensor as T

HERE = "test_function.py"


def says(error, *parts: str) -> None:
    """The text of an error has every part, and the line of the user's that made something."""
    text = str(error.value)
    for part in parts:
        assert part in text, text


def test_outputs_come_back_in_the_form_that_was_asked_for():
    x = T.scalar("x")
    assert exprc.function([x], x + 1)(2) == 3
    assert exprc.function([x], [x + 1, x * 2])(2) == [3, 4]
    assert exprc.function([x], {"a": x + 1, "b": x})(2) == {"a": 3, "b": 2}
    assert exprc.function([x], None, on_unused_input="ignore")(2) is None


def test_inputs_by_position_and_by_name():
    x, y = T.scalar("x"), T.scalar("y")
    f = exprc.function([x, y], x - y)
    assert f(5, 3) == f(5, y=3) == f(x=5, y=3) == 2


def test_updates_read_the_old_values():
    a, b = exprc.shared(1.0, name="a"), exprc.shared(2.0, name="b")
    f = exprc.function([], [a, b], updates={a: b, b: a + b})
    assert [float(v) for v in f()] == [1, 2]
    assert (float(a.get_value()), float(b.get_value())) == (2, 3)
    assert [float(v) for v in f()] == [2, 3]
    assert (float(a.get_value()), float(b.get_value())) == (3, 5)


def test_an_update_of_several_functions_reads_the_old_values():
    """Each function has a loop of its own; only the last one writes."""
    start, x = np.linspace(-1, 1, 1300, dtype="float32"), np.linspace(2, 0, 1300, dtype="float32")
    w, v = exprc.shared(start), T.vector("v")
    old = exprc.function([v], w * 2, updates=[(w, T.exp(T.sin(w) * v) + w)])(x)
    np.testing.assert_array_equal(old, start * 2)
    np.testing.assert_allclose(w.get_value(), np.exp(np.sin(start) * x) + start, rtol=1e-5)


def test_the_precision_of_a_function_is_asked_for_or_set_and_stays_with_its_copies():
    x = T.matrix("x", shape=(2, 2))
    f = exprc.function([x], T.dot(x, x), precision="strict")
    with exprc.config.override(precision="strict"):
        g = exprc.function([x], T.dot(x, x))
    assert (f.precision, g.precision, exprc.function([x], x).precision) == ("strict", "strict", "float32")
    assert f.copy().precision == pickle.loads(pickle.dumps(f)).precision == "strict"
    np.testing.assert_array_equal(f(np.eye(2)), np.eye(2))


@pytest.mark.parametrize("mode", ["compiled", "reference"])
def test_givens_put_slices_of_shared_data_in_the_place_of_an_input(mode):
    data = exprc.shared(np.arange(12.0, dtype="float32").reshape(6, 2), name="data")
    x, i = T.matrix("x"), T.lscalar("i")
    f = exprc.function([i], x.sum(axis=1), givens={x: data[i * 2 : (i + 1) * 2]}, mode=mode)
    for k in range(3):
        np.testing.assert_array_equal(f(k), data.get_value()[2 * k : 2 * k + 2].sum(1))


def test_a_default_update_is_collected_once_and_can_be_overridden():
    count = exprc.shared(0, name="count")
    count.default_update = count + 1
    f = exprc.function([], count * 10)
    assert [int(f()), int(f()), int(count.get_value())] == [0, 10, 2]
    exprc.function([], count, updates={count: count + 5})()
    assert int(count.get_value()) == 7


def test_an_aliasing_clone_shares_the_storage_but_not_the_default_update():
    mean = exprc.shared(np.zeros(2, "float32"), name="mean")
    running = exprc.clone(mean, share_inputs=False)
    running.default_update = 0.5 * running + 1.0
    exprc.function([], running + 0)()
    np.testing.assert_array_equal(mean.get_value(), [1, 1])
    assert mean.default_update is None


def test_an_update_may_change_the_shape_where_the_type_allows_it():
    v = exprc.shared(np.zeros((0, 2), "float32"), name="v", shape=(None, 2))
    row = T.matrix("row", shape=(1, 2))
    grow = exprc.function([row], None, updates={v: T.concatenate([v, row])})
    for k in range(4):
        grow(np.full((1, 2), k))
    np.testing.assert_array_equal(v.get_value()[:, 0], [0, 1, 2, 3])


def test_eval_takes_values_of_inputs_and_of_inner_expressions():
    x = T.vector("x")
    y = x * 2
    z = (y + 1).sum()
    assert z.eval({x: [1, 2]}) == 8
    assert z.eval({y: [1, 2]}) == 5
    with pytest.raises(TypeError, match="a key must be a variable"):
        z.eval({"x": [1, 2]})


def test_an_input_of_unstated_dtype_is_cast_and_one_of_stated_dtype_is_strict():
    assert exprc.function([(x := T.vector("x"))], x)(np.arange(3)).dtype == "float32"
    assert exprc.function([(x := T.vector("x"))], x)(np.arange(3.0)).dtype == "float32"
    strict = T.fvector("strict")
    f = exprc.function([strict], strict * 2)
    with pytest.raises(TypeError) as error:
        f(np.arange(3.0))
    says(error, "wrong value for the input strict", "its dtype is float32, that of the value float64", HERE, "astype('float32')")
    loose = exprc.function([strict], strict * 2, allow_input_downcast=True)
    np.testing.assert_array_equal(loose(np.arange(3.0)), [0, 2, 4])


@pytest.mark.parametrize("value", [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(12.0).reshape(2, 6)[:, ::2],
                                   np.arange(6, dtype=">f4").reshape(2, 3)], ids=["fortran", "strided", "byte-swapped"])  # fmt: skip
def test_arrays_of_any_memory_order_are_taken(value):
    x = T.matrix("x")
    np.testing.assert_array_equal(exprc.function([x], x + 1)(value), value + 1)


# -- what is refused


def test_wrong_number_of_dimensions():
    x = T.matrix("x")
    with pytest.raises(TypeError) as error:
        exprc.function([x], x)(np.zeros(3, "float32"))
    says(error, "the input x", "it takes 2 dimensions, the value has 1: shape (3,)", f"made at {HERE}")


def test_wrong_shape():
    x = T.matrix("x", shape=(None, 3))
    with pytest.raises(ValueError) as error:
        exprc.function([x], x)(np.zeros((2, 4), "float32"))
    says(error, "it takes shape (?, 3), the value has (2, 4)", f"made at {HERE}")


def test_shapes_that_disagree_only_when_called():
    x, y = T.matrix("x"), T.matrix("y")
    f = exprc.function([x, y], T.dot(x, y))
    with pytest.raises(ValueError) as error:
        f(np.zeros((2, 3), "float32"), np.zeros((4, 2), "float32"))
    says(error, "inner sizes differ", "3 ≠ 4", HERE)
    with pytest.raises(ValueError) as error:
        exprc.function([x, y], x + y)(np.zeros((2, 3), "float32"), np.zeros((2, 2), "float32"))
    says(error, "add: shapes do not broadcast: (2, 3) · (2, 2): 3 ≠ 2", HERE)


MISFITS = {
    "dot: inner sizes differ: (2, 5) · (4, 3): 5 ≠ 4": lambda x, y: T.dot(x, y),
    "add: shapes do not broadcast: (2, 5) · (4, 3): 2 ≠ 4": lambda x, y: x + y,
    "concatenate: lengths of axis 1 differ": lambda x, y: T.concatenate([x, y]),
    "reshape: cannot reshape (2, 5) to (3, 3): numbers of elements differ: 10 ≠ 9": lambda x, y: x.reshape((3, -1)) + y.sum(),
}


@pytest.mark.parametrize("mode", ["compiled", "reference"])
@pytest.mark.parametrize("text", MISFITS)
def test_both_modes_say_the_same_of_shapes_that_disagree(text, mode):
    x, y = T.matrix("x"), T.matrix("y")
    f = exprc.function([x, y], MISFITS[text](x, y), mode=mode)
    with pytest.raises(ValueError) as error:
        f(np.zeros((2, 5)), np.zeros((4, 3)))
    said = str(error.value)
    assert said.startswith(text) and "x  float32, (2, 5)    made at test_function.py:" in said and "dimshuffle(" not in said


def test_missing_extra_and_unknown_inputs():
    x, y = T.scalar("x"), T.scalar("y")
    f = exprc.function([x, y], x + y, name="sum2")
    with pytest.raises(TypeError) as error:
        f(1)
    says(error, "function sum2: 1 of 2 inputs are missing", "y", HERE)
    with pytest.raises(TypeError, match=r"function sum2 takes 2 inputs \(x, y\), 3 were given"):
        f(1, 2, 3)
    with pytest.raises(TypeError, match="has no input named 'z'"):
        f(1, z=2)
    with pytest.raises(TypeError, match="the input 'x' was given twice"):
        f(1, x=2)


def test_inputs_that_function_cannot_take():
    x = T.vector("x")
    w = exprc.shared(1.0, name="w")
    with pytest.raises(TypeError, match=r"did you mean \[x\]"):
        exprc.function(x, x)
    with pytest.raises(ValueError, match="the input x is listed twice"):
        exprc.function([x, x], x)
    with pytest.raises(TypeError, match="not a shared variable") as error:
        exprc.function([w], w)
    says(error, "givens=", HERE)
    with pytest.raises(TypeError, match="must be an input variable, not the expression"):
        exprc.function([x + 1], x)


def test_a_variable_that_is_not_listed():
    x, y = T.vector("x"), T.vector("y")
    with pytest.raises(ValueError) as error:
        exprc.function([x], x * y)
    says(error, "y is needed by the outputs or updates, but is not among the inputs", "used by", HERE, "givens=")


def test_an_input_that_nothing_needs():
    x, y = T.vector("x"), T.vector("y")
    with pytest.raises(ValueError, match="an input is not needed"):
        exprc.function([x, y], x)
    with pytest.warns(UserWarning, match="an input is not needed"):
        exprc.function([x, y], x, on_unused_input="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exprc.function([x, y], x, on_unused_input="ignore")
    with pytest.raises(ValueError, match="on_unused_input is 'shout'"):
        exprc.function([x], x, on_unused_input="shout")


def test_updates_that_do_not_fit():
    x = T.vector("x")
    w = exprc.shared(np.zeros(3, "float32"), name="w")
    with pytest.raises(TypeError, match="only shared variables can be updated, not the expression"):
        exprc.function([x], x, updates={x + 1: x})
    with pytest.raises(TypeError) as error:
        exprc.function([x], x, updates={w: w.sum() + x.sum()})
    says(error, "w has 1 dimensions, its update 0", HERE)
    with pytest.raises(ValueError) as error:
        exprc.function([], None, updates={w: T.concatenate([w, w])})
    says(error, "w has shape (3,), its update (6,)", HERE)
    with pytest.raises(TypeError) as error:
        exprc.function([], None, updates={w: w.astype("float64") * 2})
    says(error, "w is float32, its update float64", "astype('float32')", HERE)
    with pytest.raises(ValueError, match="w is updated twice"):
        exprc.function([], None, updates=[(w, w + 1), (w, w + 2)])


def test_givens_that_do_not_fit():
    x = T.vector("x")
    with pytest.raises(TypeError) as error:
        exprc.function([], x, givens={x: np.zeros((2, 2), "float32")})
    says(error, "givens: x has 1 dimensions, what takes its place 2", HERE)
    with pytest.raises(TypeError, match="givens: a key must be an expression"):
        exprc.function([], x, givens={"x": 1})


def test_an_index_out_of_range_names_the_index():
    x, i = T.matrix("x"), T.ivector("i")
    f = exprc.function([x, i], x[i])
    np.testing.assert_array_equal(f(np.eye(3), np.array([-1, 0], "int32")), np.eye(3)[[-1, 0]])
    with pytest.raises(IndexError) as error:
        f(np.eye(3), np.array([0, 3], "int32"))
    says(error, "index 3 is out of bounds for an axis of length 3", "i", HERE)


def test_an_unknown_mode():
    x = T.vector("x")
    with pytest.raises(ValueError, match="mode is 'fast': it must be 'compiled' or 'reference'"):
        exprc.function([x], x, mode="fast")


# -- without a compiler, and with one that fails


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("EXPRC_CC", "CC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.modules["exprc.function"], "_noticed", [])


def test_without_a_compiler_the_interpreter_runs_with_one_notice(no_compiler):
    x = T.vector("x")
    with pytest.warns(UserWarning, match="(?s)no C compiler.*NumPy interpreter"):
        f = exprc.function([x], x * 2)
    np.testing.assert_array_equal(f([1, 2]), [2, 4])
    assert f.mode == "reference"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exprc.function([x], x * 3)([1])
    with pytest.raises(RuntimeError, match="has no C text: it runs on the NumPy interpreter"):
        f.source  # noqa: B018


def test_a_mode_that_was_asked_for_is_never_replaced(no_compiler):
    x = T.vector("x")
    with pytest.raises(exprc.CompileError, match="no C compiler"):
        exprc.function([x], x * 2, mode="compiled")


def test_a_compiler_that_fails(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\ncase \"$1\" in --version) echo 'gcc (broken) 12.0'; exit 0;; esac\necho 'no space left' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("EXPRC_CC", str(broken))
    x = T.vector("x", shape=(3,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that OpenMP does not work with it
        with pytest.raises(exprc.CompileError) as error:
            exprc.function([x], x * 2.125)
    says(error, "no space left", "command", "source")


# -- seeing


def test_source_explain_and_profile_name_what_was_made():
    x = T.matrix("x")
    f = exprc.function([x], T.exp(x).sum(axis=1), name="rows")
    with pytest.raises(RuntimeError, match="call it once"):
        f.source  # noqa: B018
    value = np.ones((40, 50), "float32")
    f(value)
    assert "exp(" in f.source and "exprc_run" in f.source
    text = f.explain()
    graph, program = "open simplify stabilise expand optimise", "sizes choose fuse layout memory lower verify render load"
    for stage in f"{graph} {program}".split():
        assert re.search(rf"^{stage} +\d+\.\d+ ms", text, re.M), text
    assert HERE in f.explain(verbose=True)
    profile = f.profile(value, calls=2)
    assert "GB/s" in profile and HERE in profile


def test_profile_leaves_shared_variables_alone():
    w = exprc.shared(np.zeros(1000, "float32"))
    f = exprc.function([], None, updates={w: w + 1})
    f.profile(calls=3)
    assert w.get_value().max() == 0


_PROGRAM = """
import numpy as np, exprc, exprc.tensor as T
x, y = T.matrix("x"), T.ivector("y")
w, b = exprc.shared(np.ones((5, 3), "float32")), exprc.shared(np.ones(3, "float32"))
cost = T.categorical_crossentropy(T.softmax(T.dot(x, w) + b), y).mean()
f = exprc.function([x, y], cost, updates=[(p, p - 0.1 * exprc.grad(cost, p)) for p in (w, b)])
f(np.ones((4, 5), "float32"), np.zeros(4, "int32"))
print(f.source)
"""


def test_the_text_does_not_depend_on_the_process():
    """Else the cache would never hit."""
    texts = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True)
        texts.append(run.stdout)
    assert texts[0] == texts[1] != ""


def test_indices_written_to_storage_that_was_borrowed_are_looked_at_again():
    idx, v = exprc.shared(np.array([0, 1, 2])), exprc.shared(np.zeros(3, "float32"))
    x = T.vector("x")
    f = exprc.function([x], x[idx].sum(), updates={v: v + 1})
    value = np.ones(3, "float32")
    f(value), f(value)
    idx.get_value(borrow=True)[0] = 99
    with pytest.raises(IndexError, match="index 99 is out of bounds"):
        f(value)
    assert v.get_value().tolist() == [2, 2, 2]


def test_a_variable_on_a_borrowed_view_is_not_taken_for_its_own():
    base = np.arange(2000, dtype="float32")
    w, x = exprc.shared(base[:999], borrow=True), T.vector("x")
    f = exprc.function([x], None, updates={w: w + x[::-1]})
    w.get_value()
    wanted = base[:999] + base[:999][::-1]
    f(base[:999])
    np.testing.assert_array_equal(w.get_value(), wanted)
