"""Graphs as SVG text: one shape and one colour for each form, the user's line when the pointer rests on a node."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape as _escape

from exprc.seeing.layered import Placed, Point, place

#: Width of a character of each of a node's lines (monospace, 12 and 10 pixels), and the heights of both.
_CHAR, _SMALL_CHAR, _LINE, _SMALL_LINE = 7.3, 6.1, 15.0, 12.0
_PAD = 9.0
_MARGIN, _ROW = 12.0, 18.0
#: The legend of a narrow graph is this wide all the same.
_LEGEND = 420.0

#: form -> what the legend calls it
LEGEND = {
    "input": "input", "shared": "shared variable", "constant": "constant", "formula": "element by element", "view": "view, moves no data",
    "reduce": "reduction", "composite": "composite, opened later", "kernel": "kernel", "item": "one of several results",
    "result": "result or update", "more": "not drawn",
}  # fmt: skip

#: Colours as variables, so that one picture serves light and dark pages; (fill, line) of each form.
_LIGHT = {
    "input": ("#dbeafe", "#2563eb"),
    "shared": ("#dcfce7", "#15803d"),
    "constant": ("#f1f5f9", "#64748b"),
    "formula": ("#ffffff", "#64748b"),
    "view": ("#f5f3ff", "#7c3aed"),
    "reduce": ("#fef3c7", "#b45309"),
    "composite": ("#fce7f3", "#be185d"),
    "kernel": ("#ffedd5", "#c2410c"),
    "item": ("#f1f5f9", "#64748b"),
    "result": ("#1e293b", "#1e293b"),
    "more": ("#ffffff", "#94a3b8"),
}
_DARK = {
    "input": ("#172e5c", "#60a5fa"),
    "shared": ("#0f3a20", "#4ade80"),
    "constant": ("#273244", "#94a3b8"),
    "formula": ("#1e2635", "#94a3b8"),
    "view": ("#2b2150", "#a78bfa"),
    "reduce": ("#452f0a", "#fbbf24"),
    "composite": ("#4a1531", "#f472b6"),
    "kernel": ("#4a230c", "#fb923c"),
    "item": ("#273244", "#94a3b8"),
    "result": ("#e2e8f0", "#e2e8f0"),
    "more": ("#111827", "#64748b"),
}
_SURFACE = {
    "light": ("#ffffff", "#0f172a", "#475569", "#94a3b8", "#ffffff"),
    "dark": ("#111827", "#e5e7eb", "#a3b0c2", "#64748b", "#0f172a"),
}


def _variables(colours: Mapping[str, tuple[str, str]], surface: Sequence[str]) -> str:
    forms = [f"--x-{form}:{fill};--x-{form}-line:{line}" for form, (fill, line) in colours.items()]
    names = ("paper", "ink", "faint", "thread", "on-result")
    return ";".join([*(f"--x-{name}:{value}" for name, value in zip(names, surface)), *forms])


def style() -> str:
    """The style sheet of every drawing; a page that holds many of them needs it once."""
    forms = "".join(f".xg .{form}>.s{{fill:var(--x-{form});stroke:var(--x-{form}-line)}}" for form in LEGEND)
    return (
        f".xg{{{_variables(_LIGHT, _SURFACE['light'])};background:var(--x-paper)}}"
        f"@media (prefers-color-scheme:dark){{.xg{{{_variables(_DARK, _SURFACE['dark'])}}}}}"
        ".xg text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:var(--x-ink);text-anchor:middle}"
        ".xg text.t{font-size:10px;fill:var(--x-faint)}.xg .result text{fill:var(--x-on-result)}"
        ".xg text.k{text-anchor:start;font-size:11px}"
        ".xg .s{stroke-width:1.2}.xg .kernel>.s,.xg .composite>.s{stroke-width:2.2}.xg .more>.s{stroke-dasharray:4 3}"
        ".xg .view>.s,.xg .item>.s{stroke-dasharray:5 2}.xg g:hover>.s{stroke-width:3}"
        ".xg .l{fill:none;stroke:var(--x-thread);stroke-width:1.2}.xg .a{fill:var(--x-thread)}" + forms
    )


_NOT_TEXT = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def escape(text: str, quote: bool = True) -> str:
    """Return a text as XML and HTML hold it; characters that XML cannot hold at all (control characters, halves of pairs) are replaced.

    >>> escape("a<b\\x00")
    'a&lt;b\ufffd'
    """
    return _escape(_NOT_TEXT.sub("\ufffd", text), quote)


@dataclass(frozen=True)
class Box:
    """A node as it is drawn: its form (see LEGEND), two lines of text, what is said when the pointer rests on it, the boxes it uses."""

    form: str
    label: str
    note: str = ""
    title: str = ""
    inputs: tuple[int, ...] = ()

    @property
    def size(self) -> Point:
        text = max(_CHAR * len(self.label), _SMALL_CHAR * len(self.note))
        slant = 2 * _PAD if self.form in ("view", "reduce", "input") else _PAD
        return round(text + _PAD + slant), _LINE + (_SMALL_LINE if self.note else 0) + _PAD


def picture(boxes: Sequence[Box], note: str = "", styled: bool = True, name: str = "graph") -> str:
    """Return an ``<svg>`` element; `note` is written above the graph, and `styled` tells whether it brings its style sheet."""
    placed = place([box.size for box in boxes], [box.inputs for box in boxes])
    legend, legend_width = _legend(boxes, max(placed.width, _LEGEND))
    rows = [*([f'<text class="k" y="12">{escape(note)}</text>'] if note else []), *legend]
    top = _MARGIN + _ROW * len(rows) + 8
    width = max(placed.width, legend_width, _CHAR * len(note), 60) + 2 * _MARGIN
    height = placed.height + top + _MARGIN
    above = [f'<g transform="translate({_n(_MARGIN)} {_n(_MARGIN + _ROW * k)})">{row}</g>' for k, row in enumerate(rows)]
    graph = f'<g transform="translate({_n((width - placed.width) / 2)} {_n(top)})">'
    body = [graph, _threads(placed), *map(_shape, boxes, placed.centres), "</g>"]
    extent = f'viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}"'
    css = f"<style>{style()}</style>" if styled else ""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="xg" {extent} role="img" aria-label="{escape(name)}">{css}'
    return "\n".join([head, *above, *body, "</svg>"])


def _n(x: float) -> str:
    """A number with at most one decimal, as short as it can be."""
    return f"{x:.1f}".removesuffix(".0")


def _legend(boxes: Sequence[Box], width: float) -> tuple[list[str], float]:
    """What the shapes mean, in rows no wider than `width`, and the width of the widest."""
    present = {box.form for box in boxes}
    x, widest, rows = 0.0, 0.0, [""]
    for form, text in ((form, text) for form, text in LEGEND.items() if form in present):
        own = 17 + 6.8 * len(text)
        if x and x + own > width:
            x, rows = 0.0, [*rows, ""]
        rows[-1] += f'<g class="{form}"><rect class="s" x="{_n(x)}" y="2" width="12" height="12" rx="3"/></g>'
        rows[-1] += f'<text class="k" x="{_n(x + 17)}" y="12">{text}</text>'
        widest = max(widest, x + own)
        x += own + 18
    return rows, widest


# -- shapes


def _shape(box: Box, centre: Point) -> str:
    (x, y), (w, h) = centre, box.size
    lines = [(box.label, "", y + 4 - (6 if box.note else 0))]
    lines += [(box.note, ' class="t"', y + 13)] if box.note else []
    texts = "".join(f'<text{css} x="{_n(x)}" y="{_n(at)}">{escape(text)}</text>' for text, css, at in lines)
    title = f"<title>{escape(box.title)}</title>" if box.title else ""
    return f'<g class="{box.form}">{title}{_outline(box.form, x - w / 2, y - h / 2, w, h)}{texts}</g>'


def _outline(form: str, x: float, y: float, w: float, h: float) -> str:
    """The shape of a form: leaves are round, reductions taper, views lean, the others are boxes."""
    slant = 8.0
    if form == "view":
        return _polygon([(x + slant, y), (x + w, y), (x + w - slant, y + h), (x, y + h)])
    if form == "reduce":
        return _polygon([(x, y), (x + w, y), (x + w - slant, y + h), (x + slant, y + h)])
    corner = h / 2 if form in ("input", "result") else {"shared": 11, "constant": 11, "kernel": 1}.get(form, 4)
    return f'<rect class="s" x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" rx="{_n(corner)}"/>'


def _polygon(points: Sequence[Point]) -> str:
    return f'<polygon class="s" points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}"/>'


# -- lines


def _threads(placed: Placed) -> str:
    """All lines as one path, and all arrow heads as another: a drawing of hundreds of nodes stays small."""
    lines = "".join(_curve(points) for _, _, points in placed.lines)
    heads = "".join(_head(points[-1]) for _, target, points in placed.lines if target is not None)
    return f'<path class="l" d="{lines}"/><path class="a" d="{heads}"/>'


def _curve(points: Sequence[Point]) -> str:
    *before, (xa, ya), (xb, yb) = points
    straight = "".join(f"L{_n(x)} {_n(y)}" for x, y in [*before[1:], (xa, ya)]) if before else ""
    start = before[0] if before else (xa, ya)
    middle = (ya + yb) / 2
    bend = f"V{_n(yb)}" if abs(xa - xb) < 0.5 else f"C{_n(xa)} {_n(middle)} {_n(xb)} {_n(middle)} {_n(xb)} {_n(yb)}"
    return f"M{_n(start[0])} {_n(start[1])}{straight}{bend}"


def _head(tip: Point) -> str:
    x, y = tip
    return f"M{_n(x)} {_n(y)}l-3.2 -6h6.4z"
