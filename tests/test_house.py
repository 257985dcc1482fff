"""The rules of the house, those that a program can hold: who imports whom, how long things are, what they are called."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FUNCTION_LINES, FILE_LINES = 80, 400

#: Imports go from a later layer to an earlier one, or stay in their layer without a circle (docs/architecture.md, rooms).
LAYERS = (
    "errors spellings types config size collector",
    "expr blame hooks forms loops library scalar_text special_numpy",
    "ops philox distributions",
    "dispatch operators pickles show reference loops_text verify interpret",
    "rewrite",
    "grad derivatives vectorise verify_grad schedule",
    "lower gpu",
    "render",
    "runtime",
    "machines compiled segments build guard profile parameters arguments seeing draw steps shorts function",
    "tensor nn io datasets distributed device doctor __main__",
    "compat",
)
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms.split()}
FACE = LAYER["tensor"]  # the package itself, `import exprc`, stands with the faces


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


# -- imports


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in python_files("exprc")}


def layer_of(module: str) -> int | None:
    return LAYER.get(module.split(".")[1]) if "." in module else FACE


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of a syntax tree, functions' bodies too, but not what only type checkers read."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not is_for_types_only(child):
            yield from executed(child)


def imported(module: str) -> set[str]:
    """Return the modules of the project that a module imports anywhere, by statement or by `import_module`."""
    names: set[str] = set()
    for node in executed(tree_of(MODULES[module])):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            names |= {f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names}
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            names |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return {name for name in names if name.split(".")[0] == "exprc" and name != module}


def absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = MODULES[module].name == "__init__.py"
    parts = module.split(".")[: len(module.split(".")) - node.level + is_package]
    return ".".join([*parts, *filter(None, [node.module])])


def test_every_module_has_a_layer():
    assert [m for m in MODULES if layer_of(m) is None] == []


def test_imports_go_down():
    up = []
    for module in MODULES:
        for name in imported(module):
            mine, theirs = layer_of(module), layer_of(name)
            if mine is not None and (theirs is None or theirs > mine):
                up.append(f"{module} (layer {mine}) imports {name} (layer {theirs})")
    assert sorted(up) == []


def test_imports_make_no_circle():
    try:
        order = list(TopologicalSorter({m: imported(m) for m in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(reversed(error.args[1]))}")
    assert len(order) >= len(MODULES)


# -- sizes


def docstring_lines(node: ast.AST) -> set[int]:
    body = getattr(node, "body", None)
    if not isinstance(body, list) or not body:
        return set()
    first = body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return set(range(first.lineno, (first.end_lineno or 0) + 1)) if is_text else set()


def code_lines(path: Path) -> set[int]:
    """The numbers of the lines that hold code: no blanks, no comments, no docstrings."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree_of(path)):
        lines -= docstring_lines(node)
    return lines


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the place and the length in lines of every function, its signature counted, its docstring not."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1 - len(docstring_lines(node))
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", length


def test_functions_are_short():
    lengths = dict(entry for path in python_files("exprc", "examples", "benchmarks", "docs") for entry in functions(path))
    ordered = sorted(lengths.values())
    print(f"{len(ordered)} functions, lines: median {statistics.median(ordered):g}, 90 % at most {ordered[len(ordered) * 9 // 10]}")
    for place, length in sorted(lengths.items(), key=lambda item: -item[1])[:10]:
        print(f"{length:5} {place}")
    assert {place: n for place, n in lengths.items() if n > FUNCTION_LINES} == {}


def test_files_are_short():
    sizes = {str(p.relative_to(ROOT)): len(code_lines(p)) for p in python_files("exprc", "examples", "benchmarks", "docs")}
    print(f"{len(sizes)} files, {sum(sizes.values())} lines of code")
    for name, count in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{count:5} {name}")
    assert {name: count for name, count in sizes.items() if count > FILE_LINES} == {}


def test_lines_of_code_leave_out_docstrings_comments_and_blanks(tmp_path):
    path = tmp_path / "sample.py"
    path.write_text('"""Text\nof two lines."""\n\n# a comment\nx = (1,\n     2)\n\ndef f():\n    "What it does."\n    return x  # why\n')
    assert code_lines(path) == {5, 6, 8, 10}


# -- names and texts


def project_files() -> list[Path]:
    """Return the files that belong to the project: those that git knows or would add; without git, those in its folders."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [path for path in map(ROOT.joinpath, listed.stdout.splitlines()) if path.is_file()]
    folders = ("exprc", "kernels", "tests", "examples", "docs", "benchmarks", ".ci")
    inside = [p for f in folders for p in (ROOT / f).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return inside + [p for p in ROOT.iterdir() if p.is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in project_files():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or an archive


def test_no_file_has_a_name_that_says_nothing():
    empty = {"utils", "helpers", "basic", "tools", "misc"}
    named = [path.relative_to(ROOT).as_posix() for path in project_files() if path.stem.strip("_").lower() in empty]
    assert [name for name in named if name != "exprc/nn/utils.py"] == []


def test_no_path_of_one_machine_in_any_file():
    places = "|".join(("work", "tmp", "root", "home/[a-z]+", "Users/[A-Za-z]+"))
    path = re.compile(rf"(?<![\w$}}~./<>-])/({places})(?=[/\s\"'`),.:;]|$)")
    lines = [(f"{name}:{n}", line) for name, text in texts() for n, line in enumerate(text.splitlines(), 1)]
    assert [f"{place}: {line.strip()[:100]}" for place, line in lines if path.search(line)] == []


def test_contributing_fits_on_a_page():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 50


def test_every_room_of_the_pipeline_says_what_it_takes_and_gives():
    rooms = ["exprc/ops", "exprc/rewrite", "exprc/schedule", "exprc/render", "exprc/runtime", "kernels"]
    for room in rooms:
        text = (ROOT / room / "README.md").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 5, room
        assert all(word in text for word in ("Takes", "gives", "does not")), room


def test_continuous_integration_runs_the_readme_command():
    command = "pip install -e '.[test]' && pytest"
    assert f"\n{command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f'tests="{command}"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


# -- other programs' opinions


def check(tool: str, *arguments: str) -> None:
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed; it comes with the extra 'test'")
    done = subprocess.run([sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{tool} says:\n{done.stdout[-8000:]}{done.stderr[-2000:]}"


def test_ruff():
    check("ruff", "check", ".")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="NumPy's types are those of its last release, which needs Python 3.11")
def test_types():
    check("mypy")
