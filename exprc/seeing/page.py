"""The page of explain(): the road of a function from the user's lines to C, in one file without scripts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exprc.compiled import Stage
from exprc.errors import bytes_text
from exprc.expr import Expr, topological
from exprc.render.base import kernel_source
from exprc.seeing import code
from exprc.seeing.arena import arena_picture
from exprc.seeing.drawing import NODES, Drawing, document, line_text, root_labels
from exprc.seeing.page_style import STYLE
from exprc.seeing.stages import stages_of, what_is_missing
from exprc.seeing.steps import Line, ProgramView, StepView, programs
from exprc.seeing.svg import escape
from exprc.show import debugprint
from exprc.types import itemsize

if TYPE_CHECKING:
    from exprc.function import Function

#: Graphs of more nodes than this are listed, not drawn; of a listing so many lines are shown.
DRAWN, LISTED = 260, 3000


def page(f: Function) -> str:
    """Return the page of a function."""
    views = programs(f._compiled)
    sections = {
        "The road": _road(f, views), "Your lines": _your_lines(views), "Steps": "".join(map(_steps, views)),
        "Copies": _copies(f), "Memory": "".join(map(_memory, views)), "Graph": _graphs(f), "C": "".join(map(_c_texts, views)),
    }  # fmt: skip
    present = {name: body for name, body in sections.items() if body}
    anchors = {name: name.lower().replace(" ", "-") for name in present}
    nav = "".join(f'<a href="#{anchors[name]}">{name}</a>' for name in present)
    body = "".join(f'<section id="{anchors[name]}"><h2>{name}</h2>{text}</section>' for name, text in present.items())
    return document(f"exprc: {f._label()}", STYLE, f"<header>{_header(f, views)}<nav>{nav}</nav></header><main>{body}</main>")


# -- head and road


def _header(f: Function, views: Sequence[ProgramView]) -> str:
    inputs = ", ".join(f"<b>{escape(x.label)}</b> {escape(str(x.type))}" for x in f.inputs) or "nothing"
    updated = ", ".join(f"<b>{escape(v.label)}</b>" for v in f.updates)
    rows = [f"takes {inputs}", f"gives {f.outputs} output{'s' * (f.outputs != 1)}" + (f", updates {updated}" if updated else "")]
    for view in views:
        target = view.compiled.machine.target
        threads = "" if target.openmp else ", one thread (no OpenMP)"
        vectors = f"for {target.name} vectors of {target.vector_bytes} bytes, compiled by {target.compiler}{threads}"
        rows.append(vectors if target.device == "cpu" else f"runs on {f.device}")
        break
    missing = what_is_missing(f)
    note = f'<p class="note">{escape(missing)}</p>' if missing else ""
    return f"<h1>{escape(f._label())}</h1>" + "".join(f"<p>{row}</p>" for row in rows) + note


def _road(f: Function, views: Sequence[ProgramView]) -> str:
    """A table of the stages with their times."""
    stages = stages_of(f)
    most = max((s.seconds for s in stages), default=0.0) or 1.0
    rows = []
    for stage in stages:
        first = (stage.show().splitlines() or [""])[0]
        rows.append(
            f'<tr><td>{escape(stage.name)}</td><td class="n">{stage.seconds * 1e3:.2f} ms</td>'
            f'<td class="bar">{_bar(stage.seconds / most)}</td><td>{escape(_road_text(stage, first))}</td></tr>'
        )
    total = sum(s.seconds for s in stages)
    rows.append(f'<tr class="sum"><td>together</td><td class="n">{total * 1e3:.2f} ms</td><td></td><td></td></tr>')
    return f'<table class="road">{"".join(rows)}</table>'


def _road_text(stage: Stage, first: str) -> str:
    """One line about what a stage made; where the first line of its text is one of many, their number instead."""
    counts = {"choose": "kernels with an implementation chosen", "fuse": "loops and calls"}
    if stage.name.split()[-1] not in counts:
        return first.replace(str(Path.home()), "~")
    lines = [line for line in stage.show().splitlines() if not line.startswith(" ")]
    return first if first == "no kernels" else f"{len(lines)} {counts[stage.name.split()[-1]]}"


def _bar(share: float, title: str = "") -> str:
    said = f"<title>{escape(title)}</title>" if title else ""
    width = max(0.0, min(share, 1.0)) * 100
    return f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none">{said}<rect width="{width:.1f}" height="10"/></svg>'


# -- the user's lines


def _your_lines(views: Sequence[ProgramView]) -> str:
    """Every line of the user's that a step came from, with those steps; measured time is shared equally among a step's lines."""
    steps: dict[Line, list[StepView]] = defaultdict(list)
    seconds: Counter[Line] = Counter()
    for step in (s for view in views for s in view.steps):
        for line in step.lines:
            steps[line].append(step)
            seconds[line] += step.row.seconds / len(step.lines) if step.row is not None else 0.0  # type: ignore[assignment]
    most = max(seconds.values(), default=0.0)
    tables = []
    for file in dict.fromkeys(file for file, _ in steps):
        rows = [_line_row(line, steps[line], seconds[line], most) for line in sorted(steps) if line[0] == file]
        tables.append(f'<h3>{escape(Path(file).name)}</h3><div class="wide"><table class="lines">{"".join(rows)}</table></div>')
    measured = "Time is shared equally among the lines of a step." if most else "Call f.profile(...) first to see the time of each line."
    return f'<p class="note">{measured}</p>{"".join(tables)}' if tables else ""


def _line_row(line: Line, steps: Sequence[StepView], seconds: float, most: float) -> str:
    links = " ".join(f'<a href="#{step.anchor}">{escape(step.name)}</a>' for step in steps)
    time = f'<td class="n">{seconds * 1e3:.3f} ms</td><td class="bar">{_bar(seconds / most)}</td>' if most else ""
    text = escape(line_text(*line)) or "<i>the text of this line is not there any more</i>"
    return f'<tr><td class="n">{line[1]}</td><td class="src">{text}</td>{time}<td class="links">{links}</td></tr>'


# -- steps


def _steps(view: ProgramView) -> str:
    most = max((s.row.seconds for s in view.steps if s.row is not None), default=0.0)
    if view.profile is not None:
        threads = f"{view.profile.threads} thread{'s' * (view.profile.threads > 1)}"
        head = f"{view.profile.seconds * 1e3:.3f} ms a call with {threads}, as f.profile() measured it."
    else:
        head = "Not measured: call f.profile(...), then explain again." if view.language == "C" else ""
    number = f"<h3>program {view.number}</h3>" if view.number else ""
    steps = "".join(_step(s, most, view.language) for s in view.steps)
    return f'{number}<p class="note">{head} Open a step to see its loops and its {view.language}.</p>{steps}'


def _step(step: StepView, most: float, language: str) -> str:
    lines = "".join(_from(*line) for line in step.lines)
    body = f'<div class="cols"><div><h4>loops</h4><pre>{escape(step.loops)}</pre></div>'
    body += f'<div><h4>{language}</h4><pre class="c">{code.marked(step.source)}</pre></div></div>' if step.source else "</div>"
    head = f'<b>{escape(step.name)}</b><span>{escape(step.what)}</span>{_measured(step, most)}'
    summary = f'<summary><div class="head">{head}</div><div class="from">{lines}</div></summary>'
    return f'<details class="step" id="{step.anchor}">{summary}{body}</details>'


def _from(file: str, line: int) -> str:
    return f'<span class="where">{escape(Path(file).name)}:{line}</span><code>{escape(line_text(file, line))}</code>'


def _measured(step: StepView, most: float) -> str:
    if step.row is None:
        return ""
    row = step.row
    rates = [f"{row.operations / row.seconds / 1e9:.1f} GFLOP/s"] if row.operations and row.seconds else []
    rates += [f"{row.moved / row.seconds / 1e9:.1f} GB/s"] if row.seconds else []
    bar = _bar(row.seconds / most if most else 0.0, f"{row.share:.1%} of all")
    numbers = f'<span class="n">{row.seconds * 1e3:.3f} ms</span><span class="n">{row.share:.1%}</span>'
    return f'{bar}{numbers}<span class="rate">{", ".join(rates)}</span>'


# -- copies and memory


def _copies(f: Function) -> str:
    """What is copied between the host and a device."""
    copies = f._compiled.copies() if f._compiled is not None else []
    rows = [(c.when, c.way, f"{c.nbytes} bytes", c.what) for c in copies]
    cells = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<table class="road">{cells}</table>' if copies else ""


def _memory(view: ProgramView) -> str:
    plan = view.loaded.plan
    apart = sum(plan.number(b.size) * _item(b) for b in plan.offsets)
    rows = [f"arena: {bytes_text(plan.arena)} for {len(plan.offsets)} values, which without sharing would take {bytes_text(apart)}"]
    outputs = ", ".join(f"{s.buffer} {bytes_text(plan.number(s.buffer.size) * _item(s.buffer))}" for s in plan.outputs)
    rows += [f"outputs, new at each call: {outputs}"] if outputs else []
    rows += [f"{len(plan.containers)} shared variables written in place, {len(plan.copies)} copied at the end"] if plan.containers else []
    return f'<p class="note">{escape("; ".join(rows))}.</p>' + (f'<div class="wide">{arena_picture(view)}</div>' if plan.offsets else "")


def _item(buffer: Any) -> int:
    return itemsize(buffer.dtype)


# -- graphs


def _graphs(f: Function) -> str:
    """The graph as it was written and after each stage that changed it."""
    made, before = [], list(f.roots)
    made.append(_graph("as written", before, f"{len(topological(before))} nodes", f))
    for stage in stages_of(f):
        roots = _roots_of(stage)
        if roots is None or stage.name == "graph":
            continue
        made.append(_graph(stage.name, roots, _change(before, roots), f) if roots != before else _same(stage.name))
        before = roots
    return "".join(made)


def _roots_of(stage: Stage) -> list[Expr] | None:
    """The graph that a stage made, if it made one."""
    roots = getattr(stage.made, "roots", stage.made)
    is_graph = isinstance(roots, list) and all(isinstance(r, Expr) for r in roots)
    return roots if is_graph and stage.name.split()[-1] not in ("fuse", "lower", "render") else None


def _same(name: str) -> str:
    return f'<div class="same"><b>{escape(name)}</b> <span>changed nothing</span></div>'


def _change(before: Sequence[Expr], after: Sequence[Expr]) -> str:
    """How many operations of which kind came and went."""
    old, new = (Counter(n.op.name for n in topological(roots)) for roots in (before, after))
    gone, come = old - new, new - old
    lost = ", ".join(f"−{count} {name}" for name, count in gone.most_common(8))
    won = ", ".join(f"+{count} {name}" for name, count in come.most_common(8))
    return "; ".join(filter(None, [f"{sum(old.values())} → {sum(new.values())} nodes", lost, won]))


def _graph(name: str, roots: list[Expr], said: str, f: Function) -> str:
    head = f"<summary><b>{escape(name)}</b> <span>{escape(said)}</span></summary>"
    if len(topological(roots)) <= DRAWN:
        drawing = Drawing(roots, root_labels(f) if len(roots) == len(f.roots) else [], NODES)
        return f'<details class="graph">{head}<div class="wide">{drawing.element(styled=False)}</div></details>'
    lines = (debugprint(roots, file="str") or "").splitlines()
    more = [f"... {len(lines) - LISTED} lines more: debugprint shows them"] if len(lines) > LISTED else []
    text = escape("\n".join([*lines[:LISTED], *more]))
    return f'<details class="graph">{head}<pre>{text}</pre></details>'


# -- C


def _c_texts(view: ProgramView) -> str:
    """What the steps share: the entry, the texts of kernels, the scalar functions. The functions stand at their steps."""
    steps = view.loaded.lowered.steps
    lines = sum(len(text.splitlines()) for text in view.loaded.text)
    if view.language == "C":
        texts = {"the entry, which runs the steps": code.entry(view.loaded.text), **code.kernel_texts(steps)}
    else:
        texts = {"kernels/cuda/prelude.cuh, in front": kernel_source("cuda/prelude.cuh"), **code.kernel_texts(steps, "cuda")}
    texts["kernels/c/scalar.h, in every unit"] = kernel_source("c/scalar.h")
    body = "".join(_c_text(name, text) for name, text in texts.items())
    where = "f.source is the whole text; the functions of the steps stand at the steps"
    return f'<p class="note">{lines} lines of {view.language} in {len(view.loaded.text)} units; {where}.</p>{body}'


def _c_text(name: str, text: str) -> str:
    summary = f"<summary><b>{escape(name)}</b> <span>{len(text.splitlines())} lines</span></summary>"
    return f'<details>{summary}<pre class="c">{code.marked(text)}</pre></details>'
