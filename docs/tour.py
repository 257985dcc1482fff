"""A tour of exprc: from an expression to running C.

Read it from top to bottom, or run it, `python docs/tour.py`, and see what each stage made. Every claim is followed by
an assert, and the test suite runs this file, so that it stays true. An idea appears when it is needed, not earlier.

We train the smallest network there is, one unit that tells points on the right from points on the left, and follow its
training step down to the processor.
"""

from __future__ import annotations

from itertools import pairwise, takewhile

import numpy as np

import exprc
import exprc.tensor as T
from exprc import debugprint
from exprc.forms import formula
from exprc.rewrite import SIMPLIFY, STABILISE, rewrite


def show(title: str, text: object) -> None:
    print(f"\n── {title} {'─' * (100 - len(title))}\n{text}")


# ── 1. Expr: what you write is a graph ──────────────────────────────────────────────────────────────────────────────────
#
# Inputs get their values at each call; a shared variable keeps its value from call to call. Anything else is a node: an
# operation on other nodes. Nothing is computed here.

points = T.matrix("points")  # one row for each point
side = T.vector("side")  # 1 for a point on the right, -1 for one on the left
w = exprc.shared(np.zeros(2, "float32"), name="w")

score = points @ w
loss = T.mean(T.log(1 + T.exp(-side * score)))  # logistic regression, as in any textbook

show("the loss is a graph", debugprint(loss, file="str"))

# A node knows its operation, its inputs, and which line of yours made it. It never changes. `==` is identity, so that
# expressions can be keys of dictionaries (soon they will be); T.eq builds a comparison.

assert loss.op.name == "mean" and loss.inputs[0].op.name == "log"
assert loss.where.startswith("tour.py:")
assert score == score and score != points @ w
assert T.eq(side, 1).dtype == "bool"

# Building never simplifies, so that what you print is what you wrote.

assert (score * 1).op.name == "mul"


# ── 2. Types: dtype and shape, known before there is a value ────────────────────────────────────────────────────────────
#
# A dim is a number, or None while it is unknown. Whatever can be known of a mistake is said while building, with the two
# things that disagree, and where they were made.

assert points.type == T.TensorType("float32", (None, None))
assert score.type.shape == (None,) and loss.type.shape == ()
assert (T.ivector() / 2).dtype == "float32"  # float64 never creeps in

try:
    T.dot(T.matrix("pixels", shape=(32, 784)), T.matrix("W", shape=(100, 10)))
except ValueError as error:
    show("a mistake, before anything runs", error)
    assert "784 ≠ 100" in str(error) and "tour.py" in str(error)


# ── 3. Operations: one record each, and six forms ───────────────────────────────────────────────────────────────────────
#
# The compiler knows no operation by its name. It knows six forms, and each operation is one record of one of them:
#
#     formula     a scalar C expression                            exp, where, cast
#     view        which element of the input stands where          transpose, slice, x[indices]
#     reduce      accumulators: how they start, step and combine   sum, argmax
#     composite   a Python body over other operations              softmax, and all of yours
#     kernel      a C text that is written by hand                 matrix product, convolution
#     nested      graphs inside of a node                          loops (the form is there, nothing has it yet)

forms = {op.name: op.form for op in (T.exp, T.transpose(points).op, loss.op, T.softmax, score.inputs[0].op)}
assert list(forms.values()) == ["formula", "view", "reduce", "composite", "kernel"]

# A record is all there is to an operation. Here is a new one: its C, its NumPy twin, its gradient. From these few words
# follow shapes, dtypes, broadcasting, fusion with whatever stands around it, and gradients of gradients.

squareplus = formula(
    "squareplus",
    "({x} + sqrt({x} * {x} + 4)) / 2",
    numpy=lambda x: (x + np.sqrt(x * x + 4)) / 2,
    grad=lambda g, y, x: g * y / T.sqrt(x * x + 4),
)
exprc.verify_grad(squareplus, [np.linspace(-3, 3, 7)])  # against finite differences

# Mostly you need no C. A composite is a Python function of expressions; what it is made of gives it everything.


@exprc.composite
def swish(x, *, beta=1.0):
    """x sigmoid(beta x)"""
    return x * T.sigmoid(beta * x)


exprc.verify_grad(lambda x: swish(x, beta=2.0), [np.linspace(-3, 3, 7)])
assert swish(score).op.form == "composite"  # one node, until the compiler opens it


# ── 4. Gradient: an expression of expressions ───────────────────────────────────────────────────────────────────────────
#
# `grad` walks from the cost to what it depends on, and asks each record for its rule. The rules are written in the same
# language as everything else: what comes out is a graph like any other.

slope = exprc.grad(loss, w)
show("its gradient", debugprint(slope, file="str"))
assert isinstance(slope, T.Expr) and slope.ndim == w.ndim

example = {points: [[1.0, 0.0], [-3.0, 1.0]], side: [1.0, -1.0]}
assert np.allclose(slope.eval(example), [-1.0, 0.25])  # by hand: mean of -side * sigmoid(0) * point


# ── 5. Rewriting: equations, applied from the inputs up ─────────────────────────────────────────────────────────────────
#
# Rules are equations in ordered lists. SIMPLIFY is algebra, and merges equal nodes; it must not change a value, so there
# is no x * 0 → 0 in it: that would be wrong for infinity.

one, other = rewrite([(score * 1 + 0) ** 2, T.sqr(points @ w)], SIMPLIFY)
assert one is other
assert rewrite([side * 0], SIMPLIFY)[0].op.name == "mul"

# STABILISE is numerics. exp(x) is too large for a float32 where x is 89 or more, so the formula of the textbook fails on
# a point that is far off. The rule log(1 + exp(x)) → softplus(x) mends it.

margin = T.vector("margin")
textbook = T.log(1 + T.exp(margin))
(mended,) = rewrite([textbook], STABILISE)
show("before", debugprint(textbook, file="str"))
show("after", debugprint(mended, file="str"))
assert mended.op.name == "softplus"

# You never call these: every function goes through them. So does every gradient, before it is differentiated, because
# the derivative of the textbook's formula would be infinity / infinity.

far = {margin: [200.0]}
assert textbook.eval(far) == [200.0]
assert exprc.grad(textbook.sum(), margin).eval(far) == [1.0]


# ── 6. A function: the road from the graph to C ─────────────────────────────────────────────────────────────────────────
#
# `updates` says what shared variables become after each call; every expression reads the old values.

step = exprc.function([points, side], loss, updates={w: w - 0.5 * slope}, name="step")

rng = np.random.default_rng(0)
batch = rng.normal(size=(64, 2)).astype("float32")
sides = np.sign(batch[:, 0])
losses = [float(step(batch, sides)) for _ in range(50)]
show("the loss falls", " ".join(f"{value:.3f}" for value in losses[::7]))
assert np.isclose(losses[0], np.log(2)) and all(after < before for before, after in pairwise(losses))
assert w.get_value()[0] > 2 > 0.5 > abs(w.get_value()[1])  # it looks to the right

# Each stage on that road takes one value and gives the next. `explain` tells them all, with the time each took.

show("every stage", step.explain())


def stage(name: str) -> str:
    """What one stage of `step` made, cut out of the long form of `explain`."""
    lines = step.explain(verbose=True).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{name} "))
    return "\n".join(line[4:] for line in takewhile(lambda line: line.startswith("    "), lines[first + 1 :]))


road = "open simplify stabilise expand optimise choose fuse layout memory lower render load".split()
assert [line.split()[0] for line in step.explain().splitlines() if line.split()[0] in road] == road


# ── 7. The schedule: what is stored, and in which loops it is computed ──────────────────────────────────────────────────
#
# The graph has about thirty nodes; the program has three steps. A *root* is a value that is stored. Everything else is
# worked out where it is read: a chain of formulas is one loop, and a view moves no data at all. What reads a kernel's
# result element by element goes into that kernel's *hook*: the second product below is the gradient, and stores no
# gradient but the new weights, because the update `sub` is its hook.

show("the steps", stage("fuse"))
assert stage("fuse").count("call gemm") == 2 and "sub" in stage("fuse")

# Memory is planned, too: one arena with a place for each stored value, made once and used by every call.

show("the memory", stage("memory"))
assert stage("memory").startswith("arena: ")


# ── 8. Loops: a language between graphs and C ───────────────────────────────────────────────────────────────────────────
#
# Lowering turns each step into a small program in a language of eight statements and six kinds of values. A verifier
# checks it, an interpreter can run it, and every text is printed from it. Loops say how they run: those of kind `lanes`
# fill the lanes of a vector. A kernel is cut in blocks, which threads share. Sizes are those of the call: 64 points.

show("the loops", stage("lower"))
assert "lanes l < 64" in stage("lower") and "softplus" in stage("lower") and "hook STORE_y" in stage("lower")


# ── 9. C ────────────────────────────────────────────────────────────────────────────────────────────────────────────────
#
# The printer decides nothing any more. The text holds everything it needs: scalar mathematics that vectorises, the
# kernels that are written by hand, with their hooks defined in front of them, and the loops. It is hashed and looked up
# in a cache; only a text that is new meets the C compiler.

begin = step.source.index("/* mean over")
show("the loop of the loss, in C", step.source[begin : step.source.index("\n}\n", begin) + 3])
assert "#pragma omp simd" in step.source
assert "gemm.h" in step.source and "#include" not in step.source.replace("#include <stdint.h>", "")


# ── 10. Calling ─────────────────────────────────────────────────────────────────────────────────────────────────────────
#
# NumPy's arrays go in and come out; C reads and writes them in place. Every record has a NumPy twin, so the same graph
# runs without any C: that is the oracle of the tests, and what a machine without a compiler runs on.

plain = exprc.function([points, side], [loss, slope], mode="reference")
fast = exprc.function([points, side], [loss, slope])
for expected, computed in zip(plain(batch, sides), fast(batch, sides), strict=True):
    assert np.allclose(expected, computed, rtol=1e-5, atol=1e-7)

# How the work is cut follows from sizes, never from the number of threads, so one thread and two give the same bits.

many = rng.normal(size=(100_000, 2)).astype("float32")
bits = []
for threads in (1, 2):
    exprc.set_threads(threads)
    bits.append(exprc.function([points, side], [loss, slope])(many, np.sign(many[:, 0]))[1].tobytes())
exprc.set_threads(None)
assert bits[0] == bits[1]

# A program is made for the sizes of its call, so that the C compiler sees numbers. A size that has taken three values
# becomes an argument of the program, and compiling ends: the last batch of an epoch costs nothing.

texts = []
for count in (10, 11, 12, 13, 14):
    fast(many[:count], np.sign(many[:count, 0]))
    texts.append(fast.source)
assert len(set(texts[:2])) == 2 and len(set(texts[2:])) == 1
show("where the time goes", fast.profile(batch, sides))

# That was the whole road. `docs/architecture.md` says why it is built so; `examples/` has real networks on it.
