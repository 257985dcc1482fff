"""What the functions of shapes, sorting and products say when they are used wrongly, and what NumPy does not have."""

from __future__ import annotations

import math

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Input, leaves
from exprc.reference import evaluate

X = np.arange(12.0, dtype="float32").reshape(3, 4)


def run(expr, *arrays):
    inputs = [x for x in leaves([expr]) if isinstance(x, Input)]
    return evaluate([expr], {x: np.asarray(a, x.dtype) for x, a in zip(inputs, arrays, strict=True)})[0]


x, v, s, m3 = T.matrix("x", shape=(3, 4)), T.vector("v"), T.scalar("s"), T.tensor3("t", shape=(2, 3, 4))
open_ = T.matrix("open")

#: (what is called, the error, what its text says)
WRONG = [
    (lambda: T.swapaxes(x, 0, 2), ValueError, "swapaxes: axis 2 is out of bounds for an array of 2 dimensions"),
    (lambda: T.moveaxis(x, (0, 1), 0), ValueError, "moveaxis: 2 axes cannot go to 1 places"),
    (lambda: T.moveaxis(x, (0, 0), (0, 1)), ValueError, "moveaxis: an axis is named twice"),
    (lambda: T.expand_dims(x, 3), ValueError, "expand_dims: axis 3 is out of bounds"),
    (lambda: T.flip(x, 2), ValueError, "flip: axis 2 is out of bounds"),
    (lambda: T.roll(x, (1, 2, 3), (0, 1)), ValueError, "roll: 3 shifts for"),
    (lambda: T.roll(x, s), TypeError, "roll: a shift must be an integer scalar, not float32, ()"),
    (lambda: T.repeat(x, 1.5), TypeError, "repeat: repeats must be integers"),
    (lambda: T.repeat(x, -1), ValueError, "repeat: repeats must be 0 or more"),
    (lambda: T.repeat(x, [1, 2], axis=0), ValueError, "repeat: 2 numbers for 3 elements"),
    (lambda: T.specify_shape(x, (3,)), ValueError, "specify_shape: 1 dims for an array of 2 dimensions"),
    (lambda: T.specify_shape(x, (3, 5)), ValueError, "the shape is (3, 4), not (3, 5)"),
    (lambda: T.addbroadcast(x, 0), ValueError, "the shape is (3, 4), not (1, 4)"),
    (lambda: T.unbroadcast(x, 2), ValueError, "unbroadcast: axis 2 is out of bounds"),
    (lambda: T.split(x, 3, axis=1), ValueError, "split: 4 elements of axis 1 cannot be cut in 3 equal parts"),
    (lambda: T.split(x, 0), ValueError, "split: the number of parts must be 1 or more, not 0"),
    (lambda: T.unstack(open_), ValueError, "unstack: the length of axis 0 is not known"),
    (lambda: T.vsplit(v, 2), ValueError, "vsplit takes arrays of 2 or more axes"),
    (lambda: T.hstack([]), ValueError, "hstack: at least one array is needed"),
    (lambda: T.horizontal_stack(v, v), ValueError, "horizontal_stack takes matrices, not 1 axes"),
    (lambda: T.diagonal(v), ValueError, "diagonal: two axes are needed, not 1"),
    (lambda: T.diagonal(x, 0, 1, -1), ValueError, "diagonal: axis1 and axis2 must differ"),
    (lambda: T.diag(m3), ValueError, "diag takes a vector or a matrix, not 3 axes"),
    (lambda: T.tril(s), ValueError, "tril: a scalar has no triangle"),
    (lambda: T.fill_diagonal(v, 1), ValueError, "fill_diagonal: at least two axes and a scalar or vector are needed"),
    (lambda: T.identity_like(v), ValueError, "identity_like takes a matrix, not 1 axes"),
    (lambda: T.pad(x, -1), ValueError, "pad: a width must be 0 or more, not -1"),
    (lambda: T.pad(x, ((1, 2), (3, 4), (5, 6))), ValueError, "pad: pad_width ((1, 2), (3, 4), (5, 6)) does not fit an array of 2 axes"),
    (lambda: T.pad(x, 1, mode="linear_ramp"), ValueError, "pad: mode='linear_ramp' is not supported"),
    (lambda: T.linspace(0, 1, -1), ValueError, "linspace: the number of elements must be 0 or more, not -1"),
    (lambda: T.meshgrid(v, indexing="yx"), ValueError, "meshgrid: indexing='yx' is neither 'xy' nor 'ij'"),
    (lambda: T.mgrid[3], TypeError, "a grid is made of slices"),
    (lambda: T.take_along_axis(x, x), TypeError, "take_along_axis: integers of 2 axes are needed, not float32, (3, 4)"),
    (lambda: T.take_along_axis(x, T.ivector("i")), ValueError, "take_along_axis: integers of 2 axes are needed, not int32, (?,)"),
    (lambda: T.compress(x > 0, x), ValueError, "compress: the condition must be a vector"),
    (lambda: T.select([x > 0], []), ValueError, "select: 1 conditions for 0 arrays"),
    (lambda: T.nonzero(s), ValueError, "nonzero: a scalar has no axes"),
    (lambda: T.to_one_hot(v, 3), TypeError, "to_one_hot takes integers, not float32"),
    (lambda: T.squeeze(x, 5), ValueError, "squeeze: axis 5 is out of bounds for an array of 2 dimensions"),
    (lambda: T.squeeze(x, 0), ValueError, "axis 0 of length 3 cannot be dropped"),
    (lambda: T.stack([x, x], axis=4), ValueError, "stack: axis 4 is out of bounds for an array of 3 dimensions"),
    (lambda: T.transpose(open_, (1,)), ValueError, "transpose: 1 axes for an array of 2 dimensions"),
    (lambda: T.tensordot(x, x, ((2,), (0,))), ValueError, "tensordot: axis 2 is out of bounds for an array of 2 dimensions"),
    (lambda: T.cumsum(x, axis=2), ValueError, "cumsum: axis 2 is out of bounds"),
    (lambda: T.diff(x, -1), ValueError, "diff: n must be 0 or more, not -1"),
    (lambda: T.sort(x, axis=5), ValueError, "sort: axis 5 is out of bounds"),
    (lambda: T.topk(x, 5), ValueError, "topk: kth must be between 1 and the number of elements, 4, not 5"),
    (lambda: T.quantile(x, 1.5), ValueError, "quantile: q must lie between 0 and 1, not 1.5"),
    (lambda: T.median(T.zeros((0, 3)), axis=0), ValueError, "median: there are no elements"),
    (lambda: T.searchsorted(v, x, side="middle"), ValueError, "searchsorted: side='middle' is neither 'left' nor 'right'"),
    (lambda: T.searchsorted(x, v), ValueError, "searchsorted: the sorted values must be a vector"),
    (lambda: T.bincount(v), TypeError, "bincount counts integers, not float32"),
    (lambda: T.inverse_permutation(v), TypeError, "inverse_permutation takes integers in an array"),
    (lambda: T.average(x, weights=v), ValueError, "average: weights of 1 axes do not fit an array of 2"),
    (lambda: T.cov(m3), ValueError, "cov takes a vector or a matrix, not 3 axes"),
    (lambda: T.batched_dot(s, x), ValueError, "batched_dot: the first axis of both is that of the stack; a scalar has none"),
    (lambda: T.batched_tensordot(m3, m3, ((0,), (1,))), ValueError, "batched_tensordot: cannot pair the axes [0] with [1]"),
    (lambda: T.cross(x, x), ValueError, "cross: vectors must have three elements"),
    (lambda: T.multi_dot([x]), ValueError, "multi_dot: at least two arrays are needed"),
    (lambda: T.einsum("ij,jk", x), ValueError, "einsum: 'ij,jk': 2 terms for 1 operands"),
    (lambda: T.einsum("ijk", x), ValueError, "'ijk' names 3 axes of an operand of 2"),
    (lambda: T.einsum("i", x), ValueError, "'i' names 1 axes of an operand of 2"),
    (lambda: T.einsum("ij->k", x), ValueError, "the output names 'k', which no operand has"),
    (lambda: T.einsum("ij->ii", x), ValueError, "the output names a letter twice"),
    (lambda: T.einsum("i j?", x), ValueError, "may hold letters and one '...' only"),
    (lambda: T.einsum("ij,ij", x, x.T), ValueError, "einsum: axes 'i' that go together differ in length: 3 ≠ 4"),
    (lambda: v.mT, ValueError, "mT: 1 axes hold no matrix"),
    (lambda: x.item(), TypeError, "an expression is no number"),
    (lambda: x.tolist(), TypeError, "use .eval() for its value, and tolist() of that"),
    (lambda: complex(s), TypeError, "an expression is no number"),
    (lambda: 1.0 in x, TypeError, "whether an expression holds a value is not known"),
    (lambda: x.__setitem__(0, 1), TypeError, "x = set_subtensor(x[...], value) makes a new one"),
    (lambda: x.__delitem__(0), TypeError, "an expression cannot be changed"),
    (lambda: x.summ(), AttributeError, "an expression has no attribute 'summ'"),
    (lambda: x.softplus(), AttributeError, "exprc.tensor.softplus is a function"),
    (lambda: T.max(x, where=x > 0), ValueError, "give initial=, the value to begin with"),
    (lambda: T.sum(x, where=m3 > 0), ValueError, "sum: a mask of 3 axes for an array of 2"),
    (lambda: x.sum(foo=1), TypeError, "its arguments are x, axis=None, dtype=None, keepdims=False"),
    (lambda: x.sum("a"), TypeError, "sum: an axis must be an integer, not 'a'"),
    (lambda: T.median(x, axis=4), ValueError, "axis 4 is out of bounds for an array of 2 dimensions"),
    (lambda: T.exp(x, out=x), TypeError, "exp() got an unexpected keyword argument 'out'"),
    (lambda: T.isclose(x), TypeError, "isclose() needs 'b'"),
    (lambda: T.isclose(x, x, tol=1), TypeError, "isclose() got an unexpected argument 'tol'"),
    (lambda: T.norm(x, "fro"), TypeError, "norm: the order must be a number, not 'fro'"),
    (lambda: T.concatenate(x, x), TypeError, "the arrays go in a list: concatenate([a, b])"),
    (lambda: T.stack(x, x), TypeError, "the arrays go in a list: stack([a, b])"),
    (lambda: T.tile(x, -1), ValueError, "tile: a number of times must be 0 or more, not -1"),
    (lambda: x.reshape(2.5, 2), TypeError, "a length must be an integer, not 2.5"),
    (lambda: x.reshape((3, 4), order="Z"), ValueError, "reshape: order='Z' is not supported"),
    (lambda: x[s:], TypeError, "a bound of a slice must be an integer scalar, not float32, ()"),
    (lambda: x[1.5:], TypeError, "a bound of a slice must be an integer, not 1.5"),
    (lambda: x.dimshuffle(0, None, 1), TypeError, "dimshuffle: an axis must be an integer, not None"),
    (lambda: x.flatten("F"), TypeError, "flatten: the number of axes must be an integer, not 'F'"),
    (lambda: T.choose(v, [v, v]), TypeError, "choose: numbers of arrays are integers, not float32"),
    (lambda: T.cast(x, "foat32"), TypeError, "did you mean 'float32'?"),
    (lambda: np.add(x, x, out=np.zeros((3, 4))), TypeError, "np.add: the argument 'out' is not supported on expressions"),
    (lambda: np.linalg.inv(x), TypeError, "np.inv is not supported on expressions"),
    (lambda: setattr(x, "name", 5), TypeError, "a name must be a string, not 5"),
    (lambda: T.matrix(5), TypeError, "a name must be a string, not 5"),
    (lambda: T.delete(open_, [0, 1], axis=0), ValueError, "delete: the length of axis 0 is not known"),
    (lambda: T.delete(x, T.ivector()), TypeError, "delete: the places must be known while building"),
    (lambda: T.polyval(v, 2), ValueError, "polyval: the coefficients must be a vector of known length"),
    (lambda: T.interp(v, x, x), ValueError, "interp: the points must be two vectors"),
    (lambda: T.permute_row_elements(x, v), TypeError, "permute_row_elements: a permutation is made of integers"),
    (lambda: T.batch_normalization_train(x, m3, v), ValueError, "gamma and beta have the shape of x without the axes"),
    (lambda: T.get_scalar_constant_value(s * 2), ValueError, "the value is not known before the call"),
    (lambda: T.h_softmax(x, 3, 9, 2, 4, x.T, v, m3, x), ValueError, "h_softmax: 2 classes of 4 hold fewer than 9 outputs"),
    (lambda: x.clip(), TypeError, "clip: give one of min and max"),
    (lambda: x[::s], TypeError, "the step of a slice must be an integer scalar, not float32, ()"),
    (lambda: T.digitize(x, [1, 3, 2]), ValueError, "digitize: the bins must ascend or descend"),
    (lambda: T.einsum("ii", x), ValueError, "einsum: axes of one operand that go together differ in length: 3 ≠ 4"),
    (lambda: T.interp(x, [0.0, 1.0], [0.0]), ValueError, "interp: the two vectors of points differ in length: 2 ≠ 1"),
    (lambda: T.topk(x, T.iscalar("k")), TypeError, "topk: kth must be an integer, not the expression k"),
    (lambda: T.quantile(x, s), TypeError, "quantile: q must be numbers from 0 to 1, known while building"),
    (lambda: T.percentile(x, 120), ValueError, "percentile: q must lie between 0 and 100, not 120"),
    (lambda: T.quantile(x, 0.5, method="lowest"), ValueError, "did you mean 'lower'?"),
    (lambda: T.gradient(x, 1.0, 2.0, 3.0), ValueError, "gradient: 3 distances for 2 axes"),
    (lambda: T.gradient(x[:1], axis=0), ValueError, "gradient: axis 0 has fewer than two elements"),
    (lambda: T.convolve(x, v), ValueError, "convolve: two vectors that are not empty are needed"),
    (lambda: T.correlate(v, v, "half"), ValueError, "correlate: mode='half' is none of 'full', 'same', 'valid'"),
    (lambda: T.cumulative_sum(x), ValueError, "cumulative_sum: the axis must be named for an array of 2 dimensions"),
    (lambda: T.vander(x), ValueError, "vander takes a vector"),
    (lambda: T.insert(v, [0, 1], 5), ValueError, "insert: the length of axis 0 is not known"),
    (lambda: T.delete(v, slice(2)), TypeError, "a slice needs an axis of known length"),
    (lambda: T.triu_indices_from(v), ValueError, "triu_indices_from takes a matrix, not 1 axes"),
    (lambda: T.diag_indices_from(x), ValueError, "diag_indices_from: the axes must be of one length, and two or more"),
    (lambda: T.stack([x, v]), ValueError, "stack: arrays of one shape are needed: (3, 4) ≠ (?,)"),
    (lambda: T.stack([]), ValueError, "stack: at least one array is needed"),
    (lambda: x[..., ...], IndexError, "an index can have one ... only"),
    (lambda: T.zeros(3, 4), TypeError, "several lengths or axes go in one tuple: zeros((3, 4)), sum(axis=(0, 1))"),
    (lambda: T.exp(), TypeError, "exp takes 1 operand, 0 were given"),
    (lambda: T.exp(1j), TypeError, "there are no complex dtypes: use one array for each part"),
    (lambda: T.tile(x, 1.5), TypeError, "tile: a number of times must be an integer, not 1.5"),
    (lambda: T.roll(x, "a"), TypeError, "roll: a shift must be an integer, not 'a'"),
    (lambda: T.pad(x, 1.5), TypeError, "pad: a width must be an integer, not 1.5"),
    (lambda: T.split(x, s), TypeError, "split: the number of parts must be an integer, not the expression s"),
    (lambda: T.choose(T.ivector("i"), []), ValueError, "choose: at least one array is needed"),
    (lambda: T.tensordot(x, x, "a"), TypeError, "tensordot: axes must be a number or a pair, not 'a'"),
    (lambda: T.einsum(x, x), TypeError, "einsum: the first argument says which axes go together"),
    (lambda: T.arange("a"), TypeError, "arange: start, stop and step must be numbers, not 'a'"),
    (lambda: T.linspace(0, 1, 2.5), TypeError, "linspace: the number of elements must be an integer, not 2.5"),
    (lambda: T.matrix(shape="ab"), TypeError, "a length of a shape must be an integer, not 'a'"),
    (lambda: T.vector([1, 2]), TypeError, "values: constant([1, 2])"),
    (lambda: list(v), TypeError, "state it, shape=(10,), to walk over it"),
    (lambda: 0 < s < 1, TypeError, "(a < x) & (x < b) for a < x < b"),
    (lambda: T.less(T.TensorType("int64", ())("i"), 2**63), OverflowError, "Python integer 9223372036854775808 is out of bounds for int64"),
    (lambda: T.set_subtensor(x[0] * 1, 1), TypeError, "index last: set_subtensor(f(x)[...], value); the whole of x is x[:]"),
    (lambda: x[5], IndexError, "index 5 is out of bounds for axis 0 of length 3"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), WRONG, ids=[text[:60] for _, _, text in WRONG])
def test_messages(call, kind, text):
    with pytest.raises(kind) as error:
        call()
    assert text in str(error.value)


square, rows, mask, other = T.matrix("square"), T.vector("rows"), T.TensorType("bool", (None, None))("mask"), T.matrix("other")

#: (what, its inputs with values, the error, what its text says): known only at the call.
WRONG_AT_THE_CALL = [
    (T.dot(square, other), {square: X, other: X}, ValueError, "dot: inner sizes differ: (3, 4) · (3, 4): 4 ≠ 3\n  left   square"),
    (T.dot(square, rows), {square: X, rows: [1, 2]}, ValueError, "right  rows  float32, (2,)"),
    (square[5], {square: X}, IndexError, "index 5 is out of bounds"),
    (square[mask], {square: X, mask: X[:2, :2] > 0}, IndexError, "boolean index did not match: 2 ≠ 3\n  input  square"),
    (square[rows > 0], {square: X, rows: [1, 2]}, IndexError, "boolean index did not match: 2 ≠ 3"),
    (T.set_subtensor(square[mask], 1), {square: X, mask: X[:1] > 0}, IndexError, "boolean index did not match: 1 ≠ 3"),
    (T.einsum("ii", square), {square: X}, ValueError, "einsum: axes of one operand that go together differ in length: 3 ≠ 4"),
    (T.interp(square, rows, T.ones(2)), {square: X, rows: [1, 2, 3]}, ValueError, "interp: the two vectors of points differ in length"),
    (T.cross(square, other), {square: X, other: X}, ValueError, "cross: vectors must have three elements: 3 ≠ 4"),
    (T.topk(rows, 3), {rows: [1, 2]}, ValueError, "topk: there are fewer elements than kth: 3 ≠ 2"),
    (T.repeat(rows, T.ones(2, "int64")), {rows: [1, 2, 3]}, ValueError, "repeat: numbers and elements differ in number"),
    (T.median(rows), {rows: []}, IndexError, "there is no element to take: (0,)"),
    (T.pad(rows, 3, mode="edge"), {rows: []}, IndexError, "there is no element to take: (0,)\n  left   rows"),
]  # fmt: skip


@pytest.mark.parametrize(("expr", "given", "kind", "text"), WRONG_AT_THE_CALL, ids=[text[:40] for *_, text in WRONG_AT_THE_CALL])
def test_messages_at_the_call(expr, given, kind, text):
    with pytest.raises(kind) as caught:
        expr.eval(given)
    assert text in str(caught.value)
    assert "made at test_shapes.py" in str(caught.value)


@pytest.mark.parametrize("expr, given, kind", [case[:3] for case in WRONG_AT_THE_CALL])
def test_the_interpreter_refuses_the_same(expr, given, kind):
    with pytest.raises(kind, match="made at test_shapes.py"):
        expr.eval(given, mode="reference")


def test_the_gradient_at_the_edges():
    """Of what is constant there it is 0, not NaN."""
    at = T.vector("at")
    zeros = at * 0
    cost = T.norm(zeros) + T.std(zeros + 1) + zeros.std(ddof=1)
    cost = cost + T.sum(at**0) + T.sum(T.arctan2(at, 0.0 * at)) + T.sum(sum(at**k for k in range(4)))
    for mode in ("reference", "compiled"):
        got = exprc.function([at], exprc.grad(cost, at), mode=mode)([0.0, 2.0])
        np.testing.assert_allclose(got, [1.0, 1 + 4 + 12])


def test_a_misspelt_attribute_names_the_right_one():
    with pytest.raises(AttributeError, match="did you mean 'sum'") as error:
        x.summ  # noqa: B018
    assert "x    made at test_shapes.py" in str(error.value)
    assert not hasattr(x, "nothing_like_it") and getattr(x, "__nothing__", 3) == 3


# -- what NumPy has not, or calls otherwise


def test_theanos_functions():
    t = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(run(T.join(1, x, x), X), np.concatenate([X, X], 1))
    np.testing.assert_array_equal(run(T.vertical_stack(x, x), X), np.vstack([X, X]))
    np.testing.assert_array_equal(run(T.horizontal_stack(x, x), X), np.hstack([X, X]))
    assert T.shape_padleft(x, 2).type.shape == (1, 1, 3, 4) and T.shape_padright(x).type.shape == (3, 4, 1)
    assert T.shape_padaxis(x, 1).type.shape == (3, 1, 4) and T.unbroadcast(x, 0) is x
    assert T.patternbroadcast(open_, (True, False)).type.shape == (1, None)
    np.testing.assert_array_equal(T.identity_like(x).eval(), np.eye(3, 4))
    np.testing.assert_array_equal(run(T.fill(x, 3), X), np.full((3, 4), 3))
    assert [a.type.shape for a in T.unstack(x)] == [(4,)] * 3
    filled = X.copy()
    np.fill_diagonal(filled, 9)
    np.testing.assert_array_equal(run(T.fill_diagonal(x, 9), X), filled)
    filled = X.copy()
    filled[[0, 1, 2], [1, 2, 3]] = 9
    np.testing.assert_array_equal(run(T.fill_diagonal_offset(x, 9, 1), X), filled)
    np.testing.assert_array_equal(run(T.stacklists([[x, x], [x, x]]), X), np.array([[X, X], [X, X]]))
    np.testing.assert_allclose(run(T.batched_dot(m3, m3.mT), t), t @ t.swapaxes(1, 2))
    np.testing.assert_allclose(run(T.batched_dot(x, x), X), (X * X).sum(1))
    np.testing.assert_allclose(run(T.batched_dot(m3, m3[:, 0]), t), np.einsum("bij,bj->bi", t, t[:, 0]))
    np.testing.assert_allclose(run(T.batched_dot(T.vector("w"), x), [1, 2, 3], X), X * [[1], [2], [3]])
    np.testing.assert_allclose(run(T.batched_tensordot(m3, m3, 2), t), (t * t).sum((1, 2)))
    np.testing.assert_allclose(run(T.matrix_dot(x, x.T, x), X), X @ X.T @ X)
    np.testing.assert_allclose(run(T.multi_dot([x, x.T, v]), X, [1, 2, 3]), X @ (X.T @ [1, 2, 3]))
    values, places = T.topk_and_argtopk(x, 2, axis=0)
    np.testing.assert_array_equal(run(values, X), X[:0:-1])
    np.testing.assert_array_equal(run(places, X), [[2] * 4, [1] * 4])
    np.testing.assert_array_equal(run(T.topk(v, -2), [3, 1, 2]), [1, 2])
    np.testing.assert_array_equal(run(T.argtopk(v, 2), [3, 1, 2]), [0, 2])
    np.testing.assert_array_equal(run(T.inverse_permutation(T.ivector("p")), [2, 0, 1]), [1, 2, 0])
    np.testing.assert_array_equal(run(x.nonzero_values(), X), X[X != 0])
    np.testing.assert_array_equal(run(T.to_one_hot(T.ivector("y"), 3), [2, 0, 7]), [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    top, at = T.max_and_argmax(x, axis=1)
    np.testing.assert_array_equal(run(top, X), X.max(1))
    np.testing.assert_array_equal(run(at, X), X.argmax(1))
    np.testing.assert_array_equal(run(T.nonzero(x, return_matrix=True), X), np.stack(X.nonzero()))


def test_grids_and_ranges():
    np.testing.assert_array_equal(run(T.mgrid[0:3, 1:5:2]), np.mgrid[0:3, 1:5:2])
    for ours, theirs in zip(T.ogrid[0:3, 1:5:2], np.ogrid[0:3, 1:5:2], strict=True):
        np.testing.assert_array_equal(run(ours), theirs)
    np.testing.assert_allclose(run(T.mgrid[0:1:5j]), np.mgrid[0:1:5j])
    np.testing.assert_array_equal(run(T.indices((2, 3))), np.indices((2, 3)))
    np.testing.assert_allclose(run(T.logspace(0, 2, 5)), np.logspace(0, 2, 5), 1e-6)
    np.testing.assert_allclose(run(T.geomspace(1, 16, 5)), np.geomspace(1, 16, 5), 1e-6)
    made, step = T.linspace(0.0, 1.0, 5, retstep=True)
    assert made.dtype == "float32" and run(step) == 0.25
    assert T.empty((2, 3)).type.shape == (2, 3) and T.identity(3).type.shape == (3, 3)
    assert run(T.linspace(0.0, 0.3, 4))[-1] == np.float32(0.3)


def test_dtypes_of_reductions():
    c, b = T.TensorType("uint8", (3,))("c"), T.TensorType("bool", (3,))("b")
    assert (c.sum().dtype, c.prod().dtype, c.cumsum().dtype, b.sum().dtype) == ("uint64", "uint64", "uint64", "int64")
    assert x.sum(dtype="float64").dtype == x.mean(dtype="float64").dtype == "float64" and c.sum(dtype="int8").dtype == "int8"
    wide = x.sum(acc_dtype="float64")
    assert wide.dtype == "float32" and wide.inputs[0].dtype == "float64"
    big = np.array([2**24, 1, 1, 1], "float32")
    assert run(T.sum(v, acc_dtype="float64"), big) == 2**24 + 4 - (2**24 + 3) % 2
    assert run(c.sum(dtype="int8"), [200, 100, 0]) == np.int8(44)
    assert T.dot(b, b).dtype == "bool" and T.dot(c, c).dtype == "uint8" and T.einsum("i,i", c, c).dtype == "uint8"
    assert T.matmul(T.TensorType("int32", (2, 3, 4))(), T.TensorType("int32", (4, 5))()).dtype == "int32"


def test_the_gradient_of_a_running_product_is_right_at_zeros():
    a = np.array([2.0, 0.0, 3.0, 0.0, 4.0])
    p = T.dvector("p")
    made = exprc.grad((T.cumprod(p) * np.array([1.0, 2, 3, 4, 5])).sum(), p)
    np.testing.assert_allclose(run(made, a), [1, 2 * 2 + 3 * 6, 0, 0, 0])


def test_pythons_protocols():
    assert [type(math.floor(x)), type(math.ceil(x)), type(math.trunc(x)), type(round(x)), type(round(x, 1))] == [T.Expr] * 5
    np.testing.assert_array_equal(run(round(v), [0.5, 1.5]), [0, 2])
    q, r = divmod(v, 2)
    np.testing.assert_array_equal(run(q, [5, -5]), [2, -3])
    np.testing.assert_array_equal(run(r, [5, -5]), [1, 1])
    np.testing.assert_array_equal(run(pow(T.lvector("n"), 3, 5), [2, 3]), [3, 2])
    assert len(x) == 3 and [row.type.shape for row in x] == [(4,)] * 3
    with pytest.raises(TypeError, match="the length of the first axis is not known"):
        list(v)


def test_widths_of_padding_by_axes():
    """NumPy has that from 2.3 on."""
    np.testing.assert_array_equal(run(T.pad(x, {-1: (1, 2)}), X), np.pad(X, ((0, 0), (1, 2))))
