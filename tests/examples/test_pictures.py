"""Pictures of the examples, read back with readers that share nothing with the writers."""

from __future__ import annotations

import importlib.util
import struct
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("pictures", Path(__file__).parents[2] / "examples" / "pictures.py")
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [(2.0, 1.5, 40.0), (1.0, 0.8, 20.0), (0.5, 0.6, 10.0)]


def read_png(path) -> np.ndarray:
    """Read an 8-bit PNG without filters, checking the length and checksum of every chunk."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = [], 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + content) == int.from_bytes(data[place + 8 + length : place + 12 + length], "big")
        chunks.append((kind, content))
        place += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"] and place == len(data)
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert depth == 8 and rest == [0, 0, 0]
    channels = {0: 1, 2: 3}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any(), "every row has filter 0"
    return rows[:, 1:].reshape((height, width, 3) if channels == 3 else (height, width))


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (28, 28), (4, 6, 3), (1, 1, 3)])
def test_a_png_holds_exactly_the_pixels(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pictures.save_png(tmp_path / "a.png", pixels)
    assert np.array_equal(read_png(tmp_path / "a.png"), pixels)


def test_a_strided_picture_is_written_as_it_looks(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)[::-1, ::2].T
    pictures.save_png(tmp_path / "a.png", pixels)
    assert np.array_equal(read_png(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.zeros((2, 2)), "float64 (2, 2)"),
        (np.zeros(4, np.uint8), "uint8 (4,)"),
        (np.zeros((2, 2, 4), np.uint8), "uint8 (2, 2, 4)"),
        (np.zeros((0, 2), np.uint8), "uint8 (0, 2)"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, array, got):
    with pytest.raises(ValueError) as error:
        pictures.save_png(tmp_path / "a.png", array)
    assert str(error.value) == f"save_png: takes uint8 (height, width) or (height, width, 3), got {got}"
    assert not (tmp_path / "a.png").exists()


def test_dense_weights_become_a_picture_for_each_unit():
    W = np.zeros((4, 3))
    W[:, 0] = [1, -1, 0.5, 0]  # a 2 x 2 picture, row by row
    W[:, 1] = [0, 0, 0, -7]
    sheet = pictures.tile(W, zoom=1)
    assert sheet.shape == (2 + 4, 2 + 3 * 4), "three columns of tiles of 2, lines of 2 around them"
    assert sheet[2:4, 2:4].tolist() == [[255, 0], [191, 128]]
    assert sheet[2:4, 6:8].tolist() == [[128, 128], [128, 0]]
    assert sheet[2:4, 10:12].tolist() == [[128, 128], [128, 128]], "all zero: grey, and no division by zero"
    lines = np.ones(sheet.shape, bool)
    for column in (2, 6, 10):
        lines[2:4, column : column + 2] = False
    assert np.all(sheet[lines] == pictures.PAPER)


def test_filters_are_enlarged_and_each_has_its_own_scale():
    filters = np.random.default_rng(0).standard_normal((20, 1, 5, 5)) * np.logspace(-3, 3, 20)[:, None, None, None]
    sheet = pictures.tile(filters)
    side = 5 * 6 + 2
    assert sheet.shape == (2 + 3 * side, 2 + 7 * side)
    for i in range(20):
        row, column = 2 + i // 7 * side, 2 + i % 7 * side
        tile = sheet[row : row + 30, column : column + 30]
        small = tile[::6, ::6]
        assert np.array_equal(tile, small.repeat(6, 0).repeat(6, 1))
        largest = np.abs(filters[i]).max()
        assert np.array_equal(small, np.rint(127.5 + 127.5 * filters[i, 0] / largest))


def test_a_filter_that_is_not_finite_is_grey_there():
    sheet = pictures.tile(np.array([[[np.nan, 1.0], [np.inf, -1.0]]]), zoom=1)
    assert sheet[2:4, 2:4].tolist() == [[128, 255], [128, 0]]


@pytest.mark.parametrize("shape", [(10,), (10, 3), (0, 5, 5), ()])
def test_what_cannot_be_tiled_is_refused(shape):
    with pytest.raises(ValueError) as error:
        pictures.tile(np.zeros(shape))
    assert str(error.value) == f"tile: takes (square pixels, units) or (filters, ..., height, width), got {shape}"


@pytest.fixture
def without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def drawing(path) -> ElementTree.Element:
    return ElementTree.fromstring(path.read_text(encoding="utf-8"))


def dots(tree, colour) -> list[tuple[float, float]]:
    return [(float(c.get("cx")), float(c.get("cy"))) for c in tree.iter(f"{SVG}circle") if c.get("fill") == colour]


def test_without_matplotlib_the_curve_is_an_svg(tmp_path, without_matplotlib):
    path = pictures.learning_curve(tmp_path / "run.1", ROWS)
    assert path == tmp_path / "run.1.svg"
    tree = drawing(path)
    texts = [text.text for text in tree.iter(f"{SVG}text")]
    assert {"epoch", "loss", "training loss", "validation loss", "1", "2", "3", "0", "0.5", "1.5"} <= set(texts)
    allowed = {f"{SVG}{tag}" for tag in ("svg", "g", "path", "rect", "circle", "text")}
    assert {element.tag for element in tree.iter()} <= allowed, "nothing that loads or runs"


def test_the_points_of_the_svg_are_in_proportion_to_the_losses(tmp_path, without_matplotlib):
    tree = drawing(pictures.learning_curve(tmp_path / "run", ROWS))
    bottom, top = pictures.BOTTOM, pictures.TOP
    for column, (_, colour) in enumerate(pictures.LINES):
        points = dots(tree, colour)
        losses = [(bottom - y) / (bottom - top) * 1.05 * 2.0 for _, y in points]
        assert np.allclose(losses, [row[column] for row in ROWS], atol=0.005)
        assert np.allclose(np.diff([x for x, _ in points]), 300, atol=0.2)


def test_a_loss_that_is_not_finite_leaves_a_gap(tmp_path, without_matplotlib):
    rows = [(1, 1), (float("nan"), 1), (1, float("inf")), (1, 1)]
    tree = drawing(pictures.learning_curve(tmp_path / "run", rows))
    paths = [path.get("d") for path in tree.iter(f"{SVG}path")]
    first, second = (path for path in paths if "L" in path)
    assert (first.count("M"), first.count("L")) == (2, 1)
    assert (second.count("M"), second.count("L")) == (2, 1)
    assert "nan" not in first + second and "inf" not in first + second


@pytest.mark.parametrize("rows", [[(0.3, 0.2)], [(0.0, 0.0)] * 3, [(np.nan, np.nan)] * 2, [(1e-9, 1e9)] * 40])
def test_any_run_can_be_drawn(tmp_path, without_matplotlib, rows):
    tree = drawing(pictures.learning_curve(tmp_path / "run", rows))
    places = [float(e.get(key)) for e in tree.iter() for key in ("x", "y", "cx", "cy") if e.get(key)]
    assert np.isfinite(places).all() and min(places) >= -1 and max(places) <= 720


def test_with_matplotlib_the_curve_is_a_png(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is an extra (plot); without it the curve is an SVG")
    before = "matplotlib.pyplot" in sys.modules
    path = pictures.learning_curve(tmp_path / "run.1", ROWS)
    assert path == tmp_path / "run.1.png" and path.read_bytes()[:4] == b"\x89PNG"
    assert ("matplotlib.pyplot" in sys.modules) == before, "no window system is touched"


@pytest.mark.parametrize("rows", [[], [(1.0,)]])
def test_a_run_without_losses_is_refused(tmp_path, rows):
    with pytest.raises(ValueError) as error:
        pictures.learning_curve(tmp_path / "run", rows)
    assert str(error.value) == "learning_curve: takes a row for each epoch with training and validation loss"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 2.1, [0, 0.5, 1, 1.5, 2]), (1, 12, [2, 4, 6, 8, 10, 12]), (0, 1e-4, [0, 2e-5, 4e-5, 6e-5, 8e-5, 1e-4])],
)
def test_ticks_are_round(low, high, expected):
    assert np.allclose(pictures.ticks(low, high), expected, rtol=1e-9, atol=0)
