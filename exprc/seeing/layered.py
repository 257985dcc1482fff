"""Layered layout: where the boxes and lines of a graph go, every box below the boxes that it uses.

The road of Sugiyama, Tagawa, Toda (1981): boxes get layers, long lines get a bend in each layer that they cross, each layer is put in
an order with few crossings, and then every box as near to its neighbours as the order allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]

#: Space between boxes of a layer, between a box and a line, and between layers.
GAP, LINE_GAP, LAYER_GAP = 18.0, 12.0, 34.0
_ORDER_SWEEPS, _PLACE_SWEEPS = 10, 12
_STRAIGHT = 6.0  # how much more a bend in a long line counts than a box beside its neighbour


@dataclass
class Placed:
    """centres : of the boxes. lines : (source, target box or None, its points). width, height : of the whole picture."""

    centres: list[Point]
    lines: list[tuple[int, int | None, list[Point]]]
    width: float
    height: float


@dataclass
class _Layers:
    """The graph with bends: boxes first, then bends; `links` join neighbouring layers, `owner` is the box that a bend's line starts at."""

    layer: list[int]
    owner: list[int]
    links: list[tuple[int, int]] = field(default_factory=list)
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)


def place(boxes: Sequence[Point], inputs: Sequence[Sequence[int]]) -> Placed:
    """Lay out a graph.

    Parameters
    ----------
    boxes : (width, height) of each box; a box comes after those that it uses.
    inputs : for each box the numbers of the boxes that it uses.

    Examples
    --------
    >>> placed = place([(40, 20), (40, 20), (60, 20)], [[], [], [0, 1]])
    >>> [x for x, _ in placed.centres], placed.centres[2][1] > placed.centres[0][1]
    ([20.0, 78.0, 49.0], True)
    """
    graph = _with_bends(_layer_numbers(inputs), inputs)
    rows = _order(graph)
    wide = [boxes[n][0] if n < len(boxes) else 0.0 for n in range(len(graph.layer))]
    xs = _columns(graph, rows, wide)
    tall = [max((boxes[n][1] for n in row if n < len(boxes)), default=0.0) for row in rows]
    ys = [sum(tall[:k]) + LAYER_GAP * k + tall[k] / 2 for k in range(len(rows))]
    points = [(xs[n], ys[graph.layer[n]]) for n in range(len(xs))]
    width = max((x + w / 2 for x, w in zip(xs, wide)), default=0.0)
    return Placed(points[: len(boxes)], _lines(graph, boxes, points, tall), width, sum(tall) + LAYER_GAP * max(len(rows) - 1, 0))


# -- layers


def _layer_numbers(inputs: Sequence[Sequence[int]]) -> list[int]:
    """Give each box the first layer that it can be in; then let those whose inputs serve nothing else sink to their users."""
    layer = [0] * len(inputs)
    users: list[set[int]] = [set() for _ in inputs]
    for box, used in enumerate(inputs):
        layer[box] = 1 + max((layer[i] for i in used), default=-1)
        for i in used:
            users[i].add(box)
    for box in reversed(range(len(inputs))):
        if users[box] and all(len(users[i]) == 1 for i in inputs[box]):
            layer[box] = min(layer[u] for u in users[box]) - 1
    return layer


def _with_bends(layer: list[int], inputs: Sequence[Sequence[int]]) -> _Layers:
    """Put one bend into each layer between a box and its last user; all lines from the box share them."""
    graph = _Layers(list(layer), list(range(len(layer))))
    last = list(layer)
    for box, used in enumerate(inputs):
        for i in used:
            last[i] = max(last[i], layer[box])
    trunk: list[list[int]] = []
    for box in range(len(inputs)):
        bends = range(len(graph.layer), len(graph.layer) + max(0, last[box] - layer[box] - 1))
        graph.layer += [layer[box] + 1 + k for k in range(len(bends))]
        graph.owner += [box] * len(bends)
        trunk.append([box, *bends])
        graph.links += list(zip(trunk[box], trunk[box][1:]))
    for box, used in enumerate(inputs):
        graph.links += [(trunk[i][layer[box] - layer[i] - 1], box) for i in dict.fromkeys(used)]
    graph.above, graph.below = [[] for _ in graph.layer], [[] for _ in graph.layer]
    for a, b in graph.links:
        graph.above[b].append(a)
        graph.below[a].append(b)
    return graph


# -- order


def _order(graph: _Layers) -> list[list[int]]:
    """Sort each layer by the mean place of its neighbours in the layer above, then below, a few times over."""
    rows: list[list[int]] = [[] for _ in range(max(graph.layer, default=-1) + 1)]
    for n in sorted(range(len(graph.layer)), key=lambda n: graph.owner[n]):
        rows[graph.layer[n]].append(n)
    at = [0.0] * len(graph.layer)
    for row in rows:
        _number(row, at)
    for sweep in range(_ORDER_SWEEPS):
        neighbours = graph.below if sweep % 2 else graph.above
        for row in reversed(rows) if sweep % 2 else rows:
            mean = {n: sum(at[m] for m in neighbours[n]) / len(neighbours[n]) if neighbours[n] else at[n] for n in row}
            row.sort(key=mean.__getitem__)
            _number(row, at)
    return rows


def _number(row: list[int], at: list[float]) -> None:
    """Places from 0 to 1, so that rows of different lengths can be compared."""
    for k, n in enumerate(row):
        at[n] = (k + 0.5) / len(row)


# -- columns


def _columns(graph: _Layers, rows: list[list[int]], wide: list[float]) -> list[float]:
    """Move every box towards the mean of its neighbours, as far as the order and the widths of its layer allow."""
    xs = [0.0] * len(wide)
    gaps = [[_gap(a, b, wide) for a, b in zip(row, row[1:])] for row in rows]
    for row, between in zip(rows, gaps):
        for n, x in zip(row, _apart([0.0] * len(row), between, [1.0] * len(row))):
            xs[n] = x
    for sweep in range(_PLACE_SWEEPS):
        last = sweep >= _PLACE_SWEEPS - 2
        order = range(len(rows)) if sweep % 2 == 0 else reversed(range(len(rows)))
        for k in order:
            near = [graph.above[n] * (last or sweep % 2 == 0) + graph.below[n] * (last or sweep % 2 == 1) for n in rows[k]]
            wanted = [sum(xs[m] for m in ms) / len(ms) if ms else xs[n] for n, ms in zip(rows[k], near)]
            weights = [(_STRAIGHT if wide[n] == 0 else 1.0) * max(len(ms), 0.1) for n, ms in zip(rows[k], near)]
            for n, x in zip(rows[k], _apart(wanted, gaps[k], weights)):
                xs[n] = x
    left = min((x - w / 2 for x, w in zip(xs, wide)), default=0.0)
    return [x - left for x in xs]


def _gap(a: int, b: int, wide: list[float]) -> float:
    """The least distance of two centres."""
    return (wide[a] + wide[b]) / 2 + (GAP if wide[a] and wide[b] else LINE_GAP)


def _apart(wanted: Sequence[float], gaps: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the places nearest to `wanted` (least squares) with at least these gaps: isotonic regression by pooling neighbours.

    >>> _apart([0, 0, 9], [4, 4], [1, 1, 1])
    [-2.0, 2.0, 9.0]
    """
    shifts = [0.0]
    for gap in gaps:
        shifts.append(shifts[-1] + gap)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for x, shift, weight in zip(wanted, shifts, weights):
        mean, total, count = x - shift, weight, 1
        while pools and pools[-1][0] > mean:
            before, before_total, before_count = pools.pop()
            mean = (before * before_total + mean * total) / (before_total + total)
            total, count = total + before_total, count + before_count
        pools.append((mean, total, count))
    flat = [mean for mean, _, count in pools for _ in range(count)]
    return [x + shift for x, shift in zip(flat, shifts)]


# -- lines


def _lines(
    graph: _Layers, boxes: Sequence[Point], points: list[Point], tall: list[float]
) -> list[tuple[int, int | None, list[Point]]]:
    """Return the pieces of the lines: from the bottom of a box or a bend to the next bend, or to the top of a box."""
    made: list[tuple[int, int | None, list[Point]]] = []
    ports = _ports(graph, boxes, points)
    for a, b in graph.links:
        (xa, ya), (xb, yb) = points[a], points[b]
        start = [(xa, ya + boxes[a][1] / 2)] if a < len(boxes) else [(xa, ya - tall[graph.layer[a]] / 2)]
        start += [(xa, ya + tall[graph.layer[a]] / 2)]
        to_box = b < len(boxes)
        end = [(xb, yb - tall[graph.layer[b]] / 2)] if not to_box else [(ports[a, b], yb - boxes[b][1] / 2)]
        made.append((graph.owner[a], b if to_box else None, [*start, *end]))
    return made


def _ports(graph: _Layers, boxes: Sequence[Point], points: list[Point]) -> dict[tuple[int, int], float]:
    """Where lines enter a box: beside each other, in the order in which they come."""
    found: dict[tuple[int, int], float] = {}
    for b in range(len(boxes)):
        coming = sorted(graph.above[b], key=lambda a: points[a][0])
        step = min(16.0, boxes[b][0] / (len(coming) + 1))
        for k, a in enumerate(coming):
            found[a, b] = points[b][0] + (k - (len(coming) - 1) / 2) * step
    return found
