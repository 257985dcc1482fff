"""Drawings: expressions as pictures, self-contained SVG or HTML."""

from __future__ import annotations

import linecache
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exprc.expr import Constant, Expr, topological
from exprc.runtime.cache import atomic_write
from exprc.seeing.svg import Box, escape, picture
from exprc.show import _short_text, _value_text, expression_text

if TYPE_CHECKING:
    from exprc.function import Function

#: How many nodes a drawing has unless the caller says otherwise.
NODES = 400
_LABEL, _HOVER = 26, 400

#: What a page may load: nothing. Only styles that stand in the page itself are allowed.
CSP = "default-src 'none'; style-src 'unsafe-inline'"


def drawn(obj: Any, file: str | os.PathLike[str] | None = None, limit: int = NODES) -> Drawing:
    """What `exprc.draw` does; it stands apart so that importing exprc does not bring the code that draws."""
    if limit < 1:
        raise ValueError(f"draw: limit is {limit}: it must be at least 1")
    drawing = Drawing(*_roots(obj), limit)
    if file is not None:
        drawing.save(file)
    return drawing


class Drawing:
    """A picture of a graph; made by `exprc.draw`.

    Attributes
    ----------
    nodes : int, how many nodes are drawn. note : what is missing, or "".
    svg, html : the picture as text; neither refers to anything outside of itself.
    """

    def __init__(self, roots: Sequence[Expr], labels: Sequence[str], limit: int):
        self.boxes, self.nodes, self.note = _boxes(roots, labels, limit)
        self.name = ", ".join(labels) or expression_text(roots[0]) if roots else "nothing"

    @property
    def svg(self) -> str:
        return self.element()

    def element(self, styled: bool = True) -> str:
        """The picture as an ``<svg>`` element; a page with many of them has their style sheet once and takes them without."""
        return picture(self.boxes, self.note, styled, self.name)

    @property
    def html(self) -> str:
        css = "body{margin:0}svg{max-width:none}"
        return document(f"exprc: {self.name}", css, self.svg)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write the picture to a file ending in ``.svg`` or ``.html``: whole, or not at all."""
        ending = Path(file).suffix.lower()
        if ending not in (".svg", ".html"):
            raise ValueError(f"draw: {os.fspath(file)!r} must end in .svg or .html")
        save_text(file, self.svg if ending == ".svg" else self.html)

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<drawing of {self.nodes} nodes{f': {self.note}' if self.note else ''}>"


def document(title: str, css: str, body: str) -> str:
    """Return an HTML page that can load nothing and run nothing; `body` is HTML, `title` is text."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{CSP}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def save_text(file: str | os.PathLike[str], text: str) -> None:
    """Write a text that is meant to be shared: whole or not at all, with the mode that the umask gives new files."""
    atomic_write(file, text.encode(), durable=False)
    umask = os.umask(0o077)  # the one way to ask for it is to set it
    os.umask(umask)
    os.chmod(file, 0o666 & ~umask)


# -- what to draw


def _roots(obj: Any) -> tuple[list[Expr], list[str]]:
    """Return the expressions to draw, and what each is to the user ("" for what says that itself)."""
    if isinstance(obj, Expr):
        return [obj], []
    if isinstance(obj, Mapping):
        return [_checked(x) for x in obj.values()], [str(key) for key in obj]
    if isinstance(obj, (list, tuple)):
        return [_checked(x) for x in obj], []
    if hasattr(obj, "roots") and hasattr(obj, "updates"):
        return final_graph(obj), root_labels(obj)
    raise TypeError(f"draw: an expression, a list of them or a function is needed, not {obj!r} ({type(obj).__name__})")


def _checked(x: Any) -> Expr:
    if not isinstance(x, Expr):
        raise TypeError(f"draw: an expression is needed, not {x!r} ({type(x).__name__})")
    return x


def final_graph(f: Function) -> list[Expr]:
    """The graph of a function after the rewrites; as it was written where the function runs on the interpreter."""
    return list(f._compiled.roots if f._compiled is not None else f.roots)


def root_labels(f: Function) -> list[str]:
    """What each root of a function is: an output, the next value of an input with a state, or the new value of a shared variable."""
    keys, count = f._recipe.keys, f.outputs
    names = [str(key) for key in keys] if isinstance(keys, list) else [f"output {k}" if count > 1 else "output" for k in range(count)]
    states = [f"next {f._recipe.inputs[k].variable.label}" for k in f._recipe.states]
    return [*names, *states, *(f"new {v.label}" for v in f.updates)]


def nearest_nodes(roots: Iterable[Expr], limit: int) -> tuple[list[Expr], bool]:
    """Return at most `limit` nodes, those nearest to the roots, and whether that is all; never looks at many more than `limit`."""
    found = dict.fromkeys(roots)
    queue = deque(found)
    while queue:
        for node in queue.popleft().inputs:
            if node not in found and not is_number(node):
                if len(found) >= limit:
                    return list(found), False
                found[node] = None
                queue.append(node)
    return list(found), True


def is_number(node: Expr) -> bool:
    """Whether a node is a constant of one number without a name: it stands inside its user."""
    return isinstance(node, Constant) and node.value.ndim == 0 and not node.name


# -- boxes


def _boxes(roots: Sequence[Expr], labels: Sequence[str], limit: int) -> tuple[list[Box], int, str]:
    kept, whole = nearest_nodes(roots, limit)
    inside = set(kept)
    order = [n for n in topological(roots, stop=lambda n: n not in inside or inside.isdisjoint(n.inputs)) if n in inside]
    near = _neighbourhoods(order)
    number: dict[Any, int] = {}
    boxes: list[Box] = []

    def put(key: Any, box: Box) -> int:
        if key not in number:
            number[key] = len(boxes)
            boxes.append(box)
        return number[key]

    for node in order:
        used = [put((i, near[i, node]), _box(i)) if _is_leaf(i) else number[i] for i in node.inputs if i in inside]
        hidden = sum(i not in inside and not is_number(i) for i in node.inputs)
        if hidden:
            more = Box("more", f"… {hidden} input{'s' * (hidden > 1)}", "not drawn", "beyond the limit of this drawing")
            used.append(put((node, "more"), more))
        if not _is_leaf(node) or node in roots:
            put((node, 0) if _is_leaf(node) else node, _box(node, used))
    for root, label in zip(roots, labels):
        used = [number[root, 0] if _is_leaf(root) else number[root]]
        boxes.append(Box("result", _short_text(label, _LABEL), "", label, tuple(used)))
    note = "" if whole else f"the {len(order)} nodes nearest to the results; draw(..., limit=n) draws more"
    return boxes, len(order), note


def _is_leaf(node: Expr) -> bool:
    return node.op.form == "leaf" and not node.inputs


#: A leaf is drawn once more for a user that is further down than this many layers: a line across the whole picture tells less.
_FAR = 8


def _neighbourhoods(order: Sequence[Expr]) -> dict[tuple[Expr, Expr], int]:
    """Which copy of a leaf serves each user: users whose latest possible layers are near each other share one."""
    late: dict[Expr, int] = {}
    users: dict[Expr, list[Expr]] = {}
    for node in reversed(order):
        late.setdefault(node, 0)
        for i in node.inputs:
            late[i] = min(late.get(i, 0), late[node] - 1)
            users.setdefault(i, []).append(node)
    found: dict[tuple[Expr, Expr], int] = {}
    for leaf in filter(_is_leaf, order):
        first, copy = None, 0
        for user in sorted(users.get(leaf, []), key=late.__getitem__):
            copy += first is not None and late[user] - first > _FAR
            first = late[user] if first is None or late[user] - first > _FAR else first
            found[leaf, user] = copy
    return found


def _box(node: Expr, used: Sequence[int] = ()) -> Box:
    form = node.op.name if node.op.form == "leaf" else node.op.form
    return Box(form, label_of(node), _short_text(str(node.type), 34), hover(node), tuple(dict.fromkeys(used)))


def label_of(node: Expr) -> str:
    """A node in a few words: a leaf's name or value, or the operation with the numbers that it is applied to."""
    if not node.inputs and node.op.form == "leaf":
        return _short_text(node.name or (_value_text(node) if isinstance(node, Constant) else f"<{node.op.name}>"), _LABEL)
    texts = [_value_text(i) if isinstance(i, Constant) and is_number(i) else "·" for i in node.inputs]
    numbers = f"({', '.join(texts)})" if any(t != "·" for t in texts) and len(texts) <= 4 else ""
    name = f"{node.name} = " if node.name else ""
    return _short_text(f"{name}{node.op.name}{numbers}", _LABEL)


def hover(node: Expr) -> str:
    """Everything about a node: name, operation, parameters, type, inputs, the user's line with its text."""
    inputs = ", ".join(i.name or label_of(i) for i in node.inputs[:6]) + ", ..." * (len(node.inputs) > 6)
    what = f"{node.op.name}({inputs})" if node.inputs else node.op.name
    rows = [what, str(node.type), *(f"{k} = {_short_text(repr(v), 80)}" for k, v in node.params.items())]
    rows = [node.name, *rows] if node.name else rows
    return "\n".join(_short_text(row, _HOVER) for row in [*rows, *place_rows(node)])


def place_rows(node: Expr) -> list[str]:
    """The user's ``file:line`` and the text of that line, as far as they are known."""
    if node.line is None:
        return []
    return [row for row in (node.where, line_text(*node.line)) if row]


def line_text(file: str, line: int) -> str:
    """The text of a line of the user's, without its indentation; "" where the file is not there."""
    return _short_text(linecache.getline(file, line).strip(), 200)
