"""In and Out, defaults and state, copies of functions, trusted inputs, and who owns which memory."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import In, Out

HERE = "test_parameters.py"
MODES = pytest.mark.parametrize("mode", ["compiled", "reference"])


def message(kind: Any, function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    return str(error.value)


# -- defaults and state


@MODES
def test_defaults_by_position_and_by_name(mode: str) -> None:
    x, y, z = T.scalars("x", "y", "z")
    f = exprc.function([x, In(y, value=2), In(z, name="scale", value=10.0)], (x + y) * z, mode=mode)
    assert [float(v) for v in (f(1), f(1, 3), f(1, 3, 5), f(1, scale=1), f(x=1, y=0, scale=2))] == [30, 40, 20, 3, 2]
    assert "1 of 3 inputs are missing" in message(TypeError, f, y=1)
    text = message(TypeError, f, 1, scal=3)
    assert "no input named 'scal': its inputs are x, y, scale; did you mean 'scale'?" in text


def test_defaults_are_read_and_set_like_items() -> None:
    x, y = T.scalar("x"), T.vector("y")
    w = exprc.shared(3.0, "w")
    f = exprc.function([x, In(y, value=[1, 2])], x * y.sum() * w)
    assert f(2) == 18 and f["y"].tolist() == [1, 2] and f["y"].dtype == "float32" and f[w] == f["w"] == 3
    f[y] = [1, 1, 1]
    f["w"] = 5
    assert f(1) == 15 and y in f and "w" in f and x not in f and "v" not in f
    copied = f[y]
    copied[:] = 9
    assert f(1) == 15
    assert "function keeps no value for x; it has those of y, w" in message(KeyError, f.__getitem__, x)
    assert "cannot set the value of y: it has 1 dimensions, the value 2" in message(ValueError, f.__setitem__, "y", [[1]])


@MODES
def test_a_default_with_an_update_is_a_state_of_the_function(mode: str) -> None:
    x, total = T.scalar("x"), T.scalar("total")
    f = exprc.function([x, In(total, value=0, update=total + x)], total * 2, mode=mode)
    g = f.copy()
    assert [float(f(k)) for k in (1, 2, 3)] == [0, 2, 6] and f["total"] == 6
    assert float(f(1, 10)) == 20 and f["total"] == 11  # a value that is given takes the place of the state
    f[total] = 100
    assert float(f(1)) == 200
    assert float(g(5)) == 0 and g["total"] == 5


def test_a_state_may_change_its_length() -> None:
    x, seen = T.vector("x"), T.vector("seen")
    f = exprc.function([x, In(seen, value=[], update=T.concatenate([seen, x]))])
    f([1])
    f([2, 3])
    assert f["seen"].tolist() == [1, 2, 3]


@MODES
def test_a_shared_variable_as_a_default_is_read_at_each_call_and_keeps_the_state(mode: str) -> None:
    x, n = T.scalar("x"), exprc.shared(1.0, "n")
    y = T.scalar("y")
    f = exprc.function([x, In(y, value=n, update=y * 2)], x * y, mode=mode)
    assert [float(f(1)), float(f(1)), float(n.get_value())] == [1, 2, 4]
    n.set_value(10)
    assert float(f(1)) == 10 and float(f(1, 3)) == 3 and n.get_value() == 6


def test_states_and_updates_in_many_threads_lose_nothing() -> None:
    x, total, n = T.scalar("x"), T.scalar("total"), exprc.shared(0, "n")
    f = exprc.function([x, In(total, value=0, update=total + x)], n, updates={n: n + 1})
    threads = [threading.Thread(target=lambda: [f(1) for _ in range(100)]) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert f["total"] == 800 and n.get_value() == 800


def test_rules_of_one_input() -> None:
    x, i = T.fvector("x"), T.ivector("i")
    f = exprc.function([In(x, allow_downcast=True), In(i, strict=True)], [x, i])
    assert f(np.array([0.5, 1.5]), np.zeros(1, "int32"))[0].dtype == "float32"
    text = message(TypeError, f, [1.0], [1])
    assert "wrong value for the input i: its dtype is int32, that of the value int64" in text and "the input is strict" in text
    g = exprc.function([In(x, allow_downcast=False)], x, allow_input_downcast=True)
    assert "its dtype is float32, that of the value float64" in message(TypeError, g, [1.0])
    assert exprc.function([In(x, mutable=True, borrow=True)], Out(x + 1, borrow=True))(np.zeros(2, "float32")).tolist() == [1, 1]
    assert exprc.function([x], {"a": Out(x), "b": [Out(x * 2)][0]})(np.ones(1, "float32")) == {"a": 1, "b": 2}


def test_what_in_refuses() -> None:
    x, y = T.vector("x"), T.vector("y")
    w = exprc.shared(1.0, "w")
    assert "must be an input variable, not a shared variable" in message(TypeError, In, w)
    assert "x has an update but no value to begin with" in (text := message(ValueError, In, x, update=x + 1)) and HERE in text
    assert "In: x has 1 dimensions, its update 0" in message(TypeError, exprc.function, [In(x, value=[1], update=x.sum())], x)
    text = message(TypeError, exprc.function, [In(x, value=[1], update=x.astype("float64"))], x)
    assert "In: x is float32, its update float64" in text
    assert "cannot set the value of x: it has 1 dimensions, the value 0" in message(ValueError, exprc.function, [In(x, value=1)], x)
    assert "In: the default of x is TensorType(float32, ()), it is" not in text
    assert "the default of x is float32, ()" in message(TypeError, exprc.function, [In(x, value=w)], x)
    assert "two inputs have the name 'x'" in message(ValueError, exprc.function, [x, In(y, name="x")], x + y)
    assert "did you mean [x]?" in message(TypeError, exprc.function, In(x), x)
    assert "is listed twice" in message(ValueError, exprc.function, [x, In(x, value=[1])], x)


def test_inputs_without_names_and_with_equal_ones() -> None:
    a, b = T.scalar("n"), T.scalar("n")
    f = exprc.function([a, b, T.scalar()], a - b, on_unused_input="ignore")
    assert f(3, 1, 0) == 2
    assert "function has 2 inputs named 'n': give them by position" in message(TypeError, f, n=1)


# -- updates


@MODES
def test_no_default_updates(mode: str) -> None:
    a, b = exprc.shared(0, "a"), exprc.shared(0, "b")
    a.default_update, b.default_update = a + 1, b + 1
    values = lambda: (int(a.get_value()), int(b.get_value()))  # noqa: E731
    exprc.function([], a + b, no_default_updates=True, mode=mode)()
    assert values() == (0, 0)
    exprc.function([], a + b, no_default_updates=[b], mode=mode)()
    assert values() == (1, 0)
    exprc.function([], a + b, updates={b: b + 10}, no_default_updates=True, mode=mode)()
    assert values() == (1, 10)
    text = message(TypeError, exprc.function, [], a, no_default_updates=[a + 1])
    assert "no_default_updates must be True, False or a list of shared variables, not the expression" in text and HERE in text


def test_two_updates_of_one_storage() -> None:
    w = exprc.shared(0.0, "w")
    alias = exprc.clone(w, share_inputs=False)
    alias.name = "alias"
    text = message(ValueError, exprc.function, [], None, [(w, w + 1), (alias, w + 2)])
    assert "updates: alias is updated twice: it shares its storage with w" in text and text.count(HERE) == 3


def test_what_brought_float64_into_an_update_is_named() -> None:
    w, rate = exprc.shared(np.zeros(3, "float32"), "w"), exprc.shared(np.array(0.1), "rate")
    x = T.vector("x")
    cost = ((w - x) ** 2).sum()
    update = w - 2.5 * rate * exprc.grad(cost, w)
    assert rate.dtype == "float64"
    text = message(TypeError, exprc.function, [x], cost, {w: update})
    for part in ("updates: w is float32, its update float64", "variable ", "update ", "float64 from  rate  float64, ()", HERE,
                 "cast what brought float64 to float32, or the update: .astype('float32')"):  # fmt: skip
        assert part in text, text
    assert text.count("float64 from") == 1  # not the Python number beside it
    counts = exprc.shared(np.zeros(3, "int32"), "counts")
    text = message(TypeError, exprc.function, [], None, {counts: counts + T.arange(3)})
    assert "counts is int32, its update int64" in text and "int64 from" in text


@MODES
def test_an_update_that_has_another_shape_than_the_variable_may_have(mode: str) -> None:
    w, x = exprc.shared(np.zeros(3, "float32"), "w"), T.vector("x")
    f = exprc.function([x], None, {w: x}, mode=mode)
    text = message(ValueError, f, [1, 2])
    assert "updates: w has shape (3,), its update (2,)" in text and HERE in text and "shape=(None, ...)" in text
    f([1, 2, 3])
    assert w.get_value().tolist() == [1, 2, 3]


# -- copies


@MODES
def test_copies_with_other_variables_and_without_updates(mode: str) -> None:
    x, a, b = T.scalar("x"), exprc.shared(1.0, "a"), exprc.shared(10.0, "b")
    f = exprc.function([x], a * x, updates={a: a + 1}, name="f", mode=mode)
    g, h = f.copy(swap={a: b}, name="g"), f.copy(delete_updates=True)
    assert (float(f(2)), float(g(2)), float(h(2)), float(h(2))) == (2, 20, 4, 4)
    assert (a.get_value(), b.get_value()) == (2, 11)
    assert f.get_shared() == [a] and g.get_shared() == [b] and "function g of (x)" in repr(g) and h.mode == mode


def test_copies_that_share_working_memory_share_programs() -> None:
    x = T.vector("x")
    f = exprc.function([x], T.exp(x))
    same, other = f.copy(share_memory=True), f.copy()
    assert same._compiled is f._compiled is not other._compiled
    assert same([0.0]) == other([0.0]) == 1


def test_what_a_copy_refuses() -> None:
    a, b = exprc.shared(1.0, "a"), exprc.shared(np.zeros(2, "float32"), "b")
    f = exprc.function([], a * 2, name="f")
    assert "b is no shared variable that function f uses" in (text := message(ValueError, f.copy, swap={b: a})) and HERE in text
    assert "must be a shared variable of its type" in (text := message(TypeError, f.copy, swap={a: b})) and text.count(HERE) == 2
    assert "not 3 (int)" in message(TypeError, f.copy, swap={a: 3})
    c = exprc.shared(np.zeros(3, "float32"), "c")
    fixed = exprc.function([], None, updates={b: T.constant(np.ones(2, "float32"))})
    assert "c has shape (3,), its update (2,)" in (text := message(ValueError, fixed.copy, swap={b: c})) and HERE in text
    d = exprc.shared(np.zeros(3, "float32"), "d")
    both = exprc.function([], None, updates={c: c + 1, d: d + 1})
    assert "d is updated twice" in message(ValueError, both.copy, swap={c: d})


# -- trusted inputs


def test_trusted_inputs_are_taken_as_they_are_or_refused() -> None:
    x, n = T.matrix("x", shape=(None, 3)), T.scalar("n")
    f = exprc.function([x, n], x * n, trust_input=True)
    good, one = np.ones((2, 3), "float32"), np.array(2, "float32")
    assert f(good, one).sum() == 12
    for bad in (np.ones((2, 3)), np.ones((2, 4), "float32"), np.ones(3, "float32"), np.ones((2, 6), "float32")[:, ::2], [[1, 2, 3]],
                np.ones((3, 2), "float32").T, np.ones((2, 3), ">f4"), np.ones((2, 3), "int32"), None,
                np.frombuffer(b"\0" * 25, "uint8")[1:].view("float32").reshape(2, 3)):  # fmt: skip
        text = message(TypeError, f, bad, one)
        assert "wrong value for the input x: with trust_input it takes only contiguous arrays of its own type" in text and HERE in text
    f.trust_input = False
    assert f(np.ones((2, 3)), 2).sum() == 12
    assert "it takes shape (?, 3), the value has (2, 4)" in message(ValueError, f, np.ones((2, 4)), 2)


def test_errors_of_values_say_what_would_mend_them() -> None:
    x, i = T.matrix("x"), T.ivector("i")
    f = exprc.function([x, i], x[i], name="rows")
    assert "value[None] adds an axis in front" in message(TypeError, f, np.zeros(3), [0])
    assert "value[0] is one element of it" in message(TypeError, f, np.zeros((1, 2, 3)), [0])
    assert "an array is needed, not an expression" in message(TypeError, f, x, [0])
    assert "pass its .get_value()" in message(TypeError, f, exprc.shared(np.zeros((2, 2))), [0])
    assert "an array of numbers is needed, not <U4" in message(TypeError, f, "text", [0])
    text = message(TypeError, f, [[1, 2], [3]], [0])
    assert text.startswith("function rows: wrong value for the input x: list cannot be made an array") and HERE in text
    assert "an array of numbers is needed, not complex128" in message(TypeError, f, np.zeros((2, 2), complex), [0])
    assert "an array of numbers is needed, not object" in message(TypeError, f, None, [0])
    assert "its dtype is int32, that of the value float64" in message(TypeError, f, np.zeros((2, 2)), [0.5])
    assert "that of the value int64" in message(TypeError, f, np.zeros((2, 2)), np.array([2**40]))


# -- who owns which memory


@MODES
def test_inputs_are_neither_written_nor_kept(mode: str) -> None:
    x, w = T.vector("x"), exprc.shared(np.zeros(3, "float32"))
    f = exprc.function([x], [x, x[::-1], x * 1], updates={w: x}, mode=mode)
    value = np.array([1, 2, 3], "float32")
    outputs = f(value)
    assert not any(np.shares_memory(o, value) for o in outputs) and not np.shares_memory(w.get_value(borrow=True), value)
    value[:] = 7
    assert [o.tolist() for o in outputs] == [[1, 2, 3], [3, 2, 1], [1, 2, 3]] and w.get_value().tolist() == [1, 2, 3]
    locked = np.ones(3, "float32")
    locked.flags.writeable = False
    assert f(locked)[0].flags.writeable and locked.tolist() == [1, 1, 1]


@MODES
def test_outputs_belong_to_the_caller_alone(mode: str) -> None:
    x, w = T.vector("x"), exprc.shared(np.arange(3, dtype="float32"))
    h = x * 2
    f = exprc.function([x], [h, h, h[:2], w, w.T, T.constant(np.zeros(3, "float32"))], mode=mode)
    first, second = f([1, 2, 3]), f([1, 2, 3])
    every = [*first, *second, w.get_value(borrow=True)]
    for k, one in enumerate(every):
        assert one.flags.writeable and not any(np.shares_memory(one, other) for other in every[:k])
    for one in first:
        one[...] = -1
    assert [o.tolist() for o in f([1, 2, 3])] == [o.tolist() for o in second]


@MODES
def test_borrowed_storage_follows_updates_and_is_read_as_it_was(mode: str) -> None:
    w, x = exprc.shared(np.zeros(3, "float32"), "w"), T.vector("x")
    storage = w.get_value(borrow=True)
    f = exprc.function([x], w + x, updates={w: w[::-1] + x + 1}, mode=mode)
    assert f([1, 2, 3]).tolist() == [1, 2, 3] and storage.tolist() == [2, 3, 4] == w.get_value().tolist()
    assert f(storage).tolist() == [4, 6, 8]  # the variable's own storage as the value of an input
    assert w.get_value().tolist() == [7, 7, 7]
    storage[0] = 100
    assert w.get_value()[0] == 100


def test_a_value_that_is_set_without_borrow_is_never_aliased() -> None:
    """Also where it comes by a protocol that shares memory, and where the shape changes."""
    w = exprc.shared(np.zeros(2, "float32"), shape=(None,))
    for value in (np.ones(3, "float32"), np.ones(4, "float32")):
        for given in (value, memoryview(value), value.view(np.recarray), Exporter(value)):
            w.set_value(given)
            assert not np.shares_memory(w.get_value(borrow=True), value)
            assert not np.shares_memory(exprc.shared(given).get_value(borrow=True), value)
    value = np.ones(5, "float32")
    w.set_value(value, borrow=True)
    assert w.get_value(borrow=True) is value


class Exporter:
    """Gives its memory away by `__array__`, as others' arrays do."""

    def __init__(self, array: Any):
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


def test_a_default_is_borrowed_only_where_that_was_said() -> None:
    x, array = T.vector("x"), np.zeros(2, "float32")
    kept, lent = (exprc.function([In(x, value=array, borrow=b)], x + 1) for b in (False, True))
    array[:] = 5
    assert kept().tolist() == [1, 1] and lent().tolist() == [6, 6]


def test_get_value_waits_for_a_function_that_is_writing() -> None:
    """Half of an update is never seen."""
    w = exprc.shared(np.zeros(300_000, "float32"))
    f = exprc.function([], updates={w: w + 1})
    f()
    torn, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            value = w.get_value()
            if value.min() != value.max():
                torn.append(value)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(150):
        f()
    done.set()
    reader.join()
    assert not torn


# -- all updates or none


@MODES
def test_an_index_out_of_bounds_leaves_every_variable_as_it_was(mode: str) -> None:
    """Whether the index is given or computed, and whether a variable is written before or after it is read."""
    w, n = exprc.shared(np.arange(8, dtype="float32").reshape(4, 2), "w"), exprc.shared(0, "n")
    counts = exprc.shared(np.zeros(4, "float32"))
    i, seen = T.ivector("i"), T.scalar("seen")
    state = exprc.In(seen, value=0, update=seen + 1)
    rows = exprc.function([i, state], w[i].sum(axis=0), {n: n + 1, counts: counts * 2 + 1, w: w * 2}, mode=mode, on_unused_input="ignore")
    computed = exprc.function([i, state], w[i * 2 - 1].sum(axis=0), {w: w + 1, n: n + 1}, mode=mode, on_unused_input="ignore")
    for f, wrong in ((rows, [0, 4]), (rows, [-5]), (computed, [3]), (computed, [1, 2, 100])):
        before = [v.get_value() for v in (w, n, counts)], f["seen"]
        text = message(IndexError, f, np.array(wrong, "int32"))
        assert "out of bounds" in text
        assert mode == "reference" or ("no variable was updated" in text and HERE in text)
        for one, two in zip(before[0], (w, n, counts)):
            np.testing.assert_array_equal(one, two.get_value())
        assert f["seen"] == before[1]
    rows(np.array([-4, 3], "int32"))
    computed(np.array([0, 2], "int32"))
    assert n.get_value() == 2 and w.get_value().tolist() == [[1, 3], [5, 7], [9, 11], [13, 15]]


def test_old_values_are_kept_only_where_an_index_may_be_out_of_bounds() -> None:
    w, i = exprc.shared(np.zeros((4, 2), "float32")), T.ivector("i")
    f = exprc.function([i], w[i], {w: w + 1})
    f(np.array([1, 1], "int32"))
    (runner,) = f._compiled.bound_runners()
    (leaf,) = f.inputs
    assert runner.guard.containers == [w.container] and not runner.guard.unknown
    assert runner.guard.keep({leaf: np.array([3, -4])}) == [] != runner.guard.keep({leaf: np.array([4])})
    computed = exprc.function([i], w[i + 1], {w: w + 1})
    computed(np.array([1, 1], "int32"))
    (runner,) = computed._compiled.bound_runners()
    assert runner.guard.unknown


# -- what is given in another form than is meant


def test_a_warning_of_an_idle_input_is_shown_at_the_users_line() -> None:
    x, y = T.vectors("x", "y")
    with pytest.warns(UserWarning, match="an input is not needed") as told:
        exprc.function([x, y], x, on_unused_input="warn", mode="reference")
    assert told[0].filename == __file__


def test_pairs_may_come_from_anything_that_yields_them() -> None:
    w, v = exprc.shared(1.0, "w"), exprc.shared(2.0, "v")
    exprc.function([], updates=zip([w, v], [w + 1, v + 1]), mode="reference")()
    exprc.function([], updates=[[w, w * 2]], mode="reference")()
    assert float(w.get_value()) == 4 and float(v.get_value()) == 3
    for wrong in (w, [w], (w, w + 1), [(w, w, w)], 3, "wv"):
        assert "updates must be a dict or a list of pairs; it is given" in message(TypeError, exprc.function, [], updates=wrong)


def test_integers_may_be_replaced_by_integers_and_floats_by_anything() -> None:
    i, x = T.iscalar("i"), T.scalar("x")
    assert exprc.function([], i, givens={i: np.int64(3)}, mode="reference")() == 3
    assert exprc.function([], x, givens={x: np.float64(0.5)}, mode="reference")() == 0.5
    assert exprc.function([], x, givens={x: 3}, mode="reference")() == 3
    assert "cast it where fractions may be dropped" in message(TypeError, exprc.function, [], i, givens={i: 2.5})


def test_an_input_may_be_called_self() -> None:
    x = T.scalar("self")
    assert exprc.function([x], x + 1, mode="reference")(self=2) == 3


def test_a_copy_takes_pairs_for_its_swap() -> None:
    w, v = exprc.shared(1.0, "w"), exprc.shared(5.0, "v")
    assert exprc.function([], w * 2, mode="reference").copy(swap=[(w, v)])() == 10


def test_integers_that_do_not_fit_are_told_from_other_dtypes() -> None:
    i, x = T.ivector("i"), T.scalar("x")
    f, g = exprc.function([i], i, mode="reference"), exprc.function([x], x, mode="reference")
    assert "2147483648 does not fit int32" in message(TypeError, f, [1, 2**31])
    assert "pass np.asarray(value, 'int32'), or allow_input_downcast=True" in message(TypeError, f, [1.5])
    assert "pass value.astype('int32'), or allow_input_downcast=True" in message(TypeError, f, np.array([2**31]))
    strictly = exprc.function([i], i, allow_input_downcast=False, mode="reference")
    assert "its dtype is int32, that of the value int64" in message(TypeError, strictly, [1, 2])
    assert "an integer beyond 64 bits: pass float(value)" in message(TypeError, g, 2**70)


# -- shared variables


def test_broadcastable_says_which_lengths_stay_one() -> None:
    w = exprc.shared(np.zeros((1, 1, 3), "float32"), "w", broadcastable=(True, False, False))
    assert w.type.shape == (1, None, 3) and w.broadcastable == (True, False, False)
    state = exprc.shared(np.zeros((2, 1), "float32"), broadcastable=exprc.shared(np.zeros((2, 1))).broadcastable)
    assert state.type.shape == (2, 1)
    w.set_value(np.ones((1, 4, 3)))
    assert "its shape is (1, ?, 3), that of the value (2, 4, 3)" in message(ValueError, w.set_value, np.ones((2, 4, 3)))
    both = {"shape": (1,), "broadcastable": (True,)}
    assert "shape and broadcastable say the same" in message(TypeError, exprc.shared, [1.0], **both)
    assert "does not fit a value of shape (1,)" in message(ValueError, exprc.shared, [1.0], broadcastable=(True, False))


def test_zero_keeps_type_and_storage() -> None:
    kept = np.arange(4, dtype="int32").reshape(2, 2)
    w = exprc.shared(kept, borrow=True)
    w.zero()
    assert w.get_value().tolist() == [[0, 0], [0, 0]] and w.dtype == "int32"


def test_what_a_shared_variable_is_not_made_of() -> None:
    assert "a name must be a string, not 3" in message(TypeError, exprc.shared, 1.0, 3)
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    assert "MaskedArray cannot be made an array\n  an array with masked elements" in message(TypeError, exprc.shared, masked)
    assert exprc.shared(np.ma.masked_array([1.0, 2.0])).get_value().tolist() == [1, 2]


def test_two_variables_may_have_one_memory_while_only_one_is_updated() -> None:
    values = np.zeros(3, "float32")
    a, b = exprc.shared(values, "a", borrow=True), exprc.shared(values[1:], "b", borrow=True)
    exprc.function([], updates={a: a + 1}, mode="reference")()
    assert b.get_value().tolist() == [1, 1]
    assert "a and b are kept in the same memory" in message(ValueError, exprc.function, [], updates={a: a + 1, b: b + 1})
    c, d = exprc.shared(np.zeros(4, "float32")[:2], "c", borrow=True), exprc.shared(np.zeros(4, "float32"), "d", borrow=True)
    exprc.function([], updates={c: c + 1, d: d + 1}, mode="reference")()
