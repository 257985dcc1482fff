"""What users write: variables, NumPy-like operators, functions and indexing, and what is said when something does not fit."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Input, leaves
from exprc.reference import evaluate


def run(expr, *arrays):
    """The value of an expression, inputs given in the order of their first use."""
    inputs = [x for x in leaves([expr]) if isinstance(x, Input)]
    return evaluate([expr], {x: np.asarray(a, x.dtype) for x, a in zip(inputs, arrays, strict=True)})[0]


def like(array, known=True):
    """An input for an array."""
    return T.TensorType(array.dtype.name, array.shape if known else (None,) * array.ndim)("x")


def message(kind, function, *args, **kwargs):
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    return str(error.value)


# -- variables


@pytest.mark.parametrize(
    ("make", "dtype", "shape"),
    [
        (T.scalar, "float32", ()),
        (T.vector, "float32", (None,)),
        (T.row, "float32", (1, None)),
        (T.col, "float32", (None, 1)),
        (T.matrix, "float32", (None, None)),
        (T.tensor5, "float32", (None,) * 5),
        (T.ivector, "int32", (None,)),
        (T.lscalar, "int64", ()),
        (T.bmatrix, "int8", (None, None)),
        (T.wvector, "int16", (None,)),
        (T.dtensor3, "float64", (None,) * 3),
        (T.frow, "float32", (1, None)),
    ],
)
def test_constructors(make, dtype, shape):
    x = make("x")
    assert (x.name, x.dtype, x.type.shape) == ("x", dtype, shape)


def test_a_stated_dtype_is_strict_an_unstated_one_is_floatx():
    assert not T.matrix().strict and T.matrix(dtype="float32").strict and T.fmatrix().strict
    with exprc.config.override(floatX="float64"):
        assert T.matrix().dtype == "float64"


def test_shapes_can_be_stated():
    assert T.matrix(shape=(None, 784)).type.shape == (None, 784)
    assert T.row(shape=(1, 5)).type.shape == (1, 5) and T.vector(shape=3).type.shape == (3,)
    assert "matrix: shape (3,) does not fit: a matrix has the shape (None, None)" in message(
        ValueError, T.matrix, shape=(3,)
    )
    assert "row: shape (2, 5) does not fit" in message(ValueError, T.row, shape=(2, 5))


def test_plural_constructors():
    x, y = T.matrices("x", "y")
    assert (x.name, y.name) == ("x", "y") and [v.dtype for v in T.ivectors(3)] == ["int32"] * 3


def test_a_wrong_dtype_is_refused():
    assert message(TypeError, T.ivector, "x", "float32") == "ivector is of dtype int32, not float32"
    assert "dtype 'complex64' is not supported" in message(TypeError, T.vector, "x", "complex64")


def test_everything_announced_is_there():
    assert [n for n in T.__all__ if not hasattr(T, n)] == []


# -- dtypes: NumPy's promotion with the deliberate differences


@pytest.mark.parametrize(
    ("a", "b", "dtype"),
    [
        ("float32", "float64", "float64"),
        ("int64", "float32", "float32"),
        ("int32", "float64", "float64"),
        ("int8", "uint8", "int16"),
        ("bool", "float32", "float32"),
        ("bool", "int8", "int8"),
        ("int64", "uint64", "float32"),
        ("uint8", "int32", "int32"),
    ],
)
def test_promotion(a, b, dtype):
    x, y = T.vector(dtype=a), T.vector(dtype=b)
    assert (x + y).dtype == (y * x).dtype == T.maximum(x, y).dtype == T.where(x > y, x, y).dtype == dtype


@pytest.mark.parametrize(
    ("build", "dtype"),
    [
        (lambda i, f, d: i / i, "float32"),
        (lambda i, f, d: i + 0.5, "float32"),
        (lambda i, f, d: i.mean(), "float32"),
        (lambda i, f, d: T.exp(i), "float32"),
        (lambda i, f, d: i * 2, "int32"),
        (lambda i, f, d: f * np.sqrt(2), "float32"),
        (lambda i, f, d: 0.1 * d, "float64"),
        (lambda i, f, d: i.sum(), "int64"),
        (lambda i, f, d: (f > 0).sum(), "int64"),
        (lambda i, f, d: i // 2, "int32"),
        (lambda i, f, d: f.var(), "float32"),
        (lambda i, f, d: T.softmax(i), "float32"),
        (lambda i, f, d: f.argmax(), "int64"),
        (lambda i, f, d: i.astype("float64"), "float64"),
        (lambda i, f, d: f @ f, "float32"),
        (lambda i, f, d: i @ i, "int32"),
        (lambda i, f, d: f - [1.0, 2.0], "float32"),
        (lambda i, f, d: T.floor(i), "int32"),
    ],
)
def test_float64_never_creeps_in(build, dtype):
    assert build(T.ivector("i"), T.fvector("f"), T.dvector("d")).dtype == dtype


def test_a_wide_floatx_widens_what_comes_of_integers():
    with exprc.config.override(floatX="float64"):
        assert (T.ivector() / 2).dtype == "float64"


# -- operators, methods, broadcasting


A = np.array([[1.5, -2.0, 3.0], [0.5, 4.0, -1.0]])
B = np.array([2.0, -3.0, 0.5])


@pytest.mark.parametrize(
    "op",
    [
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.floordiv,
        operator.mod,
        operator.lt,
        operator.le,
        operator.gt,
        operator.ge,
    ],
)
def test_operators_are_numpys(op):
    x, y = like(A), like(B)
    np.testing.assert_allclose(run(op(x, y), A, B), op(A, B))
    np.testing.assert_allclose(run(op(x, 2), A), op(A, 2))
    np.testing.assert_allclose(run(op(2, x), A), op(2, A))
    np.testing.assert_allclose(run(op(B, x), A), op(B, A))


def test_more_operators():
    x = like(A)
    np.testing.assert_allclose(run(abs(x) ** 1.5, A), np.abs(A) ** 1.5)
    np.testing.assert_allclose(run(2**x, A), 2**A)
    np.testing.assert_allclose(run(x @ B, A), A @ B)
    np.testing.assert_allclose(run(A.T @ x, A), A.T @ A)
    np.testing.assert_array_equal(run(-(+x), A), -A)
    mask = np.array([True, False])
    np.testing.assert_array_equal(run(~like(mask) | mask, mask), [True, True])
    np.testing.assert_array_equal(run((x > 0) & (x < 2) ^ (x > 9), A), (A > 0) & (A < 2))


METHODS = {
    "sum": {},
    "mean": {"axis": 0},
    "max": {"axis": 1},
    "min": {"axis": (0, 1)},
    "prod": {"axis": -1},
    "argmax": {"axis": 1},
    "argmin": {},
    "any": {"axis": 0},
    "all": {},
    "var": {"axis": 1},
    "std": {"axis": 0, "keepdims": True},
    "reshape": {"shape": (3, 2)},
    "ravel": {},
    "flatten": {},
    "transpose": {},
    "squeeze": {},
    "clip": {"min": -1, "max": 2},
    "round": {},
    "copy": {},
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_numpys(name):
    kwargs = METHODS[name]
    ours = {} if name in ("reshape", "clip") else kwargs
    args = tuple(kwargs.values()) if name in ("reshape", "clip") else ()
    theirs = getattr(A, name)(*args, **ours)
    for known in (True, False):
        made = getattr(like(A, known), name)(*args, **ours)
        np.testing.assert_allclose(run(made, A), theirs)
        assert made.ndim == theirs.ndim


def test_var_takes_ddof_and_norm_takes_orders():
    x = like(A)
    np.testing.assert_allclose(run(x.var(ddof=1), A), A.var(ddof=1))
    for order in (0, 1, 2, 3, np.inf):
        np.testing.assert_allclose(run(x.norm(order, axis=1), A), np.linalg.norm(A, order, axis=1))


def test_shapes_are_numbers_where_known_and_never_compute():
    x = T.matrix("x", shape=(None, 3))
    rows, columns = x.shape
    assert columns == 3 and rows.op.name == "dim" and x.ndim == 2
    assert run(x.size, np.zeros((4, 3))) == 12 and T.matrix(shape=(2, 3)).size == 6
    assert x.T.type.shape == (3, None) and x.T.shape[0] == 3
    assert run(T.exp(x).shape[0] + 1, np.zeros((4, 3))) == 5


@pytest.mark.parametrize(
    ("a", "b", "shape"),
    [
        ((2, 1), (1, 3), (2, 3)),
        ((None, 1), (4,), (None, 4)),
        ((), (5,), (5,)),
        ((0, 1), (3,), (0, 3)),
        ((None,), (None,), (None,)),
        ((None, 2), (1, 1), (None, 2)),
    ],
)
def test_broadcasting(a, b, shape):
    x, y = T.TensorType("float32", a)(), T.TensorType("float32", b)()
    assert (x + y).type.shape == (y + x).type.shape == shape


def test_a_scalar_has_no_length_and_known_axes_do():
    assert "a scalar has no length" in message(TypeError, len, T.scalar("s"))
    assert "the length of the first axis is not known" in message(TypeError, len, T.vector("v"))
    first, second = T.matrix(shape=(2, 3))
    assert first.type.shape == second.type.shape == (3,)


def test_what_an_expression_cannot_be():
    x = T.scalar("x")
    assert "an expression is neither true nor false" in message(TypeError, bool, x > 0)
    assert "use where(condition, a, b); (a < x) & (x < b) for a < x < b" in message(TypeError, bool, x > 0)
    for kind in (float, int):
        assert "an expression is no number" in message(TypeError, kind, x)
    assert "an expression is no array: it has no value until it is compiled and called" in message(
        TypeError, np.asarray, x
    )
    assert "made at test_tensor.py" in message(TypeError, np.asarray, x)


def test_known_lengths_are_indices():
    x = T.matrix(shape=(2, 3))
    assert list(range(5))[T.constant(2)] == 2 and operator.index(T.constant(3)) == 3
    assert "an expression is no number" in message(TypeError, operator.index, T.iscalar("n"))
    assert x.shape[1] == 3


# -- NumPy's functions


@pytest.mark.parametrize(
    "call",
    [
        np.exp,
        np.sin,
        np.abs,
        np.sqrt,
        np.square,
        np.isnan,
        np.negative,
        np.floor,
        np.sum,
        np.var,
        np.std,
        np.argmax,
        np.transpose,
        np.ravel,
        np.zeros_like,
        np.ones_like,
        lambda x: np.maximum(x, 1),
        lambda x: np.add(B, x),
        lambda x: np.mean(x, axis=1),
        lambda x: np.clip(x, 0, 1),
        lambda x: np.where(x > 0, x, 0),
        lambda x: np.concatenate([x, x], axis=1),
        lambda x: np.stack([x, x]),
        lambda x: np.dot(x, B),
        lambda x: np.reshape(x, (3, 2)),
        lambda x: np.broadcast_to(x, (2, 2, 3)),
        lambda x: np.linalg.norm(x),
        lambda x: np.take(x, [0, 2], 1),
        lambda x: np.full_like(x, 7),
        lambda x: np.tensordot(x, x, ((1,), (1,))),
        lambda x: np.max(x, axis=0, keepdims=True),
        lambda x: np.linalg.norm(x, axis=0),
    ],
)
def test_numpys_functions_build_expressions(call):
    with np.errstate(all="ignore"):
        wanted = call(A)
    made = call(like(A, False))
    assert isinstance(made, T.Expr)
    value = run(made, A)
    np.testing.assert_allclose(value, wanted)
    assert value.shape == np.shape(wanted)


def test_functions_that_are_not_there_say_so():
    text = message(TypeError, np.nextafter, T.vector("v"), 50)
    assert text.startswith("np.nextafter is not supported on expressions")
    assert "v    made at test_tensor.py" in text and "did you mean" in text
    assert "np.hypot.at is not supported" in message(TypeError, np.hypot.at, T.vector(), [0], 1)


def test_arguments_of_numpys_functions():
    x = like(A)
    assert "np.sum: the argument 'out' is not supported on expressions" in message(TypeError, np.sum, x, out=np.zeros(3), axis=0)
    np.testing.assert_allclose(run(np.sum(x, axis=1, where=A > 0, initial=2), A), A.sum(1, where=A > 0, initial=2))
    assert "np.mean: the argument 'out' is not supported" in message(TypeError, np.mean, x, out=np.zeros(3), axis=0)
    np.testing.assert_allclose(run(np.sum(x, 0, None, None, True), A), A.sum(0, keepdims=True))
    np.testing.assert_allclose(run(np.add.reduce(x), A), np.add.reduce(A))
    np.testing.assert_allclose(run(np.multiply.reduce(x, axis=1), A), A.prod(1))
    np.testing.assert_allclose(run(np.maximum.reduce(x, axis=None), A), A.max())
    np.testing.assert_allclose(run(np.add.accumulate(x, axis=1), A), A.cumsum(1))
    np.testing.assert_allclose(run(np.subtract.outer(B, x), A), np.subtract.outer(B, A))
    for found, right in zip(np.where(x > 0), np.where(A > 0), strict=True):
        np.testing.assert_array_equal(run(found, A), right)
    assert np.shape(x) == (2, 3) and np.ndim(x) == 2 and np.size(x) == 6 and np.size(x, 1) == 3
    np.testing.assert_allclose(run(np.linalg.trace(like(A[:, :2])), A[:, :2]), np.trace(A[:, :2]))
    np.testing.assert_allclose(run(np.clip(x, None, 1), A), np.clip(A, None, 1))
    assert "order 1 of a matrix is not supported" in message(TypeError, np.linalg.norm, x, 1)
    assert "np.add.at is not supported" in message(TypeError, np.add.at, T.vector("v"), [0], 1)


# -- making arrays


def test_filled_arrays():
    n = T.iscalar("n")
    assert T.zeros((2, 3)).type == T.TensorType("float32", (2, 3)) and T.ones(4, "int8").dtype == "int8"
    np.testing.assert_array_equal(run(T.zeros((n, 2)), 3), np.zeros((3, 2)))
    np.testing.assert_array_equal(run(T.full((2,), 7)), [7, 7])
    np.testing.assert_array_equal(run(T.ones_like(like(A))), np.ones((2, 3)))
    np.testing.assert_array_equal(run(T.zeros_like(like(A, False), "int32"), A), np.zeros((2, 3)))
    np.testing.assert_array_equal(run(T.eye(3, 4, 1)), np.eye(3, 4, 1))


@pytest.mark.parametrize("args", [(5,), (2, 7), (7, 2, -2), (0, 10, 3), (3, 3), (5, 2), (0.0, 1.0, 0.25)])
def test_arange(args):
    made = T.arange(*args)
    np.testing.assert_allclose(run(made), np.arange(*args))
    assert made.type.shape == np.arange(*args).shape


def test_arange_of_expressions():
    a, b = T.lscalar("a"), T.lscalar("b")
    np.testing.assert_array_equal(run(T.arange(a, b, 3), 2, 12), np.arange(2, 12, 3))
    assert T.arange(T.iscalar()).dtype == "int32" and T.arange(a).dtype == "int64"
    x = T.matrix("x")
    np.testing.assert_array_equal(run(T.arange(x.shape[0]), np.zeros((3, 1))), [0, 1, 2])
    assert message(ValueError, T.arange, 1, 5, 0).startswith("arange: step must not be 0\n")
    assert "must be integers" in message(TypeError, T.arange, a, 0.5)


def test_constants():
    assert (
        T.constant(2.0).dtype == "float32"
        and T.constant([1, 2]).dtype == "int64"
        and T.constant(1, dtype="int8").dtype == "int8"
    )
    assert T.constant(np.zeros(2)).dtype == "float64" and T.constant(3, "three").name == "three"
    assert "must be numbers, not an expression" in message(TypeError, T.constant, T.scalar("x"))


def test_as_tensor_variable():
    x = T.scalar("x")
    assert T.as_tensor_variable(x) is x and T.as_tensor_variable([1, 2]).type.shape == (2,)
    np.testing.assert_array_equal(run(T.as_tensor_variable([x, 2.0]), 5), [5, 2])
    assert T.as_tensor_variable([[x, 2.0], [1, x]]).type.shape == (2, 2) and T.as_tensor_variable(
        x, ndim=2
    ).type.shape == (1, 1)
    assert "2 axes are more than ndim=1" in message(ValueError, T.as_tensor_variable, T.matrix("m"), ndim=1)


# -- indexing

C = np.arange(60.0).reshape(3, 4, 5)
ROWS, J = np.array([2, 0, -1]), np.array([[1], [-2]])
INDICES = [
    0,
    -1,
    (1, 2),
    (1, 2, 3),
    slice(1, 3),
    slice(None, None, -1),
    (slice(None), slice(3, 0, -2)),
    None,
    (0, None),
    Ellipsis,
    (Ellipsis, 1),
    (slice(None), None, 2),
    (slice(None), None, slice(1, 9)),
    (slice(5, 2),),
    np.int64(1),
    ROWS,
    [0, 2],
    (ROWS, ROWS),
    (J, ROWS),
    (slice(None), ROWS),
    (slice(1, 3), ROWS, slice(0, 2)),
    (ROWS, slice(None), ROWS),
    (Ellipsis, ROWS),
    (1, ROWS),
    (ROWS, 1),
    (ROWS, None),
    (None, ROWS),
    (slice(None), J, ROWS),
    (ROWS, None, slice(1, 2), ROWS),
    (ROWS, 1, 2),
    (slice(None), 2, ROWS),
    [],
    range(2),
    (0, slice(None), J),
]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_is_numpys(index, known):
    wanted = (
        C[[]].astype(float)
        if isinstance(index, list) and not index
        else C[list(index) if isinstance(index, range) else index]
    )
    made = like(C, known)[index]
    np.testing.assert_array_equal(run(made, C), wanted)
    assert made.ndim == wanted.ndim and (not known or made.type.shape == wanted.shape)


def test_indices_can_be_expressions():
    x, n, i = like(C), T.lscalar("n"), T.ivector("i")
    np.testing.assert_array_equal(run(x[n], C, 2), C[2])
    np.testing.assert_array_equal(run(x[n], C, -1), C[-1])
    np.testing.assert_array_equal(run(x[:, n:], C, 2), C[:, 2:])
    np.testing.assert_array_equal(run(x[:, 1:n, i], C, 3, ROWS), C[:, 1:3, ROWS])
    np.testing.assert_array_equal(run(x[i], C, ROWS), C[ROWS])
    y = T.matrix("p")
    np.testing.assert_array_equal(run(y[T.arange(y.shape[0]), i], C[0][:3], [1, 0, 4]), C[0][[0, 1, 2], [1, 0, 4]])


@pytest.mark.parametrize("mode", ["set", "inc"])
@pytest.mark.parametrize("index", [i for i in INDICES if isinstance(i, (int, slice, tuple, np.ndarray))], ids=str)
def test_parts_can_be_set_and_increased(index, mode):
    x = like(C)
    part = x[index]
    value = -np.arange(1.0, C[index].size + 1).reshape(C[index].shape)
    wanted = C.copy()
    if mode == "set":
        wanted[index] = value
    else:
        np.add.at(wanted, index, value)
    made = (T.set_subtensor if mode == "set" else T.inc_subtensor)(part, value)
    assert made.type == x.type
    np.testing.assert_array_equal(run(made, C), wanted)


def test_set_values_broadcast_and_take_the_dtype():
    x = T.fmatrix("x", shape=(2, 3))
    assert T.set_subtensor(x[:, 1], np.float64(2)).dtype == "float32"
    np.testing.assert_array_equal(run(T.inc_subtensor(x[:, 1:], [[1], [2]]), np.zeros((2, 3))), [[0, 1, 1], [0, 2, 2]])


def test_only_the_last_index_is_undone():
    x = like(C)
    part = x[1:]
    made = T.set_subtensor(part[0], 0.0)
    assert made.type == part.type
    wanted = C[1:].copy()
    wanted[0] = 0
    np.testing.assert_array_equal(run(made, C), wanted)


def test_positions_named_twice():
    x, v = T.zeros((3, 2), "float64"), np.arange(1.0, 7).reshape(3, 2)
    np.testing.assert_array_equal(run(T.inc_subtensor(x[[1, 1, 0]], v)), [[5, 6], [4, 6], [0, 0]])
    np.testing.assert_array_equal(run(T.set_subtensor(x[[1, 1, 0]], v)), [[5, 6], [3, 4], [0, 0]])


def test_errors_of_indexing():
    x = T.matrix("x", shape=(3, 4))
    text = message(IndexError, lambda: x[0, 0, 0])
    assert (
        text.startswith("too many indices: 3 for an array of 2 dimensions")
        and "x  float32, (3, 4)    made at test_tensor.py" in text
    )
    assert "index 3 is out of bounds for axis 0 of length 3" in message(IndexError, lambda: x[3])
    assert "indices go from 0 to 2, or from -3 to -1 from the end" in message(IndexError, lambda: x[..., -5, 0])
    assert "index 4 is out of bounds for axis 1 of length 4" in message(IndexError, lambda: x[:, [0, 4]])
    assert "boolean index did not match: 2 ≠ 3 along axis 0" in message(IndexError, lambda: x[T.TensorType("bool", (2,))()])
    assert "a mask of 3 dimensions for an array of 2" in message(ValueError, lambda: x[T.TensorType("bool", (3, 4, 1))()])
    assert "boolean index did not match: 4 ≠ 3 along axis 0" in message(IndexError, lambda: x[np.ones(4, bool)])
    assert "a single bool is no index" in message(TypeError, lambda: x[T.scalar() > 0])
    assert "use where(condition, x, 0)" in message(TypeError, lambda: x[True])
    assert "an index must be of an integer dtype, not float32" in message(TypeError, lambda: x[T.vector("i")])
    assert "an index must be an integer, a slice, None, ... or integers in an array" in message(
        TypeError, lambda: x[1.5]
    )
    assert "the step of a slice must be a number other than 0" in message(ValueError, lambda: x[::0])
    assert "index 7 is out of bounds" in message(IndexError, run, x[T.ivector("i")], np.zeros((3, 4)), [7])
    made = T.inc_subtensor(x[T.ivector("i"), 0], 1)
    assert "index 7 is out of bounds for axis 0 with size 3" in message(IndexError, run, made, np.zeros((3, 4)), [7])


def test_errors_of_setting():
    x, i = T.matrix("x", shape=(3, 4)), T.imatrix("i")
    assert "the first argument must be an indexed expression x[...]" in message(TypeError, T.set_subtensor, x, 1)
    assert "the first argument must be an indexed expression x[...]" in message(TypeError, T.inc_subtensor, x + 1, 1)
    assert "values of float32 do not fit in int32" in message(TypeError, T.set_subtensor, i[0], T.vector("v"))
    assert "a value of 3 dimensions does not fit in a part of 1" in message(
        ValueError, T.set_subtensor, x[0], T.tensor3("t")
    )
    assert "a value of (5,) does not fit in a part of (4,): 5 ≠ 4" in message(ValueError, T.set_subtensor, x[0], np.zeros(5))


# -- messages of building


def test_shapes_that_do_not_broadcast():
    x, y = T.matrix("x", shape=(2, 3)), T.vector("y", shape=(4,))
    text = message(ValueError, lambda: x + y)
    assert text.startswith("add: shapes do not broadcast: (2, 3) · (4,): 3 ≠ 4")
    assert (
        "left   x  float32, (2, 3)    made at test_tensor.py:" in text
        and "right  y  float32, (4,)      made at test_tensor.py:" in text
    )


def test_inner_sizes_of_a_product():
    x, h, w = T.matrix("x", shape=(32, 784)), T.matrix("h", shape=(10, 784)), T.matrix("w", shape=(100, 10))
    assert message(ValueError, T.dot, x, w).startswith("dot: inner sizes differ: (32, 784) · (100, 10): 784 ≠ 100")
    assert "did you mean dot(x, h.T)?" in message(ValueError, T.dot, x, h)
    assert "matmul: operands need at least one axis" in message(ValueError, T.matmul, T.scalar(), x)
    assert "axis 0 of the left and axis 0 of the right differ: 32 ≠ 100" in message(
        ValueError, T.tensordot, x, w, ((0,), (0,))
    )


def test_shapes_of_views():
    x = T.matrix("x", shape=(2, 3))
    assert "cannot reshape (2, 3) to (4, 2): numbers of elements differ: 6 ≠ 8" in message(ValueError, x.reshape, (4, 2))
    assert "only one dim may be -1" in message(ValueError, x.reshape, (-1, -1))
    assert "dimshuffle: axis 2 is out of bounds" in message(ValueError, x.dimshuffle, 0, 2)
    assert "an axis is named twice" in message(ValueError, x.dimshuffle, 0, 0)
    assert "axis 1 of length 3 cannot be dropped" in message(ValueError, x.dimshuffle, 0)
    assert "shapes do not broadcast: (2, 3) · (3, 3): 2 ≠ 3" in message(ValueError, T.broadcast_to, x, (3, 3))
    assert "concatenate: axis 2 is out of bounds" in message(ValueError, T.concatenate, [x, x], 2)
    assert "lengths of axis 0 differ (only those of axis 1, along which they are joined, may): 2 ≠ 4" in message(
        ValueError, T.concatenate, [x, T.matrix(shape=(4, 3))], 1
    )
    assert "scalars have no axis to be joined along" in message(ValueError, T.concatenate, [T.scalar()])
    assert "a size must be an integer scalar" in message(TypeError, T.zeros, T.scalar("n"))


def test_axes_of_reductions():
    x = T.matrix("x", shape=(0, 3))
    assert message(ValueError, x.sum, 2).startswith("sum: axis 2 is out of bounds for an array of 2 dimensions\n")
    assert message(ValueError, x.sum, (0, -2)).startswith("sum: an axis is named twice: (0, -2)\n")
    assert "no elements to take the max of: shape (0, 3), axes (0,)" in message(ValueError, x.max, 0)
    assert message(ValueError, T.softmax, x, 5).splitlines()[0] == "softmax: axis 5 is out of bounds for an array of 2 dimensions"


def test_number_of_operands_and_kinds():
    x = T.vector("x")
    assert message(TypeError, T.add, x).startswith("add takes 2 operands, 1 was given\n")
    assert message(TypeError, lambda: x & 1).splitlines()[0] == "bitwise_and takes bools and integers, not float32, float32"


# -- losses and normalisation (their values are in tests/ops)


def test_targets_that_do_not_fit():
    p = T.matrix("p", shape=(8, 10))
    text = message(ValueError, T.categorical_crossentropy, p, T.ivector("t", shape=(9,)))
    assert text.startswith("categorical_crossentropy: predictions (8, 10) and targets (9,) differ: 8 ≠ 9")
    assert "class numbers must be integers, not float32" in message(
        TypeError, T.categorical_crossentropy, p, T.vector("t")
    )
    assert "targets are integers, one axis fewer" in message(ValueError, T.categorical_crossentropy, p, T.tensor3("t"))


def test_batch_normalization():
    x = like(C)
    out, mean, inv_std = T.batch_normalization_train(x, np.ones(4), np.zeros(4), "spatial")
    value, m, s = (run(e, C) for e in (out, mean, inv_std))
    np.testing.assert_allclose(m, C.mean((0, 2)))
    np.testing.assert_allclose(s, 1 / np.sqrt(C.var((0, 2)) + 1e-4))
    np.testing.assert_allclose([value.mean(), value.std()], [0, 1], atol=1e-5)
    tested = T.batch_normalization_test(x, np.ones(4), np.zeros(4), m, C.var((0, 2)), "spatial")
    np.testing.assert_allclose(run(tested, C), value)
    given = [
        T.batch_normalization(x, 1.0, 0.0, m[:, None], **k) for k in ({"std": 1 / s[:, None]}, {"inv_std": s[:, None]})
    ]
    for made in given:
        np.testing.assert_allclose(run(made, C), value)
    assert "give one of std and inv_std" in message(TypeError, T.batch_normalization, x, 1, 0, 0)


def test_activations():
    x = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(run(T.relu(like(x)), x), [0, 0, 3])
    np.testing.assert_allclose(run(T.relu(like(x), 0.1), x), [-0.2, 0, 3])
    np.testing.assert_allclose(run(T.elu(like(x)), x), [np.exp(-2) - 1, 0, 3])
    np.testing.assert_allclose(
        run(T.selu(like(x)), x), 1.0507009873554805 * np.array([1.6732632423543772 * (np.exp(-2) - 1), 0, 3])
    )
    np.testing.assert_allclose(run(T.softsign(like(x)), x), x / (1 + np.abs(x)))
    np.testing.assert_allclose(run(T.hard_sigmoid(like(x)), x), [0.1, 0.5, 1])
