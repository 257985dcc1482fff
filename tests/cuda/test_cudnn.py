"""cuDNN in the place of the kernels of convolutions: on a fake library beside the fake driver, and on a GPU where one is."""

from __future__ import annotations

import pytest

from tests.cuda import fake_driver

pytestmark = pytest.mark.skipif(fake_driver.pycuda_library() is None, reason=fake_driver.NO_PYCUDA)

BEGIN = """
import exprc, exprc.tensor as T
from exprc.runtime import cudnn
rng = np.random.default_rng(0)
there = cudnn.library()[0] is not None
def made(inputs, outputs, libraries="auto", **how):
    with exprc.config.override(cuda_libraries=libraries):
        return exprc.function(inputs, outputs, device="cuda", **how)
def launches(f):
    told = str(f.explain()).partition("launches of a call")[2].partition("\\ncopies")[0].splitlines()[1:]
    return [line for line in told if "conv2d" in line]
def used(f):
    return [line.split()[1] == "cudnn" for line in launches(f)]
def drawn(*shapes, dtype="float32"):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]
def compare(names, got, want, tolerance=2e-5):
    for name, a, b in zip(names, got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(), err_msg=name)
"""

GEOMETRIES = BEGIN + """
if not there:
    raise SystemExit(0)  # a GPU without cuDNN
CASES = {  # images, filters, what conv2d is told
    "one image": ((1, 3, 6, 6), (5, 3, 3, 3), {"border_mode": "half"}),
    "one channel, one filter": ((3, 1, 6, 5), (1, 1, 3, 2), {"filter_flip": False}),
    "50 channels": ((2, 50, 4, 4), (50, 50, 3, 3), {"border_mode": 1, "filter_flip": False}),
    "one by one, strides": ((2, 3, 5, 5), (4, 3, 1, 1), {"subsample": (2, 2)}),
    "a row": ((2, 3, 4, 9), (4, 3, 1, 3), {"subsample": (1, 2)}),
    "a column": ((2, 3, 9, 4), (4, 3, 4, 1), {"border_mode": "full"}),
    "strides that leave rows": ((2, 3, 9, 8), (4, 3, 3, 3), {"subsample": (2, 3), "border_mode": (1, 0)}),
    "dilated": ((2, 2, 10, 9), (3, 2, 3, 2), {"filter_dilation": (2, 3), "border_mode": (1, 2)}),
    "strides and dilated": ((2, 2, 11, 9), (3, 2, 3, 2), {"filter_dilation": (2, 3), "subsample": (2, 2), "filter_flip": False}),
    "groups": ((2, 6, 6, 6), (4, 3, 3, 3), {"num_groups": 2, "border_mode": "half"}),
    "groups and strides": ((2, 6, 7, 6), (9, 2, 3, 2), {"num_groups": 3, "subsample": (2, 1), "filter_flip": False}),
    "two filters a channel": ((2, 3, 6, 6), (6, 1, 3, 3), {"num_groups": 3}),
}
inputs, outputs, values, names = [], [], [], []
for name, (images, filters, how) in CASES.items():
    dtype = "float64" if name == "groups" else "float32"
    x, w = T.tensor4("x", dtype=dtype), T.tensor4("w", dtype=dtype)
    y = T.conv2d(x, w, **how)
    outputs += [y, *exprc.grad((y * T.sin(y)).sum(), [x, w])]
    inputs += [x, w]
    values += drawn(images, filters, dtype=dtype)
    names += [name, f"{name}: gradient of the images", f"{name}: gradient of the filters"]
f = made(inputs, outputs)
compare(names, f(*values), exprc.function(inputs, outputs)(*values))
first = f(*values)
assert all(np.array_equal(a, b) for a, b in zip(first, f(*values))), "not the same bits in every run"
assert used(f) == [True] * 3 * len(CASES), launches(f)
"""


@pytest.mark.long
def test_every_geometry_is_that_of_the_kernels(ran):
    ran(GEOMETRIES)


def test_what_is_asked_of_the_library(faked, tmp_path):
    """Descriptors, arithmetic, and memory given beforehand (fake_cudnn.c refuses others); each captured once and run with every call."""
    log = tmp_path / "convolutions"
    faked(BEGIN + """
x, w, v = T.tensor4("x"), T.tensor4("w"), T.tensor4("v", dtype="float64")
y = T.conv2d(x, w, border_mode=(1, 0), subsample=(2, 1), filter_dilation=(1, 2), num_groups=2)
f = made([x, w], [y, *exprc.grad((y * y).sum(), [x, w])])
for k in range(3):
    a, b = drawn((2, 4, 7, 9), (6, 2, 3, 2))
    compare("y x w".split(), f(a, b), exprc.function([x, w], [y, *exprc.grad((y * y).sum(), [x, w])])(a, b))
made([v], T.conv2d(v, v, filter_flip=False))(*drawn((2, 2, 3, 3), dtype="float64"))
""", FAKE_CUDNN=str(log))
    rest = "groups 2 pad 1 0 stride 2 1 dilation 1 2: 2x4x7x9 6x2x3x2"
    assert log.read_text().splitlines() == [
        f"y float math 3 cross 0 {rest}", f"x float math 3 cross 0 {rest}", f"w float math 3 cross 1 {rest}",
        "y double math 0 cross 1 groups 1 pad 0 0 stride 1 1 dilation 1 1: 2x2x3x3 2x2x3x3",
    ]  # fmt: skip


LYING = BEGIN + """
x, w = T.tensor4("x"), T.tensor4("w")
values = drawn((4, 6, 9, 8), (4, 3, 3, 2))
pad = ((0, 0), (0, 0), (1, 1), (1, 1))
BY_LIBRARY = {
    "some channels": T.conv2d(x[:, 2:5], w),
    "every second of everything": T.conv2d(x[::2, ::2, ::2, ::2], w),
    "channels last": T.conv2d(T.transpose(x, (0, 2, 3, 1))[:, :3], w),
    "some filters, turned over": T.conv2d(x[:, :3], w[1:3, :, ::-1, ::-1]),
    "with what is made of it apart": T.relu(T.conv2d(x[:, :3], w) + 1.0),
}
BY_KERNEL = {
    "filters half turned over": (T.conv2d(x[:, :3], w[:, :, ::-1]), "its filters do not lie one after the other"),
    "some of their channels": (T.conv2d(x[:, :2], w[:, 1:]), "its filters do not lie one after the other"),
    "backwards": (T.conv2d(x[:, 2::-1], w), "images go backwards, or lie in each other, or are too large"),
    "one for all": (T.conv2d(T.broadcast_to(x[:1, :3], (4, 3, 9, 8)), w), "images go backwards, or lie in each other, or are too large"),
    "padded where it is read": (T.conv2d(T.pad(x[:, :3], pad), w), "LOAD_x does more than load"),
}
ours = {name: y for name, (y, _) in BY_KERNEL.items()}
every = BY_LIBRARY | ours
f = made([x, w], list(every.values()))
compare(every, f(*values), exprc.function([x, w], list(every.values()))(*values)) if there else f(*values)
"""


def test_how_images_and_filters_may_lie(faked):
    faked(LYING + """
assert used(f) == [True] * len(BY_LIBRARY) + [False] * len(BY_KERNEL), launches(f)
for (name, (_, why)), line in zip(BY_KERNEL.items(), launches(f)[len(BY_LIBRARY):], strict=True):
    assert line.partition("; not by cudnn: ")[2] == why, (name, line)
others = {"none": T.conv2d(x[:0, :3], w), "padded unevenly": T.conv2d(x[:, :3], w, border_mode=((1, 0), (0, 0)))}
g, h = made([x, w], list(others.values())), exprc.function([x, w], T.conv2d(x[:, :3], w), device="cuda")
assert [y.shape for y in g(*values)] == [(0, 4, 7, 7), (4, 4, 8, 7)] and used(g) == [False], launches(g)  # what is empty is not launched
h(*values)
assert used(h) == [False], "off by default"
""")


def test_precision_decides_on_the_arithmetic(faked, tmp_path):
    log = tmp_path / "convolutions"
    faked(BEGIN + """
x, w = T.tensor4("x"), T.tensor4("w")
large, small = drawn((2, 16, 12, 12), (32, 16, 3, 3)), drawn((1, 1, 3, 3), (1, 1, 2, 2))
y = T.conv2d(x, w)
for precision in ("float32", "strict", "tf32", "bf16"):
    f = made([x, w], y, precision=precision)
    compare([precision], [f(*large)], [exprc.function([x, w], y)(*large)], 1e-5 if precision != "bf16" else 3e-2)
    assert used(f) == [precision != "bf16"], (precision, launches(f))
f = made([x, w], y, precision="tf32")
f(*small)
assert used(f) == [True]
""", FAKE_CUDNN=str(log))
    assert [line.split()[3] for line in log.read_text().splitlines()] == ["3", "3", "0", "3"]


def test_without_an_algorithm_that_only_sums_the_kernel_is_taken(faked):
    faked(BEGIN + """
x, w = T.tensor4("x"), T.tensor4("w")
values = drawn((2, 3, 6, 6), (4, 3, 3, 3))
f = made([x, w], T.conv2d(x, w))
compare("y", [f(*values)], [exprc.function([x, w], T.conv2d(x, w))(*values)])
(line,) = launches(f)
assert line.endswith("; not by cudnn: it has no algorithm for it that only sums, with the same bits in every run"), line
""", FAKE_CUDNN_ONLY="4")


def test_a_network_learns_the_same(ran):
    ran(BEGIN + """
def learning(make):
    first = drawn((4, 1, 3, 3), (6, 4, 3, 3), (6 * 4, 3))
    w, v, u = (exprc.shared(0.3 * np.random.default_rng(k).standard_normal(a.shape).astype("float32")) for k, a in enumerate(first))
    x, t = T.tensor4("x"), T.ivector("t")
    h = T.relu(T.conv2d(T.relu(T.conv2d(x, w, border_mode="half")), v, subsample=(2, 2), border_mode=1))
    p = T.softmax(T.dot(h.reshape((x.shape[0], -1)), u))
    cost = -T.log(p)[T.arange(t.shape[0]), t].mean()
    step = make([x, t], cost, updates={q: q - 0.1 * g for q, g in zip((w, v, u), exprc.grad(cost, [w, v, u]))}, steps=3)
    data = np.random.default_rng(7).standard_normal((6, 1, 4, 4)).astype("float32")
    return [step(data, np.arange(6, dtype="int32") % 3) for _ in range(3)], [w.get_value(), v.get_value(), u.get_value()], step
ours, theirs = learning(exprc.function), learning(made)
np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-4)
compare("w v u".split(), theirs[1], ours[1], 1e-4)
assert not there or sum(used(theirs[2])) == 5, launches(theirs[2])
assert theirs[2].profile(np.zeros((6, 1, 4, 4), "float32"), np.zeros(6, "int32")) is not None
""")


def test_a_library_that_fails_is_told_and_can_be_left_out(faked):
    done = faked(BEGIN + """
from exprc.errors import DeviceError
x, w = T.tensor4("x"), T.tensor4("w")
values = [np.ones((1, 2, 3, 3), "float32"), np.ones((1, 2, 3, 3), "float32")]
try:
    made([x, w], T.conv2d(x, w))(*values)
except DeviceError as error:
    print(error)
assert exprc.function([x, w], T.conv2d(x, w), device="cuda")(*values) == 18
""", FAKE_CUDNN_FAIL="3000", clean=False)
    assert done.stdout == (
        "cuDNN cannot compute the convolution of 1 x 2 x 3 x 3 with filters 1 x 2 x 3 x 3: "
        "its result is 3000 (CUDNN_STATUS_NOT_SUPPORTED)\n"
        "  config.cuda_libraries = 'off' does without it\n"
    )


def test_libraries_can_be_named(faked):
    done = faked(BEGIN + """
from exprc.errors import DeviceError
from exprc.runtime import cublas
x, w, a = T.tensor4("x"), T.tensor4("w"), T.matrix("a")
values = [*drawn((1, 2, 4, 4), (3, 2, 2, 2)), *drawn((3, 3))]
for named, by in (("cudnn", [True, False]), ("cublas", [False, True]), ("cublas, cudnn", [True, True])):
    f = made([x, w, a], [T.conv2d(x, w), T.dot(a, a)], named)
    f(*values)
    told = str(f.explain())
    assert [" cudnn " in told, " cublas " in told] == by, (named, told)
cudnn.library = lambda: (None, "")
f = made([x, w], T.conv2d(x, w))
f(*values[:2])
assert used(f) == [False], "what is not found is not taken"
try:
    made([x, w], T.conv2d(x, w), "cublas,cudnn")
except DeviceError as error:
    print(error)
""", FAKE_VERSION="12080")
    assert done.stdout == (
        "config.cuda_libraries asks for cuDNN, which is not found\n"
        "  pip install nvidia-cudnn-cu12, or config.cuda_libraries = 'auto', which takes what is there\n"
    )
