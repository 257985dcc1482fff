"""The roofline picture of a run: what each case reached, below what the machine can do at its number of operations a byte.

Across: operations for each byte that must be moved (the inputs; of networks also the weights). Up: operations a second. Both logarithmic.
The roof is the bandwidth of memory, then the FMA peak, as the run itself measured them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from exprc.seeing.svg import escape

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 300, 40, 60
#: Decades: operations a byte, GFLOP/s.
ACROSS, UP = (-1, 4), (0, 3)
COLOURS = {"train": "#1b6ca8", "infer": "#2e8b57", "arrays": "#b5541c"}
KINDS = {"train": "training step", "infer": "output of a network", "arrays": "work on arrays"}


def x_of(intensity: float) -> float:
    return LEFT + (math.log10(intensity) - ACROSS[0]) / (ACROSS[1] - ACROSS[0]) * (WIDTH - LEFT - RIGHT)


def y_of(gflops: float) -> float:
    return HEIGHT - BOTTOM - (math.log10(gflops) - UP[0]) / (UP[1] - UP[0]) * (HEIGHT - TOP - BOTTOM)


def text(x: float, y: float, what: str, anchor: str = "start", size: int = 12, fill: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(what)}</text>'


def line(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def picture(results: Mapping[str, Any]) -> str:
    """Return the picture as SVG that needs nothing from elsewhere."""
    calibration = results["calibration"]
    peak, bandwidth = (fmean(calibration[when][key] for when in ("before", "after")) for key in ("gflops", "gbytes"))
    parts = [*axes(), *roof(peak, bandwidth), *dots(results["cases"])]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    title = f"exprc on the CPU, {results['machine']['threads']} thread(s), {results['machine']['date']}"
    return "\n".join([head, f"<title>{escape(title)}</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
                      text(LEFT, TOP - 16, title, size=14), *parts, "</svg>", ""])  # fmt: skip


def axes() -> Iterator[str]:
    for decade in range(ACROSS[0], ACROSS[1] + 1):
        x = x_of(10.0**decade)
        yield line([(x, y_of(10.0 ** UP[0])), (x, y_of(10.0 ** UP[1]))], "#ddd", 1)
        yield text(x, HEIGHT - BOTTOM + 18, f"{10.0**decade:g}", "middle")
    for decade in range(UP[0], UP[1] + 1):
        y = y_of(10.0**decade)
        yield line([(x_of(10.0 ** ACROSS[0]), y), (x_of(10.0 ** ACROSS[1]), y)], "#ddd", 1)
        yield text(LEFT - 8, y + 4, f"{10.0**decade:g}", "end")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 42, "operations a byte", "middle")
    yield text(LEFT - 8, TOP - 2, "GFLOP/s", "end", 11)


def roof(peak: float, bandwidth: float) -> Iterator[str]:
    corner = peak / bandwidth
    low = max(10.0 ** ACROSS[0], 10.0 ** UP[0] / bandwidth)
    yield line([(x_of(low), y_of(low * bandwidth)), (x_of(corner), y_of(peak)), (x_of(10.0 ** ACROSS[1]), y_of(peak))], "#333", 2)
    yield text(x_of(10.0 ** ACROSS[1]) - 4, y_of(peak) - 6, f"FMA peak {peak:.0f} GFLOP/s", "end", 11)
    yield text(x_of(low) + 34, y_of(low * bandwidth) + 4, f"memory {bandwidth:.0f} GB/s", "start", 11)


def dots(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A numbered dot for each case, and beside the picture what the numbers mean."""
    shown = [case for case in cases if case["flops"] > 1000]  # not a call
    for k, case in enumerate(shown, 1):
        rate = case["flops"] / median(r["median"] for r in case["programs"]["exprc"]["rounds"]) / 1e9
        x, y = x_of(min(max(case["flops"] / case["bytes"], 10.0 ** ACROSS[0]), 10.0 ** ACROSS[1])), y_of(max(rate, 10.0 ** UP[0]))
        colour = COLOURS[case["work"]]
        name = case["title"] if case["work"] == "arrays" else f"{case['net']}, {case['batch']}"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(name)}: {rate:.1f} GFLOP/s</title></circle>'
        yield text(x + 6, y + 4, str(k), size=10, fill=colour)
        yield text(WIDTH - RIGHT + 20, TOP + 8 + 12 * k, f"{k}  {name}: {rate:.0f}", size=9, fill=colour)
    for k, (kind, what) in enumerate(KINDS.items()):
        yield text(LEFT + 12, TOP + 18 + 16 * k, f"● {what}", size=12, fill=COLOURS[kind])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description="The picture of a run, from its cpu.json.")
    parser.add_argument("json", type=Path)
    sys.stdout.write(picture(json.loads(parser.parse_args().json.read_text(encoding="utf-8"))))
