"""What exprc says when something is wrong: every case of tests/errors, and the page that shows them, docs/errors.md."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from exprc.errors import nearest, report
from exprc.expr import Expr

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs" / "errors.py")
pages = importlib.util.module_from_spec(spec)
sys.modules["errors_page"] = pages  # a NamedTuple looks for its module
spec.loader.exec_module(pages)

CASES = [case for cases in pages.tables().values() for case in cases]
told = {}


def answer(case):
    """What a case brings about; each is run once."""
    if case.title not in told:
        told[case.title] = pages.run(case)
    return told[case.title]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_mistake_is_answered_with_what_helps(case):
    found = answer(case)
    assert found.kind is case.error, found
    assert len(case.says) >= 2 or case.title in ONE_LINE, "what is wrong, and what would mend it or where it was made"
    rest = found.text
    for piece in case.pieces:
        assert piece in rest, f"{piece!r} is not where it should be in\n{found.text}"
        rest = rest[rest.index(piece) + len(piece) :]


MADE = [c for c in CASES if re.search(r"T\.\w+\(\"|L\.InputLayer|exprc\.shared\(", c.lines) and not c.given]


@pytest.mark.parametrize("case", MADE, ids=lambda case: case.title)
def test_a_mistake_is_shown_with_the_line_that_made_it(case):
    """Where an expression or a layer is at hand, the text leads to it."""
    if case.title not in UNPLACED:
        assert re.search(rf"made at {pages.FILE}:\d+", answer(case).text), answer(case).text


#: What would be right stands in the one line.
ONE_LINE = {
    "A setting of on_unused_input that is none", "An argument too many", "An argument of another name", "An argument given twice",
    "A setting of grad that is none", "A number of steps that is none",
}  # fmt: skip

#: The variable is not made yet, so that Python's own traceback is what leads to the line.
UNPLACED = {
    "A number of steps that is none",
    "A dtype that is not supported", "A dim below zero", "A shape of another number of axes", "A misspelt operation",
    "A shared variable of texts", "A shared variable of a ragged list", "Axes of a shared variable that cannot broadcast",
    "A mode of Theano's",
    "The name of a variable as a key of givens", "An output that nobody returned", "A clone by a name", "A tree of something else",
    "A network that nobody returned", "Nothing to train", "A parameter before the layer is set up", "A dict of weights",
    "A layer in place of its parameters", "A penalty by its name", "A range from high to low", "A layer of PyTorch's",
    "A network in place of its weights",
    "Sizes that are not in a tuple", "An operation looked for in the wrong module", "A gradient by nothing", "Several costs",
    "A number to be held constant",
    "eval with a list", "eval with the name of a variable", "A gradient checked of an expression", "A module of Theano's",
    "A cost that is no expression", "A gradient by a number", "A setting of grad that is none", "A setting of on_unused_input that is none",
    "An argument too many", "An argument of another name", "An argument given twice", "A random seed that is a text",
    "A precision that there is not", "A precision that the device does not offer",
}  # fmt: skip


def test_there_are_many_texts_from_many_places():
    texts = {answer(case).text.splitlines()[0] for case in CASES}
    places = {re.sub(r":\d+ ", ":", answer(case).place) for case in CASES}
    print(f"{len(CASES)} cases, {len(texts)} texts, {len({answer(c).place for c in CASES})} lines in {len(places)} functions")
    assert len(texts) >= 100 and len(places) >= 60
    assert len({case.title for case in CASES}) == len(CASES)


def test_no_text_is_long_or_shouts():
    for case in CASES:
        lines = answer(case).text.splitlines()
        assert len(lines[0]) <= 200, lines[0]
        assert len(lines) <= 30
        assert "!" not in lines[0] and not lines[0].endswith("."), lines[0]
        assert all(line.startswith("  ") for line in lines[1:]), "the first line says it; the rest stands below"


def steady(text: str) -> list[str]:
    """The lines of the page but those whose words are the system's loader's."""
    return [line for line in text.splitlines() if "cannot be loaded" not in line]


def test_the_page_is_current():
    assert steady((ROOT / "docs" / "errors.md").read_text(encoding="utf-8")) == steady(pages.page(answer)), "run docs/errors.py again"


# The form of a message


def test_report_lines_up_its_rows():
    rows = [("left", "x  float32, (3,)", "train.py:1"), ("right", "a_long_name  int64, ()", "")]
    assert report("add: no", rows, "cast one") == (
        "add: no\n  left   x  float32, (3,)          made at train.py:1\n  right  a_long_name  int64, ()\n  cast one"
    )
    assert report("no") == "no"


def test_nearest():
    assert nearest("Softmx", ["softmax", "sin"]) == "did you mean 'softmax'?"
    assert nearest("qqq", ["softmax", "sin"]) == ""


def test_an_error_of_an_operation_that_forgot_where_is_told_where():
    """An operation of one's own need not know how to lay out a message: the call adds the user's variables."""
    import exprc.tensor as T

    @T.composite
    def halves(x, *, parts=2):
        return x / parts

    x = T.vector("x")
    assert isinstance(x, Expr)
    with pytest.raises(TypeError) as error:
        halves(x, parts="two")
        T.sum(x, axis="rows")
    assert "x  float32, (?,)    made at test_errors.py:" in str(error.value)
