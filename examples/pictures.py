"""Pictures for the examples: a small PNG writer, weights laid out as tiles, and the learning curve."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

PAPER = 255  # grey level between the tiles


def save_png(path: str | os.PathLike[str], array: NDArray[np.uint8]) -> None:
    """Write an 8-bit PNG file (W3C, Portable Network Graphics, third edition).

    Parameters
    ----------
    path : the file to write.
    array : uint8, (height, width) for grey or (height, width, 3) for colour.

    Raises
    ------
    ValueError
        The array has another dtype or shape, or is empty.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "black.png")
    ...     save_png(file, np.zeros((2, 3), np.uint8))
    ...     file.read_bytes()[1:4]
    b'PNG'
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or array.size == 0:
        forms = "uint8 (height, width) or (height, width, 3)"
        raise ValueError(f"save_png: takes {forms}, got {array.dtype} {array.shape}")
    height, width = array.shape[:2]
    colour = 2 if array.ndim == 3 else 0
    rows = np.ascontiguousarray(array).reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # filter 0: the bytes as they are
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b"")
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tile(weights: ArrayLike, zoom: int | None = None) -> NDArray[np.uint8]:
    """Lay out weights as a grid of small pictures, each scaled on its own: black is its most negative, white its most
    positive possible value, middle grey is 0.

    Parameters
    ----------
    weights : (pixels, units), the weights of a dense layer on square images, a picture for each unit; or
        (filters, height, width); or (filters, channels, height, width), a picture for each filter and channel.
    zoom : pixels of the picture for one weight, in both directions; None makes a tile about 28 pixels or more.

    Returns
    -------
    uint8 array, (height, width)
        The tiles in rows, in about twice as many columns as rows, with white lines of two pixels between them.

    Raises
    ------
    ValueError
        The weights have another number of axes, or none at all, or (pixels, units) with pixels no square number.

    Examples
    --------
    >>> tile(np.zeros((784, 64))).shape
    (182, 362)
    """
    tiles = _tiles(np.asarray(weights, np.float64))
    zoom = zoom or max(1, math.ceil(28 / max(tiles.shape[1:])))
    grey = _grey(tiles).repeat(zoom, axis=1).repeat(zoom, axis=2)
    count, height, width = grey.shape
    columns = min(count, math.ceil(math.sqrt(2 * count)))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * columns, height + 2, width + 2), PAPER, np.uint8)
    sheet[:count, :height, :width] = grey
    grid = sheet.reshape(rows, columns, height + 2, width + 2).swapaxes(1, 2).reshape(rows * (height + 2), -1)
    return np.pad(grid, ((2, 0), (2, 0)), constant_values=PAPER)


def _tiles(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Any of the accepted forms as (tiles, height, width)."""
    shape = weights.shape
    side = math.isqrt(shape[0]) if shape else 0
    if weights.size and weights.ndim == 2 and side * side == shape[0]:
        return weights.T.reshape(-1, side, side)
    if weights.size and weights.ndim in (3, 4):
        return weights.reshape(-1, *shape[-2:])
    raise ValueError(f"tile: takes (square pixels, units) or (filters, ..., height, width), got {shape}")


def _grey(tiles: NDArray[np.float64]) -> NDArray[np.uint8]:
    finite = np.nan_to_num(tiles, nan=0.0, posinf=0.0, neginf=0.0)
    largest = np.abs(finite).max(axis=(1, 2), keepdims=True)
    scaled = np.divide(finite, largest, out=np.zeros_like(finite), where=largest > 0)
    levels: NDArray[np.float64] = np.rint(127.5 + 127.5 * scaled)
    return levels.astype(np.uint8)


# --- the learning curve -----------------------------------------------------------------------------------------------

LINES = (("training loss", "#1f77b4"), ("validation loss", "#d62728"))


def learning_curve(path_stem: str | os.PathLike[str], rows: Sequence[Sequence[float]]) -> Path:
    """Draw training and validation loss over the epochs: a PNG where matplotlib is installed, an SVG where not.

    Parameters
    ----------
    path_stem : the file to write without its ``.png`` or ``.svg``.
    rows : a row for each epoch, its first two values being training loss and validation loss; more are ignored. A
        value that is not finite leaves a gap.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        There is no row, or one has fewer than two values.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     learning_curve(f"{folder}/curve", [(0.5, 0.4), (0.2, 0.3)]).stem
    'curve'
    """
    if not rows or min(map(len, rows)) < 2:
        raise ValueError("learning_curve: takes a row for each epoch with training and validation loss")
    losses = np.array([row[:2] for row in rows], np.float64).T
    stem = Path(path_stem)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        path = stem.with_name(stem.name + ".svg")
        path.write_text(_svg(losses), encoding="utf-8")
        return path
    path = stem.with_name(stem.name + ".png")
    _plot(Figure(figsize=(7.2, 4.5), layout="constrained"), losses).savefig(path, dpi=100)
    return path


def _plot(figure: Any, losses: NDArray[np.float64]) -> Any:
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
    for (name, colour), values in zip(LINES, losses, strict=True):
        axes.plot(range(1, len(values) + 1), values, label=name, color=colour, marker="o", markersize=4)
    axes.set_ylim(0, _top(losses))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _top(losses: NDArray[np.float64]) -> float:
    """The upper end of the loss axis: a little above the greatest finite loss."""
    finite = losses[np.isfinite(losses)]
    return 1.05 * float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cut an axis into about `about` parts.

    >>> ticks(0, 1.1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


LEFT, TOP, RIGHT, BOTTOM = 70, 20, 700, 395  # the frame of the drawing in a picture of 720 by 450


def _svg(losses: NDArray[np.float64]) -> str:
    """The whole drawing; numbers are the only thing in it that comes from outside."""
    epochs, top = losses.shape[1], _top(losses)
    across = np.linspace(LEFT + 15, RIGHT - 15, epochs) if epochs > 1 else np.array([(LEFT + RIGHT) / 2])
    body = [_text(float(across[int(e) - 1]), BOTTOM + 20, f"{e:g}", "middle") for e in _epoch_ticks(epochs)]
    for value in ticks(0, top):
        y = BOTTOM - (BOTTOM - TOP) * value / top
        body.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="#ddd"/>' + _text(LEFT - 8, y + 5, f"{value:g}", "end"))
    body.append(f'<path d="M{LEFT} {TOP}H{RIGHT}V{BOTTOM}H{LEFT}Z" fill="none" stroke="#444"/>')
    for row, ((name, colour), values) in enumerate(zip(LINES, losses, strict=True)):
        body += _line(across, BOTTOM - (BOTTOM - TOP) * values / top, colour)
        body += _legend(name, colour, TOP + 25 + 22 * row)
    body.append(_text((LEFT + RIGHT) / 2, BOTTOM + 45, "epoch", "middle"))
    body.append(f'<g transform="translate(20 {(TOP + BOTTOM) / 2}) rotate(-90)">{_text(0, 0, "loss", "middle")}</g>')
    start = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 450" width="720" height="450"'
    style = 'font-family="sans-serif" font-size="14"><rect width="720" height="450" fill="white"/>'
    return "\n".join([f"{start} {style}", *body, "</svg>", ""])


def _epoch_ticks(epochs: int) -> list[float]:
    return [tick for tick in ticks(1, epochs, 10) if tick == int(tick)] if epochs > 1 else [1]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _line(across: NDArray[np.float64], down: NDArray[np.float64], colour: str) -> list[str]:
    """A line through the finite points, broken where one is missing, and a dot on each."""
    shown = [(x, y) if math.isfinite(y) else None for x, y in zip(across, down, strict=True)]
    steps = [
        f"{'L' if before else 'M'}{here[0]:.1f} {here[1]:.1f}"
        for before, here in zip([None, *shown], shown, strict=False)
        if here
    ]
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in filter(None, shown)]
    return [f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _legend(name: str, colour: str, y: float) -> list[str]:
    stroke = f'<path d="M{RIGHT - 160} {y - 5}h28" stroke="{colour}" stroke-width="2"/>'
    return [stroke, _text(RIGHT - 125, y, name, "start")]
