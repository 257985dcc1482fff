"""Every function that has NumPy's name does what NumPy's does: shapes, reductions, indexing, products.

One table: a line is written once, for a module `m`. It is run with ``m = numpy`` on arrays, with ``m = exprc.tensor`` on expressions whose
shape is known and whose shape is not, through the interpreter and compiled, with NumPy's own functions on expressions, and (where the
values are floats) differentiated.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.expr import Expr
from exprc.reference import evaluate
from exprc.verify_grad import verify_grad

RNG = np.random.default_rng(5)
#: Values without ties and away from kinks; their names are those of the lines' parameters.
VALUES: dict[str, Any] = {
    "s": np.float64(1.5),
    "v": np.array([0.5, -1.25, 2.0, 3.5, -0.75]),
    "w": np.array([1.5, 0.25, -2.5, 0.75, 4.0]),
    "x": RNG.permutation(12).reshape(3, 4) / 4 - 1.4,
    "y": RNG.permutation(12).reshape(3, 4) / 8 + 0.3,
    "q": RNG.permutation(16).reshape(4, 4) / 4 - 1.9,
    "t": RNG.permutation(24).reshape(2, 3, 4) / 4 - 2.9,
    "u": RNG.permutation(24).reshape(2, 4, 3) / 8 - 1.1,
    "n": np.array([[1.5, np.nan, 0.5], [np.nan, np.nan, np.nan], [-1.0, 2.0, np.inf]]),
    "z": np.zeros((0, 3)),
    "i": np.array([2, 0, -1, 2]),
    "j": np.array([[0, 3], [-2, 1]]),
    "k": np.array([[3, -1, 0, 2], [5, 7, 1, 4], [0, 2, 9, 8]]),
    "c": np.array([3, 200, 255, 100, 250], "uint8"),
    "b": np.array([[True, False, True, True], [False, False, True, False], [True, True, False, False]]),
    "a": np.array([True, False, True]),
    "one": np.array([[1.5, -0.5, 2.5]]),
}  # fmt: skip

REDUCTIONS = """
m.sum(x)                                    | m.sum(t, axis=(0, -1))                 | m.sum(c)
m.sum(b, axis=0)                            | m.sum(x, axis=1, dtype="float32")      | m.sum(k, axis=0, dtype="int8")
m.sum(x, axis=-1, keepdims=True)            | m.mean(t, axis=(1, 2))                 | m.prod(y, axis=0)
m.prod(k, axis=1)                           | m.max(t, axis=(0, 2), keepdims=True)   | m.min(x)
m.sum(z, axis=0)                            | m.prod(z)                              | m.max(z, axis=1)
m.max(n, axis=1)                            | m.argmax(n, axis=1)                    | m.argmin(t, axis=2)
m.any(b, axis=1)                            | m.all(b)                               | m.all(z)
m.var(x, axis=1, ddof=1)                    | m.std(t, axis=(0, 1))                  | m.ptp(x, axis=0)
m.ptp(k)                                    | m.count_nonzero(k, axis=1)             | m.count_nonzero(n)
m.average(x, axis=1, weights=[1, 2, 3, 4])  | m.average(x, weights=y)                | m.average(t)
m.nansum(n, axis=0)                         | m.nanprod(n, axis=1)                   | m.nanmax(x, axis=1)
m.nanmin(n, axis=0)                         | m.nanmax(n)                            | m.nansum(k)
m.nanmean(x, axis=1)                        | m.nanvar(x, axis=0)                    | m.nanstd(x, axis=0, ddof=1)
m.cumsum(x)                                 | m.cumsum(x, axis=0)                    | m.cumsum(t, axis=-2)
m.cumprod(t, axis=1)                        | m.cumprod(x)                           | m.cumsum(c)
m.cumsum(b, axis=1)                         | m.cumprod(n, axis=1)                   | m.cumsum(z, axis=0)
m.diff(x)                                   | m.diff(t, n=2, axis=1)                 | m.diff(v, prepend=0, append=[1, 2])
m.diff(b)                                   | m.trace(x)                             | m.trace(t, 1, 1, 2)
m.cov(x)                                    | m.cov(x, rowvar=False)                 | m.corrcoef(x)
m.cov(v)                                    | m.sum(x, initial=5)                    | m.sum(x, where=b)
m.sum(x, axis=0, where=b, initial=1.5)      | m.prod(y, axis=1, where=b, initial=2)  | m.max(x, axis=1, initial=0.25)
m.max(x, axis=0, where=b, initial=-9.0)     | m.min(z, axis=0, initial=3.0)          | m.min(z, initial=3.0, keepdims=True)
m.max(m.flip(z), axis=(0, 1), initial=7)    | m.any(b, axis=1, where=~b)             | m.all(b, axis=0, where=b)
m.mean(x, axis=1, where=b)                  | m.mean(k, where=b)                     | m.var(x, axis=1, where=b)
m.std(x, where=b, ddof=1)                   | m.nancumsum(n, axis=1)                 | m.nancumprod(n)
m.trapezoid(v)                              | m.trapezoid(x, axis=0, dx=0.5)         | m.trapezoid(x, [0.0, 1.0, 1.5, 4.0])
m.trapezoid(x, y, axis=0)                   | m.ediff1d(x)                           | m.ediff1d(v, to_begin=9, to_end=[1, 2])
m.amax(x, axis=0)                           | m.amin(x)
"""

SHAPES = """
m.reshape(t, (4, -1))                       | m.ravel(t)                             | m.transpose(t, (2, 0, 1))
m.swapaxes(t, 0, -1)                        | m.moveaxis(t, 0, -1)                   | m.moveaxis(t, (0, 1), (2, 0))
m.rollaxis(t, 2)                            | m.rollaxis(t, 0, 3)                    | m.expand_dims(x, (0, 2))
m.expand_dims(x, -1)                        | m.squeeze(one)                         | m.squeeze(one, axis=0)
m.atleast_1d(s)                             | m.atleast_2d(v)                        | m.atleast_3d(x)
m.atleast_3d(v)                             | m.broadcast_to(v, (2, 5))              | m.broadcast_arrays(x, one[:, :1])
m.concatenate((x, y), axis=1)               | m.concatenate((k, x))                  | m.stack([x, y], axis=-1)
m.vstack((v, w))                            | m.hstack((x, y))                       | m.hstack((v, w))
m.dstack((x, y))                            | m.column_stack((v, w))                 | m.append(x, y)
m.append(x, y, axis=0)                      | m.block([[x, y], [y, x]])              | m.split(v, [1, 3])
m.split(x, 2, axis=1)                       | m.array_split(v, 3)                    | m.array_split(x, 3, axis=1)
m.hsplit(x, 2)                              | m.vsplit(x, 3)                         | m.dsplit(t, [1])
m.flip(t)                                   | m.flip(t, (0, 2))                      | m.fliplr(x)
m.flipud(x)                                 | m.rot90(x)                             | m.rot90(x, -1)
m.rot90(t, 2, (1, 2))                       | m.roll(v, 2)                           | m.roll(x, -1, axis=1)
m.roll(x, (1, 2), axis=(0, 1))              | m.roll(x, 5)                           | m.roll(z, 1, axis=0)
m.repeat(x, 2)                              | m.repeat(x, 3, axis=0)                 | m.repeat(x, [1, 0, 2], axis=0)
m.tile(v, 2)                                | m.tile(x, (2, 1, 3))                   | m.tile(t, (2, 2))
m.tril(q)                                   | m.triu(x, 1)                           | m.tril(t, -1)
m.tri(3, 4, 1)                              | m.diag(v)                              | m.diag(x, 1)
m.diag(v, -2)                               | m.diagonal(t, 1, 2, 0)                 | m.diagonal(x)
m.diagflat(x, 1)                            | m.diagonal(t, -1, 1, 2)                | m.kron(x, one)
m.pad(x, 1)                                 | m.pad(x, ((1, 0), (2, 3)))             | m.pad(x, 2, constant_values=1.5)
m.pad(v, (3, 2), mode="edge")               | m.pad(x, 2, mode="reflect")            | m.pad(v, 9, mode="reflect")
m.pad(x, (2, 1), mode="symmetric")          | m.pad(v, (7, 6), mode="wrap")          | m.pad(v, 7, mode="symmetric")
m.pad(x, 1, mode="maximum")                 | m.pad(x, 1, mode="mean")               | m.pad(k, 1, mode="minimum")
m.pad(x, 1, constant_values=((1, 2), (3, 4))) | m.pad(c, 1, constant_values=7)       | m.pad(z, ((1, 0), (0, 1)))
m.zeros_like(k)                             | m.ones_like(x)                         | m.full_like(x, 7.5)
m.meshgrid(v, w)                            | m.meshgrid(v, w, sparse=True, indexing="ij") | m.linspace(s, w, 4)
m.linspace(v, w, 3, axis=1)                 | m.linspace(s, 2.0, 5, endpoint=False)  | m.linspace(s, 2.0, 1)
m.concatenate((x, y), axis=None)            | m.reshape(t, (4, -1), order="F")       | m.ravel(t, order="F")
m.concat((x, y), axis=-1)                   | m.matrix_transpose(t)                  | m.delete(v, 1)
m.delete(x, -1, axis=0)                     | m.insert(x, 1, 9.5, axis=1)            | m.insert(v, -2, [7, 8])
m.insert(x, 1, v[:4], axis=0)               | m.sum([x, y], axis=0)                  | m.stack([s, 1.5, s])
m.linspace(s, w, 4, axis=-1)                | m.unravel_index(i + 1, (2, 3))         | m.ravel_multi_index((i % 3, i % 4), (3, 4))
"""

INDEXING = """
x[1]                                        | x[-1, ::2]                             | x[::-1, 3:0:-2]
t[..., 1]                                   | t[1, ..., None, ::2]                   | x[5:, 9:]
x[i]                                        | x[:, i]                                | t[1, :, i]
t[i % 2, :, i % 3]                          | t[:, [0, 2], [1, 3]]                   | t[j % 2, 1]
t[:, None, j % 3]                            | x[[0, 2]][:, [1, 1]]                   | x[a]
x[b]                                        | t[:, b]                                | x[a, 1:]
x[a, [0, 3]]                                | x[x > 0]                               | x[:, [True, False, True, True]]
m.take(x, i)                                | m.take(x, j, axis=1)                   | m.take(x, [-9, 9], axis=0, mode="clip")
m.take(x, [5, -6], axis=1, mode="wrap")     | m.take_along_axis(x, k % 4, 1)         | m.take_along_axis(x, k % 3, 0)
m.take_along_axis(x, k[:, :1] % 4, 1)       | m.choose(i % 3, [v[:4], w[:4], v[1:]]) | m.choose(i, [v[:4], w[:4]], mode="clip")
m.compress([True, False, True], x, axis=0)  | m.compress(a, x, axis=0)               | m.extract(b, x)
m.select([x > 1, x > 0], [x, y], 7.0)       | m.nonzero(b)                           | m.nonzero(k)
m.where(b)                                  | m.where(x > 0, x, [1, 2, 3, 4])        | t[:, :, i % 4, ..., None]
t[:, i % 3, ..., i]                         | x[m.ix_([0, 2], [1, 3])]               | m.isin(k, [1, 9, 7])
m.tril_indices(3)                           | m.triu_indices(3, 1, 4)                | m.diag_indices(3)
m.flatnonzero(k)                            | m.argwhere(b)                          | m.take(z, [0, 1], axis=1)
"""

SORTING = """
m.sort(x)                                   | m.sort(x, axis=0)                      | m.sort(x, axis=None)
m.argsort(x)                                | m.argsort(k, axis=0)                   | m.sort(n)
m.searchsorted([-1.0, 0.0, 1.5], x)         | m.searchsorted(m.sort(v), w, "right")  | m.digitize(x, [-1.0, 0.0, 1.0])
m.bincount(i % 4)                           | m.bincount(i % 4, minlength=6)         | m.bincount(i % 4, weights=v[:4])
m.unique(i)                                 | m.unique(k, return_counts=True)        | m.unique(j, return_index=True, return_inverse=True)
m.median(x)                                 | m.median(t, axis=(0, 2), keepdims=True) | m.median(n, axis=1)
m.quantile(x, 0.3, axis=1)                  | m.percentile(x, [10, 50, 100])         | m.nanmedian(n, axis=1)
"""

PRODUCTS = """
m.dot(x, x.T)                               | m.dot(t, x.T)                          | m.dot(k, k.T)
m.dot(b, b.T)                               | m.dot(s, x)                            | m.matmul(t, u)
m.matmul(x, u)                              | m.matmul(t[:, None], u)                | m.matmul(k, k.T)
m.matmul(v, w)                              | m.matmul(t, v[:4])                     | m.matmul(k[None], k.T)
m.inner(x, y)                               | m.inner(v, w)                          | m.outer(v, w)
m.vdot(x, y)                                | m.vecdot(x, y)                         | m.tensordot(t, u, ((1, 2), (2, 1)))
m.tensordot(x, y, 2)                        | m.tensordot(t, x, axes=([2], [1]))     | m.cross(x[:, :3], y[:, :3])
m.einsum("ij,ij->", x, y)                   | m.einsum("ij->ji", x)                  | m.einsum("ij,jk", x, u[0])
m.einsum("bij,bjk->bik", t, u)              | m.einsum("ii->i", q)                   | m.einsum("ii", q)
m.einsum("...ij,...jk->...ik", t, u)        | m.einsum("i,j->ij", v, w)              | m.einsum("ij,ik,il->jkl", x, y, x)
m.einsum("bij,kj,bik->bk", t, x, t[:, :, :3]) | m.einsum("i,ij,j->", v[:3], x, w[:4]) | m.einsum("...j,j->...", t, w[:4])
m.einsum("ij,ij->i", k, k)                  | m.einsum("b...,b->...", t, v[:2])      | m.einsum("iij->j", t[:, :2])
m.einsum(x, [0, 1], y, [2, 1], [0, 2])      | m.einsum("ij,kj->ik", x, one[:, :1])   | m.einsum("ij->", x)
m.array_equal(x, x)                         | m.array_equal(n, n, equal_nan=True)    | m.array_equal(x, y)
m.interp(v, [-1.0, 0.0, 2.25], w[:3])        | m.interp(x, [0.0, 1.0], [3.0, 5.0], left=7, right=8)
m.polyval([2.0, 0.5, -1.0], x)              | m.sinc(x)                              | m.logaddexp2(x, y)
m.ldexp(x, 3)                               | m.modf(x)                              | m.modf(n)
m.angle(x)                                  | m.real(x)                              | m.positive(k)
m.clip(x, None, 0.5)                        | m.clip(x, -0.5, None)                  | m.clip(k, 1, 3)
m.around(x, 1)
"""

#: Less usual spellings, and values at the edges.
UNUSUAL = """
m.where(k, 1000, 0)                         | m.where(c, 1000, -1)                   | m.where(c, 2.5, 1)
m.digitize(x, [1.0, 0.0, -1.0])             | m.digitize(x, [1.0, 0.0], right=True)  | m.imag(n)
m.imag(b)                                   | m.angle(n)                             | m.angle(-0.0 * x)
m.ldexp(x * 1e-300, 997)                    | m.ldexp(0.5, 1024)                     | m.tril(b)
m.triu(b, 1)                                | m.linspace(-2.5, 2.5, 4, dtype=int)    | m.meshgrid(x, v)
m.arange(np.float32(0), np.float32(1), np.float32(0.25)) | x ** 0                    | m.arctan2(x - x, y - y)
m.cov(x, y)                                 | m.cov(v, w, bias=True)                 | m.cov(x, aweights=[1.0, 0.5, 2.0, 1.0])
m.cov(x, fweights=[1, 2, 3, 1])             | m.cov(x, fweights=[1, 2, 3, 1], aweights=y[0]) | m.corrcoef(v, w)
m.corrcoef(x, y, rowvar=False)              | m.quantile(x, 0.3, axis=1, method="lower") | m.quantile(x, 0.3, method="higher")
m.quantile(x, [0.2, 0.5], axis=0, method="nearest") | m.quantile(v, 0.4, method="midpoint") | m.quantile(x, 0.4, method="hazen")
m.quantile(v, [0.0, 0.1, 1.0], method="weibull") | m.quantile(v, 0.3, method="inverted_cdf")
m.quantile(v, [0.2, 0.4, 0.9], method="averaged_inverted_cdf") | m.quantile(v, 0.3, method="interpolated_inverted_cdf")
m.percentile(x, 30, axis=1, method="median_unbiased") | m.quantile(v, 0.8, method="normal_unbiased")
m.nanquantile(n, 0.3, axis=1)               | m.nanpercentile(n, [10, 60], axis=1)   | m.nanquantile(n, 0.5, method="lower")
m.quantile(x, [[0.1, 0.2], [0.3, 0.4]], axis=1, keepdims=True) | m.median([np.inf, np.inf]) | m.median([-np.inf, -np.inf, 1.0, 2.0])
m.gradient(v)                               | m.gradient(x, 0.5, axis=1)             | m.gradient(x, [0.0, 1.0, 3.0], 2.0)
m.convolve(v, w[:3])                        | m.convolve(v[:2], w, "same")           | m.convolve(k[0], k[1], mode="valid")
m.correlate(v, w[:2])                       | m.correlate(v[:2], w, "same")          | m.correlate(w, v[:4], "full")
m.cumulative_sum(x, axis=1)                 | m.cumulative_sum(v, include_initial=True) | m.cumulative_prod(x, axis=0, include_initial=True)
m.unwrap(x * 9)                             | m.unwrap(x * 9, 4.0, axis=0)           | m.float_power(k + 2, -1)
m.vander(v, 3)                              | m.vander(k[0], increasing=True)        | m.lexsort((k[0], k[1] % 2))
m.repeat(v[:4], i % 3)                      | m.repeat(x, i % 2, axis=1)             | m.union1d(v, w)
m.intersect1d(k, i)                         | m.setdiff1d(k, [1, 2])                 | m.array_equiv(x, x[:1])
m.matvec(x, w[:4])                          | m.vecmat(w[:3], x)                     | m.concatenate([x, k], dtype="float32")
m.stack([x, k], axis=1, dtype="float32")    | m.hstack((v, w), dtype="float32")      | m.ones_like(k, shape=(2, 2))
m.insert(one[0], [0, 2], [7.0, 8.0])        | m.insert(one, np.array([True, False, True]), 9.0, axis=1) | m.delete(one, slice(0, 2), axis=1)
m.delete(one[0], [True, False, True])       | m.triu_indices_from(x, 1)              | m.diag_indices_from(q)
m.zeros_like(x, shape=np.array([2, 3]))     | m.reshape(x, np.array([6, 2]))         | m.tile(x, np.array([2, 1]))
m.roll(x, np.array([1, 2]), axis=(0, 1))    | m.split(x, np.int64(3))                | m.pad(x, ((0, 0), (1, 2)))
m.less(c, -1)                               | m.not_equal(c, 300)                    | m.clip(c, -5, 1000)
m.sort(x, stable=True)                      | m.linalg.norm(x, "fro") if m is np else m.norm(x)
"""


def lines(text: str, mark: str = "|") -> list[str]:
    return [part.strip() for row in text.strip().splitlines() for part in row.split(mark)]


LINES = [*lines(REDUCTIONS), *lines(SHAPES), *lines(INDEXING), *lines(SORTING), *lines(PRODUCTS), *lines(UNUSUAL)]

#: Methods and operators of an array.
METHODS = lines("""
x.T ; t.mT ; x.sum(1) ; t.mean((0, 1)) ; y.prod() ; x.max(0) ; x.min() ; x.argmax(1) ; x.argmin() ; x.var(0) ; x.std() ; b.any(0) ; b.all()
x.cumsum() ; x.cumprod(1) ; x.dot(y.T) ; x.clip(-1, 1) ; x.clip(max=0.5) ; x.clip(min=0.5) ; x.round() ; x.repeat(2) ; x.repeat(2, axis=1)
x.take([1, 0], 1) ; x.argsort() ; k.nonzero() ; x.diagonal() ; x.trace() ; x.copy() ; one.squeeze() ; x.flatten() ; x.ravel()
x.reshape(4, 3) ; x.reshape((2, 6)) ; t.transpose(1, 0, 2) ; t.transpose((1, 0, 2)) ; t.transpose() ; t.swapaxes(0, 1)
x.astype("float32") ; x.conj() ; x.real ; x.imag ; w[:3].searchsorted([0.7]) ; (i % 2).choose([v[:4], w[:4]])
x.compress([True, False, True], axis=0)
x + 1 ; 1 - x ; x * y ; 2 / x ; x // 0.75 ; x % 0.75 ; divmod(x, 0.75) ; divmod(1.0, y) ; y ** 2 ; 2 ** x ; -x ; +x ; abs(x) ; x @ y.T
k & 3 ; 3 | k ; k << 2 ; k >> 1 ; 1 << k ; abs(-k) ; k ^ 1 ; ~k ; ~b ; b & ~b ; x < y ; x <= 0 ; x > y ; 0 >= x
""", ";")  # fmt: skip


def parameters(line: str) -> list[str]:
    names = compile(line, "line", "eval").co_names
    return [n for n in VALUES if n in names]


def run(line: str, m: Any, given: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy says where a row has nothing but NaN
        return eval(line, {"m": m, "np": np, **given})


def flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [part for v in value for part in flat(v)]
    return [value]


def inputs(names: list[str], known: bool) -> dict[str, Expr]:
    made = {}
    for name in names:
        array = np.asarray(VALUES[name])
        made[name] = T.TensorType(array.dtype.name, array.shape if known or name == "one" else (None,) * array.ndim)(name)
    return made


def same(line: str, got: Any, wanted: Any) -> None:
    for ours, theirs in zip(flat(got), flat(wanted), strict=True):
        theirs = np.asarray(theirs)
        assert np.shape(ours) == theirs.shape, (line, np.shape(ours), theirs.shape)
        kinds = (ours.dtype.kind, theirs.dtype.kind)
        assert kinds[0] == kinds[1] or kinds == ("f", "i"), (line, ours.dtype, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-6, err_msg=line)


@functools.cache
def wanted(line: str) -> Any:
    return run(line, np, VALUES)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("line", [*LINES, *METHODS])
def test_values_are_numpys(line: str, known: bool) -> None:
    with exprc.config.override(floatX="float64"):
        given = inputs(parameters(line), known)
        made = flat(run(line, T, given))
        for ours, theirs in zip(made, flat(wanted(line)), strict=True):
            assert len(ours.type.shape) == np.ndim(theirs)
            assert not known or all(d in (None, n) for d, n in zip(ours.type.shape, np.shape(theirs)))
        same(line, evaluate(made, {x: np.asarray(VALUES[n]) for n, x in given.items()}), wanted(line))


#: NumPy has no hook for other arrays in these, or none for those in lists.
NO_HOOK = {
    "m.tri(", "m.select", "m.block", "m.extract", "m.ravel_multi_index", "m.rot90", "m.einsum(x", "m.flatnonzero", "m.ix_", "m.sum([",
    "m.stack([s", "m.norm",
}  # fmt: skip


@pytest.mark.parametrize("line", [n for n in LINES if "m." in n and parameters(n) and not any(name in n for name in NO_HOOK)])
def test_numpys_own_functions_build_the_same(line: str) -> None:
    given = inputs(parameters(line), True)
    with exprc.config.override(floatX="float64"):
        made = flat(run(line, np, given))
        assert all(isinstance(y, Expr) for y in made)
        same(line, evaluate(made, {x: np.asarray(VALUES[n]) for n, x in given.items()}), wanted(line))


def smooth(line: str) -> bool:
    names = parameters(line)
    exact = all(np.issubdtype(np.asarray(y).dtype, np.floating) for y in flat(wanted(line)))
    return bool(names) and exact and not {"n", "z"} & set(names) and any(VALUES[n].dtype == np.float64 for n in names)


#: Constant in their values, or with a jump at the points above.
FLAT = {
    "m.zeros_like", "m.ones_like", "m.full_like", "x.round", "m.around", "x.imag", "x // ", "divmod", "m.unique", "m.union1d", "float32",
}  # fmt: skip


@pytest.mark.parametrize("line", [n for n in [*LINES, *METHODS] if smooth(n) and not any(f in n for f in FLAT)])
def test_gradients(line: str) -> None:
    names = parameters(line)
    verify_grad(lambda *xs: tuple(flat(run(line, T, dict(zip(names, xs))))), [VALUES[n] for n in names], rng=3, directions=4)


@pytest.mark.parametrize("chunk", range(6))
def test_compiled_is_numpy(chunk: int) -> None:
    """All lines of a sixth of the table in one function, whose shapes only the call knows."""
    compiled([*LINES, *METHODS][chunk::6], False)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(12))
def test_compiled_is_numpy_for_sizes_as_arguments(chunk: int) -> None:
    """The same with every size above 1 an argument of the program."""
    compiled([*LINES, *METHODS][chunk::12], True)


def compiled(chosen: list[str], sizes_as_arguments: bool) -> None:
    with exprc.config.override(floatX="float64"):
        given = inputs(list(VALUES), False)
        cases = [(line, flat(run(line, T, given))) for line in chosen]
        outputs = [y for _, made in cases for y in made]
        function = exprc.function(list(given.values()), outputs, mode="compiled", on_unused_input="ignore")
        if sizes_as_arguments:
            for part in function._compiled.parts:
                part.seen.update({key: {-1, -2} for key in part.keys})  # as if each had taken other values before
        results = iter(function(*(np.asarray(v) for v in VALUES.values())))
        for line, made in cases:
            same(line, [next(results) for _ in made], wanted(line))
