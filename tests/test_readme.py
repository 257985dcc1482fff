"""The README: its example runs and prints what it says, and what it tells a newcomer is there."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_example_prints_what_the_readme_says():
    (code,), (expected,) = blocks("python"), blocks("text")
    assert len([line for line in code.splitlines() if line]) <= 15
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec", dont_inherit=True), {"__name__": "__main__"})
    got = printed.getvalue()
    assert doctest.OutputChecker().check_output(expected, got, doctest.ELLIPSIS), f"the README says\n{expected}\nit printed\n{got}"


def test_the_commands_are_those_that_are_promised():
    assert blocks("sh") == [
        "python3 -m venv .venv && . .venv/bin/activate\n",
        "pip install -e . && python examples/mnist.py\n",
        "pip install -e '.[test]' && pytest\n",
    ]


def test_what_surprises_newcomers_is_said_on_the_first_page():
    assert "`==` is identity" in README and "`T.eq(x, y)` builds a comparison" in README


def test_the_files_it_names_are_there():
    named = re.findall(r"`((?:examples|docs)/[\w./]*|[A-Z]+\.md)`", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_names_it_tells_are_there():
    import exprc
    import exprc.io
    import exprc.nn
    import exprc.tensor

    table = README[README.index("| there | here |") :].split("\n\n")[0]
    named = re.findall(r"\b((?:exprc|T)(?:\.\w+)+)", "".join(line.split("|")[2] for line in table.splitlines()))
    assert len(named) >= 20
    for name in named:
        thing = exprc.tensor if name.startswith("T.") else exprc
        for part in name.split(".")[1:]:
            thing = getattr(thing, part)
