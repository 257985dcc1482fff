"""How CUDA texts are cut in blocks: the tiles of products, and the launches, from sizes alone.

A tile is (TILE_M, TILE_N, REG_M, REG_N) of ``kernels/cuda/product.cuh``: what a block computes and what one of its threads does.
"""

from __future__ import annotations

from collections.abc import Mapping

from exprc.size import Dim, ceildiv, maximum

#: The multiprocessors that a launch should fill: those of an H100. Fixed, so that results do not depend on the device.
MULTIPROCESSORS = 132

#: The largest grid along x.
MOST_BLOCKS = 2**31 - 1

#: Threads that keep a multiprocessor's arithmetic busy, as each has independent sums.
_BUSY = 128

#: What storing and adding an element of a part costs, in multiplications of a multiprocessor's share, and what a further kernel does.
_PART, _KERNEL = 0.5, 2e5

#: At most so many parts.
_MOST_PARTS = 256

#: How far k goes in one step of a tile.
DEPTH = 16

Tile = tuple[int, int, int, int]

#: Blocks, threads of a block, bytes of shared memory.
Launch = tuple[int, int, int]

#: tile -> the share of the peak that one reaches where the product is large: more elements a thread need fewer loads each.
_FLOAT32: dict[Tile, float] = {
    (128, 128, 8, 8): 0.9, (128, 64, 8, 4): 0.8, (64, 128, 4, 8): 0.8, (64, 64, 4, 4): 0.6, (32, 128, 4, 4): 0.6, (128, 32, 4, 4): 0.6,
    (32, 64, 4, 4): 0.5, (64, 32, 4, 4): 0.5, (32, 32, 4, 4): 0.4, (16, 128, 4, 4): 0.5, (128, 16, 4, 4): 0.5, (16, 64, 4, 4): 0.4,
}  # fmt: skip

#: bytes of an element -> the tiles that serve it.
RATES = {4: _FLOAT32, 8: {tile: rate for tile, rate in _FLOAT32.items() if tile[2:] == (4, 4)}}

#: The tile where sizes are only known at the call.
_ANY: Tile = (64, 64, 4, 4)


def threads_of(tile: Tile) -> int:
    """The threads of a block.

    >>> threads_of((128, 128, 8, 8))
    256
    """
    return tile[0] // tile[2] * (tile[1] // tile[3])


def _parts(tile: Tile, m: int, n: int, k: int, batch: int) -> int:
    """Parts for two blocks a multiprocessor; each goes through at least four steps of a tile, so that it has something to do."""
    blocks = max(1, -(-m // tile[0]) * -(-n // tile[1]) * batch)
    return max(1, min(2 * MULTIPROCESSORS // blocks, k // (4 * DEPTH), _MOST_PARTS))


def _time(tile: Tile, rate: float, parts: int, m: int, n: int, k: int, batch: int) -> float:
    """What the busiest multiprocessor has to do, over how fast it does it, and what parts cost afterwards."""
    each = -(-(-(-m // tile[0]) * -(-n // tile[1]) * batch * parts) // MULTIPROCESSORS)
    busy = min(1.0, max(each, 1) * threads_of(tile) / _BUSY)
    joined = _KERNEL + _PART * parts * m * n * batch if parts > 1 else 0
    return each * tile[0] * tile[1] * (k / parts) / (rate * busy) + joined


def _best(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int) -> tuple[Tile, int]:
    """Return the tile and the number of parts."""
    if not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int) and isinstance(batch, int)):
        return _ANY, 1
    rates = RATES[itemsize]
    ways = [(tile, parts) for tile in rates for parts in {1, _parts(tile, m, n, k, batch)}]
    return min(ways, key=lambda way: (_time(way[0], rates[way[0]], way[1], m, n, k, batch), way[1]))


def index_bytes(*lengths: Dim) -> int:
    """The bytes of an integer that counts along axes of these lengths, with room for a tile: 8 where one is not known."""
    return 4 if all(isinstance(n, int) and n < 2**31 - 2**10 for n in lengths) else 8


def product_tile(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int) -> dict[str, Dim]:
    """Return the macros of the tile that serves `batch` products of (m, k) by (k, n) best.

    Parameters
    ----------
    itemsize : bytes of an element: 4 or 8.

    >>> product_tile(8192, 8192, 8192, 1, 4)["TILE_M"], product_tile(20, 73728, 25, 1, 4)["TILE_M"]
    (128, 32)
    """
    (tile_m, tile_n, reg_m, reg_n), _ = _best(m, n, k, batch, itemsize)
    return {"TILE_M": tile_m, "TILE_N": tile_n, "TILE_K": DEPTH, "REG_M": reg_m, "REG_N": reg_n, "INDEX_BYTES": index_bytes(m, n, k)}


def product_parts(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int) -> int:
    """In how many partial sums over k such products are cut, so that there are blocks for all multiprocessors; 1 for none.

    >>> product_parts(64, 64, 8192, 1, 4), product_parts(4096, 4096, 4096, 1, 4)
    (128, 1)
    """
    return _best(m, n, k, batch, itemsize)[1]


def product_launch(values: Mapping[str, int], m: int, n: int, batch: int, itemsize: int) -> Launch:
    """The launch of ``product.cuh``: a block for each tile of each part."""
    tile = (values["TILE_M"], values["TILE_N"], values["REG_M"], values["REG_N"])
    blocks = -(-m // tile[0]) * -(-n // tile[1]) * batch * values["PARTS"]
    return blocks_launch(blocks, threads_of(tile), 2 * values["TILE_K"] * ((tile[0] + tile[1]) * itemsize + 2 * 16 + 32))


def blocks_launch(blocks: int, threads: int, shared: int) -> Launch:
    """The launch of a text whose blocks take what there is in turn."""
    return min(blocks, MOST_BLOCKS), threads, shared


def elements_launch(count: int) -> Launch:
    """The launch of a text in which each thread computes an element, or several in turn."""
    return blocks_launch(-(-count // 256), 256, 0)


def scatter_cut(rows: Dim, width: Dim) -> dict[str, Dim]:
    """Return the macros of ``scatter.cuh`` that cut (rows, width): a thread a column, and enough blocks of rows for all multiprocessors.

    >>> scatter_cut(1000, 300)
    {'WIDTH': 256, 'ROWS_EACH': 8}
    """
    columns, across = 32, 1
    if isinstance(width, int):
        columns = min(256, 1 << max(width - 1, 0).bit_length())
        across = max(1, -(-width // columns))
    return {"WIDTH": columns, "ROWS_EACH": maximum(ceildiv(rows, max(1, 2 * MULTIPROCESSORS // across)), 1)}


def scatter_launch(values: Mapping[str, int], itemsize: int) -> Launch:
    """The launch of ``scatter.cuh``."""
    blocks = -(-values["R"] // values["WIDTH"]) * -(-values["ROWS"] // values["ROWS_EACH"])
    return blocks_launch(blocks, 256, 64 + 2048 * (8 + (itemsize if values["WIDTH"] == 1 else 0)))
