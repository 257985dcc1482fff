"""Graphs as small texts: one line a node, read with Python's parser and never executed.

::

    # program: 1 of 4 elements: (0,): nan, wanted inf
    x0 = input('float32', (4,), [inf, 1.0, nan, -0.0])
    n0 = exp(x0)
    n1 = sum(n0, axes=(0,))
    check(n1, general=False)
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exprc.expr import Constant, Expr, Input, topological
from exprc.forms import ITEM
from exprc.ops import CATALOGUE
from exprc.types import TensorType
from tests.fuzz.grow import Graph

FOLDER = Path(__file__).resolve().parent.parent / "corpus"


# -- writing


def text_of(graph: Graph, general: bool, remarks: str = "") -> str:
    """A graph as text; what it reads back as has the same nodes and values."""
    names: dict[Expr, str] = {}
    lines = [f"# {line}" for line in remarks.splitlines()]
    for node in topological(graph.roots):
        names[node] = f"{'n' if node.inputs else 'x' if isinstance(node, Input) else 'c'}{len(names)}"
        lines.append(f"{names[node]} = {_node_text(node, graph.values, names)}")
    lines.append(f"check({', '.join(names[x] for x in graph.roots)}, general={general})")
    return "\n".join(lines) + "\n"


def _node_text(node: Expr, values: Mapping[Any, Any], names: Mapping[Expr, str]) -> str:
    if isinstance(node, Input):
        return f"input({node.dtype!r}, {node.type.shape}, {_array_text(values[node])})"
    if isinstance(node, Constant):
        return f"constant({node.dtype!r}, {node.type.shape}, {_array_text(node.value)})"
    params = [f"{name}={value!r}" for name, value in node.params.items()]
    return f"{node.op.name}({', '.join([*(names[i] for i in node.inputs), *params])})"


def _array_text(value: Any) -> str:
    """The numbers of an array; one number for an array that holds nothing else, and its shape where that is not the type's."""
    array = np.asarray(value)
    flat = array.ravel().tolist()
    if len(flat) > 1 and len({repr(v) for v in flat}) == 1:
        flat = flat[:1]
    return f"{flat!r}, {array.shape!r}"


# -- reading


def read(text: str, label: str = "") -> tuple[Graph, bool]:
    """The graph of a text, and whether its sizes are arguments of the program."""
    nodes: dict[str, Expr] = {}
    values: dict[Input, Any] = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            (target,) = statement.targets
            nodes[_name(target)] = _node(statement.value, nodes, values)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            roots = [nodes[_name(a)] for a in statement.value.args]
            general = bool(_literal(statement.value.keywords[0].value))
    return Graph(label, roots, values, len(roots), wild=True), general


def _node(call: ast.Call, nodes: Mapping[str, Expr], values: dict[Input, Any]) -> Expr:
    kind = _name(call.func)
    if kind in ("input", "constant"):
        dtype, shape, flat, dims = (_literal(a) for a in call.args)
        array = np.array(flat * (int(np.prod(dims)) if len(flat) == 1 else 1), dtype).reshape(dims)
        if kind == "constant":
            return Constant(array)
        x = Input(TensorType(dtype, shape), f"x{len(values)}")
        values[x] = array
        return x
    params = {k.arg: _literal(k.value) for k in call.keywords}
    op = ITEM if kind == "item" else CATALOGUE[kind]
    return op.node(tuple(nodes[_name(a)] for a in call.args), params)  # type: ignore[arg-type]


def _name(node: ast.expr) -> str:
    if not isinstance(node, ast.Name):
        raise ValueError(f"a name is wanted, not {ast.unparse(node)}")
    return node.id


def _literal(node: ast.expr) -> Any:
    """A literal, in which nan and inf are numbers."""
    if isinstance(node, ast.Name) and node.id in ("nan", "inf"):
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand)
    made: dict[type[ast.expr], Callable[[Any], Any]] = {ast.Tuple: tuple, ast.List: list}
    if type(node) in made:
        return made[type(node)](_literal(e) for e in node.elts)  # type: ignore[attr-defined]
    if isinstance(node, ast.Dict):
        return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values) if k is not None}
    return ast.literal_eval(node)


# -- the folder


def keep(graph: Graph, general: bool, remarks: str, folder: Path = FOLDER) -> Path:
    """Write a graph to the corpus."""
    folder.mkdir(exist_ok=True)
    name = "_".join(graph.label.split()) or "graph"
    path = folder / f"{name}.txt"
    path.write_text(text_of(graph, general, remarks), encoding="utf-8")
    return path


def kept(folder: Path = FOLDER) -> list[Path]:
    """The texts of the corpus."""
    return sorted(folder.glob("*.txt"))
