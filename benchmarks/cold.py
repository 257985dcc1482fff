"""The cold start: function() and the first call with an empty cache, each time in a fresh process.

Run as a program it measures one start, with the cache that ``EXPRC_CACHE`` names, and prints JSON. Importing exprc and
writing the expressions are not counted; looking for the compiler and trying its OpenMP count as part of function().
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import nets
from benchmarks.turns import ROOT, Failed, environment


def start(net: nets.Net, batch: int) -> dict[str, Any]:
    """Time one start in this process."""
    from benchmarks.exprc_step import training_step

    task = nets.digits_task(net, batch, 1)
    seconds: dict[str, Any] = {}
    step = clocked(seconds, "expressions", lambda: training_step(net, batch))
    function = clocked(seconds, "function", lambda: step.compile(f"{net.name} step"))
    clocked(seconds, "call", lambda: function(task.images[0], task.labels[0]))
    lines = function.source.count("\n") + 1
    return {**seconds, "total": seconds["function"] + seconds["call"], "lines": lines, "stages": function.explain()}


def clocked(seconds: dict[str, Any], name: str, work: Callable[[], Any]) -> Any:
    begin = time.perf_counter()
    made = work()
    seconds[name] = time.perf_counter() - begin
    return made


# -- the driver's end


def starts(net: nets.Net, batch: int, times: int) -> list[dict[str, Any]]:
    """Measure `times` cold starts; beside each a warm one, and what the compiler alone takes for the same text."""
    return [one(net, batch) for _ in range(times)]


def one(net: nets.Net, batch: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="exprc-cold-") as cache:
        cold = asked(net, batch, cache)
        texts = [path.read_text(encoding="utf-8") for path in sorted(Path(cache).glob("programs/*/unit*.c"))]
        warm = asked(net, batch, cache)
        found = len(list(Path(cache).glob("programs/*"))) == 1
    return {**cold, "warm": warm["total"], "found": found, **compiler_alone(texts)}


def asked(net: nets.Net, batch: int, cache: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.cold", "--net", net.name, "--batch", str(batch)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment({"EXPRC_CACHE": cache}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"the cold start ended with {done.returncode}:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compiler_alone(texts: list[str]) -> dict[str, Any]:
    """Compile the texts with the flags and the parallelism of exprc; return wall and processor seconds."""
    from exprc.runtime import compiler, cpu

    target = cpu.host_target()
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="exprc-cold-") as folder:
        compiler.compile_shared(texts, target, Path(folder))
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"compiler": wall, "compiler_processor": processor, "units": len(texts)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--net", choices=list(nets.NETS), required=True)
    parser.add_argument("--batch", type=int, required=True)
    args = parser.parse_args()
    print(json.dumps(start(nets.NETS[args.net], args.batch)))


if __name__ == "__main__":
    os.environ.setdefault("EXPRC_CACHE", tempfile.mkdtemp(prefix="exprc-cold-"))
    main()
