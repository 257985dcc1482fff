"""The language Loops: what the verifier refuses, what the interpreter computes, how programs read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from exprc.interpret import interpret, interpret_function
from exprc.loops import (
    Accum,
    Alloc,
    Apply,
    Barrier,
    Buffer,
    Check,
    Copy,
    Function,
    If,
    Index,
    Kernel,
    Let,
    Literal,
    Load,
    Loop,
    Program,
    Ref,
    Select,
    Store,
    Template,
)
from exprc.loops_text import text_of
from exprc.size import ceildiv, load, minimum, symbol
from exprc.verify import verify

N = symbol("n")
X, Y = Buffer("x", "float32", N), Buffer("y", "float32", N)
AT, BLOCK = symbol("i"), symbol("block")
ONE = Literal(1, "float32")


def kernel(*body: object, buffers: tuple = (X, Y), written: tuple = (Y,), blocks: object = 1) -> Kernel:
    return Kernel("k", buffers, written, blocks, body, "a test")


def serial(*body: object, var: str = "i", extent: object = N, kind: str = "serial") -> Loop:
    return Loop(var, extent, kind, body)


def apply(text: str, dtype: str = "float32", **args: object) -> Apply:
    return Apply(text, tuple(args.items()), dtype)


def row_sums(rows: int, columns: int) -> Kernel:
    """Sums of the rows of a matrix, 4 columns at a time in lanes, the lanes joined at the end."""
    a, s, cell = Buffer("a", "float32", rows * columns), Buffer("s", "float32", rows), Buffer("c", "float32", 4, local=True)
    lane, j, r = symbol("l", 0, 3), symbol("j"), symbol("r")
    at = BLOCK * columns + 4 * j + lane
    step = apply("{c} + {v}", c=Load(cell, lane), v=Ref("v", "float32"))
    inner = Loop("l", minimum(4, columns - 4 * j), "lanes", (Let("v", "float32", Load(a, at)), Accum(((cell, lane),), (step,))))
    join = Accum(((cell, 0),), (apply("{c} + {v}", c=Load(cell, 0), v=Load(cell, r + 1)),))
    body = (
        Alloc(cell),
        Loop("l", 4, "lanes", (Store(cell, lane, Literal(0, "float32")),)),
        Loop("j", ceildiv(columns, 4), "serial", (inner,)),
        Loop("r", 3, "serial", (join,)),
        Store(s, BLOCK, Load(cell, 0)),
    )
    return Kernel("rows", (a, s), (s,), rows, body)


# -- the interpreter -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, columns", [(1, 1), (3, 4), (2, 5), (3, 11), (0, 5), (2, 0)])
def test_sums_of_rows(rows: int, columns: int) -> None:
    a = np.arange(rows * columns, dtype="float32").reshape(rows, columns)
    s = np.full(rows, np.nan, "float32")
    verify(row_sums(rows, columns))
    assert interpret(row_sums(rows, columns), {"a": a.ravel(), "s": s}) == {}
    np.testing.assert_array_equal(s, a.sum(1))


def test_sizes_are_arguments() -> None:
    double = kernel(serial(Store(Y, AT, apply("{a} + {a}", a=Load(X, AT))), kind="lanes"))
    x, y = np.arange(5, dtype="float32"), np.zeros(5, "float32")
    interpret(double, {"x": x, "y": y}, {"n": 5})
    np.testing.assert_array_equal(y, 2 * x)


def test_values_convert_as_in_c() -> None:
    b, f = Buffer("b", "uint8", 2), Buffer("f", "bool", 1)
    body = (
        Let("t", "uint8", apply("{v} + 100", "int32", v=Literal(200, "uint8"))),
        Store(b, 0, Ref("t", "uint8")),
        Store(b, 1, Literal(-1, "int32")),
        Store(f, 0, Literal(0.5, "float32")),
    )
    arrays = {"b": np.zeros(2, "uint8"), "f": np.zeros(1, bool)}
    interpret(kernel(*body, buffers=(b, f), written=(b, f)), arrays)
    assert arrays["b"].tolist() == [44, 255]
    assert arrays["f"].tolist() == [True]


def test_accum_reads_all_before_it_writes() -> None:
    a = Buffer("a", "int32", 2, local=True)
    y = Buffer("y", "int32", 2)
    swap = Accum(((a, 0), (a, 1)), (Load(a, 1), Load(a, 0)))
    body = (Alloc(a), Store(a, 0, Literal(7, "int32")), Store(a, 1, Literal(9, "int32")), swap)
    out = np.zeros(2, "int32")
    interpret(kernel(*body, *(Store(y, k, Load(a, k)) for k in (0, 1)), buffers=(y,), written=(y,)), {"y": out})
    assert out.tolist() == [9, 7]


def test_if_and_select_guard_accesses() -> None:
    shifted = Select(((AT - 1, N),), Load(X, AT - 1), Literal(-5, "float32"))
    body = serial(If(((2 * AT, N),), (Store(Y, 2 * AT, shifted),)))
    x, y = np.arange(4, dtype="float32"), np.zeros(4, "float32")
    verify(kernel(body), {"n": 4})
    interpret(kernel(body), {"x": x, "y": y}, {"n": 4})
    assert y.tolist() == [-5, 0, 0, 0]


def test_check_wraps_and_counts() -> None:
    at, j = Buffer("at", "int32", 5), symbol("j")
    body = serial(Check("j", Load(at, AT), 3, 7), Store(Y, AT, Load(X, j)), extent=5)
    arrays = {
        "at": np.array([2, -1, 3, -4, -3], "int32"),
        "x": np.array([10, 11, 12], "float32"),
        "y": np.zeros(5, "float32"),
    }
    x, y = Buffer("x", "float32", 3), Buffer("y", "float32", 5)
    gather = Kernel("g", (at, x, y), (y,), 1, (Loop("i", 5, "serial", (body.body[0], Store(y, AT, Load(x, j)))),))
    verify(gather)
    assert interpret(gather, arrays) == {7: 2}
    assert arrays["y"].tolist() == [12, 12, 10, 10, 10]


def test_an_address_may_read_memory() -> None:
    at = Buffer("at", "int64", 3)
    out = kernel(serial(Store(Y, AT, Load(X, load(at, 2 - AT))), extent=3), buffers=(X, Y, at))
    verify(out, {"n": 3})
    arrays = {"at": np.array([0, 2, 1]), "x": np.array([5, 6, 7], "float32"), "y": np.zeros(3, "float32")}
    interpret(out, arrays, {"n": 3})
    assert arrays["y"].tolist() == [6, 7, 5]


def test_integer_expressions() -> None:
    y = Buffer("y", "int64", 4)
    dims = [(AT - 7) // 2, (AT - 7) % 4, minimum(AT, N), -1 * AT * N + 3]
    body = [Store(y, k, Index(d)) for k, d in enumerate(dims)]
    out = np.zeros(4, "int64")
    interpret(kernel(Let("i", "int64", Literal(2, "int64")), *body, buffers=(y,), written=(y,)), {"y": out}, {"n": 5})
    assert out.tolist() == [-3, 3, 2, -7]


def test_threads_of_a_block_meet_at_barriers() -> None:
    """Each thread stores its element, then reads that of its neighbour: wrong without the barrier."""
    shared, t = Buffer("s", "float32", 4, local=True), symbol("t")
    body = (
        Alloc(shared),
        Loop("t", 4, "block", (Store(shared, t, Load(X, t)), Barrier(), Store(Y, t, Load(shared, 3 - t)))),
    )
    x, y = np.array([1, 2, 3, 4], "float32"), np.zeros(4, "float32")
    verify(kernel(*body), {"n": 4})
    interpret(kernel(*body), {"x": x, "y": y}, {"n": 4})
    assert y.tolist() == [4, 3, 2, 1]


def test_a_barrier_that_some_threads_miss() -> None:
    t = symbol("t")
    body = Loop("t", 4, "block", (If(((t, 2),), (Barrier(),)),))
    message = "kernel k: 2 of 4 threads wait at a barrier that the others do not reach"
    with pytest.raises(ValueError, match=re.escape(message)):
        interpret(kernel(body, buffers=(), written=()), {})


def test_copy() -> None:
    arrays = {"x": np.arange(4, dtype="float32"), "y": np.zeros(4, "float32")}
    interpret(Copy(X, Y, N - 1), arrays, {"n": 4})
    assert arrays["y"].tolist() == [0, 1, 2, 0]
    with pytest.raises(IndexError, match="copy of x to y: 5 elements are outside x, which has 4"):
        interpret(Copy(X, Y, N + 1), arrays, {"n": 4})


ARRAYS = {"x": np.zeros(4, "float32"), "y": np.zeros(4, "float32")}
C4 = Buffer("c", "float32", 4, local=True)


@pytest.mark.parametrize(
    "body, error, message",
    [
        (
            [serial(Store(Y, AT, Load(X, AT + 1)))],
            IndexError,
            "kernel k: x[4] is read, but x has 4 elements\n"
            "  statement  y[i] = x[i + 1]\n  where      block = 0, i = 3, n = 4",
        ),
        (
            [Store(Y, N - 5, ONE)],
            IndexError,
            "kernel k: y[-1] is stored, but y has 4 elements\n"
            "  statement  y[n + -5] = 1\n  where      block = 0, n = 4",
        ),
        (
            [Alloc(C4), Store(C4, 1, ONE), Store(Y, 0, Load(C4, 2))],
            ValueError,
            "kernel k: c[2] is read before it is stored\n  statement  y[0] = c[2]\n  where      block = 0, n = 4",
        ),
        (
            [serial(Store(Y, 0, ONE)), Store(Y, AT, ONE)],
            ValueError,
            "kernel k: i has no value\n  statement  y[i] = 1\n  where      block = 0, n = 4",
        ),
    ],
)
def test_what_the_interpreter_refuses(body: list, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message) + "$"):
        interpret(kernel(*body), ARRAYS, {"n": 4})


def test_arrays_must_fit_their_buffers() -> None:
    with pytest.raises(ValueError, match="kernel k: no array was given for the buffer y$"):
        interpret(kernel(), {"x": ARRAYS["x"]}, {"n": 4})
    message = "kernel k: the array does not fit the buffer x: float32[4] ≠ float32[5]"
    with pytest.raises(ValueError, match=re.escape(message)):
        interpret(kernel(), ARRAYS, {"n": 5})
    message = "kernel k: the array does not fit the buffer x: float64[4] ≠ float32[4]"
    with pytest.raises(ValueError, match=re.escape(message)):
        interpret(kernel(), {"x": np.zeros(4), "y": np.zeros(4)}, {"n": 4})


def template(*hooks: Function, macros: object = None) -> Template:
    return Template("t", "gemm.h", "float32", 16, (X, Y), (Y,), macros or {"M": N}, hooks)


LOAD = Function("LOAD_a", ("i",), None, (Let("v", "float32", Load(X, AT)),), apply("{v} * 2", v=Ref("v", "float32")))
STORE = Function("STORE_y", ("i",), Ref("x_", "float32"), (Store(Y, AT, Ref("x_", "float32")),))
POINT = Function("POINT_a", ("i",), None, (), Index(AT), X)


def test_hooks() -> None:
    arrays = {"x": np.arange(4, dtype="float32"), "y": np.zeros(4, "float32")}
    verify(template(LOAD, STORE, POINT))
    assert interpret_function(LOAD, (3,), arrays, {"n": 4}, (X, Y)) == 6
    assert interpret_function(STORE, (1, 2.5), arrays) is None
    assert arrays["y"].tolist() == [0, 2.5, 0, 0]
    assert np.shares_memory(interpret_function(POINT, (1,), arrays), arrays["x"])
    assert interpret_function(POINT, (1,), arrays).tolist() == [1, 2, 3]
    with pytest.raises(IndexError, match=re.escape("hook POINT_a: x[4] is pointed to, but x has 4 elements")):
        interpret_function(POINT, (4,), arrays)
    with pytest.raises(TypeError, match="the hook STORE_y takes 2 arguments, 1 were given"):
        interpret_function(STORE, (1,), arrays)
    with pytest.raises(TypeError, match="a Template is not interpreted, since its text is C\n  call its hooks with"):
        interpret(template(), arrays)


# -- the verifier ----------------------------------------------------------------------------------------------------

LOCAL = Buffer("c", "float32", 4, local=True)
Z = Buffer("z", "float32", 8)


@pytest.mark.parametrize(
    "body, message",
    [
        ([Store(Y, 0, Ref("v", "float32"))], "v is used where it is not defined\n  statement  y[0] = v"),
        ([Store(Y, AT, ONE)], "i is used where it is not defined\n  statement  y[i] = 1"),
        (
            [serial(Let("val", "float32", ONE)), Store(Y, 0, Ref("vol", "float32"))],
            "vol is used where it is not defined\n  statement  y[0] = vol",
        ),
        (
            [serial(Store(Y, 0, ONE), extent=symbol("m"))],
            "m is used where it is not defined\n  statement  serial i < m",
        ),
        (
            [If(((symbol("m"), 3),), ())],
            "m is used where it is not defined\n  statement  if 0 <= m < 3",
        ),
        (
            [Let("v", "float32", ONE), Let("v", "float32", ONE)],
            "the name v is defined twice\n  statement  float32 v = 1",
        ),
        (
            [serial(serial(Store(Y, 0, ONE)))],
            "the name i is defined twice\n  statement  serial i < n",
        ),
        ([Let("x", "float32", ONE)], "the name x is defined twice\n  statement  float32 x = 1"),
        ([Let("n", "int64", Literal(1, "int64"))], "the name n is defined twice\n  statement  int64 n = 1"),
        ([serial(var="block")], "the name block is defined twice\n  statement  serial block < n"),
        ([Alloc(LOCAL), Alloc(LOCAL)], "the name c is defined twice\n  statement  float32 c[4]"),
        (
            [Let("v", "float32", ONE), Store(Y, 0, Ref("v", "float64"))],
            "v is used in another dtype than its own: float32 ≠ float64\n  statement  y[0] = v",
        ),
        (
            [Store(X, 0, ONE)],
            "x is stored to, but is not one of the buffers written: y\n  statement  x[0] = 1",
        ),
        (
            [Store(Y, 0, Load(Z, 0))],
            "the buffer z is not declared\n  statement  y[0] = z[0]",
        ),
        ([Store(LOCAL, 0, ONE)], "the buffer c is not declared\n  statement  c[0] = 1"),
        (
            [serial(Alloc(LOCAL)), Store(LOCAL, 0, ONE)],
            "the buffer c is not declared\n  statement  c[0] = 1",
        ),
        (
            [Store(Y, 0, Load(Buffer("x", "float64", N), 0))],
            "the buffer x is declared otherwise: x: float32[n] ≠ x: float64[n]\n  statement  y[0] = x[0]",
        ),
        (
            [serial(kind="paralel")],
            "unknown kind of loop 'paralel'\n  statement  paralel i < n\n  did you mean 'parallel'?",
        ),
        (
            [Let("v", "float23", ONE)],
            "unknown dtype 'float23'\n  statement  float23 v = 1\n  did you mean 'float32'?",
        ),
        (
            [Store(Y, 0, apply("1", "complex64"))],
            "unknown dtype 'complex64'\n  statement  y[0] = 1",
        ),
        (
            [serial(serial(Loop("l", 4, "lanes", ()), var="j"), kind="lanes")],
            "the loop l in lanes stands inside another loop in lanes\n  statement  lanes l < 4",
        ),
        (
            [Accum(((Y, 0),), (ONE,))],
            "y is accumulated in, but is not local\n  statement  y[0] = 1",
        ),
        (
            [Alloc(LOCAL), Accum(((LOCAL, 0),), (ONE, ONE))],
            "1 targets for 2 values\n  statement  c[0] = 1, 1",
        ),
        (
            [Check("j", Literal(1.5, "float32"), 3, 0)],
            "the index j is of dtype float32, not an integer\n  statement  index j = 1.5 checked against 3  // check 0",
        ),
        (
            [Store(Y, 0, apply("{a} + {b}", a=ONE))],
            "the text '{a} + {b}' has no operand for b\n  statement  y[0] = 1 + {b}",
        ),
        (
            [serial(Barrier(), kind="parallel")],
            "a barrier stands where not every thread comes by\n  statement  barrier\n"
            "  move it out of the loop or If that threads run differently",
        ),
        (
            [serial(serial(Barrier(), var="j", extent=AT), kind="block")],
            "a barrier stands where not every thread comes by\n  statement  barrier\n"
            "  move it out of the loop or If that threads run differently",
        ),
        (
            [serial(Let("t", "int64", Index(AT)), If(((symbol("t"), 3),), (Barrier(),)), kind="block")],
            "a barrier stands where not every thread comes by\n  statement  barrier\n"
            "  move it out of the loop or If that threads run differently",
        ),
        ([Store(Y, 0, 3)], "int is no value\n  statement  y[0] = 3"),
    ],
)
def test_what_the_verifier_refuses(body: list, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape("kernel k: " + message) + "$"):
        verify(kernel(*body))


@pytest.mark.parametrize(
    "body, sizes, message",
    [
        ([Store(Y, -1, ONE)], {"n": None}, "address -1 is outside y, which has n elements"),
        ([Store(Y, N, ONE)], {"n": None}, "address n is outside y, which has n elements"),
        ([Store(Y, 4, ONE)], {"n": 4}, "address 4 is outside y, which has n elements"),
        (
            [serial(Store(Y, AT, ONE), extent=5)],
            {"n": 4},
            "address i reaches 4 and is outside y, which has n elements",
        ),
        (
            [serial(Store(Y, AT - 1, ONE), extent=5)],
            {"n": 9},
            "address i + -1 reaches -1 and is outside y, which has n elements",
        ),
        (
            [serial(serial(Store(Y, 3 * AT + symbol("j"), ONE), var="j", extent=3), extent=3)],
            {"n": 8},
            "address 3*i + j reaches 8 and is outside y, which has n elements",
        ),
        (
            [Store(Y, 0, apply("{a}", a=Load(X, N + AT % 2))) for _ in "1"],
            {"n": 4},
            "i is used where it is not defined",
        ),
        (
            [Let("t", "int64", Index(N + 1)), Store(Y, symbol("t"), ONE)],
            {"n": 4},
            "address t is outside y, which has n elements",
        ),
    ],
)
def test_addresses_that_are_surely_outside(body: list, sizes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        verify(kernel(*body), sizes)


def test_an_extent_of_at_least_one_proves_with_symbols_too() -> None:
    n = symbol("n", 2)
    x = Buffer("x", "float32", n)
    body = serial(Store(x, AT + 1, ONE), extent=n)
    with pytest.raises(ValueError, match=re.escape("address i + 1 reaches n and is outside x, which has n elements")):
        verify(kernel(body, buffers=(x,), written=(x,)), {"n": None})


@pytest.mark.parametrize(
    "body, sizes",
    [
        ([serial(Store(Y, AT, ONE))], {"n": None}),
        ([serial(Store(Y, 5 + AT, ONE), extent=0)], {"n": 4}),  # never runs
        ([serial(Store(Y, AT + 1, ONE))], {"n": None}),  # may never run
        ([If(((N, 3),), (Store(Y, 9, ONE),))], {"n": 4}),  # may never run
        ([Store(Y, 0, Select(((N, 3),), Load(X, 9), ONE))], {"n": 4}),
        ([serial(Store(Y, AT - AT, ONE), extent=9)], {"n": 4}),
        ([serial(Store(Y, minimum(AT, N - 1), ONE), extent=9)], {"n": 4}),
        ([serial(Let("v", "float32", ONE)), serial(Let("v", "float32", ONE))], {"n": 4}),  # two scopes
        ([Loop("i", 4, "lanes", (Store(Y, AT, ONE),)), Loop("i", 4, "lanes", (Store(Y, AT, ONE),))], {"n": 4}),
        ([Barrier(), serial(Barrier()), serial(Barrier(), kind="block")], {"n": 4}),
        ([Alloc(LOCAL), Accum(((LOCAL, 0),), (ONE,))], {"n": 4}),
        ([Store(Y, 0, apply("({T}){lowest}"))], {"n": 4}),
    ],
)
def test_what_the_verifier_accepts(body: list, sizes: dict) -> None:
    verify(kernel(*body), sizes)


def test_programs() -> None:
    store = kernel(serial(Store(Y, AT, Load(X, AT))))
    program = Program((store, Barrier(), Copy(Y, X, N), template(LOAD, STORE)), (X, Y), {"n": None})
    verify(program)
    with pytest.raises(ValueError, match=re.escape("kernel k: buffer y is not one of the program's\n  buffer  y: float32[n]")):
        verify(Program((store,), (X,), {"n": None}))
    with pytest.raises(ValueError, match="a copy: buffer y is not one of the program's"):
        verify(Program((Copy(Y, X, N),), (X,), {"n": None}))
    with pytest.raises(ValueError, match="kernel k: n is used where it is not defined"):
        verify(Program((store,), (X, Y), {}))
    with pytest.raises(ValueError, match="kernel k: address i reaches 4 and is outside y, which has n elements"):
        verify(Program((kernel(serial(Store(Y, AT, ONE), extent=5)),), (X, Y), {"n": 4}))


def test_hooks_are_verified() -> None:
    wrong = Function("LOAD_a", ("i",), None, (), Load(X, symbol("k")))
    with pytest.raises(ValueError, match="template t, hook LOAD_a: k is used where it is not defined"):
        verify(template(LOAD, wrong))
    stores = Function("STORE_y", ("i",), Ref("v", "float32"), (Store(X, AT, Ref("v", "float32")),))
    with pytest.raises(ValueError, match="template t, hook STORE_y: x is stored to, but is not one of the buffers written: y"):
        verify(template(stores))
    point = Function("POINT_z", ("i",), None, (), Index(AT), Z)
    with pytest.raises(ValueError, match="template t, hook POINT_z: the buffer z is not declared"):
        verify(template(point))


def test_the_verifier_is_linear() -> None:
    """A statement more costs the same however many there are: counted in checks of names, not in seconds."""
    from exprc import verify as module

    def names_checked(count: int) -> int:
        calls = 0
        original = module._Walk.name

        def counted(self: object, name: str) -> None:
            nonlocal calls
            calls += 1
            original(self, name)

        module._Walk.name = counted
        try:
            lets = [Let("v0", "float32", ONE)]
            lets += [Let(f"v{k}", "float32", apply("{a} + {a}", a=Ref(f"v{k - 1}", "float32"))) for k in range(1, count)]
            verify(kernel(serial(*lets)))
        finally:
            module._Walk.name = original
        return calls

    few, many = names_checked(100), names_checked(400)
    assert many - few == 300


def test_a_shared_value_is_checked_once_and_deep_values_need_no_recursion() -> None:
    value = ONE
    for _ in range(5000):
        value = apply("{a} + {b}", a=value, b=value)
    verify(kernel(Store(Y, 0, value)), {"n": 4})


# -- text ------------------------------------------------------------------------------------------------------------


def test_a_kernel_reads_well() -> None:
    assert text_of(row_sums(3, 6)) == (
        "kernel rows(a: float32[18], s: float32[3]) writes s, 3 blocks\n"
        "    float32 c[4]\n"
        "    lanes l < 4\n"
        "        c[l] = 0\n"
        "    serial j < 2\n"
        "        lanes l < min(4, -4*j + 6)\n"
        "            float32 v = a[6*block + 4*j + l]\n"
        "            c[l] = c[l] + v\n"
        "    serial r < 3\n"
        "        c[0] = c[0] + c[r + 1]\n"
        "    s[block] = c[0]"
    )


def test_programs_templates_and_hooks_read_well() -> None:
    check = serial(Check("j", Index(AT), 3, 1), If(((AT, 3),), (Barrier(),)), Store(Y, AT, Select(((AT, 2),), ONE, ONE)))
    program = Program((kernel(check), Barrier(), Copy(Y, X, N), template(LOAD, STORE, POINT)), (X, Y), {"n": None, "m": 3})
    assert text_of(program) == (
        "program of 4 steps, sizes: n, m = 3\n"
        "\n"
        "kernel k(x: float32[n], y: float32[n]) writes y, 1 blocks  // a test\n"
        "    serial i < n\n"
        "        index j = i checked against 3  // check 1\n"
        "        if 0 <= i < 3\n"
        "            barrier\n"
        "        y[i] = (0 <= i < 2) ? 1 : 1\n"
        "\n"
        "barrier\n"
        "\n"
        "copy x[0 .. n] = y[0 .. n]\n"
        "\n"
        "template t(x: float32[n], y: float32[n]) writes y: gemm.h, float32, 16 lanes\n"
        "    M = n\n"
        "    hook LOAD_a(i)\n"
        "        float32 v = x[i]\n"
        "        return v * 2\n"
        "    hook STORE_y(i, x_: float32)\n"
        "        y[i] = x_\n"
        "    hook POINT_a(i)\n"
        "        return address of x[i]"
    )


def test_text_of_what_is_no_loops() -> None:
    with pytest.raises(TypeError, match="int is no part of the language Loops"):
        text_of(3)
