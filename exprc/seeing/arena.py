"""The memory plan as a picture: which part of the arena holds which value, from step to step."""

from __future__ import annotations

from exprc.errors import bytes_text
from exprc.loops import Barrier, Copy
from exprc.schedule.plan import Plan
from exprc.seeing.drawing import place_rows
from exprc.seeing.steps import ProgramView
from exprc.seeing.svg import escape
from exprc.types import itemsize

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 900.0, 320.0, 72.0, 8.0, 26.0
_TINTS = 6


def spans(view: ProgramView) -> tuple[list[str], dict[object, tuple[int, int]]]:
    """Return the names of the steps, and for each buffer of the arena the first and the last step that touch it."""
    names: list[str] = []
    found: dict[object, tuple[int, int]] = {}
    offsets = view.loaded.plan.offsets
    for step in view.loaded.lowered.steps:
        if isinstance(step, Barrier):
            continue
        for buffer in (step.source, step.target) if isinstance(step, Copy) else step.buffers:
            if buffer in offsets:
                found[buffer] = (found.get(buffer, (len(names), 0))[0], len(names))
        names.append("copy" if isinstance(step, Copy) else step.name)
    return names, found


def arena_picture(view: ProgramView) -> str:
    """Return an ``<svg>``: steps from left to right, bytes of the arena from bottom to top."""
    plan = view.loaded.plan
    names, alive = spans(view)
    wide, tall = (_WIDTH - _LEFT) / max(len(names), 1), (_HEIGHT - _TOP - _BOTTOM) / max(plan.arena, 1)
    stored: dict[object, object] = {s.buffer: node for node, s in plan.stored.items()}
    made = []
    for k, (buffer, (first, last)) in enumerate(sorted(alive.items(), key=lambda item: plan.offsets[item[0]])):  # type: ignore[index]
        size = plan.number(buffer.size) * itemsize(buffer.dtype)  # type: ignore[attr-defined]
        x, w = _LEFT + first * wide, (last - first + 1) * wide
        y, h = _HEIGHT - _BOTTOM - (plan.offsets[buffer] + size) * tall, max(size * tall, 1.0)  # type: ignore[index]
        title = "\n".join([f"{buffer}: {bytes_text(size)}, from {names[first]} to {names[last]}", *_said(stored.get(buffer))])
        label = f'<text x="{x + w / 2:.1f}" y="{y + h / 2 + 4:.1f}">{escape(str(buffer))}</text>' if h > 13 and w > 22 else ""
        rect = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w - 1, 1):.1f}" height="{h:.1f}" rx="2"/>'
        made.append(f'<g class="m{k % _TINTS}"><title>{escape(title)}</title>{rect}{label}</g>')
    head = f'<svg class="arena" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="the arena over the steps">'
    return "\n".join([head, *_axes(plan, names, wide), *made, "</svg>"])


def _said(node: object) -> list[str]:
    if node is None:
        return ["partial results of a reduction"]
    return [f"{node.op.name}  {node.type}", *place_rows(node)]  # type: ignore[attr-defined, arg-type]


def _axes(plan: Plan, names: list[str], wide: float) -> list[str]:
    base = _HEIGHT - _BOTTOM
    made = [f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{_WIDTH}"/>']
    for part in range(5):
        y = base - (base - _TOP) * part / 4
        made.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH}"/>')
        made.append(f'<text class="y" x="{_LEFT - 6}" y="{y + 4:.1f}">{bytes_text(plan.arena * part / 4)}</text>')
    every = max(1, int(34 // wide) + 1) if wide < 34 else 1
    for k in range(0, len(names), every):
        made.append(f'<text x="{_LEFT + (k + 0.5) * wide:.1f}" y="{_HEIGHT - 8}">{escape(names[k])}</text>')
    return made
