"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from benchmarks.nets import KEPT_SHARE, NETS, Conv

#: A peak that moved by more between before and after belongs to a machine that was not quiet.
DRIFT = 0.1
#: Cold starts that the project promises, in seconds.
COLD_GOAL = {"fc64": 0.9, "lenet": 1.2}

Results = Mapping[str, Any]


def markdown(results: Results) -> str:
    """Return the header, the tables of networks, of work on arrays and of other networks, the checks, the cold starts and the memory."""
    parts = [header(results), steps(results), array_work(results), others(results), checks(results), cold_starts(results), memory(results)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows; the first two columns are words, the others numbers."""
    widths = [max(len(row[k]) for row in [titles, *rows]) for k in range(len(titles))]

    def line(row: Sequence[str]) -> str:
        cells = (f"{c:<{w}}" if k < 2 else f"{c:>{w}}" for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        return f"| {' | '.join(cells)} |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if k < 2 else ":") for k, w in enumerate(widths)) + "|"
    return [line(titles), rule, *(line(row) for row in rows)]


# -- what ran where


def header(results: Results) -> list[str]:
    machine = results["machine"]
    how = results["settings"]
    lines = [f"# exprc and its peers on the CPU, {machine['date']}", ""]
    lines += [f"* {name}: {shown(value)}" for name, value in machine.items() if name != "date"]
    lines += [f"* {how['rounds']} rounds, a turn of {how['seconds']:g} s to each program after its warm-up"]
    lines += list(calibrated(results["calibration"]))
    lines += ["", *programs(results["cases"])]
    return lines


def shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "none"
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


def calibrated(calibration: Results) -> Iterator[str]:
    for key, what in (("gflops", "FMA peak, {:.1f} GFLOP/s"), ("gbytes", "memory (triad), {:.1f} GB/s")):
        before, after = calibration["before"][key], calibration["after"][key]
        moved = abs(before - after) > DRIFT * max(before, after)
        warning = "  **the machine was not quiet: measure again**" if moved else ""
        yield f"* {what.format(before)} before, {after:.1f} after{warning}"


def programs(cases: Sequence[Results]) -> Iterator[str]:
    """Say once for each program with what settings it ran."""
    seen: dict[str, str] = {}
    for case in cases:
        for name, row in case["programs"].items():
            extra = {"environment": shown(row["environment"])} if row["environment"] else {}
            text = "; ".join(f"{k}: {v}" for k, v in {**row["settings"], **extra}.items())
            if seen.setdefault(name, text) != text:
                seen[f"{name} ({case['work']} {case['net']} {case['batch']})"] = text
    yield from (f"* **{name}**: {text}" for name, text in seen.items())


# -- training steps

STEP_TITLES = (
    "network, batch", "program", "ms a step", "min-max", "samples/s", "GFLOP/s", "of peak", "exprc is faster", "min-max", "goal",
)  # fmt: skip


def steps(results: Results) -> list[str]:
    rows = [row for case in of_kind(results, "train", "infer") if not is_other(case) for row in case_rows(case, peak_of(results))]
    notes = [
        "ms: median of the rounds' medians, and the least and greatest of them.",
        "GFLOP/s count convolutions and dense layers only.",
        "exprc is faster: a program's time divided by that of exprc in the same round; median, least and greatest.",
    ]
    return ["## Networks", "", *table(STEP_TITLES, rows), "", *notes]


def of_kind(results: Results, *kinds: str) -> list[Results]:
    return [case for case in results["cases"] if case["work"] in kinds]


def is_other(case: Results) -> bool:
    """Whether a network is none of the table that exprc was tuned on."""
    return str(case["net"]).startswith("other")


def peak_of(results: Results) -> float:
    """GFLOP/s of the machine in the run: the mean of before and after."""
    return fmean(results["calibration"][when]["gflops"] for when in ("before", "after"))


def case_rows(case: Results, peak: float) -> Iterator[list[str]]:
    ours = medians(case["programs"]["exprc"])
    for name, row in case["programs"].items():
        times = medians(row)
        seconds = median(times)
        rate = case["flops"] / seconds / 1e9
        what = f"{case['work']} {case['net']}, {case['batch']}"
        time = [f"{seconds * 1e3:.3f}", spread([t * 1e3 for t in times], 3)]
        work = [f"{case['batch'] / seconds:,.0f}", f"{rate:.1f}", f"{rate / peak:.0%}"]
        yield [what, name, *time, *work, *compared(ours, times, row["goal"] if name != "exprc" else None, name)]


ARRAY_TITLES = ("work", "program", "ms", "min-max", "GFLOP/s", "of peak", "exprc is faster", "min-max", "goal")


def array_work(results: Results) -> list[str]:
    rows = [row for case in of_kind(results, "arrays") for row in array_rows(case, peak_of(results))]
    notes = [
        "GFLOP/s: a function of one number, such as exp, counts as 20 operations. The share of the peak is that of products.",
    ]
    return ["## Work on arrays", "", *(table(ARRAY_TITLES, rows) if rows else ["nothing ran"]), "", *notes]


def array_rows(case: Results, peak: float) -> Iterator[list[str]]:
    ours = medians(case["programs"]["exprc"])
    for name, row in case["programs"].items():
        times = medians(row)
        seconds = median(times)
        digits = 3 if seconds > 1e-4 else 6
        rate = case["flops"] / seconds / 1e9
        share = f"{rate / peak:.0%}" if case["products"] else ""
        time = [f"{seconds * 1e3:.{digits}f}", spread([t * 1e3 for t in times], digits)]
        yield [case["title"], name, *time, f"{rate:.1f}", share, *compared(ours, times, row["goal"] if name != "exprc" else None, name)]


OTHER_TITLES = ("network", "batch", "ms a step", "GFLOP/s", "of peak", "of the table's share", "PyTorch tuned / exprc", "goal")


def others(results: Results) -> list[str]:
    """The shares of the peak of networks unlike the table's, beside the median of the table's that are made of the same."""
    peak = peak_of(results)
    rows = []
    for case in filter(is_other, results["cases"]):
        shares = [share_of(c, peak) for c in of_kind(results, "train") if not is_other(c) and made_of(c) == made_of(case)]
        share = share_of(case, peak)
        part = share / median(shares) if shares else None
        ratio = [median(b / a for a, b in zip(medians(case["programs"]["exprc"]), medians(row), strict=True))
                 for name, row in case["programs"].items() if name != "exprc"]  # fmt: skip
        kept = "" if part is None else f"{KEPT_SHARE:.0%} {'met' if part >= KEPT_SHARE else 'MISSED'}"
        seconds = median(medians(case["programs"]["exprc"]))
        rows.append([
            case["title"], str(case["batch"]), f"{seconds * 1e3:.3f}", f"{case['flops'] / seconds / 1e9:.1f}", f"{share:.0%}",
            "" if part is None else f"{part:.0%}", f"{ratio[0]:.2f}x" if ratio else "", kept,
        ])  # fmt: skip
    notes = ["The table's share: the median of the training steps above, of networks made of the same: dense layers, convolutions, or",
             "convolutions with batch normalisation. (The median: filters of 3 x 3 between many channels exceed the peak.)"]  # fmt: skip
    return ["## Networks unlike the table's", "", *(table(OTHER_TITLES, rows) if rows else ["none ran"]), "", *notes]


def share_of(case: Results, peak: float) -> float:
    return float(case["flops"]) / median(medians(case["programs"]["exprc"])) / 1e9 / peak


def made_of(case: Results) -> tuple[bool, bool]:
    """Whether a network has convolutions, and whether it has batch normalisation."""
    layers = NETS[case["net"]].layers
    return any(isinstance(layer, Conv) for layer in layers), any(getattr(layer, "norm", False) for layer in layers)


def medians(row: Results) -> list[float]:
    return [r["median"] for r in row["rounds"]]


def spread(values: Sequence[float], digits: int) -> str:
    return f"{min(values):.{digits}f}-{max(values):.{digits}f}"


def compared(ours: Sequence[float], theirs: Sequence[float], goal: float | None, name: str) -> list[str]:
    if name == "exprc":
        return ["", "", ""]
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return [f"{median(ratios):.2f}x", spread(ratios, 2), judged(median(ratios), goal)]


def judged(ratio: float, goal: float | None) -> str:
    return "" if goal is None else f"{goal:g}x {'met' if ratio >= goal else 'MISSED'}"


# -- the same numbers, the cold start, the memory


CHECK_TITLES = ("network, batch", "program", "loss, relative", "parameters", "agrees")


def checks(results: Results) -> list[str]:
    allowed = results["tolerance"]
    rows = [
        [case["title"] if case["work"] == "arrays" else f"{case['work']} {case['net']}, {case['batch']}", name, *check_cells(check)]
        for case in results["cases"]
        for name, check in case["checks"].items()
    ]
    what = f"losses of steps 1 to {results['checked']} and parameters after them"
    what += ", relative to the greatest or 1; of work on arrays, all results"
    note = f"The greatest difference from exprc, {what}; allowed: {allowed['loss']:g} and {allowed['parameters']:g}"
    note += f", {allowed['winograd']:g} times as far for networks with filters of 3 x 3 or 5 x 5."
    return ["## The same numbers", "", *(table(CHECK_TITLES, rows) if rows else ["no peers ran"]), "", note]


def check_cells(check: Results) -> list[str]:
    return [f"{check['loss']:.1e}", f"{check['parameters']:.1e}", "yes" if check["agrees"] else "NO"]


COLD_TITLES = (
    "network, batch", "units", "lines of C", "function()", "first call", "cold start", "min-max",
    "compiler alone", "its CPU time", "warm start", "goal",
)  # fmt: skip


def cold_starts(results: Results) -> list[str]:
    rows = [cold_row(entry) for entry in results["cold"]]
    notes = [
        "Seconds; medians. Cold start: function() and the first call with an empty cache, in a fresh process.",
        "Compiler alone: the same text, flags and parallelism.",
        "Warm start: a second process with the same cache; NOT FOUND where it wrote another text.",
    ]
    return ["## Cold start", "", *table(COLD_TITLES, rows), "", *notes]


def cold_row(entry: Results) -> list[str]:
    starts = entry["starts"]

    def middle(key: str) -> float:
        return median(s[key] for s in starts)

    goal = COLD_GOAL.get(entry["net"])
    met = "" if goal is None else f"{goal:g} s {'met' if middle('total') <= goal else 'MISSED'}"
    times = [f"{middle(key):.2f}" for key in ("function", "call", "total")]
    alone = [f"{middle(key):.2f}" for key in ("compiler", "compiler_processor")]
    warm = f"{middle('warm'):.2f}" if all(s["found"] for s in starts) else "NOT FOUND"
    text = [str(starts[0]["units"]), f"{starts[0]['lines']:,}"]
    totals = spread([s["total"] for s in starts], 2)
    return [f"{entry['net']}, {entry['batch']}", *text, *times, totals, *alone, warm, met]


MEMORY_TITLES = (
    "network, batch", "buffers", "arena MiB", "without sharing MiB", "parameters MiB", "process MiB", "calls", "growth KiB",
)  # fmt: skip


def memory(results: Results) -> list[str]:
    rows = [memory_row(entry) for entry in results["memory"]]
    notes = [
        "Arena: what the plan says. Process: resident after the last call.",
        "Growth: since the first look, when the arena was in use.",
    ]
    return ["## Memory of a training step", "", *table(MEMORY_TITLES, rows), "", *notes]


def memory_row(entry: Results) -> list[str]:
    (first, before), (last, after) = entry["resident"][0], entry["resident"][-1]
    sizes = [f"{entry[key] / 2**20:.2f}" for key in ("arena", "unshared", "parameters")]
    grown = f"{(after - before) / 1024:.0f}"
    return [f"{entry['net']}, {entry['batch']}", str(entry["buffers"]), *sizes, f"{after / 2**20:.1f}", f"{first} to {last}", grown]
