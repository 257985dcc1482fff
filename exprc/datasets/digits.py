"""Generated hand-written-looking digits: a data set with no file and no network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exprc.datasets.glyphs import GLYPHS, Glyph
from exprc.datasets.images import Images
from exprc.errors import report

Floats = NDArray[np.floating[Any]]  # float32 throughout

SIDE = 28
SAMPLES = 112  # pen positions to a glyph: at most 0.6 pixels apart on the longest one
BLOCK = 500  # images drawn together: bounds the memory, and makes digits(n) the start of digits(m)
WIDEST = max(len(glyph.points) for glyph in GLYPHS)

# How far hands differ: standard deviations, or (least, most), in digit heights, radians or pixels.
WOBBLE, BEND, TURN, SLANT, STRETCH = 0.0365, 0.043, 0.162, 0.23, 0.17
HEIGHT, SHIFT = (17.5, 20.5), 0.6
HALF_WIDTH, SHARPNESS, GRAIN = (0.85, 1.8), 0.8, 0.04


def digits(n: int, seed: int = 0) -> Images:
    """Draw `n` digits that look hand-written.

    Each image is one of some forty stroke skeletons, its control points moved at random, then slanted, turned, scaled,
    bent and drawn with a pen of random width. Shapes and dtypes are those of MNIST, and the difficulty is close to it:
    a linear classifier errs on 6 to 10 % of them, a small convolutional network on less than 3 %.

    Parameters
    ----------
    n : how many images; 12,000 take about two seconds.
    seed : a non-negative int. The same seed gives the same images, and ``digits(k, seed)`` are the first `k` of
        ``digits(n, seed)``; on another processor single pixels may differ by one grey level.

    Returns
    -------
    Images
        ``images``, uint8 (n, 28, 28), 0 for paper and 255 for ink; ``labels``, uint8 (n,).

    Raises
    ------
    ValueError
        `n` or `seed` is negative.

    Examples
    --------
    >>> images, labels = digits(20, seed=1)
    >>> images.shape, images.dtype, labels.shape
    ((20, 28, 28), dtype('uint8'), (20,))
    """
    for name, value in (("n", n), ("seed", seed)):
        if value < 0:
            raise ValueError(report(f"digits: {name} is {value}", fix=f"give {name} as 0 or more"))
    images = np.empty((n, SIDE, SIDE), np.uint8)
    labels = np.empty(n, np.uint8)
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        drawn = _block(np.random.default_rng([seed, start // BLOCK]))
        images[start : start + count], labels[start : start + count] = (part[:count] for part in drawn)
    return Images(images, labels)


def _block(rng: np.random.Generator) -> Images:
    labels = rng.integers(0, 10, BLOCK).astype(np.uint8)
    glyphs = FIRST[labels] + rng.integers(0, VARIANTS[labels])
    points, ink = _pen(rng, glyphs)
    points, ink = _place(rng, _distort(rng, points), ink)
    return Images(_draw(rng, points, ink), labels)


# --- strokes: from control points to pen positions --------------------------------------------------------------------


def _bases(glyph: Glyph) -> tuple[Floats, Floats]:
    """Two matrices (SAMPLES, WIDEST) that take control points to pen positions, and to the steps between those."""
    control = _control(glyph)
    segments = [rows[i : i + 4] for rows in map(_knots, glyph.strokes) for i in range(len(rows) - 3)]
    lengths = np.array([np.linalg.norm((rows[2] - rows[1]) @ control) for rows in segments])
    ends = np.rint(np.cumsum(lengths) / lengths.sum() * SAMPLES).astype(int)
    counts = np.diff(ends, prepend=0)
    splines = [_catmull_rom(count) for count in counts]
    place = np.concatenate([values @ rows for (values, _), rows in zip(splines, segments, strict=True)])
    step = np.concatenate([slopes @ rows for (_, slopes), rows in zip(splines, segments, strict=True)])
    return place.astype(np.float32), step.astype(np.float32)


def _control(glyph: Glyph) -> NDArray[np.float64]:
    """The control points (WIDEST, 2) with the middle at 0 and the height of a digit being 1."""
    control = np.zeros((WIDEST, 2))
    control[: len(glyph.points)] = np.asarray(glyph.points) / 100 - 0.5
    return control


def _knots(stroke: str) -> NDArray[np.float64]:
    """The points of a stroke as rows over the control points, with one more at either end.

    At a free end the extra point mirrors the second one; on a closed stroke it is the one across the seam.
    """
    rows = np.eye(WIDEST)[[ord(letter) - ord("a") for letter in stroke]]
    if stroke[0] == stroke[-1]:
        return np.concatenate([rows[-2:-1], rows, rows[1:2]])
    return np.concatenate([2 * rows[:1] - rows[1:2], rows, 2 * rows[-1:] - rows[-2:-1]])


def _catmull_rom(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (count, 4) of the four knots around a segment for `count` positions in it, and for the steps there.

    The curve passes through its control points (Catmull and Rom, A class of local interpolating splines, 1974).
    """
    u = (np.arange(count) + 0.5) / max(count, 1)
    one, zero = np.ones(count), np.zeros(count)
    powers = np.stack([one, u, u**2, u**3], axis=1)
    slopes = np.stack([zero, one, 2 * u, 3 * u**2], axis=1) / max(count, 1)
    weights = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    return powers @ weights, slopes @ weights


VARIANTS = np.bincount([glyph.digit for glyph in GLYPHS], minlength=10)  # ways of writing each digit
FIRST = np.cumsum(VARIANTS) - VARIANTS  # index of the first of them in GLYPHS
CONTROL = np.stack([_control(glyph) * (0.72, 1.0) for glyph in GLYPHS]).astype(np.float32)
PLACE, STEP = (np.stack(bases) for bases in zip(*map(_bases, GLYPHS), strict=True))


# --- the hand: what differs from one image to the next ----------------------------------------------------------------


def _normal(rng: np.random.Generator, spread: float, *shape: int) -> Floats:
    return spread * rng.standard_normal(shape, np.float32)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Floats:
    return np.float32(low) + np.float32(high - low) * rng.random(shape, np.float32)


def _pen(rng: np.random.Generator, glyphs: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Pen positions (n, SAMPLES, 2) of glyphs with moved control points, and the length drawn at each (n, SAMPLES)."""
    moved = CONTROL[glyphs] + _normal(rng, WOBBLE, len(glyphs), WIDEST, 2)
    return PLACE[glyphs] @ moved, np.linalg.norm(STEP[glyphs] @ moved, axis=2)


def _distort(rng: np.random.Generator, points: Floats) -> Floats:
    """Bend by two slow sine waves, then slant, stretch and turn."""
    n = len(points)
    for _ in range(2):
        wave = _normal(rng, BEND, n, 1, 2)
        direction, phase = _uniform(rng, -5, 5, n, 2, 1), _uniform(rng, 0, 2 * np.pi, n, 1, 1)
        points = points + wave * np.sin(points @ direction + phase)
    turn, slant = _normal(rng, TURN, n), _normal(rng, SLANT, n) - np.float32(0.12)
    wide = np.exp(_normal(rng, STRETCH, n))
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.stack([cos * wide, sin * wide, slant * cos - sin, slant * sin + cos], axis=1)
    turned: Floats = points @ matrix.reshape(n, 2, 2)
    return turned


def _place(rng: np.random.Generator, points: Floats, ink: Floats) -> tuple[Floats, Floats]:
    """Scale to about 19 pixels and put the centre of mass near the middle, as MNIST does."""
    n = len(points)
    extent = (points.max(axis=1) - points.min(axis=1)).max(axis=1)
    scale = (_uniform(rng, *HEIGHT, n) / extent)[:, None]
    points, ink = points * scale[:, :, None], ink * scale
    centre = (points * ink[:, :, None]).sum(axis=1) / ink.sum(axis=1)[:, None]
    points = points + (SIDE / 2 - 0.5 + _normal(rng, SHIFT, n, 2) - centre)[:, None]
    return np.clip(points, 1.5, SIDE - 2.5), ink


# --- the paper: from pen positions to grey levels ---------------------------------------------------------------------


def _draw(rng: np.random.Generator, points: Floats, ink: Floats) -> NDArray[np.uint8]:
    """Let a soft pen of random width pass over the positions.

    The line is spread by a Gaussian and cut at the level which that Gaussian has at the edge of the pen, so that a few
    small matrix products do the work of a distance to every stroke.
    """
    n = len(points)
    half = _uniform(rng, *HALF_WIDTH, n, 1, 1)
    nib = np.exp(_normal(rng, 0.08, n, 1, 1))
    spread = 0.6 + 0.4 * half
    line = _spread(spread * nib) @ _splat(points, ink) @ _spread(spread / nib)
    level = np.exp(-((half / spread) ** 2) / 2) / (spread * np.float32(np.sqrt(2 * np.pi)))
    edge = spread**2 / (half * level)
    grey: Floats = np.clip(0.5 + SHARPNESS * edge * (line - level), 0, 1)
    grey = np.clip(grey - grey * np.abs(_normal(rng, GRAIN, n, SIDE, SIDE)), 0, 1)
    return np.rint(255 * grey).astype(np.uint8)


def _splat(points: Floats, ink: Floats) -> Floats:
    """Ink in each pixel (n, SIDE, SIDE): every position shares its length among the four pixels around it."""
    n = len(points)
    corner = np.floor(points)
    right, down = np.moveaxis(points - corner, 2, 0)
    first = np.arange(n)[:, None] * SIDE**2
    pixel = (corner[:, :, 1] * SIDE + corner[:, :, 0]).astype(np.intp) + first
    left, up = 1 - right, 1 - down
    where = np.concatenate([pixel, pixel + 1, pixel + SIDE, pixel + SIDE + 1], axis=None)
    what = np.concatenate([left * up * ink, right * up * ink, left * down * ink, right * down * ink], axis=None)
    return np.bincount(where, what, n * SIDE**2).astype(np.float32).reshape(n, SIDE, SIDE)


def _spread(width: Floats) -> Floats:
    """Matrices (n, SIDE, SIDE) that blur along one axis with a Gaussian of standard deviation `width` (n, 1, 1)."""
    apart = np.arange(SIDE, dtype=np.float32)
    bell: Floats = np.exp(-(((apart[:, None] - apart) / width) ** 2) / 2) / (width * np.float32(np.sqrt(2 * np.pi)))
    return bell
