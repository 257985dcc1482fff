"""Alone: of two reductions of which one waits for the other, as a variance for its mean, both go over the elements at the same time.

Where reductions are cut in parts, waiting means to read the elements again and two launches more. Within a row it does not: there a second
pass takes less time than what one pass would have to work out for each element.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod

from exprc.expr import Expr, made_for, topological
from exprc.forms import Reduce
from exprc.schedule.choose import with_inputs
from exprc.schedule.sizes import Bound
from exprc.size import Dim


def alone(bound: Bound, number: Callable[[Dim], int], parts_of: Callable[[int, int, int], int]) -> Bound:
    """Return the graph with reductions that need not wait, where their records know how (`Reduce.alone`).

    number : estimates a dim. parts_of : in how many parts the target cuts a reduction, 0 for none.
    """

    def cut(node: Expr) -> bool:
        folded = [number(bound.dims[node.inputs[0]][a]) for a in node.params["axes"]]
        return bool(folded) and parts_of(prod(map(number, bound.dims[node])), prod(folded), folded[0]) > 0

    new: dict[Expr, Expr] = {}
    for node in topological(bound.roots):
        fresh = new[node] = with_inputs(node, tuple(new[i] for i in node.inputs), bound.dims)
        if isinstance(node.op, Reduce) and cut(node):
            with made_for(node):
                other = node.op.alone(fresh)
            if other is not None:
                new[node], bound.dims[other] = other, bound.dims[node]
    return dataclasses.replace(bound, roots=[new[r] for r in bound.roots])
