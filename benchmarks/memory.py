"""The memory of a training step: what its plan says, and how the process grows over many calls.

Run as a program it measures in its own process and prints JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import nets
from benchmarks.turns import ROOT, Failed, environment

#: Calls before the first look: pools and arenas are full then.
SETTLED = 100


def resident() -> int:
    """Return the bytes of this process that are in memory; where the system does not tell, the most there ever were."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def planned(explained: str) -> dict[str, int]:
    """Read the arena's size, its buffers and its size without sharing from ``f.explain(verbose=True)``."""
    arena = re.search(r"arena: (\d+) bytes, (\d+) buffers", explained)
    unshared = re.search(r"without sharing it would be (\d+) bytes", explained)
    if arena is None or unshared is None:
        raise ValueError("explain(verbose=True) has no memory stage that can be read")
    return {"arena": int(arena[1]), "buffers": int(arena[2]), "unshared": int(unshared[1])}


def grown(net: nets.Net, batch: int, calls: int) -> dict[str, Any]:
    """Take `calls` steps; return the plan's numbers and [calls, bytes] pairs."""
    from benchmarks.exprc_step import Exprc
    from exprc.runtime import cpu

    task = nets.digits_task(net, batch, 4)
    stepper = Exprc(task, cpu.thread_count())
    looks = {SETTLED, *(calls * k // 10 for k in range(1, 11))}
    rows = []
    for k in range(1, calls + 1):
        stepper.step(k % len(task.labels))
        if k in looks:
            rows.append([k, resident()])
    parameters = sum(p.nbytes for p in task.parameters)
    return {**planned(stepper.function.explain(verbose=True)), "parameters": parameters, "resident": rows}


def asked(net: nets.Net, batch: int, calls: int, threads: int) -> dict[str, Any]:
    """Measure in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", "--net", net.name, "--batch", str(batch), "--calls", str(calls)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment({"EXPRC_THREADS": str(threads)}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"the memory measurement ended with {done.returncode}:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--net", choices=list(nets.NETS), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--calls", type=int, default=10_000)
    args = parser.parse_args()
    print(json.dumps(grown(nets.NETS[args.net], args.batch, args.calls)))


if __name__ == "__main__":
    main()
