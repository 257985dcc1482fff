"""cuBLAS in the place of kernels: on a fake library beside the fake driver, and on a GPU where one is."""

from __future__ import annotations

import pytest

from tests.cuda import fake_driver

pytestmark = pytest.mark.skipif(fake_driver.pycuda_library() is None, reason=fake_driver.NO_PYCUDA)

BEGIN = """
import exprc, exprc.tensor as T
from exprc.runtime import cublas
rng = np.random.default_rng(0)
def made(inputs, outputs, **how):
    with exprc.config.override(cuda_libraries="auto"):
        return exprc.function(inputs, outputs, device="cuda", **how)
def used(f):
    return str(f.explain()).partition("launches of a call")[2].count("cublas ")
"""

PRODUCTS = BEGIN + """
if cublas.library()[0] is None:
    raise SystemExit(0)  # a GPU without cuBLAS
x, y, z, u = T.matrix("x"), T.matrix("y"), T.tensor3("z"), T.dmatrix("u")
a, b = rng.standard_normal((5, 7)).astype("float32"), rng.standard_normal((7, 4)).astype("float32")
c = rng.standard_normal((3, 5, 7)).astype("float32")
cases = {
    "plain": ([x, y], T.dot(x, y), [a, b]),
    "left turned": ([x, y], T.dot(x.T, y), [np.ascontiguousarray(a.T), b]),
    "right turned": ([x, y], T.dot(x, y.T), [a, np.ascontiguousarray(b.T)]),
    "both turned": ([x, y], T.dot(x.T, y.T), [np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)]),
    "rows": ([x, y], T.dot(x[1:4], y), [a, b]),
    "every second row": ([x, y], T.dot(x[::2], y), [a, b]),
    "columns": ([x, y], T.dot(x[:, 2:], y[2:, 1:]), [a, b]),
    "one row": ([x, y], T.dot(x[:1], y), [a, b]),
    "one column": ([x, y], T.dot(x, y[:, :1]), [a, b]),
    "one inner": ([x, y], T.dot(x[:, :1], y[:1]), [a, b]),
    "stacks": ([z, y], T.matmul(z, z.dimshuffle(0, 2, 1)) + 0 * y.sum(), [c, b]),
    "double": ([u], T.dot(u, u.T), [a.astype("float64")]),
}
for name, (inputs, output, values) in cases.items():
    f, g = made(inputs, output), exprc.function(inputs, output)
    np.testing.assert_allclose(f(*values), g(*values), rtol=2e-5, atol=1e-5, err_msg=name)
    assert used(f) == 1, (name, str(f.explain()))
    f(*values)
"""


def test_products_are_those_of_the_kernel(ran):
    ran(PRODUCTS)


def test_what_is_not_plain_stays_with_the_kernels(ran):
    ran(BEGIN + """
x, y = T.matrix("x"), T.matrix("y")
a, b = rng.standard_normal((5, 7)).astype("float32"), rng.standard_normal((7, 4)).astype("float32")
for name, output, values in [  # none has an address with one step from row to row
    ("every second column", T.dot(x[:, ::2], y[::2]), [a, b]),
    ("backwards", T.dot(x[::-1], y), [a, b]),
    ("the same row again", T.dot(T.broadcast_to(x[:1], (5, 7)), y), [a, b]),
    ("nothing to sum", T.dot(x[:, :0], y[:0]), [a, b]),
]:
    f, g = made([x, y], output), exprc.function([x, y], output)
    np.testing.assert_allclose(f(*values), g(*values), rtol=2e-5, atol=1e-5, err_msg=name)
    assert used(f) == 0, (name, str(f.explain()))
plain = exprc.function([x, y], T.dot(x, y), device="cuda")
plain(a, b)
assert used(plain) == 0, "off by default"
""")


def test_a_network_learns_the_same(ran):
    ran(BEGIN + """
from exprc import nn
if cublas.library()[0] is None:
    raise SystemExit(0)
def learning(make):
    first = [np.random.default_rng(k).standard_normal(s).astype("float32") for k, s in ((0, (8, 16)), (1, (16, 3)))]
    w, v = (exprc.shared(0.3 * a, name="w") for a in first)
    x, t = T.matrix("x"), T.ivector("t")
    p = T.softmax(T.dot(T.relu(T.dot(x, w)), v))
    cost = -T.log(p)[T.arange(t.shape[0]), t].mean()
    step = make([x, t], cost, updates={q: q - 0.5 * g for q, g in zip((w, v), exprc.grad(cost, [w, v]))}, steps=3)
    losses = [step(rng.random((6, 8), np.float32) * 0 + np.eye(6, 8, dtype="float32"), np.arange(6, dtype="int32") % 3) for _ in range(3)]
    return losses, w.get_value(), step
ours, theirs = learning(exprc.function), learning(made)
np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-4)
np.testing.assert_allclose(theirs[1], ours[1], rtol=1e-4, atol=1e-5)
assert used(theirs[2]) >= 3, str(theirs[2].explain())
""")


def test_what_is_asked_of_the_library(faked, tmp_path):
    """Full precision, a workspace given beforehand (fake_cublas.c refuses others), each product captured once and run with every call."""
    log = tmp_path / "products"
    faked(BEGIN + """
x, y = T.matrix("x"), T.matrix("y")
f = made([x, y], T.dot(x, y.T))
for k in range(3):
    a, b = rng.standard_normal((5, 7)).astype("float32"), rng.standard_normal((4, 7)).astype("float32")
    np.testing.assert_allclose(f(a, b), a @ b.T, rtol=1e-5, atol=1e-6)
""", FAKE_CUBLAS=str(log))
    assert log.read_text() == "float 10 4 5 7 x1\n"


def test_a_library_that_fails_is_told_and_can_be_left_out(faked):
    done = faked(BEGIN + """
from exprc.errors import DeviceError
x = T.matrix("x")
a = np.ones((3, 3), "float32")
try:
    made([x], T.dot(x, x))(a)
except DeviceError as error:
    print(error)
assert (exprc.function([x], T.dot(x, x), device="cuda")(a) == 3).all()
""", FAKE_CUBLAS_FAIL="13", clean=False)
    assert done.stdout == "cuBLAS cannot multiply 3 x 3 by 3 x 3: its result is 13\n  config.cuda_libraries = 'off' does without it\n"


def test_without_the_library_the_kernels_are_taken(faked):
    faked(BEGIN + """
cublas.library = lambda: (None, "")
x = T.matrix("x")
f = made([x], T.dot(x, x))
assert (f(np.ones((3, 3), "float32")) == 3).all() and used(f) == 0
""")


@pytest.mark.emulator
def test_the_emulator_runs_its_kernels():
    import numpy as np

    import exprc
    import exprc.tensor as T

    x = T.matrix("x")
    with exprc.config.override(cuda_libraries="auto"):
        f = exprc.function([x], T.dot(x, x), device="cuda-emulator")
    assert (f(np.ones((3, 3), "float32")) == 3).all() and "cublas" not in f.explain()
    with pytest.raises(ValueError, match="config.cuda_libraries: 'on' is none of off, auto, cublas, cudnn"):
        exprc.config.cuda_libraries = "on"
