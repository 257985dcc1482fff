"""What a text of ``kernels/cuda`` on ``product.cuh`` can be: by threads or by matrix instructions, its products whole or in parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from exprc.forms import Hook, Implementation
from exprc.ops.tiling import Launch, matrix_serves, product_launch, product_parts, product_stages, product_tile
from exprc.size import Dim
from exprc.types import itemsize

#: The precisions with matrix instructions -> MATRIX of ``product.cuh``.
MATRIX = {"tf32": 1, "bf16": 2}

Products = Callable[[Any, Any, Any], tuple[Dim, Dim, Dim, Dim, Dim]]
Pieces = Callable[[Any, Any, Any, Mapping[str, Dim]], dict[str, Dim]]
Extents = Callable[[Mapping[str, int]], tuple[int, int, int]]
When = Callable[..., bool]


def tiled(
    base: Implementation, products: Products, extents: Extents, parts_store: Hook, pieces: Pieces | None = None
) -> tuple[Implementation, ...]:
    """Return the implementations of a text, those for a precision first, and in parts before whole.

    Parameters
    ----------
    base : the text, with its own sizes, and the hooks that store a whole product.
    products(args, outs, params) : (m, n, k, batch, unit) of the products that it forms, see `product_tile`.
    extents(values) : (m, n, batch), from its macros.
    parts_store : instead of its hook STORE_y, where it stores parts. pieces(args, outs, params, tile) : what the text says of its pieces of
        K, instead of what `product_tile` says.
    """
    precisions = [(f"{base.name}_{name}", (name,), matrix) for name, matrix in MATRIX.items()]
    return tuple(
        made
        for name, named, matrix in (*precisions, (base.name, (), 0))
        for made in _whole_and_cut(dataclasses.replace(base, name=name, precisions=named), products, extents, parts_store, pieces, matrix)
    )


def _whole_and_cut(
    base: Implementation, products: Products, extents: Extents, parts_store: Hook, pieces: Pieces | None, matrix: int
) -> tuple[Implementation, Implementation]:
    def parts(args: Any, outs: Any, params: Any, lanes: int) -> int:
        m, n, k, batch, unit = products(args, outs, params)
        return product_parts(m, n, k, batch, itemsize(args[0].dtype), matrix, unit)

    def sizes(args: Any, outs: Any, params: Any, lanes: int) -> dict[str, Dim]:
        m, n, k, batch, unit = products(args, outs, params)
        tile = product_tile(m, n, k, batch, itemsize(args[0].dtype), matrix, unit)
        own = pieces(args, outs, params, tile) if pieces else {}
        made = {**base.sizes(args, outs, params, 1), **tile, **own, "PARTS": 1}
        return {**made, "STAGES": product_stages(made, k, itemsize(args[0].dtype))}

    def serves(args: Any, outs: Any, params: Any, lanes: int) -> bool:
        return not matrix or args[0].dtype == "float32" and matrix_serves(*products(args, outs, params)[:3])

    def launch(values: Mapping[str, int], size: int) -> Launch:
        return product_launch(values, *extents(values), size)

    whole = dataclasses.replace(base, sizes=sizes, when=serves, launch=launch)
    cut = dataclasses.replace(
        whole, name=f"{base.name}_in_parts", parts=parts, absorbs=None, hooks={**base.hooks, "STORE_y": parts_store},
        sizes=lambda *given: {**sizes(*given), "PARTS": parts(*given)},
        when=lambda *given: serves(*given) and parts(*given) > 1,
    )  # fmt: skip
    return cut, whole


def by_library(
    made: Sequence[Implementation], library: str, precisions: tuple[str, ...], when: When = lambda *given: True
) -> tuple[Implementation, ...]:
    """Return the implementations of a text, those that form whole products, as a library may stand in for them.

    precisions : under which it may. when : besides when the text serves.
    """

    def serves(impl: Implementation, *given: Any) -> bool:
        return given[0][0].dtype in ("float32", "float64") and impl.when(*given) and when(*given)

    return tuple(
        dataclasses.replace(
            impl, name=f"{impl.name}_{library}", library=library, absorbs=None, precisions=impl.precisions or precisions,
            when=partial(serves, impl),
        )
        for impl in made if impl.parts is None and set(impl.precisions) <= set(precisions)
    )  # fmt: skip
