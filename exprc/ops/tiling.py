"""How CUDA texts are cut in blocks: the tiles of products, and the launches, from sizes alone.

A tile is (TILE_M, TILE_N, REG_M, REG_N, SLICES) of ``kernels/cuda/product.cuh``: what a block computes, what one of its threads does, and
how many threads share the k of each. `matrix` is that text's MATRIX: 0 where threads multiply, 1 and 2 for matrix instructions with factors
in tf32 and bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from exprc.size import Dim, ceildiv, maximum

#: The multiprocessors that a launch should fill: those of an H100. Fixed, so that results do not depend on the device.
MULTIPROCESSORS = 132

#: The largest grid along x.
MOST_BLOCKS = 2**31 - 1

#: Warps that a multiprocessor holds, with 128 registers a thread.
_WARPS = 16

#: What storing and adding an element of a part costs, in multiplications of a multiprocessor's share, and what a further kernel does.
_PART, _KERNEL = 0.5, 4e5

#: Instructions for each element that a thread loads from memory: about 5 of a matrix, 10 of windows.
_LOAD = 9

#: What a matrix instruction with tf32 takes for each multiplication: 1024 of a warp keep a quarter of a multiprocessor for 6.5 turns.
_MATRIX = 0.2

#: At most so many parts.
_MOST_PARTS = 256

#: How far k goes in one step of a tile.
DEPTH = 16

Tile = tuple[int, int, int, int, int]

#: The macros of a tile.
TILE = ("TILE_M", "TILE_N", "REG_M", "REG_N", "SLICES")

#: Blocks, threads of a block, bytes of shared memory.
Launch = tuple[int, int, int]

#: The tile where sizes are only known at the call.
_ANY: Tile = (64, 64, 4, 4, 1)


def threads_of(tile: Tile) -> int:
    """The threads of a block.

    >>> threads_of((128, 128, 8, 8, 1)), threads_of((20, 128, 4, 4, 2))
    (256, 320)
    """
    return tile[0] // tile[2] * (tile[1] // tile[3]) * tile[4]


def tiles(m: int, n: int, itemsize: int, matrix: int = 0) -> Iterator[Tile]:
    """Yield the tiles that may serve (m, n): lengths that are powers of two, or just as long as the axis is.

    >>> (20, 128, 4, 4, 2) in tiles(20, 73728, 4), (52, 64, 4, 4, 1) in tiles(50, 8192, 8)
    (True, True)
    >>> (64, 128, 4, 8, 1) in tiles(50, 8192, 4, matrix=1)
    True
    """
    shares = ((8, 8), (8, 4), (4, 8), (4, 4)) if itemsize == 4 else ((4, 4),)
    down, across = (8, 4) if matrix else (1, 1)  # threads of a warp between which the tile of a thread is spread
    for reg_m, reg_n in ((8, 16), *shares, (2, 8), (2, 4)) if matrix else shares:
        for tile_m in _lengths(m, reg_m * down):
            for tile_n in _lengths(n, reg_n * across):
                for slices in (1, 2, 4)[: 3 - matrix]:
                    tile = (tile_m, tile_n, reg_m, reg_n, slices)
                    if max(32, tile_m, tile_n) <= threads_of(tile) <= 512 and _fits(tile, itemsize, matrix):
                        yield tile


def _fits(tile: Tile, itemsize: int, matrix: int) -> bool:
    """Whether sums, and what a thread loads for the next tile, find room in registers, and the tiles in shared memory.

    Of registers there are 128 for each of 512 threads, or 255 for 256.
    """
    sums = tile[2] * tile[3]
    held, large = (sums + _loads(tile)) * itemsize // 4, sums > 64
    room = 160 if large and threads_of(tile) == 256 else 84
    return held <= room and product_shared(tile, DEPTH, itemsize, matrix) <= (64 if large else 48) * 1024


def _loads(tile: Tile) -> int:
    return -(-(tile[0] + tile[1]) * DEPTH // threads_of(tile))


def _lengths(n: int, step: int) -> list[int]:
    own = -(-n // step) * step
    powers = (length for length in (256, 128, 64, 32, 16) if length % step == 0 and (length < 2 * own or length <= 32))
    return list(dict.fromkeys([*powers, *[own] * (own < 128)]))


def product_shared(tile: Tile, depth: int, itemsize: int, matrix: int) -> int:
    """The bytes of shared memory that a tile needs: two of each operand, and keys; at the end a row of the sums of every thread."""
    lines = depth // matrix if matrix else depth
    padding = 2 * (8 * lines + lines // 4 * 2) * 4 if matrix else 2 * 16 * lines
    stages = 2 * (lines * (tile[0] + tile[1]) * itemsize + padding + depth * 32)
    return max(stages, tile[0] // tile[2] * (tile[1] + (8 if matrix else 0)) * itemsize)


def _rate(tile: Tile, matrix: int) -> float:
    """Multiplications per instruction of a thread: beside them it loads from shared memory and, for the next tile, from memory."""
    elements, threads = tile[2] * tile[3], threads_of(tile)
    depth = DEPTH / tile[4]
    multiply, shared = depth * elements, depth * (tile[2] + tile[3]) / 4
    if matrix:
        instructions, shared = multiply * _MATRIX / matrix, depth / matrix / 8 * (2 * tile[2] + tile[3])
    else:
        instructions = multiply
    return multiply / (instructions + shared + _LOAD * _loads(tile) + 60) * threads / (-(-threads // 32) * 32)


def _storing(tile: Tile) -> float:
    """Instructions of a thread at the end of a tile."""
    return tile[2] * tile[3] * (8 / tile[4] + 2) + 10 * tile[2] * (tile[4] + 1)


def _parts(tile: Tile, m: int, n: int, k: int, batch: int) -> list[int]:
    """Numbers of parts worth a thought: up to two blocks a multiprocessor, or few, so that the last round of blocks is fuller.

    Each part goes through at least four steps of a tile, so that it has something to do.
    """
    blocks = max(1, -(-m // tile[0]) * -(-n // tile[1]) * batch)
    most = min(k // (4 * DEPTH), _MOST_PARTS)
    return [1, *(parts for parts in sorted({2, 3, 4, min(most, 2 * MULTIPROCESSORS // blocks)}) if 1 < parts <= most)]


def _time(tile: Tile, parts: int, m: int, n: int, k: int, batch: int, matrix: int) -> float:
    """What the busiest multiprocessor has to do, over how fast it does it, and what parts cost afterwards."""
    each = -(-(-(-m // tile[0]) * -(-n // tile[1]) * batch * parts) // MULTIPROCESSORS)
    warps = min(_WARPS, max(each, 1) * -(-threads_of(tile) // 32))
    busy = 1.3 * warps / (warps + 5)  # as measured: few warps wait for memory, for barriers and for each other
    work = each * (tile[0] * tile[1] * (k / parts) / _rate(tile, matrix) + threads_of(tile) * _storing(tile)) / busy
    return work if parts == 1 else 1.1 * work + _KERNEL + _PART * parts * m * n * batch


def _best(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int, matrix: int) -> tuple[Tile, int]:
    """Return the tile and the number of parts."""
    if not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int) and isinstance(batch, int)) or 0 in (m, n):
        return _ANY, 1
    return _best_of_numbers(m, n, k, batch, itemsize, matrix)


@cache
def _best_of_numbers(m: int, n: int, k: int, batch: int, itemsize: int, matrix: int) -> tuple[Tile, int]:
    ways = [(tile, parts) for tile in tiles(m, n, itemsize, matrix) for parts in _parts(tile, m, n, k, batch)]
    return min(ways or [(_ANY, 1)], key=lambda way: (_time(way[0], way[1], m, n, k, batch, matrix), way[1]))


def matrix_serves(*lengths: Dim) -> bool:
    """Whether products of these (m, n, k) fill an instruction, or nearly, or their lengths are not known.

    >>> matrix_serves(50, 8192, 500), matrix_serves(50, 8192, 3)
    (True, False)
    """
    return all(not isinstance(n, int) or n >= 8 for n in lengths)


def index_bytes(*lengths: Dim) -> int:
    """The bytes of an integer that counts along axes of these lengths, with room for a tile: 8 where one is not known."""
    return 4 if all(isinstance(n, int) and n < 2**31 - 2**10 for n in lengths) else 8


def product_tile(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int, matrix: int = 0) -> dict[str, Dim]:
    """Return the macros of the tile that serves `batch` products of (m, k) by (k, n) best.

    Parameters
    ----------
    itemsize : bytes of an element: 4 or 8.

    >>> product_tile(8192, 8192, 8192, 1, 4)["TILE_M"], product_tile(20, 73728, 25, 1, 4)["TILE_M"]
    (128, 20)
    """
    tile: dict[str, Dim] = dict(zip(TILE, _best(m, n, k, batch, itemsize, matrix)[0]))
    return {**tile, "TILE_K": DEPTH, "MATRIX": matrix, "INDEX_BYTES": index_bytes(m, n, k)}


def product_parts(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int, matrix: int = 0) -> int:
    """In how many partial sums over k such products are cut, so that there are blocks for all multiprocessors; 1 for none.

    >>> product_parts(64, 64, 8192, 1, 4), product_parts(4096, 4096, 4096, 1, 4)
    (128, 1)
    """
    return _best(m, n, k, batch, itemsize, matrix)[1]


def product_launch(values: Mapping[str, int], m: int, n: int, batch: int, itemsize: int) -> Launch:
    """The launch of ``product.cuh``: a block for each tile of each part."""
    tile_m, tile_n, reg_m, reg_n, slices = (values[name] for name in TILE)
    tile = (tile_m, tile_n, reg_m, reg_n, slices)
    blocks = -(-m // tile[0]) * -(-n // tile[1]) * batch * values["PARTS"]
    return blocks_launch(blocks, threads_of(tile), product_shared(tile, values["TILE_K"], itemsize, values["MATRIX"]))


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
