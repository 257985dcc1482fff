"""The garbage collector of Python, kept out of walks that make very many nodes."""

from __future__ import annotations

import gc


class collector_paused:
    """A block in which Python looks for no cycles.

    It would look through all nodes again and again while a graph grows, for nothing: every node is alive. That took a third of the time
    of `grad` on a graph of 40,000 nodes, and made the time per node grow with the graph. Blocks may be nested; one begun where the
    collector was off leaves it off.
    """

    __slots__ = ("on",)

    def __enter__(self) -> None:
        self.on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self.on:
            gc.enable()
