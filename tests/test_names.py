"""No name that a user gives reaches the generated source: it is the same for the worst of names as for the name x."""

from __future__ import annotations

import random

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.nn import layers as L
from exprc.runtime import cpu

PIECES = [
    '"', "'", "\\", "\n", "\r", "\0", "\t", "*/", "/*", "//", "\\\n", "??/", "??/\n", "%s", "%n", "{x}", "{{", "}}", "${HOME}",
    "$(reboot)", "`reboot`", ";", '"); system("reboot"); ("', "#include </etc/passwd>", "\n#define float int\n", "#pragma",
    "__asm__", "main", "restrict",
    "int", "k0", "v0", "exprc_run", "buffers", "sizes", "NULL", "<script>alert(1)</script>",
    "\u2028", "\u202e", "é", "名前", "\N{SNOWMAN}",
    "\ud800", "a" * 5000, " ", "", ".", "..", "../../x", "-O3", "-fplugin=x.so", "@file", "1", "0x", "\x1b[2J", "\x7f",
    "trigraph??!", "_Pragma(\"x\")",
]  # fmt: skip


def hostile_names(count: int) -> list[str]:
    """Each piece alone, then seeded mixtures of them."""
    rng = random.Random(5)
    return [*PIECES, *("".join(rng.choices(PIECES, k=rng.randrange(2, 6))) for _ in range(count - len(PIECES)))]


class Rendered(Exception):
    """Stops the compiler of expressions where it would hand its text to the compiler of C."""


@pytest.fixture
def rendered(monkeypatch):
    """Return what a function of this would be compiled from, without compiling it."""

    def stop(texts, target):
        raise Rendered(*texts)

    monkeypatch.setattr(cpu, "load", stop)

    def texts(make, *given) -> tuple[str, ...]:
        with pytest.raises(Rendered) as stopped:
            make(*given)
        return stopped.value.args

    return texts


SLOTS = 7


def step(*names: str) -> None:
    """A function with a name in every slot that takes one: input, shared variable, constant, two nodes, key, function."""
    x = T.vector(names[0], shape=(4,))
    w = exprc.shared(np.ones(4, "float32"), name=names[1])
    c = T.constant(np.arange(4, dtype="float32"), name=names[2])
    y = T.tanh(x * w + c)
    y.name = names[3]
    total = y.sum()
    total.name = names[4]
    exprc.function([x], {names[5]: total}, updates={w: w - y}, name=names[6], mode="compiled")


def test_a_thousand_hostile_names_leave_the_source_unchanged(rendered):
    plain = rendered(step, *"abcdefg")
    assert "tanh" in plain[0]
    names = hostile_names(1000)
    for k in range(0, len(names), SLOTS):
        chosen = (names[k : k + SLOTS] * SLOTS)[:SLOTS]
        assert rendered(step, *chosen) == plain, repr(chosen)


@pytest.mark.long
def test_a_thousand_hostile_names_in_every_slot_leave_the_source_unchanged(rendered):
    plain = rendered(step, *"abcdefg")
    for name in hostile_names(1000):
        assert rendered(step, *[name] * SLOTS) == plain, repr(name)


def network(name: str) -> None:
    """A network whose layers have this name, and so their parameters too."""
    net = L.InputLayer((2, 1, 6, 6), name=name)
    net = L.Conv2DLayer(net, 2, 3, name=name)
    net = L.DenseLayer(net, 3, name=name)
    exprc.function([L.get_all_layers(net)[0].input_var], L.get_output(net), name=name, mode="compiled")


def test_hostile_names_of_layers_leave_the_source_unchanged(rendered):
    plain = rendered(network, "x")
    for name in hostile_names(60)[::3]:
        assert rendered(network, name) == plain, repr(name)


def in_file(name: str) -> None:
    """A function whose lines are in a file of this name: messages show it, the source does not."""
    exec(compile("x = T.vector('x', shape=(4,))\nexprc.function([x], x * 3, mode='compiled')", name, "exec"), {"T": T, "exprc": exprc})


def test_hostile_names_of_files_leave_the_source_unchanged(rendered):
    plain = rendered(in_file, "train.py")
    for name in hostile_names(80):
        if "\0" not in name and "\ud800" not in name:  # Python itself takes no such name
            assert rendered(in_file, name) == plain, repr(name)


LEGAL = ("main", "restrict", "int", "k0", "v0", "exprc_run", "buffers", "sizes", "__asm__", "a" * 5000)


def test_an_operation_has_a_plain_name():
    for name in PIECES:
        if name not in LEGAL:
            with pytest.raises(ValueError, match="the name of an operation must match"):
                T.composite(lambda x: x + 1, name=name)


@pytest.mark.parametrize("name", LEGAL[:-1])
def test_an_operation_named_like_something_in_c_still_leaves_the_source_unchanged(rendered, name):
    def make(name):
        shifted = T.composite(lambda x: T.tanh(x) + 1, name=name)
        x = T.vector("x", shape=(4,))
        exprc.function([x], shifted(x), mode="compiled")

    assert rendered(make, name) == rendered(make, "plain")
