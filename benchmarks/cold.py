"""The cold start: function() and the first call with an empty cache, each time in a fresh process.

Run as a program it measures one start with the cache that ``EXPRC_CACHE`` names, and prints JSON. Importing exprc and
building the expressions are not counted; looking for the compiler and trying its OpenMP are.
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
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.turns import ROOT, Failed, environment


def start(net_name: str, batch: int) -> dict[str, Any]:
    """Time one start in this process."""
    import exprc
    from benchmarks import nets
    from benchmarks.exprc_step import training_step

    net = nets.NETS[net_name]
    images, labels = random_batch(net, batch)
    compiled: list[float] = []
    make, exprc.function = exprc.function, lambda *args, **named: clocked_function(make, compiled, *args, **named)
    function, _ = training_step(net, batch)
    begin = time.perf_counter()
    function(images, labels)
    call = time.perf_counter() - begin
    stages = {line.split()[0]: line for line in function.explain().splitlines()[1:]}
    return {"function": compiled[0], "call": call, "lines": function.source.count("\n"), "load": stages["load"].split(maxsplit=3)[1:3]}


def clocked_function(make: Any, seconds: list[float], *args: Any, **named: Any) -> Any:
    begin = time.perf_counter()
    function = make(*args, **named)
    seconds.append(time.perf_counter() - begin)
    return function
