"""Work on arrays as data: chains of formulas, reductions, single operations, a call. Written once, in words that each library defines.

A library's module (`exprc_arrays`, `peers/*_arrays`) has a class of words, `exp`, `sum`, `matmul` ..., each the fastest that it has, and
`serve` makes a program of it that takes turns with the others (`benchmarks.turns`).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks import turns

LARGE = 10**7
ROWS = (10_000, 1_000)
#: Operations that a function of one number counts as: about what its polynomial has.
FUNCTION = 20
#: Adam: rate, decays, and what keeps it from dividing by 0.
RATE, BETA1, BETA2, EPSILON = 0.001, 0.9, 0.999, 1e-8


class Input(NamedTuple):
    """Numbers drawn evenly between `low` and `high`."""

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0


class Work(NamedTuple):
    """One row of the table.

    write : (words, *inputs) -> result, or a tuple of results; the losses first where `wrt` asks for gradients.
    flops : floating-point operations; judged : whether they say something beside the FMA peak (matrix products and convolutions).
    goal : how many times as fast as every peer exprc should be. peers : the names of those that have all the words.
    wrt : the inputs by which the result is differentiated. state : how many of the first inputs become the first results.
    repeats : calls between two looks at the clock.
    """

    name: str
    title: str
    inputs: tuple[Input, ...]
    write: Callable[..., Any]
    flops: float
    goal: float
    peers: tuple[str, ...]
    judged: bool = False
    dtype: str = "float32"
    wrt: tuple[int, ...] = ()
    state: int = 0
    repeats: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs: the least that is read."""
        return sum(math.prod(i.shape) for i in self.inputs) * np.dtype(self.dtype).itemsize


# -- what is computed


def chain(m: Any, x: Any, y: Any, z: Any) -> Any:
    return m.sum(m.softplus(m.tanh(x * y + z)) ** 2)


def black_scholes(m: Any, price: Any, strike: Any, years: Any) -> Any:
    """A call and a put of a share, without dividends; 2 % interest, volatility 30 %."""
    rate, sigma = 0.02, 0.3
    spread = sigma * m.sqrt(years)
    d1 = (m.log(price / strike) + (rate + sigma**2 / 2) * years) / spread
    below1, below2 = (0.5 + 0.5 * m.erf(d * math.sqrt(0.5)) for d in (d1, d1 - spread))
    paid = strike * m.exp(-rate * years)
    call = price * below1 - paid * below2
    return call, call - price + paid


def layer_norm(m: Any, x: Any) -> Any:
    return m.layer_norm(x, 1e-5)


def logsumexp(m: Any, x: Any) -> Any:
    return m.logsumexp(x)


def plus_one(m: Any, x: Any) -> Any:
    return x + m.one


def depthwise(m: Any, x: Any, w: Any) -> Any:
    return m.conv(x, w, groups=64)


def dilated(m: Any, x: Any, w: Any) -> Any:
    return m.conv(x, w, dilation=2)


def average(m: Any, x: Any) -> Any:
    return m.average_pool(x)


def product(m: Any, a: Any, b: Any) -> Any:
    return m.matmul(a, b)


def mlp(m: Any, w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
    """Two layers of tanh and the mean square error."""
    made = m.tanh(m.matmul(m.tanh(m.matmul(x, w1) + b1), w2) + b2)
    return m.sum((made - y) ** 2) / 128


def adam(m: Any, p: Any, v: Any, s: Any, t: Any, g: Any) -> Any:
    """A step of Adam: parameters, mean and mean square of the gradients, number of steps."""
    t = t + m.one
    v, s = BETA1 * v + (1 - BETA1) * g, BETA2 * s + (1 - BETA2) * g * g
    return p - RATE / (1 - BETA1**t) * v / (m.sqrt(s / (1 - BETA2**t)) + EPSILON), v, s, t


def square(n: int, goal: float) -> Work:
    return Work(f"product{n}", f"matrix product {n}³", (Input((n, n)),) * 2, product, 2 * n**3, goal, DENSE, judged=True)


DENSE = ("NumPy", "PyTorch", "JAX")
ALL = ("NumPy", "PyTorch", "PyTorch compiled", "JAX", "PyTensor")
NETS = ("PyTorch", "PyTorch compiled", "JAX")
LONG = Input((LARGE,))
SHARES = (Input((LARGE,), 50, 150), Input((LARGE,), 80, 120), Input((LARGE,), 0.1, 2))
IMAGES = Input((32, 64, 32, 32))
MLP = (Input((784, 256), -0.05, 0.05), Input((256,)), Input((256, 10), -0.1, 0.1), Input((10,)), Input((128, 784)), Input((128, 10)))
ADAM = (LONG, Input((LARGE,), -0.1, 0.1), Input((LARGE,), 0.0, 0.1), Input((), 3.0, 3.0), LONG)

WORK = {
    w.name: w
    for w in (
        Work("chain", "sum softplus(tanh(x y + z))², 10⁷", (LONG,) * 3, chain, LARGE * (4 + 3 * FUNCTION), 1.5, (*ALL, "numexpr")),
        Work("black_scholes", "Black-Scholes, call and put, 10⁷", SHARES, black_scholes, LARGE * (17 + 4 * FUNCTION), 1.5, ALL),
        Work("layer_norm", "layer norm, 10,000 × 1,000", (Input(ROWS),), layer_norm, LARGE * 7, 1.5, ALL),
        Work("logsumexp", "logsumexp, 10,000 × 1,000", (Input(ROWS, -8, 8),), logsumexp, LARGE * (3 + FUNCTION), 1.0, ALL),
        Work("call", "a call: x + 1, ten numbers", (Input((10,)),), plus_one, 10, 1.0, (*ALL, "numexpr"), repeats=1000),
        Work("depthwise", "depthwise convolution 3×3, 32×64×32×32", (IMAGES, Input((64, 1, 3, 3))), depthwise,
             2 * 9 * 32 * 64 * 30 * 30, 0.9, NETS),
        Work("dilated", "dilated convolution 3×3, 64 to 64, 32×64×32×32", (IMAGES, Input((64, 64, 3, 3))), dilated,
             2 * 9 * 64 * 32 * 64 * 28 * 28, 0.9, NETS, judged=True),
        Work("average", "average pooling 2×2, 32×64×32×32", (IMAGES,), average, 32 * 64 * 32 * 32, 0.9, NETS),
        square(1000, 0.9), square(2048, 0.9),
        Work("mlp64", "2-layer tanh MLP, loss and gradients, float64, 128", MLP, mlp, 2 * 128 * (2 * 784 * 256 + 3 * 2560), 0.9,
             ("PyTorch", "JAX", "PyTensor"), judged=True, dtype="float64", wrt=(0, 1, 2, 3)),
        Work("adam", "Adam, 10⁷ parameters", ADAM, adam, LARGE * 14, 0.9, ("PyTorch", "JAX", "PyTensor"), state=4),
    )
}  # fmt: skip


# -- what takes turns


def drawn(work: Work, seed: int = 0) -> list[NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(i.low, i.high, i.shape), work.dtype) for i in work.inputs]


class Prepared(Protocol):
    """A library's program for one work.

    call : what is timed, called with `values`. settings : how the library was set up.
    """

    call: Callable[..., Any]
    values: Sequence[Any]
    settings: dict[str, Any]

    def wait(self, made: Any) -> None:
        """Return when what a call returned is there."""

    def arrays(self) -> list[Any]:
        """Call once, from the first inputs on; return all results as NumPy has them."""


class OnVariables:
    """What programs whose state lies in shared variables have in common: `state` and the values that it begins with, `first`."""

    call: Callable[..., Any]
    values: Sequence[Any]
    state: Sequence[Any]
    first: Sequence[Any]

    def wait(self, made: Any) -> None:
        """A call returns when it is done."""

    def arrays(self) -> list[Any]:
        for variable, value in zip(self.state, self.first, strict=True):
            variable.set_value(value)
        made = self.call(*self.values)
        return [*(v.get_value() for v in self.state), *(made if isinstance(made, list) else [made])]


class Turns:
    """A prepared program, as `benchmarks.turns` asks it."""

    def __init__(self, work: Work, prepared: Prepared):
        self.work, self.prepared = work, prepared
        self.settings = prepared.settings

    def step(self, _: int) -> None:
        call, values = self.prepared.call, self.prepared.values
        for _ in repeat(None, self.work.repeats):
            made = call(*values)
        self.prepared.wait(made)

    def wait(self) -> None:
        """`step` has waited."""

    def reset(self) -> None:
        """Nothing is learnt."""

    def answer(self, question: dict[str, Any], clock: Callable[[], float]) -> dict[str, Any]:
        if "check" in question:
            np.savez(question["check"], **{f"p{k:02}": np.asarray(a) for k, a in enumerate(self.prepared.arrays())})  # type: ignore[arg-type]
            return {"losses": [0.0]}
        taken = turns.timed(self, 1, question["seconds"], clock=clock)
        return {key: value if key == "steps" else value / self.work.repeats for key, value in taken.items()}

    def parameters(self) -> list[Any]:
        return self.prepared.arrays()


def serve(prepare: Callable[[Work, list[NDArray[Any]], argparse.Namespace], Prepared]) -> None:
    """Prepare the work that the command line names, and answer questions until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", choices=list(WORK), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--compiled", action="store_true")
    args = parser.parse_args()
    work = WORK[args.work]

    def make() -> Turns:
        return Turns(work, prepare(work, drawn(work), args))

    turns.take_turns(make, args.threads, Turns.answer)
