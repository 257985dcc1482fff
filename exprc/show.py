"""Expressions as text: `debugprint` draws the whole graph as a tree, `pp` writes a formula, `repr` gives one short line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Constant, Expr
from exprc.types import TensorType

#: How deep a tree is drawn before it goes on as a tree of its own: a chain of n nodes gives text of length n, not n².
DEPTH = 24

#: Bounds of `repr`: how deep, how many inputs of a node, how many characters.
_DEEP, _WIDE, _LONG = 3, 4, 100


def debugprint(obj: Any, file: Any = None) -> str | None:
    """Draw expressions as trees, one node a line: operation, parameters, type, name, the user's line.

    Parameters
    ----------
    obj : an expression, a list or tuple of them, or a function: its outputs and then its updates, as they were written.
    file : an open text file to write to; None for standard output; "str" to have the text returned.

    Notes
    -----
    A node has a number ``[n]`` where it is used more than once, and is drawn once: ``[n] ...`` stands for it elsewhere.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x = T.vector("x")
    >>> y = T.exp(x)
    >>> debugprint(y * y)  # doctest: +ELLIPSIS
    mul  float32, (?,)  ...
    ├─ [1] exp  float32, (?,)  ...
    │  └─ x  float32, (?,)  ...
    └─ [1] ...
    """
    lines = _Tree(_roots("debugprint", obj)).lines()
    if isinstance(file, str) and file == "str":
        return "\n".join(lines)
    out = sys.stdout if file is None else file
    for line in lines:
        out.write(line + "\n")
    return None


def _roots(caller: str, obj: Any) -> list[Expr]:
    """The expressions of one, of several, or of a function."""
    obj = getattr(obj, "roots", obj) if not isinstance(obj, Expr) else [obj]
    roots = list(obj) if isinstance(obj, (list, tuple)) else [obj]
    for x in roots:
        if not isinstance(x, Expr):
            fix = "a function has .source and .explain(); a layer is shown by exprc.nn.layers.get_output(layer)"
            raise TypeError(report(f"{caller}: an expression is needed, not {type(x).__name__}", fix=fix))
    return roots


class _Tree:
    """The state of one drawing: which nodes have a number, which are drawn, and which wait for a tree of their own."""

    def __init__(self, roots: Sequence[Expr]):
        self.roots = list(roots)
        self.drawn: set[Expr] = set()
        self.numbers: dict[Expr, int] = {}
        self.shared = _used_more_than_once(roots)

    def lines(self) -> Iterator[str]:
        """Yield the lines of all trees; those that were cut off for their depth follow."""
        waiting = list(reversed(self.roots))
        while waiting:
            root = waiting.pop()
            if root in self.drawn:
                yield self._again(root)
            else:
                late: list[Expr] = []
                yield from self._tree(root, late)
                waiting.extend(n for n in reversed(late) if n not in self.drawn)

    def _tree(self, root: Expr, late: list[Expr]) -> Iterator[str]:
        stack = [(root, "", "", 0)]
        while stack:
            node, lead, branch, depth = stack.pop()
            if node in self.drawn or (depth == DEPTH and node.inputs):
                if node not in self.drawn:
                    late.append(node)
                yield lead + branch + self._again(node)
                continue
            self.drawn.add(node)
            yield (
                lead
                + branch
                + (self._number(node) if node in self.shared and node.inputs else self._known(node))
                + describe(node)
            )
            below = lead + ("" if not branch else "   " if branch == "└─ " else "│  ")
            last = len(node.inputs) - 1
            stack.extend(
                (i, below, "└─ " if k == last else "├─ ", depth + 1) for k, i in reversed(list(enumerate(node.inputs)))
            )

    def _again(self, node: Expr) -> str:
        return self._number(node) + "..." if node.inputs else describe(node)

    def _known(self, node: Expr) -> str:
        return self._number(node) if node in self.numbers else ""

    def _number(self, node: Expr) -> str:
        return f"[{self.numbers.setdefault(node, len(self.numbers) + 1)}] "


def _used_more_than_once(roots: Sequence[Expr]) -> set[Expr]:
    seen: set[Expr] = set()
    shared: set[Expr] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            shared.add(node)
        else:
            seen.add(node)
            stack.extend(node.inputs)
    return shared


def describe(node: Expr) -> str:
    """Return one line about a node: what it is, its type, its name and the user's line."""
    what = _leaf_text(node) if not node.inputs and node.op.form == "leaf" else node.op.name + _params_text(node)
    name = f"  {node.name!r}" if node.name and node.inputs else ""
    return "  ".join(filter(None, (what, str(node.type), node.where))) + name


def _params_text(node: Expr) -> str:
    if not node.params:
        return ""
    text = ", ".join(f"{k}={_short(v)}" for k, v in node.params.items())
    return f"{{{text}}}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _leaf_text(node: Expr) -> str:
    if node.name:
        return node.name
    return _value_text(node) if isinstance(node, Constant) else f"<{node.op.name}>"


def _value_text(node: Constant) -> str:
    """A constant's value on one line; only the ends of a large one."""
    if node.value.ndim == 0:
        return str(node.value[()])  # 0.1 for a float32 of 0.1, not 0.10000000149
    text = np.array2string(node.value, threshold=6, edgeitems=2, precision=4, separator=", ").replace("\n", "")
    return _short_text(" ".join(text.split()), 40)


def _short_text(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def expression_text(node: Expr) -> str:
    """Return an expression as one short line: names of leaves, operations as calls, "..." where it goes on.

    >>> import exprc.tensor as T
    >>> T.exp(T.scalar("x")) + 1
    add(exp(x), 1.0)
    """
    return _short_text(_text(node, _DEEP), _LONG)


#: operation -> how Python writes it, and how strongly it binds
_INFIX = {
    "bitwise_or": ("|", 1), "bitwise_xor": ("^", 2), "bitwise_and": ("&", 3), "lt": ("<", 0), "le": ("<=", 0),
    "gt": (">", 0), "ge": (">=", 0), "eq": ("==", 0), "neq": ("!=", 0), "add": ("+", 4),
    "sub": ("-", 4), "mul": ("*", 5), "true_div": ("/", 5), "floor_div": ("//", 5), "mod": ("%", 5),
    "power": ("**", 7),
}  # fmt: skip
_PREFIX = {"neg": ("-", 6), "invert": ("~", 6)}
_FORMULA_DEEP, _FORMULA_LONG = 60, 2000


def pp(expr: Expr) -> str:
    """Return an expression as a formula in Python's notation, with only the parentheses that it needs.

    Parameters
    ----------
    expr : an expression. What is more than 60 levels deep, or beyond 2000 characters, is written ``...``.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, y = T.vector("x"), T.vector("y")
    >>> pp((x + y) * 2 - T.exp(-x ** 2).sum(axis=0))
    '(x + y) * 2.0 - sum(exp(-x ** 2.0), axes=(0,))'
    """
    (node,) = _roots("pp", [expr])
    return _short_text(_Formula().text(node, _FORMULA_DEEP)[0], _FORMULA_LONG)


class _Formula:
    """One formula being written; `room` are the characters that are left, so that a graph with much sharing ends soon."""

    def __init__(self) -> None:
        self.room = _FORMULA_LONG

    def text(self, node: Expr, deep: int) -> tuple[str, int]:
        """The text of a node, and how strongly its outermost operator binds."""
        if deep == 0 or self.room <= 0:
            return "...", 9
        self.room -= len(node.op.name) + 2
        if node.op.form == "leaf" and not node.inputs:
            text = _text(node, 0)
            return text, 9 if not text.startswith("-") else 6
        if node.op.name in _INFIX and len(node.inputs) == 2:
            return self._infix(node, deep)
        if node.op.name in _PREFIX:
            sign, strength = _PREFIX[node.op.name]
            return sign + self._inside(node.inputs[0], strength, deep), strength
        inputs = [self.text(i, deep - 1)[0] for i in node.inputs]
        params = [f"{k}={_short_text(repr(v), 40)}" for k, v in node.params.items()]
        return f"{node.op.name}({', '.join(inputs + params)})", 9

    def _infix(self, node: Expr, deep: int) -> tuple[str, int]:
        sign, strength = _INFIX[node.op.name]
        left, right = (strength + 1, strength) if sign == "**" else (strength + (strength == 0), strength + 1)
        texts = [self._inside(i, s, deep) for i, s in zip(node.inputs, (left, right))]
        return f"{texts[0]} {sign} {texts[1]}", strength

    def _inside(self, node: Expr, strength: int, deep: int) -> str:
        text, mine = self.text(node, deep - 1)
        return f"({text})" if mine < strength else text


def _text(node: Expr, deep: int) -> str:
    if node.name:
        return node.name
    if not node.inputs and node.op.form == "leaf":
        return _value_text(node) if isinstance(node, Constant) else f"<{node.op.name} {_type_text(node)}>"
    if deep == 0:
        return "..."
    inputs = [_text(i, deep - 1) for i in node.inputs[:_WIDE]] + ["..."] * (len(node.inputs) > _WIDE)
    params = [f"{k}={_short_text(repr(v), 24)}" for k, v in node.params.items()]
    return f"{node.op.name}({', '.join(inputs + params)})"


def _type_text(node: Expr) -> str:
    return str(node.type) if isinstance(node.type, TensorType) else "tuple"


Expr.__repr__ = expression_text  # type: ignore[method-assign, assignment]
