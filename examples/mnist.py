"""Learn to read handwritten digits.

    python examples/mnist.py              LeNet on MNIST, 5 epochs
    python examples/mnist.py --quick      less than a minute, on generated digits, whatever this machine has
    python examples/mnist.py --model fc256 --epochs 20
    python examples/mnist.py --device cuda        on an NVIDIA GPU
    python examples/mnist.py --device cuda-emulator --quick       its kernels on the CPU: a minute or two

The training images fit the weights, the validation images choose the best epoch, and the test images are used once, at
the end. The folder `out` then holds the weights, a picture of those of the first layer, and the learning curve.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pictures import learning_curve, save_png, tile
from tqdm import tqdm

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.datasets import DataSet, Images, as_floats, digits, find_mnist, load_mnist, split
from exprc.errors import DeviceError
from exprc.io import load_npz, save_npz

L = nn.layers


class Model(NamedTuple):
    """What the networks differ in: two convolutions or none, the dense layers after them, and how they learn best."""

    convolutions: bool
    hidden: tuple[int, ...]
    dropout: float  # before each dense layer but the first of a network without convolutions
    rate: float  # learning rate of the first step; it falls to 0 in a straight line


MODELS = {
    "fc64": Model(False, (64,), 0.0, 0.1),
    "fc256": Model(False, (256, 256), 0.25, 0.1),
    "lenet": Model(True, (256,), 0.5, 0.05),
}
DECAY = 5e-4  # how much of each weight is lost with each step, times the learning rate
MOMENTUM = 0.9
DIGITS = (10_000, 2_000, 2_000)  # generated digits to train, to validate and to test
QUICK = (6_000, 2_000, 2_000)
QUICK_EMULATED = (2_000, 500, 500)  # where the CPU plays GPU
QUICK_EPOCHS = 3


# -- the network -------------------------------------------------------------------------------------------------------


def build(model: Model) -> Any:
    """Return the last layer of a network that gives the probability of each digit."""
    weights = nn.init.HeNormal(gain="relu")
    net = L.InputLayer((None, 1, 28, 28))
    for k, filters in enumerate((20, 50) if model.convolutions else (), 1):
        net = L.Conv2DLayer(net, filters, 5, W=weights, name=f"conv{k}")
        net = L.MaxPool2DLayer(net, 2)
    for k, units in enumerate(model.hidden, 1):
        first = k == 1 and not model.convolutions  # pixels are not dropped
        net = L.DenseLayer(net if first else L.dropout(net, model.dropout / 2), units, W=weights, name=f"dense{k}")
    softmax = nn.nonlinearities.softmax
    return L.DenseLayer(L.dropout(net, model.dropout), 10, nonlinearity=softmax, name="classes")


def placeholders(batch: int) -> tuple[Any, Any]:
    """Images and labels of a known number, so that `exprc.function` compiles at once and not at the first call."""
    return T.tensor4("images", shape=(batch, 1, 28, 28)), T.vector("labels", dtype="uint8", shape=(batch,))


def training_step(net: Any, batch: int, steps: int, rate: float, device: str | None = None) -> exprc.Function:
    """Compile one step: images and labels to their mean loss; the updates move the weights."""
    images, labels = placeholders(batch)
    loss = nn.objectives.categorical_crossentropy(L.get_output(net, images), labels).mean()
    penalty = DECAY / 2 * nn.regularization.regularize_network_params(net, nn.regularization.l2)
    done = exprc.shared(np.float32(0), name="steps_done")
    decaying = rate * (1 - done / steps)
    params = L.get_all_params(net, trainable=True)
    updates = nn.updates.nesterov_momentum(loss + penalty, params, decaying, MOMENTUM)
    return exprc.function([images, labels], loss, updates={**updates, done: done + 1}, name="training step", device=device)


def scoring(net: Any, batch: int, device: str | None = None) -> exprc.Function:
    """Compile the test of a batch: images and labels to their mean loss and to the digits that the network reads."""
    images, labels = placeholders(batch)
    probabilities = L.get_output(net, images, deterministic=True)
    loss = nn.objectives.categorical_crossentropy(probabilities, labels).mean()
    return exprc.function([images, labels], [loss, probabilities.argmax(axis=1)], name="scoring", device=device)


# -- learning ----------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What is known after an epoch; errors are in percent."""

    train_loss: float
    validation_loss: float
    validation_error: float
    seconds: float


class Stopped(Exception):
    """Learning went wrong in a way that more of it would not mend."""


class Training:
    """A network on its way: its weights, the optimiser's state, what epochs brought, and the best weights so far."""

    def __init__(self, args: argparse.Namespace, data: DataSet):
        self.args, self.data = args, data
        nn.random.set_rng(np.random.RandomState(args.seed))
        self.net = build(MODELS[args.model])
        self.params = {p.name: p for p in L.get_all_params(self.net)}
        say(f"network     {args.model}, {L.count_params(self.net):,} parameters")
        self.steps = len(data.train.labels) // args.batch  # what is left over waits for the next shuffle
        self.step = compiled(training_step, self.net, args.batch, self.steps * args.epochs, args.rate, args.device)
        self.score_batch = math.gcd(len(data.validation.labels), len(data.test.labels), 1000)
        self.score = compiled(scoring, self.net, self.score_batch, args.device)
        self.state = {f"state/{n}.{v.name}": v for n, v in enumerate(self.step.updates)}  # random numbers' too
        self.best = self.weights()
        self.rows: list[Row] = []

    def weights(self) -> dict[str, NDArray[Any]]:
        return {name: p.get_value() for name, p in self.params.items()}

    def run(self, file: Path) -> None:
        """Train to the last epoch, saving after each."""
        args, size = self.args, self.steps * self.args.batch
        images, labels = as_floats(self.data.train.images), self.data.train.labels
        say(TITLES)
        for row in self.rows:
            say(table_row(self.rows, row))
        with progress(args.epochs * size, len(self.rows) * size) as bar:
            for epoch in range(len(self.rows), args.epochs):
                order = np.random.default_rng([args.seed, epoch]).permutation(len(labels))[:size]
                self.rows.append(self.epoch(images, labels, order.reshape(-1, args.batch), bar))
                self.choose()
                save_npz(file, self.snapshot())
                bar.write(table_row(self.rows, self.rows[-1]))

    def epoch(self, images: NDArray[Any], labels: NDArray[Any], batches: NDArray[Any], bar: Any) -> Row:
        begin, total = time.perf_counter(), 0.0
        for count, chosen in enumerate(batches, 1):
            loss = float(self.step(images[chosen], labels[chosen]))
            if not math.isfinite(loss):
                raise Stopped(f"the loss is {loss} at step {count} of epoch {len(self.rows) + 1}: {self.smaller()}")
            total += loss
            bar.update(len(chosen))
        loss, error, classes = self.measure(self.data.validation)
        if len(classes) == 1:
            raise Stopped(f"the network reads {classes[0]} in every image: {self.smaller()}")
        return Row(total / len(batches), loss, error, time.perf_counter() - begin)

    def smaller(self) -> str:
        return f"the steps were too long; try --rate {self.args.rate / 5:g} (it was {self.args.rate:g})"

    def measure(self, part: Images) -> tuple[float, float, NDArray[Any]]:
        """Mean loss, errors in percent, and which digits the network reads at all."""
        size = self.score_batch
        slices = [slice(start, start + size) for start in range(0, len(part.labels), size)]
        losses, found = zip(*(self.score(as_floats(part.images[s]), part.labels[s]) for s in slices), strict=True)
        classes = np.concatenate(found)
        return float(np.mean(losses)), 100 * float(np.mean(classes != part.labels)), np.unique(classes)

    def choose(self) -> None:
        """Keep the weights if no epoch before had fewer errors on the validation images."""
        if self.rows[-1] is best_row(self.rows):
            self.best = self.weights()

    def test(self) -> float:
        """Errors of the best weights on the test images, in percent."""
        for name, p in self.params.items():
            p.set_value(self.best[name])
        return self.measure(self.data.test)[1]

    # -- to be stopped and to go on

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that the rest of the run depends on."""
        rows = np.full((self.args.epochs, len(Row._fields)), np.nan)
        rows[: len(self.rows)] = np.array(self.rows).reshape(-1, len(Row._fields))
        state = {name: v.get_value() for name, v in self.state.items()}
        best = {f"best/{name}": value for name, value in self.best.items()}
        own = list(settings(self.args, self.data).values())
        return {"settings": np.array(own, float), "rows": rows, **state, **best}

    def resume(self, file: Path) -> None:
        """Go on where the run that wrote `file` stood."""
        loaded = load_npz(file, expected=self.snapshot())
        for name, variable in self.state.items():
            variable.set_value(loaded[name])
        self.best = {name: loaded[f"best/{name}"] for name in self.params}
        self.rows = [Row(*map(float, row)) for row in loaded["rows"] if np.isfinite(row).all()]


def settings(args: argparse.Namespace, data: DataSet) -> dict[str, float]:
    """What must be the same when a run goes on."""
    own = {"--model": list(MODELS).index(args.model), "images to train": len(data.train.labels)}
    return {**own, "--epochs": args.epochs, "--batch": args.batch, "--seed": args.seed, "--rate": args.rate}


def check_state(file: Path, args: argparse.Namespace, data: DataSet) -> None:
    """Refuse the file of another run, before anything is compiled."""
    mine, theirs = settings(args, data), load_npz(file).get("settings")
    if theirs is None or theirs.shape != (len(mine),):
        raise ValueError(f"{file} is not the state of a run of mnist.py")
    for (name, here), there in zip(mine.items(), theirs, strict=True):
        if here != there:
            shown = [list(MODELS)[int(v)] if name == "--model" else f"{v:g}" for v in (there, here)]
            raise ValueError(f"{file} is of a run with {name} {shown[0]}; this one has {name} {shown[1]}")


def best_row(rows: Sequence[Row]) -> Row:
    return min(rows, key=lambda row: (row.validation_error, row.validation_loss))


# -- the screen --------------------------------------------------------------------------------------------------------

TITLES = "\nepoch   train loss   validation loss   validation error   seconds"


def table_row(rows: Sequence[Row], row: Row) -> str:
    numbers = f"{row.train_loss:13.4f}{row.validation_loss:18.4f}{row.validation_error:17.2f} %{row.seconds:10.1f}"
    return f"{rows.index(row) + 1:5}{numbers}"


def say(text: str) -> None:
    print(text, flush=True)


def compiled(make: Any, *given: Any) -> exprc.Function:
    """Make a function, say that it is being made, and what the stages of that were."""
    say(f"compiling   {make.__name__.replace('_', ' ')} ...")
    made: exprc.Function = make(*given)
    if made.mode == "compiled":
        say("".join(f"            {line}\n" for line in made.explain().splitlines()[1:]).rstrip())
    return made


def progress(total: int, done: int) -> Any:
    """A bar with samples per second and the time left; where there is no screen, a line of that every ten seconds."""
    shown: dict[str, Any] = {"leave": False, "dynamic_ncols": True}
    if not sys.stderr.isatty():
        line = "{n_fmt} of {total_fmt} samples, {rate_fmt}, {remaining} left"
        shown = {"file": Lines(), "leave": False, "delay": 10, "mininterval": 10, "bar_format": line}
    return tqdm(total=total, initial=done, unit=" samples", unit_scale=True, **shown)


class Lines:
    """A file for tqdm that begins a new line where a screen would write over the old one."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()


# -- from the command line ---------------------------------------------------------------------------------------------


def load(name: str | None, quick: bool, emulated: bool = False) -> DataSet:
    """The data that were asked for; where none were, MNIST if it can be had, and generated digits if not."""
    if name is None and not quick:
        try:
            return load("mnist", False)
        except FileNotFoundError as error:
            say(f"data        {str(error).splitlines()[0]} and cannot be fetched; generated digits take its place")
    counts = (QUICK_EMULATED if emulated else QUICK) if quick else DIGITS
    if name in (None, "digits"):
        say(f"data        drawing {sum(counts):,} digits")
        return split(digits(sum(counts)), *counts)
    folder = None if name == "mnist" else name
    say(f"data        MNIST{f' from {place}' if (place := find_mnist(folder)) else ''}")
    data = load_mnist(folder, notice=lambda text: say(f"            {text}"))
    if quick:
        data = DataSet(*(Images(part.images[:n], part.labels[:n]) for part, n in zip(data, counts, strict=True)))
    return data


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn to read handwritten digits.")
    add = parser.add_argument
    add("--model", choices=list(MODELS), default="lenet", help="which network (default: lenet)")
    add("--data", metavar="DIR|mnist|digits", help="a folder with the files of MNIST, mnist, or digits (generated)")
    add("--epochs", type=positive, help="how often to see every image (default: 5)")
    add("--batch", type=positive, default=128, help="how many images to a step (default: 128)")
    add("--rate", type=float, help="learning rate of the first step (default: the model's own)")
    add("--seed", type=int, default=0, help="of the first weights, the shuffling and the dropout (default: 0)")
    add("--quick", action="store_true", help=f"{QUICK[0]:,} images, by default generated, and {QUICK_EPOCHS} epochs")
    add("--device", help="cpu, cuda, cuda1 ... or cuda-emulator (default: what EXPRC_FLAGS says, or cpu)")
    add("--resume", metavar="FILE", type=Path, help="go on with an interrupted run, with the same settings")
    add("--out", metavar="DIR", type=Path, default=Path("out"), help="folder for weights and pictures (default: out)")
    args = parser.parse_args(given)
    args.epochs = args.epochs or (QUICK_EPOCHS if args.quick else 5)
    args.rate = MODELS[args.model].rate if args.rate is None else args.rate
    return args


def prepared(args: argparse.Namespace) -> Training:
    """Data, network and functions; whatever is wrong with what the user gave comes out here."""
    args.out.mkdir(parents=True, exist_ok=True)
    data = load(args.data, args.quick, args.device == "cuda-emulator")
    counts = [f"{len(part.labels):,}" for part in data]
    say(f"            {counts[0]} images to train, {counts[1]} to validate, {counts[2]} to test")
    if args.batch > len(data.train.labels):
        raise ValueError(f"--batch {args.batch} is more than the {counts[0]} images to train")
    if args.resume:
        check_state(args.resume, args, data)
    training = Training(args, data)
    if args.resume:
        training.resume(args.resume)
    return training


def finish(training: Training) -> None:
    """The one look at the test images, and the files."""
    best = best_row(training.rows)
    say(f"\nthe weights of epoch {training.rows.index(best) + 1} are the best on the validation images")
    say(f"test error {training.test():.2f} %\n")
    stem = training.args.out / training.args.model
    weights, picture = Path(f"{stem}.npz"), Path(f"{stem}-first-layer.png")
    save_npz(weights, training.best)
    save_png(picture, tile(next(iter(training.best.values()))))
    curve = learning_curve(f"{stem}-curve", training.rows)
    say(f"wrote {weights}, {picture} and {curve}")


def main(given: Sequence[str] | None = None) -> int:
    args = arguments(given)
    try:
        training = prepared(args)
    except (OSError, ValueError, DeviceError) as error:
        print(f"mnist.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("\ninterrupted before the first epoch")
        return 130
    file = args.resume or args.out / f"{args.model}-state.npz"
    try:
        training.run(file)
    except Stopped as reason:
        say(f"\nstopped: {reason}")
        return 1
    except KeyboardInterrupt:
        goes_on = f"; --resume {file} goes on" if training.rows else ""
        say(f"\ninterrupted in epoch {len(training.rows) + 1}{goes_on}")
        return 130
    finish(training)
    return 0


if __name__ == "__main__":
    sys.exit(main())
