"""The examples run, and do what they say. Those that learn do it here on few images."""

from __future__ import annotations

import importlib
import io
import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import exprc
import exprc.datasets
from exprc import nn
from exprc.datasets import DataSet, Images, digits, find_mnist, split
from exprc.io import load_npz

EXAMPLES = Path(__file__).parents[2] / "examples"
TEST_ERROR = re.compile(r"^test error (\d+\.\d\d) %$", re.MULTILINE)
ROW = re.compile(r"^ +(\d+) +(\d\.\d{4}) +(\d\.\d{4}) +(\d+\.\d\d) % +\d+\.\d$", re.MULTILINE)


@pytest.fixture
def mnist(monkeypatch):
    """The module examples/mnist.py, with few digits to learn from."""
    monkeypatch.syspath_prepend(EXAMPLES)
    module = importlib.import_module("mnist")
    monkeypatch.setattr(module, "DIGITS", (640, 200, 200))
    yield module
    for name in ("mnist", "pictures"):
        sys.modules.pop(name, None)


@pytest.fixture
def train(mnist, tmp_path):
    """Run examples/mnist.py with a short command line; return what it gives to the shell."""

    def run(line: str, out: str = "out") -> int:
        return mnist.main([*f"--data digits --batch 64 --epochs 2 {line}".split(), "--out", str(tmp_path / out)])

    return run


@pytest.fixture
def interpreted():
    """Run on the NumPy interpreter: for few images that takes less time than compiling does."""
    with exprc.config.override(mode="reference"):
        yield


def code_lines(path: Path) -> int:
    """Lines that are neither blank nor part of a docstring."""
    text = re.sub(r'"""(?s:.*?)"""', "", path.read_text(encoding="utf-8"))
    return sum(bool(line.strip()) for line in text.splitlines())


# -- mnist.py


def test_a_run_says_what_it_does_and_leaves_weights_and_pictures(train, tmp_path, capsys):
    assert train("--model fc64") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("data        drawing 1,040 digits\n")
    assert "640 images to train, 200 to validate, 200 to test\nnetwork     fc64, 50,890 parameters\n" in printed
    assert re.search(r"compiling   training step \.\.\.\n +open +[\d.]+ ms", printed)
    rows = ROW.findall(printed)
    assert [row[0] for row in rows] == ["1", "2"] and float(rows[1][1]) < float(rows[0][1])
    assert len(TEST_ERROR.findall(printed)) == 1

    weights = load_npz(tmp_path / "out" / "fc64.npz")
    shapes = {"dense1.W": (784, 64), "dense1.b": (64,), "classes.W": (64, 10), "classes.b": (10,)}
    assert {name: value.shape for name, value in weights.items()} == shapes
    png = (tmp_path / "out" / "fc64-first-layer.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", png[16:24]) == (362, 182)
    assert [p.suffix for p in (tmp_path / "out").glob("fc64-curve.*")] in ([".png"], [".svg"])


@pytest.mark.parametrize(("model", "count"), [("fc64", 50_890), ("fc256", 269_322), ("lenet", 233_196)])
def test_the_networks_have_as_many_parameters_as_those_of_the_talks(mnist, model, count):
    assert nn.layers.count_params(mnist.build(mnist.MODELS[model])) == count


def test_the_seed_decides_the_weights(train, interpreted, tmp_path):
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert train(f"--model fc256 --epochs 1 --seed {seed}", out) == 0
    a, b, c = ((tmp_path / out / "fc256.npz").read_bytes() for out in "abc")
    assert a == b and a != c


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(train, mnist, tmp_path, monkeypatch, capsys):
    assert train("--model fc256", "whole") == 0
    save = mnist.save_npz

    def save_and_be_interrupted(path, values):
        save(path, values)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mnist, "save_npz", save_and_be_interrupted)
        assert train("--model fc256", "parts") == 130
    state = tmp_path / "parts" / "fc256-state.npz"
    assert f"interrupted in epoch 2; --resume {state} goes on" in capsys.readouterr().out
    assert train(f"--model fc256 --resume {state}", "parts") == 0
    assert [row[0] for row in ROW.findall(capsys.readouterr().out)] == ["1", "2"]
    assert (tmp_path / "parts" / "fc256.npz").read_bytes() == (tmp_path / "whole" / "fc256.npz").read_bytes()


def test_a_state_of_another_run_is_refused(train, interpreted, tmp_path, capsys):
    assert train("--model fc64") == 0
    state = tmp_path / "out" / "fc64-state.npz"
    for line, text in (
        ("--model fc256", "is of a run with --model fc64; this one has --model fc256"),
        ("--model fc64 --epochs 3", "is of a run with --epochs 2; this one has --epochs 3"),
        ("--model fc64 --seed 1", "is of a run with --seed 0; this one has --seed 1"),
    ):
        assert train(f"{line} --resume {state}") == 2
        assert capsys.readouterr().err == f"mnist.py: {state} {text}\n"


def test_a_state_that_is_no_state_is_refused(train, interpreted, tmp_path, capsys):
    assert train(f"--model fc64 --resume {tmp_path / 'none.npz'}") == 2
    assert "none.npz" in capsys.readouterr().err
    np.savez(tmp_path / "other.npz", W=np.zeros(3))
    assert train(f"--model fc64 --resume {tmp_path / 'other.npz'}") == 2
    assert capsys.readouterr().err == f"mnist.py: {tmp_path / 'other.npz'} is not the state of a run of mnist.py\n"
    assert train("--model fc64") == 0
    state = load_npz(tmp_path / "out" / "fc64-state.npz")
    np.savez(tmp_path / "part.npz", **{name: value for name, value in state.items() if name != "best/dense1.W"})
    assert train(f"--model fc64 --resume {tmp_path / 'part.npz'}") == 2
    assert "part.npz: 1 difference from what was expected\n  missing" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run(train, interpreted, tmp_path, capsys):
    assert train("--model fc64 --rate 1e30") == 1
    printed = capsys.readouterr().out
    reason = r"^stopped: the loss is (nan|inf) at step \d+ of epoch 1: the steps were too long; try --rate "
    assert re.search(reason, printed, re.M)
    assert not TEST_ERROR.search(printed) and not (tmp_path / "out" / "fc64.npz").exists()


def test_a_network_that_always_says_the_same_stops_the_run(train, interpreted, monkeypatch, capsys):
    monkeypatch.setattr(nn.init, "HeNormal", lambda gain: nn.init.Constant(0))
    assert train("--model fc64 --rate 0") == 1
    printed = capsys.readouterr().out
    assert "stopped: the network reads 0 in every image: " in printed and not TEST_ERROR.search(printed)


def test_the_best_epoch_is_that_of_the_fewest_validation_errors(mnist):
    rows = [mnist.Row(2, 1, 5, 1), mnist.Row(1, 0.5, 3, 1), mnist.Row(0.5, 0.6, 3, 1), mnist.Row(0.1, 0.1, 4, 1)]
    assert mnist.best_row(rows) is rows[1]


def test_without_mnist_digits_take_its_place_and_that_is_said(mnist, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EXPRC_OFFLINE", "1")
    monkeypatch.setenv("EXPRC_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [len(part.labels) for part in mnist.load(None, quick=False)] == [640, 200, 200]
    printed = capsys.readouterr().out
    assert "MNIST is not on this machine and cannot be fetched; generated digits take its place\n" in printed
    with pytest.raises(FileNotFoundError, match="MNIST is not on this machine"):
        mnist.load("mnist", quick=False)


def test_mnist_is_taken_where_it_is_found_and_cut_short_if_asked(mnist, monkeypatch, capsys):
    small = DataSet(*(Images(np.zeros((n, 28, 28), np.uint8), np.zeros(n, np.uint8)) for n in (300, 200, 200)))
    monkeypatch.setattr(mnist, "find_mnist", lambda folder: "its folder")
    monkeypatch.setattr(mnist, "load_mnist", lambda folder, notice: small)
    monkeypatch.setattr(mnist, "QUICK", (200, 100, 100))
    assert mnist.load(None, quick=False) is small
    assert [len(part.labels) for part in mnist.load("mnist", quick=True)] == [200, 100, 100]
    assert capsys.readouterr().out.startswith("data        MNIST from its folder\n")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--data {empty}", "MNIST is not on this machine"),
        ("--batch 641", "--batch 641 is more than the 640 images to train"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(train, tmp_path, capsys, line, text):
    (tmp_path / "empty").mkdir()
    assert train("--model fc64 " + line.format(empty=tmp_path / "empty")) == 2
    assert capsys.readouterr().err.startswith(f"mnist.py: {text}\n")


def test_on_a_screen_a_bar_shows_samples_per_second(mnist, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Screen())
    with mnist.progress(1000, 200) as bar:
        bar.update(100)
        bar.refresh()
        shown = sys.stderr.getvalue()
    assert "\r" in shown and "300/1.00k" in shown and "samples/s" in shown


def test_without_a_screen_progress_is_plain_lines(mnist, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with mnist.progress(1000, 200) as bar:
        bar.start_t -= 20
        bar.update(100)
        bar.refresh()
    shown = capsys.readouterr().err
    assert re.search(r"^300 of 1\.00k samples, .* samples/s, \d\d:\d\d left$", shown, re.M) and "\r" not in shown


@pytest.mark.long
@pytest.mark.timeout(300)
def test_quick_learns_generated_digits(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "mnist.py"), "--quick", "--out", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (error,) = TEST_ERROR.findall(done.stdout)
    assert float(error) <= 5


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.skipif(find_mnist() is None, reason="MNIST is not on this machine; EXPRC_DATA names its folder")
@pytest.mark.parametrize(("model", "epochs", "bound"), [("lenet", 10, 1.0), ("fc256", 20, 2.2)])
def test_mnist_is_learned(mnist, tmp_path, capsys, model, epochs, bound):
    line = f"--data mnist --model {model} --epochs {epochs} --out {tmp_path}"
    assert mnist.main(line.split()) == 0
    (error,) = TEST_ERROR.findall(capsys.readouterr().out)
    assert float(error) <= bound


# -- the others


def run(name: str, capsys) -> str:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_lenet_in_raw_expressions_learns(monkeypatch, capsys):
    few = split(digits(700), 500, 100, 100)
    monkeypatch.setattr(exprc.datasets, "find_mnist", lambda: None)
    monkeypatch.setattr(exprc.datasets, "digits", lambda count: None)
    monkeypatch.setattr(exprc.datasets, "split", lambda data, *counts: few)
    printed = run("lenet.py", capsys)
    costs = [float(cost) for cost in re.findall(r"^epoch \d: cost (\d\.\d{4})$", printed, re.M)]
    assert len(costs) == 3 and costs[-1] < 0.7 * costs[0]
    assert len(TEST_ERROR.findall(printed)) == 1


def test_lenet_fits_on_a_page():
    assert len((EXAMPLES / "lenet.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_layer_and_the_loss_of_ones_own_learn(capsys):
    errors = [float(e) for e in re.findall(r": (\d+\.\d) % errors", run("custom_layer.py", capsys), re.M)]
    assert len(errors) == 8 and errors[-1] < 8


def test_the_layer_and_the_loss_of_ones_own_take_thirty_lines():
    assert code_lines(EXAMPLES / "custom_layer.py") <= 30


def test_under_the_hood_shows_the_gradient_and_the_c(capsys):
    printed = run("under_the_hood.py", capsys)
    parts = dict(re.findall(r"^(The \w+|Its \w+)[^\n]*\n-+\n(.*?)(?=^\n|\Z)", printed, re.M | re.S))
    assert parts["The expression"].startswith("mean{axes=(0,)}  float32, ()  under_the_hood.py:")
    assert "softplus" not in parts["The expression"] and "softplus" in parts["Its gradient"]
    assert re.search(r"NumPy, as written +inf\nexprc +250\.\d+\n", printed)
    assert re.search(r"^render +[\d.]+ ms", parts["The stages"], re.M)
    code = printed[printed.index("void k0(") :]
    assert "softplus(" in code and "sigmoid(" in code and code.count("{") == code.count("}")
    assert "scalar.h" not in code and "exprc_run" not in code
