"""``python -m tests.fuzz --graphs 100000 --seed 1 --jobs 1``: grow graphs, compare, shrink and keep what fails."""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.corpus import FOLDER, keep
from tests.fuzz.runs import Outcome, batches, run_batch, search_compilers


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--graphs", type=int, default=2000, help="how many graphs")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first; graph k has the seed SEED * 1,000,000 + k")
    parser.add_argument("--skip", type=int, default=0, help="graphs to pass over: what an interrupted run says it has done")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--batch", type=int, default=50, help="graphs in one program")
    parser.add_argument("--other", default="", help="a second compiler to compare with, by default clang if it is there; none: no other")
    parser.add_argument("--keep", type=Path, default=FOLDER, help="folder for the graphs that fail")
    return parser.parse_args(arguments)


def outcomes(asked: argparse.Namespace, other: str) -> Iterator[Outcome]:
    work = batches(asked.seed * 1_000_000 + asked.skip, asked.graphs - asked.skip, asked.batch)
    if asked.jobs == 1:
        yield from (run_batch(seeds, general, other) for seeds, general in work)
        return
    with concurrent.futures.ProcessPoolExecutor(asked.jobs) as pool:
        try:
            yield from pool.map(run_batch, *zip(*work), [other] * len(work))
        finally:
            pool.shutdown(cancel_futures=True)


def main() -> int:
    asked = options()
    other = "" if asked.other == "none" else asked.other or search_compilers()
    print(f"the second compiler: {other or 'none'}", flush=True)
    begin, total = time.monotonic(), Outcome()
    try:
        for outcome in outcomes(asked, other):
            total.join(outcome)
            for failure, general in outcome.failures:
                kept = keep(failure.graph, general, str(failure), asked.keep) if failure.graph.roots else "nothing"
                print(f"\n{failure}\nkept as {kept}", flush=True)
            done, seconds = asked.skip + total.distribution.graphs, time.monotonic() - begin
            rate = total.distribution.graphs / seconds
            left = (asked.graphs - done) / max(rate, 1e-9)
            state = f"{done}/{asked.graphs} graphs, {rate:.1f}/s, {len(total.failures)} failures, {left:.0f} s left"
            print(f"\r{state}   ", end="", flush=True)
    except KeyboardInterrupt:
        print(f"\ninterrupted; go on with --skip {asked.skip + total.distribution.graphs}")
    print(f"\n{total.distribution}\n{len(total.failures)} failures in {time.monotonic() - begin:.0f} s")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
