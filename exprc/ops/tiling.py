"""How CUDA texts are cut in blocks: the tiles of products, and the launches, from sizes alone.

A tile is (TILE_M, TILE_N, REG_M, REG_N, SLICES) of ``kernels/cuda/product.cuh``: what a block computes, what one of its threads does, and
how many threads share the k of each. `matrix` is that text's MATRIX: 0 where threads multiply, 1 and 2 for matrix instructions with factors
in tf32 and bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from exprc.size import Dim, ceildiv, maximum

#: The multiprocessors that a launch should fill: those of an H100. Fixed, so that results do not depend on the device.
MULTIPROCESSORS = 132

#: Of each of them: registers, bytes of shared memory (a block takes OWN besides what it asks for), warps, blocks.
REGISTERS, SHARED, OWN, WARPS, BLOCKS = 65536, 228 * 1024, 1024, 64, 32

#: The largest grid along x.
MOST_BLOCKS = 2**31 - 1

#: Warps that a multiprocessor holds with 128 registers a thread, and with more.
_WARPS, _FEW_WARPS = 16, 8

# What a tile takes, in instructions of a warp and turns of a multiprocessor: fitted to 70 tiles of 11 products measured on an H200.
# The times are off by a fifth, mostly; what is chosen takes 2 % longer on average than the best of those measured.

#: Instructions for an element that a thread loads from memory: of a matrix, of windows, and where j goes by `unit`, as a tile does or not.
_LOAD, _WINDOW, _EVEN, _UNEVEN = 4.0, 10.0, 0.5, 10.0

#: Turns of shared memory and the first cache for such an element, and how much longer they take than they should.
_TURNS, _SHARED = 3.0, 1.26

#: Instructions of each piece besides; turns of each warp, and of each round of blocks, for a tile.
_PIECE, _TILE, _ROUND = 30, 305, 3200

#: Multiplications of a thread that matrix instructions do in the time of an instruction.
_MATRIX = 12.5

#: Warps that wait while others work, and how much of its time a block waits for its own threads.
_WAITING, _ALONE = 4.45, 0.22

#: Turns of the clock in a microsecond; microseconds that a further kernel takes; bytes of parts stored and read again in one.
_CLOCK, _KERNEL, _PART = 1755.0, 2.5, 3.5e6

#: At most so many parts.
_MOST_PARTS = 256

#: How far k goes in one step of a tile.
DEPTH = 16

#: The bytes of shared memory that a block may have on every GPU since 7.5, and on those that have matrix instructions, since 8.0.
_MOST_SHARED = (64 * 1024, 99 * 1024)

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


def blocks_at_once(threads: int, registers: int, shared: int) -> int:
    """How many blocks a multiprocessor holds, by the registers of a thread and the bytes of shared memory of a block.

    >>> blocks_at_once(256, 128, 34816), blocks_at_once(256, 240, 52352)
    (2, 1)
    """
    warps = -(-threads // 32)
    each = -(-registers // 8) * 8 * 32 * warps
    return min(REGISTERS // each, SHARED // (shared + OWN), WARPS // warps, BLOCKS)


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
    room = 160 if large and threads_of(tile) == 256 else 88
    return held <= room and product_shared(tile, DEPTH, itemsize, matrix) <= (64 if large else 48) * 1024


def _loads(tile: Tile) -> int:
    return -(-(tile[0] + tile[1]) * DEPTH // threads_of(tile))


def _lengths(n: int, step: int) -> list[int]:
    own = -(-n // step) * step
    powers = (length for length in (256, 128, 64, 32, 16) if length % step == 0 and (length < 2 * own or length <= 32))
    return list(dict.fromkeys([*powers, *[own] * (own < 128)]))


def product_shared(tile: Tile, depth: int, itemsize: int, matrix: int, stages: int = 2) -> int:
    """The bytes of shared memory that a tile needs: stages of both operands, and keys; at the end a row of the sums of every thread."""
    lines = depth // matrix if matrix else depth
    padding = 2 * (8 * lines + lines // 4 * 2) * 4 if matrix else 2 * 16 * lines
    stage = lines * (tile[0] + tile[1]) * itemsize + padding + depth * 32
    return max(stages * stage, tile[0] // tile[2] * (tile[1] + (8 if matrix else 0)) * itemsize)


def product_stages(values: Mapping[str, Any], k: Dim, itemsize: int) -> int:
    """Return STAGES of ``product.cuh``: three where that costs no block at a time, four where half of shared memory is then left.

    That half is the first cache, which windows are read from. Two, and so no copies, where sums of k terms are over after two pieces, and
    where factors are no words of 4 or 8 bytes in shared memory.

    >>> [product_stages(product_tile(4096, 4096, 4096, 1, 4, matrix), 4096, 4) for matrix in (0, 1, 2)]
    [3, 3, 2]
    """
    tile, depth, matrix = _tile_of(values), values["TILE_K"], values["MATRIX"]
    if matrix == 2 or itemsize not in (4, 8) or (isinstance(k, int) and k <= 2 * depth):
        return 2
    needs = {stages: product_shared(tile, depth, itemsize, matrix, stages) for stages in (2, 3, 4)}
    held = {n: blocks_at_once(threads_of(tile), 128 if tile[2] * tile[3] <= 64 else 255, shared) for n, shared in needs.items()}
    most = _MOST_SHARED[matrix]
    if held[4] == held[2] and needs[4] <= most and 2 * held[4] * needs[4] <= SHARED:
        return 4
    return 3 if held[3] == held[2] and needs[3] <= most else 2


def _tile_of(values: Mapping[str, Any]) -> Tile:
    tile_m, tile_n, reg_m, reg_n, slices = (values[name] for name in TILE)
    return tile_m, tile_n, reg_m, reg_n, slices


def _piece(tile: Tile, matrix: int, unit: int) -> float:
    """Turns of a multiprocessor that a warp takes for a piece of k: to issue it, or to read shared memory, whichever is longer."""
    _, tile_n, reg_m, reg_n, slices = tile
    load = _LOAD if unit == 0 else _WINDOW if unit == 1 else _EVEN if unit % tile_n == 0 else _UNEVEN
    loads, depth = _loads(tile), DEPTH / slices
    if matrix:
        multiply, shared = depth * reg_m * reg_n / (_MATRIX * matrix), depth / matrix / 8 * (2 * reg_m + reg_n)
        issued = multiply + shared + 3 * loads
    else:
        shared = depth * _quads(tile)
        issued = depth * (reg_m * reg_n + (reg_m + reg_n) / 4)
    return max((issued + load * loads + _PIECE) / 4, _SHARED * (shared + _TURNS * loads))


def _quads(tile: Tile) -> float:
    """In how many turns a warp reads what it multiplies for one k: 8 quads of floats in each."""
    down, across = tile[0] // tile[2], tile[1] // tile[3]
    if down % 4 == 0 and across % 8 == 0:
        return (tile[2] + tile[3]) / 4
    first, second = (tile[2], tile[3]) if down < across else (tile[3], tile[2])
    return -(-min(down, across, 32) // 8) * first / 4 + second / 4


def _storing(tile: Tile) -> float:
    """Turns that a warp takes at the end of a tile."""
    return (tile[2] * tile[3] * (8 / tile[4] + 2) + 10 * tile[2] * (tile[4] + 1)) / 4


def _parts(tile: Tile, m: int, n: int, k: int, batch: int) -> list[int]:
    """Numbers of parts worth a thought: up to two blocks a multiprocessor, or few, so that the last round of blocks is fuller.

    Each part goes through at least four steps of a tile, so that it has something to do.
    """
    blocks = max(1, -(-m // tile[0]) * -(-n // tile[1]) * batch)
    most = min(k // (4 * DEPTH), _MOST_PARTS)
    return [1, *(parts for parts in sorted({2, 3, 4, min(most, 2 * MULTIPROCESSORS // blocks)}) if 1 < parts <= most)]


def _time(tile: Tile, parts: int, m: int, n: int, k: int, batch: int, matrix: int, unit: int) -> float:
    """Microseconds: what the busiest multiprocessor has to do, over how many warps do it at a time, and what parts cost afterwards."""
    each = -(-(-(-m // tile[0]) * -(-n // tile[1]) * batch * parts) // MULTIPROCESSORS)
    warps = -(-threads_of(tile) // 32)
    held = max(1, min(each, (_WARPS if tile[2] * tile[3] <= 64 else _FEW_WARPS) // warps))
    busy = held * warps / (held * warps + _WAITING) * (1 - _ALONE / held)
    turns = each * warps * (k / parts / DEPTH * _piece(tile, matrix, unit) + _storing(tile) + _TILE) / busy
    took = (turns + -(-each // held) * _ROUND) / _CLOCK
    return took if parts == 1 else took + _KERNEL + parts * m * n * batch * 8 / _PART


def _best(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int, matrix: int, unit: Dim) -> tuple[Tile, int]:
    """Return the tile and the number of parts."""
    if not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int) and isinstance(batch, int)) or 0 in (m, n):
        return _ANY, 1
    return _best_of_numbers(m, n, k, batch, itemsize, matrix, unit if isinstance(unit, int) else 0)


@cache
def _best_of_numbers(m: int, n: int, k: int, batch: int, itemsize: int, matrix: int, unit: int) -> tuple[Tile, int]:
    ways = [(tile, parts) for tile in tiles(m, n, itemsize, matrix) for parts in _parts(tile, m, n, k, batch)]
    return min(ways or [(_ANY, 1)], key=lambda way: (_time(way[0], way[1], m, n, k, batch, matrix, unit), way[1]))


def matrix_serves(*lengths: Dim) -> bool:
    """Whether products of these (m, n, k) fill an instruction, or nearly, or their lengths are not known.

    >>> matrix_serves(50, 8192, 500), matrix_serves(50, 8192, 3)
    (True, False)
    """
    return all(not isinstance(n, int) or n >= 8 for n in lengths)


def index_bytes(*lengths: Dim) -> int:
    """The bytes of an integer that counts along axes of these lengths, with room for a tile: 8 where one is not known."""
    return 4 if all(isinstance(n, int) and n < 2**31 - 2**10 for n in lengths) else 8


def product_tile(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int, matrix: int = 0, unit: Dim = 0) -> dict[str, Dim]:
    """Return the macros of the tile that serves `batch` products of (m, k) by (k, n) best.

    Parameters
    ----------
    itemsize : bytes of an element: 4 or 8. unit : what a text loads: 0 for matrices, 1 for windows, more if so many of j are loaded easily
        together.

    >>> product_tile(8192, 8192, 8192, 1, 4)["REG_M"], product_tile(50, 8192, 500, 1, 4, unit=1)["TILE_M"]
    (8, 52)
    """
    tile: dict[str, Dim] = dict(zip(TILE, _best(m, n, k, batch, itemsize, matrix, unit)[0]))
    return {**tile, "TILE_K": DEPTH, "MATRIX": matrix, "INDEX_BYTES": index_bytes(m, n, k)}


def product_parts(m: Dim, n: Dim, k: Dim, batch: Dim, itemsize: int, matrix: int = 0, unit: Dim = 0) -> int:
    """In how many partial sums over k such products are cut, so that there are blocks for all multiprocessors; 1 for none.

    >>> product_parts(64, 64, 8192, 1, 4), product_parts(4096, 4096, 4096, 1, 4)
    (66, 1)
    """
    return _best(m, n, k, batch, itemsize, matrix, unit)[1]


def product_launch(values: Mapping[str, int], m: int, n: int, batch: int, itemsize: int) -> Launch:
    """The launch of ``product.cuh``: a block for each tile of each part."""
    tile = _tile_of(values)
    blocks = -(-m // tile[0]) * -(-n // tile[1]) * batch * values["PARTS"]
    shared = product_shared(tile, values["TILE_K"], itemsize, values["MATRIX"], values["STAGES"])
    return blocks_launch(blocks, threads_of(tile), shared)


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
