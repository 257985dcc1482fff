"""exprc on a GPU beside PyTorch and JAX, in parts of at most eight minutes, with one table at the end.

    python -m benchmarks.gpu --report FOLDER               all parts, one after the other
    python -m benchmarks.gpu --report FOLDER --part 1      one of them; what the report has already is not measured again
    python -m benchmarks.gpu --report FOLDER --quick       fewer rounds, fewer peers, smaller arrays

Parts 1 and 2 are training steps, 3 the outputs of networks, 4 formulas and reductions over 10^8 elements, 5 matrix products and
convolutions. Each case is a process of its own, in which the programs take turns; their results must agree with ours. Numbers are in
FOLDER/report.json, the tables in FOLDER/gpu.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu_check import Check, carry_out, case, kept, options
from exprc.runtime.cache import atomic_write

SMALL, LARGE = ("lenet", "lenet_norm", "fc64", "fc256"), ("vgg", "resnet20")


def _nets(work: str, nets: Sequence[str], seconds: float) -> list[Check]:
    return [case(work, seconds, "--net", net, "--batch", batch) for net in nets for batch in ("128", "500")]


PARTS = {
    1: _nets("train", SMALL, 110),
    2: _nets("train", LARGE, 150),
    3: _nets("infer", (*SMALL, *LARGE), 60),
    4: [case("bandwidth", 200)],
    5: [case("products", 200)],
}

#: The columns of the table of networks, and the programs whose times they are.
PROGRAMS = (
    "exprc", "PyTorch eager", "PyTorch compile", "PyTorch graph", "JAX jit", "JAX scan",
    "PyTorch graph TF32", "PyTorch compile TF32", "JAX jit TF32",
)  # fmt: skip


def tables(numbers: Mapping[str, float]) -> str:
    """Return the tables of a report as Markdown, from the numbers of all cases."""
    cases = dict.fromkeys(name.split(":")[0] for name in numbers if name.startswith(("train ", "infer ")))
    head = ["µs a step, float32", "launches", "floor: FLOP", "floor: bytes", *PROGRAMS, "best peer in float32 / exprc"]
    lines = _lines(head, [_row(case, numbers) for case in cases])
    rest = [[name, f"{value:.4g}"] for name, value in numbers.items() if not name.startswith(("train ", "infer "))]
    told = "Times are medians over rounds in which the programs took turns; a ratio above 1: exprc is faster. Floors are the operations"
    told += " and the fewest bytes of a step over the rates of the data sheet (66.9 TFLOP/s in float32, 4.8 TB/s)."
    return "\n".join([told, "", *lines, "", *_lines(["", ""], rest)]) + "\n"


def _row(case: str, numbers: Mapping[str, float]) -> list[str]:
    values = [numbers.get(f"{case}: {name}") for name in ("launches", "floor FLOP, us", "floor bytes, us", *(f"{p}, us" for p in PROGRAMS))]
    ratios = [r for p in PROGRAMS[1:] if "TF32" not in p and (r := numbers.get(f"{case}: {p} / exprc")) is not None]
    return [case, *("" if v is None else f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in values), f"{min(ratios):.2f}" if ratios else ""]


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] + ["---:"] * (len(head) - 1), *rows)]


def _quick(check: Check) -> Check:
    return check._replace(name=f"{check.name} --quick", command=(*check.command, "--quick"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the tables; the exit status is 0 where all is well, 1 where something failed, 2 without a device."""
    parser = options("gpu", __doc__ or "", PARTS)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer peers, smaller arrays: to see whether everything runs")
    parser.add_argument("--only", metavar="WORDS", help="only the cases whose names have all of these words: 'lenet 128'")
    asked = parser.parse_args(arguments)
    wanted = {k: [c for c in part if set((asked.only or "").split()) <= set(c.name.split())] for k, part in PARTS.items()}
    status = carry_out({k: [_quick(c) if asked.quick else c for c in part] for k, part in wanted.items()}, asked, resumes=True)
    if status != 2:
        _write(asked.report)
    return status


def _write(folder: Path) -> None:
    text = tables({name: value for part in PARTS for result in kept(folder, part) for name, value in result.numbers.items()})
    atomic_write(folder / "gpu.md", text.encode())
    print(text)


if __name__ == "__main__":
    sys.exit(main())
